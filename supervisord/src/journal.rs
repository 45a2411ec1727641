//! The main events, each told once, with fields that can be asked for: `journalctl
//! EXECUTION_ID=…`, `OWNER_UID=`, `POLICY=`, `RULE=`, `MESSAGE_ID=`. What the ids mean is in
//! systemd/messages.catalog.

use std::io;

use nix::sys::stat::fstat;
use supervisor_api::{ApiError, ErrorCode, Execution, Limit, Outcome};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

use crate::settings::Generation;
use crate::supervisor::Caller;

const SUBMITTED: &str = "31d5fb093a0044bdad9cb7579caa297f";
const REFUSED: &str = "4df5c3af35b4415fb9e4a2ff293ed331";
const FINISHED: &str = "52792de124334871bc23e0e0bdc6cda3";
const LIMITED: &str = "66fc06892be141fdbe8d72eabf00ec14";
const ADOPTED: &str = "43b242902250410ab727e6a70ebe8ef3";
const RELOADED: &str = "ae7fa29b763f45f58c64faf2bc900c5b";
const NOT_RELOADED: &str = "0ec18dd22ea74d6e9bec34c48b3e41ab";
const LAUNCHER_GONE: &str = "89062382bf2e41d689676ffce191d031";

/// Names the variable that says what is logged, in the words of tracing's `EnvFilter`.
const FILTER: &str = "SUPERVISORD_LOG";

/// Set by systemd where standard error leads to the journal: its device and inode (systemd.exec(5)). Who
/// inherits it may have another standard error.
const JOURNAL_STREAM: &str = "JOURNAL_STREAM";

/// Begins to log: to the journal with its fields where systemd started us, else to standard error.
/// `usual` is what is logged where the environment says nothing.
pub fn begin(usual: &str) -> Result<(), TryInitError> {
    let filter = EnvFilter::try_from_env(FILTER).unwrap_or_else(|_| EnvFilter::new(usual));
    let registry = tracing_subscriber::registry().with(filter);
    let journal = if leads_to_journal() { tracing_journald::layer().ok() } else { None };
    match journal {
        Some(journal) => registry.with(journal.with_field_prefix(None)).try_init(),
        None => {
            let text = tracing_subscriber::fmt::layer();
            registry.with(text.with_writer(io::stderr).with_ansi(false)).try_init()
        }
    }
}

fn leads_to_journal() -> bool {
    let Ok(stream) = std::env::var(JOURNAL_STREAM) else { return false };
    fstat(io::stderr()).is_ok_and(|stderr| stream == format!("{}:{}", stderr.st_dev, stderr.st_ino))
}

/// A submission was recorded.
pub fn submitted(execution: &Execution) {
    tracing::info!(
        message_id = SUBMITTED,
        execution_id = %execution.id,
        session_id = %execution.session,
        owner_uid = execution.owner_uid,
        policy = execution.policy.name,
        "execution {} was submitted",
        execution.id,
    );
}

/// A submission was refused.
pub fn refused(caller: &Caller, policy: &str, error: &ApiError) {
    let rule = rule(error);
    tracing::info!(
        message_id = REFUSED,
        owner_uid = caller.uid,
        policy,
        rule,
        "a submission of uid {} was refused: {rule}: {}",
        caller.uid,
        error.detail,
    );
}

/// What a refusal went by: the field of the policy or of the request, or the kind of error.
fn rule(error: &ApiError) -> &str {
    match (error.code, &error.field) {
        (ErrorCode::ControlMissing, _) => "requires.controls",
        (_, Some(field)) => field,
        (code, None) => code.name(),
    }
}

/// An execution's end is on disk.
pub fn finished(execution: &Execution) {
    let Some(outcome) = &execution.outcome else { return };
    let outcome = describe(outcome);
    tracing::info!(
        message_id = FINISHED,
        execution_id = %execution.id,
        session_id = %execution.session,
        owner_uid = execution.owner_uid,
        policy = execution.policy.name,
        outcome,
        "execution {} has finished: {outcome}",
        execution.id,
    );
    if let Some(limit) = execution.outcome.as_ref().and_then(limit) {
        tracing::warn!(
            message_id = LIMITED,
            execution_id = %execution.id,
            session_id = %execution.session,
            owner_uid = execution.owner_uid,
            policy = execution.policy.name,
            rule = limit.name(),
            "execution {} was ended by its limit {limit}",
            execution.id,
        );
    }
}

fn limit(outcome: &Outcome) -> Option<Limit> {
    match outcome {
        Outcome::TimedOut => Some(Limit::WallTime),
        Outcome::OutOfMemory => Some(Limit::MemoryMax),
        Outcome::LimitExceeded { limit } => Some(*limit),
        _ => None,
    }
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Exited { code } => format!("exited with status {code}"),
        Outcome::Signaled { name, .. } => format!("ended by {name}"),
        Outcome::TimedOut => "timed out".to_owned(),
        Outcome::OutOfMemory => "out of memory".to_owned(),
        Outcome::LimitExceeded { limit } => format!("limit {limit} exceeded"),
        Outcome::Cancelled => "cancelled".to_owned(),
        Outcome::SetupFailed { step, reason } => format!("set-up failed at {step}: {reason}"),
        Outcome::Lost { reason } => format!("lost: {reason}"),
    }
}

/// An execution of an earlier daemon was taken over.
pub fn adopted(execution: &Execution) {
    tracing::info!(
        message_id = ADOPTED,
        execution_id = %execution.id,
        session_id = %execution.session,
        owner_uid = execution.owner_uid,
        policy = execution.policy.name,
        "execution {} was taken over",
        execution.id,
    );
}

/// An execution was paused, or goes on.
pub fn paused(execution: &Execution, is_paused: bool) {
    tracing::info!(
        execution_id = %execution.id,
        session_id = %execution.session,
        owner_uid = execution.owner_uid,
        policy = execution.policy.name,
        "execution {} {}",
        execution.id,
        if is_paused { "is paused" } else { "goes on" },
    );
}

/// Configuration and policies were read anew.
pub fn reloaded(generation: &Generation) {
    let policies = generation.policy_names().join(", ");
    tracing::info!(
        message_id = RELOADED,
        generation = generation.number,
        "generation {} of configuration and policies is in force: {policies}",
        generation.number,
    );
}

/// Configuration and policies were read anew and can't be used.
pub fn not_reloaded(in_force: u64, reason: &str) {
    tracing::error!(
        message_id = NOT_RELOADED,
        generation = in_force,
        "generation {in_force} of configuration and policies stays in force: {reason}",
    );
}

/// The launcher is gone.
pub fn launcher_gone() {
    tracing::error!(message_id = LAUNCHER_GONE, "the launcher is gone, and every sandbox with it");
}

#[cfg(test)]
mod tests {
    use super::*;

    const CATALOG: &str = include_str!("../../systemd/messages.catalog");

    #[test]
    fn every_event_is_in_the_catalog_and_nothing_else_is() {
        let known =
            [SUBMITTED, REFUSED, FINISHED, LIMITED, ADOPTED, RELOADED, NOT_RELOADED, LAUNCHER_GONE];
        let there: Vec<&str> =
            CATALOG.lines().filter_map(|line| line.strip_prefix("-- ")).collect();
        assert_eq!(there, known);
    }

    #[test]
    fn a_refusal_names_the_field_of_the_policy_or_the_missing_control() {
        let above = ApiError::new(ErrorCode::PolicyDenied, "").with_field("limits.memory_max");
        assert_eq!(rule(&above), "limits.memory_max");
        assert_eq!(rule(&ApiError::new(ErrorCode::Busy, "")), "busy");
        let missing = ApiError::new(ErrorCode::ControlMissing, "").with_field("policy");
        assert_eq!(rule(&missing), "requires.controls");
    }
}
