//! CodeSystem/$lookup (R4 codesystem-operation-lookup.html): what a code system says about one of its codes.

use serde_json::{Value, json};

use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::fhir::terminology::{Concept, System, Terminology, unversioned};
use crate::interactions::answer::Answer;

use super::arguments::{Arguments, Declared, Sent, Shape};
use super::{CODING, DISPLAY_LANGUAGE, bad, how_to_load, other_version, parameters, text, version_in};

const DECLARED: [Declared; 6] = [
    text("code"),
    text("system"),
    text("version"),
    CODING,
    DISPLAY_LANGUAGE,
    Declared { name: "property", shape: Shape::Text, repeats: true },
];

/// Answers with Parameters: `name`, `version`, `display`, `definition`, `designation` and `property`. Without `property` in
/// the request all that is known is told.
///
/// # Errors
/// 400 for a parameter that cannot be used, 404 for a code system that is not loaded or does not have the code.
pub fn lookup(terminology: &Terminology, sent: Sent) -> Result<Answer, FhirError> {
    let mut arguments = Arguments::read(&DECLARED, sent)?;
    let coding = arguments.value("coding");
    // Where the caller put what is wrong.
    let place = |name: &str| if coding.is_some() { "http.coding".to_owned() } else { format!("http.{name}") };
    let of_coding = |name: &str| coding.as_ref().and_then(|coding| coding.get(name)?.as_str()).map(str::to_owned);
    if coding.is_some() && ["code", "system", "version"].iter().any(|name| arguments.text(name).is_some()) {
        return Err(bad("A code with its system or a coding is to be given, not both.", "coding"));
    }
    let required = |name: &str| {
        of_coding(name).or_else(|| arguments.text(name)).ok_or_else(|| {
            let sentence = "A code and its system are to be given, or a coding that has both.";
            FhirError::with_issue(
                Kind::Malformed,
                Issue::error(IssueCode::Required, sentence).at(format!("http.{name}")),
            )
        })
    };
    let (code, url) = (required("code")?, required("system")?);
    let version = of_coding("version").or_else(|| arguments.text("version"));
    let system = terminology.system(&url).ok_or_else(|| {
        let sentence =
            format!("The code system '{}' is not loaded on this server. {}", excerpt(&url), how_to_load(&url));
        FhirError::new(Kind::NotFound, sentence).at(&place("system"))
    })?;
    let asked = version.as_deref().or(version_in(&url));
    other_version("code system", unversioned(&url), asked, system.version.as_deref())
        .map_err(|error| error.at(&place(if version.is_some() { "version" } else { "system" })))?;
    let concept = system.get(&code).ok_or_else(|| {
        let part = if system.complete { "" } else { ", of which only a part is loaded here" };
        let sentence = format!("The code system {}{part} has no code '{}'.", excerpt(&system.url), excerpt(&code));
        FhirError::new(Kind::NotFound, sentence).at(&place("code"))
    })?;
    let asked: Vec<&str> = arguments.texts("property").collect();
    if let Some(unknown) = asked.iter().find(|asked| !is_property(system, concept, asked)) {
        let sentence = format!("The code system {} has no property '{}'.", excerpt(&system.url), excerpt(unknown));
        return Err(bad(sentence, "property"));
    }
    let language = arguments.text("displayLanguage");
    Ok(Answer::new(200, parameters(told(terminology, system, concept, &asked, language.as_deref())).to_string()))
}

fn told(
    terminology: &Terminology,
    system: &System,
    concept: &Concept,
    asked: &[&str],
    language: Option<&str>,
) -> Vec<Value> {
    let is_asked = |name: &str| asked.is_empty() || asked.contains(&name);
    let name = system.title.as_ref().or(system.name.as_ref()).unwrap_or(&system.url);
    let mut out = vec![json!({"name": "name", "valueString": name})];
    if let Some(version) = &system.version {
        out.push(json!({"name": "version", "valueString": version}));
    }
    let display = language.and_then(|language| concept.designation_in(language));
    let display = display.or_else(|| terminology.display(&system.url, &concept.code)).unwrap_or(&concept.code);
    out.push(json!({"name": "display", "valueString": display}));
    if let Some(definition) = concept.definition.as_ref().filter(|_| is_asked("definition")) {
        // R4 has it among the properties; later versions, and many clients, as a parameter of its own.
        out.push(json!({"name": "definition", "valueString": definition}));
        out.push(property("definition", "valueString", &json!(definition)));
    }
    if asked.contains(&"url") {
        out.push(property("url", "valueUri", &json!(system.url)));
    }
    for designation in &concept.designations {
        let language = designation.get("language").and_then(Value::as_str);
        // `lang.de` asks for the designations in German (R4, parameter `property`).
        let is_wanted = is_asked("designation") || language.is_some_and(|own| asked.contains(&&*format!("lang.{own}")));
        if is_wanted {
            out.extend(self::designation(designation));
        }
    }
    for stated in concept.properties.iter().filter(|stated| !is_hierarchy(&stated.code) && is_asked(&stated.code)) {
        out.extend(stated.value().map(|(kind, value)| property(&stated.code, kind, value)));
    }
    if is_asked("parent") {
        out.extend(system.parents(concept).map(|parent| property("parent", "valueCode", &json!(parent.code))));
    }
    if is_asked("child") {
        out.extend(system.children(concept).map(|child| property("child", "valueCode", &json!(child.code))));
    }
    out
}

/// Those that every code system has (R4, parameter `property`), those that this one declares, and those of the code.
fn is_property(system: &System, concept: &Concept, name: &str) -> bool {
    const ALWAYS: [&str; 8] = ["url", "name", "version", "display", "definition", "designation", "parent", "child"];
    ALWAYS.contains(&name)
        || name.starts_with("lang.")
        || system.has_property(name)
        || concept.properties.iter().any(|stated| stated.code == name)
}

/// Properties that the graph of the system knows better.
fn is_hierarchy(code: &str) -> bool {
    matches!(code, "parent" | "child")
}

fn property(code: &str, kind: &str, value: &Value) -> Value {
    json!({"name": "property", "part": [{"name": "code", "valueCode": code}, {"name": "value", kind: value}]})
}

fn designation(stated: &Value) -> Option<Value> {
    let part = |name: &str, kind: &str| Some(json!({"name": name, kind: stated.get(name)?}));
    let value = part("value", "valueString")?;
    let parts: Vec<Value> =
        [part("language", "valueCode"), part("use", "valueCoding"), Some(value)].into_iter().flatten().collect();
    Some(json!({"name": "designation", "part": parts}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &[(&str, &str)]) -> Result<Vec<Value>, FhirError> {
        let terminology = Terminology::with(vec![json!({"resourceType": "CodeSystem", "url": "urn:s", "version": "3", "title": "Small",
            "content": "complete", "concept": [{"code": "a", "display": "A", "definition": "The first", "designation": [{"language": "de", "value": "Ah"}],
                "property": [{"code": "rank", "valueInteger": 7}], "concept": [{"code": "b"}]}]})])
        .expect("it can be read");
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = lookup(&terminology, Sent { query, body: None })?;
        let parameters: Value = serde_json::from_slice(&answer.body.expect("a body")).expect("JSON");
        Ok(parameters["parameter"].as_array().expect("parameters").clone())
    }

    #[test]
    fn all_that_is_known_is_told() {
        assert_eq!(
            ask(&[("system", "urn:s"), ("code", "a")]).expect("an answer"),
            [
                json!({"name": "name", "valueString": "Small"}),
                json!({"name": "version", "valueString": "3"}),
                json!({"name": "display", "valueString": "A"}),
                json!({"name": "definition", "valueString": "The first"}),
                json!({"name": "property", "part": [{"name": "code", "valueCode": "definition"}, {"name": "value", "valueString": "The first"}]}),
                json!({"name": "designation", "part": [{"name": "language", "valueCode": "de"}, {"name": "value", "valueString": "Ah"}]}),
                json!({"name": "property", "part": [{"name": "code", "valueCode": "rank"}, {"name": "value", "valueInteger": 7}]}),
                json!({"name": "property", "part": [{"name": "code", "valueCode": "child"}, {"name": "value", "valueCode": "b"}]}),
            ]
        );
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let names = |property: &str| {
            let told = ask(&[("system", "urn:s"), ("code", "a"), ("property", property)]).expect("an answer");
            told.iter().map(|one| one["name"].as_str().expect("name").to_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("rank"), "name version display property");
        assert_eq!(names("definition"), "name version display definition property");
        assert_eq!(names("url"), "name version display property");
        assert_eq!(names("lang.de"), "name version display designation");
        assert_eq!(names("lang.fr"), "name version display");
        let child = ask(&[("system", "urn:s"), ("code", "b")]).expect("an answer");
        assert_eq!(child[2]["valueString"], "b", "a code without a display is its own");
        assert_eq!(child[3]["part"][1]["valueCode"], "a");
    }

    #[test]
    fn what_is_not_there_is_404() {
        for (query, status, part) in [
            (&[("system", "urn:s"), ("code", "z")][..], 404, "has no code 'z'"),
            (&[("system", "urn:x"), ("code", "a")], 404, "not loaded"),
            (&[("system", "http://nucc.org/provider-taxonomy"), ("code", "a")], 404, "plumbline terminology load nucc"),
            (&[("system", "urn:s"), ("code", "a"), ("version", "4")], 404, "it has version 3"),
            (&[("code", "a")], 400, "system"),
            (&[("system", "urn:s"), ("code", "a"), ("property", "colour")], 400, "no property 'colour'"),
            (&[("system", "urn:ietf:bcp:47"), ("code", "de")], 404, "follow a grammar"),
            (&[("system", "urn:s"), ("code", "a"), ("date", "2020")], 400, "no parameter 'date'"),
        ] {
            let error = ask(query).expect_err("refused");
            assert_eq!(error.kind.status(), status, "{query:?}");
            assert!(error.to_string().contains(part), "{error}");
            assert!(error.issues.iter().all(|issue| issue.expression.is_some()), "{error}");
        }
        assert!(ask(&[("system", "urn:s|3"), ("code", "a")]).is_ok());
    }
}
