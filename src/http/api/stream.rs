//! Changes as server-sent events (HTML, "Server-sent events").
//!
//! What is to be sent is read by a task of its own, which is a page ahead of the client at most. So a client that does not take
//! what it is sent holds one page and nothing else, and its place is given to others when it has not moved for a while.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpRequest;
use actix_web::web::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::http::identify;
use crate::interactions::changes::{Bounds, Feed, Follower, Page};
use crate::limits::Place;

/// What is read ahead for one client.
const PAGE: Bounds = Bounds { count: 500, bytes: 256 << 10 };
/// How often something is sent when nothing happens: more often than proxies close what is silent.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How often the token is looked at again. The other waits are shorter than what is left of a minute.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long a client may leave what it is sent.
const PATIENCE: Duration = Duration::from_secs(30);
/// After how many milliseconds a client comes again that lost the connection.
const RETRY_MS: u32 = 2_000;

/// What a stream needs while it lasts.
pub(super) struct Following {
    pub app: Arc<App>,
    /// With the token.
    pub request: HttpRequest,
    pub feed: Feed,
    pub after: i64,
    pub place: Place,
}

/// The events after a position, for as long as the client stays, its token is good and the server runs.
pub(super) fn follow(following: Following) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    let (send, events) = mpsc::channel(1);
    actix_web::rt::spawn(async move {
        let _place = &following.place;
        if let Err(error) = run(&following, &send).await {
            // The client comes again by itself, and is then told with a status.
            tracing::debug!(%error, "a stream of changes has ended");
            let _gone = send.try_send(Bytes::from(format!(": {}\n\n", one_line(&error))));
        }
    });
    stream::unfold(events, |mut events| async { events.recv().await.map(|event| (Ok(event), events)) })
}

async fn run(following: &Following, send: &mpsc::Sender<Bytes>) -> Result<(), FhirError> {
    let Following { app, request, feed, .. } = following;
    let mut follower = Follower::new(app);
    let mut stopped = app.stopping.subscribe();
    let mut looked_at = Instant::now();
    let mut position = following.after;
    let mut text = format!("retry: {RETRY_MS}\nid: {position}\n\n");
    while !*stopped.borrow() {
        if !text.is_empty() && !matches!(timeout(PATIENCE, send.send(Bytes::from(text))).await, Ok(Ok(()))) {
            return Ok(());
        }
        if looked_at.elapsed() >= LOOK_AGAIN {
            identify::bearer(app, request).await?;
            looked_at = Instant::now();
        }
        let page = feed.page(app, position, PAGE).await?;
        (position, text) = (page.next, events(&page));
        if !page.is_end || !text.is_empty() {
            tokio::task::yield_now().await;
            continue;
        }
        tokio::select! {
            () = send.closed() => return Ok(()),
            _ = stopped.wait_for(|stop| *stop) => {}
            more = timeout(KEEP_ALIVE, follower.more(position)) => match more {
                Ok(more) => more?,
                // With the position: what was passed over is not looked at again by one who comes back.
                Err(_elapsed) => text = format!(": keep-alive\nid: {position}\n\n"),
            },
        }
    }
    Ok(())
}

fn events(page: &Page) -> String {
    let bytes = page.changes.iter().map(|change| change.json.len() + 64).sum();
    let mut text = String::with_capacity(bytes);
    for change in &page.changes {
        // A String takes it all.
        let _never_fails = write!(text, "id: {}\nevent: {}\ndata: {}\n\n", change.position, change.action, change.json);
    }
    text
}

fn one_line(error: &FhirError) -> String {
    let sentence = if error.kind == Kind::Internal { "Internal error.".to_owned() } else { error.to_string() };
    sentence.replace(['\n', '\r'], " ")
}
