//! What an export was asked for: its parameters, and who asked (Bulk Data Access 2.0, "Query Parameters").

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::auth::caller::{Caller, Identity, Kind as Known};
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::types::{Instant, ResourceType};
use crate::interactions::operations::arguments::{Arguments, Declared, Sent, Shape};
use crate::search::date::DateRange;
use crate::search::parse::Handling;

use super::filters::{self, split};

/// The names by which the one format of the files may be asked for.
const FORMATS: [&str; 3] = ["application/fhir+ndjson", "application/ndjson", "ndjson"];
/// Filters of one export; each becomes a part of a statement.
const FILTERS_MAX: usize = 100;

const fn text(name: &'static str, repeats: bool) -> Declared {
    Declared { name, shape: Shape::Text, repeats }
}

const DECLARED: [Declared; 5] = [
    text("_outputFormat", false),
    text("_since", false),
    text("_type", true),
    text("_typeFilter", true),
    text("_elements", true),
];

/// An export as it was asked for. The JSON of it is kept until the export is removed.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Asked {
    /// The URL of the kick-off.
    pub request: String,
    identity: Identity,
    address: Option<IpAddr>,
    /// The types that were named; none: all.
    pub(super) types: Vec<String>,
    /// Type and query of each filter.
    pub(super) filters: Vec<(String, String)>,
    /// Names of root elements, each for one type or for all.
    pub(super) elements: Vec<(Option<String>, String)>,
    /// Microseconds; only what changed after it.
    since: Option<i64>,
    is_lenient: bool,
    /// What was left out for a lenient client.
    pub notes: Vec<String>,
}

impl Asked {
    /// Reads the parameters. `whole` is the type of a kick-off below a type.
    ///
    /// # Errors
    /// 400 with what cannot be used, unless the client is lenient about it.
    pub(super) fn read(
        caller: &Caller,
        whole: Option<ResourceType>,
        mut sent: Sent,
        handling: Handling,
        request: String,
    ) -> Result<Self, FhirError> {
        let declared: Vec<Declared> =
            DECLARED.iter().filter(|it| whole.is_none() || it.name != "_type").copied().collect();
        let mut asked = Self {
            request,
            identity: Identity::clone(&caller.identity),
            address: caller.address,
            types: whole.iter().map(ToString::to_string).collect(),
            filters: Vec::new(),
            elements: Vec::new(),
            since: None,
            is_lenient: handling == Handling::Lenient,
            notes: Vec::new(),
        };
        if asked.is_lenient {
            asked.pass_over_unknown(&declared, &mut sent);
        }
        let arguments = Arguments::read(&declared, sent)?;
        let mut issues = Vec::new();
        let mut keep = |result: Result<(), FhirError>| issues.extend(result.err().into_iter().flat_map(|it| it.issues));
        keep(format(&arguments));
        keep(asked.read_since(&arguments));
        keep(asked.read_types(&arguments));
        keep(asked.read_filters(&arguments));
        keep(asked.read_elements(&arguments));
        if issues.is_empty() { Ok(asked) } else { Err(FhirError::with_issues(Kind::Malformed, issues)) }
    }

    /// Who asked. Without a token: what is open to everybody now.
    pub fn caller(&self, app: &App) -> Caller {
        let identity = match self.identity.kind {
            Known::Anonymous => Arc::clone(&app.anonymous),
            _ => Arc::new(self.identity.clone()),
        };
        Caller { identity, address: self.address }
    }

    pub fn is_anonymous(&self) -> bool {
        self.identity.kind == Known::Anonymous
    }

    pub fn since(&self) -> Option<Instant> {
        self.since.map(Instant)
    }

    pub(super) fn handling(&self) -> Handling {
        if self.is_lenient { Handling::Lenient } else { Handling::Strict }
    }

    /// Takes out the parameters that this server does not know.
    fn pass_over_unknown(&mut self, declared: &[Declared], sent: &mut Sent) {
        let is_known =
            |name: &str| matches!(name, "_format" | "_pretty") || declared.iter().any(|declared| declared.name == name);
        let mut unknown: Vec<String> = Vec::new();
        sent.query.retain(|(name, value)| {
            let is_kept = value.is_empty() || is_known(name);
            unknown.extend((!is_kept).then(|| name.clone()));
            is_kept
        });
        let parts = sent.body.as_mut().and_then(|body| body.get_mut("parameter")).and_then(Value::as_array_mut);
        if let Some(parts) = parts {
            parts.retain(|part| {
                let name = part.get("name").and_then(Value::as_str).unwrap_or_default();
                unknown.extend((!is_known(name)).then(|| name.to_owned()));
                is_known(name)
            });
        }
        let note = |name: &String| format!("the parameter '{}', which this server does not support", excerpt(name));
        self.notes.extend(unknown.iter().map(note));
    }

    fn read_since(&mut self, arguments: &Arguments) -> Result<(), FhirError> {
        let Some(text) = arguments.text("_since") else { return Ok(()) };
        let has_zone = text.split_once('T').is_some_and(|(_, time)| time.contains(['Z', '+', '-', ' ']));
        let range = DateRange::parse(&text).filter(|_| has_zone && text.matches(':').count() >= 2);
        let range = range.ok_or_else(|| {
            let sentence = format!("_since is an instant such as 2026-01-31T12:00:00Z, not '{}'.", excerpt(&text));
            bad("_since", IssueCode::Value, sentence)
        })?;
        self.since = Some(range.lo);
        Ok(())
    }

    fn read_types(&mut self, arguments: &Arguments) -> Result<(), FhirError> {
        let mut is_named = false;
        for name in arguments.texts("_type").flat_map(|text| text.split(',')).map(str::trim) {
            is_named = true;
            match ResourceType::parse(name) {
                Some(_) if self.types.iter().any(|known| known == name) => {}
                Some(_) => self.types.push(name.to_owned()),
                None if self.is_lenient => {
                    self.notes.push(format!("the type '{}', which this server does not store", excerpt(name)));
                }
                None => {
                    let known: Vec<&str> = ResourceType::ALL.iter().map(|known| known.as_str()).collect();
                    let sentence = format!(
                        "'{}' is no resource type of this server; it stores {}.",
                        excerpt(name),
                        known.join(", ")
                    );
                    return Err(bad("_type", IssueCode::NotSupported, sentence));
                }
            }
        }
        if is_named && self.types.is_empty() {
            return Err(bad("_type", IssueCode::NotSupported, "This server stores none of the types in _type."));
        }
        Ok(())
    }

    fn read_filters(&mut self, arguments: &Arguments) -> Result<(), FhirError> {
        for text in arguments.texts("_typeFilter").flat_map(split) {
            let (name, query) = text.split_once('?').ok_or_else(|| {
                filters::bad(format!("A _typeFilter is a type, '?' and a search, not '{}'.", excerpt(text)))
            })?;
            let is_exported = self.types.is_empty() || self.types.iter().any(|it| it == name);
            if ResourceType::parse(name).is_none() || !is_exported {
                let sentence = format!("The _typeFilter for '{}' is about no type that is exported.", excerpt(name));
                if self.is_lenient {
                    self.notes.push(format!("a _typeFilter for '{}', which is not exported", excerpt(name)));
                    continue;
                }
                return Err(filters::bad(sentence));
            }
            self.filters.push((name.to_owned(), query.to_owned()));
        }
        if self.filters.len() > FILTERS_MAX {
            let sentence = format!("An export takes at most {FILTERS_MAX} filters.");
            return Err(bad("_typeFilter", IssueCode::TooCostly, sentence));
        }
        Ok(())
    }

    fn read_elements(&mut self, arguments: &Arguments) -> Result<(), FhirError> {
        for text in arguments.texts("_elements").flat_map(|text| text.split(',')).map(str::trim) {
            let (of, name) = match text.split_once('.') {
                Some((of, name)) => (Some(of), name),
                None => (None, text),
            };
            let is_type = of.is_none_or(|of| ResourceType::parse(of).is_some());
            if !is_type || name.is_empty() || name.contains('.') {
                let sentence =
                    format!("_elements names root elements, as in name or Practitioner.name, not '{}'.", excerpt(text));
                return Err(bad("_elements", IssueCode::Value, sentence));
            }
            self.elements.push((of.map(str::to_owned), name.to_owned()));
        }
        Ok(())
    }
}

fn format(arguments: &Arguments) -> Result<(), FhirError> {
    let Some(format) = arguments.text("_outputFormat") else { return Ok(()) };
    // A + that was not percent-encoded has become a space.
    if FORMATS.contains(&format.replace(' ', "+").as_str()) {
        return Ok(());
    }
    let sentence = format!("The format '{}' is not written here; _outputFormat is {}.", excerpt(&format), FORMATS[0]);
    Err(bad("_outputFormat", IssueCode::NotSupported, sentence))
}

fn bad(name: &str, code: IssueCode, sentence: impl Into<String>) -> FhirError {
    FhirError::with_issue(Kind::Malformed, Issue::error(code, sentence).at(format!("http.{name}")))
}
