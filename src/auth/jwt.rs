//! Signed tokens (RFC 7515, 7517, 7518, 7519): signing, and verifying by a set of keys. The cryptography is OpenSSL's, of
//! which jsonwebtoken is told once.

use std::sync::Once;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, DecodingKeyKind, EncodingKey, Header, TokenData, Validation};
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Bytes of a token or an assertion; ours have about 700.
pub const TOKEN_BYTES_MAX: usize = 8_192;
/// Keys of one set.
const KEYS_MAX: usize = 100;
/// Bits of an RSA key, at least.
const RSA_BITS_MIN: i32 = 2_048;

/// Makes jsonwebtoken work with OpenSSL. Without it the crate knows no cryptography at all.
pub fn install() {
    static ONCE: Once = Once::new();
    static PROVIDER: CryptoProvider = CryptoProvider {
        signer_factory: |algorithm, key| Ok(Box::new(OpenSigner::new(*algorithm, key)?)),
        verifier_factory: |algorithm, key| Ok(Box::new(OpenVerifier::new(*algorithm, key)?)),
        // For making JWKs of keys, which is done here by hand.
        key_utils: KeyUtils::new_unimplemented(),
    };
    ONCE.call_once(|| {
        let _is_there_already = PROVIDER.install_default();
    });
}

fn unusable() -> Error {
    ErrorKind::InvalidKeyFormat.into()
}

/// The digest of an algorithm and, for a curve, the bytes of each half of a signature.
fn parts(algorithm: Algorithm) -> Option<(MessageDigest, Option<(Nid, i32)>)> {
    Some(match algorithm {
        Algorithm::RS256 => (MessageDigest::sha256(), None),
        Algorithm::RS384 => (MessageDigest::sha384(), None),
        Algorithm::RS512 => (MessageDigest::sha512(), None),
        Algorithm::ES256 => (MessageDigest::sha256(), Some((Nid::X9_62_PRIME256V1, 32))),
        Algorithm::ES384 => (MessageDigest::sha384(), Some((Nid::SECP384R1, 48))),
        _ => return None,
    })
}

struct OpenSigner {
    algorithm: Algorithm,
    key: PKey<Private>,
}

impl OpenSigner {
    fn new(algorithm: Algorithm, key: &EncodingKey) -> Result<Self, Error> {
        let key = PKey::private_key_from_der(key.as_bytes()).map_err(|_unreadable| unusable())?;
        parts(algorithm).map(|_known| Self { algorithm, key }).ok_or_else(unusable)
    }

    fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let (digest, curve) = parts(self.algorithm)?;
        let mut signer = openssl::sign::Signer::new(digest, &self.key).ok()?;
        let signature = signer.sign_oneshot_to_vec(message).ok()?;
        let Some((_, half)) = curve else { return Some(signature) };
        let signature = EcdsaSig::from_der(&signature).ok()?;
        let mut joined = signature.r().to_vec_padded(half).ok()?;
        joined.extend(signature.s().to_vec_padded(half).ok()?);
        Some(joined)
    }
}

impl Signer<Vec<u8>> for OpenSigner {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        self.sign(message).ok_or_else(signature::Error::new)
    }
}

impl JwtSigner for OpenSigner {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

struct OpenVerifier {
    algorithm: Algorithm,
    key: PKey<Public>,
}

impl OpenVerifier {
    fn new(algorithm: Algorithm, key: &DecodingKey) -> Result<Self, Error> {
        let (_, curve) = parts(algorithm).ok_or_else(unusable)?;
        let key = match (key.kind(), curve) {
            (DecodingKeyKind::RsaModulusExponent { n, e }, None) => rsa(n, e),
            (DecodingKeyKind::SecretOrDer(point), Some((curve, _))) => ec(curve, point),
            _ => None,
        };
        key.map(|key| Self { algorithm, key }).ok_or_else(unusable)
    }

    fn is_signed(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        let (digest, curve) = parts(self.algorithm)?;
        let mut verifier = openssl::sign::Verifier::new(digest, &self.key).ok()?;
        let Some((_, half)) = curve else { return verifier.verify_oneshot(signature, message).ok() };
        let half = usize::try_from(half).ok()?;
        if signature.len() != 2 * half {
            return Some(false);
        }
        let (r, s) = signature.split_at_checked(half)?;
        let signature = EcdsaSig::from_private_components(BigNum::from_slice(r).ok()?, BigNum::from_slice(s).ok()?);
        verifier.verify_oneshot(&signature.ok()?.to_der().ok()?, message).ok()
    }
}

impl Verifier<Vec<u8>> for OpenVerifier {
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        match self.is_signed(message, signature) {
            Some(true) => Ok(()),
            _ => Err(signature::Error::new()),
        }
    }
}

impl JwtVerifier for OpenVerifier {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Option<PKey<Public>> {
    let n = BigNum::from_slice(n).ok()?;
    let is_strong = n.num_bits() >= RSA_BITS_MIN;
    let key = Rsa::from_public_components(n, BigNum::from_slice(e).ok()?).ok()?;
    PKey::from_rsa(key).ok().filter(|_| is_strong)
}

fn ec(curve: Nid, point: &[u8]) -> Option<PKey<Public>> {
    let group = EcGroup::from_curve_name(curve).ok()?;
    let mut context = openssl::bn::BigNumContext::new().ok()?;
    let point = EcPoint::from_bytes(&group, point, &mut context).ok()?;
    let key = EcKey::from_public_key(&group, &point).ok()?;
    key.check_key().ok()?;
    PKey::from_ec_key(key).ok()
}

/// A key by which a signature is verified.
#[derive(Clone, Debug)]
pub struct VerifyingKey {
    kid: String,
    /// The algorithms it may be used with.
    algorithms: Vec<Algorithm>,
    key: DecodingKey,
}

/// A JWK, as far as it is of interest here (RFC 7517, 7518).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<Value>,
    k: Option<Value>,
}

/// The keys of somebody who signs.
#[derive(Clone, Debug, Default)]
pub struct KeySet(Vec<VerifyingKey>);

impl KeySet {
    /// Reads a JWK Set. Keys that sign nothing or are of no use here are passed over.
    ///
    /// # Errors
    /// A sentence when it is no JWK Set, holds a private key, or nothing that can be used.
    pub fn parse(text: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Keys {
            keys: Vec<Value>,
        }
        let keys: Keys = serde_json::from_slice(text)
            .map_err(|_other| "a JWK Set is a JSON object with the member 'keys', a list (RFC 7517)".to_owned())?;
        if keys.keys.len() > KEYS_MAX {
            return Err(format!("a JWK Set of more than {KEYS_MAX} keys is not read"));
        }
        let mut usable = Vec::new();
        for jwk in keys.keys {
            let Ok(jwk) = serde_json::from_value::<Jwk>(jwk) else { continue };
            if jwk.d.is_some() || jwk.k.is_some() {
                return Err("the JWK Set holds a private or shared key; give the public ones alone".to_owned());
            }
            usable.extend(jwk.verifying());
        }
        if usable.is_empty() {
            return Err("the JWK Set holds no key with a 'kid' for RS256, RS384, RS512, ES256 or ES384".to_owned());
        }
        Ok(Self(usable))
    }

    /// The one key of this name that fits the algorithm; none when there are several, as SMART has it.
    pub fn find(&self, kid: &str, algorithm: Algorithm) -> Option<&VerifyingKey> {
        let mut fitting = self.0.iter().filter(|key| key.kid == kid && key.algorithms.contains(&algorithm));
        fitting.next().filter(|_| fitting.next().is_none())
    }
}

impl Jwk {
    fn verifying(self) -> Option<VerifyingKey> {
        let is_for_signing = self.purpose.as_deref().is_none_or(|purpose| purpose == "sig")
            && self.key_ops.as_ref().is_none_or(|operations| operations.iter().any(|it| it == "verify"));
        let (mut algorithms, key) = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (self.n.as_deref()?, self.e.as_deref()?);
                let (modulus, exponent) = (URL_SAFE_NO_PAD.decode(n).ok()?, URL_SAFE_NO_PAD.decode(e).ok()?);
                rsa(&modulus, &exponent)?;
                let algorithms = vec![Algorithm::RS256, Algorithm::RS384, Algorithm::RS512];
                (algorithms, DecodingKey::from_rsa_components(n, e).ok()?)
            }
            ("EC", Some("P-256")) => (vec![Algorithm::ES256], self.point()?),
            ("EC", Some("P-384")) => (vec![Algorithm::ES384], self.point()?),
            _ => return None,
        };
        if let Some(named) = &self.alg {
            algorithms.retain(|algorithm| name(*algorithm) == Some(named));
        }
        let kid = self.kid.filter(|kid| !kid.is_empty())?;
        (is_for_signing && !algorithms.is_empty()).then_some(VerifyingKey { kid, algorithms, key })
    }

    fn point(&self) -> Option<DecodingKey> {
        DecodingKey::from_ec_components(self.x.as_deref()?, self.y.as_deref()?).ok()
    }
}

fn name(algorithm: Algorithm) -> Option<&'static str> {
    Some(match algorithm {
        Algorithm::RS256 => "RS256",
        Algorithm::RS384 => "RS384",
        Algorithm::RS512 => "RS512",
        Algorithm::ES256 => "ES256",
        Algorithm::ES384 => "ES384",
        _ => return None,
    })
}

/// A key that signs.
#[derive(Clone)]
pub struct SigningKey {
    pub kid: String,
    pub algorithm: Algorithm,
    key: PKey<Private>,
}

impl SigningKey {
    /// A new key: RSA of 2,048 bits for RS256, P-384 for ES384.
    ///
    /// # Errors
    /// When OpenSSL cannot, or has no such kind.
    pub fn generate(kid: String, algorithm: Algorithm) -> Result<Self, openssl::error::ErrorStack> {
        let key = match parts(algorithm).and_then(|(_, curve)| curve) {
            Some((curve, _)) => PKey::from_ec_key(EcKey::generate(EcGroup::from_curve_name(curve)?.as_ref())?)?,
            None => PKey::from_rsa(Rsa::generate(2_048)?)?,
        };
        Ok(Self { kid, algorithm, key })
    }

    /// # Errors
    /// When this is no key in PKCS #8.
    pub fn from_pkcs8(kid: String, algorithm: Algorithm, der: &[u8]) -> Result<Self, openssl::error::ErrorStack> {
        Ok(Self { kid, algorithm, key: PKey::private_key_from_der(der)? })
    }

    /// # Errors
    /// When OpenSSL cannot write it.
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, openssl::error::ErrorStack> {
        self.key.private_key_to_pkcs8()
    }

    /// The public part as a JWK.
    pub fn to_jwk(&self) -> Option<Value> {
        let text = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = serde_json::json!({"kid": self.kid, "use": "sig", "alg": name(self.algorithm)?});
        let members = match parts(self.algorithm)? {
            (_, None) => {
                let rsa = self.key.rsa().ok()?;
                vec![("kty", "RSA".to_owned()), ("n", text(rsa.n().to_vec())), ("e", text(rsa.e().to_vec()))]
            }
            (_, Some((_, half))) => {
                let ec = self.key.ec_key().ok()?;
                let mut context = openssl::bn::BigNumContext::new().ok()?;
                let (mut x, mut y) = (BigNum::new().ok()?, BigNum::new().ok()?);
                ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut context).ok()?;
                let curve = if half == 48 { "P-384" } else { "P-256" };
                let (x, y) = (text(x.to_vec_padded(half).ok()?), text(y.to_vec_padded(half).ok()?));
                vec![("kty", "EC".to_owned()), ("crv", curve.to_owned()), ("x", x), ("y", y)]
            }
        };
        let object = jwk.as_object_mut()?;
        object.extend(members.into_iter().map(|(member, value)| (member.to_owned(), value.into())));
        Some(jwk)
    }

    /// Signs claims; `kind` is the `typ` of the header.
    ///
    /// # Errors
    /// When the key does not work.
    pub fn sign(&self, kind: &str, claims: &impl Serialize) -> Result<String, Error> {
        install();
        let mut header = Header::new(self.algorithm);
        header.typ = Some(kind.to_owned());
        header.kid = Some(self.kid.clone());
        let der = self.to_pkcs8().map_err(|_unwritable| unusable())?;
        let key = match self.algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(&der),
            _ => EncodingKey::from_rsa_der(&der),
        };
        jsonwebtoken::encode(&header, claims, &key)
    }
}

/// What a token says of itself before it is verified: nothing to be relied on.
#[derive(Clone, Debug)]
pub struct Unverified {
    pub header: Header,
    pub claims: Value,
}

/// Reads a token without verifying it, to find the key that verifies it.
pub fn peek(token: &str) -> Option<Unverified> {
    if token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let TokenData { header, claims } = jsonwebtoken::dangerous::insecure_decode(token).ok()?;
    Some(Unverified { header, claims })
}

/// The claims of a token whose signature `keys` verify. Times and everything else is left to the caller to check, by its own
/// clock.
pub fn verify(token: &str, keys: &KeySet, algorithms: &[Algorithm]) -> Option<Value> {
    install();
    let Unverified { header, .. } = peek(token)?;
    // A key that comes with the token proves nothing, and an extension that must be understood is not.
    if !algorithms.contains(&header.alg) || header.jwk.is_some() || header.crit.is_some() {
        return None;
    }
    let key = keys.find(header.kid.as_deref()?, header.alg)?;
    let mut validation = Validation::new(header.alg);
    validation.validate_exp = false;
    validation.validate_aud = false;
    validation.required_spec_claims.clear();
    jsonwebtoken::decode::<Value>(token, &key.key, &validation).ok().map(|token| token.claims)
}
