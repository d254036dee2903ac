//! A set of hash slots, in the bits in which it travels: slot `n` is bit `n % 8` of byte `n / 8`.

use crate::base::limits::SLOTS;
use std::fmt;
use std::ops::RangeInclusive;

/// Bytes of the bitmap.
pub const SLOT_BYTES: usize = SLOTS as usize / 8;

const _: () = assert!(SLOTS.is_multiple_of(8) && SLOT_BYTES == 2_048);

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct Slots {
    bits: Box<[u8; SLOT_BYTES]>,
}

impl Default for Slots {
    fn default() -> Self {
        Self { bits: Box::new([0; SLOT_BYTES]) }
    }
}

impl Slots {
    #[must_use]
    pub fn from_bits(bits: &[u8; SLOT_BYTES]) -> Self {
        Self { bits: Box::new(*bits) }
    }

    #[must_use]
    pub fn bits(&self) -> &[u8; SLOT_BYTES] {
        &self.bits
    }

    /// Slots that do not exist are in no set.
    #[must_use]
    pub fn contains(&self, slot: u16) -> bool {
        self.bits.get(usize::from(slot / 8)).is_some_and(|byte| byte & (1 << (slot % 8)) != 0)
    }

    /// Was it not there before?
    pub fn insert(&mut self, slot: u16) -> bool {
        let new = slot < SLOTS && !self.contains(slot);
        if let Some(byte) = self.bits.get_mut(usize::from(slot / 8)) {
            *byte |= 1 << (slot % 8);
        }
        new
    }

    /// Was it there?
    pub fn remove(&mut self, slot: u16) -> bool {
        let there = self.contains(slot);
        if let Some(byte) = self.bits.get_mut(usize::from(slot / 8)) {
            *byte &= !(1 << (slot % 8));
        }
        there
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.bits.iter().map(|byte| byte.count_ones() as usize).sum()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bits.iter().all(|byte| *byte == 0)
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u16> {
        let some = (0u16..).zip(self.bits.iter()).filter(|(_, byte)| **byte != 0);
        some.flat_map(|(at, byte)| {
            (0..8).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| at * 8 + bit)
        })
    }

    /// In ascending order, each as long as it can be.
    #[must_use]
    pub fn ranges(&self) -> Vec<RangeInclusive<u16>> {
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for slot in self.iter() {
            match ranges.last_mut() {
                Some(last) if *last.end() + 1 == slot => *last = *last.start()..=slot,
                _ => ranges.push(slot..=slot),
            }
        }
        ranges
    }

    /// What is not in the other set.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let mut rest = self.clone();
        for (byte, gone) in rest.bits.iter_mut().zip(other.bits.iter()) {
            *byte &= !gone;
        }
        rest
    }
}

impl FromIterator<u16> for Slots {
    fn from_iter<I: IntoIterator<Item = u16>>(slots: I) -> Self {
        let mut set = Self::default();
        for slot in slots {
            set.insert(slot);
        }
        set
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.ranges()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_and_go() {
        let mut slots = Slots::default();
        assert!(slots.insert(0) && slots.insert(16_383) && slots.insert(8) && slots.insert(9));
        assert!(!slots.insert(9) && !slots.insert(16_384));
        assert_eq!(slots.ranges(), [0..=0, 8..=9, 16_383..=16_383]);
        assert_eq!(slots.len(), 4);
        assert_eq!((slots.bits()[0], slots.bits()[1], slots.bits()[2_047]), (1, 3, 128));
        assert!(slots.remove(8) && !slots.remove(8) && !slots.remove(40_000));
        assert_eq!(slots.iter().collect::<Vec<_>>(), [0, 9, 16_383]);
        assert!(slots.without(&slots).is_empty());
        assert_eq!(Slots::from_bits(slots.bits()), slots);
        assert_eq!((0..SLOTS).collect::<Slots>().ranges(), [0..=16_383]);
    }
}
