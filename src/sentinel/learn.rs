//! What INFO and hello messages teach.
//!
//! **INFO** comes from a data node that we asked ourselves. **Hello** messages come from anybody who may
//! publish on a data node, so they are hints, harder to fool us with than Redis' Sentinel is:
//!
//! - One that was sent to us directly had our password to pass; one *overheard* on a data node never
//!   displaces a Sentinel that answers us, neither its address nor its id.
//! - A newer configuration is a claim until it is confirmed (`claims.rs`).
//! - Epochs leap by no more than 2^32, and a master has no more than 64 Sentinels.

use super::address::{Address, Found};
use super::failover::Slave;
use super::hello::Hello;
use super::info::{self, Report};
use super::instance::{Failover, Id, Kind, Reconf, Role};
use super::machine::{Level, Sentinel};
use crate::base::limits::SENTINEL_EPOCH_JUMP_MAX;

/// How a hello came to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// Published to us by somebody who may use us.
    Direct,
    /// On the channel of a data node.
    Overheard,
}

impl Sentinel {
    /// An INFO of a data node.
    pub(super) fn informed(&mut self, id: Id, text: &[u8]) {
        let report = info::parse(text);
        self.instances[id].info = text.to_vec();
        self.take_run_id(id, &report);
        if self.instances[id].is_master() {
            self.take_replicas(id, &report);
        }
        self.take_replication(id, &report);
        self.instances[id].info_refresh = self.now;
        let Some(role) = report.role else { return };
        self.take_role(id, role);
        if self.tilt_since.is_some() || self.instances[id].is_master() {
            return;
        }
        match role {
            Role::Master => self.replica_is_master(id),
            Role::Replica => self.replica_is_replica(id),
        }
    }

    fn take_run_id(&mut self, id: Id, report: &Report) {
        let (Some(run_id), now) = (&report.run_id, self.now) else { return };
        let instance = &mut self.instances[id];
        let is_new = instance.run_id.as_ref().is_some_and(|it| it != run_id);
        instance.run_id = Some(run_id.clone());
        if is_new {
            if let Kind::Master(master) = &mut instance.kind
                && master.reboot_down_after != 0
            {
                master.rebooted_at = Some(now);
            }
            self.event_of(Level::Notice, "+reboot", id, "");
        }
    }

    fn take_replicas(&mut self, id: Id, report: &Report) {
        for (host, port) in &report.replicas {
            let port = i64::from(*port);
            match self.book.find(host, self.globals.resolve_hostnames) {
                Found::Ip(_) => {}
                Found::Unknown => {
                    self.ask_for_name(host);
                    continue;
                }
                Found::Nothing => continue,
            }
            if let Ok(replica) = self.add_replica(id, host, port) {
                self.event_of(Level::Notice, "+slave", replica, "");
                self.touch();
            }
        }
    }

    fn take_replication(&mut self, id: Id, report: &Report) {
        let now = self.now;
        let role = report.role;
        match &mut self.instances[id].kind {
            Kind::Master(master) if role == Some(Role::Master) => {
                master.replid = report.replid.clone().unwrap_or_default();
            }
            Kind::Replica(replica) => {
                replica.link_down_for = report.link_down_for;
                if let Some(host) = &report.master_host
                    && !replica.master_host.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(host))
                {
                    replica.master_host = Some(host.clone());
                    replica.conf_changed = now;
                }
                if let Some(port) = report.master_port
                    && replica.master_port != port
                {
                    replica.master_port = port;
                    replica.conf_changed = now;
                }
                replica.link_up = report.link_up.unwrap_or(replica.link_up);
                replica.priority = report.priority.unwrap_or(replica.priority);
                replica.offset = report.offset.unwrap_or(replica.offset);
                replica.announced = report.announced.unwrap_or(replica.announced);
                replica.replid = report.replid.clone().unwrap_or_default();
            }
            _ => {}
        }
    }

    fn take_role(&mut self, id: Id, role: Role) {
        let now = self.now;
        let instance = &mut self.instances[id];
        if instance.role_reported == role {
            return;
        }
        instance.role_reported = role;
        instance.role_reported_at = now;
        let expected = if instance.is_master() { Role::Master } else { Role::Replica };
        if let (Role::Replica, Some(replica)) = (role, instance.replica_mut()) {
            replica.conf_changed = now;
        }
        let kind = if role == expected { "+role-change" } else { "-role-change" };
        let rest = format!(" new reported role is {}", role.word());
        self.event_of(Level::Verbose, kind, id, &rest);
    }

    /// One that we take for a replica says that it is a master.
    fn replica_is_master(&mut self, id: Id) {
        let master_id = self.instances[id].master;
        let master = self.instances.master(master_id);
        match master.failover {
            Failover::WaitPromotion { promoted, forced } if promoted == id => {
                let failover = Failover::ReconfReplicas { promoted, forced };
                return self.promoted(master_id, id, failover);
            }
            failover if failover.promoted() == Some(id) => return,
            _ => {}
        }
        if let Some(claim) = self.claim_of(master_id, &self.instances[id].address) {
            return self.adopt_claim(master_id, claim);
        }
        // It came back, or somebody promoted it. Wait for what others know before it is told to follow; but not
        // where that is known already, since until then it goes on taking writes that will be lost.
        if self.instances[id].replica().is_some_and(|it| it.deposed)
            && !self.instances[id].s_down
            && self.looks_sane(master_id)
            && self.is_current(master_id)
        {
            // Once: should it not obey, the rule below holds.
            if let Some(replica) = self.instances[id].replica_mut() {
                replica.deposed = false;
            }
            self.send_slave_of(id, Slave::Of(master_id));
            return self.event_of(Level::Notice, "+convert-to-slave", id, "");
        }
        let wait = self.periods.publish * 4;
        if self.looks_sane(master_id)
            && self.is_up_for(id, wait)
            && self.now - self.instances[id].role_reported_at > wait
        {
            self.send_slave_of(id, Slave::Of(master_id));
            self.event_of(Level::Notice, "+convert-to-slave", id, "");
        }
    }

    fn replica_is_replica(&mut self, id: Id) {
        let master_id = self.instances[id].master;
        let follows = |this: &Self, whom: Id| {
            let replica = this.instances[id].replica();
            replica.is_some_and(|it| {
                it.master_port == this.instances[whom].address.port
                    && it
                        .master_host
                        .as_ref()
                        .is_some_and(|host| this.is_named(&this.instances[whom].address, host))
            })
        };
        let changed = self.instances[id].replica().map_or(0, |it| it.conf_changed);
        let wait = self.instances.master(master_id).failover_timeout;
        if !follows(self, master_id)
            && self.looks_sane(master_id)
            && self.is_up_for(id, wait)
            && self.now - changed > wait
        {
            self.send_slave_of(id, Slave::Of(master_id));
            self.event_of(Level::Notice, "+fix-slave-config", id, "");
        }
        let Some(promoted) = self.instances.master(master_id).failover.promoted() else { return };
        let reconf = self.instances[id].replica().map(|it| it.reconf);
        let mut now_at = reconf;
        if matches!(reconf, Some(Reconf::Sent { .. })) && follows(self, promoted) {
            now_at = Some(Reconf::InProgress);
            self.event_of(Level::Notice, "+slave-reconf-inprog", id, "");
        }
        let link_up = self.instances[id].replica().is_some_and(|it| it.link_up);
        if now_at == Some(Reconf::InProgress) && link_up {
            now_at = Some(Reconf::Done);
            self.event_of(Level::Notice, "+slave-reconf-done", id, "");
        }
        if let (Some(reconf), Some(replica)) = (now_at, self.instances[id].replica_mut()) {
            replica.reconf = reconf;
        }
        if reconf != now_at {
            self.act(master_id);
        }
    }

    /// The name or IP that a replica follows means this address.
    pub(super) fn is_named(&self, address: &Address, host: &str) -> bool {
        match self.book.find(host, self.globals.resolve_hostnames) {
            Found::Ip(ip) => ip.eq_ignore_ascii_case(&address.ip),
            Found::Unknown | Found::Nothing => host.eq_ignore_ascii_case(&address.host),
        }
    }

    /// A master in fact and by its own words, which answers.
    fn looks_sane(&self, master: Id) -> bool {
        let it = &self.instances[master];
        it.role_reported == Role::Master
            && !it.s_down
            && !self.instances.master(master).o_down
            && self.now - it.info_refresh < self.periods.info * 2
    }

    /// Whom a new configuration would have needed were heard a moment ago, and none of them knows of one.
    fn is_current(&self, master: Id) -> bool {
        let group = self.instances.master(master);
        let recent = |it: &&Id| {
            let heard = self.instances[**it].peer().map_or(0, |it| it.last_hello);
            heard != 0 && self.now - heard < self.periods.publish * 2
        };
        let heard = 1 + group.sentinels.values().filter(recent).count();
        group.claims.is_empty()
            && !group.failover.in_progress()
            && heard > group.sentinels.len().div_ceil(2)
    }

    /// A hello message.
    pub(super) fn heard(&mut self, text: &[u8], how: How) {
        let Some(hello) = Hello::parse(text) else { return };
        if hello.id == self.myid || self.is_own(&hello.ip, hello.port) {
            return;
        }
        let Some(&master) = self.masters.get(&hello.master) else { return };
        let Some(from) = self.sentinel_of(master, &hello, how) else { return };
        if hello.epoch > self.epoch && self.is_plausible(hello.epoch) {
            self.epoch = hello.epoch;
            self.touch();
            self.event(Level::Warning, "+new-epoch", Some(master), &hello.epoch.to_string());
        }
        if hello.config_epoch <= self.epoch {
            self.claimed(master, from, &hello);
        }
        if let Some(peer) = self.instances.get_mut(from).and_then(|it| it.peer_mut()) {
            peer.last_hello = self.now;
        }
    }

    /// Nobody else listens where we do.
    fn is_own(&self, ip: &str, port: u16) -> bool {
        let announced = self.globals.announce_port;
        let own_port = if announced == 0 { self.settings.port } else { announced };
        let mut wires = self.links.values().filter_map(|link| link.command.as_ref());
        let is_ours = |own: &str| own == ip && !ip.is_empty();
        port == own_port
            && (is_ours(&self.globals.announce_ip)
                || wires.any(|wire| wire.local.as_deref().is_some_and(is_ours)))
    }

    pub(super) fn is_plausible(&self, epoch: u64) -> bool {
        epoch <= self.epoch.saturating_add(SENTINEL_EPOCH_JUMP_MAX)
    }

    /// The Sentinel that says hello, taken in if it is new. `None`: it is not believed to be who it says.
    fn sentinel_of(&mut self, master: Id, hello: &Hello, how: How) -> Option<Id> {
        let address = self.address(&hello.ip, i64::from(hello.port)).ok()?;
        let known = self.instances.master(master).sentinels.get(&hello.id).copied();
        if let Some(id) = known
            && self.instances[id].address.is_same(&address)
        {
            return Some(id);
        }
        let occupant = self.sentinel_at(master, &address);
        let mut displaced = [known, occupant].into_iter().flatten();
        if how == How::Overheard && displaced.any(|id| self.answers(id)) {
            return None;
        }
        if let Some(other) = occupant {
            self.event_of(Level::Notice, "+sentinel-invalid-addr", other, "");
            let obsolete = self.instances[other].name.clone();
            for it in self.master_ids() {
                self.remove_sentinel(it, &obsolete);
            }
        }
        if known.is_some() {
            self.remove_sentinel(master, &hello.id);
            let Hello { ip, port, id, .. } = hello;
            let rest = format!(" ip {ip} port {port} for {id}");
            self.event_of(Level::Notice, "+sentinel-address-switch", master, &rest);
        }
        let id = self.add_sentinel(master, &hello.id, &hello.ip, i64::from(hello.port)).ok()?;
        if known.is_some() {
            self.update_sentinel_address(id);
        } else {
            self.event_of(Level::Notice, "+sentinel", id, "");
        }
        self.touch();
        Some(id)
    }

    /// It is connected and not down. A late answer alone is no reason to believe that somebody else took
    /// its place: who vanishes is down soon, and who ends closes the connection.
    fn answers(&self, id: Id) -> bool {
        !self.link(id).disconnected && !self.instances[id].s_down
    }
}
