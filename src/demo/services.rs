//! Healthcare services: what an organization offers, where and when.

use serde_json::Value;

use super::elements::{
    Code, NUCC, PROVIDER_NUMBER, Resource, WEEKDAYS, WEEKEND, codes, concept, contact, extended, hour, identifier,
    list, network_patients, object, part, parts, period, phone_number, plan_net_concept, reference, text,
};
use super::layout::{Layout, area_id, endpoint_id, provider_id, service_id, site_id};
use super::organizations::reachable;
use super::random::{Random, Stream};
use super::specialties::service_type;

const MODALITIES: [Code; 6] =
    [("phone", "phone"), ("video", "video chat"), ("tdd", "TDD"), ("sms", "SMS"), ("app", "App"), ("web", "Website")];

pub(super) fn service(layout: &Layout, index: usize) -> Option<Value> {
    let service = layout.services.get(index)?;
    let provider = layout.providers.get(service.provider)?;
    let (kind, city) = (provider.kind, provider.city);
    let mut random = Random::new(layout.seed, Stream::Service, index);
    let mut resource = Resource::new("HealthcareService", service_id(index), "HealthcareService");

    let mut extensions = Vec::new();
    if random.chance(50) {
        extensions.push(network_patients(&mut random, &provider.networks));
    }
    extensions.extend(delivery(&mut random));
    resource.set_all("extension", extensions);
    if random.chance(25) {
        let number = format!("SVC-{:06}", index + 1);
        resource.set("identifier", list([identifier(PROVIDER_NUMBER, "https://services.example.org", number)]));
    }
    resource.set("active", true.into());
    resource.set("providedBy", reference("Organization", &provider_id(service.provider)));
    let label = service.specialty.map_or(kind.facility.1, |specialty| specialty.label);
    let category = if label == "Emergency Medicine" { ("emerg", "Emergency care") } else { kind.category };
    resource.set("category", list([plan_net_concept("HealthcareServiceCategoryCS", category)]));
    let category_type = match category.0 {
        "trans" => Some(("230", "Patient Transport")),
        "dme" => Some(("97", "Disability Aids & Equipment")),
        "home" => Some(("11", "Personal Care for Older Persons")),
        _ => service_type(label),
    };
    if let Some(code) = category_type {
        resource.set("type", list([concept("http://terminology.hl7.org/CodeSystem/service-type", code)]));
    }
    let mut specialties = Vec::new();
    specialties.extend(service.specialty.map(|specialty| concept(NUCC, specialty.code)));
    if specialties.is_empty() || random.chance(30) {
        specialties.push(concept(NUCC, kind.facility));
    }
    resource.set_all("specialty", specialties);
    resource.set_all("location", service.sites.iter().map(|&site| reference("Location", &site_id(site))).collect());
    resource.set("name", text(format!("{} {label}", provider.name)));
    if random.chance(25) {
        resource.set("comment", text(format!("{label} for patients in and around {}.", city.name)));
    }
    let mut phone = contact("phone", phone_number(&mut random, city.area_code), "work");
    if random.chance(25) {
        phone = extended(phone, reachable(layout, service.provider, &mut random));
    }
    resource.set("telecom", list([phone]));
    if matches!(category.0, "home" | "trans" | "dme") || random.chance(15) {
        resource.set("coverageArea", list([reference("Location", &area_id(&city))]));
    }
    let round_the_clock = category.0 == "emerg" || kind.category.0 == "hosp" && random.chance(40);
    resource.set("appointmentRequired", (!matches!(category.0, "emerg" | "urg" | "pharm")).into());
    resource.set("availableTime", list([open(round_the_clock, &mut random)]));
    if random.chance(12) {
        let during = period("2026-12-24".to_owned(), Some("2026-12-26".to_owned()));
        let closed = object([("description", text("Closed for the holidays")), ("during", during)]);
        resource.set("notAvailable", list([closed]));
    }
    if random.chance(12) {
        resource.set("availabilityExceptions", text("Reduced hours on federal holidays"));
    }
    if let Some(endpoint) = provider.endpoint.filter(|_| random.chance(25)) {
        resource.set("endpoint", list([reference("Endpoint", &endpoint_id(endpoint))]));
    }
    Some(resource.finish())
}

/// On the spot, at a distance, or both.
fn delivery(random: &mut Random) -> Vec<Value> {
    let method = |code| part("type", "valueCodeableConcept", plan_net_concept("DeliveryMethodCS", code));
    let mut methods = Vec::new();
    let distant = random.chance(25);
    if !distant || random.chance(70) {
        methods.push(parts("delivery-method", vec![method(("physical", "Physical"))]));
    }
    if distant {
        let mut inner = vec![method(("virtual", "Virtual"))];
        let (first, count) = (random.below(6) as usize, random.between(1, 3) as usize);
        for code in MODALITIES.iter().cycle().skip(first).take(count) {
            inner.push(part(
                "virtualModalities",
                "valueCodeableConcept",
                plan_net_concept("VirtualModalitiesCS", *code),
            ));
        }
        methods.push(parts("delivery-method", inner));
    }
    methods
}

fn open(always: bool, random: &mut Random) -> Value {
    if always {
        let days = [WEEKDAYS.as_slice(), WEEKEND.as_slice()].concat();
        return object([("daysOfWeek", codes(&days)), ("allDay", true.into())]);
    }
    object([
        ("daysOfWeek", codes(&WEEKDAYS)),
        ("availableStartTime", hour(random.between(7, 9))),
        ("availableEndTime", hour(random.between(16, 19))),
    ])
}
