//! Chained parameters (R4 search.html#chaining).

use serde_json::{Value, json};

use super::{check, delete, load, organization, refuse, resource};
use crate::harness::{Server, on_both};

fn to(resource_type: &str, id: &str) -> Value {
    json!({"reference": format!("{resource_type}/{id}")})
}

/// Three tiers of organizations, a place for some, roles and services at the places.
fn directory(server: &Server) {
    let base = server.base.clone();
    load(
        server,
        &[
            organization(
                "payer",
                json!({"name": "Grand Payer", "type": [{"coding": [{"system": "http://a.example", "code": "pay", "display": "Payer"}]}]}),
            ),
            organization(
                "group",
                json!({"name": "Médical Group", "partOf": to("Organization", "payer"), "active": true, "address": [{"city": "Boston", "state": "MA"}]}),
            ),
            organization(
                "clinic",
                json!({"name": "Small Clinic", "partOf": {"reference": format!("{base}/Organization/group")}}),
            ),
            resource(
                "Location",
                "l-group",
                json!({"managingOrganization": to("Organization", "group"), "address": {"city": "Salem", "postalCode": "01970"}}),
            ),
            resource(
                "Location",
                "l-clinic",
                json!({"managingOrganization": {"reference": format!("{base}/Organization/clinic")}, "address": {"city": "Boston"}}),
            ),
            resource("Location", "l-none", json!({"address": {"city": "Salem"}})),
            resource("Practitioner", "jones", json!({"name": [{"family": "Smith-Jones"}]})),
            resource(
                "PractitionerRole",
                "r-group",
                json!({"practitioner": to("Practitioner", "jones"), "organization": to("Organization", "group"), "location": [to("Location", "l-group"), to("Location", "l-clinic")]}),
            ),
            resource(
                "PractitionerRole",
                "r-clinic",
                json!({"organization": to("Organization", "clinic"), "location": [to("Location", "l-clinic")], "period": {"start": "2020-01-01"}}),
            ),
            resource("PractitionerRole", "r-none", json!({"active": true})),
        ],
    );
}

on_both! {
    fn a_chain_asks_what_a_reference_points_to(server) {
        directory(server);
        check(server, &[
            ("PractitionerRole?organization.name=medical", &["r-group"]),
            ("PractitionerRole?organization:Organization.name=medical", &["r-group"]),
            ("PractitionerRole?organization.name=medical,small", &["r-group", "r-clinic"]),
            ("PractitionerRole?organization.address-city=boston", &["r-group"]),
            ("PractitionerRole?organization.address=ma", &["r-group"]),
            ("PractitionerRole?practitioner.name=jones", &["r-group"]),
            ("PractitionerRole?practitioner.family=smith", &["r-group"]),
            ("PractitionerRole?practitioner:Practitioner.family=nobody", &[]),
            ("Location?organization.partof=payer", &["l-group"]),
            ("Location?organization.partof=Organization/group", &["l-clinic"]),
            ("PractitionerRole?organization._id=group", &["r-group"]),
            ("PractitionerRole?organization._id=group,clinic", &["r-group", "r-clinic"]),
            ("PractitionerRole?organization._lastUpdated=ge2020", &["r-group", "r-clinic"]),
            ("PractitionerRole?organization._lastUpdated=lt2020", &[]),
            ("PractitionerRole?organization.active=true", &["r-group"]),
        ]);
    }

    fn a_chain_takes_several_steps(server) {
        directory(server);
        check(server, &[
            ("PractitionerRole?organization.partof.name=grand", &["r-group"]),
            ("PractitionerRole?organization.partof.partof.name=grand", &["r-clinic"]),
            ("PractitionerRole?organization:Organization.partof:Organization.name=medical", &["r-clinic"]),
            ("PractitionerRole?location.organization.name=small", &["r-group", "r-clinic"]),
            ("PractitionerRole?location:Location.organization:Organization.partof:Organization.type=http://a.example|pay", &["r-group"]),
            ("PractitionerRole?location.organization.partof.partof.type=pay", &["r-group", "r-clinic"]),
        ]);
    }

    fn the_last_step_takes_modifiers(server) {
        directory(server);
        check(server, &[
            ("PractitionerRole?organization.name:exact=M%C3%A9dical+Group", &["r-group"]),
            ("PractitionerRole?organization.name:exact=medical+group", &[]),
            ("PractitionerRole?organization.name:contains=clin", &["r-clinic"]),
            ("PractitionerRole?organization.active:missing=true", &["r-clinic"]),
            ("PractitionerRole?organization.active:missing=false", &["r-group"]),
            ("PractitionerRole?organization.active:not=true", &["r-clinic"]),
            ("PractitionerRole?organization.partof:missing=false", &["r-group", "r-clinic"]),
            ("Organization?partof.type:text=pay", &["group"]),
            ("PractitionerRole?organization.partof:below=payer", &["r-group", "r-clinic"]),
            ("PractitionerRole?location.address-postalcode:missing=true", &["r-group", "r-clinic"]),
            ("PractitionerRole?location.address-postalcode:missing=false", &["r-group"]),
        ]);
        refuse(server, &["PractitionerRole?organization.name:not=a", "PractitionerRole?organization.name:nonsense=a", "PractitionerRole?organization.type:exact=a"]);
    }

    fn each_chain_stands_alone_and_may_be_met_by_another_target(server) {
        directory(server);
        check(server, &[
            ("PractitionerRole?location.address-city=salem&location.address-city=boston", &["r-group"]),
            ("PractitionerRole?location.address-city=salem&location.organization.name=small", &["r-group"]),
            ("PractitionerRole?location.address-city=boston&period=ge2021", &["r-clinic"]),
            ("PractitionerRole?location.address-city=boston&location.address-postalcode=01970", &["r-group"]),
        ]);
    }

    fn a_chain_never_leads_through_a_deleted_resource(server) {
        directory(server);
        load(server, &[
            resource("OrganizationAffiliation", "aff", json!({"organization": to("Organization", "clinic"), "code": [{"coding": [{"code": "member"}]}]})),
            resource("PractitionerRole", "r-never", json!({"organization": to("Organization", "never")})),
            resource("OrganizationAffiliation", "aff-never", json!({"organization": to("Organization", "never"), "code": [{"coding": [{"code": "member"}]}]})),
        ]);
        let through: &[(&str, &[&str])] = &[
            ("PractitionerRole?organization.name=small", &["r-clinic"]),
            ("PractitionerRole?organization._id=clinic", &["r-clinic"]),
            ("PractitionerRole?organization._id:missing=false", &["r-group", "r-clinic"]),
            ("PractitionerRole?organization._lastUpdated=gt2000", &["r-group", "r-clinic"]),
            ("PractitionerRole?organization.active:missing=true", &["r-clinic"]),
            ("PractitionerRole?organization.active:not=true", &["r-clinic"]),
            ("PractitionerRole?organization.partof=group", &["r-clinic"]),
            ("PractitionerRole?organization._has:OrganizationAffiliation:primary-organization:role=member", &["r-clinic"]),
            ("PractitionerRole?organization._has:OrganizationAffiliation:primary-organization:role=member&active:missing=true", &["r-clinic"]),
            ("PractitionerRole?location.organization._has:OrganizationAffiliation:primary-organization:role=member", &["r-group", "r-clinic"]),
            ("PractitionerRole?location.organization.name=small", &["r-group", "r-clinic"]),
        ];
        check(server, through);
        delete(server, &["Organization/clinic"]);
        let without: Vec<(&str, &[&str])> = through.iter().map(|(query, _)| {
            let rest: &[&str] = if query.contains("organization._lastUpdated") || query.contains("_id:missing") { &["r-group"] } else { &[] };
            (*query, rest)
        }).collect();
        check(server, &without);
        // What is referred to by its name only is still found so.
        check(server, &[("PractitionerRole?organization=clinic", &["r-clinic"])]);
        load(server, &[organization("clinic", json!({"name": "Back again", "partOf": to("Organization", "group")}))]);
        check(server, &[("PractitionerRole?organization.name=back", &["r-clinic"]), ("PractitionerRole?organization.name=small", &[])]);
    }

    fn a_typed_chain_follows_only_references_to_that_type(server) {
        let about = |id: &str, target: &str| resource("Basic", id, json!({"code": {"text": "note"}, "subject": {"reference": target}}));
        load(server, &[
            organization("x", json!({"name": "Alpha"})), resource("Location", "x", json!({"name": "Alpha"})),
            about("on-organization", "Organization/x"), about("on-location", "Location/x"),
            resource("PractitionerRole", "role", json!({"organization": to("Organization", "x"), "location": [to("Location", "x")]})),
        ]);
        check(server, &[
            ("Basic?subject:Organization.name=alpha", &["on-organization"]),
            ("Basic?subject:Location.name=alpha", &["on-location"]),
            ("Basic?subject:Organization._lastUpdated=gt2000", &["on-organization"]),
            ("Basic?subject:Location._lastUpdated=gt2000&code:text=note", &["on-location"]),
            ("Basic?subject:Organization._lastUpdated=gt2000&_lastUpdated=gt2000&_id=on-location,on-organization", &["on-organization"]),
            ("Basic?subject:Organization._id=x", &["on-organization"]),
            ("Basic?subject:Organization._tag:missing=true", &["on-organization"]),
            ("Basic?subject:Organization._id:missing=false&_id=on-location,on-organization", &["on-organization"]),
            ("Basic?subject:Location._has:PractitionerRole:location:_id=role", &["on-location"]),
            ("Basic?subject:Organization._has:PractitionerRole:organization:_id=role", &["on-organization"]),
        ]);
        // Which of the types is meant has to be said.
        refuse(server, &["Basic?subject.name=alpha"]);
    }

    fn a_chain_that_leads_nowhere_is_refused(server) {
        refuse(server, &[
            "PractitionerRole?organization.nonsense=x", "PractitionerRole?nonsense.name=x", "PractitionerRole?specialty.name=x",
            "PractitionerRole?organization:Practitioner.name=x", "PractitionerRole?organization:Nonsense.name=x", "PractitionerRole?organization.=x",
            "PractitionerRole?.name=x", "PractitionerRole?organization..name=x", "PractitionerRole?organization.partof.partof.partof.partof.partof.partof.partof.name=x",
            "PractitionerRole?organization:identifier.name=x", "PractitionerRole?location.near=x",
        ]);
    }
}
