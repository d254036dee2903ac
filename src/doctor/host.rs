//! The files of a host, below a root: `/`, or a directory of a test that looks like it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes read of one file: `/proc/slabinfo` has some 20 KiB, everything else here far less.
const FILE_BYTES_MAX: usize = 1024 * 1024;

/// Where a host's files are.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
}

impl Host {
    /// The host below `root`.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_path_buf() }
    }

    /// Whether this is the machine that we run on, and not a directory that looks like one.
    #[must_use]
    pub fn is_real(&self) -> bool {
        self.root == Path::new("/")
    }

    /// The whole of a small file, without white space around it; `None` if it cannot be read.
    #[must_use]
    pub fn read(&self, path: &str) -> Option<String> {
        let bytes = fs::read(self.path(path)).ok()?;
        let text = String::from_utf8_lossy(bytes.get(..bytes.len().min(FILE_BYTES_MAX))?);
        Some(text.trim().to_string())
    }

    /// Replaces what is in a file of the kernel's, which takes a value in one write.
    ///
    /// # Errors
    /// The kernel's: not permitted, read-only, or no value that it takes.
    pub fn set(&self, path: &str, value: &str) -> io::Result<()> {
        let file = fs::OpenOptions::new().write(true).truncate(true).open(self.path(path));
        io::Write::write_all(&mut file?, format!("{value}\n").as_bytes())
    }

    /// Writes a file of our own as a whole: it has the old text or the new one, never half of it.
    ///
    /// # Errors
    /// The kernel's.
    pub fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let (path, new) = (self.path(path), self.path(&format!("{path}.new")));
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let mut file = fs::File::create(&new)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        file.sync_all()?;
        fs::rename(new, path)
    }

    /// Removes a file of our own.
    ///
    /// # Errors
    /// The kernel's.
    pub fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}
