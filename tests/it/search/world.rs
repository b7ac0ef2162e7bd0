//! A running server's directory through the library: what each resource offers to search, and what the store finds.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use plumbline::demo::Directory;
use plumbline::fhir::types::{Instant, ResourceType};
use plumbline::search::extract::Extractor;
use plumbline::search::matching::{Subject, holds};
use plumbline::search::param::{ParamId, registry};
use plumbline::search::query::{Filter, TypeQuery};
use plumbline::search::value::{IndexEntries, Target};
use plumbline::store::conn::Conn;
use plumbline::store::error::StoreError;
use plumbline::store::include::{self, Step};
use plumbline::store::page::{After, Found};
use plumbline::store::{Limits, Store, View, page};
use serde_json::{Value, json};

use super::{load, resource};
use crate::harness::Server;

/// More than any of these directories has.
const ALL: i64 = 10_000;

/// Stores the demo directory of this many practitioners, beside what is there.
pub fn load_demo(server: &Server, practitioners: usize) {
    let file = server.data().join("demo.ndjson");
    let lines: String = Directory::new(practitioners, 1).resources().map(|resource| format!("{resource}\n")).collect();
    std::fs::write(&file, lines).expect("file");
    let done = server.command(&["import", &file.to_string_lossy()]).output().expect("the import runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}

/// Stores what the demo directory lacks: every parameter of the directory's types has a value after this, and every kind of
/// value occurs. All have a profile, as all of the demo have.
pub fn load_oddities(server: &Server) {
    let base = &server.base;
    let meta = |profile: &str, source: &str| {
        json!({"meta": {
            "profile": [profile], "source": source,
            "tag": [{"system": "http://tags.example", "code": "Odd", "display": "Odd one"}, {"code": "bare"}],
            "security": [{"system": "http://labels.example", "code": "R", "display": "Restricted"}],
        }})
    };
    let first = meta("http://a.example/profiles/x|1.0", "http://source.example/a/b");
    // '0' follows '/'.
    let second = meta("http://a.example/profiles0", "urn:uuid:0");
    let elsewhere = "https://other.example/fhir/Organization/1";
    let identifier =
        json!({"system": "urn:ids", "value": "ID-7", "type": {"text": "Some number", "coding": [{"code": "SN"}]}});
    let to = |name: &str| json!({"reference": name});
    let endpoint = json!({"status": "active", "connectionType": {"code": "hl7-fhir-rest"}, "payloadType": [{"text": "any"}], "address": "http://e.example"});
    let with = |some: &Value, mut rest: Value| {
        rest.as_object_mut().expect("an object").extend(some.as_object().expect("an object").clone());
        rest
    };
    let odd = |resource_type: &str, id: &str, meta: &Value, rest: Value| resource(resource_type, id, with(meta, rest));
    load(
        server,
        &[
            odd(
                "Practitioner",
                "odd-1",
                &first,
                json!({
                    "name": [{"family": "O'Brien-Núñez", "given": ["Ål", "李 小龍"], "prefix": ["Dr."]}, {"text": "ẞ"}],
                    "identifier": [{"system": "urn:ids"}, {"value": "Bare"}, identifier],
                    "telecom": [{"system": "email", "value": "Odd@Example.org"}, {"system": "phone", "value": "(617) 555-0101"}],
                    "qualification": [
                        {"code": {"coding": [{"code": "MD"}, {"system": "http://q.example", "code": "md"}]}, "period": {"start": "2020-02-29"}},
                        {"code": {"text": "By word"}, "period": {"end": "2021"}},
                    ],
                }),
            ),
            odd("Practitioner", "odd-2", &second, json!({"active": false})),
            odd(
                "PractitionerRole",
                "odd-1",
                &first,
                json!({
                    "organization": {"reference": elsewhere, "identifier": identifier}, "practitioner": {"identifier": identifier},
                    "location": [to(&format!("{base}/Location/odd-1")), to("Location/never")], "healthcareService": [to("#inside")],
                    "contained": [{"resourceType": "HealthcareService", "id": "inside"}],
                    "telecom": [{"system": "email", "value": "role@example.org"}], "identifier": [identifier],
                    "period": {"start": "2020-02", "end": "2020-02-10T10:00:00-05:00"},
                }),
            ),
            odd(
                "PractitionerRole",
                "odd-2",
                &second,
                json!({"organization": to("Organization/never"), "period": {"end": "2020-01-01T00:00:00Z"}}),
            ),
            odd(
                "Organization",
                "odd-1",
                &first,
                json!({"name": "Odd", "alias": ["odd", "ODD-ER"], "partOf": to("Organization/odd-1"),
                "type": [{"coding": [{"code": "prov"}], "text": "Odd kind"}]}),
            ),
            odd(
                "Organization",
                "odd-2",
                &second,
                json!({"partOf": to(elsewhere), "identifier": [{"system": "urn:ids"}, identifier]}),
            ),
            odd(
                "Location",
                "odd-1",
                &first,
                json!({"position": {"latitude": -90, "longitude": 12.5}, "partOf": to("Location/odd-2"),
                "endpoint": [to("Endpoint/odd-1")], "managingOrganization": {"identifier": identifier},
                "operationalStatus": {"system": "http://terminology.hl7.org/CodeSystem/v2-0116", "code": "C"}}),
            ),
            odd(
                "Location",
                "odd-2",
                &second,
                json!({"position": {"latitude": 0.25, "longitude": 180}, "partOf": to("Location/never")}),
            ),
            odd(
                "HealthcareService",
                "odd-1",
                &first,
                json!({"characteristic": [{"coding": [{"system": "http://c.example", "code": "Ramp"}]}],
                "program": [{"text": "Odd programme"}, {"coding": [{"code": "p1", "display": "Programme one"}]}],
                "coverageArea": [{"reference": "urn:uuid:1"}], "identifier": [identifier]}),
            ),
            odd("HealthcareService", "odd-2", &second, json!({"active": false})),
            odd(
                "OrganizationAffiliation",
                "odd-1",
                &first,
                json!({"network": [{"reference": elsewhere}], "identifier": [identifier],
                "period": {"start": "2020-02-10T10:00:00.5Z"}}),
            ),
            odd("OrganizationAffiliation", "odd-2", &second, json!({"active": false})),
            odd(
                "Endpoint",
                "odd-1",
                &first,
                with(
                    &endpoint,
                    json!({"identifier": [identifier, {"value": "e"}], "managingOrganization": {"identifier": {"value": "bare"}}}),
                ),
            ),
            odd("Endpoint", "odd-2", &second, with(&json!({"status": "off"}), with(&endpoint, json!({"name": "Odd"})))),
            odd(
                "InsurancePlan",
                "odd-1",
                &first,
                json!({"name": "Odd plan",
                    "contact": [{"address": {"use": "work", "line": ["1 Odd Street"], "city": "Saint-Tropez", "state": "MA", "postalCode": "02139", "country": "US"}}],
                    "plan": [{"generalCost": [{"groupSize": 10, "cost": {"value": 99.5, "currency": "USD"}}, {"groupSize": 200, "cost": {"value": 100}}]}],
                }),
            ),
            odd(
                "InsurancePlan",
                "odd-2",
                &second,
                json!({"name": "Odder plan", "plan": [{"generalCost": [{"groupSize": 10, "cost": {"value": -0.5, "currency": "EUR"}}]}]}),
            ),
        ],
    );
}

/// Holds for nothing of the two above, and no index lists it: beside it, an alternative is probed instead of driving.
pub fn never_listed(base: ResourceType) -> Filter {
    let param = registry().get(base, "_profile").expect("_profile");
    Filter::Missing { param, missing: true }
}

/// A live resource.
pub struct Stored {
    pub rid: i64,
    pub name: Target,
    pub last_updated: Instant,
    pub entries: IndexEntries,
}

impl Stored {
    pub fn subject(&self) -> Subject<'_> {
        let Target { resource_type, id } = &self.name;
        Subject { resource_type: *resource_type, id, last_updated: self.last_updated, entries: &self.entries }
    }
}

/// All live resources, and the store they are in.
pub struct World {
    runtime: tokio::runtime::Runtime,
    store: Store,
    stored: Vec<Stored>,
    by_name: HashMap<Target, usize>,
    pointing: HashMap<(ParamId, Target), Vec<usize>>,
}

impl World {
    /// What is stored now; later changes are not seen.
    pub fn of(server: &Server) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let store = runtime.block_on(Store::open(&server.store_url(), Limits::default())).expect("the store");
        let bases = [server.base.clone()];
        let mut stored = Vec::new();
        for resource_type in ResourceType::ALL {
            let walk = async |conn: &mut Conn| include::after(conn, *resource_type, 0, ALL).await;
            for found in runtime.block_on(store.read::<_, StoreError, _>(walk)).expect("read") {
                let body = serde_json::from_str(&found.body).expect("JSON");
                let entries = Extractor { bases: &bases }.entries(*resource_type, &body);
                let name = Target { resource_type: *resource_type, id: found.id };
                stored.push(Stored { rid: found.rid, name, last_updated: found.last_updated, entries });
            }
        }
        let by_name = stored.iter().enumerate().map(|(n, stored)| (stored.name.clone(), n)).collect();
        let mut pointing: HashMap<_, Vec<usize>> = HashMap::new();
        for (n, stored) in stored.iter().enumerate() {
            for entry in &stored.entries.references {
                pointing.entry((entry.param, entry.target.clone())).or_default().push(n);
            }
        }
        Self { runtime, store, stored, by_name, pointing }
    }

    pub fn of_type(&self, resource_type: ResourceType) -> impl Iterator<Item = &Stored> {
        self.stored.iter().filter(move |stored| stored.name.resource_type == resource_type)
    }

    /// The ids that the store finds, each once.
    pub fn find(&self, resource_type: ResourceType, filters: Vec<Filter>) -> BTreeSet<String> {
        let part = Arc::new(TypeQuery { resource_type, filters, sort: Vec::new() });
        let asked = Arc::clone(&part);
        let search = async move |conn: &mut Conn| page::page(conn, std::slice::from_ref(&asked), None, ALL).await;
        let found = self.runtime.block_on(self.store.search::<_, StoreError, _>(View::Current, search));
        let found = found.unwrap_or_else(|error| panic!("{error:?}: {part:?}"));
        assert!(found.iter().all(|found| found.resource_type == resource_type), "{part:?}");
        let ids: BTreeSet<String> = found.iter().map(|found| found.id.clone()).collect();
        assert_eq!(ids.len(), found.len(), "each once: {part:?}");
        ids
    }

    /// The ids in order of the row ids, found by pages of two.
    pub fn walk(&self, resource_type: ResourceType, filters: Vec<Filter>) -> Vec<String> {
        let part = Arc::new(TypeQuery { resource_type, filters, sort: Vec::new() });
        let mut ids = Vec::new();
        let mut after: Option<After> = None;
        loop {
            let (asked, start) = (Arc::clone(&part), after.take());
            let search =
                async move |conn: &mut Conn| page::page(conn, std::slice::from_ref(&asked), start.as_ref(), 2).await;
            let found = self.runtime.block_on(self.store.search::<_, StoreError, _>(View::Current, search));
            let found = found.expect("a page");
            let Some(last) = found.last() else { return ids };
            after = Some(After { keys: Vec::new(), rid: last.rid });
            ids.extend(found.into_iter().map(|found| found.id));
        }
    }

    /// How many the store counts.
    pub fn count(&self, resource_type: ResourceType, filters: Vec<Filter>) -> usize {
        let part = TypeQuery { resource_type, filters, sort: Vec::new() };
        let count = async move |conn: &mut Conn| page::count(conn, std::slice::from_ref(&part), ALL).await;
        let counted = self.runtime.block_on(self.store.search::<_, StoreError, _>(View::Current, count));
        usize::try_from(counted.expect("a count")).expect("no negative count")
    }

    /// What a step leads to.
    pub fn follow(&self, step: Step<'_>) -> Vec<Found> {
        let follow = async move |conn: &mut Conn| include::follow(conn, step, ALL).await;
        self.runtime.block_on(self.store.read::<_, StoreError, _>(follow)).expect("followed")
    }

    /// Whether the resource meets the filter: by its own entries where these tell it, else by those of the others.
    pub fn meets(&self, filter: &Filter, stored: &Stored) -> bool {
        match filter {
            Filter::Chain { param, target, inner } => stored
                .entries
                .references
                .iter()
                .filter(|entry| entry.param == param.id && entry.target.resource_type == *target)
                .filter_map(|entry| self.stored.get(*self.by_name.get(&entry.target)?))
                .any(|next| self.meets(inner, next)),
            Filter::Has { param, inner } => {
                let pointing = self.pointing.get(&(param.id, stored.name.clone()));
                pointing.into_iter().flatten().any(|n| self.meets(inner, &self.stored[*n]))
            }
            Filter::Any(alternatives) => {
                alternatives.iter().any(|alternative| alternative.iter().all(|filter| self.meets(filter, stored)))
            }
            _ => holds(filter, &stored.subject()).unwrap_or_else(|| panic!("one resource tells {filter:?}")),
        }
    }

    /// The ids of the resources that meet every filter.
    pub fn meeting(&self, resource_type: ResourceType, filters: &[Filter]) -> BTreeSet<String> {
        let meeting =
            self.of_type(resource_type).filter(|stored| filters.iter().all(|filter| self.meets(filter, stored)));
        meeting.map(|stored| stored.name.id.clone()).collect()
    }
}
