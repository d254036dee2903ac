//! How long bytes of the stream take to each stage: appended, sent, acknowledged; on a replica: received, applied.
//!
//! Now and then the end of the stream is marked with the time. When a replica's cursor or its acknowledgement
//! passes a mark, the time since then is that stage's lag, and goes into a histogram. So a lag is of bytes that
//! really were on their way, not a guess from offsets and rates.
//!
//! Beware: time is that of the turn. What happens within one turn took no time here.

use crate::base::limits::{LAG_MARK_US, LAG_MARKS_MAX};
use crate::base::time::Mono;
use hdrhistogram::Histogram;
use std::collections::VecDeque;

/// Ends of the stream, and when they were.
#[derive(Debug, Default)]
pub struct Marks {
    marks: VecDeque<(u64, Mono)>,
    /// Marks that went before the oldest one.
    gone: u64,
}

/// How far one stage is in the marks, and what it took.
#[derive(Debug, Clone, Default)]
pub struct Stage {
    next: u64,
    took_us: Option<Box<Histogram<u64>>>,
}

/// What INFO shows of a stage, in microseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub count: u64,
    pub p50: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Marks {
    /// The stream ends at `end` now.
    pub fn note(&mut self, now: Mono, end: u64) {
        match self.marks.back() {
            Some(&(last, _)) if last > end => {
                // Another history.
                self.gone += self.marks.len() as u64;
                self.marks.clear();
            }
            Some(&(last, at))
                if last == end || now.0.saturating_sub(at.0) < LAG_MARK_US * 1_000 =>
            {
                return;
            }
            _ => {}
        }
        self.marks.push_back((end, now));
        if self.marks.len() > LAG_MARKS_MAX {
            self.marks.pop_front();
            self.gone += 1;
        }
    }

    /// A stage that begins now has no part in what was marked before.
    #[must_use]
    pub fn begin(&self) -> Stage {
        Stage { next: self.gone + self.marks.len() as u64, took_us: None }
    }

    /// The stage has all bytes up to `offset`.
    pub fn reached(&self, stage: &mut Stage, now: Mono, offset: u64) {
        stage.next = stage.next.max(self.gone);
        let from = usize::try_from(stage.next - self.gone).unwrap_or(usize::MAX);
        for &(end, at) in self.marks.iter().skip(from) {
            if end > offset {
                break;
            }
            stage.next += 1;
            let micros = now.0.saturating_sub(at.0) / 1_000;
            stage
                .took_us
                .get_or_insert_with(|| Box::new(histogram()))
                .saturating_record(micros.max(1));
        }
    }
}

impl Stage {
    /// HdrHistogram's percentile distribution, in microseconds: what its plotting tools read.
    #[must_use]
    pub fn hgrm(&self) -> String {
        const TICKS_PER_HALF: u32 = 5;
        let none = histogram();
        let it = self.took_us.as_deref().unwrap_or(&none);
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        let mut total = 0;
        for step in it.iter_quantiles(TICKS_PER_HALF) {
            total += step.count_since_last_iteration();
            let (value, quantile) = (step.value_iterated_to(), step.quantile_iterated_to());
            text.push_str(&format!("{value:12}.000 {quantile:2.12} {total:10}"));
            if quantile < 1.0 {
                text.push_str(&format!(" {:14.2}", 1.0 / (1.0 - quantile)));
            }
            text.push('\n');
        }
        let (mean, deviation, max, count) = (it.mean(), it.stdev(), it.max(), it.len());
        text.push_str(&format!(
            "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
             #[Max     = {max:12}, Total count    = {count:12}]\n\
             #[Buckets = {:12}, SubBuckets     = {:12}]\n",
            it.buckets(),
            256
        ));
        text
    }

    #[must_use]
    pub fn summary(&self) -> Summary {
        self.took_us.as_ref().map_or_else(Summary::default, |it| Summary {
            count: it.len(),
            p50: it.value_at_quantile(0.5),
            p99: it.value_at_quantile(0.99),
            p999: it.value_at_quantile(0.999),
            max: it.max(),
        })
    }
}

impl std::fmt::Display for Summary {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { count, p50, p99, p999, max } = self;
        write!(f, "count={count},p50={p50},p99={p99},p99.9={p999},max={max}")
    }
}

/// From a microsecond to an hour, in two digits.
fn histogram() -> Histogram<u64> {
    const HOUR_US: u64 = 3_600_000_000;
    Histogram::new_with_bounds(1, HOUR_US, 2).unwrap_or_else(|why| unreachable!("{why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_the_time_since_the_bytes_were_appended() {
        let mut marks = Marks::default();
        let at = |ms| Mono(0).plus_ms(ms);
        marks.note(at(0), 50);
        let mut stage = marks.begin();
        (1..=100).for_each(|ms| marks.note(at(ms), 50 + ms * 10));
        marks.reached(&mut stage, at(100), 50 + 10 * 10);
        assert_eq!(stage.summary().count, 10);
        let max = stage.summary().max;
        assert!((98_000..=100_000).contains(&max), "{max}");
        marks.reached(&mut stage, at(100), 50 + 100 * 10);
        let Summary { count, p50, p99, .. } = stage.summary();
        assert_eq!(count, 100);
        assert!((48_000..=52_000).contains(&p50) && p99 >= 97_000, "{p50} {p99}");
        marks.reached(&mut stage, at(500), 5_000);
        assert_eq!(stage.summary().count, 100, "nothing new");
    }

    #[test]
    fn the_distribution_counts_every_lag() {
        let mut marks = Marks::default();
        let mut stage = marks.begin();
        (1..=100).for_each(|ms| marks.note(Mono(0).plus_ms(ms), ms));
        marks.reached(&mut stage, Mono(0).plus_ms(100), 100);
        let text = stage.hgrm();
        let rows: Vec<Vec<f64>> = text
            .lines()
            .skip(2)
            .filter(|line| !line.starts_with('#'))
            .map(|line| line.split_whitespace().map(|it| it.parse().unwrap()).collect())
            .collect();
        assert!(rows.windows(2).all(|it| it[0][0] <= it[1][0] && it[0][2] <= it[1][2]), "{text}");
        let last = rows.last().unwrap();
        assert_eq!((last[1], last[2], last.len()), (1.0, 100.0, 3), "{text}");
        assert!(Stage::default().hgrm().contains("Total count    =            0"));
    }

    #[test]
    fn marks_are_bounded_and_end_with_their_history() {
        let mut marks = Marks::default();
        let mut stage = marks.begin();
        let many = 3 * LAG_MARKS_MAX as u64;
        (0..many).for_each(|ms| marks.note(Mono(0).plus_ms(ms), ms + 1));
        assert_eq!(marks.marks.len(), LAG_MARKS_MAX);
        marks.note(Mono(0).plus_ms(many), 7);
        assert_eq!(marks.marks.len(), 1);
        marks.reached(&mut stage, Mono(0).plus_ms(many + 5), 7);
        assert_eq!((stage.summary().count, stage.summary().max / 1_000), (1, 5));
    }
}
