//! What stands on the page, from the result to the receipt.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use supervisor_api::{ControlStatus, Execution, Outcome, Ruling, Traffic, Verdict, What};

use crate::summary;
use crate::table::status_name;
use crate::units::{show_size, show_time};

use super::gathered::{Gathered, OUTPUT_SHOWN, RECORDS_MAX};
use super::markup::Markup;
use super::{over_time, plots};

/// Rows of a table of requests, and refusals that are told one by one.
const ROWS_MAX: usize = 500;

/// The executions of a page with several.
pub fn contents(page: &mut Markup, all: &[Gathered]) {
    if all.is_empty() {
        page.words("p", "Nothing was run in it, or nothing of that is kept.");
    }
    page.raw("<ul>\n");
    for one in all {
        let id = one.execution.id.to_string();
        page.raw("<li>");
        page.tag("a", &[("href", &format!("#{id}"))]);
        page.text(&id);
        page.close("a");
        page.text(&format!(" {}", summary::outcome(&one.execution)));
        page.raw("</li>\n");
    }
    page.raw("</ul>\n");
}

/// All about one.
pub fn execution(page: &mut Markup, one: &Gathered, headed: bool) {
    let execution = &one.execution;
    page.tag("section", &[("id", &execution.id.to_string())]);
    if headed {
        page.words("h2", &execution.id.to_string());
    }
    result(page, execution);
    page.words("h3", "Resources");
    page.words("p", "Totals and peaks against the limits in force.");
    plots::usage(page, execution);
    over_time::usage(page, execution, &one.samples);
    output(page, one);
    artifacts(page, one);
    denials(page, one);
    traffic(page, one);
    controls(page, execution);
    receipt(page, one);
    page.raw("</section>\n");
}

fn result(page: &mut Markup, execution: &Execution) {
    let class = match &execution.outcome {
        Some(Outcome::Exited { code: 0 }) => "good",
        Some(_) => "bad",
        None => "open",
    };
    page.classed("p", class, &summary::outcome(execution));
    let mut rows = vec![
        ("program", execution.argv.join(" ")),
        ("session", execution.session.to_string()),
        ("owner", format!("uid {}", execution.owner_uid)),
        ("policy", format!("{} ({})", execution.policy.name, execution.policy.digest)),
        ("submitted", execution.created_at.clone()),
    ];
    for (name, value) in [
        ("started", execution.started_at.clone()),
        ("finished", execution.finished_at.clone()),
        ("image", execution.image.as_ref().map(|image| format!("{} {}", image.name, image.digest))),
        ("labels", Some(summary::labels(execution)).filter(|labels| !labels.is_empty())),
        ("paused", Some(execution.usage.paused_ms).filter(|paused| *paused > 0).map(show_time)),
    ] {
        if let Some(value) = value {
            rows.push((name, value));
        }
    }
    page.raw("<dl>\n");
    for (name, value) in rows {
        page.words("dt", name);
        page.words("dd", &value);
    }
    page.raw("</dl>\n");
}

fn output(page: &mut Markup, one: &Gathered) {
    let output = &one.execution.output;
    for (title, bytes, kept) in [
        ("Standard output", &one.stdout, output.stdout),
        ("Standard error", &one.stderr, output.stderr),
    ] {
        if kept.kept == 0 && kept.cut == 0 {
            continue;
        }
        page.words("h3", title);
        page.words("pre", &String::from_utf8_lossy(bytes));
        if kept.kept > OUTPUT_SHOWN {
            let words =
                format!("The first {} of {}.", show_size(OUTPUT_SHOWN), show_size(kept.kept));
            page.words("p", &words);
        }
        if kept.cut > 0 {
            page.words("p", &format!("{} more were cut by output_bytes.", show_size(kept.cut)));
        }
    }
}

fn artifacts(page: &mut Markup, one: &Gathered) {
    if one.artifacts.is_empty() && one.refused.is_empty() {
        return;
    }
    page.words("h3", "Artifacts");
    let rows: Vec<_> = one
        .artifacts
        .iter()
        .map(|(each, _)| {
            vec![
                each.path.clone(),
                show_size(each.size),
                each.media_type.clone(),
                each.sha256.clone(),
            ]
        })
        .collect();
    page.table(&["path", "size", "type", "SHA-256"], &rows);
    for (artifact, picture) in &one.artifacts {
        let Some(bytes) = picture else { continue };
        let address = format!("data:{};base64,{}", artifact.media_type, STANDARD.encode(bytes));
        page.raw("<figure>");
        // An image, an SVG as well: nothing runs in it, and it fetches nothing.
        page.tag("img", &[("src", &address), ("alt", &artifact.path)]);
        page.words("figcaption", &artifact.path);
        page.raw("</figure>\n");
    }
    let rows: Vec<_> =
        one.refused.iter().map(|each| vec![each.path.clone(), each.reason.clone()]).collect();
    page.table(&["not kept", "because"], &rows);
    if one.execution.artifacts_truncated {
        page.words("p", "More were left out by a limit.");
    }
}

fn denials(page: &mut Markup, one: &Gathered) {
    page.words("h3", "Refused or cut");
    let (mut told, mut counted, mut whole) = (0, false, false);
    for record in &one.records {
        let what = &record.event.what;
        whole |= matches!(what, What::Submission(_));
        if let What::Suppression(_) = what {
            page.words("p", &what.sentence());
            counted = true;
        }
        let is_told =
            |ruling: &&Ruling| ruling.verdict == Verdict::Deny || what.failure().is_some();
        let Some(ruling) = what.ruling().filter(is_told) else { continue };
        told += 1;
        if told > ROWS_MAX {
            continue;
        }
        page.raw("<article>");
        page.classed("p", "bad", &what.sentence());
        page.raw("<dl>\n");
        for (name, words) in [
            ("when", Some(record.time.as_str())),
            ("rule", ruling.rule.as_deref().or(ruling.policy.as_deref())),
            ("why", what.failure().or(ruling.cause.as_deref())),
            ("what helps", ruling.remedy.as_deref()),
        ] {
            if let Some(words) = words {
                page.words("dt", name);
                page.words("dd", words);
            }
        }
        page.raw("</dl></article>\n");
    }
    if !whole {
        let words = "The audit log does not reach back to where this execution began.";
        page.words("p", words);
    }
    match told {
        0 if counted => {}
        0 => page.words("p", if whole { "Nothing." } else { "Nothing that is left." }),
        told if told > ROWS_MAX => {
            page.words("p", &format!("The first {ROWS_MAX} of {told} are shown."));
        }
        _ => {}
    }
    if one.more_records {
        let words = format!("The audit log has more than the {RECORDS_MAX} records shown here.");
        page.words("p", &words);
    }
}

fn traffic(page: &mut Markup, one: &Gathered) {
    let requests: Vec<(&str, &Traffic)> = one
        .records
        .iter()
        .filter_map(|record| match &record.event.what {
            What::Egress(traffic) | What::Dns(traffic) => Some((record.time.as_str(), traffic)),
            _ => None,
        })
        .collect();
    page.words("h3", "Requests out of the sandbox");
    if requests.is_empty() {
        return page.words("p", "None.");
    }
    plots::traffic(page, &one.records);
    let rows: Vec<_> =
        requests.iter().take(ROWS_MAX).map(|(time, traffic)| row(time, traffic)).collect();
    page.table(&["when", "verdict", "request", "to", "rule", "out", "in", "status"], &rows);
    if requests.len() > ROWS_MAX {
        page.words("p", &format!("The first {ROWS_MAX} of {} are shown.", requests.len()));
    }
}

fn row(time: &str, traffic: &Traffic) -> Vec<String> {
    let Traffic { ruling, host, port, protocol, .. } = traffic;
    let verdict = format!("{:?}", ruling.verdict).to_lowercase();
    let request = match (&traffic.method, &traffic.path) {
        (Some(method), Some(path)) => format!("{method} {path}"),
        _ => protocol.clone(),
    };
    vec![
        time.to_owned(),
        verdict,
        request,
        format!("{host}:{port}"),
        ruling.rule.clone().unwrap_or_default(),
        show_size(traffic.bytes_out),
        show_size(traffic.bytes_in),
        traffic.status.map(|status| status.to_string()).unwrap_or_default(),
    ]
}

fn controls(page: &mut Markup, execution: &Execution) {
    page.words("h3", "Controls that held it");
    let count = |status| execution.controls.iter().filter(|each| each.status == status).count();
    let counts = format!(
        "{} enforced, {} weaker, {} missing, {} unused",
        count(ControlStatus::Enforced),
        count(ControlStatus::Weaker),
        count(ControlStatus::Missing),
        count(ControlStatus::Unused)
    );
    page.words("p", &counts);
    let rows: Vec<_> = execution
        .controls
        .iter()
        .map(|each| {
            let why = [each.reason.as_deref(), each.remedy.as_deref()];
            let why = why.into_iter().flatten().collect::<Vec<_>>().join("; to get it: ");
            vec![each.control.clone(), status_name(each.status).to_owned(), each.by.clone(), why]
        })
        .collect();
    page.table(&["control", "status", "by", "why not as designed"], &rows);
}

fn receipt(page: &mut Markup, one: &Gathered) {
    let Some(receipt) = &one.receipt else { return };
    page.words("h3", "Receipt");
    page.words("p", "What is signed: save it to a file for `supervisorctl receipt verify`.");
    let signed = serde_json::to_string(receipt).unwrap_or_default();
    page.words("pre", &signed);
    if let Some(statement) = receipt.look() {
        page.raw("<details><summary>What it says</summary>");
        page.words("pre", &serde_json::to_string_pretty(&statement).unwrap_or_default());
        page.raw("</details>\n");
    }
}
