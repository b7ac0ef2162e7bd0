//! patch and conditional patch (R4 http.html#patch): JSON Patch and FHIRPath Patch. The result is handled as an update.

use std::sync::Arc;

use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::definitions::definitions;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::patch::{fhirpath_patch, json_patch};
use crate::fhir::types::ResourceType;
use crate::search::value::Target;
use crate::store::conn::Conn;

use super::access::{self, Gate, Sight};
use super::answer::Answer;
use super::condition::{Condition, Matched};
use super::expected::Expected;
use super::read::{Stored, find, not_found, was_seen};
use super::write::{self, Put, Written, stored};

/// Attempts at a patch whose resource others change at the same time.
const ATTEMPTS_MAX: usize = 5;

#[derive(Clone, Debug)]
pub enum Document {
    /// RFC 6902.
    Json(Value),
    /// Parameters (R4 fhirpatch.html).
    FhirPath(Value),
}

/// Changes part of a resource: 200.
///
/// # Errors
/// 404 and 410 as for a read; 412 when something else is stored than the client expects; 400 for a document that is no patch; 422 for one
/// that does not fit the resource, or whose result is not a sound resource.
pub async fn patch(
    app: &Arc<App>,
    caller: &Caller,
    resource_type: ResourceType,
    id: &str,
    document: &Document,
    expected: Option<Expected>,
) -> Result<Answer, FhirError> {
    let is_any = matches!(expected, None | Some(Expected::Anything));
    for attempt in 1.. {
        let current =
            app.store.read(async |conn: &mut Conn| current(app, caller, conn, resource_type, id).await).await?;
        let put = patched(app, caller, resource_type, id, document, &current, expected)?;
        match write::write_one(app, caller, put).await {
            // Somebody was faster. The client did not ask for a certain version: patch the new one.
            Err(error) if error.kind == Kind::PreconditionFailed && is_any && attempt < ATTEMPTS_MAX => {}
            result => return Ok(answer(app, caller, result?)),
        }
    }
    Err(write::nothing_written())
}

/// Patches the one resource that meets the condition.
///
/// # Errors
/// 404 when none does, 412 when several do; the refusals of [`patch`].
pub async fn patch_where(
    app: &Arc<App>,
    caller: &Caller,
    resource_type: ResourceType,
    condition: Condition,
    document: Document,
    expected: Option<Expected>,
) -> Result<Answer, FhirError> {
    access::require(app, caller, Access::UPDATE, resource_type)?;
    let (door, caller) = (Arc::clone(app), caller.clone());
    app.store
        .write(async move |conn: &mut Conn| {
            let id = matching(&condition, condition.matched(conn).await?)?;
            let put = patch_in(&door, &caller, conn, resource_type, &id, &document, expected).await?;
            let written = write::put_all(&door, &caller, conn, &[put]).await?;
            written.into_iter().next().map(|written| answer(&door, &caller, written)).ok_or_else(write::nothing_written)
        })
        .await
}

/// What is patched. Who could not see a resource is not told that it was deleted.
async fn current(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    resource_type: ResourceType,
    id: &str,
) -> Result<Stored, FhirError> {
    let sight = access::require(app, caller, Access::UPDATE, resource_type)?;
    match find(conn, resource_type, id).await {
        Err(gone)
            if gone.kind == Kind::Gone && !was_seen(app, conn, &sight, resource_type, id, gone.version).await? =>
        {
            Err(not_found(resource_type, id))
        }
        found => found,
    }
}

/// The answer to a patch. The content is more than the client sent, so it is for those who may read it.
pub(super) fn answer(app: &App, caller: &Caller, written: Written) -> Answer {
    let is_seen = match access::sight(app, caller, Access::READ, written.target.resource_type) {
        Sight::Everything => true,
        sight => written
            .body
            .as_deref()
            .and_then(|body| stored(body).ok())
            .is_some_and(|body| sight.reaches(app, &written.target, written.last_updated, &body)),
    };
    let answer = Answer::written(written);
    if is_seen { answer } else { Answer { body: None, ..answer } }
}

/// The write that a patch comes to, in a transaction at hand.
pub(super) async fn patch_in(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    resource_type: ResourceType,
    id: &str,
    document: &Document,
    expected: Option<Expected>,
) -> Result<Put, FhirError> {
    let current = current(app, caller, conn, resource_type, id).await?;
    patched(app, caller, resource_type, id, document, &current, expected)
}

/// The id of the one resource that a condition selects.
pub(super) fn matching(condition: &Condition, matched: Matched) -> Result<String, FhirError> {
    match matched {
        Matched::One(id) => Ok(id),
        Matched::Many => Err(condition.ambiguous()),
        Matched::None => {
            let kind = condition.part.resource_type;
            Err(FhirError::new(
                Kind::NotFound,
                format!("No {kind} matches the condition, so there is nothing to patch."),
            ))
        }
    }
}

fn patched(
    app: &App,
    caller: &Caller,
    resource_type: ResourceType,
    id: &str,
    document: &Document,
    current: &Stored,
    expected: Option<Expected>,
) -> Result<Put, FhirError> {
    let result = patched_by(app, caller, resource_type, id, document, current, expected);
    // What is wrong with the result tells what is stored.
    result.map_err(|error| match (error.kind, access::sight(app, caller, Access::READ, resource_type)) {
        (Kind::Invalid | Kind::Malformed, Sight::Nothing) => {
            FhirError::new(Kind::Invalid, "The patch does not fit the resource, or what comes of it is not valid.")
        }
        _ => error,
    })
}

fn patched_by(
    app: &App,
    caller: &Caller,
    resource_type: ResourceType,
    id: &str,
    document: &Document,
    current: &Stored,
    expected: Option<Expected>,
) -> Result<Put, FhirError> {
    let mut body = stored(&current.body)?;
    let target = Target { resource_type, id: id.to_owned() };
    // What a patch does or does not fit to tells what is stored.
    Gate::new(app, caller, false).pass(Access::UPDATE, &target, true, Some((current.last_updated, &body)), None)?;
    match document {
        Document::Json(operations) => json_patch::apply(&mut body, operations)?,
        Document::FhirPath(parameters) => fhirpath_patch::apply(&mut body, parameters, &is_list)?,
    }
    let is_same = body.get("resourceType").and_then(Value::as_str) == Some(resource_type.as_str())
        && body.get("id").and_then(Value::as_str) == Some(id);
    if !is_same {
        return Err(FhirError::new(Kind::Invalid, "A patch does not change the type or the id of a resource.").at("id"));
    }
    without_stale_narrative(&stored(&current.body)?, &mut body)?;
    let prepared = write::prepare(app, caller, Access::UPDATE, resource_type, body)?;
    // In any case what was patched must still be there.
    let expected = expected.filter(|expected| *expected != Expected::Anything);
    let expected = Some(expected.unwrap_or(Expected::Version(current.version)));
    Ok(Put { target, resource: Some(prepared), expected, is_create: false })
}

/// A patch that changes the data but not the narrative would leave text that says something else (R4 http.html#patch). A
/// narrative made from the data is dropped; one that a person wrote is not this server's to drop.
///
/// # Errors
/// 422 when the patch leaves a narrative alone that says more than the data.
fn without_stale_narrative(before: &Value, after: &mut Value) -> Result<(), FhirError> {
    let data = |resource: &Value| {
        let mut data = resource.as_object().cloned().unwrap_or_default();
        ["text", "meta"].iter().for_each(|name| drop(data.shift_remove(*name)));
        data
    };
    if before.get("text") != after.get("text") || data(before) == data(after) {
        return Ok(());
    }
    match after.pointer("/text/status").and_then(Value::as_str) {
        Some("additional") => {
            let sentence =
                "The narrative says more than the data, so the same patch has to replace or remove 'text' too.";
            Err(FhirError::with_issue(Kind::Invalid, Issue::error(IssueCode::BusinessRule, sentence).at("text")))
        }
        Some("generated" | "extensions") => {
            if let Some(object) = after.as_object_mut() {
                object.shift_remove("text");
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Whether the element at a path such as `Practitioner.name.given` repeats; `None` when R4 knows no such element.
fn is_list(path: &str) -> Option<bool> {
    Some(definitions().property_at(path)?.element.repeats())
}
