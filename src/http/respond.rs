//! Answers and refusals as HTTP responses.

use actix_web::http::StatusCode;
use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode, operation_outcome};
use crate::fhir::subset::{self, Summary};
use crate::fhir::xml;
use crate::interactions::answer::{Answer, etag};

use super::negotiate::{Format, Return, Wishes, is_known};

/// Seconds after which a client may try again when the server cannot serve.
const RETRY_AFTER_S: &str = "2";

/// The response to an interaction, or to the fault in its request.
pub fn respond(app: &App, request: &HttpRequest, wishes: &Wishes, result: Result<Answer, FhirError>) -> HttpResponse {
    match result.and_then(|answer| success(request, wishes, answer)) {
        Ok(response) => response,
        Err(error) => refusal(app, wishes, &error),
    }
}

fn success(request: &HttpRequest, wishes: &Wishes, answer: Answer) -> Result<HttpResponse, FhirError> {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let is_read = matches!(request.method().as_str(), "GET" | "HEAD");
    let modified_s = answer.last_modified.map(|at| at.0.div_euclid(1_000_000));
    if is_read && answer.version.is_some() && is_known(request, answer.version, modified_s) {
        return Ok(headers(HttpResponse::build(StatusCode::NOT_MODIFIED), wishes, &answer, is_read).finish());
    }
    let mut response = headers(HttpResponse::build(status), wishes, &answer, is_read);
    let Some(body) = answer.body else { return Ok(response.finish()) };
    let body = match wishes.returns.filter(|_| !is_read && answer.version.is_some()) {
        Some(Return::Minimal) => return Ok(response.finish()),
        Some(Return::OperationOutcome) => {
            let sentence = answer.location.map(|location| format!("Stored as {location}."));
            operation_outcome(&[Issue::information(
                IssueCode::Informational,
                sentence.unwrap_or_else(|| "Done.".into()),
            )])
            .to_string()
            .into_bytes()
        }
        // A search shapes its own Bundle; here it is about a single resource.
        _ if is_read && answer.version.is_some() => subset(wishes, body)?,
        _ => body,
    };
    Ok(response.content_type(wishes.format.mime).body(rendered(wishes.format, wishes.pretty, body)?))
}

fn headers(
    mut response: actix_web::HttpResponseBuilder,
    wishes: &Wishes,
    answer: &Answer,
    is_read: bool,
) -> actix_web::HttpResponseBuilder {
    if let Some(version) = answer.version {
        response.insert_header((header::ETAG, etag(version)));
    }
    if let Some(at) = answer.last_modified {
        response.insert_header((header::LAST_MODIFIED, httpdate::fmt_http_date(at.to_datetime().into())));
    }
    match &answer.location {
        Some(location) if !is_read && answer.status != 204 => {
            response.insert_header((header::LOCATION, format!("{}/{location}", wishes.base)));
        }
        _ => {}
    }
    response
}

fn subset(wishes: &Wishes, body: Vec<u8>) -> Result<Vec<u8>, FhirError> {
    let summary = if wishes.summary == Summary::Count { Summary::False } else { wishes.summary };
    if summary == Summary::False && wishes.elements.is_empty() {
        return Ok(body);
    }
    let mut resource = parsed(&body)?;
    if !wishes.elements.is_empty() {
        subset::elements(&mut resource, &wishes.elements);
    }
    subset::summarize(&mut resource, summary);
    Ok(resource.to_string().into_bytes())
}

fn parsed(body: &[u8]) -> Result<Value, FhirError> {
    serde_json::from_slice(body).map_err(|error| FhirError::new(Kind::Internal, "Internal error.").caused_by(error))
}

/// JSON bytes in the format asked for.
fn rendered(format: Format, pretty: bool, body: Vec<u8>) -> Result<Vec<u8>, FhirError> {
    if format.is_xml {
        return xml::to_xml(&parsed(&body)?).map(String::into_bytes);
    }
    if pretty {
        return serde_json::to_vec_pretty(&parsed(&body)?)
            .map_err(|error| FhirError::new(Kind::Internal, "Internal error.").caused_by(error));
    }
    Ok(body)
}

/// How to get in (RFC 6750, 3): by a token, by another one, or by one that allows more.
fn challenge(error: &FhirError) -> Option<&'static str> {
    match (error.kind, error.issues.first()?.code) {
        (Kind::Unauthenticated, IssueCode::Security) => Some("Bearer realm=\"Plumbline\", error=\"invalid_token\""),
        (Kind::Unauthenticated, _) => Some("Bearer realm=\"Plumbline\""),
        (Kind::Forbidden, IssueCode::Forbidden) => Some("Bearer realm=\"Plumbline\", error=\"insufficient_scope\""),
        _ => None,
    }
}

/// A refusal: its status, and an OperationOutcome with every issue.
pub fn refusal(app: &App, wishes: &Wishes, error: &FhirError) -> HttpResponse {
    let status = StatusCode::from_u16(error.kind.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if matches!(error.kind, Kind::Internal | Kind::Unavailable) {
        tracing::error!(status = status.as_u16(), source = ?error.source, "{error}");
    } else {
        tracing::debug!(status = status.as_u16(), "{error}");
    }
    let mut response = HttpResponse::build(status);
    if let Some(version) = error.version {
        response.insert_header((header::ETAG, etag(version)));
    }
    if let Some(challenge) = challenge(error) {
        response.insert_header((header::WWW_AUTHENTICATE, challenge));
    }
    if let Some(wait_s) = error.wait_s() {
        response.insert_header((header::RETRY_AFTER, wait_s));
    } else if error.kind == Kind::Unavailable {
        response.insert_header((header::RETRY_AFTER, RETRY_AFTER_S));
    }
    let body = operation_outcome(&error.issues).to_string().into_bytes();
    let plain = Wishes::plain(app).format;
    match rendered(wishes.format, wishes.pretty, body.clone()) {
        Ok(body) => response.content_type(wishes.format.mime).body(body),
        Err(_unrenderable) => response.content_type(plain.mime).body(body),
    }
}
