//! Reading and changing collections, in whichever form they are held.
//!
//! ```text
//!   read      a value of the asked kind, borrowed; leaves what a read of Redis leaves (lookup.rs)
//!   modify    takes the value out, lends it to a closure, puts it back; expiry kept, clock moved
//!   put_value a whole value, over what is there
//! ```
//!
//! While a closure has a value, it is nobody else's: it may turn a packed value into an object. A value
//! that comes back without elements takes its key with it. What a snapshot still needs is handed over
//! first: a packed value as its old bytes, an object as a clone of its root, so that neither waits for the
//! other.
//!
//! Whether a closure changed anything, the command's effect tells: `shard::execute` signals the keys then.
//!
//! Trap: a closure that refuses must leave the value as it was; what it did is kept.
//!
//! Not here: what elements mean and when a value outgrows its form (the families).

use super::keyspace::{Expiry, Full, Key, Keyspace, ValueRef};
use super::notices::Class;
use super::shard::Cx;
use crate::base::limits::STRING_BYTES_MAX;
use crate::base::time::Wall;
use crate::resp::error::ErrorKind;
use crate::types::object::{Body, Object};
use crate::types::packing::Packing;
use crate::types::record::{Encoding, Kind};
use crate::types::store::Value;
use crate::types::table::Place;

/// The key holds a value of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongType;

/// A value out of its shard, with what belongs to it.
#[derive(Clone, Debug)]
pub struct Carried {
    pub value: Value<'static>,
    pub encoding: Encoding,
    pub expiry: Option<u64>,
}

impl From<WrongType> for ErrorKind {
    fn from(_: WrongType) -> Self {
        Self::WrongType
    }
}

impl Keyspace {
    /// A value of this kind, as a read command looks it up: counts a hit or a miss, moves the clock.
    #[inline]
    pub fn read(
        &mut self,
        db: usize,
        key: Key<'_>,
        kind: Kind,
        now: Wall,
    ) -> Result<Option<ValueRef<'_>>, WrongType> {
        let Some(value) = self.get_any(db, key, now) else { return Ok(None) };
        if value.kind() == kind { Ok(Some(value)) } else { Err(WrongType) }
    }

    /// Lends the value to `edit`; `None`: no such key.
    pub fn modify<T>(
        &mut self,
        db: usize,
        key: Key<'_>,
        kind: Kind,
        now: Wall,
        edit: impl FnOnce(&mut Body) -> T,
    ) -> Result<Option<T>, ErrorKind> {
        match self.place_of(db, key, kind, now)? {
            Some(place) => Ok(Some(self.edit_body(db, key, place, edit)?)),
            None => Ok(None),
        }
    }

    /// As `modify`; a key that is not there begins as `new`, and is made if that gets elements.
    pub fn modify_or_create<T>(
        &mut self,
        db: usize,
        key: Key<'_>,
        kind: Kind,
        now: Wall,
        new: impl FnOnce() -> Body,
        edit: impl FnOnce(&mut Body) -> T,
    ) -> Result<T, ErrorKind> {
        if let Some(place) = self.place_of(db, key, kind, now)? {
            return Ok(self.edit_body(db, key, place, edit)?);
        }
        let mut body = new();
        debug_assert_eq!(body.kind(), kind);
        let result = edit(&mut body);
        self.emptied = false;
        if !body.is_gone() {
            self.put_body(db, key, body, Expiry::None, now)?;
        }
        Ok(result)
    }

    /// Sets a collection, whatever was there; one without elements removes the key.
    pub fn put_body(
        &mut self,
        db: usize,
        key: Key<'_>,
        body: Body,
        expiry: Expiry,
        now: Wall,
    ) -> Result<(), Full> {
        if body.is_gone() {
            self.remove(db, key, now);
            return Ok(());
        }
        let encoding = body.encoding();
        let value = match body {
            Body::Packed(_, bytes) => Value::Shared(bytes.into()),
            Body::Object(object) => Value::Object(object),
        };
        self.put_value(db, key, value, encoding, expiry, now)
    }

    /// Sets a value of any kind, whatever was there.
    pub fn put_value(
        &mut self,
        db: usize,
        key: Key<'_>,
        value: Value<'_>,
        encoding: Encoding,
        expiry: Expiry,
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
        let record = self.store.create(key.bytes, value, encoding, expiry)?;
        self.place_record(db, key, place, record, expiry.is_some(), now)
    }

    /// A key's value with its expiry, shared where it is large; leaves no trace.
    pub fn read_out(&mut self, db: usize, key: Key<'_>, now: Wall) -> Option<Carried> {
        let place = self.live(db, key, now)?;
        let view = self.view(place);
        let (value, encoding) = (view.value.to_value(), view.value.encoding());
        Some(Carried { value, encoding, expiry: view.expiry })
    }

    /// As `read_out`, expired or not.
    #[must_use]
    pub fn copy_out(&self, db: usize, key: Key<'_>) -> Option<Carried> {
        let view = self.view(self.find(db, key)?);
        let (value, encoding) = (view.value.to_value(), view.value.encoding());
        Some(Carried { value, encoding, expiry: view.expiry })
    }

    /// Puts what another shard held under a key, whatever was there.
    pub fn put_in(
        &mut self,
        db: usize,
        key: Key<'_>,
        carried: Carried,
        now: Wall,
    ) -> Result<(), Full> {
        let expiry = carried.expiry.map_or(Expiry::None, Expiry::At);
        self.put_value(db, key, carried.value, carried.encoding, expiry, now)
    }

    /// Takes what a family cut off a collection: it is freed in slices.
    pub fn bury_object(&mut self, object: Object) {
        self.store.bury(object);
    }

    /// The settings of packed collections.
    #[must_use]
    pub fn packing(&self) -> Packing {
        self.packing
    }

    pub fn set_packing(&mut self, packing: Packing) {
        self.packing = packing;
    }

    /// The entry of a value that is about to be written.
    fn place_of(
        &mut self,
        db: usize,
        key: Key<'_>,
        kind: Kind,
        now: Wall,
    ) -> Result<Option<Place>, ErrorKind> {
        let Some(place) = self.live(db, key, now) else { return Ok(None) };
        if self.view(place).value.kind() != kind {
            return Err(ErrorKind::WrongType);
        }
        self.moved_clock(place, now);
        self.may_change(db, key);
        Ok(Some(place))
    }

    fn edit_body<T>(
        &mut self,
        db: usize,
        key: Key<'_>,
        place: Place,
        edit: impl FnOnce(&mut Body) -> T,
    ) -> Result<T, Full> {
        let mut handle = self.store.segments.get(place.segment).handle(place.spot);
        if !self.store.is_large(handle) {
            return self.edit_inline(db, key, place, edit);
        }
        if self.is_needed(db, place) {
            let expiry = self.store.expiry(handle);
            handle = self.store.duplicate(handle, None, expiry)?;
            self.put(db, place, handle, expiry.is_some());
        }
        let Some(mut body) = self.store.open(handle) else { return Err(Full) };
        let result = edit(&mut body);
        let gone = body.is_gone();
        self.emptied = gone;
        self.store.close(handle, body);
        if gone {
            self.drop_place(db, place);
        }
        Ok(result)
    }

    /// A packed value that lies in its record.
    fn edit_inline<T>(
        &mut self,
        db: usize,
        key: Key<'_>,
        place: Place,
        edit: impl FnOnce(&mut Body) -> T,
    ) -> Result<T, Full> {
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        let view = self.view(place);
        bytes.extend_from_slice(view.value.bytes());
        let (encoding, expiry) = (view.value.encoding(), view.expiry);
        let mut body = Body::Packed(encoding, bytes);
        let result = edit(&mut body);
        self.emptied = body.is_gone();
        if self.emptied {
            self.drop_place(db, place);
        } else {
            match &body {
                Body::Packed(encoding, bytes) => {
                    let handle = self.store.segments.get(place.segment).handle(place.spot);
                    let stays = !self.is_needed(db, place)
                        && self.store.overwrite(handle, key.bytes, bytes, *encoding, expiry);
                    if !stays {
                        let value = Value::Bytes(bytes);
                        let record = self.store.create(key.bytes, value, *encoding, expiry)?;
                        self.put(db, place, record, expiry.is_some());
                    }
                }
                Body::Object(object) => {
                    let (value, encoding) = (Value::Object(object.clone()), object.encoding());
                    let record = self.store.create(key.bytes, value, encoding, expiry)?;
                    self.put(db, place, record, expiry.is_some());
                }
            }
        }
        if let Body::Packed(_, bytes) = body {
            self.scratch = bytes;
        }
        Ok(result)
    }
}

impl Cx<'_> {
    /// Keeps a command's result under a key, whatever was there, and says so, also by the name of what
    /// happened; one without elements takes the key away.
    pub(crate) fn keep(
        &mut self,
        word: &[u8],
        body: Body,
        (class, event): (Class, &'static str),
    ) -> Result<(), ErrorKind> {
        let key = self.key(word);
        if body.is_gone() {
            if self.keyspace.remove_even_expired(self.db, key) {
                self.notify(Class::Generic, "del", word);
                self.effect.verbatim();
            }
            return Ok(());
        }
        // An expired target goes out as a DEL.
        self.keyspace.exists(self.db, key, self.now);
        self.keyspace.put_body(self.db, key, body, Expiry::None, self.now)?;
        self.notify(class, event, word);
        self.effect.verbatim();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::walk::Walk;
    use crate::types::dict::Dict;
    use crate::types::fields::Fields;
    use crate::types::object::Object;
    use crate::types::packed;
    use std::collections::BTreeMap;

    const NOW: Wall = Wall(1_000_000_000);

    type Hash = BTreeMap<Vec<u8>, Vec<u8>>;

    fn content(value: ValueRef<'_>) -> Hash {
        let mut hash = Hash::new();
        Fields::of(value).all(&mut |field, value| {
            assert!(hash.insert(field.to_vec(), value.to_vec()).is_none());
            true
        });
        hash
    }

    /// Adds a field, unless it is there; turns a listpack of this many elements into an object.
    fn add(keyspace: &mut Keyspace, key: &[u8], n: usize, packed_max: usize) -> bool {
        let (key, hasher) = (keyspace.key(key), keyspace.hasher());
        let field = format!("field:{n}").into_bytes();
        let new = || Body::Packed(Encoding::PackedHash, packed::empty());
        let edited = keyspace.modify_or_create(0, key, Kind::Hash, NOW, new, |body| {
            if Fields::of_body(body).get(|it| hasher.hash(it), &field).is_some() {
                return false;
            }
            match body {
                Body::Packed(_, bytes) => {
                    packed::push(bytes, &field);
                    packed::push(bytes, b"value");
                }
                Body::Object(Object::Hash(dict)) => {
                    dict.insert(hasher.hash(&field), &field, b"value");
                }
                Body::Object(_) => unreachable!(),
            }
            if matches!(body, Body::Packed(..)) && Fields::of_body(body).len() > packed_max {
                let mut dict = Dict::new(true);
                Fields::of_body(body)
                    .all(&mut |field, value| dict.insert(hasher.hash(field), field, value));
                *body = Body::Object(Object::Hash(dict));
            }
            true
        });
        edited.unwrap()
    }

    /// Every form, and every step from one to the next, with a snapshot before each change: it gets the
    /// values of its instant.
    #[test]
    fn a_snapshot_gets_what_was_there_whatever_form_a_value_takes() {
        for packed_max in [5, 200] {
            let mut keyspace = Keyspace::new(1, [1, 2, 3, 4]);
            let mut expected = Hash::new();
            for n in 0..600 {
                assert!(keyspace.cut());
                assert!(add(&mut keyspace, b"k", n, packed_max));
                assert!(n == 0 || !add(&mut keyspace, b"k", n / 2, packed_max));
                let mut seen = Vec::new();
                while keyspace.walk(1, &mut |record| seen.push(content(record.value))) == Walk::More
                {
                }
                let wanted = if n == 0 { vec![] } else { vec![expected.clone()] };
                assert!(seen == wanted, "{n}");
                expected.insert(format!("field:{n}").into_bytes(), b"value".to_vec());
            }
            let key = keyspace.key(b"k");
            let value = keyspace.read(0, key, Kind::Hash, NOW).unwrap().unwrap();
            assert!(value.object().is_some());
            assert!(content(value) == expected);
            assert!(matches!(keyspace.read(0, key, Kind::Set, NOW), Err(WrongType)));
            assert!(matches!(keyspace.get(0, key, NOW), Err(WrongType)));

            // Copies share nodes; what is written to one is not in the other.
            let copy = keyspace.key(b"copy");
            assert!(keyspace.copy(0, key, 0, copy, NOW).unwrap());
            assert!(add(&mut keyspace, b"copy", 1_000, packed_max));
            let value = keyspace.read(0, key, Kind::Hash, NOW).unwrap().unwrap();
            assert!(content(value) == expected);

            // Taken field by field, it goes with the last, and so does its memory.
            let hasher = keyspace.hasher();
            for field in expected.keys() {
                let removed = keyspace.modify(0, key, Kind::Hash, NOW, |body| match body {
                    Body::Object(Object::Hash(dict)) => dict.remove(hasher.hash(field), field),
                    _ => false,
                });
                assert!(removed.unwrap().unwrap());
            }
            assert!(!keyspace.exists(0, key, NOW));
            assert!(keyspace.remove(0, copy, NOW));
            while keyspace.collect(10) {}
            assert!(keyspace.used_bytes() < 200_000, "{}", keyspace.used_bytes());
        }
    }
}
