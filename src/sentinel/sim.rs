//! Sentinels over a model of data nodes, on seeded virtual time, with a network that stalls and cuts, disks
//! that are slow and forget what was not synced, and processes that crash and come back.
//!
//! Checked all the time (`check.rs`): no Sentinel gives two votes in an epoch, over crashes too; a vote is
//! on its disk before it is on the wire; no epoch has two leaders, and none but an operator's two masters;
//! epochs never go back; nobody follows an address that was only claimed. Checked at the end, after a healthy while: one
//! master, which all Sentinels and all data nodes agree on.
//!
//! Each bug of [`Plant`] is found by some seed, else this is too weak to be believed.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test prints its seed, and draws small numbers"
)]

mod check;
mod data;
mod world;

use world::{Faults, World};

/// A bug to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Answers, votes and failovers do not wait for the disk.
    NothingWaitsForTheDisk,
    /// A newer configuration is taken from whoever tells of it.
    EveryHelloIsBelieved,
    /// An earlier vote in the same epoch is forgotten.
    VotesTwice,
    /// A leader needs no majority.
    OneVoteIsEnough,
    /// The file says that the epoch is 0.
    EpochIsNotSaved,
}

/// One run; what went wrong in it.
fn run(seed: u64, plant: Option<Plant>) -> Result<World, String> {
    let mut world = World::new(seed, plant);
    let result = world.run();
    match result {
        Ok(()) => Ok(world),
        Err(why) => {
            let tail = world.story.len().saturating_sub(60);
            let story = world.story.get(tail..).unwrap_or_default().join("\n");
            Err(format!("seed {seed}, {:?}: {why}\n{story}", world.faults))
        }
    }
}

#[test]
fn sentinels_agree_whatever_happens() {
    let (first, count) = seeds(100);
    let (mut failovers, mut votes) = (0, 0);
    for seed in first..first + count {
        match run(seed, None) {
            Ok(world) => {
                failovers += world.check.leaders();
                votes += world.check.votes();
            }
            Err(why) => panic!("{why}"),
        }
    }
    println!("{count} seeds from {first}: {failovers} leaders, {votes} votes");
    assert!(failovers > count / 2, "too little happens: {failovers} failovers");
}

/// A forged claim of the same epoch once hid the true one; and an operator's failover behind a cut once took the
/// epoch of an election on the other side, after which each side kept to its own; or of a newer one that too few
/// knew to confirm it, with both masters demoted.
#[test]
fn claims_of_one_epoch_are_settled() {
    for seed in [287, 336, 696] {
        if let Err(why) = run(seed, None) {
            panic!("{why}");
        }
    }
}

#[test]
fn a_seed_replays() {
    for seed in 0..4 {
        let (Ok(a), Ok(b)) = (run(seed, None), run(seed, None)) else { panic!("seed {seed}") };
        assert_eq!(a.story, b.story, "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for plant in [
        Plant::NothingWaitsForTheDisk,
        Plant::EveryHelloIsBelieved,
        Plant::VotesTwice,
        Plant::OneVoteIsEnough,
        Plant::EpochIsNotSaved,
    ] {
        let found = (0..400).find_map(|seed| run(seed, Some(plant)).err().map(|why| (seed, why)));
        let Some((seed, why)) = found else { panic!("{plant:?} is not found") };
        println!("{plant:?}: {}", why.lines().next().unwrap_or_default());
        assert!(run(seed, None).is_ok(), "{plant:?}: seed {seed} fails without it too");
    }
}

/// Every fault at once may be too much to agree in time; each alone must not be.
#[test]
fn a_quiet_world_stays_quiet() {
    for seed in 0..10 {
        let mut world = World::new(seed, None);
        world.faults = Faults::default();
        world.run().unwrap();
        assert_eq!(world.check.leaders(), 0, "seed {seed}");
    }
}

/// `SENTINEL_SEEDS=first..last` for more or others.
fn seeds(count: u64) -> (u64, u64) {
    let named = std::env::var("SENTINEL_SEEDS").unwrap_or_default();
    match named.split_once("..") {
        Some((first, last)) => {
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            (first, last - first)
        }
        None => (0, count),
    }
}
