//! Date parameters: every value is a range, and nine prefixes compare ranges (R4 search.html#date, #prefix).

use serde_json::{Value, json};

use super::{check, load, refuse, resource};
use crate::harness::{Server, on_both};

fn role(id: &str, period: Value) -> Value {
    resource("PractitionerRole", id, json!({"period": period}))
}

fn task(id: &str, authored: &str) -> Value {
    resource("Task", id, json!({"status": "draft", "intent": "order", "authoredOn": authored}))
}

/// Checks `param` with each prefix and date against the values that are stored under these ids.
fn check_dates(server: &Server, param: &str, table: &[(&str, &[&str])]) {
    let queries: Vec<String> = table.iter().map(|(value, _)| format!("{param}={value}")).collect();
    let rows: Vec<(&str, &[&str])> =
        queries.iter().map(String::as_str).zip(table.iter().map(|(_, ids)| *ids)).collect();
    check(server, &rows);
}

on_both! {
    fn every_prefix_compares_a_period_as_a_range(server) {
        load(server, &[
            role("before", json!({"start": "2020-01-01", "end": "2020-02-29"})),
            role("touching", json!({"start": "2020-01-01", "end": "2020-03-09"})),
            role("into", json!({"start": "2020-01-01", "end": "2020-03-10"})),
            role("day", json!({"start": "2020-03-10", "end": "2020-03-10"})),
            role("noon", json!({"start": "2020-03-10T11:00:00Z", "end": "2020-03-10T12:00:00Z"})),
            role("from", json!({"start": "2020-03-10", "end": "2020-12-31"})),
            role("after", json!({"start": "2020-03-11", "end": "2020-12-31"})),
            role("round", json!({"start": "2020-01-01", "end": "2020-12-31"})),
            role("since", json!({"start": "2020-03-10"})),
            role("until", json!({"end": "2020-03-10"})),
            resource("PractitionerRole", "none", json!({"active": true})),
        ]);
        check_dates(server, "PractitionerRole?date", &[
            ("2020-03-10", &["day", "noon"]),
            ("eq2020-03-10", &["day", "noon"]),
            ("ne2020-03-10", &["before", "touching", "into", "from", "after", "round", "since", "until"]),
            // Above: reaches beyond the end of the day.
            ("gt2020-03-10", &["from", "after", "round", "since"]),
            ("lt2020-03-10", &["before", "touching", "into", "round", "until"]),
            // Ends after the start of the day; begins before its end.
            ("ge2020-03-10", &["into", "day", "noon", "from", "after", "round", "since", "until"]),
            ("le2020-03-10", &["before", "touching", "into", "day", "noon", "from", "round", "since", "until"]),
            ("sa2020-03-10", &["after"]),
            ("eb2020-03-10", &["before", "touching"]),
            ("eq2020", &["before", "touching", "into", "day", "noon", "from", "after", "round"]),
            ("eq2020-03", &["day", "noon"]),
            ("sa2020-02", &["day", "noon", "from", "after", "since"]),
            ("sa2019", &["before", "touching", "into", "day", "noon", "from", "after", "round", "since"]),
            ("eb2021", &["before", "touching", "into", "day", "noon", "from", "after", "round", "until"]),
            ("eq2020-03-10T11:30:00Z", &[]),
            ("sa2020-03-10T10:59:59Z", &["noon", "after"]),
            ("eb2020-03-10T12:00:01Z", &["before", "touching", "noon"]),
            ("ge2020-03-01&date=le2020-03-09", &["touching", "into", "round", "until"]),
            ("eb2020-03-01,sa2020-03-10", &["before", "after"]),
        ]);
        check(server, &[
            ("PractitionerRole?date:missing=true", &["none"]),
            ("PractitionerRole?period=2020-03-10", &["day", "noon"]),
            ("PractitionerRole?period:missing=false&date=eq2020-03", &["day", "noon"]),
        ]);
    }

    fn a_partial_date_is_as_wide_as_it_is_written(server) {
        load(server, &[
            task("year", "2013"), task("month", "2013-01"), task("day", "2013-01-14"),
            task("ten", "2013-01-14T10:00:00Z"), task("half", "2013-01-14T10:00:00.500Z"), task("fine", "2013-01-14T10:00:00.1234567Z"),
            task("new", "2013-12-31T23:59:59Z"),
        ]);
        check_dates(server, "Task?authored-on", &[
            ("2013", &["year", "month", "day", "ten", "half", "fine", "new"]),
            ("2013-01", &["month", "day", "ten", "half", "fine"]),
            ("2013-01-14", &["day", "ten", "half", "fine"]),
            ("2013-01-14T10:00Z", &["ten", "half", "fine"]),
            ("2013-01-14T10:00", &["ten", "half", "fine"]),
            ("2013-01-14T10:00:00Z", &["ten", "half", "fine"]),
            ("2013-01-14T10:00:00.5Z", &["half"]),
            ("2013-01-14T10:00:00.500Z", &["half"]),
            ("2013-01-14T10:00:00.501Z", &[]),
            ("2013-01-14T10:00:00.123Z", &["fine"]),
            // The rule's own example: the day reaches beyond ten o'clock.
            ("gt2013-01-14T10:00Z", &["year", "month", "day", "new"]),
            ("gt2013-01-14", &["year", "month", "new"]),
            ("lt2013-01-14", &["year", "month"]),
            ("lt2013-01-14T10:00:00Z", &["year", "month", "day"]),
            ("ge2013-12-31", &["year", "new"]),
            ("le2013-01-01", &["year", "month"]),
            ("sa2013", &[]),
            ("sa2012", &["year", "month", "day", "ten", "half", "fine", "new"]),
            ("eb2014", &["year", "month", "day", "ten", "half", "fine", "new"]),
            ("sa2013-01-14", &["new"]),
            ("ne2013-01", &["year", "new"]),
            ("ne2013", &[]),
        ]);
    }

    fn time_zones_are_taken_into_account(server) {
        load(server, &[
            task("utc", "2020-06-01T12:00:00Z"), task("east", "2020-06-01T12:00:00+02:00"), task("west", "2020-05-31T23:00:00-05:00"),
            task("bare", "2020-06-01"),
        ]);
        check_dates(server, "Task?authored-on", &[
            ("2020-06-01T12:00:00Z", &["utc"]),
            ("2020-06-01T14:00:00%2B02:00", &["utc"]),
            ("2020-06-01T14%3A00%3A00%2B02%3A00", &["utc"]),
            (r"2020-06-01T14\:00\:00%2B02\:00", &["utc"]),
            ("2020-06-01T10:00:00Z", &["east"]),
            ("2020-06-01T05:00:00-05:00", &["east"]),
            ("2020-06-01T04:00:00Z", &["west"]),
            ("2020-06-01", &["utc", "east", "west", "bare"]),
            ("2020-05-31", &[]),
            ("lt2020-06-01T10:00:00Z", &["west", "bare"]),
        ]);
    }

    fn approximately_widens_with_the_distance_from_now(server) {
        load(server, &[task("near", "2013-06-01"), task("far", "1990-06-01")]);
        // A tenth of the years since then is more than a month and less than ten years.
        check_dates(server, "Task?authored-on", &[
            ("ap2013-05-01", &["near"]), ("ap2013-07-01", &["near"]), ("ap2013", &["near"]), ("ap1970", &[]), ("2013-05-01", &[]),
        ]);
    }

    fn last_updated_is_the_time_of_the_change_as_the_server_saw_it(server) {
        let create = |name: &str| {
            let body = json!({"resourceType": "Organization", "name": name, "meta": {"lastUpdated": "1999-01-01T00:00:00Z"}});
            let created = server.post("Organization", &body);
            assert_eq!(created.status, 201, "{created}");
            let at = created.body["meta"]["lastUpdated"].as_str().expect("lastUpdated").to_owned();
            (created.body["id"].as_str().expect("id").to_owned(), at)
        };
        let (first, at) = create("First");
        let (second, later) = loop {
            let (id, later) = create("Second");
            if later != at {
                break (id, later);
            }
        };
        let ids = |query: &str| server.ids(query);
        assert!(ids("Organization?_lastUpdated=1999").is_empty());
        assert!(ids(&format!("Organization?_lastUpdated=ge{at}")).contains(&first));
        assert!(ids(&format!("Organization?_lastUpdated={at}")).contains(&first));
        assert!(!ids(&format!("Organization?_lastUpdated=gt{at}")).contains(&first));
        assert!(ids(&format!("Organization?_lastUpdated=gt{at}")).contains(&second));
        assert!(ids(&format!("Organization?_lastUpdated=sa{at}")).contains(&second));
        assert_eq!(ids(&format!("Organization?_lastUpdated=le{at}&_lastUpdated=ge{at}")).first(), Some(&first));
        assert!(!ids(&format!("Organization?_lastUpdated=lt{later}")).contains(&second));
        assert!(!ids(&format!("Organization?_lastUpdated=eb{later}")).contains(&second));
        assert!(ids(&format!("Organization?_lastUpdated=eb{later}")).contains(&first));
        assert!(!ids(&format!("Organization?_lastUpdated=ne{at}")).contains(&first));
        assert!(ids("Organization?_lastUpdated=ap2000").is_empty());
        assert!(ids("Organization?_lastUpdated=lt2000,gt2020").contains(&second));
    }

    fn what_is_no_date_is_refused(server) {
        let values = [
            "x", "20", "2020-13", "2020-02-30", "2020-1-1", "2020-01-01T10", "2020-01-01T25:00", "2020-01-01T10:00:00%2B2", "2020T10:00",
            "xx2020", "ge", "2020-01-01T10:00:00%2B15:00", "2020,x", "0000", "2020-01-01T10:00:00.", "gtlt2020",
        ];
        let queries: Vec<String> = values.iter().flat_map(|value| ["Task?authored-on", "Organization?_lastUpdated"].map(|param| format!("{param}={value}"))).collect();
        refuse(server, &queries.iter().map(String::as_str).collect::<Vec<_>>());
        refuse(server, &["Task?authored-on:not=2020", "Task?authored-on:exact=2020", "Task?authored-on:above=2020", "Organization?_lastUpdated:not=2020"]);
    }
}
