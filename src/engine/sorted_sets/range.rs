//! What ranges over members: by rank, by score and by name; replied, kept, counted or removed.
//!
//! All ranges become ranges of ranks first.

use std::ops::Range;

use super::{changed, read, reply_header, reply_member};
use crate::base::num;
use crate::command::args::Args;
use crate::engine::notices::Class;
use crate::engine::shard::{Cx, integer};
use crate::resp::error::ErrorKind;
use crate::types::record::Kind;
use crate::types::scores::{self, Scores};

/// By what a range is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Name,
}

/// A range as requested.
#[derive(Clone, Copy, Debug)]
enum Span<'a> {
    /// From one index to another, negative ones from the end.
    Ranks(i64, i64),
    Scores(Bound<f64>, Bound<f64>),
    Names(Edge<'a>, Edge<'a>),
}

/// A limit that is itself within, or not.
#[derive(Clone, Copy, Debug)]
struct Bound<T> {
    at: T,
    open: bool,
}

#[derive(Clone, Copy, Debug)]
enum Edge<'a> {
    /// Before all names.
    Lowest,
    /// Behind all names.
    Highest,
    Name(Bound<&'a [u8]>),
}

/// A range with its options.
#[derive(Clone, Copy, Debug)]
struct Query<'a> {
    span: Span<'a>,
    down: bool,
    with_scores: bool,
    offset: i64,
    /// At most so many; negative: all.
    count: i64,
}

/// `ZRANGE key start stop [BYSCORE | BYLEX] [REV] [LIMIT offset count] [WITHSCORES]`
pub fn zrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    reply_range(cx, args, None, None)
}

/// `ZREVRANGE key start stop [WITHSCORES]`
pub fn zrevrange(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    reply_range(cx, args, Some(By::Rank), Some(true))
}

/// `ZRANGEBYSCORE key min max [WITHSCORES] [LIMIT offset count]`
pub fn zrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    reply_range(cx, args, Some(By::Score), Some(false))
}

/// `ZREVRANGEBYSCORE key max min [WITHSCORES] [LIMIT offset count]`
pub fn zrevrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    reply_range(cx, args, Some(By::Score), Some(true))
}

/// `ZRANGEBYLEX key min max [LIMIT offset count]`
pub fn zrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    reply_range(cx, args, Some(By::Name), Some(false))
}

/// `ZREVRANGEBYLEX key max min [LIMIT offset count]`
pub fn zrevrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    reply_range(cx, args, Some(By::Name), Some(true))
}

fn reply_range(
    cx: &mut Cx<'_>,
    args: Args<'_>,
    by: Option<By>,
    down: Option<bool>,
) -> Result<(), ErrorKind> {
    let query = Query::parse(args, 2, by, down, false)?;
    let key = cx.key(args.key());
    let value = cx.keyspace.read(cx.db, key, Kind::ZSet, cx.now)?;
    let Some(scores) = value.map(Scores::of) else {
        cx.reply.array(0);
        return Ok(());
    };
    let (ranks, reply) = (query.ranks(scores), &mut cx.reply);
    reply_header(reply, ranks.len(), query.with_scores);
    scores.walk(ranks, query.down, &mut |member, score| {
        reply_member(reply, &member.text(), query.with_scores.then_some(score));
        true
    });
    Ok(())
}

/// `ZRANGESTORE dst src min max [BYSCORE | BYLEX] [REV] [LIMIT offset count]`
pub fn zrangestore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let query = Query::parse(args, 3, None, None, true)?;
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let mut body = scores::empty();
    if let Some(source) = read(cx, &args[2])? {
        let ranks = query.ranks(source);
        // As Redis: where the size is known beforehand, a large one is none that was packed once.
        if matches!(query.span, Span::Ranks(..)) && ranks.len() > packing.zset_entries {
            body = scores::empty_ranked();
        }
        source.walk(ranks, query.down, &mut |member, score| {
            scores::put(&mut body, &packing, &hasher, &member.text(), score);
            true
        });
    }
    let len = Scores::of_body(&body).len();
    cx.keep(args.key(), body, (Class::SortedSet, "zrangestore"))?;
    cx.reply_len(len);
    Ok(())
}

/// `ZCOUNT key min max`
pub fn zcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    count(cx, args, By::Score)
}

/// `ZLEXCOUNT key min max`
pub fn zlexcount(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    count(cx, args, By::Name)
}

fn count(cx: &mut Cx<'_>, args: Args<'_>, by: By) -> Result<(), ErrorKind> {
    let span = Span::parse(by, &args[2], &args[3])?;
    let count = read(cx, args.key())?.map_or(0, |scores| span.ranks(scores, false).len());
    cx.reply_len(count);
    Ok(())
}

/// `ZREMRANGEBYRANK key start stop`
pub fn zremrangebyrank(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    remove(cx, args, By::Rank)
}

/// `ZREMRANGEBYSCORE key min max`
pub fn zremrangebyscore(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    remove(cx, args, By::Score)
}

/// `ZREMRANGEBYLEX key min max`
pub fn zremrangebylex(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    remove(cx, args, By::Name)
}

fn remove(cx: &mut Cx<'_>, args: Args<'_>, by: By) -> Result<(), ErrorKind> {
    let span = Span::parse(by, &args[2], &args[3])?;
    let (key, hasher) = (cx.key(args.key()), cx.keyspace.hasher());
    let removed = cx.keyspace.modify(cx.db, key, Kind::ZSet, cx.now, |body| {
        let ranks = span.ranks(Scores::of_body(body), false);
        let old = if ranks.is_empty() {
            None
        } else {
            scores::remove_ranks(body, &hasher, ranks.clone())
        };
        (ranks.len(), old)
    })?;
    let (removed, old) = removed.unwrap_or((0, None));
    old.into_iter().for_each(|it| cx.keyspace.bury_object(it));
    if removed > 0 {
        let event = match by {
            By::Rank => "zremrangebyrank",
            By::Score => "zremrangebyscore",
            By::Name => "zremrangebylex",
        };
        cx.notify_taken(Class::SortedSet, event, args.key());
    }
    changed(cx, removed);
    cx.reply_len(removed);
    Ok(())
}

impl<'a> Query<'a> {
    /// Of a request whose first limit is word `at`; `by` and `down` where the command's name says so.
    fn parse(
        args: Args<'a>,
        at: usize,
        by: Option<By>,
        down: Option<bool>,
        stores: bool,
    ) -> Result<Self, ErrorKind> {
        let (mut by_option, mut down_option) = (by, down);
        let (mut with_scores, mut offset, mut count) = (false, 0, -1);
        let mut word = at + 2;
        while word < args.len() {
            if !stores && args.is(word, "WITHSCORES") {
                with_scores = true;
            } else if args.is(word, "LIMIT") && word + 2 < args.len() {
                (offset, count) = (integer(&args[word + 1])?, integer(&args[word + 2])?);
                word += 2;
            } else if down_option.is_none() && args.is(word, "REV") {
                down_option = Some(true);
            } else if by_option.is_none() && args.is(word, "BYLEX") {
                by_option = Some(By::Name);
            } else if by_option.is_none() && args.is(word, "BYSCORE") {
                by_option = Some(By::Score);
            } else {
                return Err(ErrorKind::Syntax);
            }
            word += 1;
        }
        let (by, down) = (by_option.unwrap_or(By::Rank), down_option.unwrap_or(false));
        if by == By::Rank && count != -1 {
            return Err(ErrorKind::ZrangeLimit);
        }
        if by == By::Name && with_scores {
            return Err(ErrorKind::ZrangeWithscores);
        }
        let (first, last) = (args.get(at), args.get(at + 1));
        let (Some(first), Some(last)) = (first, last) else { return Err(ErrorKind::Syntax) };
        let span = if down && by != By::Rank {
            Span::parse(by, last, first)?
        } else {
            Span::parse(by, first, last)?
        };
        if by == By::Rank {
            offset = 0;
        }
        Ok(Self { span, down, with_scores, offset, count })
    }

    fn ranks(self, scores: Scores<'_>) -> Range<usize> {
        let Range { start, end } = self.span.ranks(scores, self.down);
        let all = end - start;
        // Before the first there is nothing that could be passed over, as Redis sees it.
        let passed = usize::try_from(self.offset).unwrap_or(all).min(all);
        let count = usize::try_from(self.count).unwrap_or(all).min(all - passed);
        if self.down {
            end - passed - count..end - passed
        } else {
            start + passed..start + passed + count
        }
    }
}

impl<'a> Span<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, ErrorKind> {
        Ok(match by {
            By::Rank => Self::Ranks(integer(min)?, integer(max)?),
            By::Score => {
                let bound = |word| score_bound(word).ok_or(ErrorKind::MinMaxNotAFloat);
                Self::Scores(bound(min)?, bound(max)?)
            }
            By::Name => {
                let edge = |word| Edge::parse(word).ok_or(ErrorKind::MinMaxNotAString);
                Self::Names(edge(min)?, edge(max)?)
            }
        })
    }

    /// `down`: indices count from the highest score.
    fn ranks(self, scores: Scores<'_>, down: bool) -> Range<usize> {
        match self {
            Self::Ranks(first, last) => {
                let len = scores.len();
                let ranks = indices(first, last, len);
                if down { len - ranks.end..len - ranks.start } else { ranks }
            }
            Self::Scores(min, max) => scores.between(
                |score, _| score < min.at || min.open && score == min.at,
                |score, _| score < max.at || !max.open && score == max.at,
            ),
            Self::Names(min, max) => scores.between(
                |_, name| match min {
                    Edge::Lowest => false,
                    Edge::Highest => true,
                    Edge::Name(min) => name < min.at || min.open && name == min.at,
                },
                |_, name| match max {
                    Edge::Lowest => false,
                    Edge::Highest => true,
                    Edge::Name(max) => name < max.at || !max.open && name == max.at,
                },
            ),
        }
    }
}

impl<'a> Edge<'a> {
    fn parse(word: &'a [u8]) -> Option<Self> {
        let alone = |rest: &[u8]| rest.first().is_none_or(|&byte| byte == 0);
        match word {
            [b'-', rest @ ..] if alone(rest) => Some(Self::Lowest),
            [b'+', rest @ ..] if alone(rest) => Some(Self::Highest),
            [b'[', at @ ..] => Some(Self::Name(Bound { at, open: false })),
            [b'(', at @ ..] => Some(Self::Name(Bound { at, open: true })),
            _ => None,
        }
    }
}

fn score_bound(word: &[u8]) -> Option<Bound<f64>> {
    let (open, number) = match word {
        [b'(', number @ ..] => (true, number),
        number => (false, number),
    };
    Some(Bound { at: num::parse_f64_as_c(number)?, open })
}

/// The ranks from one index to another; negative ones count from the end.
fn indices(first: i64, last: i64, len: usize) -> Range<usize> {
    let from_end = |index: i64| match usize::try_from(index) {
        Ok(index) => Some(index),
        Err(_) => len.checked_sub(usize::try_from(index.unsigned_abs()).unwrap_or(usize::MAX)),
    };
    let start = from_end(first).unwrap_or(0).min(len);
    let end = from_end(last).map_or(0, |last| last.saturating_add(1).min(len));
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_count_from_both_ends() {
        let table = [
            ((0, -1), 0..5),
            ((1, 2), 1..3),
            ((-2, -1), 3..5),
            ((-100, 0), 0..1),
            ((3, 1), 3..3),
            ((5, 9), 5..5),
            ((0, -6), 0..0),
            ((i64::MIN, i64::MAX), 0..5),
            ((i64::MAX, i64::MIN), 5..5),
        ];
        for ((first, last), ranks) in table {
            assert_eq!(indices(first, last, 5), ranks, "{first} {last}");
        }
    }
}
