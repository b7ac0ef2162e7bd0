//! Alternatives as SQL. As a drive they are listed one after the other, each beginning with the first of its filters that
//! can drive; as a probe they are tried one after the other.

use crate::search::query::Filter;

use super::super::condition::any;
use super::super::filter::{are_listed, comes_in_order, driver};
use super::super::sql::Sql;
use super::Predicates;

impl Predicates {
    /// What meets any of the alternatives, several times if it meets several; `None` when they cannot drive.
    pub(super) fn drive_any(&mut self, alternatives: &[Vec<Filter>]) -> Option<Sql> {
        if alternatives.is_empty() {
            return self.drive(&Filter::Nothing);
        }
        if !are_listed(alternatives) {
            return None;
        }
        let mut sql = self.sql("");
        for (n, alternative) in alternatives.iter().enumerate() {
            let (at, first) = driver(alternative)?;
            let drive = self.drive(first)?;
            let s = self.alias();
            sql.text(if n > 0 { " UNION ALL SELECT " } else { "SELECT " });
            sql.made(format!("{s}.rid AS rid FROM (")).append(drive);
            if !comes_in_order(first) {
                sql.text(self.dialect.fence());
            }
            sql.made(format!(") {s}"));
            let rid = format!("{s}.rid");
            let others = alternative.iter().enumerate().filter(|(other, _)| *other != at);
            for (n, (_, filter)) in others.enumerate() {
                sql.text(if n > 0 { " AND " } else { " WHERE " }).append(self.probe(filter, &rid));
            }
        }
        Some(sql)
    }

    /// A condition that holds for what meets any of the alternatives.
    pub(super) fn probe_any(&mut self, alternatives: &[Vec<Filter>], rid: &str) -> Sql {
        let mut sql = self.sql("(");
        if alternatives.is_empty() {
            sql.text("1 = 0");
        }
        any(&mut sql, alternatives, &mut |sql, alternative| {
            sql.text(if alternative.is_empty() { "(1 = 1" } else { "(" });
            for (n, filter) in alternative.iter().enumerate() {
                sql.text(if n > 0 { " AND " } else { "" }).append(self.probe(filter, rid));
            }
            sql.text(")");
        });
        sql.text(")");
        sql
    }
}
