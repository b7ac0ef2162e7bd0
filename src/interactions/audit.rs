//! The record of who did what: an AuditEvent for every write, in the transaction of the write, and for refusals, logins,
//! tokens and what administrators do (R4 auditevent.html; DICOM PS3.15 A.5 and RFC 6749 for the codes).
//!
//! An AuditEvent is a resource like others, so that it is found by the searches of FHIR. But only this module makes them,
//! and the database refuses to change one. What an anonymous reader searched for is never in them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::{FhirError, Kind as Refusal};
use crate::fhir::resource::{Unstamped, excerpt};
use crate::fhir::types::ResourceType;
use crate::search::param::registry;
use crate::search::value::{IndexEntries, ReferenceEntry, Target};
use crate::store::change::{self, Change, Kind};
use crate::store::conn::Conn;

use super::create::new_id;

const TYPES: &str = "http://terminology.hl7.org/CodeSystem/audit-event-type";
const DICOM: &str = "http://dicom.nema.org/resources/ontology/DCM";
const REST: &str = "http://hl7.org/fhir/restful-interaction";
const OAUTH: &str = "urn:ietf:rfc:6749";
/// Resources that one AuditEvent names.
const ENTITIES_MAX: usize = 500;

/// A resource that was written: its new version, and how.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub target: Target,
    pub version: i64,
    pub kind: Kind,
}

/// What happened beside writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A person logged in, or tried to.
    Login,
    Logout,
    /// A token was given out, by this grant type.
    Token(&'static str),
    Revocation,
    /// An app was told by an EHR or portal what it is opened for.
    Launch,
    /// Somebody changed who may do what: clients, accounts.
    Administration,
    /// A bulk export was asked for, or ended.
    Export,
    /// A request that was refused for lack of rights.
    Refusal,
}

/// An event beside writes.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    pub what: What,
    pub is_success: bool,
    /// A sentence for whoever reads the record; no secrets, no search terms.
    pub description: String,
    /// The app and the account that it is about, where the caller does not say.
    pub client: Option<&'a str>,
    pub account: Option<&'a str>,
}

/// Records an event.
///
/// # Errors
/// 503 when it cannot be stored.
pub async fn record(app: &Arc<App>, caller: &Caller, event: Event<'_>) -> Result<(), FhirError> {
    let change = self::event(app, caller, &event);
    app.store
        .write(async move |conn: &mut Conn| {
            change::apply(conn, vec![change.clone()]).await?;
            Ok::<_, FhirError>(())
        })
        .await
}

/// The change that records an event, for the transaction of what it is about.
pub fn event(app: &App, caller: &Caller, event: &Event<'_>) -> Change {
    change(app, event_body(app, caller, event), Vec::new())
}

/// True for the refusals that are recorded: the others are about what was sent, not about who sent it.
pub fn is_for_lack_of_rights(error: &FhirError) -> bool {
    matches!(error.kind, Refusal::Unauthenticated | Refusal::Forbidden)
}

/// What was refused for lack of rights: method and path, without anything that was asked for.
#[derive(Clone, Debug)]
pub struct Refused {
    line: String,
    status: u16,
}

impl Refused {
    pub fn new(method: &str, path: &str, status: u16) -> Self {
        Self { line: format!("{method} {}", excerpt(path)), status }
    }
}

/// Records refusals for lack of rights. Whoever is refused over and over is recorded so often, and then how often else.
pub async fn record_refusals(app: &Arc<App>, caller: &Caller, refused: Vec<Refused>) {
    for Refused { line, status } in refused {
        if caller.address.is_some_and(|address| app.limits.check_record(address).is_err()) {
            app.unrecorded.fetch_add(1, Ordering::Relaxed);
            continue;
        }
        let mut description = format!("{line} was refused with {status}");
        let unrecorded = app.unrecorded.swap(0, Ordering::Relaxed);
        if unrecorded > 0 {
            description.push_str(&format!("; {unrecorded} more, of whoever asked too often, since the last record"));
        }
        let event = Event { what: What::Refusal, is_success: false, description, client: None, account: None };
        if let Err(error) = record(app, caller, event).await {
            tracing::error!(%error, "a refusal could not be recorded");
        }
    }
}

/// The changes that record the writes of one unit of work: one, unless there are very many.
pub(super) fn of_writes(app: &App, caller: &Caller, done: &[Done]) -> Vec<Change> {
    let (code, action) = match done {
        [Done { kind: Kind::Create, .. }] => ("create", "C"),
        [Done { kind: Kind::Delete, .. }] => ("delete", "D"),
        [Done { kind: Kind::UpdateAsCreate, .. }] => ("update", "C"),
        [Done { kind: Kind::Update, .. }] => ("update", "U"),
        _ => ("transaction", "E"),
    };
    let mut body = common(app, caller, None, None);
    insert(&mut body, "type", coding(TYPES, "rest"));
    insert(&mut body, "subtype", json!([coding(REST, code)]));
    insert(&mut body, "action", action.into());
    insert(&mut body, "outcome", "0".into());
    let entity = |done: &Done| {
        let Target { resource_type, id } = &done.target;
        json!({"what": {"reference": format!("{resource_type}/{id}/_history/{}", done.version)}})
    };
    let part = |done: &[Done]| {
        let mut body = body.clone();
        insert(&mut body, "entity", done.iter().map(entity).collect());
        change(app, body, done.iter().map(|done| done.target.clone()).collect())
    };
    done.chunks(ENTITIES_MAX).map(part).collect()
}

/// A change that adds an AuditEvent, whose entities are these: what they offer to search is known without a look at them.
fn change(app: &App, mut body: Value, entities: Vec<Target>) -> Change {
    let target = Target { resource_type: ResourceType::AuditEvent, id: new_id() };
    let listed = body.as_object_mut().and_then(|body| body.shift_remove("entity"));
    let mut entries = app.extractor().entries(ResourceType::AuditEvent, &body);
    if let (Some(listed), Some(param)) = (listed, registry().get(ResourceType::AuditEvent, "entity")) {
        insert(&mut body, "entity", listed);
        let references = entities.into_iter().map(|target| ReferenceEntry { param: param.id, target });
        entries.references.extend(references);
        entries.normalize();
    }
    let at = app.now();
    Change {
        body: Some(Unstamped::new(&body).stamped(&target.id, 1, at)),
        rid: None,
        version: 1,
        at,
        kind: Kind::Create,
        replaced: None,
        remove: IndexEntries::default(),
        add: entries,
        target,
    }
}

fn event_body(app: &App, caller: &Caller, event: &Event<'_>) -> Value {
    let (kind, subtype, action) = match event.what {
        What::Login => (coding(DICOM, "110114"), coding(DICOM, "110122"), "E"),
        What::Logout => (coding(DICOM, "110114"), coding(DICOM, "110123"), "E"),
        What::Token(grant_type) => (coding(DICOM, "110114"), coding(OAUTH, grant_type), "C"),
        What::Revocation => (coding(DICOM, "110114"), coding(OAUTH, "revocation"), "D"),
        What::Launch => (coding(DICOM, "110114"), coding(OAUTH, "launch"), "C"),
        What::Administration => (coding(DICOM, "110113"), coding(DICOM, "110137"), "U"),
        What::Export => (coding(DICOM, "110106"), coding(REST, "operation"), "R"),
        What::Refusal => (coding(DICOM, "110113"), coding(DICOM, "110132"), "E"),
    };
    let mut body = common(app, caller, event.client, event.account);
    insert(&mut body, "type", kind);
    insert(&mut body, "subtype", json!([subtype]));
    insert(&mut body, "action", action.into());
    insert(&mut body, "outcome", if event.is_success { "0" } else { "4" }.into());
    insert(&mut body, "outcomeDesc", event.description.as_str().into());
    body
}

/// When, who and where.
fn common(app: &App, caller: &Caller, client: Option<&str>, account: Option<&str>) -> Value {
    let identity = &caller.identity;
    let client = client.or(identity.client.as_deref());
    let account = account.or(identity.user.as_ref().map(|user| user.name.as_str()));
    let fhir_user = identity.user.as_ref().and_then(|user| user.fhir_user.as_deref());
    let name = match (client, identity.kind) {
        (Some(client), _) => client,
        (None, crate::auth::caller::Kind::Operator) => "command line",
        (None, _) => "anonymous",
    };
    let mut agent = json!({"name": name, "requestor": true});
    if let Some(account) = account {
        insert(&mut agent, "altId", account.into());
    }
    let mut who = match fhir_user {
        Some(user) if is_agent(user) => json!({"reference": user}),
        Some(user) => json!({"display": user}),
        None => json!({"display": name}),
    };
    if let Some(issuer) = &identity.issuer {
        let value = account.unwrap_or(name);
        insert(&mut who, "identifier", json!({"system": issuer, "value": value}));
    }
    insert(&mut agent, "who", who);
    if let Some(address) = caller.address {
        insert(&mut agent, "network", json!({"address": address.to_string(), "type": "2"}));
    }
    json!({
        "resourceType": "AuditEvent",
        "recorded": app.now().to_fhir(),
        "agent": [agent],
        "source": {"observer": {"display": "Plumbline"}},
    })
}

/// True for what `AuditEvent.agent.who` may refer to; SMART's fhirUser may be a Person as well.
fn is_agent(reference: &str) -> bool {
    let kind = reference.rsplit('/').nth(1).unwrap_or_default();
    ["Practitioner", "PractitionerRole", "Patient", "RelatedPerson"].contains(&kind)
}

fn coding(system: &str, code: &str) -> Value {
    json!({"system": system, "code": code})
}

fn insert(object: &mut Value, name: &str, value: Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
}
