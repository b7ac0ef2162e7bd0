//! Hostile bodies, in each format a body may have.

use std::time::Instant;

use crate::harness::{Answer, Server, on_both};

use super::{QUICK, check_none, check_refusal, fault, versions_stored};

const JSON: &str = "application/fhir+json";
const XML: &str = "application/fhir+xml";
const FHIR: &str = "http://hl7.org/fhir";

/// What is sent, and what it is.
struct Case {
    what: &'static str,
    body: Vec<u8>,
    statuses: &'static [u16],
}

fn case(what: &'static str, body: impl Into<Vec<u8>>, statuses: &'static [u16]) -> Case {
    Case { what, body: body.into(), statuses }
}

fn send(server: &Server, method: &str, path: &str, media_type: &str, body: Vec<u8>) -> Answer {
    let start = Instant::now();
    let answer = Answer::of(server.request(method, path).header("content-type", media_type).body(body));
    assert!(start.elapsed() < QUICK, "{method} {path} took {:?}: {}", start.elapsed(), answer.status);
    answer
}

fn refuse_all(server: &Server, method: &str, path: &str, media_type: &str, cases: Vec<Case>) {
    let faults: Vec<String> = cases
        .into_iter()
        .filter_map(|case| fault(&send(server, method, path, media_type, case.body), case.statuses, case.what))
        .collect();
    check_none(&faults);
    assert_eq!(server.get("metadata").status, 200, "it still serves");
}

/// An Organization in JSON with these members.
fn organization(members: &str) -> String {
    format!("{{\"resourceType\":\"Organization\",{members}}}")
}

fn nested(open: &str, inside: &str, close: &str, times: usize) -> String {
    format!("{}{inside}{}", open.repeat(times), close.repeat(times))
}

fn broken_json() -> Vec<Case> {
    const BAD: &[u16] = &[400];
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    vec![
        case("nothing", "", BAD),
        case("white space", " \n\t ", BAD),
        case("an open brace", "{", BAD),
        case("a list", "[]", BAD),
        case("null", "null", BAD),
        case("a text", "\"Organization\"", BAD),
        case("a number", "1", BAD),
        case("true", "true", BAD),
        case("no resourceType", "{}", BAD),
        case("a resourceType that is a number", "{\"resourceType\":5}", BAD),
        case("a resourceType that is a list", "{\"resourceType\":[\"Organization\"]}", BAD),
        case("an unknown resourceType", "{\"resourceType\":\"Nonsense\"}", BAD),
        case("a very long resourceType", format!("{{\"resourceType\":\"{}\"}}", "A".repeat(1_000_000)), BAD),
        case("another resourceType", "{\"resourceType\":\"Location\",\"name\":\"x\"}", BAD),
        case("a Bundle", "{\"resourceType\":\"Bundle\",\"type\":\"batch\"}", BAD),
        case("two documents", "{\"resourceType\":\"Organization\"} {\"resourceType\":\"Organization\"}", BAD),
        case("a comma too many", organization("\"name\":\"x\","), BAD),
        case("single quotes", "{'resourceType':'Organization'}", BAD),
        case("a comment", organization("/* x */\"name\":\"x\""), BAD),
        case("NaN", organization("\"name\":NaN"), BAD),
        case("a leading zero", organization("\"name\":01"), BAD),
        case("a plus", organization("\"name\":+1"), BAD),
        case("a raw control character", organization("\"name\":\"a\u{0}b\""), BAD),
        case("a raw line break", organization("\"name\":\"a\nb\""), BAD),
        case("half a surrogate", organization("\"name\":\"\\ud800\""), BAD),
        case("a bad escape", organization("\"name\":\"\\x41\""), BAD),
        case("a NUL at the end", format!("{}\u{0}", organization("\"name\":\"x\"")), BAD),
        case(
            "invalid UTF-8",
            [b"{\"resourceType\":\"Organization\",\"name\":\"".as_slice(), b"\xff\xfe\"}"].concat(),
            BAD,
        ),
        case(
            "overlong UTF-8",
            [b"{\"resourceType\":\"Organization\",\"name\":\"".as_slice(), b"\xc0\x80\"}"].concat(),
            BAD,
        ),
        case("UTF-16", utf16(&format!("\u{feff}{}", organization("\"name\":\"x\""))), BAD),
        case("the same key twice", organization("\"name\":\"x\",\"name\":\"y\""), BAD),
        case("the same key twice, escaped", organization("\"name\":\"x\",\"na\\u006de\":\"y\""), BAD),
        case("the same key twice, inside", organization("\"identifier\":[{\"value\":\"1\",\"value\":\"2\"}]"), BAD),
        case("two resourceTypes", "{\"resourceType\":\"Organization\",\"resourceType\":\"Location\"}", BAD),
        case("100,000 lists", nested("[", "", "]", 100_000), BAD),
        case("100,000 open lists", "[".repeat(100_000), BAD),
        case(
            "100,000 objects",
            format!("{{\"resourceType\":\"Organization\",\"a\":{}}}", nested("{\"a\":", "1", "}", 100_000)),
            BAD,
        ),
        case(
            "100,000 extensions",
            organization(&format!("\"extension\":{}", nested("[{\"url\":\"u\",\"extension\":", "[]", "}]", 100_000))),
            BAD,
        ),
        case("a number as serde_json keeps it", "{\"$serde_json::private::Number\":\"1\"}", BAD),
        case("JSON as serde_json keeps it", "{\"$serde_json::private::RawValue\":\"{}\"}", BAD),
    ]
}

fn wrong_types() -> Vec<Case> {
    const BAD: &[u16] = &[400, 422];
    let digits = "9".repeat(10_000);
    vec![
        case("a number for a text", organization("\"name\":5"), BAD),
        case("an object for a text", organization("\"name\":{\"a\":1}"), BAD),
        case("a list for a text", organization("\"name\":[\"a\"]"), BAD),
        case("an empty text", organization("\"name\":\"\""), BAD),
        case("null for a text", organization("\"name\":null"), BAD),
        case("a text for a boolean", organization("\"active\":\"true\""), BAD),
        case("an object for a list", organization("\"identifier\":{\"value\":\"1\"}"), BAD),
        case("an empty list", organization("\"identifier\":[]"), BAD),
        case("null in a list", organization("\"identifier\":[null]"), BAD),
        case("a list in a list", organization("\"identifier\":[[{\"value\":\"1\"}]]"), BAD),
        case("an empty object", organization("\"identifier\":[{}]"), BAD),
        case("an unknown element", organization("\"nonsense\":1"), BAD),
        case("a prototype", organization("\"__proto__\":{\"active\":true}"), BAD),
        case("an unknown element of 1 MB", organization(&format!("\"{}\":1", "x".repeat(1_000_000))), BAD),
        case("an id with a slash", organization("\"id\":\"../../etc/passwd\",\"name\":\"x\""), BAD),
        case("an id of 65 characters", organization(&format!("\"id\":\"{}\",\"name\":\"x\"", "a".repeat(65))), BAD),
        case("an id of 1 MB", organization(&format!("\"id\":\"{}\",\"name\":\"x\"", "a".repeat(1_000_000))), BAD),
        case("an id that is a number", organization("\"id\":1,\"name\":\"x\""), BAD),
        case("a NUL", organization("\"name\":\"a\\u0000b\""), BAD),
        case("a control character", organization("\"name\":\"a\\u0008b\""), BAD),
        case("a NUL in a code", organization("\"identifier\":[{\"system\":\"a\\u0000\",\"value\":\"b\"}]"), BAD),
        case("a NUL in a reference", organization("\"partOf\":{\"reference\":\"Organization/a\\u0000\"}"), BAD),
        case("a rank that is no integer", organization("\"telecom\":[{\"rank\":1.5}]"), BAD),
        case("a negative rank", organization("\"telecom\":[{\"rank\":-1}]"), BAD),
        case("a rank beyond 32 bits", organization("\"telecom\":[{\"rank\":4294967296}]"), BAD),
        case("a rank of 10,000 digits", organization(&format!("\"telecom\":[{{\"rank\":{digits}}}]")), BAD),
        case("a rank of 1e400", organization("\"telecom\":[{\"rank\":1e400}]"), BAD),
        case("a rank of 1e1", organization("\"telecom\":[{\"rank\":1e1}]"), BAD),
        case("a text for a decimal", organization("\"extension\":[{\"url\":\"u\",\"valueDecimal\":\"1\"}]"), BAD),
        case("a date that is none", organization("\"extension\":[{\"url\":\"u\",\"valueDate\":\"2024-02-30\"}]"), BAD),
        case(
            "a year of 10,000 digits",
            organization(&format!("\"extension\":[{{\"url\":\"u\",\"valueDate\":\"{digits}\"}}]")),
            BAD,
        ),
        case("a uri with a space", organization("\"identifier\":[{\"system\":\"a b\",\"value\":\"1\"}]"), BAD),
        case("an extension without url", organization("\"extension\":[{\"valueString\":\"x\"}]"), BAD),
        case(
            "an extension with two values",
            organization("\"extension\":[{\"url\":\"u\",\"valueString\":\"x\",\"valueCode\":\"y\"}]"),
            BAD,
        ),
        case("a sibling that is a number", organization("\"name\":\"x\",\"_name\":5"), BAD),
        case("contained numbers", organization("\"contained\":[5]"), BAD),
        case("contained without a type", organization("\"contained\":[{}]"), BAD),
        case("meta that is a text", organization("\"meta\":\"x\",\"name\":\"x\""), BAD),
        case("a script in the narrative", organization("\"text\":{\"status\":\"generated\",\"div\":5}"), BAD),
        case(
            "a serde_json number for a boolean",
            organization("\"active\":{\"$serde_json::private::Number\":\"1\"}"),
            BAD,
        ),
        case(
            "a serde_json number for a rank",
            organization("\"telecom\":[{\"rank\":{\"$serde_json::private::Number\":\"1\"}}]"),
            BAD,
        ),
        case(
            "serde_json's JSON for a text",
            organization("\"name\":{\"$serde_json::private::RawValue\":\"\\\"x\\\"\"}"),
            BAD,
        ),
    ]
}

/// An Organization in XML around `inside`.
fn organization_xml(inside: &str) -> String {
    format!("<Organization xmlns=\"{FHIR}\">{inside}</Organization>")
}

fn broken_xml() -> Vec<Case> {
    const BAD: &[u16] = &[400, 422];
    let laughs = (1..10).fold("<!ENTITY l0 \"lol\">".to_owned(), |laughs, n| {
        format!("{laughs}<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))
    });
    let quadratic = format!(
        "<!DOCTYPE x [<!ENTITY a \"{}\">]>{}",
        "a".repeat(50_000),
        organization_xml(&format!("<name value=\"{}\"/>", "&a;".repeat(50_000)))
    );
    let div = |inside: &str| {
        organization_xml(&format!(
            "<text><status value=\"generated\"/><div xmlns=\"http://www.w3.org/1999/xhtml\">{inside}</div></text>"
        ))
    };
    let digits = "9".repeat(10_000);
    vec![
        case("nothing", "", BAD),
        case("JSON", "{\"resourceType\":\"Organization\"}", BAD),
        case("half an element", "<Organization", BAD),
        case("an open element", format!("<Organization xmlns=\"{FHIR}\">"), BAD),
        case("no namespace", "<Organization><name value=\"x\"/></Organization>", BAD),
        case("another namespace", "<Organization xmlns=\"http://example.org\"/>", BAD),
        case("an unknown resource", format!("<Nonsense xmlns=\"{FHIR}\"/>"), BAD),
        case("another resource", format!("<Location xmlns=\"{FHIR}\"><name value=\"x\"/></Location>"), BAD),
        case(
            "a billion laughs",
            format!("<!DOCTYPE lolz [{laughs}]>{}", organization_xml("<name value=\"&l9;\"/>")),
            BAD,
        ),
        case("quadratic blowup", quadratic, BAD),
        case(
            "an external entity",
            format!(
                "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]>{}",
                organization_xml("<name value=\"&e;\"/>")
            ),
            BAD,
        ),
        case(
            "an external entity by HTTP",
            format!(
                "<!DOCTYPE x [<!ENTITY e SYSTEM \"http://127.0.0.1:1/\">]>{}",
                organization_xml("<name value=\"&e;\"/>")
            ),
            BAD,
        ),
        case(
            "a parameter entity",
            format!(
                "<!DOCTYPE x [<!ENTITY % e SYSTEM \"file:///etc/passwd\"> %e;]>{}",
                organization_xml("<name value=\"x\"/>")
            ),
            BAD,
        ),
        case(
            "an external DTD",
            format!("<!DOCTYPE x SYSTEM \"http://127.0.0.1:1/x.dtd\">{}", organization_xml("<name value=\"x\"/>")),
            BAD,
        ),
        case(
            "XInclude",
            organization_xml("<xi:include xmlns:xi=\"http://www.w3.org/2001/XInclude\" href=\"/etc/passwd\"/>"),
            BAD,
        ),
        case("an unknown entity", organization_xml("<name value=\"&nbsp;\"/>"), BAD),
        case("a CDATA section", organization_xml("<name><![CDATA[x]]></name>"), BAD),
        case("100,000 levels", organization_xml(&nested("<extension url=\"u\">", "", "</extension>", 100_000)), BAD),
        case("100,000 levels of narrative", div(&nested("<p>", "", "</p>", 100_000)), BAD),
        case(
            "10,000 attributes",
            organization_xml(&format!("<name {}/>", (0..10_000).map(|n| format!("a{n}=\"1\" ")).collect::<String>())),
            BAD,
        ),
        case(
            "10,000 namespaces",
            organization_xml(&format!(
                "<name {}value=\"x\"/>",
                (0..10_000).map(|n| format!("xmlns:a{n}=\"u\" ")).collect::<String>()
            )),
            BAD,
        ),
        case("600,000 elements", organization_xml(&"<alias value=\"x\"/>".repeat(600_000)), BAD),
        case("an undeclared prefix", organization_xml("<x:name value=\"x\"/>"), BAD),
        case("the same attribute twice", organization_xml("<name value=\"x\" value=\"y\"/>"), BAD),
        case("an element twice", organization_xml("<name value=\"x\"/><name value=\"y\"/>"), BAD),
        case("an unknown element", organization_xml("<nonsense value=\"x\"/>"), BAD),
        case("text", organization_xml("<name>x</name>"), BAD),
        case("a control character", organization_xml("<name value=\"\u{1}\"/>"), BAD),
        case("a NUL", organization_xml("<name value=\"\u{0}\"/>"), BAD),
        case("a NUL as a reference", organization_xml("<name value=\"&#0;\"/>"), BAD),
        case("half a surrogate", organization_xml("<name value=\"&#xD800;\"/>"), BAD),
        case(
            "invalid UTF-8",
            [format!("<Organization xmlns=\"{FHIR}\"><name value=\"").as_bytes(), b"\xff\"/></Organization>"].concat(),
            BAD,
        ),
        case(
            "another encoding",
            format!("<?xml version=\"1.0\" encoding=\"UTF-16\"?>{}", organization_xml("<name value=\"x\"/>")),
            BAD,
        ),
        case("XML 1.1", format!("<?xml version=\"1.1\"?>{}", organization_xml("<name value=\"x\"/>")), BAD),
        case("two roots", format!("{0}{0}", organization_xml("<name value=\"x\"/>")), BAD),
        case("a boolean that is none", organization_xml("<active value=\"yes\"/>"), BAD),
        case(
            "a rank of 10,000 digits",
            organization_xml(&format!("<telecom><rank value=\"{digits}\"/></telecom>")),
            BAD,
        ),
        case("a contained text", organization_xml("<contained>x</contained>"), BAD),
        case("an id with a slash", organization_xml("<id value=\"../x\"/><name value=\"x\"/>"), BAD),
        case("a script in the narrative", div("<script xmlns=\"http://www.w3.org/2000/svg\">x</script>"), BAD),
    ]
}

fn bundles() -> Vec<Case> {
    const BAD: &[u16] = &[400];
    let bundle =
        |kind: &str, entries: &str| format!("{{\"resourceType\":\"Bundle\",\"type\":\"{kind}\",\"entry\":{entries}}}");
    let entry = |resource: &str, url: &str| {
        format!("{{\"resource\":{resource},\"request\":{{\"method\":\"POST\",\"url\":\"{url}\"}}}}")
    };
    let many = |count: usize| {
        format!(
            "[{}]",
            vec![entry("{\"resourceType\":\"Organization\",\"name\":\"x\"}", "Organization"); count].join(",")
        )
    };
    let bundle_in_bundle = entry("{\"resourceType\":\"Bundle\",\"type\":\"transaction\",\"entry\":[]}", "");
    vec![
        case("no type", "{\"resourceType\":\"Bundle\"}", BAD),
        case("an unknown type", bundle("nonsense", "[]"), BAD),
        case("a searchset", bundle("searchset", "[]"), BAD),
        case("a type that is a number", "{\"resourceType\":\"Bundle\",\"type\":5}", BAD),
        case("no Bundle", organization("\"name\":\"x\""), BAD),
        case("entries that are an object", bundle("transaction", "{}"), BAD),
        case("entries that are a text", bundle("transaction", "\"x\""), BAD),
        case("numbers for entries", bundle("transaction", "[1,2]"), BAD),
        case("nulls for entries", bundle("transaction", "[null]"), BAD),
        case("lists for entries", bundle("transaction", "[[]]"), BAD),
        case("no request", bundle("transaction", "[{\"resource\":{\"resourceType\":\"Organization\"}}]"), BAD),
        case("no method", bundle("transaction", "[{\"request\":{\"url\":\"Organization\"}}]"), BAD),
        case(
            "an unknown method",
            bundle("transaction", "[{\"request\":{\"method\":\"TRACE\",\"url\":\"Organization\"}}]"),
            BAD,
        ),
        case(
            "no resource",
            bundle("transaction", "[{\"request\":{\"method\":\"POST\",\"url\":\"Organization\"}}]"),
            BAD,
        ),
        case("a resource that is a number", bundle("transaction", &format!("[{}]", entry("5", "Organization"))), BAD),
        case(
            "a URL elsewhere",
            bundle(
                "transaction",
                &format!(
                    "[{}]",
                    entry("{\"resourceType\":\"Organization\",\"name\":\"x\"}", "http://example.org/Organization")
                ),
            ),
            &[400, 404],
        ),
        case(
            "a URL up the tree",
            bundle(
                "transaction",
                &format!("[{}]", entry("{\"resourceType\":\"Organization\",\"name\":\"x\"}", "../../Organization")),
            ),
            &[400, 404],
        ),
        case("a Bundle in a Bundle", bundle("transaction", &format!("[{bundle_in_bundle}]")), &[400, 404]),
        case(
            "a Bundle in a Bundle, by its type",
            bundle(
                "transaction",
                &format!("[{}]", entry("{\"resourceType\":\"Bundle\",\"type\":\"batch\"}", "Bundle")),
            ),
            &[400, 404],
        ),
        case("100,000 entries", bundle("transaction", &many(100_000)), &[413]),
        case("100,000 entries of a batch", bundle("batch", &many(100_000)), &[413]),
        case("100,000 nulls", bundle("transaction", &format!("[{}]", vec!["null"; 100_000].join(","))), &[413]),
        case(
            "one good and one bad",
            bundle(
                "transaction",
                &format!(
                    "[{},{}]",
                    entry("{\"resourceType\":\"Organization\",\"name\":\"x\"}", "Organization"),
                    entry("{\"resourceType\":\"Organization\",\"name\":5}", "Organization")
                ),
            ),
            &[400, 422],
        ),
        case(
            "the same resource twice",
            bundle(
                "transaction",
                "[{\"request\":{\"method\":\"DELETE\",\"url\":\"Organization/a\"}},{\"request\":{\"method\":\"DELETE\",\"url\":\"Organization/a\"}}]",
            ),
            BAD,
        ),
        case(
            "a good one and one that goes wrong in the database",
            bundle(
                "transaction",
                &format!(
                    "[{},{{\"request\":{{\"method\":\"GET\",\"url\":\"Organization/not-there\"}}}}]",
                    entry("{\"resourceType\":\"Organization\",\"name\":\"x\"}", "Organization")
                ),
            ),
            &[404],
        ),
        case(
            "a condition of many values",
            bundle(
                "transaction",
                &format!(
                    "[{{\"request\":{{\"method\":\"DELETE\",\"url\":\"Organization?name={}\"}}}}]",
                    "a,".repeat(10_000)
                ),
            ),
            BAD,
        ),
    ]
}

on_both! {
    fn a_hostile_json_body_is_refused_and_leaves_nothing_behind(server) {
        refuse_all(server, "POST", "Organization", JSON, broken_json());
        refuse_all(server, "POST", "Organization", "application/json", wrong_types());
        assert_eq!(versions_stored(server), 0);
    }

    fn a_hostile_xml_body_is_refused_and_leaves_nothing_behind(server) {
        refuse_all(server, "POST", "Organization", XML, broken_xml());
        assert_eq!(versions_stored(server), 0);
    }

    fn a_hostile_bundle_is_refused_and_leaves_nothing_behind(server) {
        refuse_all(server, "POST", "", JSON, bundles());
        assert_eq!(versions_stored(server), 0);
    }

    fn a_body_that_does_not_fit_its_url_is_refused(server) {
        for (what, method, path, body, statuses) in [
            ("no id", "PUT", "Organization/a", organization("\"name\":\"x\""), &[400][..]),
            ("another id", "PUT", "Organization/a", organization("\"id\":\"b\",\"name\":\"x\""), &[400]),
            ("the id in another case", "PUT", "Organization/a", organization("\"id\":\"A\",\"name\":\"x\""), &[400]),
            ("another type", "PUT", "Location/a", organization("\"id\":\"a\",\"name\":\"x\""), &[400]),
            ("an unknown type", "PUT", "Nonsense/a", organization("\"id\":\"a\""), &[404]),
            ("a type that is not stored", "POST", "Patient", "{\"resourceType\":\"Patient\"}".to_owned(), &[404]),
            ("a condition without parameters", "PUT", "Organization", organization("\"name\":\"x\""), &[400, 412]),
            ("a condition that is unknown", "PUT", "Organization?nonsense=1", organization("\"name\":\"x\""), &[400]),
        ] {
            check_refusal(&send(server, method, path, JSON, body.into_bytes()), statuses, what);
        }
        assert_eq!(versions_stored(server), 0);
    }
}

/// What is odd but legal stays legal, so that refusing is not simply all the server does.
#[test]
fn odd_but_legal_bodies_are_taken() {
    let server = Server::sqlite(&[]);
    for (what, media_type, body) in [
        ("a byte order mark", JSON, format!("\u{feff}{}", organization("\"name\":\"x\""))),
        ("escapes", JSON, organization("\"na\\u006de\":\"\\u00e9\\t\\n\\ud83d\\ude00\"")),
        ("text/json", "text/json", organization("\"name\":\"x\"")),
        ("a charset", "application/fhir+json; charset=UTF-8; fhirVersion=4.0", organization("\"name\":\"x\"")),
        ("a long name", JSON, organization(&format!("\"name\":\"{}\"", "é".repeat(100_000)))),
        (
            "XML with a prefix",
            XML,
            format!("<f:Organization xmlns:f=\"{FHIR}\"><f:name value=\"x\"/></f:Organization>"),
        ),
        (
            "20 levels of extensions",
            JSON,
            organization(&format!(
                "\"name\":\"x\",\"extension\":[{}]",
                nested("{\"url\":\"u\",\"extension\":[", "{\"url\":\"u\",\"valueCode\":\"x\"}", "]}", 20)
            )),
        ),
    ] {
        let answer = send(&server, "POST", "Organization", media_type, body.into_bytes());
        assert_eq!(answer.status, 201, "{what}: {}", answer.text.chars().take(300).collect::<String>());
    }
}

#[test]
fn a_wrong_media_type_is_refused() {
    let server = Server::sqlite(&[]);
    let body = organization("\"id\":\"a\",\"name\":\"x\"");
    for (method, path) in [
        ("POST", "Organization"),
        ("PUT", "Organization/a"),
        ("PUT", "Organization?name=x"),
        ("POST", ""),
        ("PATCH", "Organization/a"),
    ] {
        let long = format!("application/{}", "x".repeat(10_000));
        for media_type in [
            "text/plain",
            "text/html",
            "multipart/form-data; boundary=x",
            "application/octet-stream",
            "application/fhir+turtle",
            "*/*",
            "fhir+json",
            "",
            long.as_str(),
        ] {
            check_refusal(
                &send(&server, method, path, media_type, body.clone().into_bytes()),
                &[415],
                &format!("{method} {path} as {media_type:.40}"),
            );
        }
        for media_type in [
            "application/fhir+json; charset=iso-8859-1",
            "application/fhir+json; fhirVersion=3.0",
            "application/fhir+xml; charset=utf-16",
        ] {
            check_refusal(&send(&server, method, path, media_type, body.clone().into_bytes()), &[415], media_type);
        }
        check_refusal(&Answer::of(server.request(method, path).body(body.clone())), &[415], "no Content-Type");
        check_refusal(
            &send(&server, method, path, "application/x-www-form-urlencoded", b"name=x".to_vec()),
            &[415],
            "a form",
        );
    }
    check_refusal(
        &send(&server, "POST", "Organization", "application/json-patch+json", b"[]".to_vec()),
        &[415],
        "a patch to create",
    );
    check_refusal(&send(&server, "POST", "Organization", XML, body.into_bytes()), &[400], "JSON as XML");
    check_refusal(
        &send(&server, "POST", "Organization", JSON, organization_xml("<name value=\"x\"/>").into_bytes()),
        &[400],
        "XML as JSON",
    );
    check_refusal(&send(&server, "POST", "Organization/_search", JSON, b"{}".to_vec()), &[415], "a search by JSON");
    assert_eq!(versions_stored(&server), 0);
}

#[test]
fn refusals_come_in_xml_too() {
    let server = Server::sqlite(&[]);
    let request = server
        .request("POST", "Organization")
        .header("content-type", JSON)
        .header("accept", XML)
        .body("{\"resourceType\":\"Organization\",\"na<me\":\"\u{1}\"");
    let answer = Answer::of(request);
    assert_eq!(answer.status, 400, "{answer}");
    assert!(
        answer.text.contains("<OperationOutcome xmlns=\"http://hl7.org/fhir\">")
            && answer.text.contains("<diagnostics value="),
        "{answer}"
    );
    assert!(answer.header("content-type").is_some_and(|mime| mime.starts_with(XML)), "{answer:?}");
}
