//! Options about what executions changed.

use clap::Args;
use supervisor_api::ExecutionId;

/// Options of `changes`.
#[derive(Debug, Args)]
pub struct ChangesOptions {
    /// Id of the execution
    pub id: ExecutionId,
    /// Apply changes that are held back to the session, all or none
    #[arg(long, conflicts_with = "discard")]
    pub apply: bool,
    /// Discard changes that are held back
    #[arg(long)]
    pub discard: bool,
}
