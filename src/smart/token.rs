//! The token endpoint (RFC 6749, 4.1.3, 4.4 and 6; SMART App Launch 2.2, app-launch and backend-services).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::client::Authentication;
use crate::auth::keys::ID;
use crate::auth::policy::Constraint;
use crate::auth::random;
use crate::auth::scope::{Context, Scope, Scopes};
use crate::auth::token::{Account, Claims, Confirmation, Grant};
use crate::interactions::access;
use crate::interactions::audit::{self, Event, What};

use super::authenticate::{self, Credentials, Known};
use super::error::{Code, OAuthError};
use super::exchange::{self, Exchanged};

/// Answers a request for a token: a JSON object.
///
/// # Errors
/// As RFC 6749 (5.2) has it.
pub async fn token(
    app: &Arc<App>,
    caller: &Caller,
    base: &str,
    credentials: &Credentials<'_>,
) -> Result<Value, OAuthError> {
    let grant_type = match credentials.form.require("grant_type")? {
        "client_credentials" => "client_credentials",
        "authorization_code" => "authorization_code",
        "refresh_token" => "refresh_token",
        _ => {
            let sentence = "The grant_type is authorization_code, client_credentials or refresh_token.";
            return Err(OAuthError::new(Code::UnsupportedGrantType, sentence));
        }
    };
    let known = match exchange::public_client(app, grant_type, credentials).await? {
        Some(known) => Ok(known),
        None => authenticate::client(app, credentials).await,
    };
    let answer = match &known {
        Ok(known) => given(app, base, grant_type, known, credentials).await,
        Err(error) => Err(OAuthError::new(error.code, error.description.clone())),
    };
    let id = known.as_ref().ok().map(|known| known.id.as_str());
    let (description, account) = match &answer {
        Ok((answer, account)) => {
            let scope = answer.get("scope").and_then(Value::as_str).unwrap_or_default();
            (format!("a token with the scope '{scope}'"), account.as_deref())
        }
        Err(error) => (format!("refused: {}", error.code.as_str()), None),
    };
    let event = Event { what: What::Token(grant_type), is_success: answer.is_ok(), description, client: id, account };
    // Who is not known is limited by address; each attempt is recorded all the same.
    audit::record(app, caller, event).await?;
    known?;
    answer.map(|(answer, _)| answer)
}

async fn given(
    app: &Arc<App>,
    base: &str,
    grant_type: &str,
    known: &Known,
    credentials: &Credentials<'_>,
) -> Result<(Value, Option<String>), OAuthError> {
    let form = credentials.form;
    match grant_type {
        "client_credentials" => Ok((backend(app, base, known, form.require("scope")?).await?, None)),
        "authorization_code" => {
            let (code, uri) = (form.require("code")?, form.require("redirect_uri")?);
            let exchanged = exchange::code(app, known, code, uri, form.require("code_verifier")?).await?;
            Ok((of_user(app, base, known, &exchanged, &exchanged.grant.scope).await?, Some(exchanged.grant.account)))
        }
        _ => {
            let exchanged = exchange::refresh(app, known, form.require("refresh_token")?, form.get("scope")).await?;
            let scope = exchanged.scope.clone();
            Ok((of_user(app, base, known, &exchanged, &scope).await?, Some(exchanged.grant.account)))
        }
    }
}

/// A token for a system that acts for itself.
async fn backend(app: &Arc<App>, base: &str, known: &Known, asked: &str) -> Result<Value, OAuthError> {
    if known.client.authentication == Authentication::Public || known.client.is_self_registered {
        let sentence = "This client gets tokens for its users only, none of its own.";
        return Err(OAuthError::new(Code::UnauthorizedClient, sentence));
    }
    let is_systems = |scope: &Scope| match scope {
        Scope::Resource(scope) => scope.context == Context::System,
        Scope::Module { .. } => true,
        _ => false,
    };
    let granted = grantable(app, &Scopes::parse(asked).filtered(is_systems).within(&known.client.scopes()));
    if granted.is_empty() {
        let sentence = "None of these scopes can be granted to this client; a backend service asks for system/ scopes.";
        return Err(OAuthError::new(Code::InvalidScope, sentence));
    }
    let lifetime_s = i64::from(app.settings.auth.backend_token_s);
    let claims =
        Claims { sub: known.id.clone(), scope: granted.to_string(), ..own_claims(app, base, known, lifetime_s)? };
    let token = app.tokens().await?.issue(&claims, app.now()).await?;
    Ok(json!({
        "access_token": token,
        "token_type": "bearer",
        "expires_in": lifetime_s,
        "scope": claims.scope,
    }))
}

/// A token for an app that acts for a user.
async fn of_user(
    app: &Arc<App>,
    base: &str,
    known: &Known,
    exchanged: &Exchanged,
    scope: &str,
) -> Result<Value, OAuthError> {
    let Exchanged { grant, grant_id, account, refresh_token, nonce, .. } = exchanged;
    let lifetime_s = i64::from(app.settings.auth.app_token_s);
    let claims = Claims {
        sub: grant.account.clone(),
        scope: scope.to_owned(),
        account: Some(grant.account.clone()),
        fhir_user: account.fhir_user.clone(),
        role: Some(account.role.clone()),
        patient: grant.patient.clone(),
        grant: Some(grant_id.clone()),
        ..own_claims(app, base, known, lifetime_s)?
    };
    let mut answer = Map::new();
    answer.insert("access_token".into(), app.tokens().await?.issue(&claims, app.now()).await?.into());
    answer.insert("token_type".into(), "Bearer".into());
    answer.insert("expires_in".into(), lifetime_s.into());
    answer.insert("scope".into(), scope.into());
    if let Some(token) = refresh_token {
        answer.insert("refresh_token".into(), token.as_str().into());
    }
    if Scopes::parse(scope).has(&Scope::OpenId) {
        let id_token = id_token(app, base, known, grant, account, scope, nonce.as_deref()).await?;
        answer.insert("id_token".into(), id_token.into());
    }
    answer.extend(grant.context.clone());
    Ok(Value::Object(answer))
}

/// What is the same in every token.
fn own_claims(app: &App, base: &str, known: &Known, lifetime_s: i64) -> Result<Claims, OAuthError> {
    let now_s = app.now().0.div_euclid(1_000_000);
    let bound = known.client.certificate.as_deref().and_then(thumbprint);
    Ok(Claims {
        iss: base.to_owned(),
        aud: base.to_owned(),
        iat: now_s,
        exp: now_s + lifetime_s,
        jti: random()?,
        client_id: Some(known.id.clone()),
        client_since: Some(known.client.created_at),
        cnf: bound.map(|thumbprint| Confirmation { thumbprint }),
        ..Claims::default()
    })
}

/// From hexadecimal to the form in tokens.
fn thumbprint(hexadecimal: &str) -> Option<String> {
    use base64::Engine as _;
    let bytes = openssl::bn::BigNum::from_hex_str(hexadecimal).ok()?.to_vec_padded(32).ok()?;
    Some(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}

/// Who the user is, signed (OpenID Connect Core, 2; SMART App Launch 2.2, scopes for requesting identity data).
async fn id_token(
    app: &Arc<App>,
    base: &str,
    known: &Known,
    grant: &Grant,
    account: &Account,
    scope: &str,
    nonce: Option<&str>,
) -> Result<String, OAuthError> {
    let now = app.now();
    let now_s = now.0.div_euclid(1_000_000);
    let mut claims = json!({
        "iss": base,
        "sub": grant.account,
        "aud": known.id,
        "iat": now_s,
        "exp": now_s + i64::from(app.settings.auth.app_token_s),
        "auth_time": grant.auth_time,
    });
    if let Some(claims) = claims.as_object_mut() {
        if let Some(nonce) = nonce {
            claims.insert("nonce".into(), nonce.into());
        }
        if let Some(user) = account.fhir_user.as_deref().filter(|_| Scopes::parse(scope).has(&Scope::FhirUser)) {
            let url = if user.contains("://") { user.to_owned() } else { format!("{base}/{user}") };
            claims.insert("fhirUser".into(), url.into());
        }
    }
    let ring = app.tokens().await?.keys().ring();
    let key = ring.signing(ID, now).ok_or_else(|| OAuthError::new(Code::ServerError, "Internal error."))?;
    key.sign("JWT", &claims).map_err(|error| crate::auth::token::TokenError::from(error).into())
}

/// The scopes that this server can hold anybody to: constraints by parameters that it does not know are none.
pub fn grantable(app: &App, scopes: &Scopes) -> Scopes {
    scopes.filtered(|scope| match scope {
        Scope::Resource(scope) if !scope.constraint.is_empty() => {
            let constraint: &Constraint = &scope.constraint;
            scope.resource_type.is_some_and(|it| access::filters(app, it, constraint).is_some())
        }
        _ => true,
    })
}
