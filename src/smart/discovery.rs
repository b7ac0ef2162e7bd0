//! What this authorization server is, for machines to read (SMART App Launch 2.2, conformance; OpenID Connect Discovery 1.0).

use serde_json::{Map, Value, json};

use crate::app::App;
use crate::auth::urls;
use crate::config::ClientCertificates;
use crate::fhir::types::ResourceType;

/// What SMART names of what this server does.
const CAPABILITIES: &[&str] = &[
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
];

/// `.well-known/smart-configuration` of a server at `base`.
pub fn smart_configuration(app: &App, base: &str) -> Value {
    let mut document = common(app, base);
    document.insert("capabilities".into(), json!(CAPABILITIES));
    Value::Object(document)
}

/// `.well-known/openid-configuration` of the same.
pub fn openid_configuration(app: &App, base: &str) -> Value {
    let mut document = common(app, base);
    document.insert("subject_types_supported".into(), json!(["public"]));
    document.insert("id_token_signing_alg_values_supported".into(), json!(["RS256"]));
    let claims = ["iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser"];
    document.insert("claims_supported".into(), json!(claims));
    document.insert("prompt_values_supported".into(), json!(["none", "login", "consent"]));
    Value::Object(document)
}

fn common(app: &App, base: &str) -> Map<String, Value> {
    let root = urls::root(base);
    let mut document = Map::new();
    let mut set = |name: &str, value: Value| document.insert(name.to_owned(), value);
    set("issuer", base.into());
    set("jwks_uri", format!("{root}/auth/jwks").into());
    set("authorization_endpoint", format!("{root}/auth/authorize").into());
    set("token_endpoint", urls::token(base).into());
    set("introspection_endpoint", format!("{root}/auth/introspect").into());
    set("revocation_endpoint", format!("{root}/auth/revoke").into());
    if app.settings.auth.dynamic_registration {
        set("registration_endpoint", format!("{root}/auth/register").into());
    }
    let methods = json!(["private_key_jwt", "client_secret_basic", "client_secret_post", "none"]);
    set("token_endpoint_auth_methods_supported", methods.clone());
    set("introspection_endpoint_auth_methods_supported", methods.clone());
    set("revocation_endpoint_auth_methods_supported", methods);
    set("token_endpoint_auth_signing_alg_values_supported", json!(["RS384", "ES384"]));
    set("grant_types_supported", json!(["authorization_code", "client_credentials", "refresh_token"]));
    set("response_types_supported", json!(["code"]));
    set("response_modes_supported", json!(["query"]));
    set("code_challenge_methods_supported", json!(["S256"]));
    set("scopes_supported", scopes().into());
    set("authorization_response_iss_parameter_supported", true.into());
    let asks_for_certificates = app.settings.server.tls_client_certificates == ClientCertificates::Optional;
    set("tls_client_certificate_bound_access_tokens", asks_for_certificates.into());
    document
}

/// The scopes worth listing; narrower ones are supported as well.
fn scopes() -> Vec<String> {
    let fixed =
        ["openid", "fhirUser", "profile", "launch", "launch/patient", "online_access", "offline_access"].into_iter();
    let wide = ["patient/*.rs", "user/*.rs", "user/*.cruds", "system/*.rs", "system/*.cruds", "system/AuditEvent.rs"];
    let directory = ResourceType::ALL.iter().filter(|it| it.is_directory());
    let modules = ["api/launch.write", "api/token.read"];
    fixed
        .chain(wide)
        .map(str::to_owned)
        .chain(directory.flat_map(|it| ["patient", "user", "system"].map(|context| format!("{context}/{it}.rs"))))
        .chain(modules.map(str::to_owned))
        .collect()
}
