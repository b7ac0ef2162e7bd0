//! `plumbline user`.

use std::io::{BufRead as _, IsTerminal as _, Write as _, stdin};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use super::output::output;
use crate::app::App;
use crate::auth::caller::{Caller, Role};
use crate::auth::password::{self, CHARS_MAX, CHARS_MIN};
use crate::auth::token::Account;
use crate::fhir::types::is_id;
use crate::interactions::audit::{self, Event, What};
use crate::smart::login::{self, Attempts};
use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::records;

/// Keep the people who log in to let apps in.
///
/// What an app may change for them follows from who they are: somebody with --fhir-user Practitioner/ID what describes that
/// person, an administrator of an organization (--organization ID) what belongs to it, an --admin everything.
#[derive(Debug, Args)]
pub struct UserArgs {
    #[command(subcommand)]
    command: UserCommand,
}

#[derive(Debug, Subcommand)]
enum UserCommand {
    /// Add an account; its password is asked for, or read from standard input
    Add(AddArgs),
    /// List the accounts
    List,
    /// Set a new password; unlocks the account, and ends its logins and what it granted
    Password(NameArgs),
    /// Remove an account; what it granted ends with it
    Remove(NameArgs),
}

#[derive(Debug, Args)]
struct AddArgs {
    /// The name to log in with
    name: String,
    /// Who this is in FHIR: Practitioner/ID, PractitionerRole/ID, Patient/ID, RelatedPerson/ID or Person/ID, or the URL of one
    #[arg(long, value_name = "REFERENCE")]
    fhir_user: Option<String>,
    /// Administers the Organization with this id
    #[arg(long, value_name = "ID", conflicts_with = "admin")]
    organization: Option<String>,
    /// May change everything that an app's scopes allow
    #[arg(long)]
    admin: bool,
}

#[derive(Debug, Args)]
struct NameArgs {
    /// The name to log in with
    name: String,
}

pub async fn run(app: &Arc<App>, args: &UserArgs) -> anyhow::Result<ExitCode> {
    match &args.command {
        UserCommand::Add(args) => add(app, args).await,
        UserCommand::List => list(app).await,
        UserCommand::Password(args) => new_password(app, &args.name).await,
        UserCommand::Remove(args) => remove(app, &args.name).await,
    }
}

async fn add(app: &Arc<App>, args: &AddArgs) -> anyhow::Result<ExitCode> {
    if args.name.trim() != args.name || args.name.is_empty() || args.name.chars().any(char::is_control) {
        bail!("'{}' is no name for an account", args.name);
    }
    let role = role(args)?;
    let password = hashed()?;
    let account = Account { password, fhir_user: args.fhir_user.clone(), role: role.to_string() };
    let name = args.name.clone();
    let is_new =
        app.store.write(async move |conn: &mut Conn| records::insert(conn, &name, &account, None).await).await?;
    if !is_new {
        eprintln!(
            "plumbline: there is an account {} already; `plumbline user password` gives it a new password",
            args.name
        );
        return Ok(ExitCode::from(1));
    }
    done(app, &args.name, format!("added the account {} ({role})", args.name)).await?;
    writeln!(output(), "added {} ({role})", args.name)?;
    Ok(ExitCode::SUCCESS)
}

fn role(args: &AddArgs) -> anyhow::Result<Role> {
    let user = match args.fhir_user.as_deref() {
        Some(reference) => {
            let mut parts = reference.rsplitn(3, '/');
            let (id, kind) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let kinds = ["Practitioner", "PractitionerRole", "Patient", "RelatedPerson", "Person"];
            if !kinds.contains(&kind) || !is_id(id) {
                bail!("--fhir-user {reference}: it is {} and an id, or a URL that ends so", kinds.join(", "));
            }
            Some((kind, id, parts.next().is_none()))
        }
        None => None,
    };
    Ok(match (&args.organization, user) {
        _ if args.admin => Role::Admin,
        (Some(id), _) if is_id(id) => Role::Organization(id.clone()),
        (Some(id), _) => bail!("--organization {id}: it is the id of an Organization"),
        // A practitioner of another server changes nothing here.
        (None, Some(("Practitioner", id, true))) => Role::Practitioner(id.to_owned()),
        _ => Role::Member,
    })
}

/// The hash of a password that is asked for twice, or read from a pipe.
fn hashed() -> anyhow::Result<String> {
    let password = if stdin().is_terminal() {
        let first = rpassword::prompt_password(format!("Password (at least {CHARS_MIN} characters): "))?;
        if first != rpassword::prompt_password("Once more: ")? {
            bail!("the two passwords differ");
        }
        first
    } else {
        let mut line = String::new();
        stdin().lock().read_line(&mut line).context("the password cannot be read from standard input")?;
        line.trim_end_matches(['\r', '\n']).to_owned()
    };
    let chars = password.chars().count();
    if !(CHARS_MIN..=CHARS_MAX).contains(&chars) {
        bail!("a password has {CHARS_MIN} to {CHARS_MAX} characters, this one {chars}; several words make a good one");
    }
    password::hash(&password).map_err(anyhow::Error::msg)
}

async fn list(app: &Arc<App>) -> anyhow::Result<ExitCode> {
    let accounts = app.store.read(async |conn: &mut Conn| records::list::<Account>(conn).await).await?;
    let attempts = app.store.read(async |conn: &mut Conn| records::list::<Attempts>(conn).await).await?;
    for (name, account) in &accounts {
        let is_locked = attempts.iter().any(|(_, it)| it.account == *name && app.now().0 < it.locked_until);
        let locked = if is_locked { "\tlocked" } else { "" };
        writeln!(output(), "{name}\t{}\t{}{locked}", account.role, account.fhir_user.as_deref().unwrap_or("-"))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn new_password(app: &Arc<App>, name: &str) -> anyhow::Result<ExitCode> {
    let password = hashed()?;
    let key = name.to_owned();
    let was_there = app
        .store
        .write(async move |conn: &mut Conn| {
            let Some(mut account) = records::get_locked::<Account>(conn, &key).await? else { return Ok(false) };
            account = Account { password: password.clone(), ..account };
            records::put(conn, &key, &account, None).await?;
            records::remove_where::<Attempts>(conn, |attempts| attempts.account == key).await?;
            // Whoever knew the old one is out.
            login::end_all(conn, &key).await?;
            Ok::<_, StoreError>(true)
        })
        .await?;
    changed(app, name, was_there, "has a new password").await
}

async fn remove(app: &Arc<App>, name: &str) -> anyhow::Result<ExitCode> {
    let key = name.to_owned();
    let was_there = app
        .store
        .write(async move |conn: &mut Conn| {
            login::end_all(conn, &key).await?;
            records::remove::<Account>(conn, &key).await
        })
        .await?;
    changed(app, name, was_there, "is removed").await
}

async fn changed(app: &Arc<App>, name: &str, was_there: bool, what: &str) -> anyhow::Result<ExitCode> {
    if !was_there {
        eprintln!("plumbline: there is no account {name}; `plumbline user list` lists them");
        return Ok(ExitCode::from(1));
    }
    done(app, name, format!("the account {name} {what}")).await?;
    writeln!(output(), "{name} {what}")?;
    Ok(ExitCode::SUCCESS)
}

async fn done(app: &Arc<App>, name: &str, description: String) -> anyhow::Result<()> {
    let event = Event { what: What::Administration, is_success: true, description, client: None, account: Some(name) };
    Ok(audit::record(app, &Caller::operator(), event).await?)
}
