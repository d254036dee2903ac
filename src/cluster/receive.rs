//! A packet came in: what it teaches, and what is not believed.
//!
//! The order is Redis' (`clusterProcessPacket`), since it matters: epochs first, then who answered, who is
//! whose replica, whose slots are whose, and gossip last.
//!
//! The bus has no passwords. What can be done without: whoever we do not know teaches nothing, but for a MEET; a
//! connection carries one name only; an epoch far ahead of ours is no accident.

use super::extension::Extension;
use super::flags::Flags;
use super::id::NodeId;
use super::machine::{Cluster, Level, LinkId, Output};
use super::node::{Extended, Key, Ms, Node};
use super::packet::{Body, Gossip, Header, Heartbeat, Packet};
use super::slots::Slots;
use crate::base::limits::{CLUSTER_EPOCH_JUMP_MAX, CLUSTER_NODES_MAX};

impl Cluster {
    /// A whole packet.
    pub(super) fn packet(&mut self, id: LinkId, bytes: &[u8]) {
        let packet = match Packet::read(bytes) {
            Ok(packet) if self.is_plausible(id, &packet.header) => packet,
            Ok(_) => return self.drop_packet(),
            Err(bad) => {
                self.log(Level::Warning, format!("A packet of the cluster bus is bad: {bad:?}"));
                return self.drop_packet();
            }
        };
        if let Some(count) = self.counts.received.get_mut(usize::from(packet.body.kind())) {
            *count += 1;
        }
        let mut sender = self.sender(id, &packet.header);
        // Whoever answers in another's place is found out by his pong, and says nothing else.
        if !matches!(packet.body, Body::Heartbeat { .. }) {
            sender = sender.filter(|it| self.node(*it).id == packet.header.sender);
        }
        if let Some(key) = sender {
            self.node_mut(key).data_received = Some(self.now);
            self.hear_epochs(key, &packet.header);
        }
        if let (Body::AuthRequest | Body::FailoverStart, Some(key), Some(_)) =
            (&packet.body, sender, packet.header.master)
        {
            // It may ask before a ping of it has come that says whose replica it is.
            self.hear_role(key, &packet.header);
        }
        match packet.body {
            Body::Heartbeat { kind, gossip, extensions } => {
                self.heartbeat_came(id, sender, kind, &packet.header, &gossip, &extensions);
            }
            Body::Fail { about } => self.heard_of_failure(sender, &about),
            Body::Publish { sharded, channel, message } if sender.is_some() => {
                let (channel, message) = (channel.to_vec(), message.to_vec());
                self.out.push(Output::Deliver { sharded, channel, message });
            }
            Body::AuthRequest => {
                if let Some(key) = sender {
                    self.vote_wanted(key, &packet.header);
                }
            }
            Body::AuthAck => {
                if let Some(key) = sender {
                    self.vote_came(key, &packet.header);
                }
            }
            Body::FailoverStart => {
                if let Some(key) = sender {
                    self.failover_wanted(id, key);
                }
            }
            Body::Update { config_epoch, about, slots } if sender.is_some() => {
                self.update_came(config_epoch, &about, &slots);
            }
            Body::Update { .. } | Body::Publish { .. } | Body::Other { .. } => {}
        }
    }

    fn drop_packet(&mut self) {
        self.counts.dropped += 1;
    }

    /// Not a second name on the same connection, not our own, no epoch out of the blue.
    fn is_plausible(&self, id: LinkId, header: &Header) -> bool {
        let horizon = self.current_epoch.saturating_add(CLUSTER_EPOCH_JUMP_MAX);
        let node = self.links.get(&id).and_then(|link| link.node).and_then(|it| self.nodes.get(it));
        let other = |node: &Node| {
            matches!(id, LinkId::In(_)) && !node.in_handshake() && node.id != header.sender
        };
        header.current_epoch <= horizon
            && header.config_epoch <= horizon
            && !node.is_some_and(other)
    }

    /// Who sent it, if we know him.
    fn sender(&mut self, id: LinkId, header: &Header) -> Option<Key> {
        let linked = self.links.get(&id)?.node;
        if let Some(key) =
            linked.filter(|it| self.nodes.get(*it).is_some_and(|it| !it.in_handshake()))
        {
            // Of a connection that we dialled, whoever answers for another is found out below.
            return (self.node(key).id == header.sender || matches!(id, LinkId::Out(_)))
                .then_some(key);
        }
        let key = self.nodes.find(&header.sender).filter(|it| *it != self.me)?;
        if linked.is_none() {
            self.bind_inbound(id, key);
        }
        Some(key)
    }

    fn hear_epochs(&mut self, key: Key, header: &Header) {
        if self.node(key).in_handshake() || self.node(key).id != header.sender {
            return;
        }
        if header.current_epoch > self.current_epoch {
            self.current_epoch = header.current_epoch;
            self.touch();
        }
        if header.config_epoch > self.node(key).config_epoch {
            self.node_mut(key).config_epoch = header.config_epoch;
            self.touch();
        }
        self.node_mut(key).offset = header.offset;
        let mine = self.me().is_replica() && self.me().master == Some(key);
        if mine
            && header.paused
            && self.manual.until.is_some()
            && self.manual.master_offset.is_none()
        {
            self.manual.master_offset = Some(header.offset);
            let offset = header.offset;
            let text = "Received replication offset for paused master manual failover:";
            self.log(Level::Notice, format!("{text} {offset}"));
            self.step_failover();
        }
    }

    fn heartbeat_came(
        &mut self,
        id: LinkId,
        sender: Option<Key>,
        kind: Heartbeat,
        header: &Header,
        gossip: &[Gossip],
        extensions: &[Extension],
    ) {
        if kind != Heartbeat::Pong {
            self.learn_own_address(id, kind);
            if sender.is_none() && kind == Heartbeat::Meet {
                self.meet_stranger(id, header);
            }
            self.heartbeat(id, Heartbeat::Pong);
        }
        if matches!(id, LinkId::Out(_)) && !self.check_answer(id, sender, header) {
            return;
        }
        if let (Heartbeat::Pong, LinkId::Out(_)) = (kind, id)
            && let Some(dialled) = self.links.get(&id).and_then(|link| link.node)
        {
            self.answered(dialled);
        }
        let Some(key) = sender else { return };
        let no_failover = header.flags.has(Flags::NOFAILOVER);
        self.node_mut(key).flags.set(Flags::NOFAILOVER, no_failover);
        if kind == Heartbeat::Ping && !self.node(key).in_handshake() {
            self.update_address(key, id, header);
        }
        self.hear_role(key, header);
        self.hear_slots(key, header);
        if self.me().is_master()
            && self.node(key).is_master()
            && header.config_epoch == self.me().config_epoch
        {
            self.collision(key);
        }
        self.hear_gossip(key, gossip);
        self.hear_extensions(key, header, extensions);
    }

    /// The address that somebody reached us by is ours.
    fn learn_own_address(&mut self, id: LinkId, kind: Heartbeat) {
        if self.settings.announce_ip.is_some() || kind != Heartbeat::Meet && self.me().ip.is_some()
        {
            return;
        }
        let local = self.links.get(&id).and_then(|link| link.local);
        if let Some(ip) = local
            && self.me().ip != Some(ip)
        {
            self.me_mut().ip = Some(ip);
            self.log(Level::Notice, format!("IP address for this node updated to {ip}"));
            self.touch();
        }
    }

    /// Somebody was told to meet us.
    fn meet_stranger(&mut self, id: LinkId, header: &Header) {
        let Some(ip) = header.ip.or(self.links.get(&id).and_then(|link| link.peer)) else { return };
        self.handshake(ip, header.port, header.second_port, header.bus_port, Flags::HANDSHAKE);
    }

    /// A node to be dialled, whose name we learn when it answers. Is it a new one?
    pub(super) fn handshake(
        &mut self,
        ip: core::net::IpAddr,
        port: u16,
        second_port: u16,
        bus_port: u16,
        flags: Flags,
    ) -> bool {
        let same = |node: &Node| {
            node.in_handshake() && (node.ip, node.port, node.bus_port) == (Some(ip), port, bus_port)
        };
        if self.nodes.iter().any(|(_, node)| same(node)) || self.nodes.count() >= CLUSTER_NODES_MAX
        {
            return false;
        }
        let (id, shard) = (NodeId::draw(&mut self.prng), NodeId::draw(&mut self.prng));
        let mut node = Node::new(id, shard, flags, self.now);
        (node.ip, node.port, node.second_port, node.bus_port) =
            (Some(ip), port, second_port, bus_port);
        self.nodes.insert(node);
        self.changed = true;
        true
    }

    /// Something came by a connection that we dialled: is it from whom we dialled? Else it goes no further.
    fn check_answer(&mut self, id: LinkId, sender: Option<Key>, header: &Header) -> bool {
        let Some(key) = self.links.get(&id).and_then(|link| link.node) else { return false };
        if self.node(key).in_handshake() {
            let known = sender.or_else(|| self.nodes.find(&header.sender));
            if let Some(known) = known.filter(|it| *it != key) {
                // We know it by its name already, or it is ourselves.
                if known != self.me {
                    self.update_address(known, id, header);
                }
                self.forget(key);
                return false;
            }
            self.nodes.rename(key, header.sender);
            let node = self.node_mut(key);
            node.flags.set(Flags::HANDSHAKE, false);
            node.flags = node.flags.and(Flags(header.flags.0 & 3));
            self.touch();
            self.unsettled = true;
        } else if self.node(key).id != header.sender {
            // Another node lives there now.
            let node = self.node_mut(key);
            node.flags.set(Flags::NOADDR, true);
            (node.ip, node.port, node.second_port, node.bus_port) = (None, 0, 0, 0);
            self.drop_link(id);
            self.touch();
            return false;
        }
        true
    }

    /// The address that a node announces, or else the one that it comes from.
    fn update_address(&mut self, key: Key, id: LinkId, header: &Header) {
        let Some(link) = self.links.get(&id) else { return };
        if self.node(key).out.map(LinkId::Out) == Some(id) {
            return; // It says nothing of where others reach it.
        }
        let Some(ip) = header.ip.or(link.peer) else { return };
        let node = self.node_mut(key);
        let new = (Some(ip), header.port, header.second_port, header.bus_port);
        if (node.ip, node.port, node.second_port, node.bus_port) == new {
            return;
        }
        (node.ip, node.port, node.second_port, node.bus_port) = new;
        node.flags.set(Flags::NOADDR, false);
        let (name, port) = (node.id, node.port);
        self.drop_out(key);
        self.log(Level::Notice, format!("Address updated for node {name}, now {ip}:{port}"));
        self.touch();
        self.unsettled = true;
        if self.me().master == Some(key) {
            self.follow_master();
        }
    }

    fn answered(&mut self, key: Key) {
        let now = self.now;
        let node = self.node_mut(key);
        node.pong_received = Some(now);
        node.ping_sent = None;
        if node.is_silent() {
            node.flags.set(Flags::PFAIL, false);
            self.touch();
            self.unsettled = true;
        } else if node.has_failed() {
            self.clear_failure(key);
        }
    }

    /// Who is whose replica.
    fn hear_role(&mut self, key: Key, header: &Header) {
        let Some(master) = header.master else { return self.set_as_master(key) };
        if self.node(key).is_master() {
            self.take_slots_of(key);
            let node = self.node_mut(key);
            node.flags = node.flags.without(Flags::MASTER.and(Flags::MIGRATE_TO));
            node.flags.set(Flags::REPLICA, true);
            self.touch();
            self.unsettled = true;
        }
        // A node before its handshake is over may have neither role.
        self.node_mut(key).flags.set(Flags::REPLICA, true);
        let Some(master) = self.nodes.find(&master).filter(|it| *it != key) else { return };
        if self.node(key).master != Some(master) {
            self.set_replica_of(key, Some(master));
            self.touch();
        }
    }

    /// Whose slots are whose.
    fn hear_slots(&mut self, key: Key, header: &Header) {
        let master = if self.node(key).is_master() { Some(key) } else { self.node(key).master };
        let Some(master) = master.filter(|it| self.node(*it).slots != header.slots) else { return };
        if self.node(key).is_master() {
            self.update_slots(key, header.config_epoch, &header.slots);
        }
        // It claims what another one has under a newer epoch: it does not know yet.
        let newer = header.slots.iter().find_map(|slot| {
            let owner = self.table.owner(slot)?;
            let unclaimed = owner == key || owner == master || self.table.unclaimed.contains(slot);
            (!unclaimed && self.node(owner).config_epoch > header.config_epoch).then_some(owner)
        });
        if let Some(owner) = newer {
            self.send_update(key, owner);
        }
    }

    fn update_came(&mut self, config_epoch: u64, about: &NodeId, slots: &Slots) {
        let Some(key) = self.nodes.find(about) else { return };
        let horizon = self.current_epoch.saturating_add(CLUSTER_EPOCH_JUMP_MAX);
        if self.node(key).config_epoch >= config_epoch || config_epoch > horizon || key == self.me {
            return;
        }
        self.set_as_master(key);
        self.node_mut(key).config_epoch = config_epoch;
        self.touch();
        self.update_slots(key, config_epoch, slots);
    }

    /// Two masters with the same config epoch: the one with the smaller name moves on.
    fn collision(&mut self, other: Key) {
        if self.node(other).id <= self.me().id || self.planted_collision() {
            return;
        }
        self.current_epoch += 1;
        self.me_mut().config_epoch = self.current_epoch;
        self.touch_claim();
        let (id, epoch) = (self.node(other).id, self.current_epoch);
        let text = format!("configEpoch collision with node {id}. configEpoch set to {epoch}");
        self.log(Level::Verbose, format!("WARNING: {text}"));
    }

    fn planted_collision(&self) -> bool {
        #[cfg(test)]
        {
            self.plant == Some(super::sim::Plant::CollisionStays)
        }
        #[cfg(not(test))]
        false
    }

    /// What others tell of others.
    fn hear_gossip(&mut self, sender: Key, gossip: &[Gossip]) {
        let from_master = Some(sender).filter(|it| self.node(*it).is_master());
        for entry in gossip {
            match self.nodes.find(&entry.id) {
                Some(key) if key == self.me => {}
                Some(key) => {
                    if let Some(master) = from_master {
                        self.report(key, master, entry.flags.has(Flags::PFAIL.and(Flags::FAIL)));
                    }
                    self.hear_of(key, entry);
                }
                None => self.take_in(entry),
            }
        }
    }

    fn hear_of(&mut self, key: Key, entry: &Gossip) {
        let down = entry.flags.has(Flags::PFAIL.and(Flags::FAIL));
        let reports = self.reports_of(key);
        let (now, wall) = (self.now, self.wall);
        let node = self.node_mut(key);
        if !down && node.ping_sent.is_none() && reports == 0 {
            // Half a second of difference between clocks is nothing.
            let ago = wall - Ms::from(entry.pong_received) * 1_000;
            let at = now - ago.max(0);
            if ago >= -500 && node.pong_received.is_none_or(|it| at > it) {
                node.pong_received = Some(at);
            }
        }
        let ours = node.flags.has(Flags::PFAIL.and(Flags::FAIL));
        let address = (entry.ip, entry.port, entry.bus_port);
        let moved = entry.ip.is_some() && (node.ip, node.port, node.bus_port) != address;
        if ours && !down && !entry.flags.has(Flags::NOADDR) && moved {
            (node.ip, node.port, node.bus_port) = address;
            node.second_port = entry.second_port;
            node.flags.set(Flags::NOADDR, false);
            self.drop_out(key);
            self.touch();
        }
    }

    /// Somebody of our cluster knows a node that we do not.
    fn take_in(&mut self, entry: &Gossip) {
        let hidden = entry.flags.has(Flags::NOADDR.and(Flags::HANDSHAKE)) || entry.ip.is_none();
        if hidden || self.is_forgotten(&entry.id) || self.nodes.count() >= CLUSTER_NODES_MAX {
            return;
        }
        let ours = Flags::MYSELF.and(Flags::MEET).and(Flags::MIGRATE_TO).and(Flags::PFAIL);
        let shard = NodeId::draw(&mut self.prng);
        let mut flags = entry.flags.without(ours);
        if flags.has(Flags::MASTER) {
            flags.set(Flags::REPLICA, false); // Nobody is both.
        }
        let mut node = Node::new(entry.id, shard, flags, self.now);
        (node.ip, node.port, node.bus_port) = (entry.ip, entry.port, entry.bus_port);
        node.second_port = entry.second_port;
        self.nodes.insert(node);
        self.touch();
        self.unsettled = true;
    }

    fn hear_extensions(&mut self, key: Key, header: &Header, extensions: &[Extension]) {
        let old = extensions.iter().all(Extension::is_old);
        let shown = match (header.flags.has(Flags::EXTENSIONS) || !old, header.extended) {
            (true, _) => Extended::All,
            (false, true) => Extended::Hostname,
            (false, false) => Extended::No,
        };
        let (mut hostname, mut human) = (String::new(), String::new());
        for extension in extensions {
            match extension {
                Extension::Hostname(name) => hostname.clone_from(name),
                Extension::HumanName(name) => human.clone_from(name),
                Extension::Shard(shard) => self.set_shard(key, *shard),
                Extension::Forgotten { id, ttl_seconds } => self.forget_too(id, *ttl_seconds),
            }
        }
        let Some(node) = self.nodes.get_mut(key) else { return };
        node.extended = node.extended.max(shown);
        if node.hostname != hostname || node.human_name != human {
            (node.hostname, node.human_name) = (hostname, human);
            self.touch();
        }
    }

    fn set_shard(&mut self, key: Key, shard: NodeId) {
        if self.nodes.get(key).is_some_and(|node| node.shard != shard) {
            self.node_mut(key).shard = shard;
            self.touch();
        }
        if self.me().master == Some(key) && self.me().shard != shard {
            self.me_mut().shard = shard;
            self.touch();
        }
    }

    /// Another node was told to forget somebody.
    fn forget_too(&mut self, id: &NodeId, ttl_seconds: u64) {
        let Some(key) = self.nodes.find(id) else { return };
        let mine = key == self.me || self.me().master == Some(key);
        if !mine {
            let ttl = Ms::try_from(ttl_seconds).unwrap_or(0).min(FORGET_SECONDS);
            self.forgotten.insert(*id, self.now + ttl * 1_000);
            self.forget(key);
            self.touch();
            self.unsettled = true;
        }
    }
}

/// How long a forgotten node is not taken in again, in seconds.
pub(super) const FORGET_SECONDS: Ms = 60;
