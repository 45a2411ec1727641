//! `why`: one timeline of what was refused or cut in an execution, by which line of which policy, and
//! what would have allowed it.

use std::fmt::Write as _;

use serde_json::json;
use supervisor_api::{AuditRecord, ExecutionId, Ruling, Verdict, What};

use crate::cli::GlobalOptions;
use crate::client::Client;
use crate::failure::Failure;
use crate::{console, terminal};

/// Records that `--json` tells at the most, for they are one value.
const MAX_RECORDS: usize = 10_000;

/// Bytes of the log that they may take.
const MAX_BYTES: usize = 16 << 20;

/// What has been seen of the decisions about an execution.
#[derive(Default)]
struct Seen {
    allowed: u64,
    refused: u64,
    /// Whether the log still has the submission, and with it all that came after.
    whole: bool,
    /// With `--json`: what is told at the end.
    records: Vec<AuditRecord>,
    bytes: usize,
}

/// `why`.
pub async fn why(client: &Client, id: ExecutionId, global: &GlobalOptions) -> Result<(), Failure> {
    let (mut seen, mut after) = (Seen::default(), 0);
    let next = loop {
        let page = client.decisions(id, after).await?;
        let next = page.next;
        let of_note = seen.count(page.records);
        if !global.json {
            console::print(&timeline(&of_note))?;
        } else if let Some(last) = seen.keep(of_note) {
            break Some(last);
        }
        match next {
            Some(next) => after = next,
            None => break None,
        }
    };
    if global.json {
        let mut told = json!({
            "records": seen.records,
            "allowed": seen.allowed,
            "refused": seen.refused,
            "whole": seen.whole,
        });
        if let (Some(next), Some(told)) = (next, told.as_object_mut()) {
            told.insert("next".to_owned(), next.into());
        }
        console::print_json(&told)?;
        if let Some(next) = next {
            console::notice(&format!(
                "these are the first {}; supervisorctl audit query --execution {id} --after {next} tells the rest\n",
                seen.records.len()
            ));
        }
        return Ok(());
    }
    if !global.quiet {
        console::notice(&closing(&seen));
    }
    Ok(())
}

impl Seen {
    /// Those of a page that belong on the timeline; the others are counted and forgotten.
    fn count(&mut self, mut records: Vec<AuditRecord>) -> Vec<AuditRecord> {
        for record in &records {
            let what = &record.event.what;
            self.whole |= matches!(what, What::Submission(_));
            self.allowed += u64::from(!tells(what));
            self.refused += match what {
                What::Suppression(more) => more.refused,
                // A question is neither, nor is a person's answer that allows it.
                _ => u64::from(
                    what.failure().is_some()
                        || what.ruling().is_some_and(|ruling| ruling.verdict == Verdict::Deny),
                ),
            };
        }
        records.retain(|record| tells(&record.event.what));
        records
    }

    /// Keeps what there is room for; where it ends, the number of the last that was kept.
    fn keep(&mut self, records: Vec<AuditRecord>) -> Option<u64> {
        for record in records {
            let size = serde_json::to_vec(&record).map_or(MAX_BYTES, |line| line.len());
            if self.records.len() >= MAX_RECORDS || self.bytes + size > MAX_BYTES {
                return Some(self.records.last().map_or(0, |last| last.seq));
            }
            self.bytes += size;
            self.records.push(record);
        }
        None
    }
}

/// Whether it belongs on the timeline: what was allowed doesn't, unless it failed.
fn tells(what: &What) -> bool {
    match what.ruling() {
        Some(_) if what.failure().is_some() => true,
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
            ("why", what.failure().or(ruling.cause.as_deref())),
            (remedy_of(ruling), ruling.remedy.as_deref()),
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

/// What a remedy is for: what was allowed and failed needs another one.
fn remedy_of(ruling: &Ruling) -> &'static str {
    if ruling.verdict == Verdict::Allow { "what helps" } else { "to allow it" }
}

fn closing(seen: &Seen) -> String {
    let Seen { allowed, refused, whole, .. } = seen;
    let sum = match (refused, whole) {
        (0, true) => {
            return format!(
                "nothing was refused or cut; {allowed} decisions allowed what was asked\n"
            );
        }
        (0, false) => format!("nothing that is left was refused or cut; {allowed} allowed\n"),
        _ => format!("{refused} refused or cut, {allowed} allowed\n"),
    };
    let missing = "the audit log does not reach back to where this execution began: its oldest \
                   files are removed, and what they had of it is not told here\n";
    if *whole { sum } else { format!("{sum}{missing}") }
}
