//! Memory for a process that lives a millisecond.
#![expect(
    unsafe_code,
    reason = "an allocator hands out memory that the compiler cannot follow"
)]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicUsize, Ordering};
use std::alloc::System;

/// Bytes, enough for any call but those that list a large host. Only what is used is ever resident.
const ENOUGH: usize = 512 * 1024;

/// No type of ours is aligned to more.
const ALIGNMENT: usize = 16;

/// An allocator for plugins that answer one call and end: `#[global_allocator] static ALLOCATOR: Arena = Arena::new();`
///
/// It hands out a fixed piece of the process's own memory from front to back, and takes back only what it handed out
/// last; when that piece is used up, and for anything larger, it passes the request on to the system's allocator.
/// musl's asks the kernel for each new size and gives every page back at once: dozens of system calls and page faults
/// in a call, more than all the netlink messages cost.
///
/// Not for a daemon: what it hands out is never used a second time.
#[derive(Debug)]
pub struct Arena<const SIZE: usize = ENOUGH> {
    space: Space<SIZE>,
    /// How many bytes of the space are handed out.
    used: AtomicUsize,
}

#[derive(Debug)]
#[repr(align(16))]
struct Space<const SIZE: usize>(UnsafeCell<MaybeUninit<[u8; SIZE]>>);

// SAFETY: the space is only reached through the pointers that `alloc` hands out, and those never overlap: each begins
// where `used` stood before one successful exchange, and ends where it stood after it.
unsafe impl<const SIZE: usize> Sync for Space<SIZE> {}

impl<const SIZE: usize> Arena<SIZE> {
    /// An arena with nothing handed out.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "it is made in a static, where Default cannot be called"
    )]
    pub const fn new() -> Self {
        Self {
            space: Space(UnsafeCell::new(MaybeUninit::uninit())),
            used: AtomicUsize::new(0),
        }
    }

    fn base(&self) -> *mut u8 {
        self.space.0.get().cast()
    }

    /// Where in the space memory of ours begins; `None` for the system's.
    fn place(&self, memory: *mut u8) -> Option<usize> {
        let place = memory.addr().checked_sub(self.base().addr())?;
        (place < SIZE).then_some(place)
    }

    /// Hands out the next bytes; `None` when they do not fit.
    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.align() > ALIGNMENT {
            return None;
        }
        let mut used = self.used.load(Ordering::Relaxed);
        loop {
            let start = used.checked_next_multiple_of(layout.align())?;
            let end = start.checked_add(layout.size())?;
            if end > SIZE {
                return None;
            }
            match self.exchange(used, end) {
                // In range of the space, whose alignment is at least the one asked for.
                Ok(()) => return Some(self.base().wrapping_add(start)),
                Err(now) => used = now,
            }
        }
    }

    /// Moves the end of memory that begins at `start`, if it is what was handed out last.
    fn resize_last(&self, start: usize, old: usize, new: usize) -> bool {
        let ends = |size| start.checked_add(size).filter(|end| *end <= SIZE);
        match (ends(old), ends(new)) {
            (Some(old), Some(new)) => self.exchange(old, new).is_ok(),
            _ => false,
        }
    }

    fn exchange(&self, old: usize, new: usize) -> Result<(), usize> {
        // Whoever is handed memory that another thread gave back sees it as that thread left it.
        self.used
            .compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed)
            .map(drop)
    }
}

// SAFETY: memory is handed out once, aligned and in one piece (`take`), or by the system's allocator, which then also
// takes it back: `place` tells whose it is.
unsafe impl<const SIZE: usize> GlobalAlloc for Arena<SIZE> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        self.take(layout).unwrap_or_else(|| {
            // SAFETY: the caller's promises about the layout are passed on.
            unsafe { System.alloc(layout) }
        })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        match self.place(memory) {
            Some(start) => {
                self.resize_last(start, layout.size(), 0);
            }
            // SAFETY: it is not ours, so `alloc` or `realloc` had it from the system's allocator.
            None => unsafe { System.dealloc(memory, layout) },
        }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(start) = self.place(memory) else {
            // SAFETY: it is not ours, so `alloc` or `realloc` had it from the system's allocator.
            return unsafe { System.realloc(memory, layout, size) };
        };
        if size <= layout.size() || self.resize_last(start, layout.size(), size) {
            return memory;
        }
        let Ok(wanted) = Layout::from_size_align(size, layout.align()) else {
            return core::ptr::null_mut();
        };
        // SAFETY: the caller asks for a size that is not zero.
        let larger = unsafe { self.alloc(wanted) };
        if !larger.is_null() {
            // SAFETY: both are valid for the smaller size, and what was just handed out overlaps nothing in use.
            unsafe { larger.copy_from_nonoverlapping(memory, layout.size()) };
        }
        larger
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: usize = 4096;

    /// What a test asks the arena for; the arena outlives it.
    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    fn alloc(arena: &Arena<SMALL>, size: usize, align: usize) -> *mut u8 {
        // SAFETY: no size here is zero.
        let memory = unsafe { arena.alloc(layout(size, align)) };
        assert!(!memory.is_null());
        // SAFETY: it was just handed out with that size.
        unsafe { memory.write_bytes(0xa5, size) };
        memory
    }

    fn bytes<'a>(memory: *mut u8, size: usize) -> &'a [u8] {
        // SAFETY: the tests ask only for what `alloc` or `realloc` gave them with that size, and wrote.
        unsafe { core::slice::from_raw_parts(memory, size) }
    }

    #[test]
    fn pieces_are_aligned_and_do_not_overlap() {
        let arena = Arena::<SMALL>::new();
        let mut end = 0;
        for (size, align) in [(1, 1), (3, 2), (24, 8), (1, 16), (5, 4), (16, 16)] {
            let start = alloc(&arena, size, align).addr();
            assert_eq!(start % align, 0, "{size} {align}");
            assert!(start >= end, "{size} {align}");
            end = start + size;
        }
    }

    #[test]
    fn what_was_handed_out_last_grows_and_is_taken_back_in_place() {
        let arena = Arena::<SMALL>::new();
        alloc(&arena, 8, 8);
        let last = alloc(&arena, 100, 1);
        // SAFETY: handed out with that layout.
        let grown = unsafe { arena.realloc(last, layout(100, 1), 1000) };
        assert_eq!(grown, last);
        // SAFETY: as above, after it grew.
        unsafe { arena.dealloc(grown, layout(1000, 1)) };
        assert_eq!(alloc(&arena, 10, 1), last);
    }

    #[test]
    fn what_has_something_behind_it_grows_elsewhere_and_keeps_its_content() {
        let arena = Arena::<SMALL>::new();
        let first = alloc(&arena, 100, 1);
        let second = alloc(&arena, 8, 1);
        // SAFETY: handed out with that layout.
        let grown = unsafe { arena.realloc(first, layout(100, 1), 200) };
        assert_ne!(grown, first);
        assert!(bytes(grown, 100).iter().all(|byte| *byte == 0xa5));
        // SAFETY: handed out with that layout, and no longer the last.
        unsafe { arena.dealloc(second, layout(8, 1)) };
        assert!(alloc(&arena, 8, 1).addr() >= grown.addr() + 200);
    }

    #[test]
    fn what_does_not_fit_is_the_systems() {
        let arena = Arena::<SMALL>::new();
        let (base, end) = (arena.base().addr(), arena.base().addr() + SMALL);
        let is_ours = |memory: *mut u8| (base..end).contains(&memory.addr());
        assert!(is_ours(alloc(&arena, SMALL - 64, 1)));
        for (size, align) in [(65, 1), (SMALL, 8), (1, 4096)] {
            let memory = alloc(&arena, size, align);
            assert!(
                !is_ours(memory) && memory.addr().is_multiple_of(align),
                "{size} {align}"
            );
            // SAFETY: handed out with that layout.
            let larger = unsafe { arena.realloc(memory, layout(size, align), size * 2) };
            assert!(!is_ours(larger));
            assert!(bytes(larger, size).iter().all(|byte| *byte == 0xa5));
            // SAFETY: as above, after it grew.
            unsafe { arena.dealloc(larger, layout(size * 2, align)) };
        }
        let growing = alloc(&arena, 32, 1);
        assert!(is_ours(growing));
        // SAFETY: handed out with that layout.
        let moved = unsafe { arena.realloc(growing, layout(32, 1), 128) };
        assert!(!is_ours(moved));
        assert!(bytes(moved, 32).iter().all(|byte| *byte == 0xa5));
        // SAFETY: as above, after it moved to the system's memory.
        unsafe { arena.dealloc(moved, layout(128, 1)) };
    }

    #[test]
    fn threads_get_memory_of_their_own() {
        static ARENA: Arena<SMALL> = Arena::new();
        let threads: Vec<_> = (1..=4_u8)
            .map(|mark| {
                std::thread::spawn(move || {
                    for _ in 0..2000 {
                        let memory = alloc(&ARENA, 40, 8);
                        // SAFETY: handed out with that size.
                        unsafe { memory.write_bytes(mark, 40) };
                        assert!(bytes(memory, 40).iter().all(|byte| *byte == mark));
                        // SAFETY: handed out with that layout.
                        unsafe { ARENA.dealloc(memory, layout(40, 8)) };
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
    }
}
