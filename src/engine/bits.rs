//! Bitmap commands: strings as rows of bits, bit 0 the highest of the first byte.
//!
//! SETBIT writes into the value where it lies (`edit.rs`). What is past the end of a string reads as zeros;
//! writing there makes it longer. Effects are redis-server 7.0's: the request itself, where it
//! changed a bit or made the string longer (`tests/golden/bits-7.0.15.txt`).
//!
//! Trap: an absent key is answered before most arguments are looked at, as Redis does, so a wrong
//! range is no error there.
//!
//! Not here: integers of any width (`bitfield.rs`).

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY};
use crate::command::spec::Arity::{AtLeast, Exactly};
use crate::command::spec::{Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec};
use crate::engine::bitfield;
use crate::engine::keyspace::{Expiry, Key};
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn, integer};
use crate::resp::error::ErrorKind;
use crate::types::record::Encode;

const READ: Flags = Flags::READONLY;
const READ_FAST: Flags = READ.and(Flags::FAST);
const GROWS: Flags = Flags::WRITE.and(Flags::DENYOOM);

const RO: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
const RW: KeyFlags = KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE);
const OW: KeyFlags = KeyFlags::OW.and(KeyFlags::UPDATE);

#[rustfmt::skip] // One word, one line.
const UNIT: Argument = Argument::one_of("index_unit", &[
    Argument::word("byte", "BYTE"),
    Argument::word("bit", "BIT"),
]).since("7.0.0").optional();
const ENCODING: Argument = Argument::string("encoding");
const OFFSET: Argument = Argument::integer("offset");

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("BITCOUNT", AtLeast(2), READ, &[KeySpec::at(1, RO)])
        .about(Group::Bitmap, "2.6.0", "O(N)", "How many bits are set in a string")
        .takes(&[
            KEY,
            Argument::block("index", &[Argument::integer("start"), Argument::integer("end"), UNIT]).optional(),
        ]), bitcount),
    Command::new(Spec::new("BITFIELD", AtLeast(2), GROWS, &[KeySpec::at(1, RW.and(KeyFlags::VARIABLE_FLAGS)).flags_of(bitfield::key_flags)])
        .about(Group::Bitmap, "3.2.0", "O(1)", "Reads and writes integers of any width within a string")
        .takes(&[
            KEY,
            Argument::one_of("operation", &[
                Argument::block("encoding_offset", &[ENCODING, OFFSET]).token("GET"),
                Argument::block("write", &[
                    Argument::one_of("wrap_sat_fail", &[
                        Argument::word("wrap", "WRAP"),
                        Argument::word("sat", "SAT"),
                        Argument::word("fail", "FAIL"),
                    ]).token("OVERFLOW").optional(),
                    Argument::one_of("write_operation", &[
                        Argument::block("encoding_offset_value", &[ENCODING, OFFSET, Argument::integer("value")]).token("SET"),
                        Argument::block("encoding_offset_increment", &[ENCODING, OFFSET, Argument::integer("increment")]).token("INCRBY"),
                    ]),
                ]),
            ]).optional().multiple(),
        ]), bitfield::bitfield),
    Command::new(Spec::new("BITFIELD_RO", AtLeast(2), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Bitmap, "6.0.0", "O(1)", "Reads integers of any width within a string")
        .takes(&[
            KEY,
            Argument::block("encoding_offset", &[ENCODING, OFFSET]).token("GET").optional().multiple_token(),
        ]), bitfield::bitfield_ro),
    Command::new(Spec::new("BITOP", AtLeast(4), GROWS, &[KeySpec::at(2, OW), KeySpec::at(3, RO).to(-1, 1)])
        .about(Group::Bitmap, "2.6.0", "O(N)", "Combines strings bit by bit into another")
        .takes(&[
            Argument::string("operation"),
            Argument::key("destkey", 0),
            Argument::key("key", 1).multiple(),
        ])
        .hop(Hop::Exclusive), bitop),
    Command::new(Spec::new("BITPOS", AtLeast(3), READ, &[KeySpec::at(1, RO)])
        .about(Group::Bitmap, "2.8.7", "O(N)", "Where the first set or clear bit of a string is")
        .takes(&[
            KEY,
            Argument::integer("bit"),
            Argument::block("index", &[
                Argument::integer("start"),
                Argument::block("end_index", &[Argument::integer("end"), UNIT]).optional(),
            ]).optional(),
        ]), bitpos),
    Command::new(Spec::new("GETBIT", Exactly(3), READ_FAST, &[KeySpec::at(1, RO)])
        .about(Group::Bitmap, "2.2.0", "O(1)", "One bit of a string")
        .takes(&[KEY, OFFSET]), getbit),
    Command::new(Spec::new("SETBIT", Exactly(4), GROWS, &[KeySpec::at(1, RW)])
        .about(Group::Bitmap, "2.2.0", "O(1)", "Sets or clears one bit of a string")
        .takes(&[KEY, OFFSET, Argument::integer("value")]), setbit),
];

/// `SETBIT key offset value`
fn setbit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let offset = bit_offset(cx, &args[2])?;
    let value = match &args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(ErrorKind::BitValue),
    };
    let (at, mask) = place_of(offset);
    let key = cx.key(args.key());
    let (old, changed) = cx.keyspace.edit(cx.db, key, at + 1, cx.now, |bytes, grown| {
        let byte = &mut bytes[at];
        let old = *byte & mask != 0;
        *byte = if value { *byte | mask } else { *byte & !mask };
        let changed = grown || old != value;
        (changed, (old, changed))
    })?;
    if changed {
        cx.notify(Class::String, "setbit", args.key());
        cx.effect.verbatim();
    }
    cx.reply.int(i64::from(old));
    Ok(())
}

/// `GETBIT key offset`
fn getbit(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (at, mask) = place_of(bit_offset(cx, &args[2])?);
    let key = cx.key(args.key());
    let value = cx.keyspace.get(cx.db, key, cx.now)?;
    let byte = value.and_then(|it| it.bytes().get(at).copied());
    cx.reply.int(i64::from(byte.unwrap_or(0) & mask != 0));
    Ok(())
}

/// The byte that holds a bit, and its place there.
fn place_of(offset: u64) -> (usize, u8) {
    (usize::try_from(offset / 8).unwrap_or(usize::MAX), 0x80 >> (offset % 8))
}

/// The number of a bit in a string that may be as long as the longest.
pub(super) fn bit_offset(cx: &Cx<'_>, word: &[u8]) -> Result<u64, ErrorKind> {
    let offset = parse_i64(word).and_then(|it| u64::try_from(it).ok());
    let bytes_max = cx.keyspace.string_bytes_max() as u64;
    offset.filter(|it| it / 8 < bytes_max).ok_or(ErrorKind::BitOffset)
}

/// Some bits of a string: the first and the last, both counted.
type Bits = Option<(u64, u64)>;

/// The numbers of a range as a request spells them.
struct Range {
    start: i64,
    /// Absent: up to the end of the string.
    end: Option<i64>,
    of_bits: bool,
}

impl Range {
    /// `BIT` or `BYTE`, where a request has so many words.
    fn unit(args: Args<'_>, at: usize) -> Result<bool, ErrorKind> {
        match args.get(at) {
            None => Ok(false),
            Some(_) if args.is(at, "BIT") => Ok(true),
            Some(_) if args.is(at, "BYTE") => Ok(false),
            Some(_) => Err(ErrorKind::Syntax),
        }
    }

    /// The bits of a string of `len` bytes: negative numbers count from the end, what is outside is left out.
    fn bits(&self, len: usize) -> Bits {
        let len = i64::try_from(len).unwrap_or(i64::MAX / 8);
        let units = if self.of_bits { len * 8 } else { len };
        let from_end = |at: i64| if at < 0 { (at + units).max(0) } else { at };
        let start = from_end(self.start);
        let end = from_end(self.end.unwrap_or(-1)).min(units - 1);
        if start > end {
            return None;
        }
        let (start, end) = (u64::try_from(start).ok()?, u64::try_from(end).ok()?);
        Some(if self.of_bits { (start, end) } else { (start * 8, end * 8 + 7) })
    }
}

/// `BITCOUNT key [start end [BYTE | BIT]]`
fn bitcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let Some(value) = cx.keyspace.get(cx.db, key, cx.now)? else {
        cx.reply.int(0);
        return Ok(());
    };
    let value = value.bytes();
    let count = match args.len() {
        2 => count(value),
        4 | 5 => {
            let (start, end) = (integer(&args[2])?, integer(&args[3])?);
            if start < 0 && end < 0 && start > end {
                0
            } else {
                let range = Range { start, end: Some(end), of_bits: Range::unit(args, 4)? };
                range.bits(value.len()).map_or(0, |bits| count_between(value, bits))
            }
        }
        _ => return Err(ErrorKind::Syntax),
    };
    cx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(())
}

/// The bits set in `bytes`, eight bytes at a time in four sums that do not wait for each other.
fn count(bytes: &[u8]) -> u64 {
    let (blocks, rest) = bytes.as_chunks::<32>();
    let mut sums = [0_u64; 4];
    for block in blocks {
        let (words, _) = block.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            *sum += u64::from(u64::from_le_bytes(*word).count_ones());
        }
    }
    sums.iter().sum::<u64>() + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

/// The bits set from bit `first` to bit `last`, both of them within `bytes`.
fn count_between(bytes: &[u8], (first, last): (u64, u64)) -> u64 {
    let (from, to) = (place_of(first).0, place_of(last).0);
    let Some(part) = bytes.get(from..=to) else { return 0 };
    let before = part.first().map_or(0, |byte| byte & !(0xff >> (first % 8)));
    let after = part.last().map_or(0, |byte| byte & !(0xff << (7 - last % 8)));
    count(part) - u64::from(before.count_ones()) - u64::from(after.count_ones())
}

/// `BITPOS key bit [start [end [BYTE | BIT]]]`
fn bitpos(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let bit = match integer(&args[2])? {
        0 => false,
        1 => true,
        _ => return Err(ErrorKind::BitArgument),
    };
    let key = cx.key(args.key());
    let Some(value) = cx.keyspace.get(cx.db, key, cx.now)? else {
        cx.reply.int(if bit { -1 } else { 0 });
        return Ok(());
    };
    let value = value.bytes();
    let range = match args.len() {
        3 => Range { start: 0, end: None, of_bits: false },
        4 => Range { start: integer(&args[3])?, end: None, of_bits: false },
        5 | 6 => {
            let start = integer(&args[3])?;
            let of_bits = Range::unit(args, 5)?;
            Range { start, end: Some(integer(&args[4])?), of_bits }
        }
        _ => return Err(ErrorKind::Syntax),
    };
    let found = range.bits(value.len()).map(|bits| match first_of(value, bit, bits) {
        Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
        // Zeros go on behind the string, unless the request said where to stop.
        None if !bit && range.end.is_none() => i64::try_from(value.len() * 8).unwrap_or(i64::MAX),
        None => -1,
    });
    cx.reply.int(found.unwrap_or(-1));
    Ok(())
}

/// The first bit from `first` to `last` that is `bit`.
fn first_of(bytes: &[u8], bit: bool, (first, last): (u64, u64)) -> Option<u64> {
    let (from, to) = (place_of(first).0, place_of(last).0);
    let part = bytes.get(from..=to)?;
    // Looking for zeros is looking for ones in what is turned over.
    let flip = if bit { 0 } else { 0xff };
    let (head, rest) = part.split_first()?;
    let head = (head ^ flip) & (0xff >> (first % 8));
    let found = if head != 0 {
        (from, head)
    } else {
        let (blocks, _) = rest.as_chunks::<8>();
        let skipped = [flip; 8];
        let skip = blocks.iter().take_while(|block| **block == skipped).count() * 8;
        let at = skip + rest.get(skip..)?.iter().position(|byte| byte ^ flip != 0)?;
        (from + 1 + at, rest.get(at)? ^ flip)
    };
    let at = found.0 as u64 * 8 + u64::from(found.1.leading_zeros());
    (at <= last).then_some(at)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
}

/// `BITOP operation destkey key [key ...]`
fn bitop(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let named = |name| args.is(1, name);
    let operation = match () {
        () if named("AND") => Operation::And,
        () if named("OR") => Operation::Or,
        () if named("XOR") => Operation::Xor,
        () if named("NOT") => Operation::Not,
        () => return Err(ErrorKind::Syntax),
    };
    if operation == Operation::Not && args.len() != 4 {
        return Err(ErrorKind::BitopNot);
    }
    let result = combine(cx, operation, args)?;
    let key = cx.key(&args[2]);
    if result.is_empty() {
        if cx.keyspace.remove(cx.db, key, cx.now) {
            cx.notify(Class::Generic, "del", &args[2]);
            cx.effect.verbatim();
        }
        cx.reply.int(0);
        return Ok(());
    }
    let len = result.len();
    store(cx, key, result)?;
    cx.notify(Class::String, "set", &args[2]);
    cx.effect.verbatim();
    cx.reply_len(len);
    Ok(())
}

fn store(cx: &mut Cx<'_>, key: Key<'_>, result: Vec<u8>) -> Result<(), ErrorKind> {
    // An expired target goes out as a DEL.
    cx.keyspace.exists(cx.db, key, cx.now);
    cx.keyspace.set_shared(cx.db, key, result.into(), Expiry::None, Encode::Raw, cx.now)?;
    Ok(())
}

/// What the sources give, as long as the longest of them; a shorter one goes on with zeros.
fn combine(cx: &mut Cx<'_>, operation: Operation, args: Args<'_>) -> Result<Vec<u8>, ErrorKind> {
    let (mut result, mut first) = (Vec::new(), true);
    for word in args.from(3) {
        let key = cx.key(word);
        let value = cx.keyspace.get(cx.db, key, cx.now)?;
        let value = value.as_ref().map_or(&b""[..], |value| value.bytes());
        let common = value.len().min(result.len());
        let more = value.get(common..).unwrap_or_default();
        let old = result.get_mut(..common).unwrap_or_default();
        match operation {
            Operation::Not => result.extend(value.iter().map(|byte| !byte)),
            _ if first => result.extend_from_slice(value),
            Operation::And => {
                old.iter_mut().zip(value).for_each(|(old, new)| *old &= new);
                result[common..].fill(0);
                result.resize(common + more.len().max(result.len() - common), 0);
            }
            Operation::Or => {
                old.iter_mut().zip(value).for_each(|(old, new)| *old |= new);
                result.extend_from_slice(more);
            }
            Operation::Xor => {
                old.iter_mut().zip(value).for_each(|(old, new)| *old ^= new);
                result.extend_from_slice(more);
            }
        }
        first = false;
    }
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;
    use crate::engine::transcript;

    /// Requests, replies and effects as redis-server 7.0.15 gave them.
    #[test]
    fn replies_and_effects_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/bits-7.0.15.txt"));
    }

    /// Counting and searching by words is counting and searching bit by bit.
    #[test]
    fn words_are_only_faster() {
        let mut prng = Prng::new(7);
        for round in 0..2_000 {
            let len = 1 + prng.below(90);
            let kind = prng.below(3);
            let bytes: Vec<u8> = (0..len)
                .map(|_| match kind {
                    0 => u8::try_from(prng.below(256)).unwrap(),
                    1 => u8::from(prng.chance(1, 40)),
                    _ => 0xff ^ u8::from(prng.chance(1, 40)),
                })
                .collect();
            let first = prng.below(len * 8);
            let last = first + prng.below(len * 8 - first);
            let bit = |at: u64| {
                let (byte, mask) = place_of(at);
                bytes[byte] & mask != 0
            };
            let ones = (first..=last).filter(|&at| bit(at)).count() as u64;
            assert_eq!(count_between(&bytes, (first, last)), ones, "round {round}");
            for wanted in [false, true] {
                let slow = (first..=last).find(|&at| bit(at) == wanted);
                assert_eq!(first_of(&bytes, wanted, (first, last)), slow, "round {round}");
            }
        }
    }
}
