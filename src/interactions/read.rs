//! read and vread (R4 http.html#read, #vread).

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::types::{Instant, ResourceType};
use crate::search::value::Target;
use crate::store::conn::Conn;
use crate::store::{history, resources};

use super::access::{self, Sight};
use super::expected::version_number;
use super::write::stored;

/// A resource as stored.
#[derive(Clone, Debug)]
pub struct Stored {
    pub version: i64,
    pub last_updated: Instant,
    pub body: String,
}

/// The current version.
///
/// # Errors
/// 404 when it never was here, or is not for this caller; 410 when it was deleted; 401 and 403 when the caller may read no
/// resource of the type.
pub async fn read(app: &App, caller: &Caller, resource_type: ResourceType, id: &str) -> Result<Stored, FhirError> {
    let sight = access::require(app, caller, Access::READ, resource_type)?;
    app.store.read(async |conn: &mut Conn| read_seen(app, conn, &sight, resource_type, id).await).await
}

/// The same, in a transaction at hand.
///
/// # Errors
/// As [`read`].
pub async fn read_in(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    resource_type: ResourceType,
    id: &str,
) -> Result<Stored, FhirError> {
    let sight = access::require(app, caller, Access::READ, resource_type)?;
    read_seen(app, conn, &sight, resource_type, id).await
}

async fn read_seen(
    app: &App,
    conn: &mut Conn,
    sight: &Sight,
    resource_type: ResourceType,
    id: &str,
) -> Result<Stored, FhirError> {
    match find(conn, resource_type, id).await {
        Ok(found) => sight.let_through(app, resource_type, id, found),
        Err(error)
            if error.kind == Kind::Gone && !was_seen(app, conn, sight, resource_type, id, error.version).await? =>
        {
            Err(not_found(resource_type, id))
        }
        Err(error) => Err(error),
    }
}

/// Whether a caller could see a resource before the deletion that was its version `deleted`.
///
/// # Errors
/// The store's.
pub async fn was_seen(
    app: &App,
    conn: &mut Conn,
    sight: &Sight,
    resource_type: ResourceType,
    id: &str,
    deleted: Option<i64>,
) -> Result<bool, FhirError> {
    if let Sight::Everything = sight {
        return Ok(true);
    }
    let before = deleted.unwrap_or_default() - 1;
    let found = history::get(conn, resource_type, id, before).await?;
    let Some(history::Version { body: Some(body), at, .. }) = found else { return Ok(false) };
    let target = Target { resource_type, id: id.to_owned() };
    Ok(sight.reaches(app, &target, at, &stored(&body)?))
}

/// The current version, whoever asks.
///
/// # Errors
/// 404 when it never was here, 410 when it was deleted.
pub(super) async fn find(conn: &mut Conn, resource_type: ResourceType, id: &str) -> Result<Stored, FhirError> {
    let current = resources::get(conn, resource_type, id).await?;
    match current {
        Some(resources::Current { body: Some(body), version, last_updated, .. }) => {
            Ok(Stored { version, last_updated, body })
        }
        Some(deleted) if deleted.is_deleted() => Err(gone(resource_type, id, deleted.version)),
        _ => Err(not_found(resource_type, id)),
    }
}

/// One version, the current one or an older one.
///
/// # Errors
/// 404 when there is no such version, 410 when it is a deletion.
pub async fn vread(
    app: &App,
    caller: &Caller,
    resource_type: ResourceType,
    id: &str,
    version: &str,
) -> Result<Stored, FhirError> {
    let sight = access::require(app, caller, Access::READ, resource_type)?;
    app.store.read(async |conn: &mut Conn| vread_in(app, conn, &sight, resource_type, id, version).await).await
}

/// The same, in a transaction at hand.
///
/// # Errors
/// As [`vread`].
pub(super) async fn vread_in(
    app: &App,
    conn: &mut Conn,
    sight: &Sight,
    resource_type: ResourceType,
    id: &str,
    version: &str,
) -> Result<Stored, FhirError> {
    let unknown = || FhirError::new(Kind::NotFound, format!("{resource_type}/{id} has no version {version}."));
    let number = version_number(version).ok_or_else(unknown)?;
    match history::get(conn, resource_type, id, number).await? {
        Some(history::Version { body: Some(body), version, at, .. }) => {
            let found = Stored { version, last_updated: at, body };
            // A version that is not for this caller is one that never was.
            sight.let_through(app, resource_type, id, found).map_err(|_hidden| unknown())
        }
        Some(deletion) if was_seen(app, conn, sight, resource_type, id, Some(deletion.version)).await? => {
            Err(gone(resource_type, id, deletion.version))
        }
        _ => Err(unknown()),
    }
}

pub(super) fn not_found(resource_type: ResourceType, id: &str) -> FhirError {
    FhirError::new(Kind::NotFound, format!("{resource_type}/{id} is not here."))
}

fn gone(resource_type: ResourceType, id: &str, version: i64) -> FhirError {
    let mut error = FhirError::new(
        Kind::Gone,
        format!("{resource_type}/{id} was deleted; its history is at {resource_type}/{id}/_history."),
    );
    error.version = Some(version);
    error
}
