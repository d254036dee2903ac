//! Hash commands. The table is this file's contents page; each row names one function.
//!
//! Effects are those of redis-server 7.0 (`tests/golden/hashes-7.0.15.txt`): the command as it came, but
//! `HINCRBYFLOAT` as the `HSET` of its sum.
//!
//! Not here: how a hash is held (`types/fields.rs`), how fields are drawn (`draw.rs`).

use crate::base::long_double::{self, Format};
use crate::base::num::Digits;
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, Kind, VALUE};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Command, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::engine::draw::{self, Count};
use crate::engine::generic::whole::Scan;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn, integer};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::types::fields::{self, Fields};
use crate::types::object::Body;
use crate::types::packed::Item;
use crate::types::record;

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE_FAST: Flags = Flags::WRITE.and(Flags::FAST);
const GROWS_FAST: Flags = WRITE_FAST.and(Flags::DENYOOM);

const RO: KeyFlags = KeyFlags::RO;
const RW: KeyFlags = KeyFlags::RW;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const UPDATE: KeyFlags = KeyFlags::UPDATE;
const INSERT: KeyFlags = KeyFlags::INSERT;
const DELETE: KeyFlags = KeyFlags::DELETE;

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("HDEL", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::Hash, "2.0.0", "O(N)", "Removes fields of a hash")
        .takes(&[KEY, Argument::string("field").multiple()]), hdel),
    Command::new(Spec::new("HEXISTS", Exactly(3), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Hash, "2.0.0", "O(1)", "Is there a field in a hash?")
        .takes(&[KEY, Argument::string("field")]), hexists),
    Command::new(Spec::new("HGET", Exactly(3), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Hash, "2.0.0", "O(1)", "The value of a field of a hash")
        .takes(&[KEY, Argument::string("field")]), hget),
    Command::new(Spec::new("HGETALL", Exactly(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Hash, "2.0.0", "O(N)", "All fields of a hash with their values")
        .tips(&["nondeterministic_output_order"])
        .takes(&[KEY]), hgetall),
    Command::new(Spec::new("HINCRBY", Exactly(4), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::Hash, "2.0.0", "O(1)", "Adds a number to an integer in a hash")
        .takes(&[KEY, Argument::string("field"), Argument::integer("increment")]), hincrby),
    Command::new(Spec::new("HINCRBYFLOAT", Exactly(4), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::Hash, "2.6.0", "O(1)", "Adds a floating point number to a number in a hash")
        .takes(&[KEY, Argument::string("field"), Argument::new(Kind::Double, "increment")]), hincrbyfloat),
    Command::new(Spec::new("HKEYS", Exactly(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Hash, "2.0.0", "O(N)", "All fields of a hash")
        .tips(&["nondeterministic_output_order"])
        .takes(&[KEY]), hkeys),
    Command::new(Spec::new("HLEN", Exactly(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Hash, "2.0.0", "O(1)", "How many fields a hash has")
        .takes(&[KEY]), hlen),
    Command::new(Spec::new("HMGET", AtLeast(3), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Hash, "2.0.0", "O(N)", "The values of several fields of a hash")
        .takes(&[KEY, Argument::string("field").multiple()]), hmget),
    Command::new(Spec::new("HMSET", AtLeast(4), GROWS_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Hash, "2.0.0", "O(N)", "Sets several fields of a hash")
        .deprecated("4.0.0", "`HSET` with multiple field-value pairs")
        .takes(&[KEY, Argument::block("field_value", &[Argument::string("field"), VALUE]).multiple()]), hmset),
    Command::new(Spec::new("HRANDFIELD", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Hash, "6.2.0", "O(N)", "Fields of a hash drawn at random")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::block("options", &[Argument::integer("count"), Argument::word("withvalues", "WITHVALUES").optional()]).optional(),
        ]), hrandfield),
    Command::new(Spec::new("HSCAN", AtLeast(3), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Hash, "2.8.0", "O(1)", "Goes through the fields of a hash a few at a time")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::integer("cursor"),
            Argument::new(Kind::Pattern, "pattern").token("MATCH").optional(),
            Argument::integer("count").token("COUNT").optional(),
        ]), hscan),
    Command::new(Spec::new("HSET", AtLeast(4), GROWS_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Hash, "2.0.0", "O(1)", "Sets fields of a hash")
        .takes(&[KEY, Argument::block("field_value", &[Argument::string("field"), VALUE]).multiple()]), hset),
    Command::new(Spec::new("HSETNX", Exactly(4), GROWS_FAST, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::Hash, "2.0.0", "O(1)", "Sets a field of a hash that does not exist yet")
        .takes(&[KEY, Argument::string("field"), VALUE]), hsetnx),
    Command::new(Spec::new("HSTRLEN", Exactly(3), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Hash, "3.2.0", "O(1)", "The length of the value of a field")
        .takes(&[KEY, Argument::string("field")]), hstrlen),
    Command::new(Spec::new("HVALS", Exactly(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Hash, "2.0.0", "O(N)", "All values of a hash")
        .tips(&["nondeterministic_output_order"])
        .takes(&[KEY]), hvals),
];

/// One field's value.
fn value_of<T>(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    then: impl FnOnce(&mut Reply<'_>, Option<Item<'_>>) -> T,
) -> Result<T, ErrorKind> {
    let (key, field) = (cx.key(args.key()), &args[2]);
    let hasher = cx.keyspace.hasher();
    let value = cx.keyspace.read(cx.db, key, record::Kind::Hash, cx.now)?;
    let value = value.and_then(|value| Fields::of(value).get(|it| hasher.hash(it), field));
    Ok(then(&mut cx.reply, value))
}

/// Lends the hash to `edit`, made if need be.
fn modify<T>(
    cx: &mut Cx<'_>,
    key: &[u8],
    edit: impl FnOnce(&mut Body) -> T,
) -> Result<T, ErrorKind> {
    let key = cx.key(key);
    cx.keyspace.modify_or_create(cx.db, key, record::Kind::Hash, cx.now, fields::empty, edit)
}

/// `HGET key field`
fn hget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    value_of(cx, args, |reply, value| match value {
        Some(value) => reply.bulk(&value.text()),
        None => reply.null(),
    })
}

/// `HEXISTS key field`
fn hexists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    value_of(cx, args, |reply, value| reply.int(i64::from(value.is_some())))
}

/// `HSTRLEN key field`
fn hstrlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let len = value_of(cx, args, |_, value| value.map_or(0, Item::text_len))?;
    cx.reply_len(len);
    Ok(())
}

/// `HMGET key field [field ...]`
fn hmget(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let hasher = cx.keyspace.hasher();
    let value = cx.keyspace.read(cx.db, key, record::Kind::Hash, cx.now)?;
    let fields = value.map(Fields::of);
    cx.reply.array(args.len() - 2);
    for field in args.from(2) {
        match fields.and_then(|fields| fields.get(|it| hasher.hash(it), field)) {
            Some(value) => cx.reply.bulk(&value.text()),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// `HLEN key`
fn hlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Hash, cx.now)?;
    let len = value.map_or(0, |value| Fields::of(value).len());
    cx.reply_len(len);
    Ok(())
}

/// `HGETALL key`
fn hgetall(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Hash, cx.now)?;
    let Some(fields) = value.map(Fields::of) else {
        cx.reply.map(0);
        return Ok(());
    };
    cx.reply.map(fields.len());
    fields.all(&mut |field, value| {
        cx.reply.bulk(field);
        cx.reply.bulk(value);
        true
    });
    Ok(())
}

/// `HKEYS key`
fn hkeys(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    one_side(cx, args, |field, _| field)
}

/// `HVALS key`
fn hvals(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    one_side(cx, args, |_, value| value)
}

fn one_side(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    side: for<'a> fn(&'a [u8], &'a [u8]) -> &'a [u8],
) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Hash, cx.now)?;
    let Some(fields) = value.map(Fields::of) else {
        cx.reply.array(0);
        return Ok(());
    };
    cx.reply.array(fields.len());
    fields.all(&mut |field, value| {
        cx.reply.bulk(side(field, value));
        true
    });
    Ok(())
}

/// `HSET key field value [field value ...]`
fn hset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let new = set_all(cx, args, "HSET")?;
    cx.reply_len(new);
    Ok(())
}

/// `HMSET`, the old name, which only says OK.
fn hmset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    set_all(cx, args, "HMSET")?;
    cx.reply.ok();
    Ok(())
}

/// Sets all pairs; how many fields are new.
fn set_all(cx: &mut Cx<'_>, args: Args<'_>, command: &'static str) -> Result<usize, ErrorKind> {
    if !args.len().is_multiple_of(2) {
        return Err(ErrorKind::WrongArity { command });
    }
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let new = modify(cx, args.key(), |body| {
        let pairs = args.from(2).step_by(2).zip(args.from(3).step_by(2));
        pairs.filter(|(field, value)| fields::put(body, &packing, &hasher, field, value)).count()
    })?;
    cx.notify(Class::Hash, "hset", args.key());
    cx.effect.verbatim();
    cx.effect.changed((args.len() as u64 - 2) / 2 - 1);
    Ok(new)
}

/// `HSETNX key field value`
fn hsetnx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let new = modify(cx, args.key(), |body| {
        let there = Fields::of_body(body).get(|it| hasher.hash(it), &args[2]).is_some();
        !there && fields::put(body, &packing, &hasher, &args[2], &args[3])
    })?;
    if new {
        cx.notify(Class::Hash, "hset", args.key());
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(new));
    Ok(())
}

/// `HDEL key field [field ...]`
fn hdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let removed = cx.keyspace.modify(cx.db, key, record::Kind::Hash, cx.now, |body| {
        // An empty hash is no hash: what comes after is not there.
        args.from(2).filter(|field| fields::remove(body, &hasher, field)).count()
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        cx.notify_taken(Class::Hash, "hdel", args.key());
        cx.effect.verbatim();
        cx.effect.changed(removed as u64 - 1);
    }
    cx.reply_len(removed);
    Ok(())
}

/// `HINCRBY key field increment`
fn hincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let increment = integer(&args[3])?;
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let field = &args[2];
    let sum = modify(cx, args.key(), |body| {
        let old = match Fields::of_body(body).get(|it| hasher.hash(it), field) {
            Some(value) => value.int().ok_or(ErrorKind::HashValueNotAnInteger)?,
            None => 0,
        };
        let sum = old.checked_add(increment).ok_or(ErrorKind::Overflow)?;
        fields::put(body, &packing, &hasher, field, Digits::new(sum).as_bytes());
        Ok::<_, ErrorKind>(sum)
    })??;
    cx.notify(Class::Hash, "hincrby", args.key());
    cx.effect.verbatim();
    cx.reply.int(sum);
    Ok(())
}

/// `HINCRBYFLOAT key field increment`
fn hincrbyfloat(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let number = |text: &[u8]| long_double::parse(text, Format::EXTENDED);
    let increment = number(&args[3]).ok_or(ErrorKind::NotAFloat)?;
    if increment.is_infinite() {
        return Err(ErrorKind::NanOrInfinity);
    }
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let (field, mut text) = (&args[2], Vec::new());
    modify(cx, args.key(), |body| {
        let old = match Fields::of_body(body).get(|it| hasher.hash(it), field) {
            Some(value) => number(&value.text()).ok_or(ErrorKind::HashValueNotAFloat)?,
            None => number(b"0").ok_or(ErrorKind::NotAFloat)?,
        };
        let sum = old.plus(increment).filter(|sum| !sum.is_infinite());
        sum.ok_or(ErrorKind::IncrementNanOrInfinity)?.write_fixed(&mut text);
        fields::put(body, &packing, &hasher, field, &text);
        Ok::<_, ErrorKind>(())
    })??;
    cx.notify(Class::Hash, "hincrbyfloat", args.key());
    cx.effect.command(cx.db, &[b"HSET", args.key(), field, &text]);
    cx.reply.bulk(&text);
    Ok(())
}

/// `HRANDFIELD key [count [WITHVALUES]]`
fn hrandfield(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let count = args.get(2).map(Count::parse).transpose()?;
    let with_values = args.len() == 4 && args.is(3, "WITHVALUES");
    if args.len() > 4 || args.len() == 4 && !with_values {
        return Err(ErrorKind::Syntax);
    }
    if with_values {
        count.map(Count::doubled).transpose()?;
    }
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Hash, cx.now)?;
    let fields = value.map(Fields::of);
    let (reply, prng) = (&mut cx.reply, &mut *cx.prng);
    let Some(count) = count else {
        let drawn = fields.and_then(|it| it.at(draw::rank(prng, it.len())));
        match drawn {
            Some((field, _)) => reply.bulk(&field.text()),
            None => reply.null(),
        }
        return Ok(());
    };
    let Some(fields) = fields else {
        reply.array(0);
        return Ok(());
    };
    let ranks = draw::ranks(prng, count, fields.len())?;
    let pairs = with_values && reply.proto == Proto::Resp3;
    reply.array(if with_values && !pairs { 2 * ranks.len() } else { ranks.len() });
    let listed = fields.listed();
    for rank in ranks {
        let drawn = listed.get(rank).copied().or_else(|| fields.at(rank));
        let Some((field, value)) = drawn else { continue };
        if pairs {
            reply.array(2);
        }
        reply.bulk(&field.text());
        if with_values {
            reply.bulk(&value.text());
        }
    }
    Ok(())
}

/// `HSCAN key cursor [MATCH pattern] [COUNT count]`
fn hscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let cursor = Scan::cursor(&args[2])?;
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Hash, cx.now)?;
    let Some(fields) = value.map(Fields::of) else {
        Scan::reply(&mut cx.reply, 0, 0, &[]);
        return Ok(());
    };
    let scan = Scan::of_elements(args.skip(1))?;
    let (mut found, mut out) = (0, Vec::new());
    let mut reply = Reply { out: &mut out, proto: cx.reply.proto };
    let mut each = |field: &[u8], value: &[u8]| {
        if scan.matches(field) {
            reply.bulk(field);
            reply.bulk(value);
            found += 2;
        }
    };
    let next = match fields {
        Fields::Packed(_) => {
            fields.all(&mut |field, value| {
                each(field, value);
                true
            });
            0
        }
        Fields::Dict(dict) => {
            let (mut next, mut seen) = (Some(cursor), 0);
            while let Some(from) = next
                && seen < scan.count
            {
                next = dict.scan(from, &mut |field, value| {
                    seen += 1;
                    each(field, value);
                });
            }
            next.unwrap_or(0)
        }
    };
    Scan::reply(&mut cx.reply, next, found, &out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/hashes-7.0.15.txt"));
    }
}
