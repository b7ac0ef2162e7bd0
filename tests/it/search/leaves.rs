//! Every filter that can be asked of one resource, for every parameter of a type: each form of each test, with values that
//! the directory has and some that it has not.

use std::collections::BTreeSet;
use std::fmt::Debug;

use plumbline::fhir::types::ResourceType;
use plumbline::search::date::DateRange;
use plumbline::search::geo::Position;
use plumbline::search::param::{ParamId, ParamKind, SearchParam, registry};
use plumbline::search::query::{
    DateMatch, Filter, NearMatch, Prefix, QuantityMatch, ReferenceMatch, StringMatch, Test, TokenMatch, UriMatch,
};
use plumbline::search::value::{IndexEntries, SystemHash, Target};

use super::world::World;

const PREFIXES: [Prefix; 9] =
    [Prefix::Eq, Prefix::Ne, Prefix::Gt, Prefix::Lt, Prefix::Ge, Prefix::Le, Prefix::Sa, Prefix::Eb, Prefix::Ap];
const HOUR: i64 = 3_600_000_000;
/// Values of one parameter that are asked for.
const VALUES: usize = 3;

pub struct Leaf {
    pub param: &'static SearchParam,
    /// How it asks, in words: the kind of test, its modifier or prefix.
    pub form: String,
    pub filter: Filter,
}

/// The filters of every parameter of the type.
pub fn leaves(world: &World, resource_type: ResourceType) -> Vec<Leaf> {
    registry().of_type(resource_type).flat_map(|param| of_param(world, param)).collect()
}

fn of_param(world: &World, param: &'static SearchParam) -> Vec<Leaf> {
    let base = param.base;
    let leaf = |form: &str, filter: Filter| Leaf { param, form: form.to_owned(), filter };
    match param.code.as_str() {
        "_id" => {
            let ids: Vec<String> = world.of_type(base).map(|stored| stored.name.id.clone()).collect();
            let some = sample(ids);
            let mut leaves: Vec<Leaf> =
                some.iter().map(|id| leaf("id", Filter::Id { base, ids: vec![id.clone()] })).collect();
            leaves.push(leaf("ids", Filter::Id { base, ids: some.into_iter().chain(["nobody".into()]).collect() }));
            leaves.push(leaf("nothing", Filter::Nothing));
            leaves
        }
        "_lastUpdated" => {
            let at = sample(world.of_type(base).map(|stored| stored.last_updated.0));
            let ranges: Vec<(i64, i64)> = at.into_iter().map(|at| (at, at + 1000)).collect();
            let asked =
                |(form, date): (String, DateMatch)| leaf(&form, Filter::LastUpdated { base, ranges: vec![date] });
            let mut leaves: Vec<Leaf> = dates("updated", &ranges).into_iter().map(asked).collect();
            leaves.push(leaf("updated ever", Filter::LastUpdated { base, ranges: Vec::new() }));
            leaves
        }
        _ => {
            let tests = Entries::of(world, param).tests();
            let mut leaves = vec![
                leaf("missing", Filter::Missing { param, missing: true }),
                leaf("present", Filter::Missing { param, missing: false }),
            ];
            for (form, test) in tests {
                leaves.push(leaf(&format!("not {form}"), Filter::Not { param, test: test.clone() }));
                leaves.push(leaf(&form, Filter::Value { param, test }));
            }
            leaves
        }
    }
}

/// Some of the values, spread over all of them.
fn sample<T: Ord + Clone>(values: impl IntoIterator<Item = T>) -> Vec<T> {
    let distinct: Vec<T> = values.into_iter().collect::<BTreeSet<T>>().into_iter().collect();
    let step = distinct.len().div_ceil(VALUES).max(1);
    distinct.into_iter().step_by(step).collect()
}

type Tests = Vec<(String, Test)>;

/// All that the resources of a type offer for one parameter.
struct Entries {
    param: &'static SearchParam,
    all: IndexEntries,
}

impl Entries {
    fn of(world: &World, param: &'static SearchParam) -> Self {
        let mut all = IndexEntries::default();
        for stored in world.of_type(param.base) {
            let entries = stored.entries.clone();
            all.tokens.extend(entries.tokens);
            all.strings.extend(entries.strings);
            all.dates.extend(entries.dates);
            all.references.extend(entries.references);
            all.uris.extend(entries.uris);
            all.positions.extend(entries.positions);
            all.quantities.extend(entries.quantities);
            all.composites.extend(entries.composites);
        }
        Self { param, all }
    }

    fn tests(&self) -> Tests {
        match self.param.kind {
            ParamKind::Token => {
                let mut tests = tokens("token", &self.tokens(self.param.id), Test::Token);
                tests.extend(tokens("of-type", &self.tokens(self.param.of_type_id), Test::OfType));
                tests.extend(self.texts());
                tests
            }
            ParamKind::String => self.strings(),
            ParamKind::Date => {
                let dates_of = self.all.dates.iter().filter(|entry| entry.param == self.param.id);
                let ranges = sample(dates_of.map(|entry| (entry.lo, entry.hi)));
                dates("date", &ranges).into_iter().map(|(form, date)| (form, Test::Date(vec![date]))).collect()
            }
            ParamKind::Reference => self.references(),
            ParamKind::Uri => self.uris(),
            ParamKind::Number | ParamKind::Quantity => self.quantities(),
            ParamKind::Special => self.near(),
            ParamKind::Composite => self.composites(),
        }
    }

    fn tokens(&self, id: ParamId) -> Vec<(String, SystemHash)> {
        let of = self.all.tokens.iter().filter(|entry| entry.param == id);
        sample(of.map(|entry| (entry.code.clone(), entry.system)))
    }

    fn texts(&self) -> Tests {
        let of = self.all.strings.iter().filter(|entry| entry.param == self.param.text_id);
        let mut tests = Tests::new();
        for text in sample(of.map(|entry| entry.folded.clone())) {
            let test = |part: String| Test::Text(vec![part, "zzz".into()]);
            tests.push(("text beginning".into(), test(text.chars().take(3).collect())));
            tests.push(("text whole".into(), test(text.clone())));
            tests.push(("text other".into(), test(format!("{text}x"))));
        }
        tests
    }

    fn strings(&self) -> Tests {
        let of = self.all.strings.iter().filter(|entry| entry.param == self.param.id);
        let mut tests = Tests::new();
        for (folded, exact) in sample(of.map(|entry| (entry.folded.clone(), entry.exact.clone()))) {
            let part = |from, chars| folded.chars().skip(from).take(chars).collect::<String>();
            let exact = if exact.is_empty() { folded.clone() } else { exact };
            for (form, wanted) in [
                ("starts", StringMatch::Starts(part(0, 1))),
                ("starts", StringMatch::Starts(part(0, 3))),
                ("starts whole", StringMatch::Starts(folded.clone())),
                ("starts other", StringMatch::Starts(format!("{folded}x"))),
                ("contains", StringMatch::Contains(part(1, 2))),
                ("contains", StringMatch::Contains(part(folded.chars().count().saturating_sub(2), 2))),
                ("exact", StringMatch::Exact(folded.clone(), exact)),
                ("exact folded", StringMatch::Exact(folded.clone(), folded.clone())),
                ("exact other", StringMatch::Exact(folded.clone(), folded.to_uppercase())),
            ] {
                tests.push((form.into(), Test::String(vec![wanted.clone()])));
                tests.push((form.into(), Test::String(vec![wanted, StringMatch::Starts("b".into())])));
            }
        }
        tests
    }

    fn references(&self) -> Tests {
        let of = self.all.references.iter().filter(|entry| entry.param == self.param.id);
        let here: Vec<Target> = sample(of.map(|entry| entry.target.clone()));
        let of = self.all.uris.iter().filter(|entry| entry.param == self.param.id);
        let elsewhere: Vec<String> = sample(of.map(|entry| entry.value.clone()));
        let mut tests = tokens("identifier", &self.tokens(self.param.identifier_id), Test::Identifier);
        let mut push = |form: &str, wanted: Vec<ReferenceMatch>| tests.push((form.into(), Test::Reference(wanted)));
        let local = |target: &Target| ReferenceMatch::Local(target.clone());
        let absent = Target { resource_type: self.param.target_types()[0], id: "nobody".into() };
        for target in &here {
            push("local", vec![local(target)]);
            push("local two", vec![local(target), local(&here[0]), local(&absent)]);
        }
        for url in &elsewhere {
            push("elsewhere", vec![ReferenceMatch::Elsewhere(url.clone())]);
            let mut both: Vec<ReferenceMatch> = here.iter().map(local).collect();
            both.push(ReferenceMatch::Elsewhere(url.clone()));
            push("local and elsewhere", both);
        }
        push("local other", vec![local(&absent)]);
        push("elsewhere other", vec![ReferenceMatch::Elsewhere("http://nobody.example".into())]);
        tests
    }

    fn uris(&self) -> Tests {
        let of = self.all.uris.iter().filter(|entry| entry.param == self.param.id);
        let mut tests = Tests::new();
        for uri in sample(of.map(|entry| entry.value.clone())) {
            let parent = uri.rsplit_once('/').map_or("http://nobody.example", |(parent, _)| parent);
            for (form, wanted) in [
                ("uri", UriMatch::Exact(uri.clone())),
                ("uri other", UriMatch::Exact(parent.to_owned())),
                ("below", UriMatch::Below(uri.clone())),
                ("below parent", UriMatch::Below(parent.to_owned())),
                ("below parent", UriMatch::Below(format!("{parent}/"))),
                ("below other", UriMatch::Below(uri.chars().take(uri.chars().count() - 1).collect())),
                ("above", UriMatch::Above(vec![parent.to_owned(), uri.clone(), format!("{uri}/x")])),
            ] {
                tests.push((form.into(), Test::Uri(vec![wanted])));
            }
        }
        tests
    }

    fn near(&self) -> Tests {
        let of = self.all.positions.iter().filter(|entry| entry.param == self.param.id);
        let all: Vec<Position> = of
            .map(|entry| {
                let [x, y, z] = entry.vector;
                Position::new(z.asin().to_degrees(), y.atan2(x).to_degrees()).expect("on the globe")
            })
            .collect();
        let mut tests = Tests::new();
        for position in all.iter().step_by(all.len().div_ceil(VALUES).max(1)) {
            let other = all[all.len() / 2].distance_m(*position);
            for distance_m in [0.0, 1.0, 5_000.0, 100_000.0, 2e6, 2.1e7, 1e300, other, other + 1.0] {
                let near = NearMatch { position: *position, distance_m };
                tests.push(("near".into(), Test::Near(vec![near])));
                let pole = Position { latitude: 90.0, longitude: 0.0 };
                tests.push(("near either".into(), Test::Near(vec![near, NearMatch { position: pole, distance_m }])));
            }
        }
        tests
    }

    fn quantities(&self) -> Tests {
        let of = self.all.quantities.iter().filter(|entry| entry.param == self.param.id);
        let mut seen: Vec<_> = of.map(|entry| (entry.value, entry.system, entry.code.clone())).collect();
        seen.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut tests = Tests::new();
        for (value, system, code) in seen {
            for (exact, half_width) in [(value, 0.5), (value, 0.005), (value + 0.5, 0.5), (value - 0.5, 0.5)] {
                for (unit, system, code) in [
                    ("", None, None),
                    (" code", None, Some(code.clone())),
                    (" system|code", Some(system), Some(code.clone())),
                    (" other", Some(system), Some("x".to_owned())),
                ] {
                    tests.extend(PREFIXES.map(|prefix| {
                        let half_width = if prefix == Prefix::Ap { exact.abs() / 10.0 } else { half_width };
                        let (lo, hi) = (exact - half_width, exact + half_width);
                        let wanted = QuantityMatch { prefix, exact, lo, hi, system, code: code.clone() };
                        (format!("quantity{unit} {prefix:?}"), Test::Quantity(vec![wanted]))
                    }));
                }
            }
        }
        tests
    }

    fn composites(&self) -> Tests {
        let of = self.all.composites.iter().filter(|entry| entry.param == self.param.id);
        let mut tests = Tests::new();
        for (code, system, lo, hi) in sample(of.map(|entry| (entry.code.clone(), entry.system, entry.lo, entry.hi))) {
            for (unit, token) in [
                ("code", TokenMatch { system: None, code: Some(code.clone()) }),
                ("system|code", TokenMatch { system: Some(system), code: Some(code.clone()) }),
                ("other", TokenMatch { system: Some(system), code: Some("x".into()) }),
            ] {
                for (form, date) in dates(&format!("composite {unit}"), &[(lo, hi)]) {
                    tests.push((form, Test::Composite(vec![(token.clone(), date)])));
                }
            }
        }
        tests
    }
}

fn tokens(form: &str, values: &[(String, SystemHash)], test: fn(Vec<TokenMatch>) -> Test) -> Tests {
    let wanted = |system: Option<SystemHash>, code: Option<&str>| TokenMatch { system, code: code.map(str::to_owned) };
    let mut tests = Tests::new();
    let mut push = |ask: &str, wanted: Vec<TokenMatch>| tests.push((format!("{form} {ask}"), test(wanted)));
    for (code, system) in values {
        push("code", vec![wanted(None, Some(code))]);
        push("system|code", vec![wanted(Some(*system), Some(code))]);
        // An identifier of a type always has one.
        if form != "of-type" {
            push("|code", vec![wanted(Some(0), Some(code))]);
        }
        push("system|", vec![wanted(Some(*system), None)]);
        push("other|code", vec![wanted(Some(system ^ 2), Some(code))]);
        push("other", vec![wanted(None, Some(&format!("{code}x")))]);
        push(
            "several",
            vec![wanted(Some(*system), Some(code)), wanted(None, Some(&values[0].0)), wanted(Some(2), None)],
        );
    }
    // A value set without codes; the second names nothing.
    push("none", Vec::new());
    push("none", vec![wanted(None, None)]);
    tests
}

/// Ranges round those of the values, with every prefix.
fn dates(form: &str, ranges: &[(i64, i64)]) -> Vec<(String, DateMatch)> {
    let mut dates = Vec::new();
    for &(lo, hi) in ranges {
        let (before, after) = (lo.saturating_sub(HOUR), hi.saturating_add(HOUR));
        for (from, to) in [(lo, hi), (lo, lo.saturating_add(1)), (before, hi), (lo, after), (before, lo), (hi, after)] {
            let range = DateRange { lo: from, hi: to };
            dates.extend(PREFIXES.map(|prefix| (format!("{form} {prefix:?}"), DateMatch { prefix, range })));
        }
    }
    dates
}

impl Debug for Leaf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{} {}: {:?}", self.param.base, self.param.code, self.form, Asked(&self.filter))
    }
}

/// A filter in short: parameters by their codes.
pub struct Asked<'f>(pub &'f Filter);

impl Debug for Asked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |param: &SearchParam| format!("{}.{}", param.base, param.code);
        match self.0 {
            Filter::Value { param, test } => write!(f, "{} {test:?}", name(param)),
            Filter::Not { param, test } => write!(f, "{} not {test:?}", name(param)),
            Filter::Missing { param, missing } => write!(f, "{} missing {missing}", name(param)),
            Filter::Chain { param, target, inner } => write!(f, "{} -> {target} ({:?})", name(param), Asked(inner)),
            Filter::Has { param, inner } => write!(f, "<- {} ({:?})", name(param), Asked(inner)),
            Filter::Any(alternatives) => f
                .debug_list()
                .entries(alternatives.iter().map(|alternative| alternative.iter().map(Asked).collect::<Vec<_>>()))
                .finish(),
            other => write!(f, "{other:?}"),
        }
    }
}
