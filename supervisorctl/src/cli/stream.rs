//! What to do with an execution that takes input while it runs.

use clap::Args;
use supervisor_api::{ExecutionId, SessionId};

use super::StandaloneOptions;
use super::limits::LimitOptions;

/// Options of `attach`.
#[derive(Debug, Args)]
pub struct AttachOptions {
    /// Id of the execution
    pub id: ExecutionId,
    /// Show output from this byte on, counted over both streams [default: what comes from now on]
    #[arg(long, value_name = "BYTES")]
    pub offset: Option<u64>,
    /// Only look on: send nothing of our standard input, and don't resize its terminal
    #[arg(long)]
    pub no_stdin: bool,
    /// Pass the payload's bytes to a terminal unchanged, escape sequences included; always so where the
    /// payload has a terminal
    #[arg(long)]
    pub raw: bool,
}

/// Options of `shell`.
#[derive(Debug, Args)]
pub struct ShellOptions {
    /// Run in the workspace of this session [default: in one of its own that ends with it]
    #[arg(long, value_name = "ID")]
    pub session: Option<SessionId>,
    /// Name of the policy [default: the session's, or what the daemon's configuration gives you]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Options of a private supervisor.
    #[command(flatten)]
    pub standalone: StandaloneOptions,
    /// Limits of the execution.
    #[command(flatten)]
    pub limits: LimitOptions,
}
