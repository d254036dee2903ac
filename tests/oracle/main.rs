//! The same commands to a real redis-server and to the server under test: what they answer must
//! be the same bytes, but for the few replies that may differ (`compare.rs` says how).
//!
//! `RINGFOLD_SEED` and `RINGFOLD_ORACLE_COMMANDS` choose another run of the random part.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a random test prints its seed")]

mod compare;
mod directed;
mod families;
mod follow;
mod generate;
mod goldens;
mod large;
mod malformed;
mod minimise;
mod notices;
mod payloads;
mod run;
mod tracking;
#[expect(dead_code, reason = "the tests in system/ use the other helpers")]
#[path = "../support/mod.rs"]
mod support;

use run::Pair;
use support::proxy::Proxy;
use support::server::Kind;
use support::{number_from_env, seed};

const COMMANDS: u64 = 100_000;

fn random_commands(cores: u16) {
    let seed = seed().wrapping_add(u64::from(cores));
    let commands = number_from_env("RINGFOLD_ORACLE_COMMANDS").unwrap_or(COMMANDS);
    eprintln!("seed {seed}: {commands} commands, {cores} cores");
    let pair = Pair::start(Kind::Ours(cores));
    if let Err(report) = run::compare_random(&pair, seed, commands) {
        panic!("seed {seed}, {cores} cores\n{report}");
    }
}

#[test]
fn random_commands_on_one_core() {
    random_commands(1);
}

#[test]
fn random_commands_on_three_cores() {
    random_commands(3);
}

/// The harness itself: a server that answers wrongly once in some 10,000 replies is caught, and
/// the report holds what one needs to look into it.
#[test]
fn a_planted_wrong_reply_is_found() {
    let mut pair = Pair::start(Kind::Redis);
    // Some 16 replies travel in one piece.
    let proxy = Proxy::tampering(&pair.ours.address(), |piece, bytes| {
        if piece % 600 == 599 && bytes.len() > 3 {
            let at = bytes.len() - 3;
            bytes[at] ^= 1;
        }
    });
    pair.ours_address = proxy.address();
    let report = run::compare_random(&pair, 7, 60_000).expect_err("a wrong reply went unseen");
    for part in ["real:", "ours:", "the last commands"] {
        assert!(report.contains(part), "no {part:?} in the report:\n{report}");
    }
}

/// A server that is wrong in the same way each time is reduced to few commands.
#[test]
fn a_planted_wrong_command_is_minimised() {
    let mut pair = Pair::start(Kind::Redis);
    let proxy = Proxy::tampering(&pair.ours.address(), |_, bytes| {
        // Every OK in the reply of a batch becomes a KO: any SET shows it.
        if let Some(at) = bytes.windows(5).position(|it| it == b"+OK\r\n") {
            bytes[at + 1..at + 3].copy_from_slice(b"KO");
        }
    });
    pair.ours_address = proxy.address();
    let report = run::compare_random(&pair, 7, 10_000).expect_err("a wrong reply went unseen");
    let steps = report.split("minimised:").nth(1).expect("a reproduction").lines().count();
    assert!(steps <= 6, "{report}");
}
