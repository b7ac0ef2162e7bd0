//! What a receiver does not take: an event that it refuses, everything, or anything from here.

use serde_json::{Value, json};

use crate::harness::receiver::{Act, Arrival, Receiver};
use crate::harness::{Server, on_both};

use super::owed::Books;
use super::subscribers::{self, Carries, Subscriber};
use super::{PATIENCE, told, until};

fn subscriber() -> Subscriber {
    Subscriber {
        key: "hook",
        criteria: "practitioner-change",
        filter: None,
        max_count: None,
        carries: Carries::Resources,
        wants: |_| true,
    }
}

fn put(server: &Server, id: &str, family: &str) {
    let resource = json!({"resourceType": "Practitioner", "id": id, "name": [{"family": family}]});
    assert!(server.put(&format!("Practitioner/{id}"), &resource).status < 300);
}

fn has(arrival: &Arrival, name: &str, version: u64) -> bool {
    let subject = Some((name.to_owned(), version));
    told::events(Carries::Resources, arrival).iter().any(|event| event.subject == subject)
}

fn numbers(log: &[Arrival]) -> Vec<u64> {
    told::taken(&subscriber(), log).keys().copied().collect()
}

fn start(server: &Server, receiver: &Receiver) -> String {
    let id = subscribers::subscribe(server, &subscriber().resource(&receiver.url("hook")));
    subscribers::wait_for_status(server, &id, "active");
    id
}

fn error(subscription: &Value) -> &str {
    subscription["error"].as_str().expect("a sentence")
}

on_both! {
    with [
        ("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8"),
        ("PLUMBLINE_DELIVERY__RETRY_STEPS_S", "[2, 2]"),
        ("PLUMBLINE_DELIVERY__THEN_EVERY_S", "0"),
    ];

    fn what_is_refused_holds_up_what_follows_about_the_same_resource_and_nothing_else(server) {
        let receiver = Receiver::new(1);
        let id = start(server, &receiver);
        let is_poison = |arrival: &Arrival| has(arrival, "Practitioner/bad", 1);
        receiver.behave(move |arrival, _| if is_poison(arrival) { Act::Answer(422) } else { Act::Answer(200) });
        // 1: good, 2: bad, 3 to 7: good, 8: bad again, which would be taken, 9: good.
        put(server, "a", "a");
        put(server, "bad", "1");
        ["b", "c", "d", "e", "f"].into_iter().for_each(|id| put(server, id, id));
        put(server, "bad", "2");
        put(server, "g", "g");
        receiver.wait_until(PATIENCE, "all but the refused one", |log| numbers(log) == [1, 3, 4, 5, 6, 7, 8, 9]);
        let log = receiver.log();
        let place = |name: &str, version: u64| log.iter().position(|it| it.is_taken() && has(it, name, version));
        let alone = |it: &Arrival| is_poison(it) && told::events(Carries::Resources, it).len() == 1;
        let tries: Vec<usize> = (0..log.len()).filter(|n| alone(&log[*n])).collect();
        assert_eq!(tries.len(), 3, "the schedule has two steps");
        let next = place("Practitioner/bad", 2).expect("it came");
        assert!(next > tries[2], "what follows it waits until it is given up");
        for name in ["a", "b", "c", "d", "e", "f", "g"] {
            let came = place(&format!("Practitioner/{name}"), 1).expect("it came");
            assert!(came < tries[1], "{name} does not wait for it");
        }
        let books = Books::of(server);
        until("it is known", || books.held(&id, false).is_empty() && books.lane(&id).settled == 9);
        let dead = books.held(&id, true);
        assert_eq!(dead.iter().map(|it| (it.number, it.tries)).collect::<Vec<_>>(), [(2, 3)]);
        assert!(dead[0].error.as_ref().is_some_and(|it| it.contains("422")), "{dead:?}");
        let lane = books.lane(&id);
        assert_eq!((lane.numbered, lane.failures, lane.error), (9, 0, None));
        assert_eq!(server.get(&format!("Subscription/{id}")).body["status"], "active");
    }

    fn who_is_gone_is_not_called_again_until_they_ask(server) {
        let receiver = Receiver::new(1);
        let id = start(server, &receiver);
        receiver.behave(|_, _| Act::Answer(410));
        put(server, "a", "1");
        let stopped = subscribers::wait_for_status(server, &id, "error");
        assert!(error(&stopped).contains("410"), "{stopped}");
        let before = receiver.count();
        assert_eq!(before, 2, "after the handshake it was asked once");
        put(server, "a", "2");
        put(server, "b", "1");
        let books = Books::of(server);
        until("events are counted", || books.lane(&id).numbered == 3);
        receiver.behave(|_, _| Act::Answer(200));
        // Another subscriber of the same is told of something later.
        let other = Receiver::new(2);
        start(server, &other);
        put(server, "c", "1");
        other.wait_until(PATIENCE, "it goes on for others", |log| log.iter().any(|it| has(it, "Practitioner/c", 1)));
        assert_eq!(receiver.count(), before);
        let mut again = stopped;
        again["status"] = "requested".into();
        let asked = server.put(&format!("Subscription/{id}"), &again);
        assert_eq!((asked.status, &asked.body["status"], &asked.body["error"]), (200, &json!("requested"), &Value::Null));
        receiver.wait_until(PATIENCE, "what is owed", |log| numbers(log) == [1, 2, 3, 4]);
        subscribers::wait_for_status(server, &id, "active");
    }

    fn a_redirect_is_a_failure_and_is_not_followed(server) {
        let (receiver, target) = (Receiver::new(1), Receiver::new(2));
        let id = start(server, &receiver);
        let port = target.port();
        receiver.behave(move |_, _| Act::Redirect(port));
        put(server, "a", "1");
        receiver.wait_until(PATIENCE, "a second try", |log| log.iter().filter(|it| has(it, "Practitioner/a", 1)).count() == 2);
        receiver.behave(|_, _| Act::Answer(200));
        receiver.wait_until(PATIENCE, "a third", |log| numbers(log) == [1]);
        assert_eq!(target.count(), 0);
        let statuses: Vec<Option<i16>> = Books::of(server).attempts(&id).iter().rev().map(|it| it.status).collect();
        assert_eq!(statuses[..3], [Some(200), Some(307), Some(307)]);
    }

    fn a_handshake_that_fails_is_the_end_and_tells_why(server) {
        let receiver = Receiver::new(1);
        for (act, sentence) in [(Act::Answer(401), "401"), (Act::Answer(500), "500"), (Act::Reset, "cannot be reached")] {
            receiver.behave(move |_, _| act);
            let id = subscribers::subscribe(server, &subscriber().resource(&receiver.url("hook")));
            let failed = subscribers::wait_for_status(server, &id, "error");
            assert!(error(&failed).starts_with("The handshake failed: ") && error(&failed).contains(sentence), "{failed}");
        }
        assert_eq!(receiver.count(), 3, "each is greeted once");
    }
}

/// Nobody allows to call the network that this machine is in.
mod private {
    use super::*;

    on_both! {
        with [("PLUMBLINE_DELIVERY__ALLOW_HTTP", "true")];

        fn an_endpoint_at_a_private_address_is_refused_with_a_sentence_and_not_called(server) {
            let receiver = Receiver::new(1);
            let port = receiver.port();
            let hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "10.0.0.1", "169.254.169.254", "2130706433"];
            for host in hosts {
                let resource = subscriber().resource(&format!("http://{host}:{port}/hook"));
                let id = subscribers::subscribe(server, &resource);
                let failed = subscribers::wait_for_status(server, &id, "error");
                assert!(error(&failed).contains("not at a public address"), "{host}: {failed}");
            }
            // A search has no handshake: its first event meets the same.
            let search = subscribers::all().into_iter().find(|it| it.key == "search").expect("a search");
            let id = subscribers::subscribe(server, &search.resource(&receiver.url("search")));
            subscribers::wait_for_status(server, &id, "active");
            let active = json!({"resourceType": "Practitioner", "id": "a", "active": true});
            assert_eq!(server.put("Practitioner/a", &active).status, 201);
            let failed = subscribers::wait_for_status(server, &id, "error");
            assert!(error(&failed).contains("not at a public address"), "{failed}");
            assert_eq!(receiver.count(), 0);
        }
    }
}
