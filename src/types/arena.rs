//! Small records of one shard: where their bytes are, at a known and small overhead.
//!
//! A handle is a `u32` that counts granules of 4 bytes, so a shard holds at most 16 GiB of small
//! records. Pages of 64 KiB are cut into slots of one size class each; a free slot's first bytes
//! link to the next free slot of its page; an empty page serves any class again; a chunk of 64
//! pages that is wholly empty goes back to the allocator by `trim`, one per call, except one that is
//! kept as a reserve. (To unmap one takes up to a millisecond, and after a flush they all become
//! empty at about the same time.)
//!
//! ```text
//!   handle = [ page: 18 bits | granule within the page: 14 bits ]
//!   chunk  = 64 pages, one allocation of 4 MiB, zero pages until they are touched
//!   page   = [slot][slot][slot]...[rest, smaller than one slot]
//! ```
//!
//! Why classes every 4 bytes up to 64: a 16+16-byte record takes 35 bytes, and malloc would give
//! it 48 and a header. Above 64 a class is at most 12.5 % larger than the one before.
//!
//! Trap: a handle says nothing about its size or about whether it is live. Whoever frees must be
//! its only owner, and `page.used` only catches the grossest double free.
//!
//! Not here: what a record's bytes mean (`record.rs`), values over a kilobyte (`large.rs`).

use crate::base::limits::ARENA_RECORD_BYTES_MAX;
use crate::base::prefetch;

/// Where a record is. Never reused while the record lives; the record never moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Handle(pub u32);

/// The shard's 16 GiB of small records, or the 2^32 large values, are used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

const GRANULE: usize = 4;
const PAGE_BYTES: usize = 64 * 1024;
const PAGE_GRANULES_LOG2: u32 = 14;
const CHUNK_PAGES: usize = 64;
const PAGES_MAX: usize = 1 << (32 - PAGE_GRANULES_LOG2);
const NONE: u32 = u32::MAX;
const NO_SLOT: u16 = u16::MAX;

type Page = [u8; PAGE_BYTES];

/// The sizes of all classes in bytes, ascending.
const CLASS_BYTES: [u16; CLASSES] = class_bytes();
const CLASSES: usize = 45;

/// The class of a size, by granules.
const CLASS_OF: [u8; ARENA_RECORD_BYTES_MAX / GRANULE + 1] = class_of();

const _: () = {
    assert!(PAGE_BYTES == GRANULE << PAGE_GRANULES_LOG2);
    assert!(CLASS_BYTES[CLASSES - 1] as usize >= ARENA_RECORD_BYTES_MAX);
    assert!((CLASS_BYTES[CLASSES - 2] as usize) < ARENA_RECORD_BYTES_MAX);
};

pub struct Arena {
    chunks: Vec<Option<Chunk>>,
    pages: Vec<PageState>,
    /// Per class, the first of the pages that have a free slot, doubly linked.
    partial: [u32; CLASSES],
    /// Bytes in live slots.
    used_bytes: usize,
    /// Chunks without a page in use.
    empty_chunks: usize,
    /// Every chunk below this index is full or gone.
    first_free_chunk: usize,
}

struct Chunk {
    pages: Box<[Page; CHUNK_PAGES]>,
    free_pages: u64,
}

#[derive(Clone, Copy)]
struct PageState {
    next: u32,
    previous: u32,
    used: u16,
    /// First slot of the free list, as a granule within the page.
    free: u16,
    /// First granule never handed out yet.
    fresh: u16,
    class: u8,
}

impl Default for Arena {
    fn default() -> Self {
        Self {
            chunks: Vec::new(),
            pages: Vec::new(),
            partial: [NONE; CLASSES],
            used_bytes: 0,
            empty_chunks: 0,
            first_free_chunk: 0,
        }
    }
}

impl Arena {
    /// What a record of `size` bytes really takes.
    #[must_use]
    pub fn slot_bytes(size: usize) -> usize {
        usize::from(CLASS_BYTES[class_for(size)])
    }

    /// A slot of at least `size` bytes, at most `ARENA_RECORD_BYTES_MAX`. Its bytes are undefined.
    pub fn allocate(&mut self, size: usize) -> Result<Handle, Full> {
        let class = class_for(size);
        let mut page = self.partial[class];
        if page == NONE {
            page = self.take_page(class)?;
        }
        let slot_bytes = usize::from(CLASS_BYTES[class]);
        let granules = CLASS_BYTES[class] / 4;
        let state = self.pages[page as usize];
        let granule = if state.free == NO_SLOT {
            self.pages[page as usize].fresh += granules;
            state.fresh
        } else {
            let next = self.bytes(handle(page, state.free))[..2].try_into();
            self.pages[page as usize].free = u16::from_le_bytes(next.unwrap_or([0xff; 2]));
            state.free
        };
        let state = &mut self.pages[page as usize];
        state.used += 1;
        self.used_bytes += slot_bytes;
        if state.free == NO_SLOT && usize::from(state.fresh) * GRANULE + slot_bytes > PAGE_BYTES {
            self.unlink(page);
        }
        Ok(handle(page, granule))
    }

    /// Gives a slot back.
    pub fn free(&mut self, slot: Handle) {
        let (page, granule) = split(slot);
        let state = &mut self.pages[page as usize];
        let slot_bytes = usize::from(CLASS_BYTES[usize::from(state.class)]);
        assert!(state.used > 0, "freed a slot of an empty page");
        let was_full =
            state.free == NO_SLOT && usize::from(state.fresh) * GRANULE + slot_bytes > PAGE_BYTES;
        let next = state.free;
        state.free = granule;
        state.used -= 1;
        let empty = state.used == 0;
        self.used_bytes -= slot_bytes;
        if empty {
            if !was_full {
                self.unlink(page);
            }
            self.give_page(page);
        } else {
            self.bytes_mut(slot)[..2].copy_from_slice(&next.to_le_bytes());
            if was_full {
                self.link(page);
            }
        }
    }

    /// Gives one chunk back to the allocator, unless it is the last of the empty ones; true: there are
    /// more to give.
    pub fn trim(&mut self) -> bool {
        if self.empty_chunks > 1 {
            let empty =
                |chunk: &Option<Chunk>| chunk.as_ref().is_some_and(|it| it.free_pages == u64::MAX);
            if let Some(at) = self.chunks.iter().rposition(empty) {
                self.chunks[at] = None;
                self.empty_chunks -= 1;
            }
        }
        self.empty_chunks > 1
    }

    /// From the slot's first byte to the end of its page: the record's own header says where it ends.
    #[inline]
    #[must_use]
    pub fn bytes(&self, slot: Handle) -> &[u8] {
        let (page, offset) = place(slot);
        match &self.chunks[page / CHUNK_PAGES] {
            Some(chunk) => &chunk.pages[page % CHUNK_PAGES][offset..],
            None => &[],
        }
    }

    /// As [`Arena::bytes`]; writing past the slot's class would be another record's end.
    #[inline]
    pub fn bytes_mut(&mut self, slot: Handle) -> &mut [u8] {
        let (page, offset) = place(slot);
        match &mut self.chunks[page / CHUNK_PAGES] {
            Some(chunk) => &mut chunk.pages[page % CHUNK_PAGES][offset..],
            None => &mut [],
        }
    }

    /// Hints the slot's first lines: a small record spans one or two.
    #[inline]
    pub fn prefetch(&self, slot: Handle) {
        let bytes = self.bytes(slot);
        prefetch::read(bytes);
        if let Some(later) = bytes.get(35) {
            prefetch::read(later);
        }
    }

    /// The class size of the slot.
    #[must_use]
    pub fn slot_bytes_of(&self, slot: Handle) -> usize {
        let (page, _) = split(slot);
        usize::from(CLASS_BYTES[usize::from(self.pages[page as usize].class)])
    }

    /// Bytes of all live slots.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.used_bytes
    }

    /// Bytes of all pages in use: what of the arena can be resident.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        let free = |chunk: &Chunk| chunk.free_pages.count_ones() as usize;
        let pages = self.chunks.iter().flatten().map(|it| CHUNK_PAGES - free(it)).sum::<usize>();
        pages * PAGE_BYTES
    }

    /// A page for `class`, linked as one with free slots.
    fn take_page(&mut self, class: usize) -> Result<u32, Full> {
        let free = |chunk: &Option<Chunk>| chunk.as_ref().is_some_and(|it| it.free_pages != 0);
        let start = self.first_free_chunk.min(self.chunks.len());
        let found = self.chunks[start..].iter().position(free).map(|at| start + at);
        let at = match found {
            Some(at) => at,
            None => self.grow()?,
        };
        self.first_free_chunk = self.first_free_chunk.max(at);
        let mut index = 0;
        if let Some(chunk) = &mut self.chunks[at] {
            index = chunk.free_pages.trailing_zeros() as usize;
            self.empty_chunks -= usize::from(chunk.free_pages == u64::MAX);
            chunk.free_pages &= chunk.free_pages - 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below PAGES_MAX, 2^18")]
        let page = (at * CHUNK_PAGES + index) as u32;
        #[expect(clippy::cast_possible_truncation, reason = "below CLASSES")]
        let class = class as u8;
        self.pages[page as usize] =
            PageState { next: NONE, previous: NONE, used: 0, free: NO_SLOT, fresh: 0, class };
        self.link(page);
        Ok(page)
    }

    /// Allocates a chunk, in a gap if there is one; returns its index.
    fn grow(&mut self) -> Result<usize, Full> {
        let gap = self.chunks.iter().position(Option::is_none);
        let at = gap.unwrap_or(self.chunks.len());
        if at * CHUNK_PAGES >= PAGES_MAX {
            return Err(Full);
        }
        // Zeroed by the kernel: a page costs memory when it is first touched.
        let pages = vec![[0u8; PAGE_BYTES]; CHUNK_PAGES].into_boxed_slice();
        let pages: Box<[Page; CHUNK_PAGES]> = pages.try_into().map_err(|_| Full)?;
        let chunk = Some(Chunk { pages, free_pages: u64::MAX });
        if gap.is_some() {
            self.chunks[at] = chunk;
        } else {
            self.chunks.push(chunk);
            let unused =
                PageState { next: NONE, previous: NONE, used: 0, free: 0, fresh: 0, class: 0 };
            self.pages.resize(self.chunks.len() * CHUNK_PAGES, unused);
        }
        self.empty_chunks += 1;
        self.first_free_chunk = self.first_free_chunk.min(at);
        Ok(at)
    }

    /// An empty page, already unlinked, serves any class.
    fn give_page(&mut self, page: u32) {
        let (at, index) = (page as usize / CHUNK_PAGES, page as usize % CHUNK_PAGES);
        self.first_free_chunk = self.first_free_chunk.min(at);
        if let Some(chunk) = &mut self.chunks[at] {
            chunk.free_pages |= 1 << index;
            if chunk.free_pages == u64::MAX {
                self.empty_chunks += 1;
            }
        }
    }

    fn link(&mut self, page: u32) {
        let class = usize::from(self.pages[page as usize].class);
        let first = std::mem::replace(&mut self.partial[class], page);
        self.pages[page as usize].next = first;
        self.pages[page as usize].previous = NONE;
        if first != NONE {
            self.pages[first as usize].previous = page;
        }
    }

    fn unlink(&mut self, page: u32) {
        let PageState { next, previous, class, .. } = self.pages[page as usize];
        if previous == NONE {
            self.partial[usize::from(class)] = next;
        } else {
            self.pages[previous as usize].next = next;
        }
        if next != NONE {
            self.pages[next as usize].previous = previous;
        }
    }
}

#[inline]
fn class_for(size: usize) -> usize {
    assert!(size <= ARENA_RECORD_BYTES_MAX, "not a small record");
    usize::from(CLASS_OF[size.div_ceil(GRANULE)])
}

#[inline]
fn handle(page: u32, granule: u16) -> Handle {
    Handle(page << PAGE_GRANULES_LOG2 | u32::from(granule))
}

#[inline]
fn split(slot: Handle) -> (u32, u16) {
    let granule = (slot.0 & ((1 << PAGE_GRANULES_LOG2) - 1)) as u16;
    (slot.0 >> PAGE_GRANULES_LOG2, granule)
}

/// Page index and byte offset within it.
#[inline]
fn place(slot: Handle) -> (usize, usize) {
    let (page, granule) = split(slot);
    (page as usize, usize::from(granule) * GRANULE)
}

const fn class_bytes() -> [u16; CLASSES] {
    let mut sizes = [0u16; CLASSES];
    let (mut index, mut size) = (0, 4);
    while index < CLASSES {
        sizes[index] = size;
        size = if size < 64 { size + 4 } else { (size + size / 8) / 4 * 4 };
        index += 1;
    }
    sizes
}

const fn class_of() -> [u8; ARENA_RECORD_BYTES_MAX / GRANULE + 1] {
    let mut classes = [0u8; ARENA_RECORD_BYTES_MAX / GRANULE + 1];
    let (mut granules, mut class) = (0, 0);
    while granules < classes.len() {
        if (CLASS_BYTES[class] as usize) < granules * GRANULE {
            class += 1;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below CLASSES")]
        {
            classes[granules] = class as u8;
        }
        granules += 1;
    }
    classes
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "drawn numbers are below small bounds")]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn classes_are_tight() {
        let check = |size: usize, expected: usize| assert_eq!(Arena::slot_bytes(size), expected);
        [(1, 4), (4, 4), (5, 8), (35, 36), (41, 44), (64, 64), (65, 72), (1_000, 1_028)]
            .into_iter()
            .for_each(|(size, expected)| check(size, expected));
        for size in 64..=ARENA_RECORD_BYTES_MAX {
            assert!(Arena::slot_bytes(size) >= size);
            assert!(Arena::slot_bytes(size) * 8 <= size * 9 + 8, "{size}");
        }
    }

    #[test]
    fn random_slots_never_overlap_and_all_memory_comes_back() {
        let seed = 11;
        let mut prng = Prng::new(seed);
        let mut arena = Arena::default();
        let mut live: Vec<(Handle, usize, u8)> = Vec::new();
        for round in 0..200_000u32 {
            // Waves: growth, then shrinkage, so that pages and chunks empty out.
            let grow = prng.chance(if round % 50_000 < 25_000 { 3 } else { 1 }, 4);
            if grow || live.is_empty() {
                let size = 4 + prng.below(300) as usize;
                let fill = prng.below(256) as u8;
                let slot = arena.allocate(size).unwrap();
                arena.bytes_mut(slot)[..size].fill(fill);
                live.push((slot, size, fill));
            } else {
                let at = prng.below(live.len() as u64) as usize;
                let (slot, size, fill) = live.swap_remove(at);
                let intact = arena.bytes(slot)[..size].iter().all(|&byte| byte == fill);
                assert!(intact, "seed {seed}, round {round}");
                arena.free(slot);
            }
        }
        let expected: usize = live.iter().map(|it| Arena::slot_bytes(it.1)).sum();
        assert_eq!(arena.used_bytes(), expected);
        for (slot, size, fill) in live.drain(..) {
            assert!(arena.bytes(slot)[..size].iter().all(|&byte| byte == fill), "seed {seed}");
            arena.free(slot);
        }
        assert_eq!((arena.used_bytes(), arena.page_bytes()), (0, 0));
        while arena.trim() {}
        assert_eq!(arena.chunks.iter().flatten().count(), 1, "one chunk is the reserve");
    }

    #[test]
    fn an_empty_page_serves_another_class() {
        let mut arena = Arena::default();
        let small: Vec<_> = (0..5_000).map(|_| arena.allocate(36).unwrap()).collect();
        let before = arena.page_bytes();
        small.into_iter().for_each(|slot| arena.free(slot));
        let big: Vec<_> = (0..100).map(|_| arena.allocate(600).unwrap()).collect();
        assert!(arena.page_bytes() <= before);
        big.into_iter().for_each(|slot| arena.free(slot));
        assert_eq!(arena.page_bytes(), 0);
    }
}
