//! SORT and SORT_RO: the elements of a list, a set or a sorted set in order, or what keys hold that they name.
//!
//! ```text
//!   BY w_*        an element's weight is the string at key w_<element>
//!   GET h_*->f    what is told of it is the field f of the hash at h_<element>; GET #: itself
//!   BY nosort     no order but that of the list or the sorted set itself
//! ```
//!
//! Keys that follow from a pattern may be out of reach: then the command is refused before it did
//! anything, and is run again when they are here (`reach.rs`).
//!
//! What STORE keeps goes to replicas element by element, not as the request: who sorts by weights that
//! are equal has no one order, and each replica would choose its own.
//!
//! A set has no order of its own: `BY nosort` sorts it by bytes, as Redis does where the order must be the
//! same everywhere.

use crate::base::num::{parse_f64, parse_i64};
use crate::command::args::Args;
use crate::command::arguments::{Argument, KEY, Kind as ArgumentKind};
use crate::command::spec::Arity::AtLeast;
use crate::command::spec::{
    Categories, Command, Flags, Group, Hop, KeyFlags, KeySpec, Spec, Unknown,
};
use crate::engine::keyspace::Expiry;
use crate::engine::lists;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, ShardFn};
use crate::resp::error::ErrorKind;
use crate::types::fields::Fields;
use crate::types::members::Members;
use crate::types::record::Kind;
use crate::types::scores::Scores;
use std::cmp::Ordering;
use std::ops::Range;

const RO: KeyFlags = KeyFlags::RO.and(KeyFlags::ACCESS);
const CATEGORIES: Categories =
    Categories::SET.and(Categories::SORTEDSET).and(Categories::LIST).and(Categories::DANGEROUS);
const BY: Argument =
    Argument::new(ArgumentKind::Pattern, "pattern").token("BY").key_spec(1).optional();
const LIMIT: Argument =
    Argument::block("offset_count", &[Argument::integer("offset"), Argument::integer("count")])
        .token("LIMIT")
        .optional();
const GET: Argument = Argument::new(ArgumentKind::Pattern, "pattern")
    .token("GET")
    .key_spec(1)
    .optional()
    .multiple_token();
const ORDER: Argument =
    Argument::one_of("order", &[Argument::word("asc", "ASC"), Argument::word("desc", "DESC")])
        .optional();
const ALPHA: Argument = Argument::word("sorting", "ALPHA").optional();

#[rustfmt::skip] // The first line of a row is what decides, the next ones document.
pub const COMMANDS: &[Command<ShardFn>] = &[
    Command::new(Spec::new("SORT", AtLeast(2), Flags::WRITE.and(Flags::DENYOOM).and(Flags::MOVABLEKEYS), &[
        KeySpec::at(1, RO),
        KeySpec::unknown(Unknown::Followed, RO),
        KeySpec::unknown(Unknown::SortStore, KeyFlags::OW.and(KeyFlags::UPDATE)),
    ])
        .about(Group::Generic, "1.0.0", "O(N+M*log(M))", "Elements in order, or what keys hold that they name; keeps that if asked to")
        .acl(CATEGORIES)
        .takes(&[KEY, BY, LIMIT, GET, ORDER, ALPHA, Argument::key("destination", 2).token("STORE").optional()])
        .hop(Hop::Exclusive), sort),
    Command::new(Spec::new("SORT_RO", AtLeast(2), Flags::READONLY.and(Flags::MOVABLEKEYS), &[
        KeySpec::at(1, RO),
        KeySpec::unknown(Unknown::Followed, RO),
    ])
        .about(Group::Generic, "7.0.0", "O(N+M*log(M))", "Elements in order, or what keys hold that they name")
        .acl(CATEGORIES)
        .takes(&[KEY, BY, LIMIT, GET, ORDER, ALPHA])
        .hop(Hop::Exclusive), sort_ro),
];

/// Elements in one command of the effect.
const PUSHED_AT_ONCE: usize = 1_000;

/// `SORT key [BY pattern] [LIMIT offset count] [GET pattern ..] [ASC | DESC] [ALPHA] [STORE destination]`
fn sort(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, true)
}

/// `SORT_RO key [BY pattern] [LIMIT offset count] [GET pattern ..] [ASC | DESC] [ALPHA]`
fn sort_ro(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, false)
}

/// Does the request look at keys that follow from what others hold?
#[must_use]
pub fn follows_keys(args: Args<'_>) -> bool {
    Options::parse(args, true).is_ok_and(|options| {
        options.by.is_some() || options.get.iter().any(|get| Pattern::of(get).is_some())
    })
}

fn run(cx: &mut Cx<'_>, args: Args<'_>, may_store: bool) -> Result<(), ErrorKind> {
    let options = Options::parse(args, may_store)?;
    cx.keyspace.reach.take_lacking();
    let elements = elements(cx, args.key(), &options)?;
    let window = options.window(elements.len());
    let whole = window.len() == elements.len();
    let sorted = sorted(cx, elements, &options, whole)?;
    let told = told(cx, &sorted[window], &options)?;
    match options.store {
        Some(destination) => store(cx, destination, &told),
        None => {
            cx.reply.array(told.len());
            for it in &told {
                match it {
                    Some(text) => cx.reply.bulk(text),
                    None => cx.reply.null(),
                }
            }
            Ok(())
        }
    }
}

/// All elements, in the order that the value itself has.
fn elements(cx: &mut Cx<'_>, key: &[u8], options: &Options<'_>) -> Result<Vec<Vec<u8>>, ErrorKind> {
    let key = cx.key(key);
    let Some(value) = cx.keyspace.get_any(cx.db, key, cx.now) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    match value.kind() {
        Kind::List => lists::each(value, &mut |text| all.push(text.to_vec())),
        Kind::Set => {
            Members::of(value).all(&mut |member| {
                all.push(member.to_vec());
                true
            });
        }
        Kind::ZSet => {
            let scores = Scores::of(value);
            scores.walk(0..scores.len(), false, &mut |member, _| {
                all.push(member.text().to_vec());
                true
            });
        }
        _ => return Err(ErrorKind::WrongType),
    }
    match options.order {
        Order::Own if value.kind() == Kind::Set => {
            all.sort_unstable();
            if options.desc {
                all.reverse();
            }
        }
        Order::Own if options.desc => all.reverse(),
        _ => {}
    }
    Ok(all)
}

/// What an element is sorted by.
#[derive(Clone, Debug, PartialEq)]
enum Weight {
    Number(f64),
    /// Its own text, or there is no weight.
    Nothing,
    Text(Vec<u8>),
}

fn sorted(
    cx: &mut Cx<'_>,
    elements: Vec<Vec<u8>>,
    options: &Options<'_>,
    whole: bool,
) -> Result<Vec<Vec<u8>>, ErrorKind> {
    if options.order == Order::Own {
        return Ok(elements);
    }
    let alpha = options.order == Order::Alpha;
    let (mut weighted, mut lacks, mut no_number) = (Vec::new(), None, false);
    for element in elements {
        let found = match &options.by {
            None => Found::There(element.clone()),
            Some(by) => by.look_up(cx, &element),
        };
        let weight = match found {
            Found::OutOfReach(key) => {
                lacks = Some(key);
                Weight::Nothing
            }
            // An element that is its own weight need not be kept twice.
            Found::There(_) if alpha && options.by.is_none() => Weight::Nothing,
            Found::There(text) if alpha => Weight::Text(text),
            Found::There(text) => {
                let number = number(&text);
                no_number |= number.is_none();
                Weight::Number(number.unwrap_or(0.0))
            }
            Found::Not if alpha => Weight::Nothing,
            Found::Not => Weight::Number(0.0),
        };
        weighted.push((weight, element));
    }
    if let Some(key) = lacks {
        if whole {
            // What GET needs is known already, so that it is asked for together.
            for (_, element) in &weighted {
                options.get.iter().filter_map(|get| Pattern::of(get)).for_each(|pattern| {
                    cx.keyspace.reach.has(cx.db, &pattern.key(element));
                });
            }
        }
        return Err(ErrorKind::ScriptForeignKey { key: key.into() });
    }
    if no_number {
        return Err(ErrorKind::SortNotDouble);
    }
    let text: fn(&[u8], &[u8]) -> Ordering =
        if options.store.is_some() { |a, b| a.cmp(b) } else { as_c };
    weighted.sort_by(|one, other| {
        let ordering = match (&one.0, &other.0) {
            (Weight::Number(a), Weight::Number(b)) => {
                a.partial_cmp(b).unwrap_or(Ordering::Equal).then_with(|| one.1.cmp(&other.1))
            }
            (Weight::Text(a), Weight::Text(b)) => text(a, b),
            (Weight::Nothing, Weight::Nothing) if options.by.is_none() => text(&one.1, &other.1),
            (Weight::Nothing, Weight::Nothing) => Ordering::Equal,
            (Weight::Nothing, _) => Ordering::Less,
            (_, Weight::Nothing) => Ordering::Greater,
            (Weight::Number(_), Weight::Text(_)) | (Weight::Text(_), Weight::Number(_)) => {
                Ordering::Equal
            }
        };
        if options.desc { ordering.reverse() } else { ordering }
    });
    Ok(weighted.into_iter().map(|it| it.1).collect())
}

/// As `strcoll` compares in the C locale: up to a NUL.
fn as_c(a: &[u8], b: &[u8]) -> Ordering {
    let text = |bytes: &'_ [u8]| bytes.iter().position(|&it| it == 0).unwrap_or(bytes.len());
    a[..text(a)].cmp(&b[..text(b)])
}

/// As `strtod` reads it up to a NUL, if that is all of it: spaces may lead, nothing at all is 0.
fn number(text: &[u8]) -> Option<f64> {
    let text = text.split(|&byte| byte == 0).next().unwrap_or(text);
    if text.is_empty() {
        return Some(0.0);
    }
    let start = text.iter().position(|byte| !matches!(byte, b' ' | b'\t'..=b'\r'))?;
    parse_f64(&text[start..])
}

/// What is told of the elements.
fn told(
    cx: &mut Cx<'_>,
    elements: &[Vec<u8>],
    options: &Options<'_>,
) -> Result<Vec<Option<Vec<u8>>>, ErrorKind> {
    if options.get.is_empty() {
        return Ok(elements.iter().map(|it| Some(it.clone())).collect());
    }
    let (mut told, mut lacks) = (Vec::new(), None);
    let patterns: Vec<_> = options.get.iter().map(|get| (*get == b"#", Pattern::of(get))).collect();
    for element in elements {
        for (itself, pattern) in &patterns {
            let found = match pattern {
                _ if *itself => Found::There(element.clone()),
                Some(pattern) => pattern.look_up(cx, element),
                None => Found::Not,
            };
            told.push(match found {
                Found::There(text) => Some(text),
                Found::Not => None,
                Found::OutOfReach(key) => {
                    lacks = Some(key);
                    None
                }
            });
        }
    }
    match lacks {
        Some(key) => Err(ErrorKind::ScriptForeignKey { key: key.into() }),
        None => Ok(told),
    }
}

/// Keeps what would have been told, as a list; what is missing becomes an empty element.
fn store(cx: &mut Cx<'_>, destination: &[u8], told: &[Option<Vec<u8>>]) -> Result<(), ErrorKind> {
    let key = cx.key(destination);
    let texts: Vec<&[u8]> = told.iter().map(|it| it.as_deref().unwrap_or_default()).collect();
    let existed = cx.keyspace.exists(cx.db, key, cx.now);
    if texts.is_empty() {
        if cx.keyspace.remove(cx.db, key, cx.now) {
            cx.notify(Class::Generic, "del", destination);
        }
    } else {
        let body = lists::body_of(cx, &texts);
        cx.keyspace.put_body(cx.db, key, body, Expiry::None, cx.now)?;
        cx.notify(Class::List, "sortstore", destination);
    }
    if existed {
        cx.effect.command(cx.db, &[b"DEL", destination]);
    }
    for texts in texts.chunks(PUSHED_AT_ONCE) {
        let words = [b"RPUSH", destination].into_iter().chain(texts.iter().copied());
        cx.effect.command(cx.db, &words.collect::<Vec<_>>());
        cx.effect.changed(texts.len() as u64 - 1);
    }
    cx.reply_len(texts.len());
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Numbers,
    Alpha,
    /// BY without a `*`.
    Own,
}

#[derive(Debug)]
struct Options<'a> {
    order: Order,
    desc: bool,
    limit: (i64, i64),
    by: Option<Pattern<'a>>,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Self, ErrorKind> {
        let (mut alpha, mut by) = (false, None);
        let mut options = Self {
            order: Order::Numbers,
            desc: false,
            limit: (0, -1),
            by: None,
            get: Vec::new(),
            store: None,
        };
        let mut at = 2;
        while at < args.len() {
            let more = args.len() - at - 1;
            match () {
                () if args.is(at, "ASC") => options.desc = false,
                () if args.is(at, "DESC") => options.desc = true,
                () if args.is(at, "ALPHA") => alpha = true,
                () if args.is(at, "LIMIT") && more >= 2 => {
                    let number = |word| parse_i64(word).ok_or(ErrorKind::NotAnInteger);
                    options.limit = (number(&args[at + 1])?, number(&args[at + 2])?);
                    at += 2;
                }
                () if may_store && args.is(at, "STORE") && more >= 1 => {
                    at += 1;
                    options.store = args.get(at);
                }
                () if args.is(at, "BY") && more >= 1 => {
                    at += 1;
                    by = args.get(at);
                }
                () if args.is(at, "GET") && more >= 1 => {
                    at += 1;
                    options.get.extend(args.get(at));
                }
                () => return Err(ErrorKind::Syntax),
            }
            at += 1;
        }
        options.by = by.and_then(Pattern::of);
        options.order = match by {
            Some(_) if options.by.is_none() => Order::Own,
            _ if alpha => Order::Alpha,
            _ => Order::Numbers,
        };
        Ok(options)
    }

    /// Which of so many elements are told.
    fn window(&self, len: usize) -> Range<usize> {
        let within = |number: i64| usize::try_from(number).unwrap_or(0).min(len);
        let start = within(self.limit.0);
        let end = match self.limit.1 {
            ..0 => len,
            count => start.saturating_add(within(count)).min(len),
        };
        start..end
    }
}

/// The name of a key with a `*` in it, and of a hash's field behind `->`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pattern<'a> {
    before: &'a [u8],
    after: &'a [u8],
    field: Option<&'a [u8]>,
}

enum Found {
    There(Vec<u8>),
    Not,
    /// Nobody can say here.
    OutOfReach(Vec<u8>),
}

impl<'a> Pattern<'a> {
    /// `None`: there is no `*` in it.
    fn of(word: &'a [u8]) -> Option<Self> {
        let star = word.iter().take_while(|&&it| it != 0).position(|&it| it == b'*')?;
        let (before, after) = (&word[..star], &word[star + 1..]);
        let arrow = after.windows(2).position(|it| it == b"->");
        Some(match arrow.filter(|arrow| arrow + 2 < after.len()) {
            Some(arrow) => {
                Self { before, after: &after[..arrow], field: Some(&after[arrow + 2..]) }
            }
            None => Self { before, after, field: None },
        })
    }

    fn key(&self, element: &[u8]) -> Vec<u8> {
        [self.before, element, self.after].concat()
    }

    fn look_up(&self, cx: &mut Cx<'_>, element: &[u8]) -> Found {
        let name = self.key(element);
        if !cx.keyspace.reach.has(cx.db, &name) {
            return Found::OutOfReach(name);
        }
        let (key, hasher) = (cx.key(&name), cx.keyspace.hasher());
        let Some(value) = cx.keyspace.get_any(cx.db, key, cx.now) else { return Found::Not };
        let text = match self.field {
            None if value.kind() == Kind::String => Some(value.bytes().to_vec()),
            Some(field) if value.kind() == Kind::Hash => {
                let found = Fields::of(value).get(|it| hasher.hash(it), field);
                found.map(|item| item.text().to_vec())
            }
            _ => None,
        };
        text.map_or(Found::Not, Found::There)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::transcript;

    /// Requests and replies as redis-server 7.0.15 gave them; the effects are ours.
    #[test]
    fn replies_are_those_of_redis() {
        transcript::check(include_str!("../../tests/golden/sort-7.0.15.txt"));
    }

    #[test]
    fn patterns() {
        let check = |word: &str, expected: Option<(&str, Option<&str>)>| {
            let pattern = Pattern::of(word.as_bytes());
            let found = pattern.map(|it| (it.key(b"x"), it.field));
            let expected = expected.map(|(key, field)| (key.into(), field.map(str::as_bytes)));
            assert_eq!(found, expected, "{word}");
        };
        check("w_*", Some(("w_x", None)));
        check("*", Some(("x", None)));
        check("h*->f", Some(("hx", Some("f"))));
        check("h*y->f->g", Some(("hxy", Some("f->g"))));
        check("h*->", Some(("hx->", None)));
        check("a->b*", Some(("a->bx", None)));
        check("**", Some(("x*", None)));
        check("nosort", None);
        check("#", None);
        check("a\0*", None);
    }
}
