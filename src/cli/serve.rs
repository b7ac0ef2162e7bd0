//! `plumbline serve`.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::signal::unix::SignalKind;

use super::output::output;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::{Access, Scope, Scopes};
use crate::auth::token::TokenError;
use crate::bulk;
use crate::config::{ClientCertificates, Server, Settings};
use crate::delivery::machine;
use crate::demo::Directory;
use crate::fhir::types::ResourceType;
use crate::http::server;
use crate::http::tls::Tls;
use crate::interactions::write::{self, Put};
use crate::search::value::Target;
use crate::store::conn::{Conn, without_password};
use crate::store::include;

/// Practitioners of the demo directory, and the seed it grows from.
const DEMO_PRACTITIONERS: usize = 2_000;
const DEMO_SEED: u64 = 1;
/// How often what authorization keeps is looked after.
const HOUSEKEEPING: std::time::Duration = std::time::Duration::from_secs(5);
/// And how many times until it is tidied up as well.
const TIDY_EVERY: u64 = 12;
/// Resources of the demo that are stored together.
const DEMO_BATCH: usize = 1_000;

/// What the kernel sends when a file would grow beyond the process's limit: 25 on Linux and macOS.
const SIGXFSZ: i32 = 25;

/// Serve the directory over HTTP.
///
/// The first line of standard output is the base URL; the FHIR base is that with /fhir. Only loopback addresses are served
/// unless server.base_url begins with https://, by which clients then come: to this server, or to a proxy before it.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port to listen on; port 0 picks a free one [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// Certificate for TLS, the chain after it, in PEM; read again when it changes, and on SIGHUP
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Private key of the certificate, in PEM
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Fill an empty directory with a demo: 2,000 invented practitioners with all that belongs to them
    #[arg(long)]
    demo: bool,
}

pub fn run(mut settings: Settings, args: &ServeArgs) -> anyhow::Result<ExitCode> {
    if let Some(listen) = &args.listen {
        settings.server.listen.clone_from(listen);
    }
    settings.server.tls_cert = args.tls_cert.clone().or(settings.server.tls_cert);
    settings.server.tls_key = args.tls_key.clone().or(settings.server.tls_key);
    let address = address(&settings.server)?;
    check_anonymous(&settings, address)?;
    let tls = tls(&settings.server)?;
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
                super::own_bases(settings.server.scheme(), &host, &address.port().to_string())
            }
        };
        let base = bases.first().cloned().unwrap_or_default();
        let app = super::open(settings, bases).await?;
        if args.demo {
            load_demo(&app).await?;
        }
        // A fault of the keys is told now and not to the first client.
        app.tokens().await?;
        let _delivery = machine::start(&app).context("deliveries cannot start")?;
        actix_web::rt::spawn(housekeeping(Arc::clone(&app)));
        actix_web::rt::spawn(bulk::run(Arc::clone(&app)));
        let server = server::serve(&app, listener, tls).context("the server cannot start")?;
        let url = base.trim_end_matches("/fhir");
        // Whoever waits for the first line may not read the others: the server serves all the same.
        let _unread = greet(url, &base, address);
        tracing::info!(%url, database = without_password(&app.settings.database_url()), workers, "serving");
        let settings = &app.settings.server;
        if settings.is_reached_by_https() && !settings.has_tls() && settings.trusted_proxies.is_empty() {
            tracing::warn!(
                "clients come by a proxy, but server.trusted_proxies does not name it: all of them share one address, and its limits"
            );
        }
        let handle = server.handle();
        let stopping = Arc::clone(&app);
        actix_web::rt::spawn(async move {
            stop_signal().await;
            stopping.stopping.send_replace(true);
            tracing::info!("stopping: requests under way are finished first");
            handle.stop(true).await;
        });
        server.await.context("the server failed")?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Whoever can write without a token must be on this machine.
fn check_anonymous(settings: &Settings, address: SocketAddr) -> anyhow::Result<()> {
    let scopes = Scopes::parse_strictly(&settings.auth.anonymous_scope)
        .map_err(|fault| anyhow::anyhow!("the setting auth.anonymous_scope: {fault}"))?;
    let writes = |access: Access| [Access::CREATE, Access::UPDATE, Access::DELETE].iter().any(|it| access.has(*it));
    let is_open = scopes.iter().any(|scope| matches!(scope, Scope::Module { .. }))
        || scopes.resources().any(|scope| writes(scope.access));
    if is_open && (!address.ip().is_loopback() || settings.server.is_reached_by_https()) {
        bail!(
            "auth.anonymous_scope lets everybody change the directory; that is for trials on 127.0.0.1 without server.base_url"
        );
    }
    Ok(())
}

/// Looks after what authorization keeps: learns of new clients, forgets what is over, replaces keys in time.
async fn housekeeping(app: Arc<App>) {
    let mut ticks = tokio::time::interval(HOUSEKEEPING);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for n in 0_u64.. {
        ticks.tick().await;
        let learned = app.learn_origins().await.map_err(TokenError::from);
        let tidied = if n % TIDY_EVERY == 0 { app.tidy().await } else { Ok(()) };
        if let Err(error) = learned.and(tidied) {
            tracing::warn!(%error, "what authorization keeps could not be looked after");
        }
    }
}

fn greet(url: &str, base: &str, address: SocketAddr) -> io::Result<()> {
    let mut out = output();
    writeln!(out, "{url}\n")?;
    writeln!(out, "FHIR base: {base}")?;
    writeln!(
        out,
        "Try:       curl '{base}/PractitionerRole?specialty=207Q00000X&_include=PractitionerRole:practitioner&_count=2&_pretty=true'"
    )?;
    if address.ip().is_loopback() {
        writeln!(out, "The server listens only on this machine (loopback), on {address}.")
    } else {
        writeln!(out, "The server listens on {address}.")
    }
}

/// The address to listen on: one that only this machine reaches, unless clients come by https.
fn address(server: &Server) -> anyhow::Result<SocketAddr> {
    let listen = &server.listen;
    let addresses: Vec<SocketAddr> = listen
        .to_socket_addrs()
        .with_context(|| format!("'{listen}' is no address to listen on; use HOST:PORT, as in 127.0.0.1:8080"))?
        .collect();
    match addresses.iter().find(|address| server.is_reached_by_https() || address.ip().is_loopback()) {
        Some(address) => Ok(*address),
        None => bail!(
            "'{listen}' can be reached from other machines, which have to come by https: set server.base_url to the https:// URL of the FHIR base (and server.tls_cert and server.tls_key, unless a proxy in front does TLS), or listen on 127.0.0.1 or [::1]"
        ),
    }
}

/// TLS of the server itself, if it is set.
fn tls(server: &Server) -> anyhow::Result<Option<Tls>> {
    let (certificate, key) = match (&server.tls_cert, &server.tls_key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if server.tls_client_certificates == ClientCertificates::Off => return Ok(None),
        (None, None) => {
            bail!(
                "server.tls_client_certificates asks for certificates, which needs server.tls_cert and server.tls_key"
            )
        }
        (Some(_), None) => {
            bail!("server.tls_cert is set without server.tls_key; give the file of the private key, too")
        }
        (None, Some(_)) => {
            bail!("server.tls_key is set without server.tls_cert; give the file of the certificate, too")
        }
    };
    if server.base_url.is_some() && !server.is_reached_by_https() {
        bail!("server.base_url begins with http://, but with server.tls_cert this server speaks https; write https://");
    }
    Tls::load(certificate, key, server.tls_client_certificates).map(Some).map_err(anyhow::Error::msg)
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
