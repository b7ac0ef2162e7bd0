//! Other authorization servers whose tokens are accepted here (settings `auth.issuers`): a payer's own identity provider,
//! say. Their tokens are JWTs that their published keys verify (RFC 9068).

use std::sync::Arc;

use jsonwebtoken::Algorithm;
use serde_json::Value;

use crate::config::Issuer;
use crate::fhir::types::Instant;
use crate::search::extract::local_part;

use super::caller::{Identity, Kind, Role, User};
use super::jwks::RemoteKeys;
use super::jwt;
use super::scope::Scopes;

/// The algorithms that are accepted: none that is symmetric.
const ALGORITHMS: [Algorithm; 5] =
    [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::ES256, Algorithm::ES384];
/// Seconds by which another's clock may differ from ours.
const SKEW_S: i64 = 60;

pub struct Issuers {
    trusted: Vec<Issuer>,
    keys: Arc<RemoteKeys>,
    /// Base URLs of this server: the first one is the audience of tokens for it, unless the settings say otherwise.
    bases: Vec<String>,
}

impl Issuers {
    pub fn new(trusted: Vec<Issuer>, keys: Arc<RemoteKeys>, bases: Vec<String>) -> Self {
        Self { trusted, keys, bases }
    }

    /// Who shows the token of another server, and when that ends (seconds since 1970); `None` for a token that is not to be
    /// accepted.
    pub async fn identify(&self, token: &str, issuer: &str, now: Instant) -> Option<(Identity, i64)> {
        let trusted = self.trusted.iter().find(|trusted| trusted.issuer == issuer)?;
        let header = jwt::peek(token)?.header;
        // An id_token is none: it says who somebody is, not what they may do.
        let is_access = header.typ.as_deref().is_none_or(|kind| {
            ["at+jwt", "application/at+jwt", "jwt"].iter().any(|known| known.eq_ignore_ascii_case(kind))
        });
        let kid = header.kid.filter(|_| is_access && ALGORITHMS.contains(&header.alg))?;
        let keys = self.keys.at(&trusted.jwks_url, &kid, header.alg, now).await?;
        let claims = jwt::verify(token, &keys, &ALGORITHMS)?;
        let exp = self.check(trusted, &claims, now.0.div_euclid(1_000_000))?;
        Some((self.identity(trusted, &claims)?, exp))
    }

    /// The end of a token whose issuer, audience and times are right.
    fn check(&self, trusted: &Issuer, claims: &Value, now_s: i64) -> Option<i64> {
        let time = |name: &str| claims.get(name).map(|at| at.as_f64().map(|at| at as i64));
        let is_ours = |audience: &str| match &trusted.audience {
            Some(expected) => audience == expected,
            None => self.bases.iter().any(|base| base == audience),
        };
        let for_us = match claims.get("aud")? {
            Value::String(audience) => is_ours(audience),
            Value::Array(all) => all.iter().filter_map(Value::as_str).any(is_ours),
            _ => false,
        };
        let exp = time("exp")??;
        let not_before = time("nbf").unwrap_or(Some(i64::MIN))?;
        let is_issuer = claims.get("iss").and_then(Value::as_str) == Some(trusted.issuer.as_str());
        (is_issuer && for_us && now_s < exp.saturating_add(SKEW_S) && now_s.saturating_add(SKEW_S) >= not_before)
            .then_some(exp.saturating_add(SKEW_S))
    }

    fn identity(&self, trusted: &Issuer, claims: &Value) -> Option<Identity> {
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let granted = match claims.get(&trusted.scope_claim) {
            Some(Value::String(scopes)) => scopes.split_ascii_whitespace().collect(),
            Some(Value::Array(scopes)) => scopes.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let scopes: Vec<&str> = granted
            .into_iter()
            .filter_map(|scope| match trusted.scopes.is_empty() {
                true => Some(scope),
                false => trusted.scopes.get(scope).map(String::as_str),
            })
            .collect();
        let fhir_user = text(&trusted.fhir_user_claim).map(str::to_owned);
        let organization = trusted.organization_claim.as_deref().and_then(text);
        let role = |reference: Option<&str>| Role::parse(local_part(&self.bases, reference?)?);
        let role = match (role(organization), role(fhir_user.as_deref())) {
            (Some(organization @ Role::Organization(_)), _) => organization,
            (_, Some(person @ Role::Practitioner(_))) => person,
            _ => Role::Member,
        };
        let subject = text("sub")?;
        let client = ["client_id", "azp", "appid"].into_iter().find_map(text).unwrap_or(subject);
        let certificate = match claims.get("cnf") {
            None => None,
            // Bound in a way that cannot be checked here.
            Some(bound) if bound.as_object().is_none_or(|bound| bound.len() != 1) => return None,
            Some(bound) => Some(super::client_certificate(bound.get("x5t#S256")?.as_str()?)?),
        };
        let is_user = fhir_user.is_some() || organization.is_some();
        let (client, name) = (client.to_owned(), subject.to_owned());
        Some(Identity {
            kind: Kind::Token,
            issuer: Some(trusted.issuer.clone()),
            client: Some(client),
            client_since: None,
            grant: None,
            user: is_user.then_some(User { name, fhir_user, role }),
            scopes: Scopes::parse(&scopes.join(" ")),
            patient: text("patient").map(str::to_owned),
            certificate,
        })
    }
}
