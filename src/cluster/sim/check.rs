//! What must hold whatever happens.
//!
//! **Config epochs.** Elections give each epoch to one master: two with the votes of a majority under the same epoch
//! would be a second vote of somebody. Who imports a slot takes an epoch without asking, as with Redis, so for a
//! moment it may have the one that an election gives to somebody else. That moment ends when they hear of each other:
//! the smaller name takes a new one ([`Check::moved_on`]). When all is quiet no two masters share one
//! ([`Check::shared`]). Who claims under an epoch that was neither given nor free for him nor of a collision is found
//! at once.

use crate::cluster::id::NodeId;
use crate::cluster::packet::{Body, Header, Packet};
use crate::cluster::slots::Slots;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// Who voted for whom in which epoch.
    given: BTreeMap<(NodeId, u64), NodeId>,
    /// Who claimed slots under which epoch, and which.
    claims: BTreeMap<u64, BTreeMap<NodeId, Slots>>,
    /// The config epoch that each master spoke of last, and all of which masters ever spoke.
    epochs: BTreeMap<NodeId, u64>,
    said: BTreeSet<(u64, NodeId)>,
    /// Epochs that nobody voted for, and whose they are: of the beginning, of operators, of collisions.
    free: BTreeSet<(u64, NodeId)>,
    elected: BTreeSet<u64>,
    /// Masters with slots.
    pub voters: usize,
}

impl Check {
    pub fn elected(&self) -> u64 {
        self.elected.len() as u64
    }

    pub fn votes(&self) -> u64 {
        self.given.len() as u64
    }

    /// A node sends a packet to another.
    pub fn sent(&mut self, to: NodeId, bytes: &[u8], disk: &[u8]) -> Result<(), String> {
        let packet =
            Packet::read(bytes).map_err(|bad| format!("it sends a bad packet: {bad:?}"))?;
        if packet.body == Body::AuthAck {
            return self.voted(&packet.header, to, disk);
        }
        self.claimed(&packet.header)
    }

    fn voted(&mut self, header: &Header, to: NodeId, disk: &[u8]) -> Result<(), String> {
        let (voter, epoch) = (header.sender, header.current_epoch);
        let kept = on_disk(disk, "lastVoteEpoch");
        if kept < epoch {
            return Err(format!("{voter} votes in epoch {epoch}, but its disk says {kept}"));
        }
        match self.given.insert((voter, epoch), to) {
            Some(before) if before != to => {
                Err(format!("{voter} votes for {to} and {before} in epoch {epoch}"))
            }
            _ => Ok(()),
        }
    }

    fn claimed(&mut self, header: &Header) -> Result<(), String> {
        let (who, epoch) = (header.sender, header.config_epoch);
        if header.master.is_some() {
            return Ok(());
        }
        let last = self.epochs.entry(who).or_default();
        if epoch < *last {
            return Err(format!("{who} says config epoch {epoch} after {last}"));
        }
        *last = epoch;
        self.said.insert((epoch, who));
        if header.slots.is_empty() {
            return Ok(());
        }
        let claims = self.claims.entry(epoch).or_default();
        if let Some(slots) = claims.get_mut(&who) {
            slots.clone_from(&header.slots);
            return Ok(());
        }
        claims.insert(who, header.slots.clone());
        // Of a node that never had one it is nought.
        if epoch == 0 || self.free.contains(&(epoch, who)) {
            return Ok(());
        }
        let votes = self.votes_for(epoch, who);
        if votes < self.voters / 2 + 1 {
            return Err(format!("{who} claims slots in epoch {epoch} with {votes} votes"));
        }
        self.elected.insert(epoch);
        Ok(())
    }

    fn votes_for(&self, epoch: u64, who: NodeId) -> usize {
        self.given.iter().filter(|((_, it), to)| *it == epoch && **to == who).count()
    }

    /// An epoch is somebody's without votes.
    pub fn set_free(&mut self, epoch: u64, who: NodeId) {
        self.free.insert((epoch, who));
    }

    /// A master heard something and has another epoch since: another one claimed the old one, too, and comes behind
    /// it by name.
    pub fn moved_on(&mut self, who: NodeId, from: u64, to: u64) -> Result<(), String> {
        let mut others = self.said.iter().filter(|it| it.0 == from && it.1 > who);
        if to < from || others.next().is_none() {
            return Err(format!(
                "{who} goes from epoch {from} to {to}, and nobody else has {from}"
            ));
        }
        self.set_free(to, who);
        Ok(())
    }

    /// Two masters with slots and the same epoch, of what each says of itself now.
    pub fn shared(masters: impl Iterator<Item = (NodeId, u64)>) -> Result<(), String> {
        let mut seen = BTreeMap::new();
        for (who, epoch) in masters {
            if let Some(other) = seen.insert(epoch, who) {
                return Err(format!("{who} and {other} both have epoch {epoch}"));
            }
        }
        Ok(())
    }

    /// Did he claim a slot under the greatest epoch under which anybody did?
    pub fn claimed_last(&self, slot: u16, who: NodeId) -> bool {
        let claims = |slots: &Slots| slots.contains(slot);
        let last = self.claims.values().rev().find(|it| it.values().any(claims));
        last.is_some_and(|it| it.get(&who).is_some_and(claims))
    }
}

/// The number behind a name in a file.
fn on_disk(disk: &[u8], name: &str) -> u64 {
    let text = String::from_utf8_lossy(disk);
    let mut words = text.split_ascii_whitespace().skip_while(|word| *word != name).skip(1);
    words.next().and_then(|it| it.parse().ok()).unwrap_or(0)
}
