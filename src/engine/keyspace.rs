//! All databases of one shard, and every way to change a key in them.
//!
//! Commands see keys, values and expiries; here these become records, tables and, while a snapshot
//! walks, old records handed to it. All writes go through `put`, `drop_place`, `change`, `edit` and
//! `edit_body` (of `edit.rs`, `collections.rs`), which are the only ones that must ask "does the snapshot still need this?".
//!
//! Invariants:
//!   * whatever changes a key calls `signal` (`watch.rs`)
//!   * an entry's expiry bit says whether its record has an expiry
//!   * while a walk is active, the record of an entry that is not walked is never freed or changed
//!   * a table that nobody can reach any more is in `dead` (the walk needs it) or in the graveyard
//!
//! Expiry is lazy: in mode `Delete` (a master) an expired key is removed by whoever meets it, and its
//! name waits in a list that the caller drains, to replicate a DEL before the command's own effect.
//! In mode `Hide` (a replica's clients) it only looks absent; in mode `Ignore` (what comes from the
//! master) it is there, since the master's DEL decides.
//!
//! Trap: `rename` and `copy` onto an existing key replace it; asking first is the command's work.
//!
//! Not here: lookups (`lookup.rs`), collections (`collections.rs`), SCAN and its kin (`scan.rs`), the snapshot (`walk.rs`), active
//! expiry (`expire.rs`), what a command means.

use super::slot_counts::SlotCounter;
use bytes::Bytes;

use super::evict::{Evictor, Policy, Rank};
use super::notices::{Class, Notices};
use super::reach::{Reach, Share};
use super::walk::{Graveyard, WalkState};
use super::watch::Watch;
use crate::base::limits::{BULK_BYTES_MAX, HLL_SPARSE_BYTES_MAX, STRING_BYTES_MAX};
use crate::base::time::Wall;
use crate::types::arena::Handle;
use crate::types::packing::Packing;
use crate::types::record::{Encode, Encoding};
use crate::types::segment::Counting;
use crate::types::store::{Hasher, Store, Value};
use crate::types::table::{Place, Table};

pub use crate::types::arena::Full;
pub use crate::types::store::{Key, ValueRef};

/// What becomes of the key's expiry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    None,
    Keep,
    /// Absolute milliseconds.
    At(u64),
}

/// Who asks decides what an expired key is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExpiryMode {
    #[default]
    Delete,
    Hide,
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub hits: u64,
    pub misses: u64,
    pub expired: u64,
    pub evicted: u64,
}

pub struct Keyspace {
    pub(super) store: Store,
    /// Databases, made when first written to.
    pub(super) databases: Vec<Option<Box<Database>>>,
    pub(super) mode: ExpiryMode,
    pub(super) no_touch: bool,
    /// `proto-max-bulk-len`
    string_bytes_max: usize,
    /// `hll-sparse-max-bytes`
    hll_sparse_bytes_max: usize,
    pub(super) stats: Stats,
    pub(super) walk: WalkState,
    pub(super) graveyard: Graveyard,
    pub(super) packing: Packing,
    /// For a packed value while it is changed; keeps its memory.
    pub(super) scratch: Vec<u8>,
    pub(super) watch: Watch,
    pub(super) notices: Notices,
    /// The collection changed last lost its last element, and its key is gone.
    pub(super) emptied: bool,
    pub(super) evictor: Evictor,
    expired: Expired,
    /// Keys that are looked at without being named.
    pub reach: Reach,
    /// Keys of each slot in database 0, where a cluster wants to know.
    slots: Option<SlotCounter>,
}

pub(super) struct Database {
    pub table: Table,
    /// Its number when the newest snapshot was cut: SWAPDB may have moved it since.
    pub cut_as: usize,
    /// The walk has been through, or there was nothing at the cut.
    pub walked: bool,
    /// Mean time to live in ms, as the expire cycle samples it.
    pub avg_ttl: u64,
}

/// Names of keys that were removed because they were met expired.
#[derive(Default)]
struct Expired {
    names: Vec<u8>,
    /// Database, and where its name ends in `names`.
    ends: Vec<(usize, usize)>,
}

impl Keyspace {
    /// `databases` empty databases; `seed` is the same on all cores.
    #[must_use]
    pub fn new(databases: usize, seed: [u64; 4]) -> Self {
        Self {
            store: Store::new(Hasher::new(seed)),
            databases: std::iter::repeat_with(|| None).take(databases).collect(),
            mode: ExpiryMode::default(),
            no_touch: false,
            string_bytes_max: BULK_BYTES_MAX,
            hll_sparse_bytes_max: HLL_SPARSE_BYTES_MAX,
            stats: Stats::default(),
            walk: WalkState::default(),
            graveyard: Graveyard::default(),
            packing: Packing::default(),
            scratch: Vec::new(),
            watch: Watch::default(),
            notices: Notices::default(),
            emptied: false,
            evictor: Evictor::default(),
            expired: Expired::default(),
            reach: Reach::default(),
            slots: None,
        }
    }

    /// An empty one in which keys have the same hashes and values the same forms, and whose only keys are
    /// those put there.
    #[must_use]
    pub fn to_rehearse(&self) -> Self {
        Self {
            store: Store::new(self.hasher()),
            databases: std::iter::repeat_with(|| None).take(self.databases.len()).collect(),
            mode: self.mode,
            no_touch: true,
            string_bytes_max: self.string_bytes_max,
            hll_sparse_bytes_max: self.hll_sparse_bytes_max,
            stats: Stats::default(),
            walk: WalkState::default(),
            graveyard: Graveyard::default(),
            packing: self.packing,
            scratch: Vec::new(),
            watch: Watch::default(),
            notices: Notices::default(),
            emptied: false,
            evictor: Evictor::default(),
            expired: Expired::default(),
            reach: Reach::new(Share::None),
            slots: None,
        }
    }

    #[inline]
    #[must_use]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        self.store.hasher().key(bytes)
    }

    #[inline]
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        self.store.hasher().hash(bytes)
    }

    /// The hash of keys by itself, for whoever must hash while the keyspace is lent.
    #[must_use]
    pub fn hasher(&self) -> Hasher {
        self.store.hasher().clone()
    }

    /// `CLIENT NO-TOUCH`: from here on `get` leaves the access clocks alone, or no longer.
    #[inline]
    pub fn set_no_touch(&mut self, no_touch: bool) {
        self.no_touch = no_touch;
    }

    /// `proto-max-bulk-len`: what APPEND and SETRANGE may make of a string.
    pub fn set_string_bytes_max(&mut self, bytes: usize) {
        self.string_bytes_max = bytes;
    }

    /// The longest string that may be made now. What a master made is taken as it is.
    #[must_use]
    pub fn string_bytes_max(&self) -> usize {
        if self.mode == ExpiryMode::Ignore { STRING_BYTES_MAX } else { self.string_bytes_max }
    }

    /// `hll-sparse-max-bytes`: where a HyperLogLog becomes dense.
    pub fn set_hll_sparse_bytes_max(&mut self, bytes: usize) {
        self.hll_sparse_bytes_max = bytes;
    }

    #[must_use]
    pub fn hll_sparse_bytes_max(&self) -> usize {
        self.hll_sparse_bytes_max
    }

    /// `maxmemory-policy`: whether uses of keys are counted, or their time is kept.
    pub fn set_policy(&mut self, policy: Policy, counting: Counting) {
        let counts = policy.rank == Rank::Lfu;
        self.store.segments.set_counting(counts.then_some(counting));
    }

    pub fn set_expiry_mode(&mut self, mode: ExpiryMode) {
        self.mode = mode;
    }

    #[must_use]
    pub fn expiry_mode(&self) -> ExpiryMode {
        self.mode
    }

    /// Were keys met expired since the last `drain_expired`?
    #[inline]
    #[must_use]
    pub fn has_expired(&self) -> bool {
        !self.expired.ends.is_empty()
    }

    /// Names the keys that were met expired and removed, in order, once.
    pub fn drain_expired(&mut self, each: &mut dyn FnMut(usize, &[u8])) {
        let mut start = 0;
        for (db, end) in self.expired.ends.drain(..) {
            each(db, &self.expired.names[start..end]);
            start = end;
        }
        self.expired.names.clear();
    }

    /// Sets a string, whatever was there.
    pub fn set(
        &mut self,
        db: usize,
        key: Key<'_>,
        value: &[u8],
        expiry: Expiry,
        encode: Encode,
        now: Wall,
    ) -> Result<(), Full> {
        let encoding = encode.encoding(value);
        self.set_value(db, key, Value::Bytes(value), expiry, encoding, now)
    }

    /// As `set`; a long value is kept without a copy.
    pub fn set_shared(
        &mut self,
        db: usize,
        key: Key<'_>,
        value: Bytes,
        expiry: Expiry,
        encode: Encode,
        now: Wall,
    ) -> Result<(), Full> {
        let encoding = encode.encoding(&value);
        self.set_value(db, key, Value::Shared(value), expiry, encoding, now)
    }

    /// Appends, or sets a key that is not there; the new length.
    pub fn append(
        &mut self,
        db: usize,
        key: Key<'_>,
        bytes: &[u8],
        now: Wall,
    ) -> Result<usize, Full> {
        match self.live(db, key, now) {
            None => {
                self.set(db, key, bytes, Expiry::None, Encode::Auto, now)?;
                Ok(bytes.len())
            }
            Some(place) => {
                let offset = self.view(place).value.bytes().len();
                self.change(db, key, place, offset, bytes, now)
            }
        }
    }

    /// Overwrites from `offset` on, zero-padded, in a key that is made if need be; the new length.
    pub fn write_range(
        &mut self,
        db: usize,
        key: Key<'_>,
        offset: usize,
        bytes: &[u8],
        now: Wall,
    ) -> Result<usize, Full> {
        match self.live(db, key, now) {
            None => {
                let value = spliced(&[], offset, bytes)?;
                let len = value.len();
                self.set_value(db, key, Value::Shared(value), Expiry::None, Encoding::Raw, now)?;
                Ok(len)
            }
            Some(place) => self.change(db, key, place, offset, bytes, now),
        }
    }

    /// Removes a key; false: there was none (an expired one counts as none).
    pub fn remove(&mut self, db: usize, key: Key<'_>, now: Wall) -> bool {
        let place = self.live(db, key, now);
        if let Some(place) = place {
            self.drop_place(db, place);
        }
        place.is_some()
    }

    /// Removes a key that may have expired unnoticed; false: there is nothing.
    pub fn remove_even_expired(&mut self, db: usize, key: Key<'_>) -> bool {
        let place = self.find(db, key);
        if let Some(place) = place {
            self.drop_place(db, place);
        }
        place.is_some()
    }

    /// Sets or takes away the expiry; false: no such key.
    pub fn set_expiry(
        &mut self,
        db: usize,
        key: Key<'_>,
        expiry: Option<u64>,
        now: Wall,
    ) -> Result<bool, Full> {
        let Some(place) = self.live(db, key, now) else { return Ok(false) };
        let handle = self.store.segments.get(place.segment).handle(place.spot);
        self.store.segments.touch(place.segment, place.spot, seconds(now));
        self.signal(db, key);
        if self.store.expiry(handle) != expiry {
            if !self.is_needed(db, place) && self.store.rewrite_expiry(handle, expiry) {
                return Ok(true);
            }
            let record = self.store.duplicate(handle, None, expiry)?;
            self.put(db, place, record, expiry.is_some());
        }
        Ok(true)
    }

    /// Moves a record to another name or database with all it has, over what is there; false: no
    /// `from`.
    pub fn rename(
        &mut self,
        db: usize,
        from: Key<'_>,
        to_db: usize,
        to: Key<'_>,
        now: Wall,
    ) -> Result<bool, Full> {
        if db == to_db && from.bytes == to.bytes {
            return Ok(self.live(db, from, now).is_some());
        }
        let copied = self.copy(db, from, to_db, to, now)?;
        // A copy shares the large value, so with the original gone it is the only owner again.
        if copied && let Some(place) = self.find(db, from) {
            self.drop_place(db, place);
        }
        Ok(copied)
    }

    /// Copies a record over what is there; a long value is shared. False: no `from`.
    pub fn copy(
        &mut self,
        db: usize,
        from: Key<'_>,
        to_db: usize,
        to: Key<'_>,
        now: Wall,
    ) -> Result<bool, Full> {
        let Some(place) = self.live(db, from, now) else { return Ok(false) };
        let handle = self.store.segments.get(place.segment).handle(place.spot);
        self.store.segments.touch(place.segment, place.spot, seconds(now));
        let expiry = self.store.expiry(handle);
        let record = self.store.duplicate(handle, Some(to.bytes), expiry)?;
        self.insert_or_put(to_db, to, record, expiry.is_some(), now)?;
        Ok(true)
    }

    /// Counts keys by slot from here on; there are none yet.
    pub fn count_slots(&mut self, counter: SlotCounter) {
        self.slots = Some(counter);
    }

    /// Empties a database; its memory is freed by `collect`, a slice at a time.
    pub fn flush(&mut self, db: usize) {
        self.signal_all(&[db]);
        self.evictor.forget();
        if let (0, Some(slots)) = (db, &self.slots) {
            slots.clear();
        }
        if let Some(database) = self.databases[db].take() {
            self.bury(*database);
        }
    }

    pub fn flush_all(&mut self) {
        (0..self.databases.len()).for_each(|db| self.flush(db));
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.signal_all(&[a, b]);
        self.evictor.forget();
        self.databases.swap(a, b);
    }

    /// The entry of a key, expired or not.
    #[inline]
    pub(super) fn find(&self, db: usize, key: Key<'_>) -> Option<Place> {
        self.databases[db].as_ref()?.table.find(&self.store, key)
    }

    /// The entry of a key that is there for the present mode; removes it if it expired in mode `Delete`.
    #[inline]
    pub(super) fn live(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Place> {
        let place = self.find(db, key)?;
        if !self.store.segments.get(place.segment).expires(place.spot) {
            return Some(place);
        }
        let expiry = self.view(place).expiry;
        if self.mode == ExpiryMode::Ignore || expiry.is_none_or(|ms| ms > now.ms()) {
            return Some(place);
        }
        if self.mode == ExpiryMode::Delete && !self.watch.is_pinned(db, key.hash) {
            self.expire(db, place, key.bytes);
        }
        None
    }

    /// Removes an expired entry and notes its name.
    pub(super) fn expire(&mut self, db: usize, place: Place, name: &[u8]) {
        self.drop_place(db, place);
        self.stats.expired += 1;
        self.notify(db, Class::Expired, "expired", name);
        self.expired.names.extend_from_slice(name);
        self.expired.ends.push((db, self.expired.names.len()));
    }

    /// The database's table, made if it is the first write.
    pub(super) fn database(&mut self, db: usize) -> &mut Database {
        self.databases[db].get_or_insert_with(|| {
            // Nothing of it was there at the cut.
            let table = Table::default();
            Box::new(Database { table, cut_as: db, walked: true, avg_ttl: 0 })
        })
    }

    /// Takes an entry out; its record is freed, or the snapshot's.
    pub(super) fn drop_place(&mut self, db: usize, place: Place) {
        self.signal_place(db, place);
        if let (0, Some(slots)) = (db, &self.slots) {
            slots.remove(self.store.key(self.store.segments.get(place.segment).handle(place.spot)));
        }
        let handed_over = self.hand_over(db, place);
        let store = &mut self.store;
        let Some(database) = &mut self.databases[db] else { return };
        let old = database.table.remove(store, place);
        if !handed_over {
            store.free(old);
        }
    }

    pub(super) fn set_value(
        &mut self,
        db: usize,
        key: Key<'_>,
        value: Value<'_>,
        expiry: Expiry,
        encoding: Encoding,
        now: Wall,
    ) -> Result<(), Full> {
        if key.bytes.len().max(value.as_bytes().len()) > STRING_BYTES_MAX {
            return Err(Full);
        }
        let place = self.live(db, key, now);
        self.signal(db, key);
        let expiry = match (expiry, place) {
            (Expiry::At(ms), _) => Some(ms),
            (Expiry::Keep, Some(place)) => self.view(place).expiry,
            (Expiry::Keep | Expiry::None, _) => None,
        };
        if let Some(place) = place
            && !self.is_needed(db, place)
        {
            let handle = self.store.segments.get(place.segment).handle(place.spot);
            let bytes = value.as_bytes();
            if self.store.rewrite(handle, bytes, encoding, expiry) {
                self.store.segments.touch(place.segment, place.spot, seconds(now));
                return Ok(());
            }
            if self.store.overwrite(handle, key.bytes, bytes, encoding, expiry) {
                let Self { store, databases, .. } = self;
                if let Some(database) = &mut databases[db] {
                    database.table.replace(store, place, handle, expiry.is_some());
                }
                store.segments.touch(place.segment, place.spot, seconds(now));
                return Ok(());
            }
        }
        let record = self.store.create(key.bytes, value, encoding, expiry)?;
        self.place_record(db, key, place, record, expiry.is_some(), now)
    }

    /// Puts a new record at the live entry of its key, or makes one.
    pub(super) fn place_record(
        &mut self,
        db: usize,
        key: Key<'_>,
        place: Option<Place>,
        record: Handle,
        expires: bool,
        now: Wall,
    ) -> Result<(), Full> {
        match place {
            Some(place) => {
                self.put(db, place, record, expires);
                self.store.segments.touch(place.segment, place.spot, seconds(now));
                Ok(())
            }
            // In this mode an expired key may still be there.
            None if self.mode == ExpiryMode::Hide => {
                self.insert_or_put(db, key, record, expires, now)
            }
            None => self.insert(db, key, record, expires, now),
        }
    }

    /// Writes into a string that is there; it becomes raw. The new length.
    fn change(
        &mut self,
        db: usize,
        key: Key<'_>,
        place: Place,
        offset: usize,
        bytes: &[u8],
        now: Wall,
    ) -> Result<usize, Full> {
        let handle = self.store.segments.get(place.segment).handle(place.spot);
        let view = self.store.view(handle);
        let (old_len, expiry) = (view.value.bytes().len(), view.expiry);
        let len = end_of(offset, bytes)?.max(old_len);
        // A large value changes where it is; its record says raw already, as it is over 44 bytes.
        if view.value.shared().is_none() {
            let value = spliced(view.value.bytes(), offset, bytes)?;
            let expiry = expiry.map_or(Expiry::None, Expiry::At);
            self.set_value(db, key, Value::Shared(value), expiry, Encoding::Raw, now)?;
            return Ok(len);
        }
        self.signal(db, key);
        let mut handle = handle;
        if self.is_needed(db, place) {
            handle = self.store.duplicate(handle, None, expiry)?;
            self.put(db, place, handle, expiry.is_some());
        }
        self.store.write_large(handle, offset, bytes);
        self.store.segments.touch(place.segment, place.spot, seconds(now));
        Ok(len)
    }

    fn insert_or_put(
        &mut self,
        db: usize,
        key: Key<'_>,
        record: Handle,
        expires: bool,
        now: Wall,
    ) -> Result<(), Full> {
        self.signal(db, key);
        if let Some(place) = self.find(db, key) {
            // Redis takes the old key out and adds a new one.
            self.notify(db, Class::New, "new", key.bytes);
            self.put(db, place, record, expires);
            self.store.segments.touch(place.segment, place.spot, seconds(now));
            return Ok(());
        }
        self.insert(db, key, record, expires, now)
    }

    /// Adds an entry for a key that has none.
    fn insert(
        &mut self,
        db: usize,
        key: Key<'_>,
        record: Handle,
        expires: bool,
        now: Wall,
    ) -> Result<(), Full> {
        self.database(db);
        let Self { store, databases, .. } = self;
        let Some(database) = &mut databases[db] else { return Err(Full) };
        let added = database.table.insert(store, key.hash, record, expires, seconds(now));
        match (&added, &self.slots) {
            (Err(_), _) => store.free(record),
            (Ok(_), Some(slots)) if db == 0 => slots.add(key.bytes),
            (Ok(_), _) => {}
        }
        added?;
        self.notify(db, Class::New, "new", key.bytes);
        Ok(())
    }

    /// Puts another record of the same key in an entry; the old one is freed, or the snapshot's.
    pub(super) fn put(&mut self, db: usize, place: Place, record: Handle, expires: bool) {
        let old = self.store.segments.get(place.segment).handle(place.spot);
        let handed_over = self.hand_over(db, place);
        let Self { store, databases, .. } = self;
        let Some(database) = &mut databases[db] else { return };
        database.table.replace(store, place, record, expires);
        if !handed_over {
            store.free(old);
        }
    }
}

/// The clock of accesses: whole seconds.
#[inline]
pub(super) fn seconds(now: Wall) -> u32 {
    u32::try_from(now.0 / 1_000_000).unwrap_or(u32::MAX)
}

fn end_of(offset: usize, bytes: &[u8]) -> Result<usize, Full> {
    offset.checked_add(bytes.len()).filter(|&end| end <= STRING_BYTES_MAX).ok_or(Full)
}

/// `old` with `bytes` at `offset`.
fn spliced(old: &[u8], offset: usize, bytes: &[u8]) -> Result<Bytes, Full> {
    let end = end_of(offset, bytes)?;
    let mut value = old.to_vec();
    if value.len() < end {
        value.resize(end, 0);
    }
    value[offset..end].copy_from_slice(bytes);
    Ok(value.into())
}
