//! Files that appear in one step: whoever reads a name finds the old file or the new one, whole, and what was put in place
//! is still there after a power failure.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const ENDING: &str = ".draft";
/// A draft that old was left behind by a process that was ended: none takes nearly as long to write.
const STALE: Duration = Duration::from_secs(24 * 60 * 60);

/// A file that does not have its name yet. Dropped without one, it is removed.
#[derive(Debug)]
pub struct Draft {
    path: PathBuf,
}

impl Draft {
    /// Writes what a reader yields into a folder, which is made if it is not there, and to the disk.
    ///
    /// # Errors
    /// When the source cannot be read, or the folder or the file cannot be written.
    pub fn write(folder: &Path, source: &mut impl Read) -> io::Result<Self> {
        let (draft, mut file) = Self::create(folder)?;
        io::copy(source, &mut file)?;
        file.sync_all()?;
        Ok(draft)
    }

    /// An empty file in a folder, which is made if it is not there. Who fills it syncs it before it gets its name.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn create(folder: &Path) -> io::Result<(Self, File)> {
        make_folder(folder)?;
        remove_stale(folder);
        let draft = Self::new(folder);
        let file = File::create(&draft.path)?;
        Ok((draft, file))
    }

    /// A second name for a file that is there already, beside it, so that it outlives what takes its place.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn link(existing: &Path) -> io::Result<Self> {
        let draft = Self::new(parent(existing));
        fs::hard_link(existing, &draft.path)?;
        Ok(draft)
    }

    fn new(folder: &Path) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Self { path: folder.join(format!(".{}-{number}{ENDING}", std::process::id())) }
    }

    /// Where it is as long as it has no name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it a name in its folder, in place of what has that name.
    ///
    /// # Errors
    /// When it cannot be renamed, or the folder cannot be written.
    pub fn put(self, name: &str) -> io::Result<()> {
        let target = self.path.with_file_name(name);
        fs::rename(&self.path, &target)?;
        sync(parent(&target))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Under its own name there is nothing any more once it has another one.
        let _may_be_gone = fs::remove_file(&self.path);
    }
}

/// Writes a file in one step.
///
/// # Errors
/// When it cannot be written; then what was there before is still there.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(ErrorKind::InvalidFilename)?;
    let mut content = content;
    Draft::write(parent(path), &mut content)?.put(name)
}

/// Reads a file that may be of any length, and refuses one that is too long.
///
/// # Errors
/// When it cannot be read, or is longer than that.
pub fn read_within(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(bytes_max.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > bytes_max {
        return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is longer than {bytes_max} bytes")));
    }
    Ok(content)
}

/// Makes a folder and those it is in; each that is new is synced into the one it is in.
fn make_folder(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    let outer = parent(folder);
    make_folder(outer)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && folder.is_dir() => {}
        made => made?,
    }
    sync(outer)
}

fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Removes the drafts of processes that were ended. That one cannot be removed keeps nobody from writing another.
fn remove_stale(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name();
        let is_draft = name.to_string_lossy().starts_with('.') && name.to_string_lossy().ends_with(ENDING);
        let age = || entry.metadata().ok()?.modified().ok()?.elapsed().ok();
        if is_draft && age().is_some_and(|age| age > STALE) {
            let _may_be_gone = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("a folder");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_and_no_draft_is_left() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a/b/c.json");
        replace(&path, b"one").expect("written");
        replace(&path, b"two").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"two");
        assert_eq!(names(&folder.path().join("a/b")), ["c.json"]);
        fs::create_dir(folder.path().join("d")).expect("a folder");
        replace(&folder.path().join("d"), b"x").expect_err("a folder has the name");
        assert_eq!(names(folder.path()), ["a", "d"]);
    }

    #[test]
    fn drafts_that_were_left_behind_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let left = |name: &str, age: Duration| {
            let file = File::create(folder.path().join(name)).expect("a file");
            file.set_modified(SystemTime::now() - age).expect("a time");
        };
        left(".1-0.draft", STALE * 2);
        left(".2-0.draft", STALE / 2);
        left("old.json", STALE * 2);
        replace(&folder.path().join("new.json"), b"x").expect("written");
        assert_eq!(names(folder.path()), [".2-0.draft", "new.json", "old.json"]);
    }

    #[test]
    fn a_file_that_is_too_long_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        fs::write(&path, b"12345").expect("written");
        assert_eq!(read_within(&path, 5).expect("read"), b"12345");
        assert!(read_within(&path, 4).expect_err("too long").to_string().contains("longer than 4 bytes"));
    }
}
