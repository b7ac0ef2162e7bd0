//! The directory as a folder of files, for `plumbline export`: one NDJSON file for each type, as bulk data and
//! `plumbline import` read it.
//!
//! All types are read from one state of the directory, so that what refers to what is in the files too.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

use super::lines::{Compression, Lines};
use crate::app::App;
use crate::fhir::types::ResourceType;
use crate::search::query::TypeQuery;
use crate::store::conn::Conn;
use crate::store::error::{StoreError, UnitError};
use crate::store::page;
use crate::store::snapshot::Snapshot;
use crate::store::walk::Live;

#[derive(Debug, Error)]
pub enum ExportError {
    #[error("the directory cannot be read")]
    Store(#[from] StoreError),
    #[error("{} cannot be written", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl UnitError for ExportError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            Self::Write { .. } => None,
        }
    }
}

/// The live resources of the types together.
///
/// # Errors
/// [`ExportError::Store`] when the database cannot be read.
pub async fn count(app: &App, types: &[ResourceType]) -> Result<u64, ExportError> {
    let whole = |resource_type: &ResourceType| TypeQuery {
        resource_type: *resource_type,
        filters: Vec::new(),
        sort: Vec::new(),
    };
    let parts: Vec<TypeQuery> = types.iter().map(whole).collect();
    let total = app.store.read(async |conn: &mut Conn| page::count(conn, &parts, i64::MAX).await).await?;
    Ok(total.try_into().unwrap_or_default())
}

/// Writes all resources of each type to `Type.ndjson` in the folder, replacing what an earlier export left there of it. A type
/// without resources gets no file. `written` is counted up meanwhile. Returns how many there were of each type.
///
/// # Errors
/// [`ExportError`]; the files that an earlier export left are each still whole then.
pub async fn export(
    app: &App,
    folder: &Path,
    types: Vec<ResourceType>,
    compression: Compression,
    written: Arc<AtomicU64>,
) -> Result<Vec<(ResourceType, u64)>, ExportError> {
    let folder = folder.to_owned();
    app.store
        .snapshot(async move |snapshot: &mut Snapshot| {
            let mut counts = Vec::with_capacity(types.len());
            for resource_type in types {
                let count = one_type(snapshot, &folder, resource_type, compression, &written).await?;
                counts.push((resource_type, count));
            }
            Ok(counts)
        })
        .await
}

async fn one_type(
    snapshot: &mut Snapshot,
    folder: &Path,
    resource_type: ResourceType,
    compression: Compression,
    written: &AtomicU64,
) -> Result<u64, ExportError> {
    let path = folder.join(compression.file_name(resource_type));
    let failed = |source| ExportError::Write { path: path.clone(), source };
    let mut file: Option<Lines> = None;
    let mut walk = Live::begin(snapshot.conn(), resource_type, None).await?;
    loop {
        snapshot.go_on()?;
        let bodies = walk.next(snapshot.conn()).await?;
        if bodies.is_empty() {
            break;
        }
        let out = match &mut file {
            Some(file) => file,
            none => none.insert(Lines::create(folder, compression).map_err(failed)?),
        };
        for body in &bodies {
            out.add(body).map_err(failed)?;
        }
        written.fetch_add(bodies.len() as u64, Ordering::Relaxed);
    }
    let count = file.as_ref().map_or(0, Lines::count);
    let is_empty = file.is_none();
    if let Some(file) = file {
        file.finish(&compression.file_name(resource_type)).map_err(failed)?;
    }
    // What an earlier export left under another name would be imported again beside this.
    for other in Compression::ALL.iter().filter(|other| is_empty || **other != compression) {
        match fs::remove_file(folder.join(other.file_name(resource_type))) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => {}
        }
    }
    sync_folder(folder).map_err(failed)?;
    Ok(count)
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
