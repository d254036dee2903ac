//! A hash, read and changed in whichever form it is held.
//!
//! Small ones are a listpack of fields and values in turn; one that outgrows the settings becomes a `Dict`
//! and stays one, as in Redis.

use super::dict::Dict;
use super::object::{Body, Object};
use super::packed::{self, Item, Needle, Packed};
use super::packing::{PACKED_BYTES_MAX, Packing};
use super::record::Encoding;
use super::store::{Hasher, ValueRef};

/// Fields and values.
#[derive(Clone, Copy, Debug)]
pub enum Fields<'a> {
    Packed(Packed<'a>),
    Dict(&'a Dict),
}

impl<'a> Fields<'a> {
    /// Of a value that is a hash.
    #[inline]
    #[must_use]
    pub fn of(value: ValueRef<'a>) -> Self {
        match value.object() {
            Some(Object::Hash(dict)) => Self::Dict(dict),
            Some(_) => panic!("not a hash"),
            None => Self::Packed(Packed::new(value.bytes())),
        }
    }

    /// Of a hash that is being changed.
    #[must_use]
    pub fn of_body(body: &'a Body) -> Self {
        Self::of(ValueRef::of_body(body))
    }

    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => packed.len() / 2,
            Self::Dict(dict) => dict.len(),
        }
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The value of a field; `hash` is asked where it is needed.
    #[inline]
    #[must_use]
    pub fn get(self, hash: impl FnOnce(&[u8]) -> u64, field: &[u8]) -> Option<Item<'a>> {
        match self {
            Self::Packed(packed) => packed.find_value(field).map(|at| packed.get(at)),
            Self::Dict(dict) => dict.get(hash(field), field).map(Item::Bytes),
        }
    }

    /// Field and value of this rank; any order, but the same until the next change.
    #[must_use]
    pub fn at(self, rank: usize) -> Option<(Item<'a>, Item<'a>)> {
        match self {
            Self::Packed(packed) => packed.pairs().nth(rank),
            Self::Dict(dict) => {
                dict.at(rank).map(|(field, value)| (Item::Bytes(field), Item::Bytes(value)))
            }
        }
    }

    /// All fields with their values where going to a rank takes long, so that it is done once; else none.
    #[must_use]
    pub fn listed(self) -> Vec<(Item<'a>, Item<'a>)> {
        match self {
            Self::Packed(packed) => packed.pairs().collect(),
            Self::Dict(_) => Vec::new(),
        }
    }

    /// All fields with their values, until `each` says false.
    pub fn all(self, each: &mut dyn FnMut(&[u8], &[u8]) -> bool) -> bool {
        match self {
            Self::Packed(packed) => {
                packed.pairs().all(|(field, value)| each(&field.text(), &value.text()))
            }
            Self::Dict(dict) => dict.all(each),
        }
    }
}

/// A hash without fields.
#[must_use]
pub fn empty() -> Body {
    Body::Packed(Encoding::PackedHash, packed::empty())
}

/// Gives a field a value; true: the field is new.
pub fn put(
    body: &mut Body,
    packing: &Packing,
    hasher: &Hasher,
    field: &[u8],
    value: &[u8],
) -> bool {
    if let Body::Packed(_, bytes) = body {
        let longest = field.len().max(value.len());
        if longest <= packing.hash_value_bytes && bytes.len() + 2 * longest < PACKED_BYTES_MAX {
            let old = Packed::new(bytes).find_value(field);
            if let Some(at) = old {
                packed::replace(bytes, at, value);
            } else {
                packed::push(bytes, field);
                packed::push(bytes, value);
            }
            if Packed::new(bytes).len() / 2 > packing.hash_entries {
                unpack(body, hasher);
            }
            return old.is_none();
        }
        unpack(body, hasher);
    }
    let Body::Object(Object::Hash(dict)) = body else { panic!("not a hash") };
    dict.insert(hasher.hash(field), field, value)
}

/// Takes a field out; false: there is none.
pub fn remove(body: &mut Body, hasher: &Hasher, field: &[u8]) -> bool {
    match body {
        Body::Packed(_, bytes) => {
            let packed = Packed::new(bytes);
            let Some(at) = packed.find(packed.first(), Needle::new(field), 2) else { return false };
            packed::remove(bytes, at, 2);
            true
        }
        Body::Object(Object::Hash(dict)) => dict.remove(hasher.hash(field), field),
        Body::Object(_) => panic!("not a hash"),
    }
}

/// From a listpack to a `Dict`.
pub fn unpack(body: &mut Body, hasher: &Hasher) {
    let mut dict = Dict::new(true);
    Fields::of_body(body).all(&mut |field, value| {
        dict.insert(hasher.hash(field), field, value);
        true
    });
    *body = Body::Object(Object::Hash(dict));
}
