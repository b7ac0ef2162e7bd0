//! The work of one export: from one state of the directory to its files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::lines::{Compression, Lines};
use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode, operation_outcome};
use crate::fhir::subset;
use crate::fhir::types::{Instant, ResourceType};
use crate::interactions::operations::export::{Asked, File, Outcome, Part, Role, plan};
use crate::interactions::read::was_seen;
use crate::interactions::write::stored;
use crate::store::page;
use crate::store::snapshot::Snapshot;
use crate::store::walk::{self, Live, PAGE_RESOURCES, Place};

/// Row ids of matches that are held at once: 8 MB.
const RIDS_MAX: i64 = 1_000_000;
/// Entries of one Bundle of what was deleted.
const DELETED_PER_LINE: usize = 1_000;

/// The folder of an export that is being written; removed unless the export becomes complete.
struct Folder {
    path: PathBuf,
    is_kept: bool,
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.is_kept {
            let _may_be_gone = fs::remove_dir_all(&self.path);
        }
    }
}

/// Writes the files of an export into a folder of its own. `written` counts the resources meanwhile.
///
/// # Errors
/// 401 and 403 when who asked may not see it any more, 503 when the database cannot be used, 500 when the files cannot be
/// written. Nothing is left of them then.
pub async fn work(
    app: &Arc<App>,
    asked: Asked,
    folder: PathBuf,
    written: Arc<AtomicU64>,
) -> Result<Outcome, FhirError> {
    let caller = asked.caller(app);
    // What was left out was noted when the export was asked for.
    let parts = plan(app, &caller, &asked, &mut Vec::new())?;
    let app = Arc::clone(app);
    app.clone()
        .store
        .snapshot(async move |snapshot: &mut Snapshot| {
            let now = app.now();
            let mut folder = Folder { path: folder, is_kept: false };
            let mut files = Vec::new();
            for part in &parts {
                files.extend(output(snapshot, &folder.path, part, asked.since(), &written).await?);
            }
            if let Some(since) = asked.since() {
                files.extend(deleted(&app, snapshot, &folder.path, &parts, since).await?);
            }
            files.extend(notes(&folder.path, &asked.notes)?);
            let types: Vec<ResourceType> = parts.iter().map(|part| part.query.resource_type).collect();
            let transaction_time = snapshot.whole_until(now, &types).await?.0;
            folder.is_kept = true;
            let types = types.iter().map(ToString::to_string).collect();
            Ok(Outcome::Complete { transaction_time, types, files })
        })
        .await
}

fn unwritable(error: io::Error) -> FhirError {
    FhirError::new(Kind::Internal, "The files of the export cannot be written.").caused_by(error)
}

/// The file of one type, if there is something in it.
async fn output(
    snapshot: &mut Snapshot,
    folder: &Path,
    part: &Part,
    since: Option<Instant>,
    written: &AtomicU64,
) -> Result<Option<File>, FhirError> {
    let resource_type = part.query.resource_type;
    let mut out = None;
    let mut add = |bodies: &[String]| -> Result<(), FhirError> {
        if bodies.is_empty() {
            return Ok(());
        }
        let lines = match &mut out {
            Some(lines) => lines,
            none => none.insert(Lines::create(folder, Compression::None).map_err(unwritable)?),
        };
        for body in bodies {
            match part.elements.as_slice() {
                [] => lines.add(body).map_err(unwritable)?,
                elements => {
                    let mut resource = stored(body)?;
                    subset::elements(&mut resource, elements);
                    lines.add(&resource.to_string()).map_err(unwritable)?;
                }
            }
        }
        written.fetch_add(bodies.len() as u64, Ordering::Relaxed);
        Ok(())
    };
    if part.query.filters.is_empty() {
        let mut walk = Live::begin(snapshot.conn(), resource_type, since).await?;
        loop {
            snapshot.go_on()?;
            let bodies = walk.next(snapshot.conn()).await?;
            if bodies.is_empty() {
                break;
            }
            add(&bodies)?;
        }
    } else {
        // A search is executed once and not for each page: what drives it may have to be collected and sorted first.
        let mut last = 0;
        loop {
            let rids = page::rids(snapshot.conn(), &part.query, last, RIDS_MAX).await?;
            for some in rids.chunks(usize::try_from(PAGE_RESOURCES).unwrap_or(usize::MAX)) {
                snapshot.go_on()?;
                add(&walk::bodies(snapshot.conn(), some).await?)?;
            }
            match rids.last() {
                Some(rid) if rids.len() as i64 == RIDS_MAX => last = *rid,
                _ => break,
            }
        }
    }
    let Some(lines) = out else { return Ok(None) };
    finish(lines, Role::Output, resource_type.as_str(), &Compression::None.file_name(resource_type)).map(Some)
}

fn finish(lines: Lines, role: Role, resource_type: &str, name: &str) -> Result<File, FhirError> {
    let count = lines.count();
    lines.finish(name).map_err(unwritable)?;
    Ok(File { role, name: name.to_owned(), resource_type: resource_type.to_owned(), count })
}

/// The file that says what was deleted since, of what the caller might have seen, if there is something in it.
async fn deleted(
    app: &App,
    snapshot: &mut Snapshot,
    folder: &Path,
    parts: &[Part],
    since: Instant,
) -> Result<Option<File>, FhirError> {
    let mut out = None;
    let mut entries = Vec::new();
    let mut add = |entries: &mut Vec<Value>| -> Result<(), FhirError> {
        let lines = match &mut out {
            Some(lines) => lines,
            none => none.insert(Lines::create(folder, Compression::None).map_err(unwritable)?),
        };
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": std::mem::take(entries)});
        lines.add(&bundle.to_string()).map_err(unwritable)
    };
    for part in parts {
        let resource_type = part.query.resource_type;
        let mut place = Place::start(Some(since));
        loop {
            snapshot.go_on()?;
            let some = walk::deleted(snapshot.conn(), resource_type, &mut place).await?;
            if some.is_empty() {
                break;
            }
            for walk::Deleted { id, version } in some {
                if was_seen(app, snapshot.conn(), &part.sight, resource_type, &id, Some(version)).await? {
                    entries.push(json!({"request": {"method": "DELETE", "url": format!("{resource_type}/{id}")}}));
                }
                if entries.len() == DELETED_PER_LINE {
                    add(&mut entries)?;
                }
            }
        }
    }
    if !entries.is_empty() {
        add(&mut entries)?;
    }
    out.map(|lines| finish(lines, Role::Deleted, "Bundle", "deleted.ndjson")).transpose()
}

/// The file that names what was left out, if something was.
fn notes(folder: &Path, notes: &[String]) -> Result<Option<File>, FhirError> {
    if notes.is_empty() {
        return Ok(None);
    }
    let mut lines = Lines::create(folder, Compression::None).map_err(unwritable)?;
    for note in notes {
        let issue = Issue::warning(IssueCode::NotSupported, format!("Ignored: {note}."));
        lines.add(&operation_outcome(&[issue]).to_string()).map_err(unwritable)?;
    }
    finish(lines, Role::Error, "OperationOutcome", "error.ndjson").map(Some)
}
