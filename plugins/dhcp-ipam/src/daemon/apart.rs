//! Away from what a runtime's end takes with it: its mount namespace, and its cgroup.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::options::Options;
use crate::sys::process::enter_mounts;

const CGROUPS: &str = "/sys/fs/cgroup";

/// Leaves both where that can be; elsewhere the daemon works where it is.
pub(super) fn leave(options: &Options) {
    // The socket, the leases and the container's namespace have to be there, and the same, in the other place.
    let mut needed = vec![options.state.clone(), options.socket.clone()];
    needed.extend(options.netns.as_deref().map(PathBuf::from));
    let _ = leave_mounts(&needed);
    let _ = leave_cgroup();
}

/// Goes to the mount namespace of the first process, which outlives every service, where all that is needed is found
/// there.
fn leave_mounts(needed: &[PathBuf]) -> io::Result<()> {
    let theirs = File::open("/proc/1/ns/mnt")?;
    let ours = File::open("/proc/self/ns/mnt")?;
    if identity(&theirs.metadata()?) == identity(&ours.metadata()?) {
        return Ok(());
    }
    let look = || -> io::Result<Vec<_>> {
        let each = needed.iter().map(fs::metadata);
        each.map(|found| Ok(identity(&found?))).collect()
    };
    let here = look()?;
    enter_mounts(&theirs)?;
    match look() {
        Ok(there) if there == here => Ok(()),
        _ => enter_mounts(&ours),
    }
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

/// Goes to the root of cgroup v2, or of each hierarchy of v1.
fn leave_cgroup() -> io::Result<()> {
    let join = |directory: &Path| {
        let file = directory.join("cgroup.procs");
        fs::metadata(&file)?;
        fs::write(file, std::process::id().to_string())
    };
    let top = Path::new(CGROUPS);
    if fs::exists(top.join("cgroup.procs"))? {
        return join(top);
    }
    for hierarchy in fs::read_dir(top)?.flatten() {
        let _ = join(&hierarchy.path());
    }
    Ok(())
}
