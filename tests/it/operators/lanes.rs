use serde_json::{Value, json};

use super::{JSON, World, until};
use crate::harness::on_both;

fn numbers(held: &Value) -> Vec<i64> {
    held["held"].as_array().expect("a list").iter().map(|it| it["number"].as_i64().expect("a number")).collect()
}

on_both! {
    with { crate::operators::SETTINGS };

    fn lanes_are_listed_with_their_calls(server) {
        let world = World::new(server);
        world.change("acme", "One");
        world.until("owed", &json!(0));
        until("it was told", || world.receiver.numbers() == [1]);
        let list = world.operator.get(&format!("{}/api/v1/lanes", server.base.trim_end_matches("/fhir")));
        let lane = &list.body["lanes"][0];
        for (name, value) in [("name", json!("Subscription/s")), ("state", json!("active")), ("paused", json!(false)), ("events", json!(1)), ("held", json!(0)), ("dead", json!(0))] {
            assert_eq!(lane[name], value, "{list}");
        }
        assert_eq!((list.body["lanes"].as_array().map(Vec::len), &list.body["next"]), (Some(1), &Value::Null), "{list}");
        // By its number, by its name, over HTTP, from the command line.
        let by_number = list.body["lanes"][0]["lane"].to_string();
        let root = server.base.trim_end_matches("/fhir");
        let shown = world.operator.get(&format!("{root}/api/v1/lanes/{by_number}"));
        assert_eq!(shown.body["name"], "Subscription/s", "{shown}");
        assert_eq!(world.run_json(&["lanes", "show", "Subscription/s"])["lane"], shown.body["lane"]);
        assert_eq!(world.run_json(&["lanes", "list"])["lanes"][0]["events"], 1);
        let (code, text, _) = world.run(&["lanes", "list"]);
        assert!(code == 0 && text.contains("Subscription/s") && text.contains("active"), "{text}");
        until("the calls are kept", || world.get("/attempts").body["attempts"].as_array().is_some_and(|all| all.len() == 2));
        let attempts = world.get("/attempts").body["attempts"].clone();
        assert_eq!((&attempts[0]["kind"], &attempts[1]["kind"]), (&json!("events"), &json!("handshake")));
        for (name, value) in [("first", 1), ("last", 1), ("events", 1), ("status", 200)] {
            assert_eq!(attempts[0][name], value, "{attempts}");
        }
        let before = attempts[0]["attempt"].to_string();
        assert_eq!(world.get(&format!("/attempts?before={before}&count=1")).body["attempts"], json!([attempts[1]]));
        assert_eq!(world.run_json(&["lanes", "attempts", "Subscription/s", "--count", "1"])["attempts"], json!([attempts[0]]));
        assert_eq!(world.get("?after=7").status, 200);
        assert!(world.operator.get(&format!("{root}/api/v1/lanes?after={by_number}")).body["lanes"].as_array().expect("a list").is_empty());
    }

    fn a_lane_that_is_paused_counts_and_sends_nothing(server) {
        let world = World::new(server);
        let paused = world.post("/pause", &json!({}));
        assert_eq!((paused.status, &paused.body["paused"]), (200, &json!(true)), "{paused}");
        world.change("acme", "One");
        world.change("acme", "Two");
        world.until("events", &json!(2));
        world.until("owed", &json!(2));
        assert_eq!(world.receiver.numbers(), Vec::<i64>::new());
        let (code, text, _) = world.run(&["lanes", "resume", "Subscription/s"]);
        assert!(code == 0 && text.contains("false"), "{text}");
        until("what was owed is told", || world.receiver.numbers() == [1, 2]);
        assert_eq!(world.run_json(&["lanes", "pause", "Subscription/s"])["paused"], true);
        assert_eq!(world.post("/resume", &json!({})).body["paused"], false);
        let recorded = world.recorded();
        for sentence in ["Subscription/s was paused", "Subscription/s was resumed"] {
            assert_eq!(recorded.iter().filter(|it| *it == sentence).count(), 2, "{recorded:?}");
        }
    }

    fn what_was_given_up_is_sent_again_when_it_is_asked_for(server) {
        let world = World::new(server);
        world.receiver.answers(422);
        for id in ["a", "b", "c"] {
            world.change(id, "One");
        }
        world.until("dead", &json!(3));
        let dead = world.get("/held");
        assert_eq!(numbers(&dead.body), [1, 2, 3], "{dead}");
        assert_eq!(dead.body["held"][0]["resource"], "Organization/a/_history/1", "{dead}");
        assert!(dead.body["held"][0]["error"].as_str().is_some_and(|error| error.contains("422")), "{dead}");
        assert_eq!(numbers(&world.get("/held?dead=true&after=1&count=1").body), [2]);
        assert!(numbers(&world.get("/held?dead=false").body).is_empty());
        assert_eq!(numbers(&world.run_json(&["lanes", "dead", "Subscription/s"])), [1, 2, 3]);
        assert!(numbers(&world.run_json(&["lanes", "held", "Subscription/s"])).is_empty());
        world.receiver.answers(200);
        let before = world.receiver.numbers().len();
        let told = || world.receiver.numbers().split_off(before);
        // One by its number, one by its resource, the rest since they were given up, and all once more in order.
        let answer = world.post("/redrive", &json!({"numbers": [2]}));
        assert_eq!((answer.status, &answer.body["events"]), (200, &json!(1)), "{answer}");
        until("2 is told", || told() == [2]);
        let answer = world.post("/redrive", &json!({"dead": true, "resource": "Organization/c"}));
        assert_eq!(answer.body["events"], 1, "{answer}");
        until("3 is told", || told() == [2, 3]);
        world.until("dead", &json!(1));
        assert_eq!(world.run_json(&["lanes", "redrive", "Subscription/s", "--dead"])["events"], 1);
        until("1 is told", || told() == [2, 3, 1]);
        world.until("dead", &json!(0));
        let (code, text, _) = world.run(&["lanes", "redrive", "Subscription/s", "--from", "2"]);
        assert!(code == 0 && text.starts_with("2 events"), "{text}");
        until("2 and 3 are told", || told() == [2, 3, 1, 2, 3]);
        assert_eq!(world.post("/redrive", &json!({"numbers": [1, 3, 99]})).body["events"], 2);
        until("1 and 3 are told", || { let mut last = told().split_off(5); last.sort_unstable(); last == [1, 3] });
        assert!(world.recorded().iter().any(|it| it == "Subscription/s was told to send again: 2 events"));
    }

    fn a_lane_that_failed_is_restarted(server) {
        let world = World::new(server);
        world.receiver.answers(410);
        world.change("acme", "One");
        world.until("state", &json!("failed"));
        world.change("acme", "Two");
        world.until("owed", &json!(2));
        world.receiver.answers(200);
        let restarted = world.post("/restart", &json!({}));
        assert_eq!(restarted.status, 200, "{restarted}");
        world.until("state", &json!("active"));
        until("what was owed is told", || world.receiver.numbers().ends_with(&[1, 2]) || world.receiver.numbers().ends_with(&[2]));
        world.until("owed", &json!(0));
        assert!(world.recorded().iter().any(|it| it == "Subscription/s was restarted"));
        world.receiver.answers(410);
        world.change("acme", "Three");
        world.until("state", &json!("failed"));
        world.receiver.answers(200);
        assert_eq!(world.run(&["lanes", "restart", "Subscription/s"]).0, 0);
        world.until("state", &json!("active"));
    }

    fn what_cannot_be_done_is_refused(server) {
        let world = World::new(server);
        let root = server.base.trim_end_matches("/fhir");
        for lane in ["99", "Subscription%2Fnobody", "nobody", "-1"] {
            for (method, rest) in [("GET", ""), ("GET", "/attempts"), ("GET", "/held"), ("GET", "/secret"), ("POST", "/pause"), ("POST", "/resume"), ("POST", "/restart"), ("POST", "/secret"), ("DELETE", "/secret")] {
                let answer = world.operator.send(method, &format!("{root}/api/v1/lanes/{lane}{rest}"), &[], "");
                assert_eq!((answer.status, answer.issue().1.as_str()), (404, "not-found"), "{method} {lane}{rest}: {answer}");
            }
            let body = json!({"dead": true}).to_string();
            assert_eq!(world.operator.send("POST", &format!("{root}/api/v1/lanes/{lane}/redrive"), &[JSON], &body).status, 404);
        }
        for command in [&["show", "nobody"][..], &["attempts", "99"], &["dead", "nobody"], &["held", "nobody"], &["pause", "nobody"], &["resume", "nobody"],
            &["restart", "nobody"], &["redrive", "nobody", "--dead"], &["secret", "nobody"], &["secret", "nobody", "--remove"]] {
            let (code, output, complaint) = world.run(&[&["lanes"], command].concat());
            assert_eq!((code, output.as_str()), (1, ""), "{command:?}");
            assert!(complaint.contains("There is no lane"), "{complaint}");
        }
        assert_eq!(world.run(&["lanes", "redrive", "1"]).0, 2, "it does not say what");
        for body in [json!({}), json!({"dead": true, "from": 1}), json!({"from": 0}), json!({"from": 1, "resource": "Organization/a"}), json!({"dead": true, "resource": "a"}), json!({"all": true}), json!({"numbers": "1"}), json!([])] {
            let answer = world.post("/redrive", &body);
            assert_eq!((answer.status, answer.issue().0.as_str()), (400, "error"), "{body}: {answer}");
        }
        for media in ["application/fhir+xml", "text/plain", "application/x-www-form-urlencoded"] {
            for rest in ["/redrive", "/secret"] {
                let answer = world.operator.send("POST", &world.url(rest), &[("content-type", media)], "{}");
                assert_eq!((answer.status, answer.issue().0.as_str()), (415, "error"), "{media}: {answer}");
            }
        }
        for query in ["?count=x", "?count=-1", "?since=1", "?dead=maybe", "?count=1&count=2", "?before=x"] {
            for rest in ["/attempts", "/held"] {
                let answer = world.get(&format!("{rest}{query}"));
                assert_eq!(answer.status, 400, "{rest}{query}: {answer}");
            }
        }
        for (method, rest, allowed) in [("POST", "", "GET, HEAD"), ("DELETE", "/attempts", "GET, HEAD"), ("PUT", "/held", "GET, HEAD"), ("GET", "/pause", "POST"), ("GET", "/resume", "POST"),
            ("PUT", "/restart", "POST"), ("GET", "/redrive", "POST"), ("PUT", "/secret", "GET, HEAD, POST, DELETE")] {
            let answer = world.operator.send(method, &world.url(rest), &[], "");
            assert_eq!((answer.status, answer.header("allow")), (405, Some(allowed)), "{method} {rest}: {answer}");
        }
    }
}
