//! Access tokens with any claims: an authorization server on loopback that the server under test trusts, and requests
//! that bear a token.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::bn::{BigNum, BigNumContext};
use openssl::ec::{EcGroup, EcKey};
use openssl::ecdsa::EcdsaSig;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use serde_json::{Value, json};

use super::{Answer, Server};

/// The `iss` of its tokens, its app, and the key that signs them.
pub const ISSUER: &str = "https://id.payer.example";
pub const CLIENT: &str = "finder";
const KID: &str = "one";
/// Bytes of each half of an ES384 signature.
const HALF: i32 = 48;

static KEY: LazyLock<PKey<Private>> = LazyLock::new(key);

/// Where its keys are published, for as long as the tests run.
static JWKS_URL: LazyLock<String> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || listener.incoming().map_while(Result::ok).for_each(publish));
    format!("http://127.0.0.1:{port}/jwks")
});

static ISSUERS: LazyLock<String> = LazyLock::new(|| {
    format!("[{{issuer=\"{ISSUER}\",jwks_url=\"{}\",organization_claim=\"organization\"}}]", *JWKS_URL)
});

/// Settings of a server that lets in nobody without a token and trusts the tokens made here.
pub fn trusting() -> Vec<(&'static str, &'static str)> {
    vec![
        ("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", ""),
        ("PLUMBLINE_AUTH__ISSUERS", ISSUERS.as_str()),
        ("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8"),
    ]
}

/// The same with settings of a test's own, which win.
pub fn trusting_with(more: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    trusting().into_iter().chain(more.iter().copied()).collect()
}

/// A new key for ES384.
pub fn key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::SECP384R1).expect("a curve");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

/// Answers with the keys, whatever is asked.
fn publish(mut connection: TcpStream) {
    let mut lines = BufReader::new(&connection).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let body = json!({"keys": [jwk()]}).to_string();
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    let _gone = connection.write_all(format!("{head}{body}").as_bytes());
}

fn jwk() -> Value {
    let key = KEY.ec_key().expect("a key of a curve");
    let (mut context, mut x, mut y) =
        (BigNumContext::new().expect("memory"), BigNum::new().expect("memory"), BigNum::new().expect("memory"));
    key.public_key().affine_coordinates(key.group(), &mut x, &mut y, &mut context).expect("a point");
    let text = |number: &BigNum| URL_SAFE_NO_PAD.encode(number.to_vec_padded(HALF).expect("48 bytes"));
    json!({"kty": "EC", "crv": "P-384", "alg": "ES384", "use": "sig", "kid": KID, "x": text(&x), "y": text(&y)})
}

/// Seconds since 1970.
pub fn now_s() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock that is right");
    i64::try_from(since_1970.as_secs()).expect("a clock that is right")
}

/// The header of a token that is accepted.
pub fn header() -> Value {
    json!({"alg": "ES384", "kid": KID, "typ": "at+jwt"})
}

/// The claims of a token that is good for an hour.
pub fn claims(server: &Server, scope: &str) -> Value {
    json!({"iss": ISSUER, "aud": server.base, "exp": now_s() + 3600, "sub": "ann", "client_id": CLIENT, "scope": scope})
}

/// A JWT, whatever it says.
pub fn signed_by(key: &PKey<Private>, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let message = format!("{}.{}", part(header), part(claims));
    let mut signer = Signer::new(MessageDigest::sha384(), key).expect("a key that signs");
    let der = signer.sign_oneshot_to_vec(message.as_bytes()).expect("a signature");
    let signature = EcdsaSig::from_der(&der).expect("a signature of a curve");
    let mut joined = signature.r().to_vec_padded(HALF).expect("48 bytes");
    joined.extend(signature.s().to_vec_padded(HALF).expect("48 bytes"));
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(joined))
}

/// The same with the key that is published.
pub fn signed(header: &Value, claims: &Value) -> String {
    signed_by(&KEY, header, claims)
}

/// A token that the command line of a server's own machine prints.
pub fn printed(server: &Server, scope: &str) -> String {
    let done = server.command(&["token", "--scope", scope]).output().expect("the command runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("a token").trim().to_owned()
}

/// Somebody who makes requests, with a token or without.
pub struct Bearer<'s> {
    pub server: &'s Server,
    token: Option<String>,
}

impl<'s> Bearer<'s> {
    pub fn new(server: &'s Server, token: String) -> Self {
        Self { server, token: Some(token) }
    }

    /// Somebody without a token.
    pub fn nobody(server: &'s Server) -> Self {
        Self { server, token: None }
    }

    /// A system, or an app without a user, with these scopes.
    pub fn of(server: &'s Server, scope: &str) -> Self {
        Self::with(server, scope, &json!({}))
    }

    /// An app that acts for the person whom `fhirUser` names.
    pub fn user(server: &'s Server, scope: &str, fhir_user: &str) -> Self {
        Self::with(server, scope, &json!({"fhirUser": fhir_user}))
    }

    /// The bearer of a token with more claims.
    pub fn with(server: &'s Server, scope: &str, more: &Value) -> Self {
        let mut claims = claims(server, scope);
        for (name, value) in more.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        Self::new(server, signed(&header(), &claims))
    }

    /// A request with headers, and a body unless that is empty.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut request = self.server.request(method, path);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Answer::of(if body.is_empty() { request } else { request.body(body.to_owned()) })
    }

    /// The same with JSON, and perhaps one more header.
    pub fn send_json(&self, method: &str, path: &str, header: Option<(&str, &str)>, body: &Value) -> Answer {
        let mut headers = vec![("content-type", "application/fhir+json")];
        headers.extend(header);
        self.send(method, path, &headers, &body.to_string())
    }

    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &[], "")
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send_json("POST", path, None, body)
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send_json("PUT", path, None, body)
    }

    /// A JSON Patch.
    pub fn patch(&self, path: &str, operations: &Value) -> Answer {
        self.send("PATCH", path, &[("content-type", "application/json-patch+json")], &operations.to_string())
    }

    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &[], "")
    }

    /// All pages from this one on, each answered with 200.
    pub fn pages(&self, first: &str) -> Vec<Answer> {
        let mut pages: Vec<Answer> = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(url) = next {
            let page = self.get(&url);
            assert_eq!(page.status, 200, "page {} of {first}: {page}", pages.len() + 1);
            next = page.link("next");
            pages.push(page);
        }
        pages
    }

    /// `Type/id` of the matches of a search on all its pages, sorted.
    pub fn matches(&self, search: &str) -> Vec<String> {
        let mut names: Vec<String> = self.pages(search).iter().flat_map(|page| page.names("match")).collect();
        names.sort();
        names
    }

    /// Writes a resource under its id, as a test wants it to be there.
    pub fn store(&self, resource: &Value) -> Answer {
        let answer = self.put(&name(resource), resource);
        assert!(matches!(answer.status, 200 | 201), "{answer}");
        answer
    }
}

/// `Type/id` of a resource.
pub fn name(resource: &Value) -> String {
    let text = |name: &str| resource[name].as_str().unwrap_or("?");
    format!("{}/{}", text("resourceType"), text("id"))
}
