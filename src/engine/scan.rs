//! What looks at many keys of a database: SCAN, KEYS, RANDOMKEY, and the figures of INFO.
//!
//! Here an expired key is skipped, not removed (mode `Ignore` shows it): removal is for whoever meets
//! the key by its name, and for the expire cycle.
//!
//! Not here: how the cursor survives splits (`types/table.rs`).

use super::keyspace::{ExpiryMode, Keyspace};
use crate::base::prng::Prng;
use crate::base::time::Wall;
use crate::types::arena::Handle;
use crate::types::record::Kind;

/// Buckets that one SCAN visits at most, per key asked for (Redis: 10).
const SCAN_BUCKETS_PER_KEY: usize = 10;

/// Draws of RANDOMKEY before it takes the first key that there is.
const RANDOM_DRAWS_MAX: usize = 1_000;

impl Keyspace {
    #[must_use]
    pub fn databases(&self) -> usize {
        self.databases.len()
    }

    /// Is a key there that has not expired?
    #[must_use]
    pub fn is_there(&self, db: usize, name: &[u8], now: Wall) -> bool {
        let place = self.find(db, self.key(name));
        place.is_some_and(|it| self.shows(self.store.segments.get(it.segment).handle(it.spot), now))
    }

    /// Keys of a database, with those that expired and were not met since.
    #[must_use]
    pub fn len(&self, db: usize) -> usize {
        self.databases[db].as_ref().map_or(0, |it| it.table.len())
    }

    /// Keys that have an expiry.
    #[must_use]
    pub fn expires(&self, db: usize) -> usize {
        self.databases[db].as_ref().map_or(0, |it| it.table.expires())
    }

    /// Mean time to live in milliseconds, as the expire cycle saw it.
    #[must_use]
    pub fn avg_ttl(&self, db: usize) -> u64 {
        self.databases[db].as_ref().map_or(0, |it| it.avg_ttl)
    }

    /// Bytes that the keyspace holds: records, values, tables.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        let tables = self.databases.iter().flatten().map(|it| it.table.directory_bytes());
        self.store.used_bytes() + tables.sum::<usize>()
    }

    /// Bytes of a database's table, without those of its segments, which all databases share.
    #[must_use]
    pub fn table_bytes(&self, db: usize) -> usize {
        self.databases[db].as_ref().map_or(0, |it| it.table.directory_bytes())
    }

    /// Bytes of pages that hold no record now.
    #[must_use]
    pub fn unused_bytes(&self) -> usize {
        self.store.unused_bytes()
    }

    /// As `used_bytes`, without what only a snapshot still needs.
    #[must_use]
    pub fn counted_bytes(&self) -> usize {
        let used = self.used_bytes();
        if self.is_walking() { used.saturating_sub(self.pool_bytes()) } else { used }
    }

    /// Gives each key of the next buckets to `each`, about `count` of them; the next cursor, 0 at
    /// the end. A key that is there from the first call to the last is given at least once.
    pub fn scan(
        &self,
        db: usize,
        cursor: u64,
        count: usize,
        now: Wall,
        each: &mut dyn FnMut(&[u8], Kind),
    ) -> u64 {
        let Some(database) = &self.databases[db] else { return 0 };
        let (mut cursor, mut given) = (cursor, 0);
        for _ in 0..count.max(1).saturating_mul(SCAN_BUCKETS_PER_KEY) {
            cursor = database.table.scan(&self.store, cursor, &mut |handle| {
                if self.shows(handle, now) {
                    given += 1;
                    each(self.store.key(handle), self.store.kind(handle));
                }
            });
            if cursor == 0 || given >= count {
                break;
            }
        }
        cursor
    }

    /// All keys of a database.
    pub fn for_each(&self, db: usize, now: Wall, each: &mut dyn FnMut(&[u8])) {
        let Some(database) = &self.databases[db] else { return };
        for id in database.table.segments() {
            let segment = self.store.segments.get(id);
            segment.spots().for_each(|spot| self.store.prefetch(segment.handle(spot)));
            for handle in segment.spots().map(|spot| segment.handle(spot)) {
                if self.shows(handle, now) {
                    each(self.store.key(handle));
                }
            }
        }
    }

    /// Copies the name of a key drawn evenly to `out`; false: there is none.
    pub fn random_key(&mut self, db: usize, prng: &mut Prng, now: Wall, out: &mut Vec<u8>) -> bool {
        out.clear();
        let Some(database) = &self.databases[db] else { return false };
        for _ in 0..RANDOM_DRAWS_MAX {
            let Some((id, _)) = database.table.segment_at(&self.store, prng.next_u64()) else {
                return false;
            };
            let segment = self.store.segments.get(id);
            let drawn = segment.at_random(prng.next_u64()).map(|spot| segment.handle(spot));
            if let Some(handle) = drawn.filter(|&it| self.shows(it, now)) {
                out.extend_from_slice(self.store.key(handle));
                return true;
            }
        }
        // Almost empty, or almost all expired: any key will do.
        let mut handles = database.table.segments().flat_map(|id| {
            let segment = self.store.segments.get(id);
            segment.spots().map(|spot| segment.handle(spot))
        });
        let found = handles.find(|&it| self.shows(it, now));
        out.extend_from_slice(found.map_or(&[], |handle| self.store.key(handle)));
        found.is_some()
    }

    fn shows(&self, handle: Handle, now: Wall) -> bool {
        self.mode == ExpiryMode::Ignore || self.store.expiry(handle).is_none_or(|ms| ms > now.ms())
    }
}
