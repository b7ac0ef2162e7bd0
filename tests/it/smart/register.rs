//! Apps that register themselves (RFC 7591), where the operator lets them.

use serde_json::{Value, json};

use super::browser::{Ask, Browser};
use super::signing::{Key, jwks};
use super::{ALLOW_LOOPBACK, Proof, REDIRECT, Smart, assert_error, text_of};
use crate::harness::{Answer, Server, on_both};

const OPEN: (&str, &str) = ("PLUMBLINE_AUTH__DYNAMIC_REGISTRATION", "true");

fn send(smart: &Smart, body: &str) -> Answer {
    let request = smart.request("POST", "/auth/register").header("content-type", "application/json");
    Answer::of(request.body(body.to_owned()))
}

fn register(smart: &Smart, metadata: &Value) -> Answer {
    send(smart, &metadata.to_string())
}

/// The id of a client that registered itself.
fn registered(answer: &Answer) -> String {
    assert_eq!(answer.status, 201, "{answer}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
    answer.body["client_id"].as_str().expect("an id").to_owned()
}

/// The access token that ann lets an app have.
fn token_of(smart: &Smart, id: &str, proof: &Proof) -> String {
    let ask = Ask::new(smart, id, "openid user/Location.rs");
    text_of(&ask.exchange(smart, proof, &Browser::new().allow(smart, &ask, "ann").code()), "access_token")
}

on_both! {
    with [crate::smart::register::OPEN];

    fn an_app_without_a_secret_registers_itself(server) {
        let smart = Smart::of(server);
        smart.user("ann", &[]);
        let answer = register(&smart, &json!({
            "redirect_uris": [REDIRECT, "http://localhost:3000/cb"], "client_name": "The Finder", "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"], "scope": "openid user/Location.rs"}));
        let id = registered(&answer);
        assert_eq!(answer.body["redirect_uris"], json!([REDIRECT, "http://localhost:3000/cb"]));
        assert_eq!((&answer.body["client_name"], &answer.body["token_endpoint_auth_method"]), (&json!("The Finder"), &json!("none")));
        assert_eq!(answer.body.get("client_secret"), None);
        assert_eq!(answer.body["scope"], "openid user/Location.rs");
        let token = token_of(&smart, &id, &Proof::Public(&id));
        assert_eq!((smart.fhir(&token, "Location").status, smart.fhir(&token, "Organization").status), (200, 403));
        assert!(smart.cli(&["client", "list"], "").contains(&id), "the operator sees it");
    }

    fn an_app_with_a_secret_registers_itself(server) {
        let smart = Smart::of(server);
        smart.user("ann", &[]);
        for method in [Some("client_secret_basic"), Some("client_secret_post"), None] {
            let mut metadata = json!({"redirect_uris": [REDIRECT], "client_name": "App"});
            if let Some(method) = method {
                metadata["token_endpoint_auth_method"] = method.into();
            }
            let answer = register(&smart, &metadata);
            let id = registered(&answer);
            let secret = answer.body["client_secret"].as_str().expect("a secret").to_owned();
            assert!(answer.body["client_secret_expires_at"].is_number(), "RFC 7591 wants it: {answer}");
            token_of(&smart, &id, &Proof::Basic(&id, &secret));
            token_of(&smart, &id, &Proof::Post(&id, &secret));
            let ask = Ask::new(&smart, &id, "openid user/Location.rs");
            let code = Browser::new().allow(&smart, &ask, "ann").code();
            assert_error(&ask.exchange(&smart, &Proof::Public(&id), &code), &["invalid_client"]);
            assert!(!super::stored(server).contains(&secret), "it is kept as a hash");
        }
    }

    fn an_app_with_keys_registers_itself(server) {
        let smart = Smart::of(server);
        smart.user("ann", &[]);
        let key = Key::ec("own");
        let answer = register(&smart, &json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt", "jwks": jwks(&[&key])}));
        let id = registered(&answer);
        assert_eq!(answer.body.get("client_secret"), None);
        token_of(&smart, &id, &Proof::Key(&id, &key));
        let ask = Ask::new(&smart, &id, "openid user/Location.rs");
        let code = Browser::new().allow(&smart, &ask, "ann").code();
        for stranger in [Proof::Key(&id, &Key::ec("own")), Proof::Public(&id)] {
            assert_error(&ask.exchange(&smart, &stranger, &code), &["invalid_client"]);
        }
    }

    fn where_codes_cannot_go_nobody_is_registered(server) {
        let smart = Smart::of(server);
        for uri in [
            "http://app.example/callback", "https://app.example/#fragment", "https://app.example/callback#", "javascript:alert(1)", "JavaScript:alert(1)",
            "data:text/html,x", "https://*.example/callback", "https://app.example/*", "https://user:password@app.example/", "file:///etc/passwd",
            "vbscript:x", "about:blank", "blob:https://app.example/x", "myapp:/callback", "/callback", "app.example", "", " ", "https://", "ftp://app.example/",
            "http://localhost.other.example/", "http://127.0.0.1.other.example/",
        ] {
            for uris in [json!([uri]), json!([REDIRECT, uri])] {
                let answer = register(&smart, &json!({"redirect_uris": uris, "token_endpoint_auth_method": "none"}));
                assert_error(&answer, &["invalid_redirect_uri"]);
            }
        }
        assert_error(&register(&smart, &json!({"token_endpoint_auth_method": "none"})), &["invalid_redirect_uri"]);
        assert_error(&register(&smart, &json!({"redirect_uris": [], "token_endpoint_auth_method": "none"})), &["invalid_redirect_uri"]);
        assert_eq!(smart.cli(&["client", "list"], ""), "", "none was kept");
    }
}

#[test]
fn where_it_is_off_nobody_registers_themselves() {
    let server = Server::sqlite(&[]);
    let smart = Smart::of(&server);
    for body in [
        json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}).to_string(),
        String::new(),
        "x".to_owned(),
    ] {
        let answer = send(&smart, &body);
        assert_eq!(answer.status, 403, "{answer}");
        assert!(answer.body["error"].is_string(), "{answer}");
    }
    assert_eq!(smart.cli(&["client", "list"], ""), "");
}

#[test]
fn nobody_gets_more_than_the_settings_say() {
    let server =
        Server::sqlite(&[OPEN, ("PLUMBLINE_AUTH__REGISTRATION_SCOPE", "openid user/Location.rs user/Practitioner.r")]);
    let smart = Smart::of(&server);
    smart.user("ann", &["--admin"]);
    let granted = |scope: Option<&str>| {
        let mut metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"});
        if let Some(scope) = scope {
            metadata["scope"] = scope.into();
        }
        let answer = register(&smart, &metadata);
        let id = registered(&answer);
        let ask = Ask::new(&smart, &id, "openid fhirUser offline_access user/*.cruds system/*.cruds api/token.read");
        let tokens = match Browser::new().get(&smart, &ask.url(&smart)) {
            page if page.asks_for_password() => {
                ask.exchange(&smart, &Proof::Public(&id), &Browser::new().allow(&smart, &ask, "ann").code())
            }
            page => {
                page.assert_told("invalid_scope");
                return Vec::new();
            }
        };
        super::scopes(&tokens.body)
    };
    let all = ["openid", "user/Location.rs", "user/Practitioner.r"];
    assert_eq!(granted(None), all);
    assert_eq!(granted(Some("openid fhirUser offline_access user/*.cruds system/*.cruds api/token.read")), all);
    assert_eq!(granted(Some("user/Location.r")), ["user/Location.r"]);
    assert_eq!(granted(Some("system/*.cruds")), Vec::<String>::new());
}

#[test]
fn an_app_is_not_a_system() {
    let server = Server::sqlite(&[OPEN]);
    let smart = Smart::of(&server);
    for grants in [
        json!(["client_credentials"]),
        json!(["authorization_code", "client_credentials"]),
        json!(["implicit"]),
        json!(["password"]),
    ] {
        let answer = register(&smart, &json!({"redirect_uris": [REDIRECT], "grant_types": grants}));
        assert_error(&answer, &["invalid_client_metadata"]);
    }
    let answer = register(&smart, &json!({"redirect_uris": [REDIRECT], "scope": "system/*.rs user/*.rs"}));
    let (id, secret) = (registered(&answer), answer.body["client_secret"].as_str().expect("a secret").to_owned());
    for scope in ["system/*.rs", "user/*.rs"] {
        assert_error(&smart.backend(&Proof::Basic(&id, &secret), scope), &["unauthorized_client", "invalid_scope"]);
    }
}

#[test]
fn an_app_gets_no_token_by_a_grant_that_it_is_not_registered_for() {
    let server = Server::sqlite(&[OPEN, ("PLUMBLINE_AUTH__REGISTRATION_SCOPE", "system/*.rs user/*.rs")]);
    let smart = Smart::of(&server);
    let answer = register(&smart, &json!({"redirect_uris": [REDIRECT]}));
    let (id, secret) = (registered(&answer), answer.body["client_secret"].as_str().expect("a secret").to_owned());
    assert_eq!(answer.body["grant_types"], json!(["authorization_code", "refresh_token"]));
    let token = smart.backend(&Proof::Basic(&id, &secret), "system/*.rs");
    assert_error(&token, &["unauthorized_client", "invalid_scope"]);
}

#[test]
fn metadata_that_cannot_be_is_refused() {
    let server = Server::sqlite(&[OPEN, ALLOW_LOOPBACK]);
    let smart = Smart::of(&server);
    let key = Key::rsa("own");
    let with = |name: &str, value: Value| {
        let mut metadata = json!({"redirect_uris": [REDIRECT], "token_endpoint_auth_method": "private_key_jwt"});
        metadata[name] = value;
        metadata
    };
    for metadata in [
        with("token_endpoint_auth_method", json!("client_secret_jwt")),
        with("token_endpoint_auth_method", json!("tls_client_auth")),
        with("token_endpoint_auth_method", json!(1)),
        // Keys: none, private ones, no set at all, and URLs by which this server would look around.
        with("client_name", json!("no keys")),
        with("jwks", json!({"keys": []})),
        with("jwks", json!({"keys": [key.private_jwk()]})),
        with("jwks", json!("x")),
        with("jwks_uri", json!("http://127.0.0.1:1/jwks.json")),
        with("jwks_uri", json!("file:///etc/passwd")),
        with("jwks_uri", json!("x")),
        with("redirect_uris", json!("https://app.example/callback")),
        with("redirect_uris", json!([1])),
        with("scope", json!(["openid"])),
        with("client_name", json!({})),
    ] {
        assert_error(&register(&smart, &metadata), &["invalid_client_metadata", "invalid_redirect_uri"]);
    }
    let mut both = with("jwks", jwks(&[&key]));
    both["jwks_uri"] = "https://app.example/jwks.json".into();
    assert_error(&register(&smart, &both), &["invalid_client_metadata"]);
    for body in ["", "x", "[]", "null", "1", "{", &"[".repeat(10_000)] {
        assert_error(&send(&smart, body), &["invalid_client_metadata", "invalid_redirect_uri"]);
    }
    let many: Vec<String> = (0..1_000).map(|n| format!("https://app.example/{n}")).collect();
    assert_error(&register(&smart, &json!({"redirect_uris": many})), &["invalid_redirect_uri"]);
    let long = format!("https://app.example/{}", "x".repeat(10_000));
    assert_error(&register(&smart, &json!({"redirect_uris": [long]})), &["invalid_redirect_uri"]);
    let answer = send(&smart, &json!({"redirect_uris": [REDIRECT], "client_name": "x".repeat(200_000)}).to_string());
    assert!(matches!(answer.status, 400 | 413), "{answer}");
    assert_eq!(smart.cli(&["client", "list"], ""), "", "none was kept");
}

#[test]
fn nobody_chooses_their_id_or_secret() {
    let server = Server::sqlite(&[OPEN]);
    let smart = Smart::of(&server);
    smart.app("app", "openid user/*.rs");
    let answer = register(
        &smart,
        &json!({"client_id": "app", "client_secret": "known", "redirect_uris": ["https://other.example/callback"]}),
    );
    let (id, secret) = (registered(&answer), answer.body["client_secret"].as_str().expect("a secret"));
    assert!(id != "app" && id.len() >= 16 && secret != "known" && secret.len() >= 40, "{answer}");
    let ask = Ask::new(&smart, "app", "user/*.rs").with("redirect_uri", "https://other.example/callback");
    Browser::new().get(&smart, &ask.url(&smart)).assert_refused_here(400, "the address belongs to the other");
}

#[test]
fn a_name_is_shown_as_text() {
    let server = Server::sqlite(&[OPEN]);
    let smart = Smart::of(&server);
    let name = "<script>alert(1)</script>\u{202e}\r\n\u{0}".to_owned() + &"x".repeat(1_000);
    let answer = register(
        &smart,
        &json!({"client_name": name, "redirect_uris": [REDIRECT], "token_endpoint_auth_method": "none"}),
    );
    let page = Browser::new().get(&smart, &Ask::new(&smart, &registered(&answer), "openid").url(&smart));
    assert!(page.asks_for_password(), "{}", page.0);
    assert!(!page.0.text.contains("<script") && page.0.text.contains("&lt;script&gt;"), "{}", page.0);
    assert!(!page.0.text.contains(&"x".repeat(500)), "it is kept short");
}
