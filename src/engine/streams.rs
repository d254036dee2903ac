//! Stream commands. The tables are this file's contents page; each row names one function, here or in
//! `streams/`: read (XREAD, XREADGROUP), groups (XGROUP, XACK, XPENDING), claim (XCLAIM, XAUTOCLAIM), info.
//!
//! Effects are those of redis-server 7.0 (`tests/golden/streams-7.0.15.txt`): an ID that was made here goes out
//! as what it is, a trim that went only so far as the exact one that has the same result, and reading for a
//! group as the XCLAIMs that tell who has what.
//!
//! Not here: what a stream consists of (`types/log.rs`), and waiting for entries.

use crate::base::time::Wall;
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, KEYS, MILLISECONDS, UNIX_MILLISECONDS};
use crate::command::docs;
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::keyspace::{ExpiryMode, Keyspace};
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn, integer};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::types::log::id::StreamId;
use crate::types::log::node::Entry;
use crate::types::log::{NODE_BYTES_MAX, NodeFill, Stream};
use crate::types::object::{Body, Object};
use crate::types::record::Kind;
use crate::types::store::ValueRef;
use options::{Id, interval, stream_id};
use std::ops::ControlFlow;

mod claim;
mod groups;
mod info;
mod options;
mod read;

const NONE: Flags = Flags::NONE;
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
const GROWS: Flags = WRITE.and(Flags::DENYOOM);
const GROWS_FAST: Flags = GROWS.and(Flags::FAST);
const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);

const RO: KeyFlags = KeyFlags::RO;
const RW: KeyFlags = KeyFlags::RW;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const UPDATE: KeyFlags = KeyFlags::UPDATE;
const INSERT: KeyFlags = KeyFlags::INSERT;
const DELETE: KeyFlags = KeyFlags::DELETE;

#[rustfmt::skip] // One argument, one line.
const TRIM: Argument = Argument::block("trim", &[
    Argument::one_of("strategy", &[Argument::word("maxlen", "MAXLEN"), Argument::word("minid", "MINID").since("6.2.0")]),
    Argument::one_of("operator", &[Argument::word("equal", "="), Argument::word("approximately", "~")]).optional(),
    Argument::string("threshold"),
    Argument::integer("count").token("LIMIT").since("6.2.0").optional(),
]);

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("XACK", AtLeast(4), WRITE_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Stream, "5.0.0", "O(1)", "Marks entries as processed by a consumer group")
        .takes(&[KEY, Argument::string("group"), Argument::string("id").multiple()]), groups::xack),
    Command::new(Spec::new("XADD", AtLeast(5), GROWS_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Stream, "5.0.0", "O(1)", "Appends an entry to a stream")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::word("nomkstream", "NOMKSTREAM").since("6.2.0").optional(),
            TRIM.optional(),
            Argument::one_of("id_or_auto", &[Argument::word("auto_id", "*"), Argument::string("id")]),
            Argument::block("field_value", &[Argument::string("field"), Argument::string("value")]).multiple(),
        ]), xadd),
    Command::new(Spec::new("XAUTOCLAIM", AtLeast(6), WRITE_FAST, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::Stream, "6.2.0", "O(1)", "Gives entries that have been pending for long to another consumer")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::string("group"),
            Argument::string("consumer"),
            Argument::string("min-idle-time"),
            Argument::string("start"),
            Argument::integer("count").token("COUNT").optional(),
            Argument::word("justid", "JUSTID").optional(),
        ]), claim::xautoclaim),
    Command::new(Spec::new("XCLAIM", AtLeast(6), WRITE_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Stream, "5.0.0", "O(log N)", "Gives pending entries to another consumer")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::string("group"),
            Argument::string("consumer"),
            Argument::string("min-idle-time"),
            Argument::string("id").multiple(),
            Argument::integer("ms").token("IDLE").optional(),
            UNIX_MILLISECONDS.token("TIME").optional(),
            Argument::integer("count").token("RETRYCOUNT").optional(),
            Argument::word("force", "FORCE").optional(),
            Argument::word("justid", "JUSTID").optional(),
            Argument::string("id").token("LASTID").optional(),
        ]), claim::xclaim),
    Command::new(Spec::new("XDEL", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::Stream, "5.0.0", "O(1)", "Removes entries from a stream")
        .takes(&[KEY, Argument::string("id").multiple()]), xdel),
    Command::container(Spec::new("XGROUP", AtLeast(2), NONE, &[])
        .about(Group::Stream, "5.0.0", "", "Commands on consumer groups")
        .acl(Categories::NONE), no_subcommand, XGROUP),
    Command::container(Spec::new("XINFO", AtLeast(2), NONE, &[])
        .about(Group::Stream, "5.0.0", "", "Commands that describe streams")
        .acl(Categories::NONE), no_subcommand, XINFO),
    Command::new(Spec::new("XLEN", Exactly(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Stream, "5.0.0", "O(1)", "How many entries a stream has")
        .takes(&[KEY]), xlen),
    Command::new(Spec::new("XPENDING", AtLeast(3), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Stream, "5.0.0", "O(N)", "The entries that a group was given and has not acknowledged")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            Argument::string("group"),
            Argument::block("filters", &[Argument::integer("min-idle-time").token("IDLE").since("6.2.0").optional(), Argument::string("start"), Argument::string("end"), Argument::integer("count"), Argument::string("consumer").optional()]).optional(),
        ]), groups::xpending),
    Command::new(Spec::new("XRANGE", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Stream, "5.0.0", "O(N)", "The entries of a stream from one ID to another")
        .takes(&[
            KEY,
            Argument::string("start"),
            Argument::string("end"),
            Argument::integer("count").token("COUNT").optional(),
        ]), xrange),
    Command::new(Spec::new("XREAD", AtLeast(4), READ.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS), &[KeySpec::keyword("STREAMS", 1, RO.and(ACCESS)).to(-1, 1).limit(2)])
        .about(Group::Stream, "5.0.0", "", "The entries of streams after given IDs; may wait for them")
        .takes(&[
            Argument::integer("count").token("COUNT").optional(),
            MILLISECONDS.token("BLOCK").optional(),
            Argument::block("streams", &[KEYS, Argument::string("id").multiple()]).token("STREAMS"),
        ])
        .hop(Hop::Blocking), read::xread),
    Command::new(Spec::new("XREADGROUP", AtLeast(7), WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS), &[KeySpec::keyword("STREAMS", 4, RO.and(ACCESS)).to(-1, 1).limit(2)])
        .about(Group::Stream, "5.0.0", "", "The next entries of streams for a consumer of a group; may wait for them")
        .takes(&[
            Argument::block("group_consumer", &[Argument::string("group"), Argument::string("consumer")]).token("GROUP"),
            Argument::integer("count").token("COUNT").optional(),
            MILLISECONDS.token("BLOCK").optional(),
            Argument::word("noack", "NOACK").optional(),
            Argument::block("streams", &[KEYS, Argument::string("id").multiple()]).token("STREAMS"),
        ])
        .hop(Hop::Blocking), read::xreadgroup),
    Command::new(Spec::new("XREVRANGE", AtLeast(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Stream, "5.0.0", "O(N)", "The entries of a stream from one ID back to another")
        .takes(&[
            KEY,
            Argument::string("end"),
            Argument::string("start"),
            Argument::integer("count").token("COUNT").optional(),
        ]), xrevrange),
    Command::new(Spec::new("XSETID", AtLeast(3), GROWS_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Stream, "5.0.0", "O(1)", "Sets the last ID of a stream")
        .takes(&[
            KEY,
            Argument::string("last-id"),
            Argument::integer("entries_added").token("ENTRIESADDED").since("7.0.0").optional(),
            Argument::string("max_deleted_entry_id").token("MAXDELETEDID").since("7.0.0").optional(),
        ]), xsetid),
    Command::new(Spec::new("XTRIM", AtLeast(4), WRITE, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::Stream, "5.0.0", "O(N)", "Removes the oldest entries of a stream")
        .tips(&["nondeterministic_output"])
        .takes(&[
            KEY,
            TRIM,
        ]), xtrim),
];

#[rustfmt::skip] // As above.
const XGROUP: &[Command<ShardFn>] = &[
    Command::new(Spec::new("CREATE", AtLeast(5), GROWS, &[KeySpec::at(2, RW.and(INSERT))])
        .about(Group::Stream, "5.0.0", "O(1)", "Makes a consumer group")
        .takes(&[
            KEY,
            Argument::string("groupname"),
            Argument::one_of("id", &[Argument::string("id"), Argument::word("new_id", "$")]),
            Argument::word("mkstream", "MKSTREAM").optional(),
            Argument::integer("entries_read").token("ENTRIESREAD").optional(),
        ]), groups::create),
    Command::new(Spec::new("CREATECONSUMER", Exactly(5), GROWS, &[KeySpec::at(2, RW.and(INSERT))])
        .about(Group::Stream, "6.2.0", "O(1)", "Makes a consumer in a group")
        .takes(&[KEY, Argument::string("groupname"), Argument::string("consumername")]), groups::createconsumer),
    Command::new(Spec::new("DELCONSUMER", Exactly(5), WRITE, &[KeySpec::at(2, RW.and(DELETE))])
        .about(Group::Stream, "5.0.0", "O(1)", "Removes a consumer from a group")
        .takes(&[KEY, Argument::string("groupname"), Argument::string("consumername")]), groups::delconsumer),
    Command::new(Spec::new("DESTROY", Exactly(4), WRITE, &[KeySpec::at(2, RW.and(DELETE))])
        .about(Group::Stream, "5.0.0", "O(N)", "Removes a consumer group")
        .takes(&[KEY, Argument::string("groupname")]), groups::destroy),
    Command::new(Spec::new("HELP", Exactly(2), ANYTIME, &[])
        .about(Group::Stream, "5.0.0", "O(1)", "Lists the sub-commands"), group_help),
    Command::new(Spec::new("SETID", AtLeast(5), WRITE, &[KeySpec::at(2, RW.and(UPDATE))])
        .about(Group::Stream, "5.0.0", "O(1)", "Sets which entry a group was given last")
        .takes(&[
            KEY,
            Argument::string("groupname"),
            Argument::one_of("id", &[Argument::string("id"), Argument::word("new_id", "$")]),
            Argument::integer("entries_read").token("ENTRIESREAD").optional(),
        ]), groups::setid),
];

#[rustfmt::skip] // As above.
const XINFO: &[Command<ShardFn>] = &[
    Command::new(Spec::new("CONSUMERS", Exactly(4), READ, &[KeySpec::at(2, RO.and(ACCESS))])
        .about(Group::Stream, "5.0.0", "O(1)", "The consumers of a group")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY, Argument::string("groupname")]), info::consumers),
    Command::new(Spec::new("GROUPS", Exactly(3), READ, &[KeySpec::at(2, RO.and(ACCESS))])
        .about(Group::Stream, "5.0.0", "O(1)", "The consumer groups of a stream")
        .takes(&[KEY]), info::groups),
    Command::new(Spec::new("HELP", Exactly(2), ANYTIME, &[])
        .about(Group::Stream, "5.0.0", "O(1)", "Lists the sub-commands"), info_help),
    Command::new(Spec::new("STREAM", AtLeast(3), READ, &[KeySpec::at(2, RO.and(ACCESS))])
        .about(Group::Stream, "5.0.0", "O(1)", "What a stream consists of")
        .takes(&[
            KEY,
            Argument::block("full", &[Argument::integer("count").token("COUNT").optional()]).token("FULL").optional(),
        ]), info::stream_info),
];

/// A container named alone, or with a sub-command that it does not have.
fn no_subcommand(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let container = if args.is(0, "XGROUP") { "XGROUP" } else { "XINFO" };
    Err(ErrorKind::unknown_subcommand(container, args.get(1).unwrap_or_default()))
}

/// `XGROUP HELP`
fn group_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("XGROUP", XGROUP, &mut cx.reply);
    Ok(())
}

/// `XINFO HELP`
fn info_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("XINFO", XINFO, &mut cx.reply);
    Ok(())
}

/// `XADD key [NOMKSTREAM] [MAXLEN | MINID [= | ~] threshold [LIMIT count]] * | id field value [..]`
fn xadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (trim, options) = options::of_xadd(args, obeys(cx), fill(cx))?;
    let words = args.words().get(options.id_at + 1..).unwrap_or_default();
    if words.len() < 2 || !words.len().is_multiple_of(2) {
        return Err(ErrorKind::WrongArity { command: "XADD" });
    }
    if options.id == Id::Given(StreamId::MIN) {
        return Err(ErrorKind::StreamIdZero);
    }
    if words.iter().map(|word| word.len()).sum::<usize>() > NODE_BYTES_MAX {
        return Err(ErrorKind::StreamElementsTooLarge);
    }
    let (key, fill, now_ms) = (cx.key(args.key()), fill(cx), cx.now.ms());
    if options.no_stream {
        match cx.keyspace.peek(cx.db, key, cx.now) {
            None => {
                cx.reply.null();
                return Ok(());
            }
            Some(value) if value.kind() != Kind::Stream => return Err(ErrorKind::WrongType),
            Some(_) => {}
        }
    }
    let add = |body: &mut Body| {
        let stream = stream_mut(body);
        let id = id_to_add(stream, options.id, now_ms)?;
        stream.append(id, words, fill);
        let trimmed = trim.map(|trim| {
            let (deleted, rest) = stream.trim(trim.keep, trim.effort);
            (deleted, rest, trim.result(stream))
        });
        Ok::<_, ErrorKind>((id, trimmed))
    };
    let added = cx.keyspace.modify_or_create(cx.db, key, Kind::Stream, cx.now, new_stream, add)?;
    let (id, trimmed) = added?;
    let id = id.text();
    let mut rewritten: Vec<(usize, &[u8])> = Vec::new();
    if !matches!(options.id, Id::Given(_)) {
        rewritten.push((options.id_at, id.as_bytes()));
    }
    cx.notify(Class::Stream, "xadd", args.key());
    let result = trimmed.map(|(deleted, rest, result)| {
        bury(cx, rest);
        if deleted > 0 {
            cx.notify(Class::Stream, "xtrim", args.key());
        }
        result
    });
    if let (Some(trim), Some(result)) = (&trim, &result)
        && trim.effort.whole_nodes
    {
        rewritten.extend([(trim.at - 1, &b"="[..]), (trim.at, result)]);
    }
    note(cx, args, &rewritten);
    cx.reply.bulk(id.as_bytes());
    Ok(())
}

/// The ID of an entry that is to be added.
fn id_to_add(stream: &Stream, id: Id, now_ms: u64) -> Result<StreamId, ErrorKind> {
    let last = stream.last_id;
    if last == StreamId::MAX {
        return Err(ErrorKind::StreamExhausted);
    }
    let id = match id {
        Id::Auto => stream.next_id(now_ms).ok_or(ErrorKind::StreamIdTooSmall)?,
        Id::Given(id) => id,
        Id::Within(ms) if ms == last.ms => {
            let seq = last.seq.checked_add(1).ok_or(ErrorKind::StreamIdTooSmall)?;
            StreamId { ms, seq }
        }
        Id::Within(ms) => StreamId { ms, seq: 0 },
    };
    if id > last { Ok(id) } else { Err(ErrorKind::StreamIdTooSmall) }
}

/// `XTRIM key MAXLEN | MINID [= | ~] threshold [LIMIT count]`
fn xtrim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let trim = options::of_xtrim(args, obeys(cx), fill(cx))?;
    let key = cx.key(args.key());
    let trimmed = cx.keyspace.modify(cx.db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        let (deleted, rest) = stream.trim(trim.keep, trim.effort);
        (deleted, rest, trim.result(stream))
    })?;
    let Some((deleted, rest, result)) = trimmed else {
        cx.reply.int(0);
        return Ok(());
    };
    bury(cx, rest);
    if deleted > 0 {
        cx.notify(Class::Stream, "xtrim", args.key());
        if trim.effort.whole_nodes {
            note(cx, args, &[(trim.at - 1, b"="), (trim.at, &result)]);
        } else {
            cx.effect.verbatim();
        }
        cx.effect.changed(deleted - 1);
    }
    cx.reply_len(usize::try_from(deleted).unwrap_or(usize::MAX));
    Ok(())
}

/// The request is the effect, with some words put otherwise.
fn note(cx: &mut Cx<'_>, args: Args<'_>, rewritten: &[(usize, &[u8])]) {
    if rewritten.is_empty() {
        return cx.effect.verbatim();
    }
    let mut words = args.words().to_vec();
    rewritten.iter().for_each(|&(at, word)| words[at] = word);
    cx.effect.command(cx.db, &words);
}

/// `XLEN key`
fn xlen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)?;
    let len = value.map_or(0, |value| stream(value).len());
    cx.reply_len(usize::try_from(len).unwrap_or(usize::MAX));
    Ok(())
}

/// `XRANGE key start end [COUNT count]`
fn xrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    range(cx, args, false)
}

/// `XREVRANGE key end start [COUNT count]`
fn xrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    range(cx, args, true)
}

fn range(cx: &mut Cx<'_>, args: Args<'_>, backwards: bool) -> Result<(), ErrorKind> {
    let (first, last) = if backwards { (3, 2) } else { (2, 3) };
    let (start, end) = interval(&args[first], &args[last])?;
    let mut count = None;
    for at in (4..args.len()).step_by(2) {
        let value = args.get(at + 1).filter(|_| args.is(at, "COUNT"));
        count = Some(integer(value.ok_or(ErrorKind::Syntax)?)?.max(0));
    }
    let key = cx.key(args.key());
    let Some(value) = cx.keyspace.read(cx.db, key, Kind::Stream, cx.now)? else {
        cx.reply.array(0);
        return Ok(());
    };
    match count.map(|count| usize::try_from(count).unwrap_or(usize::MAX)) {
        Some(0) => cx.reply.null_array(),
        count => {
            let most = count.unwrap_or(usize::MAX);
            write_range(stream(value), start, end, backwards, most, &mut cx.reply, |_| {});
        }
    }
    Ok(())
}

/// `XDEL key id [id ...]`
fn xdel(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let deleted = cx.keyspace.modify(cx.db, key, Kind::Stream, cx.now, |body| {
        let ids: Vec<StreamId> = args.from(2).map(stream_id).collect::<Result<_, _>>()?;
        Ok::<_, ErrorKind>(stream_mut(body).delete(&ids))
    })?;
    let deleted = deleted.transpose()?.unwrap_or(0);
    if deleted > 0 {
        cx.notify(Class::Stream, "xdel", args.key());
        cx.effect.verbatim();
        cx.effect.changed(deleted as u64 - 1);
    }
    cx.reply_len(deleted);
    Ok(())
}

/// `XSETID key last-id [ENTRIESADDED entries-added] [MAXDELETEDID max-deleted-id]`
fn xsetid(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let id = stream_id(&args[2])?;
    let (mut added, mut max_deleted) = (None, StreamId::MIN);
    for at in (3..args.len()).step_by(2) {
        let value = args.get(at + 1).ok_or(ErrorKind::Syntax)?;
        if args.is(at, "ENTRIESADDED") {
            let number = integer(value)?;
            added = Some(u64::try_from(number).map_err(|_| ErrorKind::EntriesAddedNegative)?);
        } else if args.is(at, "MAXDELETEDID") {
            max_deleted = stream_id(value)?;
            if id < max_deleted {
                return Err(ErrorKind::XsetidBelowDeleted);
            }
        } else {
            return Err(ErrorKind::Syntax);
        }
    }
    let key = cx.key(args.key());
    let set = cx.keyspace.modify(cx.db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        if stream.edge(true).is_some_and(|last| id < last) {
            return Err(ErrorKind::XsetidBelowTop);
        }
        if added.is_some_and(|added| added < stream.len()) {
            return Err(ErrorKind::XsetidFewerThanLength);
        }
        stream.last_id = id;
        stream.entries_added = added.unwrap_or(stream.entries_added);
        if max_deleted != StreamId::MIN {
            stream.max_deleted_id = max_deleted;
        }
        Ok(())
    })?;
    set.ok_or(ErrorKind::NoSuchKey)??;
    cx.notify(Class::Stream, "xsetid", args.key());
    cx.effect.verbatim();
    cx.reply.ok();
    Ok(())
}

/// Writes an array of the live entries from `start` to `end`, at most `most`, and shows their IDs.
fn write_range(
    stream: &Stream,
    start: StreamId,
    end: StreamId,
    backwards: bool,
    most: usize,
    reply: &mut Reply<'_>,
    mut each: impl FnMut(StreamId),
) -> usize {
    counted(reply, |reply| {
        let mut count = 0;
        stream.visit(start, end, backwards, |entry| {
            each(entry.id);
            write_entry(entry, reply);
            count += 1;
            if count == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        count
    })
}

/// An array of what `write` writes; it returns how much that is.
fn counted(reply: &mut Reply<'_>, write: impl FnOnce(&mut Reply<'_>) -> usize) -> usize {
    let start = reply.out.len();
    let count = write(reply);
    let end = reply.out.len();
    reply.array(count);
    // Now it is known how long the header is, and it goes to the front.
    let header = reply.out.len() - end;
    reply.out[start..].rotate_right(header);
    count
}

/// An ID, and an array of names and values.
fn write_entry(entry: &mut Entry<'_>, reply: &mut Reply<'_>) {
    reply.array(2);
    write_id(entry.id, reply);
    reply.array(entry.fields * 2);
    entry.words(|name, value| {
        reply.bulk(&name.text());
        reply.bulk(&value.text());
    });
}

/// The entry of an ID, if it is there.
fn write_one(stream: &Stream, id: StreamId, reply: &mut Reply<'_>) -> bool {
    let mut found = false;
    stream.visit(id, id, false, |entry| {
        found = true;
        write_entry(entry, reply);
        ControlFlow::Break(())
    });
    found
}

fn write_id(id: StreamId, reply: &mut Reply<'_>) {
    reply.bulk(id.text().as_bytes());
}

/// The ID of a stream's last entry, which `$` means; that of an empty one where there is no stream.
pub(super) fn last_id(keyspace: &mut Keyspace, db: usize, key: &[u8], now: Wall) -> Vec<u8> {
    let key = keyspace.key(key);
    let value = keyspace.peek(db, key, now).filter(|it| it.kind() == Kind::Stream);
    value.map_or(StreamId::MIN, |value| stream(value).last_id).text().as_bytes().to_vec()
}

/// A value that is a stream.
fn stream(value: ValueRef<'_>) -> &Stream {
    match value.object() {
        Some(Object::Stream(stream)) => stream,
        _ => panic!("the kind was looked at"),
    }
}

fn stream_mut(body: &mut Body) -> &mut Stream {
    match body {
        Body::Object(Object::Stream(stream)) => stream,
        _ => panic!("the kind was looked at"),
    }
}

fn new_stream() -> Body {
    Body::Object(Object::Stream(Box::default()))
}

/// What was cut off a stream is freed in slices.
fn bury(cx: &mut Cx<'_>, rest: Stream) {
    if !rest.is_empty() || !rest.groups().is_empty() {
        cx.keyspace.bury_object(Object::Stream(Box::new(rest)));
    }
}

fn fill(cx: &Cx<'_>) -> NodeFill {
    let packing = cx.keyspace.packing();
    NodeFill::new(packing.stream_node_bytes, packing.stream_node_entries)
}

/// Does the command come from a master, which has decided already?
fn obeys(cx: &Cx<'_>) -> bool {
    cx.keyspace.expiry_mode() == ExpiryMode::Ignore
}

/// Now, as consumers and pending entries keep it.
fn now_ms(cx: &Cx<'_>) -> i64 {
    i64::try_from(cx.now.ms()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/streams-7.0.15.txt"));
    }
}
