//! The packages that are added: `packages/NAME#VERSION.tgz` in the data folder, each as it was published.

use std::fmt;
use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::archive::BOUNDS;
use super::{Package, PackageError, open, read, read_within};
use crate::files::Draft;

/// Where they are, below the data folder.
const FOLDER: &str = "packages";
const ENDING: &str = ".tgz";

/// A package in the data folder, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installed {
    pub name: String,
    pub version: String,
    pub path: PathBuf,
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.name, self.version)
    }
}

/// A package that was checked, with a copy of its file in the data folder that does not have its name yet.
#[derive(Debug)]
pub struct Candidate {
    pub package: Package,
    draft: Draft,
}

impl Candidate {
    /// Copies a package into the data folder and checks the copy: what is installed later is what was checked, whatever
    /// becomes of the file in the meantime.
    ///
    /// # Errors
    /// [`PackageError`] of [`read`], or when the folder cannot be written.
    pub fn check(data: &Path, path: &Path) -> Result<Self, PackageError> {
        let folder = data.join(FOLDER);
        let unreadable = |source| PackageError::Unreadable { path: path.to_owned(), source };
        let file = open(path)?;
        if file.metadata().map_err(unreadable)?.is_dir() {
            return Err(unreadable(ErrorKind::IsADirectory.into()));
        }
        // What is longer than all that may be in it is cut off, and damaged then.
        let draft = Draft::write(&folder, &mut file.take(BOUNDS.bytes))
            .map_err(|source| PackageError::Unwritable { path: folder.clone(), source })?;
        let package = read_within(open(draft.path())?, path, &BOUNDS)?;
        Ok(Self { package, draft })
    }

    fn file_name(&self) -> String {
        format!("{}{ENDING}", self.package.id())
    }
}

/// Gives checked packages their names, each in place of one of the same name and version: all of them or none.
///
/// # Errors
/// [`PackageError::Unwritable`]; then the folder is as it was.
pub fn install(candidates: Vec<Candidate>) -> Result<Vec<Package>, PackageError> {
    let mut installed = Vec::with_capacity(candidates.len());
    let mut done = Vec::with_capacity(candidates.len());
    for candidate in candidates {
        let name = candidate.file_name();
        let path = candidate.draft.path().with_file_name(&name);
        match put(candidate.draft, &path, &name) {
            Ok(before) => done.push((path, name, before)),
            Err(source) => {
                undo(done);
                return Err(PackageError::Unwritable { path, source });
            }
        }
        installed.push(candidate.package);
    }
    Ok(installed)
}

/// Gives a package its name and returns, not yet gone, what had that name before.
fn put(draft: Draft, path: &Path, name: &str) -> io::Result<Option<Draft>> {
    let before = match Draft::link(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        before => Some(before?),
    };
    draft.put(name)?;
    Ok(before)
}

/// The last one first, since two may have had the same name. What cannot be undone now could not be mended either.
fn undo(done: Vec<(PathBuf, String, Option<Draft>)>) {
    for (path, name, before) in done.into_iter().rev() {
        let _undone = match before {
            Some(before) => before.put(&name),
            None => fs::remove_file(&path),
        };
    }
}

/// The packages that are in the data folder, in order of their names. They are not looked into.
///
/// # Errors
/// [`PackageError::Unreadable`] when the folder cannot be listed.
pub fn installed(data: &Path) -> Result<Vec<Installed>, PackageError> {
    let folder = data.join(FOLDER);
    let unreadable = |source| PackageError::Unreadable { path: folder.clone(), source };
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(unreadable)?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable)?.path();
        let file = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if let Some((name, version)) = file.strip_suffix(ENDING).and_then(|id| id.split_once('#')) {
            found.push(Installed { name: name.to_owned(), version: version.to_owned(), path });
        }
    }
    found.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    Ok(found)
}

/// The file of a package as the setting `validation.packages` names it: `name#version`; `name`, when one version of it is
/// installed; or the path of a `.tgz`.
///
/// # Errors
/// [`PackageError::Missing`], [`PackageError::Ambiguous`], or [`PackageError::Unreadable`] of the folder.
pub fn find(data: &Path, name: &str) -> Result<PathBuf, PackageError> {
    if name.ends_with(ENDING) {
        return Ok(name.into());
    }
    let all = installed(data)?;
    let mut found: Vec<&Installed> = match name.split_once('#') {
        Some((name, version)) => all.iter().filter(|one| one.name == name && one.version == version).collect(),
        None => all.iter().filter(|one| one.name == name).collect(),
    };
    let names = |list: &mut dyn Iterator<Item = &Installed>| list.map(ToString::to_string).collect();
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one.path.clone()),
        (None, _) => Err(PackageError::Missing { name: name.to_owned(), installed: names(&mut all.iter()) }),
        (Some(_), false) => {
            let installed = names(&mut all.iter().filter(|one| one.name == name));
            Err(PackageError::Ambiguous { name: name.to_owned(), installed })
        }
    }
}

/// The resources of the packages that the setting `validation.packages` names, in the order of the names: what comes later
/// takes the place of what has the same URL.
///
/// # Errors
/// [`PackageError`] of the first package that is not there or cannot be read.
pub fn load(data: &Path, names: &[String]) -> Result<Vec<Value>, PackageError> {
    let mut resources = Vec::new();
    for name in names {
        resources.extend(read(&find(data, name)?)?.resources);
    }
    Ok(resources)
}

/// Removes `name#version` from the data folder. False: it is not there.
///
/// # Errors
/// [`PackageError`] when the folder cannot be listed or written.
pub fn remove(data: &Path, id: &str) -> Result<bool, PackageError> {
    let all = installed(data)?;
    let Some(found) = all.iter().find(|one| one.to_string() == id) else { return Ok(false) };
    fs::remove_file(&found.path).map_err(|source| PackageError::Unwritable { path: found.path.clone(), source })?;
    Ok(true)
}
