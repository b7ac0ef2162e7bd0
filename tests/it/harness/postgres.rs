//! A PostgreSQL database for one test: on the server of `TEST_DATABASE_URL`, or in a throw-away cluster that lives as long
//! as the test process.

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;

/// A database that is dropped when it goes out of scope.
pub struct Database {
    pub url: String,
    name: String,
}

/// The URL of a server on which databases can be created, ending in its maintenance database.
static SERVER: LazyLock<Option<String>> = LazyLock::new(|| match std::env::var("TEST_DATABASE_URL") {
    Ok(url) => Some(url),
    Err(_) => Cluster::start().map(|cluster| {
        let url = cluster.url.clone();
        // It ends with this process: its keeper reads a pipe that closes then.
        std::mem::forget(cluster);
        url
    }),
});

static DATABASES: AtomicU32 = AtomicU32::new(0);

impl Database {
    /// `None`, with a note, when this machine has no PostgreSQL.
    pub fn create() -> Option<Self> {
        let Some(server) = SERVER.as_deref() else {
            eprintln!("skipped: no PostgreSQL here (no TEST_DATABASE_URL, and no initdb)");
            return None;
        };
        let name = format!("plumbline_{}_{}", std::process::id(), DATABASES.fetch_add(1, Ordering::Relaxed));
        assert!(
            psql(server, &format!("CREATE DATABASE {name} TEMPLATE template0")),
            "a database can be created on {server}"
        );
        let (rest, _) = server.rsplit_once('/').expect("the URL ends in a database");
        Some(Self { url: format!("{rest}/{name}"), name })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(server) = SERVER.as_deref() {
            psql(server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
        }
    }
}

/// The maintenance database of the server that a URL from here leads to.
pub fn maintenance(url: &str) -> String {
    let (rest, _) = url.rsplit_once('/').expect("the URL ends in a database");
    format!("{rest}/postgres")
}

/// The rows that a statement gives, as `psql -At` prints them.
pub fn ask(url: &str, statement: &str) -> String {
    let done = Command::new("psql")
        .args(["-q", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement, url])
        .stdin(Stdio::null())
        .output();
    let output = done.expect("psql runs");
    assert!(output.status.success(), "{statement}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Executes a statement; false, with a note, when it fails.
fn psql(url: &str, statement: &str) -> bool {
    let done = Command::new("psql")
        .args(["-q", "-X", "-v", "ON_ERROR_STOP=1", "-c", statement, url])
        .stdin(Stdio::null())
        .output();
    match done {
        Ok(output) if output.status.success() => true,
        Ok(output) => {
            eprintln!("psql: {}", String::from_utf8_lossy(&output.stderr));
            false
        }
        Err(error) => {
            eprintln!("psql: {error}");
            false
        }
    }
}

struct Cluster {
    url: String,
    _keeper: Child,
    _folder: TempDir,
}

/// Ends the server when its standard input closes, and takes the files with it.
const KEEPER: &str = r#"
"$1/postgres" -D "$2" -p "$3" -k "$2" -c listen_addresses=127.0.0.1 -c max_connections=500 -c shared_buffers=64MB >"$2/log" 2>&1 &
server=$!
read _
kill -QUIT "$server"
wait "$server"
rm -rf "$2"
"#;

impl Cluster {
    fn start() -> Option<Self> {
        let programs = programs()?;
        let folder = TempDir::new().ok()?;
        let data = folder.path().join("data");
        std::fs::create_dir(&data).ok()?;
        // PostgreSQL does not run as root.
        let is_root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
        let run_as = |program: &Path| {
            if is_root {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(program);
                command
            } else {
                Command::new(program)
            }
        };
        if is_root {
            let open = Command::new("chown").arg("-R").arg("65534:65534").arg(folder.path()).status();
            open.ok().filter(std::process::ExitStatus::success)?;
        }
        let made = run_as(&programs.join("initdb"))
            .args(["-A", "trust", "-U", "plumbline", "-E", "UTF8", "--no-locale", "-N", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        made.ok().filter(std::process::ExitStatus::success)?;
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let mut keeper = run_as(Path::new("/bin/sh"))
            .args(["-c", KEEPER, "keeper"])
            .arg(&programs)
            .arg(&data)
            .arg(port.to_string())
            .stdin(Stdio::piped())
            .spawn()
            .ok()?;
        keeper.stdin.as_mut()?.flush().ok()?;
        let url = format!("postgres://plumbline@127.0.0.1:{port}/postgres");
        let is_up = || {
            let ready = Command::new(programs.join("pg_isready"))
                .args(["-q", "-t", "1", "-h", "127.0.0.1", "-p", &port.to_string()])
                .status();
            ready.is_ok_and(|status| status.success())
        };
        // pg_isready itself waits up to a second for an answer; a refused connection comes back at once.
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
        while !is_up() {
            if std::time::Instant::now() > deadline || keeper.try_wait().ok()?.is_some() {
                return None;
            }
            std::thread::yield_now();
        }
        Some(Self { url, _keeper: keeper, _folder: folder })
    }
}

/// The folder with PostgreSQL's programs: on the path, or where Debian keeps them.
fn programs() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>())
        .map(|folder| folder.join("initdb"))
        .find(|initdb| initdb.is_file())
        .and_then(|initdb| initdb.canonicalize().ok());
    let debian = || {
        let mut versions: Vec<PathBuf> =
            std::fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok).map(|entry| entry.path()).collect();
        versions.sort();
        versions.into_iter().rev().map(|version| version.join("bin/initdb")).find(|initdb| initdb.is_file())
    };
    // The server stands beside initdb, which may be found through a link.
    [on_path, debian()]
        .into_iter()
        .flatten()
        .filter_map(|initdb| Some(initdb.parent()?.to_owned()))
        .find(|folder| folder.join("postgres").is_file())
}
