//! Who a practitioner is and where they work, worked out from the number alone.

use super::layout::Layout;
use super::names::{PersonName, person_name};
use super::places::City;
use super::random::{Random, Stream};
use super::specialties::{SPECIALTIES, Specialty};

/// One place of work: the service, one or two of its organization's sites, and the network it counts for.
#[derive(Debug)]
pub(super) struct Post {
    pub(super) service: usize,
    pub(super) sites: Vec<usize>,
    pub(super) network: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Person {
    pub(super) name: PersonName,
    pub(super) specialty: &'static Specialty,
    /// Where the first post is.
    pub(super) city: City,
    /// One to three posts, the main one first.
    pub(super) posts: Vec<Post>,
}

/// Practitioner number `index`, the same whenever asked: their resource and their roles are built far apart.
pub(super) fn person(layout: &Layout, index: usize) -> Option<Person> {
    let mut random = Random::new(layout.seed, Stream::Person, index);
    let name = person_name(&mut random);
    let chosen = random.weighted(SPECIALTIES, |specialty| specialty.weight);
    let specialty = SPECIALTIES.get(chosen)?;
    let count = match random.below(100) {
        0..62 => 1,
        62..89 => 2,
        _ => 3,
    };
    let mut city: Option<City> = None;
    let mut posts: Vec<Post> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut service = layout.service_for(chosen, &mut random);
        if let Some(home) = city {
            // Further posts are in the same state, if a few tries find one there.
            for _ in 0..12 {
                if service_city(layout, service).is_some_and(|city| city.state == home.state) {
                    break;
                }
                service = layout.service_for(chosen, &mut random);
            }
        }
        city = city.or_else(|| service_city(layout, service));
        posts.push(post(layout, service, &mut random)?);
    }
    Some(Person { name, specialty, city: city.unwrap_or_default(), posts })
}

fn service_city(layout: &Layout, service: usize) -> Option<City> {
    let service = layout.services.get(service)?;
    layout.providers.get(service.provider).map(|provider| provider.city)
}

fn post(layout: &Layout, number: usize, random: &mut Random) -> Option<Post> {
    let service = layout.services.get(number)?;
    let provider = layout.providers.get(service.provider)?;
    let main = random.pick(&service.sites);
    let mut sites = vec![main];
    if random.chance(25) {
        let other = random.pick(&provider.sites);
        if other != main {
            sites.push(other);
        }
    }
    let network = (!provider.networks.is_empty()).then(|| random.pick(&provider.networks));
    Some(Post { service: number, sites, network })
}
