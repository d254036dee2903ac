//! What kind of value a setting takes: how it is read, and how `CONFIG GET` prints it.
//!
//! Invariant, tested over the whole table: what a kind prints, it reads back as the same value.
//!
//! The trap: names of choices are taken in either case but printed in lower case, and some values
//! print otherwise than they were written (`relative` as `yes`, `replica` as `slave`), as in Redis.

use super::reason::Reason;
use crate::base::limits::BIND_ADDRESSES_MAX;
use crate::base::settings::value::{
    Cores, parse_bool, parse_cores, parse_int, parse_memory, parse_octal,
};

/// How a setting's words are read and printed.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// `hz`: any number is taken, and brought into 1 to 500.
    Hz,
    Octal {
        max: i64,
    },
    Memory {
        min: u64,
        max: u64,
    },
    /// `maxmemory-clients`: bytes, or a share of `maxmemory`.
    MemoryOrPercent,
    Text(fn(&[u8]) -> Result<(), Reason>),
    /// A text that no log and no error may show.
    Secret,
    Choice(&'static [&'static str]),
    /// `oom-score-adj`, where two names mean the same.
    OomAdjust,
    /// `shutdown-on-sigint` and `-sigterm`: several at once.
    ShutdownOptions,
    Addresses,
    Save,
    Buffers,
    Master,
    Percentiles,
    OomScores,
    KeyspaceEvents,
    Cores,
}

/// A setting's value between its text and its field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Bool(bool),
    Int(i64),
    Memory(u64),
    Text(Vec<u8>),
    Choice(&'static str),
    Words(Vec<Vec<u8>>),
    Save(Vec<SaveRule>),
    Buffers(BufferLimits),
    Master(Option<Master>),
    Cores(Cores),
}

/// Save after `seconds` if at least `changes` keys changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaveRule {
    pub seconds: u64,
    pub changes: u32,
}

/// When a client that does not read its replies is closed: at `hard` bytes at once, at `soft`
/// bytes after `soft_seconds`; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimit {
    pub hard: u64,
    pub soft: u64,
    pub soft_seconds: u32,
}

/// A limit per class of clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BufferLimits {
    pub normal: BufferLimit,
    pub replica: BufferLimit,
    pub pubsub: BufferLimit,
}

/// Whom this server replicates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    pub host: Vec<u8>,
    pub port: u16,
}

const SHUTDOWN_OPTIONS: &[&str] = &["default", "save", "nosave", "now", "force"];
const OOM_ADJUST: &[&str] = &["no", "yes", "relative", "absolute"];
/// In the order in which they are printed; all but the last four together are `A`.
const KEYSPACE_EVENTS: &[u8] = b"g$lshzxetdKEmn";

impl Kind {
    /// The value that `words` say. `current` is what a setting with parts (`client-output-buffer-limit`
    /// names classes) is changed from, and what `save` lines of a file add up on.
    pub fn parse(self, words: &[&[u8]], current: &Value) -> Result<Value, Reason> {
        match self {
            Self::Addresses => addresses(words),
            Self::Save => save_rules(words, current),
            Self::Buffers => buffers(words, current),
            Self::Master => master(words),
            Self::Percentiles => percentiles(words),
            Self::OomScores => oom_scores(words),
            Self::ShutdownOptions => shutdown_options(words),
            _ => match words {
                [word] => self.parse_word(word),
                _ => Err(Reason::WrongArguments),
            },
        }
    }

    /// `CONFIG SET`'s one argument as words: a setting of several words is split at each single
    /// space, so that two in a row make an empty word.
    #[must_use]
    pub fn split(self, argument: &[u8]) -> Vec<&[u8]> {
        let several = matches!(
            self,
            Self::Addresses
                | Self::Save
                | Self::Buffers
                | Self::Master
                | Self::Percentiles
                | Self::OomScores
                | Self::ShutdownOptions
        );
        match (several, argument) {
            (true, []) => Vec::new(),
            (true, _) => argument.split(|&byte| byte == b' ').collect(),
            (false, _) => vec![argument],
        }
    }

    /// As `CONFIG GET` shows it.
    #[must_use]
    pub fn print(self, value: &Value) -> Vec<u8> {
        match value {
            Value::Bool(true) => b"yes".to_vec(),
            Value::Bool(false) => b"no".to_vec(),
            Value::Int(int) if matches!(self, Self::Octal { .. }) => format!("{int:o}").into(),
            Value::Int(int) => int.to_string().into(),
            Value::Memory(bytes) => bytes.to_string().into(),
            // Redis does not show `n` beside `A`, but means it.
            Value::Text(text) if matches!(self, Self::KeyspaceEvents) && text.contains(&b'A') => {
                text.iter().copied().filter(|letter| *letter != b'n').collect()
            }
            Value::Text(text) => text.clone(),
            Value::Choice(name) => name.as_bytes().to_vec(),
            Value::Words(words) => words.join(&b' '),
            Value::Save(rules) => rules
                .iter()
                .map(|rule| format!("{} {}", rule.seconds, rule.changes))
                .collect::<Vec<_>>()
                .join(" ")
                .into(),
            Value::Buffers(limits) => {
                [("normal", limits.normal), ("slave", limits.replica), ("pubsub", limits.pubsub)]
                    .map(|(class, it)| {
                        format!("{class} {} {} {}", it.hard, it.soft, it.soft_seconds)
                    })
                    .join(" ")
                    .into()
            }
            Value::Master(None) => Vec::new(),
            Value::Master(Some(master)) => {
                let mut text = master.host.clone();
                text.extend(format!(" {}", master.port).into_bytes());
                text
            }
            Value::Cores(cores) => cores.to_string().into(),
        }
    }

    fn parse_word(self, word: &[u8]) -> Result<Value, Reason> {
        match self {
            Self::Bool => parse_bool(word).map(Value::Bool).ok_or(Reason::NotABool),
            Self::Int { min, max } => {
                let int = parse_int(word).ok_or(Reason::NotAnInteger)?;
                let fits = (min..=max).contains(&int);
                fits.then_some(Value::Int(int)).ok_or(Reason::OutOfRange { min, max })
            }
            Self::Hz => {
                let max = i64::from(i32::MAX);
                let hz = parse_int(word).ok_or(Reason::NotAnInteger)?;
                let fits = (0..=max).contains(&hz);
                let value = Value::Int(hz.clamp(1, 500));
                fits.then_some(value).ok_or(Reason::OutOfRange { min: 0, max })
            }
            Self::Octal { max } => {
                let int = parse_octal(word).ok_or(Reason::NotOctal)?;
                (int <= max).then_some(Value::Int(int)).ok_or(Reason::OctalOutOfRange { max })
            }
            Self::Memory { min, max } => {
                let bytes = parse_memory(word).ok_or(Reason::NotMemory)?;
                let bound = |limit: u64| i64::try_from(limit).unwrap_or(i64::MAX);
                let range = Reason::OutOfRange { min: bound(min), max: bound(max) };
                (min..=max).contains(&bytes).then_some(Value::Memory(bytes)).ok_or(range)
            }
            Self::MemoryOrPercent => memory_or_percent(word),
            Self::Text(check) => {
                no_control_bytes(word)?;
                check(word)?;
                Ok(Value::Text(word.to_vec()))
            }
            Self::Secret => {
                no_control_bytes(word)?;
                Ok(Value::Text(word.to_vec()))
            }
            Self::Choice(names) => choice(word, names).map(Value::Choice),
            Self::OomAdjust => {
                let name = choice(word, OOM_ADJUST)?;
                Ok(Value::Choice(if name == "relative" { "yes" } else { name }))
            }
            Self::KeyspaceEvents => keyspace_events(word),
            Self::Cores => parse_cores(word).map(Value::Cores).ok_or(Reason::Cores),
            // The kinds of several words: `parse` has read those.
            Self::Addresses
            | Self::Save
            | Self::Buffers
            | Self::Master
            | Self::Percentiles
            | Self::OomScores
            | Self::ShutdownOptions => Err(Reason::WrongArguments),
        }
    }
}

/// A value with a line end in it could forge lines of a rewritten file.
fn no_control_bytes(word: &[u8]) -> Result<(), Reason> {
    let bad = word.iter().any(|byte| matches!(byte, b'\r' | b'\n' | 0));
    if bad { Err(Reason::ControlByte) } else { Ok(()) }
}

fn choice(word: &[u8], names: &'static [&'static str]) -> Result<&'static str, Reason> {
    let found = names.iter().find(|name| name.as_bytes().eq_ignore_ascii_case(word));
    found.copied().ok_or(Reason::NotOneOf(names))
}

fn memory_or_percent(word: &[u8]) -> Result<Value, Reason> {
    let text = match word {
        [digits @ .., b'%'] => {
            let percent = parse_int(digits).filter(|it| *it >= 0);
            let percent = percent.ok_or(Reason::NotMemoryOrPercent)?;
            if percent > 100 {
                return Err(Reason::PercentTooLarge);
            }
            format!("{percent}%")
        }
        _ => parse_memory(word).ok_or(Reason::NotMemoryOrPercent)?.to_string(),
    };
    Ok(Value::Text(text.into()))
}

fn addresses(words: &[&[u8]]) -> Result<Value, Reason> {
    let words = if words == [b"".as_slice()] { &[] } else { words };
    if words.len() > BIND_ADDRESSES_MAX {
        return Err(Reason::TooManyAddresses);
    }
    words.iter().try_for_each(|word| no_control_bytes(word))?;
    Ok(Value::Words(words.iter().map(|word| word.to_vec()).collect()))
}

/// Adds to the rules in `current`; no words, or one empty one, mean no rules at all.
fn save_rules(words: &[&[u8]], current: &Value) -> Result<Value, Reason> {
    if words.is_empty() || words == [b"".as_slice()] {
        return Ok(Value::Save(Vec::new()));
    }
    let mut rules = match current {
        Value::Save(rules) => rules.clone(),
        _ => Vec::new(),
    };
    let (pairs, []) = words.as_chunks::<2>() else { return Err(Reason::SaveRules) };
    for [seconds, changes] in pairs {
        let seconds =
            parse_int(seconds).filter(|it| *it >= 1).and_then(|it| u64::try_from(it).ok());
        let changes = parse_int(changes).and_then(|it| u32::try_from(it).ok());
        let (Some(seconds), Some(changes)) = (seconds, changes) else {
            return Err(Reason::SaveRules);
        };
        rules.push(SaveRule { seconds, changes });
    }
    Ok(Value::Save(rules))
}

fn buffers(words: &[&[u8]], current: &Value) -> Result<Value, Reason> {
    let mut limits = match current {
        Value::Buffers(limits) => *limits,
        _ => BufferLimits::default(),
    };
    let (groups, []) = words.as_chunks::<4>() else { return Err(Reason::BufferArguments) };
    for [class, hard, soft, seconds] in groups {
        let limit = match class.to_ascii_lowercase().as_slice() {
            b"normal" => &mut limits.normal,
            b"slave" | b"replica" => &mut limits.replica,
            b"pubsub" => &mut limits.pubsub,
            _ => return Err(Reason::BufferClass),
        };
        let seconds = parse_int(seconds).and_then(|it| u32::try_from(it).ok());
        let (Some(hard), Some(soft), Some(soft_seconds)) =
            (parse_memory(hard), parse_memory(soft), seconds)
        else {
            return Err(Reason::BufferLimits);
        };
        *limit = BufferLimit { hard, soft, soft_seconds };
    }
    Ok(Value::Buffers(limits))
}

/// `host port`, or `no one`. No words are what an empty `CONFIG GET` prints.
fn master(words: &[&[u8]]) -> Result<Value, Reason> {
    match words {
        [] => Ok(Value::Master(None)),
        [no, one] if no.eq_ignore_ascii_case(b"no") && one.eq_ignore_ascii_case(b"one") => {
            Ok(Value::Master(None))
        }
        [host, port] => {
            no_control_bytes(host)?;
            let port = parse_int(port).and_then(|port| u16::try_from(port).ok());
            let port = port.ok_or(Reason::MasterPort)?;
            Ok(Value::Master(Some(Master { host: host.to_vec(), port })))
        }
        _ => Err(Reason::WrongArguments),
    }
}

fn percentiles(words: &[&[u8]]) -> Result<Value, Reason> {
    let words = if words == [b"".as_slice()] { &[] } else { words };
    let mut printed = Vec::new();
    for word in words {
        let number = str::from_utf8(word).ok().and_then(|it| it.parse::<f64>().ok());
        let number = number.filter(|it| it.is_finite()).ok_or(Reason::Percentile)?;
        if !(0.0..=100.0).contains(&number) {
            return Err(Reason::PercentileRange);
        }
        let text = format!("{number:.6}");
        printed.push(text.trim_end_matches('0').trim_end_matches('.').to_string());
    }
    Ok(Value::Text(printed.join(" ").into()))
}

fn oom_scores(words: &[&[u8]]) -> Result<Value, Reason> {
    if words.len() != 3 {
        return Err(Reason::WrongArguments);
    }
    let scores: Option<Vec<i64>> = words.iter().map(|word| parse_int(word)).collect();
    let scores = scores.ok_or(Reason::OomScores)?;
    if scores.iter().any(|score| !(-2_000..=2_000).contains(score)) {
        return Err(Reason::OomScores);
    }
    Ok(Value::Text(scores.iter().map(i64::to_string).collect::<Vec<_>>().join(" ").into()))
}

fn shutdown_options(words: &[&[u8]]) -> Result<Value, Reason> {
    if words.is_empty() {
        return Err(Reason::NotOneOf(SHUTDOWN_OPTIONS));
    }
    let mut given = Vec::new();
    for word in words {
        given.push(choice(word, SHUTDOWN_OPTIONS)?);
    }
    if given.contains(&"save") && given.contains(&"nosave") {
        return Err(Reason::SaveAndNoSave);
    }
    let names = SHUTDOWN_OPTIONS.iter().skip(1).filter(|name| given.contains(*name));
    let names: Vec<&str> = names.copied().collect();
    let text = if names.is_empty() { "default".to_string() } else { names.join(" ") };
    Ok(Value::Text(text.into()))
}

/// The classes in Redis' order, all of `A` as `A`.
fn keyspace_events(word: &[u8]) -> Result<Value, Reason> {
    let (in_a, beside) = KEYSPACE_EVENTS.split_at(10);
    if word.iter().any(|byte| *byte != b'A' && !KEYSPACE_EVENTS.contains(byte)) {
        return Err(Reason::KeyspaceEvents);
    }
    let all = word.contains(&b'A') || in_a.iter().all(|class| word.contains(class));
    let mut printed = Vec::new();
    if all {
        printed.push(b'A');
    } else {
        printed.extend(in_a.iter().filter(|class| word.contains(class)));
    }
    printed.extend(word.contains(&b'n').then_some(b'n'));
    printed.extend(beside.iter().filter(|class| **class != b'n' && word.contains(class)));
    Ok(Value::Text(printed))
}
