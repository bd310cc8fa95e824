//! Calls on the system's message bus (D-Bus), one after the other, with strings as arguments.
//!
//! That is all a plugin needs: no signals, no objects of its own, no file descriptors. Source: the D-Bus Specification,
//! "Message Protocol" and "Authentication Protocol".

mod wire;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use wire::{Answer, Method};

/// Where the system's bus listens ("Well-known Message Bus Instances").
const SOCKET: &str = "/run/dbus/system_bus_socket";

/// How long an answer may take: services that rebuild a ruleset take seconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// The longest message that is read: 128 MiB are allowed, and no answer to a call of ours is near that.
const LONGEST: usize = 1 << 20;

/// A connection to the bus.
#[derive(Debug)]
pub struct Bus {
    stream: BufReader<UnixStream>,
    serial: u32,
}

/// The bus.
const DRIVER: Method<'_> = Method {
    service: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
    name: "Hello",
};

impl Bus {
    /// Connects to the system's bus. There is none where the error says `NotFound` or `ConnectionRefused`.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new(SOCKET))
    }

    fn open_at(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut bus = Self {
            stream: BufReader::new(stream),
            serial: 0,
        };
        // The kernel tells the bus who we are.
        bus.stream.get_mut().write_all(b"\0AUTH EXTERNAL\r\n")?;
        bus.expect("DATA")?;
        bus.stream.get_mut().write_all(b"DATA\r\n")?;
        bus.expect("OK")?;
        bus.stream.get_mut().write_all(b"BEGIN\r\n")?;
        match bus.call(&DRIVER, &[])? {
            Answer::Error { name, text } => Err(io::Error::other(format!("{name}: {text}"))),
            Answer::Nothing | Answer::Text(_) | Answer::Truth(_) => Ok(bus),
        }
    }

    fn expect(&mut self, word: &str) -> io::Result<()> {
        let mut line = String::new();
        (&mut self.stream).take(1024).read_line(&mut line)?;
        if line.starts_with(word) {
            return Ok(());
        }
        let said = line.trim_end();
        Err(io::Error::other(format!(
            "the bus wants no {word}: {said:?}"
        )))
    }

    /// Calls a method and waits for its answer.
    ///
    /// # Errors
    /// The bus itself; what the method refuses is an answer.
    pub fn call(&mut self, method: &Method<'_>, arguments: &[&str]) -> io::Result<Answer> {
        self.serial = self.serial.wrapping_add(1).max(1);
        let message = wire::call(self.serial, method, arguments);
        self.stream.get_mut().write_all(&message)?;
        loop {
            let message = self.receive()?;
            let unreadable =
                || io::Error::new(io::ErrorKind::InvalidData, "not a message of D-Bus");
            let (serial, answer) = wire::read(&message).ok_or_else(unreadable)?;
            // Signals, and what somebody sends unasked, are not for us.
            if serial == Some(self.serial)
                && let Some(answer) = answer
            {
                return Ok(answer);
            }
        }
    }

    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut message = vec![0; wire::FIXED];
        self.stream.read_exact(&mut message)?;
        let rest = wire::rest(&message).filter(|rest| *rest <= LONGEST);
        let Some(rest) = rest else {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "not a message of D-Bus, or a very long one",
            ));
        };
        message.resize(wire::FIXED.saturating_add(rest), 0);
        let (_, after) = message.split_at_mut(wire::FIXED);
        self.stream.read_exact(after)?;
        Ok(message)
    }
}

/// Where the system's bus listens, for messages.
pub fn socket() -> PathBuf {
    PathBuf::from(SOCKET)
}
