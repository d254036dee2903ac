//! The bars of replication: full syncs, what they cost and what clients feel of them, and lag.
//!
//! A contestant follows its own kind: the master on core 0; replicas and the load on core 1.

use crate::bars::{Bench, LOAD, SERVER, number};
use crate::contestant::{Peer, Running, pinned};
use crate::report::{Report, Row, Unit};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of a value; a key has 16.
const VALUE: u64 = 400;
/// Open-loop requests per second beside a sync: a part of what the slowest contestant bears.
const RATE: &str = "15000";
const SYNC_PATIENCE: Duration = Duration::from_secs(120);
/// Given to every contestant: no wait for more replicas, no file on either side where that can be
/// done without, and a backlog that holds what is written during a sync.
const SETTINGS: &[&[&str]] = &[
    &["--repl-diskless-sync", "yes"],
    &["--repl-diskless-sync-delay", "0"],
    &["--repl-diskless-load", "on-empty-db"],
    &["--repl-backlog-size", "256mb"],
    &["--client-output-buffer-limit", "replica", "0", "0", "0"],
];

impl Bench {
    /// Bars 9 to 11: full syncs of a filled master, in peace and under load.
    pub fn syncs(&self, bars: &[u32], report: &mut Report) {
        let keys = self.sync_keys;
        let gigabytes = (keys * (VALUE + 16)) as f64 / 1e9;
        for _ in 0..self.rounds.min(3) {
            if bars.contains(&9) {
                let what = format!("full sync of {keys} keys, bytes per second");
                report.add(Row::new(9, &what, "L", Unit::PerSecond, &[loopback()]));
            }
            for peer in self.contestants() {
                let master = self.filled(&peer, keys, report);
                if bars.contains(&9) {
                    self.sync_in_peace(&peer, &master, gigabytes, report);
                }
                if bars.contains(&10) {
                    self.memory_of_a_sync(&peer, &master, gigabytes, report);
                }
                if bars.contains(&11) {
                    self.tail_of_a_sync(&peer, &master, report);
                }
            }
        }
        report.print_last("sync");
    }

    fn sync_in_peace(&self, peer: &Peer, master: &Running, gigabytes: f64, report: &mut Report) {
        let before = cpu_seconds(master.pid());
        let start = Instant::now();
        let replica = follow(peer, master);
        wait_until_synced(&replica);
        let took = start.elapsed().as_secs_f64();
        wait_for_children(master);
        let cpu = cpu_seconds(master.pid()) - before + cpu_seconds(replica.pid());
        let what = format!("full sync of {} keys", self.sync_keys);
        let rate = format!("{what}, bytes per second");
        report.add(Row::new(9, &rate, &peer.name, Unit::PerSecond, &[gigabytes * 1e9 / took]));
        let cost = format!("{what}, CPU of both ends for each KB");
        report.add(Row::new(9, &cost, &peer.name, Unit::Nanoseconds, &[cpu / gigabytes * 1e3]));
    }

    /// Memory of the master and its children above what it was, at most, while all keys change.
    fn memory_of_a_sync(&self, peer: &Peer, master: &Running, gigabytes: f64, report: &mut Report) {
        let writers = self.loadgen(master, &["--command", "set", "-d", "25"], report);
        thread::park_timeout(Duration::from_secs(5));
        let mut before = 0;
        for _ in 0..10 {
            before = before.max(memory(master));
        }
        let (replica, start) = (follow(peer, master), Instant::now());
        let mut most = 0;
        while start.elapsed() < SYNC_PATIENCE && !is_synced(&replica) {
            most = most.max(memory(master));
        }
        let extra = most.saturating_sub(before) as f64;
        let what = format!("memory of the master during a sync under {RATE} SET/s");
        report.add(Row::new(10, &format!("{what}, more by"), &peer.name, Unit::Bytes, &[extra]));
        let share = extra / (gigabytes * 1e9) * 100.0;
        report.add(Row::new(10, &format!("{what}, more by"), &peer.name, Unit::Percent, &[share]));
        finish(writers);
    }

    /// What clients see of a sync, beside what they see without one.
    fn tail_of_a_sync(&self, peer: &Peer, master: &Running, report: &mut Report) {
        let mix = ["--command", "get", "--command", "set", "-d", "12", "-w", "1"];
        for with in [false, true] {
            let run = self.loadgen(master, &mix, report);
            thread::park_timeout(Duration::from_secs(3));
            let replica = with.then(|| follow(peer, master));
            replica.iter().for_each(wait_until_synced);
            let result = finish(run);
            let when = if with { "during a sync" } else { "without a sync" };
            let latency = &result["latency"];
            for (name, micros) in [
                ("p99", number(&latency["percentiles_us"], "p99")),
                ("p99.9", number(&latency["percentiles_us"], "p99.9")),
                ("max", number(latency, "max_us")),
            ] {
                let what = format!("GET and SET at {RATE}/s {when}, {name}");
                report.add(Row::new(11, &what, &peer.name, Unit::Microseconds, &[micros]));
            }
        }
    }

    /// Bar 12: lag of a replica, and what replicas cost.
    pub fn following(&self, report: &mut Report) {
        for _ in 0..self.rounds.min(3) {
            for peer in self.contestants() {
                let master = Running::start(&with_settings(&peer), SERVER);
                self.load(&master, &["--fill", "--secs", "0.1"], report);
                let mut replicas = Vec::new();
                for wanted in [0, 1, 4] {
                    while replicas.len() < wanted {
                        replicas.push(follow(&peer, &master));
                    }
                    replicas.iter().for_each(wait_until_synced);
                    let (syncs, secs) = (full_syncs(&master), self.secs.to_string());
                    let args = ["--cmd", "set", "--pipeline", "16", "--secs", &secs];
                    let result = self.load(&master, &args, report);
                    let each = number(&result, "server_cpu_ns_per_op");
                    let what = format!("SET pipeline 16, {wanted} replicas");
                    report.add(Row::new(12, &what, &peer.name, Unit::Nanoseconds, &[each]));
                    let again = (full_syncs(&master) - syncs) as f64;
                    let what = format!("{what}: full syncs meanwhile");
                    report.add(Row::new(12, &what, &peer.name, Unit::Count, &[again]));
                    if wanted == 1 {
                        self.lag(&peer, &master, &replicas[0], report);
                    }
                }
            }
        }
        report.print_last("replicas");
    }

    fn lag(&self, peer: &Peer, master: &Running, replica: &Running, report: &mut Report) {
        let out = out_file(master);
        let mut command = pinned(LOAD);
        command.arg(&self.loadgen).args(["lag", "-p", &master.port.to_string()]);
        command.args(["--replica", &replica.port.to_string(), "-d", "5", "--json"]).arg(&out);
        report.command(&command);
        let status = command.stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|it| it.success()), "failed: {command:?}");
        let result: Value = serde_json::from_str(&fs::read_to_string(&out).unwrap()).unwrap();
        let phases = result["phases"].as_object().expect("phases");
        let (_, lag) = phases.iter().find(|it| it.0.ends_with("after acknowledged")).expect("lag");
        let lag = &lag["percentiles_us"];
        for name in ["p50", "p99"] {
            let what = format!("write to a replica's answer, {name}");
            report.add(Row::new(12, &what, &peer.name, Unit::Microseconds, &[number(lag, name)]));
        }
    }

    /// A master with so many keys.
    fn filled(&self, peer: &Peer, keys: u64, report: &mut Report) -> Running {
        let master = Running::start(&with_settings(peer), SERVER);
        let keys = keys.to_string();
        let mut command = pinned(LOAD);
        command.arg(&self.loadgen).args(["-p", &master.port.to_string(), "--fill", "--quiet"]);
        command.args(["-k", &keys, "--value", &VALUE.to_string(), "-d", "0.1", "--command", "get"]);
        report.command(&command);
        let status = command.stdout(Stdio::null()).status();
        assert!(status.is_ok_and(|it| it.success()), "failed: {command:?}");
        master
    }

    /// An open loop beside the sync; [`finish`] takes its report.
    fn loadgen(&self, master: &Running, mix: &[&str], report: &mut Report) -> Beside {
        let out = out_file(master);
        let (keys, value) = (self.sync_keys.to_string(), VALUE.to_string());
        let mut command = pinned(LOAD);
        command.arg(&self.loadgen).args(["-p", &master.port.to_string(), "-r", RATE, "--quiet"]);
        command
            .args(["-c", "50", "-k", &keys, "--value", &value])
            .args(mix)
            .arg("--json")
            .arg(&out);
        report.command(&command);
        let child = command.stdout(Stdio::null()).spawn().unwrap();
        Beside { child, out }
    }
}

struct Beside {
    child: std::process::Child,
    out: PathBuf,
}

fn finish(mut run: Beside) -> Value {
    assert!(run.child.wait().is_ok_and(|it| it.success()), "the load beside a sync failed");
    serde_json::from_str(&fs::read_to_string(&run.out).unwrap()).unwrap()
}

fn out_file(master: &Running) -> PathBuf {
    std::env::temp_dir().join(format!("ringfold-compare-{}.json", master.port))
}

fn with_settings(peer: &Peer) -> Peer {
    let mut peer = peer.clone();
    peer.command.extend(SETTINGS.concat().into_iter().map(ToString::to_string));
    peer
}

/// Starts a replica of the same kind beside the load.
fn follow(peer: &Peer, master: &Running) -> Running {
    let mut peer = with_settings(peer);
    let port = master.port.to_string();
    peer.command.extend(["--replicaof".into(), "127.0.0.1".into(), port]);
    Running::start(&peer, LOAD)
}

fn wait_until_synced(replica: &Running) {
    let start = Instant::now();
    while !is_synced(replica) {
        assert!(start.elapsed() < SYNC_PATIENCE, "{}: no sync", replica.name);
        thread::park_timeout(Duration::from_millis(5));
    }
}

fn is_synced(replica: &Running) -> bool {
    info(replica, "replication").contains("master_link_status:up")
}

fn full_syncs(master: &Running) -> u64 {
    let text = info(master, "stats");
    let line = text.lines().find_map(|it| it.strip_prefix("sync_full:")).expect("sync_full");
    line.trim().parse().unwrap()
}

fn info(server: &Running, section: &str) -> String {
    let mut stream = server.connect();
    stream.write_all(format!("INFO {section}\r\nQUIT\r\n").as_bytes()).unwrap();
    let mut text = Vec::new();
    stream.read_to_end(&mut text).unwrap();
    String::from_utf8_lossy(&text).into_owned()
}

fn children(of: u32) -> Vec<u32> {
    let path = format!("/proc/{of}/task/{of}/children");
    let text = fs::read_to_string(path).unwrap_or_default();
    text.split_whitespace().filter_map(|it| it.parse().ok()).collect()
}

fn wait_for_children(of: &Running) {
    while !children(of.pid()).is_empty() {
        thread::park_timeout(Duration::from_millis(5));
    }
}

/// Memory of a server and its children; a page that several have counts once.
fn memory(of: &Running) -> u64 {
    let pss = |pid: u32| {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let line = text.lines().find_map(|it| it.strip_prefix("Pss_Anon:")).unwrap_or("0 kB");
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0) * 1_024
    };
    children(of.pid()).into_iter().chain([of.pid()]).map(pss).sum()
}

/// CPU time of a process and of its children that have ended.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after = stat.rsplit_once(") ").expect("a name in brackets").1;
    let ticks: u64 = after.split(' ').skip(11).take(4).map(|it| it.parse::<u64>().unwrap()).sum();
    ticks as f64 / 100.0
}

/// Bytes per second of one TCP stream over loopback, sender and receiver on a core each.
fn loopback() -> f64 {
    const LEN: usize = 2 << 30;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    let start = Instant::now();
    let reading = thread::spawn(move || {
        let (mut buffer, mut got) = (vec![0; 256 << 10], 0);
        while got < LEN {
            got += receiver.read(&mut buffer).unwrap();
        }
    });
    let chunk = vec![7; 256 << 10];
    for _ in 0..LEN / chunk.len() {
        sender.write_all(&chunk).unwrap();
    }
    reading.join().unwrap();
    LEN as f64 / start.elapsed().as_secs_f64()
}

/// The load generator: built beside our own release binary by `make compare`, or named.
pub fn loadgen() -> PathBuf {
    let ours = std::path::Path::new(env!("CARGO_BIN_EXE_ringfold"));
    std::env::var_os("LOADGEN").map_or_else(|| ours.with_file_name("loadgen"), PathBuf::from)
}
