//! The processes under test: starting them, and what Linux says of their time and memory.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a server may take to print its base URL.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Clock ticks per second in /proc: USER_HZ, 100 on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// A running server; it is ended when this is dropped.
pub struct Server {
    child: Child,
    pub url: String,
    /// From the spawn to the first line, the base URL.
    pub started_in: Duration,
}

/// Bytes: resident now, and at the highest.
#[derive(Clone, Copy)]
pub struct Memory {
    pub resident: u64,
    pub peak: u64,
}

impl Server {
    /// Starts the command and waits for the URL in its first line. Its standard error goes to `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let errors = File::create(log)?;
        let begin = Instant::now();
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn();
        let mut child = spawned.with_context(|| format!("cannot start {command:?}"))?;
        let output = child.stdout.take().context("no standard output")?;
        let (sender, receiver) = mpsc::channel();
        // The thread reads on to the end, so that the server never waits for a full pipe.
        thread::spawn(move || {
            let mut lines = BufReader::new(output).lines().map_while(Result::ok);
            let _ = sender.send(lines.next());
            lines.for_each(drop);
        });
        let first = receiver.recv_timeout(START_TIMEOUT);
        let mut server = Self { child, url: String::new(), started_in: begin.elapsed() };
        match first {
            Ok(Some(line)) if line.starts_with("http://") => {
                server.url = line.trim_end().trim_end_matches('/').to_owned()
            }
            Ok(Some(line)) => bail!("{command:?}: the first line is no base URL: {line}"),
            _ => bail!("{command:?} printed no base URL\n{}", tail(log)),
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command, log: &Path) -> Result<Duration> {
    let errors = File::create(log)?;
    let begin = Instant::now();
    let ended = command.stdin(Stdio::null()).stdout(errors.try_clone()?).stderr(errors).status();
    let status = ended.with_context(|| format!("cannot start {command:?}"))?;
    if !status.success() {
        bail!("{command:?}: {status}\n{}", tail(log));
    }
    Ok(begin.elapsed())
}

fn tail(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}

/// User and system time of a process so far. None where there is no /proc.
pub fn cpu_seconds(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name stands in brackets and may hold anything; utime and stime are the 14th and 15th fields.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11).map(str::parse::<f64>);
    Some((fields.next()?.ok()? + fields.next()?.ok()?) / TICKS_PER_SECOND)
}

pub fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    };
    Some(Memory { resident: bytes("VmRSS")?, peak: bytes("VmHWM")? })
}

/// The bytes of all files below a directory.
pub fn directory_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let metadata = entry.metadata().ok()?;
            Some(if metadata.is_dir() { directory_bytes(&entry.path()) } else { metadata.len() })
        })
        .sum()
}
