//! What the node needs of each shard for the commands that visit all of them: SCAN, KEYS, FLUSHALL,
//! FLUSHDB, SWAPDB. (DBSIZE and RANDOMKEY need no more than the keyspace's own functions.)
//!
//! Parsing happens once, before any core is asked; then each core does its part. Which cores, in what
//! order and how their answers are put together is the node's business: a cursor of SCAN that clients
//! see also names the core, the one here is the shard's own.

use crate::base::glob;
use crate::base::time::Wall;
use crate::command::args::Args;
use crate::engine::keyspace::Keyspace;
use crate::engine::shard::integer;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;

/// Keys that one SCAN looks at where the request does not say.
const SCAN_COUNT: usize = 10;

/// A SCAN as requested.
#[derive(Clone, Copy, Debug)]
pub struct Scan<'a> {
    /// As the client sent it.
    pub cursor: u64,
    pub count: usize,
    pattern: Option<&'a [u8]>,
    kind: Option<&'a [u8]>,
}

impl<'a> Scan<'a> {
    /// `SCAN cursor [MATCH pattern] [COUNT count] [TYPE type]`
    pub fn parse(args: Args<'a>) -> Result<Self, ErrorKind> {
        let cursor = Self::cursor(args.key())?;
        let mut scan = Self { cursor, count: SCAN_COUNT, pattern: None, kind: None };
        for at in (2..args.len()).step_by(2) {
            let value = args.get(at + 1).ok_or(ErrorKind::Syntax)?;
            if args.is(at, "COUNT") {
                let count = usize::try_from(integer(value)?).ok().filter(|&count| count > 0);
                scan.count = count.ok_or(ErrorKind::Syntax)?;
            } else if args.is(at, "MATCH") {
                scan.pattern = Some(value);
            } else if args.is(at, "TYPE") {
                scan.kind = Some(value);
            } else {
                return Err(ErrorKind::Syntax);
            }
        }
        Ok(scan)
    }

    /// A cursor as clients send it.
    pub fn cursor(word: &[u8]) -> Result<u64, ErrorKind> {
        parse_cursor(word).ok_or(ErrorKind::InvalidCursor)
    }

    /// `cursor [MATCH pattern] [COUNT count]`, behind a key: HSCAN, SSCAN, ZSCAN.
    pub fn of_elements(args: Args<'a>) -> Result<Self, ErrorKind> {
        let scan = Self::parse(args)?;
        if scan.kind.is_some() { Err(ErrorKind::Syntax) } else { Ok(scan) }
    }

    /// Is this element asked for?
    #[must_use]
    pub fn matches(&self, element: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, element))
    }

    /// The next cursor and `found` elements, which are in `elements` as bulk strings.
    pub fn reply(reply: &mut Reply<'_>, next: u64, found: usize, elements: &[u8]) {
        reply.array(2);
        reply.bulk(next.to_string().as_bytes());
        reply.array(found);
        reply.raw(elements);
    }

    /// Goes on from the shard's own `cursor` and gives the next one; 0: this shard is done.
    pub fn step(
        &self,
        keyspace: &Keyspace,
        db: usize,
        cursor: u64,
        now: Wall,
        each: &mut dyn FnMut(&[u8]),
    ) -> u64 {
        keyspace.scan(db, cursor, self.count, now, &mut |key, kind| {
            let name = kind.name().as_bytes();
            if self.kind.is_none_or(|it| it.eq_ignore_ascii_case(name)) && self.matches(key) {
                each(key);
            }
        })
    }
}

/// As C's `strtoul` reads it: a sign is allowed, nothing at all is zero.
fn parse_cursor(word: &[u8]) -> Option<u64> {
    let (negative, digits) = match word {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    if digits.is_empty() && !word.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|&digit| digit <= 9)?;
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })?;
    Some(if negative { number.wrapping_neg() } else { number })
}

/// `KEYS pattern`, the part of one shard.
pub fn keys(
    keyspace: &Keyspace,
    db: usize,
    pattern: &[u8],
    now: Wall,
    each: &mut dyn FnMut(&[u8]),
) {
    keyspace.for_each(db, now, &mut |key| {
        if glob::matches(pattern, key) {
            each(key);
        }
    });
}

/// The option of FLUSHALL and FLUSHDB. Both ways are the same here: what is dropped is freed later, in
/// slices.
pub fn check_flush(args: Args<'_>) -> Result<(), ErrorKind> {
    match args.len() {
        1 => Ok(()),
        2 if args.is(1, "SYNC") || args.is(1, "ASYNC") => Ok(()),
        _ => Err(ErrorKind::Syntax),
    }
}

/// The databases of `SWAPDB index1 index2`.
pub fn swapped(args: Args<'_>, databases: usize) -> Result<(usize, usize), ErrorKind> {
    let int = |word: &[u8]| integer(word).ok().and_then(|number| i32::try_from(number).ok());
    let first = int(&args[1]).ok_or(ErrorKind::SwapdbFirst)?;
    let second = int(&args[2]).ok_or(ErrorKind::SwapdbSecond)?;
    let index = |number: i32| {
        let index = usize::try_from(number).ok().filter(|&index| index < databases);
        index.ok_or(ErrorKind::DbOutOfRange)
    };
    Ok((index(first)?, index(second)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::keyspace::Expiry;
    use crate::types::record::Encode;

    const NOW: Wall = Wall(1_000_000_000);

    fn args<R>(request: &str, then: impl FnOnce(Args<'_>) -> R) -> R {
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        then(Args::new(&words))
    }

    /// As redis-server 7.0.15 takes and refuses them.
    #[test]
    fn requests_are_read_as_redis_reads_them() {
        let scan = |request| args(request, |it| Scan::parse(it).map(|it| (it.cursor, it.count)));
        for (request, expected) in [
            ("scan 0", Ok((0, 10))),
            ("scan 18446744073709551615 count 7", Ok((u64::MAX, 7))),
            ("scan -1", Ok((u64::MAX, 10))),
            ("scan +5", Ok((5, 10))),
            ("scan ", Ok((0, 10))),
            ("scan 18446744073709551616", Err(ErrorKind::InvalidCursor)),
            ("scan 0x0", Err(ErrorKind::InvalidCursor)),
            ("scan -", Err(ErrorKind::InvalidCursor)),
            ("scan 0 count 0", Err(ErrorKind::Syntax)),
            ("scan 0 count -1", Err(ErrorKind::Syntax)),
            ("scan 0 count abc", Err(ErrorKind::NotAnInteger)),
            ("scan 0 match", Err(ErrorKind::Syntax)),
            ("scan 0 foo bar", Err(ErrorKind::Syntax)),
        ] {
            assert_eq!(scan(request), expected, "{request}");
        }
        let flush = |request| args(request, check_flush);
        assert_eq!((flush("flushall"), flush("flushall async")), (Ok(()), Ok(())));
        assert_eq!(flush("flushall foo"), Err(ErrorKind::Syntax));
        assert_eq!(flush("flushall sync async"), Err(ErrorKind::Syntax));
        let swap = |request| args(request, |it| swapped(it, 16));
        assert_eq!(swap("swapdb 0 15"), Ok((0, 15)));
        assert_eq!(swap("swapdb 0 16"), Err(ErrorKind::DbOutOfRange));
        assert_eq!(swap("swapdb -1 0"), Err(ErrorKind::DbOutOfRange));
        assert_eq!(swap("swapdb x 0"), Err(ErrorKind::SwapdbFirst));
        assert_eq!(swap("swapdb 0 99999999999"), Err(ErrorKind::SwapdbSecond));
    }

    #[test]
    fn a_shard_lists_the_keys_that_match() {
        let mut keyspace = Keyspace::new(2, [1, 2, 3, 4]);
        for name in ["a1", "a2", "b1"] {
            let key = keyspace.key(name.as_bytes());
            keyspace.set(1, key, b"v", Expiry::None, Encode::Auto, NOW).unwrap();
        }
        let sorted = |mut found: Vec<Vec<u8>>| {
            found.sort();
            found.iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect::<Vec<_>>()
        };
        let list = |pattern: &str| {
            let mut found = Vec::new();
            keys(&keyspace, 1, pattern.as_bytes(), NOW, &mut |key| found.push(key.to_vec()));
            sorted(found)
        };
        assert_eq!((list("*"), list("a?")), (list("*[12]"), vec!["a1".into(), "a2".into()]));
        let scan = |request: &str| {
            args(request, |it| {
                let (scan, mut found, mut cursor) = (Scan::parse(it).unwrap(), Vec::new(), 0);
                loop {
                    let each = &mut |key: &[u8]| found.push(key.to_vec());
                    cursor = scan.step(&keyspace, 1, cursor, NOW, each);
                    if cursor == 0 {
                        return sorted(found);
                    }
                }
            })
        };
        assert_eq!(scan("scan 0"), list("*"));
        assert_eq!(scan("scan 0 count 1 match a* type STRING"), list("a*"));
        assert!(scan("scan 0 type list").is_empty());
    }
}
