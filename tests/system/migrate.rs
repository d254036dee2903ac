//! MIGRATE: keys that go from one server to another, of both makes.

use crate::support::client::{Client, request};
use crate::support::server::{Kind, Server, free_port, wait_until_equal};
use crate::support::value::value;
use crate::{plan, replica_of, wait_for_link};
use std::io::Read;
use std::net::TcpListener;
use std::time::Duration;

/// From whom, to whom.
const PAIRS: &[(Kind, Kind)] =
    &[(Kind::Ours(1), Kind::Ours(3)), (Kind::Ours(3), Kind::Redis), (Kind::Redis, Kind::Ours(3))];

fn fill(client: &mut Client) {
    for n in 0..20 {
        client.call(&["SET", &format!("string{n}"), &"x".repeat(n * 500)]);
        let list: Vec<String> = (0..n * 40).map(|it| format!("element {it}")).collect();
        let words: Vec<&str> = list.iter().map(String::as_str).collect();
        client.call(&[&["RPUSH", &format!("list{n}"), "first"], &words[..]].concat());
        client.call(&[&["SADD", &format!("set{n}"), "first"], &words[..]].concat());
        client.call(&["ZADD", &format!("zset{n}"), "1.5", "a", "2", "b"]);
        client.call(&["HSET", &format!("hash{n}"), "f", "v", "g", "w"]);
        client.call(&["XADD", &format!("stream{n}"), "1-1", "f", "v"]);
        client.call(&["PEXPIRE", &format!("hash{n}"), "100000000"]);
    }
}

fn migrate(client: &mut Client, to: &Server, args: &[&str]) -> String {
    let port = to.port().to_string();
    let all = [&["MIGRATE", "127.0.0.1", port.as_str()], args].concat();
    String::from_utf8(client.call(&all)).unwrap()
}

#[test]
fn keys_of_all_cores_arrive_and_are_gone_here() {
    for &(from, to) in PAIRS {
        let (from, to) = (plan(from).start(), plan(to).start());
        let replica = replica_of(plan(Kind::Ours(2)), "127.0.0.1", from.port());
        wait_for_link(&replica);
        let (mut source, mut target) = (from.client(), to.client());
        fill(&mut source);
        let digest = source.text(&["DEBUG", "DIGEST"]);
        let keys = value(&source.call(&["KEYS", "*"]));
        let keys: Vec<&str> =
            keys.items().iter().map(|it| std::str::from_utf8(it.bytes()).unwrap()).collect();
        let all = [&["", "0", "5000", "COPY", "KEYS", "nokey"], &keys[..]].concat();
        assert_eq!(migrate(&mut source, &to, &all), "+OK\r\n");
        assert_eq!(target.text(&["DEBUG", "DIGEST"]), digest, "a copy");
        assert_eq!(source.text(&["DEBUG", "DIGEST"]), digest, "and the original");
        // What is there already stays, unless it may be replaced.
        let all = [&["", "0", "5000", "KEYS"], &keys[..]].concat();
        let said = migrate(&mut source, &to, &all);
        let busy = "BUSYKEY Target key name already exists.";
        assert_eq!(said, format!("-ERR Target instance replied with error: {busy}\r\n"));
        assert_eq!(source.text(&["DEBUG", "DIGEST"]), digest);
        target.call(&["DEL", "list3", "string3"]);
        assert!(migrate(&mut source, &to, &all).starts_with("-ERR Target instance"));
        source.expect(&["EXISTS", "list3", "string3", "list4"], ":1\r\n");
        let all = [&["", "0", "5000", "REPLACE", "KEYS"], &keys[..]].concat();
        assert_eq!(migrate(&mut source, &to, &all), "+OK\r\n");
        source.expect(&["DBSIZE"], ":0\r\n");
        assert_eq!(target.text(&["DEBUG", "DIGEST"]), digest);
        assert!(target.text(&["PTTL", "hash1"]).trim_start_matches(':').trim().len() >= 8);
        assert_eq!(migrate(&mut source, &to, &all), "+NOKEY\r\n");
        source.call(&["SET", "stays", "v"]);
        wait_until_equal(&from, &replica);
        // One key, into another database; the connection is used again.
        for n in 0..50 {
            let key = format!("k{n}");
            source.call(&["SET", &key, "v"]);
            let db = (n % 3).to_string();
            assert_eq!(migrate(&mut source, &to, &[&key, &db, "5000"]), "+OK\r\n");
            source.expect(&["EXISTS", &key], ":0\r\n");
        }
        target.expect(&["SELECT", "2"], "+OK\r\n");
        target.expect(&["DBSIZE"], ":16\r\n");
    }
}

#[test]
fn what_is_wrong_is_told_as_redis_tells_it() {
    let guarded = plan(Kind::Redis).arg("requirepass", &["secret"]).start();
    let closed = free_port("127.0.0.1");
    let mut answers = Vec::new();
    for kind in [Kind::Redis, Kind::Ours(1), Kind::Ours(3)] {
        let server = plan(kind).start();
        let mut client = server.client();
        client.call(&["MSET", "k", "v", "l", "w"]);
        let mut said = Vec::new();
        for args in [
            &["k", "0", "1000"][..],
            &["k", "0", "1000", "AUTH", "wrong"],
            &["k", "0", "1000", "AUTH"],
            &["k", "0", "1000", "AUTH2", "default"],
            &["k", "0", "1000", "FOO"],
            &["k", "0", "x"],
            &["k", "x", "1000"],
            &["k", "99", "1000", "AUTH", "secret"],
            &["k", "0", "1000", "KEYS", "a"],
            &["nokey", "0", "1000", "AUTH", "secret"],
            &["", "0", "1000", "KEYS", "none", "neither"],
            &["k", "0", "1000", "COPY", "REPLACE", "AUTH2", "default", "secret"],
            &["", "0", "-5", "REPLACE", "AUTH", "secret", "KEYS", "k", "l", "none"],
            &["k", "0", "1000", "AUTH", "secret"],
        ] {
            said.push(format!("{args:?} {}", migrate(&mut client, &guarded, args)));
        }
        client.call(&["SET", "k", "v"]);
        let port = closed.to_string();
        for key in ["k", "nokey"] {
            let reply = client.call(&["MIGRATE", "127.0.0.1", &port, key, "0", "1000"]);
            said.push(String::from_utf8(reply).unwrap());
        }
        said.push(client.text(&["GET", "k"]));
        let keys = ["COMMAND", "GETKEYS", "MIGRATE", "h", "1", "", "0", "9", "KEYS", "a", "b"];
        said.push(client.text(&keys));
        said.push(client.text(&["COMMAND", "GETKEYS", "MIGRATE", "h", "1", "k", "0", "9", "COPY"]));
        answers.push(said);
    }
    assert_eq!(answers[1], answers[0]);
    assert_eq!(answers[2], answers[0]);
}

/// The other server takes the connection and says nothing: only who asked waits, and the keys that go.
#[test]
fn a_server_that_is_silent_holds_up_nobody_else() {
    for kind in [Kind::Ours(1), Kind::Ours(3)] {
        let server = plan(kind).start();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = silent.local_addr().unwrap().port().to_string();
        let (mut asker, mut other, mut third) = (server.client(), server.client(), server.client());
        other.call(&["MSET", "a", "1", "b", "2", "c", "3"]);
        let words = ["MIGRATE", "127.0.0.1", &port, "", "0", "2000", "KEYS", "a", "b"];
        asker.send(&request(&words.map(str::as_bytes))).unwrap();
        let (mut link, _) = silent.accept().unwrap();
        link.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut first = [0; 64];
        assert!(link.read(&mut first).unwrap() > 0, "the keys are on their way");
        other.expect(&["PING"], "+PONG\r\n");
        other.expect(&["INCR", "c"], ":4\r\n");
        third.send(&request(&[b"SET", b"a", b"9"])).unwrap();
        other.expect(&["INCR", "c"], ":5\r\n");
        let said = asker.reply().unwrap();
        assert_eq!(said, b"-IOERR error or timeout reading to target instance\r\n");
        assert_eq!(third.reply().unwrap(), b"+OK\r\n");
        other.expect(&["MGET", "a", "b"], "*2\r\n$1\r\n9\r\n$1\r\n2\r\n");
        drop(link);
    }
}

/// The target goes away between two migrations by the same connection: nobody notices.
#[test]
fn a_kept_connection_that_was_closed_is_opened_again() {
    let (from, mut to) = (plan(Kind::Ours(2)).start(), plan(Kind::Ours(1)).start());
    let mut source = from.client();
    source.call(&["MSET", "a", "1", "b", "2"]);
    assert_eq!(migrate(&mut source, &to, &["a", "1", "5000"]), "+OK\r\n");
    to.kill();
    to.restart();
    assert_eq!(migrate(&mut source, &to, &["b", "1", "5000"]), "+OK\r\n");
    let mut target = to.client();
    target.expect(&["SELECT", "1"], "+OK\r\n");
    target.expect(&["GET", "b"], "$1\r\n2\r\n");
}

/// A large value goes as one, and other clients are served meanwhile.
#[test]
fn large_keys_go_whole() {
    let (from, to) = (plan(Kind::Ours(3)).start(), plan(Kind::Redis).start());
    let (mut source, mut target) = (from.client(), to.client());
    source.call(&["SET", "big", &"0123456789abcdef".repeat(1 << 20)]);
    for part in 0..50 {
        let words: Vec<String> = (0..2_000).map(|n| format!("{n} of {part}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        source.call(&[&["RPUSH", "long"], &words[..]].concat());
        source.call(&[&["SADD", "wide"], &words[..]].concat());
    }
    let digest = source.text(&["DEBUG", "DIGEST"]);
    let args = ["", "0", "30000", "KEYS", "big", "long", "wide"];
    assert_eq!(migrate(&mut source, &to, &args), "+OK\r\n");
    assert_eq!(target.text(&["DEBUG", "DIGEST"]), digest);
    source.expect(&["DBSIZE"], ":0\r\n");
}
