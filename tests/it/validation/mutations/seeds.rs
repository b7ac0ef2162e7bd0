//! Examples enriched with valid elements that no example has, so that their rules can be broken as well.
//!
//! They claim no profile: a validator has to choose it by the type (a network stays one by its code).

use serde_json::{Value, json};

pub fn seeds(examples: &[(String, Value)]) -> Vec<(String, Value)> {
    let additions = [
        ("Practitioner/JoeSmith", practitioner()),
        ("PractitionerRole/HansSoloRole1", practitioner_role()),
        ("Organization/BurrClinic", organization()),
        ("Organization/AcmeofCTPremNet", network()),
        ("Location/HansSoloClinic", location()),
        ("HealthcareService/PharmChainCompService", healthcare_service()),
        ("OrganizationAffiliation/BurrClinicAffil", organization_affiliation()),
        ("Endpoint/AcmeOfCTPortalEndpoint", endpoint()),
        ("InsurancePlan/AcmeQHPGold", insurance_plan()),
    ];
    additions
        .into_iter()
        .map(|(name, addition)| {
            let (_, example) = examples.iter().find(|(found, _)| found == name).expect("the example");
            let mut resource = example.clone();
            resource["meta"] = meta();
            merge(&mut resource, addition);
            (format!("{name} (enriched)"), resource)
        })
        .collect()
}

/// Objects are joined, arrays are joined item by item, with the surplus items added; other values are replaced.
fn merge(into: &mut Value, addition: Value) {
    match (into, addition) {
        (Value::Object(into), Value::Object(addition)) => {
            for (name, value) in addition {
                match into.get_mut(&name) {
                    Some(present) if name == "extension" => {
                        present.as_array_mut().unwrap().extend(value.as_array().unwrap().iter().cloned());
                    }
                    Some(present) => merge(present, value),
                    None => {
                        into.insert(name, value);
                    }
                }
            }
        }
        (Value::Array(into), Value::Array(addition)) => {
            for (index, value) in addition.into_iter().enumerate() {
                match into.get_mut(index) {
                    Some(present) => merge(present, value),
                    None => into.push(value),
                }
            }
        }
        (into, addition) => *into = addition,
    }
}

fn plan_net(name: &str) -> String {
    format!("http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/{name}")
}

fn plan_net_code(system: &str, code: &str) -> Value {
    json!({ "coding": [{
        "system": format!("http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/{system}"), "code": code
    }] })
}

fn meta() -> Value {
    json!({
        "versionId": "3", "lastUpdated": "2020-07-07T13:26:22Z", "source": "http://example.org/source",
        "tag": [{ "system": "http://example.org/tags", "code": "enriched", "display": "Enriched", "userSelected": true }]
    })
}

fn period() -> Value {
    json!({ "start": "2020-01-01", "end": "2030-12-31" })
}

fn identifier() -> Value {
    json!({
        "use": "official", "type": { "text": "Local number" }, "system": "http://example.org/numbers", "value": "A-1",
        "period": period(), "assigner": { "reference": "Organization/Acme", "display": "Acme" }
    })
}

fn address() -> Value {
    json!({
        "use": "work", "type": "both", "text": "1 Main Street, Hartford", "line": ["1 Main Street", "Floor 2"],
        "city": "Hartford", "district": "Hartford County", "state": "CT", "postalCode": "06101", "country": "US",
        "period": period()
    })
}

fn telecom() -> Value {
    json!({
        "extension": [
            { "url": plan_net("contactpoint-availabletime"), "extension": [
                { "url": "daysOfWeek", "valueCode": "mon" }, { "url": "allDay", "valueBoolean": false },
                { "url": "availableStartTime", "valueTime": "08:00:00" },
                { "url": "availableEndTime", "valueTime": "17:00:00" }
            ] },
            { "url": plan_net("via-intermediary"), "valueReference": { "reference": "Organization/Acme" } }
        ],
        "system": "phone", "value": "(111)-222-3333", "use": "work", "rank": 1, "period": period()
    })
}

fn name() -> Value {
    json!({
        "use": "usual", "text": "Dr. Jo Doe, MD", "family": "Doe", "given": ["Jo"], "prefix": ["Dr."],
        "suffix": ["MD"], "period": period()
    })
}

fn photo() -> Value {
    json!({
        "contentType": "image/png", "language": "en-US", "data": "iVBORw0KGgo=", "url": "http://example.org/photo.png",
        "size": 8, "hash": "2jmj7l5rSw0yVb/vlWAYkK/YBwk=", "title": "Photo", "creation": "2020-01-01"
    })
}

fn qualification() -> Value {
    json!({ "url": plan_net("qualification"), "extension": [
        { "url": "identifier", "valueIdentifier": identifier() },
        { "url": "code", "valueCodeableConcept": { "coding": [
            { "system": "http://nucc.org/provider-taxonomy", "code": "207R00000X" }
        ] } },
        { "url": "issuer", "valueReference": { "reference": "Organization/Acme" } },
        { "url": "status", "valueCode": "active" },
        { "url": "period", "valuePeriod": period() },
        { "url": "whereValid", "valueCodeableConcept": { "coding": [
            { "system": "https://www.usps.com/", "code": "CT" }
        ] } },
        { "url": "whereValid", "valueReference": { "reference": "Location/StateOfCTLocation" } }
    ] })
}

fn new_patients() -> Value {
    json!({ "url": plan_net("newpatients"), "extension": [
        { "url": "acceptingPatients", "valueCodeableConcept": plan_net_code("AcceptingPatientsCS", "nopt") },
        { "url": "fromNetwork", "valueReference": { "reference": "Organization/AcmeofCTStdNet" } },
        { "url": "characteristics", "valueString": "children only" }
    ] })
}

fn available_time() -> Value {
    json!([
        { "daysOfWeek": ["mon", "tue"], "availableStartTime": "08:00:00", "availableEndTime": "17:00:00" },
        { "daysOfWeek": ["sat"], "allDay": true }
    ])
}

fn not_available() -> Value {
    json!([{ "description": "Holidays", "during": period() }])
}

fn practitioner() -> Value {
    json!({
        "identifier": [{ "use": "official", "type": { "text": "NPI" }, "period": period() }, identifier()],
        "name": [{ "use": "usual", "prefix": ["Dr."], "suffix": ["MD"], "period": period() }],
        "telecom": [telecom()], "address": [address()], "gender": "female", "birthDate": "1970-05-06",
        "photo": [photo()],
        "qualification": [{
            "identifier": [identifier()], "period": period(), "issuer": { "reference": "Organization/Acme" }
        }]
    })
}

fn practitioner_role() -> Value {
    json!({
        "extension": [new_patients(), qualification()],
        "identifier": [identifier()], "period": period(), "organization": { "reference": "Organization/Hospital" },
        "telecom": [telecom()], "availableTime": available_time(), "notAvailable": not_available(),
        "availabilityExceptions": "Closed on Friday afternoons",
        "endpoint": [{ "reference": "Endpoint/AcmeOfCTPortalEndpoint" }]
    })
}

fn organization() -> Value {
    json!({
        "extension": [
            { "url": plan_net("org-description"), "valueString": "A clinic" },
            { "url": "http://hl7.org/fhir/StructureDefinition/organization-period", "valuePeriod": period() },
            qualification()
        ],
        "identifier": [
            { "use": "official" },
            { "system": "urn:oid:2.16.840.1.113883.4.7", "value": "12D3456789" },
            { "system": "urn:oid:2.16.840.1.113883.6.300", "value": "12345" },
            identifier()
        ],
        "alias": ["Burr"], "telecom": [telecom()],
        "address": [address(), { "extension": [{
            "url": "http://hl7.org/fhir/StructureDefinition/geolocation",
            "extension": [
                { "url": "latitude", "valueDecimal": 41.76 }, { "url": "longitude", "valueDecimal": -72.68 }
            ]
        }], "city": "Hartford", "state": "CT" }],
        "partOf": { "reference": "Organization/Hospital" },
        "contact": [{
            "purpose": { "coding": [
                { "system": "http://terminology.hl7.org/CodeSystem/contactentity-type", "code": "ADMIN" }
            ] },
            "name": name(), "telecom": [telecom()], "address": address()
        }],
        "endpoint": [{ "reference": "Endpoint/AcmeOfCTPortalEndpoint" }]
    })
}

fn network() -> Value {
    json!({
        "identifier": [
            { "system": "http://hl7.org/fhir/sid/us-npi", "value": "1407071236" },
            { "system": "urn:oid:2.16.840.1.113883.4.7", "value": "12D3456789" },
            { "system": "urn:oid:2.16.840.1.113883.6.300", "value": "12345" },
            identifier()
        ],
        "alias": ["Premier"], "address": [address()],
        "contact": [{ "name": name(), "telecom": [telecom()], "address": address() }],
        "endpoint": [{ "reference": "Endpoint/AcmeOfCTPortalEndpoint" }]
    })
}

fn location() -> Value {
    json!({
        "identifier": [identifier()],
        "operationalStatus": { "system": "http://terminology.hl7.org/CodeSystem/v2-0116", "code": "O" },
        "alias": ["The clinic"], "description": "Second door on the left", "telecom": [telecom()],
        "address": address(),
        "physicalType": { "coding": [
            { "system": "http://terminology.hl7.org/CodeSystem/location-physical-type", "code": "bu" }
        ] },
        "position": { "altitude": 12.5 }, "partOf": { "reference": "Location/HospLoc1" },
        "availabilityExceptions": "Closed on public holidays",
        "endpoint": [{ "reference": "Endpoint/AcmeOfCTPortalEndpoint" }]
    })
}

fn healthcare_service() -> Value {
    json!({
        "extension": [new_patients()],
        "identifier": [identifier()], "type": [{ "text": "Pharmacy" }], "comment": "Ring twice",
        "extraDetails": "Bring your *card*", "photo": photo(), "telecom": [telecom()],
        "coverageArea": [{ "reference": "Location/StateOfCTLocation" }], "serviceProvisionCode": [{ "text": "Free" }],
        "eligibility": [{ "code": { "text": "Members" }, "comment": "Members only" }],
        "program": [{ "text": "Outreach" }], "characteristic": [{ "text": "Wheelchair access" }],
        "communication": [{ "coding": [{ "system": "urn:ietf:bcp:47", "code": "en-US" }] }],
        "referralMethod": [{ "text": "Telephone" }], "appointmentRequired": true,
        "availableTime": available_time(), "notAvailable": not_available(),
        "availabilityExceptions": "Closed on public holidays",
        "endpoint": [{ "reference": "Endpoint/AcmeOfCTPortalEndpoint" }]
    })
}

fn organization_affiliation() -> Value {
    json!({
        "extension": [qualification()], "identifier": [identifier()], "period": period(),
        "specialty": [{ "coding": [{ "system": "http://nucc.org/provider-taxonomy", "code": "207R00000X" }] }],
        "telecom": [telecom()], "endpoint": [{ "reference": "Endpoint/AcmeOfCTPortalEndpoint" }]
    })
}

fn endpoint() -> Value {
    json!({
        "extension": [{ "url": plan_net("endpoint-usecase"), "extension": [
            { "url": "type", "valueCodeableConcept": { "coding": [
                { "system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT" }
            ] } },
            { "url": "standard", "valueUri": "http://hl7.org/fhir/R4" }
        ] }],
        "identifier": [identifier()], "managingOrganization": { "reference": "Organization/Acme" },
        "contact": [telecom()], "period": period(), "payloadMimeType": ["application/fhir+json"],
        "header": ["Accept: application/fhir+json"]
    })
}

fn insurance_plan() -> Value {
    let text = |text: &str| json!({ "text": text });
    let quantity = json!({
        "value": 20.5, "comparator": "<", "unit": "percent", "system": "http://unitsofmeasure.org", "code": "%"
    });
    json!({
        "identifier": [identifier()], "alias": ["Gold"], "period": period(),
        "contact": [{ "purpose": text("Sales"), "name": name(), "telecom": [telecom()], "address": address() }],
        "coverage": [{
            "type": text("Medical"), "network": [{ "reference": "Organization/AcmeofCTStdNet" }],
            "benefit": [{
                "type": text("Visits"), "requirement": "Referral",
                "limit": [{ "value": quantity, "code": text("Visits per year") }]
            }]
        }],
        "plan": [{
            "identifier": [identifier()], "coverageArea": [{ "reference": "Location/StateOfCTLocation" }],
            "network": [{ "reference": "Organization/AcmeofCTStdNet" }],
            "generalCost": [{
                "type": text("Family"), "groupSize": 4, "cost": { "value": 100.5, "currency": "USD" },
                "comment": "Each month"
            }],
            "specificCost": [{
                "category": text("Outpatient"),
                "benefit": [{
                    "type": text("Visit"),
                    "cost": [{
                        "type": text("Copay"), "qualifiers": [text("After the deductible")], "value": quantity,
                        "applicability": { "coding": [{
                            "system": "http://terminology.hl7.org/CodeSystem/applicability", "code": "in-network"
                        }] }
                    }]
                }]
            }]
        }]
    })
}
