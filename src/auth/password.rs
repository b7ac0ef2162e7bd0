//! Passwords of people and secrets of clients, kept as argon2id hashes (RFC 9106).

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher, PasswordVerifier, phc::PasswordHash};

/// Characters of a password. The least is what NIST SP 800-63B (3.1.1.2) asks of one that stands alone.
pub const CHARS_MIN: usize = 15;
pub const CHARS_MAX: usize = 1_000;

/// The hash of a password, with its salt and its parameters.
///
/// # Errors
/// A sentence when it cannot be made.
pub fn hash(password: &str) -> Result<String, String> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|hash| hash.to_string()).map_err(|error| format!("the password cannot be hashed: {error}"))
}

/// Whether this is the password. Without a hash the same work is done, so that nobody learns from the time which accounts
/// there are.
pub fn is_right(password: &str, hash: Option<&str>) -> bool {
    static NOBODY: LazyLock<String> = LazyLock::new(|| self::hash("the password of nobody").unwrap_or_default());
    let Ok(parsed) = PasswordHash::new(hash.unwrap_or(&NOBODY)) else { return false };
    let is_right = Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok();
    is_right && hash.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_password_is_right() {
        let hash = hash("correct horse battery").expect("hashed");
        assert!(hash.starts_with("$argon2id$"), "{hash}");
        assert!(is_right("correct horse battery", Some(&hash)));
        assert!(!is_right("correct horse batterx", Some(&hash)));
        assert!(!is_right("the password of nobody", None));
        assert!(!is_right("x", Some("no hash")));
    }
}
