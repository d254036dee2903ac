//! Some entries of a stream in one listpack, byte by byte as Redis lays them out.
//!
//! ```text
//!   node    live | deleted | n | name 1 .. name n | 0 | entry ..
//!   entry   flags | ms | seq | [n | name 1 |] value 1 [| name 2 |] value 2 .. | elements of this entry
//!
//!   flags   1: deleted, yet still here    2: its names are the node's, and left out
//!   ms, seq what is to be added to the node's own ID, which is that of its first entry
//! ```
//!
//! The last element of an entry leads back to its first one. A deleted entry only has its mark: the
//! node goes when no live one is left.
//!
//! Trap: all but [`Node::validated`] trust the bytes.
//!
//! Not here: the order of nodes, and when one is full (`log.rs`).

use super::id::StreamId;
use crate::types::chain::Chunk;
use crate::types::packed::{self, Item, Items, Needle, Packed};
use std::ops::ControlFlow;

const DELETED: i64 = 1;
const SAME_NAMES: i64 = 2;

#[derive(Clone, Debug)]
pub struct Node {
    id: StreamId,
    live: u32,
    bytes: Vec<u8>,
}

/// An entry where it lies.
#[derive(Clone, Debug)]
pub struct Entry<'a> {
    pub id: StreamId,
    /// Fields, each with a name and a value.
    pub fields: usize,
    deleted: bool,
    /// Its flags.
    at: usize,
    /// The names, where they are the node's.
    names: Option<Items<'a>>,
    /// Its values, or names and values in turn.
    own: Items<'a>,
}

/// What a node begins with.
struct Head<'a> {
    live: i64,
    deleted: i64,
    fields: usize,
    names: Items<'a>,
    /// The offset of the first entry.
    entries: Option<usize>,
}

impl Chunk for Node {
    type Key = StreamId;

    fn key(&self) -> StreamId {
        self.id
    }

    #[inline]
    fn weight(&self) -> u64 {
        self.live.into()
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.bytes.capacity()
    }
}

impl Node {
    /// A node of one entry. `words`: names and values in turn.
    #[must_use]
    pub fn new(id: StreamId, words: &[&[u8]]) -> Self {
        let mut bytes = packed::empty();
        [0, 0].into_iter().for_each(|number| packed::push_int(&mut bytes, number));
        packed::push_int(&mut bytes, count(words.len() / 2));
        words.iter().step_by(2).for_each(|name| packed::push(&mut bytes, name));
        packed::push_int(&mut bytes, 0);
        let mut node = Self { id, live: 0, bytes };
        node.append(id, words);
        node
    }

    /// A node out of bytes from outside; `None`: they are none.
    #[must_use]
    pub fn validated(id: StreamId, bytes: Vec<u8>) -> Option<Self> {
        packed::validate(&bytes)?;
        let live = check(Packed::new(&bytes))?;
        Some(Self { id, live, bytes })
    }

    #[must_use]
    pub fn id(&self) -> StreamId {
        self.id
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The ID of the last entry, deleted or not.
    #[must_use]
    pub fn last_id(&self) -> StreamId {
        let mut last = self.id;
        let _ = self.visit_all_back(|entry| {
            last = entry.id;
            ControlFlow::Break(())
        });
        last
    }

    /// Live entries.
    #[must_use]
    pub fn live(&self) -> u32 {
        self.live
    }

    /// Entries, deleted ones included.
    #[must_use]
    pub fn entries(&self) -> usize {
        let head = self.head();
        usize::try_from(head.live + head.deleted).unwrap_or(usize::MAX)
    }

    /// Appends an entry behind all others.
    pub fn append(&mut self, id: StreamId, words: &[&[u8]]) {
        let fields = words.len() / 2;
        let head = self.head();
        let same = head.fields == fields
            && words.iter().step_by(2).zip(head.names).all(|(name, own)| own.is(Needle::new(name)));
        let live = head.live + 1;
        let first = Packed::new(&self.bytes).first().unwrap_or_default();
        packed::replace_item(&mut self.bytes, first, Item::Int(live));
        let mut put = |number| packed::push_int(&mut self.bytes, number);
        put(if same { SAME_NAMES } else { 0 });
        put(difference(id.ms, self.id.ms));
        put(difference(id.seq, self.id.seq));
        let elements = if same {
            words.iter().skip(1).step_by(2).for_each(|it| packed::push(&mut self.bytes, it));
            3 + fields
        } else {
            put(count(fields));
            words.iter().for_each(|it| packed::push(&mut self.bytes, it));
            4 + 2 * fields
        };
        packed::push_int(&mut self.bytes, count(elements));
        self.live += 1;
    }

    /// Gives memory back that appending would use: nothing more comes.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
    }

    /// Marks the entries as deleted for which `is_to_go` says so, from the first on until it says
    /// `Break`; how many.
    pub fn delete(&mut self, mut is_to_go: impl FnMut(StreamId) -> ControlFlow<(), bool>) -> u32 {
        let mut marks = Vec::new();
        self.visit_all(|entry| {
            if entry.deleted {
                return ControlFlow::Continue(());
            }
            match is_to_go(entry.id) {
                ControlFlow::Break(()) => return ControlFlow::Break(()),
                ControlFlow::Continue(true) => marks.push((entry.at, entry.names.is_some())),
                ControlFlow::Continue(false) => {}
            }
            ControlFlow::Continue(())
        });
        let deleted = u32::try_from(marks.len()).unwrap_or(u32::MAX);
        if deleted == 0 {
            return 0;
        }
        // Flags are one byte, before and after: no other offset moves.
        for (at, same) in marks {
            let flags = DELETED | if same { SAME_NAMES } else { 0 };
            packed::replace_item(&mut self.bytes, at, Item::Int(flags));
        }
        let head = self.head();
        let (live, gone) = (head.live - i64::from(deleted), head.deleted + i64::from(deleted));
        let first = Packed::new(&self.bytes).first().unwrap_or_default();
        let second = packed::replace_item(&mut self.bytes, first, Item::Int(live));
        packed::replace_item(&mut self.bytes, second, Item::Int(gone));
        self.live -= deleted;
        deleted
    }

    /// Live entries in order, or backwards, until `each` says `Break`.
    pub fn visit<'a>(
        &'a self,
        backwards: bool,
        mut each: impl FnMut(&mut Entry<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let mut live = |entry: &mut Entry<'a>| {
            if entry.deleted { ControlFlow::Continue(()) } else { each(entry) }
        };
        if backwards {
            self.visit_all_back(live)
        } else {
            let mut result = ControlFlow::Continue(());
            self.visit_all(|entry| {
                result = live(entry);
                result
            });
            result
        }
    }

    fn visit_all<'a>(&'a self, mut each: impl FnMut(&mut Entry<'a>) -> ControlFlow<()>) {
        let head = self.head();
        let mut at = head.entries;
        while let Some(start) = at {
            let Some(mut entry) = self.entry(&head, start) else { return };
            if each(&mut entry).is_break() {
                return;
            }
            at = entry.end();
        }
    }

    fn visit_all_back<'a>(
        &'a self,
        mut each: impl FnMut(&mut Entry<'a>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let (packed, head) = (Packed::new(&self.bytes), self.head());
        let mut last = packed.last();
        // The node's own head ends with a 0.
        while let Some(at) = last
            && let Some(mut elements @ 1..) = packed.get(at).int()
        {
            let mut start = at;
            while elements > 0
                && let Some(before) = packed.previous(start)
            {
                (start, elements) = (before, elements - 1);
            }
            let Some(mut entry) = self.entry(&head, start) else { break };
            each(&mut entry)?;
            last = packed.previous(start);
        }
        ControlFlow::Continue(())
    }

    fn head(&self) -> Head<'_> {
        let mut items = Packed::new(&self.bytes).iter();
        let mut number = || items.next().and_then(Item::int).unwrap_or(0);
        let (live, deleted) = (number(), number());
        let fields = usize::try_from(number()).unwrap_or(0);
        let names = items.clone();
        let entries = items.nth_offset(fields + 1);
        Head { live, deleted, fields, names, entries }
    }

    /// The entry whose flags are at `at`.
    fn entry<'a>(&'a self, head: &Head<'a>, at: usize) -> Option<Entry<'a>> {
        let mut own = Packed::new(&self.bytes).iter_from(Some(at));
        let mut number = || own.next().and_then(Item::int);
        let (flags, ms, seq) = (number()?, number()?, number()?);
        let id = StreamId {
            ms: self.id.ms.wrapping_add_signed(ms),
            seq: self.id.seq.wrapping_add_signed(seq),
        };
        let same = flags & SAME_NAMES != 0;
        let fields = if same { head.fields } else { usize::try_from(number()?).ok()? };
        let names = same.then(|| head.names.clone());
        Some(Entry { id, fields, deleted: flags & DELETED != 0, at, names, own })
    }
}

impl<'a> Entry<'a> {
    /// Its names and values; once.
    pub fn words(&mut self, mut each: impl FnMut(Item<'a>, Item<'a>)) {
        for _ in 0..std::mem::take(&mut self.fields) {
            let name = match &mut self.names {
                Some(names) => names.next(),
                None => self.own.next(),
            };
            if let (Some(name), Some(value)) = (name, self.own.next()) {
                each(name, value);
            }
        }
    }

    /// The offset of the entry behind.
    fn end(mut self) -> Option<usize> {
        let left = self.fields * if self.names.is_some() { 1 } else { 2 };
        self.own.nth_offset(left + 1)
    }
}

/// What is added to one number to make it the other; IDs only grow, but not in both parts.
fn difference(a: u64, b: u64) -> i64 {
    a.wrapping_sub(b).cast_signed()
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Does a listpack from outside hold what a node has to? Its live entries.
fn check(packed: Packed<'_>) -> Option<u32> {
    let mut items = packed.iter();
    let live = items.next()?.int()?;
    let deleted = items.next()?.int()?;
    let fields = usize::try_from(items.next()?.int()?).ok()?;
    let skip =
        |items: &mut Items<'_>, count: usize| (0..count).try_for_each(|_| items.next().map(drop));
    skip(&mut items, fields)?;
    if items.next()?.int()? != 0 {
        return None;
    }
    let (mut found_live, mut found) = (0_i64, 0_i64);
    while let Some(item) = items.next() {
        let flags = item.int()?;
        items.next()?.int()?;
        items.next()?.int()?;
        let (own, words) = if flags & SAME_NAMES == 0 {
            let fields = usize::try_from(items.next()?.int()?).ok()?;
            (fields.checked_mul(2)?, 4)
        } else {
            (fields, 3)
        };
        skip(&mut items, own)?;
        if items.next()?.int()? != count(own.checked_add(words)?) {
            return None;
        }
        found += 1;
        found_live += i64::from(flags & DELETED == 0);
    }
    let all_told = live.checked_add(deleted)? == found && live == found_live;
    all_told.then(|| u32::try_from(live).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(ms: u64, seq: u64) -> StreamId {
        StreamId { ms, seq }
    }

    fn all(node: &Node, backwards: bool) -> Vec<(StreamId, Vec<String>)> {
        let mut all = Vec::new();
        let _ = node.visit(backwards, |entry| {
            let mut words = Vec::new();
            let id = entry.id;
            entry.words(|name, value| {
                words
                    .extend([name, value].map(|it| String::from_utf8(it.text().to_vec()).unwrap()));
            });
            all.push((id, words));
            ControlFlow::Continue(())
        });
        all
    }

    #[test]
    fn entries_are_kept_with_and_without_names_of_their_own() {
        let words: [&[&[u8]]; 4] = [
            &[b"a", b"1", b"b", b"x"],
            &[b"a", b"-200", b"b", b""],
            &[b"b", b"1", b"a", b"1"],
            &[b"a", b"1"],
        ];
        let ids = [id(5, 9), id(6, 0), id(u64::MAX, 3), id(u64::MAX, u64::MAX)];
        let mut node = Node::new(ids[0], words[0]);
        (1..4).for_each(|at| node.append(ids[at], words[at]));
        let mut expected: Vec<(StreamId, Vec<String>)> = (0..4)
            .map(|at| {
                let words = words[at].iter();
                (ids[at], words.map(|it| String::from_utf8(it.to_vec()).unwrap()).collect())
            })
            .collect();
        for _ in 0..3 {
            let live = u32::try_from(expected.len()).unwrap();
            assert_eq!((node.live(), node.entries()), (live, 4));
            let same = Node::validated(node.id(), node.as_bytes().to_vec()).unwrap();
            assert_eq!(all(&same, false), expected);
            let mut back = all(&node, true);
            back.reverse();
            assert_eq!(back, expected);
            let gone = expected.remove(expected.len() / 2).0;
            assert_eq!(node.delete(|id| ControlFlow::Continue(id == gone)), 1);
            assert_eq!(node.delete(|id| ControlFlow::Continue(id == gone)), 0);
        }
    }

    /// The bytes of a DUMP of redis-server 7.0.15: XADD s 1-1 a 1, XADD s 1-2 a 2, XADD s 2-0 b 3.
    #[test]
    fn bytes_are_those_of_redis() {
        let mut node = Node::new(id(1, 1), &[b"a", b"1"]);
        node.append(id(1, 2), &[b"a", b"2"]);
        node.append(id(2, 0), &[b"b", b"3"]);
        assert_eq!(node.as_bytes(), DUMPED);
    }

    #[rustfmt::skip] // As dumped.
    const DUMPED: &[u8] = &[
        0x36, 0x00, 0x00, 0x00, 0x16, 0x00, 0x03, 0x01, 0x00, 0x01, 0x01, 0x01, 0x81, 0x61, 0x02,
        0x00, 0x01, 0x02, 0x01, 0x00, 0x01, 0x00, 0x01, 0x01, 0x01, 0x04, 0x01, 0x02, 0x01, 0x00,
        0x01, 0x01, 0x01, 0x02, 0x01, 0x04, 0x01, 0x00, 0x01, 0x01, 0x01, 0xdf, 0xff, 0x02, 0x01,
        0x01, 0x81, 0x62, 0x02, 0x03, 0x01, 0x06, 0x01, 0xff,
    ];

    #[test]
    fn nothing_foreign_is_taken_unless_whole() {
        let mut node = Node::new(id(1, 1), &[b"a", b"1", b"b", b"2"]);
        node.append(id(1, 2), &[b"c", b"2"]);
        node.append(id(1, 3), &[b"a", b"3", b"b", b"4"]);
        let bytes = node.as_bytes();
        for at in 6..bytes.len() - 1 {
            for change in 1..=255 {
                let mut other = bytes.to_vec();
                other[at] ^= change;
                if let Some(node) = Node::validated(id(1, 1), other) {
                    for backwards in [false, true] {
                        let (mut live, mut words) = (0, 0);
                        let _ = node.visit(backwards, |entry| {
                            live += 1;
                            entry.words(|name, value| words += name.text_len() + value.text_len());
                            ControlFlow::Continue(())
                        });
                        assert!(live == node.live() && words < 60, "{at} {change}");
                    }
                }
            }
        }
    }
}
