//! Hostile ids, search values and parameters in URLs.

use std::time::Instant;

use serde_json::json;

use crate::harness::{Answer, Server, on_both};

use super::{QUICK, check_none, check_refusal, fault, raw};

fn get(server: &Server, path: &str) -> Answer {
    let start = Instant::now();
    let answer = server.get(path);
    assert!(start.elapsed() < QUICK, "{path:.80} took {:?}", start.elapsed());
    answer
}

on_both! {
    fn a_hostile_search_is_refused(server) {
        let long = "x".repeat(50_000);
        let digits = "9".repeat(10_000);
        let mut faults = Vec::new();
        for (what, path) in [
            ("a count beyond all numbers", "Organization?_count=99999999999999999999".to_owned()),
            ("a negative count", "Organization?_count=-1".into()),
            ("a count of 10,000 digits", format!("Organization?_count={digits}")),
            ("a count that is no number", "Organization?_count=ten".into()),
            ("an unknown parameter", "Organization?nonsense=1".into()),
            ("an unknown parameter of 50,000 characters", format!("Organization?{long}=1")),
            ("an unknown modifier", "Organization?name:nonsense=1".into()),
            ("a modifier of 50,000 characters", format!("Organization?name:{long}=1")),
            ("a lone bar", "Organization?identifier=%7C".into()),
            ("many bars", format!("Organization?identifier={}", "%7C".repeat(1_000))),
            ("a date that is none", "Organization?_lastUpdated=yesterday".into()),
            ("a date of 10,000 digits", format!("Organization?_lastUpdated={digits}")),
            ("the 30th of February", "Organization?_lastUpdated=2024-02-30".into()),
            ("10,001 values", format!("Organization?name={}x", "x,".repeat(10_000))),
            ("10,001 ids", format!("Organization?_id={}x", "x,".repeat(10_000))),
            ("200 parameters", format!("Organization?{}", "name=x&".repeat(200))),
            ("200 includes", format!("Organization?{}", "_include=Organization:partof&".repeat(200))),
            ("a chain of 1,000 steps", format!("Organization?{}name=x", "partof.".repeat(1_000))),
            ("a chain of 8 steps", format!("Organization?{}name=x", "partof.".repeat(8))),
            ("_has in _has, 1,000 times", format!("Organization?{}name=x", "_has:Organization:partof:".repeat(1_000))),
            ("half a _has", "Organization?_has=x".into()),
            ("half a _has, with colons", "Organization?_has:::=x".into()),
            ("a chain of dots", format!("Organization?{}=x", ".".repeat(1_000))),
            ("a chain over a text", "Organization?name.name=x".into()),
            ("an include of nothing", "Organization?_include=:::".into()),
            ("an include of an unknown type", "Organization?_include=Nonsense:x".into()),
            ("a sort by nothing known", "Organization?_sort=nonsense".into()),
            ("100 sorts", format!("Organization?_sort={}", "name,".repeat(100))),
            ("a near that is none", "Location?near=x".into()),
            ("a near beyond the poles", "Location?near=91%7C0%7C1%7Ckm".into()),
            ("a near of NaN", "Location?near=NaN%7CNaN%7CNaN%7Ckm".into()),
            ("a near of infinity", "Location?near=inf%7C-inf%7C1e999%7Ckm".into()),
            ("a near in furlongs", "Location?near=1%7C1%7C1%7Cfurlong".into()),
            ("a cursor made up", "Organization?_cursor=AAAA".into()),
            ("a cursor of 50,000 characters", format!("Organization?_cursor={long}")),
            ("a summary of nothing known", "Organization?_summary=nonsense".into()),
            ("a total of nothing known", "Organization?_total=nonsense".into()),
            ("a missing that is no boolean", "Organization?name:missing=maybe".into()),
            ("a half escape", "Organization?name=x%5C".into()),
            ("an unknown type of _type", "?_type=Nonsense".into()),
            ("SQL for a parameter", "Organization?name'%20OR%201=1--=x".into()),
        ] {
            faults.extend(fault(&get(server, &path), &[400], what));
        }
        check_none(&faults);
    }

    /// Whatever a value holds, it is only a value.
    fn a_hostile_value_finds_nothing_or_is_refused(server) {
        assert_eq!(server.put("Organization/a", &json!({"resourceType": "Organization", "id": "a", "name": "Acme"})).status, 201);
        let values = [
            "%00", "a%00b", "%01%02", "%ff%fe", "%c0%80", "%ed%a0%80", "%f4%90%80%80", "%F4%8F%BF%BF", "%EF%BF%BF", "%25", "%25_", "_", "%25%25%25%25", "'", "''", "'%20OR%201=1--",
            "%22", "%5C%5C", "%5C,", "%5C$", "%5C%7C", "*", "%3B%20DROP%20TABLE%20resource", "$1", "?1", "%0D%0AX:%20y", "%E2%80%AE", "%F0%9F%98%80", "%CC%81%CC%81%CC%81", "-", "../..",
            "1e999", "-1e999", "NaN", "0x10", "%2B", "true", "null", "{}", "[]", "<script>",
        ];
        for parameter in
            ["name", "name:exact", "name:contains", "identifier", "identifier:not", "_id", "_lastUpdated", "type", "partof", "partof:identifier", "partof.name", "address", "_profile", "_tag", "_has:Organization:partof:name"]
        {
            for value in values {
                let answer = get(server, &format!("Organization?{parameter}={value}"));
                assert!(matches!(answer.status, 200 | 400), "{parameter}={value}: {answer}");
                if answer.status == 400 {
                    check_refusal(&answer, &[400], &format!("{parameter}={value}"));
                } else if parameter != "identifier:not" {
                    assert!(answer.entries("match").is_empty(), "{parameter}={value}: {answer}");
                }
            }
        }
        for value in values {
            for path in [format!("Location?near={value}"), format!("Organization?_sort={value}"), format!("Organization?_elements={value}"), format!("Organization?_include={value}"), format!("Organization?{value}=x")] {
                let answer = get(server, &path);
                assert!(matches!(answer.status, 200 | 400), "{path}: {answer}");
            }
        }
    }

    fn a_hostile_id_is_refused(server) {
        for id in [
            "%00", "a%00", "a%2fb", "a%2Fb%2Fc", "%2e%2e%2f%2e%2e%2fetc%2fpasswd", "..%5c..", "a%20b", "a%0d%0aX:%20y", "%ff", "%c0%ae", "a;b", "a'b", "a%22b", "%E2%80%AE", "a_b", "%25", "$everything", "a*",
            "%F0%9F%98%80",
        ] {
            for path in [format!("Organization/{id}"), format!("Organization/{id}/_history"), format!("Organization/{id}/_history/1")] {
                check_refusal(&get(server, &path), &[400, 404, 405], &path);
            }
            for method in ["PUT", "PATCH", "DELETE"] {
                let request = server.request(method, &format!("Organization/{id}")).header("content-type", "application/fhir+json");
                check_refusal(&Answer::of(request.body("{\"resourceType\":\"Organization\",\"name\":\"x\"}")), &[400, 404, 405, 415], &format!("{method} {id}"));
            }
        }
        let long = "a".repeat(65);
        check_refusal(&get(server, &format!("Organization/{long}")), &[400, 404], "65 characters");
        let long = "a".repeat(50_000);
        check_refusal(&get(server, &format!("Organization/{long}")), &[400, 404], "50,000 characters");
        check_refusal(&get(server, &format!("{long}/a")), &[404], "a type of 50,000 characters");
        assert_eq!(get(server, &format!("Organization?_id={long}")).entries("match").len(), 0);
        for version in ["0", "-1", "x", "%00", "99999999999999999999", "9223372036854775807", "1e3", "01", &"9".repeat(10_000)] {
            check_refusal(&get(server, &format!("Organization/a/_history/{version}")), &[400, 404], version);
        }
    }
}

#[test]
fn urls_as_no_client_library_sends_them() {
    let server = Server::sqlite(&[]);
    let mut faults = Vec::new();
    for (what, target, statuses) in [
        ("raw bytes in the path", &b"/fhir/Organization/\xff\xfe"[..], &[400, 404][..]),
        ("raw bytes in the query", b"/fhir/Organization?name=\xff\xfe", &[200, 400]),
        ("half a percent sign", b"/fhir/Organization/%", &[400, 404]),
        ("half a percent sign in the query", b"/fhir/Organization?name=%&_count=%zz", &[400]),
        ("a bad percent sign", b"/fhir/Organization/%zz", &[400, 404]),
        ("dots", b"/fhir/../../../../etc/passwd", &[400, 404]),
        ("escaped dots", b"/%2e%2e/%2e%2e/etc/passwd", &[400, 404]),
        ("many slashes", b"//////fhir//////Organization", &[400, 404]),
        ("a back slash", b"\\fhir\\Organization", &[400, 404]),
        ("a NUL", b"/fhir/Organization/\x00", &[400]),
        ("a tab", b"/fhir/Organization\t?name=x", &[400]),
        ("no slash", b"fhir", &[400, 403, 404]),
        ("nothing", b"", &[400]),
        ("an asterisk", b"*", &[400, 404]),
        ("a foreign URL", b"http://evil.example/fhir/metadata", &[400, 403, 404]),
        ("a fragment", b"/fhir/metadata#x", &[200, 400, 404]),
    ] {
        let reply = raw::exchange(&server, &[b"GET ", target, b" HTTP/1.1\r\n{host}\r\n"].concat(), b"");
        if !statuses.contains(&reply.status) || reply.took > QUICK || reply.text.contains("root:") {
            faults.push(format!("{what}: not {statuses:?}: {reply:?}"));
        }
    }
    check_none(&faults);
    for (what, target) in [
        ("1 MB of path", format!("/fhir/Organization/{}", "a".repeat(1_000_000))),
        ("1 MB of query", format!("/fhir/Organization?name={}", "a".repeat(1_000_000))),
        ("100,000 parameters", format!("/fhir/Organization?{}", "a=b&".repeat(100_000))),
    ] {
        let reply = raw::exchange(&server, format!("GET {target} HTTP/1.1\r\n{{host}}\r\n").as_bytes(), b"");
        // 0: closed while the request was still being sent, which is a refusal too.
        assert!(matches!(reply.status, 0 | 400 | 404 | 414 | 431), "{what}: {}", reply.status);
        assert!(reply.took < QUICK, "{what}: {:?}", reply.took);
    }
    assert_eq!(server.get("metadata").status, 200);
}

/// A form may be as long as a body: the limits of a search hold there too.
#[test]
fn a_hostile_form_is_refused() {
    let server = Server::sqlite(&[]);
    let post = |form: String| {
        let start = Instant::now();
        let answer = Answer::of(
            server
                .request("POST", "Organization/_search")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(form),
        );
        assert!(start.elapsed() < QUICK, "{:?}", start.elapsed());
        answer
    };
    let mut faults = Vec::new();
    faults.extend(fault(&post("a=b&".repeat(1_000_000)), &[400, 413], "a million parameters"));
    faults.extend(fault(&post(format!("name={}", "x,".repeat(1_000_000))), &[400, 413], "a million values"));
    faults.extend(fault(&post(format!("{}=x", "partof.".repeat(100_000))), &[400], "100,000 steps"));
    faults.extend(fault(
        &post(format!("{}name=x", "_has:Organization:partof:".repeat(100_000))),
        &[400],
        "100,000 times _has",
    ));
    faults.extend(fault(&post(format!("_sort={}", "name,".repeat(100_000))), &[400], "100,000 sorts"));
    faults.extend(fault(&post(format!("_include={}", ":".repeat(1_000_000))), &[400], "a million colons"));
    check_none(&faults);
    for value in ["x".repeat(1_000_000), "\u{301}".repeat(300_000), "ﷺ".repeat(300_000)] {
        for parameter in [
            "name",
            "name:exact",
            "name:contains",
            "identifier",
            "_id",
            "partof",
            "_lastUpdated",
            "address",
            "_profile",
        ] {
            let answer = post(format!("{parameter}={value}"));
            assert!(matches!(answer.status, 200 | 400 | 413), "{parameter}: {:.300}", answer.text);
        }
    }
    let answer = post(format!("_elements={}", "name,".repeat(200_000)));
    assert!(matches!(answer.status, 200 | 400), "{:.300}", answer.text);
}
