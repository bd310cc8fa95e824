//! A netlink socket: sending requests and matching answers to them.

use core::marker::PhantomData;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_ECHO, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR,
    NLMSG_NOOP, NLMSG_OVERRUN,
};
use netlink_sys::Socket;

use super::error::Error;
use super::frame::{self, Frame, Verdict};
use super::request::{Family, Reply, Request};

/// A netlink socket.
///
/// It belongs to the network namespace in which it was opened, wherever it is used. The kernel works a request
/// off inside `sendmsg`, so that every answer is queued when sending returns.
#[derive(Debug)]
pub struct Connection<F> {
    socket: Socket,
    sequence: u32,
    datagram: Vec<u8>,
    buffer: Vec<u8>,
    family: PhantomData<F>,
}

/// How often a dump that changes interrupted is taken again.
const DUMP_ATTEMPTS: usize = 20;

/// Room for one datagram: the kernel fills at most 32 KiB in a dump (`netlink_recvmsg` of the kernel).
const RECEIVE: usize = 64 * 1024;

impl<F: Family> Connection<F> {
    /// Opens a socket in the calling thread's network namespace.
    pub fn open() -> Result<Self, Error> {
        let failed = |error| Error::system("open a netlink socket", &error);
        let socket = Socket::new(F::PROTOCOL).map_err(failed)?;
        // All three are refinements that kernels before 4.12, 4.3 and 4.20 do without.
        let _ = socket.set_ext_ack(true);
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_netlink_get_strict_chk(true);
        Ok(Self {
            socket,
            sequence: 0,
            datagram: Vec::new(),
            buffer: Vec::new(),
            family: PhantomData,
        })
    }

    /// Sends one request and waits for its acknowledgement.
    pub fn execute(&mut self, request: Request<F>) -> Result<(), Error> {
        self.batch(vec![request])
    }

    /// Sends the requests in one datagram; the error names the first that failed.
    ///
    /// rtnetlink goes on after a request that failed, so a later request must not depend on the success of an
    /// earlier one; nfnetlink applies a batch as a whole or not at all. The last request is acknowledged, or
    /// those made with [`Request::acked`].
    pub fn batch(&mut self, requests: Vec<Request<F>>) -> Result<(), Error> {
        self.exchange(requests, |_| ())
    }

    /// Sends one request and waits for its acknowledgement; gives what the kernel tells of the change (`NLM_F_ECHO`),
    /// where it does: for links since 6.2.
    pub fn execute_echoed(&mut self, request: Request<F>) -> Result<Option<Reply>, Error> {
        let mut told = None;
        self.exchange(vec![request.with(NLM_F_ECHO)], |frame| {
            told = Some(Reply {
                kind: frame.kind,
                body: frame.body.to_vec(),
            });
        })?;
        Ok(told)
    }

    /// Sends the requests and hands out what answers them besides acknowledgements.
    fn exchange(
        &mut self,
        requests: Vec<Request<F>>,
        mut told: impl FnMut(&Frame<'_>),
    ) -> Result<(), Error> {
        let mut requests = requests;
        let acked = requests.iter().rposition(|r| r.flags & NLM_F_ACK != 0);
        let Some(last) = requests.last_mut() else {
            return Ok(());
        };
        if acked.is_none() {
            last.flags |= NLM_F_ACK;
        }
        let awaited = acked.unwrap_or(requests.len().saturating_sub(1));
        let first = self.send(&requests)?;
        let mut failure: Option<Error> = None;
        loop {
            // After a failure the awaited acknowledgement may never come: nfnetlink then answers only what failed.
            let wait = if failure.is_none() {
                Wait::Forever
            } else {
                Wait::Never
            };
            let Some(datagram) = self.receive(wait)? else {
                break;
            };
            let mut finished = false;
            for frame in frame::frames(&datagram) {
                let Some((place, request)) = answered(&requests, first, &frame) else {
                    continue;
                };
                if frame.kind != NLMSG_ERROR {
                    told(&frame);
                    continue;
                }
                if let Some(error) = refused(request, frame.error()) {
                    failure.get_or_insert(error);
                }
                finished |= place == awaited;
            }
            self.buffer = datagram;
            if finished {
                break;
            }
        }
        failure.map_or(Ok(()), Err)
    }

    /// Asks for one object.
    ///
    /// # Errors
    /// What the kernel refused.
    pub fn get(&mut self, request: Request<F>) -> Result<Reply, Error> {
        let requests = [request];
        let first = self.send(&requests)?;
        loop {
            // No acknowledgement is asked for: the answer is one message, the object or an error.
            let datagram = self.receive(Wait::Forever)?.unwrap_or_default();
            let mut answer = None;
            for frame in frame::frames(&datagram) {
                let Some((_, request)) = answered(&requests, first, &frame) else {
                    continue;
                };
                answer = match frame.kind {
                    NLMSG_NOOP | NLMSG_OVERRUN | NLMSG_DONE => continue,
                    NLMSG_ERROR => Some(Err(refused(request, frame.error())
                        .unwrap_or_else(|| Error::protocol(&request.doing, "there is no answer")))),
                    kind => Some(Ok(Reply {
                        kind,
                        body: frame.body.to_vec(),
                    })),
                };
            }
            self.buffer = datagram;
            if let Some(answer) = answer {
                return answer;
            }
        }
    }

    /// Asks for all objects. A dump that a change interrupted
    /// (`NLM_F_DUMP_INTR`) is taken again.
    ///
    /// # Errors
    /// `EAGAIN` when changes interrupted every attempt.
    pub fn dump(&mut self, request: Request<F>) -> Result<Vec<Reply>, Error> {
        let requests = [request.with(NLM_F_DUMP)];
        for _ in 0..DUMP_ATTEMPTS {
            if let Some(replies) = self.dump_once(&requests)? {
                return Ok(replies);
            }
        }
        let doing = requests.into_iter().map(|request| request.doing);
        Err(Error::new(
            doing.collect::<String>(),
            libc::EAGAIN,
            "changes kept interrupting the dump",
        ))
    }

    /// The first answers of a dump: as many as the kernel puts into one datagram, at least one if there is any.
    ///
    /// The rest is given up with the connection.
    pub fn first_of_dump(mut self, request: Request<F>) -> Result<Vec<Reply>, Error> {
        let requests = [request.with(NLM_F_DUMP)];
        let first = self.send(&requests)?;
        loop {
            let datagram = self.receive(Wait::Forever)?.unwrap_or_default();
            let mut replies = Vec::new();
            let seen = collect(&requests, first, &datagram, &mut replies)?;
            if seen.answers {
                return Ok(replies);
            }
        }
    }

    /// One dump; `None` when it was interrupted.
    fn dump_once(&mut self, requests: &[Request<F>]) -> Result<Option<Vec<Reply>>, Error> {
        let first = self.send(requests)?;
        let mut replies = Vec::new();
        let mut interrupted = false;
        loop {
            let datagram = self.receive(Wait::Forever)?.unwrap_or_default();
            let seen = collect(requests, first, &datagram, &mut replies)?;
            interrupted |= seen.interrupted;
            self.buffer = datagram;
            if seen.finished {
                return Ok((!interrupted).then_some(replies));
            }
        }
    }

    /// The socket.
    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// A datagram with the one request, for a process that may not allocate.
    pub(crate) fn datagram(&mut self, request: &Request<F>) -> Vec<u8> {
        let mut datagram = Vec::new();
        self.sequence = self.sequence.wrapping_add(1);
        let flags = request.flags | NLM_F_REQUEST | NLM_F_ACK;
        let length = request.body.len();
        frame::write(
            &mut datagram,
            request.kind,
            flags,
            self.sequence,
            length,
            |space| {
                space.copy_from_slice(&request.body);
            },
        );
        datagram
    }

    /// Sends the requests in one datagram; gives the sequence number of the first.
    fn send(&mut self, requests: &[Request<F>]) -> Result<u32, Error> {
        let first = self.sequence.wrapping_add(1);
        self.datagram.clear();
        for request in requests {
            self.sequence = self.sequence.wrapping_add(1);
            let flags = request.flags | NLM_F_REQUEST;
            let length = request.body.len();
            frame::write(
                &mut self.datagram,
                request.kind,
                flags,
                self.sequence,
                length,
                |space| {
                    space.copy_from_slice(&request.body);
                },
            );
        }
        loop {
            match self.socket.send(&self.datagram, 0) {
                Ok(_) => return Ok(first),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let doing = requests
                        .first()
                        .map_or("", |request| request.doing.as_str());
                    return Err(Error::system(doing, &error));
                }
            }
        }
    }

    /// One datagram of the kernel, in the connection's buffer, which the caller puts back.
    fn receive(&mut self, wait: Wait) -> Result<Option<Vec<u8>>, Error> {
        let flags = libc::MSG_TRUNC
            | match wait {
                Wait::Forever => 0,
                Wait::Never => libc::MSG_DONTWAIT,
            };
        let mut buffer = core::mem::take(&mut self.buffer);
        buffer.clear();
        buffer.reserve(RECEIVE);
        loop {
            buffer.clear();
            match self.socket.recv_from(&mut buffer, flags) {
                // Any process may send to a netlink socket; only the kernel has port 0.
                Ok((_, sender)) if sender.port_number() != 0 => {}
                Ok((length, _)) if length > buffer.len() => {
                    return Err(Error::protocol(
                        "read from netlink",
                        format!("an answer of {length} bytes does not fit"),
                    ));
                }
                Ok(_) => return Ok(Some(buffer)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.buffer = buffer;
                    return Ok(None);
                }
                Err(error) => return Err(Error::system("read from netlink", &error)),
            }
        }
    }
}

#[derive(Clone, Copy)]
enum Wait {
    Forever,
    Never,
}

/// What one datagram of a dump said besides its objects.
#[derive(Default)]
struct Seen {
    /// It belongs to this dump.
    answers: bool,
    /// It is the last.
    finished: bool,
    /// A change came in between (`NLM_F_DUMP_INTR`).
    interrupted: bool,
}

/// Adds the objects in one datagram of a dump to `replies`.
fn collect<F>(
    requests: &[Request<F>],
    first: u32,
    datagram: &[u8],
    replies: &mut Vec<Reply>,
) -> Result<Seen, Error> {
    let mut seen = Seen::default();
    for frame in frame::frames(datagram) {
        let Some((_, request)) = answered(requests, first, &frame) else {
            continue;
        };
        seen.answers = true;
        seen.interrupted |= frame.flags & NLM_F_DUMP_INTR != 0;
        let verdict = match frame.kind {
            NLMSG_ERROR => frame.error(),
            NLMSG_DONE => Some(frame.done()),
            NLMSG_NOOP | NLMSG_OVERRUN => continue,
            kind => {
                replies.push(Reply {
                    kind,
                    body: frame.body.to_vec(),
                });
                continue;
            }
        };
        if let Some(error) = refused(request, verdict) {
            return Err(error);
        }
        seen.finished = true;
    }
    Ok(seen)
}

/// Which request a message answers; `None` for one that belongs to an earlier exchange.
fn answered<'a, F>(
    requests: &'a [Request<F>],
    first: u32,
    frame: &Frame<'_>,
) -> Option<(usize, &'a Request<F>)> {
    let place = usize::try_from(frame.sequence.wrapping_sub(first)).ok()?;
    requests.get(place).map(|request| (place, request))
}

fn refused<F>(request: &Request<F>, verdict: Option<Verdict>) -> Option<Error> {
    match verdict {
        Some(Verdict { errno, .. }) if errno == 0 || request.tolerated.contains(&errno) => None,
        Some(Verdict { errno, message }) => Some(Error::new(&request.doing, errno, message)),
        None => Some(Error::protocol(
            &request.doing,
            "an acknowledgement is too short",
        )),
    }
}
