//! ValueSet/$expand (R4 valueset-operation-expand.html): the codes of a value set, all or those that match a text, page by
//! page. Expansions are flat.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::terminology::{Concept, Expansion, Terminology, ValueSet, in_language};
use crate::fhir::types::Instant;
use crate::interactions::answer::Answer;
use crate::search::fold::fold;

use super::arguments::{Arguments, Declared, Sent, Shape};
use super::{DISPLAY_LANGUAGE, Subject, URL, VALUE_SET, VALUE_SET_VERSION, bad, subject, text};

/// Codes in one answer.
const COUNT_MAX: usize = 5_000;
/// Words of a filter, and bytes.
const WORDS_MAX: usize = 20;
const FILTER_BYTES_MAX: usize = 1_000;

const DECLARED: [Declared; 10] = [
    URL,
    VALUE_SET,
    VALUE_SET_VERSION,
    text("filter"),
    Declared { name: "offset", shape: Shape::Count, repeats: false },
    Declared { name: "count", shape: Shape::Count, repeats: false },
    Declared { name: "activeOnly", shape: Shape::Flag, repeats: false },
    Declared { name: "includeDesignations", shape: Shape::Flag, repeats: false },
    // Either answer is a flat one: false allows nesting, it does not demand it.
    Declared { name: "excludeNested", shape: Shape::Flag, repeats: false },
    DISPLAY_LANGUAGE,
];

/// One code of the answer.
struct Member<'a> {
    system: &'a str,
    code: &'a str,
    display: Option<&'a str>,
    /// The designations that the set itself gives.
    own: &'a [Value],
    concept: Option<&'a Concept>,
}

/// Answers with the ValueSet and its expansion.
///
/// # Errors
/// 400 for a parameter that cannot be used, 404 for a value set that is not loaded, 422 for one that cannot be expanded in
/// full.
pub fn expand(terminology: &Terminology, now: Instant, sent: Sent) -> Result<Answer, FhirError> {
    let mut arguments = Arguments::read(&DECLARED, sent)?;
    let subject = subject(terminology, &mut arguments)?;
    let own;
    let (set, expansion): (Option<&ValueSet>, &Expansion) = match &subject {
        Subject::Loaded(url) => {
            (terminology.definition(url), terminology.expansion(url).map_err(|reason| subject.unexpandable(&reason))?)
        }
        Subject::Sent(set) => {
            own = terminology.expand(set, true).map_err(|reason| subject.unexpandable(&reason))?;
            (Some(set.as_ref()), &own)
        }
    };
    let language = arguments.text("displayLanguage");
    let mut members = members(terminology, expansion, language.as_deref());
    if arguments.flag("activeOnly") == Some(true) {
        members.retain(|member| !member.concept.is_some_and(Concept::is_inactive));
    }
    if let Some(filter) = arguments.text("filter") {
        members = filtered(members, &filter)?;
    }
    let offset = arguments.count("offset").unwrap_or(0);
    // Who asks for no page gets everything, or hears that it takes pages: a part would pass for the whole.
    if arguments.count("count").is_none() && members.len().saturating_sub(offset) > COUNT_MAX {
        let sentence = format!(
            "The expansion has {} codes, more than the {COUNT_MAX} that fit into one answer; ask for it in pages, with count and offset, or name a filter.",
            members.len()
        );
        return Err(FhirError::new(Kind::Invalid, sentence).code(IssueCode::TooCostly).at("http.count"));
    }
    let count = arguments.count("count").unwrap_or(COUNT_MAX).min(COUNT_MAX);
    let page: Vec<&Member> = members.iter().skip(offset).take(count).collect();
    let is_paged = arguments.count("offset").or(arguments.count("count")).is_some() || page.len() < members.len();

    let mut answer = Map::new();
    answer.insert("identifier".into(), identifier(&members).into());
    answer.insert("timestamp".into(), now.to_fhir().into());
    answer.insert("total".into(), members.len().into());
    if is_paged {
        answer.insert("offset".into(), offset.into());
    }
    let mut used = echoed(&arguments);
    if is_paged {
        used.push(json!({"name": "count", "valueInteger": count}));
    }
    used.extend(versions(terminology, expansion));
    if !used.is_empty() {
        answer.insert("parameter".into(), used.into());
    }
    if !page.is_empty() {
        let with_designations = arguments.flag("includeDesignations") == Some(true);
        answer.insert("contains".into(), page.iter().map(|member| member.to_json(with_designations)).collect());
    }
    Ok(Answer::new(200, around(set, answer).to_string()))
}

fn members<'a>(terminology: &'a Terminology, expansion: &'a Expansion, language: Option<&str>) -> Vec<Member<'a>> {
    let member = |(at, (system, code)): (usize, &'a (String, String))| {
        let concept = terminology.system(system).and_then(|system| system.get(code));
        // What the set calls it comes before what the system calls it (R4 ValueSet.compose.include.concept.display).
        let own = expansion.own_designations(at);
        let translated =
            language.and_then(|language| in_language(own, language).or_else(|| concept?.designation_in(language)));
        let display = translated.or_else(|| expansion.own_display(at)).or_else(|| terminology.display(system, code));
        Member { system, code, display, own, concept }
    };
    expansion.codes.iter().enumerate().map(member).collect()
}

/// The members in whose display or code every word occurs, in any order; those where each begins a word come first.
fn filtered<'a>(members: Vec<Member<'a>>, filter: &str) -> Result<Vec<Member<'a>>, FhirError> {
    let folded = fold(filter);
    let words: Vec<&str> = folded.split(' ').filter(|word| !word.is_empty()).take(WORDS_MAX + 1).collect();
    if words.len() > WORDS_MAX || filter.len() > FILTER_BYTES_MAX {
        return Err(bad(format!("A filter has at most {WORDS_MAX} words and {FILTER_BYTES_MAX} bytes."), "filter"));
    }
    if words.is_empty() {
        return Err(bad("There is no letter or digit in the filter.", "filter"));
    }
    let (mut beginning, mut within) = (Vec::new(), Vec::new());
    for member in members {
        let text = format!(" {} {}", fold(member.display.unwrap_or_default()), fold(member.code));
        if words.iter().all(|word| text.contains(&format!(" {word}"))) {
            beginning.push(member);
        } else if words.iter().all(|word| text.contains(word)) {
            within.push(member);
        }
    }
    beginning.append(&mut within);
    Ok(beginning)
}

/// The same for each page, and for each expansion with the same codes in the same order (R4
/// ValueSet.expansion.identifier).
fn identifier(members: &[Member]) -> String {
    let mut digest = openssl::sha::Sha256::new();
    for Member { system, code, display, .. } in members {
        for part in [system, code, display.unwrap_or_default()] {
            digest.update(part.as_bytes());
            digest.update(b"\n");
        }
    }
    let digest = digest.finish();
    let bytes = digest.first_chunk::<16>().copied().unwrap_or_default();
    format!("urn:uuid:{}", uuid::Builder::from_random_bytes(bytes).into_uuid())
}

/// `ValueSet.expansion.parameter`: what of the request shaped the expansion.
fn echoed(arguments: &Arguments) -> Vec<Value> {
    let text = |name: &str, kind: &str| Some(json!({"name": name, kind: arguments.text(name)?}));
    let flag = |name: &str| Some(json!({"name": name, "valueBoolean": arguments.flag(name)?}));
    let offset = arguments.count("offset").map(|offset| json!({"name": "offset", "valueInteger": offset}));
    [
        text("filter", "valueString"),
        flag("activeOnly"),
        flag("includeDesignations"),
        flag("excludeNested"),
        text("displayLanguage", "valueCode"),
        offset,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The versions of the code systems that the codes are of.
fn versions(terminology: &Terminology, expansion: &Expansion) -> Vec<Value> {
    let systems: BTreeSet<&str> = expansion.codes.iter().map(|(system, _)| system.as_str()).collect();
    let version = |system: &str| terminology.system(system)?.version.as_deref();
    let versioned = systems.into_iter().filter_map(|system| Some(format!("{system}|{}", version(system)?)));
    versioned.map(|canonical| json!({"name": "version", "valueUri": canonical})).collect()
}

fn around(set: Option<&ValueSet>, expansion: Map<String, Value>) -> Value {
    let mut whole = Map::new();
    whole.insert("resourceType".into(), "ValueSet".into());
    if let Some(set) = set {
        let url = (!set.url.is_empty()).then(|| set.url.clone());
        for (name, value) in [("url", &url), ("version", &set.version), ("name", &set.name), ("title", &set.title)] {
            if let Some(value) = value {
                whole.insert(name.into(), value.as_str().into());
            }
        }
    }
    let status = set.and_then(|set| set.status.as_deref()).unwrap_or("unknown");
    whole.insert("status".into(), status.into());
    whole.insert("expansion".into(), Value::Object(expansion));
    Value::Object(whole)
}

impl Member<'_> {
    fn to_json(&self, with_designations: bool) -> Value {
        let mut contains = Map::new();
        contains.insert("system".into(), self.system.into());
        if self.concept.is_some_and(Concept::is_abstract) {
            contains.insert("abstract".into(), true.into());
        }
        if self.concept.is_some_and(Concept::is_inactive) {
            contains.insert("inactive".into(), true.into());
        }
        contains.insert("code".into(), self.code.into());
        if let Some(display) = self.display {
            contains.insert("display".into(), display.into());
        }
        if with_designations {
            let designations = self.concept.map_or(&[][..], |concept| &concept.designations);
            let mut all: Vec<&Value> = Vec::new();
            for designation in self.own.iter().chain(designations) {
                if !all.contains(&designation) {
                    all.push(designation);
                }
            }
            if !all.is_empty() {
                contains.insert("designation".into(), json!(all));
            }
        }
        Value::Object(contains)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminology() -> Terminology {
        Terminology::with(vec![
            json!({"resourceType": "CodeSystem", "url": "urn:s", "version": "3", "content": "complete",
                "property": [{"code": "inactive"}, {"code": "notSelectable"}], "concept": [
                {"code": "top", "display": "All of them", "property": [{"code": "notSelectable", "valueBoolean": true}]},
                {"code": "fam", "display": "Family Medicine", "designation": [{"language": "de", "value": "Allgemeinmedizin"}]},
                {"code": "inf", "display": "Telemedicine, not family"},
                {"code": "old", "display": "Médecine (old)", "property": [{"code": "inactive", "valueBoolean": true}]}]}),
            json!({"resourceType": "ValueSet", "url": "urn:v", "version": "1", "status": "active", "compose": {"include": [{"system": "urn:s"}]}}),
            json!({"resourceType": "ValueSet", "url": "urn:lacking", "compose": {"include": [{"system": "http://nucc.org/provider-taxonomy"}]}}),
        ])
        .expect("it can be read")
    }

    fn ask(query: &[(&str, &str)]) -> Result<Value, FhirError> {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = expand(&terminology(), Instant(0), Sent { query, body: None })?;
        Ok(serde_json::from_slice(&answer.body.expect("a body")).expect("JSON"))
    }

    fn codes(query: &[(&str, &str)]) -> Vec<String> {
        let answer = ask(&[&[("url", "urn:v")], query].concat()).expect("an expansion");
        let contains = answer["expansion"]["contains"].as_array().cloned().unwrap_or_default();
        contains.iter().map(|one| one["code"].as_str().expect("code").to_owned()).collect()
    }

    #[test]
    fn a_filter_finds_every_word_and_beginnings_first() {
        assert_eq!(codes(&[("filter", "medic")]), ["fam", "inf"]);
        assert_eq!(codes(&[("filter", "MEDICINE family")]), ["fam", "inf"]);
        assert_eq!(codes(&[("filter", "medecine")]), ["old"]);
        assert_eq!(codes(&[("filter", "amily")]), ["fam", "inf"]);
        assert_eq!(codes(&[("filter", "TOP")]), ["top"], "the code counts too");
        assert_eq!(codes(&[("filter", "nothing")]), [""; 0]);
        assert!(ask(&[("url", "urn:v"), ("filter", "--")]).is_err());
    }

    #[test]
    fn pages_share_their_identifier() {
        assert_eq!(codes(&[("count", "2")]), ["top", "fam"]);
        assert_eq!(codes(&[("count", "2"), ("offset", "3")]), ["old"]);
        let page = |offset: &str| ask(&[("url", "urn:v"), ("count", "2"), ("offset", offset)]).expect("a page");
        assert_eq!(page("0")["expansion"]["identifier"], page("2")["expansion"]["identifier"]);
        assert_eq!((&page("9")["expansion"]["total"], &page("9")["expansion"]["contains"]), (&json!(4), &Value::Null));
    }

    #[test]
    fn abstract_and_inactive_codes_are_marked() {
        let whole = ask(&[("url", "urn:v")]).expect("an expansion");
        let contains = &whole["expansion"]["contains"];
        assert_eq!((&contains[0]["abstract"], &contains[3]["inactive"]), (&json!(true), &json!(true)));
        assert_eq!(whole["expansion"]["parameter"], json!([{"name": "version", "valueUri": "urn:s|3"}]));
        assert_eq!(codes(&[("activeOnly", "true")]), ["top", "fam", "inf"]);
    }

    #[test]
    fn designations_come_in_the_language_asked_for() {
        let german =
            ask(&[("url", "urn:v"), ("displayLanguage", "de"), ("includeDesignations", "true")]).expect("an expansion");
        let family = &german["expansion"]["contains"][1];
        assert_eq!(
            (&family["display"], &family["designation"][0]["language"]),
            (&json!("Allgemeinmedizin"), &json!("de"))
        );
        assert_eq!(german["expansion"]["contains"][2]["display"], "Telemedicine, not family");
    }

    fn post(set: Value) -> Result<Value, FhirError> {
        let query = vec![
            ("displayLanguage".to_owned(), "de-CH".to_owned()),
            ("includeDesignations".to_owned(), "true".to_owned()),
        ];
        let answer = expand(&terminology(), Instant(0), Sent { query, body: Some(set) })?;
        Ok(serde_json::from_slice(&answer.body.expect("a body")).expect("JSON"))
    }

    fn set(include: Value) -> Value {
        json!({"resourceType": "ValueSet", "compose": {"include": [include]}})
    }

    #[test]
    fn a_set_may_bring_its_own_designations() {
        let ours = json!({"language": "de", "value": "Hausarzt"});
        let sent = post(set(
            json!({"system": "urn:s", "concept": [{"code": "fam", "designation": [ours]}, {"code": "inf"}, {"code": "gone"}]}),
        ));
        let sent = sent.expect("an expansion");
        let family = &sent["expansion"]["contains"][0];
        assert_eq!((&family["display"], &family["designation"][0]), (&json!("Hausarzt"), &ours), "de for de-CH");
        assert_eq!(family["designation"][1]["value"], "Allgemeinmedizin");
        assert_eq!(sent["expansion"]["total"], 2, "what the system does not have is not in the set");
        let one = |code: &str| json!({"system": "urn:s", "code": code});
        let stated = json!({"resourceType": "ValueSet", "expansion": {"contains": [one("fam"), one("gone")]}});
        assert_eq!(post(stated).expect("an expansion")["expansion"]["total"], 1, "nor if the client found it there");
    }

    #[test]
    fn what_a_client_sends_fits_the_systems_that_are_loaded() {
        let filter = |op: &str, value: &str| json!({"system": "urn:s", "filter": [{"property": "concept", "op": op, "value": value}]});
        for (include, code, part) in [
            (
                json!({"system": "urn:s", "version": "2"}),
                "not-supported",
                "version 2 of the code system urn:s is not loaded",
            ),
            (json!({"system": "urn:s", "version": "2", "concept": [{"code": "fam"}]}), "not-supported", "version 2"),
            (json!({"valueSet": ["urn:v|2"]}), "not-supported", "version 2 of the value set urn:v is not loaded"),
            (json!({"system": "urn:s|3"}), "value", "compose.include.version"),
            (filter("regex", "("), "value", "'(' cannot be read"),
            (filter("regex", "zzz)|(?:fam"), "value", "cannot be read"),
            (filter("is-a", "nobody"), "code-invalid", "'nobody'"),
            (json!({"system": "urn:ietf:bcp:47"}), "too-costly", "grammar"),
        ] {
            let error = post(set(include.clone())).expect_err("refused");
            let issue = &error.issues[0];
            assert_eq!((error.kind.status(), issue.code.as_str()), (422, code), "{include}: {error}");
            assert_eq!(issue.expression.as_deref(), Some("http.valueSet"));
            assert!(issue.diagnostics.contains(part), "{error}");
        }
        assert!(post(set(json!({"system": "urn:s", "version": "3", "valueSet": ["urn:v|1"]}))).is_ok());
    }

    #[test]
    fn what_does_not_fit_into_one_answer_is_asked_for_in_pages() {
        let codes: Vec<Value> = (0..=COUNT_MAX).map(|number| json!({"code": number.to_string()})).collect();
        let terminology = Terminology::with(vec![
            json!({"resourceType": "CodeSystem", "url": "urn:many", "content": "complete", "concept": codes}),
            json!({"resourceType": "ValueSet", "url": "urn:v", "compose": {"include": [{"system": "urn:many"}]}}),
        ])
        .expect("it can be read");
        let ask = |rest: &[(&str, &str)]| {
            let query = [&[("url", "urn:v")], rest].concat();
            let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            expand(&terminology, Instant(0), Sent { query, body: None })
        };
        let error = ask(&[]).expect_err("too many");
        assert_eq!((error.kind.status(), error.issues[0].code), (422, IssueCode::TooCostly));
        assert!(error.to_string().contains("count and offset"), "{error}");
        let page = |rest: &[(&str, &str)]| -> Value {
            serde_json::from_slice(&ask(rest).expect("a page").body.expect("a body")).expect("JSON")
        };
        let count = |page: Value| page["expansion"]["contains"].as_array().map_or(0, Vec::len);
        assert_eq!(count(page(&[("count", "2000")])), 2000);
        assert_eq!(count(page(&[("offset", "1")])), COUNT_MAX);
        assert_eq!(count(page(&[("count", "9999")])), COUNT_MAX, "a page may be smaller than was asked for");
        let words = "a ".repeat(WORDS_MAX + 1);
        assert_eq!(
            ask(&[("filter", &words)]).expect_err("too long").issues[0].expression.as_deref(),
            Some("http.filter")
        );
    }

    #[test]
    fn what_cannot_be_answered_says_why() {
        for (query, status, part) in [
            (&[("url", "urn:nobody")][..], 404, "not loaded"),
            (&[("url", "urn:v|2")], 404, "it has version 1"),
            (&[("url", "urn:v"), ("valueSetVersion", "2")], 404, "it has version 1"),
            (&[("url", "urn:lacking")], 422, "plumbline terminology load nucc"),
            (&[("url", "http://hl7.org/fhir/ValueSet/mimetypes")], 422, "cannot be listed"),
            (&[], 400, "url"),
            (&[("url", "urn:v"), ("context", "x")], 400, "no parameter 'context'"),
        ] {
            let error = ask(query).expect_err("refused");
            assert_eq!(error.kind.status(), status, "{query:?}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(error.issues.iter().all(|issue| issue.expression.is_some()), "{error}");
        }
        assert!(ask(&[("url", "urn:v|1")]).is_ok());
    }
}
