//! Access tokens (RFC 9068): issued here as short-lived JWTs, and checked wherever one is shown. Tokens of other
//! authorization servers that the settings trust are checked in the same place.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::fhir::types::Instant;
use crate::store::Store;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::records::{self, Record};

use super::caller::{Identity, Kind, Role, Thumbprint, User};
use super::client::Client;
use super::issuers::Issuers;
use super::jwt::{self, TOKEN_BYTES_MAX};
use super::keys::{ACCESS, KeyError, Keys};
use super::scope::Scopes;

/// The `typ` of an access token.
const TYPE: &str = "at+jwt";
/// Tokens that are remembered as verified, and for how long at most.
const CACHED_MAX: u64 = 10_000;
const CACHED_FOR: Duration = Duration::from_secs(3_600);
/// Microseconds after which a remembered token is asked about again: it may have been revoked on another node.
const STANDING: i64 = 5_000_000;

#[derive(Debug, Error)]
pub enum TokenError {
    /// Told to whoever shows the token.
    #[error("{0}")]
    Invalid(&'static str),
    #[error("the signing keys cannot be used")]
    Keys(#[from] KeyError),
    #[error("the token could not be signed")]
    Sign(#[from] jsonwebtoken::errors::Error),
    #[error(transparent)]
    Store(#[from] StoreError),
}

const INVALID: TokenError = TokenError::Invalid("The access token is not one that this server accepts.");
const EXPIRED: TokenError = TokenError::Invalid("The access token has expired.");
const REVOKED: TokenError = TokenError::Invalid("The access token is not valid any more.");
const UNBOUND: TokenError =
    TokenError::Invalid("The access token is bound to a client certificate, which this connection was not made with.");

/// What an access token says (RFC 9068, section 2.2; SMART App Launch 2.2).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    pub iss: String,
    pub sub: String,
    pub aud: String,
    /// Seconds since 1970, as all times here.
    pub exp: i64,
    pub iat: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nbf: Option<i64>,
    pub jti: String,
    /// Of the app; none for a token that the command line made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// When that app was registered: another one may have its id one day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_since: Option<i64>,
    pub scope: String,
    /// The account of the user who let the app in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    #[serde(rename = "fhirUser", skip_serializing_if = "Option::is_none")]
    pub fhir_user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// What the user granted; with it ends the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grant: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cnf: Option<Confirmation>,
}

/// The certificate that a token is bound to (RFC 8705, section 3.1).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confirmation {
    #[serde(rename = "x5t#S256")]
    pub thumbprint: String,
}

/// A token, or all of a grant's, that was taken back; kept until it would have ended.
#[derive(Serialize, Deserialize)]
pub struct Revoked {}

impl Record for Revoked {
    const KIND: &'static str = "revoked";
}

/// What the user of an app granted to it. Ends when it is removed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Grant {
    pub client_id: String,
    pub account: String,
    pub scope: String,
    pub patient: Option<String>,
    /// The launch context as the app is told it, beside the token.
    #[serde(default)]
    pub context: serde_json::Map<String, Value>,
    /// Seconds since 1970 at which the user logged in.
    pub auth_time: i64,
}

impl Record for Grant {
    const KIND: &'static str = "grant";
}

/// A person who can log in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// As argon2 has it.
    pub password: String,
    pub fhir_user: Option<String>,
    pub role: String,
}

impl Record for Account {
    const KIND: &'static str = "account";
}

/// A token that was verified.
struct Verified {
    identity: Arc<Identity>,
    claims: Claims,
    is_own: bool,
    /// When it was last known to stand.
    stood_at: AtomicI64,
}

/// Issues tokens and checks them.
pub struct Tokens {
    store: Store,
    keys: Keys,
    /// The names under which this server is an issuer and an audience; the first is the one it uses.
    names: Vec<String>,
    issuers: Issuers,
    verified: Cache<[u8; 32], Arc<Verified>>,
}

impl Tokens {
    pub fn new(store: Store, keys: Keys, names: Vec<String>, issuers: Issuers) -> Self {
        let verified = Cache::builder().max_capacity(CACHED_MAX).time_to_live(CACHED_FOR).build();
        Self { store, keys, names, issuers, verified }
    }

    /// Looks whether there are new keys, when that is due.
    ///
    /// # Errors
    /// [`TokenError`] when they cannot be read.
    pub async fn refresh_keys(&self, now: Instant) -> Result<(), TokenError> {
        if self.keys.refresh_if_due(&self.store, now, false).await? {
            self.forget();
        }
        Ok(())
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Signs a token.
    ///
    /// # Errors
    /// [`TokenError`] when there is no key, or it does not work.
    pub async fn issue(&self, claims: &Claims, now: Instant) -> Result<String, TokenError> {
        self.refresh_keys(now).await?;
        let ring = self.keys.ring();
        let key = ring.signing(ACCESS, now).ok_or(INVALID)?;
        Ok(key.sign(TYPE, claims)?)
    }

    /// Who shows a token.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] for a token that is not to be accepted; the others when that cannot be told.
    pub async fn identify(
        &self,
        token: &str,
        now: Instant,
        certificate: Option<&Thumbprint>,
    ) -> Result<Arc<Identity>, TokenError> {
        let verified = self.verified(token, now).await?;
        if verified.identity.certificate.as_ref().is_some_and(|bound| certificate != Some(bound)) {
            return Err(UNBOUND);
        }
        Ok(Arc::clone(&verified.identity))
    }

    /// The claims of a token that is valid, whoever shows it.
    ///
    /// # Errors
    /// As [`Self::identify`].
    pub async fn claims(&self, token: &str, now: Instant) -> Result<Claims, TokenError> {
        let verified = self.verified(token, now).await?;
        if verified.is_own { Ok(verified.claims.clone()) } else { Err(INVALID) }
    }

    /// Forgets what was verified, so that a revocation holds at once. Other nodes ask again within seconds.
    pub fn forget(&self) {
        self.verified.invalidate_all();
    }

    async fn verified(&self, token: &str, now: Instant) -> Result<Arc<Verified>, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(INVALID);
        }
        let digest = openssl::sha::sha256(token.as_bytes());
        let verified = match self.verified.get(&digest) {
            Some(known) => known,
            None => {
                let new = Arc::new(self.verify(token, now).await?);
                if now.0 < new.claims.exp.saturating_mul(1_000_000) {
                    self.verified.insert(digest, Arc::clone(&new));
                }
                new
            }
        };
        if now.0 >= verified.claims.exp.saturating_mul(1_000_000) {
            return Err(EXPIRED);
        }
        let stood_at = verified.stood_at.load(Ordering::Relaxed);
        if verified.is_own && now.0 - stood_at >= STANDING {
            if !self.stands(&verified.claims).await? {
                self.verified.invalidate(&digest);
                return Err(REVOKED);
            }
            verified.stood_at.store(now.0, Ordering::Relaxed);
        }
        Ok(verified)
    }

    async fn verify(&self, token: &str, now: Instant) -> Result<Verified, TokenError> {
        let unverified = jwt::peek(token).ok_or(INVALID)?;
        let issuer = unverified.claims.get("iss").and_then(Value::as_str).ok_or(INVALID)?;
        if !self.names.iter().any(|name| name == issuer) {
            let (identity, exp) = self.issuers.identify(token, issuer, now).await.ok_or(INVALID)?;
            let claims = Claims { exp, ..Claims::default() };
            return Ok(Verified {
                identity: Arc::new(identity),
                claims,
                is_own: false,
                stood_at: AtomicI64::new(now.0),
            });
        }
        let kid = unverified.header.kid.as_deref().ok_or(INVALID)?;
        if self.keys.ring().public.find(kid, ACCESS).is_none() {
            let has_gone = self.keys.refresh_if_due(&self.store, now, true).await?;
            if has_gone {
                self.forget();
            }
        }
        // An id_token is signed by this server as well, but lets nobody in.
        if unverified.header.typ.as_deref() != Some(TYPE) {
            return Err(INVALID);
        }
        let claims = jwt::verify(token, &self.keys.ring().public, &[ACCESS]).ok_or(INVALID)?;
        let claims: Claims = serde_json::from_value(claims).map_err(|_other| INVALID)?;
        let now_s = now.0.div_euclid(1_000_000);
        if !self.names.contains(&claims.aud) || claims.nbf.is_some_and(|at| at > now_s) {
            return Err(INVALID);
        }
        let identity = Arc::new(identity(&claims).ok_or(INVALID)?);
        // Never asked about yet.
        Ok(Verified { identity, claims, is_own: true, stood_at: AtomicI64::new(i64::MIN / 2) })
    }

    /// Whether nobody took a token back, and whoever it was given to is still there.
    async fn stands(&self, claims: &Claims) -> Result<bool, StoreError> {
        let mut names = vec![(Revoked::KIND, claims.jti.as_str())];
        names.extend(claims.account.as_deref().map(|name| (Account::KIND, name)));
        names.extend(claims.grant.as_deref().map(|id| (Grant::KIND, id)));
        let client = claims.client_id.as_deref();
        let (known, client) = self
            .store
            .read(async |conn: &mut Conn| {
                let found = match client {
                    Some(id) => records::get::<Client>(conn, id).await?,
                    None => None,
                };
                Ok::<_, StoreError>((records::known(conn, &names).await?, found))
            })
            .await?;
        let is_its = claims.client_id.is_none() || client.map(|client| client.created_at) == claims.client_since;
        Ok(is_its && names.iter().zip(known).all(|((kind, _), is_known)| is_known != (*kind == Revoked::KIND)))
    }
}

fn identity(claims: &Claims) -> Option<Identity> {
    let certificate = match &claims.cnf {
        Some(bound) => Some(super::client_certificate(&bound.thumbprint)?),
        None => None,
    };
    let role = match claims.role.as_deref() {
        Some(role) => Some(Role::parse(role)?),
        None => None,
    };
    let user = claims.account.clone().map(|name| User {
        name,
        fhir_user: claims.fhir_user.clone(),
        role: role.unwrap_or(Role::Member),
    });
    Some(Identity {
        kind: Kind::Token,
        issuer: None,
        client: Some(claims.client_id.clone().unwrap_or_else(|| claims.sub.clone())),
        client_since: claims.client_since,
        grant: claims.grant.clone(),
        user,
        scopes: Scopes::parse(&claims.scope),
        patient: claims.patient.clone(),
        certificate,
    })
}
