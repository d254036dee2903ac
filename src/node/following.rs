//! Being a replica: the link to our master, and its stream applied. Its snapshot is loaded by
//! `loading.rs`.
//!
//! ```text
//!   link bytes -> replication::replica -> Load  -> decoder -> entries -> the cores that own them
//!                                      -> Apply -> commands          -> the cores that own them
//! ```
//!
//! Entries and commands travel as requests of [`LINK`]; their replies only count down what is under
//! way. How the stream is applied: `applying.rs`.
//!
//! The trap: nothing is acknowledged, and no new link begun, while something is under way: what
//! would be asked for again would be applied twice.

use crate::base::time::Now;
use crate::node::control::{Control, ControlCx, Op};
use crate::node::flow_in::{self, FlowsIn};
use crate::node::flow_link::Routed;
use crate::node::loading::Load;
use crate::node::message::Return;
use crate::node::outbox::{Action, Conn, Level};
use crate::node::session::{Ends, Kind, Session};
use crate::node::settings::Settings;
use crate::node::settings::kind::Master as NamedMaster;
use crate::node::view::Role;
use crate::replication::lag::{Marks, Stage};
use crate::replication::master::{Source, Stream};
use crate::replication::psync::History;
use crate::replication::replica::{self, Input, Output, Replica};
use crate::replication::ring::Ring;
use crate::resp::error::ErrorKind;
use std::collections::VecDeque;
use std::sync::Arc;

/// The connection that applied commands come by on the roads between cores: none.
pub const LINK: Conn = Conn(u32::MAX);

/// Nobody: what is asked so is answered to no one.
pub const NOBODY: Conn = Conn(u32::MAX - 1);

/// See the file's header.
#[derive(Debug)]
pub struct Following {
    pub replica: Replica,
    /// Host and port of our master.
    pub master: Option<(Vec<u8>, u16)>,
    pub(super) link: Option<Conn>,
    /// Further connections that bring its stream.
    pub flows: FlowsIn,
    /// A piece of the file was asked for.
    pub(super) reading: bool,
    pub(super) paused: bool,
    /// Bytes of the link that the machine has not consumed.
    pub(super) bytes: Vec<u8>,
    /// Whole units to apply.
    pub(super) units: VecDeque<Queued>,
    pub(super) units_bytes: usize,
    /// Requests sent to other cores and not answered, and transactions.
    pub(super) under_way: usize,
    /// Units of it that are transactions over several cores.
    pub transactions: usize,
    /// A part of the next unit is applied, and the rest waits.
    pub(super) begun: bool,
    /// The next unit waits for a key that a client's transaction reads.
    pub(super) blocked: bool,
    /// A section runs for a unit.
    pub(super) in_section: bool,
    /// What is under way may yet ask for any key: nothing else is applied meanwhile.
    pub(super) alone: bool,
    /// Units are being applied: not again within that.
    pub(super) pumping: bool,
    /// A snapshot is to be cut between two units.
    pub(super) cut_wanted: bool,
    pub(super) applied: u64,
    /// The stream's database.
    pub(super) db: usize,
    pub(super) load: Option<Load>,
    /// The history's length while there is no ring.
    pub idle_offset: u64,
    /// REPLICAOF: who asks, and for which master. The first waits until nothing is under way.
    pub(super) changes: VecDeque<Change>,
    /// Its section runs or is about to.
    pub(super) changing: bool,
    /// The file named this history: a replica may continue it.
    pub(super) saved: Option<([u8; 40], u64)>,
    pub loaded_keys: u64,
    /// When the load began, and how much of it was read.
    pub(super) load_began_s: u64,
    pub(super) load_bytes: u64,
    /// The stream's database at the cut of the snapshot that was loaded.
    pub(super) loaded_db: usize,
    /// DEBUG RELOAD is answered when the file is loaded.
    pub(super) reload: Option<Return>,
    /// Units and when they came, and how long they took to be applied.
    pub(super) came: Marks,
    pub(super) applied_lag: Stage,
    /// A unit was none that can be applied.
    pub(super) refused: Option<String>,
}

/// Units that wait to be applied.
#[derive(Debug)]
pub(super) struct Queued {
    pub bytes: Vec<u8>,
    /// A flow's, which its core has read; then there are no bytes.
    pub routed: Option<(Box<Routed>, usize)>,
    /// The history's length after it.
    pub end: u64,
}

/// Another master by its host and port, or none.
#[derive(Debug)]
pub(super) struct Change {
    pub why: Why,
    pub master: Option<(Vec<u8>, u16)>,
}

/// What a role changes for.
#[derive(Debug)]
pub(super) enum Why {
    /// REPLICAOF, or at the start the configuration.
    Wanted(Option<Return>),
    /// A replica of ours takes over.
    Failover { forced: bool },
    /// It did not.
    FailoverRefused,
    /// Our master wants us to take over, and waits for an answer to its PSYNC.
    Request { conn: Conn, generation: u32, psync: [Vec<u8>; 2] },
}

impl Following {
    #[must_use]
    pub fn new(settings: &Settings, cores: usize, now: Now) -> Self {
        Self {
            replica: Replica::new(link_settings(settings, cores), now.mono),
            master: None,
            link: None,
            flows: FlowsIn::default(),
            reading: false,
            paused: false,
            bytes: Vec::new(),
            units: VecDeque::new(),
            units_bytes: 0,
            under_way: 0,
            transactions: 0,
            begun: false,
            blocked: false,
            in_section: false,
            alone: false,
            pumping: false,
            cut_wanted: false,
            applied: 0,
            db: 0,
            load: None,
            idle_offset: 0,
            changes: VecDeque::new(),
            changing: false,
            saved: None,
            loaded_keys: 0,
            load_began_s: 0,
            load_bytes: 0,
            loaded_db: 0,
            reload: None,
            refused: None,
            came: Marks::default(),
            applied_lag: Stage::default(),
        }
    }

    pub fn configure(&mut self, settings: &Settings, cores: usize) {
        self.replica.settings = link_settings(settings, cores);
    }

    /// Up to here the stream is executed, once nothing is under way.
    #[must_use]
    pub fn applied_offset(&self) -> u64 {
        self.applied
    }

    /// The database that the stream is in after that, if we are a replica.
    #[must_use]
    pub fn stream_db(&self) -> usize {
        if self.master.is_some() { self.db } else { 0 }
    }

    /// Nothing of the stream or of a load is under way.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        self.units.is_empty() && self.under_way == 0 && !self.in_section && self.load.is_none()
    }

    /// The stream as the replication machine sees it.
    #[must_use]
    pub fn stream_of<'a>(&self, history: &'a History, ring: Option<&Ring>) -> Stream<'a> {
        let up = self.replica.status(crate::base::time::Mono::default()).up;
        let source = match (&self.master, up) {
            (None, _) => Source::Own,
            (Some(_), true) => Source::Master,
            (Some(_), false) => Source::MasterLost,
        };
        Stream { history, held: ring.map(Ring::held), source }
    }
}

impl Control {
    /// `REPLICAOF host port` or `NO ONE`.
    pub(super) fn replica_of(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: Return,
        master: Option<(Vec<u8>, u16)>,
    ) {
        if self.failover.is_on() {
            return cx.answer_error(from, &ErrorKind::ReplicaofInFailover);
        }
        if master.is_none() {
            self.born_empty = false;
        }
        let last = self.following.changes.back().map(|it| &it.master);
        if master == *last.unwrap_or(&self.following.master) && last.is_none() {
            let reply: &[u8] = if master.is_some() {
                b"+OK Already connected to specified master\r\n"
            } else {
                b"+OK\r\n"
            };
            return cx.answer(from, reply);
        }
        self.following.changes.push_back(Change { why: Why::Wanted(Some(from)), master });
        self.begin_change(cx);
    }

    /// A role changes when all that was handed out is executed: what the ring has and the keyspace
    /// lacks would be missing from the history for ever.
    pub(super) fn begin_change(&mut self, cx: &mut ControlCx<'_>) {
        let following = &self.following;
        let file = following.load.as_ref().is_some_and(|load| !load.from_master);
        let busy = following.changing
            || following.pumping
            || following.in_section
            || following.under_way > 0
            || !following.units.is_empty();
        if !following.changes.is_empty() && !busy && !file && !self.aof.is_loading() {
            self.following.changing = true;
            self.section(cx, Op::Role, None);
        }
    }

    /// At the start: the master that the configuration names, after the file is loaded.
    pub(super) fn follow_configured(&mut self, cx: &mut ControlCx<'_>) {
        if let Some(master) = self.view.settings.replicaof.clone() {
            let master = Some((master.host, master.port));
            self.following.changes.push_back(Change { why: Why::Wanted(None), master });
            self.begin_change(cx);
        }
    }

    /// All cores stand still: says whether they log from here on. `None`: nothing to change.
    pub(super) fn change_role(&mut self, cx: &mut ControlCx<'_>) -> Option<bool> {
        let Change { why, master } = self.following.changes.front()?;
        if let (Why::Failover { forced }, Some(target)) = (why, master)
            && !self.failover_may_switch(cx, target, *forced)
        {
            self.following.changes.pop_front();
            self.following.changing = false;
            return None;
        }
        let now = cx.now().mono;
        let mut outputs = Vec::new();
        self.born_empty = false;
        if master.is_none() && self.following.master.is_none() {
            return Some(self.ring.is_some());
        }
        if master.is_none() {
            let has_data = self.following.replica.has_data();
            self.following.replica.handle(now, &mut self.history, Input::Unfollow, &mut outputs);
            self.drop_units();
            self.drop_load(cx);
            let (end, replid) = (self.offset(), self.new_replid());
            if has_data {
                self.history.promote(replid, end);
            } else {
                // Half a load is a prefix of nothing, and the ring's bytes lead to other data.
                self.history.begin(replid);
                (self.ring, self.following.idle_offset) = (None, end);
                self.aof_unfit(cx);
            }
            // Our own replicas must learn the new name: the old one goes on elsewhere.
            self.tell_replicas(cx, crate::replication::master::Input::HistoryChanged);
            self.merger.reselect();
            self.carry_out_link(cx, outputs, &[]);
            return Some(self.ring.is_some());
        }
        Some(false)
    }

    /// All cores have the new way of logging.
    pub(super) fn role_changed(&mut self, cx: &mut ControlCx<'_>) {
        let Some(Change { why, master }) = self.following.changes.pop_front() else { return };
        self.following.changing = false;
        let was_master = self.following.master.is_none();
        self.following.master.clone_from(&master);
        // What CONFIG GET and REWRITE tell is whom it follows now.
        let named = master.clone().map(|(host, port)| NamedMaster { host, port });
        // In a cluster the node's file says it, and no setting does.
        if !self.view.settings.cluster_enabled {
            Arc::make_mut(&mut self.view.settings).replicaof = named;
        }
        match master {
            None => {
                if !was_master {
                    cx.core.shared.host.record.promoted(cx.now().wall);
                }
                self.view.role = Role::Master;
                self.view.loading = false;
                self.view.streaming = self.ring.is_some();
                cx.log(Level::Notice, "MASTER MODE enabled");
            }
            Some((host, port)) => {
                if was_master {
                    cx.core.shared.host.record.demoted(cx.now().wall);
                }
                self.drop_load(cx);
                // A master's own data is the first bytes of its own history, which the new master
                // may be able to continue (it was our replica); so ask for that.
                let offset = match (&self.ring, self.following.saved.take()) {
                    (Some(ring), _) if was_master || self.following.replica.has_data() => {
                        Some(ring.end())
                    }
                    (None, Some((replid, offset))) => {
                        self.history.begin(replid);
                        self.ring = Some(Ring::new(offset));
                        Some(offset)
                    }
                    _ => None,
                };
                self.following.applied = offset.unwrap_or(0);
                // One that was a replica stays in its stream's database. After a master's own
                // stream comes that of one who was promoted, and that begins with a SELECT.
                self.view.role = Role::Replica { linked: false };
                self.view.streaming = false;
                self.drop_units();
                let host = String::from_utf8_lossy(&host).into_owned();
                cx.log(Level::Notice, format!("Connecting to MASTER {host}:{port}"));
                let failover = matches!(why, Why::Failover { .. });
                self.tell_link(cx, Input::Follow { offset, failover }, &[]);
            }
        }
        self.wait(cx, crate::replication::acks::Input::Demoted);
        self.take_coming_map();
        self.show(cx);
        match why {
            Why::Wanted(Some(from)) => cx.answer_ok(from),
            Why::Wanted(None) => {}
            Why::Failover { .. } => {
                if let Some(target) = self.following.master.clone() {
                    self.failover.switched(target);
                }
            }
            Why::FailoverRefused => self.failover_over(cx),
            Why::Request { conn, generation, psync } => {
                self.answer_failover(cx, conn, generation, &psync);
            }
        }
        if self.following.master.is_none() && std::mem::take(&mut self.following.cut_wanted) {
            self.section(cx, Op::Cut, None);
        }
    }

    pub(super) fn follow_tick(&mut self, cx: &mut ControlCx<'_>) {
        if self.following.master.is_some() {
            self.pump_units(cx);
            let following = &self.following;
            // A new link begins when nothing of the last one is under way, a dropped load included.
            let waits = following.replica.status(cx.now().mono).state == "connect";
            let busy =
                following.in_section || following.under_way > 0 || !following.units.is_empty();
            if following.changes.is_empty() && !(waits && busy) {
                self.tell_link(cx, Input::Tick, &[]);
            }
        }
        self.settle_flows(cx);
        self.begin_change(cx);
    }

    /// The connect was decided.
    pub(super) fn dialled(&mut self, cx: &mut ControlCx<'_>, result: Result<(Conn, Ends), String>) {
        let wanted = self.following.replica.status(cx.now().mono).state == "connecting";
        match result {
            Ok((conn, _)) if !wanted => cx.out.actions.push(Action::CloseNow(conn)),
            Ok((conn, ends)) => {
                let mut session = Session::new(0, ends, true, cx.now());
                session.kind = Kind::Master;
                // Counted as Redis does, and because every session that ends is counted off.
                cx.core.shared.clients.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                cx.core.sessions.open(conn, session);
                cx.core.joins_lists(conn);
                self.following.link = Some(conn);
                self.following.bytes.clear();
                self.following.paused = false;
                self.tell_link(cx, Input::Connected, &[]);
            }
            Err(why) => {
                cx.log(Level::Warning, format!("Error condition on socket for SYNC: {why}"));
                self.tell_link(cx, Input::Disconnected, &[]);
            }
        }
    }

    pub(super) fn link_ended(&mut self, cx: &mut ControlCx<'_>, conn: Conn) {
        if self.following.link == Some(conn) {
            self.following.link = None;
            if !self.drain_flows(cx) {
                self.link_lost(cx);
            }
        }
    }

    /// The link has ended, and all that it has brought is here.
    pub(super) fn link_lost(&mut self, cx: &mut ControlCx<'_>) {
        self.end_flows(cx);
        cx.log(Level::Warning, "Connection with master lost");
        let applied = self.following.applied_lag.summary();
        if applied.count > 0 {
            cx.log(Level::Notice, format!("Lag of this replica in us: applied {applied}"));
        }
        self.tell_link(cx, Input::Disconnected, &[]);
    }

    /// Bytes of our master.
    pub(super) fn link_bytes(&mut self, cx: &mut ControlCx<'_>, bytes: &[u8]) {
        if !self.following.changes.is_empty() {
            return; // This link is about to end.
        }
        let mut all = std::mem::take(&mut self.following.bytes);
        all.extend_from_slice(bytes);
        let used = self.tell_link(cx, Input::Bytes(&all), &all);
        all.drain(..used);
        if self.following.link.is_some() {
            self.following.bytes = all;
        }
        self.pump_units(cx);
    }

    pub(super) fn tell_link(
        &mut self,
        cx: &mut ControlCx<'_>,
        input: Input<'_>,
        bytes: &[u8],
    ) -> usize {
        let mut outputs = Vec::new();
        let now = cx.now().mono;
        let used = self.following.replica.handle(now, &mut self.history, input, &mut outputs);
        self.carry_out_link(cx, outputs, bytes);
        self.show_link(cx);
        used
    }

    fn carry_out_link(&mut self, cx: &mut ControlCx<'_>, outputs: Vec<Output>, bytes: &[u8]) {
        for output in outputs {
            match output {
                Output::Connect => {
                    if let Some((host, port)) = &self.following.master {
                        let host = String::from_utf8_lossy(host).into_owned();
                        cx.out.actions.push(Action::Dial { host, port: *port });
                    }
                }
                Output::Send(bytes) => {
                    if let Some(link) = self.following.link {
                        cx.out.to(link).extend_from_slice(&bytes);
                    }
                }
                Output::Close(reason) => {
                    cx.log(Level::Warning, format!("Closing the link to the master: {reason:?}"));
                    if !self.following.replica.is_half_loaded() {
                        self.drop_load(cx);
                    }
                    self.end_flows(cx);
                    if let Some(link) = self.following.link.take() {
                        cx.out.actions.push(Action::CloseNow(link));
                        if let Some(session) = cx.core.sessions.get_mut(link) {
                            session.closing = true;
                        }
                    }
                }
                Output::FullResync
                | Output::Resumed { .. }
                | Output::LoadAbandoned
                | Output::Load(_)
                | Output::LoadDone => self.carry_out_load(cx, output, bytes),
                Output::FailedOver => {
                    cx.log(Level::Notice, "The replica took over: the failover is done");
                    self.failover_over(cx);
                }
                Output::FailoverRefused => {
                    self.abort_failover(cx, "the replica refused");
                }
                Output::Adopted { offset } => {
                    self.ring = Some(Ring::new(offset));
                    self.adopted(cx, offset);
                }
                Output::AdoptedNameless => {
                    let replid = self.new_replid();
                    self.history.begin(replid);
                    self.ring = Some(Ring::new(0));
                    self.adopted(cx, 0);
                }
                Output::Continued { renamed } => {
                    cx.log(Level::Notice, "Partial resync with master: the stream goes on");
                    if self.ring.is_none() {
                        self.ring = Some(Ring::new(self.following.applied));
                    }
                    if renamed {
                        self.tell_replicas(cx, crate::replication::master::Input::HistoryChanged);
                    }
                }
                Output::Apply { unit, range, end } => {
                    self.queue_unit(cx.now().mono, unit, &bytes[range], end);
                }
            }
        }
    }

    /// What the link says of a snapshot.
    fn carry_out_load(&mut self, cx: &mut ControlCx<'_>, output: Output, bytes: &[u8]) {
        match output {
            Output::FullResync => {
                cx.log(Level::Notice, "Full resync from master");
                self.following.load = None; // What is left of one that the link's loss ended.
            }
            Output::Resumed { bytes } => {
                cx.log(Level::Notice, format!("Full resync goes on at byte {bytes}"));
            }
            Output::LoadAbandoned => {
                cx.log(Level::Warning, "The rest of the snapshot did not come in time");
                self.drop_load(cx);
            }
            Output::Load(range) => {
                // Not before the first byte: until then our data can still be continued.
                if self.following.load.is_none() {
                    self.begin_load(cx, true);
                }
                self.load_bytes(cx, &bytes[range]);
            }
            Output::LoadDone => {
                if let Some(load) = self.following.load.as_mut() {
                    load.ended = true;
                }
                self.load_goes_on(cx);
            }
            _ => {}
        }
    }

    fn adopted(&mut self, cx: &mut ControlCx<'_>, offset: u64) {
        self.following.applied = offset;
        self.following.db = self.following.loaded_db;
        self.aof_unfit(cx);
        self.tell_replicas(cx, crate::replication::master::Input::HistoryChanged);
        let keys = self.following.loaded_keys;
        cx.log(Level::Notice, format!("Full resync done: {keys} keys, offset {offset}"));
    }

    /// The view follows the link's state.
    fn show_link(&mut self, cx: &mut ControlCx<'_>) {
        if self.following.master.is_none() || self.following.changing {
            return;
        }
        let linked = self.following.replica.status(cx.now().mono).up;
        if self.view.role != (Role::Replica { linked }) {
            self.view.role = Role::Replica { linked };
            self.show(cx);
        }
    }

    fn drop_units(&mut self) {
        self.following.units.clear();
        self.following.begun = false;
        self.following.units_bytes = 0;
    }
}

/// Name and password by which we present ourselves to other nodes.
pub(super) fn credentials(settings: &Settings) -> [Option<Vec<u8>>; 2] {
    let given = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
    [given(&settings.masteruser.0), given(&settings.masterauth.0)]
}

fn link_settings(settings: &Settings, cores: usize) -> replica::Settings {
    let given = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
    let [user, password] = credentials(settings);
    let announced = settings.replica_announce_port;
    replica::Settings {
        timeout_ms: u64::from(settings.repl_timeout) * 1_000,
        flows: flow_in::are_wanted(settings, cores),
        user,
        password,
        port: match announced {
            0 if settings.tls_replication && settings.tls_port != 0 => settings.tls_port,
            0 => settings.port,
            _ => announced,
        },
        announce_ip: given(&settings.replica_announce_ip),
    }
}
