//! Which files an import reads, in which order, and how it recognizes them when it comes again.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use openssl::sha::Sha256;

use super::ImportError;

/// The path that stands for standard input.
pub const STDIN: &str = "-";

/// How the names of files end that are taken from a folder, before `.gz` or `.zst`.
const ENDINGS: [&str; 5] = [".json", ".ndjson", ".jsonl", ".tgz", ".tar"];
/// How the name of a compressed file goes on.
const COMPRESSED: [&str; 2] = [".gz", ".zst"];
/// A file that describes a package and is none of its resources.
const PACKAGE_MANIFEST: &str = "package.json";

/// The files of one import, in the order in which they are read.
#[derive(Clone, Debug)]
pub struct Sources {
    pub files: Vec<Source>,
}

#[derive(Clone, Debug)]
pub struct Source {
    pub path: PathBuf,
    /// On disk, so compressed if the file is; 0 for standard input.
    pub bytes: u64,
    /// Microseconds since 1970, 0 where the file system knows none.
    modified_us: u128,
}

impl Source {
    pub fn is_stdin(&self) -> bool {
        self.path.as_os_str() == STDIN
    }
}

impl Sources {
    /// Finds the files of the paths: a file as it is, a folder with all that is below it in order of the names.
    ///
    /// # Errors
    /// [`ImportError::Unreadable`] for a path that does not exist, [`ImportError::Empty`] for a folder without files.
    pub fn find(paths: &[PathBuf]) -> Result<Self, ImportError> {
        let mut files = Vec::new();
        for path in paths {
            if path.as_os_str() == STDIN {
                files.push(Source { path: path.clone(), bytes: 0, modified_us: 0 });
                continue;
            }
            let known = files.len();
            let is_folder = describe(path)?.is_dir();
            if is_folder {
                walk(path, &mut files)?
            } else {
                files.push(source(path)?)
            }
            if files.len() == known {
                return Err(ImportError::Empty { path: path.clone() });
            }
        }
        Ok(Self { files })
    }

    /// Bytes on disk; `None` when some come from standard input.
    pub fn bytes(&self) -> Option<u64> {
        (!self.files.iter().any(Source::is_stdin)).then(|| self.files.iter().map(|file| file.bytes).sum())
    }

    /// A name for exactly these files with exactly these contents, as far as size and time of change tell: under it an
    /// import keeps how far it came. `None` for standard input, which cannot be read again.
    pub fn identity(&self) -> Option<String> {
        self.bytes()?;
        let mut hash = Sha256::new();
        for file in &self.files {
            let path = fs::canonicalize(&file.path).unwrap_or_else(|_| file.path.clone());
            hash.update(path.as_os_str().as_encoded_bytes());
            hash.update(format!("\0{}\0{}\n", file.bytes, file.modified_us).as_bytes());
        }
        let hex: String = hash.finish().iter().map(|byte| format!("{byte:02x}")).collect();
        Some(format!("files:{hex}"))
    }
}

/// True for a name that a folder or an archive is searched for. Hidden files and manifests of packages are not.
pub(super) fn is_wanted(name: &str) -> bool {
    let plain = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    !name.starts_with('.') && plain != PACKAGE_MANIFEST && ENDINGS.iter().any(|ending| plain.ends_with(ending))
}

/// True for a name that promises one JSON document for each line.
pub(super) fn is_lines(name: &str) -> bool {
    let plain = COMPRESSED.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name);
    plain.ends_with(".ndjson") || plain.ends_with(".jsonl")
}

fn walk(folder: &Path, files: &mut Vec<Source>) -> Result<(), ImportError> {
    let unreadable = |source| ImportError::Unreadable { path: folder.to_owned(), source };
    let entries = fs::read_dir(folder).map_err(unreadable)?.collect::<Result<Vec<_>, _>>().map_err(unreadable)?;
    let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.path(), entry.file_type())).collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (path, kind) in entries {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        // A link to a folder is not followed: it could lead back here.
        if kind.is_ok_and(|kind| kind.is_dir()) {
            if !name.starts_with('.') {
                walk(&path, files)?;
            }
        } else if is_wanted(&name) && describe(&path)?.is_file() {
            files.push(source(&path)?);
        }
    }
    Ok(())
}

fn source(path: &Path) -> Result<Source, ImportError> {
    let found = describe(path)?;
    let modified = found.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    Ok(Source { path: path.to_owned(), bytes: found.len(), modified_us: modified.map_or(0, |time| time.as_micros()) })
}

fn describe(path: &Path) -> Result<fs::Metadata, ImportError> {
    fs::metadata(path).map_err(|source| ImportError::Unreadable { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_gives_its_files_in_order_and_nothing_else() {
        let folder = tempfile::tempdir().expect("folder");
        for name in
            ["b.ndjson.gz", "a/2.json", "a/10.json", "package.json", ".index.json", "notes.txt", "c.tgz", ".git/x.json"]
        {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("parent")).expect("folder");
            fs::write(path, "{}").expect("file");
        }
        let sources = Sources::find(&[folder.path().to_owned()]).expect("found");
        let names: Vec<_> =
            sources.files.iter().map(|file| file.path.strip_prefix(folder.path()).expect("below")).collect();
        assert_eq!(names, ["a/10.json", "a/2.json", "b.ndjson.gz", "c.tgz"].map(Path::new));
        assert_eq!(sources.bytes(), Some(8));
    }

    #[test]
    fn another_content_is_another_identity() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("a.json");
        let identity = |text: &str| {
            fs::write(&path, text).expect("file");
            Sources::find(std::slice::from_ref(&path)).expect("found").identity()
        };
        assert_ne!(identity("{}"), identity("{ }"));
        assert_eq!(Sources::find(&[STDIN.into()]).expect("found").identity(), None);
    }

    #[test]
    fn what_is_not_there_is_an_error() {
        let folder = tempfile::tempdir().expect("folder");
        assert!(matches!(Sources::find(&[folder.path().join("x")]), Err(ImportError::Unreadable { .. })));
        assert!(matches!(Sources::find(&[folder.path().to_owned()]), Err(ImportError::Empty { .. })));
    }
}
