//! The conditions of a transaction: what they find, and what `Type?query` references resolve to.

use std::sync::Arc;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource;
use crate::fhir::types::ResourceType;
use crate::interactions::access;
use crate::interactions::bundle::{Call, Entry, type_named, within};
use crate::interactions::condition::{self, Condition, Matched};
use crate::interactions::rewrite::{Names, conditional_references, rewrite};
use crate::interactions::write::{self, Put};
use crate::store::conn::Conn;

use super::{Step, located, prepare_all};

fn condition_of(call: &Call) -> Option<&Condition> {
    match call {
        Call::Create { condition, .. } => condition.as_ref(),
        Call::UpdateWhere { condition, .. } | Call::PatchWhere { condition, .. } => Some(condition),
        _ => None,
    }
}

/// What the conditions of the entries find. Deletions come first: what they delete meets no condition any more. They are
/// made for that and taken back, since everything is written together in the end.
pub(super) async fn decide_conditions(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    entries: &[Entry],
    deletions: &[Option<Vec<Put>>],
) -> Result<Vec<Option<Matched>>, FhirError> {
    // A lock that is taken after a savepoint ends with it.
    let conditions = entries.iter().filter_map(|entry| condition_of(&entry.call));
    condition::lock(conn, conditions.map(|condition| condition.part.resource_type)).await?;
    conn.batch("SAVEPOINT nothing_deleted").await?;
    // Whether a version is stale, or a resource deleted twice, is decided when everything is written.
    let all =
        deletions.iter().flatten().flatten().map(|put| Put { expected: None, ..put.clone() }).collect::<Vec<Put>>();
    write::try_all(app, caller, conn, &all).await?;
    let mut matches = Vec::with_capacity(entries.len());
    for (n, entry) in entries.iter().enumerate() {
        matches.push(match condition_of(&entry.call) {
            Some(condition) => Some(condition.matched(conn).await.map_err(|error| within(error, n))?),
            None => None,
        });
    }
    conn.batch("ROLLBACK TO SAVEPOINT nothing_deleted").await?;
    conn.batch("RELEASE SAVEPOINT nothing_deleted").await?;
    Ok(matches)
}

/// Resolves `Type?query` references against what is stored once this transaction is. It is stored for that with the
/// references as they are, and taken back.
pub(super) async fn resolve_conditional_references(
    app: &App,
    caller: &Caller,
    conn: &mut Conn,
    steps: &mut [Step],
) -> Result<(), FhirError> {
    let mut wanted: Vec<(usize, String)> = Vec::new();
    for (n, step) in steps.iter().enumerate() {
        wanted.extend(references_of(step).into_iter().map(|reference| (n, reference)));
    }
    if wanted.is_empty() {
        return Ok(());
    }
    conn.batch("SAVEPOINT references_unresolved").await?;
    let mut writes = prepare_all(app, caller, steps)?;
    writes.add_patches(app, caller, conn, steps).await?;
    write::try_all(app, caller, conn, &writes.puts).await.map_err(|error| located(error, &writes))?;
    let mut names = Names::new();
    for (n, reference) in wanted {
        if names.contains_key(&reference) {
            continue;
        }
        let target = resolve(app, caller, conn, &reference).await.map_err(|error| within(error, n))?;
        names.insert(reference, target);
    }
    conn.batch("ROLLBACK TO SAVEPOINT references_unresolved").await?;
    conn.batch("RELEASE SAVEPOINT references_unresolved").await?;
    for step in steps {
        if let Step::Store { body, .. } = step {
            rewrite(Arc::make_mut(body), &names);
        }
    }
    Ok(())
}

fn references_of(step: &Step) -> Vec<String> {
    let mut found = Vec::new();
    if let Step::Store { body, .. } = step {
        conditional_references(body, &mut found);
    }
    found
}

async fn resolve(app: &App, caller: &Caller, conn: &mut Conn, reference: &str) -> Result<String, FhirError> {
    let (name, query) = reference.split_once('?').unwrap_or((reference, ""));
    let resource_type: ResourceType = type_named(name)?;
    // It tells whether there is such a resource, and which.
    access::require(app, caller, Access::SEARCH, resource_type)?;
    let condition = Condition::parse(app, caller, Access::SEARCH, resource_type, query)?;
    match condition.matched(conn).await? {
        Matched::One(id) => Ok(format!("{resource_type}/{id}")),
        Matched::Many => Err(condition.ambiguous()),
        Matched::None => Err(FhirError::new(
            Kind::PreconditionFailed,
            format!("The conditional reference '{}' matches nothing.", resource::excerpt(reference)),
        )
        .code(IssueCode::NotFound)),
    }
}
