//! Filters as SQL, in two forms. A *drive* is a SELECT that yields the row ids that meet a filter; a *probe* is a condition
//! on a row id at hand. One filter drives a search, the others are probes. Chains and `_has` are nested: recursion here,
//! nested SELECTs there.

mod alternatives;

use std::collections::BTreeMap;

use crate::fhir::types::ResourceType;
use crate::search::param::{ParamKind, SearchParam};
use crate::search::query::{Filter, NearMatch, ReferenceMatch, Test};
use crate::search::value::Target;

use super::condition::{condition, last_updated, within};
use super::dialect::Dialect;
use super::filter::{lists_names, tells_live};
use super::sql::Sql;

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
    /// resource must not have, since no index lists those; see [`super::filter::is_listed`].
    pub(super) fn drive(&mut self, filter: &Filter) -> Option<Sql> {
        let t = self.alias();
        let mut sql = self.sql("SELECT ");
        match filter {
            Filter::Not { .. } | Filter::Missing { missing: true, .. } => return None,
            Filter::Any(alternatives) => return self.drive_any(alternatives),
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
                    sql.made(format!("{t}.rid AS rid FROM {table} {t} WHERE {t}.param = "))
                        .i32(id)
                        .text(self.dialect.go_on());
                }
            }
            Filter::Chain { param, target, inner } => {
                let from = self.drive_or_scan(*target, inner);
                let i = self.alias();
                sql.made(format!("{t}.rid AS rid FROM ("));
                self.look_up(&mut sql, from, &i, &format!("index_reference {t}"));
                sql.made(format!("{t}.target = {i}.rid AND {t}.param = ")).i32(param.id);
                if lists_names(inner) {
                    self.live(&mut sql, *target, &format!("{i}.rid"));
                }
                sql.made(self.dialect.looked_up(&t));
            }
            Filter::Has { param, inner } => {
                let from = self.drive_or_scan(param.base, inner);
                let i = self.alias();
                sql.made(format!("{t}.target AS rid FROM ("));
                self.look_up(&mut sql, from, &i, &format!("index_reference {t}"));
                sql.made(format!("{t}.rid = {i}.rid AND {t}.param = ")).i32(param.id);
                sql.made(self.dialect.looked_up(&t));
            }
        }
        Some(sql)
    }

    /// After an open parenthesis: the rows of `from`, under the alias `i`, and for each of them those of `table`.
    fn look_up(&self, sql: &mut Sql, from: Sql, i: &str, table: &str) {
        sql.append(from).text(self.dialect.fence()).made(format!(") {i}"));
        sql.text(self.dialect.look_up()).made(format!("{table} WHERE "));
    }

    /// Every live resource of a type.
    pub(super) fn scan(&mut self, base: ResourceType) -> Sql {
        let t = self.alias();
        let mut sql = self.sql("SELECT ");
        let in_order = self.dialect.in_order();
        sql.made(format!("{t}.rid AS rid FROM resource {t} {in_order}WHERE {t}.rtype = ")).i16(base.code());
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
                    sql.made(format!("{t}.rid AS rid FROM index_reference {t} WHERE {t}.param = "))
                        .i32(param.id)
                        .text(" AND (");
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
                sql.made(format!(
                    " AND {t}.cell BETWEEN json_extract(c.value, '$[0]') AND json_extract(c.value, '$[1]') AND "
                ));
            }
            Dialect::Postgres => {
                let (from, to): (Vec<i32>, Vec<i32>) = cells.into_iter().unzip();
                sql.made(format!("{t}.rid AS rid FROM unnest(")).bind(super::sql::Bind::I32s(from)).text(", ");
                sql.bind(super::sql::Bind::I32s(to)).text(") AS c(lo, hi)").text(self.dialect.look_up());
                sql.made(format!("index_position {t} WHERE {t}.param = ")).i32(param.id);
                sql.made(format!(" AND {t}.cell BETWEEN c.lo AND c.hi AND "));
            }
        }
        within(sql, t, near);
        sql.made(self.dialect.looked_up(t));
    }

    /// A condition on the row id `rid`, an expression of an enclosing statement.
    pub(super) fn probe(&mut self, filter: &Filter, rid: &str) -> Sql {
        let (exists, end) = self.dialect.exists();
        let mut sql = self.sql("");
        let t = self.alias();
        match filter {
            Filter::Any(alternatives) => return self.probe_any(alternatives, rid),
            Filter::Nothing => {
                sql.text("1 = 0");
            }
            Filter::Id { base, ids } => {
                sql.made(format!("{rid} IN (SELECT {t}.rid FROM resource {t} WHERE {t}.rtype = ")).i16(base.code());
                sql.made(format!(" AND {t}.id")).in_texts(ids.clone()).made(format!(" AND {t}.live = 1)"));
            }
            Filter::LastUpdated { ranges, .. } => {
                sql.made(format!("{exists}SELECT 1 FROM resource {t} WHERE {t}.rid = {rid} AND {t}.live = 1"));
                last_updated(&mut sql, &t, ranges);
                sql.text(end);
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
                    sql.made(format!("{exists}SELECT 1 FROM {table} {t} WHERE {t}.rid = {rid} AND {t}.param = "))
                        .i32(id)
                        .text(end);
                }
                if !missing {
                    sql.text(")");
                }
            }
            Filter::Chain { param, target, inner } => {
                sql.made(format!("{exists}SELECT 1 FROM index_reference {t} WHERE {t}.rid = {rid} AND {t}.param = "))
                    .i32(param.id);
                self.probe_next(&mut sql, *target, inner, &format!("{t}.target"));
                sql.text(end);
            }
            Filter::Has { param, inner } => {
                sql.made(format!(
                    "{exists}SELECT 1 FROM index_reference {t} WHERE {t}.target = {rid} AND {t}.param = "
                ))
                .i32(param.id);
                self.probe_next(&mut sql, param.base, inner, &format!("{t}.rid"));
                sql.text(end);
            }
        }
        sql
    }

    /// The rest of a chain. Where the filter does not tell that the resource is live and of this type, that is asked too.
    fn probe_next(&mut self, sql: &mut Sql, base: ResourceType, inner: &Filter, rid: &str) {
        if !tells_live(inner) {
            self.live(sql, base, rid);
        }
        sql.text(" AND ");
        let probe = self.probe(inner, rid);
        sql.append(probe);
    }

    /// ` AND …`: a live resource of this type.
    fn live(&mut self, sql: &mut Sql, base: ResourceType, rid: &str) {
        let (exists, end) = self.dialect.exists();
        let t = self.alias();
        sql.made(format!(
            " AND {exists}SELECT 1 FROM resource {t} WHERE {t}.rid = {rid} AND {t}.live = 1 AND {t}.rtype = "
        ));
        sql.i16(base.code()).text(end);
    }

    fn probe_value(&mut self, sql: &mut Sql, t: &str, rid: &str, param: &SearchParam, test: &Test) {
        let (exists, end) = self.dialect.exists();
        let exists = |sql: &mut Sql, table: &str, id: i32| {
            sql.made(format!("{exists}SELECT 1 FROM {table} {t} WHERE {t}.rid = {rid} AND {t}.param = "))
                .i32(id)
                .text(" AND (");
        };
        match test {
            Test::Near(near) => {
                exists(sql, "index_position", param.id);
                for (n, near) in near.iter().enumerate() {
                    sql.text(if n > 0 { " OR " } else { "" });
                    within(sql, t, near);
                }
                sql.text(")").text(end);
            }
            Test::Reference(references) => {
                let (here, elsewhere) = split(references);
                sql.text("(");
                if !here.is_empty() {
                    exists(sql, "index_reference", param.id);
                    self.targets(sql, t, param, &here);
                    sql.text(")").text(end);
                }
                if !elsewhere.is_empty() {
                    sql.text(if here.is_empty() { "" } else { " OR " });
                    exists(sql, "index_uri", param.id);
                    sql.made(format!("{t}.value")).in_texts(elsewhere).text(")").text(end);
                }
                sql.text(")");
            }
            _ => {
                let (table, id) = table(param, test);
                exists(sql, table, id);
                condition(sql, t, test);
                sql.text(")").text(end);
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
            sql.text(or).made(format!(
                "{t}.target IN (WITH RECURSIVE tree(rid) AS (SELECT n.rid FROM resource n WHERE n.rtype = "
            ));
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
