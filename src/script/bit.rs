//! The `bit` library: 32-bit operations, results signed.

use crate::script::lua::{Frame, Native, Raised};
use crate::script::sandbox::push_functions;

#[rustfmt::skip] // One row per name.
const FUNCTIONS: &[(&str, Native)] = &[
    ("tobit",   |frame| one(frame, |a| a)),
    ("bnot",    |frame| one(frame, |a| !a)),
    ("bswap",   |frame| one(frame, u32::swap_bytes)),
    ("band",    |frame| all(frame, |a, b| a & b)),
    ("bor",     |frame| all(frame, |a, b| a | b)),
    ("bxor",    |frame| all(frame, |a, b| a ^ b)),
    ("lshift",  |frame| shift(frame, |a, n| a << n)),
    ("rshift",  |frame| shift(frame, |a, n| a >> n)),
    ("arshift", |frame| shift(frame, |a, n| (a.cast_signed() >> n).cast_unsigned())),
    ("rol",     |frame| shift(frame, u32::rotate_left)),
    ("ror",     |frame| shift(frame, u32::rotate_right)),
    ("tohex",   tohex),
];

pub(super) fn push_library(frame: Frame<'_>) {
    push_functions(frame, FUNCTIONS);
}

/// The lowest 32 bits of a number, rounded to even: adding 1.5 * 2^52 leaves them in the mantissa.
fn bits(frame: Frame<'_>, at: i32) -> Result<u32, Raised> {
    let number = frame.need_number(at)?;
    #[expect(clippy::cast_possible_truncation, reason = "the lowest 32 bits are meant")]
    Ok((number + 6_755_399_441_055_744.0).to_bits() as u32)
}

fn push(frame: Frame<'_>, bits: u32) -> Result<i32, Raised> {
    frame.push_number(f64::from(bits.cast_signed()));
    Ok(1)
}

fn one(frame: Frame<'_>, operation: fn(u32) -> u32) -> Result<i32, Raised> {
    push(frame, operation(bits(frame, 1)?))
}

fn all(frame: Frame<'_>, operation: fn(u32, u32) -> u32) -> Result<i32, Raised> {
    let mut result = bits(frame, 1)?;
    for at in (2..=frame.top()).rev() {
        result = operation(result, bits(frame, at)?);
    }
    push(frame, result)
}

fn shift(frame: Frame<'_>, operation: fn(u32, u32) -> u32) -> Result<i32, Raised> {
    let (number, by) = (bits(frame, 1)?, bits(frame, 2)?);
    push(frame, operation(number, by & 31))
}

fn tohex(frame: Frame<'_>) -> Result<i32, Raised> {
    let number = bits(frame, 1)?;
    let digits = if frame.top() < 2 { 8 } else { bits(frame, 2)?.cast_signed() };
    let upper = digits < 0;
    let digits = digits.unsigned_abs().min(8) as usize;
    let text = if upper { format!("{number:08X}") } else { format!("{number:08x}") };
    frame.push_bytes(&text.as_bytes()[8 - digits..]);
    Ok(1)
}
