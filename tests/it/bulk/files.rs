//! The files: whole, in part, and for whom they are meant.

use serde_json::{Value, json};

use super::{anybody, assert_refused, exported, organization};
use crate::harness::on_both;
use crate::harness::tokens::Bearer;

/// The URL of the one file of a manifest, and its text.
fn only_file(bearer: &Bearer<'_>, manifest: &Value) -> (String, String) {
    let url = manifest["output"][0]["url"].as_str().expect("a file").to_owned();
    let text = bearer.get(&url).text;
    (url, text)
}

on_both! {
    fn a_download_that_was_broken_off_is_resumed(server) {
        let bearer = anybody(server);
        // More than one chunk.
        let entries: Vec<Value> = (0..1_500).map(|n| {
            let resource = organization(&format!("o{n}"), &"x".repeat(300));
            json!({"resource": resource, "request": {"method": "PUT", "url": format!("Organization/o{n}")}})
        }).collect();
        let stored = bearer.post("", &json!({"resourceType": "Bundle", "type": "transaction", "entry": entries}));
        assert_eq!(stored.status, 200, "{}", stored.status);
        let (url, text) = only_file(&bearer, &exported(&bearer, "$export?_type=Organization"));
        assert!(text.len() > 500_000, "{}", text.len());
        let whole = bearer.get(&url);
        assert_eq!(whole.header("content-length"), Some(text.len().to_string().as_str()));
        assert_eq!(whole.header("accept-ranges"), Some("bytes"));
        let tag = whole.header("etag").expect("a tag").to_owned();
        assert!(tag.starts_with('"'), "strong: {tag}");
        let half = text.len() / 2;
        let part = |range: &str, headers: &[(&str, &str)]| {
            let mut all = vec![("range", range)];
            all.extend(headers);
            bearer.send("GET", &url, &all, "")
        };
        for (range, from, to) in [
            (format!("bytes={half}-"), half, text.len()),
            (format!("bytes=0-{}", half - 1), 0, half),
            ("bytes=-7".to_owned(), text.len() - 7, text.len()),
            (format!("bytes=5-{}", text.len() * 2), 5, text.len()),
        ] {
            let answer = part(&range, &[]);
            assert_eq!((answer.status, answer.text.as_str()), (206, &text[from..to]), "{range}");
            let named = format!("bytes {from}-{}/{}", to - 1, text.len());
            assert_eq!(answer.header("content-range"), Some(named.as_str()), "{range}");
            assert_eq!(answer.header("content-type"), Some("application/fhir+ndjson"));
            assert_eq!(part(&range, &[("if-range", &tag)]).status, 206, "{range}");
            let other = part(&range, &[("if-range", "\"another\"")]);
            assert_eq!((other.status, other.text.len()), (200, text.len()), "{range}");
        }
        for passed_over in ["bytes=0-1,3-4", "lines=1-2", "bytes=9-3", "bytes=x"] {
            assert_eq!(part(passed_over, &[]).status, 200, "{passed_over}");
        }
        let beyond = part(&format!("bytes={}-", text.len()), &[]);
        assert_eq!(beyond.header("content-range"), Some(format!("bytes */{}", text.len()).as_str()));
        assert_refused(&beyond, 416, "");
        assert_eq!(bearer.send("GET", &url, &[("if-none-match", &tag)], "").status, 304);
        assert_eq!(bearer.send("GET", &url, &[("if-none-match", "\"another\"")], "").status, 200);
        let head = bearer.send("HEAD", &url, &[], "");
        assert_eq!((head.status, head.text.as_str()), (200, ""));
        assert_eq!(head.header("content-length"), Some(text.len().to_string().as_str()));
        let head = bearer.send("HEAD", &url, &[("range", "bytes=3-5")], "");
        assert_eq!((head.status, head.header("content-length")), (206, Some("3")));
        // The connection is of use after it.
        assert_eq!(bearer.get(&url).text.len(), text.len());
    }

    fn a_file_is_sent_as_it_is_whatever_is_accepted(server) {
        let bearer = anybody(server);
        bearer.store(&organization("a", &"x".repeat(5_000)));
        let (url, text) = only_file(&bearer, &exported(&bearer, "$export?_type=Organization"));
        for (name, value) in [("accept", "application/fhir+ndjson"), ("accept", "image/png"), ("accept-encoding", "gzip, br")] {
            let answer = bearer.send("GET", &url, &[(name, value)], "");
            assert_eq!((answer.status, answer.text.as_str()), (200, text.as_str()), "{name}: {value}");
            assert_eq!(answer.header("content-encoding"), None);
            assert_eq!(answer.header("content-length"), Some(text.len().to_string().as_str()));
        }
    }

    fn only_files_of_the_export_are_there(server) {
        let bearer = anybody(server);
        bearer.store(&organization("a", "A"));
        let (url, _) = only_file(&bearer, &exported(&bearer, "$export?_type=Organization"));
        let (export, _) = url.rsplit_once('/').expect("a path");
        for name in ["Location.ndjson", "organization.ndjson", "%2e%2e%2f%2e%2e%2fplumbline.db", "..%2fOrganization.ndjson", "x"] {
            assert_refused(&bearer.get(&format!("{export}/{name}")), 404, "");
        }
        assert_refused(&bearer.get("_export/nothing/Organization.ndjson"), 404, "");
        assert_refused(&bearer.get("_export/nothing"), 404, "");
        assert_refused(&bearer.delete("_export/nothing"), 404, "");
    }

    fn line_breaks_in_what_is_stored_are_none_in_a_file(server) {
        let bearer = anybody(server);
        bearer.store(&organization("a", "one\ntwo\r\nthree"));
        let manifest = exported(&bearer, "$export?_type=Organization");
        assert_eq!(super::lines(&bearer, &manifest, "output")[0]["name"], "one\ntwo\r\nthree");
    }
}
