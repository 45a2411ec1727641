//! The options of `report`.

use std::path::PathBuf;

use clap::Args;

use super::Which;

/// Options of `report`.
#[derive(Debug, Args)]
pub struct ReportOptions {
    /// Id of the execution, or of a session for the newest fifty in it
    #[arg(value_name = "ID")]
    pub which: Which,
    /// File to write; - is standard output [default: report-ID.html]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Replace what stands there
    #[arg(long)]
    pub force: bool,
}
