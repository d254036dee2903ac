//! One core's loop: reap, turn, send, sleep.
//!
//! ```text
//!   driver.events + mesh -> inputs -> Core::turn -> outbox
//!   outbox: replicas' bytes by direct send, then mail, then all replies and bells in one enter
//! ```
//!
//! **Order.** Bytes to replicas go out before the replies of the same turn enter the kernel, and
//! mail (which may tell other cores to let theirs go) after that. So no client sees an answer that a
//! healthy replica's socket has not been given before.
//!
//! The loop is one glommio task that sleeps in its own ring, and never in glommio's. Files have a thread
//! of their own (`disk.rs`), whose bell the ring hears. What is left to glommio makes progress while
//! something is under way there, in slices of the loop's time (`slices.rs`).
#![expect(clippy::disallowed_methods, reason = "the I/O layer sleeps where it was told to")]

use crate::base::time::Now;
use crate::node::admission::Admission;
use crate::node::cluster::ToBus;
use crate::node::core::{Core, FileEvent, Input};
use crate::node::host::{Host, Sockets};
use crate::node::message::{self, Message};
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::session::{Ends, Session};
use crate::node::settings::{Settings, Supervised};
use crate::runtime::append::Append;
use crate::runtime::bus::Bus;
use crate::runtime::clock::Clock;
use crate::runtime::company::Companion;
use crate::runtime::disk::Disk;
use crate::runtime::doors::{self, Door};
use crate::runtime::mesh::{Mesh, Parcel};
use crate::runtime::metrics::Note;
use crate::runtime::migrations::Migrations;
use crate::runtime::slices::Slices;
use crate::runtime::spill::Spill;
use crate::runtime::streams::Streams;
use crate::runtime::texts::Texts;
use crate::runtime::tls::{Reload, Store};
use crate::runtime::{crash, host, links, logs, notify, serve};
use crate::uring::driver::{Buffer, Driver, Event, Segment, Sizes, Socket, Wait};
use crate::uring::sys;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// What a core's thread starts with.
pub struct Seat {
    pub id: usize,
    pub cpu: usize,
    pub clock: Clock,
    pub mesh: Mesh,
    pub core: Core,
    pub entrance: Option<Entrance>,
    pub exit: Arc<AtomicU8>,
    pub host: Arc<Host>,
    /// Where reports go, with a port for metrics.
    pub reports: Option<Sender<Note>>,
    /// Descriptors that this core's sockets may have.
    pub descriptors: usize,
    pub tls: Arc<Store>,
}

/// What core 0 has besides.
pub struct Entrance {
    pub listeners: Vec<OwnedFd>,
    pub admin_listeners: Vec<OwnedFd>,
    pub tls_listeners: Vec<OwnedFd>,
    /// The process', where this is not one node of several.
    pub signals: Option<OwnedFd>,
    pub companion: Option<Companion>,
    pub disk: Disk,
    pub append: Append,
    pub spill: Spill,
    /// The mind of a cluster's node, where this is one.
    pub bus: Option<Bus>,
}

const SIGNALS: u32 = 0;
const FILES: u32 = 1;
const BUS: u32 = 2;
const ACCEPT_AGAIN_MS: u64 = 100;

/// The longest sleep while somebody waits to be accepted and all descriptors are taken.
const FULL_NAP: Duration = Duration::from_millis(1);

/// The longest sleep while a small file or a name is waited for.
const FILE_NAP: Duration = Duration::from_micros(50);

/// Everything of one core that touches the outside.
pub(super) struct Loop {
    id: usize,
    cores: usize,
    pub(super) clock: Clock,
    mesh: Mesh,
    pub(super) driver: Driver,
    pub(super) tls: Arc<Store>,
    pub(super) streams: Streams<Ends>,
    /// Keys and certificates that are being read.
    pub(super) reload: Option<Reload>,
    /// Connections without a session that are to be closed at the end of the turn.
    pub(super) shut: Vec<Socket>,
    disk: Option<Disk>,
    append: Option<Append>,
    spill: Option<Spill>,
    bus: Option<Bus>,
    pub(super) settings: Arc<Settings>,
    signals: Option<OwnedFd>,
    companion: Option<Companion>,
    exit: Arc<AtomicU8>,
    host: Arc<Host>,
    reports: Option<Sender<Note>>,
    /// What the host was last told of this core's sockets.
    pub(super) told: Sockets,
    admission: Admission,
    /// Somebody may be accepted as soon as there is room.
    is_full: bool,
    /// Listeners for administration.
    admin_doors: Vec<u32>,
    /// Listeners for TLS.
    pub(super) doors: Vec<Door>,
    /// Which core the next client goes to.
    next_core: usize,
    /// Sessions on their way out, until the kernel lets go of their sockets.
    pub(super) leaving: Vec<Leaving>,
    /// Feeds whose socket is full.
    blocked: Vec<Conn>,
    pub(super) stopped_listeners: Vec<u32>,
    accept_again: u64,
    dial: Option<links::Dial>,
    /// Names being resolved for flows of our master's stream, and their connects under way.
    flow_dials: Vec<(u64, links::Dial)>,
    flow_connects: Vec<(Socket, u64)>,
    migrations: Migrations,
    texts: Texts,
    /// The connect under way to the master that was last named.
    pub(super) connecting: Option<Socket>,
    ended: Option<u8>,
    ready: bool,
    second: Second,
}

/// What is known of the second that runs, for those who watch how busy the core is.
#[derive(Default)]
struct Second {
    began: u64,
    cpu_us: u64,
    turns: u64,
    longest_ns: u64,
}

const SECOND_NS: u64 = 1_000_000_000;

/// A session on its way to another core.
pub(super) struct Leaving {
    pub(super) socket: Socket,
    core: usize,
    pub(super) session: Box<Session>,
    /// Nothing more goes out by it here, and the driver was told to let it go.
    given_up: bool,
}

/// Serves on this core until the process ends.
pub async fn serve(seat: Seat) {
    let exit = Arc::clone(&seat.exit);
    if let Err(error) = run(seat).await {
        tracing::error!("the socket ring failed: {error}");
        exit.store(2, Ordering::Release);
        end_process(2);
    }
}

async fn run(seat: Seat) -> std::io::Result<()> {
    let Seat { id, clock, mesh, mut core, entrance, exit, host, reports, .. } = seat;
    let Seat { descriptors, tls, .. } = seat;
    let driver = Driver::new(Sizes { descriptors, ..Sizes::default() })?;
    let settings = core.settings();
    let cores = core.cores();
    let mut looping = Loop {
        id,
        cores,
        clock,
        mesh,
        driver,
        tls,
        streams: Streams::default(),
        reload: None,
        shut: Vec::new(),
        disk: None,
        append: None,
        spill: None,
        bus: None,
        settings,
        signals: None,
        companion: None,
        exit,
        host,
        reports,
        told: Sockets::default(),
        admission: Admission::default(),
        is_full: false,
        admin_doors: Vec::new(),
        doors: Vec::new(),
        next_core: 0,
        leaving: Vec::new(),
        blocked: Vec::new(),
        stopped_listeners: Vec::new(),
        accept_again: 0,
        dial: None,
        flow_dials: Vec::new(),
        flow_connects: Vec::new(),
        migrations: Migrations::default(),
        texts: Texts::default(),
        connecting: None,
        ended: None,
        ready: false,
        second: Second::default(),
    };
    looping.mesh.announce(looping.driver.ring_fd());
    while !looping.mesh.is_complete() {
        std::thread::sleep(Duration::from_micros(200)); // Nothing else runs here yet.
    }
    if let Some(entrance) = entrance {
        looping.enter(entrance);
    }
    let mut out = Outbox::new(cores);
    core.begin(clock.now(), &mut out);
    looping.serve(&mut core, &mut out).await
}

/// Something for the next turn, in the order in which it happened.
pub(super) enum Pending {
    Input(Input<'static>),
    Bytes(Conn, Buffer),
    /// Of a TLS connection, for `Streams::plain`.
    Plain(Conn, Range<usize>),
}

impl Loop {
    /// Takes what core 0 has besides.
    fn enter(&mut self, entrance: Entrance) {
        let Entrance { listeners, admin_listeners, tls_listeners, .. } = entrance;
        let Entrance { signals, companion, disk, append, spill, bus, .. } = entrance;
        if let Some(bus) = &bus {
            self.driver.watch(bus.bell(), BUS);
        }
        self.bus = bus;
        self.driver.watch(disk.bell(), FILES);
        self.driver.watch(append.bell(), FILES);
        self.driver.watch(spill.bell(), FILES);
        (self.disk, self.append) = (Some(disk), Some(append));
        self.spill = Some(spill);
        if let Some(signals) = &signals {
            self.driver.watch(signals.as_raw_fd(), SIGNALS);
        }
        if let Some(companion) = &companion {
            self.driver.watch(companion.bell(), SIGNALS);
        }
        (self.signals, self.companion) = (signals, companion);
        self.driver.keep_alive(self.settings.tcp_keepalive);
        for (listener, by_tls) in listeners
            .into_iter()
            .map(|it| (it, false))
            .chain(tls_listeners.into_iter().map(|it| (it, true)))
        {
            let address = sys::local_address(listener.as_raw_fd());
            let number = self.driver.listen(listener);
            self.doors.push(Door { number, address, by_tls });
        }
        self.admin_doors =
            admin_listeners.into_iter().map(|it| self.driver.listen_reserved(it)).collect();
    }

    async fn serve(&mut self, core: &mut Core, out: &mut Outbox) -> std::io::Result<()> {
        let (mut events, mut pending) = (Vec::new(), Vec::new());
        let (mut segments, mut feeds) = (Vec::new(), Vec::new());
        let mut slices = Slices::begin();
        loop {
            let woke = self.clock.mono();
            self.driver.take_events(&mut events);
            self.streams.begin_turn();
            // Mail first: with it come back the sockets of clients that have gone on already.
            self.collect(&mut pending);
            self.happened(&mut events, &mut pending);
            self.collect_certificates(&mut pending);
            self.shake_hands(&mut pending);
            let started = self.clock.now();
            self.turn(core, started, &mut pending, out);
            self.feed(core, out, &mut feeds);
            self.act(core, out, &mut pending);
            self.post(out);
            let done = self.clock.mono().0;
            core.charge(done.saturating_sub(started.mono.0));
            self.admit(done.saturating_sub(woke.0));
            self.tell_load(done, done.saturating_sub(woke.0));
            segments.clear();
            segments.extend(out.segments().iter().map(|it| Segment {
                socket: Socket(it.conn.0),
                start: it.start,
                end: it.end,
            }));
            self.seal(out, &mut segments);
            let wait = self.wait(core, !pending.is_empty());
            let busy = matches!(wait, Wait::No);
            self.driver.enter(&out.bytes, &segments, wait)?;
            self.mesh.wake_up();
            self.tell_sockets();
            out.clear_segments();
            self.close(out, &mut pending);
            self.close_shut();
            if let Some(code) = self.ended {
                return self.end(code);
            }
            if self.texts.is_working() {
                slices.give(busy).await;
            }
        }
    }

    /// Says how long the turn took; on core 0, how many clients the next one lets in.
    fn admit(&mut self, took: u64) {
        if let Some(lag) = self.host.lags.get(self.id) {
            lag.store(took, Ordering::Relaxed);
        }
        if self.id == 0 {
            let seats = self.host.seats.load(Ordering::Relaxed);
            let taken = self.host.seated.load(Ordering::Relaxed);
            let most = self.admission.next(self.host.lag(), seats, taken);
            self.driver.admit(most);
            self.is_full = most == 0 && self.driver.has_callers();
        }
    }

    /// Counts the turn, and once a second says how busy this core is.
    fn tell_load(&mut self, now: u64, took: u64) {
        let second = &mut self.second;
        second.turns += 1;
        second.longest_ns = second.longest_ns.max(took);
        let passed = now.saturating_sub(second.began);
        if passed < SECOND_NS {
            return;
        }
        let Some(load) = self.host.loads.get(self.id) else { return };
        let cpu_us = sys::thread_cpu_micros();
        let permille = cpu_us.saturating_sub(second.cpu_us).saturating_mul(1_000_000) / passed;
        let (parked, _) = self.driver.parked();
        for (place, number) in [
            (&load.cpu_us, cpu_us),
            (&load.busy_permille, permille.min(1_000)),
            (&load.longest_ns, second.longest_ns),
            (&load.seated, self.driver.seated() as u64),
            (&load.parked, parked as u64),
        ] {
            place.store(number, Ordering::Relaxed);
        }
        load.turns.fetch_add(second.turns, Ordering::Relaxed);
        *second = Second { began: now, cpu_us, ..Second::default() };
    }

    fn tell_sockets(&mut self) {
        let (parked, tables) = self.driver.parked();
        let now = Sockets { seated: self.driver.seated(), parked, tables };
        if now != self.told {
            self.host.note_sockets(std::mem::replace(&mut self.told, now), now);
        }
    }

    /// One turn of the core over what has happened.
    fn turn(&mut self, core: &mut Core, now: Now, pending: &mut Vec<Pending>, out: &mut Outbox) {
        let mut given_back = Vec::new();
        let mut inputs: Vec<Input<'_>> = Vec::with_capacity(pending.len());
        for it in pending.drain(..) {
            match it {
                Pending::Input(input) => inputs.push(input),
                Pending::Plain(conn, range) => {
                    let bytes = self.streams.plain(range);
                    inputs.push(Input::Received { conn, bytes, wire: 0 });
                }
                Pending::Bytes(conn, buffer) => {
                    let bytes = self.driver.bytes(buffer);
                    let wire =
                        if self.cores > 1 { self.driver.lendable(Socket(conn.0)) } else { 0 };
                    inputs.push(Input::Received { conn, bytes, wire });
                    given_back.push(buffer);
                }
            }
        }
        core.turn(now, &mut inputs, out);
        drop(inputs);
        out.returned.drain(..).for_each(|conn| self.driver.returned(Socket(conn.0)));
        out.lent.drain(..).for_each(|conn| self.driver.lend(Socket(conn.0)));
        given_back.into_iter().for_each(|buffer| self.driver.give_back(buffer));
    }

    /// What the kernel said.
    fn happened(&mut self, events: &mut Vec<Event>, pending: &mut Vec<Pending>) {
        for event in events.drain(..) {
            match event {
                Event::Received { socket, buffer } => self.received(socket, buffer, pending),
                Event::Closed { socket } => self.peer_gone(socket, pending),
                Event::Backlog { socket, bytes } => {
                    pending.push(Pending::Input(Input::Backlog { conn: Conn(socket.0), bytes }));
                }
                Event::Drained { socket } if self.is_leaving(socket) => self.give_up(socket),
                Event::Drained { socket } => {
                    let conn = Conn(socket.0);
                    self.blocked.retain(|it| *it != conn);
                    pending.push(Pending::Input(Input::Drained { conn }));
                }
                Event::Accepted { listener, fd } => self.accepted(listener, fd, pending),
                Event::AcceptStopped { listener, error } => {
                    tracing::warn!("accepting stopped for a moment: {error}");
                    self.stopped_listeners.push(listener);
                    self.accept_again = self.clock.mono().plus_ms(ACCEPT_AGAIN_MS).0;
                }
                Event::Connected { socket, result } => {
                    let result = match result {
                        Ok(()) if self.settings.tls_replication => match self.secure_link(socket) {
                            Ok(()) => continue, // `Dialled` follows the handshake.
                            Err(why) => {
                                self.shut.push(socket);
                                Err(why)
                            }
                        },
                        Ok(()) => Ok((Conn(socket.0), ends(self.driver.fd(socket)))),
                        Err(error) => {
                            self.driver.close_now(socket);
                            Err(error.to_string())
                        }
                    };
                    pending.push(Pending::Input(self.dialled(socket, result)));
                }
                Event::Detached { socket, fd } => {
                    if let Some(at) = self.leaving.iter().position(|it| it.socket == socket) {
                        let Leaving { core, session, .. } = self.leaving.swap_remove(at);
                        self.host.seated.fetch_add(1, Ordering::Relaxed);
                        let secured = self.streams.forget(socket);
                        self.mesh.send(core, Parcel::Session(fd, session, secured), true);
                    }
                }
                Event::Readable { tag } if tag == SIGNALS => {
                    let signals = self.signals.as_ref().map(sys::take_signals).unwrap_or_default();
                    if signals.reopen {
                        logs::reopen();
                    }
                    if signals.end {
                        self.companion.iter().for_each(Companion::call_others);
                    }
                    if self.companion.as_ref().is_some_and(Companion::is_called) || signals.end {
                        let interrupt = signals.interrupt;
                        pending.push(Pending::Input(Input::Terminate { interrupt }));
                    }
                }
                Event::Readable { tag } if tag == BUS => self.bus.iter().for_each(Bus::silence),
                Event::Readable { .. } => {
                    self.disk.iter().for_each(Disk::silence);
                    self.append.iter().for_each(Append::silence);
                    self.spill.iter().for_each(Spill::silence);
                }
                Event::Bell => {}
            }
        }
    }

    fn received(&mut self, socket: Socket, buffer: Buffer, pending: &mut Vec<Pending>) {
        if self.streams.has(socket) {
            return self.received_sealed(socket, buffer, pending);
        }
        match self.leaving.iter_mut().find(|it| it.socket == socket) {
            None => pending.push(Pending::Bytes(Conn(socket.0), buffer)),
            Some(leaving) => {
                leaving.session.keep(self.driver.bytes(buffer));
                self.driver.give_back(buffer);
            }
        }
    }

    /// Who leaves for another core ends there.
    pub(super) fn peer_gone(&mut self, socket: Socket, pending: &mut Vec<Pending>) {
        if self.streams.has(socket) && !self.streams.is_open(socket) {
            self.gone_early(socket, pending);
        } else if self.is_leaving(socket) {
            self.give_up(socket);
        } else {
            pending.push(Pending::Input(Input::Ended { conn: Conn(socket.0) }));
        }
    }

    fn is_leaving(&self, socket: Socket) -> bool {
        self.leaving.iter().any(|it| it.socket == socket)
    }

    /// Once: the number may belong to another socket soon after.
    fn give_up(&mut self, socket: Socket) {
        let leaving = self.leaving.iter_mut().find(|it| it.socket == socket && !it.given_up);
        if let Some(leaving) = leaving {
            leaving.given_up = true;
            self.driver.detach(socket);
        }
    }

    /// Clients go to the cores in turn, but for administrators, who are few and stay here.
    pub(super) fn accepted(&mut self, listener: u32, fd: OwnedFd, pending: &mut Vec<Pending>) {
        self.host.seated.fetch_add(1, Ordering::Relaxed);
        if self.admin_doors.contains(&listener) {
            self.take_in(fd, |conn, ends| Input::Admitted { conn, ends }, pending);
            return;
        }
        let core = self.next_core;
        self.next_core = (core + 1) % self.cores;
        match (core == self.id, self.is_tls_door(listener)) {
            (true, true) => self.adopt_secured(fd),
            (true, false) => drop(self.adopt(fd, None, pending)),
            (false, true) => self.mesh.send(core, Parcel::SecuredClient(fd), true),
            (false, false) => self.mesh.send(core, Parcel::Client(fd), true),
        }
    }

    fn adopt(
        &mut self,
        fd: OwnedFd,
        session: Option<Box<Session>>,
        pending: &mut Vec<Pending>,
    ) -> Socket {
        let input = |conn, ends| match session {
            None => Input::Opened { conn, ends },
            Some(session) => Input::Moved { conn, session },
        };
        self.take_in(fd, input, pending)
    }

    fn take_in(
        &mut self,
        fd: OwnedFd,
        input: impl FnOnce(Conn, Ends) -> Input<'static>,
        pending: &mut Vec<Pending>,
    ) -> Socket {
        let ends = ends(fd.as_raw_fd());
        let socket = self.driver.adopt(fd);
        self.told.seated += 1; // Whoever sent it here has counted it.
        pending.push(Pending::Input(input(Conn(socket.0), ends)));
        socket
    }

    /// What other cores, files and dials say.
    fn collect(&mut self, pending: &mut Vec<Pending>) {
        let mut parcels = Vec::new();
        self.mesh.receive(|from, parcel| parcels.push((from, parcel)));
        for (from, parcel) in parcels {
            match parcel {
                Parcel::Message(message) => {
                    pending.push(Pending::Input(Input::Message { from, message }));
                }
                Parcel::Client(fd) => drop(self.adopt(fd, None, pending)),
                Parcel::SecuredClient(fd) => self.adopt_secured(fd),
                Parcel::Session(fd, session, secured) => {
                    let socket = self.adopt(fd, Some(session), pending);
                    if let Some(secured) = secured {
                        self.streams.take_in(socket, secured);
                    }
                }
            }
        }
        while let Some(said) = self.bus.as_ref().and_then(Bus::take) {
            pending.push(Pending::Input(Input::Bus(said)));
        }
        while let Some(event) = self.disk.as_ref().and_then(Disk::take_event) {
            pending.push(Pending::Input(Input::File(event)));
        }
        while let Some(done) = self.spill.as_ref().and_then(Spill::take_done) {
            pending.push(Pending::Input(Input::File(FileEvent::Spilled(done))));
        }
        while let Some(answer) = self.append.as_ref().and_then(Append::take_answer) {
            pending.push(Pending::Input(Input::File(FileEvent::Aof(answer))));
        }
        if let Some(result) = self.texts.take() {
            pending.push(Pending::Input(Input::File(FileEvent::Text(result))));
        }
        while let Some((number, migrated)) = self.migrations.take(self.clock.mono().0) {
            pending.push(Pending::Input(Input::Migrated { number, migrated }));
        }
        if let Some(dial) = &self.dial
            && let Some(found) = dial.take()
        {
            self.dial = None;
            self.connect(found, pending);
        }
        for (number, dial) in std::mem::take(&mut self.flow_dials) {
            match dial.take() {
                Some(found) => self.connect_flow(number, found, pending),
                None => self.flow_dials.push((number, dial)),
            }
        }
        if !self.stopped_listeners.is_empty() && self.clock.mono().0 >= self.accept_again {
            for listener in std::mem::take(&mut self.stopped_listeners) {
                self.driver.listen_again(listener);
            }
        }
    }

    /// The master's address is known, or not to be found.
    fn connect(&mut self, found: Result<SocketAddr, String>, pending: &mut Vec<Pending>) {
        let socket = found
            .and_then(|address| self.driver.dial(None, address).map_err(|error| error.to_string()));
        match socket {
            Ok(socket) => self.connecting = Some(socket),
            Err(why) => pending.push(Pending::Input(Input::Dialled { result: Err(why) })),
        }
    }

    fn connect_flow(
        &mut self,
        number: u64,
        found: Result<SocketAddr, String>,
        pending: &mut Vec<Pending>,
    ) {
        let socket = found
            .and_then(|address| self.driver.dial(None, address).map_err(|error| error.to_string()));
        match socket {
            Ok(socket) => self.flow_connects.push((socket, number)),
            Err(why) => {
                let result = Err(why);
                pending.push(Pending::Input(Input::FlowDialled { number, result }));
            }
        }
    }

    /// Is that a connect under way, which has no session yet?
    pub(super) fn is_connecting(&self, socket: Socket) -> bool {
        self.connecting == Some(socket) || self.flow_connects.iter().any(|it| it.0 == socket)
    }

    /// What a connect came to, for whoever asked for it.
    pub(super) fn dialled(
        &mut self,
        socket: Socket,
        result: Result<(Conn, Ends), String>,
    ) -> Input<'static> {
        if let Some(at) = self.flow_connects.iter().position(|it| it.0 == socket) {
            let (_, number) = self.flow_connects.swap_remove(at);
            return Input::FlowDialled { number, result };
        }
        self.connecting = None;
        Input::Dialled { result }
    }

    /// Bytes to replicas, before anything else of this turn leaves.
    fn feed(&mut self, core: &mut Core, out: &mut Outbox, feeds: &mut Vec<Conn>) {
        if self.id != 0 {
            return;
        }
        core.feeds(feeds);
        for &conn in feeds.iter() {
            if self.blocked.contains(&conn) {
                continue;
            }
            loop {
                let bytes = core.feed_bytes(conn);
                if bytes.is_empty() {
                    break;
                }
                // An error shows as the end of the connection, which the receive reports.
                let sent = self.streams.send_now(&mut self.driver, Socket(conn.0), bytes);
                let Ok(sent @ 1..) = sent else {
                    self.driver.await_writable(Socket(conn.0));
                    self.blocked.push(conn);
                    break;
                };
                core.fed(conn, sent, out);
            }
        }
    }

    /// Mail for other cores, and bells for those that sleep.
    fn post(&mut self, out: &mut Outbox) {
        for (core, mail) in out.mail.iter_mut().enumerate() {
            for mut message in mail.drain(..) {
                let silent = match &mut message {
                    Message::Replies { frames, lent: 1.., .. } => {
                        message::hand_out(frames, |_, wire, bytes| sys::send_lent(wire, bytes))
                    }
                    _ => false,
                };
                self.mesh.send(core, Parcel::Message(message), !silent);
            }
        }
        let driver = &mut self.driver;
        self.mesh.flush(|ring_fd| driver.ring_bell(ring_fd));
    }

    /// Everything that the core wants done, but for closing and moving, which wait until replies are
    /// sent.
    fn act(&mut self, core: &mut Core, out: &mut Outbox, pending: &mut Vec<Pending>) {
        let mut closing = Vec::new();
        for action in out.actions.drain(..) {
            match action {
                later @ (Action::Close(_) | Action::CloseNow(_) | Action::Move { .. }) => {
                    closing.push(later);
                }
                Action::Pause(conn) => self.driver.pause(Socket(conn.0)),
                Action::Resume(conn) => self.driver.resume(Socket(conn.0)),
                Action::Gather(conn) => {
                    sys::set_nodelay(&self.driver.fd(Socket(conn.0)), false);
                }
                Action::Dial { host, port } => {
                    if let Some(socket) = self.connecting.take() {
                        self.streams.forget(socket);
                        self.driver.close_now(socket);
                    }
                    self.dial = Some(links::Dial::start(host, port));
                }
                Action::DialFlow { number, host, port } => {
                    self.flow_dials.push((number, links::Dial::start(host, port)));
                }
                Action::Migrate(migration) => {
                    let by_tls = self.settings.tls_cluster.then(|| self.tls.get()).flatten();
                    self.migrations.start(*migration, by_tls.and_then(|it| it.client.clone()));
                }
                Action::Save(step) => self.disk.iter().for_each(|it| it.save(step.clone())),
                Action::LoadFile { path } => {
                    self.disk.iter().for_each(|it| it.read(path.as_deref()));
                }
                Action::Spill(step) => {
                    let dir = serve::path(&self.settings.dir);
                    self.spill.iter().for_each(|it| it.step(step.clone(), dir));
                }
                Action::Aof(step) => self.append.iter().for_each(|it| it.step(step.clone())),
                Action::Text { path, replace } => self.texts.start(path, replace),
                Action::Certificates(settings) => {
                    let moves = doors::moves(&self.settings, &settings);
                    self.reload = Some(Reload::start(*settings, moves));
                }
                Action::SettingsChanged => {
                    self.settings = core.settings();
                    self.driver.keep_alive(self.settings.tcp_keepalive);
                    logs::set_level(self.settings.loglevel);
                    crash::enable(self.settings.crash_log_enabled);
                    if let Some(disk) = &mut self.disk {
                        disk.set_target(rdb_path(&self.settings));
                    }
                }
                Action::Ready => self.ready(),
                Action::Bus(order) => {
                    if let Some(bus) = &self.bus {
                        bus.tell(order);
                    }
                }
                Action::Exit { code } => self.ended = Some(code),
                Action::Report(report) => {
                    if let Some(reports) = &self.reports {
                        let _ = reports.send(Note::Report(report)); // It hears as long as we live.
                    }
                }
                Action::GiveBackMemory => host::give_back_memory(),
                Action::Log { level, text } => logs::write(level, &text),
                Action::Sleep { micros } => std::thread::sleep(Duration::from_micros(micros)),
            }
        }
        out.actions = closing;
        let _ = pending;
    }

    fn close(&mut self, out: &mut Outbox, pending: &mut Vec<Pending>) {
        for action in out.actions.drain(..) {
            let conn = match action {
                Action::Close(conn) => {
                    self.streams.forget(Socket(conn.0));
                    self.driver.close(Socket(conn.0));
                    conn
                }
                Action::CloseNow(conn) => {
                    self.streams.forget(Socket(conn.0));
                    self.driver.close_now(Socket(conn.0));
                    conn
                }
                Action::Move { conn, core, session } => {
                    let socket = Socket(conn.0);
                    self.leaving.push(Leaving { socket, core, session, given_up: false });
                    // A slow reader's output goes first: `Drained` lets it go.
                    if self.driver.backlog_bytes(socket) == 0 {
                        self.give_up(socket);
                    }
                    continue;
                }
                _ => continue,
            };
            self.blocked.retain(|it| *it != conn);
            pending.push(Pending::Input(Input::Ended { conn }));
        }
    }

    /// May the core sleep? Not while anything is to be done that needs no one from outside.
    fn wait(&mut self, core: &Core, pending: bool) -> Wait {
        if pending
            || self.ended.is_some()
            || core.is_busy()
            || self.mesh.is_clogged()
            || self.streams.has_work()
            || !self.shut.is_empty()
            || !self.mesh.fall_asleep(core.listens_for_returns())
        {
            return Wait::No;
        }
        let reads = self.texts.is_working() || self.reload.is_some();
        let resolves = self.dial.is_some() || !self.flow_dials.is_empty();
        if reads || resolves || self.migrations.is_working() {
            return Wait::AtMost(FILE_NAP);
        }
        if self.is_full {
            return Wait::AtMost(FULL_NAP);
        }
        Wait::AtMost(Duration::from_millis(core.sleep_ms()))
    }

    fn ready(&mut self) {
        if !self.ready {
            self.ready = true;
            logs::write(Level::Notice, "Ready to accept connections");
            self.bus.iter().for_each(|it| it.tell(ToBus::Begin));
            let all = self.companion.as_ref().is_none_or(Companion::is_last_to_come);
            if all && matches!(self.settings.supervised, Supervised::Systemd | Supervised::Auto) {
                notify::ready();
            }
        }
    }

    /// The node is done: the process ends, with everything sent that was to be sent; where it has several nodes,
    /// when the last of them is done.
    fn end(&mut self, code: u8) -> std::io::Result<()> {
        self.exit.fetch_max(code, Ordering::AcqRel);
        notify::stopping();
        serve::clean_up(&self.settings);
        if let Some(companion) = &self.companion {
            companion.call_others();
            if !companion.is_last_to_end() {
                return Ok(());
            }
        }
        end_process(self.exit.load(Ordering::Acquire))
    }
}

/// Ends the process from a core's thread: the others hold nothing that must be saved.
fn end_process(code: u8) -> ! {
    std::process::exit(code.into())
}

pub(super) fn ends(fd: std::os::fd::RawFd) -> Ends {
    match (sys::peer_address(fd), sys::local_address(fd)) {
        (Some(peer), Some(local)) => Ends::tcp(peer, local),
        _ => Ends::Local,
    }
}

pub fn rdb_path(settings: &Settings) -> std::path::PathBuf {
    serve::path(&settings.dir).join(serve::path(&settings.dbfilename))
}
