//! Reverse chains: `_has` (R4 search.html#has).

use serde_json::{Value, json};

use super::{check, delete, load, organization, refuse, resource};
use crate::harness::{Server, on_both};

fn to(resource_type: &str, id: &str) -> Value {
    json!({"reference": format!("{resource_type}/{id}")})
}

fn role(id: &str, practitioner: &str, location: &str, specialty: &str) -> Value {
    resource(
        "PractitionerRole",
        id,
        json!({
            "practitioner": to("Practitioner", practitioner), "location": [to("Location", location)],
            "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": specialty}]}],
        }),
    )
}

fn directory(server: &Server) {
    let base = server.base.clone();
    load(
        server,
        &[
            resource("Practitioner", "ann", json!({"name": [{"family": "Ann"}]})),
            resource("Practitioner", "bob", json!({"name": [{"family": "Bob"}]})),
            resource("Practitioner", "cy", json!({"name": [{"family": "Cy"}]})),
            resource(
                "Location",
                "boston",
                json!({"address": {"city": "Boston"}, "managingOrganization": to("Organization", "group")}),
            ),
            resource("Location", "salem", json!({"address": {"city": "Salem"}})),
            organization("group", json!({"name": "Group"})),
            organization("other", json!({"name": "Other"})),
            role("ann-heart", "ann", "boston", "heart"),
            role("ann-skin", "ann", "salem", "skin"),
            resource(
                "PractitionerRole",
                "bob-heart",
                json!({
                    "practitioner": {"reference": format!("{base}/Practitioner/bob")}, "location": [to("Location", "salem")],
                    "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "heart"}]}],
                }),
            ),
            resource(
                "OrganizationAffiliation",
                "aff",
                json!({"participatingOrganization": to("Organization", "group"), "location": [to("Location", "boston")]}),
            ),
        ],
    );
}

on_both! {
    fn has_asks_what_points_here(server) {
        directory(server);
        check(server, &[
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=heart", &["ann", "bob"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=http://nucc.org/provider-taxonomy|skin", &["ann"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=skin,heart", &["ann", "bob"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=teeth", &[]),
            ("Practitioner?_has:PractitionerRole:practitioner:location=Location/boston", &["ann"]),
            ("Practitioner?_has:PractitionerRole:practitioner:location=salem&family=ann", &["ann"]),
            ("Practitioner?_has:PractitionerRole:practitioner:_id=bob-heart", &["bob"]),
            ("Practitioner?_has:PractitionerRole:practitioner:_lastUpdated=gt2000", &["ann", "bob"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty:not=heart", &["ann"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty:missing=false", &["ann", "bob"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty:missing=true", &[]),
            ("Organization?_has:OrganizationAffiliation:participating-organization:location=boston", &["group"]),
        ]);
    }

    fn several_has_stand_alone_and_may_be_met_by_different_referrers(server) {
        directory(server);
        check(server, &[
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=heart&_has:PractitionerRole:practitioner:location=salem", &["ann", "bob"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=heart&_has:PractitionerRole:practitioner:specialty=skin", &["ann"]),
        ]);
    }

    fn has_may_hold_a_chain_and_another_has_and_be_held_by_a_chain(server) {
        directory(server);
        check(server, &[
            ("Practitioner?_has:PractitionerRole:practitioner:location.address-city=boston", &["ann"]),
            ("Practitioner?_has:PractitionerRole:practitioner:location:Location.address-city=salem", &["ann", "bob"]),
            ("Practitioner?_has:PractitionerRole:practitioner:location.organization.name=group", &["ann"]),
            ("Organization?_has:Location:organization:_has:PractitionerRole:location:specialty=heart", &["group"]),
            ("Organization?_has:Location:organization:_has:PractitionerRole:location:specialty=skin", &[]),
            ("Organization?_has:Location:organization:_has:PractitionerRole:location:practitioner.family=ann", &["group"]),
            ("PractitionerRole?location._has:OrganizationAffiliation:location:participating-organization=group", &["ann-heart"]),
            ("PractitionerRole?practitioner._has:PractitionerRole:practitioner:specialty=skin", &["ann-heart", "ann-skin"]),
        ]);
    }

    fn has_neither_finds_deleted_resources_nor_asks_them(server) {
        directory(server);
        delete(server, &["PractitionerRole/ann-heart", "Practitioner/bob"]);
        check(server, &[
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=heart", &[]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=skin", &["ann"]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=skin,heart&_lastUpdated=gt2000", &["ann"]),
            ("Organization?_has:Location:organization:_has:PractitionerRole:location:specialty=heart", &[]),
            ("Practitioner?_has:PractitionerRole:practitioner:specialty=heart&_summary=count", &[]),
        ]);
        assert_eq!(server.get("Practitioner?_has:PractitionerRole:practitioner:specialty=heart&_summary=count").body["total"], 0);
        delete(server, &["Location/boston"]);
        check(server, &[("Organization?_has:Location:organization:address-city=boston", &[])]);
    }

    fn has_finds_resources_of_the_searched_type_only(server) {
        load(server, &[
            organization("x", json!({"name": "X"})), resource("Location", "x", json!({"name": "X"})),
            resource("Basic", "b1", json!({"code": {"text": "note"}, "subject": to("Organization", "x")})),
            resource("Basic", "b2", json!({"code": {"text": "remark"}, "subject": to("Location", "x")})),
        ]);
        check(server, &[
            ("Organization?_has:Basic:subject:code:text=note", &["x"]),
            ("Organization?_has:Basic:subject:code:text=remark", &[]),
            ("Location?_has:Basic:subject:code:text=remark", &["x"]),
            ("Location?_has:Basic:subject:code:text=note", &[]),
        ]);
    }

    fn a_has_that_cannot_be_is_refused(server) {
        refuse(server, &[
            "Practitioner?_has=x", "Practitioner?_has:PractitionerRole=x", "Practitioner?_has:PractitionerRole:practitioner=x",
            "Practitioner?_has:Nonsense:practitioner:specialty=x", "Practitioner?_has:PractitionerRole:nonsense:specialty=x",
            "Practitioner?_has:PractitionerRole:location:specialty=x", "Practitioner?_has:PractitionerRole:practitioner:nonsense=x",
            "Practitioner?_has:PractitionerRole:practitioner:_nonsense=x",
            "Practitioner?_has:PractitionerRole:specialty:role=x", "Practitioner?_has:PractitionerRole:practitioner:date=x",
        ]);
    }
}
