use serde_json::json;

use super::*;

const PLAN_NET: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net";
const NUCC: &str = "http://nucc.org/provider-taxonomy";
const V3_ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";

fn built_in() -> &'static Terminology {
    Terminology::embedded()
}

fn codes(url: &str) -> Vec<&'static str> {
    built_in().value_set(url).expect(url).iter().map(|(_, code)| code.as_str()).collect()
}

fn plan_net(name: &str) -> String {
    format!("{PLAN_NET}/ValueSet/{name}")
}

fn has(url: &str, system: &str, code: &str) -> bool {
    built_in().value_set(url).expect(url).contains(&(system.to_owned(), code.to_owned()))
}

/// Plumbing for rules that no bundled set exercises.
fn small(sets: &str) -> Terminology {
    let system = r#"{"resource":{"resourceType":"CodeSystem","url":"s","content":"complete",
        "property":[{"code":"notSelectable"}],"concept":[
            {"code":"a","property":[{"code":"notSelectable","valueBoolean":true}],"concept":[{"code":"b"}]},
            {"code":"c","property":[{"code":"child","valueCode":"b"},{"code":"child","valueCode":"a"}]}]}},
        {"resource":{"resourceType":"CodeSystem","url":"part","content":"fragment","concept":[{"code":"x"}]}},
        {"resource":{"resourceType":"CodeSystem","url":"groups","content":"complete",
            "hierarchyMeaning":"grouped-by","concept":[{"code":"g","concept":[{"code":"h"}]}]}}"#;
    Terminology::load(&[&format!(r#"{{"entry":[{system},{sets}]}}"#)])
}

fn set(compose: &str) -> String {
    format!(r#"{{"resource":{{"resourceType":"ValueSet","url":"v","compose":{compose}}}}}"#)
}

fn expanded(compose: &str) -> Option<String> {
    let small = small(&set(compose));
    Some(small.value_set("v")?.iter().map(|(_, code)| code.as_str()).collect::<Vec<_>>().join(" "))
}

#[test]
fn every_file_is_read_and_every_system_complete() {
    for file in FILES {
        serde_json::from_str::<File>(file).expect("a bundled file");
    }
    let count: usize = FILES.iter().map(|file| file.matches("{\"resource\":{").count()).sum();
    assert_eq!(built_in().systems.len() + built_in().sets.len(), count, "no url twice");
    assert!(built_in().systems.values().all(|system| system.complete));
    for system in built_in().systems.values() {
        let codes: std::collections::HashSet<&str> =
            system.concepts().iter().map(|concept| concept.code.as_str()).collect();
        assert_eq!(codes.len(), system.concepts().len(), "no code twice");
    }
}

#[test]
fn every_plan_net_set_expands_to_its_count() {
    let counts = [
        ("AcceptingPatientsVS", 4),
        ("AccessibilityVS", 7),
        ("DeliveryMethodVS", 2),
        ("EndpointConnectionTypeVS", 17),
        ("EndpointPayloadTypeVS", 1),
        ("EndpointUsecaseVS", 9),
        ("HealthcareServiceCategoryVS", 14),
        ("HealthcareServiceTypeVS", 102),
        ("IndividualAndGroupSpecialtiesVS", 671),
        ("IndividualSpecialtyAndDegreeLicenseCertificateVS", 733),
        ("InsurancePlanTypeVS", 8),
        ("InsuranceProductTypeVS", 22),
        ("LanguageProficiencyVS", 6),
        ("MinEndpointConnectionTypeVS", 5),
        ("NetworkTypeVS", 1),
        ("NonIndividualSpecialtiesVS", 182),
        ("NonIndividualSpecialtyAndDegreeLicenseCertificateVS", 243),
        ("OrgTypeVS", 5),
        ("OrganizationAffiliationRoleVS", 24),
        ("PractitionerRoleVS", 47),
        ("QualificationStatusVS", 6),
        ("SpecialtiesVS", 855),
        ("SpecialtyAndDegreeLicenseCertificateVS", 916),
        ("VirtualModalitiesVS", 6),
    ];
    for (name, count) in counts {
        assert_eq!(codes(&plan_net(name)).len(), count, "{name}");
    }
    let ours = built_in().sets.keys().filter(|url| url.starts_with(PLAN_NET)).count();
    assert_eq!(ours, counts.len());
}

#[test]
fn only_grammars_cannot_be_expanded() {
    let mut missing: Vec<_> = built_in().sets.keys().filter(|url| built_in().value_set(url).is_none()).collect();
    missing.sort();
    assert_eq!(missing, ["http://hl7.org/fhir/ValueSet/all-languages", "http://hl7.org/fhir/ValueSet/mimetypes"]);
    assert!(built_in().sets.keys().all(|url| built_in().code_set(url).is_some()), "these two are grammars");
}

#[test]
fn specialties_are_nucc_codes() {
    let individual = plan_net("IndividualAndGroupSpecialtiesVS");
    assert!(has(&individual, NUCC, "207Q00000X"));
    assert!(has(&plan_net("SpecialtiesVS"), NUCC, "207Q00000X"));
    assert_eq!(built_in().display(NUCC, "207Q00000X"), Some("Family Medicine Physician"));
    assert_eq!(built_in().descendants(NUCC, "207Q00000X"), None, "NUCC itself is not loaded");
}

#[test]
fn excludes_are_excluded() {
    let category = plan_net("HealthcareServiceCategoryVS");
    assert!(!codes(&category).contains(&"other"));
    assert!(codes(&category).contains(&"pharm"));
    assert!(!codes(&plan_net("OrgTypeVS")).contains(&"ntwk"));
    assert_eq!(codes(&plan_net("NetworkTypeVS")), ["ntwk"]);
    assert!(!has(&plan_net("OrganizationAffiliationRoleVS"), "http://hl7.org/fhir/organization-role", "member"));
}

#[test]
fn urls_may_carry_a_version_and_unknown_ones_are_none() {
    assert_eq!(codes("http://hl7.org/fhir/ValueSet/location-mode|4.0.1"), ["instance", "kind"]);
    assert_eq!(built_in().value_set("http://example.org/ValueSet/none"), None);
    assert_eq!(built_in().value_set(""), None);
    assert_eq!(built_in().display("http://example.org/none", "a"), None);
}

#[test]
fn states_are_those_of_the_postal_service() {
    let states = "http://hl7.org/fhir/us/core/ValueSet/us-core-usps-state";
    assert_eq!(codes(states).len(), 62);
    assert!(has(states, "https://www.usps.com/", "CT"));
    assert_eq!(built_in().display("https://www.usps.com/", "DC"), Some("District of Columbia"));
}

#[test]
fn is_a_follows_the_hierarchy() {
    let types = "http://terminology.hl7.org/ValueSet/v3-ServiceDeliveryLocationRoleType";
    assert!(has(types, V3_ROLE, "HOSP"));
    assert!(!has(types, V3_ROLE, "_ServiceDeliveryLocationRoleType"), "excluded");
    assert!(!has(types, V3_ROLE, "FTH"));
}

#[test]
fn subsumption_goes_both_ways_and_over_several_parents() {
    let below = built_in().descendants(V3_ROLE, "HOSP").expect("loaded");
    assert_eq!(below.first().map(String::as_str), Some("HOSP"));
    assert!(below.iter().any(|code| code == "PSYCHF"));
    let above = built_in().ancestors(V3_ROLE, "PSYCHF").expect("loaded");
    assert_eq!(above.first().map(String::as_str), Some("PSYCHF"));
    assert!(above.iter().any(|code| code == "_ServiceDeliveryLocationRoleType"));
    for parent in ["STPCHLD", "DAUC"] {
        let known = built_in().descendants(V3_ROLE, parent).expect("loaded");
        let child = if parent == "DAUC" { "DAUADOPT" } else { "STPDAU" };
        assert!(known.iter().any(|code| code == child), "{parent} subsumes {child} by its child property");
    }
    assert_eq!(built_in().descendants(V3_ROLE, "no-such"), Some(vec!["no-such".to_owned()]));
    assert_eq!(built_in().ancestors(V3_ROLE, "no-such"), Some(vec!["no-such".to_owned()]));
    assert_eq!(built_in().ancestors("http://example.org/none", "a"), None);
}

#[test]
fn filters_are_answered_from_what_is_stated() {
    let by = |filter: &str| expanded(&format!(r#"{{"include":[{{"system":"s","filter":[{filter}]}}]}}"#));
    assert_eq!(by(r#"{"property":"concept","op":"is-a","value":"a"}"#).as_deref(), Some("a b"));
    assert_eq!(by(r#"{"property":"concept","op":"is-a","value":"unknown"}"#), None, "nobody knows what is below it");
    assert_eq!(by(r#"{"property":"code","op":"=","value":"c"}"#).as_deref(), Some("c"));
    assert_eq!(by(r#"{"property":"notSelectable","op":"=","value":"true"}"#).as_deref(), Some("a"));
    assert_eq!(by(r#"{"property":"notSelectable","op":"exists","value":"false"}"#).as_deref(), Some("b c"));
    assert_eq!(by(r#"{"property":"status","op":"=","value":"active"}"#), None, "not stated in the files");
    assert_eq!(by(r#"{"property":"code","op":"regex","value":"[bc]"}"#).as_deref(), Some("b c"));
    assert_eq!(by(r#"{"property":"code","op":"generalizes","value":"a"}"#), None, "not an operator that is known here");
    let both = r#"{"property":"concept","op":"is-a","value":"a"},
        {"property":"notSelectable","op":"exists","value":"false"}"#;
    assert_eq!(by(both).as_deref(), Some("b"), "every filter must pass");
}

#[test]
fn what_cannot_be_expanded_in_full_is_not_offered() {
    assert_eq!(
        expanded(r#"{"include":[{"system":"s"},{"system":"s","concept":[{"code":"a"}]}]}"#).as_deref(),
        Some("a b c")
    );
    assert_eq!(expanded(r#"{"include":[{"system":"s"},{"system":"unknown"}]}"#), None);
    assert_eq!(expanded(r#"{"include":[{"system":"part"}]}"#), None);
    assert_eq!(expanded(r#"{"include":[{"system":"part","concept":[{"code":"x"}]}]}"#).as_deref(), Some("x"));
    assert_eq!(expanded(r#"{"include":[{"system":"s"}],"exclude":[{"system":"unknown"}]}"#), None);
    assert_eq!(expanded(r#"{"include":[{"valueSet":["v"]}]}"#), None, "includes itself");
    assert_eq!(expanded(r#"{"include":[{"valueSet":["w"]}]}"#), None);
}

#[test]
fn one_include_means_what_its_parts_share() {
    let listed = r#"{"resource":{"resourceType":"ValueSet","url":"w","compose":{"include":[
        {"system":"s","concept":[{"code":"b"},{"code":"c"}]}]}}}"#;
    let small = small(&format!("{},{listed}", set(r#"{"include":[{"system":"s","valueSet":["w|1"]}]}"#)));
    let codes: Vec<_> = small.value_set("v").expect("v").iter().map(|(_, code)| code.as_str()).collect();
    assert_eq!(codes, ["b", "c"]);
}

/// What is built in, and these.
#[test]
fn each_included_set_is_expanded_once() {
    let rung = |number: usize, include: Value| json!({"resource": {"resourceType": "ValueSet", "url": format!("v{number}"), "compose": {"include": include}}});
    let ladder = |rungs: usize| {
        let rungs_below = (0..rungs).map(|number| {
            let next = format!("v{}", number + 1);
            rung(number, json!([{"valueSet": [next]}, {"valueSet": [next]}]))
        });
        let top = rung(rungs, json!([{"system": "s", "concept": [{"code": "a"}]}]));
        let entries: Vec<Value> = rungs_below.chain([top]).collect();
        Terminology::load(&[&json!({"entry": entries}).to_string()])
    };
    // Without a memory of what was found, this would be two to the power of sixty expansions.
    assert_eq!(ladder(60).value_set("v0"), Some(&[("s".to_owned(), "a".to_owned())][..]));
    let endless = ladder(100_000);
    assert!(matches!(endless.expansion("v0"), Err(Unexpandable::TooDeep(_))), "and not the end of the stack");
}

fn with(extra: Value) -> Result<Terminology, TerminologyError> {
    Terminology::with(extra.as_array().cloned().unwrap_or_default())
}

fn loaded(extra: Value) -> Terminology {
    with(extra).expect("it can be read")
}

#[test]
fn what_is_added_stands_beside_what_is_built_in() {
    let more = loaded(json!([
        {"resourceType": "CodeSystem", "url": "urn:s", "content": "complete", "concept": [{"code": "a", "display": "A"}]},
        {"resourceType": "ValueSet", "url": "urn:v", "compose": {"include": [{"system": "urn:s"}]}},
        {"resourceType": "StructureDefinition", "url": "urn:p"},
        {"resourceType": "ValueSet", "id": "nobody-can-name-it"},
    ]));
    assert_eq!(more.value_set("urn:v|2"), Some(&[("urn:s".to_owned(), "a".to_owned())][..]));
    assert_eq!(more.display("urn:s", "a"), Some("A"));
    assert!(more.value_set("http://hl7.org/fhir/ValueSet/location-mode").is_some());
    assert_eq!(built_in().value_set("urn:v"), None);
}

#[test]
fn a_later_definition_replaces_an_earlier_one_but_a_part_never_the_whole() {
    let system = |content: &str, code: &str| json!({"resourceType": "CodeSystem", "url": "urn:s", "content": content, "concept": [{"code": code}]});
    let set = json!({"resourceType": "ValueSet", "url": "urn:v", "compose": {"include": [{"system": "urn:s"}]}});
    let codes = |extra: Value| {
        loaded(extra).value_set("urn:v").map(|set| set.iter().map(|(_, code)| code.clone()).collect::<String>())
    };
    assert_eq!(codes(json!([system("complete", "a"), system("complete", "b"), set])).as_deref(), Some("b"));
    assert_eq!(codes(json!([system("complete", "a"), system("not-present", "b"), set])).as_deref(), Some("a"));
    for content in ["not-present", "fragment", "example", "supplement"] {
        assert_eq!(codes(json!([system(content, "a"), set])), None, "{content}");
    }
    assert_eq!(codes(json!([system("fragment", "a"), system("complete", "b"), set])).as_deref(), Some("b"));
}

#[test]
fn a_set_that_waited_for_its_system_can_be_expanded_when_that_is_loaded() {
    let nucc = json!({"resourceType": "CodeSystem", "url": NUCC, "content": "complete", "concept": [{"code": "207Q00000X", "display": "Of the system"}]});
    let set = json!({"resourceType": "ValueSet", "url": "urn:v", "compose": {"include": [{"system": NUCC}]}});
    let without = loaded(json!([set]));
    assert_eq!(without.expansion("urn:v"), Err(Unexpandable::UnknownSystem(NUCC.into())));
    assert!(without.code_set("urn:v").is_none());
    let whole = loaded(json!([set, nucc]));
    assert_eq!(whole.value_set("urn:v").map(<[_]>::len), Some(1));
    assert_eq!(whole.display(NUCC, "207Q00000X"), Some("Of the system"));
}

#[test]
fn what_cannot_be_read_is_named() {
    for (resource, part) in [
        (
            json!({"resourceType": "CodeSystem", "url": "urn:bad", "content": 7}),
            "the CodeSystem urn:bad cannot be read",
        ),
        (
            json!({"resourceType": "ValueSet", "url": "urn:bad", "compose": {"include": {}}}),
            "the ValueSet urn:bad cannot be read",
        ),
    ] {
        let error = with(json!([resource])).err().expect("refused").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_stated_expansion_stands_in_for_what_cannot_be_expanded() {
    let check = |set: Value, expected: Option<&str>| {
        let mut set = set;
        set["resourceType"] = json!("ValueSet");
        set["url"] = json!("urn:v");
        let found = loaded(json!([set]));
        let codes =
            found.value_set("urn:v").map(|set| set.iter().map(|(_, code)| code.as_str()).collect::<Vec<_>>().join(" "));
        assert_eq!(codes.as_deref(), expected, "{set}");
    };
    let contains = json!([{"system": "urn:s", "code": "a"}, {"display": "heading", "contains": [{"system": "urn:s", "code": "b"}]}]);
    let unknown = json!({"include": [{"system": "urn:unknown"}]});
    check(json!({"expansion": {"contains": contains}}), Some("a b"));
    check(json!({"expansion": {"total": 3, "contains": contains}}), Some("a b"));
    check(json!({"expansion": {"total": 9, "contains": contains}}), None);
    let unclosed = json!([{"url": "http://hl7.org/fhir/StructureDefinition/valueset-unclosed", "valueBoolean": true}]);
    check(json!({"expansion": {"extension": unclosed, "contains": contains}}), None);
    check(json!({"compose": unknown, "expansion": {"contains": contains}}), Some("a b"));
    check(json!({"compose": unknown}), None);
    check(json!({}), None);
}

#[test]
fn a_set_may_leave_out_what_is_no_longer_for_use() {
    let retired = json!([{"code": "inactive", "valueBoolean": true}]);
    let system = json!({"resourceType": "CodeSystem", "url": "urn:s", "content": "complete", "concept": [{"code": "old", "property": retired}, {"code": "new"}]});
    for (inactive, expected) in [(json!(false), 1), (json!(true), 2), (Value::Null, 2)] {
        let set = json!({"resourceType": "ValueSet", "url": "urn:v", "compose": {"inactive": inactive, "include": [{"system": "urn:s"}]}});
        assert_eq!(loaded(json!([system, set])).value_set("urn:v").map(<[_]>::len), Some(expected), "{inactive}");
    }
}

#[test]
fn membership_is_that_of_the_expansion() {
    let set = built_in().code_set(&plan_net("NetworkTypeVS")).expect("a set");
    let system = "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS";
    assert!(set.contains(system, "ntwk") && set.contains_code("ntwk") && !set.contains("urn:other", "ntwk"));
    assert!(!set.contains(system, "payer") && !set.contains_code("payer"));
    assert_eq!(set.systems_with("ntwk"), [system]);
    assert!(set.has_system(system) && !set.has_system("urn:other"));
    assert!(built_in().code_set("urn:nobody").is_none());
    let again = built_in().code_set(&plan_net("NetworkTypeVS")).expect("a set");
    assert!(Arc::ptr_eq(&set, &again), "made once");
}

#[test]
fn a_grammar_is_a_set() {
    let types = built_in().code_set("http://hl7.org/fhir/ValueSet/mimetypes|4.0.1").expect("a set");
    assert!(types.contains_code("application/fhir+json") && types.contains("urn:ietf:bcp:13", "text/plain"));
    assert!(!types.contains_code("json") && !types.contains("urn:other", "text/plain"));
    let languages = built_in().code_set("http://hl7.org/fhir/ValueSet/all-languages").expect("a set");
    assert!(languages.contains("urn:ietf:bcp:47", "es-419") && !languages.contains_code("en_US"));
    assert!(built_in().is_complete_system("urn:ietf:bcp:47") && built_in().system_has("urn:ietf:bcp:47", "de-CH"));
    assert!(!built_in().is_complete_system(NUCC) && !built_in().system_has(NUCC, "207Q00000X"));
    let mixed = loaded(json!([{"resourceType": "ValueSet", "url": "urn:v", "compose": {"include": [
        {"system": "urn:ietf:bcp:13"}, {"system": "urn:s", "concept": [{"code": "json"}]}]}}]));
    let mixed = mixed.code_set("urn:v").expect("a set");
    assert!(mixed.contains_code("json") && mixed.contains_code("text/plain") && !mixed.contains_code("xml"));
}
