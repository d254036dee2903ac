//! Tests of EVAL, SCRIPT and FUNCTION on a whole node: what a real server answered, effects, other cores.

use crate::node::testing::{Client, Node, check};
use crate::resp::inline::split_words;
use crate::resp::reply::write_request;

fn ask(node: &mut Node, client: Client, words: &[Vec<u8>]) -> String {
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut request = Vec::new();
    write_request(&mut request, &words);
    node.send(client, &request).escape_ascii().to_string().replace("\\'", "'")
}

#[test]
fn commands_answer_as_a_real_servers() {
    let transcript = include_str!("../../tests/golden/scripts-7.0.15.txt");
    for cores in [1, 3] {
        let mut node = Node::new(cores);
        let client = node.connect();
        let mut differences = Vec::new();
        for text in transcript.lines().filter(|it| !it.starts_with('#')) {
            let (request, expected) = text.rsplit_once(" => ").unwrap();
            let words = split_words(request.as_bytes()).unwrap();
            let reply = ask(&mut node, client, &words);
            if reply != expected {
                differences.push(format!("{request}\n   real {expected}\n   ours {reply}"));
            }
        }
        let count = differences.len();
        assert!(differences.is_empty(), "{cores} cores, {count}:\n{}\n", differences.join("\n"));
    }
}

#[test]
fn scripts_are_known_on_every_core() {
    check(
        "
        a> SCRIPT LOAD \"return KEYS[1]\"
        a< $40 4a2267357833227dd98abdedb8cf24b15a986445
        a> EVALSHA 4a2267357833227dd98abdedb8cf24b15a986445 1 a
        a< $1 a
        b> EVALSHA 4a2267357833227dd98abdedb8cf24b15a986445 1 b
        b< $1 b
        c> EVALSHA 4a2267357833227dd98abdedb8cf24b15a986445 1 c
        c< $1 c
        a> EVAL \"return ARGV[1]\" 1 a x
        a< $1 x
        b> EVALSHA 098e0f0d1448c0a81dafe820f66d460eb09263da 1 b y
        b< $1 y
        c> SCRIPT EXISTS 098e0f0d1448c0a81dafe820f66d460eb09263da
        c< *1 :1
        c> SCRIPT FLUSH
        c< +OK
        a> EVALSHA 098e0f0d1448c0a81dafe820f66d460eb09263da 1 b y
        a< -NOSCRIPT No matching script. Please use EVAL.
        ",
    );
}

#[test]
fn keys_of_several_cores_and_of_other_ones() {
    check(
        "
        a> MSET a 1 b 2 c 3 d 4 e 5
        a< +OK
        a> EVAL \"local t = 0 for _, k in ipairs(KEYS) do t = t + redis.call('get', k) end return t\" 5 a b c d e
        a< :15
        a> EVAL \"for _, k in ipairs(KEYS) do redis.call('incrby', k, ARGV[1]) end\" 5 a b c d e 10
        a< $-1
        b> MGET a b c d e
        b< *5 $2 11 $2 12 $2 13 $2 14 $2 15
        ",
    );
    let mut node = Node::new(3);
    let client = node.connect();
    let words =
        ["EVAL", "return redis.call('get', 'b')", "1", "a"].map(|it| it.as_bytes().to_vec());
    let mut answers: Vec<String> = ["a", "b", "c", "d", "e"]
        .iter()
        .map(|key| {
            let mut words = words.to_vec();
            words[3] = key.as_bytes().to_vec();
            ask(&mut node, client, &words)
        })
        .collect();
    answers.sort();
    answers.dedup();
    assert_eq!(answers[0], "$-1\\r\\n", "{answers:?}");
    let expected = "-ERR Script attempted to access the key 'b', which is on another core";
    assert!(answers[1].starts_with(expected), "{answers:?}");
}

#[test]
fn libraries_are_loaded_on_every_core() {
    check(
        "
        a> FUNCTION LOAD \"#!lua name=l\\nredis.register_function('f', function(k) return k[1] end)\"
        a< $1 l
        a> FCALL f 1 a
        a< $1 a
        b> FCALL f 1 b
        b< $1 b
        c> FCALL f 1 c
        c< $1 c
        b> FUNCTION DELETE l
        b< +OK
        a> FCALL f 1 a
        a< -ERR Function not found
        c> FCALL f 1 c
        c< -ERR Function not found
        ",
    );
}
