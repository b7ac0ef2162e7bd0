//! Operations (R4 operations.html): `$validate`, those of terminology over what is loaded, and those of subscribers.
//!
//! They change nothing, so GET with parameters in the URL and POST with Parameters are the same.

mod arguments;
pub mod expand;
pub mod export;
pub mod lookup;
pub mod subscription;
pub mod validate;
pub mod validate_code;

use serde_json::{Value, json};

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::terminology::{Grammar, Terminology, Unexpandable, ValueSet, nucc, unversioned};

pub use arguments::Sent;
use arguments::{Arguments, Declared, Shape};

/// Include and exclude elements of a value set that a client sends, with their filters and value sets.
const COMPONENTS_MAX: usize = 100;
/// Those of its filters that are regular expressions: each is compiled, and matched with every code of a system.
const PATTERNS_MAX: usize = 5;
/// Codes that it lists one by one. The largest sets that are published as lists have a few thousand.
const LISTED_MAX: usize = 50_000;

/// The parameters that name the value set.
const URL: Declared = Declared { name: "url", shape: Shape::Text, repeats: false };
const VALUE_SET: Declared = Declared { name: "valueSet", shape: Shape::Resource("ValueSet"), repeats: false };
const VALUE_SET_VERSION: Declared = Declared { name: "valueSetVersion", shape: Shape::Text, repeats: false };
const DISPLAY_LANGUAGE: Declared = Declared { name: "displayLanguage", shape: Shape::Text, repeats: false };
const CODING: Declared = Declared { name: "coding", shape: Shape::Coding, repeats: false };

const fn text(name: &'static str) -> Declared {
    Declared { name, shape: Shape::Text, repeats: false }
}

/// The value set that an operation is about.
enum Subject {
    /// The url of one that is loaded, without a version.
    Loaded(String),
    Sent(Box<ValueSet>),
}

/// Reads `url` (with `valueSetVersion`) or `valueSet`.
fn subject(terminology: &Terminology, arguments: &mut Arguments) -> Result<Subject, FhirError> {
    let (url, sent) = (arguments.text("url"), arguments.value("valueSet"));
    let version = arguments.text("valueSetVersion");
    match (url, sent) {
        (Some(_), Some(_)) => Err(bad("A value set is named by url or sent as valueSet, not both.", "url")),
        (None, None) => {
            let sentence = "The parameter url, the canonical URL of a value set, is missing; a value set can also be posted as valueSet.";
            Err(FhirError::with_issue(Kind::Malformed, Issue::error(IssueCode::Required, sentence).at("http.url")))
        }
        (None, Some(sent)) => {
            let set = ValueSet::read(sent).map_err(|error| invalid(&error.to_string()))?;
            affordable(&set)?;
            if let Some(system) = set.versioned_system() {
                let sentence = format!(
                    "The system '{}' has a version behind it; a version has its own element, compose.include.version.",
                    excerpt(system)
                );
                return Err(FhirError::new(Kind::Invalid, sentence).code(IssueCode::Value).at("http.valueSet"));
            }
            Ok(Subject::Sent(Box::new(set)))
        }
        (Some(url), None) => {
            let (plain, in_url) = (unversioned(&url), version_in(&url));
            let definition = terminology.definition(plain).ok_or_else(|| {
                let sentence = format!("The value set '{}' is not loaded on this server.", excerpt(plain));
                FhirError::new(Kind::NotFound, sentence).at("http.url")
            })?;
            let asked = version.as_deref().or(in_url);
            other_version("value set", plain, asked, definition.version.as_deref())
                .map_err(|error| error.at(if version.is_some() { "http.valueSetVersion" } else { "http.url" }))?;
            Ok(Subject::Loaded(plain.to_owned()))
        }
    }
}

/// The version behind a canonical url.
fn version_in(canonical: &str) -> Option<&str> {
    canonical.split_once('|').map(|(_, version)| version)
}

/// Refuses a sent value set that would cost more than any that somebody needs to send.
fn affordable(set: &ValueSet) -> Result<(), FhirError> {
    for (count, max, what) in [
        (set.components(), COMPONENTS_MAX, "include and exclude elements, filters and value sets"),
        (set.patterns(), PATTERNS_MAX, "filters that are regular expressions"),
        (set.listed(), LISTED_MAX, "codes that are listed one by one"),
    ] {
        if count > max {
            let sentence = format!("A value set that is sent has at most {max} {what}.");
            return Err(FhirError::new(Kind::Invalid, sentence).code(IssueCode::TooCostly).at("http.valueSet"));
        }
    }
    Ok(())
}

/// Refuses a version that is not the one that is loaded: an answer about another one could be wrong.
fn other_version(what: &str, url: &str, asked: Option<&str>, loaded: Option<&str>) -> Result<(), FhirError> {
    match (asked, loaded) {
        (Some(asked), loaded) if loaded != Some(asked) => {
            let loaded =
                loaded.map_or_else(|| "one without a version".to_owned(), |version| format!("version {version}"));
            let sentence = format!(
                "Version '{}' of the {what} {} is not loaded on this server; it has {loaded}.",
                excerpt(asked),
                excerpt(url)
            );
            Err(FhirError::new(Kind::NotFound, sentence))
        }
        _ => Ok(()),
    }
}

impl Subject {
    /// The parameter that names it.
    fn place(&self) -> &'static str {
        match self {
            Self::Loaded(_) => "http.url",
            Self::Sent(_) => "http.valueSet",
        }
    }

    /// 422: the set is there, but its codes are not all known.
    fn unexpandable(&self, reason: &Unexpandable) -> FhirError {
        let hint = reason.missing_system().map(|system| format!(" {}", how_to_load(system))).unwrap_or_default();
        let code = match reason {
            Unexpandable::Grammar(_) => IssueCode::TooCostly,
            Unexpandable::Pattern { .. } => IssueCode::Value,
            Unexpandable::UnknownCode { .. } => IssueCode::CodeInvalid,
            _ => IssueCode::NotSupported,
        };
        let reason = clipped(&reason.to_string());
        let sentence = format!("The value set cannot be answered for in full: {reason}.{hint}");
        FhirError::new(Kind::Invalid, sentence).code(code).at(self.place())
    }
}

/// A sentence for the operator.
fn how_to_load(system: &str) -> String {
    if Grammar::of(unversioned(system)).is_some() {
        return "Its codes follow a grammar, so that there is nothing to load: ValueSet/$validate-code tells whether one is well-formed.".into();
    }
    if unversioned(system) == nucc::URL {
        return "An operator loads it with `plumbline terminology load nucc FILE.csv` and starts the server again."
            .into();
    }
    "An operator loads it by putting its CodeSystem, with content 'complete', as a .json file into the folder 'terminology' of the data folder, and starts the server again.".into()
}

/// A reason that may quote a client's text, at a length that leaves room for the hint.
fn clipped(reason: &str) -> String {
    reason.chars().take(400).collect()
}

fn bad(sentence: impl Into<String>, name: &str) -> FhirError {
    let issue = Issue::error(IssueCode::Value, sentence).at(format!("http.{}", excerpt(name)));
    FhirError::with_issue(Kind::Malformed, issue)
}

fn invalid(reason: &str) -> FhirError {
    FhirError::new(Kind::Invalid, format!("{reason}.")).code(IssueCode::Invalid).at("http.valueSet")
}

/// A Parameters resource.
fn parameters(parameters: Vec<Value>) -> Value {
    json!({"resourceType": "Parameters", "parameter": parameters})
}

/// An operation that the server offers, for the CapabilityStatement.
pub struct Offered {
    pub resource_type: &'static str,
    pub name: &'static str,
    pub definition: &'static str,
}

/// What every resource type has.
pub const VALIDATE: Offered = Offered {
    resource_type: "Resource",
    name: "validate",
    definition: "http://hl7.org/fhir/OperationDefinition/Resource-validate",
};

/// Those of terminology, by type.
pub const OFFERED: [Offered; 3] = [
    Offered {
        resource_type: "CodeSystem",
        name: "lookup",
        definition: "http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup",
    },
    Offered {
        resource_type: "ValueSet",
        name: "expand",
        definition: "http://hl7.org/fhir/OperationDefinition/ValueSet-expand",
    },
    Offered {
        resource_type: "ValueSet",
        name: "validate-code",
        definition: "http://hl7.org/fhir/OperationDefinition/ValueSet-validate-code",
    },
];
