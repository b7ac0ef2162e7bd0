//! People who log in: accounts, attempts, sessions. Nobody learns here which accounts there are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::token::Account;
use crate::auth::{digest, random};
use crate::fhir::types::Instant;
use crate::interactions::audit::{self, Event, What};
use crate::store::conn::Conn;
use crate::store::records::{self, Record};

use super::authenticate::is_right;
use super::error::{Code, OAuthError};

const SECOND: i64 = 1_000_000;
/// Characters of an account's name.
const NAME_MAX: usize = 200;

/// A person who is logged in with a browser; kept under the digest of that browser's cookie.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    pub account: String,
    /// Seconds since 1970.
    pub logged_in_at: i64,
    expires_at: i64,
}

impl Record for Session {
    const KIND: &'static str = "session";
}

/// Failures in a row for a name, whether there is such an account or not: nobody can tell the two apart. Kept under the
/// digest of the name, and forgotten when the lock would end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Attempts {
    failures: u32,
    /// Microseconds since 1970 until which no more attempts are taken.
    pub locked_until: i64,
}

impl Record for Attempts {
    const KIND: &'static str = "attempts";
}

/// Checks name and password. The second part is the secret of the session, for a cookie.
///
/// # Errors
/// `access_denied` for a wrong name or password and for a locked account alike.
pub async fn log_in(
    app: &Arc<App>,
    caller: &Caller,
    client_id: &str,
    name: &str,
    password: &str,
) -> Result<(Session, String), OAuthError> {
    // A longer one is nobody's.
    let name = if name.chars().count() <= NAME_MAX { name } else { "" };
    let key = digest(name);
    let (account, attempts) = app
        .store
        .read(async |conn: &mut Conn| {
            let account = records::get::<Account>(conn, name).await?;
            Ok::<_, OAuthError>((account, records::get::<Attempts>(conn, &key).await?.unwrap_or_default()))
        })
        .await?;
    let now = app.now();
    let is_locked = now.0 < attempts.locked_until;
    let hash = account.as_ref().map(|account| account.password.clone());
    // The work is the same whether there is such an account, and whether it is locked.
    let is_right = is_right(app, password.to_owned(), hash).await? && !is_locked;
    if is_right && attempts.failures > 0 {
        app.store.write(async move |conn: &mut Conn| records::remove::<Attempts>(conn, &key).await).await?;
    } else if !is_right {
        failed(app, key, now).await?;
    }
    let description = match (is_right, is_locked) {
        (true, _) => "logged in",
        (false, true) => "refused: the account is locked",
        (false, false) => "refused: wrong name or password",
    };
    let known = account.is_some().then_some(name);
    let event = Event {
        what: What::Login,
        is_success: is_right,
        description: description.into(),
        client: Some(client_id),
        account: known,
    };
    audit::record(app, caller, event).await?;
    if !is_right {
        let sentence =
            "The name or the password is wrong, or the account is locked for a while after too many attempts.";
        return Err(OAuthError::new(Code::AccessDenied, sentence));
    }
    let secret = random()?;
    let expires_at = now.0 + i64::from(app.settings.auth.online_s) * SECOND;
    let session = Session { account: name.to_owned(), logged_in_at: now.0 / SECOND, expires_at };
    let (kept, key) = (session.clone(), digest(&secret));
    app.store
        .write(async move |conn: &mut Conn| records::put(conn, &key, &kept, Some(Instant(expires_at))).await)
        .await?;
    Ok((session, secret))
}

/// Counts a failure, and locks after too many in a row.
async fn failed(app: &Arc<App>, key: String, now: Instant) -> Result<(), OAuthError> {
    let auth = app.settings.auth.clone();
    let counted = app.store.write(async move |conn: &mut Conn| {
        let mut attempts = records::get_locked::<Attempts>(conn, &key).await?.unwrap_or_default();
        let locked = i64::from(auth.lock_s) * SECOND;
        // What is locked is not locked for longer by further attempts: else anybody could keep anybody out for good.
        if now.0 >= attempts.locked_until {
            attempts.failures = if attempts.locked_until > 0 { 1 } else { attempts.failures.saturating_add(1) };
            let is_full = attempts.failures >= auth.lock_after;
            attempts.locked_until = if is_full { now.0 + locked } else { 0 };
        }
        let ends = Instant(attempts.locked_until.max(now.0 + locked));
        records::put(conn, &key, &attempts, Some(ends)).await
    });
    Ok(counted.await?)
}

/// The session of a browser, and the account behind it, if both still are.
///
/// # Errors
/// When the database cannot be used.
pub async fn session(app: &Arc<App>, secret: &str) -> Result<Option<(Session, Account)>, OAuthError> {
    let (key, now) = (digest(secret), app.now());
    let found = app.store.read(async |conn: &mut Conn| {
        let Some(session) = records::get::<Session>(conn, &key).await? else { return Ok(None) };
        let account = records::get::<Account>(conn, &session.account).await?;
        Ok::<_, OAuthError>(account.filter(|_| now.0 < session.expires_at).map(|account| (session, account)))
    });
    found.await
}

/// Ends the session of a browser.
///
/// # Errors
/// When the database cannot be used.
pub async fn log_out(app: &Arc<App>, caller: &Caller, secret: &str) -> Result<(), OAuthError> {
    let Some((session, _)) = session(app, secret).await? else { return Ok(()) };
    let key = digest(secret);
    app.store.write(async move |conn: &mut Conn| records::remove::<Session>(conn, &key).await).await?;
    let event = Event {
        what: What::Logout,
        is_success: true,
        description: "logged out".into(),
        client: None,
        account: Some(&session.account),
    };
    Ok(audit::record(app, caller, event).await?)
}
