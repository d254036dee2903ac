//! The append-only file: written, synced and replaced by a thread beside the loop, in order.
//!
//! ```text
//!   the loop -> steps -> a thread with plain system calls -> one answer a step, and a bell -> the loop
//! ```
//!
//! After a step that failed all others fail, too, until `Recover`: what was queued behind it must not make
//! a file with a hole. A write that did not fit is taken back to the last byte that did.
//!
//! A thread of its own, apart from `disk.rs`: a snapshot that fills the disk's queue must not stand before
//! a sync for which clients wait.
//!
//! Not here: which steps, and what they mean (`node/aof/`).

use crate::node::aof::{Answer, AofStep, NOT_TRIED};
use crate::runtime::disk::sync_directory;
use crate::runtime::serve;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// A manifest has some lines; a longer file is none.
const READ_BYTES_MAX: u64 = 16 << 20;

/// Core 0's end.
#[derive(Debug)]
pub struct Append {
    steps: Sender<AofStep>,
    answers: Receiver<Answer>,
    bell: UnixStream,
}

impl Append {
    /// Starts the thread.
    ///
    /// # Errors
    /// The host has no descriptor or thread left.
    pub fn start() -> io::Result<Self> {
        let (steps, work) = channel();
        let (done, answers) = channel();
        let (bell, rings) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        let worker = Worker { open: None, failed: false };
        std::thread::Builder::new()
            .name("append".to_string())
            .spawn(move || worker.run(&work, &done, &rings))?;
        Ok(Self { steps, answers, bell })
    }

    pub fn step(&self, step: AofStep) {
        // The thread ends only with this side.
        let _ = self.steps.send(step);
    }

    /// Turns readable when there is an answer.
    #[must_use]
    pub fn bell(&self) -> i32 {
        self.bell.as_raw_fd()
    }

    /// Takes the bell's sound back, before the answers are taken.
    pub fn silence(&self) {
        let mut bytes = [0; 64];
        while (&self.bell).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }

    pub fn take_answer(&self) -> Option<Answer> {
        self.answers.try_recv().ok()
    }
}

struct Worker {
    open: Option<Open>,
    failed: bool,
}

struct Open {
    file: File,
    /// Bytes of it that are whole.
    length: u64,
}

impl Worker {
    fn run(mut self, work: &Receiver<AofStep>, done: &Sender<Answer>, bell: &UnixStream) {
        while let Ok(step) = work.recv() {
            if done.send(self.answer(step)).is_err() {
                return;
            }
            // A full socket has been heard of already.
            let _ = { bell }.write(&[1]);
        }
    }

    fn answer(&mut self, step: AofStep) -> Answer {
        if matches!(step, AofStep::Recover) {
            self.failed = false;
            self.open = None;
            return Ok(None);
        }
        if self.failed {
            return Err(NOT_TRIED.to_string());
        }
        let result = self.step(step);
        self.failed = result.is_err();
        result.map_err(|error| error.to_string())
    }

    fn step(&mut self, step: AofStep) -> io::Result<Option<Vec<u8>>> {
        match step {
            AofStep::Recover => {}
            AofStep::Read { path } => return read(serve::path(&path)),
            AofStep::Open { path, keep } => {
                if let Some(old) = self.open.take() {
                    old.file.sync_data()?;
                }
                self.open = Some(open(serve::path(&path), keep)?);
            }
            AofStep::Write(bytes) => {
                let open = self.open.as_mut().ok_or(io::ErrorKind::NotFound)?;
                if let Err(error) = open.file.write_all(&bytes) {
                    // Without that the next start would find half a command.
                    open.file.set_len(open.length)?;
                    open.file.seek(SeekFrom::Start(open.length))?;
                    return Err(error);
                }
                open.length += bytes.len() as u64;
            }
            AofStep::Sync => {
                if let Some(open) = &self.open {
                    open.file.sync_data()?;
                }
            }
            AofStep::Replace { path, bytes } => replace(serve::path(&path), &bytes)?,
            AofStep::Remove { path } => match std::fs::remove_file(serve::path(&path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            },
        }
        Ok(None)
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Opens for appending, with the first `keep` bytes of what there is, or all.
fn open(path: &Path, keep: Option<u64>) -> io::Result<Open> {
    if let Some(parent) = path.parent().filter(|it| !it.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o755).create(parent)?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path)?;
    let there = file.metadata()?.len();
    let length = keep.unwrap_or(there);
    if length > there {
        return Err(io::Error::other("the file is shorter than it was"));
    }
    if length < there {
        file.set_len(length)?;
        file.sync_data()?;
    }
    let mut file = file;
    file.seek(SeekFrom::Start(length))?;
    sync_directory(path)?;
    Ok(Open { file, length })
}

/// At any moment there is the old file or the new one.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    let temporary: PathBuf = {
        let mut temporary = std::ffi::OsString::from("temp-");
        temporary.push(&name);
        name.clear();
        path.with_file_name(temporary)
    };
    let mut file = File::create(&temporary)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    std::fs::rename(&temporary, path)?;
    sync_directory(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStrExt;

    fn bytes_of(path: &Path) -> Vec<u8> {
        path.as_os_str().as_bytes().to_vec()
    }

    /// `/dev/full` takes no byte.
    #[test]
    fn after_a_failed_write_nothing_more_is_written_until_it_is_recovered() {
        let folder = std::env::temp_dir().join(format!("ringfold-append-{}", std::process::id()));
        let path = folder.join("dir").join("a.1.incr.aof");
        let mut worker = Worker { open: None, failed: false };
        let open = |keep| AofStep::Open { path: bytes_of(&path), keep };
        assert_eq!(worker.answer(open(None)), Ok(None));
        assert_eq!(worker.answer(AofStep::Write(b"whole".to_vec())), Ok(None));
        assert_eq!(worker.answer(AofStep::Sync), Ok(None));
        let full = AofStep::Open { path: b"/dev/full".to_vec(), keep: None };
        assert_eq!(worker.answer(full), Ok(None));
        assert!(worker.answer(AofStep::Write(b"lost".to_vec())).is_err());
        assert!(worker.answer(open(None)).is_err());
        assert_eq!(worker.answer(AofStep::Recover), Ok(None));
        assert_eq!(worker.answer(open(Some(3))), Ok(None));
        assert_eq!(worker.answer(AofStep::Write(b"m".to_vec())), Ok(None));
        assert_eq!(std::fs::read(&path).unwrap(), b"whom");
        assert!(worker.answer(open(Some(9))).is_err(), "what was synced is gone");
        worker.answer(AofStep::Recover).unwrap();
        let manifest = folder.join("manifest");
        let text = AofStep::Replace { path: bytes_of(&manifest), bytes: b"x".to_vec() };
        assert_eq!(worker.answer(text), Ok(None));
        assert_eq!(
            worker.answer(AofStep::Read { path: bytes_of(&manifest) }),
            Ok(Some(b"x".to_vec()))
        );
        assert_eq!(worker.answer(AofStep::Remove { path: bytes_of(&manifest) }), Ok(None));
        assert_eq!(worker.answer(AofStep::Read { path: bytes_of(&manifest) }), Ok(None));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
