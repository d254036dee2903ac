//! What was read of a host and of this process, as plain data. It judges nothing.
//!
//! Whatever cannot be read is `None`: a container hides some of it, an old kernel lacks some, and
//! `/proc/slabinfo` is for root alone. Limits of the process are those of whoever asks, so that the
//! doctor is best asked as the user, and from the unit or shell, that the server will have.

use super::host::Host;
use crate::uring::fit;
use serde::Serialize;
use std::collections::BTreeMap;

/// Sysctls that findings ask for, by their names.
#[rustfmt::skip] // One row, one line.
pub const SYSCTLS: &[&str] = &[
    "kernel.io_uring_disabled",
    "fs.nr_open", "fs.file-max", "fs.file-nr",
    "net.core.somaxconn", "net.core.netdev_max_backlog",
    "net.ipv4.tcp_max_syn_backlog", "net.ipv4.tcp_syncookies", "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_mem", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem", "net.ipv4.tcp_max_orphans",
    "net.netfilter.nf_conntrack_max", "net.netfilter.nf_conntrack_count",
    "vm.overcommit_memory",
];

/// Files of `/sys` that hold a choice.
pub const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";
const CLOCK: &str = "/sys/devices/system/clocksource/clocksource0/current_clocksource";
const GOVERNOR: &str = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor";

/// A soft and a hard limit; `u64::MAX` is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}

/// Bytes that a process may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Room {
    pub limit_bytes: u64,
    pub free_bytes: u64,
}

/// A host and a process on it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Readings {
    /// As `uname -r` says it, and its first two numbers.
    pub kernel: Option<String>,
    pub kernel_version: Option<(u32, u32)>,
    /// Whether the socket ring works here: `Err` says what is missing. `None`: not asked.
    pub io_uring: Option<Result<(), String>>,
    /// Whether a seccomp filter lies on this process.
    pub seccomp: Option<bool>,
    pub open_files: Option<Limit>,
    pub locked_memory: Option<Limit>,
    /// Each sysctl's numbers, by its name.
    pub sysctls: BTreeMap<&'static str, Vec<u64>>,
    pub congestion_control: Option<String>,
    pub congestion_controls: Option<String>,
    /// The word in brackets.
    pub huge_pages: Option<String>,
    pub clock: Option<String>,
    pub governor: Option<String>,
    /// Memory of the machine, and of the control group (the tightest one above this process).
    pub memory: Option<Room>,
    pub group_memory: Option<Room>,
    /// CPUs that this process may run on, and how many CPUs' time its control group may use.
    pub cpus: Option<u32>,
    pub group_cpus: Option<f64>,
    /// Connections refused since the boot because a listener's queue was full, and packets dropped
    /// because a CPU's was.
    pub listen_drops: Option<u64>,
    pub packet_drops: Option<u64>,
    /// Bytes that one object of a kernel cache takes, its share of the page's rest included.
    pub slab_bytes: BTreeMap<String, u64>,
}

impl Readings {
    /// Reads everything that can be read.
    #[must_use]
    pub fn of(host: &Host) -> Self {
        let status = host.read("/proc/self/status").unwrap_or_default();
        let limits = host.read("/proc/self/limits").unwrap_or_default();
        let word = |path: &str| host.read(path).filter(|it| !it.is_empty());
        let kernel = word("/proc/sys/kernel/osrelease");
        let control =
            |name: &str| word(&format!("/proc/sys/net/ipv4/tcp_{name}congestion_control"));
        let processor = groups(host, "cpu");
        Self {
            kernel_version: kernel.as_deref().and_then(version),
            kernel,
            io_uring: host.is_real().then(|| fit::check().map_err(|unfit| unfit.to_string())),
            seccomp: field(&status, "Seccomp:").map(|it| it != "0"),
            open_files: limit(&limits, "Max open files"),
            locked_memory: limit(&limits, "Max locked memory"),
            sysctls: SYSCTLS.iter().filter_map(|name| Some((*name, sysctl(host, name)?))).collect(),
            congestion_control: control(""),
            congestion_controls: control("available_"),
            huge_pages: word(HUGE_PAGES).and_then(|it| chosen(&it)),
            clock: word(CLOCK),
            governor: word(GOVERNOR),
            memory: memory(&host.read("/proc/meminfo").unwrap_or_default()),
            group_memory: groups(host, "memory")
                .iter()
                .filter_map(|group| group_memory(host, group))
                .min_by_key(|it| it.free_bytes),
            cpus: field(&status, "Cpus_allowed_list:").and_then(cpus),
            group_cpus: processor.iter().filter_map(|it| group_cpus(host, it)).reduce(f64::min),
            listen_drops: listen_drops(&host.read("/proc/net/netstat").unwrap_or_default()),
            packet_drops: packet_drops(&host.read("/proc/net/softnet_stat").unwrap_or_default()),
            slab_bytes: slabs(&host.read("/proc/slabinfo").unwrap_or_default()),
        }
    }

    /// The first number of a sysctl.
    #[must_use]
    pub fn sysctl(&self, name: &str) -> Option<u64> {
        self.sysctls.get(name)?.first().copied()
    }
}

/// Where a sysctl is: dots become slashes.
#[must_use]
pub fn sysctl_path(name: &str) -> String {
    format!("/proc/sys/{}", name.replace('.', "/"))
}

fn sysctl(host: &Host, name: &str) -> Option<Vec<u64>> {
    let text = host.read(&sysctl_path(name))?;
    // A negative number (some sysctls' word for "no limit") is no number that a finding needs.
    let numbers: Option<Vec<u64>> = text.split_whitespace().map(|it| it.parse().ok()).collect();
    numbers.filter(|it| !it.is_empty())
}

/// `6.18.44-name` is version 6.18.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|it: char| !it.is_ascii_digit()).map(|it| it.parse().ok());
    Some((numbers.next()??, numbers.next()??))
}

/// The first word behind a name at the start of a line.
fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next())
}

/// A line of `/proc/self/limits`: name, soft, hard, unit.
fn limit(text: &str, name: &str) -> Option<Limit> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let mut words = line.split_whitespace();
    let mut number = || match words.next()? {
        "unlimited" => Some(u64::MAX),
        digits => digits.parse().ok(),
    };
    Some(Limit { soft: number()?, hard: number()? })
}

/// `always [madvise] never` has chosen `madvise`.
fn chosen(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('[')?;
    rest.split_once(']').map(|(word, _)| word.to_string())
}

/// How many CPUs `0-3,6` names.
fn cpus(list: &str) -> Option<u32> {
    let parts = list.split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        last.checked_sub(first)?.checked_add(1)
    });
    parts.sum()
}

fn memory(meminfo: &str) -> Option<Room> {
    let bytes = |name| field(meminfo, name)?.parse::<u64>().ok()?.checked_mul(1024);
    Some(Room { limit_bytes: bytes("MemTotal:")?, free_bytes: bytes("MemAvailable:")? })
}

/// A control group's directory, and whether it is of the first version.
struct Group {
    path: String,
    first: bool,
}

/// The control groups of this process for one controller, the closest first. Where a container
/// shows only its own part of the tree, the path in `/proc/self/cgroup` does not exist below the
/// mount, and the mount itself is the group.
fn groups(host: &Host, controller: &str) -> Vec<Group> {
    let text = host.read("/proc/self/cgroup").unwrap_or_default();
    let mut found = Vec::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(names), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let first = names.split(',').any(|it| it == controller);
        let mounts: &[&str] = match (first, names) {
            (true, _) => &[controller],
            (false, "") => &["", "unified"],
            _ => continue,
        };
        for mount in mounts {
            let mount = format!("/sys/fs/cgroup/{mount}");
            let mount = mount.trim_end_matches('/');
            // The group, then each one above it: a limit anywhere counts.
            let mut inside = path.trim_end_matches('/');
            loop {
                found.push(Group { path: format!("{mount}{inside}"), first });
                let Some((above, _)) = inside.rsplit_once('/') else { break };
                inside = above;
            }
        }
    }
    found
}

fn group_memory(host: &Host, group: &Group) -> Option<Room> {
    let names = match group.first {
        true => ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        false => ("memory.max", "memory.current", "inactive_file"),
    };
    let read = |name: &str| host.read(&format!("{}/{name}", group.path));
    let limit_bytes: u64 = read(names.0)?.parse().ok()?;
    // The first version's word for "no limit" is a number near 2^63.
    if limit_bytes >= 1 << 60 {
        return None;
    }
    let used: u64 = read(names.1)?.parse().ok()?;
    let stat = read("memory.stat").unwrap_or_default();
    let cache = field(&stat, names.2).and_then(|it| it.parse().ok()).unwrap_or(0);
    let free_bytes = limit_bytes.saturating_sub(used.saturating_sub(cache));
    Some(Room { limit_bytes, free_bytes })
}

fn group_cpus(host: &Host, group: &Group) -> Option<f64> {
    let read = |name: &str| host.read(&format!("{}/{name}", group.path));
    let text = match group.first {
        true => format!("{} {}", read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
        false => read("cpu.max")?,
    };
    let mut numbers = text.split_whitespace().map(str::parse::<f64>);
    let (quota, period) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

/// `ListenDrops` of `/proc/net/netstat`: a line of names, then a line of numbers, both of `TcpExt:`.
fn listen_drops(netstat: &str) -> Option<u64> {
    let mut lines = netstat.lines().filter_map(|line| line.strip_prefix("TcpExt:"));
    let (names, numbers) = (lines.next()?, lines.next()?);
    let at = names.split_whitespace().position(|it| it == "ListenDrops")?;
    numbers.split_whitespace().nth(at)?.parse().ok()
}

/// The second column of `/proc/net/softnet_stat`, in hexadecimal, over all CPUs.
fn packet_drops(softnet: &str) -> Option<u64> {
    let drops = |line: &str| u64::from_str_radix(line.split_whitespace().nth(1)?, 16).ok();
    softnet.lines().next()?;
    softnet.lines().map(drops).sum()
}

/// `name active total size per_slab pages : ...`; a page has 4,096 bytes wherever this runs.
fn slabs(slabinfo: &str) -> BTreeMap<String, u64> {
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next()?;
        let numbers: Vec<u64> = words.take(5).map_while(|it| it.parse().ok()).collect();
        let [_, _, _, per_slab, pages] = numbers[..] else { return None };
        let bytes = pages.checked_mul(4096)?.checked_add(per_slab.checked_sub(1)?)?;
        Some((name.to_string(), bytes / per_slab))
    };
    slabinfo.lines().filter_map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A host made of these files.
    fn host(files: &[(&str, &str)]) -> (Readings, std::path::PathBuf) {
        use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("ringfold-doctor-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed));
        let root = std::env::temp_dir().join(name);
        let host = Host::at(&root);
        files.iter().for_each(|(path, text)| host.write(path, text).unwrap());
        (Readings::of(&host), root)
    }

    fn read(files: &[(&str, &str)]) -> Readings {
        let (readings, root) = host(files);
        let _ = std::fs::remove_dir_all(root);
        readings
    }

    #[test]
    fn a_host_that_says_nothing_is_no_error() {
        let readings = read(&[]);
        assert!(readings.memory.is_none() && readings.sysctls.is_empty());
        assert!(readings.io_uring.is_none(), "a directory has no kernel to ask");
    }

    #[test]
    fn files_become_numbers_and_words() {
        let readings = read(&[
            ("/proc/sys/kernel/osrelease", "6.18.44-x\n"),
            ("/proc/sys/net/ipv4/tcp_mem", "1\t2\t3\n"),
            ("/proc/sys/net/core/somaxconn", "4096\n"),
            ("/proc/sys/vm/overcommit_memory", "-1\n"),
            ("/proc/self/limits", "Max open files    1024    unlimited    files"),
            ("/proc/self/status", "Name:\tx\nSeccomp:\t2\nCpus_allowed_list:\t0-3,6\n"),
            ("/proc/meminfo", "MemTotal:  100 kB\nMemFree: 1 kB\nMemAvailable:   50 kB\n"),
            (HUGE_PAGES, "always [madvise] never"),
            ("/proc/net/netstat", "TcpExt: A ListenDrops B\nTcpExt: 1 77 3\nIpExt: A\nIpExt: 9"),
            ("/proc/net/softnet_stat", "00000001 0000000a 0\n00000001 00000001 0"),
            ("/proc/slabinfo", "slabinfo - version: 2.1\n# name x\nTCP  79 130 2368 13 8 : t 0 0"),
        ]);
        assert_eq!(readings.kernel_version, Some((6, 18)));
        assert_eq!(readings.sysctls["net.ipv4.tcp_mem"], [1, 2, 3]);
        assert_eq!(readings.sysctl("net.core.somaxconn"), Some(4_096));
        assert_eq!(readings.sysctl("vm.overcommit_memory"), None);
        assert_eq!(readings.open_files, Some(Limit { soft: 1_024, hard: u64::MAX }));
        assert_eq!((readings.seccomp, readings.cpus), (Some(true), Some(5)));
        assert_eq!(readings.memory, Some(Room { limit_bytes: 100 * 1024, free_bytes: 50 * 1024 }));
        assert_eq!(readings.huge_pages.as_deref(), Some("madvise"));
        assert_eq!((readings.listen_drops, readings.packet_drops), (Some(77), Some(11)));
        assert_eq!(readings.slab_bytes["TCP"], 2_521);
        assert_eq!(readings.slab_bytes.len(), 1);
    }

    #[test]
    fn the_tightest_control_group_counts() {
        let second = read(&[
            ("/proc/self/cgroup", "0::/a/b"),
            ("/sys/fs/cgroup/a/b/memory.max", "max"),
            ("/sys/fs/cgroup/a/memory.max", "1000"),
            ("/sys/fs/cgroup/a/memory.current", "900"),
            ("/sys/fs/cgroup/a/memory.stat", "anon 1\ninactive_file 300\n"),
            ("/sys/fs/cgroup/a/b/cpu.max", "150000 100000"),
            ("/sys/fs/cgroup/a/cpu.max", "max 100000"),
        ]);
        assert_eq!(second.group_memory, Some(Room { limit_bytes: 1_000, free_bytes: 400 }));
        assert_eq!(second.group_cpus, Some(1.5));
        // A container of the first version sees its own group at the mount.
        let first = read(&[
            ("/proc/self/cgroup", "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n0::/"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "5000"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "1000"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1"),
            ("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000"),
        ]);
        assert_eq!(first.group_memory, Some(Room { limit_bytes: 5_000, free_bytes: 4_000 }));
        assert_eq!(first.group_cpus, None);
    }

    #[test]
    fn this_machine_can_be_read() {
        let readings = Readings::of(&Host::at(std::path::Path::new("/")));
        assert!(readings.memory.is_some() && readings.open_files.is_some());
        assert_eq!(readings.io_uring, Some(Ok(())));
        assert!(readings.cpus.is_some_and(|it| it > 0));
    }
}
