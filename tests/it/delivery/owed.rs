//! What the database says about lanes, read beside the server.

use plumbline::store::conn::Conn;
use plumbline::store::error::StoreError;
use plumbline::store::lanes::{self, Lane};
use plumbline::store::notifications::{self, Attempt, Held};
use plumbline::store::{Limits, Store};
use tokio::runtime::Runtime;

use crate::harness::Server;

/// A second look at the database of a server.
pub struct Books {
    runtime: Runtime,
    store: Store,
}

impl Books {
    pub fn of(server: &Server) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let store = runtime.block_on(Store::open(&server.store_url(), Limits::default())).expect("the database");
        Self { runtime, store }
    }

    /// A look at what this process has open.
    pub fn over(store: Store) -> Self {
        Self { runtime: Runtime::new().expect("a runtime"), store }
    }

    /// The lane of a Subscription.
    pub fn lane(&self, id: &str) -> Lane {
        let name = format!("Subscription/{id}");
        let read = async |conn: &mut Conn| lanes::named(conn, &name).await;
        let found: Result<Option<Lane>, StoreError> = self.runtime.block_on(self.store.read(read));
        found.expect("an answer").unwrap_or_else(|| panic!("{name} has a lane"))
    }

    /// What it holds: what is dead, or what is not.
    pub fn held(&self, id: &str, is_dead: bool) -> Vec<Held> {
        let lane = self.lane(id).lane;
        let read = async |conn: &mut Conn| notifications::held(conn, lane, is_dead, 0, 100_000).await;
        let found: Result<Vec<Held>, StoreError> = self.runtime.block_on(self.store.read(read));
        found.expect("an answer")
    }

    /// The calls to it, newest first.
    pub fn attempts(&self, id: &str) -> Vec<Attempt> {
        let lane = self.lane(id).lane;
        let read = async |conn: &mut Conn| notifications::attempts(conn, lane, i64::MAX, 100_000).await;
        let found: Result<Vec<Attempt>, StoreError> = self.runtime.block_on(self.store.read(read));
        found.expect("an answer")
    }
}
