//! `events`: what changes, as it does.

use supervisor_api::{Event, SessionState};

use crate::cli::GlobalOptions;
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::reader::{Lines, next_of};
use crate::terminal;
use crate::{approvals, credentials, sessions};

/// `events`.
pub async fn events(client: &Client, global: &GlobalOptions) -> Result<(), Failure> {
    let mut answer = client.events().await?;
    let mut lines = Lines::default();
    while let Some(event) = next_of::<Event>(&mut answer, &mut lines).await? {
        if global.json {
            console::print_json(&event)?;
        } else {
            console::print(&format!("{}\n", terminal::name(&describe(&event))))?;
        }
    }
    Ok(())
}

fn describe(event: &Event) -> String {
    match event {
        Event::Execution(it) => {
            let outcome = it.outcome.as_ref().map(|outcome| format!(" ({})", outcome.name()));
            format!(
                "{} of uid {}: {}{}",
                it.execution,
                it.owner_uid,
                it.state.name(),
                outcome.unwrap_or_default()
            )
        }
        Event::Session(it) if it.state == SessionState::Closed => {
            format!("{} of uid {}: closed", it.session, it.owner_uid)
        }
        Event::Session(it) => format!(
            "{} of uid {}: {} until {}, {} running",
            it.session,
            it.owner_uid,
            sessions::state_name(it.state),
            it.expires_at,
            it.executions
        ),
        Event::Approval(it) => {
            format!("{}: {}: {}", it.id, approvals::state(it), approvals::request(it))
        }
        Event::Generation(it) => format!("generation {} is in force", it.generation),
        Event::Credential(it) => format!("credential {}: {}", it.name, credentials::describe(it)),
    }
}
