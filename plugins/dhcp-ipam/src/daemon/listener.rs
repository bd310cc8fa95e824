//! Listening, and going into the background.
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::Path;

use cni_common::code::Code;
use cni_common::error::{Error, Step};

use super::apart;
use super::options::Options;
use crate::reach;
use crate::sys::process::{self, Side};
use crate::sys::stream;

/// A log that is longer than that is put aside when a daemon starts.
const LONGEST_LOG: u64 = 1 << 20;

/// The listening socket, and the lock that says that its daemon lives.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) socket: UnixListener,
    /// Held for as long as this process lives; it has the process's number in it, for people.
    lock: Option<File>,
    /// Whether the socket's path is ours to remove.
    ours: bool,
}

/// What came of trying to listen.
pub(super) enum Listening {
    /// We do.
    Here(Listener),
    /// Another daemon lives there.
    Elsewhere,
}

/// Listens at the socket that systemd passed, or at the path: what a dead daemon left there is taken over, a live one's
/// is not.
pub(super) fn listen(options: &Options) -> Result<Listening, Error> {
    if let Some(socket) = activated()? {
        return Ok(Listening::Here(Listener {
            socket,
            lock: None,
            ours: false,
        }));
    }
    let path = &options.socket;
    let doing = || format!("listen at {}", path.display());
    if let Some(directory) = path.parent() {
        DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(directory)
            .step(doing)?;
    }
    let Some(lock) = reach::lock(path)? else {
        return Ok(Listening::Elsewhere);
    };
    // Not every daemon that may listen there knows our lock.
    if reach::dial(path)?.is_some() {
        return Err(Error::new(
            Code::Io,
            format!("{} is in use by another program", path.display()),
        ));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).step(doing);
        }
        _ => {}
    }
    let socket = UnixListener::bind(path).step(doing)?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).step(doing)?;
    Ok(Listening::Here(Listener {
        socket,
        lock: Some(lock),
        ours: true,
    }))
}

impl Listener {
    /// Writes which process listens into the lock.
    pub(super) fn sign(&self) -> Result<(), Error> {
        let Some(lock) = &self.lock else {
            return Ok(());
        };
        let line = format!("{}\n", std::process::id());
        lock.set_len(0)
            .and_then(|()| lock.write_all_at(line.as_bytes(), 0))
            .step(|| "write the lock")
    }

    /// Removes the socket's path, for others to see at once that nobody listens.
    pub(super) fn end(&self, path: &Path) {
        if self.ours {
            let _ = fs::remove_file(path);
        }
    }
}

/// The socket that systemd passed (`sd_listen_fds(3)`).
fn activated() -> Result<Option<UnixListener>, Error> {
    let variable = |name| std::env::var(name).ok();
    let ours = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    if !ours {
        return Ok(None);
    }
    if variable("LISTEN_FDS").as_deref() != Some("1") {
        return Err(Error::new(
            Code::InvalidConfig,
            "LISTEN_FDS: the socket unit must have exactly one ListenStream",
        ));
    }
    let socket = stream::passed();
    socket
        .map(Some)
        .ok_or_else(|| Error::new(Code::InvalidConfig, "LISTEN_FDS: descriptor 3 is not open"))
}

/// Goes into the background: a session of its own, no terminal, the caller's streams closed, and out of the caller's
/// mounts and cgroup where that can be ([`apart`]).
pub(super) fn detach(options: &Options) -> Result<Side, Error> {
    let doing = || "go into the background";
    if process::to_background().step(doing)? == Side::Front {
        return Ok(Side::Front);
    }
    let nothing = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .step(doing)?;
    let path = options.state.join("daemon.log");
    // The one before is kept, and no more than that.
    if fs::metadata(&path).is_ok_and(|found| found.len() > LONGEST_LOG) {
        let _ = fs::rename(&path, path.with_extension("log.old"));
    }
    let log = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .step(doing)?;
    process::redirect(&nothing, &log).step(doing)?;
    apart::leave(options);
    Ok(Side::Back)
}
