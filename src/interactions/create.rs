//! create and conditional create (R4 http.html#create, #ccreate).

use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::types::ResourceType;
use crate::search::value::Target;
use crate::store::conn::Conn;

use super::answer::Answer;
use super::condition::{Condition, Matched};
use super::read::read_in;
use super::write::{self, Put};

/// An id that nobody has. Ids made one after the other sort so, which keeps the index of names dense.
pub fn new_id() -> String {
    Uuid::now_v7().to_string()
}

/// Stores a resource under a new id: 201. With a condition that one resource meets, nothing is stored and that resource
/// is the answer: 200.
///
/// # Errors
/// 412 when several resources meet the condition; the refusals of [`write::prepare`] and [`write::put_all`].
pub async fn create(
    app: &Arc<App>,
    caller: &Caller,
    resource_type: ResourceType,
    body: Value,
    condition: Option<Condition>,
) -> Result<Answer, FhirError> {
    let prepared = write::prepare(app, caller, Access::CREATE, resource_type, body)?;
    let target = Target { resource_type, id: new_id() };
    let put = Put { target, resource: Some(prepared), expected: None, is_create: true };
    let Some(condition) = condition else {
        return Ok(Answer::written(write::write_one(app, caller, put).await?));
    };
    let (door, caller) = (Arc::clone(app), caller.clone());
    app.store
        .write(async move |conn: &mut Conn| match condition.matched(conn).await? {
            Matched::Many => Err(condition.ambiguous()),
            Matched::One(id) => found(&door, &caller, conn, resource_type, &id).await,
            Matched::None => {
                let written = write::put_all(&door, &caller, conn, std::slice::from_ref(&put)).await?;
                written.into_iter().next().map(Answer::written).ok_or_else(write::nothing_written)
            }
        })
        .await
}

/// The answer to a conditional create whose resource is there already. Its content is for those who may read it.
pub(super) async fn found(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    resource_type: ResourceType,
    id: &str,
) -> Result<Answer, FhirError> {
    match read_in(app, caller, conn, resource_type, id).await {
        Ok(stored) => Ok(Answer::stored(resource_type, id, stored)),
        // That there is one, a conditional create has to tell; which, it need not.
        Err(error) if matches!(error.kind, Kind::Forbidden | Kind::Unauthenticated | Kind::NotFound) => {
            Ok(Answer::empty(200))
        }
        Err(error) => Err(error),
    }
}
