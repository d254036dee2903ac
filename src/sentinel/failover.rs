//! A failover of ours, from the decision to stand for election to the new configuration.
//!
//! ```text
//!   WaitStart --elected--> SelectReplica --> SendNoOne --> WaitPromotion --INFO: role:master--> ReconfReplicas
//!       |                     |                 |              |                                     |
//!       +------- abort <------+-----------------+--------------+                 UpdateConfig <------+
//! ```
//!
//! **Nothing is sent while the state is not on disk**: the epoch that is fought for is ours first.
//!
//! An operator's failover of a master that answers is a handover: the master pauses its writers until the
//! replica has everything, then the two change places (`FAILOVER TO`), and nothing is lost. A master
//! that cannot do that is failed over as if it were down. Either way the old master is told at once whom to
//! follow, so that nobody goes on writing to it.

use super::address::Address;
use super::events::Caller;
use super::instance::{Failover, Id, Instance, Kind, Manual, Ms, Reconf};
use super::link::Question;
use super::machine::{Level, Output, Sentinel};
use crate::resp::decode::Value;
use std::cmp::Reverse;

/// How long a master may take to hand over before it is failed over as if it were down.
const HANDOVER_MS: Ms = 5_000;

/// Exit code of a crash that was asked for (`SENTINEL SIMULATE-FAILURE`).
const SIMULATED_CRASH: u8 = 99;

/// Whom an instance is told to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slave {
    OfNoOne,
    Of(Id),
}

impl Sentinel {
    /// Stands for election, if the master is down for all and nobody tried a short while ago.
    pub(super) fn start_failover_if_needed(&mut self, id: Id) -> bool {
        let master = self.instances.master(id);
        if !master.o_down || master.failover.in_progress() || self.now < master.candidate_at {
            return false;
        }
        let until = master.failover_start + master.failover_timeout * 2;
        if master.failover_start != 0 && self.now < until {
            if master.delay_logged != master.failover_start {
                let left = (until - self.now) / 1_000;
                let text = format!(
                    "Next failover delay: I will not start a failover before {left} seconds from now"
                );
                self.log(Level::Warning, text);
                let master = self.instances.master_mut(id);
                master.delay_logged = master.failover_start;
            }
            return false;
        }
        self.start_failover(id, Manual::No);
        true
    }

    pub(super) fn start_failover(&mut self, id: Id, forced: Manual) {
        self.epoch += 1;
        let (epoch, now) = (self.epoch, self.now);
        let start = now + self.desync();
        let master = self.instances.master_mut(id);
        master.failover = Failover::WaitStart { forced };
        master.failover_epoch = epoch;
        master.failover_changed = now;
        master.failover_start = start;
        self.touch();
        self.event(Level::Warning, "+new-epoch", Some(id), &epoch.to_string());
        self.event_of(Level::Warning, "+try-failover", id, "");
    }

    pub(super) fn go_on_with_failover(&mut self, id: Id) {
        match self.instances.master(id).failover {
            Failover::None => {}
            Failover::WaitStart { forced } => self.wait_start(id, forced),
            Failover::SelectReplica { forced } => self.select_replica(id, forced),
            Failover::SendNoOne { promoted, forced } => self.send_no_one(id, promoted, forced),
            Failover::WaitPromotion { promoted, forced } => {
                self.wait_promotion(id, promoted, forced);
            }
            Failover::ReconfReplicas { promoted, .. } => self.reconf_replicas(id, promoted),
            Failover::UpdateConfig { promoted } => self.update_config(id, promoted),
        }
    }

    fn change(&mut self, id: Id, failover: Failover) {
        let now = self.now;
        let master = self.instances.master_mut(id);
        master.failover = failover;
        master.failover_changed = now;
    }

    fn wait_start(&mut self, id: Id, forced: Manual) {
        let epoch = self.instances.master(id).failover_epoch;
        let leader = self.leader(id, epoch);
        let elected = leader.is_some_and(|it| it.eq_ignore_ascii_case(&self.myid));
        if !elected && forced == Manual::No {
            let master = self.instances.master(id);
            let patience = self.periods.election_timeout.min(master.failover_timeout);
            if self.now - master.failover_start > patience {
                self.event_of(Level::Warning, "-failover-abort-not-elected", id, "");
                self.abort_failover(id);
            }
            return;
        }
        if !self.is_saved() {
            return;
        }
        self.event_of(Level::Warning, "+elected-leader", id, "");
        if self.failures.crash_after_election {
            return self.crash();
        }
        self.change(id, Failover::SelectReplica { forced });
        self.event_of(Level::Warning, "+failover-state-select-slave", id, "");
        self.go_on_with_failover(id);
    }

    fn select_replica(&mut self, id: Id, forced: Manual) {
        let Some(promoted) = self.best_replica(id) else {
            self.event_of(Level::Warning, "-failover-abort-no-good-slave", id, "");
            return self.abort_failover(id);
        };
        self.event_of(Level::Warning, "+selected-slave", promoted, "");
        self.change(id, Failover::SendNoOne { promoted, forced });
        self.event_of(Level::Notice, "+failover-state-send-slaveof-noone", promoted, "");
        self.go_on_with_failover(id);
    }

    fn send_no_one(&mut self, id: Id, promoted: Id, forced: Manual) {
        if self.link(promoted).disconnected {
            let master = self.instances.master(id);
            if self.now - master.failover_changed > master.failover_timeout {
                self.event_of(Level::Warning, "-failover-abort-slave-timeout", id, "");
                self.abort_failover(id);
            }
            return;
        }
        match forced {
            Manual::No | Manual::Forced => self.send_slave_of(promoted, Slave::OfNoOne),
            Manual::Handover | Manual::Coordinated => self.send_handover(id, promoted),
        }
        self.event_of(Level::Notice, "+failover-state-wait-promotion", promoted, "");
        self.change(id, Failover::WaitPromotion { promoted, forced });
    }

    /// `FAILOVER TO host port TIMEOUT ms`, by the name under which the master knows its replica.
    fn send_handover(&mut self, id: Id, promoted: Id) {
        let address = &self.instances[promoted].address;
        let host = address.shown(self.globals.announce_hostnames).to_string();
        let port = address.port.to_string();
        let patience = HANDOVER_MS.min(self.instances.master(id).failover_timeout);
        let patience = (patience * 4 / 5).to_string();
        let words: [&[u8]; 6] =
            [b"FAILOVER", b"TO", host.as_bytes(), port.as_bytes(), b"TIMEOUT", patience.as_bytes()];
        self.ask(id, Question::Handover, &words);
    }

    /// The master accepts to hand over, or does not.
    pub(super) fn handover_answered(&mut self, id: Id, value: &Value) {
        let Value::Error(why) = value else { return };
        let Failover::WaitPromotion { promoted, forced } = self.instances.master(id).failover
        else {
            return;
        };
        let why = String::from_utf8_lossy(why).into_owned();
        self.log(Level::Warning, format!("The master does not hand over: {why}"));
        self.no_handover(id, promoted, forced);
    }

    fn no_handover(&mut self, id: Id, promoted: Id, forced: Manual) {
        match forced {
            Manual::Handover => {
                let forced = Manual::Forced;
                self.change(id, Failover::SendNoOne { promoted, forced });
                self.go_on_with_failover(id);
            }
            Manual::Coordinated => {
                self.event_of(Level::Warning, "-failover-abort-no-handover", id, "");
                self.abort_failover(id);
            }
            Manual::No | Manual::Forced => {}
        }
    }

    fn wait_promotion(&mut self, id: Id, promoted: Id, forced: Manual) {
        let master = self.instances.master(id);
        let elapsed = self.now - master.failover_changed;
        if forced == Manual::Handover && elapsed > HANDOVER_MS {
            self.ask(id, Question::Whatever, &[b"FAILOVER", b"ABORT"]);
            return self.no_handover(id, promoted, forced);
        }
        if elapsed > master.failover_timeout {
            self.event_of(Level::Warning, "-failover-abort-slave-timeout", id, "");
            self.abort_failover(id);
        }
    }

    /// The promoted one says that it is a master: from here on there is no way back.
    pub(super) fn promoted(&mut self, id: Id, promoted: Id, failover: Failover) {
        let master = self.instances.master_mut(id);
        master.config_epoch = master.failover_epoch;
        self.change(id, failover);
        self.touch();
        self.event_of(Level::Warning, "+promoted-slave", promoted, "");
        if self.failures.crash_after_promotion {
            return self.crash();
        }
        self.event_of(Level::Warning, "+failover-state-reconf-slaves", id, "");
        let (from, to) =
            (self.instances[id].address.clone(), self.instances[promoted].address.clone());
        self.call_reconfig_script(id, Caller::Leader, &from, &to);
        self.hurry_hello(id);
        // An old master that can be reached is told now: until then clients write to it in vain.
        if !self.link(id).disconnected && !self.instances[id].s_down {
            self.send_slave_of(id, Slave::Of(promoted));
            self.event_of(Level::Notice, "+convert-to-slave", id, "");
        }
        self.go_on_with_failover(id);
    }

    /// Tells the other replicas, a few at a time, and sees whether all are done.
    fn reconf_replicas(&mut self, id: Id, promoted: Id) {
        let replicas: Vec<Id> = self.instances.master(id).replicas.values().copied().collect();
        let reconf =
            |this: &Self, it: Id| this.instances[it].replica().map_or(Reconf::Done, |it| it.reconf);
        let under_way = |it: Reconf| matches!(it, Reconf::Sent { .. } | Reconf::InProgress);
        let busy = replicas.iter().filter(|it| under_way(reconf(self, **it))).count();
        let mut busy = i64::try_from(busy).unwrap_or(i64::MAX);
        let at_once = self.instances.master(id).parallel_syncs;
        for &it in replicas.iter().filter(|it| **it != promoted) {
            match reconf(self, it) {
                // It is taken for done; who still follows somebody else is mended later.
                Reconf::Sent { at } if self.now - at > self.periods.replica_reconf_timeout => {
                    self.event_of(Level::Notice, "-slave-reconf-sent-timeout", it, "");
                    self.set_reconf(it, Reconf::Done);
                    busy -= 1;
                }
                Reconf::No if busy < at_once && !self.link(it).disconnected => {
                    self.send_slave_of(it, Slave::Of(promoted));
                    self.set_reconf(it, Reconf::Sent { at: self.now });
                    self.event_of(Level::Notice, "+slave-reconf-sent", it, "");
                    busy += 1;
                }
                _ => {}
            }
        }
        self.detect_end(id, promoted, &replicas);
    }

    fn set_reconf(&mut self, id: Id, reconf: Reconf) {
        if let Some(replica) = self.instances[id].replica_mut() {
            replica.reconf = reconf;
        }
    }

    fn detect_end(&mut self, id: Id, promoted: Id, replicas: &[Id]) {
        if self.instances[promoted].s_down {
            return;
        }
        let reconf = |it: &Instance| it.replica().map_or(Reconf::Done, |it| it.reconf);
        let waits = |it: &&Id| {
            let instance = &self.instances[**it];
            **it != promoted && reconf(instance) != Reconf::Done && !instance.s_down
        };
        let left = replicas.iter().filter(waits).count();
        let master = self.instances.master(id);
        let overdue = self.now - master.failover_changed > master.failover_timeout;
        if overdue {
            self.event_of(Level::Warning, "+failover-end-for-timeout", id, "");
        }
        if left > 0 && !overdue {
            return;
        }
        self.event_of(Level::Warning, "+failover-end", id, "");
        self.change(id, Failover::UpdateConfig { promoted });
        if overdue {
            for &it in replicas {
                let reconf = reconf(&self.instances[it]);
                let told = matches!(reconf, Reconf::Done | Reconf::Sent { .. });
                if it != promoted && !told && !self.link(it).disconnected {
                    self.send_slave_of(it, Slave::Of(promoted));
                    self.event_of(Level::Notice, "+slave-reconf-sent-be", it, "");
                }
            }
        }
        self.go_on_with_failover(id);
    }

    /// The group goes on with the promoted one as its master.
    fn update_config(&mut self, id: Id, promoted: Id) {
        let announce = self.globals.announce_hostnames;
        let (name, old) = (&self.instances[id].name, &self.instances[id].address);
        let new: Address = self.instances[promoted].address.clone();
        let (from, to) = (old.shown(announce), new.shown(announce));
        let text = format!("{name} {from} {} {to} {}", old.port, new.port);
        self.event(Level::Warning, "+switch-master", Some(id), &text);
        self.switch_address(id, new);
    }

    pub(super) fn abort_failover(&mut self, id: Id) {
        self.change(id, Failover::None);
    }

    fn crash(&mut self) {
        self.log(Level::Warning, "Sentinel CRASH because of SENTINEL simulate-failure".into());
        self.out.push(Output::Exit { code: SIMULATED_CRASH });
    }

    /// The replica to promote: alive, not too long away from its master, and of those the one of lowest
    /// priority number, then with its master's history, then with most of it, then of lowest run id.
    pub(super) fn best_replica(&self, id: Id) -> Option<Id> {
        let master = self.instances.master(id);
        let instance = &self.instances[id];
        let down_for = if instance.s_down { self.now - instance.s_down_since } else { 0 };
        let away_max = down_for + instance.down_after * 10;
        let info_age_max =
            if instance.s_down { self.periods.ping * 5 } else { self.periods.info * 3 };
        let fit = |it: &Id| {
            let (replica, link) = (&self.instances[*it], self.link(*it));
            let state = replica.replica();
            !replica.s_down
                && !link.disconnected
                && self.now - link.last_available <= self.periods.ping * 5
                && replica.info_refresh != 0
                && self.now - replica.info_refresh <= info_age_max
                && state.is_some_and(|it| it.priority != 0 && it.link_down_for <= away_max)
        };
        let rank = |it: &Id| {
            let replica = &self.instances[*it];
            let state = replica.replica();
            // An offset says nothing about another history.
            let foreign = state.is_some_and(|it| {
                !master.replid.is_empty() && !it.replid.is_empty() && it.replid != master.replid
            });
            let run_id = replica.run_id.as_ref().map(|it| it.to_ascii_lowercase());
            (
                state.map_or(i64::MAX, |it| it.priority),
                foreign,
                Reverse(state.map_or(0, |it| it.offset)),
                run_id.is_none(),
                run_id,
            )
        };
        master.replicas.values().copied().filter(fit).min_by_key(rank)
    }

    /// Tells an instance whom to follow, to remember it, and to send its clients away so that they ask
    /// for the master again: all or nothing.
    pub(super) fn send_slave_of(&mut self, id: Id, whom: Slave) {
        let (host, port) = match whom {
            Slave::OfNoOne => ("NO".to_string(), "ONE".to_string()),
            Slave::Of(master) => {
                let address = &self.instances[master].address;
                let host = address.shown(self.globals.announce_hostnames);
                (host.to_string(), address.port.to_string())
            }
        };
        let whatever = Question::Whatever;
        self.ask(id, whatever, &[b"MULTI"]);
        self.ask(id, whatever, &[b"SLAVEOF", host.as_bytes(), port.as_bytes()]);
        self.ask(id, whatever, &[b"CONFIG", b"REWRITE"]);
        self.ask(id, whatever, &[b"CLIENT", b"KILL", b"TYPE", b"normal"]);
        self.ask(id, whatever, &[b"CLIENT", b"KILL", b"TYPE", b"pubsub"]);
        self.ask(id, Question::Exec, &[b"EXEC"]);
    }

    /// `SENTINEL FAILOVER`: how it is to be done now.
    pub(super) fn manual(&self, id: Id, coordinated: bool) -> Manual {
        let instance = &self.instances[id];
        let answers = !instance.s_down && !self.link(id).disconnected;
        let is_master = matches!(instance.kind, Kind::Master(_));
        match (coordinated, answers && is_master) {
            (true, _) => Manual::Coordinated,
            (false, true) => Manual::Handover,
            (false, false) => Manual::Forced,
        }
    }
}
