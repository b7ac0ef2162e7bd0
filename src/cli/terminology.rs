//! The terminology that an operator has loaded: files in the data folder.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde_json::Value;

/// Where they are, below the data folder.
const FOLDER: &str = "terminology";

/// The CodeSystem and ValueSet resources in `DATA/terminology/*.json`, in the order of the file names; a Bundle stands for
/// what is in it.
///
/// # Errors
/// When a file cannot be read or is no JSON; the sentence names it.
pub fn load(data: &Path) -> anyhow::Result<Vec<Value>> {
    Ok(files(data)?.into_iter().flat_map(|(_, resources)| resources).collect())
}

/// The same, file by file.
fn files(data: &Path) -> anyhow::Result<Vec<(PathBuf, Vec<Value>)>> {
    let folder = data.join(FOLDER);
    let entries = match fs::read_dir(&folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("{} cannot be read", folder.display()))?,
    };
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<Vec<PathBuf>>>()
        .with_context(|| format!("{} cannot be read", folder.display()))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
        let resource: Value =
            serde_json::from_slice(&text).with_context(|| format!("{} is no JSON", path.display()))?;
        Ok((path, unpacked(resource)))
    };
    paths.into_iter().map(read).collect()
}

/// The resources of a Bundle, or the one resource.
fn unpacked(mut resource: Value) -> Vec<Value> {
    if resource.get("resourceType").and_then(Value::as_str) != Some("Bundle") {
        return vec![resource];
    }
    let entries = resource.get_mut("entry").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    entries.into_iter().filter_map(|mut entry| Some(entry.get_mut("resource")?.take())).collect()
}
