//! How many clients, and in how much memory: arithmetic over readings, nothing read here.
//!
//! ```text
//!   server's end, kernel   TCP + sock_inode_cache + filp + dentry + what a security module adds
//!                          + one io_kiocb: it waits by a poll
//!   server's end, user     a row of the session table and one of the driver's
//!   client's end           only where the clients run on this host too: another socket, no row
//! ```
//!
//! It is the memory of clients that are connected and wait. Bytes on their way come on top, as long
//! as they are on their way: `net.ipv4.tcp_mem` bounds them.
//!
//! Sizes of kernel objects are read from the kernel (`/proc/slabinfo`, for root alone). Where it
//! hides them those of Linux 6.18 on x86-64 stand in.

use super::readings::Readings;
use crate::base::limits::{DESCRIPTORS_PER_CORE, DESCRIPTORS_RESERVED};
use crate::uring::room::Room;
use serde::Serialize;

/// What one end of a connection takes of each kernel cache, and the bytes of an object where they
/// cannot be read. The names that a kernel merged into a general cache have the same size there.
#[rustfmt::skip] // One row, one line.
const SOCKET: &[(&str, u64)] = &[
    ("TCP",              2_521),
    ("sock_inode_cache",   863),
    ("filp",               196),
    ("dentry",             196),
    ("lsm_inode_cache",     32),
    ("lsm_file_cache",      25),
];
/// A poll that waits in the kernel. A client that asks often has an armed receive instead, of 608
/// bytes more: the few that are busy do not count here.
const REQUEST: (&str, u64) = ("io_kiocb", 256);

/// The server's own memory per client, and with none: measured (`benches/results/`).
pub const USER_BYTES_PER_CLIENT: u64 = 205;
const USER_BYTES_PER_CORE: u64 = 10 << 20;

/// Memory that is left to everything else on the host.
const SPARE_BYTES: u64 = 256 << 20;

/// What is asked of a host.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Demand {
    pub clients: u64,
    /// The clients run on this host too.
    pub local: bool,
    /// Memory for keys and values.
    pub data_bytes: u64,
}

/// Bytes that one waiting client costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Costs {
    pub server_kernel: u64,
    pub server_user: u64,
    /// 0 where the clients run elsewhere.
    pub client_kernel: u64,
}

/// Memory of so many waiting clients, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    pub clients: u64,
    pub server_kernel: u64,
    pub server_user: u64,
    pub client_kernel: u64,
}

/// Something that ends, and the clients that are there when it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bound {
    pub what: &'static str,
    pub clients: u64,
}

/// See the file's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Forecast {
    pub costs: Costs,
    /// The tightest first. Empty where nothing could be read.
    pub bounds: Vec<Bound>,
    pub at_demand: Memory,
    pub at_most: Option<Memory>,
}

impl Forecast {
    /// What this host bears.
    #[must_use]
    pub fn of(readings: &Readings, demand: &Demand) -> Self {
        let costs = costs(readings, demand);
        let mut bounds = bounds(readings, demand, costs);
        bounds.sort_by_key(|it| it.clients);
        let cores = u64::from(readings.cpus.unwrap_or(1));
        Self {
            costs,
            at_demand: memory(costs, demand.clients, cores),
            at_most: bounds.first().map(|it| memory(costs, it.clients, cores)),
            bounds,
        }
    }
}

impl Memory {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.server_kernel + self.server_user + self.client_kernel
    }
}

/// Memory that the host or its control group has left, whichever is less.
#[must_use]
pub fn free_bytes(readings: &Readings) -> Option<u64> {
    let rooms = [readings.memory, readings.group_memory];
    rooms.iter().flatten().map(|it| it.free_bytes).min()
}

/// Descriptors that a server with so many clients has open.
#[must_use]
pub fn descriptors(readings: &Readings, clients: u64) -> u64 {
    clients.saturating_add(reserved(readings))
}

/// What the server makes of a limit of open files: beyond it sockets are parked.
#[must_use]
pub fn room(readings: &Readings, demand: &Demand, limit: u64) -> Room {
    let cores = readings.cpus.map_or(1, |it| usize::try_from(it).unwrap_or(1)).max(1);
    Room::of(limit, u32::try_from(demand.clients).unwrap_or(u32::MAX), cores)
}

fn reserved(readings: &Readings) -> u64 {
    DESCRIPTORS_RESERVED + DESCRIPTORS_PER_CORE * u64::from(readings.cpus.unwrap_or(1))
}

fn costs(readings: &Readings, demand: &Demand) -> Costs {
    let of = |(name, stand_in): &(&str, u64)| match readings.slab_bytes.get(*name) {
        Some(bytes) => *bytes,
        // A kernel whose caches can be read has no module whose cache is not there.
        None if !readings.slab_bytes.is_empty() && name.starts_with("lsm_") => 0,
        None => *stand_in,
    };
    let socket: u64 = SOCKET.iter().map(of).sum();
    Costs {
        server_kernel: socket + of(&REQUEST),
        server_user: USER_BYTES_PER_CLIENT,
        client_kernel: if demand.local { socket + of(&REQUEST) } else { 0 },
    }
}

fn memory(costs: Costs, clients: u64, cores: u64) -> Memory {
    let times = |bytes: u64| bytes.saturating_mul(clients);
    Memory {
        clients,
        server_kernel: times(costs.server_kernel),
        server_user: times(costs.server_user).saturating_add(cores * USER_BYTES_PER_CORE),
        client_kernel: times(costs.client_kernel),
    }
}

fn bounds(readings: &Readings, demand: &Demand, costs: Costs) -> Vec<Bound> {
    let mut bounds = Vec::new();
    if let Some(free) = free_bytes(readings) {
        let each = costs.server_kernel + costs.server_user + costs.client_kernel;
        let left = free.saturating_sub(SPARE_BYTES).saturating_sub(demand.data_bytes);
        bounds.push(Bound { what: "memory", clients: left / each });
    }
    if let Some(limit) = readings.open_files.filter(|it| it.hard != u64::MAX) {
        let clients = room(readings, demand, limit.hard).clients.into();
        bounds.push(Bound { what: "open files (ulimit -Hn)", clients });
    }
    let ends = if demand.local { 2 } else { 1 };
    if let (Some(most), Some(used)) =
        (readings.sysctl("fs.file-max"), readings.sysctl("fs.file-nr"))
    {
        bounds.push(Bound { what: "fs.file-max", clients: most.saturating_sub(used) / ends });
    }
    if let Some(tracked) = tracked(readings) {
        bounds.push(Bound { what: "net.netfilter.nf_conntrack_max", clients: tracked });
    }
    bounds
}

/// Connections that the connection tracker has room for, where it sees connections at all: on a
/// host without firewall rules it is there and counts none.
fn tracked(readings: &Readings) -> Option<u64> {
    let count = readings.sysctl("net.netfilter.nf_conntrack_count").filter(|it| *it > 0)?;
    Some(readings.sysctl("net.netfilter.nf_conntrack_max")?.saturating_sub(count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::readings::{Limit, Room};

    fn host() -> Readings {
        Readings {
            memory: Some(Room { limit_bytes: 24 << 30, free_bytes: 23 << 30 }),
            open_files: Some(Limit { soft: 1_024, hard: 20_000 }),
            sysctls: [("fs.file-max", vec![2_000_000]), ("fs.file-nr", vec![1_000, 0, 2_000_000])]
                .into(),
            cpus: Some(2),
            ..Readings::default()
        }
    }

    fn demand(clients: u64) -> Demand {
        Demand { clients, local: false, data_bytes: 0 }
    }

    #[test]
    fn the_tightest_bound_comes_first() {
        let check = |readings: &Readings, demand: Demand, what, clients| {
            let forecast = Forecast::of(readings, &demand);
            assert_eq!(forecast.bounds[0], Bound { what, clients });
            assert_eq!(forecast.at_most.unwrap().clients, clients);
        };
        check(&host(), demand(1), "fs.file-max", 1_999_000);
        let few = Limit { soft: 64, hard: 100 };
        let little = Readings { open_files: Some(few), ..host() };
        check(&little, demand(1), "open files (ulimit -Hn)", 1_000);
        let unlimited = Limit { soft: 1, hard: u64::MAX };
        let mut free = Readings { open_files: Some(unlimited), ..host() };
        check(&free, demand(1), "fs.file-max", 1_999_000);
        check(&free, Demand { local: true, ..demand(1) }, "fs.file-max", 999_500);
        let crowded = Demand { data_bytes: 20 << 30, ..demand(1) };
        let each = 3_833 + 256 + 205;
        check(&free, crowded, "memory", ((3 << 30) - (256 << 20)) / each);
        free.group_memory = Some(Room { limit_bytes: 1 << 30, free_bytes: 1 << 30 });
        check(&free, demand(1), "memory", ((1 << 30) - (256 << 20)) / each);
        free.sysctls.insert("net.netfilter.nf_conntrack_max", vec![1_000]);
        free.sysctls.insert("net.netfilter.nf_conntrack_count", vec![0]);
        check(&free, demand(1), "memory", ((1 << 30) - (256 << 20)) / each);
        free.sysctls.insert("net.netfilter.nf_conntrack_count", vec![10]);
        check(&free, demand(1), "net.netfilter.nf_conntrack_max", 990);
    }

    #[test]
    fn costs_are_the_kernels_own_where_it_tells() {
        let mut readings = host();
        let stand_in = Forecast::of(&readings, &demand(1)).costs.server_kernel;
        for (name, bytes) in SOCKET.iter().chain([&REQUEST]).filter(|it| !it.0.starts_with("lsm")) {
            readings.slab_bytes.insert((*name).to_string(), *bytes);
        }
        assert_eq!(Forecast::of(&readings, &demand(1)).costs.server_kernel, stand_in - 57);
        readings.slab_bytes.insert("TCP".into(), 3_521);
        assert_eq!(Forecast::of(&readings, &demand(1)).costs.server_kernel, stand_in - 57 + 1_000);
    }

    #[test]
    fn nothing_read_is_no_bound() {
        let forecast = Forecast::of(&Readings::default(), &demand(u64::MAX));
        assert!(forecast.bounds.is_empty() && forecast.at_most.is_none());
        assert_eq!(forecast.at_demand.server_kernel, u64::MAX);
    }
}
