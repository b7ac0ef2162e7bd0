//! Who is to be told of changes, as of the mark of the fan-out: every Subscription that counts, indexed by what it asks for.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::app::App;
use crate::fhir::types::Instant;
use crate::interactions::subscription::{self, Owner};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::{self, Lane, State};
use crate::store::records;
use crate::subscriptions::definition::Definition;
use crate::subscriptions::registry::Registry;

use super::viewer::Viewer;

/// A Subscription and on whose authority it is.
pub(super) struct Subscriber {
    pub lane: i64,
    /// Of the Subscription.
    pub id: String,
    pub version: i64,
    pub state: State,
    pub definition: Arc<Definition>,
    /// On whose authority it is.
    pub viewer: Viewer,
}

/// A Subscription that is stored but cannot be used.
pub(super) struct Unusable {
    pub id: String,
    pub version: i64,
    pub reason: String,
}

/// All of them.
#[derive(Default)]
pub(super) struct Roster {
    /// The position of the log that it is as of.
    position: i64,
    /// Of the newest change of a Subscription in it.
    changed: i64,
    pub registry: Registry<i64>,
    subscribers: HashMap<i64, Rc<Subscriber>>,
    unusable: Vec<Unusable>,
}

impl Roster {
    pub fn position(&self) -> i64 {
        self.position
    }

    /// Nothing changed among Subscriptions up to this position.
    pub fn pass(&mut self, position: i64) {
        self.position = position;
    }

    pub fn get(&self, lane: i64) -> Option<Rc<Subscriber>> {
        self.subscribers.get(&lane).map(Rc::clone)
    }

    /// Those that want to hear of this server even when nothing happens.
    pub fn beating(&self) -> Vec<i64> {
        let beats = self.subscribers.values().filter(|it| it.definition.heartbeat_s.is_some());
        beats.map(|subscriber| subscriber.lane).collect()
    }

    /// The Subscriptions that have ended by now: id and version.
    pub fn ended(&self, now: Instant) -> Vec<(String, i64)> {
        let is_over = |it: &&Rc<Subscriber>| it.definition.end.is_some_and(|end| end <= now);
        let ended = self.subscribers.values().filter(|it| it.state != State::Off).filter(is_over);
        ended.map(|subscriber| (subscriber.id.clone(), subscriber.version)).collect()
    }

    /// Keeps what could not be dealt with yet.
    pub fn put_back(&mut self, it: Unusable) {
        self.unusable.push(it);
    }

    /// What was found that cannot be used, once.
    pub fn take_unusable(&mut self) -> Vec<Unusable> {
        std::mem::take(&mut self.unusable)
    }

    /// Of the newest change of a Subscription that it knows.
    pub fn changed(&self) -> i64 {
        self.changed
    }

    /// Takes over what has changed; the lanes.
    pub fn take(&mut self, app: &App, news: Vec<(Lane, Option<Owner>)>) -> Vec<i64> {
        let lanes = news.iter().map(|(lane, _)| lane.lane).collect();
        for (lane, owner) in news {
            self.changed = self.changed.max(lane.changed);
            self.put(app, lane, owner);
        }
        lanes
    }

    fn put(&mut self, app: &App, lane: Lane, owner: Option<Owner>) {
        self.registry.remove(lane.lane);
        self.subscribers.remove(&lane.lane);
        let (Some(body), Some(id)) = (&lane.body, lane.name.strip_prefix(subscription::NAME)) else { return };
        if lane.state == State::Off {
            return;
        }
        let definition = match subscription::definition(app, body) {
            Ok(definition) => Arc::new(definition),
            Err(reason) => {
                self.unusable.push(Unusable { id: id.to_owned(), version: lane.version, reason });
                return;
            }
        };
        if lane.counts {
            self.registry.insert(lane.lane, Arc::clone(&definition));
        }
        let subscriber = Subscriber {
            lane: lane.lane,
            id: id.to_owned(),
            version: lane.version,
            state: lane.state,
            definition,
            viewer: Viewer::new(owner.map(|Owner(identity)| Arc::new(identity))),
        };
        self.subscribers.insert(lane.lane, Rc::new(subscriber));
    }
}

/// What has changed after a position of the log, and on whose authority it is.
///
/// # Errors
/// [`StoreError`] of the statements.
pub(super) async fn news(conn: &mut Conn, after: i64) -> Result<Vec<(Lane, Option<Owner>)>, StoreError> {
    let mut news = Vec::new();
    for lane in lanes::changed_after(conn, after).await? {
        let owner = match lane.name.strip_prefix(subscription::NAME) {
            Some(id) => records::get::<Owner>(conn, id).await?,
            None => None,
        };
        news.push((lane, owner));
    }
    Ok(news)
}
