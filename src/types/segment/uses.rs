//! How often entries are used, in the bits that otherwise say when: what LFU eviction goes by.
//!
//! ```text
//!   bits 6-13  a logarithmic counter, as Redis': 5 for a new key, 255 at most, each use raises it with a
//!              probability of 1 / ((counter - 5) * lfu-log-factor + 1)
//!   bits 0-5   when it was last brought down, in units of lfu-decay-time after the segment's base
//! ```
//!
//! A counter goes down by one for each unit in which its key was not used. Where a use comes more than 63 units
//! after the base, all counters of the segment are brought down to now, and the base follows.
//!
//! A segment knows what its bits mean (`unit_s`, 0 for the clock), so that a change of policy costs nothing at
//! once: a segment is converted when it is next used. What was not known is then taken for new.

use super::{CLOCK, SLOTS, Segment, Spot};

/// What a new key starts with, so that it is not the first to go.
pub const NEW: u8 = 5;
const OFFSET_BITS: u16 = 6;
const OFFSET_MASK: u16 = (1 << OFFSET_BITS) - 1;
const OFFSET_MAX: u32 = OFFSET_MASK as u32;

const _: () = assert!(CLOCK == (u8::MAX as u16) << OFFSET_BITS | OFFSET_MASK);

/// How counters go up and down.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counting {
    /// Seconds after which an unused counter is one less; `u32::MAX`: never.
    pub unit_s: u32,
    pub log_factor: u32,
}

impl Segment {
    /// The entry was used now; `random` is evenly drawn.
    pub(super) fn count(&mut self, spot: Spot, now_s: u32, how: Counting, random: u32) {
        self.become_counting(now_s, how.unit_s);
        let offset = self.offset(now_s);
        let counter = self.counter(spot, offset);
        let above = u64::from(counter.saturating_sub(NEW));
        let odds = above * u64::from(how.log_factor) + 1;
        let raised = u64::from(random) * odds < 1 << 32;
        let counter = counter.saturating_add(u8::from(raised));
        let access = &mut self.lines[usize::from(spot.line)].access[usize::from(spot.slot)];
        let new = *access & !CLOCK | pack(counter, offset);
        if *access != new {
            *access = new;
        }
    }

    /// The counter of an entry, brought down to now.
    #[must_use]
    pub fn frequency(&self, spot: Spot, now_s: u32) -> u8 {
        if self.unit_s == 0 {
            return NEW;
        }
        let since = now_s.saturating_sub(self.base) / self.unit_s;
        let clock = self.access(spot) & CLOCK;
        lower(clock, since)
    }

    /// Sets the counter of an entry.
    pub(super) fn set_frequency(&mut self, spot: Spot, now_s: u32, how: Counting, counter: u8) {
        self.become_counting(now_s, how.unit_s);
        let clock = pack(counter, self.offset(now_s));
        let access = self.access_mut(spot);
        *access = *access & !CLOCK | clock;
    }

    /// The bits of a new entry in a segment that counts.
    pub(super) fn new_count(&mut self, now_s: u32) -> u16 {
        pack(NEW, self.offset(now_s))
    }

    /// From here on the bits are a clock: all were used now.
    #[cold]
    pub(super) fn become_clock(&mut self, now_s: u32) {
        (self.unit_s, self.base) = (0, now_s);
        let stamp = self.stamp(now_s);
        self.set_all(|_| stamp);
    }

    fn become_counting(&mut self, now_s: u32, unit_s: u32) {
        if self.unit_s == unit_s {
            return;
        }
        match now_s.saturating_sub(self.base).checked_div(self.unit_s) {
            None => self.set_all(|_| pack(NEW, 0)),
            Some(since) => self.set_all(|clock| pack(lower(clock, since), 0)),
        }
        (self.unit_s, self.base) = (unit_s, now_s);
    }

    /// Units from the base to now; the base follows where they are too many.
    fn offset(&mut self, now_s: u32) -> u32 {
        let since = now_s.saturating_sub(self.base) / self.unit_s.max(1);
        if since <= OFFSET_MAX {
            return since;
        }
        self.set_all(|clock| pack(lower(clock, since), 0));
        self.base += since * self.unit_s;
        0
    }

    fn counter(&self, spot: Spot, offset: u32) -> u8 {
        lower(self.access(spot) & CLOCK, offset)
    }

    #[cold]
    fn set_all(&mut self, clock: impl Fn(u16) -> u16) {
        for access in self.lines.iter_mut().flat_map(|line| &mut line.access[..SLOTS]) {
            *access = *access & !CLOCK | clock(*access & CLOCK);
        }
    }
}

fn pack(counter: u8, offset: u32) -> u16 {
    u16::from(counter) << OFFSET_BITS | u16::try_from(offset.min(OFFSET_MAX)).unwrap_or(0)
}

/// A counter, brought down to `since` units after the base.
fn lower(clock: u16, since: u32) -> u8 {
    let counter = u8::try_from(clock >> OFFSET_BITS & 0xff).unwrap_or(u8::MAX);
    let idle = since.saturating_sub(u32::from(clock) & OFFSET_MAX);
    counter.saturating_sub(u8::try_from(idle).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::arena::Handle;

    const HOW: Counting = Counting { unit_s: 60, log_factor: 10 };

    fn with_one() -> (Segment, Spot) {
        let mut segment = Segment::new(0, 0, 1_000);
        let spot = segment.insert(77, Handle(1), true, 1_000).unwrap();
        (segment, spot)
    }

    #[test]
    fn counters_go_up_with_uses_and_down_with_time() {
        let (mut segment, spot) = with_one();
        assert_eq!(segment.frequency(spot, 1_000), NEW);
        // Up to 5 every use counts; above, fewer and fewer do.
        for _ in 0..3 {
            segment.count(spot, 1_000, HOW, u32::MAX / 20);
        }
        assert_eq!(segment.frequency(spot, 1_000), NEW + 2);
        segment.count(spot, 1_000, HOW, 0);
        assert_eq!(segment.frequency(spot, 1_000), NEW + 3);
        for (after_s, counter) in [(59, 8), (60, 7), (125, 6), (480, 0), (1_000_000, 0)] {
            assert_eq!(segment.frequency(spot, 1_000 + after_s), counter, "{after_s}");
        }
        // A use long after brings the base along, and the bits beside the counter stay.
        segment.count(spot, 1_000 + 64 * 60 + 30, HOW, 0);
        assert_eq!(
            (segment.frequency(spot, 1_000 + 64 * 60 + 30), segment.expires(spot)),
            (1, true)
        );
        assert_eq!(segment.frequency(spot, 1_000 + 65 * 60), 0, "no part of a unit is lost");
    }

    #[test]
    fn the_base_follows_and_the_others_lose_nothing() {
        let (mut segment, spot) = with_one();
        let other = segment.insert(78, Handle(2), false, 1_000).unwrap();
        for _ in 0..200 {
            segment.count(spot, 1_000, HOW, 0);
        }
        segment.count(other, 1_000 + 100 * 60, HOW, 0);
        assert_eq!(segment.frequency(spot, 1_000 + 100 * 60), 105);
        assert_eq!(segment.frequency(spot, 1_000 + 110 * 60), 95);
        let late = segment.insert(79, Handle(3), false, 1_000 + 110 * 60).unwrap();
        assert_eq!(segment.frequency(late, 1_000 + 110 * 60), NEW);
    }

    #[test]
    fn another_policy_converts_a_segment_when_it_is_used() {
        let (mut segment, spot) = with_one();
        let other = segment.insert(78, Handle(2), false, 1_000).unwrap();
        segment.count(spot, 5_000, HOW, 0);
        assert_eq!((segment.frequency(spot, 5_000), segment.frequency(other, 5_000)), (6, 5));
        assert_eq!(segment.idle_seconds(spot, 5_000), 0);
        let slow = Counting { unit_s: 600, ..HOW };
        segment.count(other, 5_120, slow, 0);
        assert_eq!((segment.frequency(spot, 5_120), segment.frequency(other, 5_120)), (4, 4));
        let never = Counting { unit_s: u32::MAX, ..HOW };
        segment.count(spot, 5_720, never, 0);
        assert_eq!(segment.frequency(spot, 4_000_000_000), 4);
        segment.touch(spot, 6_000);
        assert_eq!(
            (segment.idle_seconds(spot, 6_010), segment.idle_seconds(other, 6_010)),
            (10, 10)
        );
        segment.set_frequency(spot, 7_000, HOW, 200);
        assert_eq!(segment.frequency(spot, 7_000), 200);
    }
}
