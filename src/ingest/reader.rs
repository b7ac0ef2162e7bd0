//! Files cut into units: each line of NDJSON, each document otherwise. Compression and archives are recognized by their
//! first bytes, lines by what the first line holds, so a wrong name does no harm.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::read::MultiGzDecoder;
use serde::de::IgnoredAny;

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;

use super::source::{Source, is_lines, is_wanted};

const BUFFER_BYTES: usize = 256 * 1024;
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// What a tar archive has at [`TAR_AT`].
const TAR: &[u8] = b"ustar";
const TAR_AT: usize = 257;
/// Where a FHIR package has its resources. What else it has in folders is no data: schemas, tests, other formats.
const PACKAGE_FOLDERS: [&str; 3] = ["package", "package/example", "package/examples"];

/// A piece of a source that holds one resource or one Bundle.
#[derive(Clone, Debug)]
pub(super) struct Unit {
    /// The file, and behind a `!` the member of an archive.
    pub source: Arc<str>,
    /// Where it begins, from 1.
    pub line: u64,
    /// The JSON; or why it was not read, then it is refused as a whole.
    pub bytes: Result<Vec<u8>, Fault>,
}

/// Why a unit was not read.
#[derive(Clone, Debug)]
pub(super) enum Fault {
    TooLarge { bytes_max: usize },
    Unreadable { reason: String },
}

impl From<Fault> for FhirError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLarge { bytes_max } => Self::new(
                Kind::TooLarge,
                format!(
                    "It is longer than {bytes_max} bytes (setting server.body_bytes_max); raise that, or cut a Bundle into NDJSON."
                ),
            ),
            Fault::Unreadable { reason } => {
                Self::malformed(format!("The file cannot be read from here on: {reason}.")).code(IssueCode::Incomplete)
            }
        }
    }
}

/// Cuts files into units.
pub(super) struct Reader<'a> {
    /// Longer units are refused without being held in memory.
    pub unit_bytes_max: usize,
    /// Bytes taken from disk so far.
    pub taken: &'a AtomicU64,
}

/// Takes the units; breaks when no more are wanted.
type Emit<'e> = &'e mut dyn FnMut(Unit) -> ControlFlow<()>;

impl Reader<'_> {
    /// Reads one source to its end. A file that breaks off gives a last unit that says so: what came before it counts.
    pub fn read(&self, source: &Source, emit: Emit) -> ControlFlow<()> {
        let name: Arc<str> = source.path.to_string_lossy().into();
        let file: io::Result<Box<dyn Read>> = if source.is_stdin() {
            Ok(Box::new(io::stdin().lock()))
        } else {
            File::open(&source.path).map(|file| Box::new(file) as Box<dyn Read>)
        };
        match file {
            Ok(file) => {
                self.content(&name, BufReader::with_capacity(BUFFER_BYTES, Counted { file, taken: self.taken }), emit)
            }
            Err(error) => broken(&name, 1, &error, emit),
        }
    }

    fn content(&self, name: &Arc<str>, mut file: impl BufRead, emit: Emit) -> ControlFlow<()> {
        let start = match peek(&mut file, GZIP.len().max(ZSTD.len())) {
            Ok(start) => start,
            Err(error) => return broken(name, 1, &error, emit),
        };
        let packed = io::Cursor::new(start.clone()).chain(file);
        if start.starts_with(GZIP) {
            self.plain(name, BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(packed)), emit)
        } else if start.starts_with(ZSTD) {
            match zstd::stream::read::Decoder::with_buffer(packed) {
                Ok(decoder) => self.plain(name, BufReader::with_capacity(BUFFER_BYTES, decoder), emit),
                Err(error) => broken(name, 1, &error, emit),
            }
        } else {
            self.plain(name, packed, emit)
        }
    }

    fn plain(&self, name: &Arc<str>, mut file: impl BufRead, emit: Emit) -> ControlFlow<()> {
        let start = match peek(&mut file, TAR_AT + TAR.len()) {
            Ok(start) => start,
            Err(error) => return broken(name, 1, &error, emit),
        };
        let is_archive = start.get(TAR_AT..).is_some_and(|magic| magic.starts_with(TAR));
        let whole = io::Cursor::new(start).chain(file);
        if is_archive { self.archive(name, whole, emit) } else { self.text(name, whole, emit) }
    }

    fn archive(&self, name: &Arc<str>, file: impl Read, emit: Emit) -> ControlFlow<()> {
        let mut archive = tar::Archive::new(file);
        let members = match archive.entries() {
            Ok(members) => members,
            Err(error) => return broken(name, 1, &error, emit),
        };
        for member in members {
            let (member, path) = match member
                .and_then(|member| member.path().map(|path| path.into_owned()).map(|path| (member, path)))
            {
                Ok(found) => found,
                // Nothing can be found in an archive behind a damaged header.
                Err(error) => return broken(name, 1, &error, emit),
            };
            if member.header().entry_type().is_file() && is_data(&path) {
                let inner = format!("{name}!{}", path.display()).into();
                self.text(&inner, BufReader::new(member), emit)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Lines if the first one that is not blank is complete JSON, or if the name says so; otherwise one document.
    fn text(&self, name: &Arc<str>, mut file: impl BufRead, emit: Emit) -> ControlFlow<()> {
        let mut number = 0;
        let mut is_known_as_lines = is_lines(name);
        loop {
            number += 1;
            let mut line = Vec::new();
            let fault = match read_line(&mut file, &mut line, self.unit_bytes_max) {
                Ok(Line::End) => return ControlFlow::Continue(()),
                Ok(Line::Read) => None,
                Ok(Line::TooLong) => Some(Fault::TooLarge { bytes_max: self.unit_bytes_max }),
                Err(error) => return broken(name, number, &error, emit),
            };
            let json = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&line);
            if fault.is_none() && json.trim_ascii().is_empty() {
                continue;
            }
            if !is_known_as_lines && fault.is_none() && serde_json::from_slice::<IgnoredAny>(json).is_err() {
                return self.document(name, number, line, file, emit);
            }
            is_known_as_lines = true;
            emit(Unit { source: Arc::clone(name), line: number, bytes: fault.map_or(Ok(line), Err) })?;
        }
    }

    /// The rest of the file belongs to the document that `start` begins.
    fn document(&self, name: &Arc<str>, line: u64, start: Vec<u8>, file: impl BufRead, emit: Emit) -> ControlFlow<()> {
        let mut bytes = start;
        bytes.push(b'\n');
        let most = self.unit_bytes_max.saturating_add(1).saturating_sub(bytes.len());
        let read = file.take(most.try_into().unwrap_or(u64::MAX)).read_to_end(&mut bytes);
        let bytes = match read {
            Err(error) => return broken(name, line, &error, emit),
            Ok(_) if bytes.len() > self.unit_bytes_max => Err(Fault::TooLarge { bytes_max: self.unit_bytes_max }),
            Ok(_) => Ok(bytes),
        };
        emit(Unit { source: Arc::clone(name), line, bytes })
    }
}

fn broken(name: &Arc<str>, line: u64, error: &io::Error, emit: Emit) -> ControlFlow<()> {
    emit(Unit { source: Arc::clone(name), line, bytes: Err(Fault::Unreadable { reason: error.to_string() }) })
}

/// True for a member of an archive that is data: in a FHIR package only what lies where its resources are.
fn is_data(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let folder = path.parent().map(|folder| folder.to_string_lossy()).unwrap_or_default();
    let folder = folder.trim_start_matches("./");
    let is_in_package = folder == "package" || folder.starts_with("package/");
    is_wanted(&name) && (!is_in_package || PACKAGE_FOLDERS.contains(&folder))
}

/// The first bytes, fewer if the file is shorter. They are taken, not looked at: chain them before the rest.
fn peek(file: &mut impl Read, bytes: usize) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(bytes);
    file.take(bytes.try_into().unwrap_or(u64::MAX)).read_to_end(&mut start)?;
    Ok(start)
}

enum Line {
    Read,
    TooLong,
    End,
}

/// Reads up to the next line feed, or passes over it when the line is longer than `bytes_max`.
fn read_line(file: &mut impl BufRead, line: &mut Vec<u8>, bytes_max: usize) -> io::Result<Line> {
    let limit = u64::try_from(bytes_max).unwrap_or(u64::MAX).saturating_add(1);
    let read = file.take(limit).read_until(b'\n', line)?;
    if line.pop_if(|last| *last == b'\n').is_some() || read <= bytes_max {
        return Ok(if read == 0 { Line::End } else { Line::Read });
    }
    line.clear();
    file.skip_until(b'\n')?;
    Ok(Line::TooLong)
}

/// Counts what is taken from the disk, for the progress bar.
struct Counted<'a, R> {
    file: R,
    taken: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        self.taken.fetch_add(read.try_into().unwrap_or(u64::MAX), Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn units(name: &str, content: &[u8]) -> Vec<(String, u64, Result<String, String>)> {
        let mut found = Vec::new();
        let taken = AtomicU64::new(0);
        let mut emit = |unit: Unit| {
            let bytes = unit.bytes.map(|bytes| String::from_utf8(bytes).expect("text"));
            found.push((unit.source.to_string(), unit.line, bytes.map_err(|fault| FhirError::from(fault).to_string())));
            ControlFlow::Continue(())
        };
        let reader = Reader { unit_bytes_max: 40, taken: &taken };
        assert!(reader.content(&name.into(), content, &mut emit).is_continue());
        found
    }

    fn ok(name: &str, line: u64, text: &str) -> (String, u64, Result<String, String>) {
        (name.into(), line, Ok(text.into()))
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).expect("compressed");
        encoder.finish().expect("compressed")
    }

    #[test]
    fn lines_are_numbered_whatever_the_compression() {
        let plain = b"{\"a\":1}\n\n{\"a\":2}\r\n{\"a\":3}";
        let expected = [ok("x", 1, "{\"a\":1}"), ok("x", 3, "{\"a\":2}\r"), ok("x", 4, "{\"a\":3}")];
        assert_eq!(units("x", plain), expected);
        // Two gzip members in one file, as bgzip and cat make them.
        assert_eq!(units("x", &[gzip(&plain[..9]), gzip(&plain[9..])].concat()), expected);
        assert_eq!(units("x", &zstd::encode_all(&plain[..], 1).expect("compressed")), expected);
    }

    #[test]
    fn a_document_is_told_from_lines_by_its_content() {
        assert_eq!(units("x.json", b"{\n \"a\": 1\n}\n"), [ok("x.json", 1, "{\n \"a\": 1\n}\n")]);
        assert_eq!(units("x.json", b"{\"a\":1}\n{\"a\":2}\n").len(), 2);
        assert_eq!(
            units("x.ndjson", b"{\"a\":\n{\"a\":2}\n"),
            [ok("x.ndjson", 1, "{\"a\":"), ok("x.ndjson", 2, "{\"a\":2}")]
        );
        assert_eq!(units("x", b""), []);
    }

    #[test]
    fn what_is_too_long_is_refused_and_passed_over() {
        let long = "x".repeat(41);
        let found = units("x.ndjson", format!("{{}}\n{long}\n{{}}\n{}\n", "x".repeat(40)).as_bytes());
        assert_eq!(
            found.iter().map(|unit| (unit.1, unit.2.is_ok())).collect::<Vec<_>>(),
            [(1, true), (2, false), (3, true), (4, true)]
        );
        let found = units("x.json", format!("{{\n\"a\":\"{long}\"}}").as_bytes());
        assert!(
            found.len() == 1 && found[0].2.as_ref().is_err_and(|error| error.contains("body_bytes_max")),
            "{found:?}"
        );
    }

    #[test]
    fn a_file_that_breaks_off_says_so_in_a_last_unit() {
        let packed = gzip(b"{}\n{}\n{}\n");
        let found = units("x", &packed[..packed.len() - 9]);
        let last = found.last().expect("units");
        assert!(last.2.as_ref().is_err_and(|error| error.contains("cannot be read from here on")), "{found:?}");
    }

    #[test]
    fn a_package_gives_its_resources_and_examples() {
        let mut archive = tar::Builder::new(Vec::new());
        for path in [
            "package/package.json",
            "package/.index.json",
            "package/a.json",
            "package/example/b.json",
            "package/other/c.json",
            "package/d.txt",
        ] {
            let mut header = tar::Header::new_ustar();
            header.set_size(2);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, &b"{}"[..]).expect("member");
        }
        let found = units("p.tgz", &gzip(&archive.into_inner().expect("archive")));
        assert_eq!(found, [ok("p.tgz!package/a.json", 1, "{}"), ok("p.tgz!package/example/b.json", 1, "{}")]);
    }
}
