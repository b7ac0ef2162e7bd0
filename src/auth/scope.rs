//! Scopes of SMART App Launch 2.2 (scopes-and-launch-context), versions 1 and 2, and those of this server's own modules.
//!
//! `system/PractitionerRole.rs?specialty=207Q00000X` names a context, a type, what may be done, and a constraint on the
//! resources it may be done to.

use std::fmt;

use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};

use crate::fhir::types::ResourceType;

/// Scopes that one request may ask for, and characters of them all.
const SCOPES_MAX: usize = 100;
const CHARS_MAX: usize = 8_192;
/// The URI form of a SMART scope begins so.
const URI: &str = "http://smarthealthit.org/fhir/scopes/";

/// What may be done to resources: a set of the letters of `cruds`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access(u8);

impl Access {
    pub const NONE: Self = Self(0);
    pub const CREATE: Self = Self(1);
    /// read, vread, history of one resource.
    pub const READ: Self = Self(2);
    /// update, patch, and an update that creates.
    pub const UPDATE: Self = Self(4);
    pub const DELETE: Self = Self(8);
    /// search of a type or of all, history of a type or of all.
    pub const SEARCH: Self = Self(16);
    pub const ALL: Self = Self(31);
    /// What is looked at: the word `read` of version 1.
    pub const LOOK: Self = Self(2 | 16);
    /// What is written: the word `write` of version 1.
    pub const CHANGE: Self = Self(1 | 4 | 8);

    const LETTERS: [(char, Self); 5] =
        [('c', Self::CREATE), ('r', Self::READ), ('u', Self::UPDATE), ('d', Self::DELETE), ('s', Self::SEARCH)];

    /// True when everything in `other` is allowed.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The letters of version 2, in order and each once, or a word of version 1.
    fn parse(text: &str) -> Option<(Self, Version)> {
        match text {
            "read" => return Some((Self::LOOK, Version::V1)),
            "write" => return Some((Self::CHANGE, Version::V1)),
            "*" => return Some((Self::ALL, Version::V1)),
            _ => {}
        }
        let mut letters = Self::LETTERS.iter();
        let mut access = Self::NONE;
        for asked in text.chars() {
            let (_, letter) = letters.find(|(name, _)| *name == asked)?;
            access = access.or(*letter);
        }
        (access != Self::NONE).then_some((access, Version::V2))
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Self::LETTERS.iter().filter(|(_, letter)| self.has(*letter)).try_for_each(|(name, _)| write!(f, "{name}"))
    }
}

/// How a scope was written: who asks in version 1 is answered in version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Version {
    V1,
    V2,
}

/// On whose behalf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Context {
    Patient,
    User,
    System,
}

impl Context {
    fn as_str(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::User => "user",
            Self::System => "system",
        }
    }
}

/// What may be done to the resources of a type, or of all types.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ResourceScope {
    pub context: Context,
    /// `None`: `*`.
    pub resource_type: Option<ResourceType>,
    pub access: Access,
    /// Search parameters, all of which a resource must meet.
    pub constraint: Vec<(String, String)>,
    version: Version,
}

/// One of the modules behind `/api` and `/auth`, to read or to change: `api/launch.write`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Module {
    /// Launch contexts, which an EHR or a portal makes before it opens an app.
    Launch,
    /// What is known about a token.
    Token,
}

impl Module {
    pub const ALL: [Self; 2] = [Self::Launch, Self::Token];

    fn as_str(self) -> &'static str {
        match self {
            Self::Launch => "launch",
            Self::Token => "token",
        }
    }
}

/// One scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    Resource(ResourceScope),
    Module { module: Module, is_write: bool },
    OpenId,
    FhirUser,
    Profile,
    Launch,
    LaunchPatient,
    OfflineAccess,
    OnlineAccess,
}

impl Scope {
    /// `None` for a text that is no scope of this server: not of the grammar, or of a type that is not stored here.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix(URI).unwrap_or(text);
        Some(match text {
            "openid" => Self::OpenId,
            "fhirUser" => Self::FhirUser,
            "profile" => Self::Profile,
            "launch" => Self::Launch,
            "launch/patient" => Self::LaunchPatient,
            "offline_access" => Self::OfflineAccess,
            "online_access" => Self::OnlineAccess,
            _ => match text.split_once('/')? {
                ("api", rest) => module(rest)?,
                ("patient", rest) => Self::Resource(resource(Context::Patient, rest)?),
                ("user", rest) => Self::Resource(resource(Context::User, rest)?),
                ("system", rest) => Self::Resource(resource(Context::System, rest)?),
                _ => return None,
            },
        })
    }

    /// What is in both, if anything is.
    fn both(&self, other: &Self) -> Option<Self> {
        let (Self::Resource(one), Self::Resource(two)) = (self, other) else {
            let is_covered = match (self, other) {
                (Self::Module { module, is_write: false }, Self::Module { module: allowed, .. }) => module == allowed,
                _ => self == other,
            };
            return is_covered.then(|| self.clone());
        };
        let resource_type = match (one.resource_type, two.resource_type) {
            (None, any) | (any, None) => any,
            (Some(one), Some(two)) if one == two => Some(one),
            _ => return None,
        };
        let access = one.access.and(two.access);
        if one.context != two.context || access == Access::NONE {
            return None;
        }
        let mut constraint = one.constraint.clone();
        constraint.extend(two.constraint.iter().filter(|pair| !one.constraint.contains(pair)).cloned());
        // Only two words of version 1 are left when something is taken away.
        let version = if access == one.access { one.version } else { Version::V2 };
        Some(Self::Resource(ResourceScope { context: one.context, resource_type, access, constraint, version }))
    }
}

fn module(text: &str) -> Option<Scope> {
    let (name, word) = text.split_once('.')?;
    let module = Module::ALL.into_iter().find(|module| module.as_str() == name)?;
    match word {
        "read" => Some(Scope::Module { module, is_write: false }),
        "write" => Some(Scope::Module { module, is_write: true }),
        _ => None,
    }
}

fn resource(context: Context, text: &str) -> Option<ResourceScope> {
    let (text, constraint) = text.split_once('?').map_or((text, None), |(text, rest)| (text, Some(rest)));
    let (name, letters) = text.split_once('.')?;
    let resource_type = if name == "*" { None } else { Some(ResourceType::parse(name)?) };
    let (access, version) = Access::parse(letters)?;
    let constraint = constraint.map_or(Some(Vec::new()), constraint_pairs)?;
    // Version 1 knows no constraints, and search parameters belong to a type.
    if !constraint.is_empty() && (version == Version::V1 || resource_type.is_none()) {
        return None;
    }
    Some(ResourceScope { context, resource_type, access, constraint, version })
}

/// `name=value&…`, without modifiers and chains, which SMART calls experimental.
fn constraint_pairs(text: &str) -> Option<Vec<(String, String)>> {
    let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(|text| text.into_owned());
    text.split('&')
        .map(|pair| {
            let (name, value) = pair.split_once('=')?;
            let (name, value) = (decoded(name)?, decoded(value)?);
            let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
            (is_name && !value.is_empty()).then_some((name, value))
        })
        .collect()
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OpenId => f.write_str("openid"),
            Self::FhirUser => f.write_str("fhirUser"),
            Self::Profile => f.write_str("profile"),
            Self::Launch => f.write_str("launch"),
            Self::LaunchPatient => f.write_str("launch/patient"),
            Self::OfflineAccess => f.write_str("offline_access"),
            Self::OnlineAccess => f.write_str("online_access"),
            Self::Module { module, is_write } => {
                write!(f, "api/{}.{}", module.as_str(), if *is_write { "write" } else { "read" })
            }
            Self::Resource(scope) => scope.fmt(f),
        }
    }
}

impl fmt::Display for ResourceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.resource_type.map_or("*", ResourceType::as_str);
        write!(f, "{}/{name}.", self.context.as_str())?;
        match self.version {
            Version::V2 => self.access.fmt(f)?,
            Version::V1 if self.access == Access::ALL => f.write_str("*")?,
            Version::V1 => f.write_str(if self.access.has(Access::READ) { "read" } else { "write" })?,
        }
        for (n, (name, value)) in self.constraint.iter().enumerate() {
            let value = percent_encoding::utf8_percent_encode(value, VALUE);
            write!(f, "{}{name}={value}", if n == 0 { '?' } else { '&' })?;
        }
        Ok(())
    }
}

/// What a value must not hold as it is: the separators, and what RFC 6749 (3.3) keeps out of scopes.
const VALUE: &percent_encoding::AsciiSet =
    &percent_encoding::CONTROLS.add(b' ').add(b'"').add(b'%').add(b'&').add(b'+').add(b'#').add(b'\\');

/// Several scopes: what one of them allows is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "String", into = "String")]
pub struct Scopes(Vec<Scope>);

impl Scopes {
    /// The scopes in a text, each once. What is none of this server's is left out, as SMART has it.
    pub fn parse(text: &str) -> Self {
        let mut scopes = Self::default();
        if text.len() <= CHARS_MAX {
            text.split_ascii_whitespace().take(SCOPES_MAX).filter_map(Scope::parse).for_each(|scope| scopes.add(scope));
        }
        scopes
    }

    /// The same, where every scope has to be one.
    ///
    /// # Errors
    /// A sentence that names the first that is none.
    pub fn parse_strictly(text: &str) -> Result<Self, String> {
        if text.len() > CHARS_MAX || text.split_ascii_whitespace().count() > SCOPES_MAX {
            return Err(format!("these are more than {SCOPES_MAX} scopes or {CHARS_MAX} characters"));
        }
        match text.split_ascii_whitespace().find(|scope| Scope::parse(scope).is_none()) {
            Some(wrong) => {
                Err(format!("'{wrong}' is no scope of this server; scopes are such as system/Practitioner.rs"))
            }
            None => Ok(Self::parse(text)),
        }
    }

    fn add(&mut self, scope: Scope) {
        if !self.0.contains(&scope) {
            self.0.push(scope);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn has(&self, scope: &Scope) -> bool {
        self.0.contains(scope)
    }

    /// Whether a module may be used so.
    pub fn has_module(&self, module: Module, is_write: bool) -> bool {
        self.0
            .iter()
            .any(|it| matches!(it, Scope::Module { module: m, is_write: w } if *m == module && (*w || !is_write)))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Scope> {
        self.0.iter()
    }

    pub fn resources(&self) -> impl Iterator<Item = &ResourceScope> {
        self.0.iter().filter_map(|scope| match scope {
            Scope::Resource(scope) => Some(scope),
            _ => None,
        })
    }

    /// Those that meet a condition.
    pub fn filtered(&self, condition: impl Fn(&Scope) -> bool) -> Self {
        Self(self.0.iter().filter(|scope| condition(scope)).cloned().collect())
    }

    /// What is asked for as far as it is allowed: each scope cut down to what the allowed ones cover.
    pub fn within(&self, allowed: &Self) -> Self {
        let mut granted = Self::default();
        for asked in &self.0 {
            // What one covers whole needs no pieces from the others.
            match allowed.0.iter().find_map(|it| asked.both(it).filter(|both| both == asked)) {
                Some(whole) => granted.add(whole),
                None => merged(allowed.0.iter().filter_map(|it| asked.both(it))).for_each(|scope| granted.add(scope)),
            }
        }
        granted
    }

    /// True when nothing is asked for that is not allowed.
    pub fn is_within(&self, allowed: &Self) -> bool {
        self.0.iter().all(|asked| {
            let pieces = merged(allowed.0.iter().filter_map(|it| asked.both(it)));
            pieces.into_iter().any(|piece| match (&piece, asked) {
                (Scope::Resource(piece), Scope::Resource(asked)) => {
                    piece.resource_type == asked.resource_type
                        && piece.access == asked.access
                        && piece.constraint == asked.constraint
                }
                _ => piece == *asked,
            })
        })
    }
}

/// The same scopes, with the letters of those in one that differ in nothing else.
fn merged(pieces: impl Iterator<Item = Scope>) -> std::vec::IntoIter<Scope> {
    let mut all: Vec<Scope> = Vec::new();
    for piece in pieces {
        let twin = all.iter_mut().find_map(|it| match (it, &piece) {
            (Scope::Resource(it), Scope::Resource(piece))
                if it.resource_type == piece.resource_type && it.constraint == piece.constraint =>
            {
                Some((it, piece.access))
            }
            _ => None,
        });
        match twin {
            Some((twin, access)) => {
                twin.access = twin.access.or(access);
                twin.version = Version::V2;
            }
            None => all.push(piece),
        }
    }
    all.into_iter()
}

impl From<String> for Scopes {
    fn from(text: String) -> Self {
        Self::parse(&text)
    }
}

impl From<Scopes> for String {
    fn from(scopes: Scopes) -> Self {
        scopes.to_string()
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(n, scope)| write!(f, "{}{scope}", if n == 0 { "" } else { " " }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        Scopes::parse(text).to_string()
    }

    #[test]
    fn what_is_a_scope_reads_back_as_it_was_written() {
        for text in [
            "openid fhirUser profile launch launch/patient offline_access online_access",
            "system/*.cruds user/Practitioner.rs patient/*.s",
            "user/Practitioner.read user/Practitioner.write user/*.*",
            "system/PractitionerRole.rs?specialty=http://nucc.org/provider-taxonomy|207Q00000X&active=true",
            "api/launch.write api/token.read",
        ] {
            assert_eq!(parsed(text), text);
        }
        assert_eq!(parsed("http://smarthealthit.org/fhir/scopes/system/Location.r"), "system/Location.r");
        assert_eq!(parsed("system/Organization.r?name=A%20B"), "system/Organization.r?name=A%20B");
    }

    #[test]
    fn what_is_none_is_never_read_as_another() {
        for text in [
            "system/Practitioner.sr",
            "system/Practitioner.rr",
            "system/Practitioner.",
            "system/Practitioner",
            "system/Practitioner.dus",
            "system/Practitioner.Read",
            "system/practitioner.rs",
            "system/Patient.rs",
            "System/Practitioner.rs",
            "system/.rs",
            "system/*.rs?name=x",
            "system/Practitioner.read?name=x",
            "system/Practitioner.rs?",
            "system/Practitioner.rs?name",
            "system/Practitioner.rs?name=",
            "system/Practitioner.rs?name:exact=x",
            "system/PractitionerRole.rs?practitioner.name=x",
            "system/Practitioner.rs?na%20me=x",
            "api/launch.rs",
            "api/unknown.read",
            "launch/encounter",
            "OPENID",
        ] {
            assert_eq!(parsed(text), "", "{text}");
            assert!(Scopes::parse_strictly(text).is_err(), "{text}");
        }
    }

    fn check(asked: &str, allowed: &str, granted: &str) {
        let (asked, allowed) = (Scopes::parse(asked), Scopes::parse(allowed));
        let result = asked.within(&allowed);
        assert_eq!(result.to_string(), granted, "{asked} within {allowed}");
        assert!(result.is_within(&allowed), "{result} is within {allowed}");
        assert_eq!(asked.is_within(&allowed), result == asked, "{asked} is within {allowed}");
    }

    #[test]
    fn a_grant_is_what_is_both_asked_and_allowed() {
        check("system/*.cruds", "system/Practitioner.rs", "system/Practitioner.rs");
        check("system/Practitioner.rs", "system/*.cruds", "system/Practitioner.rs");
        check("system/Practitioner.read", "system/*.rs", "system/Practitioner.read");
        check("system/Practitioner.*", "system/*.rs", "system/Practitioner.rs");
        check("user/Practitioner.rs", "system/*.rs", "");
        check("system/Practitioner.cu", "system/*.rs", "");
        check("openid fhirUser launch", "openid launch", "openid launch");
        check("system/Practitioner.rs", "system/Practitioner.rs?active=true", "system/Practitioner.rs?active=true");
        check(
            "system/Practitioner.rs?name=x",
            "system/Practitioner.cruds?active=true",
            "system/Practitioner.rs?name=x&active=true",
        );
        check("api/launch.read", "api/launch.write", "api/launch.read");
        check("api/launch.write", "api/launch.read", "");
        check("system/*.rs", "system/Location.r system/Endpoint.s", "system/Location.r system/Endpoint.s");
    }

    #[test]
    fn letters_of_several_scopes_add_up() {
        let allowed = Scopes::parse("system/Location.r system/Location.s");
        assert!(Scopes::parse("system/Location.rs").is_within(&allowed));
        assert_eq!(Scopes::parse("system/Location.rs").within(&allowed).to_string(), "system/Location.rs");
        assert!(!Scopes::parse("system/Location.rs").is_within(&Scopes::parse("system/Location.r")));
    }
}
