//! Who asks, and what was granted to them.

use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use serde::{Deserialize, Serialize};

use crate::fhir::types::is_id;

use super::scope::Scopes;

/// The certificate that a token is bound to, or that a connection was made with: the SHA-256 of its DER form, as `x5t#S256`
/// of RFC 8705 has it.
pub type Thumbprint = [u8; 32];

/// What a person who logs in is to the directory; it decides what their apps may change on their behalf.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub enum Role {
    /// Everything that their apps' scopes allow.
    Admin,
    /// The resources of the Organization with this id.
    Organization(String),
    /// The resources that describe the Practitioner with this id.
    Practitioner(String),
    /// Nothing: a member of a plan, who reads.
    Member,
}

impl Role {
    /// As it is written in tokens and in the database.
    pub fn parse(text: &str) -> Option<Self> {
        match text.split_once('/') {
            None if text == "admin" => Some(Self::Admin),
            None if text == "member" => Some(Self::Member),
            Some(("Organization", id)) if is_id(id) => Some(Self::Organization(id.to_owned())),
            Some(("Practitioner", id)) if is_id(id) => Some(Self::Practitioner(id.to_owned())),
            _ => None,
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Admin => f.write_str("admin"),
            Self::Member => f.write_str("member"),
            Self::Organization(id) => write!(f, "Organization/{id}"),
            Self::Practitioner(id) => write!(f, "Practitioner/{id}"),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("'{text}' is no role"))
    }
}

impl From<Role> for String {
    fn from(role: Role) -> Self {
        role.to_string()
    }
}

/// A person behind an app.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub struct User {
    pub name: String,
    /// `Practitioner/1`, or the URL of a resource elsewhere.
    pub fhir_user: Option<String>,
    pub role: Role,
}

/// How a caller is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
pub enum Kind {
    /// No token was sent.
    Anonymous,
    /// By a token.
    Token,
    /// By the command line on the server's own machine.
    Operator,
}

/// What a token says, checked. Shared by all requests that bear it, and kept with work that outlives them.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Identity {
    pub kind: Kind,
    /// The server that says so, if it is another one: its names are not ours, even if they are spelt alike.
    pub issuer: Option<String>,
    /// The app.
    pub client: Option<String>,
    pub user: Option<User>,
    pub scopes: Scopes,
    /// The patient in context, which `patient/` scopes need.
    pub patient: Option<String>,
    pub certificate: Option<Thumbprint>,
}

impl Identity {
    pub fn anonymous(scopes: Scopes) -> Self {
        Self { kind: Kind::Anonymous, issuer: None, client: None, user: None, scopes, patient: None, certificate: None }
    }
}

/// Who makes a request, and from where: proof that the token, if there is one, was checked.
#[derive(Clone, Debug)]
pub struct Caller {
    pub identity: Arc<Identity>,
    pub address: Option<IpAddr>,
}

impl Caller {
    /// Whoever runs a command on the server's own machine. They have the database; nothing is kept from them.
    pub fn operator() -> Self {
        static OPERATOR: LazyLock<Arc<Identity>> =
            LazyLock::new(|| Arc::new(Identity { kind: Kind::Operator, ..Identity::anonymous(Scopes::default()) }));
        Self { identity: Arc::clone(&OPERATOR), address: None }
    }

    pub fn is_anonymous(&self) -> bool {
        self.identity.kind == Kind::Anonymous
    }
}
