# Makes a manual page of a page of docs/. Of Markdown it knows what those have: headings, tables, lists, code.
#
#   awk -v page=NAME -v version=VERSION -f man.awk PAGE.md

function escaped(text) {
    gsub(/\\/, "\\e", text)
    gsub(/-/, "\\-", text)
    # At the start of a line these would be requests.
    if (text ~ /^[.']/) text = "\\&" text
    return text
}

# Bold, links and inline code; footnotes and HTML there are none.
function inline(text,   out, rest, code, start, extent) {
    out = ""
    rest = text
    while (match(rest, /`[^`]*`/)) {
        # plain() matches as well.
        start = RSTART
        extent = RLENGTH
        code = substr(rest, start + 1, extent - 2)
        out = out plain(substr(rest, 1, start - 1)) "\\fB" escaped(code) "\\fR"
        rest = substr(rest, start + extent)
    }
    return out plain(rest)
}

function plain(text,   out, words) {
    out = ""
    while (match(text, /\[[^][]*\]\([^()]*\)/)) {
        words = substr(text, RSTART + 1, RLENGTH - 1)
        sub(/\]\(.*/, "", words)
        out = out substr(text, 1, RSTART - 1) words
        text = substr(text, RSTART + RLENGTH)
    }
    text = out text
    gsub(/\*\*/, "", text)
    return escaped(text)
}

function flush() {
    if (paragraph != "") print inline(paragraph)
    paragraph = ""
}

# A row of a table: the first cell is what the others are about.
function row(line,   cells, count, i, text) {
    gsub(/\\\|/, "\001", line)
    sub(/^\| */, "", line)
    sub(/ *\|$/, "", line)
    count = split(line, cells, / *\| */)
    text = ""
    for (i = 2; i <= count; i++) {
        if (cells[i] == "") continue
        text = text (text == "" ? "" : ". ") (head[i] != "" && count > 2 ? head[i] ": " : "") cells[i]
    }
    gsub(/\001/, "|", cells[1])
    gsub(/\001/, "|", text)
    print ".TP"
    print inline(cells[1] == "" ? " " : cells[1])
    print inline(text)
}

function begin_page(purpose) {
    printf ".TH %s 8 \"\" \"Plumb %s\" \"Plumb\"\n", toupper(escaped(page)), version
    print ".SH NAME"
    print escaped(page) " \\- " purpose
    print ".SH DESCRIPTION"
    begun = 1
}

BEGIN { begun = code = table = 0; paragraph = "" }

/^```/ {
    flush()
    code = !code
    print code ? ".PP\n.nf\n.RS 4" : ".RE\n.fi"
    next
}
code { print escaped($0); next }

# The title; the first row of the table below it says what the page is about.
/^# / { next }
!begun && /^\| *(Purpose|What) *\|/ {
    purpose = $0
    sub(/^\| *(Purpose|What) *\| */, "", purpose)
    sub(/ *\|$/, "", purpose)
    gsub(/`|\[|\]\([^()]*\)/, "", purpose)
    sub(/[:.;].*/, "", purpose)
    begin_page(escaped(purpose))
    next
}
!begun && /^\|[ |]*$/ { next }
!begun && /^\|[-| ]*$/ { next }
!begun && NF {
    purpose = $0
    sub(/[:.;].*/, "", purpose)
    begin_page(escaped(tolower(substr(purpose, 1, 1)) substr(purpose, 2)))
}

/^## / { flush(); table = 0; print ".SH " toupper(plain(substr($0, 4))); next }
/^###+ / { flush(); table = 0; sub(/^#+ /, ""); print ".SS " plain($0); next }

/^\|[-| ]*\|$/ { next }
/^\|/ {
    flush()
    # The head of a table of two columns says nothing that the rows do not.
    if (!table) {
        table = 1
        line = $0
        delete head
        sub(/^\| */, "", line)
        sub(/ *\|$/, "", line)
        split(line, head, / *\| */)
        getline separator
        if (separator ~ /^\|[-| ]*\|$/) next
        row($0)
        $0 = separator
    }
    row($0)
    next
}
{ table = 0 }

/^- / || /^\* / { flush(); print ".IP \\(bu 2"; paragraph = substr($0, 3); next }
/^[0-9]+\. / { flush(); number = $1; print ".IP " number " 4"; sub(/^[0-9]+\. /, ""); paragraph = $0; next }
/^ *$/ { flush(); if (begun && !blank) print ".PP"; blank = 1; next }
{ blank = 0; sub(/^ +/, ""); paragraph = paragraph (paragraph == "" ? "" : " ") $0 }

END { flush() }
