//! A node: a process that holds the namespaces of one machine and does nothing else.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::{pause, sethostname};
use serde::{Deserialize, Serialize};

use super::error::{At, Error};

/// The namespaces a node has of its own.
pub(super) const NAMESPACES: CloneFlags = CloneFlags::CLONE_NEWNET
    .union(CloneFlags::CLONE_NEWNS)
    .union(CloneFlags::CLONE_NEWUTS);

/// What a node is to be; sent to its process as JSON.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// The host name.
    pub(super) name: String,
    /// Settings under `/proc/sys`.
    pub(super) sysctl: Vec<(String, String)>,
    /// What is mounted where.
    pub(super) files: Vec<(PathBuf, PathBuf)>,
    /// Network namespaces to show under `/run/netns`, for `ip netns` and as `CNI_NETNS`.
    pub(super) netns: Vec<(String, PathBuf)>,
}

/// Becomes a node: reads its plan from stdin, answers `ready` or an error on stdout, and stays.
pub(super) fn become_node() -> Result<(), Error> {
    let mut text = String::new();
    io::stdin()
        .read_to_string(&mut text)
        .at(|| "read the plan".to_owned())?;
    let plan: Plan = serde_json::from_str(&text).at(|| "read the plan".to_owned())?;
    let made = make(&plan);
    let answer = made
        .as_ref()
        .map_or_else(ToString::to_string, |()| "ready".to_owned());
    let mut stdout = io::stdout();
    stdout
        .write_all(answer.as_bytes())
        .and_then(|()| stdout.flush())
        .at(|| "answer".to_owned())?;
    made?;
    close_streams()?;
    loop {
        pause();
    }
}

/// Lets go of the pipes, so that the other side sees the end of the answer.
pub(super) fn close_streams() -> Result<(), Error> {
    let step = || "open /dev/null".to_owned();
    let null = fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .at(step)?;
    nix::unistd::dup2_stdin(&null).at(step)?;
    nix::unistd::dup2_stdout(&null).at(step)?;
    nix::unistd::dup2_stderr(&null).at(step)
}

fn make(plan: &Plan) -> Result<(), Error> {
    unshare(NAMESPACES).at(|| "create namespaces".to_owned())?;
    own_mounts()?;
    mount_sysfs()?;
    for (at, from) in &plan.files {
        bind(from, at, true)?;
    }
    mount_run()?;
    mount_state()?;
    for (name, from) in &plan.netns {
        let at = Path::new("/run/netns").join(name);
        fs::write(&at, "").at(|| format!("create {}", at.display()))?;
        bind(from, &at, false)?;
    }
    sethostname(&plan.name).at(|| format!("set the host name {}", plan.name))?;
    for (key, value) in &plan.sysctl {
        set_sysctl(key, value)?;
    }
    ip(&["link", "set", "lo", "up"])
}

/// Keeps mounts from here on from everybody else.
pub(super) fn own_mounts() -> Result<(), Error> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .at(|| "make mounts private".to_owned())
}

/// Shows the network namespace's own devices under `/sys`. Where `/sys` is read-only, as in many containers, a new one
/// must be so too.
pub(super) fn mount_sysfs() -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    let attempt = |flags| mount(Some("sysfs"), "/sys", Some("sysfs"), flags, None::<&str>);
    attempt(flags)
        .or_else(|_| attempt(flags | MsFlags::MS_RDONLY))
        .at(|| "mount /sys".to_owned())
}

fn mount_run() -> Result<(), Error> {
    mount_tmpfs("/run")?;
    fs::create_dir("/run/netns").at(|| "create /run/netns".to_owned())
}

/// Where plugins keep what outlives a boot; the lab's belongs to the lab. Where this machine has no such folder, and who
/// runs the lab may not make one, `/var/lib` becomes a folder of links to what is in it.
fn mount_state() -> Result<(), Error> {
    const STATE: &str = "/var/lib/cni";
    const REAL: &str = "/run/var-lib";
    if Path::new(STATE).is_dir() {
        return mount_tmpfs(STATE);
    }
    let step = || format!("make {STATE}");
    fs::create_dir(REAL).at(step)?;
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    mount(Some("/var/lib"), REAL, None::<&str>, flags, None::<&str>).at(step)?;
    mount_tmpfs("/var/lib")?;
    for entry in fs::read_dir(REAL).at(step)? {
        let entry = entry.at(step)?;
        symlink(entry.path(), Path::new("/var/lib").join(entry.file_name())).at(step)?;
    }
    fs::create_dir(STATE).at(step)
}

fn mount_tmpfs(at: &str) -> Result<(), Error> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), at, Some("tmpfs"), flags, Some("mode=755")).at(|| format!("mount {at}"))
}

/// Mounts a file or folder over another, read-only for what comes from the topology's folder.
fn bind(from: &Path, at: &Path, read_only: bool) -> Result<(), Error> {
    let step = || format!("mount {} at {}", from.display(), at.display());
    if !at.exists() {
        return Err(Error::new(format!(
            "{}: there is no such place on this machine (is the package installed?)",
            step()
        )));
    }
    mount(Some(from), at, None::<&str>, MsFlags::MS_BIND, None::<&str>).at(step)?;
    if !read_only {
        return Ok(());
    }
    // A user namespace may not clear flags of the mount it comes from, so they are given again.
    let has = statvfs(at).at(step)?.flags();
    let kept = [
        (FsFlags::ST_NOSUID, MsFlags::MS_NOSUID),
        (FsFlags::ST_NODEV, MsFlags::MS_NODEV),
        (FsFlags::ST_NOEXEC, MsFlags::MS_NOEXEC),
    ];
    let kept = kept
        .into_iter()
        .filter(|(flag, _)| has.contains(*flag))
        .fold(MsFlags::empty(), |all, (_, flag)| all | flag);
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY | kept;
    mount(None::<&str>, at, None::<&str>, flags, None::<&str>).at(step)
}

/// Writes a setting, named as sysctl(8) names it: dots, or slashes where a part has a dot in it.
pub(super) fn set_sysctl(key: &str, value: &str) -> Result<(), Error> {
    let path = if key.contains('/') {
        key.to_owned()
    } else {
        key.replace('.', "/")
    };
    let path = Path::new("/proc/sys").join(path);
    fs::write(&path, value).at(|| format!("write {value} to {}", path.display()))
}

/// Runs ip(8).
pub(super) fn ip(arguments: &[&str]) -> Result<(), Error> {
    let mut command = Command::new("ip");
    run(command.args(arguments))
}

/// Runs a command and gives its stderr as the error.
pub(super) fn run(command: &mut Command) -> Result<(), Error> {
    let words = |command: &Command| {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        words
            .map(|word| word.to_string_lossy())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let output = command.output().at(|| words(command))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(Error::new(format!(
        "{}: {} ({})",
        words(command),
        said.trim(),
        output.status
    )))
}
