//! Sockets, clocks and the host's limits: everything that loadgen asks of the operating system,
//! and all of its unsafe code.
//!
//! [`Wire`] is the seam to the sockets: `wait`, `next` (what happened on which client), `send`. It
//! says nothing of readiness, so a completion ring can take epoll's place behind it.
//!
//! Not here: what the bytes mean (`client.rs`), threads and phases (`run.rs`).

#![expect(clippy::disallowed_types, reason = "the I/O layer reads the clock")]

use crate::failure::Failure;
use crate::plan::{Plan, Target, to_usize};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// One receive. A batch of replies should fit: less costs a system call more.
const BUFFER_LEN: usize = 256 << 10;
const EVENTS_MAX: usize = 1024;
/// Descriptors beside the clients': epoll, files, standard streams.
const DESCRIPTORS_SPARE: u64 = 32;

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
}

impl Stream {
    /// Connects, with a limit on that and on every later read and write.
    pub fn connect(target: &Target, limit: Duration) -> Result<Self, Failure> {
        let name = name(target);
        let stream = match &target.unix {
            Some(path) => UnixStream::connect(path).and_then(|it| {
                it.set_read_timeout(Some(limit))?;
                it.set_write_timeout(Some(limit))?;
                Ok(Self::Unix(it))
            }),
            None => tcp(target, limit).map(Self::Tcp),
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

    fn set_nonblocking(&self) -> io::Result<()> {
        match self {
            Self::Tcp(it) => it.set_nonblocking(true),
            Self::Unix(it) => it.set_nonblocking(true),
        }
    }

    fn fd(&self) -> RawFd {
        match self {
            Self::Tcp(it) => it.as_raw_fd(),
            Self::Unix(it) => it.as_raw_fd(),
        }
    }
}

impl Read for Stream {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(it) => it.read(buf),
            Self::Unix(it) => it.read(buf),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(it) => it.write(buf),
            Self::Unix(it) => it.write(buf),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The sockets of one thread's clients, numbered as given.
pub struct Wire {
    epoll: OwnedFd,
    sockets: Vec<Socket>,
    events: Vec<libc::epoll_event>,
    /// Events of the last wait, and how many were handled.
    ready: usize,
    handled: usize,
    buffer: Vec<u8>,
}

struct Socket {
    stream: Stream,
    /// What the kernel did not take yet.
    unsent: Vec<u8>,
}

/// What happened on a client's socket.
#[derive(Debug)]
pub enum Event<'w> {
    Received(u32, &'w [u8]),
    /// It is gone: closed by the server (no error), or broken.
    Gone(u32, Option<io::Error>),
}

impl Wire {
    pub fn new(streams: Vec<Stream>) -> io::Result<Self> {
        precise_timers()?;
        let wire = Self {
            epoll: epoll_create()?,
            sockets: streams
                .into_iter()
                .map(|stream| Socket { stream, unsent: Vec::new() })
                .collect(),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            ready: 0,
            handled: 0,
            buffer: vec![0; BUFFER_LEN],
        };
        for (client, socket) in (0u32..).zip(&wire.sockets) {
            socket.stream.set_nonblocking()?;
            wire.watch(libc::EPOLL_CTL_ADD, client, false)?;
        }
        Ok(wire)
    }

    /// Waits until something happens, `ns` at most.
    pub fn wait(&mut self, ns: u64) -> io::Result<()> {
        (self.ready, self.handled) = (0, 0);
        match epoll_wait(&self.epoll, &mut self.events, ns) {
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            found => found.map(|ready| self.ready = ready),
        }
    }

    /// The next thing that happened.
    pub fn next(&mut self) -> Option<Event<'_>> {
        loop {
            let event = *self.events[..self.ready].get(self.handled)?;
            self.handled += 1;
            let client = u32::try_from(event.u64).ok()?;
            if event.events & libc::EPOLLOUT.cast_unsigned() != 0
                && let Err(error) = self.flush(client)
            {
                return Some(Event::Gone(client, Some(error)));
            }
            if event.events & !libc::EPOLLOUT.cast_unsigned() == 0 {
                continue;
            }
            let socket = self.sockets.get_mut(to_usize(event.u64))?;
            match socket.stream.read(&mut self.buffer) {
                Ok(0) => return Some(Event::Gone(client, None)),
                Ok(len) => return Some(Event::Received(client, &self.buffer[..len])),
                Err(error) if is_later(&error) => {}
                Err(error) => return Some(Event::Gone(client, Some(error))),
            }
        }
    }

    /// Sends `bytes` behind all that `client` sent before; keeps what the kernel does not take.
    pub fn send(&mut self, client: u32, bytes: &[u8]) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(to_usize(u64::from(client))) else {
            return Err(ErrorKind::NotFound.into());
        };
        if !socket.unsent.is_empty() {
            socket.unsent.extend_from_slice(bytes);
            return Ok(());
        }
        let sent = match socket.stream.write(bytes) {
            Err(error) if is_later(&error) => 0,
            sent => sent?,
        };
        if sent < bytes.len() {
            socket.unsent.extend_from_slice(&bytes[sent..]);
            self.watch(libc::EPOLL_CTL_MOD, client, true)?;
        }
        Ok(())
    }

    fn flush(&mut self, client: u32) -> io::Result<()> {
        let Some(socket) = self.sockets.get_mut(to_usize(u64::from(client))) else {
            return Ok(());
        };
        let sent = match socket.stream.write(&socket.unsent) {
            Err(error) if is_later(&error) => 0,
            sent => sent?,
        };
        socket.unsent.drain(..sent);
        if socket.unsent.is_empty() {
            self.watch(libc::EPOLL_CTL_MOD, client, false)?;
        }
        Ok(())
    }

    fn watch(&self, change: i32, client: u32, writable: bool) -> io::Result<()> {
        let Some(socket) = self.sockets.get(to_usize(u64::from(client))) else {
            return Err(ErrorKind::NotFound.into());
        };
        let events = libc::EPOLLIN | if writable { libc::EPOLLOUT } else { 0 };
        let event = libc::epoll_event { events: events.cast_unsigned(), u64: u64::from(client) };
        epoll_ctl(&self.epoll, change, socket.stream.fd(), event)
    }
}

/// The server's name in messages.
#[must_use]
pub fn name(target: &Target) -> String {
    target.unix.clone().unwrap_or_else(|| format!("{}:{}", target.host, target.port))
}

/// Makes sure that this process may open a descriptor for each client.
pub fn check_descriptors(plan: &Plan) -> Result<(), Failure> {
    let needed = plan.connections() + u64::from(plan.threads) + DESCRIPTORS_SPARE;
    let limit = raise_descriptors(needed)
        .map_err(|error| Failure::Plan(format!("cannot read the limit of open files: {error}")))?;
    if needed <= limit {
        return Ok(());
    }
    Err(Failure::Plan(format!(
        "{} connections need {needed} file descriptors, but this process may open {limit} \
         (RLIMIT_NOFILE): raise the hard limit, or ask for {} connections at most",
        plan.connections(),
        limit.saturating_sub(u64::from(plan.threads) + DESCRIPTORS_SPARE)
    )))
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

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn checked(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn epoll_create() -> io::Result<OwnedFd> {
    #[expect(unsafe_code, reason = "std has no epoll")]
    // SAFETY: the call takes no pointer, and the descriptor that it returns belongs to nobody else.
    unsafe {
        let fd = checked(libc::epoll_create1(libc::EPOLL_CLOEXEC))?;
        Ok(OwnedFd::from_raw_fd(fd))
    }
}

fn epoll_ctl(
    epoll: &OwnedFd,
    change: i32,
    fd: RawFd,
    mut event: libc::epoll_event,
) -> io::Result<()> {
    #[expect(unsafe_code, reason = "std has no epoll")]
    // SAFETY: `event` is a local that the kernel only reads, during the call.
    let result = unsafe { libc::epoll_ctl(epoll.as_raw_fd(), change, fd, &raw mut event) };
    checked(result).map(|_| ())
}

/// `epoll_pwait2`, because `epoll_wait` counts in milliseconds: slots are microseconds apart.
fn epoll_wait(epoll: &OwnedFd, events: &mut [libc::epoll_event], ns: u64) -> io::Result<usize> {
    let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    let time = libc::timespec {
        tv_sec: i64::try_from(seconds).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(rest).unwrap_or(0),
    };
    let len = i32::try_from(events.len()).unwrap_or(i32::MAX);
    #[expect(unsafe_code, reason = "std has no epoll")]
    // SAFETY: the kernel writes at most `len` events, which `events` holds, and reads `time`; no
    // signal mask is given. It keeps no pointer after the call.
    let result = unsafe {
        libc::epoll_pwait2(
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            len,
            &raw const time,
            std::ptr::null(),
        )
    };
    checked(result).map(|it| usize::try_from(it).unwrap_or(0))
}

/// Lets this thread's waits end when they should: by default Linux adds up to 50 us.
fn precise_timers() -> io::Result<()> {
    #[expect(unsafe_code, reason = "std cannot set the timer slack")]
    // SAFETY: the call takes numbers only.
    let result = unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1u64, 0u64, 0u64, 0u64) };
    checked(result).map(|_| ())
}

/// The limit of open files, raised as far as needed and allowed.
fn raise_descriptors(needed: u64) -> io::Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[expect(unsafe_code, reason = "std cannot ask for limits")]
    // SAFETY: the call writes one local of the type that it asks for.
    checked(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) })?;
    if limit.rlim_cur < needed && limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        #[expect(unsafe_code, reason = "std cannot raise limits")]
        // SAFETY: the call reads one local of the type that it asks for.
        checked(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok(limit.rlim_cur)
}
