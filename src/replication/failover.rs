//! FAILOVER: a master hands its role to one of its replicas, and nobody loses a write.
//!
//! ```text
//!   No -FAILOVER-> WaitingForSync -a replica has everything-> InProgress -it answers PSYNC FAILOVER-> No
//!                        \-timeout, ABORT-> No                    \-it refuses, ABORT-> Reverting -> No
//! ```
//!
//! From the first step to the last writes wait ([`Failover::is_on`]): so the replica that has the last
//! byte has it still when the roles change. With FORCE the time limit does not end the attempt but
//! the waiting: the replica takes over with what it has.
//!
//! The trap: another core may have written after the replica's last acknowledgement and before it
//! heard that writes wait. So [`Failover::may_switch`] is asked again when all cores stand still.
//!
//! Not here: holding writes, changing roles (`node/failover.rs`), the link (`replica.rs`).

use crate::base::time::Mono;
use crate::replication::attached::Row;
use crate::resp::error::ErrorKind;

/// A replica by the address that INFO shows.
pub type Target = (Vec<u8>, u16);

/// What FAILOVER was asked with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub target: Option<Target>,
    pub force: bool,
    pub timeout_ms: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum State {
    #[default]
    No,
    WaitingForSync {
        target: Option<Target>,
        force: bool,
        deadline: Option<Mono>,
        /// The history's length when acknowledgements were last asked for, the question included.
        asked: u64,
    },
    InProgress(Target),
    /// The replica refused: we become a master again.
    Reverting,
}

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Ask all replicas what they have, and say so with [`Failover::asked`].
    AskAcks,
    /// Change roles with this one. `forced`: whatever it has.
    Switch { target: Target, forced: bool },
    /// It did not catch up in time: go on as a master.
    GiveUp,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Failover {
    state: State,
}

impl Failover {
    /// Do writes wait?
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.state != State::No
    }

    /// INFO's word.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self.state {
            State::No => "no-failover",
            State::WaitingForSync { .. } => "waiting-for-sync",
            State::InProgress(_) | State::Reverting => "failover-in-progress",
        }
    }

    /// # Errors
    /// Why there is none to begin, in Redis' order.
    pub fn begin<'a>(
        &mut self,
        now: Mono,
        wish: Wish,
        is_replica: bool,
        rows: impl Iterator<Item = Row<'a>>,
    ) -> Result<(), ErrorKind> {
        if self.is_on() {
            return Err(ErrorKind::FailoverInProgress);
        }
        if is_replica {
            return Err(ErrorKind::FailoverOnReplica);
        }
        let rows: Vec<Row<'_>> = rows.collect();
        if rows.is_empty() {
            return Err(ErrorKind::FailoverNeedsReplicas);
        }
        if wish.force && (wish.timeout_ms.is_none() || wish.target.is_none()) {
            return Err(ErrorKind::FailoverForce);
        }
        if let Some(target) = &wish.target {
            match rows.iter().find(|row| is(row, target)) {
                None => return Err(ErrorKind::FailoverTarget),
                Some(row) if row.state != "online" => {
                    return Err(ErrorKind::FailoverTargetOffline);
                }
                Some(_) => {}
            }
        }
        let deadline = wish.timeout_ms.map(|ms| now.plus_ms(ms));
        let Wish { target, force, .. } = wish;
        self.state = State::WaitingForSync { target, force, deadline, asked: 0 };
        Ok(())
    }

    /// As often as something may have changed. `end` is the history's length.
    pub fn step<'a>(
        &self,
        now: Mono,
        end: u64,
        mut rows: impl Iterator<Item = Row<'a>>,
    ) -> Option<Step> {
        let State::WaitingForSync { target, force, deadline, asked } = &self.state else {
            return None;
        };
        if deadline.is_some_and(|at| at <= now) {
            return Some(match target {
                Some(target) if *force => Step::Switch { target: target.clone(), forced: true },
                _ => Step::GiveUp,
            });
        }
        let wanted = |row: &Row<'_>| target.as_ref().is_none_or(|target| is(row, target));
        let found = rows.find(|row| row.state == "online" && row.offset == end && wanted(row));
        match found.and_then(|row| Some((row.ip.to_vec(), u16::try_from(row.port).ok()?))) {
            Some(target) => Some(Step::Switch { target, forced: false }),
            None => (*asked < end).then_some(Step::AskAcks),
        }
    }

    /// Acknowledgements were asked for, and the history is this long with the question.
    pub fn asked(&mut self, end: u64) {
        if let State::WaitingForSync { asked, .. } = &mut self.state {
            *asked = end;
        }
    }

    /// All cores stand still: does the replica have the last byte that there is?
    pub fn may_switch<'a>(
        &self,
        target: &Target,
        forced: bool,
        end: u64,
        mut rows: impl Iterator<Item = Row<'a>>,
    ) -> bool {
        let has_all = |row: Row<'_>| is(&row, target) && row.state == "online" && row.offset == end;
        matches!(self.state, State::WaitingForSync { .. }) && (forced || rows.any(has_all))
    }

    /// We follow `target` from here on.
    pub fn switched(&mut self, target: Target) {
        self.state = State::InProgress(target);
    }

    /// FAILOVER ABORT, or something that makes the rest impossible. `true`: the roles have been
    /// changed already and must be changed back; say [`Failover::over`] then.
    pub fn abort(&mut self) -> bool {
        let changed = matches!(self.state, State::InProgress(_) | State::Reverting);
        self.state = if changed { State::Reverting } else { State::No };
        changed
    }

    /// The replica took over, or the roles are as they were.
    pub fn over(&mut self) {
        self.state = State::No;
    }
}

fn is(row: &Row<'_>, (host, port): &Target) -> bool {
    row.ip == host && row.port == i32::from(*port)
}

#[cfg(test)]
mod tests {
    use super::*;

    const END: u64 = 100;

    fn row(port: i32, state: &'static str, offset: u64) -> Row<'static> {
        Row { ip: b"h", port, state, offset, lag_s: 0 }
    }

    fn wish(port: u16, timeout_ms: u64, force: bool) -> Wish {
        Wish {
            target: (port > 0).then(|| (b"h".to_vec(), port)),
            force,
            timeout_ms: (timeout_ms > 0).then_some(timeout_ms),
        }
    }

    fn begun(wish: Wish) -> Failover {
        let mut failover = Failover::default();
        let rows = [row(1, "online", 0), row(2, "wait_bgsave", 0)].into_iter();
        assert_eq!(failover.begin(Mono(0), wish, false, rows), Ok(()));
        failover
    }

    #[test]
    fn what_cannot_begin_is_refused() {
        let check = |wish, is_replica, rows: &[Row<'static>], expected| {
            let mut failover = Failover::default();
            let rows = rows.iter().cloned();
            assert_eq!(failover.begin(Mono(0), wish, is_replica, rows), Err(expected));
            assert!(!failover.is_on());
        };
        let rows = [row(1, "online", 0), row(2, "wait_bgsave", 0)];
        check(wish(0, 0, false), true, &rows, ErrorKind::FailoverOnReplica);
        check(wish(0, 0, false), false, &[], ErrorKind::FailoverNeedsReplicas);
        check(wish(1, 0, true), false, &rows, ErrorKind::FailoverForce);
        check(wish(0, 5, true), false, &rows, ErrorKind::FailoverForce);
        check(wish(3, 0, false), false, &rows, ErrorKind::FailoverTarget);
        check(wish(2, 0, false), false, &rows, ErrorKind::FailoverTargetOffline);
        let again =
            begun(wish(0, 0, false)).begin(Mono(0), wish(0, 0, false), false, rows.into_iter());
        assert_eq!(again, Err(ErrorKind::FailoverInProgress));
    }

    #[test]
    fn the_first_that_has_everything_takes_over_and_a_named_one_alone() {
        let mut failover = begun(wish(0, 0, false));
        let rows = || [row(1, "online", END), row(2, "online", END - 1)].into_iter();
        let switch = |port| Some(Step::Switch { target: (b"h".to_vec(), port), forced: false });
        assert_eq!(failover.step(Mono(0), END, rows()), switch(1));
        assert_eq!(failover.step(Mono(0), END + 1, rows()), Some(Step::AskAcks));
        failover.asked(END + 1);
        assert_eq!(failover.step(Mono(0), END + 1, rows()), None);
        let named = begun(Wish { target: Some((b"h".to_vec(), 1)), ..Wish::default() });
        assert_eq!(named.step(Mono(0), END - 1, rows()), Some(Step::AskAcks));
        assert_eq!(named.step(Mono(0), END, rows()), switch(1));
        // A byte more since then, and it waits on.
        let target = (b"h".to_vec(), 1);
        assert!(named.may_switch(&target, false, END, rows()));
        assert!(!named.may_switch(&target, false, END + 1, rows()));
        assert!(named.may_switch(&target, true, END + 1, rows()));
    }

    #[test]
    fn the_time_limit_ends_the_attempt_or_with_force_the_waiting() {
        let late = Mono(0).plus_ms(10);
        let rows = || [row(1, "online", 0)].into_iter();
        assert_eq!(begun(wish(1, 10, false)).step(late, END, rows()), Some(Step::GiveUp));
        let forced = Some(Step::Switch { target: (b"h".to_vec(), 1), forced: true });
        assert_eq!(begun(wish(1, 10, true)).step(late, END, rows()), forced);
    }

    #[test]
    fn an_abort_changes_back_only_what_was_changed() {
        let mut failover = begun(wish(0, 0, false));
        assert_eq!((failover.name(), failover.abort()), ("waiting-for-sync", false));
        assert!(!failover.is_on());
        let mut failover = begun(wish(0, 0, false));
        failover.switched((b"h".to_vec(), 1));
        assert!(failover.abort() && failover.is_on());
        assert_eq!(failover.name(), "failover-in-progress");
        failover.over();
        assert_eq!(failover.name(), "no-failover");
    }
}
