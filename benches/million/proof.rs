//! The proof, step by step. Every wait has an end, and what a step does not reach is told.
//!
//! ```text
//!   alone   the hot clients, beside few cold ones that send as much as the many will
//!   ramp    the many come
//!   held    the hot clients again, beside the many; INFO once a second
//!   busy    again, while CLIENT LIST is read and a second replica is synchronised from scratch
//!   storm   again, while all of the many are cut off and come back
//!   end     the many stop when each has sent something; both replicas' keys are compared
//! ```
//!
//! All writes go to a replica from the first step on. The server has CPUs of its own where there are
//! two; load, replica and whoever asks share the others. Server and hot clients go before the others on
//! their CPUs, so that what is measured does not wait for those who make the crowd.

use super::machine::{Asker, Kernel, Listed, Process, available, free_port};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What to do, and with what.
pub struct Plan {
    pub clients: u64,
    pub hot: u64,
    /// Requests per second of the hot clients together.
    pub rate: u64,
    /// Seconds of each measurement.
    pub seconds: u64,
    /// The many send once in so many seconds.
    pub every: u64,
    /// All of it ends within so long.
    pub most: Duration,
    pub server: PathBuf,
    pub loadgen: PathBuf,
    /// Where reports go.
    pub folder: PathBuf,
    pub say: fn(&str),
}

/// Latencies of the hot clients in one step, in microseconds.
#[derive(Clone, Debug, Default)]
pub struct Hot {
    pub step: &'static str,
    pub samples: u64,
    pub per_second: f64,
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
    pub max: f64,
    pub server_cpu_ns: f64,
}

/// What was found. A figure that is 0 was not reached; `failures` say why.
#[derive(Clone, Debug, Default)]
pub struct Found {
    pub held: u64,
    pub parked: u64,
    pub tables: u64,
    pub ramp_seconds: f64,
    pub kernel_bytes: u64,
    pub kernel_after_bytes: u64,
    pub caches: Vec<(String, u64)>,
    pub server_bytes: u64,
    pub loadgen_bytes: u64,
    pub hot: Vec<Hot>,
    pub info_ms: Vec<f64>,
    pub listed: Listed,
    pub list_seconds: f64,
    pub sync_seconds: f64,
    pub storm_cut: u64,
    pub storm_seconds: f64,
    pub cold_requests: u64,
    pub cold_errors: u64,
    pub cold_lost: u64,
    pub replica_is_equal: bool,
    pub commands: Vec<String>,
    pub left_out: Vec<String>,
    pub failures: Vec<String>,
    pub seconds: f64,
}

const KEYS: &str = "100000";
/// The end of all steps but the last few seconds, which belong to the report.
const TAIL: Duration = Duration::from_secs(10);
const SETTLES: Duration = Duration::from_secs(5);
const NAP: Duration = Duration::from_millis(100);

struct Proof<'p> {
    plan: &'p Plan,
    started: Instant,
    port: u16,
    asker: Asker,
    found: Found,
    logs: PathBuf,
    cpus: Cpus,
}

struct Cpus {
    server: String,
    load: String,
    replica: String,
}

impl Cpus {
    /// The server has the first half.
    fn divide() -> Self {
        let count = std::thread::available_parallelism().map_or(1, usize::from);
        let half = count / 2;
        if half == 0 {
            return Self { server: "0-0".into(), load: "0".into(), replica: "0-0".into() };
        }
        let last = count - 1;
        Self {
            server: format!("0-{}", half - 1),
            load: last.to_string(),
            replica: format!("{half}-{half}"),
        }
    }
}

/// Runs the proof.
pub fn run(plan: &Plan) -> Found {
    let started = Instant::now();
    let before = Kernel::now();
    let logs = std::env::temp_dir().join(format!("ringfold-million-{}", std::process::id()));
    let mut found = match begin(plan, started, &logs) {
        Ok((proof, server)) => proof.steps(server, &before),
        Err(why) => Found { failures: vec![why], ..Found::default() },
    };
    found.kernel_after_bytes = Kernel::now().total().saturating_sub(before.total());
    found.seconds = started.elapsed().as_secs_f64();
    if found.failures.is_empty() {
        let _ = fs::remove_dir_all(&logs);
    } else {
        found.left_out.push(format!("logs of the processes are in {}", logs.display()));
    }
    found
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(ToString::to_string).collect()
}

/// A server in a folder of its own.
fn server(plan: &Plan, logs: &Path, name: &str, line: &str) -> Result<Process, String> {
    let folder = logs.join(name);
    fs::create_dir_all(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
    let mut args = words(line);
    args.extend(["--dir".into(), folder.display().to_string(), "--save".into(), String::new()]);
    Process::start(name, &plan.server, &args, &logs.join(format!("{name}.log")), name == "server")
}

fn begin<'p>(
    plan: &'p Plan,
    started: Instant,
    logs: &Path,
) -> Result<(Proof<'p>, Process), String> {
    let (port, cpus) = (free_port(), Cpus::divide());
    let line = format!(
        "--port {port} --bind 127.0.0.1 --cores {} --tcp-backlog 65535 --enable-debug-command yes",
        cpus.server
    );
    let mut process = server(plan, logs, "server", &line)?;
    let asker = loop {
        if let Ok(asker) = Asker::connect(port) {
            break asker;
        }
        if process.ended().is_some() || started.elapsed() > Duration::from_secs(20) {
            return Err("the server does not start".into());
        }
        std::thread::park_timeout(NAP);
    };
    let found = Found { commands: vec![format!("ringfold {line}")], ..Found::default() };
    let logs = logs.to_path_buf();
    Ok((Proof { plan, started, port, asker, found, logs, cpus }, process))
}

impl Proof<'_> {
    fn steps(mut self, mut server: Process, before: &Kernel) -> Found {
        let failed = self.all(&mut server, before).err();
        if let Some(status) = server.ended() {
            self.found.failures.push(format!("the server ended: {status}"));
        }
        self.found.failures.extend(failed);
        self.found
    }

    fn all(&mut self, server: &mut Process, before: &Kernel) -> Result<(), String> {
        let replica = self.replica("replica")?;
        let cold_rate = self.plan.clients / self.plan.every.max(1);
        self.alone(server, cold_rate)?;
        let mut many = self.ramp(server, before)?;
        let came = Instant::now();
        let held = self.held(server);
        let busy = held.and_then(|()| self.busy(server));
        let storm = busy.and_then(|()| self.storm(server, &mut many));
        // Whatever failed, the many are asked what they saw.
        self.farewell(&mut many, came)?;
        storm?;
        self.compare(&replica.1)
    }

    fn say(&self, text: &str) {
        (self.plan.say)(&format!("{:6.1} s  {text}", self.started.elapsed().as_secs_f64()));
    }

    fn left(&self) -> Duration {
        self.plan.most.saturating_sub(self.started.elapsed()).saturating_sub(TAIL)
    }

    /// Asks until `ask` says yes, for `most` or until the proof's time is over.
    fn until(
        &mut self,
        what: &str,
        most: Duration,
        mut ask: impl FnMut(&mut Self) -> Result<bool, String>,
    ) -> Result<f64, String> {
        let (start, most) = (Instant::now(), most.min(self.left()));
        let mut told = 0;
        loop {
            if ask(self)? {
                return Ok(start.elapsed().as_secs_f64());
            }
            if start.elapsed() > most {
                return Err(format!("{what}: not within {:.0} s", most.as_secs_f64()));
            }
            if start.elapsed().as_secs() / 5 > told {
                told = start.elapsed().as_secs() / 5;
                let clients = self.asker.info("clients", "connected_clients").unwrap_or(0);
                self.say(&format!("{what} ({clients} clients)"));
            }
            std::thread::park_timeout(NAP);
        }
    }

    fn replica(&mut self, name: &str) -> Result<(Process, u16), String> {
        let port = free_port();
        let line = format!(
            "--port {port} --bind 127.0.0.1 --cores {} --replicaof 127.0.0.1 {} \
             --enable-debug-command yes",
            self.cpus.replica, self.port
        );
        let mut process = server(self.plan, &self.logs, name, &line)?;
        self.found.commands.push(format!("ringfold {line}"));
        self.until(&format!("{name} comes up"), Duration::from_secs(120), |_| {
            if process.ended().is_some() {
                return Err("a replica ended".into());
            }
            let info = Asker::connect(port).and_then(|mut it| it.ask("INFO replication"));
            Ok(info.is_ok_and(|it| it.contains("master_link_status:up")))
        })?;
        Ok((process, port))
    }

    fn load(&mut self, name: &str, line: &str, ahead: bool) -> Result<Process, String> {
        let file = |end: &str| format!("{name}.{end}");
        let mut args = words(line);
        args.extend(["--json".into(), file("json"), "--hgrm".into(), file("hgrm")]);
        self.found.commands.push(format!("loadgen {line}"));
        let log = self.logs.join(format!("{name}.log"));
        Process::start_in(&self.plan.folder, name, &self.plan.loadgen, &args, &log, ahead)
    }

    fn cold(
        &mut self,
        name: &str,
        clients: u64,
        every: f64,
        seconds: u64,
    ) -> Result<Process, String> {
        let line = format!(
            "-p {} -c {clients} --every {every} -d {seconds} --command get --command set \
             --ratio 10,1 -k {KEYS} --control --reconnect --greet --quiet --timeout 60 --cores {}",
            self.port, self.cpus.load
        );
        self.load(name, &line, false)
    }

    /// One measurement of the hot clients; `meanwhile` is called while it runs.
    fn hot(
        &mut self,
        step: &'static str,
        seconds: u64,
        server: &Process,
        meanwhile: &mut dyn FnMut(&mut Self) -> Result<(), String>,
    ) -> Result<(), String> {
        let line = format!(
            "-p {} -c {} -r {} -d {seconds} -w 2 --command get --command set --ratio 10,1 -k {KEYS} \
             --quiet --timeout 30 --cores {} --server-pid {}",
            self.port,
            self.plan.hot,
            self.plan.rate,
            self.cpus.load,
            server.pid()
        );
        let mut load = self.load(step, &line, true)?;
        let meanwhile = meanwhile(self);
        self.wait_for(&mut load, Duration::from_secs(seconds + 120))?;
        let report = self.report(step)?;
        let at = |path: &str| number(&report, path);
        let percentile = |name: &str| {
            let all = report.pointer("/latency/percentiles_us").and_then(|it| it.get(name));
            all.and_then(Value::as_f64).unwrap_or(0.0)
        };
        let hot = Hot {
            step,
            samples: report.pointer("/latency/samples").and_then(Value::as_u64).unwrap_or(0),
            per_second: at("/requests_per_second"),
            p50: percentile("p50"),
            p99: percentile("p99"),
            p999: percentile("p99.9"),
            max: at("/latency/max_us"),
            server_cpu_ns: at("/server_cpu_ns_per_request"),
        };
        self.say(&format!(
            "{step}: p50 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0} us, {:.0} per second",
            hot.p50, hot.p99, hot.p999, hot.max, hot.per_second
        ));
        self.found.hot.push(hot);
        for sign in ["/failure", "/first_error"] {
            if let Some(text) = report.pointer(sign).and_then(Value::as_str) {
                self.found.failures.push(format!("the hot clients of {step}: {text}"));
            }
        }
        meanwhile
    }

    fn wait_for(&mut self, load: &mut Process, most: Duration) -> Result<(), String> {
        let name = load.name.clone();
        self.until(&format!("{name} runs"), most, |_| Ok(load.ended().is_some()))?;
        match load.ended() {
            Some(status) if status.success() => Ok(()),
            Some(status) => {
                self.found.failures.push(format!("{name} ended with {status}"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn report(&self, name: &str) -> Result<Value, String> {
        let path = self.plan.folder.join(format!("{name}.json"));
        let text = fs::read_to_string(&path).map_err(|why| format!("{}: {why}", path.display()))?;
        serde_json::from_str(&text).map_err(|why| format!("{}: {why}", path.display()))
    }

    /// The same load without the many: few clients send what they will send.
    fn alone(&mut self, server: &Process, cold_rate: u64) -> Result<(), String> {
        let few = self.plan.hot.min(self.plan.clients);
        let every = few as f64 / cold_rate.max(1) as f64;
        let seconds = self.plan.seconds + 120;
        let mut cold = self.cold("few", few, every, seconds)?;
        self.until("the few come", Duration::from_secs(60), |it| {
            Ok(it.asker.info("clients", "connected_clients")? >= few)
        })?;
        self.hot("alone", self.plan.seconds, server, &mut |_| Ok(()))?;
        cold.tell("stop");
        self.wait_for(&mut cold, Duration::from_secs(60))
    }

    fn ramp(&mut self, server: &Process, before: &Kernel) -> Result<Process, String> {
        let free = available();
        self.say(&format!("{} clients come; {} MiB are free", self.plan.clients, free >> 20));
        let seconds = self.plan.most.as_secs() + 60;
        let mut many = self.cold("many", self.plan.clients, self.plan.every as f64, seconds)?;
        let clients = self.plan.clients;
        let most = Duration::from_secs(60 + clients / 4_000);
        let came = self.until("the many come", most, |it| {
            if let Some(status) = many.ended() {
                return Err(format!("the many ended with {status}"));
            }
            Ok(it.asker.info("clients", "connected_clients")? > clients)
        });
        self.found.held = self.asker.info("clients", "connected_clients")?.saturating_sub(1);
        self.found.ramp_seconds = came?;
        self.found.parked = self.asker.info("clients", "sockets_parked")?;
        self.found.tables = self.asker.info("clients", "socket_tables")?;
        let now = Kernel::now();
        self.found.kernel_bytes = now.total().saturating_sub(before.total());
        self.found.caches = now.grown_since(before);
        self.found.server_bytes = server.memory();
        self.found.loadgen_bytes = many.memory();
        self.say(&format!(
            "{} clients are there after {:.1} s: {} MiB of kernel memory, {} and {} MiB of the server \
             and the load generator",
            self.found.held,
            self.found.ramp_seconds,
            self.found.kernel_bytes >> 20,
            self.found.server_bytes >> 20,
            self.found.loadgen_bytes >> 20
        ));
        Ok(many)
    }

    fn held(&mut self, server: &Process) -> Result<(), String> {
        let seconds = self.plan.seconds;
        self.hot("held", seconds, server, &mut |it| {
            for _ in 0..seconds {
                let asked = Instant::now();
                it.asker.ask("INFO")?;
                it.found.info_ms.push(asked.elapsed().as_secs_f64() * 1e3);
                std::thread::park_timeout(Duration::from_secs(1));
            }
            Ok(())
        })
    }

    fn busy(&mut self, server: &Process) -> Result<(), String> {
        self.hot("busy", self.plan.seconds, server, &mut |it| {
            let asked = Instant::now();
            match it.asker.list() {
                Ok(listed) => it.found.listed = listed,
                Err(why) => {
                    it.found.failures.push(why);
                    it.asker = Asker::connect(it.port)?;
                }
            }
            it.found.list_seconds = asked.elapsed().as_secs_f64();
            let listed = it.found.listed;
            it.say(&format!("CLIENT LIST: {} lines, {} MiB", listed.lines, listed.bytes >> 20));
            let asked = Instant::now();
            let second = it.replica("second")?;
            it.found.sync_seconds = asked.elapsed().as_secs_f64();
            drop(second);
            it.say(&format!("a full sync took {:.1} s", it.found.sync_seconds));
            Ok(())
        })
    }

    fn storm(&mut self, server: &Process, many: &mut Process) -> Result<(), String> {
        let clients = self.plan.clients;
        let most = Duration::from_secs(60 + clients / 4_000);
        if self.left() < most / 2 {
            self.found.left_out.push("the storm: no time was left for it".into());
            return Ok(());
        }
        let seconds = self.plan.seconds;
        self.hot("storm", seconds, server, &mut |it| {
            let before = it.asker.calls("ping")?;
            many.tell("storm");
            it.found.storm_seconds = it.until("all come back", most, |it| {
                // Each says PING as soon as it is back.
                let greeted = it.asker.calls("ping")? - before;
                let there = it.asker.info("clients", "connected_clients")?;
                Ok(greeted >= clients && there >= clients)
            })?;
            it.say(&format!("all came back within {:.1} s", it.found.storm_seconds));
            Ok(())
        })
    }

    /// The many go on until each has sent something.
    fn farewell(&mut self, many: &mut Process, came: Instant) -> Result<(), String> {
        let round = Duration::from_secs(self.plan.every + self.plan.every / 10 + 2);
        // The server has answered all by now; the load generator may not have read all answers yet.
        let rest = round.saturating_sub(came.elapsed()).max(SETTLES);
        if rest > self.left() {
            self.found.left_out.push("some of the many sent nothing but their greeting".into());
        }
        let until = Instant::now() + rest.min(self.left());
        self.until("each sends something", rest + NAP, |_| Ok(Instant::now() >= until))
            .unwrap_or(0.0);
        many.tell("stop");
        let start = Instant::now();
        while many.ended().is_none() && start.elapsed() < Duration::from_secs(60) {
            std::thread::park_timeout(NAP);
        }
        if many.ended().is_none() {
            return Err("the many do not stop".into());
        }
        let report = self.report("many")?;
        self.found.cold_requests = whole(&report, "/requests");
        self.found.cold_lost = whole(&report, "/lost");
        let errors = report.pointer("/errors").and_then(Value::as_object);
        let errors = errors.map(|it| it.values().filter_map(Value::as_u64).sum());
        self.found.cold_errors = errors.unwrap_or(0);
        if let Some(storm) = report.pointer("/storms/0") {
            self.found.storm_cut = whole(storm, "/cut");
            let missing = whole(storm, "/missing");
            if missing > 0 {
                self.found.failures.push(format!("{missing} did not come back from the storm"));
            }
        }
        if let Some(text) = report.pointer("/failure").and_then(Value::as_str) {
            self.found.failures.push(format!("the many: {text}"));
        }
        for (what, count) in [("errors", self.found.cold_errors), ("lost", self.found.cold_lost)] {
            if count > 0 {
                self.found.failures.push(format!("the many: {count} {what}"));
            }
        }
        self.say(&format!("the many sent {} requests", self.found.cold_requests));
        Ok(())
    }

    fn compare(&mut self, replica: &u16) -> Result<(), String> {
        let mut other = Asker::connect(*replica)?;
        self.until("the replica is equal", Duration::from_secs(30), |it| {
            let digest = it.asker.ask("DEBUG DIGEST")?;
            Ok(digest == other.ask("DEBUG DIGEST")? && !digest.ends_with(&"0".repeat(40)))
        })?;
        self.found.replica_is_equal = true;
        Ok(())
    }
}

fn number(value: &Value, path: &str) -> f64 {
    value.pointer(path).and_then(Value::as_f64).unwrap_or(0.0)
}

fn whole(value: &Value, path: &str) -> u64 {
    value.pointer(path).and_then(Value::as_u64).unwrap_or(0)
}
