//! The world: three hosts, clients, links, time, and one seeded generator that decides everything.
//!
//! Events happen in the order of their time and, at the same time, in the order in which they were
//! asked for; so a seed is one run for ever. `trace_hash` says whether two runs were the same.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};

use ringfold::base::prng::Prng;
use ringfold::node::core::Input;
use ringfold::replication::psync::Replid;

use crate::client::Client;
use crate::disk::Queue;
use crate::history::Histories;
use crate::host::{Host, Pending};
use crate::net::{Link, Who};
use crate::plan::{Plan, Plant};

/// What happens at a time.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    Turn {
        host: usize,
        core: usize,
        incarnation: u64,
    },
    Carry {
        link: usize,
        side: usize,
    },
    Client {
        client: usize,
    },
    Dialled {
        from: usize,
        core: usize,
        incarnation: u64,
        to: usize,
        number: u64,
        refused: bool,
        /// For a flow of the stream.
        flow: bool,
    },
    Disk {
        host: usize,
        incarnation: u64,
        queue: Queue,
    },
    Fault,
    Start {
        host: usize,
    },
    Calm,
}

/// See the file's header.
pub struct World {
    pub plan: Plan,
    pub prng: Prng,
    pub at: u64,
    pub hosts: Vec<Host>,
    pub links: Vec<Link>,
    pub clients: Vec<Client>,
    pub histories: Histories,
    /// What each host ever had of a history, executed: what WAIT may count.
    pub had: BTreeMap<(usize, Replid), u64>,
    /// Whom the operator wants to be master.
    pub master: usize,
    /// Something that concerns all keys happened so often.
    pub epoch: u64,
    pub unsettled_until: u64,
    pub refusing: bool,
    pub healing: bool,
    pub quiet: bool,
    pub violation: Option<String>,
    pub checks: u64,
    pub trace_hash: u64,
    pub tail: VecDeque<String>,
    pub verbose: bool,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    sequence: u64,
}

pub const MS: u64 = 1_000_000;
const TAIL_LINES: usize = 200_000;

impl World {
    pub fn new(plan: Plan, verbose: bool) -> Self {
        let mut prng = Prng::new(plan.seed);
        let skews: Vec<u64> =
            (0..3).map(|_| if plan.skew { prng.below(80_000) } else { 0 }).collect();
        let mut world = Self {
            prng,
            at: 0,
            hosts: skews.into_iter().map(Host::new).collect(),
            links: Vec::new(),
            clients: Vec::new(),
            histories: Histories::default(),
            had: BTreeMap::new(),
            master: 0,
            epoch: 0,
            unsettled_until: 0,
            refusing: false,
            healing: false,
            quiet: false,
            violation: None,
            checks: 0,
            trace_hash: 0xcbf2_9ce4_8422_2325,
            tail: VecDeque::new(),
            verbose,
            queue: BinaryHeap::new(),
            sequence: 0,
            plan,
        };
        for host in 0..3 {
            world.start(host);
        }
        for id in 0..world.plan.clients {
            world.clients.push(Client { id, ..Client::default() });
            let at = world.prng.below(50 * MS);
            world.schedule(at, Event::Client { client: id });
        }
        world.schedule(200 * MS, Event::Fault);
        world
    }

    /// Runs to the end, or to the first violation.
    pub fn run(&mut self) {
        self.run_until(self.plan.run_ms * MS);
        self.heal();
        // Retries are a second apart, full syncs of one that had many up to a minute; a silent link takes four seconds.
        let (end, mut rounds) = (self.at + 100_000 * MS, 0);
        while self.violation.is_none() && self.at < end {
            let next = self.at + 100 * MS;
            self.run_until(next);
            if self.is_healed() == Ok(()) {
                return self.check_all();
            }
            rounds += 1;
            if rounds % 50 == 0 {
                self.tell_all();
            }
        }
        if self.violation.is_none()
            && let Err(why) = self.is_healed()
        {
            self.fail(format!("not healed after 100 seconds without faults: {why}"));
        }
    }

    fn run_until(&mut self, end: u64) {
        while self.violation.is_none() {
            let Some(Reverse((at, ..))) = self.queue.peek() else { break };
            if *at > end {
                break;
            }
            let Some(Reverse((at, _, event))) = self.queue.pop() else { break };
            self.at = at;
            self.happen(event);
        }
        self.at = self.at.max(end);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Turn { host, core, incarnation } => {
                let it = &self.hosts[host];
                if it.alive && it.incarnation == incarnation && it.seats[core].wake == Some(self.at)
                {
                    self.turn(host, core);
                }
            }
            Event::Carry { link, side } => self.deliver(link, side),
            Event::Client { client } => self.client_acts(client),
            Event::Dialled { from, core, incarnation, to, number, refused, flow } => {
                let it = &self.hosts[from];
                if it.alive && it.incarnation == incarnation && (flow || it.dial == number) {
                    self.dialled((from, core), to, refused, flow.then_some(number));
                }
            }
            Event::Disk { host, incarnation, queue } => {
                if self.hosts[host].alive && self.hosts[host].incarnation == incarnation {
                    self.disk(host, queue);
                }
            }
            Event::Fault => self.fault(),
            Event::Start { host } => self.start(host),
            Event::Calm => self.refusing = false,
        }
    }

    pub fn schedule(&mut self, at: u64, event: Event) {
        self.sequence += 1;
        self.queue.push(Reverse((at.max(self.at), self.sequence, event)));
    }

    pub fn start(&mut self, host: usize) {
        if self.hosts[host].alive {
            return;
        }
        let master = (host != self.master).then_some(self.master);
        let at = self.at;
        let plan = self.plan.clone();
        self.hosts[host].start(host, at, &plan, master);
        self.trace(|| format!("h{host} starts, following {master:?}"));
        let now = self.hosts[host].now(at);
        let seat = &mut self.hosts[host].seats[0];
        seat.core.begin(now, &mut seat.out);
        self.after_turn(host, 0, true);
        for core in 0..self.hosts[host].seats.len() {
            self.wake(host, core, 1_000);
        }
    }

    /// The process is gone, and the kernel resets its connections.
    pub fn kill(&mut self, host: usize) {
        self.trace(|| format!("h{host} is killed"));
        self.hosts[host].alive = false;
        self.epoch += 1;
        let who = Who::Host(host, self.hosts[host].incarnation);
        for link in 0..self.links.len() {
            if self.links[link].ends.iter().any(|it| it.who == who) {
                self.reset(link);
            }
        }
        let power = self.plan.power;
        let it = &mut self.hosts[host];
        it.disk.crash(power, &mut self.prng);
        it.owes = it.promised.take();
        it.seats.clear();
        it.roads.clear();
    }

    /// RST: some of what is under way still arrives.
    pub fn reset(&mut self, link: usize) {
        if self.links[link].dead {
            return;
        }
        self.trace(|| format!("link {link} is cut"));
        for side in 0..2 {
            let waiting = self.links[link].to[side].bytes.len() as u64;
            let some = usize::try_from(self.prng.below(waiting + 1)).unwrap();
            let bytes: Vec<u8> = self.links[link].to[side].bytes.drain(..some).collect();
            if !self.links[link].silent {
                self.hand(link, side, bytes);
            }
        }
        self.links[link].dead = true;
        for side in 0..2 {
            self.links[link].to[side].bytes.clear();
            self.tell_ended(link, side);
        }
    }

    /// An end learns that the link is gone.
    pub fn tell_ended(&mut self, link: usize, side: usize) {
        let end = &mut self.links[link].ends[side];
        if end.told || end.closed {
            return;
        }
        match (end.who, end.seat) {
            (Who::Client(client), _) => {
                end.told = true;
                self.client_lost(client, link);
            }
            (Who::Host(host, incarnation), Some((core, conn))) => {
                let it = &mut self.hosts[host];
                if it.alive && it.incarnation == incarnation {
                    self.links[link].ends[side].told = true;
                    it.seats[core].pending.push(Pending::Input(Input::Ended { conn }));
                    self.wake(host, core, 1_000);
                }
            }
            (Who::Host(..), None) => {} // Told when it arrives on its core.
        }
    }

    /// Something waits in a pipe: it will be delivered.
    pub fn carry(&mut self, link: usize, side: usize) {
        let it = &mut self.links[link];
        let nothing = it.to[side].bytes.is_empty() && !it.to[side].fin;
        if it.to[side].scheduled || it.dead || it.silent || nothing {
            return;
        }
        it.to[side].scheduled = true;
        let after = 1_000 * (5 + self.prng.below(self.plan.delay_us));
        self.schedule(self.at + after, Event::Carry { link, side });
    }

    fn deliver(&mut self, link: usize, side: usize) {
        let it = &mut self.links[link];
        it.to[side].scheduled = false;
        let arrived = matches!(it.ends[side].who, Who::Client(_)) || it.ends[side].seat.is_some();
        if it.dead || it.silent || it.ends[side].paused || !arrived {
            return;
        }
        let waiting = it.to[side].bytes.len();
        let mut some = waiting.min(64 * 1024);
        if self.plan.torn && self.prng.chance(1, 2) {
            some = 1 + usize::try_from(self.prng.below(some.max(1) as u64)).unwrap();
        }
        let some = some.min(waiting);
        let mut bytes: Vec<u8> = self.links[link].to[side].bytes.drain(..some).collect();
        let between_hosts = self.links[link].ends.iter().all(|it| matches!(it.who, Who::Host(..)));
        match self.plan.plant {
            Some(Plant::PieceTwice)
                if between_hosts
                    && bytes.starts_with(b"*")
                    && bytes.ends_with(b"\r\n")
                    && self.prng.chance(1, 8) =>
            {
                bytes.extend_from_within(..);
            }
            Some(Plant::TailLost)
                if between_hosts && bytes.starts_with(b"*") && self.prng.chance(1, 8) =>
            {
                bytes.clear();
            }
            _ => {}
        }
        self.mix(&[2, link as u64, side as u64, some as u64]);
        if !bytes.is_empty() {
            self.hand(link, side, bytes);
        }
        self.make_room(link, side);
        let it = &self.links[link];
        if it.to[side].bytes.is_empty() && it.to[side].fin {
            self.tell_ended(link, side);
            if self.links[link].ends.iter().all(|end| end.closed || end.told) {
                self.links[link].dead = true;
            }
            return;
        }
        self.carry(link, side);
    }

    /// Bytes reach an end.
    fn hand(&mut self, link: usize, side: usize, bytes: Vec<u8>) {
        if bytes.is_empty() || self.links[link].ends[side].closed {
            return;
        }
        match (self.links[link].ends[side].who, self.links[link].ends[side].seat) {
            (Who::Client(client), _) => self.client_reads(client, &bytes),
            (Who::Host(host, incarnation), Some((core, conn))) => {
                let it = &mut self.hosts[host];
                if it.alive && it.incarnation == incarnation {
                    it.seats[core].pending.push(Pending::Bytes(conn, bytes));
                    self.wake(host, core, 1_000);
                }
            }
            (Who::Host(..), None) => {}
        }
    }

    /// A sender that found the pipe full may go on.
    fn make_room(&mut self, link: usize, side: usize) {
        let it = &self.links[link];
        if it.to[side].bytes.len() >= it.room {
            return;
        }
        let (Who::Host(host, incarnation), Some((core, conn))) =
            (it.ends[1 - side].who, it.ends[1 - side].seat)
        else {
            return;
        };
        let it = &mut self.hosts[host];
        if it.alive && it.incarnation == incarnation && it.seats[core].blocked.contains(&conn) {
            it.seats[core].pending.push(Pending::Input(Input::Drained { conn }));
            self.wake(host, core, 1_000);
        }
    }

    pub fn fail(&mut self, why: String) {
        self.violation.get_or_insert(why);
    }

    pub fn try_or_fail(&mut self, what: impl FnOnce() -> String, result: Result<(), String>) {
        if let Err(why) = result {
            self.fail(format!("{} {why}", what()));
        }
    }

    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if self.verbose {
            let line = format!("{:>10.3} ms  {}", self.at as f64 / MS as f64, line());
            self.tail.push_back(line);
            if self.tail.len() > TAIL_LINES {
                self.tail.pop_front();
            }
        }
    }

    pub fn mix(&mut self, numbers: &[u64]) {
        for number in numbers {
            self.trace_hash =
                (self.trace_hash.rotate_left(5) ^ number).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
