//! A core's part in slots that move as a whole to another node: it copies their keys there, and copies again what
//! has changed since (`cluster/moves.rs` decides when that is over).
//!
//! A copy is the whole value, as RESTORE has it; of a key that is gone it is a DEL. So copies may be made in any
//! order, and twice: the last one counts. Each turn's changes are noted by name (`engine/watch.rs`), from before the
//! first key is copied, and a name that waits is there once. One batch at a time is under way.
//!
//! ```text
//!   SCAN of the shard  -> names of these slots  \
//!   changes of a turn  -> names of these slots  -> a batch of RESTORE and DEL -> Action::Migrate -> acknowledged
//! ```
//!
//! Trap: a large collection that changes all the time is copied as a whole again and again.

use crate::cluster::moves::{News, Order, Question};
use crate::cluster::slots::Slots;
use crate::command::keys;
use crate::engine::watch::Names;
use crate::node::cluster::ToBus;
use crate::node::control::{Control, ControlCx};
use crate::node::core::Core;
use crate::node::following::credentials;
use crate::node::intents::{BATCHES, Number, QUESTIONS};
use crate::node::message::Message;
use crate::node::migrate::{Failed, Migrated, Migration};
use crate::node::outbox::{Action, Outbox};
use crate::resp::reply::write_request;
use core::net::IpAddr;
use std::collections::BTreeSet;

/// Keys in a batch, and the bytes after which it gets no more.
const BATCH_KEYS: usize = 128;
const BATCH_BYTES: usize = 256 << 10;

/// Buckets that are looked at in a turn: a few at a time, since they may hold nothing of these slots.
const SCAN_COUNT: usize = 64;

/// See the file's header.
#[derive(Debug)]
pub struct Export {
    job: u64,
    to: (IpAddr, u16),
    slots: Slots,
    /// Where the search for keys is; `None`: it is over.
    cursor: Option<u64>,
    /// Keys to be copied.
    waiting: BTreeSet<Vec<u8>>,
    /// The batch under way, or 0.
    batch: Number,
    /// What was said: all was copied once; nothing is left, and nobody writes.
    copied: bool,
    drains: bool,
    drained: bool,
}

impl Export {
    /// Would a turn get something done without any input?
    #[must_use]
    pub fn has_work(&self) -> bool {
        let to_say = !self.copied || self.drains && !self.drained;
        self.batch == 0 && (self.cursor.is_some() || !self.waiting.is_empty() || to_say)
    }
}

/// What core 0 has asked targets, by number, and what it still waits for.
#[derive(Debug, Default)]
pub struct Exporting {
    asked: Vec<(Number, u64, Question)>,
    next: Number,
    /// Of which job, and how many cores have not said so yet: copied, drained.
    left: (u64, usize, usize),
}

impl Core {
    /// Core 0 says what is to be done.
    pub(super) fn export(&mut self, order: Order) {
        match order {
            Order::Copy { job, ip, port, slots } => {
                self.keyspace.note_changes(true);
                self.export = Some(Box::new(Export {
                    job,
                    to: (ip, port),
                    slots,
                    cursor: Some(0),
                    waiting: BTreeSet::new(),
                    batch: 0,
                    copied: false,
                    drains: false,
                    drained: false,
                }));
            }
            Order::Drain { job } => {
                if let Some(it) = self.export.as_mut().filter(|it| it.job == job) {
                    it.drains = true;
                }
            }
            Order::End { job } => drop(self.export.take_if(|it| it.job == job)),
            Order::Ask { .. } => {}
        }
    }

    /// Keys have changed.
    pub(super) fn note_exported(&mut self, names: &Names) {
        let Some(it) = &mut self.export else { return };
        for name in names.iter().filter(|name| it.slots.contains(keys::slot(name))) {
            if !it.waiting.contains(name) {
                it.waiting.insert(name.to_vec());
            }
        }
    }

    /// All keys are gone at once, which nothing else tells.
    pub(super) fn emptied_while_exporting(&mut self) {
        if let Some(it) = &mut self.export {
            it.slots = Slots::default();
            it.cursor = None;
            it.waiting.clear();
            (it.copied, it.drains, it.drained) = (true, false, true);
            let job = it.job;
            self.exported.push((job, News::Broken("All keys were removed".into())));
        }
    }

    /// These slots are others' now. That their keys go from here is nothing that their new owner should copy.
    pub(super) fn export_no_more(&mut self, slots: &Slots) {
        let gone = |it: &mut Box<Export>| it.slots.iter().any(|slot| slots.contains(slot));
        drop(self.export.take_if(gone));
    }

    /// A slice of the work.
    pub(super) fn export_some(&mut self, out: &mut Outbox) {
        for (job, news) in std::mem::take(&mut self.exported) {
            self.tell_of_export(job, news, out);
        }
        let Some(mut it) = self.export.take_if(|it| it.has_work()) else { return };
        if let Some(cursor) = it.cursor.filter(|_| it.waiting.len() < BATCH_KEYS) {
            let (slots, waiting) = (&it.slots, &mut it.waiting);
            let next = self.keyspace.scan(0, cursor, SCAN_COUNT, self.now.wall, &mut |key, _| {
                if slots.contains(keys::slot(key)) {
                    waiting.insert(key.to_vec());
                }
            });
            it.cursor = (next != 0).then_some(next);
        }
        if it.waiting.is_empty() && it.cursor.is_none() {
            if !std::mem::replace(&mut it.copied, true) {
                self.tell_of_export(it.job, News::Copied, out);
            } else if it.drains && !std::mem::replace(&mut it.drained, true) {
                self.tell_of_export(it.job, News::Drained, out);
            }
        } else if it.waiting.len() >= BATCH_KEYS || it.cursor.is_none() {
            self.send_batch(&mut it, out);
        }
        self.export = Some(it);
    }

    fn send_batch(&mut self, it: &mut Export, out: &mut Outbox) {
        let (mut requests, mut count, mut keys) = (Vec::new(), 0, 0);
        while keys < BATCH_KEYS && requests.len() < BATCH_BYTES {
            let Some(name) = it.waiting.pop_first() else { break };
            keys += 1;
            let key = self.keyspace.key(&name);
            let copied = self.keyspace.copy_out(0, key);
            let there = copied.is_some_and(|it| self.add_restore(&mut requests, &name, &it, true));
            count += 1;
            if !there {
                write_request(&mut requests, &[b"ASKING"]);
                write_request(&mut requests, &[b"DEL", &name]);
                count += 1;
            }
        }
        self.batches += 1;
        it.batch = BATCHES | self.batches;
        let number = it.batch;
        self.deliver_elsewhere(number, it.to, requests, count, out);
    }

    fn deliver_elsewhere(
        &self,
        number: Number,
        (ip, port): (IpAddr, u16),
        restores: Vec<u8>,
        count: usize,
        out: &mut Outbox,
    ) {
        let settings = &self.view.settings;
        let [user, password] = credentials(settings);
        let auth = password.map(|password| {
            let mut request = Vec::new();
            match &user {
                Some(user) => write_request(&mut request, &[b"AUTH", user, &password]),
                None => write_request(&mut request, &[b"AUTH", &password]),
            }
            request
        });
        out.actions.push(Action::Migrate(Box::new(Migration {
            number,
            host: ip.to_string(),
            port,
            timeout_ms: u64::try_from(settings.cluster_node_timeout).unwrap_or(0).max(1_000),
            db: 0,
            auth,
            restores,
            count,
        })));
    }

    /// Was it of a move, what was delivered?
    pub(super) fn delivered(&mut self, number: Number, done: &Migrated, out: &mut Outbox) -> bool {
        if number & BATCHES != 0 {
            if let Some(it) = self.export.as_mut().filter(|it| it.batch == number) {
                it.batch = 0;
                let job = it.job;
                if let Err(why) = outcome(done) {
                    let why = why.unwrap_or_else(|| "Connection lost to target".into());
                    self.export = None;
                    self.tell_of_export(job, News::Broken(why), out);
                }
            }
            return true;
        }
        if number & QUESTIONS != 0 {
            self.with_control(out, |control, cx| control.target_answered(cx, number, done));
            return true;
        }
        false
    }

    pub(super) fn tell_of_export(&mut self, job: u64, news: News, out: &mut Outbox) {
        if self.id == 0 {
            self.with_control(out, |control, cx| control.export_news(cx, job, news));
        } else {
            out.mail[0].push(Message::Exported(Box::new((job, news))));
        }
    }
}

impl Control {
    /// The mind wants something done for slots that move.
    pub(super) fn move_slots(&mut self, cx: &mut ControlCx<'_>, order: Order) {
        if let Order::Ask { job, question, ip, port, words } = order {
            self.exporting.next += 1;
            let number = QUESTIONS | self.exporting.next;
            self.exporting.asked.push((number, job, question));
            let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
            let mut request = Vec::new();
            write_request(&mut request, &words);
            return cx.core.deliver_elsewhere(number, (ip, port), request, 1, cx.out);
        }
        if let Order::Copy { job, .. } = &order {
            self.exporting.left = (*job, self.cores, self.cores);
        }
        for core in 1..self.cores {
            cx.out.mail[core].push(Message::Export(Box::new(order.clone())));
        }
        cx.core.export(order);
    }

    fn target_answered(&mut self, cx: &mut ControlCx<'_>, number: Number, done: &Migrated) {
        let asked = &mut self.exporting.asked;
        let Some(at) = asked.iter().position(|it| it.0 == number) else { return };
        let (_, job, question) = asked.swap_remove(at);
        let result = outcome(done);
        let news = News::Answer { question, result };
        cx.out.actions.push(Action::Bus(ToBus::Moved { job, news }));
    }

    /// A core says how far it is; all of them count as one.
    pub(super) fn export_news(&mut self, cx: &mut ControlCx<'_>, job: u64, news: News) {
        let (current, copying, draining) = &mut self.exporting.left;
        if *current != job {
            return;
        }
        let left = match &news {
            News::Copied => copying,
            News::Drained => draining,
            News::Answer { .. } | News::Broken(_) => {
                return cx.out.actions.push(Action::Bus(ToBus::Moved { job, news }));
            }
        };
        *left = left.saturating_sub(1);
        if *left == 0 {
            cx.out.actions.push(Action::Bus(ToBus::Moved { job, news }));
        }
    }
}

/// Did the other side do it all? `Err(None)`: nobody knows.
fn outcome(done: &Migrated) -> Result<(), Option<String>> {
    match (&done.refused, done.failed) {
        (Some(why), _) => Err(Some(String::from_utf8_lossy(why).into_owned())),
        (None, Some(Failed::Connecting | Failed::Writing | Failed::Reading)) => Err(None),
        (None, None) => Ok(()),
    }
}
