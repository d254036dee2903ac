//! Every history that a master ever began: its bytes by offset, and the data after each of them.
//!
//! All nodes' rings are compared with these bytes, so `(replid, offset)` can mean one thing only.
//! A history begins with the data of the node that began it, or with a prefix of the one before.

use std::collections::BTreeMap;

use ringfold::replication::psync::Replid;

use crate::model::{self, Model, State};

const CHECKPOINT_BYTES: u64 = 2_048;

/// See the file's header.
#[derive(Default)]
pub struct Histories {
    all: BTreeMap<Replid, History>,
    /// Values that are written once, and where in which history.
    pub tokens: BTreeMap<Vec<u8>, (Replid, u64)>,
}

struct History {
    base: u64,
    bytes: Vec<u8>,
    /// Models at unit borders, ascending.
    checkpoints: Vec<(u64, Model)>,
    /// All whole commands applied.
    newest: (u64, Model),
}

impl Histories {
    pub fn knows(&self, replid: &Replid) -> bool {
        self.all.contains_key(replid)
    }

    /// A history that begins at `base` with this data.
    ///
    /// What is in the data may have been written any time before, and had by who loaded it at `start`.
    pub fn begin(&mut self, replid: Replid, start: u64, base: u64, model: Model) {
        for (value, _) in model.state.values() {
            self.tokens.entry(value.clone()).or_insert((replid, start));
        }
        let checkpoints = vec![(base, model.clone())];
        let newest = (base, model);
        self.all.insert(replid, History { base, bytes: Vec::new(), checkpoints, newest });
    }

    /// A node has these bytes at `offset`: they extend the history, or are what it has there.
    pub fn see(&mut self, replid: Replid, offset: u64, bytes: &[u8]) -> Result<(), String> {
        let Some(history) = self.all.get_mut(&replid) else {
            return Err("bytes of a history that no master began".into());
        };
        let Some(at) = offset.checked_sub(history.base) else {
            // Older than what is known of it.
            let skip = usize::try_from(history.base - offset).unwrap().min(bytes.len());
            let base = history.base;
            return if skip == bytes.len() {
                Ok(())
            } else {
                self.see(replid, base, &bytes[skip..])
            };
        };
        let at = usize::try_from(at).unwrap();
        if at > history.bytes.len() {
            return Err(format!("bytes at {offset}, beyond all that its master ever had"));
        }
        let known = (history.bytes.len() - at).min(bytes.len());
        if history.bytes[at..at + known] != bytes[..known] {
            return Err(format!(
                "(replid, offset) means two things near {offset}: {} and {}",
                model::show(&history.bytes[at..at + known]),
                model::show(&bytes[..known])
            ));
        }
        history.bytes.extend_from_slice(&bytes[known..]);
        self.advance(replid)
    }

    fn advance(&mut self, replid: Replid) -> Result<(), String> {
        let Some(history) = self.all.get_mut(&replid) else { return Ok(()) };
        loop {
            let (offset, model) = &mut history.newest;
            let at = usize::try_from(*offset - history.base).unwrap();
            let Some((words, length)) = model::command(&history.bytes[at..]) else { return Ok(()) };
            model.apply(&words).map_err(|why| format!("at {offset} of the stream: {why}"))?;
            *offset += length as u64;
            for word in words.iter().filter(|word| word.starts_with(b"v")) {
                self.tokens.entry(word.clone()).or_insert((replid, *offset));
            }
            let last = history.checkpoints.last().map_or(0, |it| it.0);
            if *offset - last >= CHECKPOINT_BYTES {
                history.checkpoints.push(history.newest.clone());
            }
        }
    }

    /// The data after `offset` bytes. `None`: that is before what is known of it.
    pub fn at(&self, replid: &Replid, offset: u64) -> Result<Option<Model>, String> {
        let Some(history) = self.all.get(replid) else {
            return Err("data of a history that no master began".into());
        };
        if offset < history.base {
            return Ok(None);
        }
        let after = history.checkpoints.partition_point(|it| it.0 <= offset);
        let (mut at, mut model) = match history.newest.0 <= offset {
            true => history.newest.clone(),
            false => history.checkpoints[after - 1].clone(),
        };
        while at < offset {
            let from = usize::try_from(at - history.base).unwrap();
            let command = history.bytes.get(from..).and_then(model::command);
            let Some((words, length)) = command else {
                return Err(format!("has {offset} bytes of a history that is {at} long"));
            };
            model.apply(&words)?;
            at += length as u64;
        }
        if at != offset {
            return Err(format!("offset {offset} is in the middle of a command"));
        }
        Ok(Some(model))
    }

    /// Is this the data after `offset` bytes?
    pub fn check(&self, replid: &Replid, offset: u64, found: &State) -> Result<(), String> {
        let Some(expected) = self.at(replid, offset)? else { return Ok(()) };
        if *found == expected.state {
            return Ok(());
        }
        let what = model::difference(found, &expected.state);
        Err(format!("is not the data of its history at {offset}: {what}"))
    }
}
