//! More clients than the server may have open files, and more than it lets in.

use crate::support::client::Client;
use crate::support::server::{Kind, Plan, Server};
use crate::support::wait_until;
use crate::{count, plan};

const OPEN_FILES: u32 = 300;
const CLIENTS: usize = 2_000;

fn crowded(cores: u16) -> Plan {
    plan(Kind::Ours(cores)).open_files(OPEN_FILES)
}

fn connect(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::connect(&server.address()).unwrap()).collect()
}

/// Each asks for something of its own before the first reads an answer.
fn all_are_served(clients: &mut [Client], round: usize) {
    for (number, client) in clients.iter_mut().enumerate() {
        let request = format!("SET key:{number} {round}\r\nGET key:{number}\r\n");
        client.send(request.as_bytes()).unwrap();
    }
    for client in clients {
        assert_eq!(client.reply().unwrap(), b"+OK\r\n");
        let value = format!("${}\r\n{round}\r\n", round.to_string().len());
        assert_eq!(client.reply().unwrap(), value.as_bytes());
    }
}

#[test]
fn clients_are_not_bounded_by_open_files() {
    for cores in [1, 2] {
        let server = crowded(cores).start();
        assert!(server.log().contains("the others are parked in tables of rings"));
        let mut clients = connect(&server, CLIENTS);
        for round in 0..5 {
            all_are_served(&mut clients, round);
        }
        let descriptors = count(&server, "socket_descriptors_max");
        assert!(descriptors < u64::from(OPEN_FILES));
        wait_until("nearly all are parked", || {
            count(&server, "sockets_parked") + descriptors > CLIENTS as u64
        });
        assert_eq!(count(&server, "connected_clients"), CLIENTS as u64 + 1);
        assert!(count(&server, "sockets_with_descriptor") <= descriptors);
        assert!(count(&server, "socket_tables") >= CLIENTS as u64 / u64::from(OPEN_FILES));
        // The same few over and over: they are promoted, and the others still get their turn.
        for round in 0..30 {
            all_are_served(&mut clients[..40], round);
        }
        all_are_served(&mut clients, 7);
        // A replica's full sync goes on beside them, and so does what comes after it.
        let replica = crate::replica_of(plan(Kind::Redis), "127.0.0.1", server.port());
        crate::wait_for_link(&replica);
        all_are_served(&mut clients, 8);
        crate::support::server::wait_until_equal(&server, &replica);
        // All leave at once, and as many others come.
        drop(clients);
        let mut others = connect(&server, CLIENTS);
        all_are_served(&mut others, 9);
        drop(others);
        wait_until("all are gone", || count(&server, "connected_clients") <= 2);
        wait_until("nobody is parked", || count(&server, "sockets_parked") <= 2);
    }
}

/// Redis' answer, and room again as soon as somebody leaves.
#[test]
fn one_too_many_is_told_so() {
    for kind in [Kind::Ours(1), Kind::Ours(2), Kind::Redis] {
        let server = plan(kind).arg("maxclients", &["50"]).start();
        let mut clients = connect(&server, 50);
        clients.iter_mut().for_each(|it| it.expect(&["PING"], "+PONG\r\n"));
        let refused = |server: &Server| {
            let mut late = Client::connect(&server.address()).unwrap();
            late.until_closed().unwrap()
        };
        assert_eq!(refused(&server), b"-ERR max number of clients reached\r\n");
        let asks = clients.first_mut().unwrap();
        assert_eq!(asks.info("rejected_connections").as_deref(), Some("1"));
        clients.truncate(30);
        wait_until("there is room again", || {
            let again =
                Client::connect(&server.address()).and_then(|mut it| it.try_call(&["PING"]));
            again.is_ok_and(|it| it == b"+PONG\r\n")
        });
    }
}
