//! What core 0 owns besides its shard: the history, the replicas, our own master, sections, files.
//!
//! Everything here concerns the whole node and is decided in one place. Other cores ask by
//! [`Ask`] and are answered on their road. The parts: `sections.rs` (all cores stand still),
//! `feeding.rs` (bytes to replicas), `snapshots.rs` (full syncs and the RDB file), `following.rs`
//! (our link to a master).
//!
//! The trap: `Control` is taken out of its core while it works ([`Core::with_control`]), so that it
//! may use the core; nested calls find none and must not be made.

use crate::base::prng::Prng;
use crate::base::time::{Mono, Now};
use crate::node::access::Change;
use crate::node::aof::Aof;
use crate::node::certificates::{self, Certificates};
use crate::node::cluster::{self, Membership, ToBus};
use crate::node::config;
use crate::node::core::{Core, FileEvent};
use crate::node::exporting::Exporting;
use crate::node::feed::Feed;
use crate::node::flow_in;
use crate::node::following::Following;
use crate::node::message::{Message, Return};
use crate::node::outbox::{Action, Conn, Level, Outbox};
use crate::node::sections::Sections;
use crate::node::settings::{AclPubsubDefault, Settings, report};
use crate::node::snapshots::Snapshots;
use crate::node::spilling::Spilling;
use crate::node::texts::{Purpose, Texts};
use crate::node::view::{Role, View};
use crate::replication::acks::{self, Counts, Waiters, Wish};
use crate::replication::failover::Failover;
use crate::replication::log::Batch;
use crate::replication::master::{self, Master};
use crate::replication::merge::Merger;
use crate::replication::psync::{History, replid_from};
use crate::replication::recent::Recent;
use crate::replication::replica;
use crate::replication::ring::Ring;
use crate::resp::error::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a core asks core 0 for, on behalf of a client.
#[derive(Debug)]
pub enum Ask {
    /// FLUSHALL, FLUSHDB, SWAPDB.
    Section(Op),
    /// `WAIT`, `WAITAOF`: after everything that was written before it.
    Wait {
        wish: Wish,
        timeout_ms: u64,
    },
    /// `CLIENT UNBLOCK`: end the WAIT of that session.
    Unblock {
        target: Return,
        error: bool,
    },
    Save,
    BgSave {
        schedule: bool,
    },
    /// `BGREWRITEAOF`
    Rewrite,
    /// `DEBUG RELOAD`.
    Reload,
    /// A core has clients of MONITOR.
    Watch {
        core: usize,
        on: bool,
    },
    /// `ACL SETUSER` and the like.
    Users(Change),
    /// A small file is to be read or replaced.
    Text(Purpose),
    ReplicaOf(Option<(Vec<u8>, u16)>),
    /// `CLUSTER`
    Cluster(crate::cluster::commands::Request),
    /// `FAILOVER`; `None`: ABORT.
    Failover(Option<crate::replication::failover::Wish>),
    /// `CONFIG SET`: names and values; `local`: the client sits on this host.
    Configure {
        words: Vec<Vec<u8>>,
        local: bool,
    },
    /// `CLIENT PAUSE` and `UNPAUSE`, for all cores.
    Pause(Option<(Mono, crate::node::pauses::Scope)>),
    Shutdown {
        save: Option<bool>,
        now: bool,
        force: bool,
        abort: bool,
    },
}

/// What is done while all cores stand still.
#[derive(Clone, Debug)]
pub enum Op {
    Flush {
        db: Option<usize>,
        in_db: usize,
        words: Vec<Vec<u8>>,
    },
    Swap {
        a: usize,
        b: usize,
        in_db: usize,
        words: Vec<Vec<u8>>,
    },
    /// FUNCTION LOAD and its like.
    Functions {
        change: crate::node::functions::Change,
        in_db: usize,
        words: Vec<Vec<u8>>,
    },
    /// Other users, or the same with other rules.
    Users(Change),
    /// Begin a snapshot's walk on all cores.
    Cut,
    /// Log writes from here on, or no longer.
    Stream {
        on: bool,
    },
    /// Nothing: all cores were seen to stand still, and what they wrote is in the stream.
    Still {
        pause: u64,
    },
    /// Become a replica or a master: what happens to the history is done at this instant.
    Role,
}

/// See the file's header.
#[derive(Debug)]
pub struct Control {
    pub(super) cores: usize,
    pub(super) history: History,
    pub(super) ring: Option<Ring>,
    pub(super) merger: Merger,
    pub(super) master: Master,
    pub(super) waiters: Waiters,
    waiting: Vec<(u64, Wish, Return)>,
    early: Vec<Early>,
    next_waiter: u64,
    pub(super) feeds: Vec<Feed>,
    pub(super) sections: Sections,
    pub(super) snapshots: Snapshots,
    pub(super) following: Following,
    pub(super) failover: Failover,
    pub(super) texts: Texts,
    pub(super) certificates: Certificates,
    pub(super) aof: Aof,
    pub(super) spilling: Spilling,
    pub(super) membership: Membership,
    pub(super) exporting: Exporting,
    pub(super) view: View,
    pub(super) run_id: String,
    pub(super) started: Mono,
    recent: Recent,
    /// Writers wait for a replica that is far behind: since when, how often, and how long so far.
    pub(super) held_back: HeldBack,
    /// Full syncs that had to wait because one of the same replica had just been.
    pub(super) syncs_paced: u64,
    pub(super) reasons: Vec<(crate::replication::psync::FullReason, u64)>,
    /// When the last replica left, for `repl-backlog-ttl`.
    alone_since: Option<Mono>,
    replid_source: Prng,
    outputs: Vec<master::Output>,
    pub(super) streamed: u64,
    pub(super) exiting: Option<Exiting>,
    /// This master started without data, and nobody said that it should.
    pub(super) born_empty: bool,
}

/// Writers that wait for a replica.
#[derive(Debug, Default)]
pub(super) struct HeldBack {
    pub(super) since: Option<Mono>,
    pub(super) times: u64,
    pub(super) ms: u64,
}

/// A WAIT that came before the writes of lower tickets.
#[derive(Debug)]
struct Early {
    ticket: u64,
    waiter: u64,
    wish: Wish,
    deadline: Option<Mono>,
}

/// A shutdown under way.
#[derive(Debug)]
pub struct Exiting {
    pub askers: Vec<Return>,
    pub save: bool,
    pub force: bool,
    /// Replicas get so long to catch up.
    pub deadline: Mono,
    pub saving: bool,
}

/// The rest of core 0, lent to its control.
pub struct ControlCx<'c> {
    pub core: &'c mut Core,
    pub out: &'c mut Outbox,
}

impl ControlCx<'_> {
    #[must_use]
    pub fn now(&self) -> Now {
        self.core.now
    }

    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.out.log(level, text);
    }

    /// Answers what a core asked for a client.
    pub fn answer(&mut self, to: Return, reply: &[u8]) {
        if to.core == 0 {
            self.core.answer(to.conn, to.generation, to.slot, reply);
        } else {
            let mut frames = Vec::new();
            crate::node::message::push_reply(
                &mut frames,
                to.conn,
                to.generation,
                to.slot,
                to.part,
                |out| out.extend_from_slice(reply),
            );
            self.out.mail[to.core].push(Message::Answer(frames));
        }
    }

    pub fn answer_ok(&mut self, to: Return) {
        self.answer(to, b"+OK\r\n");
    }

    pub fn answer_error(&mut self, to: Return, error: &ErrorKind) {
        let mut reply = Vec::new();
        error.write_to(&mut reply);
        self.answer(to, &reply);
    }
}

impl Core {
    /// Lends the control its core; nothing happens on other cores than 0.
    pub(super) fn with_control(
        &mut self,
        out: &mut Outbox,
        act: impl FnOnce(&mut Control, &mut ControlCx<'_>),
    ) {
        if let Some(mut control) = self.control.take() {
            act(&mut control, &mut ControlCx { core: self, out });
            self.control = Some(control);
        }
    }
}

impl Control {
    #[must_use]
    pub(super) fn new(cores: usize, view: &View, prng: &mut Prng, now: Now) -> Self {
        let mut source = Prng::new(prng.next_u64());
        let replid = new_replid(&mut source);
        let run_id = String::from_utf8_lossy(&new_replid(&mut source)).into_owned();
        Self {
            cores,
            history: History::new(replid),
            ring: None,
            merger: Merger::default(),
            master: Master::new(master_settings(&view.settings, cores), now.mono),
            waiters: Waiters::default(),
            waiting: Vec::new(),
            early: Vec::new(),
            next_waiter: 0,
            feeds: Vec::new(),
            sections: Sections::default(),
            snapshots: Snapshots::new(now),
            following: Following::new(&view.settings, cores, now),
            failover: Failover::default(),
            texts: Texts::default(),
            certificates: Certificates::default(),
            aof: Aof::default(),
            spilling: Spilling::default(),
            membership: Membership::default(),
            exporting: Exporting::default(),
            view: view.clone(),
            run_id,
            started: now.mono,
            recent: Recent::default(),
            held_back: HeldBack::default(),
            syncs_paced: 0,
            reasons: Vec::new(),
            alone_since: None,
            replid_source: source,
            outputs: Vec::new(),
            streamed: 0,
            exiting: None,
            born_empty: false,
        }
    }

    /// Bytes of the history so far: INFO's `master_repl_offset`.
    #[must_use]
    pub(super) fn offset(&self) -> u64 {
        self.ring.as_ref().map_or(self.following.idle_offset, Ring::end)
    }

    /// The history's length of which the keyspace is the outcome, when nothing is under way.
    #[must_use]
    pub(super) fn data_offset(&self) -> u64 {
        match self.view.is_replica() {
            true => self.following.applied_offset(),
            false => self.offset(),
        }
    }

    /// A core's writes of one turn.
    pub(super) fn effects(&mut self, cx: &mut ControlCx<'_>, batch: Batch) {
        self.merger.push(batch);
        let Some(ring) = self.ring.as_mut() else { return };
        let mut used = Vec::new();
        let before = ring.end();
        self.merger.merge_into(ring, &mut used);
        for bytes in used {
            cx.core.log.recycle(bytes);
        }
        let grown = ring.end() > before;
        // Sent before any reply of this turn; what waits for an earlier ticket holds its replies.
        if !self.drops_replies() {
            cx.core.streamed(self.answerable());
        }
        if grown {
            self.tell_replicas(cx, master::Input::Appended);
            self.trim();
        }
        if !self.early.is_empty() {
            self.begin_early_waits(cx);
        }
    }

    /// Something happened to a replica: carries out what follows from it.
    pub(super) fn tell_replicas(&mut self, cx: &mut ControlCx<'_>, input: master::Input<'_>) {
        if matches!(input, master::Input::Appended) {
            self.note_marks();
        }
        let mut outputs = std::mem::take(&mut self.outputs);
        let stream = self.following.stream_of(&self.history, self.ring.as_ref());
        self.master.handle(cx.now().mono, &stream, input, &mut outputs);
        for output in outputs.drain(..) {
            self.carry_out(cx, output);
        }
        self.outputs = outputs;
        // What was put into the stream itself must be asked for before a feed sees it.
        if std::mem::take(&mut self.snapshots.appended) {
            self.tell_replicas(cx, master::Input::Appended);
        }
    }

    /// Keeps `repl-backlog-size`, and what an attached replica still needs.
    pub(super) fn trim(&mut self) {
        let slowest = self.master.slowest_cursor();
        if let Some(ring) = self.ring.as_mut() {
            // One that is being closed may have been in the ring before this one.
            let inside = |at: &u64| (ring.start()..=ring.end()).contains(at);
            let slowest = slowest.filter(inside);
            let file = self.aof.needs().filter(inside);
            let slowest = [slowest, file].into_iter().flatten().min();
            let settings = &self.view.settings;
            let lately = self.recent.bytes(ring.end()).min(settings.repl_backlog_max);
            ring.trim(settings.repl_backlog_size.max(lately), slowest);
        }
    }

    /// Ten times a second.
    pub(super) fn tick(&mut self, cx: &mut ControlCx<'_>) {
        let seconds = u64::from(self.view.settings.repl_backlog_seconds);
        self.recent.note(cx.now().mono, self.offset(), seconds);
        self.tell_replicas(cx, master::Input::Tick);
        self.snapshot_receiver_gone(cx);
        self.follow_tick(cx);
        self.membership_tick(cx);
        self.step_failover(cx);
        self.wait(cx, acks::Input::Tick);
        self.check_good_replicas(cx);
        self.check_backlog_age(cx);
        self.save_rules(cx);
        self.aof_tick(cx);
        self.exit_when_ready(cx);
        self.run_sections(cx);
    }

    /// After a turn of core 0: the stream that it made is about to be sent.
    pub(super) fn end_of_turn(&mut self, cx: &mut ControlCx<'_>) {
        self.wait(cx, acks::Input::TurnEnded);
        let now = cx.now().mono;
        if self.following.replica.ack_due().is_some_and(|at| at <= now) {
            self.tell_link(cx, replica::Input::Tick, &[]);
        }
        self.settle_held_back(cx);
        self.aof_pump(cx);
        self.flush_flows(cx);
        self.spill(cx);
        self.tell_answerable(cx);
    }

    /// A client's request that concerns the node.
    pub(super) fn asked(&mut self, cx: &mut ControlCx<'_>, from: Return, ask: Ask) {
        match ask {
            Ask::Section(op) => self.section(cx, op, Some(from)),
            Ask::Wait { wish, timeout_ms } => self.begin_wait(cx, from, wish, timeout_ms),
            Ask::Unblock { target, error } => self.unblock(cx, from, target, error),
            Ask::Save => self.save(cx, Some(from), true),
            Ask::Rewrite => self.rewrite_asked(cx, from),
            Ask::BgSave { schedule } => self.background_save(cx, from, schedule),
            Ask::Reload => self.reload(cx, from),
            Ask::Watch { core, on } => {
                self.watch(cx, core, on);
                cx.answer_ok(from);
            }
            Ask::Users(change) => self.section(cx, Op::Users(change), Some(from)),
            Ask::Text(purpose) => self.text_asked(cx, from, purpose),
            Ask::ReplicaOf(master) => self.replica_of(cx, from, master),
            Ask::Cluster(request) => self.ask_bus(cx, from, request),
            Ask::Failover(wish) => self.failover(cx, from, wish),
            Ask::Configure { words, local } => self.configure(cx, from, &words, local),
            Ask::Pause(pause) => {
                cx.core.pause_here(pause, cx.out);
                for core in 1..self.cores {
                    cx.out.mail[core].push(Message::Pause(pause));
                }
                cx.answer_ok(from);
            }
            Ask::Shutdown { save, now, force, abort } => {
                self.shutdown(cx, Some(from), save, now, force, abort);
            }
        }
    }

    /// A connection of core 0 is gone.
    pub(super) fn ended(&mut self, cx: &mut ControlCx<'_>, conn: Conn, generation: u32) {
        self.feeds.retain(|feed| feed.conn != conn);
        self.log_lag(cx, link_id(conn, generation));
        self.tell_replicas(cx, master::Input::Closed { from: link_id(conn, generation) });
        self.snapshot_receiver_gone(cx);
        self.link_ended(cx, conn);
    }

    /// A replica's link ends: how far it was behind meanwhile.
    fn log_lag(&self, cx: &mut ControlCx<'_>, link: u64) {
        let ended = self.master.following().find(|it| it.link == link);
        if let Some(replica) = ended.filter(|it| it.sent_lag.summary().count > 0) {
            let (ip, port) = (String::from_utf8_lossy(&replica.ip), replica.port);
            let (sent, acked) = (replica.sent_lag.summary(), replica.ack_lag.summary());
            let text =
                format!("Lag of replica {ip}:{port} in us: sent {sent}; acknowledged {acked}");
            cx.log(Level::Notice, text);
        }
    }

    /// A replica past its limit that takes bytes holds writers back, or the link to our own master.
    pub(super) fn settle_held_back(&mut self, cx: &mut ControlCx<'_>) {
        let (now, end) = (cx.now().mono, self.offset());
        let replicas = self.ring.is_some() && self.master.writers_wait(now, end);
        let waits = replicas || self.aof_is_behind() || self.spill_is_behind();
        if waits == self.held_back.since.is_some() {
            return;
        }
        if waits {
            self.held_back.since = Some(now);
            self.held_back.times += 1;
            if self.held_back.times == 1 {
                let who = if replicas { "A replica" } else { "A file" };
                cx.log(Level::Warning, format!("{who} is far behind: writers wait for it"));
            }
        } else if let Some(since) = self.held_back.since.take() {
            self.held_back.ms += now.ms_since(since);
        }
        if self.view.is_replica() {
            self.pace_link(cx);
        }
        self.settle_writes_wait(cx);
    }

    /// Sends every core the view, after it changed.
    pub(super) fn show(&mut self, cx: &mut ControlCx<'_>) {
        self.view.settle();
        cx.core.see(self.view.clone());
        for core in 1..self.cores {
            cx.out.mail[core].push(Message::View(Box::new(self.view.clone())));
        }
    }

    pub(super) fn new_replid(&mut self) -> [u8; 40] {
        new_replid(&mut self.replid_source)
    }

    /// The asking core has checked this against its own copy; this one decides.
    fn configure(&mut self, cx: &mut ControlCx<'_>, from: Return, asked: &[Vec<u8>], local: bool) {
        let words: Vec<&[u8]> = asked.iter().map(Vec::as_slice).collect();
        match config::set_running(&self.view.settings, &words, local) {
            Ok(changed) if certificates::concerns(&changed.rows) => {
                self.certificates_asked(cx, from, asked.to_vec(), local);
            }
            Ok(_) => self.configure_now(cx, from, asked, local),
            Err(error) => cx.answer_error(from, &error.reply()),
        }
    }

    pub(super) fn configure_now(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: Return,
        words: &[Vec<u8>],
        local: bool,
    ) {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        match config::set_running(&self.view.settings, &words, local) {
            Ok(changed) => {
                for line in report(&changed.warnings) {
                    cx.log(Level::Warning, line);
                }
                let has = |name| changed.rows.iter().any(|row| row.name == name);
                let (password, channels) = (has("requirepass"), has("acl-pubsub-default"));
                self.apply_settings(cx, from, changed.settings, password, channels);
            }
            Err(error) => cx.answer_error(from, &error.reply()),
        }
    }

    fn apply_settings(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: Return,
        settings: Settings,
        password: bool,
        channels: bool,
    ) {
        self.view.settings = Arc::new(settings);
        if password {
            let users = self.view.users.requiring(&self.view.settings.requirepass.0);
            self.view.users = Arc::new(users);
        }
        if channels {
            let all = self.view.settings.acl_pubsub_default == AclPubsubDefault::AllChannels;
            Arc::make_mut(&mut self.view.users).all_channels = all;
        }
        self.master.settings = master_settings(&self.view.settings, self.cores);
        self.settle_spill_budget();
        self.following.configure(&self.view.settings, self.cores);
        if self.view.settings.cluster_enabled {
            let settings = Box::new(cluster::bus_settings(&self.view.settings));
            cx.out.actions.push(Action::Bus(ToBus::Configure(settings)));
        }
        if self.view.settings.min_replicas_to_write == 0 {
            self.view.few_replicas = false;
        }
        self.settle_save_failed();
        self.settle_aof(cx);
        cx.out.actions.push(Action::SettingsChanged);
        self.show(cx);
        self.trim();
        cx.answer_ok(from);
    }

    fn begin_wait(&mut self, cx: &mut ControlCx<'_>, from: Return, wish: Wish, timeout_ms: u64) {
        let waiter = self.next_waiter;
        self.next_waiter += 1;
        self.waiting.push((waiter, wish, from));
        let deadline = (timeout_ms > 0).then(|| cx.now().mono.plus_ms(timeout_ms));
        let ticket = self.ring.as_ref().map_or(0, |_| self.tickets(cx.core).0);
        self.early.push(Early { ticket, waiter, wish, deadline });
        self.begin_early_waits(cx);
    }

    /// A client's own writes came by the road that its WAIT came by, but they are in the stream only
    /// when all earlier tickets are, and those may still be on the roads of other cores.
    fn begin_early_waits(&mut self, cx: &mut ControlCx<'_>) {
        let merged = self.merger.merged_through();
        let offset = self.offset();
        while let Some(at) = self.early.iter().position(|it| it.ticket <= merged) {
            let Early { waiter, wish, deadline, .. } = self.early.remove(at);
            self.wait(cx, acks::Input::Wait { waiter, wish, offset, deadline });
        }
    }

    pub(super) fn wait(&mut self, cx: &mut ControlCx<'_>, input: acks::Input) {
        let mut outputs = Vec::new();
        let (master, synced) = (&self.master, self.aof.synced());
        let counts = |offset| counts_of(master, synced, offset);
        self.waiters.handle(cx.now().mono, counts, input, &mut outputs);
        for output in outputs {
            match output {
                acks::Output::Answer { waiter, wish, counts } => {
                    if let Some(from) = self.waited(waiter) {
                        cx.answer(from, &wait_reply(wish, counts));
                    }
                }
                acks::Output::Refuse { waiter } => {
                    if let Some(from) = self.waited(waiter) {
                        cx.answer_error(from, &ErrorKind::WaitAofWithoutFile);
                    }
                }
                acks::Output::GetAck => {
                    if let Some(ring) = self.ring.as_mut() {
                        self.merger.get_ack(ring);
                        self.tell_replicas(cx, master::Input::Appended);
                    }
                }
            }
        }
    }

    /// Who waits under that number, and does no longer.
    fn waited(&mut self, waiter: u64) -> Option<Return> {
        let at = self.waiting.iter().position(|(it, ..)| *it == waiter)?;
        Some(self.waiting.swap_remove(at).2)
    }

    fn unblock(&mut self, cx: &mut ControlCx<'_>, from: Return, target: Return, error: bool) {
        let same = |it: &Return| {
            it.core == target.core && it.conn == target.conn && it.generation == target.generation
        };
        let found = self.waiting.iter().position(|(.., it)| same(it));
        if let Some(at) = found {
            let (waiter, wish, blocked) = self.waiting.swap_remove(at);
            self.early.retain(|it| it.waiter != waiter);
            self.wait(cx, acks::Input::Gone { waiter });
            if error {
                cx.answer_error(blocked, &ErrorKind::Unblocked);
            } else {
                let counts = counts_of(&self.master, self.aof.synced(), self.offset());
                cx.answer(blocked, &wait_reply(wish, counts));
            }
        }
        cx.answer(from, if found.is_some() { b":1\r\n" } else { b":0\r\n" });
    }

    fn check_good_replicas(&mut self, cx: &mut ControlCx<'_>) {
        let settings = &self.view.settings;
        let wanted = settings.min_replicas_to_write as usize;
        let lag_max = u64::from(settings.min_replicas_max_lag);
        let few =
            wanted > 0 && lag_max > 0 && self.master.good_replicas(cx.now().mono, lag_max) < wanted;
        if few != self.view.few_replicas {
            self.view.few_replicas = few;
            self.show(cx);
        }
    }

    /// Without replicas for `repl-backlog-ttl` the backlog is given up, and with it the history:
    /// from here on writes are not logged, so nobody could continue it.
    fn check_backlog_age(&mut self, cx: &mut ControlCx<'_>) {
        let attached = self.master.rows(cx.now().mono).next().is_some();
        if attached || self.aof.is_on() || self.ring.is_none() || self.view.role != Role::Master {
            self.alone_since = None;
            return;
        }
        let since = *self.alone_since.get_or_insert(cx.now().mono);
        let ttl = u64::try_from(self.view.settings.repl_backlog_ttl).unwrap_or(0);
        if ttl > 0 && cx.now().mono.ms_since(since) >= ttl * 1_000 && self.sections.is_idle() {
            self.alone_since = None;
            self.section(cx, Op::Stream { on: false }, None);
        }
    }

    /// The RDB file's reader or writer said something.
    pub(super) fn file(&mut self, cx: &mut ControlCx<'_>, event: FileEvent) {
        self.file_event(cx, event);
    }

    /// What INFO and DEBUG want to know of the tickets.
    #[must_use]
    pub(super) fn tickets(&self, core: &Core) -> (u64, u64) {
        (core.shared.tickets.load(Ordering::Acquire), self.merger.merged_through())
    }
}

/// Who has `offset` of the history; `synced` is what our own file has of it.
fn counts_of(master: &Master, synced: Option<u64>, offset: u64) -> Counts {
    let local = synced.is_some_and(|synced| synced >= offset);
    Counts { replicas: master.acked(offset), files: master.synced(offset), local }
}

fn wait_reply(wish: Wish, counts: Counts) -> Vec<u8> {
    let Counts { replicas, files, local } = counts;
    match wish {
        Wish::Replicas(_) => format!(":{replicas}\r\n").into_bytes(),
        Wish::Files { .. } => format!("*2\r\n:{}\r\n:{files}\r\n", u8::from(local)).into_bytes(),
    }
}

/// The replication machine's name for a connection.
#[must_use]
pub(super) fn link_id(conn: Conn, generation: u32) -> u64 {
    u64::from(generation) << 32 | u64::from(conn.0)
}

/// The connection that a link is.
#[must_use]
pub(super) fn conn_of(link: u64) -> Conn {
    Conn(u32::try_from(link & u64::from(u32::MAX)).unwrap_or_default())
}

pub(super) fn master_settings(settings: &Settings, cores: usize) -> master::Settings {
    let limit = settings.client_output_buffer_limit.replica;
    master::Settings {
        ping_period_ms: u64::from(settings.repl_ping_replica_period) * 1_000,
        timeout_ms: u64::from(settings.repl_timeout) * 1_000,
        snapshot_delay_ms: u64::try_from(settings.repl_diskless_sync_delay).unwrap_or(0) * 1_000,
        snapshot_replicas_max: usize::try_from(settings.repl_diskless_sync_max_replicas)
            .unwrap_or(0),
        output_hard_bytes: limit.hard,
        output_soft_bytes: limit.soft,
        output_soft_ms: u64::from(limit.soft_seconds) * 1_000,
        backlog_bytes: settings.repl_backlog_size,
        spill_bytes: settings.repl_spill_size,
        writers_wait_ms: u64::from(settings.repl_writers_wait) * 1_000,
        flows: if flow_in::are_wanted(settings, cores) { cores } else { 0 },
    }
}

fn new_replid(source: &mut Prng) -> [u8; 40] {
    let mut random = [0; 20];
    for chunk in random.chunks_mut(8) {
        let bytes = source.next_u64().to_le_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
    replid_from(random)
}
