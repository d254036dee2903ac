//! Masters and replicas in peace: first copy, stream, passwords, roles, partial resync.

use crate::support::proxy::Proxy;
use crate::support::server::{Kind, Server, wait_until_equal};
use crate::support::writers::{Writers, lost};
use crate::support::{number_from_env, wait_until};
use crate::{MATRIX, count, fill, plan, replica_of, wait_for_link};

/// A replica copies what is there and follows what comes, from the first byte on.
#[test]
fn a_copy_and_a_stream() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        fill(&master, 500);
        let writers = Writers::gentle(&master.address(), None);
        writers.wait_for_more(100);
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        writers.wait_for_more(2_000);
        let ledgers = writers.stop();
        wait_until_equal(&master, &replica);
        assert_eq!(lost(&mut replica.client(), &ledgers), 0);
        assert_eq!(count(&master, "connected_slaves"), 1);
        assert_eq!(replica.info("role").as_deref(), Some("slave"));
        // Equal offsets, once the replica has acknowledged all.
        wait_until("the offsets are equal", || {
            master.info("master_repl_offset") == replica.info("slave_repl_offset")
        });
    }
}

/// The effects that are not the commands themselves: expiry, float sums, relative times.
#[test]
fn effects_arrive_as_effects() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let mut client = master.client();
        for n in 0..50 {
            client.call(&["SET", &format!("gone{n}"), "x", "PX", "20"]);
            client.call(&["SET", &format!("later{n}"), "x", "EX", "5000"]);
            client.call(&["INCRBYFLOAT", "sum", "0.1"]);
            client.call(&["GETEX", &format!("later{n}"), "PERSIST"]);
            client.call(&["GETDEL", &format!("later{}", n / 2)]);
            client.call(&["COPY", "sum", "copy", "DB", "3", "REPLACE"]);
            client.call(&["MSETNX", &format!("a{n}"), "1", &format!("b{n}"), "2"]);
            client.call(&["RENAME", &format!("a{n}"), &format!("c{n}")]);
            client.call(&["MOVE", &format!("b{n}"), "7"]);
        }
        client.call(&["SWAPDB", "3", "4"]);
        // The keys that expired go from the replica too, by the master's word.
        wait_until("the master has let go", || client.call(&["EXISTS", "gone49"]) == b":0\r\n");
        wait_until_equal(&master, &replica);
        wait_until("the replica has let go", || {
            master.client().call(&["DBSIZE"]) == replica.client().call(&["DBSIZE"])
        });
    }
}

#[test]
fn a_replica_refuses_writes_until_told_otherwise() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let mut client = replica.client();
        let refusal = "-READONLY You can't write against a read only replica.\r\n";
        for args in
            [&["SET", "k", "v"] as &[&str], &["DEL", "k"], &["FLUSHALL"], &["EXPIRE", "k", "1"]]
        {
            client.expect(args, refusal);
        }
        client.expect(&["GET", "k"], "$-1\r\n");
        client.expect(&["CONFIG", "SET", "replica-read-only", "no"], "+OK\r\n");
        client.expect(&["SET", "k", "v"], "+OK\r\n");
    }
}

#[test]
fn passwords_between_servers() {
    for (master, replica) in MATRIX {
        let master = plan(*master).password("swordfish").start();
        fill(&master, 20);
        // First with a wrong one: the link stays down, and both sides stay well.
        let replica = plan(*replica)
            .password("swordfish")
            .arg("masterauth", &["wrong"])
            .arg("replicaof", &["127.0.0.1", &master.port().to_string()])
            .start();
        wait_until("the master has refused it", || {
            master
                .info("total_connections_received")
                .is_some_and(|it| it.parse::<u64>().unwrap() > 2)
                && replica.info("master_link_status").as_deref() == Some("down")
        });
        replica.client().expect(&["CONFIG", "SET", "masterauth", "swordfish"], "+OK\r\n");
        wait_for_link(&replica);
        wait_until_equal(&master, &replica);
    }
}

/// Without its master a replica serves what it has, or, when told so, says that it has none.
#[test]
fn a_replica_without_its_master() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let mut master = plan(kind).start();
        master.client().expect(&["SET", "k", "v"], "+OK\r\n");
        let replica = replica_of(plan(kind), "127.0.0.1", master.port());
        wait_for_link(&replica);
        wait_until("it has the key", || replica.client().call(&["GET", "k"]) == b"$1\r\nv\r\n");
        master.kill();
        wait_until("it notices", || replica.info("master_link_status").as_deref() == Some("down"));
        let mut client = replica.client();
        client.expect(&["GET", "k"], "$1\r\nv\r\n");
        client.expect(&["CONFIG", "SET", "replica-serve-stale-data", "no"], "+OK\r\n");
        let down =
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n";
        client.expect(&["GET", "k"], down);
        client.expect(&["SELECT", "1"], "+OK\r\n");
        client.call(&["REPLICAOF", "NO", "ONE"]);
        client.expect(&["SELECT", "0"], "+OK\r\n");
        client.expect(&["GET", "k"], "$1\r\nv\r\n");
        client.expect(&["SET", "k", "w"], "+OK\r\n");
    }
}

/// A link that was cut, by whichever side, goes on where it stopped.
#[test]
fn a_cut_link_is_resumed() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        fill(&master, 200);
        let proxy = Proxy::to(&master.address());
        let replica = replica_of(plan(*replica), "127.0.0.1", proxy.port);
        wait_for_link(&replica);
        assert_eq!(count(&master, "sync_full"), 1);
        let writers = Writers::gentle(&master.address(), None);
        let mut resumed = count(&master, "sync_partial_ok");
        for round in 0..4 {
            if round % 2 == 0 {
                master.client().expect(&["CLIENT", "KILL", "TYPE", "replica"], ":1\r\n");
            } else {
                proxy.cut();
                writers.wait_for_more(500);
                proxy.mend();
            }
            wait_until("the link is resumed", || count(&master, "sync_partial_ok") > resumed);
            resumed = count(&master, "sync_partial_ok");
            writers.wait_for_more(500);
        }
        let ledgers = writers.stop();
        wait_until_equal(&master, &replica);
        assert_eq!(lost(&mut replica.client(), &ledgers), 0);
        assert_eq!(count(&master, "sync_full"), 1, "no second copy");
    }
}

/// A replica that becomes the master keeps the history, so that its former sibling and its former
/// master follow it without another copy.
#[test]
fn a_change_of_roles_needs_no_new_copy() {
    for (master, replica) in MATRIX {
        let first = plan(*master).start();
        fill(&first, 200);
        let second = replica_of(plan(*replica), "127.0.0.1", first.port());
        let third = replica_of(plan(*master), "127.0.0.1", first.port());
        for it in [&second, &third] {
            wait_for_link(it);
        }
        first.client().expect(&["SET", "before", "x"], "+OK\r\n");
        wait_until_equal(&first, &second);
        wait_until_equal(&first, &third);
        second.client().expect(&["REPLICAOF", "NO", "ONE"], "+OK\r\n");
        let follow = |it: &Server| {
            let port = second.port().to_string();
            it.client().expect(&["REPLICAOF", "127.0.0.1", &port], "+OK\r\n");
        };
        follow(&third);
        wait_for_link(&third);
        second.client().expect(&["SET", "after", "x"], "+OK\r\n");
        wait_until_equal(&second, &third);
        assert_eq!(count(&second, "sync_full"), 0, "the third was served from the history");
        assert_eq!(count(&second, "sync_partial_ok"), 1);
        assert_eq!(second.info("master_replid2"), first.info("master_replid"));
        // The former master has nothing that the others lack.
        follow(&first);
        wait_for_link(&first);
        wait_until_equal(&second, &first);
    }
}

/// WAIT counts the replicas that have a write, and is not answered early.
#[test]
fn wait_counts_acknowledgements() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let mut client = master.client();
        client.expect(&["SET", "k", "v"], "+OK\r\n");
        client.expect(&["WAIT", "1", "20000"], ":1\r\n");
        replica.client().expect(&["GET", "k"], "$1\r\nv\r\n");
        client.expect(&["SET", "k", "w"], "+OK\r\n");
        client.expect(&["WAIT", "2", "50"], ":1\r\n");
        drop(replica);
        wait_until("it is gone", || count(&master, "connected_slaves") == 0);
        client.expect(&["SET", "k", "x"], "+OK\r\n");
        client.expect(&["WAIT", "1", "20"], ":0\r\n");
    }
}

/// A replica of a replica has what the first master has.
#[test]
fn a_chain_of_replicas() {
    for (master, replica) in MATRIX {
        let first = plan(*master).start();
        fill(&first, 100);
        let second = replica_of(plan(*replica), "127.0.0.1", first.port());
        wait_for_link(&second);
        let third = replica_of(plan(*master), "127.0.0.1", second.port());
        wait_for_link(&third);
        first.client().expect(&["SET", "down", "the chain"], "+OK\r\n");
        wait_until("it arrives", || third.client().call(&["EXISTS", "down"]) == b":1\r\n");
        wait_until_equal(&first, &third);
    }
}

/// A master that ends in peace and returns goes on with its history: its replicas need no copy.
#[test]
fn a_master_that_returns_goes_on_with_its_history() {
    for (master, replica) in MATRIX {
        let mut first = plan(*master).start();
        fill(&first, 200);
        let second = replica_of(plan(*replica), "127.0.0.1", first.port());
        let third = replica_of(plan(*replica), "127.0.0.1", second.port());
        for it in [&second, &third] {
            wait_for_link(it);
        }
        first.client().expect(&["SET", "before", "x"], "+OK\r\n");
        wait_until_equal(&first, &third);
        let fulls = count(&second, "sync_full");
        let _ = first.client().try_call(&["SHUTDOWN", "SAVE"]);
        first.wait_for_exit();
        first.restart();
        wait_for_link(&second);
        wait_for_link(&third);
        first.client().expect(&["SET", "after", "x"], "+OK\r\n");
        wait_until_equal(&first, &second);
        wait_until_equal(&first, &third);
        assert_eq!(count(&first, "sync_full"), 0, "{}", first.log());
        assert_eq!(count(&first, "sync_partial_ok"), 1);
        assert_eq!(count(&second, "sync_full"), fulls, "the chain goes on too");
    }
}

/// A replica that ends in peace and returns asks for what it missed.
#[test]
fn a_replica_that_returns_goes_on_where_it_was() {
    for (master, replica) in MATRIX {
        let first = plan(*master).start();
        fill(&first, 200);
        let mut second = replica_of(plan(*replica), "127.0.0.1", first.port());
        wait_for_link(&second);
        first.client().expect(&["SET", "before", "x"], "+OK\r\n");
        wait_until_equal(&first, &second);
        let _ = second.client().try_call(&["SHUTDOWN", "SAVE"]);
        second.wait_for_exit();
        first.client().expect(&["SET", "meanwhile", "x"], "+OK\r\n");
        second.restart();
        wait_for_link(&second);
        wait_until_equal(&first, &second);
        assert_eq!(count(&first, "sync_full"), 1, "{}", second.log());
    }
}

/// A master that lost its file does not empty its replicas, until it is told that it is to be empty.
#[test]
fn a_master_that_returns_empty_does_not_empty_its_replicas() {
    for replica in [Kind::Ours(2), Kind::Redis] {
        let mut first = plan(Kind::Ours(2)).start();
        fill(&first, 50);
        let second = replica_of(plan(replica), "127.0.0.1", first.port());
        wait_for_link(&second);
        first.client().expect(&["SET", "streamed", "x"], "+OK\r\n");
        wait_until_equal(&first, &second);
        let had = second.client().call(&["DBSIZE"]);
        first.kill();
        first.restart();
        wait_until("it was asked", || first.log().contains("started without"));
        first.client().expect(&["SET", "new", "x"], "+OK\r\n");
        let asked = count(&first, "total_connections_received");
        wait_until("it is asked again", || count(&first, "total_connections_received") > asked + 3);
        assert_eq!(second.client().call(&["DBSIZE"]), had);
        assert_eq!(second.info("master_link_status").as_deref(), Some("down"));
        first.client().expect(&["REPLICAOF", "NO", "ONE"], "+OK\r\n");
        wait_for_link(&second);
        wait_until_equal(&first, &second);
    }
}

/// A link that is cut again and again under load costs no copy: the bytes exist. `RINGFOLD_FLAPS` makes it longer.
#[test]
fn a_flapping_link_costs_no_full_sync() {
    let flaps = number_from_env("RINGFOLD_FLAPS").unwrap_or(15);
    for (master, replica) in [(Kind::Ours(2), Kind::Ours(3)), (Kind::Ours(3), Kind::Redis)] {
        let master = plan(master).start();
        let link = Proxy::to(&master.address());
        let replica = replica_of(plan(replica), "127.0.0.1", link.port);
        wait_for_link(&replica);
        for flap in 1..=flaps {
            let writers = Writers::gentle(&master.address(), None);
            writers.wait_for_more(100);
            link.cut();
            writers.wait_for_more(50);
            link.mend();
            wait_until("it goes on", || count(&master, "sync_partial_ok") >= flap);
            writers.stop();
            wait_until_equal(&master, &replica);
        }
        assert_eq!(count(&master, "sync_full"), 1);
        // What was sent and acknowledged was measured, and is told.
        for stage in ["sent", "acknowledged"] {
            let field = format!("slave0_lag_us_{stage}:");
            wait_until("there is a lag", || {
                master.client().expect(&["SET", "measured", stage], "+OK\r\n");
                let info = master.client().text(&["INFO", "ringfold"]);
                let line = info.lines().find_map(|it| it.strip_prefix(&field));
                line.is_some_and(|it| it.contains("count=") && !it.contains("count=0,"))
            });
        }
    }
}
