use serde_json::json;

use super::{assert_refused, organization_as, send, stored, versions_of_all};
use crate::harness::on_both;

on_both! {
    fn a_delete_is_204_without_a_body(server) {
        stored(server, &organization_as("acme", "Acme"));
        let deleted = server.delete("Organization/acme");
        assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    }

    fn a_delete_of_what_is_not_here_is_204_and_changes_nothing(server) {
        assert_eq!(server.delete("Organization/nobody").status, 204);
        assert_eq!(server.get("Organization/nobody").status, 404);
        assert_eq!(versions_of_all(server), 0);
    }

    fn a_second_delete_is_204_and_makes_no_version(server) {
        stored(server, &organization_as("acme", "Acme"));
        assert_eq!(server.delete("Organization/acme").status, 204);
        assert_eq!(server.delete("Organization/acme").status, 204);
        assert_eq!(versions_of_all(server), 2);
    }

    fn what_is_deleted_is_gone_from_every_search_at_once(server) {
        stored(server, &organization_as("acme", "Acme"));
        stored(server, &json!({"resourceType": "Location", "id": "here", "name": "Here", "managingOrganization": {"reference": "Organization/acme"}}));
        assert_eq!(server.get("Location?_include=Location:organization").names("include"), ["Organization/acme"]);
        server.delete("Organization/acme");
        for search in ["Organization", "Organization?_id=acme", "Organization?name=acme", "Organization?identifier=urn:test|Acme", "?_type=Organization"] {
            assert!(server.ids(search).is_empty(), "{search}");
        }
        assert!(server.ids("Location?organization.name=acme").is_empty());
        let included = server.get("Location?_include=Location:organization");
        assert_eq!((included.names("match"), included.names("include")), (vec!["Location/here".to_owned()], Vec::new()), "{included}");
    }

    fn the_history_of_what_is_deleted_stays(server) {
        stored(server, &organization_as("acme", "Acme"));
        server.delete("Organization/acme");
        let history = server.get("Organization/acme/_history");
        assert_eq!((history.status, history.body["entry"].as_array().map(Vec::len)), (200, Some(2)), "{history}");
        assert_eq!(server.get("Organization/acme/_history/1").body["name"], "Acme");
    }

    fn delete_with_a_stale_etag_is_412(server) {
        stored(server, &organization_as("acme", "One"));
        stored(server, &organization_as("acme", "Two"));
        assert_refused(&send(server, "DELETE", "Organization/acme", &[("if-match", "W/\"1\"")], ""), 412);
        assert_eq!(server.get("Organization/acme").status, 200);
        assert_eq!(send(server, "DELETE", "Organization/acme", &[("if-match", "W/\"2\"")], "").status, 204);
        assert_eq!(server.get("Organization/acme").status, 410);
    }

    fn an_unknown_type_is_404(server) {
        assert_refused(&server.delete("Patient/a"), 404);
    }
}
