//! The options of `mcp`.

use clap::Args;

use super::StandaloneOptions;

/// Options of `mcp`.
#[derive(Debug, Args)]
pub struct McpOptions {
    /// Options of a private supervisor.
    #[command(flatten)]
    pub standalone: StandaloneOptions,
}
