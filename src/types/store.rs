//! Records, large values and segments of one shard together, and the hash of its keys.
//!
//! The keyspace's tables hold only handles; this is what turns a handle into a key, a value and an
//! expiry, and the only place that makes or frees a record. A record's large parts live and die
//! with it, unless `release` hands the value to another record.
//!
//! Not here: which database a key is in, and what a snapshot still needs (`engine/`).

use bytes::Bytes;
use std::hash::{BuildHasher, Hasher as _};

use super::arena::{Arena, Full, Handle};
use super::large::{Entry, EntryRef, Large};
use super::object::{Body, Object};
use super::record::{self, Encoding, Kind, Part, Parts};
use super::segment::Segments;
use crate::base::limits::{ARENA_RECORD_BYTES_MAX, INLINE_KEY_BYTES_MAX, INLINE_VALUE_BYTES_MAX};

/// The secret hash of keys: the same on all cores, so that a key is hashed once.
#[derive(Clone)]
pub struct Hasher {
    state: ahash::RandomState,
}

/// A key and its hash.
#[derive(Clone, Copy, Debug)]
pub struct Key<'a> {
    pub bytes: &'a [u8],
    pub hash: u64,
}

/// A value, borrowed; a long one can be kept by reference.
#[derive(Clone, Copy, Debug)]
pub struct ValueRef<'a> {
    held: Held<'a>,
    encoding: Encoding,
}

#[derive(Clone, Copy, Debug)]
enum Held<'a> {
    Inline(&'a [u8]),
    Shared(&'a Bytes),
    Object(&'a Object),
}

/// A record as its owner sees it.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub key: &'a [u8],
    pub value: ValueRef<'a>,
    pub expiry: Option<u64>,
}

/// What a new record's value is made of.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Bytes(&'a [u8]),
    Shared(Bytes),
    Object(Object),
}

/// Nodes of a collection that are freed with its record at once.
const FREED_AT_ONCE: usize = 16;

pub struct Store {
    arena: Arena,
    large: Large,
    pub segments: Segments,
    hasher: Hasher,
    /// Collections that nobody can reach any more, to be freed in slices.
    dying: Vec<Object>,
    /// The number of the newest snapshot.
    pub cut: u32,
}

impl Hasher {
    #[must_use]
    pub fn new([a, b, c, d]: [u64; 4]) -> Self {
        Self { state: ahash::RandomState::with_seeds(a, b, c, d) }
    }

    #[inline]
    #[must_use]
    pub fn hash(&self, key: &[u8]) -> u64 {
        // Without the length before it that `hash_one` would mix in for a slice: one key is all
        // there is, and its length is in the state already.
        let mut hasher = self.state.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    #[inline]
    #[must_use]
    pub fn key<'a>(&self, bytes: &'a [u8]) -> Key<'a> {
        Key { bytes, hash: self.hash(bytes) }
    }
}

impl<'a> ValueRef<'a> {
    /// Of a collection that is being changed, or in no shard.
    #[must_use]
    pub fn of_body(body: &'a Body) -> Self {
        match body {
            Body::Packed(encoding, bytes) => {
                Self { held: Held::Inline(bytes), encoding: *encoding }
            }
            Body::Object(object) => {
                Self { held: Held::Object(object), encoding: object.encoding() }
            }
        }
    }

    /// Of a value that was taken along.
    #[must_use]
    pub fn of_value(value: &'a Value<'_>, encoding: Encoding) -> Self {
        let held = match value {
            Value::Bytes(bytes) => Held::Inline(bytes),
            Value::Shared(bytes) => Held::Shared(bytes),
            Value::Object(object) => Held::Object(object),
        };
        Self { held, encoding }
    }

    /// Of bytes in no shard.
    #[must_use]
    pub fn of_bytes(bytes: &'a [u8], encoding: Encoding) -> Self {
        Self { held: Held::Inline(bytes), encoding }
    }

    /// A string's text, or the bytes of a packed collection; an object has none.
    #[inline]
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self.held {
            Held::Inline(bytes) => bytes,
            Held::Shared(bytes) => bytes,
            Held::Object(_) => &[],
        }
    }

    /// The bytes by reference, where they are long enough for that to be cheaper than a copy.
    #[must_use]
    pub fn shared(&self) -> Option<Bytes> {
        match self.held {
            Held::Inline(_) | Held::Object(_) => None,
            Held::Shared(bytes) => Some(bytes.clone()),
        }
    }

    /// A large collection.
    #[inline]
    #[must_use]
    pub fn object(&self) -> Option<&'a Object> {
        match self.held {
            Held::Inline(_) | Held::Shared(_) => None,
            Held::Object(object) => Some(object),
        }
    }

    /// Does it lie outside of its record?
    #[inline]
    #[must_use]
    pub fn is_large(&self) -> bool {
        matches!(self.held, Held::Shared(_))
    }

    #[must_use]
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.encoding.kind()
    }

    /// The value by itself: what is large is shared, not copied.
    #[must_use]
    pub fn to_value(&self) -> Value<'static> {
        match self.held {
            Held::Inline(bytes) => Value::Shared(Bytes::copy_from_slice(bytes)),
            Held::Shared(bytes) => Value::Shared(bytes.clone()),
            Held::Object(object) => Value::Object(object.clone()),
        }
    }
}

impl Value<'_> {
    /// The bytes of what is no object.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Shared(bytes) => bytes,
            Self::Object(_) => &[],
        }
    }
}

impl Store {
    #[must_use]
    pub fn new(hasher: Hasher) -> Self {
        let (arena, large, segments) = Default::default();
        Self { arena, large, segments, hasher, dying: Vec::new(), cut: 0 }
    }

    #[must_use]
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// Makes a record.
    pub fn create(
        &mut self,
        key: &[u8],
        value: Value<'_>,
        encoding: Encoding,
        expiry: Option<u64>,
    ) -> Result<Handle, Full> {
        let value = match value {
            Value::Bytes(bytes) if bytes.len() <= INLINE_VALUE_BYTES_MAX => Part::Inline(bytes),
            Value::Bytes(bytes) => {
                Part::Large(self.large.put(Entry::Bytes(Bytes::copy_from_slice(bytes)))?)
            }
            Value::Shared(bytes) if bytes.len() <= INLINE_VALUE_BYTES_MAX => {
                return self.create_parts(key, Part::Inline(&bytes), encoding, expiry);
            }
            Value::Shared(bytes) => Part::Large(self.large.put(Entry::Bytes(bytes))?),
            Value::Object(object) => Part::Large(self.large.put(Entry::Object(object))?),
        };
        self.create_parts(key, value, encoding, expiry)
    }

    /// Writes a new value over the old one where the record keeps its place; false: nothing changed.
    pub fn overwrite(
        &mut self,
        handle: Handle,
        key: &[u8],
        value: &[u8],
        encoding: Encoding,
        expiry: Option<u64>,
    ) -> bool {
        if value.len() > INLINE_VALUE_BYTES_MAX || key.len() > INLINE_KEY_BYTES_MAX {
            return false;
        }
        if matches!(record::read(self.arena.bytes(handle)).value, Part::Large(_)) {
            return false;
        }
        let parts = Parts { encoding, expiry, key: Part::Inline(key), value: Part::Inline(value) };
        let size = parts.size();
        if Arena::slot_bytes(size) != self.arena.slot_bytes_of(handle) {
            return false;
        }
        parts.write(self.arena.bytes_mut(handle));
        true
    }

    /// As `overwrite`, of a value of the same length; an expiry stays one, or stays away.
    #[inline]
    #[must_use]
    pub fn rewrite(
        &mut self,
        handle: Handle,
        value: &[u8],
        encoding: Encoding,
        expiry: Option<u64>,
    ) -> bool {
        record::rewrite(self.arena.bytes_mut(handle), value, encoding, expiry)
    }

    /// Changes the expiry of a record that has one and keeps one; false: nothing changed.
    #[must_use]
    pub fn rewrite_expiry(&mut self, handle: Handle, expiry: Option<u64>) -> bool {
        record::set_expiry(self.arena.bytes_mut(handle), expiry)
    }

    /// A copy of the record with another expiry; a large value is shared, not copied.
    pub fn duplicate(
        &mut self,
        handle: Handle,
        key: Option<&[u8]>,
        expiry: Option<u64>,
    ) -> Result<Handle, Full> {
        // A record is small: aside with it, and the arena is free to make another one.
        let mut aside = [0; ARENA_RECORD_BYTES_MAX];
        let len = self.arena.slot_bytes_of(handle).min(aside.len());
        aside[..len].copy_from_slice(&self.arena.bytes(handle)[..len]);
        let parts = record::read(&aside[..len]);
        let own_key = match parts.key {
            Part::Large(index) if key.is_none() => self.large.get(index).clone(),
            _ => Bytes::new(),
        };
        let key = match (key, parts.key) {
            (Some(key), _) | (None, Part::Inline(key)) => key,
            (None, Part::Large(_)) => &own_key,
        };
        let value = match parts.value {
            Part::Inline(bytes) => Part::Inline(bytes),
            Part::Large(index) => {
                let entry = match self.large.entry(index) {
                    EntryRef::Bytes(bytes) => Entry::Bytes(bytes.clone()),
                    EntryRef::Object(object) => Entry::Object(object.clone()),
                };
                Part::Large(self.large.put(entry)?)
            }
        };
        self.create_parts(key, value, parts.encoding, expiry)
    }

    /// Changes a large value in place; false: this one is not large.
    pub fn write_large(&mut self, handle: Handle, offset: usize, bytes: &[u8]) -> bool {
        let parts = record::read(self.arena.bytes(handle));
        let Part::Large(index) = parts.value else { return false };
        self.large.write(index, offset, bytes);
        true
    }

    /// The value of a record that holds it itself, to be written over in place; raw from here on.
    #[inline]
    pub fn value_mut(&mut self, handle: Handle) -> Option<&mut [u8]> {
        record::value_mut(self.arena.bytes_mut(handle))
    }

    /// Lends a large value, zero-padded to `len_min` bytes, to `edit`; `None`: this one is not large.
    pub fn edit_large<R>(
        &mut self,
        handle: Handle,
        len_min: usize,
        edit: impl FnOnce(&mut [u8]) -> R,
    ) -> Option<R> {
        let parts = record::read(self.arena.bytes(handle));
        let Part::Large(index) = parts.value else { return None };
        Some(self.large.edit(index, len_min, edit))
    }

    /// Is the value an entry of the side table?
    #[must_use]
    pub fn is_large(&self, handle: Handle) -> bool {
        matches!(record::read(self.arena.bytes(handle)).value, Part::Large(_))
    }

    /// Takes a large value out to be changed; `None`: this one is not large. Nobody may look at the
    /// record until it is closed.
    #[must_use]
    pub fn open(&mut self, handle: Handle) -> Option<Body> {
        let parts = record::read(self.arena.bytes(handle));
        let Part::Large(index) = parts.value else { return None };
        let encoding = parts.encoding;
        Some(match self.large.open(index) {
            Entry::Bytes(bytes) => Body::Packed(encoding, bytes.into()),
            Entry::Object(object) => Body::Object(object),
        })
    }

    /// Puts back what `open` took out, in whichever form it is now.
    pub fn close(&mut self, handle: Handle, body: Body) {
        let Part::Large(index) = record::read(self.arena.bytes(handle)).value else {
            panic!("only a large value is opened");
        };
        record::set_encoding(self.arena.bytes_mut(handle), body.encoding());
        match body {
            Body::Packed(_, bytes) => {
                let spare = bytes.capacity() - bytes.len();
                self.large.close(index, Entry::Bytes(bytes.into()), spare);
            }
            Body::Object(object) => self.large.close(index, Entry::Object(object), 0),
        }
    }

    /// Frees a record with all that it owns, a large collection in slices.
    pub fn free(&mut self, handle: Handle) {
        let parts = record::read(self.arena.bytes(handle));
        for part in [parts.key, parts.value] {
            if let Part::Large(index) = part
                && let Entry::Object(mut object) = self.large.take(index)
                && !object.free_some(&mut FREED_AT_ONCE.clone())
            {
                self.dying.push(object);
            }
        }
        self.arena.free(handle);
    }

    /// Takes what was cut off a large collection, to be freed with the others.
    pub fn bury(&mut self, object: Object) {
        self.dying.push(object);
    }

    /// Frees some of the large collections that nobody can reach any more; true: there are more.
    pub fn free_dying(&mut self, budget: &mut usize) -> bool {
        while let Some(object) = self.dying.last_mut() {
            if *budget == 0 || !object.free_some(budget) {
                return true;
            }
            self.dying.pop();
        }
        false
    }

    /// Gives a bounded amount of unused memory back; true: there is more.
    pub fn trim(&mut self) -> bool {
        self.arena.trim()
    }

    #[inline]
    #[must_use]
    pub fn view(&self, handle: Handle) -> View<'_> {
        let parts = record::read(self.arena.bytes(handle));
        let held = match parts.value {
            Part::Inline(bytes) => Held::Inline(bytes),
            Part::Large(index) => match self.large.entry(index) {
                EntryRef::Bytes(bytes) => Held::Shared(bytes),
                EntryRef::Object(object) => Held::Object(object),
            },
        };
        let value = ValueRef { held, encoding: parts.encoding };
        View { key: self.part(parts.key), value, expiry: parts.expiry }
    }

    #[must_use]
    pub fn kind(&self, handle: Handle) -> Kind {
        record::read_encoding(self.arena.bytes(handle)).kind()
    }

    #[inline]
    #[must_use]
    pub fn key(&self, handle: Handle) -> &[u8] {
        self.part(record::read_key(self.arena.bytes(handle)))
    }

    /// Is this the record of `key`?
    #[inline(always)]
    #[must_use]
    pub fn has_key(&self, handle: Handle, key: &[u8]) -> bool {
        let bytes = self.arena.bytes(handle);
        record::has_key(bytes, key).unwrap_or_else(|| self.key(handle) == key)
    }

    #[must_use]
    pub fn expiry(&self, handle: Handle) -> Option<u64> {
        record::read(self.arena.bytes(handle)).expiry
    }

    #[inline]
    pub fn prefetch(&self, handle: Handle) {
        self.arena.prefetch(handle);
    }

    /// What the record takes, with its large parts.
    #[must_use]
    pub fn record_bytes(&self, handle: Handle) -> usize {
        let parts = record::read(self.arena.bytes(handle));
        let large = |part| match part {
            Part::Inline(_) => 0,
            Part::Large(index) => self.large.capacity(index),
        };
        self.arena.slot_bytes_of(handle) + large(parts.key) + large(parts.value)
    }

    /// As `record_bytes`, without the nodes of a collection: whoever keeps a record only for these
    /// shares them.
    #[must_use]
    pub fn own_bytes(&self, handle: Handle) -> usize {
        match record::read(self.arena.bytes(handle)).value {
            Part::Large(index) if matches!(self.large.entry(index), EntryRef::Object(_)) => {
                self.arena.slot_bytes_of(handle)
            }
            _ => self.record_bytes(handle),
        }
    }

    /// Bytes of records, large values and segments.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.arena.used_bytes() + self.large.used_bytes() + self.segments.used_bytes()
    }

    /// Bytes of the pages that records lie in, used or not.
    #[must_use]
    pub fn page_bytes(&self) -> usize {
        self.arena.page_bytes()
    }

    /// Bytes of those pages that hold no record.
    #[must_use]
    pub fn unused_bytes(&self) -> usize {
        self.arena.page_bytes().saturating_sub(self.arena.used_bytes())
    }

    #[inline]
    fn part<'a>(&'a self, part: Part<'a>) -> &'a [u8] {
        match part {
            Part::Inline(bytes) => bytes,
            Part::Large(index) => self.large.get(index),
        }
    }

    /// The value's entry of the side table, if any, is the record's from here on.
    fn create_parts(
        &mut self,
        key: &[u8],
        value: Part<'_>,
        encoding: Encoding,
        expiry: Option<u64>,
    ) -> Result<Handle, Full> {
        let key = if key.len() <= INLINE_KEY_BYTES_MAX {
            Part::Inline(key)
        } else {
            Part::Large(self.large.put(Entry::Bytes(Bytes::copy_from_slice(key)))?)
        };
        let parts = Parts { encoding, expiry, key, value };
        let made = self.arena.allocate(parts.size());
        match made {
            Ok(handle) => parts.write(self.arena.bytes_mut(handle)),
            Err(Full) => {
                for part in [key, value] {
                    if let Part::Large(index) = part {
                        self.large.take(index);
                    }
                }
            }
        }
        made
    }
}
