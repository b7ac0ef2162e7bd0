//! Every route, asked by somebody without a token, with a token that allows something else, and with one that allows it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use reqwest::blocking::Client;
use reqwest::redirect::Policy;
use serde_json::json;

use super::{assert_forbidden, assert_unknown, everything, organization};
use crate::harness::{Answer, Server, on_both, tokens};

const JSON: &str = "application/fhir+json";
const FORM: &str = "application/x-www-form-urlencoded";
const JSON_PATCH: &str = "application/json-patch+json";
const PASSWORD: &str = "correct horse battery staple";
const REDIRECT_URI: &str = "http://127.0.0.1:1/callback";
/// 32 bytes of PKCE, and what an app sends of them.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// How a route answers.
enum Way {
    /// So, whoever asks.
    Public(u16),
    /// By scope: with the first not at all, with the second so.
    Scope(&'static str, &'static str, u16),
    /// By rules of its own: without a token, with a token for something else, and as it is meant to be used.
    Own(u16, u16, fn(&World) -> u16),
}
use Way::{Own, Public, Scope};

/// Method, route as the sources have it, URL, media type and text of the body.
type Row = (&'static str, &'static str, &'static str, &'static str, &'static str, Way);

/// All but what each of these needs.
const NO_C: &str = "system/Organization.ruds system/Practitioner.cruds";
const NO_R: &str = "system/Organization.cuds system/Practitioner.cruds";
const NO_U: &str = "system/Organization.crds system/Practitioner.cruds";
const NO_D: &str = "system/Organization.crus system/Practitioner.cruds";
const NO_S: &str = "system/Organization.crud system/Practitioner.cruds";
const NO_DELIVERY: &str = "system/*.cruds api/launch.write";
const NO_SUBSCRIPTION: &str = "system/Subscription.cud system/Practitioner.cruds";
/// Nothing that can be searched at all.
const NO_SEARCH: &str = "system/*.crud";

const EXPAND: &str = "/fhir/ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender";
const CHECK_CODE: &str = "/fhir/ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/administrative-gender&code=male&system=http://hl7.org/fhir/administrative-gender";
const LOOKUP: &str = "/fhir/CodeSystem/$lookup?system=http://hl7.org/fhir/administrative-gender&code=male";
const ACME: &str = r#"{"resourceType": "Organization", "id": "acme", "name": "Acme"}"#;
const NEW: &str = r#"{"resourceType": "Organization", "name": "New"}"#;
const PATCH: &str = r#"[{"op": "replace", "path": "/name", "value": "Patched"}]"#;
const TRANSACTION: &str = r#"{"resourceType": "Bundle", "type": "transaction", "entry": [
    {"resource": {"resourceType": "Organization", "id": "acme", "name": "Acme"}, "request": {"method": "PUT", "url": "Organization/acme"}}]}"#;
const AUTHORIZE: &str = "/auth/authorize";

#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("GET", "/health/live", "/health/live", "", "", Public(200)),
    ("GET", "/health/ready", "/health/ready", "", "", Public(200)),
    ("GET", "/fhir/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration", "", "", Public(200)),
    ("HEAD", "/fhir/.well-known/smart-configuration", "/fhir/.well-known/smart-configuration", "", "", Public(200)),
    ("GET", "/fhir/.well-known/openid-configuration", "/fhir/.well-known/openid-configuration", "", "", Public(200)),
    ("HEAD", "/fhir/.well-known/openid-configuration", "/fhir/.well-known/openid-configuration", "", "", Public(200)),
    ("GET", "/fhir/metadata", "/fhir/metadata", "", "", Public(200)),
    ("HEAD", "/fhir/metadata", "/fhir/metadata", "", "", Public(200)),
    ("GET", "/fhir/_history", "/fhir/_history", "", "", Scope(NO_SEARCH, "system/Organization.s", 200)),
    ("HEAD", "/fhir/_history", "/fhir/_history", "", "", Scope(NO_SEARCH, "system/Organization.s", 200)),
    ("POST", "/fhir/_search", "/fhir/_search", FORM, "_type=Organization,Practitioner", Scope(NO_SEARCH, "system/Organization.s", 200)),
    ("GET", "/fhir/$export", "/fhir/$export?_type=Organization", "", "", Scope("system/Organization.r system/Practitioner.rs", "system/Organization.rs", 202)),
    ("POST", "/fhir/$export", "/fhir/$export?_type=Organization", "", "", Scope("system/Organization.s system/Practitioner.rs", "system/Organization.rs", 202)),
    ("GET", "/fhir/{type}/$export", "/fhir/Organization/$export", "", "", Scope(NO_R, "system/Organization.rs", 202)),
    ("POST", "/fhir/{type}/$export", "/fhir/Organization/$export", "", "", Scope(NO_S, "system/Organization.rs", 202)),
    ("GET", "/fhir/_export/{export}", "/fhir/_export/x", "", "", Own(401, 404, World::export_status)),
    ("HEAD", "/fhir/_export/{export}", "/fhir/_export/x", "", "", Own(401, 404, World::export_status)),
    ("DELETE", "/fhir/_export/{export}", "/fhir/_export/x", "", "", Own(401, 404, World::export_removal)),
    ("GET", "/fhir/_export/{export}/{file}", "/fhir/_export/x/Organization.ndjson", "", "", Own(401, 404, World::export_file)),
    ("HEAD", "/fhir/_export/{export}/{file}", "/fhir/_export/x/Organization.ndjson", "", "", Own(401, 404, World::export_file)),
    ("GET", "/fhir/ValueSet/$expand", EXPAND, "", "", Public(200)),
    ("HEAD", "/fhir/ValueSet/$expand", EXPAND, "", "", Public(200)),
    ("POST", "/fhir/ValueSet/$expand", EXPAND, "", "", Public(200)),
    ("GET", "/fhir/ValueSet/$validate-code", CHECK_CODE, "", "", Public(200)),
    ("HEAD", "/fhir/ValueSet/$validate-code", CHECK_CODE, "", "", Public(200)),
    ("POST", "/fhir/ValueSet/$validate-code", CHECK_CODE, "", "", Public(200)),
    ("GET", "/fhir/CodeSystem/$lookup", LOOKUP, "", "", Public(200)),
    ("HEAD", "/fhir/CodeSystem/$lookup", LOOKUP, "", "", Public(200)),
    ("POST", "/fhir/CodeSystem/$lookup", LOOKUP, "", "", Public(200)),
    // Without a body there is nothing to validate.
    ("GET", "/fhir/{type}/$validate", "/fhir/Organization/$validate", "", "", Public(400)),
    ("HEAD", "/fhir/{type}/$validate", "/fhir/Organization/$validate", "", "", Public(400)),
    ("POST", "/fhir/{type}/$validate", "/fhir/Organization/$validate", JSON, ACME, Public(200)),
    ("GET", "/fhir/{type}/{id}/$validate", "/fhir/Organization/acme/$validate", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("HEAD", "/fhir/{type}/{id}/$validate", "/fhir/Organization/acme/$validate", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("POST", "/fhir/{type}/{id}/$validate", "/fhir/Organization/acme/$validate", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("POST", "/fhir/{type}/{id}/$validate", "/fhir/Organization/acme/$validate?mode=delete", "", "", Scope(NO_R, "system/Organization.rd", 200)),
    // A WebSocket is opened by anybody, and bound by a token, or by who may read the Subscription.
    ("GET", "/fhir/ws", "/fhir/ws", "", "", Public(400)),
    ("GET", "/fhir/Subscription/$status", "/fhir/Subscription/$status", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.s", 200)),
    ("HEAD", "/fhir/Subscription/$status", "/fhir/Subscription/$status", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.s", 200)),
    ("POST", "/fhir/Subscription/$status", "/fhir/Subscription/$status", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.s", 200)),
    ("GET", "/fhir/Subscription/{id}/$status", "/fhir/Subscription/own/$status", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("HEAD", "/fhir/Subscription/{id}/$status", "/fhir/Subscription/own/$status", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("POST", "/fhir/Subscription/{id}/$status", "/fhir/Subscription/own/$status", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("GET", "/fhir/Subscription/{id}/$events", "/fhir/Subscription/own/$events", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("HEAD", "/fhir/Subscription/{id}/$events", "/fhir/Subscription/own/$events", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("POST", "/fhir/Subscription/{id}/$events", "/fhir/Subscription/own/$events", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("GET", "/fhir/Subscription/$get-ws-binding-token", "/fhir/Subscription/$get-ws-binding-token", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.s", 200)),
    ("POST", "/fhir/Subscription/$get-ws-binding-token", "/fhir/Subscription/$get-ws-binding-token", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.s", 200)),
    ("GET", "/fhir/Subscription/{id}/$get-ws-binding-token", "/fhir/Subscription/own/$get-ws-binding-token", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("POST", "/fhir/Subscription/{id}/$get-ws-binding-token", "/fhir/Subscription/own/$get-ws-binding-token", "", "", Scope(NO_SUBSCRIPTION, "system/Subscription.r", 200)),
    ("GET", "/fhir/{type}/{id}/_history/{version}", "/fhir/Organization/acme/_history/1", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("HEAD", "/fhir/{type}/{id}/_history/{version}", "/fhir/Organization/acme/_history/1", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("GET", "/fhir/{type}/{id}/_history", "/fhir/Organization/acme/_history", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("HEAD", "/fhir/{type}/{id}/_history", "/fhir/Organization/acme/_history", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("POST", "/fhir/{type}/_search", "/fhir/Organization/_search", FORM, "name=acme", Scope(NO_S, "system/Organization.s", 200)),
    ("GET", "/fhir/{type}/_history", "/fhir/Organization/_history", "", "", Scope(NO_S, "system/Organization.s", 200)),
    ("HEAD", "/fhir/{type}/_history", "/fhir/Organization/_history", "", "", Scope(NO_S, "system/Organization.s", 200)),
    ("GET", "/fhir/{type}/{id}", "/fhir/Organization/acme", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("HEAD", "/fhir/{type}/{id}", "/fhir/Organization/acme", "", "", Scope(NO_R, "system/Organization.r", 200)),
    ("PUT", "/fhir/{type}/{id}", "/fhir/Organization/acme", JSON, ACME, Scope(NO_U, "system/Organization.u", 200)),
    ("PATCH", "/fhir/{type}/{id}", "/fhir/Organization/acme", JSON_PATCH, PATCH, Scope(NO_U, "system/Organization.u", 200)),
    ("DELETE", "/fhir/{type}/{id}", "/fhir/Organization/gone", "", "", Scope(NO_D, "system/Organization.d", 204)),
    ("GET", "/fhir/{type}", "/fhir/Organization?name=acme", "", "", Scope(NO_S, "system/Organization.s", 200)),
    ("HEAD", "/fhir/{type}", "/fhir/Organization?name=acme", "", "", Scope(NO_S, "system/Organization.s", 200)),
    ("POST", "/fhir/{type}", "/fhir/Organization", JSON, NEW, Scope(NO_C, "system/Organization.c", 201)),
    ("PUT", "/fhir/{type}", "/fhir/Organization?_id=acme", JSON, ACME, Scope(NO_U, "system/Organization.u", 200)),
    ("PATCH", "/fhir/{type}", "/fhir/Organization?_id=acme", JSON_PATCH, PATCH, Scope(NO_U, "system/Organization.u", 200)),
    ("DELETE", "/fhir/{type}", "/fhir/Organization?_id=gone", "", "", Scope(NO_D, "system/Organization.d", 204)),
    ("GET", "/fhir", "/fhir?_type=Organization", "", "", Scope(NO_SEARCH, "system/Organization.s", 200)),
    ("HEAD", "/fhir", "/fhir?_type=Organization", "", "", Scope(NO_SEARCH, "system/Organization.s", 200)),
    ("POST", "/fhir", "/fhir", JSON, TRANSACTION, Scope(NO_U, "system/Organization.u", 200)),
    ("GET", "/api/v1/lanes", "/api/v1/lanes", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("HEAD", "/api/v1/lanes", "/api/v1/lanes", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("GET", "/api/v1/lanes/{lane}/attempts", "/api/v1/lanes/1/attempts", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("HEAD", "/api/v1/lanes/{lane}/attempts", "/api/v1/lanes/1/attempts", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("GET", "/api/v1/lanes/{lane}/held", "/api/v1/lanes/1/held", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("HEAD", "/api/v1/lanes/{lane}/held", "/api/v1/lanes/1/held", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("GET", "/api/v1/lanes/{lane}", "/api/v1/lanes/1", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("HEAD", "/api/v1/lanes/{lane}", "/api/v1/lanes/1", "", "", Scope(NO_DELIVERY, "api/delivery.read", 200)),
    ("POST", "/api/v1/lanes/{lane}/pause", "/api/v1/lanes/1/pause", "", "", Scope("api/delivery.read", "api/delivery.write", 200)),
    ("POST", "/api/v1/lanes/{lane}/resume", "/api/v1/lanes/1/resume", "", "", Scope("api/delivery.read", "api/delivery.write", 200)),
    ("POST", "/api/v1/lanes/{lane}/restart", "/api/v1/lanes/1/restart", "", "", Scope("api/delivery.read", "api/delivery.write", 200)),
    ("POST", "/api/v1/lanes/{lane}/redrive", "/api/v1/lanes/1/redrive", "application/json", r#"{"dead": true}"#, Scope("api/delivery.read", "api/delivery.write", 200)),
    ("GET", "/auth/jwks", "/auth/jwks", "", "", Public(200)),
    ("HEAD", "/auth/jwks", "/auth/jwks", "", "", Public(200)),
    ("POST", "/auth/token", "/auth/token", FORM, "grant_type=client_credentials&scope=system/*.rs", Own(401, 401, World::token)),
    ("POST", "/auth/introspect", "/auth/introspect", FORM, "token=x", Own(401, 403, World::introspect)),
    ("POST", "/auth/revoke", "/auth/revoke", FORM, "token=x", Own(401, 401, World::revoke)),
    ("POST", "/auth/launch", "/auth/launch", "application/json", r#"{"client_id": "finder"}"#, Own(401, 403, World::launch)),
    ("POST", "/auth/register", "/auth/register", "application/json", r#"{"redirect_uris": ["https://app.example/"], "token_endpoint_auth_method": "none"}"#, Public(201)),
    ("GET", "/auth/authorize", AUTHORIZE, "", "", Own(400, 400, World::authorize)),
    ("POST", "/auth/authorize", AUTHORIZE, FORM, "client_id=finder", Own(400, 400, World::authorize_by_post)),
    ("POST", "/auth/login", "/auth/login", FORM, "username=ann", Own(403, 403, World::log_in)),
    ("POST", "/auth/consent", "/auth/consent", FORM, "decision=allow", Own(403, 403, World::consent)),
    ("POST", "/auth/logout", "/auth/logout", FORM, "x=y", Own(403, 403, World::log_out)),
];

/// Everything that the routes need to be used as they are meant to be.
struct World {
    base: String,
    /// Follows no redirects.
    client: Client,
    /// The secret of the backend client `warehouse`.
    secret: String,
    /// The Authorization header of somebody who launches apps and asks about tokens.
    portal: String,
}

impl World {
    fn new(server: &Server) -> Self {
        let run = |arguments: &[&str], input: &str| {
            let mut command = server.command(arguments);
            let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
            child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("it reads");
            let output = child.wait_with_output().expect("the command ends");
            assert!(output.status.success(), "{arguments:?}");
            String::from_utf8(output.stdout).expect("text").trim().to_owned()
        };
        let secret = run(&["client", "add", "--id", "warehouse", "--secret", "--scope", "system/*.rs"], "");
        run(&["client", "add", "--id", "finder", "--scope", "user/*.rs", "--redirect-uri", REDIRECT_URI], "");
        run(&["user", "add", "ann", "--fhir-user", "Practitioner/1"], PASSWORD);
        let client = Client::builder().no_proxy().redirect(Policy::none()).build().expect("an HTTP client");
        let portal =
            format!("Bearer {}", tokens::printed(server, "api/token.read api/launch.write system/Organization.rs"));
        Self { base: server.base.clone(), client, secret, portal }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let root = self.base.trim_end_matches("/fhir");
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let mut request = self.client.request(method, format!("{root}{path}"));
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request = request.header(*name, *value);
        }
        Answer::of(if body.is_empty() { request } else { request.body(body.to_owned()) })
    }

    fn by_secret(&self, path: &str, body: &str) -> u16 {
        let basic = format!("Basic {}", STANDARD.encode(format!("warehouse:{}", self.secret)));
        self.ask("POST", path, &[("authorization", &basic), ("content-type", FORM)], body).status
    }

    fn by_portal(&self, path: &str, media: &str, body: &str) -> u16 {
        self.ask("POST", path, &[("authorization", &self.portal), ("content-type", media)], body).status
    }

    /// Asks for an export, and with its status URL for something else.
    fn of_export(&self, ask: impl Fn(&dyn Fn(&str, &str) -> Answer, &str) -> u16) -> u16 {
        let send = |method: &str, url: &str| {
            let path = url.strip_prefix(self.base.trim_end_matches("/fhir")).unwrap_or(url);
            self.ask(method, path, &[("authorization", &self.portal)], "")
        };
        let begun = send("GET", "/fhir/$export?_type=Organization");
        let url = begun.header("content-location").expect("a status URL");
        let answered = ask(&send, url);
        send("DELETE", url);
        answered
    }

    fn export_status(&self) -> u16 {
        self.of_export(|send, url| send("GET", url).status)
    }

    fn export_removal(&self) -> u16 {
        self.of_export(|send, url| send("DELETE", url).status)
    }

    fn export_file(&self) -> u16 {
        self.of_export(|send, url| {
            loop {
                let answer = send("GET", url);
                if answer.status != 202 {
                    let file = answer.body["output"][0]["url"].as_str().expect("a file").to_owned();
                    return send("GET", &file).status;
                }
                std::thread::yield_now();
            }
        })
    }

    fn token(&self) -> u16 {
        self.by_secret("/auth/token", "grant_type=client_credentials&scope=system/*.rs")
    }

    fn introspect(&self) -> u16 {
        self.by_portal("/auth/introspect", FORM, "token=x")
    }

    fn revoke(&self) -> u16 {
        self.by_secret("/auth/revoke", "token=x")
    }

    fn launch(&self) -> u16 {
        self.by_portal("/auth/launch", "application/json", r#"{"client_id": "finder"}"#)
    }

    /// What an app asks a browser to open.
    fn query(&self) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(openssl::sha::sha256(VERIFIER.as_bytes()));
        let mut query = form_urlencoded::Serializer::new(String::new());
        for (name, value) in [
            ("response_type", "code"),
            ("client_id", "finder"),
            ("redirect_uri", REDIRECT_URI),
            ("scope", "user/*.rs"),
            ("state", "s"),
            ("aud", &self.base),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ] {
            query.append_pair(name, value);
        }
        query.finish()
    }

    fn authorize(&self) -> u16 {
        self.ask("GET", &format!("{AUTHORIZE}?{}", self.query()), &[], "").status
    }

    fn authorize_by_post(&self) -> u16 {
        self.ask("POST", AUTHORIZE, &[("content-type", FORM)], &self.query()).status
    }

    /// A browser at the login page: its cookies, and the request that the page sends on.
    fn browser(&self) -> Browser<'_> {
        let page = self.ask("GET", &format!("{AUTHORIZE}?{}", self.query()), &[], "");
        let mut browser = Browser { world: self, cookies: String::new(), request: String::new() };
        browser.read(&page);
        browser
    }

    fn log_in(&self) -> u16 {
        self.browser().post("/auth/login", &[("username", "ann"), ("password", PASSWORD)])
    }

    fn consent(&self) -> u16 {
        let mut browser = self.browser();
        assert_eq!(browser.post("/auth/login", &[("username", "ann"), ("password", PASSWORD)]), 200);
        browser.post("/auth/consent", &[("decision", "allow")])
    }

    fn log_out(&self) -> u16 {
        let mut browser = self.browser();
        assert_eq!(browser.post("/auth/login", &[("username", "ann"), ("password", PASSWORD)]), 200);
        browser.post("/auth/logout", &[])
    }
}

struct Browser<'w> {
    world: &'w World,
    cookies: String,
    request: String,
}

impl Browser<'_> {
    fn read(&mut self, page: &Answer) {
        for cookie in page.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().expect("text").split(';').next().expect("a name and a value").to_owned();
            self.cookies = format!("{}{}{cookie}", self.cookies, if self.cookies.is_empty() { "" } else { "; " });
        }
        if let Some((_, rest)) = page.text.split_once("name=\"request\" value=\"") {
            self.request = rest.split('"').next().expect("a value").to_owned();
        }
    }

    fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> u16 {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("request", &self.request).extend_pairs(fields);
        let page = self.world.ask("POST", path, &[("content-type", FORM), ("cookie", &self.cookies)], &form.finish());
        self.read(&page);
        page.status
    }
}

/// Method and route of everything that `src/http/routes.rs` serves.
fn served() -> BTreeSet<(String, String)> {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http/routes.rs");
    let text: String = std::fs::read_to_string(file).expect("the routes").split_whitespace().collect();
    let mut found = BTreeSet::new();
    let mut take = |method: &str, route: String| {
        let method = method.split('(').next().expect("a method").to_uppercase();
        assert!(found.insert((method.clone(), route.clone())), "{method} {route} is served twice");
    };
    // config.route("/health/live", get().to(…))
    for part in text.split(".route(\"").skip(1) {
        let (route, rest) = part.split_once("\",").expect("a route and its method");
        take(rest, route.to_owned());
    }
    // url("/metadata", "GET, HEAD").route(get().to(…)), within the scope that begins before it
    for part in text.split("config.service(scope(\"").skip(1) {
        let (scope, services) = part.split_once("\")").expect("a scope");
        for part in services.split(".service(").skip(1) {
            let part = part.trim_start_matches("url(\"").trim_start_matches("auth(\"");
            let (route, rest) = part.split_once("\",\"").expect("a route and what it allows");
            let (allowed, rest) = rest.split_once("\")").expect("what it allows");
            let methods: Vec<&str> = rest.split(".route(").skip(1).collect();
            let named: Vec<String> =
                methods.iter().map(|it| it.split('(').next().expect("a method").to_uppercase()).collect();
            assert_eq!(named.join(","), allowed, "{route}: what it takes, and what it says that it takes");
            methods.into_iter().for_each(|method| take(method, format!("{scope}{route}")));
        }
    }
    // Nothing is routed in a way that was not understood.
    assert_eq!(text.matches(".route(").count(), found.len(), "each route is one that was read here");
    let services = text.matches(".service(").count();
    let scopes = text.matches("config.service(scope(").count();
    let urls = text.matches(".service(url(\"").count() + text.matches(".service(auth(\"").count();
    assert_eq!(services, scopes + urls, "each service is one that was read here");
    found
}

#[test]
fn every_route_is_in_the_table_and_every_row_is_a_route() {
    let rows: BTreeSet<(String, String)> =
        TABLE.iter().map(|(method, route, ..)| ((*method).to_owned(), (*route).to_owned())).collect();
    let routes = served();
    let missing: Vec<_> = routes.difference(&rows).collect();
    let invented: Vec<_> = rows.difference(&routes).collect();
    assert!(missing.is_empty() && invented.is_empty(), "not in the table: {missing:?}; no routes: {invented:?}");
}

on_both! {
    with { crate::harness::tokens::trusting_with(&[("PLUMBLINE_AUTH__DYNAMIC_REGISTRATION", "true")]) };

    fn every_route_asks_for_a_scope_unless_it_is_for_everybody(server) {
        let operator = everything(server);
        operator.store(&organization("acme", "Acme"));
        operator.store(&organization("gone", "Gone"));
        operator.store(&json!({"resourceType": "Subscription", "id": "own", "status": "requested", "reason": "to know",
            "criteria": "urn:plumbline:topic:organization-change", "channel": {"type": "websocket",
                "payload": "application/fhir+json", "_payload": {"extension": [{"valueCode": "empty",
                    "url": "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/backport-payload-content"}]}}}));
        let world = World::new(server);
        for (method, _, path, media, body, way) in TABLE {
            let ask = |scope: Option<&str>| {
                let token = scope.map(|scope| {
                    format!("Bearer {}", tokens::signed(&tokens::header(), &tokens::claims(server, scope)))
                });
                let token = token.unwrap_or_default();
                world.ask(method, path, &[("authorization", &token), ("content-type", media)], body)
            };
            let is_told = |answer: &Answer, status: u16| assert_eq!(answer.status, status, "{method} {path}: {answer}");
            match way {
                Public(status) => {
                    is_told(&ask(None), *status);
                    is_told(&ask(Some("system/Task.r")), *status);
                    is_told(&ask(Some("system/*.cruds")), *status);
                }
                Scope(wrong, right, status) => {
                    let (nobody, stranger) = (ask(None), ask(Some(wrong)));
                    is_told(&nobody, 401);
                    is_told(&stranger, 403);
                    if *method == "HEAD" {
                        assert_eq!(nobody.header("www-authenticate"), Some("Bearer realm=\"Plumbline\""));
                        let challenge = stranger.header("www-authenticate").unwrap_or_default();
                        assert!(challenge.contains("error=\"insufficient_scope\""), "{path}: {challenge}");
                    } else {
                        assert_unknown(&nobody);
                        assert_forbidden(&stranger);
                    }
                    is_told(&ask(Some(right)), *status);
                    // What was deleted is there again for the next row.
                    operator.store(&organization("gone", "Gone"));
                }
                Own(nobody, stranger, right) => {
                    is_told(&ask(None), *nobody);
                    is_told(&ask(Some("system/*.cruds")), *stranger);
                    let answered = right(&world);
                    assert!((200..400).contains(&answered), "{method} {path}: {answered}");
                }
            }
        }
    }

    fn an_instance_is_validated_for_those_who_may_read_it_alone(server) {
        everything(server).store(&organization("acme", "Acme"));
        let world = World::new(server);
        let path = "/fhir/Organization/acme/$validate";
        let body = json!({"resourceType": "Organization", "id": "acme", "name": "Acme"}).to_string();
        for body in ["", body.as_str()] {
            let answer = world.ask("POST", path, &[("content-type", JSON)], body);
            assert_eq!(answer.status, 401, "{body}: {answer}");
        }
    }

    fn a_batch_is_answered_entry_by_entry(server) {
        everything(server).store(&organization("acme", "Acme"));
        let world = World::new(server);
        let entry = |method: &str, url: &str| json!({"request": {"method": method, "url": url}});
        let batch = json!({"resourceType": "Bundle", "type": "batch", "entry": [
            entry("GET", "Organization/acme"), entry("GET", "Organization?name=x"), entry("GET", "_history"),
            entry("GET", ""), entry("DELETE", "Organization/acme"), entry("GET", "metadata")]});
        let answer = world.ask("POST", "/fhir", &[("content-type", JSON)], &batch.to_string());
        assert_eq!(super::statuses(&answer), ["401", "401", "401", "401", "401", "200"], "{answer}");
        let token = tokens::signed(&tokens::header(), &tokens::claims(server, "system/Organization.r"));
        let bearer = format!("Bearer {token}");
        let answer =
            world.ask("POST", "/fhir", &[("authorization", &bearer), ("content-type", JSON)], &batch.to_string());
        assert_eq!(super::statuses(&answer), ["200", "403", "403", "403", "403", "200"], "{answer}");
    }
}
