//! An execution in a few lines for people: how it ended, what it used, what held it.

use std::fmt::Write;

use clap::builder::styling::{AnsiColor, Style};
use supervisor_api::{
    ControlReport, ControlStatus, Execution, Outcome, StartKind, State, StreamSummary, Usage,
};

use crate::table::status_name;
use crate::terminal;
use crate::units::{show_size, show_time};

/// How an execution stands or ended, in words.
pub fn outcome(execution: &Execution) -> String {
    terminal::name(&execution.in_words()).into_owned()
}

/// The same in a word or two, for lists.
pub fn short_outcome(execution: &Execution) -> String {
    match &execution.outcome {
        None => execution.state.name().to_owned(),
        Some(Outcome::Exited { code }) => format!("exited {code}"),
        Some(Outcome::Signaled { name, .. }) => name.clone(),
        Some(Outcome::TimedOut) => "timed out".to_owned(),
        Some(Outcome::OutOfMemory) => "out of memory".to_owned(),
        Some(Outcome::LimitExceeded { limit }) => format!("over {limit}"),
        Some(Outcome::Cancelled) => "cancelled".to_owned(),
        Some(Outcome::SetupFailed { .. }) => "not started".to_owned(),
        Some(Outcome::Lost { .. }) => "lost".to_owned(),
    }
}

/// The labels in one line, not yet made harmless.
pub fn labels(execution: &Execution) -> String {
    let pairs = execution.labels.0.iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<String>>().join(" ")
}

/// The whole summary; `files` are lines about the artifacts.
pub fn execution(execution: &Execution, files: &str) -> String {
    let style = style_of(execution);
    let mut text = format!("{} {style}{}{style:#}\n", execution.id, outcome(execution));
    if !execution.labels.is_empty() {
        line(&mut text, "labels", &terminal::name(&labels(execution)));
    }
    let policy = &execution.policy;
    let digest: String = policy.digest.chars().take(DIGEST_SHOWN).collect();
    line(&mut text, "policy", &terminal::name(&format!("{} ({digest})", policy.name)));
    if let Some(image) = &execution.image {
        let shown: String = image.digest.chars().take("sha256:".len() + DIGEST_SHOWN).collect();
        let writable = if image.writable { ", writable" } else { "" };
        line(&mut text, "image", &terminal::name(&format!("{} ({shown}{writable})", image.name)));
    }
    let start = execution.start.map_or("", |start| match start {
        StartKind::Warm => ", warm start",
        StartKind::Cold => "",
    });
    line(&mut text, "time", &format!("{}{start}", time(&execution.usage)));
    if let Some(memory) = memory(execution) {
        line(&mut text, "memory", &memory);
    }
    line(&mut text, "output", &output(execution));
    if execution.artifact_count > 0 || execution.artifacts_truncated {
        let rest =
            if execution.artifacts_truncated { ", more were left out by a limit" } else { "" };
        line(&mut text, "artifacts", &format!("{}{rest}", execution.artifact_count));
    }
    if let Some(kept) = execution.kept_bytes {
        line(&mut text, "kept", &format!("{} on disk, until it is removed", show_size(kept)));
    }
    text.push_str(files);
    match &execution.outcome {
        Some(Outcome::SetupFailed { .. }) if has_none(execution) => {
            line(&mut text, "controls", "none, for nothing ran");
        }
        _ => text.push_str(&controls(&execution.controls)),
    }
    text
}

/// Whether no control held it, weaker or not.
fn has_none(execution: &Execution) -> bool {
    execution.controls.iter().all(|report| report.status == ControlStatus::Missing)
}

/// Digits of a digest that people compare.
pub const DIGEST_SHOWN: usize = 12;

/// One line of a summary.
pub fn line(text: &mut String, title: &str, words: &str) {
    // Writing to a String can't fail.
    writeln!(text, "  {title:<10}{words}").ok();
}

/// The controls: how many hold, and a line for each that does not hold as designed.
pub fn controls(reports: &[ControlReport]) -> String {
    let count = |status| reports.iter().filter(|report| report.status == status).count();
    let mut counts = format!(
        "{} enforced, {} weaker, {} missing",
        count(ControlStatus::Enforced),
        count(ControlStatus::Weaker),
        count(ControlStatus::Missing),
    );
    if count(ControlStatus::Unused) > 0 {
        counts.push_str(&format!(", {} unused", count(ControlStatus::Unused)));
    }
    let mut text = String::new();
    line(&mut text, "controls", &counts);
    for report in reports.iter().filter(|report| report.status.falls_short()) {
        line(&mut text, "", &control(report));
    }
    text
}

/// A control that does not hold as designed: how it holds, why, and what to do.
pub fn control(report: &ControlReport) -> String {
    let color = match report.status {
        ControlStatus::Enforced => AnsiColor::Green,
        ControlStatus::Weaker => AnsiColor::Yellow,
        ControlStatus::Missing => AnsiColor::Red,
        ControlStatus::Unused => AnsiColor::BrightBlack,
    };
    let style = color.on_default();
    let mut words = format!("{style}{}{style:#} ", status_name(report.status));
    words.push_str(&terminal::name(&report.control));
    if report.status == ControlStatus::Weaker {
        words.push_str(&format!(" (by {})", terminal::name(&report.by)));
    }
    if let Some(reason) = &report.reason {
        words.push_str(&format!(": {}", terminal::name(reason)));
    }
    if let Some(remedy) = &report.remedy {
        words.push_str(&format!("; to get it: {}", terminal::name(remedy)));
    }
    words
}

fn style_of(execution: &Execution) -> Style {
    match (&execution.state, &execution.outcome) {
        (_, Some(Outcome::Exited { code: 0 })) => AnsiColor::Green.on_default().bold(),
        (State::Finished, _) => AnsiColor::Red.on_default().bold(),
        _ => Style::new().bold(),
    }
}

fn time(usage: &Usage) -> String {
    let paused = match usage.paused_ms {
        0 => String::new(),
        paused => format!(", paused for {}", show_time(paused)),
    };
    format!("{} wall, {} CPU{paused}", show_time(usage.wall_ms), show_time(usage.cpu_ms))
}

fn memory(execution: &Execution) -> Option<String> {
    let peak = execution.usage.memory_peak?;
    let mut words =
        format!("{} peak of {}", show_size(peak), show_size(execution.limits.memory_max));
    if let Some(refused) = execution.usage.pids_refused.filter(|refused| *refused > 0) {
        words.push_str(&format!("; {refused} forks refused by pids_max"));
    }
    Some(words)
}

fn output(execution: &Execution) -> String {
    let stream = |name: &str, summary: StreamSummary| {
        let cut = match summary.cut {
            0 => String::new(),
            cut => format!(" ({} cut)", show_size(cut)),
        };
        format!("{} {name}{cut}", show_size(summary.kept))
    };
    let output = &execution.output;
    format!("{}, {}", stream("stdout", output.stdout), stream("stderr", output.stderr))
}
