//! Alternatives of filters: at the top, in chains and in `_has`, and as what a step of an include may lead to.

use std::collections::BTreeSet;

use plumbline::fhir::terminology::Terminology;
use plumbline::fhir::types::Instant;
use plumbline::fhir::types::ResourceType::{self, Basic, Organization, Practitioner, PractitionerRole};
use plumbline::search::include::references;
use plumbline::search::param::{SearchParam, registry};
use plumbline::search::parse::{self, Context, Handling};
use plumbline::search::query::Filter;
use plumbline::store::include::{Step, Visible};
use serde_json::{Value, json};

use super::leaves::Asked;
use super::nested::{Nested, directory_types};
use super::world::{World, load_demo, load_oddities, never_listed};
use super::{delete, load, resource};
use crate::harness::{Server, on_both};

fn directory(server: &Server) -> World {
    let named = |resource_type: &str, id: &str, rest: Value| {
        let mut named = resource(resource_type, id, rest);
        named["meta"] = json!({"profile": ["http://a.example/profile"]});
        named
    };
    let to = |name: &str| json!({"reference": name});
    let role = |id: &str, practitioner: &str, organization: &str, rest: Value| {
        let mut role = named("PractitionerRole", id, rest);
        role["practitioner"] = to(&format!("Practitioner/{practitioner}"));
        role["organization"] = to(&format!("Organization/{organization}"));
        role
    };
    let specialty = |code: &str| json!({"specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": code}]}]});
    let note = |id: &str, about: &str| named("Basic", id, json!({"code": {"text": "note"}, "subject": to(about)}));
    load(
        server,
        &[
            named("Practitioner", "ann", json!({"active": true})),
            named("Practitioner", "bob", json!({"active": false})),
            named("Practitioner", "cy", json!({"gender": "other"})),
            named("Practitioner", "gone", json!({"active": false})),
            named("Organization", "group", json!({"name": "Group", "active": true})),
            named("Organization", "other", json!({"name": "Other"})),
            named("Organization", "gone", json!({"name": "Gone"})),
            role("heart", "ann", "group", specialty("heart")),
            role("skin", "ann", "other", specialty("skin")),
            role("bare", "bob", "group", json!({})),
            role("left", "gone", "gone", specialty("heart")),
            role("lone", "cy", "never", specialty("skin")),
            note("on-group", "Organization/group"),
            note("on-other", "Organization/other"),
            note("on-gone", "Organization/gone"),
            note("on-never", "Organization/never"),
            note("on-ann", "Practitioner/ann"),
        ],
    );
    delete(server, &["Practitioner/gone", "Organization/gone"]);
    World::of(server)
}

/// The filter that `name=value` is.
fn filter(base: ResourceType, text: &str) -> Filter {
    let (name, value) = text.split_once('=').expect("name=value");
    let context = Context {
        bases: &[],
        now: Instant(0),
        handling: Handling::Strict,
        terminology: Terminology::embedded(),
        count_default: 50,
        count_max: 50,
    };
    let query = parse::parse(&[base], &[(name.to_owned(), value.to_owned())], context);
    query.unwrap_or_else(|error| panic!("{text}: {error:?}")).types.remove(0).filters.remove(0)
}

fn filters(base: ResourceType, texts: &[&str]) -> Vec<Filter> {
    texts.iter().map(|text| filter(base, text)).collect()
}

fn any(base: ResourceType, alternatives: &[&[&str]]) -> Filter {
    Filter::Any(alternatives.iter().map(|texts| filters(base, texts)).collect())
}

fn param(base: ResourceType, code: &str) -> &'static SearchParam {
    registry().get(base, code).expect("a parameter")
}

/// However the filter is asked, it finds this.
fn check(world: &World, base: ResourceType, asked: &Filter, expected: &BTreeSet<String>) {
    let probed = Filter::Any(vec![vec![asked.clone()], vec![never_listed(base)]]);
    let beside = vec![filter(base, "_lastUpdated=gt2000"), asked.clone()];
    for filters in [vec![asked.clone()], vec![probed.clone()], beside, vec![asked.clone(), probed]] {
        let shown: Vec<Asked> = filters.iter().map(Asked).collect();
        assert_eq!(&world.find(base, filters.clone()), expected, "{shown:?}");
        assert_eq!(world.count(base, filters.clone()), expected.len(), "{shown:?}");
        let walked = world.walk(base, filters.clone());
        assert_eq!(walked.len(), expected.len(), "each once: {shown:?}");
        assert_eq!(&walked.into_iter().collect::<BTreeSet<String>>(), expected, "{shown:?}");
    }
    assert_eq!(&world.meeting(base, std::slice::from_ref(asked)), expected, "in memory: {:?}", Asked(asked));
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

type Row<'r> = (&'r [&'r [&'r str]], &'r [&'r str]);

on_both! {
    fn one_alternative_is_enough_and_all_of_its_filters_have_to_hold(server) {
        let world = directory(server);
        let all: &[&str] = &["heart", "skin", "bare", "left", "lone"];
        let roles: &[Row] = &[
            (&[&["specialty=heart"]], &["heart", "left"]),
            (&[&["specialty=heart"], &["organization=group"]], &["heart", "left", "bare"]),
            (&[&["specialty=heart", "organization=group"]], &["heart"]),
            (&[&["organization=group", "specialty=heart"], &["organization=other", "practitioner=ann"]], &["heart", "skin"]),
            (&[], &[]),
            (&[&[]], all),
            (&[&["specialty=heart"], &[]], all),
            (&[&["specialty=teeth"], &["_id=,!"]], &[]),
            (&[&["specialty:missing=true"]], &["bare"]),
            (&[&["specialty:missing=false", "organization=other"], &["specialty:missing=true"]], &["skin", "bare"]),
            (&[&["specialty:not=heart"]], &["skin", "bare", "lone"]),
            (&[&["specialty:not=heart"], &["specialty=heart", "organization=group"]], &["skin", "bare", "lone", "heart"]),
            (&[&["specialty:not=heart", "organization=group"], &["_id=lone"]], &["bare", "lone"]),
            (&[&["_id=skin"], &["_id=bare,heart"]], &["skin", "bare", "heart"]),
            (&[&["_lastUpdated=gt2000"]], all),
            (&[&["_lastUpdated=lt2000"], &["specialty=skin"]], &["skin", "lone"]),
            (&[&["specialty=skin,heart", "_lastUpdated=gt2000", "practitioner=ann"]], &["heart", "skin"]),
            (&[&["practitioner.active=true"]], &["heart", "skin"]),
            (&[&["organization.name=group"], &["practitioner.active=false"]], &["heart", "bare"]),
            (&[&["practitioner.active:not=true"]], &["bare", "lone"]),
            (&[&["organization._id=gone,never"], &["organization._has:Basic:subject:code:text=note"]], &["heart", "skin", "bare"]),
        ];
        for (alternatives, expected) in roles {
            let asked = any(PractitionerRole, alternatives);
            check(&world, PractitionerRole, &asked, &ids(expected));
            // One in the other.
            check(&world, PractitionerRole, &Filter::Any(vec![vec![asked.clone(), asked.clone()]]), &ids(expected));
            let either = Filter::Any(vec![vec![asked], vec![any(PractitionerRole, &[&["_id=lone"]])]]);
            check(&world, PractitionerRole, &either, &ids(expected).into_iter().chain(["lone".into()]).collect());
        }
    }

    fn what_is_only_a_name_or_of_another_type_meets_no_alternative(server) {
        let world = directory(server);
        let noted = "_has:Basic:subject:code:text=note";
        let organizations: &[Row] = &[
            (&[&[noted]], &["group", "other"]),
            (&[&[noted], &["name=other"]], &["group", "other"]),
            (&[&[noted, "active=true"]], &["group"]),
            (&[&[noted, "active:not=true"]], &["other"]),
            (&[&[noted, "active:missing=true"], &["_id=gone"]], &["other"]),
            (&[&[noted, "_lastUpdated=gt2000"]], &["group", "other"]),
            (&[&["_lastUpdated=gt2000", noted, "name=group"]], &["group"]),
        ];
        for (alternatives, expected) in organizations {
            check(&world, Organization, &any(Organization, alternatives), &ids(expected));
        }
        check(&world, Practitioner, &any(Practitioner, &[&["_has:PractitionerRole:practitioner:specialty=heart"]]), &ids(&["ann"]));
    }

    fn a_chain_may_lead_to_alternatives(server) {
        let world = directory(server);
        let live: &[&str] = &["heart", "skin", "bare"];
        let organizations: &[Row] = &[
            (&[&["active=true"]], &["heart", "bare"]),
            (&[&["active:not=true"]], &["skin"]),
            (&[&["active:missing=true"]], &["skin"]),
            (&[&["active=true"], &["name=other"]], live),
            (&[&["active=true", "name=other"]], &[]),
            (&[&[]], live),
            (&[], &[]),
            (&[&["_id=other"], &["_id=gone,never"]], &["skin"]),
            (&[&["_lastUpdated=gt2000"]], live),
            (&[&["_lastUpdated=lt2000"], &["active:not=true"]], &["skin"]),
            (&[&["_has:Basic:subject:code:text=note"]], live),
            (&[&["_has:Basic:subject:code:text=note", "active:not=true"]], &["skin"]),
            (&[&["_has:PractitionerRole:organization:specialty=heart,skin"]], live),
        ];
        let lead = |base, code, inner| Filter::Chain { param: param(base, code), target: Organization, inner: Box::new(inner) };
        for (alternatives, expected) in organizations {
            let inner = any(Organization, alternatives);
            check(&world, PractitionerRole, &lead(PractitionerRole, "organization", inner.clone()), &ids(expected));
            let nested = Filter::Any(vec![vec![Filter::Any(vec![vec![inner]])]]);
            check(&world, PractitionerRole, &lead(PractitionerRole, "organization", nested), &ids(expected));
        }
        // A subject may be of any type.
        let notes: &[Row] = &[
            (&[&["active:not=true"]], &["on-other"]),
            (&[&["_lastUpdated=gt2000"]], &["on-group", "on-other"]),
            (&[&[]], &["on-group", "on-other"]),
            (&[&["_has:Basic:subject:code:text=note"]], &["on-group", "on-other"]),
        ];
        for (alternatives, expected) in notes {
            check(&world, Basic, &lead(Basic, "subject", any(Organization, alternatives)), &ids(expected));
        }
    }

    fn has_may_ask_alternatives_of_one_referrer(server) {
        let world = directory(server);
        let roles: &[Row] = &[
            (&[&["specialty=heart"], &["specialty:missing=true"]], &["ann", "bob"]),
            (&[&["specialty=skin", "organization=other"]], &["ann"]),
            (&[&["specialty=heart", "organization=other"]], &[]),
            (&[&["specialty:not=heart"]], &["ann", "bob", "cy"]),
            (&[&["organization.active=true"], &["organization.name=other"]], &["ann", "bob"]),
            (&[&[]], &["ann", "bob", "cy"]),
            (&[], &[]),
        ];
        for (alternatives, expected) in roles {
            let inner = Box::new(any(PractitionerRole, alternatives));
            let asked = Filter::Has { param: param(PractitionerRole, "practitioner"), inner };
            check(&world, Practitioner, &asked, &ids(expected));
        }
    }

    fn very_many_alternatives_are_answered(server) {
        let world = directory(server);
        let many = |count: usize| {
            let nobody = (0..count).map(|n| filters(PractitionerRole, &[&format!("_id=nobody-{n}")]));
            Filter::Any(nobody.chain([filters(PractitionerRole, &["specialty=heart", "organization=group"])]).collect())
        };
        for count in [50, 99, 100, 700] {
            check(&world, PractitionerRole, &many(count), &ids(&["heart"]));
        }
    }

    fn a_step_leads_only_to_what_is_visible(server) {
        let world = directory(server);
        let params: Vec<i32> = references(PractitionerRole).map(|param| param.id).collect();
        let visible = |resource_type, texts: &[&str]| Visible { resource_type, filters: filters(resource_type, texts) };
        let either = |resource_type, alternatives: &[&[&str]]| Visible { resource_type, filters: vec![any(resource_type, alternatives)] };
        let follow = |from: ResourceType, reverse: bool, only: Option<ResourceType>, visible: Option<&[Visible]>| {
            let rids = world.of_type(from).map(|stored| stored.rid).collect();
            let found = world.follow(Step { rids, params: &params, reverse, only, visible });
            found.into_iter().map(|found| format!("{}/{}", found.resource_type, found.id)).collect::<BTreeSet<String>>()
        };
        let everybody = ids(&["Organization/group", "Organization/other", "Practitioner/ann", "Practitioner/bob", "Practitioner/cy"]);
        assert_eq!(follow(PractitionerRole, false, None, None), everybody);
        let to: &[(&[Visible], &[&str])] = &[
            (&[], &[]),
            (&[visible(Organization, &[])], &["Organization/group", "Organization/other"]),
            (&[visible(Organization, &["active=true"]), either(Practitioner, &[&["active=true"], &["active:missing=true"]])],
                &["Organization/group", "Practitioner/ann", "Practitioner/cy"]),
            (&[either(Organization, &[&["active:not=true"], &["_has:PractitionerRole:organization:specialty:missing=true"]])],
                &["Organization/group", "Organization/other"]),
            (&[visible(Practitioner, &["active:missing=false", "_has:PractitionerRole:practitioner:organization.name=other"])], &["Practitioner/ann"]),
            // The same type twice: either will do.
            (&[visible(Practitioner, &["active=true"]), visible(Practitioner, &["_id=bob"])], &["Practitioner/ann", "Practitioner/bob"]),
            (&[either(Organization, &[]), visible(PractitionerRole, &[])], &[]),
            (&[either(Organization, &[&[]])], &["Organization/group", "Organization/other"]),
        ];
        for (visible, expected) in to {
            assert_eq!(follow(PractitionerRole, false, None, Some(visible)), ids(expected), "{expected:?}");
        }
        let organizations = [visible(Organization, &["active=true"])];
        assert_eq!(follow(PractitionerRole, false, Some(Organization), Some(&organizations)), ids(&["Organization/group"]));
        assert_eq!(follow(PractitionerRole, false, Some(Practitioner), Some(&organizations)), ids(&[]));
        let roles = [either(PractitionerRole, &[&["specialty=heart"], &["organization=never"]])];
        assert_eq!(follow(Practitioner, true, None, Some(&roles)), ids(&["PractitionerRole/heart", "PractitionerRole/lone"]));
        assert_eq!(follow(Practitioner, true, None, Some(&organizations)), ids(&[]));
    }

    fn whatever_is_in_whatever_the_store_finds_what_meets_it(server) {
        load_demo(server, 30);
        load_oddities(server);
        // What pointed to these points to names now.
        delete(server, &["Organization/organization-000003", "Location/location-000005", "Practitioner/practitioner-000007", "Organization/network-02"]);
        let world = World::of(server);
        let mut nested = Nested::new(&world);
        let (mut some, mut asked) = (0, 0);
        for _ in 0..60 {
            for base in directory_types() {
                let alternatives = nested.alternatives(base, 3);
                let beside = nested.filter(base, 2);
                let probed = alternatives.iter().cloned().chain([vec![never_listed(base)]]).collect();
                let expected = world.meeting(base, &[Filter::Any(alternatives.clone())]);
                let shown: Vec<Vec<Asked>> = alternatives.iter().map(|filters| filters.iter().map(Asked).collect()).collect();
                assert_eq!(world.find(base, vec![Filter::Any(alternatives.clone())]), expected, "drive {base} {shown:?}");
                assert_eq!(world.find(base, vec![Filter::Any(probed)]), expected, "probe {base} {shown:?}");
                let both = vec![beside, Filter::Any(alternatives.clone())];
                assert_eq!(world.find(base, both.clone()), world.meeting(base, &both), "beside {:?}: {base} {shown:?}", Asked(&both[0]));
                some += usize::from(!expected.is_empty() && expected.len() < world.of_type(base).count());
                asked += 1;
            }
        }
        assert!(some * 3 > asked, "{some} of {asked} found some and left out others");
    }
}
