//! One turn of a core, as `runtime/looping.rs` gives it: the same order of reaping, turning, feeding,
//! acting, posting and sending, with the world's pipes in place of the kernel's sockets.

use ringfold::node::core::Input;
use ringfold::node::message::{self, Message};
use ringfold::node::outbox::{Action, Conn, Level};
use ringfold::node::session::Ends;

use crate::disk::{Queue, Step, Trouble};
use crate::host::{Parcel, Pending, Seat, named};
use crate::net::{Link, Who};
use crate::plan::Plant;
use crate::world::{Event, World};

impl World {
    /// Makes a core run soon.
    pub fn wake(&mut self, host: usize, core: usize, after_ns: u64) {
        let at = self.at + after_ns;
        let seat = &mut self.hosts[host].seats[core];
        if seat.wake.is_none_or(|wake| wake > at) {
            seat.wake = Some(at);
            let incarnation = self.hosts[host].incarnation;
            self.schedule(at, Event::Turn { host, core, incarnation });
        }
    }

    pub fn turn(&mut self, host: usize, core: usize) {
        self.hosts[host].seats[core].wake = None;
        self.mix(&[1, host as u64, core as u64, self.at]);
        self.collect(host, core);
        let now = self.hosts[host].now(self.at);
        let seat = &mut self.hosts[host].seats[core];
        let pending = std::mem::take(&mut seat.pending);
        let quiet = pending.is_empty();
        let mut bytes = Vec::new();
        let mut inputs = Vec::new();
        let order: Vec<_> = pending
            .into_iter()
            .map(|it| match it {
                Pending::Input(input) => Err(input),
                Pending::Bytes(conn, piece) => {
                    bytes.push(piece);
                    Ok((conn, bytes.len() - 1))
                }
            })
            .collect();
        for it in order {
            inputs.push(match it {
                Err(input) => input,
                Ok((conn, at)) => Input::Received { conn, bytes: &bytes[at], wire: conn.0 + 1 },
            });
        }
        for input in &inputs {
            if let Input::Drained { conn } = input {
                seat.blocked.retain(|it| it != conn);
            }
        }
        seat.core.turn(now, &mut inputs, &mut seat.out);
        drop(inputs);
        let Seat { out, lent, .. } = seat;
        lent.retain(|conn| !out.returned.contains(conn));
        out.returned.clear();
        lent.append(&mut out.lent);
        self.after_turn(host, core, quiet);
    }

    /// What a turn wants done, in the runtime's order.
    pub fn after_turn(&mut self, host: usize, core: usize, quiet: bool) {
        let late = self.plan.plant == Some(Plant::RepliesFirst) && self.prng.chance(1, 3);
        if !late {
            self.feed(host, core);
        }
        self.act(host, core);
        if core == 0 {
            self.look(host);
        }
        self.post(host, core); // Replies leave here, too.
        if core == 0 {
            self.look_closer(host);
        }
        self.reply(host, core);
        if late {
            self.feed(host, core);
        }
        self.close(host, core);
        if !self.hosts[host].alive {
            return;
        }
        let seat = &self.hosts[host].seats[core];
        let busy = !quiet || seat.core.is_busy() || !seat.pending.is_empty();
        let waits = self.hosts[host].roads.iter().any(|from| !from[core].is_empty());
        let mut after = if busy || waits {
            1_000 + self.prng.below(40_000)
        } else {
            self.hosts[host].seats[core].core.sleep_ms() * 1_000_000
        };
        if self.plan.stalls && !self.healing && self.prng.chance(1, 400) {
            after = self.prng.below(60_000_000);
        }
        self.wake(host, core, after);
    }

    /// Takes from each road what has come: all of it, or some, in order.
    fn collect(&mut self, host: usize, core: usize) {
        for from in 0..self.hosts[host].roads.len() {
            let waiting = self.hosts[host].roads[from][core].len();
            let mut take = waiting;
            if self.plan.partial_mail && waiting > 0 {
                take = usize::try_from(self.prng.below(waiting as u64 + 1)).unwrap();
            }
            for _ in 0..take {
                let Some(parcel) = self.hosts[host].roads[from][core].pop_front() else { break };
                match parcel {
                    Parcel::Message(Message::Freeze)
                        if self.plan.plant == Some(Plant::CoreNotFrozen)
                            && core + 1 == self.hosts[host].seats.len() =>
                    {
                        self.hosts[host].roads[core][0].push_back(Parcel::Message(Message::Frozen));
                        self.wake(host, 0, 1_000);
                    }
                    Parcel::Message(message) => {
                        let input = Input::Message { from, message };
                        self.hosts[host].seats[core].pending.push(Pending::Input(input));
                    }
                    Parcel::Client(link, side) => self.adopt(host, core, link, side, None),
                    Parcel::Session(link, side, session) => {
                        self.adopt(host, core, link, side, Some(session));
                    }
                }
            }
        }
    }

    /// A connection gets its number on a core.
    pub fn adopt(
        &mut self,
        host: usize,
        core: usize,
        link: usize,
        side: usize,
        session: Option<Box<ringfold::node::session::Session>>,
    ) {
        let conn = self.hosts[host].take_conn(core, link, side);
        self.links[link].ends[side].seat = Some((core, conn));
        let ends = Ends::Local;
        let input = match session {
            None => Input::Opened { conn, ends },
            Some(session) => Input::Moved { conn, session },
        };
        self.hosts[host].seats[core].pending.push(Pending::Input(input));
        if self.links[link].dead {
            self.tell_ended(link, side);
        }
        self.carry(link, side);
    }

    /// Bytes to replicas, before anything else of the turn leaves.
    fn feed(&mut self, host: usize, core: usize) {
        if core != 0 {
            return;
        }
        let mut feeds = Vec::new();
        self.hosts[host].seats[0].core.feeds(&mut feeds);
        for conn in feeds {
            if self.hosts[host].seats[0].blocked.contains(&conn) {
                continue;
            }
            let Some((link, side)) = self.hosts[host].link_of(0, conn) else {
                return self.fail(format!("h{host} feeds {conn:?}, which is not open"));
            };
            loop {
                let bytes = self.hosts[host].seats[0].core.feed_bytes(conn).to_vec();
                if bytes.is_empty() {
                    break;
                }
                let sent = self.offer(link, 1 - side, &bytes);
                if sent == 0 {
                    self.hosts[host].seats[0].blocked.push(conn);
                    break;
                }
                let seat = &mut self.hosts[host].seats[0];
                seat.core.fed(conn, sent, &mut seat.out);
            }
            self.carry(link, 1 - side);
        }
    }

    fn offer(&mut self, link: usize, side: usize, bytes: &[u8]) -> usize {
        match self.plan.plant {
            Some(Plant::PingUncounted) => {
                const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";
                if bytes.starts_with(PING) && self.prng.chance(1, 2) {
                    return PING.len();
                }
            }
            Some(Plant::SelectIgnored) if bytes.starts_with(b"*2\r\n$6\r\nSELECT\r\n$1\r\n") => {
                const DIGIT: usize = 20;
                let mut bytes = bytes.to_vec();
                if let Some(digit) = bytes.get_mut(DIGIT) {
                    *digit = b'0';
                }
                return self.links[link].offer(side, &bytes);
            }
            _ => {}
        }
        self.links[link].offer(side, bytes)
    }

    /// Everything that the core wants done, but for closing.
    fn act(&mut self, host: usize, core: usize) {
        let actions = std::mem::take(&mut self.hosts[host].seats[core].out.actions);
        for action in actions {
            match action {
                close @ (Action::Close(_) | Action::CloseNow(_)) => {
                    self.hosts[host].seats[core].out.actions.push(close);
                }
                Action::Gather(_) => {} // The network here has no packets.
                Action::Bus(_) => {} // These are no nodes of a cluster: `src/cluster/sim.rs` has those.
                Action::Pause(conn) => self.set_paused(host, core, conn, true),
                Action::Resume(conn) => self.set_paused(host, core, conn, false),
                Action::Move { conn, core: to, mut session } => {
                    let Some((link, side)) = self.hosts[host].link_of(core, conn) else { continue };
                    self.hosts[host].seats[core].conns[conn.0 as usize] = None;
                    self.links[link].ends[side].seat = None;
                    // What the kernel hands over before it lets go of the socket.
                    let waiting = self.links[link].to[side].bytes.len() as u64;
                    let some = usize::try_from(self.prng.below(waiting + 1)).unwrap();
                    let bytes: Vec<u8> = self.links[link].to[side].bytes.drain(..some).collect();
                    if !bytes.is_empty() {
                        session.keep(&bytes);
                    }
                    // Its bytes for other cores of this turn must not come after it.
                    self.hosts[host].roads[core][to]
                        .push_back(Parcel::Session(link, side, session));
                    self.wake(host, to, 1_000);
                }
                Action::Dial { host: to, .. } => {
                    self.hosts[host].dial += 1;
                    let number = self.hosts[host].dial;
                    self.dial((host, 0), named(&to), number, false);
                }
                Action::DialFlow { number, host: to, .. } => {
                    self.dial((host, core), named(&to), number, true);
                }
                Action::Save(step) => {
                    self.hosts[host].disk.steps.push_back(Step::Save(step));
                    self.file_work(host, Queue::Files);
                }
                Action::LoadFile { path } => {
                    self.hosts[host].disk.steps.push_back(Step::Read(path));
                    self.file_work(host, Queue::Files);
                }
                Action::Spill(step) => {
                    self.hosts[host].disk.spills.push_back(step);
                    self.file_work(host, Queue::Spill);
                }
                Action::Aof(step) => {
                    self.hosts[host].disk.appends.push_back(step);
                    self.file_work(host, Queue::Append);
                }
                Action::Ready => {
                    self.hosts[host].ready = true;
                    self.trace(|| format!("h{host} is ready"));
                }
                Action::Exit { code } => self.fail(format!("h{host} ends itself with {code}")),
                Action::Log { level, text } => {
                    if level >= Level::Notice {
                        self.trace(|| format!("h{host}.{core} says: {text}"));
                    }
                }
                Action::SettingsChanged
                | Action::GiveBackMemory
                | Action::Report(_)
                | Action::Sleep { .. }
                | Action::Text { .. }
                | Action::Certificates(_)
                | Action::Migrate(_) => {}
            }
        }
    }

    fn set_paused(&mut self, host: usize, core: usize, conn: Conn, paused: bool) {
        if let Some((link, side)) = self.hosts[host].link_of(core, conn) {
            self.links[link].ends[side].paused = paused;
            self.carry(link, side);
        }
    }

    fn dial(&mut self, (from, core): (usize, usize), to: usize, number: u64, flow: bool) {
        let incarnation = self.hosts[from].incarnation;
        let refused = self.refusing || !self.hosts[to].alive;
        let after = 1_000 * (20 + self.prng.below(2 * self.plan.delay_us + 200));
        self.trace(|| format!("h{from} dials h{to}{}", if refused { ", in vain" } else { "" }));
        let event = Event::Dialled { from, core, incarnation, to, number, refused, flow };
        self.schedule(self.at + after, event);
    }

    /// A dial was decided: the link is there, and the other side's core 0 accepts it.
    pub fn dialled(
        &mut self,
        (from, core): (usize, usize),
        to: usize,
        refused: bool,
        flow: Option<u64>,
    ) {
        let result = if refused || !self.hosts[to].alive {
            Err("Connection refused".to_string())
        } else {
            let ends = (
                Who::Host(from, self.hosts[from].incarnation),
                Who::Host(to, self.hosts[to].incarnation),
            );
            let link = self.connect(ends.0, ends.1);
            let conn = self.hosts[from].take_conn(core, link, 0);
            self.links[link].ends[0].seat = Some((core, conn));
            self.accept(to, link, 1);
            Ok((conn, Ends::Local))
        };
        let input = match flow {
            None => Input::Dialled { result },
            Some(number) => Input::FlowDialled { number, result },
        };
        self.hosts[from].seats[core].pending.push(Pending::Input(input));
        self.wake(from, core, 1_000);
    }

    pub fn connect(&mut self, a: Who, b: Who) -> usize {
        let room = if self.plan.narrow && !self.healing {
            [40, 200, 1_000, 20_000][usize::try_from(self.prng.below(4)).unwrap()]
        } else {
            1 << 20
        };
        self.links.push(Link::new(a, b, room));
        self.links.len() - 1
    }

    /// Connections go to the cores in turn.
    pub fn accept(&mut self, host: usize, link: usize, side: usize) {
        let core = self.hosts[host].next_core;
        self.hosts[host].next_core = (core + 1) % self.hosts[host].seats.len();
        if core == 0 {
            self.adopt(host, 0, link, side, None);
        } else {
            self.hosts[host].roads[0][core].push_back(Parcel::Client(link, side));
        }
        self.wake(host, core, 2_000);
    }

    fn file_work(&mut self, host: usize, queue: Queue) {
        let incarnation = self.hosts[host].incarnation;
        let after = 1_000 * (10 + self.prng.below(300));
        self.schedule(self.at + after, Event::Disk { host, incarnation, queue });
    }

    /// The disk does the oldest step of a queue.
    pub fn disk(&mut self, host: usize, queue: Queue) {
        let odds = if queue == Queue::Append { 60 } else { 12 };
        let fails = self.plan.disk_faults && !self.healing && self.prng.chance(1, odds);
        let piece = 1 + usize::try_from(self.prng.below(4_000)).unwrap();
        let trouble = Trouble { fails, plant: self.plan.plant };
        let event = self.hosts[host].disk.step(queue, trouble, piece, &mut self.prng);
        if let Some(event) = event {
            self.mix(&[4, host as u64, queue as u64, u64::from(fails)]);
            self.hosts[host].seats[0].pending.push(Pending::Input(Input::File(event)));
            self.wake(host, 0, 1_000);
        }
    }

    /// Mail onto the roads.
    fn post(&mut self, host: usize, core: usize) {
        let mut mail = std::mem::take(&mut self.hosts[host].seats[core].out.mail);
        for (to, messages) in mail.iter_mut().enumerate() {
            let mut some = false;
            for message in messages.iter_mut() {
                some |= !match message {
                    Message::Replies { frames, lent: 1.., .. } => {
                        message::hand_out(frames, |conn, _, bytes| {
                            self.send_lent(host, to, conn, bytes)
                        })
                    }
                    _ => false,
                };
            }
            // A core that rests is not woken for sockets that come back.
            some |= !messages.is_empty() && self.hosts[host].seats[to].core.listens_for_returns();
            let road = &mut self.hosts[host].roads[core][to];
            road.extend(messages.drain(..).map(Parcel::Message));
            let length = road.len();
            if self.plan.plant == Some(Plant::RoadReordered) && length > 1 && self.prng.chance(1, 4)
            {
                self.hosts[host].roads[core][to].swap(length - 1, length - 2);
            }
            if length > ringfold::base::limits::ROAD_ITEMS_MAX * 4 {
                self.fail(format!("the road from h{host}.{core} to core {to} has {length} items"));
            }
            if some {
                let after = 500 + self.prng.below(30_000);
                self.wake(host, to, after);
            }
        }
        self.hosts[host].seats[core].out.mail = mail;
    }

    /// A reply to a client of core `to` leaves from the core that made it; how much of it the socket took.
    fn send_lent(&mut self, host: usize, to: usize, conn: Conn, bytes: &[u8]) -> usize {
        if !self.hosts[host].seats[to].lent.contains(&conn) {
            self.fail(format!("h{host}: {conn:?} of core {to} is written to and was not lent"));
        }
        let Some((link, side)) = self.hosts[host].link_of(to, conn) else { return 0 };
        if self.links[link].dead || bytes.is_empty() {
            return 0;
        }
        let partly = self.plan.narrow && self.prng.chance(1, 4);
        let some = if partly { self.prng.below(bytes.len() as u64) } else { bytes.len() as u64 };
        let took = usize::try_from(some).unwrap();
        if let Who::Client(client) = self.links[link].ends[1 - side].who {
            self.leaves(host, client, &bytes[..took]);
        }
        self.links[link].push(1 - side, &bytes[..took]);
        self.carry(link, 1 - side);
        if self.plan.plant == Some(Plant::LentRestLost) { bytes.len() } else { took }
    }

    /// Replies of all connections leave together.
    fn reply(&mut self, host: usize, core: usize) {
        let out = &mut self.hosts[host].seats[core].out;
        let segments = out.segments().to_vec();
        let bytes = std::mem::take(&mut out.bytes);
        out.clear_segments();
        for segment in segments {
            let Some((link, side)) = self.hosts[host].link_of(core, segment.conn) else {
                return self.fail(format!(
                    "h{host}.{core} writes to {:?}, which is not open",
                    segment.conn
                ));
            };
            let bytes = &bytes[segment.start..segment.end];
            if self.hosts[host].seats[core].lent.contains(&segment.conn) {
                return self
                    .fail(format!("h{host}.{core} writes to {:?}, which is lent", segment.conn));
            }
            if self.links[link].dead {
                continue;
            }
            if let Who::Client(client) = self.links[link].ends[1 - side].who {
                self.leaves(host, client, bytes);
                if self.plan.plant == Some(Plant::ReplyLost) && self.prng.chance(1, 200) {
                    continue;
                }
            }
            self.links[link].push(1 - side, bytes);
            self.carry(link, 1 - side);
        }
    }

    fn close(&mut self, host: usize, core: usize) {
        let actions = std::mem::take(&mut self.hosts[host].seats[core].out.actions);
        for action in actions {
            let (conn, now) = match action {
                Action::Close(conn) => (conn, false),
                Action::CloseNow(conn) => (conn, true),
                _ => continue,
            };
            let seat = &mut self.hosts[host].seats[core];
            seat.blocked.retain(|it| *it != conn);
            seat.pending.push(Pending::Input(Input::Ended { conn }));
            let Some((link, side)) = self.hosts[host].link_of(core, conn) else { continue };
            self.hosts[host].seats[core].conns[conn.0 as usize] = None;
            self.trace(|| format!("h{host}.{core} closes {conn:?} of link {link}"));
            let it = &mut self.links[link];
            (it.ends[side].seat, it.ends[side].closed) = (None, true);
            it.to[side].bytes.clear();
            if now {
                it.to[1 - side].bytes.clear();
            }
            it.to[1 - side].fin = true;
            self.carry(link, 1 - side);
        }
    }
}
