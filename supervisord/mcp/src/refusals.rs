//! Refusals in words that a model can act on: the daemon's own, and what was refused to a program.

use rmcp::RoleServer;
use rmcp::model::{CallToolResult, ContentBlock};
use rmcp::service::RequestContext;
use supervisor_api::{AuditRecord, ExecutionId, Verdict, What};

use crate::client::Client;
use crate::failure::Failure;

use crate::arguments::OneExecution;
use crate::results::{Refusal, WhyResult};
use crate::runs::refusal_words;
use crate::server::Server;
use crate::tools::{Reply, Told};

/// Refusals of one answer.
const REFUSALS_MAX: usize = 200;

/// Pages of records that are looked through for them.
const PAGES_MAX: usize = 20;

/// `why`.
pub async fn why(
    server: &Server,
    arguments: OneExecution,
    _: &RequestContext<RoleServer>,
) -> Result<Reply<WhyResult>, Failure> {
    let found = of(&server.client, arguments.execution).await?;
    let mut words: String = found.refusals.iter().map(refusal_words).collect();
    if found.counted > 0 {
        words.push_str(&format!("{} more were refused, counted only\n", found.counted));
    }
    if words.is_empty() {
        words = match found.whole {
            true => "nothing was refused or cut".to_owned(),
            false => "nothing that is left in the audit log was refused or cut".to_owned(),
        };
    }
    if !found.whole {
        words.push_str("\nthe audit log does not reach back to where the execution began\n");
    }
    if found.truncated {
        words.push_str(&format!("more: supervisorctl why {}\n", arguments.execution));
    }
    Ok(Told::new(found, words).into())
}

/// What was refused to an execution, as far as one answer goes.
pub async fn of(client: &Client, id: ExecutionId) -> Result<WhyResult, Failure> {
    let mut found = WhyResult {
        execution: id,
        refusals: Vec::new(),
        allowed: 0,
        counted: 0,
        whole: false,
        truncated: false,
    };
    let mut after = 0;
    for _ in 0..PAGES_MAX {
        let page = client.decisions(id, after).await?;
        for record in &page.records {
            match &record.event.what {
                What::Submission(_) => found.whole = true,
                What::Suppression(more) => {
                    found.counted = found.counted.saturating_add(more.refused)
                }
                _ => {}
            }
            match record.event.what.ruling().map(|ruling| ruling.verdict) {
                Some(_) if record.event.what.failure().is_some() => {
                    match found.refusals.len() < REFUSALS_MAX {
                        true => found.refusals.push(refusal(record)),
                        false => found.truncated = true,
                    }
                }
                Some(Verdict::Deny) if found.refusals.len() < REFUSALS_MAX => {
                    found.refusals.push(refusal(record));
                }
                Some(Verdict::Deny) => found.truncated = true,
                Some(Verdict::Allow) => found.allowed = found.allowed.saturating_add(1),
                Some(Verdict::Ask) | None => {}
            }
        }
        match page.next {
            Some(next) => after = next,
            None => return Ok(found),
        }
    }
    found.truncated = true;
    Ok(found)
}

fn refusal(record: &AuditRecord) -> Refusal {
    let what = &record.event.what;
    let ruling = what.ruling();
    Refusal {
        time: record.time.clone(),
        kind: what.kind().to_owned(),
        what: what.sentence(),
        reason: ruling.map(|ruling| ruling.reason.clone()),
        rule: ruling.and_then(|ruling| ruling.rule.clone().or_else(|| ruling.policy.clone())),
        cause: what
            .failure()
            .map(str::to_owned)
            .or_else(|| ruling.and_then(|ruling| ruling.cause.clone())),
        remedy: ruling.and_then(|ruling| ruling.remedy.clone()),
    }
}

/// A failure as a tool's answer: what happened, what it is about, and what to do.
pub fn told(failure: &Failure) -> CallToolResult {
    let mut words = failure.chain();
    if let Some(remedy) = failure.remedy() {
        words.push_str(&format!("; {remedy}"));
    }
    let data = failure.to_json().to_string();
    CallToolResult::error(vec![ContentBlock::text(words), ContentBlock::text(data)])
}
