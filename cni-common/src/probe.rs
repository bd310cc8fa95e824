//! Asking whether an IPv4 address is in use on a link (RFC 5227, 2.1).
//!
//! The RFC's own waiting times, some six seconds, are for any Ethernet there is; section 1.3 leaves others to links that are
//! known to be quicker. A bridge on one host answers within microseconds.
#![expect(
    unsafe_code,
    reason = "nix can neither build nor bind to a link-layer socket address"
)]

use core::net::Ipv4Addr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockType, recv, send, socket};

use crate::addr::Mac;
use crate::announce::{BROADCAST, ETHERTYPE_ARP, ethernet};
use crate::netlink::link::Link;

/// How many probes are sent for each address (`PROBE_NUM`).
const PROBES: u32 = 3;
/// How long is waited after each.
const PAUSE: Duration = Duration::from_millis(200);
/// How many frames are looked at that came before its end and were not looked at by then: more than the socket holds.
const QUEUE: usize = 1024;

/// A frame with an ARP packet for IPv4: Ethernet's header, then 28 bytes.
const FRAME: usize = 42;

/// A socket that hears ARP on one link.
#[derive(Debug)]
pub struct Prober {
    socket: OwnedFd,
    mac: Mac,
}

impl Prober {
    /// Opens the socket in the calling thread's namespace, for a link of that namespace, which must be up.
    pub fn open(link: &Link) -> io::Result<Self> {
        let mac = link
            .mac
            .ok_or_else(|| io::Error::other("the link has no Ethernet address"))?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Packet, SockType::Raw, flags, None)?;
        // SAFETY: all bytes zero is a valid sockaddr_ll.
        let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        address.sll_protocol = u16::from_ne_bytes(ETHERTYPE_ARP);
        address.sll_ifindex = i32::try_from(link.index).map_err(io::Error::other)?;
        let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
        // SAFETY: the address is borrowed for the call and its length is right; the socket is open.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        Errno::result(bound)?;
        Ok(Self { socket, mac })
    }

    /// Probes for the addresses and gives the first that somebody has, with who that is.
    pub fn probe(&self, addresses: &[Ipv4Addr]) -> io::Result<Option<(Ipv4Addr, Mac)>> {
        for _ in 0..PROBES {
            for address in addresses {
                send(
                    self.socket.as_raw_fd(),
                    &probe(self.mac, *address),
                    MsgFlags::empty(),
                )?;
            }
            let found = self.hear(Instant::now() + PAUSE, addresses)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Who has one of the addresses, as far as is heard until `end`. What has come by then counts also where a busy machine
    /// kept this process from looking.
    fn hear(&self, end: Instant, addresses: &[Ipv4Addr]) -> io::Result<Option<(Ipv4Addr, Mac)>> {
        let mut late = 0..QUEUE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() && late.next().is_none() {
                return Ok(None);
            }
            match self.receive(left)? {
                Some(frame) => {
                    let found = conflict(&frame, self.mac, addresses);
                    if found.is_some() {
                        return Ok(found);
                    }
                }
                None if left.is_zero() => return Ok(None),
                None => {}
            }
        }
    }

    /// The next frame, where one comes within this time.
    fn receive(&self, within: Duration) -> io::Result<Option<Vec<u8>>> {
        // Rounded up, so that the last millisecond is not spent in a loop.
        let within = u16::try_from(within.as_micros().div_ceil(1000)).unwrap_or(u16::MAX);
        let mut waiting = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, PollTimeout::from(within)) {
            Ok(0) | Err(Errno::EINTR) => return Ok(None),
            Ok(_) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut frame = vec![0; 128];
        match recv(self.socket.as_raw_fd(), &mut frame, MsgFlags::empty()) {
            Ok(length) => {
                frame.truncate(length);
                Ok(Some(frame))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

/// A request that names no sender.
fn probe(mac: Mac, target: Ipv4Addr) -> Vec<u8> {
    let types = [0, 1, 0x08, 0, 6, 4, 0, 1];
    let packet = [&types[..], &mac.0, &[0; 4], &[0; 6], &target.octets()].concat();
    ethernet(BROADCAST, mac, ETHERTYPE_ARP, &packet)
}

/// Whether a frame says that somebody else has one of the addresses, or is probing for it too (RFC 5227, 2.1.1).
fn conflict(frame: &[u8], own: Mac, addresses: &[Ipv4Addr]) -> Option<(Ipv4Addr, Mac)> {
    let packet: &[u8; FRAME] = frame.first_chunk()?;
    let field = |from: usize| packet.get(from..);
    // Ethernet, IPv4, and the lengths of their addresses.
    if field(12)?.get(..8)? != [0x08, 0x06, 0, 1, 0x08, 0, 6, 4] {
        return None;
    }
    let sender = Mac(*field(22)?.first_chunk()?);
    let ip = |from| Some(Ipv4Addr::from(*field(from)?.first_chunk::<4>()?));
    let (source, target) = (ip(28)?, ip(38)?);
    let claimed = if source.is_unspecified() {
        target
    } else {
        source
    };
    (sender != own && addresses.contains(&claimed)).then_some((claimed, sender))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ident::IfName;
    use crate::netlink::Rtnl;
    use crate::netlink::veth::NewVeth;
    use crate::netns::Netns;
    use crate::testing::{private_netns, run};

    const OWN: Mac = Mac([2, 0, 0, 0, 0, 1]);
    const OTHER: Mac = Mac([2, 0, 0, 0, 0, 9]);

    #[test]
    fn a_claim_and_another_probe_are_conflicts() {
        let ours = ["10.0.0.7".parse().unwrap()];
        let theirs = probe(OTHER, ours[0]);
        assert_eq!(conflict(&theirs, OWN, &ours), Some((ours[0], OTHER)));
        assert_eq!(conflict(&theirs, OTHER, &ours), None);
        let mut reply = theirs.clone();
        reply[28..32].copy_from_slice(&ours[0].octets());
        reply[38..42].copy_from_slice(&[10, 0, 0, 99]);
        assert_eq!(conflict(&reply, OWN, &ours), Some((ours[0], OTHER)));
        reply[31] = 8;
        assert_eq!(conflict(&reply, OWN, &ours), None);
        for cut in 0..theirs.len() {
            assert_eq!(conflict(&theirs[..cut], OWN, &ours), None);
        }
    }

    #[test]
    fn an_answer_counts_that_came_while_nobody_could_look() {
        private_netns();
        let inside = Netns::current().unwrap();
        private_netns();
        let [near, far] = ["near", "far"].map(|name| IfName::parse(name).unwrap());
        let veth = NewVeth {
            name: &near,
            mac: OWN,
            master: None,
            peer: &far,
            peer_mac: OTHER,
            peer_netns: &inside,
            mtu: None,
            group: None,
        };
        let mut rtnl = Rtnl::open().unwrap();
        rtnl.add_veth(&veth).unwrap();
        let up = || {
            run("ip", &["addr", "add", "10.0.0.7/24", "dev", "far"]);
            run("ip", &["link", "set", "far", "up"]);
        };
        inside.run(up).unwrap();
        run("ip", &["link", "set", "near", "up"]);
        let index = rtnl.link_by_name(&near).unwrap().unwrap().index;
        let link = rtnl.settled(index, Duration::from_secs(30)).unwrap();
        let prober = Prober::open(&link.unwrap()).unwrap();
        let ours = ["10.0.0.7".parse().unwrap()];
        let over = Instant::now();
        let mut found = None;
        while found.is_none() {
            assert!(over.elapsed() < Duration::from_secs(30));
            // The far end may not send yet.
            let asked = probe(OWN, ours[0]);
            send(prober.socket.as_raw_fd(), &asked, MsgFlags::empty()).unwrap();
            found = prober.hear(over, &ours).unwrap();
        }
        assert_eq!(found, Some((ours[0], OTHER)));
    }
}
