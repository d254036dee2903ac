//! The ring's oldest chunks in a file, while a replica is far behind: core 0's side.
//!
//! ```text
//!   ring over `repl-backlog-max` -> Write -> the chunk's memory is free
//!   a replica's cursor gets there -> Read -> a page, until the cursor has passed it
//! ```
//!
//! So a replica may lag by the output limit and `repl-spill-size` more before writers wait for it. A file that
//! cannot be written costs that, and nothing else; it is tried again after a while. One that cannot be read
//! costs the replicas that need it: they begin anew.
//!
//! Not here: which chunk goes and which is wanted (`replication/ring.rs`), the file (`runtime/spill.rs`).

use crate::base::limits::{RING_CHUNK_BYTES, SPILL_SLACK_BYTES, SPILLS_UNDER_WAY_MAX};
use crate::base::time::Mono;
use crate::node::control::{Control, ControlCx};
use crate::node::feed::Feed;
use crate::node::outbox::{Action, Level};
use crate::replication::master;
use crate::replication::ring::Slot;
use std::sync::Arc;

const TRY_AGAIN_MS: u64 = 10_000;

/// What the outside is to do with the file.
#[derive(Clone, Debug)]
pub enum SpillStep {
    Write { slot: Slot, bytes: Arc<Vec<u8>> },
    Read(Slot),
}

/// What became of it, by the chunk's name.
#[derive(Debug, PartialEq, Eq)]
pub enum Spilled {
    Written { at: u64, result: Result<(), String> },
    Read { at: u64, result: Result<Vec<u8>, String> },
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Spilling {
    writes: usize,
    /// The file could not be written: not before that again.
    not_before: Option<Mono>,
    /// Chunks written in all.
    pub(super) chunks: u64,
}

impl Control {
    /// How much the file may have now.
    pub(super) fn spill_budget(&self) -> u64 {
        if self.spilling.not_before.is_some() { 0 } else { self.view.settings.repl_spill_size }
    }

    /// After a turn: what goes to the file, and what is wanted from it.
    pub(super) fn spill(&mut self, cx: &mut ControlCx<'_>) {
        if self.spilling.not_before.is_some_and(|at| cx.now().mono >= at) {
            self.spilling.not_before = None;
            self.settle_spill_budget();
        }
        let slots = self.spill_budget() / RING_CHUNK_BYTES as u64;
        let settings = &self.view.settings;
        let memory = settings.repl_backlog_max.max(settings.repl_backlog_size);
        let Some(ring) = self.ring.as_mut() else { return };
        // The append-only file's cursor does not wait for pages.
        let keep_from = self.aof.needs().unwrap_or(ring.end());
        while slots > 0 && self.spilling.writes < SPILLS_UNDER_WAY_MAX {
            let Some((slot, bytes)) = ring.spill(memory, slots, keep_from) else { break };
            self.spilling.writes += 1;
            cx.out.actions.push(Action::Spill(SpillStep::Write { slot, bytes }));
        }
        if ring.spilled_bytes() > 0 {
            let mut cursors: Vec<u64> = self.feeds.iter().filter_map(Feed::cursor).collect();
            cursors.extend(self.master.flow_cursors());
            let mut wanted = Vec::new();
            for &cursor in &cursors {
                ring.wanted(cursor, &mut wanted);
            }
            ring.keep_pages(&cursors);
            cx.out.actions.extend(wanted.into_iter().map(|it| Action::Spill(SpillStep::Read(it))));
        }
    }

    pub(super) fn spilled(&mut self, cx: &mut ControlCx<'_>, done: Spilled) {
        match done {
            Spilled::Written { at, result } => {
                self.spilling.writes = self.spilling.writes.saturating_sub(1);
                self.spilling.chunks += u64::from(result.is_ok());
                if let Some(ring) = self.ring.as_mut() {
                    ring.spilled(at, result.is_ok());
                }
                if let Err(why) = result
                    && self.spilling.not_before.is_none()
                {
                    let text = format!("The backlog cannot be spilled: {why}");
                    cx.log(Level::Warning, text);
                    self.spilling.not_before = Some(cx.now().mono.plus_ms(TRY_AGAIN_MS));
                    self.settle_spill_budget();
                }
            }
            Spilled::Read { at, result } => match (result, self.ring.as_mut()) {
                (Ok(bytes), Some(ring)) => ring.paged(at, bytes),
                (Err(why), Some(ring)) => {
                    cx.log(Level::Warning, format!("The spilled backlog cannot be read: {why}"));
                    ring.lose_spilled();
                    self.tell_replicas(cx, master::Input::BytesLost);
                }
                (_, None) => {}
            },
        }
        self.spill(cx);
    }

    pub(super) fn settle_spill_budget(&mut self) {
        self.master.settings.spill_bytes = self.spill_budget();
    }

    /// Does the file not keep up with the writers?
    pub(super) fn spill_is_behind(&self) -> bool {
        let settings = &self.view.settings;
        let memory = settings.repl_backlog_max.max(settings.repl_backlog_size);
        let held = self.ring.as_ref().map_or(0, |ring| ring.memory() as u64);
        self.spilling.writes > 0 && held > memory + SPILL_SLACK_BYTES
    }
}
