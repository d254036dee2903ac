//! The name of an element in 16 bytes: itself if it is short, else shared.
//!
//! ```text
//!   short   0..15  the bytes, zero-padded    15  how many (up to 15)
//!   long    0..7   the first seven bytes     7..15  address of { shares u32, len u32, bytes }
//!           15     255
//! ```
//!
//! The first seven bytes lie at the same place in both, so most comparisons follow no pointer. A clone of a
//! long one is one more share. Its alignment is 1: it packs behind a score or a hash without gaps.
//!
//! Not here: what is named, and where it lies in an order.
#![expect(
    unsafe_code,
    reason = "bytes behind a header in one allocation, and its address in bytes"
)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cmp::Ordering;
use std::ptr::{self, NonNull};
use std::sync::atomic::{self, AtomicU32};

/// Bytes of a short one at most.
const SHORT_MAX: usize = 15;
/// Bytes of a long one that are kept beside its address.
const PREFIX: usize = 7;
const TAG: usize = 15;
const LONG: u8 = 255;

const _: () = assert!(size_of::<usize>() == TAG - PREFIX, "an address takes eight bytes");

pub struct Member([u8; 16]);

#[repr(C)]
struct Head {
    shares: AtomicU32,
    len: u32,
    bytes: [u8; 0],
}

impl Member {
    /// # Panics
    /// There are 4 GiB of it: the caller's limits are far lower.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let mut own = [0; 16];
        if let (Ok(tag), true) = (u8::try_from(bytes.len()), bytes.len() <= SHORT_MAX) {
            own[..bytes.len()].copy_from_slice(bytes);
            own[TAG] = tag;
            return Self(own);
        }
        let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        assert!(len < u32::MAX, "a member is far smaller than 4 GiB");
        let layout = Self::layout(bytes.len());
        // SAFETY: the layout has a header, so it is not empty.
        let memory = unsafe { alloc(layout) };
        let Some(head) = NonNull::new(memory.cast::<Head>()) else { handle_alloc_error(layout) };
        // SAFETY: freshly allocated, with the header's alignment and room for header and bytes.
        unsafe {
            head.write(Head { shares: AtomicU32::new(1), len, bytes: [] });
            let place = (&raw mut (*head.as_ptr()).bytes).cast::<u8>();
            ptr::copy_nonoverlapping(bytes.as_ptr(), place, bytes.len());
        }
        own[..PREFIX].copy_from_slice(&bytes[..PREFIX]);
        own[PREFIX..TAG].copy_from_slice(&head.as_ptr().expose_provenance().to_le_bytes());
        own[TAG] = LONG;
        Self(own)
    }

    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        let Some(head) = self.head() else { return &self.0[..usize::from(self.0[TAG])] };
        // SAFETY: the allocation lives as long as any share, is never written to after it was made, and
        // has `len` bytes behind its header.
        unsafe {
            let len = (*head.as_ptr()).len as usize;
            std::slice::from_raw_parts((&raw const (*head.as_ptr()).bytes).cast::<u8>(), len)
        }
    }

    /// Bytes beside the 16, as if nothing were shared.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        // An allocator has classes of 8 bytes or coarser.
        self.head().map_or(0, |_| Self::layout(self.bytes().len()).size().next_multiple_of(8))
    }

    /// How it compares with these bytes, as `memcmp` and then by length.
    #[inline]
    #[must_use]
    pub fn compare(&self, other: &[u8]) -> Ordering {
        let mut prefix = [0; PREFIX];
        let len = other.len().min(PREFIX);
        prefix[..len].copy_from_slice(&other[..len]);
        // Where zero-padded beginnings differ, the whole differs in the same way.
        self.0[..PREFIX].cmp(&prefix).then_with(|| self.bytes().cmp(other))
    }

    #[inline]
    fn head(&self) -> Option<NonNull<Head>> {
        if self.0[TAG] != LONG {
            return None;
        }
        let mut address = [0; TAG - PREFIX];
        address.copy_from_slice(&self.0[PREFIX..TAG]);
        NonNull::new(ptr::with_exposed_provenance_mut(usize::from_le_bytes(address)))
    }

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(size_of::<Head>() + len, align_of::<Head>())
            .unwrap_or(Layout::new::<Head>())
    }
}

impl Clone for Member {
    #[inline]
    fn clone(&self) -> Self {
        if let Some(head) = self.head() {
            // SAFETY: alive, since `self` is a share. As `Arc`: a new share needs no order.
            let shares = unsafe { &(*head.as_ptr()).shares };
            let old = shares.fetch_add(1, atomic::Ordering::Relaxed);
            assert!(old < u32::MAX / 2, "a member is shared by as many as there are nodes");
        }
        Self(self.0)
    }
}

impl Drop for Member {
    #[inline]
    fn drop(&mut self) {
        let Some(head) = self.head() else { return };
        // SAFETY: alive until the last share is gone, which this one may be.
        unsafe {
            if (*head.as_ptr()).shares.fetch_sub(1, atomic::Ordering::Release) == 1 {
                atomic::fence(atomic::Ordering::Acquire);
                let len = (*head.as_ptr()).len as usize;
                dealloc(head.as_ptr().cast(), Self::layout(len));
            }
        }
    }
}

impl std::fmt::Debug for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn every_length_is_kept_and_shared() {
        for len in (0..40).chain([255, 256, 70_000]) {
            let bytes: Vec<u8> = (0..len).map(|at: u32| at.to_le_bytes()[0] ^ 0x5a).collect();
            let member = Member::new(&bytes);
            let share = member.clone();
            drop(member);
            assert_eq!(share.bytes(), bytes);
            assert_eq!(share.heap_bytes() == 0, bytes.len() <= SHORT_MAX);
        }
        assert_eq!((size_of::<Member>(), align_of::<Member>()), (16, 1));
    }

    #[test]
    fn the_order_is_that_of_slices() {
        let mut prng = Prng::new(3);
        let mut text = || {
            let len = prng.below(20);
            // Few letters, zeros among them, so that beginnings are equal often.
            (0..len)
                .map(|_| b"\0\0ab\xff"[usize::try_from(prng.below(5)).unwrap()])
                .collect::<Vec<u8>>()
        };
        for _ in 0..20_000 {
            let (a, b) = (text(), text());
            assert_eq!(Member::new(&a).compare(&b), a.cmp(&b), "{a:?} {b:?}");
        }
    }

    #[test]
    fn shares_may_end_on_other_threads() {
        let member = Member::new(&[7; 100]);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let share = member.clone();
                scope.spawn(move || {
                    for _ in 0..1_000 {
                        assert_eq!(share.clone().bytes(), [7; 100]);
                    }
                });
            }
        });
    }
}
