//! The table of operations: what is asked, how questions are drawn from the data, and the goal of each.

use crate::dataset::DataSet;
use crate::drafts::{Drafts, TRANSACTION_ENTRIES};
use crate::questions::{Circle, Question, Through};
use crate::random::Random;

pub struct Operation {
    /// The name `--only` knows it by.
    pub name: &'static str,
    pub shape: &'static str,
    pub goal: Goal,
    pub work: Work,
}

#[derive(Clone, Copy)]
pub enum Goal {
    /// Requests per second as a share of the control's.
    OfControl(f64),
    /// Resources per second.
    Resources(f64),
}

pub enum Work {
    Ask(fn(&DataSet, &mut Random) -> Option<Question>),
    Write(Write),
}

#[derive(Clone, Copy)]
pub enum Write {
    Create,
    Update,
    Transaction,
}

/// One request as the load generator sends it, and the least its answer must show.
pub struct Call {
    pub method: &'static str,
    /// Path and query below the FHIR base.
    pub path: String,
    pub body: Vec<u8>,
    pub status: u16,
    /// The resource type the answer must open with; empty when any will do.
    pub answer_type: &'static str,
}

const RADIUS_KM: u32 = 10;

pub const OPERATIONS: &[Operation] = &[
    Operation { name: "read", shape: "read by id", goal: Goal::OfControl(0.5), work: Work::Ask(any_resource) },
    Operation {
        name: "identifier",
        shape: "`Practitioner?identifier=http://hl7.org/fhir/sid/us-npi\\|N`",
        goal: Goal::OfControl(0.3),
        work: Work::Ask(npi),
    },
    Operation {
        name: "name",
        shape: "`Practitioner?name=Smi`",
        goal: Goal::OfControl(0.1),
        work: Work::Ask(|data, random| name(data, random, 3).map(Question::Name)),
    },
    Operation {
        name: "specialty",
        shape: "`PractitionerRole?specialty=C`",
        goal: Goal::OfControl(0.1),
        work: Work::Ask(|data, random| specialty(data, random).map(Question::Specialty)),
    },
    Operation {
        name: "chain",
        shape: "`PractitionerRole?practitioner.name=X`",
        goal: Goal::OfControl(0.05),
        work: Work::Ask(|data, random| name(data, random, usize::MAX).map(Question::PractitionerName)),
    },
    Operation {
        name: "chain-include",
        shape: "`PractitionerRole?specialty=C&location.address-city=X&_include=PractitionerRole:practitioner`",
        goal: Goal::OfControl(0.05),
        work: Work::Ask(specialty_in_city),
    },
    Operation {
        name: "city",
        shape: "`Location?address-city=X`",
        goal: Goal::OfControl(0.1),
        work: Work::Ask(|data, random| {
            probe(random, &data.locations, |location| location.city.clone()).map(Question::City)
        }),
    },
    Operation {
        name: "near",
        shape: "`Location?near=LAT\\|LON\\|10\\|km`",
        goal: Goal::OfControl(0.05),
        work: Work::Ask(|data, random| circle(data, random).map(Question::Near)),
    },
    Operation {
        name: "chain-near",
        shape: "`PractitionerRole?location.near=LAT\\|LON\\|10\\|km`",
        goal: Goal::OfControl(0.05),
        work: Work::Ask(|data, random| circle(data, random).map(Question::RoleNear)),
    },
    Operation {
        name: "has-revinclude",
        shape: "`Organization?_has:OrganizationAffiliation:participating-organization:{network,location,specialty}=V\
                &_revinclude=OrganizationAffiliation:participating-organization`",
        goal: Goal::OfControl(0.03),
        work: Work::Ask(|data, random| through(data, random).map(Question::Participants)),
    },
    Operation {
        name: "count",
        shape: "`PractitionerRole?specialty=C&_summary=count`",
        goal: Goal::OfControl(0.1),
        work: Work::Ask(|data, random| specialty(data, random).map(Question::SpecialtyCount)),
    },
    Operation {
        name: "create",
        shape: "create a Practitioner",
        goal: Goal::Resources(3_000.0),
        work: Work::Write(Write::Create),
    },
    Operation {
        name: "update",
        shape: "update a Practitioner",
        goal: Goal::Resources(3_000.0),
        work: Work::Write(Write::Update),
    },
    Operation {
        name: "transaction",
        shape: "transaction of 100 creates, four types, linked",
        goal: Goal::Resources(6_000.0),
        work: Work::Write(Write::Transaction),
    },
];

impl Operation {
    /// The next request of this operation; none when the data have nothing to ask it about.
    pub fn call(&self, data: &DataSet, drafts: &Drafts, random: &mut Random) -> Option<Call> {
        match &self.work {
            Work::Ask(draw) => draw(data, random).map(|question| Call::ask(&question, data)),
            Work::Write(Write::Create) => drafts.create(random),
            Work::Write(Write::Update) => drafts.update(data, random),
            Work::Write(Write::Transaction) => drafts.transaction(random),
        }
    }

    /// Resources that one request reads or writes, for goals per resource.
    pub fn resources_per_call(&self) -> usize {
        match self.work {
            Work::Write(Write::Transaction) => TRANSACTION_ENTRIES,
            _ => 1,
        }
    }
}

impl Goal {
    /// The goal on PostgreSQL: a fifth of the control for reads (lower goals stay as they are), half of the writes.
    pub fn on_postgres(self) -> Self {
        match self {
            Self::OfControl(share) => Self::OfControl(share.min(0.2)),
            Self::Resources(rate) => Self::Resources(rate / 2.0),
        }
    }
}

impl Call {
    pub fn ask(question: &Question, data: &DataSet) -> Self {
        let answer_type = if matches!(question, Question::Read(_)) { "" } else { "Bundle" };
        Self::get(question.path(data), answer_type)
    }

    pub fn get(path: String, answer_type: &'static str) -> Self {
        Self { method: "GET", path, body: Vec::new(), status: 200, answer_type }
    }
}

/// Draws until an item yields something, with a bound.
fn probe<T, U>(random: &mut Random, items: &[T], look: impl Fn(&T) -> Option<U>) -> Option<U> {
    (0..1_000).find_map(|_| look(random.pick(items)?))
}

fn any_resource(data: &DataSet, random: &mut Random) -> Option<Question> {
    (!data.resources.is_empty()).then(|| Question::Read(random.below(data.resources.len())))
}

fn npi(data: &DataSet, random: &mut Random) -> Option<Question> {
    probe(random, &data.practitioners, |practitioner| practitioner.npis.first().cloned()).map(Question::Npi)
}

/// The first letters of a family name; names with punctuation near the front are passed over.
fn name(data: &DataSet, random: &mut Random, letters: usize) -> Option<String> {
    probe(random, &data.practitioners, |practitioner| {
        let prefix: String = practitioner.family.as_deref()?.chars().take(letters).collect();
        prefix.chars().all(char::is_alphabetic).then_some(prefix)
    })
}

/// A specialty, as often as roles have it.
fn specialty(data: &DataSet, random: &mut Random) -> Option<String> {
    probe(random, &data.roles, |role| role.specialties.first().cloned())
}

fn specialty_in_city(data: &DataSet, random: &mut Random) -> Option<Question> {
    probe(random, &data.roles, |role| {
        let city = data.location(role.locations.first()?)?.city.clone()?;
        Some(Question::SpecialtyInCity { specialty: role.specialties.first()?.clone(), city })
    })
}

/// A circle around one of the locations, its centre moved by up to about two kilometres.
fn circle(data: &DataSet, random: &mut Random) -> Option<Circle> {
    let mut centre = probe(random, &data.locations, |location| location.position)?;
    let mut shifted = |degrees: f64| {
        let shift = random.below(400) as f64 / 10_000.0 - 0.02;
        ((degrees + shift) * 10_000.0).round() / 10_000.0
    };
    centre.latitude = shifted(centre.latitude);
    centre.longitude = shifted(centre.longitude);
    Some(Circle { centre, kilometres: RADIUS_KM })
}

/// One of the three elements, each as likely; an affiliation that lacks it is asked for by network.
fn through(data: &DataSet, random: &mut Random) -> Option<Through> {
    let element = random.below(3);
    probe(random, &data.affiliations, |affiliation| {
        let wanted = match element {
            0 => None,
            1 => affiliation.locations.first().cloned().map(Through::Location),
            _ => affiliation.specialties.first().cloned().map(Through::Specialty),
        };
        wanted.or_else(|| affiliation.networks.first().cloned().map(Through::Network))
    })
}
