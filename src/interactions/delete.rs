//! delete and conditional delete (R4 http.html#delete, #2.21.0.13.1).

use std::sync::Arc;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::types::ResourceType;
use crate::search::value::Target;
use crate::store::conn::Conn;

use super::access;
use super::answer::Answer;
use super::condition::Condition;
use super::expected::Expected;
use super::write::{self, Outcome, Put};

/// Deletes a resource: 204, also when it was not there.
///
/// # Errors
/// 412 when something else is stored than the client expects; 409 when it is referred to and `store.references` is `enforce`.
pub async fn delete(
    app: &Arc<App>,
    caller: &Caller,
    resource_type: ResourceType,
    id: &str,
    expected: Option<Expected>,
) -> Result<Answer, FhirError> {
    access::require(app, caller, Access::DELETE, resource_type)?;
    let target = Target { resource_type, id: id.to_owned() };
    let written = write::write_one(app, caller, deletion(target, expected)).await?;
    let version = (written.outcome == Outcome::Deleted).then_some(written.version);
    Ok(Answer { version, ..Answer::empty(204) })
}

/// Deletes every resource that meets the condition, in one transaction: 204.
///
/// # Errors
/// 412 when more meet it than one request may delete; the refusals of [`delete`].
pub async fn delete_where(
    app: &Arc<App>,
    caller: &Caller,
    resource_type: ResourceType,
    condition: Condition,
    expected: Option<Expected>,
) -> Result<Answer, FhirError> {
    access::require(app, caller, Access::DELETE, resource_type)?;
    let (door, caller) = (Arc::clone(app), caller.clone());
    app.store
        .write(async move |conn: &mut Conn| {
            let puts = deletions(&door, conn, resource_type, &condition, expected).await?;
            write::put_all(&door, &caller, conn, &puts).await
        })
        .await?;
    Ok(Answer::empty(204))
}

/// The deletions that a condition comes to.
pub(super) async fn deletions(
    app: &App,
    conn: &mut Conn,
    resource_type: ResourceType,
    condition: &Condition,
    expected: Option<Expected>,
) -> Result<Vec<Put>, FhirError> {
    let most = app.settings.store.conditional_delete_max;
    let ids = condition.ids(conn, i64::try_from(most).unwrap_or(i64::MAX - 1) + 1).await?;
    if ids.len() > most {
        return Err(FhirError::new(
            Kind::PreconditionFailed,
            format!("The condition selects more than {most} resources; narrow it, or delete in several steps."),
        )
        .code(IssueCode::TooCostly));
    }
    Ok(ids.into_iter().map(|id| deletion(Target { resource_type, id }, expected)).collect())
}

pub(super) fn deletion(target: Target, expected: Option<Expected>) -> Put {
    Put { target, resource: None, expected, is_create: false }
}
