//! A node of a cluster: what core 0 and the mind on the bus say to each other, and the commands of clients.
//!
//! The mind (`cluster/machine.rs`) has a thread and a socket ring of its own (`runtime/bus.rs`), so that no load
//! on the cores keeps it from answering other nodes. Core 0 tells it what it cannot know, and does what it says.
//!
//! **Order.** A map by which we lose slots is shown to all cores at once, and before writers that waited go on.
//! One by which we gain them is shown when the role that goes with it has changed: until then clients are sent
//! where they were sent before.

use crate::base::limits::SLOTS;
use crate::base::num::parse_i64;
use crate::base::time::Mono;
use crate::cluster::commands::Request;
use crate::cluster::machine::Facts;
use crate::cluster::moves::{News, Order};
use crate::cluster::settings::Settings as BusSettings;
use crate::cluster::show::{Endpoint, Map};
use crate::cluster::slots::Slots;
use crate::command::args::Args;
use crate::command::keys;
use crate::command::node_rows as rows;
use crate::command::spec::Command;
use crate::node::control::{Ask, Control, ControlCx, Op};
use crate::node::core::Core;
use crate::node::cx::{NodeCx, NodeFn, PartHead};
use crate::node::following::{Change, Why};
use crate::node::message::{Message, Origin, Return};
use crate::node::outbox::{Action, Outbox};
use crate::node::pubsub::Topic;
use crate::node::settings::{EndpointType, Settings};
use crate::resp::error::ErrorKind;
use crate::resp::reply::Reply;
use core::net::IpAddr;
use std::sync::Arc;

/// What core 0 tells the mind.
#[derive(Debug)]
pub enum ToBus {
    /// The data is loaded: nodes may be spoken to.
    Begin,
    Facts(Facts),
    /// A client's request; answered by [`FromBus::Answer`] with the same number.
    Ask {
        number: u64,
        request: Request,
    },
    Publish {
        sharded: bool,
        channel: Vec<u8>,
        message: Vec<u8>,
    },
    Configure(Box<BusSettings>),
    /// Of slots that move as a whole.
    Moved {
        job: u64,
        news: News,
    },
}

/// What the mind tells core 0.
#[derive(Debug)]
pub enum FromBus {
    /// Where clients are to go from now on, for each way to name nodes.
    Map(Arc<Map>),
    Follow {
        ip: IpAddr,
        port: u16,
    },
    Lead,
    /// In the pause of this number; again, if it is under way.
    PauseWrites {
        number: u64,
        ms: u64,
    },
    ResumeWrites,
    DropKeys(Slots),
    DropAll,
    /// For slots that move as a whole.
    Move(Order),
    Deliver {
        sharded: bool,
        channel: Vec<u8>,
        message: Vec<u8>,
    },
    Answer {
        number: u64,
        reply: Vec<u8>,
    },
}

/// What core 0 remembers of it.
#[derive(Debug, Default)]
pub struct Membership {
    asked: Vec<(u64, Return)>,
    next: u64,
    /// A map that waits for our role to change.
    coming: Option<Arc<Map>>,
    /// Writers wait until then in the pause of this number, for a replica that takes over.
    pause: Option<(Mono, u64)>,
    /// In the pause of this number they do, and everything written is in the stream; 0: in none.
    still: u64,
}

#[rustfmt::skip] // One row, one line.
pub const COMMANDS: &[Command<NodeFn>] = &[
    Command::container(rows::CLUSTER, ask, &[
        Command::new(rows::CLUSTER_ADDSLOTS, ask),
        Command::new(rows::CLUSTER_ADDSLOTSRANGE, ask),
        Command::new(rows::CLUSTER_BUMPEPOCH, ask),
        Command::new(rows::CLUSTER_CANCELSLOTMIGRATIONS, ask),
        Command::new(rows::CLUSTER_COUNT_FAILURE_REPORTS, ask),
        Command::new(rows::CLUSTER_COUNTKEYSINSLOT, count_keys),
        Command::new(rows::CLUSTER_DELSLOTS, ask),
        Command::new(rows::CLUSTER_DELSLOTSRANGE, ask),
        Command::new(rows::CLUSTER_FAILOVER, ask),
        Command::new(rows::CLUSTER_FLUSHSLOTS, ask),
        Command::new(rows::CLUSTER_FORGET, ask),
        Command::new(rows::CLUSTER_GETKEYSINSLOT, get_keys),
        Command::new(rows::CLUSTER_GETSLOTMIGRATIONS, ask),
        Command::new(rows::CLUSTER_HELP, help),
        Command::new(rows::CLUSTER_INFO, ask),
        Command::new(rows::CLUSTER_KEYSLOT, key_slot),
        Command::new(rows::CLUSTER_LINKS, ask),
        Command::new(rows::CLUSTER_MEET, ask),
        Command::new(rows::CLUSTER_MIGRATESLOTS, ask),
        Command::new(rows::CLUSTER_MYID, my_id),
        Command::new(rows::CLUSTER_MYSHARDID, my_shard_id),
        Command::new(rows::CLUSTER_NODES, ask),
        Command::new(rows::CLUSTER_REPLICAS, ask),
        Command::new(rows::CLUSTER_REPLICATE, ask),
        Command::new(rows::CLUSTER_RESET, ask),
        Command::new(rows::CLUSTER_SAVECONFIG, ask),
        Command::new(rows::CLUSTER_SET_CONFIG_EPOCH, ask),
        Command::new(rows::CLUSTER_SETSLOT, ask),
        Command::new(rows::CLUSTER_SHARDS, ask),
        Command::new(rows::CLUSTER_SLAVES, ask),
        Command::new(rows::CLUSTER_SLOTS, ask),
        Command::new(rows::CLUSTER_SYNCSLOTS, ask),
    ]),
    Command::new(rows::ASKING,    asking),
    Command::new(rows::READONLY,  read_only),
    Command::new(rows::READWRITE, read_write),
];

/// The names of the sub-commands with what they take, as CLUSTER HELP shows them.
const HELP: &[&str] = &[
    "ADDSLOTS <slot> [<slot> ...]",
    "    Make slots this node's.",
    "ADDSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Make ranges of slots this node's.",
    "BUMPEPOCH",
    "    Take a new config epoch without a vote.",
    "CANCELSLOTMIGRATIONS",
    "    End all moves of slots from here as a whole.",
    "COUNT-FAILURE-REPORTS <node-id>",
    "    How many masters say that <node-id> is down.",
    "COUNTKEYSINSLOT <slot>",
    "    How many keys of <slot> are here.",
    "DELSLOTS <slot> [<slot> ...]",
    "    Make slots nobody's.",
    "DELSLOTSRANGE <start slot> <end slot> [<start slot> <end slot> ...]",
    "    Make ranges of slots nobody's.",
    "FAILOVER [FORCE|TAKEOVER]",
    "    Let this replica take the place of its master.",
    "FORGET <node-id>",
    "    Remove a node from this one's table.",
    "GETKEYSINSLOT <slot> <count>",
    "    Keys of <slot> that are here.",
    "GETSLOTMIGRATIONS",
    "    Slots that move as a whole, or have moved lately.",
    "FLUSHSLOTS",
    "    Make all of this node's slots nobody's.",
    "INFO",
    "    How the cluster is, as this node sees it.",
    "KEYSLOT <key>",
    "    The slot of <key>.",
    "LINKS",
    "    The connections to and from other nodes.",
    "MEET <ip> <port> [<bus-port>]",
    "    Have this node get to know another.",
    "MIGRATESLOTS SLOTSRANGE <start slot> <end slot> [...] NODE <node-id> [SLOTSRANGE ...]",
    "    Move slots of this node to others, as a whole.",
    "MYID",
    "    The name of this node.",
    "MYSHARDID",
    "    The name of this node's shard.",
    "NODES",
    "    All nodes, as this one sees them, a line for each:",
    "    <id> <ip:port@bus-port[,hostname]> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
    "REPLICAS <node-id>",
    "    The replicas of a master.",
    "REPLICATE <node-id>",
    "    Make this node a replica of <node-id>.",
    "RESET [HARD|SOFT]",
    "    Have this node forget the cluster (default: soft).",
    "SAVECONFIG",
    "    Write the node's file.",
    "SET-CONFIG-EPOCH <epoch>",
    "    Give a new node its config epoch.",
    "SETSLOT <slot> (IMPORTING <node-id>|MIGRATING <node-id>|STABLE|NODE <node-id>)",
    "    Move a slot, step by step.",
    "SHARDS",
    "    Masters with their replicas and slots.",
    "SLOTS",
    "    Which slots are where.",
    "HELP",
    "    Print this help.",
];

fn enabled(cx: &NodeCx<'_>) -> Result<Arc<Map>, ErrorKind> {
    if !cx.core.view.settings.cluster_enabled {
        return Err(ErrorKind::ClusterDisabled);
    }
    Ok(cx.core.view.cluster.clone().unwrap_or_default())
}

fn ask(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    let words = args.iter().map(<[u8]>::to_vec).collect();
    let by = endpoint(&cx.core.view.settings);
    let proto = cx.reply.proto;
    cx.ask(Ask::Cluster(Request { words, proto, by }));
    Ok(())
}

fn endpoint(settings: &Settings) -> Endpoint {
    match settings.cluster_preferred_endpoint_type {
        EndpointType::Ip => Endpoint::Ip,
        EndpointType::Hostname => Endpoint::Hostname,
        EndpointType::Unknown => Endpoint::Unknown,
    }
}

fn help(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    cx.reply.array(HELP.len() + 1);
    cx.reply.simple(b"CLUSTER <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
    HELP.iter().for_each(|line| cx.reply.simple(line.as_bytes()));
    Ok(())
}

fn key_slot(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    cx.reply.int(i64::from(keys::slot(args.get(2).unwrap_or_default())));
    Ok(())
}

fn my_id(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let map = enabled(cx)?;
    cx.reply.bulk(map.id.as_ref().map_or(&[], |id| id.as_bytes().as_slice()));
    Ok(())
}

fn my_shard_id(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    let map = enabled(cx)?;
    cx.reply.bulk(map.shard.as_ref().map_or(&[], |id| id.as_bytes().as_slice()));
    Ok(())
}

fn number(args: Args<'_>, at: usize) -> Result<i64, ErrorKind> {
    args.get(at).and_then(parse_i64).ok_or(ErrorKind::NotAnInteger)
}

fn count_keys(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    let slot = u16::try_from(number(args, 2)?).ok().filter(|it| *it < SLOTS);
    let keys = cx.core.shared.slots.of(slot.ok_or(ErrorKind::ClusterCountSlot)?);
    cx.reply.int(i64::try_from(keys).unwrap_or(i64::MAX));
    Ok(())
}

fn get_keys(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    let (slot, count) = (number(args, 2)?, number(args, 3)?);
    let slot = u16::try_from(slot).ok().filter(|it| *it < SLOTS && count >= 0);
    let core = cx.core.owner_of_slot(slot.ok_or(ErrorKind::ClusterKeysSlot)?);
    cx.ask_core(core, "slot-keys", args.skip(2));
    Ok(())
}

/// `[slot, count]`: keys of it, on the core that has them.
pub(super) fn slot_keys_part(core: &mut Core, _: &PartHead, args: Args<'_>, reply: &mut Reply<'_>) {
    let word = |at: usize| args.get(at).and_then(parse_i64).unwrap_or(0);
    let slot = u16::try_from(word(0)).unwrap_or(0);
    let wanted = u64::try_from(word(1)).unwrap_or(0).min(core.shared.slots.of(slot));
    let found = core.keys_of_slot(slot, usize::try_from(wanted).unwrap_or(0));
    reply.array(found.len());
    found.iter().for_each(|key| reply.bulk(key));
}

/// Until the next command is over.
fn asking(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    cx.session().asking = true;
    cx.reply.ok();
    Ok(())
}

fn read_only(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    cx.session().reads_replica = true;
    cx.reply.ok();
    Ok(())
}

fn read_write(cx: &mut NodeCx<'_>, _: Args<'_>) -> Result<(), ErrorKind> {
    enabled(cx)?;
    cx.session().reads_replica = false;
    cx.reply.ok();
    Ok(())
}

/// The settings of the process as the mind wants them.
#[must_use]
pub fn bus_settings(settings: &Settings) -> BusSettings {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let or = |announced: u16, own: u16| if announced == 0 { own } else { announced };
    BusSettings {
        port: match settings.tls_cluster && settings.tls_port != 0 {
            true => or(settings.cluster_announce_tls_port, settings.tls_port),
            false => or(settings.cluster_announce_port, settings.port),
        },
        bus_port: or(settings.cluster_announce_bus_port, bus_port(settings)),
        announce_ip: text(&settings.cluster_announce_ip).parse().ok(),
        announce_hostname: text(&settings.cluster_announce_hostname),
        announce_human_name: text(&settings.cluster_announce_human_nodename),
        node_timeout: settings.cluster_node_timeout.max(1),
        ping_interval: 0,
        migration_barrier: usize::try_from(settings.cluster_migration_barrier).unwrap_or(0),
        allow_replica_migration: settings.cluster_allow_replica_migration,
        replica_no_failover: settings.cluster_replica_no_failover,
        replica_validity_factor: settings.cluster_replica_validity_factor,
        replication_ping_period: i64::from(settings.repl_ping_replica_period) * 1_000,
        require_full_coverage: settings.cluster_require_full_coverage,
        is_protected: is_protected(settings),
        endpoint: endpoint(settings),
    }
}

/// As clients are kept out who come from elsewhere, where nobody needs a password.
fn is_protected(settings: &Settings) -> bool {
    let named = settings.users.iter().any(|words| words.first().is_some_and(|it| it == b"default"));
    settings.protected_mode
        && settings.requirepass.0.is_empty()
        && settings.aclfile.is_empty()
        && !named
}

/// Where clients reach us, as far as other nodes are told: with `tls-cluster` by TLS.
#[must_use]
pub fn client_port(settings: &Settings) -> u16 {
    let by_tls = settings.tls_cluster && settings.tls_port != 0;
    if by_tls { settings.tls_port } else { settings.port }
}

/// Where other nodes reach us.
#[must_use]
pub fn bus_port(settings: &Settings) -> u16 {
    match settings.cluster_port {
        0 => client_port(settings).saturating_add(crate::cluster::saved::BUS_PORT_OFFSET),
        port => port,
    }
}

impl Control {
    /// A client's CLUSTER command.
    pub(super) fn ask_bus(&mut self, cx: &mut ControlCx<'_>, from: Return, request: Request) {
        let number = self.membership.next;
        self.membership.next += 1;
        self.membership.asked.push((number, from));
        self.tell_facts(cx);
        cx.out.actions.push(Action::Bus(ToBus::Ask { number, request }));
    }

    /// What the mind cannot know of itself, as it is now.
    pub(super) fn tell_facts(&mut self, cx: &mut ControlCx<'_>) {
        if !self.view.settings.cluster_enabled {
            return;
        }
        let status = self.following.replica.status(cx.now().mono);
        let facts = Facts {
            offset: self.data_offset(),
            data_age: i64::try_from(status.silent_ms).unwrap_or(i64::MAX),
            still: self.membership.still,
        };
        cx.out.actions.push(Action::Bus(ToBus::Facts(facts)));
    }

    /// Ten times a second.
    pub(super) fn membership_tick(&mut self, cx: &mut ControlCx<'_>) {
        if self.membership.pause.is_some_and(|(until, _)| until <= cx.now().mono) {
            self.resume_writes(cx);
        }
        self.tell_facts(cx);
    }

    /// The mind said something.
    pub(super) fn heard_of_bus(&mut self, cx: &mut ControlCx<'_>, said: FromBus) {
        match said {
            FromBus::Map(map) => self.new_map(cx, map),
            FromBus::Follow { ip, port } => {
                let master = Some((ip.to_string().into_bytes(), port));
                self.change_master(cx, master);
            }
            FromBus::Lead => self.change_master(cx, None),
            FromBus::PauseWrites { number, ms } => {
                let until = cx.now().mono.plus_ms(ms);
                let before = self.membership.pause.replace((until, number));
                if before.is_none_or(|(_, it)| it != number) {
                    self.membership.still = 0;
                    self.settle_writes_wait(cx);
                    self.section(cx, Op::Still { pause: number }, None);
                }
            }
            FromBus::ResumeWrites => self.resume_writes(cx),
            FromBus::DropKeys(slots) => {
                for core in 1..self.cores {
                    cx.out.mail[core].push(Message::DropSlots(Box::new(slots.clone())));
                }
                cx.core.drop_slots(&slots);
                self.seal_here(cx);
            }
            FromBus::DropAll => {
                let words = vec![b"FLUSHALL".to_vec()];
                self.section(cx, Op::Flush { db: None, in_db: 0, words }, None);
            }
            FromBus::Move(order) => self.move_slots(cx, order),
            FromBus::Deliver { sharded, channel, message } => {
                let topic = if sharded { Topic::Shard } else { Topic::Channel };
                cx.core.broadcast(topic, &channel, &message);
            }
            FromBus::Answer { number, reply } => {
                let asked = &mut self.membership.asked;
                if let Some(at) = asked.iter().position(|(it, _)| *it == number) {
                    let (_, from) = asked.swap_remove(at);
                    cx.answer(from, &reply);
                }
            }
        }
    }

    fn change_master(&mut self, cx: &mut ControlCx<'_>, master: Option<(Vec<u8>, u16)>) {
        let last = self.following.changes.back().map(|it| &it.master);
        if *last.unwrap_or(&self.following.master) != master {
            self.following.changes.push_back(Change { why: Why::Wanted(None), master });
            self.begin_change(cx);
        }
    }

    fn new_map(&mut self, cx: &mut ControlCx<'_>, map: Arc<Map>) {
        // Slots are ours before the role is: clients are not told before it is, too.
        if map.master.is_none() && self.view.is_replica() {
            self.membership.coming = Some(map);
            return;
        }
        self.membership.coming = None;
        self.view.cluster = Some(map);
        self.show(cx);
    }

    /// The role has changed: the map that goes with it holds. Shown by whoever changed the role.
    pub(super) fn take_coming_map(&mut self) {
        if !self.view.is_replica()
            && let Some(map) = self.membership.coming.take()
        {
            self.view.cluster = Some(map);
        }
    }

    /// Does a replica take over from us, for which writers wait?
    pub(super) fn hands_over(&self) -> bool {
        self.membership.pause.is_some()
    }

    fn resume_writes(&mut self, cx: &mut ControlCx<'_>) {
        self.membership.pause = None;
        self.membership.still = 0;
        self.settle_writes_wait(cx);
    }

    /// All cores stand still, and what they wrote is in the stream.
    pub(super) fn stood_still(&mut self, cx: &mut ControlCx<'_>, pause: u64) {
        if self.membership.pause.is_some_and(|(_, number)| number == pause) {
            self.membership.still = pause;
            self.tell_facts(cx);
        }
    }
}

impl Core {
    /// A message for subscribers of the whole cluster.
    pub(super) fn publish_on_bus(&mut self, sharded: bool, args: Args<'_>, out: &mut Outbox) {
        let word = |at: usize| args.get(at).unwrap_or_default().to_vec();
        let publish = ToBus::Publish { sharded, channel: word(1), message: word(2) };
        if self.id == 0 {
            out.actions.push(Action::Bus(publish));
        } else {
            out.mail[0].push(Message::Bus(Box::new(publish)));
        }
    }

    /// Keys of a slot, `wanted` of them at most. Whoever moves a slot asks again and again and removes what it
    /// got: the search goes on where it was.
    fn keys_of_slot(&mut self, slot: u16, wanted: usize) -> Vec<Vec<u8>> {
        let (before, start) = self.slot_search;
        let mut cursor = if before == slot { start } else { 0 };
        let (mut found, mut wrapped) = (Vec::new(), cursor == 0);
        while found.len() < wanted {
            let here = cursor;
            let mut batch = Vec::new();
            cursor = self.keyspace.scan(0, cursor, 64, self.now.wall, &mut |key, _| {
                if keys::slot(key) == slot {
                    batch.push(key.to_vec());
                }
            });
            let all = found.len() + batch.len() <= wanted;
            for key in batch {
                // A scan that a split has crossed gives a key twice.
                if found.len() < wanted && !found.contains(&key) {
                    found.push(key);
                }
            }
            if !all {
                cursor = here; // More of these buckets is left.
                break;
            }
            if cursor == 0 {
                if wrapped {
                    break;
                }
                wrapped = true;
            }
        }
        self.slot_search = (slot, cursor);
        found
    }

    /// The keys of slots that are others' now.
    pub(super) fn drop_slots(&mut self, slots: &Slots) {
        self.export_no_more(slots);
        if !slots.iter().any(|slot| self.shared.slots.of(slot) > 0) {
            return;
        }
        let mut gone = Vec::new();
        self.keyspace.for_each(0, self.now.wall, &mut |key| {
            if slots.contains(keys::slot(key)) {
                gone.push(key.to_vec());
            }
        });
        for name in gone {
            let key = self.keyspace.key(&name);
            if self.keyspace.remove_even_expired(0, key) {
                self.effect.expired(0, &name);
            }
        }
        self.settle(0, Args::new(&[]), Origin::Client);
    }

    /// Says on which slots' keys this core counts.
    #[must_use]
    pub(super) fn own_slots(id: usize, cores: usize) -> std::ops::Range<u16> {
        let first = |core: usize| {
            let slots = usize::from(SLOTS);
            u16::try_from((core * slots).div_ceil(cores)).unwrap_or(SLOTS)
        };
        first(id)..first(id + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_has_one_core() {
        for cores in [1, 2, 3, 7, 256] {
            for slot in 0..SLOTS {
                let owner = usize::from(slot) * cores / usize::from(SLOTS);
                assert!(Core::own_slots(owner, cores).contains(&slot), "{slot} of {cores}");
            }
        }
    }
}
