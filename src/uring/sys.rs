//! The few socket calls that std lacks, each a thin wrapper that returns `io::Result`.
#![expect(unsafe_code, reason = "system calls")]

use io_uring::IoUring;
use std::io;
use std::mem;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// Where a peer listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A listening TCP socket with SO_REUSEADDR and the given backlog; IPv6 sockets are IPv6 only, so
/// that both families can be bound to one port.
///
/// # Errors
/// The kernel's.
pub fn listen_tcp(address: SocketAddr, backlog: i32) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = socket(family, 0)?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    let (storage, len) = raw_address(address);
    // SAFETY: `storage` holds an address of `len` bytes and outlives the call.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const storage).cast(), len) })?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) })?;
    Ok(fd)
}

/// A listening Unix socket. A stale file at `path` is removed first. The socket has its final mode
/// before anybody can connect: it is bound under a umask that lets nobody in.
///
/// # Errors
/// The kernel's, or `AddrInUse` where somebody still listens there.
pub fn listen_unix(path: &Path, mode: Option<u32>) -> io::Result<OwnedFd> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::from(io::ErrorKind::AddrInUse));
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // SAFETY: umask has no failure; it is process-wide, so this runs before other threads start.
    let before = mode.map(|_| unsafe { libc::umask(0o777) });
    let bound = UnixListener::bind(path);
    if let Some(before) = before {
        // SAFETY: as above.
        unsafe { libc::umask(before) };
    }
    let listener = bound?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(listener.into())
}

/// A connected blocking stream: for the one-off dial of a helper thread or a tool.
///
/// # Errors
/// The kernel's.
pub fn connect(address: &Address) -> io::Result<OwnedFd> {
    Ok(match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address)?;
            stream.set_nodelay(true)?;
            stream.into()
        }
        Address::Unix(path) => UnixStream::connect(path)?.into(),
    })
}

/// Starts a TCP connect without waiting; the socket turns writable when it is decided. `from` is the
/// address to come from, whose port the kernel chooses where it is 0: so late that one address has
/// its ports for each target anew.
///
/// # Errors
/// The kernel's, where it refuses at once.
pub(super) fn start_connect(from: Option<SocketAddr>, address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let fd = socket(family, libc::SOCK_NONBLOCK)?;
    if let Some(from) = from {
        if from.port() == 0 {
            set_option(&fd, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
        }
        let (storage, len) = raw_address(from);
        // SAFETY: `storage` holds an address of `len` bytes and outlives the call.
        check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const storage).cast(), len) })?;
    }
    let (storage, len) = raw_address(address);
    // SAFETY: `storage` holds an address of `len` bytes and outlives the call.
    let result = unsafe { libc::connect(fd.as_raw_fd(), (&raw const storage).cast(), len) };
    match check(result) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(fd),
    }
}

/// What became of a connect: `SO_ERROR`.
///
/// # Errors
/// The reason why the connect failed.
pub fn connect_result(fd: RawFd) -> io::Result<()> {
    let mut error: libc::c_int = 0;
    let mut len = socklen(size_of::<libc::c_int>());
    // SAFETY: both pointers are to locals of the right size.
    check(unsafe {
        libc::getsockopt(
            fd,
            libc::SOL_SOCKET,
            libc::SO_ERROR,
            (&raw mut error).cast(),
            &raw mut len,
        )
    })?;
    if error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(error)) }
}

/// TCP_NODELAY and keepalive with `seconds` of idleness (0: none), as Redis sets them: three probes,
/// a third of the idle time apart. What was sent is not waited for longer than that: a host that is gone
/// takes its sockets with it, whether they were idle or not. Said of a listener it holds for whoever
/// connects there. Errors are ignored: a Unix socket has neither.
pub fn tune(fd: &OwnedFd, keepalive_seconds: u32) {
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    let seconds = i32::try_from(keepalive_seconds).unwrap_or(i32::MAX);
    let _ = set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, i32::from(seconds > 0));
    let patience = seconds.saturating_mul(2_000);
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, patience);
    if seconds == 0 {
        return;
    }
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, seconds);
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (seconds / 3).max(1));
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
}

/// Switches Nagle's algorithm of a TCP socket off or on.
pub fn set_nodelay(fd: &impl AsRawFd, on: bool) {
    let _ = set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, i32::from(on));
}

/// Calls on this descriptor wait no more.
pub(super) fn set_nonblocking(fd: &OwnedFd) {
    // SAFETY: no pointers.
    let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
    // SAFETY: as above.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK) };
}

/// The next connection that waits at a listening socket which does not block.
///
/// # Errors
/// `WouldBlock` where none waits, or the kernel's.
pub(super) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    let (fd, none) = (listener.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: null pointers ask for no address.
    check(unsafe { libc::accept4(fd, none, none.cast(), libc::SOCK_CLOEXEC) }).map(own)
}

/// Is an error of `accept` about the connection that was next, and not about those behind it?
pub(super) fn is_of_one_caller(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EINTR
                | libc::EPROTO
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::ENETUNREACH
        )
    )
}

/// Receives what is there, without waiting.
///
/// # Errors
/// `WouldBlock` where nothing is there, or the reason why the peer is gone.
pub(super) fn receive(fd: RawFd, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of `room`.
    let received =
        unsafe { libc::recv(fd, room.as_mut_ptr().cast(), room.len(), libc::MSG_DONTWAIT) };
    usize::try_from(received).map_err(|_| io::Error::last_os_error())
}

/// Sends what fits without waiting.
///
/// # Errors
/// `WouldBlock` where nothing fits, or the reason why the peer is gone.
pub fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the pointer and length are those of `bytes`.
    let sent = unsafe {
        libc::send(fd, bytes.as_ptr().cast(), bytes.len(), libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Sends by a socket that another thread's driver lent (`Driver::lendable`); how many bytes it took. Where it took
/// none, its driver finds out why.
#[must_use]
pub fn send_lent(lent: u32, bytes: &[u8]) -> usize {
    let fd = RawFd::try_from(lent).unwrap_or(0) - 1;
    if fd < 0 || bytes.is_empty() { 0 } else { send(fd, bytes).unwrap_or(0) }
}

/// Ends both directions; whoever waits in the kernel for this socket is told.
pub fn shutdown(fd: RawFd) {
    // SAFETY: no pointers; an error (already gone) changes nothing.
    unsafe { libc::shutdown(fd, libc::SHUT_RDWR) };
}

/// The peer of a connected TCP socket; `None` for a Unix socket or one that is gone.
#[must_use]
pub fn peer_address(fd: RawFd) -> Option<SocketAddr> {
    address_of(fd, libc::getpeername)
}

/// Our own end of a TCP socket.
#[must_use]
pub fn local_address(fd: RawFd) -> Option<SocketAddr> {
    address_of(fd, libc::getsockname)
}

/// The soft limit of a resource in its own unit; `u64::MAX` where there is none.
#[must_use]
pub fn soft_limit(resource: libc::__rlimit_resource_t) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } != 0 {
        return u64::MAX;
    }
    limit.rlim_cur
}

/// Raises the soft limit of a resource to at most its hard limit; returns what it is then.
pub fn raise_soft_limit(resource: libc::__rlimit_resource_t, wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local.
    if unsafe { libc::getrlimit(resource, &raw mut limit) } == 0 && limit.rlim_cur < wanted {
        limit.rlim_cur = wanted.min(limit.rlim_max);
        // SAFETY: as above.
        unsafe { libc::setrlimit(resource, &raw const limit) };
    }
    soft_limit(resource)
}

/// What signals ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// SIGTERM or SIGINT: an orderly end.
    pub end: bool,
    /// SIGINT was one of them.
    pub interrupt: bool,
    /// SIGHUP: whoever moved the log file away wants a new one.
    pub reopen: bool,
}

/// Blocks SIGTERM, SIGINT and SIGHUP for this thread and all that it starts, and returns a descriptor that
/// turns readable when one comes.
///
/// # Errors
/// The kernel's.
pub fn signal_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: an all-zero sigset_t is a valid value, and the calls write to it.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: the pointers are to that local; a null old set is allowed.
    unsafe {
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, libc::SIGTERM);
        libc::sigaddset(&raw mut set, libc::SIGINT);
        libc::sigaddset(&raw mut set, libc::SIGHUP);
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
    }
    // SAFETY: as above.
    let fd = check(unsafe {
        libc::signalfd(-1, &raw const set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC)
    })?;
    Ok(own(fd))
}

/// Takes the signals that came off the descriptor.
pub fn take_signals(fd: &OwnedFd) -> Signals {
    let mut signals = Signals::default();
    loop {
        // `signalfd(2)`: 128 bytes each, the number first.
        let mut info = [0u8; 128];
        // SAFETY: the pointer and length are those of the buffer.
        let read = unsafe { libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), info.len()) };
        if read <= 0 {
            return signals;
        }
        let number = i32::from_le_bytes([info[0], info[1], info[2], info[3]]);
        signals.reopen |= number == libc::SIGHUP;
        signals.end |= number != libc::SIGHUP;
        signals.interrupt |= number == libc::SIGINT;
    }
}

/// Goes into the background: the caller's process ends, a child without a terminal goes on. Before
/// any thread is started.
///
/// # Errors
/// The kernel's.
pub fn daemonize() -> io::Result<()> {
    // SAFETY: no pointers; the process has one thread.
    check(unsafe { libc::daemon(1, 0) })?;
    Ok(())
}

/// A counter that turns readable when the kernel or another thread adds to it.
///
/// # Errors
/// The kernel's.
pub(super) fn event_descriptor() -> io::Result<OwnedFd> {
    // SAFETY: no pointers.
    check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) }).map(own)
}

/// Sets such a counter to zero.
pub(super) fn silence(event: &OwnedFd) {
    let mut count = [0u8; 8];
    // SAFETY: the pointer and length are those of the buffer; an error (it is zero) changes nothing.
    unsafe { libc::read(event.as_raw_fd(), count.as_mut_ptr().cast(), count.len()) };
}

/// One `io_uring_enter` that submits so many entries, runs deferred work, and does not wait.
///
/// # Errors
/// The kernel's.
pub(super) fn enter_now(ring: &IoUring, entries: usize) -> io::Result<usize> {
    /// `IORING_ENTER_GETEVENTS`, which the crate keeps to itself.
    const GET_EVENTS: u32 = 1;
    let entries = u32::try_from(entries).unwrap_or(u32::MAX);
    // SAFETY: no signal mask; whoever pushed an entry said why its memory lives long enough.
    unsafe { ring.submitter().enter::<libc::sigset_t>(entries, 0, GET_EVENTS, None) }
}

/// Milliseconds of a clock that only goes forward, a few of them late: cheap.
pub(super) fn coarse_ms() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a local.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let (seconds, ns) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000 + ns.unwrap_or(0) / 1_000_000
}

/// CPU time of this thread so far, in microseconds.
#[must_use]
pub fn thread_cpu_micros() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a whole `timespec` that outlives the call.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    if result != 0 {
        return 0;
    }
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u64::try_from(time.tv_nsec));
    seconds.unwrap_or(0) * 1_000_000 + nanoseconds.unwrap_or(0) / 1_000
}

/// CPU time of this process so far, in microseconds: user and system.
#[must_use]
pub fn cpu_micros() -> (u64, u64) {
    // SAFETY: an all-zero rusage is a valid value, and the call writes to it.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: the pointer is to that local.
    unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    let micros = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000
            + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    (micros(usage.ru_utime), micros(usage.ru_stime))
}

/// Takes over `fd`, which the kernel has just handed to us by number.
pub(super) fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: the number comes from an accept completion and nobody else holds it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn socket(family: i32, flags: i32) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags;
    // SAFETY: no pointers.
    check(unsafe { libc::socket(family, kind, 0) }).map(own)
}

fn set_option(fd: &impl AsRawFd, level: i32, name: i32, value: i32) -> io::Result<()> {
    // SAFETY: the pointer is to a local of the size given.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            level,
            name,
            (&raw const value).cast(),
            socklen(size_of::<i32>()),
        )
    })?;
    Ok(())
}

fn socklen(bytes: usize) -> libc::socklen_t {
    libc::socklen_t::try_from(bytes).unwrap_or(libc::socklen_t::MAX)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn raw_address(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: an all-zero sockaddr_storage is a valid value of it.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    match address {
        SocketAddr::V4(v4) => {
            let raw = (&raw mut storage).cast::<libc::sockaddr_in>();
            // SAFETY: sockaddr_storage is large and aligned enough for every address family.
            let raw = unsafe { &mut *raw };
            raw.sin_family = libc::sa_family_t::try_from(libc::AF_INET).unwrap_or_default();
            raw.sin_port = v4.port().to_be();
            raw.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            (storage, socklen(size_of::<libc::sockaddr_in>()))
        }
        SocketAddr::V6(v6) => {
            let raw = (&raw mut storage).cast::<libc::sockaddr_in6>();
            // SAFETY: as above.
            let raw = unsafe { &mut *raw };
            raw.sin6_family = libc::sa_family_t::try_from(libc::AF_INET6).unwrap_or_default();
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_scope_id = v6.scope_id();
            (storage, socklen(size_of::<libc::sockaddr_in6>()))
        }
    }
}

type NameCall =
    unsafe extern "C" fn(libc::c_int, *mut libc::sockaddr, *mut libc::socklen_t) -> libc::c_int;

fn address_of(fd: RawFd, call: NameCall) -> Option<SocketAddr> {
    // SAFETY: an all-zero sockaddr_storage is a valid value of it.
    let mut storage: libc::sockaddr_storage = unsafe { mem::zeroed() };
    let mut len = socklen(size_of::<libc::sockaddr_storage>());
    // SAFETY: both pointers are to locals, and `len` says how large the first is.
    if unsafe { call(fd, (&raw mut storage).cast(), &raw mut len) } != 0 {
        return None;
    }
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says which address lies there.
            let raw = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in>() };
            let ip = std::net::Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr));
            Some((ip, u16::from_be(raw.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let raw = unsafe { &*(&raw const storage).cast::<libc::sockaddr_in6>() };
            let ip = std::net::Ipv6Addr::from(raw.sin6_addr.s6_addr);
            Some((ip, u16::from_be(raw.sin6_port)).into())
        }
        _ => None,
    }
}
