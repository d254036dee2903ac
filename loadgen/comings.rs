//! How clients come, go, and are cut off: the life of [`Clients`]' connections.
//!
//! A client's time to connect, and to its first reply, count from when the plan has it dial, or from
//! when it was cut off. What it had in flight is abandoned; what it was to send waits until it is
//! back, and is late by that.

use crate::client::{Action, Clients, Comings, State, Timer, narrow};
use crate::crowd;
use crate::draw::{Draw, nanoseconds};
use crate::failure::Failure;
use crate::pace::Pacer;
use crate::places::Service;
use crate::plan::{Kind, Plan};
use crate::tally::Storm;
use std::io;

/// A lost connection is dialed again after this on average: half to one and a half of it, so that a
/// million do not come at once where nobody asked for it.
const REDIAL_NS: u64 = 100_000_000;
/// Clients that churn looks at for one that is up.
const CHURN_TRIES: u32 = 64;

impl Clients {
    /// Prepares everything that the plan says about coming and going.
    pub(crate) fn expect_comings(&mut self, plan: &Plan, thread: u32) {
        let own = narrow(self.count());
        let share = f64::from(own) / plan.connections().max(1) as f64;
        let dials_max = match plan.crowd.dials_max {
            0 => crowd::DIALS_MAX,
            given => given,
        };
        let rate = plan.crowd.connect_rate.filter(|_| own > 0);
        let mut storms = Vec::new();
        for (storm, index) in plan.crowd.storms.iter().zip(0u64..) {
            let taken = |it: &u32| crowd::is_taken(plan, index, storm.share, self.connection(*it));
            storms.push((nanoseconds(storm.at_seconds), (0..own).filter(taken).collect()));
        }
        storms.sort_by_key(|it: &(u64, Vec<u32>)| std::cmp::Reverse(it.0));
        self.comings = Comings {
            introduction: plan.target.introduction(plan.crowd.greet),
            reads: plan.target.introduction_of_readers(plan.crowd.greet),
            reconnect: plan.crowd.reconnect || plan.target.service != Service::One,
            connect_pace: rate
                .map(|rate| Pacer::new(0, false, rate * share, 1, u64::MAX, u64::from(own))),
            dials_max: dials_max.div_ceil(plan.threads.max(1)),
            churn: crowd::churn(plan, thread, own),
            storms,
            ..Comings::default()
        };
        if !plan.crowd.ramp.is_empty() {
            let mut first = 0;
            let groups: Vec<u64> = plan.groups.iter().map(|it| u64::from(it.connections)).collect();
            let mut index = 0;
            for count in groups {
                while index < own && self.connection(index) < first + count {
                    let at = crowd::dial_time(plan, self.connection(index), first, count);
                    self.comings.wheel.add(at, Timer::Dial(index));
                    index += 1;
                }
                first += count;
            }
            self.comings.dialed = own;
        }
    }

    /// What the driver shall do next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.comings.actions.pop_front()
    }

    /// Lets clients dial that come before the start; whether all are there.
    pub fn gather(&mut self, now: u64) -> bool {
        let own = narrow(self.count());
        while self.comings.dialed < own && self.comings.dialing < self.comings.dials_max {
            let since = match &mut self.comings.connect_pace {
                None => now,
                Some(pace) => match pace.due(now) {
                    Some(slot) => slot.at,
                    None => break,
                },
            };
            self.dial(self.comings.dialed, since);
            self.comings.dialed += 1;
        }
        self.turn_wheel(now);
        self.comings.up == own
    }

    /// When [`Self::gather`] has something to do next by itself.
    #[must_use]
    pub fn next_gather(&self) -> Option<u64> {
        let comings = &self.comings;
        let more = comings.dialed < narrow(self.count()) && comings.dialing < comings.dials_max;
        let pace = comings.connect_pace.as_ref().and_then(|it| it.peek()).filter(|_| more);
        pace.map(|it| it.at).into_iter().chain(comings.wheel.next()).min()
    }

    /// When [`Self::timers`] has something to do next.
    #[must_use]
    pub fn next_timer(&self) -> Option<u64> {
        let comings = &self.comings;
        let churn = comings.churn.as_ref().and_then(|it| it.peek());
        let storm = comings.storms.last().map(|it| it.0);
        let all = [churn.map(|it| it.at), storm, comings.wheel.next()];
        all.into_iter().flatten().min()
    }

    /// Does what the time has come for, beside the slots of open loops.
    pub fn timers(&mut self, now: u64) {
        self.turn_wheel(now);
        while let Some(churn) = &mut self.comings.churn
            && churn.due(now).is_some()
        {
            self.replace_one(now);
        }
        while self.comings.storms.last().is_some_and(|it| it.0 <= now) {
            if let Some((_, taken)) = self.comings.storms.pop() {
                self.storm(&taken, now);
            }
        }
    }

    fn turn_wheel(&mut self, now: u64) {
        while let Some((at, timer)) = self.comings.wheel.due(now) {
            match timer {
                Timer::Think(index) => self.touch(index),
                Timer::Dial(index) if self.rows[index as usize].again => self.dial(index, at),
                Timer::Dial(index) => self.comings.queue.push_back((index, at)),
            }
        }
        while self.comings.dialing < self.comings.dials_max
            && let Some((index, since)) = self.comings.queue.pop_front()
        {
            self.dial(index, since);
        }
    }

    /// Cuts `taken` off and lets them dial at once.
    pub fn storm(&mut self, taken: &[u32], now: u64) {
        let mut storm = Storm { at_ns: now, ..Storm::default() };
        for &index in taken {
            if self.rows[index as usize].state != State::Away {
                self.cut(index);
                self.dial(index, now);
                storm.cut += 1;
            }
        }
        storm.away = storm.cut;
        self.tally.storms.push(storm);
    }

    /// A storm over all clients.
    pub fn storm_all(&mut self, now: u64) {
        let all: Vec<u32> = (0..narrow(self.count())).collect();
        self.storm(&all, now);
    }

    /// How many clients are connected and introduced.
    #[must_use]
    pub fn up(&self) -> u32 {
        self.comings.up
    }

    /// Client `index` is connected: puts its introduction into `out`.
    pub fn connected(&mut self, index: u32, now: u64, out: &mut Vec<u8>) {
        let row = &mut self.rows[index as usize];
        if row.state != State::Dialing {
            return;
        }
        let since = self.runs.front_mut(row.runs).map_or(now, |it| it.since);
        let times = if row.again { &mut self.tally.reconnect } else { &mut self.tally.connect };
        times.record(now.saturating_sub(since), 1);
        self.interval.counts.connects += 1;
        self.comings.dialing -= 1;
        row.state = State::Greeting;
        let reads = self.groups[usize::from(row.group)].reads;
        let (bytes, count) = self.comings.introduction_of(reads);
        row.greetings = *count;
        if row.greetings == 0 {
            self.arrive(index, now, out);
        } else {
            out.extend_from_slice(bytes);
        }
    }

    /// Takes replies to the introduction; returns what follows them.
    pub(crate) fn greeted<'b>(
        &mut self,
        index: u32,
        bytes: &'b [u8],
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<&'b [u8], Failure> {
        let row = &mut self.rows[index as usize];
        let before = row.greetings;
        let limit = u32::from(before);
        let found = row.scanner.scan(bytes, limit).map_err(|it| Failure::NoResp(it.0))?;
        if let Some(line) = found.error {
            if self.comings.reconnect {
                // Too many clients, perhaps: it will be closed, and come again.
                self.tally.error(&line);
                return Ok(&[]);
            }
            let line = String::from_utf8_lossy(&line).into_owned();
            return Err(Failure::Replied(format!("{line} (while connecting)")));
        }
        row.greetings -= u8::try_from(found.replies).unwrap_or(before);
        let reads = self.groups[usize::from(row.group)].reads;
        if before == self.comings.introduction_of(reads).1 && found.replies > 0 {
            let since = self.runs.front_mut(row.runs).map_or(now, |it| it.since);
            let tally = &mut self.tally;
            let times = match row.again {
                true => &mut tally.reconnect_first_reply,
                false => &mut tally.first_reply,
            };
            times.record(now.saturating_sub(since), 1);
        }
        if row.greetings == 0 {
            self.arrive(index, now, out);
        }
        Ok(found.rest)
    }

    /// Client `index` could not connect.
    pub fn refused(&mut self, index: u32, now: u64, error: &io::Error) -> Result<(), Failure> {
        if !self.comings.reconnect {
            let hint = match error.kind() {
                io::ErrorKind::ConnectionRefused => ": is a server listening there?",
                io::ErrorKind::AddrNotAvailable => ": all local ports to that address are in use",
                _ => "",
            };
            return Err(Failure::Connect(format!("{error}{hint}")));
        }
        self.comings.lost_dials += 1;
        self.gone(index, now).map(|_| ())
    }

    /// The server closed the connection of client `index`; the error's text where that ends the
    /// run.
    pub fn gone(&mut self, index: u32, now: u64) -> Result<(), Failure> {
        if self.rows[index as usize].state == State::Away {
            return Ok(());
        }
        if !self.comings.reconnect {
            return Err(Failure::Lost(format!("{} requests were in flight", self.in_flight)));
        }
        self.tally.lost += 1;
        self.interval.counts.lost += 1;
        self.places.iter().for_each(|it| it.doubt());
        let fresh =
            self.rows[index as usize].state == State::Dialing && !self.rows[index as usize].again;
        self.cut(index);
        let row = &mut self.rows[index as usize];
        // Who never was connected still comes for the first time.
        row.again = !fresh;
        let unit = Draw::new(u64::from(index), self.tally.lost).below(REDIAL_NS);
        self.comings.wheel.add(now + REDIAL_NS / 2 + unit, Timer::Dial(index));
        Ok(())
    }

    /// Client `index` goes, and another takes its place.
    pub(crate) fn leave(&mut self, index: u32, now: u64) {
        self.cut(index);
        self.dial(index, now);
    }

    pub(crate) fn dial(&mut self, index: u32, since: u64) {
        let row = &mut self.rows[index as usize];
        if row.state != State::Away {
            return;
        }
        row.state = State::Dialing;
        self.comings.dialing += 1;
        self.note_dial(index, since);
        self.comings.actions.push_back(Action::Dial(index));
    }

    /// Client `index` is introduced.
    fn arrive(&mut self, index: u32, now: u64, out: &mut Vec<u8>) {
        let row = &mut self.rows[index as usize];
        row.state = State::Up;
        self.comings.up += 1;
        let again = std::mem::replace(&mut row.again, true);
        self.runs.pop(&mut row.runs);
        if let Some(storm) = self.tally.storms.last_mut().filter(|it| again && it.away > 0) {
            storm.away -= 1;
            storm.over_ns = now;
        }
        let group = &self.groups[usize::from(row.group)];
        if group.kind == Kind::Subscriber {
            self.subscribe(index, now, out);
        } else if self.again.has(index) {
            self.fill(index, now, false, out);
        } else if group.is_closed() {
            if self.started {
                self.think(index, now);
            }
        } else if self.has_waiting(index) {
            self.fill(index, now, false, out);
        }
    }

    /// Takes the connection away from client `index`.
    pub(crate) fn cut(&mut self, index: u32) {
        let row = &mut self.rows[index as usize];
        match row.state {
            State::Away => return,
            State::Dialing => self.comings.dialing -= 1,
            State::Greeting => {}
            State::Up | State::Asking | State::Leaving => self.comings.up -= 1,
        }
        row.state = State::Away;
        row.again = true;
        self.comings.actions.push_back(Action::Close(index));
        self.abandon(index);
    }

    /// Replaces the next client that is up.
    fn replace_one(&mut self, now: u64) {
        let own = narrow(self.count());
        for _ in 0..CHURN_TRIES.min(own) {
            let index = self.comings.churn_next % own;
            self.comings.churn_next = index + 1;
            let row = &mut self.rows[index as usize];
            if row.state != State::Up {
                continue;
            }
            let listens = self.groups[usize::from(row.group)].kind != Kind::Requests;
            if row.in_flight == 0 || listens {
                self.leave(index, now);
            } else {
                row.state = State::Leaving;
            }
            return;
        }
    }
}
