//! Which tokens are accepted, and what is said about those that are not.

use serde_json::{Value, json};

use super::{assert_forbidden, assert_invalid, assert_unknown, everything, organization, practitioner};
use crate::harness::tokens::{self, Bearer};
use crate::harness::{Answer, Server, on_both};

/// A read with these Authorization headers.
fn read(server: &Server, headers: &[&str]) -> Answer {
    let mut request = server.request("GET", "Organization/acme");
    for header in headers {
        request = request.header("authorization", *header);
    }
    Answer::of(request)
}

/// A read with a token of the trusted issuer with other claims; null takes one away.
fn read_with(server: &Server, changes: &Value) -> Answer {
    let mut claims = tokens::claims(server, "system/*.cruds");
    for (name, value) in changes.as_object().expect("claims") {
        match value {
            Value::Null => claims.as_object_mut().expect("claims").shift_remove(name),
            value => claims.as_object_mut().expect("claims").insert(name.clone(), value.clone()),
        };
    }
    read(server, &[&format!("Bearer {}", tokens::signed(&tokens::header(), &claims))])
}

on_both! {
    with { crate::harness::tokens::trusting() };

    fn a_token_of_the_server_itself_and_of_a_trusted_issuer_are_accepted(server) {
        let own = Bearer::new(server, tokens::printed(server, "system/*.cruds"));
        own.store(&organization("acme", "Acme"));
        assert_eq!(own.get("Organization/acme").status, 200);
        assert_eq!(Bearer::of(server, "system/*.r").get("Organization/acme").status, 200);
        let narrow = Bearer::new(server, tokens::printed(server, "system/Practitioner.rs"));
        assert_forbidden(&narrow.get("Organization/acme"));
        let audience = json!({"aud": ["https://elsewhere.example", server.base]});
        assert_eq!(read_with(server, &audience).status, 200, "this server is one of several audiences");
        let recent = json!({"exp": tokens::now_s() + 60, "nbf": tokens::now_s(), "iat": tokens::now_s()});
        assert_eq!(read_with(server, &recent).status, 200);
        let lower = format!("bearer {}", tokens::printed(server, "system/*.r"));
        assert_eq!(read(server, &[&lower]).status, 200, "the scheme has no case");
    }

    fn without_a_token_the_answer_says_how_to_come_by_one(server) {
        everything(server).store(&organization("acme", "Acme"));
        assert_unknown(&read(server, &[]));
        let nobody = Bearer::nobody(server);
        assert_unknown(&nobody.post("Organization", &json!({"resourceType": "Organization", "name": "New"})));
        assert_unknown(&nobody.get("Organization?name=acme"));
        assert_unknown(&nobody.get("AuditEvent"));
    }

    fn a_token_that_is_none_is_invalid(server) {
        everything(server).store(&organization("acme", "Acme"));
        let good = tokens::signed(&tokens::header(), &tokens::claims(server, "system/*.cruds"));
        assert_eq!(read(server, &[&format!("Bearer {good}")]).status, 200);
        let (message, signature) = good.rsplit_once('.').expect("a signature");
        let (header, claims) = message.split_once('.').expect("claims");
        // Any other byte in the middle of it.
        let at = signature.len() / 2;
        let other = if &signature[at..=at] == "A" { "B" } else { "A" };
        let changed = format!("{message}.{}{other}{}", &signature[..at], &signature[at + 1..]);
        for wrong in
            ["x", "x.y.z", "", message, &format!("{message}."), &changed, &format!("{header}.{claims}.{claims}")]
        {
            assert_invalid(&read(server, &[&format!("Bearer {wrong}")]));
        }
        for wrong in [good.clone(), format!("Basic {good}"), format!("Bearer{good}")] {
            assert_invalid(&read(server, &[&wrong]));
        }
        let (one, two) = (format!("Bearer {good}"), format!("Bearer {good}"));
        assert_invalid(&read(server, &[&one, &two]));
        // Whoever shows a bad token is not taken for somebody without one, wherever they ask.
        let bearer = Bearer::new(server, changed);
        for answer in [
            bearer.get("Organization"),
            bearer.delete("Organization/acme"),
            bearer.get("_history"),
            bearer.post("", &super::bundle("batch", &[])),
        ] {
            assert_invalid(&answer);
        }
    }

    fn a_token_that_is_not_meant_for_now_and_here_is_invalid(server) {
        everything(server).store(&organization("acme", "Acme"));
        let now = tokens::now_s();
        for changes in [
            json!({"exp": now - 3600}),
            json!({"exp": null}),
            json!({"exp": "tomorrow"}),
            json!({"nbf": now + 3600}),
            json!({"aud": null}),
            json!({"aud": "https://elsewhere.example/fhir"}),
            json!({"aud": []}),
            json!({"iss": null}),
            json!({"iss": "https://other.example"}),
            json!({"iss": server.base}),
            json!({"sub": null}),
        ] {
            let answer = read_with(server, &changes);
            assert_eq!(answer.status, 401, "{changes}: {answer}");
            assert_invalid(&answer);
        }
    }

    fn a_token_that_another_key_or_algorithm_signed_is_invalid(server) {
        everything(server).store(&organization("acme", "Acme"));
        let claims = tokens::claims(server, "system/*.cruds");
        let by = |header: Value| tokens::signed(&header, &claims);
        let strange = tokens::signed_by(&tokens::key(), &tokens::header(), &claims);
        let unsigned = by(json!({"alg": "none", "kid": "one", "typ": "at+jwt"}));
        let (message, _) = unsigned.rsplit_once('.').expect("a signature");
        for wrong in [
            strange,
            format!("{message}."),
            unsigned.clone(),
            by(json!({"alg": "HS384", "kid": "one", "typ": "at+jwt"})),
            by(json!({"alg": "ES256", "kid": "one", "typ": "at+jwt"})),
            by(json!({"alg": "ES384", "kid": "other", "typ": "at+jwt"})),
            by(json!({"alg": "ES384", "typ": "at+jwt"})),
            // It tells who somebody is, not what they may do.
            by(json!({"alg": "ES384", "kid": "one", "typ": "id_token"})),
        ] {
            assert_invalid(&read(server, &[&format!("Bearer {wrong}")]));
        }
    }

    fn a_token_in_a_url_is_refused(server) {
        everything(server).store(&organization("acme", "Acme"));
        let token = tokens::printed(server, "system/*.cruds");
        for path in ["Organization/acme", "Organization", "_history", "metadata"] {
            let answer = server.get(&format!("{path}?access_token={token}"));
            assert_eq!(answer.status, 400, "{answer}");
            assert!(!answer.text.contains(&token), "{answer}");
        }
    }

    fn what_no_scope_names_is_not_allowed(server) {
        everything(server).store(&organization("acme", "Acme"));
        for scope in [
            "",
            "openid fhirUser",
            "Organization.r",
            "system/Organization",
            "system/Organization.",
            "system/organization.r",
            "system/Organization.sr",
            "system/Organization.rr",
            "system/Organization.x",
            "system/Organization.R",
            "system/Organization.reads",
            "system/Unknown.cruds",
            "system/*.cruds?_id=acme",
            "system/Organization.read?_id=acme",
            "system/Organization.r?",
            "system/Organization.r?_id",
            "system/Organization.r?_id=",
            "system/Organization.r?colour=red",
            "system/Organization.r?_count=1",
            "system/Organization.r?_sort=name",
            "systems/*.cruds",
            "api/token.read api/launch.write",
        ] {
            let answer = Bearer::of(server, scope).get("Organization/acme");
            assert_eq!(answer.status, 403, "'{scope}': {answer}");
            assert_forbidden(&answer);
        }
    }
}

/// What anybody may do where nobody changed the setting.
const DEFAULT: &str = "system/Practitioner.rs system/PractitionerRole.rs system/Organization.rs system/Location.rs \
    system/HealthcareService.rs system/OrganizationAffiliation.rs system/Endpoint.rs system/InsurancePlan.rs";

mod everybody {
    use super::*;

    on_both! {
        with { crate::harness::tokens::trusting_with(&[("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", super::super::DEFAULT)]) };

        fn everybody_reads_and_searches_the_directory_and_nothing_else(server) {
            everything(server).store(&practitioner("1", "Meier"));
            let nobody = Bearer::nobody(server);
            assert_eq!(nobody.get("Practitioner/1").status, 200);
            assert_eq!(nobody.get("Practitioner/1/_history").status, 200);
            for scope in super::DEFAULT.split(' ') {
                let name = scope.trim_start_matches("system/").trim_end_matches(".rs");
                assert_eq!(nobody.get(name).status, 200, "{name}");
                assert_unknown(&nobody.delete(&format!("{name}/1")));
            }
            for name in [
                "Subscription",
                "Basic",
                "Task",
                "Provenance",
                "VerificationResult",
                "DocumentReference",
                "Binary",
                "Consent",
                "Communication",
                "AuditEvent",
            ] {
                assert_unknown(&nobody.get(name));
                assert_unknown(&nobody.get(&format!("{name}/1")));
                assert_unknown(&nobody.get(&format!("{name}/_history")));
            }
            assert_unknown(&nobody.put("Practitioner/1", &practitioner("1", "Huber")));
            assert_unknown(
                &nobody
                    .post("", &super::super::bundle("transaction", &[super::super::call("DELETE", "Practitioner/1")])),
            );
        }

        fn the_default_of_the_setting_is_the_directory(_server) {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/default.yaml");
            let words = std::fs::read_to_string(file).expect("the settings");
            let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(words.contains(&format!("anonymous_scope: >- {} ", super::DEFAULT)), "{words}");
        }

        fn a_bad_token_is_not_as_good_as_none(server) {
            everything(server).store(&organization("acme", "Acme"));
            assert_eq!(read(server, &[]).status, 200);
            assert_invalid(&read(server, &["Bearer x"]));
            assert_invalid(&read_with(server, &json!({"exp": tokens::now_s() - 3600})));
        }
    }
}
