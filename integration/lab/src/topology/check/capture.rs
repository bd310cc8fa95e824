//! Listens on interfaces of a node for packets of a protocol.

#![expect(
    unsafe_code,
    reason = "a packet socket is bound to an interface with an address nix cannot make"
)]

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};

use super::super::inside::Inside;
use super::super::model::Cidr;
use super::Found;

/// Which packets count.
pub(super) struct Wanted {
    /// The protocol number of IPv4.
    pub(super) protocol: u8,
    /// The destinations.
    pub(super) to: Option<Cidr>,
}

impl Wanted {
    /// Whether an IPv4 packet counts (RFC 791, section 3.1).
    fn counts(&self, packet: &[u8]) -> bool {
        let Some(header) = packet.first_chunk::<20>() else {
            return false;
        };
        let to = Ipv4Addr::new(header[16], header[17], header[18], header[19]);
        header[0] >> 4 == 4
            && header[9] == self.protocol
            && self.to.is_none_or(|network| contains(network, to))
    }
}

fn contains(network: Cidr, address: Ipv4Addr) -> bool {
    let IpAddr::V4(base) = network.address else {
        return false;
    };
    let mask = u32::MAX
        .checked_shl(32u32.saturating_sub(network.prefix.into()))
        .unwrap_or(0);
    u32::from(base) & mask == u32::from(address) & mask
}

pub(super) fn capture(
    lab: &Inside,
    node: &str,
    wanted: &Wanted,
    (seen_on, silent_on): (&[String], &[String]),
    listen: Duration,
) -> Result<Found, String> {
    let inside = lab.network(node).map_err(|error| error.to_string())?;
    let names: Vec<_> = seen_on.iter().chain(silent_on).collect();
    let indexes = names
        .iter()
        .map(|name| index(lab, node, name))
        .collect::<Result<Vec<_>, _>>()?;
    let sockets = inside.run(|| {
        indexes
            .iter()
            .map(|index| packet_socket(*index))
            .collect::<io::Result<Vec<_>>>()
    });
    let sockets = sockets.map_err(|error| format!("listen in {node}: {error}"))?;
    let counts =
        count(&sockets, wanted, listen).map_err(|error| format!("listen in {node}: {error}"))?;
    let of = |name: &String| {
        names
            .iter()
            .zip(&counts)
            .find(|(known, _)| **known == name)
            .map_or(0, |(_, count)| *count)
    };
    let summary: Vec<_> = names
        .iter()
        .map(|name| format!("{name} {}", of(name)))
        .collect();
    let summary = format!("{} in {listen:?}", summary.join(", "));
    if let Some(silent) = seen_on.iter().find(|name| of(name) == 0) {
        return Err(format!("no such packet on {silent}: {summary}"));
    }
    if let Some(loud) = silent_on.iter().find(|name| of(name) > 0) {
        return Err(format!("there are such packets on {loud}: {summary}"));
    }
    Ok(Found {
        fact: Some(summary),
        shown: None,
    })
}

/// The index of an interface, as the node's own `/sys` tells it.
fn index(lab: &Inside, node: &str, name: &str) -> Result<i32, String> {
    let words = ["cat".to_owned(), format!("/sys/class/net/{name}/ifindex")];
    let output = super::command::output(lab, node, &words)?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.trim()
        .parse()
        .map_err(|_| format!("{node} has no interface {name}"))
}

/// A socket that gets every packet of an interface, in both directions: packet(7).
fn packet_socket(index: i32) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(
        AddressFamily::Packet,
        SockType::Datagram,
        flags,
        None::<SockProtocol>,
    )?;
    // SAFETY: all zero bytes are a valid sockaddr_ll.
    let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    address.sll_family = u16::try_from(libc::AF_PACKET).unwrap_or_default();
    address.sll_protocol = u16::try_from(libc::ETH_P_ALL).unwrap_or_default().to_be();
    address.sll_ifindex = index;
    let length = u32::try_from(size_of::<libc::sockaddr_ll>()).unwrap_or_default();
    // SAFETY: the address is a sockaddr_ll of that length and outlives the call.
    if unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(socket)
}

/// Counts what comes on each socket in that time.
fn count(sockets: &[OwnedFd], wanted: &Wanted, listen: Duration) -> io::Result<Vec<usize>> {
    let mut counts = vec![0; sockets.len()];
    let deadline = Instant::now() + listen;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut watched: Vec<_> = sockets
            .iter()
            .map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN))
            .collect();
        match poll(
            &mut watched,
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX),
        ) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        for (socket, count) in sockets.iter().zip(&mut counts) {
            let mut packet = [0; 64];
            loop {
                match recv(socket.as_raw_fd(), &mut packet, MsgFlags::empty()) {
                    Ok(length) => {
                        let counts = wanted.counts(packet.get(..length).unwrap_or_default());
                        *count += usize::from(counts);
                    }
                    Err(Errno::EAGAIN) => break,
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        // At the end once more: what came counts also where a busy machine kept this process from looking.
        if left.is_zero() {
            return Ok(counts);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An OSPF hello's IPv4 header, from `tcpdump -x proto ospf`.
    const HELLO: [u8; 20] = [
        0x45, 0xc0, 0, 0x44, 0x10, 0x11, 0, 0, 1, 89, 0xe1, 0x1a, 192, 168, 102, 1, 224, 0, 0, 5,
    ];

    #[test]
    fn packets_count_by_protocol_and_destination() {
        let multicast = Cidr {
            address: "224.0.0.0".parse().unwrap(),
            prefix: 4,
        };
        let elsewhere = Cidr {
            address: "10.0.0.0".parse().unwrap(),
            prefix: 8,
        };
        let counts = |protocol, to| Wanted { protocol, to }.counts(&HELLO);
        assert!(counts(89, None));
        assert!(counts(89, Some(multicast)));
        assert!(!counts(89, Some(elsewhere)));
        assert!(!counts(6, None));
        assert!(
            !Wanted {
                protocol: 89,
                to: None
            }
            .counts(&HELLO[..19])
        );
    }

    #[test]
    fn the_prefix_of_everything_contains_every_address() {
        let all = Cidr {
            address: "0.0.0.0".parse().unwrap(),
            prefix: 0,
        };
        assert!(contains(all, Ipv4Addr::new(203, 0, 113, 1)));
    }
}
