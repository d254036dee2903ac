//! Rust's client library with a programme as its users write them: locks, queues, streams with groups, pipelines,
//! transactions, scripts, messages; and with its Sentinel client while a master is replaced.
//!
//! In cluster mode: `cluster_client.rs`.

#![expect(clippy::disallowed_methods, reason = "clients on threads of their own")]

use crate::loads::replace_master;
use crate::plan;
use crate::sentinel::{self, Maker, group};
use crate::support::server::{Kind, Server};
use crate::support::{wait_for, wait_until};
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::streams::{StreamPendingReply, StreamReadOptions, StreamReadReply};
use redis::{Client, Commands, Connection, Pipeline, RedisResult, Script, cmd, pipe};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

const UNLOCK: &str =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

fn connect(server: &Server, protocol: &str) -> Connection {
    let url = format!("redis://127.0.0.1:{}/?protocol={protocol}", server.port());
    Client::open(url).unwrap().get_connection().unwrap()
}

/// Four holders of one lock count up what only its holder may touch.
fn locks(server: &Server, protocol: &str) {
    let held = AtomicBool::new(false);
    thread::scope(|scope| {
        for holder in 0..4 {
            let held = &held;
            let mut con = connect(server, protocol);
            scope.spawn(move || {
                let script = Script::new(UNLOCK);
                for round in 0..10 {
                    let token = format!("{holder}:{round}");
                    wait_until("the lock is free", || {
                        let mut set = cmd("SET");
                        set.arg("lock").arg(&token).arg("NX").arg("PX").arg(60_000);
                        set.query::<Option<String>>(&mut con).unwrap().is_some()
                    });
                    assert!(!held.swap(true, Ordering::SeqCst), "two hold it");
                    let counted: u64 = con.incr("counted", 1).unwrap();
                    assert!(counted <= 40);
                    held.store(false, Ordering::SeqCst);
                    let freed: u64 = script.key("lock").arg(&token).invoke(&mut con).unwrap();
                    assert_eq!(freed, 1);
                }
            });
        }
    });
    let counted: u64 = connect(server, protocol).get("counted").unwrap();
    assert_eq!(counted, 40);
}

fn queues(server: &Server, protocol: &str) {
    let mut con = connect(server, protocol);
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let mut con = connect(server, protocol);
            thread::spawn(move || {
                let mut done = Vec::new();
                loop {
                    let mut take = cmd("BLMOVE");
                    take.arg("queue").arg("working").arg("LEFT").arg("RIGHT").arg(30);
                    let item: String = take.query(&mut con).unwrap();
                    if item == "stop" {
                        return done;
                    }
                    let removed: u64 = con.lrem("working", 1, &item).unwrap();
                    assert_eq!(removed, 1);
                    done.push(item.parse::<u64>().unwrap());
                }
            })
        })
        .collect();
    for n in 0..100 {
        let _: u64 = con.rpush("queue", n).unwrap();
    }
    for _ in 0..3 {
        let _: u64 = con.rpush("queue", "stop").unwrap();
    }
    let mut done: Vec<u64> = workers.into_iter().flat_map(|it| it.join().unwrap()).collect();
    done.sort_unstable();
    assert_eq!(done, (0..100).collect::<Vec<u64>>());
}

fn streams(con: &mut Connection) {
    let _: () = con.xgroup_create_mkstream("events", "workers", "0").unwrap();
    let ids: Vec<String> = (0..20).map(|n| con.xadd("events", "*", &[("n", n)]).unwrap()).collect();
    let mut seen = Vec::new();
    for consumer in ["one", "two"] {
        let options = StreamReadOptions::default().group("workers", consumer).count(10);
        let read: StreamReadReply = con.xread_options(&["events"], &[">"], &options).unwrap();
        let entries = read.keys.into_iter().flat_map(|it| it.ids);
        seen.extend(entries.map(|it| it.id));
    }
    assert_eq!(seen, ids);
    let acknowledged: u64 = con.xack("events", "workers", &ids[..15]).unwrap();
    assert_eq!(acknowledged, 15);
    let pending: StreamPendingReply = con.xpending("events", "workers").unwrap();
    assert_eq!(pending.count(), 5);
    let length: u64 = con.xlen("events").unwrap();
    assert_eq!(length, 20);
}

fn pipelines(con: &mut Connection) {
    let mut many = pipe();
    for n in 0..500 {
        many.set(format!("p:{n}"), n).ignore().incr(format!("p:{n}"), 1);
    }
    let replies: Vec<u64> = many.query(con).unwrap();
    assert_eq!(replies, (1..=500).collect::<Vec<u64>>());
    let (fields, expires): (u64, bool) = pipe()
        .atomic()
        .hset_multiple("h", &[("a", 1), ("b", 2)])
        .ignore()
        .hlen("h")
        .expire("h", 100)
        .query(con)
        .unwrap();
    assert_eq!((fields, expires), (2, true));
    let both = ["p:10", "p:11"];
    let moved: (u64, u64) = redis::transaction(con, &both, |con, pipe: &mut Pipeline| {
        let [from, to]: [u64; 2] = con.mget(&both).map(|it: (u64, u64)| [it.0, it.1])?;
        pipe.set(both[0], from - 1).ignore().get(both[0]);
        pipe.set(both[1], to + 1).ignore().get(both[1]).query(con)
    })
    .unwrap();
    assert_eq!(moved, (10, 13));
}

fn messages(server: &Server, protocol: &str) {
    let (mut listens, mut speaks) = (connect(server, protocol), connect(server, protocol));
    let mut channels = listens.as_pubsub();
    channels.subscribe("news").unwrap();
    channels.psubscribe("n?ws").unwrap();
    for n in 0..10 {
        let heard: u64 = speaks.publish("news", n).unwrap();
        assert_eq!(heard, 2);
    }
    let mut heard: Vec<u64> =
        (0..20).map(|_| channels.get_message().unwrap().get_payload().unwrap()).collect();
    heard.sort_unstable();
    assert_eq!(heard, (0..20).map(|it| it / 2).collect::<Vec<u64>>());
}

#[test]
fn a_programme_of_redis_rs_runs() {
    for cores in [1, 3] {
        for protocol in ["resp2", "resp3"] {
            let server = plan(Kind::Ours(cores)).start();
            let mut con = connect(&server, protocol);
            locks(&server, protocol);
            queues(&server, protocol);
            streams(&mut con);
            pipelines(&mut con);
            messages(&server, protocol);
        }
    }
}

/// What it takes to write once, and to be back by itself when the master is another.
struct Writer {
    client: SentinelClient,
    con: Option<Connection>,
}

impl Writer {
    fn write(&mut self, n: u64) -> RedisResult<()> {
        if self.con.is_none() {
            self.con = Some(self.client.get_connection()?);
        }
        let Some(con) = self.con.as_mut() else { return Ok(()) };
        let result = con.set("written", n);
        if result.is_err() {
            self.con = None;
        }
        result
    }
}

#[test]
fn its_sentinel_client_finds_the_new_master() {
    let mut servers = group(crate::cluster::OURS, None);
    let watchers = sentinel::watchers(&[Maker::Ours, Maker::Redis, Maker::Ours], &servers, "");
    let urls: Vec<String> =
        watchers.iter().map(|it| format!("redis://127.0.0.1:{}", it.port)).collect();
    let build = || {
        SentinelClient::build(urls.clone(), "m".to_string(), None, SentinelServerType::Master)
            .unwrap()
    };
    let (stop, last) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let thread = {
        let (stop, last) = (Arc::clone(&stop), Arc::clone(&last));
        let mut writer = Writer { client: build(), con: None };
        thread::spawn(move || {
            let mut n = 0;
            while !stop.load(Ordering::Relaxed) {
                n += 1;
                wait_until("a write is acknowledged", || writer.write(n).is_ok());
                last.store(n, Ordering::Relaxed);
            }
        })
    };
    let new = replace_master(&mut servers, &watchers);
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
    let mut reader = build();
    let seen: u64 =
        wait_for("the last write is read", || reader.get_connection().ok()?.get("written").ok());
    assert_eq!(seen, last.load(Ordering::Relaxed));
    let address = reader.get_client().unwrap().get_connection_info().addr().to_string();
    assert_eq!(address, format!("127.0.0.1:{new}"));
}
