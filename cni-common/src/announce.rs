//! Telling the neighbours where an address is: gratuitous ARP (RFC 5227, 2.3) and unsolicited neighbour
//! advertisements (RFC 4861, 7.2.6).
//!
//! To be sent when the link has settled, and not before: what the kernel announces by itself when a link comes up
//! leaves earlier, and the bridge drops it.
//!
//! Every port of a bridge gets a copy, worked off to the end in the sender's time: milliseconds where there are hundreds of
//! containers. So a child process sends, by a packet socket. It looks first whether the link still has its Ethernet address:
//! who changes it meanwhile, the plugin `tuning` for one, has the kernel announce the new one (`arp_notify`,
//! `ndisc_notify`). Where packet sockets are not allowed, the kernel announces: all addresses of a link whose Ethernet address
//! is set, to the same one as well.
#![expect(
    unsafe_code,
    reason = "a child that shares our memory has no safe form, and nix none for what it is to do"
)]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd, RawFd};

use crate::addr::Mac;
use crate::child::{self, call};
use crate::error::{Cause, Error};
use crate::netlink::link::Link;
use crate::netlink::{Request, Rtnetlink, Rtnl};
use crate::netns::Netns;

pub(crate) const BROADCAST: Mac = Mac([0xff; 6]);
/// `ff02::1`, all nodes, as an Ethernet address (RFC 2464, 7).
const ALL_NODES_MAC: Mac = Mac([0x33, 0x33, 0, 0, 0, 1]);
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

pub(crate) const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];

/// Announces the addresses of a link of that namespace, of which `rtnl` is as well; returns before it is done.
pub fn announce(
    netns: &Netns,
    rtnl: &mut Rtnl,
    link: &Link,
    addresses: &[IpAddr],
) -> Result<(), Error> {
    let Some(mac) = link.mac.filter(|_| !addresses.is_empty()) else {
        return Ok(());
    };
    let errand = Errand::new(netns, rtnl, link, mac, addresses);
    // SAFETY: `send` makes system calls and nothing else.
    match unsafe { child::start(netns.as_fd(), send, errand) } {
        Some(_) => Ok(()),
        None => rtnl.execute(by_kernel(link, mac)).map_err(Cause::cause),
    }
}

/// The request that makes the kernel announce the addresses of a link, where its parameters say so.
fn by_kernel(link: &Link, mac: Mac) -> Request<Rtnetlink> {
    let doing = format!("announce the addresses of {}", link.name);
    link.change().doing(doing).mac(mac).request()
}

/// What the child needs to know.
struct Errand {
    netns: RawFd,
    link: Interface,
    mac: Mac,
    to: Destination,
    frames: Vec<Vec<u8>>,
    /// The request of [`by_kernel`].
    by_kernel: Vec<u8>,
}

impl Errand {
    fn new(netns: &Netns, rtnl: &mut Rtnl, link: &Link, mac: Mac, addresses: &[IpAddr]) -> Self {
        Self {
            netns: netns.as_raw_fd(),
            link: Interface::named(&link.name),
            mac,
            to: Destination::on(link.index),
            frames: addresses.iter().map(|each| frame(mac, *each)).collect(),
            by_kernel: rtnl.datagram(&by_kernel(link, mac)),
        }
    }
}

/// `struct ifreq` (linux/if.h) with `ifr_hwaddr`.
#[derive(Clone, Copy)]
#[repr(C)]
struct Interface {
    name: [u8; libc::IFNAMSIZ],
    kind: u16,
    mac: [u8; 6],
    _rest: [u8; 16],
}

impl Interface {
    fn named(name: &str) -> Self {
        let mut interface = Self {
            name: [0; libc::IFNAMSIZ],
            kind: 0,
            mac: [0; 6],
            _rest: [0; 16],
        };
        // The last byte stays zero.
        let space = interface.name.iter_mut().take(libc::IFNAMSIZ - 1);
        space.zip(name.bytes()).for_each(|(to, byte)| *to = byte);
        interface
    }
}

/// `struct sockaddr_ll` (`linux/if_packet.h`); the frames have their own header, so the interface is enough.
#[derive(Clone, Copy)]
#[repr(C)]
struct Destination {
    family: u16,
    protocol: u16,
    interface: u32,
    _rest: [u8; 12],
}

impl Destination {
    fn on(interface: u32) -> Self {
        Self {
            family: AF_PACKET,
            protocol: 0,
            interface,
            _rest: [0; 12],
        }
    }
}

/// In the child.
fn send(errand: &Errand) -> bool {
    if !enter(errand.netns) {
        return false;
    }
    match socket(AF_PACKET) {
        Some(socket) => errand.announce(socket),
        None => errand.have_the_kernel_announce(),
    }
}

impl Errand {
    fn announce(&self, socket: usize) -> bool {
        let to: *const Destination = &raw const self.to;
        let to = [to.expose_provenance(), size_of::<Destination>()];
        let mut frames = self.frames.iter();
        frames.all(|frame| self.stands(socket) && send_to(socket, frame, to))
    }

    fn have_the_kernel_announce(&self) -> bool {
        socket(AF_NETLINK)
            .is_some_and(|socket| self.stands(socket) && send_to(socket, &self.by_kernel, [0, 0]))
    }

    /// Whether the link has the Ethernet address that is announced.
    fn stands(&self, socket: usize) -> bool {
        let mut link = self.link;
        let pointer: *mut Interface = &raw mut link;
        let request = usize::try_from(libc::SIOCGIFHWADDR).unwrap_or(0);
        let ask = [socket, request, pointer.expose_provenance(), 0, 0, 0];
        // SAFETY: the kernel writes into `link`, which has the size of `struct ifreq`.
        let answer = unsafe { call(libc::SYS_ioctl, ask) };
        answer == 0 && link.mac == self.mac.0
    }
}

/// Values of the C library's headers, as the kernel takes them.
const AF_PACKET: u16 = 17;
const AF_NETLINK: u16 = 16;

fn enter(netns: RawFd) -> bool {
    let kind = usize::try_from(libc::CLONE_NEWNET).unwrap_or(0);
    let netns = usize::try_from(netns).unwrap_or(usize::MAX);
    // SAFETY: it takes numbers, and the child is a process of its own.
    unsafe { call(libc::SYS_setns, [netns, kind, 0, 0, 0, 0]) == 0 }
}

fn socket(family: u16) -> Option<usize> {
    let kind = usize::try_from(libc::SOCK_RAW | libc::SOCK_CLOEXEC).unwrap_or(0);
    // SAFETY: it takes numbers. Protocol 0 is rtnetlink, and of a packet socket that receives nothing.
    let socket = unsafe { call(libc::SYS_socket, [family.into(), kind, 0, 0, 0, 0]) };
    usize::try_from(socket).ok()
}

fn send_to(socket: usize, bytes: &[u8], [to, length]: [usize; 2]) -> bool {
    let start = bytes.as_ptr().expose_provenance();
    // SAFETY: the bytes and the address are valid for their lengths.
    unsafe {
        call(
            libc::SYS_sendto,
            [socket, start, bytes.len(), 0, to, length],
        ) >= 0
    }
}

/// The Ethernet frame that announces one address, for who has a packet socket of its own.
pub fn frame(mac: Mac, address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(ip) => gratuitous_arp(mac, ip),
        IpAddr::V6(ip) => neighbour_advertisement(mac, ip),
    }
}

pub(crate) fn ethernet(to: Mac, from: Mac, kind: [u8; 2], payload: &[u8]) -> Vec<u8> {
    [&to.0[..], &from.0, &kind, payload].concat()
}

/// An ARP request in which sender and target are the same address (RFC 826, RFC 5227).
fn gratuitous_arp(mac: Mac, ip: Ipv4Addr) -> Vec<u8> {
    // Ethernet, IPv4, the lengths of their addresses, a request.
    let types = [0, 1, 0x08, 0, 6, 4, 0, 1];
    let ip = ip.octets();
    let packet = [&types[..], &mac.0, &ip, &[0; 6], &ip].concat();
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
    use crate::netlink::veth::NewVeth;
    use crate::sysctl;
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
    fn a_gratuitous_request_names_the_same_address_twice() {
        let ip = "10.1.2.3".parse().unwrap();
        let frame = gratuitous_arp(MAC, ip);
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..6], [0xff; 6]);
        assert_eq!(frame[20..22], [0, 1]);
        assert_eq!(frame[28..32], ip.octets());
        assert_eq!(frame[38..42], ip.octets());
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
                rtnl.settled(index, Duration::from_secs(30))
                    .unwrap()
                    .unwrap()
            })
            .unwrap();
        (inside, link)
    }

    fn moved() -> [IpAddr; 2] {
        ["10.1.2.3".parse().unwrap(), "fd00::3".parse().unwrap()]
    }

    /// How many of the addresses the neighbour knows the new place of.
    fn learnt() -> usize {
        let seen = run("ip", &["neigh", "show", "dev", "near"]);
        seen.matches("02:00:00:00:00:07").count()
    }

    /// Waits until the neighbour knows both: what was sent the kernel works off a moment later.
    #[track_caller]
    fn until_learnt() {
        let end = Instant::now() + Duration::from_secs(30);
        while learnt() < 2 {
            assert!(Instant::now() < end);
        }
    }

    fn errand(inside: &Netns, rtnl: &mut Rtnl, link: &Link) -> Errand {
        Errand::new(inside, rtnl, link, MAC, &moved())
    }

    /// Runs an errand as the child does, but in this process.
    fn carried_out(errand: Errand) -> bool {
        std::thread::spawn(move || send(&errand)).join().unwrap()
    }

    #[test]
    fn neighbours_learn_a_moved_address() {
        let (inside, link) = stale_neighbour();
        let mut rtnl = inside.run(|| Rtnl::open().unwrap()).unwrap();
        announce(&inside, &mut rtnl, &link, &moved()).unwrap();
        until_learnt();
    }

    #[test]
    fn neighbours_learn_a_moved_address_from_the_kernel() {
        let (inside, link) = stale_neighbour();
        let mut rtnl = inside.run(|| Rtnl::open().unwrap()).unwrap();
        rtnl.execute(link.change().arp_notify().request()).unwrap();
        inside
            .run(|| sysctl::set("net/ipv6/conf/far/ndisc_notify", "1").unwrap())
            .unwrap();
        let errand = errand(&inside, &mut rtnl, &link);
        let announced = std::thread::spawn(move || {
            enter(errand.netns);
            errand.have_the_kernel_announce()
        });
        assert!(announced.join().unwrap());
        until_learnt();
    }

    #[test]
    fn an_address_that_moved_on_is_not_announced() {
        let (inside, link) = stale_neighbour();
        let mut rtnl = inside.run(|| Rtnl::open().unwrap()).unwrap();
        let errand = errand(&inside, &mut rtnl, &link);
        let other = Mac([2, 0, 0, 0, 0, 8]);
        rtnl.execute(link.change().mac(other).request()).unwrap();
        assert!(!carried_out(errand));
        assert_eq!(learnt(), 0);
        let now = rtnl.link_by_index(link.index).unwrap().unwrap();
        assert_eq!(now.mac, Some(other));
    }
}
