//! A node without I/O for unit tests: all its cores, its clients, and time that a test moves.
//!
//! ```text
//!   check("                      on one core and on three, clients spread over them
//!       a> SET k \"a b\"           client `a` sends these words (as redis-cli reads them)
//!       a< +OK                   all that `a` was sent since: CRLF is a space here, bytes that
//!                                cannot be shown are escaped
//!       b>> PING\\r\\nPING\\r\\n     these very bytes
//!       a!                       `a` was closed by the server
//!       +500ms                   time passes
//!   ")
//! ```
//!
//! At the end no client may have been sent anything that no line expects. Clients come in the order
//! of their first lines: the `n`th has number `n`, `fd=n` and the address `127.0.0.n:n`.
//!
//! Every core has its turns until nothing is left to do, in a fixed order: a failure repeats.

use crate::base::time::{Mono, Now, Wall};
use crate::node::control::Ask;
use crate::node::core::{Core, FileEvent, Input, Shared, TICK_MS};
use crate::node::families;
use crate::node::host::Host;
use crate::node::message::{self, Message};
use crate::node::outbox::{Action, Conn, Outbox, SaveStep};
use crate::node::rights::users_of;
use crate::node::session::Ends;
use crate::node::settings::Settings;
use crate::node::view::View;
use crate::resp::reply::write_request;
use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// See the file's header.
#[track_caller]
pub fn check(transcript: &str) {
    check_with(|_| {}, transcript);
}

/// With settings changed by `with`.
#[track_caller]
pub fn check_with(with: impl Fn(&mut Settings), transcript: &str) {
    for cores in [1, 3] {
        Node::with(cores, &with).follow(transcript);
    }
}

/// A client of a [`Node`], by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Client(usize);

/// See the file's header.
pub struct Node {
    pub cores: Vec<Core>,
    pub now: Now,
    inboxes: Vec<VecDeque<Event>>,
    clients: Vec<Peer>,
    /// Whose a connection is.
    owners: BTreeMap<(usize, Conn), Client>,
    next_conn: u32,
    /// What the node wanted done besides: log lines, files, links.
    pub actions: Vec<(usize, Action)>,
}

struct Peer {
    core: usize,
    conn: Conn,
    received: Vec<u8>,
    closed: bool,
}

enum Event {
    Bytes(Conn, Vec<u8>),
    Other(Option<Input<'static>>),
}

/// More rounds of turns than anything takes that ends.
const ROUNDS_MAX: usize = 100_000;

impl Node {
    /// A master with nothing in it.
    pub fn new(cores: usize) -> Self {
        Self::with(cores, |_| {})
    }

    pub fn with(cores: usize, with: impl Fn(&mut Settings)) -> Self {
        let mut settings = Settings::new();
        settings.maxclients = 10_000;
        with(&mut settings);
        let table = families::renamed(&settings.renamed_commands).unwrap();
        let users = Arc::new(users_of(&settings, table.catalog()).unwrap());
        let view = View::new(Arc::new(settings), users);
        let heaviest = (0..cores).map(|_| AtomicU64::default()).collect();
        let shared = Shared {
            tickets: Arc::default(),
            clients: Arc::default(),
            client_ids: Arc::default(),
            transactions: Arc::default(),
            trackers: Arc::default(),
            listeners: Arc::default(),
            table,
            stopwatch,
            slow_ids: Arc::default(),
            slots: Arc::default(),
            host: Arc::new(Host { heaviest, ..Host::default() }),
        };
        let now = Now { mono: Mono(0), wall: Wall(1_700_000_000_000_000) };
        let core = |id| Core::new(id, cores, view.clone(), shared.clone(), 1, now);
        let mut node = Self {
            cores: (0..cores).map(core).collect(),
            now,
            inboxes: (0..cores).map(|_| VecDeque::new()).collect(),
            clients: Vec::new(),
            owners: BTreeMap::new(),
            next_conn: 1,
            actions: Vec::new(),
        };
        node.settle();
        node
    }

    /// A client, on the next core.
    pub fn connect(&mut self) -> Client {
        self.connect_on(self.clients.len() % self.cores.len())
    }

    pub fn connect_on(&mut self, core: usize) -> Client {
        let client = Client(self.clients.len());
        let number = u16::try_from(client.0 + 1).unwrap();
        let [high, low] = number.to_be_bytes();
        let peer = ([127, 0, high, low], number).into();
        let ends = Ends::tcp(peer, ([127, 0, 0, 1], 6379).into());
        let conn = self.new_conn(core, client);
        self.clients.push(Peer { core, conn, received: Vec::new(), closed: false });
        self.inboxes[core].push_back(Event::Other(Some(Input::Opened { conn, ends })));
        self.settle();
        client
    }

    /// The connect to the master is decided: the client is that master.
    pub fn dialled(&mut self) -> Client {
        let client = Client(self.clients.len());
        let ends = Ends::tcp(([127, 0, 0, 1], 1).into(), ([127, 0, 0, 1], 6379).into());
        let conn = self.new_conn(0, client);
        self.clients.push(Peer { core: 0, conn, received: Vec::new(), closed: false });
        let result = Ok((conn, ends));
        self.inboxes[0].push_back(Event::Other(Some(Input::Dialled { result })));
        self.settle();
        client
    }

    /// Carries out all steps of saving: what was appended to the file.
    pub fn take_saved(&mut self) -> Vec<u8> {
        let mut file = Vec::new();
        loop {
            let (saves, others): (Vec<_>, Vec<_>) = std::mem::take(&mut self.actions)
                .into_iter()
                .partition(|(_, action)| matches!(action, Action::Save(_)));
            self.actions = others;
            if saves.is_empty() {
                return file;
            }
            for (_, action) in saves {
                if let Action::Save(SaveStep::Append(bytes)) = action {
                    file.extend_from_slice(&bytes);
                }
                let saved = Input::File(FileEvent::Saved);
                self.inboxes[0].push_back(Event::Other(Some(saved)));
            }
            self.settle();
        }
    }

    /// Sends bytes, lets everybody work until all is quiet, and takes what the client was sent.
    pub fn send(&mut self, client: Client, bytes: &[u8]) -> Vec<u8> {
        self.post(client, bytes);
        self.settle();
        self.take(client)
    }

    /// Sends bytes, and nobody works on them yet.
    pub fn post(&mut self, client: Client, bytes: &[u8]) {
        let peer = &self.clients[client.0];
        if !peer.closed {
            self.inboxes[peer.core].push_back(Event::Bytes(peer.conn, bytes.to_vec()));
        }
    }

    /// What the client was sent and nobody has taken.
    pub fn take(&mut self, client: Client) -> Vec<u8> {
        std::mem::take(&mut self.clients[client.0].received)
    }

    /// Has the server closed it?
    pub fn is_closed(&self, client: Client) -> bool {
        self.clients[client.0].closed
    }

    /// The client goes.
    pub fn disconnect(&mut self, client: Client) {
        let peer = &self.clients[client.0];
        let (core, conn) = (peer.core, peer.conn);
        self.inboxes[core].push_back(Event::Other(Some(Input::Ended { conn })));
        self.settle();
    }

    /// As `disconnect`, while others are at work.
    pub fn hang_up(&mut self, client: Client) {
        let peer = &self.clients[client.0];
        let (core, conn) = (peer.core, peer.conn);
        self.inboxes[core].push_back(Event::Other(Some(Input::Ended { conn })));
    }

    /// As `connect_on`, while others are at work.
    pub fn connect_soon(&mut self, core: usize) -> Client {
        let client = Client(self.clients.len());
        let conn = self.new_conn(core, client);
        self.clients.push(Peer { core, conn, received: Vec::new(), closed: false });
        let ends = Ends::Local;
        self.inboxes[core].push_back(Event::Other(Some(Input::Opened { conn, ends })));
        client
    }

    /// The client takes nothing: so many bytes wait for it.
    pub fn stop_reading(&mut self, client: Client, bytes: usize) {
        let peer = &self.clients[client.0];
        let (core, conn) = (peer.core, peer.conn);
        self.inboxes[core].push_back(Event::Other(Some(Input::Backlog { conn, bytes })));
    }

    /// It has taken all.
    pub fn read_on(&mut self, client: Client) {
        let peer = &self.clients[client.0];
        let (core, conn) = (peer.core, peer.conn);
        self.inboxes[core].push_back(Event::Other(Some(Input::Drained { conn })));
        self.settle();
    }

    /// Some turns of all cores, whether they are due or not.
    pub fn turns(&mut self, count: usize) {
        for _ in 0..count {
            (0..self.cores.len()).for_each(|core| self.turn(core));
        }
    }

    /// Asks core 0 for something in the client's name, as a command of it would.
    pub fn ask(&mut self, client: Client, ask: Ask) {
        let (core, conn) = (self.clients[client.0].core, self.clients[client.0].conn);
        let mut out = Outbox::new(self.cores.len());
        self.cores[core].ask_for(conn, ask, &mut out);
        self.deliver(core, &mut out);
        self.settle();
    }

    /// Time passes, tick by tick.
    pub fn advance(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(TICK_MS);
            left -= step;
            self.now.mono = self.now.mono.plus_ms(step);
            self.now.wall = Wall(self.now.wall.0 + step * 1_000);
            (0..self.cores.len()).for_each(|core| self.turn(core));
            self.settle();
        }
    }

    /// Turns of all cores until nothing is left to do.
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut quiet = true;
            for core in 0..self.cores.len() {
                if !self.inboxes[core].is_empty() || self.cores[core].is_busy() {
                    self.turn(core);
                    quiet = false;
                }
            }
            if quiet {
                return;
            }
        }
        panic!("the node does not come to rest");
    }

    fn turn(&mut self, id: usize) {
        let mut events = std::mem::take(&mut self.inboxes[id]);
        let mut inputs = Vec::new();
        for event in &mut events {
            match event {
                Event::Bytes(conn, bytes) => {
                    inputs.push(Input::Received { conn: *conn, bytes, wire: conn.0 + 1 })
                }
                Event::Other(input) => inputs.extend(input.take()),
            }
        }
        let mut out = Outbox::new(self.cores.len());
        self.cores[id].turn(self.now, &mut inputs, &mut out);
        self.feed(id, &mut out);
        self.deliver(id, &mut out);
    }

    /// Replicas take at once all that they are fed.
    fn feed(&mut self, id: usize, out: &mut Outbox) {
        let mut feeds = Vec::new();
        loop {
            self.cores[id].feeds(&mut feeds);
            let Some(&conn) = feeds.first() else { return };
            let bytes = self.cores[id].feed_bytes(conn).to_vec();
            if let Some(client) = self.owners.get(&(id, conn)) {
                self.clients[client.0].received.extend_from_slice(&bytes);
            }
            self.cores[id].fed(conn, bytes.len(), out);
        }
    }

    fn deliver(&mut self, from: usize, out: &mut Outbox) {
        for segment in out.segments().to_vec() {
            if let Some(client) = self.owners.get(&(from, segment.conn)) {
                let bytes = &out.bytes[segment.start..segment.end];
                self.clients[client.0].received.extend_from_slice(bytes);
            }
        }
        for (to, mail) in out.mail.iter_mut().enumerate() {
            for message in mail.iter_mut() {
                let Message::Replies { frames, lent: 1.., .. } = message else { continue };
                message::hand_out(frames, |conn, _, bytes| {
                    let Some(client) = self.owners.get(&(to, conn)) else { return 0 };
                    self.clients[client.0].received.extend_from_slice(bytes);
                    bytes.len()
                });
            }
            let input = |message| Event::Other(Some(Input::Message { from, message }));
            self.inboxes[to].extend(mail.drain(..).map(input));
        }
        for action in out.actions.drain(..) {
            self.act(from, action);
        }
    }

    fn act(&mut self, from: usize, action: Action) {
        match action {
            Action::Close(conn) | Action::CloseNow(conn) => {
                let Some(client) = self.owners.remove(&(from, conn)) else { return };
                self.clients[client.0].closed = true;
                self.inboxes[from].push_back(Event::Other(Some(Input::Ended { conn })));
            }
            Action::Move { conn, core, session } => {
                let Some(client) = self.owners.remove(&(from, conn)) else { return };
                let conn = self.new_conn(core, client);
                (self.clients[client.0].core, self.clients[client.0].conn) = (core, conn);
                self.inboxes[core].push_back(Event::Other(Some(Input::Moved { conn, session })));
            }
            other => self.actions.push((from, other)),
        }
    }

    fn new_conn(&mut self, core: usize, client: Client) -> Conn {
        let conn = Conn(self.next_conn);
        self.next_conn += 1;
        self.owners.insert((core, conn), client);
        conn
    }

    #[track_caller]
    fn follow(mut self, transcript: &str) {
        let cores = self.cores.len();
        let mut names: BTreeMap<String, Client> = BTreeMap::new();
        let told = |line: &&str| !line.is_empty() && !line.starts_with('#');
        for line in transcript.lines().map(str::trim).filter(told) {
            if let Some(ms) = line.strip_prefix('+').and_then(|rest| rest.strip_suffix("ms")) {
                self.advance(ms.parse().unwrap());
                continue;
            }
            let mark = line.find(['>', '<', '!']).unwrap_or_else(|| panic!("what is {line:?}?"));
            let (name, text) = line.split_at(mark);
            let client = match names.get(name) {
                Some(client) => *client,
                None => {
                    let client = self.connect();
                    names.insert(name.to_string(), client);
                    client
                }
            };
            if let Some(bytes) = text.strip_prefix(">>") {
                self.post(client, &unescape(bytes.trim()));
                self.settle();
            } else if let Some(words) = text.strip_prefix('>') {
                self.post(client, &request(words));
                self.settle();
            } else if let Some(expected) = text.strip_prefix('<') {
                let received = show(&self.take(client));
                assert_eq!(received, expected.trim(), "{cores} cores, at {line}");
            } else {
                assert!(self.is_closed(client), "{cores} cores, at {line}: it is open");
            }
        }
        for (name, client) in names {
            let received = show(&self.take(client));
            assert!(received.is_empty(), "{cores} cores: {name} was sent {received} besides");
        }
    }
}

/// Each look at it is ten milliseconds after the last.
fn stopwatch() -> u64 {
    thread_local! {
        static LOOKS: Cell<u64> = const { Cell::new(0) };
    }
    10_000_000 * LOOKS.with(|looks| looks.replace(looks.get() + 1))
}

/// A reply in one line: CRLF is a space.
fn show(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for line in bytes.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(line) => shown.extend([escape(line), " ".into()]),
            None => shown.push_str(&escape(line)),
        }
    }
    shown.trim().to_string()
}

/// Quotes stay as they are; what cannot be shown is escaped.
fn escape(bytes: &[u8]) -> String {
    let escaped = |&byte: &u8| match byte {
        b'\'' | b'"' => char::from(byte).to_string(),
        _ => byte.escape_ascii().to_string(),
    };
    bytes.iter().map(escaped).collect()
}

/// Words as a request; a word in double quotes may have spaces and escapes.
fn request(text: &str) -> Vec<u8> {
    let (mut words, mut rest) = (Vec::new(), text.trim());
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let (word, behind) = quoted.split_once('"').unwrap_or((quoted, ""));
                (unescape(word), behind)
            }
            None => {
                let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
                (word.as_bytes().to_vec(), behind)
            }
        };
        words.push(word);
        rest = behind.trim_start();
    }
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    let mut request = Vec::new();
    write_request(&mut request, &words);
    request
}

/// `\r`, `\n`, `\\` and `\xhh`.
fn unescape(text: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [byte, behind @ ..] = rest {
        let (value, used) = match (byte, behind) {
            (b'\\', [b'r', ..]) => (b'\r', 2),
            (b'\\', [b'n', ..]) => (b'\n', 2),
            (b'\\', [b'\\', ..]) => (b'\\', 2),
            (b'\\', [b'x', ..]) => (u8::from_str_radix(&text_of(&behind[1..3]), 16).unwrap(), 4),
            _ => (*byte, 1),
        };
        bytes.push(value);
        rest = &rest[used..];
    }
    bytes
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_harness_finds_a_wrong_reply_and_one_too_many() {
    for transcript in ["a> PING\na< +PUNG", "a> PING", "a> PING\na< +PONG\na!"] {
        let wrong = std::panic::catch_unwind(|| check(transcript));
        assert!(wrong.is_err(), "{transcript}");
    }
}

#[test]
fn keys_of_all_cores_are_reached_from_all_clients() {
    let transcript: String = (0..40)
        .map(|n| {
            let (writer, reader) = (n % 4, n % 3);
            format!("w{writer}> SET k{n} \"v {n}\"\nw{writer}< +OK\n")
                + &format!("w{reader}> GET k{n}\nw{reader}< ${} v {n}\n", 2 + n.to_string().len())
        })
        .collect();
    check(&(transcript + "w1> DBSIZE\nw1< :40\n"));
}

#[test]
fn a_client_that_goes_is_listed_no_more() {
    let mut node = Node::new(2);
    let (one, other) = (node.connect(), node.connect());
    let lines = |list: &[u8]| list.iter().filter(|&&byte| byte == b'\n').count();
    let both = lines(&node.send(one, b"CLIENT LIST\r\n"));
    node.disconnect(other);
    assert_eq!(lines(&node.send(one, b"CLIENT LIST\r\n")), both - 1);
}

#[test]
fn who_quits_is_answered_also_while_replies_wait_for_the_stream() {
    let mut node = Node::new(3);
    let replica = node.connect_on(0);
    node.send(replica, b"PSYNC ? -1\r\n");
    node.advance(1_000);
    // Some of the keys are the client's own core's, whose replies wait in the very turn of QUIT.
    for n in 0..20 {
        for (last, reply) in [("QUIT", "+OK"), ("CLIENT KILL TYPE normal SKIPME no", ":1")] {
            let client = node.connect_on(1);
            let requests = format!("SET k{n} v\r\n{last}\r\nPING\r\n");
            let received = node.send(client, requests.as_bytes());
            assert_eq!(show(&received), format!("+OK {reply}"), "k{n} {last}");
            assert!(node.is_closed(client));
        }
    }
}
