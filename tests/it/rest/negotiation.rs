use std::io::Read;

use serde_json::Value;

use super::{assert_refused, organization, organization_as, send, stored, version, versions_of_all};
use crate::harness::{Server, on_both};

const XML: &str = r#"<Organization xmlns="http://hl7.org/fhir"><id value="acme"/><active value="true"/><name value="Ac&amp;me &#8220;Ünï&#8221;"/></Organization>"#;

fn media_type(answer: &crate::harness::Answer) -> &str {
    answer.header("content-type").and_then(|text| text.split(';').next()).expect("a content type")
}

fn is_xml(answer: &crate::harness::Answer) -> bool {
    answer.text.trim_start_matches("<?xml version=\"1.0\" encoding=\"UTF-8\"?>").trim_start().starts_with('<')
}

on_both! {
    fn without_accept_the_answer_is_fhir_json_in_utf8(server) {
        stored(server, &organization_as("acme", "Ünï"));
        let read = server.get("Organization/acme");
        assert_eq!(media_type(&read), "application/fhir+json");
        assert!(read.header("content-type").is_some_and(|text| text.to_ascii_lowercase().contains("charset=utf-8")), "{read:?}");
        assert_eq!(read.body["name"], "Ünï");
    }

    fn accept_decides_about_the_format(server) {
        stored(server, &organization_as("acme", "Acme"));
        for (accept, expected) in [
            ("application/fhir+json", "application/fhir+json"),
            ("application/fhir+xml", "application/fhir+xml"),
            ("application/json", "application/json"),
            ("application/xml", "application/xml"),
            ("*/*", "application/fhir+json"),
            ("application/fhir+json;charset=utf-8", "application/fhir+json"),
            ("application/fhir+xml; charset=utf-8; fhirVersion=4.0", "application/fhir+xml"),
            ("application/fhir+xml;q=0.5, application/fhir+json;q=0.9", "application/fhir+json"),
            ("application/fhir+json;q=0.2,application/fhir+xml", "application/fhir+xml"),
            ("text/html, application/fhir+xml", "application/fhir+xml"),
            ("application/fhir+json;q=0, application/fhir+xml;q=0.1", "application/fhir+xml"),
            ("Application/FHIR+XML", "application/fhir+xml"),
        ] {
            let read = send(server, "GET", "Organization/acme", &[("accept", accept)], "");
            assert_eq!((read.status, media_type(&read)), (200, expected), "{accept}");
            assert_eq!(is_xml(&read), expected.ends_with("xml"), "{accept}: {read}");
        }
        let text_json = send(server, "GET", "Organization/acme", &[("accept", "text/json")], "");
        assert_eq!((text_json.status, &text_json.body["id"]), (200, &Value::from("acme")));
    }

    fn what_cannot_be_answered_is_406(server) {
        stored(server, &organization_as("acme", "Acme"));
        for accept in ["text/turtle", "application/fhir+turtle", "image/png", "application/fhir+json;fhirVersion=3.0", "application/fhir+json;q=0"] {
            assert_refused(&send(server, "GET", "Organization/acme", &[("accept", accept)], ""), 406);
        }
        assert_refused(&server.get("Organization/acme?_format=turtle"), 406);
    }

    fn a_406_stores_nothing(server) {
        let headers = [("content-type", "application/fhir+json"), ("accept", "text/turtle")];
        assert_refused(&send(server, "POST", "Organization", &headers, &organization("Acme").to_string()), 406);
        assert_eq!(versions_of_all(server), 0);
    }

    fn format_overrides_accept(server) {
        stored(server, &organization_as("acme", "Acme"));
        for (format, wants_xml) in [
            ("json", false), ("application/json", false), ("application/fhir%2Bjson", false), ("application/fhir+json", false),
            ("xml", true), ("text/xml", true), ("application/xml", true), ("application/fhir%2Bxml", true), ("application/fhir+xml", true),
        ] {
            let accept = if wants_xml { "application/fhir+json" } else { "application/fhir+xml" };
            for url in ["Organization/acme", "Organization/acme/_history/1", "Organization/acme/_history", "Organization", "metadata", "_history"] {
                let read = send(server, "GET", &format!("{url}?_format={format}"), &[("accept", accept)], "");
                assert_eq!((read.status, is_xml(&read)), (200, wants_xml), "{format} on {url}: {read}");
            }
        }
        let html = send(server, "GET", "Organization/acme?_format=json", &[("accept", "text/html")], "");
        assert_eq!(html.status, 200, "{html}");
    }

    fn format_is_about_the_answer_and_not_about_what_is_sent(server) {
        let created = send(server, "POST", "Organization?_format=xml", &[("content-type", "application/fhir+json")], &organization("Acme").to_string());
        assert_eq!((created.status, is_xml(&created)), (201, true), "{created}");
        let created = send(server, "PUT", "Organization/acme?_format=json", &[("content-type", "application/fhir+xml")], XML);
        assert_eq!((created.status, &created.body["id"]), (201, &Value::from("acme")), "{created}");
    }

    fn what_is_sent_as_xml_is_the_same_in_json(server) {
        for (n, media_type) in ["application/fhir+xml", "application/xml", "text/xml", "application/fhir+xml; charset=UTF-8"].iter().enumerate() {
            let id = format!("acme-{n}");
            let created = send(server, "PUT", &format!("Organization/{id}"), &[("content-type", media_type)], &XML.replace("acme", &id));
            assert_eq!(created.status, 201, "{media_type}: {created}");
            let read = server.get(&format!("Organization/{id}"));
            assert_eq!((&read.body["name"], &read.body["active"]), (&Value::from("Ac&me “Ünï”"), &Value::from(true)), "{read}");
        }
    }

    fn xml_and_json_of_a_resource_say_the_same(server) {
        stored(server, &organization_as("acme", "Acme"));
        let xml = send(server, "GET", "Organization/acme", &[("accept", "application/fhir+xml")], "");
        let back = send(server, "PUT", "Organization/acme", &[("content-type", "application/fhir+xml")], &xml.text);
        assert_eq!((back.status, version(&back)), (200, "1"), "the XML that was read is the same content: {back}");
    }

    fn malformed_xml_is_400(server) {
        for body in ["<Organization", "<Organization xmlns=\"http://hl7.org/fhir\"><name value=\"a\"></Organization>", "<Organization><name value=\"a\"/></Organization>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><Organization xmlns=\"http://hl7.org/fhir\"><name value=\"&b;\"/></Organization>", "{}"] {
            let answer = send(server, "POST", "Organization", &[("content-type", "application/fhir+xml")], body);
            assert!(matches!(answer.status, 400 | 422), "{body}: {answer}");
            assert_refused(&answer, answer.status);
        }
        assert_eq!(versions_of_all(server), 0);
    }

    fn a_refusal_is_in_the_format_asked_for(server) {
        for (headers, url) in [(("accept", "application/fhir+xml"), "Organization/nobody"), (("accept", "application/fhir+json"), "Organization/nobody?_format=xml"), (("accept", "application/fhir+xml"), "Patient/x/y/z/q")] {
            let answer = send(server, "GET", url, &[headers], "");
            assert_eq!((answer.status, media_type(&answer)), (404, "application/fhir+xml"), "{answer}");
            assert!(answer.text.contains("<OperationOutcome xmlns=\"http://hl7.org/fhir\""), "{answer}");
        }
    }

    fn a_body_of_another_media_type_is_415(server) {
        let body = organization("Acme").to_string();
        for media_type in ["text/plain", "application/fhir+turtle", "application/json-patch+json", "application/x-www-form-urlencoded", "multipart/form-data", "json"] {
            assert_refused(&send(server, "POST", "Organization", &[("content-type", media_type)], &body), 415);
        }
        assert_refused(&send(server, "POST", "Organization", &[], &body), 415);
        assert_refused(&send(server, "POST", "", &[("content-type", "text/plain")], r#"{"resourceType":"Bundle","type":"batch"}"#), 415);
        assert_eq!(versions_of_all(server), 0);
    }

    fn charset_and_fhir_version_may_be_named(server) {
        let body = organization("Acme").to_string();
        for media_type in ["application/fhir+json; charset=utf-8", "application/fhir+json;charset=UTF-8", "application/fhir+json; fhirVersion=4.0", "application/json; charset=\"utf-8\"; fhirVersion=\"4.0\"", "APPLICATION/FHIR+JSON", "text/json"] {
            let answer = send(server, "POST", "Organization", &[("content-type", media_type)], &body);
            assert_eq!(answer.status, 201, "{media_type}: {answer}");
        }
    }

    fn another_charset_or_fhir_version_is_refused(server) {
        let body = organization("Acme").to_string();
        for media_type in ["application/fhir+json; charset=iso-8859-1", "application/fhir+json; fhirVersion=3.0", "application/fhir+json; fhirVersion=5.0"] {
            assert_refused(&send(server, "POST", "Organization", &[("content-type", media_type)], &body), 415);
        }
        let headers = [("content-type", "application/fhir+json; fhirVersion=4.0"), ("accept", "application/fhir+json; fhirVersion=5.0")];
        let two = send(server, "POST", "Organization", &headers, &body);
        assert!(matches!(two.status, 400 | 406 | 415), "{two}");
        assert_eq!(versions_of_all(server), 0);
    }

    fn pretty_is_the_same_over_several_lines(server) {
        stored(server, &organization_as("acme", "Acme"));
        let plain = server.get("Organization/acme");
        let pretty = server.get("Organization/acme?_pretty=true");
        assert_eq!(pretty.body, plain.body);
        assert!(pretty.text.lines().count() > 5 && plain.text.lines().count() == 1, "{pretty}");
        assert_eq!(server.get("Organization/acme?_pretty=false").text, plain.text);
    }

    fn gzip_and_brotli_are_offered(server) {
        stored(server, &organization_as("acme", "Acme"));
        let plain = send(server, "GET", "metadata", &[("accept-encoding", "identity")], "");
        assert_eq!(plain.header("content-encoding"), None);
        // A client that does not decode by itself.
        let raw = reqwest::blocking::Client::builder().no_proxy().no_gzip().no_brotli().build().expect("a client");
        let get = |encoding: &str| raw.get(format!("{}/metadata", server.base)).header("accept-encoding", encoding).send().expect("an answer");
        let response = get("gzip");
        assert_eq!(response.headers().get("content-encoding").map(|value| value.as_bytes()), Some(&b"gzip"[..]));
        let mut text = String::new();
        let bytes = response.bytes().expect("a body");
        flate2::read::GzDecoder::new(&bytes[..]).read_to_string(&mut text).expect("gzip");
        assert_eq!(text, plain.text);
        assert!(bytes.len() < text.len() / 2);
        let brotli = get("br");
        assert_eq!(brotli.headers().get("content-encoding").map(|value| value.as_bytes()), Some(&b"br"[..]));
        let default = server.request("GET", "metadata").send().expect("an answer").text().expect("decoded by the client");
        assert_eq!(default, plain.text);
    }

    fn head_is_get_without_its_body(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &organization_as("gone", "Gone"));
        server.delete("Organization/gone");
        for url in ["Organization/acme", "Organization/acme/_history/1", "Organization/acme/_history", "Organization/_history", "_history", "Organization?name=acme", "Organization", "?_type=Organization", "metadata",
            "Organization/nobody", "Organization/gone", "Patient/a", "Organization?colour=red"] {
            let get = server.get(url);
            let head = send(server, "HEAD", url, &[], "");
            assert_eq!((head.status, head.text.as_str()), (get.status, ""), "{url}");
            for name in ["content-type", "etag", "last-modified"] {
                assert_eq!(head.header(name), get.header(name), "{name} of {url}");
            }
        }
        assert_eq!(send(server, "HEAD", "Organization/acme", &[("if-none-match", "W/\"1\"")], "").status, 304);
    }

    fn a_body_that_is_not_gzip_as_it_claims_is_400(server) {
        let headers = [("content-type", "application/fhir+json"), ("content-encoding", "gzip")];
        assert_refused(&send(server, "POST", "Organization", &headers, &organization("Acme").to_string()), 400);
        assert_eq!(versions_of_all(server), 0);
    }
}

#[test]
fn a_body_that_is_too_large_is_413() {
    let server = Server::sqlite(&[("PLUMBLINE_SERVER__BODY_BYTES_MAX", "2048")]);
    let mut resource = organization("Acme");
    assert_eq!(server.post("Organization", &resource).status, 201);
    resource["alias"] = vec!["x".repeat(100); 30].into();
    assert_refused(&server.post("Organization", &resource), 413);
    assert_eq!(versions_of_all(&server), 1);
}
