//! Votes: one per epoch, first come first served, on disk before anybody hears of it.

use super::instance::{Id, Ms};
use super::machine::{Level, Sentinel};
use std::collections::BTreeMap;

/// After a vote for somebody else: up to so long is added to the time that he has.
const DESYNC_MS: u64 = 1_000;

impl Sentinel {
    /// Votes for `candidate` in `epoch`, if no vote was given in that epoch or a later one. Returns the
    /// last vote and its epoch. Neither may leave before the state is saved.
    pub(super) fn vote(&mut self, id: Id, epoch: u64, candidate: &str) -> (Option<String>, u64) {
        if epoch > self.epoch && self.is_plausible(epoch) {
            self.epoch = epoch;
            self.touch();
            self.event(Level::Warning, "+new-epoch", Some(id), &epoch.to_string());
        }
        let master = self.instances.master(id);
        let voted = master.leader_epoch >= epoch;
        #[cfg(test)]
        let voted = voted && self.plant != Some(super::sim::Plant::VotesTwice);
        if !voted && self.epoch <= epoch && self.is_plausible(epoch) {
            let epoch = self.epoch;
            let master = self.instances.master_mut(id);
            master.leader = Some(candidate.to_string());
            master.leader_epoch = epoch;
            self.touch();
            let text = format!("{candidate} {epoch}");
            self.event(Level::Warning, "+vote-for-leader", Some(id), &text);
            if !candidate.eq_ignore_ascii_case(&self.myid) {
                self.instances.master_mut(id).failover_start = self.now + self.desync();
            }
        }
        let master = self.instances.master(id);
        (master.leader.clone(), master.leader_epoch)
    }

    /// A random part of a second.
    pub(super) fn desync(&mut self) -> Ms {
        i64::try_from(self.prng.below(DESYNC_MS)).unwrap_or(0)
    }

    /// Who leads in `epoch`: whoever has the votes of more than half of all Sentinels that we know, and of
    /// at least the quorum. Our own vote goes to whoever has most, or to ourselves.
    pub(super) fn leader(&mut self, id: Id, epoch: u64) -> Option<String> {
        let master = self.instances.master(id);
        let voters = master.sentinels.len() + 1;
        let quorum = usize::try_from(master.quorum).unwrap_or(usize::MAX);
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for peer in master.sentinels.values().filter_map(|it| self.instances[*it].peer()) {
            if let Some(leader) = &peer.leader
                && peer.leader_epoch == self.epoch
            {
                *votes.entry(leader.clone()).or_default() += 1;
            }
        }
        let most = |votes: &BTreeMap<String, usize>| {
            votes.iter().max_by_key(|(_, count)| **count).map(|(who, count)| (who.clone(), *count))
        };
        let favourite = most(&votes).map_or_else(|| self.myid.clone(), |(who, _)| who);
        if let (Some(mine), vote_epoch) = self.vote(id, epoch, &favourite)
            && vote_epoch == epoch
        {
            *votes.entry(mine).or_default() += 1;
        }
        let needed = quorum.max(voters / 2 + 1);
        #[cfg(test)]
        let needed =
            if self.plant == Some(super::sim::Plant::OneVoteIsEnough) { 1 } else { needed };
        // Our own vote, too, counts only when it cannot be forgotten.
        most(&votes).filter(|(_, count)| *count >= needed && self.is_saved()).map(|(who, _)| who)
    }
}
