//! What a hop costs without the kernel: a request goes to the core that owns its key and its reply comes back, both
//! cores' turns included, beside the same request on the core where its client is.
//!
//! A whole lot of requests travels in one message, so the cost of each falls with their number. Every round
//! ends in a look at the replies, so that the work cannot be optimised away.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ringfold::base::time::{Mono, Now, Wall};
use ringfold::command::keys;
use ringfold::node::core::{Core, FileEvent, Input, Shared};
use ringfold::node::families;
use ringfold::node::message::{self, Message};
use ringfold::node::outbox::{Action, Conn, Outbox};
use ringfold::node::session::Ends;
use ringfold::node::settings::Settings;
use ringfold::node::view::View;
use ringfold::resp::reply::write_request;
use std::sync::Arc;

const CORES: usize = 2;
const CLIENT: Conn = Conn(0);
const VALUE: &[u8] = b"value:0000000001";

/// Two cores and one client of core 0.
struct Pair {
    cores: Vec<Core>,
    outs: Vec<Outbox>,
    now: Now,
    /// Replies that the client was sent.
    replies: usize,
}

impl Pair {
    fn new() -> Self {
        let mut settings = Settings::new();
        settings.save = Vec::new();
        let users = Arc::new(ringfold::acl::users::Users::new(families::table().catalog(), false));
        let view = View::new(Arc::new(settings), users);
        let shared = Shared {
            tickets: Arc::default(),
            clients: Arc::default(),
            client_ids: Arc::default(),
            transactions: Arc::default(),
            trackers: Arc::default(),
            listeners: Arc::default(),
            table: families::table(),
            stopwatch: || 0,
            slow_ids: Arc::default(),
            host: Arc::default(),
            slots: Arc::default(),
        };
        let now = Now { mono: Mono(0), wall: Wall(1_700_000_000_000_000) };
        let core = |id| Core::new(id, CORES, view.clone(), shared.clone(), 1, now);
        let mut pair = Self {
            cores: (0..CORES).map(core).collect(),
            outs: (0..CORES).map(|_| Outbox::new(CORES)).collect(),
            now,
            replies: 0,
        };
        let Self { cores, outs, .. } = &mut pair;
        cores[0].begin(now, &mut outs[0]);
        let loads = |action| matches!(action, Action::LoadFile { .. });
        assert!(outs[0].actions.drain(..).any(loads));
        pair.turn(0, &mut vec![Input::File(FileEvent::Absent)]);
        pair.turn(0, &mut vec![Input::Opened { conn: CLIENT, ends: Ends::Local }]);
        pair.settle();
        pair
    }

    fn turn(&mut self, id: usize, inputs: &mut Vec<Input<'_>>) {
        self.cores[id].turn(self.now, inputs, &mut self.outs[id]);
        let out = &mut self.outs[id];
        self.replies += out.segments().iter().filter(|it| it.conn == CLIENT).count();
        out.clear_segments();
        out.actions.clear();
        (out.lent, out.returned) = (Vec::new(), Vec::new());
    }

    /// Mail goes to and fro until there is none.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for from in 0..CORES {
                let to = 1 - from;
                let mut mail = std::mem::take(&mut self.outs[from].mail[to]);
                if mail.is_empty() {
                    continue;
                }
                quiet = false;
                let mut inputs: Vec<Input<'_>> = Vec::with_capacity(mail.len());
                for mut message in mail.drain(..) {
                    if let Message::Replies { frames, lent: 1.., .. } = &mut message {
                        message::hand_out(frames, |_, _, bytes| {
                            self.replies += 1;
                            bytes.len()
                        });
                    }
                    inputs.push(Input::Message { from, message });
                }
                self.outs[from].mail[to] = mail;
                self.turn(to, &mut inputs);
            }
            if quiet {
                return;
            }
        }
    }

    fn round(&mut self, requests: &[u8], wire: u32) {
        let before = self.replies;
        self.turn(0, &mut vec![Input::Received { conn: CLIENT, bytes: requests, wire }]);
        self.settle();
        assert!(self.replies > before, "it is answered");
    }
}

/// So many requests for keys of one core.
fn requests(core: usize, count: usize, set: bool) -> Vec<u8> {
    let half = usize::from(ringfold::base::limits::SLOTS) / CORES;
    let all = (0..).map(|n| format!("key:{n:012}"));
    let its = all.filter(|key| usize::from(keys::slot(key.as_bytes())) / half == core);
    let mut bytes = Vec::new();
    for key in its.take(count) {
        if set {
            write_request(&mut bytes, &[b"SET", key.as_bytes(), VALUE]);
        } else {
            write_request(&mut bytes, &[b"GET", key.as_bytes()]);
        }
    }
    bytes
}

fn hop(c: &mut Criterion) {
    for (name, set) in [("GET", false), ("SET", true)] {
        let mut group = c.benchmark_group(format!("hop/{name}"));
        for count in [1, 16, 64] {
            group.throughput(Throughput::Elements(count as u64));
            for (place, core, wire) in [("here", 0, 0), ("there", 1, 0), ("there, lent", 1, 1)] {
                if wire != 0 && count > 1 {
                    continue; // Only a lone request takes the socket along.
                }
                let (mut pair, bytes) = (Pair::new(), requests(core, count, set));
                pair.round(&requests(core, count, true), 0);
                group.bench_with_input(BenchmarkId::new(place, count), &bytes, |bench, bytes| {
                    bench.iter(|| pair.round(bytes, wire));
                });
            }
        }
        group.finish();
    }
}

criterion_group!(benches, hop);
criterion_main!(benches);
