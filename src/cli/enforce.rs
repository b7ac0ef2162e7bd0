//! What resources are held to, as an argument.

use clap::ValueEnum;

use crate::validate::Enforce;

/// The setting `validation.enforce` as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EnforceArg {
    /// The profiles that are claimed, or else the Plan-Net profile of the type
    PlanNet,
    /// Base R4, and the profiles that are claimed
    Base,
    /// The structure of base R4 alone
    Off,
}

impl From<EnforceArg> for Enforce {
    fn from(argument: EnforceArg) -> Self {
        match argument {
            EnforceArg::PlanNet => Self::PlanNet,
            EnforceArg::Base => Self::Base,
            EnforceArg::Off => Self::Off,
        }
    }
}
