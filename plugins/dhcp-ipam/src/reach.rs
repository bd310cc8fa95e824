//! Reaching the daemon, and starting one where none listens.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cni_common::code::Code;
use cni_common::error::{Error, Step};

use crate::config::Config;
use crate::control::{Answer, LONGEST, Request};

/// How long a daemon may take to listen.
const STARTING: Duration = Duration::from_secs(10);

/// Connects; `None` when nobody listens.
pub(crate) fn dial(socket: &Path) -> Result<Option<UnixStream>, Error> {
    match UnixStream::connect(socket) {
        Ok(stream) => Ok(Some(stream)),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error).step(|| format!("connect to {}", socket.display())),
    }
}

/// A stream that is read until a moment. The socket's own timeout is for one read, and begins anew after each byte and each
/// signal.
struct Until {
    stream: UnixStream,
    deadline: Instant,
}

impl Read for Until {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        self.stream.read(buffer)
    }
}

/// Asks one question, on a connection of its own.
pub(crate) fn ask(
    mut stream: UnixStream,
    request: &Request,
    patience: Duration,
) -> Result<Answer, Error> {
    let doing = || "ask the daemon of dhcp-ipam";
    let deadline = Instant::now() + patience;
    stream.set_write_timeout(Some(patience)).step(doing)?;
    let longest = u64::try_from(LONGEST).unwrap_or(u64::MAX).saturating_mul(8);
    let mut line = Vec::new();
    let asked = stream.write_all(request.to_line().as_bytes());
    let answer = Until { stream, deadline };
    let read =
        asked.and_then(|()| BufReader::new(answer.take(longest)).read_until(b'\n', &mut line));
    match read.map_err(|error| (error.kind(), error)) {
        Ok(_) if line.ends_with(b"\n") => Answer::parse(&line),
        Ok(_) | Err((io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe, _)) => {
            Err(Error::new(
                Code::TryAgain,
                "the daemon of dhcp-ipam ended before it answered",
            ))
        }
        Err((io::ErrorKind::WouldBlock, _)) => Err(Error::new(
            Code::TryAgain,
            format!("the daemon of dhcp-ipam did not answer within {patience:?}"),
        )),
        Err((_, error)) => Err(error).step(doing),
    }
}

/// Connects to the daemon, which is started where none listens and the configuration allows it, for the container of
/// that namespace.
///
/// # Errors
/// Code 50 or that of what failed.
pub(crate) fn connect(config: &Config, netns: Option<&str>) -> Result<UnixStream, Error> {
    if let Some(stream) = dial(&config.socket)? {
        return Ok(stream);
    }
    if !config.start {
        return Err(Error::new(
            Code::TryAgain,
            format!(
                "no daemon listens at {}, and startDaemon is false",
                config.socket.display()
            ),
        ));
    }
    start(config, netns)?;
    let deadline = Instant::now() + STARTING;
    loop {
        if let Some(stream) = dial(&config.socket)? {
            return Ok(stream);
        }
        if Instant::now() > deadline {
            return Err(Error::new(
                Code::TryAgain,
                format!(
                    "the daemon was started and does not listen at {}",
                    config.socket.display()
                ),
            ));
        }
        // Another call is starting it at this moment, and holds its lock.
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts the daemon, which has put itself into the background and listens when this returns.
fn start(config: &Config, netns: Option<&str>) -> Result<(), Error> {
    let output = Command::new("/proc/self/exe")
        .arg("daemon")
        .arg("--detach")
        .arg("--socketpath")
        .arg(&config.socket)
        .arg("--state-dir")
        .arg(&config.state)
        .args(netns.iter().flat_map(|path| ["--netns", path]))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()
        .step(|| "start the daemon")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(
        Code::Io,
        format!("start the daemon: {}", said.trim()),
    ))
}

/// The lock that the daemon of a socket holds while it lives.
pub(crate) fn lock_path(socket: &Path) -> PathBuf {
    let mut name = socket.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Takes that lock, and waits a moment for it.
pub(crate) fn lock_soon(socket: &Path) -> Result<Option<File>, Error> {
    /// How long the end of a process may take.
    const ENDING: Duration = Duration::from_secs(1);
    let deadline = Instant::now() + ENDING;
    loop {
        let locked = lock(socket)?;
        if locked.is_some() || Instant::now() > deadline {
            return Ok(locked);
        }
        std::thread::sleep(ENDING / 100);
    }
}

/// Takes that lock, so that no daemon starts meanwhile; `None` when one lives.
pub(crate) fn lock(socket: &Path) -> Result<Option<File>, Error> {
    let path = lock_path(socket);
    let doing = || format!("lock {}", path.display());
    if let Some(directory) = socket.parent() {
        std::fs::create_dir_all(directory).step(doing)?;
    }
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .step(doing)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(error).step(doing),
    }
}
