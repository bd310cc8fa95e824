//! Letting a program believe that it gave up its supplementary groups. The crate of the tests has this file too.
//!
//! tcpdump up to 4.99 drops privileges even with `-Z root`, and setgroups(2) fails in a user namespace with a single
//! id. A seccomp filter answers that one call with success; nothing else changes.

use std::io;
use std::mem::offset_of;

use libc::{BPF_ABS, BPF_JEQ, BPF_JMP, BPF_K, BPF_LD, BPF_RET, BPF_W};

/// Makes setgroups(2) do nothing and succeed in this process and its children. Needs `CAP_SYS_ADMIN` in the
/// process's user namespace. Neither allocates nor locks.
pub(crate) fn pretend() -> io::Result<()> {
    let number = u32::try_from(offset_of!(libc::seccomp_data, nr)).map_err(io::Error::other)?;
    let setgroups = u32::try_from(libc::SYS_setgroups).map_err(io::Error::other)?;
    let step = |code: u32, jump_false: u8, value: u32| {
        let code = u16::try_from(code).map_err(io::Error::other)?;
        Ok::<_, io::Error>(libc::sock_filter {
            code,
            jt: 0,
            jf: jump_false,
            k: value,
        })
    };
    let mut steps = [
        step(BPF_LD | BPF_W | BPF_ABS, 0, number)?,
        step(BPF_JMP | BPF_JEQ | BPF_K, 1, setgroups)?,
        // An error number of zero: the call is not made and returns 0.
        step(BPF_RET | BPF_K, 0, libc::SECCOMP_RET_ERRNO)?,
        step(BPF_RET | BPF_K, 0, libc::SECCOMP_RET_ALLOW)?,
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: steps.as_mut_ptr(),
    };
    #[expect(unsafe_code, reason = "no wrapper for it in nix")]
    // SAFETY: `program` and the steps it points to live until the call returns; the kernel copies them.
    let result = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
