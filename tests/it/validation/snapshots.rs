//! The profiles of `profiles/` against the snapshots of the official package, element by element: cardinality, types,
//! targets, fixed values and patterns, bindings, slices, invariants. A difference fails; each one that is allowed is listed
//! with its reason.

use std::collections::BTreeSet;

use plumbline::fhir::definitions::Strength;
use plumbline::validate::DiscriminatorKind;
use plumbline::validate::facts::{Facts, TypeFacts};
use serde_json::Value;

use super::{mutations, validator};

/// Differences that are meant: what it is about, where, and why.
const ALLOWED: &[(&str, &str, &str)] = &[
    ("types", "Endpoint.id", ID),
    ("types", "HealthcareService.id", ID),
    ("types", "InsurancePlan.id", ID),
    ("types", "Location.id", ID),
    ("types", "Organization.id", ID),
    ("types", "OrganizationAffiliation.id", ID),
    ("types", "Practitioner.id", ID),
    ("types", "PractitionerRole.id", ID),
];

/// R4 itself calls it a string; the package, made with newer tools, says what is meant. It is read as an id either way.
const ID: &str = "the type of Resource.id was lost in R4's own definitions";

const FHIR_TYPE: &str = "http://hl7.org/fhir/StructureDefinition/structuredefinition-fhir-type";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap_or_default()
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// What an ElementDefinition of a snapshot says, in the form of [`Facts`].
fn published(element: &Value) -> Facts {
    let value_named = |prefix: &str| {
        let mut members = element.as_object().into_iter().flatten();
        members.find(|(name, _)| name.starts_with(prefix)).map(|(_, value)| value.clone())
    };
    let type_facts = |it: &Value| {
        let extensions = it["extension"].as_array();
        let fhir = extensions.into_iter().flatten().find(|extension| text(extension, "url") == FHIR_TYPE);
        TypeFacts {
            code: fhir.map_or(text(it, "code"), |extension| text(extension, "valueUrl")).to_owned(),
            profiles: texts(&it["profile"]),
            targets: texts(&it["targetProfile"]),
        }
    };
    let mut types: Vec<TypeFacts> = element["type"].as_array().into_iter().flatten().map(type_facts).collect();
    types.sort();
    let binding = element.get("binding").map(|binding| {
        let strength = Strength::from_code(text(binding, "strength")).expect("a strength");
        (strength, text(binding, "valueSet").to_owned())
    });
    let constraints = element["constraint"].as_array().into_iter().flatten();
    let keys = constraints.map(|it| text(it, "key").to_owned());
    let common = |key: &String| matches!(key.as_str(), "ele-1" | "ext-1") || key.starts_with("dom-");
    let kind = |text: &str| match text {
        "value" => DiscriminatorKind::Value,
        "pattern" => DiscriminatorKind::Pattern,
        "type" => DiscriminatorKind::Type,
        other => panic!("a discriminator of kind {other}"),
    };
    Facts {
        min: u32::try_from(element["min"].as_u64().expect("min")).expect("min"),
        max: match text(element, "max") {
            "*" => u32::MAX,
            max => max.parse().expect("max"),
        },
        types,
        fixed: value_named("fixed"),
        pattern: value_named("pattern"),
        binding,
        invariants: keys.filter(|key| !common(key)).collect(),
        slicing: element.get("slicing").map(|slicing| {
            let discriminators = slicing["discriminator"].as_array().into_iter().flatten();
            discriminators.map(|it| (kind(text(it, "type")), text(it, "path").to_owned())).collect()
        }),
    }
}

/// What differs, as `fact: ours, theirs`.
fn differences(ours: &Facts, theirs: &Facts, id: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut compare = |name: &str, same: bool, ours: String, theirs: String| {
        if !same {
            found.push(format!("{name}: {ours}, published {theirs}"));
        }
    };
    macro_rules! compare {
        ($($fact:ident),*) => {$(
            compare(stringify!($fact), ours.$fact == theirs.$fact, format!("{:?}", ours.$fact), format!("{:?}", theirs.$fact));
        )*};
    }
    compare!(min, max, fixed, pattern, invariants);
    // Every snapshot repeats that extensions are sliced by url; ours say so where there are slices.
    let implied = ours.slicing.is_none() && id.ends_with("xtension");
    if !implied {
        compare!(slicing);
    }
    // The type of the whole is in the header; content references have none.
    if id.contains('.') && !theirs.types.is_empty() {
        compare!(types);
    }
    let bound = |facts: &Facts| {
        let asks = |(strength, _): &&(Strength, String)| matches!(strength, Strength::Required | Strength::Extensible);
        let unversioned = |url: &str| url.split('|').next().unwrap_or_default().to_owned();
        facts.binding.as_ref().filter(asks).map(|(strength, url)| (*strength, unversioned(url)))
    };
    compare("binding", bound(ours) == bound(theirs), format!("{:?}", bound(ours)), format!("{:?}", bound(theirs)));
    found
}

#[test]
fn the_profiles_say_what_the_official_snapshots_say() {
    if crate::plan_net::package().is_none() {
        return;
    }
    let (mut compared, mut unlike) = (0, Vec::new());
    let mut used = BTreeSet::new();
    for definition in mutations::snapshots() {
        let url = text(&definition, "url");
        let elements = definition["snapshot"]["element"].as_array().expect("a snapshot");
        let mut ids = BTreeSet::new();
        for element in elements {
            let id = text(element, "id");
            ids.insert(id.to_owned());
            compared += 1;
            let found = match validator().facts(url, id) {
                Some(ours) => differences(&ours, &published(element), id),
                None => vec!["is not there".to_owned()],
            };
            for difference in found {
                let allowed = ALLOWED.iter().find(|(fact, at, _)| difference.starts_with(fact) && *at == id);
                match allowed {
                    Some(allowed) => drop(used.insert(allowed.1)),
                    None => unlike.push(format!("{url}#{id}: {difference}")),
                }
            }
        }
        let surplus = validator().stated(url).into_iter().filter(|id| !ids.contains(id));
        unlike.extend(surplus.map(|id| format!("{url}#{id}: is not in the published snapshot")));
    }
    assert!(compared > 700, "only {compared} elements");
    assert!(unlike.is_empty(), "{} of {compared} elements differ:\n{}", unlike.len(), unlike.join("\n"));
    assert_eq!(used.len(), ALLOWED.len(), "an allowed difference is gone");
}
