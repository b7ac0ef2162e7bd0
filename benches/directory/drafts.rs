//! The bodies that the write operations send: resources of the data set under a new identity.

use std::sync::atomic::{AtomicU64, Ordering};

use plumbline::demo::npi_check_digit;
use serde_json::{Value, json};

use crate::dataset::{DataSet, NPI_SYSTEM, items};
use crate::operations::Call;
use crate::random::Random;

/// Groups of organization, location, practitioner and role in one transaction.
pub const TRANSACTION_GROUPS: usize = 25;
pub const TRANSACTION_ENTRIES: usize = 4 * TRANSACTION_GROUPS;

/// How many resources of each shape are kept as patterns.
const PATTERNS_MAX: usize = 2_000;

/// Patterns to write from, and the number that makes each draft unlike all before it.
pub struct Drafts {
    practitioners: Vec<Value>,
    groups: Vec<Group>,
    serial: AtomicU64,
}

/// A role with the three resources it refers to.
struct Group {
    organization: Value,
    location: Value,
    practitioner: Value,
    role: Value,
}

impl Drafts {
    pub fn new(data: &DataSet) -> Self {
        let people = data.practitioners.iter().filter(|it| !it.npis.is_empty());
        let practitioners =
            people.filter_map(|it| data.body(&format!("Practitioner/{}", it.id))).take(PATTERNS_MAX).map(anonymous);
        let groups = data.roles.iter().filter_map(|it| group(data, &it.id)).take(PATTERNS_MAX);
        Self { practitioners: practitioners.collect(), groups: groups.collect(), serial: AtomicU64::new(0) }
    }

    /// A practitioner of the data set under an NPI of its own.
    pub fn create(&self, random: &mut Random) -> Option<Call> {
        let mut body = random.pick(&self.practitioners)?.clone();
        set_npi(&mut body, &self.new_npi());
        Some(post("/Practitioner", &body, 201, "Practitioner"))
    }

    /// A practitioner of the data set with a telephone number it never had. The practitioners are taken in turn, so
    /// that no two requests in flight change the same one.
    pub fn update(&self, data: &DataSet, random: &mut Random) -> Option<Call> {
        let serial = self.next_serial();
        let turn = (serial as usize).checked_rem(data.practitioners.len())?;
        let reference = format!("Practitioner/{}", data.practitioners.get(turn)?.id);
        let mut body = data.body(&reference)?;
        let phone = json!({"system": "phone", "value": format!("555-01{:02} x{serial}", random.below(100))});
        match body["telecom"].as_array_mut() {
            Some(telecom) => telecom.push(phone),
            None => body["telecom"] = json!([phone]),
        }
        Some(Call { method: "PUT", ..post(&format!("/{reference}"), &body, 200, "Practitioner") })
    }

    /// New organizations, locations, practitioners and roles; each role points to the three before it.
    pub fn transaction(&self, random: &mut Random) -> Option<Call> {
        let mut entries = Vec::with_capacity(TRANSACTION_ENTRIES);
        for number in 0..TRANSACTION_GROUPS {
            let group = random.pick(&self.groups)?;
            let name = |part: usize| format!("urn:uuid:00000000-0000-4000-8000-{:012x}", number * 4 + part);
            let [organization, location, practitioner, role] = [name(0), name(1), name(2), name(3)];
            let mut new_organization = group.organization.clone();
            set_npi(&mut new_organization, &self.new_npi());
            let mut new_location = group.location.clone();
            new_location["managingOrganization"] = json!({"reference": &organization});
            let mut new_practitioner = group.practitioner.clone();
            set_npi(&mut new_practitioner, &self.new_npi());
            let mut new_role = group.role.clone();
            new_role["practitioner"] = json!({"reference": &practitioner});
            new_role["organization"] = json!({"reference": &organization});
            new_role["location"] = json!([{"reference": &location}]);
            entries.push(entry(organization, new_organization));
            entries.push(entry(location, new_location));
            entries.push(entry(practitioner, new_practitioner));
            entries.push(entry(role, new_role));
        }
        let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
        Some(post("", &bundle, 200, "Bundle"))
    }

    fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    /// An NPI that begins with 29; those of the data set begin with 1.
    fn new_npi(&self) -> String {
        let nine = 290_000_000 + self.next_serial() % 10_000_000;
        format!("{nine}{}", npi_check_digit(nine))
    }
}

/// Transactions that put these resources under their own ids, to load a server that has no import of ours.
pub fn load_bundle(bodies: &[&str]) -> Option<Call> {
    let entries = bodies.iter().map(|body| {
        let resource: Value = serde_json::from_str(body).ok()?;
        let url = format!("{}/{}", resource["resourceType"].as_str()?, resource["id"].as_str()?);
        Some(json!({"resource": resource, "request": {"method": "PUT", "url": url}}))
    });
    let bundle =
        json!({"resourceType": "Bundle", "type": "transaction", "entry": entries.collect::<Option<Vec<_>>>()?});
    Some(post("", &bundle, 200, "Bundle"))
}

fn post(path: &str, body: &Value, status: u16, answer_type: &'static str) -> Call {
    Call { method: "POST", path: path.to_owned(), body: body.to_string().into_bytes(), status, answer_type }
}

fn entry(full_url: String, resource: Value) -> Value {
    let kind = resource["resourceType"].clone();
    json!({"fullUrl": full_url, "resource": resource, "request": {"method": "POST", "url": kind}})
}

fn group(data: &DataSet, role: &str) -> Option<Group> {
    let role = data.body(&format!("PractitionerRole/{role}"))?;
    let referred = |reference: &Value| data.body(reference["reference"].as_str()?).map(anonymous);
    Some(Group {
        organization: referred(&role["organization"])?,
        location: referred(&role["location"][0])?,
        practitioner: referred(&role["practitioner"])?,
        role: anonymous(role),
    })
}

/// The resource without what a server gives it.
pub fn anonymous(mut resource: Value) -> Value {
    if let Some(members) = resource.as_object_mut() {
        members.shift_remove("id");
        let meta = members.get_mut("meta").and_then(Value::as_object_mut);
        let bare = meta.is_some_and(|meta| {
            meta.retain(|name, _| !matches!(name.as_str(), "versionId" | "lastUpdated" | "source"));
            meta.is_empty()
        });
        if bare {
            members.shift_remove("meta");
        }
    }
    resource
}

/// The NPI of a practitioner or organization.
pub fn npi(resource: &Value) -> Option<&str> {
    items(&resource["identifier"]).find(|it| it["system"] == NPI_SYSTEM)?["value"].as_str()
}

fn set_npi(resource: &mut Value, npi: &str) {
    let identifiers = resource["identifier"].as_array_mut().into_iter().flatten();
    for identifier in identifiers.filter(|it| it["system"] == NPI_SYSTEM) {
        identifier["value"] = npi.into();
    }
}
