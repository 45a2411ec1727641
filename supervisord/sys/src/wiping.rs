//! Memory that is overwritten when it is given back, whoever had it: a secret that a library wrote into a
//! buffer of its own is gone with the buffer.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether there is anything in this process that is worth it.
static WIPES: AtomicBool = AtomicBool::new(false);

/// The system's allocator, which overwrites what it is given back once [`wipe_freed_memory`] was called.
#[derive(Debug)]
pub struct Wiping;

/// From here on [`Wiping`] overwrites what it is given back.
pub fn wipe_freed_memory() {
    WIPES.store(true, Ordering::Relaxed);
}

fn wipe(memory: *mut u8, length: usize) {
    if WIPES.load(Ordering::Relaxed) {
        // SAFETY: whoever gives memory back says that it is theirs and this long, and uses it no more. This
        // function, unlike others, is never left out by a compiler that sees that nobody reads after it.
        unsafe { libc::explicit_bzero(memory.cast(), length) };
    }
}

// SAFETY: every call goes on to the system's allocator with the same contract; what differs are the bytes
// of memory that its owner has given up.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        wipe(memory, layout.size());
        // SAFETY: the caller keeps the contract of this very method.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        if !WIPES.load(Ordering::Relaxed) {
            // SAFETY: the caller keeps the contract of this very method.
            return unsafe { System.realloc(memory, layout, size) };
        }
        // SAFETY: the caller says that this size, rounded up to the alignment, overflows nothing.
        let larger = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        // SAFETY: the caller says that the size is not zero.
        let moved = unsafe { System.alloc(larger) };
        if !moved.is_null() {
            // SAFETY: both are as long as that, and the one was allocated while the other still was.
            unsafe { moved.copy_from_nonoverlapping(memory, layout.size().min(size)) };
            wipe(memory, layout.size());
            // SAFETY: the memory came from here with this layout, and nobody has it any more.
            unsafe { System.dealloc(memory, layout) };
        }
        moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_moves_keeps_its_bytes_and_leaves_none_behind() {
        wipe_freed_memory();
        let layout = Layout::array::<u8>(4096).unwrap();
        // SAFETY: the layout is not empty.
        let memory = unsafe { Wiping.alloc(layout) };
        // SAFETY: the memory is this long and ours.
        unsafe { memory.write_bytes(0x5a, layout.size()) };
        // SAFETY: the memory came from here with this layout.
        let moved = unsafe { Wiping.realloc(memory, layout, 8192) };
        // SAFETY: so much of it was written.
        let bytes = unsafe { std::slice::from_raw_parts(moved, layout.size()) };
        assert!(bytes.iter().all(|byte| *byte == 0x5a));
        wipe(moved, layout.size());
        assert!(bytes.iter().all(|byte| *byte == 0));
        // SAFETY: the memory came from here with this layout.
        unsafe { Wiping.dealloc(moved, Layout::array::<u8>(8192).unwrap()) };
    }
}
