//! Sums as an x87 computes them: 80-bit floats (64-bit mantissa, 15-bit exponent) in software.
//!
//! 0.1 + 0.2 gives 0.3 in this format and 0.30000000000000004 in doubles; servers that count in it
//! must agree to the last digit with each other, whatever CPU they run on. So text is read as
//! `strtold` reads it, [`LongDouble::plus`] rounds to nearest even, and [`LongDouble::write_fixed`]
//! prints as `%.17Lf` does, without the trailing zeros.
//!
//! Everything is exact integer arithmetic: 128 bits where they suffice (nearly always), else a
//! big integer whose size [`TEXT_BYTES_MAX`] and the range of the exponent bound.
//!
//! Invariant: `mantissa` has its top bit set, or is zero, or `exponent` is the least one.
//!
//! Not here: NaN. No text gives one, and [`LongDouble::plus`] says `None` for infinity minus infinity.

/// Longer texts are not numbers: the format's largest value has 4,933 digits.
pub const TEXT_BYTES_MAX: usize = 5 * 1024;

/// Digits that [`LongDouble::write_fixed`] prints after the point, at most.
const FRACTION_DIGITS: usize = 17;
const FRACTION_SCALE: u128 = 100_000_000_000_000_000;

/// `mantissa * 2^exponent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LongDouble {
    negative: bool,
    infinite: bool,
    mantissa: u64,
    exponent: i32,
}

/// How many bits the mantissa has, and the range of the exponent of its lowest bit.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    bits: u32,
    exponent_min: i32,
    exponent_max: i32,
}

impl Format {
    pub const EXTENDED: Self = Self { bits: 64, exponent_min: -16_445, exponent_max: 16_320 };
    pub const DOUBLE: Self = Self { bits: 53, exponent_min: -1_074, exponent_max: 971 };
}

/// A number in decimal or hexadecimal, or an infinity, if all of `text` is one and it fits the
/// format: neither too large, nor so small that it became zero.
#[must_use]
pub fn parse(text: &[u8], format: Format) -> Option<LongDouble> {
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if text.len() >= TEXT_BYTES_MAX {
        return None;
    }
    if text.eq_ignore_ascii_case(b"inf") || text.eq_ignore_ascii_case(b"infinity") {
        return Some(LongDouble { negative, infinite: true, mantissa: 0, exponent: 0 });
    }
    let (mantissa, exponent) = match text {
        [b'0', b'x' | b'X', rest @ ..] => parse_hexadecimal(rest, format)?,
        rest => parse_decimal(rest, format)?,
    };
    Some(LongDouble { negative, infinite: false, mantissa, exponent })
}

impl LongDouble {
    #[must_use]
    pub fn is_infinite(&self) -> bool {
        self.infinite
    }

    /// The sum, rounded to nearest even; `None` where it is not a number.
    #[must_use]
    pub fn plus(self, other: Self) -> Option<Self> {
        match (self.infinite, other.infinite) {
            (true, true) => return (self.negative == other.negative).then_some(self),
            (true, false) => return Some(self),
            (false, true) => return Some(other),
            (false, false) => {}
        }
        if self.mantissa == 0 || other.mantissa == 0 {
            let sum = if self.mantissa == 0 { other } else { self };
            let negative = sum.negative && (sum.mantissa != 0 || self.negative == other.negative);
            return Some(Self { negative, ..sum });
        }
        let (high, low) = if (self.exponent, self.mantissa) >= (other.exponent, other.mantissa) {
            (self, other)
        } else {
            (other, self)
        };
        // 62 bits below the mantissa: a carry fits above, and what is shifted out only breaks ties.
        let a = u128::from(high.mantissa) << 62;
        let b = u128::from(low.mantissa) << 62;
        let distance = high.exponent.abs_diff(low.exponent);
        let (shifted, lost) = shift_right(b, distance);
        let b = shifted | u128::from(lost);
        let (negative, sum) = if high.negative == low.negative {
            (high.negative, a + b)
        } else {
            (high.negative, a - b) // `high` is the larger: both are normal, or of one exponent
        };
        if sum == 0 {
            return Some(Self { negative: false, infinite: false, mantissa: 0, exponent: 0 });
        }
        match round(sum, false, high.exponent - 62, Format::EXTENDED) {
            Some((mantissa, exponent)) => {
                Some(Self { negative, infinite: false, mantissa, exponent })
            }
            None => Some(Self { negative, infinite: true, mantissa: 0, exponent: 0 }),
        }
    }

    /// Appends `%.17Lf` without its trailing zeros; zero has no sign.
    pub fn write_fixed(&self, out: &mut Vec<u8>) {
        let start = out.len();
        if self.negative {
            out.push(b'-');
        }
        if self.infinite {
            return out.extend_from_slice(b"inf");
        }
        let below = self.exponent.unsigned_abs();
        if self.exponent >= 0 {
            if below <= 64 {
                out.extend_from_slice((u128::from(self.mantissa) << below).to_string().as_bytes());
            } else {
                let mut big = Big::from(u128::from(self.mantissa));
                big.shift_left(below);
                big.write_decimal(out);
            }
            return;
        }
        let scaled = u128::from(self.mantissa) * FRACTION_SCALE; // under 2^121
        let (mut units, _) = shift_right(scaled, below);
        let rest = if below < 128 { scaled & ((1 << below) - 1) } else { scaled };
        let half = if below <= 128 { 1_u128 << (below - 1) } else { u128::MAX };
        if rest > half || (rest == half && units & 1 == 1) {
            units += 1;
        }
        if units == 0 {
            out.truncate(start);
            return out.push(b'0');
        }
        let (whole, fraction) = (units / FRACTION_SCALE, units % FRACTION_SCALE);
        out.extend_from_slice(whole.to_string().as_bytes());
        if fraction != 0 {
            let digits = format!("{fraction:0FRACTION_DIGITS$}");
            out.push(b'.');
            out.extend_from_slice(digits.trim_end_matches('0').as_bytes());
        }
    }

    /// The same number as a double; exact for what was parsed with [`Format::DOUBLE`].
    #[must_use]
    pub fn to_f64(&self) -> f64 {
        let magnitude = if self.infinite {
            f64::INFINITY
        } else {
            // Two steps: a power of two below 2^-1022 is no normal double.
            let half = self.exponent / 2;
            self.mantissa as f64 * power_of_two(half) * power_of_two(self.exponent - half)
        };
        if self.negative { -magnitude } else { magnitude }
    }
}

fn power_of_two(exponent: i32) -> f64 {
    u64::try_from(exponent + 1_023).map_or(0.0, |biased| f64::from_bits(biased << 52))
}

fn shift_right(value: u128, bits: u32) -> (u128, bool) {
    match value.checked_shr(bits) {
        Some(shifted) => (shifted, shifted << bits != value),
        None => (0, value != 0),
    }
}

/// `value * 2^exponent`, and a little more if `inexact`, to the nearest mantissa of the format,
/// ties to even; `None` where it is too large. `value` is not 0.
fn round(value: u128, inexact: bool, exponent: i32, format: Format) -> Option<(u64, i32)> {
    let bits = 128 - value.leading_zeros();
    let excess = i32::try_from(bits.saturating_sub(format.bits)).ok()?;
    let shortage = i32::try_from(format.bits.saturating_sub(bits)).ok()?;
    // Subnormal where the exponent would fall below the least.
    let drop = excess.max(format.exponent_min.saturating_sub(exponent));
    let (mut mantissa, mut exponent) = if drop > 0 {
        let drop = drop.unsigned_abs();
        let (kept, _) = shift_right(value, drop);
        let rest = if drop < 128 { value & ((1 << drop) - 1) } else { value };
        let half = if drop <= 128 { 1_u128 << (drop - 1) } else { u128::MAX };
        let up = rest > half || (rest == half && (inexact || kept & 1 == 1));
        (kept + u128::from(up), exponent.checked_add_unsigned(drop)?)
    } else {
        let raise = shortage.min(exponent.saturating_sub(format.exponent_min));
        (value << raise, exponent - raise)
    };
    if mantissa >> format.bits != 0 {
        mantissa >>= 1;
        exponent += 1;
    }
    if exponent > format.exponent_max {
        return None;
    }
    u64::try_from(mantissa).ok().map(|mantissa| (mantissa, exponent))
}

/// `digits[.digits][(e|p)[+-]digits]`: the digits without the point, and the exponent that they
/// and the point's place make. The exponent saturates.
struct Spelled {
    digits: Vec<u8>,
    after_point: i64,
    exponent: i64,
}

fn spell(text: &[u8], is_digit: fn(&u8) -> bool, marks: [u8; 2]) -> Option<Spelled> {
    let end = text.iter().position(|byte| marks.contains(byte)).unwrap_or(text.len());
    let (mantissa, exponent) = text.split_at(end);
    let exponent = match exponent {
        [] => 0,
        [_, b'-', digits @ ..] => -saturating(digits)?,
        [_, b'+', digits @ ..] | [_, digits @ ..] => saturating(digits)?,
    };
    let mut halves = mantissa.splitn(2, |&byte| byte == b'.');
    let whole = halves.next().unwrap_or_default();
    let fraction = halves.next().unwrap_or_default();
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.iter().all(is_digit) {
        return None;
    }
    let zeros = digits.iter().take_while(|&&byte| byte == b'0').count();
    let digits = digits.get(zeros..).unwrap_or_default().to_vec();
    Some(Spelled { digits, after_point: i64::try_from(fraction.len()).ok()?, exponent })
}

fn saturating(digits: &[u8]) -> Option<i64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let step = |sum: i64, byte: &u8| (sum * 10 + i64::from(byte - b'0')).min(1_000_000_000);
    Some(digits.iter().fold(0, step))
}

fn parse_hexadecimal(text: &[u8], format: Format) -> Option<(u64, i32)> {
    let spelled = spell(text, u8::is_ascii_hexdigit, *b"pP")?;
    let (mut value, mut inexact, mut dropped) = (0_u128, false, 0_i64);
    for &byte in &spelled.digits {
        let digit = u128::from(char::from(byte).to_digit(16)?);
        if value >> 124 == 0 {
            value = value << 4 | digit;
        } else {
            inexact |= digit != 0;
            dropped += 4;
        }
    }
    if value == 0 {
        return Some((0, 0));
    }
    let exponent = spelled.exponent + dropped - spelled.after_point * 4;
    let exponent = i32::try_from(exponent.clamp(-100_000, 100_000)).ok()?;
    round(value, inexact, exponent, format).filter(|&(mantissa, _)| mantissa != 0)
}

fn parse_decimal(text: &[u8], format: Format) -> Option<(u64, i32)> {
    let Spelled { digits, after_point, exponent } = spell(text, u8::is_ascii_digit, *b"eE")?;
    if digits.is_empty() {
        return Some((0, 0));
    }
    let power = exponent - after_point;
    // Before any work: is it in the format's range at all?
    let magnitude = i64::try_from(digits.len()).ok()? + power;
    if !(-4_970..=4_940).contains(&magnitude) {
        return None;
    }
    let power = i32::try_from(power).ok()?;
    let parsed = match quick_decimal(&digits, power) {
        Some((value, inexact, exponent)) => round(value, inexact, exponent, format),
        None => slow_decimal(&digits, power, format),
    };
    parsed.filter(|&(mantissa, _)| mantissa != 0)
}

/// `digits * 10^power` as value, inexact, exponent: where 128 bits are enough for 65 exact ones.
fn quick_decimal(digits: &[u8], power: i32) -> Option<(u128, bool, i32)> {
    if digits.len() > 19 || power.unsigned_abs() > 27 {
        return None;
    }
    let number = digits.iter().fold(0_u64, |sum, byte| sum * 10 + u64::from(byte - b'0'));
    let fives = 5_u64.checked_pow(power.unsigned_abs())?; // at most 63 bits
    if power >= 0 {
        return Some((u128::from(number) * u128::from(fives), false, power));
    }
    let dividend = u128::from(number);
    let shift = dividend.leading_zeros();
    let (dividend, fives) = (dividend << shift, u128::from(fives));
    let exponent = power - i32::try_from(shift).ok()?;
    Some((dividend / fives, dividend % fives != 0, exponent))
}

fn slow_decimal(digits: &[u8], power: i32, format: Format) -> Option<(u64, i32)> {
    let mut big = Big::from_decimal(digits);
    let (mut inexact, mut exponent) = (false, power);
    if power >= 0 {
        big.multiply_by_fives(power.unsigned_abs());
    } else {
        // 5^n has under 2.33 n bits; the quotient is to keep more than 65.
        let shift = power.unsigned_abs() * 7 / 3 + 70;
        big.shift_left(shift);
        exponent = exponent.checked_sub_unsigned(shift)?;
        inexact = big.divide_by_fives(power.unsigned_abs());
    }
    let (value, lost, dropped) = big.top();
    round(value, inexact || lost, exponent.checked_add_unsigned(dropped)?, format)
}

/// A big integer of 32-bit limbs, the lowest first. No limb at the end is zero.
struct Big(Vec<u32>);

/// 5^13, the largest power of five in a limb.
const FIVES_PER_LIMB: u32 = 13;

impl Big {
    fn from(value: u128) -> Self {
        let mut it = Self((0..4).map(|limb| low(value >> (32 * limb))).collect());
        it.trim();
        it
    }

    fn from_decimal(digits: &[u8]) -> Self {
        let mut it = Self(Vec::with_capacity(digits.len() / 9 + 1));
        for chunk in digits.chunks(9) {
            let number = chunk.iter().fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0'));
            let scale = chunk.iter().fold(1, |scale: u32, _| scale * 10);
            it.multiply_add(scale, number);
        }
        it
    }

    fn multiply_add(&mut self, factor: u32, mut carry: u32) {
        for limb in &mut self.0 {
            let product = u64::from(*limb) * u64::from(factor) + u64::from(carry);
            *limb = low(u128::from(product));
            carry = low(u128::from(product >> 32));
        }
        if carry != 0 {
            self.0.push(carry);
        }
    }

    fn divide(&mut self, divisor: u32) -> u32 {
        let mut rest = 0_u64;
        for limb in self.0.iter_mut().rev() {
            let value = rest << 32 | u64::from(*limb);
            *limb = low(u128::from(value / u64::from(divisor)));
            rest = value % u64::from(divisor);
        }
        self.trim();
        low(u128::from(rest))
    }

    fn multiply_by_fives(&mut self, count: u32) {
        for_fives(count, |fives| self.multiply_add(fives, 0));
    }

    /// Whether anything was left over.
    fn divide_by_fives(&mut self, count: u32) -> bool {
        let mut inexact = false;
        for_fives(count, |fives| inexact |= self.divide(fives) != 0);
        inexact
    }

    fn shift_left(&mut self, bits: u32) {
        self.multiply_add(1 << (bits % 32), 0);
        self.0.splice(0..0, std::iter::repeat_n(0, (bits / 32) as usize));
    }

    /// The highest limbs, whether anything is below them, and how many bits were cut off there.
    fn top(&self) -> (u128, bool, u32) {
        let cut = self.0.len().saturating_sub(4);
        let (below, kept) = self.0.split_at(cut);
        let value = kept.iter().rev().fold(0_u128, |sum, limb| sum << 32 | u128::from(*limb));
        let dropped = u32::try_from(cut * 32).unwrap_or(u32::MAX);
        (value, below.iter().any(|&limb| limb != 0), dropped)
    }

    fn write_decimal(mut self, out: &mut Vec<u8>) {
        let mut groups = Vec::new();
        while !self.0.is_empty() {
            groups.push(self.divide(1_000_000_000));
        }
        let mut groups = groups.into_iter().rev();
        out.extend_from_slice(groups.next().unwrap_or(0).to_string().as_bytes());
        for group in groups {
            out.extend_from_slice(format!("{group:09}").as_bytes());
        }
    }

    fn trim(&mut self) {
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
    }
}

fn for_fives(mut count: u32, mut each: impl FnMut(u32)) {
    while count > 0 {
        let step = count.min(FIVES_PER_LIMB);
        each(5_u32.pow(step));
        count -= step;
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low limb is what is wanted")]
fn low(value: u128) -> u32 {
    value as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::prng::Prng;

    fn sum(a: &str, b: &str) -> String {
        let Some(a) = parse(a.as_bytes(), Format::EXTENDED) else { return "bad".into() };
        let Some(b) = parse(b.as_bytes(), Format::EXTENDED) else { return "bad".into() };
        match a.plus(b) {
            Some(sum) if !sum.is_infinite() => {
                let mut out = Vec::new();
                sum.write_fixed(&mut out);
                String::from_utf8(out).unwrap()
            }
            _ => "nan or inf".into(),
        }
    }

    /// Golden rows: what redis-server 7.0.15 on x86-64 answers to `INCRBYFLOAT`.
    #[test]
    fn sums_are_those_of_an_x87() {
        #[rustfmt::skip]
        let table = [
            ("10.5", "0.1", "10.6"), ("0.1", "0.2", "0.3"), ("3.0e3", "200", "3200"), ("5.0e3", "2.0e2", "5200"),
            ("652422.2599", "161310939632.5502938189", "161311592054.81019382178783417"),
            ("83.631", "-80.209", "3.422"),
            ("0.00000000000006116", "0.00000000000000000329", "0.00000000000006116"),
            ("-14461.7804066", "1654494.44", "1640032.6595934000000625"),
            ("495403452440.5891425546866", "-843", "495403451597.5891425609588623"),
            ("5.", "-82.62", "-77.62"),
            ("0.0000000000000005", "7442272320334087611.5", "7442272320334087611.5"),
            ("-793", "0.7761124708072375", "-792.2238875291927625"),
            ("27.4", "968633533667.985377", "968633533695.38537698984146118"),
            ("-67.296", "5.193055986346071e-12", "-67.29599999999480694"),
            ("0.1598654993419204131260", "-2.9179213821729792e-23", "0.15986549934192041"),
            ("-4.87823495989721e8", "791330.6", "-487032165.38972099998500198"),
            ("1293751036138525611", "0.5486224997722874836459411", "1293751036138525611.5"),
            ("19.4650", "67.5", "86.965"),
            ("0xf56c24a6ee3.24e25da98fp-76", "705769.23", "705769.2300000002232423"),
            ("-6.85606466645395e-14", "495818316.897", "495818316.89699999999720603"),
            ("0.000000000000000074", "0x1p-16445", "0.00000000000000007"),
            ("0.0001319077319313132", "521", "521.00013190773193134"),
            ("975878.755", "4.910617330225477e-5", "975878.75504910617331689"),
            ("973703.544333217", "-868", "972835.5443332169999735"),
            ("743", "20.2", "763.20000000000000001"),
            ("1.985746282121772e-3553", "0.0005088913203", "0.0005088913203"),
            ("-9.80760476529948e-14", "-761", "-761.00000000000009809"),
            ("-67.23900", "-6.9094862973436015e-4058", "-67.239"),
            ("-755", "-95279.0842248460976407", "-96034.08422484609764069"),
            ("839284525.71271728", "0x1p-16445", "839284525.71271728002466261"),
            ("2.110199605699785e-14", "-2.8142752321117204e-25", "0.0000000000000211"),
            ("0.0000000000000007170", "-0.120447324133373e-571", "0.00000000000000072"),
            ("0.0000002215070", "15474575.93861219929", "15474575.93861242079765361"),
            ("410418.66842302", "-741828.74", "-331410.07157698000000323"),
            ("0.0000000000000002016040", "0.94246849050937", "0.9424684905093702"),
            ("-94.80956", "89517.98545218000379", "89423.17589218000379248"),
            ("51721.857473103162", "-70", "51651.85747310316200043"),
            ("-56.90768", "0x7943dbe4eb503a8.5aac401422p-39", "993346.57909694967833047"),
            ("-inf", "--inf", "bad"),
            ("-35.9554", "--35.9554", "bad"),
            ("0xb9c80d.87bae26926p-70", ".", "bad"),
            ("-1.4406388158698906e6", "", "bad"),
            ("0x1p-16446", "1250.4569378780", "bad"),
            ("1.2.3", "14578042995822858235.5", "bad"),
            ("1_0", "-8.094499951903755e-4064", "bad"),
            ("0.8024762453823548999610662616", "--1", "bad"),
            ("71.316", "1e5000", "bad"),
            ("1e-5000", "0x1d3935.cdafda6a51p-70", "bad"),
            ("0x1p16384", "-4.678984964808343e11", "bad"),
            ("0.5118285622025664273028071089", "0x", "bad"),
            ("0x1p-16446", "4.940276233045157e2", "bad"),
            ("0x1.b9edd96831p-2", "30.87", "31.30157138536867024"),
            ("0x1.8p-16446", "-201", "-201"),
            ("0x1657ad465a1.8cb8beff3dp-7", "35.32445", "11995031790.58655698411166668"),
            ("9684739009112191359.75", "-9684739009112191359.75", "0"),
            ("5229731.6569796200590", "-5229731.6569796200590", "0"),
            ("1e400", "-1e400", "0"),
        ];
        for (a, b, expected) in table {
            assert_eq!(sum(a, b), expected, "{a} + {b}");
        }
    }

    #[test]
    fn the_ends_of_the_range_are_exact() {
        let largest = "1.18973149535723176502e4932";
        assert_eq!(sum(largest, "0").len(), 4_933);
        assert_eq!(sum(largest, largest), "nan or inf");
        assert_eq!(sum("1e5000", "0"), "bad");
        assert_eq!(sum("1e-5000", "0"), "bad");
        assert_eq!(sum("0x1p-16445", "0"), "0");
        assert_eq!(sum("0x1p-16447", "0"), "bad");
        assert_eq!(sum("inf", "-inf"), "nan or inf");
        assert_eq!(sum(&"1".repeat(TEXT_BYTES_MAX), "0"), "bad");
    }

    /// Integers below 2^63 add up exactly, so 128-bit integers are the model.
    #[test]
    fn whole_numbers_add_like_integers() {
        let mut prng = Prng::new(3);
        for _ in 0..20_000 {
            let mut draw = || i128::from(prng.next_u64().cast_signed() >> 1 >> prng.below(60));
            let (a, b) = (draw(), draw());
            assert_eq!(sum(&a.to_string(), &b.to_string()), (a + b).to_string());
        }
    }
}
