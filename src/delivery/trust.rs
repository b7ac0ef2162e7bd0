//! What operators do about that by which receivers know this server: the secrets of lanes, and the server's own keys.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::keys::KeyError;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::types::Instant;
use crate::interactions::audit::{self, Event, What};
use crate::store::conn::Conn;

use super::keys::{self, Keys, KeysError, Old};
use super::operate;
use super::secrets::Secrets;
use super::signature::Secret;

/// A secret that a lane is to have.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Wanted {
    /// In place of the one that it has; without it the lane must have none.
    #[serde(default)]
    pub rotate: bool,
    /// The old one is gone at once; else it signs along for `delivery.key_overlap_days`.
    #[serde(default)]
    pub at_once: bool,
    /// `whsec_…`; a new one is made if it is not given.
    pub value: Option<String>,
}

/// A secret of a lane, without what is secret about it.
#[derive(Clone, Debug, Serialize)]
pub struct SecretView {
    pub created: String,
    /// Until when it signs; `None` until it is rotated.
    pub expires: Option<String>,
}

/// The secrets that sign for a lane, newest first; and the lane's name.
///
/// # Errors
/// 404 when there is no such lane.
pub async fn secrets(app: &App, lane: &str) -> Result<(String, Vec<SecretView>), FhirError> {
    let name = named(app, lane).await?;
    let all = Secrets::new(app.store.clone(), app.seal().map_err(of_seal)?).list(app.now()).await.map_err(refusal)?;
    let own = all.into_iter().find(|listed| listed.lane == name).map(|listed| listed.secrets).unwrap_or_default();
    let view = |(created, expires): (Instant, Option<Instant>)| SecretView {
        created: created.to_fhir(),
        expires: expires.map(Instant::to_fhir),
    };
    Ok((name, own.into_iter().map(view).collect()))
}

/// Gives a lane a secret, and returns the lane's name and `whsec_…`, which is not told again.
///
/// # Errors
/// 404 when there is no such lane, or no secret to rotate; 409 when it has one already, or too many overlap; 400 for what is no
/// secret.
pub async fn give_secret(
    app: &Arc<App>,
    caller: &Caller,
    lane: &str,
    wanted: Wanted,
) -> Result<(String, String), FhirError> {
    let name = named(app, lane).await?;
    let given = wanted.value.as_deref().map(Secret::parse).transpose().map_err(|fault| {
        FhirError::malformed(format!("value cannot be used: {fault}.")).code(IssueCode::Value).at("value")
    })?;
    if wanted.at_once && !wanted.rotate {
        let sentence = "atOnce is about the old secret, and goes with rotate.";
        return Err(FhirError::malformed(sentence).code(IssueCode::Value).at("atOnce"));
    }
    let secrets = Secrets::new(app.store.clone(), app.seal().map_err(of_seal)?);
    let (secret, what) = if wanted.rotate {
        let settings = &app.settings.delivery;
        let secret = secrets.rotate(settings, &name, given, old(wanted.at_once), app.now()).await;
        (secret.map_err(refusal)?, "rotated the secret")
    } else {
        (secrets.create(&name, given, app.now()).await.map_err(refusal)?, "made a secret")
    };
    record(app, caller, format!("{what} of {name}")).await?;
    Ok((name, secret.expose()))
}

/// Forgets the secrets of a lane; what is sent by it is signed with the server's own keys alone then. The lane's name.
///
/// # Errors
/// 404 when there is no such lane, or no secret.
pub async fn take_secret(app: &Arc<App>, caller: &Caller, lane: &str) -> Result<String, FhirError> {
    let name = named(app, lane).await?;
    let secrets = Secrets::new(app.store.clone(), app.seal().map_err(of_seal)?);
    if !secrets.remove(&name).await.map_err(refusal)? {
        return Err(refusal(KeysError::Unknown { lane: name }));
    }
    record(app, caller, format!("removed the secret of {name}")).await?;
    Ok(name)
}

/// The public halves of the server's own keys that sign now, newest first: `{"keys": [{"id", "key": "whpk_…", "created",
/// "expires", "jwk"}]}`.
pub fn public(keys: &Keys, now: Instant) -> Value {
    let ring = keys.ring();
    let (mut public, mut jwks) = (ring.public(now), ring.jwks(now));
    let jwks = jwks.get_mut("keys").and_then(Value::as_array_mut).map(std::mem::take).unwrap_or_default();
    let told = public.get_mut("keys").and_then(Value::as_array_mut).into_iter().flatten();
    for (key, jwk) in told.filter_map(Value::as_object_mut).zip(jwks) {
        key.insert("jwk".into(), jwk);
    }
    public
}

/// The server's own keys, for those who serve them.
///
/// # Errors
/// 503 when they cannot be read.
pub async fn open_keys(app: &App) -> Result<Keys, FhirError> {
    let seal = app.seal().map_err(of_seal)?;
    Keys::open(app.store.clone(), seal, app.now()).await.map_err(refusal)
}

/// Makes a new key of the server's own, and returns its id.
///
/// # Errors
/// 409 when too many overlap already.
pub async fn rotate_key(app: &Arc<App>, caller: &Caller, is_at_once: bool) -> Result<String, FhirError> {
    let seal = app.seal().map_err(of_seal)?;
    let rotated = keys::rotate(&app.store, &seal, &app.settings.delivery, old(is_at_once), app.now()).await;
    let id = rotated.map_err(refusal)?;
    record(app, caller, "rotated the webhook keys".into()).await?;
    Ok(id)
}

/// What was sealed with a seal that is lost.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    pub keys: bool,
    /// Lanes whose secrets cannot be read.
    pub lanes: Vec<String>,
}

/// What the seal of the settings does not open any more.
///
/// # Errors
/// 503 when the database cannot be used.
pub async fn lost(app: &App) -> Result<Lost, FhirError> {
    let seal = app.seal().map_err(of_seal)?;
    let is_other = |error: &KeysError| matches!(error, KeysError::Key(KeyError::OtherSeal { .. }));
    let keys = match Keys::open(app.store.clone(), seal.clone(), app.now()).await {
        Ok(_) => false,
        Err(error) if is_other(&error) => true,
        Err(error) => return Err(refusal(error)),
    };
    let secrets = Secrets::new(app.store.clone(), seal);
    let mut lanes = Vec::new();
    for listed in secrets.list(app.now()).await.map_err(refusal)? {
        match secrets.signing(&listed.lane, app.now()).await {
            Ok(_) => {}
            Err(error) if is_other(&error) => lanes.push(listed.lane),
            Err(error) => return Err(refusal(error)),
        }
    }
    Ok(Lost { keys, lanes })
}

fn old(is_at_once: bool) -> Old {
    if is_at_once { Old::Goes } else { Old::Overlaps }
}

async fn named(app: &App, lane: &str) -> Result<String, FhirError> {
    app.store.read(async |conn: &mut Conn| Ok(operate::find(conn, lane).await?.name)).await
}

async fn record(app: &Arc<App>, caller: &Caller, description: String) -> Result<(), FhirError> {
    let event = Event { what: What::Administration, is_success: true, description, client: None, account: None };
    audit::record(app, caller, event).await
}

fn of_seal(error: KeyError) -> FhirError {
    refusal(error.into())
}

fn refusal(error: KeysError) -> FhirError {
    let kind = match &error {
        KeysError::Exists { .. } | KeysError::TooMany => Kind::Conflict,
        KeysError::Unknown { .. } => Kind::NotFound,
        KeysError::Key(_) => {
            let sentence = "The keys and secrets of webhooks cannot be used now; the server's log says why.";
            return FhirError::new(Kind::Unavailable, sentence).caused_by(error);
        }
    };
    let mut sentence = error.to_string();
    if let Some(first) = sentence.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    FhirError::new(kind, format!("{sentence}."))
}
