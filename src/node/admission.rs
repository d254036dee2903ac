//! How fast clients are let in.
//!
//! Of those that wait to be accepted each turn takes a few, behind all that the turn does
//! for those who are in. How few is up to the loop's lag: while turns are short the number grows, when one
//! was long it is halved. So a storm fills the time that is left and no more. It never takes the last
//! seats, which are kept for links to masters and for the doors of administration.

use crate::base::limits::{
    ACCEPTS_PER_TURN_MAX, ACCEPTS_PER_TURN_MIN, ADMIN_RESERVE, ADMIN_RESERVE_PART, TURN_TARGET_NS,
};

/// See the file's header.
#[derive(Debug)]
pub struct Admission {
    most: usize,
}

impl Default for Admission {
    fn default() -> Self {
        Self { most: ACCEPTS_PER_TURN_MIN }
    }
}

impl Admission {
    /// How many connections the next turn accepts at most, where the last turn of the slowest core took so
    /// many nanoseconds, and of `seats` so many are taken.
    pub fn next(&mut self, lag_ns: u64, seats: u64, taken: u64) -> usize {
        self.most = match lag_ns {
            ..TURN_TARGET_NS => (self.most + self.most / 8 + 1).min(ACCEPTS_PER_TURN_MAX),
            _ => (self.most / 2).max(ACCEPTS_PER_TURN_MIN),
        };
        let kept = ADMIN_RESERVE.min(seats / ADMIN_RESERVE_PART);
        let free = seats.saturating_sub(taken).saturating_sub(kept);
        self.most.min(usize::try_from(free).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_gets_the_time_that_is_left() {
        let mut admission = Admission::default();
        let calm = (0..200).map(|_| admission.next(0, u64::MAX, 0)).last();
        assert_eq!(calm, Some(ACCEPTS_PER_TURN_MAX));
        // A turn that takes 10 us for each client that it lets in settles near the target.
        let mut taken = calm.unwrap_or_default();
        for _ in 0..50 {
            taken = admission.next(taken as u64 * 10_000, u64::MAX, 0);
        }
        let target = usize::try_from(TURN_TARGET_NS / 10_000).unwrap();
        assert!((target / 2..=2 * target).contains(&taken), "{taken} of {target}");
        // However late the loop is, somebody gets in.
        (0..50).for_each(|_| taken = admission.next(u64::MAX, u64::MAX, 0));
        assert_eq!(taken, ACCEPTS_PER_TURN_MIN);
    }

    #[test]
    fn the_last_seats_are_kept() {
        let mut admission = Admission::default();
        assert_eq!(
            (0..200).map(|_| admission.next(0, 1_000, 0)).last(),
            Some(ACCEPTS_PER_TURN_MAX)
        );
        assert_eq!(admission.next(0, 1_000, 1_000 - ADMIN_RESERVE - 3), 3);
        assert_eq!(admission.next(0, 1_000, 1_000 - ADMIN_RESERVE), 0);
        assert_eq!(admission.next(0, 80, 69), 1, "few seats: few are kept");
        assert_eq!(admission.next(0, 1_000, 2_000), 0);
    }
}
