//! What web pages from elsewhere may do here (Fetch, "CORS protocol"; SMART App Launch 2.2, "Considerations for CORS").
//!
//! Everybody's pages may read what everybody may read: that is what a directory is for. Tokens, and changes, are for the pages
//! of registered apps. The pages of the login are for nobody else's. Cookies are never let in: no answer allows credentials.

use std::collections::HashSet;

use actix_web::HttpResponse;
use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use arc_swap::ArcSwap;

/// Headers of an answer that a page may read besides those that are always visible.
const EXPOSED: &str = "ETag, Location, Last-Modified, Content-Location, Content-Range, Expires, Retry-After, WWW-Authenticate, X-Progress";
/// Headers that any page may send. Content-Type is not among them: with it, and a POST that browsers send unasked once they
/// remember the header from a preflight for a GET, any page could write where no token is needed. A search is posted as a
/// form, which needs no permission.
const SENT_BY_ALL: &str = "accept, prefer, if-none-match, if-modified-since, if-range, range";
/// Headers that pages of registered apps may send.
const SENT_BY_APPS: &str = "authorization, content-type, accept, prefer, if-match, if-none-match, if-none-exist, if-modified-since, if-range, range";
/// For how long a browser remembers the answer to a preflight.
const REMEMBERED_S: &str = "600";

/// Parts of the server that are open to pages from elsewhere in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    /// The FHIR interface, with what it says about itself.
    Fhir,
    /// The public keys of the server.
    Keys,
    /// Where apps come for tokens.
    Tokens,
    /// Everything else, the pages of the login above all.
    Closed,
}

/// `path` is decoded, as the router sees it. What is spelt in an unusual way is closed.
fn area(path: &str) -> Area {
    let is_within = |root: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if is_within("/fhir") {
        Area::Fhir
    } else if is_within("/auth/jwks") {
        Area::Keys
    } else if ["/auth/token", "/auth/revoke", "/auth/introspect", "/auth/register"].into_iter().any(is_within) {
        Area::Tokens
    } else {
        Area::Closed
    }
}

fn is_search(path: &str) -> bool {
    path.strip_suffix('/').unwrap_or(path).ends_with("/_search")
}

/// The origins of registered apps: `https://app.example`.
type Origins = ArcSwap<HashSet<String>>;

/// Whose pages may read an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readers {
    Everybody,
    /// Those of registered apps.
    Apps,
    Nobody,
}

fn readers(method: &Method, path: &str) -> Readers {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    match area(path) {
        // A preflight says itself what it allows, and no page asks for the method otherwise.
        _ if *method == Method::OPTIONS => Readers::Nobody,
        Area::Fhir if is_read || *method == Method::POST && is_search(path) => Readers::Everybody,
        Area::Keys if is_read => Readers::Everybody,
        Area::Fhir | Area::Tokens => Readers::Apps,
        Area::Keys | Area::Closed => Readers::Nobody,
    }
}

/// What the answer to a preflight allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Allowed {
    readers: Readers,
    methods: &'static str,
    headers: &'static str,
}

/// `None`: nothing. `method` is what the page wants to do, `is_app` whether it is one of a registered app.
fn allowed(path: &str, method: &str, is_app: bool) -> Option<Allowed> {
    let apps = |methods| Some(Allowed { readers: Readers::Apps, methods, headers: SENT_BY_APPS });
    let all = |methods| Some(Allowed { readers: Readers::Everybody, methods, headers: SENT_BY_ALL });
    match area(path) {
        Area::Fhir if is_app => apps("GET, HEAD, POST, PUT, PATCH, DELETE"),
        Area::Tokens if is_app => apps("POST"),
        // Browsers send a POST even if the methods do not name it, so that it takes a refusal to keep one away.
        Area::Fhir if is_search(path) && matches!(method, "GET" | "HEAD" | "POST") => all("GET, HEAD, POST"),
        Area::Fhir | Area::Keys if matches!(method, "GET" | "HEAD") => all("GET, HEAD"),
        _ => None,
    }
}

/// The page's origin, if it is that of a registered app. `null` is the origin of very different pages.
fn app_origin<'o>(origins: &HashSet<String>, origin: Option<&'o HeaderValue>) -> Option<&'o HeaderValue> {
    origin.filter(|origin| origin.to_str().is_ok_and(|text| text != "null" && origins.contains(text)))
}

/// The answer to a preflight; `None` when the request is none.
pub(super) fn preflight(origins: &Origins, request: &ServiceRequest) -> Option<HttpResponse> {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN);
    let method = headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?.to_str().unwrap_or("?");
    if *request.method() != Method::OPTIONS || origin.is_none() {
        return None;
    }
    let app_origin = app_origin(&origins.load(), origin);
    let mut response = HttpResponse::build(StatusCode::NO_CONTENT);
    response.insert_header((header::VARY, "Origin"));
    if let Some(allowed) = allowed(request.match_info().as_str(), method, app_origin.is_some()) {
        match (allowed.readers, app_origin) {
            (Readers::Everybody, _) => response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")),
            (_, Some(origin)) => response.insert_header((header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())),
            (_, None) => &mut response,
        };
        response.insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, allowed.methods));
        response.insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, allowed.headers));
        response.insert_header((header::ACCESS_CONTROL_MAX_AGE, REMEMBERED_S));
    }
    Some(response.finish())
}

/// Says in an answer which pages may read it.
pub(super) fn complete<B: MessageBody>(origins: &Origins, response: &mut ServiceResponse<B>) {
    let request = response.request();
    let readers = readers(request.method(), request.match_info().as_str());
    let app_origin = match readers {
        Readers::Apps => app_origin(&origins.load(), request.headers().get(header::ORIGIN)).cloned(),
        Readers::Everybody | Readers::Nobody => None,
    };
    let headers = response.headers_mut();
    let allowed = match readers {
        // Whoever asks, and even if nobody asked: a cache may hand the answer to a page later.
        Readers::Everybody => Some(HeaderValue::from_static("*")),
        Readers::Apps => {
            headers.append(header::VARY, HeaderValue::from_static("Origin"));
            app_origin
        }
        Readers::Nobody => None,
    };
    if let Some(allowed) = allowed {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const APP: &str = "https://app.example";
    const OTHER: &str = "https://other.example";

    fn origins() -> Origins {
        ArcSwap::from_pointee([APP, "null"].map(str::to_owned).into_iter().collect())
    }

    fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> ServiceRequest {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let request = TestRequest::default().method(method).uri(path);
        headers.iter().fold(request, |request, header| request.insert_header(*header)).to_srv_request()
    }

    fn named(headers: &header::HeaderMap, name: &str) -> String {
        headers.get_all(name).map(|value| value.to_str().expect("text")).collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn answers_are_for_everybody_for_apps_or_for_nobody() {
        for (method, path, for_app, for_others) in [
            ("GET", "/fhir", "*", "*"),
            ("GET", "/fhir/metadata", "*", "*"),
            ("GET", "/fhir/.well-known/smart-configuration", "*", "*"),
            ("GET", "/fhir/Organization/a", "*", "*"),
            ("HEAD", "/fhir/Organization/a", "*", "*"),
            ("POST", "/fhir/Organization/_search", "*", "*"),
            ("POST", "/fhir/Organization/_search/", "*", "*"),
            ("POST", "/fhir/_search", "*", "*"),
            ("GET", "/auth/jwks", "*", "*"),
            ("POST", "/fhir", APP, ""),
            ("POST", "/fhir/Organization", APP, ""),
            ("PUT", "/fhir/Organization/a", APP, ""),
            ("PUT", "/fhir/Organization/_search", APP, ""),
            ("PATCH", "/fhir/Organization/a", APP, ""),
            ("DELETE", "/fhir/Organization/a", APP, ""),
            ("POST", "/fhir/Organization/$validate", APP, ""),
            ("POST", "/fhir/metadata", APP, ""),
            ("POST", "/auth/token", APP, ""),
            ("GET", "/auth/token", APP, ""),
            ("POST", "/auth/revoke", APP, ""),
            ("POST", "/auth/introspect", APP, ""),
            ("POST", "/auth/register", APP, ""),
            ("POST", "/auth/jwks", "", ""),
            ("GET", "/auth/authorize", "", ""),
            ("POST", "/auth/authorize", "", ""),
            ("GET", "/auth/launch", "", ""),
            ("GET", "/auth/login", "", ""),
            ("GET", "/auth/tokens", "", ""),
            ("GET", "/auth", "", ""),
            ("GET", "/fhirs", "", ""),
            ("GET", "/health/live", "", ""),
            ("GET", "/", "", ""),
            ("OPTIONS", "/fhir/Organization", "", ""),
        ] {
            for (origin, expected) in [(APP, for_app), (OTHER, for_others), ("null", for_others), ("", for_others)] {
                let sent: &[_] = if origin.is_empty() { &[] } else { &[("origin", origin)] };
                let mut response = request(method, path, sent).into_response(HttpResponse::Ok().finish());
                complete(&origins(), &mut response);
                let what = format!("{method} {path} from '{origin}'");
                assert_eq!(named(response.headers(), "access-control-allow-origin"), expected, "{what}");
                let exposed = if expected.is_empty() { "" } else { EXPOSED };
                assert_eq!(named(response.headers(), "access-control-expose-headers"), exposed, "{what}");
                let varies = for_app == APP;
                assert_eq!(named(response.headers(), "vary"), if varies { "Origin" } else { "" }, "{what}");
                assert_eq!(named(response.headers(), "access-control-allow-credentials"), "", "{what}");
            }
        }
    }

    #[test]
    fn a_preflight_says_what_its_page_may_do() {
        let fhir = (APP, "GET, HEAD, POST, PUT, PATCH, DELETE", SENT_BY_APPS);
        let read = ("*", "GET, HEAD", SENT_BY_ALL);
        let search = ("*", "GET, HEAD, POST", SENT_BY_ALL);
        let nothing = ("", "", "");
        for (method, path, for_app, for_others) in [
            ("GET", "/fhir/Organization/a", fhir, read),
            ("HEAD", "/fhir/Organization/a", fhir, read),
            ("PUT", "/fhir/Organization/a", fhir, nothing),
            ("POST", "/fhir/Organization", fhir, nothing),
            ("POST", "/fhir", fhir, nothing),
            ("DELETE", "/fhir/Organization/_search", fhir, nothing),
            ("get", "/fhir/Organization/a", fhir, nothing),
            ("GET", "/fhir/metadata", fhir, read),
            ("GET", "/fhir/.well-known/smart-configuration", fhir, read),
            ("POST", "/fhir/Organization/_search", fhir, search),
            ("GET", "/auth/jwks", read, read),
            ("POST", "/auth/jwks", nothing, nothing),
            ("POST", "/auth/token", (APP, "POST", SENT_BY_APPS), nothing),
            ("POST", "/auth/register", (APP, "POST", SENT_BY_APPS), nothing),
            ("GET", "/auth/authorize", nothing, nothing),
            ("GET", "/auth/launch", nothing, nothing),
            ("GET", "/auth/other", nothing, nothing),
            ("GET", "/", nothing, nothing),
        ] {
            for (origin, expected) in [(APP, for_app), (OTHER, for_others), ("null", for_others)] {
                let asked = [
                    ("origin", origin),
                    ("access-control-request-method", method),
                    ("access-control-request-headers", "authorization"),
                ];
                let response = preflight(&origins(), &request("OPTIONS", path, &asked)).expect("an answer");
                let headers = response.headers();
                let said =
                    ["origin", "methods", "headers"].map(|of| named(headers, &format!("access-control-allow-{of}")));
                let what = format!("{method} {path} from {origin}");
                assert_eq!(said, [expected.0, expected.1, expected.2], "{what}");
                let remembered = if expected == nothing { "" } else { "600" };
                assert_eq!(named(headers, "access-control-max-age"), remembered, "{what}");
                assert_eq!(named(headers, "vary"), "Origin");
                assert_eq!(named(headers, "access-control-allow-credentials"), "");
                assert_eq!(response.status(), StatusCode::NO_CONTENT);
            }
        }
    }

    #[test]
    fn what_is_no_preflight_goes_on() {
        for (method, headers) in [
            ("OPTIONS", &[][..]),
            ("OPTIONS", &[("origin", APP)]),
            ("OPTIONS", &[("access-control-request-method", "GET")]),
            ("GET", &[("origin", APP), ("access-control-request-method", "GET")]),
        ] {
            assert!(
                preflight(&origins(), &request(method, "/fhir/metadata", headers)).is_none(),
                "{method} {headers:?}"
            );
        }
    }
}
