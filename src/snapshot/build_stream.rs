//! A stream and its consumer groups out of the items of an RDB value; `format.rs` draws their order.
//!
//! A group's pending entries come first and without their consumers, who name them afterwards: each must
//! be named once.

use super::build::{Damaged, Token};
use crate::types::log::Stream;
use crate::types::log::group::{ConsumerId, Group, Pending};
use crate::types::log::id::StreamId;
use crate::types::log::node::Node;
use std::collections::BTreeMap;

/// Where a group's items begin in the program, and those of its consumers.
const GROUP_1: usize = 7;
const GROUP_2: usize = 12;

/// A stream that grows.
#[derive(Debug)]
pub struct StreamParts {
    code: u8,
    stream: Stream,
    len: u64,
    id: StreamId,
    group: Option<Open>,
}

/// The group whose items come.
#[derive(Debug)]
struct Open {
    name: Vec<u8>,
    group: Group,
    /// When an entry was given and how often, for those that no consumer has named yet.
    pending: BTreeMap<StreamId, (i64, u64)>,
    delivered_ms: i64,
    consumer: Option<ConsumerId>,
    consumer_name: Vec<u8>,
}

impl StreamParts {
    pub fn new(code: u8) -> Self {
        let (len, id) = (0, StreamId::MIN);
        Self { code, stream: Stream::default(), len, id, group: None }
    }

    /// Takes in the item at this place of the program.
    pub fn token(&mut self, at: usize, token: Token<'_>) -> Result<(), Damaged> {
        let groups = if self.code == 15 { GROUP_1 } else { GROUP_2 };
        match at.checked_sub(groups) {
            None => self.stream_token(at, token),
            // Without the number of entries read the rest comes one earlier.
            Some(at) if self.code == 15 && at >= 3 => self.group_token(at + 1, token),
            Some(at) => self.group_token(at, token),
        }
    }

    pub fn finish(mut self) -> Result<Stream, Damaged> {
        self.close_group()?;
        if self.code == 15 {
            self.stream.first_id = self.stream.edge(false).unwrap_or_default();
        }
        if self.stream.len() != self.len {
            return Err(Damaged);
        }
        Ok(self.stream)
    }

    fn stream_token(&mut self, at: usize, token: Token<'_>) -> Result<(), Damaged> {
        let stream = &mut self.stream;
        match (at, token) {
            (1, Token::Text(text)) => self.id = id_of(&text)?,
            (2, Token::Text(text)) => {
                let node = Node::validated(self.id, text).ok_or(Damaged)?;
                if node.live() == 0 || !stream.push_node(node) {
                    return Err(Damaged);
                }
            }
            (3, Token::Length(len)) => {
                self.len = len;
                stream.entries_added = len;
            }
            (4, Token::Length(ms)) => stream.last_id.ms = ms,
            (5, Token::Length(seq)) => stream.last_id.seq = seq,
            (6, Token::Length(ms)) => stream.first_id.ms = ms,
            (7, Token::Length(seq)) => stream.first_id.seq = seq,
            (8, Token::Length(ms)) => stream.max_deleted_id.ms = ms,
            (9, Token::Length(seq)) => stream.max_deleted_id.seq = seq,
            (10, Token::Length(added)) => stream.entries_added = added,
            _ => return Err(Damaged),
        }
        Ok(())
    }

    fn group_token(&mut self, at: usize, token: Token<'_>) -> Result<(), Damaged> {
        if let (0, Token::Text(name)) = (at, &token) {
            self.close_group()?;
            self.group = Some(Open {
                name: name.clone(),
                group: Group::default(),
                pending: BTreeMap::new(),
                delivered_ms: 0,
                consumer: None,
                consumer_name: Vec::new(),
            });
            return Ok(());
        }
        let open = self.group.as_mut().ok_or(Damaged)?;
        let active = if self.code == 21 { 11 } else { usize::MAX };
        let owned = if self.code == 21 { 13 } else { 12 };
        match (at, token) {
            (1, Token::Length(ms)) => open.group.last_id.ms = ms,
            (2, Token::Length(seq)) => {
                open.group.last_id.seq = seq;
                if self.code == 15 {
                    self.stream.first_id = self.stream.edge(false).unwrap_or_default();
                    let read = self.stream.entries_up_to(open.group.last_id);
                    open.group.entries_read = read.map(u64::cast_signed);
                }
            }
            (3, Token::Length(read)) => {
                open.group.entries_read = Some(read.cast_signed()).filter(|read| *read >= 0);
            }
            (5, Token::Raw(bytes)) => self.id = id_of(bytes)?,
            (6, Token::Raw(bytes)) => open.delivered_ms = ms_of(bytes)?,
            (7, Token::Length(deliveries)) => {
                let given = (open.delivered_ms, deliveries);
                if open.pending.insert(self.id, given).is_some() {
                    return Err(Damaged);
                }
            }
            (9, Token::Text(name)) => open.consumer_name = name,
            (10, Token::Raw(bytes)) => {
                let created = open.group.create(&open.consumer_name, ms_of(bytes)?);
                open.consumer = Some(created.ok_or(Damaged)?);
            }
            (at, Token::Raw(bytes)) if at == active => {
                let consumer = open.consumer.ok_or(Damaged)?;
                open.group.touch(consumer, None, Some(ms_of(bytes)?));
            }
            (at, Token::Raw(bytes)) if at == owned => {
                let (id, owner) = (id_of(bytes)?, open.consumer.ok_or(Damaged)?);
                let (delivered_ms, deliveries) = open.pending.remove(&id).ok_or(Damaged)?;
                open.group.give(Pending { id, delivered_ms, deliveries, owner });
            }
            _ => return Err(Damaged),
        }
        Ok(())
    }

    fn close_group(&mut self) -> Result<(), Damaged> {
        let Some(open) = self.group.take() else { return Ok(()) };
        let new = self.stream.groups_mut().insert(&open.name, open.group);
        if new && open.pending.is_empty() { Ok(()) } else { Err(Damaged) }
    }
}

fn id_of(bytes: &[u8]) -> Result<StreamId, Damaged> {
    let bytes: [u8; 16] = bytes.try_into().map_err(|_| Damaged)?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = bytes;
    let ms = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
    Ok(StreamId { ms, seq: u64::from_be_bytes([i, j, k, l, m, n, o, p]) })
}

fn ms_of(bytes: &[u8]) -> Result<i64, Damaged> {
    bytes.try_into().map(i64::from_le_bytes).map_err(|_| Damaged)
}
