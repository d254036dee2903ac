//! Keeping in touch: connecting, the regular questions, and what answers say about being alive.

use super::hello::{CHANNEL, Hello};
use super::instance::{Failover, Id, Kind, LinkId, Ms};
use super::learn::How;
use super::link::{Question, Side, Wire};
use super::machine::{Conn, Output, Sentinel};
use crate::base::limits::{SENTINEL_INFO_BYTES_MAX, SENTINEL_QUESTIONS_MAX};
use crate::resp::decode::Value;
use crate::resp::reply::write_request;

/// How often one that is being promoted is asked whether it is a master, and how long an answer to
/// INFO is waited for before it is asked again.
const PROMOTION_INFO_MS: Ms = 100;
const INFO_AGAIN_MS: Ms = 1_000;

/// One that is being reconfigured or watched closely.
const CLOSE_INFO_MS: Ms = 1_000;

impl Sentinel {
    /// Makes the connections that are missing, at most once in a while.
    pub(super) fn reconnect(&mut self, id: Id) {
        let link_id = self.instances[id].link;
        let patience = self.periods.ping.min(self.instances[id].down_after);
        let now = self.now;
        let link = self.link_mut(link_id);
        if !link.disconnected || now - link.last_reconnect < patience {
            return;
        }
        link.last_reconnect = now;
        let host = self.instances[id].address.host.clone();
        self.ask_for_name(&host);
        if self.instances[id].address.port == 0 || self.instances[id].address.ip.is_empty() {
            return;
        }
        if self.link(id).command.is_none() {
            self.connect(id, Side::Command);
            self.authenticate(id, Side::Command);
            self.name_connection(id, Side::Command, "cmd");
            self.ping(id);
        }
        let is_sentinel = self.instances[id].is_sentinel();
        if !is_sentinel && self.link(id).hello.is_none() {
            self.connect(id, Side::Hello);
            self.authenticate(id, Side::Hello);
            self.name_connection(id, Side::Hello, "pubsub");
            self.send(id, Side::Hello, Question::Whatever, &[b"SUBSCRIBE", CHANNEL]);
        }
        self.link_mut(link_id).disconnected = false;
    }

    fn connect(&mut self, id: Id, side: Side) {
        let number = self.next_wire;
        self.next_wire = self.next_wire.wrapping_add(1);
        let link = self.instances[id].link;
        let wire = Wire::new(number, self.now);
        if side == Side::Hello {
            self.link_mut(link).hello_activity = self.now;
        }
        *self.link_mut(link).side(side) = Some(wire);
        self.wires.insert(number, (link, side));
        let address = &self.instances[id].address;
        self.out.push(Output::Dial { wire: number, ip: address.ip.clone(), port: address.port });
    }

    fn authenticate(&mut self, id: Id, side: Side) {
        let instance = &self.instances[id];
        let (user, pass) = match &instance.kind {
            Kind::Master(master) => (master.auth_user.clone(), master.auth_pass.clone()),
            Kind::Replica(_) => {
                let master = self.instances.master(instance.master);
                (master.auth_user.clone(), master.auth_pass.clone())
            }
            Kind::Sentinel(_) if !self.globals.sentinel_pass.is_empty() => {
                (self.globals.sentinel_user.clone(), self.globals.sentinel_pass.clone())
            }
            // All Sentinels of a group have the same password, unless they are told otherwise.
            Kind::Sentinel(_) => (Vec::new(), self.settings.requirepass.clone()),
        };
        match (user.is_empty(), pass.is_empty()) {
            (_, true) => {}
            (true, false) => self.send(id, side, Question::Whatever, &[b"AUTH", &pass]),
            (false, false) => self.send(id, side, Question::Whatever, &[b"AUTH", &user, &pass]),
        }
    }

    fn name_connection(&mut self, id: Id, side: Side, what: &str) {
        let start = self.myid.get(..8).unwrap_or(&self.myid);
        let name = format!("sentinel-{start}-{what}");
        self.send(id, side, Question::Whatever, &[b"CLIENT", b"SETNAME", name.as_bytes()]);
    }

    /// Sends a command, by the name that these servers have for it, if there is a connection.
    pub(super) fn send(&mut self, id: Id, side: Side, question: Question, words: &[&[u8]]) {
        let instance = &self.instances[id];
        let link = instance.link;
        let mut words = words.to_vec();
        let renamed = &self.instances.master(instance.master).renamed;
        let name = words.first().map(|it| String::from_utf8_lossy(it).to_ascii_uppercase());
        let renamed = name.and_then(|it| renamed.get(&it)).cloned();
        if let (Some(first), Some(renamed), false) =
            (words.first_mut(), &renamed, instance.is_sentinel())
        {
            *first = renamed.as_bytes();
        }
        let mut bytes = Vec::new();
        write_request(&mut bytes, &words);
        let Some(wire) = self.link_mut(link).side(side) else { return };
        wire.questions.push_back((question, id));
        let conn = Conn::Wire(wire.number);
        self.out.push(Output::Send { conn, bytes });
    }

    pub(super) fn ask(&mut self, id: Id, question: Question, words: &[&[u8]]) {
        self.send(id, Side::Command, question, words);
    }

    fn ping(&mut self, id: Id) {
        self.ask(id, Question::Ping, &[b"PING"]);
        let (now, link) = (self.now, self.instances[id].link);
        let link = self.link_mut(link);
        link.last_ping = now;
        if link.ping_pending_since == 0 {
            link.ping_pending_since = now;
        }
    }

    pub(super) fn ask_info(&mut self, id: Id) {
        if self.link(id).command.is_some() {
            self.instances[id].info_asked = Some(self.now);
            self.ask(id, Question::Info, &[b"INFO"]);
        }
    }

    /// INFO, PING and hello, each when it is due.
    pub(super) fn ask_regularly(&mut self, id: Id) {
        let link = self.link(id);
        let bound = SENTINEL_QUESTIONS_MAX * usize::try_from(link.users).unwrap_or(1);
        if link.disconnected || link.command.is_none() || link.pending() >= bound {
            return;
        }
        let (last_pong, last_ping) = (link.last_pong, link.last_ping);
        let instance = &self.instances[id];
        let unanswered = instance.info_asked.is_some_and(|at| self.now - at < INFO_AGAIN_MS);
        let due =
            instance.info_refresh == 0 || self.now - instance.info_refresh >= self.info_period(id);
        let ping_period = instance.down_after.min(self.periods.ping);
        let published = instance.last_published;
        if !instance.is_sentinel() && due && !unanswered {
            self.ask_info(id);
        }
        if self.now - last_pong > ping_period && self.now - last_ping > ping_period / 2 {
            self.ping(id);
        }
        if self.now - published > self.periods.publish && self.is_saved() {
            self.say_hello(id);
        }
    }

    fn info_period(&self, id: Id) -> Ms {
        let instance = &self.instances[id];
        let master = self.instances.master(instance.master);
        let Some(replica) = instance.replica() else { return self.periods.info };
        if matches!(master.failover, Failover::WaitPromotion { promoted, .. } if promoted == id) {
            PROMOTION_INFO_MS
        } else if master.o_down || master.failover.in_progress() || replica.link_down_for != 0 {
            CLOSE_INFO_MS.min(self.periods.info)
        } else {
            self.periods.info
        }
    }

    fn say_hello(&mut self, id: Id) {
        let master = self.instances[id].master;
        let own = self.link(id).command.as_ref().and_then(|wire| wire.local.clone());
        let ip = match (self.globals.announce_ip.as_str(), own) {
            ("", Some(own)) => own,
            ("", None) => return,
            (announced, _) => announced.to_string(),
        };
        let port = match self.globals.announce_port {
            0 => self.settings.port,
            port => port,
        };
        let address = self.current_address(master);
        let hello = Hello {
            ip,
            port,
            id: self.myid.clone(),
            epoch: self.epoch,
            master: self.instances[master].name.clone(),
            master_ip: address.shown(self.globals.announce_hostnames).to_string(),
            master_port: address.port,
            config_epoch: self.instances.master(master).config_epoch,
        };
        self.instances[id].last_published = self.now;
        self.ask(id, Question::Publish, &[b"PUBLISH", CHANNEL, hello.text().as_bytes()]);
    }

    /// All who belong to a master hear of us with the next tick.
    pub(super) fn hurry_hello(&mut self, master: Id) {
        self.instances.values_mut().filter(|it| it.master == master).for_each(|it| {
            it.last_published = 0;
        });
    }

    pub(super) fn wire_up(&mut self, number: u32, local: String) {
        if let Some(&(link, side)) = self.wires.get(&number)
            && let Some(wire) = self.link_mut(link).side(side)
        {
            wire.local = Some(local);
        }
    }

    pub(super) fn wire_closed(&mut self, number: u32) {
        let Some((link, side)) = self.wires.remove(&number) else { return };
        self.lost(link, side);
    }

    pub(super) fn drop_connection(&mut self, link: LinkId, side: Side) {
        let Some(number) = self.link_mut(link).side(side).as_ref().map(|wire| wire.number) else {
            return;
        };
        self.wires.remove(&number);
        self.out.push(Output::Close { conn: Conn::Wire(number) });
        self.lost(link, side);
    }

    fn lost(&mut self, link: LinkId, side: Side) {
        let now = self.now;
        let it = self.link_mut(link);
        *it.side(side) = None;
        it.disconnected = true;
        if side == Side::Hello {
            return;
        }
        // Silence begins here, not with the next attempt.
        if it.ping_pending_since == 0 {
            it.ping_pending_since = now;
        }
        self.instances.values_mut().filter(|it| it.link == link).for_each(|it| {
            it.info_asked = None;
        });
    }

    pub(super) fn wire_received(&mut self, number: u32, bytes: &[u8]) {
        let Some(&(link, side)) = self.wires.get(&number) else { return };
        if let Some(wire) = self.link_mut(link).side(side) {
            wire.receive(bytes);
        }
        // An answer may end the connection, or the instance.
        while self.wires.get(&number) == Some(&(link, side)) {
            let Some(wire) = self.link_mut(link).side(side) else { return };
            match wire.next_answer() {
                Ok(Some(value)) => self.answered(link, side, &value),
                Ok(None) => return,
                Err(_) => return self.drop_connection(link, side),
            }
        }
    }

    fn answered(&mut self, link: LinkId, side: Side, value: &Value) {
        let now = self.now;
        if side == Side::Hello {
            self.link_mut(link).hello_activity = now;
            if let Some(text) = message(value) {
                self.heard(text, How::Overheard);
                return;
            }
        }
        let wire = self.link_mut(link).side(side);
        let Some((question, id)) = wire.as_mut().and_then(|wire| wire.questions.pop_front()) else {
            return;
        };
        if question == Question::Ping {
            self.ponged(link, id, value);
            return;
        }
        if self.instances.get(id).is_none() {
            return;
        }
        match question {
            Question::Ping | Question::Whatever => {}
            Question::Publish => {
                if matches!(value, Value::Error(_)) {
                    self.instances[id].last_published = now - self.periods.publish + 100;
                }
            }
            Question::Info => {
                self.instances[id].info_asked = None;
                if let Value::Bulk(text) = value
                    && text.len() <= SENTINEL_INFO_BYTES_MAX
                {
                    self.informed(id, text);
                }
            }
            Question::IsMasterDown => self.peer_answered(id, value),
            Question::Exec => self.ask_info(id),
            Question::Master => self.claim_answered(id, value),
            Question::Handover => self.handover_answered(id, value),
        }
    }

    fn ponged(&mut self, link: LinkId, id: Id, value: &Value) {
        let now = self.now;
        let (Value::Simple(text) | Value::Error(text)) = value else { return };
        let is_alive =
            [&b"PONG"[..], b"LOADING", b"MASTERDOWN"].iter().any(|it| text.starts_with(it));
        let it = self.link_mut(link);
        it.last_pong = now;
        if is_alive {
            it.last_available = now;
            it.ping_pending_since = 0;
        }
        let Some(instance) = self.instances.get_mut(id) else { return };
        if text.starts_with(b"PONG") {
            if let Kind::Master(master) = &mut instance.kind {
                master.rebooted_at = None;
            }
        } else if text.starts_with(b"BUSY") && instance.s_down && !instance.script_kill_sent {
            instance.script_kill_sent = true;
            self.ask(id, Question::Whatever, &[b"SCRIPT", b"KILL"]);
        }
    }
}

/// The payload of `message channel payload`.
fn message(value: &Value) -> Option<&[u8]> {
    let (Value::Array(items) | Value::Push(items)) = value else { return None };
    match items.as_slice() {
        [Value::Bulk(kind), Value::Bulk(_), Value::Bulk(text)] if kind == b"message" => Some(text),
        _ => None,
    }
}
