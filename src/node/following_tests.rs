//! A node that follows a master which the test plays: what is applied, and when roles and
//! snapshots may change in between.

use crate::node::testing::{Client, Node};
use crate::resp::reply::write_request;
use crate::snapshot::decode::{Decoder, Event, Limits, Unsupported};
use crate::snapshot::encode;

const REPLID: &str = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb";

/// Replica nodes of one core and of three, their master, and a client.
fn on_replicas(loaded: &[u8], test: impl Fn(&mut Node, Client, Client)) {
    for cores in [1, 3] {
        let mut node = Node::new(cores);
        let client = node.connect();
        assert_eq!(node.send(client, b"REPLICAOF 127.0.0.1 1\r\n"), b"+OK\r\n");
        let master = node.dialled();
        assert_eq!(node.take(master), b"*1\r\n$4\r\nPING\r\n");
        assert!(contains(&node.send(master, b"+PONG\r\n"), b"psync2"));
        assert!(contains(&node.send(master, b"+OK\r\n+OK\r\n"), b"PSYNC"));
        let header = format!("+FULLRESYNC {REPLID} 0\r\n${}\r\n", loaded.len());
        node.send(master, &[header.as_bytes(), loaded].concat());
        test(&mut node, master, client);
    }
}

/// A snapshot without keys, cut where the stream was in database `db`.
fn empty_rdb(db: &str) -> Vec<u8> {
    let mut rdb = Vec::new();
    encode::header(&mut rdb, &[(b"repl-stream-db", db.as_bytes())]);
    encode::end(&mut rdb, None);
    rdb
}

fn contains(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|it| it == what)
}

fn stream(lines: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        write_request(&mut bytes, &words);
    }
    bytes
}

/// So many writes of one length, and that length.
fn sets(count: usize) -> (Vec<u8>, usize) {
    let mut bytes = Vec::new();
    for n in 0..count {
        write_request(&mut bytes, &[b"SET", format!("key:{n:08}").as_bytes(), b"v"]);
    }
    let length = bytes.len() / count;
    (bytes, length)
}

/// A command over keys of several cores has to wait for those before it; they were applied again
/// when its turn came.
#[test]
fn a_transaction_that_must_wait_in_its_middle_is_applied_once() {
    on_replicas(&empty_rdb("0"), |node, master, client| {
        let mut bytes = Vec::new();
        for n in 0..20 {
            let (set, from) = (format!("SET a{n} v"), format!("RENAME a{n} b{n}"));
            let to = format!("RENAME b{n} c{n}");
            let lines = ["MULTI", "INCR count", &set, &from, "INCR count", &to, "EXEC"];
            bytes.extend(stream(&lines));
        }
        bytes.extend(stream(&["FLUSHDB", "INCR after", "FLUSHDB", "INCR count", "INCR count"]));
        node.send(master, &bytes);
        assert_eq!(node.send(client, b"GET count\r\nDBSIZE\r\n"), b"$1\r\n2\r\n:1\r\n");
    });
}

/// A stock master sends a SORT as it came: what comes behind it must not change what it follows.
#[test]
fn a_sort_of_the_master_sees_nothing_of_what_comes_behind_it() {
    on_replicas(&empty_rdb("0"), |node, master, client| {
        let mut bytes = stream(&["RPUSH l 1 2 3", "MSET w_1 3 w_2 2 w_3 1 g_1 a g_2 b g_3 c"]);
        for _ in 0..20 {
            bytes.extend(stream(&["SORT l BY w_* GET g_* STORE d", "SET w_1 0", "SET g_2 x"]));
            bytes.extend(stream(&["MULTI", "SORT l BY w_* GET g_* STORE e", "SELECT 0", "EXEC"]));
            bytes.extend(stream(&["SET w_1 3", "SET g_2 b", "INCR rounds"]));
        }
        node.send(master, &bytes);
        let said = node.send(client, b"GET rounds\r\nLRANGE d 0 -1\r\nLRANGE e 0 -1\r\n");
        let said = String::from_utf8(said).unwrap().replace("\r\n", " ");
        assert_eq!(said, "$2 20 *3 $1 c $1 b $1 a *3 $1 a $1 c $1 x ");
    });
}

/// The stream goes on in the database in which the snapshot's master was.
#[test]
fn the_database_of_the_stream_comes_with_the_snapshot() {
    on_replicas(&empty_rdb("2"), |node, master, client| {
        node.send(master, &stream(&["SET k v"]));
        let said = node.send(client, b"GET k\r\nSELECT 2\r\nGET k\r\n");
        assert_eq!(said, b"$-1\r\n+OK\r\n$1\r\nv\r\n");
    });
}

/// What was read of the master is in the history, so it must be in the data of who is promoted.
#[test]
fn a_promotion_applies_all_that_was_read() {
    on_replicas(&empty_rdb("0"), |node, master, client| {
        let count = 40_000;
        node.post(master, &sets(count).0);
        assert_eq!(node.send(client, b"REPLICAOF NO ONE\r\n"), b"+OK\r\n");
        let said = node.send(client, b"DBSIZE\r\nSET new v\r\n");
        assert_eq!(String::from_utf8_lossy(&said), format!(":{count}\r\n+OK\r\n"));
    });
}

/// Several changes of mind in one packet: each is answered, the last one holds.
#[test]
fn changes_of_role_are_done_in_their_order() {
    on_replicas(&empty_rdb("0"), |node, _, client| {
        let said = node.send(
            client,
            b"REPLICAOF NO ONE\r\nREPLICAOF 127.0.0.1 2\r\nREPLICAOF NO ONE\r\nSET k v\r\n",
        );
        assert_eq!(said, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
        // The connect to the second master is decided when nobody wants it any more.
        let late = node.dialled();
        assert!(node.is_closed(late) && node.take(late).is_empty());
    });
}

/// The file of a replica names the offset that its data has, not the one that was read: else a
/// restart would leave out what lay between.
#[test]
fn a_replicas_file_names_the_offset_of_its_data() {
    on_replicas(&empty_rdb("3"), |node, master, client| {
        let (bytes, length) = sets(40_000);
        node.post(master, &bytes);
        let said = node.send(client, b"BGSAVE\r\n");
        assert_eq!(said, b"+Background saving started\r\n");
        let file = node.take_saved();
        let mut decoder = Decoder::new(Limits {
            databases: 16,
            string_bytes_max: 1 << 20,
            input_bytes: None,
            unsupported: Unsupported::Refuse,
            verify_checksum: true,
        });
        let (mut rest, mut keys, mut aux) = (file.as_slice(), 0, Vec::new());
        while let Some(event) = decoder.next(&mut rest).unwrap() {
            match event {
                Event::Entry { .. } => keys += 1,
                Event::Aux { name, value } => aux.push((name.to_vec(), value.to_vec())),
                _ => {}
            }
        }
        assert!(decoder.finished());
        let aux = |name: &[u8]| {
            let (_, value) = aux.iter().find(|(it, _)| it == name).unwrap();
            String::from_utf8_lossy(value).into_owned()
        };
        assert_eq!(aux(b"repl-id"), REPLID);
        assert_eq!(aux(b"repl-stream-db"), "3");
        assert_eq!(aux(b"repl-offset"), (keys * length).to_string());
        // And nothing of the stream is lost by it.
        assert_eq!(node.send(client, b"SELECT 3\r\nDBSIZE\r\n"), b"+OK\r\n:40000\r\n");
    });
}
