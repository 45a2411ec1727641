//! `why`: one timeline of what was refused or cut in an execution, by which line of which policy, and
//! what would have allowed it.

use std::fmt::Write as _;

use serde_json::json;
use supervisor_api::{AuditRecord, ExecutionId, Verdict, What};

use crate::cli::GlobalOptions;
use crate::client::Client;
use crate::failure::Failure;
use crate::{console, terminal};

/// `why`.
pub async fn why(client: &Client, id: ExecutionId, global: &GlobalOptions) -> Result<(), Failure> {
    let (mut records, mut after) = (Vec::new(), 0);
    loop {
        let page = client.decisions(id, after).await?;
        records.extend(page.records);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    let allowed = records.iter().filter(|record| !tells(&record.event.what)).count();
    records.retain(|record| tells(&record.event.what));
    if global.json {
        return console::print_json(&json!({"records": records, "allowed": allowed}));
    }
    console::print(&timeline(&records))?;
    if !global.quiet {
        console::notice(&closing(&records, allowed));
    }
    Ok(())
}

/// Whether it belongs on the timeline: what was allowed doesn't.
fn tells(what: &What) -> bool {
    match what.ruling() {
        Some(ruling) => ruling.verdict != Verdict::Allow || matches!(what, What::Approval(_)),
        None => true,
    }
}

fn timeline(records: &[AuditRecord]) -> String {
    let mut page = String::new();
    for record in records {
        let what = &record.event.what;
        let head = format!("{}  {:<12} {}", record.time, what.kind(), what.sentence());
        line(&mut page, "", &head);
        let Some(ruling) = what.ruling() else { continue };
        let rule = ruling.rule.as_deref().or(ruling.policy.as_deref());
        for (name, words) in [
            ("by", rule),
            ("why", ruling.cause.as_deref()),
            ("to allow it", ruling.remedy.as_deref()),
        ] {
            if let Some(words) = words {
                line(&mut page, "    ", &format!("{name}: {words}"));
            }
        }
    }
    page
}

fn line(page: &mut String, indent: &str, words: &str) {
    // Writing to a string can't fail.
    writeln!(page, "{indent}{}", terminal::name(words)).ok();
}

fn closing(records: &[AuditRecord], allowed: usize) -> String {
    let refused = records.iter().filter(|record| record.event.what.ruling().is_some()).count();
    match refused {
        0 => format!("nothing was refused or cut; {allowed} decisions allowed what was asked\n"),
        _ => format!("{refused} refused or cut, {allowed} allowed\n"),
    }
}
