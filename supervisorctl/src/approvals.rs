//! `approvals`: requests that wait for a person.

use supervisor_api::{AnswerRequest, Approval, ApprovalId, ApprovalState};

use crate::cli::GlobalOptions;
use crate::client::Client;
use crate::console;
use crate::failure::Failure;
use crate::reader::Lines;
use crate::reader::next_of;
use crate::table::{cell, table_of, text};
use crate::terminal;

/// `approvals list`.
pub async fn list(client: &Client, follow: bool, global: &GlobalOptions) -> Result<(), Failure> {
    if follow {
        return follow_changes(client, global).await;
    }
    let list = client.approvals().await?;
    if global.json {
        return console::print_json(&list);
    }
    if global.quiet {
        let ids = list.approvals.iter().map(|approval| format!("{}\n", approval.id));
        return console::print(&ids.collect::<String>());
    }
    let mut rows = table_of(&["ID", "STATE", "UID", "EXECUTION", "REQUEST", "DEADLINE"]);
    for approval in &list.approvals {
        rows.add_row([
            cell(&approval.id.to_string()),
            cell(&state(approval)),
            cell(&approval.owner_uid.to_string()),
            cell(&approval.execution.to_string()),
            cell(&request(approval)),
            cell(&approval.deadline),
        ]);
    }
    console::print(&text(&rows))
}

/// `approvals show`.
pub async fn show(client: &Client, id: ApprovalId, global: &GlobalOptions) -> Result<(), Failure> {
    print(&client.approval(id).await?, global)
}

/// `approvals approve`, with how often, and `approvals deny`.
pub async fn answer(
    client: &Client,
    id: ApprovalId,
    times: Option<u32>,
    global: &GlobalOptions,
) -> Result<(), Failure> {
    let answer = AnswerRequest { approve: times.is_some(), times };
    print(&client.answer(id, answer).await?, global)
}

async fn follow_changes(client: &Client, global: &GlobalOptions) -> Result<(), Failure> {
    let mut answer = client.approval_changes().await?;
    let mut lines = Lines::default();
    while let Some(approval) = next_of::<Approval>(&mut answer, &mut lines).await? {
        if global.json {
            console::print_json(&approval)?;
        } else if global.quiet {
            console::print(&format!("{}\n", approval.id))?;
        } else {
            let words = format!("{} {}: {}", approval.id, state(&approval), request(&approval));
            console::print(&format!("{}\n", terminal::name(&words)))?;
        }
    }
    Ok(())
}

fn print(approval: &Approval, global: &GlobalOptions) -> Result<(), Failure> {
    if global.json {
        return console::print_json(approval);
    }
    if global.quiet {
        return console::print(&format!("{}\n", state(approval)));
    }
    let body = approval.request.body.map(|bytes| format!("{bytes} bytes"));
    let answered = approval.answered_by.map(|uid| format!("uid {uid}"));
    // A line each: what a value holds must not look like another field.
    let fields = approval.request.fields.iter().flat_map(|fields| fields.lines());
    let fields = fields.map(|field| ("field", Some(field.to_owned())));
    let asked = [
        ("question", Some(approval.id.to_string())),
        ("state", Some(state(approval))),
        ("request", Some(request(approval))),
        ("body", body),
        ("body's SHA-256", approval.request.body_sha256.clone()),
    ];
    let about = [
        ("execution", Some(approval.execution.to_string())),
        ("owner", Some(format!("uid {}", approval.owner_uid))),
        ("asked by", Some(format!("{} of policy {}", approval.rule, approval.policy))),
        ("asked", Some(approval.asked_at.clone())),
        ("deadline", Some(approval.deadline.clone())),
        ("answered by", answered),
        ("digest", Some(approval.digest.clone())),
    ];
    let mut page = String::new();
    for (name, value) in asked.into_iter().chain(fields).chain(about) {
        if let Some(value) = value {
            page.push_str(&format!("{name:<15} {}\n", terminal::name(&value)));
        }
    }
    console::print(&page)
}

/// How it stands, in words.
pub fn state(approval: &Approval) -> String {
    match approval.state {
        ApprovalState::Waiting => "waiting".to_owned(),
        ApprovalState::Approved => format!("approved, {} left", approval.left),
        ApprovalState::Spent => "spent".to_owned(),
        ApprovalState::Denied => "denied".to_owned(),
        ApprovalState::Expired => "expired".to_owned(),
    }
}

/// What is asked for, in words.
pub fn request(approval: &Approval) -> String {
    let asked = &approval.request;
    let method = asked.method.as_deref().unwrap_or("connect to");
    let path = asked.path.as_deref().unwrap_or_default();
    format!("{method} {}://{}:{}{path}", asked.protocol, asked.host, asked.port)
}
