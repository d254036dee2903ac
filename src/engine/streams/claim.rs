//! XCLAIM and XAUTOCLAIM: pending entries get another owner.
//!
//! An entry that was deleted meanwhile is taken out of what is pending instead.

use super::read::{consumer_of, note_claim};
use super::{counted, now_ms, stream_id, stream_mut, write_id, write_one};
use crate::base::num::{Digits, parse_i64};
use crate::command::args::Args;
use crate::engine::effect::Effect;
use crate::engine::notices::Class;
use crate::engine::shard::Cx;
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use crate::types::log::Stream;
use crate::types::log::group::Pending;
use crate::types::log::id::StreamId;
use crate::types::record::Kind;
use std::cell::Cell;
use std::ops::ControlFlow;

/// Pending entries that XAUTOCLAIM looks at for each one that it is to claim.
const ATTEMPTS_FACTOR: usize = 10;
/// What XAUTOCLAIM claims where no COUNT is given.
const COUNT_DEFAULT: usize = 100;
/// The highest COUNT (Redis: `LONG_MAX / sizeof(streamID)`), and the highest that can be served.
const COUNT_MAX: i64 = i64::MAX / 16;
const COUNT_SERVED_MAX: usize = 1 << 33;

/// Who claims, and how.
struct Claimer<'a> {
    word: &'a [u8],
    group: &'a [u8],
    consumer: &'a [u8],
    idle_ms: i64,
    now: i64,
    just_id: bool,
    /// The consumer was not there, and is now.
    made: &'a Cell<bool>,
}

/// What XCLAIM says besides.
struct Options {
    delivered_ms: i64,
    deliveries: Option<i64>,
    force: bool,
    last_id: StreamId,
}

/// `XCLAIM key group consumer min-idle-time id [id ...] [IDLE ms] [TIME ms] [RETRYCOUNT count] [FORCE]
/// [JUSTID] [LASTID id]`
pub(super) fn xclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let (key, now) = (cx.key(args.key()), now_ms(cx));
    let made = Cell::new(false);
    cx.keyspace.asked(cx.db, key, cx.now); // As Redis: looked up to be read.
    let (reply, effect, db) = (&mut cx.reply, &mut *cx.effect, cx.db);
    let no_group = || ErrorKind::NoGroup { key: args.key().into(), group: args[2].into() };
    let claimed = cx.keyspace.modify(db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        let group = stream.groups().get(&args[2]).ok_or_else(no_group)?;
        let idle = parse_i64(&args[4]).ok_or(ErrorKind::XclaimIdle)?;
        let ids: Vec<StreamId> = args.from(5).map_while(|id| StreamId::parse(id, 0)).collect();
        let (options, just_id) = Options::of(args, 5 + ids.len(), now)?;
        let claimer = Claimer {
            word: args.key(),
            group: &args[2],
            consumer: &args[3],
            idle_ms: idle.max(0),
            now,
            just_id,
            made: &made,
        };
        let moved = options.last_id > group.last_id;
        if moved && let Some(group) = stream.groups_mut().get_mut(&args[2]) {
            group.last_id = options.last_id;
        }
        let mut noted = false;
        counted(reply, |reply| {
            let mut count = 0;
            for &id in &ids {
                let (claimed, told) = claimer.claim(stream, id, &options, reply, effect, db);
                count += usize::from(claimed);
                noted |= told;
            }
            count
        });
        if moved && !noted {
            note_last_id(stream, &claimer, effect, db);
        }
        Ok(())
    })?;
    if made.get() {
        cx.notify(Class::Stream, "xgroup-createconsumer", args.key());
    }
    claimed.ok_or_else(no_group)?
}

/// Only the group's last ID has moved.
fn note_last_id(stream: &Stream, claimer: &Claimer<'_>, effect: &mut Effect, db: usize) {
    let Some(group) = stream.groups().get(claimer.group) else { return };
    let (id, read) = (group.last_id.text(), Digits::new(group.entries_read.unwrap_or(-1)));
    let (id, read) = (id.as_bytes(), read.as_bytes());
    let (word, name) = (claimer.word, claimer.group);
    effect.command(db, &[b"XGROUP", b"SETID", word, name, id, b"ENTRIESREAD", read]);
}

impl Options {
    /// From word `at` on; and whether JUSTID is there.
    fn of(args: Args<'_>, mut at: usize, now: i64) -> Result<(Self, bool), ErrorKind> {
        let mut options =
            Self { delivered_ms: now, deliveries: None, force: false, last_id: StreamId::MIN };
        let (mut just_id, mut delivered) = (false, None);
        while at < args.len() {
            let value = args.get(at + 1);
            let number = |error| value.and_then(parse_i64).ok_or(error);
            if args.is(at, "FORCE") {
                options.force = true;
            } else if args.is(at, "JUSTID") {
                just_id = true;
            } else if value.is_none() {
                return Err(ErrorKind::XclaimOption { option: args[at].into() });
            } else {
                if args.is(at, "IDLE") {
                    delivered = Some(now.wrapping_sub(number(ErrorKind::XclaimIdleOption)?));
                } else if args.is(at, "TIME") {
                    delivered = Some(number(ErrorKind::XclaimTime)?);
                } else if args.is(at, "RETRYCOUNT") {
                    options.deliveries = Some(number(ErrorKind::XclaimRetrycount)?);
                } else if args.is(at, "LASTID") {
                    options.last_id = stream_id(value.unwrap_or_default())?;
                } else {
                    return Err(ErrorKind::XclaimOption { option: args[at].into() });
                }
                at += 1;
            }
            at += 1;
        }
        // A time that makes no sense is that of now: the client's clock may be wrong.
        let sensible = delivered.filter(|ms| (0..=now).contains(ms));
        options.delivered_ms = sensible.unwrap_or(now);
        Ok((options, just_id))
    }
}

impl Claimer<'_> {
    /// One entry: was it claimed, and was an effect noted?
    fn claim(
        &self,
        stream: &mut Stream,
        id: StreamId,
        options: &Options,
        reply: &mut Reply<'_>,
        effect: &mut Effect,
        db: usize,
    ) -> (bool, bool) {
        let Some(group) = stream.groups().get(self.group) else { return (false, false) };
        let pending = group.pending(id);
        if !stream.has(id) {
            if let Some(pending) = pending {
                self.drop_deleted(stream, pending, effect, db);
            }
            return (false, pending.is_some());
        }
        let deliveries = match pending {
            Some(it)
                if self.idle_ms > 0 && self.now.saturating_sub(it.delivered_ms) < self.idle_ms =>
            {
                return (false, false);
            }
            Some(it) => it.deliveries,
            None if options.force => 1,
            None => return (false, false),
        };
        let deliveries = match options.deliveries.and_then(|it| u64::try_from(it).ok()) {
            Some(given) => given,
            None if self.just_id => deliveries,
            None => deliveries.saturating_add(1),
        };
        self.take(stream, id, options.delivered_ms, deliveries, reply, effect, db);
        (true, true)
    }

    /// The entry is the consumer's, and in the reply.
    #[expect(clippy::too_many_arguments, reason = "what is claimed, and where it is told")]
    fn take(
        &self,
        stream: &mut Stream,
        id: StreamId,
        delivered_ms: i64,
        deliveries: u64,
        reply: &mut Reply<'_>,
        effect: &mut Effect,
        db: usize,
    ) {
        let Some(group) = stream.groups_mut().get_mut(self.group) else { return };
        let known = group.find(self.consumer).is_some();
        let Some(owner) = consumer_of(group, self.consumer, self.now) else { return };
        effect.changed(u64::from(!known));
        if !known {
            self.made.set(true);
        }
        let pending = Pending { id, delivered_ms, deliveries, owner };
        group.give(pending);
        group.touch(owner, Some(self.now), Some(self.now));
        let last = group.last_id;
        if self.just_id {
            write_id(id, reply);
        } else {
            write_one(stream, id, reply);
        }
        let mut note = |words: &[&[u8]]| effect.command(db, words);
        note_claim(self.word, self.group, self.consumer, pending, last, &mut note);
    }

    /// An entry that is pending and was deleted is pending no more; the effect still says whose it was.
    fn drop_deleted(&self, stream: &mut Stream, pending: Pending, effect: &mut Effect, db: usize) {
        let Some(group) = stream.groups_mut().get_mut(self.group) else { return };
        let (owner, last) = (group.consumer(pending.owner).name.clone(), group.last_id);
        let mut note = |words: &[&[u8]]| effect.command(db, words);
        note_claim(self.word, self.group, &owner, pending, last, &mut note);
        group.acknowledge(pending.id);
    }
}

/// `XAUTOCLAIM key group consumer min-idle-time start [COUNT count] [JUSTID]`
pub(super) fn xautoclaim(cx: &mut Cx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    // As Redis: looked up to be read, before anything else.
    let key = cx.key(args.key());
    cx.keyspace.asked(cx.db, key, cx.now);
    let idle = parse_i64(&args[4]).ok_or(ErrorKind::XautoclaimIdle)?;
    let start = super::options::interval_start(&args[5])?;
    let (mut most, mut just_id, mut at) = (COUNT_DEFAULT, false, 6);
    while at < args.len() {
        if let Some(value) = args.get(at + 1).filter(|_| args.is(at, "COUNT")) {
            let count = parse_i64(value).filter(|count| (1..=COUNT_MAX).contains(count));
            let count = count.ok_or(ErrorKind::XautoclaimCount)?;
            most = usize::try_from(count).map_err(|_| ErrorKind::XautoclaimCount)?;
            at += 2;
        } else if args.is(at, "JUSTID") {
            just_id = true;
            at += 1;
        } else {
            return Err(ErrorKind::Syntax);
        }
    }
    let now = now_ms(cx);
    let made = Cell::new(false);
    let claimer = Claimer {
        word: args.key(),
        group: &args[2],
        consumer: &args[3],
        idle_ms: idle.max(0),
        now,
        just_id,
        made: &made,
    };
    let (reply, effect, db) = (&mut cx.reply, &mut *cx.effect, cx.db);
    let no_group = || ErrorKind::NoGroup { key: args.key().into(), group: args[2].into() };
    let claimed = cx.keyspace.modify(db, key, Kind::Stream, cx.now, |body| {
        let stream = stream_mut(body);
        if stream.groups().get(&args[2]).is_none() {
            return Err(no_group());
        }
        if most > COUNT_SERVED_MAX {
            return Err(ErrorKind::XautoclaimMemory);
        }
        claimer.claim_idle(stream, start, most, reply, effect, db);
        Ok(())
    })?;
    if made.get() {
        cx.notify(Class::Stream, "xgroup-createconsumer", args.key());
    }
    claimed.ok_or_else(no_group)?
}

/// What XAUTOCLAIM does with a pending entry.
enum Action {
    Claim(Pending),
    Drop(Pending),
}

impl Claimer<'_> {
    fn claim_idle(
        &self,
        stream: &mut Stream,
        start: StreamId,
        most: usize,
        reply: &mut Reply<'_>,
        effect: &mut Effect,
        db: usize,
    ) {
        let (actions, next) = self.plan(stream, start, most);
        reply.array(3);
        write_id(next.unwrap_or(StreamId::MIN), reply);
        let mut dropped = Vec::new();
        counted(reply, |reply| {
            let mut count = 0;
            for action in actions {
                match action {
                    Action::Claim(it) => {
                        let more = u64::from(!self.just_id);
                        let deliveries = it.deliveries.saturating_add(more);
                        self.take(stream, it.id, self.now, deliveries, reply, effect, db);
                        count += 1;
                    }
                    Action::Drop(pending) => {
                        self.drop_deleted(stream, pending, effect, db);
                        dropped.push(pending.id);
                    }
                }
            }
            count
        });
        reply.array(dropped.len());
        dropped.into_iter().for_each(|id| write_id(id, reply));
    }

    /// What to do, and the pending ID to go on with afterwards.
    fn plan(
        &self,
        stream: &Stream,
        start: StreamId,
        most: usize,
    ) -> (Vec<Action>, Option<StreamId>) {
        let (mut actions, mut next) = (Vec::new(), None);
        let Some(group) = stream.groups().get(self.group) else { return (actions, next) };
        let mut attempts = most.saturating_mul(ATTEMPTS_FACTOR);
        group.visit_pending(start, None, |pending| {
            if attempts == 0 || actions.len() == most {
                next = Some(pending.id);
                return ControlFlow::Break(());
            }
            attempts -= 1;
            if !stream.has(pending.id) {
                actions.push(Action::Drop(pending));
            } else if self.idle_ms == 0
                || self.now.saturating_sub(pending.delivered_ms) >= self.idle_ms
            {
                actions.push(Action::Claim(pending));
            }
            ControlFlow::Continue(())
        });
        (actions, next)
    }
}
