//! Which words of a request are keys, and which slot a key belongs to.
//!
//! This is the one place that finds keys: routing, `COMMAND GETKEYS`, ACL and the cluster all ask
//! here, so that no two of them can disagree. It follows the key specs of the row and nothing else.
//!
//! Trap: a request comes from outside. Counts and positions in it may be anything; what points past
//! the end of the request is [`BadKeys`], and a count is never trusted with an allocation.

use crate::base::crc::crc16;
use crate::base::limits::SLOTS;
use crate::command::args::Args;
use crate::command::spec::{Begin, Find, Flags, KeyFlags, KeySpec, Spec, Unknown};

/// A key of a request: word number `at`, and what the command does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    pub at: usize,
    pub flags: KeyFlags,
}

/// The request's own numbers contradict it: a count of keys that are not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKeys;

/// The keys of a request, in its order per key spec.
pub fn keys_of<'a>(
    spec: &'a Spec,
    args: Args<'a>,
) -> Result<impl Iterator<Item = KeyRef> + 'a, BadKeys> {
    let mandatory = !spec.flags.has(Flags::NO_MANDATORY_KEYS);
    for keys in spec.keys {
        let none = span(keys, args)?.is_none();
        if none && mandatory && matches!(keys.find, Find::Counted { .. }) {
            return Err(BadKeys); // A count of none.
        }
    }
    Ok(keys_found(spec, args))
}

/// As [`keys_of`], for whoever must find the cores of a request that may be wrong: what is said by a key
/// spec that does not fit is left out, and the command itself tells what is wrong. `PFMERGE dest` has one
/// key, though its second spec finds none and COMMAND GETKEYS refuses it.
pub fn keys_found<'a>(spec: &'a Spec, args: Args<'a>) -> impl Iterator<Item = KeyRef> + 'a {
    spec.keys.iter().flat_map(move |keys| {
        let flags = keys.flags_of.map_or(keys.flags, |of| of(args));
        let span = span(keys, args).ok().flatten();
        let all = span.into_iter().flat_map(Span::positions).map(move |at| KeyRef { at, flags });
        all.filter(move |it| !is_behind_keys(spec, args, it.at))
    })
}

/// MIGRATE may name its keys behind KEYS: then the empty word in their place is none.
fn is_behind_keys(spec: &Spec, args: Args<'_>, at: usize) -> bool {
    at == 3 && args.get(at).is_some_and(<[u8]>::is_empty) && spec.name == "MIGRATE"
}

/// The first key of a request, which is all that a command of one core needs.
#[inline]
#[must_use]
pub fn first_key<'a>(spec: &Spec, args: Args<'a>) -> Option<&'a [u8]> {
    match spec.keys.first() {
        // Nearly every command: no search.
        Some(KeySpec { begin: Begin::Index(at), find: Find::Range { .. }, .. }) => {
            args.get(usize::from(*at))
        }
        Some(_) => spec.keys.iter().find_map(|keys| args.get(span(keys, args).ok()??.first)),
        None => None,
    }
}

/// How many words belong to each key, itself included: 2 for `MSET`. What a split gives to a part.
#[must_use]
pub fn words_per_key(spec: &Spec) -> usize {
    match spec.keys.first().map(|keys| keys.find) {
        Some(Find::Range { step, .. } | Find::Counted { step, .. }) => usize::from(step).max(1),
        None => 1,
    }
}

/// Has every key of a range to the end the words that belong to it? Before a request is split; an
/// arity cannot say it. What is not whole has the wrong number of arguments.
#[must_use]
pub fn is_whole(spec: &Spec, args: Args<'_>) -> bool {
    spec.keys.iter().all(|keys| match (keys.begin, keys.find) {
        (Begin::Index(first), Find::Range { last: ..0, step: 2.., .. }) => {
            let words = args.len().saturating_sub(usize::from(first));
            words.is_multiple_of(words_per_key(spec))
        }
        _ => true,
    })
}

/// Redis' old description of where keys stand: first, last and step; zeros where there are none.
#[must_use]
pub fn legacy_range(spec: &Spec) -> (i64, i64, i64) {
    let ranges = spec.keys.iter().filter_map(|keys| match (keys.begin, keys.find) {
        (Begin::Index(first), Find::Range { last, step, .. }) => {
            let (first, last) = (i64::from(first), i64::from(last));
            Some((first, if last < 0 { last } else { first + last }, i64::from(step)))
        }
        _ => None,
    });
    // Specs that follow each other without a gap are one range: RENAME's two are 1..=2.
    ranges
        .reduce(|all, next| if all.1 + 1 == next.0 { (all.0, next.1, 1) } else { all })
        .unwrap_or_default()
}

/// The slot of a key: of its hash tag, where it has one that is not empty.
#[inline]
#[must_use]
pub fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) % SLOTS
}

/// What stands between the first `{` and the first `}` after it, or the whole key.
fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|&byte| byte == b'{') else { return key };
    let inside = &key[open + 1..];
    match inside.iter().position(|&byte| byte == b'}') {
        None | Some(0) => key,
        Some(close) => &inside[..close],
    }
}

/// Where the keys of one spec stand in one request; `first <= last < args.len()`.
#[derive(Clone, Copy)]
struct Span {
    first: usize,
    last: usize,
    step: usize,
}

impl Span {
    fn positions(self) -> impl Iterator<Item = usize> {
        (self.first..=self.last).step_by(self.step)
    }
}

/// `None`: this spec finds no key here, which is fine (a keyword that is absent, a count of zero).
fn span(keys: &KeySpec, args: Args<'_>) -> Result<Option<Span>, BadKeys> {
    let Some(begin) = begin(keys.begin, args) else { return Ok(None) };
    let (first, last, step) = match keys.find {
        Find::Range { last, step, limit } => {
            let last = match usize::try_from(last) {
                Ok(after) => begin + after,
                Err(_) if limit > 1 => {
                    begin + args.len().saturating_sub(begin) / usize::from(limit) - 1
                }
                Err(_) => args.len().saturating_sub(usize::from(last.unsigned_abs())),
            };
            (begin, last, step)
        }
        Find::Counted { count, first, step } => {
            let word = args.get(begin + usize::from(count)).ok_or(BadKeys)?;
            let first = begin + usize::from(first);
            match number(word).ok_or(BadKeys)? {
                0 => return Ok(None),
                n => (first, first + (n - 1) * usize::from(step), step),
            }
        }
    };
    if last >= args.len() || first > last {
        return Err(BadKeys);
    }
    Ok(Some(Span { first, last, step: usize::from(step).max(1) }))
}

fn begin(begin: Begin, args: Args<'_>) -> Option<usize> {
    match begin {
        Begin::Index(at) => Some(usize::from(at)),
        Begin::Keyword { keyword, from } => {
            let distance = usize::from(from.unsigned_abs());
            let found = if from < 0 {
                (1..=args.len().checked_sub(distance)?).rev().find(|&at| args.is(at, keyword))
            } else {
                (distance..args.len()).find(|&at| args.is(at, keyword))
            };
            found.map(|at| at + 1)
        }
        Begin::Unknown(Unknown::Followed) => None,
        Begin::Unknown(Unknown::SortStore) => sort_store(args),
    }
}

/// The word behind the last STORE of a SORT that is no argument of another option.
fn sort_store(args: Args<'_>) -> Option<usize> {
    let (mut at, mut found) = (2, None);
    while at + 1 < args.len() {
        at += match () {
            () if args.is(at, "LIMIT") => 3,
            () if args.is(at, "BY") || args.is(at, "GET") => 2,
            () if args.is(at, "STORE") => {
                found = Some(at + 1);
                2
            }
            () => 1,
        };
    }
    found
}

/// A count of keys; one of more digits than any request has words is no number.
fn number(word: &[u8]) -> Option<usize> {
    if word.is_empty() || word.len() > 9 || !word.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(word.iter().fold(0, |n, digit| n * 10 + usize::from(digit - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::spec::Arity;

    const RO: KeyFlags = KeyFlags::RO;

    fn check(keys: &'static [KeySpec], request: &str, expected: Option<&[usize]>) {
        let spec = Spec::new("X", Arity::AtLeast(1), Flags::NO_MANDATORY_KEYS, keys);
        let words: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        let args = Args::new(&words);
        let found = keys_of(&spec, args).map(|keys| keys.map(|it| it.at).collect::<Vec<_>>());
        assert_eq!(found.as_deref().ok(), expected, "{request}");
        let first = expected.and_then(|it| it.first()).map(|&at| words[at]);
        if expected.is_some() {
            assert_eq!(first_key(&spec, args), first, "{request}");
        }
    }

    #[test]
    fn keys_are_found_by_position_count_and_keyword() {
        check(const { &[KeySpec::at(1, RO)] }, "get a", Some(&[1]));
        check(const { &[KeySpec::at(1, RO).to(-1, 1)] }, "del a b c", Some(&[1, 2, 3]));
        check(const { &[KeySpec::at(1, RO).to(-1, 2)] }, "mset a 1 b 2", Some(&[1, 3]));
        check(const { &[KeySpec::at(1, RO).to(1, 1)] }, "lcs a b len", Some(&[1, 2]));
        check(const { &[KeySpec::at(1, RO), KeySpec::at(2, RO)] }, "rename a b", Some(&[1, 2]));
        const COUNTED: &[KeySpec] = &[KeySpec::at(2, RO).counted(0, 1, 1)];
        check(COUNTED, "eval x 2 a b c", Some(&[3, 4]));
        check(COUNTED, "eval x 0 a", Some(&[]));
        check(COUNTED, "eval x 4 a", None);
        check(COUNTED, "eval x 99999999999999999999 a", None);
        check(COUNTED, "eval x -1 a", None);
        check(COUNTED, "eval x", None);
        const STREAMS: &[KeySpec] = &[KeySpec::keyword("STREAMS", 1, RO).to(-1, 1).limit(2)];
        check(STREAMS, "xread count 5 streams a b 0 0", Some(&[4, 5]));
        check(STREAMS, "xread count 5", Some(&[]));
        const FROM_END: &[KeySpec] = &[KeySpec::keyword("KEYS", -2, RO).to(-1, 1)];
        check(FROM_END, "migrate h p k keys a b", Some(&[5, 6]));
    }

    #[test]
    fn pairs_are_whole() {
        let pairs = Spec::new(
            "X",
            Arity::AtLeast(3),
            Flags::NONE,
            const { &[KeySpec::at(1, RO).to(-1, 2)] },
        );
        let words: [&[u8]; 5] = [b"mset", b"a", b"1", b"b", b"2"];
        assert_eq!(words_per_key(&pairs), 2);
        assert!(is_whole(&pairs, Args::new(&words)));
        assert!(!is_whole(&pairs, Args::new(&words[..4])));
        let mut keys = pairs;
        keys.keys = const { &[KeySpec::at(1, RO).to(-1, 1)] };
        assert!(words_per_key(&keys) == 1 && is_whole(&keys, Args::new(&words[..4])));
    }

    #[test]
    fn the_old_range_joins_neighbours() {
        let range = |keys| legacy_range(&Spec::new("X", Arity::AtLeast(1), Flags::NONE, keys));
        assert_eq!(range(const { &[] }), (0, 0, 0));
        assert_eq!(range(const { &[KeySpec::at(1, RO).to(-1, 2)] }), (1, -1, 2));
        assert_eq!(range(const { &[KeySpec::at(1, RO), KeySpec::at(2, RO)] }), (1, 2, 1));
        assert_eq!(range(const { &[KeySpec::at(2, RO).counted(0, 1, 1)] }), (0, 0, 0));
    }

    /// The slots are what CLUSTER KEYSLOT of a real server answers.
    #[test]
    fn a_hash_tag_decides_the_slot() {
        for (key, expected) in [
            ("foo", 12182),
            ("{user1000}.following", 3443),
            ("foo{}{bar}", 8363),
            ("foo{{bar}}zap", 4015),
            ("foo{bar}{zap}", 5061),
            ("", 0),
            ("{}", 15257),
        ] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }
}
