//! `credentials`: what administrators see and do of them. Values are neither shown nor taken.

use supervisor_api::{Credential, CredentialState};

use crate::cli::{CredentialName, GlobalOptions};
use crate::client::Client;
use crate::failure::Failure;
use crate::table::{cell, table_of, text};
use crate::{console, terminal};

/// `credentials list`.
pub async fn list(client: &Client, global: &GlobalOptions) -> Result<(), Failure> {
    let list = client.credentials().await?;
    if global.json {
        return console::print_json(&list);
    }
    if global.quiet {
        let names = list.credentials.iter().map(|each| format!("{}\n", terminal::name(&each.name)));
        return console::print(&names.collect::<String>());
    }
    let mut rows = table_of(&["NAME", "KIND", "STATE", "HOSTS"]);
    for each in &list.credentials {
        let state = describe(each);
        rows.add_row([
            cell(&each.name),
            cell(&each.kind),
            cell(&state),
            cell(&each.hosts.join(" ")),
        ]);
    }
    console::print(&text(&rows))
}

/// `credentials rotate`.
pub async fn rotate(
    client: &Client,
    options: &CredentialName,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    show(&client.rotate_credential(&options.name).await?, global)
}

/// `credentials revoke`.
pub async fn revoke(
    client: &Client,
    options: &CredentialName,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    show(&client.revoke_credential(&options.name).await?, global)
}

fn show(credential: &Credential, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(credential);
    }
    if global.quiet {
        return Ok(());
    }
    let line = format!("{}: {}", credential.name, describe(credential));
    console::print(&format!("{}\n", terminal::words(&line)))
}

/// How a credential is, in words.
pub fn describe(credential: &Credential) -> String {
    match (credential.state, &credential.reason, credential.expires_in_seconds) {
        (CredentialState::Ready, _, None) => "ready".to_owned(),
        (CredentialState::Ready, _, Some(seconds)) => format!("ready, for {seconds} s"),
        (CredentialState::Unfetched, ..) => "fetched when it is needed".to_owned(),
        (CredentialState::Failed, Some(reason), _) => format!("failed: {reason}"),
        (CredentialState::Failed, None, _) => "failed".to_owned(),
        (CredentialState::Revoked, ..) => "revoked".to_owned(),
    }
}
