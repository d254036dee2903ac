//! Keys whose changes somebody wants to notice: WATCH, and transactions over several cores.
//!
//! Every way to change a key tells this table ([`Watch::touched`]), which costs one branch while nobody
//! watches. A watched key has a version; whoever watches remembers it and compares later. So the
//! table knows nobody's name, and a client that goes leaves only a count behind.
//!
//! A key may also be *pinned*: a transaction has its value on another core, so that it must not expire
//! or be evicted here meanwhile.
//!
//! What is a change is what Redis signals: a write that happened, an expiry set or taken away, a key
//! that expired or was evicted, FLUSHALL and SWAPDB where the key exists in a database concerned.
//!
//! Keys are told apart by their 64-bit secret hash: a collision would only make a transaction fail
//! that need not.

use crate::base::map::HashMap;
use crate::base::time::Wall;
use crate::engine::keyspace::{Key, Keyspace};
use crate::types::table::Place;
use std::collections::VecDeque;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Watch {
    keys: HashMap<(usize, u64), Watched>,
    /// The last version given to any key: none is given twice.
    versions: u64,
    /// Keys whose collections were lent to a command that has not said yet whether it changed them.
    lent: Vec<(usize, u64)>,
    /// Keys that have changed and are waited for.
    ready: VecDeque<(usize, u64)>,
    /// The names of all keys that change are kept, of whatever database.
    notes: bool,
    changed: Names,
    /// Of those in `lent`.
    lent_names: Names,
}

/// Names, one behind the other.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Names {
    fn push(&mut self, name: &[u8]) {
        self.bytes.extend_from_slice(name);
        self.ends.push(self.bytes.len());
    }

    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut start = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut start, end)..end])
    }
}

#[derive(Debug)]
struct Watched {
    name: Box<[u8]>,
    version: u64,
    watchers: u32,
    pins: u32,
    /// Clients that wait for it to get something, and whether it is among the ready ones.
    waiters: u32,
    ready: bool,
}

/// What a watcher remembers of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    pub version: u64,
    /// It was there, and not expired.
    pub there: bool,
}

impl Watch {
    /// Nobody watches anything.
    #[inline]
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether names are kept from here on; whether they were.
    pub(super) fn note_changes(&mut self, notes: bool) -> bool {
        std::mem::replace(&mut self.notes, notes)
    }

    /// Is anything to be done when a key changes?
    #[inline]
    fn is_attentive(&self) -> bool {
        self.notes | !self.keys.is_empty()
    }

    #[cold]
    fn changes(&mut self, db: usize, hash: u64, name: &[u8]) {
        self.touched(db, hash);
        if self.notes {
            self.changed.push(name);
        }
    }

    /// A key changed.
    #[cold]
    pub fn touched(&mut self, db: usize, hash: u64) {
        if let Some(watched) = self.keys.get_mut(&(db, hash)) {
            self.versions += 1;
            watched.version = self.versions;
            if watched.waiters > 0 && !std::mem::replace(&mut watched.ready, true) {
                self.ready.push_back((db, hash));
            }
        }
    }

    /// May the key go, because it expired or memory is short?
    #[inline]
    #[must_use]
    pub fn is_pinned(&self, db: usize, hash: u64) -> bool {
        !self.is_idle() && self.keys.get(&(db, hash)).is_some_and(|it| it.pins > 0)
    }

    fn entry(&mut self, db: usize, key: Key<'_>) -> &mut Watched {
        let versions = &mut self.versions;
        self.keys.entry((db, key.hash)).or_insert_with(|| {
            *versions += 1;
            let (name, version) = (key.bytes.into(), *versions);
            Watched { name, version, watchers: 0, pins: 0, waiters: 0, ready: false }
        })
    }

    fn leave(&mut self, db: usize, hash: u64, act: impl FnOnce(&mut Watched)) {
        if let Some(watched) = self.keys.get_mut(&(db, hash)) {
            act(watched);
            if watched.watchers == 0 && watched.pins == 0 && watched.waiters == 0 {
                self.keys.remove(&(db, hash));
            }
        }
    }
}

impl Keyspace {
    /// Watches a key from here on.
    pub fn watch(&mut self, db: usize, key: Key<'_>, now: Wall) -> Seen {
        let there = self.exists(db, key, now);
        Seen { version: self.mark(db, key), there }
    }

    /// As `watch`, whatever is there: the key's version.
    pub fn mark(&mut self, db: usize, key: Key<'_>) -> u64 {
        let watched = self.watch.entry(db, key);
        watched.watchers += 1;
        watched.version
    }

    /// The version of a key that is watched or marked.
    #[must_use]
    pub fn version(&self, db: usize, key: Key<'_>) -> Option<u64> {
        self.watch.keys.get(&(db, key.hash)).map(|it| it.version)
    }

    /// One watcher less.
    pub fn unwatch(&mut self, db: usize, key: Key<'_>) {
        self.watch.leave(db, key.hash, |it| it.watchers -= 1);
    }

    /// Is the watched key as it was seen? One that expired meanwhile is not.
    pub fn is_as_seen(&mut self, db: usize, key: Key<'_>, seen: Seen, now: Wall) -> bool {
        let there = self.exists(db, key, now);
        there == seen.there && self.version(db, key) == Some(seen.version)
    }

    /// Keeps a key from expiring until it is unpinned.
    pub fn pin(&mut self, db: usize, key: Key<'_>) {
        self.watch.entry(db, key).pins += 1;
    }

    pub fn unpin(&mut self, db: usize, key: Key<'_>) {
        self.watch.leave(db, key.hash, |it| it.pins -= 1);
    }

    /// Somebody waits for the key to get something.
    pub fn wait(&mut self, db: usize, key: Key<'_>) {
        self.watch.entry(db, key).waiters += 1;
    }

    pub fn unwait(&mut self, db: usize, hash: u64) {
        self.watch.leave(db, hash, |it| it.waiters -= 1);
    }

    /// Have keys changed that are waited for?
    #[inline]
    #[must_use]
    pub fn has_ready(&self) -> bool {
        !self.watch.ready.is_empty()
    }

    /// The next key that has changed and is waited for, by database and hash.
    pub fn pop_ready(&mut self) -> Option<(usize, u64)> {
        let at = self.watch.ready.pop_front()?;
        if let Some(watched) = self.watch.keys.get_mut(&at) {
            watched.ready = false;
        }
        Some(at)
    }

    /// A key is looked at again by those who wait for it.
    pub fn make_ready(&mut self, db: usize, hash: u64) {
        if let Some(watched) = self.watch.keys.get_mut(&(db, hash))
            && !std::mem::replace(&mut watched.ready, true)
        {
            self.watch.ready.push_back((db, hash));
        }
    }

    /// The name of a key that is watched, pinned or waited for.
    #[must_use]
    pub fn watched_name(&self, db: usize, hash: u64) -> Option<Box<[u8]>> {
        self.watch.keys.get(&(db, hash)).map(|it| it.name.clone())
    }

    /// Has the last command left anything to do but its effect?
    #[inline]
    #[must_use]
    pub fn has_notices(&self) -> bool {
        (self.watch.lent.len() | self.watch.ready.len()) != 0
    }

    /// Keys that are watched or pinned.
    #[must_use]
    pub fn watched_keys(&self) -> usize {
        self.watch.keys.len()
    }

    /// A key changes or has changed. Every way to change one comes by here.
    #[inline]
    pub(super) fn signal(&mut self, db: usize, key: Key<'_>) {
        if self.watch.is_attentive() {
            self.watch.changes(db, key.hash, key.bytes);
        }
    }

    /// As `signal`, for whoever has the entry only.
    #[inline]
    pub(super) fn signal_place(&mut self, db: usize, place: Place) {
        if self.watch.is_attentive() {
            let handle = self.store.segments.get(place.segment).handle(place.spot);
            let name = self.store.view(handle).key;
            self.watch.changes(db, self.store.hasher().hash(name), name);
        }
    }

    /// A key's collection is lent to a command, whose effect will tell whether it changed.
    #[inline]
    pub(super) fn may_change(&mut self, db: usize, key: Key<'_>) {
        if self.watch.is_attentive() {
            self.watch.lent.push((db, key.hash));
            if self.watch.notes {
                self.watch.lent_names.push(key.bytes);
            }
        }
    }

    /// Were collections lent to the last command while somebody watches?
    #[inline]
    #[must_use]
    pub fn has_lent(&self) -> bool {
        !self.watch.lent.is_empty()
    }

    /// The command that collections were lent to is over; did it change something?
    #[cold]
    pub fn settle_lent(&mut self, changed: bool) {
        for (db, hash) in std::mem::take(&mut self.watch.lent) {
            if changed {
                self.watch.touched(db, hash);
            }
        }
        let names = std::mem::take(&mut self.watch.lent_names);
        if changed && self.watch.notes {
            names.iter().for_each(|name| self.watch.changed.push(name));
        }
    }

    /// Whether the names of all keys that change are kept, for `take_changed`.
    pub fn note_changes(&mut self, notes: bool) {
        self.watch.note_changes(notes);
    }

    /// Has any key changed whose name was kept?
    #[inline]
    #[must_use]
    pub fn has_changed(&self) -> bool {
        !self.watch.changed.ends.is_empty()
    }

    /// The names of keys that have changed since this was last asked; one may be there twice.
    pub fn take_changed(&mut self) -> Names {
        std::mem::take(&mut self.watch.changed)
    }

    /// Is the key of that entry pinned?
    #[inline]
    pub(super) fn holds_pinned(&self, db: usize, place: Place) -> bool {
        !self.watch.is_idle() && self.watch.is_pinned(db, self.hash(self.view(place).key))
    }

    /// Databases are about to be emptied or exchanged: what exists in one of them changes in all.
    pub(super) fn signal_all(&mut self, databases: &[usize]) {
        if self.watch.is_idle() {
            return;
        }
        let concerned = self.watch.keys.iter().filter(|((db, _), _)| databases.contains(db));
        let exists = |hash: u64, name: &[u8]| {
            databases.iter().any(|&db| self.find(db, Key { bytes: name, hash }).is_some())
        };
        let changed: Vec<(usize, u64)> = concerned
            .filter(|((_, hash), watched)| exists(*hash, &watched.name))
            .map(|(at, _)| *at)
            .collect();
        for (db, hash) in changed {
            self.watch.touched(db, hash);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::keyspace::Expiry;
    use crate::types::record::Encode;

    const NOW: Wall = Wall(1_000_000);
    const LATER: Wall = Wall(10_000_000);

    fn set(keyspace: &mut Keyspace, db: usize, name: &[u8], value: &[u8], expiry: Expiry) {
        let key = keyspace.hasher().key(name);
        keyspace.set(db, key, value, expiry, Encode::Auto, NOW).unwrap();
    }

    /// After `act`, is the key as it was seen before?
    fn changes(value: Option<&[u8]>, expiry: Expiry, act: impl Fn(&mut Keyspace, Key<'_>)) -> bool {
        let mut keyspace = Keyspace::new(3, [1, 2, 3, 4]);
        let hasher = keyspace.hasher();
        let key = hasher.key(b"k");
        if let Some(value) = value {
            set(&mut keyspace, 0, b"k", value, expiry);
        }
        let seen = keyspace.watch(0, key, NOW);
        assert!(keyspace.is_as_seen(0, key, seen, NOW));
        act(&mut keyspace, key);
        let changed = !keyspace.is_as_seen(0, key, seen, LATER);
        keyspace.unwatch(0, key);
        assert_eq!(keyspace.watched_keys(), 0);
        changed
    }

    fn done<T>(_: T) {}

    #[test]
    fn every_way_to_change_a_key_is_noticed() {
        let long = vec![b'x'; 5_000];
        let some: Option<&[u8]> = Some(b"value");
        for value in [some, Some(&long), Some(b"12"), None] {
            let check = |act: &dyn Fn(&mut Keyspace, Key<'_>), expected: bool| {
                assert_eq!(changes(value, Expiry::None, act), expected, "{value:?}");
            };
            let there = value.is_some();
            check(&|_, _| {}, false);
            check(&|it, key| done(it.get(0, key, NOW)), false);
            check(&|it, _| set(it, 0, b"other", b"v", Expiry::None), false);
            check(&|it, _| set(it, 1, b"k", b"v", Expiry::None), false);
            check(&|it, _| set(it, 0, b"k", b"value", Expiry::None), true);
            check(&|it, _| set(it, 0, b"k", &long, Expiry::None), true);
            check(&|it, _| set(it, 0, b"k", b"value", Expiry::At(50_000)), true);
            check(&|it, key| done(it.append(0, key, b"v", NOW)), true);
            check(&|it, key| done(it.write_range(0, key, 2, b"v", NOW)), true);
            check(&|it, key| done(it.set_expiry(0, key, Some(50_000), NOW)), there);
            check(&|it, key| done(it.remove(0, key, NOW)), there);
            check(&|it, key| done(it.rename(0, key, 0, it.hasher().key(b"l"), NOW)), there);
            check(&|it, key| done(it.copy(0, key, 0, it.hasher().key(b"l"), NOW)), false);
            check(&|it, _| it.flush(0), there);
            check(&|it, _| it.flush(1), false);
            check(&|it, _| it.swap(0, 1), there);
            check(&|it, _| it.swap(2, 1), false);
        }
        assert!(changes(None, Expiry::None, |it, _| {
            set(it, 1, b"k", b"v", Expiry::None);
            it.swap(1, 0);
        }));
        assert!(changes(some, Expiry::At(5_000), |_, _| {}), "it expired");
    }

    #[test]
    fn a_pinned_key_does_not_expire() {
        let mut keyspace = Keyspace::new(1, [1, 2, 3, 4]);
        let hasher = keyspace.hasher();
        let key = hasher.key(b"k");
        set(&mut keyspace, 0, b"k", b"v", Expiry::At(2_000));
        keyspace.pin(0, key);
        assert!(!keyspace.exists(0, key, LATER));
        assert_eq!(keyspace.len(0), 1, "nobody sees it, and it is there");
        let mut cycle = crate::engine::expire::ExpireCycle::default();
        cycle.step(&mut keyspace, LATER, 1_000_000, &mut |_, _| panic!("it is pinned"));
        assert_eq!(keyspace.len(0), 1);
        keyspace.unpin(0, key);
        assert!(!keyspace.exists(0, key, LATER));
        assert_eq!((keyspace.len(0), keyspace.watched_keys()), (0, 0));
    }
}
