//! What became of deliveries, written down: many lanes' in one transaction, so that one sync to the disk serves all.
//!
//! A worker goes on with its next call while the last one is being recorded, within the bound of the queue. What was not
//! recorded when the process ends is delivered again, under the same numbers.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::store::Store;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::{self, Progress};
use crate::store::notifications::{self, Attempt, Held};

/// Reports that may wait, and that one transaction takes.
const WAITING_MAX: usize = 512;
const TOGETHER_MAX: usize = 256;
/// How long it waits before it tries again when the database does not take what it has.
const PATIENCE: Duration = Duration::from_millis(200);

/// What became of a call, or of a look at what is held.
#[derive(Clone, Debug, Default)]
pub(super) struct Report {
    pub lane: i64,
    pub progress: Option<Progress>,
    pub attempt: Option<Attempt>,
    pub hold: Vec<Held>,
    pub let_go: Vec<i64>,
}

/// A report and whoever waits until it is kept: true when the lane is still this node's.
type Waiting = (Report, Option<oneshot::Sender<bool>>);

/// The way to the recorder. Cheap to clone.
#[derive(Clone)]
pub(super) struct Recorder(mpsc::Sender<Waiting>);

impl Recorder {
    /// Starts the recorder on this thread. `lost` is told of lanes that are not this node's any more.
    pub fn start(store: Store, node: i64, lost: impl Fn(i64) + 'static) -> Self {
        let (send, mut reports) = mpsc::channel::<Waiting>(WAITING_MAX);
        tokio::task::spawn_local(async move {
            let lost = Rc::new(lost);
            let mut together = Vec::with_capacity(TOGETHER_MAX);
            while reports.recv_many(&mut together, TOGETHER_MAX).await > 0 {
                let (all, waiting): (Vec<Report>, Vec<_>) = together.drain(..).unzip();
                let lanes: Vec<i64> = all.iter().map(|report| report.lane).collect();
                let gone = keep(&store, node, Arc::new(all)).await;
                for (lane, waiting) in lanes.into_iter().zip(waiting) {
                    let is_ours = !gone.contains(&lane);
                    if let Some(waiting) = waiting {
                        let _left = waiting.send(is_ours);
                    }
                    if !is_ours {
                        lost(lane);
                    }
                }
            }
        });
        Self(send)
    }

    /// Hands a report over; it is kept soon.
    pub async fn tell(&self, report: Report) {
        let _ended = self.0.send((report, None)).await;
    }

    /// Hands a report over and waits until it is kept: false when the lane is not this node's any more.
    pub async fn tell_and_wait(&self, report: Report) -> bool {
        let (send, kept) = oneshot::channel();
        if self.0.send((report, Some(send))).await.is_err() {
            return false;
        }
        kept.await.unwrap_or(false)
    }
}

/// Keeps reports; the lanes that are not this node's any more. It does not give up: what has been delivered has been.
async fn keep(store: &Store, node: i64, reports: Arc<Vec<Report>>) -> Vec<i64> {
    loop {
        let all = Arc::clone(&reports);
        match store.write(async move |conn: &mut Conn| keep_in(conn, node, &all).await).await {
            Ok(gone) => return gone,
            Err(error) => {
                tracing::warn!(%error, reports = reports.len(), "deliveries could not be recorded; trying again");
                tokio::time::sleep(PATIENCE).await;
            }
        }
    }
}

async fn keep_in(conn: &mut Conn, node: i64, reports: &[Report]) -> Result<Vec<i64>, StoreError> {
    // The last word of each lane counts, and lanes are changed in one order by everybody.
    let mut progress: BTreeMap<i64, &Progress> = BTreeMap::new();
    for report in reports {
        if let Some(it) = &report.progress {
            progress.insert(report.lane, it);
        }
    }
    let mut gone = Vec::new();
    for (lane, it) in progress {
        if !lanes::progress(conn, node, it).await? {
            gone.push(lane);
        }
    }
    for report in reports.iter().filter(|report| !gone.contains(&report.lane)) {
        for held in &report.hold {
            notifications::hold(conn, report.lane, held).await?;
        }
        if !report.let_go.is_empty() {
            notifications::let_go(conn, report.lane, report.let_go.clone()).await?;
        }
    }
    // Calls that were made are recorded whoever holds the lane by now.
    let attempts: Vec<Attempt> = reports.iter().filter_map(|report| report.attempt.clone()).collect();
    notifications::record(conn, &attempts).await?;
    Ok(gone)
}
