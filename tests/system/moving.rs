//! `ringfold migrate`: a running server moves to another and back under writes, is refused what would lose data, and is
//! killed at every phase. What was acknowledged is on whichever server is the master, always.

use crate::support::client::Client;
use crate::support::server::{Kind, Server, under_test, wait_until_equal};
use crate::support::wait_until;
use crate::support::writers::{Writers, lost};
use crate::{fill, plan, replica_of, wait_for_link};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

fn command(from: &Server, to: &Server, more: &[&str]) -> Command {
    let mut command = Command::new(under_test());
    command.args(["migrate", "--from", &from.address(), "--to", &to.address()]).args(more);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn moved(from: &Server, to: &Server, more: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(from, to, more).output().unwrap();
    let text = String::from_utf8_lossy(&stdout).into_owned();
    assert!(status.success(), "{text}{}", String::from_utf8_lossy(&stderr));
    text
}

fn refused(from: &Server, to: &Server, more: &[&str]) -> String {
    let Output { status, stdout, stderr } = command(from, to, more).output().unwrap();
    assert_eq!(status.code(), Some(1), "{}", String::from_utf8_lossy(&stdout));
    String::from_utf8_lossy(&stderr).into_owned()
}

fn role(server: &Server) -> String {
    server.info("role").unwrap_or_default()
}

/// There under writes, back under writes, and there again: nothing is lost, nothing copied twice.
#[test]
fn there_and_back_under_writes() {
    for (old, new) in
        [(Kind::Redis, Kind::Ours(2)), (Kind::Ours(1), Kind::Redis), (Kind::Ours(2), Kind::Ours(1))]
    {
        let (old, new) = (plan(old).start(), plan(new).start());
        fill(&old, 100);
        let checked = moved(&old, &new, &["--check"]);
        assert!(checked.contains("it can be done"), "{checked}");
        assert_eq!((role(&old), role(&new)), ("master".into(), "master".into()));
        let writers = Writers::gentle(&old.address(), None);
        writers.wait_for_more(300);
        let said = moved(&old, &new, &["--verify", "digest"]);
        assert!(said.contains("the digests are equal") && said.contains("writes waited"), "{said}");
        assert_eq!((role(&old), role(&new)), ("slave".into(), "master".into()));
        let mut ledgers = writers.stop();
        assert_eq!(lost(&mut new.client(), &ledgers), 0);
        // Asked again it says that there is nothing to do.
        assert!(moved(&old, &new, &[]).contains("nothing to do"));
        // And back, with what was written meanwhile. Writers start anew from their first key.
        let writers = Writers::gentle(&new.address(), None);
        writers.wait_for_more(300);
        moved(&old, &new, &["--back", "--verify", "keys"]);
        assert_eq!((role(&old), role(&new)), ("master".into(), "slave".into()));
        ledgers.extend(writers.stop());
        assert_eq!(lost(&mut old.client(), &ledgers), 0);
        old.client().expect(&["SET", "after", "x"], "+OK\r\n");
        wait_until_equal(&old, &new);
        assert_eq!(old.info("sync_full").as_deref(), Some("1"), "the first copy is the only one");
        assert_eq!(new.info("sync_full").as_deref(), Some("0"));
    }
}

#[test]
fn passwords_are_handed_on_to_whoever_follows() {
    let old = plan(Kind::Redis).arg("requirepass", &["old secret"]);
    let new = plan(Kind::Ours(2)).arg("requirepass", &["new secret"]);
    let (mut old, mut new) = (old.start(), new.start());
    (old.plan.password, new.plan.password) = (Some("old secret".into()), Some("new secret".into()));
    old.client().expect(&["SET", "k", "v"], "+OK\r\n");
    assert!(refused(&old, &new, &[]).contains("NOAUTH"), "without a password");
    let both = ["--from-pass", "old secret", "--to-pass", "new secret"];
    moved(&old, &new, &both);
    new.client().expect(&["GET", "k"], "$1\r\nv\r\n");
    moved(&old, &new, &[&both[..], &["--back"]].concat());
    assert_eq!((role(&old), role(&new)), ("master".into(), "slave".into()));
}

#[test]
fn what_would_lose_data_is_refused() {
    let (old, new) = (plan(Kind::Redis).start(), plan(Kind::Ours(1)).start());
    old.client().expect(&["SET", "k", "v"], "+OK\r\n");
    new.client().expect(&["SET", "mine", "v"], "+OK\r\n");
    assert!(refused(&old, &new, &["--check"]).contains("the target has 1 keys"));
    assert!(refused(&old, &new, &["--back"]).contains("does not follow the new one"));
    assert!(refused(&old, &old, &[]).contains("one server"));
    let third = replica_of(plan(Kind::Redis), "127.0.0.1", old.port());
    wait_for_link(&third);
    assert!(refused(&third, &new, &[]).contains("start from that one"));
    new.client().expect(&["GET", "mine"], "$1\r\nv\r\n");
    assert_eq!((role(&old), role(&new)), ("master".into(), "master".into()));
    let said = moved(&old, &new, &["--replace", "--verify", "count"]);
    assert!(said.contains("(1); 0 were compared"), "{said}");
    new.client().expect(&["GET", "mine"], "$-1\r\n");
}

/// Data that is not the same on both: the source goes on, and takes writes at once.
#[test]
fn data_that_differs_leaves_all_as_it_was() {
    let (old, new) = (plan(Kind::Redis).start(), plan(Kind::Ours(2)).start());
    fill(&old, 20);
    let port = old.port().to_string();
    new.client().expect(&["REPLICAOF", "127.0.0.1", &port], "+OK\r\n");
    wait_for_link(&new);
    let mut target = new.client();
    target.expect(&["CONFIG", "SET", "replica-read-only", "no"], "+OK\r\n");
    for (verify, spoil, why) in [
        ("keys", ["HSET", "hash:1", "f0", "x"], "the value of key hash:1 in database 0"),
        ("auto", ["EXPIRE", "key:0:3", "77", "GT"], "the digests differ"),
        ("count", ["SETEX", "more", "100", "x"], "numbers of keys differ"),
    ] {
        assert!(!target.call(&spoil).starts_with(b"-"), "{spoil:?}");
        let said = refused(&old, &new, &["--verify", verify, "--pause-limit", "1"]);
        assert!(said.contains(why) || verify == "auto", "{said}");
        assert!(said.contains("Nothing is lost"), "{said}");
        old.client().expect(&["SET", "goes", "on"], "+OK\r\n");
        assert_eq!((role(&old), role(&new)), ("master".into(), "slave".into()));
    }
}

/// The last line that is seen before the program is killed, and whether the kill comes a moment later.
const KILLS: &[(&str, u64)] = &[
    ("check:", 0),
    ("attach:", 0),
    ("follow:", 0),
    ("pause:", 0),
    ("pause:", 3),
    ("verify:", 0),
    ("verify:", 2),
    ("verify:", 10),
    ("cut over:", 0),
];

#[test]
fn killed_at_any_phase_nothing_is_lost() {
    for (old, new) in [(Kind::Redis, Kind::Ours(2)), (Kind::Ours(2), Kind::Redis)] {
        for &(phase, later) in KILLS.iter().step_by(if new == Kind::Redis { 2 } else { 1 }) {
            let (old, new) = (plan(old).start(), plan(new).start());
            fill(&old, 10);
            let writers = Writers::gentle(&old.address(), None);
            writers.wait_for_more(50);
            // On a slow machine writes may have waited long enough before the phase is there: then once more.
            wait_until("the phase is reached", || {
                kill_at(command(&old, &new, &["--pause-limit", "2"]).spawn().unwrap(), phase, later)
            });
            // It ends with one master by itself: pause and failover have limits of their own.
            let changed = || role(&old) == "slave" && role(&new) == "master";
            let takes_writes = |server: &Server| server.ask(&["SET", "after", "x"]) == b"+OK\r\n";
            wait_until("there is one master again", || match role(&old).as_str() {
                "master" => takes_writes(&old),
                _ => changed() && takes_writes(&new),
            });
            if role(&old) == "master" {
                writers.wait_for_more(50);
            }
            // Another run ends what the first began.
            let again = || command(&old, &new, &["--pause-limit", "20"]).output().unwrap().status;
            wait_until("another run ends it", || again().success());
            let ledgers = writers.stop();
            assert_eq!(lost(&mut new.client(), &ledgers), 0, "killed at {phase} {later}");
            assert!(changed(), "killed at {phase} {later}");
            wait_until_equal(&new, &old);
        }
    }
}

/// Kills it as soon as it says so; false where it ended before, which must have left all as it was.
fn kill_at(mut program: Child, phase: &str, later: u64) -> bool {
    let mut lines = BufReader::new(program.stdout.take().unwrap()).lines();
    let seen = lines.any(|line| line.unwrap().starts_with(phase));
    if !seen {
        let said = program.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&said.stderr);
        assert!(errors.contains("Nothing is lost"), "{phase} {:?} {errors}", said.status);
        return false;
    }
    std::thread::park_timeout(std::time::Duration::from_millis(later));
    program.kill().unwrap();
    program.wait().unwrap();
    true
}

/// A source that Sentinels watch is not taken from under them.
#[test]
fn a_listening_sentinel_is_noticed() {
    let (old, new) = (plan(Kind::Redis).start(), plan(Kind::Ours(1)).start());
    let mut listener: Client = old.client();
    listener.expect(&["CLIENT", "SETNAME", "sentinel-12345678-pubsub"], "+OK\r\n");
    listener.call(&["SUBSCRIBE", "__sentinel__:hello"]);
    assert!(refused(&old, &new, &["--check"]).contains("watched by Sentinels"));
}
