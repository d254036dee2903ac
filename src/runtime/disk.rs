//! The RDB file: written step by step beside the serving loop, read piece by piece at the start.
//!
//! Files are glommio's. Steps queue here and one task works them off in order; each is answered by
//! a [`FileEvent`], which the loop hands to core 0. A file being written has a name of its own and
//! gets the real one when it is whole and synced, so a crash at any moment leaves the old file.

use crate::node::core::FileEvent;
use crate::node::outbox::SaveStep;
use glommio::io::BufferedFile;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const READ_BYTES: usize = 1 << 20;

/// Core 0's files.
#[derive(Clone, Debug)]
pub struct Disk {
    state: Rc<RefCell<State>>,
}

#[derive(Debug, Default)]
struct State {
    target: PathBuf,
    steps: VecDeque<Step>,
    events: VecDeque<FileEvent>,
    working: bool,
}

#[derive(Debug)]
enum Step {
    Save(SaveStep),
    Read,
}

impl Disk {
    #[must_use]
    pub fn new(target: PathBuf) -> Self {
        let state = State { target, ..State::default() };
        Self { state: Rc::new(RefCell::new(state)) }
    }

    /// Where the next file goes, and the next load comes from.
    pub fn set_target(&self, target: PathBuf) {
        self.state.borrow_mut().target = target;
    }

    pub fn save(&self, step: SaveStep) {
        self.queue(Step::Save(step));
    }

    pub fn read(&self) {
        self.queue(Step::Read);
    }

    /// Is something under way, so that glommio must be let run?
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.state.borrow().working
    }

    pub fn take_event(&self) -> Option<FileEvent> {
        self.state.borrow_mut().events.pop_front()
    }

    fn queue(&self, step: Step) {
        let mut state = self.state.borrow_mut();
        state.steps.push_back(step);
        if !state.working {
            state.working = true;
            drop(state);
            let worker = Worker { disk: self.clone(), writing: None, reading: None };
            glommio::spawn_local(worker.run()).detach();
        }
    }
}

/// Works steps off until a file is done, and ends then.
struct Worker {
    disk: Disk,
    writing: Option<Writing>,
    reading: Option<(BufferedFile, u64)>,
}

struct Writing {
    file: BufferedFile,
    path: PathBuf,
    target: PathBuf,
    at: u64,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let step = self.disk.state.borrow_mut().steps.pop_front();
            match step {
                Some(Step::Save(step)) => {
                    let abandoned = matches!(step, SaveStep::Abandon);
                    let event = match self.save(step).await {
                        Ok(()) => FileEvent::Saved,
                        Err(error) => {
                            // What waits behind it must not complete a file with a hole.
                            self.save_abandoned().await;
                            FileEvent::SaveFailed(error.to_string())
                        }
                    };
                    if !abandoned {
                        self.disk.state.borrow_mut().events.push_back(event);
                    }
                }
                Some(Step::Read) => {
                    let event = self.read().await;
                    self.disk.state.borrow_mut().events.push_back(event);
                }
                None if self.writing.is_none() && self.reading.is_none() => break,
                // The next step comes from the loop: let it run.
                None => glommio::timer::sleep(std::time::Duration::from_micros(100)).await,
            }
        }
        self.disk.state.borrow_mut().working = false;
    }

    async fn save(&mut self, step: SaveStep) -> io::Result<()> {
        match step {
            SaveStep::Begin => {
                let target = self.disk.state.borrow().target.clone();
                let name = format!("temp-{}.rdb", std::process::id());
                let path = target.with_file_name(name);
                let file = BufferedFile::create(&path).await.map_err(io::Error::from)?;
                self.writing = Some(Writing { file, path, target, at: 0 });
                Ok(())
            }
            SaveStep::Append(bytes) => {
                let writing = self.writing.as_mut().ok_or(io::ErrorKind::NotFound)?;
                let mut bytes = bytes.to_vec();
                while !bytes.is_empty() {
                    let wanted = bytes.len();
                    let tail = bytes.clone();
                    let wrote =
                        writing.file.write_at(bytes, writing.at).await.map_err(io::Error::from)?;
                    writing.at += wrote as u64;
                    if wrote == 0 {
                        return Err(io::ErrorKind::WriteZero.into());
                    }
                    bytes = if wrote < wanted { tail[wrote..].to_vec() } else { Vec::new() };
                }
                Ok(())
            }
            SaveStep::Commit => {
                let writing = self.writing.take().ok_or(io::ErrorKind::NotFound)?;
                writing.file.fdatasync().await.map_err(io::Error::from)?;
                writing.file.close().await.map_err(io::Error::from)?;
                std::fs::rename(&writing.path, &writing.target)?;
                sync_directory(&writing.target)
            }
            SaveStep::Abandon => {
                self.save_abandoned().await;
                Ok(())
            }
        }
    }

    async fn save_abandoned(&mut self) {
        if let Some(writing) = self.writing.take() {
            let _ = writing.file.close().await;
            let _ = std::fs::remove_file(&writing.path);
        }
    }

    async fn read(&mut self) -> FileEvent {
        match self.read_piece().await {
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

    async fn read_piece(&mut self) -> io::Result<Vec<u8>> {
        if self.reading.is_none() {
            let target = self.disk.state.borrow().target.clone();
            std::fs::metadata(&target)?;
            let file = BufferedFile::open(&target).await.map_err(io::Error::from)?;
            self.reading = Some((file, 0));
        }
        let Some((file, at)) = self.reading.as_mut() else { return Ok(Vec::new()) };
        let piece = file.read_at(*at, READ_BYTES).await.map_err(io::Error::from)?;
        *at += piece.len() as u64;
        Ok(piece.to_vec())
    }
}

pub(super) fn sync_directory(file: &Path) -> io::Result<()> {
    let parent = file.parent().filter(|it| !it.as_os_str().is_empty());
    std::fs::File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
}
