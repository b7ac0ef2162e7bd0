//! Lanes for operators: who is told of changes, how that goes, and what can be done about it.

use actix_web::web::{Bytes, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use crate::auth::scope::Module;
use crate::delivery::operate::{self, Order, Redrive};
use crate::delivery::trust::{self, Wanted};
use crate::fhir::error::FhirError;
use crate::fhir::outcome::IssueCode;

use super::{Shared, body, number, parameters, serve};

const READ: (Module, bool) = (Module::Delivery, false);
const WRITE: (Module, bool) = (Module::Delivery, true);
/// What is listed when nobody says how many.
const COUNT: i64 = 100;

pub async fn list(app: Shared, request: HttpRequest) -> HttpResponse {
    serve(&app, &request, READ, async |_| {
        let pairs = parameters(&request, &["after", "count"])?;
        let (after, count) = (number(&pairs, "after")?.unwrap_or(0), number(&pairs, "count")?.unwrap_or(COUNT));
        let lanes = operate::list(&app, after, count).await?;
        let next = lanes.last().map(|lane| lane.lane).filter(|_| i64::try_from(lanes.len()).is_ok_and(|n| n >= count));
        Ok(json!({"lanes": lanes, "next": next}))
    })
    .await
}

pub async fn show(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    serve(&app, &request, READ, async |_| operate::show(&app, &lane).await).await
}

pub async fn attempts(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    serve(&app, &request, READ, async |_| {
        let pairs = parameters(&request, &["before", "count"])?;
        let before = number(&pairs, "before")?.unwrap_or(i64::MAX);
        let count = number(&pairs, "count")?.unwrap_or(COUNT);
        Ok(json!({"attempts": operate::attempts(&app, &lane, before, count).await?}))
    })
    .await
}

pub async fn held(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    serve(&app, &request, READ, async |_| {
        let pairs = parameters(&request, &["dead", "after", "count"])?;
        let is_dead = match pairs.iter().find(|(name, _)| name == "dead").map(|(_, value)| value.as_str()) {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => {
                let sentence = "dead is true, for what was given up, or false, for what is tried again by itself.";
                return Err(FhirError::malformed(sentence).code(IssueCode::Value).at("http.dead"));
            }
        };
        let (after, count) = (number(&pairs, "after")?.unwrap_or(0), number(&pairs, "count")?.unwrap_or(COUNT));
        Ok(json!({"held": operate::held(&app, &lane, is_dead, after, count).await?}))
    })
    .await
}

pub async fn pause(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    order(&app, &request, &lane, Order::Pause).await
}

pub async fn resume(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    order(&app, &request, &lane, Order::Resume).await
}

pub async fn restart(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    order(&app, &request, &lane, Order::Restart).await
}

pub async fn redrive(app: Shared, request: HttpRequest, lane: Path<String>, sent: Bytes) -> HttpResponse {
    serve(&app, &request, WRITE, async |caller| {
        let wanted: Redrive = body(&request, &sent)?;
        let events = operate::order(&app, caller, &lane, Order::Redrive(wanted)).await?;
        Ok(json!({"events": events}))
    })
    .await
}

/// The one time that a secret is seen is when it is made.
pub async fn secrets(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    serve(&app, &request, WRITE, async |_| {
        let (lane, secrets) = trust::secrets(&app, &lane).await?;
        Ok(json!({"lane": lane, "secrets": secrets}))
    })
    .await
}

pub async fn give_secret(app: Shared, request: HttpRequest, lane: Path<String>, sent: Bytes) -> HttpResponse {
    serve(&app, &request, WRITE, async |caller| {
        let wanted: Wanted = body(&request, &sent)?;
        let (lane, secret) = trust::give_secret(&app, caller, &lane, wanted).await?;
        Ok(json!({"lane": lane, "secret": secret}))
    })
    .await
}

pub async fn take_secret(app: Shared, request: HttpRequest, lane: Path<String>) -> HttpResponse {
    serve(&app, &request, WRITE, async |caller| {
        let lane = trust::take_secret(&app, caller, &lane).await?;
        Ok(json!({"lane": lane, "secrets": []}))
    })
    .await
}

async fn order(app: &Shared, request: &HttpRequest, lane: &str, order: Order) -> HttpResponse {
    serve(app, request, WRITE, async |caller| {
        operate::order(app, caller, lane, order).await?;
        operate::show(app, lane).await
    })
    .await
}
