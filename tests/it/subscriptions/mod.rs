//! Subscriptions as their subscribers meet them (R4 subscription.html; Backport 1.1.0).

mod creation;
mod discovery;
mod events;
mod life;
mod receiver;
mod status;
mod websocket;

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::tokens::Bearer;
use crate::harness::{Answer, Server};

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/";
/// A topic of this server.
const TOPIC: &str = "urn:plumbline:topic:practitioner-change";
const EVERYTHING: &str = "system/*.cruds";

/// A subscriber, who may read and write all of the directory.
fn subscriber(server: &Server) -> Bearer<'_> {
    Bearer::of(server, EVERYTHING)
}

/// Another client.
fn stranger(server: &Server) -> Bearer<'_> {
    Bearer::with(server, EVERYTHING, &json!({"client_id": "somebody-else"}))
}

/// A Subscription to a topic by rest-hook.
fn by_hook(endpoint: &str, content: &str) -> Value {
    let mut subscription = by_websocket(content);
    subscription["channel"]["type"] = json!("rest-hook");
    subscription["channel"]["endpoint"] = json!(endpoint);
    subscription
}

/// The same over a WebSocket.
fn by_websocket(content: &str) -> Value {
    json!({"resourceType": "Subscription",
        "meta": {"profile": [format!("{BACKPORT}backport-subscription")]},
        "status": "requested", "reason": "to know", "criteria": TOPIC,
        "channel": {"type": "websocket", "payload": "application/fhir+json", "_payload": {"extension": [
            {"url": format!("{BACKPORT}backport-payload-content"), "valueCode": content}]}}})
}

fn practitioner(id: &str, family: &str) -> Value {
    json!({"resourceType": "Practitioner", "id": id, "active": true, "name": [{"family": family}]})
}

/// Creates a Subscription; its id.
fn subscribe(by: &Bearer<'_>, subscription: &Value) -> String {
    let answer = by.post("Subscription", subscription);
    assert_eq!(answer.status, 201, "{answer}");
    assert_eq!(answer.body["status"], "requested", "{answer}");
    answer.body["id"].as_str().expect("an id").to_owned()
}

/// Asks until the answer is right; it has ten seconds.
fn until(what: &str, ask: impl Fn() -> Answer, is_right: impl Fn(&Answer) -> bool) -> Answer {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let answer = ask();
        if is_right(&answer) {
            return answer;
        }
        assert!(Instant::now() < end, "{what}: {answer}");
        std::thread::sleep(Duration::from_millis(30));
    }
}

/// Waits until a Subscription has a status.
fn until_status(by: &Bearer<'_>, id: &str, status: &str) -> Answer {
    let is_right = |answer: &Answer| answer.body["status"] == status;
    until(status, || by.get(&format!("Subscription/{id}")), is_right)
}

/// Creates a Subscription and waits until it is active; its id.
fn activate(by: &Bearer<'_>, subscription: &Value) -> String {
    let id = subscribe(by, subscription);
    until_status(by, &id, "active");
    id
}

/// Waits until a Subscription has had so many events.
fn until_events(by: &Bearer<'_>, id: &str, count: u32) -> Answer {
    let is_right = |answer: &Answer| told(&answer.body, "events-since-subscription-start") == [count.to_string()];
    until("events", || by.get(&format!("Subscription/{id}/$status")), is_right)
}

/// The values of a parameter in the first entry of a Bundle, as text.
fn told(bundle: &Value, name: &str) -> Vec<String> {
    named(&bundle["entry"][0]["resource"], name)
        .iter()
        .map(|parameter| {
            let (_, value) = parameter.as_object().expect("a parameter").iter().nth(1).expect("a value");
            let text = value["reference"].as_str().or_else(|| value["coding"][0]["code"].as_str()).or(value.as_str());
            text.unwrap_or_default().to_owned()
        })
        .collect()
}

/// The parameters of a name.
fn named<'v>(parameters: &'v Value, name: &str) -> Vec<&'v Value> {
    let all = parameters["parameter"].as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().filter(|it| it["name"] == name).collect()
}

/// Number and focus of each event in a notification; no focus is empty.
fn numbered(bundle: &Value) -> Vec<(String, String)> {
    let part = |event: &Value, name: &str, value: &str| {
        let parts = event["part"].as_array().expect("parts");
        let found = parts.iter().find(|part| part["name"] == name).map(|part| part[value].clone());
        found.unwrap_or(Value::Null)
    };
    named(&bundle["entry"][0]["resource"], "notification-event")
        .iter()
        .map(|event| {
            let number = part(event, "event-number", "valueString").as_str().expect("a number").to_owned();
            let focus = part(event, "focus", "valueReference")["reference"].as_str().unwrap_or_default().to_owned();
            (number, focus.rsplit_once("/fhir/").map_or(String::new(), |(_, name)| name.to_owned()))
        })
        .collect()
}
