//! What must hold whatever happens.

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
    claims: BTreeMap<u64, (NodeId, Slots)>,
    /// The config epoch that each master spoke of last.
    epochs: BTreeMap<NodeId, u64>,
    /// Epochs that nobody voted for: of the beginning, and of operators.
    pub free: BTreeSet<u64>,
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
        if epoch == 0 || header.slots.is_empty() {
            return Ok(());
        }
        if let Some((before, slots)) = self.claims.get_mut(&epoch) {
            let same = *before == who;
            slots.clone_from(&header.slots);
            return if same {
                Ok(())
            } else {
                Err(format!("{who} and {before} both claim epoch {epoch}"))
            };
        }
        self.claims.insert(epoch, (who, header.slots.clone()));
        if self.free.contains(&epoch) {
            return Ok(());
        }
        let votes = self.given.iter().filter(|((_, it), to)| *it == epoch && **to == who).count();
        if votes < self.voters / 2 + 1 {
            return Err(format!("{who} claims slots in epoch {epoch} with {votes} votes"));
        }
        self.elected.insert(epoch);
        Ok(())
    }

    /// Who claimed a slot under the greatest epoch.
    pub fn last_claim(&self, slot: u16) -> Option<NodeId> {
        self.claims.values().rev().find(|(_, slots)| slots.contains(slot)).map(|(who, _)| *who)
    }
}

/// The number behind a name in a file.
fn on_disk(disk: &[u8], name: &str) -> u64 {
    let text = String::from_utf8_lossy(disk);
    let mut words = text.split_ascii_whitespace().skip_while(|word| *word != name).skip(1);
    words.next().and_then(|it| it.parse().ok()).unwrap_or(0)
}
