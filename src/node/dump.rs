//! DUMP and RESTORE: a key's value as bytes, and back.
//!
//! They run on the shard of their key like any command of the families; they stand here because the
//! shapes of files are above the shard (`snapshot/payload.rs`).
//!
//! Effects are those of redis-server 7.0: a RESTORE that says how long from now goes out with the
//! instant and `ABSTTL`; one of a value whose time is over only removes what was there.

use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Categories, Command, Flags, Group, KeyFlags, KeySpec, Spec};
use crate::engine::keyspace::{Expiry, ExpiryMode};
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn, integer};
use crate::resp::error::ErrorKind;
use crate::snapshot::build::Making;
use crate::snapshot::payload::{self, Restored};
use crate::types::record::Encode;

const GROWS: Flags = Flags::WRITE.and(Flags::DENYOOM);
const INTO: &[KeySpec] = &[KeySpec::at(1, KeyFlags::OW.and(KeyFlags::UPDATE))];

#[rustfmt::skip] // One word, one line.
const RESTORED: &[Argument] = &[
    KEY,
    Argument::integer("ttl"),
    Argument::string("serialized-value"),
    Argument::word("replace", "REPLACE").since("3.0.0").optional(),
    Argument::word("absttl", "ABSTTL").since("5.0.0").optional(),
    Argument::integer("seconds").token("IDLETIME").since("5.0.0").optional(),
    Argument::integer("frequency").token("FREQ").since("5.0.0").optional(),
];

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("DUMP", Exactly(2), Flags::READONLY, &[KeySpec::at(1, KeyFlags::RO.and(KeyFlags::ACCESS))])
        .about(Group::Generic, "2.6.0", "O(1)", "The value of a key as bytes that RESTORE takes")
        .tips(&["nondeterministic_output"])
        .takes(&[KEY]), dump),
    Command::new(Spec::new("RESTORE", AtLeast(4), GROWS, INTO)
        .about(Group::Generic, "2.6.0", "O(1)", "Makes a key of what DUMP gave")
        .acl(Categories::KEYSPACE.and(Categories::DANGEROUS))
        .takes(RESTORED), restore),
    Command::new(Spec::new("RESTORE-ASKING", AtLeast(4), GROWS.and(Flags::ASKING), INTO)
        .about(Group::Server, "3.0.0", "O(1)", "RESTORE, by a node of a cluster that moves a slot here")
        .acl(Categories::KEYSPACE.and(Categories::DANGEROUS))
        .system()
        .takes(RESTORED), restore),
];

/// `DUMP key`
fn dump(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let mut bytes = Vec::new();
    match cx.keyspace.get_any(cx.db, key, cx.now) {
        Some(value) if payload::write(&mut bytes, value) => {
            payload::seal(&mut bytes);
            cx.reply.bulk(&bytes);
        }
        _ => cx.reply.null(),
    }
    Ok(())
}

/// `RESTORE key ttl serialized-value [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency]`
fn restore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let options = Options::parse(args)?;
    let (key, now) = (cx.key(args.key()), cx.now);
    if !options.replace && cx.keyspace.found_to_write(cx.db, key, now).is_some() {
        return Err(ErrorKind::BusyKey);
    }
    let ttl = integer(&args[2])?;
    if ttl < 0 {
        return Err(ErrorKind::RestoreTtl);
    }
    let bytes = payload::open(&args[3]).ok_or(ErrorKind::DumpPayload)?;
    let making = Making { hasher: cx.keyspace.hasher(), packing: cx.keyspace.packing() };
    let value = payload::read(bytes, making).ok_or(ErrorKind::BadDataFormat)?;
    // What is too long wraps into the past, as in Redis.
    let since = if options.absttl { 0 } else { now.ms().cast_signed() };
    let ends = (ttl != 0).then(|| u64::try_from(ttl.wrapping_add(since)).unwrap_or(0));
    cx.reply.ok();
    // What a master sends is kept until it says otherwise.
    let applies = cx.keyspace.expiry_mode() == ExpiryMode::Ignore;
    if ends.is_some_and(|ms| ms <= now.ms()) && !applies {
        if cx.keyspace.remove(cx.db, key, now) {
            cx.notify(Class::Generic, "del", args.key());
            cx.effect.command(cx.db, &[b"DEL", args.key()]);
        }
        return Ok(());
    }
    let expiry = ends.map_or(Expiry::None, Expiry::At);
    let replaces = cx.keyspace.exists(cx.db, key, now);
    let put = match value {
        Restored::String(text) => {
            cx.keyspace.set_shared(cx.db, key, text.into(), expiry, Encode::Auto, now)
        }
        Restored::Collection(body) => cx.keyspace.put_body(cx.db, key, body, expiry, now),
    };
    if put.is_err() {
        cx.reply.out.clear();
        return Err(ErrorKind::Oom);
    }
    if replaces {
        // Redis takes the old key out and adds a new one.
        cx.notify(Class::New, "new", args.key());
    }
    cx.notify(Class::Generic, "restore", args.key());
    if let Some(seconds) = options.idle_seconds {
        cx.keyspace.set_idle_seconds(cx.db, key, seconds, now);
    }
    if let Some(frequency) = options.freq {
        cx.keyspace.set_frequency(cx.db, key, frequency, now);
    }
    match ends {
        Some(ms) if !options.absttl => {
            let ms = ms.to_string();
            let mut words = args.words().to_vec();
            words[2] = ms.as_bytes();
            words.push(b"ABSTTL");
            cx.effect.command(cx.db, &words);
        }
        _ => cx.effect.verbatim(),
    }
    Ok(())
}

/// What a RESTORE asks for besides its key, time to live and value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Options {
    replace: bool,
    absttl: bool,
    idle_seconds: Option<u64>,
    freq: Option<u8>,
}

impl Options {
    fn parse(args: Args<'_>) -> Result<Self, ErrorKind> {
        let (mut options, mut at) = (Self::default(), 4);
        while at < args.len() {
            let more = at + 1 < args.len();
            if args.is(at, "REPLACE") {
                options.replace = true;
            } else if args.is(at, "ABSTTL") {
                options.absttl = true;
            } else if args.is(at, "IDLETIME") && more && options.freq.is_none() {
                at += 1;
                let seconds = u64::try_from(integer(&args[at])?);
                options.idle_seconds = Some(seconds.map_err(|_| ErrorKind::RestoreIdletime)?);
            } else if args.is(at, "FREQ") && more && options.idle_seconds.is_none() {
                at += 1;
                let freq = u8::try_from(integer(&args[at])?);
                options.freq = Some(freq.map_err(|_| ErrorKind::RestoreFreq)?);
            } else {
                return Err(ErrorKind::Syntax);
            }
            at += 1;
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        let transcript = include_str!("../../tests/golden/dump-7.0.15.txt");
        transcript::check_with(super::COMMANDS, transcript);
    }
}
