//! The two folders of migrations: the same names, and tables of the same columns and keys.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

fn folder(name: &str) -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(name);
    let entries = fs::read_dir(folder).expect("a folder of migrations").map(|entry| entry.expect("an entry").path());
    entries
        .map(|file| {
            let name = file.file_name().expect("a name").to_string_lossy().into_owned();
            (name, fs::read_to_string(&file).expect("SQL"))
        })
        .collect()
}

/// `CREATE TABLE` and `CREATE INDEX` statements with the words in which the two databases differ taken out.
fn shape(sql: &str) -> BTreeSet<String> {
    let code: String = sql.lines().filter(|line| !line.trim_start().starts_with("--")).collect::<Vec<_>>().join(" ");
    // Triggers have to be written twice in any case.
    let is_compared = |statement: &&str| statement.starts_with("CREATE") && !statement.contains("TRIGGER");
    // And SQLite, with its one writer, needs no other order of the log than that of its rows.
    let of_one = [" FUNCTION ", "change_position", "version_xid"];
    let statements = code.split(';').map(str::trim).filter(is_compared);
    let statements = statements.filter(|statement| !of_one.iter().any(|word| statement.contains(word)));
    statements
        .map(|statement| {
            let mut text = statement.split_whitespace().collect::<Vec<_>>().join(" ");
            for (word, common) in [
                ("BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY", "NUMBER PRIMARY KEY"),
                ("INTEGER PRIMARY KEY", "NUMBER PRIMARY KEY"),
                ("DEFAULT (pg_current_xact_id()::text::bigint)", "DEFAULT"),
                ("DEFAULT 0", "DEFAULT"),
                (" COLLATE \"C\"", ""),
                ("DOUBLE PRECISION", "REAL"),
                ("BYTEA", "BLOB"),
                ("SMALLINT", "INTEGER"),
                ("BIGINT", "INTEGER"),
                // Without a row id, an index on SQLite holds all columns anyway.
                (" INCLUDE (x, y, z)", ""),
                (" STRICT, WITHOUT ROWID", ""),
                (" STRICT", ""),
                ("( ", "("),
                (" )", ")"),
            ] {
                text = text.replace(word, common);
            }
            text
        })
        .collect()
}

#[test]
fn both_databases_have_the_same_migrations() {
    let (sqlite, postgresql) = (folder("sqlite"), folder("postgresql"));
    assert_eq!(sqlite.keys().collect::<Vec<_>>(), postgresql.keys().collect::<Vec<_>>());
    for (name, sql) in &sqlite {
        assert_eq!(shape(sql), shape(&postgresql[name]), "{name}");
    }
}
