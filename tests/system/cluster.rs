//! Clusters of real processes: ours alone and in mixed company with stock nodes, made and checked by
//! `redis-cli --cluster`; who takes over from whom, and where clients are sent.

#![expect(clippy::disallowed_types, reason = "a failover that was given up is asked for again")]

use crate::support::client::{Client, field_of_info};
use crate::support::server::{Kind, Plan, Server, free_port};
use crate::support::{wait_for, wait_until};
use std::process::Command;
use std::time::{Duration, Instant};

/// Slots of these keys: 12182, 5061, 866.
const KEYS: [&str; 3] = ["foo", "bar", "hello"];

/// So long a node may stand still on a slow machine before others take it for dead.
const NODE_TIMEOUT_MS: &str = "5000";

/// A planned failover that was asked for is given up after five seconds; only then it is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(7);

pub const OURS: Kind = Kind::Ours(2);

fn node(kind: Kind, more: &[&str]) -> Server {
    let mut plan = Plan::new(kind).arg("cluster-enabled", &["yes"]);
    // A port of its own, since those that are free may be too high for one 10,000 above.
    plan = plan.arg("cluster-port", &[&free_port("127.0.0.1").to_string()]);
    plan = plan.arg("cluster-node-timeout", &[NODE_TIMEOUT_MS]);
    plan.args.extend(more.iter().map(ToString::to_string));
    if !kind.is_stock() {
        return plan.start();
    }
    plan.arg("repl-diskless-sync-delay", &["0"]).start()
}

/// What redis-cli says, and whether it is content.
pub fn try_redis_cli(args: &[&str]) -> (bool, String) {
    let output = Command::new("redis-cli").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

/// What redis-cli says; it must be content.
pub fn redis_cli(args: &[&str]) -> String {
    let (content, text) = try_redis_cli(args);
    assert!(content, "redis-cli {args:?}: {text}");
    text
}

/// Masters and replicas as redis-cli puts them together; all of them see the whole.
pub fn cluster(kinds: &[Kind], replicas: usize) -> Vec<Server> {
    joined(kinds.iter().map(|kind| node(*kind, &[])).collect(), replicas)
}

/// Masters alone, with further settings.
pub fn durable_cluster(kinds: &[Kind], more: &[&str]) -> Vec<Server> {
    joined(kinds.iter().map(|kind| node(*kind, more)).collect(), 0)
}

fn joined(nodes: Vec<Server>, replicas: usize) -> Vec<Server> {
    let addresses: Vec<String> = nodes.iter().map(Server::address).collect();
    let replicas = replicas.to_string();
    let mut args = vec!["--cluster", "create"];
    args.extend(addresses.iter().map(String::as_str));
    args.extend(["--cluster-replicas", &replicas, "--cluster-yes"]);
    redis_cli(&args);
    for node in &nodes {
        wait_until("the cluster is ok everywhere", || is_ok(node));
    }
    for node in nodes.iter().filter(|node| is_replica(node)) {
        wait_until("the replica's link is up", || link_is_up(node));
    }
    wait_until("masters know their replicas, everywhere", || {
        nodes.iter().all(|node| {
            let told = node.ask(&["CLUSTER", "NODES"]);
            let slaves = String::from_utf8_lossy(&told).matches("slave ").count();
            slaves == nodes.iter().filter(|it| is_replica(it)).count()
        })
    });
    nodes
}

fn link_is_up(node: &Server) -> bool {
    node.info("master_link_status").as_deref() == Some("up")
}

/// A node that loads, or does not serve for a moment, says so: then it is asked again.
fn expect(client: &mut Client, args: &[&str], expected: &str) {
    let reply = wait_for("a node serves", || {
        let reply = client.call(args);
        let not_now = [&b"-LOADING"[..], b"-CLUSTERDOWN The", b"-MASTERDOWN"];
        (!not_now.iter().any(|it| reply.starts_with(it))).then_some(reply)
    });
    assert_eq!(String::from_utf8_lossy(&reply), expected, "{args:?}");
}

/// A node that is loading what its new master sent refuses to tell, so it is not ok yet.
pub fn is_ok(node: &Server) -> bool {
    let reply = node.ask(&["CLUSTER", "INFO"]);
    String::from_utf8_lossy(&reply).contains("cluster_state:ok")
}

pub fn is_replica(node: &Server) -> bool {
    node.info("role").as_deref() == Some("slave")
}

pub fn is_master(node: &Server) -> bool {
    node.info("role").as_deref() == Some("master")
}

pub fn id(node: &Server) -> String {
    wait_for("a node says its name", || {
        let reply = node.ask(&["CLUSTER", "MYID"]);
        let text = String::from_utf8_lossy(&reply).into_owned();
        text.strip_prefix("$40\r\n").map(|it| it.trim_end().to_string())
    })
}

/// The master of a replica, by its place.
fn master_of(nodes: &[Server], replica: usize) -> Option<usize> {
    let port = nodes[replica].info("master_port")?;
    nodes.iter().position(|it| it.port().to_string() == port)
}

/// They agree some time after each of them serves.
pub fn check(nodes: &[Server]) {
    wait_until("all agree about slots", || {
        let (content, text) = try_redis_cli(&["--cluster", "check", &nodes[0].address()]);
        content
            && text.contains("[OK] All nodes agree about slots configuration.")
            && text.contains("[OK] All 16384 slots covered.")
    });
}

/// By whichever node it takes; as a client of a cluster does.
pub fn call(addresses: &[String], args: &[&str]) -> Vec<u8> {
    wait_for("a node that serves the key", || {
        addresses.iter().find_map(|address| {
            let reply = Client::connect(address).ok()?.try_call(args).ok()?;
            let refused = [
                &b"-MOVED"[..],
                b"-ASK",
                b"-CLUSTERDOWN",
                b"-READONLY",
                b"-LOADING",
                b"-MASTERDOWN",
            ];
            (!refused.iter().any(|it| reply.starts_with(it))).then_some(reply)
        })
    })
}

pub fn addresses(nodes: &[Server]) -> Vec<String> {
    nodes.iter().map(Server::address).collect()
}

pub fn write_all(nodes: &[String], count: usize) {
    for n in 0..count {
        assert_eq!(call(nodes, &["SET", &format!("k{n}"), &n.to_string()]), b"+OK\r\n");
    }
}

fn read_all(nodes: &[String], count: usize) {
    for n in 0..count {
        let text = n.to_string();
        let expected = format!("${}\r\n{text}\r\n", text.len());
        assert_eq!(call(nodes, &["GET", &format!("k{n}")]), expected.as_bytes(), "k{n}");
    }
}

/// Each replica takes over from its master, which becomes its replica, and nothing is lost.
pub fn planned_failovers(nodes: &[Server]) {
    let replicas: Vec<usize> = (0..nodes.len()).filter(|it| is_replica(&nodes[*it])).collect();
    for replica in replicas {
        let master = wait_for("it has a master", || master_of(nodes, replica));
        let mut asked: Option<Instant> = None;
        wait_until("roles change", || {
            let done = is_master(&nodes[replica]) && is_replica(&nodes[master]);
            if !done
                && is_replica(&nodes[replica])
                && asked.is_none_or(|at| at.elapsed() > ASK_AGAIN)
                && nodes[replica].ask(&["CLUSTER", "FAILOVER"]) == b"+OK\r\n"
            {
                asked = Some(Instant::now());
            }
            done
        });
        wait_until("the old master follows", || {
            master_of(nodes, master) == Some(replica) && link_is_up(&nodes[master])
        });
    }
    check(nodes);
}

/// A master dies: one of its replicas takes over, and it comes back as that one's replica.
pub fn unplanned_failover(nodes: &mut [Server], master: usize) {
    let heirs: Vec<usize> = (0..nodes.len())
        .filter(|it| is_replica(&nodes[*it]) && master_of(nodes, *it) == Some(master))
        .collect();
    nodes[master].kill();
    wait_until("a replica takes over", || heirs.iter().any(|it| is_master(&nodes[*it])));
    nodes[master].restart();
    wait_until("it comes back as a replica", || {
        is_replica(&nodes[master]) && link_is_up(&nodes[master])
    });
    for node in nodes.iter() {
        wait_until("the cluster is ok everywhere", || is_ok(node));
    }
    check(nodes);
}

#[test]
fn ours_form_a_cluster_and_fail_over() {
    let mut nodes = cluster(&[OURS; 6], 1);
    write_all(&addresses(&nodes), 60);
    check(&nodes);
    planned_failovers(&nodes);
    read_all(&addresses(&nodes), 60);
    let master = wait_for("a master", || (0..6).find(|it| is_master(&nodes[*it])));
    unplanned_failover(&mut nodes, master);
    read_all(&addresses(&nodes), 60);
}

/// Ours are masters of stock replicas and replicas of stock masters.
#[test]
fn ours_and_stock_nodes_are_one_cluster() {
    let stock = Kind::Redis;
    let mut nodes = cluster(&[OURS, stock, stock, OURS, stock, OURS], 1);
    write_all(&addresses(&nodes), 60);
    planned_failovers(&nodes);
    read_all(&addresses(&nodes), 60);
    let masters: Vec<usize> = (0..6).filter(|it| is_master(&nodes[*it])).collect();
    for master in masters {
        unplanned_failover(&mut nodes, master);
    }
    read_all(&addresses(&nodes), 60);
}

/// Where clients are sent, and what a replica serves.
#[test]
fn clients_are_sent_where_their_keys_are() {
    let nodes = cluster(&[OURS, OURS, OURS, OURS, OURS, OURS], 1);
    let owner = |slot: &str| {
        let text = redis_cli(&["-p", &nodes[0].port().to_string(), "CLUSTER", "NODES"]);
        let slot: u32 = slot.parse().unwrap();
        let has = |line: &&str| {
            line.split(' ').skip(8).any(|range| {
                let (start, end) = range.split_once('-').unwrap_or((range, range));
                (start.parse().unwrap()..=end.parse().unwrap()).contains(&slot)
            })
        };
        let line = text.lines().find(has).unwrap();
        nodes.iter().position(|node| line.starts_with(&id(node))).unwrap()
    };
    for (key, slot) in KEYS.iter().zip(["12182", "5061", "866"]) {
        let here = owner(slot);
        for (at, node) in nodes.iter().enumerate() {
            let mut client = node.client();
            let expected = if at == here {
                "$-1\r\n".to_string()
            } else {
                format!("-MOVED {slot} {}\r\n", nodes[here].address())
            };
            expect(&mut client, &["GET", key], &expected);
            client.expect(&["CLUSTER", "KEYSLOT", key], &format!(":{slot}\r\n"));
        }
        let replica = wait_for("a replica", || {
            (0..6).find(|it| is_replica(&nodes[*it]) && master_of(&nodes, *it) == Some(here))
        });
        let mut client = nodes[replica].client();
        client.expect(&["READONLY"], "+OK\r\n");
        expect(&mut client, &["GET", key], "$-1\r\n");
        let moved = format!("-MOVED {slot} {}\r\n", nodes[here].address());
        expect(&mut client, &["SET", key, "v"], &moved);
        client.expect(&["READWRITE"], "+OK\r\n");
        expect(&mut client, &["GET", key], &moved);
    }
    let mut client = nodes[0].client();
    let cross = "-CROSSSLOT Keys in request don't hash to the same slot\r\n";
    client.expect(&["MGET", "foo", "bar"], cross);
    client.expect(&["SELECT", "1"], "-ERR SELECT is not allowed in cluster mode\r\n");
    client.expect(&["REPLICAOF", "NO", "ONE"], "-ERR REPLICAOF not allowed in cluster mode.\r\n");
    client.expect(&["MULTI"], "+OK\r\n");
    client.expect(&["MSET", "foo", "1", "bar", "2"], cross);
    let aborted = "-EXECABORT Transaction discarded because of previous errors.\r\n";
    client.expect(&["EXEC"], aborted);
}

/// A slot goes key by key: what is there is served, what is not is asked for elsewhere.
#[test]
fn a_slot_on_its_way_is_served_by_both() {
    let nodes = cluster(&[OURS, OURS, OURS], 0);
    let from =
        wait_for("the owner", || (0..3).find(|it| nodes[*it].ask(&["GET", "foo"]) == b"$-1\r\n"));
    let to = (from + 1) % 3;
    let (mut source, mut target) = (nodes[from].client(), nodes[to].client());
    expect(&mut source, &["SET", "{foo}a", "1"], "+OK\r\n");
    source.expect(&["CLUSTER", "COUNTKEYSINSLOT", "12182"], ":1\r\n");
    source.expect(&["CLUSTER", "GETKEYSINSLOT", "12182", "9"], "*1\r\n$6\r\n{foo}a\r\n");
    target.expect(&["CLUSTER", "SETSLOT", "12182", "IMPORTING", &id(&nodes[from])], "+OK\r\n");
    source.expect(&["CLUSTER", "SETSLOT", "12182", "MIGRATING", &id(&nodes[to])], "+OK\r\n");
    let ask = format!("-ASK 12182 {}\r\n", nodes[to].address());
    let moved = format!("-MOVED 12182 {}\r\n", nodes[from].address());
    let again = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
    expect(&mut source, &["GET", "{foo}a"], "$1\r\n1\r\n");
    expect(&mut source, &["GET", "{foo}b"], &ask);
    expect(&mut source, &["MGET", "{foo}a", "{foo}b"], again);
    expect(&mut target, &["SET", "{foo}b", "2"], &moved);
    target.expect(&["ASKING"], "+OK\r\n");
    target.expect(&["SET", "{foo}b", "2"], "+OK\r\n");
    expect(&mut target, &["GET", "{foo}b"], &moved);
    target.expect(&["ASKING"], "+OK\r\n");
    target.expect(&["MGET", "{foo}a", "{foo}b"], again);
    let holds = "-ERR Can't assign hashslot 12182 to a different node while I still hold keys \
                 for this hash slot.\r\n";
    source.expect(&["CLUSTER", "SETSLOT", "12182", "NODE", &id(&nodes[to])], holds);
    expect(&mut source, &["DEL", "{foo}a"], ":1\r\n");
    for node in [to, from] {
        let mut client = nodes[node].client();
        client.expect(&["CLUSTER", "SETSLOT", "12182", "NODE", &id(&nodes[to])], "+OK\r\n");
    }
    expect(&mut target, &["GET", "{foo}b"], "$1\r\n2\r\n");
    for node in &nodes {
        wait_until("everybody knows the new owner", || {
            let moved = format!("-MOVED 12182 {}\r\n", nodes[to].address());
            let reply = node.ask(&["GET", "{foo}b"]);
            reply == moved.as_bytes() || reply == b"$1\r\n2\r\n"
        });
    }
    check(&nodes);
}

/// A message is heard on every node; one of a shard's channel where that shard is.
#[test]
fn messages_reach_every_node() {
    let nodes = cluster(&[OURS, Kind::Redis, OURS], 0);
    for speaker in &nodes {
        for listener in &nodes {
            let mut client = listener.client();
            client.call(&["SUBSCRIBE", "news"]);
            client.set_patience(Duration::from_millis(500));
            // Nobody has promised that the one is connected to the other already.
            let heard = wait_for("the message is heard", || {
                speaker.ask(&["PUBLISH", "news", "hello"]);
                client.reply().ok()
            });
            let expected = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
            assert_eq!(String::from_utf8_lossy(&heard), expected);
        }
    }
}

/// A node goes on where it was, with the name that it had.
#[test]
fn a_node_remembers_the_cluster() {
    let mut nodes = cluster(&[OURS, OURS, OURS], 0);
    let before: Vec<String> = nodes.iter().map(id).collect();
    for node in &mut nodes {
        node.kill();
    }
    for node in &mut nodes {
        node.restart();
    }
    for node in &nodes {
        wait_until("the cluster is ok again", || is_ok(node));
    }
    assert_eq!(nodes.iter().map(id).collect::<Vec<_>>(), before);
    check(&nodes);
}

/// Keys of a file whose slots nobody serves yet are served by whoever has the file.
#[test]
fn a_node_with_data_takes_its_slots() {
    let mut server = Plan::new(OURS).arg("save", &[""]).start();
    server.client().expect(&["SET", "foo", "v"], "+OK\r\n");
    server.client().expect(&["SAVE"], "+OK\r\n");
    server.kill();
    let file = server.path("dump.rdb");
    let bus = free_port("127.0.0.1").to_string();
    let plan = Plan::new(OURS).arg("cluster-enabled", &["yes"]).arg("cluster-port", &[&bus]);
    let folder = file.parent().unwrap().to_str().unwrap();
    let node = plan.arg("dir", &[folder]).arg("cluster-require-full-coverage", &["no"]).start();
    wait_until("it serves what it has", || node.ask(&["GET", "foo"]) == b"$1\r\nv\r\n");
    node.client().expect(&["CLUSTER", "COUNTKEYSINSLOT", "12182"], ":1\r\n");
    let unserved = "-CLUSTERDOWN Hash slot not served\r\n";
    expect(&mut node.client(), &["GET", "bar"], unserved);
}

/// Who listens to a channel of a slot, or waits for a key of it, is sent on when it moves.
#[test]
fn a_slot_takes_its_listeners_along() {
    let nodes = cluster(&[OURS, OURS, OURS], 0);
    let from =
        wait_for("the owner", || (0..3).find(|it| nodes[*it].ask(&["GET", "foo"]) == b"$-1\r\n"));
    let to = (from + 1) % 3;
    let (mut listener, mut waiter) = (nodes[from].client(), nodes[from].client());
    listener.expect(&["SSUBSCRIBE", "foo"], "*3\r\n$10\r\nssubscribe\r\n$3\r\nfoo\r\n:1\r\n");
    waiter.send(b"BLPOP foo 0\r\n").unwrap();
    wait_until("it waits", || nodes[from].info("blocked_clients").as_deref() == Some("1"));
    let (source, target) = (id(&nodes[from]), id(&nodes[to]));
    let importing = ["CLUSTER", "SETSLOT", "12182", "IMPORTING", &source];
    nodes[to].client().expect(&importing, "+OK\r\n");
    let migrating = ["CLUSTER", "SETSLOT", "12182", "MIGRATING", &target];
    nodes[from].client().expect(&migrating, "+OK\r\n");
    for node in [to, from] {
        let mut client = nodes[node].client();
        client.expect(&["CLUSTER", "SETSLOT", "12182", "NODE", &id(&nodes[to])], "+OK\r\n");
    }
    let left = "*3\r\n$12\r\nsunsubscribe\r\n$3\r\nfoo\r\n:0\r\n";
    assert_eq!(String::from_utf8_lossy(&listener.reply().unwrap()), left);
    let moved = format!("-MOVED 12182 {}\r\n", nodes[to].address());
    assert_eq!(String::from_utf8_lossy(&waiter.reply().unwrap()), moved);
}

/// A process with two cores, each a node of its own: at its port, and at the next.
fn two_nodes() -> Server {
    let pair = || {
        wait_for("two free ports side by side", || {
            // Nobody else is given either of them.
            let (port, next) = (free_port("127.0.0.1"), free_port("127.0.0.1"));
            (next == port + 1).then_some(port)
        })
    };
    let (port, bus) = (pair(), pair().to_string());
    let plan = Plan::new(OURS).arg("cluster-enabled", &["yes"]).arg("cluster-port", &[&bus]);
    let plan = plan.arg("cluster-node-timeout", &[NODE_TIMEOUT_MS]);
    Plan { port, ..plan.arg("cluster-node-per-core", &["yes"]) }.start()
}

/// Cores of three processes are masters and replicas crosswise: who dies is replaced on another process.
#[test]
fn each_core_is_a_node_and_a_process_that_dies_is_replaced() {
    let mut processes = [two_nodes(), two_nodes(), two_nodes()];
    let at = |process: &Server, core: u16| format!("127.0.0.1:{}", process.port() + core);
    let ask = |address: &str, args: &[&str]| {
        let client = Client::connect(address);
        let reply = client.and_then(|mut it| it.try_call(args)).unwrap_or_default();
        String::from_utf8_lossy(&reply).into_owned()
    };
    let masters: Vec<String> = processes.iter().map(|it| at(it, 0)).collect();
    let replicas: Vec<String> = processes.iter().map(|it| at(it, 1)).collect();
    let all = [masters.clone(), replicas.clone()].concat();
    for address in &all {
        wait_until("each core answers", || ask(address, &["PING"]) == "+PONG\r\n");
    }
    let mut create = vec!["--cluster", "create"];
    create.extend(masters.iter().map(String::as_str));
    redis_cli(&[create, vec!["--cluster-yes"]].concat());
    for (replica, master) in replicas.iter().zip(masters.iter().cycle().skip(1)) {
        let port = replica.split(':').nth(1).unwrap();
        ask(&masters[0], &["CLUSTER", "MEET", "127.0.0.1", port, &bus_port(replica)]);
        let id = ask(master, &["CLUSTER", "MYID"]);
        let id = id.lines().nth(1).unwrap().to_string();
        wait_until("it knows its master", || {
            ask(replica, &["CLUSTER", "REPLICATE", &id]) == "+OK\r\n"
        });
    }
    let role = |address: &str| field_of_info(&ask(address, &["INFO", "everything"]), "role");
    let link =
        |address: &str| field_of_info(&ask(address, &["INFO", "everything"]), "master_link_status");
    for address in &all {
        // Who is not known to the masters gets no votes.
        wait_until("the cluster is ok everywhere, and all know all", || {
            let info = ask(address, &["CLUSTER", "INFO"]);
            info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:6\r\n")
        });
    }
    for replica in &replicas {
        wait_until("it is in sync", || link(replica).as_deref() == Some("up"));
    }
    write_all(&all, 60);
    processes[0].kill();
    // The replica of its first core is the second core of the third process.
    wait_until("another process takes over", || role(&replicas[2]).as_deref() == Some("master"));
    read_all(&all, 60);
    processes[0].restart();
    for address in [&masters[0], &replicas[0]] {
        wait_until("its cores are replicas", || {
            role(address).as_deref() == Some("slave") && link(address).as_deref() == Some("up")
        });
    }
    wait_until("all agree about slots", || {
        let (content, text) = try_redis_cli(&["--cluster", "check", &masters[0]]);
        content && text.contains("[OK] All 16384 slots covered.")
    });
    read_all(&all, 60);
    // SHUTDOWN of one node ends the process, and all its nodes.
    ask(&replicas[1], &["SHUTDOWN", "NOSAVE"]);
    assert!(processes[1].wait_for_exit().success());
}

/// The bus port of a node, as it says itself.
fn bus_port(address: &str) -> String {
    let nodes = redis_cli(&["-p", address.split(':').nth(1).unwrap(), "CLUSTER", "NODES"]);
    let own = nodes.lines().find(|it| it.contains("myself")).unwrap();
    let (_, rest) = own.split_once('@').unwrap();
    rest.chars().take_while(char::is_ascii_digit).collect()
}
