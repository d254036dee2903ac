//! What gives members scores: `ZADD` with its options, `ZINCRBY`, and `GEOADD`, whose scores are places.

use crate::base::num;
use crate::command::args::Args;
use crate::engine::notices::Class;
use crate::engine::shard::Cx;
use crate::resp::error::ErrorKind;
use crate::types::object::Body;
use crate::types::packing::Packing;
use crate::types::record::Kind;
use crate::types::scores;
use crate::types::store::Hasher;

/// What the options say.
#[derive(Clone, Copy, Debug, Default)]
pub struct Adding {
    /// Only new members.
    pub new_only: bool,
    /// Only members that are there.
    pub old_only: bool,
    /// Only to a higher score, of those that are there.
    greater: bool,
    less: bool,
    /// The reply counts changed scores too.
    pub count_changed: bool,
    /// The number is added to the score, and the reply is the sum.
    increments: bool,
}

/// How members came out.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    added: usize,
    changed: usize,
    /// The score of the last one, if the options let it through.
    score: Option<f64>,
}

/// `ZADD key [NX | XX] [GT | LT] [CH] [INCR] score member [score member ...]`
pub fn zadd(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    words(cx, args, Adding::default())
}

/// `ZINCRBY key increment member`
pub fn zincrby(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    words(cx, args, Adding { increments: true, ..Adding::default() })
}

fn words(cx: &mut Cx<'_>, args: Args<'_>, mut how: Adding) -> Result<(), ErrorKind> {
    let mut at = 2;
    while at < args.len() {
        // Redis takes options at the place of an increment, too.
        match &args[at] {
            word if word.eq_ignore_ascii_case(b"NX") => how.new_only = true,
            word if word.eq_ignore_ascii_case(b"XX") => how.old_only = true,
            word if word.eq_ignore_ascii_case(b"GT") => how.greater = true,
            word if word.eq_ignore_ascii_case(b"LT") => how.less = true,
            word if word.eq_ignore_ascii_case(b"CH") => how.count_changed = true,
            word if word.eq_ignore_ascii_case(b"INCR") => how.increments = true,
            _ => break,
        }
        at += 1;
    }
    let words = args.len() - at;
    if words == 0 || !words.is_multiple_of(2) {
        return Err(ErrorKind::Syntax);
    }
    how.check(words / 2)?;
    let number = |word: &[u8]| num::parse_f64(word).ok_or(ErrorKind::NotAFloat);
    if words == 2 {
        let score = number(&args[at])?;
        let members = [(score, &args[at + 1])].into_iter();
        let changed = add(cx, args.key(), how, members)?;
        super::changed(cx, changed);
        return Ok(());
    }
    // All are read before the first is added.
    let scores: Vec<f64> = args.from(at).step_by(2).map(number).collect::<Result<_, _>>()?;
    let members = scores.into_iter().zip(args.from(at + 1).step_by(2));
    let changed = add(cx, args.key(), how, members)?;
    super::changed(cx, changed);
    Ok(())
}

impl Adding {
    fn check(self, members: usize) -> Result<(), ErrorKind> {
        if self.new_only && self.old_only {
            return Err(ErrorKind::ZaddXxAndNx);
        }
        if u8::from(self.greater) + u8::from(self.less) + u8::from(self.new_only) > 1 {
            return Err(ErrorKind::ZaddGtLtNx);
        }
        if self.increments && members > 1 {
            return Err(ErrorKind::ZaddIncrPair);
        }
        Ok(())
    }

    /// The score to set, or none, where there is this one.
    fn decide(self, old: Option<f64>, number: f64) -> Result<Option<f64>, ErrorKind> {
        let Some(old) = old else { return Ok((!self.old_only).then_some(number)) };
        if self.new_only {
            return Ok(None);
        }
        let score = if self.increments { old + number } else { number };
        if score.is_nan() {
            return Err(ErrorKind::ScoreNan);
        }
        let refused = self.less && score >= old || self.greater && score <= old;
        Ok((!refused).then_some(score))
    }
}

/// Gives members these scores and replies; how many are new or have another score now.
pub fn add<'a>(
    cx: &mut Cx<'_>,
    key: &[u8],
    how: Adding,
    members: impl Iterator<Item = (f64, &'a [u8])>,
) -> Result<usize, ErrorKind> {
    let (packing, hasher) = (cx.keyspace.packing(), cx.keyspace.hasher());
    let key = cx.key(key);
    let edit = |body: &mut Body| add_all(body, &packing, &hasher, how, members);
    let counts = if how.old_only {
        cx.keyspace.modify(cx.db, key, Kind::ZSet, cx.now, edit)?.transpose()?
    } else {
        let new = scores::empty;
        Some(cx.keyspace.modify_or_create(cx.db, key, Kind::ZSet, cx.now, new, edit)??)
    };
    let counts = counts.unwrap_or_default();
    if counts.added + counts.changed > 0 {
        let event = if how.increments { "zincr" } else { "zadd" };
        cx.notify(Class::SortedSet, event, key.bytes);
    }
    match counts.score {
        Some(score) if how.increments => cx.reply.double(score),
        None if how.increments => cx.reply.null(),
        _ if how.count_changed => cx.reply_len(counts.added + counts.changed),
        _ => cx.reply_len(counts.added),
    }
    Ok(counts.added + counts.changed)
}

fn add_all<'a>(
    body: &mut Body,
    packing: &Packing,
    hasher: &Hasher,
    how: Adding,
    members: impl Iterator<Item = (f64, &'a [u8])>,
) -> Result<Counts, ErrorKind> {
    let mut counts = Counts::default();
    for (number, member) in members {
        let mut decided = Ok(None);
        scores::update(body, packing, hasher, member, |old| {
            decided = how.decide(old, number).map(|score| Some((old, score?)));
            decided.as_ref().ok()?.map(|(_, score)| score)
        });
        let decided = decided?;
        counts.score = decided.map(|(_, score)| score);
        match decided {
            Some((None, _)) => counts.added += 1,
            Some((Some(old), score)) if old != score => counts.changed += 1,
            _ => {}
        }
    }
    Ok(counts)
}
