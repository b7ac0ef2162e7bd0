//! How a request's body comes in: steadily, and no larger than allowed, unpacked or not.

use std::io::Read;
use std::time::Duration;

use actix_web::dev::{Payload, ServiceRequest};
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpMessage};
use flate2::read::{MultiGzDecoder, ZlibDecoder};
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, timeout_at};

/// How long a client may pause within a body, and how long a whole body may take.
const PAUSE: Duration = Duration::from_secs(10);
const WHOLE: Duration = Duration::from_secs(300);

/// Why a body is refused before anybody looks at it.
pub(super) enum Refused {
    /// The Content-Encoding is none that this server unpacks.
    Encoding(String),
    Unreadable(Error),
}

/// Ends a body that does not come, and unpacks one that is packed.
///
/// actix-web would unpack by itself, but each piece that arrives to its end, before anything is counted: some hundred
/// bytes of Brotli then fill the memory. Here no more than `most` bytes ever come out.
pub(super) async fn admit(request: &mut ServiceRequest, most: usize) -> Result<(), Refused> {
    let payload = request.take_payload();
    if matches!(payload, Payload::None) {
        return Ok(());
    }
    let payload = steady(payload);
    let encoding = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .map(|value| value.to_str().unwrap_or("?").trim().to_ascii_lowercase());
    let Some(encoding) = encoding.filter(|encoding| !matches!(encoding.as_str(), "" | "identity")) else {
        request.set_payload(payload);
        return Ok(());
    };
    if !matches!(encoding.as_str(), "gzip" | "x-gzip" | "deflate") {
        return Err(Refused::Encoding(encoding));
    }
    let packed = collect(payload, most).await?;
    let unpacked = match encoding.as_str() {
        "deflate" => unpack(ZlibDecoder::new(packed.as_ref()), most),
        _ => unpack(MultiGzDecoder::new(packed.as_ref()), most),
    };
    let unpacked = Bytes::from(unpacked.map_err(unreadable)?);
    request.headers_mut().remove(header::CONTENT_ENCODING);
    request.headers_mut().remove(header::CONTENT_LENGTH);
    request.set_payload(Payload::Stream { payload: Box::pin(stream::iter([Ok(unpacked)])) });
    Ok(())
}

fn unreadable(error: PayloadError) -> Refused {
    Refused::Unreadable(error.into())
}

/// The same bytes, and an end when they do not come in time.
fn steady(payload: Payload) -> Payload {
    let until = Instant::now() + WHOLE;
    let pieces = stream::unfold(Some(payload), move |rest| async move {
        let mut payload = rest?;
        match timeout_at(until.min(Instant::now() + PAUSE), payload.next()).await {
            Ok(Some(piece)) => Some((piece, Some(payload))),
            Ok(None) => None,
            Err(_elapsed) => Some((Err(PayloadError::Incomplete(None)), None)),
        }
    });
    Payload::Stream { payload: Box::pin(pieces) }
}

async fn collect(mut payload: Payload, most: usize) -> Result<Bytes, Refused> {
    let mut collected = BytesMut::new();
    while let Some(piece) = payload.next().await {
        let piece = piece.map_err(unreadable)?;
        if collected.len() + piece.len() > most {
            return Err(unreadable(PayloadError::Overflow));
        }
        collected.extend_from_slice(&piece);
    }
    Ok(collected.freeze())
}

fn unpack(packed: impl Read, most: usize) -> Result<Vec<u8>, PayloadError> {
    let mut unpacked = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    packed.take(limit).read_to_end(&mut unpacked).map_err(|_corrupt| PayloadError::EncodingCorrupted)?;
    if unpacked.len() > most { Err(PayloadError::Overflow) } else { Ok(unpacked) }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn no_more_is_unpacked_than_allowed() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(&[b' '; 1_000]).expect("in memory");
        let packed = encoder.finish().expect("in memory");
        let unpacked = |most| unpack(MultiGzDecoder::new(packed.as_slice()), most);
        assert_eq!(unpacked(1_000).expect("it fits").len(), 1_000);
        assert!(matches!(unpacked(999), Err(PayloadError::Overflow)));
        assert!(matches!(unpack(MultiGzDecoder::new(&packed[..20]), 1_000), Err(PayloadError::EncodingCorrupted)));
    }
}
