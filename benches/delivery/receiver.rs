//! A subscriber that takes everything: it notes when each event arrives, and answers 200 at once.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Result;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
/// What stands before the number of a change in its id.
pub const ID: &str = "PractitionerRole/change-";

/// What has arrived.
#[derive(Default)]
pub struct Arrivals {
    pub posts: AtomicU64,
    pub events: AtomicU64,
    /// When each change arrived, at each subscriber; only while `notes` is set.
    pub at: Mutex<Vec<(u64, Instant)>>,
    pub notes: std::sync::atomic::AtomicBool,
    /// The last event number of each path, and how many did not follow the one before.
    last: Mutex<HashMap<String, u64>>,
    pub gaps: AtomicU64,
}

pub struct Receiver {
    pub url: String,
    pub arrivals: Arc<Arrivals>,
}

impl Receiver {
    /// Listens on a free port of this machine.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let arrivals = Arc::new(Arrivals::default());
        let all = Arc::clone(&arrivals);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let arrivals = Arc::clone(&all);
                tokio::spawn(async move {
                    let _closed = serve(stream, &arrivals).await;
                });
            }
        });
        Ok(Self { url, arrivals })
    }
}

async fn serve(mut stream: TcpStream, arrivals: &Arrivals) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(65_536);
    loop {
        let (head, length) = loop {
            if let Some(end) = bytes.windows(4).position(|it| it == b"\r\n\r\n") {
                break (end + 4, content_length(&bytes[..end]));
            }
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        };
        while bytes.len() < head + length {
            if stream.read_buf(&mut bytes).await? == 0 {
                return Ok(());
            }
        }
        let now = Instant::now();
        stream.write_all(OK).await?;
        arrivals.note(&bytes[..head], &bytes[head..head + length], now);
        bytes.drain(..head + length);
    }
}

fn content_length(head: &[u8]) -> usize {
    let text = String::from_utf8_lossy(head).to_ascii_lowercase();
    let line = text.lines().find_map(|line| line.strip_prefix("content-length:"));
    line.and_then(|value| value.trim().parse().ok()).unwrap_or(0)
}

impl Arrivals {
    fn note(&self, head: &[u8], body: &[u8], now: Instant) {
        self.posts.fetch_add(1, Ordering::Relaxed);
        let text = String::from_utf8_lossy(body);
        let numbers: Vec<u64> = after(&text, "\"event-number\",\"valueString\":\"").collect();
        self.events.fetch_add(numbers.len() as u64, Ordering::Relaxed);
        let path = String::from_utf8_lossy(head).split(' ').nth(1).unwrap_or_default().to_owned();
        let mut last = self.last.lock().expect("nobody panics here");
        let before = last.entry(path).or_default();
        for number in numbers {
            if number != *before + 1 {
                self.gaps.fetch_add(1, Ordering::Relaxed);
            }
            *before = number;
        }
        drop(last);
        if self.notes.load(Ordering::Relaxed) {
            let mut changes: Vec<u64> = after(&text, ID).collect();
            changes.dedup();
            self.at.lock().expect("nobody panics here").extend(changes.into_iter().map(|change| (change, now)));
        }
    }
}

/// The numbers right behind each occurrence of a text.
fn after<'t>(text: &'t str, mark: &'t str) -> impl Iterator<Item = u64> + 't {
    text.match_indices(mark).filter_map(move |(at, _)| {
        let rest = &text[at + mark.len()..];
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse().ok()
    })
}
