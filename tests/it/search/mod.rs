//! Search, as R4 search.html, Plan-Net 1.2.0 and the product's own rules have it. The tests are tables where that pays:
//! a query, and the ids of the resources that it finds.

mod alternatives;
mod chain;
mod combination;
mod date;
mod fuzz;
mod has;
mod include;
mod leaves;
mod matching;
mod near;
mod nested;
mod oracle;
mod paging;
mod plan_net;
mod quantity;
mod reference;
mod sort;
mod strictness;
mod string;
mod summary;
mod system;
mod token;
mod total;
mod uri;
mod world;

use serde_json::{Value, json};

use crate::harness::{Answer, Server};

/// Search is told from what a resource has, however little: its resources are not held to invariants.
pub const UNHELD: [(&str, &str); 1] = [("PLUMBLINE_VALIDATION__ENFORCE", "off")];

/// Stores resources, each under its own id, in one transaction.
fn load(server: &Server, resources: &[Value]) {
    let entries: Vec<Value> = resources
        .iter()
        .map(|resource| {
            let url = format!(
                "{}/{}",
                resource["resourceType"].as_str().expect("a type"),
                resource["id"].as_str().expect("an id")
            );
            json!({"resource": resource, "request": {"method": "PUT", "url": url}})
        })
        .collect();
    let answer = server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
    assert_eq!(answer.status, 200, "{answer}");
}

fn delete(server: &Server, names: &[&str]) {
    for name in names {
        assert_eq!(server.delete(name).status, 204, "DELETE {name}");
    }
}

/// Each search finds exactly these resources, in any order, each once; all differences are shown at once.
fn check(server: &Server, table: &[(&str, &[&str])]) {
    let mut faults = Vec::new();
    for (query, expected) in table {
        let answer = server.get(query);
        if answer.status != 200 {
            faults.push(format!("{query}: {answer}"));
            continue;
        }
        let mut found = server.ids(query);
        let mut expected = expected.to_vec();
        found.sort();
        expected.sort_unstable();
        if found != expected {
            faults.push(format!("{query}: found {found:?}, not {expected:?}"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The same, in this order.
fn check_in_order(server: &Server, table: &[(&str, &[&str])]) {
    let faults: Vec<String> = table
        .iter()
        .map(|(query, expected)| (query, server.ids(query), expected))
        .filter(|(_, found, expected)| found != *expected)
        .map(|(query, found, expected)| format!("{query}: found {found:?}, not {expected:?}"))
        .collect();
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Each search is answered 400 with an OperationOutcome that has an error.
fn refuse(server: &Server, queries: &[&str]) {
    let mut faults = Vec::new();
    for query in queries {
        let answer = server.get(query);
        let is_error =
            answer.body["resourceType"] == "OperationOutcome" && answer.body["issue"][0]["severity"] == "error";
        if answer.status != 400 || !is_error {
            faults.push(format!("{query}: {answer}"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// `Type/id` of the matches and of the included resources of one page, both sorted.
fn modes(server: &Server, query: &str) -> (Vec<String>, Vec<String>) {
    let answer = server.get(query);
    assert_eq!(answer.status, 200, "{query}: {answer}");
    (answer.names("match"), answer.names("include"))
}

/// One page: each search includes exactly these resources beside its matches.
fn check_included(server: &Server, table: &[(&str, &[&str])]) {
    let mut faults = Vec::new();
    for (query, expected) in table {
        let (_, included) = modes(server, query);
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        if included != expected {
            faults.push(format!("{query}: included {included:?}, not {expected:?}"));
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// The parameters of a link, decoded.
fn link_parameters(answer: &Answer, relation: &str) -> Vec<(String, String)> {
    let url = answer.link(relation).unwrap_or_else(|| panic!("a link {relation}: {answer}"));
    let query = url.split_once('?').map_or("", |(_, query)| query);
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
}

/// A request with `Prefer: handling=…`.
fn prefer(server: &Server, handling: &str, query: &str) -> Answer {
    Answer::of(server.request("GET", query).header("prefer", format!("handling={handling}")))
}

fn post_search(server: &Server, path: &str, form: &str) -> Answer {
    let request = server.request("POST", path).header("content-type", "application/x-www-form-urlencoded");
    Answer::of(request.body(form.to_owned()))
}

fn organization(id: &str, rest: Value) -> Value {
    resource("Organization", id, rest)
}

/// A resource of this type and id with the elements of `rest`.
fn resource(resource_type: &str, id: &str, rest: Value) -> Value {
    let mut resource = json!({"resourceType": resource_type, "id": id});
    let elements = rest.as_object().expect("an object").clone();
    resource.as_object_mut().expect("an object").extend(elements);
    resource
}
