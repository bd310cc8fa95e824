//! What a client sends.

use core::net::Ipv4Addr;

use cni_common::addr::Mac;
use dhcproto::v4::{DhcpOption, Encodable, Flags, Message, OptionCode, UnknownOption};

use super::{Kind, code};

/// The least a BOOTP message has; some relays drop what is shorter (RFC 1542, 2.1).
const SHORTEST: usize = 300;

/// A message of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    pub(crate) kind: Kind,
    pub(crate) xid: u32,
    pub(crate) secs: u16,
    /// Whether the reply should be broadcast.
    pub(crate) broadcast: bool,
    /// The address the client has and answers for; unspecified while it has none.
    pub(crate) ciaddr: Ipv4Addr,
    pub(crate) chaddr: Mac,
    /// Options beside the message type.
    pub(crate) options: Vec<(u8, Vec<u8>)>,
}

impl Outgoing {
    /// The message's bytes, `None` where an option is longer than one can be.
    pub(crate) fn to_bytes(&self) -> Option<Vec<u8>> {
        let none = Ipv4Addr::UNSPECIFIED;
        let mut message =
            Message::new_with_id(self.xid, self.ciaddr, none, none, none, &self.chaddr.0);
        message.set_secs(self.secs);
        if self.broadcast {
            message.set_flags(Flags::default().set_broadcast());
        }
        let kind = (code::MESSAGE_TYPE, vec![self.kind.number()]);
        for (code, data) in core::iter::once(&kind).chain(&self.options) {
            u8::try_from(data.len()).ok()?;
            let option = UnknownOption::new(OptionCode::from(*code), data.clone());
            message.opts_mut().insert(DhcpOption::Unknown(option));
        }
        let mut bytes = message.to_vec().ok()?;
        if bytes.len() < SHORTEST {
            bytes.resize(SHORTEST, 0);
        }
        Some(bytes)
    }

    /// An option as it is sent.
    #[cfg(test)]
    pub(crate) fn option(&self, code: u8) -> Option<&[u8]> {
        let mut options = self.options.iter();
        options
            .find(|(found, _)| *found == code)
            .map(|(_, data)| data.as_slice())
    }
}
