//! A small file replaced as a whole: after a crash at any moment the old text is there, or the new one.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

/// Replaces `file` by `text`, and returns when both the text and its name are on disk. A link is
/// followed: what it leads to is replaced. Owner and mode stay.
///
/// # Errors
/// The system's; then the old text is there.
pub fn replace(file: &Path, text: &[u8]) -> io::Result<()> {
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_path_buf());
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let draft = folder.join(format!("{name}.{}.tmp", std::process::id()));
    let written = write(&draft, &file, text).and_then(|()| fs::rename(&draft, &file));
    if let Err(error) = written {
        let _ = fs::remove_file(&draft); // there may be none
        return Err(error);
    }
    File::open(folder)?.sync_all()
}

fn write(draft: &Path, like: &Path, text: &[u8]) -> io::Result<()> {
    let mut to = OpenOptions::new().write(true).create(true).truncate(true).open(draft)?;
    if let Ok(old) = fs::metadata(like) {
        to.set_permissions(old.permissions())?;
        let _ = std::os::unix::fs::fchown(&to, Some(old.uid()), Some(old.gid())); // if we may
    }
    to.write_all(text)?;
    to.sync_all()
}

use std::os::unix::fs::MetadataExt;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn a_file_is_replaced_and_stays_what_it_was() {
        let folder = std::env::temp_dir().join(format!("ringfold-keep-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (file, link) = (folder.join("a.conf"), folder.join("link"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        symlink(&file, &link).unwrap();
        replace(&link, b"new").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
        assert!(replace(&folder.join("none/a.conf"), b"x").is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
