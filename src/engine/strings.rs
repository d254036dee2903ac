//! String commands. The table is this file's contents page; each row names one function.
//!
//! What a value may be: bytes up to `proto-max-bulk-len`, kept as an integer where they are the canonical
//! spelling of one; which it is shows only in `OBJECT ENCODING`. Arithmetic reads and writes text.
//!
//! Effects are a compatibility surface: stock replicas read them, so they are the very commands that
//! redis-server 7.0 sends (`tests/golden/strings-7.0.15.txt`). Relative times leave as absolute ones,
//! `SET .. GET` without its GET, `INCRBYFLOAT` as the sum it gave.
//!
//! Not here: how values are kept (`types/`), when keys expire (`keyspace.rs`).

use crate::base::long_double::{self, Format};
use crate::base::num::{Digits, parse_i64};
use crate::command::args::Args;
use crate::command::arguments::{
    Argument, KEY, KEYS, Kind, MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS, VALUE,
};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Command, Flags, Gather, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::keyspace::{Expiry, ExpiryMode};
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn, integer};
use crate::resp::error::ErrorKind;
use crate::types::record::Encode;
use options::{Condition, Lifetime, Options, set_key_flags};

pub mod lcs;
mod options;

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROWS: Flags = Flags::WRITE.and(Flags::DENYOOM);
const GROWS_FAST: Flags = GROWS.and(Flags::FAST);

const RO: KeyFlags = KeyFlags::RO;
const RW: KeyFlags = KeyFlags::RW;
const OW: KeyFlags = KeyFlags::OW;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const UPDATE: KeyFlags = KeyFlags::UPDATE;
const INSERT: KeyFlags = KeyFlags::INSERT;
const DELETE: KeyFlags = KeyFlags::DELETE;
const VARIABLE_FLAGS: KeyFlags = KeyFlags::VARIABLE_FLAGS;

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("APPEND", Exactly(3), GROWS_FAST, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::String, "2.0.0", "O(1)", "Adds bytes to the end of a string")
        .takes(&[KEY, VALUE]), append),
    Command::new(Spec::new("DECR", Exactly(2), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::String, "1.0.0", "O(1)", "Takes one off an integer")
        .takes(&[KEY]), decr),
    Command::new(Spec::new("DECRBY", Exactly(3), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::String, "1.0.0", "O(1)", "Takes a number off an integer")
        .takes(&[KEY, Argument::integer("decrement")]), decrby),
    Command::new(Spec::new("GET", Exactly(2), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::String, "1.0.0", "O(1)", "The value of a string key")
        .takes(&[KEY]), get),
    Command::new(Spec::new("GETDEL", Exactly(2), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE))])
        .about(Group::String, "6.2.0", "O(1)", "The value of a string key, which is then removed")
        .takes(&[KEY]), getdel),
    Command::new(Spec::new("GETEX", AtLeast(2), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::String, "6.2.0", "O(1)", "The value of a string key, and sets its expiry")
        .takes(&[
            KEY,
            Argument::one_of("expiration", &[
                SECONDS.token("EX"),
                MILLISECONDS.token("PX"),
                UNIX_SECONDS.token("EXAT"),
                UNIX_MILLISECONDS.token("PXAT"),
                Argument::word("persist", "PERSIST"),
            ]).optional(),
        ]), getex),
    Command::new(Spec::new("GETRANGE", Exactly(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::String, "2.4.0", "O(N)", "A part of a string")
        .takes(&[KEY, Argument::integer("start"), Argument::integer("end")]), getrange),
    Command::new(Spec::new("GETSET", Exactly(3), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::String, "1.0.0", "O(1)", "Sets a string key; its old value")
        .deprecated("6.2.0", "`SET` with the `!GET` argument")
        .takes(&[KEY, VALUE]), getset),
    Command::new(Spec::new("INCR", Exactly(2), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::String, "1.0.0", "O(1)", "Adds one to an integer")
        .takes(&[KEY]), incr),
    Command::new(Spec::new("INCRBY", Exactly(3), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::String, "1.0.0", "O(1)", "Adds a number to an integer")
        .takes(&[KEY, Argument::integer("increment")]), incrby),
    Command::new(Spec::new("INCRBYFLOAT", Exactly(3), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::String, "2.6.0", "O(1)", "Adds a floating point number to a number")
        .takes(&[KEY, Argument::new(Kind::Double, "increment")]), incrbyfloat),
    Command::new(Spec::new("LCS", AtLeast(3), READ, &[KeySpec::at(1, RO.and(ACCESS)).to(1, 1)])
        .about(Group::String, "7.0.0", "O(N*M)", "The longest common subsequence of two strings")
        .takes(&[
            Argument::key("key1", 0),
            Argument::key("key2", 0),
            Argument::word("len", "LEN").optional(),
            Argument::word("idx", "IDX").optional(),
            Argument::integer("len").token("MINMATCHLEN").optional(),
            Argument::word("withmatchlen", "WITHMATCHLEN").optional(),
        ])
        .hop(Hop::Exclusive), lcs::lcs),
    Command::new(Spec::new("MGET", AtLeast(2), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS)).to(-1, 1)])
        .about(Group::String, "1.0.0", "O(N)", "The values of several string keys")
        .tips(&["request_policy:multi_shard"])
        .takes(&[KEYS])
        .hop(Hop::Split(Gather::InOrder)), mget),
    Command::new(Spec::new("MSET", AtLeast(3), GROWS, &[KeySpec::at(1, OW.and(UPDATE)).to(-1, 2)])
        .about(Group::String, "1.0.1", "O(N)", "Sets several string keys")
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .takes(&[Argument::block("key_value", &[KEY, VALUE]).multiple()])
        .hop(Hop::Split(Gather::AllOk)), mset),
    Command::new(Spec::new("MSETNX", AtLeast(3), GROWS, &[KeySpec::at(1, OW.and(INSERT)).to(-1, 2)])
        .about(Group::String, "1.0.1", "O(N)", "Sets several string keys, if none of them exists")
        .tips(&["request_policy:multi_shard", "response_policy:agg_min"])
        .takes(&[Argument::block("key_value", &[KEY, VALUE]).multiple()])
        .hop(Hop::Exclusive), msetnx),
    Command::new(Spec::new("PSETEX", Exactly(4), GROWS, &[KeySpec::at(1, OW.and(UPDATE))])
        .about(Group::String, "2.6.0", "O(1)", "Sets a string key and its time to live in milliseconds")
        .takes(&[KEY, MILLISECONDS, VALUE]), psetex),
    Command::new(Spec::new("SET", AtLeast(3), GROWS, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE).and(VARIABLE_FLAGS)).flags_of(set_key_flags)])
        .about(Group::String, "1.0.0", "O(1)", "Sets a string key")
        .takes(&[
            KEY,
            VALUE,
            Argument::one_of("condition", &[Argument::word("nx", "NX"), Argument::word("xx", "XX")]).since("2.6.12").optional(),
            Argument::word("get", "GET").since("6.2.0").optional(),
            Argument::one_of("expiration", &[
                SECONDS.token("EX").since("2.6.12"),
                MILLISECONDS.token("PX").since("2.6.12"),
                UNIX_SECONDS.token("EXAT").since("6.2.0"),
                UNIX_MILLISECONDS.token("PXAT").since("6.2.0"),
                Argument::word("keepttl", "KEEPTTL").since("6.0.0"),
            ]).optional(),
        ]), set),
    Command::new(Spec::new("SETEX", Exactly(4), GROWS, &[KeySpec::at(1, OW.and(UPDATE))])
        .about(Group::String, "2.0.0", "O(1)", "Sets a string key and its time to live in seconds")
        .takes(&[KEY, SECONDS, VALUE]), setex),
    Command::new(Spec::new("SETNX", Exactly(3), GROWS_FAST, &[KeySpec::at(1, OW.and(INSERT))])
        .about(Group::String, "1.0.0", "O(1)", "Sets a string key that does not exist yet")
        .takes(&[KEY, VALUE]), setnx),
    Command::new(Spec::new("SETRANGE", Exactly(4), GROWS, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::String, "2.2.0", "O(1)", "Overwrites a part of a string")
        .takes(&[KEY, Argument::integer("offset"), VALUE]), setrange),
    Command::new(Spec::new("STRLEN", Exactly(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::String, "2.2.0", "O(1)", "The length of a string")
        .takes(&[KEY]), strlen),
    Command::new(Spec::new("SUBSTR", Exactly(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::String, "1.0.0", "O(N)", "A part of a string")
        .deprecated("2.0.0", "`GETRANGE`")
        .takes(&[KEY, Argument::integer("start"), Argument::integer("end")]), substr),
];

/// `GET key`
fn get(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    match cx.keyspace.get(cx.db, key, cx.now)? {
        Some(value) => cx.reply.bulk(value.bytes()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `SET key value [NX | XX] [GET] [EX s | PX ms | EXAT s | PXAT ms | KEEPTTL]`
fn set(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, value) = (cx.key(args.key()), &args[2]);
    if args.len() == 3 {
        // What nearly all are.
        cx.keyspace.set(cx.db, key, value, Expiry::None, Encode::Auto, cx.now)?;
        cx.notify(Class::String, "set", args.key());
        cx.effect.verbatim();
        cx.reply.ok();
        return Ok(());
    }
    let options = Options::of_set(args)?;
    let expiry = match options.lifetime {
        Lifetime::Unspecified => Expiry::None,
        Lifetime::Keep => Expiry::Keep,
        Lifetime::Until(deadline) => Expiry::At(deadline.ms(cx.now, "SET")?),
        Lifetime::Forever => return Err(ErrorKind::Syntax),
    };
    let refused = options.condition.is_some_and(|condition| {
        (condition == Condition::Exists) != cx.keyspace.found_to_write(cx.db, key, cx.now).is_some()
    });
    let before = cx.reply.out.len();
    if options.get {
        get(cx, args)?;
    } else if refused {
        cx.reply.null();
    } else {
        cx.reply.ok();
    }
    if refused {
        return Ok(());
    }
    if let Err(full) = cx.keyspace.set(cx.db, key, value, expiry, Encode::Auto, cx.now) {
        cx.reply.out.truncate(before);
        return Err(full.into());
    }
    cx.notify(Class::String, "set", args.key());
    match expiry {
        Expiry::At(ms) => set_until(cx, args.key(), value, ms),
        _ if options.get => {
            let words = args.iter().enumerate();
            let words = words.filter(|(at, word)| *at < 3 || !word.eq_ignore_ascii_case(b"GET"));
            let words: Vec<&[u8]> = words.map(|(_, word)| word).collect();
            cx.effect.command(cx.db, &words);
        }
        _ => cx.effect.verbatim(),
    }
    Ok(())
}

/// The effect of a SET with an end.
fn set_until(cx: &mut Cx<'_>, key: &[u8], value: &[u8], ms: u64) {
    cx.notify(Class::Generic, "expire", key);
    let end = decimal(ms);
    cx.effect.command(cx.db, &[b"SET", key, value, b"PXAT", end.as_bytes()]);
}

/// Milliseconds as an argument of an effect; every deadline came from an `i64`.
pub(crate) fn decimal(ms: u64) -> Digits {
    Digits::new(i64::try_from(ms).unwrap_or(i64::MAX))
}

/// `SETNX key value`
fn setnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let new = cx.keyspace.found_to_write(cx.db, key, cx.now).is_none();
    if new {
        cx.keyspace.set(cx.db, key, &args[2], Expiry::None, Encode::Auto, cx.now)?;
        cx.notify(Class::String, "set", args.key());
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(new));
    Ok(())
}

/// `SETEX key seconds value`
fn setex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let ms = options::Deadline::in_seconds(&args[2]).ms(cx.now, "SETEX")?;
    set_with_end(cx, args, ms)
}

/// `PSETEX key milliseconds value`
fn psetex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let ms = options::Deadline::in_milliseconds(&args[2]).ms(cx.now, "PSETEX")?;
    set_with_end(cx, args, ms)
}

fn set_with_end(cx: &mut Cx<'_>, args: Args<'_>, ms: u64) -> Result<(), ErrorKind> {
    let (key, value) = (cx.key(args.key()), &args[3]);
    cx.keyspace.set(cx.db, key, value, Expiry::At(ms), Encode::Auto, cx.now)?;
    cx.notify(Class::String, "set", args.key());
    set_until(cx, args.key(), value, ms);
    cx.reply.ok();
    Ok(())
}

/// `GETSET key value`
fn getset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, value) = (cx.key(args.key()), &args[2]);
    let before = cx.reply.out.len();
    get(cx, args)?;
    if let Err(full) = cx.keyspace.set(cx.db, key, value, Expiry::None, Encode::Auto, cx.now) {
        cx.reply.out.truncate(before);
        return Err(full.into());
    }
    cx.notify(Class::String, "set", args.key());
    cx.effect.command(cx.db, &[b"SET", args.key(), value]);
    Ok(())
}

/// `GETDEL key`
fn getdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    get(cx, args)?;
    let key = cx.key(args.key());
    if cx.keyspace.remove(cx.db, key, cx.now) {
        cx.notify(Class::Generic, "del", args.key());
        cx.effect.command(cx.db, &[b"DEL", args.key()]);
    }
    Ok(())
}

/// `GETEX key [EX s | PX ms | EXAT s | PXAT ms | PERSIST]`
fn getex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let options = Options::of_getex(args)?;
    let (db, now, key) = (cx.db, cx.now, cx.key(args.key()));
    // A key that is not there is answered before the time is looked at.
    let Some(old) = cx.keyspace.expiry(db, key, now) else { return get(cx, args) };
    cx.keyspace.peek_string(db, key, now)?;
    match options.lifetime {
        Lifetime::Unspecified | Lifetime::Keep => get(cx, args)?,
        Lifetime::Forever => {
            get(cx, args)?;
            if old.is_some() {
                cx.keyspace.set_expiry(db, key, None, now)?;
                cx.notify(Class::Generic, "persist", args.key());
                cx.effect.command(db, &[b"PERSIST", args.key()]);
            }
        }
        Lifetime::Until(deadline) => {
            let ms = deadline.ms(now, "GETEX")?;
            let before = cx.reply.out.len();
            get(cx, args)?;
            if deadline.is_absolute() && expires_at_once(cx, ms) {
                cx.keyspace.remove(db, key, now);
                cx.notify(Class::Generic, "del", args.key());
                cx.effect.command(db, &[b"DEL", args.key()]);
            } else if let Err(full) = cx.keyspace.set_expiry(db, key, Some(ms), now) {
                cx.reply.out.truncate(before);
                return Err(full.into());
            } else {
                let end = decimal(ms);
                cx.notify(Class::Generic, "expire", args.key());
                cx.effect.command(db, &[b"PEXPIREAT", args.key(), end.as_bytes()]);
            }
        }
    }
    Ok(())
}

/// Is a key with this end to be deleted instead? Never while a master's stream is applied: the
/// master decides, and sends its DEL.
pub(crate) fn expires_at_once(cx: &Cx<'_>, ms: u64) -> bool {
    ms <= cx.now.ms() && cx.keyspace.expiry_mode() != ExpiryMode::Ignore
}

/// `STRLEN key`
fn strlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let len = cx.keyspace.get(cx.db, key, cx.now)?.map_or(0, |value| value.bytes().len());
    cx.reply_len(len);
    Ok(())
}

/// `APPEND key value`
fn append(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, tail) = (cx.key(args.key()), &args[2]);
    let old = cx.keyspace.peek_string(cx.db, key, cx.now)?.map_or(0, |it| it.bytes().len());
    check_length(cx, old, tail.len())?;
    let len = cx.keyspace.append(cx.db, key, tail, cx.now)?;
    cx.notify(Class::String, "append", args.key());
    cx.effect.verbatim();
    cx.reply_len(len);
    Ok(())
}

/// `SETRANGE key offset value`
fn setrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let offset = integer(&args[2])?;
    let offset = usize::try_from(offset).map_err(|_| ErrorKind::OffsetOutOfRange)?;
    let (key, part) = (cx.key(args.key()), &args[3]);
    let old = cx.keyspace.peek_string(cx.db, key, cx.now)?.map_or(0, |it| it.bytes().len());
    if part.is_empty() {
        cx.reply_len(old);
        return Ok(());
    }
    check_length(cx, offset, part.len())?;
    let len = cx.keyspace.write_range(cx.db, key, offset, part, cx.now)?;
    cx.notify(Class::String, "setrange", args.key());
    cx.effect.verbatim();
    cx.reply_len(len);
    Ok(())
}

fn check_length(cx: &Cx<'_>, start: usize, more: usize) -> Result<(), ErrorKind> {
    match start.checked_add(more) {
        Some(len) if len <= cx.keyspace.string_bytes_max() => Ok(()),
        _ => Err(ErrorKind::StringTooLong),
    }
}

/// `GETRANGE key start end`
fn getrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (start, end) = (integer(&args[2])?, integer(&args[3])?);
    let key = cx.key(args.key());
    let value = cx.keyspace.get(cx.db, key, cx.now)?;
    let value = value.as_ref().map_or(&b""[..], |value| value.bytes());
    cx.reply.bulk(&value[range(start, end, value.len())]);
    Ok(())
}

/// `SUBSTR`, the old name.
fn substr(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    getrange(cx, args)
}

/// Both ends count, negative ones from the end; what is outside is left out.
fn range(start: i64, end: i64, len: usize) -> std::ops::Range<usize> {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_end = |at: i64| if at < 0 { at.saturating_add(len).max(0) } else { at };
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    match (usize::try_from(start), usize::try_from(end)) {
        (Ok(start), Ok(end)) if start <= end => start..end + 1,
        _ => 0..0,
    }
}

/// `INCR key`
fn incr(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    add(cx, args, 1)
}

/// `DECR key`
fn decr(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    add(cx, args, -1)
}

/// `INCRBY key increment`
fn incrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    add(cx, args, integer(&args[2])?)
}

/// `DECRBY key decrement`
fn decrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let decrement = integer(&args[2])?;
    add(cx, args, decrement.checked_neg().ok_or(ErrorKind::DecrementOverflow)?)
}

fn add(cx: &mut Cx<'_>, args: Args<'_>, increment: i64) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let old = match cx.keyspace.peek_string(cx.db, key, cx.now)? {
        Some(value) => parse_i64(value.bytes()).ok_or(ErrorKind::NotAnInteger)?,
        None => 0,
    };
    let sum = old.checked_add(increment).ok_or(ErrorKind::Overflow)?;
    let text = Digits::new(sum);
    cx.keyspace.set(cx.db, key, text.as_bytes(), Expiry::Keep, Encode::Auto, cx.now)?;
    cx.notify(Class::String, "incrby", args.key());
    cx.effect.verbatim();
    cx.reply.int(sum);
    Ok(())
}

/// `INCRBYFLOAT key increment`
fn incrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let number =
        |text: &[u8]| long_double::parse(text, Format::EXTENDED).ok_or(ErrorKind::NotAFloat);
    let old = match cx.keyspace.peek_string(cx.db, key, cx.now)? {
        Some(value) => number(value.bytes())?,
        None => number(b"0")?,
    };
    let sum = old.plus(number(&args[2])?).filter(|sum| !sum.is_infinite());
    let sum = sum.ok_or(ErrorKind::IncrementNanOrInfinity)?;
    let mut text = Vec::new();
    sum.write_fixed(&mut text);
    cx.keyspace.set(cx.db, key, &text, Expiry::Keep, Encode::Text, cx.now)?;
    cx.notify(Class::String, "incrbyfloat", args.key());
    cx.effect.command(cx.db, &[b"SET", args.key(), &text, b"KEEPTTL"]);
    cx.reply.bulk(&text);
    Ok(())
}

/// `MGET key [key ...]`; `Gather::InOrder` puts the parts of several cores together.
fn mget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    cx.reply.array(args.len() - 1);
    for word in args.from(1) {
        let key = cx.key(word);
        match cx.keyspace.get(cx.db, key, cx.now) {
            Ok(Some(value)) => cx.reply.bulk(value.bytes()),
            Ok(None) | Err(_) => cx.reply.null(),
        }
    }
    Ok(())
}

/// `MSET key value [key value ...]`
fn mset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    check_pairs(args, "MSET")?;
    set_pairs(cx, args)?;
    cx.effect.verbatim();
    cx.reply.ok();
    Ok(())
}

/// `MSETNX key value [key value ...]`
fn msetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    check_pairs(args, "MSETNX")?;
    let none = none_exists(cx, args);
    if none {
        set_pairs(cx, args)?;
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(none));
    Ok(())
}

/// The arity of the commands of pairs, which a row cannot say; `keys::is_whole` is the same.
fn check_pairs(args: Args<'_>, command: &'static str) -> Result<(), ErrorKind> {
    if args.len().is_multiple_of(2) { Err(ErrorKind::WrongArity { command }) } else { Ok(()) }
}

/// First half of `MSETNX` on one core: is none of its keys there? `args` as a whole request.
pub fn none_exists(cx: &mut Cx<'_>, args: Args<'_>) -> bool {
    args.from(1).step_by(2).all(|word| {
        let key = cx.key(word);
        cx.keyspace.found_to_write(cx.db, key, cx.now).is_none()
    })
}

/// Second half: sets the pairs of one core. Notes no effect, but counts all changes but one.
pub fn set_pairs(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    for (word, value) in args.from(1).step_by(2).zip(args.from(2).step_by(2)) {
        let key = cx.key(word);
        cx.keyspace.set(cx.db, key, value, Expiry::None, Encode::Auto, cx.now)?;
        cx.notify(Class::String, "set", word);
    }
    let more = (args.len() / 2).saturating_sub(1);
    cx.effect.changed(u64::try_from(more).unwrap_or(u64::MAX));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/strings-7.0.15.txt"));
    }

    /// What redis-server 7.0.15 answers after HELLO 3.
    #[test]
    fn replies_in_resp3() {
        let mut shard = transcript::Shard::resp3();
        let mut ask = |request: &str| {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            String::from_utf8(shard.request(&words)).unwrap().replace("\r\n", "|")
        };
        assert_eq!(ask("GET k"), "_|");
        assert_eq!(ask("SET k v XX"), "_|");
        assert_eq!(ask("MSET k ohmytext l mynewtext"), "+OK|");
        assert_eq!(ask("MGET k n"), "*2|$8|ohmytext|_|");
        assert_eq!(
            ask("LCS k l IDX MINMATCHLEN 4"),
            "%2|$7|matches|*1|*2|*2|:4|:7|*2|:5|:8|$3|len|:6|"
        );
    }

    /// An applied stream must not delete what its master still has.
    #[test]
    fn a_time_that_is_over_is_kept_while_a_stream_is_applied() {
        let mut shard = transcript::Shard::default();
        shard.apply_stream();
        assert_eq!(shard.request(&[b"SET", b"k", b"v"]), b"+OK\r\n");
        assert_eq!(shard.request(&[b"PEXPIREAT", b"k", b"1000"]), b":1\r\n");
        assert_eq!(shard.request(&[b"GETEX", b"k", b"PXAT", b"2000"]), b"$1\r\nv\r\n");
        assert_eq!(shard.request(&[b"PEXPIRETIME", b"k"]), b":2000\r\n");
    }
}
