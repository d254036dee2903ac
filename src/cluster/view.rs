//! Whose slots are whose, who is whose replica, and whether the cluster serves.
//!
//! Invariant (`check`, in tests): a slot's owner in the table has it in his own set, and nobody else has.

use super::flags::Flags;
use super::machine::{Cluster, Deferred, Level, LinkId, Output};
use super::node::{Key, Ms};
use super::slots::Slots;
use crate::base::limits::SLOTS;

/// After a start a master does not serve at once: others may have put somebody in its place.
const WRITABLE_DELAY_MS: Ms = 2_000;

/// After it was among the minority it waits as long as a time-out, within these.
const REJOIN_DELAY_MS: std::ops::RangeInclusive<Ms> = 500..=5_000;

impl Cluster {
    /// A slot gets another owner, or none.
    pub(super) fn give_slot(&mut self, slot: u16, owner: Option<Key>) {
        if let Some(old) = self.table.owner(slot).and_then(|it| self.nodes.get_mut(it))
            && old.slots.remove(slot)
        {
            old.slot_count -= 1;
        }
        self.table.set(slot, owner.filter(|it| self.nodes.get(*it).is_some()));
        let others_have_replicas = |this: &Self| {
            let has_master = |node: &super::node::Node| node.master.is_some();
            this.nodes.iter().any(|(_, node)| has_master(node))
        };
        let Some(key) = self.table.owner(slot) else { return };
        let node = self.node_mut(key);
        if node.slots.insert(slot) {
            node.slot_count += 1;
        }
        // With its first slot a master may have replicas of others come to it, if others have any.
        if node.slot_count == 1 && others_have_replicas(self) {
            self.node_mut(key).flags.set(Flags::MIGRATE_TO, true);
        }
    }

    /// All slots of a node are nobody's.
    pub(super) fn take_slots_of(&mut self, key: Key) {
        for slot in self.node(key).slots.iter().collect::<Vec<_>>() {
            self.give_slot(slot, None);
        }
    }

    pub(super) fn set_replica_of(&mut self, key: Key, master: Option<Key>) {
        let old = std::mem::replace(&mut self.node_mut(key).master, master);
        if let Some(old) = old.filter(|it| self.nodes.replicas(*it).next().is_none())
            && let Some(node) = self.nodes.get_mut(old)
        {
            node.flags.set(Flags::MIGRATE_TO, false);
        }
        if let Some(master) = master {
            self.node_mut(master).flags.set(Flags::MIGRATE_TO, true);
            let shard = self.node(master).shard;
            self.node_mut(key).shard = shard;
        }
        self.changed = true;
    }

    /// A replica is a master now.
    pub(super) fn set_as_master(&mut self, key: Key) {
        if self.node(key).is_master() {
            return;
        }
        let had_master = self.node(key).master.is_some();
        if had_master {
            self.set_replica_of(key, None);
        }
        let mine = key == self.me;
        let node = self.node_mut(key);
        if had_master && !mine {
            node.flags.set(Flags::MIGRATE_TO, true);
        }
        node.flags.set(Flags::REPLICA, false);
        node.flags.set(Flags::MASTER, true);
        self.touch();
        self.unsettled = true;
    }

    /// We are this node's replica from now on.
    pub(super) fn follow(&mut self, master: Key) {
        // What a take-over left with us is the master's.
        self.take_slots_of(self.me);
        if self.me().is_master() {
            let me = self.me_mut();
            me.flags = me.flags.without(Flags::MASTER.and(Flags::MIGRATE_TO));
            me.flags.set(Flags::REPLICA, true);
            self.table.close_all();
        }
        let me = self.me;
        self.set_replica_of(me, Some(master));
        self.reset_manual();
        self.touch();
        self.unsettled = true;
        self.follow_master();
        // Our new master is to know us before it is asked for anything, and voters are.
        self.announce_when_saved();
    }

    /// Replication goes where our master is, if we know where.
    pub(super) fn follow_master(&mut self) {
        let Some(master) = self.me().master.and_then(|it| self.nodes.get(it)) else { return };
        let Some(ip) = master.ip.filter(|_| master.port != 0) else { return };
        let port = master.port;
        if self.following != Some((ip, port)) {
            self.following = Some((ip, port));
            self.out.push(Output::Follow { ip, port });
        }
    }

    /// A master claims slots under a config epoch: those that are nobody's, or whose owner has an older one,
    /// are its own.
    pub(super) fn update_slots(&mut self, sender: Key, epoch: u64, claimed: &Slots) {
        let ours = if self.me().is_master() { Some(self.me) } else { self.me().master };
        let (mut lost, mut from_us, mut moved) = (Slots::default(), 0, false);
        for slot in 0..SLOTS {
            let owner = self.table.owner(slot);
            if !claimed.contains(slot) {
                if owner == Some(sender) {
                    // Clients are still sent there: it is better than nowhere. But we do not tell others.
                    self.table.unclaimed.insert(slot);
                }
                continue;
            }
            if owner == Some(sender) {
                self.table.unclaimed.remove(slot);
                continue;
            }
            // Whoever imports a slot closes it by a command.
            if self.table.importing.contains_key(&slot) {
                continue;
            }
            let free = self.table.unclaimed.contains(slot);
            let older = |owner: Key| self.node(owner).config_epoch < epoch;
            if !(free || owner.is_none_or(older) || self.planted_theft()) {
                continue;
            }
            if owner == Some(self.me) {
                lost.insert(slot);
            }
            if owner.is_some() && owner == ours {
                from_us += 1;
            }
            self.give_slot(slot, Some(sender));
            moved = true;
        }
        if moved {
            self.touch();
            self.unsettled = true;
        }
        let all_gone = ours.is_some_and(|it| self.node(it).slot_count == 0);
        let only_ours = claimed.len() == from_us;
        let grand_master = self.me().master.and_then(|it| self.node(it).master);
        if from_us > 0 && all_gone && (self.settings.allow_replica_migration || only_ours) {
            let id = self.node(sender).id;
            let text = "Configuration change detected. Reconfiguring myself as a replica of";
            self.log(Level::Notice, format!("{text} {id}"));
            self.follow(sender);
        } else if let Some(grand_master) = grand_master.filter(|it| *it != self.me) {
            let id = self.node(grand_master).id;
            let text = "I'm a sub-replica! Reconfiguring myself as a replica of grandmaster";
            self.log(Level::Notice, format!("{text} {id}"));
            self.follow(grand_master);
        } else if !lost.is_empty() {
            self.out.push(Output::DropKeys { slots: lost });
        }
    }

    fn planted_theft(&self) -> bool {
        #[cfg(test)]
        {
            self.plant == Some(super::sim::Plant::LastClaimWins)
        }
        #[cfg(not(test))]
        false
    }

    /// Drops a node and all that we know of it.
    pub(super) fn forget(&mut self, key: Key) {
        if key == self.me {
            return;
        }
        let Some(node) = self.nodes.get(key) else { return };
        let (out, inbound) = (node.out, node.inbound);
        let master = node.master;
        if let Some(number) = out {
            self.drop_link(LinkId::Out(number));
        }
        if let Some(number) = inbound {
            self.drop_link(LinkId::In(number));
        }
        for other in self.nodes.values_mut() {
            other.reports.remove(&key);
            if other.master == Some(key) {
                other.master = None;
            }
        }
        self.table.forget(key);
        self.nodes.remove(key);
        let votes = |what: &Deferred| matches!(what, Deferred::Vote(it, _) if *it == key);
        self.saving.deferred.retain(|(_, what)| !votes(what));
        self.election.votes.remove(&key);
        if self.manual.replica == Some(key) {
            self.reset_manual();
        }
        if let Some(master) = master.filter(|it| self.nodes.replicas(*it).next().is_none())
            && let Some(node) = self.nodes.get_mut(master)
        {
            node.flags.set(Flags::MIGRATE_TO, false);
        }
        self.changed = true;
        self.unsettled = true;
    }

    /// Does the cluster serve, as far as we see?
    pub(super) fn update_state(&mut self) {
        let voters: Vec<bool> = self
            .nodes
            .iter()
            .filter(|(_, node)| node.votes())
            .map(|(_, node)| !node.flags.has(Flags::PFAIL.and(Flags::FAIL)))
            .collect();
        self.size = voters.len();
        let reachable = voters.iter().filter(|it| **it).count();
        let is_master = self.me().is_master();
        if is_master && !self.is_ok && self.now - self.begun_at < WRITABLE_DELAY_MS {
            return;
        }
        let served = |node: &super::node::Node| if node.has_failed() { 0 } else { node.slot_count };
        let covered: usize = self.nodes.iter().map(|(_, node)| served(node)).sum();
        let mut ok = !self.settings.require_full_coverage || covered == usize::from(SLOTS);
        if reachable < self.size / 2 + 1 {
            ok = false;
            self.in_minority_at = Some(self.now);
        }
        if ok == self.is_ok {
            return;
        }
        let (shortest, longest) = REJOIN_DELAY_MS.into_inner();
        let delay = self.settings.node_timeout.clamp(shortest, longest);
        if ok && is_master && self.in_minority_at.is_some_and(|at| self.now - at < delay) {
            return;
        }
        self.is_ok = ok;
        self.changed = true;
        let (level, word) = if ok { (Level::Notice, "ok") } else { (Level::Warning, "fail") };
        self.log(level, format!("Cluster state changed: {word}"));
    }

    /// The two ways in which slots are kept agree.
    #[cfg(test)]
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, node) in self.nodes.iter() {
            if node.slots.len() != node.slot_count {
                return Err(format!("{} counts {} slots", node.id, node.slot_count));
            }
            if let Some(slot) = node.slots.iter().find(|it| self.table.owner(*it) != Some(key)) {
                return Err(format!("{} has slot {slot}, which is another's", node.id));
            }
            if node.master.is_some_and(|it| self.nodes.get(it).is_none()) {
                return Err(format!("{} is a replica of nobody", node.id));
            }
        }
        let owned: usize = self.nodes.iter().map(|(_, node)| node.slot_count).sum();
        let table = (0..SLOTS).filter(|slot| self.table.owner(*slot).is_some()).count();
        if owned != table {
            return Err(format!("{table} slots have an owner, and nodes have {owned}"));
        }
        Ok(())
    }
}
