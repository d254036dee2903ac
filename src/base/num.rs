//! Numbers as text: strict 64-bit integers, and doubles as C's `strtod` and `%.17g` have them.
//!
//! Strict means: what [`parse_i64`] accepts is exactly what [`write_i64`] would print. So a text
//! that parses may be stored as the number, and the same bytes come back.
//!
//! The trap: C accepts as a double what Rust does not (hexadecimal), and Rust accepts what C calls
//! an error (a number too large or too small to hold).
//!
//! Not here: 80-bit floats (`long_double.rs`).

use crate::base::long_double::{self, Format};
use std::fmt::Write;

/// Digits of the longest `i64` with its sign.
pub const I64_BYTES_MAX: usize = 20;

/// The integer, if `text` is its one canonical spelling: no `+`, no spaces, no leading zeros.
#[must_use]
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() < I64_BYTES_MAX => {}
        _ => return None,
    }
    let mut magnitude: u64 = 0; // 19 digits cannot overflow it
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

const PAIRS: &[u8; 200] = b"0001020304050607080910111213141516171819\
2021222324252627282930313233343536373839\
4041424344454647484950515253545556575859\
6061626364656667686970717273747576777879\
8081828384858687888990919293949596979899";

/// Decimal digits, right-aligned in an array on the stack.
#[derive(Clone, Copy)]
pub struct Digits {
    bytes: [u8; I64_BYTES_MAX],
    start: usize,
}

impl Digits {
    #[must_use]
    pub fn new(number: i64) -> Self {
        let mut it = Self { bytes: [0; I64_BYTES_MAX], start: I64_BYTES_MAX };
        let mut rest = number.unsigned_abs();
        while rest >= 10 {
            let pair = (rest % 100) as usize * 2;
            rest /= 100;
            it.push(PAIRS[pair + 1]);
            it.push(PAIRS[pair]);
        }
        if rest > 0 || number == 0 {
            #[expect(clippy::cast_possible_truncation, reason = "below 10")]
            it.push(b'0' + rest as u8);
        }
        if number < 0 {
            it.push(b'-');
        }
        it
    }

    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn push(&mut self, byte: u8) {
        self.start -= 1;
        self.bytes[self.start] = byte;
    }
}

/// Appends the canonical spelling.
pub fn write_i64(out: &mut Vec<u8>, number: i64) {
    out.extend_from_slice(Digits::new(number).as_bytes());
}

/// A double as `strtod` reads it, `inf` and hexadecimal included, if all of `text` is one; not
/// NaN, and not what is too large or too small for a double.
#[must_use]
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let unsigned = match text {
        [b'+' | b'-', rest @ ..] => rest,
        rest => rest,
    };
    let value = match unsigned {
        [b'0', b'x' | b'X', ..] => long_double::parse(text, Format::DOUBLE)?.to_f64(),
        // Rust's grammar is C's otherwise.
        _ => std::str::from_utf8(text).ok()?.parse::<f64>().ok()?,
    };
    let is_zero_exactly = || {
        let mantissa = unsigned.split(|byte| matches!(byte, b'e' | b'E' | b'p' | b'P')).next();
        mantissa.is_none_or(|it| it.iter().all(|byte| matches!(byte, b'0' | b'.' | b'x' | b'X')))
    };
    let spelled_infinite = || matches!(unsigned, [b'i' | b'I', ..]);
    let lost = (value == 0.0 && !is_zero_exactly()) || (value.is_infinite() && !spelled_infinite());
    (!value.is_nan() && !lost).then_some(value)
}

/// A double as C's `strtod` reads it from a text that ends at a NUL, if nothing of that is left over: spaces
/// may lead, nothing at all is 0, and what is too large or too small is infinite or 0. Not NaN.
#[must_use]
pub fn parse_f64_as_c(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    let number = text.get(start..)?;
    if let Some(value) = parse_f64(number) {
        return Some(value);
    }
    let value = std::str::from_utf8(number).ok()?.parse::<f64>().ok()?;
    (!value.is_nan()).then_some(value)
}

/// Appends a double as C's `%.17g` prints it: enough digits to read the same double back.
pub fn write_g17(out: &mut Vec<u8>, value: f64) {
    write_g(out, value, 17);
}

/// Appends a double as C's `%.{precision}g` prints it; from 1 to 17 digits.
pub fn write_g(out: &mut Vec<u8>, value: f64, precision: usize) {
    let precision = precision.clamp(1, 17);
    if value.is_nan() {
        return out.extend_from_slice(if value.is_sign_negative() { b"-nan" } else { b"nan" });
    }
    if value.is_infinite() {
        return out.extend_from_slice(if value < 0.0 { b"-inf" } else { b"inf" });
    }
    #[expect(clippy::cast_possible_truncation, reason = "checked by the comparison")]
    let whole = value as i64;
    #[expect(clippy::float_cmp, reason = "exactly whole is meant")]
    let is_whole = whole.unsigned_abs() < WHOLE_MAX[precision] && whole as f64 == value;
    if is_whole && !(whole == 0 && value.is_sign_negative()) {
        return write_i64(out, whole);
    }
    // `d.dddddddddddddddde-308`: 17 digits, rounded to even as C does.
    let mut text = Cursor { bytes: [0; 32], len: 0 };
    let _ = write!(text, "{:.*e}", precision - 1, value.abs()); // 24 bytes at most
    let text = text.bytes.get(..text.len).unwrap_or_default();
    let mut halves = text.splitn(2, |&byte| byte == b'e');
    let mantissa = halves.next().unwrap_or_default();
    let exponent = halves.next().and_then(parse_i64).unwrap_or(0);
    let mut digits = [b'0'; 17];
    let kept = mantissa.iter().filter(|byte| byte.is_ascii_digit());
    digits.iter_mut().zip(kept).for_each(|(to, from)| *to = *from);
    let len = digits.iter().rposition(|&digit| digit != b'0').map_or(1, |last| last + 1);
    if value.is_sign_negative() {
        out.push(b'-');
    }
    write_digits(out, &digits, len, exponent, precision);
}

/// Whole numbers below it have at most so many digits, and are exact in a double.
const WHOLE_MAX: [u64; 18] = {
    let mut most = [1; 18];
    let mut digits = 1;
    while digits < most.len() {
        let power = most[digits - 1] * 10;
        most[digits] = if power < 1 << 53 { power } else { 1 << 53 };
        digits += 1;
    }
    most
};

/// `d.ddd * 10^exponent`, of whose digits the first `len` count and the rest are zeros.
fn write_digits(out: &mut Vec<u8>, digits: &[u8; 17], len: usize, exponent: i64, precision: usize) {
    match usize::try_from(exponent) {
        Ok(before) if before < precision => write_parts(out, digits, before + 1, len),
        Err(_) if exponent >= -4 => {
            out.extend_from_slice(b"0.");
            (exponent..-1).for_each(|_| out.push(b'0'));
            out.extend_from_slice(digits.get(..len).unwrap_or_default());
        }
        _ => {
            write_parts(out, digits, 1, len);
            out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
            if exponent.unsigned_abs() < 10 {
                out.push(b'0');
            }
            write_i64(out, exponent.abs());
        }
    }
}

/// The first `whole` digits, then, if more of them count, a point and the others.
fn write_parts(out: &mut Vec<u8>, digits: &[u8; 17], whole: usize, len: usize) {
    out.extend_from_slice(digits.get(..whole).unwrap_or_default());
    if let Some(fraction @ [_, ..]) = digits.get(whole..len) {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

/// A place on the stack to format into.
struct Cursor {
    bytes: [u8; 32],
    len: usize,
}

impl Write for Cursor {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        let place = self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    #[test]
    fn integers_have_one_spelling() {
        for number in [0, 1, -1, 9, 10, 99, 100, 12_345, i64::MAX, i64::MIN, i64::MIN + 1] {
            assert_eq!(parse_i64(number.to_string().as_bytes()), Some(number));
        }
        #[rustfmt::skip]
        let refused = ["", "-", "-0", "+1", "01", "-01", " 1", "1 ", "1.0", "1a", "a", "0x1", "00",
            "9223372036854775808", "-9223372036854775809", "18446744073709551616",
            "99999999999999999999", "--1", "1\0"];
        for text in refused {
            assert_eq!(parse_i64(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn integers_are_printed_as_the_standard_library_prints_them() {
        let mut prng = Prng::new(11);
        for round in 0..20_000 {
            let number = (prng.next_u64() >> (round % 64)).cast_signed();
            let mut out = Vec::new();
            write_i64(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
            assert_eq!(parse_i64(&out), Some(number));
        }
    }

    #[test]
    fn doubles_are_read_as_c_reads_them() {
        #[rustfmt::skip]
        let table: &[(&str, Option<f64>)] = &[
            ("1", Some(1.0)), ("+1", Some(1.0)), ("-.5", Some(-0.5)), ("5.", Some(5.0)), ("1e3", Some(1000.0)),
            ("0x10", Some(16.0)), ("0x1p-1", Some(0.5)), ("-0X.8", Some(-0.5)), ("0x1.fffffffffffff8p0", Some(2.0)),
            ("inf", Some(f64::INFINITY)), ("-Infinity", Some(f64::NEG_INFINITY)), ("+INF", Some(f64::INFINITY)),
            ("0e999", Some(0.0)), ("0.000", Some(0.0)), ("4e-320", Some(4e-320)), ("0x0p9", Some(0.0)),
            ("", None), (" 1", None), ("1 ", None), ("nan", None), ("1e400", None), ("-1e400", None),
            ("1e-400", None), ("0x1p-2000", None), ("0x1p2000", None), ("1e", None), ("e1", None), (".", None), ("0x", None), ("0xp1", None),
            ("1.0.0", None), ("infx", None), ("1\0", None), ("--1", None), ("1_0", None), ("0x1p", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_f64(text.as_bytes()), *expected, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_read_up_to_a_nul_as_strtod_does() {
        #[rustfmt::skip]
        let table: &[(&str, Option<f64>)] = &[
            ("", Some(0.0)), ("\x001", Some(0.0)), (" \t-1.5", Some(-1.5)), ("1 ", None), ("  ", None), ("1e400", Some(f64::INFINITY)),
            ("-1e400", Some(f64::NEG_INFINITY)), ("1e-400", Some(0.0)), ("nan", None), ("inf", Some(f64::INFINITY)), ("5\0x", Some(5.0)),
            ("1x", None), ("-", None), ("0x10", Some(16.0)),
        ];
        for (text, expected) in table {
            assert_eq!(parse_f64_as_c(text.as_bytes()), *expected, "{text:?}");
        }
    }

    /// Golden lines: what C's printf gives.
    #[test]
    fn doubles_are_printed_with_seventeen_digits() {
        #[rustfmt::skip]
        let table: &[(f64, &str)] = &[
            (0.0, "0"), (-0.0, "-0"), (1.0, "1"), (-17.0, "-17"), (3.1, "3.1000000000000001"),
            (0.1, "0.10000000000000001"), (0.5, "0.5"), (1e16, "10000000000000000"), (1e17, "1e+17"),
            (123_456_789_012_345_680.0, "1.2345678901234568e+17"), (1e-4, "0.0001"), (1e-5, "1.0000000000000001e-05"),
            (0.000_123, "0.00012300000000000001"), (1.5e300, "1.5000000000000001e+300"), (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"), (f64::INFINITY, "inf"), (f64::NEG_INFINITY, "-inf"), (f64::NAN, "nan"),
            (1e15 + 0.25, "1000000000000000.2"), (1e15 + 0.75, "1000000000000000.8"),
            (9_007_199_254_740_993.0, "9007199254740992"), (2.5, "2.5"), (100.25, "100.25"), (-2.5e-7, "-2.4999999999999999e-07"),
        ];
        for (value, expected) in table {
            let mut out = Vec::new();
            write_g17(&mut out, *value);
            assert_eq!(String::from_utf8_lossy(&out), *expected, "{value:e}");
        }
    }

    #[test]
    fn printed_doubles_read_back_the_same() {
        let mut prng = Prng::new(5);
        for _ in 0..20_000 {
            let value = f64::from_bits(prng.next_u64());
            if value.is_nan() {
                continue;
            }
            let mut out = Vec::new();
            write_g17(&mut out, value);
            assert_eq!(parse_f64(&out).map(f64::to_bits), Some(value.to_bits()), "{value:e}");
        }
    }
}
