//! Real processes: one server and its settings, masters and replicas of both makes, and faults.
//!
//! Every replication test runs for each pair of `MATRIX`. Nothing here knows how a server is
//! made; what only ours promises is asked of ours alone, and always.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test may panic")]
#![expect(clippy::print_stderr, reason = "a failing test shows the end of the servers' logs")]

mod access;
mod append;
mod behind;
mod busy;
mod cluster;
mod cluster_client;
mod clients;
mod crowd;
mod doors;
mod failover;
mod faults;
mod files;
mod flows;
mod guide;
mod hops;
mod hosts;
mod loads;
mod migrate;
mod moving;
mod overload;
mod packaging;
mod process;
mod pubsub;
mod redis_rs;
mod replication;
mod resync;
mod scripts;
mod sentinel;
mod settings;
mod tls;
mod tls_nodes;
mod tuning;
mod watching;
mod whole_slots;
#[expect(dead_code, reason = "the tests in oracle/ use the other helpers")]
#[path = "../support/mod.rs"]
mod support;

use support::client::Client;
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
        fill_collections(&mut client, keys / 10);
    }
}

/// Collections of every kind, packed and large, with what makes their encodings differ.
fn fill_collections(client: &mut Client, keys: usize) {
    for n in 0..keys {
        // Mostly small; now and then more than any threshold.
        let elements = if n % 20 == 7 { 700 } else { 1 + n % 9 };
        let long = "element".repeat(1 + n % 15);
        let ttl = (n % 5 == 0).then_some("100000");
        let mut add = |kind: &str, command: &str, element: &dyn Fn(usize) -> Vec<String>| {
            let key = format!("{kind}:{n}");
            for at in 0..elements {
                let words = element(at);
                let mut args = vec![command, key.as_str()];
                args.extend(words.iter().map(String::as_str));
                assert!(!client.call(&args).starts_with(b"-"), "{args:?}");
            }
            if let Some(ttl) = ttl {
                client.expect(&["EXPIRE", &key, ttl], ":1\r\n");
            }
        };
        add("list", "RPUSH", &|at| vec![format!("{long}{at}"), at.to_string()]);
        add("set", "SADD", &|at| vec![format!("{long}{at}")]);
        add("ints", "SADD", &|at| vec![(at * at * n).to_string()]);
        add("hash", "HSET", &|at| vec![format!("f{at}"), format!("{long}{at}")]);
        add("stream", "XADD", &|at| vec![format!("5-{}", at + 1), "field".into(), at.to_string()]);
        let stream = format!("stream:{n}");
        client.expect(&["XGROUP", "CREATE", &stream, "group", "0"], "+OK\r\n");
        let read = ["XREADGROUP", "GROUP", "group", "alice", "COUNT", "3", "STREAMS", &stream, ">"];
        client.call(&read);
        client.call(&["XACK", &stream, "group", "5-1"]);
        client.call(&["XDEL", &stream, "5-2"]);
    }
}
