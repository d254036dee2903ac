//! List commands. The table is this file's contents page; each row names one function.
//!
//! Effects are those of redis-server 7.0 (`tests/golden/lists-7.0.15.txt`): a command goes out as it came,
//! but `LMPOP` as the `LPOP` or `RPOP` that it was, and what may wait as the command that does not.
//!
//! Not here: what a list consists of (`types/list.rs`), and how a short one becomes long and back
//! (`lists/form.rs`).

use crate::base::num::{Digits, parse_i64};
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, KEYS, Kind as ArgumentKind};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::blocking;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn, integer};
use crate::resp::error::ErrorKind;
use crate::types::list::{End, Fill};
use crate::types::object::Body;
use crate::types::packed::{Item, Needle};
use crate::types::record::Kind;
use crate::types::store::ValueRef;
use form::Form;
use std::ops::ControlFlow;

pub(super) mod form;

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
const GROWS: Flags = WRITE.and(Flags::DENYOOM);
const GROWS_FAST: Flags = GROWS.and(Flags::FAST);

const RO: KeyFlags = KeyFlags::RO;
const RW: KeyFlags = KeyFlags::RW;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const UPDATE: KeyFlags = KeyFlags::UPDATE;
const INSERT: KeyFlags = KeyFlags::INSERT;
const DELETE: KeyFlags = KeyFlags::DELETE;

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("BLMOVE", Exactly(6), GROWS.and(Flags::NOSCRIPT).and(Flags::BLOCKING), &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)), KeySpec::at(2, RW.and(INSERT))])
        .about(Group::List, "6.2.0", "O(1)", "Moves an element between two lists; waits for one to come")
        .takes(&[
            Argument::key("source", 0),
            Argument::key("destination", 1),
            Argument::one_of("wherefrom", &[Argument::word("left", "LEFT"), Argument::word("right", "RIGHT")]),
            Argument::one_of("whereto", &[Argument::word("left", "LEFT"), Argument::word("right", "RIGHT")]),
            Argument::new(ArgumentKind::Double, "timeout"),
        ])
        .hop(Hop::Blocking), blmove),
    Command::new(Spec::new("BLMPOP", AtLeast(5), WRITE.and(Flags::BLOCKING).and(Flags::MOVABLEKEYS), &[KeySpec::at(2, RW.and(ACCESS).and(DELETE)).counted(0, 1, 1)])
        .about(Group::List, "7.0.0", "O(N+M)", "Takes elements off the first list that has any; waits for them to come")
        .takes(&[
            Argument::new(ArgumentKind::Double, "timeout"),
            Argument::integer("numkeys"),
            KEYS,
            Argument::one_of("where", &[Argument::word("left", "LEFT"), Argument::word("right", "RIGHT")]),
            Argument::integer("count").token("COUNT").optional(),
        ])
        .hop(Hop::Blocking), blmpop),
    Command::new(Spec::new("BLPOP", AtLeast(3), WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING), &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)).to(-2, 1)])
        .about(Group::List, "2.0.0", "O(N)", "Takes the first element off a list; waits for one to come")
        .takes(&[KEYS, Argument::new(ArgumentKind::Double, "timeout")])
        .hop(Hop::Blocking), blpop),
    Command::new(Spec::new("BRPOP", AtLeast(3), WRITE.and(Flags::NOSCRIPT).and(Flags::BLOCKING), &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)).to(-2, 1)])
        .about(Group::List, "2.0.0", "O(N)", "Takes the last element off a list; waits for one to come")
        .takes(&[KEYS, Argument::new(ArgumentKind::Double, "timeout")])
        .hop(Hop::Blocking), brpop),
    Command::new(Spec::new("BRPOPLPUSH", Exactly(4), GROWS.and(Flags::NOSCRIPT).and(Flags::BLOCKING), &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)), KeySpec::at(2, RW.and(INSERT))])
        .about(Group::List, "2.2.0", "O(1)", "Moves the last element of a list to the front of another; waits for one to come")
        .deprecated("6.2.0", "`BLMOVE` with the `RIGHT` and `LEFT` arguments")
        .takes(&[
            Argument::key("source", 0),
            Argument::key("destination", 1),
            Argument::new(ArgumentKind::Double, "timeout"),
        ])
        .hop(Hop::Blocking), brpoplpush),
    Command::new(Spec::new("LINDEX", Exactly(3), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::List, "1.0.0", "O(N)", "The element at an index of a list")
        .takes(&[KEY, Argument::integer("index")]), lindex),
    Command::new(Spec::new("LINSERT", Exactly(5), GROWS, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::List, "2.2.0", "O(N)", "Inserts an element before or after another one")
        .takes(&[
            KEY,
            Argument::one_of("where", &[Argument::word("before", "BEFORE"), Argument::word("after", "AFTER")]),
            Argument::string("pivot"),
            Argument::string("element"),
        ]), linsert),
    Command::new(Spec::new("LLEN", Exactly(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::List, "1.0.0", "O(1)", "How many elements a list has")
        .takes(&[KEY]), llen),
    Command::new(Spec::new("LMOVE", Exactly(5), GROWS, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)), KeySpec::at(2, RW.and(INSERT))])
        .about(Group::List, "6.2.0", "O(1)", "Moves an element from an end of a list to an end of another")
        .takes(&[
            Argument::key("source", 0),
            Argument::key("destination", 1),
            Argument::one_of("wherefrom", &[Argument::word("left", "LEFT"), Argument::word("right", "RIGHT")]),
            Argument::one_of("whereto", &[Argument::word("left", "LEFT"), Argument::word("right", "RIGHT")]),
        ])
        .hop(Hop::Exclusive), lmove),
    Command::new(Spec::new("LMPOP", AtLeast(4), WRITE.and(Flags::MOVABLEKEYS), &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)).counted(0, 1, 1)])
        .about(Group::List, "7.0.0", "O(N+M)", "Takes elements off the first list that has any")
        .takes(&[
            Argument::integer("numkeys"),
            KEYS,
            Argument::one_of("where", &[Argument::word("left", "LEFT"), Argument::word("right", "RIGHT")]),
            Argument::integer("count").token("COUNT").optional(),
        ])
        .hop(Hop::Exclusive), lmpop),
    Command::new(Spec::new("LPOP", AtLeast(2), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE))])
        .about(Group::List, "1.0.0", "O(N)", "Takes elements off the front of a list")
        .takes(&[KEY, Argument::integer("count").since("6.2.0").optional()]), lpop),
    Command::new(Spec::new("LPOS", AtLeast(3), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::List, "6.0.6", "O(N)", "Where a list has an element")
        .takes(&[
            KEY,
            Argument::string("element"),
            Argument::integer("rank").token("RANK").optional(),
            Argument::integer("num-matches").token("COUNT").optional(),
            Argument::integer("len").token("MAXLEN").optional(),
        ]), lpos),
    Command::new(Spec::new("LPUSH", AtLeast(3), GROWS_FAST, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::List, "1.0.0", "O(1)", "Adds elements to the front of a list")
        .takes(&[KEY, Argument::string("element").multiple()]), lpush),
    Command::new(Spec::new("LPUSHX", AtLeast(3), GROWS_FAST, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::List, "2.2.0", "O(1)", "Adds elements to the front of a list that exists")
        .takes(&[KEY, Argument::string("element").multiple()]), lpushx),
    Command::new(Spec::new("LRANGE", Exactly(4), READ, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::List, "1.0.0", "O(S+N)", "The elements of a list from one index to another")
        .takes(&[KEY, Argument::integer("start"), Argument::integer("stop")]), lrange),
    Command::new(Spec::new("LREM", Exactly(4), WRITE, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::List, "1.0.0", "O(N+M)", "Removes elements that equal a value")
        .takes(&[KEY, Argument::integer("count"), Argument::string("element")]), lrem),
    Command::new(Spec::new("LSET", Exactly(4), GROWS, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::List, "1.0.0", "O(N)", "Overwrites the element at an index of a list")
        .takes(&[KEY, Argument::integer("index"), Argument::string("element")]), lset),
    Command::new(Spec::new("LTRIM", Exactly(4), WRITE, &[KeySpec::at(1, RW.and(DELETE))])
        .about(Group::List, "1.0.0", "O(N)", "Removes all but a range of a list")
        .takes(&[KEY, Argument::integer("start"), Argument::integer("stop")]), ltrim),
    Command::new(Spec::new("RPOP", AtLeast(2), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE))])
        .about(Group::List, "1.0.0", "O(N)", "Takes elements off the end of a list")
        .takes(&[KEY, Argument::integer("count").since("6.2.0").optional()]), rpop),
    Command::new(Spec::new("RPOPLPUSH", Exactly(3), GROWS, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)), KeySpec::at(2, RW.and(INSERT))])
        .about(Group::List, "1.2.0", "O(1)", "Moves the last element of a list to the front of another")
        .deprecated("6.2.0", "`LMOVE` with the `RIGHT` and `LEFT` arguments")
        .takes(&[Argument::key("source", 0), Argument::key("destination", 1)])
        .hop(Hop::Exclusive), rpoplpush),
    Command::new(Spec::new("RPUSH", AtLeast(3), GROWS_FAST, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::List, "1.0.0", "O(1)", "Adds elements to the end of a list")
        .takes(&[KEY, Argument::string("element").multiple()]), rpush),
    Command::new(Spec::new("RPUSHX", AtLeast(3), GROWS_FAST, &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::List, "2.2.0", "O(1)", "Adds elements to the end of a list that exists")
        .takes(&[KEY, Argument::string("element").multiple()]), rpushx),
];

/// `LPUSH key element [element ...]`
fn lpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    push(cx, args, End::Left)
}

/// `RPUSH key element [element ...]`
fn rpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    push(cx, args, End::Right)
}

fn push(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), ErrorKind> {
    let (key, fill) = (cx.key(args.key()), fill(cx));
    let add = |body: &mut Body| form::push(body, end, args.from(2), fill);
    let len = cx.keyspace.modify_or_create(cx.db, key, Kind::List, cx.now, form::short, add)?;
    pushed(cx, args, end, len);
    Ok(())
}

/// `LPUSHX key element [element ...]`
fn lpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    push_to_existing(cx, args, End::Left)
}

/// `RPUSHX key element [element ...]`
fn rpushx(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    push_to_existing(cx, args, End::Right)
}

fn push_to_existing(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), ErrorKind> {
    let (key, fill) = (cx.key(args.key()), fill(cx));
    let add = |body: &mut Body| form::push(body, end, args.from(2), fill);
    match cx.keyspace.modify(cx.db, key, Kind::List, cx.now, add)? {
        Some(len) => pushed(cx, args, end, len),
        None => cx.reply.int(0),
    }
    Ok(())
}

fn pushed(cx: &mut Cx<'_>, args: Args<'_>, end: End, len: usize) {
    cx.notify(Class::List, push_event(end), args.key());
    cx.effect.verbatim();
    cx.effect.changed((args.len() - 3) as u64);
    cx.reply_len(len);
}

/// `LPOP key [count]`
fn lpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop(cx, args, End::Left, "LPOP")
}

/// `RPOP key [count]`
fn rpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop(cx, args, End::Right, "RPOP")
}

fn pop(cx: &mut Cx<'_>, args: Args<'_>, end: End, command: &'static str) -> Result<(), ErrorKind> {
    if args.len() > 3 {
        return Err(ErrorKind::WrongArity { command });
    }
    let count = args.get(2).map(|word| at_least(word, 0, ErrorKind::NotPositive)).transpose()?;
    let (key, fill, reply) = (cx.key(args.key()), fill(cx), &mut cx.reply);
    let popped = cx.keyspace.modify(cx.db, key, Kind::List, cx.now, |body| {
        let count_now = count.unwrap_or(1).min(body.len());
        if count.is_some() {
            reply.array(count_now);
        }
        form::pop(body, end, count_now, fill, |item| reply.bulk(&item.text()));
        count_now
    })?;
    match popped {
        Some(0) => {}
        Some(popped) => {
            cx.notify_taken(Class::List, pop_event(end), args.key());
            cx.effect.verbatim();
            cx.effect.changed(popped as u64 - 1);
        }
        None if count.is_some() => cx.reply.null_array(),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `BLPOP key [key ...] timeout`
fn blpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop_or_wait(cx, args, End::Left)
}

/// `BRPOP key [key ...] timeout`
fn brpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    pop_or_wait(cx, args, End::Right)
}

fn pop_or_wait(cx: &mut Cx<'_>, args: Args<'_>, end: End) -> Result<(), ErrorKind> {
    let last = args.len() - 1;
    blocking::seconds(&args[last])?;
    for &word in &args.words()[1..last] {
        let (key, fill, reply) = (cx.key(word), fill(cx), &mut cx.reply);
        let popped = cx.keyspace.modify(cx.db, key, Kind::List, cx.now, |body| {
            reply.array(2);
            reply.bulk(word);
            form::pop(body, end, 1, fill, |item| reply.bulk(&item.text()));
        })?;
        if popped.is_some() {
            let command: &[u8] = if end == End::Left { b"LPOP" } else { b"RPOP" };
            cx.notify_taken(Class::List, pop_event(end), word);
            cx.effect.command(cx.db, &[command, word]);
            return Ok(());
        }
    }
    cx.effect.wait();
    cx.reply.null_array();
    Ok(())
}

/// `LLEN key`
fn llen(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let list = cx.keyspace.read(cx.db, key, Kind::List, cx.now)?;
    let len = list.map_or(0, |list| Form::of(list).len());
    cx.reply_len(len);
    Ok(())
}

/// `LINDEX key index`
fn lindex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let Some(list) = cx.keyspace.read(cx.db, key, Kind::List, cx.now)? else {
        cx.reply.null();
        return Ok(());
    };
    let list = Form::of(list);
    match index_of(integer(&args[2])?, list.len()).and_then(|index| list.get(index)) {
        Some(item) => cx.reply.bulk(&item.text()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `LSET key index element`
fn lset(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, fill, element) = (cx.key(args.key()), fill(cx), &args[3]);
    let set = cx.keyspace.modify(cx.db, key, Kind::List, cx.now, |body| {
        let index = integer(&args[2])?;
        form::make_room(body, element.len(), 1, fill);
        let index = index_of(index, body.len()).ok_or(ErrorKind::IndexOutOfRange)?;
        form::set(body, index, element, fill);
        Ok::<_, ErrorKind>(())
    })?;
    set.ok_or(ErrorKind::NoSuchKey)??;
    cx.notify(Class::List, "lset", args.key());
    cx.effect.verbatim();
    cx.reply.ok();
    Ok(())
}

/// `LINSERT key BEFORE | AFTER pivot element`
fn linsert(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let after = match &args[2] {
        word if word.eq_ignore_ascii_case(b"AFTER") => 1,
        word if word.eq_ignore_ascii_case(b"BEFORE") => 0,
        _ => return Err(ErrorKind::Syntax),
    };
    let (key, fill, pivot, element) = (cx.key(args.key()), fill(cx), &args[3], &args[4]);
    let inserted = cx.keyspace.modify(cx.db, key, Kind::List, cx.now, |body| {
        form::make_room(body, element.len(), 1, fill);
        let at = Form::of_body(body).position(Needle::new(pivot))?;
        form::insert(body, at + after, element, fill);
        Some(body.len())
    })?;
    match inserted {
        None => cx.reply.int(0),
        Some(None) => cx.reply.int(-1),
        Some(Some(len)) => {
            cx.notify(Class::List, "linsert", args.key());
            cx.effect.verbatim();
            cx.reply_len(len);
        }
    }
    Ok(())
}

/// `LRANGE key start stop`
fn lrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let key = cx.key(args.key());
    let Some(list) = cx.keyspace.read(cx.db, key, Kind::List, cx.now)? else {
        cx.reply.array(0);
        return Ok(());
    };
    let list = Form::of(list);
    let (start, len) = range_of(start, stop, list.len());
    cx.reply.array(len);
    let mut left = len;
    if left > 0 {
        list.visit(start, false, |item| {
            cx.reply.bulk(&item.text());
            left -= 1;
            if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
    }
    Ok(())
}

/// `LTRIM key start stop`
fn ltrim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (start, stop) = (integer(&args[2])?, integer(&args[3])?);
    let (key, fill) = (cx.key(args.key()), fill(cx));
    let trimmed = cx.keyspace.modify(cx.db, key, Kind::List, cx.now, |body| {
        let old = body.len();
        let (start, len) = range_of(start, stop, old);
        let rests = form::trim(body, start, len, fill);
        (old - len, rests)
    })?;
    if let Some((removed, rests)) = trimmed {
        rests.into_iter().for_each(|rest| cx.keyspace.bury_object(rest));
        cx.notify_taken(Class::List, "ltrim", args.key());
        if removed > 0 {
            cx.effect.verbatim();
            cx.effect.changed(removed as u64 - 1);
        }
    }
    cx.reply.ok();
    Ok(())
}

/// `LREM key count element`
fn lrem(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let count = integer(&args[2])?;
    let from = if count < 0 { End::Right } else { End::Left };
    let most = match usize::try_from(count.unsigned_abs()) {
        Ok(0) | Err(_) => usize::MAX,
        Ok(count) => count,
    };
    let (key, fill) = (cx.key(args.key()), fill(cx));
    let removed = cx.keyspace.modify(cx.db, key, Kind::List, cx.now, |body| {
        form::remove(body, &args[3], most, from, fill)
    })?;
    let removed = removed.unwrap_or(0);
    if removed > 0 {
        cx.notify_taken(Class::List, "lrem", args.key());
        cx.effect.verbatim();
        cx.effect.changed(removed as u64 - 1);
    }
    cx.reply_len(removed);
    Ok(())
}

/// `LPOS key element [RANK rank] [COUNT num-matches] [MAXLEN len]`
fn lpos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let search = Search::of(args)?;
    let key = cx.key(args.key());
    let list = cx.keyspace.read(cx.db, key, Kind::List, cx.now)?;
    let found = list.map_or_else(Vec::new, |list| search.run(Form::of(list), &args[2]));
    match search.count {
        Some(_) => {
            cx.reply.array(found.len());
            found.into_iter().for_each(|index| cx.reply_len(index));
        }
        None => match found.first() {
            Some(&index) => cx.reply_len(index),
            None => cx.reply.null(),
        },
    }
    Ok(())
}

/// What LPOS looks for.
struct Search {
    /// Matches up to this one are passed over; from the right if it is negative.
    rank: i64,
    /// All of them if it is 0.
    count: Option<usize>,
    /// How many elements to look at; all if it is 0.
    most: usize,
}

impl Search {
    fn of(args: Args<'_>) -> Result<Self, ErrorKind> {
        let mut search = Self { rank: 1, count: None, most: 0 };
        let mut at = 3;
        while at < args.len() {
            let value = args.get(at + 1).ok_or(ErrorKind::Syntax)?;
            if args.is(at, "RANK") {
                search.rank = integer(value)?;
                if search.rank == 0 {
                    return Err(ErrorKind::LposRankZero);
                }
            } else if args.is(at, "COUNT") {
                search.count = Some(at_least(value, 0, ErrorKind::LposCountNegative)?);
            } else if args.is(at, "MAXLEN") {
                search.most = at_least(value, 0, ErrorKind::LposMaxlenNegative)?;
            } else {
                return Err(ErrorKind::Syntax);
            }
            at += 2;
        }
        Ok(search)
    }

    fn run(&self, list: Form<'_>, element: &[u8]) -> Vec<usize> {
        let (needle, len, backwards) = (Needle::new(element), list.len(), self.rank < 0);
        // The lowest number has no opposite: Redis lets it be what it is, and takes the first match.
        let rank = if backwards { self.rank.wrapping_neg() } else { self.rank };
        let most = if self.most == 0 { len } else { self.most.min(len) };
        let wanted = match self.count {
            None => 1,
            Some(0) => usize::MAX,
            Some(count) => count,
        };
        let (mut found, mut matches, mut looked_at) = (Vec::new(), 0_i64, 0);
        let start = if backwards { len - 1 } else { 0 };
        list.visit(start, backwards, |item| {
            if looked_at == most {
                return ControlFlow::Break(());
            }
            if item.is(needle) {
                matches += 1;
                if matches >= rank {
                    found.push(if backwards { len - 1 - looked_at } else { looked_at });
                }
            }
            looked_at += 1;
            if found.len() == wanted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        found
    }
}

/// `LMOVE source destination LEFT | RIGHT LEFT | RIGHT`
fn lmove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (from, to) = (end_of(&args[3])?, end_of(&args[4])?);
    if move_element(cx, args, from, to)? {
        cx.effect.verbatim();
        cx.effect.changed(1);
    }
    Ok(())
}

/// `RPOPLPUSH source destination`
fn rpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if move_element(cx, args, End::Right, End::Left)? {
        cx.effect.verbatim();
        cx.effect.changed(1);
    }
    Ok(())
}

/// `BLMOVE source destination LEFT | RIGHT LEFT | RIGHT timeout`
fn blmove(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (from, to) = (end_of(&args[3])?, end_of(&args[4])?);
    blocking::seconds(&args[5])?;
    if move_element(cx, args, from, to)? {
        let name = |end| if end == End::Left { b"left".as_slice() } else { b"right" };
        cx.effect.command(cx.db, &[b"LMOVE", &args[1], &args[2], name(from), name(to)]);
        cx.effect.changed(1);
    } else {
        cx.effect.wait();
    }
    Ok(())
}

/// `BRPOPLPUSH source destination timeout`
fn brpoplpush(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    blocking::seconds(&args[3])?;
    if move_element(cx, args, End::Right, End::Left)? {
        cx.effect.command(cx.db, &[b"RPOPLPUSH", &args[1], &args[2]]);
        cx.effect.changed(1);
    } else {
        cx.effect.wait();
    }
    Ok(())
}

/// Moves an element and answers it; false: there was none, and that was answered.
fn move_element(cx: &mut Cx<'_>, args: Args<'_>, from: End, to: End) -> Result<bool, ErrorKind> {
    let (source, destination, fill) = (cx.key(&args[1]), cx.key(&args[2]), fill(cx));
    let (db, now) = (cx.db, cx.now);
    let Some(list) = cx.keyspace.peek(db, source, now) else {
        cx.reply.null();
        return Ok(false);
    };
    if list.kind() != Kind::List {
        return Err(ErrorKind::WrongType);
    }
    let element = Form::of(list).at_end(from).map_or_else(Vec::new, |item| item.text().to_vec());
    if cx.keyspace.peek(db, destination, now).is_some_and(|it| it.kind() != Kind::List) {
        return Err(ErrorKind::WrongType);
    }
    if source.bytes == destination.bytes {
        // A list that this empties for a moment is not removed, so it keeps its expiry.
        cx.keyspace.modify(db, source, Kind::List, now, |body| {
            form::rotate(body, from, to, &element, fill);
        })?;
        cx.notify(Class::List, push_event(to), &args[2]);
        cx.notify(Class::List, pop_event(from), &args[1]);
    } else {
        // First what may fail.
        let add = |body: &mut Body| form::push(body, to, std::iter::once(&element[..]), fill);
        cx.keyspace.modify_or_create(db, destination, Kind::List, now, form::short, add)?;
        cx.notify(Class::List, push_event(to), &args[2]);
        cx.keyspace.modify(db, source, Kind::List, now, |body| {
            form::pop(body, from, 1, fill, |_| {});
        })?;
        cx.notify_taken(Class::List, pop_event(from), &args[1]);
    }
    cx.reply.bulk(&element);
    Ok(true)
}

/// `LMPOP numkeys key [key ...] LEFT | RIGHT [COUNT count]`
fn lmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let several = several(args)?;
    if !pop_first_of(cx, args, several)? {
        cx.reply.null_array();
    }
    Ok(())
}

/// `BLMPOP timeout numkeys key [key ...] LEFT | RIGHT [COUNT count]`
fn blmpop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let several = several(args.skip(1))?;
    blocking::seconds(&args[1])?;
    if !pop_first_of(cx, args.skip(1), several)? {
        cx.effect.wait();
        cx.reply.null_array();
    }
    Ok(())
}

/// `numkeys key [key ...] LEFT | RIGHT [COUNT count]`
fn several(args: Args<'_>) -> Result<(usize, End, usize), ErrorKind> {
    let keys = at_least(&args[1], 1, ErrorKind::NumkeysNotPositive)?;
    let at = keys.checked_add(2).filter(|&at| at < args.len()).ok_or(ErrorKind::Syntax)?;
    let end = end_of(&args[at])?;
    let count = match args.len() - at {
        1 => 1,
        3 if args.is(at + 1, "COUNT") => at_least(&args[at + 2], 1, ErrorKind::CountNotPositive)?,
        // Which of several mistakes is told is for the first one to decide.
        4.. if args.is(at + 1, "COUNT") => {
            at_least(&args[at + 2], 1, ErrorKind::CountNotPositive)?;
            return Err(ErrorKind::Syntax);
        }
        _ => return Err(ErrorKind::Syntax),
    };
    Ok((keys, end, count))
}

/// Pops from the first of the lists that is there; false: there was none, and nothing is answered.
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

/// Pops from a list, if it is there, as LMPOP answers it.
fn pop_first(cx: &mut Cx<'_>, word: &[u8], end: End, count: usize) -> Result<bool, ErrorKind> {
    let (key, fill, reply) = (cx.key(word), fill(cx), &mut cx.reply);
    let popped = cx.keyspace.modify(cx.db, key, Kind::List, cx.now, |body| {
        let count = count.min(body.len());
        reply.array(2);
        reply.bulk(word);
        reply.array(count);
        form::pop(body, end, count, fill, |item: Item<'_>| reply.bulk(&item.text()));
        count
    })?;
    let Some(popped) = popped else { return Ok(false) };
    cx.notify_taken(Class::List, pop_event(end), word);
    let command: &[u8] = if end == End::Left { b"LPOP" } else { b"RPOP" };
    let number = Digits::new(i64::try_from(popped).unwrap_or(i64::MAX));
    cx.effect.command(cx.db, &[command, word, number.as_bytes()]);
    cx.effect.changed(popped as u64 - 1);
    Ok(true)
}

fn push_event(end: End) -> &'static str {
    if end == End::Left { "lpush" } else { "rpush" }
}

fn pop_event(end: End) -> &'static str {
    if end == End::Left { "lpop" } else { "rpop" }
}

/// Every element of a value that is a list.
pub(super) fn each(value: ValueRef<'_>, each: &mut dyn FnMut(&[u8])) {
    if Form::of(value).len() > 0 {
        Form::of(value).visit(0, false, |item| {
            each(&item.text());
            ControlFlow::Continue(())
        });
    }
}

/// A list of these elements.
pub(super) fn body_of(cx: &Cx<'_>, texts: &[&[u8]]) -> Body {
    let mut body = form::short();
    form::push(&mut body, End::Right, texts.iter().copied(), fill(cx));
    body
}

fn fill(cx: &Cx<'_>) -> Fill {
    Fill::new(cx.keyspace.packing().list_node_size)
}

fn end_of(word: &[u8]) -> Result<End, ErrorKind> {
    match word {
        word if word.eq_ignore_ascii_case(b"LEFT") => Ok(End::Left),
        word if word.eq_ignore_ascii_case(b"RIGHT") => Ok(End::Right),
        _ => Err(ErrorKind::Syntax),
    }
}

/// A number that must not be below `low`; whatever is wrong with it, `error` says so.
fn at_least(word: &[u8], low: usize, error: ErrorKind) -> Result<usize, ErrorKind> {
    let number = parse_i64(word).and_then(|number| usize::try_from(number).ok());
    number.filter(|&number| number >= low).ok_or(error)
}

/// The index from the left; below zero it counts from the right. `None`: there is no such element.
fn index_of(index: i64, len: usize) -> Option<usize> {
    let index = if index < 0 {
        len.checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
    } else {
        usize::try_from(index).ok()?
    };
    (index < len).then_some(index)
}

/// Both ends included, both may count from the right: where it starts, and how many elements it has.
fn range_of(start: i64, stop: i64, len: usize) -> (usize, usize) {
    let all = i64::try_from(len).unwrap_or(i64::MAX);
    let start = if start < 0 { (start + all).max(0) } else { start };
    let stop = if stop < 0 { stop + all } else { stop.min(all - 1) };
    if start > stop || start >= all {
        return (0, 0);
    }
    let whole = |number: i64| usize::try_from(number).unwrap_or(0);
    (whole(start), whole(stop - start + 1))
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/lists-7.0.15.txt"));
    }
}
