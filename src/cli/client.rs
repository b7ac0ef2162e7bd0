//! `plumbline client`.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::output;
use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::client::{Authentication, Client, is_client_id, redirect_uri_fault};
use crate::auth::jwt::KeySet;
use crate::auth::token::Grant;
use crate::auth::{password, random};
use crate::interactions::audit::{self, Event, What};
use crate::smart::authenticate::hexadecimal;
use crate::store::conn::Conn;
use crate::store::records;

const EXAMPLES: &str = "Examples:
  plumbline client add --id warehouse --jwks https://warehouse.example/jwks.json --scope 'system/*.rs'
  plumbline client add --id finder --redirect-uri https://finder.example/callback --scope 'openid fhirUser user/*.rs'";

/// Bytes of a file of keys.
const KEYS_BYTES_MAX: u64 = 1 << 20;

/// Register the apps and systems that may ask for access tokens.
///
/// Works beside a running server on the same --data. A backend service has keys of its own (--jwks) and scopes that begin
/// with system/; an app that people use has a redirect URI and scopes that begin with user/ or patient/.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES, after_help = EXAMPLES)]
pub struct ClientArgs {
    #[command(subcommand)]
    command: ClientCommand,
}

#[derive(Debug, Subcommand)]
enum ClientCommand {
    /// Register a client
    Add(AddArgs),
    /// List the clients
    List(ListArgs),
    /// Forget a client; its tokens end with it
    Remove(NameArgs),
    /// Give a client new keys, or a new secret; the old ones are not accepted any more
    Rotate(RotateArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The client_id
    #[arg(long)]
    id: String,
    /// What people are shown who are asked for their consent [default: the id]
    #[arg(long)]
    name: Option<String>,
    /// What may be granted to it at most, as in 'system/*.rs'
    #[arg(long, value_name = "SCOPES")]
    scope: String,
    /// Its public keys: a file with a JWK Set, or the https URL of one
    #[arg(long, value_name = "FILE|URL")]
    jwks: Option<String>,
    /// Make a secret, for a system that cannot sign; it is printed once
    #[arg(long, conflicts_with = "jwks")]
    secret: bool,
    /// Where an app of people is sent its codes, compared whole; may be repeated
    #[arg(long = "redirect-uri", value_name = "URI")]
    redirect_uris: Vec<String>,
    /// The certificate (PEM) that it has to connect with; its tokens are bound to it (RFC 8705)
    #[arg(long, value_name = "FILE")]
    certificate: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct ListArgs {
    /// As JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct NameArgs {
    /// The client_id
    id: String,
}

#[derive(Debug, Args)]
struct RotateArgs {
    /// The client_id
    id: String,
    /// Its new public keys; without them it gets a new secret, if it has one
    #[arg(long, value_name = "FILE|URL")]
    jwks: Option<String>,
}

pub async fn run(app: &Arc<App>, args: &ClientArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        ClientCommand::Add(args) => add(app, args).await,
        ClientCommand::List(args) => list(app, args).await,
        ClientCommand::Remove(args) => remove(app, &args.id).await,
        ClientCommand::Rotate(args) => rotate(app, args).await,
    }
}

async fn add(app: &Arc<App>, args: &AddArgs) -> anyhow::Result<ExitCode> {
    if !is_client_id(&args.id) {
        bail!("'{}' is no client id: it is 1 to 200 letters, digits and -._~:/@", args.id);
    }
    super::token::scopes(app, &args.scope)?;
    for uri in &args.redirect_uris {
        if let Some(fault) = redirect_uri_fault(uri) {
            bail!("--redirect-uri {uri}: {fault}");
        }
    }
    let (authentication, secret) = match (&args.jwks, args.secret) {
        (Some(jwks), _) => (keys(jwks)?, None),
        (None, true) => {
            let (authentication, secret) = new_secret()?;
            (authentication, Some(secret))
        }
        (None, false) if args.redirect_uris.is_empty() => bail!(
            "the client can neither prove who it is nor be sent a code: give --jwks or --secret for a backend service, or --redirect-uri for an app of people"
        ),
        (None, false) => (Authentication::Public, None),
    };
    let client = Client {
        name: args.name.clone().unwrap_or_else(|| args.id.clone()),
        scope: args.scope.clone(),
        authentication,
        redirect_uris: args.redirect_uris.clone(),
        certificate: args.certificate.as_deref().map(thumbprint).transpose()?,
        is_self_registered: false,
        created_at: app.now().0,
    };
    let (id, kept) = (args.id.clone(), client.clone());
    let is_new = app.store.write(async move |conn: &mut Conn| records::insert(conn, &id, &kept, None).await).await?;
    if !is_new {
        eprintln!("plumbline: there is a client {} already; remove it first, or rotate its keys", args.id);
        return Ok(ExitCode::from(1));
    }
    done(app, &args.id, format!("registered the client {}", args.id)).await?;
    match secret {
        // The one time that it is seen.
        Some(secret) => writeln!(output(), "{secret}")?,
        None => writeln!(output(), "registered {} ({})", args.id, client.method())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A JWK Set from a file, or the URL of one.
fn keys(place: &str) -> anyhow::Result<Authentication> {
    if place.starts_with("https://") || place.starts_with("http://") {
        url::Url::parse(place).with_context(|| format!("--jwks {place}"))?;
        return Ok(Authentication::JwksUrl(place.to_owned()));
    }
    let text =
        crate::files::read_within(Path::new(place), KEYS_BYTES_MAX).with_context(|| format!("--jwks {place}"))?;
    KeySet::parse(&text).map_err(anyhow::Error::msg).with_context(|| format!("--jwks {place}"))?;
    Ok(Authentication::Jwks(serde_json::from_slice(&text)?))
}

fn new_secret() -> anyhow::Result<(Authentication, String)> {
    let secret = random()?;
    let hash = password::hash(&secret).map_err(anyhow::Error::msg)?;
    Ok((Authentication::Secret(hash), secret))
}

fn thumbprint(file: &Path) -> anyhow::Result<String> {
    let place = || format!("--certificate {}", file.display());
    let pem = fs::read(file).with_context(place)?;
    let certificate = openssl::x509::X509::from_pem(&pem).with_context(place)?;
    Ok(hexadecimal(&certificate.digest(openssl::hash::MessageDigest::sha256())?))
}

async fn list(app: &Arc<App>, args: &ListArgs) -> anyhow::Result<ExitCode> {
    let clients = app.store.read(async |conn: &mut Conn| records::list::<Client>(conn).await).await?;
    if args.json {
        let all: Vec<Value> = clients.iter().map(|(id, client)| shown(id, client)).collect();
        writeln!(output(), "{}", serde_json::to_string_pretty(&all)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for (id, client) in &clients {
        writeln!(output(), "{id}\t{}\t{}", client.method(), client.scope)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A client without what is secret about it.
fn shown(id: &str, client: &Client) -> Value {
    let keys = match &client.authentication {
        Authentication::Jwks(keys) => keys.clone(),
        Authentication::JwksUrl(url) => url.as_str().into(),
        Authentication::Public | Authentication::Secret(_) => Value::Null,
    };
    json!({
        "client_id": id,
        "client_name": client.name,
        "token_endpoint_auth_method": client.method(),
        "scope": client.scope,
        "redirect_uris": client.redirect_uris,
        "jwks": keys,
        "certificate_sha256": client.certificate,
    })
}

async fn remove(app: &Arc<App>, id: &str) -> anyhow::Result<ExitCode> {
    let name = id.to_owned();
    let was_there = app
        .store
        .write(async move |conn: &mut Conn| {
            // A client that gets the id one day has nothing of this one's.
            records::remove_where::<Grant>(conn, |grant| grant.client_id == name).await?;
            records::remove::<Client>(conn, &name).await
        })
        .await?;
    if !was_there {
        return unknown(id);
    }
    done(app, id, format!("removed the client {id}")).await?;
    writeln!(output(), "removed {id}; its tokens are not accepted any more, on other nodes within seconds")?;
    Ok(ExitCode::SUCCESS)
}

async fn rotate(app: &Arc<App>, args: &RotateArgs) -> anyhow::Result<ExitCode> {
    let (new, secret) = match &args.jwks {
        Some(jwks) => (keys(jwks)?, None),
        None => {
            let (authentication, secret) = new_secret()?;
            (authentication, Some(secret))
        }
    };
    let (id, has_secret) = (args.id.clone(), secret.is_some());
    let found = app
        .store
        .write(async move |conn: &mut Conn| {
            let Some(mut client) = records::get_locked::<Client>(conn, &id).await? else { return Ok(None) };
            // A secret is for a client that had one.
            if has_secret && !matches!(client.authentication, Authentication::Secret(_)) {
                return Ok(Some(false));
            }
            client.authentication = new.clone();
            records::put(conn, &id, &client, None).await?;
            Ok::<_, crate::store::error::StoreError>(Some(true))
        })
        .await?;
    match found {
        None => return unknown(&args.id),
        Some(false) => bail!("the client {} has no secret; give its new keys with --jwks", args.id),
        Some(true) => {}
    }
    done(app, &args.id, format!("gave the client {} new keys or a new secret", args.id)).await?;
    match secret {
        Some(secret) => writeln!(output(), "{secret}")?,
        None => writeln!(output(), "{} has new keys", args.id)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(id: &str) -> anyhow::Result<ExitCode> {
    eprintln!("plumbline: there is no client {id}; `plumbline client list` lists them");
    Ok(ExitCode::from(1))
}

async fn done(app: &Arc<App>, id: &str, description: String) -> anyhow::Result<()> {
    let event = Event { what: What::Administration, is_success: true, description, client: Some(id), account: None };
    Ok(audit::record(app, &Caller::operator(), event).await?)
}
