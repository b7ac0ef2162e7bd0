//! What webhooks are signed with, as texts: `whsec_…`, `whsk_…` and `whpk_…`, each with base64.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::sign::{Signer, Verifier};
use thiserror::Error;

/// Bytes of a secret: of those that are made here, and of any.
const SECRET_BYTES: usize = 32;
const SECRET_BYTES_MIN: usize = 24;
const SECRET_BYTES_MAX: usize = 64;
/// Bytes of either half of an Ed25519 key.
const HALF_BYTES: usize = 32;

/// Why a text is no key. It is not told which text.
#[derive(Debug, Error)]
pub enum KeyFault {
    #[error("a webhook secret is whsec_ and 24 to 64 bytes in base64")]
    Secret,
    #[error(
        "a private webhook key is whsk_ and an Ed25519 key in base64: its 32 bytes, or those and the 32 of its public key"
    )]
    Private,
    #[error("a public webhook key is whpk_ and the 32 bytes of an Ed25519 key in base64")]
    Public,
}

/// A secret that both sides know.
#[derive(Clone)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// A new one.
    ///
    /// # Errors
    /// When OpenSSL has no randomness.
    pub fn new() -> Result<Self, ErrorStack> {
        let mut bytes = vec![0; SECRET_BYTES];
        openssl::rand::rand_bytes(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`KeyFault::Secret`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let bytes = decode(text, "whsec_").ok_or(KeyFault::Secret)?;
        if !(SECRET_BYTES_MIN..=SECRET_BYTES_MAX).contains(&bytes.len()) {
            return Err(KeyFault::Secret);
        }
        Ok(Self(bytes))
    }

    /// `whsec_…`, for the eyes of whoever is to know it.
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(&self.0))
    }

    pub(super) fn sign(&self, content: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        let key = PKey::hmac(&self.0)?;
        Signer::new(MessageDigest::sha256(), &key)?.sign_oneshot_to_vec(content)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// An Ed25519 key that signs.
#[derive(Clone)]
pub struct PrivateKey(PKey<Private>);

impl PrivateKey {
    /// A new one.
    ///
    /// # Errors
    /// When OpenSSL cannot make it.
    pub fn generate() -> Result<Self, ErrorStack> {
        PKey::generate_ed25519().map(Self)
    }

    /// Reads `whsk_…`: the 32 bytes of the key, or those and the 32 of the public key, which has to be its own.
    ///
    /// # Errors
    /// [`KeyFault::Private`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        Self::read(text).ok_or(KeyFault::Private)
    }

    fn read(text: &str) -> Option<Self> {
        let bytes = decode(text, "whsk_")?;
        let (seed, public) = bytes.split_at_checked(HALF_BYTES)?;
        let key = PKey::private_key_from_raw_bytes(seed, Id::ED25519).ok()?;
        (public.is_empty() || key.raw_public_key().is_ok_and(|own| own == public)).then_some(Self(key))
    }

    /// `whsk_…`, with the public key in it as other implementations expect.
    ///
    /// # Errors
    /// When OpenSSL cannot read its own key.
    pub fn expose(&self) -> Result<String, ErrorStack> {
        Ok(format!("whsk_{}", STANDARD.encode([self.0.raw_private_key()?, self.0.raw_public_key()?].concat())))
    }

    /// Its public half.
    ///
    /// # Errors
    /// When OpenSSL cannot read its own key.
    pub fn public(&self) -> Result<PublicKey, ErrorStack> {
        PublicKey::from_bytes(&self.0.raw_public_key()?)
    }

    pub(super) fn sign(&self, content: &[u8]) -> Result<Vec<u8>, ErrorStack> {
        Signer::new_without_digest(&self.0)?.sign_oneshot_to_vec(content)
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(private key)")
    }
}

/// The half of an Ed25519 key that everybody may know. As text it is `whpk_…`.
#[derive(Clone, Debug)]
pub struct PublicKey {
    key: PKey<Public>,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Reads `whpk_…`.
    ///
    /// # Errors
    /// [`KeyFault::Public`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        let bytes = decode(text, "whpk_").ok_or(KeyFault::Public)?;
        Self::from_bytes(&bytes).map_err(|_no_key| KeyFault::Public)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, ErrorStack> {
        Ok(Self { key: PKey::public_key_from_raw_bytes(bytes, Id::ED25519)?, bytes: bytes.to_vec() })
    }

    /// Its 32 bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_by(&self, content: &[u8], signature: &[u8]) -> bool {
        let verified = Verifier::new_without_digest(&self.key).and_then(|mut it| it.verify_oneshot(signature, content));
        verified.unwrap_or(false)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "whpk_{}", STANDARD.encode(&self.bytes))
    }
}

fn decode(text: &str, prefix: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text.trim().strip_prefix(prefix)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const PRIVATE: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const SEED: &str = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

    #[test]
    fn keys_are_read_and_written_as_texts() {
        assert_eq!(Secret::parse(SECRET).expect("a secret").expose(), SECRET);
        for text in [PRIVATE, SEED] {
            let key = PrivateKey::parse(text).expect("a key");
            assert_eq!(key.expose().expect("a text"), PRIVATE);
            assert_eq!(key.public().expect("a key").to_string(), PUBLIC);
        }
        assert_eq!(PublicKey::parse(PUBLIC).expect("a key").to_string(), PUBLIC);
        let secret = |bytes| format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
        for bytes in [24, 32, 64] {
            assert!(Secret::parse(&secret(bytes)).is_ok(), "{bytes}");
        }
        for text in [&secret(23), &secret(65), &secret(0), &SECRET.replace("whsec_", ""), PUBLIC, "whsec_!", ""] {
            assert!(matches!(Secret::parse(text), Err(KeyFault::Secret)), "{text}");
        }
        // Another key's public half is no part of it.
        let mixed = format!("whsk_{}", STANDARD.encode([7; 64]));
        for text in [&mixed, &PUBLIC.replace("whpk_", "whsk_AAAA"), PUBLIC, "whsk_", ""] {
            assert!(matches!(PrivateKey::parse(text), Err(KeyFault::Private)), "{text}");
        }
        for text in [PRIVATE, &PRIVATE.replace("whsk_", "whpk_"), "whpk_AAAA", "whpk_", ""] {
            assert!(matches!(PublicKey::parse(text), Err(KeyFault::Public)), "{text}");
        }
    }
}
