//! Practitioner roles: who works where, in what, for which network.

use serde_json::Value;

use super::elements::{
    NUCC, PROVIDER_NUMBER, Resource, WEEKDAYS, codes, concept, contact, extended, extension, hour, identifier, list,
    new_patients, object, part, parts, period, phone_number, plan_net_concept, ranked, reference, state_concept, text,
};
use super::layout::{
    Layout, area_id, endpoint_id, network_id, practitioner_id, provider_id, role_id, service_id, site_id,
};
use super::organizations::{NATIONAL_BOARD, reachable};
use super::people::{Person, Post, person};
use super::random::{Random, Stream};

/// The roles of practitioner number `index`.
pub(super) fn roles(layout: &Layout, index: usize) -> Vec<Value> {
    let Some(person) = person(layout, index) else {
        return Vec::new();
    };
    let mut random = Random::new(layout.seed, Stream::Role, index);
    let mut roles = Vec::with_capacity(person.posts.len());
    for (number, post) in person.posts.iter().enumerate() {
        roles.extend(role(layout, index, number + 1, &person, post, &mut random));
    }
    roles
}

fn role(
    layout: &Layout,
    index: usize,
    ordinal: usize,
    person: &Person,
    post: &Post,
    random: &mut Random,
) -> Option<Value> {
    let owner = layout.services.get(post.service)?.provider;
    let provider = layout.providers.get(owner)?;
    let mut role = Resource::new("PractitionerRole", role_id(index, ordinal), "PractitionerRole");

    let network = post.network.map(network_id);
    let mut extensions = Vec::new();
    if random.chance(55) {
        let only_there = random.chance(50);
        extensions.push(new_patients(random, network.as_deref().filter(|_| only_there)));
    }
    if let Some(network) = &network {
        extensions.push(extension("network-reference", "valueReference", reference("Organization", network)));
    }
    if random.chance(6) {
        extensions.push(privilege(random, index, person));
    }
    role.set_all("extension", extensions);
    if random.chance(15) {
        let number = identifier(PROVIDER_NUMBER, "https://directory.example.org/roles", role_id(index, ordinal));
        role.set("identifier", list([number]));
    }
    role.set("active", true.into());
    let end = random.chance(20).then(|| random.date(2027, 2030));
    role.set("period", period(random.date(2012, 2025), end));
    role.set("practitioner", reference("Practitioner", &practitioner_id(index)));
    role.set("organization", reference("Organization", &provider_id(owner)));
    role.set("code", list([plan_net_concept("ProviderRoleCS", person.specialty.role)]));
    role.set("specialty", list([concept(NUCC, person.specialty.code)]));
    role.set_all("location", post.sites.iter().map(|&site| reference("Location", &site_id(site))).collect());
    role.set("healthcareService", list([reference("HealthcareService", &service_id(post.service))]));
    role.set("telecom", telecom(layout, owner, provider.city.area_code, random));
    if random.chance(45) {
        role.set("availableTime", hours(random));
    }
    if random.chance(6) {
        let during = period("2026-12-24".to_owned(), Some("2027-01-02".to_owned()));
        role.set("notAvailable", list([object([("description", text("Away for the holidays")), ("during", during)])]));
    }
    if let Some(endpoint) = provider.endpoint.filter(|_| random.chance(20)) {
        role.set("endpoint", list([reference("Endpoint", &endpoint_id(endpoint))]));
    }
    Some(role.finish())
}

/// A further qualification that counts in this role only.
fn privilege(random: &mut Random, index: usize, person: &Person) -> Value {
    let number = identifier(PROVIDER_NUMBER, "https://certificates.example.org", format!("C{:07}", index + 1));
    let valid = if random.chance(70) {
        part("whereValid", "valueCodeableConcept", state_concept(person.city.state().code))
    } else {
        part("whereValid", "valueReference", reference("Location", &area_id(&person.city)))
    };
    let (from, until) = (random.date(2010, 2024), random.date(2027, 2032));
    parts(
        "qualification",
        vec![
            part("identifier", "valueIdentifier", number),
            part("code", "valueCodeableConcept", concept(NUCC, person.specialty.code)),
            part("issuer", "valueReference", reference("Organization", NATIONAL_BOARD)),
            part("status", "valueCode", text("active")),
            part("period", "valuePeriod", period(from, Some(until))),
            valid,
        ],
    )
}

fn telecom(layout: &Layout, owner: usize, area_code: u32, random: &mut Random) -> Value {
    let mut phone = ranked(contact("phone", phone_number(random, area_code), "work"), 1);
    if random.chance(8) {
        phone = extended(phone, reachable(layout, owner, random));
    }
    match random.below(10) {
        0..3 => list([phone, ranked(contact("fax", phone_number(random, area_code), "work"), 2)]),
        3..5 => {
            let site = text(format!("https://{}.example.org", provider_id(owner)));
            list([phone, ranked(contact("url", site, "work"), 2)])
        }
        _ => list([phone]),
    }
}

fn hours(random: &mut Random) -> Value {
    let days = WEEKDAYS.get(random.below(2) as usize..).unwrap_or_default();
    let (start, end) = (hour(random.between(7, 10)), hour(random.between(14, 19)));
    let week = object([("daysOfWeek", codes(days)), ("availableStartTime", start), ("availableEndTime", end)]);
    if random.chance(8) {
        list([week, object([("daysOfWeek", codes(&["sat"])), ("allDay", true.into())])])
    } else {
        list([week])
    }
}
