//! One key and its value as bytes in an arena slot.
//!
//! ```text
//!   flags  1       bits 0-1 form, 2-4 kind, 5 has expiry, 6 value is large, 7 key is large
//!   key    1 or 2  length of the key part:   0xxxxxxx  or  1xxxxxxx xxxxxxxx
//!   value  1 or 2  length of the value part: likewise
//!   expiry 0 or 8  absolute milliseconds, little-endian, only where there is one
//!   key part, value part
//! ```
//!
//! A part that is large is 4 bytes here: its index in the side table of `large.rs`. So 16+16 bytes
//! without an expiry take 35 bytes, and a change of a large value never moves the record.
//!
//! A string's encoding is kept because OBJECT ENCODING must tell what Redis would hold; all three are
//! the same bytes here. A small collection's value is its packed bytes (`packed.rs`, `intset.rs`), a
//! large one's is an object of the side table.
//!
//! Trap: the functions trust the bytes, since only `write` makes them. They may be longer than the
//! record (the arena lends up to the end of the page).

use crate::base::limits::{INLINE_KEY_BYTES_MAX, INLINE_VALUE_BYTES_MAX};

/// What TYPE answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    String,
    List,
    Set,
    ZSet,
    Hash,
    Stream,
}

impl Kind {
    pub const ALL: [Self; 6] =
        [Self::String, Self::List, Self::Set, Self::ZSet, Self::Hash, Self::Stream];

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::List => "list",
            Self::Set => "set",
            Self::ZSet => "zset",
            Self::Hash => "hash",
            Self::Stream => "stream",
        }
    }
}

/// How a value is held: its kind in bits 2 to 4, the form in bits 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Encoding {
    Int = 0,
    Embstr = 1,
    Raw = 2,
    /// A listpack.
    PackedList = 4,
    List = 5,
    /// A listpack.
    PackedSet = 8,
    /// An intset.
    IntSet = 9,
    Set = 10,
    /// A listpack of members and scores.
    PackedZSet = 12,
    ZSet = 13,
    /// A listpack of fields and values.
    PackedHash = 16,
    Hash = 17,
    Stream = 20,
}

impl Encoding {
    /// What OBJECT ENCODING of Redis 7.0 says of such a value. It knows neither sets nor lists of one
    /// listpack.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Int => "int",
            Self::Embstr => "embstr",
            Self::Raw => "raw",
            Self::List => "quicklist",
            Self::PackedSet | Self::Set | Self::Hash => "hashtable",
            Self::IntSet => "intset",
            Self::PackedList | Self::PackedZSet | Self::PackedHash => "listpack",
            Self::ZSet => "skiplist",
            Self::Stream => "stream",
        }
    }

    #[inline]
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Int | Self::Embstr | Self::Raw => Kind::String,
            Self::PackedList | Self::List => Kind::List,
            Self::PackedSet | Self::IntSet | Self::Set => Kind::Set,
            Self::PackedZSet | Self::ZSet => Kind::ZSet,
            Self::PackedHash | Self::Hash => Kind::Hash,
            Self::Stream => Kind::Stream,
        }
    }

    #[inline]
    #[must_use]
    pub const fn is_string(self) -> bool {
        (self as u8) < 4
    }

    const fn bits(self) -> u8 {
        self as u8
    }

    #[inline]
    const fn of(flags: u8) -> Self {
        OF_BITS[(flags & ENCODING) as usize]
    }
}

const OF_BITS: [Encoding; 32] = {
    use Encoding::*;
    let all = [
        Int, Embstr, Raw, PackedList, List, PackedSet, IntSet, Set, PackedZSet, ZSet, PackedHash,
        Hash, Stream,
    ];
    let mut of = [Raw; 32];
    let mut at = 0;
    while at < all.len() {
        of[all[at] as usize] = all[at];
        at += 1;
    }
    of
};

/// How a command wants its string to be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encode {
    /// As SET: int where the text is a canonical 64-bit integer, embstr up to 44 bytes, else raw.
    Auto,
    /// As INCRBYFLOAT: embstr or raw, never int.
    Text,
    /// As APPEND and SETRANGE on a key that exists.
    Raw,
}

impl Encode {
    #[must_use]
    pub fn encoding(self, value: &[u8]) -> Encoding {
        match self {
            Self::Raw => Encoding::Raw,
            Self::Auto if is_integer(value) => Encoding::Int,
            Self::Auto | Self::Text if value.len() <= EMBSTR_BYTES_MAX => Encoding::Embstr,
            Self::Auto | Self::Text => Encoding::Raw,
        }
    }
}

/// A key or a value: here, or in the side table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    Inline(&'a [u8]),
    Large(u32),
}

/// A record taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    pub encoding: Encoding,
    pub expiry: Option<u64>,
    pub key: Part<'a>,
    pub value: Part<'a>,
}

/// Redis' `OBJ_ENCODING_EMBSTR_SIZE_LIMIT`.
const EMBSTR_BYTES_MAX: usize = 44;

/// Form and kind.
const ENCODING: u8 = 0b0001_1111;
const EXPIRES: u8 = 0b0010_0000;
const LARGE_VALUE: u8 = 0b0100_0000;
const LARGE_KEY: u8 = 0b1000_0000;

const _: () = {
    assert!(INLINE_KEY_BYTES_MAX < 1 << 15);
    assert!(INLINE_VALUE_BYTES_MAX < 1 << 15);
};

impl<'a> Part<'a> {
    fn bytes<'b>(&'b self, index: &'b mut [u8; 4]) -> &'b [u8] {
        match self {
            Self::Inline(bytes) => bytes,
            Self::Large(at) => {
                *index = at.to_le_bytes();
                index
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Inline(bytes) => bytes.len(),
            Self::Large(_) => 4,
        }
    }

    fn read(bytes: &'a [u8], large: bool) -> Self {
        match bytes {
            [a, b, c, d] if large => Self::Large(u32::from_le_bytes([*a, *b, *c, *d])),
            bytes => Self::Inline(bytes),
        }
    }
}

impl Parts<'_> {
    /// The bytes that `write` needs.
    #[must_use]
    pub fn size(&self) -> usize {
        let length = |len: usize| if len < 0x80 { 1 } else { 2 };
        let (key, value) = (self.key.len(), self.value.len());
        1 + length(key) + length(value) + 8 * usize::from(self.expiry.is_some()) + key + value
    }

    /// Writes the record to the first `size()` bytes of `out`.
    pub fn write(&self, out: &mut [u8]) {
        let mut flags = self.encoding.bits();
        let large = |part: Part<'_>, flag| if matches!(part, Part::Large(_)) { flag } else { 0 };
        flags |= large(self.key, LARGE_KEY) | large(self.value, LARGE_VALUE);
        flags |= if self.expiry.is_some() { EXPIRES } else { 0 };
        out[0] = flags;
        let mut at = write_length(out, 1, self.key.len());
        at = write_length(out, at, self.value.len());
        if let Some(ms) = self.expiry {
            out[at..at + 8].copy_from_slice(&ms.to_le_bytes());
            at += 8;
        }
        let mut index = [0; 4];
        for part in [self.key, self.value] {
            let bytes = part.bytes(&mut index);
            out[at..at + bytes.len()].copy_from_slice(bytes);
            at += bytes.len();
        }
    }
}

/// How the value is held, by itself.
#[inline]
#[must_use]
pub fn read_encoding(bytes: &[u8]) -> Encoding {
    Encoding::of(bytes[0])
}

/// Says that the value is held otherwise from now on.
pub fn set_encoding(bytes: &mut [u8], encoding: Encoding) {
    bytes[0] = bytes[0] & !ENCODING | encoding.bits();
}

/// Takes a record apart.
#[inline]
#[must_use]
pub fn read(bytes: &[u8]) -> Parts<'_> {
    let flags = bytes[0];
    let (key_len, at) = read_length(bytes, 1);
    let (value_len, at) = read_length(bytes, at);
    let (expiry, at) = if flags & EXPIRES == 0 {
        (None, at)
    } else {
        (bytes[at..].first_chunk().copied().map(u64::from_le_bytes), at + 8)
    };
    let (key, rest) = bytes[at..].split_at(key_len);
    Parts {
        encoding: Encoding::of(flags),
        expiry,
        key: Part::read(key, flags & LARGE_KEY != 0),
        value: Part::read(&rest[..value_len], flags & LARGE_VALUE != 0),
    }
}

/// Only the key: what every probe of the table looks at.
#[inline]
#[must_use]
pub fn read_key(bytes: &[u8]) -> Part<'_> {
    let flags = bytes[0];
    let (key_len, at) = read_length(bytes, 1);
    let (_, at) = read_length(bytes, at);
    let at = at + if flags & EXPIRES != 0 { 8 } else { 0 };
    Part::read(&bytes[at..at + key_len], flags & LARGE_KEY != 0)
}

/// Is this the record of `key`? `None`: its key is in the side table, so look there.
#[inline(always)]
#[must_use]
pub fn has_key(bytes: &[u8], key: &[u8]) -> Option<bool> {
    let flags = bytes[0];
    if flags & (LARGE_KEY | EXPIRES) == 0 && (bytes[1] | bytes[2]) < 0x80 {
        // What nearly all are: short, and without an end.
        return Some(usize::from(bytes[1]) == key.len() && starts_with(&bytes[3..], key));
    }
    match read_key(bytes) {
        Part::Inline(own) => Some(own == key),
        Part::Large(_) => None,
    }
}

/// Writes a value over one of the same length, and an expiry over an expiry; false: this record has
/// no such room, and nothing changed.
#[inline]
#[must_use]
pub fn rewrite(bytes: &mut [u8], value: &[u8], encoding: Encoding, expiry: Option<u64>) -> bool {
    let flags = bytes[0];
    let (key_len, at) = read_length(bytes, 1);
    let (value_len, at) = read_length(bytes, at);
    if flags & LARGE_VALUE != 0 || value_len != value.len() {
        return false;
    }
    let Some(at) = rewrite_expiry(bytes, flags, at, expiry) else { return false };
    bytes[at + key_len..][..value_len].copy_from_slice(value);
    bytes[0] = flags & !ENCODING | encoding.bits();
    true
}

/// The value of a record that holds it itself, to be written over in place; it is raw from here on.
#[inline]
#[must_use]
pub fn value_mut(bytes: &mut [u8]) -> Option<&mut [u8]> {
    let flags = bytes[0];
    if flags & LARGE_VALUE != 0 {
        return None;
    }
    bytes[0] = flags & !ENCODING | Encoding::Raw.bits();
    let (key_len, at) = read_length(bytes, 1);
    let (value_len, at) = read_length(bytes, at);
    let at = at + if flags & EXPIRES != 0 { 8 } else { 0 };
    Some(&mut bytes[at + key_len..][..value_len])
}

/// Writes an expiry over an expiry; false: there is none, or there shall be none.
#[must_use]
pub fn set_expiry(bytes: &mut [u8], expiry: Option<u64>) -> bool {
    let flags = bytes[0];
    let (_, at) = read_length(bytes, 1);
    let (_, at) = read_length(bytes, at);
    rewrite_expiry(bytes, flags, at, expiry).is_some()
}

/// Where the key begins, if the record has as much room for an expiry as is asked for.
#[inline]
fn rewrite_expiry(bytes: &mut [u8], flags: u8, at: usize, expiry: Option<u64>) -> Option<usize> {
    match expiry {
        None => (flags & EXPIRES == 0).then_some(at),
        Some(_) if flags & EXPIRES == 0 => None,
        Some(ms) => {
            bytes[at..at + 8].copy_from_slice(&ms.to_le_bytes());
            Some(at + 8)
        }
    }
}

/// As the slices' own, without a call: keys are short, and each lookup compares one.
#[inline(always)]
fn starts_with(mut bytes: &[u8], mut key: &[u8]) -> bool {
    if let (Some(a), Some(b)) = (bytes.get(..key.len()), key.last_chunk::<8>()) {
        // The last eight bytes, then eight at a time from the front; they may overlap.
        if a.last_chunk::<8>() != Some(b) {
            return false;
        }
        while key.len() > 8 {
            let (Some((x, more_bytes)), Some((y, more_key))) =
                (bytes.split_first_chunk::<8>(), key.split_first_chunk::<8>())
            else {
                return false;
            };
            if x != y {
                return false;
            }
            (bytes, key) = (more_bytes, more_key);
        }
        return true;
    }
    bytes.starts_with(key)
}

/// Is this the text that Redis holds as an integer: canonical, 1 to 20 bytes, within 64 bits?
#[must_use]
pub fn is_integer(text: &[u8]) -> bool {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] => !negative,
        [b'1'..=b'9', ..] if digits.len() <= 19 && digits.iter().all(u8::is_ascii_digit) => {
            let limit: &[u8] =
                if negative { b"9223372036854775808" } else { b"9223372036854775807" };
            digits.len() < 19 || digits <= limit
        }
        _ => false,
    }
}

#[inline]
fn read_length(bytes: &[u8], at: usize) -> (usize, usize) {
    match bytes[at] {
        short @ 0..0x80 => (usize::from(short), at + 1),
        high => (usize::from(high & 0x7f) << 8 | usize::from(bytes[at + 1]), at + 2),
    }
}

#[inline]
fn write_length(out: &mut [u8], at: usize, len: usize) -> usize {
    assert!(len < 1 << 15, "a part over its limit is large");
    #[expect(clippy::cast_possible_truncation, reason = "below 2^15")]
    if len < 0x80 {
        out[at] = len as u8;
        at + 1
    } else {
        (out[at], out[at + 1]) = (0x80 | (len >> 8) as u8, len as u8);
        at + 2
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read() {
        let long = [7u8; 1_024];
        let check = |key, value, expiry, size| {
            let parts = Parts { encoding: Encoding::Raw, expiry, key, value };
            assert_eq!(parts.size(), size);
            let mut bytes = vec![0xaa; size + 9];
            parts.write(&mut bytes);
            assert_eq!(read(&bytes), parts);
            assert_eq!(read_key(&bytes), key);
            assert_eq!(bytes[size..], [0xaa; 9]);
        };
        use Part::*;
        check(Inline(&[1; 16]), Inline(&[2; 16]), None, 35);
        check(Inline(&[1; 16]), Inline(&[2; 16]), Some(u64::MAX), 43);
        check(Inline(b""), Inline(b""), None, 3);
        check(Inline(&long[..512]), Inline(&long), Some(0), 1 + 2 + 2 + 8 + 512 + 1_024);
        check(Large(7), Large(u32::MAX), None, 11);
        check(Inline(&long[..127]), Inline(&long[..128]), None, 1 + 1 + 2 + 255);
    }

    #[test]
    fn a_key_is_told_from_every_other_one() {
        for len in [0, 1, 7, 8, 9, 16, 17, 127, 128, 512] {
            let key: Vec<u8> = (0..len).map(|n| u8::try_from(n % 251).unwrap()).collect();
            for expiry in [None, Some(5)] {
                let (key, value) = (Part::Inline(&key), Part::Inline(b"value"));
                let parts = Parts { encoding: Encoding::Raw, expiry, key, value };
                let mut bytes = vec![0; parts.size() + 20];
                parts.write(&mut bytes);
                let check = |name: &[u8], expected| {
                    assert_eq!(has_key(&bytes, name), Some(expected), "{len} {expiry:?}");
                };
                let Part::Inline(key) = key else { return };
                check(key, true);
                check(&[key, b"v"].concat(), false);
                for at in 0..len {
                    check(&key[..at], false);
                    let mut other = key.to_vec();
                    other[at] ^= 1;
                    check(&other, false);
                }
            }
        }
        let parts = Parts {
            encoding: Encoding::Raw,
            expiry: None,
            key: Part::Large(7),
            value: Part::Inline(b""),
        };
        let mut bytes = vec![0; parts.size()];
        parts.write(&mut bytes);
        assert_eq!(has_key(&bytes, &[7, 0, 0, 0]), None);
    }

    #[test]
    fn only_what_has_room_is_rewritten() {
        let check = |expiry: Option<u64>, value: &[u8], new: &[u8], end: Option<u64>, done| {
            let key = Part::Inline(b"key");
            let old = Parts { encoding: Encoding::Int, expiry, key, value: Part::Inline(value) };
            let mut bytes = vec![0; old.size()];
            old.write(&mut bytes);
            assert_eq!(rewrite(&mut bytes, new, Encoding::Raw, end), done);
            let wanted =
                Parts { encoding: Encoding::Raw, expiry: end, key, value: Part::Inline(new) };
            assert_eq!(read(&bytes), if done { wanted } else { old });
            let expiry = if done { end } else { expiry };
            assert_eq!(set_expiry(&mut bytes, Some(77)), expiry.is_some());
            assert_eq!(read(&bytes).expiry, expiry.map(|_| 77));
        };
        check(None, b"12", b"ab", None, true);
        check(None, b"12", b"abc", None, false);
        check(None, b"12", b"ab", Some(1), false);
        check(Some(1), b"12", b"ab", Some(2), true);
        check(Some(1), b"12", b"ab", None, false);
        check(Some(1), b"", b"", Some(3), true);
    }

    #[test]
    fn encodings_are_those_of_redis() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Encode::Auto.encoding(text.as_bytes()).name(), expected, "{text}");
        };
        ["0", "1", "-1", "9223372036854775807", "-9223372036854775808", "1234567890"]
            .iter()
            .for_each(|text| check(text, "int"));
        ["", "-", "-0", "00", "01", "+1", " 1", "1 ", "1.0", "9223372036854775808"]
            .iter()
            .for_each(|text| check(text, "embstr"));
        ["-9223372036854775809", "99999999999999999999", "a"]
            .iter()
            .for_each(|text| check(text, "embstr"));
        check(&"x".repeat(44), "embstr");
        check(&"x".repeat(45), "raw");
        assert_eq!(Encode::Text.encoding(b"3"), Encoding::Embstr);
        assert_eq!(Encode::Raw.encoding(b"3"), Encoding::Raw);
    }
}
