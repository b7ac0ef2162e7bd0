//! `$get-ws-binding-token` (Backport 1.1.0): a token that a WebSocket is bound with to Subscriptions, and what it is good for.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::auth::caller::{Caller, Identity};
use crate::auth::{digest, random};
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::types::{Instant, ResourceType};
use crate::interactions::answer::Answer;
use crate::interactions::operations::arguments::{Arguments, Declared, Sent};
use crate::interactions::operations::parameters;
use crate::interactions::read;
use crate::interactions::write::stored;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::records::{self, Record};

use super::{ID, Told, ids, visible};

/// Below the FHIR base, where WebSockets are opened.
pub const PATH: &str = "/ws";
/// How long a token waits for its WebSocket, in microseconds.
const EXPIRES_AFTER: i64 = 60_000_000;
/// Subscriptions that one WebSocket is bound to.
pub const BOUND_MAX: usize = 100;

const DECLARED: [Declared; 1] = [ID];

/// What a token stands for, kept under its digest until it is used.
#[derive(Debug, Serialize, Deserialize)]
pub struct Binding {
    /// Who asked for it, with what they were granted then.
    pub identity: Identity,
    /// The ids of the Subscriptions.
    pub subscriptions: Vec<String>,
    /// Microseconds since 1970.
    expires_at: i64,
}

impl Record for Binding {
    const KIND: &'static str = "ws-binding";
}

/// Gives out a token for one Subscription. The parameter `id` is passed over: the URL says which one.
///
/// # Errors
/// As [`read::read`] for the Subscription; 422 for one that is not served over a WebSocket now.
pub async fn of_one(app: &App, caller: &Caller, id: &str, sent: Sent, base: &str) -> Result<Answer, FhirError> {
    let told = readable(app, caller, id).await?;
    Arguments::read(&DECLARED, sent)?;
    give(app, caller, vec![told], base).await
}

/// Gives out a token for several Subscriptions: those of the ids or, without any, all that the caller may see and that are
/// served over a WebSocket, 100 at most.
///
/// # Errors
/// As [`of_one`], for the first that cannot be had; 400 for what is no id or when there are too many, 422 when there is none.
pub async fn of_many(app: &App, caller: &Caller, sent: Sent, base: &str) -> Result<Answer, FhirError> {
    let arguments = Arguments::read(&DECLARED, sent)?;
    let ids = ids(&arguments)?;
    let mut told = Vec::new();
    if ids.is_empty() {
        let pairs = [("type", "websocket"), ("status", "requested,active")];
        let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        told = visible(app, caller, &pairs).await?.0;
    }
    for id in ids {
        told.push(readable(app, caller, id).await.map_err(|error| error.at("http.id"))?);
    }
    give(app, caller, told, base).await
}

async fn readable(app: &App, caller: &Caller, id: &str) -> Result<Told, FhirError> {
    let found = read::read(app, caller, ResourceType::Subscription, id).await?;
    Ok(Told { id: id.to_owned(), body: stored(&found.body)? })
}

/// Whether a WebSocket can be bound to a Subscription.
///
/// # Errors
/// 422 when it has another channel or is off.
pub fn check(id: &str, body: &Value) -> Result<(), FhirError> {
    let refused =
        |sentence: String, at: &str| Err(FhirError::new(Kind::Invalid, sentence).code(IssueCode::BusinessRule).at(at));
    if body.pointer("/channel/type").and_then(Value::as_str) != Some("websocket") {
        let sentence = format!("Subscription/{id} is not served over a WebSocket.");
        return refused(sentence, "Subscription.channel.type");
    }
    match body.get("status").and_then(Value::as_str) {
        Some("requested" | "active") => Ok(()),
        _ => refused(format!("Subscription/{id} is not active; write it as 'requested'."), "Subscription.status"),
    }
}

async fn give(app: &App, caller: &Caller, told: Vec<Told>, base: &str) -> Result<Answer, FhirError> {
    told.iter().try_for_each(|it| check(&it.id, &it.body))?;
    if told.is_empty() {
        let sentence = "There is no Subscription here that is served over a WebSocket to you.";
        return Err(FhirError::new(Kind::Invalid, sentence).code(IssueCode::NotFound).at("http.id"));
    }
    if told.len() > BOUND_MAX {
        let sentence = format!("A WebSocket is bound to {BOUND_MAX} Subscriptions at most; name them by id.");
        return Err(FhirError::malformed(sentence).code(IssueCode::TooCostly).at("http.id"));
    }
    let token = random().map_err(StoreError::unavailable)?;
    let expires_at = Instant(app.now().0 + EXPIRES_AFTER);
    let subscriptions: Vec<String> = told.into_iter().map(|it| it.id).collect();
    let mut all = vec![
        json!({"name": "token", "valueString": token}),
        json!({"name": "expiration", "valueDateTime": expires_at.to_fhir()}),
    ];
    all.extend(subscriptions.iter().map(|id| json!({"name": "subscription", "valueString": id})));
    all.push(json!({"name": "websocket-url", "valueUrl": websocket_url(base)}));
    let binding = Binding { identity: Identity::clone(&caller.identity), subscriptions, expires_at: expires_at.0 };
    let name = digest(&token);
    let keep = async move |conn: &mut Conn| records::put(conn, &name, &binding, Some(expires_at)).await;
    app.store.write(keep).await?;
    Ok(Answer::new(200, parameters(all).to_string()))
}

/// `wss` where the base is `https`.
fn websocket_url(base: &str) -> String {
    format!("ws{}{PATH}", base.strip_prefix("http").unwrap_or(base))
}

/// What a token stands for. It is used up with that.
///
/// # Errors
/// 401 when it is none, has expired or was used.
pub async fn take(app: &App, token: &str) -> Result<Binding, FhirError> {
    let name = digest(token);
    let unit = async move |conn: &mut Conn| {
        let found = records::get_locked::<Binding>(conn, &name).await?;
        // Of two that use it at once, one removes it.
        let is_first = found.is_some() && records::remove::<Binding>(conn, &name).await?;
        Ok::<_, StoreError>(found.filter(|_| is_first))
    };
    let found = app.store.write(unit).await?;
    found.filter(|binding| app.now().0 < binding.expires_at).ok_or_else(|| {
        let sentence = "The token is not known: it works once, for 60 seconds. $get-ws-binding-token gives another.";
        FhirError::new(Kind::Unauthenticated, sentence).code(IssueCode::Security)
    })
}
