//! A made-up provider directory of any size, for demonstrations, load tests and trials of the server.
//!
//! The same number of practitioners and the same seed give the same bytes on every machine: the generator has its own
//! random numbers, works in whole numbers only and reads no clock. Every resource follows Plan-Net 1.2.0, every
//! reference points inside the set. No person, organization or payer in it exists: telephone numbers come from the
//! range 555-0100 to 555-0199, addresses on the web from `example.org`. The cities are real ones, so that searches by
//! distance give sensible answers.
//!
//! Organizations, their sites and their services are laid out in memory first ([`layout`]). Practitioners and their
//! roles are then derived one at a time from the seed and their number, so a directory of two million practitioners
//! costs no more memory than its organizations do.

mod addresses;
mod affiliations;
mod elements;
mod kinds;
mod layout;
mod names;
mod networks;
mod npi;
mod organizations;
mod people;
mod places;
mod practitioners;
mod random;
mod roles;
mod services;
mod sites;
mod specialties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde_json::Value;

use layout::Layout;

pub use npi::npi_check_digit;

/// A demonstration directory: how many practitioners it has, and the seed that picks one among many such directories.
///
/// There are about three resources for each practitioner, and a floor of some 150 in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directory {
    practitioners: usize,
    seed: u64,
}

impl Directory {
    /// NPIs stay unique up to 50 million practitioners.
    #[must_use]
    pub const fn new(practitioners: usize, seed: u64) -> Self {
        Self { practitioners, seed }
    }

    /// All resources in load order: payers, licensing boards and provider organizations, networks, endpoints,
    /// locations, healthcare services, insurance plans, affiliations, practitioners, practitioner roles.
    ///
    /// Within that order some references still point forward (an organization names its endpoint, which names its
    /// organization), so a loader that insists on existing targets must load in one transaction or check at the end.
    pub fn resources(&self) -> impl Iterator<Item = Value> + Send + use<> {
        let layout = Arc::new(Layout::new(self.practitioners, self.seed));
        let states = places::STATES.len();
        each(&layout, layout.payers.len(), networks::payer)
            .chain(each(&layout, states, |_, index| organizations::state_board(index)))
            .chain(each(&layout, 1, |_, _| organizations::national_board()))
            .chain(each(&layout, layout.providers.len(), organizations::provider))
            .chain(each(&layout, layout.networks.len(), networks::network))
            .chain(each(&layout, layout.endpoints.len(), networks::endpoint))
            .chain(each(&layout, states, |_, index| sites::area(index)))
            .chain(each(&layout, layout.sites.len(), sites::site))
            .chain(each(&layout, layout.services.len(), services::service))
            .chain(each(&layout, layout.plans.len(), networks::plan))
            .chain(each(&layout, layout.affiliations.len(), affiliations::affiliation))
            .chain(each(&layout, self.practitioners, practitioners::practitioner))
            .chain(each(&layout, self.practitioners, |layout, index| Some(roles::roles(layout, index))).flatten())
    }
}

/// What `make` builds for the numbers below `count`; numbers it has nothing for are skipped.
fn each<T, F>(layout: &Arc<Layout>, count: usize, make: F) -> impl Iterator<Item = T> + Send + use<T, F>
where
    F: Fn(&Layout, usize) -> Option<T> + Send,
{
    let layout = Arc::clone(layout);
    (0..count).filter_map(move |index| make(&layout, index))
}
