//! The StructureDefinition files of `profiles/r4`, compiled in so that the server needs no files beside it.

macro_rules! embed {
    ($($name:literal),* $(,)?) => {
        /// The JSON text of each StructureDefinition.
        pub const STRUCTURE_DEFINITIONS: &[&str] =
            &[$(include_str!(concat!("../../../profiles/r4/", $name, ".json"))),*];
    };
}

embed![
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "AuditEvent",
    "BackboneElement",
    "Basic",
    "Binary",
    "Bundle",
    "CapabilityStatement",
    "CodeableConcept",
    "Coding",
    "Communication",
    "Consent",
    "ContactDetail",
    "ContactPoint",
    "Contributor",
    "Count",
    "DataRequirement",
    "Distance",
    "DocumentReference",
    "DomainResource",
    "Dosage",
    "Duration",
    "Element",
    "Endpoint",
    "Expression",
    "Extension",
    "HealthcareService",
    "HumanName",
    "Identifier",
    "InsurancePlan",
    "Location",
    "Meta",
    "Money",
    "Narrative",
    "OperationDefinition",
    "OperationOutcome",
    "Organization",
    "OrganizationAffiliation",
    "ParameterDefinition",
    "Parameters",
    "Period",
    "Practitioner",
    "PractitionerRole",
    "Provenance",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "RelatedArtifact",
    "Resource",
    "SampledData",
    "SearchParameter",
    "Signature",
    "Subscription",
    "Task",
    "Timing",
    "TriggerDefinition",
    "UsageContext",
    "VerificationResult",
    "base64Binary",
    "boolean",
    "canonical",
    "code",
    "date",
    "dateTime",
    "decimal",
    "id",
    "instant",
    "integer",
    "markdown",
    "oid",
    "positiveInt",
    "string",
    "time",
    "unsignedInt",
    "uri",
    "url",
    "uuid",
    "xhtml",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_embedded() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/profiles/r4");
        let files = std::fs::read_dir(folder).map(|entries| entries.count());
        assert_eq!(files.ok(), Some(STRUCTURE_DEFINITIONS.len()));
    }
}
