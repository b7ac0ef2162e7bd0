//! PostgreSQL gives numbers before transactions commit: a change with a lower one may come later.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::{feed, next, organization, store, told, walk};
use crate::harness::{Server, postgres};

#[test]
fn what_is_committed_late_is_told_to_those_who_have_read_beyond() {
    let Some(server) = Server::postgres(&[]) else { return };
    let url = server.database_url().expect("a database");
    let mut psql = Command::new("psql")
        .args(["-q", "-X", "-v", "ON_ERROR_STOP=1", url])
        .stdin(Stdio::piped())
        .spawn()
        .expect("psql runs");
    let mut input = psql.stdin.take().expect("its input");
    let late = r#"{"resourceType":"Organization","id":"late","name":"Late"}"#;
    writeln!(
        input,
        "BEGIN; SET application_name = 'late'; \
         WITH r AS (INSERT INTO resource (rtype, id, version, live, last_updated, body) VALUES (3, 'late', 1, 1, 1, '{late}') RETURNING rid) \
         INSERT INTO version (rid, rtype, version, at, kind) SELECT rid, 3, 1, 1, 1 FROM r;"
    )
    .expect("psql reads");
    let waits =
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'late' AND state = 'idle in transaction'";
    while postgres::ask(url, waits) != "1" {
        std::thread::yield_now();
    }
    for n in 0..3 {
        store(&server, &organization("acme", &n.to_string()));
    }
    let seen = walk(&server, "", "update Organization/acme/3");
    assert_eq!(told(&seen).len(), 3);
    let end = server.get(&feed(&server, "after=end"));
    writeln!(input, "COMMIT;").expect("psql reads");
    drop(input);
    assert!(psql.wait().expect("psql ends").success());
    let rest = next(&end);
    let (_, query) = rest.split_once('?').expect("a query");
    let more = walk(&server, query, "create Organization/late/1");
    assert_eq!(told(&more), ["create Organization/late/1"]);
    assert!(more[0]["position"].as_i64() > seen[2]["position"].as_i64());
    // It was written first all the same.
    let order = "SELECT bool_and(v.seq >= l.seq) FROM version v, (SELECT v.seq FROM version v JOIN resource r USING (rid) WHERE r.id = 'late') l WHERE v.rtype = 3";
    assert_eq!(postgres::ask(url, order), "t");
}
