//! The allocator of the process: what is large is placed on huge pages.
//!
//! A lookup in a large keyspace touches a bucket and a record anywhere in it. With 4 KiB pages each
//! of the two costs a walk of the page tables, which on a virtual machine is a walk of two; with
//! 2 MiB pages the translations of a whole shard stay in the TLB. Measured at a million keys,
//! pipeline 64: 530 ns a GET on small pages, 310 ns on huge ones.
//!
//! The table and the arena take their memory in chunks of about a huge page, so this concerns them
//! and large buffers; everything below [`LARGE_BYTES`] goes to the system's allocator as it is.
//! `transparent_hugepage=madvise` suffices; with `never` the advice is without effect.
#![expect(unsafe_code, reason = "an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of a huge page, and the alignment of what lies on one.
pub const HUGE_BYTES: usize = 2 << 20;

/// From here on an allocation is large.
pub const LARGE_BYTES: usize = HUGE_BYTES - HUGE_BYTES / 16;

/// See the file's header.
#[derive(Debug)]
pub struct Huge;

/// Has the system take back at once what is large and freed. By itself glibc keeps whatever is below
/// the largest block that was ever freed, up to 32 MiB, in heaps of each thread that seldom shrink:
/// after some requests of a million keys on three cores, 390 MB for an empty keyspace; so 55 MB.
pub fn give_back_what_is_large() {
    #[cfg(target_env = "gnu")]
    {
        const BYTES: libc::c_int = 512 << 10;
        // SAFETY: a setting of the C library, which takes any value.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, BYTES);
            libc::mallopt(libc::M_TRIM_THRESHOLD, 2 * BYTES);
        }
    }
}

/// Gives what is free in the C library's heaps back to the system. It looks at all of them, so this is
/// nothing for a thread that others wait for.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes no pointers, and locks by itself what it works on.
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What the C library's allocator says of itself.
#[must_use]
pub fn statistics() -> String {
    #[cfg(target_env = "gnu")]
    {
        // SAFETY: takes no pointers, and locks by itself what it looks at.
        let it = unsafe { libc::mallinfo2() };
        let lines = [
            ("heap bytes", it.arena),
            ("heap bytes in use", it.uordblks),
            ("heap bytes free", it.fordblks),
            ("heap bytes free at its end", it.keepcost),
            ("free chunks", it.ordblks),
            ("mapped blocks", it.hblks),
            ("mapped bytes", it.hblkhd),
        ];
        let lines = lines.iter().map(|(name, number)| format!("{name}: {number}\n"));
        lines.fold(String::from("allocator: glibc\n"), |text, line| text + &line)
    }
    #[cfg(not(target_env = "gnu"))]
    {
        "Stats not supported for the current allocator".into()
    }
}

fn placed(layout: Layout) -> Layout {
    if layout.size() < LARGE_BYTES {
        return layout;
    }
    layout.align_to(HUGE_BYTES).unwrap_or(layout)
}

fn advise(at: *mut u8, layout: Layout) -> *mut u8 {
    if !at.is_null() && layout.align() >= HUGE_BYTES {
        // SAFETY: the range was just allocated; advice does not change what is in it. Only whole
        // huge pages are advised, so that a short tail stays on small ones.
        unsafe {
            let len = layout.size().next_multiple_of(4096);
            libc::madvise(at.cast(), len, libc::MADV_HUGEPAGE);
        }
    }
    at
}

// SAFETY: every call goes to `System` with one layout that depends on the caller's layout alone, so
// what was allocated with it is freed with it.
unsafe impl GlobalAlloc for Huge {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let layout = placed(layout);
        // SAFETY: as the caller's, with a stricter alignment.
        advise(unsafe { System.alloc(layout) }, layout)
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let layout = placed(layout);
        if layout.align() < HUGE_BYTES {
            // SAFETY: as the caller's.
            return unsafe { System.alloc_zeroed(layout) };
        }
        // SAFETY: as above; the advice comes before the first touch, which decides the page's size.
        unsafe {
            let at = advise(System.alloc(layout), layout);
            if !at.is_null() {
                at.write_bytes(0, layout.size());
            }
            at
        }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` with the same placed layout.
        unsafe { System.dealloc(at, placed(layout)) };
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let (old, new) = (placed(layout), Layout::from_size_align(size, layout.align()));
        let Ok(new) = new else { return std::ptr::null_mut() };
        if old.align() == layout.align() && placed(new).align() == layout.align() {
            // SAFETY: as the caller's.
            return unsafe { System.realloc(at, layout, size) };
        }
        // SAFETY: `at` holds `layout.size()` bytes; the new place holds `size`, and they do not overlap.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                std::ptr::copy_nonoverlapping(at, to, layout.size().min(size));
                self.dealloc(at, layout);
            }
            to
        }
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "drawn numbers are below small bounds")]
mod tests {
    use super::*;

    #[test]
    fn the_allocator_tells_what_it_has() {
        let number = |text: &str, name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            line.unwrap().parse::<usize>().unwrap()
        };
        let block = vec![1_u8; 64 << 20];
        let text = statistics();
        assert!(
            number(&text, "mapped bytes") + number(&text, "heap bytes") >= block.len(),
            "{text}"
        );
        drop(block);
        give_back();
    }

    #[test]
    fn large_memory_is_aligned_and_keeps_its_bytes_when_it_grows_and_shrinks() {
        let mut bytes: Vec<u8> = (0..LARGE_BYTES).map(|it| (it % 251) as u8).collect();
        for size in [LARGE_BYTES - 1, LARGE_BYTES, 3 * HUGE_BYTES, 100, 5 * HUGE_BYTES] {
            let kept = bytes.len().min(size);
            bytes.resize(size, 7);
            bytes.shrink_to_fit();
            assert!(
                bytes[..kept.min(100)].iter().enumerate().all(|(at, it)| *it == (at % 251) as u8)
            );
        }
        let fresh: Vec<u8> = Vec::with_capacity(HUGE_BYTES);
        assert_eq!(placed(Layout::new::<u64>()).align(), 8);
        // The test's own process may run on the system's allocator; the layout is what counts.
        let layout = Layout::array::<u8>(fresh.capacity()).unwrap();
        assert_eq!(placed(layout).align(), HUGE_BYTES);
    }
}
