//! Users of real servers: where they are kept, who is a replica by which, and what a name is called.

use crate::support::client::Client;
use crate::support::server::{Folder, Kind, Plan};
use crate::{plan, wait_for_link};
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
