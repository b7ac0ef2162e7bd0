//! What a value in an index row is compared with, as SQL conditions on that row.

use std::collections::BTreeMap;

use crate::search::date::DateRange;
use crate::search::geo::chord_squared;
use crate::search::query::{DateMatch, NearMatch, Prefix, QuantityMatch, StringMatch, Test, TokenMatch, UriMatch};

use super::sql::Sql;

/// Later than every string that begins with the text before it.
const LAST_CHAR: char = '\u{10FFFF}';

/// Any of the values of a test holds for the row `t`.
pub(super) fn condition(sql: &mut Sql, t: &str, test: &Test) {
    match test {
        Test::Token(tokens) | Test::OfType(tokens) | Test::Identifier(tokens) => token_condition(sql, t, tokens),
        Test::Text(texts) => any(sql, texts, &mut |sql, text| starts(sql, t, text)),
        Test::String(strings) => any(sql, strings, &mut |sql, string| string_condition(sql, t, string)),
        Test::Date(dates) => any(sql, dates, &mut |sql, date| date_condition(sql, t, *date)),
        Test::Uri(uris) => any(sql, uris, &mut |sql, uri| uri_condition(sql, t, uri)),
        Test::Quantity(quantities) => any(sql, quantities, &mut |sql, quantity| quantity_condition(sql, t, quantity)),
        Test::Composite(pairs) => any(sql, pairs, &mut |sql, (token, date)| {
            sql.text("(");
            token_condition(sql, t, std::slice::from_ref(token));
            sql.text(" AND ");
            date_condition(sql, t, *date);
            sql.text(")");
        }),
        // These two have their own statements.
        Test::Reference(_) | Test::Near(_) => {
            sql.text("1 = 0");
        }
    }
}

/// In parentheses by halves: a database counts how deep an expression is, and a chain of ORs is as deep as it is long.
pub(super) fn any<T>(sql: &mut Sql, items: &[T], one: &mut dyn FnMut(&mut Sql, &T)) {
    match items {
        [] => {}
        [item] => one(sql, item),
        _ => {
            let (left, right) = items.split_at(items.len() / 2);
            sql.text("(");
            any(sql, left, one);
            sql.text(" OR ");
            any(sql, right, one);
            sql.text(")");
        }
    }
}

/// Codes that share a system are one list, so that a whole value set is one bind.
fn token_condition(sql: &mut Sql, t: &str, tokens: &[TokenMatch]) {
    let mut by_system: BTreeMap<Option<i64>, Vec<String>> = BTreeMap::new();
    let mut whole_systems = Vec::new();
    for token in tokens {
        match (&token.code, token.system) {
            (Some(code), system) => by_system.entry(system).or_default().push(code.clone()),
            (None, Some(system)) => whole_systems.push(system),
            (None, None) => {}
        }
    }
    if by_system.is_empty() && whole_systems.is_empty() {
        sql.text("1 = 0");
    }
    let mut or = "";
    for (system, mut codes) in by_system {
        sql.text(or).made(format!("({t}.code"));
        if codes.len() == 1 {
            sql.text(" = ").str(codes.pop().unwrap_or_default());
        } else {
            sql.in_texts(codes);
        }
        if let Some(system) = system {
            sql.made(format!(" AND {t}.system = ")).i64(system);
        }
        sql.text(")");
        or = " OR ";
    }
    for system in whole_systems {
        sql.text(or).made(format!("{t}.system = ")).i64(system);
        or = " OR ";
    }
}

fn starts(sql: &mut Sql, t: &str, text: &str) {
    sql.made(format!("({t}.value >= "))
        .str(text)
        .made(format!(" AND {t}.value < "))
        .str(format!("{text}{LAST_CHAR}"))
        .text(")");
}

fn string_condition(sql: &mut Sql, t: &str, string: &StringMatch) {
    match string {
        StringMatch::Starts(text) => starts(sql, t, text),
        StringMatch::Contains(text) => {
            let position_of = sql.dialect.position_of();
            sql.made(format!("{position_of}({t}.value, ")).str(text.as_str()).text(") > 0");
        }
        StringMatch::Exact(folded, exact) => {
            let exact = if exact == folded { "" } else { exact };
            sql.made(format!("({t}.value = "))
                .str(folded.as_str())
                .made(format!(" AND {t}.exact = "))
                .str(exact)
                .text(")");
        }
    }
}

fn uri_condition(sql: &mut Sql, t: &str, uri: &UriMatch) {
    match uri {
        UriMatch::Exact(uri) => {
            sql.made(format!("{t}.value = ")).str(uri.as_str());
        }
        UriMatch::Below(uri) => {
            let under = uri.trim_end_matches('/');
            sql.made(format!("({t}.value = "))
                .str(uri.as_str())
                .made(format!(" OR ({t}.value >= "))
                .str(format!("{under}/"));
            // '0' follows '/'.
            sql.made(format!(" AND {t}.value < ")).str(format!("{under}0")).text("))");
        }
        UriMatch::Above(uris) => {
            sql.made(format!("{t}.value")).in_texts(uris.clone());
        }
    }
}

/// The table of REQUIREMENTS in SQL: S is the range asked for, V the range of the value (R4 search.html#prefix).
fn date_condition(sql: &mut Sql, t: &str, date: DateMatch) {
    range_condition(sql, date, &format!("{t}.lo"), &format!("{t}.hi"));
}

fn range_condition(sql: &mut Sql, date: DateMatch, lo: &str, hi: &str) {
    let DateRange { lo: s_lo, hi: s_hi } = date.range;
    match date.prefix {
        Prefix::Eq => sql.made(format!("({lo} >= ")).i64(s_lo).made(format!(" AND {hi} <= ")).i64(s_hi).text(")"),
        Prefix::Ne => sql.made(format!("({lo} < ")).i64(s_lo).made(format!(" OR {hi} > ")).i64(s_hi).text(")"),
        Prefix::Gt => sql.made(format!("{hi} > ")).i64(s_hi),
        Prefix::Lt => sql.made(format!("{lo} < ")).i64(s_lo),
        Prefix::Ge => sql.made(format!("{hi} > ")).i64(s_lo),
        Prefix::Le => sql.made(format!("{lo} < ")).i64(s_hi),
        Prefix::Sa => sql.made(format!("{lo} >= ")).i64(s_hi),
        Prefix::Eb => sql.made(format!("{hi} <= ")).i64(s_lo),
        Prefix::Ap => sql.made(format!("({lo} < ")).i64(s_hi).made(format!(" AND {hi} > ")).i64(s_lo).text(")"),
    };
}

/// `_lastUpdated` is an instant of one millisecond: from `last_updated` to the next one.
pub(super) fn last_updated(sql: &mut Sql, t: &str, ranges: &[DateMatch]) {
    if ranges.is_empty() {
        return;
    }
    sql.text(" AND (");
    any(sql, ranges, &mut |sql, range| {
        range_condition(sql, *range, &format!("{t}.last_updated"), &format!("({t}.last_updated + 1000)"));
    });
    sql.text(")");
}

fn quantity_condition(sql: &mut Sql, t: &str, quantity: &QuantityMatch) {
    let QuantityMatch { prefix, exact, lo, hi, .. } = *quantity;
    sql.text("(");
    match prefix {
        Prefix::Eq | Prefix::Ap => {
            sql.made(format!("({t}.value >= ")).f64(lo).made(format!(" AND {t}.value < ")).f64(hi).text(")")
        }
        Prefix::Ne => sql.made(format!("({t}.value < ")).f64(lo).made(format!(" OR {t}.value >= ")).f64(hi).text(")"),
        Prefix::Gt | Prefix::Sa => sql.made(format!("{t}.value > ")).f64(exact),
        Prefix::Lt | Prefix::Eb => sql.made(format!("{t}.value < ")).f64(exact),
        Prefix::Ge => sql.made(format!("{t}.value >= ")).f64(exact),
        Prefix::Le => sql.made(format!("{t}.value <= ")).f64(exact),
    };
    if let Some(system) = quantity.system {
        sql.made(format!(" AND {t}.system = ")).i64(system);
    }
    if let Some(code) = &quantity.code {
        sql.made(format!(" AND {t}.code = ")).str(code.as_str());
    }
    sql.text(")");
}

pub(super) fn within(sql: &mut Sql, t: &str, near: &NearMatch) {
    chord(sql, t, near.position.vector());
    sql.text(" <= ").f64(chord_squared(near.distance_m));
}

/// The square of the chord between the position `t` and a vector; see [`crate::search::geo`].
pub(super) fn chord(sql: &mut Sql, t: &str, vector: [f64; 3]) {
    for (n, (axis, value)) in ["x", "y", "z"].iter().zip(vector).enumerate() {
        sql.text(if n == 0 { "((" } else { " + (" });
        sql.made(format!("{t}.{axis} - ")).f64(value).made(format!(") * ({t}.{axis} - ")).f64(value).text(")");
    }
    sql.text(")");
}
