//! A command as the user wrote it, and the bytes that it becomes.
//!
//! `SET key:{key} {value}` is split into words once; each word is literal text and placeholders.
//! Where every word has one length (twelve-digit keys, values of one size) the whole request is
//! prepared, and writing one is a copy and a few digits patched in; other commands are put together
//! word by word. Both ways give the same bytes.
//!
//! Trap: Redis refuses numbers with leading zeros, so only `{key}`, which is part of a name, is
//! padded.

use crate::draw::{Draw, to_usize};
use crate::keys::Keys;
use crate::places::{self, TAG_LEN};
use crate::plan::Sizes;
use crate::stamps;

const PLACEHOLDERS: &str = "{key} {other} {value} {seq} {connection} {random:N} {now}";
const KEY_DIGITS: usize = 12;
/// Values are cut from printable bytes, at a place below this; small, so that it stays in the first
/// level of the cache (64 KiB made the copy the dearest part of a SET at pipeline 64).
const POOL_LEN: usize = 1 << 12;

/// A parsed command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    words: Vec<Vec<Part>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Vec<u8>),
    /// The request's key number, the same wherever it stands, and a fresh one each time.
    Key,
    Other,
    Value,
    /// A number that no other request of the run has.
    Seq,
    Connection,
    Random(u64),
    /// When the request was to leave, for whoever gets the value.
    Now,
}

/// What one request fills its placeholders with.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'k> {
    pub key: u64,
    pub number: u64,
    pub connection: u64,
    pub keys: &'k Keys,
    /// Nanoseconds from the run's start.
    pub now: u64,
    /// The value begins with `number` in hexadecimal.
    pub stamped: bool,
}

/// A command ready to be written many times.
#[derive(Clone, Debug)]
pub struct Encoder {
    template: Template,
    sizes: Sizes,
    /// A key's number stands behind the tag of its connection.
    tagged: bool,
    pool: Vec<u8>,
    prepared: Option<Prepared>,
}

#[derive(Clone, Debug)]
struct Prepared {
    bytes: Vec<u8>,
    patches: Vec<(usize, Part)>,
}

impl Template {
    /// `get` and `set` alone mean the usual two; anything else is taken word by word.
    pub fn parse(command: &str) -> Result<Self, String> {
        let command = match command.trim().to_ascii_lowercase().as_str() {
            "get" => "GET key:{key}",
            "set" => "SET key:{key} {value}",
            _ => command,
        };
        let words = split(command)?.iter().map(|it| parts(it)).collect::<Result<Vec<_>, _>>()?;
        if words.is_empty() {
            return Err("an empty command".into());
        }
        Ok(Self { words })
    }

    #[must_use]
    pub fn is_plain_set(&self) -> bool {
        Self::parse("set").as_ref() == Ok(self)
    }

    #[must_use]
    pub fn is_plain_get(&self) -> bool {
        Self::parse("get").as_ref() == Ok(self)
    }
}

impl Encoder {
    #[must_use]
    pub fn new(template: Template, sizes: Sizes, tagged: bool) -> Self {
        let mut draw = Draw::new(0, 0);
        let pool =
            (0..2 * POOL_LEN).map(|_| b'!' + u8::try_from(draw.below(94)).unwrap_or(0)).collect();
        let prepared = prepare(&template, sizes, key_len(tagged));
        Self { template, sizes, tagged, pool, prepared }
    }

    /// Appends one request.
    pub fn write(&self, out: &mut Vec<u8>, filling: &Filling<'_>, draw: &mut Draw) {
        let Some(prepared) = &self.prepared else {
            return self.write_words(out, filling, draw);
        };
        let start = out.len();
        out.extend_from_slice(&prepared.bytes);
        for (at, part) in &prepared.patches {
            let Some(place) = out.get_mut(start + at..) else { continue };
            match part {
                Part::Key => self.put_name(place, filling.key, filling),
                Part::Other => self.put_name(place, filling.keys.draw(draw), filling),
                Part::Value => {
                    let len = to_usize(self.sizes.min).min(place.len());
                    self.put_value(&mut place[..len], filling, draw);
                }
                Part::Now => stamps::write(place, filling.now),
                Part::Text(_) | Part::Seq | Part::Connection | Part::Random(_) => {}
            }
        }
    }

    fn write_words(&self, out: &mut Vec<u8>, filling: &Filling<'_>, draw: &mut Draw) {
        array(out, self.template.words.len());
        let mut text = Vec::new();
        for word in &self.template.words {
            text.clear();
            for part in word {
                let end = text.len();
                match part {
                    Part::Text(bytes) => text.extend_from_slice(bytes),
                    Part::Key | Part::Other => {
                        text.resize(end + key_len(self.tagged), 0);
                        let other = matches!(part, Part::Other);
                        let key = if other { filling.keys.draw(draw) } else { filling.key };
                        self.put_name(&mut text[end..], key, filling);
                    }
                    Part::Value => {
                        let Sizes { min, max } = self.sizes;
                        let len = to_usize(min + draw.below(max - min + 1));
                        text.resize(end + len, 0);
                        self.put_value(&mut text[end..], filling, draw);
                    }
                    Part::Seq => text.extend_from_slice(filling.number.to_string().as_bytes()),
                    Part::Connection => {
                        text.extend_from_slice(filling.connection.to_string().as_bytes());
                    }
                    Part::Now => {
                        text.resize(end + stamps::LEN, 0);
                        stamps::write(&mut text[end..], filling.now);
                    }
                    Part::Random(bound) => {
                        text.extend_from_slice(draw.below(*bound).to_string().as_bytes());
                    }
                }
            }
            bulk(out, &text);
        }
    }

    fn put_name(&self, place: &mut [u8], key: u64, filling: &Filling<'_>) {
        if !self.tagged {
            return put_key(place, key);
        }
        if let Some((tag, number)) = place.split_at_mut_checked(TAG_LEN) {
            tag.copy_from_slice(places::tag(filling.connection).as_bytes());
            put_key(number, key);
        }
    }

    fn put_value(&self, place: &mut [u8], filling: &Filling<'_>, draw: &mut Draw) {
        let from = to_usize(draw.next_u64()) % POOL_LEN;
        for chunk in place.chunks_mut(POOL_LEN) {
            chunk.copy_from_slice(&self.pool[from..from + chunk.len()]);
        }
        if filling.stamped && place.len() >= 16 {
            for (index, byte) in place[..16].iter_mut().enumerate() {
                *byte = b"0123456789abcdef"[to_usize(filling.number >> (60 - 4 * index) & 15)];
            }
        }
    }
}

/// The number that a stamped value begins with.
#[must_use]
pub fn stamp(value: &[u8]) -> Option<u64> {
    u64::from_str_radix(std::str::from_utf8(value.get(..16)?).ok()?, 16).ok()
}

/// Appends `*len\r\n`.
pub fn array(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(format!("*{len}\r\n").as_bytes());
}

/// Appends `$len\r\n<bytes>\r\n`.
pub fn bulk(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Words between blanks; quotes hold blanks together.
pub fn split(command: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err(format!("`{command}`: a quote is not closed"));
    }
    words.extend(word);
    Ok(words)
}

fn parts(word: &str) -> Result<Vec<Part>, String> {
    let (mut parts, mut rest) = (Vec::new(), word);
    while let Some(open) = rest.find('{') {
        let Some(len) = rest[open..].find('}') else { break };
        if open > 0 {
            parts.push(Part::Text(rest[..open].into()));
        }
        let name = &rest[open + 1..open + len];
        parts.push(match (name, name.strip_prefix("random:")) {
            ("key", _) => Part::Key,
            ("other", _) => Part::Other,
            ("value", _) => Part::Value,
            ("seq", _) => Part::Seq,
            ("connection", _) => Part::Connection,
            ("now", _) => Part::Now,
            (_, Some(bound)) if bound.parse::<u64>().is_ok_and(|it| it > 0) => {
                Part::Random(bound.parse().unwrap_or(1))
            }
            _ => return Err(format!("{{{name}}} is none of {PLACEHOLDERS}")),
        });
        rest = &rest[open + len + 1..];
    }
    if !rest.is_empty() || parts.is_empty() {
        parts.push(Part::Text(rest.into()));
    }
    Ok(parts)
}

/// The whole request where its length does not vary.
fn prepare(template: &Template, sizes: Sizes, key_len: usize) -> Option<Prepared> {
    let varies = |part: &Part| match part {
        Part::Text(_) | Part::Key | Part::Other | Part::Now => false,
        Part::Value => sizes.min != sizes.max,
        Part::Seq | Part::Connection | Part::Random(_) => true,
    };
    if template.words.iter().flatten().any(varies) {
        return None;
    }
    let (mut bytes, mut patches) = (Vec::new(), Vec::new());
    array(&mut bytes, template.words.len());
    for word in &template.words {
        let (mut text, mut inside) = (Vec::new(), Vec::new());
        for part in word {
            let at = text.len();
            match part {
                Part::Text(literal) => text.extend_from_slice(literal),
                Part::Value => text.resize(at + to_usize(sizes.min), b'x'),
                Part::Now => text.resize(at + stamps::LEN, b'0'),
                _ => text.resize(at + key_len, b'0'),
            }
            if !matches!(part, Part::Text(_)) {
                inside.push((at, part.clone()));
            }
        }
        bulk(&mut bytes, &text);
        let start = bytes.len() - 2 - text.len();
        patches.extend(inside.into_iter().map(|(at, part)| (start + at, part)));
    }
    Some(Prepared { bytes, patches })
}

fn key_len(tagged: bool) -> usize {
    if tagged { TAG_LEN + KEY_DIGITS } else { KEY_DIGITS }
}

/// Twelve digits, two at a time.
fn put_key(place: &mut [u8], key: u64) {
    let Some(place) = place.first_chunk_mut::<KEY_DIGITS>() else { return };
    let mut left = key;
    for pair in place.as_chunks_mut::<2>().0.iter_mut().rev() {
        *pair = PAIRS[to_usize(left % 100)];
        left /= 100;
    }
}

const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[0; 2]; 100];
    let (mut tens, mut ones) = (0u8, 0u8);
    let mut index = 0;
    while index < 100 {
        pairs[index] = [b'0' + tens, b'0' + ones];
        (tens, ones) = if ones == 9 { (tens + 1, 0) } else { (tens, ones + 1) };
        index += 1;
    }
    pairs
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Distribution;

    const SIXTEEN: Sizes = Sizes { min: 16, max: 16 };

    fn encode(command: &str, sizes: Sizes, stamped: bool, prepared: bool) -> String {
        let mut encoder = Encoder::new(Template::parse(command).unwrap(), sizes, false);
        if !prepared {
            encoder.prepared = None;
        }
        let keys = Keys::new(Distribution::Uniform, 1000);
        let filling =
            Filling { key: 42, number: 0xabc, connection: 7, keys: &keys, now: 0xfee, stamped };
        let mut out = Vec::new();
        encoder.write(&mut out, &filling, &mut Draw::new(1, 2));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn commands_become_requests() {
        let check = |command: &str, expected: &str| {
            assert_eq!(encode(command, SIXTEEN, false, true), expected, "{command}");
        };
        check("GET", "*2\r\n$3\r\nGET\r\n$16\r\nkey:000000000042\r\n");
        check("PING", "*1\r\n$4\r\nPING\r\n");
        check("LPUSH 'a list' {seq}", "*3\r\n$5\r\nLPUSH\r\n$6\r\na list\r\n$4\r\n2748\r\n");
        check("ECHO \"\"", "*2\r\n$4\r\nECHO\r\n$0\r\n\r\n");
        check("ECHO {connection}", "*2\r\n$4\r\nECHO\r\n$1\r\n7\r\n");
        check("EVAL 'return {1'", "*2\r\n$4\r\nEVAL\r\n$9\r\nreturn {1\r\n");
    }

    #[test]
    fn prepared_and_assembled_requests_agree() {
        for command in
            ["get", "set", "PUBLISH a {now}", "MSET {key} {value} {other}:{key} {value}", "PING"]
        {
            for stamped in [false, true] {
                let written = encode(command, SIXTEEN, stamped, true);
                let assembled = encode(command, SIXTEEN, stamped, false);
                // An assembled value also draws its size, so only an unvarying one can agree.
                assert_eq!(written.len(), assembled.len());
                if !command.contains("MSET") && (stamped || !command.contains("set")) {
                    assert_eq!(written, assembled);
                }
            }
        }
    }

    #[test]
    fn a_connection_s_keys_carry_its_tag() {
        let keys = Keys::new(Distribution::Uniform, 1000);
        for (command, expected) in [
            ("get", "*2\r\n$3\r\nGET\r\n$25\r\nkey:{0000007}000000000042\r\n"),
            ("DEL {key} {seq}", "*3\r\n$3\r\nDEL\r\n$21\r\n{0000007}000000000042\r\n$1\r\n5\r\n"),
        ] {
            let encoder = Encoder::new(Template::parse(command).unwrap(), SIXTEEN, true);
            let (key, number, connection) = (42, 5, 7);
            let filling = Filling { key, number, connection, keys: &keys, now: 0, stamped: false };
            let mut out = Vec::new();
            encoder.write(&mut out, &filling, &mut Draw::new(1, 2));
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_stamp_is_read_back() {
        let text = encode("set", Sizes { min: 40, max: 40 }, true, true);
        let value = &text[text.len() - 42..text.len() - 2];
        assert_eq!(stamp(value.as_bytes()), Some(0xabc));
        assert_eq!(stamp(b"short"), None);
        assert_eq!(stamp(b"not hexadecimal!"), None);
    }

    #[test]
    fn value_sizes_cover_their_range() {
        let lens: Vec<usize> = (0..200)
            .map(|request| {
                let sizes = Sizes { min: 1, max: 4 };
                let encoder = Encoder::new(Template::parse("ECHO {value}").unwrap(), sizes, false);
                let keys = Keys::Uniform { count: 1 };
                let filling = Filling {
                    key: 0,
                    number: 0,
                    connection: 0,
                    keys: &keys,
                    now: 0,
                    stamped: false,
                };
                let mut out = Vec::new();
                encoder.write(&mut out, &filling, &mut Draw::new(9, request));
                out.len() - "*2\r\n$4\r\nECHO\r\n$n\r\n\r\n".len()
            })
            .collect();
        assert_eq!((1..=4).filter(|len| lens.contains(len)).count(), 4);
        assert!(lens.iter().all(|len| (1..=4).contains(len)));
    }

    #[test]
    fn bad_commands_are_refused() {
        for (command, because) in
            [("", "empty"), ("SET {nope}", "{nope}"), ("A 'b", "quote"), ("A {random:0}", "random")]
        {
            let error = Template::parse(command).unwrap_err();
            assert!(error.contains(because), "{error}");
        }
    }
}
