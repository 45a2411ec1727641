//! `policy list`: what the daemon has in force.

use supervisor_api::{Policy, PolicyList};

use crate::cli::GlobalOptions;
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::table::{cell, table_of, text};

/// `policy list`.
pub async fn list(client: &Client, global: &GlobalOptions) -> Result<(), Failure> {
    let list = client.policies().await?;
    if global.json {
        return console::print_json(&list);
    }
    if global.quiet {
        let names = list.policies.iter().map(|policy| format!("{}\n", policy.name));
        return console::print(&names.collect::<String>());
    }
    console::print(&describe(&list))
}

fn describe(list: &PolicyList) -> String {
    let mut rows = table_of(&["POLICY", "DEFAULT", "DIGEST", "DESCRIPTION"]);
    for Policy { name, description, digest, is_default } in &list.policies {
        let short = digest.get(..12).unwrap_or(digest);
        let default = if *is_default { "yes" } else { "" };
        rows.add_row([cell(name), cell(default), cell(short), cell(description)]);
    }
    text(&rows)
}
