//! The pages that people see: login, consent, and what went wrong. Plain HTML without scripts, which every browser and screen
//! reader shows.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use url::Url;

use crate::auth::client::Client;
use crate::auth::scope::{Access, Context, Scope, Scopes};
use crate::auth::token::Grant;
use crate::smart::authorize::Request;

const STYLE: &str = include_str!("pages.css");

/// A page, and where its forms may lead.
pub struct Page {
    markup: Markup,
    form_action: String,
}

impl Page {
    pub fn response(self, status: StatusCode) -> HttpResponse {
        static STYLE_HASH: LazyLock<String> = LazyLock::new(|| STANDARD.encode(openssl::sha::sha256(STYLE.as_bytes())));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; form-action {}; frame-ancestors 'none'; base-uri 'none'",
            *STYLE_HASH, self.form_action
        );
        HttpResponse::build(status)
            .insert_header((header::CONTENT_SECURITY_POLICY, policy))
            .insert_header((header::CACHE_CONTROL, "no-store"))
            .content_type("text/html; charset=utf-8")
            .body(self.markup.into_string())
    }
}

/// Browsers hold the redirect that follows a form to `form-action`, too: the app's address has to be in it.
fn form_action(request: &Request) -> String {
    let target = Url::parse(&request.redirect_uri).ok().map(|url| match url.scheme() {
        "http" | "https" => url.origin().ascii_serialization(),
        scheme => format!("{scheme}:"),
    });
    format!("'self' {}", target.unwrap_or_default())
}

fn page(title: &str, form_action: String, content: &Markup) -> Page {
    let markup = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Plumbline" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { h1 { (title) } (content) } }
        }
    };
    Page { markup, form_action }
}

/// Asks for name and password.
pub fn login(client: &Client, request: &Request, sealed: &str, root: &str, problem: Option<&str>) -> Page {
    let content = html! {
        p { "The app " strong { (client.name) } " asks to use the provider directory for you." }
        @if let Some(problem) = problem {
            p.problem role="alert" { (problem) }
        }
        form method="post" action={ (root) "/auth/login" } {
            input type="hidden" name="request" value=(sealed);
            label for="username" { "Name" }
            input id="username" name="username" type="text" autocomplete="username" autocapitalize="none"
                spellcheck="false" required autofocus;
            label for="password" { "Password" }
            input id="password" name="password" type="password" autocomplete="current-password" required;
            button type="submit" { "Log in" }
        }
    };
    page("Log in", form_action(request), &content)
}

/// Asks whether an app is let in.
pub fn consent(client: &Client, request: &Request, grant: &Grant, sealed: &str, root: &str) -> Page {
    let scopes = Scopes::parse(&grant.scope);
    let mut lines: Vec<String> = Vec::new();
    for line in scopes.iter().filter_map(sentence) {
        if !lines.contains(&line) {
            lines.push(line);
        }
    }
    let target = Url::parse(&request.redirect_uri).ok();
    let content = html! {
        p { "You are logged in as " strong { (grant.account) } "." }
        p { "The app " strong { (client.name) } " asks to:" }
        @if lines.is_empty() {
            p.problem role="alert" { "Nothing that you could grant." }
        } @else {
            ul { @for line in &lines { li { (line) } } }
        }
        @if let Some(patient) = &grant.patient {
            p { "It is told about the patient " code { (patient) } "." }
        }
        @if let Some(target) = &target {
            p.quiet { "Afterwards you are taken to " code { (target.origin_or_scheme()) } "." }
        }
        form method="post" action={ (root) "/auth/consent" } {
            input type="hidden" name="request" value=(sealed);
            button type="submit" name="decision" value="allow" { "Allow" }
            button.second type="submit" name="decision" value="deny" { "Deny" }
        }
        form method="post" action={ (root) "/auth/logout" } {
            input type="hidden" name="request" value=(sealed);
            button.link type="submit" { "This is not me" }
        }
    };
    page("Let this app in?", form_action(request), &content)
}

/// Says what is wrong where there is nobody else to tell.
pub fn refusal(sentence: &str) -> Page {
    let content = html! {
        p.problem role="alert" { (sentence) }
        p.quiet { "Nothing was granted to anybody." }
    };
    page("This does not work", "'none'".to_owned(), &content)
}

trait Named {
    fn origin_or_scheme(&self) -> String;
}

impl Named for Url {
    fn origin_or_scheme(&self) -> String {
        match self.scheme() {
            "http" | "https" => self.origin().ascii_serialization(),
            scheme => format!("the app {scheme}"),
        }
    }
}

/// What a scope means to a person; nothing for what only apps care about.
fn sentence(scope: &Scope) -> Option<String> {
    Some(match scope {
        Scope::OpenId | Scope::FhirUser | Scope::Profile => "know who you are".into(),
        Scope::OfflineAccess => "stay connected while you are away".into(),
        Scope::OnlineAccess => "stay connected while you are logged in".into(),
        Scope::LaunchPatient => "know which patient this is about".into(),
        Scope::Launch | Scope::Module { .. } => return None,
        Scope::Resource(scope) => {
            let reads = [Access::READ, Access::SEARCH].iter().any(|letter| scope.access.has(*letter));
            let writes =
                [Access::CREATE, Access::UPDATE, Access::DELETE].iter().any(|letter| scope.access.has(*letter));
            let verb = match (reads, writes) {
                (true, true) => "read and change",
                (false, true) => "change",
                _ => "read",
            };
            let what =
                scope.resource_type.map_or("everything in the directory".to_owned(), |it| format!("{it} entries"));
            let whose = match scope.context {
                Context::Patient => " for the patient",
                _ if writes => " that you may change",
                _ => "",
            };
            let only: Vec<String> = scope.constraint.iter().map(|(name, value)| format!("{name} {value}")).collect();
            let only = if only.is_empty() { String::new() } else { format!(", only with {}", only.join(" and ")) };
            format!("{verb} {what}{whose}{only}")
        }
    })
}
