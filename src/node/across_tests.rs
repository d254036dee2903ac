//! Commands over keys of several cores, as clients see them: the answers and what is left in the
//! keyspace are those of one core.

use crate::node::outbox::Action;
use crate::node::testing::{Node, check, check_with};

#[test]
fn of_a_key_named_twice_the_last_value_counts() {
    check(
        "
        a> MSET k1 1 k2 2 k3 3 k4 4 k2 5 k3 6 k1 7
        a< +OK
        b> MGET k1 k2 k3 k4 none k1
        b< *6 $1 7 $1 5 $1 6 $1 4 $-1 $1 7
        b> EXISTS k1 k2 none k1 k3
        b< :4
        c> DEL k1 k1 k2 none k3 k3
        c< :3
        c> MSET k1 1 k2
        c< -ERR wrong number of arguments for 'mset' command
        c> MSETNX k1 1 k2
        c< -ERR wrong number of arguments for 'msetnx' command
        c> EXISTS k1 k2
        c< :0
        ",
    );
}

#[test]
fn parts_make_one_reply_in_resp3_too() {
    for cores in [1, 3] {
        let mut node = Node::new(cores);
        let client = node.connect();
        node.send(client, b"HELLO 3\r\n");
        let reply = node.send(client, b"MSET a 1 b 2 c 3\r\nMGET a x b y c\r\nMGET x y z\r\n");
        assert_eq!(
            reply,
            b"+OK\r\n*5\r\n$1\r\n1\r\n_\r\n$1\r\n2\r\n_\r\n$1\r\n3\r\n*3\r\n_\r\n_\r\n_\r\n"
        );
    }
}

/// Whatever cores the two names are of: a value moves with its encoding and its expiry.
#[test]
fn a_value_moves_between_cores_with_all_that_it_has() {
    let long = "x".repeat(2_000);
    let mut transcript = String::new();
    for n in 0..12 {
        transcript += &format!(
            "
            a> MSET int{n} 12 raw{n} short long{n} {long}
            a< +OK
            a> APPEND raw{n} er
            a< :7
            a> PEXPIRE int{n} 500000
            a< :1
            a> PEXPIRE long{n} 700000
            a< :1
            b> RENAME int{n} moved:int{n}
            b< +OK
            b> RENAMENX raw{n} moved:raw{n}
            b< :1
            b> COPY long{n} moved:long{n}
            b< :1
            c> PTTL moved:int{n}
            c< :500000
            c> OBJECT ENCODING moved:int{n}
            c< $3 int
            c> GET moved:int{n}
            c< $2 12
            c> PTTL moved:raw{n}
            c< :-1
            c> OBJECT ENCODING moved:raw{n}
            c< $3 raw
            c> PTTL moved:long{n}
            c< :700000
            c> STRLEN long{n}
            c< :2000
            c> EXISTS int{n} raw{n} long{n} moved:long{n}
            c< :2
            c> RENAME none{n} moved:int{n}
            c< -ERR no such key
            c> RENAMENX long{n} moved:raw{n}
            c< :0
            c> COPY long{n} moved:raw{n}
            c< :0
            c> COPY long{n} moved:raw{n} REPLACE DB 1
            c< :1
            c> MSETNX new{n} 1 moved:raw{n} 2 other{n} 3
            c< :0
            c> MSETNX new{n} 1 newer{n} 2 other{n} 3
            c< :1
            c> LCS moved:int{n} other{n} LEN
            c< :0
            "
        );
    }
    check(&(transcript + "a> DBSIZE\na< :84\na> SELECT 1\na< +OK\na> DBSIZE\na< :12"));
}

/// An expired key is none, for commands over several cores too.
#[test]
fn an_expired_key_is_not_moved() {
    check(
        "
        a> SET k v PX 100
        a< +OK
        a> SET l v PX 100
        a< +OK
        +200ms
        a> RENAME k m
        a< -ERR no such key
        a> MSETNX l 1 k 2 n 3
        a< :1
        a> PTTL l
        a< :-1
        ",
    );
}

#[test]
fn a_request_in_parts_is_one_call_and_its_refusal_one_failure() {
    for cores in [1, 3] {
        let mut node = Node::new(cores);
        let client = node.connect();
        node.send(client, b"MSET a 1 b 2 c 3 d 4\r\nMGET a b c d\r\nMSET a 1 b\r\nRENAME x y\r\n");
        let info = node.send(client, b"INFO everything\r\n");
        let info = String::from_utf8(info).unwrap();
        for (command, calls, failed) in [("mset", 2, 1), ("mget", 1, 0), ("rename", 1, 1)] {
            let line = info.lines().find(|it| it.starts_with(&format!("cmdstat_{command}:")));
            let line = line.unwrap_or_else(|| panic!("no {command}, {cores} cores"));
            assert!(line.contains(&format!("calls={calls},")), "{cores} cores: {line}");
            assert!(line.ends_with(&format!("failed_calls={failed}")), "{cores} cores: {line}");
        }
        assert!(info.contains("errorstat_ERR:count=2\r\n"), "{cores} cores");
    }
}

#[test]
fn a_string_grows_to_proto_max_bulk_len_and_no_further() {
    check_with(
        |settings| settings.proto_max_bulk_len = 1 << 20,
        "
        a> SETRANGE k 1048575 x
        a< :1048576
        b> APPEND k x
        b< -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        b> SETRANGE l 1048576 x
        b< -ERR string exceeds maximum allowed size (proto-max-bulk-len)
        b> CONFIG SET proto-max-bulk-len 2mb
        b< +OK
        a> APPEND k x
        a< :1048577
        c> SETRANGE l 1048576 x
        c< :1048577
        ",
    );
}

/// A pipeline whose requests all wait for one another: what waits is bounded by not listening, and
/// everything is answered in the end.
#[test]
fn a_long_pipeline_is_listened_to_as_it_is_worked_off() {
    let mut node = Node::new(3);
    let client = node.connect();
    let requests = 60_000;
    let mut bytes = String::new();
    for n in 0..requests {
        bytes += &format!("SET key:{n} {n}\r\nGET key:{n}\r\n");
    }
    for piece in bytes.as_bytes().chunks(16_384) {
        node.post(client, piece);
    }
    node.settle();
    let received = String::from_utf8(node.take(client)).unwrap();
    let mut lines = received.split("\r\n");
    for n in 0..requests {
        assert_eq!(lines.next(), Some("+OK"), "key:{n}");
        assert_eq!(lines.next(), Some(format!("${}", n.to_string().len()).as_str()));
        assert_eq!(lines.next(), Some(n.to_string().as_str()));
    }
    let count =
        |wanted: fn(&Action) -> bool| node.actions.iter().filter(|it| wanted(&it.1)).count();
    assert_eq!(count(|it| matches!(it, Action::Pause(_))), 1);
    assert_eq!(count(|it| matches!(it, Action::Resume(_))), 1);
}

/// Memory comes back by itself: no client has to ask for anything meanwhile.
#[test]
fn what_was_flushed_is_freed_without_another_request() {
    let mut node = Node::new(3);
    let client = node.connect();
    let used = |node: &mut Node| -> usize {
        node.cores.iter_mut().map(|core| core.keyspace_mut().used_bytes()).sum()
    };
    let before = used(&mut node);
    let requests: String = (0..50_000).map(|n| format!("SET key:{n} value:{n}\r\n")).collect();
    node.send(client, requests.as_bytes());
    let full = used(&mut node);
    node.send(client, b"FLUSHALL\r\n");
    let after = used(&mut node);
    assert!(after < before + full / 10, "{before} {full} {after}");
}

/// A key expires between the grant and the end of a transaction: what the transaction puts in its place
/// is there once, and stays. All keys have the same cores in turn, so that each is once its client's own.
#[test]
fn what_a_transaction_puts_in_the_place_of_an_expired_key_is_there_once() {
    let mut transcript = String::new();
    for n in 0..9 {
        transcript += &format!(
            "
            a> MSET x{n} 1 y{n} 2 z{n} 3
            a< +OK
            a> PEXPIRE x{n} 50
            a< :1
            a> PEXPIRE y{n} 50
            a< :1
            +100ms
            b> MSET x{n} 4 y{n} 5 z{n} 6
            b< +OK
            c> DEL x{n} y{n}
            c< :2
            c> EXISTS x{n} y{n} z{n}
            c< :1
            "
        );
    }
    check(&(transcript + "a> DBSIZE\na< :9"));
}
