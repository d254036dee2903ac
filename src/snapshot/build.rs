//! Collections out of the items of an RDB value, as they come.
//!
//! Elements go into the collection one by one, so memory is bounded by what has arrived. Packed bytes are
//! checked before anything reads them; elements that are there twice are refused, as Redis does. What is
//! small enough by the settings becomes packed, whatever form the file has it in.
//!
//! Not here: how items are read (`items.rs`).

use super::build_stream::StreamParts;
use super::old_packed;
use crate::base::num::{self, parse_i64};
use crate::types::dict::Dict;
use crate::types::fields::Fields;
use crate::types::intset;
use crate::types::list::{End, Fill, List};
use crate::types::object::{Body, Object};
use crate::types::packed::{self, Packed};
use crate::types::packing::Packing;
use crate::types::ranked::Ranked;
use crate::types::record::Encoding;
use crate::types::scores;
use crate::types::store::Hasher;

/// What is needed to make collections.
#[derive(Clone)]
pub struct Making {
    /// That of the keyspace which the values are for.
    pub hasher: Hasher,
    pub packing: Packing,
}

/// The bytes are no value of their type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

/// One item; `at` is its place in the program of its type.
#[derive(Debug)]
pub enum Token<'a> {
    Length(u64),
    Text(Vec<u8>),
    Raw(&'a [u8]),
}

/// A collection that grows.
#[derive(Debug)]
pub struct Builder {
    making: Making,
    code: u8,
    shape: Shape,
    /// The text that is being read.
    pub text: Vec<u8>,
    pub raw: Vec<u8>,
}

#[derive(Debug)]
enum Shape {
    List(List),
    Set(Dict),
    Hash(Dict, Option<Vec<u8>>),
    /// With the member whose score comes next.
    ZSet(Box<Ranked>, Option<Vec<u8>>),
    Whole(Body),
    Stream(Box<StreamParts>),
}

impl std::fmt::Debug for Making {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Making {{ packing: {:?}, .. }}", self.packing)
    }
}

impl Builder {
    /// For a value of type `code`; `None`: it cannot be held.
    #[must_use]
    pub fn new(code: u8, making: &Making) -> Option<Self> {
        let shape = match code {
            1 | 10 | 14 | 18 => Shape::List(List::default()),
            2 | 20 => Shape::Set(Dict::new(false)),
            3 | 5 | 12 | 17 => Shape::ZSet(Box::default(), None),
            4 | 9 | 13 | 16 => Shape::Hash(Dict::new(true), None),
            11 => Shape::Whole(Body::Packed(Encoding::IntSet, intset::empty())),
            15 | 19 | 21 => Shape::Stream(Box::new(StreamParts::new(code))),
            _ => return None,
        };
        let making = making.clone();
        Some(Self { making, code, shape, text: Vec::new(), raw: Vec::new() })
    }

    /// Takes in one item.
    pub fn token(&mut self, at: usize, token: Token<'_>) -> Result<(), Damaged> {
        let fill = Fill::new(self.making.packing.list_node_size);
        let hasher = &self.making.hasher;
        match (&mut self.shape, token) {
            (Shape::Stream(parts), token) => parts.token(at, token),
            // How a node of a list is held.
            (Shape::List(_), Token::Length(container)) => {
                self.raw.clear();
                self.raw.push(u8::try_from(container).map_err(|_| Damaged)?);
                if matches!(container, 1 | 2) { Ok(()) } else { Err(Damaged) }
            }
            (Shape::List(list), Token::Text(text)) => {
                let plain = self.code == 1 || self.code == 18 && self.raw == [1];
                if plain {
                    list.push(End::Right, &text, fill);
                } else {
                    list.push_packed(listpack(self.code, text)?);
                }
                Ok(())
            }
            (Shape::Set(dict), Token::Text(text)) if self.code == 2 => {
                unique(dict.insert(hasher.hash(&text), &text, b""))
            }
            (Shape::Set(dict), Token::Text(text)) => {
                let list = listpack(self.code, text)?;
                Packed::new(&list).iter().try_for_each(|member| {
                    let member = member.text();
                    unique(dict.insert(hasher.hash(&member), &member, b""))
                })
            }
            (Shape::Hash(dict, field), Token::Text(text)) if self.code == 4 => match field.take() {
                None => {
                    *field = Some(text);
                    Ok(())
                }
                Some(field) => unique(dict.insert(hasher.hash(&field), &field, &text)),
            },
            (Shape::Hash(..), Token::Text(text)) => {
                let list = listpack(self.code, text)?;
                self.shape = Shape::Whole(packed_hash(list, &self.making)?);
                Ok(())
            }
            (Shape::ZSet(_, member @ None), Token::Text(text)) if matches!(self.code, 3 | 5) => {
                *member = Some(text);
                Ok(())
            }
            (Shape::ZSet(ranked, member), Token::Raw(raw)) => {
                let member = member.take().ok_or(Damaged)?;
                let score = score(self.code, raw).ok_or(Damaged)?;
                unique(ranked.insert(hasher.hash(&member), &member, score).is_none())
            }
            (Shape::ZSet(..), Token::Text(text)) => {
                let list = listpack(self.code, text)?;
                let body = scores::of_foreign(list, &self.making.packing, hasher);
                self.shape = Shape::Whole(body.ok_or(Damaged)?);
                Ok(())
            }
            (Shape::Whole(body), Token::Text(text)) if self.code == 11 => {
                intset::validate(&text).ok_or(Damaged)?;
                *body = Body::Packed(Encoding::IntSet, text);
                Ok(())
            }
            _ => Err(Damaged),
        }
    }

    /// All items are there.
    pub fn finish(self) -> Result<Body, Damaged> {
        let packing = &self.making.packing;
        Ok(match self.shape {
            Shape::Whole(body) => body,
            Shape::Stream(parts) => Body::Object(Object::Stream(Box::new(parts.finish()?))),
            Shape::List(list) => {
                let fill = Fill::new(packing.list_node_size);
                let short = list.pack(0).filter(|pack| {
                    list.packs() == 1 && fill.allows(pack.len(), Packed::new(pack).len())
                });
                match short {
                    Some(pack) => Body::Packed(Encoding::PackedList, pack.to_vec()),
                    None if list.is_empty() => Body::Packed(Encoding::PackedList, packed::empty()),
                    None => Body::Object(Object::List(list)),
                }
            }
            Shape::Set(dict) => {
                small_set(&dict, packing).unwrap_or_else(|| Body::Object(Object::Set(dict)))
            }
            Shape::Hash(dict, None) => {
                small_hash(&dict, packing).unwrap_or_else(|| Body::Object(Object::Hash(dict)))
            }
            Shape::ZSet(ranked, None) => {
                scores::pack(&ranked, packing).unwrap_or_else(|| Body::Object(Object::ZSet(ranked)))
            }
            Shape::Hash(_, Some(_)) | Shape::ZSet(_, Some(_)) => return Err(Damaged),
        })
    }
}

/// The listpack that packed bytes of this type are.
fn listpack(code: u8, bytes: Vec<u8>) -> Result<Vec<u8>, Damaged> {
    match code {
        9 => old_packed::zipmap(&bytes).ok_or(Damaged),
        10 | 12..=14 => old_packed::ziplist(&bytes).ok_or(Damaged),
        _ => packed::validate(&bytes).map(|_| bytes).ok_or(Damaged),
    }
}

fn packed_hash(list: Vec<u8>, making: &Making) -> Result<Body, Damaged> {
    let it = Packed::new(&list);
    if !it.len().is_multiple_of(2) {
        return Err(Damaged);
    }
    let mut dict = Dict::new(true);
    for (field, value) in it.pairs() {
        let field = field.text();
        unique(dict.insert(making.hasher.hash(&field), &field, &value.text()))?;
    }
    let longest = it.iter().map(packed::Item::text_len).max().unwrap_or(0);
    let small =
        dict.len() <= making.packing.hash_entries && longest <= making.packing.hash_value_bytes;
    Ok(if small || dict.is_empty() {
        Body::Packed(Encoding::PackedHash, list)
    } else {
        Body::Object(Object::Hash(dict))
    })
}

fn small_hash(dict: &Dict, packing: &Packing) -> Option<Body> {
    if dict.len() > packing.hash_entries {
        return None;
    }
    let mut list = packed::empty();
    let short = Fields::Dict(dict).all(&mut |field, value| {
        packed::push(&mut list, field);
        packed::push(&mut list, value);
        field.len().max(value.len()) <= packing.hash_value_bytes
    });
    short.then_some(Body::Packed(Encoding::PackedHash, list))
}

fn small_set(dict: &Dict, packing: &Packing) -> Option<Body> {
    if dict.len() <= packing.intset_entries {
        let mut set = intset::empty();
        let numbers = dict.all(&mut |member, _| {
            parse_i64(member).is_some_and(|number| intset::insert(&mut set, number))
        });
        if numbers {
            return Some(Body::Packed(Encoding::IntSet, set));
        }
    }
    if dict.len() > packing.set_entries {
        return None;
    }
    let mut list = packed::empty();
    let short = dict.all(&mut |member, _| {
        packed::push(&mut list, member);
        member.len() <= packing.set_value_bytes
    });
    short.then_some(Body::Packed(Encoding::PackedSet, list))
}

/// A score, as text in files of old, which is never NaN.
fn score(code: u8, raw: &[u8]) -> Option<f64> {
    if code == 3 {
        return num::parse_f64(raw);
    }
    let score = f64::from_le_bytes(raw.try_into().ok()?);
    (!score.is_nan()).then_some(score)
}

fn unique(new: bool) -> Result<(), Damaged> {
    if new { Ok(()) } else { Err(Damaged) }
}
