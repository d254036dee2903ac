//! Small files read and replaced beside the serving loop: the configuration, the users.
//!
//! A file is replaced by a new one of another name, which is whole and on the disk before it takes the
//! old one's name and its permissions: a crash at any byte leaves the one or the other. A link is
//! followed, so that it goes on pointing to where the file is kept.

use crate::base::limits::CONFIG_FILE_BYTES_MAX;
use crate::node::texts::TextRead;
use crate::runtime::disk::sync_directory;
use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// The file under way: one at a time.
#[derive(Clone, Debug, Default)]
pub struct Texts {
    working: Rc<Cell<bool>>,
    done: Rc<RefCell<Option<TextRead>>>,
}

impl Texts {
    /// Reads the file, or replaces what it holds, on glommio's blocking thread.
    pub fn start(&self, path: Vec<u8>, replace: Option<Vec<u8>>) {
        self.working.set(true);
        let texts = self.clone();
        glommio::spawn_local(async move {
            let work = move || {
                let path = Path::new(OsStr::from_bytes(&path));
                let result = match replace {
                    None => read(path),
                    Some(text) => replace_with(path, &text).map(|()| None),
                };
                result.map_err(|error| reason(&error))
            };
            let result = glommio::executor().spawn_blocking(work).await;
            *texts.done.borrow_mut() = Some(result);
        })
        .detach();
    }

    #[must_use]
    pub fn is_working(&self) -> bool {
        self.working.get()
    }

    /// What became of it, once it is done.
    #[must_use]
    pub fn take(&self) -> Option<TextRead> {
        let done = self.done.borrow_mut().take();
        if done.is_some() {
            self.working.set(false);
        }
        done
    }
}

pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut text = Vec::new();
    let read = file.take(CONFIG_FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if read as u64 > CONFIG_FILE_BYTES_MAX {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(Some(text))
}

/// Readable by its owner alone until it has the old one's permissions: there may be passwords in it.
const PRIVATE: u32 = 0o600;

fn replace_with(path: &Path, text: &[u8]) -> io::Result<()> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    let result = write_beside(&path, &beside, text);
    if result.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    result
}

fn write_beside(path: &PathBuf, beside: &PathBuf, text: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(PRIVATE).open(beside)?;
    file.write_all(text)?;
    let mode = std::fs::metadata(path).map_or(PRIVATE, |it| it.permissions().mode());
    file.set_permissions(PermissionsExt::from_mode(mode))?;
    file.sync_all()?;
    std::fs::rename(beside, path)?;
    sync_directory(path)
}

/// As the C library says it, without Rust's number behind.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or(&text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_where_it_is_and_with_its_permissions() {
        let folder = std::env::temp_dir().join(format!("ringfold-texts-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("a.conf"), folder.join("link.conf"));
        assert_eq!(read(&file).unwrap(), None);
        replace_with(&file, b"one").unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a.conf", &link).unwrap();
        replace_with(&link, b"two").unwrap();
        assert!(link.is_symlink());
        assert_eq!(read(&file).unwrap(), Some(b"two".to_vec()));
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2, "nothing is left over");
        std::fs::remove_dir_all(&folder).unwrap();
        let gone = replace_with(&file, b"three").unwrap_err();
        assert_eq!(reason(&gone), "No such file or directory");
    }
}
