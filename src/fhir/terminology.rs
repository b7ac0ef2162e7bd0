//! The terminology that is built in: code systems and value sets as facts under `profiles/terminology`, and what
//! follows from them (expansion, subsumption, display). Nothing is fetched, and nothing is guessed: a value set that
//! draws on a code system which is not loaded in full is not offered at all, because half an expansion would reject
//! codes that are valid.

use std::collections::{HashMap, HashSet};
use std::sync::{LazyLock, OnceLock};

use serde::Deserialize;

/// Bundles of one resource per line.
const FILES: [&str; 6] = [
    include_str!("../../profiles/terminology/plan-net-codesystems.json"),
    include_str!("../../profiles/terminology/plan-net-valuesets.json"),
    include_str!("../../profiles/terminology/r4-codesystems.json"),
    include_str!("../../profiles/terminology/r4-valuesets.json"),
    include_str!("../../profiles/terminology/us-codesystems.json"),
    include_str!("../../profiles/terminology/us-valuesets.json"),
];

static TERMINOLOGY: LazyLock<Terminology> = LazyLock::new(|| Terminology::load(&FILES));

/// The expansion of a value set as (system, code) pairs, in the order of its definition and without repetition;
/// abstract codes are among them. One version of each set is loaded, so a `|version` on the url is not looked at.
/// `None`: the set is unknown here, or cannot be expanded in full.
pub fn value_set(url: &str) -> Option<&'static [(String, String)]> {
    TERMINOLOGY.value_set(url)
}

/// The code itself, then every code that it subsumes. An unknown code subsumes just itself. `None`: the code system is
/// not loaded.
pub fn descendants(system: &str, code: &str) -> Option<Vec<String>> {
    TERMINOLOGY.systems.get(system).map(|system| system.reach(code, |concept| &concept.children))
}

/// The code itself, then every code that subsumes it. An unknown code is subsumed by just itself. `None`: the code
/// system is not loaded.
pub fn ancestors(system: &str, code: &str) -> Option<Vec<String>> {
    TERMINOLOGY.systems.get(system).map(|system| system.reach(code, |concept| &concept.parents))
}

/// What the code system calls the code; for systems that are only quoted by value sets (NUCC), what those call it.
pub fn display(system: &str, code: &str) -> Option<&'static str> {
    let own = TERMINOLOGY.systems.get(system).and_then(|system| system.get(code)?.display.as_deref());
    own.or_else(|| TERMINOLOGY.quoted.get(system)?.get(code).map(String::as_str))
}

#[derive(Deserialize)]
struct File {
    entry: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    resource: Definition,
}

#[derive(Deserialize)]
#[serde(tag = "resourceType")]
enum Definition {
    CodeSystem(CodeSystem),
    ValueSet(ValueSet),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CodeSystem {
    url: String,
    content: String,
    hierarchy_meaning: Option<String>,
    #[serde(default)]
    property: Vec<PropertyDefinition>,
    #[serde(default)]
    concept: Vec<ConceptDefinition>,
}

#[derive(Deserialize)]
struct PropertyDefinition {
    code: String,
}

#[derive(Deserialize)]
struct ConceptDefinition {
    code: String,
    display: Option<String>,
    #[serde(default)]
    property: Vec<Property>,
    #[serde(default)]
    concept: Vec<ConceptDefinition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Property {
    code: String,
    value_code: Option<String>,
    value_boolean: Option<bool>,
}

#[derive(Deserialize)]
struct ValueSet {
    url: String,
    compose: Compose,
}

#[derive(Deserialize)]
struct Compose {
    include: Vec<Component>,
    #[serde(default)]
    exclude: Vec<Component>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Component {
    system: Option<String>,
    #[serde(default)]
    concept: Vec<Quote>,
    #[serde(default)]
    filter: Vec<Filter>,
    #[serde(default)]
    value_set: Vec<String>,
}

#[derive(Deserialize)]
struct Quote {
    code: String,
    display: Option<String>,
}

#[derive(Deserialize)]
struct Filter {
    property: String,
    op: String,
    value: String,
}

/// A pair of system and code that borrows from the definitions.
type Coding<'a> = (&'a str, &'a str);

#[derive(Default)]
struct Terminology {
    systems: HashMap<String, System>,
    sets: HashMap<String, Set>,
    /// Displays that value sets give to the codes they list, by system and code.
    quoted: HashMap<String, HashMap<String, String>>,
}

struct Set {
    compose: Compose,
    expansion: OnceLock<Option<Vec<(String, String)>>>,
}

impl Terminology {
    fn load(files: &[&str]) -> Self {
        let mut all = Self::default();
        // The files are part of the build and a test reads each of them, so there is nobody to report a bad one to.
        let entries =
            files.iter().filter_map(|file| serde_json::from_str::<File>(file).ok()).flat_map(|file| file.entry);
        for entry in entries {
            match entry.resource {
                Definition::CodeSystem(system) => {
                    all.systems.insert(system.url.clone(), System::new(system));
                }
                Definition::ValueSet(set) => {
                    all.quote(&set.compose.include);
                    all.sets.insert(set.url, Set { compose: set.compose, expansion: OnceLock::new() });
                }
            }
        }
        all
    }

    fn quote(&mut self, includes: &[Component]) {
        for include in includes {
            let Some(system) = &include.system else { continue };
            for Quote { code, display } in &include.concept {
                let Some(display) = display else { continue };
                let displays = self.quoted.entry(system.clone()).or_default();
                displays.entry(code.clone()).or_insert_with(|| display.clone());
            }
        }
    }

    fn value_set(&self, url: &str) -> Option<&[(String, String)]> {
        let url = unversioned(url);
        let owned = |(system, code): Coding| (system.to_owned(), code.to_owned());
        let expand = || Some(self.expand(url, &mut Vec::new())?.into_iter().map(owned).collect());
        self.sets.get(url)?.expansion.get_or_init(expand).as_deref()
    }

    /// `open` holds the sets that are being expanded further up: a set that includes itself has no expansion. (Included
    /// sets do not go through their caches for the same reason: a cache that waits for itself never ends.)
    fn expand<'a>(&'a self, url: &'a str, open: &mut Vec<&'a str>) -> Option<Vec<Coding<'a>>> {
        let set = self.sets.get(url)?;
        if open.contains(&url) {
            return None;
        }
        open.push(url);
        let mut excluded = HashSet::new();
        for exclude in &set.compose.exclude {
            excluded.extend(self.select(exclude, open)?);
        }
        let mut seen = HashSet::new();
        let mut codings = Vec::new();
        for include in &set.compose.include {
            let selected = self.select(include, open)?;
            codings.extend(selected.into_iter().filter(|coding| !excluded.contains(coding) && seen.insert(*coding)));
        }
        open.pop();
        Some(codings)
    }

    /// What one include or exclude means: what its system part and every one of its value sets have in common.
    fn select<'a>(&'a self, component: &'a Component, open: &mut Vec<&'a str>) -> Option<Vec<Coding<'a>>> {
        let mut selected = match &component.system {
            Some(system) => Some(self.codes(system, component)?),
            None => None,
        };
        for url in &component.value_set {
            let set = self.expand(unversioned(url), open)?;
            selected = Some(match selected {
                Some(so_far) => {
                    let set: HashSet<Coding> = set.into_iter().collect();
                    so_far.into_iter().filter(|coding| set.contains(coding)).collect()
                }
                None => set,
            });
        }
        selected
    }

    fn codes<'a>(&'a self, system: &'a str, component: &'a Component) -> Option<Vec<Coding<'a>>> {
        // Codes that are listed one by one need no code system; R4 lets no filter stand beside such a list (vsd-3).
        if !component.concept.is_empty() {
            let listed = component.concept.iter().map(|quote| (system, quote.code.as_str())).collect();
            return component.filter.is_empty().then_some(listed);
        }
        let loaded = self.systems.get(system).filter(|system| system.complete)?;
        let mut concepts: Vec<&Concept> = loaded.concepts.iter().collect();
        for filter in &component.filter {
            let kept = loaded.filter(filter)?;
            concepts.retain(|concept| kept.contains(concept.code.as_str()));
        }
        Some(concepts.into_iter().map(|concept| (system, concept.code.as_str())).collect())
    }
}

fn unversioned(url: &str) -> &str {
    url.split_once('|').map_or(url, |(url, _)| url)
}

/// A code system with its hierarchy as a graph: in the v3 systems a code can have several parents.
struct System {
    /// Whether every code of the system is here; otherwise neither the whole of it nor a filter can be evaluated.
    complete: bool,
    /// The properties that the concepts state. The files leave out others: a filter on those has no answer.
    properties: HashSet<String>,
    concepts: Vec<Concept>,
    index: HashMap<String, usize>,
}

struct Concept {
    code: String,
    display: Option<String>,
    properties: Vec<(String, String)>,
    parents: Vec<usize>,
    children: Vec<usize>,
}

impl System {
    fn new(definition: CodeSystem) -> Self {
        let mut system = Self {
            complete: definition.content == "complete",
            properties: definition.property.into_iter().map(|property| property.code).collect(),
            concepts: Vec::new(),
            index: HashMap::new(),
        };
        // A hierarchy without a stated meaning is read as is-a, as everyone does; one that says it groups or divides
        // carries no subsumption.
        let subsumes = definition.hierarchy_meaning.is_none_or(|meaning| meaning == "is-a");
        let mut links = Vec::new();
        for concept in definition.concept {
            system.add(concept, None, &mut links);
        }
        if subsumes {
            system.link(&links);
        }
        system
    }

    /// Takes a concept and the tree below it; `links` gathers (parent, code of the child).
    fn add(&mut self, definition: ConceptDefinition, parent: Option<usize>, links: &mut Vec<(usize, String)>) {
        let ConceptDefinition { code, display, property, concept } = definition;
        let at = self.concepts.len();
        let mut properties = Vec::new();
        for Property { code, value_code, value_boolean } in property {
            if let Some(value) = value_code.or_else(|| value_boolean.map(|value| value.to_string())) {
                if code == "child" {
                    links.push((at, value.clone()));
                }
                properties.push((code, value));
            }
        }
        links.extend(parent.map(|parent| (parent, code.clone())));
        self.index.insert(code.clone(), at);
        self.concepts.push(Concept { code, display, properties, parents: Vec::new(), children: Vec::new() });
        for child in concept {
            self.add(child, Some(at), links);
        }
    }

    fn link(&mut self, links: &[(usize, String)]) {
        for (parent, child) in links {
            let Some(&child) = self.index.get(child) else { continue };
            if let Some(concept) = self.concepts.get_mut(*parent) {
                concept.children.push(child);
            }
            if let Some(concept) = self.concepts.get_mut(child) {
                concept.parents.push(*parent);
            }
        }
    }

    fn get(&self, code: &str) -> Option<&Concept> {
        self.concepts.get(*self.index.get(code)?)
    }

    /// The code and everything that can be reached from it, each code once, whatever the graph looks like.
    fn reach(&self, code: &str, next: impl Fn(&Concept) -> &[usize]) -> Vec<String> {
        let mut reached = vec![code.to_owned()];
        let mut seen: HashSet<usize> = self.index.get(code).copied().into_iter().collect();
        let mut waiting: Vec<usize> = self.get(code).map(|concept| next(concept).to_vec()).unwrap_or_default();
        while let Some(at) = waiting.pop() {
            if let Some(concept) = self.concepts.get(at).filter(|_| seen.insert(at)) {
                reached.push(concept.code.clone());
                waiting.extend(next(concept));
            }
        }
        reached
    }

    /// The codes that pass a filter; `None`: it cannot be answered from what is loaded.
    fn filter(&self, filter: &Filter) -> Option<HashSet<&str>> {
        let Filter { property, op, value } = filter;
        if matches!((property.as_str(), op.as_str()), ("concept" | "code", "is-a")) {
            let reached = self.reach(value, |concept| &concept.children);
            return Some(reached.iter().filter_map(|code| Some(self.get(code)?.code.as_str())).collect());
        }
        if !matches!(property.as_str(), "concept" | "code") && !self.properties.contains(property) {
            return None;
        }
        let passes = |concept: &Concept| {
            let mut values = concept.values(property);
            match op.as_str() {
                "=" => Some(values.any(|stated| stated == value)),
                "exists" => Some(values.next().is_some() == (value == "true")),
                _ => None,
            }
        };
        let mut kept = HashSet::new();
        for concept in &self.concepts {
            if passes(concept)? {
                kept.insert(concept.code.as_str());
            }
        }
        Some(kept)
    }
}

impl Concept {
    fn values<'a>(&'a self, property: &'a str) -> impl Iterator<Item = &'a str> {
        let own = matches!(property, "concept" | "code").then_some(self.code.as_str());
        let stated = self.properties.iter().filter(move |(code, _)| code == property).map(|(_, value)| value.as_str());
        own.into_iter().chain(stated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN_NET: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net";
    const NUCC: &str = "http://nucc.org/provider-taxonomy";
    const V3_ROLE: &str = "http://terminology.hl7.org/CodeSystem/v3-RoleCode";

    fn codes(url: &str) -> Vec<&'static str> {
        value_set(url).expect(url).iter().map(|(_, code)| code.as_str()).collect()
    }

    fn plan_net(name: &str) -> String {
        format!("{PLAN_NET}/ValueSet/{name}")
    }

    fn has(url: &str, system: &str, code: &str) -> bool {
        value_set(url).expect(url).contains(&(system.to_owned(), code.to_owned()))
    }

    /// Plumbing for rules that no bundled set exercises.
    fn small(sets: &str) -> Terminology {
        let system = r#"{"resource":{"resourceType":"CodeSystem","url":"s","content":"complete",
            "property":[{"code":"notSelectable"}],"concept":[
                {"code":"a","property":[{"code":"notSelectable","valueBoolean":true}],"concept":[{"code":"b"}]},
                {"code":"c","property":[{"code":"child","valueCode":"b"},{"code":"child","valueCode":"a"}]}]}},
            {"resource":{"resourceType":"CodeSystem","url":"part","content":"fragment","concept":[{"code":"x"}]}},
            {"resource":{"resourceType":"CodeSystem","url":"groups","content":"complete",
                "hierarchyMeaning":"grouped-by","concept":[{"code":"g","concept":[{"code":"h"}]}]}}"#;
        Terminology::load(&[&format!(r#"{{"entry":[{system},{sets}]}}"#)])
    }

    fn set(compose: &str) -> String {
        format!(r#"{{"resource":{{"resourceType":"ValueSet","url":"v","compose":{compose}}}}}"#)
    }

    fn expanded(compose: &str) -> Option<String> {
        let small = small(&set(compose));
        Some(small.value_set("v")?.iter().map(|(_, code)| code.as_str()).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn every_file_is_read_and_every_system_complete() {
        for file in FILES {
            serde_json::from_str::<File>(file).expect("a bundled file");
        }
        let count: usize = FILES.iter().map(|file| file.matches("{\"resource\":{").count()).sum();
        assert_eq!(TERMINOLOGY.systems.len() + TERMINOLOGY.sets.len(), count, "no url twice");
        assert!(TERMINOLOGY.systems.values().all(|system| system.complete));
        for system in TERMINOLOGY.systems.values() {
            assert_eq!(system.index.len(), system.concepts.len(), "no code twice");
        }
    }

    #[test]
    fn every_plan_net_set_expands_to_its_count() {
        let counts = [
            ("AcceptingPatientsVS", 4),
            ("AccessibilityVS", 7),
            ("DeliveryMethodVS", 2),
            ("EndpointConnectionTypeVS", 17),
            ("EndpointPayloadTypeVS", 1),
            ("EndpointUsecaseVS", 9),
            ("HealthcareServiceCategoryVS", 14),
            ("HealthcareServiceTypeVS", 102),
            ("IndividualAndGroupSpecialtiesVS", 671),
            ("IndividualSpecialtyAndDegreeLicenseCertificateVS", 733),
            ("InsurancePlanTypeVS", 8),
            ("InsuranceProductTypeVS", 22),
            ("LanguageProficiencyVS", 6),
            ("MinEndpointConnectionTypeVS", 5),
            ("NetworkTypeVS", 1),
            ("NonIndividualSpecialtiesVS", 182),
            ("NonIndividualSpecialtyAndDegreeLicenseCertificateVS", 243),
            ("OrgTypeVS", 5),
            ("OrganizationAffiliationRoleVS", 24),
            ("PractitionerRoleVS", 47),
            ("QualificationStatusVS", 6),
            ("SpecialtiesVS", 855),
            ("SpecialtyAndDegreeLicenseCertificateVS", 916),
            ("VirtualModalitiesVS", 6),
        ];
        for (name, count) in counts {
            assert_eq!(codes(&plan_net(name)).len(), count, "{name}");
        }
        let ours = TERMINOLOGY.sets.keys().filter(|url| url.starts_with(PLAN_NET)).count();
        assert_eq!(ours, counts.len());
    }

    #[test]
    fn only_media_types_cannot_be_expanded() {
        let missing: Vec<_> = TERMINOLOGY.sets.keys().filter(|url| value_set(url).is_none()).collect();
        assert_eq!(missing, ["http://hl7.org/fhir/ValueSet/mimetypes"]);
    }

    #[test]
    fn specialties_are_nucc_codes() {
        let individual = plan_net("IndividualAndGroupSpecialtiesVS");
        assert!(has(&individual, NUCC, "207Q00000X"));
        assert!(has(&plan_net("SpecialtiesVS"), NUCC, "207Q00000X"));
        assert_eq!(display(NUCC, "207Q00000X"), Some("Family Medicine Physician"));
        assert_eq!(descendants(NUCC, "207Q00000X"), None, "NUCC itself is not loaded");
    }

    #[test]
    fn excludes_are_excluded() {
        let category = plan_net("HealthcareServiceCategoryVS");
        assert!(!codes(&category).contains(&"other"));
        assert!(codes(&category).contains(&"pharm"));
        assert!(!codes(&plan_net("OrgTypeVS")).contains(&"ntwk"));
        assert_eq!(codes(&plan_net("NetworkTypeVS")), ["ntwk"]);
        assert!(!has(&plan_net("OrganizationAffiliationRoleVS"), "http://hl7.org/fhir/organization-role", "member"));
    }

    #[test]
    fn urls_may_carry_a_version_and_unknown_ones_are_none() {
        assert_eq!(codes("http://hl7.org/fhir/ValueSet/location-mode|4.0.1"), ["instance", "kind"]);
        assert_eq!(value_set("http://example.org/ValueSet/none"), None);
        assert_eq!(value_set(""), None);
        assert_eq!(display("http://example.org/none", "a"), None);
    }

    #[test]
    fn states_are_those_of_the_postal_service() {
        let states = "http://hl7.org/fhir/us/core/ValueSet/us-core-usps-state";
        assert_eq!(codes(states).len(), 62);
        assert!(has(states, "https://www.usps.com/", "CT"));
        assert_eq!(display("https://www.usps.com/", "DC"), Some("District of Columbia"));
    }

    #[test]
    fn is_a_follows_the_hierarchy() {
        let types = "http://terminology.hl7.org/ValueSet/v3-ServiceDeliveryLocationRoleType";
        assert!(has(types, V3_ROLE, "HOSP"));
        assert!(!has(types, V3_ROLE, "_ServiceDeliveryLocationRoleType"), "excluded");
        assert!(!has(types, V3_ROLE, "FTH"));
    }

    #[test]
    fn subsumption_goes_both_ways_and_over_several_parents() {
        let below = descendants(V3_ROLE, "HOSP").expect("loaded");
        assert_eq!(below.first().map(String::as_str), Some("HOSP"));
        assert!(below.iter().any(|code| code == "PSYCHF"));
        let above = ancestors(V3_ROLE, "PSYCHF").expect("loaded");
        assert_eq!(above.first().map(String::as_str), Some("PSYCHF"));
        assert!(above.iter().any(|code| code == "_ServiceDeliveryLocationRoleType"));
        for parent in ["STPCHLD", "DAUC"] {
            let known = descendants(V3_ROLE, parent).expect("loaded");
            let child = if parent == "DAUC" { "DAUADOPT" } else { "STPDAU" };
            assert!(known.iter().any(|code| code == child), "{parent} subsumes {child} by its child property");
        }
        assert_eq!(descendants(V3_ROLE, "no-such"), Some(vec!["no-such".to_owned()]));
        assert_eq!(ancestors(V3_ROLE, "no-such"), Some(vec!["no-such".to_owned()]));
        assert_eq!(ancestors("http://example.org/none", "a"), None);
    }

    #[test]
    fn a_graph_with_a_second_parent_is_walked_once() {
        let small = small(&set(r#"{"include":[]}"#));
        let system = small.systems.get("s").expect("s");
        assert_eq!(system.reach("b", |concept| &concept.parents), ["b", "c", "a"]);
        assert_eq!(system.reach("c", |concept| &concept.children), ["c", "a", "b"]);
        let groups = small.systems.get("groups").expect("groups");
        assert_eq!(groups.reach("g", |concept| &concept.children), ["g"], "groups do not subsume");
    }

    #[test]
    fn filters_are_answered_from_what_is_stated() {
        let by = |filter: &str| expanded(&format!(r#"{{"include":[{{"system":"s","filter":[{filter}]}}]}}"#));
        assert_eq!(by(r#"{"property":"concept","op":"is-a","value":"a"}"#).as_deref(), Some("a b"));
        assert_eq!(by(r#"{"property":"concept","op":"is-a","value":"unknown"}"#).as_deref(), Some(""));
        assert_eq!(by(r#"{"property":"code","op":"=","value":"c"}"#).as_deref(), Some("c"));
        assert_eq!(by(r#"{"property":"notSelectable","op":"=","value":"true"}"#).as_deref(), Some("a"));
        assert_eq!(by(r#"{"property":"notSelectable","op":"exists","value":"false"}"#).as_deref(), Some("b c"));
        assert_eq!(by(r#"{"property":"status","op":"=","value":"active"}"#), None, "not stated in the files");
        assert_eq!(by(r#"{"property":"code","op":"regex","value":"."}"#), None, "not an operator that is known here");
        let both = r#"{"property":"concept","op":"is-a","value":"a"},
            {"property":"notSelectable","op":"exists","value":"false"}"#;
        assert_eq!(by(both).as_deref(), Some("b"), "every filter must pass");
    }

    #[test]
    fn what_cannot_be_expanded_in_full_is_not_offered() {
        assert_eq!(
            expanded(r#"{"include":[{"system":"s"},{"system":"s","concept":[{"code":"a"}]}]}"#).as_deref(),
            Some("a b c")
        );
        assert_eq!(expanded(r#"{"include":[{"system":"s"},{"system":"unknown"}]}"#), None);
        assert_eq!(expanded(r#"{"include":[{"system":"part"}]}"#), None);
        assert_eq!(expanded(r#"{"include":[{"system":"part","concept":[{"code":"x"}]}]}"#).as_deref(), Some("x"));
        assert_eq!(expanded(r#"{"include":[{"system":"s"}],"exclude":[{"system":"unknown"}]}"#), None);
        assert_eq!(expanded(r#"{"include":[{"valueSet":["v"]}]}"#), None, "includes itself");
        assert_eq!(expanded(r#"{"include":[{"valueSet":["w"]}]}"#), None);
    }

    #[test]
    fn one_include_means_what_its_parts_share() {
        let listed = r#"{"resource":{"resourceType":"ValueSet","url":"w","compose":{"include":[
            {"system":"s","concept":[{"code":"b"},{"code":"c"}]}]}}}"#;
        let small = small(&format!("{},{listed}", set(r#"{"include":[{"system":"s","valueSet":["w|1"]}]}"#)));
        let codes: Vec<_> = small.value_set("v").expect("v").iter().map(|(_, code)| code.as_str()).collect();
        assert_eq!(codes, ["b", "c"]);
    }
}
