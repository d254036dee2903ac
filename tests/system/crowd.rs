//! More clients than the server may have open files, and more than it lets in.

use crate::support::client::Client;
use crate::support::namespace::Namespace;
use crate::support::server::{Kind, Plan, Server};
use crate::support::{wait_for, wait_until};
use crate::{count, plan};

const OPEN_FILES: u32 = 300;
const CLIENTS: usize = 2_000;

fn crowded(cores: u16) -> Plan {
    plan(Kind::Ours(cores)).open_files(OPEN_FILES)
}

fn connect(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| Client::connect(&server.address()).unwrap()).collect()
}

/// So many clients that have a place each: whoever asked before may not be gone yet, and then one is refused.
fn seated(server: &Server, count: usize) -> Vec<Client> {
    let client = || {
        let mut client = Client::connect(&server.address()).ok()?;
        client.try_call(&["PING"]).is_ok_and(|it| it == b"+PONG\r\n").then_some(client)
    };
    (0..count).map(|_| wait_for("a place", client)).collect()
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
        let mut clients = seated(&server, 50);
        let refused = |server: &Server| {
            let mut late = Client::connect(&server.address()).unwrap();
            late.until_closed().unwrap()
        };
        let before = clients[0].info("rejected_connections").unwrap().parse::<u64>().unwrap();
        assert_eq!(refused(&server), b"-ERR max number of clients reached\r\n");
        let after = clients[0].info("rejected_connections").unwrap().parse::<u64>().unwrap();
        assert_eq!(after, before + 1);
        clients.truncate(30);
        wait_until("there is room again", || {
            let again =
                Client::connect(&server.address()).and_then(|mut it| it.try_call(&["PING"]));
            again.is_ok_and(|it| it == b"+PONG\r\n")
        });
    }
}

/// Whatever the public does, who administers the server gets in, and so do its replicas.
#[test]
fn the_public_cannot_close_the_doors_of_administration() {
    for cores in [1, 2] {
        let admin = crate::support::server::free_port("127.0.0.1");
        let socket = std::env::temp_dir().join(format!("ringfold-admin-{admin}"));
        let server = crowded(cores)
            .arg("maxclients", &["20"])
            .arg("admin-port", &[&admin.to_string()])
            .arg("admin-unixsocket", &[socket.to_str().unwrap()])
            .start();
        let mut clients = seated(&server, 20);
        wait_until("it is full", || {
            let mut late = Client::connect(&server.address()).unwrap();
            late.until_closed().unwrap() == b"-ERR max number of clients reached\r\n"
        });
        all_are_served(&mut clients, 1);
        let address = format!("127.0.0.1:{admin}");
        let mut admins: Vec<_> = (0..30).map(|_| Client::connect(&address).unwrap()).collect();
        admins.push(Client::connect_unix(&socket).unwrap());
        all_are_served(&mut admins, 2);
        assert_eq!(admins[0].info("socket_admin_clients").as_deref(), Some("31"));
        let replica = crate::replica_of(plan(Kind::Redis), "127.0.0.1", admin);
        crate::wait_for_link(&replica);
        // They have their own bound, which the public does not feel.
        let more: Vec<_> = (0..100).filter_map(|_| Client::connect(&address).ok()).collect();
        all_are_served(&mut clients, 3);
        drop(more);
        drop(clients);
        wait_until("there is room again", || {
            let again =
                Client::connect(&server.address()).and_then(|mut it| it.try_call(&["PING"]));
            again.is_ok_and(|it| it == b"+PONG\r\n")
        });
    }
}

/// A client that sends a byte now and then, or takes nothing that it asked for, costs little and not for long.
#[test]
fn the_slow_are_bounded() {
    let server = plan(Kind::Ours(2))
        .password("secret")
        .arg("client-output-buffer-limit", &["normal", "4mb", "0", "0"])
        .start();
    let mut client = server.client();
    client.expect(&["SET", "large", &"v".repeat(1 << 20)], "+OK\r\n");
    let resident = |server: &Server| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
        let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap().to_string();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1_024
    };
    let before = resident(&server);
    // Those who do not say who they are: a request that never ends.
    let mut strangers = connect(&server, 2_000);
    for stranger in &mut strangers {
        stranger.send(b"*3\r\n$3\r\nSET\r\n$16000\r\n").unwrap();
    }
    // Those who are known, and never read.
    let readers: Vec<_> = (0..100)
        .map(|_| {
            let mut reader = server.client();
            reader.send(&b"GET large\r\n".repeat(50)).unwrap();
            reader
        })
        .collect();
    wait_until("who takes nothing is closed", || {
        count_of(&mut client, "client_output_buffer_limit_disconnections") >= 100
    });
    wait_until("who says nothing is closed", || count_of(&mut client, "connected_clients") <= 1);
    // Were it not so it would be 5 GB: what is left is what the allocator keeps.
    let grown = resident(&server).saturating_sub(before);
    assert!(grown < 800 << 20, "{grown} bytes more than before");
    client.expect(&["PING"], "+PONG\r\n");
    drop((strangers, readers));
}

/// A host that is gone without a word takes its clients with it: those that are idle, and those that something
/// was sent to.
#[test]
fn clients_of_a_host_that_vanished_are_closed() {
    for cores in [1, 2] {
        let Some(host) = Namespace::new() else { return };
        let server = plan(Kind::Ours(cores))
            .arg("bind", &["127.0.0.1", &host.near()])
            .arg("tcp-keepalive", &["0"])
            .arg("protected-mode", &["no"])
            .start();
        let address = format!("{}:{}", host.near(), server.port());
        let mut client = server.client();
        client.expect(&["CONFIG", "SET", "tcp-keepalive", "2"], "+OK\r\n");
        let mut idle: Vec<Client> = (0..20).map(|_| host.connect(&address).unwrap()).collect();
        let mut waiting: Vec<Client> = (0..20).map(|_| host.connect(&address).unwrap()).collect();
        for it in &mut idle {
            it.expect(&["PING"], "+PONG\r\n");
        }
        for (number, it) in waiting.iter_mut().enumerate() {
            it.expect(&["PING"], "+PONG\r\n");
            it.send(format!("BLPOP list:{number} 0\r\n").as_bytes()).unwrap();
        }
        wait_until("they wait", || count_of(&mut client, "blocked_clients") == 20);
        host.vanish();
        for number in 0..20 {
            client.expect(&["RPUSH", &format!("list:{number}"), &"v".repeat(10_000)], ":1\r\n");
        }
        wait_until("none is left", || count_of(&mut client, "connected_clients") == 1);
    }
}

fn count_of(client: &mut Client, field: &str) -> usize {
    client.info(field).unwrap().parse().unwrap()
}
