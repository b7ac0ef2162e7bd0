use serde_json::{Value, json};

use super::{
    assert_refused, bundle, call, entry, entry_as, location, organization, organization_as, send_json, statuses,
    stored, version, versions_of_all,
};
use crate::harness::{Answer, Server, on_both};

const URN: &str = "urn:uuid:7f3c6e0a-2f3b-4f3e-9b1a-0d3f5b1c2a4d";
const OTHER_URN: &str = "urn:uuid:0b0e6c58-1a5f-4d0e-8e0f-6d2a3f4b5c6d";

fn transaction(server: &Server, entries: &[Value]) -> Answer {
    server.post("", &bundle("transaction", entries))
}

/// A transaction that succeeds.
fn done(server: &Server, entries: &[Value]) -> Answer {
    let answer = transaction(server, entries);
    assert_eq!((answer.status, &answer.body["type"]), (200, &json!("transaction-response")), "{answer}");
    assert_eq!(statuses(&answer).len(), entries.len());
    answer
}

/// A transaction that is refused as a whole and leaves nothing behind.
fn refused(server: &Server, entries: &[Value]) -> Answer {
    let before = versions_of_all(server);
    let answer = transaction(server, entries);
    assert!((400..500).contains(&answer.status), "{answer}");
    assert_refused(&answer, answer.status);
    assert_eq!(versions_of_all(server), before, "nothing is stored: {answer}");
    answer
}

fn location_of(reference: &str) -> Value {
    json!({"resourceType": "Location", "name": "Here", "managingOrganization": {"reference": reference}})
}

fn replace_name(name: &str) -> Value {
    json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": [
        {"name": "type", "valueCode": "replace"}, {"name": "path", "valueString": "Organization.name"}, {"name": "value", "valueString": name}]}]})
}

fn with(mut entry: Value, name: &str, value: &str) -> Value {
    entry["request"][name] = json!(value);
    entry
}

/// All orders of three entries.
fn orders(entries: &[Value; 3]) -> Vec<Vec<Value>> {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
        .iter()
        .map(|order| order.iter().map(|n| entries[*n].clone()).collect())
        .collect()
}

on_both! {
    fn each_entry_is_answered_in_its_place(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &organization_as("bolt", "Bolt"));
        stored(server, &organization_as("coil", "Coil"));
        let answer = done(server, &[
            call("GET", "Organization/bolt"),
            entry("PATCH", "Organization/acme", replace_name("Patched")),
            entry("PUT", "Organization/bolt", organization_as("bolt", "Changed")),
            entry_as(URN, "POST", "Organization", organization("New")),
            call("DELETE", "Organization/coil"),
            call("HEAD", "Organization/acme"),
        ]);
        assert_eq!(statuses(&answer), ["200", "200", "200", "201", "204", "200"], "{answer}");
        let entries = answer.body["entry"].as_array().expect("entries");
        assert_eq!(entries[0]["resource"]["name"], "Changed", "a GET sees what the others did");
        assert!(entries[5].get("resource").is_none(), "{answer}");
        for n in [1, 2, 3] {
            assert!(entries[n]["response"]["etag"].is_string() && entries[n]["response"]["lastModified"].is_string(), "{}", entries[n]);
            let read = server.get(&location(&answer, n));
            assert_eq!(entries[n]["response"]["etag"], format!("W/\"{}\"", version(&read)));
        }
        assert_eq!(server.get("Organization/acme").body["name"], "Patched");
        assert_eq!(server.get(&location(&answer, 3)).body["name"], "New");
        assert_eq!(server.get("Organization/coil").status, 410);
    }

    fn an_empty_transaction_is_no_error(server) {
        let answer = done(server, &[]);
        assert!(answer.body.get("entry").is_none(), "{answer}");
    }

    fn one_failing_entry_leaves_nothing_stored(server) {
        stored(server, &organization_as("acme", "Acme"));
        let failing = [
            entry("POST", "Organization", json!({"resourceType": "Organization", "nmae": "x"})),
            entry("POST", "Location", organization("x")),
            entry("PUT", "Organization/one", organization_as("two", "x")),
            with(entry("PUT", "Organization/acme", organization_as("acme", "x")), "ifMatch", "W/\"7\""),
            with(call("DELETE", "Organization/acme"), "ifMatch", "W/\"7\""),
            entry("PATCH", "Organization/nobody", replace_name("x")),
            entry("PATCH", "Organization/acme", json!({"resourceType": "Parameters", "parameter": [{"name": "operation", "part": []}]})),
            call("GET", "Organization/nobody"),
            call("GET", "Organization?colour=red"),
            entry("POST", "Patient", json!({"resourceType": "Patient"})),
            json!({"resource": organization("x")}),
            call("POST", "Organization"),
            entry("POST", "Location", location_of("Organization?identifier=urn:test|Nobody")),
        ];
        for entry_that_fails in failing {
            let good = [entry_as(URN, "POST", "Organization", organization("New")), entry("PUT", "Organization/bolt", organization_as("bolt", "Bolt"))];
            refused(server, &[good[0].clone(), entry_that_fails.clone(), good[1].clone()]);
            assert_eq!(server.ids("Organization"), ["acme"]);
        }
        assert_eq!(server.get("Organization/bolt").status, 404);
    }

    fn the_refusal_names_the_entry(server) {
        let answer = refused(server, &[entry("POST", "Organization", organization("New")), entry("POST", "Organization", json!({"resourceType": "Organization", "nmae": "x"}))]);
        assert!(answer.issue().3.starts_with("Bundle.entry[1]"), "{answer}");
    }

    fn a_deletion_is_rolled_back_too(server) {
        stored(server, &organization_as("acme", "Acme"));
        refused(server, &[call("DELETE", "Organization/acme"), call("GET", "Organization/nobody")]);
        assert_eq!(server.ids("Organization?name=acme"), ["acme"]);
    }

    fn links_to_an_entry_become_links_to_its_resource(server) {
        let role = json!({
            "resourceType": "PractitionerRole",
            "text": {"status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\"><a href=\"{URN}\">x</a> {URN}</div>")},
            "contained": [{"resourceType": "Endpoint", "id": "e", "status": "active", "connectionType": {"code": "x"}, "payloadType": [{"text": "x"}],
                "address": "http://e.example/", "managingOrganization": {"reference": URN}}],
            "extension": [
                {"url": "http://test.example/reference", "valueReference": {"reference": URN}},
                {"url": "http://test.example/uri", "valueUri": URN},
                {"url": "http://test.example/canonical", "valueCanonical": URN},
                {"url": "http://test.example/string", "valueString": URN},
                {"url": "http://test.example/nested", "extension": [{"url": "inner", "valueReference": {"reference": URN}}]},
            ],
            "_active": {"extension": [{"url": "http://test.example/reference", "valueReference": {"reference": URN}}]},
            "organization": {"reference": URN, "display": URN},
            "location": [{"reference": "Location/elsewhere"}, {"reference": "http://elsewhere.example/fhir/Location/x"}, {"reference": "urn:uuid:11111111-2222-4333-8444-555555555555"}],
            "endpoint": [{"reference": "#e"}],
        });
        // The entry that is referred to comes last.
        let answer = done(server, &[entry_as(OTHER_URN, "POST", "PractitionerRole", role.clone()), entry_as(URN, "POST", "Organization", organization("Acme"))]);
        let acme = location(&answer, 1);
        let read = server.get(&location(&answer, 0)).body;
        for pointer in ["/organization/reference", "/extension/0/valueReference/reference", "/extension/1/valueUri", "/extension/4/extension/0/valueReference/reference",
            "/contained/0/managingOrganization/reference", "/_active/extension/0/valueReference/reference"] {
            assert_eq!(read.pointer(pointer), Some(&json!(acme)), "{pointer} of {read}");
        }
        for pointer in ["/extension/2/valueCanonical", "/extension/3/valueString", "/organization/display", "/location", "/endpoint"] {
            assert_eq!(read.pointer(pointer), role.pointer(pointer), "{pointer} stays");
        }
        let div = read["text"]["div"].as_str().expect("a narrative");
        assert!(div.contains(&format!("href=\"{acme}\"")) && div.contains(&format!("</a> {URN}")), "{div}");
        let name = acme.trim_start_matches("Organization/");
        assert_eq!(server.ids(&format!("PractitionerRole?organization={name}")).len(), 1, "a search follows the new link");
    }

    fn what_two_entries_create_under_one_condition_is_one_resource(server) {
        let twin = |urn: &str| with(entry_as(urn, "POST", "Organization", organization("Acme")), "ifNoneExist", "identifier=urn:test|Acme");
        let at = |urn: &str| json!({"resourceType": "Location", "name": "X", "managingOrganization": {"reference": urn}});
        let answer = done(server, &[twin(URN), twin(OTHER_URN), entry("POST", "Location", at(OTHER_URN))]);
        assert_eq!(statuses(&answer), ["201", "200", "201"], "{answer}");
        assert_eq!(server.ids("Organization").len(), 1);
        assert_eq!(location(&answer, 0), location(&answer, 1));
        assert_eq!(server.get(&location(&answer, 2)).body["managingOrganization"]["reference"], location(&answer, 0));
    }

    fn an_entry_says_what_it_expects(server) {
        stored(server, &organization_as("acme", "Acme"));
        let put = |name: &str, value: &str| with(entry("PUT", "Organization/acme", organization_as("acme", "Changed")), name, value);
        let new = || with(entry("PUT", "Organization/new", organization_as("new", "New")), "ifNoneMatch", "*");
        for expectation in [put("ifMatch", "W/\"7\""), put("ifNoneMatch", "*"), with(call("DELETE", "Organization?name=acme"), "ifMatch", "W/\"7\"")] {
            refused(server, &[new(), expectation]);
            assert_eq!(server.ids("Organization"), ["acme"]);
        }
        done(server, &[new(), put("ifMatch", "*")]);
        assert_eq!(server.get("Organization/acme").body["name"], "Changed");
    }

    fn entries_may_refer_to_each_other_in_a_circle(server) {
        let part_of = |urn: &str, name: &str| {
            let mut resource = organization(name);
            resource["partOf"] = json!({"reference": urn});
            resource
        };
        let answer = done(server, &[entry_as(URN, "POST", "Organization", part_of(OTHER_URN, "One")), entry_as(OTHER_URN, "POST", "Organization", part_of(URN, "Two"))]);
        let (one, two) = (location(&answer, 0), location(&answer, 1));
        assert_eq!(server.get(&one).body["partOf"]["reference"], two);
        assert_eq!(server.get(&two).body["partOf"]["reference"], one);
    }

    fn an_absolute_fullurl_under_another_base_is_read_as_this_base(server) {
        let other = "http://elsewhere.example/fhir";
        let answer = done(server, &[
            entry_as(&format!("{other}/Organization/acme"), "PUT", "Organization/acme", organization_as("acme", "Acme")),
            entry_as(&format!("{other}/Location/1"), "POST", "Location", location_of(&format!("{other}/Organization/acme"))),
            entry_as(&format!("{other}/Location/2"), "POST", "Location", location_of("Organization/acme")),
        ]);
        for n in [1, 2] {
            assert_eq!(server.get(&location(&answer, n)).body["managingOrganization"]["reference"], "Organization/acme");
        }
        assert_eq!(server.ids("Location?organization=acme").len(), 2);
    }

    fn a_post_under_an_absolute_fullurl_gets_a_new_id_and_its_links_follow(server) {
        let full_url = "http://elsewhere.example/fhir/Organization/x";
        let mut resource = organization_as("x", "Acme");
        resource["alias"] = json!(["a"]);
        let answer = done(server, &[entry_as(OTHER_URN, "POST", "Location", location_of(full_url)), entry_as(full_url, "POST", "Organization", resource)]);
        let acme = location(&answer, 1);
        assert_ne!(acme, "Organization/x", "ids of POST entries are new");
        assert_eq!(server.get(&location(&answer, 0)).body["managingOrganization"]["reference"], acme);
    }

    fn a_version_specific_link_stays_version_specific(server) {
        let answer = done(server, &[entry_as(URN, "POST", "Organization", organization("Acme")), entry("POST", "Location", location_of(&format!("{URN}/_history/1")))]);
        let read = server.get(&location(&answer, 1)).body;
        assert_eq!(read["managingOrganization"]["reference"], format!("{}/_history/1", location(&answer, 0)));
    }

    fn a_conditional_reference_finds_what_is_here(server) {
        stored(server, &organization_as("acme", "Acme"));
        let mut resource = location_of("Organization?identifier=urn:test|Acme");
        resource["extension"] = json!([{"url": "http://test.example/e", "valueReference": {"reference": "Organization?name=acme"}}]);
        let answer = done(server, &[entry("POST", "Location", resource)]);
        let read = server.get(&location(&answer, 0)).body;
        assert_eq!((&read["managingOrganization"]["reference"], &read["extension"][0]["valueReference"]["reference"]), (&json!("Organization/acme"), &json!("Organization/acme")));
        assert_eq!(server.ids("Location?organization=acme").len(), 1);
    }

    fn a_conditional_reference_finds_what_the_same_transaction_makes(server) {
        let entries = [
            entry("POST", "Location", location_of("Organization?identifier=urn:test|Acme")),
            entry_as(URN, "POST", "Organization", organization("Acme")),
            entry("PUT", "Organization/bolt", organization_as("bolt", "Bolt")),
        ];
        for order in orders(&entries) {
            let answer = done(server, &order);
            let place = |name: &str| order.iter().position(|entry| entry["resource"]["resourceType"] == name && entry["request"]["method"] == "POST").expect("it");
            let (here, acme) = (location(&answer, place("Location")), location(&answer, place("Organization")));
            let read = server.get(&here);
            assert_eq!((read.body["managingOrganization"]["reference"].as_str(), version(&read)), (Some(acme.as_str()), "1"), "{read}");
            assert_eq!((server.delete(&here).status, server.delete(&acme).status), (204, 204));
        }
    }

    fn a_conditional_reference_follows_a_change_and_a_deletion_in_the_same_transaction(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &organization_as("bolt", "Bolt"));
        let by_new_name = [entry("POST", "Location", location_of("Organization?name=changed")), entry("PUT", "Organization/acme", organization_as("acme", "Changed"))];
        let answer = done(server, &by_new_name);
        assert_eq!(server.get(&location(&answer, 0)).body["managingOrganization"]["reference"], "Organization/acme");
        let patched = [entry("POST", "Location", location_of("Organization?name=patched")), entry("PATCH", "Organization/bolt", replace_name("Patched"))];
        let answer = done(server, &patched);
        assert_eq!(server.get(&location(&answer, 0)).body["managingOrganization"]["reference"], "Organization/bolt");
        refused(server, &[entry("POST", "Location", location_of("Organization?name=changed")), call("DELETE", "Organization/acme")]);
    }

    fn a_conditional_reference_with_no_or_several_matches_fails_the_transaction(server) {
        refused(server, &[entry("POST", "Location", location_of("Organization?identifier=urn:test|Acme"))]);
        stored(server, &organization_as("one", "Acme"));
        stored(server, &organization_as("two", "Acme"));
        refused(server, &[entry("POST", "Location", location_of("Organization?identifier=urn:test|Acme"))]);
        refused(server, &[entry("POST", "Location", location_of("Organization?_count=1"))]);
        refused(server, &[entry("POST", "Location", location_of("Patient?name=x"))]);
    }

    fn a_conditional_create_that_finds_something_stands_for_it(server) {
        stored(server, &organization_as("acme", "Acme"));
        let conditional = with(entry_as(URN, "POST", "Organization", organization("Acme")), "ifNoneExist", "identifier=urn:test|Acme");
        let answer = done(server, &[entry("POST", "Location", location_of(URN)), conditional]);
        assert_eq!(statuses(&answer), ["201", "200"], "{answer}");
        assert_eq!(location(&answer, 1), "Organization/acme");
        assert_eq!(server.get(&location(&answer, 0)).body["managingOrganization"]["reference"], "Organization/acme");
        assert_eq!(server.ids("Organization").len(), 1);
    }

    fn a_conditional_create_that_finds_nothing_creates(server) {
        let conditional = with(entry_as(URN, "POST", "Organization", organization("Acme")), "ifNoneExist", "identifier=urn:test|Acme");
        let answer = done(server, &[conditional.clone(), entry("POST", "Location", location_of(URN))]);
        assert_eq!(statuses(&answer), ["201", "201"], "{answer}");
        assert_eq!(server.get(&location(&answer, 1)).body["managingOrganization"]["reference"], location(&answer, 0));
        stored(server, &organization_as("twin", "Acme"));
        assert_eq!(refused(server, &[conditional]).status, 412);
    }

    fn conditional_updates_patches_and_deletes_work(server) {
        for id in ["acme", "bolt", "coil"] {
            stored(server, &organization_as(id, id));
        }
        let mut changed = organization("acme");
        changed["alias"] = json!(["A"]);
        let answer = done(server, &[
            entry("PUT", "Organization?identifier=urn:test|acme", changed),
            entry("PATCH", "Organization?identifier=urn:test|bolt", replace_name("Patched")),
            call("DELETE", "Organization?identifier=urn:test|coil"),
            entry("PUT", "Organization?identifier=urn:test|fresh", organization("fresh")),
            call("DELETE", "Organization?identifier=urn:test|nobody"),
        ]);
        assert_eq!(statuses(&answer), ["200", "200", "204", "201", "204"], "{answer}");
        assert_eq!(server.get("Organization/acme").body["alias"], json!(["A"]));
        assert_eq!(server.get("Organization/bolt").body["name"], "Patched");
        assert_eq!(server.get("Organization/coil").status, 410);
        stored(server, &organization_as("twin", "acme"));
        for ambiguous in [entry("PUT", "Organization?identifier=urn:test|acme", organization("acme")), entry("PATCH", "Organization?identifier=urn:test|acme", replace_name("x"))] {
            assert_eq!(refused(server, &[ambiguous]).status, 412);
        }
        assert_eq!(refused(server, &[entry("PATCH", "Organization?identifier=urn:test|nobody", replace_name("x"))]).status, 404);
    }

    fn a_resource_written_twice_fails_the_transaction(server) {
        stored(server, &organization_as("acme", "Acme"));
        let put = entry("PUT", "Organization/acme", organization_as("acme", "Changed"));
        for other in [
            entry("PUT", "Organization/acme", organization_as("acme", "Other")),
            entry("PATCH", "Organization/acme", replace_name("x")),
            call("DELETE", "Organization/acme"),
            entry("PUT", "Organization?identifier=urn:test|Acme", organization("x")),
            entry("PATCH", "Organization?identifier=urn:test|Acme", replace_name("x")),
            call("DELETE", "Organization?identifier=urn:test|Acme"),
        ] {
            refused(server, &[put.clone(), other.clone()]);
            refused(server, &[other, put.clone()]);
        }
        refused(server, &[call("DELETE", "Organization/acme"), call("DELETE", "Organization?name=acme")]);
    }

    fn a_fullurl_used_twice_fails_the_transaction(server) {
        refused(server, &[entry_as(URN, "POST", "Organization", organization("One")), entry_as(URN, "POST", "Organization", organization("Two"))]);
    }

    fn the_order_of_entries_does_not_matter(server) {
        let entries = [
            call("DELETE", "Organization/old"),
            entry_as(URN, "POST", "Organization", organization("New")),
            call("GET", "Organization?active=true"),
        ];
        for order in orders(&entries) {
            stored(server, &organization_as("old", "Old"));
            let answer = done(server, &order);
            let place = |method: &str| order.iter().position(|entry| entry["request"]["method"] == method).expect("it");
            let new = location(&answer, place("POST"));
            let found = &answer.body["entry"][place("GET")]["resource"]["entry"];
            let names: Vec<&Value> = found.as_array().map(Vec::as_slice).unwrap_or_default().iter().map(|entry| &entry["resource"]["name"]).collect();
            assert_eq!(names, [&json!("New")], "{answer}");
            assert_eq!(server.delete(&new).status, 204);
        }
    }

    fn a_deletion_makes_room_for_a_conditional_create(server) {
        let conditional = with(entry("POST", "Organization", organization("Acme")), "ifNoneExist", "identifier=urn:test|Acme");
        for entries in [[call("DELETE", "Organization/acme"), conditional.clone()], [conditional.clone(), call("DELETE", "Organization/acme")]] {
            stored(server, &organization_as("acme", "Acme"));
            let answer = done(server, &entries);
            assert!(statuses(&answer).contains(&"201"), "{answer}");
            assert_eq!(server.get("Organization/acme").status, 410);
            let made = server.ids("Organization");
            assert_eq!(made.len(), 1);
            server.delete(&format!("Organization/{}", made[0]));
        }
    }

    fn conditions_in_concurrent_transactions_make_one_resource(server) {
        let conditional = with(entry("POST", "Organization", organization("Acme")), "ifNoneExist", "identifier=urn:test|Acme");
        let transactions = [vec![conditional.clone()], vec![call("DELETE", "Organization/nobody"), conditional]];
        std::thread::scope(|scope| {
            for n in 0..6 {
                let entries = &transactions[n % 2];
                scope.spawn(move || done(server, entries));
            }
        });
        assert_eq!(server.ids("Organization?identifier=urn:test|Acme").len(), 1);
    }

    fn if_match_is_heeded_in_every_kind_of_entry(server) {
        for id in ["acme", "bolt", "coil"] {
            stored(server, &organization_as(id, id));
        }
        let entries = |tag: &str| {
            [
                with(entry("PUT", "Organization/acme", organization_as("acme", "Changed")), "ifMatch", tag),
                with(entry("PATCH", "Organization/bolt", replace_name("Changed")), "ifMatch", tag),
                with(call("DELETE", "Organization/coil"), "ifMatch", tag),
            ]
        };
        for stale in entries("W/\"2\"") {
            assert_eq!(refused(server, &[stale, entry("POST", "Organization", organization("New"))]).status, 412);
        }
        let answer = done(server, &entries("W/\"1\""));
        assert_eq!(statuses(&answer), ["200", "200", "204"], "{answer}");
    }

    fn a_delete_with_if_match_works_next_to_a_condition(server) {
        stored(server, &organization_as("acme", "Acme"));
        let conditional = with(entry("POST", "Organization", organization("New")), "ifNoneExist", "identifier=urn:test|New");
        let answer = done(server, &[with(call("DELETE", "Organization/acme"), "ifMatch", "W/\"1\""), conditional]);
        assert_eq!(statuses(&answer), ["204", "201"], "{answer}");
    }

    fn a_transaction_that_brings_back_what_was_deleted_says_201(server) {
        stored(server, &organization_as("acme", "Acme"));
        server.delete("Organization/acme");
        let answer = done(server, &[entry("PUT", "Organization/acme", organization_as("acme", "Back"))]);
        assert_eq!((statuses(&answer), &answer.body["entry"][0]["response"]["etag"]), (vec!["201"], &json!("W/\"3\"")), "{answer}");
    }

    fn a_get_entry_with_if_none_match_is_304(server) {
        stored(server, &organization_as("acme", "Acme"));
        let answer = done(server, &[with(call("GET", "Organization/acme"), "ifNoneMatch", "W/\"1\"")]);
        assert_eq!(statuses(&answer), ["304"], "{answer}");
        assert!(answer.body["entry"][0].get("resource").is_none(), "{answer}");
    }

    fn prefer_decides_whether_resources_come_back(server) {
        for (prefer, expected) in [("return=representation", Some("Organization")), ("return=minimal", None)] {
            let answer = send_json(server, "POST", "", ("prefer", prefer), &bundle("transaction", &[entry("POST", "Organization", organization("Acme"))]));
            assert_eq!((answer.status, answer.body["entry"][0]["resource"]["resourceType"].as_str()), (200, expected), "{prefer}: {answer}");
        }
    }

    fn many_entries_are_stored_together(server) {
        let mut entries: Vec<Value> = (0..150).map(|n| entry_as(&format!("urn:uuid:00000000-0000-4000-8000-{n:012}"), "POST", "Location", location_of(URN))).collect();
        entries.push(entry_as(URN, "POST", "Organization", organization("Acme")));
        let answer = done(server, &entries);
        let acme = location(&answer, 150);
        assert_eq!(server.ids(&format!("Location?organization={acme}&_count=1000")).len(), 150);
    }
}
