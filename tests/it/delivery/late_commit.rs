//! The order of commits on PostgreSQL. What is written in a transaction that stays open has an older place in the log than
//! what others write and commit meanwhile; its subscribers are told of it all the same, when it is there.

use std::sync::{Arc, mpsc};

use plumbline::app::App;
use plumbline::auth::caller::Caller;
use plumbline::auth::scope::Access;
use plumbline::fhir::error::FhirError;
use plumbline::fhir::types::ResourceType;
use plumbline::interactions::write::{self, Put};
use plumbline::search::value::Target;
use plumbline::store::conn::Conn;
use plumbline::store::error::StoreError;
use plumbline::store::{changes, history::Version};
use serde_json::json;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

use crate::harness::Server;
use crate::harness::receiver::Receiver;

use super::subscribers::{self, Carries, Subscriber};
use super::{EAGER, PATIENCE, inside, told};

/// A process of its own, as far as the server can tell, that writes by the one door and leaves its transaction open.
struct Neighbour {
    app: Arc<App>,
    runtime: Runtime,
    _data: TempDir,
}

/// A transaction that is open until it is let go.
struct Open {
    go: oneshot::Sender<()>,
    done: tokio::task::JoinHandle<Result<(), FhirError>>,
}

impl Neighbour {
    fn of(server: &Server) -> Self {
        let data = TempDir::new().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let url = server.database_url().map(str::to_owned);
        let app = runtime.block_on(inside::open(&data, url, |_| {}));
        Self { app, runtime, _data: data }
    }

    /// Writes a Practitioner; when this returns, the version has its place in the log and nobody sees it.
    fn begin(&self, id: &str, family: &str) -> Open {
        let caller = Caller::operator();
        let body = json!({"resourceType": "Practitioner", "id": id, "name": [{"family": family}]});
        let resource_type = ResourceType::Practitioner;
        let prepared = write::prepare(&self.app, &caller, Access::UPDATE, resource_type, body).expect("a good one");
        let target = Target { resource_type, id: id.to_owned() };
        let put = Put { target, resource: Some(prepared), expected: None, is_create: false };
        let (go, gate) = oneshot::channel::<()>();
        let (told, written) = mpsc::channel();
        let mut gate = Some(gate);
        let door = Arc::clone(&self.app);
        let unit = async move |conn: &mut Conn| {
            write::put_all(&door, &caller, conn, std::slice::from_ref(&put)).await?;
            let _test_is_over = told.send(());
            if let Some(gate) = gate.take() {
                let _test_is_over = gate.await;
            }
            Ok::<_, FhirError>(())
        };
        let store = self.app.store.clone();
        let done = self.runtime.spawn(async move { store.write(unit).await });
        written.recv_timeout(PATIENCE).expect("it is written");
        Open { go, done }
    }

    fn commit(&self, open: Open) {
        open.go.send(()).expect("it waits");
        self.runtime.block_on(open.done).expect("no panic").expect("it is committed");
    }

    /// The log as a feed, from its beginning: `Type/id`, version and the place in order of writing.
    fn feed(&self) -> Vec<(String, i64, i64)> {
        let types = [ResourceType::Practitioner];
        let read = async |conn: &mut Conn| {
            let end = changes::end(conn).await?;
            changes::between(conn, &types, 0, end, 10_000).await
        };
        let found: Result<Vec<(i64, Version)>, StoreError> = self.runtime.block_on(self.app.store.read(read));
        let found = found.expect("a feed");
        assert!(found.is_sorted_by_key(|(position, _)| *position));
        found.into_iter().map(|(_, it)| (format!("{}/{}", it.resource_type, it.id), it.version, it.seq)).collect()
    }
}

fn subscriber() -> Subscriber {
    Subscriber {
        key: "hook",
        criteria: "practitioner-change",
        filter: None,
        max_count: None,
        carries: Carries::Resources,
        wants: |_| true,
    }
}

/// What was told so far, in order.
fn told_of(receiver: &Receiver) -> Vec<(String, u64)> {
    told::taken(&subscriber(), &receiver.log()).into_values().filter_map(|event| event.subject).collect()
}

fn wait_for(receiver: &Receiver, count: usize) {
    receiver.wait_until(PATIENCE, "events", |log| told::taken(&subscriber(), log).len() >= count);
    assert_eq!(told_of(receiver).len(), count);
}

fn put(server: &Server, id: &str, family: &str) {
    let resource = json!({"resourceType": "Practitioner", "id": id, "name": [{"family": family}]});
    assert!(server.put(&format!("Practitioner/{id}"), &resource).status < 300);
}

#[test]
fn what_is_committed_late_is_told_of_when_it_is_there() {
    let Some(server) = Server::postgres(EAGER) else { return };
    let receiver = Receiver::new(1);
    let id = subscribers::subscribe(&server, &subscriber().resource(&receiver.url("hook")));
    subscribers::wait_for_status(&server, &id, "active");
    let neighbour = Neighbour::of(&server);
    put(&server, "old", "1");
    wait_for(&receiver, 1);

    // Two are under way, of a new resource and of one that is there; they end in the other order.
    let new = neighbour.begin("new", "late");
    let next = neighbour.begin("old", "2");
    ["a", "b", "c"].into_iter().for_each(|id| put(&server, id, "x"));
    wait_for(&receiver, 4);
    neighbour.commit(next);
    wait_for(&receiver, 5);
    ["d", "e"].into_iter().for_each(|id| put(&server, id, "x"));
    put(&server, "old", "3");
    wait_for(&receiver, 8);
    neighbour.commit(new);
    wait_for(&receiver, 9);
    put(&server, "new", "again");
    wait_for(&receiver, 10);

    let due =
        [("old", 1), ("a", 1), ("b", 1), ("c", 1), ("old", 2), ("d", 1), ("e", 1), ("old", 3), ("new", 1), ("new", 2)];
    let due: Vec<(String, u64)> = due.iter().map(|(id, version)| (format!("Practitioner/{id}"), *version)).collect();
    assert_eq!(told_of(&receiver), due);
    let feed = neighbour.feed();
    let names: Vec<(String, u64)> =
        feed.iter().map(|(name, version, _)| (name.clone(), version.unsigned_abs())).collect();
    assert_eq!(names, due, "the feed has the same order");
    let place =
        |name: &str, version: i64| feed.iter().find(|it| it.0.ends_with(name) && it.1 == version).map(|it| it.2);
    assert!(place("/new", 1) < place("/a", 1), "it was written first and came last");
}

/// A server that dies while such a transaction is open does not pass it over when it comes back.
#[test]
fn what_is_committed_while_nobody_looks_is_told_of_later() {
    let Some(mut server) = Server::postgres(EAGER) else { return };
    let receiver = Receiver::new(1);
    let id = subscribers::subscribe(&server, &subscriber().resource(&receiver.url("hook")));
    subscribers::wait_for_status(&server, &id, "active");
    let neighbour = Neighbour::of(&server);
    let late = neighbour.begin("late", "1");
    put(&server, "a", "1");
    wait_for(&receiver, 1);
    server.kill();
    neighbour.commit(late);
    server.restart();
    wait_for(&receiver, 2);
    assert_eq!(told_of(&receiver)[1], ("Practitioner/late".to_owned(), 1));
}
