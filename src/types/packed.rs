//! Small collections as Redis' listpack: one run of bytes, the same in memory, in RDB files and in
//! DUMP payloads.
//!
//! ```text
//!   <all bytes, u32 LE> <elements, u16 LE; 65535: count them> element .. element FF
//!
//!   element   head, data, and the length of both again, to be read from its end
//!   0nnnnnnn                      0..127               11110001 + i16    11110010 + i24
//!   110nnnnn nnnnnnnn             13 bits, signed      11110011 + i32    11110100 + i64    (LE)
//!   10llllll                      string of up to 63 bytes
//!   1110llll llllllll             of up to 4,095
//!   11110000 <u32 LE>             longer
//!
//!   backward length   7 bits a byte, most significant first, all but the first with the top bit set
//! ```
//!
//! A string that is the canonical text of a 64-bit integer is kept as that integer, as Redis does, so
//! equal values are equal bytes. An element is named by its offset; any edit makes later offsets stale.
//!
//! Trap: all but [`validate`] trust the bytes. Whatever comes from outside goes through it first, once.
//!
//! Not here: which element means what (fields and values, scores, stream entries), and when a
//! collection is too large for this.

use crate::base::num::{Digits, parse_i64};

/// Offset of the first element.
const HEADER: usize = 6;
const END: u8 = 0xff;
/// A count of so many elements is not kept.
const UNCOUNTED: usize = 65_535;

/// An element as it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    Bytes(&'a [u8]),
    Int(i64),
}

/// An element as text.
pub enum Text<'a> {
    Bytes(&'a [u8]),
    Digits(Digits),
}

/// What is looked for: its bytes, and the integer that they spell.
#[derive(Clone, Copy, Debug)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    int: Option<i64>,
}

/// A listpack to be read.
#[derive(Clone, Copy, Debug)]
pub struct Packed<'a> {
    bytes: &'a [u8],
}

/// Elements in either direction.
#[derive(Clone, Debug)]
pub struct Items<'a> {
    packed: Packed<'a>,
    at: Option<usize>,
    backwards: bool,
}

impl std::ops::Deref for Text<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Digits(digits) => digits.as_bytes(),
        }
    }
}

impl<'a> Item<'a> {
    /// How `bytes` are kept.
    #[must_use]
    pub fn of(bytes: &'a [u8]) -> Self {
        parse_i64(bytes).map_or(Self::Bytes(bytes), Self::Int)
    }

    #[inline]
    #[must_use]
    pub fn text(self) -> Text<'a> {
        match self {
            Self::Bytes(bytes) => Text::Bytes(bytes),
            Self::Int(number) => Text::Digits(Digits::new(number)),
        }
    }

    /// The number that it is, or whose canonical text it is.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        match self {
            // Kept as a string, it is none: only foreign bytes could be otherwise.
            Self::Bytes(bytes) => parse_i64(bytes),
            Self::Int(number) => Some(number),
        }
    }

    #[inline]
    #[must_use]
    pub fn is(self, needle: Needle<'_>) -> bool {
        match self {
            Self::Bytes(bytes) => bytes == needle.bytes,
            Self::Int(number) => needle.int == Some(number),
        }
    }

    /// Bytes of its text.
    #[must_use]
    pub fn text_len(self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Int(number) => Digits::new(number).as_bytes().len(),
        }
    }
}

impl<'a> Needle<'a> {
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, int: parse_i64(bytes) }
    }
}

impl<'a> Packed<'a> {
    #[inline]
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Elements; walks them where there are 65,535 or more.
    #[must_use]
    pub fn len(self) -> usize {
        match usize::from(u16::from_le_bytes([self.bytes[4], self.bytes[5]])) {
            UNCOUNTED => self.iter().count(),
            count => count,
        }
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.bytes[HEADER] == END
    }

    /// Offset of the first element.
    #[inline]
    #[must_use]
    pub fn first(self) -> Option<usize> {
        (!self.is_empty()).then_some(HEADER)
    }

    #[must_use]
    pub fn last(self) -> Option<usize> {
        self.previous(self.end())
    }

    /// Offset of the end mark: where something is appended.
    #[must_use]
    pub fn end(self) -> usize {
        self.bytes.len() - 1
    }

    #[inline]
    #[must_use]
    pub fn get(self, at: usize) -> Item<'a> {
        decode(&self.bytes[at..]).0
    }

    #[inline]
    #[must_use]
    pub fn next(self, at: usize) -> Option<usize> {
        let next = self.after(at);
        (self.bytes[next] != END).then_some(next)
    }

    #[must_use]
    pub fn previous(self, at: usize) -> Option<usize> {
        if at == HEADER {
            return None;
        }
        let (mut len, mut shift, mut back) = (0, 0, at - 1);
        while self.bytes[back] & 0x80 != 0 {
            len |= usize::from(self.bytes[back] & 0x7f) << shift;
            (shift, back) = (shift + 7, back - 1);
        }
        len |= usize::from(self.bytes[back]) << shift;
        Some(back - len)
    }

    /// The element of this index; from the end, with -1 for the last one, where it is negative.
    #[must_use]
    pub fn seek(self, index: i64) -> Option<usize> {
        let steps = usize::try_from(if index < 0 { -1 - index } else { index }).ok()?;
        let mut items = if index < 0 { self.iter_back() } else { self.iter() };
        items.nth_offset(steps)
    }

    /// The first element from offset `from` on that is `needle`, looking at each `stride`-th one.
    #[must_use]
    pub fn find(self, from: Option<usize>, needle: Needle<'_>, stride: usize) -> Option<usize> {
        let mut at = from?;
        while self.bytes[at] != END {
            let (item, size) = decode(&self.bytes[at..]);
            if item.is(needle) {
                return Some(at);
            }
            at += size + backward_bytes(size);
            for _ in 1..stride {
                if self.bytes[at] == END {
                    return None;
                }
                at = self.after(at);
            }
        }
        None
    }

    /// In a listpack of fields and values, the value's offset.
    #[inline]
    #[must_use]
    pub fn find_value(self, field: &[u8]) -> Option<usize> {
        self.find(self.first(), Needle::new(field), 2).and_then(|at| self.next(at))
    }

    #[must_use]
    pub fn iter(self) -> Items<'a> {
        self.iter_from(self.first())
    }

    #[must_use]
    pub fn iter_from(self, at: Option<usize>) -> Items<'a> {
        Items { packed: self, at, backwards: false }
    }

    #[must_use]
    pub fn iter_back(self) -> Items<'a> {
        Items { packed: self, at: self.last(), backwards: true }
    }

    #[must_use]
    pub fn iter_back_from(self, at: Option<usize>) -> Items<'a> {
        Items { packed: self, at, backwards: true }
    }

    /// Elements two by two: fields and values, members and scores.
    pub fn pairs(self) -> impl Iterator<Item = (Item<'a>, Item<'a>)> {
        let mut items = self.iter();
        std::iter::from_fn(move || Some((items.next()?, items.next()?)))
    }

    /// The offset behind an element: the next one's, or the end mark's.
    #[inline]
    #[must_use]
    pub fn after(self, at: usize) -> usize {
        let (_, size) = decode(&self.bytes[at..]);
        at + size + backward_bytes(size)
    }
}

impl Items<'_> {
    /// Passes over `steps` elements; the offset of the one after them.
    pub fn nth_offset(&mut self, steps: usize) -> Option<usize> {
        for _ in 0..steps {
            self.next()?;
        }
        self.at
    }

    /// The offset of the element that comes next.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.at
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Item<'a>;

    #[inline]
    fn next(&mut self) -> Option<Item<'a>> {
        let at = self.at?;
        let (item, size) = decode(&self.packed.bytes[at..]);
        self.at = if self.backwards {
            self.packed.previous(at)
        } else {
            let next = at + size + backward_bytes(size);
            (self.packed.bytes[next] != END).then_some(next)
        };
        Some(item)
    }
}

/// A listpack without elements.
#[must_use]
pub fn empty() -> Vec<u8> {
    vec![7, 0, 0, 0, 0, 0, END]
}

/// Appends text.
pub fn push(list: &mut Vec<u8>, text: &[u8]) {
    insert(list, list.len() - 1, text);
}

/// Appends a number.
pub fn push_int(list: &mut Vec<u8>, number: i64) {
    insert_item(list, list.len() - 1, Item::Int(number));
}

/// Inserts text before the element at `at`, or at the end; the offset behind it.
pub fn insert(list: &mut Vec<u8>, at: usize, text: &[u8]) -> usize {
    insert_item(list, at, Item::of(text))
}

pub fn insert_item(list: &mut Vec<u8>, at: usize, item: Item<'_>) -> usize {
    let size = splice(list, at, 0, Some(item));
    set_header(list, 1);
    at + size
}

/// Writes text over the element at `at`; the offset behind it.
pub fn replace(list: &mut Vec<u8>, at: usize, text: &[u8]) -> usize {
    replace_item(list, at, Item::of(text))
}

pub fn replace_item(list: &mut Vec<u8>, at: usize, item: Item<'_>) -> usize {
    let old = Packed::new(list).after(at) - at;
    let size = splice(list, at, old, Some(item));
    set_header(list, 0);
    at + size
}

/// Takes `count` elements out from `at` on, or as many as there are.
pub fn remove(list: &mut Vec<u8>, at: usize, count: usize) {
    let (mut end, mut removed) = (at, 0);
    while removed < count && list[end] != END {
        end = Packed::new(list).after(end);
        removed += 1;
    }
    splice(list, at, end - at, None);
    set_header(list, -i64::try_from(removed).unwrap_or(0));
}

/// Appends the elements of another listpack.
pub fn append(list: &mut Vec<u8>, other: &[u8]) {
    let more = Packed::new(other).len();
    list.pop();
    list.extend_from_slice(&other[HEADER..]);
    set_header(list, i64::try_from(more).unwrap_or(i64::MAX));
}

/// Bytes that an element of this text takes.
#[must_use]
pub fn element_bytes(text: &[u8]) -> usize {
    let mut head = [0; 9];
    let item = Item::of(text);
    let size = encode_head(item, &mut head) + if let Item::Bytes(it) = item { it.len() } else { 0 };
    size + backward_bytes(size)
}

/// Is this a listpack from its first byte to its last? The number of its elements if so. For bytes
/// from outside: whatever they are, nothing is read past their end.
#[must_use]
pub fn validate(bytes: &[u8]) -> Option<usize> {
    let (header, _) = bytes.split_first_chunk::<HEADER>()?;
    let [a, b, c, d, low, high] = *header;
    if usize::try_from(u32::from_le_bytes([a, b, c, d])) != Ok(bytes.len()) {
        return None;
    }
    let (mut at, mut count) = (HEADER, 0_usize);
    while *bytes.get(at)? != END {
        let size = size_checked(bytes.get(at..)?)?;
        let back_at = at.checked_add(size)?;
        let mut back = [0; 5];
        let len = encode_backward(size, &mut back);
        if bytes.get(back_at..back_at.checked_add(len)?)? != &back[..len] {
            return None;
        }
        at = back_at + len;
        count += 1;
    }
    let told = usize::from(u16::from_le_bytes([low, high]));
    (at + 1 == bytes.len() && (told == UNCOUNTED || told == count)).then_some(count)
}

/// Head and data of the element that begins here, if all of it is here.
fn size_checked(bytes: &[u8]) -> Option<usize> {
    let size = match *bytes.first()? {
        0..0x80 => 1,
        head @ 0x80..0xc0 => 1 + usize::from(head & 0x3f),
        0xc0..0xe0 => 2,
        head @ 0xe0..=0xef => 2 + (usize::from(head & 0x0f) << 8 | usize::from(*bytes.get(1)?)),
        0xf0 => {
            let len = bytes.get(1..5)?.first_chunk().copied().map(u32::from_le_bytes)?;
            usize::try_from(len).ok()?.checked_add(5)?
        }
        0xf1 => 3,
        0xf2 => 4,
        0xf3 => 5,
        0xf4 => 9,
        _ => return None,
    };
    (size <= bytes.len()).then_some(size)
}

/// The element that begins here, and the bytes of its head and data.
#[inline]
fn decode(bytes: &[u8]) -> (Item<'_>, usize) {
    let signed = |bytes: &[u8]| {
        let mut wide = [if bytes[bytes.len() - 1] & 0x80 == 0 { 0 } else { 0xff }; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        Item::Int(i64::from_le_bytes(wide))
    };
    let string = |head: usize, len: usize| (Item::Bytes(&bytes[head..head + len]), head + len);
    match bytes[0] {
        head @ 0..0x80 => (Item::Int(i64::from(head)), 1),
        head @ 0x80..0xc0 => string(1, usize::from(head & 0x3f)),
        head @ 0xc0..0xe0 => {
            let number = i64::from(head & 0x1f) << 8 | i64::from(bytes[1]);
            (Item::Int(if number < 1 << 12 { number } else { number - (1 << 13) }), 2)
        }
        head @ 0xe0..=0xef => string(2, usize::from(head & 0x0f) << 8 | usize::from(bytes[1])),
        0xf1 => (signed(&bytes[1..3]), 3),
        0xf2 => (signed(&bytes[1..4]), 4),
        0xf3 => (signed(&bytes[1..5]), 5),
        0xf4 => (signed(&bytes[1..9]), 9),
        _ => string(5, u32::from_le_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize),
    }
}

/// Writes all of an element but a string's own bytes and the backward length; how many bytes.
#[expect(clippy::cast_possible_truncation, reason = "each arm's range says that it fits")]
fn encode_head(item: Item<'_>, out: &mut [u8; 9]) -> usize {
    let number = match item {
        Item::Int(number) => number,
        Item::Bytes(bytes) => {
            return match bytes.len() {
                len @ 0..64 => {
                    out[0] = 0x80 | len as u8;
                    1
                }
                len @ 64..4_096 => {
                    (out[0], out[1]) = (0xe0 | (len >> 8) as u8, len as u8);
                    2
                }
                len => {
                    out[0] = 0xf0;
                    out[1..5].copy_from_slice(&(len as u32).to_le_bytes());
                    5
                }
            };
        }
    };
    let (head, len) = match number {
        0..128 => {
            out[0] = number as u8;
            return 1;
        }
        -4_096..4_096 => {
            (out[0], out[1]) = (0xc0 | (number >> 8) as u8 & 0x1f, number as u8);
            return 2;
        }
        -0x8000..0x8000 => (0xf1, 2),
        -0x80_0000..0x80_0000 => (0xf2, 3),
        -0x8000_0000..0x8000_0000 => (0xf3, 4),
        _ => (0xf4, 8),
    };
    out[0] = head;
    out[1..=len].copy_from_slice(&number.to_le_bytes()[..len]);
    1 + len
}

/// Bytes of the backward length of `size` bytes; the odd borders are Redis'.
#[inline]
fn backward_bytes(size: usize) -> usize {
    match size {
        0..128 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

fn encode_backward(size: usize, out: &mut [u8; 5]) -> usize {
    let len = backward_bytes(size);
    for (at, byte) in out[..len].iter_mut().enumerate() {
        let bits = size >> (7 * (len - 1 - at)) & 0x7f;
        #[expect(clippy::cast_possible_truncation, reason = "seven bits")]
        {
            *byte = bits as u8 | if at == 0 { 0 } else { 0x80 };
        }
    }
    len
}

/// Puts an element in the place of `old` bytes at `at`; how many bytes it takes.
fn splice(list: &mut Vec<u8>, at: usize, old: usize, item: Option<Item<'_>>) -> usize {
    let (mut head, mut back) = ([0; 9], [0; 5]);
    let (mut head_len, mut back_len, mut data) = (0, 0, &b""[..]);
    if let Some(item) = item {
        head_len = encode_head(item, &mut head);
        if let Item::Bytes(bytes) = item {
            data = bytes;
        }
        back_len = encode_backward(head_len + data.len(), &mut back);
    }
    let new = head_len + data.len() + back_len;
    let (tail, len) = (at + old, list.len());
    if new > old {
        reserve(list, new - old);
        list.resize(len + new - old, 0);
    }
    list.copy_within(tail..len, at + new);
    list.truncate(len + new - old);
    list[at..at + head_len].copy_from_slice(&head[..head_len]);
    list[at + head_len..][..data.len()].copy_from_slice(data);
    list[at + new - back_len..at + new].copy_from_slice(&back[..back_len]);
    new
}

/// Room for more without doubling: a listpack is short, and what it does not use is lost.
fn reserve(list: &mut Vec<u8>, more: usize) {
    if list.capacity() - list.len() < more {
        list.reserve_exact(more + list.len() / 8);
    }
}

fn set_header(list: &mut [u8], change: i64) {
    let bytes = u32::try_from(list.len()).unwrap_or(u32::MAX);
    assert!(bytes < u32::MAX, "a listpack is far smaller than 4 GiB");
    list[..4].copy_from_slice(&bytes.to_le_bytes());
    let count = usize::from(u16::from_le_bytes([list[4], list[5]]));
    let count = if count == UNCOUNTED {
        // It may have come to where it can be told again; empty it surely has.
        if list[HEADER] == END { 0 } else { UNCOUNTED }
    } else {
        let count = i64::try_from(count).unwrap_or(0).saturating_add(change);
        usize::try_from(count).unwrap_or(0).min(UNCOUNTED)
    };
    list[4..6].copy_from_slice(&u16::try_from(count).unwrap_or(u16::MAX).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn texts(list: &[u8]) -> Vec<Vec<u8>> {
        Packed::new(list).iter().map(|item| item.text().to_vec()).collect()
    }

    /// Bytes that redis-server 7.0.15 wrote: DUMP of a hash of one field and value each.
    #[test]
    fn bytes_are_those_of_redis() {
        let check = |value: &[u8], element: &[u8]| {
            let mut list = empty();
            push(&mut list, b"f");
            push(&mut list, value);
            let mut expected = vec![0, 0, 0, 0, 2, 0, 0x81, b'f', 2];
            expected.extend_from_slice(element);
            expected.push(END);
            expected[0] = u8::try_from(expected.len()).unwrap();
            assert_eq!(list, expected, "{}", value.escape_ascii());
            assert_eq!(validate(&list), Some(2));
            assert_eq!(texts(&list), [&b"f"[..], value]);
        };
        check(b"", &[0x80, 1]);
        check(b"0", &[0, 1]);
        check(b"127", &[127, 1]);
        check(b"128", &[0xc0, 128, 2]);
        check(b"-1", &[0xdf, 0xff, 2]);
        check(b"-4096", &[0xd0, 0, 2]);
        check(b"4095", &[0xcf, 0xff, 2]);
        check(b"4096", &[0xf1, 0, 0x10, 3]);
        check(b"-32768", &[0xf1, 0, 0x80, 3]);
        check(b"32768", &[0xf2, 0, 0x80, 0, 4]);
        check(b"-8388608", &[0xf2, 0, 0, 0x80, 4]);
        check(b"8388608", &[0xf3, 0, 0, 0x80, 0, 5]);
        check(b"2147483648", &[0xf4, 0, 0, 0, 0x80, 0, 0, 0, 0, 9]);
        check(b"-9223372036854775808", &[0xf4, 0, 0, 0, 0, 0, 0, 0, 0x80, 9]);
        check(b"9223372036854775808", b"\x939223372036854775808\x14");
        check(b"01", b"\x8201\x03");
        check(b"-0", b"\x82-0\x03");
    }

    #[test]
    fn long_elements_have_long_lengths() {
        let sizes = [63, 64, 126, 127, 4_095, 4_096, 16_377, 16_378, 16_379, 70_000, 2_200_000];
        for len in sizes {
            let mut list = empty();
            push(&mut list, &vec![b'x'; len]);
            push(&mut list, b"end");
            assert_eq!(validate(&list), Some(2), "{len}");
            let packed = Packed::new(&list);
            assert_eq!(packed.get(HEADER).text_len(), len);
            assert_eq!(packed.last().and_then(|at| packed.previous(at)), Some(HEADER), "{len}");
            assert_eq!(packed.after(HEADER) - HEADER, element_bytes(&vec![b'x'; len]));
        }
    }

    #[test]
    fn random_edits_equal_those_of_a_vector() {
        let seed = 0x11_57;
        let mut prng = Prng::new(seed);
        let mut draw = |below: usize| usize::try_from(prng.below(below as u64)).unwrap();
        for round in 0..300 {
            let (mut list, mut model) = (empty(), Vec::<Vec<u8>>::new());
            for _ in 0..draw(60) {
                let text = match draw(3) {
                    0 => vec![b'a'; draw(200)],
                    1 => (i64::try_from(draw(1 << 40)).unwrap() - (1 << 39)).to_string().into(),
                    _ => draw(300).to_string().into_bytes(),
                };
                let index = draw(model.len() + 1);
                let at = Packed::new(&list).seek(i64::try_from(index).unwrap());
                match (draw(4), at) {
                    (0, Some(at)) => {
                        let count = draw(3);
                        remove(&mut list, at, count);
                        let end = model.len().min(index + count);
                        model.drain(index..end);
                    }
                    (1, Some(at)) => {
                        replace(&mut list, at, &text);
                        model[index] = text;
                    }
                    (2, _) => {
                        let mut more = empty();
                        push(&mut more, &text);
                        append(&mut list, &more);
                        model.push(text);
                    }
                    (_, at) => {
                        let at = at.unwrap_or(list.len() - 1);
                        insert(&mut list, at, &text);
                        model.insert(index, text);
                    }
                }
                assert_eq!(validate(&list), Some(model.len()), "seed {seed}, round {round}");
            }
            assert_eq!(texts(&list), model, "seed {seed}, round {round}");
            let mut back: Vec<_> =
                Packed::new(&list).iter_back().map(|item| item.text().to_vec()).collect();
            back.reverse();
            assert_eq!(back, model);
            for (index, text) in model.iter().enumerate() {
                let packed = Packed::new(&list);
                let first = model.iter().position(|it| it == text).unwrap();
                let found = packed.find(packed.first(), Needle::new(text), 1);
                assert_eq!(found, packed.seek(i64::try_from(first).unwrap()));
                let back = i64::try_from(index).unwrap() - i64::try_from(model.len()).unwrap();
                let at = packed.seek(back).unwrap();
                assert_eq!(*packed.get(at).text(), **text);
            }
        }
    }

    #[test]
    fn fields_are_not_mistaken_for_values() {
        let mut list = empty();
        for text in ["a", "b", "b", "c"] {
            push(&mut list, text.as_bytes());
        }
        let packed = Packed::new(&list);
        let value = |field: &[u8]| packed.find_value(field).map(|at| packed.get(at));
        assert_eq!(value(b"a"), Some(Item::Bytes(b"b")));
        assert_eq!(value(b"b"), Some(Item::Bytes(b"c")));
        assert_eq!(value(b"c"), None);
    }

    #[test]
    fn more_elements_than_the_header_can_tell() {
        let mut list = empty();
        for n in 0..65_600 {
            push_int(&mut list, n);
        }
        assert_eq!(Packed::new(&list).len(), 65_600);
        assert_eq!(validate(&list), Some(65_600));
        remove(&mut list, HEADER, 65_600);
        assert_eq!((list, Packed::new(&empty()).len()), (empty(), 0));
    }

    #[test]
    fn nothing_foreign_is_taken_unless_whole() {
        let mut list = empty();
        [&b"field"[..], b"12345", &[b'x'; 300], b"-7"].iter().for_each(|it| push(&mut list, it));
        for cut in 0..list.len() {
            assert_eq!(validate(&list[..cut]), None);
        }
        let mut prng = Prng::new(5);
        let mut taken = 0;
        for _ in 0..20_000 {
            let mut bytes = list.clone();
            for _ in 0..=prng.below(2) {
                let at = usize::try_from(prng.below(bytes.len() as u64)).unwrap();
                bytes[at] = prng.next_u64().to_le_bytes()[0];
            }
            if validate(&bytes).is_some() {
                // What is taken can be read whole, both ways.
                taken += 1;
                assert_eq!(
                    Packed::new(&bytes).iter().count(),
                    Packed::new(&bytes).iter_back().count()
                );
            }
        }
        assert!(taken > 1_000, "most changes of text do no harm: {taken}");
    }
}
