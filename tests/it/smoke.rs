//! The shortest way through the server.

use serde_json::json;

use crate::harness::on_both;

on_both! {
    fn what_is_created_can_be_read_searched_changed_and_deleted(server) {
        let created = server.post("Organization", &json!({"resourceType": "Organization", "name": "Acme"}));
        assert_eq!(created.status, 201, "{created}");
        let id = created.body["id"].as_str().expect("id").to_owned();
        assert_eq!(server.get(&format!("Organization/{id}")).body, created.body);
        assert_eq!(server.ids("Organization?name=acm"), [id.as_str()]);

        let mut changed = created.body.clone();
        changed["name"] = json!("Bolt");
        let updated = server.put(&format!("Organization/{id}"), &changed);
        assert_eq!((updated.status, updated.body["meta"]["versionId"].as_str()), (200, Some("2")), "{updated}");
        assert!(server.ids("Organization?name=acm").is_empty());
        assert_eq!(server.ids("Organization?name=bolt"), [id.as_str()]);

        assert_eq!(server.delete(&format!("Organization/{id}")).status, 204);
        assert!(server.ids("Organization?name=bolt").is_empty());
        assert_eq!(server.get(&format!("Organization/{id}")).status, 410);
    }
}

#[test]
fn an_export_of_a_directory_that_is_not_there_fails_and_makes_none() {
    let place = tempfile::tempdir().expect("a folder");
    let data = place.path().join("mistyped");
    let export = std::process::Command::new(env!("CARGO_BIN_EXE_plumbline"))
        .args(["export", "--data", &data.to_string_lossy(), "--out", &place.path().join("out").to_string_lossy()])
        .output()
        .expect("it runs");
    assert_eq!(export.status.code(), Some(2), "{export:?}");
    assert!(String::from_utf8_lossy(&export.stderr).contains("mistyped"), "{export:?}");
    assert!(!data.exists());
}
