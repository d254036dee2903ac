//! The source's side of a move: what time, answers and the bus do to slots that are on their way out.

use super::{ASK_AGAIN_MS, DRAIN_MS, KEEP_ALIVE_MS, Order, PATIENCE_MS, PAUSE_MS, Question, State};
use crate::cluster::id::NodeId;
use crate::cluster::machine::{Cluster, Level, Output};
use crate::cluster::node::Key;
use core::net::IpAddr;

impl Cluster {
    /// Can it go on?
    pub(super) fn check_export(&mut self, at: usize) {
        let job = self.job(at);
        let target = self.nodes.find(&job.target);
        let is = |owner: Option<Key>| job.slots.iter().all(|it| self.table.owner(it) == owner);
        let granted = matches!(job.state, State::Finishing | State::Unsure);
        let why = match target {
            Some(_) if granted && is(target) => return self.let_go(at),
            _ if self.me().is_replica() => "This node is a replica now",
            None => "The target is unknown now",
            Some(it) if self.node(it).is_replica() => "The target is a replica now",
            Some(it) if self.node(it).has_failed() && !granted => "The target has failed",
            Some(_) if !is(Some(self.me)) => "The slots are another node's now",
            Some(_) => return,
        };
        self.end_export(at, State::Failed, why);
    }

    /// What time does to the export that is under way.
    pub(super) fn step_export(&mut self, at: usize) {
        let (state, since, heard) = {
            let job = self.job(at);
            (job.state, job.since, job.heard)
        };
        let pause = self.job(at).pause;
        match state {
            State::Waiting => {
                self.enter(at, State::Establishing);
                self.ask_target(at, Question::Establish);
            }
            State::Establishing if heard > since && self.now - heard > ASK_AGAIN_MS => {
                self.job_mut(at).heard = since;
                self.ask_target(at, Question::Establish);
            }
            State::Establishing if self.now - since > 2 * PATIENCE_MS => {
                return self.end_export(at, State::Failed, "The target does not answer");
            }
            State::Pausing if pause == 0 && self.manual.until.is_none() => {
                self.pauses += 1;
                self.job_mut(at).pause = self.pauses;
            }
            State::Pausing if pause != 0 && self.facts.still == pause => {
                self.enter(at, State::Draining);
                let job = self.job(at).number;
                self.out.push(Output::Move(Order::Drain { job }));
            }
            State::Pausing | State::Draining if pause != 0 && self.now - since > DRAIN_MS => {
                let why = "The last copies took too long";
                return self.end_export(at, State::Failed, why);
            }
            State::Unsure if self.refused_for_certain(at) || self.now - since > 2 * PATIENCE_MS => {
                return self.end_export(at, State::Failed, "The target did not take the slots");
            }
            _ => {}
        }
        self.keep_alive(at);
    }

    /// It said no, and has been heard on the bus since, without a claim.
    fn refused_for_certain(&self, at: usize) -> bool {
        let job = self.job(at);
        let node = self.nodes.find(&job.target).and_then(|it| self.nodes.get(it));
        let heard = node.and_then(|it| it.pong_received);
        job.refused && heard.is_some_and(|it| it - job.since > KEEP_ALIVE_MS)
    }

    /// Writers go on waiting, and the target goes on receiving.
    fn keep_alive(&mut self, at: usize) {
        let number = self.job(at).pause;
        if number != 0 {
            self.out.push(Output::PauseWrites { number, ms: PAUSE_MS });
        }
        let receives =
            matches!(self.job(at).state, State::Copying | State::Pausing | State::Draining);
        if receives && self.now - self.job(at).heard >= KEEP_ALIVE_MS {
            self.job_mut(at).heard = self.now;
            self.ask_target(at, Question::KeepAlive);
        }
    }

    fn address_of(&self, id: &NodeId) -> Option<(IpAddr, u16)> {
        let node = self.nodes.get(self.nodes.find(id)?)?;
        Some((node.ip?, node.port))
    }

    pub(super) fn ask_target(&mut self, at: usize, question: Question) {
        let job = self.job(at);
        let Some((ip, port)) = self.address_of(&job.target) else { return };
        let verb = match question {
            Question::Establish => "ESTABLISH",
            Question::KeepAlive => "KEEPALIVE",
            Question::Finish => "FINISH",
            Question::Fail => "FAIL",
        };
        let mut words =
            vec!["CLUSTER".into(), "SYNCSLOTS".into(), verb.into(), job.name.to_string()];
        if question == Question::Establish {
            words.extend([job.source.to_string(), "SLOTSRANGE".into()]);
            for range in job.slots.ranges() {
                words.extend([range.start().to_string(), range.end().to_string()]);
            }
        }
        let words = words.into_iter().map(String::into_bytes).collect();
        let job = job.number;
        self.out.push(Output::Move(Order::Ask { job, question, ip, port, words }));
    }

    pub(super) fn begin_copying(&mut self, at: usize) {
        self.enter(at, State::Copying);
        self.job_mut(at).heard = self.now;
        let (job, slots, target) = {
            let it = self.job(at);
            (it.number, it.slots.clone(), it.target)
        };
        if let Some((ip, port)) = self.address_of(&target) {
            self.out.push(Output::Move(Order::Copy { job, ip, port, slots }));
        }
    }

    /// The target has them, and says so.
    pub(super) fn hand_over(&mut self, at: usize) {
        let (slots, target) = (self.job(at).slots.clone(), self.job(at).target);
        let Some(to) = self.nodes.find(&target) else { return };
        self.stop_copying(at);
        for slot in slots.iter() {
            self.give_slot(slot, Some(to));
        }
        self.touch();
        self.unsettled = true;
        if self.me().slot_count == 0 && self.settings.allow_replica_migration {
            let text = "Configuration change detected. Reconfiguring myself as a replica of";
            self.log(Level::Notice, format!("{text} {target}"));
            self.follow(to);
        } else {
            self.out.push(Output::DropKeys { slots });
        }
        self.let_go(at);
    }

    /// They are the target's.
    fn let_go(&mut self, at: usize) {
        self.release(at);
        self.end_job(at, State::Success, "");
    }

    pub(super) fn end_export(&mut self, at: usize, state: State, why: &str) {
        if self.job(at).state != State::Waiting {
            self.release(at);
            self.ask_target(at, Question::Fail);
        }
        self.end_job(at, state, why);
    }

    fn stop_copying(&mut self, at: usize) {
        let job = self.job(at).number;
        self.out.push(Output::Move(Order::End { job }));
    }

    /// Writers go on, and nothing is copied any more.
    fn release(&mut self, at: usize) {
        self.stop_copying(at);
        if std::mem::take(&mut self.job_mut(at).pause) != 0 {
            self.out.push(Output::ResumeWrites);
        }
    }
}
