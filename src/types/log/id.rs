//! The ID of a stream's entry: milliseconds and a sequence number within one.
//!
//! What is accepted as its text is Redis': numbers as C's `strtoull` reads them, a sequence number that
//! may be left out, and nothing behind a NUL.
//!
//! Not here: `$`, `>`, `+`, `-` and `(`, which are the commands' (`engine/streams/`).

use std::io::Write;

/// Bytes of the longest text of an ID, from which Redis turns away.
const TEXT_BYTES_MAX: usize = 127;

/// Two numbers of up to 20 digits, and what is between them.
const ID_BYTES_MAX: usize = 41;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId {
    pub ms: u64,
    pub seq: u64,
}

/// An ID as a client spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spelt {
    pub ms: u64,
    pub seq: Seq,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seq {
    Given(u64),
    Missing,
    /// `*`: the next one.
    Auto,
}

/// The text of an ID, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct IdText {
    bytes: [u8; ID_BYTES_MAX],
    len: usize,
}

impl StreamId {
    pub const MIN: Self = Self { ms: 0, seq: 0 };
    pub const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// `None`: it was the last one.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_add(1)?, seq: 0 }),
        }
    }

    /// `None`: it was the first one.
    #[must_use]
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(Self { ms: self.ms, seq }),
            None => Some(Self { ms: self.ms.checked_sub(1)?, seq: u64::MAX }),
        }
    }

    /// The ID that `text` spells, with `missing` as the sequence number that it may lack.
    #[must_use]
    pub fn parse(text: &[u8], missing: u64) -> Option<Self> {
        let spelt = Spelt::parse(text, false)?;
        let seq = if let Seq::Given(seq) = spelt.seq { seq } else { missing };
        Some(Self { ms: spelt.ms, seq })
    }

    #[must_use]
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; ID_BYTES_MAX], len: ID_BYTES_MAX };
        let mut rest = &mut text.bytes[..];
        // It is as long as the longest one.
        let _ = write!(rest, "{}-{}", self.ms, self.seq);
        text.len -= rest.len();
        text
    }
}

impl Spelt {
    /// `auto`: may the sequence number be `*`?
    #[must_use]
    pub fn parse(text: &[u8], auto: bool) -> Option<Self> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let text = text.split(|&byte| byte == 0).next()?;
        let Some(dash) = text.iter().position(|&byte| byte == b'-') else {
            return Some(Self { ms: number(text)?, seq: Seq::Missing });
        };
        let (ms, seq) = (number(&text[..dash])?, &text[dash + 1..]);
        let seq = if auto && seq == b"*" { Seq::Auto } else { Seq::Given(number(seq)?) };
        Some(Self { ms, seq })
    }
}

impl IdText {
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// As `strtoull`, but a negative number only where 64 bits with a sign would not hold it.
fn number(text: &[u8]) -> Option<u64> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    let (negative, digits) = match &text[start..] {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() {
        return None;
    }
    let mut value: u64 = 0;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    // What is the canonical text of a negative integer was read as one, and refused.
    let canonical = start == 0 && negative && digits[0] != b'0' && value <= 1 << 63;
    if canonical {
        return None;
    }
    Some(if negative { value.wrapping_neg() } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_redis_reads_them() {
        let check = |text: &str, expected: Option<(u64, u64)>| {
            let id = StreamId::parse(text.as_bytes(), 7).map(|id| (id.ms, id.seq));
            assert_eq!(id, expected, "{text:?}");
        };
        check("1-2", Some((1, 2)));
        check("1", Some((1, 7)));
        check("18446744073709551615-18446744073709551615", Some((u64::MAX, u64::MAX)));
        check("18446744073709551616-0", None);
        check("+1-007", Some((1, 7)));
        check(" 1-\t2", Some((1, 2)));
        check("1--0", Some((1, 0)));
        check("1--1", None);
        check("1--18446744073709551615", Some((1, 1)));
        check("1-2\0junk", Some((1, 2)));
        ["", "-", "-1", "1-", "1-*", "a-1", "1-a", "1-1-1", "1 -1", "1-1 "]
            .iter()
            .for_each(|text| check(text, None));
        assert_eq!(StreamId::parse(&[b'0'; 128], 0), None);
        assert_eq!(Spelt::parse(b"5-*", true), Some(Spelt { ms: 5, seq: Seq::Auto }));
    }

    #[test]
    fn neighbours_and_texts() {
        let id = |ms, seq| StreamId { ms, seq };
        assert_eq!(id(1, u64::MAX).next(), Some(id(2, 0)));
        assert_eq!(id(2, 0).previous(), Some(id(1, u64::MAX)));
        assert_eq!((StreamId::MAX.next(), StreamId::MIN.previous()), (None, None));
        assert_eq!(StreamId::MAX.text().as_bytes().len(), ID_BYTES_MAX);
        assert_eq!(id(12, 3).text().as_bytes(), b"12-3");
    }
}
