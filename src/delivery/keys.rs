//! This server's own keys for webhooks (Ed25519): made at first use, kept in the database for all nodes, sealed as the keys of
//! tokens are. A receiver has to be told of a new key, so the old one signs along for a while.

use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::auth::keys::{KeyError, Seal};
use crate::config;
use crate::fhir::types::Instant;
use crate::store::conn::Conn;
use crate::store::error::{StoreError, UnitError};
use crate::store::records::{self, Record};
use crate::store::{Store, shared};

use super::signature::{Key, PrivateKey, PublicKey};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;
/// Keys that sign at the same time, and secrets of one lane that do: each makes every webhook longer.
pub(super) const LIVE_MAX: usize = 4;
/// What nodes hold while they change the keys.
const LOCK: &str = "webhook keys";
/// How often we look whether another node has changed them.
const LOOK_AGAIN: i64 = 60 * SECOND;

/// Why there is no key, or no secret.
#[derive(Debug, Error)]
pub enum KeysError {
    #[error("there is a secret for {lane} already; it can be rotated")]
    Exists { lane: String },
    #[error("there is no secret for {lane}")]
    Unknown { lane: String },
    #[error("{LIVE_MAX} keys sign already; wait until the first of them expires, or drop the old ones")]
    TooMany,
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl From<StoreError> for KeysError {
    fn from(error: StoreError) -> Self {
        Self::Key(error.into())
    }
}

impl From<ErrorStack> for KeysError {
    fn from(error: ErrorStack) -> Self {
        Self::Key(error.into())
    }
}

impl UnitError for KeysError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Key(error) => error.store_error(),
            _ => None,
        }
    }
}

/// What becomes of the old key or secret when there is a new one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Old {
    /// It signs along for `delivery.key_overlap_days`.
    Overlaps,
    /// It is gone at once: it has become known to somebody, or what sealed it is lost.
    Goes,
}

/// From when to when something signs, in microseconds since 1970; without an end until it is rotated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Life {
    pub created_at: i64,
    pub expires_at: Option<i64>,
}

impl Life {
    pub fn new(now: Instant) -> Self {
        Self { created_at: now.0, expires_at: None }
    }

    pub fn is_live(self, now: Instant) -> bool {
        self.expires_at.is_none_or(|end| now.0 < end)
    }

    /// The same, ended by this moment.
    pub fn until(self, end: Instant) -> Self {
        Self { expires_at: Some(self.expires_at.map_or(end.0, |own| own.min(end.0))), ..self }
    }
}

/// When what is rotated now ends.
pub(super) fn end_of_overlap(settings: &config::Delivery, now: Instant) -> Instant {
    Instant(now.0 + i64::from(settings.key_overlap_days) * DAY)
}

/// A key as it is kept, under its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    life: Life,
    /// `whsk_…`, sealed.
    private: String,
}

impl Record for Kept {
    const KIND: &'static str = "webhook-key";
}

/// What a key is sealed under.
fn sealed_name(id: &str) -> String {
    format!("webhook-key {id}")
}

struct Own {
    id: String,
    life: Life,
    private: PrivateKey,
    public: PublicKey,
}

impl Own {
    fn open(seal: &Seal, id: String, kept: &Kept) -> Result<Self, KeysError> {
        let corrupt = || StoreError::Corrupt(format!("the webhook key {id} is none"));
        let text = String::from_utf8(seal.unclose(&sealed_name(&id), &kept.private)?).map_err(|_no_text| corrupt())?;
        let private = PrivateKey::parse(&text).map_err(|_no_key| corrupt())?;
        let public = private.public()?;
        Ok(Self { id, life: kept.life, private, public })
    }
}

/// The keys as they were when we last looked, newest first.
pub struct Ring {
    keys: Vec<Own>,
    looked_at: i64,
}

impl Ring {
    /// The keys that sign now, newest first.
    pub fn signing(&self, now: Instant) -> Vec<Key> {
        self.live(now).map(|own| Key::Ed25519(own.private.clone())).collect()
    }

    /// Their public halves, newest first: `{"keys": [{"id", "key": "whpk_…", "created", "expires"}]}`. `expires` is null until
    /// the key is rotated.
    pub fn public(&self, now: Instant) -> Value {
        let told = |own: &Own| {
            let expires = own.life.expires_at.map(|end| Instant(end).to_fhir());
            let created = Instant(own.life.created_at).to_fhir();
            json!({"id": own.id, "key": own.public.to_string(), "created": created, "expires": expires})
        };
        json!({"keys": self.live(now).map(told).collect::<Vec<_>>()})
    }

    /// The same as a JWK Set (RFC 8037).
    pub fn jwks(&self, now: Instant) -> Value {
        let jwk = |own: &Own| {
            let x = URL_SAFE_NO_PAD.encode(own.public.bytes());
            json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": own.id, "use": "sig", "alg": "EdDSA"})
        };
        json!({"keys": self.live(now).map(jwk).collect::<Vec<_>>()})
    }

    fn live(&self, now: Instant) -> impl Iterator<Item = &Own> {
        self.keys.iter().filter(move |own| own.life.is_live(now))
    }
}

/// The ring of this process, and where it comes from.
pub struct Keys {
    store: Store,
    seal: Seal,
    ring: ArcSwap<Ring>,
}

impl Keys {
    /// Reads the keys, and makes the first one if there is none.
    ///
    /// # Errors
    /// [`KeysError::Key`].
    pub async fn open(store: Store, seal: Seal, now: Instant) -> Result<Self, KeysError> {
        let keys = Self { store, seal, ring: ArcSwap::from_pointee(Ring { keys: Vec::new(), looked_at: i64::MIN }) };
        keys.refresh(now).await?;
        Ok(keys)
    }

    pub fn ring(&self) -> Arc<Ring> {
        self.ring.load_full()
    }

    /// Reads the keys again if a minute has passed since the last time: another node may have rotated them.
    ///
    /// # Errors
    /// [`KeysError::Key`]; the ring stays as it is then.
    pub async fn refresh_if_due(&self, now: Instant) -> Result<(), KeysError> {
        if now.0.saturating_sub(self.ring.load().looked_at) < LOOK_AGAIN {
            return Ok(());
        }
        self.refresh(now).await
    }

    /// Makes a new key, which signs at once, and returns its id. Other nodes sign with it within a minute.
    ///
    /// # Errors
    /// As [`rotate`].
    pub async fn rotate(&self, settings: &config::Delivery, old: Old, now: Instant) -> Result<String, KeysError> {
        let id = rotate(&self.store, &self.seal, settings, old, now).await?;
        self.refresh(now).await?;
        Ok(id)
    }

    async fn refresh(&self, now: Instant) -> Result<(), KeysError> {
        let mut kept = self.store.read(async |conn: &mut Conn| records::list::<Kept>(conn).await).await?;
        if !kept.iter().any(|(_, kept)| kept.life.is_live(now)) {
            let seal = self.seal.clone();
            let first = async move |conn: &mut Conn| {
                // Nodes that start together make one key, not each its own.
                shared::lock_name(conn, LOCK).await?;
                if !records::list::<Kept>(conn).await?.iter().any(|(_, kept)| kept.life.is_live(now)) {
                    make(conn, &seal, now).await?;
                }
                Ok::<_, KeysError>(records::list::<Kept>(conn).await?)
            };
            kept = self.store.write(first).await?;
        }
        kept.retain(|(_, kept)| kept.life.is_live(now));
        let opened = kept.into_iter().map(|(id, kept)| Own::open(&self.seal, id, &kept));
        let mut keys = opened.collect::<Result<Vec<_>, _>>()?;
        keys.sort_by(|a, b| b.life.created_at.cmp(&a.life.created_at).then_with(|| a.id.cmp(&b.id)));
        self.ring.store(Arc::new(Ring { keys, looked_at: now.0 }));
        Ok(())
    }
}

/// Makes a new key and returns its id. What sealed the old ones need not be known when they go.
///
/// # Errors
/// [`KeysError::TooMany`] when so many keys overlap already; [`KeysError::Key`]. Then all is as it was.
pub async fn rotate(
    store: &Store,
    seal: &Seal,
    settings: &config::Delivery,
    old: Old,
    now: Instant,
) -> Result<String, KeysError> {
    let (seal, end) = (seal.clone(), end_of_overlap(settings, now));
    let rotated = async move |conn: &mut Conn| {
        shared::lock_name(conn, LOCK).await?;
        let mut live = 0;
        for (id, kept) in records::list::<Kept>(conn).await? {
            if old == Old::Goes || !kept.life.is_live(now) {
                records::remove::<Kept>(conn, &id).await?;
                continue;
            }
            live += 1;
            let life = kept.life.until(end);
            records::put(conn, &id, &Kept { life, ..kept }, life.expires_at.map(Instant)).await?;
        }
        if live >= LIVE_MAX {
            return Err(KeysError::TooMany);
        }
        make(conn, &seal, now).await
    };
    store.write(rotated).await
}

async fn make(conn: &mut Conn, seal: &Seal, now: Instant) -> Result<String, KeysError> {
    let id = uuid::Uuid::new_v4().to_string();
    let private = seal.close(&sealed_name(&id), PrivateKey::generate()?.expose()?.as_bytes())?;
    records::insert(conn, &id, &Kept { life: Life::new(now), private }, None).await?;
    Ok(id)
}
