//! The entries of a batch or transaction Bundle: read once, checked, and told apart (R4 http.html#transaction).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode, operation_outcome};
use crate::fhir::resource::{self, excerpt};
use crate::fhir::types::{ResourceType, is_id};
use crate::search::extract::local_part;

use super::answer::{Answer, etag};
use super::condition::Condition;
use super::expected::{Expected, version_of};
use super::patch::Document;

/// One entry: what is to be done.
#[derive(Clone, Debug)]
pub struct Entry {
    pub full_url: Option<String>,
    pub call: Call,
}

/// An entry with its call, or why it cannot be one.
pub type Readable = Result<Entry, Box<Unread>>;

/// An entry that cannot be done, by its method and its URL without the query.
#[derive(Debug)]
pub struct Unread {
    pub method: String,
    pub path: String,
    pub error: FhirError,
}

/// An interaction, as `request` of an entry names it.
#[derive(Clone, Debug)]
pub enum Call {
    Create { resource_type: ResourceType, body: Arc<Value>, condition: Option<Condition> },
    Update { resource_type: ResourceType, id: String, body: Arc<Value>, expected: Option<Expected> },
    UpdateWhere { resource_type: ResourceType, condition: Condition, body: Arc<Value>, expected: Option<Expected> },
    Patch { resource_type: ResourceType, id: String, document: Document, expected: Option<Expected> },
    PatchWhere { resource_type: ResourceType, condition: Condition, document: Document, expected: Option<Expected> },
    Delete { resource_type: ResourceType, id: String, expected: Option<Expected> },
    DeleteWhere { resource_type: ResourceType, condition: Condition, expected: Option<Expected> },
    Get(Get),
}

impl Call {
    /// Method and path, as a request line would have them; without conditions and other search terms.
    pub fn line(&self) -> (&'static str, String) {
        let one = |resource_type: &ResourceType, id: &str| format!("{resource_type}/{id}");
        match self {
            Self::Create { resource_type, .. } => ("POST", resource_type.to_string()),
            Self::Update { resource_type, id, .. } => ("PUT", one(resource_type, id)),
            Self::UpdateWhere { resource_type, .. } => ("PUT", resource_type.to_string()),
            Self::Patch { resource_type, id, .. } => ("PATCH", one(resource_type, id)),
            Self::PatchWhere { resource_type, .. } => ("PATCH", resource_type.to_string()),
            Self::Delete { resource_type, id, .. } => ("DELETE", one(resource_type, id)),
            Self::DeleteWhere { resource_type, .. } => ("DELETE", resource_type.to_string()),
            Self::Get(get) => (
                "GET",
                match &get.what {
                    What::Read(resource_type, id) => one(resource_type, id),
                    What::Version(resource_type, id, version) => format!("{resource_type}/{id}/_history/{version}"),
                    What::History(whose, _) => whose.path(),
                    What::Search(_, path, _) => path.clone(),
                    What::Capability => "metadata".to_owned(),
                },
            ),
        }
    }
}

/// A reading interaction. HEAD is a GET whose body is not sent.
#[derive(Clone, Debug)]
pub struct Get {
    pub what: What,
    pub is_head: bool,
    pub if_none_match: Option<i64>,
}

#[derive(Clone, Debug)]
pub enum What {
    Read(ResourceType, String),
    Version(ResourceType, String, String),
    History(super::history::Whose, Vec<(String, String)>),
    Search(Vec<ResourceType>, String, Vec<(String, String)>),
    Capability,
}

/// The entries of a Bundle, each with its call or why it cannot be one.
///
/// # Errors
/// 400 when the Bundle has too many entries or `entry` is no list.
pub fn entries(app: &App, caller: &Caller, bundle: &mut Value) -> Result<Vec<Readable>, FhirError> {
    let entries = match bundle.get_mut("entry").map(Value::take) {
        None => Vec::new(),
        Some(Value::Array(entries)) => entries,
        Some(_) => return Err(FhirError::malformed("Bundle.entry is a list.").at("Bundle.entry")),
    };
    let most = app.settings.store.transaction_entries_max;
    if entries.len() > most {
        let sentence = format!("The Bundle has {} entries; one request takes at most {most}.", entries.len());
        return Err(FhirError::new(Kind::TooLarge, sentence).code(IssueCode::TooCostly).at("Bundle.entry"));
    }
    Ok(entries
        .into_iter()
        .enumerate()
        .map(|(n, entry)| {
            let line = |name: &str| entry.get("request").and_then(|request| request.get(name)).and_then(Value::as_str);
            let method = line("method").unwrap_or_default().to_owned();
            let path = line("url").unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
            read_entry(app, caller, entry).map_err(|error| Box::new(Unread { method, path, error: within(error, n) }))
        })
        .collect())
}

/// The same refusal, located in entry `n`: `Practitioner.name` becomes `Bundle.entry[n].resource.name`.
pub fn within(mut error: FhirError, n: usize) -> FhirError {
    error.issues.iter_mut().for_each(|issue| locate(issue, n));
    error
}

/// The same for one issue.
pub fn locate(issue: &mut Issue, n: usize) {
    let place = match issue.expression.take() {
        None => format!("Bundle.entry[{n}]"),
        Some(path) if path.starts_with("Bundle.entry[") => path,
        Some(path) if path.starts_with("http.") => format!("Bundle.entry[{n}].request.url"),
        Some(path)
            if path == "request"
                || path.starts_with("request.")
                || path.starts_with("resource") && !path.starts_with("resourceType") =>
        {
            format!("Bundle.entry[{n}].{path}")
        }
        Some(path) => match path.split_once('.') {
            Some((root, rest)) if root.starts_with(|c: char| c.is_ascii_uppercase()) => {
                format!("Bundle.entry[{n}].resource.{rest}")
            }
            None if path.starts_with(|c: char| c.is_ascii_uppercase()) => format!("Bundle.entry[{n}].resource"),
            _ => format!("Bundle.entry[{n}].resource.{path}"),
        },
    };
    issue.expression = Some(place);
}

fn bad(sentence: impl Into<String>, at: &str) -> FhirError {
    FhirError::with_issue(Kind::Malformed, Issue::error(IssueCode::Invalid, sentence).at(at))
}

fn read_entry(app: &App, caller: &Caller, mut entry: Value) -> Result<Entry, FhirError> {
    let full_url = entry.get("fullUrl").and_then(Value::as_str).map(str::to_owned);
    let body = entry.get_mut("resource").map(Value::take);
    let request =
        entry.get("request").and_then(Value::as_object).ok_or_else(|| bad("The entry has no request.", "request"))?;
    let text = |name: &str| request.get(name).and_then(Value::as_str);
    let method = text("method").ok_or_else(|| bad("The request has no method.", "request.method"))?;
    let url = text("url").ok_or_else(|| bad("The request has no url.", "request.url"))?;
    let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
    let path = local_part(&app.bases, path)
        .ok_or_else(|| bad(format!("'{}' is not a URL of this server.", excerpt(url)), "request.url"))?
        .trim_matches('/');
    let if_none_match = text("ifNoneMatch");
    let expected = match method {
        "PUT" | "PATCH" | "DELETE" => {
            Expected::read(text("ifMatch"), if_none_match).map_err(|error| error.at("request.ifMatch"))?
        }
        _ => None,
    };
    let resource = || body.ok_or_else(|| bad(format!("A {method} entry carries a resource."), "resource"));
    let call = match method {
        "GET" | "HEAD" => {
            let if_none_match = if_none_match.and_then(version_of);
            Call::Get(Get { what: what(path, query)?, is_head: method == "HEAD", if_none_match })
        }
        "POST" => {
            let resource_type = type_named(path)?;
            let condition = text("ifNoneExist")
                .map(|query| Condition::parse(app, caller, Access::CREATE, resource_type, query))
                .transpose()?;
            Call::Create { resource_type, body: Arc::new(resource()?), condition }
        }
        "PUT" | "PATCH" | "DELETE" => {
            let access = if method == "DELETE" { Access::DELETE } else { Access::UPDATE };
            let (resource_type, place) = place(app, caller, access, path, query)?;
            match (method, place) {
                ("PUT", Place::Id(id)) => Call::Update { resource_type, id, body: Arc::new(resource()?), expected },
                ("PUT", Place::Where(condition)) => {
                    Call::UpdateWhere { resource_type, condition, body: Arc::new(resource()?), expected }
                }
                ("PATCH", Place::Id(id)) => {
                    Call::Patch { resource_type, id, document: document(resource()?)?, expected }
                }
                ("PATCH", Place::Where(condition)) => {
                    Call::PatchWhere { resource_type, condition, document: document(resource()?)?, expected }
                }
                (_, Place::Id(id)) => Call::Delete { resource_type, id, expected },
                (_, Place::Where(condition)) => Call::DeleteWhere { resource_type, condition, expected },
            }
        }
        _ => {
            return Err(bad(
                format!("'{}' is no method: it is GET, HEAD, POST, PUT, PATCH or DELETE.", excerpt(method)),
                "request.method",
            ));
        }
    };
    Ok(Entry { full_url, call })
}

/// The resource that a write names: by id or by a condition.
enum Place {
    Id(String),
    Where(Condition),
}

fn place(
    app: &App,
    caller: &Caller,
    access: Access,
    path: &str,
    query: Option<&str>,
) -> Result<(ResourceType, Place), FhirError> {
    if let (Some(query), false) = (query, path.contains('/')) {
        let resource_type = type_named(path)?;
        return Ok((resource_type, Place::Where(Condition::parse(app, caller, access, resource_type, query)?)));
    }
    match path.split_once('/') {
        Some((name, id)) if is_id(id) => Ok((type_named(name)?, Place::Id(id.to_owned()))),
        _ => Err(bad(
            format!("'{}' does not name a resource: it is Type/id or Type?condition.", excerpt(path)),
            "request.url",
        )),
    }
}

/// A resource type by name.
///
/// # Errors
/// 404 when it is not one of this server.
pub fn type_named(name: &str) -> Result<ResourceType, FhirError> {
    ResourceType::parse(name).ok_or_else(|| {
        let known: Vec<&str> = ResourceType::ALL.iter().map(|known| known.as_str()).collect();
        FhirError::new(
            Kind::NotFound,
            format!("'{}' is no resource type of this server; it stores {}.", excerpt(name), known.join(", ")),
        )
        .code(IssueCode::NotSupported)
    })
}

/// The patch that an entry carries: Parameters, or a Binary that holds a JSON Patch.
fn document(body: Value) -> Result<Document, FhirError> {
    match body.get("resourceType").and_then(Value::as_str) {
        Some("Parameters") => Ok(Document::FhirPath(body)),
        Some("Binary") => {
            let is_json = body.get("contentType").and_then(Value::as_str) == Some("application/json-patch+json");
            let data = body.get("data").and_then(Value::as_str).filter(|_| is_json).unwrap_or_default();
            let decoded = openssl::base64::decode_block(data).ok().filter(|decoded| !decoded.is_empty());
            let operations = decoded.and_then(|decoded| resource::parse_any_json(&decoded).ok());
            operations.map(Document::Json).ok_or_else(|| {
                bad(
                    "A Binary that patches has contentType application/json-patch+json and the patch as data.",
                    "resource",
                )
            })
        }
        _ => Err(bad("A PATCH entry carries Parameters (FHIRPath Patch) or a Binary (JSON Patch).", "resource")),
    }
}

fn what(path: &str, query: Option<&str>) -> Result<What, FhirError> {
    use super::history::Whose;
    let pairs: Vec<(String, String)> =
        form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect();
    let mut parts = path.split('/');
    let found = match (parts.next().unwrap_or_default(), parts.next(), parts.next(), parts.next(), parts.next()) {
        ("metadata", None, ..) => What::Capability,
        ("_history", None, ..) => What::History(Whose::Everything, pairs),
        ("", None, ..) => What::Search(system_types(&pairs)?, String::new(), pairs),
        (name, None, ..) => What::Search(vec![type_named(name)?], name.to_owned(), pairs),
        (name, Some("_history"), None, ..) => What::History(Whose::Type(type_named(name)?), pairs),
        (name, Some(id), None, ..) if is_id(id) => What::Read(type_named(name)?, id.to_owned()),
        (name, Some(id), Some("_history"), None, _) if is_id(id) => {
            What::History(Whose::Resource(type_named(name)?, id.to_owned()), pairs)
        }
        (name, Some(id), Some("_history"), Some(version), None) if is_id(id) => {
            What::Version(type_named(name)?, id.to_owned(), version.to_owned())
        }
        _ => return Err(bad(format!("'{}' is no reading interaction of this server.", excerpt(path)), "request.url")),
    };
    Ok(found)
}

/// The types of a search across types: those of `_type`, or all.
///
/// # Errors
/// 400 for a type that is not stored here.
pub fn system_types(pairs: &[(String, String)]) -> Result<Vec<ResourceType>, FhirError> {
    let named = pairs
        .iter()
        .filter(|(name, _)| name == "_type")
        .flat_map(|(_, value)| value.split(','))
        .filter(|name| !name.is_empty());
    let mut types: Vec<ResourceType> = named
        .map(|name| {
            ResourceType::parse(name)
                .ok_or_else(|| bad(format!("'{}' is no resource type of this server.", excerpt(name)), "http._type"))
        })
        .collect::<Result<_, _>>()?;
    types.sort();
    types.dedup();
    Ok(if types.is_empty() { ResourceType::ALL.to_vec() } else { types })
}

/// The entry of a response Bundle, as JSON.
pub fn response_entry(base: &str, answer: &Answer, with_resource: bool) -> Vec<u8> {
    let mut response = Map::new();
    response.insert("status".into(), status_line(answer.status).into());
    if let Some(location) = answer.location.as_ref().filter(|_| answer.status != 204) {
        response.insert("location".into(), format!("{base}/{location}").into());
    }
    if let Some(version) = answer.version {
        response.insert("etag".into(), etag(version).into());
    }
    if let Some(at) = answer.last_modified {
        response.insert("lastModified".into(), at.to_fhir().into());
    }
    let mut entry = Vec::from(b"{");
    if let Some(body) = answer.body.as_ref().filter(|_| with_resource) {
        entry.extend_from_slice(b"\"resource\":");
        entry.extend_from_slice(body);
        entry.push(b',');
    }
    entry.extend_from_slice(format!("\"response\":{}}}", Value::Object(response)).as_bytes());
    entry
}

/// The entry of a batch-response for a refusal; the OperationOutcome is put in `response.outcome`, as is common.
pub fn refusal_entry(error: &FhirError) -> Vec<u8> {
    json!({"response": {"status": status_line(error.kind.status()), "outcome": operation_outcome(&error.issues)}})
        .to_string()
        .into_bytes()
}

fn status_line(status: u16) -> String {
    let reason = match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        304 => "Not Modified",
        400 => "Bad Request",
        404 => "Not Found",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        422 => "Unprocessable Entity",
        503 => "Service Unavailable",
        _ => return status.to_string(),
    };
    format!("{status} {reason}")
}

/// A response Bundle of this type around its entries.
pub fn response_bundle(kind: &str, base: &str, entries: &[Vec<u8>]) -> Answer {
    let id = uuid::Uuid::now_v7();
    let link = json!([{"relation": "self", "url": base}]);
    let mut bundle =
        format!("{{\"resourceType\":\"Bundle\",\"id\":\"{id}\",\"type\":\"{kind}\",\"link\":{link}").into_bytes();
    if !entries.is_empty() {
        bundle.extend_from_slice(b",\"entry\":[");
        bundle.extend_from_slice(&entries.join(&b','));
        bundle.push(b']');
    }
    bundle.push(b'}');
    Answer::new(200, bundle)
}
