//! The text after the equals sign: alternatives, escapes, prefixes, and one reader for each kind of parameter.

use crate::fhir::definitions::{Content, Primitive, definitions};
use crate::fhir::resource::excerpt;
use crate::fhir::terminology::Terminology;
use crate::fhir::types::{Instant, ResourceType, is_id};

use super::date::DateRange;
use super::extract::{Extractor, clip, fold_code, is_contact, of_type_system};
use super::fold;
use super::geo::{Position, unit_m};
use super::param::SearchParam;
use super::parse::Problem;
use super::query::{DateMatch, NearMatch, Prefix, QuantityMatch, ReferenceMatch, StringMatch, TokenMatch, UriMatch};
use super::value::{SystemHash, Target, system_hash};

/// Values that one parameter may list by comma.
const ALTERNATIVES_MAX: usize = 500;
/// How far `near` looks when the client gives no distance.
const NEAR_DEFAULT_KM: f64 = 50.0;

/// Splits at every `separator` that is not escaped. The escapes stay in the parts.
fn split(value: &str, separator: char) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut escaped) = (0, false);
    for (at, c) in value.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == separator {
            parts.push(value.get(start..at).unwrap_or_default());
            start = at + c.len_utf8();
        }
    }
    parts.push(value.get(start..).unwrap_or_default());
    parts
}

/// Undoes `\,` `\|` `\$` and `\\`.
fn unescape(text: &str) -> Result<String, Problem> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '\\' { chars.next() } else { None }) {
            ('\\', Some(next @ (',' | '|' | '$' | '\\'))) => plain.push(next),
            ('\\', _) => {
                return Err(Problem::bad(
                    "a backslash stands only before a comma, a pipe, a dollar sign or another backslash",
                ));
            }
            (c, _) => plain.push(c),
        }
    }
    Ok(plain)
}

/// The values between commas that are not empty, still escaped.
fn raw_alternatives(value: &str) -> Result<Vec<&str>, Problem> {
    if value.contains('\0') {
        return Err(Problem::bad("a search value holds no NUL character"));
    }
    let parts: Vec<&str> = split(value, ',').into_iter().filter(|part| !part.is_empty()).collect();
    match parts.len() {
        0 => Err(Problem::bad("there is no value between the commas")),
        n if n > ALTERNATIVES_MAX => {
            Err(Problem::bad(format!("one parameter takes at most {ALTERNATIVES_MAX} values")))
        }
        _ => Ok(parts),
    }
}

fn each<T>(value: &str, read: impl FnMut(&str) -> Result<T, Problem>) -> Result<Vec<T>, Problem> {
    raw_alternatives(value)?.into_iter().map(read).collect()
}

/// The values between commas, unescaped.
pub(super) fn alternatives(value: &str) -> Result<Vec<String>, Problem> {
    each(value, unescape)
}

pub(super) fn tokens(param: &SearchParam, value: &str) -> Result<Vec<TokenMatch>, Problem> {
    let is_contact = is_contact(param);
    each(value, |value| match split(value, '|').as_slice() {
        [code] => {
            let code = unescape(code)?;
            let code = if is_contact { fold::phone(clip(&code)) } else { fold_code(&code) };
            Ok(TokenMatch { system: None, code: Some(code) })
        }
        [system, code] => {
            let (system, code) = (unescape(system)?, unescape(code)?);
            if system.is_empty() && code.is_empty() {
                return Err(Problem::bad("'|' alone names neither a system nor a code"));
            }
            // A contact point has no system in the sense of a token: only its value is compared.
            if is_contact {
                return Ok(TokenMatch { system: None, code: Some(fold::phone(clip(&code))) });
            }
            let code = (!code.is_empty()).then(|| fold_code(&code));
            Ok(TokenMatch { system: Some(stored_system(param, &system)), code })
        }
        _ => Err(Problem::bad(format!("'{}' is no token: it is code, system|code, |code or system|", excerpt(value)))),
    })
}

/// What the index holds for a code of `system`: its hash, or that of no system for an element of type `code`, which leaves
/// its system out because its binding implies it (R4 search.html#token). What is bound is R4's own, so this does not change
/// with what an operator loads.
fn stored_system(param: &SearchParam, system: &str) -> SystemHash {
    let implied = definitions()
        .property_at(param.path.source())
        .filter(|property| property.content == Content::Primitive(Primitive::Code))
        .and_then(|property| Terminology::embedded().value_set(property.element.required_set()?))
        .is_some_and(|set| set.iter().all(|(of_code, _)| of_code == system));
    system_hash(if implied { "" } else { system })
}

pub(super) fn of_type(value: &str) -> Result<Vec<TokenMatch>, Problem> {
    each(value, |value| match split(value, '|').as_slice() {
        [system, code, value] if !system.is_empty() && !code.is_empty() && !value.is_empty() => Ok(TokenMatch {
            system: Some(of_type_system(&unescape(system)?, &unescape(code)?)),
            code: Some(fold_code(&unescape(value)?)),
        }),
        _ => Err(Problem::bad("':of-type' takes system|code|value, all three")),
    })
}

/// `:in`, `:not-in` (a value set), `:above`, `:below` (subsumption): the codes that are meant.
pub(super) fn concepts(
    param: &SearchParam,
    modifier: &str,
    value: &str,
    terminology: &Terminology,
) -> Result<Vec<TokenMatch>, Problem> {
    let exact = |(system, code): (&str, &str)| TokenMatch {
        system: Some(stored_system(param, system)),
        code: Some(fold_code(code)),
    };
    let sets = each(value, |value| {
        if matches!(modifier, "in" | "not-in") {
            let url = unescape(value)?;
            let set = terminology.value_set(&url).ok_or_else(|| {
                Problem::bad(format!("the value set '{}' is not loaded on this server", excerpt(&url)))
            })?;
            return Ok(set.iter().map(|(system, code)| exact((system, code))).collect::<Vec<_>>());
        }
        let [system, code] = split(value, '|')[..] else {
            return Err(Problem::bad(format!("':{modifier}' takes system|code")));
        };
        let (system, code) = (unescape(system)?, unescape(code)?);
        let codes = if modifier == "below" {
            terminology.descendants(&system, &code)
        } else {
            terminology.ancestors(&system, &code)
        };
        let codes = codes.ok_or_else(|| {
            Problem::bad(format!("the code system '{}' is not loaded on this server", excerpt(&system)))
        })?;
        Ok(codes.iter().map(|code| exact((&system, code))).collect())
    })?;
    Ok(sets.into_iter().flatten().collect())
}

/// Folded display texts for `:text`.
pub(super) fn texts(value: &str) -> Result<Vec<String>, Problem> {
    each(value, |value| searchable(fold::fold(&unescape(value)?)))
}

pub(super) fn strings(param: &SearchParam, modifier: Option<&str>, value: &str) -> Result<Vec<StringMatch>, Problem> {
    each(value, |value| {
        let text = unescape(value)?;
        if param.is_phonetic() {
            return Ok(StringMatch::Starts(searchable(fold::sound(&text))?));
        }
        let folded = searchable(fold::fold(&text))?;
        Ok(match modifier {
            Some("exact") => {
                let exact = fold::exact(&text);
                StringMatch::Exact(folded, exact)
            }
            Some("contains") => StringMatch::Contains(folded),
            _ => StringMatch::Starts(folded),
        })
    })
}

fn searchable(folded: String) -> Result<String, Problem> {
    if folded.is_empty() { Err(Problem::bad("there is no letter or digit to search for")) } else { Ok(folded) }
}

fn prefixed(value: &str) -> (Prefix, &str) {
    let prefix = match value.get(..2) {
        Some("eq") => Prefix::Eq,
        Some("ne") => Prefix::Ne,
        Some("gt") => Prefix::Gt,
        Some("lt") => Prefix::Lt,
        Some("ge") => Prefix::Ge,
        Some("le") => Prefix::Le,
        Some("sa") => Prefix::Sa,
        Some("eb") => Prefix::Eb,
        Some("ap") => Prefix::Ap,
        _ => return (Prefix::Eq, value),
    };
    (prefix, value.get(2..).unwrap_or_default())
}

pub(super) fn dates(value: &str, now: Instant) -> Result<Vec<DateMatch>, Problem> {
    each(value, |value| date(value, now))
}

fn date(value: &str, now: Instant) -> Result<DateMatch, Problem> {
    let (prefix, text) = prefixed(value);
    // A colon may come escaped (R4 search.html#date).
    let range = DateRange::parse(&text.replace("\\:", ":")).ok_or_else(|| {
        Problem::bad(format!(
            "'{}' is no date: it is yyyy, yyyy-mm, yyyy-mm-dd or yyyy-mm-ddThh:mm[:ss]zone",
            excerpt(text)
        ))
    })?;
    let range = if prefix == Prefix::Ap { range.approximately(now) } else { range };
    Ok(DateMatch { prefix, range })
}

/// Numbers, or quantities `number|system|code`, `number||code`, `number`.
pub(super) fn quantities(value: &str, with_unit: bool) -> Result<Vec<QuantityMatch>, Problem> {
    each(value, |value| {
        let (prefix, text) = prefixed(value);
        let parts = split(text, '|');
        let (number, system, code) = match (parts.as_slice(), with_unit) {
            ([number], _) => (*number, None, None),
            ([number, "", code], true) => (*number, None, Some(unescape(code)?)),
            ([number, system, code], true) => (*number, Some(system_hash(&unescape(system)?)), Some(unescape(code)?)),
            (_, true) => {
                return Err(Problem::bad(format!(
                    "'{}' is no quantity: it is number|system|code, number||code or number",
                    excerpt(value)
                )));
            }
            (_, false) => return Err(Problem::bad(format!("'{}' is no number", excerpt(value)))),
        };
        let (exact, half_width) =
            decimal(number).ok_or_else(|| Problem::bad(format!("'{}' is no number", excerpt(number))))?;
        let half_width = if prefix == Prefix::Ap { half_width.max(exact.abs() / 10.0) } else { half_width };
        let code = code.filter(|code| !code.is_empty());
        Ok(QuantityMatch { prefix, exact, lo: exact - half_width, hi: exact + half_width, system, code })
    })
}

/// A decimal and half of its last digit as written: 100 is 100 ± 0.5, 1e2 is 100 ± 5 (R4 search.html#number).
fn decimal(text: &str) -> Option<(f64, f64)> {
    let value: f64 = text.parse().ok().filter(|value: &f64| value.is_finite())?;
    if !text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E')) {
        return None;
    }
    let (mantissa, exponent) = text.split_once(['e', 'E']).map_or((text, None), |(m, e)| (m, Some(e)));
    let decimals = mantissa.split_once('.').map_or(0, |(_, decimals)| decimals.len());
    let last_digit = match exponent {
        None => -i32::try_from(decimals).ok()?,
        // The specification reads 1e2 as 95 to 105: one digit finer than the mantissa shows.
        Some(exponent) => exponent.parse::<i32>().ok()?.saturating_sub(i32::try_from(decimals).ok()?).saturating_sub(1),
    };
    Some((value, 0.5 * 10_f64.powi(last_digit)))
}

pub(super) fn uris(modifier: Option<&str>, value: &str) -> Result<Vec<UriMatch>, Problem> {
    each(value, |value| {
        let uri = unescape(value)?;
        if modifier.is_some() && !uri.contains("://") {
            return Err(Problem::bad("':above' and ':below' compare URLs, which have a path"));
        }
        Ok(match modifier {
            Some("below") => UriMatch::Below(uri),
            Some("above") => UriMatch::Above(prefixes(&uri)),
            _ => UriMatch::Exact(clip(&uri).to_owned()),
        })
    })
}

/// The url itself and each shorter one that ends before a slash of its path.
fn prefixes(url: &str) -> Vec<String> {
    let path_start = url.find("://").map_or(0, |at| at + 3);
    let mut all: Vec<String> = url
        .char_indices()
        .filter(|&(at, c)| c == '/' && at > path_start)
        .filter_map(|(at, _)| url.get(..at))
        .map(str::to_owned)
        .collect();
    all.push(url.to_owned());
    all
}

pub(super) fn references(
    param: &SearchParam,
    modifier: Option<&str>,
    value: &str,
    bases: &[String],
) -> Result<Vec<ReferenceMatch>, Problem> {
    let named = match modifier {
        None | Some("above" | "below") => None,
        Some(name) => {
            Some(ResourceType::parse(name).filter(|named| param.target_types().contains(named)).ok_or_else(|| {
                Problem::bad(format!(
                    "the modifier ':{}' is not supported for the reference '{}'",
                    excerpt(name),
                    param.code
                ))
            })?)
        }
    };
    let found = each(value, |value| {
        let text = unescape(value)?;
        if let Some(target) = (Extractor { bases }).resolve(&text) {
            let fits = named.is_none_or(|named| named == target.resource_type)
                && param.target_types().contains(&target.resource_type);
            return Ok(if fits { vec![local(modifier, target)] } else { Vec::new() });
        }
        if text.contains(':') {
            return Ok(vec![ReferenceMatch::Elsewhere(clip(&text).to_owned())]);
        }
        if !is_id(&text) {
            // A type that is not stored here, or no reference at all.
            return if text.split_once('/').is_some_and(|(name, id)| crate::fhir::types::is_type_name(name) && is_id(id))
            {
                Ok(vec![ReferenceMatch::Elsewhere(text)])
            } else {
                Err(Problem::bad(format!(
                    "'{}' is no reference: it is an id, Type/id or an absolute URL",
                    excerpt(&text)
                )))
            };
        }
        let types = match (named, modifier) {
            (Some(named), _) => vec![named],
            (None, Some(_)) => vec![param.base],
            (None, None) => param.target_types().to_vec(),
        };
        if types.len() > 1 {
            return Err(Problem::bad(format!(
                "'{}' may be the id of several types; write Type/id or {}:Type=id",
                excerpt(&text),
                param.code
            )));
        }
        Ok(types.into_iter().map(|resource_type| local(modifier, Target { resource_type, id: text.clone() })).collect())
    })?;
    Ok(found.into_iter().flatten().collect())
}

fn local(modifier: Option<&str>, target: Target) -> ReferenceMatch {
    match modifier {
        Some("below") => ReferenceMatch::Below(target),
        Some("above") => ReferenceMatch::Above(target),
        _ => ReferenceMatch::Local(target),
    }
}

/// `latitude|longitude[|distance[|unit]]` (R4 Location search, `near`).
pub(super) fn near(value: &str) -> Result<Vec<NearMatch>, Problem> {
    const FORM: &str = "near is latitude|longitude|distance|unit, as in 42.36|-71.06|10|km";
    each(value, |value| {
        let parts = split(value, '|');
        let number = |at: usize| {
            let text = parts.get(at).copied().unwrap_or_default();
            decimal(text)
                .map(|(number, _)| number)
                .ok_or_else(|| Problem::bad(format!("'{}' is no number; {FORM}", excerpt(text))))
        };
        if !(2..=4).contains(&parts.len()) {
            return Err(Problem::bad(FORM));
        }
        let position = Position::new(number(0)?, number(1)?)
            .ok_or_else(|| Problem::bad(format!("latitude is -90 to 90 and longitude -180 to 180; {FORM}")))?;
        let distance = if parts.get(2).is_none_or(|text| text.is_empty()) { NEAR_DEFAULT_KM } else { number(2)? };
        let unit = unescape(parts.get(3).copied().unwrap_or_default())?;
        let metres = unit_m(&unit).ok_or_else(|| {
            Problem::bad(format!(
                "'{}' is no unit of distance here: use km, m, cm, [mi_i], [mi_us], [ft_i] or [nmi_i]",
                excerpt(&unit)
            ))
        })?;
        if distance < 0.0 {
            return Err(Problem::bad("a distance is not negative"));
        }
        Ok(NearMatch { position, distance_m: distance * metres })
    })
}

/// `token$date`.
pub(super) fn composites(value: &str, now: Instant) -> Result<Vec<(TokenMatch, DateMatch)>, Problem> {
    each(value, |value| {
        let [token, when] = split(value, '$')[..] else {
            return Err(Problem::bad(format!("'{}' is no composite: it is token$date", excerpt(value))));
        };
        let (system, code) = match split(token, '|')[..] {
            [code] => (None, unescape(code)?),
            [system, code] => (Some(system_hash(&unescape(system)?)), unescape(code)?),
            _ => return Err(Problem::bad(format!("'{}' is no token", excerpt(token)))),
        };
        let code = (!code.is_empty()).then(|| fold_code(&code));
        if code.is_none() {
            return Err(Problem::bad("the token of a composite names a code"));
        }
        Ok((TokenMatch { system, code }, date(when, now)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_undone_after_splitting() {
        let check = |value: &str, expected: Option<&[&str]>| {
            let found = alternatives(value).ok();
            assert_eq!(
                found.as_deref().map(|f| f.iter().map(String::as_str).collect::<Vec<_>>()),
                expected.map(<[_]>::to_vec),
                "{value}"
            );
        };
        check("a,b", Some(&["a", "b"]));
        check(r"a\,b,c\|d\$e\\", Some(&["a,b", r"c|d$e\"]));
        check(r"a\b", None);
        check(",", None);
    }

    #[test]
    fn numbers_are_as_precise_as_written() {
        assert_eq!(decimal("100"), Some((100.0, 0.5)));
        assert_eq!(decimal("100.00"), Some((100.0, 0.005)));
        assert_eq!(decimal("1e2"), Some((100.0, 5.0)));
        assert_eq!(decimal("inf"), None);
        assert_eq!(decimal("1 "), None);
    }

    #[test]
    fn urls_above_are_path_prefixes() {
        assert_eq!(prefixes("http://a.b/c/d"), ["http://a.b", "http://a.b/c", "http://a.b/c/d"]);
    }
}
