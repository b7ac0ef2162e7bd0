//! A statement under construction: text and bound values in the order in which they stand.
//!
//! It is a diesel query of its own, so that diesel prepares it, caches it and binds it on either database. diesel's own
//! `sql_query` is never cached: each run would be parsed and planned again, and on PostgreSQL cost a round trip more.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;

use diesel::backend::Backend;
use diesel::pg::Pg;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::result::QueryResult;
use diesel::sql_types as st;
use diesel::sqlite::Sqlite;

use super::dialect::Dialect;

/// A value that stands in a statement.
#[derive(Clone, Debug, PartialEq)]
pub enum Bind {
    I16(i16),
    I32(i32),
    I64(i64),
    F64(f64),
    Text(String),
    Bytes(Vec<u8>),
    NullableBytes(Option<Vec<u8>>),
    NullableText(Option<String>),
    I16s(Vec<i16>),
    I32s(Vec<i32>),
    I64s(Vec<i64>),
    F64s(Vec<f64>),
    Texts(Vec<String>),
    NullableTexts(Vec<Option<String>>),
    NullableBytesList(Vec<Option<Vec<u8>>>),
}

#[derive(Clone, Debug)]
enum Part {
    Fixed(&'static str),
    Made(String),
    Bind(Bind),
}

/// Text and binds of one statement.
#[derive(Clone, Debug)]
pub struct Sql {
    pub dialect: Dialect,
    parts: Vec<Part>,
    is_cached: Cell<bool>,
}

impl Sql {
    pub fn new(dialect: Dialect, text: &'static str) -> Self {
        Self { dialect, parts: vec![Part::Fixed(text)], is_cached: Cell::new(true) }
    }

    pub fn text(&mut self, text: &'static str) -> &mut Self {
        self.parts.push(Part::Fixed(text));
        self
    }

    /// Text that was put together here; never a client's.
    pub fn made(&mut self, text: String) -> &mut Self {
        self.parts.push(Part::Made(text));
        self
    }

    pub fn bind(&mut self, bind: Bind) -> &mut Self {
        self.parts.push(Part::Bind(bind));
        self
    }

    pub fn i64(&mut self, value: i64) -> &mut Self {
        self.bind(Bind::I64(value))
    }

    pub fn i32(&mut self, value: i32) -> &mut Self {
        self.bind(Bind::I32(value))
    }

    pub fn i16(&mut self, value: i16) -> &mut Self {
        self.bind(Bind::I16(value))
    }

    pub fn f64(&mut self, value: f64) -> &mut Self {
        self.bind(Bind::F64(value))
    }

    pub fn str(&mut self, value: impl Into<String>) -> &mut Self {
        self.bind(Bind::Text(value.into()))
    }

    /// ` IN (…)` over a list that is one bind, so that the text does not change with its length.
    pub fn in_i64s(&mut self, values: Vec<i64>) -> &mut Self {
        match self.dialect {
            Dialect::Sqlite => {
                let json = serde_json::Value::from(values).to_string();
                self.text(" IN (SELECT value FROM json_each(").str(json).text("))")
            }
            Dialect::Postgres => self.text(" = ANY(").bind(Bind::I64s(values)).text(")"),
        }
    }

    /// ` IN (…)` over texts.
    pub fn in_texts(&mut self, values: Vec<String>) -> &mut Self {
        match self.dialect {
            Dialect::Sqlite => {
                let json = serde_json::Value::from(values).to_string();
                self.text(" IN (SELECT value FROM json_each(").str(json).text("))")
            }
            Dialect::Postgres => self.text(" = ANY(").bind(Bind::Texts(values)).text(")"),
        }
    }

    /// Appends another statement, as a part of this one.
    pub fn append(&mut self, other: Sql) -> &mut Self {
        self.parts.extend(other.parts);
        self
    }

    /// Equal for statements whose text is equal.
    pub(super) fn shape(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for part in &self.parts {
            match part {
                Part::Fixed(text) => text.hash(&mut hasher),
                Part::Made(text) => text.hash(&mut hasher),
                Part::Bind(_) => 0_u8.hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Equal for statements whose text and values are equal.
    pub(super) fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for part in &self.parts {
            match part {
                Part::Fixed(text) => text.hash(&mut hasher),
                Part::Made(text) => text.hash(&mut hasher),
                Part::Bind(bind) => format!("{bind:?}").hash(&mut hasher),
            }
        }
        hasher.finish()
    }

    /// Whether diesel may keep the prepared statement; decided by the connection, which bounds how many it keeps.
    pub(super) fn set_cached(&self, is_cached: bool) {
        self.is_cached.set(is_cached);
    }

    /// The statement as a query whose rows have the SQL types `ST`.
    pub(super) fn typed<ST>(&self) -> Typed<'_, ST> {
        Typed(self, PhantomData)
    }

    fn walk<'b, DB: Backend>(
        &'b self,
        mut out: AstPass<'_, 'b, DB>,
        mut bind: impl FnMut(&mut AstPass<'_, 'b, DB>, &'b Bind) -> QueryResult<()>,
    ) -> QueryResult<()> {
        if !self.is_cached.get() {
            out.unsafe_to_cache_prepared();
        }
        for part in &self.parts {
            match part {
                Part::Fixed(text) => out.push_sql(text),
                Part::Made(text) => out.push_sql(text),
                Part::Bind(value) => bind(&mut out, value)?,
            }
        }
        Ok(())
    }
}

/// Arrays are PostgreSQL's own; on SQLite a list is one JSON text.
fn no_arrays() -> QueryResult<()> {
    Err(diesel::result::Error::QueryBuilderError("an array was bound on SQLite".into()))
}

impl QueryFragment<Sqlite> for Sql {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        self.walk(out, |out, bind| match bind {
            Bind::I16(value) => out.push_bind_param::<st::SmallInt, _>(value),
            Bind::I32(value) => out.push_bind_param::<st::Integer, _>(value),
            Bind::I64(value) => out.push_bind_param::<st::BigInt, _>(value),
            Bind::F64(value) => out.push_bind_param::<st::Double, _>(value),
            Bind::Text(value) => out.push_bind_param::<st::Text, _>(value),
            Bind::Bytes(value) => out.push_bind_param::<st::Binary, _>(value),
            Bind::NullableBytes(value) => out.push_bind_param::<st::Nullable<st::Binary>, _>(value),
            Bind::NullableText(value) => out.push_bind_param::<st::Nullable<st::Text>, _>(value),
            Bind::I16s(_)
            | Bind::I32s(_)
            | Bind::I64s(_)
            | Bind::F64s(_)
            | Bind::Texts(_)
            | Bind::NullableTexts(_)
            | Bind::NullableBytesList(_) => no_arrays(),
        })
    }
}

impl QueryFragment<Pg> for Sql {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.walk(out, |out, bind| match bind {
            Bind::I16(value) => out.push_bind_param::<st::SmallInt, _>(value),
            Bind::I32(value) => out.push_bind_param::<st::Integer, _>(value),
            Bind::I64(value) => out.push_bind_param::<st::BigInt, _>(value),
            Bind::F64(value) => out.push_bind_param::<st::Double, _>(value),
            Bind::Text(value) => out.push_bind_param::<st::Text, _>(value),
            Bind::Bytes(value) => out.push_bind_param::<st::Binary, _>(value),
            Bind::NullableBytes(value) => out.push_bind_param::<st::Nullable<st::Binary>, _>(value),
            Bind::NullableText(value) => out.push_bind_param::<st::Nullable<st::Text>, _>(value),
            Bind::I16s(value) => out.push_bind_param::<st::Array<st::SmallInt>, _>(value),
            Bind::I32s(value) => out.push_bind_param::<st::Array<st::Integer>, _>(value),
            Bind::I64s(value) => out.push_bind_param::<st::Array<st::BigInt>, _>(value),
            Bind::F64s(value) => out.push_bind_param::<st::Array<st::Double>, _>(value),
            Bind::Texts(value) => out.push_bind_param::<st::Array<st::Text>, _>(value),
            Bind::NullableTexts(value) => out.push_bind_param::<st::Array<st::Nullable<st::Text>>, _>(value),
            Bind::NullableBytesList(value) => out.push_bind_param::<st::Array<st::Nullable<st::Binary>>, _>(value),
        })
    }
}

impl QueryId for Sql {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

/// A statement with the SQL types of its rows.
pub(super) struct Typed<'q, ST>(&'q Sql, PhantomData<ST>);

impl<ST, DB: Backend> QueryFragment<DB> for Typed<'_, ST>
where
    Sql: QueryFragment<DB>,
{
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        self.0.walk_ast(out)
    }
}

impl<ST> QueryId for Typed<'_, ST> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<ST> Query for Typed<'_, ST> {
    type SqlType = ST;
}
