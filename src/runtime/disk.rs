//! Files: written step by step beside the serving loop, read piece by piece at the start.
//!
//! ```text
//!   the loop -> jobs -> a thread with plain system calls -> FileEvents, and a bell -> the loop
//! ```
//!
//! A file being written has a name of its own and gets the real one when it is whole and synced, so a
//! crash at any moment leaves the old file. The thread is started before the cores' threads are pinned:
//! it runs wherever there is room.
//!
//! Why a thread and not the executor's ring: a write that does not fit the page cache, and a sync,
//! block their caller whatever asks for them; and the append-only file wants its answer in microseconds.

use crate::node::core::FileEvent;
use crate::node::outbox::SaveStep;
use crate::runtime::serve;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

const READ_BYTES: u64 = 1 << 20;

/// Core 0's files.
#[derive(Debug)]
pub struct Disk {
    jobs: Sender<Job>,
    events: Receiver<FileEvent>,
    bell: UnixStream,
    target: PathBuf,
    /// Jobs that were not answered yet.
    unanswered: Cell<usize>,
}

#[derive(Debug)]
enum Job {
    Save(SaveStep, PathBuf),
    Read(PathBuf),
}

impl Disk {
    /// Starts the thread.
    ///
    /// # Errors
    /// The host has no descriptor or thread left.
    pub fn start(target: PathBuf) -> io::Result<Self> {
        let (jobs, work) = channel();
        let (done, events) = channel();
        let (bell, rings) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        let worker = Worker { done, rings, writing: None, reading: None };
        std::thread::Builder::new().name("files".to_string()).spawn(move || worker.run(&work))?;
        Ok(Self { jobs, events, bell, target, unanswered: Cell::new(0) })
    }

    /// Where the next file goes, and the next load comes from.
    pub fn set_target(&mut self, target: PathBuf) {
        self.target = target;
    }

    pub fn save(&self, step: SaveStep) {
        let answered = !matches!(step, SaveStep::Abandon);
        let other = match &step {
            SaveStep::Begin(path) => path.as_deref().map(serve::path),
            _ => None,
        };
        let target = other.unwrap_or(&self.target).to_path_buf();
        self.queue(Job::Save(step, target), answered);
    }

    /// The next piece of that file, or of the target.
    pub fn read(&self, path: Option<&[u8]>) {
        let path = path.map_or(&*self.target, serve::path).to_path_buf();
        self.queue(Job::Read(path), true);
    }

    /// Turns readable when there is an event.
    #[must_use]
    pub fn bell(&self) -> i32 {
        self.bell.as_raw_fd()
    }

    /// Takes the bell's sound back, before the events are taken.
    pub fn silence(&self) {
        let mut bytes = [0; 64];
        while (&self.bell).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }

    pub fn take_event(&self) -> Option<FileEvent> {
        let event = self.events.try_recv().ok()?;
        self.unanswered.set(self.unanswered.get().saturating_sub(1));
        Some(event)
    }

    fn queue(&self, job: Job, answered: bool) {
        self.unanswered.set(self.unanswered.get() + usize::from(answered));
        // The thread ends only with this side.
        let _ = self.jobs.send(job);
    }
}

/// Works jobs off in order.
struct Worker {
    done: Sender<FileEvent>,
    rings: UnixStream,
    writing: Option<Writing>,
    reading: Option<File>,
}

struct Writing {
    file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Worker {
    fn run(mut self, work: &Receiver<Job>) {
        while let Ok(job) = work.recv() {
            let event = match job {
                Job::Save(step, target) => {
                    let abandoned = matches!(step, SaveStep::Abandon);
                    let result = self.save(step, target);
                    if abandoned {
                        continue;
                    }
                    result.map_or_else(
                        |error| {
                            // What waits behind it must not complete a file with a hole.
                            self.abandon();
                            FileEvent::SaveFailed(error.to_string())
                        },
                        |()| FileEvent::Saved,
                    )
                }
                Job::Read(target) => self.read(&target),
            };
            if self.done.send(event).is_err() {
                return;
            }
            // A full socket has been heard of already.
            let _ = (&self.rings).write(&[1]);
        }
    }

    fn save(&mut self, step: SaveStep, target: PathBuf) -> io::Result<()> {
        match step {
            SaveStep::Begin(_) => {
                self.abandon();
                let path = target.with_file_name(format!("temp-{}.rdb", std::process::id()));
                let file = File::create(&path)?;
                self.writing = Some(Writing { file, path, target });
            }
            SaveStep::Append(bytes) => {
                let writing = self.writing.as_mut().ok_or(io::ErrorKind::NotFound)?;
                writing.file.write_all(&bytes)?;
            }
            SaveStep::Commit => {
                let writing = self.writing.as_ref().ok_or(io::ErrorKind::NotFound)?;
                writing.file.sync_data()?;
                std::fs::rename(&writing.path, &writing.target)?;
                sync_directory(&writing.target)?;
                self.writing = None;
            }
            SaveStep::Abandon => self.abandon(),
        }
        Ok(())
    }

    fn abandon(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = std::fs::remove_file(&writing.path);
        }
    }

    fn read(&mut self, target: &Path) -> FileEvent {
        match self.read_piece(target) {
            Ok(bytes) => {
                if bytes.is_empty() {
                    self.reading = None;
                }
                FileEvent::Read(bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => FileEvent::Absent,
            Err(error) => {
                self.reading = None;
                FileEvent::ReadFailed(error.to_string())
            }
        }
    }

    fn read_piece(&mut self, target: &Path) -> io::Result<Vec<u8>> {
        if self.reading.is_none() {
            self.reading = Some(File::open(target)?);
        }
        let mut piece = Vec::new();
        if let Some(file) = &self.reading {
            file.take(READ_BYTES).read_to_end(&mut piece)?;
        }
        Ok(piece)
    }
}

pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|it| !it.as_os_str().is_empty());
    File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
