//! Apps and systems that are known here (RFC 7591 calls that a registration).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::records::Record;

use super::scope::Scopes;

/// How a client proves who it is at the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Authentication {
    /// Not at all: an app that cannot keep a secret. PKCE ties its codes to it.
    Public,
    /// A secret, kept as argon2 has it: for systems that cannot do better.
    Secret(String),
    /// Assertions that it signs (RFC 7523), verified by these keys.
    Jwks(Value),
    /// The same, by keys that are fetched from here.
    JwksUrl(String),
}

/// A client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// What people are shown who are asked for their consent.
    pub name: String,
    /// What may be granted to it at most.
    pub scope: String,
    pub authentication: Authentication,
    /// Where codes may be sent to, each compared whole.
    #[serde(default)]
    pub redirect_uris: Vec<String>,
    /// SHA-256 of the certificate that it has to connect with, in hexadecimal; its tokens are bound to it (RFC 8705).
    #[serde(default)]
    pub certificate: Option<String>,
    /// It registered itself: an app of people, no backend service.
    #[serde(default)]
    pub is_self_registered: bool,
    /// Microseconds since 1970; tells it from another client that has its id one day.
    pub created_at: i64,
}

impl Record for Client {
    const KIND: &'static str = "client";
}

impl Client {
    pub fn scopes(&self) -> Scopes {
        Scopes::parse(&self.scope)
    }

    /// The web origins of its redirect URIs: where its pages come from.
    pub fn origins(&self) -> impl Iterator<Item = String> {
        let urls = self.redirect_uris.iter().filter_map(|uri| url::Url::parse(uri).ok());
        urls.filter(|url| matches!(url.scheme(), "http" | "https")).map(|url| url.origin().ascii_serialization())
    }

    /// As `token_endpoint_auth_method` names it.
    pub fn method(&self) -> &'static str {
        match self.authentication {
            Authentication::Public => "none",
            Authentication::Secret(_) => "client_secret_basic",
            Authentication::Jwks(_) | Authentication::JwksUrl(_) => "private_key_jwt",
        }
    }
}

/// True for text that can be a client's id: what RFC 6749 (A.1) allows, without what would have to be quoted in a shell.
pub fn is_client_id(text: &str) -> bool {
    (1..=200).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/@".contains(&b))
}

/// Why a redirect URI cannot be registered; `None` when it can.
pub fn redirect_uri_fault(uri: &str) -> Option<&'static str> {
    let Ok(url) = url::Url::parse(uri) else { return Some("it is no absolute URI") };
    let is_loopback = match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.fragment().is_some() {
        return Some("it has a fragment (RFC 6749, 3.1.2)");
    }
    if uri.contains('*') || !url.username().is_empty() || url.password().is_some() {
        return Some("it has a wildcard or a user in it");
    }
    match url.scheme() {
        "https" => None,
        "http" if is_loopback => None,
        "http" => Some("http is for apps on the user's own machine (localhost); use https"),
        "javascript" | "data" | "file" | "blob" | "about" | "vbscript" => Some("its scheme does not lead to an app"),
        // RFC 8252 (7.1): a native app's scheme is a domain name of its maker, reversed.
        scheme if scheme.contains('.') => None,
        _ => Some("the scheme of a native app is a reversed domain name, such as org.example.app"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirect_uris_lead_to_the_app_and_nowhere_else() {
        for good in [
            "https://app.example.org/callback",
            "https://app.example.org/callback?tenant=1",
            "http://localhost:3000/cb",
            "http://127.0.0.1/cb",
            "http://[::1]:8000/",
            "org.example.app:/callback",
        ] {
            assert_eq!(redirect_uri_fault(good), None, "{good}");
        }
        for bad in [
            "http://app.example.org/callback",
            "https://app.example.org/#here",
            "https://*.example.org/",
            "https://user@example.org/",
            "javascript:alert(1)",
            "data:text/html,x",
            "myapp:/callback",
            "/callback",
            "",
        ] {
            assert!(redirect_uri_fault(bad).is_some(), "{bad}");
        }
    }
}
