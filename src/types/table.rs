//! One database's keys: an extendible directory of fixed segments (Fagin et al. 1979, in memory as in
//! Dash, Lu et al. 2020).
//!
//! ```text
//!   hash = [ directory: top bits ............ | tag: 7 bits | home bucket: 6 bits ]
//!   directory[top `depth` bits] -> segment; a segment of depth d is named by 2^(depth - d) neighbours
//! ```
//!
//! A segment that has no room splits into two by its next bit: 550 records or so, not the whole table.
//! So no insert ever pays for a rehash, and memory has no doubling. Segments never merge: they go
//! when the whole table does (`pop_segment`, a slice at a time).
//!
//! SCAN goes bucket-major: (home bucket, hash prefix). For bucket b it visits all segments in the order
//! of their prefixes, and only entries whose *home* is b. An entry's home and prefix never change,
//! and a split cuts one prefix range in two, so a key that stays is seen however the table grows.
//!
//! ```text
//!   cursor, 48 bits = [ bucket: 6 | start of the next segment's range, the hash's top bits: 42 ]
//! ```
//!
//! Not here: expiry, snapshots, statistics (`engine/keyspace.rs`).

use super::arena::{Full, Handle};
use super::segment::{BUCKETS, Segment, Spot};
use super::store::{Key, Store};

/// Where an entry is. Any insert or remove makes it stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: u32,
    pub spot: Spot,
}

#[derive(Default)]
pub struct Table {
    directory: Vec<u32>,
    depth: u8,
    len: usize,
    expires: usize,
}

const CURSOR_PREFIX_BITS: u32 = 42;

/// So many equal leading bits in two halves of a segment mean that the hash is broken.
const DEPTH_MAX: u8 = 40;

impl Table {
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Entries that have an expiry.
    #[must_use]
    pub fn expires(&self) -> usize {
        self.expires
    }

    /// Bytes of the directory.
    #[must_use]
    pub fn directory_bytes(&self) -> usize {
        self.directory.capacity() * size_of::<u32>()
    }

    #[inline]
    pub fn prefetch_bucket(&self, store: &Store, hash: u64) {
        if let Some(&segment) = self.directory.get(self.index(hash)) {
            store.segments.get(segment).prefetch(hash);
        }
    }

    /// Reads the bucket, so hint it well before.
    #[inline]
    pub fn prefetch_record(&self, store: &Store, hash: u64) {
        if let Some(&segment) = self.directory.get(self.index(hash)) {
            store.segments.get(segment).likely(hash, |handle| store.prefetch(handle));
        }
    }

    #[inline]
    #[must_use]
    pub fn find(&self, store: &Store, key: Key<'_>) -> Option<Place> {
        let &segment = self.directory.get(self.index(key.hash))?;
        let is_it = |handle| store.has_key(handle, key.bytes);
        let spot = store.segments.get(segment).find(key.hash, is_it)?;
        Some(Place { segment, spot })
    }

    /// Adds a record whose key is not here.
    pub fn insert(
        &mut self,
        store: &mut Store,
        hash: u64,
        handle: Handle,
        expires: bool,
        now_s: u32,
    ) -> Result<Place, Full> {
        if self.directory.is_empty() {
            let id = store.segments.add(Segment::new(0, store.cut, now_s));
            self.directory.push(id);
        }
        loop {
            let segment = self.directory[self.index(hash)];
            let target = store.segments.get_mut(segment);
            // Else a later catching up would take the newcomer for one of before the cut.
            target.catch_up(store.cut);
            if let Some(spot) = target.insert(hash, handle, expires, now_s) {
                self.len += 1;
                self.expires += usize::from(expires);
                return Ok(Place { segment, spot });
            }
            self.split(store, segment, hash)?;
        }
    }

    /// Takes an entry out; the record is the caller's.
    pub fn remove(&mut self, store: &mut Store, place: Place) -> Handle {
        let segment = store.segments.get_mut(place.segment);
        self.len -= 1;
        self.expires -= usize::from(segment.expires(place.spot));
        segment.remove(place.spot)
    }

    /// Puts another record of the same key there.
    pub fn replace(&mut self, store: &mut Store, place: Place, handle: Handle, expires: bool) {
        let segment = store.segments.get_mut(place.segment);
        self.expires -= usize::from(segment.expires(place.spot));
        self.expires += usize::from(expires);
        segment.replace(place.spot, handle, expires);
    }

    /// One bucket of SCAN: the entries of the cursor's home bucket in the cursor's segment. Gives
    /// them to `each` and returns the next cursor; 0 both begins and ends.
    pub fn scan(&self, store: &Store, cursor: u64, each: &mut dyn FnMut(Handle)) -> u64 {
        let home = u8::try_from(cursor >> CURSOR_PREFIX_BITS & (BUCKETS as u64 - 1)).unwrap_or(0);
        let prefix = cursor << (64 - CURSOR_PREFIX_BITS);
        let Some(&id) = self.directory.get(self.index(prefix)) else { return 0 };
        let segment = store.segments.get(id);
        segment.spots_of_home(home).for_each(|spot| store.prefetch(segment.handle(spot)));
        segment.spots_of_home(home).for_each(|spot| each(segment.handle(spot)));
        let (next_home, next_prefix) = match self.range_end(prefix, segment.depth) {
            Some(next) => (u64::from(home), next >> (64 - CURSOR_PREFIX_BITS)),
            None => (u64::from(home) + 1, 0),
        };
        if next_home == BUCKETS as u64 {
            return 0;
        }
        next_home << CURSOR_PREFIX_BITS | next_prefix
    }

    /// The segment that holds the hashes at `prefix`, and where the next one's begin (`None`: it
    /// is the last).
    #[must_use]
    pub fn segment_at(&self, store: &Store, prefix: u64) -> Option<(u32, Option<u64>)> {
        let &id = self.directory.get(self.index(prefix))?;
        Some((id, self.range_end(prefix, store.segments.get(id).depth)))
    }

    /// Gives up the last segment with its entries, and names it; the caller frees its records and
    /// then the segment. For a table that nobody can look into any more.
    pub fn pop_segment(&mut self) -> Option<u32> {
        let id = self.directory.pop()?;
        while self.directory.last() == Some(&id) {
            self.directory.pop();
        }
        Some(id)
    }

    /// Segments by number, each once, in the order of their hashes.
    pub fn segments(&self) -> impl Iterator<Item = u32> + '_ {
        let first = |&at: &usize| at == 0 || self.directory[at - 1] != self.directory[at];
        (0..self.directory.len()).filter(first).map(|at| self.directory[at])
    }

    #[inline]
    fn index(&self, hash: u64) -> usize {
        // Two shifts: a shift by 64 is not defined, and depth may be 0.
        usize::try_from(hash >> 1 >> (63 - self.depth)).unwrap_or(usize::MAX)
    }

    /// The first prefix behind the range of depth `depth` around `prefix`.
    fn range_end(&self, prefix: u64, depth: u8) -> Option<u64> {
        let width = 1u64.checked_shl(64 - u32::from(depth))?;
        (prefix & !(width - 1)).checked_add(width)
    }

    #[cold]
    fn split(&mut self, store: &mut Store, id: u32, hash: u64) -> Result<(), Full> {
        let depth = store.segments.get(id).depth;
        if depth >= DEPTH_MAX {
            return Err(Full);
        }
        if depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&id| [id, id]).collect();
            self.depth += 1;
        }
        let mut upper = leaving(store, store.segments.get(id), 63 - depth).into_iter();
        let leaves = |_| upper.next().unwrap_or(false);
        let upper = store.segments.get_mut(id).split(leaves);
        let upper = store.segments.add(upper);
        // The directory's entries of this segment: those that share its `depth` bits.
        let width = 1usize << (self.depth - depth);
        let start = self.index(hash) & !(width - 1);
        self.directory[start + width / 2..start + width].fill(upper);
        Ok(())
    }
}

/// Records in flight while a segment is split.
const PREFETCH_AHEAD: usize = 16;

/// For each entry in order, whether its hash has this bit. The keys must be hashed again, so their
/// records are needed: several are fetched at a time.
fn leaving(store: &Store, segment: &Segment, bit: u8) -> Vec<bool> {
    let mut ahead = segment.spots();
    ahead.by_ref().take(PREFETCH_AHEAD).for_each(|it| store.prefetch(segment.handle(it)));
    let mut leaving = Vec::with_capacity(segment.len());
    for spot in segment.spots() {
        if let Some(later) = ahead.next() {
            store.prefetch(segment.handle(later));
        }
        let hash = store.hasher().hash(store.key(segment.handle(spot)));
        leaving.push(hash >> bit & 1 == 1);
    }
    leaving
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::types::record::Encoding;
    use crate::types::store::{Hasher, Value};
    use std::collections::BTreeSet;

    fn add(table: &mut Table, store: &mut Store, number: u32) {
        let key = number.to_le_bytes();
        let handle = store.create(&key, Value::Bytes(b"v"), Encoding::Raw, None).unwrap();
        let hash = store.hasher().hash(&key);
        table.insert(store, hash, handle, false, 0).unwrap();
    }

    fn number(store: &Store, handle: Handle) -> u32 {
        u32::from_le_bytes(store.key(handle).try_into().unwrap())
    }

    #[test]
    fn every_key_is_found_again_while_the_table_grows() {
        let mut store = Store::new(Hasher::new([1, 2, 3, 4]));
        let mut table = Table::default();
        for n in 0..100_000 {
            add(&mut table, &mut store, n);
        }
        for n in 0..120_000u32 {
            let bytes = n.to_le_bytes();
            let found = table.find(&store, store.hasher().key(&bytes));
            assert_eq!(found.is_some(), n < 100_000, "{n}");
        }
        let counts = table.segments().map(|id| store.segments.get(id).len());
        assert_eq!(counts.sum::<usize>(), 100_000);
    }

    #[test]
    fn a_scan_sees_every_key_that_stays_however_the_table_splits() {
        for seed in 0..5 {
            let mut prng = Prng::new(seed);
            let mut store = Store::new(Hasher::new([seed, 2, 3, 4]));
            let mut table = Table::default();
            (0..2_000).for_each(|n| add(&mut table, &mut store, n));
            let (mut cursor, mut seen, mut next) = (0, BTreeSet::new(), 2_000);
            loop {
                cursor = table.scan(&store, cursor, &mut |handle| {
                    assert!(seen.insert(number(&store, handle)), "twice, seed {seed}");
                });
                assert!(cursor < 1 << 48);
                if cursor == 0 {
                    break;
                }
                for _ in 0..if next < 20_000 { prng.below(200) } else { 0 } {
                    add(&mut table, &mut store, next);
                    next += 1;
                }
            }
            assert!((0..2_000).all(|n| seen.contains(&n)), "seed {seed}");
            assert!(next > 8_000, "the table split during the scan");
        }
    }
}
