//! HyperLogLog commands: strings that hold a sketch of a set (`types/hll.rs` says how).
//!
//! GET gives the same bytes as a real server, for a sketch may be moved between servers by GET and SET.
//! PFCOUNT of one key writes the number that it worked out into the sketch, and that goes out as an effect
//! though the command only reads (`tests/golden/hyperloglog-7.0.15.txt`). A client of a replica gets its
//! number without a trace: what is there comes from the master alone.

use crate::base::num::write_i64;
use crate::base::prng::Prng;
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, KEYS};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::keyspace::{Expiry, ExpiryMode, Key};
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn};
use crate::resp::error::ErrorKind;
use crate::types::hll::{self, Damaged, Run};
use crate::types::record::Encode;

const READ: Flags = Flags::READONLY;
const GROWS: Flags = Flags::WRITE.and(Flags::DENYOOM);

const RO: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
const RW: KeyFlags = KeyFlags::RW;
const ACCESS: KeyFlags = KeyFlags::ACCESS;
const INSERT: KeyFlags = KeyFlags::INSERT;

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("PFADD", AtLeast(2), GROWS.and(Flags::FAST), &[KeySpec::at(1, RW.and(INSERT))])
        .about(Group::Hyperloglog, "2.8.9", "O(1)", "Adds elements to a HyperLogLog")
        .takes(&[KEY, Argument::string("element").optional().multiple()]), pfadd),
    Command::new(Spec::new("PFCOUNT", AtLeast(2), READ.and(Flags::MAY_REPLICATE), &[KeySpec::at(1, RW.and(ACCESS)).to(-1, 1)])
        .about(Group::Hyperloglog, "2.8.9", "O(1)", "About how many elements were added to HyperLogLogs")
        .takes(&[KEYS])
        .hop(Hop::Exclusive), pfcount),
    Command::new(Spec::new("PFDEBUG", Exactly(3), GROWS.and(Flags::ADMIN), &[KeySpec::at(2, RW.and(ACCESS))])
        .about(Group::Hyperloglog, "2.8.9", "", "Looks into a HyperLogLog")
        .system()
        .takes(&[Argument::string("subcommand"), KEY]), pfdebug),
    Command::new(Spec::new("PFMERGE", AtLeast(2), GROWS, &[KeySpec::at(1, RW.and(ACCESS).and(INSERT)), KeySpec::at(2, RO).to(-1, 1)])
        .about(Group::Hyperloglog, "2.8.9", "O(N)", "Makes one HyperLogLog of several")
        .takes(&[Argument::key("destkey", 0), Argument::key("sourcekey", 1).multiple()])
        .hop(Hop::Exclusive), pfmerge),
    Command::new(Spec::new("PFSELFTEST", Exactly(1), Flags::ADMIN, &[])
        .about(Group::Hyperloglog, "2.8.9", "", "Checks the HyperLogLog algorithms")
        .system(), pfselftest),
];

impl From<Damaged> for ErrorKind {
    fn from(_: Damaged) -> Self {
        Self::CorruptHyperloglog
    }
}

/// `PFADD key [element ...]`
fn pfadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let (sketch, mut changes) = match sketch(cx, key)? {
        Some(Sketch::Dense) => (None, add_dense(cx, key, args)?),
        Some(Sketch::Sparse(bytes)) => (Some(bytes), 0),
        None => (Some(hll::empty()), 1),
    };
    let mut damaged = None;
    if let Some(mut bytes) = sketch {
        let sparse_bytes_max = cx.keyspace.hll_sparse_bytes_max();
        for element in args.from(2) {
            let (index, value) = hll::position(element);
            match hll::raise(&mut bytes, index, value, sparse_bytes_max) {
                Ok(raised) => changes += u64::from(raised),
                Err(why) => {
                    damaged = Some(why);
                    break;
                }
            }
        }
        if changes > 0 {
            if damaged.is_none() {
                hll::outdate(&mut bytes);
            }
            store(cx, key, bytes)?;
        }
    }
    if changes > 0 {
        cx.notify(Class::String, "pfadd", args.key());
        cx.effect.verbatim();
        cx.effect.changed(changes - 1);
    }
    match damaged {
        None => cx.reply.int(i64::from(changes > 0)),
        // What was added before the damage showed stays, as in Redis, so it must go out as well.
        Some(why) if changes > 0 => cx.reply.error(&why.into()),
        Some(why) => return Err(why.into()),
    }
    Ok(())
}

/// A sketch of fixed length is changed where it lies.
fn add_dense(cx: &mut Cx<'_>, key: Key<'_>, args: Args<'_>) -> Result<u64, ErrorKind> {
    let changes = cx.keyspace.edit(cx.db, key, 0, cx.now, |bytes, _| {
        let raised = args.from(2).filter(|element| {
            let (index, value) = hll::position(element);
            hll::raise_dense(bytes, index, value)
        });
        let changes = raised.count() as u64;
        if changes > 0 {
            hll::outdate(bytes);
        }
        (changes > 0, changes)
    })?;
    Ok(changes)
}

/// What a key holds.
enum Sketch {
    Dense,
    Sparse(Vec<u8>),
}

/// The sketch at `key`, which is there to be changed.
fn sketch(cx: &mut Cx<'_>, key: Key<'_>) -> Result<Option<Sketch>, ErrorKind> {
    let Some(value) = cx.keyspace.peek_string(cx.db, key, cx.now)? else { return Ok(None) };
    let bytes = checked(value.bytes())?;
    Ok(Some(if hll::is_dense(bytes) { Sketch::Dense } else { Sketch::Sparse(bytes.to_vec()) }))
}

fn checked(bytes: &[u8]) -> Result<&[u8], ErrorKind> {
    if hll::is_hll(bytes) { Ok(bytes) } else { Err(ErrorKind::NotHyperloglog) }
}

fn store(cx: &mut Cx<'_>, key: Key<'_>, bytes: Vec<u8>) -> Result<(), ErrorKind> {
    let bytes = bytes.into();
    cx.keyspace.set_shared(cx.db, key, bytes, Expiry::Keep, Encode::Raw, cx.now)?;
    Ok(())
}

/// `PFCOUNT key [key ...]`
fn pfcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if args.len() > 2 {
        let all = merged(cx, args)?.registers;
        reply_count(cx, hll::count_registers(&all));
        return Ok(());
    }
    let key = cx.key(args.key());
    let Some(value) = cx.keyspace.get(cx.db, key, cx.now)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let bytes = checked(value.bytes())?;
    let count = match hll::cached(bytes) {
        Some(count) => count,
        None => {
            let count = hll::count(bytes)?;
            if cx.keyspace.expiry_mode() != ExpiryMode::Hide {
                cx.keyspace.edit(cx.db, key, 0, cx.now, |bytes, _| {
                    hll::cache(bytes, count);
                    (true, ())
                })?;
                cx.effect.verbatim();
            }
            count
        }
    };
    reply_count(cx, count);
    Ok(())
}

fn reply_count(cx: &mut Cx<'_>, count: u64) {
    cx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
}

/// Several sketches as one.
struct Merged {
    registers: Vec<u8>,
    /// One of them was dense.
    dense: bool,
}

/// The sketches of all keys from the first on; an absent key is an empty one.
fn merged(cx: &mut Cx<'_>, args: Args<'_>) -> Result<Merged, ErrorKind> {
    let mut merged = Merged { registers: vec![0; hll::REGISTERS], dense: false };
    for word in args.from(1) {
        let key = cx.key(word);
        if let Some(value) = cx.keyspace.get(cx.db, key, cx.now)? {
            let bytes = checked(value.bytes())?;
            merged.dense |= hll::is_dense(bytes);
            hll::merge(&mut merged.registers, bytes)?;
        }
    }
    Ok(merged)
}

/// `PFMERGE destkey [sourcekey ...]`
fn pfmerge(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let merged = merged(cx, args)?;
    let key = cx.key(args.key());
    let mut bytes = match cx.keyspace.peek_string(cx.db, key, cx.now)? {
        Some(value) => value.bytes().to_vec(),
        None => hll::empty(),
    };
    if merged.dense {
        hll::to_dense(&mut bytes)?;
    }
    let sparse_bytes_max = cx.keyspace.hll_sparse_bytes_max();
    for (index, &value) in merged.registers.iter().enumerate().filter(|it| *it.1 > 0) {
        hll::raise(&mut bytes, index, value, sparse_bytes_max)?;
    }
    hll::outdate(&mut bytes);
    store(cx, key, bytes)?;
    cx.notify(Class::String, "pfadd", args.key());
    cx.effect.verbatim();
    cx.reply.ok();
    Ok(())
}

/// `PFDEBUG GETREG | DECODE | ENCODING | TODENSE key`
fn pfdebug(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(&args[2]);
    let Some(value) = cx.keyspace.peek_string(cx.db, key, cx.now)? else {
        return Err(ErrorKind::PfdebugNoKey);
    };
    let mut bytes = checked(value.bytes())?.to_vec();
    let was_dense = hll::is_dense(&bytes);
    match () {
        () if args.is(1, "GETREG") => {
            make_dense(cx, key, &mut bytes)?;
            let registers = hll::registers(&bytes)?;
            cx.reply.array(registers.len());
            registers.iter().for_each(|&value| cx.reply.int(value.into()));
        }
        () if args.is(1, "DECODE") && was_dense => return Err(ErrorKind::PfdebugNotSparse),
        () if args.is(1, "DECODE") => cx.reply.bulk(&decoded(&bytes)),
        () if args.is(1, "ENCODING") => {
            cx.reply.simple(if was_dense { b"dense" } else { b"sparse" });
        }
        () if args.is(1, "TODENSE") => {
            make_dense(cx, key, &mut bytes)?;
            cx.reply.int(i64::from(!was_dense));
        }
        () => return Err(ErrorKind::PfdebugUnknown { subcommand: args[1].into() }),
    }
    Ok(())
}

/// Makes the sketch at `key` dense; a change that goes out as the request.
fn make_dense(cx: &mut Cx<'_>, key: Key<'_>, bytes: &mut Vec<u8>) -> Result<(), ErrorKind> {
    if hll::is_dense(bytes) {
        return Ok(());
    }
    hll::to_dense(bytes)?;
    store(cx, key, bytes.clone())?;
    cx.effect.verbatim();
    Ok(())
}

/// The runs of a sparse sketch as text.
fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let number = |text: &mut Vec<u8>, len| write_i64(text, i64::try_from(len).unwrap_or(i64::MAX));
    for run in hll::runs(bytes) {
        if !text.is_empty() {
            text.push(b' ');
        }
        match run {
            Run::Zero(len) => {
                text.extend(b"z:");
                number(&mut text, len);
            }
            Run::LongZero(len) => {
                text.extend(b"Z:");
                number(&mut text, len);
            }
            Run::Value(value, len) => {
                text.extend(b"v:");
                number(&mut text, value.into());
                text.push(b',');
                number(&mut text, len);
            }
        }
    }
    text
}

/// Elements that the self-test adds, and rounds of setting every register.
const SELFTEST_ELEMENTS: u64 = 200_000;
const SELFTEST_ROUNDS: usize = 10;

/// `PFSELFTEST`: are registers kept, and is the estimate as near as it should be?
fn pfselftest(cx: &mut Cx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    if !registers_are_kept(cx.prng) {
        return Err(ErrorKind::PfselftestRegisters);
    }
    let (mut sketch, seed) = (hll::empty(), cx.prng.next_u64());
    let mut checkpoint = 10;
    for n in 1..=SELFTEST_ELEMENTS {
        let (index, value) = hll::position(&(seed.wrapping_add(n)).to_le_bytes());
        hll::raise(&mut sketch, index, value, 3_000)?;
        if n == checkpoint {
            // The standard error is 1.04 / sqrt(registers) = 0.8 %; six times that is never seen.
            let allowed = (n * 5 / 100).max(2);
            if hll::count(&sketch)?.abs_diff(n) > allowed {
                return Err(ErrorKind::PfselftestEstimate);
            }
            checkpoint *= 10;
        }
    }
    cx.reply.ok();
    Ok(())
}

fn registers_are_kept(prng: &mut Prng) -> bool {
    (0..SELFTEST_ROUNDS).all(|_| {
        let mut dense = hll::empty();
        let made = hll::to_dense(&mut dense);
        let expected: Vec<u8> =
            (0..hll::REGISTERS).map(|_| prng.next_u64().to_le_bytes()[0] & 0x3f).collect();
        for (index, value) in expected.iter().enumerate() {
            hll::raise_dense(&mut dense, index, *value);
        }
        made.is_ok() && hll::registers(&dense) == Ok(expected)
    })
}

#[cfg(test)]
mod tests {
    use crate::engine::transcript;

    /// Requests, replies, effects and the bytes of sketches as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/hyperloglog-7.0.15.txt"));
    }
}
