//! The bulk export: how fast the directory becomes files, and how fast these are fetched.

use std::io::{BufRead, BufReader, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::client::{Base, Client, header};
use crate::operations::Call;
use crate::report::{Fact, median, thousands};

/// The name `--only` knows it by.
pub const NAME: &str = "export";

/// The goals, on either database.
const RESOURCES_PER_SECOND: f64 = 50_000.0;
const MEGABYTES_PER_SECOND: f64 = 200.0;
/// Between two looks at a running export, and the longest that one may take.
const LOOK_EVERY: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_secs(3_600);
const BUFFER_BYTES: usize = 256 << 10;

/// Exports the whole directory and fetches its files, `rounds` times. All of it must be there.
pub fn measure(base: &Base, resources: usize, rounds: usize) -> Result<Vec<Fact>> {
    let (mut exports, mut downloads) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        eprintln!("{NAME}, round {round} of {rounds} ...");
        let mut client = Client::new(base)?;
        let start = Instant::now();
        let (status, manifest) = export(&mut client)?;
        exports.push(resources as f64 / start.elapsed().as_secs_f64());
        let start = Instant::now();
        let (mut lines, mut bytes) = (0, 0);
        for item in manifest["output"].as_array().context("no output")? {
            let url = item["url"].as_str().and_then(|url| base.below(url)).context("a file elsewhere")?;
            let (more_lines, more_bytes) = download(base, &url)?;
            lines += more_lines;
            bytes += more_bytes;
        }
        downloads.push(bytes as f64 / 1e6 / start.elapsed().as_secs_f64());
        ensure!(lines == resources, "the export has {lines} lines, not {resources}");
        let removed = client.send(&Call { method: "DELETE", ..Call::get(status, "") })?;
        ensure!(removed.status == 202, "DELETE of an export: status {}", removed.status);
    }
    let fact = |name: &str, figures: Vec<f64>, unit: &str, goal: f64| {
        let figure = median(figures.into_iter()).unwrap_or_default();
        Fact {
            name: format!("{name}, median of {rounds}"),
            value: format!("{} {unit}", thousands(figure)),
            goal: format!("{} {unit}", thousands(goal)),
            met: figure >= goal,
        }
    };
    Ok(vec![
        fact("bulk export, from the kick-off to the manifest", exports, "resources/s", RESOURCES_PER_SECOND),
        fact("download of its files, one connection", downloads, "MB/s", MEGABYTES_PER_SECOND),
    ])
}

/// Where to ask for the status of an export, and its manifest.
fn export(client: &mut Client) -> Result<(String, Value)> {
    let begun = client.send(&Call::get("/$export".to_owned(), ""))?;
    ensure!(begun.status == 202, "GET /$export: status {}", begun.status);
    let url = header(&begun.head, "content-location").context("no Content-Location")?;
    let status = client.base.below(url).context("a status elsewhere")?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let reply = client.send(&Call::get(status.clone(), ""))?;
        match reply.status {
            200 => return Ok((status, serde_json::from_slice(&reply.body)?)),
            202 => ensure!(Instant::now() < deadline, "the export does not end"),
            other => anyhow::bail!("GET {status}: status {other}"),
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// Lines and bytes of a file, which is too large to be held.
fn download(base: &Base, path: &str) -> Result<(usize, usize)> {
    let mut stream = base.send_simply(path)?;
    stream.flush()?;
    let mut stream = BufReader::with_capacity(BUFFER_BYTES, stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        ensure!(stream.read_line(&mut head)? > 0, "GET {path}: the head ends early");
    }
    ensure!(head.starts_with("HTTP/1.1 200 "), "GET {path}: {}", head.lines().next().unwrap_or_default());
    let length: usize = header(&head, "content-length").context("no Content-Length")?.parse()?;
    let (mut lines, mut bytes) = (0, 0);
    let mut buffer = vec![0; BUFFER_BYTES];
    while bytes < length {
        let read = stream.read(&mut buffer)?;
        ensure!(read > 0, "GET {path}: {bytes} of {length} bytes came");
        lines += buffer[..read].iter().filter(|byte| **byte == b'\n').count();
        bytes += read;
    }
    Ok((lines, bytes))
}
