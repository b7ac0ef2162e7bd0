//! Who may do what: scopes, callers, and the policy that brings them together; keys, tokens and what they are checked by.

pub mod caller;
pub mod client;
pub mod issuers;
pub mod jwks;
pub mod jwt;
pub mod keys;
pub mod password;
pub mod policy;
pub mod scope;
pub mod standing;
pub mod token;
pub mod urls;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use caller::Thumbprint;

/// The thumbprint in a token's `x5t#S256`.
fn client_certificate(text: &str) -> Option<Thumbprint> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Random bytes as text for URLs, of 256 bits: a code, a token, an id that nobody guesses.
///
/// # Errors
/// When OpenSSL has no randomness.
pub fn random() -> Result<String, openssl::error::ErrorStack> {
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// What is kept of a secret that has to be found by itself.
pub fn digest(secret: &str) -> String {
    URL_SAFE_NO_PAD.encode(openssl::sha::sha256(secret.as_bytes()))
}
