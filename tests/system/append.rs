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

/// A base of commands: either make loads what the other wrote, all types, and what came behind it.
#[test]
fn a_base_of_commands_is_loaded_by_both() {
    for (from, to) in [
        (Kind::Ours(1), Kind::Redis),
        (Kind::Ours(3), Kind::Redis),
        (Kind::Ours(3), Kind::Ours(2)),
        (Kind::Redis, Kind::Ours(2)),
    ] {
        let mut writer = appending(from, "everysec").arg("aof-use-rdb-preamble", &["no"]).start();
        let mut reader = appending(to, "everysec").start();
        fill(&writer, 100);
        let mut client = writer.client();
        let library = "#!lua name=lib\nredis.register_function('one', function() return 1 end)";
        client.call(&["FUNCTION", "LOAD", library]);
        for n in 0..3_000 {
            client.call(&["ZADD", "large", &format!("{}.5", n * 7 % 1_000), &format!("m{n}")]);
        }
        client.call(&["ZADD", "infinite", "inf", "a", "-inf", "b", "0.1", "c"]);
        client.call(&["XADD", "gone", "7-7", "a", "b"]);
        client.call(&["XDEL", "gone", "7-7"]);
        rewrite(&writer);
        let dir = writer.path("appendonlydir");
        let manifest = fs::read_to_string(dir.join("appendonly.aof.manifest")).unwrap();
        let base = manifest.lines().find(|line| line.ends_with("type b")).unwrap();
        let base = base.split(' ').nth(1).unwrap();
        assert!(base.ends_with(".base.aof"), "{manifest}");
        assert!(fs::read(dir.join(base)).unwrap().starts_with(b"*"), "no commands");
        client.call(&["SET", "behind", "it"]);
        client.call(&["RPUSH", "large-list", "x"]);
        let streams = |server: &Server| {
            let mut client = server.client();
            ["stream:7", "gone"].map(|key| client.call(&["XINFO", "STREAM", key]))
        };
        reader.kill();
        let _ = fs::remove_dir_all(reader.path("appendonlydir"));
        wait_until("the last writes are on the file", || {
            let file = fs::read(increment(&writer)).unwrap();
            file.windows(10).any(|it| it == b"large-list")
        });
        copy_dir(&dir, &reader.path("appendonlydir"));
        reader.restart();
        wait_until_equal(&writer, &reader);
        reader.client().expect(&["FCALL", "one", "0"], ":1\r\n");
        if !from.is_stock() && !to.is_stock() {
            assert_eq!(streams(&writer), streams(&reader));
        }
        writer.kill();
        writer.restart();
        wait_until_equal(&writer, &reader);
    }
}

/// WAITAOF counts files that have a write synced: our own, and those of replicas that have one.
#[test]
fn waitaof_waits_for_files() {
    let master = appending(Kind::Ours(2), "always").start();
    let mut client = master.client();
    client.expect(&["SET", "k", "1"], "+OK\r\n");
    client.expect(&["WAITAOF", "1", "0", "0"], "*2\r\n:1\r\n:0\r\n");
    client.expect(&["WAITAOF", "1", "1", "20"], "*2\r\n:1\r\n:0\r\n");
    for (words, error) in [
        (["2", "0", "0"], "ERR value is out of range, value must between 0 and 1"),
        (["x", "0", "0"], "ERR value is not an integer or out of range"),
        (["1", "-1", "0"], "ERR value is out of range, must be positive"),
        (["1", "0", "-1"], "ERR timeout is negative"),
    ] {
        let reply = format!("-{error}\r\n");
        client.expect(&["WAITAOF", words[0], words[1], words[2]], &reply);
    }
    for fsync in ["always", "everysec"] {
        let with = replica_of(appending(Kind::Ours(2), fsync), "127.0.0.1", master.port());
        let without = replica_of(plan(Kind::Ours(1)), "127.0.0.1", master.port());
        wait_for_link(&with);
        wait_for_link(&without);
        for n in 0..5 {
            client.expect(&["SET", "k", &n.to_string()], "+OK\r\n");
            client.expect(&["WAITAOF", "1", "1", "60000"], "*2\r\n:1\r\n:1\r\n");
            client.expect(&["WAIT", "2", "60000"], ":2\r\n");
        }
        client.expect(&["WAITAOF", "0", "2", "50"], "*2\r\n:1\r\n:1\r\n");
        let text = "-ERR WAITAOF cannot be used with replica instances.";
        assert!(with.client().call(&["WAITAOF", "1", "0", "0"]).starts_with(text.as_bytes()));
    }
    let mut waits = master.client();
    waits.send(&crate::support::client::request(&[b"WAITAOF", b"1", b"9", b"0"])).unwrap();
    wait_until("it waits", || master.info("blocked_clients").as_deref() == Some("1"));
    client.expect(&["CONFIG", "SET", "appendonly", "no"], "+OK\r\n");
    let text = "-ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.\r\n";
    assert_eq!(String::from_utf8_lossy(&waits.reply().unwrap()), text);
    client.expect(&["WAITAOF", "1", "0", "0"], text);
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

/// The section has Redis' fields, in its order, with the append-only file and without.
#[test]
fn info_tells_of_files_what_redis_tells() {
    let fields = |kind: Kind| {
        let server = appending(kind, "everysec").start();
        let mut client = server.client();
        let mut section = || {
            let text = client.text(&["INFO", "persistence"]);
            let name = |line: &str| line.split(':').next().unwrap_or_default().trim().to_string();
            text.lines().map(name).collect::<Vec<_>>()
        };
        let on = section();
        server.client().expect(&["CONFIG", "SET", "appendonly", "no"], "+OK\r\n");
        (on, section())
    };
    assert_eq!(fields(Kind::Ours(2)), fields(Kind::Redis));
}
