//! Invariants that FHIRPath over JSON cannot tell, or not in reasonable time.

use std::cmp::Ordering;
use std::collections::HashSet;

use serde_json::Value;

use crate::fhir::path::{Decimal, compare_times};

/// The function that stands for an expression, if there is one.
pub(super) fn of(expression: &str) -> Option<fn(&Value) -> bool> {
    FORMS.iter().find(|(text, _)| *text == expression).map(|(_, form)| *form)
}

type Form = fn(&Value) -> bool;

const DOM_3: &str = "contained.where((('#'+id in (%resource.descendants().reference | %resource.descendants().as(canonical) | %resource.descendants().as(uri) | %resource.descendants().as(url))) or descendants().where(reference = '#').exists() or descendants().where(as(canonical) = '#').exists() or descendants().where(as(canonical) = '#').exists()).not()).trace('unmatched', id).empty()";

const BDL_3: &str = "entry.all(request.exists() = (%resource.type = 'batch' or %resource.type = 'transaction' or %resource.type = 'history'))";
const BDL_4: &str = "entry.all(response.exists() = (%resource.type = 'batch-response' or %resource.type = 'transaction-response' or %resource.type = 'history'))";
const BDL_7: &str =
    "(type = 'history') or entry.where(fullUrl.exists()).select(fullUrl&resource.meta.versionId).isDistinct()";

const FORMS: &[(&str, Form)] = &[
    ("start.hasValue().not() or end.hasValue().not() or (start <= end)", per_1),
    (DOM_3, dom_3),
    (BDL_3, |bundle| is_in_all_entries(bundle, "request", &["batch", "transaction", "history"])),
    (BDL_4, |bundle| is_in_all_entries(bundle, "response", &["batch-response", "transaction-response", "history"])),
    (BDL_7, bdl_7),
    ("low.empty() or high.empty() or (low <= high)", rng_2),
];

/// An element is in each entry of a Bundle of these types, and in none of any other. Bundles are too large for an
/// expression over all their entries.
fn is_in_all_entries(bundle: &Value, name: &str, types: &[&str]) -> bool {
    let expected = bundle.get("type").and_then(Value::as_str).is_some_and(|kind| types.contains(&kind));
    entries(bundle).all(|entry| entry.get(name).is_some() == expected)
}

/// No two entries have the same fullUrl and version, except in a history.
fn bdl_7(bundle: &Value) -> bool {
    let mut seen = HashSet::new();
    let version = |entry: &'_ Value| entry.get("resource")?.get("meta")?.get("versionId")?.as_str().map(str::to_owned);
    bundle.get("type").and_then(Value::as_str) == Some("history")
        || entries(bundle)
            .filter_map(|entry| Some((entry.get("fullUrl")?.as_str()?, version(entry))))
            .all(|entry| seen.insert(entry))
}

fn entries(bundle: &Value) -> impl Iterator<Item = &Value> {
    bundle.get("entry").and_then(Value::as_array).into_iter().flatten()
}

/// Each contained resource is referred to from the resource it is in, or refers to it. The expression walks through the
/// whole resource for each of them; here it is walked through once. A text that begins with # counts as a reference.
fn dom_3(resource: &Value) -> bool {
    let Some(contained) = resource.get("contained").and_then(Value::as_array) else { return true };
    let mut referred = HashSet::new();
    references(resource, &mut referred);
    contained.iter().all(|resource| {
        let is_referred_to = resource.get("id").and_then(Value::as_str).is_some_and(|id| referred.contains(id));
        is_referred_to || {
            let mut own = HashSet::new();
            references(resource, &mut own);
            own.contains("")
        }
    })
}

/// What follows the # in all texts that begin with one. The depth of JSON is bounded when it is parsed.
fn references<'v>(value: &'v Value, found: &mut HashSet<&'v str>) {
    match value {
        Value::String(text) => found.extend(text.strip_prefix('#')),
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(object) => object.values().for_each(|member| references(member, found)),
        _ => {}
    }
}

/// A period does not end before it starts. Where the precision of the two leaves that open, as for 2021 and 2021-06, it is
/// not wrong (as R5 has it, where the expression compares the boundaries).
fn per_1(period: &Value) -> bool {
    let (Some(start), Some(end)) = (period.get("start"), period.get("end")) else { return true };
    // A date and time of another precision or offset cannot be compared as text.
    match (start.as_str(), end.as_str()) {
        (Some(start), Some(end)) if start.len() == 10 && end.len() == 10 => start <= end,
        (Some(start), Some(end)) => compare_times(start, end) != Some(Ordering::Greater),
        _ => true,
    }
}

/// The low end of a range is not above its high end, as far as they are of one unit.
fn rng_2(range: &Value) -> bool {
    let (Some(low), Some(high)) = (range.get("low"), range.get("high")) else { return true };
    let unit = |end: &Value| ["system", "code", "unit"].map(|name| end.get(name).cloned());
    let value = |end: &Value| Decimal::parse(&end.get("value")?.to_string());
    match (value(low), value(high)) {
        (Some(a), Some(b)) if unit(low) == unit(high) => a <= b,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_period_is_wrong_only_when_that_is_certain() {
        let check = |start: &str, end: &str, expected| {
            assert_eq!(per_1(&json!({"start": start, "end": end})), expected, "{start} to {end}");
        };
        check("2020-01-01", "2020-01-01", true);
        check("2020-01-02", "2020-01-01", false);
        check("2021", "2021-06", true);
        check("2021-06", "2021", true);
        check("2021-06", "2020", false);
        check("2020-01-01T10:00:00+02:00", "2020-01-01T09:00:00Z", true);
        check("2020-01-01T10:00:00-02:00", "2020-01-01T09:00:00Z", false);
        check("nonsense", "2020", true);
        assert!(per_1(&json!({"start": "2020"})));
    }

    #[test]
    fn a_contained_resource_is_tied_to_what_contains_it() {
        let check = |contained: serde_json::Value, expected| {
            let resource = json!({"contained": [contained], "endpoint": [{"reference": "#a"}]});
            assert_eq!(dom_3(&resource), expected, "{resource}");
        };
        check(json!({"id": "a"}), true);
        check(json!({"id": "b"}), false);
        check(json!({}), false);
        check(json!({"id": "b", "managingOrganization": {"reference": "#"}}), true);
    }

    #[test]
    fn a_range_is_compared_within_one_unit() {
        let check = |low: &str, high: &str, unit: &str, expected| {
            let end = |value: &str, unit: &str| json!({"value": value.parse::<serde_json::Number>().expect("a number"), "unit": unit});
            assert_eq!(
                rng_2(&json!({"low": end(low, "km"), "high": end(high, unit)})),
                expected,
                "{low} to {high} {unit}"
            );
        };
        check("1", "2.5", "km", true);
        check("3", "2.50", "km", false);
        check("3", "2", "m", true);
    }
}
