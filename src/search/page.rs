//! The page cursor: where the next page begins, signed so that a client cannot make one. What it says is no secret, but it
//! means nothing outside of this database.
//!
//! A page begins after a key, never at an offset: the sort values of the last match and its row id. A resource that
//! nobody touches during a walk is therefore on exactly one page, however much is written meanwhile.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde::{Deserialize, Serialize};

/// Bytes of the HMAC that a cursor carries.
const SIGNATURE_BYTES: usize = 16;

/// The value of one sort key at the end of a page; `None` where the resource has no such value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum KeyValue {
    None,
    Int(i64),
    Float(f64),
    Text(String),
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cursor {
    pub keys: Vec<KeyValue>,
    /// Row id of the last match: the last sort key of every search.
    pub rid: i64,
}

/// Signs and verifies cursors with a key that all nodes of one database share.
pub struct Signature {
    key: PKey<Private>,
}

impl Signature {
    /// # Errors
    /// When the key cannot be used.
    pub fn new(key: &[u8]) -> Result<Self, ErrorStack> {
        Ok(Self { key: PKey::hmac(key)? })
    }

    /// `payload` with its signature, as text that is safe in a URL. `context` is what the cursor belongs to: the same
    /// payload in another search does not verify.
    pub fn seal<P: Serialize>(&self, payload: &P, context: &str) -> Option<String> {
        let payload = serde_json::to_vec(payload).ok()?;
        let mut sealed = self.sign(&payload, context)?;
        sealed.extend_from_slice(&payload);
        Some(URL_SAFE_NO_PAD.encode(sealed))
    }

    /// The payload of a cursor that [`Self::seal`] made for the same context.
    pub fn open<P: for<'de> Deserialize<'de>>(&self, cursor: &str, context: &str) -> Option<P> {
        let sealed = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (signature, payload) = sealed.split_at_checked(SIGNATURE_BYTES)?;
        let expected = self.sign(payload, context)?;
        memcmp::eq(signature, &expected).then(|| serde_json::from_slice(payload).ok()).flatten()
    }

    fn sign(&self, payload: &[u8], context: &str) -> Option<Vec<u8>> {
        let mut signer = Signer::new(MessageDigest::sha256(), &self.key).ok()?;
        signer.update(context.as_bytes()).ok()?;
        signer.update(b"\0").ok()?;
        signer.update(payload).ok()?;
        let mut signature = signer.sign_to_vec().ok()?;
        signature.truncate(SIGNATURE_BYTES);
        Some(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_unchanged_and_in_its_own_search() {
        let signature = Signature::new(&[7; 32]).expect("a key");
        let cursor = Cursor {
            keys: vec![KeyValue::Text("smith".into()), KeyValue::None, KeyValue::Int(-3), KeyValue::Float(0.5)],
            rid: 42,
        };
        let sealed = signature.seal(&cursor, "Practitioner?name=a").expect("seals");
        assert_eq!(signature.open(&sealed, "Practitioner?name=a"), Some(cursor));
        assert_eq!(signature.open::<Cursor>(&sealed, "Practitioner?name=b"), None);
        assert_eq!(signature.open::<Cursor>(&format!("{sealed}A"), "Practitioner?name=a"), None);
        assert_eq!(Signature::new(&[8; 32]).expect("a key").open::<Cursor>(&sealed, "Practitioner?name=a"), None);
        assert_eq!(signature.open::<Cursor>("", "Practitioner?name=a"), None);
    }
}
