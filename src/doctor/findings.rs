//! What is, what so many clients need, and the change that mends the difference: one row of `RULES`
//! per subject, each a pure function.
//!
//! A subject that cannot be read has no finding: nothing is claimed of it. A finding whose change
//! is [`Mend::Write`] is what `ringfold tune` writes, so a rule decides here and nowhere else what
//! a host is set to; nothing is asked for that has no effect on clients.

use super::forecast::{Demand, Forecast, descriptors, free_bytes, room};
use super::readings::{HUGE_PAGES, Readings, sysctl_path};
use super::report::{bytes, number};
use crate::base::limits::{EXECUTOR_MEMLOCK_BYTES, LISTEN_QUEUE_MAX};
use serde::{Deserialize, Serialize};

/// Linux has had everything that the socket ring uses since this version.
const KERNEL_MIN: (u32, u32) = (6, 1);
/// A page of kernel memory for a socket with bytes on their way.
const PAGE_BYTES: u64 = 4_096;
/// Clocks that are read without a system call.
const FAST_CLOCKS: &[&str] =
    &["tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter"];

/// How much a finding matters, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Nothing is to be done.
    Fine,
    /// The clients will be served, but more slowly or with less reserve than they could be.
    Advice,
    /// So many clients will not be served.
    Obstacle,
}

/// See the file's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub subject: &'static str,
    pub level: Level,
    pub is: String,
    pub needs: String,
    /// Why it matters, and what follows from how it is.
    pub why: String,
    pub mend: Option<Mend>,
}

/// A change, and the way back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mend {
    /// A value for a file of the kernel's.
    Write(Change),
    /// What only the administrator can do.
    ByHand { how: String, undo: String },
}

/// A value for a file of the kernel's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// A sysctl's name, or the file's.
    pub name: String,
    pub path: String,
    pub from: String,
    pub to: String,
    /// Whether it is a sysctl, so that a line in `/etc/sysctl.d` makes it last.
    pub sysctl: bool,
}

type Rule = fn(&Readings, &Demand, &Forecast) -> Option<Finding>;

const RULES: &[Rule] = &[
    kernel,
    io_uring,
    locked_memory,
    memory,
    open_files,
    files_per_process,
    files_in_all,
    listen_queue,
    unfinished_handshakes,
    packet_queue,
    ports,
    bytes_under_way,
    buffers,
    tracker,
    congestion,
    huge_pages,
    overcommit,
    cpus,
    clock,
    governor,
];

/// All findings, in the order in which a server meets what they are about.
#[must_use]
pub fn findings(readings: &Readings, demand: &Demand, forecast: &Forecast) -> Vec<Finding> {
    RULES.iter().filter_map(|rule| rule(readings, demand, forecast)).collect()
}

fn finding(
    subject: &'static str,
    level: Level,
    is: impl Into<String>,
    needs: impl Into<String>,
    why: impl Into<String>,
) -> Finding {
    Finding { subject, level, is: is.into(), needs: needs.into(), why: why.into(), mend: None }
}

impl Finding {
    fn mend(mut self, mend: impl FnOnce() -> Mend) -> Self {
        if self.level > Level::Fine {
            self.mend = Some(mend());
        }
        self
    }

    fn by_hand(self, how: impl Into<String>, undo: impl Into<String>) -> Self {
        self.mend(|| Mend::ByHand { how: how.into(), undo: undo.into() })
    }

    fn set(self, readings: &Readings, name: &str, to: &[u64]) -> Self {
        let words = |it: &[u64]| it.iter().map(u64::to_string).collect::<Vec<_>>().join(" ");
        let from = words(readings.sysctls.get(name).map_or(&[], Vec::as_slice));
        self.mend(|| {
            let (name, path, to) = (name.to_string(), sysctl_path(name), words(to));
            Mend::Write(Change { name, path, from, to, sysctl: true })
        })
    }
}

fn fine_if(fine: bool, otherwise: Level) -> Level {
    if fine { Level::Fine } else { otherwise }
}

fn kernel(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let version = readings.kernel_version?;
    let why = "The socket ring uses single-issuer rings and deferred task work.";
    let level = fine_if(version >= KERNEL_MIN, Level::Obstacle);
    let needs = format!("{}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1);
    let found = finding("kernel", level, readings.kernel.clone()?, needs, why);
    Some(found.by_hand("boot a newer kernel", "boot the old one"))
}

fn io_uring(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let subject = "io_uring";
    let disabled = readings.sysctl("kernel.io_uring_disabled").unwrap_or(0);
    let works = match &readings.io_uring {
        Some(Ok(())) if disabled == 0 => {
            let needs = "rings, multishot receives, provided buffers";
            return Some(finding(
                subject,
                Level::Fine,
                "works",
                needs,
                "Sockets are driven by it.",
            ));
        }
        Some(Ok(())) => true,
        Some(Err(_)) => false,
        None if disabled == 0 => return None,
        None => false,
    };
    // Where this user may and another may not: the server may run as that other.
    let level = if works { Level::Advice } else { Level::Obstacle };
    if disabled > 0 {
        let is = format!("kernel.io_uring_disabled = {disabled}");
        let why = match disabled {
            1 => "Only CAP_SYS_ADMIN and the group kernel.io_uring_group may set up a ring.",
            _ => "Nobody may set up a ring, so no server starts.",
        };
        let found = finding(subject, level, is, "0", why);
        return Some(found.set(readings, "kernel.io_uring_disabled", &[0]));
    }
    // The ring was not even tried: the finding on locked memory tells of it.
    if readings.locked_memory.is_some_and(|it| it.soft < EXECUTOR_MEMLOCK_BYTES) {
        return None;
    }
    let why = readings.io_uring.clone()?.err()?;
    let filtered = readings.seccomp == Some(true);
    let is = if filtered { "refused, under a seccomp filter" } else { "refused" };
    let found = finding(subject, level, is, "works", why);
    let how = "allow io_uring_setup, io_uring_enter and io_uring_register in the container's \
               seccomp profile, or run on a kernel that has io_uring";
    Some(found.by_hand(how, "the profile that was there before"))
}

fn locked_memory(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let limit = readings.locked_memory?;
    let level = fine_if(limit.soft >= EXECUTOR_MEMLOCK_BYTES, Level::Obstacle);
    let why = "Each core's executor registers memory with the kernel.";
    let needs = format!("{} a core", bytes(EXECUTOR_MEMLOCK_BYTES));
    let found = finding("locked memory (ulimit -l)", level, bytes(limit.soft), needs, why);
    Some(found.by_hand(
        "LimitMEMLOCK=infinity in the unit, or `ulimit -l unlimited` in the shell",
        "take the line out again",
    ))
}

fn memory(readings: &Readings, demand: &Demand, forecast: &Forecast) -> Option<Finding> {
    let free = free_bytes(readings)?;
    let bound = forecast.bounds.iter().find(|it| it.what == "memory")?;
    let level = fine_if(bound.clients >= demand.clients, Level::Obstacle);
    let needed = forecast.at_demand.total().saturating_add(demand.data_bytes);
    let group = readings.group_memory.filter(|it| it.free_bytes == free);
    let place = if group.is_some() { "in the control group" } else { "on the host" };
    let why = format!(
        "A waiting client takes {} of kernel memory{} and {} of the server's: enough for {}.",
        bytes(forecast.costs.server_kernel),
        match demand.local {
            true => format!(" here and {} at its own end", bytes(forecast.costs.client_kernel)),
            false => String::new(),
        },
        bytes(forecast.costs.server_user),
        number(bound.clients),
    );
    let found =
        finding("memory", level, format!("{} free {place}", bytes(free)), bytes(needed), why);
    Some(match group {
        Some(_) => found.by_hand(
            "raise MemoryMax= of the unit (memory.max of the control group)",
            "the value that was there before",
        ),
        None => found.by_hand("a larger host, or fewer clients", "nothing to undo"),
    })
}

fn open_files(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let limit = readings.open_files?;
    let needed = descriptors(readings, demand.clients);
    let room = room(readings, demand, limit.hard);
    let level = match u64::from(room.clients) >= demand.clients {
        true if room.parks && demand.clients > room.seats => Level::Advice,
        true => Level::Fine,
        false => Level::Obstacle,
    };
    let why = format!(
        "{} sockets can have a descriptor at a time. Beyond that the idle ones are parked in tables of \
         rings, which costs some CPU time when they speak. The server raises the soft limit by itself.",
        number(room.seats)
    );
    let is = format!("{}, hard {}", number(limit.soft), number(limit.hard));
    let found = finding("open files (ulimit -n)", level, is, number(needed), why);
    let how = format!(
        "LimitNOFILE={needed} in the unit, or `ulimit -Hn {needed}` as root in the shell that \
         starts the server"
    );
    Some(found.by_hand(how, "take the line out again"))
}

fn files_per_process(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let (name, is) = ("fs.nr_open", readings.sysctl("fs.nr_open")?);
    let needed = descriptors(readings, demand.clients);
    let why = "No process can be given a limit of open files above it.";
    let hard = readings.open_files.map_or(0, |it| it.hard);
    let enough = u64::from(room(readings, demand, hard).clients) >= demand.clients;
    let level = fine_if(is >= needed || hard >= needed || enough, Level::Obstacle);
    let found = finding(name, level, number(is), number(needed), why);
    Some(found.set(readings, name, &[needed.next_multiple_of(1 << 16)]))
}

fn files_in_all(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let (name, is) = ("fs.file-max", readings.sysctl("fs.file-max")?);
    let used = readings.sysctl("fs.file-nr")?;
    let ends = if demand.local { 2 } else { 1 };
    let clients = demand.clients.saturating_mul(ends);
    let needed = descriptors(readings, clients).saturating_add(used);
    let why =
        "All open files of the host, whoever has them; a socket is one, in a ring's table too.";
    let level = fine_if(is >= needed, Level::Obstacle);
    let found = finding(
        name,
        level,
        format!("{}, {} in use", number(is), number(used)),
        number(needed),
        why,
    );
    Some(found.set(readings, name, &[needed.next_multiple_of(1 << 16)]))
}

fn listen_queue(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let (name, is) = ("net.core.somaxconn", readings.sysctl("net.core.somaxconn")?);
    let needed = listen_queue_needed(demand);
    let drops = readings.listen_drops.unwrap_or(0);
    let why = format!(
        "Clients that come at once wait in the listener's queue; one that finds it full tries again \
         a second later. The setting tcp-backlog asks for {needed} too. Refused since the boot: {}.",
        number(drops)
    );
    let found =
        finding(name, fine_if(is >= needed, Level::Advice), number(is), number(needed), why);
    Some(found.set(readings, name, &[needed]))
}

/// Room for all clients at once, up to what is worth its while.
fn listen_queue_needed(demand: &Demand) -> u64 {
    demand.clients.clamp(511, LISTEN_QUEUE_MAX).next_power_of_two().min(LISTEN_QUEUE_MAX)
}

fn unfinished_handshakes(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let name = "net.ipv4.tcp_max_syn_backlog";
    let (is, cookies) = (readings.sysctl(name)?, readings.sysctl("net.ipv4.tcp_syncookies")?);
    let needed = listen_queue_needed(demand);
    if cookies != 0 {
        let why = "With net.ipv4.tcp_syncookies on, the listener's queue bounds handshakes and this \
                   value is not used.";
        return Some(finding(name, Level::Fine, number(is), "-", why));
    }
    let why =
        "Handshakes that are not finished: above three quarters of it unknown peers are dropped.";
    let found =
        finding(name, fine_if(is >= needed, Level::Advice), number(is), number(needed), why);
    Some(found.set(readings, name, &[needed]))
}

fn packet_queue(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let name = "net.core.netdev_max_backlog";
    let is = readings.sysctl(name)?;
    let drops = readings.packet_drops?;
    let why = format!(
        "Packets that wait for a CPU: of loopback, and of cards whose driver has no queue of its \
         own. Dropped since the boot: {}.",
        number(drops)
    );
    let needs = if drops == 0 { "no drops".to_string() } else { number(is.saturating_mul(4)) };
    let found = finding(name, fine_if(drops == 0, Level::Advice), number(is), needs, why);
    Some(found.set(readings, name, &[is.saturating_mul(4)]))
}

fn ports(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let name = "net.ipv4.ip_local_port_range";
    let range = readings.sysctls.get(name)?;
    let (first, last) = (*range.first()?, *range.get(1)?);
    let ports = last.saturating_sub(first).saturating_add(1);
    let is = format!("{first} to {last}: {} ports", number(ports));
    if !demand.local {
        let why = "It bounds who connects from here, not who is connected to: it needs no change on \
                   a server's host.";
        return Some(finding(name, Level::Fine, is, "-", why));
    }
    let sources = demand.clients.div_ceil(ports.max(1));
    let why = format!(
        "One address can connect so often to one port of the server, and slowly when nearly all are \
         taken: {} clients on this host need {sources} addresses or more (all of 127.0.0.0/8 are \
         there).",
        number(demand.clients)
    );
    Some(finding(name, Level::Fine, is, format!("{sources} addresses"), why))
}

fn bytes_under_way(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let name = "net.ipv4.tcp_mem";
    let [low, pressure, high] = readings.sysctls.get(name)?[..] else { return None };
    let needed = demand.clients.saturating_mul(if demand.local { 2 } else { 1 });
    let most = high.saturating_mul(PAGE_BYTES);
    let why = format!(
        "Pages of bytes on their way, for all sockets; above the middle number the kernel saves on \
         buffers, at {} it drops. A page for every client that has a request or reply under way.",
        bytes(most)
    );
    let is = format!("{low} {pressure} {high}");
    let found = finding(name, fine_if(pressure >= needed, Level::Advice), is, number(needed), why);
    let up = |is: u64, to: u64| is.max(to);
    Some(found.set(
        readings,
        name,
        &[up(low, needed / 4 * 3), up(pressure, needed), up(high, needed.saturating_mul(2))],
    ))
}

fn buffers(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let words =
        |name: &str| Some(readings.sysctls.get(name)?.iter().map(|it| number(*it)).collect());
    let (receive, send): (Vec<String>, Vec<String>) =
        (words("net.ipv4.tcp_rmem")?, words("net.ipv4.tcp_wmem")?);
    let why = "Least, first and most bytes of a socket's buffers. A waiting client has none of them, \
               so they are no cost of many clients.";
    let is = format!("{}; {}", receive.join(" "), send.join(" "));
    Some(finding("net.ipv4.tcp_rmem; tcp_wmem", Level::Fine, is, "-", why))
}

fn tracker(readings: &Readings, demand: &Demand, _: &Forecast) -> Option<Finding> {
    let name = "net.netfilter.nf_conntrack_max";
    let is = readings.sysctl(name)?;
    let count = readings.sysctl("net.netfilter.nf_conntrack_count")?;
    if count == 0 {
        let why = "The connection tracker counts no connection here: no firewall rule asks for it.";
        return Some(finding(name, Level::Fine, number(is), "-", why));
    }
    let needed = demand.clients.saturating_add(count).saturating_add(1_024);
    let why = "A firewall follows every connection, and drops new ones when its table is full. \
               Clients' port without tracking (a rule with NOTRACK) costs nothing at all.";
    let level = fine_if(is >= needed, Level::Obstacle);
    let found = finding(
        name,
        level,
        format!("{}, {} in use", number(is), number(count)),
        number(needed),
        why,
    );
    Some(found.set(readings, name, &[needed.next_multiple_of(1 << 16)]))
}

fn congestion(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let is = readings.congestion_control.clone()?;
    let why = match is.as_str() {
        "bbr" => {
            "It paces: a full sync over loopback or a fast local network takes longer and costs \
                  more CPU than with cubic; over a long link it may be the better one."
        }
        _ => "It decides how fast a full sync and the replication stream may go.",
    };
    let known = readings.congestion_controls.clone().unwrap_or_default();
    Some(finding(
        "net.ipv4.tcp_congestion_control",
        Level::Fine,
        is,
        format!("one of {known}"),
        why,
    ))
}

fn huge_pages(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let is = readings.huge_pages.clone()?;
    let why = "Tables and records ask for huge pages by themselves, and nothing forks: with `never` \
               they get none.";
    let level = fine_if(is != "never", Level::Advice);
    let found = finding("transparent_hugepage", level, is.clone(), "madvise or always", why);
    Some(found.mend(|| {
        let (name, path) = (HUGE_PAGES.to_string(), HUGE_PAGES.to_string());
        Mend::Write(Change { name, path, from: is, to: "madvise".into(), sysctl: false })
    }))
}

fn overcommit(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let is = readings.sysctl("vm.overcommit_memory")?;
    let why = "A snapshot does not fork, so 0 and 1 are alike here. With 2 memory that is reserved \
               and not used counts against the limit.";
    let found =
        finding("vm.overcommit_memory", fine_if(is != 2, Level::Advice), number(is), "0 or 1", why);
    Some(found.set(readings, "vm.overcommit_memory", &[0]))
}

fn cpus(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let is = readings.cpus?;
    let time = readings.group_cpus;
    let short = time.is_some_and(|it| it < f64::from(is));
    let why = "A pinned thread per CPU; a control group with less time than CPUs stops all threads \
               at once when it is used up.";
    let text = match time {
        Some(time) => format!("{is} allowed, time of {time}"),
        None => format!("{is} allowed"),
    };
    let needs = if short { "time for each CPU" } else { "1 or more" };
    let found = finding("CPUs", fine_if(!short, Level::Advice), text, needs, why);
    Some(found.by_hand(
        "raise CPUQuota= (cpu.max), or set `cores` to the whole CPUs that there is time for",
        "the value that was there before",
    ))
}

fn clock(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let is = readings.clock.clone()?;
    let fast = FAST_CLOCKS.contains(&is.as_str());
    let why = "Each turn of a core reads the clock; with one of these it costs no system call.";
    let level = fine_if(fast, Level::Advice);
    let found = finding("clock source", level, is, FAST_CLOCKS.join(", "), why);
    Some(found.by_hand(
        "boot with clocksource=tsc, if the host's counters are steady",
        "take it off the kernel's command line",
    ))
}

fn governor(readings: &Readings, _: &Demand, _: &Forecast) -> Option<Finding> {
    let is = readings.governor.clone()?;
    let level = fine_if(is != "powersave" && is != "conservative", Level::Advice);
    let why = "A CPU that slows down while it waits serves the next request late.";
    let found = finding("CPU governor", level, is.clone(), "performance or schedutil", why);
    Some(found.by_hand(
        "cpupower frequency-set -g performance",
        format!("cpupower frequency-set -g {is}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::readings::{Limit, Room};

    /// A host that lacks nothing for `clients`.
    fn healthy() -> Readings {
        let unlimited = Limit { soft: u64::MAX, hard: u64::MAX };
        #[rustfmt::skip] // One row, one line.
        let sysctls: &[(&'static str, &[u64])] = &[
            ("kernel.io_uring_disabled", &[0]),
            ("fs.nr_open", &[4_000_000]),
            ("fs.file-max", &[u64::MAX]), ("fs.file-nr", &[1_000, 0, 0]),
            ("net.core.somaxconn", &[65_535]), ("net.core.netdev_max_backlog", &[1_000]),
            ("net.ipv4.tcp_max_syn_backlog", &[128]), ("net.ipv4.tcp_syncookies", &[1]),
            ("net.ipv4.ip_local_port_range", &[32_768, 60_999]),
            ("net.ipv4.tcp_mem", &[2_000_000, 3_000_000, 4_000_000]),
            ("net.ipv4.tcp_rmem", &[1, 2, 3]), ("net.ipv4.tcp_wmem", &[1, 2, 3]),
            ("net.netfilter.nf_conntrack_max", &[262_144]),
            ("net.netfilter.nf_conntrack_count", &[0]),
            ("vm.overcommit_memory", &[0]),
        ];
        Readings {
            kernel: Some("6.18.44-x".into()),
            kernel_version: Some((6, 18)),
            io_uring: Some(Ok(())),
            seccomp: Some(false),
            open_files: Some(unlimited),
            locked_memory: Some(unlimited),
            sysctls: sysctls.iter().map(|(name, it)| (*name, it.to_vec())).collect(),
            congestion_control: Some("cubic".into()),
            congestion_controls: Some("reno cubic".into()),
            huge_pages: Some("madvise".into()),
            clock: Some("tsc".into()),
            governor: Some("performance".into()),
            memory: Some(Room { limit_bytes: 64 << 30, free_bytes: 60 << 30 }),
            group_memory: None,
            cpus: Some(2),
            group_cpus: None,
            listen_drops: Some(0),
            packet_drops: Some(0),
            ..Readings::default()
        }
    }

    fn judge(readings: &Readings, clients: u64, local: bool) -> Vec<Finding> {
        let demand = Demand { clients, local, data_bytes: 0 };
        let found = findings(readings, &demand, &Forecast::of(readings, &demand));
        found.into_iter().filter(|it| it.level > Level::Fine).collect()
    }

    #[test]
    fn a_healthy_host_needs_nothing_and_every_subject_is_named() {
        assert_eq!(judge(&healthy(), 1_000_000, true), []);
        let demand = Demand { clients: 10, local: false, data_bytes: 0 };
        let all = findings(&healthy(), &demand, &Forecast::of(&healthy(), &demand));
        assert_eq!(all.len(), RULES.len());
        assert!(all.iter().all(|it| !it.is.is_empty() && !it.why.is_empty()));
    }

    #[test]
    fn a_host_that_hides_everything_is_not_judged() {
        assert_eq!(judge(&Readings::default(), 1_000_000, true), []);
    }

    /// One thing wrong, the one finding that tells of it, and what `tune` would write.
    #[test]
    fn each_fault_is_found_alone() {
        let check = |subject: &str, level, written: Option<&str>, spoil: &dyn Fn(&mut Readings)| {
            let mut readings = healthy();
            spoil(&mut readings);
            let found = judge(&readings, 1_000_000, false);
            let [only] = &found[..] else { panic!("{subject}: {found:#?}") };
            assert_eq!((only.subject, only.level), (subject, level));
            match (&only.mend, written) {
                (Some(Mend::Write(change)), Some(to)) => assert_eq!(change.to, to, "{subject}"),
                (Some(Mend::ByHand { how, undo }), None) => {
                    assert!(!how.is_empty() && !undo.is_empty())
                }
                other => panic!("{subject}: {other:?}"),
            }
        };
        let set = |name: &'static str, numbers: &'static [u64]| {
            move |it: &mut Readings| drop(it.sysctls.insert(name, numbers.to_vec()))
        };
        use Level::{Advice, Obstacle};
        check("kernel", Obstacle, None, &|it| it.kernel_version = Some((5, 15)));
        let disabled = set("kernel.io_uring_disabled", &[2]);
        check("io_uring", Obstacle, Some("0"), &|it| {
            disabled(it);
            it.io_uring = Some(Err("blocked".into()));
        });
        check("io_uring", Advice, Some("0"), &disabled);
        check("io_uring", Obstacle, None, &|it| it.io_uring = Some(Err("blocked".into())));
        let little = Limit { soft: 65_536, hard: 65_536 };
        check("locked memory (ulimit -l)", Obstacle, None, &|it| {
            it.locked_memory = Some(little);
            it.io_uring = Some(Err("locked memory".into()));
        });
        let room = Room { limit_bytes: 1 << 30, free_bytes: 1 << 30 };
        check("memory", Obstacle, None, &|it| it.memory = Some(room));
        check("memory", Obstacle, None, &|it| it.group_memory = Some(room));
        let few = Limit { soft: 128, hard: 128 };
        check("open files (ulimit -n)", Advice, None, &|it| it.open_files = Some(little));
        check("open files (ulimit -n)", Obstacle, None, &|it| it.open_files = Some(few));
        check("fs.file-max", Obstacle, Some("1048576"), &set("fs.file-max", &[900_000]));
        check("net.core.somaxconn", Advice, Some("65535"), &set("net.core.somaxconn", &[4_096]));
        check("net.ipv4.tcp_max_syn_backlog", Advice, Some("65535"), &|it| {
            it.sysctls.insert("net.ipv4.tcp_syncookies", vec![0]);
        });
        check("net.core.netdev_max_backlog", Advice, Some("4000"), &|it| it.packet_drops = Some(3));
        let small = set("net.ipv4.tcp_mem", &[1, 2, 9_000_000]);
        check("net.ipv4.tcp_mem", Advice, Some("750000 1000000 9000000"), &small);
        let tracked = set("net.netfilter.nf_conntrack_count", &[5]);
        check("net.netfilter.nf_conntrack_max", Obstacle, Some("1048576"), &tracked);
        check("transparent_hugepage", Advice, Some("madvise"), &|it| {
            it.huge_pages = Some("never".into())
        });
        check("vm.overcommit_memory", Advice, Some("0"), &set("vm.overcommit_memory", &[2]));
        check("CPUs", Advice, None, &|it| it.group_cpus = Some(1.5));
        check("clock source", Advice, None, &|it| it.clock = Some("hpet".into()));
        check("CPU governor", Advice, None, &|it| it.governor = Some("powersave".into()));
    }

    #[test]
    fn a_limit_above_the_ceiling_needs_the_ceiling_first() {
        let mut readings = healthy();
        readings.open_files = Some(Limit { soft: 128, hard: 128 });
        readings.sysctls.insert("fs.nr_open", vec![1_048_576]);
        let found = judge(&readings, 2_000_000, false);
        let subjects: Vec<&str> = found.iter().map(|it| it.subject).collect();
        assert_eq!(subjects, ["open files (ulimit -n)", "fs.nr_open"]);
    }
}
