//! The options of `receipt`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use clap::builder::{OsStringValueParser, TypedValueParser as _};
use clap::{Args, Subcommand};
use supervisor_api::{ExecutionId, PublicKey};

/// What to do with a receipt.
#[derive(Debug, Subcommand)]
pub enum ReceiptCommand {
    /// Print the signed statement about a finished execution (in-toto, in a DSSE envelope)
    Get {
        /// Id of the execution
        id: ExecutionId,
    },
    /// Check a receipt, and what it speaks of against files at hand; without the daemon
    Verify(VerifyReceipt),
}

/// Options of `receipt verify`.
#[derive(Debug, Args)]
pub struct VerifyReceipt {
    /// The receipt; - is standard input
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Public key, as `audit key` prints it; several where it was changed [default: the key.pub of the
    /// state directory]
    #[arg(long, value_name = "KEY")]
    pub key: Vec<PublicKey>,
    /// State directory of the daemon, for its key [default: /var/lib/supervisord]
    #[arg(long, value_name = "DIR", conflicts_with = "key")]
    pub state: Option<PathBuf>,
    /// Compare standard output with this file
    #[arg(long, value_name = "FILE")]
    pub stdout: Option<PathBuf>,
    /// Compare standard error with this file
    #[arg(long, value_name = "FILE")]
    pub stderr: Option<PathBuf>,
    /// Compare the artifacts with the files in this directory
    #[arg(long, value_name = "DIR")]
    pub artifacts: Option<PathBuf>,
    /// Compare what stood at PATH in the workspace at the start with a file of this host (repeatable); source
    /// stands at main.py, main.sh or main.js, or where `argv` of the result says
    #[arg(long = "input", value_name = "PATH=FILE",
          value_parser = OsStringValueParser::new().try_map(|text| input(&text)))]
    pub inputs: Vec<(String, PathBuf)>,
    /// Compare the decisions with these files of the audit log, in any order (repeatable)
    #[arg(long = "audit", value_name = "FILE")]
    pub audit: Vec<PathBuf>,
}

fn input(text: &OsStr) -> Result<(String, PathBuf), String> {
    let bytes = text.as_bytes();
    let equals = bytes.iter().position(|byte| *byte == b'=').ok_or("write PATH=FILE")?;
    let (path, file) = (bytes.get(..equals), bytes.get(equals + 1..));
    let path = path.and_then(|path| std::str::from_utf8(path).ok()).ok_or("PATH is UTF-8")?;
    let file = OsStr::from_bytes(file.unwrap_or_default());
    if path.is_empty() || file.is_empty() {
        return Err("write PATH=FILE".to_owned());
    }
    Ok((path.to_owned(), PathBuf::from(file)))
}
