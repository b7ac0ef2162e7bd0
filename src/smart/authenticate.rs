//! How a client shows who it is at the token endpoint (RFC 6749, 2.3; RFC 7523; SMART App Launch 2.2, client-confidential
//! authentication). Every failure is answered alike.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::Algorithm;
use openssl::memcmp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::app::App;
use crate::auth::caller::Thumbprint;
use crate::auth::client::{Authentication, Client, is_client_id};
use crate::auth::jwt::{self, KeySet};
use crate::auth::{digest, password, urls};
use crate::fhir::types::Instant;
use crate::store::conn::Conn;
use crate::store::records::{self, Record};

use super::error::{Code, OAuthError};
use super::form::Form;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// The algorithms of SMART.
const ALGORITHMS: [Algorithm; 2] = [Algorithm::RS384, Algorithm::ES384];
/// Seconds that an assertion may be valid, and by which the client's clock may differ.
const ASSERTION_S: i64 = 300;
const SKEW_S: i64 = 60;
/// Characters of a `jti`.
const JTI_MAX: usize = 500;

/// What a request brings for its client to be known by.
pub struct Credentials<'r> {
    pub authorization: Option<&'r str>,
    pub form: &'r Form,
    pub certificate: Option<Thumbprint>,
}

/// A client that is known, and under which id.
#[derive(Clone, Debug)]
pub struct Known {
    pub id: String,
    pub client: Client,
}

/// An assertion that was used, by client and `jti`. Kept as long as it could be used again.
#[derive(Serialize, Deserialize)]
struct Used {}

impl Record for Used {
    const KIND: &'static str = "assertion";
}

enum Proof<'r> {
    None(&'r str),
    Secret(String, String),
    Assertion(&'r str),
}

/// The client that makes a request.
///
/// # Errors
/// `invalid_client`, whatever is wrong; `invalid_request` for a request that shows it in two ways.
pub async fn client(app: &Arc<App>, credentials: &Credentials<'_>) -> Result<Known, OAuthError> {
    let proof = proof(credentials)?;
    let id = match &proof {
        Proof::None(id) => (*id).to_owned(),
        Proof::Secret(id, _) => id.clone(),
        Proof::Assertion(assertion) => issuer(assertion).ok_or_else(OAuthError::invalid_client)?,
    };
    if !is_client_id(&id) || credentials.form.get("client_id").is_some_and(|named| named != id) {
        return Err(OAuthError::invalid_client());
    }
    let client = app.store.read(async |conn: &mut Conn| records::get::<Client>(conn, &id).await).await?;
    match (&proof, client.as_ref().map(|client| &client.authentication)) {
        (Proof::None(_), Some(Authentication::Public)) => {}
        (Proof::Secret(_, secret), authentication) => {
            let hash = match authentication {
                Some(Authentication::Secret(hash)) => Some(hash.clone()),
                _ => None,
            };
            if !is_right(app, secret.clone(), hash).await? {
                return Err(OAuthError::invalid_client());
            }
        }
        (Proof::Assertion(assertion), Some(authentication)) => {
            check_assertion(app, assertion, &id, authentication).await?;
        }
        _ => return Err(OAuthError::invalid_client()),
    }
    let client = client.ok_or_else(OAuthError::invalid_client)?;
    if let Some(expected) = &client.certificate {
        let shown = credentials.certificate.map(|shown| hexadecimal(&shown)).unwrap_or_default();
        if !(shown.len() == expected.len() && memcmp::eq(shown.as_bytes(), expected.as_bytes())) {
            return Err(OAuthError::invalid_client());
        }
    }
    Ok(Known { id, client })
}

/// As `openssl x509 -fingerprint -sha256` prints it, without colons and in lower case.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compares a secret or a password with its hash, beside the threads that answer requests: it takes a while, on purpose.
///
/// # Errors
/// `temporarily_unavailable` when too many wait for that.
pub(super) async fn is_right(app: &App, secret: String, hash: Option<String>) -> Result<bool, OAuthError> {
    let work =
        move || Ok(secret.chars().count() <= password::CHARS_MAX && password::is_right(&secret, hash.as_deref()));
    Ok(app.turns.at_secrets(work).await?)
}

fn proof<'r>(credentials: &Credentials<'r>) -> Result<Proof<'r>, OAuthError> {
    let form = credentials.form;
    let basic = match credentials.authorization {
        Some(header) => Some(basic(header).ok_or_else(OAuthError::invalid_client)?),
        None => None,
    };
    let assertion = match (form.get("client_assertion_type"), form.get("client_assertion")) {
        (Some(ASSERTION_TYPE), Some(assertion)) => Some(assertion),
        (None, None) => None,
        _ => return Err(OAuthError::invalid_client()),
    };
    match (basic, form.get("client_secret"), assertion, form.get("client_id")) {
        (Some((id, secret)), None, None, _) => Ok(Proof::Secret(id, secret)),
        (None, Some(secret), None, Some(id)) => Ok(Proof::Secret(id.to_owned(), secret.to_owned())),
        (None, None, Some(assertion), _) => Ok(Proof::Assertion(assertion)),
        (None, None, None, Some(id)) => Ok(Proof::None(id)),
        (None, None | Some(_), None, None) => Err(OAuthError::invalid_client()),
        _ => Err(OAuthError::new(Code::InvalidRequest, "The client shows in more than one way who it is.")),
    }
}

/// Id and secret, each encoded as in a form (RFC 6749, 2.3.1).
fn basic(header: &str) -> Option<(String, String)> {
    let (scheme, rest) = header.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = |part: &str| {
        let spaced = part.replace('+', " ");
        percent_encoding::percent_decode_str(&spaced).decode_utf8().ok().map(|text| text.into_owned())
    };
    Some((decoded(id)?, decoded(secret)?))
}

/// Who an assertion says it is from, before anything is verified.
fn issuer(assertion: &str) -> Option<String> {
    Some(jwt::peek(assertion)?.claims.get("iss")?.as_str()?.to_owned())
}

/// The claims of an assertion (RFC 7523, section 3).
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: i64,
    nbf: Option<i64>,
    iat: Option<i64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

async fn check_assertion(
    app: &Arc<App>,
    assertion: &str,
    id: &str,
    authentication: &Authentication,
) -> Result<(), OAuthError> {
    let now = app.now();
    let claims = verified(app, assertion, authentication, now).await.ok_or_else(OAuthError::invalid_client)?;
    let claims: Claims = serde_json::from_value(claims).map_err(|_other| OAuthError::invalid_client())?;
    if !is_sound(app, &claims, id, now.0.div_euclid(1_000_000)) {
        return Err(OAuthError::invalid_client());
    }
    // Only what is right so far is worth remembering.
    let name = digest(&format!("{id}\n{}", claims.jti));
    let ends = Instant((claims.exp.saturating_add(SKEW_S)).saturating_mul(1_000_000));
    let is_new =
        app.store.write(async move |conn: &mut Conn| records::insert(conn, &name, &Used {}, Some(ends)).await).await?;
    if is_new { Ok(()) } else { Err(OAuthError::invalid_client()) }
}

/// The claims of an assertion that one of the client's keys verifies. The order in which keys are looked for is SMART's.
async fn verified(app: &App, assertion: &str, authentication: &Authentication, now: Instant) -> Option<Value> {
    let header = jwt::peek(assertion)?.header;
    let kid = header.kid.as_deref()?;
    if !ALGORITHMS.contains(&header.alg) || header.typ.as_deref() != Some("JWT") {
        return None;
    }
    let keys = match authentication {
        // A URL in the assertion is followed only if it is the registered one.
        Authentication::JwksUrl(url) if header.jku.as_ref().is_none_or(|jku| jku == url) => {
            app.remote_keys.at(url, kid, header.alg, now).await?
        }
        Authentication::Jwks(keys) if header.jku.is_none() => KeySet::parse(keys.to_string().as_bytes()).ok()?,
        _ => return None,
    };
    jwt::verify(assertion, &keys, &ALGORITHMS)
}

fn is_sound(app: &App, claims: &Claims, id: &str, now_s: i64) -> bool {
    let is_token_url = |audience: &String| app.bases.iter().any(|base| *audience == urls::token(base));
    let is_for_us = match &claims.aud {
        Audience::One(audience) => is_token_url(audience),
        Audience::Several(all) => matches!(all.as_slice(), [only] if is_token_url(only)),
    };
    let latest = now_s + ASSERTION_S + SKEW_S;
    let is_timely = now_s < claims.exp.saturating_add(SKEW_S)
        && claims.exp <= latest
        && claims.nbf.is_none_or(|at| at <= now_s + SKEW_S)
        && claims.iat.is_none_or(|at| at <= now_s + SKEW_S);
    let has_id = claims.iss == id && claims.sub == id;
    is_for_us && is_timely && has_id && (1..=JTI_MAX).contains(&claims.jti.len())
}
