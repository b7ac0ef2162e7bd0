//! Bulk data: the work behind `$export`, and `plumbline export`.
//!
//! Exports that were asked for stand in a table. [`run`] takes the oldest that nobody works on, holds it by a lease that it
//! renews, and lets [`work`] read one state of the directory into files. An export whose server went away is begun again by
//! whoever finds its lease over: the same server after a restart, or another one.

pub mod folder;
pub mod lines;
mod tidy;
mod work;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::time::{MissedTickBehavior, interval};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::types::Instant;
use crate::interactions::audit::{self, Event, What};
use crate::interactions::operations::export::{self as operation, Found, Outcome};
use crate::store::change;
use crate::store::conn::Conn;
use crate::store::export_jobs::{self, State};

/// How often somebody looks for exports whose lease is over, and for files that are over.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How often an export is begun before it is given up.
const ATTEMPTS_MAX: i64 = 5;

/// Works on exports, a few at once, for as long as the server runs.
pub async fn run(app: Arc<App>) {
    let mut news = app.exports.subscribe();
    let mut running = FuturesUnordered::new();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        while running.len() < app.settings.export.running_max {
            match claim(&app).await {
                Ok(Some(found)) => running.push(one(Arc::clone(&app), found)),
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, source = ?error.source, "exports cannot be looked for");
                    break;
                }
            }
        }
        tokio::select! {
            Some(()) = running.next(), if !running.is_empty() => {}
            _ = news.changed() => {}
            _ = ticks.tick() => {}
        }
        if let Err(error) = tidy::tidy(&app).await {
            tracing::warn!(%error, source = ?error.source, "exports could not be looked after");
        }
    }
}

/// Until when an export is held that is begun, or heard of, now.
fn lease(app: &App) -> Instant {
    Instant(app.now().0 + i64::from(app.settings.export.lease_s) * 1_000_000)
}

async fn claim(app: &Arc<App>) -> Result<Option<Found>, FhirError> {
    let (now, until) = (app.now(), lease(app));
    let read = app.store.read(async |conn: &mut Conn| export_jobs::is_any_free(conn, now).await).await?;
    if !read {
        return Ok(None);
    }
    let job = app.store.write(async move |conn: &mut Conn| export_jobs::claim(conn, now, until).await).await?;
    job.map(Found::read).transpose()
}

/// One export, until it is complete, has failed, or is nobody's any more.
async fn one(app: Arc<App>, found: Found) {
    let (id, attempt) = (found.job.id.clone(), found.job.attempt);
    let caller = found.asked.caller(&app);
    let result = match attempt > ATTEMPTS_MAX {
        true => Err(FhirError::new(Kind::Internal, "The export was begun several times and never came to its end.")),
        false => match held(&app, &found).await {
            Some(result) => result,
            None => return tracing::info!(export = %id, "an export was removed while it ran"),
        },
    };
    let (outcome, failure) = match result {
        Ok(outcome) => (outcome, None),
        Err(error) if error.kind == Kind::Unavailable && attempt < ATTEMPTS_MAX => {
            // Its lease runs out, and then somebody tries again.
            return tracing::warn!(export = %id, %error, source = ?error.source, "an export was broken off; it is begun again");
        }
        Err(error) => {
            let outcome = Outcome::Failed { status: error.kind.status(), sentence: error.to_string() };
            (outcome, Some(error))
        }
    };
    match (finish(&app, &caller, &id, attempt, &outcome).await, failure) {
        // Its files may have been removed while they were written.
        (Ok(false), _) => tracing::info!(export = %id, "an export was removed, or begun again elsewhere, while it ran"),
        (Ok(true), None) => tracing::info!(export = %id, "an export is complete"),
        (Ok(true), Some(error)) if audit::is_for_lack_of_rights(&error) => {
            tracing::info!(export = %id, %error, "who asked for an export may not see it any more");
        }
        (Ok(true), Some(error)) => {
            tracing::error!(export = %id, %error, source = ?error.source, "an export has failed");
        }
        (Err(error), _) => {
            tracing::error!(export = %id, %error, source = ?error.source, "the end of an export is not stored");
        }
    }
}

/// Does the work while the lease is renewed; `None` when the export is nobody's any more.
async fn held(app: &Arc<App>, found: &Found) -> Option<Result<Outcome, FhirError>> {
    let (id, attempt) = (&found.job.id, found.job.attempt);
    let folder = operation::folder(app).join(operation::folder_name(id, attempt));
    let written = Arc::new(AtomicU64::new(0));
    let mut work = std::pin::pin!(work::work(app, found.asked.clone(), folder, Arc::clone(&written)));
    let mut news = app.exports.subscribe();
    let mut ticks = interval(Duration::from_millis(u64::from(app.settings.export.lease_s) * 1_000 / 6));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            result = &mut work => return Some(result),
            _ = ticks.tick() => {}
            _ = news.changed() => {}
        }
        let (name, until) = (id.clone(), lease(app));
        let progress = format!("{} resources written", written.load(Ordering::Relaxed));
        let renewed = app
            .store
            .write(async move |conn: &mut Conn| {
                Ok::<_, FhirError>(export_jobs::renew(conn, &name, attempt, until, &progress).await?)
            })
            .await;
        match renewed {
            Ok(true) => {}
            Ok(false) => return None,
            Err(error) => tracing::warn!(export = %id, %error, source = ?error.source, "a lease could not be renewed"),
        }
    }
}

/// Notes what came of an export, and puts it on record; false when it is nobody's any more.
async fn finish(app: &Arc<App>, caller: &Caller, id: &str, attempt: i64, outcome: &Outcome) -> Result<bool, FhirError> {
    let (state, description) = match outcome {
        Outcome::Complete { files, .. } => {
            let lines: u64 = files.iter().map(|file| file.count).sum();
            (State::Complete, format!("export {id} is complete: {} files, {lines} lines", files.len()))
        }
        Outcome::Failed { status, .. } => (State::Failed, format!("export {id} has failed with {status}")),
    };
    let is_success = state == State::Complete;
    let event = Event { what: What::Export, is_success, description, client: None, account: None };
    let recorded = audit::event(app, caller, &event);
    let expires_at = Instant(app.now().0 + i64::from(app.settings.export.keep_s) * 1_000_000);
    let (id, outcome) = (id.to_owned(), outcome.encoded()?);
    app.store
        .write(async move |conn: &mut Conn| {
            let is_ours = export_jobs::finish(conn, &id, attempt, state, &outcome, expires_at).await?;
            if is_ours {
                change::apply(conn, vec![recorded.clone()]).await?;
            }
            Ok::<_, FhirError>(is_ours)
        })
        .await
}
