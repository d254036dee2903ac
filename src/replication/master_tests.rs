//! What attached replicas are told: full and partial syncs, limits, acknowledgements.

use std::ops::Range;

use crate::base::limits::{REPLICAS_MAX, SYNC_WINDOW_BYTES};
use crate::base::time::Mono;
use crate::replication::attached::LinkId;
use crate::replication::master::*;
use crate::replication::psync::{FullReason, History};
use crate::replication::resume::Released;

const MARK: [u8; 40] = [b'e'; 40];

struct Bed {
    master: Master,
    history: History,
    held: Option<Range<u64>>,
    source: Source,
    now: Mono,
}

impl Bed {
    fn new() -> Self {
        let history = History::new([b'a'; 40]);
        let master = Master::new(Settings::default(), Mono(0));
        Self { master, history, held: Some(0..100), source: Source::Own, now: Mono(0) }
    }

    fn give(&mut self, input: Input<'_>) -> Vec<Output> {
        let (history, held, source) = (&self.history, self.held.clone(), self.source);
        let mut out = Vec::new();
        self.master.handle(self.now, &Stream { history, held, source }, input, &mut out);
        out
    }

    fn psync(&mut self, from: LinkId, id: &[u8], offset: &[u8]) -> Vec<Output> {
        self.give(Input::Psync { from, args: Some([id, offset]), peer: b"10.0.0.1" })
    }

    fn capa(&mut self, from: LinkId) {
        self.give(Input::Replconf { from, options: &[b"capa", b"eof", b"capa", b"psync2"] });
    }

    fn online(&mut self, from: LinkId) {
        self.capa(from);
        let out = self.psync(from, &[b'a'; 40], b"101");
        assert_eq!(out, [reply(from, &format!("+CONTINUE {}\r\n", "a".repeat(40)))]);
    }

    fn ack(&mut self, from: LinkId, offset: &[u8]) -> Vec<Output> {
        self.give(Input::Replconf { from, options: &[b"ACK", offset] })
    }

    fn after(&mut self, ms: u64) -> Vec<Output> {
        self.now = self.now.plus_ms(ms);
        self.give(Input::Tick)
    }

    fn states(&self) -> Vec<&'static str> {
        self.master.rows(self.now).map(|row| row.state).collect()
    }
}

fn reply(to: LinkId, text: &str) -> Output {
    Output::Reply { to, bytes: text.as_bytes().to_vec() }
}

fn full_line() -> String {
    format!("+FULLRESYNC {} 100\r\n", "a".repeat(40))
}

#[test]
fn a_marked_snapshot_is_shared_and_the_stream_waits_for_the_ack() {
    let mut bed = Bed::new();
    bed.capa(1);
    bed.capa(2);
    let asked = bed.psync(1, b"?", b"-1");
    assert_eq!(asked[0], Output::FullResync { to: 1, reason: FullReason::New, wait_ms: 0 });
    assert_eq!(asked[1], Output::NeedSnapshot { eof: true });
    assert_eq!(bed.psync(2, b"?", b"-1").len(), 1, "asked already");
    let both = bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
    let line = format!("{}$EOF:{}\r\n", full_line(), "e".repeat(40));
    assert_eq!(both, [reply(1, &line), reply(2, &line)]);
    bed.capa(3);
    assert_eq!(bed.psync(3, b"?", b"-1")[1], reply(3, &line), "joins");
    bed.give(Input::SnapshotFlows);
    bed.capa(4);
    assert_eq!(bed.psync(4, b"?", b"-1").len(), 1, "waits for the next");
    assert_eq!(bed.master.receivers().collect::<Vec<_>>(), [1, 2, 3]);
    bed.held = Some(0..150);
    let ended = bed.give(Input::SnapshotEnded);
    assert_eq!(ended.last(), Some(&Output::NeedSnapshot { eof: true }));
    assert_eq!(ended[0], Output::Reply { to: 1, bytes: MARK.to_vec() });
    assert!(bed.give(Input::SnapshotSent { to: 1, all: true }).is_empty());
    assert!(bed.give(Input::Appended).is_empty(), "nothing before its ACK");
    assert_eq!(bed.master.slowest_cursor(), Some(100));
    assert_eq!(bed.ack(1, b"100"), [Output::SendFromRing { to: 1, from: 100 }]);
    assert_eq!(bed.states(), ["online", "send_bulk", "send_bulk", "wait_bgsave"]);
    assert_eq!(
        bed.give(Input::Sent { to: 1, bytes: 20 }),
        [Output::SendFromRing { to: 1, from: 120 }]
    );
    assert!(bed.give(Input::Sent { to: 1, bytes: 30 }).is_empty());
    assert_eq!(bed.master.counters().sync_full, 4);
}

#[test]
fn a_replica_without_eof_gets_the_size_and_the_stream_at_once() {
    let mut bed = Bed::new();
    let asked = bed.psync(1, b"?", b"-1");
    assert_eq!(asked[1], Output::NeedSnapshot { eof: false });
    assert_eq!(bed.after(1_000), [reply(1, "\n")], "kept alive");
    assert_eq!(bed.give(Input::SnapshotStarted { cut: 100, mark: None }), [reply(1, &full_line())]);
    assert_eq!(bed.after(1_000), [reply(1, "\n")], "kept alive while spooling");
    bed.give(Input::SnapshotFlows);
    let sync = bed.give(Input::Psync { from: 2, args: None, peer: b"::1" });
    assert_eq!(
        sync,
        [Output::FullResync { to: 2, reason: FullReason::Sync, wait_ms: 0 }],
        "joins silently"
    );
    let sized = bed.give(Input::SnapshotSize { bytes: 9 });
    assert_eq!(sized, [reply(1, "$9\r\n"), reply(2, "$9\r\n")]);
    bed.held = Some(50..101);
    let sent = bed.give(Input::SnapshotSent { to: 1, all: true });
    assert_eq!(sent, [Output::SendFromRing { to: 1, from: 100 }]);
    assert!(bed.give(Input::SnapshotEnded).is_empty());
}

#[test]
fn nobody_joins_a_cut_that_the_ring_has_left_behind() {
    let mut bed = Bed::new();
    bed.capa(1);
    bed.psync(1, b"?", b"-1");
    bed.give(Input::Closed { from: 1 });
    bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
    bed.held = Some(101..200);
    bed.capa(2);
    assert_eq!(bed.psync(2, b"?", b"-1").len(), 1);
    let gone = Output::Release(Released { mark: MARK, before: u64::MAX });
    assert_eq!(bed.give(Input::SnapshotEnded), [gone, Output::NeedSnapshot { eof: true }]);
    assert_eq!(
        bed.give(Input::SnapshotFailed),
        [Output::Close { to: 2, reason: CloseReason::SnapshotFailed }]
    );
}

#[test]
fn psync_is_answered_as_a_stock_master_does() {
    let mut bed = Bed::new();
    let golden = include_str!("../../tests/golden/psync/master_full_eof.txt");
    assert!(golden.contains("> PSYNC ? x\n< -ERR value is not an integer or out of range"));
    assert_eq!(
        bed.psync(1, b"?", b"x"),
        [reply(1, "-ERR value is not an integer or out of range\r\n")]
    );
    bed.source = Source::MasterLost;
    let refused = include_str!("../../tests/golden/psync/replica_refuses.txt");
    let Output::Reply { bytes, .. } = &bed.psync(1, b"?", b"-1")[0] else { panic!() };
    assert!(refused.contains(std::str::from_utf8(bytes).unwrap().trim_end()));
    bed.source = Source::Own;
    assert_eq!(bed.psync(1, &[b'a'; 40], b"101"), [reply(1, "+CONTINUE\r\n")]);
    assert_eq!(bed.psync(1, &[b'a'; 40], b"101"), [], "asked twice");
    bed.psync(2, &[b'b'; 40], b"101");
    let counters =
        Counters { sync_full: 1, sync_partial_ok: 1, sync_partial_err: 1, sync_resumed: 0 };
    assert_eq!(bed.master.counters(), counters);
}

#[test]
fn pings_go_into_the_stream_only_where_somebody_reads_our_own() {
    let mut bed = Bed::new();
    assert_eq!(bed.after(10_000), []);
    bed.online(1);
    assert_eq!(bed.after(10_000), [Output::StreamPing]);
    bed.source = Source::Master;
    assert_eq!(bed.after(10_000), []);
}

#[test]
fn the_silent_and_the_slow_are_dropped_and_stay_pinned_until_closed() {
    let mut bed = Bed::new();
    bed.master.settings.ping_period_ms = u64::MAX;
    (1..=3).for_each(|link| bed.online(link));
    bed.after(60_000);
    bed.ack(1, b"100");
    bed.ack(2, b"100");
    assert_eq!(bed.after(1), [Output::Close { to: 3, reason: CloseReason::Timeout }]);
    bed.held = Some(100..100 + (64 << 20) + 1);
    bed.give(Input::Appended);
    bed.give(Input::Sent { to: 2, bytes: 10 });
    assert_eq!(bed.after(1), []);
    bed.ack(1, b"100");
    bed.ack(2, b"110");
    let slow = Output::Close { to: 1, reason: CloseReason::OutputSoftLimit };
    assert_eq!(bed.after(59_000), []);
    bed.ack(1, b"100");
    bed.ack(2, b"110");
    assert_eq!(bed.after(1_001), [slow]);
    bed.held = Some(100..111 + (256 << 20));
    let slow = Output::Close { to: 2, reason: CloseReason::OutputHardLimit };
    assert_eq!(bed.after(1), [slow]);
    assert_eq!(bed.master.slowest_cursor(), Some(100));
    (1..=3).for_each(|from| drop(bed.give(Input::Closed { from })));
    assert_eq!(bed.master.slowest_cursor(), None);
}

#[test]
fn acks_count_for_wait_and_for_good_replicas() {
    let mut bed = Bed::new();
    (1..=2).for_each(|link| bed.online(link));
    bed.held = Some(0..200);
    bed.ack(1, b"150");
    bed.ack(2, b"201");
    assert_eq!((bed.master.acked(100), bed.master.acked(101)), (2, 1));
    assert_eq!(bed.master.acked(151), 0, "nobody has what was not yet written");
    bed.after(5_000);
    bed.ack(1, b"140");
    assert_eq!(bed.master.acked(150), 1, "an acknowledgement is never taken back");
    bed.after(6_000);
    assert_eq!(
        (bed.master.good_replicas(bed.now, 10), bed.master.good_replicas(bed.now, 11)),
        (1, 2)
    );
    let rows: Vec<_> = bed.master.rows(bed.now).collect();
    assert_eq!((rows[0].ip, rows[0].offset, rows[0].lag_s), (&b"10.0.0.1"[..], 150, 6));
}

#[test]
fn a_changed_history_and_an_rdb_only_client_end_links() {
    let mut bed = Bed::new();
    bed.online(1);
    bed.capa(2);
    bed.give(Input::Replconf { from: 2, options: &[b"rdb-only", b"1"] });
    bed.give(Input::Psync { from: 2, args: None, peer: b"" });
    bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
    assert_eq!(
        bed.give(Input::SnapshotSent { to: 2, all: true }),
        [Output::Close { to: 2, reason: CloseReason::RdbOnlyDone }]
    );
    assert_eq!(
        bed.give(Input::HistoryChanged),
        [
            Output::Close { to: 1, reason: CloseReason::HistoryChanged },
            Output::Release(Released { mark: MARK, before: u64::MAX })
        ]
    );
    for from in 10..10 + REPLICAS_MAX as u64 {
        bed.capa(from);
    }
    let refused = bed.psync(9, b"?", b"-1");
    assert_eq!(refused, [Output::Close { to: 9, reason: CloseReason::TooManyReplicas }]);
    assert_eq!(
        bed.give(Input::Replconf { from: 10, options: &[b"capa", b"eof", b"vers\r\nion", b"9"] }),
        [reply(10, "-ERR Unrecognized REPLCONF option: vers  ion\r\n")]
    );
}

#[test]
fn a_replica_that_asks_again_at_once_waits_for_its_next_snapshot() {
    let mut bed = Bed::new();
    let mut waits = Vec::new();
    for link in 1..=4 {
        bed.capa(link);
        bed.give(Input::Replconf { from: link, options: &[b"listening-port", b"7000"] });
        let out = bed.psync(link, b"?", b"-1");
        let Output::FullResync { wait_ms, .. } = out[0] else { panic!("{out:?}") };
        waits.push(wait_ms);
        let asked = |out: &[Output]| out.iter().any(|it| matches!(it, Output::NeedSnapshot { .. }));
        assert_eq!(asked(&out), wait_ms == 0);
        // A snapshot that another replica has just begun is not for it either.
        if wait_ms > 0 {
            assert!(bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) }).is_empty());
            bed.give(Input::SnapshotEnded);
            assert!(!asked(&bed.after(wait_ms - 1)));
            assert!(asked(&bed.after(1)));
        }
        bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
        bed.give(Input::SnapshotEnded);
        bed.give(Input::Closed { from: link });
    }
    assert_eq!(waits, [0, 1_000, 2_000, 4_000]);
    // One that stays well is a new matter.
    bed.online(9);
    bed.give(Input::Replconf { from: 9, options: &[b"listening-port", b"7000"] });
    bed.ack(9, b"100");
    (0..61).for_each(|_| {
        bed.ack(9, b"100");
        bed.after(1_000);
    });
    bed.give(Input::Closed { from: 9 });
    bed.capa(10);
    bed.give(Input::Replconf { from: 10, options: &[b"listening-port", b"7000"] });
    let out = bed.psync(10, b"?", b"-1");
    assert!(matches!(out[0], Output::FullResync { wait_ms: 0, .. }));
}

/// What is left of one snapshot and the chunks of the next are on their way at once, each to whom it belongs.
#[test]
fn a_snapshot_is_for_those_who_wait_for_it() {
    let mut bed = Bed::new();
    for link in [1, 2] {
        bed.capa(link);
        bed.psync(link, b"?", b"-1");
        bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
        bed.give(Input::SnapshotFlows);
        assert_eq!(bed.master.receivers().collect::<Vec<_>>(), [link]);
        if link == 1 {
            bed.give(Input::SnapshotEnded);
        }
    }
    let closed = bed.give(Input::SnapshotFailed);
    let close = Output::Close { to: 2, reason: CloseReason::SnapshotFailed };
    assert_eq!(closed.last(), Some(&close));
    assert!(!closed.iter().any(|it| matches!(it, Output::Close { to: 1, .. })));
}

fn resumes(bed: &mut Bed, link: LinkId, capability: &[u8]) -> Vec<Output> {
    let words: [&[u8]; 8] =
        [b"listening-port", b"7000", b"capa", b"eof", b"capa", b"psync2", b"capa", capability];
    bed.give(Input::Replconf { from: link, options: &words });
    bed.psync(link, b"?", b"-1")
}

#[test]
fn a_snapshot_goes_on_where_its_link_broke() {
    let mut bed = Bed::new();
    let mark = "e".repeat(40);
    resumes(&mut bed, 1, b"resync");
    let line = format!("+FULLRESYNC {} 100 0\r\n$EOF:{mark}\r\n", "a".repeat(40));
    let started = bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
    assert_eq!(started, [reply(1, &line)]);
    bed.give(Input::SnapshotFlows);
    assert_eq!(bed.give(Input::SnapshotGrew { bytes: 1_000 }), []);
    let release = |before| Output::Release(Released { mark: MARK, before });
    let received = bed.give(Input::Replconf { from: 1, options: &[b"received", b"400"] });
    assert_eq!(received, [release(400)]);
    bed.held = Some(0..200);
    assert_eq!(bed.give(Input::Closed { from: 1 }), []);
    assert_eq!((bed.master.away(), bed.master.slowest_cursor()), (1, Some(100)));
    // It had more than it said.
    let back = resumes(&mut bed, 2, format!("resync:{mark}:500").as_bytes());
    let line = format!("+FULLRESYNC {} 100 500\r\n$EOF:{mark}\r\n", "a".repeat(40));
    let resume = Output::Resume { to: 2, mark: MARK, from: 500, over: false };
    assert_eq!(back, [reply(2, &line), resume, release(500)]);
    assert_eq!(bed.master.receivers().collect::<Vec<_>>(), [2]);
    let counters = bed.master.counters();
    assert_eq!((counters.sync_full, counters.sync_resumed), (1, 1));
    // It comes again while its old link still stands on this side.
    let again = resumes(&mut bed, 3, format!("resync:{mark}:600").as_bytes());
    assert!(again.contains(&Output::Close { to: 2, reason: CloseReason::Superseded }), "{again:?}");
    bed.give(Input::Closed { from: 2 });
    assert_eq!(bed.master.away(), 0);
    // Bytes that are gone, and another payload: all anew.
    for other in [format!("resync:{mark}:599"), format!("resync:{}:600", "f".repeat(40))] {
        let out = resumes(&mut bed, 4, other.as_bytes());
        assert!(matches!(out[0], Output::FullResync { to: 4, .. }), "{out:?}");
        bed.give(Input::Closed { from: 4 });
    }
    // All was made, and the rest of it is received only after another break.
    bed.give(Input::SnapshotEnded);
    bed.give(Input::Closed { from: 3 });
    let out = resumes(&mut bed, 5, format!("resync:{mark}:1000").as_bytes());
    assert!(out.contains(&Output::Resume { to: 5, mark: MARK, from: 1_000, over: true }));
    bed.give(Input::SnapshotSent { to: 5, all: true });
    assert_eq!(bed.ack(5, b"100").last(), Some(&release(u64::MAX)));
}

#[test]
fn who_is_away_is_waited_for_a_while_and_holds_back_nobody() {
    let mut bed = Bed::new();
    resumes(&mut bed, 1, b"resync");
    bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
    bed.give(Input::SnapshotFlows);
    bed.give(Input::SnapshotGrew { bytes: 1_000 });
    bed.give(Input::Closed { from: 1 });
    assert!(bed.master.is_awaited());
    bed.after(59_000);
    assert!(bed.master.is_awaited());
    bed.after(1_000);
    assert!(!bed.master.is_awaited());
    // With another one here it is waited for as long as the window has room.
    let mut bed = Bed::new();
    resumes(&mut bed, 1, b"resync");
    bed.capa(2);
    bed.psync(2, b"?", b"-1");
    bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
    bed.give(Input::SnapshotFlows);
    bed.give(Input::SnapshotGrew { bytes: SYNC_WINDOW_BYTES });
    bed.give(Input::Closed { from: 1 });
    assert_eq!(bed.master.away(), 1);
    bed.give(Input::SnapshotGrew { bytes: 1 });
    assert_eq!(bed.master.away(), 0);
    // It needs the stream from the cut on, but not more of it than any other may.
    let mut bed = Bed::new();
    resumes(&mut bed, 1, b"resync");
    bed.give(Input::SnapshotStarted { cut: 100, mark: Some(MARK) });
    bed.give(Input::Closed { from: 1 });
    bed.held = Some(0..100 + (256 << 20));
    bed.after(100);
    assert_eq!(bed.master.away(), 1);
    bed.held = Some(0..101 + (256 << 20));
    bed.after(100);
    assert_eq!(bed.master.away(), 0);
}
