//! SHUTDOWN, SIGTERM and SIGINT: replicas catch up, the file is saved, the process ends.
//!
//! From the first step to the last, writes wait: what was acknowledged is in the file and with the
//! replicas, or nobody promised it.

use crate::node::control::{Control, ControlCx, Exiting};
use crate::node::message::Return;
use crate::node::outbox::{Action, Level};
use crate::replication::acks;
use crate::resp::error::ErrorKind;

impl Control {
    /// A signal asks for an orderly end.
    pub(super) fn terminate(&mut self, cx: &mut ControlCx<'_>, interrupt: bool) {
        if self.exiting.is_some() {
            // Asked twice: somebody is impatient.
            cx.out.actions.push(Action::Exit { code: 1 });
            return;
        }
        cx.log(Level::Warning, "Received a signal, scheduling shutdown...");
        let settings = &self.view.settings;
        let words = match interrupt {
            true => &settings.shutdown_on_sigint,
            false => &settings.shutdown_on_sigterm,
        };
        let has = |word: &[u8]| words.split(|&byte| byte == b' ').any(|it| it == word);
        let save = if has(b"save") { Some(true) } else { has(b"nosave").then_some(false) };
        let (now, force) = (has(b"now"), has(b"force"));
        self.shutdown(cx, None, save, now, force, false);
    }

    /// `save`: `None` saves where there are save points. `now`: does not wait for replicas.
    pub(super) fn shutdown(
        &mut self,
        cx: &mut ControlCx<'_>,
        from: Option<Return>,
        save: Option<bool>,
        now: bool,
        force: bool,
        abort: bool,
    ) {
        if abort {
            let called_off = self.stay(cx);
            if let Some(from) = from {
                if called_off {
                    cx.answer_ok(from);
                } else {
                    cx.answer_error(from, &ErrorKind::NoShutdown);
                }
            }
            return;
        }
        let wait_ms = if now { 0 } else { u64::from(self.view.settings.shutdown_timeout) * 1_000 };
        let save = save.unwrap_or(!self.view.settings.save.is_empty());
        let deadline = cx.now().mono.plus_ms(wait_ms);
        match self.exiting.as_mut() {
            // One is under way: the more urgent wish wins.
            Some(exiting) => {
                exiting.askers.extend(from);
                exiting.force |= force;
                exiting.deadline = exiting.deadline.min(deadline);
            }
            None => {
                let askers = from.into_iter().collect();
                self.exiting = Some(Exiting { askers, save, force, deadline, saving: false });
                self.settle_writes_wait(cx);
            }
        }
        self.wait(cx, acks::Input::TurnEnded);
        self.exit_when_ready(cx);
    }

    /// The shutdown under way, if any, does not take place.
    fn stay(&mut self, cx: &mut ControlCx<'_>) -> bool {
        let Some(exiting) = self.exiting.take() else { return false };
        for asker in exiting.askers {
            cx.answer_error(asker, &ErrorKind::ShutdownFailed);
        }
        self.settle_writes_wait(cx);
        true
    }

    /// Goes on with a shutdown when the replicas have everything, or were given their time.
    pub(super) fn exit_when_ready(&mut self, cx: &mut ControlCx<'_>) {
        let Some(exiting) = self.exiting.as_ref() else { return };
        if exiting.saving || self.snapshots.is_saving() {
            return;
        }
        let (end, exiting_until) = (self.offset(), exiting.deadline.plus_ms(10_000));
        let behind = self
            .master
            .rows(cx.now().mono)
            .filter(|row| row.state == "online" && row.offset < end)
            .count();
        if behind > 0 && cx.now().mono < exiting.deadline {
            return;
        }
        if behind > 0 {
            cx.log(Level::Warning, format!("{behind} replicas have not caught up at shutdown"));
        }
        if !self.aof_flushed(cx) && cx.now().mono < exiting_until {
            return;
        }
        let Some(exiting) = self.exiting.as_ref() else { return };
        if exiting.save && !self.view.loading {
            if let Some(exiting) = self.exiting.as_mut() {
                exiting.saving = true;
            }
            cx.log(Level::Notice, "Saving the final RDB snapshot before exiting");
            self.save(cx, None, true);
        } else {
            self.exit_now(cx);
        }
    }

    /// A save has ended, perhaps the last one.
    pub(super) fn exit_saved(&mut self, cx: &mut ControlCx<'_>, ok: bool) {
        let Some(exiting) = self.exiting.as_ref() else { return };
        if !exiting.saving {
            return;
        }
        if ok || exiting.force {
            return self.exit_now(cx);
        }
        cx.log(Level::Warning, "Error trying to save the DB, can't exit");
        self.stay(cx);
    }

    fn exit_now(&mut self, cx: &mut ControlCx<'_>) {
        cx.log(Level::Warning, "Ringfold is now ready to exit, bye bye...");
        cx.out.actions.push(Action::Exit { code: 0 });
    }
}

#[cfg(test)]
mod tests {
    use crate::node::outbox::Action;
    use crate::node::testing::{Client, Node};

    fn offset(node: &mut Node, client: Client) -> String {
        let info = node.send(client, b"INFO replication\r\n");
        let info = String::from_utf8_lossy(&info).into_owned();
        let line = info.lines().find_map(|line| line.strip_prefix("master_repl_offset:"));
        line.unwrap_or_default().to_string()
    }

    #[test]
    fn writes_wait_while_the_replicas_catch_up() {
        for cores in [1, 3] {
            let mut node = Node::new(cores);
            let replica = node.connect_on(0);
            node.send(replica, b"PSYNC ? -1\r\n");
            node.advance(1_000);
            let [asks, also, writes] = [0, 1, 2].map(|n| node.connect_on(n % cores));
            assert_eq!(node.send(writes, b"SET k v\r\n"), b"+OK\r\n");
            assert_eq!(node.send(asks, b"SHUTDOWN NOSAVE\r\n"), b"");
            assert_eq!(node.send(also, b"SHUTDOWN NOSAVE\r\n"), b"");
            assert_eq!(node.send(writes, b"GET k\r\nSET k w\r\n"), b"$1\r\nv\r\n");
            node.advance(500);
            assert_eq!(node.take(writes), b"");
            let aborts = node.connect();
            assert_eq!(node.send(aborts, b"SHUTDOWN ABORT\r\n"), b"+OK\r\n");
            for asker in [asks, also] {
                assert!(node.take(asker).starts_with(b"-ERR Errors trying to SHUTDOWN"));
            }
            node.advance(200);
            assert_eq!(node.take(writes), b"+OK\r\n");
            node.send(asks, b"SHUTDOWN NOSAVE\r\n");
            let ends = |node: &Node| {
                node.actions.iter().any(|(_, action)| matches!(action, Action::Exit { code: 0 }))
            };
            assert!(!ends(&node));
            let ack = format!("REPLCONF ACK {}\r\n", offset(&mut node, aborts));
            node.send(replica, ack.as_bytes());
            node.advance(200);
            assert!(ends(&node));
        }
    }
}
