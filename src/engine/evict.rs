//! Which key goes when memory is short: the policies of `maxmemory-policy`, by samples.
//!
//! As in Redis: for each key that goes some are drawn, the best of which join a small pool of the best seen
//! so far, and the best of the pool goes. A draw is a line of the table, so its entries are judged by bits that lie
//! there together (`types/segment.rs`, `types/segment/uses.rs`); only for `volatile-ttl` their records are read.
//!
//! A candidate of the pool may have been used, moved or removed since it was drawn: it counts only if its entry
//! is still what it was. A pinned key (`watch.rs`) stays.
//!
//! Not here: how much is too much, and when (`node/memory.rs`).

use super::keyspace::{Keyspace, seconds};
use super::notices::Class;
use crate::base::prng::Prng;
use crate::base::time::Wall;
use crate::types::arena::Handle;
use crate::types::segment::Segment;
use crate::types::table::Place;

/// Candidates that are remembered (Redis: 16).
const POOL: usize = 16;

/// What is drawn at most, whatever `maxmemory-samples` says.
const SAMPLES_MAX: usize = 64;

/// Draws of the random policies before they take the next best.
const RANDOM_DRAWS_MAX: usize = 64;

/// Lines of the table that are looked at for one sample of keys with an expiry, before their share of all
/// is taken for small.
const LINES_MAX: usize = 4 * Segment::LINES;

/// What makes a key the one to go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rank {
    /// It was not used for the longest time.
    Lru,
    /// It is used least often.
    Lfu,
    Random,
    /// It has the least time left.
    Ttl,
    /// None goes.
    #[default]
    None,
}

/// `maxmemory-policy`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    pub rank: Rank,
    /// Only keys with an expiry.
    pub volatile: bool,
}

/// What is remembered between two evictions.
#[derive(Debug, Default)]
pub struct Evictor {
    /// The best last.
    pool: Vec<Candidate>,
    /// Where the search for rare keys with an expiry goes on, and which database is next.
    prefix: u64,
    next_db: usize,
    /// By which the candidates were judged.
    policy: Policy,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// The higher, the sooner it goes.
    score: u64,
    db: usize,
    place: Place,
    handle: Handle,
    used: u16,
}

impl Keyspace {
    /// Takes one key out and names it; false: there is none that may go.
    pub fn evict(
        &mut self,
        policy: Policy,
        samples: usize,
        (now, prng): (Wall, &mut Prng),
        evicted: &mut dyn FnMut(usize, &[u8]),
    ) -> bool {
        let mut evictor = std::mem::take(&mut self.evictor);
        if evictor.policy != policy {
            evictor = Evictor { policy, ..Evictor::default() };
        }
        let found = match policy.rank {
            Rank::None => None,
            Rank::Random => evictor.any(self, policy.volatile, prng),
            Rank::Lru | Rank::Lfu | Rank::Ttl => {
                evictor.best(self, policy, samples.clamp(1, SAMPLES_MAX), now, prng)
            }
        };
        self.evictor = evictor;
        let Some((db, place)) = found else { return false };
        let name = self.view(place).key.to_vec();
        evicted(db, &name);
        self.drop_place(db, place);
        self.stats.evicted += 1;
        self.notify(db, Class::Evicted, "evicted", &name);
        true
    }
}

impl Evictor {
    /// Forgets its candidates: tables have gone or changed places.
    pub(super) fn forget(&mut self) {
        self.pool.clear();
    }

    fn best(
        &mut self,
        keyspace: &mut Keyspace,
        policy: Policy,
        samples: usize,
        now: Wall,
        prng: &mut Prng,
    ) -> Option<(usize, Place)> {
        for _ in 0..POOL {
            for db in 0..keyspace.databases() {
                if eligible(keyspace, db, policy.volatile) > 0 {
                    self.sample(keyspace, db, policy, samples, now, prng);
                }
            }
            while let Some(it) = self.pool.pop() {
                if it.is_there(keyspace) && !keyspace.holds_pinned(it.db, it.place) {
                    return Some((it.db, it.place));
                }
            }
        }
        None
    }

    /// Draws keys of one database.
    fn sample(
        &mut self,
        keyspace: &Keyspace,
        db: usize,
        policy: Policy,
        samples: usize,
        now: Wall,
        prng: &mut Prng,
    ) {
        let mut seen = 0;
        let wanted = samples.min(eligible(keyspace, db, policy.volatile));
        self.draw(keyspace, db, policy.volatile, prng, &mut |evictor, places| {
            for place in places {
                evictor.offer(Candidate::of(keyspace, db, place, policy.rank, now));
                seen += 1;
            }
            seen < wanted
        });
    }

    /// Names the entries of one line after another, from somewhere at random on, until `each` says false. A
    /// line is named whole: who looked at its first entries only would never see the last ones.
    fn draw(
        &mut self,
        keyspace: &Keyspace,
        db: usize,
        volatile: bool,
        prng: &mut Prng,
        each: &mut dyn FnMut(&mut Self, &mut dyn Iterator<Item = Place>) -> bool,
    ) {
        let Some(Some(database)) = keyspace.databases.get(db) else { return };
        let (table, store) = (&database.table, &keyspace.store);
        let rare = volatile && table.expires() * 64 < table.len();
        let mut prefix = if rare { self.prefix } else { prng.next_u64() };
        let mut line = if rare { 0 } else { line_of(prng.next_u64()) };
        let (mut lines, mut rounds) = (0, 0);
        while let Some((id, next)) = table.segment_at(store, prefix) {
            let segment = store.segments.get(id);
            for at in 0..Segment::LINES {
                let line = (line + at) % Segment::LINES;
                let spots = segment.spots_in(line, volatile);
                if !each(self, &mut spots.map(|spot| Place { segment: id, spot })) {
                    self.prefix = next.unwrap_or(0);
                    return;
                }
            }
            lines += Segment::LINES;
            if lines >= LINES_MAX && !rare {
                return;
            }
            prefix = next.unwrap_or(0);
            line = 0;
            rounds += usize::from(next.is_none());
            if rounds == 2 {
                return; // It was all seen.
            }
        }
    }

    fn offer(&mut self, it: Candidate) {
        let known = |other: &Candidate| other.place == it.place && other.db == it.db;
        self.pool.retain(|other| !known(other));
        let at = self.pool.partition_point(|other| other.score <= it.score);
        if self.pool.len() == POOL {
            if at == 0 {
                return;
            }
            self.pool.remove(0);
            self.pool.insert(at - 1, it);
        } else {
            self.pool.insert(at, it);
        }
    }

    /// Any key, of the databases in turn.
    fn any(
        &mut self,
        keyspace: &Keyspace,
        volatile: bool,
        prng: &mut Prng,
    ) -> Option<(usize, Place)> {
        for _ in 0..keyspace.databases() {
            self.next_db = (self.next_db + 1) % keyspace.databases();
            let db = self.next_db;
            if eligible(keyspace, db, volatile) == 0 {
                continue;
            }
            let mut found = one_of(keyspace, db, volatile, prng);
            if found.is_none() {
                self.draw(keyspace, db, volatile, prng, &mut |_, places| {
                    let mut free = places.filter(|it| !keyspace.holds_pinned(db, *it));
                    found = free.next().map(|it| (db, it));
                    found.is_none()
                });
            }
            if found.is_some() {
                return found;
            }
        }
        None
    }
}

impl Candidate {
    fn of(keyspace: &Keyspace, db: usize, place: Place, rank: Rank, now: Wall) -> Self {
        let segment = keyspace.store.segments.get(place.segment);
        let score = match rank {
            Rank::Lru => segment.idle_seconds(place.spot, seconds(now)).into(),
            Rank::Lfu => u64::from(u8::MAX - segment.frequency(place.spot, seconds(now))),
            Rank::Ttl => u64::MAX - keyspace.view(place).expiry.unwrap_or(u64::MAX),
            Rank::Random | Rank::None => 0,
        };
        let (handle, used) = (segment.handle(place.spot), segment.uses(place.spot));
        Self { score, db, place, handle, used }
    }

    /// Is the entry there still, and was it not used since?
    fn is_there(&self, keyspace: &Keyspace) -> bool {
        let segment = keyspace.store.segments.get(self.place.segment);
        segment.is_live(self.place.spot)
            && segment.handle(self.place.spot) == self.handle
            && segment.uses(self.place.spot) == self.used
    }
}

/// A key drawn evenly, unless luck fails.
fn one_of(
    keyspace: &Keyspace,
    db: usize,
    volatile: bool,
    prng: &mut Prng,
) -> Option<(usize, Place)> {
    let database = keyspace.databases.get(db)?.as_ref()?;
    for _ in 0..RANDOM_DRAWS_MAX {
        let (id, _) = database.table.segment_at(&keyspace.store, prng.next_u64())?;
        let segment = keyspace.store.segments.get(id);
        let Some(spot) = segment.at_random(prng.next_u64()) else { continue };
        let place = Place { segment: id, spot };
        if (!volatile || segment.expires(spot)) && !keyspace.holds_pinned(db, place) {
            return Some((db, place));
        }
    }
    None
}

/// How many keys of a database may go.
fn eligible(keyspace: &Keyspace, db: usize, volatile: bool) -> usize {
    if volatile { keyspace.expires(db) } else { keyspace.len(db) }
}

fn line_of(random: u64) -> usize {
    usize::try_from(random % Segment::LINES as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::keyspace::{Expiry, Key};
    use crate::types::record::Encode;
    use crate::types::segment::Counting;

    const COUNTING: Counting = Counting { unit_s: 60, log_factor: 10 };
    const START_S: u64 = 1_000_000;

    fn at(second: u64) -> Wall {
        Wall((START_S + second) * 1_000_000)
    }

    fn new(policy: Policy) -> Keyspace {
        let mut keyspace = Keyspace::new(3, [1, 2, 3, 4]);
        keyspace.set_policy(policy, COUNTING);
        keyspace
    }

    fn with_key<T>(
        keyspace: &mut Keyspace,
        number: u64,
        act: impl FnOnce(&mut Keyspace, Key<'_>) -> T,
    ) -> T {
        let name = format!("key:{number:08}");
        let key = keyspace.hasher().key(name.as_bytes());
        act(keyspace, key)
    }

    fn set(keyspace: &mut Keyspace, db: usize, number: u64, expiry: Expiry, now: Wall) {
        let value = [b'v'; 100];
        with_key(keyspace, number, |keyspace, key| {
            keyspace.set(db, key, &value, expiry, Encode::Auto, now).unwrap();
        });
    }

    fn policies() -> impl Iterator<Item = Policy> {
        let ranks = [Rank::Lru, Rank::Lfu, Rank::Random, Rank::Ttl];
        let both = ranks.into_iter().flat_map(|rank| {
            [false, true].into_iter().map(move |volatile| Policy { rank, volatile })
        });
        both.filter(|it| it.volatile || it.rank != Rank::Ttl) // There is no allkeys-ttl.
    }

    fn number(name: &[u8]) -> u64 {
        str::from_utf8(&name[4..]).unwrap().parse().unwrap()
    }

    /// The higher the number of a key, the later and the more often it was used, and the later it ends; only
    /// those with an even one end at all. One of them is pinned.
    #[test]
    fn the_policies_take_what_they_name_and_no_other() {
        const KEYS: u64 = 2_000;
        for policy in policies() {
            let (mut keyspace, mut prng) = (new(policy), Prng::new(3));
            // Each use counts, and for ever: no chance decides here.
            keyspace.set_policy(policy, Counting { unit_s: u32::MAX, log_factor: 0 });
            for n in 0..KEYS {
                let expiry = if n % 2 == 0 {
                    Expiry::At((START_S + KEYS + n) * 1_000)
                } else {
                    Expiry::None
                };
                set(&mut keyspace, 1, n, expiry, at(n));
                for _ in 0..n / 50 {
                    with_key(&mut keyspace, n, |it, key| it.touch(1, key, at(n)));
                }
            }
            with_key(&mut keyspace, 0, |it, key| it.pin(1, key));
            let (mut gone, now) = (Vec::new(), at(KEYS));
            while keyspace.evict(policy, 5, (now, &mut prng), &mut |db, name| {
                assert_eq!(db, 1);
                gone.push(number(name));
            }) {}
            let left = if policy.volatile { KEYS / 2 + 1 } else { 1 };
            assert_eq!(keyspace.len(1) as u64, left, "{policy:?}");
            assert!(with_key(&mut keyspace, 0, |it, key| it.exists(1, key, at(1))), "{policy:?}");
            assert_eq!(keyspace.stats().evicted, gone.len() as u64);
            if policy.rank != Rank::Random {
                // The first quarter that went is the lower one, but for some.
                let quarter = &gone[..gone.len() / 4];
                let low = quarter.iter().filter(|&&n| n < KEYS * 2 / 5).count();
                assert!(low * 10 >= quarter.len() * 9, "{policy:?}: {low} of {}", quarter.len());
            }
        }
    }

    #[test]
    fn candidates_of_tables_that_are_gone_are_forgotten() {
        let policy = Policy { rank: Rank::Lru, volatile: false };
        let (mut keyspace, mut prng) = (new(policy), Prng::new(3));
        for round in 0..3 {
            (0..500).for_each(|n| set(&mut keyspace, 0, n, Expiry::None, at(n)));
            (0..20).for_each(|_| {
                assert!(keyspace.evict(policy, 5, (at(600), &mut prng), &mut |_, _| {}));
            });
            if round == 0 {
                keyspace.swap(0, 2)
            } else {
                keyspace.flush_all()
            }
            while keyspace.collect(1_000) {}
        }
        assert!(!keyspace.evict(policy, 5, (at(600), &mut prng), &mut |_, _| {}));
    }

    /// What redis-server 7.0.15 did with the same load: a client reads keys drawn from a Zipf distribution
    /// and sets those that are not there, 30,000 times a second.
    ///
    /// (policy, keys that it had room for, share of reads that found their key in the last two thirds)
    const GOLDEN: [(Policy, usize, f64); 4] = [
        (Policy { rank: Rank::Lru, volatile: false }, 28_832, 0.774_7),
        (Policy { rank: Rank::Lfu, volatile: false }, 28_832, 0.797_7),
        (Policy { rank: Rank::Random, volatile: false }, 28_832, 0.741_2),
        (Policy { rank: Rank::Lru, volatile: true }, 23_136, 0.751_0),
    ];
    const GOLDEN_KEYS: u64 = 200_000;
    const GOLDEN_READS: usize = 600_000;
    const GOLDEN_READS_PER_SECOND: usize = 30_000;
    const GOLDEN_EXPONENT: f64 = 0.99;
    const GOLDEN_MARGIN: f64 = 0.01;

    #[test]
    fn as_many_reads_find_their_key_as_in_redis() {
        let mut sums = Vec::new();
        for n in 1..=GOLDEN_KEYS {
            #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
            let share = (n as f64).powf(-GOLDEN_EXPONENT);
            sums.push(share + sums.last().copied().unwrap_or(0.0));
        }
        for (policy, room, golden) in GOLDEN {
            let (mut keyspace, mut prng) = (new(policy), Prng::new(3));
            let (mut draws, mut hits, mut reads) = (Prng::new(5), 0_u32, 0_u32);
            for at_read in 0..GOLDEN_READS {
                let now = at((at_read / GOLDEN_READS_PER_SECOND) as u64);
                let drawn = draws.unit() * sums.last().unwrap();
                let n = sums.partition_point(|sum| *sum < drawn) as u64;
                let found =
                    with_key(&mut keyspace, n, |it, key| it.get(0, key, now).unwrap().is_some());
                if at_read >= GOLDEN_READS / 3 {
                    (hits, reads) = (hits + u32::from(found), reads + 1);
                }
                if !found {
                    let end = Expiry::At((START_S + 100_000) * 1_000);
                    let expiry = if policy.volatile { end } else { Expiry::None };
                    set(&mut keyspace, 0, n, expiry, now);
                    while keyspace.len(0) > room {
                        assert!(keyspace.evict(policy, 5, (now, &mut prng), &mut |_, _| {}));
                    }
                }
            }
            let rate = f64::from(hits) / f64::from(reads);
            assert!(rate >= golden - GOLDEN_MARGIN, "{policy:?}: {rate:.4}, Redis {golden:.4}");
        }
    }
}
