//! EHR launch (SMART App Launch 2.2): an EHR or a portal says by an authenticated call what an app is opened for, and gets a
//! word that it passes to the app, which brings it here.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Module;
use crate::auth::{digest, random};
use crate::fhir::types::{Instant, is_id};
use crate::interactions::audit::{self, Event, What};
use crate::store::conn::Conn;
use crate::store::records::{self, Record};

use super::error::{Code, OAuthError};

const SECOND: i64 = 1_000_000;
/// Seconds in which a launched app has to come.
const LIFETIME_S: i64 = 600;
/// Bytes of a context.
const CONTEXT_BYTES_MAX: usize = 4_096;
/// What an app may be told (SMART App Launch 2.2, launch context).
const CONTEXT: &[&str] =
    &["patient", "encounter", "fhirContext", "need_patient_banner", "intent", "smart_style_url", "tenant"];

/// What an app is opened for; kept under the digest of its word.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Launch {
    client_id: String,
    pub context: Map<String, Value>,
    expires_at: i64,
}

impl Record for Launch {
    const KIND: &'static str = "launch";
}

impl Launch {
    pub fn patient(&self) -> Option<String> {
        self.context.get("patient").and_then(Value::as_str).map(str::to_owned)
    }
}

/// Makes a launch: `{"client_id": …, "patient": …, …}` in, `{"launch": …, "expires_in": …}` out.
///
/// # Errors
/// `insufficient_scope` without `api/launch.write`; `invalid_request` for what is no launch context.
pub async fn launch(app: &Arc<App>, caller: &Caller, body: &[u8]) -> Result<Value, OAuthError> {
    let wrong = |sentence: String| OAuthError::new(Code::InvalidRequest, sentence);
    if !caller.identity.scopes.has_module(Module::Launch, true) {
        let code = if caller.is_anonymous() { Code::InvalidToken } else { Code::InsufficientScope };
        return Err(OAuthError::new(code, "This needs an access token with the scope api/launch.write."));
    }
    let body: Value = serde_json::from_slice(body).map_err(|error| wrong(format!("The body is no JSON: {error}.")))?;
    let Value::Object(mut context) = body else { return Err(wrong("The body is a JSON object.".into())) };
    let client_id = match context.remove("client_id") {
        Some(Value::String(id)) => id,
        _ => return Err(wrong("client_id names the app that is opened.".into())),
    };
    if let Some(unknown) = context.keys().find(|name| !CONTEXT.contains(&name.as_str())) {
        let sentence = format!("'{unknown}' is no launch context; it has {}.", CONTEXT.join(", "));
        return Err(wrong(sentence));
    }
    let is_right = context.iter().all(|(name, value)| match name.as_str() {
        "patient" | "encounter" => value.as_str().is_some_and(is_id),
        "fhirContext" => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
        "need_patient_banner" => value.is_boolean(),
        _ => value.is_string(),
    });
    if !is_right || Value::Object(context.clone()).to_string().len() > CONTEXT_BYTES_MAX {
        return Err(wrong("A member of the context is not of the type that SMART gives it, or too long.".into()));
    }
    let (word, now) = (random()?, app.now());
    let expires_at = now.0 + LIFETIME_S * SECOND;
    let (name, launch) = (digest(&word), Launch { client_id: client_id.clone(), context, expires_at });
    let is_client = app.store.write(async move |conn: &mut Conn| {
        if records::get::<crate::auth::client::Client>(conn, &launch.client_id).await?.is_none() {
            return Ok(false);
        }
        records::insert(conn, &name, &launch, Some(Instant(expires_at))).await
    });
    if !is_client.await? {
        return Err(wrong("client_id names no client of this server.".into()));
    }
    let description = format!("launches the app {client_id}");
    let event = Event { what: What::Launch, is_success: true, description, client: None, account: None };
    audit::record(app, caller, event).await?;
    Ok(json!({"launch": word, "expires_in": LIFETIME_S}))
}

fn forged() -> OAuthError {
    OAuthError::new(Code::InvalidRequest, "The launch is not one that this server gave out for this app, or is over.")
}

/// The launch of this name, if it is this client's and can be used.
///
/// # Errors
/// `invalid_request` when there is none.
pub(super) async fn find(app: &Arc<App>, name: &str, client_id: &str) -> Result<Launch, OAuthError> {
    let now = app.now();
    let found = app.store.read(async |conn: &mut Conn| records::get::<Launch>(conn, name).await).await?;
    found.filter(|launch| launch.client_id == client_id && now.0 < launch.expires_at).ok_or_else(forged)
}

/// Uses a launch up.
///
/// # Errors
/// As [`find`].
pub(super) async fn take(conn: &mut Conn, name: &str, client_id: &str, now: Instant) -> Result<(), OAuthError> {
    let found = records::get_locked::<Launch>(conn, name).await?;
    if found.is_none_or(|launch| launch.client_id != client_id || now.0 >= launch.expires_at) {
        return Err(forged());
    }
    records::remove::<Launch>(conn, name).await?;
    Ok(())
}
