//! The routes of operations: each reads its parameters from the URL and, with POST, from the body.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::web::{Bytes, Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use crate::app::App;
use crate::fhir::error::FhirError;
use crate::interactions::answer::Answer;
use crate::interactions::operations::subscription::{binding, events, status};
use crate::interactions::operations::{Sent, expand, lookup, validate, validate_code};

use super::fhir::serve;
use super::negotiate;

type Shared = Data<Arc<App>>;

/// What came with the request of an operation.
///
/// # Errors
/// 415 and 400 for a body that cannot be read.
pub(super) fn sent(request: &HttpRequest, body: &Bytes) -> Result<Sent, FhirError> {
    let has_body = request.method() == Method::POST && !body.is_empty();
    let body = has_body.then(|| negotiate::resource(request, body)).transpose()?;
    Ok(Sent { query: negotiate::query(request), body })
}

/// Does what may take long where it keeps nobody else waiting.
async fn aside(
    app: &Shared,
    sent: Sent,
    work: impl FnOnce(&App, Sent) -> Result<Answer, FhirError> + Send + 'static,
) -> Result<Answer, FhirError> {
    let (own, is_sent) = (Arc::clone(app), sent.body.is_some());
    app.turns.take(is_sent, move || work(&own, sent)).await
}

pub async fn value_set_expand(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    let work = |app: &App, sent| expand::expand(&app.terminology, app.now(), sent);
    serve(&app, &request, async |_, _| aside(&app, sent(&request, &body)?, work).await).await
}

pub async fn value_set_validate_code(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    let work = |app: &App, sent| validate_code::validate_code(&app.terminology, sent);
    serve(&app, &request, async |_, _| aside(&app, sent(&request, &body)?, work).await).await
}

pub async fn code_system_lookup(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |_, _| lookup::lookup(&app.terminology, sent(&request, &body)?)).await
}

pub async fn validate_type(app: Shared, request: HttpRequest, path: Path<String>, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        validate::validate(&app, caller, &path.into_inner(), None, sent(&request, &body)?).await
    })
    .await
}

pub async fn validate_instance(
    app: Shared,
    request: HttpRequest,
    path: Path<(String, String)>,
    body: Bytes,
) -> HttpResponse {
    serve(&app, &request, async |_, caller| {
        let (name, id) = path.into_inner();
        validate::validate(&app, caller, &name, Some(&id), sent(&request, &body)?).await
    })
    .await
}

pub async fn subscription_status(app: Shared, request: HttpRequest, id: Path<String>, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        status::of_one(&app, caller, &id, sent(&request, &body)?, &wishes.base).await
    })
    .await
}

pub async fn subscriptions_status(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        status::of_many(&app, caller, sent(&request, &body)?, &wishes.base).await
    })
    .await
}

pub async fn subscription_events(app: Shared, request: HttpRequest, id: Path<String>, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        events::events(&app, caller, &id, sent(&request, &body)?, &wishes.base).await
    })
    .await
}

pub async fn subscription_token(app: Shared, request: HttpRequest, id: Path<String>, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        binding::of_one(&app, caller, &id, sent(&request, &body)?, &wishes.base).await
    })
    .await
}

pub async fn subscriptions_token(app: Shared, request: HttpRequest, body: Bytes) -> HttpResponse {
    serve(&app, &request, async |wishes, caller| {
        binding::of_many(&app, caller, sent(&request, &body)?, &wishes.base).await
    })
    .await
}
