//! What the whole of a directory promises: the same every time, sound numbers, nothing pointing outside.

use std::collections::HashMap;

use serde_json::Value;

use super::{Directory, npi_check_digit};

fn resources(practitioners: usize, seed: u64) -> Vec<Value> {
    Directory::new(practitioners, seed).resources().collect()
}

fn kind_and_id(resource: &Value) -> String {
    format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap())
}

/// Calls `visit` with every object inside `value`, itself included.
fn walk(value: &Value, visit: &mut impl FnMut(&serde_json::Map<String, Value>)) {
    match value {
        Value::Object(fields) => {
            visit(fields);
            fields.values().for_each(|field| walk(field, visit));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = |seed| resources(120, seed).iter().map(Value::to_string).collect::<String>();
    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn the_bytes_are_the_same_on_every_machine() {
    // FNV-1a, 64 bits; changes with any change of the generator, and only then.
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    for byte in resources(50, 1).iter().flat_map(|resource| resource.to_string().into_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    assert_eq!(format!("{hash:016x}"), "4576e1caad8c678c");
}

#[test]
fn counts_grow_with_the_practitioners() {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for resource in Directory::new(2_000, 1).resources() {
        *counts.entry(resource["resourceType"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    let count = |kind: &str| counts.get(kind).copied().unwrap_or(0);
    assert_eq!(count("Practitioner"), 2_000);
    assert!((2_800..3_200).contains(&count("PractitionerRole")), "{counts:?}");
    assert!((150..200).contains(&count("Location")), "{counts:?}");
    assert!((5_500..6_500).contains(&counts.values().sum::<usize>()), "{counts:?}");
    assert_eq!(counts.len(), 8);
}

#[test]
fn ids_are_valid_and_unique_and_every_reference_resolves() {
    for practitioners in [0, 1, 40, 1_000] {
        let all = resources(practitioners, 3);
        let mut known = HashMap::new();
        for resource in &all {
            let id = resource["id"].as_str().unwrap();
            assert!(id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-'), "{id}");
            assert!(known.insert(kind_and_id(resource), ()).is_none(), "{id} twice");
        }
        for resource in &all {
            walk(resource, &mut |fields| {
                if let Some(target) = fields.get("reference").and_then(Value::as_str) {
                    assert!(known.contains_key(target), "{} names {target}", kind_and_id(resource));
                }
            });
        }
    }
}

#[test]
fn npis_are_unique_and_pass_the_check() {
    let mut seen = HashMap::new();
    for resource in Directory::new(3_000, 5).resources() {
        for identifier in resource["identifier"].as_array().into_iter().flatten() {
            if identifier["system"] != "http://hl7.org/fhir/sid/us-npi" {
                continue;
            }
            let npi = identifier["value"].as_str().unwrap();
            assert!(npi.len() == 10 && npi.starts_with('1'), "{npi}");
            let number: u64 = npi.parse().unwrap();
            assert_eq!(npi_check_digit(number / 10), number % 10, "{npi}");
            assert!(seen.insert(npi.to_owned(), ()).is_none(), "{npi} twice");
        }
    }
    assert!(seen.len() > 3_000);
}

#[test]
fn sites_lie_near_their_city_inside_the_states() {
    let mut sites = 0;
    for resource in Directory::new(2_000, 9).resources() {
        let position = &resource["position"];
        if position.is_null() {
            continue;
        }
        sites += 1;
        let (latitude, longitude) = (position["latitude"].to_string(), position["longitude"].to_string());
        assert_eq!(latitude.split_once('.').unwrap().1.len(), 6, "{latitude}");
        let (latitude, longitude): (f64, f64) = (latitude.parse().unwrap(), longitude.parse().unwrap());
        assert!((24.5..49.4).contains(&latitude) && (-124.8..-66.9).contains(&longitude), "{latitude} {longitude}");
        let city = resource["address"]["city"].as_str().unwrap();
        let state = resource["address"]["state"].as_str().unwrap();
        let place = super::places::CITIES.iter().find(|c| c.name == city && c.state().code == state).unwrap();
        let north = (latitude - place.latitude as f64 / 1e6) * 111.2;
        let east = (longitude - place.longitude as f64 / 1e6) * 111.2 * latitude.to_radians().cos();
        assert!(north.hypot(east) < 15.0, "{city}: {north} {east}");
    }
    assert!(sites >= 166);
}

#[test]
fn every_role_can_be_reached_and_nothing_is_empty() {
    for resource in resources(500, 11) {
        if resource["resourceType"] == "PractitionerRole" {
            assert!(resource["telecom"].is_array());
        }
        walk(&resource, &mut |fields| {
            for (name, value) in fields {
                let empty = match value {
                    Value::Null => true,
                    Value::String(text) => text.trim().is_empty(),
                    Value::Array(items) => items.is_empty(),
                    Value::Object(fields) => fields.is_empty(),
                    _ => false,
                };
                assert!(!empty, "{name} in {}", kind_and_id(&resource));
            }
        });
    }
}

#[test]
fn a_search_for_the_start_of_a_name_finds_some_dozens() {
    let found = (0..20_000)
        .filter(|&index| {
            let mut random = super::random::Random::new(1, super::random::Stream::Person, index);
            super::names::person_name(&mut random).family.starts_with("Smi")
        })
        .count();
    assert!((30..100).contains(&found), "{found}");
}
