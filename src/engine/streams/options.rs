//! Arguments that several stream commands share: IDs, intervals of them, and how to trim.

use crate::base::num::Digits;
use crate::command::args::Args;
use crate::engine::shard::integer;
use crate::resp::error::ErrorKind;
use crate::types::log::id::{Seq, Spelt, StreamId};
use crate::types::log::{Effort, Keep, NodeFill, Stream};

/// Nodes that a trim "about" something removes, where no limit is given, and bounds of the entries that
/// makes (Redis: `streamParseAddOrTrimArgsOrReply`).
const TRIMMED_NODES_MAX: u64 = 100;
const TRIMMED_ENTRIES_DEFAULT: u64 = 10_000;
const TRIMMED_ENTRIES_MAX: u64 = 1_000_000;

/// The ID that XADD was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    Auto,
    /// The next one of this millisecond.
    Within(u64),
    Given(StreamId),
}

/// How to trim.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trim {
    pub keep: Keep,
    pub effort: Effort,
    /// The word with the threshold.
    pub at: usize,
}

/// What else XADD was given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Add {
    pub id: Id,
    pub id_at: usize,
    /// Adds nothing to a stream that does not exist.
    pub no_stream: bool,
}

#[derive(Default)]
struct Parsed {
    trim: Option<(Keep, usize)>,
    whole_nodes: bool,
    limit: Option<u64>,
    no_stream: bool,
}

impl Trim {
    /// As which threshold of an exact trim it has the same result.
    pub fn result(&self, stream: &Stream) -> Vec<u8> {
        match self.keep {
            Keep::Newest(_) => {
                let len = i64::try_from(stream.len()).unwrap_or(i64::MAX);
                Digits::new(len).as_bytes().to_vec()
            }
            Keep::From(_) => {
                // Of what is there, deleted or not: a node is named by its first entry.
                let first = stream.node(0).map_or(StreamId::MAX, |node| node.id());
                first.text().as_bytes().to_vec()
            }
        }
    }
}

/// An ID, whose sequence number is 0 if it is left out.
pub(super) fn stream_id(word: &[u8]) -> Result<StreamId, ErrorKind> {
    StreamId::parse(word, 0).ok_or(ErrorKind::StreamId)
}

/// The ends of an interval, both included; `(` excludes one.
pub(super) fn interval(start: &[u8], end: &[u8]) -> Result<(StreamId, StreamId), ErrorKind> {
    Ok((interval_start(start)?, interval_end(end)?))
}

pub(super) fn interval_start(word: &[u8]) -> Result<StreamId, ErrorKind> {
    match bound(word, 0)? {
        (id, true) => id.next().ok_or(ErrorKind::StreamIntervalStart),
        (id, false) => Ok(id),
    }
}

fn interval_end(word: &[u8]) -> Result<StreamId, ErrorKind> {
    match bound(word, u64::MAX)? {
        (id, true) => id.previous().ok_or(ErrorKind::StreamIntervalEnd),
        (id, false) => Ok(id),
    }
}

/// An end of an interval, and whether it is excluded.
fn bound(word: &[u8], missing: u64) -> Result<(StreamId, bool), ErrorKind> {
    let parse = |word| StreamId::parse(word, missing).ok_or(ErrorKind::StreamId);
    match word {
        b"-" => Ok((StreamId::MIN, false)),
        b"+" => Ok((StreamId::MAX, false)),
        [b'(', id @ ..] if !id.is_empty() => Ok((parse(id)?, true)),
        id => Ok((parse(id)?, false)),
    }
}

/// XADD's options up to its ID. `obeys`: a master's stream is applied.
pub(super) fn of_xadd(
    args: Args<'_>,
    obeys: bool,
    fill: NodeFill,
) -> Result<(Option<Trim>, Add), ErrorKind> {
    let mut parsed = Parsed::default();
    let mut at = 2;
    // Without an ID, the request is too short, which is for the caller to tell.
    let mut id = Id::Auto;
    while at < args.len() && &args[at] != b"*" {
        if args.is(at, "NOMKSTREAM") {
            parsed.no_stream = true;
            at += 1;
        } else if let Some(next) = parsed.option(args, at)? {
            at = next;
        } else {
            let spelt = Spelt::parse(&args[at], true).ok_or(ErrorKind::StreamId)?;
            id = match spelt.seq {
                Seq::Given(seq) => Id::Given(StreamId { ms: spelt.ms, seq }),
                Seq::Missing => Id::Given(StreamId { ms: spelt.ms, seq: 0 }),
                Seq::Auto => Id::Within(spelt.ms),
            };
            break;
        }
    }
    let no_stream = parsed.no_stream;
    let trim = parsed.finish(obeys, fill)?;
    Ok((trim, Add { id, id_at: at, no_stream }))
}

/// XTRIM's options.
pub(super) fn of_xtrim(args: Args<'_>, obeys: bool, fill: NodeFill) -> Result<Trim, ErrorKind> {
    let mut parsed = Parsed::default();
    let mut at = 2;
    while at < args.len() {
        at = parsed.option(args, at)?.ok_or(ErrorKind::Syntax)?;
    }
    parsed.finish(obeys, fill)?.ok_or(ErrorKind::TrimWithoutStrategy)
}

impl Parsed {
    /// Reads an option at word `at`; the word behind it. `None`: it is none.
    fn option(&mut self, args: Args<'_>, at: usize) -> Result<Option<usize>, ErrorKind> {
        let Some(value) = args.get(at + 1) else { return Ok(None) };
        let by_len = args.is(at, "MAXLEN");
        if args.is(at, "LIMIT") {
            let limit = integer(value)?;
            self.limit = Some(u64::try_from(limit).map_err(|_| ErrorKind::TrimLimitNegative)?);
            return Ok(Some(at + 2));
        }
        if !by_len && !args.is(at, "MINID") {
            return Ok(None);
        }
        if self.trim.is_some() {
            return Err(ErrorKind::TrimTwice);
        }
        let mut at = at + 1;
        if at + 1 < args.len() && matches!(value, b"~" | b"=") {
            self.whole_nodes = value == b"~";
            at += 1;
        }
        let threshold = &args[at];
        let keep = if by_len {
            let newest = u64::try_from(integer(threshold)?);
            Keep::Newest(newest.map_err(|_| ErrorKind::TrimMaxlenNegative)?)
        } else {
            Keep::From(stream_id(threshold)?)
        };
        self.trim = Some((keep, at));
        Ok(Some(at + 1))
    }

    fn finish(self, obeys: bool, fill: NodeFill) -> Result<Option<Trim>, ErrorKind> {
        if self.limit.is_some_and(|limit| limit > 0) && self.trim.is_none() {
            return Err(ErrorKind::TrimLimitWithoutStrategy);
        }
        if self.limit.is_some() && !self.whole_nodes && !obeys {
            // Of XTRIM without a strategy that is told first.
            return Err(if self.trim.is_none() && self.limit.is_none() {
                ErrorKind::TrimWithoutStrategy
            } else {
                ErrorKind::TrimLimitExact
            });
        }
        let limit = match self.limit {
            _ if obeys || !self.whole_nodes => 0,
            Some(limit) => limit,
            None => match fill.entries_max {
                None => TRIMMED_ENTRIES_DEFAULT,
                Some(entries) => {
                    (entries as u64).saturating_mul(TRIMMED_NODES_MAX).min(TRIMMED_ENTRIES_MAX)
                }
            },
        };
        let effort = Effort { whole_nodes: self.whole_nodes, limit };
        Ok(self.trim.map(|(keep, at)| Trim { keep, effort, at }))
    }
}
