//! Giving up what the daemon has no use for.
#![expect(unsafe_code, reason = "capset(2) has no safe wrapper in nix")]

use std::io;

use nix::errno::Errno;

/// linux/capability.h: to open packet sockets and change links, to bind port 68, to enter namespaces, and to open those of
/// other users' processes.
const NEEDED: [u32; 5] = [
    12, // CAP_NET_ADMIN
    13, // CAP_NET_RAW
    10, // CAP_NET_BIND_SERVICE
    21, // CAP_SYS_ADMIN
    19, // CAP_SYS_PTRACE
];

/// `struct __user_cap_header_struct`
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// `struct __user_cap_data_struct`, one for each 32 capabilities.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Set {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Keeps the capabilities that are needed, of those there are, and lets no program that is executed get more.
pub(crate) fn drop_unneeded() -> io::Result<()> {
    /// `_LINUX_CAPABILITY_VERSION_3`
    const VERSION: u32 = 0x2008_0522;
    nix::sys::prctl::set_no_new_privs()?;
    let mut header = Header {
        version: VERSION,
        pid: 0,
    };
    let mut sets = [Set::default(); 2];
    // SAFETY: header and sets live until the call returns, and version 3 has two sets.
    let got = unsafe { libc::syscall(libc::SYS_capget, &raw mut header, sets.as_mut_ptr()) };
    Errno::result(got)?;
    let needed = NEEDED.iter().fold(0, |mask, number| mask | 1 << number);
    let [low, high] = &mut sets;
    low.permitted &= needed;
    low.effective = low.permitted;
    low.inheritable = 0;
    *high = Set::default();
    // SAFETY: as above; the kernel only reads.
    let set = unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) };
    Errno::result(set)?;
    Ok(())
}
