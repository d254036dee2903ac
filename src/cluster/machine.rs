//! A node's mind: what happened goes in, what is to be done comes out. No socket, clock, file or thread.
//!
//! ```text
//!   Tick, Received, Connected, Saved, ..  ->  Cluster::handle(now)  ->  Send, Dial, Save, Follow, ..
//! ```
//!
//! **What is promised is on disk first.** A vote, the epoch of an election, and slots that we claim under a new
//! config epoch are in the file before anybody hears of them. Each such change marks the state as unsaved and
//! puts what follows from it into `deferred`; one `Save` of the whole file is under way at a time, and what its
//! `Saved` covers is done then. While a claim of ours is not on disk no ping or pong leaves: it would carry the
//! claim. A disk that stands still for long makes us look dead, and so it should.
//!
//! **Clock.** All waits are measured with the monotonic clock. Times of gossip are of the sender's wall clock,
//! in seconds, and count only as "so long ago".
//!
//! What the mind is given: [`Facts`], before each input.

use super::flags::Flags;
use super::framing::Framing;
use super::id::NodeId;
use super::moves::{Moves, Order};
use super::node::{Key, Ms, Node, Nodes};
use super::settings::Settings;
use super::slots::Slots;
use super::table::SlotTable;
use crate::base::limits::SLOTS;
use crate::base::prng::Prng;
use crate::base::time::Now;
use crate::resp::error::ErrorKind;
use core::net::IpAddr;
use std::collections::BTreeMap;

/// A connection: one that we dialled, or one that came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LinkId {
    Out(u32),
    In(u32),
}

/// How a line counts in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Debug,
    Verbose,
    Notice,
    Warning,
}

/// What happened.
#[derive(Debug)]
pub enum Input<'a> {
    /// 100 milliseconds passed.
    Tick,
    /// A connection that was dialled is up.
    Connected {
        link: u32,
    },
    Accepted {
        link: u32,
        peer: Option<IpAddr>,
        local: Option<IpAddr>,
    },
    Received {
        link: LinkId,
        bytes: &'a [u8],
    },
    /// It ended, or never came to be.
    Closed {
        link: LinkId,
    },
    /// The file with this number is on disk, or is not.
    Saved {
        number: u64,
        result: Result<(), String>,
    },
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    Dial {
        link: u32,
        ip: IpAddr,
        port: u16,
    },
    Send {
        link: LinkId,
        bytes: Vec<u8>,
    },
    /// After what was sent.
    Close {
        link: LinkId,
    },
    /// Replace the file by this text, whole or not at all, and say `Saved`.
    Save {
        number: u64,
        text: Vec<u8>,
    },
    Log {
        level: Level,
        text: String,
    },
    /// Be a replica of this one.
    Follow {
        ip: IpAddr,
        port: u16,
    },
    /// Be a master.
    Lead,
    /// A replica of ours takes over: writes wait, for so long at most. Said again with the same number while they
    /// wait, it is to be longer.
    PauseWrites {
        number: u64,
        ms: u64,
    },
    ResumeWrites,
    /// These slots are others' now: their keys go.
    DropKeys {
        slots: Slots,
    },
    /// All keys go: a replica was reset.
    DropAll,
    Deliver {
        sharded: bool,
        channel: Vec<u8>,
        message: Vec<u8>,
    },
    /// For slots that move as a whole.
    Move(Order),
    /// What clients are told of the cluster is different.
    Changed,
}

/// What the mind cannot know of itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Bytes of the history that we have.
    pub offset: u64,
    /// How long we have heard nothing of our master, by replication.
    pub data_age: Ms,
    /// In the pause of this number (0: none) writers wait, and `offset` has all that was ever written.
    pub still: u64,
}

/// What waits until the file of its number is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deferred {
    /// For this replica, in this epoch.
    Vote(Key, u64),
    AskForVotes,
    Lead,
    Announce,
}

/// What is on disk of the state.
#[derive(Debug, Default)]
pub(super) struct Saving {
    /// Counts changes; the number of a file is that of the last change in it.
    pub wanted: u64,
    pub saved: u64,
    /// The last change that nobody may hear of before it is saved.
    pub claim: u64,
    under_way: bool,
    failed_at: Option<Ms>,
    pub deferred: Vec<(u64, Deferred)>,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Link {
    pub node: Option<Key>,
    pub up: bool,
    pub framing: Framing,
    pub created: Ms,
    pub peer: Option<IpAddr>,
    pub local: Option<IpAddr>,
    /// It was pinged while we might not speak.
    pub owed: bool,
}

/// An election of which we want to be the winner.
#[derive(Debug, Default)]
pub(super) struct Election {
    /// When it begins, or began.
    pub at: Ms,
    pub rank: usize,
    pub asked: bool,
    pub epoch: u64,
    pub votes: std::collections::BTreeSet<Key>,
    /// When those were asked last who have not voted.
    pub asked_at: Ms,
    pub ever: bool,
}

/// CLUSTER FAILOVER, on the replica that takes over or on the master that lets it.
#[derive(Debug, Default)]
pub(super) struct Manual {
    pub until: Option<Ms>,
    pub may_start: bool,
    pub master_offset: Option<u64>,
    /// When the master was asked last.
    pub asked_at: Option<Ms>,
    /// On the master: for whom writers wait, and the number of the pause.
    pub replica: Option<Key>,
    pub pause: u64,
}

/// Packets by type, and what was dropped.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    pub sent: [u64; 11],
    pub received: [u64; 11],
    pub dropped: u64,
}

/// A node's mind.
#[derive(Debug)]
pub struct Cluster {
    pub settings: Settings,
    pub facts: Facts,
    pub(super) nodes: Nodes,
    pub(super) me: Key,
    pub(super) table: SlotTable,
    pub(super) current_epoch: u64,
    pub(super) last_vote_epoch: u64,
    pub(super) is_ok: bool,
    /// Masters with slots.
    pub(super) size: usize,
    pub(super) links: BTreeMap<LinkId, Link>,
    /// What waits for a claim to be on disk, and its bytes.
    pub(super) held: Vec<(LinkId, Vec<u8>)>,
    pub(super) held_bytes: usize,
    /// Names that we forgot, and until when they are not taken in again.
    pub(super) forgotten: BTreeMap<NodeId, Ms>,
    pub(super) election: Election,
    pub(super) manual: Manual,
    pub(super) moves: Moves,
    /// How many pauses there were.
    pub(super) pauses: u64,
    pub(super) in_minority_at: Option<Ms>,
    pub(super) begun_at: Ms,
    /// When the facts were last told, where anybody tells them.
    informed_at: Option<Ms>,
    pub(super) saving: Saving,
    pub(super) prng: Prng,
    pub(super) next_link: u32,
    pub(super) ticks: u64,
    pub(super) last_reason: Option<&'static str>,
    /// What clients see has changed.
    pub(super) changed: bool,
    /// The state of the cluster is to be worked out anew.
    pub(super) unsettled: bool,
    /// Replication follows somebody, as far as we have said so.
    pub(super) following: Option<(IpAddr, u16)>,
    pub counts: Counts,
    pub(super) now: Ms,
    pub(super) wall: Ms,
    pub(super) out: Vec<Output>,
    #[cfg(test)]
    pub(super) plant: Option<super::sim::Plant>,
}

impl Cluster {
    /// A node that knows nobody, with a new name. `saved.rs` makes one out of a file.
    #[must_use]
    pub fn new(now: Now, seed: u64, settings: Settings) -> Self {
        let mut prng = Prng::new(seed);
        let (id, shard) = (NodeId::draw(&mut prng), NodeId::draw(&mut prng));
        let mut nodes = Nodes::default();
        let flags = Flags::MYSELF.and(Flags::MASTER);
        let me = nodes.insert(Node::new(id, shard, flags, ms(now)));
        Self {
            settings,
            facts: Facts::default(),
            nodes,
            me,
            table: SlotTable::default(),
            current_epoch: 0,
            last_vote_epoch: 0,
            is_ok: false,
            size: 1,
            links: BTreeMap::new(),
            held: Vec::new(),
            held_bytes: 0,
            forgotten: BTreeMap::new(),
            election: Election::default(),
            manual: Manual::default(),
            moves: Moves::default(),
            pauses: 0,
            in_minority_at: None,
            begun_at: ms(now),
            informed_at: None,
            saving: Saving::default(),
            prng,
            next_link: 0,
            ticks: 0,
            last_reason: None,
            changed: true,
            unsettled: true,
            following: None,
            counts: Counts::default(),
            now: ms(now),
            wall: wall_ms(now),
            out: Vec::new(),
            #[cfg(test)]
            plant: None,
        }
    }

    /// Before anything else is handled, and when the data is loaded.
    pub fn begin(&mut self, now: Now, out: &mut Vec<Output>) {
        self.see(now);
        self.begun_at = self.now;
        self.informed_at = self.informed_at.map(|_| self.now);
        self.apply_settings();
        self.drop_leftover();
        self.touch();
        self.finish(out);
    }

    /// Before it begins: what keys the data set has. Slots with keys that are nobody's are ours; those with keys
    /// that are another's are shown as on their way here, for somebody to look at.
    pub fn compare_with_data(&mut self, keys: impl Fn(u16) -> u64) {
        if self.me().is_replica() {
            return;
        }
        for slot in (0..SLOTS).filter(|slot| keys(*slot) > 0) {
            match self.table.owner(slot) {
                Some(owner) if owner == self.me => {}
                _ if self.moves.leftover.contains(slot) => {}
                _ if self.table.importing.contains_key(&slot) => {}
                None => {
                    let text = "I have keys for unassigned slot";
                    self.log(
                        Level::Notice,
                        format!("{text} {slot}. Taking responsibility for it."),
                    );
                    let me = self.me;
                    self.give_slot(slot, Some(me));
                }
                Some(owner) => {
                    let text =
                        "but the slot is assigned to another node. Setting it to importing state.";
                    self.log(Level::Notice, format!("I have keys for slot {slot}, {text}"));
                    self.table.importing.insert(slot, owner);
                }
            }
        }
    }

    /// Other settings.
    pub fn configure(&mut self, now: Now, settings: Settings, out: &mut Vec<Output>) {
        self.see(now);
        self.settings = settings;
        self.apply_settings();
        self.finish(out);
    }

    /// The only way in for what happens; commands are methods of their own (`admin.rs`).
    pub fn handle(&mut self, now: Now, input: Input<'_>, out: &mut Vec<Output>) {
        self.see(now);
        match input {
            Input::Tick => self.tick(),
            Input::Connected { link } => self.connected(link),
            Input::Accepted { link, peer, local } => self.accepted(link, peer, local),
            Input::Received { link, bytes } => self.received(link, bytes),
            Input::Closed { link } => self.closed(link),
            Input::Saved { number, result } => self.saved(number, result),
        }
        self.finish(out);
    }

    /// A command: what it does is done, and then what follows from it.
    ///
    /// # Errors
    /// The command's own.
    pub fn command<T>(
        &mut self,
        now: Now,
        out: &mut Vec<Output>,
        run: impl FnOnce(&mut Self) -> Result<T, ErrorKind>,
    ) -> Result<T, ErrorKind> {
        self.see(now);
        let result = run(self);
        self.finish(out);
        result
    }

    /// What the mind cannot know of itself.
    pub fn inform(&mut self, now: Now, facts: Facts, out: &mut Vec<Output>) {
        self.see(now);
        let before = std::mem::replace(&mut self.facts, facts);
        let stands_still = self.stands_still() && facts.still != before.still;
        self.informed_at = Some(self.now);
        self.speak_again();
        if let Some(replica) = self.manual.replica.filter(|_| stands_still) {
            self.ping(replica); // It waits for nothing else.
        }
        if self.manual.until.is_some() {
            self.step_failover();
        }
        if facts.still != before.still {
            self.step_moves();
        }
        self.finish(out);
    }

    /// The number of the last change, until it is on disk.
    #[must_use]
    pub fn unsaved(&self) -> Option<u64> {
        (self.saving.saved < self.saving.wanted).then_some(self.saving.wanted)
    }

    /// Up to which change everything is on disk.
    #[must_use]
    pub fn saved_through(&self) -> u64 {
        self.saving.saved
    }

    pub(super) fn see(&mut self, now: Now) {
        self.now = ms(now);
        self.wall = wall_ms(now);
    }

    fn apply_settings(&mut self) {
        let settings = &self.settings;
        let (port, bus_port) = (settings.port, settings.bus_port);
        let (hostname, human) =
            (settings.announce_hostname.clone(), settings.announce_human_name.clone());
        let (no_failover, ip) = (settings.replica_no_failover, settings.announce_ip);
        let me = self.me_mut();
        let before = (me.port, me.bus_port, me.hostname.clone(), me.human_name.clone(), me.flags);
        me.port = port;
        me.bus_port = bus_port;
        me.hostname = hostname;
        me.human_name = human;
        me.flags.set(Flags::NOFAILOVER, no_failover);
        if ip.is_some() {
            me.ip = ip;
        }
        if before != (me.port, me.bus_port, me.hostname.clone(), me.human_name.clone(), me.flags) {
            self.touch();
        }
        self.unsettled = true;
        self.changed = true;
    }

    pub(super) fn me(&self) -> &Node {
        self.node(self.me)
    }

    pub(super) fn me_mut(&mut self) -> &mut Node {
        let me = self.me;
        self.node_mut(me)
    }

    /// A node that is there: keys are dropped with their nodes (`forget`).
    #[expect(clippy::expect_used, reason = "a programmer's error")]
    pub(super) fn node(&self, key: Key) -> &Node {
        self.nodes.get(key).expect("a node is known as long as its key is kept")
    }

    #[expect(clippy::expect_used, reason = "a programmer's error")]
    pub(super) fn node_mut(&mut self, key: Key) -> &mut Node {
        self.nodes.get_mut(key).expect("a node is known as long as its key is kept")
    }

    /// The state changed: it is to be saved, and clients may see it.
    pub(super) fn touch(&mut self) {
        self.saving.wanted += 1;
        self.changed = true;
    }

    /// We claim something new: nobody hears of us before it is on disk.
    pub(super) fn touch_claim(&mut self) {
        self.touch();
        self.saving.claim = self.saving.wanted;
    }

    /// Once the present state is on disk.
    pub(super) fn defer(&mut self, what: Deferred) {
        self.touch();
        self.saving.deferred.push((self.saving.wanted, what));
        #[cfg(test)]
        if self.plant == Some(super::sim::Plant::NothingWaitsForTheDisk) {
            self.saving.deferred.pop();
            self.act(what);
        }
    }

    /// Is every claim of ours on disk, and does whoever serves the keys still move? One that has stood still for
    /// as long as a time-out is as good as dead, and is to be taken for that.
    pub(super) fn may_speak(&self) -> bool {
        let stuck = self.informed_at.is_some_and(|at| self.now - at > self.settings.node_timeout);
        self.saving.claim <= self.saving.saved && !stuck
    }

    /// What could not be said for a while, if it can now.
    fn speak_again(&mut self) {
        if self.may_speak() {
            self.held_bytes = 0;
            for (link, bytes) in std::mem::take(&mut self.held) {
                self.out.push(Output::Send { link, bytes });
            }
            self.pay_pongs();
        }
    }

    pub(super) fn log(&mut self, level: Level, text: String) {
        self.out.push(Output::Log { level, text });
    }

    fn saved(&mut self, number: u64, result: Result<(), String>) {
        self.saving.under_way = false;
        if let Err(why) = result {
            let text = "The cluster configuration could not be saved, and nothing new is promised";
            self.log(Level::Warning, format!("{text}: {why}"));
            self.saving.failed_at = Some(self.now);
            return;
        }
        self.saving.saved = self.saving.saved.max(number);
        self.saving.failed_at = None;
        let (due, later) =
            std::mem::take(&mut self.saving.deferred).into_iter().partition(|it| it.0 <= number);
        self.saving.deferred = later;
        let due: Vec<(u64, Deferred)> = due;
        for (_, what) in due {
            self.act(what);
        }
        self.speak_again();
    }

    fn act(&mut self, what: Deferred) {
        match what {
            Deferred::Vote(replica, epoch) => self.send_vote(replica, epoch),
            Deferred::AskForVotes => self.ask_for_votes(),
            Deferred::Lead => {
                if self.me().is_master() {
                    self.following = None;
                    self.out.push(Output::Lead);
                }
            }
            Deferred::Announce => self.announce(),
        }
    }

    /// Hands out what is to be done, and saves what changed.
    pub(super) fn finish(&mut self, out: &mut Vec<Output>) {
        if std::mem::take(&mut self.unsettled) {
            self.update_state();
        }
        if std::mem::take(&mut self.changed) {
            self.out.push(Output::Changed);
        }
        let may = self.saving.failed_at.is_none_or(|at| self.now - at >= SAVE_AGAIN_MS);
        if self.saving.saved < self.saving.wanted && !self.saving.under_way && may {
            self.saving.under_way = true;
            let text = self.file();
            self.out.push(Output::Save { number: self.saving.wanted, text });
        }
        out.append(&mut self.out);
    }
}

/// After a save that failed.
const SAVE_AGAIN_MS: Ms = 1_000;

fn ms(now: Now) -> Ms {
    i64::try_from(now.mono.0 / 1_000_000).unwrap_or(i64::MAX)
}

fn wall_ms(now: Now) -> Ms {
    i64::try_from(now.wall.ms()).unwrap_or(i64::MAX)
}
