//! The provided-buffer ring: memory into which the kernel receives, lent to it buffer by buffer.
//!
//! ```text
//!   entries  [addr len bid] [addr len bid] ...      shared with the kernel, `tail` published by us
//!   memory   |  buffer 0   |  buffer 1   | ...      COUNT * BYTES, touched at the start
//! ```
//!
//! A completion names the buffer (`bid`) that the kernel filled; it is ours until `give_back`.
//! So an idle connection owns no buffer: all connections of a core share these.
//!
//! The trap: a buffer given back is invisible to the kernel until `publish`.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

const PAGE: usize = 4096;
const HUGE_PAGE: usize = 2 << 20;

/// A group of equal receive buffers registered with one ring.
#[derive(Debug)]
pub struct Buffers {
    entries: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    count: u16,
    bytes: usize,
    tail: u16,
    given: bool,
}

impl Buffers {
    /// Registers `count` (a power of two up to 32768) buffers of `bytes` each as `group` of `ring`.
    ///
    /// # Errors
    /// The kernel's, where it is older than 5.19 or memory is short.
    pub fn register(ring: &IoUring, group: u16, count: u16, bytes: usize) -> io::Result<Self> {
        assert!(count.is_power_of_two() && count <= 1 << 15 && bytes > 0);
        let entries = allocate(entries_layout(count))?.cast();
        let memory = allocate(memory_layout(count, bytes))?;
        // SAFETY: the range is the allocation just made; advice does not change its contents.
        unsafe {
            libc::madvise(memory.as_ptr().cast(), usize::from(count) * bytes, libc::MADV_HUGEPAGE)
        };
        let mut buffers = Self { entries, memory, count, bytes, tail: 0, given: false };
        (0..count).for_each(|bid| buffers.touch(bid));
        // SAFETY: `entries` is page-aligned, zeroed, holds `count` entries and lives until `Drop`,
        // which the owner runs after the ring has been closed (field order in `Driver`).
        unsafe {
            ring.submitter().register_buf_ring_with_flags(
                entries.as_ptr() as u64,
                count,
                group,
                0,
            )?;
        }
        (0..count).for_each(|bid| buffers.give_back(bid));
        buffers.publish();
        Ok(buffers)
    }

    /// The first `len` bytes of buffer `bid`: what the kernel received there.
    ///
    /// # Panics
    /// Where `bid` or `len` are not of this group: a bug in the driver, never bytes from outside.
    #[inline]
    #[must_use]
    pub fn bytes(&self, bid: u16, len: u32) -> &[u8] {
        assert!(bid < self.count && len as usize <= self.bytes);
        // SAFETY: in bounds by the assert; the kernel does not write to a buffer that it has
        // handed out and that was not given back, and `give_back` takes `&mut self`.
        unsafe {
            std::slice::from_raw_parts(
                self.memory.as_ptr().add(usize::from(bid) * self.bytes),
                len as usize,
            )
        }
    }

    /// Lends buffer `bid` to the kernel again, as of the next `publish`.
    #[inline]
    pub fn give_back(&mut self, bid: u16) {
        assert!(bid < self.count);
        let at = usize::from(self.tail & (self.count - 1));
        #[expect(clippy::cast_possible_truncation, reason = "buffers are kibibytes")]
        let len = self.bytes as u32;
        // SAFETY: `at` is below `count`; the kernel reads an entry only below the published tail.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(at);
            entry.set_addr(self.memory.as_ptr() as u64 + u64::from(bid) * self.bytes as u64);
            entry.set_len(len);
            entry.set_bid(bid);
        }
        self.tail = self.tail.wrapping_add(1);
        self.given = true;
    }

    /// Shows the kernel all that was given back.
    #[inline]
    pub fn publish(&mut self) {
        if std::mem::take(&mut self.given) {
            // SAFETY: the tail lies inside the first entry, is aligned, and only we write it.
            let tail = unsafe { &*(BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>()) };
            tail.store(self.tail, Ordering::Release);
        }
    }

    /// Makes the buffer's pages resident now, so that memory does not grow with the first load.
    fn touch(&mut self, bid: u16) {
        let start = usize::from(bid) * self.bytes;
        for at in (start..start + self.bytes).step_by(PAGE) {
            // SAFETY: in bounds of the allocation; nobody else sees it yet.
            unsafe { self.memory.as_ptr().add(at).write_volatile(0) };
        }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts and are not used after this.
        unsafe {
            dealloc(self.entries.as_ptr().cast(), entries_layout(self.count));
            dealloc(self.memory.as_ptr(), memory_layout(self.count, self.bytes));
        }
    }
}

fn entries_layout(count: u16) -> Layout {
    layout(usize::from(count) * size_of::<BufRingEntry>(), PAGE)
}

fn memory_layout(count: u16, bytes: usize) -> Layout {
    layout(usize::from(count) * bytes, HUGE_PAGE)
}

fn layout(size: usize, align: usize) -> Layout {
    assert!(size > 0 && size < isize::MAX as usize / 2);
    // SAFETY: `align` is one of two powers of two above and `size` is far below the limit.
    unsafe { Layout::from_size_align_unchecked(size, align) }
}

fn allocate(layout: Layout) -> io::Result<NonNull<u8>> {
    // SAFETY: the layout has a size above zero (asserted in `layout`).
    NonNull::new(unsafe { alloc_zeroed(layout) })
        .ok_or_else(|| io::Error::from(io::ErrorKind::OutOfMemory))
}
