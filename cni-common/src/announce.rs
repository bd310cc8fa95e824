//! Telling the neighbours where an address is: gratuitous ARP (RFC 5227, 2.3) and unsolicited neighbour
//! advertisements (RFC 4861, 7.2.6).
//!
//! To be sent when the link has settled, and not before: what the kernel announces by itself when a link comes up
//! leaves earlier, and the bridge drops it.
//!
//! The kernel announces all addresses of a link whose Ethernet address is set, to the same one as well, once it is
//! told to. A packet socket could send the same frames, but closing one waits for a grace period of the kernel's,
//! some 10 ms (`packet_release`): it is for where the kernel cannot be told.
#![expect(
    unsafe_code,
    reason = "nix can neither build nor send to a link-layer socket address"
)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::addr::{Family, Mac};
use crate::error::{Cause, Error, Step};
use crate::netlink::Rtnl;
use crate::netlink::link::Link;
use crate::sysctl::{self, Outcome};

/// How often everything is sent: twice at once. A pause between would be ADD's to wait; on one bridge a frame
/// is lost to a full queue at most.
const TIMES: usize = 2;

pub(crate) const BROADCAST: Mac = Mac([0xff; 6]);
/// `ff02::1`, all nodes, as an Ethernet address (RFC 2464, 7).
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(crate) const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// How the addresses of a link are announced.
#[derive(Debug)]
pub enum Announcer {
    /// By the kernel.
    Kernel,
    /// By a packet socket.
    Packets(PacketSocket),
}

impl Announcer {
    /// Tells the kernel to announce the addresses of a link of the calling thread's namespace, for the families in
    /// use, or opens a packet socket where it cannot be told.
    pub fn prepare(link: &str, families: &[Family]) -> io::Result<Self> {
        for family in families {
            let name = match family {
                Family::V4 => format!("net/ipv4/conf/{link}/arp_notify"),
                Family::V6 => format!("net/ipv6/conf/{link}/ndisc_notify"),
            };
            match sysctl::set(&name, "1") {
                Ok(Outcome::Changed { .. } | Outcome::Already) => {}
                Ok(Outcome::Absent | Outcome::ReadOnly) | Err(_) => {
                    return PacketSocket::open().map(Self::Packets);
                }
            }
        }
        Ok(Self::Kernel)
    }

    /// Announces the addresses; `rtnl` is of the link's namespace.
    pub fn announce(
        &self,
        rtnl: &mut Rtnl,
        link: &Link,
        addresses: &[IpAddr],
    ) -> Result<(), Error> {
        let Some(mac) = link.mac.filter(|_| !addresses.is_empty()) else {
            return Ok(());
        };
        let doing = format!("announce the addresses of {}", link.name);
        match self {
            Self::Kernel => {
                let again = || link.change().doing(&doing).mac(mac).request();
                rtnl.batch((0..TIMES).map(|_| again()).collect())
                    .map_err(Cause::cause)
            }
            Self::Packets(socket) => socket.announce(link.index, mac, addresses).step(|| doing),
        }
    }
}

/// A socket that sends announcements. It stays in the network namespace in which it was opened.
#[derive(Debug)]
pub struct PacketSocket {
    socket: OwnedFd,
}

impl PacketSocket {
    /// Opens the socket in the calling thread's namespace. It receives nothing.
    fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            None,
        )?;
        Ok(Self { socket })
    }

    /// Announces that `mac`, the address of the link of that index, has these IP addresses.
    fn announce(&self, link: u32, mac: Mac, addresses: &[IpAddr]) -> io::Result<()> {
        for _ in 0..TIMES {
            for address in addresses {
                match address {
                    // Some listen to requests only, some to replies only.
                    IpAddr::V4(ip) => {
                        self.send(link, &gratuitous_arp(Operation::Request, mac, *ip))?;
                        self.send(link, &gratuitous_arp(Operation::Reply, mac, *ip))?;
                    }
                    IpAddr::V6(ip) => self.send(link, &neighbour_advertisement(mac, *ip))?,
                }
            }
        }
        Ok(())
    }

    fn send(&self, link: u32, frame: &[u8]) -> io::Result<()> {
        // SAFETY: all bytes zero is a valid sockaddr_ll.
        let mut to: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        to.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        to.sll_ifindex = i32::try_from(link).map_err(io::Error::other)?;
        let length = libc::socklen_t::try_from(size_of_val(&to)).map_err(io::Error::other)?;
        // SAFETY: the frame and the address are borrowed for the call and their lengths are right; the socket
        // is open for as long as `self` lives.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                (&raw const to).cast(),
                length,
            )
        };
        Errno::result(sent)?;
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Operation {
    Request,
    Reply,
}

pub(crate) fn ethernet(to: Mac, from: Mac, kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind, payload].concat()
}

/// An ARP packet in which sender and target are the same address (RFC 826, RFC 5227).
fn gratuitous_arp(operation: Operation, mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    let (operation, target) = match operation {
        Operation::Request => ([0, 1], Mac([0; 6])),
        Operation::Reply => ([0, 2], mac),
    };
    // Ethernet, IPv4, and the lengths of their addresses.
    let types = [0, 1, 0x08, 0, 6, 4];
    let ip = ip.octets();
    let packet = [&types[..], &operation, &mac.0, &ip, &target.0, &ip].concat();
    ethernet(BROADCAST, mac, ETHERTYPE_ARP, &packet)
}

/// An unsolicited neighbour advertisement to all nodes: override set, the link-layer address as its option.
fn neighbour_advertisement(mac: Mac, ip: Ipv6Addr) -> Vec<u8> {
    const ICMPV6: u8 = 58;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    let from = ip.octets();
    let to = ALL_NODES.octets();
    let advertisement = |checksum: [u8; 2]| {
        [
            &[136, 0][..],
            &checksum,
            &[OVERRIDE, 0, 0, 0],
            &from,
            &[TARGET_LINK_LAYER_ADDRESS, 1],
            &mac.0,
        ]
        .concat()
    };
    // The sum is over a pseudo header too (RFC 8200, 8.1), in which the checksum counts as zero.
    let length = [0, 32];
    let pseudo = [&from[..], &to, &[0, 0], &length, &[0, 0, 0, ICMPV6]].concat();
    let sum = checksum(&[pseudo, advertisement([0, 0])].concat());
    let header = [&[0x60, 0, 0, 0][..], &length, &[ICMPV6, 255], &from, &to].concat();
    let packet = [header, advertisement(sum.to_be_bytes())].concat();
    ethernet(ALL_NODES_MAC, mac, ETHERTYPE_IPV6, &packet)
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let (words, _) = bytes.as_chunks::<2>();
    let sum: u32 = words
        .iter()
        .map(|word| u32::from(u16::from_be_bytes(*word)))
        .sum();
    let folded = (sum >> 16) + (sum & 0xffff);
    let folded = (folded >> 16) + (folded & 0xffff);
    !u16::try_from(folded).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::ident::IfName;
    use crate::netlink::Rtnl;
    use crate::netlink::veth::NewVeth;
    use crate::netns::Netns;
    use crate::testing::{private_netns, run};

    const MAC: Mac = Mac([2, 0, 0, 0, 0, 7]);

    #[test]
    fn the_checksum_of_a_received_advertisement_comes_out_as_zero() {
        let frame = neighbour_advertisement(MAC, "fd00::7".parse().unwrap());
        let ip = &frame[14..];
        let mut sum = ip[8..40].to_vec();
        sum.extend([0, 0, 0, 32, 0, 0, 0, 58]);
        sum.extend(&ip[40..]);
        assert_eq!(checksum(&sum), 0);
        assert_eq!((ip[7], ip.len()), (255, 72));
    }

    #[test]
    fn the_checksum_is_that_of_rfc_1071() {
        // RFC 1071, section 3: the sum of these words is ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(checksum(&bytes), !0xddf2);
    }

    #[test]
    fn a_gratuitous_request_and_reply_name_the_same_address_twice() {
        let ip = "10.1.2.3".parse().unwrap();
        for (operation, number) in [(Operation::Request, 1), (Operation::Reply, 2)] {
            let frame = gratuitous_arp(operation, MAC, ip);
            assert_eq!(frame.len(), 42);
            assert_eq!(frame[..6], [0xff; 6]);
            assert_eq!(frame[20..22], [0, number]);
            assert_eq!(frame[28..32], ip.octets());
            assert_eq!(frame[38..42], ip.octets());
        }
    }

    /// A neighbour with stale entries, and the far end of its link, with the addresses.
    fn stale_neighbour() -> (Netns, Link) {
        private_netns();
        let inside = Netns::current().unwrap();
        private_netns();
        let (near, far) = (
            IfName::parse("near").unwrap(),
            IfName::parse("far").unwrap(),
        );
        let veth = NewVeth {
            name: &near,
            mac: Mac([2, 0, 0, 0, 0, 1]),
            master: None,
            peer: &far,
            peer_mac: MAC,
            peer_netns: &inside,
            mtu: None,
            group: None,
        };
        Rtnl::open().unwrap().add_veth(&veth).unwrap();
        run("ip", &["link", "set", "near", "up"]);
        run("ip", &["addr", "add", "10.1.2.1/24", "dev", "near"]);
        run("ip", &["addr", "add", "fd00::1/64", "dev", "near", "nodad"]);
        for ip in ["10.1.2.3", "fd00::3"] {
            let entry = ["neigh", "add", ip, "lladdr", "02:00:00:00:00:66"];
            run(
                "ip",
                &[&entry[..], &["dev", "near", "nud", "stale"]].concat(),
            );
        }
        let link = inside
            .run(|| {
                run("ip", &["link", "set", "far", "up"]);
                run("ip", &["addr", "add", "10.1.2.3/24", "dev", "far"]);
                run("ip", &["addr", "add", "fd00::3/64", "dev", "far", "nodad"]);
                let mut rtnl = Rtnl::open().unwrap();
                let index = rtnl.link_by_name(&far).unwrap().unwrap().index;
                rtnl.settled(index, Duration::from_secs(5))
                    .unwrap()
                    .unwrap()
            })
            .unwrap();
        (inside, link)
    }

    #[track_caller]
    fn neighbours_learn(inside: &Netns, link: &Link, announcer: &Announcer) {
        let addresses = ["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()];
        let mut rtnl = inside.run(|| Rtnl::open().unwrap()).unwrap();
        announcer.announce(&mut rtnl, link, &addresses).unwrap();
        let end = Instant::now() + Duration::from_secs(5);
        loop {
            let seen = run("ip", &["neigh", "show", "dev", "near"]);
            if seen.matches("02:00:00:00:00:07").count() == 2 {
                return;
            }
            assert!(Instant::now() < end, "{seen}");
        }
    }

    #[test]
    fn neighbours_learn_a_moved_address_from_the_kernel() {
        let (inside, link) = stale_neighbour();
        let families = [Family::V4, Family::V6];
        let announcer = inside
            .run(|| Announcer::prepare("far", &families).unwrap())
            .unwrap();
        assert!(matches!(announcer, Announcer::Kernel));
        neighbours_learn(&inside, &link, &announcer);
    }

    #[test]
    fn neighbours_learn_a_moved_address_from_packets() {
        let (inside, link) = stale_neighbour();
        let socket = inside.run(|| PacketSocket::open().unwrap()).unwrap();
        neighbours_learn(&inside, &link, &Announcer::Packets(socket));
    }
}
