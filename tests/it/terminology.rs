//! The operations of terminology, over HTTP, and what an operator loads.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::{Answer, Server, on_both};

const ROLES: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/ValueSet/PractitionerRoleVS";
const ROLE: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/ProviderRoleCS";
const NUCC: &str = "http://nucc.org/provider-taxonomy";

const NUCC_CSV: &str = "\u{feff}Code,Grouping,Classification,Specialization,Definition,Notes,Display Name,Section\r
207Q00000X,Allopathic & Osteopathic Physicians,Family Medicine,,\"Family Medicine is the medical specialty, \"\"in person\"\".\",,Family Medicine Physician,Individual\r
207QA0505X,Allopathic & Osteopathic Physicians,Family Medicine,Adult Medicine,A family physician for adults.,,Adult Medicine Physician,Individual\r
261QP2300X,Ambulatory Health Care Facilities,Clinic/Center,Primary Care,Definition to come...,,Primary Care Clinic/Center,Non-Individual\r
";

fn codes(answer: &Answer) -> Vec<String> {
    assert_eq!((answer.status, &answer.body["resourceType"]), (200, &json!("ValueSet")), "{answer}");
    let contains = answer.body["expansion"]["contains"].as_array().map(Vec::as_slice).unwrap_or_default();
    contains.iter().map(|one| one["code"].as_str().expect("a code").to_owned()).collect()
}

/// The first value of an output parameter.
fn parameter<'a>(answer: &'a Answer, name: &str) -> &'a Value {
    assert_eq!((answer.status, &answer.body["resourceType"]), (200, &json!("Parameters")), "{answer}");
    let all = answer.body["parameter"].as_array().expect("parameters");
    let found = all.iter().find(|one| one["name"] == name);
    found
        .and_then(|one| one.as_object()?.iter().find(|(name, _)| name.starts_with("value")))
        .map_or(&Value::Null, |(_, value)| value)
}

fn parameters(parameter: &[Value]) -> Value {
    json!({"resourceType": "Parameters", "parameter": parameter})
}

fn refused(answer: &Answer, status: u16, code: &str, part: &str) {
    let (severity, found, diagnostics, _) = answer.issue();
    assert_eq!((answer.status, severity.as_str(), found.as_str()), (status, "error", code), "{answer}");
    assert!(diagnostics.contains(part), "{answer}");
}

on_both! {
    fn a_set_is_expanded_filtered_and_paged(server) {
        let whole = server.get(&format!("ValueSet/$expand?url={ROLES}"));
        let expansion = &whole.body["expansion"];
        let all = codes(&whole);
        assert!(all.len() > 40 && expansion["total"] == all.len(), "{whole}");
        assert!(expansion["identifier"].as_str().is_some_and(|id| id.starts_with("urn:uuid:")) && expansion["timestamp"].is_string());
        assert_eq!((&whole.body["url"], &whole.body["status"]), (&json!(ROLES), &json!("active")));
        assert!(expansion.get("offset").is_none(), "not paged: {whole}");

        let first = server.get(&format!("ValueSet/$expand?url={ROLES}&count=2"));
        let next = server.get(&format!("ValueSet/$expand?url={ROLES}&count=2&offset=2"));
        assert_eq!([codes(&first), codes(&next)].concat(), all[..4]);
        assert_eq!((&next.body["expansion"]["offset"], &next.body["expansion"]["total"]), (&json!(2), &json!(all.len())));
        assert_eq!(first.body["expansion"]["identifier"], next.body["expansion"]["identifier"]);
        assert_eq!(codes(&server.get(&format!("ValueSet/$expand?url={ROLES}&count=0"))), [""; 0]);

        let found = server.get(&format!("ValueSet/$expand?url={ROLES}&filter=PHARM"));
        let displays: Vec<&str> = found.body["expansion"]["contains"].as_array().expect("some").iter().filter_map(|one| one["display"].as_str()).collect();
        assert!(!displays.is_empty() && displays.iter().all(|display| display.to_lowercase().contains("pharm")), "{found}");
        assert!(found.body["expansion"]["parameter"].as_array().expect("what was used").contains(&json!({"name": "filter", "valueString": "PHARM"})));
    }

    fn a_set_may_be_sent_along(server) {
        let set = json!({"resourceType": "ValueSet", "status": "draft", "compose": {"include": [
            {"system": ROLE, "concept": [{"code": "mt", "display": "Ours"}]},
            {"system": "http://hl7.org/fhir/organization-role", "filter": [{"property": "concept", "op": "in", "value": "provider,agency"}]}]}});
        let posted = parameters(&[json!({"name": "valueSet", "resource": set}), json!({"name": "count", "valueInteger": 10})]);
        let answer = server.post("ValueSet/$expand", &posted);
        assert_eq!(codes(&answer), ["mt", "provider", "agency"]);
        assert_eq!((&answer.body["expansion"]["contains"][0]["display"], &answer.body["status"]), (&json!("Ours"), &json!("draft")));
        assert_eq!(codes(&server.post("ValueSet/$expand?filter=ours", &set)), ["mt"], "the set itself as the body");
        let missing = json!({"resourceType": "ValueSet", "compose": {"include": [{"system": "urn:nobody"}]}});
        refused(&server.post("ValueSet/$expand", &missing), 422, "not-supported", "urn:nobody is not loaded");
        refused(&server.post("ValueSet/$expand", &json!({"resourceType": "ValueSet", "compose": {"include": 1}})), 422, "invalid", "cannot be read");
        let many: Vec<Value> = (0..200).map(|_| json!({"system": ROLE})).collect();
        let filters: Vec<Value> = (0..200).map(|_| json!({"property": "code", "op": "regex", "value": "(a*)*"})).collect();
        let patterns: Vec<Value> = (0..6).map(|_| json!({"property": "code", "op": "regex", "value": "a.*"})).collect();
        let listed: Vec<Value> = (0..50_001).map(|number| json!({"code": number.to_string()})).collect();
        let stated = json!({"resourceType": "ValueSet", "expansion": {"contains": listed}});
        refused(&server.post("ValueSet/$expand", &stated), 422, "too-costly", "at most 50000");
        refused(&server.post("ValueSet/$validate-code?code=1", &stated), 422, "too-costly", "at most 50000");
        for include in [json!(many), json!([{"system": ROLE, "filter": filters}]), json!([{"system": ROLE, "filter": patterns}]), json!([{"system": ROLE, "concept": listed}])] {
            refused(&server.post("ValueSet/$expand", &json!({"resourceType": "ValueSet", "compose": {"include": include}})), 422, "too-costly", "at most");
        }
    }

    fn a_set_that_is_sent_is_held_to_its_systems(server) {
        let v3 = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";
        let set = |include: Value| json!({"resourceType": "ValueSet", "compose": {"include": [include]}});
        let listed = set(json!({"system": v3, "concept": [{"code": "HOSP", "designation": [{"language": "de", "value": "Krankenhaus"}]}, {"code": "nobody"}]}));
        let answer = server.post("ValueSet/$expand?displayLanguage=de-AT&includeDesignations=true", &listed);
        assert_eq!(codes(&answer), ["HOSP"], "{answer}");
        assert_eq!(answer.body["expansion"]["contains"][0]["display"], "Krankenhaus");
        let filter = |op: &str, value: &str| set(json!({"system": v3, "filter": [{"property": "concept", "op": op, "value": value}]}));
        for (sent, code, part) in [
            (set(json!({"system": v3, "version": "0"})), "not-supported", "version 0 of the code system"),
            (set(json!({"system": format!("{v3}|0")})), "value", "compose.include.version"),
            (filter("regex", "a)|(?:b"), "value", "cannot be read"),
            (filter("is-a", "nobody"), "code-invalid", "nobody"),
        ] {
            let answer = server.post("ValueSet/$expand", &sent);
            refused(&answer, 422, code, part);
            assert_eq!(answer.body["issue"][0]["expression"], json!(["http.valueSet"]), "{answer}");
        }
        refused(&server.get(&format!("CodeSystem/$lookup?system={v3}&code=HOSP&property=colour")), 400, "value", "no property 'colour'");
        let abstract_set = parameters(&[json!({"name": "valueSet", "resource": set(json!({"system": v3}))})]);
        let ask = |rest: &str| server.post(&format!("ValueSet/$validate-code?system={v3}&{rest}"), &abstract_set);
        assert_eq!(parameter(&ask("code=_ServiceDeliveryLocationRoleType"), "result"), false);
        assert_eq!(parameter(&ask("code=_ServiceDeliveryLocationRoleType&abstract=true"), "result"), true);
        assert_eq!(parameter(&ask("code=HOSP&systemVersion=0"), "result"), false);
    }

    fn a_costly_set_keeps_nobody_else_waiting(server) {
        let set = |pattern: &str| {
            let filters: Vec<Value> = (0..5).map(|_| json!({"property": "code", "op": "regex", "value": pattern})).collect();
            json!({"resourceType": "ValueSet", "compose": {"include": [{"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "filter": filters}]}})
        };
        // Each is a program of hundreds of kilobytes; to match it with every code takes seconds.
        let bombs = set("(.?){3000}");
        let allowed = set(&format!("{}x", ".?".repeat(60)));
        std::thread::scope(|scope| {
            let asking: Vec<_> = [&bombs, &bombs, &bombs, &bombs, &allowed, &allowed, &allowed, &allowed]
                .map(|set| scope.spawn(move || server.post("ValueSet/$expand", set)))
                .into_iter()
                .collect();
            let start = std::time::Instant::now();
            assert_eq!(server.get(&format!("{}/health/live", server.base.trim_end_matches("/fhir"))).status, 200);
            assert!(start.elapsed().as_secs() < 5, "{:?}", start.elapsed());
            let statuses: Vec<u16> = asking.into_iter().map(|one| one.join().expect("an answer").status).collect();
            assert_eq!(statuses, [422, 422, 422, 422, 200, 200, 200, 200]);
        });
    }

    fn a_code_is_validated(server) {
        let ask = |rest: &str| server.get(&format!("ValueSet/$validate-code?url={ROLES}&{rest}"));
        let good = ask(&format!("system={ROLE}&code=mt"));
        assert_eq!(parameter(&good, "result"), true, "{good}");
        let display = parameter(&good, "display").as_str().expect("a display").to_owned();
        assert_eq!(parameter(&ask("code=mt"), "result"), true, "one system has it");
        let shouted = server.post("ValueSet/$validate-code", &parameters(&[
            json!({"name": "url", "valueUri": ROLES}), json!({"name": "coding", "valueCoding": {"system": ROLE, "code": "mt", "display": display.to_uppercase()}})]));
        assert_eq!(parameter(&shouted, "result"), true, "{shouted}");

        let bad = ask(&format!("system={ROLE}&code=nobody"));
        assert_eq!(parameter(&bad, "result"), false);
        assert!(parameter(&bad, "message").as_str().is_some_and(|message| message.contains("nobody")), "{bad}");
        let wrong = ask(&format!("system={ROLE}&code=mt&display=test"));
        assert_eq!((parameter(&wrong, "result"), parameter(&wrong, "message")), (&json!(false), &json!("The display \"test\" is incorrect")));
        assert_eq!(parameter(&wrong, "display"), &json!(display));

        let concept = json!({"coding": [{"system": "urn:x", "code": "y"}, {"system": ROLE, "code": "mt"}]});
        let concept = server.post(&format!("ValueSet/$validate-code?url={ROLES}"), &parameters(&[json!({"name": "codeableConcept", "valueCodeableConcept": concept})]));
        assert_eq!(parameter(&concept, "result"), true, "{concept}");
        let types = server.get("ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/mimetypes&code=text/plain");
        assert_eq!(parameter(&types, "result"), true, "{types}");
    }

    fn a_code_is_looked_up(server) {
        let hospital = "system=http://terminology.hl7.org/CodeSystem/v3-RoleCode&code=HOSP";
        let found = server.get(&format!("CodeSystem/$lookup?{hospital}"));
        assert_eq!(parameter(&found, "display"), "Hospital", "{found}");
        assert!(parameter(&found, "name").is_string());
        let coding = json!({"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "HOSP"});
        let posted = server.post("CodeSystem/$lookup", &parameters(&[json!({"name": "coding", "valueCoding": coding}), json!({"name": "property", "valueCode": "parent"})]));
        assert_eq!(parameter(&posted, "display"), "Hospital");
        assert!(posted.text.contains("\"parent\"") && !posted.text.contains("\"child\""), "{posted}");
    }

    fn answers_and_questions_may_be_xml(server) {
        let expanded = server.get(&format!("ValueSet/$expand?url={ROLES}&count=1&_format=xml"));
        assert_eq!(expanded.status, 200, "{expanded}");
        assert!(expanded.text.contains("<ValueSet xmlns=\"http://hl7.org/fhir\"") && expanded.text.contains("<contains><system value="), "{expanded}");
        let xml = format!(
            "<Parameters xmlns=\"http://hl7.org/fhir\"><parameter><name value=\"url\"/><valueUri value=\"{ROLES}\"/></parameter><parameter><name value=\"code\"/><valueCode value=\"mt\"/></parameter></Parameters>"
        );
        let request = server.request("POST", "ValueSet/$validate-code").header("content-type", "application/fhir+xml").header("accept", "application/fhir+xml");
        let validated = Answer::of(request.body(xml));
        assert!(validated.status == 200 && validated.text.contains("<valueBoolean value=\"true\"/>"), "{validated}");
        let looked_up = server.get("CodeSystem/$lookup?system=https://www.usps.com/&code=CT&_format=xml");
        assert!(looked_up.text.contains("<valueString value=\"Connecticut\"/>"), "{looked_up}");
    }

    fn what_is_not_known_is_refused_with_a_reason(server) {
        refused(&server.get("ValueSet/$expand?url=http://example.org/none"), 404, "not-found", "not loaded");
        refused(&server.get("ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/all-languages"), 422, "too-costly", "cannot be listed");
        refused(&server.get("ValueSet/$expand"), 400, "required", "url");
        refused(&server.get(&format!("ValueSet/$expand?url={ROLES}&colour=red")), 400, "not-supported", "no parameter 'colour'");
        refused(&server.get(&format!("ValueSet/$expand?url={ROLES}&count=many")), 400, "value", "number");
        refused(&server.get("ValueSet/$validate-code?url=http://example.org/none&code=x"), 404, "not-found", "not loaded");
        refused(&server.get("CodeSystem/$lookup?system=urn:nobody&code=x"), 404, "not-found", "not loaded");
        refused(&server.get("CodeSystem/$lookup?system=https://www.usps.com/&code=ZZ"), 404, "not-found", "no code 'ZZ'");
        refused(&server.get(&format!("CodeSystem/$lookup?system={NUCC}&code=207Q00000X")), 404, "not-found", "plumbline terminology load nucc");
    }

    fn the_urls_of_operations_take_get_and_post(server) {
        for url in ["ValueSet/$expand", "ValueSet/$validate-code", "CodeSystem/$lookup"] {
            for method in ["PUT", "DELETE", "PATCH"] {
                let answer = Answer::of(server.request(method, url));
                assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, POST")), "{method} {url}: {answer}");
            }
            assert_eq!(server.get(&format!("{url}/")).status, 400, "a slash makes no difference");
            assert_eq!(Answer::of(server.request("POST", url).header("content-type", "text/plain").body("x")).status, 415);
        }
        assert_eq!(server.get(&format!("ValueSet/%24expand?url={ROLES}")).status, 200);
        assert_eq!(server.get("ValueSet/$translate").status, 404);
    }

    fn the_operations_are_declared(server) {
        let statement = server.get("metadata").body;
        let resources = statement["rest"][0]["resource"].as_array().expect("resources");
        let mut declared = Vec::new();
        // Those of Subscriptions have tests of their own.
        for resource in resources.iter().filter(|resource| resource["type"] != "Subscription") {
            for operation in resource["operation"].as_array().into_iter().flatten() {
                let (resource_type, name) = (resource["type"].as_str().expect("a type"), operation["name"].as_str().expect("a name"));
                let defined_for = if name == "validate" { "Resource" } else { resource_type };
                assert_eq!(operation["definition"], format!("http://hl7.org/fhir/OperationDefinition/{defined_for}-{name}"));
                assert_eq!(server.get(&format!("{resource_type}/${name}")).status, 400, "it is there");
                if name != "validate" {
                    declared.push(format!("{resource_type}/${name}"));
                }
            }
        }
        assert_eq!(declared, ["CodeSystem/$lookup", "ValueSet/$expand", "ValueSet/$validate-code"]);
    }
}

fn load(server: &Server, name: &str, content: &[u8]) -> Output {
    let file = server.data().join(name);
    fs::write(&file, content).expect("a file");
    server.command(&["terminology", "load", "nucc"]).arg(&file).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_provider_taxonomy_is_there_after_it_was_loaded() {
    for mut server in [Some(Server::sqlite(&[])), Server::postgres(&[])].into_iter().flatten() {
        let physicians = json!({"resourceType": "ValueSet", "status": "active", "compose": {"include": [
            {"system": NUCC, "filter": [{"property": "grouping", "op": "=", "value": "Allopathic & Osteopathic Physicians"}]}]}});
        refused(&server.post("ValueSet/$expand", &physicians), 422, "not-supported", "plumbline terminology load nucc");

        let done = load(&server, "nucc_taxonomy_251.csv", NUCC_CSV.as_bytes());
        assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), String::new()));
        let told = text(&done.stdout);
        assert!(
            told.contains("loaded: 3 (version 25.1)") && told.contains("version 25.1") && told.contains("next start"),
            "{told}"
        );
        let listed = server.command(&["terminology", "list"]).output().expect("it runs");
        assert!(
            text(&listed.stdout).lines().any(|line| line.contains(NUCC) && line.contains("nucc.json")),
            "{}",
            text(&listed.stdout)
        );

        server.restart();
        let found = server.get(&format!("CodeSystem/$lookup?system={NUCC}&code=207Q00000X"));
        assert_eq!(
            parameter(&found, "definition"),
            "Family Medicine is the medical specialty, \"in person\".",
            "{found}"
        );
        assert_eq!(
            (parameter(&found, "version"), parameter(&found, "display")),
            (&json!("25.1"), &json!("Family Medicine Physician"))
        );
        assert_eq!(codes(&server.post("ValueSet/$expand", &physicians)), ["207Q00000X", "207QA0505X"]);

        // What was there stays when a bad file comes.
        let bad = load(
            &server,
            "nucc_taxonomy_260.csv",
            b"Code,Grouping,Classification,Specialization\n207q,a,b,c\n207Q00000X,a,b,c\n207Q00000X,a,b,c\n",
        );
        assert_eq!((bad.status.code(), text(&bad.stdout)), (Some(1), String::new()));
        let told = text(&bad.stderr);
        assert!(
            told.contains("line 2: '207q' is no code")
                && told.contains("line 4: 207Q00000X stands on line 3 already")
                && told.contains("Nothing was loaded"),
            "{told}"
        );
        let kept = fs::read_to_string(server.data().join("terminology/nucc.json")).expect("the file");
        assert!(kept.contains("\"25.1\""));
        let folder = fs::read_dir(server.data().join("terminology")).expect("the folder");
        assert_eq!(folder.count(), 1, "no draft is left");
    }
}

#[test]
fn a_taxonomy_with_far_fewer_codes_is_loaded_only_when_that_is_meant() {
    let server = Server::sqlite(&[]);
    let rows = |count: usize| -> String {
        let rows = (0..count).map(|number| format!("207Q{number:05}X,a,b,c\n"));
        "Code,Grouping,Classification,Specialization\n".to_owned() + &rows.collect::<String>()
    };
    assert_eq!(load(&server, "many.csv", rows(10).as_bytes()).status.code(), Some(0));
    let few = load(&server, "few.csv", rows(4).as_bytes());
    assert_eq!(few.status.code(), Some(1));
    assert!(text(&few.stderr).contains("4 codes, and 10 are loaded"), "{}", text(&few.stderr));
    let file = server.data().join("few.csv");
    let forced = server.command(&["terminology", "load", "nucc", "--force"]).arg(&file).output().expect("it runs");
    assert_eq!(forced.status.code(), Some(0), "{}", text(&forced.stderr));
}

#[test]
fn nobody_has_to_read_all_that_is_printed() {
    let server = Server::sqlite(&[]);
    for arguments in [&["settings"][..], &["terminology", "list"], &["package", "list"], &["--help"]] {
        let mut command = server.command(arguments);
        let mut running =
            command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("it runs");
        drop(running.stdout.take());
        let done = running.wait_with_output().expect("it ends");
        assert_eq!((done.status.code(), text(&done.stderr)), (Some(0), String::new()), "{arguments:?}");
    }
}

#[test]
fn a_file_that_is_not_there_or_not_terminology_is_told() {
    let mut server = Server::sqlite(&[]);
    let done = server.command(&["terminology", "load", "nucc", "nowhere.csv"]).output().expect("it runs");
    assert_eq!(done.status.code(), Some(2));
    assert!(text(&done.stderr).contains("nowhere.csv cannot be read"), "{}", text(&done.stderr));

    let folder = server.data().join("terminology");
    fs::create_dir(&folder).expect("a folder");
    let set = json!({"resourceType": "Bundle", "type": "collection", "entry": [{"resource":
        {"resourceType": "ValueSet", "url": "urn:own", "status": "active", "compose": {"include": [{"system": "urn:s", "concept": [{"code": "a"}]}]}}}]});
    fs::write(folder.join("own.json"), set.to_string()).expect("a file");
    server.restart();
    assert_eq!(codes(&server.get("ValueSet/$expand?url=urn:own")), ["a"]);
    assert_eq!(server.get("PractitionerRole?role:in=urn:own").status, 200, "a search knows it too");

    server.kill();
    fs::write(folder.join("own.json"), r#"{"resourceType": "ValueSet", "url": "urn:bad", "compose": 1}"#)
        .expect("a file");
    let done = server.command(&["serve", "--listen", "127.0.0.1:0"]).output().expect("it runs");
    assert_eq!(done.status.code(), Some(2));
    let told = text(&done.stderr);
    assert!(told.contains("own.json: the ValueSet urn:bad cannot be read"), "{told}");

    let own = json!({"resourceType": "Bundle", "entry": [{"resource": {"resourceType": "Location", "id": "l"}}, {"resource":
        {"resourceType": "CodeSystem", "url": "urn:own", "status": "active", "content": "complete", "concept": [{"code": "a"}]}}]});
    fs::write(folder.join("own.json"), format!("\u{feff}{own}")).expect("a file");
    let listed = server.command(&["terminology", "list", "--json"]).output().expect("it runs");
    let told = text(&listed.stderr);
    assert!(told.contains("own.json: Location/l is not taken"), "{told}");
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let systems = listed["codeSystems"].as_array().expect("systems");
    let own = systems.iter().find(|system| system["url"] == "urn:own").expect("it is listed");
    assert_eq!((&own["from"], &own["codes"], &own["complete"]), (&json!("own.json"), &json!(1), &json!(true)));
}
