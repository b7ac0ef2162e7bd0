//! An export that was asked for: how far it is, what came of it, its files, its end. For those who asked for it alone.

use std::path::PathBuf;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::policy::{Permission, permission};
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::types::{Instant, ResourceType};
use crate::interactions::access;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::export_jobs::{self, Job, State};

use super::asked::Asked;
use super::{folder, folder_name};

/// Seconds after which a client looks again at an export that has just begun, and at one that takes long.
const RETRY_S_MIN: i64 = 1;
const RETRY_S_MAX: i64 = 30;

/// What a file of an export is, by its place in the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    Output,
    Deleted,
    Error,
}

impl Role {
    fn as_str(self) -> &'static str {
        match self {
            Self::Output => "output",
            Self::Deleted => "deleted",
            Self::Error => "error",
        }
    }
}

/// A file of an export.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct File {
    pub role: Role,
    /// `Practitioner.ndjson`.
    pub name: String,
    /// The type of the resources in it.
    pub resource_type: String,
    /// Its lines.
    pub count: u64,
}

/// What came of an export.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub enum Outcome {
    /// Every change up to this moment, in microseconds, is in the files.
    Complete { transaction_time: i64, types: Vec<String>, files: Vec<File> },
    /// Why there is none: an HTTP status and a sentence.
    Failed { status: u16, sentence: String },
}

/// An export that is this caller's.
#[derive(Clone, Debug)]
pub struct Found {
    pub job: Job,
    pub asked: Asked,
    outcome: Option<Outcome>,
}

/// How far an export is.
#[derive(Debug)]
pub enum Status {
    /// Not done yet: a few words, and the seconds after which to look again.
    Running { progress: String, retry_s: i64 },
    /// The manifest, and until when it is kept.
    Complete { manifest: Value, expires_at: Instant },
}

/// JSON for the store.
pub(super) fn encoded<T: Serialize>(value: &T) -> Result<String, FhirError> {
    serde_json::to_string(value).map_err(|error| FhirError::new(Kind::Internal, "Internal error.").caused_by(error))
}

fn decoded<T: DeserializeOwned>(text: &str) -> Result<T, FhirError> {
    Ok(serde_json::from_str(text).map_err(|error| StoreError::Corrupt(format!("an export: {error}")))?)
}

impl Outcome {
    /// As the store keeps it.
    ///
    /// # Errors
    /// 500 when it is no JSON.
    pub fn encoded(&self) -> Result<String, FhirError> {
        encoded(self)
    }
}

impl Found {
    /// Reads what the store kept.
    ///
    /// # Errors
    /// 500 when it cannot be read: the database was changed from outside.
    pub fn read(job: Job) -> Result<Self, FhirError> {
        let asked = decoded(&job.asked)?;
        let outcome = job.outcome.as_deref().map(decoded).transpose()?;
        Ok(Self { job, asked, outcome })
    }

    /// The types that were exported, once they are.
    fn types(&self) -> Vec<ResourceType> {
        let Some(Outcome::Complete { types, .. }) = &self.outcome else { return Vec::new() };
        types.iter().filter_map(|name| ResourceType::parse(name)).collect()
    }
}

/// Whose an export is: the same app of the same issuer, for the same account, or nobody in particular.
pub(super) fn owner(caller: &Caller) -> String {
    let identity = &caller.identity;
    let user = identity.user.as_ref().map(|user| &user.name);
    json!([identity.kind, identity.issuer, identity.client, user]).to_string()
}

fn not_found(id: &str) -> FhirError {
    FhirError::new(Kind::NotFound, format!("There is no export '{}' here.", excerpt(id)))
}

/// An export, for who asked for it.
///
/// # Errors
/// 404 when there is none or it is somebody else's, and after it was removed; 401 without a token for one that was asked
/// for with one.
pub async fn find(app: &App, caller: &Caller, id: &str) -> Result<Found, FhirError> {
    let found = app.store.read(async |conn: &mut Conn| export_jobs::get(conn, id).await).await?;
    let is_over = |job: &Job| job.expires_at.is_some_and(|at| at <= app.now());
    match found.filter(|job| !is_over(job)) {
        Some(job) if job.owner == owner(caller) => Found::read(job),
        Some(_) if caller.is_anonymous() => Err(access::denied(caller, Access::LOOK, ResourceType::Practitioner)),
        // Where nothing is open, nobody without a token has an export.
        None if caller.is_anonymous() && caller.identity.scopes.is_empty() => {
            Err(access::denied(caller, Access::LOOK, ResourceType::Practitioner))
        }
        _ => Err(not_found(id)),
    }
}

/// Holds a caller to what they may read now: a token may allow less than the one by which the export was asked for.
///
/// # Errors
/// 403 for a type of which they may not read all that was exported; 401 without a token.
fn cover(app: &App, caller: &Caller, asked: &Asked, types: &[ResourceType]) -> Result<(), FhirError> {
    let then = asked.caller(app);
    for resource_type in types {
        let allowed = permission(&caller.identity, Access::LOOK, *resource_type);
        let is_covered = match (allowed, permission(&then.identity, Access::LOOK, *resource_type)) {
            (Permission::All, _) => true,
            (Permission::Where(now), Permission::Where(then)) => then.iter().all(|it| now.contains(it)),
            _ => false,
        };
        if !is_covered {
            return Err(access::denied(caller, Access::LOOK, *resource_type));
        }
    }
    Ok(())
}

/// How far an export is.
///
/// # Errors
/// As [`find`]; 429 when it is asked too often; 403 when the caller may read less now than was exported; what ended the
/// export when it failed.
pub async fn status(app: &App, caller: &Caller, id: &str, base: &str) -> Result<Status, FhirError> {
    app.limits.check_poll(id).map_err(|wait| FhirError::throttled("who waits for this export", wait))?;
    let found = find(app, caller, id).await?;
    match &found.outcome {
        None => {
            let age_s = (app.now().0 - found.job.created_at.0) / 1_000_000;
            let progress = match found.job.state {
                State::Waiting => "waiting for its turn".to_owned(),
                _ => found.job.progress,
            };
            Ok(Status::Running { progress, retry_s: (age_s / 10).clamp(RETRY_S_MIN, RETRY_S_MAX) })
        }
        Some(Outcome::Failed { status, sentence }) => {
            let (kind, code) = match status {
                401 | 403 => (Kind::Forbidden, IssueCode::Forbidden),
                _ => (Kind::Internal, IssueCode::Exception),
            };
            Err(FhirError::with_issue(kind, Issue::error(code, sentence.as_str())))
        }
        Some(Outcome::Complete { transaction_time, files, .. }) => {
            cover(app, caller, &found.asked, &found.types())?;
            let manifest = manifest(&found, Instant(*transaction_time), files, base);
            Ok(Status::Complete { manifest, expires_at: found.job.expires_at.unwrap_or(app.now()) })
        }
    }
}

/// The manifest of a complete export (Bulk Data Access 2.0, "Response - Complete Status").
fn manifest(found: &Found, transaction_time: Instant, files: &[File], base: &str) -> Value {
    let listed = |role: Role| -> Value {
        let url = |file: &File| format!("{base}/_export/{}/{}", found.job.id, file.name);
        let item = |file: &File| json!({"type": file.resource_type, "url": url(file), "count": file.count});
        files.iter().filter(|file| file.role == role).map(item).collect()
    };
    let mut manifest = Map::new();
    manifest.insert("transactionTime".into(), transaction_time.to_fhir().into());
    manifest.insert("request".into(), found.asked.request.as_str().into());
    manifest.insert("requiresAccessToken".into(), (!found.asked.is_anonymous()).into());
    for role in [Role::Output, Role::Deleted, Role::Error] {
        // What was deleted is told only to who knows what was there.
        if role != Role::Deleted || found.asked.since().is_some() {
            manifest.insert(role.as_str().into(), listed(role));
        }
    }
    Value::Object(manifest)
}

/// Where a file of an export lies, and its tag: its content never changes.
///
/// # Errors
/// As [`find`]; 404 for a file that is none of this export; 403 when the caller may read less now than is in it.
pub async fn file(app: &App, caller: &Caller, id: &str, name: &str) -> Result<(PathBuf, String), FhirError> {
    let found = find(app, caller, id).await?;
    let files: &[File] = match &found.outcome {
        Some(Outcome::Complete { files, .. }) => files,
        _ => &[],
    };
    let file = files.iter().find(|file| file.name == name);
    let file =
        file.ok_or_else(|| FhirError::new(Kind::NotFound, format!("The export has no file '{}'.", excerpt(name))))?;
    match (file.role, ResourceType::parse(&file.resource_type)) {
        (Role::Output, Some(resource_type)) => cover(app, caller, &found.asked, &[resource_type])?,
        _ => cover(app, caller, &found.asked, &found.types())?,
    }
    let Job { id, attempt, .. } = &found.job;
    Ok((folder(app).join(folder_name(id, *attempt)).join(&file.name), format!("{attempt}-{}", file.count)))
}

/// Ends an export: it is not gone on with, and its files are removed.
///
/// # Errors
/// As [`find`].
pub async fn remove(app: &Arc<App>, caller: &Caller, id: &str) -> Result<(), FhirError> {
    let found = find(app, caller, id).await?;
    let name = found.job.id.clone();
    app.store.write(async move |conn: &mut Conn| export_jobs::remove(conn, &name).await).await?;
    // Who works on it, and who clears up, look at once.
    app.exports.send_replace(());
    Ok(())
}
