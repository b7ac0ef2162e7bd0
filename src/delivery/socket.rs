//! What is sent over one WebSocket (R4 subscription.html, websockets; Backport 1.1.0, channels): it is bound to
//! Subscriptions, and gets their events from then on.
//!
//! Nothing is owed here: who was away asks `$events`. Events are read from where they are numbered, so that it does not
//! matter which node numbers them.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

use crate::app::App;
use crate::auth::caller::{Caller, Identity};
use crate::fhir::error::{FhirError, Kind as Refusal};
use crate::fhir::outcome::IssueCode;
use crate::fhir::types::{ResourceType, is_id};
use crate::interactions::access::Sight;
use crate::interactions::operations::subscription::binding::{self, BOUND_MAX};
use crate::interactions::subscription::{self, NAME};
use crate::interactions::write::stored;
use crate::interactions::{audit, read};
use crate::search::value::Target;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::{self, Lane, State};
use crate::store::notifications::{self, Event};
use crate::subscriptions::definition::{Channel, Definition, Kind, Status};
use crate::subscriptions::notification::{self, Head, Item, Stamp};

use super::letter::{BYTES_MAX, in_mime};
use super::viewer::Viewer;

/// Events that are read at once, and of one notification where the subscriber does not say.
const EVENTS_DEFAULT: i64 = 20;

/// One WebSocket. It is used on one thread.
pub struct Socket {
    app: Arc<App>,
    /// Who opened it.
    caller: Caller,
    bound: Vec<Bound>,
}

/// A Subscription that it is bound to.
struct Bound {
    id: String,
    viewer: Rc<Viewer>,
    definition: Definition,
    /// Of the Subscription, as far as it is known.
    version: i64,
    /// The last event that was sent.
    sent: i64,
    /// When something was sent last, in microseconds.
    sent_at: i64,
}

/// What is to be sent, in order.
#[derive(Debug, Default)]
pub struct News {
    pub messages: Vec<String>,
    /// There is more, which did not fit.
    pub has_more: bool,
    /// Why it is closed after that.
    pub end: Option<String>,
}

/// What a client says.
enum Command {
    BindWithToken(String),
    Bind(String),
}

impl Command {
    /// `bind-with-token: TOKEN` (the colon may be missing), `{"type": "bind-with-token", "payload": {"token": TOKEN}}` as some
    /// clients have it, or `bind ID` of base R4.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with('{') {
            let message: Value = serde_json::from_str(text).ok()?;
            let is_bind = message.get("type").and_then(Value::as_str) == Some("bind-with-token");
            let token = message.pointer("/payload/token").and_then(Value::as_str).filter(|_| is_bind);
            return token.map(|token| Self::BindWithToken(token.to_owned()));
        }
        if let Some(rest) = text.strip_prefix("bind-with-token") {
            let token = rest.strip_prefix([':', ' '])?.trim();
            return (!token.is_empty()).then(|| Self::BindWithToken(token.to_owned()));
        }
        let id = text.strip_prefix("bind ")?.trim();
        is_id(id).then(|| Self::Bind(id.to_owned()))
    }
}

impl Socket {
    pub fn new(app: &Arc<App>, caller: Caller) -> Self {
        Self { app: Arc::clone(app), caller, bound: Vec::new() }
    }

    pub fn is_bound(&self) -> bool {
        !self.bound.is_empty()
    }

    /// Does what the client asks for; what it is answered.
    ///
    /// # Errors
    /// 400 for what is no command, 401 for a token that is none; as [`read::read`] and [`binding::check`] for Subscriptions.
    pub async fn command(&mut self, text: &str) -> Result<Vec<String>, FhirError> {
        let Some(command) = Command::parse(text) else {
            return Err(FhirError::malformed("Commands are 'bind-with-token: TOKEN' and 'bind ID'."));
        };
        let (identity, ids) = match command {
            Command::BindWithToken(token) => {
                let binding = binding::take(&self.app, &token).await?;
                (Arc::new(binding.identity), binding.subscriptions)
            }
            Command::Bind(id) => (Arc::clone(&self.caller.identity), vec![id]),
        };
        let viewer = Rc::new(Viewer::new(Some(Arc::clone(&identity))));
        let mut answers = Vec::new();
        for id in ids {
            let bound = self.bind(&identity, &viewer, &id).await;
            if let Err(error) = &bound
                && audit::is_for_lack_of_rights(error)
            {
                let refused = audit::Refused::new("GET", &format!("/fhir/Subscription/{id}"), error.kind.status());
                audit::record_refusals(&self.app, &self.caller, vec![refused]).await;
            }
            answers.push(bound?);
        }
        Ok(answers)
    }

    async fn bind(&mut self, identity: &Arc<Identity>, viewer: &Rc<Viewer>, id: &str) -> Result<String, FhirError> {
        if self.bound.len() >= BOUND_MAX {
            let sentence = format!("A WebSocket is bound to {BOUND_MAX} Subscriptions at most.");
            return Err(FhirError::malformed(sentence).code(IssueCode::TooCostly));
        }
        let app = &self.app;
        let caller = Caller { identity: Arc::clone(identity), address: self.caller.address };
        // Their events are theirs from here on: what is numbered already was before.
        let name = format!("{NAME}{id}");
        let lane = app.store.read(async |conn: &mut Conn| lanes::named(conn, &name).await).await?;
        let found = read::read(app, &caller, ResourceType::Subscription, id).await?;
        let body = stored(&found.body)?;
        binding::check(id, &body)?;
        let definition =
            subscription::definition(app, &found.body).map_err(|reason| FhirError::new(Refusal::Invalid, reason))?;
        let status = body.get("status").and_then(Value::as_str).and_then(Status::parse).unwrap_or(Status::Requested);
        let bound = Bound {
            id: id.to_owned(),
            viewer: Rc::clone(viewer),
            definition,
            version: found.version,
            sent: lane.map_or(0, |lane| lane.numbered),
            sent_at: app.now().0,
        };
        let answer = match bound.definition.kind {
            Kind::Criteria(_) => format!("bound {id}"),
            Kind::Topic(_) => {
                let text = notification::handshake(&bound.head(app, status), bound.sent);
                in_mime(&bound.definition, text)
            }
        };
        self.bound.retain(|other| other.id != bound.id);
        self.bound.push(bound);
        Ok(answer)
    }

    /// What has happened since it was asked the last time, up to 1 MB or one notification.
    ///
    /// # Errors
    /// [`StoreError`] of the statements.
    pub async fn news(&mut self) -> Result<News, StoreError> {
        let names = self.bound.iter().map(|bound| format!("{NAME}{}", bound.id)).collect();
        let lanes = self.app.store.read(async |conn: &mut Conn| lanes::of_names(conn, names).await).await?;
        let mut news = News::default();
        let mut ended = Vec::new();
        for (n, bound) in self.bound.iter_mut().enumerate() {
            // One that is new has no lane yet.
            let Some(lane) = lanes.iter().find(|lane| lane.name.strip_prefix(NAME) == Some(&bound.id)) else {
                continue;
            };
            // An older version than the one that was read.
            if lane.version < bound.version {
                continue;
            }
            if let Some(why) = bound.follow(&self.app, lane).await? {
                bound.take_leave(&self.app, lane, &mut news);
                news.end = Some(why);
                ended.push(n);
                continue;
            }
            bound.tell(&self.app, lane, &mut news).await?;
        }
        for n in ended.into_iter().rev() {
            self.bound.remove(n);
        }
        // Others may go on.
        if self.is_bound() {
            news.end = None;
        }
        Ok(news)
    }
}

impl Bound {
    /// Learns of a new version. The sentence why it is over, if it is.
    async fn follow(&mut self, app: &App, lane: &Lane) -> Result<Option<String>, StoreError> {
        let over = |why: &str| Ok(Some(format!("Subscription/{} {why}", self.id)));
        let body = match (lane.state, &lane.body) {
            (State::Failed, _) => return over("is in error"),
            (State::Off, Some(_)) => return over("is off"),
            (_, None) => return over("was deleted"),
            (State::Starting | State::Active, Some(body)) => body,
        };
        let sight = self.viewer.sight(app, ResourceType::Subscription).await?;
        let is_seen = match &*sight {
            Sight::Nothing => false,
            Sight::Everything => true,
            Sight::Only(_) if lane.version == self.version => true,
            Sight::Only(_) => {
                let target = Target { resource_type: ResourceType::Subscription, id: self.id.clone() };
                stored(body).is_ok_and(|body| sight.reaches(app, &target, app.now(), &body))
            }
        };
        if !is_seen {
            return over("may not be seen any more");
        }
        if lane.version > self.version {
            match subscription::definition(app, body) {
                Ok(definition) if definition.channel == Channel::WebSocket => self.definition = definition,
                _ => return over("is not served over a WebSocket any more"),
            }
            self.version = lane.version;
        }
        Ok(None)
    }

    /// Tells the status in which it ends.
    fn take_leave(&self, app: &App, lane: &Lane, news: &mut News) {
        if let Kind::Topic(_) = self.definition.kind {
            let text = notification::heartbeat(&self.head(app, status_of(lane)), lane.numbered);
            news.messages.push(in_mime(&self.definition, text));
        }
    }

    /// Tells of events, or that this server is there when that is due.
    async fn tell(&mut self, app: &App, lane: &Lane, news: &mut News) -> Result<(), StoreError> {
        let now = app.now().0;
        let mut bytes: usize = news.messages.iter().map(String::len).sum();
        while self.sent < lane.numbered {
            if bytes >= BYTES_MAX {
                news.has_more = true;
                return Ok(());
            }
            let most = self.definition.max_count.map_or(EVENTS_DEFAULT, i64::from).min(EVENTS_DEFAULT);
            let after = self.sent;
            let read =
                async |conn: &mut Conn| notifications::between(conn, lane.lane, after, lane.numbered, most).await;
            let events = app.store.read(read).await?;
            let Some(last) = events.last().map(|event| event.number) else { return Ok(()) };
            let messages = self.messages(app, lane, &events).await?;
            bytes += messages.iter().map(String::len).sum::<usize>();
            news.messages.extend(messages);
            self.sent = last;
            self.sent_at = now;
        }
        let period = self.definition.heartbeat_s.map(|s| i64::from(s) * 1_000_000);
        if period.is_some_and(|period| now - self.sent_at >= period) {
            let text = notification::heartbeat(&self.head(app, status_of(lane)), lane.numbered);
            news.messages.push(in_mime(&self.definition, text));
            self.sent_at = now;
        }
        Ok(())
    }

    async fn messages(&self, app: &App, lane: &Lane, events: &[Event]) -> Result<Vec<String>, StoreError> {
        let mut items: Vec<Item<'_>> = Vec::new();
        for event in events {
            items.push(subscription::item(event, self.viewer.may_see(app, event).await?));
        }
        if let Kind::Criteria(_) = self.definition.kind {
            let seen = items.iter().filter(|item| item.is_seen);
            return Ok(seen.map(|_| format!("ping {}", self.id)).collect());
        }
        // Resources of twenty events may be large together: each notification has what one call of a rest-hook has.
        let mut messages = Vec::new();
        let mut rest = items.as_slice();
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |item: &&Item<'_>| {
                bytes += item.body.map_or(0, str::len);
                bytes <= BYTES_MAX
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (some, later) = rest.split_at(count);
            let last = some.last().map_or(0, |item| item.number);
            let head = self.head(app, status_of(lane));
            messages.push(in_mime(&self.definition, notification::event_notification(&head, last, some)));
            rest = later;
        }
        Ok(messages)
    }

    fn head<'a>(&'a self, app: &'a App, status: Status) -> Head<'a> {
        Head {
            base: app.base(),
            subscription_id: &self.id,
            topic: self.definition.topic_url(),
            status,
            content: self.definition.content,
            errors: &[],
            stamp: Stamp { bundle: Uuid::new_v4(), status: Uuid::new_v4(), now: app.now() },
        }
    }
}

/// The status of a Subscription by what its lane does.
fn status_of(lane: &Lane) -> Status {
    match lane.state {
        State::Starting => Status::Requested,
        State::Active => Status::Active,
        State::Failed => Status::Error,
        State::Off => Status::Off,
    }
}
