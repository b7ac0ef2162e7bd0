//! A lean HTTP/1.1 client: one kept-alive connection, one request at a time, buffers used again.

use std::future::poll_fn;
use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::pin::Pin;
use std::time::Duration;

use actix_web::rt::Runtime;
use actix_web::rt::net::TcpStream;
use actix_web::rt::time::timeout;
use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::operations::Call;

/// An answer larger than this is refused.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const BUFFER_BYTES: usize = 64 << 10;
/// The longest that one request of the checks may take.
const CHECK_TIMEOUT: Duration = Duration::from_secs(120);

/// A FHIR base URL on this machine.
#[derive(Clone)]
pub struct Base {
    address: SocketAddr,
    authority: String,
    path: String,
    /// An access token that goes with every request.
    token: Option<String>,
}

/// Status, head and body of a response; a chunked body is already joined.
pub struct Answer<'a> {
    pub status: u16,
    pub head: &'a str,
    pub body: &'a [u8],
}

pub struct Connection {
    base: Base,
    stream: TcpStream,
    outbox: Vec<u8>,
    inbox: Vec<u8>,
    /// How much of `inbox` holds the response.
    filled: usize,
    joined: Vec<u8>,
    /// The server said that it closes this connection.
    closing: bool,
}

impl Base {
    pub fn parse(url: &str) -> Result<Self> {
        let rest = url.strip_prefix("http://").with_context(|| format!("{url}: only http:// URLs can be driven"))?;
        let (authority, path) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
        let with_port = if authority.contains(':') { authority.to_owned() } else { format!("{authority}:80") };
        let mut addresses = with_port.to_socket_addrs().with_context(|| format!("{url}: the host is unknown"))?;
        let Some(address) = addresses.find(|address| address.ip().is_loopback()) else {
            bail!("{url}: not on this machine; the benchmark puts load on loopback addresses only");
        };
        Ok(Self { address, authority: authority.to_owned(), path: path.trim_end_matches('/').to_owned(), token: None })
    }

    pub fn with_token(self, token: String) -> Self {
        Self { token: Some(token), ..self }
    }

    /// The part of a link from an answer that stands below this base.
    pub fn below(&self, url: &str) -> Option<String> {
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.find('/').map_or("", |slash| &rest[slash..]),
            None => url,
        };
        if let Some(below) = path.strip_prefix(&self.path) {
            return Some(below.to_owned());
        }
        (!path.starts_with('/')).then(|| format!("/{path}"))
    }
}

impl Base {
    /// A connection of its own on which a GET of this path is sent, for an answer that is read as it comes.
    pub fn send_simply(&self, below: &str) -> io::Result<std::net::TcpStream> {
        let mut stream = std::net::TcpStream::connect(self.address)?;
        let Self { authority, path, .. } = self;
        write!(stream, "GET {path}{below} HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n")?;
        Ok(stream)
    }
}

impl Connection {
    pub async fn open(base: &Base) -> io::Result<Self> {
        Ok(Self {
            base: base.clone(),
            stream: connect(base).await?,
            outbox: Vec::new(),
            inbox: vec![0; BUFFER_BYTES],
            filled: 0,
            joined: Vec::new(),
            closing: false,
        })
    }

    /// Sends one request and waits for the whole answer. After an error the connection is of no more use.
    pub async fn exchange(&mut self, call: &Call) -> io::Result<Answer<'_>> {
        if self.closing {
            self.stream = connect(&self.base).await?;
            self.closing = false;
        }
        self.compose(call)?;
        self.send().await?;
        self.filled = 0;
        let mut head_end = self.receive_head().await?;
        let (mut status, mut length) = parse_head(&self.inbox[..head_end])?;
        while status == 100 {
            self.inbox.copy_within(head_end..self.filled, 0);
            self.filled -= head_end;
            head_end = self.receive_head().await?;
            (status, length) = parse_head(&self.inbox[..head_end])?;
        }
        let body_end = match length {
            Length::Known(bytes) => {
                while self.filled < head_end + bytes {
                    self.receive().await?;
                }
                Some(head_end + bytes)
            }
            Length::Chunked => {
                self.join_chunks(head_end).await?;
                None
            }
        };
        let head = std::str::from_utf8(&self.inbox[..head_end]).map_err(invalid)?;
        self.closing = header(head, "connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let body = body_end.map_or(&self.joined[..], |end| &self.inbox[head_end..end]);
        Ok(Answer { status, head, body })
    }

    fn compose(&mut self, call: &Call) -> io::Result<()> {
        let Base { authority, path, .. } = &self.base;
        let below = if path.is_empty() && call.path.is_empty() { "/" } else { &call.path };
        self.outbox.clear();
        write!(self.outbox, "{} {path}{below} HTTP/1.1\r\nHost: {authority}\r\n", call.method)?;
        self.outbox.extend_from_slice(b"Accept: application/fhir+json\r\n");
        if let Some(token) = &self.base.token {
            write!(self.outbox, "Authorization: Bearer {token}\r\n")?;
        }
        if !call.body.is_empty() {
            let length = call.body.len();
            write!(self.outbox, "Content-Type: application/fhir+json\r\nContent-Length: {length}\r\n")?;
        }
        self.outbox.extend_from_slice(b"\r\n");
        self.outbox.extend_from_slice(&call.body);
        Ok(())
    }

    async fn send(&mut self) -> io::Result<()> {
        let mut sent = 0;
        while let Some(rest) = self.outbox.get(sent..).filter(|rest| !rest.is_empty()) {
            let written = poll_fn(|context| Pin::new(&mut self.stream).poll_write(context, rest)).await?;
            if written == 0 {
                return Err(ErrorKind::WriteZero.into());
            }
            sent += written;
        }
        Ok(())
    }

    /// Where the head ends, the empty line included.
    async fn receive_head(&mut self) -> io::Result<usize> {
        let mut searched: usize = 0;
        loop {
            let from = searched.saturating_sub(3);
            if let Some(at) = self.inbox[from..self.filled].windows(4).position(|four| four == b"\r\n\r\n") {
                return Ok(from + at + 4);
            }
            searched = self.filled;
            self.receive().await?;
        }
    }

    async fn receive(&mut self) -> io::Result<()> {
        if self.filled == self.inbox.len() {
            if self.filled >= ANSWER_BYTES_MAX {
                return Err(invalid("the answer is larger than 64 MiB"));
            }
            self.inbox.resize(self.filled * 2, 0);
        }
        let mut space = ReadBuf::new(&mut self.inbox[self.filled..]);
        poll_fn(|context| Pin::new(&mut self.stream).poll_read(context, &mut space)).await?;
        match space.filled().len() {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            received => {
                self.filled += received;
                Ok(())
            }
        }
    }

    /// Puts the chunks that begin at `at` together in `joined` (RFC 9112, 7.1); trailers are read and dropped.
    async fn join_chunks(&mut self, mut at: usize) -> io::Result<()> {
        self.joined.clear();
        loop {
            let line_end = self.line_end(at).await?;
            let size = std::str::from_utf8(&self.inbox[at..line_end]).map_err(invalid)?;
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = usize::from_str_radix(size, 16).map_err(invalid)?;
            at = line_end + 2;
            if size == 0 {
                break;
            }
            if size > ANSWER_BYTES_MAX {
                return Err(invalid("a chunk is larger than 64 MiB"));
            }
            while self.filled < at + size + 2 {
                self.receive().await?;
            }
            self.joined.extend_from_slice(&self.inbox[at..at + size]);
            at += size + 2;
        }
        loop {
            let line_end = self.line_end(at).await?;
            if line_end == at {
                return Ok(());
            }
            at = line_end + 2;
        }
    }

    async fn line_end(&mut self, at: usize) -> io::Result<usize> {
        loop {
            if let Some(length) = self.inbox[at..self.filled].windows(2).position(|two| two == b"\r\n") {
                return Ok(at + length);
            }
            self.receive().await?;
        }
    }
}

async fn connect(base: &Base) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(base.address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

enum Length {
    Known(usize),
    Chunked,
}

fn parse_head(head: &[u8]) -> io::Result<(u16, Length)> {
    let head = std::str::from_utf8(head).map_err(invalid)?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok()).ok_or_else(|| invalid("no status"))?;
    let length = if status < 200 || status == 204 || status == 304 {
        Length::Known(0)
    } else if let Some(length) = header(head, "content-length") {
        Length::Known(length.parse().ok().filter(|n| *n <= ANSWER_BYTES_MAX).ok_or_else(|| invalid("bad length"))?)
    } else if header(head, "transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Length::Chunked
    } else {
        return Err(invalid("the answer has neither a Content-Length nor chunks"));
    };
    Ok((status, length))
}

/// The value of a header of this head, by its lower-case name.
pub fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.split("\r\n").skip(1).find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
}

/// One request after the other, for the checks outside the timed rounds.
pub struct Client {
    pub base: Base,
    runtime: Runtime,
    connection: Option<Connection>,
}

/// An answer that outlives the next request.
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Client {
    pub fn new(base: &Base) -> Result<Self> {
        Ok(Self { base: base.clone(), runtime: Runtime::new()?, connection: None })
    }

    pub fn send(&mut self, call: &Call) -> Result<Reply> {
        let taken = self.connection.take();
        let exchange = async {
            let mut connection = match taken {
                Some(connection) => connection,
                None => Connection::open(&self.base).await?,
            };
            let answer = connection.exchange(call).await?;
            let reply = Reply { status: answer.status, head: answer.head.to_owned(), body: answer.body.to_vec() };
            io::Result::Ok((reply, connection))
        };
        let asked = || format!("{} {}{}", call.method, self.base.path, call.path);
        let bounded = self.runtime.block_on(async { timeout(CHECK_TIMEOUT, exchange).await });
        let (reply, connection) = bounded.with_context(asked)?.with_context(asked)?;
        self.connection = Some(connection);
        Ok(reply)
    }

    /// The parsed answer of a GET that must succeed.
    pub fn get(&mut self, path: &str) -> Result<serde_json::Value> {
        let reply = self.send(&Call::get(path.to_owned(), ""))?;
        ensure!(reply.status == 200, "GET {path}: status {}", reply.status);
        serde_json::from_slice(&reply.body).with_context(|| format!("GET {path}: no JSON"))
    }
}
