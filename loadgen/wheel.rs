//! A timing wheel: what shall happen when, for a million clients at the cost of one.
//!
//! Four wheels of 256 slots each; a slot of the first is 65 us wide, one of the next is as wide as
//! the whole wheel before it. An entry lies on the wheel on which its time first differs from now,
//! and moves inwards as time comes nearer: each is touched five times at most. What lies in the
//! current slot is kept in a small heap, so that entries come out in the order of their exact times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

const SLOT_BITS: u32 = 16;
const DIGIT_BITS: u32 = 8;
const SLOTS: usize = 1 << DIGIT_BITS;
const WHEELS: usize = 4;
/// Where the last wheel's digit is in a slot's number.
const LAST_SHIFT: u32 = 24;

/// See the file's header. `T` says what shall happen.
#[derive(Clone, Debug)]
pub struct Wheel<T> {
    /// Everything up to the end of this slot is in `soon`.
    slot: u64,
    wheels: Vec<Vec<Vec<(u64, T)>>>,
    /// Entries on the wheels, without those in `soon`.
    outside: usize,
    soon: BinaryHeap<Reverse<(u64, T)>>,
}

impl<T: Copy + Ord> Default for Wheel<T> {
    fn default() -> Self {
        let wheels = (0..WHEELS).map(|_| (0..SLOTS).map(|_| Vec::new()).collect()).collect();
        Self { slot: 0, wheels, outside: 0, soon: BinaryHeap::new() }
    }
}

impl<T: Copy + Ord> Wheel<T> {
    /// Lets `what` come out at `at` (nanoseconds), or at once if that is past.
    pub fn add(&mut self, at: u64, what: T) {
        let slot = at >> SLOT_BITS;
        if slot <= self.slot {
            self.soon.push(Reverse((at, what)));
            return;
        }
        let wheel = ((slot ^ self.slot).ilog2() / DIGIT_BITS) as usize;
        // Beyond the last wheel's end an entry goes round once more, as far as there is.
        let far = slot - self.slot >= (SLOTS as u64 - 1) << LAST_SHIFT;
        let slot = if far { self.slot.wrapping_sub(1 << LAST_SHIFT) } else { slot };
        let wheel = wheel.min(WHEELS - 1);
        self.wheels[wheel][digit(slot, wheel)].push((at, what));
        self.outside += 1;
    }

    /// The next entry whose time has come, and that time.
    pub fn due(&mut self, now: u64) -> Option<(u64, T)> {
        self.turn(now >> SLOT_BITS);
        let Reverse((at, what)) = *self.soon.peek()?;
        if at > now {
            return None;
        }
        self.soon.pop();
        Some((at, what))
    }

    /// When to look again: not after the next entry, perhaps before it.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        let soon = self.soon.peek().map(|it| it.0.0);
        if soon.is_some() || self.outside == 0 {
            return soon;
        }
        Some(self.next_slot() << SLOT_BITS)
    }

    /// The next slot at which an entry moves; asked only while there is one outside.
    fn next_slot(&self) -> u64 {
        let first = |wheel: usize, from: usize| {
            (from..SLOTS).find(|it| !self.wheels[wheel][*it].is_empty())
        };
        for wheel in 0..WHEELS {
            let shift = DIGIT_BITS as usize * wheel;
            if let Some(it) = first(wheel, digit(self.slot, wheel) + 1) {
                let round = (SLOTS as u64) << shift;
                return self.slot / round * round + ((it as u64) << shift);
            }
        }
        // On the last wheel, behind its end.
        let round = (SLOTS as u64) << LAST_SHIFT;
        let it = first(WHEELS - 1, 0).unwrap_or(0) as u64;
        (self.slot / round + 1) * round + (it << LAST_SHIFT)
    }

    /// Moves on to `to`, bringing what comes near from the outer wheels inwards.
    fn turn(&mut self, to: u64) {
        while self.slot < to {
            let next = if self.outside == 0 { to } else { self.next_slot().min(to) };
            self.slot = next;
            for wheel in (0..WHEELS).rev() {
                // A wheel's slot is reached when all digits inside of it are 0.
                if self.slot & ((1 << (DIGIT_BITS as usize * wheel)) - 1) == 0 {
                    let reached = std::mem::take(&mut self.wheels[wheel][digit(self.slot, wheel)]);
                    self.outside -= reached.len();
                    reached.into_iter().for_each(|(at, what)| self.add(at, what));
                }
            }
        }
    }
}

fn digit(slot: u64, wheel: usize) -> usize {
    crate::draw::to_usize(slot >> (DIGIT_BITS as usize * wheel)) & (SLOTS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draw::Draw;

    /// Random entries, near and far, against a sorted list, while time goes on in random steps.
    #[test]
    fn entries_come_out_in_order_and_never_early_or_late() {
        for seed in 0..20 {
            let mut draw = Draw::new(seed, 7);
            let (mut wheel, mut model, mut now) = (Wheel::default(), Vec::new(), 0u64);
            for id in 0..3000u32 {
                let far = 1u64 << draw.below(50);
                let at = now + draw.below(far);
                wheel.add(at, id);
                model.push((at, id));
                if draw.below(4) == 0 {
                    let step = 1u64 << draw.below(36);
                    now += draw.below(step);
                    model.sort_unstable();
                    let due = model.partition_point(|it| it.0 <= now);
                    let expected: Vec<_> = model.drain(..due).collect();
                    let came: Vec<_> = std::iter::from_fn(|| wheel.due(now)).collect();
                    assert_eq!(came, expected, "seed {seed} at {now}");
                }
                let first = model.iter().map(|it| it.0).min();
                let next = wheel.next();
                assert_eq!(next.is_some(), first.is_some());
                assert!(next <= first, "{next:?} is after {first:?}");
            }
        }
    }

    #[test]
    fn the_last_wheel_wraps() {
        let before = (1u64 << 32) - 1;
        let mut wheel = Wheel::default();
        assert_eq!(wheel.due(before << SLOT_BITS), None);
        wheel.add((before + 6) << SLOT_BITS, 1);
        wheel.add((before + (300 << 24)) << SLOT_BITS, 2);
        assert_eq!(wheel.due((before + 5) << SLOT_BITS), None);
        assert_eq!(wheel.due((before + 7) << SLOT_BITS).map(|it| it.1), Some(1));
        assert_eq!(wheel.due((before + (299 << 24)) << SLOT_BITS), None);
        assert_eq!(wheel.due((before + (301 << 24)) << SLOT_BITS).map(|it| it.1), Some(2));
    }
}
