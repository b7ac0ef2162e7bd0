//! The modules beside FHIR, under `/api/v1`: JSON in, JSON out. Refusals are OperationOutcomes, as everywhere.

pub mod changes;
pub mod lanes;
mod stream;
pub mod webhook_keys;

use std::sync::Arc;

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Module;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;
use crate::interactions::access;

use super::fhir::refused;
use super::{identify, negotiate};

type Shared = Data<Arc<App>>;

/// Runs a handler for a caller who may read, or change, a module.
async fn serve<T: Serialize>(
    app: &Shared,
    request: &HttpRequest,
    (module, is_write): (Module, bool),
    handler: impl AsyncFnOnce(&Caller) -> Result<T, FhirError>,
) -> HttpResponse {
    answer(app, request, async |caller| {
        access::require_module(caller, module, is_write)?;
        Ok(HttpResponse::Ok().json(handler(caller).await?))
    })
    .await
}

/// Runs a handler that decides by itself who may do what, and how that is answered.
async fn answer(
    app: &Shared,
    request: &HttpRequest,
    handler: impl AsyncFnOnce(&Caller) -> Result<HttpResponse, FhirError>,
) -> HttpResponse {
    let known = identify::caller(app, request).await;
    let caller = known.as_ref().map_or_else(|_| identify::nobody(app, request), Clone::clone);
    let answer = match known {
        Ok(_) => handler(&caller).await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(answer) => answer,
        Err(error) => {
            identify::record(app, &caller, request, &error).await;
            refused(app, request, error)
        }
    }
}

/// The JSON of a body; what is said by none is the default.
fn body<T: DeserializeOwned + Default>(request: &HttpRequest, body: &Bytes) -> Result<T, FhirError> {
    if body.is_empty() {
        return Ok(T::default());
    }
    if !matches!(negotiate::media(request), Ok(negotiate::Media::Json)) {
        return Err(FhirError::new(Kind::UnsupportedMedia, "The body is JSON: Content-Type application/json."));
    }
    serde_json::from_slice(body).map_err(|error| FhirError::malformed(format!("The body cannot be used: {error}.")))
}

/// The parameters of the URL, each known and at most once.
fn parameters(request: &HttpRequest, known: &[&str]) -> Result<Vec<(String, String)>, FhirError> {
    let pairs = negotiate::query(request);
    for (n, (name, _)) in pairs.iter().enumerate() {
        let wrong = |sentence: String| {
            Err(FhirError::malformed(sentence).code(IssueCode::Value).at(&format!("http.{}", excerpt(name))))
        };
        if !known.contains(&name.as_str()) {
            return wrong(format!("'{}' is no parameter here; there are {}.", excerpt(name), known.join(", ")));
        }
        if pairs.iter().take(n).any(|(other, _)| other == name) {
            return wrong(format!("{name} is given twice."));
        }
    }
    Ok(pairs)
}

/// A whole number from 0, if it is given.
fn number(pairs: &[(String, String)], name: &str) -> Result<Option<i64>, FhirError> {
    let Some((_, text)) = pairs.iter().find(|(it, _)| it == name) else { return Ok(None) };
    match text.parse::<i64>() {
        Ok(number) if number >= 0 => Ok(Some(number)),
        _ => {
            let sentence = format!("{name} is a whole number, not '{}'.", excerpt(text));
            Err(FhirError::malformed(sentence).code(IssueCode::Value).at(&format!("http.{name}")))
        }
    }
}
