//! IPv6 sockets of a container's namespace: opened inside, used from outside.

use core::net::{Ipv6Addr, SocketAddrV6};
use std::ffi::OsString;
use std::io;
use std::net::UdpSocket;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use cni_common::netlink::link::Link;
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, bind, recvfrom, sendto,
    setsockopt, socket, sockopt,
};

use super::packet::{attach, neighbours};
use crate::wire::nd;
use crate::wire::v6::{CLIENT_PORT, SERVER_PORT, SERVERS};

const FLAGS: SockFlag = SockFlag::SOCK_CLOEXEC.union(SockFlag::SOCK_NONBLOCK);

/// The client's port at a link-local address.
#[derive(Debug)]
pub(crate) struct Dhcp6Socket {
    udp: UdpSocket,
    link: u32,
}

impl Dhcp6Socket {
    /// Opens it in the calling thread's namespace.
    pub(crate) fn open(link: &Link, address: Ipv6Addr) -> io::Result<Self> {
        let fd = socket(AddressFamily::Inet6, SockType::Datagram, FLAGS, None)?;
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(&link.name))?;
        let ours = SocketAddrV6::new(address, CLIENT_PORT, 0, link.index);
        bind(fd.as_raw_fd(), &SockaddrIn6::from(ours))?;
        Ok(Self {
            udp: UdpSocket::from(fd),
            link: link.index,
        })
    }

    /// Sends a message to all servers and relays of the link.
    pub(crate) fn send(&self, message: &[u8]) -> io::Result<()> {
        let servers = SocketAddrV6::new(SERVERS, SERVER_PORT, 0, self.link);
        self.udp.send_to(message, servers)?;
        Ok(())
    }

    /// Takes the next datagram, if there is one; what does not fit is cut.
    pub(crate) fn receive<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        match self.udp.recv(buffer) {
            Ok(length) => Ok(buffer.get(..length)),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Dhcp6Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.udp.as_fd()
    }
}

/// A raw socket that hears router advertisements, and neighbour discovery, of one link.
#[derive(Debug)]
pub(crate) struct NeighbourSocket {
    fd: OwnedFd,
    link: u32,
}

impl NeighbourSocket {
    /// Opens it in the calling thread's namespace.
    pub(crate) fn open(link: &Link) -> io::Result<Self> {
        let fd = socket(
            AddressFamily::Inet6,
            SockType::Raw,
            FLAGS,
            SockProtocol::IcmpV6,
        )?;
        attach(&fd, &mut neighbours())?;
        setsockopt(&fd, sockopt::BindToDevice, &OsString::from(&link.name))?;
        // What came from other links before is not for us.
        while nix::unistd::read(&fd, &mut [0; 64]).is_ok() {}
        // Whoever hears it must know that it did not come through a router (RFC 4861, 6.1.1).
        setsockopt(&fd, sockopt::Ipv6MulticastHops, &255)?;
        Ok(Self {
            fd,
            link: link.index,
        })
    }

    /// Hears what is sent to whoever has an address.
    pub(crate) fn join(&self, address: Ipv6Addr) -> io::Result<()> {
        // The call is the same for every kind of socket.
        let any = UdpSocket::from(self.fd.try_clone()?);
        let group = nd::solicited_node(address);
        match any.join_multicast_v6(&group, self.link) {
            Err(error) if error.kind() != io::ErrorKind::AddrInUse => Err(error),
            _ => Ok(()),
        }
    }

    /// Sends a message to a group of the link.
    pub(crate) fn send(&self, group: Ipv6Addr, message: &[u8]) -> io::Result<()> {
        let to = SockaddrIn6::from(SocketAddrV6::new(group, 0, 0, self.link));
        sendto(self.fd.as_raw_fd(), message, &to, MsgFlags::empty())?;
        Ok(())
    }

    /// Takes the next message and who sent it, if there is one.
    pub(crate) fn receive<'a>(
        &self,
        buffer: &'a mut [u8],
    ) -> io::Result<Option<(Ipv6Addr, &'a [u8])>> {
        match recvfrom::<SockaddrIn6>(self.fd.as_raw_fd(), buffer) {
            Ok((length, from)) => {
                let from = from.map_or(Ipv6Addr::UNSPECIFIED, |from| from.ip());
                Ok(buffer.get(..length).map(|message| (from, message)))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl AsFd for NeighbourSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
