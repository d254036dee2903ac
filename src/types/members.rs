//! A set, to be read in whichever form it is held.
//!
//! Not here: changes; they turn one form into another (`engine/sets.rs`).

use super::dict::Dict;
use super::intset::IntSet;
use super::object::{Body, Object};
use super::packed::{Item, Needle, Packed};
use super::record::Encoding;
use super::store::ValueRef;
use crate::base::num::parse_i64;

/// Members.
#[derive(Clone, Copy, Debug)]
pub enum Members<'a> {
    Packed(Packed<'a>),
    Ints(IntSet<'a>),
    Dict(&'a Dict),
}

impl<'a> Members<'a> {
    /// Of a value that is a set.
    #[inline]
    #[must_use]
    pub fn of(value: ValueRef<'a>) -> Self {
        match value.object() {
            Some(Object::Set(dict)) => Self::Dict(dict),
            Some(_) => panic!("not a set"),
            None if value.encoding() == Encoding::IntSet => Self::Ints(IntSet::new(value.bytes())),
            None => Self::Packed(Packed::new(value.bytes())),
        }
    }

    /// Of a set that is being changed.
    #[must_use]
    pub fn of_body(body: &'a Body) -> Self {
        Self::of(ValueRef::of_body(body))
    }

    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Packed(packed) => packed.len(),
            Self::Ints(ints) => ints.len(),
            Self::Dict(dict) => dict.len(),
        }
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Is it a member? `hash` is asked where it is needed.
    #[inline]
    #[must_use]
    pub fn contains(self, hash: impl FnOnce(&[u8]) -> u64, member: &[u8]) -> bool {
        match self {
            Self::Packed(packed) => packed.find(packed.first(), Needle::new(member), 1).is_some(),
            Self::Ints(ints) => parse_i64(member).is_some_and(|number| ints.contains(number)),
            Self::Dict(dict) => dict.contains(hash(member), member),
        }
    }

    /// The member of this rank; any order, but the same until the next change.
    #[must_use]
    pub fn at(self, rank: usize) -> Option<Item<'a>> {
        match self {
            Self::Packed(packed) => packed.iter().nth(rank),
            Self::Ints(ints) => (rank < ints.len()).then(|| Item::Int(ints.get(rank))),
            Self::Dict(dict) => dict.at(rank).map(|(member, _)| Item::Bytes(member)),
        }
    }

    /// All members, until `each` says false.
    pub fn all(self, each: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        match self {
            Self::Packed(packed) => packed.iter().all(|member| each(&member.text())),
            Self::Ints(ints) => ints.iter().all(|number| each(&Item::Int(number).text())),
            Self::Dict(dict) => dict.all(&mut |member, _| each(member)),
        }
    }
}
