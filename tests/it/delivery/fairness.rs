//! A server that hangs holds up nobody but its own subscribers.

use std::time::Duration;

use serde_json::json;

use crate::harness::receiver::{Act, Receiver};
use crate::harness::{Server, on_both};

use super::subscribers::{self, Carries, Subscriber};
use super::{PATIENCE, told};

const HANGING: usize = 50;
const WRITES: usize = 200;
/// Calls at once to one server, by default.
const PER_HOST: usize = 8;

fn everything() -> Subscriber {
    Subscriber {
        key: "hook",
        criteria: "practitioner-change",
        filter: None,
        max_count: Some(1),
        carries: Carries::Resources,
        wants: |_| true,
    }
}

fn write(server: &Server) {
    for n in 0..WRITES {
        let id = format!("p{n}");
        let resource = json!({"resourceType": "Practitioner", "id": id, "active": true});
        assert_eq!(server.put(&format!("Practitioner/{id}"), &resource).status, 201);
    }
}

fn wait_for_all(receiver: &Receiver, subscriber: &Subscriber) {
    receiver.wait_until(PATIENCE / 2, "all events at the healthy server", |log| {
        log.len() > WRITES && told::taken(subscriber, log).len() == WRITES
    });
}

on_both! {
    with [
        ("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8"),
        // A call that hangs does so for longer than anything here is waited for.
        ("PLUMBLINE_DELIVERY__TIMEOUT_S", "60"),
        // Fewer than there are subscribers at servers that hang.
        ("PLUMBLINE_DELIVERY__CONCURRENCY_MAX", "20"),
    ];

    fn fifty_subscriptions_at_a_server_that_hangs_do_not_delay_one_at_another(server) {
        let (hanging, healthy) = (Receiver::new(1), Receiver::new(2));
        let subscriber = everything();
        let mut ids: Vec<String> = (0..HANGING)
            .map(|n| subscribers::subscribe(server, &subscriber.resource(&hanging.url(&format!("hook{n}")))))
            .collect();
        ids.push(subscribers::subscribe(server, &subscriber.resource(&healthy.url("hook"))));
        ids.iter().for_each(|id| drop(subscribers::wait_for_status(server, id, "active")));
        hanging.behave(|_, _| Act::Hang);
        write(server);
        wait_for_all(&healthy, &subscriber);
        // The first calls to the other still hang: none of them has been given up to make this possible.
        let calls = hanging.log().iter().filter(|it| it.act == Act::Hang).count();
        assert_eq!((calls, hanging.hanging()), (PER_HOST, PER_HOST));
        hanging.recover();
    }
}

mod many {
    use super::*;

    on_both! {
        with [
            ("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8"),
            ("PLUMBLINE_DELIVERY__TIMEOUT_S", "2"),
            ("PLUMBLINE_DELIVERY__RETRY_STEPS_S", "[1]"),
            ("PLUMBLINE_DELIVERY__THEN_EVERY_S", "1"),
            ("PLUMBLINE_DELIVERY__BREAKER_FAILURES", "1000"),
            // Fewer than there are servers that hang.
            ("PLUMBLINE_DELIVERY__CONCURRENCY_MAX", "10"),
        ];

        fn many_servers_that_hang_do_not_delay_one_that_does_not(server) {
            let hanging: Vec<Receiver> = (0..30).map(Receiver::new).collect();
            let healthy = Receiver::new(99);
            let subscriber = everything();
            let all: Vec<&Receiver> = hanging.iter().chain([&healthy]).collect();
            let ids: Vec<String> =
                all.iter().map(|it| subscribers::subscribe(server, &subscriber.resource(&it.url("hook")))).collect();
            ids.iter().for_each(|id| drop(subscribers::wait_for_status(server, id, "active")));
            hanging.iter().for_each(|it| it.behave(|_, _| Act::Hang));
            write(server);
            wait_for_all(&healthy, &subscriber);
            // Had it waited for its turn among them at each call, they would have been called hundreds of times.
            let calls: usize = hanging.iter().map(|it| it.log().iter().filter(|it| it.act == Act::Hang).count()).sum();
            assert!((30..WRITES).contains(&calls), "{calls} calls that hang");
            hanging.iter().for_each(Receiver::recover);
        }
    }
}

/// A late answer to one subscriber does not keep the others of the same server from theirs.
#[test]
fn one_slow_endpoint_does_not_delay_the_others_of_its_server() {
    let server = Server::sqlite(&[("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8")]);
    let receiver = Receiver::new(1);
    let subscriber = everything();
    let ids = ["slow", "hook"].map(|key| subscribers::subscribe(&server, &subscriber.resource(&receiver.url(key))));
    ids.iter().for_each(|id| drop(subscribers::wait_for_status(&server, id, "active")));
    receiver.behave(|arrival, _| match arrival.path.as_str() {
        "/slow" => Act::Late(Duration::from_secs(10)),
        _ => Act::Answer(200),
    });
    write(&server);
    receiver.wait_until(PATIENCE, "all events at the quick endpoint", |log| {
        log.len() > WRITES && told::taken(&subscriber, log).len() == WRITES
    });
    let slow = receiver.log().iter().filter(|it| it.path == "/slow").count();
    assert!(slow < WRITES / 4, "{slow} calls to the slow endpoint");
    receiver.recover();
}
