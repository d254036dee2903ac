//! The simulator: a master and two replicas, their clients, network, disks and time, on one thread.
//!
//! It is a second driver of the `Core`s that `runtime/looping.rs` drives. One seed decides everything,
//! so every failure is one number: `SEED=n cargo test --test sim one_seed` runs it again and shows its
//! last 200 events; `SIM_SEEDS=n` runs more seeds.
//!
//! ```text
//!   client.rs, people.rs   seeded commands; replies answer requests one to one, acknowledged writes
//!                          are in the stream that was handed to the replicas, WAIT counts what is true
//!   host.rs, drive.rs      a process of one to three cores, in the runtime's order of things
//!   disk.rs                files, what of them is synced, what crashes and failing disks leave
//!   net.rs, faults.rs      torn, slow, cut and silent links; killed processes; role changes; bad disks
//!   model.rs, history.rs   the stream's meaning by offset: what every node at rest must hold
//!   orders.rs, serial.rs    transactions of one node on many cores, and whether any order explains them
//!   shrink.rs              a failing plan made smaller, for SEED=n
//!   check.rs               what must be true after every turn, and when all was mended
//! ```
//!
//! Each planted bug ([`plan::Plant`]) must be found by some seed: else the checkers are too weak.
#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "a test may panic, says what it found, counts in small numbers, and a generator of \
              commands is a long list"
)]

mod check;
mod client;
mod disk;
mod drive;
mod faults;
mod history;
mod host;
mod model;
mod net;
mod orders;
mod people;
mod plan;
mod serial;
mod shrink;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

use plan::{Plan, Plant};
use world::World;

const SEEDS: u64 = 100;
const PLANTED_SEEDS: u64 = 120;

struct Outcome {
    violation: Option<String>,
    hash: u64,
    checks: u64,
    tail: Vec<String>,
}

fn run(seed: u64, plant: Option<Plant>, verbose: bool) -> Outcome {
    run_plan(Plan::draw(seed, plant), verbose)
}

fn run_plan(plan: Plan, verbose: bool) -> Outcome {
    let mut world = World::new(plan, verbose);
    let panicked = catch_unwind(AssertUnwindSafe(|| world.run())).err();
    let violation = match panicked {
        None => world.violation.take(),
        Some(it) => {
            let text = it.downcast_ref::<String>().cloned();
            let text = text.or_else(|| it.downcast_ref::<&str>().map(ToString::to_string));
            Some(format!("a panic: {}", text.unwrap_or_default()))
        }
    };
    let tail = world.tail.drain(..).collect();
    Outcome { violation, hash: world.trace_hash, checks: world.checks, tail }
}

fn number_from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().filter(|it| !it.is_empty()).map(|it| it.parse().unwrap())
}

#[test]
fn many_seeds() {
    let seeds = number_from_env("SIM_SEEDS").unwrap_or(SEEDS);
    let first = number_from_env("SIM_FIRST").unwrap_or(1);
    let (mut bad, mut checks) = (Vec::new(), 0);
    for seed in first..first + seeds {
        let outcome = run(seed, None, false);
        checks += outcome.checks;
        if let Some(why) = outcome.violation {
            println!("seed {seed}: {why}");
            bad.push(seed);
        }
    }
    let mut transactions = 0;
    for seed in first..first + seeds {
        match orders::run(seed, None) {
            Ok(count) => transactions += count,
            Err(why) => {
                println!("orders of seed {seed}: {why}");
                bad.push(seed);
            }
        }
    }
    println!("{seeds} seeds, {checks} states compared, {transactions} transactions in order");
    assert!(bad.is_empty(), "{} of {seeds} seeds fail: {bad:?}", bad.len());
    assert!(checks > seeds * 20, "too tame: {checks} states compared");
}

/// `SEED=n` replays one; without it the first one is run, twice.
#[test]
fn one_seed() {
    let seed = number_from_env("SEED");
    let outcome = run(seed.unwrap_or(1), None, seed.is_some());
    for line in &outcome.tail {
        println!("{line}");
    }
    println!("seed {seed:?} hash {:016x} {:?}", outcome.hash, Plan::draw(seed.unwrap_or(1), None));
    if outcome.violation.is_some() {
        let plan = Plan::draw(seed.unwrap_or(1), None);
        let small = shrink::shrink(plan, |it| run_plan(it.clone(), false).violation.is_some());
        let outcome = run_plan(small.clone(), true);
        println!("as small as it gets: {small:?}");
        outcome.tail.iter().for_each(|line| println!("{line}"));
        println!("{:?}", outcome.violation);
    }
    assert_eq!(outcome.violation, None, "seed {seed:?}");
}

#[test]
fn a_seed_is_one_run_for_ever() {
    for seed in 1..=8 {
        let hashes = [0, 1].map(|_| run(seed, None, false).hash);
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
}

#[test]
fn a_failing_plan_is_made_smaller() {
    let plant = Some(Plant::PieceTwice);
    let fails = |plan: &Plan| run_plan(plan.clone(), false).violation.is_some();
    let mut plans = (1..=PLANTED_SEEDS).map(|seed| Plan::draw(seed, plant));
    let plan = plans.find(|it| shrink::classes(it).len() > 5 && fails(it)).unwrap();
    let small = shrink::shrink(plan.clone(), fails);
    assert!(fails(&small));
    // A piece that comes twice needs nothing else to go wrong.
    assert!(shrink::classes(&small).len() < 3, "{small:?}");
    assert!(small.run_ms < plan.run_ms, "{small:?}");
}

/// Some seed finds the bug.
fn finds(plant: Plant) {
    for seed in 1..=PLANTED_SEEDS {
        if let Some(why) = run(seed, Some(plant), false).violation {
            println!("{plant:?} is found by seed {seed}: {why}");
            return;
        }
    }
    panic!("{plant:?} is not found in {PLANTED_SEEDS} seeds: the checkers are too weak");
}

#[test]
fn planted_replies_before_the_stream() {
    finds(Plant::RepliesFirst);
}

#[test]
fn planted_disorder_on_a_road() {
    finds(Plant::RoadReordered);
}

#[test]
fn planted_piece_delivered_twice() {
    finds(Plant::PieceTwice);
}

#[test]
fn planted_tail_lost() {
    finds(Plant::TailLost);
}

#[test]
fn planted_ping_uncounted() {
    finds(Plant::PingUncounted);
}

#[test]
fn planted_select_ignored() {
    finds(Plant::SelectIgnored);
}

#[test]
fn planted_core_that_does_not_stand_still() {
    finds(Plant::CoreNotFrozen);
}

/// Some seed has a history that no order explains.
fn disorders(plant: orders::Plant) {
    for seed in 1..=PLANTED_SEEDS {
        if let Err(why) = orders::run(seed, Some(plant)) {
            println!("{plant:?} is found by seed {seed}: {why}");
            return;
        }
    }
    panic!("{plant:?} is not found in {PLANTED_SEEDS} seeds: the checker is too weak");
}

#[test]
fn planted_intent_released_early() {
    disorders(orders::Plant::ReleasedEarly);
}

#[test]
fn planted_watch_lost() {
    disorders(orders::Plant::WatchLost);
}

#[test]
fn planted_half_of_a_command_visible() {
    disorders(orders::Plant::Half);
}

#[test]
fn planted_reply_lost() {
    finds(Plant::ReplyLost);
}

#[test]
fn planted_rest_of_a_lent_reply_lost() {
    finds(Plant::LentRestLost);
}

#[test]
fn planted_sync_that_is_not_done() {
    finds(Plant::SyncSkipped);
}

#[test]
fn planted_short_write() {
    finds(Plant::ShortWrite);
}

#[test]
fn planted_rename_without_its_directory() {
    finds(Plant::RenameUnsynced);
}

#[test]
fn planted_torn_tail_gone_on_with() {
    finds(Plant::TailKept);
}
