//! What becomes of an export: removed, over, begun again, one too many.

use std::io::Read as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::{anybody, assert_refused, exported, kick_off, manifest, names, organization, outcome, until};
use crate::harness::{Server, on_both};

/// The folders of the exports of a server.
fn folders(server: &Server) -> Vec<PathBuf> {
    let read = |folder: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(Result::ok).map(|entry| entry.path()).collect()
    };
    read(server.data().join("exports")).into_iter().flat_map(read).collect()
}

fn fill(server: &Server, count: usize, name: &str) {
    let entry = |n: usize| {
        let resource = organization(&format!("o{n}"), name);
        json!({"resource": resource, "request": {"method": "PUT", "url": format!("Organization/o{n}")}})
    };
    let entries: Vec<Value> = (0..count).map(entry).collect();
    let answer = server.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
    assert_eq!(answer.status, 200, "{}", answer.status);
}

/// Looks at an export until somebody works on it; false when it is over already.
fn is_running(server: &Server, url: &str) -> bool {
    until("somebody who works on it", || {
        let answer = server.get(url);
        match answer.status {
            202 => answer.header("x-progress").is_some_and(|it| it.contains("written")).then_some(true),
            _ => Some(false),
        }
    })
}

on_both! {
    fn what_is_removed_is_gone_with_its_files(server) {
        let bearer = anybody(server);
        fill(server, 3, "O");
        let url = kick_off(&bearer, "$export?_type=Organization");
        let manifest = manifest(&bearer, &url);
        assert_eq!(folders(server).len(), 1);
        assert_eq!(bearer.delete(&url).status, 202);
        assert_refused(&bearer.get(&url), 404, "");
        assert_refused(&bearer.delete(&url), 404, "");
        assert_refused(&bearer.get(manifest["output"][0]["url"].as_str().expect("a URL")), 404, "");
        until("an empty folder", || folders(server).is_empty().then_some(()));
    }

    fn an_export_is_broken_off_while_it_runs(server) {
        let bearer = anybody(server);
        fill(server, 2_000, "O");
        for _ in 0..3 {
            let url = kick_off(&bearer, "$export?_type=Organization");
            is_running(server, &url);
            assert_eq!(bearer.delete(&url).status, 202);
            assert_refused(&bearer.get(&url), 404, "");
            until("an empty folder", || folders(server).is_empty().then_some(()));
        }
        assert_eq!(names(&bearer, &exported(&bearer, "$export?_type=Organization")).len(), 2_000);
    }
}

mod few {
    use super::*;

    on_both! {
        with [("PLUMBLINE_EXPORT__CLIENT_MAX", "2"), ("PLUMBLINE_EXPORT__ALL_MAX", "3"), ("PLUMBLINE_EXPORT__RUNNING_MAX", "0"),
            ("PLUMBLINE_LIMITS__POLLS_PER_S", "0.001"), ("PLUMBLINE_LIMITS__POLLS_BURST", "3")];

        fn one_too_many_is_told_when_to_come_again(server) {
            let bearer = anybody(server);
            let first = kick_off(&bearer, "$export");
            kick_off(&bearer, "$export");
            let refused = bearer.get("$export");
            assert_refused(&refused, 429, "");
            assert!(refused.header("retry-after").is_some_and(|it| it.parse::<u32>().is_ok()), "{refused:?}");
            let other = |scope| crate::harness::tokens::Bearer::new(server, crate::harness::tokens::printed(server, scope));
            kick_off(&other("system/*.rs"), "$export");
            assert_refused(&other("system/*.rs").get("$export"), 429, "");
            // One that waits makes room when it is removed.
            assert_eq!(bearer.delete(&first).status, 202);
            assert_refused(&bearer.get(&first), 404, "");
            kick_off(&bearer, "$export");
        }

        fn who_looks_too_often_is_told_so(server) {
            let bearer = anybody(server);
            let url = kick_off(&bearer, "$export");
            for _ in 0..3 {
                let answer = bearer.get(&url);
                assert_eq!((answer.status, answer.header("x-progress")), (202, Some("waiting for its turn")), "{answer:?}");
                assert!(answer.header("retry-after").is_some());
            }
            let answer = bearer.get(&url);
            assert_refused(&answer, 429, "");
            assert_eq!(answer.issue().1, "throttled");
            assert!(answer.header("retry-after").is_some_and(|it| it.parse::<u32>().is_ok_and(|it| it > 1)), "{answer:?}");
            assert_eq!(bearer.get(&kick_off(&bearer, "$export")).status, 202, "another export");
        }
    }
}

mod short {
    use super::*;

    on_both! {
        with [("PLUMBLINE_EXPORT__KEEP_S", "1")];

        fn what_is_over_is_removed_and_a_download_under_way_goes_on(server) {
            // More than the buffers of a connection hold.
            fill(server, 1_500, &"x".repeat(10_000));
            let bearer = anybody(server);
            let url = kick_off(&bearer, "$export?_type=Organization");
            let manifest = outcome(&bearer, &url);
            assert_eq!(manifest.status, 200, "{manifest}");
            let file = manifest.body["output"][0]["url"].as_str().expect("a URL").to_owned();
            let mut download = server.request("GET", &file).send().expect("an answer");
            assert_eq!(download.status(), 200);
            let bytes = download.content_length().expect("a length");
            let mut first = vec![0; 1_000];
            download.read_exact(&mut first).expect("the beginning");
            until("its end", || (server.get(&url).status == 404).then_some(()));
            assert_refused(&server.get(&file), 404, "");
            until("an empty folder", || folders(server).is_empty().then_some(()));
            let mut rest = Vec::new();
            download.read_to_end(&mut rest).expect("the rest");
            assert_eq!(first.len() + rest.len(), usize::try_from(bytes).expect("a length"));
            assert!(rest.ends_with(b"}\n"));
        }
    }
}

/// Kills a server while it works on an export, and starts it again.
fn killed_in_the_middle(mut server: Server) {
    fill(&server, 3_000, "O");
    for _ in 0..20 {
        let url = kick_off(&anybody(&server), "$export?_type=Organization,Location");
        let path = format!("_export/{}", url.rsplit('/').next().expect("an id"));
        let was_running = is_running(&server, &path);
        server.restart();
        let bearer = anybody(&server);
        let manifest = manifest(&bearer, &path);
        assert_eq!(names(&bearer, &manifest).len(), 3_000);
        let folder = until("one folder", || match folders(&server).as_slice() {
            [folder] => Some(folder.clone()),
            _ => None,
        });
        let files: Vec<_> = std::fs::read_dir(&folder).expect("a folder").filter_map(Result::ok).collect();
        assert_eq!(files.len(), 1, "no draft is left: {files:?}");
        if was_running && folder.to_string_lossy().ends_with("_2") {
            return;
        }
        assert_eq!(bearer.delete(&path).status, 202);
    }
    panic!("it was never killed in the middle");
}

const SHORT_LEASE: [(&str, &str); 1] = [("PLUMBLINE_EXPORT__LEASE_S", "2")];

#[test]
fn an_export_survives_its_server_on_sqlite() {
    killed_in_the_middle(Server::sqlite(&SHORT_LEASE));
}

#[test]
fn an_export_survives_its_server_on_postgresql() {
    if let Some(server) = Server::postgres(&SHORT_LEASE) {
        killed_in_the_middle(server);
    }
}

mod shared {
    use super::*;

    on_both! {
        with [("PLUMBLINE_EXPORT__RUNNING_MAX", "0")];

        fn another_server_does_the_work_and_both_tell_of_it(server) {
            fill(server, 3, "O");
            let url = kick_off(&anybody(server), "$export?_type=Organization");
            assert_eq!(server.get(&url).status, 202);
            let folder = server.data().join("exports").display().to_string();
            let second = server.second(&[("PLUMBLINE_EXPORT__RUNNING_MAX", "1"), ("PLUMBLINE_EXPORT__FOLDER", &folder)]);
            assert_eq!(names(&anybody(server), &manifest(&anybody(server), &url)).len(), 3);
            let there = format!("_export/{}", url.rsplit('/').next().expect("an id"));
            let other = manifest(&anybody(&second), &there);
            assert!(other["output"][0]["url"].as_str().is_some_and(|it| it.starts_with(&second.base)), "{other}");
            assert_eq!(names(&anybody(&second), &other).len(), 3);
            assert_eq!(folders(server).len(), 1, "one of them did it, once");
        }
    }
}

mod unwritable {
    use super::*;

    on_both! {
        with [("PLUMBLINE_EXPORT__FOLDER", "/dev/null")];

        fn an_export_that_fails_says_so(server) {
            fill(server, 1, "O");
            let bearer = anybody(server);
            let url = kick_off(&bearer, "$export?_type=Organization");
            let answer = outcome(&bearer, &url);
            assert_refused(&answer, 500, "");
            assert!(answer.issue().2.contains("cannot be written"), "{answer}");
            assert_eq!(bearer.delete(&url).status, 202);
            assert_refused(&bearer.get(&url), 404, "");
        }
    }
}
