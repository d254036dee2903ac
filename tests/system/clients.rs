//! Client libraries of other languages, each with a programme as their users write them: locks, queues, streams
//! with groups, pipelines, transactions, scripts, messages (`clients/`).
//!
//! `make clients` installs the libraries below `target/clients`.

use crate::plan;
use crate::support::server::Kind;
use std::path::{Path, PathBuf};
use std::process::Command;

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
