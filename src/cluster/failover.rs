//! A replica takes its master's place: elections and votes, failovers that people ask for, and replicas that
//! move to masters which have none.
//!
//! ```text
//!   master FAIL -> wait (500 ms, a random part, a second for each better replica)
//!               -> a new epoch, on disk -> AUTH_REQUEST to all -> a majority of AUTH_ACK
//!               -> its slots under the new epoch, on disk -> PONG to all
//! ```
//!
//! A voter gives one vote per epoch, ever: which epoch that was is on disk before the vote leaves.
//!
//! Beside Redis: votes are counted by who gave them, and only those of the election's own epoch's voters; a
//! vote is not given while one for the same master is young, as there. Who was asked and has not answered, be it a
//! master that is to let us take over or a voter, is asked again once a second: the first question may have come
//! before he knew whose replica we are, and then nobody answers it.
//!
//! **Pauses have numbers.** A replica may take over once it has what its master had when writers stood still, so an
//! offset counts only for the pause in which it was taken: never for one that is over by then.

use super::machine::{Cluster, Deferred, Level, LinkId, Output};
use super::node::{Key, Ms};
use super::packet::{Body, Header, Heartbeat};

/// A manual failover is over after this, and writers wait for twice as long at most.
const MANUAL_MS: Ms = 5_000;
const MANUAL_PAUSE_MS: u64 = 10_000;

/// Who has not answered is asked again after this.
const ASK_AGAIN_MS: Ms = 1_000;

/// A master has been without replicas for so long before one moves to it.
const MIGRATION_DELAY_MS: Ms = 5_000;

impl Cluster {
    /// A replica wants our vote.
    pub(super) fn vote_wanted(&mut self, replica: Key, request: &Header) {
        if !self.me().votes() {
            return;
        }
        if let Err(why) = self.may_vote(replica, request) {
            let id = self.node(replica).id;
            self.log(Level::Warning, format!("Failover auth denied to {id}: {why}"));
            return;
        }
        self.last_vote_epoch = self.current_epoch;
        let now = self.now;
        if let Some(master) = self.node(replica).master {
            self.node_mut(master).voted_at = Some(now);
        }
        let (id, epoch) = (self.node(replica).id, self.current_epoch);
        self.log(Level::Notice, format!("Failover auth granted to {id} for epoch {epoch}"));
        self.defer(Deferred::Vote(replica, epoch));
    }

    fn may_vote(&self, replica: Key, request: &Header) -> Result<(), String> {
        let current = self.current_epoch;
        if request.current_epoch < current {
            return Err(format!("reqEpoch ({}) < curEpoch({current})", request.current_epoch));
        }
        if self.last_vote_epoch == current && !self.planted_second_vote() {
            return Err(format!("already voted for epoch {current}"));
        }
        let node = self.node(replica);
        if node.is_master() {
            return Err("it is a master node".into());
        }
        let Some(master) = node.master.and_then(|it| self.nodes.get(it)) else {
            return Err("I don't know its master".into());
        };
        if !master.has_failed() && !request.force_ack {
            return Err("its master is up".into());
        }
        let pause = self.settings.node_timeout * 2;
        if let Some(left) = master.voted_at.map(|at| pause - (self.now - at)).filter(|it| *it > 0) {
            return Err(format!("can't vote about this master before {left} milliseconds"));
        }
        for slot in request.slots.iter() {
            let owner = self.table.owner(slot).filter(|_| !self.table.unclaimed.contains(slot));
            let epoch = owner.map_or(0, |it| self.node(it).config_epoch);
            if epoch > request.config_epoch {
                let asked = request.config_epoch;
                return Err(format!("slot {slot} epoch ({epoch}) > reqEpoch ({asked})"));
            }
        }
        Ok(())
    }

    fn planted_second_vote(&self) -> bool {
        #[cfg(test)]
        {
            self.plant == Some(super::sim::Plant::VotesTwice)
        }
        #[cfg(not(test))]
        false
    }

    /// Somebody votes for us.
    pub(super) fn vote_came(&mut self, voter: Key, header: &Header) {
        let ours = self.election.asked && self.me().is_replica();
        if ours && self.node(voter).votes() && header.current_epoch >= self.election.epoch {
            self.election.votes.insert(voter);
            self.step_election();
        }
    }

    /// What a failover under way has come to.
    pub(super) fn step_failover(&mut self) {
        if self.manual.until.is_some_and(|until| until < self.now) {
            self.log(Level::Warning, "Manual failover timed out.".into());
            self.reset_manual();
        }
        if !self.me().is_replica() {
            return;
        }
        if let Some(at) = self.manual.asked_at.filter(|_| self.manual.master_offset.is_none())
            && self.now - at >= ASK_AGAIN_MS
            && let Some(master) = self.me().master
        {
            self.manual.asked_at = Some(self.now);
            self.send_to(master, Body::FailoverStart);
        }
        // What the master sends of its own, such as pings, may come behind.
        let caught_up = self.manual.master_offset.is_some_and(|it| self.facts.offset >= it);
        if self.manual.until.is_some() && !self.manual.may_start && caught_up {
            self.manual.may_start = true;
            let text = "All master replication stream processed, manual failover can start.";
            self.log(Level::Notice, text.into());
        }
        self.step_election();
    }

    fn step_election(&mut self) {
        let manual = self.manual.until.is_some() && self.manual.may_start;
        let Some(master) = self.me().master.and_then(|it| self.nodes.get(it)) else { return };
        let wanted = master.has_failed() && !self.settings.replica_no_failover || manual;
        if !self.me().is_replica() || !wanted || master.slot_count == 0 {
            self.last_reason = None;
            return;
        }
        if !manual && self.data_is_old() {
            let why = "Disconnected from master for longer than allowed. Please check the \
                       'cluster-replica-validity-factor' configuration option.";
            return self.cannot(why);
        }
        let timeout = (self.settings.node_timeout * 2).max(2_000);
        let age = self.now - self.election.at;
        if !self.election.ever || age > timeout * 2 {
            return self.plan_election();
        }
        if !self.election.asked && self.manual.until.is_none() {
            self.fall_behind();
        }
        if self.now < self.election.at {
            return self.cannot("Waiting the delay before I can start a new failover.");
        }
        if age > timeout {
            return self.cannot("Failover attempt expired.");
        }
        if !self.election.asked {
            self.current_epoch += 1;
            self.election.epoch = self.current_epoch;
            self.election.asked = true;
            let epoch = self.current_epoch;
            self.log(Level::Notice, format!("Starting a failover election for epoch {epoch}."));
            return self.defer(Deferred::AskForVotes);
        }
        let needed = if self.planted_minority() { 1 } else { self.size / 2 + 1 };
        if self.election.votes.len() < needed {
            let on_disk = self.saving.deferred.iter().all(|it| it.1 != Deferred::AskForVotes);
            if on_disk && self.now - self.election.asked_at >= ASK_AGAIN_MS {
                self.ask_again_for_votes();
            }
            return self.cannot("Waiting for votes, but majority still not reached.");
        }
        self.log(Level::Notice, "Failover election won: I'm the new master.".into());
        let epoch = self.election.epoch;
        if self.me().config_epoch < epoch {
            self.me_mut().config_epoch = epoch;
            let text = format!("configEpoch set to {epoch} after successful failover");
            self.log(Level::Notice, text);
        }
        self.replace_master();
    }

    fn planted_minority(&self) -> bool {
        #[cfg(test)]
        {
            self.plant == Some(super::sim::Plant::OneVoteIsEnough)
        }
        #[cfg(not(test))]
        false
    }

    fn data_is_old(&self) -> bool {
        let settings = &self.settings;
        let factor = settings.replica_validity_factor;
        let age = (self.facts.data_age - settings.node_timeout).max(0);
        let allowed = settings.replication_ping_period + settings.node_timeout * factor;
        factor > 0 && age > allowed
    }

    fn plan_election(&mut self) {
        let manual = self.manual.until.is_some();
        let rank = if manual { 0 } else { self.rank() };
        let random = Ms::try_from(self.prng.below(500)).unwrap_or(0);
        let delay = if manual { 0 } else { 500 + random + seconds(rank) };
        self.election = super::machine::Election {
            at: self.now + delay,
            rank,
            asked: false,
            epoch: 0,
            votes: std::collections::BTreeSet::new(),
            asked_at: 0,
            ever: true,
        };
        let offset = self.facts.offset;
        let text = format!("Start of election delayed for {delay} milliseconds");
        self.log(Level::Notice, format!("{text} (rank #{rank}, offset {offset})."));
        // The others of our shard may have less, and then wait longer.
        self.announce_to_shard();
        if manual {
            self.step_election();
        }
    }

    /// Others turned out to have more: they go first.
    fn fall_behind(&mut self) {
        let rank = self.rank();
        if rank > self.election.rank {
            let added = seconds(rank - self.election.rank);
            self.election.at += added;
            self.election.rank = rank;
            let text =
                format!("Replica rank updated to #{rank}, added {added} milliseconds of delay.");
            self.log(Level::Notice, text);
        }
    }

    /// How many replicas of our master have more than we.
    fn rank(&self) -> usize {
        let Some(master) = self.me().master else { return 0 };
        let better = |key: Key, node: &super::node::Node| {
            let may = !node.flags.has(super::flags::Flags::NOFAILOVER);
            key != self.me && may && node.offset > self.facts.offset
        };
        self.nodes.replicas(master).filter(|(key, node)| better(*key, node)).count()
    }

    fn cannot(&mut self, why: &'static str) {
        if self.last_reason != Some(why) {
            self.last_reason = Some(why);
            self.log(Level::Notice, format!("Currently unable to failover: {why}"));
        }
    }

    /// We have an epoch for it: our master's slots are ours.
    pub(super) fn replace_master(&mut self) {
        let Some(old) = self.me().master else { return };
        let (me, slots) = (self.me, self.node(old).slots.clone());
        self.set_as_master(me);
        for slot in slots.iter() {
            self.give_slot(slot, Some(me));
        }
        self.unsettled = true;
        self.touch_claim();
        self.defer(Deferred::Lead);
        // That was touched as well, and is part of the claim.
        self.saving.claim = self.saving.wanted;
        self.announce_when_saved();
        self.saving.claim = self.saving.wanted;
        self.election = super::machine::Election::default();
        self.reset_manual();
    }

    /// A replica asks us to let it take over.
    pub(super) fn failover_wanted(&mut self, id: LinkId, replica: Key) {
        if self.node(replica).master != Some(self.me) {
            return;
        }
        self.give_moves_up("A replica takes over");
        // Writers who stand still already go on doing so, whoever asks: what has been said of them stays true.
        if self.manual.replica.is_none() || self.manual.until.is_none_or(|it| it <= self.now) {
            self.reset_manual();
            self.pauses += 1;
            self.manual.pause = self.pauses;
        }
        self.manual.until = Some(self.now + MANUAL_MS);
        self.manual.replica = Some(replica);
        let number = self.manual.pause;
        self.out.push(Output::PauseWrites { number, ms: MANUAL_PAUSE_MS });
        let name = self.node(replica).id;
        self.log(Level::Notice, format!("Manual failover requested by replica {name}."));
        // It carries the offset; by the same connection, or by ours, whichever it may be.
        self.heartbeat(id, Heartbeat::Ping);
    }

    /// Do writers stand still for the replica that takes over?
    pub(super) fn stands_still(&self) -> bool {
        self.manual.until.is_some()
            && self.manual.pause != 0
            && self.facts.still == self.manual.pause
    }

    pub(super) fn reset_manual(&mut self) {
        if self.manual.replica.is_some() {
            self.out.push(Output::ResumeWrites);
        }
        self.manual = super::machine::Manual::default();
    }

    /// CLUSTER FAILOVER: our master lives and agrees.
    pub(super) fn begin_manual(&mut self, master: Key) {
        self.begin_by_hand();
        self.manual.asked_at = Some(self.now);
        self.log(Level::Notice, "Manual failover user request accepted.".into());
        self.send_to(master, Body::FailoverStart);
    }

    /// An election that came to nothing is no reason to wait for this one.
    fn begin_by_hand(&mut self) {
        self.reset_manual();
        self.manual.until = Some(self.now + MANUAL_MS);
        self.election = super::machine::Election::default();
    }

    /// FORCE: it is not asked.
    pub(super) fn begin_forced(&mut self) {
        self.begin_by_hand();
        self.manual.may_start = true;
        self.log(Level::Notice, "Forced failover user request accepted.".into());
        self.step_failover();
    }

    /// TAKEOVER: nobody is asked.
    pub(super) fn take_over(&mut self) {
        self.reset_manual();
        self.log(Level::Notice, "Taking over the master (user request).".into());
        self.bump_epoch();
        self.replace_master();
    }

    /// Takes a new config epoch without asking anybody, if we do not have the greatest. Did we?
    pub(super) fn bump_epoch(&mut self) -> bool {
        let greatest = self.nodes.iter().map(|(_, node)| node.config_epoch).max().unwrap_or(0);
        let mine = self.me().config_epoch;
        if mine != 0 && mine == greatest.max(self.current_epoch) {
            return false;
        }
        self.current_epoch = self.current_epoch.max(greatest) + 1;
        let epoch = self.current_epoch;
        self.me_mut().config_epoch = epoch;
        self.touch_claim();
        self.log(Level::Notice, format!("New configEpoch set to {epoch}"));
        true
    }

    /// A replica of a master with many moves to one that has lost all of its own.
    pub(super) fn consider_migration(&mut self) {
        let mut orphans = Vec::new();
        let mut most = 0;
        for (key, node) in self.nodes.iter().filter(|(_, node)| node.is_master()) {
            let good = self.nodes.good_replicas(key);
            most = most.max(if node.has_failed() { 0 } else { good });
            let had = node.flags.has(super::flags::Flags::MIGRATE_TO);
            if good == 0 && node.slot_count > 0 && had && !node.has_failed() {
                orphans.push(key);
            }
        }
        let now = self.now;
        for key in self.nodes.keys() {
            let orphaned = orphans.contains(&key);
            let node = self.node_mut(key);
            node.orphaned_since = if orphaned { node.orphaned_since.or(Some(now)) } else { None };
        }
        let Some(master) = self.me().master else { return };
        let ok = |it: &&(Key, &super::node::Node)| !it.1.has_failed() && !it.1.is_silent();
        let replicas: Vec<(Key, &super::node::Node)> = self.nodes.replicas(master).collect();
        let left = replicas.iter().filter(ok).count();
        let mine = self.nodes.good_replicas(master);
        let allowed = self.settings.allow_replica_migration && self.is_ok;
        if !allowed || most < 2 || mine != most || left <= self.settings.migration_barrier {
            return;
        }
        // The one with the smallest name, among all replicas of masters with the most.
        let candidates = self
            .nodes
            .iter()
            .filter(|(_, node)| node.master.is_some_and(|it| self.nodes.good_replicas(it) == most));
        let first = candidates.map(|(key, node)| (node.id, key)).min().map(|it| it.1);
        let waited = |key: &Key| {
            self.node(*key).orphaned_since.is_some_and(|at| self.now - at > MIGRATION_DELAY_MS)
        };
        if first == Some(self.me)
            && let Some(target) = orphans.into_iter().find(waited)
        {
            let id = self.node(target).id;
            self.log(Level::Notice, format!("Migrating to orphaned master {id}"));
            self.follow(target);
        }
    }
}

fn seconds(count: usize) -> Ms {
    Ms::try_from(count).unwrap_or(0).saturating_mul(1_000)
}
