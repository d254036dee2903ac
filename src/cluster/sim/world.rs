//! Hosts, their network, their disks, and time.
//!
//! A connection is two streams. What is on its way across a cut waits for the cut to heal, as TCP's would;
//! whoever crashes leaves his connections to be noticed by the other side, when the network lets it. Replication
//! is a number per node: a master's grows, a replica's is what it last heard of its master's.

use super::Plant;
use super::check::Check;
use crate::base::prng::Prng;
use crate::base::time::{Mono, Now, Wall};
use crate::cluster::admin::{Failover, SetSlot};
use crate::cluster::id::NodeId;
use crate::cluster::machine::{Cluster, Facts, Input, LinkId, Output};
use crate::cluster::settings::Settings;
use core::net::{IpAddr, Ipv4Addr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which faults occur.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults {
    pub crashes: bool,
    pub double_crashes: bool,
    pub cuts: bool,
    pub pauses: bool,
    pub slow_disks: bool,
    pub full_disks: bool,
    pub forged: bool,
    pub operators: bool,
    pub moves: bool,
}

type HostId = usize;

#[derive(Debug)]
struct Host {
    machine: Option<Cluster>,
    id: NodeId,
    disk: Vec<u8>,
    /// What is being written: number, text, whether it will fail.
    writing: Option<(u64, Vec<u8>, bool)>,
    life: u32,
    frozen_until: u64,
    next_in: u32,
    offset: u64,
    heard: u64,
    follows: Option<HostId>,
    /// Writers wait until then, in the pause of this number.
    pause: (u64, u64),
}

#[derive(Debug)]
struct Line {
    ends: [End; 2],
}

#[derive(Debug)]
struct End {
    host: HostId,
    life: u32,
    link: Option<LinkId>,
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
    Flow,
    Fault,
    /// A slot was given to its new owner, in this life of it: the old one is told when that is on its disk.
    Give {
        slot: u16,
        from: HostId,
        to: HostId,
        life: u32,
    },
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
    hosts: Vec<Host>,
    masters: usize,
    /// Nobody gave the masters their first epochs: all have the same, and settle it among themselves.
    pub no_epochs: bool,
    lines: BTreeMap<u64, Line>,
    index: BTreeMap<(HostId, u32, LinkId), (u64, usize)>,
    cut: BTreeSet<(HostId, HostId)>,
    calm: bool,
    failed: Option<String>,
}

const SETUP_MS: u64 = 8_000;
const STORM_MS: u64 = 70_000;
const CALM_MS: u64 = 60_000;
const PORT: u16 = 6_379;
const BUS_PORT: u16 = 16_379;

impl World {
    pub fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut prng = Prng::new(seed);
        let masters = if prng.chance(1, 2) { 3 } else { 5 };
        let replicas = masters + prng.below(3) as usize;
        let mut on = |of: u64| prng.chance(1, of);
        let faults = Faults {
            crashes: on(2),
            double_crashes: on(2),
            cuts: on(2),
            pauses: on(3),
            slow_disks: on(2),
            full_disks: on(6),
            forged: on(3),
            operators: on(3),
            moves: on(3),
        };
        let mut world = Self {
            faults,
            story: Vec::new(),
            check: Check::default(),
            plant,
            now: 5_000,
            next: 0,
            events: BTreeMap::new(),
            hosts: Vec::new(),
            masters,
            no_epochs: Prng::new(!seed).chance(1, 4),
            lines: BTreeMap::new(),
            index: BTreeMap::new(),
            cut: BTreeSet::new(),
            calm: false,
            failed: None,
            prng,
        };
        world.check.voters = masters;
        for host in 0..masters + replicas {
            let seed = world.prng.next_u64();
            let machine = Cluster::new(world.time(), seed, settings());
            let id = machine.map(crate::cluster::show::Endpoint::Ip).id.unwrap();
            world.hosts.push(Host {
                machine: None,
                id,
                disk: machine.file(),
                writing: None,
                life: 0,
                frozen_until: 0,
                next_in: 0,
                offset: 0,
                heard: 0,
                follows: None,
                pause: (0, 0),
            });
            world.at(0, Event::Start(host));
        }
        world.at(100, Event::Flow);
        world
    }

    pub fn run(&mut self) -> Result<(), String> {
        self.until(1_000)?;
        self.set_up()?;
        self.give_replicas();
        self.until(SETUP_MS)?;
        self.at(100, Event::Fault);
        self.until(STORM_MS)?;
        self.calm = true;
        self.tell("calm".into());
        self.cut.clear();
        for line in self.lines.keys().copied().collect::<Vec<_>>() {
            self.wake(line);
        }
        for host in 0..self.hosts.len() {
            self.hosts[host].frozen_until = 0;
            if self.hosts[host].machine.is_none() {
                self.at(500, Event::Start(host));
            }
        }
        self.until(CALM_MS)?;
        self.agreed()
    }

    /// A replica and its master change places again and again, each time as soon as the last time has come to
    /// pass where it was asked for. How long it took at most, and whether a write was lost.
    pub fn swap_again_and_again(&mut self) -> Result<u64, String> {
        self.until(1_000)?;
        self.set_up()?;
        self.give_replicas();
        self.until(SETUP_MS)?;
        let (mut replica, mut master, mut longest) = (self.masters, 0, 0);
        for _ in 0..8 {
            let asked = self.now;
            // Until it has a connection to its new master.
            while !self.command(replica, |it| it.fail_over(Failover::Agreed)) {
                self.until(10)?;
            }
            while self.hosts[replica].follows.is_some() {
                self.until(10)?;
                if self.now - asked > 60_000 {
                    return Err("it never takes over".into());
                }
            }
            let (old, new) = (self.hosts[master].offset, self.hosts[replica].offset);
            if old > new {
                return Err(format!("it takes over at {new}, and its master had {old}"));
            }
            longest = longest.max(self.now - asked);
            (replica, master) = (master, replica);
            while self.hosts[replica].follows != Some(master) {
                self.until(10)?;
            }
        }
        Ok(longest)
    }

    /// Three or five masters, each with its part, meet the rest.
    ///
    /// Whoever builds a cluster looks whether it came to be: the answer to a MEET may be lost to a cut or a forged
    /// packet, nobody sends it again by himself (nor does Redis), and who is not met then is not there at the end.
    fn set_up(&mut self) -> Result<(), String> {
        let masters = self.masters;
        for host in 0..self.hosts.len() {
            let part = 16_384 / masters;
            let end = if host + 1 == masters { 16_384 } else { (host + 1) * part };
            let slots: Vec<u16> = (host * part..end).map(|it| it as u16).collect();
            if !self.no_epochs {
                self.check.set_free(host as u64 + 1, self.hosts[host].id);
                self.command(host, move |it| it.set_config_epoch(host as i64 + 1));
            }
            if host < masters {
                self.command(host, move |it| it.change_slots(&slots, true));
            }
        }
        for _ in 0..20 {
            self.meet();
            self.until(SETUP_MS)?;
            let all = self.hosts.len();
            if self.hosts.iter().flat_map(|it| &it.machine).all(|it| it.nodes.count() == all) {
                return Ok(());
            }
        }
        Err("they never meet".into())
    }

    fn meet(&mut self) {
        for host in 1..self.hosts.len() {
            let ip = address(host).to_string();
            self.command(0, move |it| it.meet(ip.as_bytes(), PORT.into(), BUS_PORT.into()));
        }
    }

    fn give_replicas(&mut self) {
        for host in self.masters..self.hosts.len() {
            let master = self.hosts[host % self.masters].id;
            self.command(host, move |it| it.replicate(master.as_bytes(), false));
        }
    }

    fn until(&mut self, ms: u64) -> Result<(), String> {
        let end = self.now + ms;
        while let Some((&(at, number), _)) = self.events.first_key_value() {
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            let Some(event) = self.events.remove(&(at, number)) else { break };
            self.happen(event);
            if let Some(why) = self.failed.take() {
                return Err(format!("at {}: {why}", self.now));
            }
        }
        self.now = end;
        Ok(())
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick(host, life) => {
                if self.lives(host, life) {
                    if self.hosts[host].frozen_until <= self.now {
                        self.input(host, Input::Tick);
                    }
                    let next = 80 + self.prng.below(40);
                    self.at(next, Event::Tick(host, life));
                }
            }
            Event::Deliver(line, end) => self.deliver(line, end),
            Event::Written(host, life) => self.written(host, life),
            Event::Start(host) => self.start(host),
            Event::Give { slot, from, to, life } => self.give(slot, from, to, life),
            Event::Flow => {
                self.flow();
                self.at(50, Event::Flow);
            }
            Event::Fault => {
                if !self.calm {
                    self.fault();
                    let next = 500 + self.prng.below(6_000);
                    self.at(next, Event::Fault);
                }
            }
        }
    }

    fn lives(&self, host: HostId, life: u32) -> bool {
        self.hosts[host].life == life && self.hosts[host].machine.is_some()
    }

    fn start(&mut self, host: HostId) {
        if self.hosts[host].machine.is_some() {
            return;
        }
        let (seed, now) = (self.prng.next_u64(), self.time());
        let mut machine = match Cluster::load(now, seed, settings(), &self.hosts[host].disk) {
            Ok(machine) => machine,
            Err(line) => return self.fail(format!("{host} cannot read its file: {line}")),
        };
        machine.plant = self.plant;
        let it = &mut self.hosts[host];
        it.life += 1;
        it.writing = None;
        it.follows = None;
        it.pause = (0, 0);
        it.heard = self.now;
        let life = it.life;
        it.machine = Some(machine);
        self.tell(format!("{host} starts"));
        let mut out = Vec::new();
        if let Some(machine) = self.hosts[host].machine.as_mut() {
            machine.begin(now, &mut out);
        }
        self.perform(host, out);
        self.at(100, Event::Tick(host, life));
    }

    fn crash(&mut self, host: HostId) {
        if self.hosts[host].machine.take().is_none() {
            return;
        }
        self.tell(format!("{host} crashes"));
        let life = self.hosts[host].life;
        self.hosts[host].writing = None;
        let mine: Vec<(u64, usize)> = self
            .index
            .iter()
            .filter(|((it, at, _), _)| *it == host && *at == life)
            .map(|(_, place)| *place)
            .collect();
        self.index.retain(|(it, at, _), _| !(*it == host && *at == life));
        for (line, end) in mine {
            self.push(line, 1 - end, Parcel::Closed);
        }
        let pause = 500 + self.prng.below(12_000);
        self.at(pause, Event::Start(host));
    }

    fn input(&mut self, host: HostId, input: Input<'_>) {
        let now = self.time();
        let facts = self.facts(host);
        let mut out = Vec::new();
        let Some(machine) = self.hosts[host].machine.as_mut() else { return };
        machine.facts = facts;
        let epoch = |it: &Cluster| it.me().is_master().then_some(it.me().config_epoch);
        let before = epoch(machine);
        machine.handle(now, input, &mut out);
        let after = epoch(machine);
        // It looks at every slot: seldom enough to be cheap, often enough to be near the cause.
        let checked = if self.prng.chance(1, 200) { machine.check() } else { Ok(()) };
        if let (Some(before), Some(after)) = (before, after)
            && before != after
            && let Err(why) = self.check.moved_on(self.hosts[host].id, before, after)
        {
            self.fail(why);
        }
        self.perform(host, out);
        if let Err(why) = checked {
            self.fail(format!("{host}: {why}"));
        }
    }

    fn command(
        &mut self,
        host: HostId,
        run: impl FnOnce(&mut Cluster) -> Result<(), crate::resp::error::ErrorKind>,
    ) -> bool {
        let (now, facts) = (self.time(), self.facts(host));
        let mut out = Vec::new();
        let Some(machine) = self.hosts[host].machine.as_mut() else { return false };
        machine.facts = facts;
        let done = machine.command(now, &mut out, run);
        self.perform(host, out);
        done.is_ok()
    }

    fn facts(&self, host: HostId) -> Facts {
        let it = &self.hosts[host];
        let still = if it.pause.0 > self.now { it.pause.1 } else { 0 };
        Facts { offset: it.offset, data_age: (self.now - it.heard) as i64, still }
    }

    fn perform(&mut self, host: HostId, out: Vec<Output>) {
        let life = self.hosts[host].life;
        for output in out {
            match output {
                Output::Log { text, .. } => self.tell(format!("{host}: {text}")),
                Output::Dial { link, ip, .. } => {
                    let to = self.host_at(ip);
                    let number = self.next;
                    self.next += 1;
                    let end = |host, life, link| End { host, life, link, queue: VecDeque::new() };
                    let far = self.hosts[to].life;
                    let mine = LinkId::Out(link);
                    let ends = [end(host, life, Some(mine)), end(to, far, None)];
                    self.lines.insert(number, Line { ends });
                    self.index.insert((host, life, mine), (number, 0));
                    self.push(number, 1, Parcel::Opened);
                }
                Output::Send { link, bytes } => {
                    let Some(&(line, end)) = self.index.get(&(host, life, link)) else { continue };
                    let to = self.lines[&line].ends[1 - end].host;
                    let disk = std::mem::take(&mut self.hosts[host].disk);
                    let checked = self.check.sent(self.hosts[to].id, &bytes, &disk);
                    self.hosts[host].disk = disk;
                    if let Err(why) = checked {
                        self.fail(format!("{host}: {why}"));
                    }
                    self.push(line, 1 - end, Parcel::Bytes(bytes));
                }
                Output::Close { link } => {
                    if let Some((line, end)) = self.index.remove(&(host, life, link)) {
                        self.push(line, 1 - end, Parcel::Closed);
                    }
                }
                Output::Save { number, text } => {
                    let full = self.faults.full_disks && !self.calm && self.prng.chance(1, 20);
                    self.hosts[host].writing = Some((number, text, full));
                    let slow = self.faults.slow_disks && !self.calm;
                    let delay = 1 + self.prng.below(if slow { 2_000 } else { 10 });
                    self.at(delay, Event::Written(host, life));
                }
                Output::Follow { ip, .. } => {
                    let master = self.host_at(ip);
                    self.tell(format!("{host} follows {master}"));
                    self.hosts[host].follows = Some(master);
                }
                Output::Lead => {
                    self.tell(format!("{host} leads"));
                    self.hosts[host].follows = None;
                    let disk = String::from_utf8_lossy(&self.hosts[host].disk).into_owned();
                    let waits = self.plant != Some(Plant::NothingWaitsForTheDisk);
                    if waits && !disk.contains("myself,master") {
                        self.fail(format!("{host} leads, and its disk does not know"));
                    }
                }
                Output::PauseWrites { number, ms } => {
                    self.hosts[host].pause = (self.now + ms, number);
                }
                Output::ResumeWrites => self.hosts[host].pause = (0, 0),
                Output::DropAll
                | Output::Move(_)
                | Output::DropKeys { .. }
                | Output::Deliver { .. }
                | Output::Changed => {}
            }
        }
    }

    fn host_at(&self, ip: IpAddr) -> HostId {
        (0..self.hosts.len()).find(|it| address(*it) == ip).unwrap_or(0)
    }

    fn written(&mut self, host: HostId, life: u32) {
        if !self.lives(host, life) {
            return;
        }
        let Some((number, text, fails)) = self.hosts[host].writing.take() else { return };
        if !fails {
            self.hosts[host].disk = text;
        }
        let result = if fails { Err("no space".into()) } else { Ok(()) };
        self.input(host, Input::Saved { number, result });
    }

    fn push(&mut self, line: u64, end: usize, parcel: Parcel) {
        let most = if self.prng.chance(1, 50) { 300 } else { 5 };
        let delay = 1 + self.prng.below(most);
        let now = self.now;
        let Some(it) = self.lines.get_mut(&line) else { return };
        let queue = &mut it.ends[end].queue;
        let at = queue.back().map_or(0, |it| it.0).max(now + delay);
        queue.push_back((at, parcel));
        self.at(at - now, Event::Deliver(line, end));
    }

    fn wake(&mut self, line: u64) {
        self.at(1, Event::Deliver(line, 0));
        self.at(1, Event::Deliver(line, 1));
    }

    fn deliver(&mut self, line: u64, end: usize) {
        loop {
            let Some(it) = self.lines.get_mut(&line) else { return };
            let (host, life, from) = (it.ends[end].host, it.ends[end].life, it.ends[1 - end].host);
            if self.cut.contains(&(from, host)) {
                return; // Woken when it heals.
            }
            let frozen = self.hosts[host].frozen_until;
            if frozen > self.now {
                return self.at(frozen - self.now, Event::Deliver(line, end));
            }
            let due = it.ends[end].queue.front().is_some_and(|(at, _)| *at <= self.now);
            let Some((_, parcel)) = it.ends[end].queue.pop_front().filter(|_| due) else { return };
            let link = it.ends[end].link;
            match parcel {
                Parcel::Opened => self.opened(line, end),
                Parcel::Bytes(mut bytes) => {
                    let Some(link) = link else { continue };
                    if !self.lives(host, life) {
                        self.push(line, 1 - end, Parcel::Closed);
                        continue;
                    }
                    if self.faults.forged && !self.calm && self.prng.chance(1, 400) {
                        self.forge(&mut bytes);
                    }
                    self.input(host, Input::Received { link, bytes: &bytes });
                }
                Parcel::Closed => {
                    if let Some(link) = link
                        && self.index.remove(&(host, life, link)).is_some()
                        && self.lives(host, life)
                    {
                        self.input(host, Input::Closed { link });
                    }
                }
            }
        }
    }

    fn opened(&mut self, line: u64, end: usize) {
        let host = self.lines[&line].ends[end].host;
        let peer = address(self.lines[&line].ends[1 - end].host);
        let it = &mut self.hosts[host];
        if end == 0 {
            let (life, link) = (self.lines[&line].ends[0].life, self.lines[&line].ends[0].link);
            if self.lives(host, life)
                && let Some(LinkId::Out(link)) = link
                && self.index.contains_key(&(host, life, LinkId::Out(link)))
            {
                self.input(host, Input::Connected { link });
            }
            return;
        }
        if it.machine.is_none() {
            return self.push(line, 0, Parcel::Closed);
        }
        let (number, life) = (it.next_in, it.life);
        it.next_in += 1;
        if let Some(line) = self.lines.get_mut(&line) {
            line.ends[1].life = life;
            line.ends[1].link = Some(LinkId::In(number));
        }
        self.index.insert((host, life, LinkId::In(number)), (line, 1));
        let local = Some(address(host));
        self.input(host, Input::Accepted { link: number, peer: Some(peer), local });
        self.push(line, 0, Parcel::Opened);
    }

    /// Somebody on the way changes a byte of what matters: an epoch far ahead, a length, a name.
    fn forge(&mut self, bytes: &mut [u8]) {
        let at = [16, 24, 40, 4, 12, 2_214][self.prng.below(6) as usize];
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 0x80;
        }
    }

    /// Replication.
    fn flow(&mut self) {
        for host in 0..self.hosts.len() {
            let frozen = self.hosts[host].frozen_until > self.now;
            let Some(machine) = self.hosts[host].machine.as_ref() else { continue };
            let writes = !machine.is_replica() && self.hosts[host].pause.0 <= self.now;
            match self.hosts[host].follows {
                None if writes && !frozen => self.hosts[host].offset += self.prng.below(100),
                Some(master) if !frozen => {
                    let there = self.hosts[master].machine.is_some()
                        && self.hosts[master].frozen_until <= self.now;
                    let whole = !self.cut.contains(&(master, host));
                    if there && whole && self.prng.chance(3, 4) {
                        self.hosts[host].offset = self.hosts[master].offset;
                        self.hosts[host].heard = self.now;
                    }
                }
                _ => {}
            }
        }
    }

    fn fault(&mut self) {
        let count = self.hosts.len() as u64;
        let one = self.prng.below(count) as usize;
        match self.prng.below(8) {
            0 | 1 | 7 if self.faults.crashes => self.crash(one),
            2 if self.faults.double_crashes => {
                let masters: Vec<HostId> = (0..self.hosts.len())
                    .filter(|it| {
                        self.hosts[*it].machine.as_ref().is_some_and(|it| !it.is_replica())
                    })
                    .collect();
                for host in masters.into_iter().take(2) {
                    self.crash(host);
                }
            }
            3 if self.faults.cuts => self.cut_off(),
            4 if self.faults.pauses => {
                let pause = 500 + self.prng.below(6_000);
                self.hosts[one].frozen_until = self.now + pause;
                self.tell(format!("{one} stands still for {pause}"));
            }
            5 if self.faults.operators => {
                let how = if self.prng.chance(1, 2) { Failover::Agreed } else { Failover::Force };
                let done = self.command(one, |it| it.fail_over(how));
                self.tell(format!("{one} is told to take over: {how:?} {done}"));
            }
            6 if self.faults.moves => self.move_slot(),
            _ => {}
        }
    }

    /// Some hosts cannot reach the others, both ways or one way.
    fn cut_off(&mut self) {
        if !self.cut.is_empty() {
            self.cut.clear();
            self.tell("the network heals".into());
            for line in self.lines.keys().copied().collect::<Vec<_>>() {
                self.wake(line);
            }
            return;
        }
        let side: Vec<bool> = (0..self.hosts.len()).map(|_| self.prng.chance(1, 3)).collect();
        let both = self.prng.chance(2, 3);
        for from in 0..self.hosts.len() {
            for to in 0..self.hosts.len() {
                if side[from] != side[to] && (both || side[from]) {
                    self.cut.insert((from, to));
                }
            }
        }
        self.tell(format!("cut off: {side:?}, both ways: {both}"));
    }

    /// As redis-cli moves a slot: its new owner takes an epoch that nobody votes for.
    fn move_slot(&mut self) {
        let slot = self.prng.below(16_384) as u16;
        let masters: Vec<HostId> = (0..self.hosts.len())
            .filter(|it| self.hosts[*it].machine.as_ref().is_some_and(|it| !it.is_replica()))
            .collect();
        let from = masters.iter().copied().find(|it| self.owner_in(*it, slot) == Some(*it));
        let to = masters[self.prng.below(masters.len() as u64) as usize];
        let Some(from) = from.filter(|from| *from != to) else { return };
        let (old, new) = (self.hosts[from].id, self.hosts[to].id);
        let imports =
            self.command(to, |it| it.set_slot(slot, SetSlot::Importing(old.as_bytes()), 0));
        let gives = imports
            && self.command(from, |it| it.set_slot(slot, SetSlot::Migrating(new.as_bytes()), 0));
        if gives {
            self.command(to, |it| it.set_slot(slot, SetSlot::Node(new.as_bytes()), 0));
            let epoch = self.hosts[to].machine.as_ref().map_or(0, |it| it.me().config_epoch);
            self.check.set_free(epoch, new);
            let life = self.hosts[to].life;
            self.tell(format!("slot {slot} moves from {from} to {to}"));
            self.at(20, Event::Give { slot, from, to, life });
        } else {
            self.command(to, |it| it.set_slot(slot, SetSlot::Stable, 0));
        }
    }

    fn give(&mut self, slot: u16, from: HostId, to: HostId, life: u32) {
        if !self.lives(to, life) {
            return;
        }
        if self.hosts[to].machine.as_ref().is_some_and(|it| it.unsaved().is_some()) {
            return self.at(20, Event::Give { slot, from, to, life });
        }
        let new = self.hosts[to].id;
        self.command(from, |it| it.set_slot(slot, SetSlot::Node(new.as_bytes()), 0));
    }

    fn owner_in(&self, host: HostId, slot: u16) -> Option<HostId> {
        let machine = self.hosts[host].machine.as_ref()?;
        let id = machine.node(machine.table.owner(slot)?).id;
        self.hosts.iter().position(|it| it.id == id)
    }

    /// Everybody sees the same, all slots are served, and replicas follow whom they should.
    fn agreed(&mut self) -> Result<(), String> {
        for host in 0..self.hosts.len() {
            let machine = self.hosts[host].machine.as_ref().ok_or("somebody is down")?;
            if !machine.is_ok {
                return Err(format!("{host} does not serve: {}", machine.nodes_text()));
            }
            if machine.nodes.count() != self.hosts.len() {
                return Err(format!("{host} knows {}", machine.nodes_text()));
            }
            let down = crate::cluster::flags::Flags::PFAIL.and(crate::cluster::flags::Flags::FAIL);
            if let Some((_, node)) = machine.nodes.iter().find(|(_, node)| node.flags.has(down)) {
                return Err(format!("{host} takes {} for down", node.id));
            }
            let follows = machine.me().master.map(|it| machine.node(it).id);
            if follows != self.hosts[host].follows.map(|it| self.hosts[it].id) {
                return Err(format!(
                    "{host} follows {:?}, not {follows:?}",
                    self.hosts[host].follows
                ));
            }
            for slot in 0..16_384 {
                let owner = self.owner_in(host, slot);
                if owner != self.owner_in(0, slot) {
                    return Err(format!("{host} and 0 disagree on slot {slot}"));
                }
                let right =
                    owner.is_some_and(|it| self.check.claimed_last(slot, self.hosts[it].id));
                if !right {
                    return Err(format!("slot {slot} is {owner:?}'s, who did not claim it last"));
                }
            }
        }
        let machines = self.hosts.iter().filter_map(|it| it.machine.as_ref());
        let masters = machines.map(Cluster::me).filter(|it| it.votes());
        Check::shared(masters.map(|it| (it.id, it.config_epoch)))
    }

    fn at(&mut self, delay: u64, event: Event) {
        self.events.insert((self.now + delay, self.next), event);
        self.next += 1;
    }

    fn time(&self) -> Now {
        Now { mono: Mono(self.now * 1_000_000), wall: Wall((1_700_000_000_000 + self.now) * 1_000) }
    }

    fn tell(&mut self, what: String) {
        self.story.push(format!("{} {what}", self.now));
    }

    fn fail(&mut self, why: String) {
        self.failed.get_or_insert(why);
    }
}

fn address(host: HostId) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, host as u8 + 1))
}

fn settings() -> Settings {
    Settings { node_timeout: 1_000, replica_validity_factor: 0, ..Settings::default() }
}
