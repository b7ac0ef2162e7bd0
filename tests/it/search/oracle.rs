//! The server against a naive reading of the rules: random little directories, random filters, one answer.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};

use super::load;
use crate::harness::Server;

/// What a random organization has; the oracle reads this, never the JSON.
#[derive(Clone, Debug)]
struct Model {
    names: Vec<&'static str>,
    codes: Vec<(&'static str, &'static str)>,
    active: Option<bool>,
    /// Days of 2020 from 0, both ends included.
    period: Option<(Option<u32>, Option<u32>)>,
}

#[derive(Clone, Debug)]
enum Ask {
    Name(&'static str, Vec<&'static str>),
    NameMissing(bool),
    Type { not: bool, wanted: Vec<(Option<&'static str>, Option<&'static str>)> },
    TypeMissing(bool),
    Active(bool),
    Period(&'static str, u32),
}

const NAMES: &[&str] =
    &["Acme", "acme", "Ácme Care", "O'Brien", "OBrien Group", "Care-Net", "care net", "Net", "St. Mary", "Acme, Inc"];
const PARTS: &[&str] =
    &["a", "acme", "Acme", "ÁCME", "o'brien", "OBRIEN", "care", "net", "Care Net", "st mary", "mary", "inc", "zzz"];
const SYSTEMS: &[&str] = &["", "http://a.example", "http://b.example"];
const CODES: &[&str] = &["x", "y", "Z"];
const PREFIXES: &[&str] = &["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"];

fn model() -> impl Strategy<Value = Model> {
    let day = prop::option::of(0u32..8);
    let period = prop::option::of((day.clone(), day)).prop_map(|period| match period {
        Some((Some(a), Some(b))) => Some((Some(a.min(b)), Some(a.max(b)))),
        Some((None, None)) | None => None,
        other => other,
    });
    let code = (prop::sample::select(SYSTEMS), prop::sample::select(CODES));
    (
        prop::collection::vec(prop::sample::select(NAMES), 0..3),
        prop::collection::vec(code, 0..3),
        any::<Option<bool>>(),
        period,
    )
        .prop_map(|(names, codes, active, period)| Model { names, codes, active, period })
}

fn ask() -> impl Strategy<Value = Ask> {
    let wanted = (prop::option::of(prop::sample::select(SYSTEMS)), prop::option::of(prop::sample::select(CODES)))
        .prop_filter("a token names something", |(system, code)| {
            code.is_some() || system.is_some_and(|system| !system.is_empty())
        });
    prop_oneof![
        3 => (prop::sample::select(&["", ":contains"][..]), prop::collection::vec(prop::sample::select(PARTS), 1..3)).prop_map(|(m, v)| Ask::Name(m, v)),
        1 => prop::collection::vec(prop::sample::select(NAMES), 1..3).prop_map(|v| Ask::Name(":exact", v)),
        1 => any::<bool>().prop_map(Ask::NameMissing),
        3 => (any::<bool>(), prop::collection::vec(wanted, 1..3)).prop_map(|(not, wanted)| Ask::Type { not, wanted }),
        1 => any::<bool>().prop_map(Ask::TypeMissing),
        1 => any::<bool>().prop_map(Ask::Active),
        3 => (prop::sample::select(PREFIXES), 0u32..8).prop_map(|(prefix, day)| Ask::Period(prefix, day)),
    ]
}

fn date(day: u32) -> String {
    format!("2020-03-{:02}", day + 10)
}

impl Model {
    fn json(&self, id: &str, tag: &str) -> Value {
        let mut json = json!({"resourceType": "Organization", "id": id, "meta": {"tag": [{"system": "http://case.example", "code": tag}]}});
        if let Some((first, rest)) = self.names.split_first() {
            json["name"] = json!(first);
            if !rest.is_empty() {
                json["alias"] = json!(rest);
            }
        }
        if !self.codes.is_empty() {
            let coding = |(system, code): &(&str, &str)| {
                if system.is_empty() { json!({"code": code}) } else { json!({"system": system, "code": code}) }
            };
            json["type"] = json!([{"coding": self.codes.iter().map(coding).collect::<Vec<_>>()}]);
        }
        if let Some(active) = self.active {
            json["active"] = json!(active);
        }
        if let Some((start, end)) = self.period {
            let mut period = json!({});
            for (name, day) in [("start", start), ("end", end)] {
                if let Some(day) = day {
                    period[name] = json!(date(day));
                }
            }
            json["extension"] =
                json!([{"url": "http://hl7.org/fhir/StructureDefinition/organization-period", "valuePeriod": period}]);
        }
        json
    }

    fn meets(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Name(modifier, wanted) => self.names.iter().any(|name| {
                wanted.iter().any(|part| match *modifier {
                    ":exact" => name == part,
                    ":contains" => plain(name).contains(&plain(part)),
                    _ => plain(name).starts_with(&plain(part)),
                })
            }),
            Ask::NameMissing(missing) => self.names.is_empty() == *missing,
            Ask::Type { not, wanted } => {
                let has = self.codes.iter().any(|(system, code)| {
                    wanted.iter().any(|(in_system, as_code)| {
                        in_system.is_none_or(|wanted| wanted == *system)
                            && as_code.is_none_or(|wanted| wanted.eq_ignore_ascii_case(code))
                    })
                });
                has != *not
            }
            Ask::TypeMissing(missing) => self.codes.is_empty() == *missing,
            Ask::Active(wanted) => self.active == Some(*wanted),
            Ask::Period(prefix, day) => {
                let Some((start, end)) = self.period else { return false };
                // Whole days, so that a range is from its first day to the one after its last.
                let (low, high) = (start.map_or(i64::MIN, i64::from), end.map_or(i64::MAX, |day| i64::from(day) + 1));
                let (from, to) = (i64::from(*day), i64::from(*day) + 1);
                let holds = from <= low && high <= to;
                match *prefix {
                    "ne" => !holds,
                    "gt" => high > to,
                    "lt" => low < from,
                    "ge" => high > to || holds || high > from,
                    "le" => low < from || holds || low < to,
                    "sa" => low >= to,
                    "eb" => high <= from,
                    _ => holds,
                }
            }
        }
    }
}

impl Ask {
    fn pair(&self) -> (String, String) {
        let escape = |text: &str| text.replace(',', "\\,");
        match self {
            Self::Name(modifier, wanted) => {
                (format!("name{modifier}"), wanted.iter().map(|part| escape(part)).collect::<Vec<_>>().join(","))
            }
            Self::NameMissing(missing) => ("name:missing".into(), missing.to_string()),
            Self::Type { not, wanted } => {
                let token = |(system, code): &(Option<&str>, Option<&str>)| match (system, code) {
                    (Some(system), code) => format!("{system}|{}", code.unwrap_or_default()),
                    (None, code) => code.unwrap_or_default().to_owned(),
                };
                (
                    if *not { "type:not".into() } else { "type".into() },
                    wanted.iter().map(token).collect::<Vec<_>>().join(","),
                )
            }
            Self::TypeMissing(missing) => ("type:missing".into(), missing.to_string()),
            Self::Active(wanted) => ("active".into(), wanted.to_string()),
            Self::Period(prefix, day) => ("period".into(), format!("{prefix}{}", date(*day))),
        }
    }
}

/// Without case, the marks of this alphabet, apostrophes and full stops; other punctuation is a space.
fn plain(text: &str) -> String {
    let text: String = text.to_lowercase().replace('á', "a").replace(['\'', '.'], "").replace(['-', ','], " ");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_server_finds_what_a_naive_reading_of_the_rules_finds() {
    let server = Server::sqlite(&crate::search::UNHELD);
    let strategy =
        (prop::collection::vec(model(), 1..12), prop::collection::vec(prop::collection::vec(ask(), 1..4), 12));
    let config = Config { cases: 40, failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::default()));
    let case = std::cell::Cell::new(0);
    let outcome = runner.run(&strategy, |(models, queries)| {
        case.set(case.get() + 1);
        let tag = format!("case-{}", case.get());
        let resources: Vec<Value> =
            models.iter().enumerate().map(|(n, model)| model.json(&format!("{tag}-{n}"), &tag)).collect();
        load(&server, &resources);
        for asks in &queries {
            let mut pairs: Vec<(String, String)> = asks.iter().map(Ask::pair).collect();
            pairs.push(("_tag".into(), tag.clone()));
            let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&pairs).finish();
            let found = server.ids(&format!("Organization?{query}&_sort=_lastUpdated&_count=5"));
            let expected: Vec<String> = models
                .iter()
                .enumerate()
                .filter(|(_, model)| asks.iter().all(|ask| model.meets(ask)))
                .map(|(n, _)| format!("{tag}-{n}"))
                .collect();
            let mut sorted = found.clone();
            sorted.sort_by_key(|id| id.rsplit('-').next().and_then(|n| n.parse::<usize>().ok()));
            prop_assert_eq!(sorted, expected, "{:?}", pairs);
        }
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
}
