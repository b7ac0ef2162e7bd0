//! Files into the directory and out again.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use plumbline::app::App;
use plumbline::cli::export::{self, Compress, ExportArgs};
use plumbline::cli::import::{self, ImportArgs};
use plumbline::config::{References, Settings};
use plumbline::fhir::terminology::Terminology;
use plumbline::fhir::types::ResourceType;
use plumbline::ingest::{self, Counts, Options, Sources, Summary};
use plumbline::store::conn::Conn;
use plumbline::store::error::StoreError;
use plumbline::store::{Store, include, progress, resources};
use plumbline::validate::{Enforce, Validator};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::on_both;

const TRANSACTION_RESOURCES: usize = 100;

/// An empty directory in a folder of its own.
struct Directory {
    app: Arc<App>,
    folder: TempDir,
}

impl Directory {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().expect("folder");
        let mut settings = Settings::load(None).expect("settings");
        settings.data = folder.path().join("data");
        settings.database_url = None;
        settings.validation.enforce = Enforce::Base;
        change(&mut settings);
        let store =
            Store::open(&settings.database_url(), plumbline::app::store_limits(&settings)).await.expect("store");
        let terminology = Arc::new(Terminology::with(Vec::new()).expect("terminology"));
        let validator = Arc::new(Validator::new(terminology, &[]));
        let app = App::new(store, settings, validator, vec!["http://127.0.0.1:8080/fhir".into()]).await.expect("app");
        Self { app, folder }
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join("in").join(name);
        fs::create_dir_all(path.parent().expect("folder")).expect("folder");
        fs::write(&path, content).expect("file");
        path
    }

    fn options(&self) -> Options {
        Options {
            rejects: self.rejects_file(),
            transaction_resources: TRANSACTION_RESOURCES,
            resume: true,
            stop: Arc::new(AtomicBool::new(false)),
        }
    }

    fn rejects_file(&self) -> PathBuf {
        self.folder.path().join("rejects.ndjson")
    }

    async fn import(&self, path: &Path) -> Summary {
        let sources = Sources::find(&[path.to_owned()]).expect("sources");
        ingest::import(&self.app, &sources, &self.options(), |_| {}).await.expect("imported")
    }

    fn rejects(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.rejects_file()).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// Version and body.
    async fn get(&self, resource_type: ResourceType, id: &str) -> Option<(i64, Value)> {
        let read = async |conn: &mut Conn| resources::get(conn, resource_type, id).await;
        let current = self.app.store.read::<_, StoreError, _>(read).await.expect("read")?;
        Some((current.version, serde_json::from_str(&current.body?).expect("JSON")))
    }

    /// All resources without what the server stamps, in order of their ids.
    async fn all(&self, resource_type: ResourceType) -> Vec<Value> {
        let walk = async |conn: &mut Conn| include::after(conn, resource_type, 0, i64::MAX).await;
        let found = self.app.store.read::<_, StoreError, _>(walk).await.expect("read");
        let mut bodies: Vec<Value> =
            found.iter().map(|found| serde_json::from_str(&found.body).expect("JSON")).collect();
        for body in &mut bodies {
            let meta = body["meta"].as_object_mut().expect("meta");
            meta.remove("versionId");
            meta.remove("lastUpdated");
        }
        bodies.sort_by_key(|body| body["id"].as_str().map(str::to_owned));
        bodies
    }
}

fn endpoint(id: &str) -> Value {
    json!({
        "resourceType": "Endpoint",
        "id": id,
        "status": "active",
        "connectionType": {"system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type", "code": "hl7-fhir-rest"},
        "payloadType": [{"text": "any"}],
        "address": format!("https://example.org/{id}"),
    })
}

fn lines(bodies: impl IntoIterator<Item = Value>) -> String {
    bodies.into_iter().map(|body| format!("{body}\n")).collect()
}

fn endpoints(count: usize) -> String {
    lines((0..count).map(|n| endpoint(&format!("e{n}"))))
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).expect("compressed");
    encoder.finish().expect("compressed")
}

fn created(created: u64) -> Counts {
    Counts { created, ..Counts::default() }
}

#[tokio::test]
async fn ndjson_is_imported_in_every_compression_and_a_second_time_changes_nothing() {
    let directory = Directory::new().await;
    let text = endpoints(250);
    let first = directory.import(&directory.file("a.ndjson", &text)).await;
    assert_eq!(first.total(), created(250));
    let unchanged = Counts { unchanged: 250, ..Counts::default() };
    for (name, content) in [
        ("b.ndjson", text.clone().into_bytes()),
        ("b.ndjson.gz", gzip(text.as_bytes())),
        ("b.zst", zstd::encode_all(text.as_bytes(), 1).expect("compressed")),
    ] {
        let again = directory.import(&directory.file(name, content)).await;
        assert_eq!(again.total(), unchanged, "{name}");
    }
    assert_eq!(directory.get(ResourceType::Endpoint, "e249").await.expect("stored").0, 1);
    assert!(!directory.rejects_file().exists());
}

#[tokio::test]
async fn a_folder_is_imported_with_all_that_is_in_it() {
    let directory = Directory::new().await;
    let pretty = serde_json::to_string_pretty(&endpoint("pretty")).expect("JSON");
    directory.file("folder/deep/one.json", pretty);
    directory.file("folder/many.ndjson", endpoints(3));
    directory.file("folder/notes.txt", "not this");
    let summary = directory.import(&directory.folder.path().join("in/folder")).await;
    assert_eq!(summary.total(), created(4));
    assert!(directory.get(ResourceType::Endpoint, "pretty").await.is_some());
}

#[tokio::test]
async fn the_entries_of_a_bundle_are_put_linked_and_deleted() {
    let directory = Directory::new().await;
    directory.import(&directory.file("old.json", endpoint("old").to_string())).await;
    let mut new = endpoint("x");
    new.as_object_mut().expect("object").remove("id");
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {
            "fullUrl": "urn:uuid:11111111-1111-4111-8111-111111111111",
            "resource": new,
            "request": {"method": "POST", "url": "Endpoint"},
        },
        {
            "resource": {"resourceType": "Organization", "id": "o", "active": true, "name": "O",
                "endpoint": [{"reference": "urn:uuid:11111111-1111-4111-8111-111111111111"}]},
            "request": {"method": "PUT", "url": "Organization/o"},
        },
        {"request": {"method": "DELETE", "url": "Endpoint/old"}},
    ]});
    let path = directory.file("bundle.json", bundle.to_string());
    let summary = directory.import(&path).await;
    assert_eq!(summary.types["Endpoint"], Counts { created: 1, deleted: 1, ..Counts::default() });
    assert_eq!(summary.types["Organization"], created(1));
    let (_, organization) = directory.get(ResourceType::Organization, "o").await.expect("stored");
    let reference = organization["endpoint"][0]["reference"].as_str().expect("reference").to_owned();
    let id = reference.strip_prefix("Endpoint/").expect("a reference to what was stored");
    assert!(directory.get(ResourceType::Endpoint, id).await.is_some());
    assert!(directory.get(ResourceType::Endpoint, "old").await.is_none());
    let again = directory.import(&path).await;
    assert_eq!(again.total(), Counts { unchanged: 3, ..Counts::default() });
}

#[tokio::test]
async fn a_package_gives_what_the_directory_stores_and_the_rest_is_skipped() {
    let directory = Directory::new().await;
    let mut archive = tar::Builder::new(Vec::new());
    let profile = json!({"resourceType": "StructureDefinition", "id": "p"});
    for (path, content) in [
        ("package/package.json", json!({"name": "p"})),
        ("package/StructureDefinition-p.json", profile),
        ("package/example/Endpoint-a.json", endpoint("a")),
        ("package/Endpoint-b.json", endpoint("b")),
    ] {
        let content = serde_json::to_vec_pretty(&content).expect("JSON");
        let mut header = tar::Header::new_ustar();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, content.as_slice()).expect("member");
    }
    let summary = directory.import(&directory.file("p.tgz", gzip(&archive.into_inner().expect("archive")))).await;
    assert_eq!(summary.types["Endpoint"], created(2));
    assert_eq!(summary.types["StructureDefinition"], Counts { skipped: 1, ..Counts::default() });
    assert_eq!(summary.total().rejected, 0);
}

#[tokio::test]
async fn what_is_refused_is_listed_and_the_rest_is_stored() {
    let directory = Directory::new().await;
    let text = format!(
        "{}\n{{\"resourceType\":\n{}\n\n{}\n{}\n",
        endpoint("a"),
        json!({"resourceType": "Endpoint", "id": "b", "nonsense": 1}),
        json!({"resourceType": "Endpoint", "id": "no_id"}),
        endpoint("c"),
    );
    let summary = directory.import(&directory.file("x.ndjson", text)).await;
    assert_eq!(summary.types["Endpoint"], Counts { created: 2, rejected: 2, ..Counts::default() });
    assert_eq!(summary.total().rejected, 3);
    let rejects = directory.rejects();
    let told: Vec<_> = rejects
        .iter()
        .map(|reject| (reject["line"].clone(), reject["resource"].clone(), reject["status"].clone()))
        .collect();
    assert_eq!(
        told,
        [
            (json!(2), json!(null), json!(400)),
            (json!(3), json!("Endpoint/b"), json!(422)),
            (json!(5), json!("Endpoint"), json!(400))
        ]
    );
    assert!(rejects[0]["source"].as_str().expect("source").ends_with("x.ndjson"));
    assert!(rejects[1]["issues"].to_string().contains("nonsense"), "{}", rejects[1]);
    // A later import without refusals leaves no list that is not its own.
    directory.import(&directory.file("y.ndjson", endpoints(1))).await;
    assert!(!directory.rejects_file().exists());
}

#[tokio::test]
async fn a_line_that_is_too_long_is_refused_alone() {
    let directory = Directory::with(|settings| settings.server.body_bytes_max = 1024).await;
    let long = json!({"resourceType": "Endpoint", "id": "long", "name": "x".repeat(2_000)});
    let summary = directory.import(&directory.file("x.ndjson", lines([endpoint("a"), long, endpoint("b")]))).await;
    assert_eq!(summary.types["Endpoint"], created(2));
    assert_eq!((&directory.rejects()[0]["line"], &directory.rejects()[0]["status"]), (&json!(2), &json!(413)));
}

#[tokio::test]
async fn references_that_lead_nowhere_refuse_their_resource_and_those_that_need_it() {
    let directory = Directory::with(|settings| settings.store.references = References::Enforce).await;
    let organization = |id: &str, part_of: &str| json!({"resourceType": "Organization", "id": id, "active": true, "name": id, "partOf": {"reference": format!("Organization/{part_of}")}});
    let text =
        lines([organization("a", "b"), organization("b", "a"), organization("c", "nowhere"), organization("d", "c")]);
    let summary = directory.import(&directory.file("x.ndjson", text)).await;
    assert_eq!(summary.types["Organization"], Counts { created: 2, rejected: 2, ..Counts::default() });
    let refused: Vec<_> = directory.rejects().iter().map(|reject| reject["resource"].clone()).collect();
    assert_eq!(refused, ["Organization/c", "Organization/d"]);
}

#[tokio::test]
async fn a_refusal_of_the_database_leaves_the_rest_of_its_transaction_in() {
    let directory = Directory::with(|settings| settings.store.references = References::Enforce).await;
    let organization = json!({"resourceType": "Organization", "id": "o", "active": true, "name": "O", "endpoint": [{"reference": "Endpoint/e0"}]});
    let text = format!("{}{organization}\n", endpoints(1));
    directory.import(&directory.file("x.ndjson", text)).await;
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"request": {"method": "DELETE", "url": "Endpoint/e0"}},
        {"resource": endpoint("e1")},
    ]});
    let path = directory.file("y.json", bundle.to_string());
    let summary = directory.import(&path).await;
    assert_eq!(summary.types["Endpoint"], Counts { created: 1, rejected: 1, ..Counts::default() });
    assert_eq!((&directory.rejects()[0]["entry"], &directory.rejects()[0]["status"]), (&json!(1), &json!(409)));
}

#[tokio::test]
async fn an_import_goes_on_where_a_crash_ended_it() {
    let directory = Directory::new().await;
    let sources = Sources::find(&[directory.file("x.ndjson", endpoints(300))]).expect("sources");
    let identity = sources.identity().expect("files");
    let crashed = identity.clone();
    let save = async move |conn: &mut Conn| progress::save(conn, &crashed, 150).await;
    directory.app.store.write::<_, StoreError, _>(save).await.expect("saved");
    let summary = ingest::import(&directory.app, &sources, &directory.options(), |_| {}).await.expect("imported");
    assert_eq!((summary.total(), summary.units_done_before), (created(150), 150));
    assert!(directory.get(ResourceType::Endpoint, "e149").await.is_none());
    assert!(directory.get(ResourceType::Endpoint, "e150").await.is_some());
    // It came to its end, so the next one starts at the beginning.
    let again = ingest::import(&directory.app, &sources, &directory.options(), |_| {}).await.expect("imported");
    assert_eq!(again.total(), Counts { created: 150, unchanged: 150, ..Counts::default() });
}

#[tokio::test]
async fn an_import_that_is_stopped_goes_on_behind_its_last_transaction() {
    let directory = Directory::new().await;
    let sources = Sources::find(&[directory.file("x.ndjson", endpoints(1_000))]).expect("sources");
    let options = directory.options();
    let first = ingest::import(&directory.app, &sources, &options, |_| options.stop.store(true, Ordering::Relaxed))
        .await
        .expect("imported");
    assert!(first.is_interrupted);
    let stored = first.total().created;
    assert!((TRANSACTION_RESOURCES as u64..1_000).contains(&stored), "{stored}");
    let second = ingest::import(&directory.app, &sources, &directory.options(), |_| {}).await.expect("imported");
    assert_eq!((second.total(), second.is_interrupted), (created(1_000 - stored), false));
}

#[tokio::test]
async fn the_exit_code_tells_findings_from_failure() {
    let directory = Directory::new().await;
    let run = async |path: PathBuf| {
        let args =
            ImportArgs { paths: vec![path], rejects: None, batch: None, enforce: None, json: true, no_resume: false };
        import::run(&directory.app, &args).await.map(|code| format!("{code:?}"))
    };
    let code = |number: u8| format!("{:?}", std::process::ExitCode::from(number));
    assert_eq!(run(directory.file("good.ndjson", endpoints(1))).await.expect("ran"), code(0));
    assert_eq!(run(directory.file("bad.ndjson", "{}\n")).await.expect("ran"), code(1));
    assert!(directory.app.settings.data.join("import-rejects.ndjson").exists());
    // main turns an error into 2.
    assert!(run(directory.folder.path().join("absent")).await.is_err());
}

#[tokio::test]
async fn what_is_exported_and_imported_elsewhere_is_the_same_directory() {
    let (here, there) = (Directory::new().await, Directory::new().await);
    let text = lines(plumbline::demo::Directory::new(30, 1).resources());
    here.import(&here.file("demo.ndjson", text)).await;
    for compress in [Compress::None, Compress::Gzip, Compress::Zstd] {
        let out = here.folder.path().join("out");
        let args = ExportArgs { out: out.clone(), types: Vec::new(), compress, json: true };
        export::run(&here.app, &args).await.expect("exported");
        let names: Vec<_> = fs::read_dir(&out)
            .expect("folder")
            .map(|entry| entry.expect("entry").file_name().into_string().expect("name"))
            .collect();
        assert!(!names.iter().any(|name| name.ends_with(".draft")), "{names:?}");
        assert_eq!(names.iter().filter(|name| name.starts_with("Practitioner.")).count(), 1, "{names:?}");
        there.import(&out).await;
        // Each has a record of its own.
        for resource_type in ResourceType::ALL.iter().filter(|it| **it != ResourceType::AuditEvent) {
            assert_eq!(here.all(*resource_type).await, there.all(*resource_type).await);
        }
    }
    assert!(!here.all(ResourceType::PractitionerRole).await.is_empty());
    assert!(
        there
            .get(ResourceType::Practitioner, here.all(ResourceType::Practitioner).await[0]["id"].as_str().expect("id"))
            .await
            .is_some_and(|(version, _)| version == 1)
    );
}

on_both! {
    fn many_that_refer_to_each_other_in_circles_are_imported_whole_and_in_order(server) {
        const COUNT: usize = 2_400;
        let organization = |n: usize, name: &str| {
            json!({"resourceType": "Organization", "id": format!("o{n}"), "name": name, "partOf": {"reference": format!("Organization/o{}", (n * 7 + 1) % COUNT)}})
        };
        let import = |name: &str, bodies: Vec<Value>| {
            let file = server.data().join(name);
            fs::write(&file, lines(bodies)).expect("file");
            let done = server.command(&["import", &file.to_string_lossy()]).output().expect("the import runs");
            assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        };
        let count = |search: &str| server.get(&format!("Organization?{search}&_summary=count")).body["total"].clone();
        // All are different: where there are several writers they share a batch, and mention what the others store.
        for _ in 0..2 {
            import("different.ndjson", (0..COUNT).map(|n| organization(n, "first")).collect());
            assert_eq!((count("name=first"), count("partof:missing=false")), (json!(COUNT), json!(COUNT)));
            assert_eq!(server.ids("Organization?partof=o8"), ["o1"]);
        }
        assert_eq!(server.get("Organization/o1/_history").body["total"], 1, "unchanged content makes no version");
        // Every tenth comes twice: what comes later counts.
        let repeats = (0..COUNT).flat_map(|n| [Some("changed"), (n % 10 == 0).then_some("later")].into_iter().flatten().map(move |name| (n, name)));
        import("repeats.ndjson", repeats.map(|(n, name)| organization(n, name)).collect());
        assert_eq!((count("name=later"), count("name=changed"), count("name=first")), (json!(COUNT / 10), json!(COUNT - COUNT / 10), json!(0)));
        assert_eq!(server.get("Organization/o10").body["meta"]["versionId"], "3");
    }
}
