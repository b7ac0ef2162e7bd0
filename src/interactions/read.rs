//! read and vread (R4 http.html#read, #vread).

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::types::{Instant, ResourceType};
use crate::store::conn::Conn;
use crate::store::{history, resources};

use super::expected::version_number;

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
/// 404 when it never was here, 410 when it was deleted.
pub async fn read(app: &App, resource_type: ResourceType, id: &str) -> Result<Stored, FhirError> {
    app.store.read(async |conn: &mut Conn| read_in(conn, resource_type, id).await).await
}

/// The same, in a transaction at hand.
///
/// # Errors
/// As [`read`].
pub async fn read_in(conn: &mut Conn, resource_type: ResourceType, id: &str) -> Result<Stored, FhirError> {
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
pub async fn vread(app: &App, resource_type: ResourceType, id: &str, version: &str) -> Result<Stored, FhirError> {
    let unknown = || FhirError::new(Kind::NotFound, format!("{resource_type}/{id} has no version {version}."));
    let number = version_number(version).ok_or_else(unknown)?;
    let found = app
        .store
        .read(async |conn: &mut Conn| Ok::<_, FhirError>(history::get(conn, resource_type, id, number).await?))
        .await?;
    match found {
        Some(history::Version { body: Some(body), version, at, .. }) => Ok(Stored { version, last_updated: at, body }),
        Some(deletion) => Err(gone(resource_type, id, deletion.version)),
        None => Err(unknown()),
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
