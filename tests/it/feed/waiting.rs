use std::thread;
use std::time::{Duration, Instant};

use super::{LONG, Stream, changes, feed, get, location, next, organization, position, store, terminate, told, walk};
use crate::harness::on_both;

on_both! {
    fn who_waits_is_told_at_once_of_what_is_there_and_else_when_it_comes(server) {
        store(server, &organization("acme", "One"));
        walk(server, "", "create Organization/acme/1");
        let began = Instant::now();
        assert_eq!(changes(&get(server, "wait=60")).len(), 1);
        let end = get(server, "after=end");
        let (url, waited) = (format!("{}&wait=60", next(&end)), Instant::now());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| server.get(&url));
            thread::sleep(Duration::from_millis(300));
            assert!(!waiting.is_finished(), "nothing has happened yet");
            store(server, &organization("acme", "Two"));
            let answer = waiting.join().expect("an answer");
            assert_eq!(told(&changes(&answer)), ["update Organization/acme/2"]);
            assert!(waited.elapsed() >= Duration::from_millis(300));
            assert!(next(&answer).contains("wait=60") && position(&next(&answer)) > position(&next(&end)));
        });
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
    }

    fn who_waits_in_vain_is_told_so_with_the_position(server) {
        let end = position(&next(&get(server, "after=end")));
        let began = Instant::now();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| get(server, &format!("after={end}&_type=Location&wait=4")));
            thread::sleep(Duration::from_millis(500));
            store(server, &organization("acme", "One"));
            let answer = waiting.join().expect("an answer");
            assert!(changes(&answer).is_empty(), "{answer}");
            // What was for others has been passed.
            assert!(position(&next(&answer)) > end, "{}", next(&answer));
        });
        assert!(began.elapsed() >= Duration::from_secs(4), "{:?}", began.elapsed());
    }

    fn what_another_process_writes_is_told_as_well(server) {
        store(server, &organization("acme", "One"));
        walk(server, "", "create Organization/acme/1");
        let other = server.second(&[]);
        let url = format!("{}&wait=60", next(&get(server, "after=end")));
        thread::scope(|scope| {
            let waiting = scope.spawn(|| server.get(&url));
            store(&other, &location("here", "Here"));
            assert_eq!(told(&changes(&waiting.join().expect("an answer"))), ["create Location/here/1"]);
        });
    }

    fn a_server_that_ends_lets_nobody_wait(server) {
        let url = format!("{}&wait=60", next(&get(server, "after=end")));
        let began = Instant::now();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| server.get(&url));
            thread::sleep(Duration::from_millis(500));
            terminate(server);
            let answer = waiting.join().expect("an answer");
            assert!(changes(&answer).is_empty() && next(&answer) == url, "{answer}");
        });
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    }
}

mod bounds {
    use super::*;

    on_both! {
        with [("PLUMBLINE_LIMITS__FEEDS_PER_CLIENT", "2")];

        fn no_more_wait_than_may(server) {
            let end = position(&next(&get(server, "after=end")));
            let streams = [0, 1].map(|_| Stream::open(server.request("GET", &feed(server, ""))));
            let refused = get(server, &format!("after={end}&wait=60"));
            assert_eq!((refused.status, refused.issue().1.as_str()), (429, "throttled"), "{refused}");
            assert!(refused.header("retry-after").is_some());
            let events = server.request("GET", &feed(server, "")).header("accept", "text/event-stream");
            assert_eq!(crate::harness::Answer::of(events).status, 429);
            // Those who do not wait are not kept out, nor are those for whom there is something.
            assert!(changes(&get(server, "")).is_empty());
            store(server, &organization("acme", "One"));
            assert!(streams.iter().all(|stream| stream.next().is_some()));
            assert_eq!(changes(&get(server, &format!("after={end}&wait=60"))).len(), 1);
            // A place is given back when its client leaves.
            drop(streams);
            let end = position(&next(&get(server, "after=end")));
            let deadline = Instant::now() + LONG;
            while get(server, &format!("after={end}&wait=1")).status != 200 {
                assert!(Instant::now() < deadline, "no place was given back");
            }
        }
    }
}
