//! Forgetting exports that are over, and removing files that belong to none.

use std::collections::HashSet;
use std::fs;
use std::io::ErrorKind;
use std::sync::Arc;

use crate::app::App;
use crate::fhir::error::FhirError;
use crate::interactions::operations::export::{folder, folder_name};
use crate::store::conn::Conn;
use crate::store::export_jobs;

/// Forgets the exports whose time is over, and removes the files of all that are not known any more: removed, over, or
/// begun again. Who is in the middle of reading a file reads it to its end.
///
/// # Errors
/// 503 when the database cannot be used.
pub async fn tidy(app: &Arc<App>) -> Result<(), FhirError> {
    // The folders first: what is made after this belongs to an export that is not on the list below either.
    let Some(found) = folders(app) else { return Ok(()) };
    let now = app.now();
    let known = app.store.read(async |conn: &mut Conn| export_jobs::list(conn, now).await).await?;
    if known.iter().any(|(.., is_over)| *is_over) {
        app.store.write(async move |conn: &mut Conn| export_jobs::purge(conn, now).await).await?;
    }
    let kept: HashSet<String> =
        known.iter().filter(|(.., is_over)| !is_over).map(|(id, attempt, _)| folder_name(id, *attempt)).collect();
    for name in found.iter().filter(|name| !kept.contains(*name)) {
        match fs::remove_dir_all(folder(app).join(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(%error, export = %name, "the files of an export could not be removed");
            }
            _ => {}
        }
    }
    Ok(())
}

/// The folders of exports by their names; `None` when there is none to look into.
fn folders(app: &App) -> Option<Vec<String>> {
    let entries = match fs::read_dir(folder(app)) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Some(Vec::new());
        }
        Err(error) => {
            tracing::warn!(%error, "the folder of the exports cannot be read");
            return None;
        }
    };
    let names = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    // What is named otherwise was put there by somebody else.
    let is_own = |name: &String| {
        name.split_once('_')
            .is_some_and(|(id, attempt)| uuid::Uuid::try_parse(id).is_ok() && attempt.parse::<i64>().is_ok())
    };
    Some(names.filter(is_own).collect())
}
