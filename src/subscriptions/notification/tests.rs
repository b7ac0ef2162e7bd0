use super::*;

const STAMP: Stamp =
    Stamp { bundle: Uuid::from_u128(1), status: Uuid::from_u128(2), now: Instant(1_767_225_600_000_000) };

fn head(content: Content) -> Head<'static> {
    Head {
        base: "https://example.org/fhir",
        subscription_id: "s1",
        topic: Some("urn:plumbline:topic:practitioner-change"),
        status: Status::Active,
        content,
        errors: &[],
        stamp: STAMP,
    }
}

fn items() -> [Item<'static>; 3] {
    let item = Item {
        number: 7,
        at: Instant(1_767_225_599_000_000),
        resource_type: ResourceType::Practitioner,
        id: "p1",
        version: 1,
        how: How::Create,
        body: Some(r#"{"resourceType":"Practitioner","id":"p1","meta":{"versionId":"1"},"active":true}"#),
        is_seen: true,
    };
    [
        item,
        Item { number: 8, version: 2, how: How::Update, ..item },
        Item { number: 9, version: 3, how: How::Delete, body: None, ..item },
    ]
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

fn parameter<'v>(bundle: &'v Value, name: &str) -> Vec<&'v Value> {
    let all = bundle["entry"][0]["resource"]["parameter"].as_array().expect("parameters");
    all.iter().filter(|it| it["name"] == name).collect()
}

#[test]
fn a_handshake_is_the_status_alone() {
    let head = Head { status: Status::Requested, ..head(Content::FullResource) };
    assert_eq!(
        parse(&handshake(&head, 0)),
        json!({
            "resourceType": "Bundle",
            "id": "00000000-0000-0000-0000-000000000001",
            "type": "history",
            "timestamp": "2026-01-01T00:00:00.000Z",
            "entry": [{
                "fullUrl": "urn:uuid:00000000-0000-0000-0000-000000000002",
                "resource": {
                    "resourceType": "Parameters",
                    "id": "00000000-0000-0000-0000-000000000002",
                    "meta": {"profile": ["http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-subscription-status-r4"]},
                    "parameter": [
                        {"name": "subscription", "valueReference": {"reference": "https://example.org/fhir/Subscription/s1"}},
                        {"name": "topic", "valueCanonical": "urn:plumbline:topic:practitioner-change"},
                        {"name": "status", "valueCode": "requested"},
                        {"name": "type", "valueCode": "handshake"},
                        {"name": "events-since-subscription-start", "valueString": "0"},
                    ],
                },
                "request": {"method": "GET", "url": "https://example.org/fhir/Subscription/s1/$status"},
                "response": {"status": "200"},
            }],
        })
    );
    let beat = parse(&heartbeat(&head, 4));
    assert_eq!(parameter(&beat, "type")[0]["valueCode"], "heartbeat");
    assert_eq!(parameter(&beat, "events-since-subscription-start")[0]["valueString"], "4");
}

#[test]
fn empty_content_tells_that_something_happened() {
    let bundle = parse(&event_notification(&head(Content::Empty), 9, &items()));
    assert_eq!(bundle["entry"].as_array().map(Vec::len), Some(1));
    assert!(parameter(&bundle, "topic").is_empty());
    assert_eq!(
        parameter(&bundle, "notification-event"),
        [7, 8, 9]
            .map(|number| json!({"name": "notification-event", "part": [
                {"name": "event-number", "valueString": number.to_string()},
                {"name": "timestamp", "valueInstant": "2025-12-31T23:59:59.000Z"},
            ]}))
            .iter()
            .collect::<Vec<_>>()
    );
}

#[test]
fn id_only_content_names_resources() {
    let bundle = parse(&event_notification(&head(Content::IdOnly), 9, &items()));
    assert_eq!(parameter(&bundle, "type")[0]["valueCode"], "event-notification");
    for event in parameter(&bundle, "notification-event") {
        assert_eq!(
            event["part"][2],
            json!({"name": "focus", "valueReference": {"reference": "https://example.org/fhir/Practitioner/p1"}})
        );
    }
    let response = |status: &str, version: i64| json!({"status": status, "etag": format!("W/\"{version}\""), "lastModified": "2025-12-31T23:59:59.000Z"});
    let entry = |method: &str, url: &str, status: &str, version: i64| {
        json!({
            "fullUrl": "https://example.org/fhir/Practitioner/p1",
            "request": {"method": method, "url": url},
            "response": response(status, version),
        })
    };
    assert_eq!(
        bundle["entry"].as_array().expect("entries")[1..],
        [
            entry("POST", "Practitioner", "201", 1),
            entry("PUT", "Practitioner/p1", "200", 2),
            entry("DELETE", "Practitioner/p1", "204", 3),
        ]
    );
}

#[test]
fn full_content_carries_what_there_was() {
    let bundle = parse(&query_events(&head(Content::FullResource), 9, &items()));
    assert_eq!(parameter(&bundle, "type")[0]["valueCode"], "query-event");
    let resources: Vec<&Value> =
        bundle["entry"].as_array().expect("entries")[1..].iter().map(|it| &it["resource"]).collect();
    let body = parse(items()[0].body.expect("a body"));
    assert_eq!(resources, [&body, &body, &Value::Null]);
    assert!(
        bundle["entry"]
            .as_array()
            .expect("entries")
            .iter()
            .all(|it| it["request"].is_object() && it["response"].is_object())
    );
    let put = Item { how: How::UpdateAsCreate, ..items()[0] };
    let bundle = parse(&event_notification(&head(Content::FullResource), 7, &[put]));
    assert_eq!(
        (&bundle["entry"][1]["request"]["method"], &bundle["entry"][1]["response"]["status"]),
        (&json!("PUT"), &json!("201"))
    );
}

#[test]
fn the_same_stamp_makes_the_same_bytes() {
    let make = || event_notification(&head(Content::FullResource), 9, &items());
    assert_eq!(make(), make());
}

#[test]
fn a_status_tells_errors() {
    let errors = [
        Failure { code: Some(ErrorCode::ErrorResponse), text: "The endpoint answered 500.".into() },
        Failure { code: None, text: "The \"right\" to read is gone.".into() },
    ];
    let head = Head { status: Status::Error, errors: &errors, ..head(Content::Empty) };
    let status = status(&head, Type::QueryStatus, 3);
    let all = status["parameter"].as_array().expect("parameters");
    let names: Vec<&str> = all.iter().filter_map(|it| it["name"].as_str()).collect();
    assert_eq!(names, ["subscription", "topic", "status", "type", "events-since-subscription-start", "error", "error"]);
    assert_eq!(
        all[5]["valueCodeableConcept"],
        json!({
            "coding": [{"system": "http://terminology.hl7.org/CodeSystem/subscription-error", "code": "error-response"}],
            "text": "The endpoint answered 500.",
        })
    );
    assert_eq!(all[6]["valueCodeableConcept"], json!({"text": "The \"right\" to read is gone."}));
}

#[test]
fn what_may_not_be_read_keeps_its_number() {
    let [first, second, third] = items();
    let shown = [first, Item { is_seen: false, ..second }, third];
    let bundle = parse(&query_events(&head(Content::FullResource), 9, &shown));
    assert_eq!(bundle["entry"].as_array().map(Vec::len), Some(3));
    let events = parameter(&bundle, "notification-event");
    let parts: Vec<usize> = events.iter().map(|event| event["part"].as_array().expect("parts").len()).collect();
    assert_eq!(parts, [3, 2, 3]);
    assert_eq!(events[1]["part"][0]["valueString"], "8");
}
