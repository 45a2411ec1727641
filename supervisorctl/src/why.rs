//! `why`: one timeline of what was refused or cut in an execution, by which line of which policy, and
//! what would have allowed it.

use std::fmt::Write as _;

use serde_json::json;
use supervisor_api::{AuditRecord, ExecutionId, Ruling, Traffic, Verdict, What};

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
        let head = format!("{}  {:<12} {}", record.time, what.kind(), sentence(what));
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

/// What happened, in a few words.
pub fn sentence(what: &What) -> String {
    match what {
        What::Start(start) => format!("supervisord {} began, {:?}", start.version, start.mode),
        What::Stop => "supervisord was told to end".to_owned(),
        What::Submission(submission) => {
            let program = submission.program.as_deref().unwrap_or("it");
            ruled(&submission.ruling, &format!("to run {program}"))
        }
        What::Outcome(ended) => {
            let outcome = serde_json::to_value(&ended.outcome).unwrap_or_default();
            let words = outcome.as_object().map(|fields| {
                fields.values().map(|value| value.to_string().replace('"', "")).collect::<Vec<_>>()
            });
            words.unwrap_or_default().join(" ")
        }
        What::Limit(hit) => match hit.refused {
            Some(refused) => format!("{} of {}: {refused} refused or cut", hit.limit, hit.value),
            None => format!("{} of {} reached", hit.limit, hit.value),
        },
        What::Syscall(call) => {
            let profile = call.profile.as_deref().unwrap_or("unknown");
            ruled(&call.ruling, &format!("a system call (profile {profile})"))
        }
        What::Cancellation(act) | What::Administration(act) => {
            let object = act.object.as_deref().map(|object| format!(" {object}"));
            let by = act.by.map_or_else(|| "SIGHUP".to_owned(), |uid| format!("uid {uid}"));
            format!("{}{} by {by}", act.act, object.unwrap_or_default())
        }
        What::Recovery(recovery) => match &recovery.cause {
            Some(cause) => format!("{}: {cause}", recovery.act),
            None => recovery.act.clone(),
        },
        What::Egress(traffic) | What::Dns(traffic) => ruled(&traffic.ruling, &request(traffic)),
        What::Credential(used) => {
            ruled(&used.ruling, &format!("{} of credential {}", used.act, used.credential))
        }
        What::Budget(out) => format!(
            "{} of {}: {} asked, {} of {} left",
            out.meter, out.account, out.asked, out.left, out.limit
        ),
        What::Approval(answer) => {
            let by = answer.by.map(|uid| format!(" by uid {uid}")).unwrap_or_default();
            let asked =
                format!("{} {}", answer.method.as_deref().unwrap_or("connect"), answer.host);
            format!("{}{by}", ruled(&answer.ruling, &format!("{} ({asked})", answer.approval)))
        }
        What::Checkpoint(checkpoint) if checkpoint.closing => "signed; the daemon ends".to_owned(),
        What::Checkpoint(checkpoint) => format!("{} records signed", checkpoint.records),
        What::Repair(repair) => format!("{} torn bytes moved to {}", repair.bytes, repair.kept),
        What::Removal(removal) => {
            format!("{} removed, up to record {}", removal.file, removal.last)
        }
        What::Suppression(minute) => {
            let codes = minute.codes.iter().map(|(code, count)| format!("{count} {code}"));
            let codes = codes.collect::<Vec<_>>().join(", ");
            format!("{} more submissions refused since {}: {codes}", minute.refused, minute.since)
        }
        What::Suspension(time) => {
            format!("no room for records since {}; {} refused", time.since, time.refused)
        }
    }
}

fn ruled(ruling: &Ruling, what: &str) -> String {
    match ruling.verdict {
        Verdict::Allow => format!("allowed {what}"),
        Verdict::Deny => format!("refused {what}: {}", ruling.reason),
        Verdict::Ask => format!("asked for {what}: {}", ruling.reason),
    }
}

fn request(traffic: &Traffic) -> String {
    let Traffic { host, port, protocol, .. } = traffic;
    match (&traffic.method, &traffic.path) {
        (Some(method), Some(path)) => format!("{method} {protocol}://{host}:{port}{path}"),
        _ => format!("{protocol} {host}:{port}"),
    }
}
