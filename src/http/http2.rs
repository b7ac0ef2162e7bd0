//! Bounds for HTTP/2 that actix-web has for HTTP/1.1 alone: requests of one connection under way, and the size of a head.
//!
//! In HTTP/1.1 a connection carries one request at a time, and a head has at most 96 headers in 128 KB. In HTTP/2 it carries
//! as many as the client likes, and a few bytes can stand for a header that was sent before.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{Extensions, ServiceRequest};
use actix_web::http::{StatusCode, Version};
use actix_web::web::Bytes;

/// What RFC 9113, 6.5.2 recommends as the least for a server that allows several.
const REQUESTS_MAX: usize = 100;
const HEADERS_MAX: usize = 96;
const HEAD_BYTES_MAX: usize = 128 * 1024;

/// The requests of a connection that are under way.
#[derive(Clone, Default)]
struct Underway(Rc<Cell<usize>>);

/// Prepares a new connection.
pub(super) fn prepare(data: &mut Extensions) {
    data.insert(Underway::default());
}

/// A request's place among those of its connection; given back when it is dropped.
#[derive(Default)]
pub(super) struct Place(Option<Underway>);

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(Underway(count)) = &self.0 {
            count.set(count.get().saturating_sub(1));
        }
    }
}

/// A place for a request; in HTTP/1.1 there always is one.
///
/// # Errors
/// 431 for a head that is too large, 429 when the connection has too many requests under way: to be answered without a body,
/// which would have to be kept for a client that does not take it.
pub(super) fn enter(request: &ServiceRequest) -> Result<Place, StatusCode> {
    if request.version() != Version::HTTP_2 {
        return Ok(Place::default());
    }
    let head = request.head();
    let url_bytes = head.uri.path().len() + head.uri.query().map_or(0, str::len);
    let bytes: usize = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if head.headers.len() > HEADERS_MAX || url_bytes + bytes > HEAD_BYTES_MAX {
        return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
    }
    let Some(Underway(count)) = request.conn_data() else { return Ok(Place::default()) };
    if count.get() >= REQUESTS_MAX {
        return Err(StatusCode::TOO_MANY_REQUESTS);
    }
    count.set(count.get() + 1);
    Ok(Place(Some(Underway(Rc::clone(count)))))
}

/// A body that keeps its request's place until the client has all of it.
pub(super) fn keep(body: BoxBody, place: Place) -> BoxBody {
    if place.0.is_some() { BoxBody::new(Kept { body, _place: place }) } else { body }
}

struct Kept {
    body: BoxBody,
    _place: Place,
}

impl MessageBody for Kept {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.body).poll_next(cx)
    }
}
