//! Sockets, clocks and the host's limits: everything that loadgen asks of the operating system,
//! and all of its unsafe code.
//!
//! [`Wire`] is the seam to the sockets: `wait`, `next_event` (what happened on which client), `send`. It
//! stands on `ringfold::uring`: multishot receives into provided buffers, and sends that are
//! submitted together by the next `wait` or `flush`, where many are ready; few are sent at once,
//! each by a call of its own, because then a submission costs more than it saves.
//!
//! Not here: what the bytes mean (`client.rs`), threads and phases (`run.rs`).

#![expect(clippy::disallowed_types, reason = "the I/O layer reads the clock")]

use crate::failure::Failure;
use crate::places::Server;
use crate::plan::Plan;
use crate::secured::Blocking;
use crate::target::{Route, Target};
use ringfold::base::time::Mono;
use ringfold::runtime::streams::{Heard, Streams};
use ringfold::uring::driver::{self, Buffer, Driver, Segment, Sizes, Socket, Wait};
use ringfold::uring::sys::{peer_address, raise_soft_limit};
use rustls::ClientConfig;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::ops::Range;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Receive buffers: a batch of replies should fit into one.
const BUFFERS: u16 = 512;
const BUFFER_LEN: usize = 16 << 10;
const SUBMISSIONS: u32 = 4096;
const COMPLETIONS: u32 = 32_768;
/// With fewer events than this in a turn, sends go out by calls of their own. On a loaded host with
/// 50 clients submissions cost 3 to 5 % less CPU than that from a few events on; a lone request
/// leaves sooner by itself.
const DIRECT_BELOW: usize = 4;
/// Descriptors beside the clients': rings (one for every 20,000 clients or so), files, streams.
const DESCRIPTORS_SPARE: u64 = 384;
const DESCRIPTORS_MIN: u64 = 64;

/// The run's clock: nanoseconds from its start, 0 before.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    #[must_use]
    pub fn new() -> Self {
        Self(Instant::now())
    }

    /// The same clock, started `ns` later.
    #[must_use]
    pub fn later(self, ns: u64) -> Self {
        Self(self.0 + Duration::from_nanos(ns))
    }

    #[must_use]
    pub fn now(self) -> u64 {
        u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// A blocking connection until a [`Wire`] takes it.
#[derive(Debug)]
pub enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<Blocking>),
}

impl Stream {
    /// Connects, with a limit on that and on every later read and write.
    pub fn connect(target: &Target, limit: Duration) -> Result<Self, Failure> {
        let name = target.name();
        let stream = match &target.unix {
            Some(path) => UnixStream::connect(path).and_then(|it| {
                it.set_read_timeout(Some(limit))?;
                it.set_write_timeout(Some(limit))?;
                Ok(Self::Unix(it))
            }),
            None => tcp(target, limit).and_then(|it| match &target.tls {
                None => Ok(Self::Tcp(it)),
                Some(tls) => tls.over(it).map(|it| Self::Tls(Box::new(it))),
            }),
        };
        stream.map_err(|error| {
            let hint = match error.kind() {
                ErrorKind::ConnectionRefused => ": is a server listening there?",
                ErrorKind::AddrNotAvailable => ": all local ports to that address are in use",
                _ => "",
            };
            Failure::Connect(format!("cannot connect to {name}: {error}{hint}"))
        })
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(it) => it.read(buf),
            Self::Unix(it) => it.read(buf),
            Self::Tls(it) => it.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(it) => it.write(buf),
            Self::Unix(it) => it.write(buf),
            Self::Tls(it) => it.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(_) | Self::Unix(_) => Ok(()),
            Self::Tls(it) => it.flush(),
        }
    }
}

/// The sockets of one thread's clients.
pub struct Wire {
    driver: Driver,
    route: Route,
    unix: Option<PathBuf>,
    events: Vec<driver::Event>,
    handled: usize,
    /// Lent to the caller until the next event.
    lent: Option<Buffer>,
    /// Output for the next submission, and the turn in which a client last had some.
    out: Vec<u8>,
    segments: Vec<Segment>,
    turn: u32,
    clients: Vec<Place>,
    /// The client of each socket of the driver.
    sockets: Vec<u32>,
    /// Where several servers serve: the number of each client's.
    homes: Vec<Server>,
    /// Clients that dial when a descriptor is free, with their numbers over all threads.
    dialing: VecDeque<(u32, u64)>,
    /// Connects that were decided at once.
    decided: VecDeque<(u32, io::Result<()>)>,
    /// What TLS clients speak by, and what was told of them and not handed out yet.
    tls: Option<Arc<ClientConfig>>,
    streams: Streams<()>,
    told: VecDeque<(u32, Told)>,
    clock: Clock,
}

/// What happened on a TLS client's socket, behind its records.
enum Told {
    Connected(io::Result<()>),
    Plain(Range<usize>),
    Gone,
}

/// Where a client's socket is.
#[derive(Clone, Copy)]
struct Place {
    socket: u32,
    queued_in: u32,
}

/// What happened on a client's socket.
#[derive(Debug)]
pub enum Event<'w> {
    /// A dial was decided.
    Connected(u32, io::Result<()>),
    Received(u32, &'w [u8]),
    /// The server closed it, or it broke.
    Gone(u32),
}

const NONE: u32 = u32::MAX;
/// A client that waits for a descriptor to dial with.
const WANTED: u32 = u32::MAX - 1;

impl Wire {
    /// No sockets yet, for so many clients; they may have so many descriptors at once.
    pub fn new(
        route: Route,
        unix: Option<PathBuf>,
        clients: usize,
        descriptors: usize,
        tls: Option<Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        precise_timers()?;
        let homes = vec![0; if route.places().is_some() { clients } else { 0 }];
        let driver = Driver::new(Sizes {
            entries: SUBMISSIONS,
            completions: COMPLETIONS,
            buffers: BUFFERS,
            buffer_bytes: BUFFER_LEN,
            descriptors,
        })?;
        Ok(Self {
            driver,
            route,
            unix,
            events: Vec::new(),
            handled: 0,
            lent: None,
            out: Vec::new(),
            segments: Vec::new(),
            turn: 1,
            clients: vec![Place { socket: NONE, queued_in: 0 }; clients],
            sockets: Vec::new(),
            homes,
            decided: VecDeque::new(),
            dialing: VecDeque::new(),
            tls,
            streams: Streams::default(),
            told: VecDeque::new(),
            clock: Clock::new(),
        })
    }

    /// Dials for `client`, whose number over all threads is `connection`, as soon as a descriptor is
    /// free; `Connected` tells.
    pub fn dial(&mut self, client: u32, connection: u64) {
        self.clients[client as usize].socket = WANTED;
        self.dialing.push_back((client, connection));
        self.dial_on();
    }

    fn dial_on(&mut self) {
        while self.driver.can_dial()
            && let Some((client, connection)) = self.dialing.pop_front()
        {
            // It was closed again before its turn came, or dialed by an older entry.
            if self.clients[client as usize].socket != WANTED {
                continue;
            }
            self.clients[client as usize].socket = NONE;
            match self.start(client, connection) {
                Ok((socket, decided)) => {
                    let at = socket.0 as usize;
                    self.sockets.resize(self.sockets.len().max(at + 1), NONE);
                    self.sockets[at] = client;
                    self.clients[client as usize].socket = socket.0;
                    if decided {
                        self.decided.push_back((client, Ok(())));
                    }
                }
                Err(error) => self.decided.push_back((client, Err(error))),
            }
        }
    }

    fn start(&mut self, client: u32, connection: u64) -> io::Result<(Socket, bool)> {
        if let Some(path) = &self.unix {
            let stream = UnixStream::connect(path)?;
            return Ok((self.driver.adopt(stream.into()), true));
        }
        let none = || io::Error::new(ErrorKind::NotFound, "the name has no address");
        let (number, server, source) = self.route.numbered(connection).ok_or_else(none)?;
        if let Some(home) = self.homes.get_mut(client as usize) {
            *home = number;
        }
        let source = source.map(|it| SocketAddr::new(it, 0));
        Ok((self.driver.dial(source, server)?, false))
    }

    /// Where several servers serve: whether the one that `client` dialed is still the right kind.
    #[must_use]
    pub fn is_at_home(&self, client: u32, connection: u64) -> bool {
        let (Some(places), Some(home)) = (self.route.places(), self.homes.get(client as usize))
        else {
            return true;
        };
        places.is_good(connection, self.route.reads(connection), *home)
    }

    /// Closes the socket of `client`; nothing more is told of it.
    pub fn close(&mut self, client: u32) {
        let place = &mut self.clients[client as usize];
        let socket = std::mem::replace(&mut place.socket, NONE);
        if !self.decided.is_empty() {
            self.decided.retain(|it| it.0 != client);
        }
        if socket == NONE || socket == WANTED {
            return;
        }
        self.sockets[socket as usize] = NONE;
        if place.queued_in == self.turn {
            self.segments.retain(|it| it.socket.0 != socket);
            place.queued_in = 0;
        }
        self.streams.forget(Socket(socket));
        self.told.retain(|it| it.0 != client);
        self.driver.close_now(Socket(socket));
    }

    /// Sends what is queued and waits until something happens, `ns` at most.
    pub fn wait(&mut self, ns: u64) -> io::Result<()> {
        self.dial_on();
        let busy = !self.decided.is_empty() || self.streams.has_work();
        let ns = if busy { 0 } else { ns };
        let wait = if ns == 0 { Wait::No } else { Wait::AtMost(Duration::from_nanos(ns)) };
        self.enter(wait)?;
        self.handled = 0;
        self.driver.take_events(&mut self.events);
        if self.tls.is_some() {
            self.streams.begin_turn();
            self.shake_hands();
        }
        Ok(())
    }

    /// Sends what is queued.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.segments.is_empty() { Ok(()) } else { self.enter(Wait::No) }
    }

    /// The next thing that happened.
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        if let Some(buffer) = self.lent.take() {
            self.driver.give_back(buffer);
        }
        if let Some((client, result)) = self.decided.pop_front() {
            return Some(Event::Connected(client, result));
        }
        loop {
            if let Some((client, told)) = self.told.pop_front() {
                return Some(match told {
                    Told::Connected(result) => Event::Connected(client, result),
                    Told::Plain(range) => Event::Received(client, self.streams.plain(range)),
                    Told::Gone => Event::Gone(client),
                });
            }
            let event = self.events.get_mut(self.handled)?;
            self.handled += 1;
            match event {
                driver::Event::Received { socket, buffer } if self.streams.has(*socket) => {
                    let (socket, buffer) = (*socket, *buffer);
                    let heard = self.streams.received(socket, self.driver.bytes(buffer));
                    self.driver.give_back(buffer);
                    self.heard(socket, heard);
                }
                driver::Event::Connected { socket, result: Ok(()) } if self.tls.is_some() => {
                    let socket = *socket;
                    self.secure(socket);
                }
                driver::Event::Received { socket, buffer } => {
                    let (client, buffer) = (self.sockets[socket.0 as usize], *buffer);
                    if client == NONE {
                        self.driver.give_back(buffer);
                        continue;
                    }
                    self.lent = Some(buffer);
                    return Some(Event::Received(client, self.driver.bytes(buffer)));
                }
                driver::Event::Closed { socket } => {
                    let client = self.sockets[socket.0 as usize];
                    if client != NONE {
                        return Some(Event::Gone(client));
                    }
                }
                driver::Event::Connected { socket, result } => {
                    let client = self.sockets[socket.0 as usize];
                    let result = std::mem::replace(result, Ok(()));
                    if client != NONE {
                        return Some(Event::Connected(client, result));
                    }
                }
                _ => {}
            }
        }
    }

    /// Sends `bytes` behind all that `client` sent before, now or with the next `wait` or `flush`;
    /// keeps what the kernel does not take. `next_event` tells of a client that is gone.
    pub fn send(&mut self, client: u32, bytes: &[u8]) {
        let place = &mut self.clients[client as usize];
        if place.socket == NONE || place.socket == WANTED {
            return;
        }
        let socket = Socket(place.socket);
        let mut sent = 0;
        let direct = self.tls.is_none() && self.events.len() < DIRECT_BELOW;
        if direct && place.queued_in != self.turn {
            // What breaks here is told by the receive that breaks with it.
            sent = self.driver.send_now(socket, bytes).unwrap_or(bytes.len());
        }
        if sent < bytes.len() {
            place.queued_in = self.turn;
            let start = self.out.len();
            self.out.extend_from_slice(&bytes[sent..]);
            self.segments.push(Segment { socket, start, end: self.out.len() });
        }
    }

    /// A connect came about: TLS begins.
    fn secure(&mut self, socket: Socket) {
        let client = self.sockets[socket.0 as usize];
        let Some(peer) = peer_address(self.driver.fd(socket)).filter(|_| client != NONE) else {
            return;
        };
        let now = Mono(self.clock.now());
        let begun = self.streams.connect(socket, self.tls.as_ref(), peer.ip(), (), now);
        if let Err(why) = begun {
            self.told.push_back((client, Told::Connected(Err(io::Error::other(why.0)))));
        }
    }

    fn shake_hands(&mut self) {
        while let Some((socket, heard)) = self.streams.next_handshake() {
            self.heard(socket, heard);
        }
        let now = Mono(self.clock.now());
        while let Some(socket) = self.streams.next_late(now) {
            let failed = Some("the handshake took too long".into());
            self.heard(socket, Heard { failed, ..Heard::default() });
        }
    }

    fn heard(&mut self, socket: Socket, heard: Heard<()>) {
        let client = self.sockets[socket.0 as usize];
        if client == NONE {
            return;
        }
        if heard.opened.is_some() {
            self.told.push_back((client, Told::Connected(Ok(()))));
        }
        if !heard.plain.is_empty() {
            self.told.push_back((client, Told::Plain(heard.plain)));
        }
        match heard.failed {
            Some(_) if self.streams.is_open(socket) => self.told.push_back((client, Told::Gone)),
            Some(why) => {
                self.told.push_back((client, Told::Connected(Err(io::Error::other(why)))));
            }
            None if heard.ended => self.told.push_back((client, Told::Gone)),
            None => {}
        }
    }

    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        self.streams.secure(&mut self.out, &mut self.segments, &[], |_| false);
        self.driver.enter(&self.out, &self.segments, wait)?;
        self.segments.clear();
        self.out.clear();
        // 0 is never a turn's number.
        self.turn = self.turn.wrapping_add(1).max(1);
        Ok(())
    }
}

/// The server's addresses; the first one that answers is the one that clients dial.
pub fn resolve(target: &Target, limit: Duration) -> Result<Vec<SocketAddr>, Failure> {
    if target.unix.is_some() {
        return Ok(Vec::new());
    }
    let wrong = |it: &dyn std::fmt::Display| {
        Failure::Connect(format!("cannot connect to {}: {it}", target.name()))
    };
    let found = (target.host.as_str(), target.port).to_socket_addrs().map_err(|it| wrong(&it))?;
    let found: Vec<SocketAddr> = found.collect();
    let answers = |it: &&SocketAddr| TcpStream::connect_timeout(it, limit).is_ok();
    match found.as_slice() {
        [] => Err(wrong(&"the name has no address")),
        [only] => Ok(vec![*only]),
        several => Ok(vec![*several.iter().find(answers).unwrap_or(&several[0])]),
    }
}

/// How many descriptors each thread's sockets may have: as many as they like where there are enough;
/// else what there is, and idle sockets are parked.
pub fn descriptors(plan: &Plan) -> Result<usize, Failure> {
    let needed = plan.connections() + u64::from(plan.threads) + DESCRIPTORS_SPARE;
    let limit = raise_soft_limit(libc::RLIMIT_NOFILE, needed);
    if needed <= limit {
        return Ok(usize::MAX);
    }
    let each = limit.saturating_sub(DESCRIPTORS_SPARE) / u64::from(plan.threads);
    if each < DESCRIPTORS_MIN {
        return Err(Failure::Plan(format!(
            "this process may open {limit} files (RLIMIT_NOFILE), which is too few for {} threads",
            plan.threads
        )));
    }
    Ok(crate::draw::to_usize(each))
}

/// CPU time that all threads of a process have used, in nanoseconds; this one's without a number.
pub fn cpu_ns(process: Option<i32>) -> io::Result<u64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    #[expect(unsafe_code, reason = "std knows no CPU clocks")]
    // SAFETY: both calls write to one local of the type that they ask for, and keep no pointer.
    let failed = unsafe {
        let mut clock = libc::CLOCK_PROCESS_CPUTIME_ID;
        let unknown = process.map_or(0, |pid| libc::clock_getcpuclockid(pid, &raw mut clock));
        if unknown != 0 {
            return Err(io::Error::from_raw_os_error(unknown));
        }
        libc::clock_gettime(clock, &raw mut time)
    };
    if failed != 0 {
        return Err(io::Error::last_os_error());
    }
    let ns = time.tv_sec * 1_000_000_000 + time.tv_nsec;
    Ok(ns.cast_unsigned())
}

fn tcp(target: &Target, limit: Duration) -> io::Result<TcpStream> {
    let mut error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, limit) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(limit))?;
                stream.set_write_timeout(Some(limit))?;
                return Ok(stream);
            }
            Err(it) => error = it,
        }
    }
    Err(error)
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Anonymous memory of this process that is in RAM, in bytes; 0 where the host does not say.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|it| it.strip_prefix("RssAnon:"));
    let kib = line.and_then(|it| it.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or(0) * 1024
}

/// Lets this thread's waits end when they should: by default Linux adds up to 50 us.
pub fn precise_timers() -> io::Result<()> {
    #[expect(unsafe_code, reason = "std cannot set the timer slack")]
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1u64, 0u64, 0u64, 0u64) };
    checked(result).map(|_| ())
}
