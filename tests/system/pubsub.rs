//! Messages to clients of all cores and across the link, and bitmaps and sketches, whose effects are easy
//! to get wrong there.

use crate::support::client::{Client, request};
use crate::support::server::{Kind, Server, wait_until_equal};
use crate::support::wait_until;
use crate::{MATRIX, plan, replica_of, wait_for_link};

const MESSAGES: usize = 300;

/// Who listens, on whichever core, hears each publisher in its order, at the master and at the replica.
#[test]
fn messages_cross_the_link_in_one_order_per_publisher() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let mut listeners: Vec<Client> = [&master, &replica]
            .into_iter()
            .flat_map(|server| (0..4).map(|n| listener(server, n % 2 == 0)))
            .collect();
        let mut publishers: Vec<Client> = (0..3).map(|_| master.client()).collect();
        for (who, publisher) in publishers.iter_mut().enumerate() {
            let mut bytes = Vec::new();
            for n in 0..MESSAGES {
                let text = format!("{who} {n}");
                bytes.extend(request(&[b"PUBLISH", b"news", text.as_bytes()]));
            }
            publisher.send(&bytes).unwrap();
        }
        for publisher in &mut publishers {
            for _ in 0..MESSAGES {
                assert_eq!(publisher.reply().unwrap(), b":4\r\n", "four listen here");
            }
        }
        for client in &mut listeners {
            let mut next = [0; 3];
            while next != [MESSAGES; 3] {
                let message = String::from_utf8(client.reply().unwrap()).unwrap();
                let (_, text) = message.trim_end().rsplit_once("\r\n").unwrap();
                let (who, n) = text.split_once(' ').unwrap();
                let who: usize = who.parse().unwrap();
                assert_eq!(n.parse(), Ok(next[who]), "of publisher {who}");
                next[who] += 1;
            }
        }
        // The stream goes on behind the messages.
        publishers[0].expect(&["SET", "k", "v"], "+OK\r\n");
        wait_until_equal(&master, &replica);
    }
}

fn listener(server: &Server, of_pattern: bool) -> Client {
    let mut client = server.client();
    if of_pattern {
        client.expect(&["PSUBSCRIBE", "n?ws"], "*3\r\n$10\r\npsubscribe\r\n$4\r\nn?ws\r\n:1\r\n");
    } else {
        client.expect(&["SUBSCRIBE", "news"], "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n");
    }
    client
}

/// A listener that does not read is closed when too much waits for it; one that reads is not.
#[test]
fn a_slow_listener_is_let_go() {
    for kind in [Kind::Ours(1), Kind::Ours(2), Kind::Redis] {
        let server = plan(kind).arg("client-output-buffer-limit", &["pubsub", "1mb", "0", "0"]);
        let server = server.start();
        let (slow, mut quick) = (listener(&server, false), listener(&server, false));
        let mut publisher = server.client();
        let message = "m".repeat(100_000);
        wait_until("the slow one is closed", || {
            let heard = publisher.call(&["PUBLISH", "news", &message]);
            assert!(quick.reply().unwrap().len() > message.len());
            heard == b":1\r\n"
        });
        assert_eq!(publisher.text(&["CLIENT", "LIST", "TYPE", "pubsub"]).lines().count(), 1);
        drop(slow);
    }
}

/// What is written in place, and what a read writes, are the same on both sides.
#[test]
fn bits_and_sketches_are_equal_across_the_link() {
    for (master, replica) in MATRIX {
        let master = plan(*master).start();
        let replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let mut client = master.client();
        for n in 0..200 {
            let (bit, element) = ((n * 37 % 3_000).to_string(), n.to_string());
            let key = format!("bits{}", n % 7);
            client.call(&["SETBIT", &key, &bit, if n % 5 == 0 { "0" } else { "1" }]);
            client.call(&["BITFIELD", &key, "INCRBY", "i13", &bit, "99", "SET", "u9", "#3", "77"]);
            client.call(&["BITOP", "XOR", "{bits}x", &key, "bits0"]);
            client.call(&["PFADD", &format!("sketch{}", n % 3), &element, &key]);
            client.call(&["PFCOUNT", &format!("sketch{}", n % 3)]);
            client.call(&["PFMERGE", "sketch", "sketch0", "sketch1"]);
        }
        client.call(&["PFCOUNT", "sketch"]);
        wait_until_equal(&master, &replica);
        let get = |server: &Server| server.client().call(&["GET", "sketch"]);
        assert_eq!(get(&master), get(&replica));
    }
}
