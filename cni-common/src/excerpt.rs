//! Showing people text that somebody else wrote, however long it is.

use std::borrow::Cow;

/// The longest text that is worth reading, in bytes: an error message or a line of the log.
pub const LINE: usize = 4096;

/// The longest part of one, such as what is wrong with one key, in bytes.
pub const PART: usize = 400;

/// The text, without its middle if it is longer than `most` bytes: what is said of a value stands behind it.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    const GAP: &str = " … ";
    if text.len() <= most {
        return Cow::Borrowed(text);
    }
    let half = most.saturating_sub(GAP.len()) / 2;
    let head = text.get(..text.floor_char_boundary(half));
    let tail = text.get(text.ceil_char_boundary(text.len().saturating_sub(half))..);
    Cow::Owned(format!(
        "{}{GAP}{}",
        head.unwrap_or_default(),
        tail.unwrap_or_default()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_keeps_both_ends_and_whole_characters() {
        assert_eq!(shortened("short", 5), "short");
        assert_eq!(shortened("0123456789abcdef", 11), "012 … def");
        for most in 0..40 {
            let short = shortened("äöüäöüäöüäöüäöüäöüäöüäöüäöüäöü", most);
            assert!(short.len() <= most.max(" … ".len()), "{most}: {short}");
        }
    }
}
