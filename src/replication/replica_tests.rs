//! Our link to a master, against golden dialogues, torn bytes and everything unexpected.

use crate::base::limits::MASTER_LINE_BYTES_MAX;
use crate::base::time::Mono;
use crate::replication::log::encode_request;
use crate::replication::psync::History;
use crate::replication::replica::*;

struct Bed {
    replica: Replica,
    history: History,
    now: Mono,
    kept: Vec<u8>,
    loaded: Vec<u8>,
    out: Vec<Output>,
}

impl Bed {
    fn new(settings: Settings) -> Self {
        let settings = Settings { timeout_ms: 60_000, port: 7777, ..settings };
        Self {
            replica: Replica::new(settings, Mono(0)),
            history: History::new([b'0'; 40]),
            now: Mono(0),
            kept: Vec::new(),
            loaded: Vec::new(),
            out: Vec::new(),
        }
    }

    /// A plain machine that has dialled; what it says from then on is in `out`.
    fn dialled(offset: Option<u64>) -> Self {
        let mut bed = Self::new(Settings::default());
        bed.give(Input::Follow { offset, failover: false });
        bed.give(Input::Connected);
        bed.bytes(b"+PONG\r\n+OK\r\n+OK\r\n");
        bed.out.clear();
        bed
    }

    fn give(&mut self, input: Input<'_>) {
        let used = self.replica.handle(self.now, &mut self.history, input, &mut self.out);
        assert_eq!(used, 0);
    }

    /// Presents bytes as `runtime/` does, and loads and applies at once.
    fn bytes(&mut self, bytes: &[u8]) {
        self.kept.extend_from_slice(bytes);
        loop {
            let (now, from) = (self.now, self.out.len());
            let input = Input::Bytes(&self.kept);
            let used = self.replica.handle(now, &mut self.history, input, &mut self.out);
            let (mut done, mut end) = (false, None);
            for output in &self.out[from..] {
                match output {
                    Output::Load(range) => self.loaded.extend_from_slice(&self.kept[range.clone()]),
                    Output::LoadDone => done = true,
                    Output::Apply { end: at, .. } => end = Some(*at),
                    _ => {}
                }
            }
            self.kept.drain(..used);
            if done {
                self.give(Input::Loaded);
            }
            if let Some(offset) = end {
                self.give(Input::Applied { offset });
            }
            if used == 0 || self.kept.is_empty() {
                return;
            }
        }
    }

    fn sent(&mut self) -> Vec<u8> {
        let out = std::mem::take(&mut self.out);
        let sends = out.into_iter().filter_map(|it| match it {
            Output::Send(bytes) => Some(bytes),
            _ => None,
        });
        sends.flatten().collect()
    }

    fn after(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.give(Input::Tick);
    }
}

fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, tail)) = rest.split_first() {
        let (byte, used) = match (first, tail) {
            (b'\\', [b'r', ..]) => (b'\r', 1),
            (b'\\', [b'n', ..]) => (b'\n', 1),
            (b'\\', [b'x', a, b, ..]) => {
                let hex = String::from_utf8(vec![*a, *b]).unwrap();
                (u8::from_str_radix(&hex, 16).unwrap(), 3)
            }
            (byte, _) => (byte, 0),
        };
        bytes.push(byte);
        rest = &tail[used..];
    }
    bytes
}

/// What the replica says in the golden dialogue, each ACK once: a stock replica says one
/// twice where its timer meets the event. The capability that stock masters do not know is left out.
fn said(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    let text = text
        .replace("*7\r\n$8\r\nREPLCONF", "*5\r\n$8\r\nREPLCONF")
        .replace("$4\r\ncapa\r\n$6\r\nresync\r\n", "");
    let mut said: Vec<String> = text.split('*').map(str::to_string).collect();
    said.dedup();
    said.retain(|it| !it.is_empty());
    said
}

#[test]
fn speaks_to_a_master_as_a_stock_replica() {
    let golden = include_str!("../../tests/golden/psync/replica_dialogue.txt");
    let mut bed = Bed::new(Settings {
        user: Some(b"u".to_vec()),
        password: Some(b"pw".to_vec()),
        announce_ip: Some(b"10.1.1.1".to_vec()),
        ..Settings::default()
    });
    // The stock replica offers its own fresh history, of which there is nothing.
    bed.history.replid = *b"e2a10eda029b66cd557c6fae1cda901c8652218a";
    bed.give(Input::Follow { offset: Some(0), failover: false });
    bed.give(Input::Connected);
    let (mut expected, mut checked) = (Vec::new(), 0);
    for line in golden.lines().skip(1) {
        if let Some(line) = line.strip_prefix("< ") {
            // The link is cut before the second PING.
            if checked > 0 && line.contains("PING") {
                bed.give(Input::Disconnected);
                bed.kept.clear();
                bed.after(1_000);
                bed.give(Input::Connected);
            }
            // A stock replica does not count the GETACK that it answers; we have executed it.
            expected.extend_from_slice(&unescape(&line.replace("179", "216")));
            checked += 1;
            assert_eq!(said(&bed.sent()), said(&expected), "{line}");
            expected.clear();
        } else if let Some(line) = line.strip_prefix("> ") {
            bed.bytes(&unescape(line));
            if bed.replica.status(bed.now).up && !line.contains("GETACK") && line.contains("SELECT")
            {
                bed.after(1_000);
            }
        }
    }
    assert_eq!(checked, 14);
    assert_eq!(bed.history.second_wire(), 217);
    assert_eq!(bed.history.replid, [b'b'; 40]);
}

#[test]
fn the_mark_is_found_over_any_tear_and_never_loaded() {
    let mark = b"0123456789012345678901234567890123456789";
    let payload = [&b"REDIS"[..], &mark[..39], &mark[..20], b"01", &mark[..1]].concat();
    let mut stream = b"\n+FULLRESYNC ".to_vec();
    stream.extend_from_slice(&[b'a'; 40]);
    stream.extend_from_slice(b" 10\r\n\n\n$EOF:");
    stream.extend_from_slice(mark);
    stream.extend_from_slice(b"\r\n");
    stream.extend_from_slice(&payload);
    stream.extend_from_slice(mark);
    encode_request(&[b"PING"], &mut stream);
    for step in 1..stream.len() + 1 {
        let mut bed = Bed::dialled(None);
        stream.chunks(step).for_each(|piece| bed.bytes(piece));
        assert_eq!(bed.loaded, payload, "in steps of {step}");
        assert_eq!(bed.replica.status(bed.now).applied, 24);
        assert!(bed.out.contains(&Output::Adopted { offset: 10 }));
    }
}

#[test]
fn a_sized_snapshot_ends_where_it_says() {
    for step in [1, 5, 100] {
        let mut bed = Bed::dialled(None);
        let mut stream = format!("+FULLRESYNC {} 0\r\n$5\r\nREDIS", "a".repeat(40)).into_bytes();
        encode_request(&[b"PING"], &mut stream);
        stream.chunks(step).for_each(|piece| bed.bytes(piece));
        assert_eq!((&bed.loaded[..], bed.replica.status(bed.now).applied), (&b"REDIS"[..], 14));
    }
}

#[test]
fn every_unexpected_answer_ends_the_link_with_its_reason() {
    use CloseReason::*;
    let check = |text: &str, offset: Option<u64>, reason: CloseReason| {
        let mut bed = Bed::dialled(offset);
        bed.bytes(text.as_bytes());
        assert!(bed.out.contains(&Output::Close(reason)), "{text:?}: {:?}", bed.out);
        assert_eq!(bed.replica.status(bed.now).state, "connect");
    };
    let continued = format!("+CONTINUE {}\r\n", "a".repeat(40));
    check(&continued, None, Garbage);
    check("+CONTINUE short\r\n", Some(3), Garbage);
    check("+FULLRESYNC\r\n", None, Garbage);
    check("+FULLRESYNC x 1\r\n", None, Garbage);
    check(&format!("+FULLRESYNC {} -1\r\n", "a".repeat(40)), None, Garbage);
    check("-NOMASTERLINK Can't SYNC while not connected with my master\r\n", None, MasterNotReady);
    check("-LOADING Redis is loading the dataset in memory\r\n", None, MasterNotReady);
    check("-NOAUTH Authentication required.\r\n", None, Refused);
    check("-NOPERM this user has no permissions\r\n", None, Refused);
    check("-MISCONF no disk\r\n", None, Refused);
    check("HTTP/1.1 400 Bad Request\r\n", None, Garbage);
    check(&"x".repeat(MASTER_LINE_BYTES_MAX), None, Garbage);
    let full = format!("+FULLRESYNC {} 1\r\n", "a".repeat(40));
    for header in ["$-1", "$x", "$EOF:short", "*1", "$99999999999999999999"] {
        check(&format!("{full}{header}\r\n"), None, Garbage);
    }
    check(&format!("{full}-ERR cannot\r\n"), None, Refused);
    check(&format!("{full}$0\r\nx"), None, Garbage);
    check(&format!("{continued}+OK\r\n"), Some(3), Garbage);
}

#[test]
fn the_handshake_bears_what_old_masters_say() {
    let start = |password: Option<&[u8]>| {
        let password = password.map(<[u8]>::to_vec);
        let mut bed = Bed::new(Settings { password, ..Settings::default() });
        bed.give(Input::Follow { offset: None, failover: false });
        bed.give(Input::Connected);
        bed.sent();
        bed
    };
    let mut bed = start(None);
    bed.bytes(
        b"-NOAUTH Authentication required.\r\n-ERR no\r\n-ERR no\r\n-ERR unknown command\r\n",
    );
    assert!(bed.sent().ends_with(b"*1\r\n$4\r\nSYNC\r\n"));
    bed.bytes(b"$3\r\nRDB*1\r\n$4\r\nPING\r\n");
    assert!(bed.out.contains(&Output::AdoptedNameless));
    bed.after(1_000);
    assert_eq!(bed.sent(), b"", "it does not know ACK");
    bed.give(Input::Disconnected);
    assert!(!bed.replica.has_data());
    let mut bed = start(Some(b"pw"));
    bed.bytes(b"+PONG\r\n-WRONGPASS invalid\r\n");
    assert!(bed.out.contains(&Output::Close(CloseReason::AuthFailed)));
    let mut bed = start(None);
    bed.bytes(b"-LOADING wait\r\n");
    assert_eq!(bed.out, [Output::Close(CloseReason::MasterNotReady)]);
}

#[test]
fn retries_are_paced_and_silence_ends_every_state() {
    let mut bed = Bed::dialled(Some(5));
    let full = format!("+FULLRESYNC {} 1\r\n$5\r\n", "a".repeat(40));
    for delay_s in [1, 2, 4, 8, 16, 32, 60, 60] {
        bed.bytes(full.as_bytes());
        bed.after(60_000);
        assert!(bed.replica.status(bed.now).sync.is_some());
        bed.after(1);
        assert_eq!(bed.out.last(), Some(&Output::Close(CloseReason::Timeout)));
        bed.out.clear();
        bed.after(delay_s * 1_000 - 1);
        assert_eq!(bed.out, []);
        bed.after(1);
        assert_eq!(bed.out, [Output::Connect], "after {delay_s} s");
        bed.give(Input::Connected);
        bed.bytes(b"+PONG\r\n+OK\r\n+OK\r\n");
    }
    assert!(bed.replica.has_data(), "no byte of a snapshot came");
    bed.bytes(full.as_bytes());
    bed.bytes(b"R");
    assert!(!bed.replica.has_data());
    bed.give(Input::LoadFailed);
    assert!(bed.out.contains(&Output::Close(CloseReason::LoadFailed)));
    for silent in [&b""[..], b"+PONG\r\n", b"+PONG\r\n+OK\r\n+OK\r\n"] {
        let mut bed = Bed::new(Settings::default());
        bed.give(Input::Follow { offset: None, failover: false });
        bed.give(Input::Connected);
        bed.bytes(silent);
        bed.after(60_001);
        assert!(bed.out.contains(&Output::Close(CloseReason::Timeout)));
    }
}

#[test]
fn a_link_lost_while_we_load_costs_no_second_snapshot() {
    for fails in [false, true] {
        let mut bed = Bed::dialled(None);
        let full = format!("+FULLRESYNC {} 7\r\n$3\r\nRDB", "a".repeat(40));
        let input = Input::Bytes(full.as_bytes());
        let used = bed.replica.handle(bed.now, &mut bed.history, input, &mut bed.out);
        assert_eq!(used, full.len());
        bed.after(1_000);
        assert_eq!(bed.sent(), b"\n", "the master sees that we live");
        bed.give(Input::Disconnected);
        bed.after(5_000);
        assert_eq!(bed.out, []);
        bed.give(if fails { Input::LoadFailed } else { Input::Loaded });
        bed.after(1_000);
        assert_eq!(bed.out.last(), Some(&Output::Connect));
        assert_eq!(bed.replica.has_data(), !fails);
        bed.give(Input::Connected);
        bed.bytes(b"+PONG\r\n+OK\r\n+OK\r\n");
        let asked = if fails { "$1\r\n?\r\n$2\r\n-1\r\n" } else { "$1\r\n8\r\n" };
        assert!(bed.sent().ends_with(asked.as_bytes()));
    }
}

#[test]
fn it_connects_again_only_when_all_is_applied() {
    let mut bed = Bed::dialled(Some(5));
    let mut bytes = b"+CONTINUE\r\n".to_vec();
    encode_request(&[b"REPLCONF", b"GETACK", b"*"], &mut bytes);
    bed.replica.handle(bed.now, &mut bed.history, Input::Bytes(&bytes), &mut bed.out);
    bed.sent();
    bed.give(Input::Disconnected);
    bed.after(5_000);
    assert_eq!(bed.out, []);
    bed.give(Input::Applied { offset: 42 });
    bed.after(0);
    assert_eq!(bed.out, [Output::Connect]);
    bed.give(Input::Unfollow);
    assert_eq!(bed.out.last(), Some(&Output::Close(CloseReason::Reconfigured)));
    assert_eq!(bed.replica.status(bed.now).state, "none");
}

/// A bed that has lost its link after `REDIS` of a payload that its master can go on with.
fn broken() -> Bed {
    let mut bed = Bed::dialled(None);
    bed.bytes(
        format!("+FULLRESYNC {} 10 0\r\n$EOF:{}\r\n", "a".repeat(40), "e".repeat(40)).as_bytes(),
    );
    bed.bytes(b"REDIS");
    assert!(bed.out.contains(&Output::FullResync));
    bed.give(Input::Disconnected);
    bed.kept.clear();
    assert!(bed.replica.is_half_loaded());
    bed.out.clear();
    bed.after(1_000);
    assert_eq!(bed.out, [Output::Connect], "a broken link is no failed sync");
    bed.give(Input::Connected);
    bed.bytes(b"+PONG\r\n");
    let have = format!("$49\r\nresync:{}:5\r\n", "e".repeat(40));
    let said = String::from_utf8(bed.sent()).unwrap();
    assert!(said.contains(&have), "{said}");
    bed.bytes(b"+OK\r\n+OK\r\n");
    assert!(bed.sent().ends_with(b"$1\r\n?\r\n$2\r\n-1\r\n"));
    bed
}

#[test]
fn a_payload_goes_on_where_its_link_broke() {
    let (id, mark) = ("a".repeat(40), "e".repeat(40));
    let mut bed = broken();
    bed.bytes(format!("+FULLRESYNC {id} 10 5\r\n$EOF:{mark}\r\n0010{mark}").as_bytes());
    assert_eq!(bed.loaded, b"REDIS0010");
    assert!(bed.out.contains(&Output::Resumed { bytes: 5 }));
    assert!(bed.out.contains(&Output::Adopted { offset: 10 }), "{:?}", bed.out);
    assert!(!bed.out.contains(&Output::FullResync) && !bed.replica.is_half_loaded());
    // One that knows nothing of it begins anew, in its own way.
    for answer in ["10\r\n$EOF:", "10 0\r\n$EOF:"] {
        let mut bed = broken();
        bed.loaded.clear();
        bed.bytes(format!("+FULLRESYNC {id} {answer}{mark}\r\nREDIS0011{mark}").as_bytes());
        assert!(bed.out.contains(&Output::FullResync));
        assert_eq!(bed.loaded, b"REDIS0011");
    }
    // What does not fit is no payload of ours.
    for answer in [
        format!("{id} 10 4\r\n"),
        format!("{id} 11 5\r\n"),
        format!("{} 10 5\r\n", "b".repeat(40)),
        format!("{id} 10 x\r\n"),
        format!("{id} 10 5\r\n$EOF:{}\r\n", "f".repeat(40)),
        format!("{id} 10 5\r\n$4\r\n"),
    ] {
        let mut bed = broken();
        bed.bytes(format!("+FULLRESYNC {answer}").as_bytes());
        assert!(bed.out.contains(&Output::Close(CloseReason::Garbage)), "{answer:?}");
        assert!(!bed.replica.is_half_loaded());
    }
    // The rest does not come in time.
    let mut bed = broken();
    bed.give(Input::Disconnected);
    bed.after(60_001);
    assert!(bed.out.contains(&Output::LoadAbandoned));
    assert!(!bed.replica.is_half_loaded());
}

#[test]
fn a_replica_says_what_it_received_to_who_wants_to_know() {
    let (id, mark) = ("a".repeat(40), "e".repeat(40));
    for (position, tells) in [("", false), (" 0", true)] {
        let mut bed = Bed::dialled(None);
        bed.bytes(format!("+FULLRESYNC {id} 10{position}\r\n$EOF:{mark}\r\n").as_bytes());
        let piece = [b'x'; 1024];
        (0..256).for_each(|_| bed.bytes(&piece));
        let said = String::from_utf8(bed.sent()).unwrap();
        assert_eq!(said.contains("$8\r\nreceived\r\n$6\r\n262144\r\n"), tells, "{said}");
    }
}
