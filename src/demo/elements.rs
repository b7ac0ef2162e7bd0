//! JSON for the FHIR data types and Plan-Net extensions the directory uses.

use serde_json::{Map, Number, Value};

use super::layout::network_id;
use super::random::Random;

pub(super) const NUCC: &str = "http://nucc.org/provider-taxonomy";
pub(super) const NPI: &str = "http://hl7.org/fhir/sid/us-npi";
const IDENTIFIER_TYPE: &str = "http://terminology.hl7.org/CodeSystem/v2-0203";
const USPS: &str = "https://www.usps.com/";
const PLAN_NET: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/";

/// A code with its display.
pub(super) type Code = (&'static str, &'static str);

pub(super) const WEEKDAYS: [&str; 5] = ["mon", "tue", "wed", "thu", "fri"];
pub(super) const WEEKEND: [&str; 2] = ["sat", "sun"];

pub(super) fn object<const N: usize>(fields: [(&str, Value); N]) -> Value {
    let mut map = Map::with_capacity(N);
    for (name, value) in fields {
        map.insert(name.to_owned(), value);
    }
    Value::Object(map)
}

pub(super) fn text(value: impl Into<String>) -> Value {
    Value::String(value.into())
}

pub(super) fn list<const N: usize>(values: [Value; N]) -> Value {
    Value::Array(values.into())
}

pub(super) fn codes(values: &[&str]) -> Value {
    values.iter().copied().map(text).collect()
}

/// A resource under construction; elements keep the order they are set in.
pub(super) struct Resource(Map<String, Value>);

impl Resource {
    /// Starts with type, id and the Plan-Net profile named `plannet-<profile>`.
    pub(super) fn new(kind: &str, id: String, profile: &str) -> Self {
        let profile = text(format!("{PLAN_NET}StructureDefinition/plannet-{profile}"));
        let mut map = Map::with_capacity(20);
        map.insert("resourceType".to_owned(), text(kind));
        map.insert("id".to_owned(), text(id));
        map.insert("meta".to_owned(), object([("profile", list([profile]))]));
        Self(map)
    }

    pub(super) fn set(&mut self, name: &str, value: Value) {
        self.0.insert(name.to_owned(), value);
    }

    /// Sets a repeating element, unless there is nothing in it: FHIR has no empty arrays.
    pub(super) fn set_all(&mut self, name: &str, values: Vec<Value>) {
        if !values.is_empty() {
            self.set(name, Value::Array(values));
        }
    }

    pub(super) fn finish(self) -> Value {
        Value::Object(self.0)
    }
}

pub(super) fn coding(system: &str, (code, display): Code) -> Value {
    object([("system", text(system)), ("code", text(code)), ("display", text(display))])
}

pub(super) fn concept(system: &str, code: Code) -> Value {
    object([("coding", list([coding(system, code)]))])
}

/// The URL of a code system defined by Plan-Net itself.
pub(super) fn plan_net_system(system: &str) -> String {
    format!("{PLAN_NET}CodeSystem/{system}")
}

/// A concept from a code system defined by Plan-Net itself.
pub(super) fn plan_net_concept(system: &str, code: Code) -> Value {
    concept(&plan_net_system(system), code)
}

/// A US state as Plan-Net wants it in `whereValid`.
pub(super) fn state_concept(code: &str) -> Value {
    object([("coding", list([object([("system", text(USPS)), ("code", text(code))])]))])
}

pub(super) fn reference(kind: &str, id: &str) -> Value {
    object([("reference", text(format!("{kind}/{id}")))])
}

pub(super) fn period(start: String, end: Option<String>) -> Value {
    match end {
        Some(end) => object([("start", text(start)), ("end", text(end))]),
        None => object([("start", text(start))]),
    }
}

pub(super) fn npi(value: String) -> Value {
    object([("system", text(NPI)), ("value", text(value))])
}

/// An identifier whose type comes from FHIR's own short list (`identifier-type`, to which Plan-Net binds it).
pub(super) fn identifier(kind: Code, system: &str, value: String) -> Value {
    object([("type", concept(IDENTIFIER_TYPE, kind)), ("system", text(system)), ("value", text(value))])
}

pub(super) const PROVIDER_NUMBER: Code = ("PRN", "Provider number");
pub(super) const MEDICAL_LICENSE: Code = ("MD", "Medical License number");
pub(super) const EMPLOYER_NUMBER: Code = ("EN", "Employer number");
pub(super) const TAX_NUMBER: Code = ("TAX", "Tax ID number");

/// A number given in millionths, printed with six decimals; whole numbers throughout keep it the same everywhere.
pub(super) fn decimal(micro: i64) -> Value {
    let (sign, size) = (if micro < 0 { "-" } else { "" }, micro.unsigned_abs());
    let digits = format!("{sign}{}.{:06}", size / 1_000_000, size % 1_000_000);
    digits.parse::<Number>().map_or(Value::Null, Value::Number)
}

/// An extension defined by Plan-Net with a single value; `choice` is the JSON name, such as `valueReference`.
pub(super) fn extension(name: &str, choice: &str, value: Value) -> Value {
    part(&format!("{PLAN_NET}StructureDefinition/{name}"), choice, value)
}

/// An extension defined by Plan-Net that is made of parts.
pub(super) fn parts(name: &str, parts: Vec<Value>) -> Value {
    object([("extension", Value::Array(parts)), ("url", text(format!("{PLAN_NET}StructureDefinition/{name}")))])
}

pub(super) fn part(url: &str, choice: &str, value: Value) -> Value {
    object([("url", text(url)), (choice, value)])
}

/// Degrees of latitude and longitude in millionths.
pub(super) fn geolocation((latitude, longitude): (i64, i64)) -> Value {
    object([
        (
            "extension",
            list([
                part("latitude", "valueDecimal", decimal(latitude)),
                part("longitude", "valueDecimal", decimal(longitude)),
            ]),
        ),
        ("url", text("http://hl7.org/fhir/StructureDefinition/geolocation")),
    ])
}

/// A telephone number in the range kept free for fiction.
pub(super) fn phone_number(random: &mut Random, area_code: u32) -> Value {
    text(format!("({area_code:03}) 555-01{:02}", random.below(100)))
}

pub(super) fn contact(system: &str, value: Value, purpose: &str) -> Value {
    object([("system", text(system)), ("value", value), ("use", text(purpose))])
}

/// A contact point with its place in the order of preference, 1 first.
pub(super) fn ranked(mut contact: Value, rank: u32) -> Value {
    if let Some(map) = contact.as_object_mut() {
        map.insert("rank".to_owned(), rank.into());
    }
    contact
}

/// A contact point with extensions put in front.
pub(super) fn extended(contact: Value, extensions: Vec<Value>) -> Value {
    let Value::Object(fields) = contact else { return contact };
    if extensions.is_empty() {
        return Value::Object(fields);
    }
    let mut map = Map::with_capacity(fields.len() + 1);
    map.insert("extension".to_owned(), Value::Array(extensions));
    map.extend(fields);
    Value::Object(map)
}

/// When a telephone is answered: weekdays between two hours, or around the clock at the weekend.
pub(super) fn answered(random: &mut Random) -> Value {
    let day = |day: &str| part("daysOfWeek", "valueCode", text(day));
    let mut inner: Vec<Value>;
    if random.chance(80) {
        inner = WEEKDAYS.map(day).into();
        inner.push(part("availableStartTime", "valueTime", hour(random.between(7, 9))));
        inner.push(part("availableEndTime", "valueTime", hour(random.between(16, 19))));
    } else {
        inner = WEEKEND.map(day).into();
        inner.push(part("allDay", "valueBoolean", true.into()));
    }
    parts("contactpoint-availabletime", inner)
}

pub(super) fn via_intermediary(kind: &str, id: &str) -> Value {
    extension("via-intermediary", "valueReference", reference(kind, id))
}

pub(super) fn hour(hour: u32) -> Value {
    text(format!("{hour:02}:00:00"))
}

const PATIENTS: [Code; 4] = [
    ("newpt", "Accepting"),
    ("nopt", "Not Accepting"),
    ("existptonly", "Accepting existing patients"),
    ("existptfam", "Accepting existing patients and their families"),
];

const CHARACTERISTICS: [&str; 5] = [
    "Adults 18 years and older",
    "Children and adolescents under 18 years",
    "Referral from a primary care provider required",
    "Patients living in the coverage area",
    "Adults 65 years and older",
];

/// Whether new patients are taken, for members of `network` where that matters.
pub(super) fn new_patients(random: &mut Random, network: Option<&str>) -> Value {
    let code = PATIENTS.get(random.weighted(&[60, 20, 12, 8], |weight| *weight)).copied().unwrap_or_default();
    let accepting = plan_net_concept("AcceptingPatientsCS", code);
    let mut inner = vec![part("acceptingPatients", "valueCodeableConcept", accepting)];
    if let Some(network) = network {
        inner.push(part("fromNetwork", "valueReference", reference("Organization", network)));
    }
    if code.0 == "newpt" && random.chance(20) {
        inner.push(part("characteristics", "valueString", text(random.pick(&CHARACTERISTICS))));
    }
    parts("newpatients", inner)
}

/// [`new_patients`] for one of the networks numbered, or for members of any.
pub(super) fn network_patients(random: &mut Random, networks: &[usize]) -> Value {
    let network = (!networks.is_empty() && random.chance(50)).then(|| network_id(random.pick(networks)));
    new_patients(random, network.as_deref())
}
