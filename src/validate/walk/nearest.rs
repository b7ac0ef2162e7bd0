//! The known names nearest to one that is not known, to say what may have been meant.

use crate::fhir::definitions::Node;

/// A name longer than this is no slip of the pen, and not worth the time to compare.
const LONGEST: usize = 48;

/// The most names that are suggested, all of them equally near.
const MOST: usize = 3;

/// `; did you mean 'name'?`, or nothing if no property of the node is near.
pub(super) fn suggestion(unknown: &str, node: &Node) -> String {
    let names = nearest(unknown, node).join("', '");
    if names.is_empty() { names } else { format!("; did you mean '{names}'?") }
}

fn nearest<'a>(unknown: &str, node: &'a Node) -> Vec<&'a str> {
    let unknown = unknown.trim_start_matches('_');
    if unknown.is_empty() || unknown.len() > LONGEST {
        return Vec::new();
    }
    let near: Vec<_> = node
        .properties()
        .iter()
        .filter_map(|property| Some((remoteness(unknown, &property.name)?, &*property.name)))
        .collect();
    let least = near.iter().map(|(remoteness, _)| *remoteness).min();
    near.into_iter().filter(|(remoteness, _)| Some(*remoteness) == least).map(|(_, name)| name).take(MOST).collect()
}

/// How far a name is off, or None if it is no likely slip. The start of a name is as good as one letter off: that finds
/// `valueCode` for `value`.
fn remoteness(unknown: &str, known: &str) -> Option<usize> {
    if unknown.len() >= 3 && (known.starts_with(unknown) || unknown.starts_with(known)) {
        return Some(1);
    }
    let distance = edit_distance(unknown.as_bytes(), known.as_bytes());
    (distance <= 1 + known.len() / 4).then_some(distance)
}

/// The Levenshtein distance with letters of either case held equal, one row of the matrix at a time.
fn edit_distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        let (first, rest) = match row.split_first_mut() {
            Some(parts) => parts,
            None => return a.len(),
        };
        *first = left;
        for (cell, y) in rest.iter_mut().zip(b) {
            let substituted = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = *cell;
            left = substituted.min(*cell + 1).min(left + 1);
            *cell = left;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fhir::definitions::definitions;

    #[test]
    fn the_nearest_names_are_suggested() {
        let check = |type_name: &str, unknown, expected: &[&str]| {
            let names = definitions().type_named(type_name).map(|node| nearest(unknown, node));
            assert_eq!(names.as_deref(), Some(expected), "{unknown}");
        };
        check("Practitioner", "nmae", &["name"]);
        check("Practitioner", "Name", &["name"]);
        check("Practitioner", "birthdate", &["birthDate"]);
        check("Practitioner", "_birthdate", &["birthDate"]);
        check("Practitioner", "qualifications", &["qualification"]);
        check("Practitioner", "specialty", &[]);
        check("Practitioner", "", &[]);
        check("Extension", "valueSting", &["valueString"]);
        check("Extension", "value", &["valueId", "valueAge", "valueOid"]);
    }
}
