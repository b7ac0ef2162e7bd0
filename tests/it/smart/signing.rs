//! Keys and what they sign: right assertions and tokens, and those that nobody should accept.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{Signer, Verifier};
use serde_json::{Value, json};

/// Bytes as base64url without padding.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of base64url.
pub fn unb64(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

/// Seconds since 1970.
pub fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970");
    i64::try_from(since.as_secs()).expect("a time of our age")
}

/// Text that nobody else uses.
pub fn unique() -> String {
    let mut bytes = [0; 32];
    openssl::rand::rand_bytes(&mut bytes).expect("random bytes");
    b64(bytes)
}

/// A key with a name.
pub struct Key {
    pub kid: String,
    pub alg: &'static str,
    key: PKey<Private>,
}

impl Key {
    /// For RS384.
    pub fn rsa(kid: &str) -> Self {
        let key = PKey::from_rsa(Rsa::generate(2_048).expect("a key")).expect("a key");
        Self { kid: kid.to_owned(), alg: "RS384", key }
    }

    /// For ES384.
    pub fn ec(kid: &str) -> Self {
        Self::on(Nid::SECP384R1, kid, "ES384")
    }

    /// For ES256.
    pub fn p256(kid: &str) -> Self {
        Self::on(Nid::X9_62_PRIME256V1, kid, "ES256")
    }

    fn on(curve: Nid, kid: &str, alg: &'static str) -> Self {
        let group = EcGroup::from_curve_name(curve).expect("a curve");
        let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
        Self { kid: kid.to_owned(), alg, key }
    }

    /// The same key under another name.
    pub fn named(&self, kid: &str) -> Self {
        Self { kid: kid.to_owned(), alg: self.alg, key: self.key.clone() }
    }

    /// The public part as a JWK, which does not say for which algorithm it is.
    pub fn jwk(&self) -> Value {
        let mut jwk = json!({"kid": self.kid, "use": "sig"});
        if self.key.id() == Id::RSA {
            let rsa = self.key.rsa().expect("an RSA key");
            jwk["kty"] = "RSA".into();
            jwk["n"] = b64(rsa.n().to_vec()).into();
            jwk["e"] = b64(rsa.e().to_vec()).into();
        } else {
            let (name, half) = if self.alg == "ES384" { ("P-384", 48) } else { ("P-256", 32) };
            let ec = self.key.ec_key().expect("an EC key");
            let (mut x, mut y) = (BigNum::new().expect("a number"), BigNum::new().expect("a number"));
            let mut context = BigNumContext::new().expect("a context");
            ec.public_key().affine_coordinates(ec.group(), &mut x, &mut y, &mut context).expect("a point");
            jwk["kty"] = "EC".into();
            jwk["crv"] = name.into();
            jwk["x"] = b64(x.to_vec_padded(half).expect("a coordinate")).into();
            jwk["y"] = b64(y.to_vec_padded(half).expect("a coordinate")).into();
        }
        jwk
    }

    /// A JWK with the private part in it.
    pub fn private_jwk(&self) -> Value {
        let mut jwk = self.jwk();
        jwk["d"] = b64(self.key.rsa().expect("an RSA key").d().to_vec()).into();
        jwk
    }

    /// The public part in the forms in which others may have it: PEM, DER, and the modulus or point alone.
    pub fn public_forms(&self) -> Vec<Vec<u8>> {
        let pem = self.key.public_key_to_pem().expect("PEM");
        let text = String::from_utf8(pem.clone()).expect("PEM");
        let mut forms = vec![pem, text.trim_end().as_bytes().to_vec(), self.key.public_key_to_der().expect("DER")];
        let jwk = self.jwk();
        for member in ["n", "x"] {
            if let Some(number) = jwk[member].as_str() {
                forms.extend([number.as_bytes().to_vec(), unb64(number)]);
            }
        }
        forms.push(jwk.to_string().into_bytes());
        forms
    }

    /// The signature of a message by an algorithm that fits the kind of this key, or only looks so.
    pub fn sign(&self, alg: &str, message: &[u8]) -> Vec<u8> {
        let digest = digest(alg);
        let mut signer = Signer::new(digest, &self.key).expect("a signer");
        if alg.starts_with("PS") {
            signer.set_rsa_padding(Padding::PKCS1_PSS).expect("a padding");
        }
        let signature = signer.sign_oneshot_to_vec(message).expect("a signature");
        if self.key.id() == Id::RSA {
            return signature;
        }
        let half = if self.alg == "ES384" { 48 } else { 32 };
        let parts = EcdsaSig::from_der(&signature).expect("a signature");
        let padded = |number: &openssl::bn::BigNumRef| number.to_vec_padded(half).expect("half a signature");
        [padded(parts.r()), padded(parts.s())].concat()
    }
}

fn digest(alg: &str) -> MessageDigest {
    match alg.get(2..) {
        Some("256") => MessageDigest::sha256(),
        Some("384") => MessageDigest::sha384(),
        _ => MessageDigest::sha512(),
    }
}

/// What a shared secret makes of a message.
pub fn hmac(alg: &str, secret: &[u8], message: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(secret).expect("a key");
    let mut signer = Signer::new(digest(alg), &key).expect("a signer");
    signer.sign_oneshot_to_vec(message).expect("a signature")
}

/// A JWK Set.
pub fn jwks(keys: &[&Key]) -> Value {
    json!({"keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>()})
}

/// A JWS in its compact form, with whatever signature.
pub fn jwt(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
    let signature = b64(sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// Header and claims of a token, unverified.
pub fn decoded(token: &str) -> (Value, Value) {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, _signature] = parts.as_slice() else { panic!("a JWT has three parts: {token}") };
    let part = |text: &str| serde_json::from_slice(&unb64(text)).expect("JSON");
    (part(header), part(claims))
}

/// Whether the key that a token names in a JWK Set verifies it.
pub fn is_verified(token: &str, jwks: &Value) -> bool {
    let (header, _) = decoded(token);
    let keys = jwks["keys"].as_array().expect("keys");
    let Some(jwk) = keys.iter().find(|jwk| jwk["kid"] == header["kid"]) else { return false };
    let alg = header["alg"].as_str().expect("an algorithm");
    let number = |name: &str| BigNum::from_slice(&unb64(jwk[name].as_str().expect(name))).expect("a number");
    let (signed, signature) = token.rsplit_once('.').expect("a signature");
    let signature = unb64(signature);
    let (key, signature): (PKey<Public>, Vec<u8>) = match alg {
        "RS256" | "RS384" => {
            let rsa = Rsa::from_public_components(number("n"), number("e")).expect("a key");
            (PKey::from_rsa(rsa).expect("a key"), signature)
        }
        "ES384" => {
            let group = EcGroup::from_curve_name(Nid::SECP384R1).expect("a curve");
            let key = EcKey::from_public_key_affine_coordinates(&group, &number("x"), &number("y")).expect("a key");
            assert_eq!(signature.len(), 96, "r and s, each of 48 bytes");
            let half = |part: &[u8]| BigNum::from_slice(part).expect("a number");
            let parts = EcdsaSig::from_private_components(half(&signature[..48]), half(&signature[48..]));
            (PKey::from_ec_key(key).expect("a key"), parts.and_then(|parts| parts.to_der()).expect("a signature"))
        }
        other => panic!("no algorithm of this server: {other}"),
    };
    let mut verifier = Verifier::new(digest(alg), &key).expect("a verifier");
    verifier.verify_oneshot(&signature, signed.as_bytes()).unwrap_or(false)
}

/// A client assertion (RFC 7523) that is right as it is made, to be changed before it is signed.
#[derive(Clone)]
pub struct Assertion {
    pub header: Value,
    pub claims: Value,
}

impl Assertion {
    pub fn new(key: &Key, client: &str, audience: &str) -> Self {
        let now = unix_now();
        Self {
            header: json!({"alg": key.alg, "kid": key.kid, "typ": "JWT"}),
            claims: json!({"iss": client, "sub": client, "aud": audience, "exp": now + 240, "iat": now, "jti": unique()}),
        }
    }

    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    pub fn without_header(mut self, name: &str) -> Self {
        self.header.as_object_mut().expect("an object").shift_remove(name).expect("it was there");
        self
    }

    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.claims.as_object_mut().expect("an object").shift_remove(name).expect("it was there");
        self
    }

    /// Signed by the algorithm that its header names.
    pub fn signed(&self, key: &Key) -> String {
        let alg = self.header["alg"].as_str().expect("an algorithm").to_owned();
        jwt(&self.header, &self.claims, |message| key.sign(&alg, message))
    }
}
