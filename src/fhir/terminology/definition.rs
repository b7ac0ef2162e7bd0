//! The parts of CodeSystem and ValueSet (R4 codesystem.html, valueset.html) that say which codes there are.

use serde::Deserialize;
use serde_json::{Map, Value};
use thiserror::Error;

/// A CodeSystem or ValueSet that is not what R4 says it is.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the {resource_type} {url} cannot be read: {reason}")]
pub struct TerminologyError {
    pub resource_type: String,
    /// Its canonical URL, or what stands in for it.
    pub url: String,
    pub reason: String,
}

/// One definition.
pub(super) enum Definition {
    CodeSystem(CodeSystem),
    ValueSet(ValueSet),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    resource_type: String,
}

impl Definition {
    /// Reads a resource. `None`: of another type, or without a url, so that nothing could ever name it.
    ///
    /// # Errors
    /// [`TerminologyError`] for a CodeSystem or ValueSet that cannot be read.
    pub(super) fn from_value(resource: Value) -> Result<Option<Self>, TerminologyError> {
        let text = |name: &str| resource.get(name).and_then(Value::as_str).map(str::to_owned);
        let (Some(resource_type), Some(url)) = (text("resourceType"), text("url")) else { return Ok(None) };
        let read = match resource_type.as_str() {
            "CodeSystem" => CodeSystem::deserialize(resource).map(Self::CodeSystem),
            "ValueSet" => ValueSet::deserialize(resource).map(Self::ValueSet),
            _ => return Ok(None),
        };
        read.map(Some).map_err(|error| TerminologyError { resource_type, url, reason: error.to_string() })
    }

    /// Reads a definition that is part of the build.
    pub(super) fn from_text(text: &str) -> serde_json::Result<Self> {
        let head: Head = serde_json::from_str(text)?;
        match head.resource_type.as_str() {
            "CodeSystem" => serde_json::from_str(text).map(Self::CodeSystem),
            _ => serde_json::from_str(text).map(Self::ValueSet),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CodeSystem {
    pub url: String,
    pub version: Option<String>,
    pub name: Option<String>,
    pub title: Option<String>,
    pub content: String,
    pub case_sensitive: Option<bool>,
    pub hierarchy_meaning: Option<String>,
    #[serde(default)]
    pub property: Vec<PropertyDefinition>,
    #[serde(default)]
    pub concept: Vec<ConceptDefinition>,
}

#[derive(Deserialize)]
pub(super) struct PropertyDefinition {
    pub code: String,
}

#[derive(Deserialize)]
pub(super) struct ConceptDefinition {
    pub code: String,
    pub display: Option<String>,
    pub definition: Option<String>,
    #[serde(default)]
    pub designation: Vec<Value>,
    #[serde(default)]
    pub property: Vec<Property>,
    #[serde(default)]
    pub concept: Vec<ConceptDefinition>,
}

/// `CodeSystem.concept.property`: its code, and `value[x]` under whichever name it has.
#[derive(Clone, Debug, Deserialize)]
pub struct Property {
    pub code: String,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Property {
    /// `value[x]`: the JSON name, such as `valueCode`, and the value.
    pub fn value(&self) -> Option<(&str, &Value)> {
        self.rest.iter().find(|(name, _)| name.starts_with("value")).map(|(name, value)| (name.as_str(), value))
    }

    /// The value as a filter compares it (R4 valueset.html#filter): text as it is, of a Coding its code.
    pub fn text(&self) -> Option<String> {
        match self.value()?.1 {
            Value::String(text) => Some(text.clone()),
            Value::Object(coding) => coding.get("code").and_then(Value::as_str).map(str::to_owned),
            other => Some(other.to_string()),
        }
    }
}

/// A ValueSet: what it is made of, or what somebody else found it to hold.
#[derive(Deserialize)]
pub struct ValueSet {
    /// Empty for one that is not known by a name.
    #[serde(default)]
    pub url: String,
    pub version: Option<String>,
    pub name: Option<String>,
    pub title: Option<String>,
    pub status: Option<String>,
    pub(super) compose: Option<Compose>,
    pub(super) expansion: Option<StatedExpansion>,
}

impl ValueSet {
    /// Reads a ValueSet that a client sent along.
    ///
    /// # Errors
    /// [`TerminologyError`] when it is none.
    pub fn read(resource: Value) -> Result<Self, TerminologyError> {
        let url = resource.get("url").and_then(Value::as_str).unwrap_or("that was sent").to_owned();
        let fail = |reason: String| TerminologyError { resource_type: "ValueSet".into(), url: url.clone(), reason };
        if resource.get("resourceType").and_then(Value::as_str) != Some("ValueSet") {
            return Err(fail("its resourceType is not ValueSet".into()));
        }
        Self::deserialize(resource).map_err(|error| fail(error.to_string()))
    }

    /// How much there is to work out: its include and exclude elements, with their filters and value sets.
    pub fn components(&self) -> usize {
        self.parts().map(|component| 1 + component.filter.len() + component.value_set.len()).sum()
    }

    /// How many of its filters are regular expressions.
    pub fn patterns(&self) -> usize {
        self.parts().flat_map(|component| &component.filter).filter(|filter| filter.op == "regex").count()
    }

    /// How many codes it lists one by one, in what it is made of and in what somebody found it to hold.
    pub fn listed(&self) -> usize {
        let mut stated = 0;
        let mut waiting: Vec<&Contains> = self.expansion.iter().flat_map(|expansion| &expansion.contains).collect();
        while let Some(one) = waiting.pop() {
            stated += 1;
            waiting.extend(&one.contains);
        }
        stated + self.parts().map(|component| component.concept.len()).sum::<usize>()
    }

    /// The first system that is named with a version behind it. `system` is an uri and has none: that is what
    /// `compose.include.version` is for.
    pub fn versioned_system(&self) -> Option<&str> {
        self.parts().filter_map(|component| component.system.as_deref()).find(|system| system.contains('|'))
    }

    fn parts(&self) -> impl Iterator<Item = &Component> {
        self.compose.iter().flat_map(|compose| compose.include.iter().chain(&compose.exclude))
    }
}

#[derive(Deserialize)]
pub(super) struct Compose {
    /// False: codes that are no longer for use are not in the set.
    pub inactive: Option<bool>,
    pub include: Vec<Component>,
    #[serde(default)]
    pub exclude: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Component {
    pub system: Option<String>,
    pub version: Option<String>,
    #[serde(default)]
    pub concept: Vec<Quote>,
    #[serde(default)]
    pub filter: Vec<Filter>,
    #[serde(default)]
    pub value_set: Vec<String>,
}

impl Component {
    /// The system, if it is meant as a whole.
    pub(super) fn whole_system(&self) -> Option<&str> {
        let is_whole = self.concept.is_empty() && self.filter.is_empty() && self.value_set.is_empty();
        self.system.as_deref().filter(|_| is_whole)
    }
}

#[derive(Deserialize)]
pub(super) struct Quote {
    pub code: String,
    pub display: Option<String>,
    #[serde(default)]
    pub designation: Vec<Value>,
}

#[derive(Deserialize)]
pub(super) struct Filter {
    pub property: String,
    pub op: String,
    pub value: String,
}

/// `ValueSet.expansion`.
#[derive(Deserialize)]
pub(super) struct StatedExpansion {
    pub total: Option<u64>,
    #[serde(default)]
    pub extension: Vec<Extension>,
    #[serde(default)]
    pub contains: Vec<Contains>,
}

#[derive(Deserialize)]
pub(super) struct Extension {
    pub url: String,
}

#[derive(Deserialize)]
pub(super) struct Contains {
    pub system: Option<String>,
    pub code: Option<String>,
    pub display: Option<String>,
    #[serde(default)]
    pub contains: Vec<Contains>,
}

/// Extensions of an expansion that is not the whole set.
const INCOMPLETE: [&str; 2] = [
    "http://hl7.org/fhir/StructureDefinition/valueset-unclosed",
    "http://hl7.org/fhir/StructureDefinition/valueset-toocostly",
];

impl StatedExpansion {
    /// Every code in it, those below others too. `None`: it is a part of the set only.
    pub(super) fn codes(&self) -> Option<Vec<(&str, &str, Option<&str>)>> {
        let mut codes = Vec::new();
        let mut waiting: Vec<&Contains> = self.contains.iter().rev().collect();
        let mut elements = 0_u64;
        while let Some(Contains { system, code, display, contains }) = waiting.pop() {
            elements += 1;
            // An element without a code is a heading (R4 vsd-6, vsd-9).
            if let (Some(system), Some(code)) = (system, code) {
                codes.push((system.as_str(), code.as_str(), display.as_deref()));
            }
            waiting.extend(contains.iter().rev());
        }
        let is_part = self.total.is_some_and(|total| total > elements)
            || self.extension.iter().any(|extension| INCOMPLETE.contains(&extension.url.as_str()));
        (!is_part).then_some(codes)
    }
}
