//! Filters as SQL, in two forms. A *drive* is a SELECT that yields the row ids that meet a filter; a *probe* is a condition
//! on a row id at hand. One filter drives a search, the others are probes. Chains and `_has` are nested: recursion here,
//! nested SELECTs there.

use std::collections::BTreeMap;

use crate::fhir::types::ResourceType;
use crate::search::date::DateRange;
use crate::search::geo::chord_squared;
use crate::search::param::{ParamKind, SearchParam};
use crate::search::query::{
    DateMatch, Filter, NearMatch, Prefix, QuantityMatch, ReferenceMatch, StringMatch, Test, TokenMatch, UriMatch,
};
use crate::search::value::Target;

use super::dialect::Dialect;
use super::sql::Sql;

/// Later than every string that begins with the text before it.
const LAST_CHAR: char = '\u{10FFFF}';

pub(super) struct Predicates {
    dialect: Dialect,
    aliases: usize,
}

impl Predicates {
    pub(super) fn new(dialect: Dialect) -> Self {
        Self { dialect, aliases: 0 }
    }

    fn alias(&mut self) -> String {
        self.aliases += 1;
        format!("t{}", self.aliases)
    }

    fn sql(&self, text: &'static str) -> Sql {
        Sql::new(self.dialect, text)
    }

    /// `SELECT … AS rid …` of all resources that meet the filter, perhaps repeated; `None` for a filter that says what a
    /// resource must not have, since no index lists those.
    pub(super) fn drive(&mut self, filter: &Filter) -> Option<Sql> {
        let t = self.alias();
        let mut sql = self.sql("SELECT ");
        match filter {
            Filter::Not { .. } | Filter::Missing { missing: true, .. } => return None,
            Filter::Nothing => {
                sql.text("rid FROM resource WHERE 1 = 0");
            }
            Filter::Id { base, ids } => {
                sql.made(format!("{t}.rid AS rid FROM resource {t} WHERE {t}.rtype = ")).i16(base.code());
                sql.made(format!(" AND {t}.id")).in_texts(ids.clone()).made(format!(" AND {t}.live = 1"));
            }
            Filter::LastUpdated { base, ranges } => {
                sql.made(format!("{t}.rid AS rid FROM resource {t} WHERE {t}.rtype = ")).i16(base.code());
                sql.made(format!(" AND {t}.live = 1"));
                last_updated(&mut sql, &t, ranges);
                sql.text(self.dialect.go_on());
            }
            Filter::Value { param, test } => self.drive_value(&mut sql, &t, param, test),
            Filter::Missing { param, missing: false } => {
                for (n, (table, id)) in tables(param).into_iter().enumerate() {
                    if n > 0 {
                        sql.text(" UNION ALL SELECT ");
                    }
                    sql.made(format!("{t}.rid AS rid FROM {table} {t} WHERE {t}.param = ")).i32(id).text(self.dialect.go_on());
                }
            }
            Filter::Chain { param, target, inner } => {
                let from = self.drive_or_scan(*target, inner);
                let i = self.alias();
                sql.made(format!("{t}.rid AS rid FROM (")).append(from);
                sql.made(format!(") {i} CROSS JOIN index_reference {t} WHERE {t}.param = ")).i32(param.id);
                sql.made(format!(" AND {t}.target = {i}.rid")).text(self.dialect.go_on());
            }
            Filter::Has { param, inner } => {
                let from = self.drive_or_scan(param.base, inner);
                let i = self.alias();
                sql.made(format!("{t}.target AS rid FROM (")).append(from);
                sql.made(format!(") {i} CROSS JOIN index_reference {t} WHERE {t}.rid = {i}.rid AND {t}.param = ")).i32(param.id);
                sql.text(self.dialect.go_on());
            }
        }
        Some(sql)
    }

    /// Every live resource of a type.
    pub(super) fn scan(&mut self, base: ResourceType) -> Sql {
        let t = self.alias();
        let mut sql = self.sql("SELECT ");
        sql.made(format!("{t}.rid AS rid FROM resource {t} WHERE {t}.rtype = ")).i16(base.code());
        sql.made(format!(" AND {t}.live = 1")).text(self.dialect.go_on());
        sql
    }

    fn drive_or_scan(&mut self, base: ResourceType, filter: &Filter) -> Sql {
        if let Some(sql) = self.drive(filter) {
            return sql;
        }
        let mut sql = self.sql("SELECT s.rid AS rid FROM (");
        let scan = self.scan(base);
        sql.append(scan).text(") s WHERE ");
        let probe = self.probe(filter, "s.rid");
        sql.append(probe);
        sql
    }

    fn drive_value(&mut self, sql: &mut Sql, t: &str, param: &SearchParam, test: &Test) {
        match test {
            Test::Near(near) => {
                for (n, near) in near.iter().enumerate() {
                    if n > 0 {
                        sql.text(" UNION ALL SELECT ");
                    }
                    self.drive_near(sql, t, param, near);
                }
            }
            Test::Reference(references) => {
                let (here, elsewhere) = split(references);
                if !here.is_empty() {
                    sql.made(format!("{t}.rid AS rid FROM index_reference {t} WHERE {t}.param = ")).i32(param.id).text(" AND (");
                    self.targets(sql, t, param, &here);
                    sql.text(")").text(self.dialect.go_on());
                }
                if !elsewhere.is_empty() {
                    if !here.is_empty() {
                        sql.text(" UNION ALL SELECT ");
                    }
                    sql.made(format!("{t}.rid AS rid FROM index_uri {t} WHERE {t}.param = ")).i32(param.id);
                    sql.made(format!(" AND {t}.value")).in_texts(elsewhere).text(self.dialect.go_on());
                }
            }
            _ => {
                let (table, id) = table(param, test);
                sql.made(format!("{t}.rid AS rid FROM {table} {t} WHERE {t}.param = ")).i32(id).text(" AND (");
                condition(sql, t, test);
                sql.text(")").text(self.dialect.go_on());
            }
        }
    }

    fn drive_near(&mut self, sql: &mut Sql, t: &str, param: &SearchParam, near: &NearMatch) {
        let cells = near.position.cells_within(near.distance_m);
        match self.dialect {
            Dialect::Sqlite => {
                let ranges = serde_json::json!(cells).to_string();
                sql.made(format!("{t}.rid AS rid FROM json_each(")).str(ranges);
                sql.made(format!(") c CROSS JOIN index_position {t} WHERE {t}.param = ")).i32(param.id);
                sql.made(format!(" AND {t}.cell BETWEEN json_extract(c.value, '$[0]') AND json_extract(c.value, '$[1]') AND "));
            }
            Dialect::Postgres => {
                let (from, to): (Vec<i32>, Vec<i32>) = cells.into_iter().unzip();
                sql.made(format!("{t}.rid AS rid FROM unnest(")).bind(super::sql::Bind::I32s(from)).text(", ");
                sql.bind(super::sql::Bind::I32s(to)).made(format!(") AS c(lo, hi) JOIN index_position {t} ON {t}.param = "));
                sql.i32(param.id).made(format!(" AND {t}.cell BETWEEN c.lo AND c.hi WHERE "));
            }
        }
        within(sql, t, near);
        sql.text(self.dialect.go_on());
    }

    /// A condition on the row id `rid`, an expression of an enclosing statement.
    pub(super) fn probe(&mut self, filter: &Filter, rid: &str) -> Sql {
        let mut sql = self.sql("");
        let t = self.alias();
        match filter {
            Filter::Nothing => {
                sql.text("1 = 0");
            }
            Filter::Id { base, ids } => {
                sql.made(format!("{rid} IN (SELECT {t}.rid FROM resource {t} WHERE {t}.rtype = ")).i16(base.code());
                sql.made(format!(" AND {t}.id")).in_texts(ids.clone()).made(format!(" AND {t}.live = 1)"));
            }
            Filter::LastUpdated { ranges, .. } => {
                sql.made(format!("EXISTS (SELECT 1 FROM resource {t} WHERE {t}.rid = {rid} AND {t}.live = 1"));
                last_updated(&mut sql, &t, ranges);
                sql.text(")");
            }
            Filter::Value { param, test } => self.probe_value(&mut sql, &t, rid, param, test),
            Filter::Not { param, test } => {
                sql.text("NOT ");
                self.probe_value(&mut sql, &t, rid, param, test);
            }
            Filter::Missing { param, missing } => {
                for (n, (table, id)) in tables(param).into_iter().enumerate() {
                    sql.text(match (n, missing) {
                        (0, true) => "NOT ",
                        (_, true) => " AND NOT ",
                        (0, false) => "(",
                        (_, false) => " OR ",
                    });
                    sql.made(format!("EXISTS (SELECT 1 FROM {table} {t} WHERE {t}.rid = {rid} AND {t}.param = ")).i32(id).text(")");
                }
                if !missing {
                    sql.text(")");
                }
            }
            Filter::Chain { param, target, inner } => {
                sql.made(format!("EXISTS (SELECT 1 FROM index_reference {t} WHERE {t}.rid = {rid} AND {t}.param = ")).i32(param.id);
                self.probe_next(&mut sql, *target, inner, &format!("{t}.target"));
                sql.text(")");
            }
            Filter::Has { param, inner } => {
                sql.made(format!("EXISTS (SELECT 1 FROM index_reference {t} WHERE {t}.target = {rid} AND {t}.param = ")).i32(param.id);
                self.probe_next(&mut sql, param.base, inner, &format!("{t}.rid"));
                sql.text(")");
            }
        }
        sql
    }

    /// The rest of a chain. A filter about what is absent also meets names that no live resource has, so there the
    /// resource itself is asked for.
    fn probe_next(&mut self, sql: &mut Sql, base: ResourceType, inner: &Filter, rid: &str) {
        if matches!(inner, Filter::Not { .. } | Filter::Missing { missing: true, .. }) {
            let t = self.alias();
            sql.made(format!(" AND EXISTS (SELECT 1 FROM resource {t} WHERE {t}.rid = {rid} AND {t}.live = 1 AND {t}.rtype = "));
            sql.i16(base.code()).text(")");
        }
        sql.text(" AND ");
        let probe = self.probe(inner, rid);
        sql.append(probe);
    }

    fn probe_value(&mut self, sql: &mut Sql, t: &str, rid: &str, param: &SearchParam, test: &Test) {
        let exists = |sql: &mut Sql, table: &str, id: i32| {
            sql.made(format!("EXISTS (SELECT 1 FROM {table} {t} WHERE {t}.rid = {rid} AND {t}.param = ")).i32(id).text(" AND (");
        };
        match test {
            Test::Near(near) => {
                exists(sql, "index_position", param.id);
                for (n, near) in near.iter().enumerate() {
                    sql.text(if n > 0 { " OR " } else { "" });
                    within(sql, t, near);
                }
                sql.text("))");
            }
            Test::Reference(references) => {
                let (here, elsewhere) = split(references);
                sql.text("(");
                if !here.is_empty() {
                    exists(sql, "index_reference", param.id);
                    self.targets(sql, t, param, &here);
                    sql.text("))");
                }
                if !elsewhere.is_empty() {
                    sql.text(if here.is_empty() { "" } else { " OR " });
                    exists(sql, "index_uri", param.id);
                    sql.made(format!("{t}.value")).in_texts(elsewhere).text("))");
                }
                sql.text(")");
            }
            _ => {
                let (table, id) = table(param, test);
                exists(sql, table, id);
                condition(sql, t, test);
                sql.text("))");
            }
        }
    }

    fn targets(&mut self, sql: &mut Sql, t: &str, param: &SearchParam, references: &[&ReferenceMatch]) {
        let mut plain: BTreeMap<ResourceType, Vec<String>> = BTreeMap::new();
        let mut trees: Vec<(&Target, bool)> = Vec::new();
        for reference in references {
            match reference {
                ReferenceMatch::Local(target) => plain.entry(target.resource_type).or_default().push(target.id.clone()),
                ReferenceMatch::Below(target) => trees.push((target, true)),
                ReferenceMatch::Above(target) => trees.push((target, false)),
                ReferenceMatch::Elsewhere(_) => {}
            }
        }
        let mut or = "";
        for (resource_type, mut ids) in plain {
            sql.text(or).made(format!("{t}.target"));
            if ids.len() == 1 {
                sql.text(" = (SELECT n.rid FROM resource n WHERE n.rtype = ").i16(resource_type.code());
                sql.text(" AND n.id = ").str(ids.pop().unwrap_or_default()).text(")");
            } else {
                sql.text(" IN (SELECT n.rid FROM resource n WHERE n.rtype = ").i16(resource_type.code());
                sql.text(" AND n.id").in_texts(ids).text(")");
            }
            or = " OR ";
        }
        for (target, is_below) in trees {
            sql.text(or).made(format!("{t}.target IN (WITH RECURSIVE tree(rid) AS (SELECT n.rid FROM resource n WHERE n.rtype = "));
            sql.i16(target.resource_type.code()).text(" AND n.id = ").str(target.id.as_str()).text(" UNION ");
            if is_below {
                sql.text("SELECT x.rid FROM tree JOIN index_reference x ON x.target = tree.rid AND x.param = ");
            } else {
                sql.text("SELECT x.target FROM tree JOIN index_reference x ON x.rid = tree.rid AND x.param = ");
            }
            sql.i32(param.id).text(") SELECT rid FROM tree)");
            or = " OR ";
        }
    }
}

fn split(references: &[ReferenceMatch]) -> (Vec<&ReferenceMatch>, Vec<String>) {
    let mut here = Vec::new();
    let mut elsewhere = Vec::new();
    for reference in references {
        match reference {
            ReferenceMatch::Elsewhere(url) => elsewhere.push(url.clone()),
            local => here.push(local),
        }
    }
    (here, elsewhere)
}

/// The table and number under which the values of a test are indexed.
fn table(param: &SearchParam, test: &Test) -> (&'static str, i32) {
    match test {
        Test::Token(_) => ("index_token", param.id),
        Test::OfType(_) => ("index_token", param.of_type_id),
        Test::Identifier(_) => ("index_token", param.identifier_id),
        Test::Text(_) => ("index_string", param.text_id),
        Test::String(_) => ("index_string", param.id),
        Test::Date(_) => ("index_date", param.id),
        Test::Reference(_) => ("index_reference", param.id),
        Test::Uri(_) => ("index_uri", param.id),
        Test::Near(_) => ("index_position", param.id),
        Test::Quantity(_) => ("index_quantity", param.id),
        Test::Composite(_) => ("index_composite", param.id),
    }
}

/// Every table that holds a value of the parameter, for `:missing`.
fn tables(param: &SearchParam) -> Vec<(&'static str, i32)> {
    match param.kind {
        ParamKind::Token => vec![("index_token", param.id), ("index_string", param.text_id)],
        ParamKind::String => vec![("index_string", param.id)],
        ParamKind::Date => vec![("index_date", param.id)],
        ParamKind::Reference => {
            vec![("index_reference", param.id), ("index_uri", param.id), ("index_token", param.identifier_id)]
        }
        ParamKind::Uri => vec![("index_uri", param.id)],
        ParamKind::Number | ParamKind::Quantity => vec![("index_quantity", param.id)],
        ParamKind::Special => vec![("index_position", param.id)],
        ParamKind::Composite => vec![("index_composite", param.id)],
    }
}

/// Any of the values of a test holds for the row `t`.
fn condition(sql: &mut Sql, t: &str, test: &Test) {
    match test {
        Test::Token(tokens) | Test::OfType(tokens) | Test::Identifier(tokens) => token_condition(sql, t, tokens),
        Test::Text(texts) => any(sql, texts, |sql, text| starts(sql, t, text)),
        Test::String(strings) => any(sql, strings, |sql, string| string_condition(sql, t, string)),
        Test::Date(dates) => any(sql, dates, |sql, date| date_condition(sql, t, *date)),
        Test::Uri(uris) => any(sql, uris, |sql, uri| uri_condition(sql, t, uri)),
        Test::Quantity(quantities) => any(sql, quantities, |sql, quantity| quantity_condition(sql, t, quantity)),
        Test::Composite(pairs) => any(sql, pairs, |sql, (token, date)| {
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

fn any<T>(sql: &mut Sql, items: &[T], mut one: impl FnMut(&mut Sql, &T)) {
    for (n, item) in items.iter().enumerate() {
        sql.text(if n > 0 { " OR " } else { "" });
        one(sql, item);
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
    sql.made(format!("({t}.value >= ")).str(text).made(format!(" AND {t}.value < ")).str(format!("{text}{LAST_CHAR}")).text(")");
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
            sql.made(format!("({t}.value = ")).str(folded.as_str()).made(format!(" AND {t}.exact = ")).str(exact).text(")");
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
            sql.made(format!("({t}.value = ")).str(uri.as_str()).made(format!(" OR ({t}.value >= ")).str(format!("{under}/"));
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
fn last_updated(sql: &mut Sql, t: &str, ranges: &[DateMatch]) {
    if ranges.is_empty() {
        return;
    }
    sql.text(" AND (");
    any(sql, ranges, |sql, range| {
        range_condition(sql, *range, &format!("{t}.last_updated"), &format!("({t}.last_updated + 1000)"));
    });
    sql.text(")");
}

fn quantity_condition(sql: &mut Sql, t: &str, quantity: &QuantityMatch) {
    let QuantityMatch { prefix, exact, lo, hi, .. } = *quantity;
    sql.text("(");
    match prefix {
        Prefix::Eq | Prefix::Ap => sql.made(format!("({t}.value >= ")).f64(lo).made(format!(" AND {t}.value < ")).f64(hi).text(")"),
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

fn within(sql: &mut Sql, t: &str, near: &NearMatch) {
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
