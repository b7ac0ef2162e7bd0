//! Where the server under test keeps its data: a directory of ours, or a PostgreSQL database of the caller's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::process::directory_bytes;

pub struct Database {
    /// `--data`; with SQLite all data are in it.
    pub directory: PathBuf,
    pub postgres: Option<String>,
}

impl Database {
    /// The server's program with a subcommand and the arguments that name this database.
    pub fn plumbline(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_plumbline"));
        command.args(arguments).arg("--data").arg(&self.directory);
        // Other servers take writes from everybody, too.
        command.env("PLUMBLINE_AUTH__ANONYMOUS_SCOPE", "system/*.cruds");
        // The load comes from one address.
        for limit in ["ADDRESS", "AUTH", "CLIENT", "POLLS"] {
            command.env(format!("PLUMBLINE_LIMITS__{limit}_PER_S"), "0");
        }
        if let Some(url) = &self.postgres {
            command.arg("--database-url").arg(url);
        }
        command
    }

    /// An access token that reads everything.
    pub fn token(&self) -> Result<String> {
        let made = self.plumbline(&["token", "--scope", "system/*.rs", "--ttl", "1d"]).output()?;
        anyhow::ensure!(made.status.success(), "no token: {}", String::from_utf8_lossy(&made.stderr));
        Ok(String::from_utf8(made.stdout)?.trim().to_owned())
    }

    pub fn name(&self) -> &'static str {
        if self.postgres.is_some() { "PostgreSQL" } else { "SQLite" }
    }

    /// The bytes that the database takes up on disk, write-ahead log of SQLite included.
    pub fn bytes(&self) -> Result<u64> {
        let Some(url) = &self.postgres else { return Ok(directory_bytes(&self.directory)) };
        actix_web::rt::Runtime::new()?.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls).await?;
            let connection = actix_web::rt::spawn(connection);
            let row = client.query_one("SELECT pg_database_size(current_database())", &[]).await?;
            connection.abort();
            u64::try_from(row.get::<_, i64>(0)).context("a negative size")
        })
    }
}
