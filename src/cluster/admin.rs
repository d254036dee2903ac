//! What people and tools have a node do: the CLUSTER commands that change something. To be called within
//! [`Cluster::command`]. How many keys there are is given.

use super::flags::Flags;
use super::id::NodeId;
use super::machine::{Cluster, Level, Output};
use super::node::{Key, Node, Nodes};
use super::receive::FORGET_SECONDS;
use super::slots::Slots;
use crate::base::limits::SLOTS;
use crate::resp::error::ErrorKind;
use core::net::IpAddr;

/// How CLUSTER FAILOVER goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    /// The master agrees: nothing is lost.
    Agreed,
    /// The masters vote, and ours is not asked.
    Force,
    /// Nobody is asked.
    Takeover,
}

/// What CLUSTER SETSLOT makes of a slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetSlot<'a> {
    Migrating(&'a [u8]),
    Importing(&'a [u8]),
    Stable,
    Node(&'a [u8]),
}

impl Cluster {
    /// CLUSTER MEET.
    ///
    /// # Errors
    /// It is no address.
    pub fn meet(&mut self, ip: &[u8], port: i64, bus_port: i64) -> Result<(), ErrorKind> {
        let parsed = str::from_utf8(ip).ok().and_then(|it| it.parse::<IpAddr>().ok());
        let number = |port: i64| u16::try_from(port).ok().filter(|it| *it != 0);
        let (Some(parsed), Some(port), Some(bus_port)) = (parsed, number(port), number(bus_port))
        else {
            let mut address = ip.to_vec();
            address.extend_from_slice(format!(":{port}").as_bytes());
            return Err(ErrorKind::ClusterAddress { address: address.into() });
        };
        let flags = Flags::HANDSHAKE.and(Flags::MEET);
        self.handshake(parsed.to_canonical(), port, 0, bus_port, flags);
        Ok(())
    }

    /// CLUSTER FORGET.
    ///
    /// # Errors
    /// It is unknown, ourselves, or our master.
    pub fn forget_node(&mut self, id: &[u8]) -> Result<(), ErrorKind> {
        let Ok(key) = self.find(id) else {
            let name = NodeId::parse(id);
            return match name.filter(|it| self.is_forgotten(it)) {
                Some(_) => Ok(()), // Another node was quicker to tell.
                None => Err(unknown(id)),
            };
        };
        if key == self.me {
            return Err(ErrorKind::ClusterForgetSelf);
        }
        if self.me().is_replica() && self.me().master == Some(key) {
            return Err(ErrorKind::ClusterForgetMaster);
        }
        let name = self.node(key).id;
        self.forgotten.insert(name, self.now + FORGET_SECONDS * 1_000);
        self.forget(key);
        self.touch();
        Ok(())
    }

    /// CLUSTER REPLICATE.
    ///
    /// # Errors
    /// It is no master, or we have something of our own.
    pub fn replicate(&mut self, id: &[u8], has_keys: bool) -> Result<(), ErrorKind> {
        let key = self.find(id)?;
        if key == self.me {
            return Err(ErrorKind::ClusterReplicateSelf);
        }
        if self.node(key).is_replica() {
            return Err(ErrorKind::ClusterReplicateReplica);
        }
        if self.me().is_master() && (self.me().slot_count > 0 || has_keys) {
            return Err(ErrorKind::ClusterNotEmpty);
        }
        self.follow(key);
        Ok(())
    }

    /// CLUSTER FAILOVER.
    ///
    /// # Errors
    /// We are a master, or ours is down and is to be asked.
    pub fn fail_over(&mut self, how: Failover) -> Result<(), ErrorKind> {
        if self.me().is_master() {
            return Err(ErrorKind::ClusterFailoverHere);
        }
        let Some(master) = self.me().master else { return Err(ErrorKind::ClusterMasterUnknown) };
        match how {
            Failover::Agreed => {
                if self.node(master).has_failed() || self.out_link(master).is_none() {
                    return Err(ErrorKind::ClusterMasterDown);
                }
                self.begin_manual(master);
            }
            Failover::Force => self.begin_forced(),
            Failover::Takeover => self.take_over(),
        }
        Ok(())
    }

    /// CLUSTER ADDSLOTS and its like.
    ///
    /// # Errors
    /// A slot is another's, or free already, or named twice.
    pub fn change_slots(&mut self, slots: &[u16], add: bool) -> Result<(), ErrorKind> {
        let mut named = Slots::default();
        for &slot in slots {
            let owned = self.table.owner(slot).is_some();
            let number = i64::from(slot);
            if !add && !owned {
                return Err(ErrorKind::ClusterSlotFree { slot: number });
            }
            if add && owned {
                return Err(ErrorKind::ClusterSlotBusy { slot: number });
            }
            if !named.insert(slot) {
                return Err(ErrorKind::ClusterSlotTwice { slot: number });
            }
        }
        for slot in named.iter() {
            self.table.importing.remove(&slot);
            let owner = add.then_some(self.me);
            self.give_slot(slot, owner);
        }
        self.touch();
        self.unsettled = true;
        Ok(())
    }

    /// CLUSTER FLUSHSLOTS.
    ///
    /// # Errors
    /// There are keys.
    pub fn flush_slots(&mut self, has_keys: bool) -> Result<(), ErrorKind> {
        if has_keys {
            return Err(ErrorKind::ClusterFlushslotsKeys);
        }
        self.take_slots_of(self.me);
        self.touch();
        self.unsettled = true;
        Ok(())
    }

    /// CLUSTER SETSLOT. `keys`: how many are in the slot.
    ///
    /// # Errors
    /// The slot or the node is not what it must be.
    pub fn set_slot(&mut self, slot: u16, what: SetSlot<'_>, keys: u64) -> Result<(), ErrorKind> {
        if self.me().is_replica() {
            return Err(ErrorKind::ClusterSetslotReplica);
        }
        let mine = self.table.owner(slot) == Some(self.me);
        let number = i64::from(slot);
        if self.is_moving(slot) {
            return Err(ErrorKind::MoveTwice { slot: number });
        }
        match what {
            SetSlot::Migrating(id) => {
                if !mine {
                    return Err(ErrorKind::ClusterNotOwner { slot: number });
                }
                let to = self.find_master(id, |id| ErrorKind::ClusterDontKnow { id })?;
                self.table.migrating.insert(slot, to);
            }
            SetSlot::Importing(id) => {
                if mine {
                    return Err(ErrorKind::ClusterOwner { slot: number });
                }
                let from = self.find_master(id, |id| ErrorKind::ClusterDontKnow { id })?;
                self.table.importing.insert(slot, from);
            }
            SetSlot::Stable => {
                self.table.migrating.remove(&slot);
                self.table.importing.remove(&slot);
            }
            SetSlot::Node(id) => {
                let to = self.find_master(id, |id| ErrorKind::ClusterUnknownNode { id })?;
                if mine && to != self.me && keys > 0 {
                    return Err(ErrorKind::ClusterHoldsKeys { slot: number });
                }
                self.assign(slot, to, mine, keys);
            }
        }
        self.touch();
        self.unsettled = true;
        Ok(())
    }

    fn assign(&mut self, slot: u16, to: Key, mine: bool, keys: u64) {
        if keys == 0 {
            self.table.migrating.remove(&slot);
        }
        self.give_slot(slot, Some(to));
        let left = self.me().slot_count == 0 && self.settings.allow_replica_migration;
        if mine && to != self.me && left {
            let id = self.node(to).id;
            let text = "Configuration change detected. Reconfiguring myself as a replica of";
            self.log(Level::Notice, format!("{text} {id}"));
            self.follow(to);
        }
        if to == self.me && self.table.importing.remove(&slot).is_some() {
            // A new epoch, so that everybody believes it.
            if self.bump_epoch() {
                let text = format!("configEpoch updated after importing slot {slot}");
                self.log(Level::Notice, text);
            }
            self.announce_when_saved();
        }
    }

    /// CLUSTER BUMPEPOCH: was there anything to do, and our epoch.
    pub fn bump(&mut self) -> (bool, u64) {
        let bumped = self.bump_epoch();
        (bumped, self.me().config_epoch)
    }

    /// CLUSTER SET-CONFIG-EPOCH.
    ///
    /// # Errors
    /// We know others already, or have one.
    pub fn set_config_epoch(&mut self, epoch: i64) -> Result<(), ErrorKind> {
        let Ok(wanted) = u64::try_from(epoch) else {
            return Err(ErrorKind::ClusterEpoch { epoch });
        };
        if self.nodes.count() > 1 {
            return Err(ErrorKind::ClusterEpochKnowsOthers);
        }
        if self.me().config_epoch != 0 {
            return Err(ErrorKind::ClusterEpochIsSet);
        }
        self.me_mut().config_epoch = wanted;
        self.current_epoch = self.current_epoch.max(wanted);
        self.log(
            Level::Notice,
            format!("configEpoch set to {wanted} via CLUSTER SET-CONFIG-EPOCH"),
        );
        self.touch();
        Ok(())
    }

    /// CLUSTER RESET.
    ///
    /// # Errors
    /// A master has keys.
    pub fn reset(&mut self, hard: bool, has_keys: bool) -> Result<(), ErrorKind> {
        if self.me().is_master() && has_keys {
            return Err(ErrorKind::ClusterResetKeys);
        }
        if self.me().is_replica() {
            let me = self.me;
            self.set_as_master(me);
            self.following = None;
            self.out.push(Output::Lead);
            self.out.push(Output::DropAll);
        }
        self.table.close_all();
        self.reset_manual();
        for slot in 0..SLOTS {
            self.give_slot(slot, None);
        }
        for key in self.nodes.keys() {
            self.forget(key);
        }
        if hard {
            self.current_epoch = 0;
            self.last_vote_epoch = 0;
            let (id, shard) = (NodeId::draw(&mut self.prng), NodeId::draw(&mut self.prng));
            let old = self.me().clone();
            let me = Node { id, shard, config_epoch: 0, ..old };
            self.nodes = Nodes::default();
            self.me = self.nodes.insert(me);
            self.log(Level::Notice, format!("Node hard reset, now I'm {id}"));
        }
        self.election = super::machine::Election::default();
        self.touch();
        self.unsettled = true;
        Ok(())
    }

    /// CLUSTER SAVECONFIG.
    pub fn save(&mut self) {
        self.touch();
    }

    /// CLUSTER COUNT-FAILURE-REPORTS.
    ///
    /// # Errors
    /// It is unknown.
    pub fn failure_reports(&mut self, id: &[u8]) -> Result<usize, ErrorKind> {
        let key = self.find(id)?;
        Ok(self.reports_of(key))
    }

    pub(super) fn find(&self, id: &[u8]) -> Result<Key, ErrorKind> {
        NodeId::parse(id).and_then(|it| self.nodes.find(&it)).ok_or_else(|| unknown(id))
    }

    fn find_master(&self, id: &[u8], error: fn(Box<[u8]>) -> ErrorKind) -> Result<Key, ErrorKind> {
        let key = self.find(id).map_err(|_| error(id.into()))?;
        if self.node(key).is_replica() {
            return Err(ErrorKind::ClusterTargetReplica);
        }
        Ok(key)
    }
}

fn unknown(id: &[u8]) -> ErrorKind {
    ErrorKind::ClusterUnknownNode { id: id.into() }
}
