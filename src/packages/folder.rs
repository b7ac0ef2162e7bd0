//! The packages that are added: `packages/NAME#VERSION.tgz` in the data folder, each as it was published.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Package, PackageError, read};

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

/// Checks a package and puts it into the data folder, in place of one of the same name and version.
///
/// # Errors
/// [`PackageError`] of [`read`], or when the folder cannot be written.
pub fn add(data: &Path, path: &Path) -> Result<Package, PackageError> {
    let package = read(path)?;
    install(data, path, &package)?;
    Ok(package)
}

/// The same for a package that has been read.
///
/// # Errors
/// [`PackageError::Unwritable`].
pub fn install(data: &Path, path: &Path, package: &Package) -> Result<(), PackageError> {
    let folder = data.join(FOLDER);
    let target = folder.join(format!("{}{ENDING}", package.id()));
    copy(path, &folder, &target).map_err(|source| PackageError::Unwritable { path: target, source })
}

/// Copies in one step: whoever reads the target finds the old file or the new one, whole.
fn copy(path: &Path, folder: &Path, target: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let draft = target.with_extension(format!("{}.tmp", std::process::id()));
    let written = File::open(path).and_then(|mut source| {
        let mut file = File::create(&draft)?;
        io::copy(&mut source, &mut file)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&draft, target)).and_then(|()| File::open(folder)?.sync_all());
    if replaced.is_err() {
        let _may_be_gone = fs::remove_file(&draft);
    }
    replaced
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
