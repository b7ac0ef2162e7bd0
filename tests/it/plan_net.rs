//! The published Plan-Net 1.2.0 examples, from the official package named by `PLAN_NET_PACKAGE` (CI fetches it): they load
//! with `plumbline import`, and can be read, searched, included and changed.

use std::path::PathBuf;

use serde_json::json;

use crate::harness::{Server, on_both};

/// The package, or `None` with a note when this machine has none.
pub fn package() -> Option<PathBuf> {
    let package = std::env::var_os("PLAN_NET_PACKAGE").map(PathBuf::from);
    if package.is_none() {
        eprintln!(
            "skipped: PLAN_NET_PACKAGE does not name the official package (npm pack hl7.fhir.us.davinci-pdex-plan-net@1.2.0)"
        );
    }
    package
}

pub fn import(server: &Server, package: &PathBuf) -> String {
    let done = server.command(&["import"]).arg(package).output().expect("the import runs");
    let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert_eq!(done.status.code(), Some(0), "{out}{errors}");
    out.into_owned()
}

on_both! {
    fn the_published_examples_load_and_are_a_directory(server) {
        let Some(package) = package() else { return };
        import(server, &package);
        let total = |search: &str| server.get(search).body["total"].as_i64();
        assert_eq!(total("Practitioner?_summary=count"), Some(3));
        assert_eq!(total("?_type=Practitioner,PractitionerRole,Organization,Location,HealthcareService,OrganizationAffiliation,Endpoint,InsurancePlan&_summary=count"), Some(49));

        assert_eq!(server.get("Practitioner/JoeSmith").body["name"][0]["family"], "Smith");
        assert_eq!(server.ids("Practitioner?family=smith&given=joe"), ["JoeSmith"]);
        let included = server.get("PractitionerRole?practitioner.name=joe&_include=PractitionerRole:practitioner");
        assert_eq!(included.names("include"), ["Practitioner/JoeSmith"]);
        assert!(!included.names("match").is_empty());

        let mut joe = server.get("Practitioner/JoeSmith").body;
        joe["name"][0]["family"] = json!("Smithson");
        assert_eq!(server.put("Practitioner/JoeSmith", &joe).status, 200);
        assert_eq!(server.ids("Practitioner?family:exact=Smithson"), ["JoeSmith"]);
        assert_eq!(server.get("Practitioner/JoeSmith/_history").body["total"], 2);
    }

    fn the_examples_come_back_as_they_were_published_and_load_twice_without_new_versions(server) {
        let Some(package) = package() else { return };
        import(server, &package);
        import(server, &package);
        let out = server.data().join("out");
        let done = server.command(&["export", "--out", &out.to_string_lossy()]).output().expect("the export runs");
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        let mut count = 0;
        for file in std::fs::read_dir(&out).expect("the export").map(|entry| entry.expect("an entry").path()) {
            for line in std::fs::read_to_string(&file).expect("NDJSON").lines() {
                let resource: serde_json::Value = serde_json::from_str(line).expect("JSON");
                assert_eq!(resource["meta"]["versionId"], "1", "{line}");
                count += 1;
            }
        }
        assert_eq!(count, 49);
    }
}
