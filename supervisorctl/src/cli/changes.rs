//! Options about what executions changed.

use clap::Args;
use supervisor_api::ExecutionId;

/// Options of `changes`.
#[derive(Debug, Args)]
pub struct ChangesOptions {
    /// Id of the execution
    pub id: ExecutionId,
}
