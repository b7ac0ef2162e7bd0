//! Keys of others, fetched from where they publish them and kept as long as they say.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::Algorithm;
use moka::sync::Cache;
use tokio::sync::Mutex;

use crate::fhir::types::Instant;
use crate::net;

use super::jwt::KeySet;

/// Bytes of a set.
const BYTES_MAX: usize = 262_144;
/// Sets that are kept.
const SETS_MAX: u64 = 1_000;
const SECOND: i64 = 1_000_000;
/// How long a set is good for whose server does not say, and at most.
const AGE_DEFAULT: Duration = Duration::from_secs(300);
const AGE_MAX: Duration = Duration::from_secs(86_400);
/// Somebody who names an unknown key has a set fetched again, but not more often than this.
const AGAIN_AFTER: i64 = SECOND;

struct Known {
    keys: KeySet,
    fetched_at: i64,
    good_until: i64,
}

/// The key sets of clients and of other authorization servers.
pub struct RemoteKeys {
    client: net::Client,
    known: Cache<String, Arc<Known>>,
    /// Held while a set is fetched: who wants the same one waits for it.
    fetching: Cache<String, Arc<Mutex<()>>>,
}

impl RemoteKeys {
    pub fn new(client: net::Client) -> Self {
        Self {
            client,
            known: Cache::builder().max_capacity(SETS_MAX).time_to_live(AGE_MAX).build(),
            fetching: Cache::builder().max_capacity(SETS_MAX).build(),
        }
    }

    /// The set at a URL, with a key of this name if there is one there. No set that its server does not vouch for any more is
    /// used, even if it cannot be fetched again.
    pub async fn at(&self, url: &str, kid: &str, algorithm: Algorithm, now: Instant) -> Option<KeySet> {
        if let Some(keys) = self.usable(url, kid, algorithm, now) {
            return Some(keys);
        }
        let turn = self.fetching.get_with(url.to_owned(), Arc::default);
        let _turn = turn.lock().await;
        if let Some(keys) = self.usable(url, kid, algorithm, now) {
            return Some(keys);
        }
        match self.fetch(url, now).await {
            Ok(known) => {
                let keys = known.keys.clone();
                self.known.insert(url.to_owned(), Arc::new(known));
                Some(keys)
            }
            Err(reason) => {
                tracing::warn!(url, reason, "a JWK Set cannot be used");
                // Who asks for a key that nobody has does not make us call again and again.
                let kept = self.known.get(url).filter(|known| now.0 < known.good_until);
                let (keys, good_until) = kept
                    .map_or((KeySet::default(), now.0 + AGAIN_AFTER), |known| (known.keys.clone(), known.good_until));
                self.known.insert(url.to_owned(), Arc::new(Known { keys, fetched_at: now.0, good_until }));
                None
            }
        }
    }

    fn usable(&self, url: &str, kid: &str, algorithm: Algorithm, now: Instant) -> Option<KeySet> {
        let known = self.known.get(url)?;
        let is_fresh = now.0 < known.fetched_at + AGAIN_AFTER;
        let has_key = known.keys.find(kid, algorithm).is_some();
        (now.0 < known.good_until && (is_fresh || has_key)).then(|| known.keys.clone())
    }

    async fn fetch(&self, url: &str, now: Instant) -> Result<Known, String> {
        let fetched = self.client.get_json(url, BYTES_MAX).await.map_err(|error| error.to_string())?;
        let keys = KeySet::parse(&fetched.body)?;
        let age = fetched.max_age.unwrap_or(AGE_DEFAULT).min(AGE_MAX);
        let good_until = now.0 + i64::try_from(age.as_micros()).unwrap_or(i64::MAX / 4);
        Ok(Known { keys, fetched_at: now.0, good_until })
    }
}
