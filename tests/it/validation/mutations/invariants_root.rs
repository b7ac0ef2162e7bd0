//! Kind f, second part: the invariants of whole resources, those of contained resources included.

use super::bench::{Bench, Expected};
use super::cardinality::remove;
use super::model::Subject;
use serde_json::{Value, json};

pub fn derive(subject: &Subject, bench: &mut Bench) {
    let root = subject.root();
    let has = |key: &str| root.rules.constraints.iter().any(|found| found == key);
    // Without these properties the rules of the second list are broken.
    let absences: [(&[&str], &[&str]); 6] = [
        (&["name", "identifier"], &["org-1"]),
        (&["name", "identifier"], &["ipn-1"]),
        (&["telecom", "endpoint"], &["pd-1"]),
        (
            &["practitioner", "organization", "healthcareService", "location"],
            &["us-core-13", "practitioner-or-organization-or-healthcareservice-or-location"],
        ),
        (&["organization", "participatingOrganization"], &["organization-or-participatingOrganization"]),
        (&["network"], &["network-or-plan-Network"]),
    ];
    for (properties, rules) in absences {
        if !rules.iter().all(|rule| has(rule)) {
            continue;
        }
        let resource = || {
            subject.with("", |resource| {
                for property in properties {
                    remove(resource, property);
                }
                // The plans count as well as the insurance plan itself.
                for plan in
                    resource["plan"].as_array_mut().into_iter().flatten().filter(|_| rules[0].starts_with("network"))
                {
                    remove(plan, "network");
                }
                if resource["plan"].is_null() {
                    remove(resource, "plan");
                }
            })
        };
        let expected = rules.iter().map(|rule| Expected::invariant(rule, &root.at)).collect();
        bench.add(subject, ('f', rules[0], &root.rules.key), &root.at, resource, expected);
    }
    if has("plan-type-is-distinct") {
        distinct_plans(subject, bench);
    }
    contained(subject, bench);
}

fn distinct_plans(subject: &Subject, bench: &mut Bench) {
    let rule = "plan-type-is-distinct";
    let root = subject.root();
    let kind = &subject.resource["plan"][0]["type"];
    if kind.is_null() {
        return;
    }
    let code = &kind["coding"][0]["code"];
    let plans = [
        ("two plans of one type", json!({ "type": kind })),
        // Only the codes are compared, the system does not count.
        (
            "two plans with one code",
            json!({ "type": { "coding": [{ "system": "http://example.org/x", "code": code }] } }),
        ),
    ];
    for (fault, plan) in plans {
        let resource = || subject.with("/plan", |found| found.as_array_mut().unwrap().push(plan));
        let fault = format!("{rule}: {fault}");
        let expected = vec![Expected::invariant(rule, &root.at)];
        bench.add(subject, ('f', &fault, &root.rules.key), &root.at, resource, expected);
    }
}

/// dom-2 to dom-5. The contained organization meets plannet-Organization, so that nothing else is wrong.
fn contained(subject: &Subject, bench: &mut Bench) {
    let root = subject.root();
    let Some((pointer, property)) = place_for_organization(&root.kind) else {
        return;
    };
    if subject.resource.pointer(pointer).is_none() {
        return;
    }
    let inner = || {
        json!({
            "resourceType": "Organization", "id": "inner", "active": true,
            "type": [{ "coding": [{
                "system": "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS", "code": "bus"
            }] }],
            "name": "Inner", "address": [{ "city": "Hartford", "state": "CT" }]
        })
    };
    let with = |change: &dyn Fn(&mut Value)| {
        let mut organization = inner();
        change(&mut organization);
        let mut resource = subject.resource.clone();
        resource.pointer_mut(pointer).expect("the element")[property] = json!({ "reference": "#inner" });
        resource["contained"] = json!([organization]);
        resource
    };
    let mut put = |rule: &str, fault: &str, resource: Value, expected: Expected| {
        let fault = format!("{rule}: {fault}");
        bench.add(subject, ('f', &fault, &root.rules.key), &root.at, || resource, vec![expected]);
    };

    let mut nested = inner();
    nested["id"] = json!("innermost");
    let resource = with(&|organization| {
        organization["contained"] = json!([nested]);
        organization["partOf"] = json!({ "reference": "#innermost" });
    });
    // Validators differ in the place: the resource, its contained one, or the one in that.
    let anywhere = Expected { codes: vec!["invariant"], at: Vec::new(), rule: Some("dom-2".to_owned()) };
    put("dom-2", "contained in a contained resource", resource, anywhere);

    let mut resource = subject.resource.clone();
    resource["contained"] = json!([inner()]);
    put("dom-3", "contained but not referenced", resource, Expected::invariant("dom-3", &root.at));

    let resource = with(&|organization| organization["meta"] = json!({ "versionId": "1" }));
    put("dom-4", "contained with a version", resource, Expected::invariant("dom-4", &root.at));
    let resource = with(&|organization| organization["meta"] = json!({ "lastUpdated": "2020-07-07T13:26:22Z" }));
    put("dom-4", "contained with lastUpdated", resource, Expected::invariant("dom-4", &root.at));

    let label = json!({ "system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N" });
    let resource = with(&|organization| organization["meta"] = json!({ "security": [label] }));
    put("dom-5", "contained with a security label", resource, Expected::invariant("dom-5", &root.at));
}

/// An element that may refer to an organization: the object that holds it, and its name.
fn place_for_organization(kind: &str) -> Option<(&'static str, &'static str)> {
    Some(match kind {
        "PractitionerRole" | "OrganizationAffiliation" => ("", "organization"),
        "Organization" => ("", "partOf"),
        "Location" | "Endpoint" => ("", "managingOrganization"),
        "HealthcareService" => ("", "providedBy"),
        "InsurancePlan" => ("", "ownedBy"),
        "Practitioner" => ("/qualification/0", "issuer"),
        _ => return None,
    })
}
