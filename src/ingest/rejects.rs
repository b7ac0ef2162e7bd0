//! The file that lists what was refused, one JSON object for each line; see [`Reject::to_json`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::ImportError;
use super::item::Reject;

pub(super) struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
}

impl Rejects {
    /// An import that goes on adds to the list of the one before it; any other begins without one.
    ///
    /// # Errors
    /// [`ImportError::Rejects`] when the old list cannot be removed.
    pub fn new(path: &Path, goes_on: bool) -> Result<Self, ImportError> {
        let rejects = Self { path: path.to_owned(), file: None };
        if !goes_on
            && let Err(error) = fs::remove_file(path)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(rejects.failed(error));
        }
        Ok(rejects)
    }

    /// Adds refused resources; they are in the file when this returns.
    ///
    /// # Errors
    /// [`ImportError::Rejects`] when the file cannot be made or written.
    pub fn add(&mut self, rejects: &[Reject]) -> Result<(), ImportError> {
        if rejects.is_empty() {
            return Ok(());
        }
        self.write(rejects).map_err(|error| self.failed(error))
    }

    fn write(&mut self, rejects: &[Reject]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                if let Some(folder) = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    fs::create_dir_all(folder)?;
                }
                none.insert(BufWriter::new(OpenOptions::new().create(true).append(true).open(&self.path)?))
            }
        };
        for reject in rejects {
            writeln!(file, "{}", reject.to_json())?;
        }
        file.flush()
    }

    fn failed(&self, source: io::Error) -> ImportError {
        ImportError::Rejects { path: self.path.clone(), source }
    }
}
