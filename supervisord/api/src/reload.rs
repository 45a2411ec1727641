//! What a reload put in force.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Mode;

/// Configuration and policies that were read anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reloaded {
    /// Which reading since the daemon started; the first is 1.
    pub generation: u64,
    /// Whether missing controls refuse or weaken.
    pub mode: Mode,
    /// The names of the policies.
    pub policies: Vec<String>,
}
