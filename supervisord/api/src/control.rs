//! Controls: what holds an execution, and how well it holds on this host.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How a daemon treats a policy whose controls the host lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Refuse the submission, with the name of the control and how to get it.
    Strict,
    /// Run with the nearest weaker control and say so in the result.
    BestEffort,
}

/// How well a control holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ControlStatus {
    /// By the kernel, as designed.
    Enforced,
    /// By something weaker, which `by` and `reason` name.
    Weaker,
    /// Not at all.
    Missing,
    /// Not at all, since the policy leaves what it would hold to another control, which `reason` names.
    Unused,
}

impl ControlStatus {
    /// Whether it holds less than was asked of it.
    pub const fn falls_short(self) -> bool {
        matches!(self, Self::Weaker | Self::Missing)
    }
}

/// One line of the matrix of controls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlReport {
    /// The control's name, such as `memory_max` or `landlock_files`.
    pub control: String,
    /// How well it holds.
    pub status: ControlStatus,
    /// The mechanism, such as `cgroup v2 memory.max` or `tmpfs size=`.
    pub by: String,
    /// Why it is not enforced as designed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How to get it on this host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// What the daemon can enforce here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Doctor {
    /// The daemon's version.
    pub version: String,
    /// Whether missing controls refuse or weaken.
    pub mode: Mode,
    /// The kernel's release.
    pub kernel: String,
    /// Whether every control is enforced.
    pub healthy: bool,
    /// One line per control.
    pub controls: Vec<ControlReport>,
}
