//! From a command's name to its row, without regard to case, in about ten nanoseconds.
//!
//! A name of up to 24 bytes is read as three words and brought to upper case eight bytes at a time;
//! one multiplication per word hashes it, and a table four times as large as the set of names
//! answers, mostly at the first try. `T` is whatever the table's owner wants back, a reference to a
//! row of one of several families for instance.
//!
//! The table is built once at start (`rename-command` acts here: remove a name, insert another) and
//! never grows with what clients send, so its hash needs no key: its size and its names are ours.

use crate::command::args::Args;
use crate::command::spec::Command;
use crate::resp::error::ErrorKind;

/// Longest name that takes the fast way; `GEORADIUSBYMEMBER_RO` has 20 bytes.
const NAME_BYTES: usize = 24;

type Name = [u64; NAME_BYTES / 8];

/// Names and what they stand for.
#[derive(Clone, Debug)]
pub struct Lookup<T> {
    /// A power of two, at most a quarter full; `None` ends a probe.
    slots: Vec<Option<(Name, T)>>,
    /// Names that only a `rename-command` can make so long.
    long: Vec<(Vec<u8>, T)>,
    len: usize,
}

impl<T: Copy> Lookup<T> {
    /// A table of these names; of two equal names the later counts.
    pub fn new<'n>(names: impl IntoIterator<Item = (&'n str, T)>) -> Self {
        let mut lookup = Self { slots: vec![None; 16], long: Vec::new(), len: 0 };
        for (name, value) in names {
            lookup.insert(name.as_bytes(), value);
        }
        lookup
    }

    /// What `name` stands for.
    #[inline]
    #[must_use]
    pub fn get(&self, name: &[u8]) -> Option<T> {
        let Some(packed) = pack(name) else { return self.get_long(name) };
        let mask = self.slots.len() - 1;
        let mut at = hash(&packed) & mask;
        while let Some((other, value)) = &self.slots[at] {
            if *other == packed {
                return Some(*value);
            }
            at = (at + 1) & mask;
        }
        None
    }

    /// From now on `name` stands for `value`.
    pub fn insert(&mut self, name: &[u8], value: T) {
        self.remove(name);
        let Some(packed) = pack(name) else {
            self.long.push((name.to_ascii_uppercase(), value));
            return;
        };
        self.len += 1;
        if self.len * 4 > self.slots.len() {
            let larger = vec![None; self.slots.len() * 2];
            let old = std::mem::replace(&mut self.slots, larger);
            old.into_iter().flatten().for_each(|entry| self.place(entry));
        }
        self.place((packed, value));
    }

    /// From now on `name` is unknown; what it stood for.
    pub fn remove(&mut self, name: &[u8]) -> Option<T> {
        let found = self.get(name)?;
        match pack(name) {
            None => self.long.retain(|entry| !entry.0.eq_ignore_ascii_case(name)),
            Some(packed) => {
                // Rare, and only at start: a probe may have passed here, so all are placed anew.
                self.len -= 1;
                let empty = vec![None; self.slots.len()];
                let old = std::mem::replace(&mut self.slots, empty);
                old.into_iter().flatten().filter(|it| it.0 != packed).for_each(|it| self.place(it));
            }
        }
        Some(found)
    }

    fn place(&mut self, entry: (Name, T)) {
        let mask = self.slots.len() - 1;
        let mut at = hash(&entry.0) & mask;
        while self.slots[at].is_some() {
            at = (at + 1) & mask;
        }
        self.slots[at] = Some(entry);
    }

    #[cold]
    fn get_long(&self, name: &[u8]) -> Option<T> {
        self.long.iter().find(|entry| entry.0.eq_ignore_ascii_case(name)).map(|entry| entry.1)
    }
}

/// The row that a request means, once its first word has been looked up: the row itself or one of its
/// sub-commands, with the right number of words.
#[inline]
pub fn resolve<F>(
    row: &'static Command<F>,
    args: Args<'_>,
) -> Result<&'static Command<F>, ErrorKind> {
    match args.get(1) {
        Some(word) if !row.subcommands.is_empty() => resolve_subcommand(row, word, args),
        _ if row.arity.accepts(args.len()) => Ok(row),
        _ => Err(ErrorKind::WrongArity { command: row.name }),
    }
}

fn resolve_subcommand<F>(
    row: &'static Command<F>,
    word: &[u8],
    args: Args<'_>,
) -> Result<&'static Command<F>, ErrorKind> {
    let sub = row.subcommands.iter().find(|it| it.name.as_bytes().eq_ignore_ascii_case(word));
    let sub = sub.ok_or_else(|| ErrorKind::unknown_subcommand(row.name, word))?;
    if sub.arity.accepts(args.len()) {
        return Ok(sub);
    }
    Err(ErrorKind::WrongSubcommandArity { command: row.name, subcommand: sub.name })
}

/// The name in upper case, padded with zeros; `None` if it is too long.
///
/// A name that itself ends in zeros would read as a shorter one, so a zero makes it unknown: its
/// first word becomes one that no name has.
#[inline]
fn pack(name: &[u8]) -> Option<Name> {
    let mut packed: Name = [0; NAME_BYTES / 8];
    let (whole, rest) = name.as_chunks::<8>();
    if name.len() > NAME_BYTES {
        return None;
    }
    for (word, chunk) in packed.iter_mut().zip(whole) {
        *word = upper(u64::from_le_bytes(*chunk));
    }
    if let Some(word) = packed.get_mut(whole.len()) {
        *word = upper(part(rest));
    }
    if name.last() == Some(&0) {
        packed[0] = u64::MAX;
    }
    Some(packed)
}

/// Up to seven bytes as the low ones of a word, without a loop: two loads that overlap.
#[inline]
fn part(bytes: &[u8]) -> u64 {
    let shift = |width: usize| 8 * (bytes.len() - width);
    match (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        (Some(first), Some(last)) => {
            let last = u64::from(u32::from_le_bytes(*last));
            u64::from(u32::from_le_bytes(*first)) | last << shift(4)
        }
        _ => match bytes {
            [] => 0,
            [one] => u64::from(*one),
            [one, two] => u64::from(*one) | u64::from(*two) << 8,
            [one, two, three, ..] => {
                u64::from(*one) | u64::from(*two) << 8 | u64::from(*three) << 16
            }
        },
    }
}

/// Eight bytes in upper case at once: a byte in `a..=z` has its bit 0x20 cleared.
#[inline]
const fn upper(word: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let low7 = word & (0x7f * EACH);
    // In each byte the top bit is set from `a` on, and from `z` + 1 on; a byte above 0x7f is no letter.
    let from_a = low7 + (0x80 - b'a' as u64) * EACH;
    let past_z = low7 + (0x7f - b'z' as u64) * EACH;
    let letters = from_a & !past_z & !word & (0x80 * EACH);
    word ^ (letters >> 2)
}

#[inline]
fn hash(name: &Name) -> usize {
    // Odd, and unlike each other: the products are independent, so they are made side by side.
    const ODD: Name = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9, 0x94d0_49bb_1331_11eb];
    let products = name.iter().zip(ODD).map(|(word, odd)| word.wrapping_mul(odd));
    let mixed = products.fold(0, |all, product| all ^ product);
    usize::try_from(mixed >> 32).unwrap_or_default() // 32 bits always fit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::node_rows;

    #[test]
    fn names_are_found_without_regard_to_case() {
        let lookup = Lookup::new([("GET", 1), ("GETRANGE", 2), ("GEORADIUSBYMEMBER_RO", 3)]);
        for (name, expected) in [
            (&b"get"[..], Some(1)),
            (b"GeT", Some(1)),
            (b"getRANGE", Some(2)),
            (b"georadiusbymember_ro", Some(3)),
            (b"ge", None),
            (b"get\0", None),
            (b"get\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", None),
            (b"", None),
            (b"\0", None),
            (b"g\xe5t", None),
            (b"a name that is longer than any command's is", None),
        ] {
            assert_eq!(lookup.get(name), expected, "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_request_means_a_row_or_one_of_its_subcommands() {
        const SUBS: &[Command<u8>] =
            &[Command::new(node_rows::CONFIG_GET, 1), Command::new(node_rows::CONFIG_RESETSTAT, 2)];
        const QUIT: &Command<u8> = &Command::new(node_rows::QUIT, 3);
        const CONFIG: &Command<u8> = &Command::container(node_rows::CONFIG, 4, SUBS);
        const TIME: &Command<u8> = &Command::new(node_rows::TIME, 5);
        let check = |row, request: &str, expected: Result<u8, &str>| {
            let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
            let found = resolve(row, Args::new(&words)).map(|row| row.run).map_err(|error| {
                let mut text = Vec::new();
                error.write_to(&mut text);
                String::from_utf8_lossy(text.trim_ascii_end()).into_owned()
            });
            assert_eq!(found, expected.map_err(String::from), "{request}");
        };
        check(QUIT, "quit", Ok(3));
        check(TIME, "time x", Err("-ERR wrong number of arguments for 'time' command"));
        check(CONFIG, "config get x", Ok(1));
        check(CONFIG, "config ResetStat", Ok(2));
        check(CONFIG, "config", Err("-ERR wrong number of arguments for 'config' command"));
        check(CONFIG, "config get", Err("-ERR wrong number of arguments for 'config|get' command"));
        check(CONFIG, "config x", Err("-ERR unknown subcommand 'x'. Try CONFIG HELP."));
    }

    #[test]
    fn every_byte_goes_to_upper_case_as_std_has_it() {
        for byte in 0..=u8::MAX {
            let expected = u64::from_le_bytes([byte.to_ascii_uppercase(); 8]);
            assert_eq!(upper(u64::from_le_bytes([byte; 8])), expected, "{byte}");
        }
    }

    #[test]
    fn names_can_be_removed_and_renamed() {
        let names: Vec<String> = (0..300).map(|n| format!("NAME{n}")).collect();
        let mut lookup = Lookup::new(names.iter().map(String::as_str).zip(0..));
        let secret = b"config-a-long-and-secret-name-of-it";
        let config = lookup.remove(b"name7");
        assert_eq!(config, Some(7));
        lookup.insert(secret, 7);
        assert_eq!(
            (lookup.get(b"NAME7"), lookup.get(&secret.to_ascii_uppercase())),
            (None, Some(7))
        );
        assert_eq!(
            (lookup.remove(secret), lookup.get(secret), lookup.remove(secret)),
            (Some(7), None, None)
        );
        for (n, name) in names.iter().enumerate().filter(|it| it.0 != 7) {
            assert_eq!(lookup.get(name.as_bytes()), Some(n));
        }
    }
}
