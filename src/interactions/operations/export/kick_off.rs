//! The beginning of an export: it is asked for, allowed, and put in line.

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::types::ResourceType;
use crate::interactions::audit::{self, Event, What};
use crate::interactions::operations::Sent;
use crate::limits::network;
use crate::search::parse::Handling;
use crate::store::change;
use crate::store::conn::Conn;
use crate::store::export_jobs::{self, Bounds, Full, New};

use super::asked::Asked;
use super::job::{encoded, owner};
use super::plan::plan;

/// After which time it is tried again when there are too many exports: they take minutes, and are kept for long.
const WAIT: Duration = Duration::from_secs(60);

/// A kick-off request.
pub struct Request {
    /// The type in the URL, if there is one.
    pub resource_type: Option<ResourceType>,
    pub sent: Sent,
    pub handling: Handling,
    /// The whole URL.
    pub url: String,
}

/// Puts an export in line; its id. That somebody asked for it is on record.
///
/// # Errors
/// 400 for parameters that cannot be used, 401 and 403 for what the caller may not read and search, 429 when there are too
/// many exports.
pub async fn kick_off(app: &Arc<App>, caller: &Caller, request: Request) -> Result<String, FhirError> {
    let Request { resource_type, sent, handling, url } = request;
    let mut asked = Asked::read(caller, resource_type, sent, handling, url)?;
    let mut notes = Vec::new();
    let parts = plan(app, caller, &asked, &mut notes)?;
    asked.notes.extend(notes);
    let types: Vec<&str> = parts.iter().map(|part| part.query.resource_type.as_str()).collect();
    // 122 bits that nobody guesses: without a token the id is all that tells one client from another.
    let id = uuid::Uuid::new_v4().to_string();
    let description = format!("export {id} of {} was asked for", types.join(", "));
    let event = Event { what: What::Export, is_success: true, description, client: None, account: None };
    let recorded = audit::event(app, caller, &event);
    let owner = owner(caller);
    let counted = match caller.address {
        Some(address) if caller.is_anonymous() => format!("{owner} {}", network(address)),
        _ => owner.clone(),
    };
    let new = New { id: id.clone(), owner, counted, asked: encoded(&asked)?, created_at: app.now() };
    let settings = &app.settings.export;
    let bounds = Bounds { counted_max: settings.client_max.into(), all_max: settings.all_max.into() };
    app.store
        .write(async move |conn: &mut Conn| {
            export_jobs::insert(conn, &new, bounds).await?.map_err(|full| too_many(full, bounds))?;
            change::apply(conn, vec![recorded.clone()]).await?;
            Ok::<_, FhirError>(())
        })
        .await?;
    app.exports.send_replace(());
    Ok(id)
}

fn too_many(full: Full, bounds: Bounds) -> FhirError {
    let sentence = match full {
        Full::Counted => format!(
            "{} exports of this client are kept already; delete one that is not needed any more (DELETE of its status URL).",
            bounds.counted_max
        ),
        Full::All => format!("{} exports are kept already; try again later.", bounds.all_max),
    };
    FhirError { wait: Some(WAIT), ..FhirError::new(Kind::Throttled, sentence) }
}
