//! Events: a line in the log, a message on the channel of the same name, and a call of the operator's
//! script. Their words are what tools and clients of Redis' Sentinel wait for.
//!
//! ```text
//!   +sdown master mymaster 127.0.0.1 6379
//!   +slave slave 127.0.0.1:6380 127.0.0.1 6380 @ mymaster 127.0.0.1 6379
//! ```

use super::address::Address;
use super::instance::Id;
use super::machine::{Level, Sentinel};

/// Who calls for the clients to be told of another master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// Whoever led the failover.
    Leader,
    Observer,
}

impl Sentinel {
    /// An event about `id`, which it names first.
    pub(super) fn event_of(&mut self, level: Level, kind: &str, id: Id, rest: &str) {
        let text = format!("{}{rest}", self.describe(id));
        self.event(level, kind, Some(id), &text);
    }

    /// An event; `about` says whose script is called, where it is a warning.
    pub(super) fn event(&mut self, level: Level, kind: &str, about: Option<Id>, text: &str) {
        self.log(level, format!("{kind} {text}"));
        about.into_iter().for_each(|id| self.note(kind, id));
        if level != Level::Debug {
            self.publish(kind.as_bytes(), text.as_bytes());
        }
        if level == Level::Warning
            && let Some(id) = about
        {
            let master = self.instances[id].master;
            let script = self.instances.master(master).notification_script.clone();
            if !script.is_empty() {
                self.scripts.schedule(vec![script, kind.to_string(), text.to_string()]);
            }
        }
    }

    /// Calls the script that leads clients to another master.
    pub(super) fn call_reconfig_script(
        &mut self,
        master: Id,
        caller: Caller,
        from: &Address,
        to: &Address,
    ) {
        let script = self.instances.master(master).client_reconfig_script.clone();
        if script.is_empty() {
            return;
        }
        let role = match caller {
            Caller::Leader => "leader",
            Caller::Observer => "observer",
        };
        let announce = self.globals.announce_hostnames;
        self.scripts.schedule(vec![
            script,
            self.instances[master].name.clone(),
            role.to_string(),
            "start".to_string(),
            from.shown(announce).to_string(),
            from.port.to_string(),
            to.shown(announce).to_string(),
            to.port.to_string(),
        ]);
    }

    /// The instance and, where it is none itself, its master.
    fn describe(&self, id: Id) -> String {
        let announce = self.globals.announce_hostnames;
        let instance = &self.instances[id];
        let shown = instance.address.shown(announce);
        let own =
            format!("{} {} {shown} {}", instance.word(), instance.name, instance.address.port);
        if instance.is_master() {
            return own;
        }
        let master = &self.instances[instance.master];
        let of = master.address.shown(announce);
        format!("{own} @ {} {of} {}", master.name, master.address.port)
    }
}
