//! What must hold whatever happens.

use crate::resp::decode::{Value, decode};
use crate::sentinel::hello::Hello;
use std::collections::{BTreeMap, BTreeSet};

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Check {
    /// Who voted for whom in which epoch.
    votes: BTreeMap<(usize, u64), String>,
    leaders: BTreeMap<u64, usize>,
    /// Epochs that an operator's failover took.
    forced: BTreeSet<u64>,
    masters: BTreeMap<u64, (String, u16)>,
    /// The epochs that each Sentinel spoke of last.
    epochs: BTreeMap<usize, (u64, u64)>,
}

impl Check {
    pub fn leaders(&self) -> u64 {
        self.leaders.len() as u64
    }

    pub fn votes(&self) -> u64 {
        self.votes.len() as u64
    }

    /// A Sentinel sends to somebody who asked it something.
    pub fn answer(&mut self, who: usize, bytes: &[u8], disk: &[u8]) -> Result<(), String> {
        let Ok(Some((Value::Array(items), _))) = decode(bytes) else { return Ok(()) };
        let [Value::Int(_), Value::Bulk(leader), Value::Int(epoch)] = items.as_slice() else {
            return Ok(());
        };
        let (leader, epoch) = (String::from_utf8_lossy(leader), *epoch as u64);
        if leader == "*" {
            return Ok(());
        }
        let kept = on_disk(disk, "leader-epoch m ").unwrap_or(0);
        if kept < epoch {
            return Err(format!("{who} votes in epoch {epoch}, but its disk says {kept}"));
        }
        let before = self.votes.insert((who, epoch), leader.to_string());
        match before {
            Some(before) if before != leader => {
                Err(format!("{who} votes for {leader} and {before} in epoch {epoch}"))
            }
            _ => Ok(()),
        }
    }

    /// A Sentinel says hello.
    pub fn hello(&mut self, who: usize, hello: &Hello, disk: &[u8]) -> Result<(), String> {
        let said = self.epochs.entry(who).or_default();
        if hello.epoch < said.0 || hello.config_epoch < said.1 {
            let now = (hello.epoch, hello.config_epoch);
            return Err(format!("{who} says epochs {now:?} after {said:?}"));
        }
        *said = (hello.epoch, hello.config_epoch);
        if on_disk(disk, "current-epoch ").unwrap_or(0) < hello.epoch {
            return Err(format!("{who} says epoch {}, which its disk does not know", hello.epoch));
        }
        if hello.config_epoch == 0 {
            return Ok(());
        }
        let address = (hello.master_ip.clone(), hello.master_port);
        let before = self.masters.entry(hello.config_epoch).or_insert(address.clone());
        if *before != address && !self.forced.contains(&hello.config_epoch) {
            let epoch = hello.config_epoch;
            return Err(format!("{who} says {address:?} in config epoch {epoch}, not {before:?}"));
        }
        Ok(())
    }

    /// An operator's failover asks for nobody's vote: behind a cut its epoch may be another's, too. Of such an
    /// epoch there may be two masters for a while; in the end there is one, as always.
    pub fn forces(&mut self, epoch: u64) {
        self.forced.insert(epoch);
    }

    /// A Sentinel takes itself for the leader.
    pub fn leads(&mut self, who: usize, epoch: u64) -> Result<(), String> {
        match self.leaders.insert(epoch, who) {
            Some(before) if before != who => {
                Err(format!("{who} and {before} both lead in epoch {epoch}"))
            }
            _ => Ok(()),
        }
    }
}

/// The number behind `sentinel {option}` in a file.
fn on_disk(disk: &[u8], option: &str) -> Option<u64> {
    let text = String::from_utf8_lossy(disk);
    let start = format!("sentinel {option}");
    text.lines().find_map(|line| line.strip_prefix(&start)).and_then(|it| it.parse().ok())
}
