//! Settings of authorization.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    pub anonymous_scope: String,
    pub key: Option<Secret>,
    pub key_days: u32,
    pub backend_token_s: u32,
    pub app_token_s: u32,
    pub code_s: u32,
    pub online_s: u32,
    pub offline_days: u32,
    pub lock_after: u32,
    pub lock_s: u32,
    pub dynamic_registration: bool,
    pub registration_scope: String,
    pub issuers: Vec<Issuer>,
}

impl Auth {
    /// What is wrong with these settings.
    pub(super) fn faults(&self) -> Vec<String> {
        let bounds = [
            ("key_days", self.key_days, 0, 3_650),
            ("backend_token_s", self.backend_token_s, 1, 3_600),
            ("app_token_s", self.app_token_s, 1, 86_400),
            ("code_s", self.code_s, 0, 600),
            ("online_s", self.online_s, 1, 2_592_000),
            ("offline_days", self.offline_days, 1, 3_650),
            ("lock_after", self.lock_after, 1, 1_000),
            ("lock_s", self.lock_s, 1, 86_400),
        ];
        let outside = bounds.into_iter().filter(|(_, value, least, most)| !(*least..=*most).contains(value));
        let mut faults: Vec<String> = outside
            .map(|(name, value, least, most)| format!("auth.{name} is {value}, but must be {least} to {most}"))
            .collect();
        let nameless = self.issuers.iter().find(|it| it.issuer.is_empty() || !it.jwks_url.contains("://"));
        faults.extend(nameless.map(|it| format!("auth.issuers: '{}' needs an issuer and a jwks_url", it.issuer)));
        faults
    }
}

/// Another authorization server whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Issuer {
    /// The `iss` of its tokens.
    pub issuer: String,
    pub jwks_url: String,
    /// The `aud` of tokens for this server; unset: the FHIR base.
    #[serde(default)]
    pub audience: Option<String>,
    #[serde(default = "Issuer::scope_claim")]
    pub scope_claim: String,
    /// From its scopes to SMART scopes; empty: its scopes are SMART scopes.
    #[serde(default)]
    pub scopes: BTreeMap<String, String>,
    #[serde(default = "Issuer::fhir_user_claim")]
    pub fhir_user_claim: String,
    /// Where it says of which Organization a user is an administrator.
    #[serde(default)]
    pub organization_claim: Option<String>,
}

impl Issuer {
    fn scope_claim() -> String {
        "scope".into()
    }

    fn fhir_user_claim() -> String {
        "fhirUser".into()
    }
}

/// A value that is shown nowhere.
#[derive(Clone, Deserialize)]
pub struct Secret(String);

impl Secret {
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("(secret)")
    }
}
