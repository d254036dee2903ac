//! What this Sentinel noticed and did about its masters lately, for `ringfold failover-report`: instants of the wall
//! clock, since they are compared with those of other nodes. Nothing is decided by them.

use super::instance::{Id, Ms};
use super::machine::Sentinel;
use std::collections::VecDeque;

/// Events that are kept.
const EVENTS_MAX: usize = 128;

/// The events of a failover, by their names on the channel.
const KINDS: &[&str] = &[
    "+sdown",
    "-sdown",
    "+odown",
    "-odown",
    "+try-failover",
    "+vote-for-leader",
    "+elected-leader",
    "-failover-abort-not-elected",
    "-failover-abort-no-good-slave",
    "-failover-abort-slave-timeout",
    "+selected-slave",
    "+promoted-slave",
    "+slave-reconf-sent",
    "+slave-reconf-done",
    "+failover-end",
    "+switch-master",
    "+config-update-from",
    "+convert-to-slave",
    "+reboot",
];

/// One of them.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    pub at_us: u64,
    pub kind: &'static str,
    pub master: String,
    /// The instance's address.
    pub about: String,
}

#[derive(Debug, Default)]
pub(super) struct Record {
    pub events: VecDeque<Noted>,
}

impl Sentinel {
    /// An event about an instance, if it is one of those.
    pub(super) fn note(&mut self, kind: &str, id: Id) {
        let Some(kind) = KINDS.iter().find(|it| **it == kind) else { return };
        // Other Sentinels come and go without a failover.
        if !self.instances[id].is_sentinel() {
            self.note_at(self.wall_us, kind, id);
        }
    }

    /// A ping of a master was not answered since then.
    pub(super) fn note_missed_ping(&mut self, id: Id, silent: Ms) {
        if self.instances[id].is_master() {
            let ago = u64::try_from(silent).unwrap_or(0) * 1_000;
            self.note_at(self.wall_us.saturating_sub(ago), "first-missed-ping", id);
        }
    }

    fn note_at(&mut self, at_us: u64, kind: &'static str, id: Id) {
        let address = &self.instances[id].address;
        let about = format!("{}:{}", address.shown(self.globals.announce_hostnames), address.port);
        let master = self.instances[self.instances[id].master].name.clone();
        if self.record.events.len() >= EVENTS_MAX {
            self.record.events.pop_front();
        }
        self.record.events.push_back(Noted { at_us, kind, master, about });
    }
}
