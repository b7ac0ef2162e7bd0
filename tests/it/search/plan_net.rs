//! Every search parameter, chain and include that Plan-Net 1.2.0 names, each against a directory in which exactly one
//! resource of each type fits (capability statement and search parameters of the guide).

use serde_json::{Value, json};

use super::{check, check_included, load, resource};
use crate::harness::{Server, on_both};

const PN: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition";

fn to(resource_type: &str, id: &str) -> Value {
    json!({"reference": format!("{resource_type}/{id}")})
}

fn coded(system: &str, code: &str, text: &str) -> Value {
    json!({"coding": [{"system": format!("http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/{system}"), "code": code}], "text": text})
}

/// Of each type one resource `full` that has everything, and one `bare` that has next to nothing.
fn directory(server: &Server) {
    let address = json!({"line": ["1 Elm Street"], "city": "Hartford", "state": "CT", "postalCode": "06101"});
    load(
        server,
        &[
            resource(
                "Organization",
                "parent",
                json!({"name": "Parent Holding", "type": [coded("OrgTypeCS", "bus", "Business")], "address": [{"city": "Albany"}]}),
            ),
            resource(
                "Organization",
                "network",
                json!({
                    "name": "Acme Network", "type": [coded("OrgTypeCS", "ntwk", "Network")], "partOf": to("Organization", "parent"), "address": [{"city": "Utica"}],
                    "extension": [{"url": format!("{PN}/location-reference"), "valueReference": to("Location", "area")}],
                }),
            ),
            resource(
                "Organization",
                "full",
                json!({
                    "name": "Full Hospital", "alias": ["Whole House"], "type": [coded("OrgTypeCS", "fac", "Facility")], "address": [address], "partOf": to("Organization", "parent"),
                    "endpoint": [to("Endpoint", "full")], "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
                    "extension": [
                        {"url": "http://hl7.org/fhir/StructureDefinition/organization-period", "valuePeriod": {"start": "2019-01-01", "end": "2025-12-31"}},
                        {"url": format!("{PN}/location-reference"), "valueReference": to("Location", "full")},
                    ],
                }),
            ),
            resource("Organization", "bare", json!({"name": "Bare"})),
            resource("Location", "area", json!({"name": "The Area"})),
            resource(
                "Location",
                "full",
                json!({
                    "name": "Full Place", "address": address, "managingOrganization": to("Organization", "full"), "partOf": to("Location", "area"), "endpoint": [to("Endpoint", "full")],
                    "type": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "HOSP"}], "text": "Hospital ward"}],
                    "position": {"latitude": 41.76, "longitude": -72.67}, "identifier": [{"value": "L-1"}],
                }),
            ),
            resource("Location", "bare", json!({"name": "Bare"})),
            resource(
                "Endpoint",
                "full",
                json!({
                    "status": "active", "connectionType": {"code": "hl7-fhir-rest"}, "payloadType": [coded("EndpointPayloadTypeCS", "NA", "n/a")], "address": "http://e.example",
                    "managingOrganization": to("Organization", "full"), "identifier": [{"value": "E-1"}],
                }),
            ),
            resource(
                "Endpoint",
                "bare",
                json!({"status": "active", "connectionType": {"code": "direct-project"}, "payloadType": [{"text": "x"}], "address": "http://e.example"}),
            ),
            resource(
                "HealthcareService",
                "full",
                json!({
                    "name": "Heart Clinic", "category": [coded("HealthcareServiceCategoryCS", "outpat", "Outpatient")], "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207RC0000X"}], "text": "Cardiology"}],
                    "type": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/service-type", "code": "165"}], "text": "Cardiac care"}], "providedBy": to("Organization", "full"),
                    "location": [to("Location", "full")], "coverageArea": [to("Location", "area")], "endpoint": [to("Endpoint", "full")], "identifier": [{"value": "H-1"}],
                    "extension": [{"url": format!("{PN}/delivery-method"), "extension": [
                        {"url": "type", "valueCodeableConcept": coded("DeliveryMethodCS", "virtual", "Virtual")},
                        {"url": "virtualModalities", "valueCodeableConcept": coded("VirtualModalitiesCS", "phone", "Phone")},
                    ]}],
                }),
            ),
            resource("HealthcareService", "bare", json!({"name": "Bare"})),
            resource(
                "InsurancePlan",
                "full",
                json!({
                    "name": "Gold Plan", "alias": ["Shiny"], "type": [coded("InsuranceProductTypeCS", "qhp", "Qualified")], "administeredBy": to("Organization", "full"), "ownedBy": to("Organization", "full"),
                    "coverageArea": [to("Location", "area")], "network": [to("Organization", "network")], "identifier": [{"system": "http://a.example", "value": "I-1"}],
                    "plan": [{"type": coded("InsurancePlanTypeCS", "gold", "Gold")}],
                }),
            ),
            resource("InsurancePlan", "bare", json!({"name": "Bare"})),
            resource(
                "Practitioner",
                "full",
                json!({
                    "name": [{"family": "Nightingale", "given": ["Florence"]}], "identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}],
                    "extension": [{"url": format!("{PN}/practitioner-period"), "valuePeriod": {"start": "2019-01-01", "end": "2025-12-31"}}],
                }),
            ),
            resource("Practitioner", "bare", json!({"name": [{"text": "Bare"}]})),
            resource(
                "PractitionerRole",
                "full",
                json!({
                    "practitioner": to("Practitioner", "full"), "organization": to("Organization", "full"), "location": [to("Location", "full")], "healthcareService": [to("HealthcareService", "full")],
                    "endpoint": [to("Endpoint", "full")], "code": [coded("ProviderRoleCS", "ph", "Physician")], "period": {"start": "2019-01-01", "end": "2025-12-31"},
                    "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207RC0000X"}], "text": "Cardiology"}], "identifier": [{"value": "R-1"}],
                    "extension": [{"url": format!("{PN}/network-reference"), "valueReference": to("Organization", "network")}],
                }),
            ),
            resource("PractitionerRole", "bare", json!({"active": true})),
            resource(
                "OrganizationAffiliation",
                "full",
                json!({
                    "organization": to("Organization", "full"), "participatingOrganization": to("Organization", "full"), "network": [to("Organization", "network")], "location": [to("Location", "full")],
                    "healthcareService": [to("HealthcareService", "full")], "endpoint": [to("Endpoint", "full")], "code": [coded("OrganizationAffiliationRoleCS", "hospital", "Hospital")],
                    "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": "207RC0000X"}], "text": "Cardiology"}], "period": {"start": "2019-01-01", "end": "2025-12-31"},
                    "identifier": [{"value": "A-1"}],
                }),
            ),
            resource("OrganizationAffiliation", "bare", json!({"active": true})),
        ],
    );
}

/// The parameters of the tables, with a value that only `full` has.
const PARAMETERS: &[(&str, &[&str])] = &[
    (
        "Practitioner",
        &[
            "family=night",
            "family:exact=Nightingale",
            "given=flo",
            "given:exact=Florence",
            "name=florence",
            "name:contains=gale",
            "name:exact=Florence",
            "period=ge2019",
            "identifier=1234567893",
            "identifier=http://hl7.org/fhir/sid/us-npi|",
        ],
    ),
    (
        "PractitionerRole",
        &[
            "endpoint=Endpoint/full",
            "location=Location/full",
            "network=Organization/network",
            "organization=Organization/full",
            "period=ge2021-10-25",
            "date=ge2021-10-25",
            "date=le2021-10-25",
            "practitioner=Practitioner/full",
            "role=ph",
            "role:text=physician",
            "service=HealthcareService/full",
            "specialty=http://nucc.org/provider-taxonomy|207RC0000X",
            "specialty:text=cardio",
            "identifier=R-1",
        ],
    ),
    (
        "Organization",
        &[
            "address=hartford",
            "address:exact=Hartford",
            "address:contains=elm",
            "coverage-area=Location/full",
            "endpoint=Endpoint/full",
            "name=full",
            "name=whole",
            "name:exact=Whole House",
            "name:contains=hosp",
            "period=eb2026",
            "type=fac",
            "type:text=facility",
            "identifier=1234567893",
            "address-city=hart",
            "address-state=ct",
            "address-postalcode=06101",
        ],
    ),
    (
        "Location",
        &[
            "address=1 elm",
            "address-city=hartford",
            "address-city:exact=Hartford",
            "address-city:contains=ford",
            "address-postalcode=061",
            "address-postalcode:exact=06101",
            "address-state=ct",
            "address-state:exact=CT",
            "endpoint=full",
            "organization=full",
            "partof=area",
            "type=HOSP",
            "type:text=hospital",
            "identifier=L-1",
            "near=41.76|-72.67|1|km",
        ],
    ),
    (
        "HealthcareService",
        &[
            "coverage-area=area",
            "delivery-method=virtual",
            "delivery-method=http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/DeliveryMethodCS|virtual",
            "delivery-method:text=virt",
            "endpoint=full",
            "location=full",
            "name=heart",
            "name:exact=Heart Clinic",
            "name:contains=clinic",
            "organization=full",
            "service-category=outpat",
            "service-category:text=out",
            "service-type=165",
            "service-type:text=cardiac",
            "specialty=207RC0000X",
            "specialty:text=cardio",
            "identifier=H-1",
        ],
    ),
    (
        "OrganizationAffiliation",
        &[
            "endpoint=full",
            "location=full",
            "network=network",
            "participating-organization=full",
            "period=2019,ge2020",
            "date=ge2020",
            "primary-organization=full",
            "role=hospital",
            "role:text=hosp",
            "service=full",
            "specialty=207RC0000X",
            "specialty:text=cardio",
            "identifier=A-1",
        ],
    ),
    ("Endpoint", &["organization=full", "identifier=E-1", "connection-type=hl7-fhir-rest", "payload-type=NA"]),
    (
        "InsurancePlan",
        &[
            "administered-by=full",
            "coverage-area=area",
            "identifier=I-1",
            "identifier=http://a.example|I-1",
            "name=gold",
            "name=shiny",
            "name:exact=Shiny",
            "name:contains=plan",
            "network=network",
            "owned-by=full",
            "plan-type=gold",
            "plan-type:text=gold",
            "type=qhp",
            "type:text=qual",
        ],
    ),
];

/// The `chain` column of the tables: reference parameters and what may follow, with a value that only `full` meets.
#[expect(clippy::type_complexity, reason = "a table")]
const CHAINS: &[(&str, &[(&str, &str, &[&str])])] = &[
    (
        "PractitionerRole",
        &[
            ("endpoint", "Endpoint", &["organization=full"]),
            (
                "location",
                "Location",
                &[
                    "address=1 elm",
                    "address-postalcode=06101",
                    "address-city=hartford",
                    "address-state=ct",
                    "organization=full",
                    "type=HOSP",
                ],
            ),
            ("network", "Organization", &["name=acme", "address=utica", "partof=parent", "type=ntwk"]),
            ("organization", "Organization", &["name=full", "address=hartford", "partof=parent", "type=fac"]),
            ("practitioner", "Practitioner", &["name=night"]),
            ("service", "HealthcareService", &["service-category=outpat", "organization=full", "location=full"]),
        ],
    ),
    ("Organization", &[("endpoint", "Endpoint", &["organization=full"])]),
    (
        "Location",
        &[
            ("endpoint", "Endpoint", &["organization=full"]),
            ("organization", "Organization", &["name=full", "address=hartford", "partof=parent", "type=fac"]),
            ("partof", "Location", &["name=the area"]),
        ],
    ),
    (
        "HealthcareService",
        &[
            ("endpoint", "Endpoint", &["organization=full"]),
            (
                "location",
                "Location",
                &[
                    "address=1 elm",
                    "address-postalcode=06101",
                    "address-city=hartford",
                    "address-state=ct",
                    "organization=full",
                    "type=HOSP",
                ],
            ),
            ("organization", "Organization", &["name=full", "address=hartford", "partof=parent", "type=fac"]),
        ],
    ),
    (
        "OrganizationAffiliation",
        &[
            ("endpoint", "Endpoint", &["organization=full"]),
            (
                "location",
                "Location",
                &[
                    "address=1 elm",
                    "address-postalcode=06101",
                    "address-city=hartford",
                    "address-state=ct",
                    "organization=full",
                    "type=HOSP",
                ],
            ),
            ("network", "Organization", &["name=acme", "partof=parent"]),
            (
                "participating-organization",
                "Organization",
                &["type=fac", "address=hartford", "name=full", "partof=parent"],
            ),
            ("primary-organization", "Organization", &["type=fac", "address=hartford", "name=full", "partof=parent"]),
            ("service", "HealthcareService", &["service-category=outpat", "organization=full", "location=full"]),
        ],
    ),
    ("Endpoint", &[("organization", "Organization", &["name=full", "address=hartford", "partof=parent", "type=fac"])]),
    (
        "InsurancePlan",
        &[
            ("administered-by", "Organization", &["name=full", "partof=parent"]),
            ("owned-by", "Organization", &["name=full", "partof=parent"]),
        ],
    ),
];

fn check_full(server: &Server, queries: &[String]) {
    let rows: Vec<(&str, &[&str])> = queries.iter().map(|query| (query.as_str(), ["full"].as_slice())).collect();
    check(server, &rows);
}

on_both! {
    fn every_parameter_finds_what_has_its_value_and_nothing_else(server) {
        directory(server);
        let queries: Vec<String> = PARAMETERS.iter().flat_map(|(resource_type, all)| all.iter().map(move |one| format!("{resource_type}?{one}"))).collect();
        check_full(server, &queries);
    }

    fn every_two_parameters_work_together(server) {
        directory(server);
        let mut queries = Vec::new();
        for (resource_type, all) in PARAMETERS {
            for (n, one) in all.iter().enumerate() {
                for other in &all[n + 1..] {
                    queries.push(format!("{resource_type}?{one}&{other}"));
                }
            }
            queries.push(format!("{resource_type}?{}", all.join("&")));
        }
        check_full(server, &queries);
    }

    fn every_chain_works_typed_and_untyped(server) {
        directory(server);
        let mut queries = Vec::new();
        for (resource_type, references) in CHAINS {
            for (reference, target, all) in *references {
                for one in *all {
                    queries.push(format!("{resource_type}?{reference}.{one}"));
                    queries.push(format!("{resource_type}?{reference}:{target}.{one}"));
                }
            }
        }
        check_full(server, &queries);
        check(server, &[
            ("Organization?partof.name=parent", &["full", "network"]), ("Organization?partof.address=albany", &["full", "network"]),
            ("Organization?partof.type=bus", &["full", "network"]), ("Organization?coverage-area.name=the", &["network"]),
        ]);
    }

    fn every_reference_parameter_works_in_reverse(server) {
        directory(server);
        let mut queries = Vec::new();
        for (resource_type, references) in CHAINS {
            let all = PARAMETERS.iter().find(|(name, _)| name == resource_type).map_or(&[][..], |(_, all)| *all);
            for (reference, target, _) in *references {
                for one in all.iter().filter(|one| !one.contains("near")) {
                    if !matches!(*reference, "network" | "partof") {
                        queries.push(format!("{target}?_has:{resource_type}:{reference}:{one}"));
                    }
                }
            }
        }
        check_full(server, &queries);
        check(server, &[
            // The reverse chains of the published test kit.
            ("Practitioner?_has:PractitionerRole:practitioner:network=Organization/network", &["full"]),
            ("Organization?_has:OrganizationAffiliation:participating-organization:network=network", &["full"]),
            ("Organization?_has:InsurancePlan:owned-by:coverage-area=area", &["full"]),
            ("Location?_has:InsurancePlan:coverage-area:owned-by=full", &["area"]),
            ("Organization?_has:PractitionerRole:network:location=full", &["network"]),
            ("HealthcareService?specialty=207RC0000X&_has:OrganizationAffiliation:service:network=network", &["full"]),
            ("Organization?type=ntwk", &["network"]),
        ]);
    }

    fn every_declared_include_works(server) {
        directory(server);
        let mut rows: Vec<(String, Vec<&str>)> = Vec::new();
        for (resource_type, includes) in [
            ("PractitionerRole", vec![("practitioner", "Practitioner/full"), ("organization", "Organization/full"), ("location", "Location/full"),
                ("service", "HealthcareService/full"), ("network", "Organization/network"), ("endpoint", "Endpoint/full")]),
            ("Organization", vec![("partof", "Organization/parent"), ("endpoint", "Endpoint/full"), ("coverage-area", "Location/full")]),
            ("Location", vec![("endpoint", "Endpoint/full"), ("organization", "Organization/full"), ("partof", "Location/area")]),
            ("HealthcareService", vec![("location", "Location/full"), ("coverage-area", "Location/area"), ("organization", "Organization/full"), ("endpoint", "Endpoint/full")]),
            ("OrganizationAffiliation", vec![("primary-organization", "Organization/full"), ("participating-organization", "Organization/full"), ("location", "Location/full"),
                ("service", "HealthcareService/full"), ("endpoint", "Endpoint/full"), ("network", "Organization/network")]),
            ("Endpoint", vec![("organization", "Organization/full")]),
            ("InsurancePlan", vec![("administered-by", "Organization/full"), ("owned-by", "Organization/full"), ("coverage-area", "Location/area")]),
        ] {
            rows.extend(includes.into_iter().map(|(code, target)| (format!("{resource_type}?_id=full&_include={resource_type}:{code}"), vec![target])));
        }
        for (target, revincludes) in [
            ("Practitioner/full", vec!["PractitionerRole:practitioner"]),
            ("Organization/full", vec!["Endpoint:organization", "HealthcareService:organization", "InsurancePlan:administered-by", "InsurancePlan:owned-by",
                "OrganizationAffiliation:primary-organization", "PractitionerRole:organization", "OrganizationAffiliation:participating-organization"]),
            ("Organization/network", vec!["PractitionerRole:network", "OrganizationAffiliation:network", "InsurancePlan:network"]),
            ("Location/full", vec!["HealthcareService:location", "OrganizationAffiliation:location", "PractitionerRole:location", "Organization:coverage-area"]),
            ("HealthcareService/full", vec!["PractitionerRole:service", "OrganizationAffiliation:service"]),
            ("Endpoint/full", vec!["Organization:endpoint", "Location:endpoint", "PractitionerRole:endpoint"]),
        ] {
            let (resource_type, id) = target.split_once('/').expect("Type/id");
            rows.extend(revincludes.into_iter().map(|code| {
                let source = match code.split_once(':').expect("Type:code").0 {
                    "PractitionerRole" => "PractitionerRole/full",
                    "OrganizationAffiliation" => "OrganizationAffiliation/full",
                    "HealthcareService" => "HealthcareService/full",
                    "InsurancePlan" => "InsurancePlan/full",
                    "Organization" => "Organization/full",
                    "Location" => "Location/full",
                    _ => "Endpoint/full",
                };
                (format!("{resource_type}?_id={id}&_revinclude={code}"), vec![source])
            }));
        }
        let rows: Vec<(&str, &[&str])> = rows.iter().map(|(query, expected)| (query.as_str(), expected.as_slice())).collect();
        check_included(server, &rows);
        check_included(server, &[
            ("Location?_id=area&_revinclude=InsurancePlan:coverage-area", &["InsurancePlan/full"]),
            ("PractitionerRole?specialty=207RC0000X&location=full&_include=PractitionerRole:practitioner", &["Practitioner/full"]),
        ]);
    }

    fn what_the_capability_statement_declares_is_what_works(server) {
        directory(server);
        let statement = server.get("metadata").body;
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        for (resource_type, all) in PARAMETERS {
            let declared = resources.iter().find(|one| one["type"] == *resource_type).expect("its type");
            let names: Vec<&str> = declared["searchParam"].as_array().expect("searchParam").iter().filter_map(|one| one["name"].as_str()).collect();
            for one in all.iter().chain(&["_id=x", "_lastUpdated=2020"]) {
                let code = one.split(['=', ':']).next().expect("a code");
                assert!(names.contains(&code), "{resource_type}.{code} is not declared");
            }
            // And the other way round: whatever is declared is known.
            for name in names.iter().filter(|name| !name.starts_with("_has")) {
                let answer = server.get(&format!("{resource_type}?{name}:missing=false"));
                let is_plain = answer.status == 200 || matches!(*name, "near" | "qual-code-period");
                assert!(is_plain, "{resource_type}.{name}: {answer}");
            }
            for include in declared["searchInclude"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert_eq!(server.get(&format!("{resource_type}?_include={include}")).status, 200, "{include}");
            }
            for include in declared["searchRevInclude"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                assert_eq!(server.get(&format!("{resource_type}?_revinclude={include}")).status, 200, "{include}");
            }
        }
    }

    fn an_absent_period_is_not_found_by_a_date(server) {
        directory(server);
        check(server, &[
            ("PractitionerRole?date=ge2021-10-25", &["full"]), ("PractitionerRole?date=ne2021", &["full"]), ("PractitionerRole?date:missing=true", &["bare"]),
            ("PractitionerRole?date=ge2026", &[]),
        ]);
    }
}
