//! Payers with their networks, insurance plans and the endpoints of the directory.

use serde_json::Value;

use super::addresses::Address;
use super::elements::{
    Code, PROVIDER_NUMBER, Resource, TAX_NUMBER, codes, coding, concept, contact, extension, identifier, list, npi,
    object, part, parts, period, phone_number, plan_net_concept, plan_net_system, ranked, reference, text,
};
use super::layout::{
    Layout, Owner, PRODUCTS, Payer, Plan, area_id, endpoint_id, network_id, payer_id, plan_id, provider_id,
};
use super::names::person_name;
use super::npi;
use super::organizations::office;
use super::places::CITIES;
use super::random::{Random, Stream};

/// What the products are, from Plan-Net's `InsuranceProductTypeCS`, with the word for them in plan names.
const PRODUCT_TYPES: [(Code, &str); PRODUCTS] = [
    (("commppo", "Commercial PPO"), "PPO"),
    (("commhmo", "Commercial HMO"), "HMO"),
    (("commhdhp", "Commercial HDHP"), "High Deductible"),
    (("qhp", "Qualified Health Plan"), "Marketplace"),
    (("mediadv", "Medicare Advantage"), "Medicare Advantage"),
    (("medihmo", "Medicaid HMO"), "Medicaid"),
    (("dent", "Dental Plan"), "Dental"),
];

const METALS: [Code; 4] =
    [("bronze", "Bronze-QHP"), ("silver", "Silver-QHP"), ("gold", "Gold-QHP"), ("platinum", "Platinum-QHP")];

const DEDUCTIBLES: [Code; 2] = [("lowdeductible", "Low Deductible"), ("highdeductible", "High Deductible")];

/// NPI numbers of networks start here, above any number of providers.
const NETWORK_NPIS: usize = 49_000_000;

/// The states a payer works in, as references to their Locations.
fn areas(payer: &Payer) -> impl Iterator<Item = Value> {
    payer
        .states
        .iter()
        .filter_map(|&state| CITIES.iter().find(|city| city.state == state))
        .map(|city| reference("Location", &area_id(city)))
}

pub(super) fn payer(layout: &Layout, index: usize) -> Option<Value> {
    let payer = layout.payers.get(index)?;
    let mut random = Random::new(layout.seed, Stream::Payer, index);
    let mut organization = Resource::new("Organization", payer_id(index), "Organization");
    let mut extensions = vec![extension(
        "org-description",
        "valueString",
        text(format!("{} is an invented payer of the demonstration directory.", payer.name)),
    )];
    extensions.extend(areas(payer).map(|area| extension("location-reference", "valueReference", area)));
    organization.set_all("extension", extensions);
    let number = format!("88-{:07}", index + 1);
    organization.set("identifier", list([identifier(TAX_NUMBER, "urn:oid:2.16.840.1.113883.4.4", number)]));
    organization.set("active", true.into());
    organization.set("type", list([plan_net_concept("OrgTypeCS", ("payer", "Payer"))]));
    organization.set("name", text(payer.name));
    let phone = contact("phone", phone_number(&mut random, payer.city.area_code), "work");
    let site = text(format!("https://{}.example.com", payer_id(index)));
    organization.set("telecom", list([ranked(phone, 1), ranked(contact("url", site, "work"), 2)]));
    organization.set("address", list([Address::new(&mut random, payer.city).full_value(None)]));
    organization.set("contact", list([office(&mut random, payer.city.area_code, ("PAYOR", "Payor"))]));
    organization.set("endpoint", list([reference("Endpoint", &endpoint_id(index))]));
    Some(organization.finish())
}

pub(super) fn network(layout: &Layout, index: usize) -> Option<Value> {
    let network = layout.networks.get(index)?;
    let payer = layout.payers.get(network.payer)?;
    let mut random = Random::new(layout.seed, Stream::Network, index);
    let mut organization = Resource::new("Organization", network_id(index), "Network");
    let areas = areas(payer).map(|area| extension("location-reference", "valueReference", area)).collect();
    organization.set_all("extension", areas);
    let mut identifiers = vec![identifier(
        PROVIDER_NUMBER,
        &format!("https://{}.example.com/networks", payer_id(network.payer)),
        format!("NET-{:03}", index + 1),
    )];
    if index % 2 == 1 {
        identifiers.push(npi(npi::organization(layout.seed, NETWORK_NPIS + index)));
    }
    organization.set_all("identifier", identifiers);
    organization.set("active", true.into());
    organization.set("type", list([plan_net_concept("OrgTypeCS", ("ntwk", "Network"))]));
    organization.set("name", text(network.name.as_str()));
    organization.set("address", list([Address::new(&mut random, payer.city).value(None)]));
    organization.set("partOf", reference("Organization", &payer_id(network.payer)));
    let phone = contact("phone", phone_number(&mut random, payer.city.area_code), "work");
    let person = person_name(&mut random);
    organization.set("contact", list([object([("name", person.plain()), ("telecom", list([phone]))])]));
    organization.set("endpoint", list([reference("Endpoint", &endpoint_id(network.payer))]));
    Some(organization.finish())
}

pub(super) fn endpoint(layout: &Layout, index: usize) -> Option<Value> {
    let mut random = Random::new(layout.seed, Stream::Endpoint, index);
    let (owner, name, area_code) = match *layout.endpoints.get(index)? {
        Owner::Payer(payer) => layout.payers.get(payer).map(|p| (payer_id(payer), p.name, p.city.area_code))?,
        Owner::Provider(provider) => {
            layout.providers.get(provider).map(|p| (provider_id(provider), p.name.as_str(), p.city.area_code))?
        }
    };
    let hl7 = "http://terminology.hl7.org/CodeSystem/endpoint-connection-type";
    let (connection, label, address, mime) = match random.below(10) {
        0..6 => {
            let address = format!("https://fhir.example.org/{owner}/r4");
            (coding(hl7, ("hl7-fhir-rest", "HL7 FHIR")), "FHIR API", address, "application/fhir+json")
        }
        6..9 => {
            let address = format!("mailto:{owner}@direct.example.org");
            (coding(hl7, ("direct-project", "Direct Project")), "Direct address", address, "application/hl7-cda+xml")
        }
        _ => {
            let address = format!("https://portal.example.org/{owner}");
            let system = plan_net_system("EndpointConnectionTypeCS");
            (coding(&system, ("rest-non-fhir", "REST (not FHIR)")), "portal", address, "application/json")
        }
    };
    let uses = [("TREAT", "treatment"), ("HOPERAT", "healthcare operations"), ("COC", "coordination of care")];
    let reason = concept("http://terminology.hl7.org/CodeSystem/v3-ActReason", random.pick(&uses));
    let mut case = vec![part("type", "valueCodeableConcept", reason)];
    if random.chance(50) {
        case.push(part("standard", "valueUri", text("http://hl7.org/fhir/R4")));
    }
    let mut endpoint = Resource::new("Endpoint", endpoint_id(index), "Endpoint");
    endpoint.set("extension", list([parts("endpoint-usecase", case)]));
    endpoint.set("status", text("active"));
    endpoint.set("connectionType", connection);
    endpoint.set("name", text(format!("{name} {label}")));
    endpoint.set("managingOrganization", reference("Organization", &owner));
    endpoint.set("contact", list([contact("phone", phone_number(&mut random, area_code), "work")]));
    endpoint.set("payloadType", list([plan_net_concept("EndpointPayloadTypeCS", ("NA", "Not Applicable"))]));
    endpoint.set("payloadMimeType", codes(&[mime]));
    endpoint.set("address", text(address));
    Some(endpoint.finish())
}

pub(super) fn plan(layout: &Layout, index: usize) -> Option<Value> {
    let &Plan { payer: owner, product } = layout.plans.get(index)?;
    let payer = layout.payers.get(owner)?;
    let (kind, word) = PRODUCT_TYPES.get(product).copied()?;
    let mut random = Random::new(layout.seed, Stream::Plan, index);
    let mut plan = Resource::new("InsurancePlan", plan_id(index), "InsurancePlan");
    let mut number =
        identifier(PROVIDER_NUMBER, "https://plans.example.org", format!("H{:04}-{:03}", index + 1, product + 1));
    if let Some(fields) = number.as_object_mut() {
        fields.insert("assigner".to_owned(), reference("Organization", &payer_id(owner)));
    }
    plan.set("identifier", list([number]));
    plan.set("status", text("active"));
    plan.set("type", list([plan_net_concept("InsuranceProductTypeCS", kind)]));
    plan.set("name", text(format!("{} {word}", payer.name)));
    plan.set("alias", list([text(format!("{word} by {}", payer.name))]));
    plan.set("period", period("2026-01-01".to_owned(), Some("2027-12-31".to_owned())));
    plan.set("ownedBy", reference("Organization", &payer_id(owner)));
    plan.set("administeredBy", reference("Organization", &payer_id(owner)));
    plan.set_all("coverageArea", areas(payer).collect());
    let name = object([("text", text(format!("{} Member Services", payer.name)))]);
    let phone = contact("phone", phone_number(&mut random, payer.city.area_code), "work");
    let system = "http://terminology.hl7.org/CodeSystem/contactentity-type";
    let purpose = concept(system, ("PATINF", "Patient"));
    plan.set("contact", list([object([("purpose", purpose), ("name", name), ("telecom", list([phone]))])]));
    plan.set("endpoint", list([reference("Endpoint", &endpoint_id(owner))]));
    let networks = payer.networks.iter().map(|&network| reference("Organization", &network_id(network)));
    plan.set_all("network", networks.collect());
    let tiers: &[Code] = if kind.0 == "qhp" { &METALS } else { &DEDUCTIBLES };
    let tiers = tiers.iter().map(|&tier| {
        let area = areas(payer).take(1).collect();
        object([("type", plan_net_concept("InsurancePlanTypeCS", tier)), ("coverageArea", area)])
    });
    plan.set_all("plan", tiers.collect());
    Some(plan.finish())
}
