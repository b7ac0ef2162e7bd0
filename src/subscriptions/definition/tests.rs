use serde_json::json;

use super::*;
use crate::fhir::terminology::Terminology;
use crate::search::parse::Handling;
use crate::subscriptions::event::Interaction::{Create, Delete, Update};

const FILTER: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-filter-criteria";
const CONTENT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content";
const HEARTBEAT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-heartbeat-period";
const TIMEOUT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-timeout";
const MAX_COUNT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-max-count";
const CHANNEL_TYPE: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-channel-type";

/// 2026-01-01T00:00:00Z.
const NOW: Instant = Instant(1_767_225_600_000_000);

fn read_with(body: &Value, change: impl FnOnce(&mut Context<'_>)) -> Result<Definition, Vec<Issue>> {
    let bases = ["http://localhost/fhir".to_owned()];
    let search = parse::Context {
        bases: &bases,
        now: NOW,
        handling: Handling::Default,
        terminology: Terminology::embedded(),
        count_default: 20,
        count_max: 100,
    };
    let mut context = Context { search, allow_http: false, bounds: Bounds::default() };
    change(&mut context);
    Definition::read(body, &context)
}

fn read(body: &Value) -> Result<Definition, Vec<Issue>> {
    read_with(body, |_| {})
}

fn by_search(criteria: &str) -> Value {
    json!({
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "a test",
        "criteria": criteria,
        "channel": {"type": "rest-hook", "endpoint": "https://example.org/hook", "payload": "application/fhir+json"},
    })
}

fn by_topic(topic: &str, filters: &[&str]) -> Value {
    let mut body = by_search(topic);
    let filters: Vec<Value> = filters.iter().map(|it| json!({"url": FILTER, "valueString": it})).collect();
    body["_criteria"] = json!({"extension": filters});
    body["channel"]["_payload"] = json!({"extension": [{"url": CONTENT, "valueCode": "id-only"}]});
    body
}

fn with(mut body: Value, pointer: &str, value: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    match (body.pointer_mut(parent).expect("an element"), name.parse::<usize>()) {
        (Value::Array(items), Ok(at)) => items[at] = value,
        (element, _) => element[name] = value,
    }
    body
}

fn without(mut body: Value, pointer: &str) -> Value {
    let (parent, name) = pointer.rsplit_once('/').expect("a pointer");
    body.pointer_mut(parent).and_then(Value::as_object_mut).expect("an element").remove(name);
    body
}

/// The body is refused for one reason, at this place, in a sentence with these words.
fn refused(body: &Value, at: &str, words: &str) {
    let issues = read(body).expect_err("refused");
    let found: Vec<(&str, &str)> =
        issues.iter().map(|it| (it.expression.as_deref().unwrap_or_default(), it.diagnostics.as_str())).collect();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].0, at, "{found:?}");
    assert!(found[0].1.contains(words), "{found:?}");
}

#[test]
fn a_search_of_r4_is_told_of_new_states() {
    let found = read(&by_search("Practitioner?active=true&name=smi")).expect("read");
    assert!(matches!(found.kind, Kind::Criteria(ResourceType::Practitioner)));
    assert_eq!(
        found.triggers,
        [Trigger::new(ResourceType::Practitioner, &[Create, Update], crate::subscriptions::trigger::When::Always)]
    );
    assert_eq!(found.filters_on(ResourceType::Practitioner).len(), 2);
    assert_eq!((found.content, found.asked, found.topic_url()), (Content::FullResource, Asked::Start, None));
    assert_eq!(found.mime, Some(Mime { content_type: "application/fhir+json".into(), is_xml: false }));
    for all in ["Practitioner", "Practitioner?"] {
        let found = read(&without(by_search(all), "/channel/payload")).expect("read");
        assert!(found.filters_on(ResourceType::Practitioner).is_empty());
        assert_eq!((found.content, found.mime), (Content::Empty, None));
    }
}

#[test]
fn criteria_that_cannot_be_kept_are_refused() {
    let check = |criteria: &str, words: &str| refused(&by_search(criteria), "Subscription.criteria", words);
    check("Patient?name=x", "no type that this server tells of");
    check("/Practitioner?name=x", "no type that this server tells of");
    check("[*]", "no type that this server tells of");
    check("Subscription?status=active", "no type that this server tells of");
    check("http://localhost/fhir/Practitioner?active=true", "no topic of this server");
    check("http://example.org/topic", "no topic of this server");
    check("Practitioner?nam=x", "no search parameter 'nam'");
    check("Practitioner?name", "has no value");
    check("Practitioner?active:near=true", "not supported");
    check("PractitionerRole?practitioner.name=x", "other resources");
    check("Practitioner?_has:PractitionerRole:practitioner:active=true", "other resources");
    check("Organization?partof:below=1", "other resources");
    check("Practitioner?_count=5", "does not say which resources");
    check("Practitioner?_include=Practitioner:x", "does not say which resources");
    check("Practitioner?_format=json", "does not say which resources");
    check("Practitioner?_sort=name", "does not say which resources");
    check("PractitionerRole?network=Location/1", "can ever meet");
    check(&format!("Practitioner?_id={}", "a,".repeat(501)), "at most 50 conditions and 500 values");
    refused(&without(by_search("x"), "/criteria"), "Subscription.criteria", "has criteria");
    let with_filter = with(
        by_search("Practitioner"),
        "/_criteria",
        json!({"extension": [{"url": FILTER, "valueString": "active=true"}]}),
    );
    refused(&with_filter, "Subscription.criteria.extension[0]", "narrow a topic");
}

#[test]
fn filters_are_read_in_all_their_forms() {
    let check = |filter: &str, roles: usize, affiliations: usize| {
        let topic = "http://ndh.org/topic/networkmembership-create-modified-or-delete";
        let found = read(&by_topic(topic, &[filter])).unwrap_or_else(|issues| panic!("{filter}: {issues:?}"));
        let count = |it| found.filters_on(it).len();
        assert_eq!(
            (count(ResourceType::PractitionerRole), count(ResourceType::OrganizationAffiliation)),
            (roles, affiliations),
            "{filter}"
        );
    };
    check("network=Organization/1", 1, 1);
    check("network:missing=false", 1, 1);
    check("network:Organization=1,2", 1, 1);
    check("network=Organization/1&active=true", 2, 2);
    check("PractitionerRole?practitioner=Practitioner/1", 1, 0);
    check("PractitionerRole?practitioner=Practitioner/1&active=true", 2, 0);
    check("PractitionerRole.specialty=http://nucc.org/provider-taxonomy|207Q00000X", 1, 0);
    check("PractitionerRole.specialty:not=207Q00000X", 1, 0);
    check("OrganizationAffiliation.network=https://example.org/fhir/Organization/1", 0, 1);
    let both = read(&by_topic("urn:plumbline:topic:practitioner-change|1.0", &["active=true", "Practitioner?name=x"]));
    let both = both.expect("read");
    assert_eq!(both.filters_on(ResourceType::Practitioner).len(), 2);
    assert_eq!(both.triggers[0].interactions, [Create, Update, Delete]);
    assert_eq!(both.topic_url(), Some("urn:plumbline:topic:practitioner-change"));
}

#[test]
fn filters_that_cannot_be_applied_are_refused() {
    let check = |filter: &str, words: &str| {
        let body = by_topic("urn:plumbline:topic:practitionerrole-change", &["active=true", filter]);
        refused(&body, "Subscription.criteria.extension[1].value", words);
    };
    check("Practitioner?name=x", "about PractitionerRole, not about Practitioner");
    check("Encounter.patient=Patient/1", "not about Encounter");
    check("PractitionerRole?", "names a parameter");
    check("", "names a parameter");
    check("active", "has no value");
    check("practitioner.name=x", "other resources");
    check("PractitionerRole.practitioner.name=x", "other resources");
    check("_count=1", "does not say");
    check("active=tr\u{0}ue", "NUL");
    let body = with(
        by_topic("urn:plumbline:topic:practitionerrole-change", &["x"]),
        "/_criteria/extension/0",
        json!({"url": FILTER, "valueUri": "active=true"}),
    );
    refused(&body, "Subscription.criteria.extension[0].value", "a string");
}

#[test]
fn everything_wrong_is_told_at_once() {
    let body = json!({
        "resourceType": "Subscription",
        "status": "error",
        "end": "2020",
        "criteria": "urn:plumbline:topic:nothing",
        "channel": {"type": "email", "header": ["Host: x"]},
    });
    let at: Vec<String> = read(&body).expect_err("refused").into_iter().filter_map(|it| it.expression).collect();
    assert_eq!(
        at,
        [
            "Subscription.status",
            "Subscription.end",
            "Subscription.reason",
            "Subscription.criteria",
            "Subscription.channel.type",
            "Subscription.channel.header[0]"
        ]
    );
}

#[test]
fn status_and_end() {
    let body = by_search("Practitioner");
    assert_eq!(read(&with(body.clone(), "/status", json!("active"))).expect("read").asked, Asked::Start);
    assert_eq!(read(&with(body.clone(), "/status", json!("off"))).expect("read").asked, Asked::Off);
    refused(&with(body.clone(), "/status", json!("on")), "Subscription.status", "requested or off");
    refused(&without(body.clone(), "/status"), "Subscription.status", "has a status");
    refused(&with(body.clone(), "/reason", json!(" ")), "Subscription.reason", "why it exists");
    let past = with(body.clone(), "/end", json!("2025-12-31T23:59:59Z"));
    refused(&past, "Subscription.end", "in the past");
    assert!(read(&with(past, "/status", json!("off"))).is_ok());
    let end = read(&with(body, "/end", json!("2026-01-01T01:00:01+01:00"))).expect("read").end;
    assert_eq!(end, Some(Instant(NOW.0 + 1_000_000)));
}

#[test]
fn what_is_stored_may_have_any_status() {
    let body = with(with(by_search("Practitioner"), "/status", json!("error")), "/end", json!("2020-01-01T00:00:00Z"));
    let bases = [];
    let search = parse::Context {
        bases: &bases,
        now: NOW,
        handling: Handling::Default,
        terminology: Terminology::embedded(),
        count_default: 20,
        count_max: 100,
    };
    let context = Context { search, allow_http: false, bounds: Bounds::default() };
    let found = Definition::stored(&body, &context).expect("read");
    assert_eq!((found.asked, found.end.is_some()), (Asked::Start, true));
}

#[test]
fn endpoints() {
    let check = |endpoint: &str, words: &str| {
        refused(
            &with(by_search("Practitioner"), "/channel/endpoint", json!(endpoint)),
            "Subscription.channel.endpoint",
            words,
        );
    };
    check("hook", "no absolute URL");
    check("ftp://example.org/", "no https URL");
    check("mailto:x@example.org", "no https URL");
    check("https://user@example.org/", "no user or password");
    check("https://:secret@example.org/", "no user or password");
    check("https://example.org/#top", "no fragment");
    check("https://example.org/\n", "no white space");
    check("http://example.org/", "is https");
    check(&format!("https://example.org/{}", "x".repeat(2_048)), "at most 2048 bytes");
    refused(
        &without(by_search("Practitioner"), "/channel/endpoint"),
        "Subscription.channel.endpoint",
        "has an endpoint",
    );
    let plain = with(by_search("Practitioner"), "/channel/endpoint", json!("http://127.0.0.1:1/"));
    assert!(read_with(&plain, |context| context.allow_http = true).is_ok());
}

#[test]
fn channels() {
    let topic = "urn:plumbline:topic:endpoint-create";
    let socket = without(with(by_topic(topic, &[]), "/channel/type", json!("websocket")), "/channel/endpoint");
    assert_eq!(read(&socket).expect("read").channel, Channel::WebSocket);
    refused(&with(socket, "/channel/header", json!(["A: b"])), "Subscription.channel.header", "has none");
    for kind in ["email", "sms", "message", "carrier-pigeon"] {
        refused(
            &with(by_topic(topic, &[]), "/channel/type", json!(kind)),
            "Subscription.channel.type",
            "not supported",
        );
    }
    let other = with(
        by_topic(topic, &[]),
        "/channel/_type",
        json!({"extension": [{"url": CHANNEL_TYPE, "valueCoding": {"code": "zulip"}}]}),
    );
    refused(&other, "Subscription.channel.type.extension[0]", "No channel but");
    let search = with(by_search("Practitioner"), "/channel/type", json!("websocket"));
    refused(&search, "Subscription.channel.payload", "no payload over a websocket");
    refused(&without(by_search("Practitioner"), "/channel"), "Subscription.channel", "has a channel");
}

#[test]
fn payloads() {
    let topic = by_topic("urn:plumbline:topic:endpoint-create", &[]);
    let accepted = |mime: &str, is_xml: bool| {
        let found = read(&with(topic.clone(), "/channel/payload", json!(mime))).expect("read");
        assert_eq!(found.mime, Some(Mime { content_type: mime.to_owned(), is_xml }));
        assert_eq!(found.content, Content::IdOnly);
    };
    accepted("application/json", false);
    accepted("application/fhir+xml", true);
    accepted("application/xml", true);
    accepted("application/fhir+json; fhirVersion=4.0", false);
    accepted("application/fhir+json; charset=utf-8; fhirVersion=\"4.0.1\"", false);
    let at = "Subscription.channel.payload";
    let check = |mime: &str, words: &str| refused(&with(topic.clone(), "/channel/payload", json!(mime)), at, words);
    check("text/plain", "The payload is one of");
    check("", "The payload is one of");
    check("application/fhir+json; fhirVersion=5.0", "FHIR 4.0");
    check("application/fhir+json; charset=latin1", "charset=utf-8");
    check("application/fhir+json; fhirVersion=4.0\r\nX: y", "FHIR 4.0");
    refused(&without(topic.clone(), "/channel/payload"), at, "takes a payload type");
    refused(&without(topic.clone(), "/channel/_payload"), &format!("{at}.extension"), "takes the extension");
    let code = with(topic.clone(), "/channel/_payload/extension/0", json!({"url": CONTENT, "valueCode": "some"}));
    refused(&code, &format!("{at}.extension[0].value"), "not 'some'");
    let one = json!({"url": CONTENT, "valueCode": "empty"});
    refused(&with(topic, "/channel/_payload/extension", json!([one, one])), &format!("{at}.extension[1]"), "once");
    let search = with(by_search("Practitioner"), "/channel/_payload", json!({"extension": [one]}));
    refused(&search, &format!("{at}.extension[0]"), "this is for topics");
}

#[test]
fn numbers_are_within_bounds() {
    let topic = by_topic("urn:plumbline:topic:endpoint-create", &[]);
    let extension = |url: &str, name: &str, value: i64| json!({"url": url, name: value});
    let all = json!([
        extension(HEARTBEAT, "valueUnsignedInt", 5),
        extension(TIMEOUT, "valueUnsignedInt", 60),
        extension(MAX_COUNT, "valuePositiveInt", 1_000),
    ]);
    let found = read(&with(topic.clone(), "/channel/extension", all)).expect("read");
    assert_eq!((found.heartbeat_s, found.timeout_s, found.max_count), (Some(5), Some(60), Some(1_000)));
    let check = |extensions: Value, at: &str, words: &str| {
        refused(&with(topic.clone(), "/channel/extension", extensions), &format!("Subscription.channel.{at}"), words);
    };
    check(json!([extension(HEARTBEAT, "valueUnsignedInt", 4)]), "extension[0].value", "5 to 86400");
    check(json!([extension(TIMEOUT, "valueUnsignedInt", 0)]), "extension[0].value", "1 to 60");
    check(json!([extension(TIMEOUT, "valueUnsignedInt", 61)]), "extension[0].value", "1 to 60");
    check(json!([extension(MAX_COUNT, "valuePositiveInt", 5_000_000_000)]), "extension[0].value", "1 to 1000");
    check(json!([extension(MAX_COUNT, "valueUnsignedInt", 5)]), "extension[0].value", "valuePositiveInt");
    let one = extension(TIMEOUT, "valueUnsignedInt", 5);
    check(json!([one, one]), "extension[1]", "once");
    let search =
        with(by_search("Practitioner"), "/channel/extension", json!([extension(HEARTBEAT, "valueUnsignedInt", 60)]));
    refused(&search, "Subscription.channel.extension[0]", "for topics");
}

#[test]
fn headers() {
    let of = |lines: Value| with(by_search("Practitioner"), "/channel/header", lines);
    let found = read(&of(json!(["Authorization: Bearer a.b", "X-Tag:x:y "]))).expect("read");
    assert_eq!(
        found.headers,
        [("Authorization".to_owned(), "Bearer a.b".to_owned()), ("X-Tag".to_owned(), "x:y".to_owned())]
    );
    let check = |line: &str, words: &str| refused(&of(json!(["A: b", line])), "Subscription.channel.header[1]", words);
    check("secret", "'Name: value'");
    check("A b: c", "no name");
    check(": c", "no name");
    check("A:", "printable ASCII");
    check("A: b\r\nC: d", "printable ASCII");
    check("A: ü", "printable ASCII");
    for name in
        ["Host", "content-length", "Transfer-Encoding", "Connection", "Content-Type", "Webhook-Id", "webhook-signature"]
    {
        check(&format!("{name}: x"), "the server's own");
    }
    check(&format!("A: {}", "x".repeat(8_200)), "at most 8192 bytes");
    refused(&of(json!(vec!["A: b"; 21])), "Subscription.channel.header", "at most 20 headers");
}

#[test]
fn extensions_are_where_they_belong() {
    let of_r5 = json!([{"url": "http://hl7.org/fhir/5.0/StructureDefinition/extension-Subscription.filterBy", "valueString": "x"}]);
    let topic = by_topic("urn:plumbline:topic:endpoint-create", &[]);
    let body = with(topic.clone(), "/_criteria/extension", of_r5.clone());
    refused(&body, "Subscription.criteria.extension[0]", "another version of FHIR");
    refused(&with(topic.clone(), "/extension", of_r5.clone()), "Subscription.extension[0]", "another version");
    let contact = with(topic.clone(), "/contact", json!([{"system": "email", "extension": of_r5}]));
    refused(&contact, "Subscription.contact[0].extension[0]", "another version");
    let misplaced = with(topic.clone(), "/extension", json!([{"url": FILTER, "valueString": "active=true"}]));
    refused(&misplaced, "Subscription.extension[0]", "belongs to Subscription.criteria");
    let unknown =
        with(topic.clone(), "/channel/extension", json!([{"url": format!("{MAX_COUNT}s"), "valuePositiveInt": 1}]));
    refused(&unknown, "Subscription.channel.extension[0]", "no extension of the Backport");
    assert!(read(&with(topic, "/extension", json!([{"url": "http://hl7.org/fhir/StructureDefinition/x"}]))).is_ok());
}
