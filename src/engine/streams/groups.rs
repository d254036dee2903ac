//! XGROUP, XACK and XPENDING.

use super::{bury, counted, interval, new_stream, now_ms, stream, stream_id, stream_mut, write_id};
use crate::command::args::Args;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::types::log::Stream;
use crate::types::log::group::{Group, Pending};
use crate::types::log::id::StreamId;
use crate::types::record::Kind;
use std::ops::ControlFlow;

/// `XGROUP CREATE key group id | $ [MKSTREAM] [ENTRIESREAD entries-read]`
pub(super) fn create(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (make, read) = options(args)?;
    let key = cx.key(&args[2]);
    let (db, now) = (cx.db, cx.now);
    match cx.keyspace.peek(db, key, now) {
        Some(value) if value.kind() != Kind::Stream => return Err(ErrorKind::WrongType),
        None if !make => return Err(ErrorKind::StreamGroupNeedsKey),
        _ => {}
    }
    if args.len() > 8 {
        return Err(ErrorKind::wrong_subcommand("XGROUP", &args[1]));
    }
    let id = if &args[4] == b"$" { None } else { Some(stream_id(&args[4])?) };
    let made = cx.keyspace.modify_or_create(db, key, Kind::Stream, now, new_stream, |body| {
        let stream = stream_mut(body);
        let group = Group::new(id.unwrap_or(stream.last_id), read);
        stream.groups().get(&args[3]).is_none() && stream.groups_mut().insert(&args[3], group)
    })?;
    if !made {
        return Err(ErrorKind::BusyGroup);
    }
    cx.notify(Class::Stream, "xgroup-create", &args[2]);
    cx.effect.verbatim();
    cx.reply.ok();
    Ok(())
}

/// `XGROUP SETID key group id | $ [ENTRIESREAD entries-read]`
pub(super) fn setid(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (_, read) = options(args)?;
    with_group(cx, args, |stream| {
        if !matches!(args.len(), 5 | 7) {
            return Err(ErrorKind::wrong_subcommand("XGROUP", &args[1]));
        }
        let id = match &args[4] {
            b"$" => stream.last_id,
            b"-" => StreamId::MIN,
            b"+" => StreamId::MAX,
            id => stream_id(id)?,
        };
        if let Some(group) = stream.groups_mut().get_mut(&args[3]) {
            (group.last_id, group.entries_read) = (id, read);
        }
        Ok(())
    })?;
    cx.notify(Class::Stream, "xgroup-setid", &args[2]);
    cx.effect.verbatim();
    cx.reply.ok();
    Ok(())
}

/// `XGROUP DESTROY key group`
pub(super) fn destroy(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    let gone = cx.keyspace.modify(cx.db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        stream.groups().get(&args[3])?;
        stream.groups_mut().remove(&args[3])
    })?;
    let gone = gone.ok_or(ErrorKind::StreamGroupNeedsKey)?;
    let was_there = gone.is_some();
    if let Some(group) = gone {
        // Its pending entries may be many: they are freed in slices, as a stream that has nothing else.
        let mut rest = Stream::default();
        rest.groups_mut().insert(b"", group);
        bury(cx, rest);
        cx.notify(Class::Stream, "xgroup-destroy", &args[2]);
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(was_there));
    Ok(())
}

/// `XGROUP CREATECONSUMER key group consumer`
pub(super) fn createconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let now = now_ms(cx);
    let made = with_group(cx, args, |stream| {
        let known = stream.groups().get(&args[3]).and_then(|group| group.find(&args[4]));
        if known.is_some() {
            return Ok(false);
        }
        let group = stream.groups_mut().get_mut(&args[3]);
        Ok(group.and_then(|group| group.create(&args[4], now)).is_some())
    })?;
    if made {
        cx.notify(Class::Stream, "xgroup-createconsumer", &args[2]);
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(made));
    Ok(())
}

/// `XGROUP DELCONSUMER key group consumer`
pub(super) fn delconsumer(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let pending = with_group(cx, args, |stream| {
        let known = stream.groups().get(&args[3]).and_then(|group| group.find(&args[4]));
        let group = known.and_then(|_| stream.groups_mut().get_mut(&args[3]));
        Ok(group.and_then(|group| group.delete(&args[4])))
    })?;
    if pending.is_some() {
        cx.notify(Class::Stream, "xgroup-delconsumer", &args[2]);
        cx.effect.verbatim();
    }
    cx.reply_len(pending.unwrap_or(0));
    Ok(())
}

/// MKSTREAM and ENTRIESREAD, from word 5 on.
fn options(args: Args<'_>) -> Result<(bool, Option<i64>), ErrorKind> {
    let (mut make, mut read, mut at) = (false, None, 5);
    while at < args.len() {
        if args.is(at, "MKSTREAM") && args.is(1, "CREATE") {
            make = true;
            at += 1;
        } else if let Some(value) = args.get(at + 1).filter(|_| args.is(at, "ENTRIESREAD")) {
            read = match integer(value)? {
                -1 => None,
                read @ 0.. => Some(read),
                _ => return Err(ErrorKind::EntriesReadNegative),
            };
            at += 2;
        } else {
            return Err(ErrorKind::wrong_subcommand("XGROUP", &args[1]));
        }
    }
    Ok((make, read))
}

/// Lends a stream that has the group of word 3.
fn with_group<T>(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    edit: impl FnOnce(&mut Stream) -> Result<T, ErrorKind>,
) -> Result<T, ErrorKind> {
    let (word, name) = (&args[2], &args[3]);
    let key = cx.key(word);
    let done = cx.keyspace.modify(cx.db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        if stream.groups().get(name).is_none() {
            return Err(ErrorKind::NoGroupOfKey { group: name.into(), key: word.into() });
        }
        edit(stream)
    })?;
    done.ok_or(ErrorKind::StreamGroupNeedsKey)?
}

/// `XACK key group id [id ...]`
pub(super) fn xack(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    cx.keyspace.asked(cx.db, key, cx.now); // As Redis: looked up to be read.
    let acknowledged = cx.keyspace.modify(cx.db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        let Some(group) = stream.groups().get(&args[2]) else { return Ok(0) };
        let ids: Vec<StreamId> = args.from(3).map(stream_id).collect::<Result<_, _>>()?;
        if ids.iter().all(|&id| group.pending(id).is_none()) {
            return Ok(0);
        }
        let Some(group) = stream.groups_mut().get_mut(&args[2]) else { return Ok(0) };
        Ok::<_, ErrorKind>(ids.into_iter().filter(|&id| group.acknowledge(id)).count())
    })?;
    let acknowledged = acknowledged.transpose()?.unwrap_or(0);
    if acknowledged > 0 {
        cx.effect.verbatim();
        cx.effect.changed(acknowledged as u64 - 1);
    }
    cx.reply_len(acknowledged);
    Ok(())
}

/// `XPENDING key group [[IDLE min-idle-time] start end count [consumer]]`
pub(super) fn xpending(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if !matches!(args.len(), 3 | 6..=9) {
        return Err(ErrorKind::Syntax);
    }
    let range = if args.len() == 3 { None } else { Some(Range::of(args)?) };
    let (key, now) = (cx.key(args.key()), now_ms(cx));
    let value = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)?;
    let group = value.and_then(|value| stream(value).groups().get(&args[2]));
    let Some(group) = group else {
        return Err(ErrorKind::NoGroup { key: args.key().into(), group: args[2].into() });
    };
    match range {
        None => write_summary(group, &mut cx.reply),
        Some(range) => range.write(group, now, &mut cx.reply),
    }
    Ok(())
}

fn write_summary(group: &Group, reply: &mut Reply<'_>) {
    reply.array(4);
    reply.int(i64::try_from(group.pending_len()).unwrap_or(i64::MAX));
    let (Some(first), Some(last)) = (group.pending_edge(false), group.pending_edge(true)) else {
        reply.null();
        reply.null();
        return reply.null_array();
    };
    write_id(first, reply);
    write_id(last, reply);
    let waiting = || group.consumers().filter(|it| it.pending_len() > 0);
    reply.array(waiting().count());
    for consumer in waiting() {
        reply.array(2);
        reply.bulk(&consumer.name);
        reply.bulk(consumer.pending_len().to_string().as_bytes());
    }
}

/// Which pending entries XPENDING lists.
struct Range<'a> {
    start: StreamId,
    end: StreamId,
    most: usize,
    idle_ms: i64,
    consumer: Option<&'a [u8]>,
}

impl<'a> Range<'a> {
    fn of(args: Args<'a>) -> Result<Self, ErrorKind> {
        let (mut at, mut idle_ms) = (3, 0);
        if args.is(3, "IDLE") {
            idle_ms = integer(&args[4])?;
            if args.len() < 8 {
                return Err(ErrorKind::Syntax);
            }
            at = 5;
        }
        let most = usize::try_from(integer(&args[at + 2])?).unwrap_or(0);
        let (start, end) = interval(&args[at], &args[at + 1])?;
        Ok(Self { start, end, most, idle_ms, consumer: args.get(at + 3) })
    }

    fn write(&self, group: &Group, now: i64, reply: &mut Reply<'_>) {
        let of = match self.consumer.map(|name| group.find(name)) {
            Some(None) => return reply.array(0),
            Some(Some(id)) => Some(id),
            None => None,
        };
        counted(reply, |reply| {
            let mut count = 0;
            group.visit_pending(self.start, of, |pending| {
                if count == self.most || pending.id > self.end {
                    return ControlFlow::Break(());
                }
                let idle = now.saturating_sub(pending.delivered_ms);
                if self.idle_ms == 0 || idle >= self.idle_ms {
                    write_pending(group, pending, idle.max(0), reply);
                    count += 1;
                }
                ControlFlow::Continue(())
            });
            count
        });
    }
}

fn write_pending(group: &Group, pending: Pending, time: i64, reply: &mut Reply<'_>) {
    reply.array(4);
    write_id(pending.id, reply);
    reply.bulk(&group.consumer(pending.owner).name);
    reply.int(time);
    reply.int(pending.deliveries.cast_signed());
}
