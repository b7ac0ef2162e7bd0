//! NDJSON files: one resource to a line. A file has its name only when it is complete and on disk.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::fhir::types::ResourceType;
use crate::files::Draft;

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
    pub const ALL: [Self; 3] = [Self::None, Self::Gzip, Self::Zstd];

    /// The name of the file with the resources of a type.
    pub fn file_name(self, resource_type: ResourceType) -> String {
        match self {
            Self::None => format!("{resource_type}.ndjson"),
            Self::Gzip => format!("{resource_type}.ndjson.gz"),
            Self::Zstd => format!("{resource_type}.ndjson.zst"),
        }
    }
}

/// A file that is not complete yet; removed if it never is.
pub struct Lines {
    draft: Draft,
    out: Encoder,
    count: u64,
}

enum Encoder {
    None(BufWriter<File>),
    Gzip(flate2::write::GzEncoder<BufWriter<File>>),
    Zstd(zstd::stream::write::Encoder<'static, BufWriter<File>>),
}

impl Lines {
    /// An empty file in a folder, which is made if it is not there.
    ///
    /// # Errors
    /// When the folder or the file cannot be written.
    pub fn create(folder: &Path, compression: Compression) -> io::Result<Self> {
        let (draft, file) = Draft::create(folder)?;
        let file = BufWriter::with_capacity(BUFFER_BYTES, file);
        let out = match compression {
            Compression::None => Encoder::None(file),
            Compression::Gzip => Encoder::Gzip(flate2::write::GzEncoder::new(file, flate2::Compression::default())),
            Compression::Zstd => Encoder::Zstd(zstd::stream::write::Encoder::new(file, ZSTD_LEVEL)?),
        };
        Ok(Self { draft, out, count: 0 })
    }

    /// Adds the JSON of a resource.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, body: &str) -> io::Result<()> {
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
        self.count += 1;
        out.write_all(b"\n")
    }

    /// Lines so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn finish(self, name: &str) -> io::Result<()> {
        let out = match self.out {
            Encoder::None(out) => out,
            Encoder::Gzip(out) => out.finish()?,
            Encoder::Zstd(out) => out.finish()?,
        };
        out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        self.draft.put(name)
    }
}
