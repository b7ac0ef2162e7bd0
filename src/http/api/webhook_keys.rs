//! The public keys by which receivers know what this server sends: `GET /api/v1/webhook-keys`, for everybody.

use std::sync::Arc;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use tokio::sync::OnceCell;

use crate::app::App;
use crate::delivery::keys::Keys;
use crate::delivery::trust;
use crate::fhir::error::FhirError;
use crate::http::fhir::refused;

use super::{Shared, parameters};

/// The keys, read when they are first asked for, and looked at again every minute.
#[derive(Default)]
pub struct Opened(OnceCell<Keys>);

/// Even with a token that has expired: what is public is public.
pub async fn webhook_keys(app: Shared, request: HttpRequest, opened: Data<Opened>) -> HttpResponse {
    match keys(&app, &request, &opened).await {
        Ok(keys) => HttpResponse::Ok().json(trust::public(keys, app.now())),
        Err(error) => refused(&app, &request, error),
    }
}

async fn keys<'o>(app: &Arc<App>, request: &HttpRequest, opened: &'o Opened) -> Result<&'o Keys, FhirError> {
    parameters(request, &[])?;
    let keys = opened.0.get_or_try_init(async || trust::open_keys(app).await).await?;
    if let Err(error) = keys.refresh_if_due(app.now()).await {
        // Those that we know are right until they end.
        tracing::warn!(%error, "the webhook keys could not be read again");
    }
    Ok(keys)
}
