//! `plumbline package`, and a server with packages.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::harness::{Answer, Server, on_both};
use crate::plan_net;

/// A profile of Location that asks for a telecom and a name, and has one expression that nobody can evaluate.
pub const CLINIC: &str = "http://example.org/StructureDefinition/clinic";

/// What a package `example.clinics` holds.
pub fn clinics() -> Vec<Value> {
    let constraint =
        |key: &str, expression: &str| json!({"key": key, "severity": "error", "human": key, "expression": expression});
    let profile = |url: &str, elements: Value| {
        json!({"resourceType": "StructureDefinition", "url": url, "type": "Location", "kind": "resource",
            "derivation": "constraint", "baseDefinition": "http://hl7.org/fhir/StructureDefinition/Location",
            "differential": {"element": elements}})
    };
    vec![
        profile(
            CLINIC,
            json!([
                {"id": "Location", "path": "Location", "constraint": [constraint("clinic-1", "name.frobnicate()"), constraint("clinic-2", "name.exists()")]},
                {"id": "Location.telecom", "path": "Location.telecom", "min": 1},
            ]),
        ),
        json!({"resourceType": "CodeSystem", "url": "urn:clinics", "status": "active", "content": "complete", "concept": [{"code": "small"}]}),
        json!({"resourceType": "ValueSet", "url": "urn:clinics:all", "status": "active", "compose": {"include": [{"system": "urn:clinics"}]}}),
        json!({"resourceType": "ValueSet", "url": "urn:clinics:other", "status": "active", "compose": {"include": [{"system": "urn:nobody"}]}}),
    ]
}

/// Writes a package into a folder.
fn write(folder: &Path, name: &str, version: &str, resources: &[Value]) -> PathBuf {
    let manifest = json!({"name": name, "version": version, "fhirVersions": ["4.0.1"],
        "dependencies": {"hl7.fhir.r4.core": "4.0.1", "example.base": "2.0.0"}});
    let path = folder.join(format!("{name}-{version}.tgz"));
    let file = fs::File::create(&path).expect("a file");
    let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
    let mut member = |name: &str, json: &Value| {
        let text = json.to_string();
        let mut header = tar::Header::new_ustar();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("package/{name}"), text.as_bytes()).expect("a member");
    };
    member("package.json", &manifest);
    resources.iter().enumerate().for_each(|(number, resource)| member(&format!("{number}.json"), resource));
    archive.into_inner().expect("an archive").finish().expect("a file");
    path
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(server: &Server, arguments: &[&str]) -> Output {
    server.command(arguments).output().expect("it runs")
}

#[track_caller]
fn told(done: &Output, code: i32, parts: &[&str]) {
    let all = text(&done.stdout) + &text(&done.stderr);
    assert_eq!(done.status.code(), Some(code), "{all}");
    parts.iter().for_each(|part| assert!(all.contains(part), "no '{part}' in: {all}"));
}

/// What a refusal lists, as (code, expression).
fn errors(answer: &Answer) -> BTreeSet<(String, String)> {
    assert_eq!(answer.status, 422, "{answer}");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let issues = answer.body["issue"].as_array().expect("issues").iter().filter(|issue| issue["severity"] == "error");
    issues.map(|issue| (text(&issue["code"]), text(&issue["expression"][0]))).collect()
}

on_both! {
    with [("PLUMBLINE_VALIDATION__ENFORCE", "plan-net")];

    fn a_package_is_added_used_and_removed(server) {
        let package = write(server.data(), "example.clinics", "1.0.0", &clinics());
        let file = package.to_string_lossy();
        told(&run(server, &["package", "add", &file]), 0, &[
            "example.clinics#1.0.0: 1 profile, 0 extensions, 2 value sets, 1 code system",
            &format!("will not be checked: {CLINIC}: clinic-1 at Location"), "frobnicate",
            "1 of 2 value sets: not all codes are known", "not installed, and not needed by profiles with a snapshot: example.base#2.0.0",
            "validation: {packages: [\"example.clinics#1.0.0\"]}", "next start",
        ]);
        told(&run(server, &["package", "list"]), 0, &["example.clinics#1.0.0  not in the settings: 1 profile"]);
        fs::write(server.data().join("plumbline.yaml"), "validation: {packages: [example.clinics#1.0.0]}").expect("a file");
        told(&run(server, &["package", "list", "--value-sets"]), 0, &["example.clinics#1.0.0  in use", "urn:clinics:other: ", "urn:nobody"]);
        let listed: Value = serde_json::from_slice(&run(server, &["package", "list", "--json"]).stdout).expect("JSON");
        assert_eq!((&listed[0]["package"], &listed[0]["inUse"], &listed[0]["resources"]["valueSets"]), (&json!("example.clinics#1.0.0"), &json!(true), &json!(2)));
        told(&run(server, &["terminology", "list"]), 0, &["urn:clinics  from a package"]);

        // Every start says what is not checked.
        let started = run(server, &["export", "--out", "out"]);
        told(&started, 0, &["WARN", CLINIC, "clinic-1 at Location"]);
        assert_eq!(text(&started.stderr).matches("clinic-1").count(), 1);

        told(&run(server, &["package", "remove", "example.clinics"]), 2, &["example.clinics is not installed; installed: example.clinics#1.0.0"]);
        told(&run(server, &["package", "remove", "example.clinics#1.0.0"]), 0, &["example.clinics#1.0.0 is removed", "still names it"]);
        told(&run(server, &["package", "list"]), 0, &["No packages are installed"]);
        told(&run(server, &["serve", "--listen", "127.0.0.1:0"]), 2, &[
            "the setting validation.packages: the package example.clinics#1.0.0 is not installed (none is)", "plumbline package add"]);
        // What the settings name may come after the settings.
        told(&run(server, &["package", "add", &file]), 0, &["The settings name it already"]);
    }

    fn what_a_package_asks_holds_for_what_claims_it(server) {
        let package = write(server.data(), "example.clinics", "1.0.0", &clinics());
        let server = server.second(&[("PLUMBLINE_VALIDATION__PACKAGES", &format!("[{}]", package.display()))]);
        let clinic = |more: Value| {
            let mut clinic = json!({"resourceType": "Location", "meta": {"profile": [CLINIC]}, "status": "active"});
            clinic.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            clinic
        };
        let bad = server.post("Location", &clinic(json!({})));
        let at = |code: &str, expression: &str| (code.to_owned(), expression.to_owned());
        assert_eq!(errors(&bad), BTreeSet::from([at("required", "Location.telecom"), at("invariant", "Location")]), "{bad}");
        assert!(!bad.text.contains("clinic-1"), "{bad}");
        let good = clinic(json!({"name": "Small", "telecom": [{"system": "phone", "value": "1"}]}));
        assert_eq!(server.post("Location", &good).status, 201);
        let codes = server.get("ValueSet/$expand?url=urn:clinics:all");
        assert_eq!(codes.body["expansion"]["contains"][0]["code"], "small", "{codes}");
    }

    fn the_official_package_takes_the_place_of_the_built_in_profiles(server) {
        let Some(package) = plan_net::package() else { return };
        told(&run(server, &["package", "add", &package.to_string_lossy()]), 0, &["#1.2.0: 9 profiles, 13 extensions, 24 value sets, 14 code systems"]);
        let added = server.data().join("packages/hl7.fhir.us.davinci-pdex-plan-net#1.2.0.tgz");
        let official = server.second(&[("PLUMBLINE_VALIDATION__PACKAGES", &format!("[{}]", added.display()))]);
        let done = run(&official, &["import", &package.to_string_lossy()]);
        told(&done, 0, &[&format!("\nTotal {:>31}", 49)]);
        assert_eq!(text(&done.stderr), "", "nothing of it is left unchecked");

        let mut role = official.get("PractitionerRole/HansSoloRole1").body;
        assert_eq!(official.put("PractitionerRole/HansSoloRole1", &role).status, 200);
        role["active"] = json!(false);
        role["specialty"] = json!([{"text": "none"}]);
        role["telecom"] = json!([{"value": "555"}]);
        role["location"] = json!([{"reference": "Organization/Acme"}]);
        role["extension"] = json!([{"url": "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/network-reference", "valueString": "x"}]);
        let (ours, theirs) = (server.put("PractitionerRole/HansSoloRole1", &role), official.put("PractitionerRole/HansSoloRole1", &role));
        assert_eq!(errors(&ours), errors(&theirs));
        assert!(errors(&theirs).len() >= 3, "{theirs}");
    }
}

#[test]
fn what_cannot_be_used_is_told_and_what_is_no_package_is_not_added() {
    let server = Server::sqlite(&[]);
    let mut resources = clinics();
    resources[0]["differential"]["element"][1]["id"] = json!("Location.nowhere.telecom");
    resources[3]["compose"] = json!(1);
    let location = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/plannet-Location";
    resources.push(
        json!({"resourceType": "StructureDefinition", "url": location, "type": "Location", "derivation": "constraint"}),
    );
    let package = write(server.data(), "example.clinics", "1.1.0", &resources);
    let file = package.to_string_lossy();
    let done = run(&server, &["package", "add", &file]);
    let unknown =
        format!("cannot be used: {CLINIC}: element Location.nowhere.telecom: there is no element 'nowhere' there");
    assert_eq!(text(&done.stdout).matches("cannot be used").count(), 3, "each once: {}", text(&done.stdout));
    told(&done, 1, &[&unknown, "cannot be used: urn:clinics:other: ", "1.1.0: 2 profiles", "validation: {packages"]);
    assert!(server.data().join("packages/example.clinics#1.1.0.tgz").is_file());

    // One that is none keeps the others out, too.
    let other = write(server.data(), "example.other", "1.0.0", &[]);
    fs::write(server.data().join("bad.tgz"), "no archive").expect("a file");
    told(
        &run(&server, &["package", "add", &other.to_string_lossy(), "bad.tgz"]),
        2,
        &["plumbline: bad.tgz is no FHIR package: it is not compressed with gzip"],
    );
    told(&run(&server, &["package", "add", "none.tgz"]), 2, &["plumbline: none.tgz cannot be read: "]);
    assert!(!text(&run(&server, &["package", "list"]).stdout).contains("example.other"));

    // A new version is proposed in the place of the old one, behind what else is in use.
    fs::write(
        server.data().join("plumbline.yaml"),
        "validation: {packages: [example.clinics#1.1.0, example.other-1.0.0.tgz]}",
    )
    .expect("a file");
    let newer = write(server.data(), "example.clinics", "1.2.0", &clinics());
    told(
        &run(&server, &["package", "add", &newer.to_string_lossy()]),
        0,
        &["validation: {packages: [\"example.other-1.0.0.tgz\", \"example.clinics#1.2.0\"]}"],
    );

    fs::write(server.data().join("packages/example.clinics#1.2.0.tgz"), "no archive").expect("a file");
    told(&run(&server, &["package", "list"]), 1, &["example.clinics#1.1.0  in use", "1.2.0.tgz is no FHIR package"]);
    let listed: Value =
        serde_json::from_slice(&run(&server, &["package", "list", "--json"]).stdout).expect("all of them, as JSON");
    assert!(listed[1]["damaged"].as_str().is_some_and(|why| why.contains("is no FHIR package")), "{listed}");

    // A file of the operator's own that cannot be read keeps a package out, whole.
    fs::create_dir(server.data().join("terminology")).expect("a folder");
    fs::write(server.data().join("terminology/own.json"), "{").expect("a file");
    let last = write(server.data(), "example.last", "1.0.0", &clinics());
    told(&run(&server, &["package", "add", &last.to_string_lossy()]), 2, &["own.json is no JSON"]);
    let names = fs::read_dir(server.data().join("packages")).expect("the folder");
    let names: Vec<_> = names.map(|entry| entry.expect("an entry").file_name()).collect();
    assert!(
        !names.iter().any(|name| name.to_string_lossy().contains("last") || name.to_string_lossy().starts_with('.')),
        "{names:?}"
    );
}
