//! Conditions of conditional interactions: a search that must name one resource (R4 http.html#ccreate, #cond-update).

use std::collections::BTreeSet;

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::IssueCode;
use crate::fhir::resource::excerpt;
use crate::fhir::types::ResourceType;
use crate::search::parse::{self, Handling};
use crate::search::query::TypeQuery;
use crate::store::conn::Conn;
use crate::store::{page, shared};

use super::{access, link};

/// A search that selects resources of one type.
#[derive(Clone, Debug)]
pub struct Condition {
    pub part: TypeQuery,
    /// As the client wrote it, for messages.
    pub text: String,
}

/// What a condition found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matched {
    None,
    One(String),
    Many,
}

impl Condition {
    /// Reads the text after `?`. It selects among the resources that the caller may search, or write so (`access`): no
    /// condition tells about others. A condition without filters would select everything, and one with a filter that has no
    /// value, such as a form that was not filled in, more than is meant.
    ///
    /// # Errors
    /// 400 when a parameter cannot be used, however lenient the client is, or when there is none; 401 and 403 when it leads
    /// through resources that the caller may not search.
    pub fn parse(
        app: &App,
        caller: &Caller,
        access: Access,
        resource_type: ResourceType,
        text: &str,
    ) -> Result<Self, FhirError> {
        let mut pairs: Vec<(String, String)> =
            form_urlencoded::parse(text.trim_start_matches('?').as_bytes()).into_owned().collect();
        pairs.retain(|(name, _)| !link::is_shape(name));
        let mut query = parse::parse(&[resource_type], &pairs, app.search_context(Handling::Strict))?;
        match query.types.pop() {
            Some(mut part) if !pairs.is_empty() && part.filters.len() == pairs.len() => {
                access::narrow(app, caller, &[access, Access::SEARCH], &mut part)?;
                Ok(Self { part, text: text.to_owned() })
            }
            _ => Err(FhirError::new(
                Kind::PreconditionFailed,
                format!(
                    "The condition '{}' is not one: give at least one search parameter, each with a value, and nothing else.",
                    excerpt(text)
                ),
            )
            .code(IssueCode::Required)),
        }
    }

    /// The resources it selects now, at most `limit`, as ids.
    ///
    /// # Errors
    /// The store's.
    pub async fn ids(&self, conn: &mut Conn, limit: i64) -> Result<Vec<String>, FhirError> {
        let found = page::page(conn, std::slice::from_ref(&self.part), None, limit).await?;
        Ok(found.into_iter().map(|found| found.id).collect())
    }

    /// Whether it selects none, one or several. Inside a transaction that writes, nobody else decides by a condition on
    /// this type until the transaction ends.
    ///
    /// # Errors
    /// The store's.
    pub async fn matched(&self, conn: &mut Conn) -> Result<Matched, FhirError> {
        lock(conn, [self.part.resource_type]).await?;
        let mut ids = self.ids(conn, 2).await?;
        Ok(match (ids.len(), ids.pop()) {
            (0, _) | (_, None) => Matched::None,
            (1, Some(id)) => Matched::One(id),
            _ => Matched::Many,
        })
    }

    /// The refusal when several resources match.
    pub fn ambiguous(&self) -> FhirError {
        FhirError::new(
            Kind::PreconditionFailed,
            format!(
                "More than one {} matches '{}'; the condition must select one.",
                self.part.resource_type,
                excerpt(&self.text)
            ),
        )
        .code(IssueCode::MultipleMatches)
    }
}

/// Lets nobody else decide by a condition on these types until the transaction ends. The lock is on the type: two
/// conditions in other words may select the same resource. All who lock do so in one order.
///
/// # Errors
/// The store's.
pub async fn lock(conn: &mut Conn, types: impl IntoIterator<Item = ResourceType>) -> Result<(), FhirError> {
    for resource_type in BTreeSet::from_iter(types) {
        shared::lock_name(conn, resource_type.as_str()).await?;
    }
    Ok(())
}
