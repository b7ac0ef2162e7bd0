//! The files in `conformance/` are what the server declares.
//!
//! After a change of the capabilities: `UPDATE_CONFORMANCE=1 cargo test --test it conformance` writes them anew.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

const FACTS: &str = include_str!("../../profiles/search-parameters.json");
const OWN: &str = "https://plumbline.example/fhir/SearchParameter/";
const README: &str = "README.md";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("conformance")
}

/// The files by name, as they ought to be.
fn expected() -> BTreeMap<String, String> {
    let statement = plumbline::interactions::capability::statement("http://localhost/fhir");
    let statement: Value = serde_json::from_str(&statement).expect("the statement is JSON");
    let facts: Vec<Value> = serde_json::from_str(FACTS).expect("the facts are JSON");
    let mut files = BTreeMap::from([("CapabilityStatement-plumbline.json".to_owned(), pretty(&statement))]);
    for fact in facts.iter().filter(|fact| text(fact, "url").starts_with(OWN)) {
        let parameter = search_parameter(fact);
        files.insert(format!("SearchParameter-{}.json", text(&parameter, "id")), pretty(&parameter));
    }
    files
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}

/// The whole SearchParameter around the facts.
fn search_parameter(fact: &Value) -> Value {
    let (url, kind) = (text(fact, "url"), text(fact, "type"));
    let id = url.trim_start_matches(OWN);
    let mut parameter = Map::new();
    let mut put = |name: &str, value: Value| parameter.insert(name.to_owned(), value);
    put("resourceType", json!("SearchParameter"));
    put("id", json!(id));
    put("url", json!(url));
    put("version", json!(env!("CARGO_PKG_VERSION")));
    put("name", json!(id.split('-').map(capitalized).collect::<String>()));
    put("status", json!("active"));
    put("description", json!(description(fact)));
    for name in ["code", "base", "type", "expression"] {
        put(name, fact[name].clone());
    }
    for name in ["target", "component"] {
        if let Some(value) = fact.get(name) {
            put(name, value.clone());
        }
    }
    put("multipleOr", json!(true));
    put("multipleAnd", json!(true));
    if matches!(kind, "date" | "number" | "quantity") {
        put("comparator", json!(["eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"]));
    }
    Value::Object(parameter)
}

fn description(fact: &Value) -> String {
    let expression = text(fact, "expression");
    match fact["component"].as_array() {
        Some(components) => {
            let parts: Vec<&str> = components.iter().map(|component| text(component, "expression")).collect();
            format!("A {expression} whose {} fit together", parts.join(" and "))
        }
        None => format!("A {} search on {expression}", text(fact, "type")),
    }
}

fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

#[test]
fn the_files_are_what_the_server_declares() {
    let expected = expected();
    if std::env::var_os("UPDATE_CONFORMANCE").is_some() {
        for (name, content) in &expected {
            fs::write(folder().join(name), content).expect("the file can be written");
        }
    }
    let again = "run `UPDATE_CONFORMANCE=1 cargo test --test it conformance` and commit the files";
    for (name, content) in &expected {
        let found = fs::read_to_string(folder().join(name)).unwrap_or_default();
        assert!(found == *content, "conformance/{name} is not what the server declares; {again}");
    }
    let names = fs::read_dir(folder())
        .expect("conformance/")
        .filter_map(Result::ok)
        .filter_map(|file| file.file_name().into_string().ok());
    for name in names.filter(|name| name != README) {
        assert!(expected.contains_key(&name), "conformance/{name} is nothing that the server declares; remove it");
    }
}

#[test]
fn every_own_parameter_that_the_statement_names_has_its_file() {
    let files = expected();
    let statement: Value = serde_json::from_str(&files["CapabilityStatement-plumbline.json"]).expect("JSON");
    let resources = statement["rest"][0]["resource"].as_array().expect("resources");
    let declared = resources
        .iter()
        .filter_map(|resource| resource["searchParam"].as_array())
        .flatten()
        .map(|param| text(param, "definition"));
    let own: Vec<&str> = declared.filter_map(|url| url.strip_prefix(OWN)).collect();
    assert!(!own.is_empty());
    for name in own {
        let file = files.get(&format!("SearchParameter-{name}.json")).unwrap_or_else(|| panic!("a file for {name}"));
        let parameter: Value = serde_json::from_str(file).expect("JSON");
        for component in parameter["component"].as_array().into_iter().flatten() {
            let definition = text(component, "definition");
            assert!(facts_have(definition), "{definition}, a component of {name}, is a parameter itself");
        }
    }
}

fn facts_have(url: &str) -> bool {
    let facts: Vec<Value> = serde_json::from_str(FACTS).expect("the facts are JSON");
    facts.iter().any(|fact| fact["url"] == url)
}
