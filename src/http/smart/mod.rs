//! The routes of the authorization server: what machines call. People's pages are in [`pages`] and [`consent`].

pub(super) mod consent;
mod pages;

use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::Kind;
use crate::interactions::audit::{self, Refused};
use crate::smart::authenticate::Credentials;
use crate::smart::error::{Code, OAuthError};
use crate::smart::form::Form;
use crate::smart::{discovery, introspect, launch, register, token};

use super::hosts::base;
use super::identify;
use super::tls::client_certificate;

type Shared = Data<Arc<App>>;

/// Bytes of a body that is sent here.
pub const BODY_BYTES_MAX: usize = 65_536;
/// Seconds for which discovery and keys may be kept.
const KEPT: &str = "public, max-age=300";

/// `.well-known/smart-configuration`: JSON whatever is asked for, and for everybody.
pub async fn smart_configuration(app: Shared, request: HttpRequest) -> HttpResponse {
    kept(&discovery::smart_configuration(&app, &base(&app, &request)))
}

/// `.well-known/openid-configuration`.
pub async fn openid_configuration(app: Shared, request: HttpRequest) -> HttpResponse {
    kept(&discovery::openid_configuration(&app, &base(&app, &request)))
}

/// The keys that verify tokens.
pub async fn jwks(app: Shared) -> HttpResponse {
    match keys(&app).await {
        Ok(keys) => kept(&keys),
        Err(error) => refused(&error),
    }
}

async fn keys(app: &Shared) -> Result<Value, OAuthError> {
    let tokens = app.tokens().await?;
    tokens.refresh_keys(app.now()).await?;
    Ok(tokens.keys().ring().jwks.clone())
}

/// The token endpoint.
pub async fn token(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    let answer = async {
        let form = form(&request, &body)?;
        let credentials = credentials(&request, &form)?;
        token::token(&app, &identify::nobody(&app, &request), &base(&app, &request), &credentials).await
    };
    answered(answer.await)
}

/// RFC 7662.
pub async fn introspect(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    let answer = async {
        let form = form(&request, &body)?;
        let mut credentials = credentials(&request, &form)?;
        let is_bearer = credentials.authorization.is_some_and(is_bearer);
        let caller = match is_bearer {
            true => bearer(&app, &request).await?,
            false => identify::nobody(&app, &request),
        };
        credentials.authorization = credentials.authorization.filter(|_| !is_bearer);
        let answer = introspect::introspect(&app, &caller, &base(&app, &request), &credentials).await;
        recorded(&app, &caller, &request, answer).await
    };
    answered(answer.await)
}

/// RFC 7009.
pub async fn revoke(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    let answer = async {
        let form = form(&request, &body)?;
        let caller = identify::nobody(&app, &request);
        let answer = introspect::revoke(&app, &caller, &credentials(&request, &form)?).await;
        recorded(&app, &caller, &request, answer).await
    };
    answered(answer.await.map(|()| json!({})))
}

/// A launch context from an EHR or a portal.
pub async fn launch(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    let answer = async {
        let caller = bearer(&app, &request).await?;
        let answer = launch::launch(&app, &caller, &body).await;
        recorded(&app, &caller, &request, answer).await
    };
    answered(answer.await)
}

/// RFC 7591.
pub async fn register(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    // A form, or text, is what any web page could send.
    if media(&request) != "application/json" {
        let sentence = "The metadata are posted as application/json.";
        return refused(&OAuthError::new(Code::InvalidClientMetadata, sentence));
    }
    let caller = identify::nobody(&app, &request);
    let answer = register::register(&app, &caller, &body).await;
    match recorded(&app, &caller, &request, answer).await {
        Ok(answer) => unkept(StatusCode::CREATED, &answer),
        Err(error) => refused(&error),
    }
}

/// A method that a route under `/auth` does not take.
pub async fn not_allowed(request: HttpRequest) -> HttpResponse {
    let mut response = HttpResponse::MethodNotAllowed();
    if let Some(super::routes::Allowed(methods)) = request.app_data() {
        response.insert_header((header::ALLOW, *methods));
    }
    let error = OAuthError::new(Code::InvalidRequest, "This endpoint does not take this method.");
    response.json(told(&error))
}

/// The media type of the body, in lower case.
fn media(request: &HttpRequest) -> String {
    let media = request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn form(request: &HttpRequest, body: &[u8]) -> Result<Form, OAuthError> {
    if request.method() != Method::POST || media(request) != "application/x-www-form-urlencoded" {
        let sentence = "The request is posted as application/x-www-form-urlencoded.";
        return Err(OAuthError::new(Code::InvalidRequest, sentence));
    }
    // What stands in a URL is kept in logs and histories (RFC 6749, 2.3.1).
    if !request.query_string().is_empty() {
        return Err(OAuthError::new(
            Code::InvalidRequest,
            "The parameters are in the body, and nothing is in the URL.",
        ));
    }
    Form::parse(body)
}

fn credentials<'r>(request: &'r HttpRequest, form: &'r Form) -> Result<Credentials<'r>, OAuthError> {
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let authorization = headers.next().map(HeaderValue::to_str).transpose();
    if headers.next().is_some() {
        return Err(OAuthError::new(Code::InvalidRequest, "A request has one Authorization header."));
    }
    let authorization = authorization.map_err(|_no_text| OAuthError::invalid_client())?;
    Ok(Credentials { authorization, form, certificate: client_certificate(request) })
}

fn is_bearer(header: &str) -> bool {
    header.split(' ').next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
}

async fn bearer(app: &Arc<App>, request: &HttpRequest) -> Result<Caller, OAuthError> {
    let caller = identify::caller(app, request).await;
    let answer = caller.map_err(|error| {
        let code = match error.kind {
            Kind::Unauthenticated => Code::InvalidToken,
            Kind::Malformed => Code::InvalidRequest,
            _ => Code::TemporarilyUnavailable,
        };
        OAuthError::new(code, error.to_string())
    });
    recorded(app, &identify::nobody(app, request), request, answer).await
}

/// The same answer; a refusal for lack of rights is recorded.
async fn recorded<T>(
    app: &Arc<App>,
    caller: &Caller,
    request: &HttpRequest,
    answer: Result<T, OAuthError>,
) -> Result<T, OAuthError> {
    if let Err(error) = &answer
        && matches!(error.code.status(), 401 | 403)
    {
        let refused = Refused::new(request.method().as_str(), request.path(), error.code.status());
        audit::record_refusals(app, caller, vec![refused]).await;
    }
    answer
}

fn kept(document: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, KEPT))
        .content_type("application/json")
        .body(document.to_string())
}

fn unkept(status: StatusCode, document: &Value) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::PRAGMA, "no-cache"))
        .content_type("application/json")
        .body(document.to_string())
}

fn answered(answer: Result<Value, OAuthError>) -> HttpResponse {
    match answer {
        Ok(answer) => unkept(StatusCode::OK, &answer),
        Err(error) => refused(&error),
    }
}

fn told(error: &OAuthError) -> Value {
    json!({"error": error.code.as_str(), "error_description": error.description})
}

/// An error as RFC 6749 (5.2) has it, and for who was not recognized how they can be.
fn refused(error: &OAuthError) -> HttpResponse {
    log(error);
    let status = StatusCode::from_u16(error.code.status()).unwrap_or(StatusCode::BAD_REQUEST);
    let mut response = unkept(status, &told(error));
    let challenge = match error.code {
        Code::InvalidClient => Some("Basic realm=\"Plumbline\"".to_owned()),
        // Who showed no token is told that it takes one (RFC 6750, 3.1).
        Code::InvalidToken | Code::InsufficientScope => {
            Some(format!("Bearer realm=\"Plumbline\", error=\"{}\"", error.code.as_str()))
        }
        _ => None,
    };
    if let Some(challenge) = challenge.and_then(|text| HeaderValue::from_str(&text).ok()) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn log(error: &OAuthError) {
    match error.code {
        Code::ServerError | Code::TemporarilyUnavailable => tracing::error!(source = ?error.source, "{error}"),
        _ => tracing::debug!("{error}"),
    }
}
