//! Filters in memory against the store: what `search::matching` says of each resource is what a search finds.

use std::collections::{BTreeMap, BTreeSet};

use plumbline::fhir::terminology::Terminology;
use plumbline::fhir::types::{Instant, ResourceType};
use plumbline::search::matching::{all_hold, holds};
use plumbline::search::parse::{self, Context, Handling};
use plumbline::search::query::Filter;

use super::leaves::{Asked, leaves};
use super::nested::{Nested, directory_types};
use super::world::{World, load_demo, load_oddities, never_listed};
use crate::harness::on_both;

const PRACTITIONERS: usize = 40;

/// What queries of one form, or of one parameter, found.
#[derive(Debug, Default)]
struct Tally {
    asked: usize,
    /// Of those that found some resources, but not all.
    some: usize,
}

/// Query strings: what the modifiers and the ways to write a value come to. Each finds some, but not all.
const QUERIES: &[&str] = &[
    "PractitionerRole?specialty=http://nucc.org/provider-taxonomy|207V00000X,183500000X",
    "PractitionerRole?specialty:not=183500000x",
    "PractitionerRole?specialty:text=pharm",
    "HealthcareService?specialty:in=http://hl7.org/fhir/us/davinci-pdex-plan-net/ValueSet/NonIndividualSpecialtiesVS",
    "PractitionerRole?role:in=http://hl7.org/fhir/us/davinci-pdex-plan-net/ValueSet/PractitionerRoleVS&active=true&period=gt2020",
    "PractitionerRole?period=ap2020-02&organization:missing=false",
    "PractitionerRole?period=ge2020-02-10T15:00:00Z&period=sa2021,eb2013",
    "PractitionerRole?practitioner:identifier=urn:ids|ID-7",
    "PractitionerRole?organization=https://other.example/fhir/Organization/1,Organization/never",
    "PractitionerRole?location=Location/odd-1",
    "PractitionerRole?email=ROLE@example.org",
    "PractitionerRole?_id=odd-1,odd-2,nobody",
    "Practitioner?name=kim-and&gender:not=female",
    "Practitioner?name:exact=O'Brien-Núñez",
    "Practitioner?name:contains=rien&family=núñez",
    "Practitioner?phonetic=obrien",
    "Practitioner?given=李",
    "Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|1965427150,|Bare,urn:ids|",
    "Practitioner?phone=617-555-0101",
    "Practitioner?qual-code-period=MD$gt2020,http://q.example|md$2020-02-29",
    "Practitioner?qualification-period=le2020-02-29",
    "Practitioner?active=false",
    "Organization?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|TAX|88-0000003",
    "Organization?type:below=http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS|payer",
    "Organization?type:not-in=http://hl7.org/fhir/us/davinci-pdex-plan-net/ValueSet/OrgTypeVS",
    "Organization?address=chicago,ma&address-use=work",
    "Organization?name:contains=health&coverage-area=Location/area-ca,Location/area-tx",
    "Organization?_tag=http://tags.example|odd&_security:not=x",
    "Organization?_profile:below=http://a.example/profiles",
    "Organization?_source:above=http://source.example/a/b/c",
    "Organization?_source=urn:uuid:0",
    "Location?near=37.823789|-122.425389|100|[mi_i]",
    "Location?near=37.823789|-122.425389|0,-90|0|1",
    "Location?address-state=ca&status=active",
    "Location?operational-status=C",
    "HealthcareService?program:text=odd",
    "HealthcareService?delivery-method=virtual&service-category:not=hosp",
    "OrganizationAffiliation?date=ne2021",
    "OrganizationAffiliation?period=sa2020-02-10T05:00:00.4-05:00",
    "Endpoint?status=off",
    "InsurancePlan?cost=gt99|urn:iso:std:iso:4217|USD",
    "InsurancePlan?cost=ap100",
    "InsurancePlan?group-size=lt1e2",
    "InsurancePlan?plan-type=lowdeductible&_lastUpdated=gt2000",
];

on_both! {
    fn one_resource_tells_what_a_search_finds(server) {
        load_demo(server, PRACTITIONERS);
        load_oddities(server);
        let world = World::of(server);
        let mut forms: BTreeMap<String, Tally> = BTreeMap::new();
        let mut params: BTreeMap<String, Tally> = BTreeMap::new();
        let mut faults = Vec::new();
        for base in directory_types() {
            let all = world.of_type(base).count();
            assert_eq!(world.find(base, vec![never_listed(base)]), BTreeSet::new());
            for leaf in leaves(&world, base) {
                let told: BTreeSet<String> = world
                    .of_type(base)
                    .filter(|stored| holds(&leaf.filter, &stored.subject()).unwrap_or_else(|| panic!("it tells {leaf:?}")))
                    .map(|stored| stored.name.id.clone())
                    .collect();
                let probed = Filter::Any(vec![vec![leaf.filter.clone()], vec![never_listed(base)]]);
                for (way, filter) in [("drive", leaf.filter.clone()), ("probe", probed)] {
                    let found = world.find(base, vec![filter]);
                    if found != told {
                        faults.push(format!("{way} {leaf:?}: found {found:?}, told {told:?}"));
                    }
                }
                let is_some = !told.is_empty() && told.len() < all;
                let param = format!("{base}.{}", leaf.param.code);
                for tally in [forms.entry(leaf.form).or_default(), params.entry(param).or_default()] {
                    tally.asked += 1;
                    tally.some += usize::from(is_some);
                }
            }
        }
        assert!(faults.is_empty(), "{} faults\n{}\n", faults.len(), faults[..faults.len().min(20)].join("\n"));
        // Values that nothing has, and tests that everything passes, are there on purpose.
        let is_for_some = |form: &str| !["other", "none", "nothing", "ever"].iter().any(|word| form.contains(word));
        let idle: Vec<&String> = params
            .iter()
            .chain(forms.iter().filter(|(form, _)| is_for_some(form)))
            .filter(|(_, tally)| tally.some == 0)
            .map(|(name, _)| name)
            .collect();
        assert!(idle.is_empty(), "never found some and left out others: {idle:?}");
        let asked: usize = params.values().map(|tally| tally.asked).sum();
        let some: usize = params.values().map(|tally| tally.some).sum();
        assert!(asked > 10_000 && some > 5_000 && forms.len() > 150, "{asked} asked, {some} found some, {} forms", forms.len());
    }

    fn a_query_string_means_the_same_in_memory(server) {
        load_demo(server, PRACTITIONERS);
        load_oddities(server);
        let world = World::of(server);
        let bases = [server.base.clone()];
        let now = Instant(i64::try_from(std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_micros()).expect("before 2262"));
        let context = Context {
            bases: &bases, now, handling: Handling::Strict, terminology: Terminology::embedded(), count_default: 50, count_max: 50,
        };
        let mut idle = Vec::new();
        for query in QUERIES {
            let (name, text) = query.split_once('?').expect("a type");
            let base = ResourceType::parse(name).expect("a type");
            let pairs: Vec<(String, String)> = form_urlencoded::parse(text.as_bytes()).into_owned().collect();
            let filters = parse::parse(&[base], &pairs, context).expect("a query").types.remove(0).filters;
            let told: BTreeSet<String> = world
                .of_type(base)
                .filter(|stored| all_hold(&filters, &stored.subject()).unwrap_or_else(|| panic!("it tells {query}")))
                .map(|stored| stored.name.id.clone())
                .collect();
            assert_eq!(server.ids(query).into_iter().collect::<BTreeSet<String>>(), told, "{query}");
            if told.is_empty() || told.len() == world.of_type(base).count() {
                idle.push(query);
            }
        }
        assert!(idle.is_empty(), "found none or all: {idle:?}");
    }

    fn what_others_have_to_say_is_unknown_unless_the_rest_decides(server) {
        load_demo(server, PRACTITIONERS);
        load_oddities(server);
        let world = World::of(server);
        let mut nested = Nested::new(&world);
        let mut answers: BTreeMap<Option<bool>, usize> = BTreeMap::new();
        let mut mixed = 0;
        for round in 0..60 {
            for base in directory_types() {
                let mut filters = vec![nested.filter(base, 3), nested.filter(base, 2)];
                if round % 3 == 0 {
                    filters.extend(nested.hierarchy(base));
                }
                if round % 3 == 1 {
                    filters = vec![Filter::Any(vec![filters, vec![nested.filter(base, 1)], nested.hierarchy(base).into_iter().collect()])];
                }
                let found = world.find(base, filters.clone());
                let mut kinds = BTreeSet::new();
                for stored in world.of_type(base) {
                    let told = all_hold(&filters, &stored.subject());
                    kinds.insert(told);
                    *answers.entry(told).or_default() += 1;
                    let is_found = found.contains(&stored.name.id);
                    assert!(told.is_none_or(|told| told == is_found), "{}: {told:?}, {is_found}: {:?}", stored.name.id, filters.iter().map(Asked).collect::<Vec<_>>());
                }
                mixed += usize::from(kinds.contains(&None) && kinds.len() > 1);
            }
        }
        assert!(answers.values().all(|times| *times > 1_000) && answers.len() == 3, "{answers:?}");
        assert!(mixed > 50, "{mixed} filters were unknown of some resources, and decided of others");
    }
}
