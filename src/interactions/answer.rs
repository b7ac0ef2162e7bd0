//! What an interaction answers: a status, a JSON body, and what the headers say about the resource.

use crate::fhir::types::{Instant, ResourceType};

use super::read::Stored;
use super::write::{Outcome, Written};

/// An answer before content negotiation.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// JSON; `None` for no body.
    pub body: Option<Vec<u8>>,
    /// Version of the resource: the ETag.
    pub version: Option<i64>,
    pub last_modified: Option<Instant>,
    /// `Type/id/_history/version`, below the base.
    pub location: Option<String>,
}

impl Answer {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, body: Some(body.into()), ..Self::default() }
    }

    pub fn empty(status: u16) -> Self {
        Self { status, ..Self::default() }
    }
}

impl Answer {
    /// A resource that is there: 200.
    pub fn stored(resource_type: ResourceType, id: &str, stored: Stored) -> Self {
        Self {
            status: 200,
            location: Some(version_path(resource_type, id, stored.version)),
            version: Some(stored.version),
            last_modified: Some(stored.last_updated),
            body: Some(stored.body.into_bytes()),
        }
    }

    /// A resource that was written: 201 when it is new, 204 when it is gone, else 200.
    pub fn written(written: Written) -> Self {
        let status = match written.outcome {
            Outcome::Created => 201,
            Outcome::Updated | Outcome::Unchanged => 200,
            Outcome::Deleted | Outcome::WasGone => 204,
        };
        Self {
            status,
            location: Some(version_path(written.target.resource_type, &written.target.id, written.version)),
            version: Some(written.version),
            last_modified: Some(written.last_updated),
            body: written.body.map(String::into_bytes),
        }
    }
}

/// `Type/id/_history/version`.
pub fn version_path(resource_type: ResourceType, id: &str, version: i64) -> String {
    format!("{resource_type}/{id}/_history/{version}")
}

/// `W/"version"`.
pub fn etag(version: i64) -> String {
    format!("W/\"{version}\"")
}
