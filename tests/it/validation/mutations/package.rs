//! Reads the published package.

use flate2::read::GzDecoder;
use serde_json::Value;
use std::fs::File;
use std::io::Read;

const TYPES: [&str; 8] = [
    "Endpoint",
    "HealthcareService",
    "InsurancePlan",
    "Location",
    "Organization",
    "OrganizationAffiliation",
    "Practitioner",
    "PractitionerRole",
];

/// The examples of the eight Plan-Net types, named `Type/id`, in the order of their names.
pub fn examples() -> Vec<(String, Value)> {
    let mut found: Vec<(String, Value)> = json_files("package/example/")
        .into_iter()
        .filter(|(_, value)| TYPES.contains(&value["resourceType"].as_str().unwrap_or_default()))
        .map(|(_, value)| {
            let name =
                format!("{}/{}", value["resourceType"].as_str().unwrap(), value["id"].as_str().unwrap_or_default());
            (name, value)
        })
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

/// All StructureDefinitions of the package.
pub fn snapshots() -> Vec<Value> {
    json_files("package/StructureDefinition-").into_iter().map(|(_, value)| value).collect()
}

fn json_files(prefix: &str) -> Vec<(String, Value)> {
    let path = std::env::var("PLAN_NET_PACKAGE").expect("PLAN_NET_PACKAGE names the .tgz of the Plan-Net package");
    let file = File::open(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let mut files = Vec::new();
    for entry in archive.entries().expect("a tar archive") {
        let mut entry = entry.expect("an entry of the archive");
        let name = entry.path().expect("a name").to_string_lossy().into_owned();
        if name.starts_with(prefix) && name.ends_with(".json") {
            let mut text = String::new();
            entry.read_to_string(&mut text).expect("UTF-8 text");
            files.push((name, serde_json::from_str(&text).expect("JSON")));
        }
    }
    files.sort_by(|left: &(String, Value), right| left.0.cmp(&right.0));
    files
}
