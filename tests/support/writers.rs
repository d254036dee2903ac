//! Writers under load, and the ledger of what was acknowledged to them.
//!
//! Each writer has one key per write, never used again, and keeps a window of requests in flight.
//! So after a fault "was anything lost?" is a question of membership: every acknowledged key must
//! be there. A write without an answer may be there or not.

use super::client::{Client, request};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Writers at work.
pub struct Writers {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<Ledger>>,
}

struct Shared {
    stop: AtomicBool,
    acknowledged: AtomicU64,
}

/// What one writer knows: all of its writes below `acknowledged` were answered with +OK.
#[derive(Debug)]
pub struct Ledger {
    pub writer: usize,
    pub acknowledged: u64,
    pub sent: u64,
}

/// The key of one write.
pub fn key(writer: usize, number: u64) -> String {
    format!("w{writer}:{number}")
}

impl Writers {
    /// `count` writers with `window` writes in flight each, as fast as the server can, until `stop`
    /// or an error.
    pub fn start(address: &str, password: Option<&str>, count: usize, window: u64) -> Self {
        Self::paced(address, password, count, window, Duration::ZERO)
    }

    /// Two writers with some thousand writes a second: for tests that last, so that what has been
    /// written stays small enough to be compared.
    pub fn gentle(address: &str, password: Option<&str>) -> Self {
        Self::paced(address, password, 2, 16, Duration::from_millis(2))
    }

    fn paced(
        address: &str,
        password: Option<&str>,
        count: usize,
        window: u64,
        pause: Duration,
    ) -> Self {
        let shared =
            Arc::new(Shared { stop: AtomicBool::new(false), acknowledged: AtomicU64::new(0) });
        let one = |writer| {
            let mut client = Client::connect(address).unwrap();
            if let Some(password) = password {
                client.expect(&["AUTH", password], "+OK\r\n");
            }
            let shared = Arc::clone(&shared);
            thread::spawn(move || write(writer, client, window, pause, &shared))
        };
        let threads = (0..count).map(one).collect();
        Self { shared, threads }
    }

    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until `more` further writes have been acknowledged.
    pub fn wait_for_more(&self, more: u64) {
        let goal = self.acknowledged() + more;
        super::wait_until("writes go on", || self.acknowledged() >= goal);
    }

    /// Ends the writing and returns who was promised what.
    pub fn stop(self) -> Vec<Ledger> {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|it| it.join().unwrap()).collect()
    }
}

fn write(
    writer: usize,
    mut client: Client,
    window: u64,
    pause: Duration,
    shared: &Shared,
) -> Ledger {
    let mut ledger = Ledger { writer, acknowledged: 0, sent: 0 };
    loop {
        let stop = shared.stop.load(Ordering::Relaxed);
        if stop && ledger.acknowledged == ledger.sent {
            return ledger;
        }
        // Refills the window by halves, so that requests travel in batches as from real clients.
        let in_flight = ledger.sent - ledger.acknowledged;
        if !stop && in_flight <= window / 2 {
            if !pause.is_zero() {
                thread::park_timeout(pause);
            }
            let mut batch = Vec::new();
            for number in ledger.sent..ledger.acknowledged + window {
                let (key, value) = (key(writer, number), number.to_string());
                batch.extend(request(&[b"SET", key.as_bytes(), value.as_bytes()]));
            }
            ledger.sent = ledger.acknowledged + window;
            if client.send(&batch).is_err() {
                // Replies may still lie in the socket: they count.
                while client.reply().is_ok_and(|it| it == b"+OK\r\n") {
                    ledger.acknowledged += 1;
                }
                return ledger;
            }
        }
        match client.reply() {
            Ok(reply) if reply == b"+OK\r\n" => {
                ledger.acknowledged += 1;
                shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            // It has become a replica: what it acknowledged before still counts.
            Ok(reply) if reply.starts_with(b"-READONLY") => return ledger,
            Ok(reply) => panic!("a write was refused: {}", reply.escape_ascii()),
            Err(_) => return ledger,
        }
    }
}

/// How many acknowledged writes the server behind `client` does not have.
pub fn lost(client: &mut Client, ledgers: &[Ledger]) -> u64 {
    let mut lost = 0;
    for ledger in ledgers {
        for first in (0..ledger.acknowledged).step_by(1_000) {
            let numbers = first..ledger.acknowledged.min(first + 1_000);
            let keys: Vec<String> = numbers.clone().map(|it| key(ledger.writer, it)).collect();
            let mut args = vec!["EXISTS"];
            args.extend(keys.iter().map(String::as_str));
            let present: u64 = client.text(&args).parse().unwrap();
            lost += (numbers.end - numbers.start) - present;
        }
    }
    lost
}
