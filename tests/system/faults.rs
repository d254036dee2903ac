//! Processes that are killed under load, and what they must not lose.

use crate::support::server::{Kind, wait_until_equal};
use crate::support::wait_until;
use crate::support::writers::{Writers, lost};
use crate::{MATRIX, count, fill, plan, replica_of, wait_for_link};

/// A replica is killed and comes back, again and again, while the master is written to.
#[test]
fn a_killed_replica_catches_up() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        fill(&master, 200);
        let mut replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let writers = Writers::gentle(&master.address(), None);
        for _ in 0..3 {
            writers.wait_for_more(500);
            replica.kill();
            writers.wait_for_more(500);
            replica.restart();
            wait_for_link(&replica);
        }
        writers.wait_for_more(500);
        let ledgers = writers.stop();
        wait_until_equal(&master, &replica);
        assert_eq!(lost(&mut replica.client(), &ledgers), 0);
        assert_eq!(lost(&mut master.client(), &ledgers), 0);
    }
}

/// The master is killed under load with hundreds of writes in flight. With a healthy link every
/// write that it acknowledged is on the replica: the bytes go to the replica before the reply.
///
/// A stock master replies first and loses some; so of it only little loss is asked, which proves
/// that the ledger sees one.
#[test]
fn a_killed_master_loses_nothing_that_it_acknowledged() {
    for (kind, replica) in MATRIX {
        for round in 0..3 {
            let mut master = plan(*kind).start();
            fill(&master, 50);
            let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
            wait_for_link(&replica);
            // A stock master sends nothing before the first acknowledgement of a new replica.
            master.client().expect(&["SET", "first", "x"], "+OK\r\n");
            wait_until("the stream flows", || {
                replica.client().call(&["EXISTS", "first"]) == b":1\r\n"
            });
            let writers = Writers::start(&master.address(), None, 4, 128);
            writers.wait_for_more(2_000);
            master.kill();
            let ledgers = writers.stop();
            wait_until("the replica has read all", || {
                replica.info("master_link_status").as_deref() == Some("down")
            });
            let lost = lost(&mut replica.client(), &ledgers);
            let most = if kind.is_stock() { 4_000 } else { 0 };
            assert!(lost <= most, "round {round}: {lost} acknowledged writes are lost");
            // The replica takes over and is a whole server.
            let mut client = replica.client();
            client.expect(&["REPLICAOF", "NO", "ONE"], "+OK\r\n");
            client.expect(&["SET", "new", "master"], "+OK\r\n");
        }
    }
}

/// A master that was killed comes back empty-handed or with its file, and its replica follows.
#[test]
fn a_killed_master_that_returns_is_followed_again() {
    for (kind, replica) in MATRIX {
        let mut master = plan(*kind).start();
        fill(&master, 100);
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        // The copy for the replica may still count as a save in progress.
        wait_until("it saves", || master.client().call(&["SAVE"]) == b"+OK\r\n");
        master.kill();
        wait_until("it notices", || replica.info("master_link_status").as_deref() == Some("down"));
        master.restart();
        wait_for_link(&replica);
        master.client().expect(&["SET", "again", "x"], "+OK\r\n");
        wait_until_equal(&master, &replica);
    }
}

/// A replica that stands still while the master is written to does not stop the master, and
/// catches up when it goes on.
#[test]
fn a_frozen_replica_hurts_nobody() {
    let signal = |pid: u32, name: &str| {
        let pid = pid.to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        signal(replica.pid(), "-STOP");
        let writers = Writers::start(&master.address(), None, 4, 64);
        writers.wait_for_more(20_000);
        signal(replica.pid(), "-CONT");
        writers.wait_for_more(1_000);
        let ledgers = writers.stop();
        wait_for_link(&replica);
        wait_until_equal(&master, &replica);
        assert_eq!(lost(&mut replica.client(), &ledgers), 0);
    }
}

/// While a server loads its file it says so, or answers rightly: never "no such key".
#[test]
fn a_loading_server_tells_no_lies() {
    [1, 3].into_iter().for_each(load_and_ask);
}

fn load_and_ask(cores: u16) {
    let mut server = plan(Kind::Ours(cores)).start();
    server.client().expect(&["DEBUG", "POPULATE", "300000", "key", "100"], "+OK\r\n");
    server.client().expect(&["SAVE"], "+OK\r\n");
    server.kill();
    server.restart_at_once();
    let mut answers = 0;
    wait_until("it has loaded", || {
        let client = crate::support::client::Client::connect(&server.address());
        let Ok(reply) = client.and_then(|mut it| it.try_call(&["EXISTS", "key:299999"])) else {
            return false;
        };
        answers += 1;
        let loading = reply == b"-LOADING Redis is loading the dataset in memory\r\n";
        assert!(loading || reply == b":1\r\n", "{}", reply.escape_ascii());
        !loading
    });
    assert!(answers > 0 && !server.has_exited());
    assert_eq!(server.client().call(&["DBSIZE"]), b":300000\r\n");
    assert_eq!(count(&server, "loading"), 0);
}
