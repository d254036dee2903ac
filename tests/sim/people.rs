//! What clients do in the world: connect, send, read; and what is asked of their replies as they leave.

use ringfold::replication::psync::Replid;
use ringfold::resp::decode;

use crate::client::{self, Client, Expect, Sent, UNSETTLED};
use crate::model::show;
use crate::net::Who;
use crate::world::{Event, MS, World};

const OUTSTANDING_MAX: usize = 12;

impl World {
    /// One that sends `line` to a host, again and again until it is answered, and goes.
    pub fn errand(&mut self, host: usize, line: &str) {
        let id = self.clients.len();
        let errand = Some(client::words(line));
        self.trace(|| format!("errand to h{host}: {line}"));
        self.clients.push(Client { id, host, errand, ..Client::default() });
        self.schedule(self.at, Event::Client { client: id });
    }

    pub fn client_acts(&mut self, id: usize) {
        if self.clients[id].done || (self.quiet && self.clients[id].errand.is_none()) {
            return;
        }
        let mut again = 200_000 + self.prng.below(6 * MS);
        match self.clients[id].link {
            None => {
                if !self.client_connects(id) {
                    again = 30 * MS;
                }
            }
            Some(link) => self.client_sends(id, link),
        }
        self.schedule(self.at + again, Event::Client { client: id });
    }

    fn client_connects(&mut self, id: usize) -> bool {
        let reads = id % 4 == 3;
        let host = match (&self.clients[id].errand, reads) {
            (Some(_), _) => self.clients[id].host,
            (None, true) => usize::try_from(self.prng.below(3)).unwrap(),
            (None, false) => self.master,
        };
        if !self.hosts[host].alive || !self.hosts[host].ready {
            return false;
        }
        let link = self.connect(Who::Client(id), Who::Host(host, self.hosts[host].incarnation));
        self.clients[id].connected(link, host);
        self.accept(host, link, 1);
        true
    }

    fn client_sends(&mut self, id: usize, link: usize) {
        let reader = id % 4 == 3;
        let epoch = self.epoch_now();
        let mut bytes = Vec::new();
        for _ in 0..=self.prng.below(5) {
            if self.clients[id].sent.len() >= OUTSTANDING_MAX {
                break;
            }
            let sent = match self.clients[id].errand.clone() {
                Some(_) if !self.clients[id].sent.is_empty() => break,
                Some(words) => Sent {
                    words,
                    expect: Expect::Any,
                    epoch: (UNSETTLED, 0),
                    token: None,
                    expires: None,
                    at: self.at,
                },
                None => {
                    let (at, plan) = (self.at, &self.plan);
                    self.clients[id].next(&mut self.prng, plan, epoch, at, reader)
                }
            };
            let words: Vec<&[u8]> = sent.words.iter().map(Vec::as_slice).collect();
            ringfold::replication::log::encode_request(&words, &mut bytes);
            if concerns_all(&sent) {
                self.unsettle(500);
            }
            self.trace(|| format!("c{id} > {}", line(&sent)));
            self.clients[id].sent.push_back(sent);
        }
        self.links[link].push(1, &bytes);
        self.carry(link, 1);
    }

    /// For so long nobody can say what a key's value is.
    pub fn unsettle(&mut self, ms: u64) {
        self.epoch += 1;
        self.unsettled_until = self.unsettled_until.max(self.at + ms * MS);
    }

    fn epoch_now(&self) -> u64 {
        // One that concerns all keys may run any time until its answer is here.
        let under_way = self.clients.iter().any(|it| it.sent.iter().any(concerns_all));
        if under_way || self.at < self.unsettled_until { UNSETTLED } else { self.epoch }
    }

    /// Bytes for a client leave its server: every whole reply is checked here.
    pub fn leaves(&mut self, host: usize, id: usize, bytes: &[u8]) {
        let mut buffer = std::mem::take(&mut self.clients[id].leaving);
        buffer.extend_from_slice(bytes);
        while let Ok(Some(skipped)) = decode::skip(&buffer) {
            let reply: Vec<u8> = buffer.drain(..skipped.len).collect();
            let at = self.clients[id].left;
            let Some(sent) = self.clients[id].sent.get(at).cloned() else {
                return self.fail(format!("c{id} is sent {} and asked nothing", show(&reply)));
            };
            self.clients[id].left += 1;
            if reply[0] != b'-' {
                self.reply_leaves(host, id, &sent, &reply);
            }
        }
        self.clients[id].leaving = buffer;
    }

    fn reply_leaves(&mut self, host: usize, id: usize, sent: &Sent, reply: &[u8]) {
        if let Some(token) = &sent.token
            && self.hosts[host].ring_since.is_some_and(|since| since < sent.at)
        {
            let Some((replid, offset)) = self.histories.tokens.get(token).copied() else {
                return self
                    .fail(format!("c{id}: {} is acknowledged and in no stream", line(sent)));
            };
            let same = self.hosts[host].seen.as_ref().is_some_and(|it| it.replid == replid);
            let kept =
                self.hosts[host].seen.as_ref().is_some_and(|it| it.is_master && it.files_whole);
            if same && kept && self.plan.always {
                self.promises(host, replid, offset);
            }
            let seat = &self.hosts[host].seats[0];
            let behind =
                seat.core.cursors().into_iter().find(|(conn, cursor)| {
                    same && *cursor < offset && !seat.blocked.contains(conn)
                });
            if let Some((conn, cursor)) = behind {
                let text = line(sent);
                return self.fail(format!(
                    "c{id}: {text} is acknowledged at {offset}; {conn:?} was sent {cursor}"
                ));
            }
        }
        if let Expect::WaitFile { token: Some(token) } = &sent.expect
            && reply.starts_with(b"*2\r\n:1\r\n")
            && let Some((replid, offset)) = self.histories.tokens.get(token).copied()
            && self.hosts[host].seen.as_ref().is_some_and(|it| it.replid == replid)
        {
            self.promises(host, replid, offset);
        }
        let Expect::Wait { token: Some(token), .. } = &sent.expect else { return };
        let Some((replid, offset)) = self.histories.tokens.get(token).copied() else { return };
        if self.hosts[host].seen.as_ref().is_none_or(|it| it.replid != replid) {
            return;
        }
        let had = |it: usize| self.had.get(&(it, replid)).is_some_and(|had| *had >= offset);
        let have = (0..self.hosts.len()).filter(|it| *it != host && had(*it)).count();
        let text = String::from_utf8_lossy(&reply[1..reply.len() - 2]).into_owned();
        if text.parse::<usize>().is_ok_and(|counted| counted > have) {
            self.fail(format!("c{id}: WAIT for {offset} counted {text}, and {have} have it"));
        }
    }

    /// A host says that its disk has so much of a history.
    fn promises(&mut self, host: usize, replid: Replid, offset: u64) {
        if self.master == host {
            let before = self.hosts[host].promised.filter(|it| it.0 == replid);
            let most = before.map_or(offset, |(_, promised)| promised.max(offset));
            self.hosts[host].promised = Some((replid, most));
        }
    }

    /// Bytes reach a client.
    pub fn client_reads(&mut self, id: usize, bytes: &[u8]) {
        let epoch = self.epoch_now();
        let mut buffer = std::mem::take(&mut self.clients[id].arriving);
        buffer.extend_from_slice(bytes);
        while let Ok(Some(skipped)) = decode::skip(&buffer) {
            let reply: Vec<u8> = buffer.drain(..skipped.len).collect();
            self.trace(|| format!("c{id} < {}", show(&reply)));
            let it = &mut self.clients[id];
            let Some(sent) = it.sent.front() else {
                return self.fail(format!("c{id} gets {} and asked nothing", show(&reply)));
            };
            if it.errand.is_some() {
                let name = String::from_utf8_lossy(&sent.words[0]).into_owned();
                it.done = reply[0] == b'+' || name.starts_with("BG");
                (it.left, _) = (0, it.sent.clear());
                continue;
            }
            let result = client::check(sent, &reply, (epoch, it.epoch));
            let all = concerns_all(sent);
            it.answered(&reply, self.at);
            if all {
                self.unsettle(20);
            }
            self.try_or_fail(|| format!("c{id}:"), result);
        }
        self.clients[id].arriving = buffer;
        if self.clients[id].done
            && let Some(link) = self.clients[id].link.take()
        {
            self.client_closes(link);
        }
    }

    pub fn client_closes(&mut self, link: usize) {
        let it = &mut self.links[link];
        it.ends[0].closed = true;
        it.to[0].bytes.clear();
        it.to[1].fin = true;
        self.carry(link, 1);
    }

    pub fn client_lost(&mut self, id: usize, link: usize) {
        let it = &mut self.clients[id];
        if it.link != Some(link) {
            return;
        }
        it.link = None;
        let lost_all = it.sent.iter().any(concerns_all);
        it.sent.clear();
        if lost_all {
            self.unsettle(2_000);
        }
        // What is left of the link goes, too.
        self.client_closes(link);
    }
}

fn concerns_all(sent: &Sent) -> bool {
    matches!(sent.words[0].as_slice(), b"FLUSHALL" | b"FLUSHDB" | b"SWAPDB")
}

pub fn line(sent: &Sent) -> String {
    sent.words.iter().map(|it| show(it)).collect::<Vec<_>>().join(" ")
}
