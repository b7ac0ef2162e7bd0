//! A file as an answer: streamed from the disk in chunks, whole or from where a client left off (RFC 9110, 14).

use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use actix_web::body::SizedStream;
use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::web::{Bytes, block};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::stream;

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;

use super::negotiate::Wishes;
use super::respond;

/// Bytes that are read and sent at once: all that one download holds in memory.
const CHUNK_BYTES: u64 = 256 * 1024;
const NDJSON: &str = "application/fhir+ndjson";

/// Why there is no file in the answer.
pub(super) enum NoFile {
    Refused(FhirError),
    /// The range is not in the file, which has so many bytes.
    OutOfRange(u64),
}

/// A part of a file: from the first byte on, so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: u64,
    bytes: u64,
}

/// The file at a path, or the part of it that the request asks for. Its content never changes, and `tag` says so.
pub(super) async fn file(
    request: &HttpRequest,
    path: PathBuf,
    tag: &str,
    is_head: bool,
) -> Result<HttpResponse, NoFile> {
    let opened = block(move || {
        let file = File::open(path)?;
        let bytes = file.metadata()?.len();
        Ok::<_, io::Error>((file, bytes))
    });
    let (file, bytes) = match opened.await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(NoFile::Refused(missing(error))),
        Err(error) => {
            return Err(NoFile::Refused(FhirError::new(Kind::Unavailable, "Try again.").caused_by(error.to_string())));
        }
    };
    let tag = format!("\"{tag}-{bytes}\"");
    let text = |name: header::HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let mut response = HttpResponse::Ok();
    response.insert_header((header::ETAG, tag.as_str())).insert_header((header::ACCEPT_RANGES, "bytes"));
    if text(header::IF_NONE_MATCH)
        .is_some_and(|known| known.split(',').any(|it| matches!(it.trim(), "*") || it.trim() == tag))
    {
        return Ok(response.status(StatusCode::NOT_MODIFIED).finish());
    }
    // A range of another content would not fit what the client has.
    let is_same = text(header::IF_RANGE).is_none_or(|known| known.trim() == tag);
    let range = text(header::RANGE).filter(|_| is_same).and_then(|range| span(range, bytes));
    let span = match range {
        None => Span { from: 0, bytes },
        Some(None) => return Err(NoFile::OutOfRange(bytes)),
        Some(Some(span)) => {
            let last = span.from + span.bytes - 1;
            response.status(StatusCode::PARTIAL_CONTENT);
            response.insert_header((header::CONTENT_RANGE, format!("bytes {}-{last}/{bytes}", span.from)));
            span
        }
    };
    // Compressed on the way it would have no length and no ranges. `headers` takes this away again.
    response.insert_header((header::CONTENT_ENCODING, "identity")).content_type(NDJSON);
    if is_head {
        return Ok(response.body(SizedStream::new(span.bytes, stream::empty::<io::Result<Bytes>>())));
    }
    let file = Arc::new(file);
    let chunks = stream::try_unfold((file, span), |(file, span)| async move {
        let bytes = span.bytes.min(CHUNK_BYTES);
        if bytes == 0 {
            return Ok(None);
        }
        let own = Arc::clone(&file);
        let chunk = block(move || read(&own, span.from, bytes)).await.map_err(io::Error::other)??;
        let rest = Span { from: span.from + bytes, bytes: span.bytes - bytes };
        Ok::<_, io::Error>(Some((chunk, (file, rest))))
    });
    Ok(response.body(SizedStream::new(span.bytes, Box::pin(chunks))))
}

fn read(file: &File, from: u64, bytes: u64) -> io::Result<Bytes> {
    let mut chunk = vec![0; usize::try_from(bytes).map_err(io::Error::other)?];
    file.read_exact_at(&mut chunk, from)?;
    Ok(chunk.into())
}

fn missing(error: io::Error) -> FhirError {
    if error.kind() == ErrorKind::NotFound {
        let sentence = "The file is not here; servers that share a database need one export.folder.";
        return FhirError::new(Kind::Unavailable, sentence).caused_by(error);
    }
    FhirError::new(Kind::Internal, "Internal error.").caused_by(error)
}

/// The part of a file that a Range header asks for. `None` when it is to be passed over: it is not about bytes, cannot be
/// read, or asks for several parts. `Some(None)` when there is no such part.
fn span(range: &str, bytes: u64) -> Option<Option<Span>> {
    let (first, last) = range.trim().strip_prefix("bytes=")?.split_once('-')?;
    let number = |text: &str| text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse::<u64>().ok()).flatten();
    let span = match (first.trim(), last.trim()) {
        ("", "") => return None,
        ("", last) => {
            let most = number(last)?.min(bytes);
            Span { from: bytes - most, bytes: most }
        }
        (first, last) => {
            let from = number(first)?;
            let end = match last {
                "" => bytes,
                last => number(last).filter(|last| *last >= from)?.saturating_add(1).min(bytes),
            };
            Span { from, bytes: end.saturating_sub(from) }
        }
    };
    Some((span.bytes > 0).then_some(span))
}

/// The answer where there is no file to send.
pub(super) fn refusal(app: &App, wishes: &Wishes, error: NoFile) -> HttpResponse {
    match error {
        NoFile::Refused(error) => respond::refusal(app, wishes, &error),
        NoFile::OutOfRange(bytes) => {
            let sentence = format!("The file has {bytes} bytes; the range asked for is not among them.");
            let error = FhirError::malformed(sentence).code(IssueCode::Value);
            let mut response = respond::refusal(app, wishes, &error);
            *response.status_mut() = StatusCode::RANGE_NOT_SATISFIABLE;
            if let Ok(value) = header::HeaderValue::from_str(&format!("bytes */{bytes}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, value);
            }
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let part = |from, bytes| Some(Some(Span { from, bytes }));
        for (range, found) in [
            ("bytes=0-0", part(0, 1)),
            ("bytes=0-", part(0, 10)),
            ("bytes=3-5", part(3, 3)),
            ("bytes=3-99", part(3, 7)),
            ("bytes=3-18446744073709551615", part(3, 7)),
            ("bytes=-4", part(6, 4)),
            ("bytes=-99", part(0, 10)),
            ("bytes=10-", Some(None)),
            ("bytes=10-12", Some(None)),
            ("bytes=-0", Some(None)),
            ("bytes=5-3", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-1", None),
            ("bytes=99999999999999999999-", None),
        ] {
            assert_eq!(span(range, 10), found, "{range}");
        }
        assert_eq!(span("bytes=0-", 0), Some(None));
    }
}
