use std::thread;

use serde_json::json;

use super::{
    assert_refused, http_date, organization, organization_as, send, send_json, stored, version, versions_of_all,
};
use crate::harness::on_both;

on_both! {
    fn a_put_of_what_is_here_is_200_with_etag_and_date(server) {
        stored(server, &organization_as("acme", "One"));
        let updated = server.put("Organization/acme", &organization_as("acme", "Two"));
        assert_eq!((updated.status, version(&updated), &updated.body["name"]), (200, "2", &json!("Two")), "{updated}");
        assert_eq!(updated.header("etag"), Some("W/\"2\""));
        let last_updated = updated.body["meta"]["lastUpdated"].as_str().expect("lastUpdated");
        assert_eq!(updated.header("last-modified"), Some(http_date(last_updated).as_str()));
        assert_eq!(server.get("Organization/acme").body, updated.body);
    }

    fn a_put_under_a_new_id_is_201_with_a_location(server) {
        let created = server.put("Organization/acme", &organization_as("acme", "One"));
        assert_eq!((created.status, &created.body["id"], version(&created)), (201, &json!("acme"), "1"), "{created}");
        assert_eq!(created.header("location"), Some(format!("{}/Organization/acme/_history/1", server.base).as_str()));
        assert_eq!(created.header("etag"), Some("W/\"1\""));
        assert!(created.header("last-modified").is_some());
    }

    fn an_id_may_have_64_letters_digits_dashes_and_dots(server) {
        let id = format!("A-z.0{}", "x".repeat(59));
        assert_eq!(server.put(&format!("Organization/{id}"), &organization_as(&id, "One")).status, 201);
        for id in [format!("{id}x"), "a_b".into()] {
            let answer = server.put(&format!("Organization/{id}"), &organization_as(&id, "One"));
            assert!(matches!(answer.status, 400 | 404), "{answer}");
            assert_refused(&answer, answer.status);
        }
    }

    fn a_body_without_the_id_of_the_url_is_400(server) {
        assert_refused(&server.put("Organization/acme", &organization("One")), 400);
        assert_refused(&server.put("Organization/acme", &organization_as("bolt", "One")), 400);
        assert_refused(&server.put("Organization/acme", &organization_as("ACME", "One")), 400);
        assert_eq!(versions_of_all(server), 0);
    }

    fn a_body_of_another_type_is_400(server) {
        assert_refused(&server.put("Location/acme", &organization_as("acme", "One")), 400);
        assert_eq!(versions_of_all(server), 0);
    }

    fn an_invalid_update_leaves_what_was(server) {
        stored(server, &organization_as("acme", "One"));
        let answer = server.put("Organization/acme", &json!({"resourceType": "Organization", "id": "acme", "nmae": "Two"}));
        assert!(matches!(answer.status, 400 | 422), "{answer}");
        let read = server.get("Organization/acme");
        assert_eq!((version(&read), &read.body["name"]), ("1", &json!("One")));
    }

    fn version_and_date_in_the_body_are_ignored(server) {
        stored(server, &organization_as("acme", "One"));
        let mut resource = organization_as("acme", "Two");
        resource["meta"] = json!({"versionId": "41", "lastUpdated": "2001-01-01T00:00:00Z"});
        let updated = server.put("Organization/acme", &resource);
        assert_eq!((updated.status, version(&updated)), (200, "2"), "{updated}");
        assert!(updated.body["meta"]["lastUpdated"].as_str().is_some_and(|at| at > "2020"));
    }

    fn unchanged_content_makes_no_new_version(server) {
        let first = stored(server, &organization_as("acme", "One"));
        let again = server.put("Organization/acme", &organization_as("acme", "One"));
        assert_eq!((again.status, &again.body), (200, &first.body), "{again}");
        assert_eq!(again.header("etag"), Some("W/\"1\""));
        let as_read = server.put("Organization/acme", &first.body);
        assert_eq!((as_read.status, version(&as_read)), (200, "1"));
        assert_eq!(versions_of_all(server), 1);
    }

    fn a_change_of_a_tag_or_of_an_order_makes_a_new_version(server) {
        let mut resource = organization_as("acme", "One");
        resource["alias"] = json!(["a", "b"]);
        stored(server, &resource);
        resource["alias"] = json!(["b", "a"]);
        assert_eq!(version(&stored(server, &resource)), "2");
        resource["meta"] = json!({"tag": [{"code": "x"}]});
        assert_eq!(version(&stored(server, &resource)), "3");
    }

    fn dates_of_versions_grow(server) {
        let dates: Vec<String> = (0..5)
            .map(|n| stored(server, &organization_as("acme", &n.to_string())).body["meta"]["lastUpdated"].as_str().expect("a date").to_owned())
            .collect();
        assert!(dates.is_sorted_by(|earlier, later| earlier < later), "{dates:?}");
    }

    fn put_with_the_current_etag_is_200(server) {
        stored(server, &organization_as("acme", "0"));
        for (n, tag) in ["W/\"1\"", "\"2\"", "3"].iter().enumerate() {
            let updated = send_json(server, "PUT", "Organization/acme", ("if-match", tag), &organization_as("acme", &format!("{}", n + 1)));
            assert_eq!((updated.status, version(&updated)), (200, (n + 2).to_string().as_str()), "{tag}: {updated}");
        }
    }

    fn put_with_a_stale_etag_is_412_and_writes_nothing(server) {
        stored(server, &organization_as("acme", "One"));
        stored(server, &organization_as("acme", "Two"));
        for tag in ["W/\"1\"", "W/\"3\"", "1", "W/\"12\""] {
            assert_refused(&send_json(server, "PUT", "Organization/acme", ("if-match", tag), &organization_as("acme", "Three")), 412);
        }
        assert_eq!(versions_of_all(server), 2);
    }

    fn a_stale_etag_with_unchanged_content_is_412_too(server) {
        stored(server, &organization_as("acme", "One"));
        assert_refused(&send_json(server, "PUT", "Organization/acme", ("if-match", "W/\"9\""), &organization_as("acme", "One")), 412);
    }

    fn put_with_an_etag_of_what_is_not_here_is_412(server) {
        assert_refused(&send_json(server, "PUT", "Organization/acme", ("if-match", "W/\"1\""), &organization_as("acme", "One")), 412);
        stored(server, &organization_as("acme", "One"));
        server.delete("Organization/acme");
        for tag in ["W/\"1\"", "W/\"2\""] {
            assert_refused(&send_json(server, "PUT", "Organization/acme", ("if-match", tag), &organization_as("acme", "Two")), 412);
        }
        assert_eq!(server.get("Organization/acme").status, 410);
    }

    fn if_match_that_is_no_etag_is_refused(server) {
        stored(server, &organization_as("acme", "One"));
        let answer = send_json(server, "PUT", "Organization/acme", ("if-match", "W/\"latest\""), &organization_as("acme", "Two"));
        assert!(matches!(answer.status, 400 | 412), "{answer}");
        assert_eq!(version(&server.get("Organization/acme")), "1");
    }

    fn a_part_does_not_take_the_place_of_the_whole(server) {
        stored(server, &organization_as("acme", "One"));
        let part = server.get("Organization/acme?_elements=name").body;
        assert_refused(&server.put("Organization/acme", &part), 422);
        assert_eq!(version(&server.get("Organization/acme")), "1");
    }

    fn a_star_expects_something_or_nothing(server) {
        let put = |header: &str, name: &str| send_json(server, "PUT", "Organization/acme", (header, "*"), &organization_as("acme", name));
        assert_refused(&put("if-match", "One"), 412);
        assert_eq!(put("if-none-match", "One").status, 201);
        assert_refused(&put("if-none-match", "Two"), 412);
        assert_eq!(version(&server.get("Organization/acme")), "1");
        assert_eq!(put("if-match", "Two").status, 200);
        assert_eq!(send(server, "DELETE", "Organization/acme", &[("if-match", "*")], "").status, 204);
        assert_refused(&send(server, "DELETE", "Organization/acme", &[("if-match", "*")], ""), 412);
        assert_eq!(put("if-none-match", "Three").status, 201, "what was deleted is not here");
    }

    fn expectations_that_contradict_each_other_or_cannot_be_checked_are_refused(server) {
        let body = organization_as("acme", "One").to_string();
        let json = ("content-type", "application/fhir+json");
        for headers in [[json, ("if-match", "W/\"1\""), ("if-none-match", "*")].as_slice(), &[json, ("if-none-match", "W/\"1\"")]] {
            assert_refused(&send(server, "PUT", "Organization/acme", headers, &body), 400);
        }
        assert_eq!(server.get("Organization/acme").status, 404);
    }

    fn of_several_updates_of_one_version_one_wins(server) {
        stored(server, &organization_as("acme", "One"));
        let mut statuses: Vec<u16> = thread::scope(|scope| {
            let update = |n: usize| {
                scope.spawn(move || send_json(server, "PUT", "Organization/acme", ("if-match", "W/\"1\""), &organization_as("acme", &format!("By {n}"))).status)
            };
            let all: Vec<_> = (0..6).map(update).collect();
            all.into_iter().map(|one| one.join().expect("an answer")).collect()
        });
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 412, 412, 412, 412, 412]);
        assert_eq!(version(&server.get("Organization/acme")), "2");
    }

    fn concurrent_updates_without_etags_all_become_versions(server) {
        stored(server, &organization_as("acme", "One"));
        thread::scope(|scope| {
            for n in 0..6 {
                scope.spawn(move || assert_eq!(server.put("Organization/acme", &organization_as("acme", &format!("By {n}"))).status, 200));
            }
        });
        assert_eq!(version(&server.get("Organization/acme")), "7");
        assert_eq!(versions_of_all(server), 7);
    }

    fn a_put_after_a_delete_is_201_and_the_versions_go_on(server) {
        stored(server, &organization_as("acme", "One"));
        assert_eq!(server.delete("Organization/acme").status, 204);
        let back = server.put("Organization/acme", &organization_as("acme", "One"));
        assert_eq!((back.status, version(&back)), (201, "3"), "{back}");
        assert_eq!(back.header("location"), Some(format!("{}/Organization/acme/_history/3", server.base).as_str()));
        assert_eq!(server.get("Organization/acme").body, back.body);
        assert_eq!(server.ids("Organization?name=one"), ["acme"]);
        assert_eq!(server.get("Organization/acme/_history/2").status, 410);
        assert_eq!(server.get("Organization/acme/_history/1").status, 200);
    }

    fn a_search_finds_what_is_new_and_not_what_was(server) {
        stored(server, &organization_as("acme", "One"));
        stored(server, &organization_as("acme", "Two"));
        assert_eq!(server.ids("Organization?name=two"), ["acme"]);
        assert!(server.ids("Organization?name=one").is_empty());
        assert!(server.ids("Organization?identifier=urn:test|One").is_empty());
    }
}
