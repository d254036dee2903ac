//! Which node of the cluster serves a request: here, or where its client is sent.
//!
//! A request's keys are all of one slot. Whose that is says the map that core 0 gives to all (`View::cluster`);
//! what a slot on its way has of the request's keys only the core knows that owns them, so a request that went to
//! another core is looked at there once more.

use crate::base::limits::SLOTS;
use crate::cluster::show::{Map, NOBODY};
use crate::command::args::Args;
use crate::command::keys;
use crate::command::spec::{Flags, Spec};
use crate::node::core::Core;
use crate::node::message;
use crate::node::outbox::Conn;
use crate::node::session::Session;
use crate::resp::error::ErrorKind;

impl Core {
    /// May a client's request run on this node?
    ///
    /// # Errors
    /// Where else its client has to go, or why nobody serves it.
    pub(super) fn redirect(
        &self,
        session: &Session,
        spec: &Spec,
        args: Args<'_>,
    ) -> Result<(), ErrorKind> {
        let Some(map) = self.view.cluster.as_deref() else { return Ok(()) };
        let Some(slot) = only_slot(spec, args)? else { return Ok(()) };
        let owner = map.owner(slot);
        if owner == NOBODY {
            return Err(ErrorKind::ClusterSlotUnserved);
        }
        let sharded = is_sharded(spec);
        // MIGRATE moves what is here, to wherever the slot is on its way.
        let asking = session.asking || spec.flags.has(Flags::ASKING) || spec.name == "MIGRATE";
        if !map.is_ok {
            self.serves_when_down(spec, sharded)?;
        }
        let on_its_way =
            map.moves() && (map.migrating(slot).is_some() || map.is_importing(slot) && asking);
        if on_its_way && !sharded {
            if self.owner_of_slot(slot) == self.id {
                self.redirect_by_keys(map, slot, spec, args, asking)?;
            }
            // Of the slot's own core it is a matter of keys, and of no other.
            if map.is_importing(slot) || owner == map.myself {
                return Ok(());
            }
        }
        let reads = session.reads_replica || sharded;
        if reads && !spec.is_write() && map.master == Some(owner) {
            return Ok(());
        }
        if owner == map.myself {
            return Ok(());
        }
        Err(ErrorKind::ClusterMoved { to: map.place(slot, owner) })
    }

    fn serves_when_down(&self, spec: &Spec, sharded: bool) -> Result<(), ErrorKind> {
        let settings = &self.view.settings;
        match () {
            () if sharded && settings.cluster_allow_pubsubshard_when_down => Ok(()),
            () if sharded || !settings.cluster_allow_reads_when_down => Err(ErrorKind::ClusterDown),
            () if spec.is_write() => Err(ErrorKind::ClusterDownReadOnly),
            () => Ok(()),
        }
    }

    /// A request of a client of another core: as [`Core::redirect`], of a slot on its way.
    ///
    /// # Errors
    /// Its keys are elsewhere by now, or some of them.
    pub(super) fn redirect_here(
        &self,
        spec: &Spec,
        args: Args<'_>,
        asking: bool,
    ) -> Result<(), ErrorKind> {
        let Some(map) = self.view.cluster.as_deref().filter(|it| it.moves()) else {
            return Ok(());
        };
        let Some(slot) = only_slot(spec, args)? else { return Ok(()) };
        let asking = asking || spec.flags.has(Flags::ASKING);
        self.redirect_by_keys(map, slot, spec, args, asking)
    }

    /// May the requests run that a session has queued? They have one slot together.
    ///
    /// # Errors
    /// As [`Core::redirect`].
    pub(super) fn redirect_queue(&self, conn: Conn, mut frames: &[u8]) -> Result<(), ErrorKind> {
        let Some(session) = self.sessions.get(conn) else { return Ok(()) };
        let (mut words, mut only) = (Vec::new(), None);
        loop {
            words.clear();
            let Some(head) = message::pop_request(&mut frames, &mut words) else { return Ok(()) };
            let (spec, args) = (self.shared.table.row(head.command).spec, Args::new(&words));
            if let Some(slot) = only_slot(spec, args)?
                && *only.get_or_insert(slot) != slot
            {
                return Err(ErrorKind::ClusterCrossSlot);
            }
            self.redirect(session, spec, args)?;
        }
    }

    /// A script's command works on keys that are here?
    ///
    /// # Errors
    /// It does not; what Redis says of it.
    pub(super) fn script_is_at_home(&self, spec: &Spec, args: Args<'_>) -> Result<(), ErrorKind> {
        let Some(map) = self.view.cluster.as_deref() else { return Ok(()) };
        let Ok(slot) = only_slot(spec, args) else { return Err(ErrorKind::ScriptCrossSlot) };
        let Some(slot) = slot else { return Ok(()) };
        let owner = map.owner(slot);
        let here = owner == map.myself || map.master == Some(owner) || map.is_importing(slot);
        match () {
            () if owner == NOBODY => Err(ErrorKind::ScriptSlotUnserved),
            () if !here => Err(ErrorKind::ScriptNotLocal),
            () => Ok(()),
        }
    }

    /// Other slots are ours than before: who waits for a key, or listens to a channel, of one that is not is sent
    /// on.
    pub(super) fn send_waiters_on(&mut self) {
        if let Some(map) = self.view.cluster.clone() {
            let ours = |owner| owner == map.myself || map.master == Some(owner);
            self.leave_shard_channels(|slot| ours(map.owner(slot)));
        }
        self.refuse_waiters(|this, number, args| {
            let map = this.view.cluster.as_deref()?;
            let slot = only_slot(this.shared.table.row(number).spec, args).ok()??;
            let owner = map.owner(slot);
            match () {
                () if !map.is_ok => Some(ErrorKind::ClusterDown),
                () if owner == map.myself || map.is_importing(slot) => None,
                () if owner == NOBODY => Some(ErrorKind::ClusterSlotUnserved),
                () => Some(ErrorKind::ClusterMoved { to: map.place(slot, owner) }),
            }
        });
    }

    fn redirect_by_keys(
        &self,
        map: &Map,
        slot: u16,
        spec: &Spec,
        args: Args<'_>,
        asking: bool,
    ) -> Result<(), ErrorKind> {
        let leaves = map.migrating(slot);
        let arrives = asking && map.is_importing(slot);
        if leaves.is_none() && !arrives || spec.name == "MIGRATE" {
            return Ok(());
        }
        let (mut here, mut missing, mut first, mut several) = (0, 0, None, false);
        for key in keys::keys_found(spec, args).filter_map(|key| args.get(key.at)) {
            several |= *first.get_or_insert(key) != key;
            match self.keyspace.is_there(0, key, self.now.wall) {
                true => here += 1,
                false => missing += 1,
            }
        }
        match leaves {
            Some(_) if missing > 0 && here > 0 => Err(ErrorKind::ClusterTryAgain),
            Some(to) if missing > 0 => Err(ErrorKind::ClusterAsk { to: map.place(slot, to) }),
            None if several && missing > 0 => Err(ErrorKind::ClusterTryAgain),
            _ => Ok(()),
        }
    }

    /// The core that owns a slot.
    pub(super) fn owner_of_slot(&self, slot: u16) -> usize {
        usize::from(slot) * self.cores / usize::from(SLOTS)
    }
}

/// The slot of all keys of a request, if it has any.
fn only_slot(spec: &Spec, args: Args<'_>) -> Result<Option<u16>, ErrorKind> {
    let mut only = None;
    for key in keys::keys_found(spec, args).filter_map(|key| args.get(key.at)) {
        let slot = keys::slot(key);
        if *only.get_or_insert(slot) != slot {
            return Err(ErrorKind::ClusterCrossSlot);
        }
    }
    Ok(only)
}

fn is_sharded(spec: &Spec) -> bool {
    matches!(spec.name, "SSUBSCRIBE" | "SUNSUBSCRIBE" | "SPUBLISH")
}
