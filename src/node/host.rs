//! What the outside knows of this process and its host, for INFO.
//!
//! Filled by `runtime/` at the start and then once a second; `node/` only reads it, and never asks
//! the system by itself. What the keys take is noted here by all cores, so that the peak is known.

use crate::base::limits::CORES_MAX;
use crate::node::busy::Board;
use crate::node::record::Record;
use std::sync::atomic::{AtomicU64, Ordering};

/// See the file's header.
#[derive(Debug, Default)]
pub struct Host {
    pub process_id: u32,
    /// From the kernel, for passwords that are made here.
    pub secret: [u8; 32],
    pub executable: String,
    /// Empty where there is none.
    pub config_file: String,
    /// `Linux 6.12.1 x86_64`
    pub os: String,
    /// `systemd`, `upstart`, `unknown` or `no`.
    pub supervised: &'static str,
    pub memory_bytes: u64,
    pub rss_bytes: AtomicU64,
    /// Of all threads, and of the one that runs core 0.
    pub cpu_user_us: AtomicU64,
    pub cpu_system_us: AtomicU64,
    pub main_user_us: AtomicU64,
    pub main_system_us: AtomicU64,
    /// Clients' and replicas' sockets of all cores: those with a descriptor, those without, and the
    /// tables of further rings in which these lie.
    pub seated: AtomicU64,
    pub parked: AtomicU64,
    pub tables: AtomicU64,
    /// Descriptors that they may have together; 0 where nothing bounds them.
    pub seats: AtomicU64,
    /// Clients that came by a door for administration.
    pub admitted: AtomicU64,
    /// Nanoseconds that the last busy turn of each core took.
    pub lags: Vec<AtomicU64>,
    /// How busy each core is.
    pub loads: Vec<Load>,
    /// What the clients of all cores take, and the heaviest of each core (`client_memory.rs`).
    pub client_bytes: AtomicU64,
    pub heaviest: Vec<AtomicU64>,
    /// The number of the newest report that somebody wants of all cores: each tells its figures once it has
    /// seen a new one, at its next tick.
    pub report_wanted: AtomicU64,
    /// What of the backlog counts against `maxmemory`.
    pub backlog_bytes: AtomicU64,
    /// A bit for each core whose keys may not go or are gone; see [`Host::nothing_to_evict`].
    pub bare: [AtomicU64; CORES_MAX / 64],
    /// What the keys take, and took at most; see [`Host::note_used`].
    pub used_bytes: AtomicU64,
    pub peak_bytes: AtomicU64,
    /// Which cores have a script that takes long.
    pub scripts: Board,
    /// The last change of roles.
    pub record: Record,
}

/// How busy one core is, as its loop says once a second.
#[derive(Debug, Default)]
pub struct Load {
    /// CPU time of its thread since the start.
    pub cpu_us: AtomicU64,
    /// Of a thousand: how much of the last second it had a CPU.
    pub busy_permille: AtomicU64,
    /// The longest turn of that second.
    pub longest_ns: AtomicU64,
    /// Turns since the start.
    pub turns: AtomicU64,
    /// Its sockets with a descriptor, and those without.
    pub seated: AtomicU64,
    pub parked: AtomicU64,
}

/// How many sockets a core has; see [`Host::note_sockets`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sockets {
    pub seated: usize,
    pub parked: usize,
    pub tables: usize,
}

impl Host {
    /// A core had `before` when it last said so, and has `after` now.
    pub fn note_sockets(&self, before: Sockets, after: Sockets) {
        let note = |total: &AtomicU64, before: usize, after: usize| {
            if before != after {
                total.fetch_add((after as u64).wrapping_sub(before as u64), Ordering::Relaxed);
            }
        };
        note(&self.seated, before.seated, after.seated);
        note(&self.parked, before.parked, after.parked);
        note(&self.tables, before.tables, after.tables);
    }

    /// The longest of the last turns of all cores, in nanoseconds.
    #[must_use]
    pub fn lag(&self) -> u64 {
        self.lags.iter().map(|lag| lag.load(Ordering::Relaxed)).max().unwrap_or(0)
    }

    /// A core's keys took `before` bytes when it last said so, and take `after` now.
    pub fn note_used(&self, before: u64, after: u64) {
        let old = self.used_bytes.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
        let used = old.wrapping_add(after).wrapping_sub(before);
        self.peak_bytes.fetch_max(used, Ordering::Relaxed);
    }

    /// A core has looked for a key that may go.
    pub fn set_nothing_to_evict(&self, core: usize, nothing: bool) {
        let Some(bits) = self.bare.get(core / 64) else { return };
        let bit = 1 << (core % 64);
        if (bits.load(Ordering::Relaxed) & bit != 0) == nothing {
            return;
        }
        if nothing {
            bits.fetch_or(bit, Ordering::Relaxed);
        } else {
            bits.fetch_and(!bit, Ordering::Relaxed);
        }
    }

    /// Did none of so many cores find any key that may go?
    #[must_use]
    pub fn nothing_to_evict(&self, cores: usize) -> bool {
        let bare: u32 = self.bare.iter().map(|it| it.load(Ordering::Relaxed).count_ones()).sum();
        bare as usize >= cores
    }

    /// The most that the keys of all cores ever took.
    #[must_use]
    pub fn peak_bytes(&self) -> u64 {
        self.peak_bytes.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_that_of_all_cores_together() {
        let host = Host::default();
        for (before, after) in [(0, 10), (0, 5), (10, 2), (5, 6)] {
            host.note_used(before, after);
        }
        assert_eq!(host.peak_bytes(), 15);
    }
}
