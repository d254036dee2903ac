//! A replica of ours has its master's stream by a connection for each core of that.

#![expect(clippy::disallowed_methods, reason = "one link that stands still needs a clock")]

use crate::support::proxy::Proxy;
use crate::support::server::Plan;
use crate::support::server::{Kind, Server, wait_until_equal};
use crate::support::wait_until;
use crate::support::writers::{Writers, lost};
use crate::{count, replica_of, wait_for_link};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

fn plan(kind: Kind) -> Plan {
    let plan = crate::plan(kind);
    if kind.is_stock() { plan } else { plan.arg("repl-flows", &["yes"]) }
}

/// A line of INFO, without its name.
fn ringfold(server: &Server, field: &str) -> String {
    let info = server.client().text(&["INFO", "ringfold"]);
    let line = info.lines().find_map(|line| line.strip_prefix(&format!("{field}:")));
    line.unwrap_or_default().trim().to_string()
}

fn wait_for_flows(master: &Server, replica: &Server, flows: u16) {
    let wanted = flows.to_string();
    wait_until("all flows are up", || ringfold(replica, "repl_flows_up") == wanted);
    let on = format!("up={flows},on=1");
    wait_until("the stream goes by them", || {
        let info = master.client().text(&["INFO", "ringfold"]);
        info.lines().any(|line| line.contains("_flows:") && line.trim().ends_with(&on))
    });
}

/// Commands of all kinds: of one core, of several, of all, and in other databases.
fn write_all_kinds(server: &Server, round: u32) {
    let mut client = server.client();
    for n in 0..40 {
        let key = |name: &str| format!("{name}{n}.{round}");
        client.call(&["SET", &key("a"), "1"]);
        client.call(&["MSET", &key("b"), "2", &key("c"), "3"]);
        client.call(&["RPUSH", &key("l"), "x", "y"]);
        client.call(&["RENAME", &key("c"), &key("d")]);
        client.call(&["SET", &key("gone"), "x", "PX", "10"]);
        client.call(&["SELECT", &(n % 3).to_string()]);
        client.call(&["MULTI"]);
        client.call(&["INCR", &key("e")]);
        client.call(&["INCR", &key("f")]);
        client.call(&["EXEC"]);
        client.call(&[
            "EVAL",
            "redis.call('INCR', KEYS[1]) redis.call('INCR', KEYS[1])",
            "1",
            &key("s"),
        ]);
        client.call(&["PUBLISH", "channel", "message"]);
    }
    client.call(&["SWAPDB", "1", "2"]);
    client.call(&["SELECT", "5"]);
    client.call(&["SET", "large", &"x".repeat(300_000)]);
    client.call(&["FLUSHDB"]);
}

fn equal_offsets(master: &Server, replica: &Server) {
    wait_until("the offsets are equal", || {
        master.info("master_repl_offset") == replica.info("slave_repl_offset")
    });
}

#[test]
fn any_number_of_cores_on_either_side() {
    for (ours, theirs) in [(3, 2), (2, 3), (2, 2)] {
        let master = plan(Kind::Ours(ours)).start();
        let replica = replica_of(plan(Kind::Ours(theirs)), "127.0.0.1", master.port());
        wait_for_link(&replica);
        wait_for_flows(&master, &replica, ours);
        // A replica of the replica, and a stock one of both: all are at the same offset of one history.
        let second = replica_of(plan(Kind::Ours(2)), "127.0.0.1", replica.port());
        let stock = [
            replica_of(plan(Kind::Redis), "127.0.0.1", master.port()),
            replica_of(plan(Kind::Redis), "127.0.0.1", replica.port()),
        ];
        [&second, &stock[0], &stock[1]].into_iter().for_each(wait_for_link);
        wait_for_flows(&replica, &second, theirs);
        let writers = Writers::gentle(&master.address(), None);
        (0..3).for_each(|round| write_all_kinds(&master, round));
        writers.wait_for_more(2_000);
        let ledgers = writers.stop();
        let waited = master.client().text(&["WAIT", "2", "0"]);
        assert_eq!(waited.trim(), "2");
        for one in [&replica, &second, &stock[0], &stock[1]] {
            wait_until_equal(&master, one);
            equal_offsets(&master, one);
            assert_eq!(lost(&mut one.client(), &ledgers), 0);
        }
        assert_eq!(count(&master, "connected_slaves"), 2);
        assert_eq!(count(&master, "sync_full"), 2);
    }
}

/// A stock master never hears of flows, and with `repl-flows no` none of ours does.
#[test]
fn where_flows_are_not_wanted_there_are_none() {
    for (master, setting) in [(Kind::Redis, "yes"), (Kind::Ours(3), "no"), (Kind::Ours(1), "auto")]
    {
        let master = plan(master).start();
        let replica = plan(Kind::Ours(2)).arg("repl-flows", &[setting]);
        let replica = replica_of(replica, "127.0.0.1", master.port());
        wait_for_link(&replica);
        write_all_kinds(&master, 0);
        wait_until_equal(&master, &replica);
        assert_eq!(ringfold(&replica, "repl_flows"), "0");
        let errors = master.client().text(&["INFO", "errorstats"]);
        assert!(!errors.contains("errorstat_ERR") && !errors.contains("NOFLOW"), "{errors}");
    }
}

/// All connections break again and again: no full sync, nothing lost, and the flows are there again.
#[test]
fn broken_links_cost_a_partial_resync() {
    let master = plan(Kind::Ours(3)).start();
    let proxy = Proxy::to(&master.address());
    let replica = replica_of(plan(Kind::Ours(2)), "127.0.0.1", proxy.port);
    wait_for_link(&replica);
    let writers = Writers::gentle(&master.address(), None);
    for _ in 0..4 {
        wait_for_flows(&master, &replica, 3);
        writers.wait_for_more(300);
        proxy.cut();
        writers.wait_for_more(100);
        proxy.mend();
        wait_for_link(&replica);
    }
    let ledgers = writers.stop();
    wait_until_equal(&master, &replica);
    equal_offsets(&master, &replica);
    assert_eq!(lost(&mut replica.client(), &ledgers), 0);
    assert_eq!(count(&master, "sync_full"), 1);
    assert!(count(&master, "sync_partial_ok") >= 4);
}

/// One flow stands still and then goes on, and single ones break: the link itself stays.
#[test]
fn a_flow_that_is_lost_alone_comes_back() {
    static STANDS: AtomicBool = AtomicBool::new(false);
    let master = plan(Kind::Ours(2)).start();
    // Whatever is sent while it stands waits.
    let proxy = Proxy::tampering(&master.address(), |_, _| {
        while STANDS.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(1));
        }
    });
    let replica = replica_of(plan(Kind::Ours(2)), "127.0.0.1", proxy.port);
    wait_for_link(&replica);
    wait_for_flows(&master, &replica, 2);
    let writers = Writers::gentle(&master.address(), None);
    for _ in 0..3 {
        writers.wait_for_more(200);
        STANDS.store(true, Ordering::SeqCst);
        writers.wait_for_more(50);
        STANDS.store(false, Ordering::SeqCst);
        // On the master, replicas' connections other than those that acknowledge are flows: the newest is one.
        let list = master.client().text(&["CLIENT", "LIST", "TYPE", "replica"]);
        let newest = list.lines().filter_map(|line| line.strip_prefix("id=")?.split(' ').next());
        let newest = newest.filter_map(|it| it.parse::<u64>().ok()).max();
        let id = newest.expect("a replica has connections").to_string();
        master.client().call(&["CLIENT", "KILL", "ID", &id]);
        writers.wait_for_more(100);
        wait_for_flows(&master, &replica, 2);
    }
    let ledgers = writers.stop();
    wait_until_equal(&master, &replica);
    equal_offsets(&master, &replica);
    assert_eq!(lost(&mut replica.client(), &ledgers), 0);
    assert_eq!((count(&master, "sync_full"), count(&master, "sync_partial_ok")), (1, 0));
}

/// The master dies under load; its replica has all that was acknowledged, takes over, and the old master follows it by
/// flows.
#[test]
fn a_master_that_is_killed_loses_nothing() {
    let mut master = plan(Kind::Ours(2)).start();
    let replica = replica_of(plan(Kind::Ours(3)), "127.0.0.1", master.port());
    wait_for_link(&replica);
    wait_for_flows(&master, &replica, 2);
    let writers = Writers::start(&master.address(), None, 4, 16);
    writers.wait_for_more(2_000);
    master.kill();
    let ledgers = writers.stop();
    // All that came is read before it says that the link is gone.
    wait_until("it notices", || replica.info("master_link_status").as_deref() == Some("down"));
    replica.client().expect(&["REPLICAOF", "NO", "ONE"], "+OK\r\n");
    assert_eq!(lost(&mut replica.client(), &ledgers), 0);
    master.restart();
    let port = replica.port().to_string();
    master.client().expect(&["REPLICAOF", "127.0.0.1", &port], "+OK\r\n");
    wait_for_link(&master);
    wait_for_flows(&replica, &master, 3);
    write_all_kinds(&replica, 9);
    wait_until_equal(&replica, &master);
}
