//! Loading the append-only file at the start: the manifest, then its files, one after another.
//!
//! ```text
//!   manifest -> base (RDB) -> increments: units of commands -> applied as a master's stream is
//!            -> none: the file of before Redis 7, the RDB file, or nothing
//! ```
//!
//! Units go the way of `applying.rs`; nothing is logged and nothing expires meanwhile. A transaction whose
//! EXEC is not there was never acknowledged: it counts as not written.
//!
//! The end of the last file may be missing: the machine went down in the middle of a write. Then what is
//! there to the last whole unit is what there was, and the file is cut there, unless `aof-load-truncated no`
//! forbids that. Anything else that is wrong ends the process with file and offset: it is not for a program
//! to decide what of the data shall be dropped.
//!
//! Lines that begin with `#` are comments. One of our own says which history this is, and how long it is here:
//! so after a restart replicas go on where they were.

use crate::base::limits::{APPLY_BYTES_MAX, APPLY_UNDER_WAY_MAX};
use crate::base::num::parse_i64;
use crate::node::aof::manifest::{File, Manifest};
use crate::node::aof::{Open, State};
use crate::node::control::{Control, ControlCx, Op};
use crate::node::following::Queued;
use crate::node::outbox::{Action, Level};
use crate::replication::psync::Replid;
use crate::replication::units::{Cutter, Unit};
use std::collections::VecDeque;

/// Bytes of a comment; Redis reads lines of that length.
const COMMENT_BYTES_MAX: usize = 1_024;

const OURS: &[u8] = b"#RF:";

/// A load under way.
#[derive(Debug)]
pub(in crate::node) struct Load {
    /// What is still to be loaded, with its path.
    files: VecDeque<(File, Vec<u8>)>,
    now: (File, Vec<u8>),
    phase: Phase,
    /// There is no manifest: these are files of another form.
    foreign: bool,
    /// Bytes of this file that were taken, and those behind them that were not.
    taken: u64,
    /// Bytes of comments within the unit that has begun.
    within: u64,
    rest: Vec<u8>,
    cutter: Cutter,
    ended: bool,
    /// Bytes of the files before.
    sizes: Vec<(File, u64)>,
    /// What the last comment of ours said, and what came since.
    history: Option<(Replid, u64)>,
    units: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its first bytes tell.
    Unknown,
    Rdb,
    Commands,
}

/// The comment that says which history this is.
pub(super) fn annotation(replid: &Replid, offset: u64) -> Vec<u8> {
    [OURS, replid, format!(":{offset}\r\n").as_bytes()].concat()
}

fn history_of(comment: &[u8]) -> Option<(Replid, u64)> {
    let rest = comment.strip_prefix(OURS)?;
    let (replid, offset) = rest.split_at_checked(40)?;
    let offset = parse_i64(offset.strip_prefix(b":")?.trim_ascii_end())?;
    Some((Replid::try_from(replid).ok()?, u64::try_from(offset).ok()?))
}

impl Load {
    fn new(mut files: VecDeque<(File, Vec<u8>)>, foreign: bool) -> Option<Self> {
        let now = files.pop_front()?;
        Some(Self {
            files,
            now,
            phase: Phase::Unknown,
            foreign,
            taken: 0,
            within: 0,
            rest: Vec::new(),
            cutter: Cutter::default(),
            ended: false,
            sizes: Vec::new(),
            history: None,
            units: 0,
        })
    }

    /// Takes whole units out of what is there.
    fn units(&mut self, mut take: impl FnMut(&[u8])) -> Result<(), ()> {
        let mut at = 0;
        loop {
            let looked = at + self.cutter.looked();
            if let Some(line) = self.rest.get(looked..).filter(|it| it.starts_with(b"#"))
                && self.cutter.is_between_commands()
            {
                let Some(end) = line.iter().position(|&byte| byte == b'\n') else {
                    if line.len() > COMMENT_BYTES_MAX {
                        return Err(());
                    }
                    break;
                };
                self.history = history_of(&line[..end]).or(self.history);
                self.rest.drain(looked..=looked + end);
                let within = if looked == at { &mut self.taken } else { &mut self.within };
                *within += end as u64 + 1;
                continue;
            }
            match self.cutter.next(&self.rest[at..]) {
                Ok(None) => break,
                Err(_) => {
                    // Between two commands of a transaction it may have met a comment.
                    let met = self.rest.get(at + self.cutter.looked());
                    if self.cutter.is_between_commands() && met == Some(&b'#') {
                        continue;
                    }
                    self.taken += at as u64;
                    return Err(());
                }
                Ok(Some((unit, length))) => {
                    if matches!(unit, Unit::Command | Unit::Transaction) {
                        take(&self.rest[at..at + length]);
                    }
                    self.units += 1;
                    self.taken += std::mem::take(&mut self.within);
                    at += length;
                    if let Some((_, offset)) = self.history.as_mut() {
                        *offset += length as u64;
                    }
                }
            }
        }
        self.rest.drain(..at);
        self.taken += at as u64;
        Ok(())
    }
}

impl Control {
    /// The manifest was read.
    pub(in crate::node) fn manifest_read(&mut self, cx: &mut ControlCx<'_>, text: Option<Vec<u8>>) {
        let State::Asking { start } = self.aof.state else { return };
        let manifest = match text.as_deref().map(Manifest::parse) {
            None => Manifest::default(),
            Some(Ok(manifest)) => manifest,
            Some(Err(why)) => return self.manifest_unreadable(cx, &why.to_string()),
        };
        self.aof.manifest = manifest;
        if !start {
            self.aof.state = State::Unfit;
            self.aof.next_try = cx.now().mono;
            return self.aof_tick(cx);
        }
        let named = |file: &File| (file.clone(), self.aof_path(&file.name));
        let mut files: VecDeque<_> = self.aof.manifest.to_load().map(named).collect();
        let foreign = files.is_empty();
        if foreign {
            // What Redis had before it had manifests.
            let name = self.view.settings.appendfilename.clone();
            let path = [&self.view.settings.dir[..], b"/", &name].concat();
            files.push_back((File { name, seq: 0 }, path));
        }
        if let Some(load) = Load::new(files, foreign) {
            self.begin_load(cx, false);
            self.following.load = None;
            self.aof.state = State::Loading(Box::new(load));
            self.read_aof(cx);
        }
    }

    pub(in crate::node) fn manifest_unreadable(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        let path = String::from_utf8_lossy(&self.manifest_path()).into_owned();
        if let State::Asking { start: true } = self.aof.state {
            return self.give_up(cx, &format!("Invalid AOF manifest file {path}: {why}"));
        }
        cx.log(Level::Warning, format!("No append-only file is written: {path}: {why}"));
        self.aof.state = State::Off;
    }

    fn give_up(&mut self, cx: &mut ControlCx<'_>, why: &str) {
        cx.log(Level::Warning, why.to_string());
        self.aof.state = State::Asking { start: true }; // Nothing more is read.
        cx.out.actions.push(Action::Exit { code: 1 });
    }

    fn read_aof(&mut self, cx: &mut ControlCx<'_>) {
        let State::Loading(load) = &self.aof.state else { return };
        if !self.following.reading {
            self.following.reading = true;
            let path = Some(load.now.1.clone());
            cx.out.actions.push(Action::LoadFile { path });
        }
    }

    /// A piece of the file; empty: there is no more.
    pub(in crate::node) fn aof_bytes(&mut self, cx: &mut ControlCx<'_>, bytes: &[u8]) {
        self.following.reading = false;
        let State::Loading(load) = &mut self.aof.state else { return };
        load.ended |= bytes.is_empty();
        self.following.load_bytes += bytes.len() as u64;
        load.rest.extend_from_slice(bytes);
        if load.phase == Phase::Unknown && (load.rest.len() >= 5 || load.ended) {
            load.phase = Phase::Commands;
            if load.rest.starts_with(b"REDIS") {
                load.phase = Phase::Rdb;
                self.new_decoder(cx);
            }
        }
        self.take_aof(cx);
        self.aof_goes_on(cx);
    }

    fn take_aof(&mut self, cx: &mut ControlCx<'_>) {
        let State::Loading(load) = &mut self.aof.state else { return };
        if load.phase == Phase::Rdb {
            let bytes = std::mem::take(&mut load.rest);
            let _ = load;
            let left = self.load_bytes(cx, &bytes);
            let ends = self.following.load.as_ref().is_some_and(|it| it.is_over());
            let State::Loading(load) = &mut self.aof.state else { return };
            load.taken += (bytes.len() - left) as u64;
            if !ends {
                return;
            }
            // A file of before Redis 7 has commands behind its RDB.
            load.rest = bytes[bytes.len() - left..].to_vec();
            load.phase = Phase::Commands;
        }
        let State::Loading(load) = &mut self.aof.state else { return };
        if load.phase == Phase::Commands {
            let following = &mut self.following;
            let result = load.units(|unit| {
                following.units_bytes += unit.len();
                following.units.push_back(Queued { bytes: unit.to_vec(), routed: None, end: 0 });
            });
            if result.is_err() {
                let (name, at) = (String::from_utf8_lossy(&load.now.0.name), load.taken);
                let why = format!(
                    "Bad file format reading the append only file {name} at offset {at}: make a \
                     backup of your AOF file, then use redis-check-aof --fix <filename.manifest>"
                );
                self.give_up(cx, &why);
            }
        }
    }

    /// Something was executed, or read.
    pub(in crate::node) fn aof_goes_on(&mut self, cx: &mut ControlCx<'_>) {
        self.pump_units(cx);
        if let Some(why) = self.following.refused.take()
            && self.aof.is_loading()
        {
            return self.give_up(cx, &format!("The append only file cannot be loaded: {why}"));
        }
        let failed = self.following.load.as_ref().is_some_and(|it| it.has_failed());
        let following = &self.following;
        let busy = following.under_way > 0 || following.in_section || !following.units.is_empty();
        let full = following.units_bytes > APPLY_BYTES_MAX / 2
            || following.under_way > APPLY_UNDER_WAY_MAX / 2;
        let State::Loading(load) = &self.aof.state else { return };
        if failed || load.ended && load.phase == Phase::Rdb {
            let name = String::from_utf8_lossy(&load.now.0.name).into_owned();
            return self.give_up(cx, &format!("The base {name} is damaged or cut off"));
        }
        if !load.ended {
            if !full {
                self.read_aof(cx);
            }
        } else if !busy {
            self.file_ended(cx);
        }
    }

    /// All of one file is applied.
    fn file_ended(&mut self, cx: &mut ControlCx<'_>) {
        let truncated_ok = self.view.settings.aof_load_truncated;
        let State::Loading(load) = &mut self.aof.state else { return };
        self.following.load = None;
        let (size, over) = (load.taken, load.rest.len() as u64 + load.within);
        load.sizes.push((load.now.0.clone(), size));
        if over > 0 {
            let name = String::from_utf8_lossy(&load.now.0.name).into_owned();
            if !load.files.is_empty() || !truncated_ok {
                let why = format!(
                    "Unexpected end of file reading the append only file {name} after offset \
                     {size}: fix it with redis-check-aof, or set aof-load-truncated yes if it is the last"
                );
                return self.give_up(cx, &why);
            }
            cx.log(
                Level::Warning,
                format!("{name} ends in the middle of a command: cut at offset {size}, {over} bytes less"),
            );
        }
        match load.files.pop_front() {
            Some(next) => {
                // Each file begins anew; behind the last the stream goes on in its database.
                self.following.db = 0;
                (load.now, load.phase) = (next, Phase::Unknown);
                (load.taken, load.within, load.ended) = (0, 0, false);
                load.cutter = Cutter::default();
                load.rest.clear();
                self.read_aof(cx);
            }
            None => self.aof_loaded(cx),
        }
    }

    /// A file is not there. One that a manifest names must be.
    pub(in crate::node) fn aof_absent(&mut self, cx: &mut ControlCx<'_>) {
        self.following.reading = false;
        let State::Loading(load) = &self.aof.state else { return };
        if !load.foreign {
            let name = String::from_utf8_lossy(&load.now.0.name).into_owned();
            return self.give_up(cx, &format!("The AOF file {name} is missing"));
        }
        // Not as Redis, which would begin with nothing where there is an RDB file.
        self.aof.state = State::Unfit;
        cx.log(Level::Notice, "There is no append-only file: the RDB file is loaded");
        self.load_file(cx);
    }

    /// There is no file of any kind: the append-only file begins with the history.
    pub(in crate::node) fn aof_begins(&mut self, cx: &mut ControlCx<'_>) {
        let file = self.aof.manifest.next_increment(&self.view.settings.appendfilename);
        let offset = self.following.idle_offset;
        self.aof.state = State::On;
        self.aof.whole = true;
        self.aof_open(cx, Open { file: file.clone(), size: 0, offset });
        let mut manifest = self.aof.manifest.clone();
        manifest.increments.push(file);
        self.aof_list(cx, manifest, None);
    }

    fn aof_loaded(&mut self, cx: &mut ControlCx<'_>) {
        let loaded = std::mem::replace(&mut self.aof.state, State::Unfit);
        let State::Loading(load) = loaded else { return };
        self.following.loaded_keys += load.units;
        let units = load.units;
        let files = load.sizes.len();
        cx.log(
            Level::Notice,
            format!("DB loaded from append only file: {files} files, {units} commands"),
        );
        let is_replica = self.view.is_replica();
        if load.foreign || is_replica && load.history.is_none() {
            // To be written anew, in our form; a replica's data without its place in a history is of no use.
            return self.aof_data_is_here(cx);
        }
        self.following.saved = load.history;
        let offset = load.history.map_or(self.following.idle_offset, |(_, offset)| offset);
        let size_of =
            |file: &File| load.sizes.iter().find(|(it, _)| it == file).map_or(0, |it| it.1);
        let manifest = &self.aof.manifest;
        self.aof.base_bytes = manifest.base.as_ref().map_or(0, &size_of);
        self.aof.earlier_bytes = manifest.increments.iter().map(size_of).sum();
        self.aof.rewrite.base_bytes = self.aof.base_bytes + self.aof.earlier_bytes;
        match manifest.increments.last().cloned() {
            None => self.aof_begins(cx),
            Some(file) => {
                let size = size_of(&file);
                self.aof.earlier_bytes -= size;
                (self.aof.state, self.aof.whole) = (State::On, true);
                self.aof_open(cx, Open { file, size, offset });
                self.aof_sync(cx);
            }
        }
        self.aof.handed = offset;
        self.aof_data_is_here(cx);
    }

    /// All is loaded; a master logs its writes before its first client comes.
    fn aof_data_is_here(&mut self, cx: &mut ControlCx<'_>) {
        if self.view.is_replica() {
            return self.begin_to_serve(cx);
        }
        self.section(cx, Op::Stream { on: true }, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(bytes: &[u8], pieces: usize) -> (Load, Vec<Vec<u8>>, bool) {
        let file = (File { name: b"a".to_vec(), seq: 1 }, Vec::new());
        let mut load = Load::new([file].into(), false).unwrap();
        let (mut units, mut good) = (Vec::new(), true);
        for piece in bytes.chunks(pieces) {
            load.rest.extend_from_slice(piece);
            good &= load.units(|unit| units.push(unit.to_vec())).is_ok();
            if !good {
                break;
            }
        }
        (load, units, good)
    }

    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";
    const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
    const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";

    /// Cut at every byte: what is whole is taken, and the offset at which the file is cut is that of the
    /// last whole unit.
    #[test]
    fn a_file_cut_at_any_byte_has_its_whole_units() {
        let comment = annotation(&[b'a'; 40], 1_000);
        let transaction = [MULTI, SET, b"#TS:17\r\n", SET, EXEC].concat();
        let parts: [&[u8]; 4] = [&comment, SET, &transaction, SET];
        let file = parts.concat();
        let ends: Vec<usize> = parts
            .iter()
            .scan(0, |end, part| {
                *end += part.len();
                Some(*end)
            })
            .collect();
        for length in 0..=file.len() {
            for pieces in [1, 7, 1_000] {
                let (load, units, good) = load(&file[..length], pieces);
                assert!(good);
                let whole = ends.iter().filter(|&&end| end <= length).count();
                assert_eq!(units.len(), whole.saturating_sub(1), "{length} bytes");
                let end = whole.checked_sub(1).map_or(0, |at| ends[at]);
                assert_eq!(load.taken, end as u64, "{length} bytes");
                let bytes: usize = units.iter().map(Vec::len).sum();
                let expected = (whole > 0).then_some(([b'a'; 40], 1_000 + bytes as u64));
                assert_eq!(load.history, expected, "{length} bytes");
            }
        }
        let (_, units, _) = load(&file, 3);
        assert_eq!(
            units[1],
            [MULTI, SET, SET, EXEC].concat(),
            "comments are no part of a transaction"
        );
    }

    #[test]
    fn what_is_no_command_is_told_with_its_offset() {
        let (load, units, good) = load(&[SET, b"!garbage\r\n"].concat(), 1_000);
        assert!(!good);
        assert_eq!((load.taken, units.len()), (SET.len() as u64, 1));
    }
}
