//! What every interaction works with: built once, shared by reference.

mod clock;
mod turns;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use tokio::sync::{OnceCell, Semaphore, SemaphorePermit, watch};

use crate::auth::caller::Identity;
use crate::auth::client::Client;
use crate::auth::issuers::Issuers;
use crate::auth::jwks::RemoteKeys;
use crate::auth::keys::{KeyError, Keys, Seal};
use crate::auth::scope::Scopes;
use crate::auth::token::{TokenError, Tokens};
use crate::config::Settings;
use crate::fhir::terminology::Terminology;
use crate::fhir::types::Instant;
use crate::limits::Limits;
use crate::net;
use crate::search::extract::Extractor;
use crate::search::page::Signature;
use crate::search::parse::{Context, Handling};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::{self, Store, records, shared};
use crate::validate::Validator;
pub use clock::Clock;
pub use turns::Turns;

/// Bytes of the key that signs page cursors.
const CURSOR_KEY_BYTES: usize = 32;

/// Microseconds after its end that what authorization keeps is forgotten.
const PURGED_AFTER: i64 = 600_000_000;

/// Bundles that are worked on at once: one is taken apart while the store writes another.
const BUNDLES_PER_CORE: usize = 2;

/// The running directory.
pub struct App {
    pub store: Store,
    pub settings: Settings,
    pub terminology: Arc<Terminology>,
    pub signature: Signature,
    /// What writes are held to.
    pub validator: Arc<Validator>,
    /// Base URLs under which references are this server's own; the first one is how the server names itself.
    pub bases: Vec<String>,
    pub clock: Clock,
    /// Who sends no token.
    pub anonymous: Arc<Identity>,
    /// The name of this directory, whatever its URL: `urn:uuid:…`. The same for all nodes of one database.
    pub urn: String,
    /// Keys of clients and of other authorization servers.
    pub remote_keys: Arc<RemoteKeys>,
    tokens: OnceCell<Tokens>,
    /// Refusals that were not recorded, since there were too many.
    pub unrecorded: AtomicU64,
    /// How often one client may ask.
    pub limits: Limits,
    /// Where the web pages of registered SMART clients come from: `https://app.example`, as browsers write it (RFC 6454, 6.2).
    /// Pages from elsewhere may read what everybody may read, and nothing else.
    pub origins: ArcSwap<HashSet<String>>,
    /// Changes when changes have been fanned out to their subscribers: the position of the last one.
    pub fanned_out: watch::Sender<i64>,
    /// True when the server is about to end: what waits for news comes to its end then.
    pub stopping: watch::Sender<bool>,
    bundles: Semaphore,
    /// For operations of terminology.
    pub turns: Turns,
    /// Told when an export was asked for or removed, so that nobody has to look all the time.
    pub exports: watch::Sender<()>,
}

/// The bounds of the store, from the settings.
pub fn store_limits(settings: &Settings) -> store::Limits {
    store::Limits {
        search_ms: settings.search.limit_ms,
        search_inline_ms: settings.search.inline_ms,
        readers: settings.store.readers,
        writers: settings.store.writers,
        queue_max: settings.store.queue_max,
    }
}

impl App {
    /// Takes the opened store into service.
    ///
    /// # Errors
    /// [`StoreError`] when the key that all nodes share cannot be read.
    pub async fn new(
        store: Store,
        settings: Settings,
        validator: Arc<Validator>,
        bases: Vec<String>,
    ) -> Result<Arc<Self>, StoreError> {
        let mut fresh = [0; CURSOR_KEY_BYTES];
        openssl::rand::rand_bytes(&mut fresh).map_err(StoreError::unavailable)?;
        let name = uuid::Uuid::new_v4();
        let (key, name) = store
            .write(async move |conn: &mut Conn| {
                let key = shared::get_or_insert(conn, "cursor-key", &fresh).await?;
                Ok::<_, StoreError>((key, shared::get_or_insert(conn, "directory", name.as_bytes()).await?))
            })
            .await?;
        let name = uuid::Uuid::from_slice(&name).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let client = net::Client::new(&settings.net).map_err(StoreError::unavailable)?;
        let signature = Signature::new(&key).map_err(StoreError::unavailable)?;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let bundles = Semaphore::new(cores * BUNDLES_PER_CORE);
        let terminology = Arc::clone(validator.terminology());
        let turns = Turns::new(cores);
        let anonymous = Arc::new(Identity::anonymous(Scopes::parse(&settings.auth.anonymous_scope)));
        let limits = Limits::new(&settings.limits);
        let origins = ArcSwap::default();
        Ok(Arc::new(Self {
            store,
            settings,
            terminology,
            signature,
            validator,
            bases,
            clock: Clock::default(),
            anonymous,
            urn: name.urn().to_string(),
            remote_keys: Arc::new(RemoteKeys::new(client)),
            tokens: OnceCell::new(),
            unrecorded: AtomicU64::new(0),
            limits,
            origins,
            fanned_out: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            bundles,
            turns,
            exports: watch::Sender::new(()),
        }))
    }

    /// A turn at a Bundle, held until it is answered: taken apart, a Bundle is many times as large as its text.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`] when the server ends.
    pub async fn bundle_turn(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.bundles.acquire().await.map_err(|_closed| StoreError::Cancelled)
    }

    /// What issues and checks tokens; its keys are read, or made, when it is first asked for.
    ///
    /// # Errors
    /// [`KeyError`] when the signing keys cannot be used.
    pub async fn tokens(&self) -> Result<&Tokens, KeyError> {
        let open = async || {
            let auth = &self.settings.auth;
            let seal = self.seal()?;
            let keys = Keys::open(&self.store, seal, auth.key_days, self.now()).await?;
            let names = self.bases.iter().chain([&self.urn]).cloned().collect();
            let issuers = Issuers::new(auth.issuers.clone(), Arc::clone(&self.remote_keys), self.bases.clone());
            Ok(Tokens::new(self.store.clone(), keys, names, issuers))
        };
        self.tokens.get_or_try_init(open).await
    }

    /// What seals the signing keys.
    ///
    /// # Errors
    /// [`KeyError`] when it cannot be read.
    pub fn seal(&self) -> Result<Seal, KeyError> {
        Seal::open(self.settings.auth.key.as_ref().map(|key| key.expose()), &self.settings.data)
    }

    /// Learns where the pages of clients come from that were registered meanwhile.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn learn_origins(&self) -> Result<(), StoreError> {
        let clients = self.store.read(async |conn: &mut Conn| records::list::<Client>(conn).await).await?;
        self.origins.store(Arc::new(clients.iter().flat_map(|(_, client)| client.origins()).collect()));
        Ok(())
    }

    /// Forgets what authorization keeps and is over, and replaces its keys when they are due.
    ///
    /// # Errors
    /// [`TokenError`] when the database cannot be used.
    pub async fn tidy(&self) -> Result<(), TokenError> {
        let now = self.now();
        // Late: another node's clock may be behind.
        let over = Instant(now.0 - PURGED_AFTER);
        self.store.write(async move |conn: &mut Conn| records::purge(conn, over).await).await?;
        self.tokens().await?.refresh_keys(now).await
    }

    /// How the server names itself: base URL without a trailing slash.
    pub fn base(&self) -> &str {
        self.bases.first().map_or("", String::as_str)
    }

    /// Now, to the millisecond: what `meta.lastUpdated` can show.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    pub fn extractor(&self) -> Extractor<'_> {
        Extractor { bases: &self.bases }
    }

    /// What a query is read against.
    pub fn search_context(&self, handling: Handling) -> Context<'_> {
        Context {
            bases: &self.bases,
            now: self.now(),
            handling,
            terminology: &self.terminology,
            count_default: self.settings.search.count_default,
            count_max: self.settings.search.count_max,
        }
    }
}
