//! Affiliations: which provider takes part in whose networks, in what capacity and where.

use serde_json::Value;

use super::elements::{
    NUCC, PROVIDER_NUMBER, Resource, concept, contact, identifier, list, period, phone_number, plan_net_concept,
    ranked, reference, text,
};
use super::layout::{
    Layout, Owner, affiliation_id, endpoint_id, network_id, payer_id, provider_id, service_id, site_id,
};
use super::random::{Random, Stream};

/// Services and sites an affiliation names at most.
const NAMED: usize = 4;

pub(super) fn affiliation(layout: &Layout, index: usize) -> Option<Value> {
    let affiliation = layout.affiliations.get(index)?;
    let provider = layout.providers.get(affiliation.provider)?;
    let mut random = Random::new(layout.seed, Stream::Affiliation, index);
    let mut resource = Resource::new("OrganizationAffiliation", affiliation_id(index), "OrganizationAffiliation");
    if random.chance(30) {
        let number = format!("AFF-{:06}", index + 1);
        resource.set("identifier", list([identifier(PROVIDER_NUMBER, "https://contracts.example.org", number)]));
    }
    resource.set("active", true.into());
    let end = random.chance(30).then(|| random.date(2027, 2030));
    resource.set("period", period(random.date(2015, 2025), end));
    let with = match affiliation.with {
        Owner::Payer(payer) => payer_id(payer),
        Owner::Provider(hospital) => provider_id(hospital),
    };
    resource.set("organization", reference("Organization", &with));
    resource.set("participatingOrganization", reference("Organization", &provider_id(affiliation.provider)));
    let networks = affiliation.networks.iter().map(|&network| reference("Organization", &network_id(network)));
    resource.set_all("network", networks.collect());
    resource.set("code", list([plan_net_concept("OrganizationAffiliationRoleCS", provider.kind.affiliation)]));
    let services = || provider.services.iter().copied().take(NAMED);
    let mut specialties = vec![concept(NUCC, provider.kind.facility)];
    let offered = services().filter_map(|service| layout.services.get(service)?.specialty);
    specialties.extend(offered.map(|specialty| concept(NUCC, specialty.code)));
    resource.set_all("specialty", specialties);
    let sites = provider.sites.iter().take(NAMED).map(|&site| reference("Location", &site_id(site)));
    resource.set_all("location", sites.collect());
    let services = services().map(|service| reference("HealthcareService", &service_id(service)));
    resource.set_all("healthcareService", services.collect());
    let phone = ranked(contact("phone", phone_number(&mut random, provider.city.area_code), "work"), 1);
    let mail = text(format!("{}@mail.example.org", affiliation_id(index)));
    resource.set("telecom", list([phone, ranked(contact("email", mail, "work"), 2)]));
    if let Some(endpoint) = provider.endpoint.filter(|_| random.chance(50)) {
        resource.set("endpoint", list([reference("Endpoint", &endpoint_id(endpoint))]));
    }
    Some(resource.finish())
}
