//! The transcripts in `tests/golden/` that the unit tests replay say what a real server answers and what it
//! sends to its replicas. Here each line is played to a real server, so that a transcript that was written
//! by hand, or has aged, is found.
//!
//! A real server's clock runs on, so times may differ by what a slow machine takes for a request; and a
//! key that lives for milliseconds may die there too early. A transcript is therefore played again, a few
//! times, before it is said to be wrong.

#![expect(clippy::disallowed_types, reason = "a real server's clock is the system's")]
#![expect(clippy::disallowed_methods, reason = "its keys die while this waits")]

use crate::support::client::{Client, request};
use crate::support::server::{Kind, Plan, Server};
use crate::support::value::{Value, value};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, SystemTime};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
const TRANSCRIPTS: [&str; 11] = [
    "bits",
    "dump",
    "generic",
    "geo",
    "hashes",
    "hyperloglog",
    "lists",
    "sets",
    "sorted-sets",
    "streams",
    "strings",
];
/// Times may differ by so much.
const SLACK_MS: i64 = 400;
const ATTEMPTS: usize = 5;

/// A real server's replication stream, read as its replica.
struct Link {
    stream: BufReader<TcpStream>,
    marks: u64,
}

impl Link {
    fn to(server: &Server) -> Self {
        let mut socket = TcpStream::connect(server.address()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        socket.write_all(b"SYNC\r\n").unwrap();
        let mut stream = BufReader::new(socket);
        let length = loop {
            let mut line = String::new();
            stream.read_line(&mut line).unwrap();
            // Empty lines keep the link alive until the file is there.
            if let Some(length) = line.trim().strip_prefix('$') {
                break length.parse::<u64>().unwrap();
            }
        };
        std::io::copy(&mut stream.by_ref().take(length), &mut std::io::sink()).unwrap();
        Self { stream, marks: 0 }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        line.trim_end().to_string()
    }

    fn command(&mut self) -> Vec<Vec<u8>> {
        let count: usize = self.line().strip_prefix('*').unwrap().parse().unwrap();
        let mut words = Vec::new();
        for _ in 0..count {
            let length: usize = self.line().strip_prefix('$').unwrap().parse().unwrap();
            let mut word = vec![0; length + 2];
            self.stream.read_exact(&mut word).unwrap();
            word.truncate(length);
            words.push(word);
        }
        words
    }

    /// What has come since the last call: a published message marks the end.
    fn since(&mut self, client: &mut Client) -> Vec<Vec<Vec<u8>>> {
        self.marks += 1;
        let mark = self.marks.to_string();
        client.expect(&["PUBLISH", "transcript", &mark], ":0\r\n");
        let mut commands = Vec::new();
        loop {
            let command = self.command();
            match command[0].as_slice() {
                b"PUBLISH" if command[1] == b"transcript" => {
                    assert_eq!(command[2], mark.as_bytes());
                    return commands;
                }
                b"SELECT" | b"PING" | b"ping" | b"MULTI" | b"EXEC" => {}
                _ => commands.push(command),
            }
        }
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}

/// The words of a request, as the head of each transcript explains them.
fn words(request: &str, now: i64) -> Vec<Vec<u8>> {
    let mut words = vec![Vec::new()];
    let (mut bytes, mut quoted) = (request.bytes(), false);
    while let Some(byte) = bytes.next() {
        match byte {
            b'"' => quoted = !quoted,
            b' ' if !quoted => words.push(Vec::new()),
            b'\\' => {
                let hex: Vec<u8> = bytes.by_ref().skip(1).take(2).collect();
                let code = u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap();
                words.last_mut().unwrap().push(code);
            }
            byte => words.last_mut().unwrap().push(byte),
        }
    }
    for word in &mut words {
        let Some(time) = word.strip_prefix(b"@") else { continue };
        let Ok(time) = std::str::from_utf8(time) else { continue };
        let at = match time.strip_suffix('s') {
            Some(seconds) => now / 1_000 + seconds.parse::<i64>().unwrap(),
            None => now + time.parse::<i64>().unwrap(),
        };
        *word = at.to_string().into_bytes();
    }
    words
}

fn escaped(bytes: &[u8]) -> String {
    let shown = |&byte: &u8| match byte {
        b' '..=b'~' if byte != b'\\' => char::from(byte).to_string(),
        _ => format!("\\x{byte:02x}"),
    };
    bytes.iter().map(shown).collect()
}

fn word(bytes: &[u8]) -> String {
    let text = escaped(bytes);
    if text.is_empty() || text.contains([' ', '"', ';']) { format!("\"{text}\"") } else { text }
}

/// A reply as transcripts spell it.
fn spelled(reply: &[u8]) -> String {
    escaped(reply).replace("\\x0d\\x0a", "|")
}

/// Is a word that came the one that stands in the transcript, times aside?
fn agrees(expected: &str, got: &str, now: i64) -> bool {
    if expected == got {
        return true;
    }
    let near = |one: i64, other: i64, slack: i64| (one - other).abs() <= slack;
    if let Some(time) = expected.strip_prefix('@') {
        // An ID of a stream: its milliseconds are now.
        if let Some((ms, seq)) = time.split_once('-').filter(|(ms, _)| !ms.is_empty()) {
            let Some((got_ms, got_seq)) = got.split_once('-') else { return false };
            let (Ok(ms), Ok(got_ms)) = (ms.parse::<i64>(), got_ms.parse::<i64>()) else {
                return false;
            };
            return seq == got_seq && near(now + ms, got_ms, SLACK_MS);
        }
        let Ok(got) = got.parse::<i64>() else { return false };
        return match time.strip_suffix('s') {
            Some(seconds) => {
                seconds.parse().is_ok_and(|s: i64| near(now / 1_000 + s, got, 1 + SLACK_MS / 1_000))
            }
            // Whole seconds of a request become milliseconds of an effect.
            None => time.parse().is_ok_and(|ms: i64| {
                let slack = if got % 1_000 == 0 { 1_000 } else { 0 };
                near(now + ms, got, SLACK_MS + slack)
            }),
        };
    }
    false
}

/// The words between the signs that divide a line, in turn.
fn tokens(text: &str) -> Vec<&str> {
    text.split_inclusive([' ', '|', ':', '*', '$']).collect()
}

fn line_agrees(expected: &str, got: &str, now: i64, remaining: bool) -> bool {
    let (one, other) = (tokens(expected), tokens(got));
    let near = |a: &str, b: &str| match (a.parse::<i64>(), b.parse::<i64>()) {
        // What is left of a life shrinks while it is asked for.
        (Ok(a), Ok(b)) => remaining && a > 1 && b <= a && a - b <= SLACK_MS,
        _ => false,
    };
    one.len() == other.len()
        && one.iter().zip(&other).all(|(a, b)| {
            let ends = |it: &str| it.chars().last().filter(|it| " |:*$".contains(*it));
            let bare = |it: &'_ str| it.trim_end_matches([' ', '|', ':', '*', '$']).to_string();
            let (a_bare, b_bare) = (bare(a), bare(b));
            ends(a) == ends(b) && (agrees(&a_bare, &b_bare, now) || near(&a_bare, &b_bare))
        })
}

/// A reply with an ID of now: the transcript leaves out its length, which is the clock's.
fn without_id_length(reply: &[u8]) -> Option<String> {
    let Value::Bulk(b'$', id) = value(reply) else { return None };
    Some(format!("$ID|{}|", escaped(&id)))
}

/// Plays a transcript; what differs is returned.
fn play(server: &Server, text: &str) -> Vec<String> {
    let mut client = server.client();
    client.expect(&["FLUSHALL"], "+OK\r\n");
    let mut link = Link::to(server);
    let mut differences = Vec::new();
    for line in text.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        if let Some(ms) = line.strip_prefix('~') {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap()));
            continue;
        }
        let mut parts = line.split(" => ");
        let (question, answer) = (parts.next().unwrap(), parts.next().unwrap());
        let answer = answer.trim_end_matches(" =>");
        let effects = parts.next().unwrap_or("");
        let now = now_ms();
        let words = words(question, now);
        let bytes: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        client.send(&request(&bytes)).unwrap();
        let reply = client.reply().unwrap();
        let sent = link.since(&mut client);
        let sent: Vec<String> = sent
            .iter()
            .map(|it| it.iter().map(|it| word(it)).collect::<Vec<_>>().join(" "))
            .collect();
        let sent = sent.join(" ; ");
        let spelled = match without_id_length(&reply) {
            Some(id) if answer.starts_with("$ID|") => id,
            _ => spelled(&reply),
        };
        let remaining = matches!(words[0].to_ascii_uppercase().as_slice(), b"TTL" | b"PTTL");
        if !line_agrees(answer, &spelled, now, remaining)
            || !line_agrees(effects, &sent, now, false)
        {
            differences
                .push(format!("expected {line}\n     got {question} => {spelled} => {sent}"));
        }
    }
    differences
}

/// Scripts' transcripts hold inline requests and escaped replies, and what came before matters.
fn play_inline(server: &Server, text: &str) -> Vec<String> {
    let (mut client, mut resp3) = (server.client(), server.client());
    client.expect(&["FLUSHALL"], "+OK\r\n");
    client.expect(&["SCRIPT", "FLUSH"], "+OK\r\n");
    client.expect(&["FUNCTION", "FLUSH"], "+OK\r\n");
    assert!(resp3.call(&["HELLO", "3"]).starts_with(b"%"));
    let mut differences = Vec::new();
    for line in text.lines().filter(|it| !it.is_empty() && !it.starts_with('#')) {
        let (question, answer) = line.rsplit_once(" => ").unwrap();
        let client = if question.starts_with("EVAL3 ") { &mut resp3 } else { &mut client };
        let question = question.replacen("EVAL3 ", "EVAL ", 1);
        client.send(format!("{question}\r\n").as_bytes()).unwrap();
        let reply = client.reply().unwrap().escape_ascii().to_string().replace("\\'", "'");
        if reply != answer {
            differences.push(format!("expected {line}\n     got {question} => {reply}"));
        }
    }
    differences
}

fn server() -> Server {
    let plan = Plan::new(Kind::Redis)
        .arg("repl-diskless-sync", &["no"])
        .arg("enable-debug-command", &["yes"]);
    let server = plan.start();
    // A key dies where a request finds it dead, and not at any other time.
    server.client().expect(&["DEBUG", "SET-ACTIVE-EXPIRE", "0"], "+OK\r\n");
    server
}

#[test]
fn transcripts_are_what_a_real_server_says() {
    let server = server();
    for name in TRANSCRIPTS {
        let path = Path::new(FOLDER).join(format!("{name}-7.0.15.txt"));
        let text = std::fs::read_to_string(path).unwrap();
        let mut differences = Vec::new();
        for _ in 0..ATTEMPTS {
            differences = play(&server, &text);
            if differences.is_empty() {
                break;
            }
        }
        assert!(differences.is_empty(), "{name}\n{}\n", differences.join("\n"));
    }
}

#[test]
fn transcripts_of_scripts_are_what_a_real_server_says() {
    let server = server();
    for name in ["lua", "scripts"] {
        let path = Path::new(FOLDER).join(format!("{name}-7.0.15.txt"));
        let differences = play_inline(&server, &std::fs::read_to_string(path).unwrap());
        assert!(differences.is_empty(), "{name}\n{}\n", differences.join("\n"));
    }
    assert_eq!(play_inline(&server, "EVAL \"return 1\" 0 => :2\\r\\n").len(), 1);
}

/// A wrong reply, a wrong effect, a missing effect and a time that is off are seen.
#[test]
fn a_planted_line_is_found() {
    let server = server();
    for line in [
        "SET k v => +KO| => SET k v",
        "SET k v => +OK| => SET k w",
        "SET k v => +OK| =>",
        "GET none => $-1| => DEL none",
        "SET k v EX 10 => +OK| => SET k v PXAT @20000",
    ] {
        assert_eq!(play(&server, line).len(), 1, "{line}");
        assert_eq!(play(&server, "SET k v EX 10 => +OK| => SET k v PXAT @10000"), [""; 0]);
    }
}
