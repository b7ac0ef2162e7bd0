//! Organizations that give care, and the boards that license practitioners.

use serde_json::Value;

use super::addresses::Address;
use super::elements::{
    Code, EMPLOYER_NUMBER, NUCC, PROVIDER_NUMBER, Resource, TAX_NUMBER, answered, concept, contact, extended,
    extension, identifier, list, npi, object, part, parts, period, phone_number, plan_net_concept, ranked, reference,
    state_concept, text, via_intermediary,
};
use super::layout::{Layout, affiliation_id, area_id, board_id, endpoint_id, provider_id, role_id, site_id};
use super::npi;
use super::places::{CITIES, City};
use super::random::{Random, Stream};

/// The board of examiners every certificate comes from.
pub(super) const NATIONAL_BOARD: &str = "board-us";

const ORGANIZATION_PERIOD: &str = "http://hl7.org/fhir/StructureDefinition/organization-period";

pub(super) fn provider(layout: &Layout, index: usize) -> Option<Value> {
    let provider = layout.providers.get(index)?;
    let (kind, city) = (provider.kind, provider.city);
    let mut random = Random::new(layout.seed, Stream::Provider, index);
    let mut organization = Resource::new("Organization", provider_id(index), "Organization");

    let mut extensions = Vec::new();
    if random.chance(25) {
        extensions.push(accreditation(&mut random, index, kind.facility, &city));
    }
    if random.chance(30) {
        let words = format!("{}: {} serving {}.", provider.name, kind.facility.1, city.name);
        extensions.push(extension("org-description", "valueString", text(words)));
    }
    if random.chance(30) {
        extensions.push(part(ORGANIZATION_PERIOD, "valuePeriod", period(random.date(1980, 2022), None)));
    }
    if kind.category.0 == "home" || random.chance(10) {
        extensions.push(extension("location-reference", "valueReference", reference("Location", &area_id(&city))));
    }
    organization.set_all("extension", extensions);

    let mut identifiers = vec![npi(npi::organization(layout.seed, index))];
    if random.chance(40) {
        let number = format!("{:02}-{:07}", random.between(10, 98), random.below(10_000_000));
        identifiers.push(identifier(TAX_NUMBER, "urn:oid:2.16.840.1.113883.4.4", number));
    }
    organization.set_all("identifier", identifiers);
    organization.set("active", true.into());
    organization.set("type", list([plan_net_concept("OrgTypeCS", kind.org_type)]));
    organization.set("name", text(provider.name.as_str()));
    let mut phone = ranked(contact("phone", phone_number(&mut random, city.area_code), "work"), 1);
    if random.chance(30) {
        phone = extended(phone, reachable(layout, index, &mut random));
    }
    let site = text(format!("https://{}.example.org", provider_id(index)));
    organization.set("telecom", list([phone, ranked(contact("url", site, "work"), 2)]));
    let position = provider.sites.first().and_then(|&site| layout.sites.get(site)).map(|site| site.position);
    let position = position.filter(|_| random.chance(60));
    organization.set("address", list([Address::new(&mut random, city).full_value(position)]));
    if let Some(parent) = provider.parent {
        organization.set("partOf", reference("Organization", &provider_id(parent)));
    }
    if random.chance(40) {
        organization.set("contact", list([office(&mut random, city.area_code, ("ADMIN", "Administrative"))]));
    }
    if let Some(endpoint) = provider.endpoint {
        organization.set("endpoint", list([reference("Endpoint", &endpoint_id(endpoint))]));
    }
    Some(organization.finish())
}

/// When the telephone is answered, and who answers for the organization numbered `index`.
pub(super) fn reachable(layout: &Layout, index: usize, random: &mut Random) -> Vec<Value> {
    let mut extensions = vec![answered(random)];
    if random.chance(40) {
        extensions.push(intermediary(layout, index, random));
    }
    extensions
}

/// Whom to go through to reach the organization numbered `index`: one of the four kinds of resource Plan-Net allows.
fn intermediary(layout: &Layout, index: usize, random: &mut Random) -> Value {
    // Affiliations come in the order of their providers.
    let first = layout.affiliations.partition_point(|affiliation| affiliation.provider < index);
    let affiliation = layout.affiliations.get(first).filter(|affiliation| affiliation.provider == index).map(|_| first);
    let site = layout.providers.get(index).and_then(|provider| provider.sites.first());
    match (random.below(4), affiliation, site, u32::try_from(layout.practitioners)) {
        (0, Some(affiliation), ..) => via_intermediary("OrganizationAffiliation", &affiliation_id(affiliation)),
        (1, _, Some(&site), _) => via_intermediary("Location", &site_id(site)),
        (2, .., Ok(people @ 1..)) => via_intermediary("PractitionerRole", &role_id(random.below(people) as usize, 1)),
        _ => via_intermediary("Organization", &provider_id(index)),
    }
}

/// A license or accreditation, valid in one state.
fn accreditation(random: &mut Random, index: usize, code: Code, city: &City) -> Value {
    let number = format!("{}-{:05}-{index}", city.state().code, random.below(100_000));
    let valid = if random.chance(70) {
        part("whereValid", "valueCodeableConcept", state_concept(city.state().code))
    } else {
        part("whereValid", "valueReference", reference("Location", &area_id(city)))
    };
    let from = random.date(2005, 2022);
    parts(
        "qualification",
        vec![
            part(
                "identifier",
                "valueIdentifier",
                identifier(PROVIDER_NUMBER, "https://licenses.example.org/facility", number),
            ),
            part("code", "valueCodeableConcept", concept(NUCC, code)),
            part("issuer", "valueReference", reference("Organization", &board_id(city))),
            part("status", "valueCode", text("active")),
            part("period", "valuePeriod", period(from, Some(random.date(2027, 2032)))),
            valid,
        ],
    )
}

/// An office to call, without naming anyone.
pub(super) fn office(random: &mut Random, area_code: u32, purpose: Code) -> Value {
    let system = "http://terminology.hl7.org/CodeSystem/contactentity-type";
    let phone = contact("phone", phone_number(random, area_code), "work");
    object([("purpose", concept(system, purpose)), ("telecom", list([phone]))])
}

/// The licensing board of the state numbered `index`.
pub(super) fn state_board(index: usize) -> Option<Value> {
    let city = CITIES.iter().find(|city| city.state == index)?;
    Some(board(board_id(city), format!("{} Demonstration Licensing Board", city.state().name), *city, index))
}

pub(super) fn national_board() -> Option<Value> {
    let city = CITIES.iter().find(|city| city.name == "Chicago")?;
    Some(board(NATIONAL_BOARD.to_owned(), "National Demonstration Board of Examiners".to_owned(), *city, CITIES.len()))
}

fn board(id: String, name: String, city: City, index: usize) -> Value {
    let mut random = Random::new(0, Stream::Provider, index);
    let mut organization = Resource::new("Organization", id, "Organization");
    let number = format!("99-{index:07}");
    organization.set("identifier", list([identifier(EMPLOYER_NUMBER, "https://employers.example.org", number)]));
    organization.set("active", true.into());
    organization.set("type", list([plan_net_concept("OrgTypeCS", ("bus", "Non-Healthcare Business"))]));
    organization.set("name", text(name));
    let phone = contact("phone", phone_number(&mut random, city.area_code), "work");
    organization.set("telecom", list([ranked(phone, 1)]));
    organization.set("address", list([Address::new(&mut random, city).full_value(None)]));
    organization.finish()
}
