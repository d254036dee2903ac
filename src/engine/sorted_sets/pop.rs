//! What takes members out at one end: `ZPOPMIN`, `ZPOPMAX`, `ZMPOP`, and those that wait where there is nothing:
//! `BZPOPMIN`, `BZPOPMAX`, `BZMPOP`.

use crate::base::num::{Digits, parse_i64};
use crate::command::args::Args;
use crate::engine::blocking;
use crate::engine::notices::Class;
use crate::engine::shard::Cx;
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::types::record::Kind;
use crate::types::scores::{self, Scores};

/// The end of a sorted set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Lowest,
    Highest,
}

/// How what was popped is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// Members and scores in turn, or in pairs where RESP3 asked for a number of them.
    Members { counted: bool },
    /// The key, then the members in pairs: `ZMPOP`.
    WithKey,
    /// The key, then the member and its score: `BZPOPMIN`.
    AfterKey,
}

/// `ZPOPMIN key [count]`
pub fn zpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop(cx, args, End::Lowest)
}

/// `ZPOPMAX key [count]`
pub fn zpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop(cx, args, End::Highest)
}

fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), ErrorKind> {
    if args.len() > 3 {
        return Err(ErrorKind::Syntax);
    }
    let count = args.get(2).map(|word| at_least(word, 0, ErrorKind::NotPositive)).transpose()?;
    let told = Told::Members { counted: count.is_some() };
    match take(cx, args.key(), end, count.unwrap_or(1), told)? {
        Some(popped) => super::changed(cx, popped),
        None => cx.reply.array(0),
    }
    Ok(())
}

/// `BZPOPMIN key [key ...] timeout`
pub fn bzpopmin(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop_or_wait(cx, args, End::Lowest)
}

/// `BZPOPMAX key [key ...] timeout`
pub fn bzpopmax(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop_or_wait(cx, args, End::Highest)
}

fn pop_or_wait(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), ErrorKind> {
    let last = args.len() - 1;
    blocking::seconds(&args[last])?;
    for &word in &args.words()[1..last] {
        if take(cx, word, end, 1, Told::AfterKey)?.is_some() {
            cx.effect.command(cx.db, &[command_of(end), word]);
            return Ok(());
        }
    }
    cx.effect.wait();
    cx.reply.null_array();
    Ok(())
}

/// `ZMPOP numkeys key [key ...] <MIN | MAX> [COUNT count]`
pub fn zmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let several = several(args)?;
    if !pop_first_of(cx, args, several)? {
        cx.reply.null_array();
    }
    Ok(())
}

/// `BZMPOP timeout numkeys key [key ...] <MIN | MAX> [COUNT count]`
pub fn bzmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let several = several(args.skip(1))?;
    blocking::seconds(&args[1])?;
    if !pop_first_of(cx, args.skip(1), several)? {
        cx.effect.wait();
        cx.reply.null_array();
    }
    Ok(())
}

/// Pops from the first of the sorted sets that is there; false: there was none, and nothing is answered.
fn pop_first_of(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    (keys, end, count): (usize, End, usize),
) -> Result<bool, ErrorKind> {
    for word in args.from(2).take(keys) {
        if pop_first(cx, word, end, count)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Pops from a sorted set, if it is there, as `ZMPOP` answers it.
fn pop_first(cx: &mut Cx<'_>, word: &[u8], end: End, count: usize) -> Result<bool, ErrorKind> {
    let Some(popped) = take(cx, word, end, count, Told::WithKey)? else { return Ok(false) };
    let number = Digits::new(i64::try_from(popped).unwrap_or(i64::MAX));
    cx.effect.command(cx.db, &[command_of(end), word, number.as_bytes()]);
    cx.effect.changed(popped as u64 - 1);
    Ok(true)
}

fn command_of(end: End) -> &'static [u8] {
    if end == End::Lowest { b"ZPOPMIN" } else { b"ZPOPMAX" }
}

/// Takes members out and replies them; how many. `None`, and no reply: there is no such key.
fn take(
    cx: &mut Cx<'_>,
    word: &[u8],
    end: End,
    count: usize,
    told: Told,
) -> Result<Option<usize>, ErrorKind> {
    let (key, hasher, reply) = (cx.key(word), cx.keyspace.hasher(), &mut cx.reply);
    let popped = cx.keyspace.modify(cx.db, key, Kind::ZSet, cx.now, |body| {
        let scores = Scores::of_body(body);
        let len = scores.len();
        let count = count.min(len);
        let ranks = if end == End::Lowest { 0..count } else { len - count..len };
        let pairs = reply_shape(reply, word, count, told);
        scores.walk(ranks.clone(), end == End::Highest, &mut |member, score| {
            if pairs {
                reply.array(2);
            }
            reply.bulk(&member.text());
            reply.double(score);
            true
        });
        let old = if count > 0 { scores::remove_ranks(body, &hasher, ranks) } else { None };
        (count, old)
    })?;
    let Some((count, old)) = popped else { return Ok(None) };
    old.into_iter().for_each(|it| cx.keyspace.bury_object(it));
    if count > 0 {
        let event = if end == End::Lowest { "zpopmin" } else { "zpopmax" };
        cx.notify_taken(Class::SortedSet, event, word);
    }
    Ok(Some(count))
}

/// The headers before the members; true: each goes into a pair.
fn reply_shape(reply: &mut Reply<'_>, key: &[u8], count: usize, told: Told) -> bool {
    let pairs = match told {
        Told::Members { counted } => counted && reply.proto == Proto::Resp3,
        Told::WithKey => {
            reply.array(2);
            reply.bulk(key);
            true
        }
        Told::AfterKey => {
            reply.array(3);
            reply.bulk(key);
            return false;
        }
    };
    reply.array(if pairs { count } else { 2 * count });
    pairs
}

/// `numkeys key [key ...] <MIN | MAX> [COUNT count]`
fn several(args: Args<'_>) -> Result<(usize, End, usize), ErrorKind> {
    let keys = at_least(&args[1], 1, ErrorKind::NumkeysNotPositive)?;
    let end_at = keys.checked_add(2).filter(|&it| it < args.len());
    let end_at = end_at.ok_or(ErrorKind::Syntax)?;
    let end = match &args[end_at] {
        word if word.eq_ignore_ascii_case(b"MIN") => End::Lowest,
        word if word.eq_ignore_ascii_case(b"MAX") => End::Highest,
        _ => return Err(ErrorKind::Syntax),
    };
    let (mut count, mut word) = (None, end_at + 1);
    while word < args.len() {
        if count.is_some() || !args.is(word, "COUNT") || word + 1 == args.len() {
            return Err(ErrorKind::Syntax);
        }
        count = Some(at_least(&args[word + 1], 1, ErrorKind::CountNotPositive)?);
        word += 2;
    }
    Ok((keys, end, count.unwrap_or(1)))
}

fn at_least(word: &[u8], least: i64, otherwise: ErrorKind) -> Result<usize, ErrorKind> {
    let number = parse_i64(word).filter(|&number| number >= least);
    number.and_then(|number| usize::try_from(number).ok()).ok_or(otherwise)
}
