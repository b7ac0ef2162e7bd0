//! The members of a package's archive. Whoever made it may have made it badly, or to do harm: everything is bounded, and
//! nothing is ever written to where a member's name points.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::{EntryType, PaxExtensions};

use super::PackageError;

const GZIP: &[u8] = &[0x1f, 0x8b];
/// Bytes of a record that gives the next member a longer name.
const NAME_BYTES_MAX: u64 = 64 * 1024;

/// What an archive may not go beyond.
pub(super) struct Bounds {
    pub members: usize,
    /// Of all members, unpacked.
    pub bytes: u64,
    pub member_bytes: u64,
    /// Of one definition, and of all that are kept. Read, a definition is many times as large as its text.
    pub definition_bytes: u64,
    pub kept_bytes: u64,
}

/// Several times what the largest published packages need.
pub(super) const BOUNDS: Bounds = Bounds {
    members: 100_000,
    bytes: 2 << 30,
    member_bytes: 64 << 20,
    definition_bytes: 16 << 20,
    kept_bytes: 256 << 20,
};

/// Calls `take` with the name and the text of each JSON file right below `package/`. `path` is what errors call the archive.
///
/// # Errors
/// [`PackageError`] when the archive cannot be read or goes beyond the bounds, and those of `take`.
pub(super) fn each_json(
    file: File,
    path: &Path,
    bounds: &Bounds,
    mut take: impl FnMut(&str, &[u8]) -> Result<(), PackageError>,
) -> Result<(), PackageError> {
    let unreadable = |source| PackageError::Unreadable { path: path.to_owned(), source };
    let damaged = |source| PackageError::Damaged { path: path.to_owned(), source };
    let refused = |member: &str, problem: String| {
        Err(PackageError::Member { path: path.to_owned(), member: member.to_owned(), problem })
    };
    let mut file = BufReader::new(file);
    if !file.fill_buf().map_err(unreadable)?.starts_with(GZIP) {
        return Err(PackageError::NotGzip { path: path.to_owned() });
    }
    let unpacked = Bounded { file: MultiGzDecoder::new(file), left: bounds.bytes };
    let mut archive = tar::Archive::new(unpacked);
    let mut long_name = None;
    // Raw: the names that have records of their own are read here, since otherwise they might have any length.
    for (number, member) in archive.entries().map_err(damaged)?.raw(true).enumerate() {
        let mut member = match member {
            Ok(_) if number >= bounds.members => {
                return Err(PackageError::TooMany { path: path.to_owned(), members_max: bounds.members });
            }
            Ok(member) => member,
            Err(source) if number == 0 => return Err(PackageError::NotTar { path: path.to_owned(), source }),
            Err(source) => return Err(damaged(source)),
        };
        let kind = member.header().entry_type();
        match kind {
            EntryType::GNULongName => {
                let text = all(&mut member, NAME_BYTES_MAX).map_err(damaged)?;
                long_name = Some(String::from_utf8_lossy(&text).trim_end_matches('\0').to_owned());
                continue;
            }
            EntryType::XHeader => {
                let text = all(&mut member, NAME_BYTES_MAX).map_err(damaged)?;
                long_name = pax_path(&text).or(long_name);
                continue;
            }
            EntryType::GNULongLink | EntryType::XGlobalHeader => continue,
            _ => {}
        }
        let short_name = || String::from_utf8_lossy(&member.path_bytes()).into_owned();
        let name = long_name.take().unwrap_or_else(short_name);
        if name.starts_with(['/', '\\']) || name.split(['/', '\\']).any(|part| part == "..") {
            return refused(&name, "has a name that leads out of the package".to_owned());
        }
        if !kind.is_file() {
            if kind.is_dir() {
                continue;
            }
            return refused(&name, "is neither a file nor a folder".to_owned());
        }
        let Some(json) = conformance_file(&name) else { continue };
        if member.size() > bounds.member_bytes {
            return refused(&name, format!("is longer than {} bytes", bounds.member_bytes));
        }
        let text = all(&mut member, bounds.member_bytes).map_err(damaged)?;
        take(json, text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text))?;
    }
    // To the end of the compressed file, where its checksum is.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(damaged)?;
    Ok(())
}

/// The name of a JSON file right below `package/`.
fn conformance_file(name: &str) -> Option<&str> {
    let inner = name.trim_start_matches("./").strip_prefix("package/")?;
    (inner.ends_with(".json") && !inner.contains('/') && !inner.starts_with('.')).then_some(inner)
}

/// The name that an extended header gives the member behind it (POSIX pax).
fn pax_path(text: &[u8]) -> Option<String> {
    let mut records = PaxExtensions::new(text).filter_map(Result::ok);
    records
        .find(|record| record.key_bytes() == b"path")
        .map(|it| String::from_utf8_lossy(it.value_bytes()).into_owned())
}

fn all(member: impl Read, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    member.take(bytes_max).read_to_end(&mut text)?;
    Ok(text)
}

/// A reader that fails after so many bytes: a small archive can unpack to any length.
struct Bounded<R> {
    file: R,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => return Err(io::Error::other("unpacked it is larger than packages are")),
        }
        Ok(read)
    }
}
