//! Which key a request touches: uniform or Zipf.
//!
//! Zipf draws rank `r` of `n` with probability `r^-s / H(n, s)`, by rejection-inversion (Hörmann and
//! Derflinger 1996): no table, so a key space of 10^12 costs as little as one of 100, and about
//! 1.1 rounds a draw. Key number 0 is the hottest.

use crate::draw::Draw;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    Uniform,
    Zipf { exponent: f64 },
}

impl Distribution {
    /// Whether keys can be drawn with this.
    pub fn check(self) -> Result<(), String> {
        match self {
            Self::Zipf { exponent } if !(0.01..=10.0).contains(&exponent) => {
                Err("a Zipf exponent lies between 0.01 and 10".into())
            }
            Self::Uniform | Self::Zipf { .. } => Ok(()),
        }
    }
}

/// Draws key numbers in `0..count`.
#[derive(Clone, Debug)]
pub enum Keys {
    Uniform { count: u64 },
    Zipf(Zipf),
}

impl Keys {
    #[must_use]
    pub fn new(distribution: Distribution, count: u64) -> Self {
        match distribution {
            Distribution::Uniform => Self::Uniform { count },
            Distribution::Zipf { exponent } => Self::Zipf(Zipf::new(count, exponent)),
        }
    }

    pub fn draw(&self, draw: &mut Draw) -> u64 {
        match self {
            Self::Uniform { count } => draw.below(*count),
            Self::Zipf(zipf) => zipf.draw(draw),
        }
    }
}

/// The constants of one Zipf distribution.
#[derive(Clone, Debug)]
pub struct Zipf {
    exponent: f64,
    count: f64,
    /// `integral` at 1.5 less the first rank's weight, and at `count + 0.5`: what is drawn between.
    low: f64,
    high: f64,
    /// A draw this close above its rank's middle needs no comparison.
    shortcut: f64,
}

impl Zipf {
    fn new(count: u64, exponent: f64) -> Self {
        let mut zipf = Self { exponent, count: count as f64, low: 0.0, high: 0.0, shortcut: 0.0 };
        zipf.low = zipf.integral(1.5) - 1.0;
        zipf.high = zipf.integral(zipf.count + 0.5);
        zipf.shortcut = 2.0 - zipf.inverse(zipf.integral(2.5) - zipf.weight(2.0));
        zipf
    }

    fn draw(&self, draw: &mut Draw) -> u64 {
        loop {
            let u = self.high + draw.unit() * (self.low - self.high);
            let x = self.inverse(u);
            let rank = x.round().clamp(1.0, self.count);
            if rank - x <= self.shortcut || u >= self.integral(rank + 0.5) - self.weight(rank) {
                #[expect(clippy::cast_possible_truncation, reason = "between 1 and 10^12")]
                return rank as u64 - 1;
            }
        }
    }

    fn weight(&self, x: f64) -> f64 {
        (-self.exponent * x.ln()).exp()
    }

    /// The integral of `x^-s`: `(x^(1-s) - 1) / (1-s)`, and `ln x` where s is 1.
    fn integral(&self, x: f64) -> f64 {
        let (log, power) = (x.ln(), 1.0 - self.exponent);
        if power.abs() < 1e-9 { log } else { (power * log).exp_m1() / power }
    }

    fn inverse(&self, y: f64) -> f64 {
        let power = 1.0 - self.exponent;
        if power.abs() < 1e-9 { y.exp() } else { ((power * y).max(-1.0).ln_1p() / power).exp() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::to_usize;

    /// Draws 200,000 keys and compares each rank's share with the formula.
    fn check_zipf(count: u64, exponent: f64) {
        const DRAWS: u32 = 200_000;
        let keys = Keys::new(Distribution::Zipf { exponent }, count);
        let mut seen = vec![0u32; to_usize(count)];
        for request in 0..u64::from(DRAWS) {
            let key = keys.draw(&mut Draw::new(Draw::stream(11, 0), request));
            seen[to_usize(key)] += 1;
        }
        let harmonic: f64 = (1..=count).map(|rank| (rank as f64).powf(-exponent)).sum();
        for (rank, &n) in (1..=count).zip(&seen) {
            let expected = f64::from(DRAWS) * (rank as f64).powf(-exponent) / harmonic;
            // Five standard deviations of a count, and a little for the rarest.
            let slack = 5.0 * expected.sqrt() + 5.0;
            assert!(
                (f64::from(n) - expected).abs() < slack,
                "n={count} s={exponent} rank {rank}: {n} seen, {expected:.1} expected"
            );
        }
    }

    #[test]
    fn zipf_follows_its_formula() {
        check_zipf(1, 0.99);
        check_zipf(2, 1.0);
        check_zipf(100, 0.5);
        check_zipf(1000, 0.99);
        check_zipf(1000, 1.0);
        check_zipf(50, 2.5);
    }

    #[test]
    fn uniform_keys_reach_the_whole_space_evenly() {
        let keys = Keys::new(Distribution::Uniform, 10);
        let mut seen = [0u32; 10];
        for request in 0..100_000 {
            let key = keys.draw(&mut Draw::new(Draw::stream(3, 7), request));
            seen[to_usize(key)] += 1;
        }
        assert!(seen.iter().all(|n| (9_500..10_500).contains(n)), "{seen:?}");
    }
}
