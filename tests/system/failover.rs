//! FAILOVER: roles change under load, with nothing lost and nothing copied; and the ways it ends otherwise.

use crate::support::server::{Kind, Server, wait_until_equal};
use crate::support::wait_until;
use crate::support::writers::{Writers, lost};
use crate::{MATRIX, count, fill, plan, replica_of, wait_for_link};

fn state(server: &Server) -> String {
    server.info("master_failover_state").unwrap()
}

fn is_master(server: &Server) -> bool {
    server.info("role").as_deref() == Some("master")
}

#[test]
fn roles_change_under_load_and_nothing_is_lost() {
    for (master, replica) in MATRIX {
        let first = plan(*master).start();
        fill(&first, 200);
        let second = replica_of(plan(*replica), "127.0.0.1", first.port());
        wait_for_link(&second);
        let writers = Writers::gentle(&first.address(), None);
        writers.wait_for_more(500);
        let port = second.port().to_string();
        first.client().expect(&["FAILOVER", "TO", "127.0.0.1", &port], "+OK\r\n");
        wait_until("the replica is the master", || is_master(&second));
        wait_until("it is over", || state(&first) == "no-failover");
        wait_for_link(&first);
        // Each writer ends when it is told that its server takes no more.
        let ledgers = writers.stop();
        assert_eq!(lost(&mut second.client(), &ledgers), 0);
        assert_eq!(first.info("role").as_deref(), Some("slave"));
        second.client().expect(&["SET", "after", "x"], "+OK\r\n");
        wait_until_equal(&second, &first);
        assert_eq!(count(&second, "sync_full"), 0);
        assert_eq!(count(&second, "sync_partial_ok"), 1);
        // And back, to whichever has everything.
        second.client().expect(&["FAILOVER"], "+OK\r\n");
        wait_until("the first is the master again", || is_master(&first));
        wait_for_link(&second);
        first.client().expect(&["SET", "back", "x"], "+OK\r\n");
        wait_until_equal(&first, &second);
        assert_eq!(count(&first, "sync_full"), 1, "the first copy was the only one");
    }
}

/// A replica that stands still does not take over: not until the time limit, and then only by force.
#[test]
fn a_replica_that_does_not_catch_up() {
    for (master, replica) in [(Kind::Ours(2), Kind::Redis), (Kind::Ours(1), Kind::Ours(2))] {
        let first = plan(master).start();
        let second = replica_of(plan(replica), "127.0.0.1", first.port());
        wait_for_link(&second);
        wait_until("it is online", || {
            first.info("slave0").is_some_and(|it| it.contains("state=online"))
        });
        let mut client = first.client();
        stop(&second, true);
        client.expect(&["SET", "k", "v"], "+OK\r\n");
        client.expect(&["FAILOVER", "TIMEOUT", "300"], "+OK\r\n");
        client.expect(&["FAILOVER"], "-ERR FAILOVER already in progress.\r\n");
        let refusal = "-ERR REPLICAOF not allowed while failing over.\r\n";
        client.expect(&["REPLICAOF", "NO", "ONE"], refusal);
        assert_eq!(state(&first), "waiting-for-sync");
        // A write waits, and goes on when the time is over.
        first.client().expect(&["SET", "k", "w"], "+OK\r\n");
        assert_eq!(state(&first), "no-failover");
        client.expect(&["FAILOVER"], "+OK\r\n");
        client.expect(&["FAILOVER", "ABORT"], "+OK\r\n");
        client.expect(&["FAILOVER", "ABORT"], "-ERR No failover in progress.\r\n");
        client.expect(&["SET", "k", "x"], "+OK\r\n");
        assert!(is_master(&first));
        let port = second.port().to_string();
        let forced = ["FAILOVER", "TO", "127.0.0.1", &port, "FORCE", "TIMEOUT", "100"];
        client.expect(&forced, "+OK\r\n");
        wait_until("we follow it", || !is_master(&first));
        assert_eq!(state(&first), "failover-in-progress");
        stop(&second, false);
        wait_until("it takes over", || is_master(&second));
        wait_for_link(&first);
        assert_eq!(state(&first), "no-failover");
    }
}

/// What was begun can be taken back while the other side does not answer.
#[test]
fn an_abort_after_the_change_makes_a_master_again() {
    let first = plan(Kind::Ours(2)).start();
    let second = replica_of(plan(Kind::Redis), "127.0.0.1", first.port());
    wait_for_link(&second);
    wait_until("it is online", || {
        first.info("slave0").is_some_and(|it| it.contains("state=online"))
    });
    let mut client = first.client();
    stop(&second, true);
    let port = second.port().to_string();
    let forced = ["FAILOVER", "TO", "127.0.0.1", &port, "FORCE", "TIMEOUT", "50"];
    client.expect(&forced, "+OK\r\n");
    wait_until("we follow it", || !is_master(&first));
    client.expect(&["FAILOVER", "ABORT"], "+OK\r\n");
    wait_until("we are the master", || is_master(&first) && state(&first) == "no-failover");
    client.expect(&["SET", "k", "v"], "+OK\r\n");
    stop(&second, false);
    wait_for_link(&second);
    wait_until_equal(&first, &second);
}

/// SIGSTOP and SIGCONT.
fn stop(server: &Server, stops: bool) {
    let signal = if stops { "-STOP" } else { "-CONT" };
    let pid = server.pid().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
}
