//! What the supervisor does, as events.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use supervisor_api::{
    Administration, ApiError, ArtifactList, AuditEvent, DeniedCall, Ended, Execution, ExecutionId,
    HeadState, Limit, LimitHit, Mode, Outcome, Recovery, Retirement, Ruling, Start, StreamSummary,
    Subject, Submission, Verdict, What,
};
use supervisor_policy::{PolicySet, Resolved};

use crate::workspace::{MAX_DEPTH, MAX_LOOKED_AT, MAX_PATH_BYTES, NO_ROOM, TOO_DEEP};

/// The daemon begins to serve.
pub fn start(policies: &PolicySet, mode: Mode, key: String, head: HeadState) -> AuditEvent {
    let digests: BTreeMap<String, String> =
        policies.iter().map(|policy| (policy.name().to_owned(), digest(policy))).collect();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    What::Start(Start { version, mode, policies: digests, key, head }).about_nobody()
}

/// Whom an execution is about.
pub fn subject(execution: &Execution) -> Subject {
    Subject {
        session: Some(execution.session),
        execution: Some(execution.id),
        uid: Some(execution.owner_uid),
    }
}

/// A submission is accepted.
pub fn accepted(execution: &Execution) -> AuditEvent {
    let policy = Some(execution.policy.name.clone());
    let ruling = Ruling { policy, ..Ruling::new(Verdict::Allow, "accepted") };
    let submission = Submission {
        ruling,
        program: execution.argv.first().cloned(),
        field: None,
        policy_digest: Some(execution.policy.digest.clone()),
        image: execution.image.as_ref().map(|image| image.digest.clone()),
    };
    What::Submission(submission).about(subject(execution))
}

/// A submission is refused.
pub fn refused(
    whom: Subject,
    policy: &str,
    program: Option<String>,
    error: &ApiError,
) -> AuditEvent {
    let ruling = Ruling {
        policy: Some(policy.to_owned()),
        rule: rule_in(&error.detail),
        cause: Some(error.detail.clone()),
        remedy: error.hint.clone(),
        ..Ruling::new(Verdict::Deny, error.code.name())
    };
    let field = error.field.clone();
    What::Submission(Submission { ruling, program, field, policy_digest: None, image: None })
        .about(whom)
}

/// An execution has ended.
pub fn ended(execution: &Execution, outcome: &Outcome) -> AuditEvent {
    let weaker = execution.controls.iter().filter(|line| line.status.falls_short());
    let ended = Ended {
        outcome: outcome.clone(),
        wall_ms: execution.usage.wall_ms,
        cpu_ms: execution.usage.cpu_ms,
        start: execution.start,
        weaker: weaker.map(|line| line.control.clone()).collect(),
    };
    What::Outcome(ended).about(subject(execution))
}

/// Somebody wants an execution ended.
pub fn cancellation(execution: &Execution, by: u32) -> AuditEvent {
    let act = Administration { act: "cancel".to_owned(), by: Some(by), object: None };
    What::Cancellation(act).about(subject(execution))
}

/// An administrator does something to somebody else's execution.
pub fn administration(execution: &Execution, act: &str, by: u32) -> AuditEvent {
    let act = Administration { act: act.to_owned(), by: Some(by), object: None };
    What::Administration(act).about(subject(execution))
}

/// The oldest finished executions of an owner are about to go: of `of` there is more than `most`.
pub fn retirement(owner: u32, executions: Vec<ExecutionId>, of: &str, most: u64) -> AuditEvent {
    let whom = Subject { uid: Some(owner), ..Subject::default() };
    What::Retirement(Retirement { executions, of: of.to_owned(), most }).about(whom)
}

/// A start takes over an execution.
pub fn recovery(whom: Subject, act: &str, cause: Option<&str>) -> AuditEvent {
    let (act, cause) = (act.to_owned(), cause.map(str::to_owned));
    What::Recovery(Recovery { act, cause }).about(whom)
}

/// The limits that an execution reached, each with the line of the policy that set it. What was asked
/// for below the policy's maximum could have been more; the remedy says how much.
pub fn limits_hit(
    execution: &Execution,
    outcome: &Outcome,
    artifacts: &ArtifactList,
    policy: Option<&Resolved>,
    reserve: u64,
) -> Vec<AuditEvent> {
    let mut hits: Vec<(Limit, &str, Option<u64>)> = Vec::new();
    match outcome {
        Outcome::TimedOut => hits.push((Limit::WallTime, "ended the execution", None)),
        Outcome::OutOfMemory => hits.push((Limit::MemoryMax, "ended the execution", None)),
        Outcome::LimitExceeded { limit } => hits.push((*limit, "ended the execution", None)),
        _ => {}
    }
    if let Some(forks) = execution.usage.pids_refused.filter(|forks| *forks > 0) {
        hits.push((Limit::PidsMax, "refused new processes", Some(forks)));
    }
    let output = &execution.output;
    let is_short = |stream: &StreamSummary| stream.kept < execution.limits.output_bytes;
    let streams = [output.stdout, output.stderr];
    let cut: u64 = streams.iter().filter(|stream| !is_short(stream)).map(|it| it.cut).sum();
    let lost: u64 = streams.iter().filter(|stream| is_short(stream)).map(|it| it.cut).sum();
    if cut > 0 {
        hits.push((Limit::OutputBytes, "cut the output", Some(cut)));
    }
    let refused = |reason: &str| artifacts.refused.iter().any(|one| one.reason == reason);
    let left_out = |limit: Limit| refused(limit.name());
    let is_cut = execution.artifacts_truncated;
    let bytes = is_cut && left_out(Limit::ArtifactBytes);
    let all = execution.artifact_count >= execution.limits.artifact_count;
    let count = is_cut && (all || left_out(Limit::ArtifactCount));
    if bytes {
        hits.push((Limit::ArtifactBytes, "left artifacts out", None));
    }
    if count {
        hits.push((Limit::ArtifactCount, "left artifacts out", None));
    }
    let event = |(limit, what, refused): (Limit, &str, Option<u64>)| {
        let value = execution.limits.get(limit);
        let ruling = Ruling {
            policy: Some(execution.policy.name.clone()),
            rule: policy.and_then(|policy| rule_of(policy, limit, value)),
            cause: Some(format!("{limit} {what}: it was {value}")),
            remedy: policy.and_then(|policy| remedy_of(policy, limit, value)),
            ..Ruling::new(Verdict::Deny, limit.name())
        };
        let hit = LimitHit { ruling, limit: limit.name().to_owned(), value, refused };
        What::Limit(hit).about(subject(execution))
    };
    let no_room = refused(NO_ROOM);
    let room = (lost > 0 || no_room).then(|| room_of_the_state(execution, lost, reserve));
    let bound = is_cut && !bytes && !count && !no_room;
    let bound = bound.then(|| bound_of_collecting(execution, artifacts));
    hits.into_iter().map(event).chain(room).chain(bound).collect()
}

/// Output was cut or artifacts were left out because the file system of the state had no more room for them.
fn room_of_the_state(execution: &Execution, cut: u64, reserve: u64) -> AuditEvent {
    let cause =
        "the state directory's file system had no more room than is left to records".to_owned();
    let remedy = "make room on it, or remove executions that have finished; then run it again";
    let ruling = Ruling {
        policy: Some(execution.policy.name.clone()),
        cause: Some(cause),
        remedy: Some(remedy.to_owned()),
        ..Ruling::new(Verdict::Deny, NO_ROOM)
    };
    let refused = (cut > 0).then_some(cut);
    let hit = LimitHit { ruling, limit: NO_ROOM.to_owned(), value: reserve, refused };
    What::Limit(hit).about(subject(execution))
}

/// Artifacts were left out, and no limit of the policy is the reason.
fn bound_of_collecting(execution: &Execution, artifacts: &ArtifactList) -> AuditEvent {
    let is_deep = artifacts.refused.iter().any(|one| one.reason == TOO_DEEP);
    let (limit, value, cause, remedy) = if is_deep {
        let cause = format!("a path has more than {MAX_DEPTH} parts or {MAX_PATH_BYTES} bytes");
        (TOO_DEEP, MAX_DEPTH as u64, cause, "have the payload leave it less deep")
    } else {
        let cause = format!(
            "what is looked at for artifacts ends after {MAX_LOOKED_AT} names or half a minute, and a hundred that are \
             not kept are listed; where collecting failed, the daemon's journal says so"
        );
        ("artifact_search", MAX_LOOKED_AT, cause, "ask for less, with globs that say more")
    };
    let ruling = Ruling {
        policy: Some(execution.policy.name.clone()),
        cause: Some(cause),
        remedy: Some(remedy.to_owned()),
        ..Ruling::new(Verdict::Deny, limit)
    };
    let hit = LimitHit { ruling, limit: limit.to_owned(), value, refused: None };
    What::Limit(hit).about(subject(execution))
}

/// The filter of system calls ended the payload's first process. The signal is all that a parent is
/// told, so a program that sends it to itself has this record too, which says so.
pub fn call_denied(
    execution: &Execution,
    outcome: &Outcome,
    policy: Option<&Resolved>,
) -> Option<AuditEvent> {
    let Outcome::Signaled { signal, .. } = outcome else { return None };
    if i32::from(*signal) != nix::libc::SIGSYS {
        return None;
    }
    let profile = policy.map(|policy| policy.profile().as_str().to_owned());
    let cause = "its first process was ended by SIGSYS, with which the filter ends whoever calls the \
                 kernel as a 32-bit or x32 program does, unless it sent itself that signal; which \
                 call it was the kernel does not tell";
    let rule = |policy: &Resolved| {
        format!("syscalls.profile = {:?} of {}", policy.profile().as_str(), policy.profile_origin())
    };
    let ruling = Ruling {
        policy: Some(execution.policy.name.clone()),
        rule: policy.map(rule),
        cause: Some(cause.to_owned()),
        remedy: Some("Run a 64-bit program; no profile allows these calls.".to_owned()),
        ..Ruling::new(Verdict::Deny, "killed_by_filter")
    };
    Some(What::Syscall(DeniedCall { ruling, profile }).about(subject(execution)))
}

/// Which line set this value: the default, or the caller within the maximum.
fn rule_of(policy: &Resolved, limit: Limit, value: u64) -> Option<String> {
    let limit = supervisor_policy::Limit::from_name(limit.name())?;
    if policy.defaults().get(limit) == value {
        return Some(format!("limits.{} of {}", limit.name(), policy.limit_origin(limit, false)));
    }
    let most = policy.limit_origin(limit, true);
    Some(format!("limits.{} as submitted, within limits.max of {most}", limit.name()))
}

fn remedy_of(policy: &Resolved, limit: Limit, value: u64) -> Option<String> {
    let limit = supervisor_policy::Limit::from_name(limit.name())?;
    let most = policy.maximum().get(limit);
    let (name, origin) = (limit.name(), policy.limit_origin(limit, true));
    Some(if limit.exceeds(most, value) {
        format!("submit with a larger {name}: {} is the most ({origin})", limit.show(most))
    } else {
        format!("have {name} raised above {} in {origin}", limit.show(most))
    })
}

/// The rule in a refusal's sentence, which a policy's ends with: `limits.max of X (file:line)`.
fn rule_in(detail: &str) -> Option<String> {
    let (_, rule) = detail.rsplit_once(": ")?;
    (rule.ends_with(')') && rule.starts_with("limits")).then(|| rule.to_owned())
}

fn digest(policy: &Resolved) -> String {
    let digest = Sha256::digest(policy.canonical().as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
