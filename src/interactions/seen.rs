//! What a caller may see of the past: a version for what it says itself, whatever the resource has become since.

use crate::app::App;
use crate::auth::caller::Caller;
use crate::auth::scope::Access;
use crate::fhir::error::FhirError;
use crate::fhir::types::ResourceType;
use crate::search::value::Target;
use crate::store::conn::Conn;
use crate::store::history::Version;

use super::access::{self, Sight};
use super::read::was_seen;
use super::write::stored;

/// What the caller may see of each type that is asked for; at least one.
pub(super) struct Seen(Vec<(ResourceType, Sight)>);

impl Seen {
    /// All of these types.
    ///
    /// # Errors
    /// 401 and 403 when one of them may not be seen at all.
    pub fn required(app: &App, caller: &Caller, access: Access, types: &[ResourceType]) -> Result<Self, FhirError> {
        let sights = types.iter().map(|it| Ok((*it, access::require(app, caller, access, *it)?)));
        sights.collect::<Result<_, FhirError>>().map(Self)
    }

    /// Those of these types that the caller may search.
    ///
    /// # Errors
    /// 401 and 403 when there is none.
    pub fn allowed(app: &App, caller: &Caller, types: impl Iterator<Item = ResourceType>) -> Result<Self, FhirError> {
        let sights = types.map(|it| (it, access::sight(app, caller, Access::SEARCH, it)));
        let sights: Vec<_> = sights.filter(|(_, sight)| !matches!(sight, Sight::Nothing)).collect();
        match sights.is_empty() {
            true => Err(access::denied(caller, Access::SEARCH, ResourceType::Practitioner)),
            false => Ok(Self(sights)),
        }
    }

    pub fn types(&self) -> Vec<ResourceType> {
        self.0.iter().map(|(resource_type, _)| *resource_type).collect()
    }

    pub fn is_everything(&self) -> bool {
        self.0.iter().all(|(_, sight)| matches!(sight, Sight::Everything))
    }

    /// Whether the caller may see a version. A deletion is seen by those who saw what was deleted.
    ///
    /// # Errors
    /// The store's, when it is asked what was deleted.
    pub async fn reaches(&self, app: &App, conn: &mut Conn, version: &Version) -> Result<bool, FhirError> {
        let Version { resource_type, id, .. } = version;
        match (self.0.iter().find(|(it, _)| it == resource_type), &version.body) {
            (None, _) => Ok(false),
            (Some((_, Sight::Everything)), _) => Ok(true),
            (Some((_, sight)), Some(body)) => {
                let target = Target { resource_type: *resource_type, id: id.clone() };
                Ok(sight.reaches(app, &target, version.at, &stored(body)?))
            }
            (Some((_, sight)), None) => was_seen(app, conn, sight, *resource_type, id, Some(version.version)).await,
        }
    }
}
