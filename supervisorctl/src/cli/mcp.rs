//! The options of `mcp`.

use std::net::SocketAddr;

use clap::Args;

use super::StandaloneOptions;

/// Options of `mcp`.
#[derive(Debug, Args)]
pub struct McpOptions {
    /// Listen on this loopback address (port 0: any) in place of standard input and output, and print the URL,
    /// whose secret part lets whoever knows it act as you; for clients that know only TCP
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Options of a private supervisor.
    #[command(flatten)]
    pub standalone: StandaloneOptions,
}
