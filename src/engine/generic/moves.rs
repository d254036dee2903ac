//! A value gets another key or another database: RENAME, RENAMENX, COPY, MOVE.
//!
//! Each command here has both keys on this shard. For keys of two cores the node holds both still and
//! uses the halves at the end: [`take_out`] or [`read_out`] on one core, [`put_in`] on the other; what is
//! carried between them is owned, and large values are shared, not copied.

use crate::base::time::Wall;
use crate::command::args::Args;
use crate::engine::collections::Carried;
use crate::engine::keyspace::{Full, Keyspace};
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;

/// `RENAME key newkey`
pub fn rename(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (from, to) = (cx.key(args.key()), cx.key(&args[2]));
    if cx.keyspace.found_to_write(cx.db, from, cx.now).is_none() {
        return Err(ErrorKind::NoSuchKey);
    }
    if from.bytes != to.bytes {
        // Asked for its side effect: an expired target goes out as a DEL.
        cx.keyspace.exists(cx.db, to, cx.now);
        cx.keyspace.rename(cx.db, from, cx.db, to, cx.now)?;
        cx.effect.verbatim();
    }
    cx.reply.ok();
    Ok(())
}

/// `RENAMENX key newkey`
pub fn renamenx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (from, to) = (cx.key(args.key()), cx.key(&args[2]));
    if cx.keyspace.found_to_write(cx.db, from, cx.now).is_none() {
        return Err(ErrorKind::NoSuchKey);
    }
    let free = from.bytes != to.bytes && !cx.keyspace.exists(cx.db, to, cx.now);
    if free {
        cx.keyspace.rename(cx.db, from, cx.db, to, cx.now)?;
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(free));
    Ok(())
}

/// `COPY source destination [DB number] [REPLACE]`
pub fn copy(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let Copy { to_db, replace } = Copy::parse(args, cx.db, cx.keyspace.databases())?;
    let (from, to) = (cx.key(args.key()), cx.key(&args[2]));
    let copied = cx.keyspace.get_any(cx.db, from, cx.now).is_some()
        && (!cx.keyspace.exists(to_db, to, cx.now) || replace);
    if copied {
        cx.keyspace.copy(cx.db, from, to_db, to, cx.now)?;
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(copied));
    Ok(())
}

/// What a COPY asks for besides its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copy {
    pub to_db: usize,
    pub replace: bool,
}

impl Copy {
    /// The options of a COPY that came in database `db`.
    pub fn parse(args: Args<'_>, db: usize, databases: usize) -> Result<Self, ErrorKind> {
        let mut copy = Self { to_db: db, replace: false };
        let mut at = 3;
        while at < args.len() {
            if args.is(at, "REPLACE") {
                copy.replace = true;
            } else if args.is(at, "DB") && at + 1 < args.len() {
                at += 1;
                copy.to_db = database(&args[at], databases)?;
            } else {
                return Err(ErrorKind::Syntax);
            }
            at += 1;
        }
        if copy.to_db == db && args.key() == &args[2] {
            return Err(ErrorKind::SameObject);
        }
        Ok(copy)
    }
}

/// `MOVE key db`
pub fn move_key(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let to_db = database(&args[2], cx.keyspace.databases())?;
    if to_db == cx.db {
        return Err(ErrorKind::SameObject);
    }
    let key = cx.key(args.key());
    let moved = cx.keyspace.found_to_write(cx.db, key, cx.now).is_some()
        && !cx.keyspace.exists(to_db, key, cx.now)
        && cx.keyspace.rename(cx.db, key, to_db, key, cx.now)?;
    if moved {
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(moved));
    Ok(())
}

/// A database's number as an argument.
pub(crate) fn database(word: &[u8], databases: usize) -> Result<usize, ErrorKind> {
    let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
    let number = integer(word)?;
    if !(low..=high).contains(&number) {
        return Err(ErrorKind::NotBetween { low, high });
    }
    let number = usize::try_from(number).ok().filter(|&number| number < databases);
    number.ok_or(ErrorKind::DbOutOfRange)
}

/// The value of a key with its expiry; the key stays.
pub fn read_out(keyspace: &mut Keyspace, db: usize, key: &[u8], now: Wall) -> Option<Carried> {
    let key = keyspace.key(key);
    keyspace.read_out(db, key, now)
}

/// The same, and the key is gone.
pub fn take_out(keyspace: &mut Keyspace, db: usize, key: &[u8], now: Wall) -> Option<Carried> {
    let carried = read_out(keyspace, db, key, now)?;
    let key = keyspace.key(key);
    keyspace.remove(db, key, now);
    Some(carried)
}

/// Puts it under a key, whatever was there.
pub fn put_in(
    keyspace: &mut Keyspace,
    db: usize,
    key: &[u8],
    carried: Carried,
    now: Wall,
) -> Result<(), Full> {
    let key = keyspace.key(key);
    keyspace.put_in(db, key, carried, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::keyspace::Expiry;
    use crate::types::record::Encode;

    const NOW: Wall = Wall(1_000_000_000);

    /// A value goes from one core's keyspace to another's with its expiry and its encoding.
    #[test]
    fn halves_carry_a_value_between_cores() {
        let large = [b'x'; 5_000];
        for (value, encode, expiry) in [
            (&b"12"[..], Encode::Auto, None),
            (b"12", Encode::Raw, Some(2_000_000)),
            (b"short", Encode::Auto, Some(2_000_000)),
            (b"short", Encode::Raw, None),
            (&large, Encode::Auto, Some(2_000_000)),
        ] {
            let mut cores = [0, 1].map(|_| Keyspace::new(2, [1, 2, 3, 4]));
            let [from, to] = &mut cores;
            let key = from.key(b"from");
            let given = expiry.map_or(Expiry::None, Expiry::At);
            from.set(0, key, value, given, encode, NOW).unwrap();
            let encoding = from.encoding(0, key, NOW);

            let read = read_out(from, 0, b"from", NOW).unwrap();
            assert!(from.exists(0, key, NOW));
            put_in(to, 1, b"copy", read, NOW).unwrap();
            let taken = take_out(from, 0, b"from", NOW).unwrap();
            assert!(!from.exists(0, key, NOW));
            put_in(to, 1, b"moved", taken, NOW).unwrap();
            assert!(take_out(from, 0, b"from", NOW).is_none());

            for key in [&b"copy"[..], b"moved"] {
                let key = to.key(key);
                assert_eq!(to.peek(1, key, NOW).unwrap().bytes(), value);
                assert_eq!(to.encoding(1, key, NOW), encoding);
                assert_eq!(to.expiry(1, key, NOW), Some(expiry));
            }
        }
    }

    #[test]
    fn the_options_of_copy() {
        let check = |request: &str, expected: Result<(usize, bool), ErrorKind>| {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            let copy = Copy::parse(Args::new(&words), 3, 16).map(|it| (it.to_db, it.replace));
            assert_eq!(copy, expected, "{request}");
        };
        check("copy a b", Ok((3, false)));
        check("copy a b replace DB 5", Ok((5, true)));
        check("copy a a DB 5", Ok((5, false)));
        check("copy a a", Err(ErrorKind::SameObject));
        check("copy a b DB", Err(ErrorKind::Syntax));
        check("copy a b DB 16", Err(ErrorKind::DbOutOfRange));
    }
}
