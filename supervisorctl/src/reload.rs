//! `reload`: the daemon reads its configuration and policies anew.

use std::fmt::Write;

use supervisor_api::{Mode, Reloaded};

use crate::cli::GlobalOptions;
use crate::client::Client;
use crate::failure::Failure;
use crate::{console, terminal};

/// `reload`; fails where any of the files can't be used, and the old ones stay in force.
pub async fn reload(client: &Client, global: &GlobalOptions) -> Result<(), Failure> {
    let reloaded = client.reload().await?;
    if global.json {
        return console::print_json(&reloaded);
    }
    if global.quiet {
        return Ok(());
    }
    console::print(&describe(&reloaded))
}

fn describe(reloaded: &Reloaded) -> String {
    let mode = match reloaded.mode {
        Mode::Strict => "strict",
        Mode::BestEffort => "best-effort",
    };
    let mut line = format!("generation {} is in force, {mode}; policies:", reloaded.generation);
    for policy in &reloaded.policies {
        // A String takes whatever is written to it.
        write!(line, " {}", terminal::name(policy)).ok();
    }
    line.push('\n');
    line
}
