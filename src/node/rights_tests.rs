//! Random rules and random requests: every decision against one made in the simplest way, from the
//! text of the rules and from what a person knows of a few commands. No request may get through that
//! the rules forbid, and none be refused that they allow.
//!
//! `RINGFOLD_ACL_PAIRS` says how many pairs of rules and a request are tried. Planted bugs must be found: each
//! is what a check with that bug would see.
//!
//! The same against a real server is in `tests/system/access.rs`.

use crate::acl::catalog::Catalog;
use crate::acl::selector::Request;
use crate::acl::user::User;
use crate::base::prng::Prng;
use crate::command::args::Args;
use crate::command::spec::Categories;
use crate::node::families;

/// What a command does with a word: reads it, writes it, both or neither; or it is a channel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Does {
    Touches { reads: bool, writes: bool },
    Hears,
    HearsPattern,
}

const LOOKS: Does = Does::Touches { reads: false, writes: false };
const READS: Does = Does::Touches { reads: true, writes: false };
const WRITES: Does = Does::Touches { reads: false, writes: true };
const BOTH: Does = Does::Touches { reads: true, writes: true };

/// A request, `k` being a random key or channel, and what becomes of each `k` in turn.
#[rustfmt::skip] // One row, one line.
const REQUESTS: &[(&str, &[Does])] = &[
    ("GET k",               &[READS]),
    ("SET k v",             &[WRITES]),
    ("SET k v GET",         &[BOTH]),
    ("MSET k v k v",        &[WRITES, WRITES]),
    ("MGET k k k",          &[READS, READS, READS]),
    ("RENAME k k",          &[BOTH, WRITES]),
    ("COPY k k",            &[READS, WRITES]),
    ("EXISTS k k",          &[LOOKS, LOOKS]),
    ("DEL k",               &[WRITES]),
    ("INCR k",              &[BOTH]),
    ("LCS k k",             &[READS, READS]),
    ("BITOP AND k k k",     &[WRITES, READS, READS]),
    ("SINTERCARD 2 k k",    &[READS, READS]),
    ("XREAD STREAMS k 0",   &[READS]),
    ("LMOVE k k LEFT LEFT", &[BOTH, WRITES]),
    ("EVAL s 2 k k k",      &[BOTH, BOTH]),
    ("EVAL_RO s 1 k",       &[READS]),
    ("FCALL f 2 k k",       &[BOTH, BOTH]),
    ("ZUNIONSTORE k 2 k k", &[WRITES, READS, READS]),
    ("ZINTER 3 k k k",      &[READS, READS, READS]),
    ("LMPOP 2 k k LEFT",    &[BOTH, BOTH]),
    ("BLMPOP 0 2 k k LEFT", &[BOTH, BOTH]),
    ("ZMPOP 2 k k MIN",     &[BOTH, BOTH]),
    ("SINTERSTORE k k k",   &[WRITES, READS, READS]),
    ("SDIFF k k",           &[READS, READS]),
    ("SMOVE k k m",         &[BOTH, WRITES]),
    ("PFMERGE k k k",       &[BOTH, READS, READS]),
    ("ZRANGESTORE k k 0 1", &[WRITES, READS]),
    ("MSETNX k v k v",      &[WRITES, WRITES]),
    ("SORT k",              &[READS]),
    ("SORT k STORE k",      &[READS, WRITES]),
    ("BITFIELD k GET u8 0", &[READS]),
    ("BITFIELD k SET u8 0 1", &[BOTH]),
    ("OBJECT ENCODING k",   &[LOOKS]),
    ("XGROUP CREATE k g 0", &[WRITES]),
    ("XREADGROUP GROUP g c STREAMS k k > >", &[READS, READS]),
    ("TYPE k",              &[LOOKS]),
    ("MIGRATE h 1 _ 0 9 KEYS k k", &[BOTH, BOTH]),
    ("PUBLISH k m",         &[Does::Hears]),
    ("SPUBLISH k m",        &[Does::Hears]),
    ("SSUBSCRIBE k k",      &[Does::Hears, Does::Hears]),
    ("SUBSCRIBE k k",       &[Does::Hears, Does::Hears]),
    ("PSUBSCRIBE k",        &[Does::HearsPattern]),
    ("CONFIG GET x",        &[]),
    ("CONFIG SET x y",      &[]),
    ("CLIENT ID",           &[]),
    ("SELECT 0",            &[]),
    ("SELECT 1",            &[]),
    ("FLUSHALL",            &[]),
    ("PING",                &[]),
    ("HELLO 3",             &[]),
];

const WORDS: &[&str] = &["a", "b", "ab", "ba", "aa", "abc", "a*", "*"];

#[rustfmt::skip]
const RULES: &[&str] = &[
    "+@all", "-@all", "allcommands", "nocommands", "+@read", "-@read", "+@write", "-@write",
    "+@string", "-@string", "+@dangerous", "-@dangerous", "+@admin", "-@admin", "+@keyspace", "-@slow",
    "+@fast", "+@connection", "+@pubsub", "+get", "-get", "+set", "-SET", "+config", "-config",
    "+config|get", "-config|get", "+CONFIG|SET", "+select|0", "-select", "+select", "+rename", "-copy",
    "+exists", "+del", "+mget", "+mset", "+publish", "+subscribe", "+psubscribe", "-ping", "-hello",
    "~*", "allkeys", "resetkeys", "&*", "allchannels", "resetchannels",
];

#[test]
fn no_request_gets_through_that_the_rules_forbid() {
    let pairs = number_of_pairs();
    let allowed = run(pairs, None).unwrap_or_else(|why| panic!("{why}"));
    assert!(allowed > pairs / 20 && allowed < pairs * 19 / 20, "{allowed} of {pairs} say little");
}

/// A bug that the model must notice.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Plant {
    /// The last selector in parentheses is never looked at.
    IgnoredSelector,
    /// `%R~` and `%W~` let both reads and writes through.
    ReadsAreWrites,
    /// The last of the keys that a number announces is not seen.
    MissedKey,
    /// A rule that forbids a command is without effect.
    NothingForbidden,
}

#[test]
fn planted_bugs_are_found() {
    for plant in
        [Plant::IgnoredSelector, Plant::ReadsAreWrites, Plant::MissedKey, Plant::NothingForbidden]
    {
        let found = run(20_000, Some(plant));
        assert!(found.is_err(), "{plant:?} is not found");
    }
}

fn number_of_pairs() -> u64 {
    let pairs = std::env::var("RINGFOLD_ACL_PAIRS").ok().and_then(|it| it.parse().ok());
    pairs.unwrap_or(50_000)
}

/// How many of so many pairs were allowed, or the first on which model and check differ.
fn run(pairs: u64, plant: Option<Plant>) -> Result<u64, String> {
    let table = families::table();
    let catalog = table.catalog();
    let mut allowed = 0;
    for seed in 0..pairs / 25 {
        let mut prng = Prng::new(seed);
        let (user, selectors) = random_user(catalog, &mut prng, plant);
        for _ in 0..25 {
            let (template, does) = REQUESTS[pick(&mut prng, REQUESTS.len())];
            let words: Vec<&str> = template
                .split(' ')
                .map(|word| match word {
                    "k" => WORDS[pick(&mut prng, WORDS.len())],
                    "_" => "",
                    word => word,
                })
                .collect();
            let places = template.split(' ').enumerate().filter(|(_, word)| *word == "k");
            let uses: Vec<(&str, Does)> =
                places.zip(does).map(|((at, _), does)| (words[at], *does)).collect();
            let seen = match plant {
                Some(Plant::MissedKey) => one_key_less(&words),
                _ => words.clone(),
            };
            let bytes: Vec<&[u8]> = seen.iter().map(|word| word.as_bytes()).collect();
            let args = Args::new(&bytes);
            let number = table.find(args).unwrap();
            let ours = user.check(catalog, Request { number, args }).is_ok();
            let name = table.row(number).full_name.as_str();
            let model = selectors
                .iter()
                .any(|rules| allows(catalog, rules, name, words[1..].first(), &uses));
            if ours != model {
                let said = if ours { "allowed" } else { "refused" };
                return Err(format!("seed {seed}: {selectors:?} and {words:?} are {said}"));
            }
            allowed += u64::from(ours);
        }
    }
    Ok(allowed)
}

/// The request as who cannot count its keys sees it.
fn one_key_less<'w>(words: &[&'w str]) -> Vec<&'w str> {
    words.iter().map(|&word| if word == "2" { "1" } else { word }).collect()
}

/// A rule as the check with that bug understands it.
fn understood(rule: &str, plant: Option<Plant>) -> String {
    match (plant, rule.split_once('~')) {
        (Some(Plant::ReadsAreWrites), Some((_, pattern))) => format!("~{pattern}"),
        (Some(Plant::NothingForbidden), None) if rule.starts_with("-") && rule != "-@all" => {
            String::new()
        }
        _ => rule.to_string(),
    }
}

fn pick(prng: &mut Prng, len: usize) -> usize {
    usize::try_from(prng.below(len as u64)).unwrap()
}

/// A user, and the rules of each of its selectors that were accepted.
fn random_user(
    catalog: &Catalog,
    prng: &mut Prng,
    plant: Option<Plant>,
) -> (User, Vec<Vec<String>>) {
    let mut user = User::new(b"u", 1, false);
    let mut own = Vec::new();
    for _ in 0..1 + pick(prng, 10) {
        let rule = random_rule(prng);
        if user.set(catalog, understood(&rule, plant).as_bytes(), false).is_ok() {
            own.push(rule);
        }
    }
    let mut selectors = vec![own];
    for _ in 0..pick(prng, 3) {
        let rules: Vec<String> = (0..1 + pick(prng, 6)).map(|_| random_rule(prng)).collect();
        let told: Vec<String> = rules.iter().map(|rule| understood(rule, plant)).collect();
        let word = format!("({})", told.join(" "));
        if plant == Some(Plant::IgnoredSelector)
            || user.set(catalog, word.as_bytes(), false).is_ok()
        {
            selectors.push(rules);
        }
    }
    (user, selectors)
}

fn random_rule(prng: &mut Prng) -> String {
    let marks = ["~", "%R~", "%W~", "%RW~", "&"];
    let patterns = ["a*", "b*", "?b", "a?", "ab", "*a*", "a"];
    if prng.below(3) == 0 {
        return format!("{}{}", marks[pick(prng, 5)], patterns[pick(prng, patterns.len())]);
    }
    RULES[pick(prng, RULES.len())].to_string()
}

/// Do these rules allow the command, and everything that it touches?
fn allows(
    catalog: &Catalog,
    rules: &[String],
    name: &str,
    first: Option<&&str>,
    uses: &[(&str, Does)],
) -> bool {
    let rules: Vec<String> = rules.iter().map(|rule| rule.to_lowercase()).collect();
    may_run(catalog, &rules, name, first.copied().unwrap_or_default())
        && uses.iter().all(|(word, does)| match does {
            Does::Touches { reads, writes } => may_touch(&rules, word, *reads, *writes),
            Does::Hears => may_hear(&rules, |pattern| like(pattern.as_bytes(), word.as_bytes())),
            Does::HearsPattern => may_hear(&rules, |pattern| pattern == *word),
        })
}

/// The last rule about a command wins.
fn may_run(catalog: &Catalog, rules: &[String], name: &str, first: &str) -> bool {
    if matches!(name, "auth" | "hello" | "quit" | "reset") {
        return true;
    }
    let container = name.split_once('|').map(|(container, _)| container);
    let in_category = |category: &str| {
        let wanted = Categories::named(category.as_bytes()).unwrap();
        [Some(name), container].into_iter().flatten().any(|name| {
            let number = catalog.find(name.as_bytes()).unwrap();
            catalog.get(number).unwrap().spec.categories().has(wanted)
        })
    };
    let (mut runs, mut firsts) = (false, Vec::new());
    for rule in rules {
        let rule = match rule.as_str() {
            "allcommands" => "+@all",
            "nocommands" => "-@all",
            other => other,
        };
        let (sign, target) = match rule.split_at(1) {
            ("+", target) => (true, target),
            ("-", target) => (false, target),
            _ => continue,
        };
        let hit = match target.strip_prefix('@') {
            Some("all") => true,
            Some(category) => in_category(category),
            None => target == name || Some(target) == container,
        };
        if hit {
            runs = sign;
            firsts.clear();
        } else if let Some((command, arg)) = target.split_once('|')
            && command == name
        {
            firsts.push(arg.to_string());
        }
    }
    runs || firsts.iter().any(|arg| arg == first)
}

fn may_touch(rules: &[String], key: &str, reads: bool, writes: bool) -> bool {
    let (mut all, mut patterns) = (false, Vec::<(&str, bool, bool)>::new());
    for rule in rules {
        let (r, w, pattern) = match rule.as_str() {
            "~*" | "allkeys" => {
                (all, patterns) = (true, Vec::new());
                continue;
            }
            "resetkeys" => {
                (all, patterns) = (false, Vec::new());
                continue;
            }
            rule => match rule.split_once('~') {
                Some(("", pattern)) => (true, true, pattern),
                Some((mark, pattern)) => (mark.contains('r'), mark.contains('w'), pattern),
                None => continue,
            },
        };
        match patterns.iter_mut().find(|it| it.0 == pattern) {
            Some(it) => (it.1, it.2) = (it.1 | r, it.2 | w),
            None => patterns.push((pattern, r, w)),
        }
    }
    all || patterns.iter().any(|(pattern, r, w)| {
        (*r || !reads) && (*w || !writes) && like(pattern.as_bytes(), key.as_bytes())
    })
}

fn may_hear(rules: &[String], fits: impl Fn(&str) -> bool) -> bool {
    let (mut all, mut patterns) = (false, Vec::new());
    for rule in rules {
        match rule.as_str() {
            "&*" | "allchannels" => (all, patterns) = (true, Vec::new()),
            "resetchannels" => (all, patterns) = (false, Vec::new()),
            rule => patterns.extend(rule.strip_prefix('&')),
        }
    }
    all || patterns.into_iter().any(fits)
}

/// A glob, by trying everything.
fn like(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern, text) {
        ([], []) => true,
        ([b'*', rest @ ..], _) => (0..=text.len()).any(|at| like(rest, &text[at..])),
        ([b'?', rest @ ..], [_, text @ ..]) => like(rest, text),
        ([byte, rest @ ..], [first, text @ ..]) => byte == first && like(rest, text),
        _ => false,
    }
}
