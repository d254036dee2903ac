//! `maxmemory`: when keys go so that there is room, and when a write is refused for want of it.
//!
//! What counts is what the keys of all cores take: each core says so as it goes (`node/host.rs`), and knows its
//! own to the byte. What only a snapshot still holds on to does not count, as little as a child's copies do in
//! Redis, and neither do replicas. Clients do (`client_memory.rs`), and so does the backlog as far as `repl-backlog-size`.
//!
//! ```text
//!   a write comes for a key of this core      -> its keys go until there is room, a bounded number at once
//!   a turn ends and there is no room yet      -> more of its keys go
//!   a write comes for a key of another core   -> that core does so; if it sleeps, at its next tick
//! ```
//!
//! So each core makes the room that its own writes take, and of keys spread by their hashes those go that are
//! the best to go everywhere. A write is refused only where no core has anything left that may go.
//!
//! A key that goes is replicated as the DEL or UNLINK that Redis sends, and told as `evicted`.
//!
//! Not here: which key (`engine/evict.rs`).

use crate::command::args::Args;
use crate::engine::evict::{Policy, Rank};
use crate::node::core::Core;
use crate::node::message::Origin;
use crate::node::settings::{MaxmemoryPolicy, Settings};
use crate::types::segment::Counting;
use std::sync::atomic::Ordering;

/// Keys that go at once for a tenacity of 10, which is the default (Redis: 500 us of them).
const KEYS_AT_ONCE: f64 = 250.0;
/// At least so many, whatever the tenacity.
const KEYS_AT_ONCE_MIN: usize = 8;
/// More for each step of tenacity above 10 (Redis: 15 % more time).
const TENACITY_STEP: f64 = 1.15;

const SECONDS_PER_MINUTE: u32 = 60;

/// What the settings say, for each command to ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct Limit {
    /// 0: there is none.
    bytes: u64,
    policy: Policy,
    samples: usize,
    /// Keys that go at once.
    keys_at_once: usize,
    /// Evicted keys go out as UNLINK.
    unlinks: bool,
}

impl Limit {
    /// Of a node that is a replica, or is none.
    #[must_use]
    pub fn new(settings: &Settings, is_replica: bool) -> Self {
        let ignores = is_replica && settings.replica_ignore_maxmemory;
        Self {
            bytes: if ignores { 0 } else { settings.maxmemory },
            policy: policy(settings.maxmemory_policy),
            samples: usize::try_from(settings.maxmemory_samples).unwrap_or(1),
            keys_at_once: keys_at_once(settings.maxmemory_eviction_tenacity),
            unlinks: settings.lazyfree_lazy_eviction,
        }
    }

    /// Is there any limit?
    #[inline]
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.bytes > 0
    }
}

/// What the policy is for the engine.
#[must_use]
pub fn policy(named: MaxmemoryPolicy) -> Policy {
    use MaxmemoryPolicy as P;
    let rank = match named {
        P::VolatileLru | P::AllkeysLru => Rank::Lru,
        P::VolatileLfu | P::AllkeysLfu => Rank::Lfu,
        P::VolatileRandom | P::AllkeysRandom => Rank::Random,
        P::VolatileTtl => Rank::Ttl,
        P::NoEviction => Rank::None,
    };
    let volatile =
        matches!(named, P::VolatileLru | P::VolatileLfu | P::VolatileRandom | P::VolatileTtl);
    Policy { rank, volatile }
}

/// How counters of uses go up and down.
#[must_use]
pub fn counting(settings: &Settings) -> Counting {
    let minutes = u32::try_from(settings.lfu_decay_time).unwrap_or(u32::MAX);
    let unit_s = match minutes {
        0 => u32::MAX,
        minutes => minutes.saturating_mul(SECONDS_PER_MINUTE),
    };
    Counting { unit_s, log_factor: u32::try_from(settings.lfu_log_factor).unwrap_or(u32::MAX) }
}

fn keys_at_once(tenacity: i64) -> usize {
    let tenacity = u32::try_from(tenacity.clamp(0, 100)).unwrap_or(0);
    let keys = match tenacity {
        0..=10 => KEYS_AT_ONCE * f64::from(tenacity) / 10.0,
        11..=99 => KEYS_AT_ONCE * TENACITY_STEP.powf(f64::from(tenacity - 10)),
        _ => return usize::MAX,
    };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^53")]
    let keys = keys as usize;
    keys.max(KEYS_AT_ONCE_MIN)
}

impl Core {
    /// What the keys and clients of all cores take, as far as this core knows.
    fn counted_bytes(&self) -> u64 {
        let all = self.shared.host.used_bytes.load(Ordering::Relaxed);
        let keys = all.wrapping_sub(self.told_bytes);
        let keys = keys.wrapping_add(self.keyspace.counted_bytes() as u64);
        let clients = self.shared.host.client_bytes.load(Ordering::Relaxed);
        let backlog = self.shared.host.backlog_bytes.load(Ordering::Relaxed);
        keys.saturating_add(clients).saturating_add(backlog)
    }

    /// Tells the others what this core's keys take.
    pub(super) fn tell_bytes(&mut self) {
        if let Some(control) = &self.control {
            let held = control.ring.as_ref().map_or(0, |ring| ring.held().end - ring.held().start);
            let counted = held.min(self.view.settings.repl_backlog_size);
            self.shared.host.backlog_bytes.store(counted, Ordering::Relaxed);
        }
        let used = self.keyspace.counted_bytes() as u64;
        if used != self.told_bytes {
            self.shared.host.note_used(std::mem::replace(&mut self.told_bytes, used), used);
        }
    }

    /// Has no command that needs memory any left?
    pub(super) fn is_out_of_memory(&self) -> bool {
        let limit = &self.view.limit;
        limit.is_set()
            && self.counted_bytes() > limit.bytes
            && (limit.policy.rank == Rank::None || self.shared.host.nothing_to_evict(self.cores))
    }

    /// A command is about to run here.
    #[cold]
    pub(super) fn make_room_for(&mut self, command: Option<u16>) {
        let Some(command) = command.filter(|_| self.view.limit.is_set()) else { return };
        if self.shared.table.row(command).spec.may_write() {
            self.make_room();
        }
    }

    /// Lets keys of this core go until there is room, or as many as may go at once.
    pub(super) fn make_room(&mut self) {
        let limit = self.view.limit;
        let waits = self.view.loading || self.view.writes_wait || self.frozen.is_frozen();
        if !limit.is_set() || limit.policy.rank == Rank::None || waits || self.unit.is_some() {
            return;
        }
        let mut left = limit.keys_at_once;
        while left > 0 && self.counted_bytes() > limit.bytes {
            left -= 1;
            let found = self.evict_one();
            self.shared.host.set_nothing_to_evict(self.id, !found);
            if !found {
                break;
            }
        }
        if left < limit.keys_at_once {
            self.tell_bytes();
        }
    }

    fn evict_one(&mut self) -> bool {
        let limit = self.view.limit;
        let Self { keyspace, effect, prng, now, .. } = self;
        let verb: &[u8] = if limit.unlinks { b"UNLINK" } else { b"DEL" };
        let found =
            keyspace.evict(limit.policy, limit.samples, (now.wall, prng), &mut |db, key| {
                effect.command(db, &[verb, key]);
            });
        if found {
            // A replica that keeps to its own limit tells nobody.
            let own = if self.view.is_replica() { Origin::Master } else { Origin::Client };
            self.settle(0, Args::new(&[]), own);
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenacity_is_keys_at_once() {
        let table = [(0, 8), (5, 125), (10, 250), (11, 287), (30, 4_091), (100, usize::MAX)];
        for (tenacity, keys) in table {
            assert_eq!(keys_at_once(tenacity), keys, "{tenacity}");
        }
    }
}
