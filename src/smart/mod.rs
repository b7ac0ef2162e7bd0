//! The authorization server (SMART App Launch 2.2): discovery, backend services, app launch, and what surrounds them. It
//! stands on [`crate::auth`], which knows tokens and scopes, and on the record of [`crate::interactions::audit`].

pub mod authenticate;
pub mod authorize;
pub mod discovery;
pub mod error;
pub mod exchange;
pub mod form;
pub mod introspect;
pub mod launch;
pub mod login;
pub mod register;
pub mod token;
