//! Which slot is whose, and which are on their way.

use super::node::Key;
use super::slots::Slots;
use crate::base::limits::SLOTS;
use std::collections::BTreeMap;

/// See the file's header.
#[derive(Clone, Debug)]
pub struct SlotTable {
    owners: Vec<Option<Key>>,
    /// Slots of ours that go to another master, and slots that come to us from one.
    pub migrating: BTreeMap<u16, Key>,
    pub importing: BTreeMap<u16, Key>,
    /// Slots that their owner no longer claims, but that nobody else does.
    pub unclaimed: Slots,
}

impl Default for SlotTable {
    fn default() -> Self {
        Self {
            owners: vec![None; usize::from(SLOTS)],
            migrating: BTreeMap::new(),
            importing: BTreeMap::new(),
            unclaimed: Slots::default(),
        }
    }
}

impl SlotTable {
    #[must_use]
    pub fn owner(&self, slot: u16) -> Option<Key> {
        self.owners.get(usize::from(slot)).copied().flatten()
    }

    /// `Cluster::give_slot` keeps this and the nodes' own sets the same.
    pub fn set(&mut self, slot: u16, owner: Option<Key>) {
        if let Some(place) = self.owners.get_mut(usize::from(slot)) {
            *place = owner;
        }
        self.unclaimed.remove(slot);
    }

    /// Ranges of slots with the same owner, and without one.
    #[must_use]
    pub fn runs(&self) -> Vec<(u16, u16, Key)> {
        let mut runs: Vec<(u16, u16, Key)> = Vec::new();
        for slot in 0..SLOTS {
            let Some(owner) = self.owner(slot) else { continue };
            match runs.last_mut() {
                Some((_, end, last)) if *last == owner && *end + 1 == slot => *end = slot,
                _ => runs.push((slot, slot, owner)),
            }
        }
        runs
    }

    /// No slot is on its way.
    pub fn close_all(&mut self) {
        self.migrating.clear();
        self.importing.clear();
    }

    /// A node is gone, and so are its slots.
    pub fn forget(&mut self, key: Key) {
        self.migrating.retain(|_, it| *it != key);
        self.importing.retain(|_, it| *it != key);
        for owner in self.owners.iter_mut().filter(|it| **it == Some(key)) {
            *owner = None;
        }
    }
}
