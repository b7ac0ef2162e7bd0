//! Pages: links, `_count`, and what writes do to a walk (R4 http.html#paging).

use std::collections::HashMap;

use serde_json::{Value, json};

use super::{link_parameters, load, organization, post_search, refuse, resource};
use crate::harness::{Server, on_both};

fn numbered(count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| organization(&format!("o{n:03}"), json!({"name": format!("Name {}", (n * 7) % 40), "active": true})))
        .collect()
}

/// Walks over `search` and writes between the pages; gives the ids of the matches, with how often each was seen.
fn walk_while_writing(server: &Server, search: &str) -> HashMap<String, usize> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let mut next = Some(search.to_owned());
    let mut page_number = 0;
    while let Some(url) = next {
        let page = server.get(&url);
        assert_eq!(page.status, 200, "{page}");
        for found in page.entries("match") {
            *seen.entry(found["id"].as_str().expect("id").to_owned()).or_default() += 1;
        }
        next = page.link("next");
        assert!(page_number < 200, "the walk ends");
        // Each round: one created at the front of any order and one at its end, one changed, one deleted.
        if page_number < 8 {
            load(
                server,
                &[
                    organization(&format!("a{page_number}"), json!({"name": "Aaa", "active": true})),
                    organization(&format!("z{page_number}"), json!({"name": "Zzz", "active": true})),
                    organization(
                        &format!("o{:03}", page_number * 3),
                        json!({"name": if page_number % 2 == 0 { "Zzzz" } else { "Aaaa" }, "active": true}),
                    ),
                ],
            );
            assert_eq!(server.delete(&format!("Organization/o{:03}", page_number * 3 + 1)).status, 204);
        }
        page_number += 1;
    }
    seen
}

on_both! {
    fn a_walk_sees_every_untouched_resource_exactly_once_while_others_are_written(server) {
        for search in ["Organization?_count=3", "Organization?active=true&_count=4", "Organization?_sort=name&_count=3", "Organization?_sort=-name,_id&_count=5",
            "Organization?_sort=-_id&_count=3", "Organization?_sort=name&name:contains=name&_count=2"]
        {
            load(server, &numbered(40));
            let seen = walk_while_writing(server, search);
            for n in 0..40 {
                let id = format!("o{n:03}");
                let is_touched = n < 24 && n % 3 != 2;
                if !is_touched {
                    assert_eq!(seen.get(&id), Some(&1), "{search}: {id}");
                }
            }
            if !search.contains("_sort") {
                assert!(seen.values().all(|times| *times == 1), "{search}: {seen:?}");
            }
        }
    }

    fn the_last_page_has_no_next_link_and_every_page_keeps_the_count(server) {
        load(server, &numbered(7));
        let sizes = |search: &str| -> Vec<usize> {
            let mut sizes = Vec::new();
            let mut next = Some(search.to_owned());
            while let Some(url) = next {
                let page = server.get(&url);
                assert!(page.link("self").is_some() && page.link("first").is_some(), "{page}");
                sizes.push(page.entries("match").len());
                next = page.link("next");
            }
            sizes
        };
        assert_eq!(sizes("Organization?_count=3"), [3, 3, 1]);
        assert_eq!(sizes("Organization?_count=7"), [7]);
        assert_eq!(sizes("Organization?_count=6&_sort=name"), [6, 1]);
        assert_eq!(sizes("Organization?_count=1000000"), [7]);
        assert_eq!(sizes("Organization?name=nobody"), [0]);
        assert_eq!(sizes("Organization"), [7]);
        let first = server.get("Organization?_count=3");
        let second = server.get(&first.link("next").expect("next"));
        assert_eq!(server.get(&second.link("first").expect("first")).names("match"), first.names("match"));
        assert_eq!(server.get(&second.link("self").expect("self")).names("match"), second.names("match"));
    }

    fn a_count_of_none_only_counts(server) {
        load(server, &numbered(7));
        let answer = server.get("Organization?_count=0&active=true");
        assert_eq!((answer.status, &answer.body["total"]), (200, &json!(7)), "{answer}");
        assert!(answer.body["entry"].is_null(), "{answer}");
        for relation in ["first", "next", "previous", "last"] {
            assert_eq!(answer.link(relation), None, "{answer}");
        }
    }

    fn a_page_never_holds_more_than_the_server_allows_and_the_self_link_says_so(server) {
        let entries: Vec<Value> = (0..1003).map(|n| organization(&format!("n{n}"), json!({"name": "X"}))).collect();
        load(server, &entries);
        let answer = server.get("Organization?_count=5000");
        assert_eq!(answer.entries("match").len(), 1000);
        assert!(link_parameters(&answer, "self").contains(&("_count".to_owned(), "1000".to_owned())));
        assert_eq!(server.ids("Organization?_count=5000").len(), 1003);
        // As many as the settings say when nothing is asked for.
        assert_eq!(server.get("Organization").entries("match").len(), 20);
    }

    fn what_is_no_count_is_refused(server) {
        refuse(server, &["Organization?_count=-1", "Organization?_count=x", "Organization?_count=1.5", "Organization?_count=1,2", "Organization?_count=99999999999999999999999"]);
    }

    fn a_changed_cursor_is_refused(server) {
        load(server, &numbered(7));
        let next = server.get("Organization?_count=2&_sort=name").link("next").expect("next");
        assert_eq!(server.get(&next).status, 200);
        let (before, cursor) = next.split_once("_cursor=").expect("a cursor");
        let flipped: String = cursor.char_indices().map(|(at, c)| if at == 5 { if c == 'A' { 'B' } else { 'A' } } else { c }).collect();
        for url in [
            format!("{before}_cursor={flipped}"),
            format!("{before}_cursor={cursor}AAAA"),
            format!("{before}_cursor={}", &cursor[..cursor.len() - 6]),
            format!("{before}_cursor=!!!"),
            format!("{before}_cursor=o001"),
            next.replace("_count=2", "_count=3"),
            next.replace("_sort=name", "_sort=-name"),
            next.replace("/Organization", "/Location"),
            next.replace("_sort=name", "_sort=name&name=x"),
        ] {
            assert_eq!(server.get(&url).status, 400, "{url}");
        }
    }

    fn the_next_link_of_a_posted_search_works_by_get(server) {
        load(server, &numbered(9));
        let page = post_search(server, "Organization/_search?active=true", "name:contains=name&_sort=name&_count=4");
        assert_eq!(page.status, 200, "{page}");
        let next = page.link("next").expect("next");
        let mut ids: Vec<String> = page.names("match");
        ids.extend(server.ids(&next).iter().map(|id| format!("Organization/{id}")));
        ids.sort();
        assert_eq!(ids, (0..9).map(|n| format!("Organization/o{n:03}")).collect::<Vec<_>>());
        let parameters = link_parameters(&page, "next");
        for (name, value) in [("active", "true"), ("name:contains", "name"), ("_sort", "name"), ("_count", "4")] {
            assert!(parameters.contains(&(name.to_owned(), value.to_owned())), "{parameters:?}");
        }
    }

    fn a_link_leads_to_the_same_format(server) {
        load(server, &numbered(3));
        let posted = post_search(server, "Organization/_search", "_count=2&_format=xml");
        assert!(posted.header("content-type").is_some_and(|mime| mime.starts_with("application/fhir+xml")), "{posted}");
        for search in ["Organization?_count=2&_format=json&_pretty=true", "Organization/_history?_count=2&_format=json&_pretty=true", "_history?_count=2&_pretty=true&_format=json"] {
            let page = server.get(search);
            for relation in ["self", "next"] {
                let parameters = link_parameters(&page, relation);
                for (name, value) in [("_format", "json"), ("_pretty", "true")] {
                    assert!(parameters.contains(&(name.to_owned(), value.to_owned())), "{search}: {parameters:?}");
                }
            }
            // The cursor belongs to the question, not to how it is answered.
            let next = page.link("next").expect("next");
            assert_eq!(server.get(&next.replace("_format=json", "_format=xml")).status, 200);
        }
    }

    fn a_link_keeps_what_a_value_means(server) {
        let name = r"Ca,f|é & Co + 100% #1\";
        let places: Vec<Value> = (0..3).map(|n| resource("Location", &format!("p{n}"), json!({"name": name}))).collect();
        load(server, &places);
        let search = r"Location?name:exact=Ca%5C,f%5C|%C3%A9%20%26%20Co%20%2B%20100%25%20%231%5C%5C&_count=1";
        assert_eq!(server.ids(search), ["p0", "p1", "p2"]);
    }
}
