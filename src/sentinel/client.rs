//! Clients: their requests, what they listen to, and answers that wait for the disk.
//!
//! ```text
//!   bytes -> requests -> commands -> Send
//!                          |  `-> held, until what it promises is on disk
//!                          `-> waits, until a name is resolved; then it runs again
//! ```
//!
//! Answers leave in the order of the requests: behind one that is held all others wait.

use super::instance::Ms;
use super::machine::{Conn, Level, Output, Sentinel};
use crate::base::glob;
use crate::base::limits::{SENTINEL_CLIENT_BYTES_MAX, SENTINEL_CLIENTS_MAX};
use crate::resp::error::ErrorKind;
use crate::resp::partial::{Fed, Partial};
use crate::resp::reply::{Proto, Reply};
use crate::resp::request::RequestLimits;
use std::collections::{BTreeSet, VecDeque};

/// One client.
#[derive(Debug)]
pub struct Client {
    pub id: u64,
    pub peer: String,
    pub local: String,
    pub name: Vec<u8>,
    pub proto: Proto,
    pub authenticated: bool,
    pub user: String,
    pub channels: BTreeSet<Vec<u8>>,
    pub patterns: BTreeSet<Vec<u8>>,
    pub since: Ms,
    pub active: Ms,
    pub last_command: &'static str,
    /// It will be closed when its answers are out.
    pub closing: bool,
    partial: Partial,
    input: Vec<u8>,
    waits: Option<Wait>,
    held: VecDeque<Held>,
}

/// A request that cannot be answered before a name is resolved.
#[derive(Debug)]
struct Wait {
    name: String,
    request: Vec<Vec<u8>>,
}

/// An answer that leaves when the state numbered so is on disk; another, if it cannot be saved.
#[derive(Debug)]
struct Held {
    needs: u64,
    bytes: Vec<u8>,
    otherwise: Vec<u8>,
}

/// What becomes of what a command wrote.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    Send,
    /// It tells of something that has to be on disk first; `otherwise` is sent if that fails.
    AfterSave {
        otherwise: Vec<u8>,
    },
    /// Nothing was done: run it again when this name is resolved.
    WaitFor(String),
    /// The last answer to this client.
    Close,
}

impl Client {
    /// Only a few commands are for one that listens, where it cannot tell messages from answers.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.subscriptions() > 0 && self.proto == Proto::Resp2
    }

    #[must_use]
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// The next whole request. `Err`: the bytes are none.
    fn next(&mut self) -> Result<Option<Vec<Vec<u8>>>, ErrorKind> {
        let authenticated = self.authenticated;
        let limits = RequestLimits {
            bulk_bytes_max: SENTINEL_CLIENT_BYTES_MAX,
            authenticated,
            ..RequestLimits::DEFAULT
        };
        match self.partial.feed(&self.input, &limits) {
            Ok(Fed::More) => {
                self.input.clear();
                Ok(None)
            }
            Ok(Fed::Request { used }) => {
                let mut args = Vec::new();
                self.partial.args(&mut args);
                let request = args.iter().map(|it| it.to_vec()).collect();
                self.partial.clear();
                self.input.drain(..used);
                Ok(Some(request))
            }
            Err(error) => {
                self.closing = true;
                self.input.clear();
                error.reply().map_or(Ok(None), Err)
            }
        }
    }
}

impl Sentinel {
    pub(super) fn client_accepted(
        &mut self,
        number: u32,
        peer: String,
        local: String,
        is_loopback: bool,
    ) {
        self.counts.connections += 1;
        let conn = Conn::Client(number);
        let has_password = !self.settings.requirepass.is_empty();
        let refusal = if self.clients.len() >= self.settings.maxclients.min(SENTINEL_CLIENTS_MAX) {
            Some(ErrorKind::MaxClients)
        } else if self.settings.protected_mode && !has_password && !is_loopback {
            Some(ErrorKind::ProtectedMode)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            self.counts.rejected += 1;
            let mut bytes = Vec::new();
            refusal.write_to(&mut bytes);
            self.out.push(Output::Send { conn, bytes });
            self.out.push(Output::Close { conn });
            return;
        }
        self.next_client_id += 1;
        self.clients.insert(
            number,
            Client {
                id: self.next_client_id,
                peer,
                local,
                name: Vec::new(),
                proto: Proto::Resp2,
                authenticated: !has_password,
                user: "default".into(),
                channels: BTreeSet::new(),
                patterns: BTreeSet::new(),
                since: self.now,
                active: self.now,
                last_command: "NULL",
                closing: false,
                partial: Partial::default(),
                input: Vec::new(),
                waits: None,
                held: VecDeque::new(),
            },
        );
    }

    pub(super) fn client_closed(&mut self, number: u32) {
        self.clients.remove(&number);
    }

    pub(super) fn client_received(&mut self, number: u32, bytes: &[u8]) {
        let Some(client) = self.clients.get_mut(&number) else { return };
        client.active = self.now;
        client.input.extend_from_slice(bytes);
        if client.input.len() > SENTINEL_CLIENT_BYTES_MAX * 2 {
            return self.close_client(number);
        }
        self.serve(number);
    }

    /// Runs requests as long as there are whole ones, and nothing that one has to wait for.
    fn serve(&mut self, number: u32) {
        loop {
            let Some(client) = self.clients.get_mut(&number) else { return };
            if client.waits.is_some() || client.closing {
                return;
            }
            match client.next() {
                Ok(Some(request)) => self.serve_one(number, request),
                Ok(None) => {
                    if client.closing {
                        self.close_client(number);
                    }
                    return;
                }
                Err(error) => {
                    let mut bytes = Vec::new();
                    error.write_to(&mut bytes);
                    self.answer(number, bytes, Then::Close);
                    return;
                }
            }
        }
    }

    fn serve_one(&mut self, number: u32, request: Vec<Vec<u8>>) {
        let args: Vec<&[u8]> = request.iter().map(Vec::as_slice).collect();
        let Some(client) = self.clients.get(&number) else { return };
        let (mut bytes, proto) = (Vec::new(), client.proto);
        self.counts.commands += 1;
        let mut reply = Reply { out: &mut bytes, proto };
        match self.run(number, &args, &mut reply) {
            Ok(Then::WaitFor(name)) => {
                self.ask_for_name(&name);
                if let Some(client) = self.clients.get_mut(&number) {
                    client.waits = Some(Wait { name, request });
                }
            }
            Ok(then) => self.answer(number, bytes, then),
            Err(error) => {
                self.counts.errors += 1;
                bytes.clear();
                error.write_to(&mut bytes);
                self.answer(number, bytes, Then::Send);
            }
        }
    }

    fn answer(&mut self, number: u32, bytes: Vec<u8>, then: Then) {
        let (saved, wanted) = (self.saving.saved, self.saving.wanted);
        #[cfg(test)]
        let saved = if self.plant == Some(super::sim::Plant::NothingWaitsForTheDisk) {
            wanted
        } else {
            saved
        };
        let Some(client) = self.clients.get_mut(&number) else { return };
        let is_last = then == Then::Close;
        client.closing |= is_last;
        let (needs, otherwise) = match then {
            Then::AfterSave { otherwise } => (wanted, otherwise),
            Then::Send | Then::Close | Then::WaitFor(_) => (0, bytes.clone()),
        };
        if client.held.is_empty() && needs <= saved {
            if !bytes.is_empty() {
                self.out.push(Output::Send { conn: Conn::Client(number), bytes });
            }
        } else {
            client.held.push_back(Held { needs, bytes, otherwise });
            if client.held.iter().map(|it| it.bytes.len()).sum::<usize>()
                > SENTINEL_CLIENT_BYTES_MAX
            {
                return self.close_client(number);
            }
        }
        self.close_if_done(number);
    }

    fn close_if_done(&mut self, number: u32) {
        if self.clients.get(&number).is_some_and(|it| it.closing && it.held.is_empty()) {
            self.close_client(number);
        }
    }

    pub(super) fn close_client(&mut self, number: u32) {
        if self.clients.remove(&number).is_some() {
            self.out.push(Output::Close { conn: Conn::Client(number) });
        }
    }

    /// The state up to `number` is on disk, or could not be put there.
    pub(super) fn release(&mut self, number: u64, is_saved: bool) {
        let clients: Vec<u32> = self.clients.keys().copied().collect();
        for it in clients {
            let Some(client) = self.clients.get_mut(&it) else { continue };
            while client.held.front().is_some_and(|held| held.needs <= number) {
                let Some(held) = client.held.pop_front() else { break };
                let fine = is_saved || held.needs == 0 || held.needs <= self.saving.saved;
                let bytes = if fine { held.bytes } else { held.otherwise };
                if !bytes.is_empty() {
                    self.out.push(Output::Send { conn: Conn::Client(it), bytes });
                }
            }
            self.close_if_done(it);
        }
    }

    /// A name is resolved, or is not: those who waited for it are served.
    pub(super) fn clients_go_on(&mut self, name: &str) {
        let waiting = self
            .clients
            .iter()
            .filter(|(_, it)| it.waits.as_ref().is_some_and(|wait| wait.name == name));
        let waiting: Vec<u32> = waiting.map(|(number, _)| *number).collect();
        for number in waiting {
            let Some(client) = self.clients.get_mut(&number) else { continue };
            let Some(wait) = client.waits.take() else { continue };
            self.serve_one(number, wait.request);
            self.serve(number);
        }
    }

    /// Tells all who listen.
    pub(super) fn publish(&mut self, channel: &[u8], text: &[u8]) {
        let mut messages = Vec::new();
        for (number, client) in &self.clients {
            if client.channels.contains(channel) {
                messages.push((*number, message(client.proto, &[b"message", channel, text])));
            }
            for pattern in client.patterns.iter().filter(|it| glob::matches(it, channel)) {
                let words: [&[u8]; 4] = [b"pmessage", pattern, channel, text];
                messages.push((*number, message(client.proto, &words)));
            }
        }
        for (number, bytes) in messages {
            self.answer(number, bytes, Then::Send);
        }
    }

    /// Those who have not said who they are in time go.
    pub(super) fn tick_clients(&mut self) {
        let late = |it: &Client| !it.authenticated && self.now - it.since > Ms::from(HANDSHAKE_MS);
        let late: Vec<u32> =
            self.clients.iter().filter(|(_, it)| late(it)).map(|(number, _)| *number).collect();
        for number in late {
            self.log(Level::Verbose, "A client did not authenticate in time".into());
            self.close_client(number);
        }
    }
}

const HANDSHAKE_MS: u32 = crate::base::limits::HANDSHAKE_SECONDS_MAX * 1_000;

fn message(proto: Proto, words: &[&[u8]]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut reply = Reply { out: &mut bytes, proto };
    reply.push(words.len());
    words.iter().for_each(|word| reply.bulk(word));
    bytes
}
