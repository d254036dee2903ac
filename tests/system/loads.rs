//! The load generator as a client of clusters and of Sentinels: through failovers and through slots that move, with
//! its ledger read back at the end.

use crate::cluster::{self, OURS, addresses, call, cluster, redis_cli, try_redis_cli, write_all};
use crate::sentinel::{self, Maker, Watcher, group, wait_for_another, wait_until_all_follow};
use crate::support::server::{Folder, Kind, Server};
use crate::support::{number_from_env, wait_for, wait_until};
use ringfold::base::prng::Prng;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

/// The load generator of this tree: it lies beside the server, if it has been built.
pub(super) fn loadgen() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let path = Path::new(env!("CARGO_BIN_EXE_ringfold")).with_file_name("loadgen");
        let knows = || {
            let help = Command::new(&path).arg("--help").output();
            help.is_ok_and(|it| String::from_utf8_lossy(&it.stdout).contains("--read-replicas"))
        };
        if !knows() {
            let build = Command::new(env!("CARGO")).args(["build", "-p", "loadgen"]).status();
            assert!(build.unwrap().success() && knows());
        }
        path
    })
}

/// A load that goes on until it is stopped.
pub struct Load {
    child: Child,
    folder: Folder,
}

impl Load {
    pub fn start(port: u16, options: &str) -> Self {
        let folder = Folder::new();
        let mut command = Command::new(loadgen());
        command.args(["--port", &port.to_string(), "--duration", "600", "--timeout", "100"]);
        command.args([
            "-c",
            "24",
            "-P",
            "4",
            "--keys",
            "2400",
            "--command",
            "set",
            "--command",
            "get",
        ]);
        command.args(["--ratio", "1,1", "--rate", "1500", "--verify", "--quiet", "--control"]);
        command.args(options.split_whitespace()).arg("--json").arg(folder.0.join("report.json"));
        let out = std::fs::File::create(folder.0.join("out")).unwrap();
        command.stdin(Stdio::piped()).stdout(out.try_clone().unwrap()).stderr(out);
        Self { child: command.spawn().unwrap(), folder }
    }

    /// Ends it: its exit code and its report.
    pub fn stop(mut self) -> (i32, Value) {
        // It has ended already where writing fails, and then says why.
        let _ = self.child.stdin.take().unwrap().write_all(b"stop\n");
        let status = wait_for("the load ends", || self.child.try_wait().unwrap());
        let said = std::fs::read_to_string(self.folder.0.join("out")).unwrap();
        let report = std::fs::read_to_string(self.folder.0.join("report.json"));
        let report = report.unwrap_or_else(|_| panic!("{status}: {said}"));
        eprintln!("{said}");
        (status.code().unwrap(), serde_json::from_str(&report).unwrap())
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How many commands a server has had.
fn commands(node: &Server) -> u64 {
    node.info("total_commands_processed").and_then(|it| it.parse().ok()).unwrap_or(0)
}

/// Waits until this server has had so many commands more.
pub fn wait_for_commands(node: &Server, more: u64) {
    let before = commands(node);
    wait_until("the load goes on", || commands(node) >= before + more);
}

/// All was answered in the end, and every acknowledged write is there.
pub fn assert_kept(code: i32, report: &Value) {
    assert_eq!(code, 0, "{} {}", report["failure"], report["verified"]);
    assert_eq!(report["errors"], serde_json::json!({}));
    assert!(report["verified"]["keys"].as_u64().unwrap() > 0);
}

/// Of a failover that nobody planned the ledger says what was lost, if anything was.
fn assert_told(code: i32, report: &Value) {
    assert!(code == 0 || code == 7, "{code}: {}", report["failure"]);
    let lost =
        report["verified"]["lost"].as_u64().unwrap() + report["verified"]["old"].as_u64().unwrap();
    assert_eq!((code == 7, report["verified"]["wrong"].as_u64()), (lost > 0, Some(0)));
}

#[test]
fn a_load_follows_a_planned_failover_of_a_cluster_and_loses_nothing() {
    let nodes = cluster(&[OURS, Kind::Redis, OURS, OURS, OURS, Kind::Redis], 1);
    let load = Load::start(nodes[0].port(), "--cluster");
    for node in nodes.iter().filter(|it| cluster::is_master(it)) {
        wait_for_commands(node, 100);
    }
    cluster::planned_failovers(&nodes);
    for node in nodes.iter().filter(|it| cluster::is_master(it)) {
        wait_for_commands(node, 100);
    }
    let (code, report) = load.stop();
    assert_kept(code, &report);
    assert!(report["refusals"]["MOVED"].as_u64() > Some(0), "{}", report["refusals"]);
}

#[test]
fn a_load_goes_on_when_a_master_of_a_cluster_dies() {
    let mut nodes = cluster(&[OURS; 6], 1);
    let load = Load::start(nodes[0].port(), "--cluster");
    let master = wait_for("a master", || (1..6).find(|it| cluster::is_master(&nodes[*it])));
    wait_for_commands(&nodes[master], 100);
    cluster::unplanned_failover(&mut nodes, master);
    for node in nodes.iter().filter(|it| cluster::is_master(it)) {
        wait_for_commands(node, 100);
    }
    let (code, report) = load.stop();
    assert_told(code, &report);
    assert!(report["lost"].as_u64() > Some(0), "no connection broke");
}

#[test]
fn clients_that_only_read_ask_replicas() {
    let nodes = cluster(&[OURS; 6], 1);
    let port = nodes[0].port().to_string();
    // A replica that has nothing yet is not named.
    write_all(&addresses(&nodes), 60);
    for node in &nodes {
        wait_until("all replicas are named", || {
            let slots = String::from_utf8_lossy(&node.ask(&["CLUSTER", "SLOTS"])).into_owned();
            nodes.iter().all(|it| slots.contains(&it.port().to_string()))
        });
    }
    let mut command = Command::new(loadgen());
    command.args(["--port", &port, "--cluster", "--read-replicas", "--fill", "--quiet"]);
    command.args("-c 60 --keys 600 -n 6000 --command get --timeout 100".split_whitespace());
    let before: Vec<u64> = nodes.iter().map(commands).collect();
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    let gained = nodes.iter().zip(before).filter(|it| cluster::is_replica(it.0));
    let on_replicas: u64 = gained.map(|(node, before)| commands(node) - before).sum();
    assert!(on_replicas >= 6_000, "{on_replicas}");
}

/// The master dies, another takes over and is written to, and the old one comes back to follow it. Its port.
pub fn replace_master(servers: &mut [Server], watchers: &[Watcher]) -> u16 {
    wait_for_commands(&servers[0], 500);
    servers[0].kill();
    let new = wait_for_another(servers, watchers);
    let master = servers.iter().position(|it| it.port() == new).unwrap();
    wait_for_commands(&servers[master], 500);
    servers[0].restart();
    wait_until_all_follow(servers, new);
    new
}

#[test]
fn a_load_follows_sentinels_to_another_master() {
    let mut servers = group(OURS, None);
    let watchers = sentinel::watchers(&[Maker::Ours, Maker::Redis, Maker::Ours], &servers, "");
    let load = Load::start(watchers[0].port, "--sentinel m");
    let new = replace_master(&mut servers, &watchers);
    let (code, report) = load.stop();
    assert_told(code, &report);
    let events = report["events"].to_string();
    assert!(events.contains(&format!("+127.0.0.1:{new}")), "{events}");
}

/// As an operator moves slots; false: redis-cli was not content.
pub fn reshard(nodes: &[Server], from: &str, to: &str, slots: usize) -> bool {
    let (slots, through) = (slots.to_string(), nodes[0].address());
    let (content, text) = try_redis_cli(&[
        "--cluster",
        "reshard",
        &through,
        "--cluster-from",
        from,
        "--cluster-to",
        to,
        "--cluster-slots",
        &slots,
        "--cluster-yes",
        "--cluster-timeout",
        "60000",
    ]);
    if !content {
        eprintln!("{text}");
    }
    content
}

/// Slots go from ours to a stock node and back, and between ours, while clients read and write.
#[test]
fn slots_move_both_ways_under_load() {
    let nodes = cluster(&[OURS, Kind::Redis, OURS], 0);
    let ids: Vec<String> = nodes.iter().map(cluster::id).collect();
    let load = Load::start(nodes[0].port(), "--cluster");
    for node in &nodes {
        wait_for_commands(node, 200);
    }
    for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0)] {
        assert!(reshard(&nodes, &ids[from], &ids[to], 400), "{from} to {to}");
        cluster::check(&nodes);
        wait_for_commands(&nodes[to], 200);
    }
    let (code, report) = load.stop();
    assert_kept(code, &report);
    assert!(report["refusals"]["MOVED"].as_u64() > Some(0), "{}", report["refusals"]);
}

/// How often whoever gives, takes or watches is killed while slots move.
const KILLS: u64 = 4;

/// Whoever dies on the way of a slot: in the end each key is at one node, and none is lost.
#[test]
fn no_key_is_lost_or_at_two_places_when_a_node_dies_while_slots_move() {
    let runs = number_from_env("RINGFOLD_RESHARDS").unwrap_or(KILLS);
    let mut prng = Prng::new(crate::support::seed());
    for run in 0..runs {
        let kinds = match run % 4 {
            0 => [OURS, Kind::Redis, OURS],
            1 => [Kind::Redis, OURS, OURS],
            _ => [OURS, OURS, Kind::Redis],
        };
        let durable = ["--appendonly", "yes", "--appendfsync", "always"];
        let mut nodes = cluster::durable_cluster(&kinds, &durable);
        let ids: Vec<String> = nodes.iter().map(cluster::id).collect();
        let keys: BTreeMap<String, usize> = (0..400).map(|n| (format!("k{n}"), 0)).collect();
        let all = addresses(&nodes);
        for key in keys.keys() {
            assert_eq!(call(&all, &["SET", key, key]), b"+OK\r\n");
        }
        // 0 gives, 1 takes, 2 is neither.
        let victim = usize::try_from(prng.below(3)).unwrap();
        let after = Duration::from_millis(prng.below(1_500));
        let args = [
            "--cluster",
            "reshard",
            &all[0],
            "--cluster-from",
            &ids[0],
            "--cluster-to",
            &ids[1],
            "--cluster-slots",
            "2000",
            "--cluster-yes",
            "--cluster-pipeline",
            "1",
        ];
        let mut moving = Command::new("redis-cli");
        moving.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut moving = moving.spawn().unwrap();
        std::thread::park_timeout(after);
        nodes[victim].kill();
        nodes[victim].restart();
        wait_for("redis-cli ends", || moving.try_wait().unwrap());
        for node in &nodes {
            wait_until("the cluster is ok again", || cluster::is_ok(node));
        }
        wait_until("redis-cli has mended what is open", || {
            let fix = ["--cluster", "fix", &all[0], "--cluster-yes", "--cluster-replace"];
            let _content = try_redis_cli(&fix);
            let (content, text) = try_redis_cli(&["--cluster", "check", &all[0]]);
            content && !text.contains("[WARNING]") && text.contains("[OK] All 16384 slots covered")
        });
        let mut found = keys.clone();
        for node in &nodes {
            let text = redis_cli(&["-p", &node.port().to_string(), "KEYS", "*"]);
            for key in text.lines().filter(|it| !it.is_empty()) {
                *found.get_mut(key).unwrap() += 1;
            }
        }
        let wrong: Vec<_> = found.iter().filter(|(_, count)| **count != 1).collect();
        assert!(wrong.is_empty(), "run {run}, victim {victim} after {after:?}: {wrong:?}");
        for key in keys.keys() {
            let expected = format!("${}\r\n{key}\r\n", key.len());
            assert_eq!(call(&all, &["GET", key]), expected.as_bytes());
        }
    }
}
