//! How much was written lately: what the ring keeps for replicas that may be away for some seconds.
//!
//! A backlog of so many bytes lasts an hour on one server and a blink on another. So besides its
//! bytes it keeps what was written in the last `repl-backlog-seconds`, up to `repl-backlog-max`.
//!
//! One mark a second: where the stream ended then.

use crate::base::limits::BACKLOG_SECONDS_MAX;
use crate::base::time::Mono;
use std::collections::VecDeque;

/// See the file's header.
#[derive(Debug, Default)]
pub struct Recent {
    marks: VecDeque<(Mono, u64)>,
}

impl Recent {
    /// The stream ends at `end` now. At least once a second.
    pub fn note(&mut self, now: Mono, end: u64, seconds: u64) {
        if self.marks.back().is_some_and(|&(_, last)| last > end) {
            self.marks.clear(); // Another history.
        }
        if self.marks.back().is_none_or(|&(at, _)| now.ms_since(at) >= 1_000) {
            self.marks.push_back((now, end));
        }
        let keep_ms = seconds.min(BACKLOG_SECONDS_MAX) * 1_000;
        // The oldest one kept is the last that is as old as that, or none is.
        while self.marks.get(1).is_some_and(|&(at, _)| now.ms_since(at) >= keep_ms) {
            self.marks.pop_front();
        }
    }

    /// How many bytes were written in those seconds, or since the first mark.
    #[must_use]
    pub fn bytes(&self, end: u64) -> u64 {
        self.marks.front().map_or(0, |&(_, then)| end.saturating_sub(then))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_seconds_count_and_no_others() {
        let (mut recent, mut end) = (Recent::default(), 5_000);
        for tenth in 0..1_000_u64 {
            recent.note(Mono(0).plus_ms(tenth * 100), end, 10);
            end += 100; // 1,000 bytes a second.
        }
        assert!((10_000..=11_100).contains(&recent.bytes(end)), "{}", recent.bytes(end));
        for tenth in 1_000..1_300_u64 {
            recent.note(Mono(0).plus_ms(tenth * 100), end, 10);
        }
        assert_eq!(recent.bytes(end), 0, "a pause of 30 seconds");
        recent.note(Mono(0).plus_ms(131_000), 7, 10);
        assert_eq!(recent.bytes(7), 0, "another history");
        assert!(recent.marks.len() < 20);
    }
}
