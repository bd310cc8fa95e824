//! A child process for what its parent need not wait for.
//!
//! It shares the parent's memory (`CLONE_VM`), as the child of vfork(2) does, but both run on. Copying the memory's
//! page tables, and faulting each page in once more, costs several times what such a child does.
#![expect(
    unsafe_code,
    reason = "clone and what may be called in its child have no safe form"
)]

use core::arch::asm;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU32, Ordering};
use core::time::Duration;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use nix::unistd::Pid;

/// Room for the frames of an errand, whose deepest call is [`call`].
const STACK: usize = 16 * 1024;

/// Starts a child that runs the errand, on a copy of the descriptors, and ends with the status it gives.
///
/// What the child uses stays allocated, for nobody knows when it has ended.
///
/// # Safety
/// The errand uses nothing but its argument, its own variables and [`call`]. Above all it does not allocate, panic, take a lock
/// or use a value of its thread, `errno` among them: its thread is the parent's, which goes on at the same time.
pub(crate) unsafe fn clone<T: Send + 'static>(errand: fn(&T) -> c_int, with: T) -> io::Result<Pid> {
    let begin_with = Box::leak(Box::new(Begin { errand, with }));
    // Not written to before the child does: of the pages only those that it uses become resident.
    let stack = Box::leak(Box::<[u128]>::new_uninit_slice(STACK / size_of::<u128>()));
    let top = stack.as_mut_ptr_range().end;
    let flags = libc::CLONE_VM | libc::SIGCHLD;
    let argument: *mut Begin<T> = begin_with;
    // SAFETY: the stack is aligned to 16 bytes, grows down from its end, and like the argument is never freed; `begin`
    // is instantiated for the argument's type, and by this function's contract keeps to what such a child may do.
    let pid = unsafe { libc::clone(begin::<T>, top.cast(), flags, argument.cast()) };
    if pid > 0 {
        Ok(Pid::from_raw(pid))
    } else {
        Err(io::Error::last_os_error())
    }
}

struct Begin<T> {
    errand: fn(&T) -> c_int,
    with: T,
}

extern "C" fn begin<T>(argument: *mut c_void) -> c_int {
    // SAFETY: `clone` passes a value of this type that is never freed nor used again.
    let begin = unsafe { &*argument.cast::<Begin<T>>() };
    (begin.errand)(&begin.with)
}

struct Start<T> {
    keep: RawFd,
    errand: fn(&T) -> bool,
    with: T,
}

/// Starts a child that closes all descriptors but `keep`, has a session of its own, runs the errand and ends, with
/// status 0 where the errand says `true`. `None` where the kernel makes no further process.
///
/// # Safety
/// As for [`clone`].
pub(crate) unsafe fn start<T: Send + 'static>(
    keep: BorrowedFd<'_>,
    errand: fn(&T) -> bool,
    with: T,
) -> Option<Pid> {
    let start = Start {
        keep: keep.as_raw_fd(),
        errand,
        with,
    };
    // SAFETY: by this function's contract; what `detached` does besides are system calls.
    unsafe { clone(detached::<T>, start).ok() }
}

fn detached<T>(start: &Start<T>) -> c_int {
    keep_only(start.keep);
    // SAFETY: it takes nothing.
    unsafe { call(libc::SYS_setsid, [0; 6]) };
    c_int::from(!(start.errand)(&start.with))
}

/// Closes every descriptor but one: whoever waits for the end of our standard output must not wait for the child.
fn keep_only(kept: RawFd) {
    let close = |descriptor: usize| {
        // SAFETY: the child has descriptors of its own, and from here on uses none but the one that is kept.
        unsafe { call(libc::SYS_close, [descriptor, 0, 0, 0, 0, 0]) };
    };
    let close_range = |first: usize, last: usize| {
        // SAFETY: as above.
        unsafe { call(libc::SYS_close_range, [first, last, 0, 0, 0, 0]) == 0 }
    };
    let Ok(kept) = usize::try_from(kept) else {
        return;
    };
    let before = kept == 0 || close_range(0, kept.wrapping_sub(1));
    // The old way is for kernels before 5.9.
    if !(before && close_range(kept.wrapping_add(1), usize::MAX >> 32)) {
        (0..1024).filter(|other| *other != kept).for_each(close);
    }
}

/// Something that a child tells its parent once, by the memory they share (futex(2)).
#[derive(Debug)]
pub(crate) struct Signal(AtomicU32);

impl Signal {
    /// One that is not given yet. It is never freed, for nobody knows when the child has ended.
    pub(crate) fn new() -> &'static Self {
        Box::leak(Box::new(Self(AtomicU32::new(0))))
    }

    /// Gives it. A child may do so.
    pub(crate) fn give(&self) {
        self.0.store(1, Ordering::Release);
        // SAFETY: the number is valid for the call; waking somebody takes nothing else.
        unsafe { self.futex(libc::FUTEX_WAKE, 0) };
    }

    /// Waits until it is given, but not longer.
    pub(crate) fn wait(&self, patience: Duration) {
        let patience = libc::timespec {
            tv_sec: patience.as_secs().try_into().unwrap_or(0),
            tv_nsec: patience.subsec_nanos().into(),
        };
        let time: *const libc::timespec = &raw const patience;
        if self.0.load(Ordering::Acquire) == 0 {
            // What it answers makes no difference: it was given, or the caller has waited long enough.
            // SAFETY: the number and the time are valid for the call.
            unsafe { self.futex(libc::FUTEX_WAIT, time.expose_provenance()) };
        }
    }

    /// # Safety
    /// `time` is zero or the address of a time.
    unsafe fn futex(&self, operation: c_int, time: usize) {
        let number = self.0.as_ptr().expose_provenance();
        let private = usize::try_from(operation | libc::FUTEX_PRIVATE_FLAG).unwrap_or(0);
        // To be woken is one; to wait is for a number that is still zero.
        let value = usize::from(operation == libc::FUTEX_WAKE);
        // SAFETY: by this function's contract.
        unsafe { call(libc::SYS_futex, [number, private, value, time, 0, 0]) };
    }
}

/// Makes a system call and gives what the kernel answers: an error is its negative number. Unlike the C library's
/// functions it leaves `errno` alone.
///
/// # Safety
/// As for the system call.
#[inline]
pub(crate) unsafe fn call(number: libc::c_long, arguments: [usize; 6]) -> isize {
    let [first, second, third, fourth, fifth, sixth] = arguments;
    let number = isize::try_from(number).unwrap_or(-1);
    let answer: isize;
    // SAFETY: this is how the kernel is called; what it does with the arguments is the caller's affair.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") first,
            in("rsi") second,
            in("rdx") third,
            in("r10") fourth,
            in("r8") fifth,
            in("r9") sixth,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        asm!(
            "svc 0",
            in("x8") number,
            inlateout("x0") first.cast_signed() => answer,
            in("x1") second,
            in("x2") third,
            in("x3") fourth,
            in("x4") fifth,
            in("x5") sixth,
            options(nostack),
        );
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Read;
    use std::os::fd::AsFd;
    use std::time::{Duration, Instant};

    use nix::sys::wait::{WaitStatus, waitpid};

    use super::*;

    fn sleeps(for_: &libc::timespec) -> bool {
        let time: *const libc::timespec = for_;
        // SAFETY: the time is valid for the call.
        unsafe {
            call(
                libc::SYS_nanosleep,
                [time.expose_provenance(), 0, 0, 0, 0, 0],
            ) == 0
        }
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "an errand takes a reference to its argument"
    )]
    fn waits(signal: &&'static Signal) -> bool {
        signal.wait(Duration::from_mins(1));
        true
    }

    #[test]
    fn a_child_keeps_one_descriptor_and_ends_in_a_session_of_its_own() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let kept = fs::File::open("/dev/null").unwrap();
        let enough = Signal::new();
        // SAFETY: the errand makes one system call.
        let child = unsafe { start(kept.as_fd(), waits, enough) }.unwrap();
        drop(writer);
        // End of file comes only when nobody holds the writing end, and the child is there until it is told.
        let begin = Instant::now();
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        let half = Duration::from_secs(30);
        assert!(begin.elapsed() < half);
        let open = || fs::read_dir(format!("/proc/{child}/fd")).map_or(0, Iterator::count);
        while open() != 1 || nix::unistd::getsid(Some(child)) != Ok(child) {
            assert!(begin.elapsed() < half, "{}", open());
        }
        enough.give();
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
    }

    #[expect(
        clippy::trivially_copy_pass_by_ref,
        reason = "an errand takes a reference to its argument"
    )]
    fn gives_late(signal: &&'static Signal) -> bool {
        let slept = sleeps(&libc::timespec {
            tv_sec: 0,
            tv_nsec: 50_000_000,
        });
        signal.give();
        slept
    }

    #[test]
    fn a_childs_signal_is_waited_for_and_not_for_ever() {
        let null = fs::File::open("/dev/null").unwrap();
        let signal = Signal::new();
        let begin = Instant::now();
        signal.wait(Duration::from_millis(10));
        assert!(begin.elapsed() >= Duration::from_millis(10));
        // SAFETY: the errand makes system calls and nothing else.
        let child = unsafe { start(null.as_fd(), gives_late, signal) }.unwrap();
        let begin = Instant::now();
        signal.wait(Duration::from_mins(1));
        let waited = begin.elapsed();
        assert!(waited < Duration::from_mins(1), "{waited:?}");
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 0));
        // Given before it is waited for.
        signal.wait(Duration::from_mins(1));
        assert!(begin.elapsed() < Duration::from_mins(1));
    }

    #[test]
    fn a_childs_failure_is_its_status_and_nobody_elses_errno() {
        nix::errno::Errno::clear();
        let null = fs::File::open("/dev/null").unwrap();
        let impossible = libc::timespec {
            tv_sec: 0,
            tv_nsec: -1,
        };
        // SAFETY: the errand makes one system call.
        let child = unsafe { start(null.as_fd(), sleeps, impossible) }.unwrap();
        assert_eq!(waitpid(child, None).unwrap(), WaitStatus::Exited(child, 1));
        assert_eq!(nix::errno::Errno::last_raw(), 0);
    }
}
