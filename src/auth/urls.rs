//! Where the authorization server is, seen from a FHIR base.

/// The URL above a FHIR base, where `/auth` and the rest of the server are.
pub fn root(base: &str) -> &str {
    base.strip_suffix("/fhir").unwrap_or(base)
}

/// The token endpoint: the audience of client assertions.
pub fn token(base: &str) -> String {
    format!("{}/auth/token", root(base))
}
