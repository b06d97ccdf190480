//! The allocator of extensions, and of the logic: fit for an instance that lives for one call.
//!
//! What such an instance frees, it rarely needs again before it is thrown away. So an [`Arena`]
//! hands out one part after the other of memory that the component starts with, and takes back only
//! what it handed out last. A general allocator first asks for more memory, and keeps lists of what
//! is free; in a call of some microseconds that is a good part of the work.
//!
//! A call that needs more than the arena has gets the rest from the system's allocator, which frees
//! as usual. So a long call does not grow without end.

#![expect(unsafe_code, reason = "an allocator hands out memory by its address")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::{Cell, UnsafeCell};

/// Bytes of an arena: less than what the host keeps of an instance's memory for the next one.
const BYTES: usize = 512 * 1024;

/// The alignment of an arena. What needs a greater one comes from the system's allocator.
const ALIGN: usize = 16;

/// See the module's documentation.
#[repr(align(16))]
pub(crate) struct Arena {
    bytes: UnsafeCell<[u8; BYTES]>,
    used: Cell<usize>,
}

// SAFETY: a component has one thread.
#[cfg(target_family = "wasm")]
unsafe impl Sync for Arena {}

impl Arena {
    /// An arena of which nothing is used.
    pub(crate) const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; BYTES]), used: Cell::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// Where `part` begins in the arena; `None` if it is the system's.
    fn offset(&self, part: *mut u8) -> Option<usize> {
        part.addr().checked_sub(self.start().addr()).filter(|offset| *offset < BYTES)
    }

    /// Whether nothing was handed out after the `size` bytes at `offset`.
    fn is_last(&self, offset: usize, size: usize) -> bool {
        offset + size == self.used.get()
    }
}

// SAFETY: parts of the arena do not overlap, since `used` is the end of the last one, and they are
// aligned, since the arena's start is. All else is the system's allocator, which each part that is
// not in the arena goes back to.
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let offset = self.used.get().next_multiple_of(layout.align());
        let end = offset.checked_add(layout.size());
        match end.filter(|end| *end <= BYTES && layout.align() <= ALIGN) {
            Some(end) => {
                self.used.set(end);
                // SAFETY: the part ends in the arena.
                unsafe { self.start().add(offset) }
            }
            // SAFETY: as the caller promised.
            None => unsafe { System.alloc(layout) },
        }
    }

    unsafe fn dealloc(&self, part: *mut u8, layout: Layout) {
        match self.offset(part) {
            Some(offset) if self.is_last(offset, layout.size()) => self.used.set(offset),
            Some(_) => {}
            // SAFETY: it is not in the arena, so the system handed it out.
            None => unsafe { System.dealloc(part, layout) },
        }
    }

    unsafe fn realloc(&self, part: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(part) else {
            // SAFETY: it is not in the arena, so the system handed it out.
            return unsafe { System.realloc(part, layout, size) };
        };
        if self.is_last(offset, layout.size()) && size <= BYTES - offset {
            self.used.set(offset + size);
            return part;
        }
        // SAFETY: the caller promised that `size` is valid for this alignment; the new part does
        // not overlap the old one, which holds as many bytes as are copied.
        unsafe {
            let grown = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !grown.is_null() {
                grown.copy_from_nonoverlapping(part, size.min(layout.size()));
                self.dealloc(part, layout);
            }
            grown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Fills a part, and returns it.
    fn filled(arena: &Arena, layout: Layout, with: u8) -> *mut u8 {
        // SAFETY: the part has as many bytes as are written.
        unsafe {
            let part = arena.alloc(layout);
            assert_eq!(part.addr() % layout.align(), 0);
            part.write_bytes(with, layout.size());
            part
        }
    }

    fn holds(part: *mut u8, size: usize, byte: u8) -> bool {
        // SAFETY: the tests ask only for bytes that they have written.
        unsafe { std::slice::from_raw_parts(part, size) }.iter().all(|held| *held == byte)
    }

    #[test]
    fn parts_are_aligned_and_do_not_overlap() {
        let arena = Box::new(Arena::new());
        let layouts = [layout(3, 1), layout(8, 8), layout(100, 16), layout(1, 1), layout(64, 64)];
        let parts: Vec<_> =
            layouts.iter().zip(1..).map(|(one, with)| filled(&arena, *one, with)).collect();
        for ((part, layout), with) in parts.iter().zip(layouts).zip(1..) {
            assert!(holds(*part, layout.size(), with));
        }
        assert_eq!(arena.offset(parts[4]), None, "a greater alignment is the system's");
        // SAFETY: the system handed it out, with this layout.
        unsafe { arena.dealloc(parts[4], layouts[4]) };
    }

    #[test]
    fn the_last_part_is_taken_back_and_grows_in_place() {
        let arena = Box::new(Arena::new());
        let (first, eight) = (filled(&arena, layout(8, 8), 1), layout(8, 8));
        let last = filled(&arena, eight, 2);
        // SAFETY: each part is given with the layout that it has then.
        unsafe {
            assert_eq!(arena.realloc(last, eight, 800), last);
            arena.dealloc(last, layout(800, 8));
            assert_eq!(arena.used.get(), 8);
            let next = filled(&arena, eight, 3);
            assert_eq!(next, last);
            let moved = arena.realloc(first, eight, 16);
            assert_ne!(moved, first, "another part lies behind it");
            assert!(holds(moved, 8, 1) && holds(next, 8, 3));
        }
    }

    #[test]
    fn what_does_not_fit_is_the_systems_and_freed() {
        let arena = Box::new(Arena::new());
        let most = layout(BYTES - 8, 8);
        let within = filled(&arena, most, 1);
        let beyond = filled(&arena, layout(64, 8), 2);
        assert_eq!((arena.offset(within), arena.offset(beyond)), (Some(0), None));
        // SAFETY: each part is given with the layout that it has then.
        unsafe {
            let grown = arena.realloc(within, most, BYTES + 8);
            assert!(arena.offset(grown).is_none() && holds(grown, BYTES - 8, 1));
            arena.dealloc(grown, layout(BYTES + 8, 8));
            let longer = arena.realloc(beyond, layout(64, 8), 128);
            assert!(holds(longer, 64, 2));
            arena.dealloc(longer, layout(128, 8));
        }
    }
}
