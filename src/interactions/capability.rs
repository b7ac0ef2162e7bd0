//! capabilities (R4 http.html#capabilities): a CapabilityStatement made from the registries that serve requests, so that
//! what it declares is what works.

use serde_json::{Value, json};

use crate::auth::urls;
use crate::fhir::types::ResourceType;
use crate::search::include::references;
use crate::search::param::registry;
use crate::subscriptions::topic::topics;

use super::operations::{OFFERED, Offered, VALIDATE, subscription};

/// When the capabilities last changed: the date of this release.
const DATE: &str = "2026-11-21";
const PLAN_NET: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net";
const BULK_DATA: &str = "http://hl7.org/fhir/uv/bulkdata";
const BACKPORT: &str = "http://hl7.org/fhir/uv/subscriptions-backport";

/// The CapabilityStatement of a server at `base`, as JSON.
pub fn statement(base: &str) -> String {
    json!({
        "resourceType": "CapabilityStatement",
        "id": "plumbline",
        "url": format!("{base}/metadata"),
        "version": env!("CARGO_PKG_VERSION"),
        "name": "Plumbline",
        "title": "Plumbline provider directory",
        "status": "active",
        "date": DATE,
        "kind": "instance",
        "instantiates": [
            format!("{PLAN_NET}/CapabilityStatement/plan-net"),
            format!("{BULK_DATA}/CapabilityStatement/bulk-data"),
            format!("{BACKPORT}/CapabilityStatement/backport-subscription-server-r4"),
        ],
        "software": {"name": "Plumbline", "version": env!("CARGO_PKG_VERSION")},
        "implementation": {"description": "A FHIR R4 provider directory", "url": base},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json", "application/fhir+json", "application/fhir+xml"],
        "implementationGuide": [format!("{PLAN_NET}/ImplementationGuide/hl7.fhir.us.davinci-pdex-plan-net|1.2.0")],
        "rest": [{
            "mode": "server",
            "security": security(base),
            "resource": ResourceType::ALL.iter().map(|resource_type| resource(*resource_type)).chain(terminology()).collect::<Vec<_>>(),
            "interaction": codes(&["transaction", "batch", "search-system", "history-system"]),
            "searchParam": registry()
                .of_type(ResourceType::Basic)
                .filter(|param| param.code.starts_with('_'))
                .map(|param| json!({"name": param.code, "definition": param.url, "type": param.kind.as_str()}))
                .collect::<Vec<_>>(),
            "operation": [{"name": "export", "definition": format!("{BULK_DATA}/OperationDefinition/export")}],
        }],
    })
    .to_string()
}

/// The security part of the CapabilityStatement. The `oauth-uris` are deprecated in SMART 2.2, but older clients look there.
fn security(base: &str) -> Value {
    let root = urls::root(base);
    let uris = [
        ("authorize", format!("{root}/auth/authorize")),
        ("token", urls::token(base)),
        ("introspect", format!("{root}/auth/introspect")),
        ("revoke", format!("{root}/auth/revoke")),
    ];
    json!({
        "extension": [{
            "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
            "extension": uris.map(|(url, value)| json!({"url": url, "valueUri": value})),
        }],
        "cors": true,
        "service": [{"coding": [{
            "system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR"}],
            "text": "OAuth2 using SMART-on-FHIR profile (see http://docs.smarthealthit.org)"}],
        "description": format!("The directory is open to read, unless its operator closed it; to change it takes a token. See {base}/.well-known/smart-configuration."),
    })
}

fn codes(interactions: &[&str]) -> Value {
    interactions.iter().map(|code| json!({"code": code})).collect()
}

fn resource(resource_type: ResourceType) -> Value {
    let mut declared = json!({
        "type": resource_type.as_str(),
        "profile": format!("http://hl7.org/fhir/StructureDefinition/{resource_type}"),
    });
    let profiles = profiles(resource_type);
    // What is recorded is read and searched, and changed by nobody.
    let is_record = resource_type == ResourceType::AuditEvent;
    let mut interactions = vec!["read", "vread", "history-instance", "history-type", "search-type"];
    if !is_record {
        interactions.extend(["create", "update", "patch", "delete"]);
    }
    let rest = json!({
        "interaction": codes(&interactions),
        "versioning": "versioned-update",
        "readHistory": true,
        "updateCreate": !is_record,
        "conditionalCreate": !is_record,
        "conditionalRead": "full-support",
        "conditionalUpdate": !is_record,
        "conditionalDelete": if is_record { "not-supported" } else { "multiple" },
        "referencePolicy": ["literal", "logical"],
        "searchInclude": includes(resource_type),
        "searchRevInclude": revincludes(resource_type),
        "searchParam": registry()
            .of_type(resource_type)
            .map(|param| json!({"name": param.code, "definition": param.url, "type": param.kind.as_str()}))
            .collect::<Vec<_>>(),
        "operation": operations(resource_type),
    });
    if let (Some(declared), Value::Object(rest)) = (declared.as_object_mut(), rest) {
        if resource_type == ResourceType::Subscription {
            declared.insert("extension".into(), discovery());
        }
        if !profiles.is_empty() {
            declared.insert("supportedProfile".into(), profiles.into());
        }
        // An empty list is no JSON of FHIR.
        declared.extend(rest.into_iter().filter(|(_, value)| value.as_array().is_none_or(|list| !list.is_empty())));
    }
    declared
}

fn operations(resource_type: ResourceType) -> Value {
    let own = subscription::OFFERED.iter().filter(|offered| offered.resource_type == resource_type.as_str());
    let declared = |offered: &Offered| json!({"name": offered.name, "definition": offered.definition});
    std::iter::once(&VALIDATE).chain(own).map(declared).collect()
}

/// The topics that can be subscribed to (Backport 1.1.0, topic discovery in R4).
fn discovery() -> Value {
    let url = format!("{BACKPORT}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical");
    topics().iter().map(|topic| json!({"url": url, "valueCanonical": topic.url})).collect()
}

/// The types that are not stored here, but have operations.
fn terminology() -> Vec<Value> {
    ["CodeSystem", "ValueSet"]
        .iter()
        .map(|name| {
            let operations = OFFERED.iter().filter(|offered| offered.resource_type == *name);
            json!({
                "type": name,
                "operation": operations
                    .map(|offered| json!({"name": offered.name, "definition": offered.definition}))
                    .collect::<Vec<_>>(),
            })
        })
        .collect()
}

/// The profiles of a type: those of Plan-Net, where networks are Organizations, and that of the Backport.
fn profiles(resource_type: ResourceType) -> Vec<String> {
    if resource_type == ResourceType::Subscription {
        return vec![format!("{BACKPORT}/StructureDefinition/backport-subscription")];
    }
    let names: &[&str] = match resource_type {
        ResourceType::Organization => &["plannet-Network", "plannet-Organization"],
        directory if directory.is_directory() => &[directory.as_str()],
        _ => &[],
    };
    names
        .iter()
        .map(|name| format!("{PLAN_NET}/StructureDefinition/plannet-{}", name.trim_start_matches("plannet-")))
        .collect()
}

fn includes(resource_type: ResourceType) -> Vec<String> {
    let mut all: Vec<String> =
        references(resource_type).map(|param| format!("{resource_type}:{}", param.code)).collect();
    if !all.is_empty() {
        all.insert(0, "*".into());
    }
    all
}

/// The references of the directory's own types that point to this type.
fn revincludes(resource_type: ResourceType) -> Vec<String> {
    ResourceType::ALL
        .iter()
        .flat_map(|source| references(*source))
        .filter(|param| param.targets.contains(&resource_type))
        .map(|param| format!("{}:{}", param.base, param.code))
        .collect()
}
