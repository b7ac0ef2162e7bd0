//! People who log in: accounts, attempts, sessions. Nobody learns here which accounts there are.

use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::token::{Account, Grant};
use crate::auth::{digest, random};
use crate::fhir::types::Instant;
use crate::interactions::audit::{self, Event, What};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::records::{self, Record};
use crate::store::shared;

use super::authenticate::is_right;
use super::error::{Code as ErrorCode, OAuthError};
use super::exchange::Code;

const SECOND: i64 = 1_000_000;
/// So many times as many wrong passwords lock an account for all addresses.
const ANYWHERE: u32 = 20;
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

/// Failures in a row for a name, whether there is such an account or not: nobody can tell the two apart. Kept under a digest
/// of the name, or of the name and an address, and forgotten when the lock would end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Attempts {
    /// The name that was tried.
    pub account: String,
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
    // Another one is nobody's.
    let is_name = name.chars().count() <= NAME_MAX && !name.chars().any(char::is_control);
    let name = if is_name { name } else { "" };
    let account = app.store.read(async |conn: &mut Conn| records::get::<Account>(conn, name).await).await?;
    let hash = account.as_ref().map(|account| account.password.clone());
    // The work is the same whether there is such an account, and whether it is locked.
    let fits = is_right(app, password.to_owned(), hash).await?;
    let now = app.now();
    let is_locked = !attempt(app, name, caller.address, fits, now).await?;
    let is_right = fits && !is_locked;
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
        return Err(OAuthError::new(ErrorCode::AccessDenied, sentence));
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

/// Counts an attempt for a name from an address, and for that name from anywhere, where it takes more to lock it: else
/// anybody could keep anybody out. False when one of the two is locked. Decided in one unit of work, so that many attempts at
/// once are as many.
async fn attempt(
    app: &Arc<App>,
    name: &str,
    address: Option<IpAddr>,
    fits: bool,
    now: Instant,
) -> Result<bool, OAuthError> {
    let account = name.to_owned();
    let (here, anywhere) = (digest(&format!("{name}\n{address:?}")), digest(name));
    let auth = app.settings.auth.clone();
    let locked = i64::from(auth.lock_s) * SECOND;
    let counted = app.store.write(async move |conn: &mut Conn| {
        let mut is_open = true;
        shared::lock_name(conn, &anywhere).await?;
        let bounds = [(&here, auth.lock_after), (&anywhere, auth.lock_after.saturating_mul(ANYWHERE))];
        for (key, _) in bounds {
            let known = records::get::<Attempts>(conn, key).await?;
            is_open &= known.is_none_or(|attempts| now.0 >= attempts.locked_until);
        }
        for (key, most) in bounds {
            let known = records::get::<Attempts>(conn, key).await?;
            match (known, is_open) {
                (Some(_), true) if fits => {
                    records::remove::<Attempts>(conn, key).await?;
                }
                // What is locked is not locked for longer by further attempts.
                (known, true) if !fits => {
                    let mut attempts = known.filter(|it| it.locked_until == 0).unwrap_or_default();
                    attempts.account.clone_from(&account);
                    attempts.failures = attempts.failures.saturating_add(1);
                    attempts.locked_until = if attempts.failures >= most { now.0 + locked } else { 0 };
                    records::put(conn, key, &attempts, Some(Instant(now.0 + locked))).await?;
                }
                _ => {}
            }
        }
        Ok::<_, StoreError>(is_open)
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

/// Ends all that hangs on an account: its sessions, and what it granted.
///
/// # Errors
/// [`StoreError`] when the database cannot be used.
pub async fn end_all(conn: &mut Conn, account: &str) -> Result<(), StoreError> {
    records::remove_where::<Session>(conn, |session| session.account == account).await?;
    records::remove_where::<Grant>(conn, |grant| grant.account == account).await?;
    records::remove_where::<Code>(conn, |code| code.grant.account == account).await
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
