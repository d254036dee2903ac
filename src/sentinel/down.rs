//! Who is down: in our own eyes (S_DOWN), and in the eyes of enough Sentinels (O_DOWN); and the tick that
//! drives all of it.
//!
//! TILT: a tick that comes more than two seconds late means that this process was stopped, and that
//! everybody else looks silent for no fault of theirs. For half a minute it watches and tells, and does
//! nothing.

use super::instance::{Id, Kind, Ms, Role};
use super::link::{Question, Side};
use super::machine::{Level, Sentinel};
use crate::resp::decode::Value;

/// The longest wait between becoming sure and standing for election: those who became sure at the
/// same moment do not ask for votes at the same moment.
const CANDIDATE_DELAY_MS: Ms = 250;

impl Sentinel {
    pub(super) fn tick(&mut self) {
        self.check_tilt();
        for master in self.master_ids() {
            self.attend(master);
            if self.tilt_since.is_none() {
                self.act(master);
                self.examine_claims(master);
            }
            let group = self.instances.master(master);
            let all: Vec<Id> =
                group.replicas.values().chain(group.sentinels.values()).copied().collect();
            for id in all {
                if self.instances.get(id).is_some() {
                    self.attend(id);
                }
            }
        }
        self.run_scripts();
        self.tick_clients();
    }

    /// What is done for every instance, whatever it is.
    fn attend(&mut self, id: Id) {
        self.reconnect(id);
        self.ask_regularly(id);
        if let Some(since) = self.tilt_since {
            if self.now - since < self.periods.tilt {
                return;
            }
            self.tilt_since = None;
            self.event(Level::Warning, "-tilt", None, "#tilt mode exited");
        }
        self.check_s_down(id);
    }

    fn check_tilt(&mut self) {
        if self.now - self.last_tick > self.periods.tilt_trigger {
            self.tilt_since = Some(self.now);
            self.event(Level::Warning, "+tilt", None, "#tilt mode entered");
        }
        self.last_tick = self.now;
    }

    fn check_s_down(&mut self, id: Id) {
        let link_id = self.instances[id].link;
        let now = self.now;
        let down_after = self.instances[id].down_after;
        let link = self.link(id);
        let pending = link.ping_pending_since;
        let silent = if pending != 0 { now - pending } else { 0 };
        let is_settled = |wire: &Option<super::link::Wire>| {
            wire.as_ref().is_some_and(|it| now - it.since > self.periods.min_link_reconnect)
        };
        // A connection may be dead without having ended: half way to being down it is made anew.
        let stuck = is_settled(&link.command)
            && silent > down_after / 2
            && now - link.last_pong > down_after / 2;
        let deaf = is_settled(&link.hello) && now - link.hello_activity > self.periods.publish * 3;
        if stuck {
            self.drop_connection(link_id, Side::Command);
        }
        if deaf {
            self.drop_connection(link_id, Side::Hello);
        }
        let instance = &self.instances[id];
        let reported_at = instance.role_reported_at;
        let odd = match &instance.kind {
            Kind::Master(master) => {
                let patience = down_after + self.periods.info * 2;
                let abdicated =
                    instance.role_reported == Role::Replica && now - reported_at > patience;
                abdicated
                    || master.rebooted_at.is_some_and(|at| now - at > master.reboot_down_after)
            }
            Kind::Replica(_) | Kind::Sentinel(_) => false,
        };
        let is_down = silent > down_after || odd;
        if is_down && !instance.s_down {
            self.note_missed_ping(id, silent);
            self.event_of(Level::Warning, "+sdown", id, "");
            self.instances[id].s_down_since = now;
            self.instances[id].s_down = true;
        } else if !is_down && instance.s_down {
            self.event_of(Level::Warning, "-sdown", id, "");
            self.instances[id].s_down = false;
            self.instances[id].script_kill_sent = false;
            if self.instances[id].replica().is_some_and(|it| it.deposed) {
                self.ask_info(id); // It may take itself for the master still.
            }
        }
    }

    /// What is done for a master, as soon as something about it is known.
    pub(super) fn act(&mut self, master: Id) {
        if self.tilt_since.is_some() {
            return;
        }
        self.check_o_down(master);
        if self.start_failover_if_needed(master) {
            self.ask_others(master, true);
        }
        self.go_on_with_failover(master);
        self.ask_others(master, false);
    }

    fn check_o_down(&mut self, id: Id) {
        let master = self.instances.master(id);
        let others = master.sentinels.values();
        let agree = others.filter(|it| self.instances[**it].peer().is_some_and(|it| it.says_down));
        let votes = 1 + i64::try_from(agree.count()).unwrap_or(0);
        let is_down = self.instances[id].s_down && votes >= master.quorum;
        if is_down && !master.o_down {
            let rest = format!(" #quorum {votes}/{}", master.quorum);
            self.event_of(Level::Warning, "+odown", id, &rest);
            let delay = CANDIDATE_DELAY_MS.min(self.instances[id].down_after / 4);
            let delay = self.prng.below(u64::try_from(delay).unwrap_or(0) + 1);
            let now = self.now;
            let master = self.instances.master_mut(id);
            master.o_down = true;
            master.o_down_since = now;
            master.candidate_at = now + i64::try_from(delay).unwrap_or(0);
            master.splits = 0;
        } else if !is_down && master.o_down {
            self.event_of(Level::Warning, "-odown", id, "");
            self.instances.master_mut(id).o_down = false;
        }
    }

    /// Asks the other Sentinels whether the master is down and, during a failover of ours, for their
    /// votes. `forced`: at once.
    fn ask_others(&mut self, id: Id, forced: bool) {
        let master = self.instances.master(id);
        let wants_votes = master.failover.in_progress();
        let sentinels: Vec<Id> = master.sentinels.values().copied().collect();
        let address = &self.instances[id].address;
        let host = address.shown(self.globals.announce_hostnames).to_string();
        let port = address.port.to_string();
        let epoch = self.epoch.to_string();
        // The shorter the patience, the sooner it is worth asking again.
        let period = self.periods.ask.min((self.instances[id].down_after / 10).max(100));
        // The epoch in which we ask for votes is ours on disk before it is on the wire.
        let may_ask = self.instances[id].s_down && (!wants_votes || self.is_saved());
        for peer_id in sentinels {
            let Some(peer) = self.instances[peer_id].peer_mut() else { continue };
            let elapsed = self.now - peer.last_answer;
            if elapsed > self.periods.ask * 5 {
                peer.says_down = false;
                peer.leader = None;
            }
            let link = self.link(peer_id);
            if !may_ask || link.disconnected || (!forced && elapsed < period) {
                continue;
            }
            let under_way = link.command.as_ref().is_some_and(|wire| {
                wire.questions.iter().any(|it| *it == (Question::IsMasterDown, peer_id))
            });
            if under_way && !forced {
                continue;
            }
            let runid = if wants_votes { self.myid.clone() } else { "*".into() };
            let words: [&[u8]; 6] = [
                b"SENTINEL",
                b"is-master-down-by-addr",
                host.as_bytes(),
                port.as_bytes(),
                epoch.as_bytes(),
                runid.as_bytes(),
            ];
            self.ask(peer_id, Question::IsMasterDown, &words);
        }
    }

    /// The answer to it.
    pub(super) fn peer_answered(&mut self, id: Id, value: &Value) {
        let Value::Array(items) = value else { return };
        let [Value::Int(down), Value::Bulk(leader), Value::Int(epoch)] = items.as_slice() else {
            return;
        };
        let Ok(epoch) = u64::try_from(*epoch) else { return };
        let leader = String::from_utf8_lossy(leader).into_owned();
        let now = self.now;
        let name = self.instances[id].name.clone();
        let mut line = None;
        if let Some(peer) = self.instances[id].peer_mut() {
            peer.last_answer = now;
            peer.says_down = *down == 1;
            if leader != "*" {
                if peer.leader_epoch != epoch {
                    line = Some(format!("{name} voted for {leader} {epoch}"));
                }
                peer.leader = Some(leader);
                peer.leader_epoch = epoch;
            }
        }
        if let Some(line) = line {
            self.log(Level::Warning, line);
        }
        let master = self.instances[id].master;
        self.act(master);
    }
}
