//! Drives both servers with the same batches and compares reply by reply.
//!
//! A batch is a pipeline of random depth on one of a few connections ("lanes"), written in pieces
//! torn at random places. Every `EPOCH` commands both servers start again from nothing, so that a
//! reproduction is never longer than an epoch.

use crate::generate::{Generator, Step, Unit};
use crate::minimise;
use crate::support::client::{Client, request};
use crate::support::server::{Kind, Plan, Server};
use crate::support::value::value;
use crate::support::wait_until;
use std::collections::BTreeSet;
use std::io;

pub const LANES: usize = 3;
const EPOCH: usize = 2_000;
const SHOWN: usize = 20;

/// A real server and the one under test.
pub struct Pair {
    pub real: Server,
    pub ours: Server,
    /// Where the one under test is reached: itself, or a proxy before it.
    pub ours_address: String,
}

impl Pair {
    pub fn start(kind: Kind) -> Self {
        let plan = |kind| Plan::new(kind).arg("enable-debug-command", &["yes"]);
        let (real, ours) = (plan(Kind::Redis).start(), plan(kind).start());
        let ours_address = ours.address();
        Self { real, ours, ours_address }
    }
}

/// Connections to both servers that have seen the same requests.
pub struct Lanes<'p> {
    pair: &'p Pair,
    lanes: Vec<(Client, Client)>,
}

/// Where the servers part: the step's place in what was sent, and what each said to it.
pub struct Mismatch {
    pub step: usize,
    pub real: Vec<u8>,
    pub ours: Vec<u8>,
}

impl<'p> Lanes<'p> {
    /// New connections to emptied servers.
    pub fn fresh(pair: &'p Pair) -> io::Result<Self> {
        // Straight to the server itself: a tampering proxy is no reason not to be empty.
        empty(&pair.real.address())?;
        empty(&pair.ours.address())?;
        let mut lanes = Self { pair, lanes: Vec::new() };
        for _ in 0..LANES {
            lanes.lanes.push(lanes.connect()?);
        }
        Ok(lanes)
    }

    fn connect(&self) -> io::Result<(Client, Client)> {
        let real = Client::connect(&self.pair.real.address())?;
        Ok((real, Client::connect(&self.pair.ours_address)?))
    }

    /// Sends these steps on one lane, each server's in the pieces that `tears` makes.
    pub fn batch(&mut self, lane: usize, steps: &[&Step], tears: &[usize]) -> Result<(), Mismatch> {
        let mut bytes = Vec::new();
        for step in steps {
            let args: Vec<&[u8]> = step.args.iter().map(Vec::as_slice).collect();
            bytes.extend(request(&args));
        }
        let (real, ours) = &mut self.lanes[lane];
        for client in [&mut *real, &mut *ours] {
            let mut from = 0;
            for to in tears.iter().map(|it| it % (bytes.len() + 1)).chain([bytes.len()]) {
                if from < to {
                    // A connection that the server closed shows in the replies.
                    let _ = client.send(&bytes[from..to]);
                    from = to;
                }
            }
        }
        for (index, step) in steps.iter().enumerate().filter(|(_, step)| !step.silent) {
            let (real, ours) = (or_closed(real.reply()), or_closed(ours.reply()));
            if !step.compare.agrees(&real, &ours) {
                return Err(Mismatch { step: index, real, ours });
            }
        }
        Ok(())
    }

    /// QUIT is answered, then the connection ends.
    fn quit(&mut self, lane: usize) -> Result<(), Mismatch> {
        let (real, ours) = &mut self.lanes[lane];
        let end = |client: &mut Client| {
            let _ = client.send(&request(&[b"QUIT"]));
            client.until_closed().unwrap_or_else(|why| why.to_string().into())
        };
        let (real, ours) = (end(real), end(ours));
        if real != ours {
            return Err(Mismatch { step: 0, real, ours });
        }
        self.lanes[lane] = self.connect().map_err(|why| closed(&why))?;
        Ok(())
    }

    fn scan(&mut self, lane: usize, options: &[Vec<u8>]) -> Result<(), Mismatch> {
        let (real, ours) = &mut self.lanes[lane];
        let (real, ours) = (scan(real, options), scan(ours, options));
        if real == ours {
            return Ok(());
        }
        let shown = |set: Vec<Vec<u8>>| {
            format!("{:?}", set.iter().map(|it| it.escape_ascii().to_string()).collect::<Vec<_>>())
                .into()
        };
        Err(Mismatch { step: 0, real: shown(real), ours: shown(ours) })
    }
}

/// Empties a server. What connections that were closed had sent and nobody has read the reply of may
/// still be running: a server with several cores may well run it after a later FLUSHALL of another
/// connection, so those must be gone first.
fn empty(address: &str) -> io::Result<()> {
    let mut client = Client::connect(address)?;
    wait_until("earlier connections are gone", || {
        client.text(&["CLIENT", "LIST"]).lines().count() == 1
    });
    client.try_call(&["FLUSHALL"]).map(|_| ())
}

/// `commands` random commands from `seed`; the report of the first difference.
pub fn compare_random(pair: &Pair, seed: u64, commands: u64) -> Result<(), String> {
    let mut generator = Generator::new(seed, now_seconds());
    let mut sent = 0;
    while sent < commands {
        let mut history = Vec::new();
        let mut lanes = Lanes::fresh(pair).map_err(|why| format!("no connection: {why}"))?;
        while history.len() < EPOCH {
            if let Err((mismatch, what)) = random_batch(&mut generator, &mut lanes, &mut history) {
                drop(lanes); // A replay begins when they are gone.
                return Err(report(pair, &history, &mismatch, &what, sent));
            }
        }
        sent += history.len() as u64;
    }
    Ok(())
}

/// One batch on a random lane; what it sent is added to `history`.
fn random_batch(
    generator: &mut Generator,
    lanes: &mut Lanes<'_>,
    history: &mut Vec<(usize, Step)>,
) -> Result<(), (Mismatch, String)> {
    let lane = generator.below(LANES);
    let deep = if generator.chance(1, 20) { 150 } else { 30 };
    let depth = 1 + generator.below(deep);
    let (mut steps, mut last) = (Vec::new(), None);
    for _ in 0..depth {
        match generator.unit() {
            Unit::Steps(more) => steps.extend(more),
            other => {
                last = Some(other);
                break;
            }
        }
    }
    let mut tears = Vec::new();
    if generator.chance(1, 3) {
        for _ in 0..=generator.below(4) {
            tears.push(generator.below(100_000));
        }
        tears.sort_unstable();
    }
    let first = history.len();
    history.extend(steps.iter().map(|step| (lane, step.clone())));
    lanes.batch(lane, &steps.iter().collect::<Vec<_>>(), &tears).map_err(|mut mismatch| {
        let what = shown(&steps[mismatch.step].args);
        mismatch.step += first;
        (mismatch, what)
    })?;
    match last {
        Some(Unit::Scan(options)) => lanes
            .scan(lane, &options)
            .map_err(|it| (it, format!("a whole iteration: SCAN {}", shown(&options)))),
        Some(Unit::Quit) => lanes.quit(lane).map_err(|it| (it, "QUIT".to_string())),
        _ => Ok(()),
    }
}

/// Everything that an iteration returns, as a sorted set; an error reply as its text.
fn scan(client: &mut Client, options: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let (mut cursor, mut found) = (b"0".to_vec(), BTreeSet::new());
    for _ in 0..100_000 {
        let mut args: Vec<&[u8]> = vec![b"SCAN", &cursor];
        args.extend(options.iter().map(Vec::as_slice));
        let reply = client.send(&request(&args)).and_then(|()| client.reply());
        let reply = or_closed(reply);
        if !reply.starts_with(b"*2\r\n") {
            return vec![reply];
        }
        let reply = value(&reply);
        found.extend(reply.items()[1].items().iter().map(|it| it.bytes().to_vec()));
        cursor = reply.items()[0].bytes().to_vec();
        if cursor == b"0" {
            return found.into_iter().collect();
        }
    }
    vec![b"the iteration does not end".to_vec()]
}

fn report(
    pair: &Pair,
    history: &[(usize, Step)],
    mismatch: &Mismatch,
    what: &str,
    before: u64,
) -> String {
    let mut text = format!(
        "difference at command {}: {what}\n  real: {}\n  ours: {}\nthe last commands (lane, command):\n",
        before + mismatch.step as u64,
        mismatch.real.escape_ascii(),
        mismatch.ours.escape_ascii(),
    );
    let end = history.len().min(mismatch.step + 1);
    for (lane, step) in &history[end.saturating_sub(SHOWN)..end] {
        text.push_str(&format!("  {lane} {}\n", shown(&step.args)));
    }
    text.push_str(&minimise::reproduction(pair, &history[..end]));
    text
}

/// A command as one could type it.
pub fn shown(args: &[Vec<u8>]) -> String {
    let quoted = args.iter().map(|it| format!("\"{}\"", it.escape_ascii()));
    quoted.collect::<Vec<_>>().join(" ")
}

/// A closed connection is an answer too: the empty one.
fn or_closed(reply: io::Result<Vec<u8>>) -> Vec<u8> {
    reply.unwrap_or_default()
}

fn closed(why: &io::Error) -> Mismatch {
    Mismatch { step: 0, real: Vec::new(), ours: why.to_string().into() }
}

#[expect(clippy::disallowed_types, reason = "EXPIREAT needs the date")]
pub fn now_seconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap().as_secs()
}
