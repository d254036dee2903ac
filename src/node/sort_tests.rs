//! Tests of SORT on whole nodes: what its patterns name lies on any core.

use crate::engine::transcript;
use crate::node::testing::{Client, Node, check};
use crate::resp::reply::write_request;

fn ask(node: &mut Node, client: Client, words: &[Vec<u8>]) -> String {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut request = Vec::new();
    write_request(&mut request, &words);
    transcript::spelled(&node.send(client, &request))
}

#[test]
fn replies_are_those_of_redis_on_any_number_of_cores() {
    for cores in [1, 2, 3, 7] {
        let mut node = Node::new(cores);
        let clients: Vec<Client> = (0..cores).map(|_| node.connect()).collect();
        let mut differences = Vec::new();
        let requests = transcript::requests(include_str!("../../tests/golden/sort-7.0.15.txt"));
        for (at, (words, expected)) in requests.enumerate() {
            let reply = ask(&mut node, clients[at % cores], &words);
            if reply != expected {
                let request = words.join(&b' ').escape_ascii().to_string();
                differences.push(format!("{request}\n   real {expected}\n   ours {reply}"));
            }
        }
        assert!(differences.is_empty(), "{cores} cores:\n{}\n", differences.join("\n"));
    }
}

/// What a transaction changes is what its SORT follows.
#[test]
fn within_a_transaction_it_follows_what_that_has_done() {
    check(
        "
        a> MSET w_1 3 w_2 2 w_3 1 w_4 0 g_1 one g_2 two g_3 three g_4 four
        a< +OK
        a> RPUSH l 1 2
        a< :2
        a> MULTI
        a< +OK
        a> RPUSH l 3
        a< +QUEUED
        a> SORT l BY w_* GET g_*
        a< +QUEUED
        a> SORT l BY w_* LIMIT 0 2 GET g_* STORE d
        a< +QUEUED
        a> RPUSH d 4
        a< +QUEUED
        a> SORT d BY nosort GET w_* GET # DESC
        a< +QUEUED
        a> LPUSH l 4
        a< +QUEUED
        a> SORT_RO l BY w_* GET # GET g_*
        a< +QUEUED
        a> EXEC
        a< *7 :3 *3 $5 three $3 two $3 one :2 :3 *6 $1 0 $1 4 $-1 $3 two $-1 $5 three :4 *8 $1 4 $4 four $1 3 $5 three $1 2 $3 two $1 1 $3 one
        b> LRANGE d 0 -1
        b< *3 $5 three $3 two $1 4
        b> WATCH w_1
        b< +OK
        a> SET w_1 9
        a< +OK
        b> MULTI
        b< +OK
        b> SORT l BY w_*
        b< +QUEUED
        b> EXEC
        b< *-1
        b> SORT l BY w_* LIMIT 3 1
        b< *1 $1 1
        ",
    );
}

/// Many clients at once, while what SORT follows changes: each sees some one instant.
#[test]
fn it_sees_one_instant() {
    for cores in [2, 3] {
        let mut node = Node::new(cores);
        let (writer, reader) = (node.connect_on(0), node.connect_on(1));
        node.send(writer, b"RPUSH l 1 2 3 4 5 6\r\n");
        for round in 0..50 {
            // All weights are of one round.
            let weights: Vec<String> = (1..7).map(|n| format!("w_{n} {round}")).collect();
            let set =
                format!("MSET {}\r\nLPUSH l {}\r\nRPOP l\r\n", weights.join(" "), round % 6 + 1);
            node.post(writer, set.as_bytes());
            node.post(reader, b"SORT l BY w_* GET w_*\r\n");
            node.settle();
            node.take(writer);
            let said = String::from_utf8(node.take(reader)).unwrap();
            let mut told: Vec<&str> =
                said.lines().filter(|it| !it.starts_with(['*', '$'])).collect();
            let count = told.len();
            told.dedup();
            let one = told.len() == 1 || round == 0 && told.is_empty();
            assert!(one && (count >= 6 || count == 0), "{cores} cores: {said}");
        }
    }
}

#[test]
fn a_script_reaches_its_own_core_and_its_keys() {
    for cores in [1, 3] {
        let mut node = Node::new(cores);
        let client = node.connect();
        node.send(client, b"RPUSH {l} 1 2\r\nMSET {l}w_1 2 {l}w_2 1 w_1 2 w_2 1 w_3 1\r\n");
        let sort = "return redis.call('SORT', KEYS[1], 'BY', ARGV[1])";
        let mut eval = |args: &[&str]| {
            let words = [&["EVAL", sort], args].concat();
            let words: Vec<Vec<u8>> = words.iter().map(|it| it.as_bytes().to_vec()).collect();
            ask(&mut node, client, &words)
        };
        assert_eq!(eval(&["1", "{l}", "{l}w_*"]), "*2|$1|2|$1|1|");
        // Declared, they were brought.
        assert_eq!(eval(&["3", "{l}", "w_1", "w_2", "w_*"]), "*2|$1|2|$1|1|");
        let said = eval(&["1", "{l}", "w_*"]);
        match cores {
            1 => assert_eq!(said, "*2|$1|2|$1|1|"),
            _ => assert!(said.starts_with("-ERR Script attempted to access the key 'w_"), "{said}"),
        }
    }
}
