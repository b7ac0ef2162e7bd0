//! Secrets of lanes: what this server and one receiver know, for receivers that want a signature by a shared secret
//! (HMAC-SHA256). Kept in the database, sealed; an old one signs along for a while after it was rotated.

use std::sync::Arc;

use moka::sync::Cache;
use serde::{Deserialize, Serialize};

use crate::auth::keys::Seal;
use crate::config;
use crate::fhir::types::Instant;
use crate::store::Store;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::records::{self, Record};

use super::keys::{KeysError, LIVE_MAX, Life, Old, end_of_overlap};
use super::signature::{Key, Secret};

const SECOND: i64 = 1_000_000;
/// Lanes whose secrets are held in memory.
const LANES_MAX: u64 = 10_000;
/// How long they are believed: another node may have rotated them. That a lane has none is believed for a shorter time.
const GOOD_FOR: i64 = 30 * SECOND;
const NONE_GOOD_FOR: i64 = 5 * SECOND;

/// The secrets of a lane as they are kept, under its name: newest first.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Kept {
    secrets: Vec<KeptSecret>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct KeptSecret {
    life: Life,
    /// `whsec_…`, sealed.
    secret: String,
}

impl Record for Kept {
    const KIND: &'static str = "webhook-secret";
}

/// What the secrets of a lane are sealed under.
fn sealed_name(lane: &str) -> String {
    format!("webhook-secret {lane}")
}

impl KeptSecret {
    fn close(seal: &Seal, lane: &str, secret: &Secret, now: Instant) -> Result<Self, KeysError> {
        let secret = seal.close(&sealed_name(lane), secret.expose().as_bytes())?;
        Ok(Self { life: Life::new(now), secret })
    }

    fn open(&self, seal: &Seal, lane: &str) -> Result<(Life, Secret), KeysError> {
        let corrupt = || StoreError::Corrupt(format!("the webhook secret of {lane} is none"));
        let text = String::from_utf8(seal.unclose(&sealed_name(lane), &self.secret)?).map_err(|_no_text| corrupt())?;
        Ok((self.life, Secret::parse(&text).map_err(|_no_secret| corrupt())?))
    }
}

/// What may be told of the secrets of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub lane: String,
    /// Those that sign, newest first: since when, and until when if that is known.
    pub secrets: Vec<(Instant, Option<Instant>)>,
}

struct Held {
    secrets: Vec<(Life, Secret)>,
    read_at: i64,
}

/// The secrets of all lanes. Cheap to clone.
#[derive(Clone)]
pub struct Secrets {
    store: Store,
    seal: Seal,
    held: Cache<String, Arc<Held>>,
}

impl Secrets {
    pub fn new(store: Store, seal: Seal) -> Self {
        Self { store, seal, held: Cache::new(LANES_MAX) }
    }

    /// What signs for a lane now, newest first; nothing when it has no secret. It is at most half a minute old.
    ///
    /// # Errors
    /// [`KeysError::Key`].
    pub async fn signing(&self, lane: &str, now: Instant) -> Result<Vec<Key>, KeysError> {
        let held = match self.held.get(lane).filter(|held| held.is_good(now)) {
            Some(held) => held,
            None => self.read(lane, now).await?,
        };
        let live = held.secrets.iter().filter(|(life, _)| life.is_live(now));
        Ok(live.map(|(_, secret)| Key::Secret(secret.clone())).collect())
    }

    async fn read(&self, lane: &str, now: Instant) -> Result<Arc<Held>, KeysError> {
        let kept = self.store.read(async |conn: &mut Conn| records::get::<Kept>(conn, lane).await).await?;
        let live = kept.unwrap_or_default().secrets.into_iter().filter(|kept| kept.life.is_live(now));
        let secrets = live.map(|kept| kept.open(&self.seal, lane)).collect::<Result<_, _>>()?;
        let held = Arc::new(Held { secrets, read_at: now.0 });
        self.held.insert(lane.to_owned(), Arc::clone(&held));
        Ok(held)
    }

    /// Gives a lane its first secret, the one that is `given` or a new one, and returns it: it is not told again.
    ///
    /// # Errors
    /// [`KeysError::Exists`] when the lane has one; [`KeysError::Key`].
    pub async fn create(&self, lane: &str, given: Option<Secret>, now: Instant) -> Result<Secret, KeysError> {
        let secret = given.map_or_else(Secret::new, Ok)?;
        let kept = Kept { secrets: vec![KeptSecret::close(&self.seal, lane, &secret, now)?] };
        let name = lane.to_owned();
        let created = async move |conn: &mut Conn| {
            // What has expired altogether stands in nobody's way.
            let live = records::get_locked::<Kept>(conn, &name).await?.unwrap_or_default();
            if live.secrets.iter().any(|it| it.life.is_live(now)) {
                return Err(KeysError::Exists { lane: name.clone() });
            }
            records::remove::<Kept>(conn, &name).await?;
            // Somebody else may have been faster.
            let is_new = records::insert(conn, &name, &kept, None).await?;
            if is_new { Ok(()) } else { Err(KeysError::Exists { lane: name.clone() }) }
        };
        self.store.write(created).await?;
        self.held.invalidate(lane);
        Ok(secret)
    }

    /// Gives a lane another secret, the one that is `given` or a new one, and returns it: it is not told again. What sealed the
    /// old ones need not be known. Other nodes sign with it within half a minute.
    ///
    /// # Errors
    /// [`KeysError::Unknown`] when the lane has none, [`KeysError::TooMany`] when so many overlap already; [`KeysError::Key`].
    pub async fn rotate(
        &self,
        settings: &config::Delivery,
        lane: &str,
        given: Option<Secret>,
        old: Old,
        now: Instant,
    ) -> Result<Secret, KeysError> {
        let secret = given.map_or_else(Secret::new, Ok)?;
        let new = KeptSecret::close(&self.seal, lane, &secret, now)?;
        let (name, end) = (lane.to_owned(), end_of_overlap(settings, now));
        let rotated = async move |conn: &mut Conn| {
            let kept = records::get_locked::<Kept>(conn, &name).await?;
            let kept = kept.ok_or_else(|| KeysError::Unknown { lane: name.clone() })?;
            let along = kept.secrets.into_iter().filter(|it| old == Old::Overlaps && it.life.is_live(now));
            let mut secrets = vec![new.clone()];
            secrets.extend(along.map(|it| KeptSecret { life: it.life.until(end), ..it }));
            if secrets.len() > LIVE_MAX {
                return Err(KeysError::TooMany);
            }
            Ok(records::put(conn, &name, &Kept { secrets }, None).await?)
        };
        self.store.write(rotated).await?;
        self.held.invalidate(lane);
        Ok(secret)
    }

    /// Forgets the secrets of a lane: nothing is signed for it with a secret any more. False when it has none.
    ///
    /// # Errors
    /// [`KeysError::Key`].
    pub async fn remove(&self, lane: &str) -> Result<bool, KeysError> {
        let name = lane.to_owned();
        let removed = self.store.write(async move |conn: &mut Conn| records::remove::<Kept>(conn, &name).await).await?;
        self.held.invalidate(lane);
        Ok(removed)
    }

    /// Which lanes have secrets, in order of their names.
    ///
    /// # Errors
    /// [`KeysError::Key`].
    pub async fn list(&self, now: Instant) -> Result<Vec<Listed>, KeysError> {
        let kept = self.store.read(async |conn: &mut Conn| records::list::<Kept>(conn).await).await?;
        let listed = kept.into_iter().map(|(lane, kept)| {
            let live = kept.secrets.iter().map(|it| it.life).filter(|life| life.is_live(now));
            let secrets = live.map(|life| (Instant(life.created_at), life.expires_at.map(Instant))).collect();
            Listed { lane, secrets }
        });
        Ok(listed.collect())
    }
}

impl Held {
    fn is_good(&self, now: Instant) -> bool {
        let good_for = if self.secrets.is_empty() { NONE_GOOD_FOR } else { GOOD_FOR };
        now.0.saturating_sub(self.read_at) < good_for
    }
}
