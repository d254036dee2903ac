//! The append-only file: what one make writes the other loads, and what was promised is there.

use crate::support::server::{Kind, Plan, Server, wait_until_equal};
use crate::support::writers::{Writers, lost};
use crate::support::{comes_true, wait_until};
use crate::{count, fill, plan, replica_of, wait_for_link};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn appending(kind: Kind, fsync: &str) -> Plan {
    plan(kind)
        .arg("appendonly", &["yes"])
        .arg("appendfsync", &[fsync])
        .arg("auto-aof-rewrite-percentage", &["0"])
}

fn rewrite(server: &Server) {
    let mut client = server.client();
    let began = client.call(&["BGREWRITEAOF"]);
    assert!(began.starts_with(b"+Background append only file rewriting"), "{began:?}");
    wait_until("the rewrite is over", || {
        ["aof_rewrite_in_progress", "aof_rewrite_scheduled"]
            .iter()
            .all(|name| client.info(name).as_deref() == Some("0"))
    });
    assert_eq!(client.info("aof_last_bgrewrite_status").as_deref(), Some("ok"));
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for file in fs::read_dir(from).unwrap().flatten() {
        fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

/// The newest increment.
fn increment(server: &Server) -> PathBuf {
    let dir = server.path("appendonlydir");
    let manifest = fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap();
    let last = manifest.lines().rfind(|line| line.ends_with("type i")).unwrap();
    dir.join(last.split(' ').nth(1).unwrap())
}

#[test]
fn what_one_appends_the_other_loads() {
    for (from, to) in [
        (Kind::Ours(1), Kind::Redis),
        (Kind::Ours(3), Kind::Redis),
        (Kind::Redis, Kind::Ours(1)),
        (Kind::Redis, Kind::Ours(3)),
        (Kind::Ours(3), Kind::Ours(2)),
    ] {
        let mut writer = appending(from, "everysec").start();
        let mut reader = appending(to, "everysec").start();
        fill(&writer, 100);
        for round in 0..3 {
            let mut client = writer.client();
            client.call(&["SET", "round", &round.to_string()]);
            client.call(&["MSET", "a", "1", "b", "2", "c", "3"]);
            client.call(&["EVAL", "redis.call('set', 'x', 1) redis.call('incr', 'x')", "1", "x"]);
            client.call(&["SELECT", "3"]);
            client.call(&["RPUSH", "list", "x"]);
            client.call(&["SWAPDB", "3", "4"]);
            client.call(&["SET", "gone", "x", "PX", "1"]);
            for name in ["k", "l"] {
                client.send(b"MULTI\r\n").unwrap();
                client.reply().unwrap();
                client.call(&["INCR", name]);
                client.call(&["INCR", "sum"]);
                client.call(&["EXEC"]);
            }
            reader.kill();
            let _ = fs::remove_dir_all(reader.path("appendonlydir"));
            copy_dir(&writer.path("appendonlydir"), &reader.path("appendonlydir"));
            reader.restart();
            wait_until_equal(&writer, &reader);
            if from.is_stock() {
                // It has to be whole for itself as well, and go on.
                writer.kill();
                writer.restart();
            } else {
                writer.kill();
                writer.restart();
                wait_until_equal(&writer, &reader);
            }
            if round == 1 {
                rewrite(&writer);
                let files = fs::read_dir(writer.path("appendonlydir")).unwrap().count();
                assert_eq!(files, 3, "manifest, base, increment");
                writer.client().expect(&["FLUSHALL"], "+OK\r\n");
                fill(&writer, 20);
            }
        }
    }
}

/// Every write that was acknowledged under `appendfsync always` is there after SIGKILL, during a rewrite
/// too, and the history goes on: a replica needs no copy.
#[test]
fn a_killed_server_has_what_it_acknowledged() {
    for cores in [1, 3] {
        let mut server = appending(Kind::Ours(cores), "always").start();
        let replica = replica_of(plan(Kind::Ours(1)), "127.0.0.1", server.port());
        wait_for_link(&replica);
        let mut all = Vec::new();
        for round in 0..3 {
            let writers = Writers::start(&server.address(), None, 4, 64);
            writers.wait_for_more(1_000);
            if round > 0 {
                server.client().call(&["BGREWRITEAOF"]);
                writers.wait_for_more(300);
            }
            server.kill();
            let ledgers = writers.stop();
            server.restart();
            assert_eq!(lost(&mut server.client(), &ledgers), 0, "round {round}");
            all.push(ledgers);
            server.client().expect(&["FLUSHALL"], "+OK\r\n");
        }
        wait_for_link(&replica);
        server.client().expect(&["SET", "last", "one"], "+OK\r\n");
        wait_until_equal(&server, &replica);
    }
}

/// A replica that was killed goes on from its own append-only file.
#[test]
fn a_replica_goes_on_from_its_append_only_file() {
    let master = appending(Kind::Ours(2), "everysec").start();
    fill(&master, 100);
    let mut replica = replica_of(appending(Kind::Ours(3), "always"), "127.0.0.1", master.port());
    wait_for_link(&replica);
    wait_until_equal(&master, &replica);
    wait_until("its file is whole", || {
        count(&replica, "aof_rewrites") > 0 && count(&replica, "aof_rewrite_in_progress") == 0
    });
    for n in 0..3 {
        let writers = Writers::gentle(&master.address(), None);
        writers.wait_for_more(200);
        replica.kill();
        writers.wait_for_more(200);
        replica.restart();
        wait_for_link(&replica);
        writers.stop();
        wait_until_equal(&master, &replica);
        assert_eq!(count(&master, "sync_full"), 1, "round {n}");
    }
}

#[test]
fn a_truncated_end_is_cut_off_and_damage_is_refused() {
    let mut server = appending(Kind::Ours(2), "always").start();
    let mut client = server.client();
    (0..100).for_each(|n| client.expect(&["SET", &format!("k{n}"), "v"], "+OK\r\n"));
    server.kill();
    let file = increment(&server);
    let whole = fs::read(&file).unwrap();
    let refused = |server: &mut Server, why: &str| {
        server.restart_at_once();
        assert!(!server.wait_for_exit().success());
        assert!(server.log().contains(why), "{why}: {}", server.log());
    };
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    server.restart();
    server.client().expect(&["DBSIZE"], ":99\r\n");
    server.client().expect(&["SET", "new", "v"], "+OK\r\n");
    server.kill();
    server.restart();
    server.client().expect(&["DBSIZE"], ":100\r\n");
    server.client().expect(&["GET", "new"], "$1\r\nv\r\n");
    server.kill();
    let mut damaged = whole.clone();
    let at = whole.windows(4).rposition(|it| it == b"*3\r\n").unwrap();
    damaged[at] = b'!';
    fs::write(&file, &damaged).unwrap();
    refused(&mut server, &format!("at offset {at}"));
    fs::write(&file, &whole[..whole.len() - 3]).unwrap();
    server.plan = server.plan.clone().arg("aof-load-truncated", &["no"]);
    refused(&mut server, "Unexpected end of file");
    fs::write(&file, [&whole[..], b"*1\r\n$7\r\nNOSUCH!\r\n"].concat()).unwrap();
    refused(&mut server, "NOSUCH!");
    fs::write(server.path("appendonlydir/appendonly.aof.manifest"), "file x").unwrap();
    refused(&mut server, "Invalid AOF manifest");
}

/// An RDB file that was there before `appendonly yes` is loaded, and so is the one file of older servers.
#[test]
fn what_was_there_before_is_not_forgotten() {
    let mut server = plan(Kind::Ours(2)).start();
    fill(&server, 50);
    server.client().expect(&["SAVE"], "+OK\r\n");
    let other = plan(Kind::Ours(1)).start();
    server.kill();
    server.plan = server.plan.clone().arg("appendonly", &["yes"]);
    for _ in 0..2 {
        server.restart();
        wait_until("there is a base", || {
            fs::read_to_string(server.path("appendonlydir/appendonly.aof.manifest"))
                .is_ok_and(|it| it.contains("type b"))
        });
        let size = server.client().call(&["DBSIZE"]);
        assert_ne!(size, b":0\r\n");
        server.kill();
    }
    drop(other);
    // Redis 6: RDB and commands in one file.
    let old = Server::of(Kind::Ours(1));
    fill(&old, 20);
    let mut rdb = {
        old.client().expect(&["SAVE"], "+OK\r\n");
        fs::read(old.path("dump.rdb")).unwrap()
    };
    rdb.extend_from_slice(b"*3\r\n$3\r\nSET\r\n$3\r\nnew\r\n$1\r\nv\r\n");
    let mut server = plan(Kind::Ours(2)).start();
    server.kill();
    fs::write(server.path("appendonly.aof"), rdb).unwrap();
    server.plan = server.plan.clone().arg("appendonly", &["yes"]);
    server.restart();
    server.client().expect(&["GET", "new"], "$1\r\nv\r\n");
    old.client().expect(&["SET", "new", "v"], "+OK\r\n");
    server.client().expect(&["EXISTS", "key:0:1"], ":1\r\n");
}

#[test]
fn it_can_be_switched_on_and_off() {
    let mut server = plan(Kind::Ours(3)).start();
    fill(&server, 50);
    let mut client = server.client();
    for n in 0..3 {
        client.expect(&["CONFIG", "SET", "appendonly", "yes"], "+OK\r\n");
        wait_until("its base is written", || {
            count(&server, "aof_rewrites") > n && count(&server, "aof_rewrite_in_progress") == 0
        });
        client.expect(&["SET", "n", &n.to_string()], "+OK\r\n");
        client.expect(&["CONFIG", "SET", "appendonly", "no"], "+OK\r\n");
        client.expect(&["SET", "unwritten", &n.to_string()], "+OK\r\n");
    }
    server.plan = server.plan.clone().arg("appendonly", &["yes"]);
    server.kill();
    server.restart();
    server.client().expect(&["GET", "n"], "$1\r\n2\r\n");
    server.client().expect(&["GET", "unwritten"], "$1\r\n1\r\n");
}

/// A full disk: the process stays, reads go on, writes are refused, and once there is room they go on. What
/// was acknowledged is there after a restart.
#[test]
fn a_full_disk_refuses_writes_until_there_is_room() {
    for fsync in ["everysec", "always"] {
        let mut server = plan(Kind::Ours(2)).arg("appendfsync", &[fsync]).start();
        let dir = server.path("appendonlydir");
        fs::create_dir(&dir).unwrap();
        let mount = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "ringfold-test"])
            .arg(&dir)
            .status();
        if !mount.is_ok_and(|it| it.success()) {
            eprintln!("no file system can be mounted here: nothing tested");
            return;
        }
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            fill_disk(&mut server, &dir);
        }));
        server.kill();
        let _ = Command::new("umount").arg(&dir).status();
        result.unwrap_or_else(|why| std::panic::resume_unwind(why));
    }
}

fn fill_disk(server: &mut Server, dir: &Path) {
    server.client().expect(&["CONFIG", "SET", "appendonly", "yes"], "+OK\r\n");
    wait_until("it is on", || count(server, "aof_rewrites") > 0);
    let value = "v".repeat(10_000);
    let mut acknowledged = 0;
    let refused = comes_true(|| {
        let mut client = server.client();
        match client.try_call(&["SET", &format!("k{acknowledged}"), &value]) {
            Ok(reply) if reply == b"+OK\r\n" => {
                acknowledged += 1;
                false
            }
            Ok(reply) => {
                assert!(reply.starts_with(b"-MISCONF Errors writing to the AOF"), "{reply:?}");
                true
            }
            Err(_) => false, // Its connection was closed: nobody knows.
        }
    });
    assert!(refused && acknowledged > 50, "{acknowledged}");
    let mut client = server.client();
    assert!(client.call(&["GET", "k0"]).starts_with(b"$10000"));
    assert_eq!(client.info("aof_last_write_status").as_deref(), Some("err"));
    let remount = Command::new("mount").args(["-o", "remount,size=64m"]).arg(dir).status();
    assert!(remount.unwrap().success());
    wait_until("writes go on", || client.call(&["SET", "after", "v"]) == b"+OK\r\n");
    server.kill();
    server.plan = server.plan.clone().arg("appendonly", &["yes"]);
    server.restart();
    let mut client = server.client();
    for n in 0..acknowledged {
        assert!(client.call(&["GET", &format!("k{n}")]).starts_with(b"$10000"), "k{n}");
    }
    client.expect(&["GET", "after"], "$1\r\nv\r\n");
}
