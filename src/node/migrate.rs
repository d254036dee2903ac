//! MIGRATE: keys go to another server.
//!
//! ```text
//!   parse -> intents on the keys, on whatever cores they are (`transactions.rs`)
//!         -> all granted: their values as RESTORE requests, for the outside to deliver (`Action::Migrate`)
//!         -> delivered: what was acknowledged is deleted, in the stream as DEL; the rest stays
//! ```
//!
//! While the other server is spoken to nobody else changes the keys, and everything else goes on: no core
//! waits, only the client does. A section (FLUSHALL, a snapshot's cut) waits for it, at most as long as the
//! request's own time-out allows.
//!
//! Trap: of a key whose reply did not come nobody knows whether the other server has it. It stays here,
//! so it may be on both, never on none.
//!
//! Not here: the connection (`runtime/migrations.rs`), payloads (`snapshot/payload.rs`).

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::engine::collections::Carried;
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn};
use crate::node::intents::{Mode, Number};
use crate::node::message::{self, RequestHead};
use crate::node::outbox::{Action, Outbox};
use crate::node::transactions::{Asker, Form, NOBODY, Wanted, Wants, Work};
use crate::resp::error::ErrorKind;
use crate::resp::reply::{Proto, Reply, write_request};
use crate::snapshot::payload;
use crate::types::store::ValueRef;

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::new(rows::MIGRATE, migrate),
];

/// What the outside is to deliver; answered by `Input::Migrated`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    pub number: u64,
    pub host: String,
    pub port: u16,
    pub timeout_ms: u64,
    pub db: i64,
    /// AUTH as a request.
    pub auth: Option<Vec<u8>>,
    /// RESTORE requests, and how many.
    pub restores: Vec<u8>,
    pub count: usize,
}

/// What became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Migrated {
    /// For each RESTORE that was answered: is the key there now?
    pub acknowledged: Vec<bool>,
    /// The first error that the other server said, without its dash.
    pub refused: Option<Vec<u8>>,
    pub failed: Option<Failed>,
}

/// Where the connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    Connecting,
    Writing,
    Reading,
}

/// A migration that is being delivered: its work, the values of its keys, and which of them were sent.
#[derive(Debug)]
pub(super) struct Migrating {
    work: Work,
    values: Vec<Option<Carried>>,
    sent: Vec<usize>,
    copy: bool,
}

/// Where nothing sensible is said of how long to wait, in milliseconds.
const TIMEOUT_MS: u64 = 1_000;

#[derive(Debug)]
struct Options<'a> {
    copy: bool,
    replace: bool,
    auth: Vec<&'a [u8]>,
    keys: &'a [&'a [u8]],
    db: i64,
    timeout_ms: u64,
}

impl<'a> Options<'a> {
    fn parse(args: Args<'a>) -> Result<Self, ErrorKind> {
        let mut options = Self {
            copy: false,
            replace: false,
            auth: Vec::new(),
            keys: &args.words()[3..4],
            db: 0,
            timeout_ms: 0,
        };
        let mut at = 6;
        while at < args.len() {
            let more = args.len() - at - 1;
            if args.is(at, "COPY") {
                options.copy = true;
            } else if args.is(at, "REPLACE") {
                options.replace = true;
            } else if args.is(at, "AUTH") && more >= 1 {
                options.auth = args.words()[at + 1..=at + 1].to_vec();
                at += 1;
            } else if args.is(at, "AUTH2") && more >= 2 {
                options.auth = args.words()[at + 1..=at + 2].to_vec();
                at += 2;
            } else if args.is(at, "KEYS") {
                if !args[3].is_empty() {
                    return Err(ErrorKind::MigrateKeys);
                }
                options.keys = &args.words()[at + 1..];
                break;
            } else {
                return Err(ErrorKind::Syntax);
            }
            at += 1;
        }
        let number = |at: usize| parse_i64(&args[at]).ok_or(ErrorKind::NotAnInteger);
        let timeout = number(5)?;
        options.db = number(4)?;
        options.timeout_ms = u64::try_from(timeout).ok().filter(|&ms| ms > 0).unwrap_or(TIMEOUT_MS);
        Ok(options)
    }
}

/// `MIGRATE host port key | "" db timeout [COPY] [REPLACE] [AUTH password | AUTH2 name password] [KEYS key ..]`
fn migrate(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    let options = Options::parse(args)?;
    let (conn, db) = (cx.conn, cx.db());
    let mode = if options.copy { Mode::Shared } else { Mode::Exclusive };
    let mut wants = Wants::default();
    for &key in options.keys {
        let (core, hash) = (cx.core.owner(key), cx.core.keyspace.hash(key));
        wants.add(Wanted { core, db, key: key.into(), hash, mode, look: true, seen: None });
    }
    let session = cx.session();
    let (generation, muted, proto) = (session.generation, session.is_muted(), session.proto);
    let head = RequestHead { db: session.db, proto, ..NOBODY };
    let mut frames = Vec::new();
    message::push_request(&mut frames, &head, args.iter());
    let slot = cx.core.with_flight(conn, |flight| flight.depart(None, true, muted));
    let asker = Asker::Client { conn, generation, slot };
    let wanted = wants.into_keys();
    let form = Form::Migration;
    cx.core.begin_work(Work { asker, frames, form, writes: true, waits: false, wanted });
    cx.later = true;
    Ok(())
}

impl Core {
    /// A migration has its keys: what they hold is to be delivered.
    pub(super) fn send_keys_away(
        &mut self,
        number: Number,
        work: Work,
        values: Vec<Option<Carried>>,
        out: &mut Outbox,
    ) {
        let (mut rest, mut words) = (work.frames.as_slice(), Vec::new());
        message::pop_request(&mut rest, &mut words);
        let args = Args::new(&words);
        let Ok(options) = Options::parse(args) else {
            return self.let_go(number, &work, Vec::new(), None); // It was parsed before.
        };
        let (mut restores, mut sent) = (Vec::new(), Vec::new());
        for (at, it) in work.wanted.iter().enumerate() {
            let own = || self.keyspace.copy_out(it.db, it.key());
            let carried = if it.core == self.id { own() } else { values[at].clone() };
            if let Some(carried) = carried
                && self.add_restore(&mut restores, &it.key, &carried, options.replace)
            {
                sent.push(at);
            }
        }
        if sent.is_empty() {
            self.let_go(number, &work, Vec::new(), None);
            return self.answer_work(&work, b"+NOKEY\r\n", out);
        }
        let auth = (!options.auth.is_empty()).then(|| {
            let mut request = Vec::new();
            write_request(&mut request, &[&[b"AUTH".as_slice()], &options.auth[..]].concat());
            request
        });
        let port = parse_i64(&args[2]).and_then(|port| u16::try_from(port).ok()).unwrap_or(0);
        out.actions.push(Action::Migrate(Box::new(Migration {
            number,
            host: String::from_utf8_lossy(&args[1]).into_owned(),
            port,
            timeout_ms: options.timeout_ms,
            db: options.db,
            auth,
            restores,
            count: sent.len(),
        })));
        let copy = options.copy;
        self.tx.migrating.insert(number, Migrating { work, values, sent, copy });
    }

    /// A key as RESTORE has it; false: its time is over.
    pub(super) fn add_restore(
        &self,
        out: &mut Vec<u8>,
        key: &[u8],
        it: &Carried,
        replace: bool,
    ) -> bool {
        let now = self.now.wall.ms();
        let ttl = match it.expiry {
            Some(ms) if ms < now => return false,
            Some(ms) => (ms - now).max(1),
            None => 0,
        };
        let mut bytes = Vec::new();
        if !payload::write(&mut bytes, ValueRef::of_value(&it.value, it.encoding)) {
            return false;
        }
        payload::seal(&mut bytes);
        let ttl = ttl.to_string();
        // In a cluster the slot is on its way there, and only who asks is let in.
        let verb: &[u8] = if self.view.cluster.is_some() { b"RESTORE-ASKING" } else { b"RESTORE" };
        let words: [&[u8]; 5] = [verb, key, ttl.as_bytes(), &bytes, b"REPLACE"];
        write_request(out, &words[..if replace { 5 } else { 4 }]);
        true
    }

    /// The outside has delivered a migration, or failed to.
    pub(super) fn migrated(&mut self, number: Number, migrated: &Migrated, out: &mut Outbox) {
        if self.delivered(number, migrated, out) {
            return;
        }
        let Some(Migrating { mut work, values, sent, copy }) = self.tx.migrating.remove(&number)
        else {
            return;
        };
        let mut reply = Vec::new();
        match (&migrated.refused, migrated.failed) {
            (Some(why), _) => {
                ErrorKind::MigrateRefused { why: why.as_slice().into() }.write_to(&mut reply)
            }
            (None, Some(Failed::Connecting)) => ErrorKind::MigrateConnecting.write_to(&mut reply),
            (None, Some(Failed::Writing)) => ErrorKind::MigrateWriting.write_to(&mut reply),
            (None, Some(Failed::Reading)) => ErrorKind::MigrateReading.write_to(&mut reply),
            (None, None) => Reply { out: &mut reply, proto: Proto::Resp2 }.ok(),
        }
        let there = sent.iter().zip(&migrated.acknowledged).filter(|it| *it.1);
        let gone: Vec<&[u8]> = there.map(|(&at, _)| &*work.wanted[at].key).collect();
        if copy || gone.is_empty() {
            self.let_go(number, &work, Vec::new(), None);
            return self.answer_work(&work, &reply, out);
        }
        let words = [&[b"DEL".as_slice()], &gone[..]].concat();
        let db = work.wanted.first().map_or(0, |it| u16::try_from(it.db).unwrap_or(0));
        let command = self.shared.table.find(Args::new(&words)).unwrap_or_default();
        let mut frames = Vec::new();
        message::push_request(
            &mut frames,
            &RequestHead { command, db, ..NOBODY },
            words.into_iter(),
        );
        work.frames = frames;
        self.unpin_own(number);
        let mut deleted = Vec::new();
        let changed = self.run_work(&work, &values, true, &mut deleted, out);
        if deleted.starts_with(b"-") || changed.is_none() {
            // This server follows another one by now: the keys are its master's.
            reply = if deleted.is_empty() { reply } else { deleted };
        }
        self.let_go(number, &work, changed.unwrap_or_default(), None);
        self.answer_work(&work, &reply, out);
    }
}
