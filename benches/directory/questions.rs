//! The questions asked of the directory: how each is written as a URL, and who belongs in its answer.

use std::collections::{BTreeSet, HashMap};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::dataset::{Affiliation, DataSet, Folded, Location, NPI_SYSTEM, Position, Practitioner, Role};

/// The page size every search asks for, so that all contenders return pages of one size.
pub const COUNT: usize = 20;

/// Distances within this share of the radius are left to the server: spheres, ellipsoids and mean radii differ so much.
const DISTANCE_TOLERANCE: f64 = 0.006;

/// What RFC 3986 leaves unreserved stays as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub enum Question {
    /// By the place in `DataSet::resources`.
    Read(usize),
    Npi(String),
    Name(String),
    Specialty(String),
    PractitionerName(String),
    SpecialtyInCity {
        specialty: String,
        city: String,
    },
    City(String),
    Near(Circle),
    RoleNear(Circle),
    Participants(Through),
    SpecialtyCount(String),
}

pub struct Circle {
    pub centre: Position,
    pub kilometres: u32,
}

/// The element of OrganizationAffiliation through which participating organizations are asked for; ids or a code.
pub enum Through {
    Network(String),
    Location(String),
    Specialty(String),
}

/// Whether a resource belongs in an answer. The order makes `max` an "or" and `min` an "and".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    /// The standard leaves it to the server.
    May,
    Must,
}

/// The matches of a search over the whole data set, as ids.
pub struct Expected {
    pub must: BTreeSet<String>,
    /// Contains all of `must`.
    pub may: BTreeSet<String>,
}

impl Question {
    /// Path and query below the FHIR base.
    pub fn path(&self, data: &DataSet) -> String {
        let page = format!("&_count={COUNT}");
        match self {
            Self::Read(at) => format!("/{}", data.resources.get(*at).map_or("", |resource| &resource.reference)),
            Self::Npi(npi) => format!("/Practitioner?identifier={}", quote(&format!("{NPI_SYSTEM}|{npi}"))),
            Self::Name(prefix) => format!("/Practitioner?name={}{page}", quote(prefix)),
            Self::Specialty(code) => format!("/PractitionerRole?specialty={}{page}", quote(code)),
            Self::PractitionerName(name) => format!("/PractitionerRole?practitioner.name={}{page}", quote(name)),
            Self::SpecialtyInCity { specialty, city } => format!(
                "/PractitionerRole?specialty={}&location.address-city={}&_include=PractitionerRole:practitioner{page}",
                quote(specialty),
                quote(city)
            ),
            Self::City(city) => format!("/Location?address-city={}{page}", quote(city)),
            Self::Near(circle) => format!("/Location?near={}{page}", circle.quoted()),
            Self::RoleNear(circle) => format!("/PractitionerRole?location.near={}{page}", circle.quoted()),
            Self::Participants(through) => {
                let (parameter, value) = match through {
                    Through::Network(id) => ("network", format!("Organization/{id}")),
                    Through::Location(id) => ("location", format!("Location/{id}")),
                    Through::Specialty(code) => ("specialty", code.clone()),
                };
                format!(
                    "/Organization?_has:OrganizationAffiliation:participating-organization:{parameter}={}\
                     &_revinclude=OrganizationAffiliation:participating-organization{page}",
                    quote(&value)
                )
            }
            Self::SpecialtyCount(code) => format!("/PractitionerRole?specialty={}&_summary=count", quote(code)),
        }
    }

    /// The type of the matches.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Npi(_) | Self::Name(_) => "Practitioner",
            Self::City(_) | Self::Near(_) => "Location",
            Self::Participants(_) => "Organization",
            Self::Read(_) => "",
            _ => "PractitionerRole",
        }
    }

    /// All matches in the data set, worked out by looking at every resource.
    pub fn expected(&self, data: &DataSet) -> Expected {
        match self {
            Self::Read(_) => Expected::of(std::iter::empty()),
            Self::Npi(npi) => practitioners(data, |it| must(it.npis.contains(npi))),
            Self::Name(prefix) => practitioners(data, named(prefix)),
            Self::Specialty(code) | Self::SpecialtyCount(code) => roles(data, |it| must(it.specialties.contains(code))),
            Self::PractitionerName(name) => {
                let fit = named(name);
                let people = fits(data.practitioners.iter().map(|it| (it.id.as_str(), fit(it))));
                roles(data, |it| best(it.practitioner.iter(), &people))
            }
            Self::SpecialtyInCity { specialty, city } => {
                let fit = in_city(city);
                let places = fits(data.locations.iter().map(|it| (it.id.as_str(), fit(it))));
                roles(data, |it| must(it.specialties.contains(specialty)).min(best(it.locations.iter(), &places)))
            }
            Self::City(city) => locations(data, in_city(city)),
            Self::Near(circle) => locations(data, |it| circle.holds(it)),
            Self::RoleNear(circle) => {
                let places = fits(data.locations.iter().map(|it| (it.id.as_str(), circle.holds(it))));
                roles(data, |it| best(it.locations.iter(), &places))
            }
            Self::Participants(through) => {
                let participants = data.affiliations.iter().filter(|it| through.holds(it));
                Expected::of(participants.filter_map(|it| Some((it.participant.as_deref()?, Fit::Must))))
            }
        }
    }

    /// What must stand beside these matches as included resources, as `Type/id`.
    pub fn included(&self, data: &DataSet, matches: &BTreeSet<String>) -> BTreeSet<String> {
        match self {
            Self::SpecialtyInCity { .. } => {
                let on_page = data.roles.iter().filter(|it| matches.contains(&it.id));
                on_page.filter_map(|it| Some(format!("Practitioner/{}", it.practitioner.as_deref()?))).collect()
            }
            Self::Participants(_) => {
                let on_page = |it: &&Affiliation| it.participant.as_ref().is_some_and(|id| matches.contains(id));
                let affiliations = data.affiliations.iter().filter(on_page);
                affiliations.map(|it| format!("OrganizationAffiliation/{}", it.id)).collect()
            }
            _ => BTreeSet::new(),
        }
    }
}

impl Circle {
    fn quoted(&self) -> String {
        let Position { latitude, longitude } = self.centre;
        quote(&format!("{latitude}|{longitude}|{}|km", self.kilometres))
    }

    fn holds(&self, location: &Location) -> Fit {
        let radius = f64::from(self.kilometres);
        match location.position.map(|position| self.centre.kilometres_to(position)) {
            Some(distance) if distance <= radius * (1.0 - DISTANCE_TOLERANCE) => Fit::Must,
            Some(distance) if distance <= radius * (1.0 + DISTANCE_TOLERANCE) => Fit::May,
            _ => Fit::No,
        }
    }
}

impl Through {
    fn holds(&self, affiliation: &Affiliation) -> bool {
        match self {
            Self::Network(id) => affiliation.networks.contains(id),
            Self::Location(id) => affiliation.locations.contains(id),
            Self::Specialty(code) => affiliation.specialties.contains(code),
        }
    }
}

impl Expected {
    fn of<'a>(candidates: impl Iterator<Item = (&'a str, Fit)>) -> Self {
        let mut expected = Self { must: BTreeSet::new(), may: BTreeSet::new() };
        for (id, fit) in candidates {
            if fit == Fit::Must {
                expected.must.insert(id.to_owned());
            }
            if fit >= Fit::May {
                expected.may.insert(id.to_owned());
            }
        }
        expected
    }
}

fn quote(value: &str) -> String {
    utf8_percent_encode(value, RESERVED).to_string()
}

fn must(fits: bool) -> Fit {
    if fits { Fit::Must } else { Fit::No }
}

/// String search: equal to the value or beginning with it, without regard to case and accents.
fn starts(value: &Folded, wanted: &Folded) -> Fit {
    if value.text.starts_with(&wanted.text) {
        Fit::Must
    } else if value.bare.starts_with(&wanted.bare) {
        Fit::May
    } else {
        Fit::No
    }
}

fn named(name: &str) -> impl Fn(&Practitioner) -> Fit {
    let wanted = Folded::new(name);
    move |it| it.names.iter().map(|part| starts(part, &wanted)).max().unwrap_or(Fit::No)
}

fn in_city(city: &str) -> impl Fn(&Location) -> Fit {
    let wanted = Folded::new(city);
    move |it| it.folded_city.as_ref().map_or(Fit::No, |city| starts(city, &wanted))
}

fn fits<'a>(candidates: impl Iterator<Item = (&'a str, Fit)>) -> HashMap<&'a str, Fit> {
    candidates.filter(|(_, fit)| *fit > Fit::No).collect()
}

/// How well the best of these references fits.
fn best<'a>(ids: impl Iterator<Item = &'a String>, fits: &HashMap<&str, Fit>) -> Fit {
    ids.filter_map(|id| fits.get(id.as_str()).copied()).max().unwrap_or(Fit::No)
}

fn practitioners(data: &DataSet, fit: impl Fn(&Practitioner) -> Fit) -> Expected {
    Expected::of(data.practitioners.iter().map(|it| (it.id.as_str(), fit(it))))
}

fn roles(data: &DataSet, fit: impl Fn(&Role) -> Fit) -> Expected {
    Expected::of(data.roles.iter().map(|it| (it.id.as_str(), fit(it))))
}

fn locations(data: &DataSet, fit: impl Fn(&Location) -> Fit) -> Expected {
    Expected::of(data.locations.iter().map(|it| (it.id.as_str(), fit(it))))
}
