//! `_summary` and `_elements` (R4 search.html#summary, #elements).

use serde_json::{Value, json};

use super::{load, organization, refuse};
use crate::harness::{Server, on_both};

fn directory(server: &Server) {
    load(
        server,
        &[
            organization(
                "o1",
                json!({
                    "text": {"status": "generated", "div": "<div xmlns=\"http://www.w3.org/1999/xhtml\">One</div>"},
                    "name": "One", "alias": ["Uno"], "active": true, "telecom": [{"system": "phone", "value": "1"}], "partOf": {"reference": "Organization/o2"},
                }),
            ),
            organization("o2", json!({"name": "Two", "alias": ["Dos"]})),
        ],
    );
}

fn subsetted(resource: &Value) -> bool {
    resource["meta"]["tag"].as_array().is_some_and(|tags| {
        tags.iter().any(|tag| {
            tag["system"] == "http://terminology.hl7.org/CodeSystem/v3-ObservationValue" && tag["code"] == "SUBSETTED"
        })
    })
}

on_both! {
    fn a_summary_holds_the_elements_that_are_marked_so(server) {
        directory(server);
        let answer = server.get("Organization?_id=o1&_summary=true");
        assert_eq!(answer.body["type"], "searchset", "{answer}");
        let found = answer.entries("match")[0];
        assert_eq!((&found["name"], &found["active"], &found["id"]), (&json!("One"), &json!(true), &json!("o1")), "{answer}");
        assert!(found["text"].is_null() && found["telecom"].is_null() && found["alias"].is_null(), "{answer}");
        assert!(subsetted(found), "{answer}");
    }

    fn text_data_and_false_cut_as_they_say(server) {
        directory(server);
        let of = |summary: &str| server.get(&format!("Organization?_id=o1&_summary={summary}")).entries("match")[0].clone();
        let text = of("text");
        assert!(text["text"]["div"].is_string() && text["id"] == "o1" && text["meta"].is_object() && text["name"].is_null() && subsetted(&text), "{text}");
        let data = of("data");
        assert!(data["text"].is_null() && data["name"] == "One" && data["alias"][0] == "Uno" && subsetted(&data), "{data}");
        let whole = of("false");
        assert!(whole["text"].is_object() && whole["name"] == "One" && !subsetted(&whole), "{whole}");
    }

    fn a_count_holds_the_total_and_nothing_else(server) {
        directory(server);
        let answer = server.get("Organization?_summary=count");
        assert_eq!((answer.status, &answer.body["total"]), (200, &json!(2)), "{answer}");
        assert!(answer.body["entry"].is_null() && answer.link("next").is_none() && answer.link("self").is_some(), "{answer}");
        assert_eq!(server.get("Organization?_summary=count&name=one&_include=Organization:partof").body["total"], 1);
        assert_eq!(server.get("Organization?_summary=count&name=nobody").body["total"], 0);
        assert_eq!(server.get("Organization?_summary=count&_total=none").body["total"], 2);
    }

    fn elements_names_what_is_wanted_of_matches_only(server) {
        directory(server);
        let answer = server.get("Organization?_id=o1&_elements=alias,active&_include=Organization:partof");
        let found = answer.entries("match")[0];
        assert!(found["alias"][0] == "Uno" && found["active"] == true && found["id"] == "o1" && found["meta"].is_object(), "{answer}");
        assert!(found["name"].is_null() && found["telecom"].is_null() && found["text"].is_null() && subsetted(found), "{answer}");
        let included = answer.entries("include")[0];
        assert!(included["name"] == "Two" && included["alias"][0] == "Dos" && !subsetted(included), "{answer}");
    }

    fn the_stored_resource_stays_whole(server) {
        directory(server);
        server.get("Organization?_summary=true");
        let whole = server.get("Organization/o1").body;
        assert!(whole["alias"][0] == "Uno" && !subsetted(&whole), "{whole}");
    }

    fn mandatory_elements_come_along(server) {
        load(server, &[json!({
            "resourceType": "Endpoint", "id": "e", "status": "active", "connectionType": {"code": "hl7-fhir-rest"}, "payloadType": [{"text": "any"}],
            "address": "http://e.example", "name": "E",
        })]);
        for search in ["Endpoint?_elements=name", "Endpoint?_summary=text"] {
            let answer = server.get(search);
            let found = answer.entries("match")[0];
            assert!(found["status"] == "active" && found["connectionType"].is_object() && found["payloadType"].is_array(), "{answer}");
        }
    }

    fn an_unknown_summary_is_refused(server) {
        refuse(server, &["Organization?_summary=maybe", "Organization?_summary=true,text", "Organization?_summary:x=true"]);
    }
}
