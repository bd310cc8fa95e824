//! Kernel parameters that rtnetlink tells and takes, for which a file below `/proc/sys` is another door.
//!
//! It is the dearer door: below `/proc/sys/net` each network namespace has entries of its own under the same names,
//! all in one list of the kernel's directory cache, so that opening such a file takes longer with every namespace in
//! which it was opened before.

use super::Rtnl;
use super::frame::attributes;
use super::request::Request;
use crate::addr::Family;

/// `NETCONFA_IFINDEX` (linux/netconf.h).
const NETCONFA_IFINDEX: u16 = 1;
/// `NETCONFA_FORWARDING`.
const NETCONFA_FORWARDING: u16 = 2;
/// `NETCONFA_IFINDEX_ALL`: what `net/ipv4/conf/all` stands for.
const NETCONFA_IFINDEX_ALL: i32 = -1;

impl Rtnl {
    /// The value of `net/ipv4/ip_forward`, or of `net/ipv6/conf/all/forwarding`; `None` where the kernel does not say
    /// it by netlink.
    pub fn forwarding(&mut self, family: Family) -> Option<i32> {
        // `struct netconfmsg` is one byte, padded to four.
        let kind = match family {
            Family::V4 => libc::AF_INET,
            Family::V6 => libc::AF_INET6,
        };
        let mut body = vec![u8::try_from(kind).ok()?, 0, 0, 0];
        body.extend(8_u16.to_ne_bytes());
        body.extend(NETCONFA_IFINDEX.to_ne_bytes());
        body.extend(NETCONFA_IFINDEX_ALL.to_ne_bytes());
        let doing = format!("ask whether {family} is forwarded");
        let request = Request::raw(doing, libc::RTM_GETNETCONF, body);
        let reply = self.get(request).ok()?;
        let (_, value) =
            attributes(reply.body.get(4..)?).find(|(kind, _)| *kind == NETCONFA_FORWARDING)?;
        value.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sysctl;
    use crate::testing::private_netns;

    #[test]
    fn forwarding_is_what_the_file_says() {
        private_netns();
        let mut rtnl = Rtnl::open().unwrap();
        let files = [
            (Family::V4, "net/ipv4/ip_forward"),
            (Family::V6, "net/ipv6/conf/all/forwarding"),
        ];
        for (family, name) in files {
            for value in ["0", "1", "0"] {
                sysctl::set(name, value).unwrap();
                let said = rtnl.forwarding(family).map(|value| value.to_string());
                assert_eq!(said.as_deref(), Some(value), "{name}");
            }
        }
    }
}
