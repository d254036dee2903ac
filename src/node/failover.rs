//! FAILOVER on both sides: writes wait, a replica catches up, roles change, and back if it refuses.
//!
//! What is decided when stands in `replication/failover.rs`. The old master asks its replica with
//! `PSYNC replid offset FAILOVER`: that one becomes a master by the same section as by
//! `REPLICAOF NO ONE` (`following.rs`) and answers then, so that its +CONTINUE has the new name.

use crate::base::num::parse_i64;
use crate::command::args::Args;
use crate::node::control::{Ask, Control, ControlCx};
use crate::node::cx::NodeCx;
use crate::node::following::{Change, Why};
use crate::node::message::Return;
use crate::node::outbox::{Conn, Level};
use crate::replication::failover::{Step, Target, Wish};
use crate::resp::error::ErrorKind;

/// `FAILOVER [TO host port [FORCE]] [ABORT] [TIMEOUT milliseconds]`
pub(super) fn failover(cx: &mut NodeCx<'_>, args: Args<'_>) -> Result<(), ErrorKind> {
    if cx.core.view.settings.cluster_enabled {
        return Err(ErrorKind::ClusterFailover);
    }
    let wish = parse(args)?;
    cx.ask(Ask::Failover(wish));
    Ok(())
}

/// `None`: ABORT.
fn parse(args: Args<'_>) -> Result<Option<Wish>, ErrorKind> {
    if args.len() == 2 && args.is(1, "ABORT") {
        return Ok(None);
    }
    let (mut wish, mut at) = (Wish::default(), 1);
    while at < args.len() {
        if args.is(at, "TIMEOUT") && at + 1 < args.len() && wish.timeout_ms.is_none() {
            let ms = parse_i64(&args[at + 1]).ok_or(ErrorKind::NotAnInteger)?;
            let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0);
            wish.timeout_ms = Some(ms.ok_or(ErrorKind::FailoverTimeout)?);
            at += 2;
        } else if args.is(at, "TO") && at + 2 < args.len() && wish.target.is_none() {
            let port = parse_i64(&args[at + 2]).ok_or(ErrorKind::NotAnInteger)?;
            // No replica has a port beyond these: it is refused when it is not found.
            let port = u16::try_from(port).unwrap_or(0);
            wish.target = Some((args[at + 1].to_vec(), port));
            at += 3;
        } else if args.is(at, "FORCE") && !wish.force {
            wish.force = true;
            at += 1;
        } else {
            return Err(ErrorKind::Syntax);
        }
    }
    Ok(Some(wish))
}

impl Control {
    /// A client wants a failover, or (`None`) that the one under way is called off.
    pub(super) fn failover(&mut self, cx: &mut ControlCx<'_>, from: Return, wish: Option<Wish>) {
        let Some(wish) = wish else {
            if !self.failover.is_on() {
                return cx.answer_error(from, &ErrorKind::FailoverNotInProgress);
            }
            self.abort_failover(cx, "it was aborted by a client");
            return cx.answer_ok(from);
        };
        let now = cx.now().mono;
        let is_replica = self.following.master.is_some();
        match self.failover.begin(now, wish, is_replica, self.master.rows(now)) {
            Ok(()) => {
                cx.log(Level::Notice, "FAILOVER requested: writes wait for a replica to catch up");
                self.settle_writes_wait(cx);
                cx.answer_ok(from);
                self.step_failover(cx);
            }
            Err(error) => cx.answer_error(from, &error),
        }
    }

    /// Goes on with a failover, if one is under way.
    pub(super) fn step_failover(&mut self, cx: &mut ControlCx<'_>) {
        if !self.failover.is_on() || !self.following.changes.is_empty() {
            return;
        }
        let (now, end) = (cx.now().mono, self.offset());
        match self.failover.step(now, end, self.master.rows(now)) {
            None => {}
            Some(Step::AskAcks) => {
                if let Some(ring) = self.ring.as_mut() {
                    self.merger.get_ack(ring);
                }
                self.failover.asked(self.offset());
                self.tell_replicas(cx, crate::replication::master::Input::Appended);
            }
            Some(Step::GiveUp) => self.abort_failover(cx, "no replica caught up in time"),
            Some(Step::Switch { target, forced }) => {
                let (why, master) = (Why::Failover { forced }, Some(target));
                self.following.changes.push_back(Change { why, master });
                self.begin_change(cx);
            }
        }
    }

    /// Does the replica have everything, now that all cores stand still?
    pub(super) fn failover_may_switch(
        &self,
        cx: &ControlCx<'_>,
        target: &Target,
        forced: bool,
    ) -> bool {
        let rows = self.master.rows(cx.now().mono);
        self.failover.may_switch(target, forced, self.offset(), rows)
    }

    pub(super) fn abort_failover(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        cx.log(Level::Warning, format!("Failover is called off: {why}"));
        self.following.changes.retain(|it| !matches!(it.why, Why::Failover { .. }));
        if self.failover.abort() {
            let why = Why::FailoverRefused;
            self.following.changes.push_back(Change { why, master: None });
            self.begin_change(cx);
        } else {
            self.settle_writes_wait(cx);
        }
    }

    pub(super) fn failover_over(&mut self, cx: &mut ControlCx<'_>) {
        self.failover.over();
        self.settle_writes_wait(cx);
    }

    /// Writes wait while the node is about to end or hands its role over, or for a slow replica.
    pub(super) fn settle_writes_wait(&mut self, cx: &mut ControlCx<'_>) {
        let behind = self.held_back.since.is_some() && !self.view.is_replica();
        let wait = behind || self.exiting.is_some() || self.failover.is_on() || self.hands_over();
        if wait != self.view.writes_wait {
            self.view.writes_wait = wait;
            self.show(cx);
        }
    }

    /// `PSYNC replid offset FAILOVER`: our master wants us to take over.
    ///
    /// # Errors
    /// It speaks of another history than ours.
    pub(super) fn failover_requested(
        &mut self,
        cx: &mut ControlCx<'_>,
        conn: Conn,
        [replid, offset]: [&[u8]; 2],
    ) -> Result<(), ErrorKind> {
        let text = String::from_utf8_lossy(replid).into_owned();
        cx.log(Level::Warning, format!("Failover request received for replid {text}."));
        if !replid.eq_ignore_ascii_case(&self.history.replid) {
            return Err(ErrorKind::PsyncFailoverReplid);
        }
        let generation = cx.core.sessions.get(conn).map_or(0, |it| it.generation);
        let psync = [replid.to_vec(), offset.to_vec()];
        let why = Why::Request { conn, generation, psync };
        self.following.changes.push_back(Change { why, master: None });
        self.begin_change(cx);
        Ok(())
    }

    /// We took over: our old master gets the answer to its PSYNC.
    pub(super) fn answer_failover(
        &mut self,
        cx: &mut ControlCx<'_>,
        conn: Conn,
        generation: u32,
        [replid, offset]: &[Vec<u8>; 2],
    ) {
        cx.log(Level::Notice, "MASTER MODE enabled (failover request from our master)");
        if cx.core.sessions.same(conn, generation).is_none() {
            return;
        }
        let mut reply = Vec::new();
        self.psync(cx, conn, Some([replid, offset]), &mut reply);
        if !reply.is_empty() {
            cx.out.to(conn).extend_from_slice(&reply);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Option<Wish>, ErrorKind> {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        parse(Args::new(&words))
    }

    /// What redis-server 7.0.15 answers.
    #[test]
    fn options_may_come_in_any_order_and_once() {
        assert_eq!(parsed("FAILOVER abort"), Ok(None));
        assert_eq!(parsed("FAILOVER"), Ok(Some(Wish::default())));
        let all = Wish { target: Some((b"h".to_vec(), 7)), force: true, timeout_ms: Some(9) };
        assert_eq!(parsed("FAILOVER to h 7 FORCE timeout 9"), Ok(Some(all.clone())));
        assert_eq!(parsed("FAILOVER force TIMEOUT 9 TO h 7"), Ok(Some(all)));
        for line in ["abort to h 7", "to h", "timeout", "force force", "to h 7 to h 7", "x"] {
            assert_eq!(parsed(&format!("FAILOVER {line}")), Err(ErrorKind::Syntax), "{line}");
        }
        assert_eq!(parsed("FAILOVER to a b"), Err(ErrorKind::NotAnInteger));
        assert_eq!(parsed("FAILOVER timeout x"), Err(ErrorKind::NotAnInteger));
        assert_eq!(parsed("FAILOVER timeout 0"), Err(ErrorKind::FailoverTimeout));
        assert_eq!(parsed("FAILOVER timeout -5"), Err(ErrorKind::FailoverTimeout));
    }
}
