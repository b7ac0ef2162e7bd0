//! What is secret is in no log and in no record, however much is logged.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use serde_json::json;

use super::browser::{Ask, Browser, form};
use super::signing::{Key, jwks};
use super::{PASSWORD, Proof, REDIRECT, SEAL, Smart, basic, plain, text_of};
use crate::harness::{Answer, Server};

/// A server process whose log is kept.
struct Logged {
    process: Child,
    base: String,
    log: tempfile::NamedTempFile,
}

impl Logged {
    /// A process over the database of a server.
    fn start(server: &Server, format: &str) -> Self {
        let log = tempfile::NamedTempFile::new().expect("a file");
        let mut command = server.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.env("PLUMBLINE_LOG__FILTER", "debug").env("PLUMBLINE_LOG__FORMAT", format);
        let to: File = log.reopen().expect("a file");
        let mut process = command.stdout(Stdio::piped()).stderr(to).spawn().expect("it starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut first = String::new();
        output.read_line(&mut first).expect("its first line");
        std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
        Self { process, base: format!("{}/fhir", first.trim()), log }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(self.log.path()).expect("text")
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _ended = self.process.wait();
    }
}

/// Does what there is to do, rightly and wrongly; everything secret in it.
fn everything(smart: &Smart) -> Vec<(&'static str, String)> {
    let mut secrets = vec![("the seal", SEAL.1.to_owned()), ("a password", PASSWORD.to_owned())];
    let key = Key::ec("own");
    smart.client_with_keys("system", &jwks(&[&key]), "system/*.rs api/launch.write api/token.read");
    let secret = smart.client("secret", &["--scope", "system/*.rs", "--secret"]);
    let app_secret = smart.secret_app("app", "openid launch offline_access user/*.rs patient/*.rs");
    smart.user("ann", &["--fhir-user", "Practitioner/1"]);

    // Systems.
    let assertion = smart.assertion(&key, "system").signed(&key);
    let token = smart.backend_token(&Proof::Assertion(&assertion), "system/*.rs api/launch.write api/token.read");
    smart.backend(&Proof::Assertion(&assertion), "system/*.rs");
    let forged = smart.assertion(&key, "system").signed(&Key::ec("own"));
    smart.backend(&Proof::Assertion(&forged), "system/*.rs");
    let by_secret = smart.backend_token(&Proof::Basic("secret", &secret), "system/*.rs");
    smart.backend_token(&Proof::Post("secret", &secret), "system/*.rs");
    smart.backend(&Proof::Basic("secret", "a secret that is wrong"), "system/*.rs");
    smart.backend(&Proof::Basic("app", &secret), "system/*.rs");

    // People.
    let body = json!({"client_id": "app", "patient": "1"}).to_string();
    let launch =
        smart.request("POST", "/auth/launch").bearer_auth(&token).header("content-type", "application/json").body(body);
    let launch = text_of(&Answer::of(launch), "launch");
    let ask = Ask::new(smart, "app", "openid launch offline_access user/*.rs patient/*.rs").with("launch", &launch);
    let mut browser = Browser::new();
    let page = browser.get(smart, &ask.url(smart));
    browser.log_in(smart, &page, "ann", "a password that is wrong");
    browser.log_in(smart, &page, "a password that is typed as a name", PASSWORD);
    let page = browser.log_in(smart, &page, "ann", PASSWORD);
    let code = browser.decide(smart, &page, "allow").code();
    let app = Proof::Basic("app", &app_secret);
    ask.exchange(smart, &Proof::Public("app"), &code);
    let tokens = ask.exchange(smart, &app, &code);
    let refresh = text_of(&tokens, "refresh_token");
    let renewed = smart.refresh(&app, &refresh, None);
    let access = text_of(&renewed, "access_token");

    // Use, and misuse.
    assert!(smart.is_accepted(&access) && smart.is_accepted(&token));
    smart.fhir(&format!("{access}x"), "Organization");
    Answer::of(smart.request("GET", &format!("{}/Organization?access_token={access}", smart.base)));
    Answer::of(
        smart.request("GET", &format!("{}/Organization", smart.base)).header("authorization", basic("secret", &secret)),
    );
    Answer::of(
        smart.request("GET", &format!("{}?{}", smart.url("token_endpoint"), form(&[("client_secret", &secret)]))),
    );
    Answer::of(
        smart.request("POST", &smart.url("token_endpoint")).header("content-type", "text/plain").body(secret.clone()),
    );
    smart.prove("introspection_endpoint", &app, &[("token", &access)]);
    smart.prove("introspection_endpoint", &Proof::Public("app"), &[("token", &refresh)]);
    let newest = text_of(&renewed, "refresh_token");
    smart.prove("revocation_endpoint", &app, &[("token", &access)]);
    smart.refresh(&app, &refresh, None);
    ask.exchange(smart, &app, &code);

    secrets.extend([
        ("an assertion", assertion),
        ("a forged assertion", forged),
        ("a token", token),
        ("a token by a secret", by_secret),
        ("a secret", secret.clone()),
        ("a secret in a header", basic("secret", &secret).replace("Basic ", "")),
        ("a wrong secret", "a secret that is wrong".to_owned()),
        ("the secret of an app", app_secret),
        ("a launch", launch),
        ("a wrong password", "a password that is wrong".to_owned()),
        ("a password as a name", "a password that is typed as a name".to_owned()),
        ("a code", code),
        ("a verifier", ask.verifier),
        ("an access token", access),
        ("a first access token", text_of(&tokens, "access_token")),
        ("an id_token", text_of(&tokens, "id_token")),
        ("a refresh token", refresh),
        ("a second refresh token", newest),
    ]);
    secrets.extend(browser.cookies.into_values().map(|cookie| ("a cookie", cookie)));
    // A signature alone is as telling as the token that it is of.
    let signatures: Vec<_> = secrets.iter().filter(|(_, secret)| secret.matches('.').count() == 2).collect();
    let signatures: Vec<_> = signatures
        .into_iter()
        .map(|(what, jwt)| (*what, jwt.rsplit('.').next().expect("a signature").to_owned()))
        .collect();
    secrets.extend(signatures);
    secrets
}

fn nothing_secret_is_told(server: &Server) {
    server.kill();
    for (n, format) in ["text", "json"].into_iter().enumerate() {
        let logged = Logged::start(server, format);
        if n > 0 {
            for id in ["system", "secret", "app"] {
                assert!(super::run(server, &["client", "remove", id], "").status.success());
            }
            assert!(super::run(server, &["user", "remove", "ann"], "").status.success());
        }
        let smart = Smart::through(server, &logged.base, plain().build().expect("a client"));
        let secrets = everything(&smart);
        let log = logged.text();
        assert!(log.contains("DEBUG") && log.contains("invalid_client"), "much is logged: {log}");
        let auditor = smart.token("system/AuditEvent.rs", "1h");
        let record = smart.fhir(&auditor, "AuditEvent?_count=1000").text;
        assert!(record.contains("ann") && record.contains("logged in"), "{record}");
        for (what, secret) in secrets {
            assert!(
                !log.contains(&secret),
                "{what} is in the log: {:?}",
                log.lines().find(|line| line.contains(&secret))
            );
            assert!(!record.contains(&secret), "{what} is in the record");
        }
        assert!(!log.contains(REDIRECT) || !log.contains("code="), "{log}");
    }
}

#[test]
fn nothing_secret_is_told_on_sqlite() {
    nothing_secret_is_told(&Server::sqlite(&[SEAL]));
}

#[test]
fn nothing_secret_is_told_on_postgresql() {
    if let Some(server) = Server::postgres(&[SEAL]) {
        nothing_secret_is_told(&server);
    }
}
