//! The authorization server (SMART App Launch 2.2), rule by rule: apps and the people who use them, systems, and those who
//! pretend to be one of these.

mod assertions;
mod authorize;
mod backend;
mod browser;
mod claims;
mod code;
mod discovery;
mod forms;
mod introspect;
mod issuers;
mod keys;
mod launch;
mod login;
mod logs;
mod mtls;
mod peer;
mod refresh;
mod register;
mod remote_keys;
mod requests;
mod resource;
mod revoke;
mod secrets;
mod signing;

use std::io::Write as _;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use reqwest::blocking::{Client, ClientBuilder, RequestBuilder};
use reqwest::redirect::Policy;
use serde_json::Value;

use crate::harness::{Answer, Server, postgres};
use signing::{Assertion, Key};

/// What everybody logs in with who has not another password.
const PASSWORD: &str = "correct horse battery staple";
/// Where apps are sent their codes.
const REDIRECT: &str = "https://app.example/callback";
/// What seals the signing keys of nodes that share a database.
const SEAL: (&str, &str) = ("PLUMBLINE_AUTH__KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
/// Lets the server call others on this machine.
const ALLOW_LOOPBACK: (&str, &str) = ("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8");
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// Longer than anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How a client shows who it is.
enum Proof<'a> {
    Public(&'a str),
    /// Id and secret in a header.
    Basic(&'a str, &'a str),
    /// Id and secret in the body.
    Post(&'a str, &'a str),
    /// An assertion, signed by a key of this client.
    Key(&'a str, &'a Key),
    /// This assertion.
    Assertion(&'a str),
    None,
}

/// A server, seen by those who come for tokens.
struct Smart<'s> {
    server: &'s Server,
    /// Base of its FHIR interface, where this test reaches it.
    base: String,
    /// What it says of itself.
    document: Value,
    http: Client,
}

impl<'s> Smart<'s> {
    fn of(server: &'s Server) -> Self {
        Self::through(server, &server.base, plain().build().expect("an HTTP client"))
    }

    /// The same at another address, or with another client.
    fn through(server: &'s Server, base: &str, http: Client) -> Self {
        let document = Answer::of(http.get(format!("{base}/.well-known/smart-configuration"))).body;
        Self { server, base: base.to_owned(), document, http }
    }

    /// An endpoint as it is published.
    fn published(&self, name: &str) -> &str {
        self.document[name].as_str().unwrap_or_else(|| panic!("{name} is published: {}", self.document))
    }

    fn issuer(&self) -> String {
        self.published("issuer").to_owned()
    }

    /// An endpoint where this test reaches it: a proxy may stand before the published one.
    fn url(&self, name: &str) -> String {
        self.reached(self.published(name))
    }

    fn reached(&self, url: &str) -> String {
        let root = |base: &str| base.strip_suffix("/fhir").expect("a base ends in /fhir").to_owned();
        let path = url.strip_prefix(&root(self.published("issuer"))).unwrap_or(url);
        if path.starts_with('/') { format!("{}{path}", root(&self.base)) } else { path.to_owned() }
    }

    /// A request to a URL, or to a path on the server. Redirects are not followed.
    fn request(&self, method: &str, url: &str) -> RequestBuilder {
        self.http.request(Method::from_bytes(method.as_bytes()).expect("a method"), self.reached(url))
    }

    /// A form to an endpoint.
    fn post(&self, endpoint: &str, fields: &[(&str, &str)]) -> Answer {
        self.post_as(endpoint, None, fields)
    }

    /// The same with an Authorization header.
    fn post_as(&self, endpoint: &str, authorization: Option<&str>, fields: &[(&str, &str)]) -> Answer {
        let mut request = self.request("POST", &self.url(endpoint)).body(browser::form(fields));
        request = request.header("content-type", "application/x-www-form-urlencoded");
        if let Some(authorization) = authorization {
            request = request.header("authorization", authorization);
        }
        Answer::of(request)
    }

    /// A form of a client that shows who it is.
    fn prove(&self, endpoint: &str, proof: &Proof, fields: &[(&str, &str)]) -> Answer {
        let mut fields = fields.to_vec();
        let signed;
        match proof {
            Proof::None => {}
            Proof::Public(id) => fields.push(("client_id", id)),
            Proof::Basic(id, secret) => return self.post_as(endpoint, Some(&basic(id, secret)), &fields),
            Proof::Post(id, secret) => fields.extend([("client_id", *id), ("client_secret", *secret)]),
            Proof::Key(id, key) => {
                signed = self.assertion(key, id).signed(key);
                fields.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", signed.as_str())]);
            }
            Proof::Assertion(assertion) => {
                fields.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", *assertion)]);
            }
        }
        self.post(endpoint, &fields)
    }

    /// An assertion that is right.
    fn assertion(&self, key: &Key, client: &str) -> Assertion {
        Assertion::new(key, client, self.published("token_endpoint"))
    }

    /// Asks for a token for the client itself.
    fn backend(&self, proof: &Proof, scope: &str) -> Answer {
        self.prove("token_endpoint", proof, &[("grant_type", "client_credentials"), ("scope", scope)])
    }

    /// The token that a client gets for itself.
    fn backend_token(&self, proof: &Proof, scope: &str) -> String {
        text_of(&self.backend(proof, scope), "access_token")
    }

    /// Asks for new tokens.
    fn refresh(&self, proof: &Proof, token: &str, scope: Option<&str>) -> Answer {
        let mut fields = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
        fields.extend(scope.map(|scope| ("scope", scope)));
        self.prove("token_endpoint", proof, &fields)
    }

    /// A request to the FHIR interface with a token.
    fn fhir(&self, token: &str, path: &str) -> Answer {
        Answer::of(self.http.get(format!("{}/{path}", self.base)).bearer_auth(token))
    }

    fn is_accepted(&self, token: &str) -> bool {
        let answer = self.fhir(token, "Organization");
        assert!(matches!(answer.status, 200 | 401), "{answer}");
        answer.status == 200
    }

    /// The token is not accepted any more, at once or within seconds.
    fn assert_ends(&self, token: &str) {
        until("the token has ended", || !self.is_accepted(token));
    }

    /// Registers a client; what is printed.
    fn client(&self, id: &str, arguments: &[&str]) -> String {
        self.cli(&[&["client", "add", "--id", id], arguments].concat(), "")
    }

    /// Registers a client with these public keys.
    fn client_with_keys(&self, id: &str, keys: &Value, scope: &str) {
        let file = self.server.data().join(format!("{id}.jwks.json"));
        std::fs::write(&file, keys.to_string()).expect("a file");
        self.client(id, &["--scope", scope, "--jwks", file.to_str().expect("a path in UTF-8")]);
    }

    /// Registers an app of people without a secret.
    fn app(&self, id: &str, scope: &str) {
        self.client(id, &["--scope", scope, "--redirect-uri", REDIRECT]);
    }

    /// Registers an app of people with a secret, which is returned.
    fn secret_app(&self, id: &str, scope: &str) -> String {
        self.client(id, &["--scope", scope, "--redirect-uri", REDIRECT, "--secret"])
    }

    /// Adds somebody who logs in with [`PASSWORD`].
    fn user(&self, name: &str, arguments: &[&str]) {
        self.cli(&[&["user", "add", name], arguments].concat(), PASSWORD);
    }

    /// A token that the command line makes.
    fn token(&self, scope: &str, ttl: &str) -> String {
        self.cli(&["token", "--scope", scope, "--ttl", ttl], "")
    }

    /// What a command prints that ends well.
    fn cli(&self, arguments: &[&str], input: &str) -> String {
        let output = run(self.server, arguments, input);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

/// A client that follows no redirect.
fn plain() -> ClientBuilder {
    Client::builder().no_proxy().redirect(Policy::none())
}

/// Runs a command on the database of a server.
fn run(server: &Server, arguments: &[&str], input: &str) -> Output {
    let mut command = server.command(arguments);
    let mut process =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    let _not_read = process.stdin.take().expect("its input").write_all(format!("{input}\n").as_bytes());
    process.wait_with_output().expect("it ends")
}

/// Waits until something is so.
fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "in time: {what}");
        std::thread::yield_now();
    }
}

fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// A member of a good answer.
fn text_of(answer: &Answer, name: &str) -> String {
    assert_eq!(answer.status, 200, "{answer}");
    answer.body[name].as_str().unwrap_or_else(|| panic!("{name}: {answer}")).to_owned()
}

/// A refusal as RFC 6749 (5.2) has it, with one of these codes.
fn assert_error(answer: &Answer, codes: &[&str]) {
    let code = answer.body["error"].as_str().unwrap_or_else(|| panic!("an error: {answer}"));
    assert!(codes.contains(&code), "one of {codes:?}: {answer}");
    let expected: &[u16] = if code == "invalid_client" { &[400, 401] } else { &[400] };
    assert!(expected.contains(&answer.status), "{answer}");
    assert!(answer.body["error_description"].is_string(), "{answer}");
    assert!(answer.body.get("access_token").is_none(), "{answer}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
}

/// The scopes of an answer, sorted.
fn scopes(answer: &Value) -> Vec<String> {
    let mut scopes: Vec<String> = answer["scope"].as_str().expect("a scope").split(' ').map(str::to_owned).collect();
    scopes.sort();
    scopes
}

/// All text that the database of a server holds.
fn stored(server: &Server) -> String {
    if let Some(url) = server.database_url() {
        let tables = postgres::ask(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'");
        let rows = |table: &str| postgres::ask(url, &format!("SELECT t.* FROM {table} t"));
        return tables.lines().map(rows).collect();
    }
    let files =
        ["plumbline.db", "plumbline.db-wal"].map(|name| std::fs::read(server.data().join(name)).unwrap_or_default());
    String::from_utf8_lossy(&files.concat()).into_owned()
}
