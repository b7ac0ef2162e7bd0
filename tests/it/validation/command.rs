//! `plumbline validate`: what is counted, what is printed, and what is no verdict at all.

use std::fs;
use std::process::Output;

use serde_json::{Value, json};

use crate::harness::Server;

const LOCATION: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/plannet-Location";

fn run(server: &Server, arguments: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = server.command(&["validate"]).args(arguments).output().expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (status.code().expect("a code"), text(stdout), text(stderr))
}

#[test]
fn nothing_to_check_is_no_verdict() {
    let server = Server::sqlite(&[]);
    fs::create_dir(server.data().join("empty")).expect("a folder");
    fs::write(server.data().join("empty.ndjson"), "\n\n").expect("a file");
    for path in ["empty", "empty.ndjson"] {
        let (code, out, error) = run(&server, &[&server.data().join(path).to_string_lossy()]);
        assert_eq!((code, out.as_str()), (2, ""), "{path}");
        assert!(error.contains("nothing was checked") || error.contains("no file"), "{error}");
    }
}

#[test]
fn what_is_not_printed_is_counted() {
    let server = Server::sqlite(&[]);
    let file = server.data().join("bad.ndjson");
    fs::write(&file, "{\"resourceType\":\"Location\",\"status\":7}\n".repeat(5)).expect("a file");
    let (code, out, _) = run(&server, &["--json", "--max", "2", &file.to_string_lossy()]);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((code, lines.len()), (1, 3), "{out}");
    assert_eq!((&lines[2]["total"]["resources"], &lines[2]["total"]["not_printed"]), (&5.into(), &3.into()), "{out}");
    let (_, text, _) = run(&server, &["--max", "2", &file.to_string_lossy()]);
    assert!(text.contains("The findings of 3 more resources are not printed (--max)."), "{text}");
}

#[test]
fn a_finding_without_a_place_has_no_empty_line() {
    let server = Server::sqlite(&[]);
    let file = server.data().join("bad.json");
    fs::write(&file, "{\"resourceType\": \"Location\"").expect("a file");
    let (code, out, _) = run(&server, &[&file.to_string_lossy()]);
    assert_eq!(code, 1, "{out}");
    assert!(!out.lines().any(|line| line.trim() == "error"), "{out}");
    assert!(out.contains("This is not valid JSON") && !out.contains("body"), "{out}");
}

#[test]
fn a_profile_is_named_with_the_version_that_is_loaded() {
    let server = Server::sqlite(&[]);
    let file = server.data().join("l.json");
    fs::write(&file, "{\"resourceType\": \"Location\", \"status\": \"active\"}").expect("a file");
    let file = file.to_string_lossy();
    let ask = |url: &str| run(&server, &["--profile", url, &file]);
    assert_ne!(ask(LOCATION).0, 2);
    assert_ne!(ask(&format!("{LOCATION}|1.2.0")).0, 2);
    let (code, _, error) = ask(&format!("{LOCATION}|9.9"));
    assert!(code == 2 && error.contains(&format!("it is there as {LOCATION}|1.2.0")), "{error}");
    assert_eq!(ask("http://hl7.org/fhir/StructureDefinition/Location|9.9").0, 2);
    assert_eq!(ask("http://hl7.org/fhir/StructureDefinition/Location|4.0.1").0, 0);
}

#[test]
fn files_lines_folders_and_bundles_are_checked_and_the_exit_code_tells() {
    let server = Server::sqlite(&super::writes::PLAN_NET);
    let folder = server.data().join("files");
    fs::create_dir_all(folder.join("below")).expect("a folder");
    let write = |name: &str, text: String| {
        fs::write(folder.join(name), text).expect("a file");
        folder.join(name).to_string_lossy().into_owned()
    };
    let right = super::writes::practitioner("p");
    let mut wrong = right.clone();
    wrong["active"] = json!(false);
    let good = write("good.json", right.to_string());
    let lines = write("lines.ndjson", format!("{right}\n{wrong}\n{right}\n"));
    let entry = json!({"fullUrl": "http://example.org/fhir/Practitioner/p", "resource": wrong});
    let bundle = json!({"resourceType": "Bundle", "type": "collection", "entry": [entry]});
    write("below/bundle.json", bundle.to_string());
    write("below/broken.json", "{".to_owned());

    let (code, out, _) = run(&server, &[&good]);
    assert!(code == 0 && out.contains("1 resource checked, 0 with errors"), "{code} {out}");

    let (code, out, _) = run(&server, &[&lines]);
    assert_eq!(code, 1, "{out}");
    for part in [
        "lines.ndjson:2  Practitioner/p",
        "error        Practitioner.active",
        "Must be true, not false  [plannet-Practitioner",
    ] {
        assert!(out.contains(part), "{part}: {out}");
    }

    let (code, out, _) = run(&server, &["--json", &folder.to_string_lossy()]);
    assert_eq!(code, 1, "{out}");
    let told: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    let total = told.last().expect("the total")["total"].clone();
    assert_eq!((&total["resources"], &total["with_errors"]), (&json!(6), &json!(3)), "{total}");
    let places: Vec<&str> = told.iter().filter_map(|line| line["issues"][0]["expression"][0].as_str()).collect();
    assert_eq!(places, ["Bundle.entry[0].resource.active", "Practitioner.active"]);
    assert!(told.iter().take(3).all(|line| line["valid"] == false && line["source"].is_string()), "{out}");

    let (code, _, errors) = run(&server, &["/nowhere"]);
    assert!(code == 2 && errors.contains("/nowhere cannot be read"), "{code} {errors}");
}
