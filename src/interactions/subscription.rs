//! Subscriptions at the door: what a client may ask for, on whose authority it is served, and what the server makes of its
//! status (R4 subscription.html; Backport 1.1.0).

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::auth::caller::{Caller, Identity};
use crate::auth::policy;
use crate::auth::scope::Access;
use crate::fhir::error::FhirError;
use crate::fhir::outcome::Issue;
use crate::fhir::resource::Unstamped;
use crate::fhir::types::ResourceType;
use crate::search::parse::Handling;
use crate::search::value::Target;
use crate::store::change::Kind as Change;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes;
use crate::store::notifications::Event;
use crate::store::records::{self, Record};
use crate::store::{history, resources};
use crate::subscriptions::definition::{Asked, Bounds, Context, Definition, Status};
use crate::subscriptions::notification::{How, Item};

use super::access::{self, Sight};
use super::write::{self, Prepared, Put, stored};

/// What the names of the lanes of Subscriptions begin with; their ids follow.
pub const NAME: &str = "Subscription/";

/// On whose authority a Subscription is: who asked for it, with what they were granted then.
#[derive(Debug, Serialize, Deserialize)]
pub struct Owner(pub Identity);

impl Record for Owner {
    const KIND: &'static str = "subscriber";
}

fn context(app: &App) -> Context<'_> {
    Context {
        search: app.search_context(Handling::Strict),
        allow_http: app.settings.delivery.allow_http || !app.settings.net.allow_private.is_empty(),
        bounds: Bounds::default(),
    }
}

/// A Subscription that is stored, as the server serves it.
///
/// # Errors
/// A sentence, when this release does not serve it any more.
pub fn definition(app: &App, body: &str) -> Result<Definition, String> {
    let body: Value = serde_json::from_str(body).map_err(|error| error.to_string())?;
    Definition::stored(&body, &context(app)).map_err(|issues| {
        let sentences: Vec<String> = issues.into_iter().map(|issue| issue.diagnostics).collect();
        sentences.join(" ")
    })
}

/// What a version of a Subscription asks of the machine that delivers, and why it has failed, if it has.
pub fn state(body: Option<&str>) -> (lanes::State, Option<String>) {
    let body = body.and_then(|body| stored(body).ok());
    let text = |name: &str| body.as_ref().and_then(|body| body.get(name)?.as_str());
    let state = match text("status").and_then(Status::parse) {
        Some(Status::Requested) => lanes::State::Starting,
        Some(Status::Active) => lanes::State::Active,
        Some(Status::Error) => lanes::State::Failed,
        Some(Status::Off) | None => lanes::State::Off,
    };
    (state, text("error").map(str::to_owned))
}

/// An event as notifications tell of it to one who may read what it is about, or may not (`is_seen`).
pub fn item(event: &Event, is_seen: bool) -> Item<'_> {
    let how = match event.kind {
        Change::Create => How::Create,
        Change::Update => How::Update,
        Change::Delete => How::Delete,
        Change::UpdateAsCreate => How::UpdateAsCreate,
    };
    Item {
        number: event.number,
        at: event.at,
        resource_type: event.resource_type,
        id: &event.id,
        version: event.version,
        how,
        body: event.body.as_deref(),
        is_seen,
    }
}

/// Whether somebody who sees this much of a type may read what an event is about. A deletion is seen by those who saw what
/// was deleted.
///
/// # Errors
/// The store's.
pub async fn is_seen(app: &App, conn: &mut Conn, sight: &Sight, event: &Event) -> Result<bool, StoreError> {
    match (sight, &event.body) {
        (Sight::Nothing, _) => Ok(false),
        (Sight::Everything, _) => Ok(true),
        (Sight::Only(_), Some(body)) => {
            let target = Target { resource_type: event.resource_type, id: event.id.clone() };
            Ok(stored(body).is_ok_and(|body| sight.reaches(app, &target, event.at, &body)))
        }
        (Sight::Only(_), None) => {
            let before = history::get(conn, event.resource_type, &event.id, event.version - 1).await?;
            let Some(history::Version { body: Some(body), at, .. }) = before else { return Ok(false) };
            let target = Target { resource_type: event.resource_type, id: event.id.clone() };
            Ok(stored(&body).is_ok_and(|body| sight.reaches(app, &target, at, &body)))
        }
    }
}

/// Takes a Subscription from a client: held to what this server can serve and the client may see, in the status `requested` or
/// `off`, and marked as theirs. What comes back is what is wrong with it.
///
/// # Errors
/// 401 and 403 when it is about what the client may not read.
pub(super) fn admit(app: &App, caller: &Caller, body: &mut Value) -> Result<Vec<Issue>, FhirError> {
    let definition = match Definition::read(body, &context(app)) {
        Ok(definition) => definition,
        Err(issues) => return Ok(issues),
    };
    if definition.asked == Asked::Start {
        for resource_type in definition.types() {
            access::require(app, caller, Access::READ, resource_type)?;
        }
    }
    let status = match definition.asked {
        Asked::Start => Status::Requested,
        Asked::Off => Status::Off,
    };
    set(body, "status", Some(status.as_str().into()));
    set(body, "error", None);
    let is_bound = policy::is_bound_to_own(&caller.identity);
    let Some(object) = body.as_object_mut() else { return Ok(Vec::new()) };
    let meta = object.entry("meta").or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(meta) = meta.as_object_mut()
        && (is_bound || !meta.contains_key("source"))
    {
        meta.insert("source".into(), caller.identity.urn().into());
    }
    Ok(Vec::new())
}

fn set(body: &mut Value, name: &str, value: Option<Value>) {
    let Some(object) = body.as_object_mut() else { return };
    match value {
        Some(value) => object.insert(name.into(), value),
        None => object.shift_remove(name),
    };
}

/// Keeps on whose authority Subscriptions are that are written in the transaction at hand. Who changes somebody else's, as an
/// administrator may, does not take it over.
///
/// # Errors
/// The store's.
pub(super) async fn keep_owners(conn: &mut Conn, caller: &Caller, puts: &[Put]) -> Result<(), StoreError> {
    for put in puts.iter().filter(|put| put.target.resource_type == ResourceType::Subscription) {
        let id = put.target.id.as_str();
        let Some(prepared) = &put.resource else {
            records::remove::<Owner>(conn, id).await?;
            continue;
        };
        let source = prepared.body.get("meta").and_then(|meta| meta.get("source")).and_then(Value::as_str);
        if source == Some(&caller.identity.urn()) {
            records::put(conn, id, &Owner(Identity::clone(&caller.identity)), None).await?;
        }
    }
    Ok(())
}

/// Changes the status of a Subscription on behalf of the server, if it is still in this version: false when it is not.
///
/// # Errors
/// The store's; 500 when what is stored cannot be read.
pub async fn set_status(
    app: &Arc<App>,
    id: &str,
    version: i64,
    status: Status,
    error: Option<String>,
) -> Result<bool, FhirError> {
    let (door, id) = (Arc::clone(app), id.to_owned());
    app.store
        .write(async move |conn: &mut Conn| {
            let target = Target { resource_type: ResourceType::Subscription, id: id.clone() };
            let found = resources::lock(conn, std::slice::from_ref(&target)).await?;
            let current = found.get(&target).filter(|current| current.version == version);
            let Some(text) = current.and_then(|current| current.body.as_deref()) else { return Ok(false) };
            let mut body = stored(text)?;
            set(&mut body, "status", Some(status.as_str().into()));
            set(&mut body, "error", error.clone().map(Value::from));
            let entries = door.extractor().entries(target.resource_type, &body);
            let text = Unstamped::new(&body);
            let prepared = Prepared { body: Arc::new(body), text, entries, targets: Vec::new() };
            let put = Put { target, resource: Some(Arc::new(prepared)), expected: None, is_create: false };
            write::put_all(&door, &Caller::server(), conn, &[put]).await?;
            Ok::<_, FhirError>(true)
        })
        .await
}
