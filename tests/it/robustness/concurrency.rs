//! Many clients at once: nobody's update is lost, and nothing happens twice.

use std::collections::HashSet;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Answer, Server, on_both};

use super::check_refusal;

const CLIENTS: usize = 8;

/// Runs `client` in several threads at once; what each returned.
fn at_once<T: Send>(client: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let start = Barrier::new(CLIENTS);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| {
                let (start, client) = (&start, &client);
                scope.spawn(move || {
                    start.wait();
                    client(n)
                })
            })
            .collect();
        clients.into_iter().map(|client| client.join().expect("no client panicked")).collect()
    })
}

fn named(id: &str, name: &str) -> Value {
    json!({"resourceType": "Organization", "id": id, "name": name})
}

fn put_if(server: &Server, id: &str, name: &str, version: u64) -> Answer {
    let request = server.request("PUT", &format!("Organization/{id}")).header("content-type", "application/fhir+json");
    Answer::of(request.header("if-match", format!("W/\"{version}\"")).body(named(id, name).to_string()))
}

fn version(answer: &Answer) -> u64 {
    answer.body["meta"]["versionId"]
        .as_str()
        .and_then(|version| version.parse().ok())
        .unwrap_or_else(|| panic!("a version: {answer}"))
}

/// The versions of a resource, oldest first, with their names.
fn history(server: &Server, id: &str) -> Vec<(u64, String)> {
    let mut versions = Vec::new();
    let mut next = Some(format!("Organization/{id}/_history?_count=1000"));
    while let Some(url) = next {
        let page = server.get(&url);
        assert_eq!(page.status, 200, "{page}");
        for entry in page.body["entry"].as_array().expect("entries") {
            let resource = &entry["resource"];
            let version =
                resource["meta"]["versionId"].as_str().and_then(|version| version.parse().ok()).expect("a version");
            versions.push((version, resource["name"].as_str().expect("a name").to_owned()));
        }
        next = page.link("next");
    }
    versions.reverse();
    versions
}

fn check_consecutive(server: &Server, id: &str) -> Vec<(u64, String)> {
    let versions = history(server, id);
    let numbers: Vec<u64> = versions.iter().map(|(version, _)| *version).collect();
    assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>(), "no gap and no repeat");
    versions
}

/// Every client increments one counter, by reading it and writing it back if nobody else did: none gets lost.
fn count_together(servers: &[&Server], increments: usize) {
    assert_eq!(servers[0].put("Organization/c", &named("c", "0")).status, 201);
    let done = at_once(|n| {
        let server = servers[n % servers.len()];
        let mut conflicts = 0;
        for _ in 0..increments {
            loop {
                let current = server.get("Organization/c");
                let count: usize = current.body["name"].as_str().and_then(|name| name.parse().ok()).expect("a count");
                let answer = put_if(server, "c", &(count + 1).to_string(), version(&current));
                match answer.status {
                    200 => break,
                    _ => check_refusal(&answer, &[409, 412], "somebody was faster"),
                }
                conflicts += 1;
            }
        }
        conflicts
    });
    let total = CLIENTS * increments;
    for server in servers {
        assert_eq!(server.get("Organization/c").body["name"], total.to_string());
        let versions = check_consecutive(server, "c");
        let expected: Vec<String> = (0..=total).map(|count| count.to_string()).collect();
        assert_eq!(versions.into_iter().map(|(_, name)| name).collect::<Vec<_>>(), expected);
        assert_eq!(server.ids(&format!("Organization?name:exact={total}")), ["c"]);
        assert!(server.ids("Organization?name:exact=0").is_empty());
    }
    assert!(done.iter().sum::<usize>() > 0, "the clients were in each other's way at least once");
}

on_both! {
    fn of_those_who_update_the_same_version_one_wins(server) {
        assert_eq!(server.put("Organization/a", &named("a", "start")).status, 201);
        for round in 1..=10 {
            let answers = at_once(|n| put_if(server, "a", &format!("r{round}n{n}"), round));
            let (won, lost): (Vec<&Answer>, Vec<&Answer>) = answers.iter().partition(|answer| answer.status == 200);
            assert_eq!(won.len(), 1, "{answers:?}");
            assert_eq!(version(won[0]), round + 1);
            for answer in lost {
                check_refusal(answer, &[409, 412], "somebody was faster");
            }
            assert_eq!(server.get("Organization/a").body, won[0].body);
        }
        assert_eq!(check_consecutive(server, "a").len(), 11);
    }

    fn no_increment_is_lost(server) {
        count_together(&[server], 10);
    }

    fn updates_without_if_match_all_get_a_version(server) {
        let answers = at_once(|n| (0..10).map(|round| server.put("Organization/u", &named("u", &format!("n{n}r{round}")))).collect::<Vec<_>>());
        let answers: Vec<Answer> = answers.into_iter().flatten().collect();
        for answer in &answers {
            if !matches!(answer.status, 200 | 201) {
                check_refusal(answer, &[409], "an update");
            }
        }
        let created = answers.iter().filter(|answer| answer.status == 201).count();
        assert_eq!(created, 1, "one created it");
        let given: HashSet<u64> = answers.iter().filter(|answer| answer.status < 300).map(version).collect();
        let stored = check_consecutive(server, "u");
        assert_eq!(given.len(), answers.iter().filter(|answer| answer.status < 300).count(), "no version twice");
        assert_eq!(stored.len(), given.len());
        let last = stored.last().expect("a version").1.clone();
        assert_eq!(server.ids(&format!("Organization?name:exact={last}")), ["u"]);
        assert_eq!(server.ids("Organization?name=n").len(), 1, "the names of old versions are not found");
    }

    fn a_new_id_is_created_once(server) {
        for round in 0..10 {
            let id = format!("new-{round}");
            let answers = at_once(|n| server.put(&format!("Organization/{id}"), &named(&id, &format!("n{n}"))));
            for answer in &answers {
                assert!(matches!(answer.status, 200 | 201 | 409), "{answer}");
            }
            assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
            check_consecutive(server, &id);
        }
    }

    fn a_conditional_create_creates_once(server) {
        for round in 0..10 {
            let organization = json!({"resourceType": "Organization", "name": "x", "identifier": [{"system": "urn:s", "value": format!("v{round}")}]});
            let answers = at_once(|_| {
                let request = server.request("POST", "Organization").header("content-type", "application/fhir+json");
                Answer::of(request.header("if-none-exist", format!("identifier=urn:s|v{round}")).body(organization.to_string()))
            });
            for answer in &answers {
                assert!(matches!(answer.status, 200 | 201), "{answer}");
            }
            assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
            let ids: HashSet<&str> = answers.iter().filter_map(|answer| answer.header("location").or(answer.header("content-location")).or(answer.body["id"].as_str())).collect();
            assert!(!ids.is_empty());
            assert_eq!(server.ids(&format!("Organization?identifier=urn:s|v{round}")).len(), 1);
        }
    }

    /// The same condition in other words is the same condition.
    fn a_conditional_create_in_other_words_creates_once(server) {
        for round in 0..10 {
            let organization = json!({"resourceType": "Organization", "name": "x", "identifier": [{"system": "urn:s", "value": format!("v{round}")}]});
            let answers = at_once(|n| {
                let condition = match n % 4 {
                    0 => format!("identifier=urn:s|v{round}"),
                    1 => format!("identifier=urn%3As%7Cv{round}"),
                    2 => format!("identifier=v{round}"),
                    _ => format!("name=x&identifier=urn:s|v{round}"),
                };
                let request = server.request("POST", "Organization").header("content-type", "application/fhir+json");
                Answer::of(request.header("if-none-exist", condition).body(organization.to_string()))
            });
            assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{:?}", answers.iter().map(|answer| answer.status).collect::<Vec<_>>());
            assert_eq!(server.ids(&format!("Organization?identifier=urn:s|v{round}")).len(), 1);
        }
    }

    fn a_conditional_update_creates_once(server) {
        for round in 0..10 {
            let answers = at_once(|n| {
                let organization = json!({"resourceType": "Organization", "name": format!("n{n}"), "identifier": [{"value": format!("v{round}")}]});
                server.put(&format!("Organization?identifier=v{round}"), &organization)
            });
            for answer in &answers {
                assert!(matches!(answer.status, 200 | 201 | 409), "{answer}");
            }
            assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
            let ids = server.ids(&format!("Organization?identifier=v{round}"));
            assert_eq!(ids.len(), 1);
            check_consecutive(server, &ids[0]);
        }
    }

    fn patches_of_one_resource_all_apply(server) {
        assert_eq!(server.put("Organization/p", &json!({"resourceType": "Organization", "id": "p", "name": "x", "alias": ["start"]})).status, 201);
        let answers = at_once(|n| (0..5).map(|round| server.patch("Organization/p", "application/json-patch+json", &json!([{"op": "add", "path": "/alias/-", "value": format!("n{n}r{round}")}]))).collect::<Vec<_>>());
        let applied = answers.iter().flatten().filter(|answer| answer.status == 200).count();
        for answer in answers.iter().flatten().filter(|answer| answer.status != 200) {
            check_refusal(answer, &[409, 412], "a patch");
        }
        let aliases = server.get("Organization/p").body["alias"].as_array().map(Vec::len);
        assert_eq!(aliases, Some(applied + 1), "no patch is lost");
        assert!(applied > 0);
    }

    /// Each moves the same amount between resources that all touch, in an order of its own.
    fn transactions_in_any_order_are_atomic(server) {
        const RESOURCES: usize = 6;
        let start = Instant::now();
        let answers = at_once(|n| {
            (0..8).map(|round| {
                let mut order: Vec<usize> = (0..RESOURCES).collect();
                order.rotate_left((n + round) % RESOURCES);
                if n % 2 == 0 {
                    order.reverse();
                }
                let entries: Vec<Value> = order
                    .iter()
                    .map(|id| json!({"resource": named(&format!("t{id}"), &format!("n{n}r{round}")), "request": {"method": "PUT", "url": format!("Organization/t{id}")}}))
                    .collect();
                server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
            }).collect::<Vec<_>>()
        });
        assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
        for answer in answers.iter().flatten().filter(|answer| answer.status != 200) {
            check_refusal(answer, &[409], "a transaction");
        }
        let committed = answers.iter().flatten().filter(|answer| answer.status == 200).count();
        assert!(committed > 0);
        let histories: Vec<Vec<String>> = (0..RESOURCES).map(|id| check_consecutive(server, &format!("t{id}")).into_iter().map(|(_, name)| name).collect()).collect();
        for names in &histories {
            assert_eq!(names.len(), committed, "each transaction is in each history once");
            assert_eq!(*names, histories[0], "all saw the transactions in one order");
        }
    }

    /// New resources that mention one another, in an order of each client's own.
    fn transactions_that_name_the_same_new_resources(server) {
        for round in 0..8 {
            let answers = at_once(|n| {
                let mut order: Vec<usize> = (0..6).collect();
                order.rotate_left(n % 6);
                if n % 2 == 0 {
                    order.reverse();
                }
                let entries: Vec<Value> = order
                    .iter()
                    .map(|id| json!({
                        "resource": {"resourceType": "Organization", "id": format!("r{round}-{id}"), "name": format!("n{n}"), "partOf": {"reference": format!("Organization/r{round}-{}", (id + 1) % 6)}},
                        "request": {"method": "PUT", "url": format!("Organization/r{round}-{id}")},
                    }))
                    .collect();
                server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}))
            });
            for answer in answers.iter().filter(|answer| answer.status != 200) {
                check_refusal(answer, &[409], "a transaction");
            }
            let names: HashSet<String> = (0..6).map(|id| server.get(&format!("Organization/r{round}-{id}")).body["name"].to_string()).collect();
            assert_eq!(names.len(), 1, "the last transaction wrote them all: {names:?}");
            assert_eq!(server.ids(&format!("Organization?partof=Organization/r{round}-1")), [format!("r{round}-0")]);
        }
    }

    fn deletes_and_updates_take_turns(server) {
        assert_eq!(server.put("Organization/d", &named("d", "start")).status, 201);
        let answers = at_once(|n| (0..10).map(|round| match (n + round) % 2 {
            0 => server.delete("Organization/d"),
            _ => server.put("Organization/d", &named("d", &format!("n{n}r{round}"))),
        }).collect::<Vec<_>>());
        for answer in answers.iter().flatten() {
            assert!(matches!(answer.status, 200 | 201 | 204 | 409), "{answer}");
        }
        let page = server.get("Organization/d/_history?_count=1000");
        let mut etags: Vec<u64> = page.body["entry"].as_array().expect("entries").iter().map(|entry| {
            let etag = entry["response"]["etag"].as_str().expect("an ETag");
            etag.trim_matches(|c: char| !c.is_ascii_digit()).parse().expect("a number")
        }).collect();
        etags.reverse();
        assert_eq!(etags, (1..=etags.len() as u64).collect::<Vec<_>>());
        let is_there = server.get("Organization/d").status == 200;
        assert_eq!(server.ids("Organization?_id=d").len(), usize::from(is_there));
        assert_eq!(server.ids("Organization?name=n,start").len(), usize::from(is_there), "the index tells the same");
    }

    /// Two processes over one database: what one writes the other shows, and neither loses an update.
    fn two_servers_on_one_database(server) {
        let other = server.second(&[]);
        for n in 0..20 {
            let (writes, reads) = if n % 2 == 0 { (server, &other) } else { (&other, server) };
            let id = format!("s{n}");
            assert_eq!(writes.put(&format!("Organization/{id}"), &named(&id, &format!("name{n}"))).status, 201);
            assert_eq!(reads.get(&format!("Organization/{id}")).body["name"], format!("name{n}"));
            assert_eq!(reads.ids(&format!("Organization?name:exact=name{n}")), [id.as_str()]);
            assert_eq!(reads.delete(&format!("Organization/{id}")).status, 204);
            assert_eq!(writes.get(&format!("Organization/{id}")).status, 410);
            assert!(writes.ids(&format!("Organization?name:exact=name{n}")).is_empty());
        }
        count_together(&[server, &other], 5);
        for round in 0..5 {
            let organization = json!({"resourceType": "Organization", "name": "x", "identifier": [{"value": format!("v{round}")}]});
            let answers = at_once(|n| {
                let request = [server, &other][n % 2].request("POST", "Organization").header("content-type", "application/fhir+json");
                Answer::of(request.header("if-none-exist", format!("identifier=v{round}")).body(organization.to_string()))
            });
            assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1, "{answers:?}");
        }
        // A page that one server began the other continues.
        for n in 0..5 {
            assert_eq!(server.put(&format!("Location/l{n}"), &json!({"resourceType": "Location", "id": format!("l{n}"), "name": "x"})).status, 201);
        }
        let next = server.get("Location?_count=2").link("next").expect("a next page");
        let (_, query) = next.split_once('?').expect("a query");
        let page = other.get(&format!("Location?{query}"));
        assert_eq!(page.entries("match").len(), 2, "{page}");
    }
}
