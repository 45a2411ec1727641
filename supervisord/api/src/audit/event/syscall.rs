//! A system call that ended whoever made it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Ruling;

/// The payload's first process was ended by the signal that the filter of system calls ends processes
/// with. Which call it was the kernel tells its own audit log alone, and calls that fail with an error
/// number are told to nobody but their caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DeniedCall {
    /// The decision: the profile is the rule.
    #[serde(flatten)]
    pub ruling: Ruling,
    /// The profile of system calls, where its policy is in force still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
}
