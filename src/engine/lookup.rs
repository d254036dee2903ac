//! Reading keys: whether a key is there is for the expiry mode to say (`keyspace.rs`).
//!
//! What a look leaves behind is Redis', command by command:
//!
//! ```text
//!                            counts a hit or a miss   moves the access clock
//!   get, read, touch         yes                      yes                     GET, HGET, TOUCH, ..
//!   asked, type_of           yes                      no                      EXISTS, TTL, TYPE, ..
//!   found_to_write, modify   no                       yes                     EXPIRE, SETNX, HSET, ..
//!   peek, exists, the rest   no                       no                      OBJECT, DEBUG, ..
//! ```
//!
//! Under all of them an expired key goes.
//!
//! Not here: changes, and what spans many keys (`scan.rs`).

use super::collections::WrongType;
use super::keyspace::{Key, Keyspace, Stats, ValueRef, seconds};
use super::notices::Class;
use crate::base::time::Wall;
use crate::types::record::{Encoding, Kind};
use crate::types::store::View;
use crate::types::table::Place;

/// What an entry takes in the table, at the usual fill.
const ENTRY_BYTES: usize = 8;

impl Keyspace {
    /// Hints the line of the table that a lookup begins with.
    #[inline]
    pub fn prefetch_bucket(&self, db: usize, hash: u64) {
        if let Some(Some(database)) = self.databases.get(db) {
            database.table.prefetch_bucket(&self.store, hash);
        }
    }

    /// Hints the record, by a look at the bucket: some requests after `prefetch_bucket`.
    #[inline]
    pub fn prefetch_record(&self, db: usize, hash: u64) {
        if let Some(Some(database)) = self.databases.get(db) {
            database.table.prefetch_record(&self.store, hash);
        }
    }

    /// A string.
    #[inline]
    pub fn get(
        &mut self,
        db: usize,
        key: Key<'_>,
        now: Wall,
    ) -> Result<Option<ValueRef<'_>>, WrongType> {
        let Some(value) = self.get_any(db, key, now) else { return Ok(None) };
        if value.encoding().is_string() { Ok(Some(value)) } else { Err(WrongType) }
    }

    /// A value of any kind.
    #[inline]
    pub fn get_any(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<ValueRef<'_>> {
        let place = self.used(db, key, now)?;
        Some(self.view(place).value)
    }

    /// A value without a trace of having been looked at.
    pub fn peek(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<ValueRef<'_>> {
        let place = self.live(db, key, now)?;
        Some(self.view(place).value)
    }

    /// As `peek`, of a string.
    pub fn peek_string(
        &mut self,
        db: usize,
        key: Key<'_>,
        now: Wall,
    ) -> Result<Option<ValueRef<'_>>, WrongType> {
        let Some(value) = self.peek(db, key, now) else { return Ok(None) };
        if value.encoding().is_string() { Ok(Some(value)) } else { Err(WrongType) }
    }

    /// As `get`, for who needs no value: TOUCH, which moves the clock for whomever.
    pub fn touch(&mut self, db: usize, key: Key<'_>, now: Wall) -> bool {
        let no_touch = std::mem::replace(&mut self.no_touch, false);
        let found = self.used(db, key, now).is_some();
        self.no_touch = no_touch;
        found
    }

    pub fn exists(&mut self, db: usize, key: Key<'_>, now: Wall) -> bool {
        self.live(db, key, now).is_some()
    }

    /// As `expiry`, for a client's question about a key.
    pub fn asked(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Option<u64>> {
        let place = self.counted(db, key, now)?;
        Some(self.view(place).expiry)
    }

    /// As `expiry`, for a write that depends on what is there.
    pub fn found_to_write(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Option<u64>> {
        let place = self.live(db, key, now)?;
        self.moved_clock(place, now);
        Some(self.view(place).expiry)
    }

    pub fn type_of(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Kind> {
        let place = self.counted(db, key, now)?;
        Some(self.view(place).value.kind())
    }

    pub fn encoding(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Encoding> {
        self.peek(db, key, now).map(|value| value.encoding())
    }

    /// Are uses of keys counted, so that there is no telling when they were?
    #[must_use]
    pub fn counts_uses(&self) -> bool {
        self.store.segments.counting().is_some()
    }

    /// How often the key is used, on Redis' logarithmic scale.
    pub fn frequency(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<u8> {
        let place = self.live(db, key, now)?;
        let segment = self.store.segments.get(place.segment);
        Some(segment.frequency(place.spot, seconds(now)))
    }

    /// Seconds since the key was last used; `types/segment.rs` says how exact.
    pub fn idle_seconds(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<u64> {
        let place = self.live(db, key, now)?;
        let segment = self.store.segments.get(place.segment);
        Some(segment.idle_seconds(place.spot, seconds(now)).into())
    }

    /// As if the key had last been used so long ago; nothing where uses are counted.
    pub fn set_idle_seconds(&mut self, db: usize, key: Key<'_>, idle: u64, now: Wall) {
        let Some(place) = self.find(db, key).filter(|_| !self.counts_uses()) else { return };
        let idle = u32::try_from(idle).unwrap_or(u32::MAX);
        self.store.segments.get_mut(place.segment).set_idle(place.spot, idle, seconds(now));
    }

    /// As if the key had been used so often; nothing where uses are not counted.
    pub fn set_frequency(&mut self, db: usize, key: Key<'_>, frequency: u8, now: Wall) {
        if let Some(place) = self.find(db, key) {
            let segments = &mut self.store.segments;
            segments.set_frequency(place.segment, place.spot, seconds(now), frequency);
        }
    }

    /// `None`: no such key; `Some(None)`: it never expires; else absolute milliseconds.
    pub fn expiry(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Option<u64>> {
        let place = self.live(db, key, now)?;
        Some(self.view(place).expiry)
    }

    /// What the key costs, with its share of the table.
    pub fn record_bytes(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<usize> {
        let place = self.live(db, key, now)?;
        let handle = self.store.segments.get(place.segment).handle(place.spot);
        Some(self.store.record_bytes(handle) + ENTRY_BYTES)
    }

    #[must_use]
    pub fn stats(&self) -> Stats {
        self.stats
    }

    pub fn reset_stats(&mut self) {
        self.stats = Stats::default();
    }

    #[inline]
    pub(super) fn view(&self, place: Place) -> View<'_> {
        self.store.view(self.store.segments.get(place.segment).handle(place.spot))
    }

    #[inline]
    fn used(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Place> {
        let place = self.counted(db, key, now)?;
        self.moved_clock(place, now);
        Some(place)
    }

    #[inline]
    fn counted(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Place> {
        let Some(place) = self.live(db, key, now) else {
            self.stats.misses += 1;
            self.notify(db, Class::KeyMiss, "keymiss", key.bytes);
            return None;
        };
        self.stats.hits += 1;
        Some(place)
    }

    #[inline]
    pub(super) fn moved_clock(&mut self, place: Place, now: Wall) {
        if !self.no_touch {
            self.store.segments.touch(place.segment, place.spot, seconds(now));
        }
    }
}
