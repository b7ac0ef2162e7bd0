//! The routes of bulk export: kick-off, status, files, removal (Bulk Data Access 2.0). Whatever a client accepts, what is not
//! a file is JSON here, as the specification has it.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderName};
use actix_web::http::{Method, StatusCode};
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::fhir::error::FhirError;
use crate::fhir::outcome::{Issue, IssueCode, operation_outcome};
use crate::fhir::types::ResourceType;
use crate::interactions::bundle::type_named;
use crate::interactions::operations::export::{self, Request, Status};

use super::download;
use super::identify;
use super::negotiate::Wishes;
use super::operations::sent;
use super::respond::refusal;

type Shared = Data<Arc<App>>;

const X_PROGRESS: HeaderName = HeaderName::from_static("x-progress");
const NO_STORE: &str = "no-store";
const FHIR_JSON: &str = "application/fhir+json; charset=utf-8";

/// Runs a handler for whoever asks, and answers refusals in JSON.
async fn serve(
    app: &Shared,
    request: &HttpRequest,
    handler: impl AsyncFnOnce(&Wishes, &Caller) -> Result<HttpResponse, FhirError>,
) -> HttpResponse {
    let wishes = Wishes::in_json(app, request);
    let known = identify::caller(app, request).await;
    let caller = known.as_ref().map_or_else(|_| identify::nobody(app, request), Clone::clone);
    let result = match known {
        Ok(_) => handler(&wishes, &caller).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(response) => response,
        Err(error) => {
            identify::record(app, &caller, request, &error).await;
            refusal(app, &wishes, &error)
        }
    }
}

/// An answer that says in a sentence what happened.
fn told(status: StatusCode, sentence: &str) -> HttpResponse {
    let outcome = operation_outcome(&[Issue::information(IssueCode::Informational, sentence)]);
    HttpResponse::build(status).content_type(FHIR_JSON).body(outcome.to_string())
}

async fn kick_off(app: &Shared, request: &HttpRequest, body: &Bytes, named: Option<&str>) -> HttpResponse {
    serve(app, request, async |wishes, caller| {
        let resource_type: Option<ResourceType> = named.map(type_named).transpose()?;
        let path = request.uri().path();
        let path = path.strip_prefix("/fhir").unwrap_or(path);
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        let url = format!("{}{path}{query}", wishes.base);
        let asked = Request { resource_type, sent: sent(request, body)?, handling: wishes.handling, url };
        let id = export::kick_off(app, caller, asked).await?;
        let mut response =
            told(StatusCode::ACCEPTED, "The export is in line; Content-Location tells where to ask for it.");
        let location = header::HeaderValue::from_str(&format!("{}/_export/{id}", wishes.base));
        if let Ok(location) = location {
            response.headers_mut().insert(header::CONTENT_LOCATION, location);
        }
        Ok(response)
    })
    .await
}

pub async fn kick_off_system(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    kick_off(&app, &request, &body, None).await
}

pub async fn kick_off_type(app: Shared, request: HttpRequest, path: Path<String>, body: Bytes) -> HttpResponse {
    kick_off(&app, &request, &body, Some(&path)).await
}

pub async fn status(app: Shared, request: HttpRequest, path: Path<String>) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        Ok(match export::status(&app, caller, &path, &wishes.base).await? {
            Status::Running { progress, retry_s } => HttpResponse::Accepted()
                .insert_header((X_PROGRESS, progress))
                .insert_header((header::CACHE_CONTROL, NO_STORE))
                .insert_header((header::RETRY_AFTER, retry_s))
                .finish(),
            Status::Complete { manifest, expires_at } => HttpResponse::Ok()
                // Until then the files are kept. The answer itself is none to be kept: the next one may be 404.
                .insert_header((header::EXPIRES, httpdate::fmt_http_date(expires_at.to_datetime().into())))
                .insert_header((header::CACHE_CONTROL, NO_STORE))
                .content_type("application/json")
                .body(manifest.to_string()),
        })
    })
    .await
}

pub async fn remove(app: Shared, request: HttpRequest, path: Path<String>) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        export::remove(&app, caller, &path).await?;
        Ok(told(StatusCode::ACCEPTED, "The export is ended, and its files are removed."))
    })
    .await
}

pub async fn file(app: Shared, request: HttpRequest, path: Path<(String, String)>) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        let (id, name) = path.into_inner();
        let (path, tag) = export::file(&app, caller, &id, &name).await?;
        let is_head = request.method() == Method::HEAD;
        match download::file(&request, path, &tag, is_head).await {
            Ok(response) => Ok(response),
            Err(error) => Ok(download::refusal(&app, wishes, error)),
        }
    })
    .await
}
