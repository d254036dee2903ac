//! Input that no proper client sends: a table of what goes in and what must come out.
//!
//! Rows that say `Alike` are proved against the real server too. Where the servers of the field
//! differ, or where a real one hangs for ever, the row says what ours does (`Ours`).

use crate::support::client::{Client, request};
use crate::support::server::{Kind, Plan, Server};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Who {
    Alike,
    Ours,
}
use Who::{Alike, Ours};

/// What becomes of the connection after the expected bytes.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Then {
    /// It answers the next PING.
    Open,
    /// It is closed.
    Close,
    /// Nothing: the server waits for the rest, and serves others meanwhile.
    Waits,
}
use Then::{Close, Open, Waits};

const PONG: &str = "+PONG\r\n";
const PING: &str = "*1\r\n$4\r\nPING\r\n";
const MULTIBULK: &str = "-ERR Protocol error: invalid multibulk length\r\n";
const BULK: &str = "-ERR Protocol error: invalid bulk length\r\n";
const QUOTES: &str = "-ERR Protocol error: unbalanced quotes in request\r\n";
const NO_CRLF: &str = "-ERR Protocol error: invalid CRLF in request\r\n";
const NOAUTH: &str = "-NOAUTH Authentication required.\r\n";

#[rustfmt::skip] // One row, one line: a table should look like one.
const TABLE: &[(Who, &str, &str, Then)] = &[
    // Empty and negative counts are no requests.
    (Alike, "*0\r\n",                              "", Open),
    (Alike, "*-1\r\n",                             "", Open),
    (Alike, "*-2147483649\r\n",                    "", Open),
    (Alike, "*0\r\n*-1\r\n*1\r\n$4\r\nPING\r\n",   PONG, Open),
    // Counts that are none.
    (Alike, "*2147483648\r\n",                     MULTIBULK, Close),
    (Alike, "*12345678901234567890\r\n",           MULTIBULK, Close),
    (Alike, "*abc\r\n",                            MULTIBULK, Close),
    (Alike, "* 1\r\n",                             MULTIBULK, Close),
    (Alike, "*+1\r\n",                             MULTIBULK, Close),
    (Alike, "*01\r\n",                             MULTIBULK, Close),
    (Alike, "*1.0\r\n",                            MULTIBULK, Close),
    (Alike, "*\r\n",                               MULTIBULK, Close),
    (Alike, "*1048577\r\n",                        "", Waits),
    (Alike, "*2147483647\r\n",                     "", Waits),
    (Alike, "*1\r\n$-1\r\n",                       BULK, Close),
    (Alike, "*1\r\n$abc\r\n",                      BULK, Close),
    (Alike, "*1\r\n$\r\n",                         BULK, Close),
    (Alike, "*1\r\n$536870913\r\n",                BULK, Close),
    (Alike, "*1\r\n$9223372036854775807\r\n",      BULK, Close),
    (Alike, "*1\r\n$9223372036854775808\r\n",      BULK, Close),
    (Alike, "*1\r\n$536870912\r\n",                "", Waits),
    (Alike, "*1\r\n$0\r\n\r\n",                    "-ERR unknown command '', with args beginning with: \r\n", Open),
    // What stands where a bulk should.
    (Alike, "*1\r\n!4\r\nPING\r\n",                "-ERR Protocol error: expected '$', got '!'\r\n", Close),
    (Alike, "*1\r\n:4\r\n",                        "-ERR Protocol error: expected '$', got ':'\r\n", Close),
    (Alike, "*1\r\n*1\r\n$4\r\nPING\r\n",          "-ERR Protocol error: expected '$', got '*'\r\n", Close),
    (Alike, "*1\r\n\r\n",                          "-ERR Protocol error: expected '$', got ' '\r\n", Close),
    // A bulk that does not end where it says.
    (Ours,  "*1\r\n$4\r\nPINGxx*1\r\n",            NO_CRLF, Close),
    (Ours,  "*1\r\n$4\r\nPING\n\n",                NO_CRLF, Close),
    (Ours,  "*1\rX$4\r\nPING\r\n",                 NO_CRLF, Close),
    (Ours,  "*1\r\n$4\rX",                         NO_CRLF, Close),
    (Alike, "*1\n$4\nPING\n*1\r\n",                MULTIBULK, Close),
    // Inline.
    (Alike, "PING\r\n",                            PONG, Open),
    (Alike, "PING\n",                              PONG, Open),
    (Alike, "  PING  \r\n",                        PONG, Open),
    (Alike, "\r\n\r\n\n   \r\nPING\r\n",           PONG, Open),
    (Alike, "ECHO \"\\x41\\n\\t\\\"\"\r\n",        "$4\r\nA\n\t\"\r\n", Open),
    (Alike, "ECHO 'a\\'b\\n'\r\n",                 "$5\r\na'b\\n\r\n", Open),
    (Alike, "ECHO \"\"\r\n",                       "$0\r\n\r\n", Open),
    (Alike, "ECHO \"\\xzz\"\r\n",                  "$3\r\nxzz\r\n", Open),
    (Alike, "ECHO \"a\r\n",                        QUOTES, Close),
    (Alike, "ECHO 'a\r\n",                         QUOTES, Close),
    (Alike, "ECHO \"b\"c\r\n",                     QUOTES, Close),
    (Alike, "ECHO 'b'c\r\n",                       QUOTES, Close),
    (Ours,  "PI\0NG\r\n",                          "-ERR Protocol error: NUL in inline request\r\n", Close),
    // Other protocols. What the lines before `Host:` would have answered goes with the connection.
    (Alike, "GET / HTTP/1.1\r\nHost: x\r\n\r\n",   "", Close),
    (Alike, "POST / HTTP/1.1\r\nHost: x\r\n\r\n",  "", Close),
    (Alike, "*1\r\n$4\r\nPOST\r\n",                "", Close),
    (Alike, "*1\r\n$5\r\nhost:\r\n",               "", Close),
    (Alike, "PUT / HTTP/1.1\r\nHost: x\r\n\r\n",   "", Close),
    (Ours,  "\x16\x03\x01\x02\x00\x01\x00\x01",    "", Close),
    // A stock server calls it an unknown command and goes on as if the proxy were the client.
    (Ours,  "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
        "-ERR Protocol error: unexpected PROXY preamble\r\n", Close),
    // Types of RESP3 are no requests.
    (Alike, "%1\r\n",                              "-ERR unknown command '%1', with args beginning with: \r\n", Open),
    (Alike, "_\r\n",                               "-ERR unknown command '_', with args beginning with: \r\n", Open),
    (Alike, "~1\r\n",                              "-ERR unknown command '~1', with args beginning with: \r\n", Open),
    (Alike, "#t\r\n",                              "-ERR unknown command '#t', with args beginning with: \r\n", Open),
    // Bytes that an error text or a list must not pass on.
    (Alike, "*1\r\n$4\r\na\r\nb\r\n",              "-ERR unknown command 'a  b', with args beginning with: \r\n", Open),
    (Alike, "*2\r\n$2\r\nno\r\n$3\r\n\r\nx\r\n",   "-ERR unknown command 'no', with args beginning with: '  x' \r\n", Open),
    (Alike, "*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$3\r\na\nb\r\n",
        "-ERR Client names cannot contain spaces, newlines or special characters.\r\n", Open),
    (Ours,  "*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n$3\r\na b\r\n",
        "-ERR LIB-NAME cannot contain spaces, newlines or special characters.\r\n", Open),
    // HELLO.
    (Alike, "HELLO 4\r\n",                         "-NOPROTO unsupported protocol version\r\n", Open),
    (Alike, "HELLO abc\r\n",                       "-ERR Protocol version is not an integer or out of range\r\n", Open),
    (Alike, "HELLO 3 AUTH x\r\n",                  "-ERR Syntax error in HELLO option 'AUTH'\r\n", Open),
    (Alike, "HELLO 3 AUTH nobody x\r\n",           "-WRONGPASS invalid username-password pair or user is disabled.\r\n", Open),
];

#[rustfmt::skip] // One row, one line.
const UNAUTHENTICATED: &[(Who, &str, &str, Then)] = &[
    (Alike, "*11\r\n",                              "-ERR Protocol error: unauthenticated multibulk length\r\n", Close),
    (Alike, "*2\r\n$4\r\nECHO\r\n$16385\r\n",       "-ERR Protocol error: unauthenticated bulk length\r\n", Close),
    (Alike, "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n",       NOAUTH, Open),
    (Alike, "PING\r\n",                             NOAUTH, Open),
    (Alike, "QUIT\r\n",                             "+OK\r\n", Close),
    (Alike, "RESET\r\n",                            "+RESET\r\n", Open),
    (Alike, "HELLO\r\n",                            NOAUTH_HELLO, Open),
    (Alike, "HELLO 3\r\n",                          NOAUTH_HELLO, Open),
    (Alike, "AUTH wrong\r\n",                       "-WRONGPASS invalid username-password pair or user is disabled.\r\n", Open),
    (Ours,  "NOPE\r\n",                             NOAUTH, Open),
];
const NOAUTH_HELLO: &str = "-NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time\r\n";

const PASSWORD: &str = "swordfish";

#[test]
fn the_table_of_malformed_input() {
    for kind in [Kind::Ours(1), Kind::Ours(2), Kind::Redis] {
        let server = Server::of(kind);
        run_table(&server, TABLE, &mut Vec::new());
    }
}

#[test]
fn the_table_of_input_before_a_password() {
    for kind in [Kind::Ours(2), Kind::Redis] {
        let server = Plan::new(kind).password(PASSWORD).start();
        run_table(&server, UNAUTHENTICATED, &mut Vec::new());
    }
}

/// A line without an end is cut off where Redis cuts it.
#[test]
fn lines_without_an_end() {
    let long = "1".repeat(70_000);
    let table = [
        (Alike, format!("*{long}"), "-ERR Protocol error: too big mbulk count string\r\n", Close),
        (
            Alike,
            format!("*1\r\n${long}"),
            "-ERR Protocol error: too big bulk count string\r\n",
            Close,
        ),
        (Alike, long, "-ERR Protocol error: too big inline request\r\n", Close),
    ];
    let rows: Vec<_> = table.iter().map(|(a, b, c, d)| (*a, b.as_str(), *c, *d)).collect();
    for kind in [Kind::Ours(1), Kind::Redis] {
        run_table(&Server::of(kind), &rows, &mut Vec::new());
    }
}

/// Each row twice: as one piece, and byte by byte.
fn run_table(server: &Server, table: &[(Who, &str, &str, Then)], errors: &mut Vec<String>) {
    for (who, input, expected, then) in table {
        if *who == Ours && server.plan.kind.is_stock() {
            continue;
        }
        for torn in [false, true] {
            // Torn HTTP may be answered line by line, before its Host line ends it all.
            if torn && (input.len() > 1_000 || input.contains("HTTP")) {
                continue;
            }
            if let Err(why) = check(server, input.as_bytes(), expected, *then, torn) {
                errors.push(format!("{:?} torn {torn}: {why}", input.escape_debug().to_string()));
            }
        }
    }
    assert!(errors.is_empty(), "{:?}:\n{}", server.plan.kind, errors.join("\n"));
}

fn check(
    server: &Server,
    input: &[u8],
    expected: &str,
    then: Then,
    torn: bool,
) -> Result<(), String> {
    let mut client = Client::connect(&server.address()).unwrap();
    // A server may close before it has read all that a torn writer sends.
    if torn {
        input.chunks(1).for_each(|it| drop(client.send(it)));
    } else {
        let _ = client.send(input);
    }
    let same = |got: &[u8], wanted: &str| {
        let differs = || format!("{} instead of {}", got.escape_ascii(), wanted.escape_debug());
        (got == wanted.as_bytes()).then_some(()).ok_or_else(differs)
    };
    client.set_patience(Duration::from_secs(5));
    match then {
        Close => same(&client.until_closed().map_err(|why| why.to_string())?, expected),
        Waits => {
            client.set_patience(Duration::from_millis(30));
            let silent =
                client.reply().is_err_and(|it| it.kind() == std::io::ErrorKind::WouldBlock);
            let served = server.client().call(&["PING"]) == PONG.as_bytes();
            (silent && served).then_some(()).ok_or_else(|| "it does not wait in peace".into())
        }
        Open => {
            let mut after = PONG.to_string();
            if let Some(password) = &server.plan.password {
                let _ = client.send(&request(&[b"AUTH", password.as_bytes()]));
                after = format!("+OK\r\n{PONG}");
            }
            let _ = client.send(PING.as_bytes());
            client.end_of_requests();
            let got = client.until_closed().map_err(|why| why.to_string())?;
            same(&got, &format!("{expected}{after}"))
        }
    }
}

/// Announced but unsent bytes cost nothing worth speaking of.
#[test]
fn announcements_allocate_nothing() {
    let server = Server::of(Kind::Ours(2));
    let before = resident_bytes(server.pid());
    let mut clients = Vec::new();
    for head in ["*1048576\r\n", "*1\r\n$536870912\r\n", "*1048576\r\n$3\r\nDEL\r\n$536870912\r\n"]
    {
        for _ in 0..100 {
            let mut client = Client::connect(&server.address()).unwrap();
            client.send(head.as_bytes()).unwrap();
            clients.push(client);
        }
    }
    server.client().expect(&["PING"], PONG);
    let grown = resident_bytes(server.pid()).saturating_sub(before);
    // A stock server keeps a 20 kB buffer and an array of arguments per client.
    let most = if server.plan.kind.is_stock() { 64 << 20 } else { 300 * 16 * 1024 };
    assert!(grown < most, "{} clients that only announced cost {grown} bytes", clients.len());
}

/// Many arguments, many requests, a reset in the middle, a half-closed connection.
#[test]
fn big_and_broken_requests() {
    for kind in [Kind::Ours(2), Kind::Redis] {
        let server = Server::of(kind);
        let keys: Vec<Vec<u8>> = (0..1_000_000).map(|it| format!("k{it}").into_bytes()).collect();
        let mut args: Vec<&[u8]> = vec![b"EXISTS"];
        args.extend(keys.iter().map(Vec::as_slice));
        let mut client = server.client();
        client.send(&request(&args)).unwrap();
        assert_eq!(client.reply().unwrap(), b":0\r\n");

        let mut pipelining = server.client();
        for _ in 0..100 {
            pipelining.send(&PING.repeat(10_000).into_bytes()).unwrap();
            for _ in 0..10_000 {
                assert_eq!(pipelining.reply().unwrap(), PONG.as_bytes());
            }
        }
        for _ in 0..100 {
            let mut broken = server.client();
            broken.send(b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$100\r\nhalf").unwrap();
        }
        let mut half = server.client();
        half.send(format!("{PING}*2\r\n$4\r\nECHO\r\n$2\r\nhi\r\n").as_bytes()).unwrap();
        half.end_of_requests();
        assert_eq!(half.until_closed().unwrap(), b"+PONG\r\n$2\r\nhi\r\n");
        client.expect(&["EXISTS", "k"], ":0\r\n");
    }
}

/// HELLO switches both ways, within one pipeline.
#[test]
fn hello_switches_the_protocol_both_ways() {
    for kind in [Kind::Ours(1), Kind::Redis] {
        let server = Server::of(kind);
        let mut client = server.client();
        client
            .send(b"HELLO 3\r\nGET none\r\nHELLO 2\r\nGET none\r\nHELLO 9\r\nGET none\r\n")
            .unwrap();
        let replies: Vec<Vec<u8>> = (0..6).map(|_| client.reply().unwrap()).collect();
        assert_eq!(replies[0].first(), Some(&b'%'));
        assert_eq!(replies[1], b"_\r\n");
        assert_eq!(replies[2].first(), Some(&b'*'));
        assert_eq!(replies[3], b"$-1\r\n");
        assert!(replies[4].starts_with(b"-NOPROTO"));
        assert_eq!(replies[5], b"$-1\r\n");
    }
}

/// Unauthenticated and never reading: the server lets go before it has buffered much.
#[test]
fn an_unauthenticated_flood_is_cut_off() {
    let server = Plan::new(Kind::Ours(1)).password(PASSWORD).start();
    if server.plan.kind.is_stock() {
        return; // Debian's build cuts too, but only past its own, larger budget.
    }
    let mut client = Client::connect(&server.address()).unwrap();
    let _ = client.send("GET none\r\n".repeat(1_000).as_bytes());
    let got = client.until_closed().expect("the connection is closed");
    assert!(got.len() <= 2_048, "{} bytes before the cut", got.len());
}

fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|it| it.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}
