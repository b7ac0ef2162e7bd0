//! Liveness and readiness for those who run the server.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::Data;

use crate::app::App;
use crate::store::conn::Conn;
use crate::store::error::StoreError;

/// The process answers.
pub async fn live() -> HttpResponse {
    HttpResponse::Ok().json(serde_json::json!({"status": "live"}))
}

/// The database answers too; 503 when it does not.
pub async fn ready(app: Data<Arc<App>>) -> HttpResponse {
    let asked = app.store.read(async |conn: &mut Conn| {
        let select = conn.sql("SELECT number FROM migration ORDER BY number DESC LIMIT 1");
        conn.first::<(diesel::sql_types::BigInt,), (i64,)>(&select).await.map(|_row| ())
    });
    match asked.await {
        Ok::<(), StoreError>(()) => HttpResponse::Ok().json(serde_json::json!({"status": "ready"})),
        Err(error) => {
            tracing::warn!(%error, "not ready");
            HttpResponse::ServiceUnavailable().json(serde_json::json!({"status": "not ready", "reason": error.to_string()}))
        }
    }
}
