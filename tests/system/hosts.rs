//! The classic deployment: a master and two replicas on three hosts, each with a password.
//!
//! Three loopback addresses stand for the hosts. Replicas are read-only; one that stops hurts
//! nobody and catches up; when the master stops, reads go on and nobody takes its place; when it
//! returns, the replicas follow it again.

use crate::support::server::{Kind, Plan, Server, wait_until_equal};
use crate::support::wait_until;
use crate::support::writers::{Writers, lost};
use crate::{count, fill, plan, wait_for_link};

const PASSWORD: &str = "three hosts";

fn host(kind: Kind, ip: &str) -> Plan {
    plan(kind).ip(ip).password(PASSWORD)
}

#[test]
fn three_hosts() {
    for kinds in [
        [Kind::Ours(2), Kind::Ours(2), Kind::Ours(2)],
        [Kind::Ours(2), Kind::Redis, Kind::Ours(1)],
        [Kind::Redis, Kind::Ours(2), Kind::Redis],
    ] {
        walk_through(kinds);
    }
}

fn walk_through(kinds: [Kind; 3]) {
    let mut master = host(kinds[0], "127.0.0.1").start();
    fill(&master, 100);
    let port = master.port().to_string();
    let replica = |kind, ip| host(kind, ip).arg("replicaof", &["127.0.0.1", &port]).start();
    let mut replicas = [replica(kinds[1], "127.0.0.2"), replica(kinds[2], "127.0.0.3")];
    replicas.iter().for_each(wait_for_link);
    for one in &replicas {
        wait_until_equal(&master, one);
        let refusal = "-READONLY You can't write against a read only replica.\r\n";
        one.client().expect(&["SET", "k", "v"], refusal);
    }
    assert_eq!(count(&master, "connected_slaves"), 2);
    let seen = master.client().text(&["INFO", "replication"]);
    for ip in ["127.0.0.2", "127.0.0.3"] {
        assert!(seen.contains(&format!("ip={ip},")), "the master does not name {ip}: {seen}");
    }

    // A replica that stops hurts nobody, and catches up.
    let writers = Writers::start(&master.address(), Some(PASSWORD), 2, 64);
    writers.wait_for_more(500);
    replicas[0].kill();
    writers.wait_for_more(1_000);
    replicas[0].restart();
    wait_for_link(&replicas[0]);
    writers.wait_for_more(500);
    let ledgers = writers.stop();
    for one in &replicas {
        wait_until_equal(&master, one);
        assert_eq!(lost(&mut one.client(), &ledgers), 0);
    }

    // The master stops: reads go on, and nobody takes its place.
    let mut client = master.client();
    let _ = client.send(b"SHUTDOWN SAVE\r\n");
    assert!(master.wait_for_exit().success());
    for one in &replicas {
        wait_until("it notices", || one.info("master_link_status").as_deref() == Some("down"));
        assert_eq!(one.info("role").as_deref(), Some("slave"));
        assert_eq!(lost(&mut one.client(), &ledgers), 0);
    }

    // It returns, and is followed again.
    master.restart();
    replicas.iter().for_each(wait_for_link);
    master.client().expect(&["SET", "returned", "yes"], "+OK\r\n");
    let equal = |one: &Server| wait_until_equal(&master, one);
    replicas.iter().for_each(equal);
}
