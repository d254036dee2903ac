//! Active expiry: finds keys whose time has passed and that nobody asks for.
//!
//! A position goes round through all databases, bucket by bucket; only lines with the has-expiry bit
//! lead to records. A step visits at most its budget of buckets. It stops early once a stretch
//! showed few expired keys: Redis' effort follows the share of expired keys found (10 % by default), and
//! so does this, with all keys with an expiry in the stretch as the sample.
//!
//! Only for a master: a replica waits for its master's DEL. The caller's closure replicates it.

use super::keyspace::{ExpiryMode, Keyspace};
use super::notices::Class;
use crate::base::time::Wall;
use crate::types::segment::Segment;
use crate::types::table::Place;

/// Buckets of one stretch.
const STRETCH_BUCKETS: usize = 64;

/// A stretch with a larger share of expired keys is followed by another one, in percent.
const EXPIRED_PERCENT_MIN: usize = 10;

/// Where the cycle is, between two steps.
#[derive(Debug, Default)]
pub struct ExpireCycle {
    db: usize,
    prefix: u64,
    line: usize,
}

/// What a stretch saw.
#[derive(Default)]
struct Seen {
    alive: usize,
    expired: usize,
    ttl_ms: u64,
}

impl ExpireCycle {
    /// Removes expired keys and names them; true: there were many, come again soon.
    pub fn step(
        &mut self,
        keyspace: &mut Keyspace,
        now: Wall,
        budget_buckets: usize,
        expired: &mut dyn FnMut(usize, &[u8]),
    ) -> bool {
        if keyspace.expiry_mode() != ExpiryMode::Delete {
            return false;
        }
        let mut left = budget_buckets;
        let mut databases_without = 0;
        while left > 0 && databases_without <= keyspace.databases() {
            if self.db >= keyspace.databases() {
                *self = Self::default();
            }
            if keyspace.expires(self.db) == 0 {
                *self = Self { db: self.db + 1, ..Self::default() };
                databases_without += 1;
                continue;
            }
            databases_without = 0;
            let db = self.db;
            let buckets = left.min(STRETCH_BUCKETS);
            let seen = self.stretch(keyspace, now, buckets, expired);
            left -= buckets;
            sample_ttl(keyspace, db, &seen);
            let all = seen.alive + seen.expired;
            if all > 0 && seen.expired * 100 <= all * EXPIRED_PERCENT_MIN {
                return false;
            }
        }
        left == 0 && databases_without == 0
    }

    /// The next buckets of one database.
    fn stretch(
        &mut self,
        keyspace: &mut Keyspace,
        now: Wall,
        buckets: usize,
        expired: &mut dyn FnMut(usize, &[u8]),
    ) -> Seen {
        let mut seen = Seen::default();
        for _ in 0..buckets {
            let table = keyspace.databases.get(self.db).and_then(Option::as_ref);
            let Some((id, next)) =
                table.and_then(|it| it.table.segment_at(&keyspace.store, self.prefix))
            else {
                *self = Self { db: self.db + 1, ..Self::default() };
                break;
            };
            let segment = keyspace.store.segments.get(id);
            let spots: Vec<_> = segment.spots_with_expiry(self.line).collect();
            for &spot in &spots {
                keyspace.store.prefetch(keyspace.store.segments.get(id).handle(spot));
            }
            // A removal moves no other entry, so the spots stay right.
            for spot in spots {
                let place = Place { segment: id, spot };
                let view = keyspace.view(place);
                match view.expiry {
                    Some(ms) if ms <= now.ms() => {
                        if keyspace.holds_pinned(self.db, place) {
                            continue;
                        }
                        seen.expired += 1;
                        expired(self.db, view.key);
                        keyspace.note_expired_place(self.db, place);
                        keyspace.drop_place(self.db, place);
                        keyspace.stats.expired += 1;
                    }
                    Some(ms) => {
                        seen.alive += 1;
                        seen.ttl_ms = seen.ttl_ms.saturating_add(ms - now.ms());
                    }
                    None => {}
                }
            }
            self.line += 1;
            if self.line == Segment::LINES {
                match next {
                    Some(prefix) => (self.prefix, self.line) = (prefix, 0),
                    None => {
                        *self = Self { db: self.db + 1, ..Self::default() };
                        break;
                    }
                }
            }
        }
        seen
    }
}

impl Keyspace {
    /// The entry is about to go, since its time has passed.
    fn note_expired_place(&mut self, db: usize, place: Place) {
        if self.wants(Class::Expired) {
            let name = self.view(place).key.to_vec();
            self.notify(db, Class::Expired, "expired", &name);
        }
    }
}

/// A running mean, in which the newest sample weighs 2 %, as in Redis.
fn sample_ttl(keyspace: &mut Keyspace, db: usize, seen: &Seen) {
    let Some(sample) = seen.ttl_ms.checked_div(seen.alive as u64) else { return };
    let database = keyspace.database(db);
    database.avg_ttl = match database.avg_ttl {
        0 => sample,
        mean => mean / 50 * 49 + sample / 50,
    };
}
