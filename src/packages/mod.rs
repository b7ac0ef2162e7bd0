//! FHIR NPM packages: profiles and terminology that an operator adds to what is built in.
//!
//! A package is a gzipped tar (NPM Package Specification of FHIR): `package/package.json` describes it, and the conformance
//! resources are the other JSON files right below `package/`. What lies in further folders (examples, other formats, the
//! tests of the author) is not part of its definitions. This module reads one [within bounds](archive) and keeps those that
//! are added in [the data folder](folder); what they mean is for `validate` and the terminology to say.

mod archive;
mod folder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::fhir::definitions::definitions;
use archive::{BOUNDS, Bounds};
pub use folder::{Candidate, Installed, find, install, installed, load, remove};

/// The member that describes the package.
const MANIFEST: &str = "package.json";
/// The types of which the resources are taken.
const TYPES: [&str; 3] = ["StructureDefinition", "ValueSet", "CodeSystem"];

/// A package, read.
#[derive(Debug)]
pub struct Package {
    pub name: String,
    pub version: String,
    /// As it states them; empty if it does not.
    pub fhir_versions: Vec<String>,
    /// Name and version of what it builds on.
    pub dependencies: BTreeMap<String, String>,
    /// Its StructureDefinitions, ValueSets and CodeSystems, in their order.
    pub resources: Vec<Value>,
    /// How many profiles it has of each type that this server does not know. They are not among the resources.
    pub foreign: BTreeMap<String, usize>,
}

/// What a package holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    pub profiles: usize,
    pub extensions: usize,
    pub value_sets: usize,
    pub code_systems: usize,
}

/// Why a package cannot be used.
#[derive(Debug, Error)]
pub enum PackageError {
    #[error("{} cannot be read", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{} is no FHIR package: it is not compressed with gzip", path.display())]
    NotGzip { path: PathBuf },
    #[error("{} is no FHIR package: there is no tar archive in it", path.display())]
    NotTar { path: PathBuf, source: io::Error },
    #[error("{} is damaged", path.display())]
    Damaged { path: PathBuf, source: io::Error },
    #[error("{} is refused: it has more than {members_max} members", path.display())]
    TooMany { path: PathBuf, members_max: usize },
    #[error("{} is refused: its member {member} {problem}", path.display())]
    Member { path: PathBuf, member: String, problem: String },
    #[error("{} is refused: its member {member} is no JSON", path.display())]
    Json { path: PathBuf, member: String, source: serde_json::Error },
    #[error("{} is no FHIR package: it has no package/package.json", path.display())]
    NoManifest { path: PathBuf },
    #[error("{} is refused: its package/package.json {problem}", path.display())]
    Manifest { path: PathBuf, problem: String },
    #[error("{} is made for FHIR {}; this server speaks 4.0.1", path.display(), versions.join(", "))]
    OtherFhir { path: PathBuf, versions: Vec<String> },
    #[error("the package {name} is not installed ({}); get it with 'npm pack {}' and add the file with 'plumbline package add'", known(installed), name.replace('#', "@"))]
    Missing { name: String, installed: Vec<String> },
    #[error("{name} is installed in several versions ({}); say which one", installed.join(", "))]
    Ambiguous { name: String, installed: Vec<String> },
    #[error("{} cannot be written", path.display())]
    Unwritable { path: PathBuf, source: io::Error },
}

fn known(installed: &[String]) -> String {
    if installed.is_empty() { "none is".into() } else { format!("installed: {}", installed.join(", ")) }
}

/// `package.json`, as far as it matters.
#[derive(Deserialize)]
struct Manifest {
    name: String,
    version: String,
    #[serde(rename = "fhirVersions")]
    fhir_versions: Option<Vec<String>>,
    /// What older packages have instead.
    #[serde(rename = "fhir-version-list")]
    fhir_version_list: Option<Vec<String>>,
    dependencies: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Head {
    #[serde(rename = "resourceType")]
    resource_type: String,
}

/// Reads a package.
///
/// # Errors
/// [`PackageError`]: no file, no package, one for another FHIR version, or one that is larger than any that is published.
pub fn read(path: &Path) -> Result<Package, PackageError> {
    read_within(open(path)?, path, &BOUNDS)
}

fn open(path: &Path) -> Result<File, PackageError> {
    File::open(path).map_err(|source| PackageError::Unreadable { path: path.to_owned(), source })
}

/// `path` is what errors call it.
fn read_within(file: File, path: &Path, bounds: &Bounds) -> Result<Package, PackageError> {
    let mut manifest = None;
    let (mut resources, mut foreign, mut kept_bytes) = (Vec::new(), BTreeMap::new(), 0);
    archive::each_json(file, path, bounds, |member, text| {
        let broken = |source| PackageError::Json { path: path.to_owned(), member: format!("package/{member}"), source };
        if member == MANIFEST {
            let read = serde_json::from_slice::<Manifest>(text);
            manifest = Some(read.map_err(|error| faulty(path, format!("cannot be read: {error}")))?);
            return Ok(());
        }
        // Most of what a large package holds is of no use here: it is looked through, but not kept.
        let Ok(Head { resource_type }) = serde_json::from_slice(text) else {
            return serde_json::from_slice::<IgnoredAny>(text).map(drop).map_err(broken);
        };
        if !TYPES.contains(&resource_type.as_str()) {
            return Ok(());
        }
        kept_bytes += text.len() as u64;
        let problem = match text.len() as u64 {
            length if length > bounds.definition_bytes => {
                format!("is a definition of more than {} bytes", bounds.definition_bytes)
            }
            _ if kept_bytes > bounds.kept_bytes => {
                format!("makes its definitions longer than {} bytes together", bounds.kept_bytes)
            }
            _ => String::new(),
        };
        if !problem.is_empty() {
            return Err(PackageError::Member { path: path.to_owned(), member: format!("package/{member}"), problem });
        }
        let resource: Value = serde_json::from_slice(text).map_err(broken)?;
        match foreign_type(&resource) {
            Some(name) => *foreign.entry(name.to_owned()).or_insert(0) += 1,
            None => resources.push(resource),
        }
        Ok(())
    })?;
    let manifest = manifest.ok_or_else(|| PackageError::NoManifest { path: path.to_owned() })?;
    let Manifest { name, version, fhir_versions, fhir_version_list, dependencies } = manifest;
    for (what, text) in [("name", &name), ("version", &version)] {
        if !is_plain(text) {
            let problem =
                format!("gives it the {what} '{text}', but letters, digits and . _ + - are all that is allowed");
            return Err(faulty(path, problem));
        }
    }
    let fhir_versions = fhir_versions.or(fhir_version_list).unwrap_or_default();
    if !fhir_versions.is_empty() && !fhir_versions.iter().any(|version| version == "4.0" || version.starts_with("4.0."))
    {
        return Err(PackageError::OtherFhir { path: path.to_owned(), versions: fhir_versions });
    }
    let dependencies = dependencies.unwrap_or_default();
    Ok(Package { name, version, fhir_versions, dependencies, resources, foreign })
}

fn faulty(path: &Path, problem: String) -> PackageError {
    PackageError::Manifest { path: path.to_owned(), problem }
}

/// True for what may be part of a file's name.
fn is_plain(text: &str) -> bool {
    !text.starts_with('.')
        && (1..=100).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

/// The type that a profile constrains, if this server has no definition of it.
fn foreign_type(resource: &Value) -> Option<&str> {
    let text = |name: &str| resource.get(name).and_then(Value::as_str);
    let constrained = text("type").filter(|_| text("derivation") == Some("constraint"))?;
    definitions().type_named(constrained).is_none().then_some(constrained)
}

impl Package {
    /// `name#version`, as the setting `validation.packages` has it.
    pub fn id(&self) -> String {
        format!("{}#{}", self.name, self.version)
    }

    /// The names of its resources: their canonical URLs.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().filter_map(|resource| resource.get("url").or(resource.get("id"))?.as_str())
    }

    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for resource in &self.resources {
            let is = |name: &str, text: &str| resource.get(name).and_then(Value::as_str) == Some(text);
            if is("resourceType", "ValueSet") {
                counts.value_sets += 1;
            } else if is("resourceType", "CodeSystem") {
                counts.code_systems += 1;
            } else if is("derivation", "constraint") {
                let count = if is("type", "Extension") { &mut counts.extensions } else { &mut counts.profiles };
                *count += 1;
            }
        }
        counts
    }
}
