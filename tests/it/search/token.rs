//! Token parameters: codes, identifiers, booleans, contacts (R4 search.html#token).

use serde_json::json;

use super::{check, load, organization, refuse, resource};
use crate::harness::on_both;

const ISSUES: &str = "http://hl7.org/fhir/issue-type";

on_both! {
    with (crate::search::UNHELD);

    fn a_code_is_found_alone_with_its_system_without_one_and_by_its_system(server) {
        let typed = |id: &str, coding: serde_json::Value| organization(id, json!({"type": [{"coding": [coding]}]}));
        load(server, &[
            typed("a", json!({"system": "http://a.example", "code": "x"})),
            typed("b", json!({"system": "http://b.example", "code": "x"})),
            typed("bare", json!({"code": "x"})),
            typed("other", json!({"system": "http://a.example", "code": "y"})),
            organization("two", json!({"type": [{"coding": [{"system": "http://b.example", "code": "z"}, {"system": "http://a.example", "code": "y"}]}]})),
            organization("text", json!({"type": [{"text": "x"}]})),
            organization("none", json!({"name": "None"})),
        ]);
        check(server, &[
            ("Organization?type=x", &["a", "b", "bare"]),
            ("Organization?type=http://a.example|x", &["a"]),
            ("Organization?type=http://a.example%7Cx", &["a"]),
            ("Organization?type=|x", &["bare"]),
            ("Organization?type=http://a.example|", &["a", "other", "two"]),
            ("Organization?type=http://a.example|z", &[]),
            ("Organization?type=x,y", &["a", "b", "bare", "other", "two"]),
            ("Organization?type=http://b.example|x,http://a.example|y", &["b", "other", "two"]),
            ("Organization?type=z&type=y", &["two"]),
            ("Organization?type=x&type=y", &[]),
            ("Organization?type=nothing", &[]),
            ("Organization?type=http://nowhere.example|x", &[]),
            ("Organization?type:not=x", &["other", "two", "text", "none"]),
            ("Organization?type:not=x,z", &["other", "text", "none"]),
            ("Organization?type:not=http://a.example|x", &["b", "bare", "other", "two", "text", "none"]),
            ("Organization?type:not=http://a.example|", &["b", "bare", "text", "none"]),
            ("Organization?type:not=x&type:not=z", &["other", "text", "none"]),
            ("Organization?type:missing=true", &["none"]),
            ("Organization?type:missing=false", &["a", "b", "bare", "other", "two", "text"]),
        ]);
        refuse(server, &["Organization?type=|", "Organization?type=a|b|c"]);
    }

    fn an_element_of_type_code_has_the_system_that_its_binding_implies(server) {
        load(server, &[
            resource("Practitioner", "f", json!({"gender": "female", "address": [{"use": "work"}]})),
            resource("Practitioner", "m", json!({"gender": "male"})),
            resource("Practitioner", "none", json!({})),
        ]);
        const GENDER: &str = "http://hl7.org/fhir/administrative-gender";
        for (search, ids) in [
            (format!("gender={GENDER}|female"), ["f"].as_slice()),
            (format!("gender={GENDER}|"), &["f", "m"]),
            (format!("gender:not={GENDER}|female"), &["m", "none"]),
            ("gender=|female".into(), &["f"]),
            ("gender=http://elsewhere.example|female".into(), &[]),
            ("gender:in=http://hl7.org/fhir/ValueSet/administrative-gender".into(), &["f", "m"]),
            ("address-use=http://hl7.org/fhir/address-use|work".into(), &["f"]),
        ] {
            check(server, &[(&format!("Practitioner?{search}"), ids)]);
        }
    }

    fn codes_do_not_tell_cases_apart_but_ids_do(server) {
        load(server, &[
            organization("Upper", json!({"type": [{"coding": [{"system": "http://a.example", "code": "Prov"}]}]})),
            organization("lower", json!({"type": [{"coding": [{"system": "http://a.example", "code": "prov"}]}]})),
        ]);
        check(server, &[
            ("Organization?type=PROV", &["Upper", "lower"]),
            ("Organization?type=http://a.example|prov", &["Upper", "lower"]),
            ("Organization?_id=Upper", &["Upper"]),
            ("Organization?_id=upper", &[]),
            ("Organization?_id=Upper,lower,nobody", &["Upper", "lower"]),
            ("Organization?_id=Upper&_id=lower", &[]),
            ("Organization?_id=Upper&_id=lower,Upper", &["Upper"]),
            ("Organization?_id=not%20an%20id!", &[]),
            ("Location?_id=lower", &[]),
        ]);
        refuse(server, &["Organization?_id:exact=lower", "Organization?_id:contains=low"]);
    }

    fn identifiers_are_found_by_value_by_system_and_by_type(server) {
        let mr = json!({"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "MR"}], "text": "Medical record"});
        load(server, &[
            organization("npi", json!({"identifier": [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}]})),
            organization("record", json!({"identifier": [{"type": mr, "system": "http://a.example", "value": "R-77"}]})),
            organization("bare", json!({"identifier": [{"value": "1234567893"}]})),
            organization("system", json!({"identifier": [{"system": "http://a.example"}]})),
            organization("kind", json!({"identifier": [{"type": {"text": "Medical record number"}}]})),
        ]);
        check(server, &[
            ("Organization?identifier=1234567893", &["npi", "bare"]),
            ("Organization?identifier=http://hl7.org/fhir/sid/us-npi|1234567893", &["npi"]),
            ("Organization?identifier=|1234567893", &["bare"]),
            ("Organization?identifier=http://a.example|", &["record", "system"]),
            ("Organization?identifier=123456789", &[]),
            ("Organization?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|R-77", &["record"]),
            ("Organization?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|MR|R-78", &[]),
            ("Organization?identifier:of-type=http://terminology.hl7.org/CodeSystem/v2-0203|XX|R-77", &[]),
            ("Organization?identifier:text=medical+rec", &["record", "kind"]),
            ("Organization?identifier:not=1234567893", &["record", "system", "kind"]),
        ]);
        refuse(server, &[
            "Organization?identifier:of-type=R-77", "Organization?identifier:of-type=MR|R-77", "Organization?identifier:of-type=|MR|R-77",
            "Organization?identifier:of-type=http://a.example|MR|",
        ]);
    }

    fn text_searches_the_words_beside_a_code(server) {
        load(server, &[
            organization("text", json!({"type": [{"text": "Healthcare Provider"}]})),
            organization("display", json!({"type": [{"coding": [{"system": "http://a.example", "code": "x", "display": "Health Insurer"}]}]})),
            organization("plain", json!({"type": [{"coding": [{"display": "Heálth Network"}]}]})),
            organization("code", json!({"type": [{"coding": [{"code": "health"}]}]})),
        ]);
        check(server, &[
            ("Organization?type:text=health", &["text", "display", "plain"]),
            ("Organization?type:text=HEALTHCARE", &["text"]),
            ("Organization?type:text=health+ins", &["display"]),
            ("Organization?type:text=health+net,health+ins", &["display", "plain"]),
            ("Organization?type:text=x", &[]),
        ]);
    }

    fn above_and_below_follow_the_code_system_and_count_the_code_itself(server) {
        let typed = |code: &str| organization(code, json!({"type": [{"coding": [{"system": ISSUES, "code": code}]}]}));
        load(server, &[typed("invalid"), typed("structure"), typed("required"), typed("security"), typed("login")]);
        check(server, &[
            ("Organization?type=http://hl7.org/fhir/issue-type|invalid", &["invalid"]),
            ("Organization?type:below=http://hl7.org/fhir/issue-type|invalid", &["invalid", "structure", "required"]),
            ("Organization?type:below=http://hl7.org/fhir/issue-type|structure", &["structure"]),
            ("Organization?type:above=http://hl7.org/fhir/issue-type|structure", &["invalid", "structure"]),
            ("Organization?type:above=http://hl7.org/fhir/issue-type|invalid", &["invalid"]),
            ("Organization?type:below=http://hl7.org/fhir/issue-type|invalid,http://hl7.org/fhir/issue-type|security",
                &["invalid", "structure", "required", "security", "login"]),
        ]);
        refuse(server, &["Organization?type:below=invalid", "Organization?type:above=http://nowhere.example|x"]);
    }

    fn in_and_not_in_ask_a_value_set(server) {
        const ORG: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS";
        let typed = |code: &str| organization(code, json!({"type": [{"coding": [{"system": ORG, "code": code}]}]}));
        load(server, &[
            typed("fac"), typed("payer"), typed("ntwk"), organization("none", json!({"name": "None"})),
            organization("foreign", json!({"type": [{"coding": [{"system": "http://a.example", "code": "fac"}]}]})),
        ]);
        check(server, &[
            ("Organization?type:in=http://hl7.org/fhir/us/davinci-pdex-plan-net/ValueSet/OrgTypeVS", &["fac", "payer"]),
            ("Organization?type:in=http://hl7.org/fhir/us/davinci-pdex-plan-net/ValueSet/NetworkTypeVS", &["ntwk"]),
            ("Organization?type:not-in=http://hl7.org/fhir/us/davinci-pdex-plan-net/ValueSet/OrgTypeVS", &["ntwk", "none", "foreign"]),
        ]);
        refuse(server, &["Organization?type:in=http://nowhere.example/ValueSet/x", "Organization?type:not-in=http://nowhere.example/ValueSet/x"]);
    }

    fn booleans_and_codes_are_tokens(server) {
        load(server, &[
            organization("on", json!({"active": true})),
            organization("off", json!({"active": false})),
            organization("none", json!({"name": "None"})),
            resource("Location", "l1", json!({"status": "active"})),
            resource("Location", "l2", json!({"status": "suspended"})),
        ]);
        check(server, &[
            ("Organization?active=true", &["on"]),
            ("Organization?active=false", &["off"]),
            ("Organization?active:not=true", &["off", "none"]),
            ("Organization?active:missing=true", &["none"]),
            ("Location?status=active", &["l1"]),
            ("Location?status=active,suspended", &["l1", "l2"]),
            ("Location?status:not=active", &["l2"]),
        ]);
    }

    fn contacts_are_found_without_regard_to_punctuation_and_case(server) {
        let person = |id: &str, telecom: serde_json::Value| resource("Practitioner", id, json!({"name": [{"family": "X"}], "telecom": [telecom]}));
        load(server, &[
            person("phone", json!({"system": "phone", "value": "(617) 555-0101"})),
            person("fax", json!({"system": "fax", "value": "617.555.0101"})),
            person("mail", json!({"system": "email", "value": "Help@Example.org"})),
            person("other", json!({"system": "other", "value": "617-555-0102"})),
            person("bare", json!({"value": "617 555 0103"})),
        ]);
        check(server, &[
            ("Practitioner?phone=617-555-0101", &["phone"]),
            ("Practitioner?phone=6175550101", &["phone"]),
            ("Practitioner?phone=(617)+555+0101", &["phone"]),
            ("Practitioner?telecom=6175550101", &["phone", "fax"]),
            ("Practitioner?telecom=617-555-0102", &["other"]),
            ("Practitioner?telecom=617-555-0103", &["bare"]),
            ("Practitioner?email=help@example.org", &["mail"]),
            ("Practitioner?telecom=HELP@example.org", &["mail"]),
            ("Practitioner?phone=help@example.org", &[]),
            ("Practitioner?email:missing=false", &["mail"]),
            ("Practitioner?phone:missing=true", &["fax", "mail", "other", "bare"]),
        ]);
    }

    fn tags_and_security_labels_are_tokens_of_every_type(server) {
        load(server, &[
            organization("tagged", json!({"meta": {"tag": [{"system": "http://a.example", "code": "t1"}]}, "name": "A"})),
            organization("labelled", json!({"meta": {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"}]}, "name": "B"})),
            resource("Location", "place", json!({"meta": {"tag": [{"system": "http://a.example", "code": "t1"}]}})),
        ]);
        check(server, &[
            ("Organization?_tag=http://a.example|t1", &["tagged"]),
            ("Organization?_tag=t1", &["tagged"]),
            ("Organization?_tag:not=t1", &["labelled"]),
            ("Location?_tag=t1", &["place"]),
            ("Organization?_security=http://terminology.hl7.org/CodeSystem/v3-Confidentiality|R", &["labelled"]),
            ("Organization?_security=N", &[]),
        ]);
    }

    fn a_composite_matches_both_parts_in_one_element(server) {
        let qualified = |id: &str, qualification: serde_json::Value| {
            resource("Practitioner", id, json!({"name": [{"family": "X"}], "qualification": qualification}))
        };
        let code = |code: &str| json!({"coding": [{"system": "http://a.example", "code": code}]});
        load(server, &[
            qualified("one", json!([{"code": code("md"), "period": {"start": "2010-01-01", "end": "2015-12-31"}}])),
            qualified("mixed", json!([{"code": code("md"), "period": {"start": "2001-01-01", "end": "2002-12-31"}},
                {"code": code("rn"), "period": {"start": "2010-01-01", "end": "2015-12-31"}}])),
            qualified("open", json!([{"code": code("md"), "period": {"start": "2012-01-01"}}])),
        ]);
        check(server, &[
            ("Practitioner?qualification-code=md", &["one", "mixed", "open"]),
            ("Practitioner?qual-code-period=md$ge2014", &["one", "open"]),
            ("Practitioner?qual-code-period=http://a.example|md$lt2005", &["mixed"]),
            ("Practitioner?qual-code-period=http://b.example|md$lt2005", &[]),
            ("Practitioner?qual-code-period=rn$ge2014,md$lt2005", &["mixed"]),
        ]);
        refuse(server, &[
            "Practitioner?qual-code-period=md", "Practitioner?qual-code-period=md$x", "Practitioner?qual-code-period=md$2010$2011",
            "Practitioner?qual-code-period=$2010", "Practitioner?qual-code-period:not=md$2010", "Practitioner?qual-code-period:missing=true",
        ]);
    }

    fn modifiers_that_tokens_do_not_have_are_refused(server) {
        refuse(server, &[
            "Organization?type:exact=a", "Organization?type:contains=a", "Organization?type:identifier=a", "Organization?type:Organization=a",
            "Organization?type:iterate=a", "Organization?type:missing=x", "Organization?type:not:in=x",
        ]);
    }
}
