//! This server's own signing keys: one for access tokens (ES384) and one for id_tokens (RS256, as SMART demands). They are
//! made at first use, kept in the database for all nodes, sealed with a key that is not in it, and replaced in time.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Algorithm;
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

use crate::fhir::types::Instant;
use crate::store::conn::Conn;
use crate::store::error::{StoreError, UnitError};
use crate::store::records::{self, Record};
use crate::store::{Store, shared};

use super::jwt::{KeySet, SigningKey};

/// The algorithm of access tokens, and that of id_tokens.
pub const ACCESS: Algorithm = Algorithm::ES384;
pub const ID: Algorithm = Algorithm::RS256;

/// The longest life of a token.
pub const TOKEN_DAYS_MAX: i64 = 30;

const SECOND: i64 = 1_000_000;
/// A key is published so long before it signs: those who verify by a copy of the set get it in time.
const PUBLISHED_BEFORE: i64 = 3_600 * SECOND;
/// A key that signs no more stays published so long: longer than any token lives.
const KEPT_AFTER: i64 = (TOKEN_DAYS_MAX + 1) * 86_400 * SECOND;
/// What nodes hold while they change the keys.
const LOCK: &str = "signing keys";
/// How often somebody who names an unknown key makes us look into the database.
const LOOK_AGAIN: i64 = 5 * SECOND;
/// How often we look anyway.
const LOOK_ANYWAY: i64 = 60 * SECOND;

const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 16;
const SEAL_BYTES: usize = 32;

#[derive(Debug, Error)]
pub enum KeyError {
    #[error("the key file {} cannot be used", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("the key file {} can be read by others; chmod 600 it", path.display())]
    Open { path: PathBuf },
    #[error("{place} is no key: it is 32 bytes in base64, as `openssl rand -base64 32` prints them")]
    NoKey { place: String },
    #[error(
        "the signing keys in the database are sealed with another key than {place} holds; every node needs the same, as a copy of that file or in PLUMBLINE_AUTH__KEY"
    )]
    OtherSeal { place: String },
    #[error("OpenSSL could not make or read a key")]
    Crypto(#[from] openssl::error::ErrorStack),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl UnitError for KeyError {
    fn store_error(&self) -> Option<&StoreError> {
        match self {
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}

/// What seals private keys and secrets in the database: 32 bytes from the settings, or from a file that only its owner reads.
#[derive(Clone)]
pub struct Seal {
    key: [u8; SEAL_BYTES],
    /// Where it is from, for messages.
    place: String,
}

impl Seal {
    /// The seal of the settings, or else of `auth.key` in the data folder, which is made when it is not there.
    ///
    /// # Errors
    /// [`KeyError`] when there is no key at that place, or others can read it.
    pub fn open(setting: Option<&str>, data: &Path) -> Result<Self, KeyError> {
        match setting {
            Some(text) => Self::read(text, "the setting auth.key".to_owned()),
            None => Self::from_file(&data.join("auth.key")),
        }
    }

    fn read(text: &str, place: String) -> Result<Self, KeyError> {
        let key = STANDARD.decode(text.trim()).ok().and_then(|bytes| bytes.try_into().ok());
        match key {
            Some(key) => Ok(Self { key, place }),
            None => Err(KeyError::NoKey { place }),
        }
    }

    fn from_file(path: &Path) -> Result<Self, KeyError> {
        let fault = |source| KeyError::File { path: path.to_owned(), source };
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(fault)?;
        }
        if !path.exists() {
            // Whole, or not at all; and if another process was faster, its key is the key.
            let own = path.with_extension(format!("{}.draft", std::process::id()));
            let mut key = [0; SEAL_BYTES];
            openssl::rand::rand_bytes(&mut key)?;
            let mut file =
                fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&own).map_err(fault)?;
            file.write_all(STANDARD.encode(key).as_bytes()).and_then(|()| file.sync_all()).map_err(fault)?;
            let linked = fs::hard_link(&own, path);
            fs::remove_file(&own).map_err(fault)?;
            match linked {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(fault(error)),
                _ => {}
            }
        }
        if fs::metadata(path).map_err(fault)?.permissions().mode() & 0o077 != 0 {
            return Err(KeyError::Open { path: path.to_owned() });
        }
        Self::read(&fs::read_to_string(path).map_err(fault)?, format!("the file {}", path.display()))
    }

    /// AES-256-GCM in base64: nonce, tag, ciphertext. The key's name is sealed in, so that two keys cannot be swapped.
    ///
    /// # Errors
    /// [`KeyError::Crypto`].
    pub fn close(&self, kid: &str, plain: &[u8]) -> Result<String, KeyError> {
        let mut nonce = [0; NONCE_BYTES];
        openssl::rand::rand_bytes(&mut nonce)?;
        let mut tag = [0; TAG_BYTES];
        let sealed = encrypt_aead(Cipher::aes_256_gcm(), &self.key, Some(&nonce), kid.as_bytes(), plain, &mut tag)?;
        Ok(STANDARD.encode([nonce.as_slice(), &tag, &sealed].concat()))
    }

    /// What was closed under this name.
    ///
    /// # Errors
    /// [`KeyError::OtherSeal`] when it was closed under another name, or with another seal.
    pub fn unclose(&self, kid: &str, sealed: &str) -> Result<Vec<u8>, KeyError> {
        let other = || KeyError::OtherSeal { place: self.place.clone() };
        let bytes = STANDARD.decode(sealed).map_err(|_unreadable| other())?;
        let (nonce, rest) = bytes.split_at_checked(NONCE_BYTES).ok_or_else(other)?;
        let (tag, sealed) = rest.split_at_checked(TAG_BYTES).ok_or_else(other)?;
        decrypt_aead(Cipher::aes_256_gcm(), &self.key, Some(nonce), kid.as_bytes(), sealed, tag)
            .map_err(|_wrong_key| other())
    }
}

/// A key as it is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Kept {
    alg: String,
    /// Microseconds since 1970.
    created_at: i64,
    /// PKCS #8, sealed.
    private: String,
}

impl Record for Kept {
    const KIND: &'static str = "key";
}

/// What is to be done about keys of one algorithm, by their times of creation.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    is_new_due: bool,
    /// Those before this moment go.
    drop_before: i64,
}

fn plan(created: &[i64], now: i64, lifetime: i64) -> Plan {
    let newest = created.iter().max();
    let is_new_due = newest.is_none_or(|newest| now >= newest + lifetime - PUBLISHED_BEFORE);
    // The newest one that has been signing for so long that nothing older is needed.
    let settled = created.iter().filter(|at| now >= **at + PUBLISHED_BEFORE + KEPT_AFTER).max();
    Plan { is_new_due, drop_before: settled.copied().unwrap_or(i64::MIN) }
}

/// The key that signs now: the newest one that was published long enough, or the first of all.
fn signing(created: &[i64], now: i64) -> Option<usize> {
    let published = created.iter().enumerate().filter(|(_, at)| now >= **at + PUBLISHED_BEFORE);
    published
        .max_by_key(|(_, at)| **at)
        .or_else(|| created.iter().enumerate().min_by_key(|(_, at)| **at))
        .map(|(n, _)| n)
}

/// The keys in use.
pub struct Ring {
    keys: Vec<(i64, SigningKey)>,
    /// What they verify.
    pub public: KeySet,
    /// The same as a JWK Set.
    pub jwks: Value,
    looked_at: i64,
}

impl Ring {
    /// The key that signs tokens of this algorithm now.
    pub fn signing(&self, algorithm: Algorithm, now: Instant) -> Option<&SigningKey> {
        let fitting: Vec<&(i64, SigningKey)> = self.keys.iter().filter(|(_, key)| key.algorithm == algorithm).collect();
        let created: Vec<i64> = fitting.iter().map(|(at, _)| *at).collect();
        signing(&created, now.0).and_then(|n| fitting.get(n)).map(|(_, key)| key)
    }

    fn new(keys: Vec<(i64, SigningKey)>, now: i64) -> Self {
        let jwks = json!({"keys": keys.iter().filter_map(|(_, key)| key.to_jwk()).collect::<Vec<_>>()});
        let public = KeySet::parse(jwks.to_string().as_bytes()).unwrap_or_default();
        Self { keys, public, jwks, looked_at: now }
    }
}

/// The ring of this process, and where it comes from.
pub struct Keys {
    seal: Seal,
    lifetime: i64,
    ring: ArcSwap<Ring>,
}

impl Keys {
    /// Reads the keys, and makes those that are missing.
    ///
    /// # Errors
    /// [`KeyError`].
    pub async fn open(store: &Store, seal: Seal, days: u32, now: Instant) -> Result<Self, KeyError> {
        let lifetime = i64::from(days) * 86_400 * SECOND;
        let keys = Self { seal, lifetime, ring: ArcSwap::from_pointee(Ring::new(Vec::new(), 0)) };
        keys.refresh(store, now).await?;
        Ok(keys)
    }

    pub fn ring(&self) -> Arc<Ring> {
        self.ring.load_full()
    }

    /// Reads the keys again when that is due: soon if a token names a key that is not known. True when a key has gone.
    ///
    /// # Errors
    /// [`KeyError`]; the ring stays as it is then.
    pub async fn refresh_if_due(&self, store: &Store, now: Instant, is_wanted: bool) -> Result<bool, KeyError> {
        let age = now.0 - self.ring.load().looked_at;
        if age >= LOOK_ANYWAY || is_wanted && age >= LOOK_AGAIN {
            return self.refresh(store, now).await;
        }
        Ok(false)
    }

    /// True when a key has gone.
    async fn refresh(&self, store: &Store, now: Instant) -> Result<bool, KeyError> {
        let (seal, lifetime) = (self.seal.clone(), self.lifetime);
        let keys = store.write(async move |conn: &mut Conn| rotate(conn, &seal, now, lifetime).await).await?;
        let new = Arc::new(Ring::new(keys, now.0));
        let old = self.ring.swap(Arc::clone(&new));
        Ok(old.keys.iter().any(|(_, key)| !new.keys.iter().any(|(_, it)| it.kid == key.kid)))
    }
}

/// Makes new keys and drops all others: every token that they signed ends. What sealed the old ones need not be known.
///
/// # Errors
/// [`KeyError`]; then all is as it was.
pub async fn replace(store: &Store, seal: Seal, days: u32, now: Instant) -> Result<(), KeyError> {
    let lifetime = i64::from(days) * 86_400 * SECOND;
    let replaced = async move |conn: &mut Conn| {
        shared::lock_name(conn, LOCK).await?;
        records::remove_where::<Kept>(conn, |_| true).await?;
        rotate(conn, &seal, now, lifetime).await
    };
    store.write(replaced).await.map(drop)
}

/// Makes and drops keys as planned, and returns those that are there then.
async fn rotate(conn: &mut Conn, seal: &Seal, now: Instant, lifetime: i64) -> Result<Vec<(i64, SigningKey)>, KeyError> {
    // Nodes that start together make one key, not each its own.
    shared::lock_name(conn, LOCK).await?;
    let kept = records::list::<Kept>(conn).await?;
    let mut keys = Vec::new();
    for (algorithm, name) in [(ACCESS, "ES384"), (ID, "RS256")] {
        let own: Vec<&(String, Kept)> = kept.iter().filter(|(_, kept)| kept.alg == name).collect();
        let created: Vec<i64> = own.iter().map(|(_, kept)| kept.created_at).collect();
        let plan = plan(&created, now.0, lifetime);
        for (kid, kept) in own {
            if kept.created_at < plan.drop_before {
                records::remove::<Kept>(conn, kid).await?;
                continue;
            }
            let der = seal.unclose(kid, &kept.private)?;
            keys.push((kept.created_at, SigningKey::from_pkcs8(kid.clone(), algorithm, &der)?));
        }
        if plan.is_new_due {
            let key = SigningKey::generate(uuid::Uuid::new_v4().to_string(), algorithm)?;
            let private = seal.close(&key.kid, &key.to_pkcs8()?)?;
            records::insert(conn, &key.kid, &Kept { alg: name.into(), created_at: now.0, private }, None).await?;
            keys.push((now.0, key));
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400 * SECOND;
    const LIFE: i64 = 90 * DAY;

    #[test]
    fn keys_come_before_they_are_needed_and_go_after() {
        assert_eq!(plan(&[], 0, LIFE), Plan { is_new_due: true, drop_before: i64::MIN });
        assert!(!plan(&[0], LIFE - PUBLISHED_BEFORE - 1, LIFE).is_new_due);
        let due = LIFE - PUBLISHED_BEFORE;
        assert!(plan(&[0], due, LIFE).is_new_due);
        // The first key signs at once, since there is no other; the next one when it is known everywhere.
        assert_eq!(signing(&[0], 0), Some(0));
        assert_eq!(signing(&[0, due], due), Some(0));
        assert_eq!(signing(&[0, due], due + PUBLISHED_BEFORE - 1), Some(0));
        assert_eq!(signing(&[0, due], due + PUBLISHED_BEFORE), Some(1));
        // The old one stays until nothing that it signed is alive.
        assert!(plan(&[0, due], due + PUBLISHED_BEFORE + KEPT_AFTER - 1, LIFE).drop_before <= 0);
        assert_eq!(plan(&[0, due], due + PUBLISHED_BEFORE + KEPT_AFTER, LIFE).drop_before, due);
    }

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_name_only() {
        let seal = |byte| Seal { key: [byte; SEAL_BYTES], place: "here".into() };
        let closed = seal(1).close("a", b"secret").expect("sealed");
        assert_eq!(seal(1).unclose("a", &closed).expect("opened"), b"secret");
        for (other, name) in [(seal(2), "a"), (seal(1), "b")] {
            assert!(matches!(other.unclose(name, &closed), Err(KeyError::OtherSeal { .. })));
        }
        assert!(matches!(seal(1).unclose("a", "AAAA"), Err(KeyError::OtherSeal { .. })));
    }

    #[test]
    fn a_key_file_is_made_once_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let first = Seal::open(None, folder.path()).expect("made");
        assert_eq!(Seal::open(None, folder.path()).expect("read").key, first.key);
        let path = folder.path().join("auth.key");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("changed");
        assert!(matches!(Seal::open(None, folder.path()), Err(KeyError::Open { .. })));
        assert!(matches!(Seal::open(Some("short"), folder.path()), Err(KeyError::NoKey { .. })));
    }
}
