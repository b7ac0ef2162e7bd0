//! The feed of changes: every version that a caller may see, in order of commits, for those who keep a copy.
//!
//! A page ends at a position, whether or not the change there was one for this caller: who goes on from there misses nothing
//! and sees nothing twice. [`crate::store::changes`] says what a position is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::types::ResourceType;
use crate::store::View;
use crate::store::change::Kind as ChangeKind;
use crate::store::changes;
use crate::store::conn::Conn;
use crate::store::dialect::Dialect;
use crate::store::error::StoreError;
use crate::store::history::Version;

use super::seen::Seen;

/// Changes that one statement brings: so many contents are in memory beside those of the page.
const ONCE: i64 = 100;
/// Positions that one statement passes at most, and one look: others' changes and other types' cost little each, but something.
const WINDOW: i64 = 10_000;
const WINDOWS_MAX: usize = 20;
/// Changes that one look takes apart at most, to see whether they are for the caller.
const LOOKED_AT_MAX: usize = 2_000;
/// How often is looked for changes that nobody in this process told of.
const POLL: Duration = Duration::from_secs(1);
/// The least time between two looks of one who waits: when very much is written, it comes together.
const PAUSE: Duration = Duration::from_millis(50);

/// What one caller may follow.
pub struct Feed {
    seen: Arc<Seen>,
}

/// How large a page may be. One change is on it in any case.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub count: usize,
    /// Of all changes as JSON.
    pub bytes: usize,
}

/// A change, and as JSON in one line.
#[derive(Clone, Debug)]
pub struct Change {
    pub position: i64,
    /// `create`, `update` or `delete`.
    pub action: &'static str,
    /// `{"position", "action", "type", "id", "version", "at", "resource"}`; a deletion has no resource.
    pub json: String,
}

/// A stretch of the feed.
#[derive(Clone, Debug)]
pub struct Page {
    pub changes: Vec<Change>,
    /// The position to go on from.
    pub next: i64,
    /// Whether that was the end of the log.
    pub is_end: bool,
}

/// The position of the last change.
///
/// # Errors
/// The store's.
pub async fn end(app: &App) -> Result<i64, StoreError> {
    app.store.read(async |conn: &mut Conn| changes::end(conn).await).await
}

impl Feed {
    /// What a caller may follow: the types that are named, or those of the directory that they may search.
    ///
    /// # Errors
    /// 401 and 403 when one that is named may not be searched, or none of the others.
    pub fn new(app: &App, caller: &Caller, named: &[ResourceType]) -> Result<Self, FhirError> {
        let seen = match named {
            [] => {
                let directory = ResourceType::ALL.iter().copied().filter(|it| it.is_directory());
                Seen::allowed(app, caller, directory)?
            }
            named => Seen::required(app, caller, Access::SEARCH, named)?,
        };
        Ok(Self { seen: Arc::new(seen) })
    }

    /// The changes after a position. There may be more although there is none here, unless this is the end.
    ///
    /// # Errors
    /// 410 for a position that this database has not reached: it was set back since the position was given. The store's.
    pub async fn page(&self, app: &Arc<App>, after: i64, bounds: Bounds) -> Result<Page, FhirError> {
        let end = end(app).await?;
        if after > end {
            let sentence = format!(
                "There is no position {after}: the last change here is {end}. The database was set back to an older state, or the \
                 position is another directory's; load everything anew, from after=0."
            );
            return Err(FhirError::new(Kind::Gone, sentence).code(IssueCode::NotFound).at("http.after"));
        }
        if after == end {
            return Ok(Page { changes: Vec::new(), next: end, is_end: true });
        }
        let (app, worker, seen) = (app, Arc::clone(app), Arc::clone(&self.seen));
        let look = async move |conn: &mut Conn| look(&worker, conn, &seen, (after, end), bounds).await;
        app.store.search(View::Current, look).await
    }
}

async fn look(
    app: &App,
    conn: &mut Conn,
    seen: &Seen,
    (after, end): (i64, i64),
    bounds: Bounds,
) -> Result<Page, FhirError> {
    let types = seen.types();
    let mut page = Page { changes: Vec::new(), next: after, is_end: false };
    let (mut bytes, mut looked_at, mut windows) = (0, 0, 0);
    while page.next < end && windows < WINDOWS_MAX && looked_at < LOOKED_AT_MAX {
        let to = page.next.saturating_add(WINDOW).min(end);
        let some = changes::between(conn, &types, page.next, to, ONCE).await?;
        let is_all = i64::try_from(some.len()).is_ok_and(|found| found < ONCE);
        for (position, version) in some {
            if page.changes.len() == bounds.count {
                return Ok(page);
            }
            // Those who see everything have nothing taken apart for them.
            looked_at += usize::from(!seen.is_everything());
            if seen.reaches(app, conn, &version).await? {
                let change = change(position, version)?;
                bytes += change.json.len();
                if bytes > bounds.bytes && !page.changes.is_empty() {
                    return Ok(page);
                }
                page.changes.push(change);
            }
            page.next = position;
        }
        if is_all {
            page.next = to;
            windows += 1;
        }
    }
    page.is_end = page.next == end;
    Ok(page)
}

fn change(position: i64, version: Version) -> Result<Change, FhirError> {
    let action = match version.kind {
        ChangeKind::Create | ChangeKind::UpdateAsCreate => "create",
        ChangeKind::Update => "update",
        ChangeKind::Delete => "delete",
    };
    let Version { resource_type, id, version, at, body, .. } = version;
    let at = at.to_fhir();
    // Types, ids and instants need no escapes.
    let mut json = format!(
        r#"{{"position":{position},"action":"{action}","type":"{resource_type}","id":"{id}","version":{version},"at":"{at}""#
    );
    if let Some(body) = body {
        json.push_str(r#","resource":"#);
        match body.contains(['\n', '\r']) {
            true => json.push_str(&super::write::stored(&body)?.to_string()),
            false => json.push_str(&body),
        }
    }
    json.push('}');
    Ok(Change { position, action, json })
}

/// Waits for changes, holding neither a connection nor memory.
pub struct Follower {
    app: Arc<App>,
    /// On SQLite a change has its position when it is committed, on PostgreSQL when it is fanned out.
    news: News,
    looked_at: Option<Instant>,
}

enum News {
    Committed(watch::Receiver<()>),
    FannedOut(watch::Receiver<i64>),
}

impl Follower {
    pub fn new(app: &Arc<App>) -> Self {
        let news = match app.store.database().dialect() {
            Dialect::Sqlite => News::Committed(app.store.additions()),
            Dialect::Postgres => News::FannedOut(app.fanned_out.subscribe()),
        };
        Self { app: Arc::clone(app), news, looked_at: None }
    }

    /// Returns when the log does not end at this position any more. May be dropped at any time.
    ///
    /// # Errors
    /// The store's.
    pub async fn more(&mut self, after: i64) -> Result<(), StoreError> {
        loop {
            if let Some(looked_at) = self.looked_at {
                tokio::time::sleep_until(looked_at + PAUSE).await;
            }
            self.looked_at = Some(Instant::now());
            // What comes from here on is news.
            match &mut self.news {
                News::Committed(news) => news.mark_unchanged(),
                News::FannedOut(news) => news.mark_unchanged(),
            }
            // Less is more, too: the one who asks is then told that the database was set back.
            if end(&self.app).await? != after {
                return Ok(());
            }
            let told = async {
                match &mut self.news {
                    News::Committed(news) => news.changed().await,
                    News::FannedOut(news) => news.changed().await,
                }
            };
            let _told_or_not = tokio::time::timeout(POLL, told).await;
        }
    }
}
