//! Sorted set commands. The table is this file's contents page; each row names one function, here or in
//! `sorted_sets/`: what adds, what ranges over members, what pops, what takes several sets.
//!
//! Effects are those of redis-server 7.0 (`tests/golden/sorted-sets-7.0.15.txt`): the command as it came, but
//! those that pop from the first of several as the `ZPOPMIN` or `ZPOPMAX` of what it took.
//!
//! Not here: how a sorted set is held (`types/scores.rs`), how members are drawn (`draw.rs`).

use crate::base::num;
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, KEYS, Kind};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::draw::{self, Count};
use crate::engine::generic::whole::Scan;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::types::record;
use crate::types::scores::{self, Scores};
use add::{zadd, zincrby};
use algebra::{zdiff, zdiffstore, zinter, zintercard, zinterstore, zunion, zunionstore};
use pop::{bzmpop, bzpopmax, bzpopmin, zmpop, zpopmax, zpopmin};
use range::{
    zcount, zlexcount, zrange, zrangebylex, zrangebyscore, zrangestore, zremrangebylex,
    zremrangebyrank, zremrangebyscore, zrevrange, zrevrangebylex, zrevrangebyscore,
};

pub mod add;
mod algebra;
mod pop;
mod range;

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
const GROWS: Flags = WRITE.and(Flags::DENYOOM);
const GROWS_FAST: Flags = GROWS.and(Flags::FAST);
const WAITS: Flags = WRITE_FAST.and(Flags::NOSCRIPT).and(Flags::BLOCKING);

const RO: KeyFlags = KeyFlags::RO;
const RW: KeyFlags = KeyFlags::RW;
const OW: KeyFlags = KeyFlags::OW;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const UPDATE: KeyFlags = KeyFlags::UPDATE;
const DELETE: KeyFlags = KeyFlags::DELETE;

const AGGREGATE: Argument = Argument::one_of(
    "aggregate",
    &[Argument::word("sum", "SUM"), Argument::word("min", "MIN"), Argument::word("max", "MAX")],
)
.token("AGGREGATE")
.optional();
const WEIGHTS: Argument = Argument::integer("weight").token("WEIGHTS").optional().multiple();
const LIMIT: Argument =
    Argument::block("offset_count", &[Argument::integer("offset"), Argument::integer("count")])
        .token("LIMIT")
        .optional();
const WITHSCORES: Argument = Argument::word("withscores", "WITHSCORES").optional();

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("BZMPOP", AtLeast(5), WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS), &[KeySpec::at(2, RW.and(ACCESS).and(DELETE)).counted(0, 1, 1)])
        .about(Group::SortedSet, "7.0.0", "O(K) + O(M*log(N))", "Takes members out of the first of several sorted sets that has any; waits for them to come")
        .takes(&[
            Argument::new(Kind::Double, "timeout"),
            Argument::integer("numkeys"),
            KEYS,
            Argument::one_of("where", &[Argument::word("min", "MIN"), Argument::word("max", "MAX")]),
            Argument::integer("count").token("COUNT").optional(),
        ])
        .hop(Hop::Blocking), bzmpop),
    Command::new(Spec::new("BZPOPMAX", AtLeast(3), WAITS, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)).to(-2, 1)])
        .about(Group::SortedSet, "5.0.0", "O(log(N))", "Takes the member of the highest score out of a sorted set; waits for one to come")
        .takes(&[KEYS, Argument::new(Kind::Double, "timeout")])
        .hop(Hop::Blocking), bzpopmax),
    Command::new(Spec::new("BZPOPMIN", AtLeast(3), WAITS, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)).to(-2, 1)])
        .about(Group::SortedSet, "5.0.0", "O(log(N))", "Takes the member of the lowest score out of a sorted set; waits for one to come")
        .takes(&[KEYS, Argument::new(Kind::Double, "timeout")])
        .hop(Hop::Blocking), bzpopmin),
    Command::new(Spec::new("ZADD", AtLeast(4), GROWS_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::SortedSet, "1.2.0", "O(log(N))", "Adds members with scores to a sorted set, or changes the scores")
        .takes(&[
            KEY,
            Argument::one_of("condition", &[Argument::word("nx", "NX"), Argument::word("xx", "XX")]).since("3.0.2").optional(),
            Argument::one_of("comparison", &[Argument::word("gt", "GT"), Argument::word("lt", "LT")]).since("6.2.0").optional(),
            Argument::word("change", "CH").since("3.0.2").optional(),
            Argument::word("increment", "INCR").since("3.0.2").optional(),
            Argument::block("score_member", &[Argument::new(Kind::Double, "score"), Argument::string("member")]).multiple(),
        ]), zadd),
    Command::new(Spec::new("ZCARD", Exactly(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::SortedSet, "1.2.0", "O(1)", "How many members a sorted set has")
        .takes(&[KEY]), zcard),
    Command::new(Spec::new("ZCOUNT", Exactly(4), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.0.0", "O(log(N))", "How many members have a score in a range")
        .takes(&[KEY, Argument::new(Kind::Double, "min"), Argument::new(Kind::Double, "max")]), zcount),
    Command::new(Spec::new("ZDIFF", AtLeast(3), READ.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::SortedSet, "6.2.0", "O(L + (N-K)log(N))", "The members of a sorted set that no other has")
        .takes(&[Argument::integer("numkeys"), KEYS, WITHSCORES])
        .hop(Hop::Exclusive), zdiff),
    Command::new(Spec::new("ZDIFFSTORE", AtLeast(4), GROWS.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, OW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::SortedSet, "6.2.0", "O(L + (N-K)log(N))", "Keeps the members of a sorted set that no other has")
        .takes(&[Argument::key("destination", 0), Argument::integer("numkeys"), Argument::key("key", 1).multiple()])
        .hop(Hop::Exclusive), zdiffstore),
    Command::new(Spec::new("ZINCRBY", Exactly(4), GROWS_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::SortedSet, "1.2.0", "O(log(N))", "Adds a number to the score of a member")
        .takes(&[KEY, Argument::integer("increment"), Argument::string("member")]), zincrby),
    Command::new(Spec::new("ZINTER", AtLeast(3), READ.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::SortedSet, "6.2.0", "O(N*K)", "The members that all of several sorted sets have, their scores joined")
        .takes(&[Argument::integer("numkeys"), KEYS, WEIGHTS, AGGREGATE, WITHSCORES])
        .hop(Hop::Exclusive), zinter),
    Command::new(Spec::new("ZINTERCARD", AtLeast(3), READ.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::SortedSet, "7.0.0", "O(N*K)", "How many members all of several sorted sets have")
        .takes(&[Argument::integer("numkeys"), KEYS, Argument::integer("limit").token("LIMIT").optional()])
        .hop(Hop::Exclusive), zintercard),
    Command::new(Spec::new("ZINTERSTORE", AtLeast(4), GROWS.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, OW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::SortedSet, "2.0.0", "O(N*K)", "Keeps the members that all of several sorted sets have, their scores joined")
        .takes(&[Argument::key("destination", 0), Argument::integer("numkeys"), Argument::key("key", 1).multiple(), WEIGHTS, AGGREGATE])
        .hop(Hop::Exclusive), zinterstore),
    Command::new(Spec::new("ZLEXCOUNT", Exactly(4), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.8.9", "O(log(N))", "How many members have a name in a range")
        .takes(&[KEY, Argument::string("min"), Argument::string("max")]), zlexcount),
    Command::new(Spec::new("ZMPOP", AtLeast(4), WRITE.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)).counted(0, 1, 1)])
        .about(Group::SortedSet, "7.0.0", "O(K)", "Takes members out of the first of several sorted sets that is there")
        .takes(&[
            Argument::integer("numkeys"),
            KEYS,
            Argument::one_of("where", &[Argument::word("min", "MIN"), Argument::word("max", "MAX")]),
            Argument::integer("count").token("COUNT").optional(),
        ])
        .hop(Hop::Exclusive), zmpop),
    Command::new(Spec::new("ZMSCORE", AtLeast(3), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "6.2.0", "O(N)", "The scores of several members")
        .takes(&[KEY, Argument::string("member").multiple()]), zmscore),
    Command::new(Spec::new("ZPOPMAX", AtLeast(2), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE))])
        .about(Group::SortedSet, "5.0.0", "O(log(N)*M)", "Takes the members of the highest scores out of a sorted set")
        .takes(&[KEY, Argument::integer("count").optional()]), zpopmax),
    Command::new(Spec::new("ZPOPMIN", AtLeast(2), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE))])
        .about(Group::SortedSet, "5.0.0", "O(log(N)*M)", "Takes the members of the lowest scores out of a sorted set")
        .takes(&[KEY, Argument::integer("count").optional()]), zpopmin),
    Command::new(Spec::new("ZRANDMEMBER", AtLeast(2), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "6.2.0", "O(N)", "Members of a sorted set drawn at random")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY, Argument::block("options", &[Argument::integer("count"), WITHSCORES]).optional()]), zrandmember),
    Command::new(Spec::new("ZRANGE", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "1.2.0", "O(log(N)+M)", "The members of a sorted set in a range of ranks, scores or names")
        .takes(&[
            KEY,
            Argument::string("start"),
            Argument::string("stop"),
            Argument::one_of("sortby", &[Argument::word("byscore", "BYSCORE"), Argument::word("bylex", "BYLEX")]).since("6.2.0").optional(),
            Argument::word("rev", "REV").since("6.2.0").optional(),
            Argument::block("offset_count", &[Argument::integer("offset"), Argument::integer("count")]).token("LIMIT").since("6.2.0").optional(),
            WITHSCORES,
        ]), zrange),
    Command::new(Spec::new("ZRANGEBYLEX", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.8.9", "O(log(N)+M)", "The members of a sorted set in a range of names")
        .deprecated("6.2.0", "`ZRANGE` with the `BYLEX` argument")
        .takes(&[KEY, Argument::string("min"), Argument::string("max"), LIMIT]), zrangebylex),
    Command::new(Spec::new("ZRANGEBYSCORE", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "1.0.5", "O(log(N)+M)", "The members of a sorted set in a range of scores")
        .deprecated("6.2.0", "`ZRANGE` with the `BYSCORE` argument")
        .takes(&[
            KEY,
            Argument::new(Kind::Double, "min"),
            Argument::new(Kind::Double, "max"),
            Argument::word("withscores", "WITHSCORES").since("2.0.0").optional(),
            LIMIT,
        ]), zrangebyscore),
    Command::new(Spec::new("ZRANGESTORE", AtLeast(5), GROWS, &[KeySpec::at(1, OW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS))])
        .about(Group::SortedSet, "6.2.0", "O(log(N)+M)", "Keeps the members of a sorted set that are in a range")
        .takes(&[
            Argument::key("dst", 0),
            Argument::key("src", 1),
            Argument::string("min"),
            Argument::string("max"),
            Argument::one_of("sortby", &[Argument::word("byscore", "BYSCORE"), Argument::word("bylex", "BYLEX")]).optional(),
            Argument::word("rev", "REV").optional(),
            LIMIT,
        ])
        .hop(Hop::Exclusive), zrangestore),
    Command::new(Spec::new("ZRANK", AtLeast(3), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.0.0", "O(log(N))", "How many members lie before one")
        .takes(&[KEY, Argument::string("member"), Argument::word("withscore", "WITHSCORE").optional()]), zrank),
    Command::new(Spec::new("ZREM", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::SortedSet, "1.2.0", "O(M*log(N))", "Removes members of a sorted set")
        .takes(&[KEY, Argument::string("member").multiple()]), zrem),
    Command::new(Spec::new("ZREMRANGEBYLEX", Exactly(4), WRITE, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::SortedSet, "2.8.9", "O(log(N)+M)", "Removes the members in a range of names")
        .takes(&[KEY, Argument::string("min"), Argument::string("max")]), zremrangebylex),
    Command::new(Spec::new("ZREMRANGEBYRANK", Exactly(4), WRITE, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::SortedSet, "2.0.0", "O(log(N)+M)", "Removes the members in a range of ranks")
        .takes(&[KEY, Argument::integer("start"), Argument::integer("stop")]), zremrangebyrank),
    Command::new(Spec::new("ZREMRANGEBYSCORE", Exactly(4), WRITE, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::SortedSet, "1.2.0", "O(log(N)+M)", "Removes the members in a range of scores")
        .takes(&[KEY, Argument::new(Kind::Double, "min"), Argument::new(Kind::Double, "max")]), zremrangebyscore),
    Command::new(Spec::new("ZREVRANGE", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "1.2.0", "O(log(N)+M)", "The members of a sorted set in a range of ranks, from the highest score")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` argument")
        .takes(&[KEY, Argument::integer("start"), Argument::integer("stop"), WITHSCORES]), zrevrange),
    Command::new(Spec::new("ZREVRANGEBYLEX", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.8.9", "O(log(N)+M)", "The members of a sorted set in a range of names, from the last")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYLEX` arguments")
        .takes(&[KEY, Argument::string("max"), Argument::string("min"), LIMIT]), zrevrangebylex),
    Command::new(Spec::new("ZREVRANGEBYSCORE", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.2.0", "O(log(N)+M)", "The members of a sorted set in a range of scores, from the highest")
        .deprecated("6.2.0", "`ZRANGE` with the `REV` and `BYSCORE` arguments")
        .takes(&[KEY, Argument::new(Kind::Double, "max"), Argument::new(Kind::Double, "min"), WITHSCORES, LIMIT]), zrevrangebyscore),
    Command::new(Spec::new("ZREVRANK", AtLeast(3), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.0.0", "O(log(N))", "How many members lie behind one")
        .takes(&[KEY, Argument::string("member"), Argument::word("withscore", "WITHSCORE").optional()]), zrevrank),
    Command::new(Spec::new("ZSCAN", AtLeast(3), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "2.8.0", "O(1)", "Goes through the members of a sorted set a few at a time")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::integer("cursor"),
            Argument::new(Kind::Pattern, "pattern").token("MATCH").optional(),
            Argument::integer("count").token("COUNT").optional(),
        ]), zscan),
    Command::new(Spec::new("ZSCORE", Exactly(3), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::SortedSet, "1.2.0", "O(1)", "The score of a member")
        .takes(&[KEY, Argument::string("member")]), zscore),
    Command::new(Spec::new("ZUNION", AtLeast(3), READ.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::SortedSet, "6.2.0", "O(N)", "The members of several sorted sets, their scores joined")
        .takes(&[Argument::integer("numkeys"), KEYS, WEIGHTS, AGGREGATE, WITHSCORES])
        .hop(Hop::Exclusive), zunion),
    Command::new(Spec::new("ZUNIONSTORE", AtLeast(4), GROWS.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, OW.and(UPDATE)), KeySpec::at(2, RO.and(ACCESS)).counted(0, 1, 1)])
        .about(Group::SortedSet, "2.0.0", "O(N)", "Keeps the members of several sorted sets, their scores joined")
        .takes(&[Argument::key("destination", 0), Argument::integer("numkeys"), Argument::key("key", 1).multiple(), WEIGHTS, AGGREGATE])
        .hop(Hop::Exclusive), zunionstore),
];

/// The sorted set under a key, as a reading command sees it.
fn read<'c>(cx: &'c mut Cx<'_>, key: &[u8]) -> Result<Option<Scores<'c>>, ErrorKind> {
    let key = cx.key(key);
    let value = cx.keyspace.read(cx.db, key, record::Kind::ZSet, cx.now)?;
    Ok(value.map(Scores::of))
}

/// `ZCARD key`
fn zcard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let len = read(cx, args.key())?.map_or(0, Scores::len);
    cx.reply_len(len);
    Ok(())
}

/// `ZSCORE key member`
fn zscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let hasher = cx.keyspace.hasher();
    let scores = read(cx, args.key())?;
    match scores.and_then(|it| it.score(|member| hasher.hash(member), &args[2])) {
        Some(score) => cx.reply.double(score),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `ZMSCORE key member [member ...]`
fn zmscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let value = cx.keyspace.read(cx.db, key, record::Kind::ZSet, cx.now)?;
    let scores = value.map(Scores::of);
    cx.reply.array(args.len() - 2);
    for member in args.from(2) {
        match scores.and_then(|it| it.score(|member| hasher.hash(member), member)) {
            Some(score) => cx.reply.double(score),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// `ZRANK key member [WITHSCORE]`
fn zrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    rank(cx, args, "ZRANK", false)
}

/// `ZREVRANK key member [WITHSCORE]`
fn zrevrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    rank(cx, args, "ZREVRANK", true)
}

fn rank(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    command: &'static str,
    down: bool,
) -> Result<(), ErrorKind> {
    let with_score = args.len() == 4;
    if args.len() > 4 {
        return Err(ErrorKind::WrongArity { command });
    }
    if with_score && !args.is(3, "WITHSCORE") {
        return Err(ErrorKind::Syntax);
    }
    let hasher = cx.keyspace.hasher();
    let scores = read(cx, args.key())?;
    let found = scores.and_then(|it| {
        let (rank, score) = it.rank(|member| hasher.hash(member), &args[2])?;
        Some((if down { it.len() - 1 - rank } else { rank }, score))
    });
    match found {
        Some((rank, score)) if with_score => {
            cx.reply.array(2);
            cx.reply_len(rank);
            cx.reply.double(score);
        }
        Some((rank, _)) => cx.reply_len(rank),
        None if with_score => cx.reply.null_array(),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `ZREM key member [member ...]`
fn zrem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let removed = cx.keyspace.modify(cx.db, key, record::Kind::ZSet, cx.now, |body| {
        args.from(2).filter(|member| scores::remove(body, &hasher, member)).count()
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        cx.notify_taken(Class::SortedSet, "zrem", args.key());
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

/// `ZRANDMEMBER key [count [WITHSCORES]]`
fn zrandmember(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let count = args.get(2).map(Count::parse).transpose()?;
    let with_scores = args.len() == 4 && args.is(3, "WITHSCORES");
    if args.len() > 4 || args.len() == 4 && !with_scores {
        return Err(ErrorKind::Syntax);
    }
    if with_scores {
        count.map(Count::doubled).transpose()?;
    }
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::ZSet, cx.now)?;
    let scores = value.map(Scores::of);
    let (reply, prng) = (&mut cx.reply, &mut *cx.prng);
    let Some(count) = count else {
        match scores.and_then(|it| it.at(draw::rank(prng, it.len()))) {
            Some((member, _)) => reply.bulk(&member.text()),
            None => reply.null(),
        }
        return Ok(());
    };
    let Some(scores) = scores else {
        reply.array(0);
        return Ok(());
    };
    let ranks = draw::ranks(prng, count, scores.len())?;
    reply_header(reply, ranks.len(), with_scores);
    let listed = scores.listed();
    for rank in ranks {
        let drawn = listed.get(rank).copied().or_else(|| scores.at(rank));
        let Some((member, score)) = drawn else { continue };
        reply_member(reply, &member.text(), with_scores.then_some(score));
    }
    Ok(())
}

/// The header of `members`, which are pairs in RESP3 where scores go with them, and lie flat in RESP2.
fn reply_header(reply: &mut Reply<'_>, members: usize, with_scores: bool) {
    let flat = with_scores && reply.proto == Proto::Resp2;
    reply.array(if flat { 2 * members } else { members });
}

fn reply_member(reply: &mut Reply<'_>, member: &[u8], score: Option<f64>) {
    if score.is_some() && reply.proto == Proto::Resp3 {
        reply.array(2);
    }
    reply.bulk(member);
    if let Some(score) = score {
        reply.double(score);
    }
}

/// `ZSCAN key cursor [MATCH pattern] [COUNT count]`
fn zscan(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let cursor = Scan::cursor(&args[2])?;
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, record::Kind::ZSet, cx.now)?;
    let Some(scores) = value.map(Scores::of) else {
        Scan::reply(&mut cx.reply, 0, 0, &[]);
        return Ok(());
    };
    let scan = Scan::of_elements(args.skip(1))?;
    let (mut found, mut out, mut text) = (0, Vec::new(), Vec::new());
    let mut reply = Reply { out: &mut out, proto: cx.reply.proto };
    let mut each = |member: &[u8], score: f64| {
        if scan.matches(member) {
            reply.bulk(member);
            text.clear();
            num::write_g17(&mut text, score);
            reply.bulk(&text);
            found += 2;
        }
    };
    let next = match scores {
        Scores::Packed(_) => {
            scores.all(&mut |member, score| {
                each(&member.text(), score);
                true
            });
            0
        }
        Scores::Ranked(ranked) => ranked.scan(cursor, scan.count, &mut each).unwrap_or(0),
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
        transcript::check(include_str!("../../tests/golden/sorted-sets-7.0.15.txt"));
    }
}
