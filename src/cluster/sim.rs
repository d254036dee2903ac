//! Nodes of a cluster on seeded virtual time, with a network that stalls and cuts, disks that are slow and
//! forget what was not synced, processes that crash and come back, strangers who forge packets, and operators.
//!
//! Checked all the time (`check.rs`): no node gives two votes in an epoch, over crashes too; a vote is on its
//! disk before it is on the wire; whoever claims slots under an epoch has the votes of a majority for it, or it
//! was his without a vote; a node's config epoch never goes back; its two records of
//! whose slots are whose agree; its file can be read. At the end, after a healthy while: all agree, all slots
//! are served, each by whoever claimed it under the greatest epoch, and no two masters have the same.
//!
//! Each bug of [`Plant`] is found by some seed, else this is too weak to be believed.

#![expect(
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    reason = "a test prints its seed, and draws small numbers"
)]

mod check;
mod world;

use world::{Faults, World};

/// A bug to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Votes and elections do not wait for the disk.
    NothingWaitsForTheDisk,
    /// A master takes slots whatever its epoch.
    LastClaimWins,
    /// An earlier vote in the same epoch is forgotten.
    VotesTwice,
    /// A replica needs no majority.
    OneVoteIsEnough,
    /// The file says that there was no vote.
    VoteIsNotSaved,
    /// Two masters with the same epoch leave it at that.
    CollisionStays,
}

/// One run; what went wrong in it.
fn run(seed: u64, plant: Option<Plant>) -> Result<World, String> {
    let mut world = World::new(seed, plant);
    match world.run() {
        Ok(()) => Ok(world),
        Err(why) => {
            let tail = world.story.len().saturating_sub(80);
            let story = world.story.get(tail..).unwrap_or_default().join("\n");
            Err(format!("seed {seed}, {:?}: {why}\n{story}", world.faults))
        }
    }
}

#[test]
fn nodes_agree_whatever_happens() {
    let (first, count) = seeds(30);
    let (mut failovers, mut votes) = (0, 0);
    for seed in first..first + count {
        match run(seed, None) {
            Ok(world) => {
                failovers += world.check.elected();
                votes += world.check.votes();
            }
            Err(why) => panic!("{why}"),
        }
    }
    println!("{count} seeds from {first}: {failovers} failovers, {votes} votes");
    assert!(failovers > count / 3, "too little happens: {failovers} failovers");
}

#[test]
fn a_seed_replays() {
    for seed in 0..2 {
        let (Ok(a), Ok(b)) = (run(seed, None), run(seed, None)) else { panic!("seed {seed}") };
        assert_eq!(a.story, b.story, "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for plant in [
        Plant::NothingWaitsForTheDisk,
        Plant::LastClaimWins,
        Plant::VotesTwice,
        Plant::OneVoteIsEnough,
        Plant::VoteIsNotSaved,
        Plant::CollisionStays,
    ] {
        let found = (0..400).find_map(|seed| run(seed, Some(plant)).err().map(|why| (seed, why)));
        let Some((seed, why)) = found else { panic!("{plant:?} is not found") };
        println!("{plant:?}: {}", why.lines().next().unwrap_or_default());
        assert!(run(seed, None).is_ok(), "{plant:?}: seed {seed} fails without it too");
    }
}

#[test]
fn a_quiet_world_stays_quiet() {
    for seed in 0..2 {
        let mut world = World::new(seed, None);
        world.faults = Faults::default();
        world.run().unwrap();
        assert_eq!(world.check.elected(), 0, "seed {seed}");
    }
}

/// A voter gives none for the same master within two time-outs, so some wait; but none is asked for in vain.
#[test]
fn planned_failovers_follow_each_other() {
    for seed in 0..10 {
        let mut world = World::new(seed, None);
        world.faults = Faults::default();
        world.no_epochs = false;
        match world.swap_again_and_again() {
            Ok(longest) => assert!(longest < 5_000, "seed {seed}: {longest} ms"),
            Err(why) => {
                let tail = world.story.len().saturating_sub(40);
                panic!("seed {seed}: {why}\n{}", world.story[tail..].join("\n"));
            }
        }
    }
}

/// `CLUSTER_SEEDS=first..last` for more or others.
fn seeds(count: u64) -> (u64, u64) {
    let named = std::env::var("CLUSTER_SEEDS").unwrap_or_default();
    match named.split_once("..") {
        Some((first, last)) => {
            let (first, last): (u64, u64) = (first.parse().unwrap(), last.parse().unwrap());
            (first, last - first)
        }
        None => (0, count),
    }
}
