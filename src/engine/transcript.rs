//! Test support: runs a transcript of a real server against one shard alone and compares replies and
//! effects, to the byte.
//!
//! The format stands at the top of each file in `tests/golden/`. The clock is the transcript's own: it
//! moves only where a line says so.

use crate::base::num::parse_i64;
use crate::base::prng::Prng;
use crate::base::time::Wall;
use crate::command::args::Args;
use crate::command::lookup::resolve;
use crate::command::spec::Command;
use crate::engine::effect::{Effect, Part};
use crate::engine::keyspace::{ExpiryMode, Keyspace};
use crate::engine::shard::{Cx, ShardFn, execute};
use crate::engine::{
    bits, generic, geo, hashes, hyperloglog, lists, sets, sort, sorted_sets, streams, strings,
};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply};

const START_MS: u64 = 1_800_000_000_000;

/// One shard with a clock of its own.
pub struct Shard {
    keyspace: Keyspace,
    effect: Effect,
    prng: Prng,
    now_ms: u64,
    proto: Proto,
    /// Rows of a layer above.
    more: &'static [Command<ShardFn>],
}

impl Default for Shard {
    fn default() -> Self {
        let mut effect = Effect::default();
        effect.listen(true);
        let keyspace = Keyspace::new(16, [1, 2, 3, 4]);
        Self {
            keyspace,
            effect,
            prng: Prng::new(1),
            now_ms: START_MS,
            proto: Proto::Resp2,
            more: &[],
        }
    }
}

impl Shard {
    /// Its client has said HELLO 3.
    pub fn resp3() -> Self {
        Self { proto: Proto::Resp3, ..Self::default() }
    }

    /// From now on requests come from a master.
    pub fn apply_stream(&mut self) {
        self.keyspace.set_expiry_mode(ExpiryMode::Ignore);
    }

    /// Time goes on.
    pub fn pass(&mut self, seconds: u64) {
        self.now_ms += seconds * 1_000;
    }

    /// The reply's bytes; the effect stays readable until the next request.
    pub fn request(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let args = Args::new(words);
        let mut out = Vec::new();
        self.effect.clear();
        let mut cx = Cx {
            keyspace: &mut self.keyspace,
            db: 0,
            now: Wall(self.now_ms * 1_000),
            reply: Reply { out: &mut out, proto: self.proto },
            effect: &mut self.effect,
            prng: &mut self.prng,
        };
        let result = match find(args, self.more) {
            Ok(command) => execute(command, &mut cx, args),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            assert!(out.is_empty(), "an error after a reply: {}", words[0].escape_ascii());
            error.write_to(&mut out);
        }
        out
    }

    /// What a replica would get, as words.
    pub fn effects(&self, words: &[&[u8]]) -> Vec<Vec<Vec<u8>>> {
        let owned = |words: &[&[u8]]| words.iter().map(|it| it.to_vec()).collect::<Vec<_>>();
        self.effect
            .parts()
            .map(|part| match part {
                Part::Request => owned(words),
                Part::Command { resp, .. } => {
                    let line = |bytes: &[u8]| bytes.windows(2).position(|it| it == b"\r\n");
                    let mut rest = &resp[line(resp).unwrap() + 2..];
                    let mut words = Vec::new();
                    while let Some(end) = line(rest) {
                        let len = usize::try_from(parse_i64(&rest[1..end]).unwrap()).unwrap();
                        words.push(rest[end + 2..end + 2 + len].to_vec());
                        rest = &rest[end + 2 + len + 2..];
                    }
                    words
                }
            })
            .collect()
    }
}

/// The row that runs a request, as the node finds it.
fn find(
    args: Args<'_>,
    more: &'static [Command<ShardFn>],
) -> Result<&'static Command<ShardFn>, ErrorKind> {
    let families = [
        strings::COMMANDS,
        lists::COMMANDS,
        hashes::COMMANDS,
        sets::COMMANDS,
        sorted_sets::COMMANDS,
        geo::COMMANDS,
        streams::COMMANDS,
        bits::COMMANDS,
        hyperloglog::COMMANDS,
        generic::COMMANDS,
        generic::MEMORY,
        sort::COMMANDS,
        more,
    ];
    let mut rows = families.into_iter().flatten();
    resolve(rows.find(|row| args.is(0, row.name)).unwrap(), args)
}

/// Every line of a transcript.
#[track_caller]
pub fn check(transcript: &str) {
    check_with(&[], transcript);
}

/// With rows of a layer above.
#[track_caller]
pub fn check_with(more: &'static [Command<ShardFn>], transcript: &str) {
    let mut shard = Shard { more, ..Shard::default() };
    let mut differences = Vec::new();
    for line in transcript.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(ms) = line.strip_prefix('~') {
            shard.now_ms += ms.parse::<u64>().unwrap();
            continue;
        }
        let request = line.split(" => ").next().unwrap();
        let whole_seconds = request.split(' ').any(|it| it.starts_with('@') && it.ends_with('s'));
        let words = words(request, shard.now_ms);
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let reply = shard.request(&words);
        let reply = relative_reply(&words, &reply, shard.now_ms);
        let effects: Vec<String> = shard
            .effects(&words)
            .iter()
            .map(|command| {
                let words = command.iter().map(|word| relative(word, shard.now_ms, whole_seconds));
                words.collect::<Vec<_>>().join(" ")
            })
            .collect();
        let got = format!("{request} => {reply} => {}", effects.join(" ; "));
        if got.trim_end() != line {
            differences.push(format!("expected {line}\n     got {got}"));
        }
    }
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

/// The requests of a transcript in which no time passes, and how their replies are spelled.
pub fn requests(transcript: &str) -> impl Iterator<Item = (Vec<Vec<u8>>, &str)> {
    let lines = transcript.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let mut parts = line.split(" => ");
        let request = parts.next().unwrap();
        (words(request, START_MS), parts.next().unwrap().trim_end_matches(" =>"))
    })
}

/// The words of a request, with `@1000` and `@10s` as times after `now_ms`.
fn words(request: &str, now_ms: u64) -> Vec<Vec<u8>> {
    let (mut words, mut quoted) = (vec![Vec::new()], false);
    for byte in request.bytes() {
        match byte {
            b'"' => quoted = !quoted,
            b' ' if !quoted => words.push(Vec::new()),
            byte => words.last_mut().unwrap().push(byte),
        }
    }
    for word in &mut words {
        *word = unescaped(word);
        let Some(time) = word.strip_prefix(b"@") else { continue };
        let number = |digits: &[u8]| parse_i64(digits).unwrap();
        let time = match time.strip_suffix(b"s") {
            Some(seconds) => (now_ms / 1_000).checked_add_signed(number(seconds)).unwrap(),
            None => now_ms.checked_add_signed(number(time)).unwrap(),
        };
        *word = time.to_string().into_bytes();
    }
    words
}

/// `\x00` to `\xff` as the byte.
fn unescaped(word: &[u8]) -> Vec<u8> {
    let mut parts = word.split(|&byte| byte == b'\\');
    let mut bytes = parts.next().unwrap().to_vec();
    for part in parts {
        let (hex, rest) = part[1..].split_at(2);
        bytes.push(u8::from_str_radix(str::from_utf8(hex).unwrap(), 16).unwrap());
        bytes.extend(rest);
    }
    bytes
}

/// A reply as transcripts spell it.
pub fn spelled(reply: &[u8]) -> String {
    escaped(reply).replace("\\x0d\\x0a", "|")
}

/// The other way round, for every byte that is not to be seen.
fn escaped(bytes: &[u8]) -> String {
    let shown = |&byte: &u8| match byte {
        b' '..=b'~' if byte != b'\\' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(shown).collect()
}

/// A word of an effect as transcripts spell it.
fn relative(word: &[u8], now_ms: u64, whole_seconds: bool) -> String {
    let text = escaped(word);
    let own_id = format!("{now_ms}-");
    if let Some(seq) = text.strip_prefix(&own_id) {
        return format!("@0-{seq}");
    }
    match text.parse::<u64>() {
        Ok(time) if text.len() == 13 && text.starts_with('1') => {
            let ms = time.cast_signed() - now_ms.cast_signed();
            let seconds = || (ms + 999).div_euclid(1_000) * 1_000;
            format!("@{}", if whole_seconds { seconds() } else { ms })
        }
        _ if text.is_empty() || text.contains([' ', '"', ';']) => format!("\"{text}\""),
        _ => text,
    }
}

fn relative_reply(words: &[&[u8]], reply: &[u8], now_ms: u64) -> String {
    let text = spelled(reply);
    let number = text.trim_matches([':', '|']).parse::<u64>();
    let id = text.strip_suffix('|').and_then(|it| it.split_once('|')).map(|it| it.1);
    if let Some(seq) = id.and_then(|id| id.strip_prefix(&format!("{now_ms}-"))) {
        return format!("$ID|@0-{seq}|");
    }
    match (words[0], number) {
        (b"PEXPIRETIME", Ok(ms)) if ms > now_ms && ms < 2 * now_ms => format!(":@{}|", ms - now_ms),
        (b"EXPIRETIME", Ok(s)) if s > now_ms / 1_000 && s < now_ms / 500 => {
            format!(":@{}s|", (s * 1_000 - now_ms + 500) / 1_000)
        }
        _ => text,
    }
}
