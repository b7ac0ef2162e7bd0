//! PostgreSQL connections of one server thread: one that short reads share, and a bounded pool for searches.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::Limits;
use super::conn::{Conn, Database, Use};
use super::error::StoreError;

thread_local! {
    static SHARED: RefCell<HashMap<u64, Conn>> = RefCell::new(HashMap::new());
    static POOLS: RefCell<HashMap<u64, Rc<Pool>>> = RefCell::new(HashMap::new());
}

/// The connection on which the short reads of this thread are pipelined.
pub(super) struct Shared;

impl Shared {
    pub(super) async fn get(store: u64, database: &Database) -> Result<Conn, StoreError> {
        let kept = SHARED.with_borrow_mut(|conns| {
            conns.retain(|_, conn| !conn.is_closed());
            conns.get(&store).and_then(Conn::share)
        });
        if let Some(conn) = kept {
            return Ok(conn);
        }
        let conn = Conn::open(database, Use::Read).await?;
        let handle = conn.share().ok_or(StoreError::Cancelled)?;
        SHARED.with_borrow_mut(|conns| conns.insert(store, conn));
        Ok(handle)
    }
}

/// Connections for searches, each used by one at a time.
pub(super) struct Pool {
    idle: RefCell<Vec<Conn>>,
    free: std::sync::Arc<Semaphore>,
}

impl Pool {
    /// Waits for a free connection, at most as long as a search may take.
    pub(super) async fn lease(
        store: u64,
        database: &Database,
        limit_ms: u64,
        limits: &Limits,
    ) -> Result<Lease, StoreError> {
        let pool = POOLS.with_borrow_mut(|pools| {
            Rc::clone(pools.entry(store).or_insert_with(|| {
                let free = std::sync::Arc::new(Semaphore::new(limits.readers.max(1)));
                Rc::new(Self { idle: RefCell::new(Vec::new()), free })
            }))
        });
        let waiting = std::sync::Arc::clone(&pool.free).acquire_owned();
        let permit = tokio::time::timeout(Duration::from_millis(limit_ms), waiting)
            .await
            .map_err(|_elapsed| StoreError::Busy)?
            .map_err(|_closed| StoreError::Cancelled)?;
        let idle = loop {
            match pool.idle.borrow_mut().pop() {
                Some(conn) if conn.is_closed() => {}
                other => break other,
            }
        };
        let conn = match idle {
            Some(conn) => conn,
            None => Conn::open(database, Use::Search { limit_ms }).await?,
        };
        Ok(Lease { conn, pool, _permit: permit, state: State::InUse })
    }
}

enum State {
    InUse,
    Done,
    Broken,
}

/// A connection in use. Dropped in the middle of a search, it ends the statement and is not used again.
pub(super) struct Lease {
    conn: Conn,
    pool: Rc<Pool>,
    _permit: OwnedSemaphorePermit,
    state: State,
}

impl Lease {
    pub(super) fn conn(&mut self) -> &mut Conn {
        &mut self.conn
    }

    /// The connection is not to be used again.
    pub(super) fn discard(&mut self) {
        self.state = State::Broken;
    }

    /// Gives the connection back to the pool.
    pub(super) fn give_back(mut self) {
        if matches!(self.state, State::InUse) {
            self.state = State::Done;
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        match self.state {
            State::Done => {
                if let Some(conn) = self.conn.share() {
                    self.pool.idle.borrow_mut().push(conn);
                }
            }
            State::Broken => {}
            State::InUse => {
                if let (Some(token), Ok(runtime)) = (self.conn.cancel_token(), tokio::runtime::Handle::try_current()) {
                    runtime.spawn(token.send());
                }
            }
        }
    }
}
