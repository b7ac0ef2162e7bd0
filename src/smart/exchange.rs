//! What codes and refresh tokens are exchanged for, each once. One that is used twice was stolen from somebody: then all that
//! the user granted by it ends (RFC 6749, 4.1.2 and 10.4; RFC 9700, 4.14).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::memcmp;
use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::client::{Authentication, Client};
use crate::auth::scope::{Scope, Scopes};
use crate::auth::token::{Account, Grant, Tokens};
use crate::auth::{digest, random};
use crate::config;
use crate::fhir::types::Instant;
use crate::store::conn::Conn;
use crate::store::records::{self, Record};

use super::authenticate::{Credentials, Known};
use super::error::{Code as ErrorCode, OAuthError};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// What was used is kept so long, to notice when it is used again.
const REMEMBERED: i64 = DAY;

/// An authorization code, kept under its digest.
#[derive(Clone, Serialize, Deserialize)]
pub struct Code {
    pub redirect_uri: String,
    /// `code_challenge` by S256 (RFC 7636).
    pub challenge: String,
    pub nonce: Option<String>,
    /// Microseconds since 1970.
    pub expires_at: i64,
    /// The id that the grant has, or will have.
    pub grant_id: String,
    pub grant: Grant,
    pub is_used: bool,
}

impl Record for Code {
    const KIND: &'static str = "code";
}

/// A refresh token, kept under its digest.
#[derive(Clone, Serialize, Deserialize)]
struct Refresh {
    grant_id: String,
    expires_at: i64,
    is_used: bool,
}

impl Record for Refresh {
    const KIND: &'static str = "refresh";
}

/// What an exchange comes to.
pub struct Exchanged {
    pub grant: Grant,
    pub grant_id: String,
    pub account: Account,
    /// What the access token is for; a refresh may ask for less than was granted.
    pub scope: String,
    pub refresh_token: Option<String>,
    pub nonce: Option<String>,
}

fn invalid_grant() -> OAuthError {
    let sentence =
        "The code or token is not valid, was used, has expired, or belongs to another client or redirect_uri.";
    OAuthError::new(ErrorCode::InvalidGrant, sentence)
}

/// What a unit of work found: an end that is stored, too.
enum Found {
    Fine(Box<Exchanged>),
    Refused,
    /// It was used before, so the grant has ended.
    Ended,
}

impl Found {
    fn into_result(self, tokens: &Tokens) -> Result<Exchanged, OAuthError> {
        match self {
            Self::Fine(exchanged) => Ok(*exchanged),
            Self::Refused => Err(invalid_grant()),
            Self::Ended => {
                tokens.forget();
                Err(invalid_grant())
            }
        }
    }
}

/// Exchanges a code.
///
/// # Errors
/// `invalid_grant` for a code that is not this client's, not for this URI, used, too old, or without the verifier that fits
/// its challenge.
pub async fn code(
    app: &Arc<App>,
    known: &Known,
    code: &str,
    redirect_uri: &str,
    verifier: &str,
) -> Result<Exchanged, OAuthError> {
    let (name, client_id, uri, challenge) =
        (digest(code), known.id.clone(), redirect_uri.to_owned(), challenge_of(verifier));
    let (now, auth) = (app.now(), app.settings.auth.clone());
    let fresh = random()?;
    let found = app.store.write(async move |conn: &mut Conn| {
        let Some(mut code) = records::get_locked::<Code>(conn, &name).await? else { return Ok(Found::Refused) };
        let fits = code.grant.client_id == client_id
            && code.redirect_uri == uri
            && challenge.as_ref().is_some_and(|it| memcmp_eq(it, &code.challenge));
        if code.is_used {
            records::remove::<Grant>(conn, &code.grant_id).await?;
            return Ok(Found::Ended);
        }
        let account = records::get::<Account>(conn, &code.grant.account).await?;
        let Some(account) = account.filter(|_| fits && now.0 < code.expires_at) else { return Ok(Found::Refused) };
        code.is_used = true;
        records::put(conn, &name, &code, Some(Instant(now.0 + REMEMBERED))).await?;
        let Code { grant, grant_id, nonce, .. } = code;
        let ends = end_of(&auth, &grant, now).unwrap_or(now.0 + i64::from(auth.app_token_s) * SECOND);
        records::insert(conn, &grant_id, &grant, Some(Instant(ends))).await?;
        let mut refresh_token = None;
        if end_of(&auth, &grant, now).is_some() {
            let refresh = Refresh { grant_id: grant_id.clone(), expires_at: ends, is_used: false };
            records::insert(conn, &digest(&fresh), &refresh, Some(Instant(ends))).await?;
            refresh_token = Some(fresh.clone());
        }
        let scope = grant.scope.clone();
        Ok::<_, OAuthError>(Found::Fine(Box::new(Exchanged { grant, grant_id, account, scope, refresh_token, nonce })))
    });
    found.await?.into_result(app.tokens().await?)
}

/// Exchanges a refresh token for a new one.
///
/// # Errors
/// `invalid_grant` for a token that is not this client's, used, or too old; `invalid_scope` when more is asked for than was
/// granted.
pub async fn refresh(app: &Arc<App>, known: &Known, token: &str, scope: Option<&str>) -> Result<Exchanged, OAuthError> {
    let (name, client_id, asked) = (digest(token), known.id.clone(), scope.map(str::to_owned));
    let allowed = known.client.scopes();
    let (now, auth) = (app.now(), app.settings.auth.clone());
    let fresh = random()?;
    let found = app.store.write(async move |conn: &mut Conn| {
        let Some(mut old) = records::get_locked::<Refresh>(conn, &name).await? else { return Ok(Found::Refused) };
        let grant = records::get_locked::<Grant>(conn, &old.grant_id).await?;
        let Some(grant) = grant.filter(|grant| grant.client_id == client_id) else { return Ok(Found::Refused) };
        if old.is_used {
            records::remove::<Grant>(conn, &old.grant_id).await?;
            return Ok(Found::Ended);
        }
        let account = records::get::<Account>(conn, &grant.account).await?;
        let Some(account) = account.filter(|_| now.0 < old.expires_at) else { return Ok(Found::Refused) };
        let scope = match &asked {
            None => grant.scope.clone(),
            Some(asked) => narrower(asked, &grant.scope)?,
        };
        // The client may have been registered anew, for less.
        let scope = Scopes::parse(&scope).within(&allowed).to_string();
        // A login lasts as long as it lasts; offline access as long as it is used.
        let ends = end_of(&auth, &grant, now).unwrap_or(old.expires_at);
        let grant_id = old.grant_id.clone();
        old.is_used = true;
        records::put(conn, &name, &old, Some(Instant(ends))).await?;
        records::put(conn, &grant_id, &grant, Some(Instant(ends))).await?;
        let next = Refresh { grant_id: grant_id.clone(), expires_at: ends, is_used: false };
        records::insert(conn, &digest(&fresh), &next, Some(Instant(ends))).await?;
        let refresh_token = Some(fresh.clone());
        let exchanged = Exchanged { grant, grant_id, account, scope, refresh_token, nonce: None };
        Ok::<_, OAuthError>(Found::Fine(Box::new(exchanged)))
    });
    found.await?.into_result(app.tokens().await?)
}

/// The client of a refresh that does not say which it is, as SMART's own table of parameters has it (app-launch, refresh
/// request): the one that the token was given to, if that is an app that has nothing to prove.
///
/// # Errors
/// When the database cannot be used.
pub async fn public_client(
    app: &Arc<App>,
    grant_type: &str,
    credentials: &Credentials<'_>,
) -> Result<Option<Known>, OAuthError> {
    let form = credentials.form;
    let says_who = credentials.authorization.is_some()
        || ["client_id", "client_secret", "client_assertion"].iter().any(|name| form.get(name).is_some());
    let Some(token) = form.get("refresh_token").filter(|_| grant_type == "refresh_token" && !says_who) else {
        return Ok(None);
    };
    let name = digest(token);
    let found = app.store.read(async |conn: &mut Conn| {
        let Some(refresh) = records::get::<Refresh>(conn, &name).await? else { return Ok(None) };
        let Some(grant) = records::get::<Grant>(conn, &refresh.grant_id).await? else { return Ok(None) };
        let client = records::get::<Client>(conn, &grant.client_id).await?;
        Ok::<_, OAuthError>(client.map(|client| Known { id: grant.client_id, client }))
    });
    let is_plain =
        |known: &Known| known.client.authentication == Authentication::Public && known.client.certificate.is_none();
    Ok(found.await?.filter(is_plain))
}

/// Ends what a refresh token of this client stands for; false when it is none.
///
/// # Errors
/// When the database cannot be used.
pub async fn end(app: &Arc<App>, client_id: &str, token: &str) -> Result<bool, OAuthError> {
    let (name, client_id) = (digest(token), client_id.to_owned());
    let is_ended = app.store.write(async move |conn: &mut Conn| {
        let Some(refresh) = records::get_locked::<Refresh>(conn, &name).await? else { return Ok(false) };
        let grant = records::get::<Grant>(conn, &refresh.grant_id).await?;
        match grant.filter(|grant| grant.client_id == client_id) {
            Some(_) => records::remove::<Grant>(conn, &refresh.grant_id).await,
            None => Ok(false),
        }
    });
    Ok(is_ended.await?)
}

/// The grant behind a refresh token that could still be used, and when that ends.
///
/// # Errors
/// When the database cannot be used.
pub async fn standing(app: &Arc<App>, token: &str) -> Result<Option<(Grant, i64)>, OAuthError> {
    let (name, now) = (digest(token), app.now());
    let found = app.store.read(async |conn: &mut Conn| {
        let Some(refresh) = records::get::<Refresh>(conn, &name).await? else { return Ok(None) };
        let grant = records::get::<Grant>(conn, &refresh.grant_id).await?;
        let is_alive = !refresh.is_used && now.0 < refresh.expires_at;
        Ok::<_, OAuthError>(grant.filter(|_| is_alive).map(|grant| (grant, refresh.expires_at / SECOND)))
    });
    found.await
}

/// When a grant ends that lasts beyond its first token: one of offline access so long after its last use, one of online
/// access with the login (microseconds since 1970).
fn end_of(auth: &config::Auth, grant: &Grant, now: Instant) -> Option<i64> {
    let scopes = Scopes::parse(&grant.scope);
    if scopes.has(&Scope::OfflineAccess) {
        return Some(now.0 + i64::from(auth.offline_days) * DAY);
    }
    let login = (grant.auth_time + i64::from(auth.online_s)).saturating_mul(SECOND);
    scopes.has(&Scope::OnlineAccess).then_some(login)
}

fn narrower(asked: &str, granted: &str) -> Result<String, OAuthError> {
    let wider = || OAuthError::new(ErrorCode::InvalidScope, "A refresh asks for what was granted, or less.");
    let scopes = Scopes::parse_strictly(asked).map_err(|_unknown| wider())?;
    if scopes.is_empty() || !scopes.is_within(&Scopes::parse(granted)) {
        return Err(wider());
    }
    Ok(scopes.to_string())
}

/// `code_challenge` of a verifier by S256; `None` for text that is no verifier (RFC 7636, 4.1).
fn challenge_of(verifier: &str) -> Option<String> {
    let is_verifier = (43..=128).contains(&verifier.len())
        && verifier.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
    is_verifier.then(|| URL_SAFE_NO_PAD.encode(openssl::sha::sha256(verifier.as_bytes())))
}

fn memcmp_eq(one: &str, two: &str) -> bool {
    one.len() == two.len() && memcmp::eq(one.as_bytes(), two.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_rfc_7636() {
        // Its appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        assert_eq!(challenge_of(verifier).as_deref(), Some("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"));
        assert_eq!(challenge_of("short"), None);
        assert_eq!(challenge_of(&"a b".repeat(20)), None);
    }

    #[test]
    fn a_refresh_never_widens() {
        let granted = "openid offline_access user/Practitioner.rs user/Location.r?status=active";
        for fine in ["openid", "user/Practitioner.r", "user/Practitioner.rs openid", "user/Location.r?status=active"] {
            assert_eq!(narrower(fine, granted).expect(fine), fine);
        }
        for wide in
            ["user/Practitioner.cruds", "user/*.rs", "user/Location.r", "system/Practitioner.r", "fhirUser", "x", ""]
        {
            assert!(narrower(wide, granted).is_err(), "{wide}");
        }
    }
}
