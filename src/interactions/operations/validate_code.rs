//! ValueSet/$validate-code (R4 valueset-operation-validate-code.html): whether a code is one of a value set, and is called
//! what the client calls it.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::fhir::error::FhirError;
use crate::fhir::resource::excerpt;
use crate::fhir::terminology::{CodeSet, Concept, Expansion, Terminology, in_language};
use crate::interactions::answer::Answer;

use super::arguments::{Arguments, Declared, Sent, Shape};
use super::{
    CODING, DISPLAY_LANGUAGE, Subject, URL, VALUE_SET, VALUE_SET_VERSION, bad, other_version, parameters, subject, text,
};

const DECLARED: [Declared; 11] = [
    URL,
    VALUE_SET,
    VALUE_SET_VERSION,
    text("code"),
    text("system"),
    text("systemVersion"),
    text("display"),
    CODING,
    Declared { name: "codeableConcept", shape: Shape::CodeableConcept, repeats: false },
    Declared { name: "abstract", shape: Shape::Flag, repeats: false },
    DISPLAY_LANGUAGE,
];
/// Codings of one concept that are looked at.
const CODINGS_MAX: usize = 100;

/// What is to be validated.
struct Claim {
    system: Option<String>,
    version: Option<String>,
    code: String,
    display: Option<String>,
}

/// What came of it.
struct Verdict {
    message: Option<String>,
    /// What the code is called here, if it is in the set.
    display: Option<String>,
    is_member: bool,
    /// False for a display that is wrong: the details are not valid then, though the code is.
    is_valid: bool,
}

/// What is known about the set.
struct Known<'a> {
    terminology: &'a Terminology,
    codes: Arc<CodeSet>,
    expansion: Option<&'a Expansion>,
    language: Option<String>,
    /// Codes that only group others are good where the code is used, such as in a query.
    allows_abstract: bool,
}

/// Answers with Parameters: `result`, `message` and `display`.
///
/// # Errors
/// 400 for a parameter that cannot be used, 404 for a value set that is not loaded, 422 for one of which not every code is
/// known.
pub fn validate_code(terminology: &Terminology, sent: Sent) -> Result<Answer, FhirError> {
    let mut arguments = Arguments::read(&DECLARED, sent)?;
    let claims = claims(&mut arguments)?;
    let subject = subject(terminology, &mut arguments)?;
    let own;
    let (codes, expansion) = match &subject {
        Subject::Loaded(url) => (terminology.try_code_set(url), terminology.expansion(url).ok()),
        Subject::Sent(set) => {
            let (codes, expansion) = terminology
                .code_set_of(set, true)
                .map_or_else(|reason| (Err(reason), None), |(codes, expansion)| (Ok(Arc::new(codes)), expansion));
            own = expansion;
            (codes, own.as_ref())
        }
    };
    let codes = codes.map_err(|reason| subject.unexpandable(&reason))?;
    let allows_abstract = arguments.flag("abstract") == Some(true);
    let language = arguments.text("displayLanguage");
    let known = Known { terminology, codes, expansion, language, allows_abstract };
    let verdict = known.judge_all(&claims);
    let mut out = vec![json!({"name": "result", "valueBoolean": verdict.is_valid})];
    out.extend(verdict.message.map(|message| json!({"name": "message", "valueString": message})));
    out.extend(verdict.display.map(|display| json!({"name": "display", "valueString": display})));
    Ok(Answer::new(200, parameters(out).to_string()))
}

/// The one code, or the codings of the one concept, that the request names.
fn claims(arguments: &mut Arguments) -> Result<Vec<Claim>, FhirError> {
    let (code, system, display) = (arguments.text("code"), arguments.text("system"), arguments.text("display"));
    let (coding, concept) = (arguments.value("coding"), arguments.value("codeableConcept"));
    let version = arguments.text("systemVersion");
    if code.is_none() && (system.is_some() || version.is_some() || display.is_some()) {
        return Err(bad("A system or a display says something about a code, and there is none.", "code"));
    }
    if version.is_some() && system.is_none() {
        return Err(bad("A version says something about a system, and there is none.", "systemVersion"));
    }
    match (code, coding, concept) {
        (Some(code), None, None) => Ok(vec![Claim { system, version, code, display }]),
        (None, Some(coding), None) => Ok(vec![claim(&coding, "coding")?]),
        (None, None, Some(concept)) => {
            let codings = concept.get("coding").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
            if codings.is_empty() || codings.len() > CODINGS_MAX {
                return Err(bad(format!("A concept to validate has 1 to {CODINGS_MAX} codings."), "codeableConcept"));
            }
            codings.iter().map(|coding| claim(coding, "codeableConcept")).collect()
        }
        _ => Err(bad("Exactly one of code, coding and codeableConcept is to be given.", "code")),
    }
}

fn claim(coding: &Value, name: &str) -> Result<Claim, FhirError> {
    let text = |name: &str| coding.get(name).and_then(Value::as_str).map(str::to_owned);
    let code = text("code").ok_or_else(|| bad("A coding to validate has a code.", name))?;
    Ok(Claim { system: text("system"), version: text("version"), code, display: text("display") })
}

impl Known<'_> {
    /// A concept is valid if one of its codings is (R4, parameter `codeableConcept`).
    fn judge_all(&self, claims: &[Claim]) -> Verdict {
        let mut verdicts: Vec<Verdict> = claims.iter().map(|claim| self.judge(claim)).collect();
        // The best one speaks for the concept: a valid one, else one with the right code.
        verdicts.sort_by_key(|verdict| (!verdict.is_valid, !verdict.is_member));
        if verdicts.first().is_some_and(|best| !best.is_member) && verdicts.len() > 1 {
            let message = Some("None of the codings is in the value set.".to_owned());
            return Verdict { message, display: None, is_member: false, is_valid: false };
        }
        verdicts.into_iter().next().unwrap_or(Verdict {
            message: None,
            display: None,
            is_member: false,
            is_valid: false,
        })
    }

    fn judge(&self, claim: &Claim) -> Verdict {
        let no = |message: String| Verdict { message: Some(message), display: None, is_member: false, is_valid: false };
        let code = excerpt(&claim.code);
        // The same words as where a version refuses the whole question; here there may be other codings.
        let loaded = claim.system.as_deref().and_then(|system| self.terminology.system(system));
        if let Some(loaded) = loaded
            && let Err(error) =
                other_version("code system", &loaded.url, claim.version.as_deref(), loaded.version.as_deref())
        {
            return no(error.to_string());
        }
        let system = match &claim.system {
            Some(system) if self.codes.contains(system, &claim.code) => system.as_str(),
            Some(system) => {
                let has_not =
                    self.terminology.is_complete_system(system) && !self.terminology.system_has(system, &claim.code);
                let place = if has_not { "no code of the code system" } else { "not in the value set as a code of" };
                return no(format!("'{code}' is {place} {}.", excerpt(system)));
            }
            None => match self.codes.systems_with(&claim.code)[..] {
                [] => return no(format!("'{code}' is not in the value set.")),
                [system] => system,
                [..] => {
                    let systems = self.codes.systems_with(&claim.code).join(", ");
                    return no(format!(
                        "'{code}' is in the value set as a code of several systems; name one of {systems}."
                    ));
                }
            },
        };
        let concept = self.terminology.system(system).and_then(|system| system.get(&claim.code));
        if !self.allows_abstract && concept.is_some_and(Concept::is_abstract) {
            return no(format!(
                "'{code}' is abstract: it groups other codes of {system} and does not stand for itself."
            ));
        }
        let displays = self.displays(system, concept.map_or(&claim.code, |concept| &concept.code));
        let display = displays.first().cloned();
        let (message, is_valid) = match &claim.display {
            Some(claimed) if displays.is_empty() => {
                (Some(format!("The display \"{}\" cannot be checked: none is known here.", excerpt(claimed))), true)
            }
            Some(claimed) if !displays.iter().any(|known| same_text(known, claimed)) => {
                (Some(format!("The display \"{}\" is incorrect", excerpt(claimed))), false)
            }
            _ => (None, true),
        };
        Verdict { message, display, is_member: true, is_valid }
    }

    /// What the code may be called, the preferred name first.
    fn displays(&self, system: &str, code: &str) -> Vec<String> {
        let at = self.expansion.and_then(|set| set.codes.iter().position(|(s, c)| s == system && c == code));
        let in_set = at.and_then(|at| self.expansion?.own_display(at));
        let concept = self.terminology.system(system).and_then(|system| system.get(code));
        let own = at.and_then(|at| Some(self.expansion?.own_designations(at))).unwrap_or_default();
        let in_language = |language| in_language(own, language).or_else(|| concept?.designation_in(language));
        let translated = self.language.as_deref().and_then(in_language);
        let designated = own.iter().chain(concept.into_iter().flat_map(|concept| &concept.designations));
        let designated = designated.filter_map(|designation| designation.get("value")?.as_str());
        let names = [translated, in_set, self.terminology.display(system, code)].into_iter().flatten();
        names.chain(designated).map(str::to_owned).collect()
    }
}

/// Case and white space do not make another display.
fn same_text(a: &str, b: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
    plain(a) == plain(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn terminology() -> Terminology {
        let system = |url: &str, codes: Value| json!({"resourceType": "CodeSystem", "url": url, "version": "7", "content": "complete", "concept": codes});
        Terminology::with(vec![
            system("urn:a", json!([{"code": "one", "display": "The One", "designation": [{"value": "Uno"}]}, {"code": "both"}])),
            system("urn:b", json!([{"code": "two", "display": "Two"}, {"code": "both"}])),
            json!({"resourceType": "CodeSystem", "url": "urn:c", "content": "complete", "caseSensitive": false, "property": [{"code": "notSelectable"}],
                "concept": [{"code": "top", "display": "Top", "property": [{"code": "notSelectable", "valueBoolean": true}]}]}),
            json!({"resourceType": "ValueSet", "url": "urn:v", "compose": {
                "include": [{"system": "urn:a"}, {"system": "urn:b"}], "exclude": [{"system": "urn:b", "concept": [{"code": "two"}]}]}}),
        ])
        .expect("it can be read")
    }

    /// result, message, display.
    fn answer(query: &[(&str, &str)], posted: Value) -> (Value, String, Value) {
        let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = (!posted.is_null()).then(|| json!({"resourceType": "Parameters", "parameter": posted}));
        let answer = validate_code(&terminology(), Sent { query, body }).expect("an answer");
        let parameters: Value = serde_json::from_slice(&answer.body.expect("a body")).expect("JSON");
        let of = |name: &str| {
            let all = parameters["parameter"].as_array().expect("parameters");
            all.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
        };
        (
            of("result")["valueBoolean"].clone(),
            of("message")["valueString"].as_str().unwrap_or_default().to_owned(),
            of("display")["valueString"].clone(),
        )
    }

    fn ask(query: &[(&str, &str)]) -> (Value, String, Value) {
        answer(&[&[("url", "urn:v")], query].concat(), Value::Null)
    }

    #[test]
    fn a_code_is_in_the_set_or_it_is_told_why_not() {
        assert_eq!(ask(&[("system", "urn:a"), ("code", "one")]), (json!(true), String::new(), json!("The One")));
        for (query, part) in [
            (&[("system", "urn:b"), ("code", "two")][..], "not in the value set as a code of urn:b"),
            (&[("system", "urn:b"), ("code", "six")], "no code of the code system urn:b"),
            (&[("code", "six")], "not in the value set"),
            (&[("code", "both")], "name one of urn:a, urn:b"),
        ] {
            let (result, message, display) = ask(query);
            assert_eq!((result, display), (json!(false), Value::Null), "{query:?}");
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn abstract_codes_are_good_where_that_is_said() {
        let set = json!({"resourceType": "ValueSet", "compose": {"include": [{"system": "urn:c"}]}});
        let ask = |rest: &[(&str, &str)]| {
            let posted = json!([{"name": "valueSet", "resource": set}]);
            answer(&[&[("system", "urn:c"), ("code", "TOP")], rest].concat(), posted)
        };
        let (result, message, _) = ask(&[]);
        assert_eq!(result, false);
        assert!(message.contains("'TOP' is abstract"), "{message}");
        assert_eq!(ask(&[("abstract", "false")]).0, false);
        assert_eq!(ask(&[("abstract", "true")]), (json!(true), String::new(), json!("Top")));
    }

    #[test]
    fn another_version_of_the_system_is_not_what_is_known_here() {
        let coding = |version: &str| {
            let coding = json!({"system": "urn:a", "version": version, "code": "one"});
            answer(&[("url", "urn:v")], json!([{"name": "coding", "valueCoding": coding}]))
        };
        assert_eq!(coding("7").0, true);
        let (result, message, _) = coding("8");
        assert_eq!(result, false);
        assert!(
            message.contains("Version '8' of the code system urn:a") && message.contains("it has version 7"),
            "{message}"
        );
        let by_name = |version: &str| ask(&[("system", "urn:a"), ("systemVersion", version), ("code", "one")]).0;
        assert_eq!((by_name("7"), by_name("8")), (json!(true), json!(false)));
    }

    #[test]
    fn a_system_is_inferred_when_one_has_the_code() {
        assert_eq!(ask(&[("code", "one")]).0, true);
    }

    #[test]
    fn a_wrong_display_makes_the_details_invalid_and_the_right_one_is_told() {
        let display = |display: &str| ask(&[("system", "urn:a"), ("code", "one"), ("display", display)]);
        assert_eq!(display("test"), (json!(false), "The display \"test\" is incorrect".into(), json!("The One")));
        assert_eq!(display("the  one").0, true);
        assert_eq!(display("Uno").0, true);
        let unknown = ask(&[("system", "urn:a"), ("code", "both"), ("display", "x")]);
        assert_eq!(unknown.0, true);
        assert!(unknown.1.contains("cannot be checked"), "{unknown:?}");
    }

    #[test]
    fn a_concept_is_valid_by_one_of_its_codings() {
        let concept = |codings: Value| {
            answer(
                &[("url", "urn:v")],
                json!([{"name": "codeableConcept", "valueCodeableConcept": {"coding": codings}}]),
            )
        };
        let (good, bad) = (json!({"system": "urn:a", "code": "one"}), json!({"system": "urn:x", "code": "y"}));
        assert_eq!(concept(json!([bad, good])).0, true);
        assert_eq!(concept(json!([bad, bad])).1, "None of the codings is in the value set.");
        let coding = answer(&[("url", "urn:v")], json!([{"name": "coding", "valueCoding": good}]));
        assert_eq!(coding.0, true);
    }

    #[test]
    fn exactly_one_thing_is_validated() {
        for query in [&[][..], &[("system", "urn:a")], &[("display", "x")]] {
            let query = [&[("url", "urn:v")], query].concat();
            let query = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let error = validate_code(&terminology(), Sent { query, body: None }).expect_err("refused");
            assert_eq!(error.kind.status(), 400);
        }
    }
}
