//! What a client sends.

use dhcproto::v6::{DhcpOption, Encodable, Message, MessageType, OptionCode, UnknownOption};

use super::Kind;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    pub(crate) options: Vec<(u16, Vec<u8>)>,
}

impl Outgoing {
    /// The message's bytes; `None` where an option is longer than one can be.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        let [_, high, middle, low] = self.xid.to_be_bytes();
        let kind = MessageType::from(self.kind.number());
        let mut message = Message::new_with_id(kind, [high, middle, low]);
        for (code, data) in &self.options {
            u16::try_from(data.len()).ok()?;
            let option = UnknownOption::new(OptionCode::from(*code), data.clone());
            message.opts_mut().insert(DhcpOption::Unknown(option));
        }
        message.to_vec().ok()
    }

    /// An option as it is sent.
    #[cfg(test)]
    pub(crate) fn option(&self, code: u16) -> Option<&[u8]> {
        let mut options = self.options.iter();
        options
            .find(|(found, _)| *found == code)
            .map(|(_, data)| data.as_slice())
    }
}

/// An identity association as a client sends it: its times are for the server to say, so they are zero, and so are those
/// of what is in it (RFC 8415, 21.4 and 21.6).
pub(crate) fn association(iaid: u32, inner: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let mut data = iaid.to_be_bytes().to_vec();
    data.extend([0; 8]);
    for (code, content) in inner {
        data.extend(code.to_be_bytes());
        data.extend(u16::try_from(content.len()).unwrap_or(0).to_be_bytes());
        data.extend_from_slice(content);
    }
    data
}
