//! What may happen in a seed's world. Each class of faults is on in only some seeds ("swarm"), so that
//! every class is also seen without the noise of the others.

use ringfold::base::prng::Prng;

/// A bug that the world makes on purpose, to prove that its checkers would find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plant {
    /// Replies leave before the replicas are given the turn's stream.
    RepliesFirst,
    /// Two messages on a road between cores change places.
    RoadReordered,
    /// A piece of the stream is delivered twice.
    PieceTwice,
    /// A cut of the link: its last bytes were counted as sent and never come, and it goes on.
    TailLost,
    /// PINGs are taken out of the stream that a replica gets.
    PingUncounted,
    /// SELECT of the stream always selects database 0.
    SelectIgnored,
    /// The last core does not stand still in a section.
    CoreNotFrozen,
    /// A reply is lost on its way to its client.
    ReplyLost,
    /// What a lent socket did not take of a reply is forgotten.
    LentRestLost,
    /// A sync is said to be done, and is not.
    SyncSkipped,
    /// A write to a full disk is said to be whole, and is not.
    ShortWrite,
    /// The manifest is replaced, but not the directory's entry of it: a power failure brings the old one back.
    RenameUnsynced,
    /// A file is gone on with behind the half of a command that a crash left.
    TailKept,
}

/// See the file's header.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub plant: Option<Plant>,
    pub cores: Vec<usize>,
    pub clients: usize,
    /// Virtual milliseconds of load and faults, before all is healed.
    pub run_ms: u64,
    pub keys: u64,
    pub databases: u64,
    /// Bytes are delivered in pieces torn anywhere.
    pub torn: bool,
    /// Sockets take little at a time.
    pub narrow: bool,
    /// A turn sees only a part of what waits on its roads.
    pub partial_mail: bool,
    /// Cores stop for a while.
    pub stalls: bool,
    pub cuts: bool,
    pub silence: bool,
    pub refuse: bool,
    pub kill_replicas: bool,
    pub kill_master: bool,
    pub role_changes: bool,
    pub saves: bool,
    pub disk_faults: bool,
    /// All hosts have append-only files, which answer after the sync if `always`.
    pub files: bool,
    pub always: bool,
    /// A process that dies takes with it what was not synced.
    pub power: bool,
    pub commands: bool,
    /// The ring's oldest chunks go to a file.
    pub spills: bool,
    pub expiry: bool,
    pub flushes: bool,
    pub across: bool,
    pub large_values: bool,
    pub skew: bool,
    /// The stream goes to replicas by a connection for each core.
    pub flows: bool,
    pub delay_us: u64,
    pub fault_ms: u64,
}

impl Plan {
    pub fn draw(seed: u64, plant: Option<Plant>) -> Self {
        let mut prng = Prng::new(seed ^ 0x51b0_1a7e);
        let mut on = |numerator| prng.chance(numerator, 10);
        let mut plan = Self {
            seed,
            plant,
            cores: Vec::new(),
            clients: 0,
            run_ms: 0,
            keys: 0,
            databases: 1,
            torn: on(6),
            narrow: on(4),
            partial_mail: on(6),
            stalls: on(4),
            cuts: on(5),
            silence: on(2),
            refuse: on(2),
            kill_replicas: on(3),
            kill_master: on(2),
            role_changes: on(3),
            saves: on(4),
            disk_faults: on(2),
            files: false,
            always: false,
            power: false,
            commands: false,
            spills: false,
            expiry: on(5),
            flushes: on(4),
            across: on(6),
            large_values: on(3),
            skew: on(3),
            flows: false,
            delay_us: 0,
            fault_ms: 0,
        };
        plan.cores = (0..3).map(|_| 1 + usize::try_from(prng.below(3)).unwrap()).collect();
        plan.clients = 2 + usize::try_from(prng.below(5)).unwrap();
        plan.run_ms = 1_500 + prng.below(4_000);
        plan.keys = [6, 30, 120][usize::try_from(prng.below(3)).unwrap()];
        plan.databases = 1 + prng.below(3);
        plan.delay_us = [50, 300, 2_000, 15_000][usize::try_from(prng.below(4)).unwrap()];
        plan.draw_files(&mut prng);
        plan.fault_ms = [100, 300, 900][usize::try_from(prng.below(3)).unwrap()];
        plan.flows = prng.chance(7, 10);
        plan
    }

    fn draw_files(&mut self, prng: &mut Prng) {
        let planted = self.plant.is_some_and(Plant::is_of_files);
        self.files = prng.chance(4, 10) || planted;
        self.always = prng.chance(1, 2) || planted;
        self.power = prng.chance(1, 2) || planted;
        self.commands = prng.chance(1, 4);
        self.spills = prng.chance(2, 10);
        if planted {
            (self.kill_master, self.disk_faults) = (true, true);
        }
    }
}

impl Plant {
    fn is_of_files(self) -> bool {
        matches!(self, Self::SyncSkipped | Self::ShortWrite | Self::RenameUnsynced | Self::TailKept)
    }
}
