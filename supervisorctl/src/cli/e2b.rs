//! The options of `e2b`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::StandaloneOptions;
use crate::units;

/// Options of `e2b`.
#[derive(Debug, Args)]
pub struct E2bOptions {
    /// Loopback address and port to listen on; port 0 is any that is free
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// File that holds the API key which clients have to show, readable by its owner alone; without it a
    /// key is made at each start and printed
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Policy of the sandboxes [default: the caller's default policy]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// A template that clients may name, and the policy of its sandboxes, besides `base` and
    /// `code-interpreter-v1`; may be given more than once
    #[arg(long = "template", value_name = "NAME=POLICY", value_parser = template)]
    pub templates: Vec<(String, String)>,
    /// How long a command may run that is started without a timeout (units s, m, h; none means seconds)
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = units::seconds)]
    pub longest: u64,
    /// Options of a private supervisor.
    #[command(flatten)]
    pub standalone: StandaloneOptions,
}

fn template(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, policy)) if !name.is_empty() && !policy.is_empty() => {
            Ok((name.to_owned(), policy.to_owned()))
        }
        _ => Err("a template looks like NAME=POLICY".to_owned()),
    }
}
