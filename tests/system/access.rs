//! Users of real servers: where they are kept, who is a replica by which, and what a name is called.

use crate::support::client::{Client, request};
use crate::support::seed;
use crate::support::server::{Folder, Kind, Plan};
use crate::{plan, wait_for_link};
use ringfold::base::prng::Prng;
use std::fs;

const ALL: [Kind; 3] = [Kind::Ours(1), Kind::Ours(3), Kind::Redis];
const SAID: &str = "+OK\r\n";

/// Users of a file of their own: read at the start, written, read again, and refused whole where one
/// line is wrong.
#[test]
fn users_are_kept_in_a_file() {
    for kind in ALL {
        let folder = Folder::new();
        let file = folder.0.join("users.acl");
        fs::write(&file, "user alice on >secret ~a* +@all -@admin\n\nuser bob off\n").unwrap();
        let mut server = Plan::new(kind).arg("aclfile", &[file.to_str().unwrap()]).start();
        let mut admin = server.client();
        let mut alice = server.client();
        alice.expect(&["AUTH", "alice", "secret"], SAID);
        alice.expect(&["SET", "a1", "v"], SAID);
        assert!(alice.call(&["SET", "b1", "v"]).starts_with(b"-NOPERM "));
        admin.expect(&["ACL", "SETUSER", "carol", "on", ">word", "+ping"], SAID);
        admin.expect(&["ACL", "SAVE"], SAID);
        let text = fs::read_to_string(&file).unwrap();
        let names: Vec<&str> = text.lines().filter_map(|it| it.split(' ').nth(1)).collect();
        assert_eq!(names, ["alice", "bob", "carol", "default"]);
        assert!(
            !text.contains("secret") && text.contains("user bob off resetchannels -@all"),
            "{text}"
        );
        drop((admin, alice));
        server.kill();
        server.restart();
        let mut admin = server.client();
        let mut carol = server.client();
        carol.expect(&["AUTH", "carol", "word"], SAID);
        carol.expect(&["PING"], "+PONG\r\n");
        for (text, why) in [
            ("user dave on\nuser dave on\n", "Duplicate user 'dave' found on line 2"),
            ("users\n", "should start with user keyword"),
            ("user x +nope\n", "Unknown command or category name in ACL"),
            ("user x (+get\n", "Unmatched parenthesis in selector definition"),
        ] {
            fs::write(&file, text).unwrap();
            let said = admin.call(&["ACL", "LOAD"]);
            let said = String::from_utf8_lossy(&said);
            assert!(said.starts_with('-') && said.contains(why), "{kind:?}: {said}");
            assert!(said.contains("no change to the previously active ACL rules"), "{said}");
            carol.expect(&["PING"], "+PONG\r\n");
        }
        fs::write(&file, "user erin on nopass +ping\n").unwrap();
        admin.expect(&["ACL", "LOAD"], SAID);
        assert_eq!(carol.until_closed().unwrap(), b"", "her user is gone");
        admin.expect(&["ACL", "USERS"], "*2\r\n$7\r\ndefault\r\n$4\r\nerin\r\n");
        fs::remove_file(&file).unwrap();
        let said = admin.call(&["ACL", "LOAD"]);
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(said.contains("opening file") && said.contains("No such file"), "{said}");
    }
}

/// Users of the configuration file are rewritten with it, by their hashes.
#[test]
fn users_are_kept_in_the_configuration() {
    for kind in ALL {
        let folder = Folder::new();
        let file = folder.0.join("redis.conf");
        fs::write(&file, "# mine\nuser alice on >secret ~a* +@all\nrename-command FLUSHALL \"\"\nrename-command GET fetch\n").unwrap();
        let server = Plan::new(kind).config(&file).start();
        let mut admin = server.client();
        admin.expect(&["ACL", "SETUSER", "alice", "-set"], SAID);
        admin.expect(&["ACL", "SETUSER", "bob", "on", "nopass", "+@read", "~*"], SAID);
        admin.expect(&["CONFIG", "REWRITE"], SAID);
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("# mine\nuser "), "{text}");
        assert!(
            text.contains("\nrename-command FLUSHALL \"\"\n") && !text.contains("secret"),
            "{text}"
        );
        let again = Plan::new(kind).config(&file).start();
        // The default user of a file begins with `reset`, which says that payloads are looked at.
        let users = |client: &mut Client| {
            let list = client.call(&["ACL", "LIST"]);
            let list = String::from_utf8_lossy(&list).replace(" sanitize-payload", "");
            list.split("\r\n").filter(|it| it.starts_with("user")).map(str::to_string).collect()
        };
        let (ours, before): (Vec<String>, Vec<String>) =
            (users(&mut again.client()), users(&mut admin));
        assert_eq!(ours, before);
        let mut bob = again.client();
        bob.expect(&["AUTH", "bob", "x"], SAID);
        bob.expect(&["FETCH", "k"], "$-1\r\n");
        assert!(bob.call(&["GET", "k"]).starts_with(b"-ERR unknown command 'GET'"));
        assert!(admin.call(&["FLUSHALL"]).starts_with(b"-ERR unknown command 'FLUSHALL'"));
    }
}

/// A replica comes in as a user of its own, who may do nothing else.
#[test]
fn a_replica_has_a_user_of_its_own() {
    for (master, replica) in crate::MATRIX {
        let master = plan(*master).start();
        let rules = ["on", ">word", "+psync", "+replconf", "+ping"];
        let set = [&["ACL", "SETUSER", "replica"][..], &rules].concat();
        master.client().expect(&set, SAID);
        master.client().expect(&["ACL", "SETUSER", "default", "off"], SAID);
        let mut stranger = Client::connect(&master.address()).unwrap();
        stranger.expect(&["PING"], "-NOAUTH Authentication required.\r\n");
        let port = master.port().to_string();
        let replica = plan(*replica)
            .arg("masteruser", &["replica"])
            .arg("masterauth", &["word"])
            .arg("replicaof", &["127.0.0.1", &port])
            .start();
        wait_for_link(&replica);
    }
}

/// Rules and requests for a comparison with a real server: keys are `k`, replaced by random words.
const DRY: &[&str] = &[
    "GET k",
    "SET k v",
    "SET k v GET",
    "MSET k v k v",
    "MGET k k k",
    "RENAME k k",
    "COPY k k",
    "EXISTS k k",
    "DEL k",
    "INCR k",
    "LCS k k",
    "BITOP AND k k k",
    "SINTERCARD 2 k k",
    "XREAD STREAMS k 0",
    "LMOVE k k LEFT LEFT",
    "EVAL s 2 k k k",
    "EVAL_RO s 1 k",
    "FCALL f 2 k k",
    "ZUNIONSTORE k 2 k k",
    "ZINTER 3 k k k",
    "LMPOP 2 k k LEFT",
    "BLMPOP 0 2 k k LEFT",
    "ZMPOP 2 k k MIN",
    "SINTERSTORE k k k",
    "SDIFF k k",
    "SMOVE k k m",
    "PFMERGE k k k",
    "ZRANGESTORE k k 0 1",
    "SORT k",
    "SORT k STORE k",
    "BITFIELD k GET u8 0",
    "BITFIELD k SET u8 0 1",
    "OBJECT ENCODING k",
    "XGROUP CREATE k g 0",
    "XREADGROUP GROUP g c STREAMS k k > >",
    "TYPE k",
    "PUBLISH k m",
    "SPUBLISH k m",
    "SUBSCRIBE k k",
    "PSUBSCRIBE k",
    "SSUBSCRIBE k k",
    "CONFIG GET x",
    "CONFIG SET x y",
    "CLIENT ID",
    "SELECT 0",
    "SELECT 1",
    "FLUSHALL",
    "PING",
    "GETEX k",
    "APPEND k v",
    "HSET k f v",
    "ZADD k 1 m",
    "LPUSH k v",
    "GEOSEARCHSTORE k k FROMLONLAT 0 0 BYRADIUS 1 m",
    "RPOPLPUSH k k",
    "TOUCH k k",
    "STRLEN k",
    "MSETNX k v k v",
];

const DRY_RULES: &[&str] = &[
    "+@all",
    "-@all",
    "allcommands",
    "nocommands",
    "+@read",
    "-@read",
    "+@write",
    "-@write",
    "+@string",
    "-@string",
    "+@dangerous",
    "-@dangerous",
    "+@admin",
    "+@keyspace",
    "-@slow",
    "+@fast",
    "+@pubsub",
    "+get",
    "-get",
    "+set",
    "-SET",
    "+config",
    "-config",
    "+config|get",
    "-config|get",
    "+CONFIG|SET",
    "+select|0",
    "-select",
    "+rename",
    "-copy",
    "+exists",
    "+eval",
    "+sort",
    "+publish",
    "+subscribe",
    "-ping",
    "~*",
    "allkeys",
    "resetkeys",
    "&*",
    "allchannels",
    "resetchannels",
    "%R~a*",
    "%W~a*",
    "~b*",
    "%RW~?b",
    "%R~*",
    "%W~a",
    "&a*",
    "&b",
    "(+@all ~a*)",
    "(%R~b* +@read)",
    "(+set %W~*)",
    "clearselectors",
    "(+get",
    "%X~a",
    "+nosuch",
    "on",
    "+debug|digest",
];

/// Every decision about random users and requests is a real server's, and so is every refusal of a rule.
#[test]
fn rehearsals_are_decided_as_redis_decides_them() {
    let mut prng = Prng::new(seed());
    let mut pick = |len: usize| usize::try_from(prng.below(len as u64)).unwrap();
    let (ours, theirs) = (plan(Kind::Ours(2)).start(), plan(Kind::Redis).start());
    let mut clients = [ours.client(), theirs.client()];
    let (mut allowed, mut asked) = (0, 0);
    for user in 0..150 {
        let name = format!("user{user}");
        let mut words = vec!["ACL", "SETUSER", &name];
        words.extend((0..1 + pick(8)).map(|_| DRY_RULES[pick(DRY_RULES.len())]));
        let [said, expected] = clients.each_mut().map(|it| it.call(&words));
        assert_eq!(
            said.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{words:?}"
        );
        if !said.starts_with(b"+") {
            continue;
        }
        let mut bytes = Vec::new();
        let mut requests = Vec::new();
        for _ in 0..60 {
            let mut words = vec!["ACL", "DRYRUN", &name];
            let template = DRY[pick(DRY.len())].split(' ');
            let keys = ["a", "b", "ab", "ba", "aa", "abc", "*"];
            words.extend(template.map(|it| if it == "k" { keys[pick(keys.len())] } else { it }));
            bytes.extend(request(&words.iter().map(|it| it.as_bytes()).collect::<Vec<_>>()));
            requests.push(words);
        }
        clients.iter_mut().for_each(|it| it.send(&bytes).unwrap());
        for asks in requests {
            let [said, expected] = clients.each_mut().map(|it| it.reply().unwrap());
            let said = said.escape_ascii().to_string();
            assert_eq!(said, expected.escape_ascii().to_string(), "{words:?} {asks:?}");
            (asked, allowed) = (asked + 1, allowed + u64::from(said.starts_with("+OK")));
        }
    }
    assert!(allowed > asked / 20 && allowed < asked * 19 / 20, "{allowed} of {asked} say little");
}
