//! What goes to a payload while it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far the standard input of an execution has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputState {
    /// Bytes that have been taken, which is the offset of the next one. They reach the payload's pipe
    /// or terminal even if the daemon is killed meanwhile.
    pub offset: u64,
    /// How many of them are in the pipe or terminal by now.
    pub passed_on: u64,
    /// Whether more are taken.
    pub open: bool,
}

/// The size of a terminal, in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TerminalSize {
    /// Its lines.
    #[schemars(range(min = 1))]
    pub rows: u16,
    /// Characters in a line.
    #[schemars(range(min = 1))]
    pub columns: u16,
}
