//! Becoming root of a private user namespace when the tests are run by somebody else.
//!
//! A process may enter a user namespace only while it has one thread, and the test harness has many by the time a
//! test runs. So it happens before `main`, in an initialiser.

use std::fs;
use std::sync::OnceLock;

use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

static ENTERED: OnceLock<Result<(), String>> = OnceLock::new();

#[used]
#[expect(
    unsafe_code,
    reason = "the only moment at which the process has a single thread"
)]
// SAFETY: the section holds pointers to functions that take nothing; libc calls each once before main.
#[unsafe(link_section = ".init_array")]
static ENTER: extern "C" fn() = enter;

extern "C" fn enter() {
    let result = if has_cap_sys_admin() {
        Ok(())
    } else {
        become_root_inside()
    };
    ENTERED.get_or_init(|| result);
}

/// Makes sure that the process may make namespaces: unit tests that need one, but no [`Host`](crate::Host), begin
/// with it. Panics with advice otherwise.
#[track_caller]
pub fn require_namespaces() {
    if let Err(why) = ENTERED.get_or_init(|| Ok(())) {
        panic!(
            "these tests need either root or unprivileged user namespaces, and the kernel refuses the latter: {why}. \
             Ubuntu restricts them with AppArmor (sysctl kernel.apparmor_restrict_unprivileged_userns). \
             Run the tests with sudo instead"
        );
    }
}

/// Reads `CapEff` of proc(5); bit 21 is `CAP_SYS_ADMIN` (linux/capability.h).
fn has_cap_sys_admin() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective
        .and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .is_some_and(|caps| caps & (1 << 21) != 0)
}

fn become_root_inside() -> Result<(), String> {
    let (uid, gid) = (getuid(), getgid());
    unshare(CloneFlags::CLONE_NEWUSER)
        .map_err(|errno| format!("unshare(CLONE_NEWUSER): {errno}"))?;
    let write = |file: &str, text: String| {
        fs::write(file, text).map_err(|error| format!("write {file}: {error}"))
    };
    write("/proc/self/setgroups", "deny".to_owned())?;
    write("/proc/self/uid_map", format!("0 {uid} 1"))?;
    write("/proc/self/gid_map", format!("0 {gid} 1"))
}
