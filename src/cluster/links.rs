//! Connections, and what leaves by them.
//!
//! Each node dials each other one: what we say goes by the connection that we dialled, but for the answer to a
//! ping, which goes back by where that came from. A connection that came in belongs to whoever its first packet
//! names, if we know him; from then on it may carry no other name.

use super::extension::Extension;
use super::flags::Flags;
use super::framing::Framing;
use super::id::NodeId;
use super::machine::{Cluster, Deferred, Level, Link, LinkId, Output};
use super::node::{Extended, Key, Ms, Node};
use super::packet::{Body, Gossip, Header, Heartbeat, Packet};
use crate::base::limits::{CLUSTER_HELD_BYTES_MAX, CLUSTER_STRANGERS_MAX};
use core::net::IpAddr;

impl Cluster {
    /// Dials a node, if it has an address and is not dialled yet.
    pub(super) fn dial(&mut self, key: Key) {
        let now = self.now;
        let number = self.next_link;
        let Some(node) = self.nodes.get_mut(key) else { return };
        let Some(ip) = node.ip.filter(|_| node.out.is_none() && node.bus_port != 0) else { return };
        // Should it never come up, the node is found silent all the same.
        node.ping_sent.get_or_insert(now);
        node.out = Some(number);
        let port = node.bus_port;
        self.next_link = self.next_link.wrapping_add(1);
        let link = Link {
            node: Some(key),
            up: false,
            framing: Framing::default(),
            created: now,
            peer: Some(ip),
            local: None,
            owed: false,
        };
        self.links.insert(LinkId::Out(number), link);
        self.out.push(Output::Dial { link: number, ip, port });
    }

    pub(super) fn connected(&mut self, number: u32) {
        let Some(link) = self.links.get_mut(&LinkId::Out(number)) else { return };
        link.up = true;
        let Some(key) = link.node else { return };
        let before = self.node(key).ping_sent;
        let meet = self.node(key).flags.has(Flags::MEET);
        let kind = if meet { Heartbeat::Meet } else { Heartbeat::Ping };
        self.heartbeat(LinkId::Out(number), kind);
        let node = self.node_mut(key);
        // A ping that was under way when the last connection broke still counts from its beginning.
        node.ping_sent = before.or(node.ping_sent);
        node.flags.set(Flags::MEET, false);
    }

    pub(super) fn accepted(&mut self, number: u32, peer: Option<IpAddr>, local: Option<IpAddr>) {
        let strangers: Vec<(Ms, LinkId)> = self
            .links
            .iter()
            .filter(|(id, link)| matches!(id, LinkId::In(_)) && link.node.is_none())
            .map(|(id, link)| (link.created, *id))
            .collect();
        if strangers.len() >= CLUSTER_STRANGERS_MAX
            && let Some((_, oldest)) = strangers.into_iter().min()
        {
            self.drop_link(oldest);
        }
        let link = Link {
            node: None,
            up: true,
            framing: Framing::default(),
            created: self.now,
            peer,
            local,
            owed: false,
        };
        self.links.insert(LinkId::In(number), link);
    }

    pub(super) fn received(&mut self, id: LinkId, bytes: &[u8]) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.framing.push(bytes);
        loop {
            // What a packet does may end its own connection.
            let Some(link) = self.links.get_mut(&id) else { return };
            match link.framing.next(link.node.is_some()) {
                Ok(None) => return,
                Ok(Some(packet)) => self.packet(id, &packet),
                Err(_) => {
                    let peer = link.peer.map_or("an unknown address".into(), |it| it.to_string());
                    self.counts.dropped += 1;
                    let text = "Bad message length or signature received on the Cluster bus from";
                    self.log(Level::Warning, format!("{text} {peer}"));
                    return self.drop_link(id);
                }
            }
        }
    }

    pub(super) fn closed(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        let Some(node) = link.node.and_then(|key| self.nodes.get_mut(key)) else { return };
        match id {
            LinkId::Out(number) if node.out == Some(number) => node.out = None,
            LinkId::In(number) if node.inbound == Some(number) => node.inbound = None,
            _ => {}
        }
    }

    /// Ends a connection.
    pub(super) fn drop_link(&mut self, id: LinkId) {
        if self.links.contains_key(&id) {
            self.closed(id);
            self.out.push(Output::Close { link: id });
        }
    }

    /// Ends our connection to a node: it is dialled anew.
    pub(super) fn drop_out(&mut self, key: Key) {
        if let Some(number) = self.nodes.get(key).and_then(|node| node.out) {
            self.drop_link(LinkId::Out(number));
        }
    }

    /// A connection that came in is a node's.
    pub(super) fn bind_inbound(&mut self, id: LinkId, key: Key) {
        let LinkId::In(number) = id else { return };
        if let Some(old) = self.node(key).inbound {
            self.drop_link(LinkId::In(old));
        }
        self.node_mut(key).inbound = Some(number);
        if let Some(link) = self.links.get_mut(&id) {
            link.node = Some(key);
        }
    }

    /// A node's connection of ours that is up.
    pub(super) fn out_link(&self, key: Key) -> Option<LinkId> {
        let id = LinkId::Out(self.nodes.get(key)?.out?);
        self.links.get(&id).filter(|link| link.up).map(|_| id)
    }

    pub(super) fn send(&mut self, id: LinkId, body: Body<'_>) {
        let mut header = self.header();
        header.force_ack = matches!(body, Body::AuthRequest) && self.manual.until.is_some();
        self.send_as(id, header, body);
    }

    fn send_as(&mut self, id: LinkId, header: Header, body: Body<'_>) {
        let kind = usize::from(body.kind());
        let mut bytes = Vec::new();
        Packet { header, body }.write(&mut bytes);
        if let Some(count) = self.counts.sent.get_mut(kind) {
            *count += 1;
        }
        if self.may_speak() {
            self.out.push(Output::Send { link: id, bytes });
        } else if self.held_bytes < CLUSTER_HELD_BYTES_MAX {
            self.held_bytes += bytes.len();
            self.held.push((id, bytes));
        }
    }

    /// To every node that we have a connection to.
    pub(super) fn broadcast(&mut self, body: &Body<'_>) {
        for key in self.nodes.keys() {
            if !self.node(key).in_handshake()
                && let Some(link) = self.out_link(key)
            {
                self.send(link, body.clone());
            }
        }
    }

    fn header(&self) -> Header {
        let me = self.me();
        // A replica shows what its master has.
        let shown = me.master.and_then(|it| self.nodes.get(it)).unwrap_or(me);
        Header {
            port: me.port,
            second_port: 0,
            bus_port: me.bus_port,
            current_epoch: self.current_epoch,
            config_epoch: shown.config_epoch,
            offset: self.facts.offset,
            sender: me.id,
            slots: shown.slots.clone(),
            master: me.master.and_then(|it| self.nodes.get(it)).map(|it| it.id),
            ip: self.settings.announce_ip,
            flags: me.flags.and(Flags::EXTENSIONS),
            is_ok: self.is_ok,
            paused: me.is_master() && self.stands_still(),
            force_ack: false,
            extended: false,
        }
    }

    /// Sends a ping, a pong or a meet with gossip; later, if we may not speak now.
    pub(super) fn heartbeat(&mut self, id: LinkId, kind: Heartbeat) {
        let (speaks, now) = (self.may_speak(), self.now);
        let Some(link) = self.links.get_mut(&id) else { return };
        let node = link.node;
        if !speaks {
            link.owed |= kind == Heartbeat::Pong;
            return;
        }
        if let (LinkId::Out(_), Heartbeat::Ping, Some(key)) = (id, kind, node) {
            self.node_mut(key).ping_sent = Some(now);
        }
        let gossip = self.gossip_for(node);
        let extended = node.and_then(|it| self.nodes.get(it)).map(|it| it.extended);
        let extensions = self.extensions_for(extended.unwrap_or_default());
        self.send(id, Body::Heartbeat { kind, gossip, extensions });
    }

    /// Pongs that were not sent while a claim was not on disk.
    pub(super) fn pay_pongs(&mut self) {
        let owed: Vec<LinkId> =
            self.links.iter().filter(|(_, link)| link.owed).map(|(id, _)| *id).collect();
        for id in owed {
            if let Some(link) = self.links.get_mut(&id) {
                link.owed = false;
            }
            self.heartbeat(id, Heartbeat::Pong);
        }
    }

    /// Tells everybody how we are.
    pub(super) fn announce(&mut self) {
        self.pong_to(|_, _| true);
    }

    /// Tells the replicas of our own shard.
    pub(super) fn announce_to_shard(&mut self) {
        self.pong_to(|this, node| {
            node.master.is_some_and(|it| it == this.me || Some(it) == this.me().master)
        });
    }

    fn pong_to(&mut self, wanted: impl Fn(&Self, &Node) -> bool) {
        for key in self.nodes.keys() {
            let node = self.node(key);
            if !node.in_handshake()
                && wanted(self, node)
                && let Some(link) = self.out_link(key)
            {
                self.heartbeat(link, Heartbeat::Pong);
            }
        }
    }

    /// A tenth of all nodes, three at least, and all that do not answer us, so that a majority soon knows.
    fn gossip_for(&mut self, to: Option<Key>) -> Vec<Gossip> {
        let mut fresh: Vec<Key> = Vec::new();
        let mut silent: Vec<Key> = Vec::new();
        for (key, node) in self.nodes.iter() {
            let hidden = node.flags.has(Flags::HANDSHAKE.and(Flags::NOADDR));
            if key == self.me || hidden || node.ip.is_none() {
                continue;
            }
            match () {
                () if node.is_silent() => silent.push(key),
                () if Some(key) == to || (node.out.is_none() && node.slot_count == 0) => {}
                () => fresh.push(key),
            }
        }
        let wanted = (self.nodes.count() / 10).max(3).min(fresh.len());
        for at in 0..wanted {
            let rest = u64::try_from(fresh.len() - at).unwrap_or(1);
            let other = at + usize::try_from(self.prng.below(rest)).unwrap_or(0);
            fresh.swap(at, other);
        }
        fresh.truncate(wanted);
        fresh.extend(silent);
        fresh.iter().map(|key| self.gossip_of(self.node(*key))).collect()
    }

    fn gossip_of(&self, node: &Node) -> Gossip {
        Gossip {
            id: node.id,
            ping_sent: self.wall_seconds(node.ping_sent),
            pong_received: self.wall_seconds(node.pong_received),
            ip: node.ip,
            port: node.port,
            bus_port: node.bus_port,
            flags: node.flags,
            second_port: node.second_port,
        }
    }

    fn extensions_for(&self, takes: Extended) -> Vec<Extension> {
        let me = self.me();
        let mut extensions = Vec::new();
        // Redis 7.0 shows that it takes hostnames only by sending one: whoever sets a hostname means it.
        if !me.hostname.is_empty() {
            extensions.push(Extension::Hostname(me.hostname.clone()));
        }
        if takes == Extended::All {
            if !me.human_name.is_empty() {
                extensions.push(Extension::HumanName(me.human_name.clone()));
            }
            for (id, until) in &self.forgotten {
                let ttl_seconds = u64::try_from((until - self.now) / 1_000).unwrap_or(0);
                if ttl_seconds > 0 {
                    extensions.push(Extension::Forgotten { id: *id, ttl_seconds });
                }
            }
            extensions.push(Extension::Shard(me.shard));
        }
        extensions
    }

    /// Tells a node that somebody else has slots which it claims.
    pub(super) fn send_update(&mut self, to: Key, about: Key) {
        let Some(link) = self.out_link(to) else { return };
        let node = self.node(about);
        let body = Body::Update {
            config_epoch: node.config_epoch,
            about: node.id,
            slots: node.slots.without(&self.table.unclaimed),
        };
        self.send(link, body);
    }

    /// A message for subscribers everywhere, or of our shard.
    pub fn publish(
        &mut self,
        now: crate::base::time::Now,
        sharded: bool,
        channel: &[u8],
        message: &[u8],
        out: &mut Vec<Output>,
    ) {
        self.see(now);
        let body = Body::Publish { sharded, channel, message };
        for key in self.nodes.keys() {
            let node = self.node(key);
            let wanted = !sharded || self.same_shard(key);
            if key != self.me
                && wanted
                && !node.in_handshake()
                && let Some(link) = self.out_link(key)
            {
                self.send(link, body.clone());
            }
        }
        self.finish(out);
    }

    /// Our master, and its and our replicas.
    pub(super) fn same_shard(&self, key: Key) -> bool {
        let head = |key: Key| self.nodes.get(key).and_then(|it| it.master).unwrap_or(key);
        head(key) == head(self.me)
    }

    /// An instant of ours as Redis shows it.
    pub(super) fn wall_ms_of(&self, at: Option<Ms>) -> Ms {
        at.map_or(0, |at| self.wall - (self.now - at))
    }

    fn wall_seconds(&self, at: Option<Ms>) -> u32 {
        u32::try_from(self.wall_ms_of(at) / 1_000).unwrap_or(0)
    }

    /// Votes and the like: to a node that we have a connection to.
    pub(super) fn send_to(&mut self, key: Key, body: Body<'_>) {
        if let Some(link) = self.out_link(key) {
            self.send(link, body);
        }
    }

    pub(super) fn ask_for_votes(&mut self) {
        if self.election.asked && self.election.epoch == self.current_epoch {
            self.election.asked_at = self.now;
            self.broadcast(&Body::AuthRequest);
        } else {
            self.election.asked = false; // Another epoch has come: we take the next.
        }
    }

    /// Those who have not voted: the question may have come before they knew whose replica we are.
    pub(super) fn ask_again_for_votes(&mut self) {
        self.election.asked_at = self.now;
        // A question carries our current epoch, and is answered in that one: votes of a later epoch than the
        // election's are not for it.
        if self.election.epoch != self.current_epoch {
            return;
        }
        for key in self.nodes.keys() {
            if self.node(key).votes() && !self.election.votes.contains(&key) {
                self.send_to(key, Body::AuthRequest);
            }
        }
    }

    /// The epoch that it is for goes with it, whatever has happened since.
    pub(super) fn send_vote(&mut self, replica: Key, epoch: u64) {
        if let Some(link) = self.out_link(replica) {
            let header = Header { current_epoch: epoch, ..self.header() };
            self.send_as(link, header, Body::AuthAck);
        }
    }

    /// Everybody hears of it when it is on disk.
    pub(super) fn announce_when_saved(&mut self) {
        self.defer(Deferred::Announce);
    }

    /// A name that we have forgotten a while ago may come back.
    pub(super) fn is_forgotten(&mut self, id: &NodeId) -> bool {
        let now = self.now;
        self.forgotten.retain(|_, until| *until > now);
        self.forgotten.contains_key(id)
    }
}
