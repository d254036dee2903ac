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
use crate::runtime::{keep, logs};
use crate::sentinel::machine::{Conn, Input, Level, Output, Sentinel};
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

struct Host {
    clock: Clock,
    driver: Driver,
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
    listeners: Vec<OwnedFd>,
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
    for listener in listeners {
        driver.listen(listener);
    }
    let host = Host {
        clock,
        driver,
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
            for event in events.drain(..) {
                self.happened(event, &mut out);
            }
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
        let may_sleep = self.closing.is_empty() && self.exit.is_none() && !nap.is_zero();
        let wait = if may_sleep { Wait::AtMost(nap) } else { Wait::No };
        self.driver.enter(&self.lent, &self.segments, wait)?;
        self.lent.clear();
        self.segments.clear();
        for socket in std::mem::take(&mut self.closing) {
            self.driver.close(socket);
        }
        Ok(())
    }

    fn happened(&mut self, event: Event, out: &mut Vec<Output>) {
        match event {
            Event::Accepted { fd, .. } => self.accepted(fd, out),
            Event::AcceptStopped { listener, error } => {
                tracing::warn!("accepting stopped for a moment: {error}");
                self.stopped_listeners.push(listener);
            }
            Event::Connected { socket, result } => self.connected(socket, result, out),
            Event::Received { socket, buffer } => {
                if let Some(&conn) = self.conns.get(&socket) {
                    let bytes = self.driver.bytes(buffer);
                    self.sentinel.handle(self.clock.now(), Input::Received { conn, bytes }, out);
                }
                self.driver.give_back(buffer);
                self.perform(out);
            }
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

    fn accepted(&mut self, fd: OwnedFd, out: &mut Vec<Output>) {
        sys::tune_client(&fd, KEEPALIVE_SECONDS);
        let peer = sys::peer_address(fd.as_raw_fd());
        let local = sys::local_address(fd.as_raw_fd());
        let client = self.next_client;
        self.next_client = self.next_client.wrapping_add(1);
        self.enter_socket(Conn::Client(client), fd);
        let text = |it: Option<SocketAddr>| it.map_or("?:0".to_string(), |it| it.to_string());
        // Without an address it came by a Unix socket, or is gone already.
        let is_loopback = peer.is_none_or(|it| it.ip().to_canonical().is_loopback());
        let (peer, local) = (text(peer), text(local));
        self.handle(Input::Accepted { client, peer, local, is_loopback }, out);
    }

    fn enter_socket(&mut self, conn: Conn, fd: OwnedFd) {
        let socket = self.driver.adopt(fd);
        self.sockets.insert(conn, socket);
        self.conns.insert(socket, conn);
    }

    fn connected(&mut self, socket: Socket, result: io::Result<()>, out: &mut Vec<Output>) {
        let kept = self.dialling.remove(&socket).unwrap_or_default();
        let Some(&Conn::Wire(wire)) = self.conns.get(&socket) else {
            return self.driver.close_now(socket);
        };
        if result.is_err() {
            return self.ended(socket, out);
        }
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

/// As the default of `tcp-keepalive`.
const KEEPALIVE_SECONDS: u32 = 300;

fn log(level: Level, text: &str) {
    let level = match level {
        Level::Debug => LogLevel::Debug,
        Level::Verbose => LogLevel::Verbose,
        Level::Notice => LogLevel::Notice,
        Level::Warning => LogLevel::Warning,
    };
    logs::write(level, text);
}
