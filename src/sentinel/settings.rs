//! What a Sentinel is told at its start, and what can be changed while it runs.

use super::instance::Ms;

/// What the outside tells once.
#[derive(Clone, Debug)]
pub struct Settings {
    pub port: u16,
    /// Of the default user; empty: none.
    pub requirepass: Vec<u8>,
    /// Further users with a password each, who may do everything.
    pub users: Vec<(String, Vec<u8>)>,
    /// Where it is on and there is no password, strangers from other hosts are turned away.
    pub protected_mode: bool,
    pub maxclients: usize,
    /// Whether a path can be run: asked where an operator names a script.
    pub is_executable: fn(&str) -> bool,
    pub facts: Facts,
}

/// What INFO says of process and host.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub version: String,
    pub os: String,
    pub pid: u32,
    pub run_id: String,
    pub executable: String,
    pub config_file: String,
}

/// `SENTINEL CONFIG SET`, and the same lines in the file.
#[derive(Clone, Debug)]
pub struct Globals {
    pub announce_ip: String,
    pub announce_port: u16,
    pub sentinel_user: Vec<u8>,
    pub sentinel_pass: Vec<u8>,
    pub resolve_hostnames: bool,
    pub announce_hostnames: bool,
    pub deny_scripts_reconfig: bool,
}

impl Default for Globals {
    fn default() -> Self {
        Self {
            announce_ip: String::new(),
            announce_port: 0,
            sentinel_user: Vec::new(),
            sentinel_pass: Vec::new(),
            resolve_hostnames: false,
            announce_hostnames: false,
            deny_scripts_reconfig: true,
        }
    }
}

/// `SENTINEL DEBUG`: how often and how long, in milliseconds.
#[derive(Clone, Debug)]
pub struct Periods {
    pub info: Ms,
    pub ping: Ms,
    pub ask: Ms,
    pub publish: Ms,
    pub default_down_after: Ms,
    pub default_failover_timeout: Ms,
    pub tilt_trigger: Ms,
    pub tilt: Ms,
    pub replica_reconf_timeout: Ms,
    pub min_link_reconnect: Ms,
    pub election_timeout: Ms,
    pub script_max_runtime: Ms,
    pub script_retry_delay: Ms,
}

impl Default for Periods {
    fn default() -> Self {
        Self {
            info: 10_000,
            ping: 1_000,
            ask: 1_000,
            publish: 2_000,
            default_down_after: 30_000,
            default_failover_timeout: 180_000,
            tilt_trigger: 2_000,
            tilt: 30_000,
            replica_reconf_timeout: 10_000,
            min_link_reconnect: 15_000,
            election_timeout: 10_000,
            script_max_runtime: 60_000,
            script_retry_delay: 30_000,
        }
    }
}

impl Periods {
    /// Names and values in the order in which `SENTINEL DEBUG` lists them.
    pub fn rows(&mut self) -> [(&'static str, &mut Ms); 13] {
        [
            ("INFO-PERIOD", &mut self.info),
            ("PING-PERIOD", &mut self.ping),
            ("ASK-PERIOD", &mut self.ask),
            ("PUBLISH-PERIOD", &mut self.publish),
            ("DEFAULT-DOWN-AFTER", &mut self.default_down_after),
            ("DEFAULT-FAILOVER-TIMEOUT", &mut self.default_failover_timeout),
            ("TILT-TRIGGER", &mut self.tilt_trigger),
            ("TILT-PERIOD", &mut self.tilt),
            ("SLAVE-RECONF-TIMEOUT", &mut self.replica_reconf_timeout),
            ("MIN-LINK-RECONNECT-PERIOD", &mut self.min_link_reconnect),
            ("ELECTION-TIMEOUT", &mut self.election_timeout),
            ("SCRIPT-MAX-RUNTIME", &mut self.script_max_runtime),
            ("SCRIPT-RETRY-DELAY", &mut self.script_retry_delay),
        ]
    }
}

/// `SENTINEL SIMULATE-FAILURE`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Failures {
    pub crash_after_election: bool,
    pub crash_after_promotion: bool,
}
