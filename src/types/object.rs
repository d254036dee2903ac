//! Large collections, and a collection's value in whichever form it is.
//!
//! Behind every variant of [`Object`] is a tree of shared nodes: a clone is O(1), a writer copies the nodes
//! that it writes to. So a snapshot or a copy keeps one for the price of its root, and no change
//! waits for it.
//!
//! A further container brings: `Clone` in O(1), `len`, `bytes` in O(1) and `free_some`; and fits in 40
//! bytes, or goes behind a `Box`.
//!
//! Not here: which form a value should have (the commands of its family, by `packing.rs`).

use super::dict::Dict;
use super::intset::IntSet;
use super::list::List;
use super::log::Stream;
use super::packed::Packed;
use super::ranked::Ranked;
use super::record::{Encoding, Kind};

/// A large collection.
#[derive(Clone, Debug)]
pub enum Object {
    List(List),
    Set(Dict),
    ZSet(Box<Ranked>),
    Hash(Dict),
    Stream(Box<Stream>),
}

/// A collection that is being changed.
#[derive(Clone, Debug)]
pub enum Body {
    /// A listpack, or the intset of [`Encoding::IntSet`].
    Packed(Encoding, Vec<u8>),
    Object(Object),
}

impl Object {
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::List(_) => Encoding::List,
            Self::Set(_) => Encoding::Set,
            Self::ZSet(_) => Encoding::ZSet,
            Self::Hash(_) => Encoding::Hash,
            Self::Stream(_) => Encoding::Stream,
        }
    }

    /// Elements: members, fields, entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Set(dict) | Self::Hash(dict) => dict.len(),
            Self::ZSet(ranked) => ranked.len(),
            Self::Stream(stream) => usize::try_from(stream.len()).unwrap_or(usize::MAX),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of all its nodes, shared ones included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::List(list) => list.bytes(),
            Self::Set(dict) | Self::Hash(dict) => dict.bytes(),
            Self::ZSet(ranked) => ranked.bytes(),
            Self::Stream(stream) => stream.bytes(),
        }
    }

    /// Frees nodes and takes their number off `budget`; true: nothing is left that takes time to drop. The
    /// object is of no other use from then on.
    pub fn free_some(&mut self, budget: &mut usize) -> bool {
        match self {
            Self::List(list) => list.free_some(budget),
            Self::Set(dict) | Self::Hash(dict) => dict.free_some(budget),
            Self::ZSet(ranked) => ranked.free_some(budget),
            Self::Stream(stream) => stream.free_some(budget),
        }
    }
}

impl Body {
    #[must_use]
    pub fn encoding(&self) -> Encoding {
        match self {
            Self::Packed(encoding, _) => *encoding,
            Self::Object(object) => object.encoding(),
        }
    }

    #[must_use]
    pub fn kind(&self) -> Kind {
        self.encoding().kind()
    }

    /// Elements of the listpack (fields and values, members and scores count singly), the intset or the object.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Packed(Encoding::IntSet, bytes) => IntSet::new(bytes).len(),
            Self::Packed(_, bytes) => Packed::new(bytes).len(),
            Self::Object(object) => object.len(),
        }
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Packed(Encoding::IntSet, bytes) => IntSet::new(bytes).is_empty(),
            Self::Packed(_, bytes) => Packed::new(bytes).is_empty(),
            Self::Object(object) => object.is_empty(),
        }
    }

    /// Is a key with this value no key any more? Only a stream stays when it is empty.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.kind() != Kind::Stream && self.is_empty()
    }
}
