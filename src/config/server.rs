//! Where the server listens, by which URL it is reached, and whom it believes.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::network::Network;

#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    pub listen: String,
    pub base_url: Option<String>,
    pub tls_cert: Option<PathBuf>,
    pub tls_key: Option<PathBuf>,
    pub tls_client_certificates: ClientCertificates,
    pub trusted_proxies: Vec<Network>,
    pub workers: usize,
    pub body_bytes_max: usize,
    pub connections_max: usize,
}

/// Whether clients are asked for a certificate of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientCertificates {
    Off,
    /// Those who have one show it. Whose it is, its digest tells (RFC 8705, 2.2): no chain is checked.
    Optional,
}

impl Server {
    /// True when the server itself speaks TLS.
    pub fn has_tls(&self) -> bool {
        self.tls_cert.is_some()
    }

    /// Of the URLs under which the server is reached directly.
    pub fn scheme(&self) -> &'static str {
        if self.has_tls() { "https" } else { "http" }
    }

    /// True when clients are told to come by https: to this server, or to a proxy before it.
    pub fn is_reached_by_https(&self) -> bool {
        self.base_url.as_deref().is_some_and(|url| url.starts_with("https://"))
    }

    /// What is wrong with `base_url`.
    pub(super) fn fault(&self) -> Option<String> {
        let url = self.base_url.as_deref()?;
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is_base = rest.is_some_and(|rest| {
            let authority = rest.split('/').next().unwrap_or_default();
            let has_host = url::Url::parse(url).is_ok_and(|url| url.has_host());
            let is_plain = !rest.contains(['?', '#']) && !authority.contains('@') && !authority.is_empty();
            has_host && is_plain && rest.trim_end_matches('/').ends_with("/fhir")
        });
        (!is_base).then(|| {
            format!(
                "server.base_url is '{url}', but must be the http:// or https:// URL of the FHIR base, which ends in /fhir, as in https://directory.example/fhir"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::config::Settings;

    #[test]
    fn a_base_url_is_that_of_the_fhir_base() {
        let mut server = Settings::defaults().expect("defaults").server;
        assert_eq!(server.fault(), None);
        for (url, is_right) in [
            ("https://directory.example/fhir", true),
            ("https://directory.example/fhir/", true),
            ("http://127.0.0.1:8080/fhir", true),
            ("https://example.org:8443/some/folder/fhir", true),
            ("https://[2001:db8::1]/fhir", true),
            ("https://directory.example", false),
            ("https://directory.example/", false),
            ("https://directory.example/fhirs", false),
            ("https://directory.example/xfhir", false),
            ("https://directory.example/fhir?x", false),
            ("https://directory.example/#/fhir", false),
            ("https://user@directory.example/fhir", false),
            ("https:///fhir", false),
            ("https:///x/fhir", false),
            ("ftp://directory.example/fhir", false),
            ("directory.example/fhir", false),
            ("", false),
        ] {
            server.base_url = Some(url.to_owned());
            assert_eq!(server.fault().is_none(), is_right, "{url}: {:?}", server.fault());
        }
    }
}
