//! What the replication ring has too much of, in a file: chunks out and back, on a thread of its own.
//!
//! The file has no name from its first moment on, so nothing of it is left whatever happens to the process.
//! Chunks have places of equal size, so its length is bounded by how many there are.
//!
//! Not here: which chunk goes where (`replication/ring.rs`).

use crate::node::spilling::{SpillStep, Spilled};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Core 0's end.
#[derive(Debug)]
pub struct Spill {
    steps: Sender<(SpillStep, PathBuf)>,
    done: Receiver<Spilled>,
    bell: UnixStream,
}

impl Spill {
    /// Starts the thread.
    ///
    /// # Errors
    /// The host has no descriptor or thread left.
    pub fn start() -> io::Result<Self> {
        let (steps, work) = channel::<(SpillStep, PathBuf)>();
        let (out, done) = channel();
        let (bell, rings) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rings.set_nonblocking(true)?;
        let run = move || {
            let mut file = None;
            while let Ok((step, dir)) = work.recv() {
                if out.send(work_off(&mut file, step, &dir)).is_err() {
                    return;
                }
                // A full socket has been heard of already.
                let _ = io::Write::write(&mut { &rings }, &[1]);
            }
        };
        std::thread::Builder::new().name("spill".to_string()).spawn(run)?;
        Ok(Self { steps, done, bell })
    }

    /// `dir`: where the file shall be, if there is none yet.
    pub fn step(&self, step: SpillStep, dir: &Path) {
        // The thread ends only with this side.
        let _ = self.steps.send((step, dir.to_path_buf()));
    }

    /// Turns readable when something is done.
    #[must_use]
    pub fn bell(&self) -> i32 {
        self.bell.as_raw_fd()
    }

    /// Takes the bell's sound back, before what is done is taken.
    pub fn silence(&self) {
        let mut bytes = [0; 64];
        while (&self.bell).read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
    }

    pub fn take_done(&self) -> Option<Spilled> {
        self.done.try_recv().ok()
    }
}

fn work_off(file: &mut Option<File>, step: SpillStep, dir: &Path) -> Spilled {
    match step {
        SpillStep::Write { slot, bytes } => {
            let offset = slot.place * slot.length as u64;
            let result = opened(file, dir).and_then(|file| file.write_all_at(&bytes, offset));
            drop(bytes); // Before the answer: the ring may want it back.
            Spilled::Written { at: slot.at, result: result.map_err(|error| error.to_string()) }
        }
        SpillStep::Read(slot) => {
            let offset = slot.place * slot.length as u64;
            let mut bytes = vec![0; slot.length];
            let result = opened(file, dir).and_then(|file| file.read_exact_at(&mut bytes, offset));
            let result = result.map(|()| bytes).map_err(|error| error.to_string());
            Spilled::Read { at: slot.at, result }
        }
    }
}

fn opened<'f>(file: &'f mut Option<File>, dir: &Path) -> io::Result<&'f File> {
    if file.is_none() {
        let path = dir.join(format!("temp-{}.spill", std::process::id()));
        let new =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).open(&path)?;
        std::fs::remove_file(&path)?;
        *file = Some(new);
    }
    file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::ring::Slot;
    use std::sync::Arc;

    #[test]
    fn chunks_go_and_come_back_and_leave_no_file() {
        let dir = std::env::temp_dir().join(format!("ringfold-spill-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut file = None;
        let slot = |at, place| Slot { at, place, length: 4 };
        for (at, place) in [(8, 2), (0, 0)] {
            let bytes = Arc::new(vec![u8::try_from(at).unwrap(); 4]);
            let step = SpillStep::Write { slot: slot(at, place), bytes };
            assert_eq!(work_off(&mut file, step, &dir), Spilled::Written { at, result: Ok(()) });
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 0);
        let read = work_off(&mut file, SpillStep::Read(slot(8, 2)), &dir);
        assert_eq!(read, Spilled::Read { at: 8, result: Ok(vec![8; 4]) });
        let beyond = work_off(&mut file, SpillStep::Read(slot(90, 9)), &dir);
        assert!(matches!(beyond, Spilled::Read { result: Err(_), .. }));
        std::fs::remove_dir(&dir).unwrap();
        assert!(matches!(
            work_off(&mut None, SpillStep::Read(slot(0, 0)), &dir),
            Spilled::Read { result: Err(_), .. }
        ));
    }
}
