//! Sentinels, ours and Redis', over stock and own servers: elections in mixed company, what clients are
//! told, what stands in the file, and answers to the byte.

use crate::support::client::Client;
use crate::support::server::{Folder, Kind, Plan, Server, free_port, under_test};
use crate::support::{wait_for, wait_until};
use crate::{replica_of, wait_for_link};
use ringfold::resp::decode::{Value, decode};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Whose Sentinel it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    Ours,
    Redis,
}

use Maker::{Ours, Redis};

/// So long a server may stand still on a slow machine before it is taken for dead.
const DOWN_AFTER_MS: u64 = 3_000;

/// A running Sentinel.
pub struct Watcher {
    maker: Maker,
    pub port: u16,
    file: PathBuf,
    folder: Folder,
    child: Child,
}

impl Watcher {
    /// A Sentinel of the master at `port`, with further lines in its file.
    fn start(maker: Maker, master: u16, quorum: usize, more: &str) -> Self {
        let folder = Folder::new();
        let port = free_port("127.0.0.1");
        let file = folder.0.join("sentinel.conf");
        let text = format!(
            "# my Sentinel\nport {port}\nsentinel monitor m 127.0.0.1 {master} {quorum}\n\
             sentinel down-after-milliseconds m {DOWN_AFTER_MS}\n\
             sentinel failover-timeout m 10000\n{more}"
        );
        fs::write(&file, text).unwrap();
        let child = spawn(maker, &file, &folder);
        let mut watcher = Self { maker, port, file, folder, child };
        watcher.wait_until_it_answers();
        watcher
    }

    fn wait_until_it_answers(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        wait_until("the Sentinel answers", || {
            // The kernel ends the ring of a process that was killed, and so its listener, a moment later, and
            // another test may be looking whether the port is free.
            if self.child.try_wait().unwrap().is_some() {
                let log = self.log().to_lowercase();
                let in_use =
                    log.lines().rev().take(5).any(|it| it.contains("address already in use"));
                assert!(in_use, "the Sentinel ended at its start:\n{log}");
                self.child = spawn(self.maker, &self.file, &self.folder);
            }
            Client::connect(&address).and_then(|mut it| it.try_call(&["PING"])).is_ok()
        });
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = spawn(self.maker, &self.file, &self.folder);
        self.wait_until_it_answers();
    }

    fn ask(&self, args: &[&str]) -> Value {
        let address = format!("127.0.0.1:{}", self.port);
        let answer = || Client::connect(&address).and_then(|mut it| it.try_call(args)).ok();
        value(&wait_for("the Sentinel answers", answer))
    }

    /// One field of what it says of its master.
    fn field(&self, name: &str) -> String {
        field(&self.ask(&["SENTINEL", "MASTER", "m"]), name)
    }

    fn master(&self) -> u16 {
        match self.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"]) {
            Value::Array(items) => text(&items[1]).parse().unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// It knows so many replicas, all well, and so many other Sentinels.
    fn knows(&self, replicas: usize, sentinels: usize) -> bool {
        let Value::Array(all) = self.ask(&["SENTINEL", "REPLICAS", "m"]) else { return false };
        let well =
            |it: &&Value| field(it, "master-link-status") == "ok" && field(it, "flags") == "slave";
        all.iter().filter(well).count() == replicas
            && self.field("num-other-sentinels") == sentinels.to_string()
            && self.field("flags") == "master"
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.0.join("log")).unwrap_or_default()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("-- the log of a Sentinel of {:?}:\n{}", self.maker, self.log());
        }
    }
}

fn spawn(maker: Maker, file: &Path, folder: &Folder) -> Child {
    let log = fs::File::options().create(true).append(true).open(folder.0.join("log")).unwrap();
    let mut command = match maker {
        Ours => Command::new(under_test()),
        Redis => Command::new("redis-server"),
    };
    match maker {
        Ours => command.arg("sentinel").arg(file),
        Redis => command.arg(file).arg("--sentinel"), // what the program named redis-sentinel is
    };
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}

fn value(bytes: &[u8]) -> Value {
    decode(bytes).unwrap().unwrap().0
}

fn text(value: &Value) -> String {
    match value {
        Value::Bulk(text) | Value::Simple(text) | Value::Error(text) => {
            String::from_utf8_lossy(text).into_owned()
        }
        Value::Int(number) => number.to_string(),
        other => panic!("{other:?}"),
    }
}

fn field(value: &Value, name: &str) -> String {
    let Value::Array(items) = value else { return String::new() };
    let pair = items.chunks_exact(2).find(|pair| text(&pair[0]) == name);
    pair.map(|pair| text(&pair[1])).unwrap_or_default()
}

/// A master and two replicas, with a file each, so that a change of role can be written down.
pub fn group(kind: Kind, password: Option<&str>) -> Vec<Server> {
    let plan = || {
        let port = free_port("127.0.0.1");
        let plan = Plan::new(kind).arg("repl-diskless-sync-delay", &["0"]);
        let mut plan = Plan { port, ..plan };
        if let Some(password) = password {
            plan = plan.password(password);
        }
        plan
    };
    let master = plan().start();
    let port = master.port();
    let mut servers = vec![master];
    for _ in 0..2 {
        let replica = replica_of(plan(), "127.0.0.1", port);
        wait_for_link(&replica);
        servers.push(replica);
    }
    servers
}

pub fn watchers(makers: &[Maker], servers: &[Server], more: &str) -> Vec<Watcher> {
    let quorum = makers.len() / 2 + 1;
    let master = servers[0].port();
    let all: Vec<Watcher> =
        makers.iter().map(|maker| Watcher::start(*maker, master, quorum, more)).collect();
    for it in &all {
        wait_until("the Sentinel knows everybody", || {
            it.knows(servers.len() - 1, makers.len() - 1)
        });
    }
    all
}

/// All Sentinels have moved on, to the same new master, which takes writes; the others follow it.
pub fn wait_for_another(servers: &[Server], watchers: &[Watcher]) -> u16 {
    let old = servers[0].port();
    let new = wait_for("the Sentinels agree on another master", || {
        let masters: Vec<u16> = watchers.iter().map(Watcher::master).collect();
        (masters[0] != old && masters.iter().all(|it| *it == masters[0])).then_some(masters[0])
    });
    let master = servers.iter().find(|it| it.port() == new).unwrap();
    wait_until("it takes writes", || master.ask(&["SET", "after", "1"]) == b"+OK\r\n");
    new
}

pub fn wait_until_all_follow(servers: &[Server], new: u16) {
    for it in servers.iter().filter(|it| it.port() != new) {
        wait_until("it follows the new master", || {
            it.info("role").as_deref() == Some("slave")
                && it.info("master_port") == Some(new.to_string())
                && it.info("master_link_status").as_deref() == Some("up")
        });
    }
}

/// Ours among themselves, ours with one of Redis', and one of ours among Redis'.
const COMPANIES: [[Maker; 3]; 3] = [[Ours, Ours, Ours], [Ours, Ours, Redis], [Ours, Redis, Redis]];

#[test]
fn a_master_that_dies_is_replaced_and_follows_when_it_returns() {
    for makers in COMPANIES {
        let mut servers = group(Kind::Redis, None);
        let watchers = watchers(&makers, &servers, "");
        servers[0].kill();
        let new = wait_for_another(&servers, &watchers);
        servers[0].restart();
        wait_until_all_follow(&servers, new);
    }
}

#[test]
fn a_master_that_stands_still_is_replaced_and_follows_when_it_goes_on() {
    let servers = group(Kind::Redis, None);
    let watchers = watchers(&[Ours, Ours, Redis], &servers, "");
    signal(servers[0].pid(), libc::SIGSTOP);
    let new = wait_for_another(&servers[..], &watchers);
    signal(servers[0].pid(), libc::SIGCONT);
    wait_until_all_follow(&servers, new);
}

#[test]
fn an_operator_moves_the_master_and_no_write_is_lost() {
    for makers in COMPANIES {
        let servers = group(Kind::Redis, None);
        let watchers = watchers(&makers, &servers, "");
        let mut writer = servers[0].client();
        let mut acknowledged = 0;
        (0..200).for_each(|_| {
            writer.expect(&["INCR", "n"], &format!(":{}\r\n", acknowledged + 1));
            acknowledged += 1;
        });
        // What was heard of the replicas lately must be fresh.
        wait_until("the Sentinel has a replica to promote", || {
            watchers[0].ask(&["SENTINEL", "FAILOVER", "m"]) == Value::Simple(b"OK".to_vec())
        });
        // Until the connection is cut, or the server refuses.
        while let Ok(reply) = writer.try_call(&["INCR", "n"])
            && reply.starts_with(b":")
        {
            acknowledged += 1;
        }
        let new = wait_for_another(&servers, &watchers);
        wait_until_all_follow(&servers, new);
        let master = servers.iter().find(|it| it.port() == new).unwrap();
        let kept = wait_for("it tells", || {
            let reply = master.ask(&["GET", "n"]);
            reply.starts_with(b"$").then(|| text(&value(&reply)))
        });
        let kept: u32 = kept.parse().unwrap();
        assert!(kept >= acknowledged, "{kept} of {acknowledged} {makers:?}");
    }
}

#[test]
fn our_servers_are_watched_too() {
    let mut servers = group(Kind::Ours(2), None);
    let watchers = watchers(&[Ours, Ours, Redis], &servers, "");
    servers[0].kill();
    let new = wait_for_another(&servers, &watchers);
    servers[0].restart();
    wait_until_all_follow(&servers, new);
    assert_remembered(&servers, &watchers, new);
}

/// What all nodes remember of it is one story, as text, as JSON and as a drawing.
fn assert_remembered(servers: &[Server], watchers: &[Watcher], new: u16) {
    let folder = Folder::new();
    let svg = folder.0.join("failover.svg");
    let report = |more: &[&str]| {
        let mut command = Command::new(under_test());
        command.arg("failover-report").args(servers.iter().map(Server::address));
        command.args(watchers.iter().map(|it| format!("127.0.0.1:{}", it.port)));
        let output = command.args(more).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{text}");
        text
    };
    let told: serde_json::Value = serde_json::from_str(&report(&["--json"])).unwrap();
    assert_eq!(told["new_master"], format!("127.0.0.1:{new}"));
    assert!(told["outage_seconds"].as_f64().is_none_or(|it| it > 0.0), "{told}");
    let events = told["events"].to_string();
    // The stock one may have led, and does not tell.
    for what in [
        "first-missed-ping",
        "+sdown",
        "+odown",
        "+vote-for-leader",
        "became the master",
        "first write",
        "+switch-master",
        "became a replica",
    ] {
        assert!(events.contains(what), "{what}: {told}");
    }
    let text = report(&["--svg", svg.to_str().unwrap()]);
    assert!(text.starts_with(&format!("failover to 127.0.0.1:{new}")), "{text}");
    assert!(fs::read_to_string(&svg).unwrap().ends_with("</svg>\n"));
}

#[test]
fn passwords_are_used_everywhere() {
    let mut servers = group(Kind::Redis, Some("secret"));
    let more = "requirepass watch\nsentinel auth-pass m secret\nsentinel sentinel-pass watch\n";
    let watchers: Vec<Watcher> =
        [Ours, Redis, Ours].map(|it| Watcher::start(it, servers[0].port(), 2, more)).into();
    let client = |it: &Watcher| {
        let mut client = Client::connect(&format!("127.0.0.1:{}", it.port)).unwrap();
        let refused = client.call(&["SENTINEL", "MASTERS"]);
        assert_eq!(refused, b"-NOAUTH Authentication required.\r\n");
        assert!(client.call(&["AUTH", "wrong"]).starts_with(b"-WRONGPASS"));
        client.expect(&["AUTH", "watch"], "+OK\r\n");
        client
    };
    let mut clients: Vec<Client> = watchers.iter().map(client).collect();
    for it in &mut clients {
        wait_until("it knows everybody", || {
            let master = value(&it.call(&["SENTINEL", "MASTER", "m"]));
            let usable = it.call(&["SENTINEL", "CKQUORUM", "m"]).starts_with(b"+OK 3 usable");
            let Value::Array(replicas) = value(&it.call(&["SENTINEL", "REPLICAS", "m"])) else {
                return false;
            };
            let well = replicas.iter().all(|it| field(it, "master-link-status") == "ok");
            well && usable && field(&master, "num-slaves") == "2"
        });
    }
    servers[0].kill();
    let old = servers[0].port().to_string();
    for it in &mut clients {
        wait_until("it has another master", || {
            let address = value(&it.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"]));
            let Value::Array(address) = address else { return false };
            text(&address[1]) != old
        });
    }
}

#[test]
fn clients_and_scripts_are_told() {
    let mut servers = group(Kind::Redis, None);
    let folder = Folder::new();
    let script = |name: &str| {
        let path = folder.0.join(name);
        let out = folder.0.join(format!("{name}.out"));
        fs::write(&path, format!("#!/bin/sh\necho \"$@\" >> {}\n", out.display())).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
        (path, out)
    };
    let (notify, notified) = script("notify");
    let (reconfig, reconfigured) = script("reconfig");
    let more = format!(
        "sentinel notification-script m {}\nsentinel client-reconfig-script m {}\n",
        notify.display(),
        reconfig.display()
    );
    let watchers = watchers(&[Ours], &servers, &more);
    let mut listener = Client::connect(&format!("127.0.0.1:{}", watchers[0].port)).unwrap();
    listener.expect(
        &["SUBSCRIBE", "+switch-master"],
        "*3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n",
    );
    listener.expect(&["PING"], "*2\r\n$4\r\npong\r\n$0\r\n\r\n");
    servers[0].kill();
    let told = value(&listener.reply().unwrap());
    let new = wait_for_another(&servers, &watchers);
    let old = servers[0].port();
    let expected = format!("m 127.0.0.1 {old} 127.0.0.1 {new}");
    let Value::Array(told) = told else { panic!("{told:?}") };
    assert_eq!(told.iter().map(text).collect::<Vec<_>>()[1..], ["+switch-master", &expected]);
    let read = |path: &PathBuf| fs::read_to_string(path).unwrap_or_default();
    wait_until("the scripts have run", || {
        read(&notified).contains(&format!("+switch-master {expected}\n"))
            && read(&notified).contains(&format!("+sdown master m 127.0.0.1 {old}\n"))
            && read(&reconfigured) == format!("m leader start 127.0.0.1 {old} 127.0.0.1 {new}\n")
    });
    // A script that has written may not have been reaped yet.
    wait_until("no script is pending", || {
        watchers[0].ask(&["SENTINEL", "PENDING-SCRIPTS"]) == Value::Array(Vec::new())
    });
}

/// Its id, its vote and what it found out stand in its file; what is not its own stays.
#[test]
fn a_restart_forgets_nothing() {
    let mut servers = group(Kind::Redis, None);
    let mut watchers = watchers(&[Ours, Ours, Ours], &servers, "loglevel verbose\n");
    servers[0].kill();
    let new = wait_for_another(&servers, &watchers);
    // Whoever leads tells of the new master before the failover is over.
    for it in &watchers {
        wait_until("all is written down", || {
            let text = fs::read_to_string(&it.file).unwrap_or_default();
            text.contains(&format!("\nsentinel monitor m 127.0.0.1 {new} 2\n"))
                && text.matches("\nsentinel known-replica m ").count() == 2
                && text.matches("\nsentinel known-sentinel m ").count() == 2
        });
    }
    let epoch = watchers[0].field("config-epoch");
    for it in &watchers {
        wait_until("all know the epoch", || it.field("config-epoch") == epoch);
    }
    let id = watchers[0].ask(&["SENTINEL", "MYID"]);
    for it in &mut watchers {
        it.kill();
        let text = fs::read_to_string(&it.file).unwrap();
        assert!(text.starts_with(&format!("# my Sentinel\nport {}\n", it.port)), "{text}");
        assert!(text.contains("\nloglevel verbose\n"), "{text}");
        assert!(text.contains(&format!("\nsentinel monitor m 127.0.0.1 {new} 2\n")), "{text}");
        it.restart();
    }
    assert_eq!(watchers[0].ask(&["SENTINEL", "MYID"]), id);
    for it in &watchers {
        assert_eq!((it.master(), it.field("config-epoch")), (new, epoch.clone()));
        assert_eq!(it.field("num-other-sentinels"), "2");
        assert_eq!(it.field("num-slaves"), "2");
    }
    // What the one program has written the other reads.
    watchers[0].kill();
    watchers[0].maker = Redis;
    watchers[0].restart();
    assert_eq!(watchers[0].ask(&["SENTINEL", "MYID"]), id);
    assert_eq!((watchers[0].master(), watchers[0].field("config-epoch")), (new, epoch));
    watchers[0].kill();
    watchers[0].maker = Ours;
    watchers[0].restart();
    assert_eq!(watchers[0].ask(&["SENTINEL", "MYID"]), id);
}

/// Three processes: each server has its Sentinel inside, and takes it along when it dies.
#[test]
fn servers_carry_sentinels() {
    let folder = Folder::new();
    let ports: Vec<u16> = (0..6).map(|_| free_port("127.0.0.1")).collect();
    let (masters, sentinels) = ports.split_at(3);
    let mut servers: Vec<Server> = Vec::new();
    for (number, port) in sentinels.iter().enumerate() {
        let file = folder.0.join(format!("{number}.conf"));
        let text = format!(
            "port {port}\nsentinel monitor m 127.0.0.1 {} 2\nsentinel down-after-milliseconds m {DOWN_AFTER_MS}\n\
             sentinel failover-timeout m 10000\n",
            masters[0]
        );
        fs::write(&file, text).unwrap();
        let plan = Plan::new(Kind::Ours(1)).arg("sentinel-file", &[file.to_str().unwrap()]);
        let plan = Plan { port: masters[number], ..plan };
        servers.push(match number {
            0 => plan.start(),
            _ => replica_of(plan, "127.0.0.1", masters[0]),
        });
    }
    let ask = |port: u16, args: &[&str]| {
        let client = Client::connect(&format!("127.0.0.1:{port}"));
        client.and_then(|mut it| it.try_call(args)).unwrap_or_else(|_| b"*0\r\n".to_vec())
    };
    for port in sentinels {
        wait_until("it knows everybody", || {
            let master = value(&ask(*port, &["SENTINEL", "MASTER", "m"]));
            field(&master, "num-slaves") == "2" && field(&master, "num-other-sentinels") == "2"
        });
    }
    servers[0].kill();
    let address = |port: u16| ask(port, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"]);
    wait_until("the others have a master of their own", || {
        let (one, other) = (address(sentinels[1]), address(sentinels[2]));
        one == other
            && one.starts_with(b"*2")
            && !String::from_utf8_lossy(&one).contains(&masters[0].to_string())
    });
}

/// A hello that anybody may publish on a data node changes nothing.
#[test]
fn a_forged_hello_is_not_believed() {
    let servers = group(Kind::Redis, None);
    let watchers = watchers(&[Ours, Ours, Ours], &servers, "");
    // A Sentinel that is not connected yet may be replaced by whoever claims its address.
    for it in &watchers {
        wait_until("it is connected to the others", || {
            let Value::Array(others) = it.ask(&["SENTINEL", "SENTINELS", "m"]) else {
                return false;
            };
            others.len() == 2 && others.iter().all(|it| field(it, "flags") == "sentinel")
        });
    }
    let other = text(&watchers[1].ask(&["SENTINEL", "MYID"]));
    let (port, victim) = (watchers[1].port, servers[0].port());
    let mut stranger = servers[0].client();
    for hello in [
        format!("127.0.0.1,{port},{other},9,m,10.9.9.9,6379,9"),
        format!("127.0.0.1,1,{other},9,m,10.9.9.9,6379,9"),
        format!("127.0.0.1,{port},{},9,m,10.9.9.9,6379,9", "e".repeat(40)),
        format!("127.0.0.1,{port},{other},{},m,10.9.9.9,6379,{0}", u64::MAX),
        format!("127.0.0.1,{port},{other},9,m,10.9.9.9\r\nx,6379,9"),
    ] {
        stranger.call(&["PUBLISH", "__sentinel__:hello", &hello]);
    }
    let epoch = |it: &Watcher| {
        let file = fs::read_to_string(&it.file).unwrap();
        let line = file.lines().find_map(|it| it.strip_prefix("sentinel current-epoch "));
        line.map(|it| it.parse::<u64>().unwrap()).unwrap()
    };
    // The epoch is taken, for it binds nobody; a claim that went with it was heard by then.
    wait_until("the hello was heard", || watchers.iter().all(|it| epoch(it) >= 9));
    for it in &watchers {
        assert_eq!((it.master(), it.field("num-other-sentinels").as_str()), (victim, "2"));
        assert_eq!(it.field("config-epoch"), "0");
        assert!(!it.log().contains("10.9.9.9"), "{}", it.log());
    }
}

/// The same commands to both; numbers and ids are not compared.
#[test]
fn answers_are_those_of_a_real_sentinel() {
    let servers = group(Kind::Redis, None);
    let ours = Watcher::start(Ours, servers[0].port(), 1, "");
    let theirs = Watcher::start(Redis, servers[0].port(), 1, "");
    for it in [&ours, &theirs] {
        wait_until("it knows everybody", || {
            let Value::Array(others) = it.ask(&["SENTINEL", "SENTINELS", "m"]) else {
                return false;
            };
            it.knows(2, 1) && others.iter().all(|it| field(it, "flags") == "sentinel")
        });
    }
    let connect = |it: &Watcher| Client::connect(&format!("127.0.0.1:{}", it.port)).unwrap();
    let (mut ours, mut theirs) = (connect(&ours), connect(&theirs));
    let commands = include_str!("../golden/sentinel-commands.txt");
    for line in commands.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let line = line.replace("MASTER_PORT", &servers[0].port().to_string());
        let words: Vec<&str> = line.split(' ').map(|it| if it == "''" { "" } else { it }).collect();
        let mut answers = || (plain(&ours.call(&words)), plain(&theirs.call(&words)));
        // Each has its own opinion of who stands still, for a moment.
        let mut both = answers();
        for _ in 0..40 {
            if both.0 == both.1 {
                break;
            }
            std::thread::park_timeout(std::time::Duration::from_millis(250));
            both = answers();
        }
        assert_eq!(both.0, both.1, "{line}");
    }
}

/// A reply without what differs from one process, or moment, to another.
fn plain(reply: &[u8]) -> String {
    let shown = |value: &Value| format!("{value:?}");
    fn clean(value: Value) -> Value {
        let id = |text: &[u8]| text.len() == 40 && text.iter().all(u8::is_ascii_hexdigit);
        let number = |text: &[u8]| {
            !text.is_empty()
                && text.strip_prefix(b"-").unwrap_or(text).iter().all(u8::is_ascii_digit)
        };
        match value {
            Value::Bulk(text) if id(&text) => Value::Bulk(b"(id)".to_vec()),
            Value::Bulk(text) if number(&text) => Value::Bulk(b"(number)".to_vec()),
            Value::Bulk(text) if text.starts_with(b"127.0.0.1:") => Value::Bulk(b"(name)".to_vec()),
            Value::Array(items) => Value::Array(items.into_iter().map(clean).collect()),
            Value::Map(pairs) => {
                Value::Map(pairs.into_iter().map(|(k, v)| (clean(k), clean(v))).collect())
            }
            other => other,
        }
    }
    shown(&clean(value(reply)))
}

fn signal(pid: u32, signal: i32) {
    let pid = pid.to_string();
    let name = if signal == libc::SIGSTOP { "-STOP" } else { "-CONT" };
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}
