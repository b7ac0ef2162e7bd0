//! Whether somebody in whose name something goes on, long after their token has ended, still may have it so.

use std::sync::Arc;

use crate::store::conn::Conn;
use crate::store::error::StoreError;
use crate::store::records;

use super::caller::{Identity, Kind, Role};
use super::client::Client;
use super::token::{Account, Grant};

/// Who somebody is now, given who they were: with the scopes that their client is registered with by now, as far as they had
/// them, and their account's role. `None` when their client, account or grant is gone, or nobody vouches for their issuer any
/// more (`is_trusted`). Whoever shows no token is whom the settings say.
///
/// # Errors
/// [`StoreError`] of the statements.
pub async fn current(
    conn: &mut Conn,
    was: &Arc<Identity>,
    anonymous: &Arc<Identity>,
    is_trusted: impl Fn(&str) -> bool,
) -> Result<Option<Arc<Identity>>, StoreError> {
    match was.kind {
        Kind::Operator => return Ok(Some(Arc::clone(was))),
        Kind::Anonymous => return Ok(Some(Arc::clone(anonymous))),
        Kind::Token => {}
    }
    if let Some(issuer) = &was.issuer {
        return Ok(is_trusted(issuer).then(|| Arc::clone(was)));
    }
    let mut now = Identity::clone(was);
    if let (Some(id), Some(since)) = (&was.client, was.client_since) {
        match records::get::<Client>(conn, id).await? {
            Some(client) if client.created_at == since => now.scopes = was.scopes.within(&client.scopes()),
            _ => return Ok(None),
        }
    }
    if let Some(grant) = &was.grant
        && records::get::<Grant>(conn, grant).await?.is_none()
    {
        return Ok(None);
    }
    if let Some(user) = &mut now.user {
        match records::get::<Account>(conn, &user.name).await?.and_then(|account| Role::parse(&account.role)) {
            Some(role) => user.role = role,
            None => return Ok(None),
        }
    }
    Ok(Some(Arc::new(now)))
}
