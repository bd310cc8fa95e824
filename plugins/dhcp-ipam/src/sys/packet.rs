//! Sockets of a container's namespace: opened inside, used from outside.
//!
//! An open socket keeps its namespace alive, so none is open while a lease is quietly held.
#![expect(
    unsafe_code,
    reason = "packet sockets and their filters have no safe wrapper in nix"
)]

use core::mem::size_of;
use core::net::{Ipv4Addr, SocketAddrV4};
use std::ffi::OsString;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use cni_common::addr::Mac;
use libc::{
    BPF_ABS, BPF_B, BPF_H, BPF_IND, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD,
    BPF_LDX, BPF_MSH, BPF_RET, BPF_W,
};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, setsockopt, socket, sockopt,
};

use crate::wire::{CLIENT_PORT, SERVER_PORT, nd};

/// What a packet socket hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hears {
    /// Messages of DHCP servers for the client with this address.
    Dhcp(Mac),
    /// ARP.
    Arp,
    /// Nothing: it is there to send.
    Nothing,
}

/// A packet socket on one link.
#[derive(Debug)]
pub(crate) struct PacketSocket {
    fd: OwnedFd,
}

impl PacketSocket {
    /// Opens one in the calling thread's namespace, on the link with that index.
    pub(crate) fn open(index: u32, hears: Hears) -> io::Result<Self> {
        let kind = libc::SOCK_RAW | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
        // Protocol 0: it hears nothing before it has its filter and its link.
        // SAFETY: takes no pointer.
        let fd = Errno::result(unsafe { libc::socket(libc::AF_PACKET, kind, 0) })?;
        // SAFETY: the descriptor was just made, and is nobody else's.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        let socket = Self { fd };
        let protocol = match hears {
            Hears::Dhcp(mac) => {
                attach(&socket.fd, &mut filter(mac))?;
                libc::ETH_P_IP
            }
            Hears::Arp => libc::ETH_P_ARP,
            Hears::Nothing => 0,
        };
        socket.bind(index, protocol)?;
        Ok(socket)
    }

    fn bind(&self, index: u32, protocol: i32) -> io::Result<()> {
        // SAFETY: all zeros is a value of this plain structure.
        let mut address: libc::sockaddr_ll = unsafe { core::mem::zeroed() };
        address.sll_family = u16::try_from(libc::AF_PACKET).map_err(io::Error::other)?;
        address.sll_protocol = u16::try_from(protocol).map_err(io::Error::other)?.to_be();
        address.sll_ifindex = i32::try_from(index).map_err(io::Error::other)?;
        // SAFETY: the address lives until the call returns, and its length is given.
        let done = unsafe {
            libc::bind(
                self.fd.as_raw_fd(),
                (&raw const address).cast(),
                length_of::<libc::sockaddr_ll>(),
            )
        };
        Errno::result(done)?;
        Ok(())
    }

    /// Sends a frame.
    pub(crate) fn send(&self, frame: &[u8]) -> io::Result<()> {
        nix::unistd::write(&self.fd, frame)?;
        Ok(())
    }

    /// Takes the next frame, if there is one; what does not fit is cut.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match nix::unistd::read(&self.fd, buffer) {
            Ok(length) => Ok(buffer.get(..length)),
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Lets a socket hear only what a filter lets pass.
pub(crate) fn attach(fd: impl AsFd, steps: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog {
        len: u16::try_from(steps.len()).map_err(io::Error::other)?,
        filter: steps.as_mut_ptr(),
    };
    // SAFETY: `program` and its steps live until the call returns; the kernel copies them.
    let done = unsafe {
        libc::setsockopt(
            fd.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            length_of::<libc::sock_fprog>(),
        )
    };
    Errno::result(done)?;
    Ok(())
}

/// A UDP socket at the client's port of an address that the link has; the kernel then also answers no server that the
/// port is unreachable.
pub(crate) fn udp(link: &str, address: Ipv4Addr) -> io::Result<UdpSocket> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket(AddressFamily::Inet, SockType::Datagram, flags, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::BindToDevice, &OsString::from(link))?;
    let ours = SockaddrIn::from(SocketAddrV4::new(address, CLIENT_PORT));
    bind(fd.as_raw_fd(), &ours)?;
    Ok(UdpSocket::from(fd))
}

/// Sends a message to a server.
pub(crate) fn send_udp(socket: &UdpSocket, server: Ipv4Addr, message: &[u8]) -> io::Result<()> {
    socket.send_to(message, SocketAddrV4::new(server, SERVER_PORT))?;
    Ok(())
}

fn length_of<T>() -> libc::socklen_t {
    libc::socklen_t::try_from(size_of::<T>()).unwrap_or(0)
}

fn step(code: u32, jt: u8, jf: u8, k: u32) -> libc::sock_filter {
    libc::sock_filter {
        code: u16::try_from(code).unwrap_or(0),
        jt,
        jf,
        k,
    }
}

/// For a raw `ICMPv6` socket: router advertisements, and neighbour solicitations and advertisements, that came through no
/// router.
pub(crate) fn neighbours() -> [libc::sock_filter; 7] {
    /// `SKF_NET_OFF`, linux/filter.h: offsets from here on count from the IP header.
    const NETWORK: u32 = 0xfff0_0000;
    let kind =
        |on: u8, off: u8, number: u8| step(BPF_JMP | BPF_JEQ | BPF_K, on, off, u32::from(number));
    [
        // The hop limit (RFC 4861, 6.1.2).
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, NETWORK | 7),
        kind(0, 3, 255),
        // The message's type: from the first to the last of three.
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, 0),
        step(
            BPF_JMP | BPF_JGE | BPF_K,
            0,
            1,
            u32::from(nd::ROUTER_ADVERTISEMENT),
        ),
        step(
            BPF_JMP | BPF_JGT | BPF_K,
            0,
            1,
            u32::from(nd::NEIGHBOR_ADVERTISEMENT),
        ),
        step(BPF_RET | BPF_K, 0, 0, 0),
        step(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ]
}

/// Frames with an unfragmented UDP datagram for the client's port, and our address in `chaddr`.
fn filter(mac: Mac) -> [libc::sock_filter; 15] {
    // In two pieces, as many bytes as can be compared at once.
    let [first @ .., fifth, sixth] = mac.0;
    // So many steps on, to the one before the last, which takes nothing.
    let drop = |steps: u8| steps;
    [
        // Ethernet's type is IPv4, IP's protocol is UDP, and there is no offset.
        step(BPF_LD | BPF_H | BPF_ABS, 0, 0, 12),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, drop(11), 0x0800),
        step(BPF_LD | BPF_B | BPF_ABS, 0, 0, 23),
        step(BPF_JMP | BPF_JEQ | BPF_K, 0, drop(9), 17),
        step(BPF_LD | BPF_H | BPF_ABS, 0, 0, 20),
        step(BPF_JMP | BPF_JSET | BPF_K, drop(7), 0, 0x1fff),
        // X is the length of IP's header.
        step(BPF_LDX | BPF_B | BPF_MSH, 0, 0, 14),
        step(BPF_LD | BPF_H | BPF_IND, 0, 0, 16),
        step(
            BPF_JMP | BPF_JEQ | BPF_K,
            0,
            drop(4),
            u32::from(CLIENT_PORT),
        ),
        // 14 of Ethernet and 8 of UDP before the message, in which chaddr is at 28.
        step(BPF_LD | BPF_W | BPF_IND, 0, 0, 50),
        step(
            BPF_JMP | BPF_JEQ | BPF_K,
            0,
            drop(2),
            u32::from_be_bytes(first),
        ),
        step(BPF_LD | BPF_H | BPF_IND, 0, 0, 54),
        step(
            BPF_JMP | BPF_JEQ | BPF_K,
            1,
            0,
            u32::from(u16::from_be_bytes([fifth, sixth])),
        ),
        step(BPF_RET | BPF_K, 0, 0, 0),
        step(BPF_RET | BPF_K, 0, 0, u32::MAX),
    ]
}
