//! What takes several sets: intersections, unions and differences, replied or kept.
//!
//! The sets are taken out of the keyspace first, which costs a reference for a large one and a copy for a
//! packed one. An intersection goes through the smallest; a union begins as the largest, whose nodes it
//! shares.

use super::{reply_members, store};
use crate::command::args::Args;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::types::members::{self, Members};
use crate::types::object::Body;
use crate::types::packing::Packing;
use crate::types::record::{Encoding, Kind};
use crate::types::store::{Hasher, Value, ValueRef};

/// A set taken along.
struct Taken {
    value: Value<'static>,
    encoding: Encoding,
}

impl Taken {
    fn members(&self) -> Members<'_> {
        Members::of(ValueRef::of_value(&self.value, self.encoding))
    }
}

/// `SINTER key [key ...]`
pub fn sinter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let body = intersection(cx, args.from(1))?;
    reply_members(&mut cx.reply, Some(Members::of_body(&body)));
    Ok(())
}

/// `SINTERSTORE destination key [key ...]`
pub fn sinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let body = intersection(cx, args.from(2))?;
    let len = store(cx, args.key(), body, "sinterstore")?;
    cx.reply_len(len);
    Ok(())
}

/// `SINTERCARD numkeys key [key ...] [LIMIT limit]`
pub fn sintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let keys = usize::try_from(integer(&args[1]).unwrap_or(0)).unwrap_or(0);
    if keys == 0 {
        return Err(ErrorKind::NumkeysNotPositive);
    }
    if keys > args.len() - 2 {
        return Err(ErrorKind::KeysMoreThanArgs);
    }
    let (mut limit, mut at) = (0, 2 + keys);
    while at < args.len() {
        if !args.is(at, "LIMIT") || at + 1 == args.len() {
            return Err(ErrorKind::Syntax);
        }
        let number = integer(&args[at + 1]).unwrap_or(-1);
        limit = usize::try_from(number).map_err(|_| ErrorKind::LimitNegative)?;
        at += 2;
    }
    let hasher = cx.keyspace.hasher();
    let sets = take(cx, args.from(2).take(keys))?;
    let mut count = 0;
    common(&sets, &hasher, &mut |_| {
        count += 1;
        count != limit
    });
    cx.reply_len(count);
    Ok(())
}

/// `SUNION key [key ...]`
pub fn sunion(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let body = union(cx, args.from(1))?;
    reply_members(&mut cx.reply, Some(Members::of_body(&body)));
    Ok(())
}

/// `SUNIONSTORE destination key [key ...]`
pub fn sunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let body = union(cx, args.from(2))?;
    let len = store(cx, args.key(), body, "sunionstore")?;
    cx.reply_len(len);
    Ok(())
}

/// `SDIFF key [key ...]`
pub fn sdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let body = difference(cx, args.from(1))?;
    reply_members(&mut cx.reply, Some(Members::of_body(&body)));
    Ok(())
}

/// `SDIFFSTORE destination key [key ...]`
pub fn sdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let body = difference(cx, args.from(2))?;
    let len = store(cx, args.key(), body, "sdiffstore")?;
    cx.reply_len(len);
    Ok(())
}

/// The sets under these keys, in this order; `None` where there is none.
fn take<'a>(
    cx: &mut Cx<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Option<Taken>>, ErrorKind> {
    let mut sets = Vec::new();
    for word in keys {
        let key = cx.key(word);
        let value = cx.keyspace.read(cx.db, key, Kind::Set, cx.now)?;
        sets.push(value.map(|it| Taken { value: it.to_value(), encoding: it.encoding() }));
    }
    Ok(sets)
}

/// What all sets have in common, until `each` says false.
fn common(sets: &[Option<Taken>], hasher: &Hasher, each: &mut dyn FnMut(&[u8]) -> bool) {
    let there: Vec<Members<'_>> = sets.iter().flatten().map(Taken::members).collect();
    if there.len() < sets.len() {
        return;
    }
    let smallest = there.iter().enumerate().min_by_key(|(_, set)| set.len());
    let Some((at, smallest)) = smallest else { return };
    smallest.all(&mut |member| {
        let others = there.iter().enumerate().filter(|(other, _)| *other != at);
        let in_all = others
            .fold(true, |in_all, (_, set)| in_all && set.contains(|it| hasher.hash(it), member));
        !in_all || each(member)
    });
}

fn intersection<'a>(
    cx: &mut Cx<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Body, ErrorKind> {
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let sets = take(cx, keys)?;
    let mut body = members::empty();
    common(&sets, &hasher, &mut |member| {
        members::add(&mut body, &packing, &hasher, member);
        true
    });
    Ok(body)
}

fn union<'a>(cx: &mut Cx<'_>, keys: impl Iterator<Item = &'a [u8]>) -> Result<Body, ErrorKind> {
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let sets: Vec<Taken> = take(cx, keys)?.into_iter().flatten().collect();
    let (mut body, first) = beginning(&sets, &packing);
    for (at, set) in sets.iter().enumerate() {
        if Some(at) != first {
            set.members().all(&mut |member| {
                members::add(&mut body, &packing, &hasher, member);
                true
            });
        }
    }
    Ok(body)
}

/// The largest set, if a set with all its members is no intset anyhow; which one that is.
fn beginning(sets: &[Taken], packing: &Packing) -> (Body, Option<usize>) {
    let largest = sets.iter().enumerate().max_by_key(|(_, set)| set.members().len());
    match largest {
        Some((at, Taken { value: Value::Object(object), .. }))
            if object.len() > packing.intset_entries =>
        {
            (Body::Object(object.clone()), Some(at))
        }
        _ => (members::empty(), None),
    }
}

fn difference<'a>(
    cx: &mut Cx<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Body, ErrorKind> {
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let sets = take(cx, keys)?;
    let mut body = members::empty();
    let Some((Some(first), others)) = sets.split_first() else { return Ok(body) };
    first.members().all(&mut |member| {
        let mut others = others.iter().flatten();
        if !others.any(|set| set.members().contains(|it| hasher.hash(it), member)) {
            members::add(&mut body, &packing, &hasher, member);
        }
        true
    });
    Ok(body)
}
