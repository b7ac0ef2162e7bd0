//! `plumbline serve`.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::SignalKind;

use super::output::output;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::config::Settings;
use crate::demo::Directory;
use crate::fhir::types::ResourceType;
use crate::http::server;
use crate::interactions::write::{self, Put};
use crate::search::value::Target;
use crate::store::conn::Conn;
use crate::store::include;

/// Practitioners of the demo directory, and the seed it grows from.
const DEMO_PRACTITIONERS: usize = 2_000;
const DEMO_SEED: u64 = 1;
/// How often what authorization keeps is looked after.
const HOUSEKEEPING: std::time::Duration = std::time::Duration::from_secs(60);
/// Resources of the demo that are stored together.
const DEMO_BATCH: usize = 1_000;

/// What the kernel sends when a file would grow beyond the process's limit: 25 on Linux and macOS.
const SIGXFSZ: i32 = 25;

/// Serve the directory over HTTP.
///
/// The first line of standard output is the base URL; the FHIR base is that with /fhir. Until authorization is built in,
/// only loopback addresses are served.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Fill an empty directory with a demo: 2,000 invented practitioners with all that belongs to them
    #[arg(long)]
    demo: bool,
}

pub fn run(mut settings: Settings, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    if let Some(listen) = &args.listen {
        settings.server.listen.clone_from(listen);
    }
    let address = loopback(&settings.server.listen)?;
    let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    let workers = settings.server.workers;
    let system = actix_web::rt::System::new();
    system.block_on(async move {
        // A file that may not grow further (`ulimit -f`) is a full disk, answered 503; unhandled, the signal would be the end.
        let _file_size =
            tokio::signal::unix::signal(SignalKind::from_raw(SIGXFSZ)).context("a signal cannot be handled")?;
        let bases = match &settings.server.base_url {
            Some(url) => vec![url.trim_end_matches('/').to_owned()],
            None => {
                let host = settings.server.listen.rsplit_once(':').map_or("127.0.0.1", |(host, _)| host).to_owned();
                super::own_bases(&host, &address.port().to_string())
            }
        };
        let base = bases.first().cloned().unwrap_or_default();
        let app = super::open(settings, bases).await?;
        if args.demo {
            load_demo(&app).await?;
        }
        // A fault of the keys is told now and not to the first client.
        app.tokens().await?;
        actix_web::rt::spawn(housekeeping(Arc::clone(&app)));
        let server = server::serve(&app, listener).context("the server cannot start")?;
        let url = base.trim_end_matches("/fhir");
        // Whoever waits for the first line may not read the others: the server serves all the same.
        let _unread = greet(url, &base);
        tracing::info!(%url, database = app.settings.database_url(), workers, "serving");
        let handle = server.handle();
        actix_web::rt::spawn(async move {
            stop_signal().await;
            tracing::info!("stopping: requests under way are finished first");
            handle.stop(true).await;
        });
        server.await.context("the server failed")?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Looks after what authorization keeps: forgets what is over, replaces keys in time, knows the origins of new clients.
async fn housekeeping(app: Arc<App>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Err(error) = app.tidy().await {
            tracing::warn!(%error, "authorization could not be tidied up");
        }
    }
}

fn greet(url: &str, base: &str) -> io::Result<()> {
    let mut out = output();
    writeln!(out, "{url}\n")?;
    writeln!(out, "FHIR base: {base}")?;
    writeln!(
        out,
        "Try:       curl '{base}/PractitionerRole?specialty=207Q00000X&_include=PractitionerRole:practitioner&_count=2&_pretty=true'"
    )?;
    writeln!(out, "The server answers only on this machine (loopback): authorization is not built in yet.")
}

/// The first loopback address that `listen` names.
fn loopback(listen: &str) -> anyhow::Result<SocketAddr> {
    let addresses: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .with_context(|| format!("'{listen}' is no address to listen on; use HOST:PORT, as in 127.0.0.1:8080"))?
        .collect();
    match addresses.iter().find(|address| address.ip().is_loopback()) {
        Some(address) => Ok(*address),
        None => bail!(
            "'{listen}' can be reached from other machines, which is refused until authorization is built in; listen on 127.0.0.1 or [::1]"
        ),
    }
}

async fn stop_signal() {
    use tokio::signal::unix::signal;
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => {
            tokio::select! {
                _ = interrupted => {}
                _ = terminated.recv() => {}
            }
        }
        Err(_no_signals) => {
            let _signal = interrupted.await;
        }
    }
}

/// Stores the demo directory, unless there is something in the database already.
async fn load_demo(app: &Arc<App>) -> anyhow::Result<()> {
    for resource_type in ResourceType::ALL.iter().filter(|t| t.is_directory()) {
        let some = app.store.read(async |conn: &mut Conn| include::after(conn, *resource_type, 0, 1).await).await?;
        if !some.is_empty() {
            tracing::info!("the directory is not empty, so the demo is not loaded again");
            return Ok(());
        }
    }
    let bar = ProgressBar::new_spinner()
        .with_style(ProgressStyle::with_template("loading the demo: {pos} resources, {per_sec}")?);
    let operator = Caller::operator();
    let mut puts = Vec::with_capacity(DEMO_BATCH);
    for body in Directory::new(DEMO_PRACTITIONERS, DEMO_SEED).resources() {
        let name = body.get("resourceType").and_then(serde_json::Value::as_str).and_then(ResourceType::parse);
        let id = body.get("id").and_then(serde_json::Value::as_str).map(str::to_owned);
        let (Some(resource_type), Some(id)) = (name, id) else { continue };
        let prepared = write::prepare(app, &operator, Access::UPDATE, resource_type, body)?;
        puts.push(Put {
            target: Target { resource_type, id },
            resource: Some(prepared),
            expected: None,
            is_create: false,
        });
        if puts.len() == DEMO_BATCH {
            let batch = std::mem::replace(&mut puts, Vec::with_capacity(DEMO_BATCH));
            bar.inc(write::write(app, &operator, batch).await?.len() as u64);
        }
    }
    bar.inc(write::write(app, &operator, puts).await?.len() as u64);
    bar.finish_and_clear();
    tracing::info!(resources = bar.position(), "the demo directory is loaded");
    Ok(())
}
