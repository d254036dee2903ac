//! DEBUG DIGEST: one number for all data, by which two servers of any kind are proved equal.
//!
//! As Redis computes it. `mix(d, bytes)` is `d = SHA1(d ^ SHA1(bytes))`, all numbers big-endian:
//!
//! ```text
//!   value   d = 0; mix(d, type as 32 bits); its content; d ^= SHA1("!!expire!!") if it expires
//!   string  mix(d, bytes)
//!   set     for each member   d ^= SHA1(member)
//!   hash    for each field    e = 0; mix(e, field); mix(e, value); d ^= SHA1(e)
//!   zset    for each member   e = 0; mix(e, member); mix(e, score as %.17g); d ^= SHA1(e)
//!   list    for each element  mix(d, element)
//!   stream  for each entry    mix(d, its ID as ms.seq); mix(d, name), mix(d, value) of each field
//!   entry   the same, after mix(d, key)
//!   data    d = 0; for each database that is not empty: mix(d, its number as 32 bits),
//!           then d ^= SHA1(entry) for each of its entries
//! ```
//!
//! Entries of a database are joined by XOR, so neither their order nor which core holds them matters: each
//! core collects its own `Digest`, they are merged, and only the sum is finished.
//!
//! Trap: when a key expires is not part of it, only that it does.

use sha1_smol::Sha1;
use std::ops::ControlFlow;

use crate::base::num;
use crate::engine::keyspace::ValueRef;
use crate::engine::lists::form::Form;
use crate::types::fields::Fields;
use crate::types::log::Stream;
use crate::types::log::id::StreamId;
use crate::types::members::Members;
use crate::types::object::Object;
use crate::types::record::Kind;
use crate::types::scores::Scores;

/// A digest as Redis prints it: 40 lowercase hex digits of these.
pub type Sum = [u8; 20];

const EXPIRES: &[u8] = b"!!expire!!";

/// What one core, or several merged, hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The XOR of each database's entries; `None`: it is empty.
    databases: Vec<Option<Sum>>,
}

impl Digest {
    /// Of nothing, in so many databases.
    #[must_use]
    pub fn new(databases: usize) -> Self {
        Self { databases: vec![None; databases] }
    }

    /// Takes in a key with its value.
    pub fn add(&mut self, db: usize, key: &[u8], value: ValueRef<'_>, expires: bool) {
        let mut sum = Sum::default();
        mix(&mut sum, key);
        mix_value(&mut sum, value, expires);
        xor(self.databases[db].get_or_insert_default(), &sha1(&sum));
    }

    /// Takes in what another core holds.
    pub fn merge(&mut self, other: &Self) {
        assert_eq!(self.databases.len(), other.databases.len(), "cores have the same databases");
        for (mine, theirs) in self.databases.iter_mut().zip(&other.databases) {
            if let Some(theirs) = theirs {
                xor(mine.get_or_insert_default(), theirs);
            }
        }
    }

    /// For another core: each database that is not empty, its number in 4 little-endian bytes and
    /// the XOR of its entries in 20.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (db, entries) in (0_u32..).zip(&self.databases) {
            if let Some(entries) = entries {
                bytes.extend_from_slice(&db.to_le_bytes());
                bytes.extend_from_slice(entries);
            }
        }
        bytes
    }

    /// Takes in what another core wrote with [`Digest::to_bytes`].
    pub fn merge_bytes(&mut self, bytes: &[u8]) {
        for row in bytes.chunks_exact(24) {
            let (db, entries) = row.split_at(4);
            let db = u32::from_le_bytes([db[0], db[1], db[2], db[3]]) as usize;
            if let (Some(mine), Ok(theirs)) = (self.databases.get_mut(db), Sum::try_from(entries)) {
                xor(mine.get_or_insert_default(), &theirs);
            }
        }
    }

    /// What DEBUG DIGEST answers.
    #[must_use]
    pub fn finish(&self) -> Sum {
        let mut sum = Sum::default();
        for (db, entries) in (0_u32..).zip(&self.databases) {
            if let Some(entries) = entries {
                mix(&mut sum, &db.to_be_bytes());
                xor(&mut sum, entries);
            }
        }
        sum
    }
}

/// What DEBUG DIGEST-VALUE answers for a value. For an absent key it answers zeros.
#[must_use]
pub fn of_value(value: ValueRef<'_>, expires: bool) -> Sum {
    let mut sum = Sum::default();
    mix_value(&mut sum, value, expires);
    sum
}

fn mix_value(sum: &mut Sum, value: ValueRef<'_>, expires: bool) {
    mix(sum, &type_number(value.kind()).to_be_bytes());
    match value.kind() {
        Kind::String => mix(sum, value.bytes()),
        Kind::Set => {
            Members::of(value).all(&mut |member| {
                xor(sum, &sha1(member));
                true
            });
        }
        Kind::Hash => {
            Fields::of(value).all(&mut |field, value| {
                let mut entry = Sum::default();
                mix(&mut entry, field);
                mix(&mut entry, value);
                xor(sum, &sha1(&entry));
                true
            });
        }
        Kind::List => Form::of(value).visit(0, false, |element| {
            mix(sum, &element.text());
            ControlFlow::Continue(())
        }),
        Kind::Stream => {
            if let Some(Object::Stream(stream)) = value.object() {
                mix_stream(sum, stream);
            }
        }
        Kind::ZSet => {
            let mut text = Vec::new();
            Scores::of(value).all(&mut |member, score| {
                let mut entry = Sum::default();
                mix(&mut entry, &member.text());
                text.clear();
                num::write_g17(&mut text, score);
                mix(&mut entry, &text);
                xor(sum, &sha1(&entry));
                true
            });
        }
    }
    if expires {
        xor(sum, &sha1(EXPIRES));
    }
}

fn mix_stream(sum: &mut Sum, stream: &Stream) {
    stream.visit(StreamId::MIN, StreamId::MAX, false, |entry| {
        mix(sum, format!("{}.{}", entry.id.ms, entry.id.seq).as_bytes());
        entry.words(|name, value| {
            mix(sum, &name.text());
            mix(sum, &value.text());
        });
        ControlFlow::Continue(())
    });
}

/// Redis' `OBJ_STRING` and the like.
fn type_number(kind: Kind) -> u32 {
    match kind {
        Kind::String => 0,
        Kind::List => 1,
        Kind::Set => 2,
        Kind::ZSet => 3,
        Kind::Hash => 4,
        Kind::Stream => 6,
    }
}

fn mix(sum: &mut Sum, bytes: &[u8]) {
    xor(sum, &sha1(bytes));
    *sum = sha1(sum);
}

fn xor(sum: &mut Sum, other: &Sum) {
    sum.iter_mut().zip(other).for_each(|(a, b)| *a ^= b);
}

fn sha1(bytes: &[u8]) -> Sum {
    Sha1::from(bytes).digest().bytes()
}
