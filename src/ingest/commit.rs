//! Many puts in one transaction, without one bad resource keeping the others out.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::config::References;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::types::ResourceType;
use crate::interactions::write::{self, Outcome, Put};
use crate::search::value::Target;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::{progress, resources};

/// Puts that wait together when each has to succeed or fail by itself; the writer commits them as one group.
const ALONE_AT_ONCE: usize = 64;

/// Puts below which a part is not worth a transaction of its own.
const PART_MIN: usize = 100;

/// What became of one put.
pub(super) type Stored = Result<(ResourceType, Outcome), FhirError>;

/// How far the import will be once a transaction is committed.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    /// `None`: the files cannot be recognized later, so nothing is kept.
    pub source: Option<String>,
    pub units: i64,
}

/// Stores `puts` together with the mark. One outcome for each put, in order.
///
/// # Errors
/// 503 when the database cannot be used; then nothing more is stored.
pub(super) async fn store(app: &Arc<App>, puts: &Arc<[Put]>, mark: Mark) -> Result<Vec<Stored>, FhirError> {
    let writers = app.store.writers();
    let is_large = writers > 1 && puts.len() >= PART_MIN * writers;
    // A reference into another part would not resolve yet, and what comes twice has an order.
    if is_large && app.settings.store.references == References::Off && write::distinct(puts) == puts.len() {
        let stored = store_in_parts(app, puts, writers).await?;
        app.store.write(async move |conn: &mut Conn| save(conn, &mark).await).await?;
        return Ok(stored);
    }
    let (door, batch, saved) = (Arc::clone(app), Arc::clone(puts), mark.clone());
    let together = app
        .store
        .write(async move |conn: &mut Conn| {
            let stored = put_together(&door, conn, &batch).await?;
            save(conn, &saved).await?;
            Ok::<_, FhirError>(stored)
        })
        .await;
    match together {
        Ok(stored) => Ok(stored),
        Err(error) if error.kind == Kind::Unavailable => Err(error),
        Err(_one_is_to_blame) => {
            let stored = put_alone(app, puts).await?;
            app.store.write(async move |conn: &mut Conn| save(conn, &mark).await).await?;
            Ok(stored)
        }
    }
}

/// Stores resources that are all different in several transactions at once, where the database has several writers. The
/// mark comes after all of them: what a crash in between stored is found unchanged by the next run.
async fn store_in_parts(app: &Arc<App>, puts: &[Put], writers: usize) -> Result<Vec<Stored>, FhirError> {
    let parts: Vec<&[Put]> = puts.chunks(puts.len().div_ceil(writers).max(1)).collect();
    let operator = &Caller::operator();
    let writes = parts.iter().map(|part| write::write(app, operator, part.to_vec()));
    let mut stored = Vec::with_capacity(puts.len());
    for (part, written) in parts.iter().zip(join_all(writes).await) {
        match written {
            Ok(written) => stored.extend(written.into_iter().map(|one| Ok((one.target.resource_type, one.outcome)))),
            Err(error) if error.kind == Kind::Unavailable => return Err(error),
            Err(_one_is_to_blame) => stored.extend(put_alone(app, part).await?),
        }
    }
    Ok(stored)
}

async fn save(conn: &mut Conn, mark: &Mark) -> Result<(), StoreError> {
    match &mark.source {
        Some(source) => progress::save(conn, source, mark.units).await,
        None => Ok(()),
    }
}

async fn put_together(app: &App, conn: &mut Conn, puts: &[Put]) -> Result<Vec<Stored>, FhirError> {
    let dangling = match app.settings.store.references {
        References::Off => vec![None; puts.len()],
        References::Enforce => dangling(conn, puts).await?,
    };
    let written = if dangling.iter().all(Option::is_none) {
        write::put_all(app, &Caller::operator(), conn, puts).await?
    } else {
        let sound = puts.iter().zip(&dangling).filter(|(_, dangling)| dangling.is_none());
        let sound: Vec<Put> = sound.map(|(put, _)| put.clone()).collect();
        write::put_all(app, &Caller::operator(), conn, &sound).await?
    };
    let mut written = written.into_iter();
    let stored = dangling.into_iter().map(|dangling| match dangling {
        Some(target) => Err(does_not_resolve(&target)),
        None => {
            let one = written.next().ok_or_else(|| FhirError::new(Kind::Internal, "Internal error."))?;
            Ok((one.target.resource_type, one.outcome))
        }
    });
    Ok(stored.collect())
}

/// Stores each in a transaction of its own; of several for one resource, one after the other.
async fn put_alone(app: &Arc<App>, puts: &[Put]) -> Result<Vec<Stored>, FhirError> {
    let mut stored = Vec::with_capacity(puts.len());
    let mut rest = puts;
    while !rest.is_empty() {
        let (stretch, later) = rest.split_at(write::distinct(rest));
        rest = later;
        let operator = &Caller::operator();
        let attempts = stretch.iter().map(|put| write::write_one(app, operator, put.clone()));
        let mut attempts = stream::iter(attempts).buffered(ALONE_AT_ONCE);
        while let Some(attempt) = attempts.next().await {
            stored.push(match attempt {
                Ok(one) => Ok((one.target.resource_type, one.outcome)),
                Err(error) if error.kind == Kind::Unavailable => return Err(error),
                Err(error) => Err(error),
            });
        }
    }
    Ok(stored)
}

/// For each put a reference of it that leads nowhere: neither to what is stored, nor to what is put beside it. A put that
/// is left out for this can leave others dangling.
async fn dangling(conn: &mut Conn, puts: &[Put]) -> Result<Vec<Option<Target>>, FhirError> {
    let references = |put: &Put| -> Vec<Target> {
        let references = put.resource.iter().flat_map(|resource| &resource.entries.references);
        references.map(|reference| reference.target.clone()).collect()
    };
    let mut mentioned: Vec<Target> = puts.iter().flat_map(references).collect();
    mentioned.sort();
    mentioned.dedup();
    let absent: HashSet<Target> = resources::missing(conn, &mentioned).await?.into_iter().collect();
    let mut found: Vec<Option<Target>> = vec![None; puts.len()];
    loop {
        let beside: HashSet<&Target> = puts
            .iter()
            .zip(&found)
            .filter(|(put, out)| put.resource.is_some() && out.is_none())
            .map(|(put, _)| &put.target)
            .collect();
        let mut more = Vec::new();
        for (at, put) in puts.iter().enumerate().filter(|(at, _)| found.get(*at).is_some_and(Option::is_none)) {
            let nowhere =
                references(put).into_iter().find(|target| absent.contains(target) && !beside.contains(target));
            more.extend(nowhere.map(|target| (at, target)));
        }
        if more.is_empty() {
            return Ok(found);
        }
        for (at, target) in more {
            if let Some(out) = found.get_mut(at) {
                *out = Some(target);
            }
        }
    }
}

fn does_not_resolve(target: &Target) -> FhirError {
    let Target { resource_type, id } = target;
    let issue = Issue::error(IssueCode::NotFound, format!("The reference to {resource_type}/{id} does not resolve."));
    FhirError::with_issue(Kind::Invalid, issue.at(format!("descendants().where(reference = '{resource_type}/{id}')")))
}
