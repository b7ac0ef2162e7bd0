//! A server that takes notifications and is as unreliable as a test wants it to be. It speaks HTTP/1.1 over real
//! connections, one thread for each; chance comes from a seed.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Bytes of a head and of a body at most; more is a fault of the test.
const HEAD_MAX: usize = 65_536;
const BODY_MAX: usize = 64 << 20;

/// Chance that is the same for the same seed (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// From 0 to `sides - 1`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    pub fn is_within(&mut self, percent: u64) -> bool {
        self.roll(100) < percent
    }
}

/// What is done about a request that has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// Answers with this status. What came with a 2xx is taken.
    Answer(u16),
    /// Answers 503 and wants to be left alone for so many seconds.
    Later(u64),
    /// A redirect to this port of the same host.
    Redirect(u16),
    /// Breaks the connection, without an answer.
    Reset,
    /// Does not answer before [`Receiver::release`].
    Hang,
    /// Takes what came, but answers only after this time.
    Late(Duration),
    /// Takes what came and breaks the connection: whoever sent it has to send it again.
    Swallow,
}

/// A request.
#[derive(Clone, Debug)]
pub struct Arrival {
    pub path: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub act: Act,
}

impl Arrival {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str())
    }

    /// The JSON of the body; null when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Whether the receiver has made what came its own.
    pub fn is_taken(&self) -> bool {
        match self.act {
            Act::Answer(status) => (200..300).contains(&status),
            Act::Late(_) | Act::Swallow => true,
            Act::Later(_) | Act::Redirect(_) | Act::Reset | Act::Hang => false,
        }
    }
}

type Manner = dyn Fn(&Arrival, &mut Dice) -> Act + Send + Sync;

/// The receiver; it ends when this is dropped.
pub struct Receiver {
    shared: Arc<Shared>,
    port: u16,
    door: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    log: Vec<Arrival>,
    dice: Dice,
    manner: Arc<Manner>,
    /// Percent of requests whose connection is broken before they are read.
    unread: u64,
    is_down: bool,
    /// How often those who hang were released.
    releases: u64,
    /// The second handle of each connection that is open, by a number of its own.
    connections: Vec<(u64, TcpStream)>,
    opened: u64,
    /// Requests that hang now.
    hanging: usize,
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        // Whoever looked at the log and panicked has changed nothing.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver {
    /// One that answers 200 to everything.
    pub fn new(seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("its address").port();
        let state = State {
            log: Vec::new(),
            dice: Dice::new(seed),
            manner: Arc::new(|_, _| Act::Answer(200)),
            unread: 0,
            is_down: false,
            releases: 0,
            connections: Vec::new(),
            opened: 0,
            hanging: 0,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let door = Mutex::new(Some(listen(listener, &shared)));
        Self { shared, port, door }
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// `http://127.0.0.1:PORT/PATH`
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/{path}", self.port)
    }

    /// From now on it does this about each request.
    pub fn behave(&self, manner: impl Fn(&Arrival, &mut Dice) -> Act + Send + Sync + 'static) {
        self.shared.locked().manner = Arc::new(manner);
    }

    /// From now on it breaks so many percent of connections when a request comes, before it reads it.
    pub fn break_unread(&self, percent: u64) {
        self.shared.locked().unread = percent;
    }

    /// It is well: it answers 200 to everything, and at last to what hangs as well, which is not taken all the same.
    pub fn recover(&self) {
        self.behave(|_, _| Act::Answer(200));
        self.break_unread(0);
        self.release();
        self.up();
    }

    /// What hangs is let go: its connections end.
    pub fn release(&self) {
        self.shared.locked().releases += 1;
        self.shared.changed.notify_all();
    }

    /// How many requests hang now.
    pub fn hanging(&self) -> usize {
        self.shared.locked().hanging
    }

    /// Closes the listener and every connection: whoever calls is refused.
    pub fn down(&self) {
        let Some(door) = self.door.lock().expect("no test panicked here").take() else { return };
        self.shared.locked().is_down = true;
        // It looks whether it is still wanted when somebody comes.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        door.join().expect("the door closes");
        for (_, connection) in self.shared.locked().connections.drain(..) {
            // The other side may have closed it before.
            let _closed = connection.shutdown(Shutdown::Both);
        }
        self.shared.changed.notify_all();
    }

    /// Listens again, on the same port.
    pub fn up(&self) {
        let mut door = self.door.lock().expect("no test panicked here");
        if door.is_some() {
            return;
        }
        // Somebody's outgoing connection may have the port for a moment.
        let deadline = Instant::now() + Duration::from_secs(30);
        let listener = loop {
            match TcpListener::bind(("127.0.0.1", self.port)) {
                Ok(listener) => break listener,
                Err(error) => assert!(Instant::now() < deadline, "port {}: {error}", self.port),
            }
            thread::park_timeout(Duration::from_millis(5));
        };
        self.shared.locked().is_down = false;
        *door = Some(listen(listener, &self.shared));
    }

    /// Everything that was read so far, in order.
    pub fn log(&self) -> Vec<Arrival> {
        self.shared.locked().log.clone()
    }

    /// Requests so far.
    pub fn count(&self) -> usize {
        self.shared.locked().log.len()
    }

    /// Waits until the log is as it should be. `look` sees it after each request; it is whole each time.
    pub fn wait_until(&self, bound: Duration, what: &str, look: impl FnMut(&[Arrival]) -> bool) {
        assert!(self.is_in_time(bound, look), "not in {bound:?}: {what}; {} requests came", self.count());
    }

    /// The same for one that may take too long: false then.
    pub fn is_in_time(&self, bound: Duration, mut look: impl FnMut(&[Arrival]) -> bool) -> bool {
        let deadline = Instant::now() + bound;
        let mut state = self.shared.locked();
        loop {
            if look(&state.log) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.down();
        }
    }
}

fn listen(listener: TcpListener, shared: &Arc<Shared>) -> JoinHandle<()> {
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for connection in listener.incoming().map_while(Result::ok) {
            let mut state = shared.locked();
            if state.is_down {
                return;
            }
            state.opened += 1;
            let own = state.opened;
            state.connections.push((own, connection.try_clone().expect("a second handle")));
            drop(state);
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                while converse(&connection, &shared) {}
                // It is closed when both handles are.
                shared.locked().connections.retain(|(number, _)| *number != own);
            });
        }
    })
}

/// One request and what is done about it; false when the connection is over.
fn converse(mut connection: &TcpStream, shared: &Shared) -> bool {
    // With something unread in it a connection that is closed is reset.
    if !matches!(connection.peek(&mut [0]), Ok(1)) {
        return false;
    }
    {
        let mut state = shared.locked();
        let percent = state.unread;
        if state.dice.is_within(percent) {
            return false;
        }
    }
    let Some((mut arrival, last)) = read(connection) else { return false };
    let releases = {
        let mut state = shared.locked();
        let manner = Arc::clone(&state.manner);
        arrival.act = manner(&arrival, &mut state.dice);
        state.log.push(arrival.clone());
        state.hanging += usize::from(arrival.act == Act::Hang);
        state.releases
    };
    shared.changed.notify_all();
    if arrival.act == Act::Reset {
        return false;
    }
    if last > 0 && connection.read_exact(&mut [0]).is_err() {
        return false;
    }
    let head = match arrival.act {
        Act::Answer(status) => format!("HTTP/1.1 {status} So\r\n"),
        Act::Later(seconds) => format!("HTTP/1.1 503 Later\r\nRetry-After: {seconds}\r\n"),
        Act::Redirect(port) => format!("HTTP/1.1 307 There\r\nLocation: http://127.0.0.1:{port}/elsewhere\r\n"),
        Act::Late(wait) => {
            wait_for(shared, Some(wait), releases);
            "HTTP/1.1 200 OK\r\n".to_owned()
        }
        Act::Hang => {
            wait_for(shared, None, releases);
            shared.locked().hanging -= 1;
            shared.changed.notify_all();
            return false;
        }
        Act::Swallow | Act::Reset => return false,
    };
    connection.write_all(format!("{head}Content-Length: 0\r\n\r\n").as_bytes()).is_ok()
}

/// Waits until those who hang are released, the receiver goes down, or the time is over.
fn wait_for(shared: &Shared, wait: Option<Duration>, releases: u64) {
    let deadline = wait.map(|wait| Instant::now() + wait);
    let mut state = shared.locked();
    while state.releases == releases && !state.is_down {
        state = match deadline.map(|it| it.saturating_duration_since(Instant::now())) {
            Some(Duration::ZERO) => return,
            Some(left) => shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0,
            None => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
    }
}

/// Reads a request but for the last byte of its body, which is only looked at, so that the connection can still be reset:
/// how many bytes are left unread comes with it. `None` when the connection ends before.
fn read(mut connection: &TcpStream) -> Option<(Arrival, usize)> {
    let mut seen = vec![0; HEAD_MAX];
    let mut count = 0;
    let head = loop {
        let found = connection.peek(&mut seen).ok()?;
        if let Some(end) = seen[..found].windows(4).position(|it| it == b"\r\n\r\n") {
            break end + 4;
        }
        if found == 0 || found == HEAD_MAX {
            return None;
        }
        if found == count {
            thread::yield_now();
        }
        count = found;
    };
    connection.read_exact(&mut seen[..head]).ok()?;
    let text = String::from_utf8_lossy(&seen[..head]).into_owned();
    let mut lines = text.split("\r\n");
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a length"));
    assert!(length <= BODY_MAX, "a body of {length} bytes");
    let mut body = vec![0; length];
    if let Some((last, rest)) = body.split_last_mut() {
        connection.read_exact(rest).ok()?;
        let mut one = [0];
        if connection.peek(&mut one).ok()? != 1 {
            return None;
        }
        *last = one[0];
    }
    let arrival = Arrival { path, headers, body, act: Act::Hang };
    Some((arrival, length.min(1)))
}
