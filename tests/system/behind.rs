//! A replica that is slower than the writers: it must not be thrown out, come back, and be thrown out.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a load on real processes needs a clock and threads"
)]

use crate::support::client::{Client, request};
use crate::support::proxy::Proxy;
use crate::support::server::{Kind, Plan, Server, wait_until_equal};
use crate::support::{number_from_env, wait_until};
use crate::{count, replica_of, wait_for_link};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

const PIPELINE: usize = 50;

/// `RINGFOLD_LOAD_CONNECTIONS` and `RINGFOLD_LOAD_SECONDS` make it as large as the real one: 400 and 90.
fn connections() -> usize {
    let number = number_from_env("RINGFOLD_LOAD_CONNECTIONS").unwrap_or(40);
    usize::try_from(number).unwrap()
}

fn duration() -> Duration {
    Duration::from_secs(number_from_env("RINGFOLD_LOAD_SECONDS").unwrap_or(4))
}

/// What redis#15447 measured 45 full syncs with, in small: SETs of 500 bytes, 50 in flight on each of many
/// connections, a backlog of one megabyte, and a link that takes a few megabytes a second.
///
/// With a stock master the same load must show the loop, or the test would prove nothing.
#[test]
fn a_slow_replica_is_waited_for_and_not_synced_again_and_again() {
    let kinds =
        [(Kind::Ours(2), Kind::Ours(2)), (Kind::Ours(1), Kind::Redis), (Kind::Redis, Kind::Redis)];
    for (kind, replica) in kinds {
        let mut plan = Plan::new(kind)
            .arg("enable-debug-command", &["yes"])
            .arg("repl-diskless-sync-delay", &["0"])
            .arg("repl-backlog-size", &["1mb"])
            .arg("client-output-buffer-limit", &["replica", "4mb", "2mb", "1"]);
        if !kind.is_stock() {
            plan = plan.arg("repl-backlog-seconds", &["0"]).arg("repl-spill-size", &["0"]);
        }
        let master = plan.start();
        let mut client = master.client();
        (0..1_000).for_each(|n| set(&mut client, n));
        let link = Proxy::tampering(&master.address(), |_, bytes| {
            // About 10 MB a second.
            thread::sleep(Duration::from_nanos(bytes.len() as u64 * 100));
        });
        let replica = Plan::new(replica).arg("enable-debug-command", &["yes"]);
        let replica = replica_of(replica, "127.0.0.1", link.port);
        wait_for_link(&replica);
        let written = load(&master);
        let fulls = count(&master, "sync_full");
        if kind.is_stock() {
            assert!(fulls > 1, "the load shows no loop with a stock master: {written} writes");
            continue;
        }
        assert_eq!(fulls, 1, "{written} writes");
        assert!(written > 10_000, "{written} writes: nobody may starve");
        wait_until("writers no longer wait", || {
            set_ok(&mut client, 0) && master.info("master_link_status").is_none()
        });
        wait_until_equal(&master, &replica);
        let waited = client.text(&["INFO", "ringfold"]);
        let times = waited.lines().find_map(|it| it.strip_prefix("repl_writers_waited:"));
        assert!(times.is_some_and(|it| it.trim() != "0"), "the load was too light: {waited}");
    }
}

/// A replica that takes nothing at all is waited for as long as the setting says, and no longer.
#[test]
fn writers_do_not_wait_for_a_replica_that_stands_still() {
    let master = Plan::new(Kind::Ours(2))
        .arg("repl-backlog-size", &["1mb"])
        .arg("repl-backlog-seconds", &["0"])
        .arg("repl-spill-size", &["0"])
        .arg("repl-writers-wait", &["1"])
        .arg("client-output-buffer-limit", &["replica", "4mb", "2mb", "1"])
        .start();
    static STILL: AtomicBool = AtomicBool::new(false);
    let link = Proxy::tampering(&master.address(), |_, _| {
        while STILL.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(5));
        }
    });
    let replica = replica_of(Plan::new(Kind::Ours(1)), "127.0.0.1", link.port);
    wait_for_link(&replica);
    STILL.store(true, Ordering::Relaxed);
    load(&master);
    wait_until("it is dropped", || count(&master, "connected_slaves") == 0);
    STILL.store(false, Ordering::Relaxed);
    let mut client = master.client();
    assert!(set_ok(&mut client, 1));
}

/// What the memory shall not hold lies in a file until the replica has it, and nobody waits.
#[test]
fn what_a_slow_replica_needs_is_spilled() {
    let master = Plan::new(Kind::Ours(2))
        .arg("enable-debug-command", &["yes"])
        .arg("repl-backlog-seconds", &["0"])
        .arg("repl-backlog-max", &["2mb"])
        .arg("repl-spill-size", &["1gb"])
        .arg("client-output-buffer-limit", &["replica", "4mb", "2mb", "1"])
        .start();
    let mut client = master.client();
    (0..1_000).for_each(|n| set(&mut client, n));
    static SLOW: AtomicBool = AtomicBool::new(true);
    let link = Proxy::tampering(&master.address(), |_, bytes| {
        if SLOW.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_nanos(bytes.len() as u64 * 60));
        }
    });
    let replica = Plan::new(Kind::Redis).arg("enable-debug-command", &["yes"]);
    let replica = replica_of(replica, "127.0.0.1", link.port);
    wait_for_link(&replica);
    load(&master);
    let number = |client: &mut Client, name: &str| -> u64 {
        let text = client.text(&["INFO", "ringfold"]);
        let field = text.lines().find_map(|it| it.strip_prefix(name)?.strip_prefix(':'));
        field.unwrap().trim().parse().unwrap()
    };
    let spilled = number(&mut client, "repl_spilled_bytes");
    assert!(spilled > 8 << 20, "{spilled} bytes");
    SLOW.store(false, Ordering::Relaxed);
    wait_until_equal(&master, &replica);
    wait_until("the file is empty", || {
        set(&mut client, 0);
        number(&mut client, "repl_spilled_bytes") == 0
    });
    assert_eq!(count(&master, "sync_full"), 1);
    assert!(
        std::fs::read_dir(&master.folder.0)
            .unwrap()
            .flatten()
            .all(|it| { !it.file_name().to_string_lossy().contains("spill") })
    );
}

fn set(client: &mut Client, n: usize) {
    assert!(set_ok(client, n));
}

fn set_ok(client: &mut Client, n: usize) -> bool {
    client.call(&["SET", &format!("key:{n}"), &"v".repeat(500)]) == b"+OK\r\n"
}

/// Writes for a while; how many were acknowledged.
fn load(master: &Server) -> u64 {
    let (written, end) = (Arc::new(AtomicU64::new(0)), Instant::now() + duration());
    let writer = |writer: usize| {
        let mut client = master.client();
        let written = Arc::clone(&written);
        thread::spawn(move || {
            let value = vec![b'a' + u8::try_from(writer % 26).unwrap(); 500];
            for round in 0.. {
                let mut batch = Vec::new();
                for n in 0..PIPELINE {
                    let key = format!("key:{}", (writer * 31 + round * PIPELINE + n) % 1_000);
                    batch.extend(request(&[b"SET", key.as_bytes(), &value]));
                }
                if Instant::now() >= end {
                    return;
                }
                client.send(&batch).unwrap();
                for _ in 0..PIPELINE {
                    assert_eq!(client.reply().unwrap(), b"+OK\r\n");
                }
                written.fetch_add(PIPELINE as u64, Ordering::Relaxed);
            }
        })
    };
    let writers: Vec<_> = (0..connections()).map(writer).collect();
    writers.into_iter().for_each(|it| it.join().unwrap());
    written.load(Ordering::Relaxed)
}
