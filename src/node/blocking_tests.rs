//! Tests of clients that wait for keys: what a real server answered to the same programmes, on one core
//! and on three, with keys of one core and of several.

use crate::node::testing::{Client, Node, check};

fn sent(node: &mut Node, client: Client) -> String {
    String::from_utf8(node.take(client)).unwrap()
}

#[test]
fn who_finds_nothing_waits_and_is_served_by_the_next_push() {
    // The keys are of one core, and of three.
    for keys in ["q", "none q", "none q other far away"] {
        for (command, reply) in [
            ("BLPOP KEYS 0", "*2 $1 q $1 a"),
            ("BRPOP KEYS 0", "*2 $1 q $1 b"),
            ("BLMPOP 0 COUNT KEYS LEFT", "*2 $1 q *1 $1 a"),
            ("BLMPOP 0 COUNT KEYS RIGHT COUNT 9", "*2 $1 q *2 $1 b $1 a"),
        ] {
            let count = keys.split(' ').count().to_string();
            let command = command.replace("COUNT KEYS", &format!("{count} {keys}"));
            let command = command.replace("KEYS", keys);
            check(
                &format!(
                    "
                a> {command}
                b> RPUSH q a b
                b< :2
                a< {reply}
                b> DEL q
                b< :{}
                a> PING
                a< +PONG
                b> INFO clients
                ",
                    usize::from(!reply.contains("*2 $1 b"))
                )
                .replace("                b> INFO clients\n", ""),
            );
        }
    }
}

#[test]
fn an_element_moves_when_it_comes() {
    for (from, to) in [("q", "q"), ("q", "r"), ("q", "s"), ("q", "t"), ("{q}1", "{q}2")] {
        check(&format!(
            "
            a> BLMOVE {from} {to} LEFT RIGHT 0
            b> RPUSH {from} a
            b< :1
            a< $1 a
            b> LRANGE {to} 0 -1
            b< *1 $1 a
            b> FLUSHALL
            b< +OK
            a> BRPOPLPUSH {from} {to} 0
            b> RPUSH {from} a
            b< :1
            a< $1 a
            b> FLUSHALL
            b< +OK
            b> RPUSH {from} a
            b< :1
            a> BRPOPLPUSH {from} {to} 0
            a< $1 a
            b> FLUSHALL
            b< +OK
            b> SET str x
            b< +OK
            a> BLMOVE {from} str LEFT LEFT 0
            b> LPUSH {from} 1
            b< :1
            a< -WRONGTYPE Operation against a key holding the wrong kind of value
            b> LRANGE {from} 0 -1
            b< *1 $1 1
            "
        ));
    }
}

#[test]
fn members_are_popped_when_they_come() {
    for keys in ["q", "none q", "none q other far away"] {
        for (command, reply, left) in [
            ("BZPOPMIN KEYS 0", "*3 $1 q $1 a $1 1", 1),
            ("BZPOPMAX KEYS 0", "*3 $1 q $1 b $1 2", 1),
            ("BZMPOP 0 COUNT KEYS MIN", "*2 $1 q *1 *2 $1 a $1 1", 1),
            ("BZMPOP 0 COUNT KEYS MAX COUNT 9", "*2 $1 q *2 *2 $1 b $1 2 *2 $1 a $1 1", 0),
        ] {
            let count = keys.split(' ').count().to_string();
            let command = command.replace("COUNT KEYS", &format!("{count} {keys}"));
            let command = command.replace("KEYS", keys);
            check(&format!(
                "
                a> {command}
                b> SET q wrong
                b< +OK
                b> DEL q
                b< :1
                b> ZADD q 1 a 2 b
                b< :2
                a< {reply}
                b> ZCARD q
                b< :{left}
                b> DEL q
                b< :{left}
                a> PING
                a< +PONG
                "
            ));
        }
    }
}

#[test]
fn who_came_first_is_served_first() {
    for keys in ["q", "x q y z"] {
        check(&format!(
            "
            a> BLPOP {keys} 0
            b> BLPOP q 0
            c> BLPOP {keys} 0
            d> RPUSH q 1
            d< :1
            a< *2 $1 q $1 1
            d> RPUSH q 2 3 4
            d< :3
            b< *2 $1 q $1 2
            c< *2 $1 q $1 3
            d> LRANGE q 0 -1
            d< *1 $1 4
            "
        ));
    }
}

#[test]
fn time_runs_out() {
    for keys in ["q", "q r s"] {
        check(&format!(
            "
            a> BLPOP {keys} 0.3
            +200ms
            +200ms
            a< *-1
            b> RPUSH q 1
            b< :1
            b> LRANGE q 0 -1
            b< *1 $1 1
            a> BLPOP {keys} 0.3
            a< *2 $1 q $1 1
            "
        ));
    }
    check(
        "
        a> BLMOVE q r LEFT LEFT 0.01
        +100ms
        a< *-1
        a> BRPOPLPUSH q s 0.01
        +100ms
        a< *-1
        a> BZPOPMIN q r 0.01
        +100ms
        a< *-1
        a> BZMPOP 0.01 2 q r MAX
        +100ms
        a< *-1
        a> BLMPOP 0.01 2 q r LEFT
        +100ms
        a< *-1
        a> XREAD BLOCK 10 STREAMS q r $ $
        +100ms
        a< *-1
        ",
    );
}

#[test]
fn what_is_wrong_is_told_at_once() {
    check(
        "
        a> BLPOP q abc
        a< -ERR timeout is not a float or out of range
        a> BLPOP q r s -1
        a< -ERR timeout is negative
        a> BLMPOP x 1 k LEFT
        a< -ERR timeout is not a float or out of range
        a> BLMPOP x 0 k LEFT
        a< -ERR numkeys should be greater than 0
        a> BZMPOP x 1 k FOO
        a< -ERR syntax error
        a> BZMPOP x 1 k MIN
        a< -ERR timeout is not a float or out of range
        a> BLMPOP 0.01 0 k LEFT
        a< -ERR numkeys should be greater than 0
        a> BLMOVE s d UP LEFT x
        a< -ERR syntax error
        a> SET str x
        a< +OK
        a> BLPOP none str 0
        a< -WRONGTYPE Operation against a key holding the wrong kind of value
        a> BLPOP none str -1
        a< -ERR timeout is negative
        ",
    );
}

#[test]
fn a_key_of_another_kind_serves_nobody() {
    for keys in ["q", "x q y z"] {
        check(&format!(
            "
            a> BLPOP {keys} 0
            b> SET q 1
            b< +OK
            b> DEL q
            b< :1
            b> RPUSH q 1 2
            b< :2
            a< *2 $1 q $1 1
            "
        ));
    }
}

#[test]
fn within_a_transaction_nobody_waits() {
    check(
        "
        a> MULTI
        a< +OK
        a> BLPOP n o p 0
        a< +QUEUED
        a> BLMOVE n m LEFT LEFT 0
        a< +QUEUED
        a> BRPOPLPUSH n m 0
        a< +QUEUED
        a> BLMPOP 0 1 n LEFT
        a< +QUEUED
        a> XREAD BLOCK 0 STREAMS n $
        a< +QUEUED
        a> BZPOPMAX n o p 0
        a< +QUEUED
        a> BZMPOP 0 2 n o MAX
        a< +QUEUED
        a> EXEC
        a< *7 *-1 $-1 $-1 *-1 *-1 *-1 *-1
        a> PING
        a< +PONG
        ",
    );
}

/// Nobody is served before a transaction is over, and then by the key that got something first.
#[test]
fn a_transaction_serves_when_it_is_over() {
    for key in ["k1", "k2"] {
        check(&format!(
            "
            a> BLPOP k1 k2 0
            b> MULTI
            b< +OK
            b> LPUSH {key} b
            b< +QUEUED
            b> DEL {key}
            b< +QUEUED
            b> EXEC
            b< *2 :1 :1
            b> MULTI
            b< +OK
            b> LPUSH {key} c
            b< +QUEUED
            b> LPUSH {key} d
            b< +QUEUED
            b> SET other v
            b< +QUEUED
            b> EXEC
            b< *3 :1 :2 +OK
            a< *2 $2 {key} $1 d
            b> LRANGE {key} 0 -1
            b< *1 $1 c
            "
        ));
    }
}

#[test]
fn streams_are_read_as_they_grow() {
    for (keys, ids, greater) in [("s", "$", ">"), ("s t u", "$ $ $", "> > >")] {
        check(&format!(
            "
            b> XADD s 1-1 f v
            b< $3 1-1
            a> XREAD BLOCK 0 STREAMS {keys} {ids}
            b> XADD s 1-2 g w
            b< $3 1-2
            a< *1 *2 $1 s *1 *2 $3 1-2 *2 $1 g $1 w
            "
        ));
        let creates: String = keys
            .split(' ')
            .map(|key| format!("b> XGROUP CREATE {key} g $ MKSTREAM\nb< +OK\n"))
            .collect();
        let read = format!("XREADGROUP GROUP g c BLOCK 0 STREAMS {keys} {greater}");
        // Nobody has waited yet.
        check(&format!(
            "
            a> {read}
            a< -NOGROUP No such key 's' or consumer group 'g' in XREADGROUP with GROUP option
            "
        ));
        for (act, reply, ends) in [
            ("XADD s 1-1 f v", "$3 1-1", "*1 *2 $1 s *1 *2 $3 1-1 *2 $1 f $1 v"),
            ("DEL s", ":1", "-UNBLOCKED the stream key no longer exists"),
            ("SET s 1", "+OK", "-UNBLOCKED the stream key no longer exists"),
            ("FLUSHALL", "+OK", "-UNBLOCKED the stream key no longer exists"),
            ("RENAME s v", "+OK", "-UNBLOCKED the stream key no longer exists"),
            (
                "XGROUP DESTROY s g",
                ":1",
                "-NOGROUP the consumer group this client was blocked on no longer exists",
            ),
        ] {
            check(&format!("{creates}\na> {read}\nb> {act}\nb< {reply}\na< {ends}\n"));
        }
    }
}

#[test]
fn databases_may_be_exchanged_under_who_waits() {
    for keys in ["k", "k l m"] {
        check(&format!(
            "
            b> SELECT 1
            b< +OK
            b> LPUSH k v
            b< :1
            a> BLPOP {keys} 0
            b> SWAPDB 0 1
            b< +OK
            a< *2 $1 k $1 v
            "
        ));
    }
}

#[test]
fn who_leaves_takes_nothing_with_him() {
    for cores in [1, 3] {
        for keys in ["q", "q r s"] {
            let mut node = Node::new(cores);
            let (gone, other) = (node.connect(), node.connect());
            let request = format!("BLPOP {keys} 0\r\n");
            assert_eq!(node.send(gone, request.as_bytes()), b"");
            node.disconnect(gone);
            assert_eq!(
                node.send(other, b"RPUSH q 1\r\nLRANGE q 0 -1\r\n"),
                b":1\r\n*1\r\n$1\r\n1\r\n"
            );
            node.send(other, b"DEL q\r\n");
            let watched: usize =
                node.cores.iter_mut().map(|core| core.keyspace_mut().watched_keys()).sum();
            assert_eq!(watched, 0, "{keys}, {cores} cores");
        }
    }
}

#[test]
fn client_unblock_ends_waiting_for_keys() {
    for cores in [1, 3] {
        for keys in ["q", "q r s"] {
            let mut node = Node::new(cores);
            let (waits, other) = (node.connect(), node.connect());
            let request = format!("BLPOP {keys} 0\r\n");
            for (end, said) in [
                ("", "*-1\r\n"),
                (" TIMEOUT", "*-1\r\n"),
                (" ERROR", "-UNBLOCKED client unblocked via CLIENT UNBLOCK\r\n"),
            ] {
                assert_eq!(node.send(waits, request.as_bytes()), b"");
                let listed = String::from_utf8(node.send(other, b"CLIENT LIST\r\n")).unwrap();
                assert!(listed.contains("flags=b"), "{listed}");
                let unblock = format!("CLIENT UNBLOCK 1{end}\r\n");
                assert_eq!(node.send(other, unblock.as_bytes()), b":1\r\n");
                assert_eq!(sent(&mut node, waits), said);
                assert_eq!(node.send(other, unblock.as_bytes()), b":0\r\n");
            }
            assert_eq!(node.send(other, b"RPUSH q 1\r\n"), b":1\r\n");
            assert_eq!(node.send(waits, b"PING\r\n"), b"+PONG\r\n");
        }
    }
}

#[test]
fn who_waits_when_the_role_changes_is_told_so_and_closed() {
    for cores in [1, 3] {
        let mut node = Node::new(cores);
        let (one, several, reads) = (node.connect(), node.connect(), node.connect());
        node.send(one, b"BLPOP q 0\r\n");
        node.send(several, b"BLPOP q r s 0\r\n");
        node.send(reads, b"XREAD BLOCK 0 STREAMS q $\r\n");
        let other = node.connect();
        assert_eq!(node.send(other, b"REPLICAOF 127.0.0.1 1\r\n"), b"+OK\r\n");
        for client in [one, several, reads] {
            let said = sent(&mut node, client);
            assert!(said.starts_with("-UNBLOCKED force unblock from"), "{said}");
            assert!(node.is_closed(client));
        }
    }
}

/// A command that may wait leaves nothing behind in a transaction, wherever that ran.
#[test]
fn a_transaction_that_would_have_waited_disturbs_nobody() {
    for key in ["a", "b", "c", "d"] {
        check(&format!(
            "
            a> MULTI
            a< +OK
            a> BLPOP {key} 0
            a< +QUEUED
            a> EXEC
            a< *1 *-1
            b> GET a
            b< $-1
            c> GET b
            c< $-1
            a> GET c
            a< $-1
            b> MULTI
            b< +OK
            b> BLMOVE {key} other LEFT LEFT 0
            b< +QUEUED
            b> EXEC
            b< *1 $-1
            c> GET other
            c< $-1
            "
        ));
    }
}

/// What is published within a transaction is a part of it.
#[test]
fn a_transaction_may_publish() {
    check(
        "
        s> SUBSCRIBE news
        s< *3 $9 subscribe $4 news :1
        t> SUBSCRIBE news
        t< *3 $9 subscribe $4 news :1
        a> MULTI
        a< +OK
        a> SET k1 v
        a< +QUEUED
        a> PUBLISH news first
        a< +QUEUED
        a> PUBLISH nobody second
        a< +QUEUED
        a> SET k2 v
        a< +QUEUED
        a> EXEC
        a< *4 +OK :2 :0 +OK
        s< *3 $7 message $4 news $5 first
        t< *3 $7 message $4 news $5 first
        a> PING
        a< +PONG
        ",
    );
}
