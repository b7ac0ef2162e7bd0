//! `Location?near=…`: distances on the globe (R4 location.html#positional).

use serde_json::{Value, json};

use super::{check, check_in_order, load, refuse, resource};
use crate::harness::on_both;

fn place(id: &str, latitude: f64, longitude: f64) -> Value {
    resource("Location", id, json!({"position": {"latitude": latitude, "longitude": longitude}}))
}

/// Along a meridian a degree is 111.195 km.
fn north_of(id: &str, latitude: f64, longitude: f64, km: f64) -> Value {
    place(id, latitude + km / 111.195, longitude)
}

on_both! {
    fn near_finds_what_lies_within_the_distance_in_any_unit(server) {
        load(server, &[
            place("here", 42.0, -71.0), north_of("k1", 42.0, -71.0, 0.99), north_of("k5", 42.0, -71.0, 5.0), north_of("k9", 42.0, -71.0, 9.0),
            north_of("k45", 42.0, -71.0, 45.0), north_of("k500", 42.0, -71.0, 500.0), resource("Location", "nowhere", json!({"name": "Nowhere"})),
        ]);
        check(server, &[
            ("Location?near=42|-71|10|km", &["here", "k1", "k5", "k9"]),
            ("Location?near=42.0|-71.0|10", &["here", "k1", "k5", "k9"]),
            ("Location?near=42.0%7C-71.0%7C10%7Ckm", &["here", "k1", "k5", "k9"]),
            ("Location?near=42|-71|1000|m", &["here", "k1"]),
            ("Location?near=42|-71|5.5|[mi_i]", &["here", "k1", "k5"]),
            ("Location?near=42|-71|5.6|[mi_us]", &["here", "k1", "k5", "k9"]),
            ("Location?near=42|-71|0|km", &["here"]),
            ("Location?near=42|-71|0.5", &["here"]),
            // The default distance is 50 km.
            ("Location?near=42|-71", &["here", "k1", "k5", "k9", "k45"]),
            ("Location?near=42|-71||km", &["here", "k1", "k5", "k9", "k45"]),
            ("Location?near=42|-71|20000", &["here", "k1", "k5", "k9", "k45", "k500"]),
            ("Location?near=42|-71|99999999", &["here", "k1", "k5", "k9", "k45", "k500"]),
            ("Location?near=42|-71|1,46.49662|-71|1", &["here", "k1", "k500"]),
            ("Location?near=42|-71|6&near=42.0809|-71|6", &["k5"]),
            ("Location?near=-42|109|10000", &[]),
        ]);
    }

    fn a_distance_of_nothing_finds_the_place_itself_wherever_it_is(server) {
        let spots: Vec<(f64, f64)> = vec![
            (42.25, -71.25), (0.0, 0.0), (-0.25, 0.25), (33.75, -117.5), (61.25, -149.75), (10.5, 20.75), (-33.5, 151.25), (90.0, 0.0), (-90.0, 0.0),
            (47.5, 180.0), (48.75, -180.0), (5.25, -0.25), (29.75, -95.5), (41.0, -87.75),
        ];
        let places: Vec<Value> = spots.iter().enumerate().map(|(n, (latitude, longitude))| place(&format!("p{n}"), *latitude, *longitude)).collect();
        load(server, &places);
        let rows: Vec<(String, String)> =
            spots.iter().enumerate().map(|(n, (latitude, longitude))| (format!("Location?near={latitude}|{longitude}|0.001"), format!("p{n}"))).collect();
        for (query, id) in &rows {
            check(server, &[(query, &[id])]);
        }
        for (query, id) in rows.iter().map(|(query, id)| (query.replace("|0.001", "|0"), id)) {
            check(server, &[(&query, &[id])]);
        }
    }

    fn near_works_across_the_date_line_and_round_the_poles(server) {
        load(server, &[
            place("west", -16.8, 179.99), place("east", -16.8, -179.99), place("line", -16.8, 180.0), place("far", -16.8, 178.0),
            place("pole", 90.0, 0.0), place("p0", 89.99, 0.0), place("p90", 89.99, 90.0), place("p180", 89.99, 180.0), place("south", -89.999, 45.0),
            place("south2", -89.999, -135.0),
        ]);
        check(server, &[
            ("Location?near=-16.8|180|5", &["west", "east", "line"]),
            ("Location?near=-16.8|-180|5", &["west", "east", "line"]),
            ("Location?near=-16.8|179.995|5", &["west", "east", "line"]),
            ("Location?near=-16.8|-179.999|2.5", &["west", "east", "line"]),
            ("Location?near=-16.8|179.0|150", &["west", "east", "line", "far"]),
            ("Location?near=90|77|2", &["pole", "p0", "p90", "p180"]),
            ("Location?near=89.99|0|1.2", &["pole", "p0"]),
            ("Location?near=89.99|0|1.6", &["pole", "p0", "p90"]),
            ("Location?near=89.99|0|2.3", &["pole", "p0", "p90", "p180"]),
            ("Location?near=-90|0|1", &["south", "south2"]),
            ("Location?near=-89.999|45|0.3", &["south", "south2"]),
        ]);
    }

    fn the_entry_tells_the_distance(server) {
        load(server, &[north_of("k5", 42.0, -71.0, 5.0), north_of("k9", 42.0, -71.0, 9.0)]);
        let answer = server.get("Location?near=42|-71|20|km");
        let distances: Vec<f64> = answer.body["entry"].as_array().expect("entries").iter().map(|entry| {
            assert_eq!(entry["search"]["mode"], "match", "{answer}");
            let extension = &entry["search"]["extension"][0];
            assert_eq!(extension["url"], "http://hl7.org/fhir/StructureDefinition/location-distance", "{answer}");
            assert_eq!(extension["valueDistance"]["code"], "km");
            assert_eq!(extension["valueDistance"]["system"], "http://unitsofmeasure.org");
            extension["valueDistance"]["value"].as_f64().expect("a number")
        }).collect();
        assert!((distances[0] - 5.0).abs() < 0.01 && (distances[1] - 9.0).abs() < 0.01, "{distances:?}");
        let plain = server.get("Location?_id=k5");
        assert!(plain.body["entry"][0]["search"]["extension"].is_null(), "{plain}");
    }

    fn results_are_sorted_by_distance(server) {
        load(server, &[
            north_of("k9", 42.0, -71.0, 9.0), north_of("k1", 42.0, -71.0, 1.0), north_of("k5", 42.0, -71.0, 5.0), place("here", 42.0, -71.0),
            north_of("k1b", 42.0, -71.0, -1.1), north_of("k500", 42.0, -71.0, 500.0),
        ]);
        check_in_order(server, &[
            ("Location?near=42|-71|10&_sort=near", &["here", "k1", "k1b", "k5", "k9"]),
            ("Location?near=42|-71|10&_sort=-near", &["k9", "k5", "k1b", "k1", "here"]),
            ("Location?near=42|-71|10&_sort=near&_count=2", &["here", "k1", "k1b", "k5", "k9"]),
            ("Location?_sort=near&near=42|-71|1000&_count=1", &["here", "k1", "k1b", "k5", "k9", "k500"]),
        ]);
    }

    fn near_works_through_chains_and_with_other_parameters(server) {
        let role = |id: &str, location: &str, specialty: &str| resource("PractitionerRole", id, json!({
            "location": [{"reference": format!("Location/{location}")}],
            "specialty": [{"coding": [{"system": "http://nucc.org/provider-taxonomy", "code": specialty}]}],
        }));
        load(server, &[
            place("close", 42.0, -71.0), place("away", 30.0, -90.0),
            role("heart-close", "close", "207RC0000X"), role("heart-away", "away", "207RC0000X"), role("skin-close", "close", "207N00000X"),
            resource("HealthcareService", "service", json!({"location": [{"reference": "Location/close"}]})),
        ]);
        check(server, &[
            ("PractitionerRole?location.near=42|-71|10|km", &["heart-close", "skin-close"]),
            ("PractitionerRole?location:Location.near=42|-71|10|km", &["heart-close", "skin-close"]),
            ("PractitionerRole?location.near=42|-71|10|km&specialty=207RC0000X", &["heart-close"]),
            ("PractitionerRole?location.near=30|-90|10|km,42|-71|10|km&specialty=207RC0000X", &["heart-close", "heart-away"]),
            ("HealthcareService?location.near=42|-71", &["service"]),
            ("Location?_has:PractitionerRole:location:specialty=207RC0000X&near=42|-71|10", &["close"]),
            ("Location?near=42|-71|10&_id=away", &[]),
        ]);
    }

    fn what_is_no_position_is_refused(server) {
        refuse(server, &[
            "Location?near=42", "Location?near=x|y", "Location?near=91|0", "Location?near=0|181", "Location?near=42|-71|-1|km", "Location?near=42|-71|x|km",
            "Location?near=42|-71|10|parsec", "Location?near=42|-71|10|KM", "Location?near=42|-71|10|km|x", "Location?near:missing=true",
            "Location?near:not=42|-71", "Location?near=42|-71,x", "Organization?near=42|-71", "Location?near=NaN|0", "Location?near=42|-71|inf",
        ]);
    }
}
