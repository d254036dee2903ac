//! Work that looks at keys which it does not name: BY and GET of SORT, over several cores.
//!
//! ```text
//!   all keys that are named are granted -> rehearse: the same requests, on copies of their values
//!     keys were met that are not here   -> let go, ask again for those too, rehearse again
//!     none was                          -> run it
//! ```
//!
//! Keys that are only looked at are asked for with the others, of this core too, so the run that counts has
//! every key as of one instant. What is asked for only grows, so this ends; where what keys hold changes
//! meanwhile, an attempt more is needed.
//!
//! A copy shares all that is large (`engine/parcel.rs`), and nobody sees what a rehearsal does. It leaves
//! out scripts and what the node runs: a SORT whose keys depend on those is refused when it runs, as it is
//! within a script.
//!
//! Not here: how keys are asked for (`transactions.rs`).

use crate::command::args::Args;
use crate::command::spec::Spec;
use crate::engine::collections::Carried;
use crate::engine::effect::Effect;
use crate::engine::keyspace::ExpiryMode;
use crate::engine::shard::Cx;
use crate::engine::sort;
use crate::node::core::Core;
use crate::node::intents::Mode;
use crate::node::message::{self, Origin};
use crate::node::table::{Exec, Run};
use crate::node::transactions::{Wanted, Wants, Work};
use crate::resp::reply::Reply;

/// Keys by database.
pub(super) type Lacking = Vec<(usize, Box<[u8]>)>;

/// Does the request look at keys that it does not name?
pub(super) fn follows_keys(spec: &Spec, args: Args<'_>) -> bool {
    spec.follows_keys() && sort::follows_keys(args)
}

impl Core {
    /// Does one of these requests look at keys that it does not name?
    pub(super) fn frames_follow_keys(&self, frames: &[u8]) -> bool {
        let (mut rest, mut words) = (frames, Vec::new());
        loop {
            words.clear();
            let Some(head) = message::pop_request(&mut rest, &mut words) else { return false };
            if follows_keys(self.shared.table.row(head.command).spec, Args::new(&words)) {
                return true;
            }
        }
    }

    /// The keys that a work which has all it asked for will look at besides those.
    pub(super) fn rehearse(&self, work: &Work, values: &[Option<Carried>]) -> Lacking {
        if self.cores == 1 || !self.frames_follow_keys(&work.frames) {
            return Lacking::new();
        }
        let (mut stage, now) = (self.keyspace.to_rehearse(), self.now.wall);
        for (at, it) in work.wanted.iter().enumerate() {
            let value = if it.core == self.id {
                self.keyspace.copy_out(it.db, it.key())
            } else {
                values.get(at).cloned().flatten()
            };
            if value.is_some() {
                let _ = stage.unpack(it.db, it.key(), value, now);
            }
        }
        stage.reach.lend(work.wanted.iter().map(|it| (it.db, it.key.clone())));
        let (mode, mut lacking) = (stage.expiry_mode(), Lacking::new());
        let (mut effect, mut prng, mut out) = (Effect::default(), self.prng.clone(), Vec::new());
        let (mut rest, mut words) = (work.frames.as_slice(), Vec::new());
        loop {
            words.clear();
            let Some(head) = message::pop_request(&mut rest, &mut words) else { return lacking };
            let row = self.shared.table.row(head.command);
            let Run::Shard(Exec::Keys(run)) = row.run else { continue };
            let of_master = head.origin == Origin::Master;
            stage.set_expiry_mode(if of_master { ExpiryMode::Ignore } else { mode });
            out.clear();
            effect.clear();
            let mut cx = Cx {
                keyspace: &mut stage,
                db: usize::from(head.db),
                now,
                reply: Reply { out: &mut out, proto: head.proto },
                effect: &mut effect,
                prng: &mut prng,
            };
            let _ = run(&mut cx, Args::new(&words));
            stage.settle_lent(false);
            lacking.extend(stage.reach.take_lacking());
        }
    }

    /// The work, asking for these keys too.
    pub(super) fn with_keys(&self, mut work: Work, lacking: Lacking) -> Work {
        let mut wants = Wants::of(std::mem::take(&mut work.wanted));
        for (db, key) in lacking {
            let (core, hash, mode) = (self.owner(&key), self.keyspace.hash(&key), Mode::Shared);
            wants.add(Wanted { core, db, key, hash, mode, look: true, seen: None });
        }
        Work { wanted: wants.into_keys(), ..work }
    }

    /// While the work runs its keys are in reach.
    pub(super) fn lend_reach(&mut self, work: &Work) {
        if self.cores > 1 {
            let guests = work.wanted.iter().filter(|it| it.core != self.id);
            self.keyspace.reach.lend(guests.map(|it| (it.db, it.key.clone())));
        }
    }
}
