//! Set commands. The table is this file's contents page; each row names one function, here or in
//! `sets/algebra.rs` (what takes several sets).
//!
//! Effects are those of redis-server 7.0 (`tests/golden/sets-7.0.15.txt`): the command as it came, but `SPOP` as
//! the `SREM` of what it drew, or as a `DEL`.
//!
//! Not here: how a set is held (`types/members.rs`), how members are drawn (`draw.rs`).

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, KEYS, Kind};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::draw::{self, Count};
use crate::engine::generic::whole::Scan;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::types::members::{self, Members};
use crate::types::object::Body;
use crate::types::record;
use algebra::{sdiff, sdiffstore, sinter, sintercard, sinterstore, sunion, sunionstore};

mod algebra;

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

/// Members that one SREM of an SPOP's effect names at most, as in Redis.
const EFFECT_MEMBERS_MAX: usize = 1_024;

/// An SPOP that leaves less than a fifth of what it takes makes a new set of the rest, as in Redis: it
/// may then be held in a smaller form.
const REBUILD_RATIO: usize = 5;

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("SADD", AtLeast(3), GROWS_FAST, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::Set, "1.0.0", "O(1)", "Adds members to a set")
        .takes(&[KEY, Argument::string("member").multiple()]), sadd),
    Command::new(Spec::new("SCARD", Exactly(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Set, "1.0.0", "O(1)", "How many members a set has")
        .takes(&[KEY]), scard),
    Command::new(Spec::new("SDIFF", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS)).to(-1, 1)])
        .about(Group::Set, "1.0.0", "O(N)", "The members of a set that no other set has")
        .tips(&["nondeterministic_output_order"])
        .takes(&[KEYS])
        .hop(Hop::Exclusive), sdiff),
    Command::new(Spec::new("SDIFFSTORE", AtLeast(3), GROWS, &[KeySpec::at(1, OW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS)).to(-1, 1)])
        .about(Group::Set, "1.0.0", "O(N)", "Keeps the members of a set that no other set has")
        .takes(&[Argument::key("destination", 0), Argument::key("key", 1).multiple()])
        .hop(Hop::Exclusive), sdiffstore),
    Command::new(Spec::new("SINTER", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS)).to(-1, 1)])
        .about(Group::Set, "1.0.0", "O(N*M)", "The members that all of several sets have")
        .tips(&["nondeterministic_output_order"])
        .takes(&[KEYS])
        .hop(Hop::Exclusive), sinter),
    Command::new(Spec::new("SINTERCARD", AtLeast(3), READ.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::Set, "7.0.0", "O(N*M)", "How many members all of several sets have")
        .takes(&[Argument::integer("numkeys"), KEYS, Argument::integer("limit").token("LIMIT").optional()])
        .hop(Hop::Exclusive), sintercard),
    Command::new(Spec::new("SINTERSTORE", AtLeast(3), GROWS, &[KeySpec::at(1, RW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS)).to(-1, 1)])
        .about(Group::Set, "1.0.0", "O(N*M)", "Keeps the members that all of several sets have")
        .takes(&[Argument::key("destination", 0), Argument::key("key", 1).multiple()])
        .hop(Hop::Exclusive), sinterstore),
    Command::new(Spec::new("SISMEMBER", Exactly(3), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Set, "1.0.0", "O(1)", "Is something a member of a set?")
        .takes(&[KEY, Argument::string("member")]), sismember),
    Command::new(Spec::new("SMEMBERS", Exactly(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Set, "1.0.0", "O(N)", "All members of a set")
        .tips(&["nondeterministic_output_order"])
        .takes(&[KEY]), smembers),
    Command::new(Spec::new("SMISMEMBER", AtLeast(3), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Set, "6.2.0", "O(N)", "Which of several things are members of a set")
        .takes(&[KEY, Argument::string("member").multiple()]), smismember),
    Command::new(Spec::new("SMOVE", Exactly(4), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)), KeySpec::at(2, RW.and(INSERT))])
        .about(Group::Set, "1.0.0", "O(1)", "Moves a member from one set to another")
        .takes(&[Argument::key("source", 0), Argument::key("destination", 1), Argument::string("member")])
        .hop(Hop::Exclusive), smove),
    Command::new(Spec::new("SPOP", AtLeast(2), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE))])
        .about(Group::Set, "1.0.0", "", "Members of a set drawn at random, which are then removed")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY, Argument::integer("count").since("3.2.0").optional()]), spop),
    Command::new(Spec::new("SRANDMEMBER", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Set, "1.0.0", "", "Members of a set drawn at random")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY, Argument::integer("count").since("2.6.0").optional()]), srandmember),
    Command::new(Spec::new("SREM", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::Set, "1.0.0", "O(N)", "Removes members of a set")
        .takes(&[KEY, Argument::string("member").multiple()]), srem),
    Command::new(Spec::new("SSCAN", AtLeast(3), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Set, "2.8.0", "O(1)", "Goes through the members of a set a few at a time")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::integer("cursor"),
            Argument::new(Kind::Pattern, "pattern").token("MATCH").optional(),
            Argument::integer("count").token("COUNT").optional(),
        ]), sscan),
    Command::new(Spec::new("SUNION", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS)).to(-1, 1)])
        .about(Group::Set, "1.0.0", "O(N)", "The members of several sets")
        .tips(&["nondeterministic_output_order"])
        .takes(&[KEYS])
        .hop(Hop::Exclusive), sunion),
    Command::new(Spec::new("SUNIONSTORE", AtLeast(3), GROWS, &[KeySpec::at(1, OW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS)).to(-1, 1)])
        .about(Group::Set, "1.0.0", "O(N)", "Keeps the members of several sets")
        .takes(&[Argument::key("destination", 0), Argument::key("key", 1).multiple()])
        .hop(Hop::Exclusive), sunionstore),
];

/// `SADD key member [member ...]`
fn sadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let key = cx.key(args.key());
    let kind = record::Kind::Set;
    let added = cx.keyspace.modify_or_create(cx.db, key, kind, cx.now, members::empty, |body| {
        args.from(2).filter(|member| members::add(body, &packing, &hasher, member)).count()
    })?;
    if added > 0 {
        cx.notify(Class::Set, "sadd", args.key());
    }
    changed(cx, added);
    cx.reply_len(added);
    Ok(())
}

/// `SREM key member [member ...]`
fn srem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let hasher = cx.keyspace.hasher();
    let removed = modify(cx, args.key(), |body| {
        args.from(2).filter(|member| members::remove(body, &hasher, member)).count()
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        cx.notify_taken(Class::Set, "srem", args.key());
    }
    changed(cx, removed);
    cx.reply_len(removed);
    Ok(())
}

/// The request is the effect if it changed so many members.
fn changed(cx: &mut Cx<'_>, members: usize) {
    if members > 0 {
        cx.effect.verbatim();
        cx.effect.changed(members as u64 - 1);
    }
}

/// Lends the set to `edit`, if there is one.
fn modify<T>(
    cx: &mut Cx<'_>,
    key: &[u8],
    edit: impl FnOnce(&mut Body) -> T,
) -> Result<Option<T>, ErrorKind> {
    let key = cx.key(key);
    cx.keyspace.modify(cx.db, key, record::Kind::Set, cx.now, edit)
}

/// `SCARD key`
fn scard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Set, cx.now)?;
    let len = value.map_or(0, |value| Members::of(value).len());
    cx.reply_len(len);
    Ok(())
}

/// `SISMEMBER key member`
fn sismember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Set, cx.now)?;
    let found = value.is_some_and(|it| Members::of(it).contains(|it| hasher.hash(it), &args[2]));
    cx.reply.int(i64::from(found));
    Ok(())
}

/// `SMISMEMBER key member [member ...]`
fn smismember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Set, cx.now)?;
    let members = value.map(Members::of);
    cx.reply.array(args.len() - 2);
    for member in args.from(2) {
        let found = members.is_some_and(|it| it.contains(|it| hasher.hash(it), member));
        cx.reply.int(i64::from(found));
    }
    Ok(())
}

/// `SMEMBERS key`
fn smembers(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Set, cx.now)?;
    reply_members(&mut cx.reply, value.map(Members::of));
    Ok(())
}

fn reply_members(reply: &mut Reply<'_>, members: Option<Members<'_>>) {
    reply.set(members.map_or(0, Members::len));
    if let Some(members) = members {
        members.all(&mut |member| {
            reply.bulk(member);
            true
        });
    }
}

/// `SMOVE source destination member`
fn smove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (source, target, member) = (args.key(), &args[2], &args[3]);
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let kind = record::Kind::Set;
    let (from, to) = (cx.key(source), cx.key(target));
    let Some(value) = cx.keyspace.peek(cx.db, from, cx.now) else {
        // Asked for its side effect: an expired target goes out as a DEL.
        cx.keyspace.exists(cx.db, to, cx.now);
        cx.reply.int(0);
        return Ok(());
    };
    if value.kind() != kind {
        return Err(ErrorKind::WrongType);
    }
    let there = Members::of(value).contains(|it| hasher.hash(it), member);
    if cx.keyspace.peek(cx.db, to, cx.now).is_some_and(|value| value.kind() != kind) {
        return Err(ErrorKind::WrongType);
    }
    if there && source != target {
        // First what may fail; but Redis takes it out first, and what happened is told in its order.
        let quiet = cx.keyspace.be_quiet();
        let is_new = cx.keyspace.peek(cx.db, to, cx.now).is_none();
        let added = cx.keyspace.modify_or_create(cx.db, to, kind, cx.now, members::empty, |body| {
            members::add(body, &packing, &hasher, member)
        });
        cx.keyspace.be_heard(quiet);
        let added = added?;
        cx.keyspace
            .modify(cx.db, from, kind, cx.now, |body| members::remove(body, &hasher, member))?;
        cx.notify_taken(Class::Set, "srem", source);
        if is_new {
            cx.notify(Class::New, "new", target);
        }
        if added {
            cx.notify(Class::Set, "sadd", target);
        }
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(there));
    Ok(())
}

/// `SPOP key [count]`
fn spop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    match args.len() {
        2 => spop_one(cx, args),
        3 => spop_count(cx, args),
        _ => Err(ErrorKind::Syntax),
    }
}

fn spop_one(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let prng = &mut *cx.prng;
    let drawn = cx.keyspace.modify(cx.db, key, record::Kind::Set, cx.now, |body| {
        let members = Members::of_body(body);
        let drawn = members.at(draw::rank(prng, members.len()))?.text().to_vec();
        members::remove(body, &hasher, &drawn);
        Some(drawn)
    })?;
    match drawn.flatten() {
        Some(member) => {
            cx.notify_taken(Class::Set, "spop", args.key());
            cx.effect.command(cx.db, &[b"SREM", args.key(), &member]);
            cx.reply.bulk(&member);
        }
        None => cx.reply.null(),
    }
    Ok(())
}

fn spop_count(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let count = parse_i64(&args[2]).and_then(|count| usize::try_from(count).ok());
    let count = count.ok_or(ErrorKind::NotPositive)?;
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let (key, kind) = (cx.key(args.key()), record::Kind::Set);
    let len = match cx.keyspace.peek(cx.db, key, cx.now) {
        Some(value) if value.kind() != kind => return Err(ErrorKind::WrongType),
        Some(value) => Members::of(value).len(),
        None => 0,
    };
    if count == 0 || len == 0 {
        cx.reply.set(0);
        return Ok(());
    }
    if count >= len {
        let value = cx.keyspace.peek(cx.db, key, cx.now);
        reply_members(&mut cx.reply, value.map(Members::of));
        cx.keyspace.remove(cx.db, key, cx.now);
        cx.notify(Class::Set, "spop", args.key());
        cx.notify(Class::Generic, "del", args.key());
        cx.effect.command(cx.db, &[b"DEL", args.key()]);
        cx.effect.changed(len as u64 - 1);
        return Ok(());
    }
    let ranks = draw::ranks(cx.prng, Count::Distinct(count as u64), len)?;
    let drawn = modify(cx, args.key(), |body| {
        let members = Members::of_body(body);
        let listed = members.listed();
        let at = |rank: usize| listed.get(rank).copied().or_else(|| members.at(rank));
        let drawn: Vec<Vec<u8>> =
            ranks.iter().filter_map(|&rank| Some(at(rank)?.text().to_vec())).collect();
        for member in &drawn {
            members::remove(body, &hasher, member);
        }
        if (len - count) * REBUILD_RATIO <= count {
            let mut rest = members::empty();
            Members::of_body(body).all(&mut |member| {
                members::add(&mut rest, &packing, &hasher, member);
                true
            });
            *body = rest;
        }
        drawn
    })?;
    let drawn = drawn.unwrap_or_default();
    cx.notify_taken(Class::Set, "spop", args.key());
    cx.reply.set(drawn.len());
    drawn.iter().for_each(|member| cx.reply.bulk(member));
    for part in drawn.chunks(EFFECT_MEMBERS_MAX) {
        let mut words: Vec<&[u8]> = vec![b"SREM", args.key()];
        words.extend(part.iter().map(Vec::as_slice));
        cx.effect.command(cx.db, &words);
        cx.effect.changed(part.len() as u64 - 1);
    }
    Ok(())
}

/// `SRANDMEMBER key [count]`
fn srandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.len() > 3 {
        return Err(ErrorKind::Syntax);
    }
    let count = args.get(2).map(Count::parse).transpose()?;
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Set, cx.now)?;
    let members = value.map(Members::of);
    let (reply, prng) = (&mut cx.reply, &mut *cx.prng);
    let Some(count) = count else {
        match members.and_then(|it| it.at(draw::rank(prng, it.len()))) {
            Some(member) => reply.bulk(&member.text()),
            None => reply.null(),
        }
        return Ok(());
    };
    let Some(members) = members else {
        reply.array(0);
        return Ok(());
    };
    let ranks = draw::ranks(prng, count, members.len())?;
    reply.array(ranks.len());
    let listed = members.listed();
    for rank in ranks {
        if let Some(member) = listed.get(rank).copied().or_else(|| members.at(rank)) {
            reply.bulk(&member.text());
        }
    }
    Ok(())
}

/// `SSCAN key cursor [MATCH pattern] [COUNT count]`
fn sscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let cursor = Scan::cursor(&args[2])?;
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::Set, cx.now)?;
    let Some(members) = value.map(Members::of) else {
        Scan::reply(&mut cx.reply, 0, 0, &[]);
        return Ok(());
    };
    let scan = Scan::of_elements(args.skip(1))?;
    let (mut found, mut out) = (0, Vec::new());
    let mut reply = Reply { out: &mut out, proto: cx.reply.proto };
    let mut each = |member: &[u8]| {
        if scan.matches(member) {
            reply.bulk(member);
            found += 1;
        }
    };
    let next = match members {
        Members::Packed(_) | Members::Ints(_) => {
            members.all(&mut |member| {
                each(member);
                true
            });
            0
        }
        Members::Dict(dict) => {
            let (mut next, mut seen) = (Some(cursor), 0);
            while let Some(from) = next
                && seen < scan.count
            {
                next = dict.scan(from, &mut |member, _| {
                    seen += 1;
                    each(member);
                });
            }
            next.unwrap_or(0)
        }
    };
    Scan::reply(&mut cx.reply, next, found, &out);
    Ok(())
}

/// Keeps a set under a key, whatever was there; a set without members takes the key away. How many members.
fn store(cx: &mut Cx<'_>, key: &[u8], body: Body, event: &'static str) -> Result<usize, ErrorKind> {
    let len = body.len();
    cx.keep(key, body, (Class::Set, event))?;
    Ok(len)
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/sets-7.0.15.txt"));
    }
}
