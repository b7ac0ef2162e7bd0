//! The server under test, its subscribers, and the changes that they are told of.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use crate::process::Server;

const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition";
/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(900);
/// Changes that one transaction makes when there have to be many.
const TOGETHER: u64 = 500;

pub struct World {
    pub server: Server,
    client: Client,
    _data: tempfile::TempDir,
}

impl World {
    /// A fresh server. Whoever comes may write, and look after deliveries: it is reached from this machine only.
    pub fn start(database_url: Option<&str>) -> Result<Self> {
        let data = tempfile::TempDir::new()?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_plumbline"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data.path());
        command.args(database_url.iter().flat_map(|url| ["--database-url", *url]));
        command.env("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "system/*.cruds api/delivery.read api/delivery.write");
        command.env("PLUMBLINE_NET_ALLOW_PRIVATE", "127.0.0.0/8").env("PLUMBLINE_VALIDATION__ENFORCE", "base");
        command.env("PLUMBLINE_LIMITS__ADDRESS_PER_S", "0").env("PLUMBLINE_DELIVERY__PER_HOST_MAX", "64");
        let server = Server::start(command, &Path::new(data.path()).join("log"))?;
        Ok(Self { server, client: Client::builder().no_proxy().build()?, _data: data })
    }

    async fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let method = reqwest::Method::from_bytes(method.as_bytes())?;
        let mut request = self.client.request(method, format!("{}{path}", self.server.url));
        if let Some(body) = body {
            let media = if path.starts_with("/api") { "application/json" } else { "application/fhir+json" };
            request = request.header("content-type", media).body(body.to_string());
        }
        let answer = request.send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "{path}: {status} {text}");
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Subscribes `count` times to the roles of organizations: `together` subscribers to each of them. Waits until all are active.
    pub async fn subscribe(&self, endpoint: &str, count: u64, together: u64, max_count: u64) -> Result<()> {
        let mut ids = Vec::new();
        for n in 0..count {
            let subscription = json!({
                "resourceType": "Subscription", "status": "requested", "reason": "benchmark",
                "criteria": "urn:plumbline:topic:practitionerrole-change",
                "_criteria": {"extension": [{"url": format!("{BACKPORT}/backport-filter-criteria"),
                    "valueString": format!("PractitionerRole?organization=Organization/o{}", n / together)}]},
                "channel": {
                    "extension": [{"url": format!("{BACKPORT}/backport-max-count"), "valuePositiveInt": max_count}],
                    "type": "rest-hook", "endpoint": format!("{endpoint}/{n}"), "payload": "application/fhir+json",
                    "_payload": {"extension": [{"url": format!("{BACKPORT}/backport-payload-content"), "valueCode": "id-only"}]},
                },
            });
            let made = self.send("POST", "/fhir/Subscription", Some(&subscription)).await?;
            ids.push(made["id"].as_str().context("an id")?.to_owned());
        }
        let begin = Instant::now();
        for id in ids {
            loop {
                let found = self.send("GET", &format!("/fhir/Subscription/{id}"), None).await?;
                match found["status"].as_str() {
                    Some("active") => break,
                    Some("requested") if begin.elapsed() < PATIENCE => tokio::task::yield_now().await,
                    other => bail!("a Subscription is {other:?}: {}", found["error"]),
                }
            }
        }
        Ok(())
    }

    fn role(change: u64, organization: u64) -> Value {
        json!({"resourceType": "PractitionerRole", "id": format!("change-{change}"), "active": true,
            "organization": {"reference": format!("Organization/o{organization}")}})
    }

    /// Makes one change; when it was answered.
    pub async fn change(&self, change: u64, organization: u64) -> Result<Instant> {
        let path = format!("/fhir/PractitionerRole/change-{change}");
        self.send("PUT", &path, Some(&Self::role(change, organization))).await?;
        Ok(Instant::now())
    }

    /// Makes many changes for one organization, in transactions.
    pub async fn change_many(&self, first: u64, count: u64, organization: u64) -> Result<()> {
        let mut change = first;
        while change < first + count {
            let end = (change + TOGETHER).min(first + count);
            let entry = |n: u64| {
                json!({"resource": Self::role(n, organization),
                    "request": {"method": "PUT", "url": format!("PractitionerRole/change-{n}")}})
            };
            let entries: Vec<Value> = (change..end).map(entry).collect();
            let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": entries});
            self.send("POST", "/fhir", Some(&bundle)).await?;
            change = end;
        }
        Ok(())
    }

    /// The lanes as operators see them.
    pub async fn lanes(&self) -> Result<Vec<Value>> {
        let list = self.send("GET", "/api/v1/lanes?count=1000", None).await?;
        Ok(list["lanes"].as_array().cloned().unwrap_or_default())
    }

    /// `pause` or `resume`, for all lanes.
    pub async fn order(&self, order: &str) -> Result<()> {
        for lane in self.lanes().await? {
            self.send("POST", &format!("/api/v1/lanes/{}/{order}", lane["lane"]), None).await?;
        }
        Ok(())
    }

    /// Waits until so many events have their numbers, all lanes together.
    pub async fn wait_for_events(&self, events: u64) -> Result<()> {
        let begin = Instant::now();
        loop {
            let lanes = self.lanes().await?;
            let found: u64 = lanes.iter().filter_map(|lane| lane["events"].as_u64()).sum();
            if found >= events {
                return Ok(());
            }
            ensure!(begin.elapsed() < PATIENCE, "{found} of {events} events have numbers");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
