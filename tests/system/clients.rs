//! Client libraries of other languages, each with a programme as their users write them: locks, queues, streams
//! with groups, pipelines, transactions, scripts, messages (`clients/`).
//!
//! `make clients` installs the libraries below `target/clients`.

use crate::cluster::{self, OURS, cluster};
use crate::loads::{replace_master, reshard, wait_for_commands};
use crate::plan;
use crate::sentinel::{self, Maker, group};
use crate::support::server::{Folder, Kind};
use crate::support::wait_for;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn installed(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients").join(name);
    assert!(path.exists(), "{} is missing: run `make clients`", path.display());
    path
}

/// Runs the programme against servers of one core and of several.
fn run(command: &dyn Fn() -> Command, arguments: &[&str]) {
    for cores in [1, 3] {
        let server = plan(Kind::Ours(cores)).start();
        let mut command = command();
        command.args(["127.0.0.1", &server.port().to_string()]).args(arguments);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        let ended_well = output.status.success() && said.trim_end().ends_with("ok");
        assert!(ended_well, "{cores} cores, {arguments:?}\n{said}\n{errors}");
    }
}

fn programme(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/system/clients").join(name)
}

#[test]
fn redis_py() {
    let python = installed("python/bin/python");
    for protocol in ["2", "3"] {
        run(
            &|| {
                let mut command = Command::new(&python);
                command.arg(programme("redis_py.py"));
                command
            },
            &[protocol],
        );
    }
}

fn node(file: &str) {
    let modules = installed("node/node_modules");
    run(
        &|| {
            let mut command = Command::new("node");
            command.arg(programme(file)).env("NODE_PATH", &modules);
            command
        },
        &[],
    );
}

#[test]
fn ioredis() {
    node("ioredis.js");
}

#[test]
fn node_redis() {
    node("node_redis.js");
}

/// A programme that writes all the time, and what it says of errors.
struct Writer(Child, Folder);

impl Writer {
    fn start(mut command: Command, port: u16, words: &[&str]) -> Self {
        command.args(["127.0.0.1", &port.to_string()]).args(words);
        let folder = Folder::new();
        let errors = fs::File::create(folder.0.join("errors")).unwrap();
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(errors);
        Self(command.spawn().unwrap(), folder)
    }

    /// Ends it; it must be content.
    fn stop(mut self) {
        self.0.stdin.take().unwrap().write_all(b"stop\n").unwrap();
        let status = wait_for("the programme ends", || self.0.try_wait().unwrap());
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.0.stdout.take().unwrap(), &mut said).unwrap();
        let errors = fs::read_to_string(self.1.0.join("errors")).unwrap();
        let ended_well = status.success() && said.trim_end().ends_with("ok");
        let from = errors.char_indices().rev().nth(2_000).map_or(0, |(at, _)| at);
        assert!(ended_well, "{status}: {said}\n{}", &errors[from..]);
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn python_writer() -> Command {
    let mut command = Command::new(installed("python/bin/python"));
    command.arg(programme("writer.py"));
    command
}

fn node_writer() -> Command {
    let mut command = Command::new("node");
    command.arg(programme("writer.js")).env("NODE_PATH", installed("node/node_modules"));
    command
}

/// Each is back to writing by itself when masters change places and slots move, and nothing that was acknowledged
/// is lost.
#[test]
fn programmes_go_on_when_a_cluster_changes() {
    let nodes = cluster(&[OURS, Kind::Redis, OURS, OURS, OURS, Kind::Redis], 1);
    let port = nodes[0].port();
    let writers = [
        Writer::start(python_writer(), port, &["cluster"]),
        Writer::start(node_writer(), port, &["cluster", "ioredis"]),
        Writer::start(node_writer(), port, &["cluster", "redis"]),
    ];
    let go_on = || {
        for node in nodes.iter().filter(|it| cluster::is_master(it)) {
            wait_for_commands(node, 200);
        }
    };
    go_on();
    cluster::planned_failovers(&nodes);
    go_on();
    let masters: Vec<_> = nodes.iter().filter(|it| cluster::is_master(it)).collect();
    let ids: Vec<String> = masters.iter().map(|it| cluster::id(it)).collect();
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        assert!(reshard(&nodes, &ids[from], &ids[to], 300), "{from} to {to}");
        cluster::check(&nodes);
    }
    go_on();
    writers.into_iter().for_each(Writer::stop);
}

/// Nobody planned it: a master is killed, and comes back as a replica of who took its place. Each programme is back
/// to writing by itself, everywhere, and finds what it wrote since.
#[test]
fn programmes_go_on_when_a_master_of_a_cluster_is_killed() {
    let mut nodes = cluster(&[OURS; 6], 1);
    let master = wait_for("a master", || (1..6).find(|it| cluster::is_master(&nodes[*it])));
    let port = nodes[0].port();
    let writers = [
        Writer::start(python_writer(), port, &["killed"]),
        Writer::start(node_writer(), port, &["killed", "ioredis"]),
        Writer::start(node_writer(), port, &["killed", "redis"]),
    ];
    wait_for_commands(&nodes[master], 200);
    cluster::unplanned_failover(&mut nodes, master);
    for node in nodes.iter().filter(|it| cluster::is_master(it)) {
        wait_for_commands(node, 200);
    }
    writers.into_iter().for_each(Writer::stop);
}

/// Each finds the new master by itself; of node-redis this version knows no Sentinels.
#[test]
fn programmes_go_on_when_sentinels_replace_a_master() {
    let mut servers = group(OURS, None);
    let watchers = sentinel::watchers(&[Maker::Ours, Maker::Redis, Maker::Ours], &servers, "");
    let port = watchers[0].port;
    let writers = [
        Writer::start(python_writer(), port, &["sentinel"]),
        Writer::start(node_writer(), port, &["sentinel", "ioredis"]),
    ];
    replace_master(&mut servers, &watchers);
    writers.into_iter().for_each(Writer::stop);
}
