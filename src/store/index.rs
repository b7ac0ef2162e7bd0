//! The rows of the search index: inserted and deleted in batches, one table for each kind of value.

use std::collections::HashMap;

use crate::search::value::{IndexEntries, Target};

use super::conn::Conn;
use super::dialect::Dialect;
use super::error::StoreError;
use super::sql::{Bind, Sql};

/// Rows of one statement on SQLite; the text of a statement for fewer rows differs, so few sizes are used.
const SQLITE_ROWS: [usize; 3] = [16, 4, 1];
/// Rows of one statement on PostgreSQL.
const POSTGRES_ROWS: usize = 10_000;

struct Table {
    name: &'static str,
    columns: &'static [&'static str],
    /// The columns that make a row unique: those by which it is deleted.
    key: usize,
}

const TOKEN: Table = Table { name: "index_token", columns: &["param", "code", "rid", "system"], key: 4 };
const STRING: Table = Table { name: "index_string", columns: &["param", "value", "rid", "exact"], key: 4 };
const DATE: Table = Table { name: "index_date", columns: &["param", "lo", "hi", "rid"], key: 4 };
const REFERENCE: Table = Table { name: "index_reference", columns: &["param", "target", "rid"], key: 3 };
const URI: Table = Table { name: "index_uri", columns: &["param", "value", "rid"], key: 3 };
const POSITION: Table = Table { name: "index_position", columns: &["param", "cell", "rid", "x", "y", "z"], key: 3 };
const QUANTITY: Table = Table { name: "index_quantity", columns: &["param", "value", "rid", "system", "code"], key: 5 };
const COMPOSITE: Table =
    Table { name: "index_composite", columns: &["param", "code", "rid", "system", "lo", "hi"], key: 6 };

type Row = Vec<Bind>;

/// Rows to insert or to delete, by table.
#[derive(Default)]
pub(super) struct IndexChange {
    tokens: Vec<Row>,
    strings: Vec<Row>,
    dates: Vec<Row>,
    references: Vec<Row>,
    uris: Vec<Row>,
    positions: Vec<Row>,
    quantities: Vec<Row>,
    composites: Vec<Row>,
}

impl IndexChange {
    /// Adds the entries of the resource with this row id. `targets` knows the row ids of all that is referred to.
    pub(super) fn push(&mut self, rid: i64, entries: IndexEntries, targets: &HashMap<Target, i64>) {
        let rid = Bind::I64(rid);
        self.tokens.extend(
            entries
                .tokens
                .into_iter()
                .map(|e| vec![Bind::I32(e.param), Bind::Text(e.code), rid.clone(), Bind::I64(e.system)]),
        );
        self.strings.extend(
            entries
                .strings
                .into_iter()
                .map(|e| vec![Bind::I32(e.param), Bind::Text(e.folded), rid.clone(), Bind::Text(e.exact)]),
        );
        self.dates.extend(
            entries.dates.into_iter().map(|e| vec![Bind::I32(e.param), Bind::I64(e.lo), Bind::I64(e.hi), rid.clone()]),
        );
        self.references.extend(
            entries
                .references
                .into_iter()
                .filter_map(|e| Some(vec![Bind::I32(e.param), Bind::I64(*targets.get(&e.target)?), rid.clone()])),
        );
        self.uris.extend(entries.uris.into_iter().map(|e| vec![Bind::I32(e.param), Bind::Text(e.value), rid.clone()]));
        self.positions.extend(entries.positions.into_iter().map(|e| {
            let [x, y, z] = e.vector.map(Bind::F64);
            vec![Bind::I32(e.param), Bind::I32(e.cell), rid.clone(), x, y, z]
        }));
        self.quantities.extend(entries.quantities.into_iter().map(|e| {
            vec![Bind::I32(e.param), Bind::F64(e.value), rid.clone(), Bind::I64(e.system), Bind::Text(e.code)]
        }));
        self.composites.extend(entries.composites.into_iter().map(|e| {
            vec![
                Bind::I32(e.param),
                Bind::Text(e.code),
                rid.clone(),
                Bind::I64(e.system),
                Bind::I64(e.lo),
                Bind::I64(e.hi),
            ]
        }));
    }

    fn into_tables(self) -> [(&'static Table, Vec<Row>); 8] {
        [
            (&TOKEN, self.tokens),
            (&STRING, self.strings),
            (&DATE, self.dates),
            (&REFERENCE, self.references),
            (&URI, self.uris),
            (&POSITION, self.positions),
            (&QUANTITY, self.quantities),
            (&COMPOSITE, self.composites),
        ]
    }

    /// Inserts the rows on SQLite; those that are there already stay.
    pub(super) async fn insert_each(self, conn: &mut Conn) -> Result<(), StoreError> {
        for (table, rows) in self.into_tables() {
            let mut left = rows.len();
            let mut rows = rows.into_iter();
            for size in SQLITE_ROWS {
                while left >= size {
                    conn.execute(&table.insert_sqlite(rows.by_ref().take(size))).await?;
                    left -= size;
                }
            }
        }
        Ok(())
    }

    /// Deletes the rows on SQLite.
    pub(super) async fn delete_each(self, conn: &mut Conn) -> Result<(), StoreError> {
        for (table, rows) in self.into_tables() {
            for row in &rows {
                conn.execute(&table.delete_sqlite(row)).await?;
            }
        }
        Ok(())
    }

    /// What inserts the rows on PostgreSQL; those that are there already stay. There are none of resources that are `new`.
    pub(super) fn inserts(self, new: bool) -> impl Iterator<Item = Sql> {
        let each = move |(table, rows): (&'static Table, Vec<Row>)| {
            rows.chunks(POSTGRES_ROWS).map(|rows| table.insert_postgres(rows, new)).collect::<Vec<Sql>>()
        };
        self.into_tables().into_iter().flat_map(each)
    }

    /// What deletes the rows on PostgreSQL.
    pub(super) fn deletes(self) -> impl Iterator<Item = Sql> {
        let each = |(table, rows): (&'static Table, Vec<Row>)| {
            rows.chunks(POSTGRES_ROWS).map(|rows| table.delete_postgres(rows)).collect::<Vec<Sql>>()
        };
        self.into_tables().into_iter().flat_map(each)
    }
}

impl Table {
    fn insert_sqlite(&self, rows: impl Iterator<Item = Row>) -> Sql {
        // The same row twice is the same entry: a resource is found once by it. OR IGNORE also spares the statement
        // journal that ON CONFLICT would need, half the cost of a large transaction.
        let mut sql = Sql::new(Dialect::Sqlite, "INSERT OR IGNORE INTO ");
        sql.text(self.name).text(" VALUES ");
        for (n, row) in rows.enumerate() {
            for (m, value) in row.into_iter().enumerate() {
                sql.text(match (n, m) {
                    (0, 0) => "(",
                    (_, 0) => "), (",
                    _ => ", ",
                });
                sql.bind(value);
            }
        }
        sql.text(")");
        sql
    }

    fn insert_postgres(&self, rows: &[Row], new: bool) -> Sql {
        let mut sql = Sql::new(Dialect::Postgres, "INSERT INTO ");
        sql.text(self.name).text(" SELECT * FROM unnest(");
        arrays(&mut sql, rows, self.columns.len());
        // Looking out for conflicts doubles the time. Entries are distinct in all their columns, not always in their key.
        let is_distinct = new && self.key == self.columns.len();
        sql.text(if is_distinct { ")" } else { ") ON CONFLICT DO NOTHING" });
        sql
    }

    fn delete_sqlite(&self, row: &[Bind]) -> Sql {
        let mut sql = Sql::new(Dialect::Sqlite, "DELETE FROM ");
        sql.text(self.name);
        for (n, (column, value)) in self.columns.iter().zip(row).take(self.key).enumerate() {
            sql.text(if n == 0 { " WHERE " } else { " AND " }).text(column).text(" = ").bind(value.clone());
        }
        sql
    }

    fn delete_postgres(&self, rows: &[Row]) -> Sql {
        let mut sql = Sql::new(Dialect::Postgres, "DELETE FROM ");
        sql.text(self.name).text(" t USING unnest(");
        arrays(&mut sql, rows, self.key);
        sql.text(") AS o(");
        for (n, column) in self.columns.iter().take(self.key).enumerate() {
            sql.text(if n == 0 { "" } else { ", " }).text(column);
        }
        sql.text(")");
        for (n, column) in self.columns.iter().take(self.key).enumerate() {
            sql.text(if n == 0 { " WHERE t." } else { " AND t." }).text(column).text(" = o.").text(column);
        }
        sql
    }
}

/// The first columns of the rows, each as one array.
fn arrays(sql: &mut Sql, rows: &[Row], columns: usize) {
    for column in 0..columns {
        if column > 0 {
            sql.text(", ");
        }
        let values = || rows.iter().filter_map(|row| row.get(column));
        let bind = match values().next() {
            Some(Bind::I32(_)) => {
                Bind::I32s(values().filter_map(|v| if let Bind::I32(v) = v { Some(*v) } else { None }).collect())
            }
            Some(Bind::F64(_)) => {
                Bind::F64s(values().filter_map(|v| if let Bind::F64(v) = v { Some(*v) } else { None }).collect())
            }
            Some(Bind::Text(_)) => Bind::Texts(
                values().filter_map(|v| if let Bind::Text(v) = v { Some(v.clone()) } else { None }).collect(),
            ),
            _ => Bind::I64s(values().filter_map(|v| if let Bind::I64(v) = v { Some(*v) } else { None }).collect()),
        };
        sql.bind(bind);
    }
}
