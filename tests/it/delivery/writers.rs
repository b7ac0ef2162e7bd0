//! Clients that write all the time, and remember what was acknowledged.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Server;
use crate::harness::receiver::Dice;

use super::history::{Change, Kind, name_of, version_of};

pub const TYPES: &[&str] = &["Practitioner", "PractitionerRole", "Organization"];
/// Resources of each type that everybody writes to.
const SHARED: u64 = 10;

/// A write that the server has answered.
#[derive(Clone, Debug)]
pub struct Acknowledged {
    /// `Type/id`
    name: String,
    version: u64,
    is_deletion: bool,
}

/// What the writers of a test have done together.
#[derive(Default)]
pub struct Ledger {
    acknowledged: Mutex<Vec<Acknowledged>>,
    count: AtomicUsize,
    markers: AtomicUsize,
    /// Writers wait when there are so many acknowledged writes.
    limit: AtomicUsize,
    is_over: AtomicBool,
}

impl Ledger {
    /// How many writes were acknowledged.
    pub fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Those who write end, or may begin again.
    pub fn set_over(&self, is_over: bool) {
        self.is_over.store(is_over, Ordering::Relaxed);
    }

    /// Lets those who write go on until there are so many acknowledged writes.
    pub fn set_limit(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    fn add(&self, name: String, version: u64, is_deletion: bool) {
        self.acknowledged.lock().expect("no writer panicked").push(Acknowledged { name, version, is_deletion });
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    /// Everything that was acknowledged has happened.
    pub fn check(&self, history: &BTreeMap<String, Vec<Change>>) {
        for it in self.acknowledged.lock().expect("no writer panicked").iter() {
            let versions = history.get(&it.name).unwrap_or_else(|| panic!("{it:?} is lost"));
            let found = usize::try_from(it.version).ok().and_then(|version| versions.get(version - 1));
            let found = found.unwrap_or_else(|| panic!("{it:?} is lost"));
            assert_eq!(found.kind == Kind::Delete, it.is_deletion, "{it:?}: {found:?}");
        }
    }

    /// Writes until the server is gone or it is over: creates, updates, deletes and transactions, each with content of its
    /// own.
    pub fn write(&self, server: &Server, seed: u64) {
        let mut dice = Dice::new(seed);
        while !self.is_over.load(Ordering::Relaxed) {
            if self.count() >= self.limit.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(2));
                continue;
            }
            let resource_type = TYPES[usize::try_from(dice.roll(3)).expect("small")];
            let id = format!("{}{}", resource_type.to_lowercase(), dice.roll(SHARED));
            let path = format!("{resource_type}/{id}");
            let done = match dice.roll(100) {
                0..60 => self.put(server, &path, &self.resource(resource_type, Some(&id), &mut dice)),
                60..75 => self.create(server, resource_type, &self.resource(resource_type, None, &mut dice)),
                75..92 => self.delete(server, &path),
                _ => self.transact(server, &mut dice),
            };
            if done.is_none() {
                return;
            }
        }
    }

    /// One that was never there before.
    fn resource(&self, resource_type: &str, id: Option<&str>, dice: &mut Dice) -> Value {
        let marker = format!("n{}", self.markers.fetch_add(1, Ordering::Relaxed));
        let mut resource = json!({"resourceType": resource_type, "active": dice.is_within(50)});
        if let Some(id) = id {
            resource["id"] = id.into();
        }
        match resource_type {
            "Practitioner" => resource["name"] = json!([{"family": marker}]),
            "Organization" => resource["name"] = marker.into(),
            _ => resource["specialty"] = json!([{"text": marker}]),
        }
        resource
    }

    /// `None` when no whole answer came.
    fn put(&self, server: &Server, path: &str, resource: &Value) -> Option<()> {
        let (status, etag, _) = send(server, "PUT", path, resource)?;
        if is_done(status) {
            self.add(path.to_owned(), version_of(&etag.into()), false);
        }
        Some(())
    }

    fn create(&self, server: &Server, resource_type: &str, resource: &Value) -> Option<()> {
        let (status, _, body) = send(server, "POST", resource_type, resource)?;
        if is_done(status) {
            self.add(format!("{resource_type}/{}", body["id"].as_str().expect("an id")), 1, false);
        }
        Some(())
    }

    fn delete(&self, server: &Server, path: &str) -> Option<()> {
        let (status, etag, _) = send(server, "DELETE", path, &Value::Null)?;
        // Without an ETag there was nothing to delete.
        if is_done(status) && !etag.is_empty() {
            self.add(path.to_owned(), version_of(&etag.into()), true);
        }
        Some(())
    }

    /// One of each type, all or none.
    fn transact(&self, server: &Server, dice: &mut Dice) -> Option<()> {
        let entries: Vec<Value> = TYPES
            .iter()
            .map(|resource_type| {
                let id = format!("{}{}", resource_type.to_lowercase(), dice.roll(SHARED));
                let resource = self.resource(resource_type, Some(&id), dice);
                json!({"resource": resource, "request": {"method": "PUT", "url": format!("{resource_type}/{id}")}})
            })
            .collect();
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        let (status, _, body) = send(server, "POST", "", &bundle)?;
        if is_done(status) {
            for entry in body["entry"].as_array().expect("entries") {
                let response = &entry["response"];
                let location = response["location"].as_str().expect("a location");
                let name = name_of(location.split("/_history/").next().expect("a resource"));
                self.add(name, version_of(&response["etag"]), false);
            }
        }
        Some(())
    }
}

/// Whether it was done; otherwise the server was too busy, or another write was in the way.
fn is_done(status: u16) -> bool {
    assert!(matches!(status, 200 | 201 | 204 | 409 | 503), "status {status}");
    status < 300
}

/// Status, ETag and body; `None` when no whole answer came.
fn send(server: &Server, method: &str, path: &str, body: &Value) -> Option<(u16, String, Value)> {
    let mut request = server.request(method, path).header("content-type", "application/fhir+json");
    if !body.is_null() {
        request = request.body(body.to_string());
    }
    let response = request.send().ok()?;
    let status = response.status().as_u16();
    let etag = response.headers().get("etag").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let text = response.text().ok()?;
    Some((status, etag, serde_json::from_str(&text).unwrap_or(Value::Null)))
}
