//! TLS between nodes: Sentinels that watch by it, and clusters whose bus it is, ours and stock ones in mixed
//! company.

use super::tls::{Authority, tls_port};
use crate::support::client::Client;
use crate::support::server::{Folder, Kind, Plan, Server, free_port, under_test};
use crate::support::{wait_for, wait_until};
use crate::{plan, wait_for_link};
use std::fs;
use std::process::{Child, Command, Stdio};

/// A Sentinel with a port in the clear, for the test to ask, and one of TLS, for its kind.
struct Watcher {
    port: u16,
    child: Child,
    folder: Folder,
}

impl Watcher {
    fn start(authority: &Authority, stock: bool, master: &str) -> Self {
        let folder = Folder::new();
        let port = free_port("127.0.0.1");
        let tls = free_port("127.0.0.1");
        let file = folder.0.join("sentinel.conf");
        let text = format!(
            "port {port}\ntls-port {tls}\ntls-replication yes\ntls-cert-file {}\ntls-key-file {}\n\
             tls-ca-cert-file {}\nsentinel monitor m 127.0.0.1 {master} 2\n\
             sentinel down-after-milliseconds m 3000\nsentinel failover-timeout m 10000\n",
            authority.path("server.crt"),
            authority.path("server.key"),
            authority.path("ca.crt"),
        );
        fs::write(&file, text).unwrap();
        let log = fs::File::create(folder.0.join("log")).unwrap();
        let mut command = if stock {
            let mut command = Command::new("redis-server");
            command.arg(&file).arg("--sentinel");
            command
        } else {
            let mut command = Command::new(under_test());
            command.arg("sentinel").arg(&file);
            command
        };
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let child = command.spawn().unwrap();
        let watcher = Self { port, child, folder };
        wait_until("the Sentinel answers", || !watcher.ask(&["PING"]).is_empty());
        watcher
    }

    /// Nothing where it does not answer.
    fn ask(&self, args: &[&str]) -> String {
        let client = Client::connect(&format!("127.0.0.1:{}", self.port));
        let reply = client.and_then(|mut it| it.try_call(args)).unwrap_or_default();
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// A field of what it says of its master.
    fn field(&self, name: &str) -> String {
        let reply = self.ask(&["SENTINEL", "MASTER", "m"]);
        let mut words = reply.split("\r\n").filter(|it| !it.starts_with(['$', '*']));
        words.find(|it| *it == name);
        words.next().unwrap_or_default().to_string()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.0.join("log")).unwrap_or_default();
            eprintln!("-- the log of a Sentinel:\n{log}");
        }
    }
}

/// Sentinels of both makes find each other and a group's replicas by TLS alone, and replace its master.
#[test]
fn sentinels_over_tls() {
    for (stock, kind) in [
        ([false; 3], Kind::Ours(2)),
        ([true, true, false], Kind::Ours(2)),
        ([false, false, true], Kind::Redis),
    ] {
        let authority = Authority::new();
        let armed = || authority.arm(plan(kind)).arg("tls-replication", &["yes"]);
        let mut master = armed().start();
        let replicas: Vec<Server> = (0..2)
            .map(|_| {
                let replica = armed().arg("replicaof", &["127.0.0.1", &tls_port(&master)]).start();
                wait_for_link(&replica);
                replica
            })
            .collect();
        let watchers: Vec<Watcher> =
            stock.iter().map(|it| Watcher::start(&authority, *it, &tls_port(&master))).collect();
        wait_until("all know all", || {
            watchers.iter().all(|it| {
                it.field("num-slaves") == "2"
                    && it.field("num-other-sentinels") == "2"
                    && it.field("flags") == "master"
            })
        });
        master.client().expect(&["SET", "k", "v"], "+OK\r\n");
        wait_until("it is everywhere", || {
            replicas.iter().all(|it| it.client().call(&["GET", "k"]) == b"$1\r\nv\r\n")
        });
        master.kill();
        // On a busy host one failover may follow another: what counts is where it ends.
        let new =
            wait_for("all agree about a master, which the other replica follows by TLS", || {
                let is_new = |it: &&Server| {
                    it.info("role").as_deref() == Some("master")
                        && watchers.iter().all(|watcher| watcher.field("port") == tls_port(it))
                };
                let new = replicas.iter().find(is_new)?;
                let other = replicas.iter().find(|it| it.port() != new.port())?;
                let follows = other.info("master_port") == Some(tls_port(new))
                    && other.info("master_link_status").as_deref() == Some("up");
                follows.then_some(new)
            });
        new.client().expect(&["GET", "k"], "$1\r\nv\r\n");
    }
}

/// Nodes whose bus, replication and clients speak TLS.
#[test]
fn a_cluster_over_tls() {
    for kinds in [[Kind::Ours(2); 4], [Kind::Ours(2), Kind::Redis, Kind::Ours(2), Kind::Redis]] {
        let authority = Authority::new();
        let nodes: Vec<Server> = kinds
            .iter()
            .map(|kind| {
                let plan = authority.arm(Plan::new(*kind)).arg("cluster-enabled", &["yes"]);
                plan.arg("tls-cluster", &["yes"])
                    .arg("tls-replication", &["yes"])
                    .arg("cluster-port", &[&free_port("127.0.0.1").to_string()])
                    .arg("cluster-node-timeout", &["5000"])
                    .start()
            })
            .collect();
        let cli = |args: &[&str]| {
            let output = Command::new("redis-cli")
                .args(["--tls", "--insecure", "--cacert", &authority.path("ca.crt")])
                .args(["--cert", &authority.path("server.crt")])
                .args(["--key", &authority.path("server.key")])
                .args(args)
                .output()
                .unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            (output.status.success(), text)
        };
        let addresses: Vec<String> =
            nodes.iter().map(|it| format!("127.0.0.1:{}", tls_port(it))).collect();
        let mut args = vec!["--cluster", "create"];
        args.extend(addresses.iter().take(3).map(String::as_str));
        args.push("--cluster-yes");
        let (made, text) = cli(&args);
        assert!(made, "{text}");
        let is_ok = |node: &Server| {
            let reply = node.client().call(&["CLUSTER", "INFO"]);
            String::from_utf8_lossy(&reply).contains("cluster_state:ok")
        };
        wait_until("the cluster is ok everywhere", || nodes.iter().take(3).all(is_ok));
        let (added, text) =
            cli(&["--cluster", "add-node", &addresses[3], &addresses[0], "--cluster-slave"]);
        assert!(added, "{text}");
        wait_for_link(&nodes[3]);
        for n in 0..100 {
            let (_, text) =
                cli(&["-c", "-p", &tls_port(&nodes[0]), "SET", &format!("k{n}"), &n.to_string()]);
            assert_eq!(text.trim(), "OK");
        }
        // Slots and their keys go from one to another, which MIGRATE does by TLS too.
        let id = |node: &Server| node.client().text(&["CLUSTER", "MYID"]);
        let (from, to) = (id(&nodes[0]), id(&nodes[1]));
        let (moved, text) = cli(&[
            "--cluster",
            "reshard",
            &addresses[0],
            "--cluster-from",
            &from,
            "--cluster-to",
            &to,
            "--cluster-slots",
            "2000",
            "--cluster-yes",
        ]);
        assert!(moved, "{text}");
        for n in 0..100 {
            let (_, text) = cli(&["-c", "-p", &tls_port(&nodes[1]), "GET", &format!("k{n}")]);
            assert_eq!(text.trim(), n.to_string());
        }
    }
}
