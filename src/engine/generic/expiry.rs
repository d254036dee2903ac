//! Times to live: the EXPIRE family, PERSIST, and the questions about them.
//!
//! All times are kept as Unix milliseconds. What is set goes to replicas as `PEXPIREAT` with the
//! options of the request; a time that is over removes the key at once and goes out as `DEL`.
//!
//! Beware: a time may be given as any `i64`, and only what cannot be computed is refused; the year
//! 292 million is fine, as is a time before 1970.

use crate::base::num::Digits;
use crate::command::args::Args;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, integer};
use crate::engine::strings::expires_at_once;
use crate::resp::error::ErrorKind;

/// `EXPIRE key seconds [NX | XX | GT | LT]`
pub fn expire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    set_expiry(cx, args, Time { command: "EXPIRE", scale: 1_000, from_now: true })
}

/// `PEXPIRE key milliseconds [NX | XX | GT | LT]`
pub fn pexpire(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    set_expiry(cx, args, Time { command: "PEXPIRE", scale: 1, from_now: true })
}

/// `EXPIREAT key unix-seconds [NX | XX | GT | LT]`
pub fn expireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    set_expiry(cx, args, Time { command: "EXPIREAT", scale: 1_000, from_now: false })
}

/// `PEXPIREAT key unix-milliseconds [NX | XX | GT | LT]`
pub fn pexpireat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    set_expiry(cx, args, Time { command: "PEXPIREAT", scale: 1, from_now: false })
}

/// How a command spells a time.
struct Time {
    command: &'static str,
    scale: i64,
    from_now: bool,
}

impl Time {
    fn parse(&self, word: &[u8], now_ms: u64) -> Result<i64, ErrorKind> {
        let base = if self.from_now { i64::try_from(now_ms).unwrap_or(i64::MAX) } else { 0 };
        let time = integer(word)?.checked_mul(self.scale).and_then(|ms| ms.checked_add(base));
        time.ok_or(ErrorKind::InvalidExpire { command: self.command })
    }
}

/// When a new time may replace the old one.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(args: Args<'_>) -> Result<Self, ErrorKind> {
        let mut found = Self::default();
        for (at, word) in args.from(3).enumerate() {
            match at + 3 {
                at if args.is(at, "NX") => found.nx = true,
                at if args.is(at, "XX") => found.xx = true,
                at if args.is(at, "GT") => found.gt = true,
                at if args.is(at, "LT") => found.lt = true,
                _ => return Err(ErrorKind::ExpireOption { option: word.into() }),
            }
        }
        if found.nx && (found.xx || found.gt || found.lt) {
            return Err(ErrorKind::ExpireNxWithOthers);
        }
        if found.gt && found.lt { Err(ErrorKind::ExpireGtAndLt) } else { Ok(found) }
    }

    /// A key without an expiry lives for ever, so nothing is later and everything is sooner.
    fn allow(&self, new: i64, old: Option<u64>) -> bool {
        let old = old.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        !(self.nx && old.is_some()
            || self.xx && old.is_none()
            || self.gt && old.is_none_or(|old| new <= old)
            || self.lt && old.is_some_and(|old| new >= old))
    }
}

fn set_expiry(cx: &mut Cx<'_>, args: Args<'_>, time: Time) -> Result<(), ErrorKind> {
    let conditions = Conditions::parse(args)?;
    let end = time.parse(&args[2], cx.now.ms())?;
    let (db, now, key) = (cx.db, cx.now, cx.key(args.key()));
    let old = cx.keyspace.found_to_write(db, key, now);
    let Some(_) = old.filter(|old| conditions.allow(end, *old)) else {
        cx.reply.int(0);
        return Ok(());
    };
    let ms = u64::try_from(end).unwrap_or(0); // all that was before 1970 is over
    if expires_at_once(cx, ms) {
        cx.keyspace.remove(db, key, now);
        cx.notify(Class::Generic, "del", args.key());
        cx.effect.command(db, &[b"DEL", args.key()]);
    } else {
        cx.keyspace.set_expiry(db, key, Some(ms), now)?;
        cx.notify(Class::Generic, "expire", args.key());
        let end = Digits::new(end);
        let mut words: Vec<&[u8]> = vec![b"PEXPIREAT", args.key(), end.as_bytes()];
        words.extend(args.from(3));
        cx.effect.command(db, &words);
    }
    cx.reply.int(1);
    Ok(())
}

/// `PERSIST key`
pub fn persist(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let had = cx.keyspace.found_to_write(cx.db, key, cx.now).flatten().is_some();
    if had {
        cx.keyspace.set_expiry(cx.db, key, None, cx.now)?;
        cx.notify(Class::Generic, "persist", args.key());
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(had));
    Ok(())
}

/// `TTL key`
pub fn ttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    answer(cx, args, |end, now| seconds(end.saturating_sub(now)))
}

/// `PTTL key`
pub fn pttl(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    answer(cx, args, |end, now| end.saturating_sub(now))
}

/// `EXPIRETIME key`
pub fn expiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    answer(cx, args, |end, _| seconds(end))
}

/// `PEXPIRETIME key`
pub fn pexpiretime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    answer(cx, args, |end, _| end)
}

/// Rounded to the nearest.
fn seconds(ms: u64) -> u64 {
    ms.saturating_add(500) / 1_000
}

/// -2: no such key; -1: it does not expire.
fn answer(cx: &mut Cx<'_>, args: Args<'_>, what: fn(u64, u64) -> u64) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    cx.reply.int(match cx.keyspace.asked(cx.db, key, cx.now) {
        None => -2,
        Some(None) => -1,
        Some(Some(end)) => i64::try_from(what(end, cx.now.ms())).unwrap_or(i64::MAX),
    });
    Ok(())
}
