//! Scripts that take too long: BUSY, SCRIPT KILL and FUNCTION KILL, as the real server has them.

use crate::plan;
use crate::replica_of;
use crate::support::client::Client;
use crate::support::server::{Kind, Server, wait_until_equal};
use crate::support::{wait_for, wait_until};
use crate::wait_for_link;

const LIBRARY: &str = "#!lua name=lib
redis.register_function('spin', function() while true do end end)";

/// It ends by itself, after a second or so.
const LONG: &str = "redis.call('set', KEYS[1], 'x')
    for i = 1, 100000000 do end
    redis.call('append', KEYS[1], 'y')
    return 'done'";

fn start(kind: Kind) -> Server {
    plan(kind).arg("busy-reply-threshold", &["200"]).start()
}

fn request(words: &[&str]) -> Vec<u8> {
    let mut request = format!("*{}\r\n", words.len());
    words.iter().for_each(|it| request.push_str(&format!("${}\r\n{it}\r\n", it.len())));
    request.into_bytes()
}

fn send(client: &mut Client, words: &[&str]) {
    client.send(&request(words)).unwrap();
}

fn wait_until_busy(client: &mut Client) {
    wait_until("a script takes too long", || client.call(&["PING"]).starts_with(b"-BUSY"));
}

/// What clients are told while a script runs, and by what it is ended.
fn play(kind: Kind) -> Vec<(String, String)> {
    let mut server = start(kind);
    let [mut runs, mut asks, mut queues] = [(); 3].map(|()| server.client());
    runs.expect(&["FUNCTION", "LOAD", LIBRARY], "$3\r\nlib\r\n");
    let mut transcript = Vec::new();
    let mut note = |what: String, reply: Vec<u8>| {
        transcript.push((what, String::from_utf8_lossy(&reply).into_owned()));
    };
    let scripts: [&[&str]; 4] = [
        &["EVAL", "while true do end", "1", "k"],
        &["EVAL", "while true do end", "0"],
        &["EVAL", "while true do pcall(function() local x = 1 end) end", "1", "k"],
        &["FCALL", "spin", "1", "k"],
    ];
    for script in scripts {
        let [kill, other] = match script[0] {
            "FCALL" => ["FUNCTION", "SCRIPT"],
            _ => ["SCRIPT", "FUNCTION"],
        };
        queues.expect(&["MULTI"], "+OK\r\n");
        queues.expect(&["SET", "k", "v"], "+QUEUED\r\n");
        send(&mut runs, script);
        wait_until_busy(&mut asks);
        let requests: [&[&str]; 9] = [
            &["GET", "k"],
            &["CONFIG", "GET", "port"],
            &["INFO"],
            &["DBSIZE"],
            &["PUBLISH", "a", "b"],
            &["SHUTDOWN"],
            &["MULTI"],
            &["DISCARD"],
            &[other, "KILL"],
        ];
        for request in requests {
            // Without keys it may run beside the key's core.
            if request[0] == "GET" && script[2] == "0" {
                continue;
            }
            note(format!("{script:?} {request:?}"), asks.call(request));
        }
        note(format!("{script:?} EXEC"), queues.call(&["EXEC"]));
        wait_until("the script is ended", || is_ended(&mut asks, kill));
        note(format!("{script:?} EXEC again"), queues.call(&["EXEC"]));
        note(format!("{script:?} ends"), runs.reply().unwrap());
        note(format!("{script:?} SET"), asks.call(&["SET", "k", "v"]));
        note(format!("{script:?} KILL"), asks.call(&[kill, "KILL"]));
    }
    send(&mut runs, &["EVAL", "redis.call('set', KEYS[1], 'x') while true do end", "1", "k"]);
    wait_until_busy(&mut asks);
    for request in [["SCRIPT", "KILL"], ["FUNCTION", "KILL"], ["SHUTDOWN", "SAVE"]] {
        note(format!("it has written: {request:?}"), asks.call(&request));
    }
    send(&mut asks, &["SHUTDOWN", "NOSAVE"]);
    assert!(server.wait_for_exit().success());
    transcript
}

/// Ends the script, and says whether that was seen.
fn is_ended(client: &mut Client, kill: &str) -> bool {
    let reply = client.call(&[kill, "KILL"]);
    assert!(reply == b"+OK\r\n" || reply.starts_with(b"-NOTBUSY"), "{}", reply.escape_ascii());
    client.call(&["PING"]) == b"+PONG\r\n"
}

#[test]
fn clients_are_told_busy_and_may_end_a_script() {
    let real = play(Kind::Redis);
    for cores in [1, 3] {
        for (ours, real) in play(Kind::Ours(cores)).iter().zip(&real) {
            assert_eq!(ours, real, "{cores} cores");
        }
    }
}

/// Who waited is served then; a replica has all of it, as one unit.
#[test]
fn a_long_script_is_one_command() {
    for cores in [1, 3] {
        let master = start(Kind::Ours(cores));
        let replica = replica_of(plan(Kind::Redis), "127.0.0.1", master.port());
        wait_for_link(&replica);
        let [mut runs, mut reads] = [(); 2].map(|()| master.client());
        let behind = request(&["GET", "k"]);
        runs.send(&[request(&["EVAL", LONG, "1", "k"]), behind].concat()).unwrap();
        let seen = wait_for("the key is there", || {
            let reply = reads.call(&["GET", "k"]);
            (!reply.starts_with(b"-BUSY") && reply != b"$-1\r\n").then_some(reply)
        });
        assert_eq!(seen, b"$2\r\nxy\r\n", "{cores} cores");
        assert_eq!(runs.reply().unwrap(), b"$4\r\ndone\r\n");
        assert_eq!(runs.reply().unwrap(), b"$2\r\nxy\r\n");
        wait_until_equal(&master, &replica);
    }
}

/// Keys of other cores are served while one core is busy, and so is whoever's connection is on it.
#[test]
fn other_cores_serve() {
    let server = start(Kind::Ours(3));
    let mut clients: Vec<Client> = (0..6).map(|_| server.client()).collect();
    let mut runs = server.client();
    send(&mut runs, &["EVAL", "while true do end", "1", "k"]);
    wait_until_busy(&mut clients[0]);
    for client in &mut clients {
        let replies: Vec<Vec<u8>> =
            (0..50).map(|n| client.call(&["SET", &format!("key:{n}"), "v"])).collect();
        let busy = replies.iter().filter(|it| it.starts_with(b"-BUSY")).count();
        let served = replies.iter().filter(|it| *it == b"+OK\r\n").count();
        assert!(busy > 0 && served > 0 && busy + served == 50, "{busy} and {served}");
        assert!(
            client.call(&["MSET", "a", "1", "b", "2", "c", "3", "k", "4"]).starts_with(b"-BUSY")
        );
    }
    clients[0].expect(&["SCRIPT", "KILL"], "+OK\r\n");
    assert!(runs.reply().unwrap().starts_with(b"-ERR Script killed by user"));
    for client in &mut clients {
        client.expect(&["MSET", "a", "1", "b", "2", "c", "3", "k", "4"], "+OK\r\n");
    }
}
