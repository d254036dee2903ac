//! A value gets another key or another database: RENAME, RENAMENX, COPY, MOVE.
//!
//! Each command here has both keys on this shard; the node sees to that.

use crate::command::args::Args;
use crate::engine::notices::Class;
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
        cx.notify(Class::Generic, "rename_from", from.bytes);
        cx.notify(Class::Generic, "rename_to", to.bytes);
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
        cx.notify(Class::Generic, "rename_from", from.bytes);
        cx.notify(Class::Generic, "rename_to", to.bytes);
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
        cx.keyspace.notify(to_db, Class::Generic, "copy_to", to.bytes);
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
        cx.notify(Class::Generic, "move_from", key.bytes);
        cx.keyspace.notify(to_db, Class::Generic, "move_to", key.bytes);
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

/// The database besides the client's own that a COPY or MOVE writes to.
#[must_use]
pub fn other_database(args: Args<'_>, db: usize, databases: usize) -> Option<usize> {
    let other = match () {
        () if args.is(0, "COPY") && args.len() > 2 => Copy::parse(args, db, databases).ok()?.to_db,
        () if args.is(0, "MOVE") => database(args.get(2)?, databases).ok()?,
        () => return None,
    };
    (other != db).then_some(other)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let other = |request: &str| {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            other_database(Args::new(&words), 3, 16)
        };
        assert_eq!(
            (other("copy a b DB 5"), other("copy a b"), other("copy a")),
            (Some(5), None, None)
        );
        assert_eq!(
            (other("move a 3"), other("move a 4"), other("move a 16")),
            (None, Some(4), None)
        );
        assert_eq!(other("set a 4"), None);
    }
}
