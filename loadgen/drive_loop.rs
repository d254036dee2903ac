//! One thread's life: connect its clients, drive them, bring home what they measured.

use crate::client::{Action, Clients};
use crate::draw::nanoseconds;
use crate::drive::{Clock, Event, Wire};
use crate::failure::Failure;
use crate::places::Places;
use crate::plan::Plan;
use crate::run::{Message, Shared};
use crate::scout::ask_there;
use crate::series::INTERVAL_NS;
use crate::tally::Tally;
use crate::target::Route;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;

/// The longest wait without a look at the stop flag.
const WAIT_MAX_NS: u64 = 100_000_000;

/// What one thread brings home.
pub struct Part {
    pub tally: Tally,
    pub failure: Option<Failure>,
}

/// The clients of a thread, and what moves them.
struct Thread<'p> {
    plan: &'p Plan,
    clock: Clock,
    clients: Clients,
    wire: Wire,
    out: Vec<u8>,
    /// When something was last heard from the server.
    heard: u64,
    interval: u64,
    /// Where several servers serve, and which version of that was looked at.
    places: Option<Arc<Places>>,
    version: u64,
    shared: &'p Shared,
    number: usize,
    sender: &'p Sender<Message>,
}

/// One thread's whole life. An error is one from before the start.
pub(crate) fn part(
    plan: &Plan,
    number: u32,
    shared: &Shared,
    (route, descriptors): (Route, usize),
    sender: &Sender<Message>,
) -> Result<Part, Failure> {
    let ready = Clients::new(plan, number).map_err(Failure::Plan).and_then(|mut clients| {
        let places = route.places().cloned();
        let version = places.as_ref().map_or(0, |it| it.version());
        clients.places.clone_from(&places);
        let unix = plan.target.unix.as_ref().map(Into::into);
        let tls = plan.target.tls.as_ref().map(|it| it.config()).transpose()?;
        let wire = Wire::new(route, unix, clients.count(), descriptors, tls)
            .map_err(|it| lost(plan, "preparing sockets", &it))?;
        let number = usize::try_from(number).unwrap_or(0);
        let (clock, out) = (shared.clock, Vec::new());
        let mut thread = Thread {
            plan,
            clock,
            clients,
            wire,
            out,
            heard: 0,
            interval: 0,
            places,
            version,
            shared,
            number,
            sender,
        };
        if plan.crowd.ramp.is_empty() {
            thread.gather()?;
        }
        Ok(thread)
    });
    if ready.is_err() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    let _sent = sender.send(Message::Ready);
    shared.started.wait();
    let mut thread = ready?;
    thread.clock = shared.clock.later(shared.start_ns.load(Ordering::Relaxed));
    let driven = thread.drive();
    if driven.is_err() {
        shared.stop.store(true, Ordering::Relaxed);
    }
    thread.end_interval(u64::MAX);
    Ok(Part { tally: thread.clients.tally, failure: driven.err() })
}

impl Thread<'_> {
    /// Lets all clients connect.
    fn gather(&mut self) -> Result<(), Failure> {
        self.heard = self.clock.now();
        loop {
            let now = self.clock.now();
            if self.clients.gather(now) || self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.look_around(now);
            self.act()?;
            self.check_silence(now, "connecting")?;
            let next = self.clients.next_gather().unwrap_or(u64::MAX);
            self.wait(next)?;
            self.take_events()?;
        }
    }

    /// Sends what is due and takes what came, until the plan is done.
    fn drive(&mut self) -> Result<(), Failure> {
        let mut storms = 0;
        while self.clock.now() == 0 {
            std::hint::spin_loop();
        }
        self.clients.start(self.clock.now());
        self.heard = self.clock.now();
        loop {
            let now = self.clock.now();
            if now >= (self.interval + 1) * INTERVAL_NS {
                self.end_interval(now / INTERVAL_NS);
            }
            let asked = self.shared.storms.load(Ordering::Relaxed);
            if asked > storms {
                storms = asked;
                self.clients.storm_all(now);
            }
            self.clients.timers(now);
            self.look_around(now);
            self.act()?;
            self.send_due()?;
            if self.clients.is_done(now) || self.shared.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            self.check_silence(now, "running")?;
            let slot = self.clients.next_slot().unwrap_or(u64::MAX);
            let timer = self.clients.next_timer().unwrap_or(u64::MAX);
            let interval = (self.interval + 1) * INTERVAL_NS;
            self.wait(slot.min(timer).min(interval))?;
            self.take_events()?;
            self.act()?;
        }
    }

    /// Waits for the server, until a time of the clock at most.
    fn wait(&mut self, until: u64) -> Result<(), Failure> {
        let pause = until.saturating_sub(self.clock.now()).min(WAIT_MAX_NS);
        self.wire.wait(pause).map_err(|it| lost(self.plan, "waiting", &it))
    }

    fn take_events(&mut self) -> Result<(), Failure> {
        while let Some(event) = self.wire.next_event() {
            let now = self.clock.now();
            self.heard = now;
            let client = match event {
                Event::Received(client, bytes) => {
                    self.clients.received(client, bytes, now, &mut self.out)?;
                    client
                }
                Event::Connected(client, Ok(())) => {
                    self.clients.connected(client, now, &mut self.out);
                    client
                }
                Event::Connected(client, Err(error)) => {
                    self.clients.refused(client, now, &error).map_err(|it| self.named(it))?;
                    client
                }
                Event::Gone(client) => {
                    self.clients.gone(client, now).map_err(|it| self.named(it))?;
                    client
                }
            };
            send(&mut self.wire, client, &mut self.out);
            if self.clients.next_slot().is_some_and(|at| at <= now) {
                self.send_due()?;
            }
        }
        self.shared.replies[self.number].store(self.clients.tally.replies, Ordering::Relaxed);
        self.shared.up[self.number].store(u64::from(self.clients.up()), Ordering::Relaxed);
        Ok(())
    }

    /// Sends every request whose time has come.
    fn send_due(&mut self) -> Result<(), Failure> {
        if !self.clients.is_started() {
            return Ok(());
        }
        self.clients.tick(self.clock.now());
        let mut sent = false;
        while let Some(client) = self.clients.next_touched() {
            self.clients.fill(client, self.clock.now(), true, &mut self.out);
            send(&mut self.wire, client, &mut self.out);
            sent = true;
        }
        if sent {
            self.wire.flush().map_err(|it| lost(self.plan, "sending", &it))?;
            self.clients.flushed(self.clock.now());
        }
        Ok(())
    }

    /// Dials and closes as the clients want it, and asks where they were told to ask once.
    fn act(&mut self) -> Result<(), Failure> {
        while let Some(action) = self.clients.next_action() {
            match action {
                Action::Dial(client) => self.wire.dial(client, self.clients.connection(client)),
                Action::Close(client) => self.wire.close(client),
                Action::AskThere(client, server, request) => {
                    // Rare, and only while a slot moves: the other clients wait so long.
                    let reply = ask_there(server, &self.plan.target, &request);
                    let now = self.clock.now();
                    self.heard = now;
                    self.clients.asked(client, reply, now, &mut self.out)?;
                    send(&mut self.wire, client, &mut self.out);
                }
            }
        }
        Ok(())
    }

    /// Clients whose server has lost its role do not wait for it.
    fn look_around(&mut self, now: u64) {
        let version = self.places.as_ref().map_or(0, |it| it.version());
        if version == self.version {
            return;
        }
        self.version = version;
        for client in 0..u32::try_from(self.clients.count()).unwrap_or(u32::MAX) {
            if !self.wire.is_at_home(client, self.clients.connection(client)) {
                self.clients.depart(client, now);
            }
        }
    }

    /// Gives up where nothing was heard for too long.
    fn check_silence(&mut self, now: u64, doing: &str) -> Result<(), Failure> {
        if !self.clients.is_owed() {
            self.heard = now;
        } else if now.saturating_sub(self.heard) > nanoseconds(self.plan.timeout_seconds) {
            let text = format!(
                "no reply from {} for {} seconds while {doing}, {} requests are unanswered",
                self.plan.target.name(),
                self.plan.timeout_seconds,
                self.clients.in_flight()
            );
            return Err(Failure::Lost(text));
        }
        Ok(())
    }

    /// Hands over what was counted in the current interval; the next one is number `next`.
    fn end_interval(&mut self, next: u64) {
        let ended = self.clients.interval.take(self.interval, u64::from(self.clients.up()));
        let _sent = self.sender.send(Message::Interval(ended));
        self.interval = next;
    }

    fn named(&self, failure: Failure) -> Failure {
        let name = self.plan.target.name();
        match failure {
            Failure::Connect(text) => Failure::Connect(format!("cannot connect to {name}: {text}")),
            Failure::Lost(text) => Failure::Lost(format!(
                "{name} closed a connection in the middle of the run; {text}"
            )),
            other => other,
        }
    }
}

fn send(wire: &mut Wire, client: u32, out: &mut Vec<u8>) {
    if !out.is_empty() {
        wire.send(client, out);
        out.clear();
    }
}

fn lost(plan: &Plan, doing: &str, error: &io::Error) -> Failure {
    Failure::Lost(format!("{doing}: lost the connection to {}: {error}", plan.target.name()))
}
