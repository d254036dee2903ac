//! Starts the server: host checks, listeners, one pinned executor per core, and the wait for the end.
//!
//! Everything that can go wrong at the start says what to change and ends with a code: 1 for a
//! configuration that cannot be used, 2 for a host that is not fit.

use crate::acl::file;
use crate::acl::users::Users;
use crate::base::huge::give_back_what_is_large;
use crate::base::limits::{ADMIN_RESERVE, CORES_MAX};
use crate::base::settings::value::Cores;
use crate::engine::slot_counts::SlotCounts;
use crate::node::core::{Core, Shared};
use crate::node::families;
use crate::node::host::{Host, Load};
use crate::node::rights::users_of;
use crate::node::settings::{Settings, Supervised, Warning, report};
use crate::node::table::Table;
use crate::node::view::View;
use crate::runtime::append::Append;
use crate::runtime::clock::{self, Clock};
use crate::runtime::company::{self, Node};
use crate::runtime::disk::Disk;
use crate::runtime::looping::{self, Entrance, Seat};
use crate::runtime::mesh::mesh;
use crate::runtime::spill::Spill;
use crate::runtime::tls::Store;
use crate::runtime::{bus, crash, host, logs, metrics, notify, sentinel_start, slices, texts};
use crate::uring::room::{Room, descriptors_wanted};
use crate::uring::{fit, sys};
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize};
use std::sync::mpsc::Sender;
use std::time::Duration;

pub(super) const BAD_CONFIGURATION: u8 = 1;
pub(super) const UNFIT_HOST: u8 = 2;

const METRICS_BACKLOG: i32 = 16;

/// How often, and after how long, a port that is taken is asked for again: a second in all.
const LISTEN_TRIES: u32 = 50;
const LISTEN_AGAIN: Duration = Duration::from_millis(20);

/// Why the server did not start.
pub(super) struct Refusal {
    pub(super) code: u8,
    pub(super) why: String,
}

/// Serves until a signal or SHUTDOWN ends it.
#[must_use]
pub fn run(settings: Settings, warnings: &[Warning], config_file: Option<PathBuf>) -> ExitCode {
    give_back_what_is_large();
    match start(settings, warnings, config_file) {
        Ok(code) => ExitCode::from(code),
        Err(Refusal { code, why }) => {
            tracing::error!("{why}");
            ExitCode::from(code)
        }
    }
}

fn start(
    mut settings: Settings,
    warnings: &[Warning],
    config_file: Option<PathBuf>,
) -> Result<u8, Refusal> {
    if settings.daemonize {
        sys::daemonize().map_err(|error| refuse(UNFIT_HOST, "cannot daemonize", &error))?;
    }
    logs::start(&settings)
        .map_err(|error| refuse(BAD_CONFIGURATION, "cannot open the log file", &error))?;
    for line in report(warnings) {
        tracing::warn!("{line}");
    }
    fit::check().map_err(|unfit| Refusal { code: UNFIT_HOST, why: unfit.to_string() })?;
    let (table, users) = access(&settings)?;
    let cpus = cpus(&settings)?;
    let cores = cpus.len();
    let room = settle_clients(&mut settings, cores);
    let tls = Store::of(&settings).map_err(|why| Refusal { code: BAD_CONFIGURATION, why })?;
    let nodes = company::nodes(&settings, &cpus)?;
    let doors = nodes.iter().map(|node| Doors::open(&node.settings));
    let doors = doors.collect::<Result<Vec<_>, _>>()?;
    let signals = sys::signal_descriptor()
        .map_err(|error| refuse(UNFIT_HOST, "cannot watch for signals", &error))?;
    write_pidfile(&settings)?;
    greet(&settings, &cpus, room, config_file.as_deref());

    if !settings.sentinel_file.is_empty() {
        sentinel_start::beside(path(&settings.sentinel_file))?;
    }

    let exit = Arc::new(AtomicU8::new(0));
    crash::enable(settings.crash_log_enabled);
    let mut signals = Some(signals);
    let share = Room { seats: room.seats / nodes.len() as u64, ..room };
    // What one of several nodes would write into the file is not for the others.
    let config_file = config_file.filter(|_| nodes.len() == 1);
    let mut seats = Vec::new();
    for (node, doors) in nodes.into_iter().zip(doors) {
        let (given, file) = ((table, Arc::clone(&users), &tls), config_file.as_deref());
        seats.extend(open(node, doors, given, file, signals.take(), share, &exit)?);
    }
    let mut threads = Vec::new();
    for (number, seat) in seats.into_iter().enumerate() {
        let builder = LocalExecutorBuilder::new(Placement::Fixed(seat.cpu))
            .name(&format!("ringfold-{number}"))
            .ring_depth(256)
            .io_memory(1 << 20)
            .preempt_timer(slices::NEVER)
            .blocking_thread_pool_placement(PoolPlacement::Unbound(1));
        let thread = builder
            .spawn(move || looping::serve(seat))
            .map_err(|error| refuse(UNFIT_HOST, "cannot start a core", &error))?;
        threads.push(thread);
    }
    let result = wait_for(threads);
    clean_up(&settings);
    result.map(|()| exit.load(std::sync::atomic::Ordering::Acquire))
}

/// Where a node listens.
struct Doors {
    listeners: Vec<OwnedFd>,
    tls_listeners: Vec<OwnedFd>,
    admin_listeners: Vec<OwnedFd>,
}

impl Doors {
    fn open(settings: &Settings) -> Result<Self, Refusal> {
        Ok(Self {
            listeners: listen(settings)?,
            tls_listeners: listen_for_tls(settings)?,
            admin_listeners: listen_for_administration(settings)?,
        })
    }
}

/// A node put together: its threads beside the cores, and a seat for each core.
fn open(
    Node { settings, cpus, companion }: Node,
    doors: Doors,
    (table, users, tls): (&'static Table, Arc<Users>, &Arc<Store>),
    config_file: Option<&Path>,
    signals: Option<OwnedFd>,
    room: Room,
    exit: &Arc<AtomicU8>,
) -> Result<Vec<Seat>, Refusal> {
    let mut host = host::describe(&settings, config_file);
    host.seats = room.seats.into();
    host.loads = cpus.iter().map(|_| Load::default()).collect();
    host.heaviest = cpus.iter().map(|_| AtomicU64::default()).collect();
    host.refuses = cpus.iter().map(|_| AtomicU64::default()).collect();
    host.lags = cpus.iter().map(|_| AtomicU64::default()).collect();
    let host = Arc::new(host);
    host::watch(Arc::clone(&host));
    crash::watch(&host);
    let disk = Disk::start(looping::rdb_path(&settings))
        .map_err(|error| refuse(UNFIT_HOST, "cannot start the thread for files", &error))?;
    let append =
        Append::start().map_err(|error| refuse(1, "the thread of the append-only file", &error))?;
    let spill = Spill::start().map_err(|error| refuse(1, "the thread of the backlog", &error))?;
    let slots = Arc::<SlotCounts>::default();
    let bus = match settings.cluster_enabled {
        true => Some(bus::start(&settings, Arc::clone(&slots), tls)?),
        false => None,
    };
    let Doors { listeners, tls_listeners, admin_listeners } = doors;
    let entrance = Entrance {
        listeners,
        admin_listeners,
        tls_listeners,
        signals,
        companion,
        disk,
        append,
        spill,
        bus,
    };
    let reports = watched(&settings, &host, table, cpus.len())?;
    let view = View::new(Arc::new(settings), users);
    let mut seats = seats(view, (table, slots), cpus, entrance, (host, tls), room, exit);
    seats.iter_mut().for_each(|seat| seat.reports = reports.clone());
    Ok(seats)
}

/// Waits for the cores' threads together: one that cannot start must end the others, which wait for
/// it, whichever it is.
fn wait_for(threads: Vec<ExecutorJoinHandle<()>>) -> Result<(), Refusal> {
    let count = threads.len();
    let (ended, ends) = std::sync::mpsc::channel();
    for thread in threads {
        let ended = ended.clone();
        std::thread::spawn(move || drop(ended.send(thread.join())));
    }
    drop(ended);
    for end in ends.into_iter().take(count) {
        end.map_err(|error| refuse(UNFIT_HOST, "a core ended badly", &error))?;
    }
    Ok(())
}

/// Opens the port for metrics, where there is one.
fn watched(
    settings: &Settings,
    host: &Arc<Host>,
    table: &'static Table,
    cores: usize,
) -> Result<Option<Sender<metrics::Note>>, Refusal> {
    let mut listeners = Vec::new();
    listen_on(&settings.metrics_bind, settings.metrics_port, METRICS_BACKLOG, &mut listeners)?;
    if listeners.is_empty() {
        return Ok(None);
    }
    let (host, settings) = (Arc::clone(host), Arc::new(settings.clone()));
    let started = metrics::start(listeners, metrics::Node { host, table, cores, settings });
    started.map(Some).map_err(|error| refuse(UNFIT_HOST, "cannot serve metrics", &error))
}

/// The commands by their names, and the users, from the configuration or from a file of their own.
fn access(settings: &Settings) -> Result<(&'static Table, Arc<Users>), Refusal> {
    let wrong = |why: String| Refusal { code: BAD_CONFIGURATION, why };
    let table = families::renamed(&settings.renamed_commands).map_err(wrong)?;
    let mut users = users_of(settings, table.catalog()).map_err(wrong)?;
    if !settings.aclfile.is_empty() {
        if !settings.users.is_empty() {
            let why = "there are `user` lines and an aclfile: users can be in one place only";
            return Err(wrong(why.into()));
        }
        let name = settings.users_path();
        let text = texts::read(path(&name))
            .and_then(|text| text.ok_or(io::ErrorKind::NotFound.into()))
            .map_err(|error| refuse(BAD_CONFIGURATION, "cannot read the aclfile", &error))?;
        let shown = String::from_utf8_lossy(&settings.aclfile);
        users = file::read(table.catalog(), &users, &shown, &text).map_err(wrong)?;
    }
    for user in users.iter().filter(|user| !user.enabled && user.id != 0) {
        let name = String::from_utf8_lossy(&user.name);
        tracing::info!("the user '{name}' is disabled: no rule of it says 'on'");
    }
    Ok((table, Arc::new(users)))
}

/// What each core's thread is given.
fn seats(
    view: View,
    (table, slots): (&'static Table, Arc<SlotCounts>),
    cpus: Vec<usize>,
    entrance: Entrance,
    (host, tls): (Arc<Host>, &Arc<Store>),
    room: Room,
    exit: &Arc<AtomicU8>,
) -> Vec<Seat> {
    let cores = cpus.len();
    let shared = Shared {
        tickets: Arc::new(AtomicU64::new(0)),
        clients: Arc::new(AtomicUsize::new(0)),
        client_ids: Arc::new(AtomicU64::new(0)),
        transactions: Arc::default(),
        trackers: Arc::default(),
        listeners: Arc::default(),
        table,
        stopwatch: clock::stopwatch,
        slow_ids: Arc::default(),
        slots,
        host: Arc::clone(&host),
    };
    let share = usize::try_from(room.seats / cores as u64).unwrap_or(usize::MAX);
    let seed = random_seed();
    let clock = Clock::new();
    let mut first = Some(entrance);
    let seat = |(id, (cpu, mesh)): (usize, (usize, _))| Seat {
        id,
        cpu,
        clock,
        mesh,
        core: Core::new(id, cores, view.clone(), shared.clone(), seed, clock.now()),
        entrance: first.take(),
        host: Arc::clone(&host),
        reports: None,
        descriptors: if room.parks { share } else { usize::MAX },
        exit: Arc::clone(exit),
        tls: Arc::clone(tls),
    };
    cpus.into_iter().zip(mesh(cores)).enumerate().map(seat).collect()
}

/// The CPU of each core. More cores than CPUs share them.
fn cpus(settings: &Settings) -> Result<Vec<usize>, Refusal> {
    let available: Vec<usize> =
        core_affinity::get_core_ids().unwrap_or_default().iter().map(|it| it.id).collect();
    if available.is_empty() {
        let why = "cannot find out which CPUs this process may use".to_string();
        return Err(Refusal { code: UNFIT_HOST, why });
    }
    let cpus: Vec<usize> = match &settings.cores {
        Cores::All => available,
        Cores::Count(count) => {
            available.iter().copied().cycle().take(usize::from(*count)).collect()
        }
        Cores::Cpus(list) => list.iter().map(|&cpu| usize::from(cpu)).collect(),
    };
    let missing = cpus.iter().find(|cpu| {
        !core_affinity::get_core_ids().unwrap_or_default().iter().any(|it| it.id == **cpu)
    });
    match missing {
        Some(cpu) => {
            let why = format!("cores: CPU {cpu} does not exist or may not be used");
            Err(Refusal { code: BAD_CONFIGURATION, why })
        }
        None => Ok(cpus.into_iter().take(CORES_MAX).collect()),
    }
}

/// `maxclients`, brought down to what the descriptor limit allows.
fn settle_clients(settings: &mut Settings, cores: usize) -> Room {
    let wanted = descriptors_wanted(settings.maxclients, cores);
    let limit = sys::raise_soft_limit(libc::RLIMIT_NOFILE, wanted);
    let room = Room::of(limit, settings.maxclients, cores);
    if let Some(asked) = settings.settle_clients(room.clients) {
        tracing::warn!(
            "maxclients {asked} needs more than the {limit} open files that this process may have; \
             it is {} now. Raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE=)",
            settings.maxclients
        );
    }
    room
}

pub(super) fn listen(settings: &Settings) -> Result<Vec<OwnedFd>, Refusal> {
    let mut listeners = Vec::new();
    let backlog = i32::try_from(settings.tcp_backlog).unwrap_or(i32::MAX);
    listen_on(&settings.bind, settings.port, backlog, &mut listeners)?;
    listen_at(&settings.unixsocket, settings.unixsocketperm, &mut listeners)?;
    if listeners.is_empty() && settings.tls_port == 0 {
        let why = "nothing to listen on: give a port, a tls-port or a unixsocket".to_string();
        return Err(Refusal { code: BAD_CONFIGURATION, why });
    }
    Ok(listeners)
}

/// The doors of TLS.
pub(super) fn listen_for_tls(settings: &Settings) -> Result<Vec<OwnedFd>, Refusal> {
    let mut listeners = Vec::new();
    let backlog = i32::try_from(settings.tcp_backlog).unwrap_or(i32::MAX);
    listen_on(&settings.bind, settings.tls_port, backlog, &mut listeners)?;
    Ok(listeners)
}

/// The doors whose connections the public cannot take.
fn listen_for_administration(settings: &Settings) -> Result<Vec<OwnedFd>, Refusal> {
    let mut listeners = Vec::new();
    let backlog = i32::try_from(ADMIN_RESERVE).unwrap_or(i32::MAX);
    listen_on(&settings.admin_bind, settings.admin_port, backlog, &mut listeners)?;
    listen_at(&settings.admin_unixsocket, settings.unixsocketperm, &mut listeners)?;
    Ok(listeners)
}

fn listen_on(
    binds: &[Vec<u8>],
    port: u16,
    backlog: i32,
    listeners: &mut Vec<OwnedFd>,
) -> Result<(), Refusal> {
    for bind in binds.iter().filter(|_| port != 0) {
        let (optional, host) = match bind.strip_prefix(b"-") {
            Some(host) => (true, host),
            None => (false, bind.as_slice()),
        };
        for address in addresses(host, port)? {
            match listen_soon(address, backlog) {
                Ok(listener) => listeners.push(listener),
                Err(error) if optional && is_absent(&error) => {}
                Err(error) => {
                    let what = format!("cannot listen on {address}");
                    return Err(refuse(BAD_CONFIGURATION, &what, &error));
                }
            }
        }
    }
    Ok(())
}

fn listen_at(name: &[u8], mode: u32, listeners: &mut Vec<OwnedFd>) -> Result<(), Refusal> {
    if name.is_empty() {
        return Ok(());
    }
    let place = path(name);
    let listener = sys::listen_unix(place, Some(mode).filter(|&mode| mode != 0));
    listeners.push(listener.map_err(|error| {
        refuse(BAD_CONFIGURATION, &format!("cannot listen on {}", place.display()), &error)
    })?);
    Ok(())
}

/// A server that was killed leaves its listener to the kernel, which ends its ring a moment after
/// the process: whoever starts it again at once need not be told that the port is taken.
fn listen_soon(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let mut tries = LISTEN_TRIES;
    loop {
        tries -= 1;
        match sys::listen_tcp(address, backlog) {
            Err(error) if tries > 0 && error.kind() == io::ErrorKind::AddrInUse => {
                std::thread::sleep(LISTEN_AGAIN);
            }
            other => return other,
        }
    }
}

pub(super) fn addresses(host: &[u8], port: u16) -> Result<Vec<SocketAddr>, Refusal> {
    match host {
        b"*" => return Ok(vec![SocketAddr::from(([0, 0, 0, 0], port))]),
        b"::*" => return Ok(vec![SocketAddr::from(([0u16; 8], port))]),
        _ => {}
    }
    let host = String::from_utf8_lossy(host);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, port)]);
    }
    let found = (host.as_ref(), port).to_socket_addrs();
    found
        .map(Iterator::collect)
        .map_err(|error| refuse(BAD_CONFIGURATION, &format!("bind {host}"), &error))
}

/// The host does not have this address or family at all.
pub(super) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EADDRNOTAVAIL | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT | libc::ENODEV)
    )
}

pub(super) fn write_pidfile(settings: &Settings) -> Result<(), Refusal> {
    let wanted = !settings.pidfile.is_empty() || settings.daemonize;
    if !wanted {
        return Ok(());
    }
    let place = pidfile(settings);
    let text = format!("{}\n", std::process::id());
    fs::write(&place, text).or_else(|error| {
        // As Redis: a server that cannot write it serves all the same.
        tracing::warn!("cannot write the pid file {}: {error}", place.display());
        Ok(())
    })
}

fn pidfile(settings: &Settings) -> PathBuf {
    if settings.pidfile.is_empty() {
        PathBuf::from("/var/run/redis.pid")
    } else {
        path(&settings.pidfile).to_path_buf()
    }
}

pub(super) fn clean_up(settings: &Settings) {
    if !settings.pidfile.is_empty() || settings.daemonize {
        let _ = fs::remove_file(pidfile(settings));
    }
    for name in [&settings.unixsocket, &settings.admin_unixsocket] {
        if !name.is_empty() {
            let _ = fs::remove_file(path(name));
        }
    }
}

fn greet(settings: &Settings, cpus: &[usize], room: Room, config_file: Option<&Path>) {
    let bind: Vec<_> = settings.bind.iter().map(|it| String::from_utf8_lossy(it)).collect();
    tracing::info!(
        "Ringfold {} starts: {} cores on CPUs {cpus:?}, port {}, bind {}, up to {} clients",
        env!("CARGO_PKG_VERSION"),
        cpus.len(),
        settings.port,
        bind.join(" "),
        settings.maxclients
    );
    if room.parks {
        tracing::info!(
            "{} sockets can have a descriptor at a time, the others are parked in tables of rings",
            room.seats
        );
    }
    match config_file {
        Some(file) => tracing::info!("configuration: {}", file.display()),
        None => tracing::info!("no configuration file: the defaults hold"),
    }
    if matches!(settings.supervised, Supervised::Systemd | Supervised::Auto) {
        notify::status("starting");
    }
}

/// A seed from the kernel, for hashes and identities.
pub(super) fn random_seed() -> u64 {
    let mut bytes = [0u8; 8];
    let read = fs::File::open("/dev/urandom")
        .and_then(|mut file| io::Read::read_exact(&mut file, &mut bytes));
    if read.is_err() {
        return std::process::id().into();
    }
    u64::from_le_bytes(bytes)
}

pub(super) fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

pub(super) fn refuse(code: u8, what: &str, error: &dyn std::fmt::Display) -> Refusal {
    Refusal { code, why: format!("{what}: {error}") }
}
