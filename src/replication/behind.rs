//! What happens when a replica falls behind: writers wait for it, or it is dropped.
//!
//! ```text
//!   behind <= limit                              nothing: the ring has it all
//!   behind >  limit, and it takes bytes          writers wait until it is below again
//!   behind >  limit, and it has taken none for   it is dropped: whoever it is, it is
//!             `repl-writers-wait` seconds        not getting anywhere
//! ```
//!
//! Redis drops it in both cases. A replica that was dropped while it was merely slow asks for a full
//! sync, which makes it slower, so it is dropped again, for ever: that is why writers wait.
//!
//! The limits are `client-output-buffer-limit replica`, each with what may lie in a file besides; the soft one counts only for who takes nothing.

use crate::base::limits::{REPLICA_BEHIND_BYTES, REPLICA_BEHIND_SLACK_BYTES};
use crate::base::time::Mono;
use crate::replication::attached::{Attached, State};
use crate::replication::master::{CloseReason, Settings};

/// What is to be done about one replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// Writers wait for it.
    Wait,
    Drop(CloseReason),
}

/// The verdict on `replica`, where the stream ends at `end`. `waiting`: writers wait already.
pub fn judge(
    replica: &mut Attached,
    settings: &Settings,
    now: Mono,
    end: u64,
    waiting: bool,
) -> Verdict {
    let Some(cursor) = replica.cursor() else { return Verdict::Fine };
    if matches!(replica.state, State::Closing { .. }) {
        return Verdict::Fine;
    }
    let behind = end.saturating_sub(cursor);
    // While its snapshot is spooled we are those who are slow.
    let spooling = matches!(replica.state, State::WaitSize { .. });
    let stuck = !spooling && now.ms_since(replica.took) >= settings.writers_wait_ms;
    let limited = settings.output_hard_bytes > 0;
    let hard = limit(settings);
    let slack = if waiting { REPLICA_BEHIND_SLACK_BYTES.min(hard / 8) } else { 0 };
    if behind > hard - slack && !stuck {
        return Verdict::Wait;
    }
    if behind > hard && limited {
        return Verdict::Drop(CloseReason::OutputHardLimit);
    }
    let soft = settings.output_soft_bytes.max(settings.backlog_bytes);
    let soft = soft.saturating_add(settings.spill_bytes);
    if settings.output_soft_bytes == 0 || behind <= soft {
        replica.over_soft_since = None;
        return Verdict::Fine;
    }
    let since = *replica.over_soft_since.get_or_insert(now);
    if stuck && now.ms_since(since) > settings.output_soft_ms {
        return Verdict::Drop(CloseReason::OutputSoftLimit);
    }
    Verdict::Fine
}

/// How far behind a replica may be.
pub fn limit(settings: &Settings) -> u64 {
    let hard = match settings.output_hard_bytes {
        0 => REPLICA_BEHIND_BYTES,
        hard => hard.max(settings.backlog_bytes),
    };
    hard.saturating_add(settings.spill_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(behind: u64, silent_ms: u64, settings: &Settings, waiting: bool) -> Verdict {
        let mut replica = Attached::new(1, Mono(0));
        replica.state = State::Online { cursor: 0, in_flight: false };
        judge(&mut replica, settings, Mono(0).plus_ms(silent_ms), behind, waiting)
    }

    #[test]
    fn writers_wait_for_who_is_slow_and_who_is_stuck_is_dropped() {
        let settings = Settings {
            output_hard_bytes: 8_000,
            output_soft_bytes: 4_000,
            output_soft_ms: 60_000,
            backlog_bytes: 100,
            writers_wait_ms: 5_000,
            ..Settings::default()
        };
        let hard = Verdict::Drop(CloseReason::OutputHardLimit);
        for (behind, silent_ms, waiting, expected) in [
            (8_000, 0, false, Verdict::Fine),
            (8_001, 0, false, Verdict::Wait),
            (8_001, 4_999, false, Verdict::Wait),
            (8_001, 5_000, false, hard),
            (7_500, 0, true, Verdict::Wait),
            (7_000, 0, true, Verdict::Fine),
            (7_500, 5_000, true, Verdict::Fine),
            (5_000, 70_000, false, Verdict::Fine), // Only now seen over the soft limit.
        ] {
            assert_eq!(verdict(behind, silent_ms, &settings, waiting), expected, "{behind}");
        }
        let as_redis = Settings { writers_wait_ms: 0, ..settings };
        assert_eq!(verdict(8_001, 0, &as_redis, false), hard);
        let unlimited = Settings { output_hard_bytes: 0, output_soft_bytes: 0, ..settings };
        assert_eq!(verdict(REPLICA_BEHIND_BYTES + 1, 0, &unlimited, false), Verdict::Wait);
        assert_eq!(verdict(u64::MAX, 9_000, &unlimited, false), Verdict::Fine);
    }

    #[test]
    fn the_soft_limit_counts_for_who_takes_nothing() {
        let settings = Settings { output_soft_bytes: 4_000, ..Settings::default() };
        let settings = Settings { backlog_bytes: 100, writers_wait_ms: 5_000, ..settings };
        let mut replica = Attached::new(1, Mono(0));
        replica.state = State::Online { cursor: 0, in_flight: false };
        let mut at = |ms: u64, took_ms: u64| {
            replica.took = Mono(0).plus_ms(took_ms);
            judge(&mut replica, &settings, Mono(0).plus_ms(ms), 5_000, false)
        };
        assert_eq!(at(0, 0), Verdict::Fine);
        assert_eq!(at(60_001, 60_000), Verdict::Fine, "slow, but moving");
        assert_eq!(at(66_000, 60_000), Verdict::Drop(CloseReason::OutputSoftLimit));
    }
}
