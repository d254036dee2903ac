//! `ringfold doctor --prove N`: holds so many connections to itself for a moment, and says what they took.
//!
//! A forecast is arithmetic; this opens the connections. Two drivers of this one thread, a server's
//! and a client's, share the descriptors that there are, and park their sockets as the server does. A
//! sample of the clients asks for an echo, the parked among them. It ends by itself when all are there,
//! when one is refused, or when its time is over, and gives everything back.
#![expect(clippy::disallowed_types, reason = "it measures how long connecting takes")]

use super::host::Host;
use crate::uring::driver::{Driver, Event, Segment, Sizes, Socket, Wait};
use crate::uring::sys;
use serde::Serialize;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

/// Descriptors that are no sockets: rings, one for each table, and what the process has anyway.
const SPARE_DESCRIPTORS: u64 = 256;
/// Clients of one source address: the search for a free port gets slow as a range fills.
const CLIENTS_PER_SOURCE: u64 = 4_000;
const LISTEN_QUEUE: i32 = 4_096;
/// Connects under way: less than the queue, so that none is refused.
const DIALS_MAX: u64 = 1_000;
/// Clients that ask for an echo.
const SAMPLE: usize = 1_000;
const TIME_MAX: Duration = Duration::from_secs(300);
const TURN: Duration = Duration::from_millis(1);
const ECHO: &[u8] = b"Is anybody there?";

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Proof {
    pub asked: u64,
    pub held: u64,
    pub seconds: f64,
    /// Kernel memory that they took, of both ends.
    pub kernel_bytes: u64,
    /// What the forecast says of as many.
    pub forecast_bytes: u64,
    /// Of the sample that asked for an echo: how many got it.
    pub asked_for_echo: usize,
    pub echoed: usize,
    pub parked: usize,
    pub why_not_all: Option<String>,
}

impl Proof {
    /// Were all held, and did all answer?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.held == self.asked && self.echoed == self.asked_for_echo
    }

    /// How far the forecast was off, in percent of what was seen.
    #[must_use]
    pub fn error_percent(&self) -> f64 {
        if self.kernel_bytes == 0 {
            return 0.0;
        }
        (self.forecast_bytes as f64 / self.kernel_bytes as f64 - 1.0) * 100.0
    }
}

struct Pair {
    server: Driver,
    clients: Driver,
    to: SocketAddr,
    accepted: u64,
    connected: Vec<Socket>,
    dialled: u64,
    echoed: usize,
    wrong: Option<String>,
    events: Vec<Event>,
}

/// Opens the connections; a kernel that refuses to begin is an error.
///
/// # Errors
/// The kernel's, where not even the rings can be had.
pub fn prove(host: &Host, clients: u64, forecast_each: u64) -> io::Result<Proof> {
    let before = kernel_bytes(host);
    let started = Instant::now();
    let mut pair = Pair::new(clients)?;
    while pair.wrong.is_none() && !pair.is_complete(clients) {
        if started.elapsed() > TIME_MAX {
            pair.wrong = Some(format!("{} s were over", TIME_MAX.as_secs()));
            break;
        }
        pair.dial_some(clients);
        pair.turn(&[])?;
    }
    let held = pair.accepted.min(pair.connected.len() as u64);
    let seconds = started.elapsed().as_secs_f64();
    let kernel_bytes = kernel_bytes(host).saturating_sub(before);
    let step = (pair.connected.len() / SAMPLE).max(1);
    let sample: Vec<Socket> = pair.connected.iter().copied().step_by(step).collect();
    pair.turn(&sample)?;
    let asked = Instant::now();
    while pair.echoed < sample.len() && asked.elapsed() < Duration::from_secs(10) {
        pair.turn(&[])?;
    }
    Ok(Proof {
        asked: clients,
        held,
        seconds,
        kernel_bytes,
        forecast_bytes: forecast_each * held,
        asked_for_echo: sample.len(),
        echoed: pair.echoed,
        parked: pair.server.parked().0,
        why_not_all: pair.wrong,
    })
}

/// Slabs are where sockets lie.
fn kernel_bytes(host: &Host) -> u64 {
    let memory = host.read("/proc/meminfo").unwrap_or_default();
    let line = memory.lines().find_map(|it| it.strip_prefix("Slab:"));
    let number = line.and_then(|it| it.split_whitespace().next()?.parse::<u64>().ok());
    number.unwrap_or(0) * 1_024
}

impl Pair {
    fn new(clients: u64) -> io::Result<Self> {
        let limit = sys::raise_soft_limit(libc::RLIMIT_NOFILE, 2 * clients + SPARE_DESCRIPTORS);
        let each = limit.saturating_sub(SPARE_DESCRIPTORS) / 2;
        let descriptors = usize::try_from(each).unwrap_or(usize::MAX).max(64);
        let sizes = Sizes { buffers: 64, descriptors, ..Sizes::default() };
        let listener = sys::listen_tcp(([127, 0, 0, 1], 0).into(), LISTEN_QUEUE)?;
        let none = || io::Error::from(io::ErrorKind::AddrNotAvailable);
        let to = sys::local_address(listener.as_raw_fd()).ok_or_else(none)?;
        let mut server = Driver::new(sizes)?;
        server.listen(listener);
        Ok(Self {
            server,
            clients: Driver::new(sizes)?,
            to,
            accepted: 0,
            connected: Vec::new(),
            dialled: 0,
            echoed: 0,
            wrong: None,
            events: Vec::new(),
        })
    }

    fn is_complete(&self, clients: u64) -> bool {
        self.accepted == clients && self.connected.len() as u64 == clients
    }

    fn dial_some(&mut self, clients: u64) {
        while self.dialled < clients
            && self.dialled - self.accepted < DIALS_MAX
            && self.clients.can_dial()
        {
            let number = u32::try_from(self.dialled / CLIENTS_PER_SOURCE).unwrap_or(u32::MAX);
            let [_, high, middle, low] = (number + 1).to_be_bytes();
            let from = SocketAddr::from(([127, high.wrapping_add(1), middle, low], 0));
            match self.clients.dial(Some(from), self.to) {
                Ok(_) => self.dialled += 1,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.wrong = Some(format!("a connect was refused: {error}"));
                    return;
                }
            }
        }
    }

    /// One turn of both; `ask` are the clients that ask for an echo.
    fn turn(&mut self, ask: &[Socket]) -> io::Result<()> {
        let segment = |socket: &Socket| Segment { socket: *socket, start: 0, end: ECHO.len() };
        let asks: Vec<Segment> = ask.iter().map(segment).collect();
        self.clients.enter(ECHO, &asks, Wait::No)?;
        self.clients.take_events(&mut self.events);
        for event in self.events.drain(..) {
            match event {
                Event::Connected { socket, result: Ok(()) } => self.connected.push(socket),
                Event::Connected { result: Err(error), .. } => {
                    self.wrong = Some(format!("a connect failed: {error}"));
                }
                Event::Received { buffer, .. } => {
                    self.echoed += usize::from(self.clients.bytes(buffer) == ECHO);
                    self.clients.give_back(buffer);
                }
                Event::Closed { .. } => self.wrong = Some("a connection was closed".into()),
                _ => {}
            }
        }
        self.server.enter(&[], &[], Wait::AtMost(TURN))?;
        self.server.take_events(&mut self.events);
        let mut echoes = Vec::new();
        for event in self.events.drain(..) {
            match event {
                Event::Accepted { fd, .. } => {
                    self.server.adopt(fd);
                    self.accepted += 1;
                }
                Event::AcceptStopped { error, .. } => {
                    self.wrong = Some(format!("accepting failed: {error}"));
                }
                Event::Received { socket, buffer } => {
                    echoes.push(segment(&socket));
                    self.server.give_back(buffer);
                }
                _ => {}
            }
        }
        self.server.enter(ECHO, &echoes, Wait::No)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn a_few_are_held_and_answer() {
        let host = Host::at(Path::new("/"));
        let proof = prove(&host, 300, 8_000).unwrap();
        assert!(proof.holds(), "{proof:?}");
        assert_eq!((proof.held, proof.asked_for_echo, proof.forecast_bytes), (300, 300, 2_400_000));
    }

    #[test]
    fn the_error_is_of_what_was_seen() {
        let proof = Proof { kernel_bytes: 100, forecast_bytes: 95, ..Proof::default() };
        assert!((proof.error_percent() + 5.0).abs() < 1e-9);
        assert!(proof.holds() && Proof::default().error_percent() == 0.0);
    }
}
