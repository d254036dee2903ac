//! When an open loop's requests leave: a list of slots that depends on the plan and on nothing else.
//!
//! A slot is a time and a connection. The list is drawn lazily, but what it holds was decided by the
//! seed: a slow server cannot move, thin out or skip a slot (that would be coordinated omission), it
//! can only be late for it, and latency counts from the slot.
//!
//! Uniform slots go to the connections in turn and Poisson slots to random ones, which is the same
//! as an independent schedule of that kind for every single connection.
//!
//! Not here: clocks. A time is nanoseconds from the run's start.

use ringfold::base::prng::Prng;

/// One planned request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub at: u64,
    /// An index among the pacer's own connections.
    pub connection: u32,
}

/// The slots of one group on one thread.
#[derive(Clone, Debug)]
pub struct Pacer {
    prng: Prng,
    poisson: bool,
    /// Mean nanoseconds between slots.
    gap: f64,
    connections: u32,
    /// Slots end before this time and after this many.
    end: u64,
    left: u64,
    /// The next slot's exact time; rounding each gap instead would make the rate wrong.
    at: f64,
    issued: u64,
    next: Option<Slot>,
}

impl Pacer {
    /// `rate` slots a second on average for `connections`, from time 0 until `end`, `left` at most.
    #[must_use]
    pub fn new(seed: u64, poisson: bool, rate: f64, connections: u32, end: u64, left: u64) -> Self {
        let prng = Prng::new(seed);
        let gap = 1e9 / rate;
        let mut pacer =
            Self { prng, poisson, gap, connections, end, left, at: 0.0, issued: 0, next: None };
        pacer.advance();
        pacer
    }

    /// The next slot, which stays.
    #[must_use]
    pub fn peek(&self) -> Option<Slot> {
        self.next
    }

    /// The next slot, if its time has come.
    pub fn due(&mut self, now: u64) -> Option<Slot> {
        let slot = self.next.filter(|slot| slot.at <= now)?;
        self.advance();
        Some(slot)
    }

    fn advance(&mut self) {
        let connection = if self.poisson {
            // 1 - u lies in (0, 1], so the logarithm is finite.
            self.at += -(1.0 - self.prng.unit()).ln() * self.gap;
            self.prng.below(u64::from(self.connections))
        } else {
            self.at = self.issued as f64 * self.gap;
            self.issued % u64::from(self.connections.max(1))
        };
        self.issued += 1;
        #[expect(clippy::cast_possible_truncation, reason = "a checked plan ends within a year")]
        let at = self.at as u64;
        let connection = u32::try_from(connection).unwrap_or(0);
        self.next = (at < self.end && self.issued <= self.left).then_some(Slot { at, connection });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(mut pacer: Pacer) -> Vec<Slot> {
        std::iter::from_fn(|| pacer.due(u64::MAX)).collect()
    }

    #[test]
    fn uniform_slots_are_evenly_spaced_and_never_drift() {
        let slots = all(Pacer::new(1, false, 3_000_000.0, 7, 1_000_000_000, u64::MAX));
        assert_eq!(slots.len(), 3_000_000);
        for (index, slot) in (0u64..).zip(&slots) {
            assert!(slot.at.abs_diff(index * 1000 / 3) <= 1, "{index}: {slot:?}");
            assert_eq!(u64::from(slot.connection), index % 7);
        }
    }

    /// Gaps of a Poisson process are exponential: mean = deviation, and P(gap > t) = e^(-t/mean).
    #[test]
    fn poisson_slots_have_exponential_gaps() {
        let slots = all(Pacer::new(5, true, 100_000.0, 4, 5_000_000_000, u64::MAX));
        let count = slots.len() as f64;
        assert!((count - 500_000.0).abs() < 5.0 * 500_000f64.sqrt(), "{count} slots");
        let gaps: Vec<f64> = slots.windows(2).map(|it| (it[1].at - it[0].at) as f64).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let variance = gaps.iter().map(|it| (it - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((mean / 10_000.0 - 1.0).abs() < 0.01, "mean {mean}");
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.01, "deviation {}", variance.sqrt());
        for multiple in [0.5, 1.0, 2.0, 4.0] {
            let above = gaps.iter().filter(|it| **it > multiple * mean).count() as f64;
            let share = above / gaps.len() as f64;
            assert!((share - (-multiple).exp()).abs() < 0.005, "P(gap > {multiple}): {share}");
        }
        for connection in 0..4 {
            let own = slots.iter().filter(|it| it.connection == connection).count() as f64;
            assert!((own - count / 4.0).abs() < 5.0 * (count / 4.0).sqrt(), "{connection}: {own}");
        }
    }

    #[test]
    fn slots_end_at_the_end_or_the_count_and_follow_the_seed() {
        let slots = |seed, left| all(Pacer::new(seed, true, 1000.0, 3, 1_000_000_000, left));
        assert_eq!(slots(1, 10).len(), 10);
        assert!(slots(1, u64::MAX).iter().all(|it| it.at < 1_000_000_000));
        assert_eq!(slots(9, 50), slots(9, 50));
        assert_ne!(slots(9, 50), slots(8, 50));
    }

    #[test]
    fn a_slot_is_not_due_before_its_time_and_not_lost_after_it() {
        let mut pacer = Pacer::new(1, false, 1000.0, 1, 10_000_000, u64::MAX);
        assert_eq!(pacer.due(0).map(|it| it.at), Some(0));
        assert_eq!(pacer.due(999_999), None);
        assert_eq!(pacer.peek().map(|it| it.at), Some(1_000_000));
        // Late by 5 ms: all five slots come, with the times that were planned.
        let late: Vec<u64> = std::iter::from_fn(|| pacer.due(5_500_000)).map(|it| it.at).collect();
        assert_eq!(late, [1_000_000, 2_000_000, 3_000_000, 4_000_000, 5_000_000]);
    }
}
