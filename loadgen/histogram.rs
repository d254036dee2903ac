//! Latencies: one HdrHistogram per thread and command, merged by adding, and the `.hgrm` text.
//!
//! Values are nanoseconds with three significant digits up to an hour; above that they saturate.
//! The text is HdrHistogram's percentile distribution (what its plotting tools read), in
//! microseconds.

use std::fmt::Write;

/// The longest latency told apart.
const HIGHEST_NS: u64 = 3_600_000_000_000;
const DIGITS: u8 = 3;
const TICKS_PER_HALF: u32 = 5;

/// A distribution of nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Default for Histogram {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "constant bounds: it cannot fail at run time only")]
        let inner = hdrhistogram::Histogram::new_with_bounds(1, HIGHEST_NS, DIGITS)
            .expect("the bounds are valid");
        Self(inner)
    }
}

impl Histogram {
    /// `count` equal values, which cost as much as one.
    pub fn record(&mut self, ns: u64, count: u64) {
        self.0.saturating_record_n(ns, count);
    }

    pub fn add(&mut self, other: &Self) {
        // Same bounds on both sides, so nothing can be out of range.
        let _added = self.0.add(&other.0);
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Nanoseconds that a share `quantile` of all values does not exceed.
    #[must_use]
    pub fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    #[must_use]
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    #[must_use]
    pub fn max(&self) -> u64 {
        self.0.max()
    }

    #[must_use]
    pub fn min(&self) -> u64 {
        self.0.min()
    }

    /// The distribution as a curve: share of all values, the value that it does not exceed, and how
    /// many values that are; denser towards the end.
    #[must_use]
    pub fn curve(&self) -> Vec<(f64, u64, u64)> {
        let mut total = 0;
        let steps = self.0.iter_quantiles(TICKS_PER_HALF).map(|step| {
            total += step.count_since_last_iteration();
            (step.quantile_iterated_to(), step.value_iterated_to(), total)
        });
        steps.collect()
    }

    /// HdrHistogram's percentile distribution.
    #[must_use]
    pub fn hgrm(&self) -> String {
        let us = |ns: u64| ns as f64 / 1000.0;
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        for (quantile, ns, total) in self.curve() {
            let value = us(ns);
            // Writing to a String cannot fail.
            let _written = if quantile < 1.0 {
                let odds = 1.0 / (1.0 - quantile);
                writeln!(text, "{value:12.3} {quantile:2.12} {total:10} {odds:14.2}")
            } else {
                writeln!(text, "{value:12.3} {quantile:2.12} {total:10}")
            };
        }
        let (mean, deviation) = (self.0.mean() / 1000.0, self.0.stdev() / 1000.0);
        let (max, count) = (us(self.max()), self.count());
        let _written = write!(
            text,
            "#[Mean    = {mean:12.3}, StdDeviation   = {deviation:12.3}]\n\
             #[Max     = {max:12.3}, Total count    = {count:12}]\n\
             #[Buckets = {:12}, SubBuckets     = {:12}]\n",
            self.0.buckets(),
            2048
        );
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    fn filled(seed: u64, count: u64) -> Histogram {
        let mut histogram = Histogram::default();
        for request in 0..count {
            let ns = Draw::new(seed, request).below(1_000_000) + 1000;
            histogram.record(ns, 1 + request % 3);
        }
        histogram
    }

    #[test]
    fn the_hgrm_text_parses_back_to_the_same_distribution() {
        let histogram = filled(1, 20_000);
        let text = histogram.hgrm();
        let mut lines = text.lines();
        let columns: Vec<&str> = lines.next().unwrap().split_whitespace().collect();
        assert_eq!(columns, ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
        assert_eq!(lines.next(), Some(""));
        let (mut last, mut rows) = ((0.0, -1.0, 0), 0);
        for line in lines.by_ref().take_while(|it| !it.starts_with('#')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let row: (f64, f64, u64) = (
                fields[0].parse().unwrap(),
                fields[1].parse().unwrap(),
                fields[2].parse().unwrap(),
            );
            assert!(row.0 >= last.0 && row.1 >= last.1 && row.2 >= last.2, "{line}");
            let ns = histogram.at(row.1) as f64;
            assert!((row.0 * 1000.0 - ns).abs() <= ns / 500.0, "{line}: {ns}");
            match fields.get(3) {
                Some(odds) => {
                    let odds: f64 = odds.parse().unwrap();
                    let expected = 1.0 / (1.0 - row.1);
                    assert!((odds / expected - 1.0).abs() < 0.01, "{line}");
                }
                None => assert!(row.1 == 1.0, "{line}"),
            }
            (last, rows) = (row, rows + 1);
        }
        assert!(rows > 30);
        assert_eq!((last.1, last.2), (1.0, histogram.count()));
        assert!(text.contains(&format!("Total count    = {:12}", histogram.count())));
    }

    #[test]
    fn merging_is_the_same_as_recording_into_one() {
        let (a, b) = (filled(1, 1000), filled(2, 500));
        let mut both = a.clone();
        both.add(&b);
        assert_eq!(both.count(), a.count() + b.count());
        assert_eq!(both.max(), a.max().max(b.max()));
        assert_eq!(both.min(), a.min().min(b.min()));
    }

    #[test]
    fn what_is_beyond_an_hour_saturates() {
        let mut histogram = Histogram::default();
        histogram.record(u64::MAX, 1);
        assert!(histogram.at(1.0) >= HIGHEST_NS);
    }
}
