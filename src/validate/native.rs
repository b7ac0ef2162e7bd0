//! Invariants that are evaluated in Rust: those that are asked for so often that it pays, and those that need more than
//! FHIRPath over JSON can tell. A test compares the former with their expressions.

use std::cmp::Ordering;

use serde_json::Value;

use crate::fhir::path::{Decimal, compare_times};

/// The function that says the same as an expression, if there is one.
pub(super) fn of(expression: &str) -> Option<fn(&Value) -> bool> {
    FORMS.iter().find(|(text, _)| *text == expression).map(|(_, form)| *form)
}

type Form = fn(&Value) -> bool;

const FORMS: &[(&str, Form)] = &[
    ("start.hasValue().not() or end.hasValue().not() or (start <= end)", per_1),
    ("low.empty() or high.empty() or (low <= high)", rng_2),
];

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
