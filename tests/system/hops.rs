//! Replies that come by another core: they reach who asked, whatever the clients do meanwhile.

use crate::plan;
use crate::support::client::{Client, request};
use crate::support::server::Kind;
use crate::support::wait_until;
use std::thread;

const CLIENTS: usize = 12;
const ROUNDS: usize = 400;

/// A reply that leaves by a lent socket could meet whoever got that socket's number after its client
/// had gone. So clients come, ask, and go at once or stay, ask one thing or several, and each knows
/// what it must hear.
#[test]
fn nobody_hears_what_another_asked_for() {
    let server = plan(Kind::Ours(3)).start();
    let mut filler = server.client();
    for who in 0..CLIENTS {
        for key in 0..8 {
            filler.expect(&["SET", &format!("{who}:{key}"), &value(who, key)], "+OK\r\n");
        }
    }
    let address = server.address();
    thread::scope(|scope| {
        for who in 0..CLIENTS {
            let address = &address;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let mut client = Client::connect(address).unwrap();
                    let asks = 1 + round % 3;
                    for ask in 0..asks {
                        let key = format!("{who}:{}", (round + ask) % 8);
                        client.send(&request(&[b"GET", key.as_bytes()])).unwrap();
                        if round % 5 == 0 {
                            hear(&mut client, who, (round + ask) % 8);
                        }
                    }
                    if round % 5 == 1 {
                        client.end_of_requests();
                    }
                    if matches!(round % 5, 1 | 2) {
                        (0..asks).for_each(|ask| hear(&mut client, who, (round + ask) % 8));
                    }
                }
            });
        }
    });
    wait_until("all others are gone", || server.info("connected_clients").as_deref() == Some("2"));
}

fn value(who: usize, key: usize) -> String {
    format!("{who}-{key}-").repeat(1 + key * 40)
}

fn hear(client: &mut Client, who: usize, key: usize) {
    let value = value(who, key);
    let reply = String::from_utf8(client.reply().unwrap()).unwrap();
    assert_eq!(reply, format!("${}\r\n{value}\r\n", value.len()));
}
