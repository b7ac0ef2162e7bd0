//! Bulk export (Bulk Data Access 2.0, `$export`): what may be asked for, who gets to see it, and what is told about it. The
//! work itself is done by [`crate::bulk`].
//!
//! An export is a row of a table and a folder of files. Who asked is kept with it, since the work outlives the request.

mod asked;
mod filters;
mod job;
mod kick_off;
mod plan;

use std::path::PathBuf;

use crate::app::App;

pub use asked::Asked;
pub use job::{File, Found, Outcome, Role, Status, file, find, remove, status};
pub use kick_off::{Request, kick_off};
pub use plan::{Part, plan};

/// The folder of this directory's exports. Directories that share a folder by their settings do not meet in it.
pub fn folder(app: &App) -> PathBuf {
    let folder = app.settings.export.folder.clone().unwrap_or_else(|| app.settings.data.join("exports"));
    folder.join(app.urn.trim_start_matches("urn:uuid:"))
}

/// The name of the folder, in [`folder`], of the files of an export that was begun so often.
pub fn folder_name(id: &str, attempt: i64) -> String {
    format!("{id}_{attempt}")
}
