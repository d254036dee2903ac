//! Rewriting the append-only file: a new base of the data at one instant, and a new increment from there on.
//!
//! ```text
//!   cut:  old increment whole and synced, new one opened, manifest names both        (or neither yet,
//!   walk: the base is written as any RDB file is                                      where what is on
//!   end:  manifest names base and new increment; old files are deleted                disk is not this data)
//! ```
//!
//! At any moment the manifest on disk names files that have everything that was ever promised.

use crate::base::time::Mono;
use crate::node::aof::AofStep;
use crate::node::aof::load::annotation;
use crate::node::aof::manifest::{File, Manifest};
use crate::node::aof::{Job, Open, State};
use crate::node::control::{Control, ControlCx};
use crate::node::message::Return;
use crate::node::outbox::Level;
use crate::replication::log::encode_select;
use crate::resp::error::ErrorKind;

/// Rewrites under way and done.
#[derive(Debug, Default)]
pub(in crate::node) struct Rewrite {
    running: Option<Running>,
    /// Bytes of the increment that the last cut closed.
    pub rolled_bytes: u64,
    /// Bytes of all files after the last rewrite, or at the start.
    pub base_bytes: u64,
    pub failed: bool,
    pub done: u64,
    pub failures: u32,
    pub took_s: Option<u64>,
    next_auto: Mono,
}

#[derive(Debug)]
struct Running {
    base: File,
    increment: File,
    began_s: u64,
}

impl Rewrite {
    /// When the one under way began.
    #[must_use]
    pub fn began_s(&self) -> Option<u64> {
        self.running.as_ref().map(|it| it.began_s)
    }
}

impl Control {
    /// `BGREWRITEAOF`
    pub(in crate::node) fn rewrite_asked(&mut self, cx: &mut ControlCx<'_>, from: Return) {
        if self.aof.rewrite.running.is_some() || self.snapshots.base_wanted {
            return cx.answer_error(from, &ErrorKind::AofRewriteInProgress);
        }
        if !matches!(self.aof.state, State::On | State::Unfit) {
            return cx.answer_error(from, &ErrorKind::AofOff);
        }
        let waits = self.snapshots.is_busy();
        self.want_base(cx);
        if waits {
            cx.answer(from, b"+Background append only file rewriting scheduled\r\n");
        } else {
            cx.answer(from, b"+Background append only file rewriting started\r\n");
        }
    }

    pub(in crate::node) fn want_base(&mut self, cx: &mut ControlCx<'_>) {
        // A replica without a stream has no place in a history that the file could name.
        let placed = !self.view.is_replica() || self.ring.is_some();
        let able = self.aof.failed.is_none() || matches!(self.aof.state, State::Unfit);
        if self.aof.rewrite.running.is_none() && able && placed {
            self.snapshots.base_wanted = true;
            self.next_snapshot(cx);
        }
    }

    /// All cores stand still at `cut`: what comes from here on goes into a new increment. The path of the base.
    /// `commands`: what the base is made of, else RDB.
    pub(in crate::node) fn roll(
        &mut self,
        cx: &mut ControlCx<'_>,
        cut: u64,
        commands: bool,
    ) -> Vec<u8> {
        let stem = self.view.settings.appendfilename.clone();
        let whole = self.aof.whole && matches!(self.aof.state, State::On);
        if whole {
            if self.aof.handed < cut {
                self.aof_write(cx, cut);
            }
            self.aof_sync(cx);
        }
        if !whole {
            self.aof.failed = None; // Writes are refused until it is whole again.
        }
        let increment = self.aof.manifest.next_increment(&stem);
        let base = self.aof.manifest.next_base(&stem, commands);
        self.aof_open(cx, Open { file: increment.clone(), size: 0, offset: cut });
        let (replid, mut header) = (self.history.replid, Vec::new());
        let db = self.following.stream_db();
        if db != 0 {
            encode_select(db, &mut header);
        }
        header.extend(annotation(&replid, cut));
        self.aof.told = Some(replid);
        let job = Job::Header { bytes: header.len() as u64 };
        self.aof_step(cx, AofStep::Write(header), job);
        if whole {
            let mut manifest = self.aof.manifest.clone();
            manifest.increments.push(increment.clone());
            self.aof_list(cx, manifest, None);
        }
        self.aof.state = State::On;
        let path = self.aof_path(&base.name);
        let began_s = cx.now().wall.ms() / 1_000;
        self.aof.rewrite.running = Some(Running { base, increment, began_s });
        path
    }

    /// The base is on disk, or will not be.
    pub(in crate::node) fn base_saved(&mut self, cx: &mut ControlCx<'_>, bytes: Option<u64>) {
        let Some(running) = self.aof.rewrite.running.as_ref() else { return };
        match bytes {
            Some(bytes) if matches!(self.aof.state, State::On) => {
                let manifest = Manifest {
                    base: Some(running.base.clone()),
                    increments: vec![running.increment.clone()],
                    history: Vec::new(),
                };
                self.aof_list(cx, manifest, Some(bytes));
            }
            _ => self.rewrite_failed(cx),
        }
    }

    fn rewrite_failed(&mut self, cx: &mut ControlCx<'_>) {
        let rewrite = &mut self.aof.rewrite;
        if rewrite.running.take().is_none() {
            return;
        }
        rewrite.failed = true;
        rewrite.failures += 1;
        let wait_ms = 60_000_u64 << rewrite.failures.min(6);
        rewrite.next_auto = cx.now().mono.plus_ms(wait_ms);
        cx.log(Level::Warning, "Background AOF rewrite failed");
        if !self.aof.whole && matches!(self.aof.state, State::On) {
            self.aof.state = State::Unfit;
            self.aof.next_try = cx.now().mono.plus_ms(5_000);
        }
    }

    /// The manifest names the new base.
    pub(in crate::node) fn rewrite_done(&mut self, cx: &mut ControlCx<'_>) {
        let now_s = cx.now().wall.ms() / 1_000;
        let size = self.aof.size();
        let rewrite = &mut self.aof.rewrite;
        let Some(running) = rewrite.running.take() else { return };
        rewrite.took_s = Some(now_s.saturating_sub(running.began_s));
        (rewrite.base_bytes, rewrite.failed, rewrite.failures) = (size, false, 0);
        rewrite.done += 1;
        self.aof_failed(cx, None);
        cx.log(Level::Notice, "Background AOF rewrite finished successfully");
    }

    /// The rewrite under way is of no use any more.
    pub(in crate::node) fn abandon_base(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        self.snapshots.base_wanted = false;
        self.fail_base(cx, why);
        self.rewrite_failed(cx);
    }

    /// The file has grown by so much since the last rewrite that one is due.
    pub(in crate::node) fn auto_rewrite(&mut self, cx: &mut ControlCx<'_>) {
        let settings = &self.view.settings;
        let percentage = u64::from(settings.auto_aof_rewrite_percentage);
        let (size, rewrite) = (self.aof.size(), &self.aof.rewrite);
        let quiet = rewrite.running.is_none() && !self.snapshots.base_wanted;
        if percentage == 0 || !quiet || size <= settings.auto_aof_rewrite_min_size {
            return;
        }
        let base = rewrite.base_bytes.max(1);
        let growth = u128::from(size.saturating_sub(base)) * 100 / u128::from(base);
        if growth >= u128::from(percentage) && cx.now().mono >= rewrite.next_auto {
            let text = format!("Starting automatic rewriting of AOF on {growth}% growth");
            cx.log(Level::Notice, text);
            self.want_base(cx);
        }
    }
}
