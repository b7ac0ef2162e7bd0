//! Whether what a resource refers to is of the kind that its profile asks for: a role's network must be a network, and
//! which organizations are networks only the store knows. What is not here yet is not asked about.

use std::collections::HashMap;

use crate::app::App;
use crate::fhir::error::{FhirError, Kind};
use crate::fhir::outcome::{Issue, IssueCode};
use crate::fhir::resource::excerpt;
use crate::search::value::Target;
use crate::store::conn::Conn;
use crate::store::resources;
use crate::validate;

use super::write::{Put, stored};

/// Compares what `puts` refer to with what is stored after them.
///
/// # Errors
/// 422 with each reference that is to something else than it must be.
pub(super) async fn check(app: &App, conn: &mut Conn, puts: &[Put]) -> Result<(), FhirError> {
    let mut wanted: Vec<(&Put, &validate::Target, Target)> = Vec::new();
    for put in puts {
        let targets = put.resource.iter().flat_map(|prepared| &prepared.targets);
        wanted.extend(targets.filter_map(|it| Some((put, it, app.extractor().resolve(&it.reference)?))));
    }
    let issues = of_another_kind(app, conn, wanted.iter().map(|(_, asked, target)| (*asked, target.clone()))).await?;
    let wrong = wanted.iter().zip(issues).filter_map(|((put, ..), issue)| {
        let Target { resource_type, id } = &put.target;
        let mut issue = issue?;
        // The name is what a transaction finds the entry by.
        issue.diagnostics = format!("{resource_type}/{id} cannot refer to it: {}", issue.diagnostics);
        Some(issue)
    });
    let wrong: Vec<Issue> = wrong.collect();
    if wrong.is_empty() { Ok(()) } else { Err(FhirError::with_issues(Kind::Invalid, wrong)) }
}

/// For each reference, what is wrong with the resource of this server that it resolves to.
pub(super) async fn of_another_kind(
    app: &App,
    conn: &mut Conn,
    wanted: impl Iterator<Item = (&validate::Target, Target)>,
) -> Result<Vec<Option<Issue>>, FhirError> {
    // Most writes refer to few resources, and the same ones many times.
    let mut known: HashMap<Target, Option<serde_json::Value>> = HashMap::new();
    let mut issues = Vec::new();
    for (asked, target) in wanted {
        if !known.contains_key(&target) {
            let current = resources::get(conn, target.resource_type, &target.id).await?;
            let body = current.and_then(|current| current.body);
            known.insert(target.clone(), body.as_deref().map(stored).transpose()?);
        }
        let here = known.get(&target).and_then(Option::as_ref);
        issues.push(here.filter(|body| !app.validator.is_of_kind(body, &asked.profiles)).map(|_| {
            let urls: Vec<&str> =
                asked.profiles.iter().filter_map(|id| app.validator.profiles().get(*id)).map(|it| &*it.url).collect();
            let names: Vec<&str> = urls.iter().map(|url| url.rsplit('/').next().unwrap_or(url)).collect();
            let sentence = format!("{} is no {}", excerpt(&asked.reference), names.join(" or "));
            Issue::error(IssueCode::Value, sentence).rule(&*asked.rule).at(asked.path.as_str())
        }));
    }
    Ok(issues)
}
