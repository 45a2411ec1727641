//! What pauses, and lets go on.

use std::str::FromStr;

use clap::Args;
use supervisor_api::{ExecutionId, InvalidId, SessionId};

/// One execution, or all of a session.
#[derive(Debug, Clone, Copy)]
pub enum Which {
    /// One.
    Execution(ExecutionId),
    /// All that there are in a session.
    Session(SessionId),
}

impl FromStr for Which {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        match text.parse() {
            Ok(session) => Ok(Which::Session(session)),
            Err(_) => text.parse().map(Which::Execution),
        }
    }
}

/// Options of `pause`.
#[derive(Debug, Args)]
pub struct PauseOptions {
    /// Id of the execution, or of a session for all that run in it
    #[arg(value_name = "ID")]
    pub which: Which,
    /// Give memory back to the host, too; refused where it has no memory controller
    #[arg(long)]
    pub reclaim: bool,
}

/// Options of `resume`.
#[derive(Debug, Args)]
pub struct WhichOption {
    /// Id of the execution, or of a session for all that are paused in it
    #[arg(value_name = "ID")]
    pub which: Which,
}
