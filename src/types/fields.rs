//! A hash, to be read in whichever form it is held.
//!
//! Not here: changes; they turn one form into the other (`engine/hashes.rs`).

use super::dict::Dict;
use super::object::{Body, Object};
use super::packed::{Item, Packed};
use super::store::ValueRef;

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
