//! `session`: sessions are made, looked at, extended and closed.

use supervisor_api::{
    CreateSession, CreateSnapshot, ExtendSession, Session, SessionId, SessionList, SessionState,
    UniqueMap,
};

use crate::cli::{CreateOptions, GlobalOptions, SessionCommand};
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::table::{cell, table_of, text};
use crate::terminal;
use crate::units::show_size;

/// `session …`.
pub async fn session(
    client: &Client,
    command: &SessionCommand,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    match command {
        SessionCommand::Create(options) => create(client, options, None, global).await,
        SessionCommand::Fork(options) => {
            create(client, &options.create, Some(options.from), global).await
        }
        SessionCommand::Snapshot(options) => {
            let request = CreateSnapshot {
                labels: UniqueMap(options.labels.iter().cloned().collect()),
                time_to_live: options.time_to_live,
            };
            made(&client.create_snapshot(options.id, &request).await?, global)
        }
        SessionCommand::Snapshots(options) => {
            list(&client.snapshots(options.id).await?, false, global)
        }
        SessionCommand::List(options) => {
            list(&client.sessions(options.all).await?, options.all, global)
        }
        SessionCommand::Show(options) => show(&client.session(options.id).await?, global),
        SessionCommand::Extend(options) => {
            let request = ExtendSession { time_to_live: options.time_to_live };
            show(&client.extend_session(options.id, &request).await?, global)
        }
        SessionCommand::Close(options) => {
            let session = client.close_session(options.id).await?;
            if global.json { console::print_json(&session) } else { Ok(()) }
        }
    }
}

async fn create(
    client: &Client,
    options: &CreateOptions,
    from: Option<SessionId>,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let request = CreateSession {
        policy: options.policy.clone(),
        labels: UniqueMap(options.labels.iter().cloned().collect()),
        workspace_bytes: options.workspace,
        workspace_inodes: options.workspace_inodes,
        time_to_live: options.time_to_live,
        from,
    };
    made(&client.create_session(&request).await?, global)
}

fn made(session: &Session, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(session);
    }
    if let Some(copied) = session.copied.filter(|_| !global.quiet) {
        let left_out = match copied.left_out {
            0 => String::new(),
            count => format!(", {count} FIFOs and sockets left out"),
        };
        let bytes = show_size(copied.bytes);
        console::notice(&format!("{} files copied, {bytes}{left_out}\n", copied.files));
    }
    console::print(&format!("{}\n", session.id))
}

fn list(list: &SessionList, all: bool, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(list);
    }
    if global.quiet {
        let ids = list.sessions.iter().map(|session| format!("{}\n", session.id));
        return console::print(&ids.collect::<String>());
    }
    console::print(&describe(&list.sessions, all))
}

fn show(session: &Session, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(session);
    }
    if global.quiet {
        return console::print(&format!("{}\n", state_name(session.state)));
    }
    let mut lines = format!(
        "{} {}\n  policy     {}\n  owner      uid {}\n  created    {}\n  expires    {}\n",
        session.id,
        state_name(session.state),
        terminal::name(&session.policy.name),
        session.owner_uid,
        terminal::name(&session.created_at),
        terminal::name(&session.expires_at),
    );
    let (bytes, inodes) = (show_size(session.workspace_bytes), session.workspace_inodes);
    let workspace = match session.usage {
        Some(used) => format!(
            "{} of {bytes}, {} of {inodes} inodes",
            show_size(used.workspace_bytes),
            used.workspace_inodes
        ),
        None => format!("{bytes}, {inodes} inodes"),
    };
    lines.push_str(&format!("  workspace  {workspace}\n"));
    lines.push_str(&format!("  executions {} running or waiting\n", session.executions));
    if let Some(of) = session.snapshot_of {
        lines.push_str(&format!("  snapshot   of {of}\n"));
    }
    for (name, value) in &session.labels.0 {
        lines.push_str(&format!(
            "  label      {}={}\n",
            terminal::name(name),
            terminal::name(value)
        ));
    }
    console::print(&lines)
}

fn describe(sessions: &[Session], all: bool) -> String {
    let mut header = vec!["ID", "STATE", "POLICY", "WORKSPACE", "EXECUTIONS", "EXPIRES"];
    header.extend(all.then_some("OWNER"));
    let mut rows = table_of(&header);
    for session in sessions {
        let mut cells = vec![
            cell(&session.id.to_string()),
            cell(if session.snapshot_of.is_some() {
                "snapshot"
            } else {
                state_name(session.state)
            }),
            cell(&session.policy.name),
            cell(&show_size(session.workspace_bytes)),
            cell(&session.executions.to_string()),
            cell(&session.expires_at),
        ];
        cells.extend(all.then(|| cell(&session.owner_uid.to_string())));
        rows.add_row(cells);
    }
    text(&rows)
}

/// A state as it stands in JSON.
pub fn state_name(state: SessionState) -> &'static str {
    match state {
        SessionState::Open => "open",
        SessionState::Expiring => "expiring",
        SessionState::Closing => "closing",
        SessionState::Closed => "closed",
    }
}
