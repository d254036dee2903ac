//! CONFIG SET of `bind` and `port` on servers that run, of both makes: who is in stays, and a port that is taken
//! leaves all as it was.

use crate::support::client::Client;
use crate::support::server::{Kind, Server, free_port};
use crate::support::wait_until;
use crate::{plan, replica_of, wait_for_link};
use std::net::TcpListener;

const KINDS: &[Kind] = &[Kind::Redis, Kind::Ours(1), Kind::Ours(3)];

fn answers(address: &str) -> bool {
    Client::connect(address)
        .and_then(|mut it| it.try_call(&["PING"]))
        .is_ok_and(|it| it == b"+PONG\r\n")
}

fn set(server: &Server, by: &mut Client, words: &[&str]) -> String {
    let all = [&["CONFIG", "SET"], words].concat();
    assert!(server.plan.port != 0);
    String::from_utf8(by.call(&all)).unwrap()
}

#[test]
fn a_port_changes_and_nobody_is_dropped() {
    for &kind in KINDS {
        let server = plan(kind).start();
        let mut inside = server.client();
        let replica = replica_of(plan(Kind::Ours(1)), "127.0.0.1", server.port());
        wait_for_link(&replica);
        // As many as there are ways to be let in: accepted, on each core, or waiting.
        let mut others: Vec<Client> = (0..20).map(|_| server.client()).collect();
        for _ in 0..3 {
            let port = free_port("127.0.0.1");
            let old = inside.text(&["CONFIG", "GET", "port"]);
            assert_eq!(set(&server, &mut inside, &["port", &port.to_string()]), "+OK\r\n");
            let address = format!("127.0.0.1:{port}");
            assert!(answers(&address), "{kind:?}");
            others.iter_mut().for_each(|it| it.expect(&["PING"], "+PONG\r\n"));
            let said = inside.text(&["CONFIG", "GET", "port"]);
            assert!(said.contains(&port.to_string()) && said != old, "{said}");
            inside.call(&["SET", "port", &port.to_string()]);
        }
        assert!(!answers(&server.address()), "the first port is closed");
        assert_eq!(replica.info("master_link_status").as_deref(), Some("up"));
        let ours = inside.info("tcp_port");
        wait_until("the replica is told of the last write", || {
            replica
                .ask(&["GET", "port"])
                .ends_with(format!("{}\r\n", ours.as_deref().unwrap()).as_bytes())
        });
    }
}

#[test]
fn a_port_that_is_taken_changes_nothing() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let mut answered = Vec::new();
    for &kind in KINDS {
        let server = plan(kind).start();
        let mut client = server.client();
        let mut said = Vec::new();
        for words in [
            &["port", &port][..],
            &["timeout", "100", "port", &port],
            &["bind", "10.99.99.99"],
            &["bind", "127.0.0.1 no.such.host.invalid"],
            &["port", "70000"],
        ] {
            said.push(set(&server, &mut client, words));
            assert!(answers(&server.address()), "{kind:?} {words:?}");
            client.expect(&["PING"], "+PONG\r\n");
        }
        for name in ["bind", "timeout"] {
            said.push(client.text(&["CONFIG", "GET", name]));
        }
        answered.push(said);
    }
    assert_eq!(answered[1], answered[0]);
    assert_eq!(answered[2], answered[0]);
}

#[test]
fn addresses_change_also_where_they_are_in_each_others_way() {
    for &kind in KINDS {
        let server = plan(kind).start();
        let port = server.port();
        let at = |ip: &str| answers(&format!("{ip}:{port}"));
        let mut client = server.client();
        assert!(at("127.0.0.1") && !at("127.0.0.2"));
        for (bind, first, second) in [
            ("0.0.0.0", true, true),
            ("127.0.0.2", false, true),
            ("127.0.0.1 127.0.0.2 -10.99.99.99", true, true),
            ("0.0.0.0", true, true),
            ("127.0.0.1", true, false),
        ] {
            assert_eq!(set(&server, &mut client, &["bind", bind]), "+OK\r\n", "{kind:?} {bind}");
            assert_eq!((at("127.0.0.1"), at("127.0.0.2")), (first, second), "{kind:?} {bind}");
        }
        // A port and an address that is not there, at once: neither changes.
        let other = free_port("127.0.0.1").to_string();
        let said = set(&server, &mut client, &["port", &other, "bind", "10.99.99.99"]);
        assert!(said.starts_with("-ERR CONFIG SET failed"), "{said}");
        assert!(at("127.0.0.1") && !answers(&format!("127.0.0.1:{other}")));
    }
}

#[test]
fn a_node_of_a_cluster_stays_where_it_is() {
    let server = plan(Kind::Ours(1)).arg("cluster-enabled", &["yes"]).start();
    let port = free_port("127.0.0.1").to_string();
    let said = set(&server, &mut server.client(), &["port", &port]);
    assert!(said.contains("it takes a restart"), "{said}");
}
