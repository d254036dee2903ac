//! A host's disk: what its process wrote, what of that is synced, what a crash leaves, and what goes wrong.
//!
//! ```text
//!   three queues, as the runtime has three threads: snapshots and reads, the append-only file, spilled chunks
//!   a file = bytes written .. of which a prefix is synced; what a failed sync was for is a hole for ever
//!   process dies   a write under way is there in part, all else stays
//!   power fails    of what was not synced any prefix stays, holes may turn to zeros, removed files may be back
//! ```
//!
//! A sync that fails is never retried to success: the kernel takes the pages for clean, and so does this disk.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use ringfold::base::prng::Prng;
use ringfold::node::aof::{Answer, AofStep, NOT_TRIED};
use ringfold::node::core::FileEvent;
use ringfold::node::outbox::SaveStep;
use ringfold::node::spilling::{SpillStep, Spilled};

use crate::plan::Plant;

/// The RDB file's path.
const RDB: &[u8] = b"dump";

#[derive(Debug)]
pub enum Step {
    Save(SaveStep),
    /// The next piece of that file, or of the RDB file.
    Read(Option<Vec<u8>>),
}

/// Which of the disk's queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Queue {
    Files,
    Append,
    Spill,
}

/// See the file's header.
#[derive(Debug, Default)]
pub struct Disk {
    pub files: BTreeMap<Vec<u8>, File>,
    /// Files whose removal a power failure may undo.
    removed: BTreeMap<Vec<u8>, File>,
    /// What a replacement that was not synced to its directory replaced.
    replaced: BTreeMap<Vec<u8>, File>,
    writing: Option<(Vec<u8>, Vec<u8>)>,
    reading: Option<(Vec<u8>, usize)>,
    pub steps: VecDeque<Step>,
    pub appends: VecDeque<AofStep>,
    open: Option<(Vec<u8>, usize)>,
    failed: bool,
    pub spills: VecDeque<SpillStep>,
    spilled: BTreeMap<u64, Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub struct File {
    bytes: Vec<u8>,
    synced: usize,
    holes: Vec<Range<usize>>,
}

/// What may go wrong with a step.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    pub fails: bool,
    pub plant: Option<Plant>,
}

impl File {
    fn sync(&mut self) {
        self.synced = self.bytes.len();
    }
}

impl Disk {
    /// The process is gone, and with `power` what was not synced.
    pub fn crash(&mut self, power: bool, prng: &mut Prng) {
        if let (Some(AofStep::Write(bytes)), Some((path, _))) = (self.appends.front(), &self.open)
            && !self.failed
        {
            let some = below(prng, bytes.len() + 1);
            if let Some(file) = self.files.get_mut(path) {
                file.bytes.extend_from_slice(&bytes[..some]);
            }
        }
        if power {
            for file in self.files.values_mut() {
                let unsynced = file.bytes.len() - file.synced;
                file.bytes.truncate(file.synced + below(prng, unsynced + 1));
                for hole in std::mem::take(&mut file.holes) {
                    if prng.chance(1, 2) {
                        let end = hole.end.min(file.bytes.len());
                        file.bytes[hole.start.min(end)..end].fill(0);
                    }
                }
                file.sync();
            }
            for (path, file) in std::mem::take(&mut self.removed) {
                if prng.chance(1, 3) {
                    self.files.entry(path).or_insert(file);
                }
            }
            for (path, file) in std::mem::take(&mut self.replaced) {
                self.files.insert(path, file);
            }
        }
        (self.writing, self.reading, self.open) = (None, None, None);
        self.failed = false;
        self.steps.clear();
        self.appends.clear();
        self.spills.clear();
        self.spilled.clear(); // That file has no name.
    }

    /// Everything on it is lost.
    pub fn wipe(&mut self) {
        *self = Self::default();
    }

    /// The oldest step of `queue` is done.
    pub fn step(
        &mut self,
        queue: Queue,
        trouble: Trouble,
        piece: usize,
        prng: &mut Prng,
    ) -> Option<FileEvent> {
        match queue {
            Queue::Files => self.file_step(trouble.fails, piece),
            Queue::Append => self.append_step(trouble, prng),
            Queue::Spill => self.spill_step(trouble.fails),
        }
    }

    fn file_step(&mut self, fails: bool, piece: usize) -> Option<FileEvent> {
        Some(match self.steps.pop_front()? {
            Step::Read(path) => {
                let path = path.unwrap_or_else(|| RDB.to_vec());
                let Some(file) = self.files.get(&path) else { return Some(FileEvent::Absent) };
                let from = match self.reading.take() {
                    Some((name, at)) if name == path => at,
                    _ => 0,
                };
                let end = (from + piece).min(file.bytes.len());
                let bytes = file.bytes[from..end].to_vec();
                if !bytes.is_empty() {
                    self.reading = Some((path, end));
                }
                FileEvent::Read(bytes)
            }
            Step::Save(SaveStep::Abandon) => {
                self.writing = None;
                return None;
            }
            Step::Save(_) if fails => {
                self.writing = None;
                FileEvent::SaveFailed("no space".into())
            }
            Step::Save(SaveStep::Begin(path)) => {
                self.writing = Some((path.unwrap_or_else(|| RDB.to_vec()), Vec::new()));
                FileEvent::Saved
            }
            Step::Save(SaveStep::Append(bytes)) => match self.writing.as_mut() {
                Some((_, writing)) => {
                    writing.extend_from_slice(&bytes);
                    FileEvent::Saved
                }
                None => FileEvent::SaveFailed("no file is being written".into()),
            },
            Step::Save(SaveStep::Commit) => match self.writing.take() {
                Some((path, bytes)) => {
                    let synced = bytes.len();
                    self.files.insert(path, File { bytes, synced, holes: Vec::new() });
                    FileEvent::Saved
                }
                None => FileEvent::SaveFailed("no file is being written".into()),
            },
        })
    }

    fn append_step(&mut self, trouble: Trouble, prng: &mut Prng) -> Option<FileEvent> {
        let step = self.appends.pop_front()?;
        let answer = if matches!(step, AofStep::Recover) {
            (self.failed, self.open) = (false, None);
            Ok(None)
        } else if self.failed {
            Err(NOT_TRIED.to_string())
        } else {
            let result = self.append(step, trouble, prng);
            self.failed = result.is_err();
            result
        };
        Some(FileEvent::Aof(answer))
    }

    fn append(&mut self, step: AofStep, trouble: Trouble, prng: &mut Prng) -> Answer {
        let Trouble { fails, plant } = trouble;
        let error = || Err("Input/output error".to_string());
        match step {
            AofStep::Recover => {}
            AofStep::Read { path } => {
                return Ok(self.files.get(&path).map(|file| file.bytes.clone()));
            }
            AofStep::Open { path, keep } => {
                if fails {
                    return error();
                }
                let file = self.files.entry(path.clone()).or_default();
                let keep = keep.map_or(file.bytes.len(), |keep| usize::try_from(keep).unwrap());
                if keep > file.bytes.len() {
                    return Err("the file is shorter than it was".to_string());
                }
                if plant != Some(Plant::TailKept) && keep < file.bytes.len() {
                    file.bytes.truncate(keep);
                    file.sync();
                }
                self.open = Some((path, file.bytes.len()));
            }
            AofStep::Write(bytes) => {
                let Some((path, length)) = self.open.as_mut() else { return error() };
                let file = self.files.entry(path.clone()).or_default();
                let fits = if fails { below(prng, bytes.len()) } else { bytes.len() };
                file.bytes.extend_from_slice(&bytes[..fits]);
                if fails && plant != Some(Plant::ShortWrite) {
                    file.bytes.truncate(*length);
                    return Err("No space left on device".to_string());
                }
                *length = file.bytes.len();
            }
            AofStep::Sync => {
                let Some((path, _)) = &self.open else { return Ok(None) };
                let Some(file) = self.files.get_mut(path) else { return error() };
                if plant == Some(Plant::SyncSkipped) {
                    return Ok(None);
                }
                if fails {
                    file.holes.push(file.synced..file.bytes.len());
                    file.sync();
                    return error();
                }
                file.sync();
            }
            AofStep::Replace { path, bytes } => {
                if fails {
                    return error();
                }
                let synced = bytes.len();
                let old =
                    self.files.insert(path.clone(), File { bytes, synced, holes: Vec::new() });
                if plant == Some(Plant::RenameUnsynced)
                    && let Some(old) = old
                {
                    self.replaced.entry(path).or_insert(old);
                }
            }
            AofStep::Remove { path } => {
                if let Some(file) = self.files.remove(&path)
                    && plant != Some(Plant::RenameUnsynced)
                {
                    self.removed.insert(path, file);
                }
            }
        }
        Ok(None)
    }

    fn spill_step(&mut self, fails: bool) -> Option<FileEvent> {
        let spilled = match self.spills.pop_front()? {
            SpillStep::Write { slot, bytes } => {
                let result = if fails { Err("no space".to_string()) } else { Ok(()) };
                if result.is_ok() {
                    self.spilled.insert(slot.place, bytes.to_vec());
                }
                Spilled::Written { at: slot.at, result }
            }
            SpillStep::Read(slot) => {
                let bytes = self.spilled.get(&slot.place).filter(|_| !fails).cloned();
                let result = bytes.ok_or_else(|| "cannot be read".to_string());
                Spilled::Read { at: slot.at, result }
            }
        };
        Some(FileEvent::Spilled(spilled))
    }
}

fn below(prng: &mut Prng, limit: usize) -> usize {
    usize::try_from(prng.below(limit.max(1) as u64)).unwrap()
}
