//! BITFIELD: integers of 1 to 64 bits at any bit of a string, signed ones in two's complement.
//!
//! All operations of a request are read before the first one runs, so a request with an error anywhere
//! changes nothing. A request that writes makes the string as long as its farthest write needs, also where
//! an overflow then forbids that write. What changes nothing has no effect.
//!
//! ```text
//!   OVERFLOW WRAP   modulo 2^width (the default)
//!   OVERFLOW SAT    the nearest number that fits
//!   OVERFLOW FAIL   nothing is written, the reply is null
//! ```

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::spec::KeyFlags;
use crate::engine::bits::bit_offset;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;

/// `i16`, `u8`: how an integer is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Width {
    signed: bool,
    /// 1 to 64; unsigned ones up to 63.
    bits: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Get,
    Set(i64, Overflow),
    Add(i64, Overflow),
}

#[derive(Clone, Copy, Debug)]
struct Operation {
    width: Width,
    /// The first bit.
    offset: u64,
    what: What,
}

/// `BITFIELD key [GET type offset | [OVERFLOW WRAP | SAT | FAIL] SET type offset value | .. INCRBY ..]`
pub(super) fn bitfield(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let operations = parse(cx, args)?;
    let farthest = operations.iter().filter(|it| it.what.writes()).map(Operation::last_bit).max();
    let Some(farthest) = farthest else { return read(cx, args, &operations) };
    let key = cx.key(args.key());
    let bytes_min = usize::try_from(farthest / 8).unwrap_or(usize::MAX).saturating_add(1);
    let mut answers = Vec::with_capacity(operations.len());
    let (changes, grown) = cx.keyspace.edit(cx.db, key, bytes_min, cx.now, |bytes, grown| {
        let mut changes = 0;
        for operation in &operations {
            answers.push(operation.run(bytes, grown, &mut changes));
        }
        (changes > 0 || grown, (changes, grown))
    })?;
    if changes > 0 {
        cx.notify(Class::String, "setbit", args.key());
    }
    // Redis keeps to itself that a string grew without a write; its replicas then differ from it.
    if changes > 0 || grown {
        cx.effect.verbatim();
        cx.effect.changed(u64::from(changes).saturating_sub(1));
    }
    cx.reply.array(answers.len());
    for answer in answers {
        match answer {
            Some(number) => cx.reply.int(number),
            None => cx.reply.null(),
        }
    }
    Ok(())
}

/// `BITFIELD_RO key [GET type offset ...]`
pub(super) fn bitfield_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let operations = parse(cx, args)?;
    if operations.iter().any(|it| it.what.writes()) {
        return Err(ErrorKind::BitfieldReadonly);
    }
    read(cx, args, &operations)
}

/// What a BITFIELD does to its key: only GET leaves it as it is.
pub(super) fn key_flags(args: Args<'_>) -> KeyFlags {
    let mut at = 2;
    while at < args.len() {
        let more = args.len() - at - 1;
        at += match () {
            () if args.is(at, "GET") && more >= 2 => 3,
            () if args.is(at, "OVERFLOW") && more >= 1 => 2,
            () => return KeyFlags::RW.and(KeyFlags::ACCESS).and(KeyFlags::UPDATE),
        };
    }
    KeyFlags::RO.and(KeyFlags::ACCESS)
}

fn read(cx: &mut Cx<'_>, args: Args<'_>, operations: &[Operation]) -> Result<(), ErrorKind> {
    let key = cx.key(args.key());
    let value = cx.keyspace.get(cx.db, key, cx.now)?;
    let bytes = value.as_ref().map_or(&b""[..], |value| value.bytes());
    cx.reply.array(operations.len());
    for operation in operations {
        cx.reply.int(operation.width.read(bytes, operation.offset));
    }
    Ok(())
}

fn parse(cx: &Cx<'_>, args: Args<'_>) -> Result<Vec<Operation>, ErrorKind> {
    let (mut operations, mut overflow, mut at) = (Vec::new(), Overflow::Wrap, 2);
    while at < args.len() {
        let more = args.len() - at - 1;
        if args.is(at, "OVERFLOW") && more >= 1 {
            overflow = match () {
                () if args.is(at + 1, "WRAP") => Overflow::Wrap,
                () if args.is(at + 1, "SAT") => Overflow::Saturate,
                () if args.is(at + 1, "FAIL") => Overflow::Fail,
                () => return Err(ErrorKind::BitfieldOverflow),
            };
            at += 2;
            continue;
        }
        let (get, set, add) = (args.is(at, "GET"), args.is(at, "SET"), args.is(at, "INCRBY"));
        if !(get && more >= 2 || (set || add) && more >= 3) {
            return Err(ErrorKind::Syntax);
        }
        let width = Width::parse(&args[at + 1]).ok_or(ErrorKind::BitfieldType)?;
        let offset = offset(cx, &args[at + 2], width)?;
        let what = match () {
            () if get => What::Get,
            () if set => What::Set(integer(&args[at + 3])?, overflow),
            () => What::Add(integer(&args[at + 3])?, overflow),
        };
        operations.push(Operation { width, offset, what });
        at += if get { 3 } else { 4 };
    }
    Ok(operations)
}

/// A bit's number, or `#n`: the n-th integer of this width.
fn offset(cx: &Cx<'_>, word: &[u8], width: Width) -> Result<u64, ErrorKind> {
    let Some(index) = word.strip_prefix(b"#") else { return bit_offset(cx, word) };
    let offset = parse_i64(index).and_then(|it| it.checked_mul(width.bits.into()));
    let offset = offset.and_then(|it| u64::try_from(it).ok());
    let bytes_max = cx.keyspace.string_bytes_max() as u64;
    offset.filter(|it| it / 8 < bytes_max).ok_or(ErrorKind::BitOffset)
}

impl What {
    fn writes(self) -> bool {
        !matches!(self, Self::Get)
    }
}

impl Operation {
    fn last_bit(&self) -> u64 {
        self.offset + u64::from(self.width.bits) - 1
    }

    /// The answer; `None` where an overflow forbids the write. `bytes` reach the last bit of a write.
    fn run(&self, bytes: &mut [u8], grown: bool, changes: &mut u32) -> Option<i64> {
        let old = self.width.read(bytes, self.offset);
        let (new, overflow) = match self.what {
            What::Get => return Some(old),
            // As Redis, where what is far too low saturates at the top.
            What::Set(value, Overflow::Saturate)
                if self.width.signed && self.width.high().wrapping_sub(value) < 0 =>
            {
                (i128::from(self.width.high()), Overflow::Saturate)
            }
            What::Set(value, overflow) if self.width.signed => (i128::from(value), overflow),
            // As Redis: a negative number is a large one here, and saturates at the top.
            What::Set(value, overflow) => (i128::from(value.cast_unsigned()), overflow),
            What::Add(increment, overflow) => (i128::from(old) + i128::from(increment), overflow),
        };
        let new = self.width.fit(new, overflow)?;
        self.width.write(bytes, self.offset, new);
        *changes += u32::from(grown || old != new);
        Some(if matches!(self.what, What::Set(..)) { old } else { new })
    }
}

impl Width {
    fn parse(word: &[u8]) -> Option<Self> {
        let (signed, digits) = match word {
            [b'i', digits @ ..] => (true, digits),
            [b'u', digits @ ..] => (false, digits),
            _ => return None,
        };
        let bits = parse_i64(digits).and_then(|it| u32::try_from(it).ok())?;
        let bits_max = if signed { 64 } else { 63 };
        (1..=bits_max).contains(&bits).then_some(Self { signed, bits })
    }

    /// The number at a bit; past the end there are zeros.
    fn read(self, bytes: &[u8], offset: u64) -> i64 {
        let from = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        // Nine bytes hold any 64 bits.
        let mut window = [0; 16];
        let part = bytes.get(from..).unwrap_or_default();
        let part = &part[..part.len().min(9)];
        window[..part.len()].copy_from_slice(part);
        let bits = u128::from_be_bytes(window) << (offset % 8) >> (128 - self.bits);
        self.number(bits)
    }

    /// The low bits of `bits` as a number of this width.
    #[expect(clippy::cast_possible_truncation, reason = "the bits above are cut off on purpose")]
    fn number(self, bits: u128) -> i64 {
        let unused = 64 - self.bits;
        let bits = (bits as u64) << unused;
        if self.signed { bits.cast_signed() >> unused } else { (bits >> unused).cast_signed() }
    }

    fn write(self, bytes: &mut [u8], offset: u64, number: i64) {
        let from = usize::try_from(offset / 8).unwrap_or(usize::MAX);
        let shift = 128 - u32::try_from(offset % 8).unwrap_or(0) - self.bits;
        let mask = (u128::MAX >> (128 - self.bits)) << shift;
        let part = bytes.get_mut(from..).unwrap_or_default();
        let len = part.len().min(9);
        let mut window = [0; 16];
        window[..len].copy_from_slice(&part[..len]);
        let bits = u128::from(number.cast_unsigned()) << shift & mask;
        let window = u128::from_be_bytes(window) & !mask | bits;
        part[..len].copy_from_slice(&window.to_be_bytes()[..len]);
    }

    /// The largest signed number.
    fn high(self) -> i64 {
        i64::MAX >> (64 - self.bits)
    }

    /// What is kept of a number; `None`: nothing, because it does not fit.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i64> {
        let (low, high) = if self.signed {
            (-(1_i128 << (self.bits - 1)), (1_i128 << (self.bits - 1)) - 1)
        } else {
            (0, (1_i128 << self.bits) - 1)
        };
        if (low..=high).contains(&number) {
            return i64::try_from(number).ok();
        }
        match overflow {
            Overflow::Wrap => Some(self.number(number.cast_unsigned())),
            Overflow::Saturate => i64::try_from(number.clamp(low, high)).ok(),
            Overflow::Fail => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_width_at_every_bit() {
        for bits in 1..=64 {
            for offset in 0..80 {
                let mut bytes = vec![0xa5; 20];
                let before = bytes.clone();
                let width = Width { signed: true, bits };
                let number = width.number(0x1234_5678_9abc_def0_u64.into());
                width.write(&mut bytes, offset, number);
                assert_eq!(width.read(&bytes, offset), number, "i{bits} at {offset}");
                for bit in (0..160).filter(|it| !(offset..offset + u64::from(bits)).contains(it)) {
                    let one = Width { signed: false, bits: 1 };
                    assert_eq!(one.read(&bytes, bit), one.read(&before, bit));
                }
            }
        }
    }
}
