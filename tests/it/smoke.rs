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
