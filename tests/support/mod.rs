//! What tests of real processes share: servers, clients, a fault-making proxy, writers.
//!
//! Nothing here waits for a fixed time: whatever must become true is asked for again and again
//! until it is, or until a deadline that only a broken server reaches.
//!
//! The server under test is the built `ringfold`, or the program that `RINGFOLD_BIN` names. A
//! `redis-server` may stand in for it: that is how the harness itself is proved.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "tests of real processes need real clocks and threads"
)]

pub mod client;
pub mod namespace;
pub mod proxy;
pub mod server;
pub mod value;
pub mod writers;

use std::time::{Duration, Instant};

/// How long anything may take that a healthy server does in a moment, be the machine as slow as it may.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Asks until `ask` gives something; panics with `what` when patience ends.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Asks until `ask` says yes.
pub fn wait_until(what: &str, mut ask: impl FnMut() -> bool) {
    wait_for(what, || ask().then_some(()));
}

/// Asks until `ask` says yes; false: it never did, and the caller knows better what that means.
pub fn comes_true(mut ask: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    loop {
        if ask() {
            return true;
        }
        if start.elapsed() >= PATIENCE {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The seed of a random test: `RINGFOLD_SEED`, or one that is the same in every run.
pub fn seed() -> u64 {
    number_from_env("RINGFOLD_SEED").unwrap_or(42)
}

/// A number that the caller of the tests may set; empty counts as unset.
pub fn number_from_env(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|it| !it.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} must be a number, not {text:?}")))
}
