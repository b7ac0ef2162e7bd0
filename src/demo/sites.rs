//! Locations: the sites where care is given, and whole states as coverage areas.

use serde_json::Value;

use super::addresses::Address;
use super::elements::{
    Code, PROVIDER_NUMBER, Resource, WEEKDAYS, WEEKEND, codes, concept, contact, decimal, extended, extension, hour,
    identifier, list, network_patients, object, part, phone_number, plan_net_concept, reference, text,
};
use super::layout::{Layout, area_id, endpoint_id, provider_id, site_id};
use super::organizations::reachable;
use super::places::{CITIES, STATES, State};
use super::random::{Random, Stream};

const ACCESSIBILITY: [Code; 7] = [
    ("handiaccess", "handicap accessible"),
    ("adacomp", "ADA compliant"),
    ("pubtrans", "public transit options"),
    ("cultcomp", "Cultural competence"),
    ("anssrvc", "answering service"),
    ("cognitive", "cognitive"),
    ("mobility", "mobility"),
];

const BOUNDARY: &str = "http://hl7.org/fhir/StructureDefinition/location-boundary-geojson";

pub(super) fn site(layout: &Layout, index: usize) -> Option<Value> {
    let site = layout.sites.get(index)?;
    let provider = layout.providers.get(site.provider)?;
    let mut random = Random::new(layout.seed, Stream::Site, index);
    let mut location = Resource::new("Location", site_id(index), "Location");

    let mut extensions = Vec::new();
    if random.chance(40) {
        extensions.push(network_patients(&mut random, &provider.networks));
    }
    let first = random.below(7) as usize;
    for code in ACCESSIBILITY.iter().cycle().skip(first).take(random.between(0, 3) as usize) {
        let value = plan_net_concept("AccessibilityCS", *code);
        extensions.push(extension("accessibility", "valueCodeableConcept", value));
    }
    location.set_all("extension", extensions);
    if random.chance(40) {
        let number = format!("SITE-{:06}", index + 1);
        location.set("identifier", list([identifier(PROVIDER_NUMBER, "https://sites.example.org", number)]));
    }
    location.set("status", text("active"));
    location.set("name", text(site.name.as_str()));
    if random.chance(20) {
        location.set("alias", list([text(format!("{} {}", provider.name, site.city.state().code))]));
    }
    if random.chance(25) {
        let words = format!("{} in {}, {}.", provider.kind.facility.1, site.city.name, site.city.state().name);
        location.set("description", text(words));
    }
    let role = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
    location.set("type", list([concept(role, provider.kind.site)]));
    let mut phone = contact("phone", phone_number(&mut random, site.city.area_code), "work");
    if random.chance(20) {
        phone = extended(phone, reachable(layout, site.provider, &mut random));
    }
    let page = text(format!("https://{}.example.org/{}", provider_id(site.provider), site_id(index)));
    location.set("telecom", list([phone, contact("url", page, "work")]));
    location.set("address", Address::new(&mut random, site.city).value(None));
    let (latitude, longitude) = site.position;
    location.set("position", object([("longitude", decimal(longitude)), ("latitude", decimal(latitude))]));
    location.set("managingOrganization", reference("Organization", &provider_id(site.provider)));
    let main = provider.sites.first().copied().unwrap_or(index);
    if main != index && random.chance(50) {
        location.set("partOf", reference("Location", &site_id(main)));
    }
    if random.chance(80) {
        location.set("hoursOfOperation", hours(provider.kind.category.0 == "hosp", &mut random));
    }
    if random.chance(20) {
        location.set("availabilityExceptions", text("Closed on federal holidays"));
    }
    if let Some(endpoint) = provider.endpoint.filter(|_| random.chance(40)) {
        location.set("endpoint", list([reference("Endpoint", &endpoint_id(endpoint))]));
    }
    Some(location.finish())
}

fn hours(always: bool, random: &mut Random) -> Value {
    if always {
        let days = [WEEKDAYS.as_slice(), WEEKEND.as_slice()].concat();
        return list([object([("daysOfWeek", codes(&days)), ("allDay", true.into())])]);
    }
    let week = object([
        ("daysOfWeek", codes(&WEEKDAYS)),
        ("openingTime", hour(random.between(7, 9))),
        ("closingTime", hour(random.between(16, 20))),
    ]);
    if random.chance(25) {
        let saturday = [("daysOfWeek", codes(&["sat"])), ("openingTime", hour(9)), ("closingTime", hour(13))];
        list([week, object(saturday)])
    } else {
        list([week])
    }
}

/// The state numbered `index` as an area on the map.
pub(super) fn area(index: usize) -> Option<Value> {
    let state = STATES.get(index)?;
    let city = CITIES.iter().find(|city| city.state == index)?;
    let mut location = Resource::new("Location", area_id(city), "Location");
    let boundary = object([("contentType", text("application/geo+json")), ("data", text(base64(&boundary(state))))]);
    location.set("extension", list([part(BOUNDARY, "valueAttachment", boundary)]));
    location.set("status", text("active"));
    location.set("name", text(format!("State of {}", state.name)));
    location.set("description", text(format!("Coverage area: all of {}, as the rectangle around it.", state.name)));
    let physical = "http://terminology.hl7.org/CodeSystem/location-physical-type";
    location.set("address", object([("state", text(state.code)), ("country", text("US"))]));
    location.set("physicalType", concept(physical, ("jdn", "Jurisdiction")));
    Some(location.finish())
}

/// GeoJSON of the rectangle around a state, counterclockwise from the south-west (RFC 7946, section 3.1.6).
fn boundary(state: &State) -> String {
    let [south, west, north, east] = state.bounds.map(|tenths| {
        let sign = if tenths < 0 { "-" } else { "" };
        format!("{sign}{}.{}", tenths.abs() / 10, tenths.abs() % 10)
    });
    format!(
        "{{\"type\":\"Polygon\",\"coordinates\":[[[{west},{south}],[{east},{south}],[{east},{north}],[{west},{north}],\
         [{west},{south}]]]}}"
    )
}

/// RFC 4648, section 4.
fn base64(data: &str) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut encoded = String::with_capacity(data.len().div_ceil(3) * 4);
    for chunk in data.as_bytes().chunks(3) {
        let bits = (0..3).fold(0_u32, |bits, at| bits << 8 | u32::from(chunk.get(at).copied().unwrap_or(0)));
        for at in 0..4 {
            let index = (bits >> (18 - 6 * at) & 63) as usize;
            let letter = if at <= chunk.len() { ALPHABET.get(index).copied().unwrap_or(b'=') } else { b'=' };
            encoded.push(char::from(letter));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn encodes_with_padding() {
        // RFC 4648, section 10.
        assert_eq!(["f", "fo", "foo", "foobar"].map(base64), ["Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]);
    }
}
