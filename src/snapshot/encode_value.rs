//! Collections as RDB bytes: packed ones as they are, large ones in slices.
//!
//! A [`Slices`] holds a clone of the collection's root, so what is written is the collection of the
//! snapshot's instant, and each slice is about a chunk long however many elements there are.
//!
//! Not here: keys and expiries (`encode.rs`).

use super::encode::{length, string};
use crate::base::limits::SNAPSHOT_CHUNK_BYTES;
use crate::snapshot::lzf::Compressor;
use crate::types::dict::Dict;
use crate::types::intset::IntSet;
use crate::types::log::Stream;
use crate::types::log::group::Group;
use crate::types::log::id::StreamId;
use crate::types::object::Object;
use crate::types::packed::Packed;
use crate::types::ranked::Ranked;
use crate::types::record::Encoding;
use std::ops::ControlFlow;

const SET: u8 = 2;
const HASH: u8 = 4;
const ZSET: u8 = 5;
const INTSET: u8 = 11;
const PACKED_HASH: u8 = 16;
const PACKED_ZSET: u8 = 17;
const LIST: u8 = 18;
const STREAM: u8 = 19;
/// A node of a list that is a listpack.
const NODE_PACKED: u64 = 2;
/// Members of a sorted set between two looks at how long the slice is.
const MEMBERS_AT_ONCE: usize = 64;

/// The type byte of a collection that is held like this; `None`: there is none yet.
#[must_use]
pub fn type_code(encoding: Encoding) -> Option<u8> {
    match encoding {
        Encoding::PackedList | Encoding::List => Some(LIST),
        Encoding::PackedSet | Encoding::Set => Some(SET),
        Encoding::IntSet => Some(INTSET),
        Encoding::PackedHash => Some(PACKED_HASH),
        Encoding::Hash => Some(HASH),
        Encoding::PackedZSet => Some(PACKED_ZSET),
        Encoding::ZSet => Some(ZSET),
        Encoding::Stream => Some(STREAM),
        _ => None,
    }
}

/// The value of a packed collection.
pub fn packed(
    out: &mut Vec<u8>,
    encoding: Encoding,
    bytes: &[u8],
    mut lzf: Option<&mut Compressor>,
) {
    match encoding {
        Encoding::PackedSet => {
            length(out, Packed::new(bytes).len() as u64);
            for member in Packed::new(bytes).iter() {
                string(out, &member.text(), lzf.as_deref_mut());
            }
        }
        Encoding::IntSet => {
            debug_assert!(!IntSet::new(bytes).is_empty());
            string(out, bytes, lzf);
        }
        Encoding::PackedList => {
            length(out, 1);
            length(out, NODE_PACKED);
            string(out, bytes, lzf);
        }
        _ => string(out, bytes, lzf),
    }
}

/// A large collection that is being written.
#[derive(Debug)]
pub struct Slices {
    object: Object,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    Start,
    /// A node of a list or a stream, where a dict goes on, how many members of a sorted set are left.
    Node(u64),
    /// A consumer group.
    Group(usize),
    Done,
}

impl Slices {
    #[must_use]
    pub fn new(object: Object) -> Self {
        Self { object, at: At::Start }
    }

    /// Appends the next slice, of about a chunk; true: that was the last.
    pub fn write(&mut self, out: &mut Vec<u8>, mut lzf: Option<&mut Compressor>) -> bool {
        let end = out.len() + SNAPSHOT_CHUNK_BYTES;
        while out.len() < end && !matches!(self.at, At::Done) {
            self.at = match &self.object {
                Object::List(list) => match self.at {
                    At::Node(node) => {
                        let pack = u32::try_from(node).ok().and_then(|node| list.pack(node));
                        match pack {
                            Some(pack) => {
                                length(out, NODE_PACKED);
                                string(out, pack, short(pack, &mut lzf));
                                At::Node(node + 1)
                            }
                            None => At::Done,
                        }
                    }
                    _ => {
                        length(out, list.packs().into());
                        At::Node(0)
                    }
                },
                Object::Set(dict) => slice_of_dict(dict, false, self.at, out, &mut lzf),
                Object::Hash(dict) => slice_of_dict(dict, true, self.at, out, &mut lzf),
                Object::ZSet(ranked) => slice_of_ranked(ranked, self.at, out, &mut lzf),
                Object::Stream(stream) => slice_of_stream(stream, self.at, out, &mut lzf),
            };
        }
        matches!(self.at, At::Done)
    }
}

fn slice_of_dict(
    dict: &Dict,
    values: bool,
    at: At,
    out: &mut Vec<u8>,
    lzf: &mut Option<&mut Compressor>,
) -> At {
    let from = match at {
        At::Node(from) => from,
        _ => {
            length(out, dict.len() as u64);
            0
        }
    };
    let next = dict.scan(from, &mut |member, value| {
        string(out, member, short(member, lzf));
        if values {
            string(out, value, short(value, lzf));
        }
    });
    next.map_or(At::Done, At::Node)
}

/// From the highest score down, as Redis does: who reads it puts each before the last.
fn slice_of_ranked(
    ranked: &Ranked,
    at: At,
    out: &mut Vec<u8>,
    lzf: &mut Option<&mut Compressor>,
) -> At {
    let left = match at {
        At::Node(left) => usize::try_from(left).unwrap_or(0),
        _ => {
            length(out, ranked.len() as u64);
            ranked.len()
        }
    };
    let Some(last) = left.checked_sub(1) else { return At::Done };
    for (member, score) in ranked.iter_back_from(last).take(MEMBERS_AT_ONCE) {
        string(out, member, short(member, lzf));
        out.extend_from_slice(&score.to_le_bytes());
    }
    At::Node(left.saturating_sub(MEMBERS_AT_ONCE) as u64)
}

fn slice_of_stream(
    stream: &Stream,
    at: At,
    out: &mut Vec<u8>,
    lzf: &mut Option<&mut Compressor>,
) -> At {
    match at {
        At::Node(number) => {
            let node = u32::try_from(number).ok().and_then(|number| stream.node(number));
            if let Some(node) = node {
                string(out, &id(node.id()), None);
                string(out, node.as_bytes(), short(node.as_bytes(), lzf));
                return At::Node(number + 1);
            }
            length(out, stream.len());
            for id in [stream.last_id, stream.first_id, stream.max_deleted_id] {
                length(out, id.ms);
                length(out, id.seq);
            }
            length(out, stream.entries_added);
            length(out, stream.groups().len() as u64);
            At::Group(0)
        }
        At::Group(number) => match stream.groups().iter().nth(number) {
            Some((name, it)) => {
                group(out, name, it);
                At::Group(number + 1)
            }
            None => At::Done,
        },
        _ => {
            length(out, stream.nodes().into());
            At::Node(0)
        }
    }
}

fn group(out: &mut Vec<u8>, name: &[u8], group: &Group) {
    string(out, name, None);
    length(out, group.last_id.ms);
    length(out, group.last_id.seq);
    length(out, group.entries_read.unwrap_or(-1).cast_unsigned());
    length(out, group.pending_len() as u64);
    group.visit_pending(StreamId::MIN, None, |pending| {
        out.extend_from_slice(&id(pending.id));
        out.extend_from_slice(&pending.delivered_ms.to_le_bytes());
        length(out, pending.deliveries);
        ControlFlow::Continue(())
    });
    length(out, group.consumers().len() as u64);
    for consumer in group.consumers() {
        string(out, &consumer.name, None);
        out.extend_from_slice(&consumer.seen_ms.to_le_bytes());
        length(out, consumer.pending_len() as u64);
        consumer.visit_pending(StreamId::MIN, |it| {
            out.extend_from_slice(&id(*it));
            ControlFlow::Continue(())
        });
    }
}

fn id(id: StreamId) -> [u8; 16] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&id.ms.to_be_bytes());
    bytes[8..].copy_from_slice(&id.seq.to_be_bytes());
    bytes
}

/// The compressor, for what is not longer than a chunk.
fn short<'l>(bytes: &[u8], lzf: &'l mut Option<&mut Compressor>) -> Option<&'l mut Compressor> {
    lzf.as_deref_mut().filter(|_| bytes.len() <= SNAPSHOT_CHUNK_BYTES)
}
