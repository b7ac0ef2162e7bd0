//! A person's browser: keeps cookies, shows pages, follows no redirect by itself. And what an app sends through it.

use std::collections::BTreeMap;

use serde_json::Value;
use url::Url;

use super::signing::{b64, unique};
use super::{PASSWORD, Proof, REDIRECT, Smart};
use crate::harness::Answer;

/// A browser at one server.
#[derive(Default)]
pub struct Browser {
    pub cookies: BTreeMap<String, String>,
}

/// What a browser shows: an answer, read as a page.
pub struct Page(pub Answer);

impl Browser {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn get(&mut self, smart: &Smart, url: &str) -> Page {
        self.send(smart, "GET", url, None)
    }

    /// Sends a form as a page does.
    pub fn post(&mut self, smart: &Smart, path: &str, fields: &[(&str, &str)]) -> Page {
        self.send(smart, "POST", path, Some(form(fields)))
    }

    fn send(&mut self, smart: &Smart, method: &str, path: &str, body: Option<String>) -> Page {
        let mut request = smart.request(method, path);
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("cookie", pairs.join("; "));
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/x-www-form-urlencoded").body(body);
        }
        let answer = Answer::of(request);
        for cookie in answer.headers.get_all("set-cookie") {
            let (pair, attributes) = cookie.to_str().expect("text").split_once(';').expect("a cookie with attributes");
            let (name, value) = pair.split_once('=').expect("a name and a value");
            match value.is_empty() || attributes.to_ascii_lowercase().contains("max-age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        Page(answer)
    }

    /// Opens what an app asks for, and logs in if that is what it takes: the page that asks for consent.
    pub fn consent_page(&mut self, smart: &Smart, ask: &Ask, user: &str) -> Page {
        let page = self.get(smart, &ask.url(smart));
        if !page.asks_for_password() {
            return page;
        }
        self.log_in(smart, &page, user, PASSWORD)
    }

    /// Fills in a login page.
    pub fn log_in(&mut self, smart: &Smart, page: &Page, user: &str, password: &str) -> Page {
        self.post(smart, &page.action(0), &[("request", &page.sealed()), ("username", user), ("password", password)])
    }

    /// Answers a consent page.
    pub fn decide(&mut self, smart: &Smart, page: &Page, decision: &str) -> Page {
        self.post(smart, &page.action(0), &[("request", &page.sealed()), ("decision", decision)])
    }

    /// The whole way: where the app's user ends after login and consent.
    pub fn allow(&mut self, smart: &Smart, ask: &Ask, user: &str) -> Page {
        let page = self.consent_page(smart, ask, user);
        assert!(page.asks_for_consent(), "{} {:?}", page.0, page.0.headers);
        self.decide(smart, &page, "allow")
    }
}

impl Page {
    /// The value of a hidden field.
    pub fn hidden(&self, name: &str) -> Option<String> {
        let text = &self.0.text;
        let tags = text.split("<input").skip(1).filter_map(|rest| rest.split('>').next());
        let hidden = tags.filter(|tag| attribute(tag, "type").as_deref() == Some("hidden"));
        hidden.filter(|tag| attribute(tag, "name").as_deref() == Some(name)).find_map(|tag| attribute(tag, "value"))
    }

    /// The app's request as the page carries it along.
    pub fn sealed(&self) -> String {
        self.hidden("request").unwrap_or_else(|| panic!("a page with a form: {}", self.0))
    }

    /// Where form `n` leads.
    pub fn action(&self, n: usize) -> String {
        let tag = self.0.text.split("<form").nth(n + 1).and_then(|rest| rest.split('>').next());
        let tag = tag.unwrap_or_else(|| panic!("a page with a form: {}", self.0));
        assert_eq!(attribute(tag, "method").as_deref(), Some("post"), "{tag}");
        attribute(tag, "action").expect("an action")
    }

    pub fn asks_for_password(&self) -> bool {
        self.0.status == 200 && self.0.text.contains("name=\"password\"")
    }

    pub fn asks_for_consent(&self) -> bool {
        self.0.status == 200 && self.0.text.contains("name=\"decision\"")
    }

    /// The page as everybody gets it: without what is sealed for one request.
    pub fn common(&self) -> String {
        self.0.text.replace(&self.sealed(), "(sealed)")
    }

    /// Where a redirect leads.
    pub fn location(&self) -> Url {
        assert!(matches!(self.0.status, 302 | 303), "a redirect: {}", self.0);
        Url::parse(self.0.header("location").expect("a location")).expect("a URL")
    }

    /// A parameter that a redirect brings.
    pub fn told(&self, name: &str) -> Option<String> {
        let url = self.location();
        let mut values = url.query_pairs().filter(|(known, _)| known == name).map(|(_, value)| value.into_owned());
        let first = values.next();
        assert_eq!(values.next(), None, "{name} is told once: {url}");
        first
    }

    /// The code that a redirect brings to the app.
    pub fn code(&self) -> String {
        self.told("code").unwrap_or_else(|| panic!("a code: {}", self.location()))
    }

    /// The app is told of this error, with its state.
    pub fn assert_told(&self, error: &str) {
        assert_eq!(self.told("error").as_deref(), Some(error), "{}", self.location());
        assert_eq!(self.told("code"), None);
        assert!(self.location().as_str().starts_with(REDIRECT), "{}", self.location());
    }

    /// The person is told that something is wrong, and sent nowhere.
    pub fn assert_refused_here(&self, status: u16, what: &str) {
        assert_eq!(self.0.status, status, "{what}: {}", self.0);
        assert_eq!(self.0.header("location"), None, "{what}");
        assert!(
            self.0.header("content-type").is_some_and(|media| media.starts_with("text/html")),
            "{what}: {}",
            self.0
        );
        assert_eq!(self.0.header("refresh"), None, "{what}");
        assert!(!self.0.text.contains("http-equiv") && !self.0.text.contains("<script"), "{what}: {}", self.0);
    }
}

/// An attribute of a tag, as the browser reads it.
fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = tag[start..].split('"').next()?;
    Some(
        value
            .replace("&lt;", "<")
            .replace("&gt;", ">")
            .replace("&quot;", "\"")
            .replace("&#39;", "'")
            .replace("&amp;", "&"),
    )
}

/// A body as browsers and apps send it.
pub fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

/// What an app asks of the authorization endpoint, and the verifier that only it knows.
#[derive(Clone)]
pub struct Ask {
    pub parameters: Vec<(String, String)>,
    pub verifier: String,
}

impl Ask {
    /// All that is needed, for an app that is registered with [`REDIRECT`].
    pub fn new(smart: &Smart, client: &str, scope: &str) -> Self {
        let verifier = unique();
        let challenge = b64(openssl::sha::sha256(verifier.as_bytes()));
        let issuer = smart.issuer();
        let parameters = [
            ("response_type", "code"),
            ("client_id", client),
            ("redirect_uri", REDIRECT),
            ("scope", scope),
            ("state", "a state of its own"),
            ("aud", issuer.as_str()),
            ("code_challenge", challenge.as_str()),
            ("code_challenge_method", "S256"),
        ];
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        Self { parameters, verifier }
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        match self.parameters.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => value.clone_into(old),
            None => self.parameters.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.parameters.retain(|(known, _)| known != name);
        self
    }

    pub fn get(&self, name: &str) -> &str {
        self.parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).expect(name)
    }

    pub fn fields(&self) -> Vec<(&str, &str)> {
        self.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
    }

    pub fn url(&self, smart: &Smart) -> String {
        format!("{}?{}", smart.url("authorization_endpoint"), form(&self.fields()))
    }

    /// Asks for the tokens that a code stands for.
    pub fn exchange(&self, smart: &Smart, proof: &Proof, code: &str) -> Answer {
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.get("redirect_uri")),
            ("code_verifier", self.verifier.as_str()),
        ];
        smart.prove("token_endpoint", proof, &fields)
    }
}

/// What a public app gets for a scope from somebody who logs in and agrees.
pub fn granted(smart: &Smart, client: &str, scope: &str, user: &str) -> Value {
    let ask = Ask::new(smart, client, scope);
    let answer = ask.exchange(smart, &Proof::Public(client), &Browser::new().allow(smart, &ask, user).code());
    assert_eq!(answer.status, 200, "{answer}");
    answer.body
}
