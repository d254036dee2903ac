//! Slots that move as a whole from one node of ours to another (`CLUSTER MIGRATESLOTS`): under load, cancelled, and
//! with the death of who gives or takes them.

use crate::cluster::{self, OURS, addresses, call, cluster, durable_cluster, redis_cli};
use crate::loads::{Load, assert_kept, wait_for_commands};
use crate::support::server::{Kind, Server};
use crate::support::{number_from_env, wait_for, wait_until};
use ringfold::base::prng::Prng;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The first range of slots that a node says are its own.
fn first_range(node: &Server) -> RangeInclusive<u16> {
    let text = redis_cli(&["-p", &node.port().to_string(), "CLUSTER", "NODES"]);
    let line = text.lines().find(|it| it.contains("myself")).unwrap();
    let range = line.split(' ').nth(8).unwrap();
    let (start, end) = range.split_once('-').unwrap();
    start.parse().unwrap()..=end.parse().unwrap()
}

fn migrate(from: &Server, slots: &RangeInclusive<u16>, to: &str) -> Vec<u8> {
    let (start, end) = (slots.start().to_string(), slots.end().to_string());
    from.ask(&["CLUSTER", "MIGRATESLOTS", "SLOTSRANGE", &start, &end, "NODE", to])
}

/// The states of a node's moves, the newest first.
fn states(node: &Server) -> Vec<String> {
    let reply = node.ask(&["CLUSTER", "GETSLOTMIGRATIONS"]);
    let text = String::from_utf8_lossy(&reply).into_owned();
    let words: Vec<&str> = text.split("\r\n").collect();
    let after = |pair: &&[&str]| pair[0] == "state";
    words.windows(3).filter(after).map(|it| it[2].to_string()).collect()
}

fn are_over(node: &Server) -> bool {
    let over = |it: &String| ["success", "failed", "cancelled"].contains(&it.as_str());
    cluster::is_ok(node) && states(node).iter().all(over)
}

#[test]
fn slots_move_as_a_whole_under_load() {
    let nodes = cluster(&[OURS, OURS, OURS], 0);
    let ids: Vec<String> = nodes.iter().map(cluster::id).collect();
    let load = Load::start(nodes[0].port(), "--cluster");
    for node in &nodes {
        wait_for_commands(node, 200);
    }
    for (from, to) in [(0, 1), (1, 2), (2, 0), (1, 0)] {
        let slots = first_range(&nodes[from]);
        let slots = *slots.start()..=slots.start() + (slots.end() - slots.start()) / 3;
        assert_eq!(migrate(&nodes[from], &slots, &ids[to]), b"+OK\r\n");
        wait_until("the slots have moved", || {
            let newest = states(&nodes[from]).remove(0);
            assert!(!["failed", "cancelled"].contains(&newest.as_str()), "{newest}");
            newest == "success"
        });
        cluster::check(&nodes);
        wait_for_commands(&nodes[to], 200);
    }
    let (code, report) = load.stop();
    assert_kept(code, &report);
    assert!(report["refusals"]["MOVED"].as_u64() > Some(0), "{}", report["refusals"]);
    assert_eq!(report["refusals"]["ASK"].as_u64(), None, "nobody is asked to ask");
}

#[test]
fn what_is_cancelled_leaves_nothing_behind() {
    let nodes = cluster(&[OURS, OURS, OURS], 0);
    let slots = first_range(&nodes[0]);
    let to = cluster::id(&nodes[1]);
    let mut client = nodes[0].client();
    for n in 0..30_000 {
        let key = format!("k{n}");
        let reply = client.call(&["SET", &key, "v"]);
        assert!(reply == b"+OK\r\n" || reply.starts_with(b"-MOVED"));
    }
    let (here, there) = (nodes[0].ask(&["DBSIZE"]), nodes[1].ask(&["DBSIZE"]));
    assert_eq!(migrate(&nodes[0], &slots, &to), b"+OK\r\n");
    let again = migrate(&nodes[0], &slots, &to);
    assert!(again.starts_with(b"-ERR I am already migrating slot "));
    assert_eq!(nodes[0].ask(&["CLUSTER", "CANCELSLOTMIGRATIONS"]), b"+OK\r\n");
    assert_eq!(states(&nodes[0]), ["cancelled"]);
    wait_until("the target is rid of it", || {
        are_over(&nodes[1]) && nodes[1].ask(&["DBSIZE"]) == there
    });
    assert_eq!(nodes[0].ask(&["DBSIZE"]), here);
    cluster::check(&nodes);
    // A stock node does not know how.
    let stranger = "f".repeat(40);
    let reply = migrate(&nodes[0], &slots, &stranger);
    assert_eq!(String::from_utf8_lossy(&reply), format!("-ERR Unknown node {stranger}\r\n"));
}

/// How often the giver, the taker or a third one is killed while slots move.
const KILLS: u64 = 3;

#[test]
fn no_key_is_lost_or_at_two_places_when_a_node_dies_while_slots_move_as_a_whole() {
    let runs = number_from_env("RINGFOLD_RESHARDS").unwrap_or(KILLS);
    let mut prng = Prng::new(crate::support::seed());
    for run in 0..runs {
        let durable = ["--appendonly", "yes", "--appendfsync", "always"];
        let mut nodes = durable_cluster(&[OURS, OURS, Kind::Ours(1)], &durable);
        let ids: Vec<String> = nodes.iter().map(cluster::id).collect();
        let all = addresses(&nodes);
        let keys: BTreeMap<String, usize> = (0..400).map(|n| (format!("k{n}"), 0)).collect();
        for key in keys.keys() {
            assert_eq!(call(&all, &["SET", key, key]), b"+OK\r\n");
        }
        let slots = first_range(&nodes[0]);
        let slots = *slots.start()..=slots.end() - 1;
        assert_eq!(migrate(&nodes[0], &slots, &ids[1]), b"+OK\r\n");
        let victim = usize::try_from((run + prng.below(2)) % 3).unwrap();
        let after = Duration::from_micros(prng.below(150_000));
        std::thread::park_timeout(after);
        nodes[victim].kill();
        nodes[victim].restart();
        let settled = |nodes: &[Server]| {
            wait_until("the moves are over", || nodes.iter().all(are_over));
            cluster::check(nodes);
        };
        settled(&nodes);
        assert_all_once(&nodes, &keys, &format!("run {run}, victim {victim} after {after:?}"));
        wait_for("the slots move after all", || {
            match migrate(&nodes[0], &slots, &ids[1]).as_slice() {
                b"+OK\r\n" => wait_until("it is over", || are_over(&nodes[0])),
                reply if reply.starts_with(b"-ERR Slots are not served") => return Some(()),
                _ => {}
            }
            None
        });
        settled(&nodes);
        assert_all_once(&nodes, &keys, &format!("run {run}, moved after all"));
    }
}

/// Each key is at one node, whole. What a node has lost goes a moment after that.
fn assert_all_once(nodes: &[Server], keys: &BTreeMap<String, usize>, when: &str) {
    let count = || {
        let mut found = keys.clone();
        for node in nodes {
            let text = redis_cli(&["-p", &node.port().to_string(), "KEYS", "*"]);
            for key in text.lines().filter(|it| !it.is_empty()) {
                *found.get_mut(key).unwrap() += 1;
            }
        }
        found
    };
    wait_until(&format!("each key is at one place: {when}"), || {
        count().values().all(|it| *it == 1)
    });
    let all = addresses(nodes);
    for key in keys.keys() {
        let expected = format!("${}\r\n{key}\r\n", key.len());
        assert_eq!(call(&all, &["GET", key]), expected.as_bytes(), "{when}");
    }
}
