//! Real processes: one server and its settings, masters and replicas of both makes, and faults.
//!
//! Every replication test runs for each pair of `MATRIX`. Nothing here knows how a server is
//! made; what only ours promises is asked of ours alone, and always.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a failing test shows the end of the servers' logs")]

mod faults;
mod files;
mod hosts;
mod process;
mod pubsub;
mod replication;
mod scripts;
mod settings;
mod tuning;
#[expect(dead_code, reason = "the tests in oracle/ use the other helpers")]
#[path = "../support/mod.rs"]
mod support;

use support::server::{Kind, Plan, Server};
use support::wait_until;

/// Master and replica.
const MATRIX: &[(Kind, Kind)] = &[
    (Kind::Ours(1), Kind::Ours(1)),
    (Kind::Ours(2), Kind::Ours(2)),
    (Kind::Ours(3), Kind::Ours(1)),
    (Kind::Ours(1), Kind::Ours(3)),
    (Kind::Ours(2), Kind::Redis),
    (Kind::Redis, Kind::Ours(2)),
];

/// Settings that make replication tests quick, and DEBUG DIGEST possible.
fn plan(kind: Kind) -> Plan {
    Plan::new(kind)
        .arg("enable-debug-command", &["yes"])
        .arg("repl-diskless-sync", &["yes"])
        .arg("repl-diskless-sync-delay", &["0"])
        .arg("repl-ping-replica-period", &["1"])
        .arg("repl-backlog-size", &["64mb"])
}

fn replica_of(plan: Plan, ip: &str, port: u16) -> Server {
    plan.arg("replicaof", &[ip, &port.to_string()]).start()
}

fn wait_for_link(replica: &Server) {
    wait_until("the replica's link is up", || {
        replica.info("master_link_status").as_deref() == Some("up")
    });
}

/// A number in INFO.
fn count(server: &Server, field: &str) -> u64 {
    let text = server.info(field).unwrap_or_else(|| panic!("INFO has no {field}"));
    text.parse().unwrap()
}

/// Keys of all sizes in several databases, some with an expiry, so that digests see them all.
fn fill(server: &Server, keys: usize) {
    let mut client = server.client();
    for db in ["0", "5", "9"] {
        client.expect(&["SELECT", db], "+OK\r\n");
        for n in 0..keys {
            let key = format!("key:{db}:{n}");
            let value = match n % 4 {
                0 => n.to_string(),
                1 => "s".repeat(n % 60),
                2 => "long".repeat(n % 900),
                _ => String::new(),
            };
            client.expect(&["SET", &key, &value], "+OK\r\n");
            if n % 5 == 0 {
                client.expect(&["EXPIRE", &key, "100000"], ":1\r\n");
            }
        }
    }
}
