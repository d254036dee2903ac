//! XREAD and XREADGROUP.
//!
//! Not here: waiting (`engine/blocking.rs`). A BLOCK is read and checked, and a read that finds nothing is
//! answered as one whose time is over.

use super::{counted, now_ms, stream, stream_id, stream_mut, write_id, write_one, write_range};
use crate::base::num::{Digits, parse_i64};
use crate::command::args::Args;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};
use crate::types::log::Stream;
use crate::types::log::group::{ConsumerId, Group, Pending};
use crate::types::log::id::StreamId;
use crate::types::record::Kind;
use std::ops::ControlFlow;

/// The options.
struct Read<'a> {
    /// Entries of a stream at most.
    most: usize,
    no_ack: bool,
    /// It waits where it finds nothing.
    waits: bool,
    /// Group and consumer.
    group: Option<(&'a [u8], &'a [u8])>,
    /// The first key's word, and how many keys there are.
    keys_at: usize,
    keys: usize,
}

/// From where to read a stream.
#[derive(Clone, Copy)]
enum From {
    After(StreamId),
    /// What the group was not given yet.
    New,
}

/// `XREAD [COUNT count] [BLOCK milliseconds] STREAMS key [key ...] id [id ...]`
pub(super) fn xread(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    read(cx, args, false)
}

/// `XREADGROUP GROUP group consumer [COUNT count] [BLOCK milliseconds] [NOACK] STREAMS key [key ...] id
/// [id ...]`
pub(super) fn xreadgroup(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    read(cx, args, true)
}

fn read(cx: &mut Cx<'_>, args: Args<'_>, for_group: bool) -> Result<(), ErrorKind> {
    let read = Read::of(args, for_group)?;
    // Each key is looked at before anything is done, so that an error undoes nothing.
    let mut froms = Vec::with_capacity(read.keys.min(args.len()));
    for at in 0..read.keys {
        froms.push(from_of(cx, args, &read, at)?);
    }
    let before = cx.reply.out.len();
    let header = if cx.reply.proto == Proto::Resp2 { Reply::array } else { Reply::map };
    let mut served = 0;
    for (at, &from) in froms.iter().enumerate() {
        let word = &args[read.keys_at + at];
        served += usize::from(match read.group {
            None => serve(cx, word, from, read.most)?,
            Some(group) => serve_group(cx, word, group, from, &read)?,
        });
    }
    if served == 0 && read.waits {
        cx.effect.wait();
    }
    if served == 0 {
        cx.reply.null_array();
    } else {
        let end = cx.reply.out.len();
        header(&mut cx.reply, served);
        let header = cx.reply.out.len() - end;
        cx.reply.out[before..].rotate_right(header);
    }
    Ok(())
}

impl<'a> Read<'a> {
    fn of(args: Args<'a>, for_group: bool) -> Result<Self, ErrorKind> {
        let mut read = Self {
            most: usize::MAX,
            no_ack: false,
            waits: false,
            group: None,
            keys_at: 0,
            keys: 0,
        };
        let mut at = 1;
        while read.keys_at == 0 {
            let more = args.len().checked_sub(at + 1).ok_or(ErrorKind::Syntax)?;
            if args.is(at, "BLOCK") && more >= 1 {
                check_timeout(&args[at + 1])?;
                read.waits = true;
                at += 2;
            } else if args.is(at, "COUNT") && more >= 1 {
                let count = integer(&args[at + 1])?;
                let count = usize::try_from(count).unwrap_or(0);
                read.most = if count == 0 { usize::MAX } else { count };
                at += 2;
            } else if args.is(at, "STREAMS") && more >= 1 {
                if more % 2 != 0 {
                    return Err(ErrorKind::StreamsUnbalanced);
                }
                (read.keys_at, read.keys) = (at + 1, more / 2);
            } else if args.is(at, "GROUP") && more >= 2 {
                if !for_group {
                    return Err(ErrorKind::XreadGroup);
                }
                read.group = Some((args.words()[at + 1], args.words()[at + 2]));
                at += 3;
            } else if args.is(at, "NOACK") {
                if !for_group {
                    return Err(ErrorKind::XreadNoack);
                }
                read.no_ack = true;
                at += 1;
            } else {
                return Err(ErrorKind::Syntax);
            }
        }
        if for_group && read.group.is_none() {
            return Err(ErrorKind::XreadgroupWithoutGroup);
        }
        Ok(read)
    }
}

/// Is this a number of milliseconds to wait?
fn check_timeout(word: &[u8]) -> Result<(), ErrorKind> {
    match parse_i64(word) {
        None => Err(ErrorKind::TimeoutNotAnInteger),
        Some(..0) => Err(ErrorKind::TimeoutNegative),
        Some(_) => Ok(()),
    }
}

/// From where to read the stream of key number `at`; checks the key, too.
fn from_of(cx: &mut Cx<'_>, args: Args<'_>, read: &Read<'_>, at: usize) -> Result<From, ErrorKind> {
    let (word, id) = (&args[read.keys_at + at], &args[read.keys_at + read.keys + at]);
    let key = cx.key(word);
    let value = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)?;
    let stream = value.map(stream);
    if let Some((group, _)) = read.group
        && stream.is_none_or(|stream| stream.groups().get(group).is_none())
    {
        return Err(ErrorKind::NoGroupOfRead { key: word.into(), group: group.into() });
    }
    match (id, read.group) {
        (b"$", Some(_)) => Err(ErrorKind::XreadgroupLastId),
        (b"$", None) => Ok(From::After(stream.map_or(StreamId::MIN, |stream| stream.last_id))),
        (b">", Some(_)) => Ok(From::New),
        (b">", None) => Err(ErrorKind::XreadNewId),
        (id, group) => Ok(match stream_id(id)? {
            // Redis' own sign for what was given to nobody yet, so that both words mean it.
            StreamId::MAX if group.is_some() => From::New,
            id => From::After(id),
        }),
    }
}

/// Writes what a stream has behind an ID; false: nothing, and nothing is written.
fn serve(cx: &mut Cx<'_>, word: &[u8], from: From, most: usize) -> Result<bool, ErrorKind> {
    let key = cx.key(word);
    let From::After(after) = from else { return Ok(false) };
    let Some(value) = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)? else {
        return Ok(false);
    };
    let stream = stream(value);
    let Some(start) = after.next().filter(|_| stream.edge(true).is_some_and(|it| it > after))
    else {
        return Ok(false);
    };
    write_name(word, &mut cx.reply);
    write_range(stream, start, StreamId::MAX, false, most, &mut cx.reply, |_| {});
    Ok(true)
}

fn write_name(word: &[u8], reply: &mut Reply<'_>) {
    if reply.proto == Proto::Resp2 {
        reply.array(2);
    }
    reply.bulk(word);
}

/// As `serve`, for a consumer of a group that is there.
fn serve_group(
    cx: &mut Cx<'_>,
    word: &[u8],
    (group, consumer): (&[u8], &[u8]),
    from: From,
    read: &Read<'_>,
) -> Result<bool, ErrorKind> {
    let (key, now) = (cx.key(word), now_ms(cx));
    let (reply, effect, db) = (&mut cx.reply, &mut *cx.effect, cx.db);
    let mut made = false;
    let served = cx.keyspace.modify(db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        let own = stream.groups().get(group)?;
        let (last, known) = (own.last_id, own.find(consumer));
        if matches!(from, From::New) && stream.edge(true).is_none_or(|it| it <= last) {
            // A consumer is made by what it is given; until then it has only asked.
            if let (Some(id), Some(own)) = (known, stream.groups_mut().get_mut(group)) {
                own.touch(id, Some(now), None);
            }
            return None;
        }
        let id = match known {
            Some(id) => id,
            None => {
                let id = stream.groups_mut().get_mut(group)?.create(consumer, now)?;
                effect.changed(1);
                made = true;
                if read.no_ack {
                    let create: [&[u8]; 5] = [b"XGROUP", b"CREATECONSUMER", word, group, consumer];
                    effect.command(db, &create);
                }
                id
            }
        };
        stream.groups_mut().get_mut(group)?.touch(id, Some(now), None);
        write_name(word, reply);
        match from {
            From::After(after) => {
                write_history(stream, (group, id), after, now, read.most, reply);
                effect.changed(1);
            }
            From::New => {
                let mut given = Vec::new();
                let start = last.next().unwrap_or(StreamId::MAX);
                write_range(stream, start, StreamId::MAX, false, read.most, reply, |it| {
                    given.push(it);
                });
                let mut note = |words: &[&[u8]]| effect.command(db, words);
                give(stream, word, (group, id), &given, now, read.no_ack, &mut note);
            }
        }
        Some(())
    })?;
    if made {
        cx.notify(Class::Stream, "xgroup-createconsumer", word);
    }
    Ok(served.flatten().is_some())
}

/// What is pending for a consumer behind an ID, given to it once more.
fn write_history(
    stream: &mut Stream,
    (group, consumer): (&[u8], ConsumerId),
    after: StreamId,
    now: i64,
    most: usize,
    reply: &mut Reply<'_>,
) {
    let mut again = Vec::new();
    if let (Some(own), Some(start)) = (stream.groups().get(group), after.next()) {
        counted(reply, |reply| {
            let mut count = 0;
            own.visit_pending(start, Some(consumer), |pending| {
                if write_one(stream, pending.id, reply) {
                    let deliveries = pending.deliveries.saturating_add(1);
                    again.push(Pending { delivered_ms: now, deliveries, ..pending });
                } else {
                    // It was deleted, and yet nobody has acknowledged it.
                    reply.array(2);
                    write_id(pending.id, reply);
                    reply.null_array();
                }
                count += 1;
                if count == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            count
        });
    } else {
        reply.array(0);
    }
    if let Some(own) = stream.groups_mut().get_mut(group).filter(|_| !again.is_empty()) {
        again.into_iter().for_each(|pending| own.give(pending));
    }
}

/// New entries are the consumer's now; `note` is told the commands that say so.
fn give(
    stream: &mut Stream,
    word: &[u8],
    (name, consumer): (&[u8], ConsumerId),
    given: &[StreamId],
    now: i64,
    no_ack: bool,
    note: &mut dyn FnMut(&[&[u8]]),
) {
    let Some(group) = stream.groups().get(name) else { return };
    let (mut last, mut read) = (group.last_id, group.entries_read);
    let owner = group.consumer(consumer).name.clone();
    let mut pendings = Vec::with_capacity(given.len());
    for &id in given {
        if id > last {
            read = match read {
                Some(read) if !stream.has_gap_from(id) => read.checked_add(1),
                _ => stream.entries_up_to(id).and_then(|it| i64::try_from(it).ok()),
            };
            last = id;
        }
        if !no_ack {
            let pending = Pending { id, delivered_ms: now, deliveries: 1, owner: consumer };
            note_claim(word, name, &owner, pending, last, note);
            pendings.push(pending);
        }
    }
    if no_ack {
        let (id, read) = (last.text(), Digits::new(read.unwrap_or(-1)));
        let words: [&[u8]; 7] =
            [b"XGROUP", b"SETID", word, name, id.as_bytes(), b"ENTRIESREAD", read.as_bytes()];
        note(&words);
    }
    let Some(group) = stream.groups_mut().get_mut(name) else { return };
    (group.last_id, group.entries_read) = (last, read);
    if !no_ack {
        group.touch(consumer, None, Some(now));
        pendings.into_iter().for_each(|pending| group.give(pending));
    }
}

/// The XCLAIM that makes an entry pending elsewhere as it is here.
pub(super) fn note_claim(
    word: &[u8],
    group: &[u8],
    consumer: &[u8],
    pending: Pending,
    last: StreamId,
    note: &mut dyn FnMut(&[&[u8]]),
) {
    let (id, last) = (pending.id.text(), last.text());
    let time = Digits::new(pending.delivered_ms);
    let count = Digits::new(pending.deliveries.cast_signed());
    let words: [&[u8]; 14] = [
        b"XCLAIM",
        word,
        group,
        consumer,
        b"0",
        id.as_bytes(),
        b"TIME",
        time.as_bytes(),
        b"RETRYCOUNT",
        count.as_bytes(),
        b"FORCE",
        b"JUSTID",
        b"LASTID",
        last.as_bytes(),
    ];
    note(&words);
}

/// The consumer of this name, made if need be.
pub(super) fn consumer_of(group: &mut Group, name: &[u8], now: i64) -> Option<ConsumerId> {
    group.find(name).or_else(|| group.create(name, now))
}
