//! The interface's types as D-Bus values.

use std::collections::BTreeMap;

use serde::Serialize;
use supervisor_api::{ControlReport, ControlStatus, Execution, Limit, Outcome, State};
use zbus::Variant;

/// Properties by name.
pub type Properties = BTreeMap<&'static str, Variant<'static>>;

/// Control, status, mechanism, reason, remedy.
pub type Control = (String, String, String, String, String);

/// The properties of an execution.
pub fn properties(execution: &Execution) -> Properties {
    let text = |text: &Option<String>| Variant::from(text.clone().unwrap_or_default());
    let policy = (execution.policy.name.clone(), execution.policy.digest.clone());
    let controls: Vec<_> = execution.controls.iter().map(control).collect();
    let (outcome, details) = outcome(execution.outcome.as_ref());
    BTreeMap::from([
        ("Id", Variant::from(execution.id.to_string())),
        ("Session", Variant::from(execution.session.to_string())),
        ("OwnerUid", Variant::from(execution.owner_uid)),
        ("State", Variant::from(state(execution.state))),
        ("Outcome", Variant::from(outcome)),
        ("OutcomeDetails", Variant::from(details)),
        ("Argv", Variant::from(execution.argv.clone())),
        ("Language", Variant::from(execution.language.as_ref().map(word).unwrap_or_default())),
        ("Labels", Variant::from(execution.labels.0.clone())),
        ("Policy", Variant::from(policy)),
        ("Limits", Variant::from(limits(execution))),
        ("CreatedAt", Variant::from(execution.created_at.clone())),
        ("StartedAt", text(&execution.started_at)),
        ("FinishedAt", text(&execution.finished_at)),
        ("Usage", Variant::from(numbers(&execution.usage))),
        ("OutputBytes", Variant::from(output(execution))),
        ("ArtifactCount", Variant::from(execution.artifact_count)),
        ("ArtifactsTruncated", Variant::from(execution.artifacts_truncated)),
        ("Controls", Variant::from(controls)),
    ])
}

/// What of an execution changes while it lives, and is told when it does.
pub const CHANGING: [&str; 9] = [
    "State",
    "Outcome",
    "OutcomeDetails",
    "StartedAt",
    "FinishedAt",
    "Usage",
    "ArtifactCount",
    "ArtifactsTruncated",
    "Controls",
];

/// A state's word.
pub const fn state(state: State) -> &'static str {
    match state {
        State::Queued => "queued",
        State::Launching => "launching",
        State::Running => "running",
        State::Paused => "paused",
        State::Collecting => "collecting",
        State::Finished => "finished",
    }
}

/// An outcome's word, empty before there is one, and what more is to be said of it.
pub fn outcome(outcome: Option<&Outcome>) -> (&'static str, Properties) {
    let Some(outcome) = outcome else { return ("", Properties::new()) };
    let text = |text: &str| Variant::from(text.to_owned());
    let details = match outcome {
        Outcome::Exited { code } => Properties::from([("code", Variant::from(u32::from(*code)))]),
        Outcome::Signaled { signal, name } => {
            let number = Variant::from(u32::from(*signal));
            Properties::from([("signal", number), ("name", text(name))])
        }
        Outcome::LimitExceeded { limit } => Properties::from([("limit", text(limit.name()))]),
        Outcome::SetupFailed { step, reason } => {
            Properties::from([("step", text(step)), ("reason", text(reason))])
        }
        Outcome::Lost { reason } => Properties::from([("reason", text(reason))]),
        Outcome::TimedOut | Outcome::OutOfMemory | Outcome::Cancelled => Properties::new(),
    };
    (outcome.name(), details)
}

/// A line of the matrix.
pub fn control(report: &ControlReport) -> Control {
    let status = match report.status {
        ControlStatus::Enforced => "enforced",
        ControlStatus::Weaker => "weaker",
        ControlStatus::Missing => "missing",
        ControlStatus::Unused => "unused",
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let (reason, remedy) = (text(&report.reason), text(&report.remedy));
    (report.control.clone(), status.to_owned(), report.by.clone(), reason, remedy)
}

/// The word that a value of one word has in JSON.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

fn limits(execution: &Execution) -> BTreeMap<String, u64> {
    let limits = Limit::ALL.iter().map(|limit| (limit, execution.limits.get(*limit)));
    limits.map(|(limit, value)| (limit.name().to_owned(), value)).collect()
}

fn output(execution: &Execution) -> BTreeMap<String, u64> {
    let (stdout, stderr) = (execution.output.stdout, execution.output.stderr);
    let values = [
        ("stdout_kept", stdout.kept),
        ("stdout_cut", stdout.cut),
        ("stderr_kept", stderr.kept),
        ("stderr_cut", stderr.cut),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The numbers among a value's fields.
fn numbers(value: &impl Serialize) -> BTreeMap<String, u64> {
    let Ok(serde_json::Value::Object(fields)) = serde_json::to_value(value) else {
        return BTreeMap::new();
    };
    let numbers = fields.into_iter().filter_map(|(name, value)| Some((name, value.as_u64()?)));
    numbers.collect()
}
