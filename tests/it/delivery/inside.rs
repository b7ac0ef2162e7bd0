//! A directory that delivers inside the test, so that its clock can be moved.

use std::sync::Arc;

use plumbline::app::{App, store_limits};
use plumbline::auth::caller::Caller;
use plumbline::config::Settings;
use plumbline::delivery::machine::{self, Running};
use plumbline::fhir::terminology::Terminology;
use plumbline::fhir::types::ResourceType;
use plumbline::interactions::{create, read, update};
use plumbline::store::Store;
use plumbline::validate::{Enforce, Validator};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::harness::postgres::Database;

use super::owed::Books;

/// It stops to deliver when this is dropped.
pub struct Inside {
    _machine: Option<Running>,
    pub app: Arc<App>,
    pub runtime: Runtime,
    _data: TempDir,
    _database: Option<Database>,
}

/// A directory for each database that there is here.
pub fn on_each(change: impl Fn(&mut Settings), test: impl Fn(&Inside)) {
    test(&Inside::new(None, &change));
    if let Some(database) = Database::create() {
        test(&Inside::new(Some(database), &change));
    }
}

impl Inside {
    fn new(database: Option<Database>, change: impl Fn(&mut Settings)) -> Self {
        let data = TempDir::new().expect("a folder for data");
        let url = database.as_ref().map(|it| it.url.clone());
        let runtime = Runtime::new().expect("a runtime");
        let app = runtime.block_on(open(&data, url, change));
        let machine = machine::start(&app).expect("it delivers");
        Self { _machine: Some(machine), app, runtime, _data: data, _database: database }
    }

    /// What is known of lanes.
    pub fn books(&self) -> Books {
        Books::over(self.app.store.clone())
    }

    /// Stores a resource under its id; its version.
    pub fn put(&self, resource: &Value) -> i64 {
        let (resource_type, id) = (type_of(resource), resource["id"].as_str().expect("an id"));
        let caller = Caller::operator();
        let written = update::update(&self.app, &caller, resource_type, id, resource.clone(), None);
        self.runtime.block_on(written).expect("it is stored").version.expect("a version")
    }

    /// Stores a new resource; its id.
    pub fn post(&self, resource: &Value) -> String {
        let caller = Caller::operator();
        let written = create::create(&self.app, &caller, type_of(resource), resource.clone(), None);
        let body = self.runtime.block_on(written).expect("it is stored").body.expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        body["id"].as_str().expect("an id").to_owned()
    }

    /// A Subscription as it is now.
    pub fn subscription(&self, id: &str) -> Value {
        let caller = Caller::operator();
        let found = self.runtime.block_on(read::read(&self.app, &caller, ResourceType::Subscription, id));
        serde_json::from_str(&found.expect("it is there").body).expect("JSON")
    }
}

fn type_of(resource: &Value) -> ResourceType {
    resource["resourceType"].as_str().and_then(ResourceType::parse).expect("a type")
}

/// Opens a directory over a database, the folder's own unless there is a URL.
pub async fn open(data: &TempDir, url: Option<String>, change: impl Fn(&mut Settings)) -> Arc<App> {
    let mut settings = Settings::load(None).expect("settings");
    settings.data = data.path().to_owned();
    settings.database_url = url;
    settings.validation.enforce = Enforce::Base;
    settings.net.allow_private = vec!["127.0.0.0/8".into()];
    change(&mut settings);
    let store = Store::open(&settings.database_url(), store_limits(&settings)).await.expect("a database");
    let terminology = Arc::new(Terminology::with(Vec::new()).expect("terminology"));
    let validator = Arc::new(Validator::new(terminology, &[]));
    App::new(store, settings, validator, vec!["http://127.0.0.1:8080/fhir".into()]).await.expect("a directory")
}
