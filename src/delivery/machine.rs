//! The thread that delivers: it follows the log, fans it out, and keeps a worker going for each lane that has something to do.
//!
//! It reads the state of things from the database and needs no messages to go on after a crash: a commit, another node and the
//! clock only wake it early.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::LocalSet;

use crate::app::App;
use crate::fhir::types::Instant;
use crate::interactions::subscription;
use crate::net::sender::Sender;
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::lanes::{self, Node, State};
use crate::store::notifications;
use crate::store::presence::Presence;
use crate::subscriptions::definition::Status;

use super::breaker::Breakers;
use super::fan_out::{self, News, Round};
use super::keys::Keys;
use super::recorder::{Recorder, Report};
use super::roster::{self, Roster};
use super::schedule::Schedule;
use super::secrets::Secrets;
use super::worker::{self, Handle};

/// How often is looked for what nobody told of.
const TICK: Duration = Duration::from_secs(1);
/// How long a node is believed to live without a sign, in microseconds, and how often it gives one.
const BELIEVED: i64 = 60_000_000;
const SIGN_EVERY: Duration = Duration::from_secs(15);
/// How long calls under way are waited for when the server ends.
const GRACE: Duration = Duration::from_secs(5);
/// Lanes that are taken at once.
const CLAIMED_MAX: i64 = 20_000;
/// How often keys are looked at; how much of what is old is forgotten at once, and of how many lanes.
const FORGET_EVERY: Duration = Duration::from_secs(60);
const DAY: i64 = 86_400_000_000;
const FORGOTTEN_MAX: i64 = 5_000;
const FORGOTTEN_LANES: i64 = 10;
/// Calls at once to those that failed or were slow the last time, so that the others are not kept waiting.
const SLOW_MAX: usize = 64;

/// A machine that runs. It stops when this is dropped.
pub struct Running {
    stop: watch::Sender<bool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of deliveries has panicked");
        }
    }
}

/// Starts to deliver, on a thread of its own.
///
/// # Errors
/// When the thread cannot be started.
pub fn start(app: &Arc<App>) -> std::io::Result<Running> {
    let (stop, stopped) = watch::channel(false);
    let app = Arc::clone(app);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name("delivery".into()).spawn(move || {
        runtime.block_on(keep_running(&app, stopped));
    })?;
    Ok(Running { stop, thread: Some(thread) })
}

/// Runs, again after whatever ends it, until it is told to stop.
async fn keep_running(app: &Arc<App>, mut stopped: watch::Receiver<bool>) {
    let mut is_standing_by = false;
    while !*stopped.borrow() {
        match Presence::join(&app.store).await {
            Ok(Some(presence)) => {
                is_standing_by = false;
                let local = LocalSet::new();
                let (own, stop) = (Arc::clone(app), stopped.clone());
                // On a task of its own: what goes wrong in it ends it alone.
                let ran = local.spawn_local(async move { run(&own, presence, stop).await });
                match local.run_until(ran).await {
                    Ok(Ok(())) => {}
                    Ok(Err(error)) => {
                        tracing::error!(%error, "deliveries are interrupted; they go on when the database can be used");
                    }
                    Err(error) => tracing::error!(%error, "deliveries have failed; they begin anew"),
                }
            }
            Ok(None) if !is_standing_by => {
                is_standing_by = true;
                tracing::info!("another process delivers from this database; this one stands by");
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "deliveries cannot start yet"),
        }
        let _waited = tokio::time::timeout(TICK, stopped.wait_for(|stop| *stop)).await;
    }
}

/// What dispatcher and workers share.
pub(super) struct Machine {
    pub app: Arc<App>,
    pub node: i64,
    pub roster: RefCell<Roster>,
    pub recorder: Recorder,
    pub sender: Sender,
    pub keys: Keys,
    pub secrets: Secrets,
    pub schedule: Schedule,
    pub breakers: Breakers,
    /// Calls at once: all, those to who was slow, and those to one host.
    pub calls: Semaphore,
    pub slow_calls: Semaphore,
    hosts: RefCell<HashMap<String, Rc<Semaphore>>>,
    workers: Rc<RefCell<HashMap<i64, Rc<Handle>>>>,
    /// Subscriptions that have to end, by lane: why.
    pub ending: RefCell<BTreeMap<i64, String>>,
    /// Wakes the dispatcher.
    pub nudge: Notify,
}

impl Machine {
    /// Learns of the Subscriptions as they are at a position of the log, and lets their workers know.
    ///
    /// # Errors
    /// [`StoreError`] of the statements.
    pub async fn catch_up(&self, position: i64) -> Result<Vec<i64>, StoreError> {
        let after = self.roster.borrow().changed();
        let news = self.app.store.read(async |conn: &mut Conn| roster::news(conn, after).await).await?;
        let changed = self.roster.borrow_mut().take(&self.app, news);
        self.passed(position);
        Ok(changed)
    }

    /// Notes how far the log has been fanned out, for those who follow.
    pub fn passed(&self, position: i64) {
        self.roster.borrow_mut().pass(position);
        self.app.fanned_out.send_replace(position);
    }

    /// The places for calls to a host.
    pub fn host(&self, host: &str) -> Rc<Semaphore> {
        let mut hosts = self.hosts.borrow_mut();
        // Those that nobody waits at need not be kept.
        if hosts.len() > 10_000 {
            hosts.retain(|_, places| Rc::strong_count(places) > 1);
        }
        let places = usize::try_from(self.app.settings.delivery.per_host_max).unwrap_or(1);
        Rc::clone(hosts.entry(host.to_owned()).or_insert_with(|| Rc::new(Semaphore::new(places))))
    }
}

async fn run(app: &Arc<App>, mut presence: Presence, mut stopped: watch::Receiver<bool>) -> Result<(), StoreError> {
    let settings = &app.settings.delivery;
    let workers: Rc<RefCell<HashMap<i64, Rc<Handle>>>> = Rc::default();
    let lost = {
        let workers = Rc::clone(&workers);
        move |lane: i64| {
            if let Some(handle) = workers.borrow().get(&lane) {
                handle.stop();
            }
        }
    };
    let node = presence.node();
    let seal = app.seal().map_err(StoreError::unavailable)?;
    let calls = usize::try_from(settings.concurrency_max).unwrap_or(1);
    let machine = Rc::new(Machine {
        app: Arc::clone(app),
        node,
        roster: RefCell::default(),
        recorder: Recorder::start(app.store.clone(), node, lost),
        sender: Sender::with_http(&app.settings.net, settings.allow_http).map_err(StoreError::unavailable)?,
        keys: Keys::open(app.store.clone(), seal.clone(), app.now()).await.map_err(StoreError::unavailable)?,
        secrets: Secrets::new(app.store.clone(), seal),
        schedule: Schedule::new(settings),
        breakers: Breakers::new(settings),
        calls: Semaphore::new(calls),
        slow_calls: Semaphore::new(SLOW_MAX.min(calls)),
        hosts: RefCell::default(),
        workers,
        ending: RefCell::default(),
        nudge: Notify::new(),
    });
    let mut additions = app.store.additions();
    let mut chores = Chores::default();
    let mut news = News::default();
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let mut is_due = tokio::select! {
            biased;
            _ = stopped.wait_for(|stop| *stop) => {
                finish(&machine).await;
                return Ok(());
            }
            _ = tick.tick() => true,
            () = presence.heard() => true,
            () = machine.nudge.notified() => true,
            _ = additions.changed() => false,
        };
        if presence.is_lost() {
            return Err(StoreError::unavailable("the connection on which nodes see each other is gone"));
        }
        is_due |= chores.are_due();
        let done = async {
            let has_more = follow(&machine, &presence, &mut news).await?;
            if is_due {
                chores.run(&machine, &presence).await?;
            }
            Ok::<_, StoreError>(has_more)
        };
        match done.await {
            Ok(false) => {}
            Ok(true) => machine.nudge.notify_one(),
            // What is under way goes on; a database that is busy or away is asked again.
            Err(error) => {
                tracing::warn!(%error, "deliveries wait for the database");
                tokio::time::sleep(TICK).await;
                machine.nudge.notify_one();
            }
        }
    }
}

/// Fans out what is new, for a while: true when there may be more.
async fn follow(machine: &Rc<Machine>, presence: &Presence, news: &mut News) -> Result<bool, StoreError> {
    let began = std::time::Instant::now();
    while began.elapsed() < TICK {
        let (Round::Done(lanes) | Round::Overtaken(lanes)) = fan_out::round(machine, news).await? else {
            return Ok(false);
        };
        // Those that are at work already hear of it at once.
        let mut is_new = false;
        for lane in lanes {
            is_new |= !wake(machine, lane);
        }
        if is_new {
            claim(machine, presence).await?;
        }
    }
    Ok(true)
}

/// What is done now and then.
#[derive(Default)]
struct Chores {
    ran_at: Option<std::time::Instant>,
    signed_at: Option<std::time::Instant>,
    forgot_at: Option<std::time::Instant>,
    /// The lane whose old events were forgotten last.
    forgot_in: i64,
}

impl Chores {
    fn are_due(&self) -> bool {
        is_past(self.ran_at, TICK)
    }

    async fn run(&mut self, machine: &Rc<Machine>, presence: &Presence) -> Result<(), StoreError> {
        self.ran_at = Some(std::time::Instant::now());
        let (app, node) = (&machine.app, machine.node);
        if is_past(self.signed_at, SIGN_EVERY) {
            let until = Instant(app.now().0 + BELIEVED);
            app.store.write(async move |conn: &mut Conn| lanes::keep(conn, node, until).await).await?;
            self.signed_at = Some(std::time::Instant::now());
        }
        claim(machine, presence).await?;
        look_after_subscriptions(machine).await;
        self.forget(machine).await
    }

    /// Forgets calls and events that are old.
    async fn forget(&mut self, machine: &Machine) -> Result<(), StoreError> {
        let (app, settings) = (&machine.app, &machine.app.settings.delivery);
        let now = app.now();
        if is_past(self.forgot_at, FORGET_EVERY) {
            self.forgot_at = Some(std::time::Instant::now());
            machine.keys.refresh_if_due(now).await.map_err(StoreError::unavailable)?;
        }
        let before = Instant(now.0 - i64::from(settings.attempts_days) * DAY);
        let forget = async move |conn: &mut Conn| notifications::forget_attempts(conn, before, FORGOTTEN_MAX).await;
        app.store.write(forget).await?;
        // Some lanes at each tick, and then from the first one again.
        let after = self.forgot_in;
        let next = app.store.read(async |conn: &mut Conn| lanes::list(conn, after, FORGOTTEN_LANES).await).await?;
        self.forgot_in = next.last().map_or(0, |lane| lane.lane);
        let before = Instant(now.0 - i64::from(settings.history_days) * DAY);
        for lane in next.iter().map(|lane| lane.lane) {
            let forget = async move |conn: &mut Conn| notifications::forget(conn, lane, before, FORGOTTEN_MAX).await;
            app.store.write(forget).await?;
        }
        Ok(())
    }
}

/// Whether so long has passed since; by a clock that nobody sets.
fn is_past(since: Option<std::time::Instant>, time: Duration) -> bool {
    since.is_none_or(|since| since.elapsed() >= time)
}

/// Lets the calls under way come to their end, for a while, and what came of them be recorded.
async fn finish(machine: &Machine) {
    let finished = async {
        loop {
            machine.workers.borrow().values().for_each(|handle| handle.stop());
            if machine.workers.borrow().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        machine.recorder.tell_and_wait(Report::default()).await
    };
    if tokio::time::timeout(GRACE, finished).await.is_err() {
        tracing::info!("calls under way were broken off; what they carried is sent again");
    }
}

/// Wakes the worker of a lane; false when there is none.
fn wake(machine: &Machine, lane: i64) -> bool {
    match machine.workers.borrow().get(&lane) {
        Some(handle) => {
            handle.wake();
            true
        }
        None => false,
    }
}

/// Takes the lanes that have something to do and that nobody else holds, and gets workers going for them.
async fn claim(machine: &Rc<Machine>, presence: &Presence) -> Result<(), StoreError> {
    let app = &machine.app;
    let now = app.now();
    let latest = Instant(now.0.saturating_add(machine.schedule.longest_us()));
    let living = app.store.read(async |conn: &mut Conn| presence.living(conn).await).await?;
    let by = Node { node: machine.node, until: Instant(now.0 + BELIEVED), living };
    let beating = machine.roster.borrow().beating();
    let unit = async move |conn: &mut Conn| lanes::claim(conn, &by, beating.clone(), now, latest, CLAIMED_MAX).await;
    for lane in app.store.write(unit).await? {
        if wake(machine, lane) {
            continue;
        }
        let handle = Rc::new(Handle::default());
        machine.workers.borrow_mut().insert(lane, Rc::clone(&handle));
        let place = Place { machine: Rc::clone(machine), lane, handle };
        tokio::task::spawn_local(async move { worker::run(&place.machine, lane, &place.handle).await });
    }
    Ok(())
}

/// The place of a worker, given back however it ends.
struct Place {
    machine: Rc<Machine>,
    lane: i64,
    handle: Rc<Handle>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut workers = self.machine.workers.borrow_mut();
        // Another one may have taken its place already.
        if workers.get(&self.lane).is_some_and(|it| Rc::ptr_eq(it, &self.handle)) {
            workers.remove(&self.lane);
        }
    }
}

/// Turns off what has ended, and what cannot be used.
async fn look_after_subscriptions(machine: &Machine) {
    let app = &machine.app;
    let ended = machine.roster.borrow().ended(app.now());
    for (id, version) in ended {
        set(machine, &id, version, Status::Off, None).await;
    }
    for (lane, why) in machine.ending.take() {
        let subscriber = machine.roster.borrow().get(lane);
        if let Some(subscriber) = subscriber.filter(|it| it.state != State::Failed)
            && !set(machine, &subscriber.id, subscriber.version, Status::Error, Some(why.clone())).await
        {
            machine.ending.borrow_mut().insert(lane, why);
        }
    }
    let unusable = machine.roster.borrow_mut().take_unusable();
    for it in unusable {
        if !set(machine, &it.id, it.version, Status::Error, Some(it.reason.clone())).await {
            machine.roster.borrow_mut().put_back(it);
        }
    }
}

/// Changes the status of a Subscription, unless it is another version by now. False when the database did not take it: then
/// it is as it was.
pub(super) async fn set(machine: &Machine, id: &str, version: i64, status: Status, error: Option<String>) -> bool {
    let done = subscription::set_status(&machine.app, id, version, status, error).await;
    if let Err(failed) = &done {
        tracing::warn!(subscription = id, error = %failed, "the status of a Subscription could not be changed");
    }
    done.is_ok()
}
