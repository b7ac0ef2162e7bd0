//! A server of its own for each test: the real program, on a free port, over a fresh database.

pub mod postgres;
pub mod receiver;
pub mod sockets;
pub mod tokens;

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use reqwest::Method;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::header::HeaderMap;
use serde_json::Value;
use tempfile::TempDir;

/// Makes of each function two tests, one for each database. The function gets a running [`Server`]; a first line
/// `with [(name, value)];` gives it settings.
macro_rules! on_both {
    (with $settings:tt; $($(#[$meta:meta])* fn $name:ident($server:ident) $body:block)*) => {
        $(fn $name($server: &$crate::harness::Server) $body)*

        mod sqlite {
            $(#[test] $(#[$meta])* fn $name() { super::$name(&$crate::harness::Server::sqlite(&$settings)); })*
        }

        mod postgresql {
            $(#[test] $(#[$meta])* fn $name() {
                if let Some(server) = $crate::harness::Server::postgres(&$settings) {
                    super::$name(&server);
                }
            })*
        }
    };
    ($($(#[$meta:meta])* fn $name:ident($server:ident) $body:block)*) => {
        $crate::harness::on_both! { with []; $($(#[$meta])* fn $name($server) $body)* }
    };
}
pub(crate) use on_both;

/// A running server. Ended, and its database removed, when it goes out of scope.
pub struct Server {
    process: Mutex<Option<Child>>,
    /// Base of the FHIR interface, without a trailing slash.
    pub base: String,
    data: TempDir,
    database: Option<postgres::Database>,
    settings: Vec<(String, String)>,
    client: Client,
}

impl Server {
    /// A server over a SQLite file; `settings` are environment variables such as `PLUMBLINE_STORE__REFERENCES`.
    pub fn sqlite(settings: &[(&str, &str)]) -> Self {
        Self::start(settings, None)
    }

    /// A server over a PostgreSQL database; `None`, with a note, when there is no PostgreSQL on this machine.
    pub fn postgres(settings: &[(&str, &str)]) -> Option<Self> {
        Some(Self::start(settings, Some(postgres::Database::create()?)))
    }

    fn start(settings: &[(&str, &str)], database: Option<postgres::Database>) -> Self {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let client = Client::builder().no_proxy().build().expect("an HTTP client");
        let data = TempDir::new().expect("a folder for data");
        let mut server = Self { process: Mutex::new(None), base: String::new(), data, database, settings, client };
        server.restart();
        server
    }

    /// A `plumbline` command on this server's database.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plumbline"));
        command.args(arguments).arg("--data").arg(self.data.path()).current_dir(self.data.path());
        command.env("PLUMBLINE_LOG__FILTER", "warn");
        // Most tests are about something else than profiles, with resources that say no more than they need.
        command.env("PLUMBLINE_VALIDATION__ENFORCE", "base");
        // And about something else than who may do it. A server that others reach does not take that.
        if !self.settings.iter().any(|(name, value)| name.ends_with("BASE_URL") && value.starts_with("https")) {
            command.env("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "system/*.cruds");
        }
        // All tests come from one address, and in a hurry.
        for limit in ["ADDRESS", "AUTH", "CLIENT", "REFUSALS", "POLLS"] {
            command.env(format!("PLUMBLINE_LIMITS__{limit}_PER_S"), "0");
        }
        if let Some(database) = &self.database {
            command.args(["--database-url", &database.url]);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The URL of its PostgreSQL database; `None` on SQLite.
    pub fn database_url(&self) -> Option<&str> {
        self.database.as_ref().map(|database| database.url.as_str())
    }

    /// The URL of its database, whichever it is.
    pub fn store_url(&self) -> String {
        let file = || format!("sqlite:{}", self.data.path().join("plumbline.db").display());
        self.database_url().map_or_else(file, str::to_owned)
    }

    /// A second server process on the same database.
    pub fn second(&self, settings: &[(&str, &str)]) -> Self {
        let own = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let url = self.store_url();
        // All nodes seal their signing keys with one key.
        let key = std::fs::read_to_string(self.data.path().join("auth.key")).ok();
        let shared = [("PLUMBLINE_DATABASE_URL", url.as_str())];
        let key = key.as_deref().map(|key| ("PLUMBLINE_AUTH__KEY", key));
        let settings: Vec<(&str, &str)> =
            key.into_iter().chain(own).chain(settings.iter().copied()).chain(shared).collect();
        Self::start(&settings, None)
    }

    /// The folder of its data.
    pub fn data(&self) -> &std::path::Path {
        self.data.path()
    }

    /// Ends the process as a power failure would: at once.
    pub fn kill(&self) {
        if let Some(mut process) = self.process.lock().expect("no test panicked here").take() {
            process.kill().expect("it can be killed");
            process.wait().expect("it ends");
        }
    }

    /// Its process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.lock().expect("no test panicked here").as_ref().map(Child::id)
    }

    /// Starts it again, on another port.
    pub fn restart(&mut self) {
        self.kill();
        let mut process = self
            .command(&["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .expect("the server starts");
        let mut output = BufReader::new(process.stdout.take().expect("its output"));
        let mut first = String::new();
        output.read_line(&mut first).expect("its first line");
        assert!(first.starts_with("http"), "the first line is the base URL, not '{first}'");
        // Somebody has to read on, or the server would wait for it one day.
        std::thread::spawn(move || output.read_to_end(&mut Vec::new()));
        self.base = if first.contains("://127.0.0.1:") {
            format!("{}/fhir", first.trim())
        } else {
            // It calls itself what its setting says; what leads to it is this.
            let has_tls = self.settings.iter().any(|(name, _)| name == "PLUMBLINE_SERVER__TLS_CERT");
            let scheme = if has_tls { "https" } else { "http" };
            format!("{scheme}://127.0.0.1:{}/fhir", sockets::port(process.id()))
        };
        *self.process.lock().expect("no test panicked here") = Some(process);
    }

    /// A request to a URL below the FHIR base.
    pub fn request(&self, method: &str, path: &str) -> RequestBuilder {
        let url = if path.starts_with("http") { path.to_owned() } else { format!("{}/{path}", self.base) };
        self.client.request(Method::from_bytes(method.as_bytes()).expect("a method"), url)
    }

    pub fn get(&self, path: &str) -> Answer {
        Answer::of(self.request("GET", path))
    }

    pub fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request("POST", path).header("content-type", "application/fhir+json").body(body.to_string()))
    }

    pub fn put(&self, path: &str, body: &Value) -> Answer {
        Answer::of(self.request("PUT", path).header("content-type", "application/fhir+json").body(body.to_string()))
    }

    pub fn patch(&self, path: &str, media_type: &str, body: &Value) -> Answer {
        Answer::of(self.request("PATCH", path).header("content-type", media_type).body(body.to_string()))
    }

    pub fn delete(&self, path: &str) -> Answer {
        Answer::of(self.request("DELETE", path))
    }

    /// The ids of the matches of a search, on all its pages, in order.
    pub fn ids(&self, search: &str) -> Vec<String> {
        let mut ids = Vec::new();
        let mut next = Some(search.to_owned());
        while let Some(url) = next {
            let page = self.get(&url);
            assert_eq!(page.status, 200, "{url}: {page}");
            ids.extend(page.entries("match").iter().map(|resource| resource["id"].as_str().expect("id").to_owned()));
            next = page.link("next");
        }
        ids
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
    /// The JSON of the text; null when it is none.
    pub body: Value,
}

impl Answer {
    pub fn of(request: RequestBuilder) -> Self {
        let response = request.send().expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().expect("a body in UTF-8");
        let body = serde_json::from_str(&text).unwrap_or(Value::Null);
        Self { status, headers, text, body }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The resources of a searchset with this mode.
    pub fn entries(&self, mode: &str) -> Vec<&Value> {
        let entries = self.body["entry"].as_array().map(Vec::as_slice).unwrap_or_default();
        entries.iter().filter(|entry| entry["search"]["mode"] == mode).map(|entry| &entry["resource"]).collect()
    }

    /// `Type/id` of the resources of a searchset with this mode, sorted.
    pub fn names(&self, mode: &str) -> Vec<String> {
        let name = |resource: &&Value| {
            format!("{}/{}", resource["resourceType"].as_str().unwrap_or("?"), resource["id"].as_str().unwrap_or("?"))
        };
        let mut names: Vec<String> = self.entries(mode).iter().map(name).collect();
        names.sort();
        names
    }

    /// The URL of a Bundle's link.
    pub fn link(&self, relation: &str) -> Option<String> {
        let links = self.body["link"].as_array()?;
        links.iter().find(|link| link["relation"] == relation)?["url"].as_str().map(str::to_owned)
    }

    /// The first issue of an OperationOutcome: severity, code, diagnostics, expression.
    pub fn issue(&self) -> (String, String, String, String) {
        assert_eq!(self.body["resourceType"], "OperationOutcome", "{self}");
        let issue = &self.body["issue"][0];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&issue["severity"]), text(&issue["code"]), text(&issue["diagnostics"]), text(&issue["expression"][0]))
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text)
    }
}
