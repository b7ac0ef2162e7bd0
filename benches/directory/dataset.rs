//! The generated directory, and the few facts of it that answers are checked against.
//!
//! The facts are taken from the resources themselves, with code that shares nothing with the server's index.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

pub const NPI_SYSTEM: &str = "http://hl7.org/fhir/sid/us-npi";

/// Everything the benchmark knows of its data. References are kept as ids; the type is in the field's name.
#[derive(Default)]
pub struct DataSet {
    /// All resources in load order.
    pub resources: Vec<Resource>,
    /// `Type/id` to the place in `resources`.
    pub by_reference: HashMap<String, usize>,
    pub practitioners: Vec<Practitioner>,
    pub roles: Vec<Role>,
    pub locations: Vec<Location>,
    pub affiliations: Vec<Affiliation>,
    /// Id to the place in `locations`.
    location_by_id: HashMap<String, usize>,
    /// Bytes of the NDJSON file.
    pub ndjson_bytes: u64,
}

pub struct Resource {
    pub reference: String,
    pub body: Box<str>,
}

pub struct Practitioner {
    pub id: String,
    pub npis: Vec<String>,
    pub family: Option<String>,
    /// Every part of every HumanName: family, given, prefix, suffix and text.
    pub names: Vec<Folded>,
}

pub struct Role {
    pub id: String,
    pub practitioner: Option<String>,
    pub locations: Vec<String>,
    pub specialties: Vec<String>,
}

pub struct Location {
    pub id: String,
    pub city: Option<String>,
    pub folded_city: Option<Folded>,
    pub position: Option<Position>,
}

pub struct Affiliation {
    pub id: String,
    pub participant: Option<String>,
    pub networks: Vec<String>,
    pub locations: Vec<String>,
    pub specialties: Vec<String>,
}

/// Degrees, WGS84.
#[derive(Clone, Copy)]
pub struct Position {
    pub latitude: f64,
    pub longitude: f64,
}

impl Position {
    /// Great-circle distance by the haversine formula on the mean earth radius.
    pub fn kilometres_to(self, other: Self) -> f64 {
        let half_chord = |a: f64, b: f64| ((b - a).to_radians() / 2.0).sin().powi(2);
        let square = half_chord(self.latitude, other.latitude)
            + self.latitude.to_radians().cos()
                * other.latitude.to_radians().cos()
                * half_chord(self.longitude, other.longitude);
        2.0 * 6371.0088 * square.sqrt().min(1.0).asin()
    }
}

/// Text without case and accents, and the same without punctuation and spaces, which R4 lets a server ignore
/// (search.html, string).
pub struct Folded {
    pub text: String,
    pub bare: String,
}

impl Folded {
    pub fn new(text: &str) -> Self {
        let text: String = text.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase).collect();
        let bare = text.chars().filter(|c| c.is_alphanumeric()).collect();
        Self { text, bare }
    }
}

impl DataSet {
    /// Writes the generated resources to `file`, one a line, and remembers what the checks need.
    pub fn write(resources: impl Iterator<Item = Value>, file: &Path) -> Result<Self> {
        let mut out = BufWriter::new(File::create(file).with_context(|| format!("cannot write {}", file.display()))?);
        let mut data = Self::default();
        for resource in resources {
            let body = serde_json::to_string(&resource)?;
            writeln!(out, "{body}")?;
            data.ndjson_bytes += body.len() as u64 + 1;
            data.remember(&resource, body)?;
        }
        out.flush()?;
        Ok(data)
    }

    fn remember(&mut self, resource: &Value, body: String) -> Result<()> {
        let kind = resource["resourceType"].as_str().context("a generated resource has no resourceType")?;
        let id = resource["id"].as_str().context("a generated resource has no id")?.to_owned();
        let reference = format!("{kind}/{id}");
        match kind {
            "Practitioner" => self.practitioners.push(practitioner(id, resource)),
            "PractitionerRole" => self.roles.push(Role {
                id,
                practitioner: target(&resource["practitioner"], "Practitioner"),
                locations: targets(&resource["location"], "Location"),
                specialties: codes(&resource["specialty"]),
            }),
            "Location" => {
                self.location_by_id.insert(id.clone(), self.locations.len());
                self.locations.push(location(id, resource));
            }
            "OrganizationAffiliation" => self.affiliations.push(Affiliation {
                id,
                participant: target(&resource["participatingOrganization"], "Organization"),
                networks: targets(&resource["network"], "Organization"),
                locations: targets(&resource["location"], "Location"),
                specialties: codes(&resource["specialty"]),
            }),
            _ => {}
        }
        self.by_reference.insert(reference.clone(), self.resources.len());
        self.resources.push(Resource { reference, body: body.into() });
        Ok(())
    }

    pub fn location(&self, id: &str) -> Option<&Location> {
        self.locations.get(*self.location_by_id.get(id)?)
    }

    /// The body as loaded.
    pub fn body(&self, reference: &str) -> Option<Value> {
        let resource = self.resources.get(*self.by_reference.get(reference)?)?;
        serde_json::from_str(&resource.body).ok()
    }
}

fn practitioner(id: String, resource: &Value) -> Practitioner {
    let npis = items(&resource["identifier"])
        .filter(|identifier| identifier["system"] == NPI_SYSTEM)
        .filter_map(|identifier| identifier["value"].as_str().map(str::to_owned))
        .collect();
    let mut names = Vec::new();
    for name in items(&resource["name"]) {
        let single = [&name["family"], &name["text"]].into_iter();
        let many = [&name["given"], &name["prefix"], &name["suffix"]].into_iter().flat_map(items);
        names.extend(single.chain(many).filter_map(Value::as_str).map(Folded::new));
        // The parts of a family name are found each by itself.
        names.extend(name["family"].as_str().into_iter().flat_map(|family| family.split([' ', '-'])).map(Folded::new));
    }
    let family = items(&resource["name"]).find_map(|name| name["family"].as_str()).map(str::to_owned);
    Practitioner { id, npis, family, names }
}

fn location(id: String, resource: &Value) -> Location {
    let city = resource["address"]["city"].as_str().map(str::to_owned);
    let degrees = |name: &str| resource["position"][name].as_f64();
    let position =
        degrees("latitude").zip(degrees("longitude")).map(|(latitude, longitude)| Position { latitude, longitude });
    Location { id, folded_city: city.as_deref().map(Folded::new), city, position }
}

/// The members of an array; nothing for anything else.
pub fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn codes(concepts: &Value) -> Vec<String> {
    items(concepts)
        .flat_map(|concept| items(&concept["coding"]))
        .filter_map(|coding| coding["code"].as_str().map(str::to_owned))
        .collect()
}

fn target(reference: &Value, kind: &str) -> Option<String> {
    let (found, id) = reference["reference"].as_str()?.split_once('/')?;
    (found == kind).then(|| id.to_owned())
}

fn targets(references: &Value, kind: &str) -> Vec<String> {
    items(references).filter_map(|reference| target(reference, kind)).collect()
}
