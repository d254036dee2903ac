//! Clusters of real processes: ours alone and in mixed company with stock nodes, made and checked by
//! `redis-cli --cluster`; who takes over from whom, and where clients are sent.

use crate::support::client::Client;
use crate::support::server::{Kind, Plan, Server, free_port};
use crate::support::{wait_for, wait_until};
use std::process::Command;

/// Slots of these keys: 12182, 5061, 866.
const KEYS: [&str; 3] = ["foo", "bar", "hello"];

/// A planned failover that finds no ear within five seconds is given up, and asked for again after more than that.
const LOOKS_BEFORE_ASKING_AGAIN: usize = 300;

const OURS: Kind = Kind::Ours(2);

fn node(kind: Kind) -> Server {
    let mut plan = Plan::new(kind).arg("cluster-enabled", &["yes"]);
    // A port of its own, since those that are free may be too high for one 10,000 above.
    plan = plan.arg("cluster-port", &[&free_port("127.0.0.1").to_string()]);
    plan = plan.arg("cluster-node-timeout", &["2000"]);
    if !kind.is_stock() {
        return plan.start();
    }
    plan.arg("repl-diskless-sync-delay", &["0"]).start()
}

/// What redis-cli says; it must be content.
fn redis_cli(args: &[&str]) -> String {
    let output = Command::new("redis-cli").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "redis-cli {args:?}: {text}");
    text
}

/// Masters and replicas as redis-cli puts them together; all of them see the whole.
fn cluster(kinds: &[Kind], replicas: usize) -> Vec<Server> {
    let nodes: Vec<Server> = kinds.iter().map(|kind| node(*kind)).collect();
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
        wait_until("the replica's link is up", || {
            node.client().info("master_link_status").as_deref() == Some("up")
        });
    }
    nodes
}

/// A node that is loading what its new master sent refuses to tell, so it is not ok yet.
fn is_ok(node: &Server) -> bool {
    let reply = node.client().call(&["CLUSTER", "INFO"]);
    String::from_utf8_lossy(&reply).contains("cluster_state:ok")
}

fn is_replica(node: &Server) -> bool {
    node.client().info("role").as_deref() == Some("slave")
}

fn id(node: &Server) -> String {
    node.client().text(&["CLUSTER", "MYID"])
}

/// The master of a replica, by its place.
fn master_of(nodes: &[Server], replica: usize) -> usize {
    let port = nodes[replica].client().info("master_port").unwrap();
    nodes.iter().position(|it| it.port().to_string() == port).unwrap()
}

fn check(nodes: &[Server]) {
    wait_until("all agree about slots", || {
        let text = redis_cli(&["--cluster", "check", &nodes[0].address()]);
        text.contains("[OK] All nodes agree about slots configuration.")
            && text.contains("[OK] All 16384 slots covered.")
    });
}

/// By whichever node it takes; as a client of a cluster does.
fn call(nodes: &[Server], args: &[&str]) -> Vec<u8> {
    wait_for("a node that serves the key", || {
        nodes.iter().find_map(|node| {
            let reply = Client::connect(&node.address()).ok()?.try_call(args).ok()?;
            let refused = [&b"-MOVED"[..], b"-CLUSTERDOWN", b"-READONLY", b"-LOADING"];
            (!refused.iter().any(|it| reply.starts_with(it))).then_some(reply)
        })
    })
}

fn write_all(nodes: &[Server], count: usize) {
    for n in 0..count {
        assert_eq!(call(nodes, &["SET", &format!("k{n}"), &n.to_string()]), b"+OK\r\n");
    }
}

fn read_all(nodes: &[Server], count: usize) {
    for n in 0..count {
        let text = n.to_string();
        let expected = format!("${}\r\n{text}\r\n", text.len());
        assert_eq!(call(nodes, &["GET", &format!("k{n}")]), expected.as_bytes(), "k{n}");
    }
}

/// Each replica takes over from its master, which becomes its replica, and nothing is lost.
fn planned_failovers(nodes: &[Server]) {
    let replicas: Vec<usize> = (0..nodes.len()).filter(|it| is_replica(&nodes[*it])).collect();
    for replica in replicas {
        let master = master_of(nodes, replica);
        // One that finds no ear within five seconds is given up; it is asked for again.
        let mut looks = 0;
        wait_until("roles change", || {
            let done = !is_replica(&nodes[replica]) && is_replica(&nodes[master]);
            if !done && looks % LOOKS_BEFORE_ASKING_AGAIN == 0 {
                nodes[replica].client().expect(&["CLUSTER", "FAILOVER"], "+OK\r\n");
            }
            looks += 1;
            done
        });
        wait_until("the old master follows", || {
            nodes[master].client().info("master_link_status").as_deref() == Some("up")
        });
        assert_eq!(master_of(nodes, master), replica);
    }
    check(nodes);
}

/// A master dies: one of its replicas takes over, and it comes back as that one's replica.
fn unplanned_failover(nodes: &mut [Server], master: usize) {
    let heirs: Vec<usize> = (0..nodes.len())
        .filter(|it| is_replica(&nodes[*it]) && master_of(nodes, *it) == master)
        .collect();
    nodes[master].kill();
    wait_until("a replica takes over", || heirs.iter().any(|it| !is_replica(&nodes[*it])));
    nodes[master].restart();
    wait_until("it comes back as a replica", || is_replica(&nodes[master]));
    for node in nodes.iter() {
        wait_until("the cluster is ok everywhere", || is_ok(node));
    }
    check(nodes);
}

#[test]
fn ours_form_a_cluster_and_fail_over() {
    let mut nodes = cluster(&[OURS; 6], 1);
    write_all(&nodes, 60);
    check(&nodes);
    planned_failovers(&nodes);
    read_all(&nodes, 60);
    let master = (0..6).find(|it| !is_replica(&nodes[*it])).unwrap();
    unplanned_failover(&mut nodes, master);
    read_all(&nodes, 60);
}

/// Ours are masters of stock replicas and replicas of stock masters.
#[test]
fn ours_and_stock_nodes_are_one_cluster() {
    let stock = Kind::Redis;
    let mut nodes = cluster(&[OURS, stock, stock, OURS, stock, OURS], 1);
    write_all(&nodes, 60);
    planned_failovers(&nodes);
    read_all(&nodes, 60);
    let masters: Vec<usize> = (0..6).filter(|it| !is_replica(&nodes[*it])).collect();
    for master in masters {
        unplanned_failover(&mut nodes, master);
    }
    read_all(&nodes, 60);
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
            client.expect(&["GET", key], &expected);
            client.expect(&["CLUSTER", "KEYSLOT", key], &format!(":{slot}\r\n"));
        }
        let replica = (0..6).find(|it| is_replica(&nodes[*it]) && master_of(&nodes, *it) == here);
        let mut client = nodes[replica.unwrap()].client();
        client.expect(&["READONLY"], "+OK\r\n");
        client.expect(&["GET", key], "$-1\r\n");
        let moved = format!("-MOVED {slot} {}\r\n", nodes[here].address());
        client.expect(&["SET", key, "v"], &moved);
        client.expect(&["READWRITE"], "+OK\r\n");
        client.expect(&["GET", key], &moved);
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
    let from = (0..3).find(|it| nodes[*it].client().call(&["GET", "foo"]) == b"$-1\r\n").unwrap();
    let to = (from + 1) % 3;
    let (mut source, mut target) = (nodes[from].client(), nodes[to].client());
    source.expect(&["SET", "{foo}a", "1"], "+OK\r\n");
    source.expect(&["CLUSTER", "COUNTKEYSINSLOT", "12182"], ":1\r\n");
    source.expect(&["CLUSTER", "GETKEYSINSLOT", "12182", "9"], "*1\r\n$6\r\n{foo}a\r\n");
    target.expect(&["CLUSTER", "SETSLOT", "12182", "IMPORTING", &id(&nodes[from])], "+OK\r\n");
    source.expect(&["CLUSTER", "SETSLOT", "12182", "MIGRATING", &id(&nodes[to])], "+OK\r\n");
    let ask = format!("-ASK 12182 {}\r\n", nodes[to].address());
    let moved = format!("-MOVED 12182 {}\r\n", nodes[from].address());
    let again = "-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
    source.expect(&["GET", "{foo}a"], "$1\r\n1\r\n");
    source.expect(&["GET", "{foo}b"], &ask);
    source.expect(&["MGET", "{foo}a", "{foo}b"], again);
    target.expect(&["SET", "{foo}b", "2"], &moved);
    target.expect(&["ASKING"], "+OK\r\n");
    target.expect(&["SET", "{foo}b", "2"], "+OK\r\n");
    target.expect(&["GET", "{foo}b"], &moved);
    target.expect(&["ASKING"], "+OK\r\n");
    target.expect(&["MGET", "{foo}a", "{foo}b"], again);
    let holds = "-ERR Can't assign hashslot 12182 to a different node while I still hold keys \
                 for this hash slot.\r\n";
    source.expect(&["CLUSTER", "SETSLOT", "12182", "NODE", &id(&nodes[to])], holds);
    source.expect(&["DEL", "{foo}a"], ":1\r\n");
    for node in [to, from] {
        let mut client = nodes[node].client();
        client.expect(&["CLUSTER", "SETSLOT", "12182", "NODE", &id(&nodes[to])], "+OK\r\n");
    }
    target.expect(&["GET", "{foo}b"], "$1\r\n2\r\n");
    for node in &nodes {
        wait_until("everybody knows the new owner", || {
            let moved = format!("-MOVED 12182 {}\r\n", nodes[to].address());
            let reply = node.client().call(&["GET", "{foo}b"]);
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
            speaker.client().call(&["PUBLISH", "news", "hello"]);
            let expected = "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n";
            assert_eq!(String::from_utf8_lossy(&client.reply().unwrap()), expected);
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
    wait_until("it serves what it has", || node.client().call(&["GET", "foo"]) == b"$1\r\nv\r\n");
    node.client().expect(&["CLUSTER", "COUNTKEYSINSLOT", "12182"], ":1\r\n");
    let unserved = "-CLUSTERDOWN Hash slot not served\r\n";
    node.client().expect(&["GET", "bar"], unserved);
}

/// Who listens to a channel of a slot, or waits for a key of it, is sent on when it moves.
#[test]
fn a_slot_takes_its_listeners_along() {
    let nodes = cluster(&[OURS, OURS, OURS], 0);
    let from = (0..3).find(|it| nodes[*it].client().call(&["GET", "foo"]) == b"$-1\r\n").unwrap();
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
