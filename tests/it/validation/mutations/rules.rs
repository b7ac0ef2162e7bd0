//! What a profile says about one element.

use super::datatypes;
use super::model::{Definition, Schemas};
use serde_json::Value;

/// What applies to one element, and where its children are described.
#[derive(Clone)]
pub struct Rules {
    /// The element id, continued through extensions; base datatypes begin anew with their name.
    pub key: String,
    /// The same for all profiles if the element is inside a datatype or an extension.
    pub shared: String,
    /// As the children are named in JSON; a choice ends in `[x]`.
    pub name: String,
    pub min: u64,
    pub max: Option<u64>,
    pub repeats: bool,
    pub types: Vec<Type>,
    /// The value set of a required binding (empty text for one of the base datatypes).
    pub required: Option<String>,
    pub fixed: Option<Value>,
    pub constraints: Vec<String>,
    pub source: Source,
}

#[derive(Clone)]
pub struct Type {
    pub code: String,
    pub profiles: Vec<String>,
    /// Resource types a Reference may point to; none: all.
    pub targets: Vec<String>,
}

#[derive(Clone)]
pub enum Source {
    Snapshot { url: String, id: String },
    Base,
}

impl Rules {
    pub fn new(schemas: &Schemas, definition: &Definition, raw: &Value, name: &str, key: &str) -> Self {
        let binding = &raw["binding"];
        let fixed = raw.as_object().into_iter().flatten();
        let id = text(raw, "id").to_owned();
        Self {
            key: key.to_owned(),
            shared: key.find("extension:").map_or(key, |start| &key[start..]).to_owned(),
            name: name.to_owned(),
            min: raw["min"].as_u64().unwrap_or(0),
            max: text(raw, "max").parse().ok(),
            repeats: text(&raw["base"], "max") != "1",
            types: raw["type"].as_array().into_iter().flatten().map(|found| Type::new(schemas, found)).collect(),
            required: (binding["strength"] == "required").then(|| text(binding, "valueSet").to_owned()),
            fixed: fixed
                .filter(|(name, _)| name.starts_with("fixed") || name.starts_with("pattern"))
                .map(|(_, value)| value.clone())
                .next(),
            constraints: raw["constraint"]
                .as_array()
                .into_iter()
                .flatten()
                .filter(|found| found["severity"] == "error")
                .map(|found| text(found, "key").to_owned())
                .collect(),
            source: Source::Snapshot { url: definition.url.clone(), id },
        }
    }

    pub fn base(parent: &str, child: &datatypes::Child) -> Self {
        let targets = child.target.iter().map(|&target| target.to_owned()).collect();
        let kind = child.kind.map(|kind| Type { code: kind.to_owned(), profiles: Vec::new(), targets });
        Self {
            key: format!("{parent}.{}", child.name),
            shared: format!("{parent}.{}", child.name),
            name: child.name.to_owned(),
            min: u64::from(child.required),
            max: if child.repeats { None } else { Some(1) },
            repeats: child.repeats,
            types: kind.into_iter().collect(),
            required: child.bound.then(String::new),
            fixed: None,
            constraints: Vec::new(),
            source: Source::Base,
        }
    }

    /// What the unsliced element demands holds for a slice too.
    pub fn add(&mut self, unsliced: &Rules) {
        self.constraints.extend(unsliced.constraints.iter().cloned());
        self.required = self.required.take().or_else(|| unsliced.required.clone());
    }

    /// The type that a property of this name has here, if the property belongs to this element.
    pub fn takes(&self, property: &str) -> Option<String> {
        let Some(stem) = self.name.strip_suffix("[x]") else {
            return (self.name == property)
                .then(|| self.types.first().map_or("", |found| found.code.as_str()).to_owned());
        };
        let suffix = property.strip_prefix(stem).filter(|rest| rest.starts_with(|first: char| first.is_uppercase()))?;
        let listed = self.types.iter().find(|found| capitalised(&found.code) == suffix).map(|found| found.code.clone());
        Some(listed.unwrap_or_else(|| type_named(suffix)))
    }

    pub fn allows(&self, kind: &str) -> bool {
        self.types.is_empty() || self.types.iter().any(|found| found.code == kind)
    }

    pub fn targets(&self) -> Vec<&str> {
        self.types.iter().flat_map(|found| &found.targets).map(String::as_str).collect()
    }

    /// The name in a FHIRPath: a choice without its mark.
    pub fn path_name(&self) -> &str {
        self.name.trim_end_matches("[x]")
    }

    /// The property of an object that holds this element.
    pub fn property<'a>(&self, object: &'a Value) -> Option<&'a str> {
        object.as_object()?.keys().map(String::as_str).find(|&name| self.takes(name).is_some())
    }
}

impl Type {
    fn new(schemas: &Schemas, raw: &Value) -> Self {
        let urls = |name: &str| -> Vec<String> {
            raw[name].as_array().into_iter().flatten().filter_map(|url| Some(url.as_str()?.to_owned())).collect()
        };
        // The type of a target profile: from the package, or (base profiles) the last part of its url.
        let target = |url: String| match schemas.get(&url) {
            Some(definition) => definition.kind.clone(),
            None => url.rsplit('/').next().unwrap_or_default().to_owned(),
        };
        Self {
            code: text(raw, "code").to_owned(),
            profiles: urls("profile"),
            targets: urls("targetProfile").into_iter().map(target).collect(),
        }
    }
}

pub fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

pub fn capitalised(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_uppercase().collect::<String>() + letters.as_str()).unwrap_or_default()
}

/// The type of a choice where the definition does not list the types (an extension from outside the package).
fn type_named(suffix: &str) -> String {
    const PRIMITIVES: [&str; 10] =
        ["boolean", "code", "date", "dateTime", "decimal", "integer", "string", "time", "uri", "instant"];
    let primitive = PRIMITIVES.iter().find(|name| capitalised(name) == suffix);
    primitive.map_or(suffix.to_owned(), |name| (*name).to_owned())
}
