//! TCP connections between nodes, both ends made here: so it is known who really connected.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use super::super::inside::Inside;
use super::Found;

/// What must come of the attempt.
#[derive(Clone, Copy)]
pub(super) struct Expected {
    pub(super) opens: bool,
    pub(super) seen_as: Option<IpAddr>,
}

/// Longer than the second that TCP waits before it tries again.
const PATIENCE: Duration = Duration::from_millis(1500);
/// How long is listened for a connection that must not come.
const SILENCE: Duration = Duration::from_millis(200);

pub(super) fn connect(
    lab: &Inside,
    node: &str,
    to: SocketAddr,
    listener: &str,
    expected: Expected,
) -> Result<Found, String> {
    let inside = lab.network(listener).map_err(|error| error.to_string())?;
    let anywhere: IpAddr = if to.is_ipv4() {
        Ipv4Addr::UNSPECIFIED.into()
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    let listening = inside.run(|| TcpListener::bind((anywhere, to.port())));
    let listening = listening
        .map_err(|error| format!("listen on port {} in {listener}: {error}", to.port()))?;
    listening
        .set_nonblocking(true)
        .map_err(|error| error.to_string())?;
    if !expected.opens {
        // Silence proves something only where the listener can be reached at all.
        let itself = inside.run(|| TcpStream::connect_timeout(&to, PATIENCE));
        itself
            .and_then(|_| accepted(&listening, PATIENCE))
            .map_err(|error| format!("{listener} itself cannot reach {to}: {error}"))?;
    }
    let outside = lab.network(node).map_err(|error| error.to_string())?;
    let attempt = outside.run(|| TcpStream::connect_timeout(&to, PATIENCE));
    match (attempt, expected.opens) {
        (Ok(_), true) => seen(accepted(&listening, PATIENCE), node, to, expected.seen_as),
        (Ok(stream), false) => {
            let from = stream
                .local_addr()
                .map(|from| from.to_string())
                .unwrap_or_default();
            Err(format!(
                "{node} opened a connection to {to} (from {from}), which it must not"
            ))
        }
        (Err(_), false) => match accepted(&listening, SILENCE) {
            Ok(peer) => Err(format!(
                "{listener} accepted a connection from {peer}, which must not come"
            )),
            Err(_) => Ok(Found::default()),
        },
        (Err(error), true) => Err(format!("{node} cannot connect to {to}: {error}")),
    }
}

fn seen(
    peer: io::Result<SocketAddr>,
    node: &str,
    to: SocketAddr,
    expected: Option<IpAddr>,
) -> Result<Found, String> {
    let peer = peer
        .map_err(|error| format!("the connection of {node} to {to} did not arrive: {error}"))?
        .ip();
    match expected {
        Some(expected) if expected != peer => {
            Err(format!("{to} sees {node} as {peer}, expected {expected}"))
        }
        Some(_) => Ok(Found {
            fact: Some(format!("seen as {peer}")),
            shown: None,
        }),
        None => Ok(Found::default()),
    }
}

/// The peer of the next connection, which has arrived when the client's handshake is done, or does so soon.
fn accepted(listener: &TcpListener, within: Duration) -> io::Result<SocketAddr> {
    let deadline = Instant::now() + within;
    loop {
        let is_last = Instant::now() >= deadline;
        match listener.accept() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && !is_last => {
                thread::sleep(Duration::from_millis(2));
            }
            outcome => return outcome.map(|(_, peer)| peer),
        }
    }
}
