//! What a token is worth (RFC 7662), and taking it back (RFC 7009).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::client::Authentication;
use crate::auth::scope::Module;
use crate::auth::token::{Claims, Grant, Revoked, TokenError};
use crate::fhir::types::Instant;
use crate::interactions::audit::{self, Event, What};
use crate::store::conn::Conn;
use crate::store::records;

use super::authenticate::{self, Credentials};
use super::error::{Code, OAuthError};
use super::exchange;

/// What is known about the parameter `token`. A client that shows who it is may ask about its own tokens, the bearer of a
/// token with `api/token.read` about all.
///
/// # Errors
/// 401 and 403 for a caller who may not ask, `invalid_request` without a token. A token that is not valid is no error.
pub async fn introspect(
    app: &Arc<App>,
    caller: &Caller,
    base: &str,
    credentials: &Credentials<'_>,
) -> Result<Value, OAuthError> {
    let own = match caller.is_anonymous() {
        true => {
            let known = authenticate::client(app, credentials).await?;
            // Whoever has its id could ask in the name of an app that proves nothing.
            let has_proof = known.client.authentication != Authentication::Public;
            Some(has_proof.then_some(known.id).ok_or_else(OAuthError::invalid_client)?)
        }
        false if caller.identity.scopes.has_module(Module::Token, false) => None,
        false => {
            let sentence = "This needs the scope api/token.read, or that the client shows who it is.";
            return Err(OAuthError::new(Code::InsufficientScope, sentence));
        }
    };
    let token = credentials.form.require("token")?;
    let inactive = json!({"active": false});
    let is_asked = |client: Option<&str>| own.is_none() || own.as_deref() == client;
    match app.tokens().await?.claims(token, app.now()).await {
        Ok(claims) if is_asked(claims.client_id.as_deref()) => {
            let context = context_of(app, &claims).await?;
            return Ok(active(base, &claims, context));
        }
        Ok(_) | Err(TokenError::Invalid(_)) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(match exchange::standing(app, token).await? {
        Some((grant, exp)) if is_asked(Some(&grant.client_id)) => {
            json!({"active": true, "scope": grant.scope, "client_id": grant.client_id, "sub": grant.account, "exp": exp})
        }
        _ => inactive,
    })
}

async fn context_of(app: &Arc<App>, claims: &Claims) -> Result<serde_json::Map<String, Value>, OAuthError> {
    let Some(id) = &claims.grant else { return Ok(serde_json::Map::new()) };
    let grant = app.store.read(async |conn: &mut Conn| records::get::<Grant>(conn, id).await).await?;
    Ok(grant.map(|grant| grant.context).unwrap_or_default())
}

fn active(base: &str, claims: &Claims, context: serde_json::Map<String, Value>) -> Value {
    let mut answer = json!({
        "active": true,
        "scope": claims.scope,
        "client_id": claims.client_id.as_ref().unwrap_or(&claims.sub),
        "token_type": "Bearer",
        "exp": claims.exp,
        "iat": claims.iat,
        "iss": claims.iss,
        "sub": claims.sub,
        "aud": claims.aud,
        "jti": claims.jti,
    });
    if let Some(answer) = answer.as_object_mut() {
        if let Some(user) = &claims.fhir_user {
            let url = if user.contains("://") { user.clone() } else { format!("{base}/{user}") };
            answer.insert("fhirUser".into(), url.into());
        }
        if let Some(account) = &claims.account {
            answer.insert("username".into(), account.as_str().into());
        }
        if let Some(bound) = &claims.cnf {
            answer.insert("cnf".into(), json!(bound));
        }
        answer.extend(context);
    }
    answer
}

/// Takes back the parameter `token`, if it is one of the client's; with a refresh token all that came of it.
///
/// # Errors
/// `invalid_client` for a client that does not show who it is; `invalid_request` without a token. An unknown token is no
/// error (RFC 7009, 2.2).
pub async fn revoke(app: &Arc<App>, caller: &Caller, credentials: &Credentials<'_>) -> Result<(), OAuthError> {
    let known = authenticate::client(app, credentials).await?;
    let token = credentials.form.require("token")?;
    let tokens = app.tokens().await?;
    let mut is_ended = exchange::end(app, &known.id, token).await?;
    match tokens.claims(token, app.now()).await {
        Ok(claims) if claims.client_id.as_ref() == Some(&known.id) => {
            let (name, ends) = (claims.jti, Instant(claims.exp.saturating_mul(1_000_000)));
            let kept = async move |conn: &mut Conn| records::put(conn, &name, &Revoked {}, Some(ends)).await;
            app.store.write(kept).await?;
            is_ended = true;
        }
        Ok(_) | Err(TokenError::Invalid(_)) => {}
        Err(error) => return Err(error.into()),
    }
    if is_ended {
        tokens.forget();
        let event = Event {
            what: What::Revocation,
            is_success: true,
            description: "took a token back".into(),
            client: Some(&known.id),
            account: None,
        };
        audit::record(app, caller, event).await?;
    }
    Ok(())
}
