//! What a Sentinel knows of one instance: a master, one of its replicas, or another Sentinel that
//! watches the same master.
//!
//! All instances lie in one table by number, so that they can name one another. A replica and a
//! Sentinel name their master; a master lists both by name. Times are milliseconds of the monotonic
//! clock; 0 is "never".

use super::address::Address;
use super::claims::Claims;
use std::collections::BTreeMap;
use std::ops::{Index, IndexMut};

/// Milliseconds of the monotonic clock, or a number of them.
pub type Ms = i64;

/// The number of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(pub u32);

/// The number of a link: Sentinels that are the same process share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

/// What a data node says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Master,
    Replica,
}

impl Role {
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Replica => "slave",
        }
    }
}

/// One instance.
#[derive(Debug)]
pub struct Instance {
    /// A master's configured name, `ip:port` of a replica, the id of a Sentinel.
    pub name: String,
    pub address: Address,
    pub run_id: Option<String>,
    pub link: LinkId,
    /// A master's own number.
    pub master: Id,
    pub kind: Kind,
    /// Subjectively down, and since when; the time stays when it is up again.
    pub s_down: bool,
    pub s_down_since: Ms,
    pub down_after: Ms,
    pub last_published: Ms,
    /// Data nodes: the last INFO, when it came, and whether one is under way since when.
    pub info: Vec<u8>,
    pub info_refresh: Ms,
    pub info_asked: Option<Ms>,
    pub role_reported: Role,
    pub role_reported_at: Ms,
    pub script_kill_sent: bool,
}

/// What it is to us.
#[derive(Debug)]
pub enum Kind {
    Master(Box<Master>),
    Replica(Box<Replica>),
    Sentinel(Peer),
}

/// A watched master.
#[derive(Debug)]
pub struct Master {
    pub quorum: i64,
    pub parallel_syncs: i64,
    pub failover_timeout: Ms,
    /// 0: a restart is not by itself a reason for a failover.
    pub reboot_down_after: Ms,
    pub auth_pass: Vec<u8>,
    pub auth_user: Vec<u8>,
    pub notification_script: String,
    pub client_reconfig_script: String,
    /// From a command's name in upper case to what it is called on these servers.
    pub renamed: BTreeMap<String, String>,
    pub config_epoch: u64,
    pub replicas: BTreeMap<String, Id>,
    pub sentinels: BTreeMap<String, Id>,
    pub o_down: bool,
    pub o_down_since: Ms,
    /// Since when it has said so, where it came back with another run id.
    pub rebooted_at: Option<Ms>,
    /// Whom we voted for, and in which epoch.
    pub leader: Option<String>,
    pub leader_epoch: u64,
    pub failover: Failover,
    pub failover_epoch: u64,
    /// When the state of the failover changed, and when the last one was begun or voted for.
    pub failover_changed: Ms,
    pub failover_start: Ms,
    pub delay_logged: Ms,
    /// The earliest moment at which we start a failover of our own while it is down.
    pub candidate_at: Ms,
    /// Elections in a row that nobody could win.
    pub splits: u32,
    /// Newer configurations that somebody told of and that are not believed yet.
    pub claims: Claims,
    /// The history it wrote when it last answered.
    pub replid: String,
}

/// How far a failover of ours is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failover {
    None,
    /// Waiting to be elected; `forced` by an operator: no election is needed.
    WaitStart {
        forced: Manual,
    },
    SelectReplica {
        forced: Manual,
    },
    /// The promoted one is not told yet.
    SendNoOne {
        promoted: Id,
        forced: Manual,
    },
    WaitPromotion {
        promoted: Id,
        forced: Manual,
    },
    ReconfReplicas {
        promoted: Id,
        forced: Manual,
    },
    UpdateConfig {
        promoted: Id,
    },
}

/// Who wanted the failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manual {
    /// Nobody: the master is down.
    No,
    Forced,
    /// The master is asked to hand over, and failed over if it does not.
    Handover,
    /// The master hands over (it pauses its writers until the replica has everything), or nothing.
    Coordinated,
}

impl Failover {
    #[must_use]
    pub fn in_progress(self) -> bool {
        self != Self::None
    }

    #[must_use]
    pub fn promoted(self) -> Option<Id> {
        match self {
            Self::None | Self::WaitStart { .. } | Self::SelectReplica { .. } => None,
            Self::SendNoOne { promoted, .. }
            | Self::WaitPromotion { promoted, .. }
            | Self::ReconfReplicas { promoted, .. }
            | Self::UpdateConfig { promoted } => Some(promoted),
        }
    }

    /// The promoted one has said that it is a master.
    #[must_use]
    pub fn is_decided(self) -> bool {
        matches!(self, Self::ReconfReplicas { .. } | Self::UpdateConfig { .. })
    }

    #[must_use]
    pub fn manual(self) -> Manual {
        match self {
            Self::None | Self::UpdateConfig { .. } => Manual::No,
            Self::WaitStart { forced }
            | Self::SelectReplica { forced }
            | Self::SendNoOne { forced, .. }
            | Self::WaitPromotion { forced, .. }
            | Self::ReconfReplicas { forced, .. } => forced,
        }
    }

    /// As `SENTINEL MASTER` shows it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::WaitStart { .. } => "wait_start",
            Self::SelectReplica { .. } => "select_slave",
            Self::SendNoOne { .. } => "send_slaveof_noone",
            Self::WaitPromotion { .. } => "wait_promotion",
            Self::ReconfReplicas { .. } => "reconf_slaves",
            Self::UpdateConfig { .. } => "update_config",
        }
    }
}

/// A replica.
#[derive(Debug)]
pub struct Replica {
    pub priority: i64,
    pub announced: bool,
    pub offset: u64,
    /// The history that it follows.
    pub replid: String,
    pub link_down_for: Ms,
    pub link_up: bool,
    pub master_host: Option<String>,
    pub master_port: u16,
    pub conf_changed: Ms,
    pub reconf: Reconf,
    /// It was the master until the one that is now took its place.
    pub deposed: bool,
}

/// How far it is with following the promoted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconf {
    No,
    Sent { at: Ms },
    InProgress,
    Done,
}

/// Another Sentinel.
#[derive(Debug)]
pub struct Peer {
    pub last_hello: Ms,
    /// It says that the master is down.
    pub says_down: bool,
    pub last_answer: Ms,
    /// Whom it voted for.
    pub leader: Option<String>,
    pub leader_epoch: u64,
}

impl Instance {
    #[must_use]
    pub fn new(name: String, address: Address, link: LinkId, master: Id, kind: Kind) -> Self {
        let role_reported =
            if matches!(kind, Kind::Replica(_)) { Role::Replica } else { Role::Master };
        Self {
            name,
            address,
            run_id: None,
            link,
            master,
            kind,
            s_down: false,
            s_down_since: 0,
            down_after: 0,
            last_published: 0,
            info: Vec::new(),
            info_refresh: 0,
            info_asked: None,
            role_reported,
            role_reported_at: 0,
            script_kill_sent: false,
        }
    }

    #[must_use]
    pub fn is_master(&self) -> bool {
        matches!(self.kind, Kind::Master(_))
    }

    #[must_use]
    pub fn is_sentinel(&self) -> bool {
        matches!(self.kind, Kind::Sentinel(_))
    }

    #[must_use]
    pub fn replica(&self) -> Option<&Replica> {
        match &self.kind {
            Kind::Replica(replica) => Some(replica),
            _ => None,
        }
    }

    pub fn replica_mut(&mut self) -> Option<&mut Replica> {
        match &mut self.kind {
            Kind::Replica(replica) => Some(replica),
            _ => None,
        }
    }

    #[must_use]
    pub fn peer(&self) -> Option<&Peer> {
        match &self.kind {
            Kind::Sentinel(peer) => Some(peer),
            _ => None,
        }
    }

    pub fn peer_mut(&mut self) -> Option<&mut Peer> {
        match &mut self.kind {
            Kind::Sentinel(peer) => Some(peer),
            _ => None,
        }
    }

    /// Its type in events.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self.kind {
            Kind::Master(_) => "master",
            Kind::Replica(_) => "slave",
            Kind::Sentinel(_) => "sentinel",
        }
    }
}

impl Replica {
    #[must_use]
    pub fn new(now: Ms) -> Self {
        Self {
            priority: 100,
            announced: true,
            offset: 0,
            replid: String::new(),
            link_down_for: 0,
            link_up: false,
            master_host: None,
            master_port: 0,
            conf_changed: now,
            reconf: Reconf::No,
            deposed: false,
        }
    }
}

impl Peer {
    #[must_use]
    pub fn new(now: Ms) -> Self {
        Self { last_hello: now, says_down: false, last_answer: now, leader: None, leader_epoch: 0 }
    }
}

/// All instances by number. Naming one that is not there is a mistake of ours and ends the process.
#[derive(Debug, Default)]
pub struct Instances {
    all: BTreeMap<Id, Instance>,
    next: u32,
}

impl Instances {
    /// The number that the next instance gets.
    #[must_use]
    pub fn next(&self) -> Id {
        Id(self.next)
    }

    pub fn add(&mut self, instance: Instance) -> Id {
        let id = self.next();
        self.next += 1;
        self.all.insert(id, instance);
        id
    }

    pub fn remove(&mut self, id: Id) -> Option<Instance> {
        self.all.remove(&id)
    }

    #[must_use]
    pub fn get(&self, id: Id) -> Option<&Instance> {
        self.all.get(&id)
    }

    pub fn get_mut(&mut self, id: Id) -> Option<&mut Instance> {
        self.all.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Id, &Instance)> {
        self.all.iter().map(|(id, it)| (*id, it))
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Instance> {
        self.all.values_mut()
    }

    /// The master with this number.
    #[must_use]
    pub fn master(&self, id: Id) -> &Master {
        match &self[id].kind {
            Kind::Master(master) => master,
            _ => panic!("{id:?} is no master"),
        }
    }

    pub fn master_mut(&mut self, id: Id) -> &mut Master {
        match &mut self[id].kind {
            Kind::Master(master) => master,
            _ => panic!("{id:?} is no master"),
        }
    }
}

impl Index<Id> for Instances {
    type Output = Instance;

    fn index(&self, id: Id) -> &Instance {
        match self.all.get(&id) {
            Some(instance) => instance,
            None => panic!("{id:?} is no instance"),
        }
    }
}

impl IndexMut<Id> for Instances {
    fn index_mut(&mut self, id: Id) -> &mut Instance {
        match self.all.get_mut(&id) {
            Some(instance) => instance,
            None => panic!("{id:?} is no instance"),
        }
    }
}
