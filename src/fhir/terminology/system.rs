//! A code system: its concepts as a graph, and the filters of value sets over them.

use std::collections::{HashMap, HashSet};

use regex_lite::RegexBuilder;
use serde_json::Value;

use super::definition::{CodeSystem, ConceptDefinition, Filter, Property};

/// Characters of a filter's pattern, and bytes of the program it becomes. A client may send one, and a match costs the
/// length of the text times that of the program.
const PATTERN_CHARS_MAX: usize = 1_000;
const PATTERN_BYTES_MAX: usize = 8 << 10;

/// A code system with its hierarchy as a graph: in the v3 systems a code can have several parents.
#[derive(Debug)]
pub struct System {
    pub url: String,
    pub version: Option<String>,
    pub name: Option<String>,
    pub title: Option<String>,
    /// Whether every code of the system is here; otherwise neither the whole of it nor a filter can be evaluated.
    pub complete: bool,
    /// False only where the system says so: then codes are the same in any case.
    pub case_sensitive: bool,
    /// The properties that the concepts state. The files leave out others: a filter on those has no answer.
    properties: HashSet<String>,
    concepts: Vec<Concept>,
    index: HashMap<String, usize>,
    /// For a system in which case does not count: lower case to the concept.
    folded: HashMap<String, usize>,
}

/// Why a filter has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfiltered {
    /// What is loaded does not tell.
    Unanswered,
    /// The pattern is none, or too large.
    Pattern,
    /// The hierarchy is asked about a code that the system does not have.
    UnknownCode,
}

/// One concept of a code system.
#[derive(Debug)]
pub struct Concept {
    pub code: String,
    pub display: Option<String>,
    pub definition: Option<String>,
    /// `CodeSystem.concept.designation` as it stands there.
    pub designations: Vec<Value>,
    pub properties: Vec<Property>,
    parents: Vec<usize>,
    children: Vec<usize>,
}

impl System {
    pub(super) fn new(definition: CodeSystem) -> Self {
        let mut system = Self {
            url: definition.url,
            version: definition.version,
            name: definition.name,
            title: definition.title,
            complete: definition.content == "complete",
            case_sensitive: definition.case_sensitive != Some(false),
            properties: definition.property.into_iter().map(|property| property.code).collect(),
            concepts: Vec::new(),
            index: HashMap::new(),
            folded: HashMap::new(),
        };
        // A hierarchy without a stated meaning is read as is-a, as everyone does; one that says it groups or divides
        // carries no subsumption.
        let subsumes = definition.hierarchy_meaning.is_none_or(|meaning| meaning == "is-a");
        let mut links = Vec::new();
        for concept in definition.concept {
            system.add(concept, None, &mut links);
        }
        if !system.case_sensitive {
            system.folded =
                system.concepts.iter().enumerate().map(|(at, concept)| (concept.code.to_lowercase(), at)).collect();
        }
        if subsumes {
            system.link(&links);
        }
        system
    }

    /// Takes a concept and the tree below it; `links` gathers (parent, child), each by its code.
    fn add(&mut self, definition: ConceptDefinition, parent: Option<&str>, links: &mut Vec<(String, String)>) {
        let ConceptDefinition { code, display, definition, designation, property, concept } = definition;
        let at = self.concepts.len();
        for property in &property {
            // Nesting, and properties from above and from below (R4 codesystem-concept-properties), say the same.
            let link = match (property.code.as_str(), property.text()) {
                ("child", Some(child)) => (code.clone(), child),
                ("parent" | "subsumedBy", Some(parent)) => (parent, code.clone()),
                _ => continue,
            };
            links.push(link);
        }
        links.extend(parent.map(|parent| (parent.to_owned(), code.clone())));
        self.index.insert(code.clone(), at);
        self.concepts.push(Concept {
            code: code.clone(),
            display,
            definition,
            designations: designation,
            properties: property,
            parents: Vec::new(),
            children: Vec::new(),
        });
        for child in concept {
            self.add(child, Some(&code), links);
        }
    }

    fn link(&mut self, links: &[(String, String)]) {
        let mut seen = HashSet::new();
        for (parent, child) in links {
            let (Some(parent), Some(child)) = (self.at(parent), self.at(child)) else { continue };
            if parent == child || !seen.insert((parent, child)) {
                continue;
            }
            if let Some(concept) = self.concepts.get_mut(parent) {
                concept.children.push(child);
            }
            if let Some(concept) = self.concepts.get_mut(child) {
                concept.parents.push(parent);
            }
        }
    }

    fn at(&self, code: &str) -> Option<usize> {
        let folded = || self.folded.get(&code.to_lowercase()).filter(|_| !self.case_sensitive);
        self.index.get(code).or_else(folded).copied()
    }

    /// The concept of a code; in a system in which case does not count, also of the code in another case.
    pub fn get(&self, code: &str) -> Option<&Concept> {
        self.concepts.get(self.at(code)?)
    }

    /// True for a property that its concepts may state.
    pub fn has_property(&self, code: &str) -> bool {
        self.properties.contains(code)
    }

    /// Every concept, in the order of the definition, each before those below it.
    pub fn concepts(&self) -> &[Concept] {
        &self.concepts
    }

    /// The codes right above a concept.
    pub fn parents<'a>(&'a self, concept: &'a Concept) -> impl Iterator<Item = &'a Concept> {
        concept.parents.iter().filter_map(|at| self.concepts.get(*at))
    }

    /// The codes right below a concept.
    pub fn children<'a>(&'a self, concept: &'a Concept) -> impl Iterator<Item = &'a Concept> {
        concept.children.iter().filter_map(|at| self.concepts.get(*at))
    }

    /// The code itself, then every code that it subsumes. An unknown code subsumes just itself.
    pub(super) fn below(&self, code: &str) -> Vec<String> {
        self.reach(code, |concept| &concept.children)
    }

    /// The code itself, then every code that subsumes it.
    pub(super) fn above(&self, code: &str) -> Vec<String> {
        self.reach(code, |concept| &concept.parents)
    }

    /// The code and everything that can be reached from it, each code once, whatever the graph looks like.
    fn reach(&self, code: &str, next: impl Fn(&Concept) -> &[usize]) -> Vec<String> {
        let start = self.get(code);
        let mut reached = vec![start.map_or(code, |concept| &concept.code).to_owned()];
        let mut seen: HashSet<usize> = self.at(code).into_iter().collect();
        let mut waiting: Vec<usize> = start.map(|concept| next(concept).to_vec()).unwrap_or_default();
        while let Some(at) = waiting.pop() {
            if let Some(concept) = self.concepts.get(at).filter(|_| seen.insert(at)) {
                reached.push(concept.code.clone());
                waiting.extend(next(concept));
            }
        }
        reached
    }

    /// The codes that pass a filter (R4 filter-operator).
    ///
    /// # Errors
    /// [`Unfiltered`]: it cannot be answered from what is loaded, or means nothing.
    pub(super) fn filter(&self, filter: &Filter) -> Result<HashSet<&str>, Unfiltered> {
        let Filter { property, op, value } = filter;
        let is_code = matches!(property.as_str(), "concept" | "code");
        if is_code && matches!(op.as_str(), "is-a" | "descendent-of" | "is-not-a") {
            let top = self.get(value).ok_or(Unfiltered::UnknownCode)?.code.as_str();
            let reached: HashSet<String> = self.below(top).into_iter().collect();
            let passes = |code: &str| match op.as_str() {
                "is-a" => reached.contains(code),
                "descendent-of" => code != top && reached.contains(code),
                _ => !reached.contains(code),
            };
            return Ok(self.codes().filter(|code| passes(code)).collect());
        }
        if !is_code && !self.properties.contains(property) {
            return Err(Unfiltered::Unanswered);
        }
        // A code of this system has one spelling, whatever case the filter has it in.
        let single = if is_code { self.own(value) } else { value };
        let listed = value.split(',').map(str::trim);
        let listed: HashSet<&str> = listed.map(|text| if is_code { self.own(text) } else { text }).collect();
        let pattern = if op == "regex" { Some(whole(value).ok_or(Unfiltered::Pattern)?) } else { None };
        let passes = |concept: &Concept| {
            let mut values = concept.values(property);
            match (op.as_str(), &pattern) {
                ("=", _) => Some(values.any(|stated| stated == single)),
                ("in", _) => Some(values.any(|stated| listed.contains(stated.as_str()))),
                ("not-in", _) => Some(!values.any(|stated| listed.contains(stated.as_str()))),
                ("regex", Some(pattern)) => Some(values.any(|stated| pattern.is_match(&stated))),
                ("exists", _) => match value.as_str() {
                    "true" => Some(values.next().is_some()),
                    "false" => Some(values.next().is_none()),
                    _ => None,
                },
                _ => None,
            }
        };
        let mut kept = HashSet::new();
        for concept in &self.concepts {
            if passes(concept).ok_or(Unfiltered::Unanswered)? {
                kept.insert(concept.code.as_str());
            }
        }
        Ok(kept)
    }

    /// A code as the system writes it.
    fn own<'a>(&'a self, code: &'a str) -> &'a str {
        self.get(code).map_or(code, |concept| &concept.code)
    }

    fn codes(&self) -> impl Iterator<Item = &str> {
        self.concepts.iter().map(|concept| concept.code.as_str())
    }
}

/// A pattern that a whole value must match. `None`: it is none, or too large.
fn whole(pattern: &str) -> Option<regex_lite::Regex> {
    if pattern.chars().count() > PATTERN_CHARS_MAX {
        return None;
    }
    // Alone it must be one already: `a)|(?:b` would be, between the anchors, and break out of them.
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build().ok()?;
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build().ok()
}

impl Concept {
    /// The values of a property, as a filter compares them.
    fn values<'a>(&'a self, property: &'a str) -> impl Iterator<Item = String> + 'a {
        let own = matches!(property, "concept" | "code").then(|| self.code.clone());
        own.into_iter().chain(self.stated(property))
    }

    fn stated<'a>(&'a self, code: &'a str) -> impl Iterator<Item = String> + 'a {
        self.properties.iter().filter(move |property| property.code == code).filter_map(Property::text)
    }

    /// True for a code that only groups others and is not for use (R4 concept property `notSelectable`).
    pub fn is_abstract(&self) -> bool {
        self.stated("notSelectable").any(|value| value == "true")
    }

    /// True for a code that is no longer for use (R4 concept properties `inactive` and `status`).
    pub fn is_inactive(&self) -> bool {
        self.stated("inactive").any(|value| value == "true")
            || self.stated("status").any(|value| matches!(value.as_str(), "retired" | "inactive"))
    }

    /// What it is called in a language, such as `de`, or else in the one that is meant more widely: `de` for `de-CH`.
    pub fn designation_in(&self, language: &str) -> Option<&str> {
        in_language(&self.designations, language)
    }
}

/// The designation in a language or, by looking it up as RFC 4647 3.4 does, in a wider one.
pub fn in_language<'a>(designations: &'a [Value], language: &str) -> Option<&'a str> {
    let mut range = language;
    loop {
        let is_in =
            |it: &&Value| it.get("language").and_then(Value::as_str).is_some_and(|own| own.eq_ignore_ascii_case(range));
        if let Some(value) = designations.iter().find(is_in).and_then(|it| it.get("value")?.as_str()) {
            return Some(value);
        }
        range = range.rsplit_once('-')?.0;
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    fn system(definition: Value) -> System {
        System::new(CodeSystem::deserialize(definition).expect("a code system"))
    }

    #[test]
    fn a_graph_with_a_second_parent_is_walked_once() {
        let loop_of_three = system(json!({"url": "s", "content": "complete", "concept": [
            {"code": "a", "concept": [{"code": "b"}]},
            {"code": "c", "property": [{"code": "child", "valueCode": "b"}, {"code": "child", "valueCode": "a"}]}]}));
        assert_eq!(loop_of_three.above("b"), ["b", "c", "a"]);
        assert_eq!(loop_of_three.below("c"), ["c", "a", "b"]);
        let groups = system(json!({"url": "g", "content": "complete", "hierarchyMeaning": "grouped-by",
            "concept": [{"code": "g", "concept": [{"code": "h"}]}]}));
        assert_eq!(groups.below("g"), ["g"], "groups do not subsume");
    }

    #[test]
    fn every_operator_is_answered_or_refused() {
        let system = system(
            json!({"url": "s", "content": "complete", "property": [{"code": "kind"}, {"code": "rank"}], "concept": [
            {"code": "a", "property": [{"code": "kind", "valueString": "x y"}], "concept": [{"code": "b"}]},
            {"code": "c", "property": [{"code": "kind", "valueCoding": {"code": "z"}}, {"code": "rank", "valueInteger": 3}]}]}),
        );
        let check = |property: &str, op: &str, value: &str, expected: Option<&str>| {
            let filter = Filter { property: property.into(), op: op.into(), value: value.into() };
            let kept = system.filter(&filter).ok().map(|kept| {
                let mut kept: Vec<&str> = kept.into_iter().collect();
                kept.sort_unstable();
                kept.join(" ")
            });
            assert_eq!(kept.as_deref(), expected, "{property} {op} {value}");
        };
        check("concept", "is-a", "a", Some("a b"));
        check("concept", "descendent-of", "a", Some("b"));
        check("code", "is-not-a", "a", Some("c"));
        check("concept", "in", "a, c", Some("a c"));
        check("concept", "not-in", "a,c", Some("b"));
        check("kind", "=", "x y", Some("a"));
        check("kind", "=", "z", Some("c"));
        check("rank", "=", "3", Some("c"));
        check("kind", "exists", "false", Some("b"));
        check("kind", "exists", "maybe", None);
        check("code", "regex", "[ab]", Some("a b"));
        check("code", "regex", "[", None);
        check("code", "regex", "zzz)|(?:a", None);
        check("concept", "is-a", "nobody", None);
        check("concept", "is-not-a", "nobody", None);
        check("code", "regex", "(a{50}){50}", None);
        check("kind", "regex", "x", Some(""));
        check("colour", "=", "red", None);
        check("concept", "generalizes", "a", None);
    }

    #[test]
    fn case_counts_unless_the_system_says_otherwise() {
        let concept = json!([{"code": "Ab", "display": "A"}]);
        let exact = system(json!({"url": "s", "content": "complete", "concept": concept}));
        let loose = system(json!({"url": "s", "content": "complete", "caseSensitive": false, "concept": concept}));
        assert!(exact.get("AB").is_none());
        assert_eq!(loose.get("AB").map(|concept| concept.code.as_str()), Some("Ab"));
        let concept = json!([{"code": "Top", "concept": [{"code": "Ab"}]}, {"code": "Cd", "property": [{"code": "parent", "valueCode": "TOP"}]}]);
        let loose = system(json!({"url": "s", "content": "complete", "caseSensitive": false, "concept": concept}));
        assert_eq!(loose.below("tOP"), ["Top", "Cd", "Ab"]);
        for (op, value, expected) in
            [("is-a", "top", 3), ("descendent-of", "top", 2), ("=", "AB", 1), ("in", "ab, CD", 2), ("not-in", "AB", 2)]
        {
            let filter = Filter { property: "concept".into(), op: op.into(), value: value.into() };
            assert_eq!(loose.filter(&filter).map(|kept| kept.len()), Ok(expected), "{op} {value}");
        }
    }

    #[test]
    fn hierarchies_are_nested_or_stated_from_either_end() {
        let stated = |code: &str, value: &str| json!([{"code": code, "valueCode": value}]);
        let system = system(json!({"url": "s", "content": "complete", "concept": [
            {"code": "a", "property": stated("child", "b"), "concept": [{"code": "b", "property": stated("parent", "a")}]},
            {"code": "c", "property": stated("subsumedBy", "b")}, {"code": "d", "property": stated("parent", "d")}]}));
        assert_eq!(system.below("a"), ["a", "b", "c"]);
        assert_eq!(system.above("c"), ["c", "b", "a"]);
        let top = system.get("a").expect("a concept");
        assert_eq!(system.children(top).count(), 1, "stated three times, it is one link");
        assert_eq!(system.below("d"), ["d"]);
    }
}
