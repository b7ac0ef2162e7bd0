//! How a SQLite statement is ended before it is done: a function that every statement of a search calls for each row it
//! looks at, and that fails once the time is over or the client has gone.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use diesel::declare_sql_function;
use diesel::serialize::{IsNull, Output, ToSql};
use diesel::sql_types::Bool;
use diesel::sqlite::{Sqlite, SqliteConnection};

pub(super) const TIME_LIMIT: &str = "plumbline: the time limit is over";
pub(super) const CANCELLED: &str = "plumbline: nobody waits any more";

/// Rows between two looks at the clock.
const ROWS_PER_LOOK: u32 = 64;

struct Limit {
    until: Instant,
    cancelled: Option<Arc<AtomicBool>>,
    rows: u32,
}

thread_local! {
    static LIMIT: RefCell<Option<Limit>> = const { RefCell::new(None) };
}

/// While it lives, the statements of this thread's connection are limited.
pub(super) struct Guard;

impl Guard {
    pub(super) fn new(time: Duration, cancelled: Option<Arc<AtomicBool>>) -> Self {
        LIMIT.set(Some(Limit { until: Instant::now() + time, cancelled, rows: 0 }));
        Self
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        LIMIT.set(None);
    }
}

/// What the function returns: true, or the error that ends the statement.
#[derive(Debug)]
struct GoOn;

impl ToSql<Bool, Sqlite> for GoOn {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Sqlite>) -> diesel::serialize::Result {
        LIMIT.with_borrow_mut(|limit| {
            let Some(limit) = limit else { return Ok(()) };
            limit.rows += 1;
            if limit.rows % ROWS_PER_LOOK != 0 {
                return Ok(());
            }
            if limit.cancelled.as_ref().is_some_and(|flag| flag.load(Ordering::Relaxed)) {
                return Err(CANCELLED);
            }
            if Instant::now() >= limit.until { Err(TIME_LIMIT) } else { Ok(()) }
        })?;
        out.set_value(1_i32);
        Ok(IsNull::No)
    }
}

#[declare_sql_function]
extern "SQL" {
    fn plumbline_go_on() -> Bool;
}

/// Makes `plumbline_go_on()` known to a connection.
pub(super) fn register(conn: &mut SqliteConnection) -> diesel::QueryResult<()> {
    plumbline_go_on_utils::register_nondeterministic_impl(conn, || GoOn)
}
