//! Rust's client library in cluster mode, as a programme that writes all the time: through planned failovers, through
//! slots that move, and through the death of a master.

#![expect(clippy::disallowed_methods, reason = "a client on a thread of its own")]

use crate::cluster::{self, OURS, addresses, cluster};
use crate::loads::{reshard, wait_for_commands};
use crate::support::server::{Kind, Server};
use crate::support::wait_for;
use redis::Commands;
use redis::cluster::{ClusterClient, ClusterConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

const KEYS: u64 = 500;

/// A thread that writes until it is stopped.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<String, u64>>,
    client: ClusterClient,
}

impl Writer {
    fn start(nodes: &[Server]) -> Self {
        let urls = addresses(nodes).into_iter().map(|it| format!("redis://{it}"));
        let timeout = Duration::from_secs(10);
        let client = ClusterClient::builder(urls)
            .connection_timeout(timeout)
            .response_timeout(timeout)
            .build()
            .unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let thread = {
            let (client, stop) = (client.clone(), Arc::clone(&stop));
            std::thread::spawn(move || write(&client, &stop))
        };
        Self { stop, thread, client }
    }

    /// Ends it after another round over all keys: what was acknowledged, and how to ask for it.
    fn stop(self) -> (BTreeMap<String, u64>, ClusterConnection) {
        self.stop.store(true, Ordering::Relaxed);
        let kept = self.thread.join().unwrap();
        (kept, again_and_again(|| self.client.get_connection()))
    }
}

/// What was acknowledged last of each key.
fn write(client: &ClusterClient, stop: &AtomicBool) -> BTreeMap<String, u64> {
    let mut connection = again_and_again(|| client.get_connection());
    let (mut kept, mut left) = (BTreeMap::new(), KEYS);
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            if left == 0 {
                break;
            }
            left -= 1;
        }
        let key = format!("rs:{}", n % KEYS);
        again_and_again(|| connection.set::<_, _, ()>(&key, n));
        kept.insert(key, n);
        std::thread::park_timeout(Duration::from_millis(1));
    }
    kept
}

/// As whoever uses it does on an error that the library does not deal with.
fn again_and_again<T>(mut ask: impl FnMut() -> redis::RedisResult<T>) -> T {
    wait_for("the cluster answers", || ask().map_err(|error| eprintln!("{error}")).ok())
}

fn assert_kept((kept, mut connection): (BTreeMap<String, u64>, ClusterConnection)) {
    assert_eq!(kept.len() as u64, KEYS);
    for (key, value) in kept {
        let found: Option<u64> = again_and_again(|| connection.get(&key));
        assert_eq!(found, Some(value), "{key}");
    }
}

#[test]
fn redis_rs_goes_on_when_a_cluster_changes() {
    let nodes = cluster(&[OURS, Kind::Redis, OURS, OURS, OURS, Kind::Redis], 1);
    let writer = Writer::start(&nodes);
    let go_on = || {
        for node in nodes.iter().filter(|it| cluster::is_master(it)) {
            wait_for_commands(node, 200);
        }
    };
    go_on();
    cluster::planned_failovers(&nodes);
    go_on();
    let masters: Vec<_> = nodes.iter().filter(|it| cluster::is_master(it)).collect();
    let ids: Vec<String> = masters.iter().map(|it| cluster::id(it)).collect();
    for (from, to) in [(0, 1), (1, 2), (2, 0)] {
        assert!(reshard(&nodes, &ids[from], &ids[to], 300), "{from} to {to}");
        cluster::check(&nodes);
    }
    go_on();
    assert_kept(writer.stop());
}

#[test]
fn redis_rs_goes_on_when_a_master_is_killed() {
    let mut nodes = cluster(&[OURS; 6], 1);
    let writer = Writer::start(&nodes);
    let master = wait_for("a master", || (1..6).find(|it| cluster::is_master(&nodes[*it])));
    wait_for_commands(&nodes[master], 200);
    cluster::unplanned_failover(&mut nodes, master);
    for node in nodes.iter().filter(|it| cluster::is_master(it)) {
        wait_for_commands(node, 200);
    }
    assert_kept(writer.stop());
}
