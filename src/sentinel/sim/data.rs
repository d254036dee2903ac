//! A model of a data node, as far as a Sentinel can see: roles, links, offsets, channels.

use crate::resp::partial::{Fed, Partial};
use crate::resp::reply::{Proto, Reply};
use crate::resp::request::RequestLimits;
use std::collections::BTreeMap;
use std::fmt::Write;

/// One data node.
#[derive(Debug)]
pub(super) struct Data {
    pub ip: String,
    pub up: bool,
    /// Whom it follows; the file knows it too.
    pub follows: Option<(String, u16)>,
    pub run_id: String,
    pub priority: u32,
    pub offset: u64,
    pub link_up: bool,
    pub link_down_since: u64,
    /// Whether it knows `FAILOVER`.
    pub can_hand_over: bool,
    /// Connections, with what each listens to and has queued.
    pub conns: BTreeMap<u64, Peer>,
}

/// Somebody who is connected to it.
#[derive(Debug, Default)]
pub(super) struct Peer {
    partial: Partial,
    listens: bool,
    queued: Option<Vec<Vec<Vec<u8>>>>,
}

/// What a request leads to besides an answer.
#[derive(Debug, Default)]
pub(super) struct Effects {
    /// For the one who asked.
    pub reply: Vec<u8>,
    /// For all who listen.
    pub published: Vec<Vec<u8>>,
    /// It changed places with this one.
    pub handed_to: Option<(String, u16)>,
}

impl Data {
    pub fn receive(&mut self, conn: u64, bytes: &[u8], now: u64, replicas: &[String]) -> Effects {
        let mut effects = Effects::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let peer = self.conns.entry(conn).or_default();
            let Ok(Fed::Request { used }) = peer.partial.feed(rest, &RequestLimits::DEFAULT) else {
                break;
            };
            let mut args = Vec::new();
            peer.partial.args(&mut args);
            let request: Vec<Vec<u8>> = args.iter().map(|it| it.to_vec()).collect();
            peer.partial.clear();
            rest = &rest[used..];
            self.run(conn, request, now, replicas, &mut effects);
        }
        effects
    }

    fn run(
        &mut self,
        conn: u64,
        request: Vec<Vec<u8>>,
        now: u64,
        replicas: &[String],
        effects: &mut Effects,
    ) {
        let text = |at: usize| {
            String::from_utf8_lossy(request.get(at).map_or(b"", |it| it)).to_uppercase()
        };
        let info = self.info(now, replicas);
        let mut out = std::mem::take(&mut effects.reply);
        let mut reply = Reply { out: &mut out, proto: Proto::Resp2 };
        let peer = self.conns.entry(conn).or_default();
        match text(0).as_str() {
            "EXEC" => {
                let queued = peer.queued.take().unwrap_or_default();
                reply.array(queued.len());
                effects.reply = out;
                for request in queued {
                    self.run(conn, request, now, replicas, effects);
                }
                return;
            }
            "MULTI" => {
                peer.queued = Some(Vec::new());
                reply.ok();
            }
            _ if peer.queued.is_some() => {
                peer.queued.get_or_insert_default().push(request.clone());
                reply.simple(b"QUEUED");
            }
            "PING" => reply.simple(b"PONG"),
            "INFO" => reply.bulk(info.as_bytes()),
            "SUBSCRIBE" => {
                peer.listens = true;
                reply.array(3);
                reply.bulk(b"subscribe");
                reply.bulk(&request[1]);
                reply.int(1);
            }
            "PUBLISH" => {
                effects.published.push(request[2].clone());
                reply.int(1);
            }
            "SLAVEOF" if text(1) == "NO" => {
                self.follows = None;
                reply.ok();
            }
            "SLAVEOF" => {
                let address = (text(1), text(2).parse().unwrap());
                if self.follows.as_ref() != Some(&address) {
                    (self.link_up, self.link_down_since) = (false, now);
                }
                self.follows = Some(address);
                reply.ok();
            }
            "FAILOVER" if self.can_hand_over && self.follows.is_none() => {
                effects.handed_to = Some((text(2), text(3).parse().unwrap()));
                reply.ok();
            }
            "FAILOVER" => reply.raw(b"-ERR unknown command 'FAILOVER'\r\n"),
            _ => reply.ok(),
        }
        effects.reply = out;
    }

    pub fn listeners(&self) -> Vec<u64> {
        self.conns.iter().filter(|(_, it)| it.listens).map(|(conn, _)| *conn).collect()
    }

    fn info(&self, now: u64, replicas: &[String]) -> String {
        let mut text = format!("# Server\r\nrun_id:{}\r\n# Replication\r\n", self.run_id);
        match &self.follows {
            None => {
                text.push_str("role:master\r\n");
                for (number, ip) in replicas.iter().enumerate() {
                    let _ = write!(text, "slave{number}:ip={ip},port=6379,state=online\r\n");
                }
            }
            Some((host, port)) => {
                let status = if self.link_up { "up" } else { "down" };
                let _ = write!(
                    text,
                    "role:slave\r\nmaster_host:{host}\r\nmaster_port:{port}\r\n\
                     master_link_status:{status}\r\n"
                );
                if !self.link_up {
                    let down = (now - self.link_down_since) / 1_000;
                    let _ = write!(text, "master_link_down_since_seconds:{down}\r\n");
                }
                let _ = write!(
                    text,
                    "slave_repl_offset:{}\r\nslave_priority:{}\r\n",
                    self.offset, self.priority
                );
            }
        }
        text
    }
}
