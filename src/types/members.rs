//! A set, read and changed in whichever form it is held.
//!
//! Integers alone are an intset, few short members a listpack, all else a `Dict`. A set that has left a form
//! does not come back to it, as in Redis.

use super::dict::Dict;
use super::intset::{self, IntSet};
use super::object::{Body, Object};
use super::packed::{self, Item, Needle, Packed};
use super::packing::{PACKED_BYTES_MAX, Packing};
use super::record::Encoding;
use super::store::{Hasher, ValueRef};
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

    /// All members where going to a rank takes long, so that it is done once; else none.
    #[must_use]
    pub fn listed(self) -> Vec<Item<'a>> {
        match self {
            Self::Packed(packed) => packed.iter().collect(),
            Self::Ints(_) | Self::Dict(_) => Vec::new(),
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

/// A set without members, as it begins.
#[must_use]
pub fn empty() -> Body {
    Body::Packed(Encoding::IntSet, intset::empty())
}

/// Puts a member in; false: it is there already.
pub fn add(body: &mut Body, packing: &Packing, hasher: &Hasher, member: &[u8]) -> bool {
    if let Body::Packed(Encoding::IntSet, bytes) = body {
        let Some(number) = parse_i64(member) else {
            leave_ints(body, packing, hasher, member);
            return add(body, packing, hasher, member);
        };
        let new = intset::insert(bytes, number);
        if new && IntSet::new(bytes).len() > packing.intset_entries {
            leave_ints(body, packing, hasher, b"");
        }
        return new;
    }
    if let Body::Packed(_, bytes) = body {
        let packed = Packed::new(bytes);
        if packed.find(packed.first(), Needle::new(member), 1).is_some() {
            return false;
        }
        if fits(packing, packed.len() + 1, member) && bytes.len() + member.len() < PACKED_BYTES_MAX
        {
            packed::push(bytes, member);
            return true;
        }
        unpack(body, hasher);
    }
    let Body::Object(Object::Set(dict)) = body else { panic!("not a set") };
    dict.insert(hasher.hash(member), member, b"")
}

/// Takes a member out; false: there is none.
pub fn remove(body: &mut Body, hasher: &Hasher, member: &[u8]) -> bool {
    match body {
        Body::Packed(Encoding::IntSet, bytes) => {
            parse_i64(member).is_some_and(|number| intset::remove(bytes, number))
        }
        Body::Packed(_, bytes) => {
            let packed = Packed::new(bytes);
            let found = packed.find(packed.first(), Needle::new(member), 1);
            if let Some(at) = found {
                packed::remove(bytes, at, 1);
            }
            found.is_some()
        }
        Body::Object(Object::Set(dict)) => dict.remove(hasher.hash(member), member),
        Body::Object(_) => panic!("not a set"),
    }
}

/// May a packed set have so many members, this one among them?
fn fits(packing: &Packing, len: usize, member: &[u8]) -> bool {
    len <= packing.set_entries && member.len() <= packing.set_value_bytes
}

/// No intset any more: a listpack, where that has room for a further member like this one.
fn leave_ints(body: &mut Body, packing: &Packing, hasher: &Hasher, member: &[u8]) {
    let Body::Packed(_, bytes) = &*body else { return };
    let ints = IntSet::new(bytes);
    let longest = [ints.iter().next(), ints.iter().next_back()];
    let short = longest.into_iter().flatten().all(|number| {
        // The smallest and the greatest have the longest texts.
        Item::Int(number).text_len() <= packing.set_value_bytes
    });
    if !short || !fits(packing, ints.len() + 1, member) {
        return unpack(body, hasher);
    }
    let mut list = packed::empty();
    ints.iter().for_each(|number| packed::push_int(&mut list, number));
    *body = Body::Packed(Encoding::PackedSet, list);
}

fn unpack(body: &mut Body, hasher: &Hasher) {
    let mut dict = Dict::new(false);
    Members::of_body(body).all(&mut |member| {
        dict.insert(hasher.hash(member), member, b"");
        true
    });
    *body = Body::Object(Object::Set(dict));
}
