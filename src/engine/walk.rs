//! A snapshot of the shard at one instant, taken in slices while writers go on.
//!
//! `cut` takes a number and nothing else. From then on an entry is walked when its record has been
//! emitted, has been handed over, or was made after the cut. A writer that is about to free or
//! change a record not yet walked hands it over instead: a handle goes to the pool, and the writer
//! goes on with a record of its own. `walk` drains the pool first, since it is memory on top of the
//! data, then flushed tables, then goes on through the segments in the order of their hashes. So
//! every record of the instant is emitted once, and nothing else is.
//!
//! A table dropped by FLUSH while the walk still needs it is kept whole in `dead`; SWAPDB moves tables,
//! each of which knows its number at the cut. A split cuts a range of hashes in two, and the walk
//! goes by hashes, so it neither skips nor repeats; within a segment, where entries may move
//! between two slices, it starts anew each time and takes what is not walked.
//!
//! The graveyard is for what nobody needs any more: freeing a hundred million records takes
//! seconds, so `collect` frees a bounded number per call.
//!
//! Not here: when to walk and how fast (the caller watches `pool_bytes`), the format (`snapshot/`).

use std::collections::VecDeque;

use super::keyspace::{Database, Keyspace, ValueRef};
use crate::types::arena::Handle;
use crate::types::segment::Spot;
use crate::types::table::{Place, Table};

/// A record as it was at the cut.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    pub db: usize,
    pub key: &'a [u8],
    pub value: ValueRef<'a>,
    pub expiry: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Walk {
    More,
    Done,
}

#[derive(Default)]
pub(super) struct WalkState {
    active: bool,
    /// Records that writers took out or replaced: database at the cut, record.
    pool: VecDeque<(usize, Handle)>,
    pool_bytes: usize,
    /// Tables flushed before they were walked, with how far that has come.
    dead: VecDeque<(Database, u64)>,
    /// Where the walk is among the live tables: a number at the cut, and a prefix of hashes.
    db: usize,
    prefix: u64,
}

/// Tables and records to be freed.
#[derive(Default)]
pub(super) struct Graveyard {
    tables: Vec<Table>,
    records: VecDeque<(usize, Handle)>,
}

impl Keyspace {
    /// Begins a snapshot of this instant; false: another one is not finished.
    pub fn cut(&mut self) -> bool {
        if self.walk.active {
            return false;
        }
        self.store.cut = self.store.cut.wrapping_add(1);
        for (db, database) in self.databases.iter_mut().enumerate() {
            if let Some(database) = database {
                database.cut_as = db;
                database.walked = database.table.is_empty();
            }
        }
        self.walk = WalkState { active: true, ..WalkState::default() };
        true
    }

    /// Emits about `budget_records` records of the instant of the cut.
    pub fn walk(&mut self, budget_records: usize, each: &mut dyn FnMut(RecordView<'_>)) -> Walk {
        if !self.walk.active {
            return Walk::Done;
        }
        // A segment without anything to emit costs something, too.
        let mut left = budget_records.max(1);
        while left > 0 {
            if let Some((db, handle)) = self.walk.pool.pop_front() {
                self.walk.pool_bytes -= self.store.own_bytes(handle);
                self.emit(db, handle, each);
                self.store.free(handle);
                left -= 1;
            } else if let Some((mut database, prefix)) = self.walk.dead.pop_front() {
                match self.walk_segment(&database.table, database.cut_as, prefix, &mut left, each) {
                    Some(next) => self.walk.dead.push_front((database, next)),
                    None => self.graveyard.tables.push(std::mem::take(&mut database.table)),
                }
            } else if !self.walk_live(&mut left, each) {
                self.walk.active = false;
                return Walk::Done;
            }
        }
        Walk::More
    }

    /// The consumer went away. Takes no longer however much was left.
    pub fn abandon_walk(&mut self) {
        let WalkState { pool, dead, .. } = std::mem::take(&mut self.walk);
        self.graveyard.records.extend(pool);
        self.graveyard.tables.extend(dead.into_iter().map(|(database, _)| database.table));
    }

    /// Does a walk hold on to anything?
    #[must_use]
    pub(super) fn is_walking(&self) -> bool {
        self.walk.active
    }

    /// Bytes that live only because the walk still needs them: handed-over records, and flushed tables
    /// at the size of the mean record.
    #[must_use]
    pub fn pool_bytes(&self) -> usize {
        let dead: usize = self.walk.dead.iter().map(|(database, _)| database.table.len()).sum();
        let live: usize = self.databases.iter().flatten().map(|it| it.table.len()).sum();
        let mean = self.store.used_bytes() / (dead + live + self.walk.pool.len()).max(1);
        self.walk.pool_bytes + if dead == 0 { 0 } else { dead * mean }
    }

    /// Frees about `budget_records` records of what was flushed or abandoned, and gives a little of what
    /// nobody uses back to the system; true: there is more. For every turn of the loop.
    pub fn collect(&mut self, budget_records: usize) -> bool {
        let mut left = budget_records.max(1);
        while left > 0 {
            if let Some((_, handle)) = self.graveyard.records.pop_front() {
                self.store.free(handle);
                left -= 1;
            } else if let Some(table) = self.graveyard.tables.last_mut() {
                let Some(id) = table.pop_segment() else {
                    self.graveyard.tables.pop();
                    continue;
                };
                let segment = self.store.segments.get(id);
                let handles: Vec<_> = segment.spots().map(|it| segment.handle(it)).collect();
                handles.iter().for_each(|&handle| self.store.prefetch(handle));
                handles.iter().for_each(|&handle| self.store.free(handle));
                self.store.segments.drop(id);
                left = left.saturating_sub(handles.len().max(1));
            } else {
                break;
            }
        }
        let dying = self.store.free_dying(&mut left);
        let trimmed = self.store.trim();
        dying || trimmed || !self.graveyard.records.is_empty() || !self.graveyard.tables.is_empty()
    }

    /// Does the snapshot still need the record at this place?
    #[inline]
    pub(super) fn is_needed(&mut self, db: usize, place: Place) -> bool {
        if !self.walk.active || self.databases[db].as_ref().is_none_or(|it| it.walked) {
            return false;
        }
        let segment = self.store.segments.get_mut(place.segment);
        segment.catch_up(self.store.cut);
        !segment.is_walked(place.spot)
    }

    /// If the snapshot still needs the record at this place, it owns the record from here on.
    #[inline]
    pub(super) fn hand_over(&mut self, db: usize, place: Place) -> bool {
        if !self.is_needed(db, place) {
            return false;
        }
        let segment = self.store.segments.get_mut(place.segment);
        segment.set_walked(place.spot);
        let handle = segment.handle(place.spot);
        self.walk.pool_bytes += self.store.own_bytes(handle);
        let cut_as = self.databases[db].as_ref().map_or(db, |it| it.cut_as);
        self.walk.pool.push_back((cut_as, handle));
        true
    }

    /// Takes a whole table out of sight.
    pub(super) fn bury(&mut self, database: Database) {
        if self.walk.active && !database.walked {
            let prefix = if database.cut_as == self.walk.db { self.walk.prefix } else { 0 };
            self.walk.dead.push_back((database, prefix));
        } else {
            self.graveyard.tables.push(database.table);
        }
    }

    /// One segment of the live tables; false: there is none left.
    fn walk_live(&mut self, left: &mut usize, each: &mut dyn FnMut(RecordView<'_>)) -> bool {
        let at = self.walk.db;
        if at >= self.databases.len() {
            return false;
        }
        let wanted = |it: &Option<Box<Database>>| {
            it.as_ref().is_some_and(|it| it.cut_as == at && !it.walked)
        };
        let found = self.databases.iter().position(wanted);
        if let Some(db) = found
            && let Some(mut database) = self.databases[db].take()
        {
            let prefix = self.walk.prefix;
            match self.walk_segment(&database.table, database.cut_as, prefix, left, each) {
                Some(next) => self.walk.prefix = next,
                None => {
                    database.walked = true;
                    (self.walk.db, self.walk.prefix) = (at + 1, 0);
                }
            }
            self.databases[db] = Some(database);
        } else {
            (self.walk.db, self.walk.prefix) = (at + 1, 0);
        }
        true
    }

    /// Emits what is not walked in the segment at `prefix`, as far as the budget goes. Where to go on:
    /// here again, or at the next segment; `None` after the last.
    fn walk_segment(
        &mut self,
        table: &Table,
        cut_as: usize,
        prefix: u64,
        left: &mut usize,
        each: &mut dyn FnMut(RecordView<'_>),
    ) -> Option<u64> {
        let (id, next) = table.segment_at(&self.store, prefix)?;
        let segment = self.store.segments.get_mut(id);
        segment.catch_up(self.store.cut);
        let segment = self.store.segments.get(id);
        let unwalked = segment.spots().filter(|&spot| !segment.is_walked(spot));
        let batch: Vec<(Spot, Handle)> =
            unwalked.take(*left).map(|spot| (spot, segment.handle(spot))).collect();
        batch.iter().for_each(|&(_, handle)| self.store.prefetch(handle));
        for &(spot, handle) in &batch {
            self.store.segments.get_mut(id).set_walked(spot);
            self.emit(cut_as, handle, each);
        }
        *left -= batch.len();
        if *left == 0 {
            return Some(prefix);
        }
        *left -= 1;
        next
    }

    fn emit(&self, db: usize, handle: Handle, each: &mut dyn FnMut(RecordView<'_>)) {
        let view = self.store.view(handle);
        each(RecordView { db, key: view.key, value: view.value, expiry: view.expiry });
    }
}
