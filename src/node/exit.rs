//! SHUTDOWN, SIGTERM and SIGINT: replicas catch up, the file is saved, the process ends.

use crate::node::control::{Control, ControlCx, Exiting};
use crate::node::message::Return;
use crate::node::outbox::{Action, Level};
use crate::replication::acks;
use crate::resp::error::ErrorKind;

impl Control {
    /// A signal asks for an orderly end.
    pub(super) fn terminate(&mut self, cx: &mut ControlCx<'_>) {
        if self.exiting.is_some() {
            // Asked twice: somebody is impatient.
            cx.out.actions.push(Action::Exit { code: 1 });
            return;
        }
        cx.log(Level::Warning, "Received a signal, scheduling shutdown...");
        self.shutdown(cx, None, None, false, false, false);
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
            let reply = match self.exiting.take() {
                Some(exiting) => {
                    if let Some(waiting) = exiting.from {
                        cx.answer_error(waiting, &ErrorKind::ShutdownFailed);
                    }
                    b"+OK\r\n".to_vec()
                }
                None => {
                    let mut reply = Vec::new();
                    ErrorKind::NoShutdown.write_to(&mut reply);
                    reply
                }
            };
            if let Some(from) = from {
                cx.answer(from, &reply);
            }
            return;
        }
        let wait_ms = if now { 0 } else { u64::from(self.view.settings.shutdown_timeout) * 1_000 };
        let save = save.unwrap_or(!self.view.settings.save.is_empty());
        let deadline = cx.now().mono.plus_ms(wait_ms);
        self.exiting = Some(Exiting { from, save, force, deadline, saving: false });
        self.wait(cx, acks::Input::TurnEnded);
        self.exit_when_ready(cx);
    }

    /// Goes on with a shutdown when the replicas have everything, or were given their time.
    pub(super) fn exit_when_ready(&mut self, cx: &mut ControlCx<'_>) {
        let Some(exiting) = self.exiting.as_ref() else { return };
        if exiting.saving || self.snapshots.is_saving() {
            return;
        }
        let end = self.offset();
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
        if let Some(Exiting { from: Some(from), .. }) = self.exiting.take() {
            cx.answer_error(from, &ErrorKind::ShutdownFailed);
        }
    }

    fn exit_now(&mut self, cx: &mut ControlCx<'_>) {
        cx.log(Level::Warning, "Ringfold is now ready to exit, bye bye...");
        cx.out.actions.push(Action::Exit { code: 0 });
    }
}
