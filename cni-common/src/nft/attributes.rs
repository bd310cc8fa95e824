//! Attributes of an answer, read with every bound checked.

use crate::netlink::attributes;

/// The attributes of a message or of a nested attribute; the first of a number counts.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The attributes of a message, after `struct nfgenmsg`.
    pub(crate) fn of(body: &'a [u8]) -> Self {
        Self(body.get(4..).unwrap_or_default())
    }

    /// All, up to the first whose length makes no sense.
    pub(crate) fn all(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        attributes(self.0)
    }

    /// The value of one.
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.all()
            .find_map(|(found, value)| (found == kind).then_some(value))
    }

    /// The attributes inside one.
    pub(crate) fn nested(self, kind: u16) -> Option<Self> {
        self.get(kind).map(Self)
    }

    /// A 32 bit number in network byte order.
    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// Whether these numbers are among them.
    pub(crate) fn are(self, numbers: &[(u16, u32)]) -> bool {
        let mut numbers = numbers.iter();
        numbers.all(|(kind, value)| self.number(*kind) == Some(*value))
    }

    /// A 64 bit number in network byte order.
    pub(crate) fn long(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A text with or without its NUL.
    pub(crate) fn text(self, kind: u16) -> Option<String> {
        let value = self.get(kind)?;
        let text = value.strip_suffix(&[0]).unwrap_or(value);
        String::from_utf8(text.to_vec()).ok()
    }
}
