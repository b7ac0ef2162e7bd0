//! The directory as files: one NDJSON file for each type, as bulk data and `plumbline import` read it.
//!
//! One file and not a folder like `ingest`, because there is little to it: a walk by row id, page by page. A resource is
//! met once however much is written meanwhile, in the version that is current when its page is read. A file has its name
//! only when it is complete and on disk, so whoever finds `Practitioner.ndjson` finds all of it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::app::App;
use crate::fhir::types::ResourceType;
use crate::files::Draft;
use crate::search::query::TypeQuery;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::{include, page};

const PAGE_RESOURCES: i64 = 1_000;
const BUFFER_BYTES: usize = 256 * 1024;
const ZSTD_LEVEL: i32 = 3;

/// How the files are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Zstd,
}

impl Compression {
    const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    fn file_name(self, resource_type: ResourceType) -> String {
        match self {
            Self::None => format!("{resource_type}.ndjson"),
            Self::Gzip => format!("{resource_type}.ndjson.gz"),
            Self::Zstd => format!("{resource_type}.ndjson.zst"),
        }
    }
}

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

/// Writes all resources of a type to `Type.ndjson` in the folder, replacing what an earlier export left there of it. A type
/// without resources gets no file. `observe` is told the number of each page. Returns how many there were.
///
/// # Errors
/// [`ExportError`]; the file of an earlier export is still whole then.
pub async fn export(
    app: &App,
    folder: &Path,
    resource_type: ResourceType,
    compression: Compression,
    mut observe: impl FnMut(u64),
) -> Result<u64, ExportError> {
    let path = folder.join(compression.file_name(resource_type));
    let failed = |source| ExportError::Write { path: path.clone(), source };
    let mut file: Option<Part> = None;
    let (mut rid, mut written) = (0, 0);
    loop {
        let page = app
            .store
            .read(async |conn: &mut Conn| include::after(conn, resource_type, rid, PAGE_RESOURCES).await)
            .await?;
        let Some(last) = page.last() else { break };
        rid = last.rid;
        let out = match &mut file {
            Some(file) => file,
            none => none.insert(Part::create(folder, compression).map_err(failed)?),
        };
        for found in &page {
            out.line(&found.body).map_err(failed)?;
        }
        let count = page.len().try_into().unwrap_or_default();
        written += count;
        observe(count);
    }
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
    Ok(written)
}

/// A file that is not complete yet; removed if it never is.
struct Part {
    draft: Draft,
    out: Encoder,
}

enum Encoder {
    None(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Part {
    fn create(folder: &Path, compression: Compression) -> io::Result<Self> {
        let (draft, file) = Draft::create(folder)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let out = match compression {
            Compression::None => Encoder::None(file),
            Compression::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?),
        };
        Ok(Self { draft, out })
    }

    fn line(&mut self, body: &str) -> io::Result<()> {
        let out: &mut dyn Write = match &mut self.out {
            Encoder::None(out) => out,
            Encoder::Gzip(out) => out,
            Encoder::Zstd(out) => out,
        };
        if body.contains(['\n', '\r']) {
            // Between two tokens, the only place where JSON can have one, a line break is as good as a space.
            out.write_all(body.replace(['\n', '\r'], " ").as_bytes())?;
        } else {
            out.write_all(body.as_bytes())?;
        }
        out.write_all(b"\n")
    }

    fn finish(self, name: &str) -> io::Result<()> {
        let out = match self.out {
            Encoder::None(out) => out,
            Encoder::Gzip(out) => out.finish()?,
            Encoder::Zstd(out) => out.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        self.draft.put(name)
    }
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}
