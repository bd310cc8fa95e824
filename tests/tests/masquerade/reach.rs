//! Who reaches whom at which address and port, and who seems to call.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use plumb_tests::{Node, until};

use super::world::{SILENCE, SOON};

/// An attempt of a client to reach a server that listens somewhere, by some address and port.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) client: &'a Node,
    pub(crate) to: (&'a str, u16),
    pub(crate) server: &'a Node,
    pub(crate) at: (&'a str, u16),
}

fn address((ip, port): (&str, u16)) -> SocketAddr {
    SocketAddr::new(ip.parse().unwrap(), port)
}

/// A socket that is closed here lives on for a moment in what another test has just forked.
#[track_caller]
pub(crate) fn bound<T>(bind: impl Fn() -> std::io::Result<T>) -> T {
    let mut socket = None;
    until(SOON, || {
        socket = Some(bind());
        // Not available is an IPv6 address that the kernel still looks for on the link.
        let passes = [ErrorKind::AddrInUse, ErrorKind::AddrNotAvailable];
        !matches!(&socket, Some(Err(error)) if passes.contains(&error.kind()))
    });
    socket.unwrap().unwrap()
}

impl Call<'_> {
    /// Whom the server sees over TCP, provided that both hear each other.
    pub(crate) fn tcp(&self, patience: Duration) -> Option<String> {
        let listener = bound(|| self.server.run(|| TcpListener::bind(address(self.at))));
        let to = address(self.to);
        let mut stream = self
            .client
            .run(|| TcpStream::connect_timeout(&to, patience))
            .ok()?;
        // The last word of the handshake may still be on its way; what went elsewhere never comes.
        listener.set_nonblocking(true).unwrap();
        let mut arrived = None;
        until(patience, || {
            arrived = listener.accept().ok();
            arrived.is_some()
        });
        let (mut accepted, source) = arrived?;
        accepted.set_nonblocking(false).unwrap();
        for socket in [&stream, &accepted] {
            socket.set_read_timeout(Some(patience)).unwrap();
        }
        stream.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        accepted.read_exact(&mut heard).ok()?;
        accepted.write_all(&heard).unwrap();
        stream.read_exact(&mut heard).ok()?;
        Some(source.ip().to_string())
    }

    /// Whom the server sees over UDP, provided that the answer comes back from where the client sent to.
    pub(crate) fn udp(&self, patience: Duration) -> Option<String> {
        let any: IpAddr = if self.to.0.contains(':') {
            "::".parse().unwrap()
        } else {
            "0.0.0.0".parse().unwrap()
        };
        let client = self.client.run(|| UdpSocket::bind((any, 0))).unwrap();
        self.udp_from(&client, patience)
    }

    /// As [`Self::udp`], from a socket that may have been used before.
    pub(crate) fn udp_from(&self, client: &UdpSocket, patience: Duration) -> Option<String> {
        let server = bound(|| self.server.run(|| UdpSocket::bind(address(self.at))));
        for socket in [&server, client] {
            socket.set_read_timeout(Some(patience)).unwrap();
        }
        let to = address(self.to);
        client.send_to(b"hello", to).ok()?;
        let mut buffer = [0; 64];
        let (_, source) = server.recv_from(&mut buffer).ok()?;
        server.send_to(b"hello yourself", source).unwrap();
        let (length, answering) = client.recv_from(&mut buffer).ok()?;
        assert_eq!(&buffer[..length], b"hello yourself");
        assert_eq!(answering, to);
        Some(source.ip().to_string())
    }

    /// Panics unless the server sees `source` over TCP and over UDP.
    #[track_caller]
    pub(crate) fn seen_as(&self, source: &str) {
        assert_eq!(
            self.tcp(SOON).as_deref(),
            Some(source),
            "TCP to {:?}",
            self.to
        );
        assert_eq!(
            self.udp(SOON).as_deref(),
            Some(source),
            "UDP to {:?}",
            self.to
        );
    }

    /// Panics if the client is heard.
    #[track_caller]
    pub(crate) fn in_vain(&self) {
        let heard = (self.tcp(SILENCE), self.udp(SILENCE));
        assert_eq!(heard, (None, None), "to {:?}", self.to);
    }
}

/// Runs on a thread of its own, which may have a host of its own.
#[track_caller]
pub(crate) fn apart(act: impl FnOnce() + Send) {
    std::thread::scope(|scope| scope.spawn(act).join().expect("see above"));
}
