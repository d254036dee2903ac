//! How many clients a process can have, and how many of them with a descriptor.
//!
//! Clients are bounded by memory, not by RLIMIT_NOFILE: beyond it a socket lies in the table of a
//! further ring, which holds as many as the limit says and costs one descriptor (`parking.rs`). So
//! of a limit of `n` a part is kept for tables, a part for what is no client's, and the others are *seats*: who
//! is about to send or be sent something needs one. Where the limit suffices for all clients, all have
//! seats and there are no tables.

use crate::base::limits::{CLIENTS_DEFAULT_MAX, DESCRIPTORS_PER_CORE, DESCRIPTORS_RESERVED};

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
}
