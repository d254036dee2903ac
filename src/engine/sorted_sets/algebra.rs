//! What takes several sorted sets, or sets, whose members all have the score 1: unions, intersections and
//! differences, replied or kept.
//!
//! The sets are taken out of the keyspace first, which costs a reference for a large one and a copy for a
//! packed one. Unions and intersections go from the smallest set to the largest, as Redis does: a sum of
//! doubles depends on its order.

use super::{reply_header, reply_member};
use crate::base::map::HashMap;
use crate::base::num::{self, parse_i64};
use crate::command::args::Args;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::types::members::Members;
use crate::types::record::{Encoding, Kind};
use crate::types::scores::{self, Scores};
use crate::types::store::{Hasher, Value, ValueRef};

/// A member and its score.
type Pair = (Vec<u8>, f64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Intersection,
    Difference,
}

/// What becomes of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Reply,
    Keep,
    Count,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// A set taken along; of a key that is not there, an empty one.
struct Source {
    taken: Option<(Value<'static>, Encoding)>,
    weight: f64,
}

/// What follows the keys.
struct Options {
    aggregate: Aggregate,
    with_scores: bool,
    /// 0: none.
    limit: usize,
}

/// `ZUNION numkeys key [key ...] [WEIGHTS weight ..] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`
pub fn zunion(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, "ZUNION", Operation::Union, Use::Reply)
}

/// `ZINTER numkeys key [key ...] [WEIGHTS weight ..] [AGGREGATE SUM | MIN | MAX] [WITHSCORES]`
pub fn zinter(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, "ZINTER", Operation::Intersection, Use::Reply)
}

/// `ZDIFF numkeys key [key ...] [WITHSCORES]`
pub fn zdiff(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, "ZDIFF", Operation::Difference, Use::Reply)
}

/// `ZUNIONSTORE destination numkeys key [key ...] [WEIGHTS weight ..] [AGGREGATE SUM | MIN | MAX]`
pub fn zunionstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, "ZUNIONSTORE", Operation::Union, Use::Keep)
}

/// `ZINTERSTORE destination numkeys key [key ...] [WEIGHTS weight ..] [AGGREGATE SUM | MIN | MAX]`
pub fn zinterstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, "ZINTERSTORE", Operation::Intersection, Use::Keep)
}

/// `ZDIFFSTORE destination numkeys key [key ...]`
pub fn zdiffstore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, "ZDIFFSTORE", Operation::Difference, Use::Keep)
}

/// `ZINTERCARD numkeys key [key ...] [LIMIT limit]`
pub fn zintercard(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    run(cx, args, "ZINTERCARD", Operation::Intersection, Use::Count)
}

fn run(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    command: &'static str,
    operation: Operation,
    used: Use,
) -> Result<(), ErrorKind> {
    let at = if used == Use::Keep { 2 } else { 1 };
    let keys = integer(&args[at])?;
    if keys < 1 {
        return Err(ErrorKind::NoInputKeys { command });
    }
    let keys = usize::try_from(keys).ok().filter(|&keys| keys < args.len() - at);
    let keys = keys.ok_or(ErrorKind::Syntax)?;
    let mut sources = take(cx, args.from(at + 1).take(keys))?;
    let options = Options::parse(args, at + 1 + keys, &mut sources, operation, used)?;
    if operation != Operation::Difference {
        sources.sort_by_key(Source::len);
    }
    let hasher = cx.keyspace.hasher();
    if used == Use::Count {
        let mut count = 0;
        intersection(&sources, &hasher, options.aggregate, &mut |_, _| {
            count += 1;
            count != options.limit
        });
        cx.reply_len(count);
        return Ok(());
    }
    let mut pairs = match operation {
        Operation::Union => union(&sources, options.aggregate),
        Operation::Intersection => {
            let mut pairs = Vec::new();
            intersection(&sources, &hasher, options.aggregate, &mut |member, score| {
                pairs.push((member.to_vec(), score));
                true
            });
            pairs
        }
        Operation::Difference => difference(&sources, &hasher),
    };
    if used == Use::Keep {
        let len = pairs.len();
        let body = scores::of_pairs(pairs, &cx.keyspace.packing(), &hasher);
        let event = match operation {
            Operation::Union => "zunionstore",
            Operation::Intersection => "zinterstore",
            Operation::Difference => "zdiffstore",
        };
        cx.keep(args.key(), body, (Class::SortedSet, event))?;
        cx.reply_len(len);
        return Ok(());
    }
    scores::sort(&mut pairs);
    reply_header(&mut cx.reply, pairs.len(), options.with_scores);
    for (member, score) in &pairs {
        reply_member(&mut cx.reply, member, options.with_scores.then_some(*score));
    }
    Ok(())
}

/// What is under these keys.
fn take<'a>(
    cx: &mut Cx<'_>,
    keys: impl Iterator<Item = &'a [u8]>,
) -> Result<Vec<Source>, ErrorKind> {
    let mut sources = Vec::new();
    for word in keys {
        let key = cx.key(word);
        let taken = match cx.keyspace.get_any(cx.db, key, cx.now) {
            Some(it) if !matches!(it.kind(), Kind::Set | Kind::ZSet) => {
                return Err(ErrorKind::WrongType);
            }
            found => found.map(|it| (it.to_value(), it.encoding())),
        };
        sources.push(Source { taken, weight: 1.0 });
    }
    Ok(sources)
}

impl Options {
    fn parse(
        args: Args<'_>,
        mut at: usize,
        sources: &mut [Source],
        operation: Operation,
        used: Use,
    ) -> Result<Self, ErrorKind> {
        let mut options = Self { aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        let weighs = operation != Operation::Difference && used != Use::Count;
        while at < args.len() {
            let left = args.len() - at;
            if weighs && left > sources.len() && args.is(at, "WEIGHTS") {
                for (source, word) in sources.iter_mut().zip(args.from(at + 1)) {
                    source.weight = num::parse_f64(word).ok_or(ErrorKind::WeightNotAFloat)?;
                }
                at += 1 + sources.len();
            } else if weighs && left >= 2 && args.is(at, "AGGREGATE") {
                options.aggregate = match &args[at + 1] {
                    word if word.eq_ignore_ascii_case(b"SUM") => Aggregate::Sum,
                    word if word.eq_ignore_ascii_case(b"MIN") => Aggregate::Min,
                    word if word.eq_ignore_ascii_case(b"MAX") => Aggregate::Max,
                    _ => return Err(ErrorKind::Syntax),
                };
                at += 2;
            } else if used == Use::Reply && args.is(at, "WITHSCORES") {
                options.with_scores = true;
                at += 1;
            } else if used == Use::Count && left >= 2 && args.is(at, "LIMIT") {
                let limit = parse_i64(&args[at + 1]).and_then(|it| usize::try_from(it).ok());
                options.limit = limit.ok_or(ErrorKind::LimitNegative)?;
                at += 2;
            } else {
                return Err(ErrorKind::Syntax);
            }
        }
        Ok(options)
    }
}

impl Aggregate {
    /// Of infinities that have no sum, 0.
    fn join(self, old: f64, new: f64) -> f64 {
        match self {
            Self::Sum => not_nan(old + new),
            Self::Min if new < old => new,
            Self::Max if new > old => new,
            Self::Min | Self::Max => old,
        }
    }
}

fn not_nan(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

impl Source {
    fn value(&self) -> Option<ValueRef<'_>> {
        self.taken.as_ref().map(|(value, encoding)| ValueRef::of_value(value, *encoding))
    }

    fn len(&self) -> usize {
        self.value().map_or(0, |it| match it.kind() {
            Kind::Set => Members::of(it).len(),
            _ => Scores::of(it).len(),
        })
    }

    fn score(&self, hasher: &Hasher, member: &[u8]) -> Option<f64> {
        let (value, hash) = (self.value()?, |it: &[u8]| hasher.hash(it));
        match value.kind() {
            Kind::Set => Members::of(value).contains(hash, member).then_some(1.0),
            _ => Scores::of(value).score(hash, member),
        }
    }

    /// All members with their scores, until `each` says false.
    fn all(&self, each: &mut dyn FnMut(&[u8], f64) -> bool) {
        let Some(value) = self.value() else { return };
        match value.kind() {
            Kind::Set => {
                Members::of(value).all(&mut |member| each(member, 1.0));
            }
            _ => Scores::of(value).all(&mut |member, score| each(&member.text(), score)),
        }
    }
}

fn union(sources: &[Source], aggregate: Aggregate) -> Vec<Pair> {
    let mut joined = HashMap::<Vec<u8>, f64>::default();
    for source in sources {
        source.all(&mut |member, score| {
            let score = not_nan(score * source.weight);
            match joined.get_mut(member) {
                Some(old) => *old = aggregate.join(*old, score),
                None => {
                    joined.insert(member.to_vec(), score);
                }
            }
            true
        });
    }
    joined.into_iter().collect()
}

/// What all have, until `each` says false. The first source is the smallest.
fn intersection(
    sources: &[Source],
    hasher: &Hasher,
    aggregate: Aggregate,
    each: &mut dyn FnMut(&[u8], f64) -> bool,
) {
    let Some((first, others)) = sources.split_first() else { return };
    first.all(&mut |member, score| {
        let mut joined = not_nan(score * first.weight);
        for other in others {
            let Some(score) = other.score(hasher, member) else { return true };
            joined = aggregate.join(joined, score * other.weight);
        }
        each(member, joined)
    });
}

fn difference(sources: &[Source], hasher: &Hasher) -> Vec<Pair> {
    let mut pairs = Vec::new();
    let Some((first, others)) = sources.split_first() else { return pairs };
    first.all(&mut |member, score| {
        if !others.iter().any(|other| other.score(hasher, member).is_some()) {
            pairs.push((member.to_vec(), score));
        }
        true
    });
    pairs
}
