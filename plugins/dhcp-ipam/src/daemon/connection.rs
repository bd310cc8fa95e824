//! A plugin's connection: one question, one answer, with limits.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::control::{Answer, LONGEST};
use crate::sys::stream::is_trusted;

/// A connection.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    received: Vec<u8>,
    to_send: Vec<u8>,
    /// Whether the question has been read, and whether there is an answer.
    asked: bool,
    answered: bool,
    /// Whether it hears of events, and stays.
    watches: bool,
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Not all of it yet, or nothing that is wanted.
    More,
    /// A question.
    Question(Vec<u8>),
    /// The other side is gone, or is not worth listening to.
    Gone,
}

impl Connection {
    /// Takes a connection of somebody who may ask.
    pub(super) fn new(stream: UnixStream) -> io::Result<Option<Self>> {
        stream.set_nonblocking(true)?;
        let may = is_trusted(&stream)?;
        Ok(may.then_some(Self {
            stream,
            received: Vec::new(),
            to_send: Vec::new(),
            asked: false,
            answered: false,
            watches: false,
        }))
    }

    pub(super) fn hear(&mut self) -> Heard {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => return Heard::Gone,
                Ok(length) => self.received.extend(piece.iter().take(length)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Heard::More,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Heard::Gone,
            }
            // Whoever goes on talking after the question has nothing to say to us.
            if self.asked || self.received.len() > LONGEST {
                return Heard::Gone;
            }
            if let Some(end) = self.received.iter().position(|byte| *byte == b'\n') {
                self.asked = true;
                let mut line = core::mem::take(&mut self.received);
                line.truncate(end);
                return Heard::Question(line);
            }
        }
    }

    pub(super) fn answer(&mut self, answer: &Answer) {
        self.to_send = answer.to_line().into_bytes();
        self.answered = true;
    }

    /// Keeps it, for events to come.
    pub(super) fn watch(&mut self) {
        self.watches = true;
        self.answered = true;
    }

    /// One more line; `false` for one who has not read so many that he is not worth more.
    pub(super) fn append(&mut self, line: &[u8]) -> bool {
        let room = self.to_send.len().saturating_add(line.len()) <= LONGEST;
        if room {
            self.to_send.extend_from_slice(line);
        }
        room
    }

    /// Sends what there is room for; whether the connection has done its duty, well or badly.
    pub(super) fn send(&mut self) -> bool {
        if !self.answered {
            return false;
        }
        let mut sent = 0;
        while let Some(rest) = self.to_send.get(sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(0) => return true,
                Ok(length) => sent = sent.saturating_add(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.to_send.drain(..sent);
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        self.to_send.clear();
        !self.watches
    }

    /// Whether a part of the answer waits for room.
    pub(super) fn is_full(&self) -> bool {
        !self.to_send.is_empty()
    }

    /// Whether it has had its time: for its question, or for an answer that is there.
    pub(super) fn is_late(&self) -> bool {
        !self.asked || (self.answered && !self.watches)
    }

    /// Whether its question has been read.
    pub(super) fn has_asked(&self) -> bool {
        self.asked
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
