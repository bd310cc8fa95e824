//! What is sent and received, of any netlink family.

use core::fmt;
use core::marker::PhantomData;

use netlink_packet_core::{Emitable, NLM_F_ACK};

/// A netlink protocol.
pub trait Family {
    /// The protocol number (`NETLINK_*`, linux/netlink.h).
    const PROTOCOL: isize;
}

/// One request, encoded, with the words an error about it begins with.
pub struct Request<F> {
    pub(super) doing: String,
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) body: Vec<u8>,
    pub(super) tolerated: Vec<i32>,
    family: PhantomData<F>,
}

impl<F> fmt::Debug for Request<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("doing", &self.doing)
            .field("kind", &self.kind)
            .field("flags", &self.flags)
            .finish_non_exhaustive()
    }
}

impl<F: Family> Request<F> {
    /// A request of that message type (`RTM_*`, linux/rtnetlink.h); `doing` reads like `create veth veth9f2c`.
    ///
    /// Type and message are given apart: an enum of all messages would bring the code for every one of them into
    /// every plugin.
    pub fn new(doing: impl Into<String>, kind: u16, message: &impl Emitable) -> Self {
        let mut body = vec![0; message.buffer_len()];
        message.emit(&mut body);
        Self::raw(doing, kind, body)
    }

    /// A request whose body is encoded already: everything after `struct nlmsghdr`.
    pub fn raw(doing: impl Into<String>, kind: u16, body: Vec<u8>) -> Self {
        Self {
            doing: doing.into(),
            kind,
            flags: 0,
            body,
            tolerated: Vec::new(),
            family: PhantomData,
        }
    }

    /// Adds header flags (`NLM_F_*`, linux/netlink.h).
    #[must_use]
    pub fn with(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Counts an error number as success: `EEXIST` where it is enough that the thing is there.
    #[must_use]
    pub fn tolerate(mut self, errno: i32) -> Self {
        self.tolerated.push(errno);
        self
    }

    /// Asks for an acknowledgement of this request of a batch; see [`super::Connection::batch`].
    #[must_use]
    pub fn acked(self) -> Self {
        self.with(NLM_F_ACK)
    }
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The message type.
    pub kind: u16,
    /// Everything after `struct nlmsghdr`.
    pub body: Vec<u8>,
}
