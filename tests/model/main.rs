//! The keyspace against ordered maps: random programs over all of its writes, in virtual time, with scans,
//! flushes, swaps and snapshots in between. A failure names its seed and its step.

#![expect(clippy::unwrap_used, reason = "a test may panic")]
#![expect(clippy::cast_possible_truncation, reason = "drawn numbers are below small bounds")]

mod sorted_sets;

use std::collections::{BTreeMap, BTreeSet};

use ringfold::base::prng::Prng;
use ringfold::base::time::Wall;
use ringfold::engine::expire::ExpireCycle;
use ringfold::engine::keyspace::{Expiry, ExpiryMode, Keyspace};
use ringfold::engine::walk::Walk;
use ringfold::types::record::Encode;

const DATABASES: usize = 4;

/// Value and expiry of each key, by database.
type Model = Vec<BTreeMap<Vec<u8>, (Vec<u8>, Option<u64>)>>;

struct World {
    keyspace: Keyspace,
    model: Model,
    prng: Prng,
    now: Wall,
    keys: u64,
    seed: u64,
    /// What the cut must give, and what the walk has given.
    cut: Option<(Model, Model)>,
    cuts_done: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut prng = Prng::new(seed);
        let keys = [20, 1_000, 5_000, 40_000][prng.below(4) as usize];
        let mut world = Self {
            keyspace: Keyspace::new(DATABASES, [seed, 1, 2, 3]),
            model: vec![BTreeMap::new(); DATABASES],
            prng,
            now: Wall(1_700_000_000_000_000),
            keys,
            seed,
            cut: None,
            cuts_done: 0,
        };
        if keys == 40_000 {
            // Enough for segments of several depths.
            (0..15_000 + world.prng.below(30_000)).for_each(|_| world.load());
            (0..DATABASES).for_each(|db| world.check_scan(db));
        }
        world
    }

    /// Sets a key, most often in the first database.
    fn load(&mut self) {
        let db = self.prng.below(8).saturating_sub(5) as usize;
        let (name, value) = (self.name(), self.value());
        let key = self.keyspace.hasher().key(&name);
        self.keyspace.set(db, key, &value, Expiry::None, Encode::Auto, self.now).unwrap();
        self.model[db].insert(name, (value, None));
    }

    fn name(&mut self) -> Vec<u8> {
        let number = self.prng.below(self.keys);
        let mut name = format!("key:{number}").into_bytes();
        if number.is_multiple_of(97) {
            name.resize(600, b'k'); // a key in the side table
        }
        name
    }

    fn value(&mut self) -> Vec<u8> {
        let len = match self.prng.below(20) {
            0 => self.prng.below(5_000),
            1 => 1_020 + self.prng.below(10),
            _ => self.prng.below(40),
        };
        let byte = b'a' + self.prng.below(26) as u8;
        vec![byte; len as usize]
    }

    /// Drops what has expired from the model's database, as an access to that key would.
    fn purge(&mut self, db: usize, key: &[u8]) {
        let now = self.now.ms();
        if self.model[db].get(key).is_some_and(|it| it.1.is_some_and(|ms| ms <= now)) {
            self.model[db].remove(key);
            let key = self.keyspace.hasher().key(key);
            assert!(!self.keyspace.exists(db, key, self.now), "seed {}", self.seed);
        }
    }

    fn step(&mut self) {
        let db = self.prng.below(DATABASES as u64) as usize;
        let name = self.name();
        self.purge(db, &name);
        let key = self.keyspace.hasher().key(&name);
        let (now, choice) = (self.now, self.prng.below(1_000));
        let at = now.ms() + self.prng.below(3_000);
        match choice {
            0..400 => {
                let value = self.value();
                let old = self.model[db].get(&name).and_then(|it| it.1);
                let (expiry, ms) = match self.prng.below(4) {
                    0 => (Expiry::At(at), Some(at)),
                    1 => (Expiry::Keep, old),
                    _ => (Expiry::None, None),
                };
                self.keyspace.set(db, key, &value, expiry, Encode::Auto, now).unwrap();
                self.model[db].insert(name, (value, ms));
            }
            400..550 => {
                let removed = self.model[db].remove(&name).is_some();
                assert_eq!(self.keyspace.remove(db, key, now), removed, "seed {}", self.seed);
            }
            550..650 => {
                let bytes = self.value();
                let entry = self.model[db].entry(name.clone()).or_default();
                entry.0.extend_from_slice(&bytes);
                let len = self.keyspace.append(db, key, &bytes, now).unwrap();
                assert_eq!(len, entry.0.len(), "seed {}", self.seed);
            }
            650..700 => {
                let (bytes, offset) = (self.value(), self.prng.below(100) as usize);
                let entry = self.model[db].entry(name.clone()).or_default();
                let end = offset + bytes.len();
                entry.0.resize(entry.0.len().max(end), 0);
                entry.0[offset..end].copy_from_slice(&bytes);
                let len = self.keyspace.write_range(db, key, offset, &bytes, now).unwrap();
                assert_eq!(len, entry.0.len(), "seed {}", self.seed);
            }
            700..760 => {
                let ms = self.prng.chance(1, 2).then_some(at);
                let entry = self.model[db].get_mut(&name);
                let found = entry.is_some();
                entry.into_iter().for_each(|it| it.1 = ms);
                assert_eq!(self.keyspace.set_expiry(db, key, ms, now), Ok(found));
            }
            760..860 => self.move_or_copy(db, &name, choice < 810),
            860..862 => {
                self.keyspace.flush(db);
                self.model[db].clear();
            }
            862..866 => {
                let other = self.prng.below(DATABASES as u64) as usize;
                self.keyspace.swap(db, other);
                self.model.swap(db, other);
            }
            866..900 => self.snapshot(),
            900..903 => self.now.0 += 200_000,
            903..920 => {
                self.keyspace.collect(50);
            }
            _ => self.read(db, &name),
        }
        self.keyspace.drain_expired(&mut |_, _| {});
    }

    fn move_or_copy(&mut self, db: usize, name: &[u8], rename: bool) {
        let (to_db, to, now) = (self.prng.below(DATABASES as u64) as usize, self.name(), self.now);
        let hasher = self.keyspace.hasher();
        let (from_key, to_key) = (hasher.key(name), hasher.key(&to));
        let entry = self.model[db].get(name).cloned();
        let done = if rename {
            self.keyspace.rename(db, from_key, to_db, to_key, now)
        } else {
            self.keyspace.copy(db, from_key, to_db, to_key, now)
        };
        assert_eq!(done, Ok(entry.is_some()), "seed {}", self.seed);
        if let Some(entry) = entry {
            if rename {
                self.model[db].remove(name);
            }
            self.model[to_db].insert(to, entry);
        }
    }

    fn read(&mut self, db: usize, name: &[u8]) {
        let (key, now) = (self.keyspace.hasher().key(name), self.now);
        let expected = self.model[db].get(name);
        let found = self.keyspace.get_any(db, key, now).map(|it| it.bytes().to_vec());
        assert_eq!(found.as_ref(), expected.map(|it| &it.0), "seed {}", self.seed);
        let expiry = self.keyspace.expiry(db, key, now);
        assert_eq!(expiry, expected.map(|it| it.1), "seed {}", self.seed);
    }

    /// Cuts, walks a little, or gives up.
    fn snapshot(&mut self) {
        let Some((_, walked)) = &mut self.cut else {
            // The cut sees what expired and was not met yet, so let nothing be so.
            self.expire_all();
            assert!(self.keyspace.cut(), "seed {}", self.seed);
            self.cut = Some((self.model.clone(), vec![BTreeMap::new(); DATABASES]));
            return;
        };
        if self.prng.chance(1, 100) {
            self.keyspace.abandon_walk();
            self.cut = None;
            return;
        }
        let (budget, seed) = (self.prng.below(60) as usize, self.seed);
        let done = self.keyspace.walk(budget, &mut |record| {
            let value = (record.value.bytes().to_vec(), record.expiry);
            let before = walked[record.db].insert(record.key.to_vec(), value);
            assert!(before.is_none(), "emitted twice, seed {seed}");
        });
        if done == Walk::Done {
            assert_eq!(self.keyspace.pool_bytes(), 0);
            let (expected, walked) = self.cut.take().unwrap();
            assert!(expected == walked, "the walk is not the cut, seed {seed}");
            self.cuts_done += 1;
        }
    }

    fn expire_all(&mut self) {
        let now = self.now;
        let dead = |it: &(Vec<u8>, Option<u64>)| it.1.is_some_and(|ms| ms <= now.ms());
        for db in 0..DATABASES {
            let names: Vec<_> = self.model[db].keys().cloned().collect();
            for name in names {
                let key = self.keyspace.hasher().key(&name);
                let expected = !dead(&self.model[db][&name]);
                assert_eq!(self.keyspace.exists(db, key, now), expected, "seed {}", self.seed);
                self.purge(db, &name);
            }
        }
        self.keyspace.drain_expired(&mut |_, _| {});
    }

    /// While nothing changes, a scan gives every key once.
    fn check_scan(&self, db: usize) {
        let (mut keys, mut cursor) = (BTreeSet::new(), 0);
        loop {
            let mut each = |key: &[u8], _| assert!(keys.insert(key.to_vec()));
            cursor = self.keyspace.scan(db, cursor, 10, self.now, &mut each);
            if cursor == 0 {
                break;
            }
        }
        assert!(keys.iter().eq(self.model[db].keys()), "seed {}", self.seed);
    }

    /// Everything equals the model, and freeing all gives all memory back.
    fn check_end(mut self) -> usize {
        self.expire_all();
        for db in 0..DATABASES {
            self.check_scan(db);
            let expires = self.model[db].values().filter(|it| it.1.is_some()).count();
            assert_eq!(self.keyspace.expires(db), expires, "seed {}", self.seed);
            assert_eq!(self.keyspace.len(db), self.model[db].len(), "seed {}", self.seed);
        }
        self.keyspace.abandon_walk();
        self.keyspace.flush_all();
        while self.keyspace.collect(1_000) {}
        // What stays is the emptied side table, a small part of which is keys' own.
        let side_table_bytes = 60_000 + self.keys as usize * 3;
        assert!(self.keyspace.used_bytes() < side_table_bytes, "seed {}", self.seed);
        self.cuts_done
    }
}

#[test]
fn random_programs_agree_with_ordered_maps() {
    let mut cuts = 0;
    for seed in 0..60 {
        let mut world = World::new(seed);
        (0..20_000).for_each(|_| world.step());
        cuts += world.check_end();
    }
    assert!(cuts > 50, "only {cuts} snapshots were finished");
}

#[test]
fn the_cycle_expires_what_is_due_and_nothing_else() {
    for seed in 0..10 {
        let mut prng = Prng::new(seed);
        let mut keyspace = Keyspace::new(DATABASES, [seed; 4]);
        let (now, mut due) = (Wall(5_000_000), BTreeSet::new());
        for n in 0..10_000u32 {
            let (name, db) = (n.to_le_bytes(), prng.below(3) as usize);
            let ms = 1 + prng.below(10_000);
            let key = keyspace.hasher().key(&name);
            keyspace.set(db, key, b"v", Expiry::At(ms), Encode::Auto, Wall(0)).unwrap();
            if ms <= now.ms() {
                due.insert((db, name.to_vec()));
            }
        }
        let (mut cycle, mut gone) = (ExpireCycle::default(), BTreeSet::new());
        for _ in 0..200 {
            cycle.step(&mut keyspace, now, 500, &mut |db, name| {
                assert!(gone.insert((db, name.to_vec())), "seed {seed}");
            });
        }
        assert_eq!(gone, due, "seed {seed}");
        assert!(keyspace.avg_ttl(0) > 1_000, "{}", keyspace.avg_ttl(0));
    }
}

#[test]
fn who_asks_decides_what_an_expired_key_is() {
    let mut keyspace = Keyspace::new(1, [1; 4]);
    let key = keyspace.hasher().key(b"k");
    keyspace.set(0, key, b"v", Expiry::At(10), Encode::Auto, Wall(0)).unwrap();
    let late = Wall(10_000);
    keyspace.set_expiry_mode(ExpiryMode::Hide);
    assert!(!keyspace.exists(0, key, late) && keyspace.len(0) == 1);
    keyspace.set_expiry_mode(ExpiryMode::Ignore);
    assert!(keyspace.exists(0, key, late));
    keyspace.set_expiry_mode(ExpiryMode::Delete);
    assert!(!keyspace.exists(0, key, late) && keyspace.len(0) == 0);
    let mut names = Vec::new();
    keyspace.drain_expired(&mut |db, name| names.push((db, name.to_vec())));
    assert_eq!(names, [(0, b"k".to_vec())]);
    assert!(!keyspace.has_expired());
}

/// The right-hand column is what OBJECT IDLETIME of redis-server 7.0.15 said.
#[test]
fn uses_move_the_access_clock_and_looks_do_not() {
    let check = |what: &str, on: fn(&mut Keyspace, Wall), expected: u64| {
        let mut keyspace = Keyspace::new(1, [1; 4]);
        let (start, later) = (Wall(1_700_000_000_000_000), Wall(1_700_000_003_000_000));
        keyspace.set(0, keyspace.key(b"k"), b"v", Expiry::None, Encode::Auto, start).unwrap();
        on(&mut keyspace, later);
        let key = keyspace.key(if what == "RENAME" { b"other" } else { b"k" });
        assert_eq!(keyspace.idle_seconds(0, key, later), Some(expected), "{what}");
    };
    check("nothing", |_, _| {}, 3);
    check("EXISTS", |it, now| assert!(it.exists(0, it.key(b"k"), now)), 3);
    check("TYPE", |it, now| assert!(it.type_of(0, it.key(b"k"), now).is_some()), 3);
    check("TTL", |it, now| assert!(it.expiry(0, it.key(b"k"), now).is_some()), 3);
    check("GET", |it, now| assert!(it.get_any(0, it.key(b"k"), now).is_some()), 0);
    check("TOUCH", |it, now| assert!(it.touch(0, it.key(b"k"), now)), 0);
    check("APPEND", |it, now| assert!(it.append(0, it.key(b"k"), b"v", now).is_ok()), 0);
    check(
        "EXPIRE",
        |it, now| assert!(it.set_expiry(0, it.key(b"k"), Some(9 << 50), now).is_ok()),
        0,
    );
    check("PERSIST", |it, now| assert!(it.set_expiry(0, it.key(b"k"), None, now).is_ok()), 0);
    check("COPY", |it, now| assert!(it.copy(0, it.key(b"k"), 0, it.key(b"other"), now).is_ok()), 0);
    check(
        "RENAME",
        |it, now| assert!(it.rename(0, it.key(b"k"), 0, it.key(b"other"), now).is_ok()),
        0,
    );
}

#[test]
fn random_keys_are_drawn_from_all() {
    let (mut keyspace, mut prng, mut out) = (Keyspace::new(1, [1; 4]), Prng::new(1), Vec::new());
    assert!(!keyspace.random_key(0, &mut prng, Wall(0), &mut out));
    let mut seen = BTreeMap::<Vec<u8>, u32>::new();
    for n in 0..100u8 {
        let name = [n];
        let key = keyspace.hasher().key(&name);
        keyspace.set(0, key, b"v", Expiry::None, Encode::Auto, Wall(0)).unwrap();
    }
    for _ in 0..20_000 {
        assert!(keyspace.random_key(0, &mut prng, Wall(0), &mut out));
        *seen.entry(out.clone()).or_default() += 1;
    }
    assert_eq!(seen.len(), 100);
    assert!(seen.values().all(|n| (120..300).contains(n)), "{seen:?}");
}
