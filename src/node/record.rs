//! What a node remembers of its last change of roles, for `ringfold failover-report`: instants of the wall clock in
//! microseconds, since they are compared with those of other nodes.
//!
//! A write is noted once a turn, with one store; all else is rare.

use crate::base::time::Wall;
use std::sync::atomic::{AtomicU64, Ordering};

/// So long after a promotion whoever connects is taken for somebody who has moved here.
const MOVING_US: u64 = 60_000_000;

/// See the file's header; 0 is never.
#[derive(Debug, Default)]
pub struct Record {
    last_write: AtomicU64,
    /// Something came from the master.
    last_heard: AtomicU64,
    promoted: AtomicU64,
    first_write: AtomicU64,
    last_moved: AtomicU64,
    demoted: AtomicU64,
}

impl Record {
    /// This node, a master, executed writes, which are acknowledged at the end of the turn.
    pub fn wrote(&self, now: Wall) {
        self.last_write.store(now.0, Ordering::Relaxed);
        if self.first_write.load(Ordering::Relaxed) == 0
            && self.promoted.load(Ordering::Relaxed) != 0
        {
            // Another core may have been first, at the same moment.
            let _ =
                self.first_write.compare_exchange(0, now.0, Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    pub fn heard_of_master(&self, now: Wall) {
        self.last_heard.store(now.0, Ordering::Relaxed);
    }

    pub fn promoted(&self, now: Wall) {
        for it in [&self.first_write, &self.last_moved] {
            it.store(0, Ordering::Relaxed);
        }
        self.promoted.store(now.0, Ordering::Relaxed);
    }

    pub fn demoted(&self, now: Wall) {
        self.demoted.store(now.0, Ordering::Relaxed);
    }

    /// A client connected.
    pub fn arrived(&self, now: Wall) {
        let promoted = self.promoted.load(Ordering::Relaxed);
        if promoted != 0 && now.0.saturating_sub(promoted) < MOVING_US {
            self.last_moved.store(now.0, Ordering::Relaxed);
        }
    }

    /// As INFO shows them.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, u64); 6] {
        let at = |it: &AtomicU64| it.load(Ordering::Relaxed);
        [
            ("failover_last_write_us", at(&self.last_write)),
            ("failover_last_heard_us", at(&self.last_heard)),
            ("failover_promoted_us", at(&self.promoted)),
            ("failover_first_write_us", at(&self.first_write)),
            ("failover_last_moved_us", at(&self.last_moved)),
            ("failover_demoted_us", at(&self.demoted)),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_write_is_the_first_after_the_promotion() {
        let record = Record::default();
        let at = |name: &str| record.fields().iter().find(|it| it.0 == name).unwrap().1;
        record.wrote(Wall(5));
        record.arrived(Wall(6));
        assert_eq!((at("failover_first_write_us"), at("failover_last_moved_us")), (0, 0));
        record.promoted(Wall(10));
        record.wrote(Wall(12));
        record.wrote(Wall(13));
        record.arrived(Wall(14));
        record.arrived(Wall(14 + MOVING_US));
        assert_eq!((at("failover_first_write_us"), at("failover_last_write_us")), (12, 13));
        assert_eq!(at("failover_last_moved_us"), 14);
        record.promoted(Wall(20));
        assert_eq!((at("failover_first_write_us"), at("failover_last_moved_us")), (0, 0));
    }
}
