//! update, update as create, and conditional update (R4 http.html#update, #upsert, #cond-update).

use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource;
use crate::fhir::types::ResourceType;
use crate::search::value::Target;
use crate::store::conn::Conn;

use super::answer::Answer;
use super::condition::{Condition, Matched};
use super::create::new_id;
use super::expected::Expected;
use super::write::{self, Put};

/// Stores a resource under its own id: 200, or 201 when it was not there.
///
/// # Errors
/// 400 when the body has another id or none; 412 when something else is stored than the client expects; the refusals of
/// [`write::prepare`] and [`write::put_all`].
pub async fn update(
    app: &Arc<App>,
    caller: &Caller,
    resource_type: ResourceType,
    id: &str,
    body: Value,
    expected: Option<Expected>,
) -> Result<Answer, FhirError> {
    check_id(&body, id)?;
    let prepared = write::prepare(app, caller, Access::UPDATE, resource_type, body)?;
    let target = Target { resource_type, id: id.to_owned() };
    let put = Put { target, resource: Some(prepared), expected, is_create: false };
    Ok(Answer::written(write::write_one(app, caller, put).await?))
}

/// Stores a resource where the condition says: in place of the one resource that meets it, or as a new one, under the
/// id of the body if it has one.
///
/// # Errors
/// 412 when several resources meet the condition, or none but there is one with the id of the body; 400 when the one that does has another id than the body.
pub async fn update_where(
    app: &Arc<App>,
    caller: &Caller,
    resource_type: ResourceType,
    condition: Condition,
    body: Value,
    expected: Option<Expected>,
) -> Result<Answer, FhirError> {
    let own_id = resource::id(&body)?.map(str::to_owned);
    let prepared = write::prepare(app, caller, Access::UPDATE, resource_type, body)?;
    let fresh = new_id();
    let (door, caller) = (Arc::clone(app), caller.clone());
    app.store
        .write(async move |conn: &mut Conn| {
            let matched = condition.matched(conn).await?;
            let expected = expected_where(&matched, expected);
            let id = conditional_id(&condition, matched, own_id.as_deref(), &fresh)?;
            let target = Target { resource_type, id };
            let put = Put { target, resource: Some(prepared.clone()), expected, is_create: false };
            let written = write::put_all(&door, &caller, conn, &[put]).await?;
            written.into_iter().next().map(Answer::written).ok_or_else(write::nothing_written)
        })
        .await
}

/// The id that a conditional update writes to.
///
/// # Errors
/// As [`update_where`].
pub(super) fn conditional_id(
    condition: &Condition,
    matched: Matched,
    own: Option<&str>,
    fresh: &str,
) -> Result<String, FhirError> {
    match (matched, own) {
        (Matched::Many, _) => Err(condition.ambiguous()),
        (Matched::One(id), Some(own)) if id != own => Err(FhirError::with_issue(
            Kind::Malformed,
            Issue::error(
                IssueCode::Invalid,
                format!("The condition selects the id {id}, but the body has the id {own}."),
            )
            .at("id"),
        )),
        (Matched::One(id), _) => Ok(id),
        (Matched::None, Some(own)) => Ok(own.to_owned()),
        (Matched::None, None) => Ok(fresh.to_owned()),
    }
}

/// Where the condition selects nothing, the resource is made: it must not take the place of another with its id.
pub(super) fn expected_where(matched: &Matched, expected: Option<Expected>) -> Option<Expected> {
    expected.or((*matched == Matched::None).then_some(Expected::Nothing))
}

/// The id of the body must be that of the URL.
///
/// # Errors
/// 400 when it is missing or another.
pub(super) fn check_id(body: &Value, id: &str) -> Result<(), FhirError> {
    let sentence = match resource::id(body)? {
        Some(own) if own == id => return Ok(()),
        Some(own) => format!("The body has the id {own}, but the URL names {id}."),
        None => format!("The body has no id; an update carries the id of the URL, {id}."),
    };
    Err(FhirError::with_issue(Kind::Malformed, Issue::error(IssueCode::Invalid, sentence).at("id")))
}
