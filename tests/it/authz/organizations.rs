//! What an administrator of an organization may change: it, its parts, and what belongs to it.

use serde_json::{Value, json};

use super::people::state;
use super::{
    assert_forbidden, bundle, call, entry, everything, organization, practitioner, replace, statuses, unnamed, with,
};
use crate::harness::tokens::Bearer;
use crate::harness::{Server, on_both};

const OWN: &str = "Organization/acme";
const OTHER: &str = "Organization/bolt";

fn administrator<'s>(server: &'s Server, scope: &str) -> Bearer<'s> {
    Bearer::with(server, scope, &json!({"fhirUser": "Practitioner/1", "organization": OWN}))
}

/// A resource of each type that belongs to an organization, and the path to where it says so.
fn belongings(organization: &str) -> Vec<(Value, &'static str)> {
    let owner = json!({"reference": organization});
    vec![
        (json!({"resourceType": "Organization", "name": "Part", "partOf": owner}), "/partOf/reference"),
        (
            json!({"resourceType": "PractitionerRole", "practitioner": {"reference": "Practitioner/1"}, "organization": owner}),
            "/organization/reference",
        ),
        (
            json!({"resourceType": "Location", "name": "Here", "managingOrganization": owner}),
            "/managingOrganization/reference",
        ),
        (json!({"resourceType": "HealthcareService", "providedBy": owner}), "/providedBy/reference"),
        (
            json!({"resourceType": "Endpoint", "status": "active", "managingOrganization": owner, "address": "https://acme.example/fhir",
                "connectionType": {"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "hl7-fhir-rest"},
                "payloadType": [{"text": "any"}]}),
            "/managingOrganization/reference",
        ),
        (
            json!({"resourceType": "OrganizationAffiliation", "organization": owner, "participatingOrganization": {"reference": "Organization/third"}}),
            "/organization/reference",
        ),
        (
            json!({"resourceType": "InsurancePlan", "name": "Plan", "ownedBy": owner, "administeredBy": {"reference": "Organization/third"}}),
            "/ownedBy/reference",
        ),
    ]
}

/// A resource that names the organization, but not as the one it belongs to.
fn related() -> Vec<Value> {
    let own = json!({"reference": OWN});
    let other = json!({"reference": OTHER});
    vec![
        json!({"resourceType": "OrganizationAffiliation", "organization": other, "participatingOrganization": own}),
        json!({"resourceType": "OrganizationAffiliation", "participatingOrganization": own}),
        json!({"resourceType": "OrganizationAffiliation", "organization": other, "network": [own]}),
        json!({"resourceType": "InsurancePlan", "name": "Plan", "ownedBy": other, "administeredBy": own}),
        json!({"resourceType": "InsurancePlan", "name": "Plan", "administeredBy": own}),
        json!({"resourceType": "Location", "name": "Here", "managingOrganization": {"display": OWN}}),
        json!({"resourceType": "Location", "name": "Here", "managingOrganization": {"reference": "https://elsewhere.example/fhir/Organization/acme"}}),
        json!({"resourceType": "Organization", "name": "Part"}),
    ]
}

fn kind(resource: &Value) -> &str {
    resource["resourceType"].as_str().expect("a type")
}

fn under(id: &str, resource: &Value) -> Value {
    with(resource.clone(), &json!({"id": id}))
}

fn three(server: &Server) {
    let operator = everything(server);
    for (id, name) in [("acme", "Acme"), ("bolt", "Bolt"), ("third", "Third")] {
        operator.store(&organization(id, name));
    }
    operator.store(&practitioner("1", "Meier"));
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn an_administrator_updates_the_organization_and_no_other(server) {
        three(server);
        let who = administrator(server, "user/*.cruds");
        assert_eq!(who.put(OWN, &organization("acme", "Acme 2")).status, 200);
        assert_eq!(who.patch(OWN, &replace("/name", "Acme 3")).status, 200);
        let before = state(server);
        for answer in [
            who.put(OTHER, &organization("bolt", "Taken")),
            who.patch(OTHER, &replace("/name", "Taken")),
            who.put("Organization?name=bolt", &organization("bolt", "Taken")),
            who.delete(OTHER),
            who.delete(OWN),
            who.delete("Organization?_id=acme"),
            who.post("Organization", &unnamed(organization("", "New"))),
            who.put("Organization/new", &organization("new", "New")),
            // To name a parent is not enough: what is there already is another's.
            who.put(OTHER, &with(organization("bolt", "Taken"), &json!({"partOf": {"reference": OWN}}))),
            who.patch(OTHER, &json!([{"op": "add", "path": "/partOf", "value": {"reference": OWN}}])),
        ] {
            assert_forbidden(&answer);
        }
        assert_eq!(state(server), before);
    }

    fn an_administrator_creates_updates_and_deletes_what_belongs_to_the_organization(server) {
        three(server);
        let who = administrator(server, "user/*.cruds");
        for (n, (resource, _)) in belongings(OWN).into_iter().enumerate() {
            let (kind, id) = (kind(&resource).to_owned(), format!("own{n}"));
            let path = format!("{kind}/{id}");
            let made = who.post(&kind, &resource);
            assert_eq!(made.status, 201, "{resource}: {made}");
            assert_eq!(who.put(&path, &under(&id, &resource)).status, 201, "{path}");
            let language = json!([{"op": "add", "path": "/language", "value": "en"}]);
            assert_eq!(who.patch(&path, &language).status, 200, "{path}");
            assert_eq!(who.put(&path, &under(&id, &resource)).status, 200, "{path}");
            assert_eq!(who.delete(&path).status, 204, "{path}");
            assert_eq!(
                who.delete(&format!("{kind}?_id={}", made.body["id"].as_str().expect("an id"))).status,
                204,
                "{path}"
            );
        }
        let own = [
            entry("POST", "Location", belongings(OWN)[2].0.clone()),
            entry("PUT", OWN, organization("acme", "Acme 2")),
        ];
        assert_eq!(statuses(&who.post("", &bundle("transaction", &own))), ["201", "200"]);
    }

    fn what_belongs_to_others_is_theirs(server) {
        three(server);
        let operator = everything(server);
        for (n, (resource, _)) in belongings(OTHER).into_iter().enumerate() {
            operator.store(&under(&format!("their{n}"), &resource));
        }
        for (n, resource) in related().into_iter().enumerate() {
            operator.store(&under(&format!("related{n}"), &resource));
        }
        let who = administrator(server, "user/*.cruds");
        let before = state(server);
        let theirs = belongings(OTHER)
            .into_iter()
            .map(|(resource, _)| resource)
            .enumerate()
            .map(|(n, it)| (format!("their{n}"), it));
        let others = related().into_iter().enumerate().map(|(n, it)| (format!("related{n}"), it));
        for (id, resource) in theirs.chain(others) {
            let kind = kind(&resource);
            let path = format!("{kind}/{id}");
            for answer in [
                who.post(kind, &resource),
                who.put(&format!("{kind}/fresh"), &under("fresh", &resource)),
                who.put(&path, &with(under(&id, &resource), &json!({"language": "en"}))),
                who.patch(&path, &json!([{"op": "add", "path": "/language", "value": "en"}])),
                who.delete(&path),
                who.delete(&format!("{kind}?_id={id}")),
                who.post("", &bundle("transaction", &[entry("POST", kind, resource.clone())])),
            ] {
                assert_eq!(answer.status, 403, "{path}: {answer}");
                assert_forbidden(&answer);
            }
            let batch =
                [entry("PUT", &path, with(under(&id, &resource), &json!({"language": "en"}))), call("DELETE", &path)];
            assert_eq!(statuses(&who.post("", &bundle("batch", &batch))), ["403", "403"], "{path}");
        }
        assert_eq!(state(server), before);
    }

    fn nothing_is_taken_over_nor_given_away(server) {
        three(server);
        let operator = everything(server);
        for (n, ((theirs, _), (own, _))) in belongings(OTHER).into_iter().zip(belongings(OWN)).enumerate() {
            operator.store(&under(&format!("their{n}"), &theirs));
            operator.store(&under(&format!("own{n}"), &own));
        }
        let who = administrator(server, "user/*.cruds");
        let before = state(server);
        for (n, ((theirs, place), (own, _))) in belongings(OTHER).into_iter().zip(belongings(OWN)).enumerate() {
            let kind = kind(&own);
            let (their_id, own_id) = (format!("their{n}"), format!("own{n}"));
            for answer in [
                who.put(&format!("{kind}/{their_id}"), &under(&their_id, &own)),
                who.patch(&format!("{kind}/{their_id}"), &replace(place, OWN)),
                who.put(&format!("{kind}?_id={their_id}"), &under(&their_id, &own)),
                who.put(&format!("{kind}/{own_id}"), &under(&own_id, &theirs)),
                who.patch(&format!("{kind}/{own_id}"), &replace(place, OTHER)),
                who.put(&format!("{kind}?_id={own_id}"), &under(&own_id, &theirs)),
                who.post(
                    "",
                    &bundle("transaction", &[entry("PUT", &format!("{kind}/{own_id}"), under(&own_id, &theirs))]),
                ),
            ] {
                assert_eq!(answer.status, 403, "{kind}: {answer}");
                assert_forbidden(&answer);
            }
        }
        assert_eq!(state(server), before);
    }

    fn an_administrator_changes_no_practitioners_and_nothing_beside_the_directory(server) {
        three(server);
        let who = administrator(server, "user/*.cruds");
        let before = state(server);
        assert_forbidden(&who.put("Practitioner/1", &practitioner("1", "Changed")));
        assert_forbidden(&who.post("Practitioner", &unnamed(practitioner("", "New"))));
        assert_forbidden(&who.delete("Practitioner/1"));
        for kind in super::people::OTHERS {
            assert_forbidden(&who.post(kind, &json!({"resourceType": kind})));
            assert_forbidden(&who.put(&format!("{kind}/1"), &json!({"resourceType": kind, "id": "1"})));
            assert_forbidden(&who.delete(&format!("{kind}/1")));
            assert_forbidden(&who.get(kind));
        }
        for kind in super::people::DIRECTORY {
            assert_eq!(who.get(kind).status, 200, "{kind}");
        }
        assert_eq!(state(server), before);
    }

    fn a_list_of_organizations_is_no_organization(server) {
        three(server);
        let location = belongings(OWN)[2].0.clone();
        for claim in [
            "Organization/third,acme",
            "Organization/third,Organization/acme",
            "Organization/third|acme",
            "Organization/third&_id=acme",
        ] {
            let who = Bearer::with(server, "user/*.cruds", &json!({"fhirUser": "Person/1", "organization": claim}));
            let answers = [who.post("Location", &location), who.put(OWN, &organization("acme", "Taken"))];
            assert_eq!(answers.map(|answer| answer.status), [403, 403], "{claim}");
        }
    }

    fn nobody_makes_an_organization_for_themselves(server) {
        let who = administrator(server, "user/*.cruds");
        assert_forbidden(&who.put(OWN, &organization("acme", "New")));
        three(server);
        assert_eq!(everything(server).delete(OWN).status, 204);
        assert_forbidden(&who.put(OWN, &organization("acme", "Back")));
        assert_eq!(everything(server).get(OWN).status, 410, "who was taken out does not come back alone");
    }

    fn an_administrator_without_the_scope_changes_nothing(server) {
        three(server);
        assert_forbidden(&administrator(server, "user/*.rs").put(OWN, &organization("acme", "New")));
        assert_forbidden(&administrator(server, "user/Location.cruds").put(OWN, &organization("acme", "New")));
        let location = belongings(OWN)[2].0.clone();
        assert_forbidden(&administrator(server, "user/*.ruds").post("Location", &location));
        assert_eq!(administrator(server, "user/Location.c").post("Location", &location).status, 201);
        let active = administrator(server, "user/Location.c?status=active");
        assert_forbidden(&active.post("Location", &location));
        assert_eq!(active.post("Location", &with(location, &json!({"status": "active"}))).status, 201);
        // A claim that names another server's organization, or none.
        for claim in
            ["https://elsewhere.example/fhir/Organization/acme", "acme", "Organization", "admin", "organization/acme"]
        {
            let who = Bearer::with(server, "user/*.cruds", &json!({"fhirUser": "Person/1", "organization": claim}));
            assert_forbidden(&who.put(OWN, &organization("acme", "Taken")));
            assert_forbidden(&who.put(OTHER, &organization("bolt", "Taken")));
        }
        let own = Bearer::with(
            server,
            "user/*.cruds",
            &json!({"fhirUser": "Person/1", "organization": format!("{}/{OWN}", server.base)}),
        );
        assert_eq!(own.put(OWN, &organization("acme", "Own")).status, 200);
    }
}
