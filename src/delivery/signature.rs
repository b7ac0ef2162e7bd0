//! Signatures of webhooks after Standard Webhooks 1.0.0: over `id.timestamp.body`, by a secret that both sides know
//! (HMAC-SHA256, `v1`) or by a key of which the receiver knows the public half (Ed25519, `v1a`).

mod key;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use openssl::error::ErrorStack;
use openssl::memcmp;
use thiserror::Error;

pub use key::{KeyFault, PrivateKey, PublicKey, Secret};

/// The headers of a signed webhook. The id is the same in every attempt, the timestamp is that of the attempt.
pub const ID_HEADER: &str = "webhook-id";
pub const TIMESTAMP_HEADER: &str = "webhook-timestamp";
pub const SIGNATURE_HEADER: &str = "webhook-signature";

/// Characters of an id.
const ID_MAX: usize = 256;
/// Signatures that are looked at: each costs a computation for each key.
const SIGNATURES_MAX: usize = 16;

/// Why a webhook is not signed.
#[derive(Debug, Error)]
pub enum SignFault {
    #[error("the id of a webhook is 1 to 256 visible characters without a dot")]
    Id,
    #[error("OpenSSL could not sign")]
    Crypto(#[from] ErrorStack),
}

/// Why a webhook is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Fault {
    /// With a dot in it the same signature would do for another body.
    #[error("webhook-id is missing, too long, or has a dot or another character in it that does not belong there")]
    Id,
    #[error("webhook-timestamp is no time in seconds")]
    Timestamp,
    #[error("webhook-timestamp is too long ago")]
    Old,
    #[error("webhook-timestamp is in the future")]
    Early,
    #[error("no signature in webhook-signature is by a key that is known here")]
    Signature,
}

/// What signs.
#[derive(Clone, Debug)]
pub enum Key {
    Secret(Secret),
    Ed25519(PrivateKey),
}

/// What a signature is verified by.
#[derive(Clone, Debug)]
pub enum VerifyingKey {
    Secret(Secret),
    Ed25519(PublicKey),
}

impl VerifyingKey {
    /// Reads `whsec_…` or `whpk_…`.
    ///
    /// # Errors
    /// [`KeyFault`].
    pub fn parse(text: &str) -> Result<Self, KeyFault> {
        if text.starts_with("whpk_") {
            return PublicKey::parse(text).map(Self::Ed25519);
        }
        Secret::parse(text).map(Self::Secret)
    }

    /// Whether a signature of this version is by this key.
    fn is_by(&self, version: &str, content: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(secret) if version == "v1" => {
                secret.sign(content).is_ok_and(|own| own.len() == signature.len() && memcmp::eq(&own, signature))
            }
            Self::Ed25519(key) if version == "v1a" => key.is_by(content, signature),
            _ => false,
        }
    }
}

/// The value of `webhook-signature`: a signature by each key, in their order, so that a receiver who knows any of them is
/// served while keys change.
///
/// # Errors
/// [`SignFault`].
pub fn sign(keys: &[Key], id: &str, timestamp_s: i64, body: &[u8]) -> Result<String, SignFault> {
    if !is_id(id) {
        return Err(SignFault::Id);
    }
    let content = content(id, timestamp_s, body);
    let mut signatures = Vec::with_capacity(keys.len());
    for key in keys {
        let (version, signature) = match key {
            Key::Secret(secret) => ("v1", secret.sign(&content)?),
            Key::Ed25519(key) => ("v1a", key.sign(&content)?),
        };
        signatures.push(format!("{version},{}", STANDARD.encode(signature)));
    }
    Ok(signatures.join(" "))
}

/// Believes a webhook when one of its signatures is by one of the keys and it was sent within the tolerance (300 s is customary)
/// of `now_s`. The three texts are the headers. Whether it came before is for the caller to remember, by its id.
///
/// # Errors
/// [`Fault`].
pub fn verify(
    keys: &[VerifyingKey],
    id: &str,
    timestamp: &str,
    signature: &str,
    body: &[u8],
    now_s: i64,
    tolerance_s: u32,
) -> Result<(), Fault> {
    if !is_id(id) {
        return Err(Fault::Id);
    }
    // One text for one time: it is signed as a text.
    let timestamp_s: i64 = timestamp.parse().map_err(|_no_number| Fault::Timestamp)?;
    if timestamp_s < 0 || timestamp_s.to_string() != timestamp {
        return Err(Fault::Timestamp);
    }
    if timestamp_s < now_s.saturating_sub(tolerance_s.into()) {
        return Err(Fault::Old);
    }
    if timestamp_s > now_s.saturating_add(tolerance_s.into()) {
        return Err(Fault::Early);
    }
    let content = content(id, timestamp_s, body);
    let signatures = signature.split_ascii_whitespace().take(SIGNATURES_MAX).filter_map(|it| it.split_once(','));
    // What is no base64, or of a version that we do not know, is not for us.
    let mut decoded = signatures.filter_map(|(version, it)| Some((version, STANDARD.decode(it).ok()?)));
    let is_known = decoded.any(|(version, it)| keys.iter().any(|key| key.is_by(version, &content, &it)));
    if is_known { Ok(()) } else { Err(Fault::Signature) }
}

fn is_id(id: &str) -> bool {
    (1..=ID_MAX).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'.')
}

fn content(id: &str, timestamp_s: i64, body: &[u8]) -> Vec<u8> {
    [format!("{id}.{timestamp_s}.").as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example that the libraries of Standard Webhooks and Svix are tested with.
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: i64 = 1_614_265_330;
    const BODY: &[u8] = br#"{"test": 2432232314}"#;
    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const SIGNED: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
    const PRIVATE: &str =
        "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";
    const SIGNED_A: &str =
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";

    fn secret() -> Key {
        Key::Secret(Secret::parse(SECRET).expect("a secret"))
    }

    fn private() -> Key {
        Key::Ed25519(PrivateKey::parse(PRIVATE).expect("a key"))
    }

    fn known() -> Vec<VerifyingKey> {
        [SECRET, PUBLIC].map(|text| VerifyingKey::parse(text).expect("a key")).to_vec()
    }

    fn verified(signature: &str) -> Result<(), Fault> {
        verify(&known(), ID, &TIME.to_string(), signature, BODY, TIME, 300)
    }

    #[test]
    fn the_published_examples_are_signed_as_published() {
        assert_eq!(sign(&[secret()], ID, TIME, BODY).expect("signed"), SIGNED);
        assert_eq!(sign(&[private()], ID, TIME, BODY).expect("signed"), SIGNED_A);
        assert_eq!(sign(&[secret(), private()], ID, TIME, BODY).expect("signed"), format!("{SIGNED} {SIGNED_A}"));
        assert_eq!(sign(&[], ID, TIME, BODY).expect("nothing to sign with"), "");
    }

    #[test]
    fn new_keys_are_random_and_shown_nowhere() {
        let new = || Secret::new().expect("a secret");
        assert_ne!(new().expose(), new().expose());
        let key = PrivateKey::generate().expect("a key");
        let shown = format!("{:?} {:?}", Key::Secret(new()), Key::Ed25519(key.clone()));
        assert_eq!(shown, "Secret((secret)) Ed25519((private key))");
        let signature = sign(&[Key::Ed25519(key.clone())], "a", TIME, BODY).expect("signed");
        let public = [VerifyingKey::Ed25519(key.public().expect("a key"))];
        assert_eq!(verify(&public, "a", &TIME.to_string(), &signature, BODY, TIME, 0), Ok(()));
    }

    #[test]
    fn one_signature_by_one_known_key_is_enough() {
        for signature in [
            SIGNED,
            SIGNED_A,
            &format!("v1,AAAA {SIGNED}"),
            &format!("  v9,{} nonsense v1, {SIGNED_A}  v1a,!", "A".repeat(64)),
        ] {
            assert_eq!(verified(signature), Ok(()), "{signature}");
        }
        for signature in [
            "",
            "v1,",
            "v1",
            &SIGNED.replace("v1,", ""),
            &SIGNED.replace("v1,", "v1a,"),
            &SIGNED.replace("v1,", "V1,"),
            &SIGNED_A.replace("v1a,", "v1,"),
            &SIGNED.replace("g0hM", "g0hN"),
            &SIGNED_A.replace("hnO3", "hnO2"),
            &SIGNED.replace(',', " "),
            &format!("{}{SIGNED}", "v1,AAAA ".repeat(SIGNATURES_MAX)),
        ] {
            assert_eq!(verified(signature), Err(Fault::Signature), "{signature}");
        }
        let other = [VerifyingKey::Secret(Secret::new().expect("a secret"))];
        let by_other = verify(&other, ID, &TIME.to_string(), &format!("{SIGNED} {SIGNED_A}"), BODY, TIME, 300);
        assert_eq!(by_other, Err(Fault::Signature));
        assert_eq!(verify(&[], ID, &TIME.to_string(), SIGNED, BODY, TIME, 300), Err(Fault::Signature));
    }

    #[test]
    fn a_signature_is_for_one_id_time_and_body() {
        let time = TIME.to_string();
        let ask = |id: &str, time: &str, body: &[u8]| verify(&known(), id, time, SIGNED, body, TIME, 300);
        assert_eq!(ask("msg_other", &time, BODY), Err(Fault::Signature));
        assert_eq!(ask(ID, &(TIME + 1).to_string(), BODY), Err(Fault::Signature));
        assert_eq!(ask(ID, &time, b"{}"), Err(Fault::Signature));
        // The same bytes, taken apart at another dot.
        let body = [time.as_bytes(), b".", BODY].concat();
        let key = [secret()];
        for id in [&format!("{ID}.1"), "", " a", "a b", "\u{e9}", &"a".repeat(257)] {
            assert!(matches!(sign(&key, id, TIME, BODY), Err(SignFault::Id)), "{id}");
            assert_eq!(ask(id, &time, &body), Err(Fault::Id), "{id}");
        }
    }

    #[test]
    fn a_webhook_is_neither_old_nor_early() {
        let ask = |time: &str, now| verify(&known(), ID, time, SIGNED, BODY, now, 300);
        let time = TIME.to_string();
        for (off, expected) in
            [(0, Ok(())), (300, Ok(())), (-300, Ok(())), (301, Err(Fault::Old)), (-301, Err(Fault::Early))]
        {
            assert_eq!(ask(&time, TIME + off), expected, "{off}");
        }
        for now in [i64::MIN, i64::MAX] {
            assert!(ask(&time, now).is_err());
        }
        for text in
            ["", "soon", "+1614265330", " 1614265330", "01614265330", "-1", "1614265330.0", "99999999999999999999"]
        {
            assert_eq!(ask(text, TIME), Err(Fault::Timestamp), "{text}");
        }
    }
}
