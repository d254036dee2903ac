//! One server: its configuration file, its sockets, its limits, its end.

use crate::support::client::Client;
use crate::support::server::{Folder, Kind, Plan, Server, under_test};
use crate::support::wait_until;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

/// The configuration file that the distribution ships is understood as it is.
#[test]
fn a_stock_configuration_file() {
    let stock = Path::new("/etc/redis/redis.conf");
    let text = fs::read_to_string(stock).expect("the package redis-server brings its file");
    let folder = Folder::new();
    // What belongs to the host and its service is not for a test: paths and the daemon.
    let not_ours = ["pidfile", "logfile", "dir ", "daemonize", "unixsocket"];
    let lines = text.lines().filter(|line| !not_ours.iter().any(|it| line.starts_with(it)));
    let file = folder.0.join("redis.conf");
    fs::write(&file, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let server = Plan::new(Kind::Ours(1)).config(&file).start();
    let mut client = server.client();
    client.expect(&["SET", "k", "v"], "+OK\r\n");
    assert_eq!(
        client.call(&["CONFIG", "GET", "tcp-keepalive"]),
        b"*2\r\n$13\r\ntcp-keepalive\r\n$3\r\n300\r\n"
    );
}

/// A wrong file is refused with its line and the reason; no server is left half started.
#[test]
fn a_wrong_configuration_is_refused() {
    let table = ["port 70000", "maxmemory lots", "no-such-directive yes", "save 1", "port \"1"];
    for line in table {
        let folder = Folder::new();
        let file = folder.0.join("redis.conf");
        fs::write(&file, format!("timeout 0\n{line}\n")).unwrap();
        let output = std::process::Command::new(under_test()).arg(&file).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(!output.status.success(), "{line:?} is accepted: {said}");
        assert!(said.contains(line) && said.contains('2'), "{line:?} is not named: {said}");
    }
}

#[test]
fn a_unix_socket_with_its_permissions() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let folder = Folder::new();
        let path = folder.0.join("socket");
        let server = Plan::new(kind)
            .arg("unixsocket", &[path.to_str().unwrap()])
            .arg("unixsocketperm", &["700"])
            .start();
        let mut client = Client::connect_unix(&path).unwrap();
        client.expect(&["SET", "k", "v"], "+OK\r\n");
        server.client().expect(&["GET", "k"], "$1\r\nv\r\n");
        assert!(client.text(&["CLIENT", "INFO"]).contains("flags=U"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn one_client_too_many_is_told_so() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let server = Plan::new(kind).arg("maxclients", &["10"]).start();
        // The connection that asked whether the server is up may still be counted.
        wait_until("the first client is gone", || {
            server.client().info("connected_clients").as_deref() == Some("1")
        });
        let mut clients: Vec<Client> = Vec::new();
        wait_until("ten are in", || {
            let mut client = server.client();
            if client.try_call(&["PING"]).is_ok_and(|it| it == b"+PONG\r\n") {
                clients.push(client);
            }
            clients.len() == 10
        });
        let mut refused = Client::connect(&server.address()).unwrap();
        assert_eq!(refused.until_closed().unwrap(), b"-ERR max number of clients reached\r\n");
        drop(clients.pop());
        wait_until("a place is free again", || {
            server.client().try_call(&["PING"]).is_ok_and(|it| it == b"+PONG\r\n")
        });
    }
}

#[test]
fn an_idle_client_is_closed_after_its_timeout() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let server = Plan::new(kind).arg("timeout", &["1"]).start();
        let (mut idle, mut busy) = (server.client(), server.client());
        idle.set_patience(Duration::from_millis(100));
        wait_until("the idle one is closed", || {
            busy.expect(&["PING"], "+PONG\r\n");
            idle.until_closed().is_ok()
        });
        busy.expect(&["PING"], "+PONG\r\n");
    }
}

/// Without a password and without a bind, only this host is served.
#[test]
fn protected_mode_refuses_strangers() {
    let Some(stranger) = own_address() else {
        return; // A host with loopback alone has no strangers.
    };
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let server = Plan::new(kind).arg("bind", &["*"]).start();
        server.client().expect(&["PING"], "+PONG\r\n");
        let mut client = Client::connect(&format!("{stranger}:{}", server.port())).unwrap();
        let said = client.until_closed().unwrap();
        assert!(said.starts_with(b"-DENIED "), "{}", said.escape_ascii());
        let open = Plan::new(kind).arg("bind", &["*"]).arg("protected-mode", &["no"]).start();
        let mut client = Client::connect(&format!("{stranger}:{}", open.port())).unwrap();
        client.expect(&["PING"], "+PONG\r\n");
    }
}

#[test]
fn a_password_is_asked_for() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let server = Plan::new(kind).password("swordfish").start();
        let mut client = Client::connect(&server.address()).unwrap();
        client.expect(&["GET", "k"], "-NOAUTH Authentication required.\r\n");
        let wrong = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
        client.expect(&["AUTH", "sword"], wrong);
        client.expect(&["AUTH", "nobody", "swordfish"], wrong);
        client.expect(&["GET", "k"], "-NOAUTH Authentication required.\r\n");
        client.expect(&["AUTH", "default", "swordfish"], "+OK\r\n");
        // Strangers are told NOAUTH also while it is coming up.
        wait_until("it has loaded", || !client.call(&["GET", "k"]).starts_with(b"-LOADING"));
        client.expect(&["GET", "k"], "$-1\r\n");
    }
}

/// A file with comments, twice the same setting, old names, and what no server knows.
const BEFORE: &str = include_str!("../golden/rewrite-before.conf");

/// What a real server makes of its file, ours makes of it: to the byte where the file had lines, and the
/// same lines below the header. What only one of the two has is left out.
#[test]
fn a_file_is_rewritten_as_redis_does_it() {
    let rewritten = |kind: Kind, follows: bool| {
        let folder = Folder::new();
        let file = folder.0.join("redis.conf");
        let known =
            |line: &&str| !["UNKNOWN", "tcp-keepalive", "user"].iter().any(|it| line.contains(it));
        let lines: Vec<&str> = BEFORE.lines().filter(known).collect();
        fs::write(&file, lines.join("\n")).unwrap();
        let server = Plan::new(kind).config(&file).start();
        fs::write(&file, BEFORE.replace("user alice", "# user alice")).unwrap();
        let mut client = server.client();
        let limits = "normal 1mb 1mb 5 replica 1kb 0 0";
        let set = ["maxmemory", "3mb", "save", "5 6 7 8", "client-output-buffer-limit", limits];
        client.expect(&[&["CONFIG", "SET"][..], &set].concat(), "+OK\r\n");
        client.expect(
            &["CONFIG", "SET", "masterauth", "a\"b\\ \t\u{e9}", "maxclients", "99"],
            "+OK\r\n",
        );
        if follows {
            client.expect(&["REPLICAOF", "127.0.0.1", "9"], "+OK\r\n");
        }
        client.expect(&["CONFIG", "REWRITE"], "+OK\r\n");
        let text = fs::read_to_string(&file).unwrap();
        drop(client);
        // It starts from it as from any other, and has them all.
        let again = Plan::new(kind).config(&file).start();
        let got = again.client().text(&["CONFIG", "GET", "client-output-buffer-limit"]);
        assert!(got.contains("1048576 1048576 5 slave 1024 0 0"), "{got}");
        let got = again.client().text(&["CONFIG", "GET", "replicaof"]);
        assert_eq!(got.contains("127.0.0.1 9"), follows, "{got}");
        text
    };
    for follows in [false, true] {
        let redis = rewritten(Kind::Redis, follows);
        for cores in [1, 3] {
            let ours = rewritten(Kind::Ours(cores), follows);
            let header = "# Generated by CONFIG REWRITE\n";
            let ((redis, theirs), (ours, own)) =
                (redis.split_once(header).unwrap(), ours.split_once(header).unwrap());
            let not_ours = [
                "pidfile",
                "latency-tracking",
                "user",
                "port",
                "bind",
                "dir",
                "cores",
                "sentinel-file",
                "admin-",
            ];
            let sorted = |text: &str| {
                let shared = |line: &&str| !not_ours.iter().any(|it| line.starts_with(it));
                let mut lines: Vec<String> =
                    text.lines().filter(shared).map(str::to_string).collect();
                lines.sort_unstable();
                lines
            };
            let own_port = |text: &str| {
                text.lines().filter(|it| !it.starts_with("port")).collect::<Vec<_>>().join("\n")
            };
            assert_eq!(own_port(ours), own_port(redis));
            assert_eq!(sorted(own), sorted(theirs));
        }
    }
}

/// A server that dies in the middle of a rewrite, at whichever byte, leaves the file as it was; what it
/// leaves beside it is in nobody's way.
#[test]
fn a_rewrite_survives_a_crash_at_any_byte() {
    let folder = Folder::new();
    let file = folder.0.join("redis.conf");
    let padding = "# a long comment that makes the file longer than any log of this test\n";
    let before = format!("timeout 7\n{}", padding.repeat(800));
    fs::write(&file, &before).unwrap();
    let length = before.len() as u64;
    for limit in [20_000, 20_001, length - 1, length, length + 1] {
        let mut server = Plan::new(Kind::Ours(1)).config(&file).start();
        let mut client = server.client();
        client.expect(&["CONFIG", "SET", "timeout", "70", "maxmemory", "1gb"], "+OK\r\n");
        let (size, pid) = (format!("--fsize={limit}"), server.pid().to_string());
        let limited = std::process::Command::new("prlimit").args(["--pid", &pid, &size]).status();
        assert!(limited.unwrap().success());
        // The kernel ends it with SIGXFSZ at that byte.
        client.send(b"CONFIG REWRITE\r\n").unwrap();
        assert!(!server.wait_for_exit().success(), "{limit}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{limit}");
    }
    let server = Plan::new(Kind::Ours(1)).config(&file).start();
    server.client().expect(&["CONFIG", "SET", "timeout", "70"], "+OK\r\n");
    server.client().expect(&["CONFIG", "REWRITE"], "+OK\r\n");
    assert!(fs::read_to_string(&file).unwrap().starts_with("timeout 70\n# a long"));
    let none = Server::of(Kind::Ours(1));
    let refusal = "-ERR The server is running without a config file\r\n";
    none.client().expect(&["CONFIG", "REWRITE"], refusal);
    fs::remove_file(&file).unwrap();
    fs::remove_dir_all(&folder.0).unwrap();
    let refusal = "-ERR Rewriting config file: No such file or directory\r\n";
    server.client().expect(&["CONFIG", "REWRITE"], refusal);
}

/// SHUTDOWN and SIGTERM end the process with success, saving where there is something to save.
#[test]
fn a_clean_end() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let mut server = Server::of(kind);
        let mut client = server.client();
        client.expect(&["SET", "k", "v"], "+OK\r\n");
        let _ = client.send(b"SHUTDOWN SAVE\r\n");
        assert_eq!(client.until_closed().unwrap(), b"");
        assert!(server.wait_for_exit().success());
        assert!(server.path("dump.rdb").exists());
        server.restart();
        server.client().expect(&["GET", "k"], "$1\r\nv\r\n");
        server.client().expect(&["SET", "k", "w"], "+OK\r\n");
        let pid = server.pid().to_string();
        assert!(
            std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success()
        );
        assert!(server.wait_for_exit().success());
        server.restart();
        // No `save` point, so the second write was not asked to be kept.
        server.client().expect(&["GET", "k"], "$1\r\nv\r\n");
    }
}

/// An address of this host that is not loopback.
fn own_address() -> Option<String> {
    // Nothing is sent: connecting a datagram socket only chooses the source address.
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback()).then(|| ip.to_string())
}
