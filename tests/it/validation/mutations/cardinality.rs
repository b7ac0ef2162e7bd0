//! Kinds a and b: fewer than the minimum, more than the maximum.

use super::bench::{Bench, Expected};
use super::model::{Node, Schemas, Subject};
use super::rules::Rules;
use serde_json::{Value, json};

pub fn derive(schemas: &Schemas, subject: &Subject, bench: &mut Bench) {
    for node in subject.nodes.iter().filter(|node| node.value.is_object()) {
        for child in schemas.children(&node.rules, &node.kind) {
            too_few(subject, node, &child, bench);
            too_many(subject, node, &child, bench);
        }
        for slice in schemas.slices(&node.rules, &node.kind) {
            slice_bounds(schemas, subject, node, &slice, bench);
        }
    }
    two_categories(subject, bench);
}

fn too_few(subject: &Subject, node: &Node, child: &Rules, bench: &mut Bench) {
    let Some(property) = child.property(&node.value).filter(|_| child.min > 0) else {
        return;
    };
    // An object left with nothing would break a second rule (ele-1).
    if node.value.as_object().is_some_and(|object| object.len() == 1) {
        return;
    }
    let at = format!("{}.{}", node.at, child.path_name());
    let resource = || subject.with(&node.pointer, |object| remove(object, property));
    bench.add(subject, ('a', "removed", &child.key), &at, resource, vec![Expected::new("required", &at)]);
}

fn too_many(subject: &Subject, node: &Node, child: &Rules, bench: &mut Bench) {
    let Some(max) = child.max else { return };
    let at = format!("{}.{}", node.at, child.path_name());
    let present = child.property(&node.value).map(str::to_owned);
    if max == 0 {
        let Some((property, value)) = sample(child).filter(|_| present.is_none()) else {
            return;
        };
        let typed = format!("{at}.ofType(string)");
        let places = if child.name.ends_with("[x]") { vec![at.clone(), typed] } else { vec![at.clone()] };
        let resource = || subject.with(&node.pointer, |object| object[property] = value);
        let expected = vec![Expected::either("structure", places)];
        bench.add(subject, ('b', "prohibited element", &child.shared), &at, resource, expected);
        return;
    }
    let Some(property) = present else { return };
    if child.repeats {
        let resource = || {
            subject.with(&node.pointer, |object| {
                let items = object[&property].as_array_mut().expect("an array");
                let item = items[0].clone();
                items.resize(usize::try_from(max).unwrap() + 1, item);
            })
        };
        bench.add(subject, ('b', "one too many", &child.key), &at, resource, vec![Expected::new("structure", &at)]);
        return;
    }
    // The usual slip of a producer; a reader that takes the first item would not notice.
    let resource = || subject.with(&node.pointer, |object| object[&property] = json!([object[&property]]));
    let expected = vec![Expected::either("structure", typed_places(&at, child, &property))];
    bench.add(subject, ('b', "array of one", &child.shared), &at, resource, expected);
}

/// The places of an element that is an array but must not be: some name the array, some its first item.
fn typed_places(at: &str, child: &Rules, property: &str) -> Vec<String> {
    let mut places = vec![at.to_owned(), format!("{at}[0]")];
    if let Some(kind) = child.takes(property).filter(|_| child.name.ends_with("[x]")) {
        places.extend([format!("{at}.ofType({kind})"), format!("{at}.ofType({kind})[0]")]);
    }
    places
}

fn slice_bounds(schemas: &Schemas, subject: &Subject, node: &Node, slice: &Rules, bench: &mut Bench) {
    let Some(items) = node.value[&slice.name].as_array() else {
        return;
    };
    let of_slice = |item: &Value| schemas.matches(slice, &slice.name, item);
    let Some(item) = items.iter().find(|item| of_slice(item)) else {
        return;
    };
    let at = format!("{}.{}", node.at, slice.name);
    if slice.min > 0 {
        let resource = || {
            subject.with(&node.pointer, |object| {
                object[&slice.name].as_array_mut().expect("an array").retain(|item| !of_slice(item));
                if object[&slice.name].as_array().is_some_and(Vec::is_empty) {
                    remove(object, &slice.name);
                }
            })
        };
        let expected = vec![Expected::new("required", &at)];
        bench.add(subject, ('a', "slice removed", &slice.key), &at, resource, expected);
    }
    if let Some(max) = slice.max.filter(|&max| max > 0) {
        let present = items.iter().filter(|item| of_slice(item)).count();
        let resource = || {
            subject.with(&node.pointer, |object| {
                let items = object[&slice.name].as_array_mut().expect("an array");
                items.extend(vec![item.clone(); usize::try_from(max).unwrap() + 1 - present]);
            })
        };
        let expected = vec![Expected::new("structure", &at)];
        bench.add(subject, ('b', "slice once too often", &slice.shared), &at, resource, expected);
    }
}

/// The slice plan-net-category takes every category of its value set: the second one is one too many.
fn two_categories(subject: &Subject, bench: &mut Bench) {
    if subject.root().kind != "HealthcareService" {
        return;
    }
    let system = "http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/HealthcareServiceCategoryCS";
    let at = "HealthcareService.category";
    let resource = || {
        subject.with("/category", |items| {
            items.as_array_mut().unwrap().push(json!({ "coding": [{ "system": system, "code": "vis" }] }));
        })
    };
    let expected = vec![Expected::new("structure", at)];
    bench.add(subject, ('b', "two plan-net categories", at), at, resource, expected);
}

/// A value for an element that must not be there.
fn sample(child: &Rules) -> Option<(&'static str, Value)> {
    match child.name.as_str() {
        "value[x]" => Some(("valueString", json!("surplus"))),
        "extension" => Some(("extension", json!([{ "url": "http://example.org/surplus", "valueString": "surplus" }]))),
        "mode" => Some(("mode", json!("instance"))),
        "telecom" => Some(("telecom", json!([{ "system": "phone", "value": "(111)-222-3333" }]))),
        _ => None,
    }
}

pub fn remove(object: &mut Value, property: &str) {
    object.as_object_mut().expect("an object").shift_remove(property);
}
