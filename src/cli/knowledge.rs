//! What is known of profiles and terminology, put together: what is built in, the packages of the setting
//! `validation.packages`, and the terminology in the data folder. What comes later takes the place of what has the same URL.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use serde_json::Value;

use super::terminology;
use crate::config::Settings;
use crate::fhir::terminology::{Terminology, TerminologyError};
use crate::packages;
use crate::validate::Validator;

/// Everything that the settings name. What of the definitions cannot be used is logged; the rest is in use.
///
/// # Errors
/// A sentence about the package or the file that is not there or cannot be read.
pub fn knowledge(settings: &Settings) -> anyhow::Result<Validator> {
    let (validator, unreadable) = assemble(&settings.data, of_packages(settings)?)?;
    let problems = unreadable.iter().map(ToString::to_string).chain(validator.problems());
    problems.for_each(|problem| tracing::warn!("not checked: {problem}"));
    Ok(validator)
}

/// The resources of the packages that the settings name.
pub(super) fn of_packages(settings: &Settings) -> anyhow::Result<Vec<Value>> {
    packages::load(&settings.data, &settings.validation.packages).context("the setting validation.packages")
}

/// A validator over the resources of packages and the terminology in the data folder, and the value sets and code systems
/// of the packages that cannot be read.
pub(super) fn assemble(data: &Path, resources: Vec<Value>) -> anyhow::Result<(Validator, Vec<TerminologyError>)> {
    let is_structure = |it: &Value| it.get("resourceType").and_then(Value::as_str) == Some("StructureDefinition");
    let (structures, codes): (Vec<Value>, Vec<Value>) = resources.into_iter().partition(is_structure);
    let (terminology, unreadable) = terminology(terminology::load(data)?, codes)?;
    Ok((Validator::new(Arc::new(terminology), &structures), unreadable))
}

/// The terminology alone, `own` being the operator's files. A fault in somebody else's package costs that definition, one in
/// a file of the operator's own the start: the file can be mended here.
pub(super) fn terminology(
    own: Vec<(PathBuf, Vec<Value>)>,
    of_packages: Vec<Value>,
) -> anyhow::Result<(Terminology, Vec<TerminologyError>)> {
    let mut terminology = Terminology::with(Vec::new())?;
    let unreadable = of_packages.into_iter().filter_map(|resource| terminology.take(resource).err()).collect();
    for (path, resources) in own {
        for resource in resources {
            let text = |name: &str| resource.get(name).and_then(Value::as_str).unwrap_or_default();
            let name = format!("{}/{}", text("resourceType"), text("id"));
            if !terminology.take(resource).with_context(|| path.display().to_string())? {
                let file = path.display();
                tracing::warn!("{file}: {name} is not taken: only a CodeSystem or ValueSet with a url is");
            }
        }
    }
    Ok((terminology, unreadable))
}
