//! Records as commands that make them again: an append-only file's base for who wants no RDB in it.
//!
//! ```text
//!   string  SET key value                      set     SADD key member ..
//!   list    RPUSH key element ..               hash    HMSET key field value ..
//!   sorted set  ZADD key score member ..       stream  XADD .. XSETID, then its groups
//!   and PEXPIREAT key ms where it expires
//! ```
//!
//! As Redis writes them, some elements a command, so that a large value takes many short steps here and when
//! it is loaded. As in Redis a pending entry that is not in its stream any more gets lost, and a consumer
//! forgets when it was seen: no command says so.
//!
//! Not here: SELECT before each chunk, and when a chunk is full (`cut.rs`).

use crate::base::limits::SNAPSHOT_CHUNK_BYTES;
use crate::base::num::{write_g17, write_i64};
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

/// Elements in one command (Redis: 64).
const ELEMENTS_MAX: usize = 64;

/// One command.
pub fn request(out: &mut Vec<u8>, words: &[&[u8]]) {
    let mut request = Request::default();
    words.iter().for_each(|word| request.word(word));
    request.end(out);
}

/// A string with its key and expiry.
pub fn string(out: &mut Vec<u8>, key: &[u8], value: &[u8], expiry_ms: Option<u64>) {
    request(out, &[b"SET", key, value]);
    expiry(out, key, expiry_ms);
}

/// A packed collection with its key and expiry.
pub fn packed(
    out: &mut Vec<u8>,
    key: &[u8],
    encoding: Encoding,
    bytes: &[u8],
    expiry_ms: Option<u64>,
) {
    let list = Packed::new(bytes);
    match encoding {
        Encoding::PackedList => elements(out, b"RPUSH", key, list),
        Encoding::PackedSet => elements(out, b"SADD", key, list),
        Encoding::IntSet => {
            let mut many = Many::new(b"SADD", key);
            for number in IntSet::new(bytes).iter() {
                let mut digits = Vec::new();
                write_i64(&mut digits, number);
                many.add(out, &[&digits]);
            }
            many.end(out);
        }
        Encoding::PackedHash => {
            let mut many = Many::new(b"HMSET", key);
            for (field, value) in list.pairs() {
                many.add(out, &[&field.text(), &value.text()]);
            }
            many.end(out);
        }
        Encoding::PackedZSet => {
            let mut many = Many::new(b"ZADD", key);
            for (member, score) in list.pairs() {
                many.add(out, &[&score.text(), &member.text()]);
            }
            many.end(out);
        }
        _ => return,
    }
    expiry(out, key, expiry_ms);
}

fn elements(out: &mut Vec<u8>, name: &'static [u8], key: &[u8], list: Packed<'_>) {
    let mut many = Many::new(name, key);
    for item in list.iter() {
        many.add(out, &[&item.text()]);
    }
    many.end(out);
}

fn expiry(out: &mut Vec<u8>, key: &[u8], expiry_ms: Option<u64>) {
    if let Some(at) = expiry_ms {
        request(out, &[b"PEXPIREAT", key, at.to_string().as_bytes()]);
    }
}

/// A large collection that is being written.
#[derive(Debug)]
pub struct Slices {
    key: Vec<u8>,
    object: Object,
    expiry_ms: Option<u64>,
    at: At,
}

#[derive(Clone, Copy, Debug)]
enum At {
    /// A node of a list or a stream, where a dict goes on, how many members of a sorted set are left.
    Node(u64),
    /// A consumer group.
    Group(usize),
    Expiry,
    Done,
}

impl Slices {
    #[must_use]
    pub fn new(key: &[u8], object: Object, expiry_ms: Option<u64>) -> Self {
        let at = match &object {
            Object::ZSet(ranked) => At::Node(ranked.len() as u64),
            _ => At::Node(0),
        };
        Self { key: key.to_vec(), object, expiry_ms, at }
    }

    /// Appends the next commands, about a chunk of them; true: these were the last.
    pub fn write(&mut self, out: &mut Vec<u8>) -> bool {
        let end = out.len() + SNAPSHOT_CHUNK_BYTES;
        while out.len() < end && !matches!(self.at, At::Done) {
            let key = &self.key[..];
            self.at = match (self.at, &self.object) {
                (At::Expiry | At::Done, _) => {
                    expiry(out, key, self.expiry_ms);
                    At::Done
                }
                (At::Node(node), Object::List(list)) => {
                    match u32::try_from(node).ok().and_then(|node| list.pack(node)) {
                        Some(pack) => {
                            elements(out, b"RPUSH", key, Packed::new(pack));
                            At::Node(node + 1)
                        }
                        None => At::Expiry,
                    }
                }
                (At::Node(from), Object::Set(dict)) => slice_of_dict(out, key, dict, false, from),
                (At::Node(from), Object::Hash(dict)) => slice_of_dict(out, key, dict, true, from),
                (At::Node(left), Object::ZSet(ranked)) => slice_of_ranked(out, key, ranked, left),
                (At::Node(node), Object::Stream(stream)) => slice_of_stream(out, key, stream, node),
                (At::Group(number), Object::Stream(stream)) => {
                    match stream.groups().iter().nth(number) {
                        Some((name, it)) => {
                            group(out, key, name, it);
                            At::Group(number + 1)
                        }
                        None => At::Expiry,
                    }
                }
                (At::Group(_), _) => At::Expiry,
            };
        }
        matches!(self.at, At::Done)
    }
}

fn slice_of_dict(out: &mut Vec<u8>, key: &[u8], dict: &Dict, values: bool, from: u64) -> At {
    let mut many = Many::new(if values { b"HMSET" } else { b"SADD" }, key);
    let next = dict.scan(from, &mut |member, value| {
        let words = [member, value];
        many.add(out, if values { &words } else { &words[..1] });
    });
    many.end(out);
    next.map_or(At::Expiry, At::Node)
}

fn slice_of_ranked(out: &mut Vec<u8>, key: &[u8], ranked: &Ranked, left: u64) -> At {
    let left = usize::try_from(left).unwrap_or(0);
    let Some(last) = left.checked_sub(1) else { return At::Expiry };
    let mut many = Many::new(b"ZADD", key);
    for (member, score) in ranked.iter_back_from(last).take(ELEMENTS_MAX) {
        let mut text = Vec::new();
        write_g17(&mut text, score);
        many.add(out, &[&text, member]);
    }
    many.end(out);
    At::Node(left.saturating_sub(ELEMENTS_MAX) as u64)
}

fn slice_of_stream(out: &mut Vec<u8>, key: &[u8], stream: &Stream, number: u64) -> At {
    if let Some(node) = u32::try_from(number).ok().and_then(|number| stream.node(number)) {
        // It ends by itself: nothing breaks it off.
        let _ = node.visit(false, |entry| {
            let mut add = Request::default();
            add.word(b"XADD");
            add.word(key);
            add.word(entry.id.text().as_bytes());
            entry.words(|name, value| {
                add.word(&name.text());
                add.word(&value.text());
            });
            add.end(out);
            ControlFlow::Continue(())
        });
        return At::Node(number + 1);
    }
    if stream.is_empty() {
        // A stream without entries is made by an entry that does not stay.
        request(out, &[b"XADD", key, b"MAXLEN", b"0", b"0-1", b"x", b"y"]);
    }
    let (last, deleted) = (stream.last_id.text(), stream.max_deleted_id.text());
    let added = stream.entries_added.to_string();
    let (last, added, deleted) = (last.as_bytes(), added.as_bytes(), deleted.as_bytes());
    request(out, &[b"XSETID", key, last, b"ENTRIESADDED", added, b"MAXDELETEDID", deleted]);
    At::Group(0)
}

fn group(out: &mut Vec<u8>, key: &[u8], name: &[u8], group: &Group) {
    let last = group.last_id.text();
    let read = group.entries_read.unwrap_or(-1).to_string();
    let (last, read) = (last.as_bytes(), read.as_bytes());
    request(out, &[b"XGROUP", b"CREATE", key, name, last, b"ENTRIESREAD", read]);
    for consumer in group.consumers() {
        request(out, &[b"XGROUP", b"CREATECONSUMER", key, name, &consumer.name]);
        consumer.visit_pending(StreamId::MIN, |id| {
            if let Some(pending) = group.pending(*id) {
                let id = id.text();
                let (time, count) =
                    (pending.delivered_ms.to_string(), pending.deliveries.to_string());
                let options: [&[u8]; 6] = [
                    b"TIME",
                    time.as_bytes(),
                    b"RETRYCOUNT",
                    count.as_bytes(),
                    b"JUSTID",
                    b"FORCE",
                ];
                let claim: [&[u8]; 6] = [b"XCLAIM", key, name, &consumer.name, b"0", id.as_bytes()];
                request(out, &[claim, options].concat());
            }
            ControlFlow::Continue(())
        });
    }
}

/// A request whose number of words is known only at its end.
#[derive(Default)]
struct Request {
    words: usize,
    bytes: Vec<u8>,
}

impl Request {
    fn word(&mut self, word: &[u8]) {
        self.words += 1;
        self.bytes.push(b'$');
        self.bytes.extend_from_slice(word.len().to_string().as_bytes());
        self.bytes.extend_from_slice(b"\r\n");
        self.bytes.extend_from_slice(word);
        self.bytes.extend_from_slice(b"\r\n");
    }

    fn end(self, out: &mut Vec<u8>) {
        out.push(b'*');
        out.extend_from_slice(self.words.to_string().as_bytes());
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.bytes);
    }
}

/// Elements of one key, some in each command.
struct Many<'k> {
    name: &'static [u8],
    key: &'k [u8],
    request: Request,
    elements: usize,
}

impl<'k> Many<'k> {
    fn new(name: &'static [u8], key: &'k [u8]) -> Self {
        Self { name, key, request: Request::default(), elements: 0 }
    }

    /// An element: a word, or two.
    fn add(&mut self, out: &mut Vec<u8>, words: &[&[u8]]) {
        if self.elements == 0 {
            self.request.word(self.name);
            self.request.word(self.key);
        }
        words.iter().for_each(|word| self.request.word(word));
        self.elements += 1;
        if self.elements == ELEMENTS_MAX {
            self.flush(out);
        }
    }

    fn end(mut self, out: &mut Vec<u8>) {
        if self.elements > 0 {
            self.flush(out);
        }
    }

    fn flush(&mut self, out: &mut Vec<u8>) {
        self.elements = 0;
        std::mem::take(&mut self.request).end(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::packed;

    fn text(bytes: &[u8]) -> String {
        let text = String::from_utf8_lossy(bytes).replace("\r\n", " ");
        text.split(' ').filter(|it| !it.starts_with('$')).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn elements_come_some_a_command() {
        let mut list = packed::empty();
        (0..130).for_each(|n| packed::push(&mut list, format!("e{n}").as_bytes()));
        let mut out = Vec::new();
        packed(&mut out, b"k", Encoding::PackedList, &list, Some(7));
        let text = text(&out);
        assert!(text.starts_with("*66 RPUSH k e0 e1 ") && text.contains(" e63 *66 RPUSH k e64 "));
        assert!(text.ends_with(" e127 *4 RPUSH k e128 e129 *3 PEXPIREAT k 7 "), "{text}");
    }

    #[test]
    fn pairs_stay_together_and_scores_go_first() {
        let mut list = packed::empty();
        ["a", "1.5", "b", "2"].iter().for_each(|it| packed::push(&mut list, it.as_bytes()));
        let mut out = Vec::new();
        packed(&mut out, b"z", Encoding::PackedZSet, &list, None);
        packed(&mut out, b"h", Encoding::PackedHash, &list, None);
        assert_eq!(text(&out), "*6 ZADD z 1.5 a 2 b *6 HMSET h a 1.5 b 2 ");
    }
}
