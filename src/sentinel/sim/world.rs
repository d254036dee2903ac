//! Hosts, their network, their disks, and time.
//!
//! A connection is two streams. What is on its way across a cut waits for the cut to heal, as TCP's would;
//! whoever crashes leaves his connections to be noticed by the other side, which it is only when the network
//! lets it.

use super::Plant;
use super::check::Check;
use super::data::Data;
use crate::base::prng::Prng;
use crate::base::time::{Mono, Now, Wall};
use crate::sentinel::hello::{CHANNEL, Hello};
use crate::sentinel::machine::{Conn, Input, Output, Sentinel};
use crate::sentinel::settings::{Facts, Settings};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which faults occur.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub crashes_of_sentinels: bool,
    pub crashes_of_data: bool,
    pub cuts: bool,
    pub pauses: bool,
    pub slow_disks: bool,
    pub full_disks: bool,
    pub forged_hellos: bool,
    pub operators: bool,
}

/// A host: Sentinels first, data nodes behind.
type HostId = usize;

#[derive(Debug)]
struct Guard {
    machine: Option<Sentinel>,
    disk: Vec<u8>,
    /// What is being written: number, text, whether it will fail.
    writing: Option<(u64, Vec<u8>, bool)>,
    life: u32,
    frozen_until: u64,
    next_client: u32,
}

#[derive(Debug)]
struct Line {
    ends: [End; 2],
}

/// One end of a connection; the direction towards it has its own queue.
#[derive(Debug)]
struct End {
    host: HostId,
    life: u32,
    conn: Option<Conn>,
    queue: VecDeque<(u64, Parcel)>,
}

#[derive(Debug)]
enum Parcel {
    Bytes(Vec<u8>),
    Opened,
    Closed,
}

#[derive(Debug)]
enum Event {
    Tick(HostId, u32),
    Deliver(u64, usize),
    Written(HostId, u32),
    Start(HostId),
    Fault,
    Flow,
}

pub(super) struct World {
    pub faults: Faults,
    pub story: Vec<String>,
    pub check: Check,
    prng: Prng,
    plant: Option<Plant>,
    now: u64,
    next: u64,
    events: BTreeMap<(u64, u64), Event>,
    guards: Vec<Guard>,
    data: Vec<Data>,
    lines: BTreeMap<u64, Line>,
    /// Which end of which connection a Sentinel of one life means.
    index: BTreeMap<(HostId, u32, Conn), (u64, usize)>,
    /// From whom to whom nothing gets through.
    cut: BTreeSet<(HostId, HostId)>,
    calm: bool,
    failed: Option<String>,
}

/// Where there is no process.
const NOWHERE: HostId = HostId::MAX;

/// How long there are faults, and how long there are none before all must agree.
const STORM_MS: u64 = 60_000;
const CALM_MS: u64 = 150_000;

const FILE: &str = "port 26379\nsentinel monitor m 10.0.1.0 6379 QUORUM\n\
    sentinel down-after-milliseconds m 1000\nsentinel failover-timeout m 4000\n";

impl World {
    pub fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut prng = Prng::new(seed);
        let sentinels = 3 + prng.below(3) as usize;
        let nodes = 2 + prng.below(3) as usize;
        let quorum = if prng.chance(1, 3) { 1 } else { sentinels / 2 + 1 };
        let mut on = |of: u64| prng.chance(1, of);
        let faults = Faults {
            crashes_of_sentinels: on(2),
            crashes_of_data: on(2),
            cuts: on(2),
            pauses: on(3),
            slow_disks: on(2),
            full_disks: on(6),
            forged_hellos: on(3),
            operators: on(4),
        };
        let mut world = Self {
            faults,
            story: Vec::new(),
            check: Check::default(),
            plant,
            now: 5_000,
            next: 0,
            events: BTreeMap::new(),
            guards: Vec::new(),
            data: Vec::new(),
            lines: BTreeMap::new(),
            index: BTreeMap::new(),
            cut: BTreeSet::new(),
            calm: false,
            failed: None,
            prng,
        };
        let file = FILE.replace("QUORUM", &quorum.to_string());
        for host in 0..sentinels {
            world.guards.push(Guard {
                machine: None,
                disk: file.clone().into_bytes(),
                writing: None,
                life: 0,
                frozen_until: 0,
                next_client: 0,
            });
            let delay = world.prng.below(3_000);
            world.at(delay, Event::Start(host));
        }
        for number in 0..nodes {
            let follows = (number > 0).then(|| ("10.0.1.0".to_string(), 6379));
            let run_id = world.run_id();
            let priority = if world.prng.chance(1, 4) { 50 } else { 100 };
            let can_hand_over = world.prng.chance(1, 2);
            world.data.push(Data {
                ip: format!("10.0.1.{number}"),
                up: true,
                follows,
                run_id,
                priority,
                offset: 1,
                link_up: true,
                link_down_since: 0,
                can_hand_over,
                conns: BTreeMap::new(),
            });
        }
        world.at(100, Event::Flow);
        world.at(15_000, Event::Fault);
        world
    }

    pub fn run(&mut self) -> Result<(), String> {
        let end = 15_000 + STORM_MS + CALM_MS;
        while let Some(((at, _), event)) = self.events.pop_first() {
            self.now = at;
            if at > end {
                break;
            }
            if at > 15_000 + STORM_MS && !self.calm {
                self.heal();
            }
            self.happen(event);
            if let Some(why) = self.failed.take() {
                return Err(why);
            }
        }
        self.agreed()
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.next += 1;
        self.events.insert((self.now + delay, self.next), event);
    }

    fn tell(&mut self, text: String) {
        self.story.push(format!("{:>7} {text}", self.now));
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Start(host) => self.start(host),
            Event::Tick(host, life) => self.tick(host, life),
            Event::Deliver(line, end) => self.deliver(line, end),
            Event::Written(host, life) => self.written(host, life),
            Event::Flow => {
                self.flow();
                self.at(100, Event::Flow);
            }
            Event::Fault => {
                if !self.calm {
                    self.fault();
                    let pause = 200 + self.prng.below(6_000);
                    self.at(pause, Event::Fault);
                }
            }
        }
    }

    fn clock(&self) -> Now {
        Now { mono: Mono(self.now * 1_000_000), wall: Wall(self.now * 1_000) }
    }

    fn start(&mut self, host: HostId) {
        if host >= self.guards.len() {
            let run_id = self.run_id();
            let node = host - self.guards.len();
            self.tell(format!("data {node} starts"));
            let data = &mut self.data[node];
            (data.up, data.run_id, data.link_up) = (true, run_id, false);
            data.link_down_since = self.now;
            return;
        }
        let settings = Settings {
            port: 26379,
            requirepass: Vec::new(),
            users: Vec::new(),
            protected_mode: false,
            maxclients: 1_000,
            is_executable: |_| true,
            facts: Facts::default(),
        };
        let mut machine = Sentinel::new(self.clock(), self.prng.next_u64(), settings);
        machine.plant = self.plant;
        let loaded = machine.load(&self.guards[host].disk);
        if let Err(bad) = loaded {
            self.failed = Some(format!("{host} cannot read its own file: {bad}"));
            return;
        }
        let guard = &mut self.guards[host];
        guard.life += 1;
        guard.frozen_until = 0;
        let (life, now) = (guard.life, self.clock());
        let mut out = Vec::new();
        machine.begin(now, &mut out);
        self.tell(format!("sentinel {host} starts as {}", machine.id()));
        self.guards[host].machine = Some(machine);
        self.perform(host, out);
        self.at(50, Event::Tick(host, life));
    }

    fn tick(&mut self, host: HostId, life: u32) {
        let guard = &mut self.guards[host];
        if guard.life != life || guard.machine.is_none() {
            return;
        }
        if guard.frozen_until > self.now {
            let left = guard.frozen_until - self.now;
            return self.at(left, Event::Tick(host, life));
        }
        self.input(host, Input::Tick);
        let pause = self.guards[host].machine.as_mut().map_or(100, Sentinel::tick_ms);
        self.at(pause.max(1), Event::Tick(host, life));
    }

    fn input(&mut self, host: HostId, input: Input<'_>) {
        let now = self.clock();
        let mut out = Vec::new();
        if let Some(machine) = &mut self.guards[host].machine {
            machine.handle(now, input, &mut out);
            self.perform(host, out);
        }
    }

    fn perform(&mut self, host: HostId, out: Vec<Output>) {
        for output in out {
            match output {
                Output::Log { text, .. } => self.logged(host, &text),
                Output::Dial { wire, ip, port } => self.dial(host, wire, &ip, port),
                Output::Send { conn, bytes } => self.send(host, conn, bytes),
                Output::Close { conn } => self.close(host, conn),
                Output::Save { number, text } => self.save(host, number, text),
                Output::Exit { .. } => self.crash(host),
                Output::Resolve { .. } | Output::Run { .. } | Output::Kill { .. } => {}
            }
        }
    }

    fn logged(&mut self, host: HostId, text: &str) {
        if text.starts_with('+') || text.starts_with('-') {
            self.tell(format!("sentinel {host}: {text}"));
        }
        let Some(machine) = &self.guards[host].machine else { return };
        let id = machine.masters["m"];
        if text.starts_with("+elected-leader") {
            let master = machine.instances.master(id);
            let by_votes = master.failover.manual() == crate::sentinel::instance::Manual::No;
            let epoch = master.failover_epoch;
            if by_votes {
                self.failed = self.check.leads(host, epoch).err().or(self.failed.take());
            }
        }
        if text.starts_with("+switch-master") {
            let to = text.split(' ').nth(4).unwrap_or_default();
            if !self.data.iter().any(|it| it.ip == to) {
                self.failed = Some(format!("{host} switches to {to}, which nobody is"));
            }
        }
    }

    /// The host with this address, if a process listens there.
    fn host_of(&self, ip: &str, port: u16) -> Option<HostId> {
        let last: usize = ip.rsplit('.').next()?.parse().ok()?;
        if ip.starts_with("10.0.0.") && port == 26379 {
            return self.guards.get(last)?.machine.is_some().then_some(last);
        }
        let fits = ip.starts_with("10.0.1.") && port == 6379 && self.data.get(last)?.up;
        fits.then_some(self.guards.len() + last)
    }

    fn dial(&mut self, host: HostId, wire: u32, ip: &str, port: u16) {
        let life = self.guards[host].life;
        let near = End { host, life, conn: Some(Conn::Wire(wire)), queue: VecDeque::new() };
        self.next += 1;
        let line = self.next;
        let to = self.host_of(ip, port);
        let far_host = to.unwrap_or(NOWHERE);
        let far =
            End { host: far_host, life: self.life(far_host), conn: None, queue: VecDeque::new() };
        self.lines.insert(line, Line { ends: [near, far] });
        self.index.insert((host, life, Conn::Wire(wire)), (line, 0));
        if to.is_some() {
            self.push(line, 1, Parcel::Opened);
        } else {
            self.push(line, 0, Parcel::Closed);
        }
    }

    fn life(&self, host: HostId) -> u32 {
        self.guards.get(host).map_or(0, |it| it.life)
    }

    /// Towards an end of a connection, in order.
    fn push(&mut self, line: u64, end: usize, parcel: Parcel) {
        let slow = self.prng.chance(1, 20);
        let delay = 1 + self.prng.below(if slow { 80 } else { 4 });
        let Some(it) = self.lines.get_mut(&line) else { return };
        let queue = &mut it.ends[end].queue;
        let due = (self.now + delay).max(queue.back().map_or(0, |(at, _)| *at));
        queue.push_back((due, parcel));
        self.at(due - self.now, Event::Deliver(line, end));
    }

    fn deliver(&mut self, line: u64, end: usize) {
        let Some(it) = self.lines.get_mut(&line) else { return };
        let (to, from) = (it.ends[end].host, it.ends[1 - end].host);
        let life = it.ends[end].life;
        if it.ends[end].queue.front().is_none_or(|(at, _)| *at > self.now) {
            return;
        }
        let frozen = self.guards.get(to).is_some_and(|it| it.frozen_until > self.now);
        if self.cut.contains(&(from, to)) || frozen {
            return self.at(40, Event::Deliver(line, end));
        }
        let Some(it) = self.lines.get_mut(&line) else { return };
        let Some((_, parcel)) = it.ends[end].queue.pop_front() else { return };
        let conn = it.ends[end].conn;
        if to == NOWHERE {
            if matches!(parcel, Parcel::Closed) {
                self.lines.remove(&line);
            }
            return;
        }
        if let Some(guard) = self.guards.get(to) {
            if guard.machine.is_none() || guard.life != life {
                // Nobody is there any more: the other side is told.
                match parcel {
                    Parcel::Closed => drop(self.lines.remove(&line)),
                    _ => self.push(line, 1 - end, Parcel::Closed),
                }
                return;
            }
            self.deliver_to_sentinel(to, line, end, conn, parcel);
        } else {
            self.deliver_to_data(to - self.guards.len(), line, parcel);
        }
    }

    fn deliver_to_sentinel(
        &mut self,
        host: HostId,
        line: u64,
        end: usize,
        conn: Option<Conn>,
        parcel: Parcel,
    ) {
        match (parcel, conn) {
            (Parcel::Opened, None) => {
                let guard = &mut self.guards[host];
                guard.next_client += 1;
                let client = guard.next_client;
                if let Some(it) = self.lines.get_mut(&line) {
                    it.ends[end].conn = Some(Conn::Client(client));
                    let life = it.ends[end].life;
                    self.index.insert((host, life, Conn::Client(client)), (line, end));
                }
                self.push(line, 1 - end, Parcel::Opened);
                let (peer, local) = (String::new(), String::new());
                self.input(host, Input::Accepted { client, peer, local, is_loopback: true });
            }
            (Parcel::Opened, Some(Conn::Wire(wire))) => {
                let local = format!("10.0.0.{host}");
                self.input(host, Input::Connected { wire, local });
            }
            (Parcel::Bytes(bytes), Some(conn)) => {
                self.input(host, Input::Received { conn, bytes: &bytes });
            }
            (Parcel::Closed, conn) => {
                self.lines.remove(&line);
                if let Some(conn) = conn {
                    self.input(host, Input::Closed { conn });
                }
            }
            _ => {}
        }
    }

    fn deliver_to_data(&mut self, node: usize, line: u64, parcel: Parcel) {
        if !self.data[node].up {
            match parcel {
                Parcel::Closed => drop(self.lines.remove(&line)),
                _ => self.push(line, 0, Parcel::Closed),
            }
            return;
        }
        match parcel {
            Parcel::Opened => {
                self.data[node].conns.insert(line, super::data::Peer::default());
                self.push(line, 0, Parcel::Opened);
            }
            Parcel::Closed => {
                self.data[node].conns.remove(&line);
                self.lines.remove(&line);
            }
            Parcel::Bytes(bytes) => {
                if !self.data[node].conns.contains_key(&line) {
                    return self.push(line, 0, Parcel::Closed); // of an earlier life
                }
                let replicas = self.replicas_of(node);
                let now = self.now;
                let effects = self.data[node].receive(line, &bytes, now, &replicas);
                if !effects.reply.is_empty() {
                    self.push(line, 0, Parcel::Bytes(effects.reply));
                }
                for text in effects.published {
                    self.publish(node, &text);
                }
                if let Some((ip, port)) = effects.handed_to
                    && let Some(host) = self.host_of(&ip, port)
                    && let Some(other) = host.checked_sub(self.guards.len())
                    && other != node
                {
                    self.data[other].follows = None;
                    self.data[node].follows = Some((ip, port));
                    self.tell(format!("data {node} hands over to {other}"));
                }
            }
        }
    }

    fn publish(&mut self, node: usize, text: &[u8]) {
        let mut bytes = Vec::new();
        crate::resp::reply::write_request(&mut bytes, &[b"message", CHANNEL, text]);
        for line in self.data[node].listeners() {
            self.push(line, 0, Parcel::Bytes(bytes.clone()));
        }
    }

    fn replicas_of(&self, node: usize) -> Vec<String> {
        let ip = &self.data[node].ip;
        let follows = |it: &&Data| {
            it.up && it.link_up && it.follows.as_ref().is_some_and(|(host, _)| host == ip)
        };
        self.data.iter().filter(follows).map(|it| it.ip.clone()).collect()
    }

    fn send(&mut self, host: HostId, conn: Conn, bytes: Vec<u8>) {
        let disk = &self.guards[host].disk;
        let checked = match conn {
            Conn::Client(_) => self.check.answer(host, &bytes, disk),
            Conn::Wire(_) => {
                hello_in(&bytes).map_or(Ok(()), |it| self.check.hello(host, &it, disk))
            }
        };
        self.failed = checked.err().or(self.failed.take());
        if let Some((line, end)) = self.line_of(host, conn) {
            self.push(line, 1 - end, Parcel::Bytes(bytes));
        }
    }

    fn close(&mut self, host: HostId, conn: Conn) {
        if let Some((line, end)) = self.line_of(host, conn) {
            if let Some(it) = self.lines.get_mut(&line) {
                it.ends[end].conn = None;
                it.ends[end].life = u32::MAX;
            }
            let life = self.guards[host].life;
            self.index.remove(&(host, life, conn));
            self.push(line, 1 - end, Parcel::Closed);
        }
    }

    fn line_of(&self, host: HostId, conn: Conn) -> Option<(u64, usize)> {
        let place = self.index.get(&(host, self.guards[host].life, conn))?;
        self.lines.contains_key(&place.0).then_some(*place)
    }

    fn save(&mut self, host: HostId, number: u64, text: Vec<u8>) {
        let fails = self.faults.full_disks && !self.calm && self.prng.chance(1, 3);
        let slow = self.faults.slow_disks && self.prng.chance(1, 4);
        let delay = 1 + self.prng.below(if slow { 2_500 } else { 8 });
        let guard = &mut self.guards[host];
        guard.writing = Some((number, text, fails));
        let life = guard.life;
        self.at(delay, Event::Written(host, life));
    }

    fn written(&mut self, host: HostId, life: u32) {
        let guard = &mut self.guards[host];
        if guard.life != life || guard.machine.is_none() {
            return;
        }
        if guard.frozen_until > self.now {
            let left = guard.frozen_until - self.now;
            return self.at(left, Event::Written(host, life));
        }
        let Some((number, text, fails)) = guard.writing.take() else { return };
        let result = if fails { Err("no space".to_string()) } else { Ok(()) };
        if !fails {
            guard.disk = text;
        }
        self.input(host, Input::Saved { number, result });
    }

    fn crash(&mut self, host: HostId) {
        if let Some(guard) = self.guards.get_mut(host) {
            guard.machine = None;
            // What was being written is there as a whole, or not at all.
            if let Some((_, text, false)) = guard.writing.take()
                && self.prng.chance(1, 2)
            {
                self.guards[host].disk = text;
            }
            self.tell(format!("sentinel {host} crashes"));
        } else {
            let node = host - self.guards.len();
            self.data[node].up = false;
            self.data[node].conns.clear();
            self.tell(format!("data {node} crashes"));
        }
        let ends = |it: &Line| it.ends.iter().position(|end| end.host == host);
        let lines: Vec<(u64, usize)> =
            self.lines.iter().filter_map(|(n, it)| ends(it).map(|end| (*n, end))).collect();
        for (line, end) in lines {
            self.push(line, 1 - end, Parcel::Closed);
        }
    }

    /// Offsets grow, links come and go.
    fn flow(&mut self) {
        for node in 0..self.data.len() {
            let Some((ip, port)) = self.data[node].follows.clone() else {
                self.data[node].offset += u64::from(self.data[node].up);
                continue;
            };
            let from = self.host_of(&ip, port);
            let here = self.guards.len() + node;
            let reachable = from.is_some_and(|it| {
                it != here && !self.cut.contains(&(it, here)) && !self.cut.contains(&(here, it))
            });
            let upstream = from.and_then(|it| it.checked_sub(self.guards.len()));
            let offset = upstream.map_or(0, |it| self.data[it].offset);
            let now = self.now;
            let data = &mut self.data[node];
            if !data.up {
                continue;
            }
            if reachable {
                (data.link_up, data.offset) = (true, offset);
            } else if data.link_up {
                (data.link_up, data.link_down_since) = (false, now);
            }
        }
    }

    fn fault(&mut self) {
        let hosts = self.guards.len() + self.data.len();
        let any = |world: &mut Self, of: usize| world.prng.below(of as u64) as usize;
        match self.prng.below(8) {
            0 if self.faults.crashes_of_sentinels => {
                let host = any(self, self.guards.len());
                if self.guards[host].machine.is_some() {
                    self.crash(host);
                    let back = self.prng.below(8_000);
                    self.at(back, Event::Start(host));
                }
            }
            1 | 2 if self.faults.crashes_of_data => {
                let host = self.guards.len() + any(self, self.data.len());
                if self.data[host - self.guards.len()].up {
                    self.crash(host);
                    let back = self.prng.below(20_000);
                    self.at(back, Event::Start(host));
                }
            }
            3 | 4 if self.faults.cuts => {
                let (a, b) = (any(self, hosts), any(self, hosts));
                match self.prng.below(4) {
                    0 => drop(self.cut.insert((a, b))),
                    1 => self.isolate(a),
                    2 => self.split(),
                    _ => self.cut.clear(),
                }
                let cut = self.cut.clone();
                self.tell(format!("cut {cut:?}"));
            }
            5 if self.faults.pauses => {
                let host = any(self, self.guards.len());
                let pause = self.prng.below(4_000);
                self.guards[host].frozen_until = self.now + pause;
                self.tell(format!("sentinel {host} stands still for {pause}"));
            }
            6 if self.faults.forged_hellos => self.forge(),
            7 if self.faults.operators => {
                let host = any(self, self.guards.len());
                let now = self.clock();
                if let Some(machine) = &mut self.guards[host].machine {
                    let id = machine.masters["m"];
                    let idle = !machine.instances.master(id).failover.in_progress();
                    if idle && machine.best_replica(id).is_some() && machine.tilt_since.is_none() {
                        let manual = machine.manual(id, false);
                        machine.start_failover(id, manual);
                        self.check.forces(machine.epoch);
                        let mut out = Vec::new();
                        machine.handle(now, Input::Tick, &mut out);
                        self.tell(format!("an operator asks {host} for a failover"));
                        self.perform(host, out);
                    }
                }
            }
            _ => {}
        }
    }

    fn isolate(&mut self, host: HostId) {
        for other in 0..self.guards.len() + self.data.len() {
            if other != host {
                self.cut.insert((host, other));
                self.cut.insert((other, host));
            }
        }
    }

    /// Two sides that do not hear each other.
    fn split(&mut self) {
        let hosts = self.guards.len() + self.data.len();
        let side: Vec<bool> = (0..hosts).map(|_| self.prng.chance(1, 2)).collect();
        for a in 0..hosts {
            for b in 0..hosts {
                if side[a] != side[b] {
                    self.cut.insert((a, b));
                }
            }
        }
    }

    /// Somebody who may publish on a data node claims what is not so.
    fn forge(&mut self) {
        let node = self.prng.below(self.data.len() as u64) as usize;
        let victim = self.prng.below(self.guards.len() as u64) as usize;
        let Some(machine) = &self.guards[victim].machine else { return };
        let (id, epoch) = (machine.id().to_string(), machine.epoch);
        let ahead = if self.prng.chance(1, 4) { 1 << 40 } else { 1 };
        let hello = Hello {
            ip: if self.prng.chance(1, 2) { format!("10.0.0.{victim}") } else { "6.6.6.6".into() },
            port: 26379,
            id: if self.prng.chance(1, 2) { id } else { self.run_id() },
            epoch: epoch + ahead,
            master: "m".into(),
            master_ip: "6.6.6.6".into(),
            master_port: 6379,
            config_epoch: epoch + ahead,
        };
        self.tell(format!("forged on data {node}: {}", hello.text()));
        self.publish(node, hello.text().as_bytes());
    }

    fn heal(&mut self) {
        self.calm = true;
        self.cut.clear();
        self.tell("all is well again".into());
        let down: Vec<HostId> = (0..self.guards.len() + self.data.len())
            .filter(|it| match it.checked_sub(self.guards.len()) {
                None => self.guards[*it].machine.is_none(),
                Some(node) => !self.data[node].up,
            })
            .collect();
        // Those that crashed are on their way back.
        for host in down {
            self.events.retain(|_, event| !matches!(event, Event::Start(it) if *it == host));
            self.at(1, Event::Start(host));
        }
    }

    /// One master, and all know it.
    fn agreed(&self) -> Result<(), String> {
        let masters: Vec<&Data> = self.data.iter().filter(|it| it.follows.is_none()).collect();
        let [master] = masters.as_slice() else {
            return Err(format!("{} masters at the end", masters.len()));
        };
        for data in self.data.iter().filter(|it| it.ip != master.ip) {
            if data.follows.as_ref().is_none_or(|(ip, _)| *ip != master.ip) {
                return Err(format!("{} follows {:?}, not {}", data.ip, data.follows, master.ip));
            }
        }
        let mut epochs = BTreeSet::new();
        for (host, guard) in self.guards.iter().enumerate() {
            let Some(machine) = &guard.machine else { return Err(format!("{host} is down")) };
            let id = machine.masters["m"];
            let address = &machine.instances[id].address;
            if address.ip != master.ip {
                return Err(format!(
                    "{host} takes {} for the master, not {}",
                    address.ip, master.ip
                ));
            }
            epochs.insert(machine.instances.master(id).config_epoch);
        }
        if epochs.len() != 1 {
            return Err(format!("config epochs differ: {epochs:?}"));
        }
        Ok(())
    }

    fn run_id(&mut self) -> String {
        (0..40).map(|_| char::from(b"0123456789abcdef"[self.prng.below(16) as usize])).collect()
    }
}

/// The hello in a `PUBLISH` that a Sentinel sends.
fn hello_in(bytes: &[u8]) -> Option<Hello> {
    let (value, _) = crate::resp::decode::decode(bytes).ok()??;
    let crate::resp::decode::Value::Array(items) = value else { return None };
    match items.as_slice() {
        [crate::resp::decode::Value::Bulk(name), _, crate::resp::decode::Value::Bulk(text)]
            if name == b"PUBLISH" =>
        {
            Hello::parse(text)
        }
        _ => None,
    }
}
