//! Reads a TOML tree value by value. Every problem is noted with its line, key path and value, and reading goes on, so that
//! a file's problems are all reported at once.

use core::fmt;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The line, counted from 1.
    pub line: usize,
    /// The key path, the value, and what is allowed.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.text)
    }
}

/// The text of a file and the problems found in it so far.
pub(super) struct Source<'a> {
    text: &'a str,
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self {
            text,
            problems: RefCell::default(),
        }
    }

    /// The problems, in the order of lines.
    pub(super) fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.problems.into_inner();
        problems.sort();
        problems
    }

    /// Notes a problem at a place that has no value of its own.
    pub(super) fn note(&self, at: &Range<usize>, text: String) {
        let before = self.text.get(..at.start).unwrap_or_default();
        self.problems.borrow_mut().push(Problem {
            line: before.matches('\n').count() + 1,
            text,
        });
    }
}

/// A value and where it stands.
#[derive(Clone)]
pub(super) struct Value<'a> {
    source: &'a Source<'a>,
    node: &'a DeValue<'a>,
    span: Range<usize>,
    path: String,
}

impl<'a> Value<'a> {
    /// Notes that this value is not what it must be.
    pub(super) fn refuse(&self, must: impl fmt::Display) {
        let written = self.source.text.get(self.span.clone()).unwrap_or_default();
        let short = !self.node.is_table() && !self.node.is_array();
        let written = if short {
            format!(" = {written}")
        } else {
            String::new()
        };
        self.source
            .note(&self.span, format!("{}{written}: {must}", self.path));
    }

    /// The value as a string.
    pub(super) fn string(&self) -> Option<String> {
        let text = self.node.as_str().map(str::to_owned);
        if text.is_none() {
            self.refuse("must be a string");
        }
        text
    }

    /// The value as what `parse` makes of its string; its error says what is allowed.
    pub(super) fn parsed<T>(&self, parse: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let parsed = parse(&self.string()?);
        parsed.map_err(|must| self.refuse(must)).ok()
    }

    /// The value as true or false.
    pub(super) fn boolean(&self) -> Option<bool> {
        let value = self.node.as_bool();
        if value.is_none() {
            self.refuse("must be true or false");
        }
        value
    }

    /// The value as a whole number in the range.
    pub(super) fn integer(&self, allowed: Range<u64>) -> Option<u64> {
        let written = self.node.as_integer();
        let value =
            written.and_then(|value| u64::from_str_radix(value.as_str(), value.radix()).ok());
        let value = value.filter(|value| allowed.contains(value));
        if value.is_none() {
            self.refuse(format_args!(
                "must be a whole number from {} to {}",
                allowed.start,
                allowed.end.saturating_sub(1)
            ));
        }
        value
    }

    /// The value as a table.
    pub(super) fn table(&self) -> Option<Table<'a>> {
        let Some(entries) = self.node.as_table() else {
            self.refuse("must be a table");
            return None;
        };
        let read = RefCell::default();
        Some(Table {
            source: self.source,
            entries,
            span: self.span.clone(),
            path: self.path.clone(),
            read,
        })
    }

    /// The elements of an array.
    pub(super) fn items(&self) -> Vec<Value<'a>> {
        let Some(items) = self.node.as_array() else {
            self.refuse("must be a list");
            return Vec::new();
        };
        let item = |(index, item): (usize, &'a Spanned<DeValue<'a>>)| Value {
            source: self.source,
            node: item.get_ref(),
            span: item.span(),
            path: format!("{}[{index}]", self.path),
        };
        items.iter().enumerate().map(item).collect()
    }

    /// One string, or a list of them.
    pub(super) fn one_or_more(&self) -> Vec<Value<'a>> {
        if self.node.is_array() {
            self.items()
        } else {
            vec![self.clone()]
        }
    }

    /// The strings of an array.
    pub(super) fn strings(&self) -> Vec<String> {
        self.items().iter().filter_map(Value::string).collect()
    }

    /// The value as JSON, for what is passed on as it is.
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        Some(match self.node {
            DeValue::String(text) => text.as_ref().into(),
            DeValue::Boolean(value) => (*value).into(),
            DeValue::Integer(value) => i64::from_str_radix(value.as_str(), value.radix())
                .ok()?
                .into(),
            DeValue::Array(_) => self
                .items()
                .iter()
                .map(Value::json)
                .collect::<Option<Vec<_>>>()?
                .into(),
            DeValue::Table(_) => {
                let entries = self.table()?.entries();
                let entries = entries
                    .into_iter()
                    .map(|(key, value)| Some((key, value.json()?)));
                serde_json::Value::Object(entries.collect::<Option<_>>()?)
            }
            DeValue::Float(_) | DeValue::Datetime(_) => {
                self.refuse("must be a string, a whole number, true, false, a list or a table");
                return None;
            }
        })
    }
}

/// A table; a key nobody asked for is a problem, found by [`Table::finish`].
pub(super) struct Table<'a> {
    source: &'a Source<'a>,
    entries: &'a DeTable<'a>,
    span: Range<usize>,
    path: String,
    read: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Table<'a> {
    /// The whole document.
    pub(super) fn root(source: &'a Source<'a>, document: &'a Spanned<DeTable<'a>>) -> Self {
        let (entries, span) = (document.get_ref(), document.span());
        Self {
            source,
            entries,
            span,
            path: String::new(),
            read: RefCell::default(),
        }
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &'static str) -> Option<Value<'a>> {
        self.read.borrow_mut().insert(key);
        let (_, value) = self
            .entries
            .iter()
            .find(|(name, _)| name.get_ref().as_ref() == key)?;
        Some(self.value(key, value))
    }

    /// The value of a key that must be there.
    pub(super) fn need(&self, key: &'static str) -> Option<Value<'a>> {
        let value = self.get(key);
        if value.is_none() {
            self.refuse(format_args!("needs the key `{key}`"));
        }
        value
    }

    /// Notes that the table as a whole is not what it must be.
    pub(super) fn refuse(&self, must: impl fmt::Display) {
        let name = if self.path.is_empty() {
            "the file"
        } else {
            &self.path
        };
        self.source.note(&self.span, format!("{name}: {must}"));
    }

    /// All entries, in the order of the file, with keys of any name.
    fn entries(&self) -> Vec<(String, Value<'a>)> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let named = |(key, value): (&Spanned<_>, &'a Spanned<DeValue<'a>>)| {
            let key: &std::borrow::Cow<'_, str> = key.get_ref();
            (key.to_string(), self.value(key, value))
        };
        entries.into_iter().map(named).collect()
    }

    /// All entries of the table at `key`, none where there is none.
    pub(super) fn entries_of(&self, key: &'static str) -> Vec<(String, Value<'a>)> {
        let table = self.get(key).and_then(|value| value.table());
        table.map(|table| table.entries()).unwrap_or_default()
    }

    /// Reads the entries of the table at `key`, each itself a table: `[nodes.R1]`.
    pub(super) fn named(&self, key: &'static str) -> Vec<(String, Table<'a>)> {
        self.entries_of(key)
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.table()?)))
            .collect()
    }

    /// Reads an array of tables: `[[attachments]]`.
    pub(super) fn list(&self, key: &'static str) -> Vec<Table<'a>> {
        let items = self.get(key).map(|value| value.items()).unwrap_or_default();
        items.iter().filter_map(Value::table).collect()
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(&self) {
        let read = self.read.borrow();
        for (key, value) in self.entries {
            if !read.contains(key.get_ref().as_ref()) {
                let allowed: Vec<_> = read.iter().copied().collect();
                let path = self.value(key.get_ref(), value).path;
                self.source.note(
                    &key.span(),
                    format!("{path}: no such key; allowed: {}", allowed.join(", ")),
                );
            }
        }
    }

    fn value(&self, key: &str, value: &'a Spanned<DeValue<'a>>) -> Value<'a> {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Value {
            source: self.source,
            node: value.get_ref(),
            span: value.span(),
            path,
        }
    }
}
