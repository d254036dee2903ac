//! How many clients, with how many descriptors, and how fast they are let in.
//!
//! **Room.** Clients are bounded by memory, not by RLIMIT_NOFILE: beyond it a socket lies in the table of a
//! further ring, which holds as many as the limit says and costs one descriptor (`uring/parking.rs`). So
//! of a limit of `n` a part is kept for tables, a part for what is no client's, and the others are *seats*: who
//! is about to send or be sent something needs one. Where the limit suffices for all clients, all have
//! seats and there are no tables.
//!
//! **Admission.** Of those that wait to be accepted each turn takes a few, behind all that the turn does
//! for those who are in. How few is up to the loop's lag: while turns are short the number grows, when one
//! was long it is halved. So a storm fills the time that is left and no more. It never takes the last
//! seats, which are kept for links to masters and for the doors of administration.

use crate::base::limits::{
    ACCEPTS_PER_TURN_MAX, ACCEPTS_PER_TURN_MIN, ADMIN_RESERVE, ADMIN_RESERVE_PART,
    CLIENTS_DEFAULT_MAX, DESCRIPTORS_PER_CORE, DESCRIPTORS_RESERVED, TURN_TARGET_NS,
};

/// See the file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Clients that can be connected at most.
    pub clients: u32,
    /// Sockets that can have a descriptor, over all cores.
    pub seats: u64,
    /// Are there tables for others?
    pub parks: bool,
}

/// Descriptors that this process should be able to have, for so many clients.
#[must_use]
pub fn descriptors_wanted(maxclients: u32, cores: usize) -> u64 {
    u64::from(maxclients.max(CLIENTS_DEFAULT_MAX)) + reserved(cores)
}

fn reserved(cores: usize) -> u64 {
    DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CORE * cores as u64
}

impl Room {
    /// What a process has that may open `limit` files.
    #[must_use]
    pub fn of(limit: u64, maxclients: u32, cores: usize) -> Self {
        let left = limit.saturating_sub(reserved(cores));
        let wanted = u64::from(maxclients.max(CLIENTS_DEFAULT_MAX));
        if left >= wanted {
            let clients = u32::try_from(left).unwrap_or(u32::MAX);
            return Self { clients, seats: left, parks: false };
        }
        let cores = cores as u64;
        // Twice what is needed: cores may have unequal shares, and each has one that is not full.
        let tables = (2 * wanted.div_ceil(limit.max(1)) + cores).min(left / 2);
        let seats = left - tables;
        let parked = (tables / cores * cores).saturating_mul(limit);
        let clients = u32::try_from(parked.max(seats)).unwrap_or(u32::MAX);
        Self { clients, seats, parks: true }
    }
}

/// See the file's header.
#[derive(Debug)]
pub struct Admission {
    most: usize,
}

impl Default for Admission {
    fn default() -> Self {
        Self { most: ACCEPTS_PER_TURN_MIN }
    }
}

impl Admission {
    /// How many connections the next turn accepts at most, where the last turn of the slowest core took so
    /// many nanoseconds, and of `seats` so many are taken.
    pub fn next(&mut self, lag_ns: u64, seats: u64, taken: u64) -> usize {
        self.most = match lag_ns {
            ..TURN_TARGET_NS => (self.most + self.most / 8 + 1).min(ACCEPTS_PER_TURN_MAX),
            _ => (self.most / 2).max(ACCEPTS_PER_TURN_MIN),
        };
        let kept = ADMIN_RESERVE.min(seats / ADMIN_RESERVE_PART);
        let free = seats.saturating_sub(taken).saturating_sub(kept);
        self.most.min(usize::try_from(free).unwrap_or(usize::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_limit_of_files_is_not_one_of_clients() {
        let check = |limit, maxclients, cores, clients, seats, parks| {
            let room = Room::of(limit, maxclients, cores);
            assert_eq!(room, Room { clients, seats, parks }, "{limit} files, {cores} cores");
        };
        check(20_000, CLIENTS_DEFAULT_MAX, 2, 2_160_000, 19_812, true);
        check(300, CLIENTS_DEFAULT_MAX, 2, 33_000, 110, true);
        check(1 << 21, CLIENTS_DEFAULT_MAX, 2, (1 << 21) - 80, (1 << 21) - 80, false);
        check(1 << 21, 1 << 21, 2, 4 << 21, (1 << 21) - 80 - 4, true);
        check(80, 10, 2, 0, 0, true);
        check(0, 10, 256, 0, 0, true);
        check(u64::MAX, u32::MAX, 1, u32::MAX, u64::MAX - 72, false);
    }

    #[test]
    fn a_storm_gets_the_time_that_is_left() {
        let mut admission = Admission::default();
        let calm = (0..200).map(|_| admission.next(0, u64::MAX, 0)).last();
        assert_eq!(calm, Some(ACCEPTS_PER_TURN_MAX));
        // A turn that takes 10 us for each client that it lets in settles near the target.
        let mut taken = calm.unwrap_or_default();
        for _ in 0..50 {
            taken = admission.next(taken as u64 * 10_000, u64::MAX, 0);
        }
        let target = usize::try_from(TURN_TARGET_NS / 10_000).unwrap();
        assert!((target / 2..=2 * target).contains(&taken), "{taken} of {target}");
        // However late the loop is, somebody gets in.
        (0..50).for_each(|_| taken = admission.next(u64::MAX, u64::MAX, 0));
        assert_eq!(taken, ACCEPTS_PER_TURN_MIN);
    }

    #[test]
    fn the_last_seats_are_kept() {
        let mut admission = Admission::default();
        assert_eq!(
            (0..200).map(|_| admission.next(0, 1_000, 0)).last(),
            Some(ACCEPTS_PER_TURN_MAX)
        );
        assert_eq!(admission.next(0, 1_000, 1_000 - ADMIN_RESERVE - 3), 3);
        assert_eq!(admission.next(0, 1_000, 1_000 - ADMIN_RESERVE), 0);
        assert_eq!(admission.next(0, 80, 69), 1, "few seats: few are kept");
        assert_eq!(admission.next(0, 1_000, 2_000), 0);
    }
}
