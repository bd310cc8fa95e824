//! The background process that a lab lives in, and how `up` starts it.
//!
//! ```text
//! topology up ──spawns──> topology hold ──unshare──> topology init    PID 1 of the lab: builds it, then reaps
//!      ^  events on stdout       │ ends                   │
//!      └────────────────────────────────────────────────┘
//! ```
//!
//! `up` keeps a pipe to the holder's stdin open while it waits. When it breaks before the lab is up, the holder undoes
//! everything: that is how Ctrl-C works. On the real host there are no new namespaces and `hold` itself does init's work.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::wait;
use nix::unistd::{getegid, geteuid, pause, setsid};
use serde::{Deserialize, Serialize};

use super::build;
use super::error::{At, Error};
use super::namespace::{lacks_groups, outlive};
use super::node::{close_streams, own_mounts};
use super::setgroups;
use super::store::Store;

/// What the holder tells `up`, one JSON document a line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Event {
    /// The user namespace is made: its id maps can be written.
    Map,
    /// The process id of the holder, as seen from outside.
    Holder(u32),
    /// A step was done.
    Progress(String),
    /// The lab is up.
    Ready,
    /// The lab is not up, and what was made is undone.
    Failed(String),
}

impl Event {
    /// Tells it. A reader that is gone is no reason to stop: [`interrupted`] is asked for that.
    pub(super) fn tell(&self) {
        let Ok(text) = serde_json::to_string(self) else {
            return;
        };
        let mut stdout = io::stdout();
        let _gone = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    }
}

/// The namespaces of a lab, besides the user namespace.
const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNS
    .union(CloneFlags::CLONE_NEWNET)
    .union(CloneFlags::CLONE_NEWPID)
    .union(CloneFlags::CLONE_NEWUTS)
    .union(CloneFlags::CLONE_NEWIPC);

/// All that somebody enters who goes into a lab.
pub(super) const ENTERED: CloneFlags = NAMESPACES
    .difference(CloneFlags::CLONE_NEWIPC)
    .union(CloneFlags::CLONE_NEWUSER);

/// A holder that is starting, seen from `up`.
pub(super) struct Holder {
    child: Child,
    // Kept open: its end tells the holder that `up` is gone.
    control: ChildStdin,
    events: BufReader<ChildStdout>,
}

impl Holder {
    /// Starts the holder of a lab whose folder and state are written.
    pub(super) fn start(store: &Store) -> Result<Self, Error> {
        let program = own_program()?;
        let log = store.log("lab", "holder");
        let log = fs::File::create(&log).at(|| format!("create {}", log.display()))?;
        let mut command = Command::new(program);
        command
            .arg("hold")
            .arg(store.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut child = command.spawn().at(|| "start the holder".to_owned())?;
        match (child.stdin.take(), child.stdout.take()) {
            (Some(control), Some(events)) => Ok(Self {
                child,
                control,
                events: BufReader::new(events),
            }),
            _ => Err(Error::new("the holder has no pipes")),
        }
    }

    /// Follows the events until the lab is up, or the error that it is not.
    pub(super) fn follow(
        mut self,
        store: &Store,
        mut progress: impl FnMut(&str),
    ) -> Result<(), Error> {
        let mut line = String::new();
        loop {
            line.clear();
            let count = self
                .events
                .read_line(&mut line)
                .at(|| "listen to the holder".to_owned())?;
            if count == 0 {
                let said = fs::read_to_string(store.log("lab", "holder")).unwrap_or_default();
                return Err(Error::new(format!("the holder died. {}", said.trim())));
            }
            match serde_json::from_str(&line).at(|| format!("the holder said {line}"))? {
                Event::Map => {
                    write_maps(self.child.id())?;
                    self.control
                        .write_all(b"mapped\n")
                        .at(|| "answer the holder".to_owned())?;
                }
                Event::Holder(pid) => {
                    store.set_holder(pid)?;
                    if pid != self.child.id() {
                        self.child
                            .wait()
                            .at(|| "wait for the holder's parent".to_owned())?;
                    }
                }
                Event::Progress(step) => progress(&step),
                Event::Ready => return Ok(()),
                Event::Failed(why) => return Err(Error::new(why)),
            }
        }
    }
}

/// The program of this process. `/proc/self/exe` itself would mean another process in there.
pub(crate) fn own_program() -> Result<PathBuf, Error> {
    std::env::current_exe().at(|| "find this program".to_owned())
}

/// Maps ids of a new user namespace: all that we have when we are root, so that files keep their owners; otherwise
/// only ourselves, as root.
fn write_maps(pid: u32) -> Result<(), Error> {
    let (uids, gids) = if geteuid().is_root() {
        (
            identity("/proc/self/uid_map")?,
            identity("/proc/self/gid_map")?,
        )
    } else {
        write(pid, "setgroups", "deny")?;
        (format!("0 {} 1", geteuid()), format!("0 {} 1", getegid()))
    };
    write(pid, "uid_map", &uids)?;
    write(pid, "gid_map", &gids)
}

/// The map that leaves each id as it is, for the ids that exist here.
fn identity(map: &str) -> Result<String, Error> {
    let text = fs::read_to_string(map).at(|| format!("read {map}"))?;
    let lines = text.lines().filter_map(|line| {
        let mut fields = line.split_whitespace();
        let (inside, _, count) = (fields.next()?, fields.next()?, fields.next()?);
        Some(format!("{inside} {inside} {count}\n"))
    });
    Ok(lines.collect())
}

fn write(pid: u32, file: &str, text: &str) -> Result<(), Error> {
    let path = format!("/proc/{pid}/{file}");
    fs::write(&path, text).map_err(|error| refused(&format!("write {path}: {error}")))
}

/// What to do where the kernel refuses user namespaces.
fn refused(cause: &str) -> Error {
    let read = |path: &str| {
        fs::read_to_string(path)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };
    let why = if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        "AppArmor restricts them here: kernel.apparmor_restrict_unprivileged_userns = 1"
    } else if read("/proc/sys/kernel/unprivileged_userns_clone") == "0" {
        "they are switched off here: kernel.unprivileged_userns_clone = 0"
    } else if read("/proc/sys/user/max_user_namespaces") == "0" {
        "none are allowed here: user.max_user_namespaces = 0"
    } else {
        "a container or a security module may forbid them"
    };
    let advice = if geteuid().is_root() {
        "use --host"
    } else {
        "run the same command with sudo"
    };
    Error::new(format!(
        "this system does not let you make private namespaces ({cause}; {why}): {advice}"
    ))
}

/// The first process in the background: `topology hold FOLDER`.
pub(super) fn hold(store: &Store) -> Result<(), Error> {
    setsid().at(|| "leave the terminal".to_owned())?;
    outlive(Signal::SIGHUP).at(|| "catch SIGHUP".to_owned())?;
    if store.state()?.host {
        Event::Holder(std::process::id()).tell();
        return stay(store);
    }
    if let Err(error) = make_namespaces() {
        Event::Failed(error.to_string()).tell();
        return Ok(());
    }
    let mut init = Command::new(own_program()?);
    let init = init
        .arg("init")
        .arg(store.path())
        .spawn()
        .at(|| "start the lab's PID 1".to_owned())?;
    Event::Holder(init.id()).tell();
    Ok(())
}

fn make_namespaces() -> Result<(), Error> {
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| refused(&format!("unshare(CLONE_NEWUSER): {errno}")))?;
    Event::Map.tell();
    let mut answer = String::new();
    io::stdin()
        .read_line(&mut answer)
        .at(|| "wait for the id maps".to_owned())?;
    if answer != "mapped\n" {
        return Err(Error::new("the id maps were not written"));
    }
    unshare(NAMESPACES).map_err(|errno| refused(&format!("unshare: {errno}")))?;
    if lacks_groups("self").at(|| "read /proc/self/setgroups".to_owned())? {
        setgroups::pretend().at(|| "install a seccomp filter for setgroups(2)".to_owned())?;
    }
    Ok(())
}

/// PID 1 of a private lab: `topology init FOLDER`.
pub(super) fn init(store: &Store) -> Result<(), Error> {
    let private = own_mounts()
        .and_then(|()| mount_proc())
        .map_err(|error| refused(&error.to_string()));
    if let Err(error) = private {
        Event::Failed(error.to_string()).tell();
        return Ok(());
    }
    stay(store)
}

fn mount_proc() -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), "/proc", Some("proc"), flags, None::<&str>).at(|| "mount /proc".to_owned())
}

/// Builds the lab and stays as its holder, with the lock that says so. Without a lab there is no reason to stay.
fn stay(store: &Store) -> Result<(), Error> {
    let Some(lock) = store.lock()? else {
        Event::Failed("another holder has the lock".into()).tell();
        return Ok(());
    };
    if let Err(error) = build::build(store) {
        Event::Failed(error.to_string()).tell();
        // Otherwise `up` does it, when it has read the logs.
        return if interrupted() {
            store.remove()
        } else {
            Ok(())
        };
    }
    Event::Ready.tell();
    close_streams()?;
    let outcome = reap();
    drop(lock);
    outcome
}

/// Collects children that end, and waits for ever where there are none.
fn reap() -> Result<(), Error> {
    loop {
        match wait() {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(Errno::ECHILD) => pause(),
            Err(errno) => return Err(errno).at(|| "wait for children".to_owned()),
        }
    }
}

/// Whether `up` is gone: its end of our stdin is closed.
pub(super) fn interrupted() -> bool {
    let stdin = io::stdin();
    let mut watched = [PollFd::new(
        std::os::fd::AsFd::as_fd(&stdin),
        PollFlags::empty(),
    )];
    let hung_up = PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL;
    poll(&mut watched, PollTimeout::ZERO).is_ok()
        && watched.iter().any(|each| {
            each.revents()
                .is_some_and(|events| events.intersects(hung_up))
        })
}
