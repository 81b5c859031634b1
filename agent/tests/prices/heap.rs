//! An allocator that counts: bytes that the thread holds, the most of them at a time, and all that it has ever taken. The same on every
//! machine of a word size, which no clock and no resident set is.

#![allow(
    unsafe_code,
    reason = "an allocator cannot be written otherwise; this one hands everything on to the system's"
)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
    static TAKEN: Cell<u64> = const { Cell::new(0) };
}

/// The allocator.
pub(crate) struct Counting;

fn take(bytes: usize) {
    let held = HELD.get() + bytes.cast_signed();
    HELD.set(held);
    MOST.set(MOST.get().max(held));
    TAKEN.set(TAKEN.get() + bytes as u64);
}

fn give(bytes: usize) {
    HELD.set(HELD.get() - bytes.cast_signed());
}

// SAFETY: every call is handed on unchanged; counting touches numbers of the thread alone, and allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        take(layout.size());
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        give(layout.size());
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Where it has to move both are there for a moment.
        take(size);
        give(layout.size());
        // SAFETY: the caller keeps the contract of the same function.
        unsafe { System.realloc(place, layout, size) }
    }
}

/// Bytes that some work has taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Heap {
    /// The most at a time, above what was held before.
    pub(crate) most: usize,
    /// All that it has taken, also what it gave back.
    pub(crate) taken: u64,
}

/// Counts what some work takes.
pub(crate) fn measured<T>(work: impl FnOnce() -> T) -> (T, Heap) {
    let (held, taken) = (HELD.get(), TAKEN.get());
    MOST.set(held);
    let done = work();
    let heap = Heap {
        most: (MOST.get() - held).cast_unsigned(),
        taken: TAKEN.get() - taken,
    };
    (done, heap)
}
