//! What subscribers are sent is valid itself.

use plumbline::fhir::types::{Instant, ResourceType};
use plumbline::fhir::xml;
use plumbline::subscriptions::definition::{Content, Status};
use plumbline::subscriptions::notification::{
    ErrorCode, Failure, Head, How, Item, Stamp, Type, event_notification, handshake, heartbeat, query_events, status,
};
use plumbline::validate::Enforce;
use serde_json::Value;
use uuid::Uuid;

const BODY: &str = r#"{"resourceType":"Endpoint","id":"e1","meta":{"versionId":"1","lastUpdated":"2026-01-01T00:00:00.000Z"},"status":"active","connectionType":{"system":"http://terminology.hl7.org/CodeSystem/endpoint-connection-type","code":"hl7-fhir-rest"},"payloadType":[{"text":"any"}],"address":"https://example.org/fhir"}"#;

fn check(resource: &Value) {
    let verdict = super::validator().validate(resource, Enforce::Base, &[]);
    assert!(verdict.is_valid(), "{:#?}\n{resource:#}", verdict.issues);
    let there = xml::to_xml(resource).expect("XML");
    assert_eq!(xml::from_xml(there.as_bytes()).expect("the same"), *resource);
}

#[test]
fn notifications_are_valid_and_can_be_xml() {
    let errors = [Failure { code: Some(ErrorCode::NoResponse), text: "Nobody answers.".into() }];
    let stamp = Stamp { bundle: Uuid::now_v7(), status: Uuid::now_v7(), now: Instant(1_767_225_600_000_000) };
    let item = Item {
        number: 1,
        at: stamp.now,
        resource_type: ResourceType::Endpoint,
        id: "e1",
        version: 1,
        how: How::Create,
        body: Some(BODY),
        is_seen: true,
    };
    // One resource several times, and a deletion.
    let items = [
        item,
        Item { number: 2, version: 2, how: How::Update, ..item },
        Item { number: 3, version: 3, how: How::Delete, body: None, ..item },
    ];
    for content in [Content::Empty, Content::IdOnly, Content::FullResource] {
        let head = Head {
            base: "https://example.org/fhir",
            subscription_id: "s1",
            topic: Some("http://ndh.org/topic/endpoint-create-or-delete"),
            status: Status::Active,
            content,
            errors: &errors,
            stamp,
        };
        let all = [
            handshake(&head, 0),
            heartbeat(&head, 3),
            event_notification(&head, 3, &items),
            query_events(&head, 3, &items),
            query_events(&head, 3, &[]),
        ];
        for text in all {
            check(&serde_json::from_str(&text).expect("JSON"));
        }
        check(&status(&head, Type::QueryStatus, 3));
    }
}
