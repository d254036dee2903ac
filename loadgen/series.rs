//! What a run looked like over time: one row per interval, of all threads together.
//!
//! Each thread counts into an [`Interval`] and hands it over when its time is up; [`Series`] adds
//! those of one time together. A run of any length keeps to [`ROWS_MAX`] rows: when they are full,
//! neighbours are merged and intervals are twice as long from then on.
//!
//! Latencies of an interval lie in a small histogram of 32 buckets for each power of two (3 % apart),
//! which fits into the first level of the cache; the exact ones of the whole run are `histogram.rs`.

use std::collections::BTreeMap;

/// The first intervals' length in nanoseconds.
pub const INTERVAL_NS: u64 = 100_000_000;
pub const ROWS_MAX: usize = 1_200;
/// Buckets per power of two, as bits, and the power at which the last bucket ends.
const FINE_BITS: u32 = 5;
const HIGHEST_BIT: u32 = 42;
const BUCKETS: usize = ((HIGHEST_BIT - FINE_BITS + 2) as usize) << FINE_BITS;

/// What one thread counts until [`Self::take`].
#[derive(Clone, Debug)]
pub struct Interval {
    pub counts: Counts,
    buckets: Vec<u32>,
}

/// The plain numbers of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub replies: u64,
    pub errors: u64,
    /// Messages that came to subscribers.
    pub messages: u64,
    /// Connections made, and lost without our doing.
    pub connects: u64,
    pub lost: u64,
    pub max_ns: u64,
}

/// One thread's interval number `index`, ended.
#[derive(Clone, Debug)]
pub struct Ended {
    pub index: u64,
    pub counts: Counts,
    /// Connections that were up at its end.
    pub up: u64,
    /// Bucket and count.
    pub latencies: Vec<(u16, u32)>,
}

/// One interval of all threads.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub counts: Counts,
    pub up: u64,
    pub latencies: BTreeMap<u16, u64>,
    /// CPU time that was used in it, by loadgen and by the server.
    pub cpu_ns: u64,
    pub server_cpu_ns: u64,
}

/// See the file's header.
#[derive(Clone, Debug)]
pub struct Series {
    pub interval_ns: u64,
    pub rows: Vec<Row>,
}

impl Default for Interval {
    fn default() -> Self {
        Self { counts: Counts::default(), buckets: vec![0; BUCKETS] }
    }
}

impl Interval {
    #[inline]
    pub fn record(&mut self, ns: u64, count: u32) {
        let at = bucket(ns);
        self.buckets[at] = self.buckets[at].saturating_add(count);
        self.counts.max_ns = self.counts.max_ns.max(ns);
    }

    /// What was counted, as interval `index`; counting begins anew.
    pub fn take(&mut self, index: u64, up: u64) -> Ended {
        let filled = self.buckets.iter_mut().enumerate().filter(|(_, count)| **count > 0);
        let latencies = filled
            .map(|(at, count)| (u16::try_from(at).unwrap_or(u16::MAX), std::mem::take(count)));
        let latencies = latencies.collect();
        Ended { index, counts: std::mem::take(&mut self.counts), up, latencies }
    }
}

impl Default for Series {
    fn default() -> Self {
        Self { interval_ns: INTERVAL_NS, rows: Vec::new() }
    }
}

impl Series {
    /// Adds one thread's interval.
    pub fn add(&mut self, ended: &Ended) {
        let (first, up) = (ended.index * INTERVAL_NS % self.interval_ns, ended.up);
        let whole = first + INTERVAL_NS >= self.interval_ns;
        let Some(row) = self.row(ended.index * INTERVAL_NS) else { return };
        row.counts.add(&ended.counts);
        for (at, count) in &ended.latencies {
            *row.latencies.entry(*at).or_default() += u64::from(*count);
        }
        // How many are up is a level: a row shows it as it was at its end.
        if whole {
            row.up += up;
        }
    }

    /// Adds CPU time that was used in the interval that ends at `at`.
    pub fn add_cpu(&mut self, at: u64, own: u64, server: u64) {
        let Some(row) = self.row(at.saturating_sub(1)) else { return };
        row.cpu_ns += own;
        row.server_cpu_ns += server;
    }

    fn row(&mut self, at: u64) -> Option<&mut Row> {
        while at / self.interval_ns >= ROWS_MAX as u64 {
            self.double();
        }
        let index = crate::draw::to_usize(at / self.interval_ns);
        if self.rows.len() <= index {
            self.rows.resize_with(index + 1, Row::default);
        }
        self.rows.get_mut(index)
    }

    fn double(&mut self) {
        self.interval_ns *= 2;
        let rows = std::mem::take(&mut self.rows);
        let mut rows = rows.into_iter();
        while let Some(mut row) = rows.next() {
            if let Some(next) = rows.next() {
                row.counts.add(&next.counts);
                row.up = next.up;
                for (at, count) in next.latencies {
                    *row.latencies.entry(at).or_default() += count;
                }
                row.cpu_ns += next.cpu_ns;
                row.server_cpu_ns += next.server_cpu_ns;
            }
            self.rows.push(row);
        }
    }
}

impl Counts {
    pub fn add(&mut self, other: &Self) {
        self.replies += other.replies;
        self.errors += other.errors;
        self.messages += other.messages;
        self.connects += other.connects;
        self.lost += other.lost;
        self.max_ns = self.max_ns.max(other.max_ns);
    }
}

impl Row {
    /// Nanoseconds that a share `quantile` of the interval's latencies does not exceed, within 3 %.
    #[must_use]
    pub fn at(&self, quantile: f64) -> u64 {
        let total: u64 = self.latencies.values().sum();
        let mut left = (quantile * total as f64).ceil().max(1.0);
        for (at, count) in &self.latencies {
            left -= *count as f64;
            if left <= 0.0 {
                return upper(*at).min(self.counts.max_ns);
            }
        }
        0
    }
}

/// The bucket of a latency.
fn bucket(ns: u64) -> usize {
    let ns = ns.min((1 << HIGHEST_BIT) - 1);
    let shift = (63 - (ns | 1).leading_zeros()).saturating_sub(FINE_BITS);
    // The top bits are between 32 and 63 where something was shifted out, below 32 otherwise.
    crate::draw::to_usize((u64::from(shift) << FINE_BITS) + (ns >> shift))
}

/// The highest latency of a bucket.
#[must_use]
pub fn upper(bucket: u16) -> u64 {
    let bucket = u64::from(bucket);
    let fine = 1u64 << FINE_BITS;
    if bucket < 2 * fine {
        return bucket;
    }
    let shift = (bucket >> FINE_BITS) - 1;
    ((bucket - (shift << FINE_BITS) + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    #[test]
    fn a_bucket_ends_at_most_3_percent_above_what_it_holds() {
        for bit in 0..42 {
            for draw in 0..200 {
                let ns = (1u64 << bit) + Draw::new(bit, draw).below(1 << bit);
                let upper = upper(u16::try_from(bucket(ns)).unwrap());
                assert!(upper >= ns && upper - ns <= ns / 32, "{ns} {upper}");
            }
        }
        assert!(bucket(u64::MAX) < BUCKETS);
        assert_eq!(bucket(0), 0);
    }

    fn ended(index: u64, replies: u32, ns: u64, up: u64) -> Ended {
        let mut interval = Interval::default();
        interval.counts.replies = u64::from(replies);
        interval.record(ns, replies);
        interval.take(index, up)
    }

    #[test]
    fn threads_add_up_and_percentiles_come_from_all() {
        let mut series = Series::default();
        series.add(&ended(0, 99, 1_000, 5));
        series.add(&ended(0, 1, 1_000_000, 7));
        let row = &series.rows[0];
        assert_eq!((row.counts.replies, row.up), (100, 12));
        assert!(row.at(0.5).abs_diff(1_000) < 40 && row.at(0.99).abs_diff(1_000) < 40);
        assert_eq!(row.at(0.999), 1_000_000);
    }

    #[test]
    fn a_long_run_keeps_to_its_rows_and_loses_nothing() {
        let mut series = Series::default();
        for index in 0..5_000 {
            series.add(&ended(index, 2, 100 + index, index));
            series.add(&ended(index, 3, 100, 1));
            series.add_cpu((index + 1) * INTERVAL_NS, 10, 20);
        }
        assert!(series.rows.len() <= ROWS_MAX);
        assert_eq!(series.interval_ns, 8 * INTERVAL_NS);
        let sum = |of: fn(&Row) -> u64| series.rows.iter().map(of).sum::<u64>();
        assert_eq!(sum(|it| it.counts.replies), 25_000);
        assert_eq!(sum(|it| it.latencies.values().sum()), 25_000);
        assert_eq!((sum(|it| it.cpu_ns), sum(|it| it.server_cpu_ns)), (50_000, 100_000));
        assert_eq!(series.rows[624].up, 5_000);
    }
}
