//! Who is there: masters, replicas and Sentinels come, go, and change their addresses.

use super::address::{Address, Found};
use super::claims::Claims;
use super::instance::{Failover, Id, Instance, Kind, LinkId, Master, Ms, Peer, Replica, Role};
use super::link::{Link, Side};
use super::machine::{Level, Output, Sentinel};
use crate::base::limits::{SENTINEL_MASTERS_MAX, SENTINEL_PEERS_MAX, SENTINEL_REPLICAS_MAX};
use std::collections::BTreeMap;

/// Why an instance is not taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Duplicate,
    Unresolved,
    Port,
    TooMany,
}

impl Sentinel {
    /// The address as far as it is known. `Err`: it is no IP, and names are not resolved.
    pub(super) fn address(&mut self, host: &str, port: i64) -> Result<Address, Refused> {
        let port = u16::try_from(port).map_err(|_| Refused::Port)?;
        let ip = match self.book.find(host, self.globals.resolve_hostnames) {
            Found::Ip(ip) => ip,
            Found::Unknown => String::new(),
            Found::Nothing if self.globals.resolve_hostnames => String::new(),
            Found::Nothing => return Err(Refused::Unresolved),
        };
        if ip.is_empty() {
            self.ask_for_name(host);
        }
        Ok(Address { host: host.to_string(), ip, port })
    }

    pub(super) fn ask_for_name(&mut self, host: &str) {
        if self.globals.resolve_hostnames && self.book.ask(host, self.now) {
            self.out.push(Output::Resolve { name: host.to_string() });
        }
    }

    pub(super) fn add_master(
        &mut self,
        name: &str,
        host: &str,
        port: i64,
        quorum: i64,
    ) -> Result<Id, Refused> {
        let address = self.address(host, port)?;
        if self.masters.contains_key(name) {
            return Err(Refused::Duplicate);
        }
        if self.masters.len() >= SENTINEL_MASTERS_MAX {
            return Err(Refused::TooMany);
        }
        let kind = Kind::Master(Box::new(Master {
            quorum,
            parallel_syncs: 1,
            failover_timeout: self.periods.default_failover_timeout,
            reboot_down_after: 0,
            auth_pass: Vec::new(),
            auth_user: Vec::new(),
            notification_script: String::new(),
            client_reconfig_script: String::new(),
            renamed: BTreeMap::new(),
            config_epoch: 0,
            replicas: BTreeMap::new(),
            sentinels: BTreeMap::new(),
            o_down: false,
            o_down_since: 0,
            rebooted_at: None,
            leader: None,
            leader_epoch: 0,
            failover: Failover::None,
            failover_epoch: 0,
            failover_changed: 0,
            failover_start: 0,
            delay_logged: 0,
            candidate_at: 0,
            splits: 0,
            claims: Claims::default(),
            replid: String::new(),
        }));
        let own = self.instances.next();
        let id = self.add(name.to_string(), address, own, kind);
        self.instances[id].down_after = self.periods.default_down_after;
        self.masters.insert(name.to_string(), id);
        Ok(id)
    }

    pub(super) fn add_replica(&mut self, master: Id, host: &str, port: i64) -> Result<Id, Refused> {
        let address = self.address(host, port)?;
        let name = address.name(self.globals.announce_hostnames);
        let replicas = &self.instances.master(master).replicas;
        let twin = |id: &Id| self.instances[*id].address.is_same(&address);
        if replicas.contains_key(&name) || replicas.values().any(twin) {
            return Err(Refused::Duplicate);
        }
        if replicas.len() >= SENTINEL_REPLICAS_MAX {
            return Err(Refused::TooMany);
        }
        let kind = Kind::Replica(Box::new(Replica::new(self.now)));
        let id = self.add(name.clone(), address, master, kind);
        self.instances.master_mut(master).replicas.insert(name, id);
        Ok(id)
    }

    pub(super) fn add_sentinel(
        &mut self,
        master: Id,
        run_id: &str,
        host: &str,
        port: i64,
    ) -> Result<Id, Refused> {
        let address = self.address(host, port)?;
        let sentinels = &self.instances.master(master).sentinels;
        if sentinels.contains_key(run_id) {
            return Err(Refused::Duplicate);
        }
        if sentinels.len() >= SENTINEL_PEERS_MAX {
            return Err(Refused::TooMany);
        }
        let kind = Kind::Sentinel(Peer::new(self.now));
        let id = self.add(run_id.to_string(), address, master, kind);
        self.instances[id].run_id = Some(run_id.to_string());
        self.instances.master_mut(master).sentinels.insert(run_id.to_string(), id);
        self.share_link(id);
        Ok(id)
    }

    fn add(&mut self, name: String, address: Address, master: Id, kind: Kind) -> Id {
        let link = LinkId(self.next_link);
        self.next_link += 1;
        self.links.insert(link, Link::new(self.now));
        let mut instance = Instance::new(name, address, link, master, kind);
        instance.last_published = self.now;
        instance.role_reported_at = self.now;
        if let Some(master) = self.instances.get(master) {
            instance.down_after = master.down_after;
        }
        self.instances.add(instance)
    }

    /// The same Sentinel may watch several masters with us: one link will do.
    fn share_link(&mut self, id: Id) {
        let run_id = self.instances[id].run_id.clone();
        let twin =
            |(other, it): &(Id, &Instance)| *other != id && it.is_sentinel() && it.run_id == run_id;
        let Some(link) = self.instances.iter().find(twin).map(|(_, it)| it.link) else { return };
        self.leave_link(self.instances[id].link);
        self.instances[id].link = link;
        self.link_mut(link).users += 1;
    }

    fn leave_link(&mut self, link: LinkId) {
        let it = self.link_mut(link);
        it.users -= 1;
        if it.users == 0 {
            self.drop_connections(link);
            self.links.remove(&link);
        }
    }

    pub(super) fn link(&self, id: Id) -> &Link {
        match self.links.get(&self.instances[id].link) {
            Some(link) => link,
            None => panic!("{id:?} has no link"),
        }
    }

    pub(super) fn link_mut(&mut self, link: LinkId) -> &mut Link {
        match self.links.get_mut(&link) {
            Some(link) => link,
            None => panic!("{link:?} is no link"),
        }
    }

    /// Ends both connections of a link; they are made anew in time.
    pub(super) fn drop_connections(&mut self, link: LinkId) {
        self.drop_connection(link, Side::Command);
        self.drop_connection(link, Side::Hello);
    }

    /// The instance, gone from its master's lists too.
    fn remove(&mut self, id: Id) {
        let Some(instance) = self.instances.remove(id) else { return };
        self.leave_link(instance.link);
    }

    pub(super) fn remove_master(&mut self, id: Id) {
        let name = self.instances[id].name.clone();
        self.remove_all(id, true);
        self.remove(id);
        self.masters.remove(&name);
    }

    /// All replicas of a master and, if asked to, all Sentinels.
    fn remove_all(&mut self, master: Id, sentinels_too: bool) {
        let replicas = std::mem::take(&mut self.instances.master_mut(master).replicas);
        replicas.into_values().for_each(|id| self.remove(id));
        if sentinels_too {
            let sentinels = std::mem::take(&mut self.instances.master_mut(master).sentinels);
            sentinels.into_values().for_each(|id| self.remove(id));
        }
    }

    /// Removes the Sentinel with this id from one master's list.
    pub(super) fn remove_sentinel(&mut self, master: Id, run_id: &str) -> bool {
        match self.instances.master_mut(master).sentinels.remove(run_id) {
            Some(id) => {
                self.remove(id);
                true
            }
            None => false,
        }
    }

    pub(super) fn sentinel_at(&self, master: Id, address: &Address) -> Option<Id> {
        let mut all = self.instances.master(master).sentinels.values().copied();
        all.find(|id| self.instances[*id].address.is_same(address))
    }

    pub(super) fn replica_at(&self, master: Id, address: &Address) -> Option<Id> {
        let mut all = self.instances.master(master).replicas.values().copied();
        all.find(|id| self.instances[*id].address.is_same(address))
    }

    /// The master with this address as others name it.
    pub(super) fn master_at(&self, host: &str, port: i64) -> Option<Id> {
        let ip = match self.book.find(host, self.globals.resolve_hostnames) {
            Found::Ip(ip) => ip,
            Found::Unknown | Found::Nothing => String::new(),
        };
        let port = u16::try_from(port).ok()?;
        let address = Address { host: host.to_string(), ip, port };
        self.masters.values().copied().find(|id| self.instances[*id].address.is_same(&address))
    }

    /// Where the master of this group is now, as clients are to know it.
    pub(super) fn current_address(&self, master: Id) -> &Address {
        let failover = self.instances.master(master).failover;
        match failover.promoted().filter(|_| failover.is_decided()) {
            Some(promoted) => &self.instances[promoted].address,
            None => &self.instances[master].address,
        }
    }

    /// A Sentinel's new address holds for all masters that it watches with us.
    pub(super) fn update_sentinel_address(&mut self, id: Id) {
        let (run_id, address) = {
            let it = &self.instances[id];
            (it.run_id.clone(), it.address.clone())
        };
        let same = |it: &Instance| it.is_sentinel() && it.run_id == run_id;
        let all: Vec<Id> =
            self.instances.iter().filter(|(_, it)| same(it)).map(|(other, _)| other).collect();
        let mut changed = 0;
        for other in all {
            self.drop_connections(self.instances[other].link);
            if other != id {
                self.instances[other].address = address.clone();
                changed += 1;
            }
        }
        if changed > 0 {
            let rest = format!(" {changed} additional matching instances");
            self.event_of(Level::Notice, "+sentinel-address-update", id, &rest);
        }
    }

    /// As if the master had just been named: replicas, failovers and, if asked to, Sentinels are
    /// forgotten. Epochs and votes are not.
    pub(super) fn reset_master(&mut self, id: Id, sentinels_too: bool, tell: bool) {
        self.remove_all(id, sentinels_too);
        let link = self.instances[id].link;
        self.drop_connections(link);
        let now = self.now;
        let instance = &mut self.instances[id];
        instance.s_down = false;
        instance.script_kill_sent = false;
        instance.run_id = None;
        instance.role_reported = Role::Master;
        instance.role_reported_at = now;
        let master = self.instances.master_mut(id);
        master.o_down = false;
        master.rebooted_at = None;
        master.leader = None;
        master.failover = Failover::None;
        master.failover_changed = 0;
        master.failover_start = 0;
        master.claims = Claims::default();
        let link = self.link_mut(link);
        link.ping_pending_since = now;
        link.last_ping = 0;
        link.last_available = now;
        link.last_pong = now;
        if tell {
            self.event_of(Level::Warning, "+reset-master", id, "");
        }
    }

    /// The group goes on with another master; the old one is its replica from now on.
    pub(super) fn switch_address(&mut self, id: Id, new: Address) {
        let old = self.instances[id].address.clone();
        let before = old.clone();
        let replicas: Vec<Id> = self.instances.master(id).replicas.values().copied().collect();
        let mut others: Vec<Address> =
            replicas.iter().map(|it| self.instances[*it].address.clone()).collect();
        others.retain(|it| !it.is_same(&new));
        if !old.is_same(&new) {
            others.push(old);
        }
        self.reset_master(id, false, false);
        let instance = &mut self.instances[id];
        instance.address = new;
        instance.s_down_since = 0;
        instance.info_refresh = 0;
        instance.info_asked = None;
        self.instances.master_mut(id).o_down_since = 0;
        for other in others {
            if let Ok(replica) = self.add_replica(id, &other.host, i64::from(other.port)) {
                self.event_of(Level::Notice, "+slave", replica, "");
                if let Some(replica) = self.instances[replica].replica_mut() {
                    replica.deposed = other.is_same(&before);
                }
            }
        }
        self.touch();
    }

    /// A master's patience is that of all who belong to it.
    pub(super) fn spread_down_after(&mut self, id: Id) {
        let down_after = self.instances[id].down_after;
        self.instances.values_mut().filter(|it| it.master == id).for_each(|it| {
            it.down_after = down_after;
        });
    }

    /// No sign of it being down for so long.
    pub(super) fn is_up_for(&self, id: Id, ms: Ms) -> bool {
        let instance = &self.instances[id];
        instance.s_down_since == 0 || self.now - instance.s_down_since > ms
    }
}
