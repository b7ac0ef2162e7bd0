//! Which profiles a resource is held to: those it claims, or else the Plan-Net profile of its kind.

use serde_json::Value;

use super::base::STRUCTURES;
use super::walk::excerpt;
use super::{Enforce, ProfileId, Validator};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::types::ResourceType;

/// The version of the types' own definitions.
const R4: &str = "4.0.1";

/// Where the Plan-Net profiles are.
const PLAN_NET: &str = "http://hl7.org/fhir/us/davinci-pdex-plan-net/StructureDefinition/plannet-";

/// The code that makes an Organization a Network.
pub const NETWORK_TYPE: (&str, &str) = ("http://hl7.org/fhir/us/davinci-pdex-plan-net/CodeSystem/OrgTypeCS", "ntwk");

/// Why a profile that a caller names cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotLoaded {
    /// No profile of this URL is loaded.
    Profile,
    /// One is, as this `url|version` (or `url`, if it states no version).
    Version(String),
}

/// What `meta.profile` says.
#[derive(Default)]
struct Claims {
    /// The profiles that are loaded and of the resource's type.
    profiles: Vec<ProfileId>,
    /// One of these, or the definition of the type, was claimed.
    any: bool,
}

impl Validator {
    /// True for the canonical URL of a type's own definition.
    pub fn is_type(&self, url: &str) -> bool {
        url.strip_prefix(STRUCTURES).is_some_and(|name| self.definitions.type_named(name).is_some())
    }

    /// The profile that a caller names by its canonical URL, with or without a version. `None`: the definition of a type
    /// itself, which holds anyway.
    ///
    /// # Errors
    /// [`NotLoaded`]: a verdict on another profile, or another version, would answer another question.
    pub fn profile_named(&self, canonical: &str) -> Result<Option<ProfileId>, NotLoaded> {
        let (url, version) = canonical.split_once('|').map_or((canonical, None), |(url, it)| (url, Some(it)));
        if self.is_type(url) {
            let is_this = version.is_none_or(|version| version == R4);
            return if is_this { Ok(None) } else { Err(NotLoaded::Version(format!("{url}|{R4}"))) };
        }
        let (id, profile) = self.profiles.find(url).ok_or(NotLoaded::Profile)?;
        let loaded = profile.version.as_deref();
        if version.is_some() && version != loaded {
            let version = loaded.map(|loaded| format!("|{loaded}")).unwrap_or_default();
            return Err(NotLoaded::Version(format!("{url}{version}")));
        }
        Ok(Some(id))
    }

    /// The profiles that a resource is held to; `note` hears of claims that cannot be met or looked
    /// into, by their index in `meta.profile`.
    pub fn held(&self, resource: &Value, enforce: Enforce, note: impl FnMut(usize, Issue)) -> Vec<ProfileId> {
        if enforce == Enforce::Off {
            return Vec::new();
        }
        let claims = self.claims(resource, note);
        if enforce == Enforce::Base || claims.any {
            return claims.profiles;
        }
        self.plan_net(resource).into_iter().collect()
    }

    /// The loaded profiles that `meta.profile` claims.
    pub(super) fn claimed(&self, resource: &Value, note: impl FnMut(usize, Issue)) -> Vec<ProfileId> {
        self.claims(resource, note).profiles
    }

    fn claims(&self, resource: &Value, mut note: impl FnMut(usize, Issue)) -> Claims {
        let type_name = resource.get("resourceType").and_then(Value::as_str).unwrap_or_default();
        let claims = resource.get("meta").and_then(|meta| meta.get("profile")).and_then(Value::as_array);
        let mut found = Claims::default();
        for (index, claim) in claims.into_iter().flatten().enumerate() {
            let Some(claim) = claim.as_str() else { continue };
            let (url, version) = claim.split_once('|').map_or((claim, None), |(url, version)| (url, Some(version)));
            // To claim the definition of the type itself is to claim base R4, which holds anyway.
            if let Some(base) = url.strip_prefix(STRUCTURES)
                && self.definitions.type_named(base).is_some()
                && [type_name, "DomainResource", "Resource"].contains(&base)
            {
                found.any |= base == type_name;
                continue;
            }
            let Some((id, profile)) = self.profiles.find(url) else {
                let sentence = format!("The profile '{}' is not loaded here, so it is not checked", excerpt(claim));
                note(index, Issue::warning(IssueCode::NotSupported, sentence));
                continue;
            };
            if *profile.type_name != *type_name {
                let sentence = format!("{url} is a profile of {}, not of {}", profile.type_name, excerpt(type_name));
                note(index, Issue::error(IssueCode::Value, sentence));
                continue;
            }
            if let (Some(claimed), Some(loaded)) = (version, profile.version.as_deref())
                && claimed != loaded
            {
                let sentence =
                    format!("Version {} of {url} is not loaded; version {loaded} is checked instead", excerpt(claimed));
                note(index, Issue::warning(IssueCode::NotSupported, sentence));
            }
            found.any = true;
            if !found.profiles.contains(&id) {
                found.profiles.push(id);
            }
        }
        found
    }

    /// The Plan-Net profile of a directory resource.
    fn plan_net(&self, resource: &Value) -> Option<ProfileId> {
        let type_name = resource.get("resourceType").and_then(Value::as_str)?;
        let kind = ResourceType::parse(type_name).filter(|kind| kind.is_directory())?;
        let name = if kind == ResourceType::Organization && is_network(resource) { "Network" } else { type_name };
        self.profiles.find(&format!("{PLAN_NET}{name}")).map(|(id, _)| id)
    }

    /// True when a resource is of the kind that one of the profiles describes: it claims it, or it is what the profile's
    /// name says. Whether it is also right was for its own verdict to say.
    pub fn is_of_kind(&self, resource: &Value, profiles: &[ProfileId]) -> bool {
        let mut kinds = self.claimed(resource, |_, _| {});
        kinds.extend(self.plan_net(resource));
        kinds.iter().any(|kind| profiles.contains(kind))
    }

    /// True for profiles that tell apart what is of one type: those of Plan-Net that only a network, or only another
    /// organization, is meant by. The type of a target alone does not say which it is.
    pub fn is_ambiguous(&self, profiles: &[ProfileId]) -> bool {
        let is = |id: &ProfileId, name: &str| {
            self.profiles.get(*id).and_then(|profile| profile.url.strip_prefix(PLAN_NET)) == Some(name)
        };
        matches!(profiles, [id] if is(id, "Network") || is(id, "Organization"))
    }
}

/// True for an Organization of type `ntwk`.
fn is_network(resource: &Value) -> bool {
    let concepts = resource.get("type").and_then(Value::as_array).into_iter().flatten();
    let mut codings = concepts.filter_map(|concept| concept.get("coding")?.as_array()).flatten();
    codings.any(|coding| {
        let is = |name: &str, text: &str| coding.get(name).and_then(Value::as_str) == Some(text);
        is("system", NETWORK_TYPE.0) && is("code", NETWORK_TYPE.1)
    })
}
