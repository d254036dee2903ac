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

use crate::base::limits::{RING_CHUNK_BYTES, RING_SPARE_CHUNKS};

/// The newest bytes of the history.
#[derive(Debug)]
pub struct Ring {
    chunk_bytes: usize,
    start: u64,
    end: u64,
    chunks: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
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
        Self { chunk_bytes, start: offset, end: offset, chunks, spare }
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
        (self.chunks.len() + self.spare.len()) * self.chunk_bytes
    }

    pub fn append(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.chunks.back().is_none_or(|newest| newest.len() == self.chunk_bytes) {
                let chunk = self.spare.pop();
                self.chunks
                    .push_back(chunk.unwrap_or_else(|| Vec::with_capacity(self.chunk_bytes)));
            }
            let Some(newest) = self.chunks.back_mut() else { unreachable!("just pushed") };
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
        let chunk = self.chunks.get(from_start / self.chunk_bytes);
        chunk.map_or(&[], |chunk| &chunk[from_start % self.chunk_bytes..])
    }

    /// Gives up the oldest chunks while `capacity` bytes remain without them, but none that
    /// `slowest`, the cursor furthest behind, has yet to read.
    pub fn trim(&mut self, capacity: u64, slowest: Option<u64>) {
        assert!(slowest.is_none_or(|cursor| self.start <= cursor && cursor <= self.end));
        let keep_from = self.end.saturating_sub(capacity).min(slowest.unwrap_or(self.end));
        while let Some(oldest) = self.chunks.front() {
            let next = self.start + oldest.len() as u64;
            if next > keep_from || oldest.len() < self.chunk_bytes {
                break;
            }
            self.start = next;
            let oldest = self.chunks.pop_front();
            if self.spare.len() < RING_SPARE_CHUNKS {
                self.spare.extend(oldest.map(|mut chunk| {
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

    fn check(&self) {
        let newest = self.chunks.back().map_or(0, Vec::len);
        let full = self.chunks.len().saturating_sub(1) * self.chunk_bytes;
        assert!(self.end - self.start == (full + newest) as u64, "a chunk is not full");
        assert!(self.chunks.back().is_none_or(|it| it.capacity() >= self.chunk_bytes));
    }
}

#[cfg(test)]
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
