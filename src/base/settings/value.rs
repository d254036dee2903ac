//! The plain values of a configuration: numbers, sizes in bytes, yes and no, lists of CPUs.
//!
//! Numbers are strict: no sign `+`, no leading zero, no white space, nothing behind them. A size
//! is a number and a unit in either case, where `k m g` are powers of 1000 and `kb mb gb` of 1024.
//!
//! Not here: which setting takes which value, bounds, and the texts of errors.

use crate::base::limits::{CORES_MAX, CPU_NUMBER_MAX};

/// How many cores to run on, or on which CPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Cores {
    /// One per CPU that the process may use.
    #[default]
    All,
    /// So many; which CPUs they are pinned to is not asked for.
    Count(u16),
    /// One pinned to each of these CPUs, in this order; not empty, no CPU twice.
    Cpus(Vec<u16>),
}

/// `-?[1-9][0-9]*` or `0`, within 64 bits.
#[must_use]
pub fn parse_int(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if digits == b"0" && !negative {
        return Some(0);
    }
    if !matches!(digits, [b'1'..=b'9', ..]) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// Octal digits, as file modes are written.
#[must_use]
pub fn parse_octal(text: &[u8]) -> Option<i64> {
    if text.is_empty() || !text.iter().all(|byte| (b'0'..=b'7').contains(byte)) {
        return None;
    }
    i64::from_str_radix(str::from_utf8(text).ok()?, 8).ok()
}

/// A number of bytes: `5`, `5b`, `5k`, `5kb`, `5m`, `5mb`, `5g`, `5gb`. What does not fit into 64
/// bits is no size. No digits at all count as 0: `""` switches a limit off.
#[must_use]
pub fn parse_memory(text: &[u8]) -> Option<u64> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let unit: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1_000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let number: u64 =
        if number.is_empty() { 0 } else { str::from_utf8(number).ok()?.parse().ok()? };
    number.checked_mul(unit)
}

/// `yes` or `no`, in either case.
#[must_use]
pub fn parse_bool(text: &[u8]) -> Option<bool> {
    match text.to_ascii_lowercase().as_slice() {
        b"yes" => Some(true),
        b"no" => Some(false),
        _ => None,
    }
}

/// `all`, a count (`4`), or a list of CPUs (`0-3,6`; one CPU alone is written `6-6`).
#[must_use]
pub fn parse_cores(text: &[u8]) -> Option<Cores> {
    if text.eq_ignore_ascii_case(b"all") {
        return Some(Cores::All);
    }
    if let Some(count) = parse_int(text) {
        let count = u16::try_from(count).ok()?;
        return (1..=CORES_MAX).contains(&usize::from(count)).then_some(Cores::Count(count));
    }
    let mut cpus: Vec<u16> = Vec::new();
    for part in text.split(|&byte| byte == b',') {
        let (first, last) = match part.iter().position(|&byte| byte == b'-') {
            Some(dash) => (part.get(..dash)?, part.get(dash + 1..)?),
            None => (part, part),
        };
        let first = u16::try_from(parse_int(first)?).ok()?;
        let last = u16::try_from(parse_int(last)?).ok()?;
        if first > last || last >= CPU_NUMBER_MAX {
            return None;
        }
        for cpu in first..=last {
            if cpus.contains(&cpu) || cpus.len() == CORES_MAX {
                return None;
            }
            cpus.push(cpu);
        }
    }
    Some(Cores::Cpus(cpus))
}

/// As [`parse_cores`] reads it; a list is written CPU by CPU.
impl std::fmt::Display for Cores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Count(count) => write!(f, "{count}"),
            Self::Cpus(cpus) => match cpus.as_slice() {
                [only] => write!(f, "{only}-{only}"),
                cpus => cpus.iter().enumerate().try_for_each(|(index, cpu)| {
                    write!(f, "{}{cpu}", if index == 0 { "" } else { "," })
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_strict() {
        let check =
            |text: &str, expected| assert_eq!(parse_int(text.as_bytes()), expected, "{text}");
        check("0", Some(0));
        check("-1", Some(-1));
        check("9223372036854775807", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        for bad in ["", "-", "-0", "05", "+5", " 5", "5 ", "0x10", "5k", "9223372036854775808"] {
            check(bad, None);
        }
        assert_eq!(parse_octal(b"0777"), Some(0o777));
        assert_eq!(parse_octal(b"8"), None);
        assert_eq!(parse_octal(b""), None);
    }

    #[test]
    fn sizes_know_both_kinds_of_units() {
        let check =
            |text: &str, expected| assert_eq!(parse_memory(text.as_bytes()), expected, "{text}");
        check("5", Some(5));
        check("5b", Some(5));
        check("5k", Some(5_000));
        check("5KB", Some(5 * 1_024));
        check("64mb", Some(64 << 20));
        check("3m", Some(3_000_000));
        check("1gb", Some(1 << 30));
        check("1G", Some(1_000_000_000));
        check("", Some(0));
        check("18446744073709551615", Some(u64::MAX));
        for bad in ["-1", "1.5gb", "1tb", "abc", " 5", "18446744073709551616", "99999999999gb"] {
            check(bad, None);
        }
    }

    #[test]
    fn cores_are_a_count_or_a_list() {
        let check = |text: &str, expected: Option<Cores>, printed: &str| {
            let cores = parse_cores(text.as_bytes());
            assert_eq!(cores, expected, "{text}");
            if let Some(cores) = cores {
                assert_eq!(cores.to_string(), printed);
                assert_eq!(parse_cores(printed.as_bytes()), Some(cores));
            }
        };
        check("ALL", Some(Cores::All), "all");
        check("4", Some(Cores::Count(4)), "4");
        check("6-6", Some(Cores::Cpus(vec![6])), "6-6");
        check("6,0-2", Some(Cores::Cpus(vec![6, 0, 1, 2])), "6,0,1,2");
        for bad in
            ["", "0", "-1", "257", "0-", "2-1", "0,0", "0-3,2", "1,,2", "a", "0-8192", "0-400"]
        {
            check(bad, None, "");
        }
    }
}
