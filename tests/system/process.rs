//! The process as its host sees it: pid file, daemon, supervisor, signals, a disk that fails.
//!
//! Each test runs with one core and with three.

use crate::support::client::Client;
use crate::support::server::{Folder, Kind, Plan, Server};
use crate::support::{wait_for, wait_until};
use crate::{count, plan, replica_of, wait_for_link};
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

const OURS: [Kind; 2] = [Kind::Ours(1), Kind::Ours(3)];

fn signal(name: &str, pid: u32) {
    let pid = pid.to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

/// Clients on all cores: they are given out in turn.
fn clients(server: &Server) -> Vec<Client> {
    (0..6).map(|_| server.client()).collect()
}

/// A session that has to go to core 0 in the middle of a packet is answered in full, wherever it
/// began; a PSYNC that is refused leaves an ordinary client.
#[test]
fn a_session_that_moves_loses_no_reply() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let server = Server::of(kind);
        for mut client in clients(&server) {
            let packet = "PING\r\nSET k v\r\nREPLCONF listening-port 70000\r\nPING\r\nREPLCONF\r\n";
            client.send(packet.as_bytes()).unwrap();
            for expected in ["+PONG\r\n", "+OK\r\n", "+OK\r\n", "+PONG\r\n", "+OK\r\n"] {
                let got = client.reply().unwrap();
                assert_eq!(got.escape_ascii().to_string(), expected.escape_default().to_string());
            }
            let refusal = "-ERR value is not an integer or out of range\r\n";
            client.expect(&["PSYNC", "?", "x"], refusal);
            client.expect(&["GET", "k"], "$1\r\nv\r\n");
        }
    }
}

/// The pid file has the pid while the server runs, and goes with it.
#[test]
fn a_pid_file() {
    for kind in OURS {
        let folder = Folder::new();
        let path = folder.0.join("server.pid");
        let mut server = Plan::new(kind).arg("pidfile", &[path.to_str().unwrap()]).start();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", server.pid()));
        signal("-TERM", server.pid());
        assert!(server.wait_for_exit().success());
        assert!(!path.exists());
    }
}

/// A daemon leaves its parent at once, and serves until it is told to stop.
#[test]
fn a_daemon_goes_into_the_background() {
    for kind in OURS {
        let folder = Folder::new();
        let path = |name: &str| folder.0.join(name).to_str().unwrap().to_string();
        let port = crate::support::server::free_port("127.0.0.1").to_string();
        let Kind::Ours(cores) = kind else { continue };
        let status = Command::new(kind.program())
            .args(["--port", &port, "--bind", "127.0.0.1", "--save", "", "--daemonize", "yes"])
            .args(["--dir", folder.0.to_str().unwrap(), "--cores", &cores.to_string()])
            .args(["--pidfile", &path("pid"), "--logfile", &path("log")])
            .status()
            .unwrap();
        assert!(status.success());
        let address = format!("127.0.0.1:{port}");
        wait_until("the daemon answers", || {
            let client = Client::connect(&address);
            client.and_then(|mut it| it.try_call(&["PING"])).is_ok_and(|it| it == b"+PONG\r\n")
        });
        let pid: u32 = fs::read_to_string(path("pid")).unwrap().trim().parse().unwrap();
        let mut client = Client::connect(&address).unwrap();
        assert_eq!(client.info("process_id"), Some(pid.to_string()));
        signal("-TERM", pid);
        wait_until("the daemon is gone", || !std::path::Path::new(&path("pid")).exists());
        assert!(client.until_closed().unwrap().is_empty());
        assert!(fs::read_to_string(path("log")).unwrap().contains("Ready to accept connections"));
    }
}

/// systemd is told when the server serves, which is after its file is loaded, and when it ends.
#[test]
fn a_supervisor_is_told() {
    for kind in OURS {
        let folder = Folder::new();
        let path = folder.0.join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let plan = Plan::new(kind).arg("supervised", &["systemd"]);
        let plan = plan.environment("NOTIFY_SOCKET", path.to_str().unwrap());
        let mut server = plan.start();
        let mut told = String::new();
        let mut wait_for_word = |word: &str| {
            wait_until(word, || {
                let mut bytes = [0; 1024];
                if let Ok(length) = socket.recv(&mut bytes) {
                    told += &String::from_utf8_lossy(&bytes[..length]);
                }
                told.lines().any(|line| line == word)
            });
        };
        wait_for_word("READY=1");
        signal("-TERM", server.pid());
        wait_for_word("STOPPING=1");
        assert!(server.wait_for_exit().success());
    }
}

/// SIGTERM waits for replicas that lag, as long as `shutdown-timeout` says; a second one does not.
#[test]
fn whoever_asks_twice_to_end_is_not_kept_waiting() {
    for kind in OURS {
        let mut master = plan(kind).arg("shutdown-timeout", &["600"]).start();
        let replica = replica_of(plan(kind), "127.0.0.1", master.port());
        wait_for_link(&replica);
        signal("-STOP", replica.pid());
        // The stopped replica acknowledges no more.
        master.client().expect(&["SET", "k", "v"], "+OK\r\n");
        signal("-TERM", master.pid());
        wait_until("it waits", || master.log().contains("scheduling shutdown"));
        let mut client = master.client();
        client.expect(&["PING"], "+PONG\r\n");
        assert!(!master.has_exited());
        signal("-TERM", master.pid());
        assert_eq!(master.wait_for_exit().code(), Some(1));
        signal("-CONT", replica.pid());
    }
}

/// SHUTDOWN waits likewise, can be called off, and forced.
#[test]
fn a_shutdown_can_be_called_off() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let mut master = plan(kind).arg("shutdown-timeout", &["600"]).start();
        let replica = replica_of(plan(kind), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let nothing = "-ERR No shutdown in progress.\r\n";
        master.client().expect(&["SHUTDOWN", "ABORT"], nothing);
        signal("-STOP", replica.pid());
        master.client().expect(&["SET", "k", "v"], "+OK\r\n");
        let mut asks = master.client();
        asks.send(b"SHUTDOWN\r\n").unwrap();
        wait_until("it is called off", || {
            master.client().call(&["SHUTDOWN", "ABORT"]) == b"+OK\r\n"
        });
        let failed = asks.reply().unwrap();
        assert!(failed.starts_with(b"-ERR Errors trying to SHUTDOWN"), "{}", failed.escape_ascii());
        assert!(!master.has_exited());
        let _ = asks.send(b"SHUTDOWN NOSAVE NOW\r\n");
        assert!(asks.until_closed().unwrap().is_empty());
        assert!(master.wait_for_exit().success());
        assert!(!master.path("dump.rdb").exists());
        signal("-CONT", replica.pid());
    }
}

/// A save that fails stops the writes where save points ask for files, and one that succeeds lets
/// them go on. Reads are never stopped.
#[test]
fn a_disk_that_fails_stops_writes() {
    for kind in [Kind::Ours(1), Kind::Ours(3), Kind::Redis] {
        let server = plan(kind)
            .arg("save", &["10000", "1000000"])
            .arg("enable-protected-configs", &["yes"])
            .start();
        let folder = server.path("sub");
        fs::create_dir(&folder).unwrap();
        let mut client = server.client();
        client.expect(&["SET", "k", "v"], "+OK\r\n");
        client.expect(&["CONFIG", "SET", "dir", folder.to_str().unwrap()], "+OK\r\n");
        fs::remove_dir(&folder).unwrap();
        client.expect(&["BGSAVE"], "+Background saving started\r\n");
        wait_until("it has failed", || {
            client.info("rdb_last_bgsave_status").as_deref() == Some("err")
        });
        // What was to be saved still is.
        assert_eq!(client.info("rdb_changes_since_last_save").as_deref(), Some("1"));
        for mut client in clients(&server) {
            let refusal = client.call(&["SET", "k", "w"]);
            assert!(refusal.starts_with(b"-MISCONF "), "{}", refusal.escape_ascii());
            client.expect(&["GET", "k"], "$1\r\nv\r\n");
            // So that whoever watches the server sees that it is not well.
            assert!(client.call(&["PING"]).starts_with(b"-MISCONF "));
        }
        client.expect(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "no"], "+OK\r\n");
        client.expect(&["SET", "k", "w"], "+OK\r\n");
        client.expect(&["CONFIG", "SET", "stop-writes-on-bgsave-error", "yes"], "+OK\r\n");
        assert!(client.call(&["SET", "k", "x"]).starts_with(b"-MISCONF "));
        let dir = server.folder.0.to_str().unwrap().to_string();
        client.expect(&["CONFIG", "SET", "dir", &dir], "+OK\r\n");
        wait_until("it has saved", || {
            client.call(&["BGSAVE"]);
            client.info("rdb_last_bgsave_status").as_deref() == Some("ok")
        });
        assert_eq!(client.info("rdb_changes_since_last_save").as_deref(), Some("0"));
        for mut client in clients(&server) {
            client.expect(&["SET", "k", "y"], "+OK\r\n");
        }
    }
}

/// A replica that was stopped and saved goes on from its file: no second copy.
#[test]
fn a_replica_goes_on_from_its_own_file() {
    for (master, replica) in crate::MATRIX {
        let master = plan(*master).start();
        crate::fill(&master, 100);
        let mut replica = replica_of(plan(*replica), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let writers = crate::support::writers::Writers::gentle(&master.address(), None);
        for end in ["SHUTDOWN SAVE\r\n", "SAVE\r\n"] {
            writers.wait_for_more(500);
            let resumed = count(&master, "sync_partial_ok");
            let mut client = replica.client();
            client.send(end.as_bytes()).unwrap();
            if end.starts_with("SAVE") {
                wait_for("it has saved", || client.reply().ok().filter(|it| it == b"+OK\r\n"));
                writers.wait_for_more(500);
                replica.kill();
            } else {
                assert!(replica.wait_for_exit().success());
            }
            writers.wait_for_more(500);
            replica.restart();
            wait_for_link(&replica);
            assert_eq!(count(&master, "sync_partial_ok"), resumed + 1, "{end}");
        }
        let ledgers = writers.stop();
        crate::support::server::wait_until_equal(&master, &replica);
        assert_eq!(crate::support::writers::lost(&mut replica.client(), &ledgers), 0);
        assert_eq!(count(&master, "sync_full"), 1, "no second copy");
    }
}
