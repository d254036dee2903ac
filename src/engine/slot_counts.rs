//! How many keys each hash slot has, as a cluster wants to know it of every slot at any time.
//!
//! A slot's keys are all of one core, which alone changes its count; whoever else reads one sees a number that
//! was right a moment ago.

use crate::base::limits::SLOTS;
use crate::command::keys::slot;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// The counts of all slots, shared by all cores.
#[derive(Debug)]
pub struct SlotCounts(Box<[AtomicU32]>);

impl Default for SlotCounts {
    fn default() -> Self {
        Self((0..SLOTS).map(|_| AtomicU32::new(0)).collect())
    }
}

impl SlotCounts {
    /// Keys of a slot.
    #[must_use]
    pub fn of(&self, slot: u16) -> u64 {
        self.0.get(usize::from(slot)).map_or(0, |it| u64::from(it.load(Ordering::Relaxed)))
    }

    /// Keys of all slots.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.0.iter().map(|it| u64::from(it.load(Ordering::Relaxed))).sum()
    }
}

/// One core's part of them.
#[derive(Clone, Debug)]
pub struct SlotCounter {
    counts: Arc<SlotCounts>,
    own: Range<u16>,
}

impl SlotCounter {
    /// For the core that owns these slots.
    #[must_use]
    pub fn new(counts: Arc<SlotCounts>, own: Range<u16>) -> Self {
        Self { counts, own }
    }

    pub fn add(&self, key: &[u8]) {
        self.change(key, |count| count.saturating_add(1));
    }

    pub fn remove(&self, key: &[u8]) {
        self.change(key, |count| count.saturating_sub(1));
    }

    /// All keys of this core are gone.
    pub fn clear(&self) {
        let own = usize::from(self.own.start)..usize::from(self.own.end);
        for count in self.counts.0.get(own).unwrap_or_default() {
            count.store(0, Ordering::Relaxed);
        }
    }

    fn change(&self, key: &[u8], by: impl FnOnce(u32) -> u32) {
        let slot = slot(key);
        // The key of another core may be a guest here, for the time of a transaction.
        if let Some(count) = self.counts.0.get(usize::from(slot))
            && self.own.contains(&slot)
        {
            count.store(by(count.load(Ordering::Relaxed)), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_counts_its_own() {
        let counts = Arc::new(SlotCounts::default());
        let low = SlotCounter::new(Arc::clone(&counts), 0..8_192);
        let high = SlotCounter::new(Arc::clone(&counts), 8_192..16_384);
        assert_eq!((slot(b"foo"), slot(b"bar")), (12_182, 5_061));
        for counter in [&low, &high] {
            counter.add(b"foo");
            counter.add(b"bar");
        }
        assert_eq!((counts.of(12_182), counts.of(5_061), counts.all()), (1, 1, 2));
        low.remove(b"bar");
        low.remove(b"bar");
        high.clear();
        assert_eq!(counts.all(), 0);
    }
}
