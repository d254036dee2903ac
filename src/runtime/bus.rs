//! Runs a cluster node's mind: its sockets on the bus, its file, and its talk with core 0.
//!
//! One thread with a socket ring of its own: no load on the cores keeps a node from answering the others, who
//! would take it for dead. The file is written and synced by another thread, and no answer to a command leaves
//! before what it has changed is on disk.
//!
//! ```text
//!   core 0 -> ToBus, and a bell -> this thread -> the bus
//!          <- FromBus, and a bell <-
//! ```
//!
//! **Order.** A map comes to core 0 before anything else that the same event has brought, so that writers who go
//! on after a pause are sent to the new master.

use crate::base::time::Mono;
use crate::cluster::machine::{Cluster, Input, Level, LinkId, Output};
use crate::engine::slot_counts::SlotCounts;
use crate::node::cluster::{FromBus, ToBus, bus_port, bus_settings, client_port};
use crate::node::outbox::Level as LogLevel;
use crate::node::settings::Settings;
use crate::resp::error::ErrorKind;
use crate::runtime::clock::Clock;
use crate::runtime::serve::{
    BAD_CONFIGURATION, Refusal, UNFIT_HOST, listen, path, random_seed, refuse,
};
use crate::runtime::streams::{Heard, Streams};
use crate::runtime::tls::Store;
use crate::runtime::{keep, logs};
use crate::tls::stream::Failure;
use crate::uring::driver::{Driver, Event, Segment, Sizes, Socket, Wait};
use crate::uring::sys;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::time::Duration;

const RUNG: u32 = 0;
const TICK_MS: u64 = 100;

/// Bytes that may wait for a node that reads slowly: then its connection is ended, and made anew.
const BACKLOG_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Receive buffers: heartbeats are short and few.
const BUFFERS: u16 = 256;

/// Core 0's end.
#[derive(Debug)]
pub struct Bus {
    to: Sender<ToBus>,
    from: Receiver<FromBus>,
    bell: UnixStream,
    ringer: UnixStream,
}

impl Bus {
    /// What to watch: it can be read from when there is something to take.
    #[must_use]
    pub fn bell(&self) -> i32 {
        self.bell.as_raw_fd()
    }

    /// Takes the bell's sound back, before what was said is taken.
    pub fn silence(&self) {
        silence(&self.bell);
    }

    #[must_use]
    pub fn take(&self) -> Option<FromBus> {
        self.from.try_recv().ok()
    }

    pub fn tell(&self, what: ToBus) {
        if self.to.send(what).is_ok() {
            ring(&self.ringer);
        }
    }
}

struct Saver {
    to: Sender<(u64, Vec<u8>)>,
    done: Receiver<(u64, Result<(), String>)>,
}

/// A node that has come: where it is, and where it came to.
type Caller = (Option<IpAddr>, Option<IpAddr>);

struct Host {
    clock: Clock,
    driver: Driver,
    /// What `tls-cluster` has nodes speak with each other by.
    tls: Option<Arc<Store>>,
    /// `None`: a node that we have connected to.
    streams: Streams<Option<Caller>>,
    cluster: Cluster,
    slots: Arc<SlotCounts>,
    begun: bool,
    /// It was logged that somebody from elsewhere was not let in.
    told_off: bool,
    sockets: BTreeMap<LinkId, Socket>,
    links: BTreeMap<Socket, LinkId>,
    next_in: u32,
    stopped_listeners: Vec<u32>,
    saver: Saver,
    orders: Receiver<ToBus>,
    tell: Sender<FromBus>,
    /// Core 0's bell.
    ringer: UnixStream,
    /// Ours.
    bell: UnixStream,
    said: bool,
    /// Answers that wait for the file of this number.
    answers: Vec<(u64, u64, Vec<u8>)>,
    lent: Vec<u8>,
    segments: Vec<Segment>,
    closing: Vec<Socket>,
}

/// Reads the node's file, listens, and starts the thread.
pub(super) fn start(
    settings: &Settings,
    slots: Arc<SlotCounts>,
    tls: &Arc<Store>,
) -> Result<Bus, Refusal> {
    let wrong = |why: String| Refusal { code: BAD_CONFIGURATION, why };
    if settings.replicaof.is_some() {
        return Err(wrong("replicaof directive not allowed in cluster mode".into()));
    }
    if settings.cluster_port == 0 && client_port(settings) > u16::MAX - 10_000 {
        let why = "Redis port number too high for cluster mode: the bus is 10,000 above it. Give a \
                   port of 55535 or less, or a cluster-port";
        return Err(wrong(why.into()));
    }
    let file = path(&settings.dir).join(path(&settings.cluster_config_file));
    let lock = lock(&file)?;
    let (cluster, clock) = load(settings, &file)?;
    let mut bus = settings.clone();
    bus.port = bus_port(settings);
    bus.unixsocket.clear();
    let listeners = listen(&bus)?;
    let unfit = |error: io::Error| refuse(UNFIT_HOST, "cannot start the cluster bus", &error);
    let (to, orders) = channel();
    let (tell, from) = channel();
    let pair = || UnixStream::pair().map_err(unfit);
    let ((bell, ringer), (own_bell, own_ringer)) = (pair()?, pair()?);
    bell.set_nonblocking(true).map_err(unfit)?;
    own_bell.set_nonblocking(true).map_err(unfit)?;
    let saver = start_saver(file, lock, own_ringer.try_clone().map_err(unfit)?);
    let tls = settings.tls_cluster.then(|| Arc::clone(tls));
    let run = move || -> io::Result<()> {
        let sizes =
            Sizes { entries: 1_024, completions: 4_096, buffers: BUFFERS, ..Sizes::default() };
        let mut driver = Driver::new(sizes)?;
        driver.watch(own_bell.as_raw_fd(), RUNG);
        for listener in listeners {
            driver.listen(listener);
        }
        let host = Host {
            clock,
            driver,
            tls,
            streams: Streams::default(),
            cluster,
            slots,
            begun: false,
            told_off: false,
            sockets: BTreeMap::new(),
            links: BTreeMap::new(),
            next_in: 0,
            stopped_listeners: Vec::new(),
            saver,
            orders,
            tell,
            ringer,
            bell: own_bell,
            said: false,
            answers: Vec::new(),
            lent: Vec::new(),
            segments: Vec::new(),
            closing: Vec::new(),
        };
        host.serve()
    };
    let thread = std::thread::Builder::new().name("cluster-bus".into()).spawn(move || {
        if let Err(error) = run() {
            tracing::error!("the cluster bus failed: {error}");
            std::process::exit(UNFIT_HOST.into());
        }
    });
    thread.map_err(unfit)?;
    Ok(Bus { to, from, bell, ringer: own_ringer })
}

/// Two nodes with one file would be one node twice.
fn lock(file: &Path) -> Result<File, Refusal> {
    let what = format!("Can't open {} in order to acquire a lock", file.display());
    let open = OpenOptions::new().write(true).create(true).truncate(false).open(file);
    let open = open.map_err(|error| refuse(BAD_CONFIGURATION, &what, &error))?;
    match open.try_lock() {
        Ok(()) => Ok(open),
        Err(TryLockError::WouldBlock) => {
            let why = format!(
                "Sorry, the cluster configuration file {} is already used by a different Redis \
                 Cluster node. Please make sure that different nodes use different cluster \
                 configuration files.",
                file.display()
            );
            Err(Refusal { code: BAD_CONFIGURATION, why })
        }
        Err(TryLockError::Error(error)) => Err(refuse(BAD_CONFIGURATION, &what, &error)),
    }
}

fn load(settings: &Settings, file: &Path) -> Result<(Cluster, Clock), Refusal> {
    let what = format!("cannot read {}", file.display());
    let text = std::fs::read(file).map_err(|error| refuse(BAD_CONFIGURATION, &what, &error))?;
    let clock = Clock::new();
    let (now, seed) = (clock.now(), random_seed());
    let told = bus_settings(settings);
    // The lock has made it, if there was none.
    if text.is_empty() {
        return Ok((Cluster::new(now, seed, told), clock));
    }
    let loaded = Cluster::load(now, seed, told, &text).map_err(|line| {
        let why = format!("Unrecoverable error: corrupted cluster config file \"{line}\".");
        Refusal { code: BAD_CONFIGURATION, why }
    })?;
    Ok((loaded, clock))
}

/// One file after another, each on disk before it is said to be. The lock goes with the name.
fn start_saver(file: PathBuf, mut lock: File, ringer: UnixStream) -> Saver {
    let (to, jobs) = channel::<(u64, Vec<u8>)>();
    let (tell, done) = channel();
    std::thread::spawn(move || {
        for (number, text) in jobs {
            let result = keep::replace(&file, &text).map_err(|error| error.to_string());
            if let Ok(new) = OpenOptions::new().write(true).open(&file)
                && new.try_lock().is_ok()
            {
                lock = new;
            }
            if tell.send((number, result)).is_err() {
                break;
            }
            ring(&ringer);
        }
        drop(lock);
    });
    Saver { to, done }
}

fn ring(mut bell: &UnixStream) {
    let _ = bell.write_all(b"!"); // whoever is gone needs no bell
}

fn silence(mut bell: &UnixStream) {
    let mut rings = [0; 64];
    while bell.read(&mut rings).is_ok_and(|read| read == rings.len()) {}
}

impl Host {
    fn serve(mut self) -> io::Result<()> {
        let (mut out, mut events) = (Vec::new(), Vec::new());
        let mut next_tick = self.clock.mono();
        loop {
            self.driver.take_events(&mut events);
            self.streams.begin_turn();
            for event in events.drain(..) {
                self.happened(event, &mut out);
            }
            self.shake_hands(&mut out);
            if !self.take_orders(&mut out) {
                return Ok(()); // Core 0 is gone, and the process with it.
            }
            while let Ok((number, result)) = self.saver.done.try_recv() {
                self.saved(number, result, &mut out);
            }
            let now = self.clock.mono();
            if now >= next_tick {
                if self.begun {
                    self.handle(Input::Tick, &mut out);
                }
                next_tick = now.plus_ms(TICK_MS);
                for listener in std::mem::take(&mut self.stopped_listeners) {
                    self.driver.listen_again(listener);
                }
            }
            if std::mem::take(&mut self.said) {
                ring(&self.ringer);
            }
            self.flush(next_tick)?;
        }
    }

    fn handle(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        self.cluster.handle(self.clock.now(), input, out);
        self.perform(out);
    }

    /// Sends what there is, closes what is done, and sleeps until something happens.
    fn flush(&mut self, next_tick: Mono) -> io::Result<()> {
        let nap = Duration::from_nanos(next_tick.0.saturating_sub(self.clock.mono().0));
        let may_sleep = self.closing.is_empty() && !nap.is_zero() && !self.streams.has_work();
        self.streams.secure(&mut self.lent, &mut self.segments, &self.closing, |_| false);
        let wait = if may_sleep { Wait::AtMost(nap) } else { Wait::No };
        self.driver.enter(&self.lent, &self.segments, wait)?;
        self.lent.clear();
        self.segments.clear();
        for socket in std::mem::take(&mut self.closing) {
            self.streams.forget(socket);
            self.driver.close(socket);
        }
        Ok(())
    }

    fn happened(&mut self, event: Event, out: &mut Vec<Output>) {
        match event {
            Event::Accepted { fd, .. } => self.accepted(fd, out),
            Event::AcceptStopped { listener, error } => {
                tracing::warn!("accepting on the cluster bus stopped for a moment: {error}");
                self.stopped_listeners.push(listener);
            }
            Event::Connected { socket, result } => self.connected(socket, result, out),
            Event::Received { socket, buffer } if self.streams.has(socket) => {
                let heard = self.streams.received(socket, self.driver.bytes(buffer));
                self.driver.give_back(buffer);
                self.heard(socket, heard, out);
            }
            Event::Received { socket, buffer } => {
                if let Some(&link) = self.links.get(&socket) {
                    let bytes = self.driver.bytes(buffer);
                    self.cluster.handle(self.clock.now(), Input::Received { link, bytes }, out);
                }
                self.driver.give_back(buffer);
                self.perform(out);
            }
            // What it said before is looked at first.
            Event::Closed { socket } if self.streams.goes_later(socket) => {}
            Event::Closed { socket } => self.ended(socket, out),
            Event::Backlog { socket, bytes } if bytes > BACKLOG_BYTES_MAX => {
                self.driver.close_now(socket);
                self.ended(socket, out);
            }
            Event::Readable { .. } => silence(&self.bell),
            Event::Backlog { .. }
            | Event::Drained { .. }
            | Event::Detached { .. }
            | Event::Bell => {}
        }
    }

    /// Before the data is loaded nobody is spoken to.
    fn accepted(&mut self, fd: OwnedFd, out: &mut Vec<Output>) {
        if !self.begun {
            return;
        }
        let ip = |it: Option<SocketAddr>| it.map(|it| it.ip().to_canonical());
        let peer = ip(sys::peer_address(fd.as_raw_fd()));
        let local = ip(sys::local_address(fd.as_raw_fd()));
        let stranger = peer.is_none_or(|it| !it.is_loopback());
        if self.cluster.settings.is_protected && stranger {
            if !std::mem::replace(&mut self.told_off, true) {
                tracing::warn!(
                    "A node from another host is not let in: with protected-mode and without a \
                     password only this host may reach the cluster bus"
                );
            }
            return;
        }
        let socket = self.driver.adopt(fd);
        let Some(tls) = &self.tls else { return self.entered(socket, (peer, local), out) };
        let begun = match tls.get() {
            Some(it) => self.streams.accept(socket, &it, Some((peer, local)), self.clock.mono()),
            None => Err(Failure("there is no certificate".into())),
        };
        if let Err(Failure(why)) = begun {
            self.broken(socket, &why, out);
        }
    }

    fn entered(&mut self, socket: Socket, (peer, local): Caller, out: &mut Vec<Output>) {
        let number = self.next_in;
        self.next_in = self.next_in.wrapping_add(1);
        self.sockets.insert(LinkId::In(number), socket);
        self.links.insert(socket, LinkId::In(number));
        self.handle(Input::Accepted { link: number, peer, local }, out);
    }

    /// Handshakes go on, a few in a turn; those that take too long end.
    fn shake_hands(&mut self, out: &mut Vec<Output>) {
        while let Some((socket, heard)) = self.streams.next_handshake() {
            self.heard(socket, heard, out);
        }
        let now = self.clock.mono();
        while let Some(socket) = self.streams.next_late(now) {
            self.broken(socket, "the handshake took too long", out);
        }
    }

    fn heard(&mut self, socket: Socket, heard: Heard<Option<Caller>>, out: &mut Vec<Output>) {
        let Heard { opened, plain, ended, failed } = heard;
        match opened {
            Some(Some(caller)) => self.entered(socket, caller, out),
            Some(None) => self.spoken_to(socket, out),
            None => {}
        }
        if !plain.is_empty()
            && let Some(&link) = self.links.get(&socket)
        {
            let bytes = self.streams.plain(plain);
            self.cluster.handle(self.clock.now(), Input::Received { link, bytes }, out);
            self.perform(out);
        }
        match failed {
            Some(why) => self.broken(socket, &why, out),
            None if ended => self.ended(socket, out),
            None => {}
        }
    }

    fn broken(&mut self, socket: Socket, why: &str, out: &mut Vec<Output>) {
        let peer = sys::peer_address(self.driver.fd(socket));
        let peer = peer.map_or("?".to_string(), |it| it.to_string());
        tracing::warn!("TLS with the node at {peer} failed: {why}");
        self.ended(socket, out);
    }

    fn spoken_to(&mut self, socket: Socket, out: &mut Vec<Output>) {
        if let Some(&LinkId::Out(link)) = self.links.get(&socket) {
            self.handle(Input::Connected { link }, out);
        }
    }

    fn connected(&mut self, socket: Socket, result: io::Result<()>, out: &mut Vec<Output>) {
        if !matches!(self.links.get(&socket), Some(LinkId::Out(_))) {
            return self.driver.close_now(socket);
        }
        if result.is_err() {
            return self.ended(socket, out);
        }
        let Some(tls) = &self.tls else { return self.spoken_to(socket, out) };
        let (now, peer) = (self.clock.mono(), sys::peer_address(self.driver.fd(socket)));
        let begun = match (tls.get(), peer) {
            (Some(it), Some(peer)) => {
                self.streams.connect(socket, it.client.as_ref(), peer.ip(), None, now)
            }
            _ => Err(Failure("there is no certificate".into())),
        };
        if let Err(Failure(why)) = begun {
            self.broken(socket, &why, out);
        }
    }

    /// The other side is gone.
    fn ended(&mut self, socket: Socket, out: &mut Vec<Output>) {
        self.closing.push(socket);
        if let Some(link) = self.links.remove(&socket) {
            self.sockets.remove(&link);
            self.handle(Input::Closed { link }, out);
        }
    }

    /// What core 0 has to say. `false`: it is gone.
    fn take_orders(&mut self, out: &mut Vec<Output>) -> bool {
        loop {
            let order = match self.orders.try_recv() {
                Ok(order) => order,
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            };
            let now = self.clock.now();
            match order {
                ToBus::Begin if self.begun => {}
                ToBus::Begin => {
                    self.begun = true;
                    let slots = Arc::clone(&self.slots);
                    self.cluster.compare_with_data(|slot| slots.of(slot));
                    self.cluster.begin(now, out);
                }
                ToBus::Facts(facts) => self.cluster.inform(now, facts, out),
                ToBus::Moved { job, news } => {
                    let _done = self.cluster.command(now, out, |it| {
                        it.move_news(job, news);
                        Ok(())
                    });
                }
                ToBus::Configure(settings) => self.cluster.configure(now, *settings, out),
                ToBus::Publish { sharded, channel, message } => {
                    self.cluster.publish(now, sharded, &channel, &message, out);
                }
                ToBus::Ask { number, request } => {
                    let slots = Arc::clone(&self.slots);
                    let keys = move |slot: Option<u16>| slot.map_or(slots.all(), |it| slots.of(it));
                    let mut reply = Vec::new();
                    request.run(&mut self.cluster, now, &keys, out, &mut reply);
                    self.perform(out);
                    match self.cluster.unsaved() {
                        Some(change) => self.answers.push((change, number, reply)),
                        None => self.say(FromBus::Answer { number, reply }),
                    }
                }
            }
            self.perform(out);
        }
    }

    fn saved(&mut self, number: u64, result: Result<(), String>, out: &mut Vec<Output>) {
        let failed = result.is_err();
        self.handle(Input::Saved { number, result }, out);
        let through = self.cluster.saved_through();
        for (change, asked, mut reply) in std::mem::take(&mut self.answers) {
            if failed && change <= number {
                reply.clear();
                ErrorKind::ClusterNotSaved.write_to(&mut reply);
            } else if change > through {
                self.answers.push((change, asked, reply));
                continue;
            }
            self.say(FromBus::Answer { number: asked, reply });
        }
    }

    fn say(&mut self, what: FromBus) {
        self.said = true;
        let _ = self.tell.send(what); // nobody is left to hear it
    }

    fn send(&mut self, link: LinkId, bytes: &[u8]) {
        let Some(&socket) = self.sockets.get(&link) else { return };
        let start = self.lent.len();
        self.lent.extend_from_slice(bytes);
        // Bytes for the same socket, one behind the other, are one send.
        if let Some(last) = self.segments.last_mut()
            && last.socket == socket
        {
            last.end = self.lent.len();
            return;
        }
        self.segments.push(Segment { socket, start, end: self.lent.len() });
    }

    fn perform(&mut self, out: &mut Vec<Output>) {
        if out.contains(&Output::Changed) {
            let map = self.cluster.map(self.cluster.settings.endpoint);
            self.say(FromBus::Map(Arc::new(map)));
        }
        let mut failed = Vec::new();
        for output in out.drain(..) {
            match output {
                Output::Changed => {}
                Output::Log { level, text } => log(level, &text),
                Output::Send { link, bytes } => self.send(link, &bytes),
                Output::Dial { link, ip, port } => {
                    if !self.dial(link, ip, port) {
                        failed.push(LinkId::Out(link));
                    }
                }
                Output::Close { link } => {
                    if let Some(socket) = self.sockets.remove(&link) {
                        self.links.remove(&socket);
                        self.closing.push(socket);
                    }
                }
                Output::Save { number, text } => {
                    let _ = self.saver.to.send((number, text)); // its thread ends with us
                }
                Output::Follow { ip, port } => self.say(FromBus::Follow { ip, port }),
                Output::Lead => self.say(FromBus::Lead),
                Output::PauseWrites { number, ms } => {
                    self.say(FromBus::PauseWrites { number, ms });
                }
                Output::ResumeWrites => self.say(FromBus::ResumeWrites),
                Output::DropKeys { slots } => self.say(FromBus::DropKeys(slots)),
                Output::Move(order) => self.say(FromBus::Move(order)),
                Output::DropAll => self.say(FromBus::DropAll),
                Output::Deliver { sharded, channel, message } => {
                    self.say(FromBus::Deliver { sharded, channel, message });
                }
            }
        }
        for link in failed {
            self.handle(Input::Closed { link }, out);
        }
    }

    fn dial(&mut self, link: u32, ip: IpAddr, port: u16) -> bool {
        let Ok(socket) = self.driver.dial(None, SocketAddr::new(ip, port)) else { return false };
        self.sockets.insert(LinkId::Out(link), socket);
        self.links.insert(socket, LinkId::Out(link));
        true
    }
}

fn log(level: Level, text: &str) {
    let level = match level {
        Level::Debug => LogLevel::Debug,
        Level::Verbose => LogLevel::Verbose,
        Level::Notice => LogLevel::Notice,
        Level::Warning => LogLevel::Warning,
    };
    logs::write(level, text);
}
