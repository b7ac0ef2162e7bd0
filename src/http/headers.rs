//! What every response tells a browser, so that nothing here becomes part of somebody's attack.

use actix_web::body::MessageBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::header::{self, HeaderName, HeaderValue};

use crate::config::Server;

/// For whatever comes: data, not pages. A handler that shows a page sets its own Content-Security-Policy.
const ALWAYS: [(HeaderName, HeaderValue); 6] = [
    // What is no script is not run as one, whatever it looks like.
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    // URLs hold what people search for.
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    // The directory is for everybody's pages; who may read what, `cors` says.
    (header::CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
    (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    // Last, so that it can be left out: a year of https and nothing else (RFC 6797).
    (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
];

/// Adds what the handler has not said by itself.
pub(super) fn complete<B: MessageBody>(server: &Server, response: &mut ServiceResponse<B>) {
    // Only the name in base_url is promised to stay with https. Without it the names are loopback, which serve other things.
    let count = if server.is_reached_by_https() { ALWAYS.len() } else { ALWAYS.len() - 1 };
    let is_personal = response.request().headers().contains_key(header::AUTHORIZATION);
    let headers = response.headers_mut();
    // It has kept a file from being compressed, and says nothing (RFC 9110, 8.4).
    if headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding == "identity") {
        headers.remove(header::CONTENT_ENCODING);
    }
    for (name, value) in ALWAYS.into_iter().take(count) {
        if !headers.contains_key(&name) {
            headers.insert(name, value);
        }
    }
    if is_personal && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::HttpResponse;
    use actix_web::test::TestRequest;

    use super::*;
    use crate::config::Settings;

    #[test]
    fn what_a_handler_says_stays() {
        let mut server = Settings::defaults().expect("defaults").server;
        let mut complete = |base_url: Option<&str>, response: HttpResponse| {
            server.base_url = base_url.map(str::to_owned);
            let request = TestRequest::default().insert_header((header::AUTHORIZATION, "Bearer x")).to_srv_request();
            let mut response = request.into_response(response);
            super::complete(&server, &mut response);
            response
        };
        let own = HttpResponse::Ok()
            .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'self'"))
            .insert_header((header::CACHE_CONTROL, "private"))
            .finish();
        let response = complete(Some("https://directory.example/fhir"), own);
        let said = |response: &ServiceResponse, name: HeaderName| -> Vec<String> {
            response.headers().get_all(name).map(|value| value.to_str().expect("text").to_owned()).collect()
        };
        assert_eq!(said(&response, header::CONTENT_SECURITY_POLICY), ["default-src 'self'"]);
        assert_eq!(said(&response, header::CACHE_CONTROL), ["private"]);
        assert_eq!(said(&response, header::X_FRAME_OPTIONS), ["DENY"]);
        assert_eq!(said(&response, header::STRICT_TRANSPORT_SECURITY), ["max-age=31536000"]);
        let response = complete(None, HttpResponse::Ok().finish());
        assert_eq!(said(&response, header::CACHE_CONTROL), ["no-store"]);
        assert_eq!(said(&response, header::STRICT_TRANSPORT_SECURITY), Vec::<String>::new());
    }
}
