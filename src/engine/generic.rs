//! Commands on keys of any type. The tables are this file's contents page; each row names one
//! function, here or in `generic/`: expiry (times to live), moves (a key gets another name or place),
//! whole (what the node needs of a shard for commands that visit every one).
//!
//! Effects are those of redis-server 7.0 (`tests/golden/generic-7.0.15.txt`): a DEL that removed nothing
//! sends nothing, a key that a command found expired goes out as `DEL key` first.
//!
//! Not here: how a sub-command is found (`command::lookup` and its caller), so the function of a
//! container only answers where there is none.

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::arguments::{
    Argument, KEY, KEYS, MILLISECONDS, SECONDS, UNIX_MILLISECONDS, UNIX_SECONDS,
};
use crate::command::docs;
use crate::command::node_rows as rows;
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{
    Categories, Command, Flags, Gather, Group, Hop, KeyFlags, KeySpec, Spec,
};
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn, integer};
use crate::resp::error::ErrorKind;
use crate::types::record::Encoding;

mod expiry;
pub mod moves;
pub mod whole;

const NONE: Flags = Flags::NONE;
const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const WRITE: Flags = Flags::WRITE;
const WRITE_FAST: Flags = WRITE.and(Flags::FAST);
const GROWS: Flags = WRITE.and(Flags::DENYOOM);
const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE);

const RO: KeyFlags = KeyFlags::RO;
const RW: KeyFlags = KeyFlags::RW;
const OW: KeyFlags = KeyFlags::OW;
const RM: KeyFlags = KeyFlags::RM;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const UPDATE: KeyFlags = KeyFlags::UPDATE;
const INSERT: KeyFlags = KeyFlags::INSERT;
const DELETE: KeyFlags = KeyFlags::DELETE;

#[rustfmt::skip] // One word, one line.
const EXPIRE_CONDITION: Argument = Argument::one_of("condition", &[
    Argument::word("nx", "NX"),
    Argument::word("xx", "XX"),
    Argument::word("gt", "GT"),
    Argument::word("lt", "LT"),
]).since("7.0.0").optional();

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("COPY", AtLeast(3), GROWS, &[KeySpec::at(1, RO.and(ACCESS)), KeySpec::at(2, OW.and(UPDATE))])
        .about(Group::Generic, "6.2.0", "O(N)", "Puts a copy of a value under another key")
        .takes(&[
            Argument::key("source", 0),
            Argument::key("destination", 1),
            Argument::integer("destination-db").token("DB").optional(),
            Argument::word("replace", "REPLACE").optional(),
        ])
        .hop(Hop::Exclusive), moves::copy),
    Command::new(Spec::new("DEL", AtLeast(2), WRITE, &[KeySpec::at(1, RM.and(DELETE)).to(-1, 1)])
        .about(Group::Generic, "1.0.0", "O(N)", "Removes keys")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .takes(&[KEYS])
        .hop(Hop::Split(Gather::Sum)), del),
    Command::new(Spec::new("EXISTS", AtLeast(2), READ_FAST, &[KeySpec::at(1, RO).to(-1, 1)])
        .about(Group::Generic, "1.0.0", "O(N)", "How many of the keys exist")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .takes(&[KEYS])
        .hop(Hop::Split(Gather::Sum)), exists),
    Command::new(Spec::new("EXPIRE", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Generic, "1.0.0", "O(1)", "Sets the time to live of a key, in seconds")
        .takes(&[KEY, SECONDS, EXPIRE_CONDITION]), expiry::expire),
    Command::new(Spec::new("EXPIREAT", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Generic, "1.2.0", "O(1)", "Sets when a key expires, in seconds of Unix time")
        .takes(&[KEY, UNIX_SECONDS, EXPIRE_CONDITION]), expiry::expireat),
    Command::new(Spec::new("EXPIRETIME", Exactly(2), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Generic, "7.0.0", "O(1)", "When a key expires, in seconds of Unix time")
        .takes(&[KEY]), expiry::expiretime),
    Command::new(Spec::new("MOVE", Exactly(3), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(UPDATE))])
        .about(Group::Generic, "1.0.0", "O(1)", "Moves a key to another database")
        .takes(&[KEY, Argument::integer("db")]), moves::move_key),
    Command::container(Spec::new("OBJECT", AtLeast(2), NONE, &[])
        .about(Group::Generic, "2.2.3", "", "Commands about how values are kept")
        .acl(Categories::NONE), no_subcommand, OBJECT),
    Command::new(Spec::new("PERSIST", Exactly(2), WRITE_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Generic, "2.2.0", "O(1)", "Takes the expiry off a key")
        .takes(&[KEY]), expiry::persist),
    Command::new(Spec::new("PEXPIRE", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Generic, "2.6.0", "O(1)", "Sets the time to live of a key, in milliseconds")
        .takes(&[KEY, MILLISECONDS, EXPIRE_CONDITION]), expiry::pexpire),
    Command::new(Spec::new("PEXPIREAT", AtLeast(3), WRITE_FAST, &[KeySpec::at(1, RW.and(UPDATE))])
        .about(Group::Generic, "2.6.0", "O(1)", "Sets when a key expires, in milliseconds of Unix time")
        .takes(&[KEY, UNIX_MILLISECONDS, EXPIRE_CONDITION]), expiry::pexpireat),
    Command::new(Spec::new("PEXPIRETIME", Exactly(2), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Generic, "7.0.0", "O(1)", "When a key expires, in milliseconds of Unix time")
        .takes(&[KEY]), expiry::pexpiretime),
    Command::new(Spec::new("PTTL", Exactly(2), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Generic, "2.6.0", "O(1)", "How long a key still lives, in milliseconds")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY]), expiry::pttl),
    Command::new(Spec::new("RENAME", Exactly(3), WRITE, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)), KeySpec::at(2, OW.and(UPDATE))])
        .about(Group::Generic, "1.0.0", "O(1)", "Gives a key another name")
        .takes(&[KEY, Argument::key("newkey", 1)])
        .hop(Hop::Exclusive), moves::rename),
    Command::new(Spec::new("RENAMENX", Exactly(3), WRITE_FAST, &[KeySpec::at(1, RW.and(ACCESS).and(DELETE)), KeySpec::at(2, OW.and(INSERT))])
        .about(Group::Generic, "1.0.0", "O(1)", "Gives a key another name that is still free")
        .takes(&[KEY, Argument::key("newkey", 1)])
        .hop(Hop::Exclusive), moves::renamenx),
    Command::new(Spec::new("TOUCH", AtLeast(2), READ_FAST, &[KeySpec::at(1, RO).to(-1, 1)])
        .about(Group::Generic, "3.2.1", "O(N)", "Marks keys as used; how many exist")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .takes(&[KEYS])
        .hop(Hop::Split(Gather::Sum)), touch),
    Command::new(Spec::new("TTL", Exactly(2), READ_FAST, &[KeySpec::at(1, RO.and(ACCESS))])
        .about(Group::Generic, "1.0.0", "O(1)", "How long a key still lives, in seconds")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY]), expiry::ttl),
    Command::new(Spec::new("TYPE", Exactly(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Generic, "1.0.0", "O(1)", "The type of a value")
        .takes(&[KEY]), type_of),
    Command::new(Spec::new("UNLINK", AtLeast(2), WRITE_FAST, &[KeySpec::at(1, RM.and(DELETE)).to(-1, 1)])
        .about(Group::Generic, "4.0.0", "O(1)", "Removes keys, and frees large values later")
        .tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
        .takes(&[KEYS])
        .hop(Hop::Split(Gather::Sum)), unlink),
];

/// The part of MEMORY that is about a key; the node has the rest (`node/memory_report.rs`).
pub const MEMORY: &[Command<ShardFn>] = &[Command::container(
    rows::MEMORY,
    no_subcommand,
    &[Command::new(rows::MEMORY_USAGE, memory_usage)],
)];

#[rustfmt::skip] // As above.
const OBJECT: &[Command<ShardFn>] = &[
    Command::new(Spec::new("ENCODING", Exactly(3), READ, &[KeySpec::at(2, RO)])
        .about(Group::Generic, "2.2.3", "O(1)", "How the value of a key is encoded")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY]), object_encoding),
    Command::new(Spec::new("FREQ", Exactly(3), READ, &[KeySpec::at(2, RO)])
        .about(Group::Generic, "4.0.0", "O(1)", "How often a key is used, on a logarithmic scale")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY]), object_freq),
    Command::new(Spec::new("HELP", Exactly(2), ANYTIME, &[])
        .about(Group::Generic, "6.2.0", "O(1)", "Lists the sub-commands"), object_help),
    Command::new(Spec::new("IDLETIME", Exactly(3), READ, &[KeySpec::at(2, RO)])
        .about(Group::Generic, "2.2.3", "O(1)", "Seconds since a key was last used")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY]), object_idletime),
    Command::new(Spec::new("REFCOUNT", Exactly(3), READ, &[KeySpec::at(2, RO)])
        .about(Group::Generic, "2.2.3", "O(1)", "How many references the value of a key has")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY]), object_refcount),
];

/// A container named alone, or with a sub-command that it does not have.
fn no_subcommand(_: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let container = if args.is(0, "MEMORY") { "MEMORY" } else { "OBJECT" };
    Err(ErrorKind::unknown_subcommand(container, args.get(1).unwrap_or_default()))
}

/// `DEL key [key ...]`
fn del(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let mut removed = 0;
    for word in args.from(1) {
        let key = cx.key(word);
        if cx.keyspace.remove(cx.db, key, cx.now) {
            removed += 1;
            cx.notify(Class::Generic, "del", word);
        }
    }
    if removed > 0 {
        cx.effect.verbatim();
        cx.effect.changed(removed - 1);
    }
    cx.reply.int(i64::try_from(removed).unwrap_or(i64::MAX));
    Ok(())
}

/// `UNLINK key [key ...]`. Large values are freed later whichever command removed them.
fn unlink(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    del(cx, args)
}

/// `EXISTS key [key ...]`: a key named twice counts twice.
fn exists(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let mut found = 0;
    for word in args.from(1) {
        let key = cx.key(word);
        found += usize::from(cx.keyspace.asked(cx.db, key, cx.now).is_some());
    }
    cx.reply_len(found);
    Ok(())
}

/// `TOUCH key [key ...]`
fn touch(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let mut found = 0;
    for word in args.from(1) {
        let key = cx.key(word);
        found += usize::from(cx.keyspace.touch(cx.db, key, cx.now));
    }
    cx.reply_len(found);
    Ok(())
}

/// `TYPE key`
fn type_of(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let name = cx.keyspace.type_of(cx.db, key, cx.now).map_or("none", |kind| kind.name());
    cx.reply.simple(name.as_bytes());
    Ok(())
}

/// `OBJECT ENCODING key`
fn object_encoding(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    match cx.keyspace.encoding(cx.db, key, cx.now) {
        Some(encoding) => cx.reply.bulk(encoding.name().as_bytes()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `OBJECT FREQ key`, where the policy counts uses.
fn object_freq(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    match cx.keyspace.frequency(cx.db, key, cx.now) {
        Some(_) if !cx.keyspace.counts_uses() => return Err(ErrorKind::LfuNotSelected),
        Some(frequency) => cx.reply.int(frequency.into()),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `OBJECT IDLETIME key`
fn object_idletime(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    match cx.keyspace.idle_seconds(cx.db, key, cx.now) {
        Some(_) if cx.keyspace.counts_uses() => return Err(ErrorKind::LfuSelected),
        Some(seconds) => cx.reply.int(i64::try_from(seconds).unwrap_or(i64::MAX)),
        None => cx.reply.null(),
    }
    Ok(())
}

/// `OBJECT REFCOUNT key`. Nothing is counted here; Redis shares the integers below 10000 among all
/// keys and shows that as the largest `int`.
fn object_refcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    match cx.keyspace.peek(cx.db, key, cx.now) {
        Some(value) => {
            let is_int = value.encoding() == Encoding::Int;
            let number = parse_i64(value.bytes()).filter(|_| is_int);
            let shared = number.is_some_and(|number| (0..10_000).contains(&number));
            cx.reply.int(if shared { i64::from(i32::MAX) } else { 1 });
        }
        None => cx.reply.null(),
    }
    Ok(())
}

/// `OBJECT HELP`
fn object_help(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    docs::write_help("OBJECT", OBJECT, &mut cx.reply);
    Ok(())
}

/// `MEMORY USAGE key [SAMPLES count]`. Sizes are known, so no samples are taken.
fn memory_usage(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    for at in (3..args.len()).step_by(2) {
        let samples = args.get(at + 1).filter(|_| args.is(at, "SAMPLES"));
        if integer(samples.ok_or(ErrorKind::Syntax)?)? < 0 {
            return Err(ErrorKind::Syntax);
        }
    }
    let key = cx.key(&args[2]);
    match cx.keyspace.record_bytes(cx.db, key, cx.now) {
        Some(bytes) => cx.reply_len(bytes),
        None => cx.reply.null(),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/generic-7.0.15.txt"));
    }

    /// What `OBJECT IDLETIME k` of redis-server 7.0.15 is after each: the clocks of keys that are only
    /// asked about go on, and an idle key that a monitor watches is still the first to be evicted.
    #[test]
    fn looking_at_a_key_is_not_using_it() {
        let using = [
            "GET k",
            "MGET k n",
            "STRLEN k",
            "GETRANGE k 0 0",
            "TOUCH k",
            "LCS k k",
            "COPY k c",
            "EXPIRE k 100000 LT",
            "PERSIST k",
            "SETNX k w",
            "SET k w NX",
            "MSETNX n w k w",
            "RENAMENX k o",
            "RENAME k k",
            "SETRANGE k 0 w",
            "APPEND k w",
            "GETEX k",
            "INCR i",
            "SET k v",
        ];
        let looking = [
            "EXISTS k",
            "TTL k",
            "PTTL k",
            "EXPIRETIME k",
            "PEXPIRETIME k",
            "TYPE k",
            "OBJECT ENCODING k",
            "OBJECT REFCOUNT k",
            "MEMORY USAGE k",
        ];
        let idle_after = |command: &str| {
            let mut shard = transcript::Shard::default();
            let ask = |shard: &mut transcript::Shard, request: &str| {
                let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
                String::from_utf8(shard.request(&words)).unwrap()
            };
            ask(&mut shard, "MSET k 5 i 5 o 5");
            shard.pass(100_000);
            let reply = ask(&mut shard, command);
            assert!(!reply.starts_with('-'), "{command}: {reply}");
            let key = if command == "INCR i" { "i" } else { "k" };
            let idle = ask(&mut shard, &format!("OBJECT IDLETIME {key}"));
            idle[1..].trim().parse::<u64>().unwrap()
        };
        for command in using {
            assert!(idle_after(command) < 1_000, "{command}");
        }
        for command in looking {
            assert!(idle_after(command) > 50_000, "{command}");
        }
    }

    /// Sizes are ours and not Redis', but requests are read as there.
    #[test]
    fn memory_usage_is_asked_for_as_in_redis() {
        let mut shard = transcript::Shard::default();
        let mut ask = |request: &str| {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            String::from_utf8(shard.request(&words)).unwrap().replace("\r\n", "|")
        };
        assert_eq!(ask("SET k v"), "+OK|");
        assert!(ask("MEMORY USAGE k").starts_with(':'));
        assert_eq!(ask("MEMORY USAGE k SAMPLES 5"), ask("MEMORY USAGE k"));
        assert_eq!(ask("MEMORY USAGE nosuch"), "$-1|");
        assert_eq!(ask("MEMORY USAGE k SAMPLES -5"), "-ERR syntax error|");
        assert_eq!(ask("MEMORY USAGE nosuch SAMPLES"), "-ERR syntax error|");
        assert_eq!(
            ask("MEMORY USAGE k SAMPLES x"),
            "-ERR value is not an integer or out of range|"
        );
        assert_eq!(ask("MEMORY NOSUCH"), "-ERR unknown subcommand 'NOSUCH'. Try MEMORY HELP.|");
        assert!(ask("OBJECT HELP").starts_with("*11|+OBJECT <subcommand>"));
    }
}
