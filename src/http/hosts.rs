//! The names under which the server answers.
//!
//! A web page could let a name of its own point to a server that only its reader's browser reaches, and so talk to it as if it
//! were the page's own server. So the name must be one of ours; only those who ask for the server's health are not asked for it.

use std::net::{IpAddr, SocketAddr};

use actix_web::HttpRequest;
use actix_web::dev::ServiceRequest;
use actix_web::http::{Version, header};

use crate::app::App;
use crate::config::Server;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;

/// The refusal of a request that names another server than this one, or none where HTTP wants one (RFC 9112, 3.2).
pub(super) fn foreign(app: &App, request: &ServiceRequest) -> Option<FhirError> {
    let mut hosts = request.headers().get_all(header::HOST);
    let (host, another) = (hosts.next(), hosts.next());
    // A URL with a host in the request line means that host, whatever the header says. HTTP/2 has just that, as `:authority`.
    let in_line = request.uri().authority().map(|authority| authority.as_str());
    let has_none = host.is_none_or(|host| host.is_empty());
    let must_have_one =
        request.version() == Version::HTTP_11 || in_line.is_none() && request.version() > Version::HTTP_10;
    if another.is_some() || has_none && must_have_one {
        return Some(FhirError::malformed("A request has one Host header."));
    }
    let named = host.filter(|host| !host.is_empty()).map(|host| host.to_str().unwrap_or("?"));
    let is_foreign = [named, in_line].into_iter().flatten().any(|host| !is_own(&app.settings.server, host));
    is_foreign.then(|| {
        let sentence =
            "This server does not answer under that name; use the address it printed at start, or set server.base_url.";
        FhirError::new(Kind::Forbidden, sentence).code(IssueCode::Security)
    })
}

/// The FHIR base as the client reached it: the setting, or what its Host header says. Only loopback names come this far.
pub(super) fn base(app: &App, request: &HttpRequest) -> String {
    if app.settings.server.base_url.is_some() {
        return app.base().to_owned();
    }
    let header = request.headers().get(header::HOST).and_then(|host| host.to_str().ok());
    match header.or_else(|| request.uri().authority().map(|authority| authority.as_str())) {
        Some(host) if is_own(&app.settings.server, host) => format!("{}://{host}/fhir", app.settings.server.scheme()),
        _ => app.base().to_owned(),
    }
}

/// True for the names of this machine to itself and for the host of `server.base_url`.
fn is_own(server: &Server, host: &str) -> bool {
    if server.base_url.as_deref().is_some_and(|url| is_host_of(url, host)) {
        return true;
    }
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host
        .rsplit_once(':')
        .filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()))
        .map_or(host, |(name, _)| name);
    name.eq_ignore_ascii_case("localhost")
        || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// True when a Host header means the host and port of a URL; the usual port may be left out on both sides.
fn is_host_of(url: &str, host: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return false };
    let usual = if scheme == "https" { ":443" } else { ":80" };
    let own = rest.split('/').next().unwrap_or_default();
    let short = |authority| str::strip_suffix(authority, usual).unwrap_or(authority);
    short(own).eq_ignore_ascii_case(short(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_of_the_base_url_is_known_by_its_port() {
        for (url, host, is_own) in [
            ("https://directory.example/fhir", "directory.example", true),
            ("https://directory.example/fhir", "Directory.Example:443", true),
            ("https://directory.example:443/fhir", "directory.example", true),
            ("https://directory.example/fhir", "directory.example:80", false),
            ("https://directory.example/fhir", "directory.example:8443", false),
            ("https://directory.example:8443/fhir", "directory.example:8443", true),
            ("https://directory.example:8443/fhir", "directory.example", false),
            ("http://directory.example/fhir", "directory.example:80", true),
            ("https://[2001:db8::1]/fhir", "[2001:db8::1]:443", true),
            ("https://directory.example/fhir", "directory.example.other", false),
            ("https://directory.example/fhir", "other.directory.example", false),
            ("https://directory.example/fhir", "", false),
        ] {
            assert_eq!(is_host_of(url, host), is_own, "{url} {host}");
        }
    }
}
