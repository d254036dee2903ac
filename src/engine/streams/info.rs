//! XINFO. Its fields are Redis 7.2's: `inactive` and `active-time` came after 7.0.

use super::{counted, now_ms, stream, write_id, write_one, write_range};
use crate::command::args::Args;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::types::log::Stream;
use crate::types::log::group::{Consumer, Group};
use crate::types::log::id::StreamId;
use crate::types::record::Kind;
use std::ops::ControlFlow;

/// Entries, and pending ones of each group and consumer, where `FULL` has no COUNT.
const FULL_COUNT_DEFAULT: usize = 10;

/// `XINFO CONSUMERS key group`
pub(super) fn consumers(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, now) = (cx.key(&args[2]), now_ms(cx));
    let value = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)?;
    let stream = stream(value.ok_or(ErrorKind::NoSuchKey)?);
    let group = stream
        .groups()
        .get(&args[3])
        .ok_or_else(|| ErrorKind::NoGroupOfKey { group: args[3].into(), key: args[2].into() })?;
    let reply = &mut cx.reply;
    reply.array(group.consumers().len());
    for consumer in group.consumers() {
        let active = consumer.active_ms;
        reply.map(4);
        reply.bulk(b"name");
        reply.bulk(&consumer.name);
        number("pending", consumer.pending_len(), reply);
        field("idle", reply).int((now - consumer.seen_ms).max(0));
        field("inactive", reply).int(if active < 0 { -1 } else { (now - active).max(0) });
    }
    Ok(())
}

/// `XINFO GROUPS key`
pub(super) fn groups(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    let value = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)?;
    let stream = stream(value.ok_or(ErrorKind::NoSuchKey)?);
    let reply = &mut cx.reply;
    reply.array(stream.groups().len());
    for (name, group) in stream.groups().iter() {
        reply.map(6);
        field("name", reply).bulk(name);
        number("consumers", group.consumers().len(), reply);
        number("pending", group.pending_len(), reply);
        write_progress(stream, group, reply);
    }
    Ok(())
}

/// `XINFO STREAM key [FULL [COUNT count]]`
pub(super) fn stream_info(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    let value = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)?;
    let stream = stream(value.ok_or(ErrorKind::NoSuchKey)?);
    let full = match args.len() {
        3 => None,
        4 if args.is(3, "FULL") => Some(FULL_COUNT_DEFAULT),
        6 if args.is(3, "FULL") && args.is(4, "COUNT") => {
            let count = usize::try_from(integer(&args[5])?).unwrap_or(FULL_COUNT_DEFAULT);
            Some(if count == 0 { usize::MAX } else { count })
        }
        _ => return Err(ErrorKind::wrong_subcommand("XINFO", &args[1])),
    };
    let reply = &mut cx.reply;
    reply.map(if full.is_some() { 9 } else { 10 });
    number("length", usize::try_from(stream.len()).unwrap_or(usize::MAX), reply);
    number("radix-tree-keys", stream.nodes() as usize, reply);
    field("radix-tree-nodes", reply).int(stream.radix_nodes().cast_signed());
    write_id(stream.last_id, field("last-generated-id", reply));
    write_id(stream.max_deleted_id, field("max-deleted-entry-id", reply));
    field("entries-added", reply).int(stream.entries_added.cast_signed());
    write_id(stream.first_id, field("recorded-first-entry-id", reply));
    match full {
        None => {
            number("groups", stream.groups().len(), reply);
            for (name, last) in [("first-entry", false), ("last-entry", true)] {
                let reply = field(name, reply);
                match stream.edge(last) {
                    Some(id) => drop(write_one(stream, id, reply)),
                    None => reply.null(),
                }
            }
        }
        Some(most) => {
            let (from, to) = (StreamId::MIN, StreamId::MAX);
            write_range(stream, from, to, false, most, field("entries", reply), |_| {});
            field("groups", reply).array(stream.groups().len());
            for (name, group) in stream.groups().iter() {
                write_group(stream, name, group, most, reply);
            }
        }
    }
    Ok(())
}

/// Up to where a group has come.
fn write_progress(stream: &Stream, group: &Group, reply: &mut Reply<'_>) {
    write_id(group.last_id, field("last-delivered-id", reply));
    optional(group.entries_read, field("entries-read", reply));
    optional(stream.lag(group), field("lag", reply));
}

fn write_group(stream: &Stream, name: &[u8], group: &Group, most: usize, reply: &mut Reply<'_>) {
    reply.map(7);
    field("name", reply).bulk(name);
    write_progress(stream, group, reply);
    number("pel-count", group.pending_len(), reply);
    counted(field("pending", reply), |reply| {
        let mut count = 0;
        group.visit_pending(StreamId::MIN, None, |pending| {
            reply.array(4);
            write_id(pending.id, reply);
            reply.bulk(&group.consumer(pending.owner).name);
            reply.int(pending.delivered_ms);
            reply.int(pending.deliveries.cast_signed());
            count += 1;
            if count == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        count
    });
    field("consumers", reply).array(group.consumers().len());
    group.consumers().for_each(|consumer| write_consumer(group, consumer, most, reply));
}

fn write_consumer(group: &Group, consumer: &Consumer, most: usize, reply: &mut Reply<'_>) {
    reply.map(5);
    field("name", reply).bulk(&consumer.name);
    field("seen-time", reply).int(consumer.seen_ms);
    field("active-time", reply).int(consumer.active_ms);
    number("pel-count", consumer.pending_len(), reply);
    counted(field("pending", reply), |reply| {
        let mut count = 0;
        consumer.visit_pending(StreamId::MIN, |&id| {
            if let Some(pending) = group.pending(id) {
                reply.array(3);
                write_id(id, reply);
                reply.int(pending.delivered_ms);
                reply.int(pending.deliveries.cast_signed());
                count += 1;
            }
            if count == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        count
    });
}

/// A field's name; its value follows.
fn field<'r, 'o>(name: &str, reply: &'r mut Reply<'o>) -> &'r mut Reply<'o> {
    reply.bulk(name.as_bytes());
    reply
}

fn number(name: &str, value: usize, reply: &mut Reply<'_>) {
    field(name, reply).int(i64::try_from(value).unwrap_or(i64::MAX));
}

fn optional(value: Option<i64>, reply: &mut Reply<'_>) {
    match value {
        Some(value) => reply.int(value),
        None => reply.null(),
    }
}
