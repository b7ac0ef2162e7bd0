//! Who makes a request: the bearer of a token (RFC 6750), or somebody who does not say.

use std::sync::Arc;

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::token::TokenError;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::interactions::audit;

use super::address::client_address;
use super::tls::client_certificate;

/// The caller of a request.
///
/// # Errors
/// 401 for a token that is not accepted, 400 for one in the URL, where it would be kept in logs; 503 when it cannot be checked.
pub(super) async fn caller(app: &App, request: &HttpRequest) -> Result<Caller, FhirError> {
    let caller = bearer(app, request).await?;
    if !caller.is_anonymous() {
        let client = caller.identity.client.as_deref().unwrap_or_default();
        let issuer = caller.identity.issuer.as_deref().unwrap_or_default();
        app.limits.check_client(issuer, client).map_err(|wait| FhirError::throttled("your app", wait))?;
    }
    Ok(caller)
}

/// The same without counting it: for one more look at a token whose request is under way.
///
/// # Errors
/// As [`caller`].
pub(super) async fn bearer(app: &App, request: &HttpRequest) -> Result<Caller, FhirError> {
    check_url(request)?;
    let mut headers = request.headers().get_all(header::AUTHORIZATION);
    let Some(sent) = headers.next() else {
        return Ok(nobody(app, request));
    };
    let token = sent.to_str().ok().and_then(|text| text.split_once(' '));
    let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    let Some(token) = token.filter(|_| headers.next().is_none()) else {
        return Err(invalid("The Authorization header is 'Bearer', a space and an access token."));
    };
    let tokens = app.tokens().await.map_err(|error| unavailable(error.into()))?;
    match tokens.identify(token, app.now(), client_certificate(request).as_ref()).await {
        Ok(identity) => Ok(Caller { identity, address: client_address(app, request) }),
        Err(TokenError::Invalid(sentence)) => Err(invalid(sentence)),
        Err(error) => Err(unavailable(error)),
    }
}

/// Refuses a token in the URL, where it would be kept in logs and histories.
///
/// # Errors
/// 400.
pub(super) fn check_url(request: &HttpRequest) -> Result<(), FhirError> {
    let query = request.query_string();
    if query.contains("access_token")
        && form_urlencoded::parse(query.as_bytes()).any(|(name, _)| name == "access_token")
    {
        return Err(FhirError::malformed("An access token is sent in the Authorization header, never in a URL."));
    }
    Ok(())
}

/// Somebody who is not known, from where they call.
pub(super) fn nobody(app: &App, request: &HttpRequest) -> Caller {
    Caller { identity: Arc::clone(&app.anonymous), address: client_address(app, request) }
}

/// Records a refusal for lack of rights.
pub(super) async fn record(app: &Arc<App>, caller: &Caller, request: &HttpRequest, error: &FhirError) {
    if audit::is_for_lack_of_rights(error) {
        let refused = audit::Refused::new(request.method().as_str(), request.path(), error.kind.status());
        audit::record_refusals(app, caller, vec![refused]).await;
    }
}

fn invalid(sentence: &str) -> FhirError {
    FhirError::new(Kind::Unauthenticated, sentence).code(IssueCode::Security)
}

fn unavailable(error: TokenError) -> FhirError {
    FhirError::new(Kind::Unavailable, "Tokens cannot be checked now; try again later.").caused_by(error)
}
