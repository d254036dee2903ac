//! The bars: what is run for each, and what is read off.

use crate::contestant::{Peer, Referee, Running, ping, pinned, ringfold};
use crate::report::{Report, Row, Unit};
use serde_json::Value;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

pub const SERVER: &str = "0";
pub const LOAD: &str = "1";
const CONNECTIONS: u32 = 50;
/// How long idle connections are watched: stock servers give idle buffers back after seconds.
const SETTLE: Duration = Duration::from_secs(12);

/// What to run, and with what.
pub struct Bench {
    pub rounds: u32,
    pub secs: f64,
    pub idle: u32,
    pub keys: Vec<u64>,
    /// Keys of a master whose full sync is measured.
    pub sync_keys: u64,
    pub loadgen: PathBuf,
    pub referee: Referee,
    pub peers: Vec<Peer>,
}

impl Bench {
    pub fn run(&self, bars: &[u32], report: &mut Report) {
        // Bar 5 is read off the runs of bars 1 and 2.
        for (bar, pipeline) in [(1, 1), (2, 16), (3, 64)] {
            if bars.contains(&bar) || (bars.contains(&5) && bar < 3) {
                for set in [false, true] {
                    self.cpu(bar, set, CONNECTIONS, pipeline, bars, report);
                }
            }
        }
        if bars.contains(&4) {
            self.cpu(4, false, 1_000, 1, bars, report);
            self.cpu(4, false, 10_000, 1, bars, report);
        }
        if bars.contains(&7) {
            self.idle_connections(report);
        }
        if bars.contains(&8) {
            self.keys.iter().for_each(|keys| self.bytes_per_key(*keys, report));
        }
        if bars.iter().any(|it| (9..=11).contains(it)) {
            self.syncs(bars, report);
        }
        if bars.contains(&12) {
            self.following(report);
        }
        if bars.contains(&14) {
            [1, 16, 64].into_iter().for_each(|pipeline| self.load_generators(pipeline, report));
        }
        if bars.contains(&15) {
            [1, 16].into_iter().for_each(|pipeline| self.two_cores(pipeline, report));
        }
    }

    pub fn contestants(&self) -> Vec<Peer> {
        [ringfold(1)].into_iter().chain(self.peers.iter().cloned()).collect()
    }

    /// CPU of the server per operation, for every contestant and the floor.
    fn cpu(
        &self,
        bar: u32,
        set: bool,
        conns: u32,
        pipeline: u32,
        bars: &[u32],
        report: &mut Report,
    ) {
        let (cmd, floor) = if set { ("set", "59 5") } else { ("get", "36 23") };
        let line = format!("{} {{port}} {floor}", self.referee.floor.display());
        let command = line.split(' ').map(ToString::to_string).collect();
        let mut servers = vec![Running::start(&Peer { name: "L".into(), command }, SERVER)];
        for peer in self.contestants() {
            let server = Running::start(&peer, SERVER);
            // A short run that fills: it is not counted.
            self.load(&server, &["--fill", "--secs", "0.1"], report);
            servers.push(server);
        }
        let names: Vec<String> = servers.iter().map(|it| it.name.clone()).collect();
        let what = format!("{} pipeline {pipeline}, {conns} connections", cmd.to_uppercase());
        let mut nanoseconds = vec![Vec::new(); servers.len()];
        let mut rates = nanoseconds.clone();
        for _ in 0..self.rounds {
            for (at, server) in servers.iter().enumerate() {
                let (conns, pipeline) = (conns.to_string(), pipeline.to_string());
                let secs = self.secs.to_string();
                let result = self.load(
                    server,
                    &["--cmd", cmd, "--conns", &conns, "--pipeline", &pipeline, "--secs", &secs],
                    report,
                );
                nanoseconds[at].push(number(&result, "server_cpu_ns_per_op"));
                rates[at].push(number(&result, "ops_per_s"));
            }
        }
        for (at, name) in names.iter().enumerate() {
            if bars.contains(&bar) {
                report.add(Row::new(bar, &what, name, Unit::Nanoseconds, &nanoseconds[at]));
            }
            if bars.contains(&5) && bar < 3 {
                report.add(Row::new(5, &what, name, Unit::PerSecond, &rates[at]));
            }
        }
        report.print_last(&what);
    }

    /// User memory per idle connection, settled and at its peak.
    fn idle_connections(&self, report: &mut Report) {
        for _ in 0..self.rounds.min(2) {
            for peer in self.contestants() {
                let server = Running::start(&peer, SERVER);
                ping(&mut server.connect());
                let before = server.memory();
                let mut connections: Vec<TcpStream> =
                    (0..self.idle).map(|_| server.connect()).collect();
                connections.iter_mut().for_each(ping);
                let (least, most) = server.memory_over(SETTLE);
                let each = |bytes: u64| bytes.saturating_sub(before) as f64 / f64::from(self.idle);
                let what = format!("{} idle connections", self.idle);
                report.add(Row::new(7, &what, &peer.name, Unit::Bytes, &[each(least)]));
                let what = format!("{what}, peak");
                report.add(Row::new(7, &what, &peer.name, Unit::Bytes, &[each(most)]));
            }
        }
        report.print_last("idle connections");
    }

    fn bytes_per_key(&self, keys: u64, report: &mut Report) {
        let what = format!("{keys} keys of 16 + 16 bytes");
        for peer in self.contestants() {
            let server = Running::start(&peer, SERVER);
            ping(&mut server.connect());
            let before = server.memory();
            self.load(&server, &["--fill", "--keys", &keys.to_string(), "--secs", "0.1"], report);
            let each = server.memory().saturating_sub(before) as f64 / keys as f64;
            report.add(Row::new(8, &what, &peer.name, Unit::Bytes, &[each]));
        }
        report.print_last(&what);
    }

    /// CPU of the client per operation: loadgen and redis-benchmark against one stock server.
    fn load_generators(&self, pipeline: u32, report: &mut Report) {
        let server = Running::start(&self.peers[0], SERVER);
        self.load(&server, &["--fill", "--secs", "0.1"], report);
        let operations = u64::from(pipeline) * 100_000 + 400_000;
        let (port, operations) = (server.port.to_string(), operations.to_string());
        let pipeline_text = pipeline.to_string();
        #[rustfmt::skip] // One contestant, one line.
        let contestants: [(&str, &Path, Vec<&str>); 2] = [
            ("loadgen", &self.loadgen, vec!["-p", &port, "-c", "50", "-P", &pipeline_text, "-n", &operations, "--command", "get", "--keys", "1000000"]),
            ("redis-benchmark", Path::new("redis-benchmark"), vec!["-p", &port, "-c", "50", "-P", &pipeline_text, "-n", &operations, "-t", "get", "-r", "1000000", "-q"]),
        ];
        let what = format!("GET pipeline {pipeline}, CPU of the client");
        for _ in 0..self.rounds {
            for (name, program, args) in &contestants {
                let before = children_cpu_ns();
                let mut command = pinned(LOAD);
                command.arg(program).args(args).stdout(Stdio::null());
                report.command(&command);
                assert!(command.status().is_ok_and(|it| it.success()), "failed: {command:?}");
                let each = (children_cpu_ns() - before) as f64 / operations.parse::<f64>().unwrap();
                report.add(Row::new(14, &what, name, Unit::Nanoseconds, &[each]));
            }
        }
        report.print_last(&what);
    }

    /// CPU per operation on two cores against one, keys spread over both.
    fn two_cores(&self, pipeline: u32, report: &mut Report) {
        let pipeline_text = pipeline.to_string();
        for set in ["get", "set"] {
            let what = format!("{} pipeline {pipeline}", set.to_uppercase());
            let servers: Vec<Running> = [(1, "0"), (2, "0,1")]
                .into_iter()
                .map(|(cores, on)| {
                    let peer = Peer { name: format!("{cores} cores"), ..ringfold(cores) };
                    let server = Running::start(&peer, on);
                    self.load(&server, &["--fill", "--secs", "0.1"], report);
                    server
                })
                .collect();
            for _ in 0..self.rounds {
                for server in &servers {
                    let secs = self.secs.to_string();
                    let args = ["--cmd", set, "--pipeline", &pipeline_text, "--secs", &secs];
                    let result = self.load(server, &args, report);
                    let each = number(&result, "server_cpu_ns_per_op");
                    report.add(Row::new(15, &what, &server.name, Unit::Nanoseconds, &[each]));
                }
            }
        }
        report.print_last(&format!("pipeline {pipeline}"));
    }

    /// One run of the referee's load; its line of JSON.
    pub fn load(&self, server: &Running, args: &[&str], report: &mut Report) -> Value {
        let (port, pid) = (server.port.to_string(), server.pid().to_string());
        let mut command = pinned(LOAD);
        command.arg(&self.referee.load).args(["--port", &port, "--pid", &pid]).args(args);
        report.command(&command);
        let output = command.stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "{}: the load failed: {command:?}", server.name);
        serde_json::from_slice(&output.stdout).expect("the load prints one line of JSON")
    }
}

pub fn number(result: &Value, field: &str) -> f64 {
    result[field].as_f64().unwrap_or_else(|| panic!("no {field} in {result}"))
}

/// User and system time of all children that have been waited for, in nanoseconds.
fn children_cpu_ns() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // Fields after the name in brackets; cutime and cstime are the 16th and 17th of all.
    let after = stat.rsplit_once(") ").expect("a name in brackets").1;
    let ticks: u64 = after.split(' ').skip(13).take(2).map(|it| it.parse::<u64>().unwrap()).sum();
    ticks * 10_000_000 // USER_HZ is 100 on every Linux that we run on
}
