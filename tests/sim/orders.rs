//! Transactions of many clients on one node of several cores, whose messages are late and come in parts:
//! what the clients see must be strictly serialisable (`serial.rs`).
//!
//! Keys are spread over all cores. A client sends MULTI..EXEC, commands over keys of several cores, plain
//! commands, and transactions guarded by WATCH; or it waits for elements of lists, each of which must be
//! had by one client, in the order in which they came.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use ringfold::acl::users::Users;
use ringfold::base::prng::Prng;
use ringfold::base::time::{Mono, Now, Wall};
use ringfold::node::core::{Core, FileEvent, Input, Shared};
use ringfold::node::families;
use ringfold::node::message::{self, Message};
use ringfold::node::outbox::{Action, Conn, Outbox};
use ringfold::node::session::Ends;
use ringfold::node::settings::Settings;
use ringfold::node::transactions::Note;
use ringfold::node::view::View;
use ringfold::resp::decode::{self, Value};

use crate::host::EPOCH_US;
use crate::serial::{self, Seen};

/// A bug that is made on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// A core that granted its keys forgets that at once.
    ReleasedEarly,
    /// A WATCH is answered and does nothing.
    WatchLost,
    /// A command over two cores does its parts one by one.
    Half,
}

const KEYS: usize = 6;
const LISTS: u64 = 3;
const CLIENTS: usize = 6;
const TRANSACTIONS: usize = 40;

/// See the file's header.
struct Orders {
    prng: Prng,
    plant: Option<Plant>,
    step: u64,
    cores: Vec<Core>,
    outs: Vec<Outbox>,
    roads: Vec<Vec<VecDeque<Message>>>,
    inputs: Vec<Vec<Input<'static>>>,
    bytes: Vec<Vec<(Conn, Vec<u8>)>>,
    clients: Vec<Client>,
    tokens: u64,
    pushed: BTreeSet<u64>,
    popped: Vec<u64>,
    history: Vec<Seen>,
}

#[derive(Default)]
struct Client {
    core: usize,
    conn: Conn,
    arrived: Vec<u8>,
    /// What is under way: replies to come, and what they mean.
    wanted: VecDeque<Want>,
    now: Seen,
    left: usize,
}

/// What a reply means.
#[derive(Clone, Debug)]
enum Want {
    Nothing,
    /// Of these keys, in this order.
    Read(Vec<usize>),
    /// Of EXEC: one for each command.
    Exec(Vec<Self>),
    /// As `Exec`, of what a WATCH guards: nothing happened if it is null.
    Guarded(Vec<Self>),
    /// Of two registers that are only ever set together.
    Both,
    /// An element of a list, or none in time.
    Pop,
    /// All elements of a list.
    Rest,
}

/// Runs one seed; what is wrong with it, if anything.
pub fn run(seed: u64, plant: Option<Plant>) -> Result<usize, String> {
    let mut orders = Orders::new(seed, plant);
    orders.start();
    while orders.clients.iter().any(|it| it.left > 0 || !it.wanted.is_empty()) {
        orders.act();
        orders.turn()?;
        if orders.step > 3_000_000 {
            let waiting = orders.clients.iter().filter(|it| !it.wanted.is_empty()).count();
            return Err(format!("{waiting} clients are never answered"));
        }
    }
    orders.read_all()?;
    serial::check(&orders.history)?;
    Ok(orders.history.len())
}

impl Orders {
    fn new(seed: u64, plant: Option<Plant>) -> Self {
        let mut prng = Prng::new(seed);
        let cores = 2 + usize::try_from(prng.below(3)).unwrap();
        let mut settings = Settings::new();
        settings.save = Vec::new();
        let users = Arc::new(Users::new(families::table().catalog(), false));
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
            slots: Arc::default(),
            host: Arc::default(),
        };
        let now = Now { mono: Mono(0), wall: Wall(EPOCH_US) };
        let core = |id| Core::new(id, cores, view.clone(), shared.clone(), seed, now);
        Self {
            prng,
            plant,
            step: 0,
            cores: (0..cores).map(core).collect(),
            outs: (0..cores).map(|_| Outbox::new(cores)).collect(),
            roads: (0..cores).map(|_| (0..cores).map(|_| VecDeque::new()).collect()).collect(),
            inputs: (0..cores).map(|_| Vec::new()).collect(),
            bytes: vec![Vec::new(); cores],
            clients: Vec::new(),
            tokens: 0,
            pushed: BTreeSet::new(),
            popped: Vec::new(),
            history: Vec::new(),
        }
    }

    fn now(&self) -> Now {
        Now { mono: Mono(self.step * 10_000), wall: Wall(EPOCH_US + self.step * 10) }
    }

    fn start(&mut self) {
        let now = self.now();
        self.cores[0].begin(now, &mut self.outs[0]);
        self.after(0);
        for id in 0..CLIENTS {
            let core = id % self.cores.len();
            let conn = Conn(u32::try_from(id).unwrap());
            self.inputs[core].push(Input::Opened { conn, ends: Ends::Local });
            self.clients.push(Client { core, conn, left: TRANSACTIONS, ..Client::default() });
        }
        for _ in 0..200 * self.cores.len() {
            self.turn().unwrap();
        }
    }

    /// Some core has its turn, with a part of what waits for it.
    fn turn(&mut self) -> Result<(), String> {
        self.step += 1;
        let core = usize::try_from(self.prng.below(self.cores.len() as u64)).unwrap();
        let mut inputs = std::mem::take(&mut self.inputs[core]);
        for from in 0..self.cores.len() {
            let waiting = self.roads[from][core].len() as u64;
            for _ in 0..self.prng.below(waiting + 1) {
                let Some(message) = self.roads[from][core].pop_front() else { break };
                inputs.push(Input::Message { from, message });
            }
        }
        let bytes = std::mem::take(&mut self.bytes[core]);
        inputs.extend(bytes.iter().map(|(conn, bytes)| Input::Received {
            conn: *conn,
            bytes,
            wire: conn.0 + 1,
        }));
        let now = self.now();
        self.cores[core].turn(now, &mut inputs, &mut self.outs[core]);
        drop(inputs);
        self.after(core);
        for id in 0..self.clients.len() {
            self.read(id)?;
        }
        Ok(())
    }

    fn after(&mut self, core: usize) {
        let out = &mut self.outs[core];
        for action in std::mem::take(&mut out.actions) {
            if matches!(action, Action::LoadFile { .. }) {
                self.inputs[0].push(Input::File(FileEvent::Absent));
            }
        }
        for (to, messages) in out.mail.iter_mut().enumerate() {
            for mut message in messages.drain(..) {
                if let Message::Replies { frames, lent: 1.., .. } = &mut message {
                    message::hand_out(frames, |conn, _, bytes| {
                        let client = self.clients.iter_mut().find(|it| it.conn == conn);
                        client.map_or(0, |client| {
                            client.arrived.extend_from_slice(bytes);
                            bytes.len()
                        })
                    });
                }
                if self.plant == Some(Plant::ReleasedEarly)
                    && let Message::Transactions { notes, .. } = &message
                {
                    let early = notes.iter().filter_map(|note| match note {
                        Note::Granted { number, .. } => Some(*number),
                        _ => None,
                    });
                    let release =
                        |number| Note::Release { number, changed: Vec::new(), wait: None };
                    let notes = early.map(release).collect();
                    let message = Message::Transactions { notes, after: 0 };
                    self.inputs[core].push(Input::Message { from: to, message });
                }
                self.roads[core][to].push_back(message);
            }
        }
        (out.lent, out.returned) = (Vec::new(), Vec::new());
        let segments = out.segments().to_vec();
        let bytes = std::mem::take(&mut out.bytes);
        out.clear_segments();
        for segment in segments {
            let client = self.clients.iter_mut().find(|it| it.conn == segment.conn);
            if let Some(client) = client {
                client.arrived.extend_from_slice(&bytes[segment.start..segment.end]);
            }
        }
    }

    /// A client that waits for nothing begins its next transaction.
    fn act(&mut self) {
        let id = usize::try_from(self.prng.below(CLIENTS as u64)).unwrap();
        if self.clients[id].left == 0 || !self.clients[id].wanted.is_empty() {
            return;
        }
        self.clients[id].left -= 1;
        let mut lines = Vec::new();
        let mut wants = Vec::new();
        let mut now = Seen { sent: self.step, ..Seen::default() };
        match self.prng.below(10) {
            0 => {
                let (line, want) = self.step_of(&mut now);
                lines.push(line);
                wants.push(want);
            }
            8 => {
                self.tokens += 1;
                self.pushed.insert(self.tokens);
                lines.push(format!("RPUSH {} {}", list(self.prng.below(LISTS)), self.tokens));
                wants.push(Want::Nothing);
            }
            9 => {
                let from = self.prng.below(LISTS);
                let all = (from..LISTS).map(list).collect::<Vec<_>>().join(" ");
                lines.push(format!("BLPOP {all} 0.{}", 1 + self.prng.below(9)));
                wants.push(Want::Pop);
            }
            1 | 2 => {
                let keys: Vec<usize> = (0..KEYS).filter(|_| self.prng.chance(1, 2)).collect();
                let keys = if keys.is_empty() { vec![0] } else { keys };
                lines.push(format!("MGET {}", names(&keys)));
                wants.push(Want::Read(keys));
            }
            3 => self.both(&mut lines, &mut wants),
            4 | 5 => {
                let keys: Vec<usize> = (0..KEYS).filter(|_| self.prng.chance(1, 3)).collect();
                let keys = if keys.is_empty() { vec![1] } else { keys };
                match self.plant {
                    Some(Plant::WatchLost) => lines.push("PING".into()),
                    _ => lines.push(format!("WATCH {}", names(&keys))),
                }
                lines.push(format!("MGET {}", names(&keys)));
                wants.extend([Want::Nothing, Want::Read(keys)]);
                self.multi(&mut now, &mut lines, &mut wants, true);
            }
            _ => self.multi(&mut now, &mut lines, &mut wants, false),
        }
        now.text = lines.join("; ");
        let bytes: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
        let client = &mut self.clients[id];
        (client.now, client.wanted) = (now, wants.into());
        self.bytes[client.core].push((client.conn, bytes.into_bytes()));
    }

    fn multi(
        &mut self,
        now: &mut Seen,
        lines: &mut Vec<String>,
        wants: &mut Vec<Want>,
        guarded: bool,
    ) {
        let mut within = Vec::new();
        lines.push("MULTI".into());
        wants.push(Want::Nothing);
        for _ in 0..=self.prng.below(4) {
            let (line, want) = self.step_of(now);
            lines.push(line);
            wants.push(Want::Nothing);
            within.push(want);
        }
        lines.push("EXEC".into());
        wants.push(if guarded { Want::Guarded(within) } else { Want::Exec(within) });
    }

    /// Appends a token to a key, or reads one.
    fn step_of(&mut self, now: &mut Seen) -> (String, Want) {
        let key = usize::try_from(self.prng.below(KEYS as u64)).unwrap();
        if self.prng.chance(1, 3) {
            return (format!("MGET {}", names(&[key])), Want::Read(vec![key]));
        }
        self.tokens += 1;
        now.appends.push((key, self.tokens));
        (format!("APPEND {} {},", name(key), self.tokens), Want::Nothing)
    }

    /// Two registers that are only ever set together.
    fn both(&mut self, lines: &mut Vec<String>, wants: &mut Vec<Want>) {
        let two: Vec<usize> = vec![KEYS, KEYS + 1];
        if self.prng.chance(1, 2) {
            lines.push(format!("MGET {}", names(&two)));
            wants.push(Want::Both);
            return;
        }
        self.tokens += 1;
        let token = self.tokens;
        let halves: Vec<String> =
            two.iter().map(|key| format!("{} {token},", name(*key))).collect();
        if self.plant == Some(Plant::Half) {
            lines.extend(halves.iter().map(|half| format!("SET {half}")));
            wants.extend([Want::Nothing, Want::Nothing]);
        } else {
            lines.push(format!("MSET {}", halves.join(" ")));
            wants.push(Want::Nothing);
        }
    }

    /// Whole replies of a client.
    fn read(&mut self, id: usize) -> Result<(), String> {
        let step = self.step;
        let client = &mut self.clients[id];
        while let Ok(Some((value, used))) = decode::decode(&client.arrived) {
            client.arrived.drain(..used);
            let Some(want) = client.wanted.pop_front() else {
                return Err(format!("client {id} is sent {value:?} and asked nothing"));
            };
            match (&want, &value) {
                (Want::Both, _) => equal(&value)?,
                (Want::Pop, Value::Array(pair)) => self.popped.extend(pair.last().and_then(number)),
                (Want::Rest, Value::Array(all)) => {
                    self.popped.extend(all.iter().filter_map(number))
                }
                (Want::Pop, Value::Null) => {}
                // What its WATCH guarded did nothing.
                _ if !note(&mut client.now, &want, &value)? => client.now.appends.clear(),
                _ => {}
            }
            if client.wanted.is_empty() {
                let mut done = std::mem::take(&mut client.now);
                done.answered = step;
                if !done.appends.is_empty() || !done.reads.is_empty() {
                    self.history.push(done);
                }
            }
        }
        Ok(())
    }

    /// At the end one transaction reads every key, and all that is left of the lists.
    fn read_all(&mut self) -> Result<(), String> {
        let keys: Vec<usize> = (0..KEYS).collect();
        let mut line = format!("MGET {}\r\n", names(&keys));
        (0..LISTS).for_each(|it| line += &format!("LRANGE {} 0 -1\r\n", list(it)));
        let step = self.step;
        let client = &mut self.clients[0];
        client.now = Seen { sent: step, text: "the last read".into(), ..Seen::default() };
        client.wanted.push_back(Want::Read(keys));
        client.wanted.extend((0..LISTS).map(|_| Want::Rest));
        self.bytes[client.core].push((client.conn, line.into_bytes()));
        for _ in 0..20_000 {
            self.turn()?;
            if self.clients[0].wanted.is_empty() {
                return self.check_popped();
            }
        }
        Err("the last read is never answered".into())
    }

    /// Each element was had by one client, or is still there.
    fn check_popped(&self) -> Result<(), String> {
        let had: BTreeSet<u64> = self.popped.iter().copied().collect();
        if had.len() != self.popped.len() {
            return Err("an element was had twice".into());
        }
        match self.pushed.difference(&had).next() {
            Some(lost) => Err(format!("element {lost} was pushed, and nobody had it")),
            None => Ok(()),
        }
    }
}

/// Notes what a reply tells; false: a guarded transaction did nothing. What it read before its EXEC is part
/// of it where it ran, since then nothing had changed; else those reads stand alone.
fn note(now: &mut Seen, want: &Want, value: &Value) -> Result<bool, String> {
    match (want, value) {
        (_, Value::Error(error)) => Err(format!("an error: {}", String::from_utf8_lossy(error))),
        (Want::Nothing, _) => Ok(true),
        (Want::Read(keys), Value::Array(values)) if keys.len() == values.len() => {
            for (key, value) in keys.iter().zip(values) {
                now.reads.push((*key, tokens(value)?));
            }
            Ok(true)
        }
        (Want::Guarded(_), Value::Null) => Ok(false),
        (Want::Exec(wants) | Want::Guarded(wants), Value::Array(values))
            if wants.len() == values.len() =>
        {
            for (want, value) in wants.iter().zip(values) {
                note(now, want, value)?;
            }
            Ok(true)
        }
        _ => Err(format!("{want:?} is answered by {value:?}")),
    }
}

fn tokens(value: &Value) -> Result<Vec<u64>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::Bulk(bytes) => {
            let text = String::from_utf8_lossy(bytes).into_owned();
            let parts = text.split_terminator(',').map(|it| it.parse::<u64>());
            parts.collect::<Result<_, _>>().map_err(|_| format!("{text:?} was never written"))
        }
        _ => Err(format!("a value is {value:?}")),
    }
}

/// Two registers that are set together.
fn equal(value: &Value) -> Result<(), String> {
    match value {
        Value::Array(values) if values.len() == 2 && values[0] == values[1] => Ok(()),
        _ => Err(format!("half of a command over two cores is seen: {value:?}")),
    }
}

fn name(key: usize) -> String {
    format!("key:{key}")
}

fn names(keys: &[usize]) -> String {
    keys.iter().map(|key| name(*key)).collect::<Vec<_>>().join(" ")
}

fn list(list: u64) -> String {
    format!("list:{list}")
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Bulk(bytes) => std::str::from_utf8(bytes).ok()?.parse().ok(),
        _ => None,
    }
}
