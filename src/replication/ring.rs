//! The replication ring: the newest bytes of the stream, addressed by offset.
//!
//! A replica that lost its link asks for "history X from offset N". If byte N is still here it
//! gets the rest and carries on; if not, it must load a whole snapshot. So the size of this ring
//! decides how long a replica may be away for free. Every attached replica is a cursor in it:
//! N replicas cost one copy.
//!
//! ```text
//!          start                                end        held = start..end, half open
//!   ...... [== chunk ==][== chunk ==][= newest =) ......   all chunks but the newest are full
//! ```
//!
//! Invariants, asserted:
//!   * `start` and `end` never decrease, except in `reset`, which begins a new history;
//!   * every chunk begins where the one before it ended, and only the newest is not full;
//!   * bytes do not move while they are held: a chunk is allocated whole and never grows, so a
//!     send in flight may point into it until `trim` passes it. That is what `slowest` is for.
//!
//! **Spilling.** What a slow replica pins may be more than the memory shall hold: then the oldest full chunks go
//! to a file, each to a slot of its own, and come back as pages when a cursor gets there. Here is only which
//! chunk goes and which is wanted; the caller has the file. Until a page is here `read` gives nothing.
//!
//! Why bytes and not commands: an offset is a count of bytes on the wire (PSYNC, REPLCONF ACK),
//! so whatever answers for offsets must count the same thing.
//!
//! Beware: on the wire the first byte of a history is number 1, and PSYNC names the first byte
//! *wanted*. Here offsets start at 0, and `end` is Redis' `master_repl_offset`. Only `psync.rs`
//! converts.
//!
//! Not here: who is connected and how far each has read (`master.rs`), sockets (`runtime/`).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::base::limits::{RING_CHUNK_BYTES, RING_PAGES_AHEAD, RING_SPARE_CHUNKS};

/// The newest bytes of the history.
#[derive(Debug)]
pub struct Ring {
    chunk_bytes: usize,
    start: u64,
    end: u64,
    chunks: VecDeque<Chunk>,
    spare: Vec<Vec<u8>>,
    /// Chunks in a file, how many slots that has, and the first chunk that may go.
    away: usize,
    slots: u64,
    next_to_go: usize,
    /// What came back, and what was asked for: by the offset of its first byte.
    pages: Vec<(u64, Vec<u8>)>,
    asked: Vec<u64>,
}

#[derive(Debug)]
enum Chunk {
    Here(Vec<u8>),
    /// On its way to the file.
    Going(Arc<Vec<u8>>),
    /// In the file; always full.
    Away,
}

impl Chunk {
    fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Here(bytes) => Some(bytes),
            Self::Going(bytes) => Some(bytes),
            Self::Away => None,
        }
    }
}

/// A chunk that is to be written to, or read from, a slot of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// The offset of its first byte: its name.
    pub at: u64,
    pub place: u64,
    pub length: usize,
}

impl Ring {
    /// An empty ring of a history that is `offset` bytes long.
    #[must_use]
    pub fn new(offset: u64) -> Self {
        Self::with_chunks(offset, RING_CHUNK_BYTES)
    }

    /// As `new`, with chunks of another size (tests want many of them).
    #[must_use]
    pub fn with_chunks(offset: u64, chunk_bytes: usize) -> Self {
        assert!(chunk_bytes > 0);
        let (chunks, spare) = (VecDeque::new(), Vec::new());
        Self {
            chunk_bytes,
            start: offset,
            end: offset,
            chunks,
            spare,
            away: 0,
            slots: 0,
            next_to_go: 0,
            pages: Vec::new(),
            asked: Vec::new(),
        }
    }

    /// The oldest byte held.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// The length of the history: `master_repl_offset`.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// What a cursor may ask for; `end` itself is a good place to wait at.
    #[must_use]
    pub fn held(&self) -> Range<u64> {
        self.start..self.end
    }

    /// Memory of the held chunks.
    #[must_use]
    pub fn memory(&self) -> usize {
        (self.chunks.len() - self.away + self.pages.len() + self.spare.len()) * self.chunk_bytes
    }

    pub fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.newest_bytes() == self.chunk_bytes {
                let chunk = self.spare.pop();
                let chunk = chunk.unwrap_or_else(|| Vec::with_capacity(self.chunk_bytes));
                self.chunks.push_back(Chunk::Here(chunk));
            }
            let Some(Chunk::Here(newest)) = self.chunks.back_mut() else {
                unreachable!("only full chunks go")
            };
            let (now, rest) = bytes.split_at(bytes.len().min(self.chunk_bytes - newest.len()));
            newest.extend_from_slice(now);
            self.end += now.len() as u64;
            bytes = rest;
        }
        self.check();
    }

    /// The held bytes from `offset` on, as far as they lie in one piece; empty at `end`.
    /// `offset` is a cursor's, and cursors are never outside: asserted.
    #[must_use]
    pub fn read(&self, offset: u64) -> &[u8] {
        assert!(self.start <= offset && offset <= self.end, "cursor {offset} of {:?}", self.held());
        let from_start = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let (at, within) = (from_start / self.chunk_bytes, from_start % self.chunk_bytes);
        let Some(chunk) = self.chunks.get(at) else { return &[] };
        let page = || {
            let first = offset - within as u64;
            self.pages.iter().find(|(of, _)| *of == first).map(|(_, bytes)| &bytes[..])
        };
        chunk.bytes().or_else(page).map_or(&[], |bytes| &bytes[within..])
    }

    /// Gives up the oldest chunks while `capacity` bytes remain without them, but none that
    /// `slowest`, the cursor furthest behind, has yet to read.
    pub fn trim(&mut self, capacity: u64, slowest: Option<u64>) {
        assert!(slowest.is_none_or(|cursor| self.start <= cursor && cursor <= self.end));
        let keep_from = self.end.saturating_sub(capacity).min(slowest.unwrap_or(self.end));
        while !self.chunks.is_empty() {
            let length = match self.chunks.len() {
                1 => self.newest_bytes(),
                _ => self.chunk_bytes,
            };
            let next = self.start + length as u64;
            if next > keep_from || length < self.chunk_bytes {
                break;
            }
            let first = self.start;
            self.start = next;
            self.next_to_go = self.next_to_go.saturating_sub(1);
            self.pages.retain(|(at, _)| *at != first);
            let free = match self.chunks.pop_front() {
                Some(Chunk::Here(bytes)) => Some(bytes),
                Some(Chunk::Going(bytes)) => Arc::try_unwrap(bytes).ok(),
                Some(Chunk::Away) => {
                    self.away -= 1;
                    None
                }
                None => None,
            };
            if self.spare.len() < RING_SPARE_CHUNKS {
                self.spare.extend(free.map(|mut chunk| {
                    chunk.clear();
                    chunk
                }));
            }
        }
        self.check();
    }

    /// Forgets all bytes: the history is another one now, and `offset` bytes long. No cursor may
    /// be left in the ring.
    pub fn reset(&mut self, offset: u64) {
        *self = Self::with_chunks(offset, self.chunk_bytes);
    }

    /// The oldest chunk that shall go to a file of `slots` slots, if more than `memory` bytes are here; none with a
    /// byte from `keep_from` on.
    pub fn spill(
        &mut self,
        memory: u64,
        slots: u64,
        keep_from: u64,
    ) -> Option<(Slot, Arc<Vec<u8>>)> {
        if self.memory() as u64 <= memory {
            return None;
        }
        if self.away == 0 && !self.chunks.iter().any(|it| matches!(it, Chunk::Going(_))) {
            self.slots = slots; // With chunks in the file their places must not change.
        }
        // So many chunks in a row have places of their own.
        let end = self.chunks.len().saturating_sub(1).min(usize::try_from(self.slots).ok()?);
        while self.next_to_go < end {
            let at = self.start + (self.next_to_go * self.chunk_bytes) as u64;
            if at + self.chunk_bytes as u64 > keep_from {
                return None;
            }
            let slot = self.slot(at);
            let chunk = &mut self.chunks[self.next_to_go];
            self.next_to_go += 1;
            if let Chunk::Here(bytes) = chunk {
                let bytes = Arc::new(std::mem::take(bytes));
                *chunk = Chunk::Going(Arc::clone(&bytes));
                return Some((slot, bytes));
            }
        }
        None
    }

    fn slot(&self, at: u64) -> Slot {
        let place = at / self.chunk_bytes as u64 % self.slots.max(1);
        Slot { at, place, length: self.chunk_bytes }
    }

    /// The chunk of that name is in the file, or could not be written.
    pub fn spilled(&mut self, at: u64, written: bool) {
        let Some(index) = self.index_of(at) else { return };
        let chunk = &mut self.chunks[index];
        let Chunk::Going(bytes) = chunk else { return };
        if written {
            *chunk = Chunk::Away;
            self.away += 1;
        } else {
            let bytes = std::mem::take(bytes);
            *chunk = Chunk::Here(Arc::try_unwrap(bytes).unwrap_or_else(|it| it.to_vec()));
            self.next_to_go = self.next_to_go.min(index);
        }
    }

    /// What a reader at `cursor` needs of the file, and did not ask for yet: a few chunks ahead.
    pub fn wanted(&mut self, cursor: u64, wanted: &mut Vec<Slot>) {
        if self.away == 0 || cursor < self.start {
            return;
        }
        let first = usize::try_from(cursor - self.start).unwrap_or(usize::MAX) / self.chunk_bytes;
        for index in first..(first + RING_PAGES_AHEAD).min(self.chunks.len()) {
            let at = self.start + (index * self.chunk_bytes) as u64;
            let here = self.pages.iter().any(|(of, _)| *of == at) || self.asked.contains(&at);
            if matches!(self.chunks[index], Chunk::Away) && !here {
                self.asked.push(at);
                wanted.push(self.slot(at));
            }
        }
    }

    /// What was asked for came.
    pub fn paged(&mut self, at: u64, bytes: Vec<u8>) {
        let asked = self.asked.iter().position(|it| *it == at);
        let Some(asked) = asked else { return };
        self.asked.swap_remove(asked);
        let away = self.index_of(at).is_some_and(|it| matches!(self.chunks[it], Chunk::Away));
        if away && bytes.len() == self.chunk_bytes {
            self.pages.push((at, bytes));
        }
    }

    /// Forgets the pages that no cursor is about to read.
    pub fn keep_pages(&mut self, cursors: &[u64]) {
        let ahead = (RING_PAGES_AHEAD * self.chunk_bytes) as u64;
        let chunk = self.chunk_bytes as u64;
        self.pages.retain(|(at, _)| {
            cursors.iter().any(|&cursor| *at + chunk > cursor && *at <= cursor + ahead)
        });
    }

    /// Bytes in the file.
    #[must_use]
    pub fn spilled_bytes(&self) -> u64 {
        (self.away * self.chunk_bytes) as u64
    }

    /// The file cannot be read: gives up everything up to the newest chunk that is in it. Who has a cursor
    /// there cannot go on.
    pub fn lose_spilled(&mut self) {
        let lost = self.chunks.iter().rposition(|it| matches!(it, Chunk::Away));
        for _ in 0..lost.map_or(0, |at| at + 1) {
            if let Some(Chunk::Away) = self.chunks.pop_front() {
                self.away -= 1;
            }
            self.start += self.chunk_bytes as u64;
        }
        (self.next_to_go, self.pages, self.asked) = (0, Vec::new(), Vec::new());
        self.check();
    }

    fn index_of(&self, at: u64) -> Option<usize> {
        let from_start = usize::try_from(at.checked_sub(self.start)?).ok()?;
        let index = from_start / self.chunk_bytes;
        (from_start.is_multiple_of(self.chunk_bytes) && index < self.chunks.len()).then_some(index)
    }

    /// Bytes of the newest chunk; a ring without one is as if it were full.
    fn newest_bytes(&self) -> usize {
        match self.chunks.back() {
            Some(Chunk::Here(newest)) => newest.len(),
            Some(Chunk::Going(_) | Chunk::Away) | None => self.chunk_bytes,
        }
    }

    fn check(&self) {
        let newest = if self.chunks.is_empty() { 0 } else { self.newest_bytes() };
        let full = self.chunks.len().saturating_sub(1) * self.chunk_bytes;
        assert!(self.end - self.start == (full + newest) as u64, "a chunk is not full");
        debug_assert_eq!(
            self.away,
            self.chunks.iter().filter(|it| matches!(it, Chunk::Away)).count()
        );
    }
}

#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test prints its seed, and draws small numbers"
)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn read_all(ring: &Ring, mut offset: u64) -> Vec<u8> {
        let mut bytes = Vec::new();
        while offset < ring.end() {
            let piece = ring.read(offset);
            assert!(!piece.is_empty());
            bytes.extend_from_slice(piece);
            offset += piece.len() as u64;
        }
        bytes
    }

    #[test]
    fn an_empty_ring_waits_at_its_end() {
        let mut ring = Ring::new(100);
        assert_eq!((ring.start(), ring.end(), ring.read(100)), (100, 100, &b""[..]));
        ring.trim(0, None);
        ring.append(b"abc");
        assert_eq!((ring.held(), ring.read(101)), (100..103, &b"bc"[..]));
    }

    #[test]
    fn trim_keeps_the_capacity_and_the_slowest_cursor() {
        let check = |capacity: u64, slowest: Option<u64>, start: u64| {
            let mut ring = Ring::with_chunks(10, 4);
            ring.append(b"0123456789abcdefgh"); // 10..28, chunks at 10, 14, 18, 22, 26
            ring.trim(capacity, slowest);
            assert_eq!(ring.held(), start..28, "{capacity} {slowest:?}");
        };
        check(18, None, 10);
        check(14, None, 14);
        check(13, None, 14);
        check(10, None, 18);
        check(2, None, 26);
        check(0, None, 26); // The newest chunk stays until it is full.
        check(0, Some(10), 10);
        check(0, Some(17), 14);
        check(0, Some(18), 18);
        check(28, Some(28), 10);
    }

    #[test]
    fn a_full_last_chunk_may_go_and_offsets_go_on() {
        let mut ring = Ring::with_chunks(0, 4);
        ring.append(b"0123");
        ring.trim(0, None);
        assert_eq!(ring.held(), 4..4);
        ring.append(b"4");
        assert_eq!(ring.read(4), b"4");
        assert_eq!(ring.memory(), 4, "the spare chunk is used again");
        ring.reset(50);
        assert_eq!(ring.held(), 50..50);
    }

    #[test]
    fn held_bytes_do_not_move() {
        let mut ring = Ring::with_chunks(0, 64);
        ring.append(b"a");
        let place = ring.read(0).as_ptr();
        (0..1_000).for_each(|_| ring.append(b"more"));
        ring.trim(100, Some(0));
        assert_eq!(ring.read(0).as_ptr(), place);
    }

    /// A file that fails now and then, and readers that must see every byte in order.
    #[test]
    fn what_is_spilled_comes_back() {
        let seed = 12;
        println!("seed {seed}");
        let mut prng = Prng::new(seed);
        for _ in 0..40 {
            let mut ring = Ring::with_chunks(1_000, 8);
            let (mut model, mut file) = (Vec::new(), vec![Vec::new(); 6]);
            let (mut writes, mut reads) = (VecDeque::new(), VecDeque::new());
            let mut cursors = [1_000_u64; 2];
            let mut spilled = 0;
            for step in 0..4_000_u64 {
                let piece: Vec<u8> = (0..prng.below(6)).map(|i| (step ^ i) as u8).collect();
                if ring.end() - ring.start() < 150 {
                    model.extend_from_slice(&piece);
                    ring.append(&piece);
                }
                while let Some(job) = ring.spill(32, 6, ring.end() - 8) {
                    writes.push_back(job);
                }
                if prng.chance(1, 3)
                    && let Some((slot, bytes)) = writes.pop_front()
                {
                    let fails = prng.chance(1, 5);
                    if !fails {
                        file[slot.place as usize] = bytes.to_vec();
                    }
                    drop(bytes);
                    ring.spilled(slot.at, !fails);
                    spilled = spilled.max(ring.spilled_bytes());
                }
                let mut wanted = Vec::new();
                cursors.iter().for_each(|&it| ring.wanted(it, &mut wanted));
                reads.extend(wanted);
                // The file works in order: what was written before is read after.
                if writes.is_empty()
                    && let Some(slot) = reads.pop_front()
                {
                    ring.paged(slot.at, file[slot.place as usize].clone());
                }
                for cursor in &mut cursors {
                    let piece = ring.read(*cursor);
                    let some = prng.below(piece.len() as u64 + 1);
                    let from = (*cursor - 1_000) as usize;
                    assert_eq!(piece[..some as usize], model[from..from + some as usize]);
                    *cursor += some;
                }
                ring.keep_pages(&cursors);
                let slowest = cursors.iter().copied().min();
                ring.trim(16, slowest);
            }
            assert!(spilled >= 16, "{spilled}");
            assert!(cursors[0] > 2_000, "{cursors:?}");
            ring.lose_spilled();
            assert_eq!(ring.spilled_bytes(), 0);
        }
    }

    #[test]
    fn equals_a_vec_that_never_forgets() {
        let seed = 11;
        println!("seed {seed}");
        let mut prng = Prng::new(seed);
        let mut ring = Ring::with_chunks(1_000, 7);
        let mut model = Vec::new();
        let mut cursor = 1_000;
        for step in 0..5_000_u64 {
            let piece: Vec<u8> = (0..prng.below(20)).map(|i| (step ^ i) as u8).collect();
            model.extend_from_slice(&piece);
            ring.append(&piece);
            cursor += prng.below(ring.end() - cursor + 1);
            ring.trim(prng.below(60), Some(cursor));
            assert_eq!(ring.end(), 1_000 + model.len() as u64);
            assert!(ring.start() <= cursor);
            assert_eq!(read_all(&ring, cursor), model[(cursor - 1_000) as usize..]);
        }
    }
}
