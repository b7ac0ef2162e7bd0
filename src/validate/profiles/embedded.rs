//! The profiles of `profiles/extensions`, `profiles/us-core` and `profiles/plan-net`, compiled in so that the server needs no
//! files beside it.

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        /// The JSON text of each StructureDefinition.
        pub const PROFILES: &[&str] = &[$(include_str!(concat!("../../../profiles/", $name, ".json"))),*];
    };
}

embed![
    "extensions/data-absent-reason",
    "extensions/geolocation",
    "extensions/location-boundary-geojson",
    "extensions/organization-period",
    "us-core/us-core-location",
    "us-core/us-core-organization",
    "us-core/us-core-practitioner",
    "us-core/us-core-practitionerrole",
    "plan-net/accessibility",
    "plan-net/communication-proficiency",
    "plan-net/contactpoint-availabletime",
    "plan-net/delivery-method",
    "plan-net/endpoint-usecase",
    "plan-net/location-reference",
    "plan-net/network-reference",
    "plan-net/newpatients",
    "plan-net/org-description",
    "plan-net/plannet-Endpoint",
    "plan-net/plannet-HealthcareService",
    "plan-net/plannet-InsurancePlan",
    "plan-net/plannet-Location",
    "plan-net/plannet-Network",
    "plan-net/plannet-Organization",
    "plan-net/plannet-OrganizationAffiliation",
    "plan-net/plannet-Practitioner",
    "plan-net/plannet-PractitionerRole",
    "plan-net/practitioner-period",
    "plan-net/practitioner-qualification",
    "plan-net/qualification",
    "plan-net/via-intermediary",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded() {
        let count = |folder| {
            let folder = format!("{}/profiles/{folder}", env!("CARGO_MANIFEST_DIR"));
            std::fs::read_dir(folder).map_or(0, |entries| entries.count())
        };
        let folders = ["extensions", "us-core", "plan-net"];
        assert_eq!(folders.into_iter().map(count).sum::<usize>(), PROFILES.len());
    }
}
