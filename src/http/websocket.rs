//! WebSockets on which subscribers wait (RFC 6455): opened by anybody, bound by a command, closed with a reason.
//!
//! Web pages from elsewhere may open one, too, and need a token all the same: browsers add neither an Authorization header nor
//! cookies that would mean anything here.

use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::http::header;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use actix_ws::{CloseCode, CloseReason, Closed, Message, MessageStream, ProtocolError, Session};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until, timeout};

use crate::app::App;
use crate::delivery::socket::Socket;
use crate::fhir::error::{FhirError, Kind};
use crate::limits::network;

use super::address::client_address;
use super::fhir::refused;
use super::identify;

type Shared = Data<Arc<App>>;

/// Bytes of a message that a client sends.
const MESSAGE_BYTES_MAX: usize = 4_096;
/// How long a client may be connected before it is bound to something.
const UNBOUND: Duration = Duration::from_secs(10);
/// How long it may take until a message is taken, and until a ping is answered: a client that is slower is left.
const PATIENCE: Duration = Duration::from_secs(20);
/// How often a client is asked whether it is still there, when there is nothing else to send.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How often is looked for what another node made known, and how often at most in any case.
const TICK: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(50);
/// When a client may try again that found no place.
const RETRY: Duration = Duration::from_secs(60);

/// Whether a request opens a WebSocket.
pub(super) fn is_upgrade(request: &ServiceRequest) -> bool {
    matches!(request.match_info().as_str().trim_end_matches('/'), "/fhir/ws") && asks(request.request())
}

fn asks(request: &HttpRequest) -> bool {
    let upgrade = request.headers().get(header::UPGRADE).and_then(|value| value.to_str().ok());
    request.method() == actix_web::http::Method::GET
        && upgrade.is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
}

/// Opens a WebSocket.
pub async fn open(app: Shared, request: HttpRequest, payload: Payload) -> HttpResponse {
    if !asks(&request) {
        let sentence = "This URL is for WebSockets: an HTTP/1.1 request with Upgrade: websocket.";
        return refused(&app, &request, FhirError::malformed(sentence));
    }
    let caller = match identify::caller(&app, &request).await {
        Ok(caller) => caller,
        Err(error) => {
            identify::record(&app, &identify::nobody(&app, &request), &request, &error).await;
            return refused(&app, &request, error);
        }
    };
    let Ok(place) = app.limits.sockets.take(&client_address(&app, &request).map(network)) else {
        let sentence = "There are too many WebSockets open, here or from your address; close some or try later.";
        let mut error = FhirError::new(Kind::Throttled, sentence);
        error.wait = Some(RETRY);
        return refused(&app, &request, error);
    };
    match actix_ws::handle(&request, payload) {
        Ok((response, session, stream)) => {
            let line = Line { session, pinged_at: None, sent_at: Instant::now() };
            let socket = Socket::new(&app, caller);
            let stream = stream.max_frame_size(MESSAGE_BYTES_MAX);
            let app = Arc::clone(&app);
            actix_web::rt::spawn(async move {
                serve(&app, line, stream, socket).await;
                drop(place);
            });
            response
        }
        Err(_not_one) => {
            let sentence =
                "The request opens no WebSocket: it takes version 13 and a Sec-WebSocket-Key (RFC 6455, 4.1).";
            refused(&app, &request, FhirError::malformed(sentence))
        }
    }
}

/// The sending side. A client that takes nothing is not sent more than what it was asked to confirm: whatever is sent is
/// followed by a ping, and nothing else until that is answered.
struct Line {
    session: Session,
    pinged_at: Option<Instant>,
    sent_at: Instant,
}

/// Why a WebSocket ends; without a reason when the other side ended it.
type End = Option<CloseReason>;

impl Line {
    async fn send(&mut self, messages: Vec<String>) -> Result<(), End> {
        if messages.is_empty() {
            return Ok(());
        }
        for message in messages {
            taken(timeout(PATIENCE, self.session.text(message)).await)?;
        }
        self.ping().await
    }

    async fn ping(&mut self) -> Result<(), End> {
        self.sent_at = Instant::now();
        self.pinged_at = Some(self.sent_at);
        taken(timeout(PATIENCE, self.session.ping(b"")).await)
    }

    async fn pong(&mut self, bytes: &[u8]) -> Result<(), End> {
        taken(timeout(PATIENCE, self.session.pong(bytes)).await)
    }

    /// Sees to it that the client is there.
    async fn look_after(&mut self) -> Result<(), End> {
        match self.pinged_at {
            Some(at) if at.elapsed() > PATIENCE => Err(too_slow()),
            Some(_) => Ok(()),
            None if self.sent_at.elapsed() > KEEP_ALIVE => self.ping().await,
            None => Ok(()),
        }
    }
}

fn taken(outcome: Result<Result<(), Closed>, tokio::time::error::Elapsed>) -> Result<(), End> {
    match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(Closed)) => Err(None),
        Err(_elapsed) => Err(too_slow()),
    }
}

fn too_slow() -> End {
    reason(CloseCode::Policy, "The client does not take what it is sent, or does not answer.")
}

fn reason(code: CloseCode, sentence: impl Into<String>) -> End {
    Some(CloseReason { code, description: Some(sentence.into()) })
}

async fn serve(app: &App, mut line: Line, mut stream: MessageStream, mut socket: Socket) {
    let Err(end) = run(app, &mut line, &mut stream, &mut socket).await;
    if end.is_some() {
        // Nobody may be there to read it.
        let _gone = timeout(PATIENCE, line.session.close(end)).await;
    }
}

/// Serves until there is a reason to end.
async fn run(
    app: &App,
    line: &mut Line,
    stream: &mut MessageStream,
    socket: &mut Socket,
) -> Result<std::convert::Infallible, End> {
    let opened_at = Instant::now();
    let (mut fanned_out, mut ending) = (app.fanned_out.subscribe(), app.stopping.subscribe());
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut is_due, mut looked_at) = (false, opened_at);
    loop {
        let may_look = is_due && socket.is_bound() && line.pinged_at.is_none();
        tokio::select! {
            message = stream.recv() => {
                hear(line, socket, message).await?;
                // What happened while it was being bound.
                is_due = true;
            }
            _ = ending.wait_for(|is_ending| *is_ending) => return Err(reason(CloseCode::Away, "The server is stopping.")),
            changed = fanned_out.changed(), if !is_due => is_due = changed.is_ok(),
            _ = tick.tick() => {
                is_due = true;
                if !socket.is_bound() && opened_at.elapsed() > UNBOUND {
                    return Err(reason(CloseCode::Policy, "No Subscription was bound in time."));
                }
                line.look_after().await?;
            }
            () = sleep_until(looked_at + PAUSE), if may_look => {
                let news = socket.news().await.map_err(|error| {
                    tracing::warn!(%error, "a WebSocket could not be served");
                    reason(CloseCode::Again, "The server cannot be used now; try again later.")
                })?;
                looked_at = Instant::now();
                is_due = news.has_more;
                line.send(news.messages).await?;
                if let Some(why) = news.end {
                    return Err(reason(CloseCode::Normal, why));
                }
            }
        }
    }
}

/// What the client says.
async fn hear(
    line: &mut Line,
    socket: &mut Socket,
    message: Option<Result<Message, ProtocolError>>,
) -> Result<(), End> {
    match message {
        Some(Ok(Message::Text(text))) => match socket.command(&text).await {
            Ok(answers) => line.send(answers).await,
            Err(error) => {
                let code = if error.kind.status() < 500 { CloseCode::Policy } else { CloseCode::Again };
                let sentence = error.issues.into_iter().next().map(|issue| issue.diagnostics).unwrap_or_default();
                Err(reason(code, sentence))
            }
        },
        Some(Ok(Message::Ping(bytes))) => line.pong(&bytes).await,
        Some(Ok(Message::Pong(_))) => {
            line.pinged_at = None;
            Ok(())
        }
        Some(Ok(Message::Nop)) => Ok(()),
        Some(Ok(Message::Close(sent))) => Err(sent.or(reason(CloseCode::Normal, ""))),
        Some(Ok(Message::Binary(_) | Message::Continuation(_))) => {
            Err(reason(CloseCode::Unsupported, "Commands are short texts, each in one frame."))
        }
        Some(Err(ProtocolError::Overflow)) => {
            Err(reason(CloseCode::Size, format!("A message has at most {MESSAGE_BYTES_MAX} bytes.")))
        }
        Some(Err(ProtocolError::Io(_))) | None => Err(None),
        Some(Err(_broken)) => Err(reason(CloseCode::Protocol, "The frames are not those of RFC 6455.")),
    }
}
