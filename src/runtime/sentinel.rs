//! Runs a Sentinel: its sockets, its file, its scripts and the names that it wants resolved.
//!
//! One thread with a socket ring of its own, whether it is the whole process or stands beside a server's
//! cores: no load on those can keep it from answering. What may take long is done elsewhere: the file is
//! written and synced by one thread, names are resolved by others, and each rings when it has done.
//!
//! **Order.** What happened is handled before the clock is: after a pause of the process the answers that lie
//! ready are read first, and only then is anybody found silent.

use crate::base::time::Mono;
use crate::node::outbox::Level as LogLevel;
use crate::runtime::clock::Clock;
use crate::runtime::streams::{Heard, Streams};
use crate::runtime::tls::Store;
use crate::runtime::{keep, logs};
use crate::sentinel::machine::{Conn, Input, Level, Output, Sentinel};
use crate::tls::stream::Failure;
use crate::uring::driver::{Driver, Event, Segment, Sizes, Socket, Wait};
use crate::uring::sys;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const SIGNALS: u32 = 0;
const RUNG: u32 = 1;

/// Names that are resolved at the same time; more are told that there is no answer, and ask again.
const RESOLVERS_MAX: usize = 32;

/// How often it is seen whether a script has ended.
const SCRIPT_NAP: Duration = Duration::from_millis(20);

/// Bytes that may wait for a slow reader.
const BACKLOG_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Receive buffers: few, for there is little traffic.
const BUFFERS: u16 = 256;

/// What other threads have done.
enum Done {
    Saved { number: u64, result: Result<(), String> },
    Resolved { name: String, ip: Option<String> },
}

/// Where it listens, and what it speaks.
pub struct Doors {
    pub listeners: Vec<OwnedFd>,
    pub tls_listeners: Vec<OwnedFd>,
    pub tls: Arc<Store>,
    /// Those whom it connects to are spoken to by TLS.
    pub dials_by_tls: bool,
}

/// A client that has come.
struct Caller {
    peer: String,
    local: String,
    is_loopback: bool,
}

struct Host {
    clock: Clock,
    driver: Driver,
    tls: Arc<Store>,
    /// `None`: one whom we have connected to.
    streams: Streams<Option<Caller>>,
    tls_doors: Vec<u32>,
    dials_by_tls: bool,
    sentinel: Sentinel,
    sockets: BTreeMap<Conn, Socket>,
    conns: BTreeMap<Socket, Conn>,
    /// What is to be sent when a connection is up.
    dialling: BTreeMap<Socket, Vec<u8>>,
    next_client: u32,
    signals: Option<OwnedFd>,
    stopped_listeners: Vec<u32>,
    to_saver: Sender<(u64, Vec<u8>)>,
    done: Receiver<Done>,
    tell: Sender<Done>,
    /// Our end of the bell, and the one that others ring.
    bell: UnixStream,
    ringer: UnixStream,
    resolving: usize,
    scripts: BTreeMap<u64, Child>,
    lent: Vec<u8>,
    segments: Vec<Segment>,
    closing: Vec<Socket>,
    exit: Option<u8>,
}

/// Runs until it is told to end; the exit code. `file`: where its state is kept.
///
/// # Errors
/// The kernel's, where there can be no ring or no thread.
pub fn run(
    sentinel: Sentinel,
    clock: Clock,
    file: PathBuf,
    doors: Doors,
    signals: Option<OwnedFd>,
) -> io::Result<u8> {
    let sizes = Sizes { entries: 1_024, completions: 4_096, buffers: BUFFERS, ..Sizes::default() };
    let mut driver = Driver::new(sizes)?;
    let (bell, ringer) = UnixStream::pair()?;
    bell.set_nonblocking(true)?;
    let (tell, done) = channel();
    let to_saver = start_saver(file, tell.clone(), ringer.try_clone()?);
    driver.watch(bell.as_raw_fd(), RUNG);
    if let Some(signals) = &signals {
        driver.watch(signals.as_raw_fd(), SIGNALS);
    }
    for listener in doors.listeners {
        driver.listen(listener);
    }
    let tls_doors = doors.tls_listeners.into_iter().map(|it| driver.listen(it)).collect();
    let host = Host {
        clock,
        driver,
        tls: doors.tls,
        streams: Streams::default(),
        tls_doors,
        dials_by_tls: doors.dials_by_tls,
        sentinel,
        sockets: BTreeMap::new(),
        conns: BTreeMap::new(),
        dialling: BTreeMap::new(),
        next_client: 0,
        signals,
        stopped_listeners: Vec::new(),
        to_saver,
        done,
        tell,
        bell,
        ringer,
        resolving: 0,
        scripts: BTreeMap::new(),
        lent: Vec::new(),
        segments: Vec::new(),
        closing: Vec::new(),
        exit: None,
    };
    host.serve()
}

/// One file after another, each on disk before it is said to be.
fn start_saver(
    file: PathBuf,
    tell: Sender<Done>,
    mut ringer: UnixStream,
) -> Sender<(u64, Vec<u8>)> {
    let (to_saver, jobs) = channel::<(u64, Vec<u8>)>();
    std::thread::spawn(move || {
        for (number, text) in jobs {
            let result = keep::replace(&file, &text).map_err(|error| error.to_string());
            if tell.send(Done::Saved { number, result }).is_err() {
                return;
            }
            let _ = ringer.write_all(b"!"); // whoever is gone needs no bell
        }
    });
    to_saver
}

impl Host {
    fn serve(mut self) -> io::Result<u8> {
        let mut out = Vec::new();
        let mut events = Vec::new();
        self.sentinel.begin(self.clock.now(), &mut out);
        self.perform(&mut out);
        let mut next_tick = self.clock.mono();
        loop {
            self.driver.take_events(&mut events);
            self.streams.begin_turn();
            for event in events.drain(..) {
                self.happened(event, &mut out);
            }
            self.shake_hands(&mut out);
            self.collect(&mut out);
            let now = self.clock.mono();
            if now >= next_tick {
                self.handle(Input::Tick, &mut out);
                next_tick = now.plus_ms(self.sentinel.tick_ms());
                for listener in std::mem::take(&mut self.stopped_listeners) {
                    self.driver.listen_again(listener);
                }
            }
            self.flush(next_tick)?;
            if let Some(code) = self.exit {
                return Ok(code);
            }
        }
    }

    fn handle(&mut self, input: Input<'_>, out: &mut Vec<Output>) {
        self.sentinel.handle(self.clock.now(), input, out);
        self.perform(out);
    }

    /// Sends what there is, closes what is done, and sleeps until something happens.
    fn flush(&mut self, next_tick: Mono) -> io::Result<()> {
        let mut nap = Duration::from_nanos(next_tick.0.saturating_sub(self.clock.mono().0));
        if !self.scripts.is_empty() {
            nap = nap.min(SCRIPT_NAP);
        }
        let may_sleep = self.closing.is_empty()
            && self.exit.is_none()
            && !nap.is_zero()
            && !self.streams.has_work();
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
            Event::Accepted { fd, listener } => self.accepted(fd, listener, out),
            Event::AcceptStopped { listener, error } => {
                tracing::warn!("accepting stopped for a moment: {error}");
                self.stopped_listeners.push(listener);
            }
            Event::Connected { socket, result } => self.connected(socket, result, out),
            Event::Received { socket, buffer } if self.streams.has(socket) => {
                let heard = self.streams.received(socket, self.driver.bytes(buffer));
                self.driver.give_back(buffer);
                self.heard(socket, heard, out);
            }
            Event::Received { socket, buffer } => {
                if let Some(&conn) = self.conns.get(&socket) {
                    let bytes = self.driver.bytes(buffer);
                    self.sentinel.handle(self.clock.now(), Input::Received { conn, bytes }, out);
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
            Event::Readable { tag: SIGNALS } => {
                let signals = self.signals.as_ref().map(sys::take_signals).unwrap_or_default();
                if signals.reopen {
                    logs::reopen();
                }
                if signals.end {
                    self.handle(Input::Terminate, out);
                }
            }
            Event::Readable { .. } => {
                let mut rings = [0; 64];
                while matches!(self.bell.read(&mut rings), Ok(1..)) {}
            }
            Event::Backlog { .. }
            | Event::Drained { .. }
            | Event::Detached { .. }
            | Event::Bell => {}
        }
    }

    fn accepted(&mut self, fd: OwnedFd, listener: u32, out: &mut Vec<Output>) {
        let peer = sys::peer_address(fd.as_raw_fd());
        let local = sys::local_address(fd.as_raw_fd());
        let text = |it: Option<SocketAddr>| it.map_or("?:0".to_string(), |it| it.to_string());
        // Without an address it came by a Unix socket, or is gone already.
        let is_loopback = peer.is_none_or(|it| it.ip().to_canonical().is_loopback());
        let caller = Caller { peer: text(peer), local: text(local), is_loopback };
        let socket = self.driver.adopt(fd);
        if !self.tls_doors.contains(&listener) {
            return self.entered(socket, caller, out);
        }
        let begun = match self.tls.get() {
            Some(it) => self.streams.accept(socket, &it, Some(caller), self.clock.mono()),
            None => Err(Failure("there is no certificate".into())),
        };
        if let Err(Failure(why)) = begun {
            self.broken(socket, &why, out);
        }
    }

    fn entered(&mut self, socket: Socket, caller: Caller, out: &mut Vec<Output>) {
        let client = self.next_client;
        self.next_client = self.next_client.wrapping_add(1);
        let conn = Conn::Client(client);
        self.sockets.insert(conn, socket);
        self.conns.insert(socket, conn);
        let Caller { peer, local, is_loopback } = caller;
        self.handle(Input::Accepted { client, peer, local, is_loopback }, out);
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
            && let Some(&conn) = self.conns.get(&socket)
        {
            let bytes = self.streams.plain(plain);
            self.sentinel.handle(self.clock.now(), Input::Received { conn, bytes }, out);
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
        tracing::warn!("TLS with {peer} failed: {why}");
        self.ended(socket, out);
    }

    fn connected(&mut self, socket: Socket, result: io::Result<()>, out: &mut Vec<Output>) {
        if !self.conns.contains_key(&socket) {
            return self.driver.close_now(socket);
        }
        if result.is_err() {
            return self.ended(socket, out);
        }
        if !self.dials_by_tls {
            return self.spoken_to(socket, out);
        }
        let peer = sys::peer_address(self.driver.fd(socket));
        let now = self.clock.mono();
        let begun = match (self.tls.get(), peer) {
            (Some(it), Some(peer)) => {
                self.streams.connect(socket, it.client.as_ref(), peer.ip(), None, now)
            }
            _ => Err(Failure("there is no certificate".into())),
        };
        if let Err(Failure(why)) = begun {
            self.broken(socket, &why, out);
        }
    }

    /// One whom we have dialled can be sent to.
    fn spoken_to(&mut self, socket: Socket, out: &mut Vec<Output>) {
        let kept = self.dialling.remove(&socket).unwrap_or_default();
        let Some(&Conn::Wire(wire)) = self.conns.get(&socket) else { return };
        let local = sys::local_address(self.driver.fd(socket));
        let local = local.map_or(String::new(), |it| it.ip().to_canonical().to_string());
        self.send(socket, &kept);
        self.handle(Input::Connected { wire, local }, out);
    }

    /// The other side is gone.
    fn ended(&mut self, socket: Socket, out: &mut Vec<Output>) {
        self.dialling.remove(&socket);
        self.closing.push(socket);
        if let Some(conn) = self.conns.remove(&socket) {
            self.sockets.remove(&conn);
            self.handle(Input::Closed { conn }, out);
        }
    }

    /// What threads and scripts have done.
    fn collect(&mut self, out: &mut Vec<Output>) {
        while let Ok(done) = self.done.try_recv() {
            match done {
                Done::Saved { number, result } => self.handle(Input::Saved { number, result }, out),
                Done::Resolved { name, ip } => {
                    self.resolving = self.resolving.saturating_sub(1);
                    self.handle(Input::Resolved { name, ip }, out);
                }
            }
        }
        let mut ended = Vec::new();
        for (job, child) in &mut self.scripts {
            match child.try_wait() {
                Ok(Some(status)) => {
                    let (code, signal) = (status.code().unwrap_or(0), status.signal().unwrap_or(0));
                    ended.push((*job, code, signal));
                }
                Ok(None) => {}
                Err(_) => ended.push((*job, 2, 0)),
            }
        }
        for (job, code, signal) in ended {
            self.scripts.remove(&job);
            self.handle(Input::ScriptEnded { job, code, signal }, out);
        }
    }

    fn send(&mut self, socket: Socket, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
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
        let mut more = Vec::new();
        for output in out.drain(..) {
            match output {
                Output::Log { level, text } => log(level, &text),
                Output::Send { conn, bytes } => {
                    let Some(&socket) = self.sockets.get(&conn) else { continue };
                    match self.dialling.get_mut(&socket) {
                        Some(kept) => kept.extend(bytes),
                        None => self.send(socket, &bytes),
                    }
                }
                Output::Close { conn } => {
                    if let Some(socket) = self.sockets.remove(&conn) {
                        self.conns.remove(&socket);
                        self.dialling.remove(&socket);
                        self.closing.push(socket);
                    }
                }
                Output::Dial { wire, ip, port } => self.dial(wire, &ip, port, &mut more),
                Output::Resolve { name } => self.resolve(name, &mut more),
                Output::Save { number, text } => {
                    let _ = self.to_saver.send((number, text)); // its thread ends with us
                }
                Output::Run { job, argv } => self.start_script(job, &argv, &mut more),
                Output::Kill { job } => {
                    if let Some(child) = self.scripts.get_mut(&job) {
                        let _ = child.kill(); // one that has just ended is fine
                    }
                }
                Output::Exit { code } => self.exit = Some(code),
            }
        }
        for input in more {
            self.handle(input, out);
        }
    }

    fn dial(&mut self, wire: u32, ip: &str, port: u16, more: &mut Vec<Input<'static>>) {
        let conn = Conn::Wire(wire);
        let address = ip.parse().map(|ip| SocketAddr::new(ip, port)).ok();
        match address.and_then(|it| self.driver.dial(None, it).ok()) {
            Some(socket) => {
                self.sockets.insert(conn, socket);
                self.conns.insert(socket, conn);
                self.dialling.insert(socket, Vec::new());
            }
            None => more.push(Input::Closed { conn }),
        }
    }

    fn resolve(&mut self, name: String, more: &mut Vec<Input<'static>>) {
        let tell = self.tell.clone();
        let ringer = self.ringer.try_clone();
        let (Ok(mut ringer), true) = (ringer, self.resolving < RESOLVERS_MAX) else {
            return more.push(Input::Resolved { name, ip: None });
        };
        self.resolving += 1;
        std::thread::spawn(move || {
            let found = (name.as_str(), 0).to_socket_addrs().map(Iterator::collect::<Vec<_>>);
            let found = found.unwrap_or_default();
            let first = found.iter().find(|it| it.is_ipv4()).or(found.first());
            let ip = first.map(|it| it.ip().to_string());
            let _ = tell.send(Done::Resolved { name, ip });
            let _ = ringer.write_all(b"!");
        });
    }

    fn start_script(&mut self, job: u64, argv: &[String], more: &mut Vec<Input<'static>>) {
        let Some((path, args)) = argv.split_first() else { return };
        let result = match Command::new(path).args(args).spawn() {
            Ok(child) => {
                let pid = child.id();
                self.scripts.insert(job, child);
                Ok(pid)
            }
            Err(error) => Err(error.to_string()),
        };
        more.push(Input::ScriptStarted { job, result });
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
