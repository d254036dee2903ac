//! What is common to commands that may wait for a key: BLPOP and its like, XREAD and XREADGROUP.
//!
//! Each of them is a function like any other, which answers at once. Where it found nothing it says
//! so by [`Effect::wait`](crate::engine::effect::Effect::wait), and its reply is that of a command within
//! a transaction, which never waits. Who runs it lets its client wait, and runs it again for the one
//! key that has got something ([`for_one_key`]), as Redis serves a client by one key at a time.
//!
//! A new command that waits adds its name to [`Shape::of`], and calls `wait`.
//!
//! Not here: who waits, and in which order.

use crate::base::num::{parse_f64, parse_i64};
use crate::base::time::Wall;
use crate::command::args::Args;
use crate::engine::keyspace::Keyspace;
use crate::resp::error::ErrorKind;
use crate::types::record::Kind;
use std::ops::Range;

/// Which words of a request are what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What a key must hold to serve the command.
    pub kind: Kind,
    /// The keys that it waits for.
    pub keys: Range<usize>,
    /// It reads for a group: it ends when the stream or the group does.
    pub of_group: bool,
    timeout: Timeout,
    /// The word that counts the keys.
    count_at: Option<usize>,
    /// The words behind the keys that belong to one each.
    ids: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timeout {
    /// Seconds, with a fraction.
    Seconds(usize),
    Milliseconds(usize),
}

impl Shape {
    /// The shape of a request that may wait; `None`: it does not, or it is wrong in a way that the
    /// command itself tells.
    #[must_use]
    pub fn of(args: Args<'_>) -> Option<Self> {
        let shape = |keys, timeout, kind| Self {
            kind,
            keys,
            of_group: false,
            timeout: Timeout::Seconds(timeout),
            count_at: None,
            ids: false,
        };
        let last = args.len().checked_sub(1)?;
        match args.name().to_ascii_uppercase().as_slice() {
            b"BLPOP" | b"BRPOP" if last > 1 => Some(shape(1..last, last, Kind::List)),
            b"BZPOPMIN" | b"BZPOPMAX" if last > 1 => Some(shape(1..last, last, Kind::ZSet)),
            b"BLMOVE" if last == 5 => Some(shape(1..2, last, Kind::List)),
            b"BRPOPLPUSH" if last == 3 => Some(shape(1..2, last, Kind::List)),
            name @ (b"BLMPOP" | b"BZMPOP") => {
                let count = usize::try_from(parse_i64(args.get(2)?)?).ok()?;
                let end = count.checked_add(3).filter(|&end| count > 0 && end <= last)?;
                let kind = if name == b"BLMPOP" { Kind::List } else { Kind::ZSet };
                Some(Self { count_at: Some(2), ..shape(3..end, 1, kind) })
            }
            name @ (b"XREAD" | b"XREADGROUP") => {
                let streams = (1..args.len()).find(|&at| args.is(at, "STREAMS"))?;
                let block = (1..streams).find(|&at| args.is(at, "BLOCK"))?;
                let keys = (last - streams) / 2;
                Some(Self {
                    of_group: name == b"XREADGROUP",
                    timeout: Timeout::Milliseconds(block + 1),
                    ids: true,
                    ..shape(streams + 1..streams + 1 + keys, 0, Kind::Stream)
                })
            }
            _ => None,
        }
    }

    /// How many milliseconds it waits, 0 for ever; `None`: what it says is refused by the command.
    #[must_use]
    pub fn patience_ms(&self, args: Args<'_>) -> Option<u64> {
        match self.timeout {
            Timeout::Seconds(at) => seconds(args.get(at)?).ok(),
            Timeout::Milliseconds(at) => u64::try_from(parse_i64(args.get(at)?)?).ok(),
        }
    }

    /// The same request for one of the keys that it waits for.
    #[must_use]
    pub fn for_one_key<'a>(&self, args: Args<'a>, key: &[u8]) -> Option<Vec<&'a [u8]>> {
        let words = args.words();
        let at = self.keys.clone().find(|&at| words[at] == key)?;
        let mut one = words[..self.keys.start].to_vec();
        if let Some(count) = self.count_at {
            one[count] = b"1";
        }
        one.push(words[at]);
        if self.ids {
            one.push(words.get(at + self.keys.len())?);
        } else {
            one.extend_from_slice(&words[self.keys.end..]);
        }
        Some(one)
    }

    /// The request as it is to be repeated: what `$` means is settled when the waiting begins.
    #[must_use]
    pub fn settled(
        &self,
        args: Args<'_>,
        keyspace: &mut Keyspace,
        db: usize,
        now: Wall,
    ) -> Vec<Box<[u8]>> {
        let mut words: Vec<Box<[u8]>> = args.iter().map(Into::into).collect();
        if self.ids && !self.of_group {
            for at in self.keys.clone() {
                let id = at + self.keys.len();
                if words.get(id).is_some_and(|it| **it == *b"$") {
                    words[id] = super::streams::last_id(keyspace, db, &args[at], now).into();
                }
            }
        }
        words
    }
}

/// A time to wait as BLPOP and its like take it: in milliseconds, rounded up; 0 is for ever.
///
/// # Errors
/// It is no number, below zero, or so large that Redis' own sum overflows.
pub fn seconds(word: &[u8]) -> Result<u64, ErrorKind> {
    let infinite = || {
        let digits = word.first().is_some_and(u8::is_ascii_digit);
        // What is too large for any number is infinite here, as it is for Redis.
        digits
            && word.iter().all(|it| it.is_ascii_digit() || matches!(it, b'.' | b'e' | b'E' | b'+'))
    };
    let seconds = match parse_f64(word) {
        Some(seconds) => seconds,
        None if infinite() => f64::INFINITY,
        None => return Err(ErrorKind::TimeoutNotAFloat),
    };
    let ms = (seconds * 1_000.0).ceil();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked")]
    match ms {
        _ if ms.is_infinite() || ms >= 9_223_372_036_854_775_808.0 => {
            Err(ErrorKind::TimeoutNegative)
        }
        _ if ms < 0.0 => Err(ErrorKind::TimeoutNegative),
        // Redis adds the time of day to it.
        _ if ms > 9_223_370_000_000_000_000.0 => Err(ErrorKind::TimeoutOutOfRange),
        _ => Ok(ms as u64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<&[u8]> {
        text.split(' ').map(str::as_bytes).collect()
    }

    #[test]
    fn each_command_is_served_by_one_of_its_keys() {
        for (request, key, ms, one) in [
            ("BLPOP a b 0", "b", 0, "BLPOP b 0"),
            ("brpop a 0.0001", "a", 1, "brpop a 0.0001"),
            ("BLMOVE a b LEFT RIGHT 2", "a", 2_000, "BLMOVE a b LEFT RIGHT 2"),
            ("BRPOPLPUSH a b 1", "a", 1_000, "BRPOPLPUSH a b 1"),
            ("BLMPOP 1 2 a b LEFT COUNT 3", "b", 1_000, "BLMPOP 1 1 b LEFT COUNT 3"),
            ("BZMPOP 1 2 a b MIN", "a", 1_000, "BZMPOP 1 1 a MIN"),
            ("BZPOPMIN a b 1", "b", 1_000, "BZPOPMIN b 1"),
            (
                "XREAD COUNT 2 BLOCK 7 STREAMS a b 1-1 $",
                "b",
                7,
                "XREAD COUNT 2 BLOCK 7 STREAMS b $",
            ),
            (
                "XREADGROUP GROUP g c BLOCK 0 STREAMS a b > >",
                "a",
                0,
                "XREADGROUP GROUP g c BLOCK 0 STREAMS a >",
            ),
        ] {
            let request = words(request);
            let args = Args::new(&request);
            let shape = Shape::of(args).unwrap();
            assert_eq!(shape.patience_ms(args), Some(ms), "{one}");
            assert_eq!(shape.for_one_key(args, key.as_bytes()).unwrap(), words(one));
            assert_eq!(shape.for_one_key(args, b"none"), None);
        }
        for request in
            ["BLPOP a", "BLMPOP 0 9 a LEFT", "BLMPOP 0 x a LEFT", "XREAD STREAMS a 0", "LPOP a 1 0"]
        {
            assert_eq!(Shape::of(Args::new(&words(request))), None, "{request}");
        }
    }

    /// As redis-server 7.0.15 answers BLPOP.
    #[test]
    fn times_to_wait() {
        let (no_float, negative) = (ErrorKind::TimeoutNotAFloat, ErrorKind::TimeoutNegative);
        for (word, expected) in [
            ("0", Ok(0)),
            ("1.5", Ok(1_500)),
            ("0.0001", Ok(1)),
            ("0x10", Ok(16_000)),
            ("abc", Err(no_float.clone())),
            ("nan", Err(no_float.clone())),
            ("", Err(no_float.clone())),
            ("1.5e2x", Err(no_float)),
            ("-1", Err(negative.clone())),
            ("inf", Err(negative.clone())),
            ("1e400", Err(negative)),
        ] {
            assert_eq!(seconds(word.as_bytes()), expected, "{word}");
        }
    }
}
