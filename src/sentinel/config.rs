//! `sentinel` lines of a configuration file into a Sentinel, and a Sentinel into a file.
//!
//! The file is also the memory: epochs, votes, replicas and other Sentinels stand in it. Whatever a peer
//! sent, what is written here can be read here again: every word that could be mistaken for more than one
//! is quoted.
//!
//! Lines are taken in three lots, so that their order does not matter: what is true of all masters, the
//! masters, and the rest. Lines that begin otherwise are the server's, and stay untouched.

use super::instance::Id;
use super::machine::Sentinel;
use super::rewrite::Rewriting;
use super::roster::Refused;
use crate::base::limits::SENTINEL_NAME_BYTES_MAX;
use crate::base::settings::grammar::{lines, quote};
use crate::base::settings::value::parse_bool;
use std::fmt;

/// The line that cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub struct BadLine {
    pub number: usize,
    pub text: String,
    pub why: &'static str,
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, text, why } = self;
        write!(f, "Reading the configuration file, at line {number}\n>>> '{text}'\n{why}")
    }
}

/// Settings that hold for all masters: taken first.
const FIRST: &[&str] = &[
    "announce-ip",
    "announce-port",
    "deny-scripts-reconfig",
    "sentinel-user",
    "sentinel-pass",
    "current-epoch",
    "myid",
    "resolve-hostnames",
    "announce-hostnames",
];

const NO_MASTER: &str = "No such master with specified name.";
const NOT_POSITIVE: &str = "negative or zero time parameter.";
const UNKNOWN: &str = "Unrecognized sentinel configuration statement.";

impl Sentinel {
    /// Takes the `sentinel` lines of a file.
    ///
    /// # Errors
    /// The first line that cannot be used, as Redis words it.
    pub fn load(&mut self, text: &[u8]) -> Result<(), BadLine> {
        self.original = text.to_vec();
        let mut lots: [Vec<_>; 3] = Default::default();
        for line in lines(text) {
            let bad = |why| BadLine {
                number: line.number,
                text: String::from_utf8_lossy(line.text).into_owned(),
                why,
            };
            let Some(words) = &line.words else {
                return Err(bad("Unbalanced quotes in configuration line"));
            };
            let is_ours = words.first().is_some_and(|it| it.eq_ignore_ascii_case(b"sentinel"));
            if !is_ours {
                continue;
            }
            let Some(words) = words.get(1..).filter(|it| !it.is_empty()) else {
                return Err(bad(UNKNOWN));
            };
            let name = String::from_utf8_lossy(words.first().map_or(b"", |it| it)).to_lowercase();
            let lot = match name.as_str() {
                "monitor" => 1,
                it if FIRST.contains(&it) => 0,
                _ => 2,
            };
            if let Some(lot) = lots.get_mut(lot) {
                lot.push((line.number, line.text.to_vec(), words.to_vec()));
            }
        }
        for (number, text, words) in lots.into_iter().flatten() {
            self.configure(&words).map_err(|why| BadLine {
                number,
                text: String::from_utf8_lossy(&text).into_owned(),
                why,
            })?;
        }
        Ok(())
    }

    /// One line, without the word `sentinel`.
    fn configure(&mut self, words: &[Vec<u8>]) -> Result<(), &'static str> {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let name = words.first().map(|it| String::from_utf8_lossy(it).to_lowercase());
        match (name.as_deref().unwrap_or_default(), words.get(1..).unwrap_or_default()) {
            ("monitor", [name, host, port, quorum]) => {
                self.configure_monitor(name, host, port, quorum)
            }
            (option, values) if FIRST.contains(&option) => self.configure_global(option, values),
            (option, [name, values @ ..]) => match self.masters.get(utf8(name)) {
                Some(&id) => self.configure_master(id, option, values),
                None if is_master_option(option) => Err(NO_MASTER),
                None => Err(UNKNOWN),
            },
            _ => Err(UNKNOWN),
        }
    }

    fn configure_monitor(
        &mut self,
        name: &[u8],
        host: &[u8],
        port: &[u8],
        quorum: &[u8],
    ) -> Result<(), &'static str> {
        let quorum = number(quorum);
        if quorum <= 0 {
            return Err("Quorum must be 1 or greater.");
        }
        if !is_fit_name(name) {
            return Err("A master's name is made of letters, digits and . - _ only.");
        }
        self.add_master(utf8(name), utf8(host), number(port), quorum).map(drop).map_err(|refused| {
            match refused {
                Refused::Duplicate => "Duplicate master name.",
                refused => instance_error(refused),
            }
        })
    }

    fn configure_global(&mut self, option: &str, values: &[&[u8]]) -> Result<(), &'static str> {
        let [value] = values else { return Err(UNKNOWN) };
        let globals = &mut self.globals;
        match option {
            "announce-ip" => globals.announce_ip = utf8(value).to_string(),
            "announce-port" => globals.announce_port = u16::try_from(number(value)).unwrap_or(0),
            "sentinel-user" => globals.sentinel_user = value.to_vec(),
            "sentinel-pass" => globals.sentinel_pass = value.to_vec(),
            "current-epoch" => self.epoch = self.epoch.max(epoch(value)),
            "myid" => {
                if value.len() != 40 || !value.iter().all(u8::is_ascii_alphanumeric) {
                    return Err("Malformed Sentinel id in myid option.");
                }
                self.myid = utf8(value).to_string();
            }
            "resolve-hostnames" => {
                globals.resolve_hostnames = parse_bool(value)
                    .ok_or("Please specify yes or no for the resolve-hostnames option.")?;
            }
            "announce-hostnames" => {
                globals.announce_hostnames = parse_bool(value)
                    .ok_or("Please specify yes or no for the announce-hostnames option.")?;
            }
            _ => {
                globals.deny_scripts_reconfig = parse_bool(value)
                    .ok_or("Please specify yes or no for the deny-scripts-reconfig options.")?;
            }
        }
        Ok(())
    }

    fn configure_master(
        &mut self,
        id: Id,
        option: &str,
        values: &[&[u8]],
    ) -> Result<(), &'static str> {
        let is_executable = self.settings.is_executable;
        let master = self.instances.master_mut(id);
        match (option, values) {
            ("down-after-milliseconds", [ms]) => {
                self.instances[id].down_after = positive(ms)?;
                self.spread_down_after(id);
            }
            ("failover-timeout", [ms]) => master.failover_timeout = positive(ms)?,
            ("parallel-syncs", [count]) => master.parallel_syncs = number(count),
            ("notification-script", [path]) => {
                let path = utf8(path);
                if !is_executable(path) {
                    return Err("Notification script seems non existing or non executable.");
                }
                master.notification_script = path.to_string();
            }
            ("client-reconfig-script", [path]) => {
                let path = utf8(path);
                if !is_executable(path) {
                    return Err(
                        "Client reconfiguration script seems non existing or non executable.",
                    );
                }
                master.client_reconfig_script = path.to_string();
            }
            ("auth-pass", [pass]) => master.auth_pass = pass.to_vec(),
            ("auth-user", [user]) => master.auth_user = user.to_vec(),
            ("config-epoch", [value]) => {
                master.config_epoch = epoch(value);
                self.epoch = self.epoch.max(epoch(value));
            }
            ("leader-epoch", [value]) => master.leader_epoch = epoch(value),
            ("known-replica" | "known-slave", [host, port]) => {
                match self.add_replica(id, utf8(host), number(port)) {
                    Ok(_) | Err(Refused::TooMany) => {}
                    Err(Refused::Duplicate) => {
                        return Err("Duplicate hostname and port for replica.");
                    }
                    Err(refused) => return Err(instance_error(refused)),
                }
            }
            // The old form without an id is of no use.
            ("known-sentinel", [_, _]) => {}
            ("known-sentinel", [host, port, run_id]) => {
                match self.add_sentinel(id, utf8(run_id), utf8(host), number(port)) {
                    Ok(_) | Err(Refused::TooMany) => {}
                    Err(Refused::Duplicate) => return Err("Duplicate runid for sentinel."),
                    Err(refused) => return Err(instance_error(refused)),
                }
            }
            ("rename-command", [old, new]) => {
                let old = utf8(old).to_ascii_uppercase();
                if master.renamed.insert(old, utf8(new).to_string()).is_some() {
                    return Err("Same command renamed multiple times with rename-command.");
                }
            }
            ("master-reboot-down-after-period", [ms]) => {
                master.reboot_down_after = number(ms);
                if master.reboot_down_after < 0 {
                    return Err("negative time parameter.");
                }
            }
            _ => return Err(UNKNOWN),
        }
        Ok(())
    }

    /// The whole file as it is to be.
    pub(super) fn file(&self) -> Vec<u8> {
        let mut to = Rewriting::new(&self.original);
        let yes = |value: bool| if value { "yes" } else { "no" };
        let globals = &self.globals;
        to.line("myid", &format!("sentinel myid {}", self.myid));
        for (name, value, default) in [
            ("deny-scripts-reconfig", globals.deny_scripts_reconfig, true),
            ("resolve-hostnames", globals.resolve_hostnames, false),
            ("announce-hostnames", globals.announce_hostnames, false),
        ] {
            to.line_unless(name, &format!("sentinel {name} {}", yes(value)), value == default);
        }
        for id in self.masters.values() {
            self.write_master(*id, &mut to);
        }
        #[cfg(test)]
        let epoch =
            if self.plant == Some(super::sim::Plant::EpochIsNotSaved) { 0 } else { self.epoch };
        #[cfg(not(test))]
        let epoch = self.epoch;
        to.line("current-epoch", &format!("sentinel current-epoch {epoch}"));
        for (name, value) in [
            ("announce-ip", globals.announce_ip.as_bytes()),
            ("sentinel-user", &globals.sentinel_user),
            ("sentinel-pass", &globals.sentinel_pass),
        ] {
            if !value.is_empty() {
                to.line(name, &format!("sentinel {name} {}", word(value)));
            }
        }
        if globals.announce_port != 0 {
            let line = format!("sentinel announce-port {}", globals.announce_port);
            to.line("announce-port", &line);
        }
        to.finish()
    }

    fn write_master(&self, id: Id, to: &mut Rewriting) {
        let announce = self.globals.announce_hostnames;
        let instance = &self.instances[id];
        let master = self.instances.master(id);
        let current = self.current_address(id);
        let name = word(instance.name.as_bytes());
        let mut line = |option: &str, value: &str| {
            to.line(option, &format!("sentinel {option} {name} {value}"));
        };
        let host = |it: &super::address::Address| word(told(it, announce).as_bytes());
        line("monitor", &format!("{} {} {}", host(current), current.port, master.quorum));
        if instance.down_after != self.periods.default_down_after {
            line("down-after-milliseconds", &instance.down_after.to_string());
        }
        if master.failover_timeout != self.periods.default_failover_timeout {
            line("failover-timeout", &master.failover_timeout.to_string());
        }
        if master.parallel_syncs != 1 {
            line("parallel-syncs", &master.parallel_syncs.to_string());
        }
        for (option, value) in [
            ("notification-script", master.notification_script.as_bytes()),
            ("client-reconfig-script", master.client_reconfig_script.as_bytes()),
            ("auth-pass", &master.auth_pass),
            ("auth-user", &master.auth_user),
        ] {
            if !value.is_empty() {
                line(option, &word(value));
            }
        }
        if master.reboot_down_after != 0 {
            line("master-reboot-down-after-period", &master.reboot_down_after.to_string());
        }
        line("config-epoch", &master.config_epoch.to_string());
        line("leader-epoch", &master.leader_epoch.to_string());
        for replica in master.replicas.values() {
            // Where the promoted one is the master already, the old master takes its place.
            let address = &self.instances[*replica].address;
            let address = if address.is_same(current) { &instance.address } else { address };
            line("known-replica", &format!("{} {}", host(address), address.port));
        }
        for sentinel in master.sentinels.values() {
            let it = &self.instances[*sentinel];
            let value = format!("{} {} {}", host(&it.address), it.address.port, it.name);
            line("known-sentinel", &value);
        }
        for (old, new) in &master.renamed {
            line("rename-command", &format!("{} {}", word(old.as_bytes()), word(new.as_bytes())));
        }
    }
}

/// A name that is not resolved yet has no IP to be written.
fn told(address: &super::address::Address, announce: bool) -> &str {
    match address.shown(announce) {
        "" => &address.host,
        shown => shown,
    }
}

fn instance_error(refused: Refused) -> &'static str {
    match refused {
        Refused::Unresolved => "Can't resolve instance hostname.",
        Refused::Port => "Invalid port number.",
        Refused::Duplicate | Refused::TooMany => "Unknown Error for creating instances.",
    }
}

fn is_master_option(option: &str) -> bool {
    matches!(
        option,
        "down-after-milliseconds"
            | "failover-timeout"
            | "parallel-syncs"
            | "notification-script"
            | "client-reconfig-script"
            | "auth-pass"
            | "auth-user"
            | "config-epoch"
            | "leader-epoch"
            | "known-replica"
            | "known-slave"
            | "known-sentinel"
            | "rename-command"
            | "master-reboot-down-after-period"
    )
}

/// Whether a master may be called so: the name stands in files, hello messages and events.
#[must_use]
pub fn is_fit_name(name: &[u8]) -> bool {
    let fit = |byte: &u8| byte.is_ascii_graphic() && !b",\"'#\\".contains(byte);
    !name.is_empty() && name.len() <= SENTINEL_NAME_BYTES_MAX && name.iter().all(fit)
}

/// As one word of a line.
fn word(value: &[u8]) -> String {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !b"\"'".contains(byte);
    if !value.is_empty() && value.iter().all(plain) {
        return String::from_utf8_lossy(value).into_owned();
    }
    String::from_utf8_lossy(&quote(value)).into_owned()
}

fn utf8(word: &[u8]) -> &str {
    str::from_utf8(word).unwrap_or_default()
}

/// As C's `atoi`: what is no number is 0.
fn number(word: &[u8]) -> i64 {
    let end =
        word.iter().skip(1).position(|it| !it.is_ascii_digit()).map_or(word.len(), |it| it + 1);
    utf8(word.get(..end).unwrap_or_default()).parse().unwrap_or(0)
}

fn positive(word: &[u8]) -> Result<i64, &'static str> {
    Some(number(word)).filter(|it| *it > 0).ok_or(NOT_POSITIVE)
}

fn epoch(word: &[u8]) -> u64 {
    utf8(word).parse().unwrap_or(0)
}
