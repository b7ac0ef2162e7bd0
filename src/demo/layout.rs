//! The organizations of a directory with everything that belongs to them, laid out before any resource is built.

use super::kinds::{HOSPITAL, KINDS, Kind, NAMES};
use super::places::{City, STATES, any_city};
use super::random::{Random, Stream};
use super::specialties::{SPECIALTIES, Specialty};

/// A health plan company; it runs networks and sells insurance plans.
#[derive(Debug)]
pub(super) struct Payer {
    pub(super) name: &'static str,
    pub(super) city: City,
    /// Indexes into [`STATES`].
    pub(super) states: Vec<usize>,
    pub(super) networks: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Network {
    pub(super) payer: usize,
    pub(super) name: String,
}

/// An organization that gives care.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) kind: &'static Kind,
    pub(super) name: String,
    pub(super) city: City,
    /// The hospital it is part of.
    pub(super) parent: Option<usize>,
    pub(super) endpoint: Option<usize>,
    pub(super) networks: Vec<usize>,
    pub(super) sites: Vec<usize>,
    pub(super) services: Vec<usize>,
}

/// A place where an organization gives care.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) provider: usize,
    pub(super) city: City,
    pub(super) name: String,
    /// Latitude and longitude in millionths of a degree.
    pub(super) position: (i64, i64),
}

#[derive(Debug)]
pub(super) struct Service {
    pub(super) provider: usize,
    pub(super) specialty: Option<&'static Specialty>,
    pub(super) sites: Vec<usize>,
}

/// Whose endpoint it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Owner {
    Payer(usize),
    Provider(usize),
}

/// A provider taking part in the networks of a payer, or in those a hospital belongs to.
#[derive(Debug)]
pub(super) struct Affiliation {
    pub(super) provider: usize,
    pub(super) with: Owner,
    pub(super) networks: Vec<usize>,
}

/// An insurance plan: its payer and which of the products it is.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) payer: usize,
    pub(super) product: usize,
}

#[derive(Debug)]
pub(super) struct Layout {
    pub(super) seed: u64,
    pub(super) practitioners: usize,
    pub(super) payers: Vec<Payer>,
    pub(super) networks: Vec<Network>,
    pub(super) providers: Vec<Provider>,
    pub(super) endpoints: Vec<Owner>,
    pub(super) sites: Vec<Site>,
    pub(super) services: Vec<Service>,
    pub(super) affiliations: Vec<Affiliation>,
    pub(super) plans: Vec<Plan>,
    /// Services by specialty, in the order of [`SPECIALTIES`].
    by_specialty: Vec<Vec<usize>>,
}

const PAYERS: [&str; 12] = [
    "Bluestem Health Plan",
    "Granite Shore Insurance",
    "Harborlight Mutual",
    "Juniper Community Plan",
    "Kestrel Health Cooperative",
    "Lodestar Assurance",
    "Maple Creek Health Plan",
    "Northgate Benefit Trust",
    "Openfield Health",
    "Prairie Star Plan",
    "Quillwater Insurance",
    "Redwood Coast Plan",
];

/// Two networks for each payer.
const NETWORKS: [&str; 2] = ["Choice PPO Network", "Select HMO Network"];

/// The products every payer sells; [`super::networks`] says what they are.
pub(super) const PRODUCTS: usize = 7;

impl Layout {
    pub(super) fn new(practitioners: usize, seed: u64) -> Self {
        let mut random = Random::new(seed, Stream::Layout, 0);
        let mut layout = Self {
            seed,
            practitioners,
            payers: Vec::new(),
            networks: Vec::new(),
            providers: Vec::new(),
            endpoints: Vec::new(),
            sites: Vec::new(),
            services: Vec::new(),
            affiliations: Vec::new(),
            plans: Vec::new(),
            by_specialty: vec![Vec::new(); SPECIALTIES.len()],
        };
        layout.add_payers(&mut random);
        layout.add_providers(&mut random);
        layout.add_sites(&mut random);
        layout.add_services(&mut random);
        layout.add_affiliations(&mut random);
        layout
    }

    fn add_payers(&mut self, random: &mut Random) {
        let count = (self.practitioners / 4_000 + 4).min(PAYERS.len());
        for (payer, &name) in PAYERS.iter().enumerate().take(count) {
            // The first payer works in every state, so no provider is left without a network.
            let states = (0..STATES.len()).filter(|state| payer == 0 || (state * 7 + payer * 5) % 3 != 0).collect();
            let mut networks = Vec::new();
            for suffix in NETWORKS {
                networks.push(self.networks.len());
                self.networks.push(Network { payer, name: format!("{name} {suffix}") });
            }
            self.payers.push(Payer { name, city: any_city(random), states, networks });
            self.endpoints.push(Owner::Payer(payer));
            self.plans.extend((0..PRODUCTS).map(|product| Plan { payer, product }));
        }
    }

    fn add_providers(&mut self, random: &mut Random) {
        let count = (self.practitioners / 16).max(KINDS.len());
        let mut hospitals = Vec::new();
        for index in 0..count {
            // One of each kind first, so that even the smallest directory has them all.
            let chosen = if index < KINDS.len() { index } else { random.weighted(KINDS, |kind| kind.weight) };
            let Some(kind) = KINDS.get(chosen) else { continue };
            let city = any_city(random);
            let parent = (chosen != HOSPITAL && random.chance(25)).then(|| random.pick(&hospitals));
            if chosen == HOSPITAL {
                hospitals.push(index);
            }
            let (first, last) = (random.pick(&NAMES), random.pick(kind.suffixes));
            let name = match random.below(3) {
                0 => format!("{first} {last}"),
                1 => format!("{first} {last} of {}", city.name),
                _ => format!("{} {first} {last}", city.name),
            };
            let endpoint = random.chance(85).then(|| {
                self.endpoints.push(Owner::Provider(index));
                self.endpoints.len() - 1
            });
            let networks = self.networks_in(city.state, random);
            let (sites, services) = (Vec::new(), Vec::new());
            self.providers.push(Provider { kind, name, city, parent, endpoint, networks, sites, services });
        }
    }

    /// Networks of one or two of the payers working in `state`, grouped by payer.
    fn networks_in(&self, state: usize, random: &mut Random) -> Vec<usize> {
        let here: Vec<usize> = (0..self.payers.len())
            .filter(|&payer| self.payers.get(payer).is_some_and(|p| p.states.contains(&state)))
            .collect();
        let (first, second) = (random.pick(&here), random.pick(&here));
        let mut chosen = vec![first];
        if second != first {
            chosen.push(second);
        }
        let mut networks = Vec::new();
        for payer in chosen.into_iter().filter_map(|payer| self.payers.get(payer)) {
            if random.chance(50) {
                networks.extend(&payer.networks);
            } else {
                networks.push(random.pick(&payer.networks));
            }
        }
        networks
    }

    fn add_sites(&mut self, random: &mut Random) {
        let mut owners: Vec<usize> = (0..self.providers.len()).collect();
        let pulls: Vec<usize> = self
            .providers
            .iter()
            .enumerate()
            .flat_map(|(index, provider)| (0..provider.kind.sites).map(move |_| index))
            .collect();
        for _ in owners.len()..(self.practitioners / 12) {
            owners.push(random.pick(&pulls));
        }
        owners.sort_unstable();
        for index in owners {
            let Some(provider) = self.providers.get_mut(index) else {
                continue;
            };
            let first = provider.sites.is_empty();
            let city = if first || random.chance(75) { provider.city } else { provider.city.neighbour(random) };
            let place = match random.below(5) {
                0 => "North",
                1 => "South",
                2 => "Downtown",
                3 => "West",
                _ => "East",
            };
            let name = if first {
                format!("{} Main Campus", provider.name)
            } else {
                format!("{} {} {place}", provider.name, city.name)
            };
            provider.sites.push(self.sites.len());
            self.sites.push(Site { provider: index, city, name, position: city.somewhere(random) });
        }
    }

    fn add_services(&mut self, random: &mut Random) {
        for (index, provider) in self.providers.iter_mut().enumerate() {
            let kind = provider.kind;
            let offered =
                |s: &Specialty, taken: &[usize], at: usize| kind.fields.contains(&s.field) && !taken.contains(&at);
            let mut taken: Vec<usize> = Vec::new();
            for _ in 0..random.between(kind.services.0, kind.services.1) {
                let open: Vec<(usize, u32)> = SPECIALTIES
                    .iter()
                    .enumerate()
                    .filter(|(at, specialty)| offered(specialty, &taken, *at))
                    .map(|(at, specialty)| (at, specialty.weight))
                    .collect();
                let drawn = open.get(random.weighted(&open, |(_, weight)| *weight)).map(|(at, _)| *at);
                let sites = match provider.sites.as_slice() {
                    [first, rest @ ..] => {
                        let others = rest.iter().filter(|_| random.chance(40)).take(3);
                        std::iter::once(first).chain(others).copied().collect()
                    }
                    [] => Vec::new(),
                };
                let number = self.services.len();
                if let Some(list) = drawn.and_then(|at| self.by_specialty.get_mut(at)) {
                    list.push(number);
                }
                taken.extend(drawn);
                provider.services.push(number);
                let specialty = drawn.and_then(|at| SPECIALTIES.get(at));
                self.services.push(Service { provider: index, specialty, sites });
            }
        }
    }

    fn add_affiliations(&mut self, random: &mut Random) {
        let hospitals: Vec<usize> = (0..self.providers.len())
            .filter(|&index| self.providers.get(index).is_some_and(|p| p.kind.category.0 == "hosp"))
            .collect();
        for (index, provider) in self.providers.iter().enumerate() {
            for (number, payer) in self.payers.iter().enumerate() {
                let networks: Vec<usize> =
                    provider.networks.iter().copied().filter(|network| payer.networks.contains(network)).collect();
                if !networks.is_empty() {
                    self.affiliations.push(Affiliation { provider: index, with: Owner::Payer(number), networks });
                }
            }
            let hospital = provider.parent.unwrap_or_else(|| random.pick(&hospitals));
            if hospital != index && random.chance(25) {
                let networks = provider.networks.iter().copied().take(1).collect();
                self.affiliations.push(Affiliation { provider: index, with: Owner::Provider(hospital), networks });
            }
        }
    }

    /// The service a practitioner of the specialty numbered `specialty` works in; any service, where a small directory
    /// has none for it.
    pub(super) fn service_for(&self, specialty: usize, random: &mut Random) -> usize {
        match self.by_specialty.get(specialty) {
            Some(services) if !services.is_empty() => random.pick(services),
            _ => random.below(u32::try_from(self.services.len()).unwrap_or(u32::MAX)) as usize,
        }
    }
}

pub(super) fn payer_id(index: usize) -> String {
    format!("payer-{:02}", index + 1)
}

pub(super) fn network_id(index: usize) -> String {
    format!("network-{:02}", index + 1)
}

pub(super) fn provider_id(index: usize) -> String {
    format!("organization-{:06}", index + 1)
}

pub(super) fn endpoint_id(index: usize) -> String {
    format!("endpoint-{:06}", index + 1)
}

pub(super) fn site_id(index: usize) -> String {
    format!("location-{:06}", index + 1)
}

pub(super) fn service_id(index: usize) -> String {
    format!("healthcareservice-{:06}", index + 1)
}

pub(super) fn plan_id(index: usize) -> String {
    format!("insuranceplan-{:04}", index + 1)
}

pub(super) fn affiliation_id(index: usize) -> String {
    format!("organizationaffiliation-{:06}", index + 1)
}

pub(super) fn practitioner_id(index: usize) -> String {
    format!("practitioner-{:06}", index + 1)
}

/// The `ordinal`-th role of a practitioner, counted from 1.
pub(super) fn role_id(practitioner: usize, ordinal: usize) -> String {
    format!("practitionerrole-{:06}-{ordinal}", practitioner + 1)
}

/// The whole of a state as a Location, used for coverage areas.
pub(super) fn area_id(city: &City) -> String {
    format!("area-{}", city.state_id())
}

pub(super) fn board_id(city: &City) -> String {
    format!("board-{}", city.state_id())
}
