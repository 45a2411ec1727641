//! One of each thing that there is to ask for.

use supervisor_api::{
    Approval, ApprovalId, Artifact, AuditRecord, ControlReport, ControlStatus, Credential,
    CredentialState, Execution, Inputs, Limit, Limits, Outcome, OutputSummary, PolicyReference,
    SessionId, State, UniqueMap, Usage,
};

use super::super::OWNER;
use super::{ARTIFACT, KNOWN};

pub fn approval() -> Approval {
    serde_json::from_value(serde_json::json!({
        "id": ApprovalId::from_bits(5), "state": "waiting", "execution": KNOWN,
        "session": SessionId::from_bits(8), "owner_uid": OWNER, "policy": "p", "rule": "r (p.toml:3)",
        "request": {"protocol": "https", "host": "a.example", "port": 443, "method": "POST",
            "path": "/", "body": 3},
        "digest": "ab".repeat(32), "asked_at": "2026-01-01T00:00:00Z",
        "deadline": "2026-01-01T00:01:00Z", "left": 0,
    }))
    .expect("an approval")
}

pub fn record() -> AuditRecord {
    serde_json::from_value(serde_json::json!({
        "seq": 7, "time": "2026-01-01T00:00:00.000000Z", "kind": "limit", "verdict": "deny",
        "reason": "wall_time", "limit": "wall_time", "value": 1, "execution": KNOWN,
        "prev": "ab".repeat(32), "hash": "cd".repeat(32),
    }))
    .expect("a record")
}

pub fn credential() -> Credential {
    Credential {
        name: "forge".into(),
        kind: "oauth2".into(),
        hosts: vec!["api.example.com".into()],
        state: CredentialState::Failed,
        reason: Some("no answer".into()),
        expires_in_seconds: None,
    }
}

pub fn artifact() -> Artifact {
    Artifact {
        path: "out/plot one.png".into(),
        size: ARTIFACT.len() as u64,
        sha256: "ab".repeat(32),
        media_type: "image/png".into(),
    }
}

pub fn control() -> ControlReport {
    ControlReport {
        control: "memory_max".into(),
        status: ControlStatus::Weaker,
        by: "rlimit".into(),
        reason: Some("no memory controller".into()),
        remedy: None,
    }
}

pub fn limits() -> Limits {
    let mut limits = serde_json::Map::new();
    for limit in Limit::ALL {
        limits.insert(limit.name().to_owned(), 1.into());
    }
    serde_json::from_value(limits.into()).expect("every limit")
}

pub fn execution(state: State) -> Execution {
    let finished = state == State::Finished;
    Execution {
        id: KNOWN,
        session: SessionId::from_bits(8),
        owner_uid: OWNER,
        state,
        queue_position: None,
        outcome: finished.then_some(Outcome::Exited { code: 3 }),
        argv: vec!["true".into()],
        language: None,
        labels: UniqueMap::default(),
        stdin_open: false,
        terminal: false,
        policy: PolicyReference { name: "default".into(), digest: "cd".repeat(32) },
        image: None,
        limits: limits(),
        created_at: "2026-01-01T00:00:00Z".into(),
        started_at: finished.then(|| "2026-01-01T00:00:01Z".into()),
        paused_at: None,
        start: None,
        finished_at: finished.then(|| "2026-01-01T00:00:02Z".into()),
        usage: Usage::default(),
        output: OutputSummary::default(),
        artifact_count: 1,
        artifacts_truncated: false,
        kept_bytes: None,
        changes: None,
        controls: vec![control()],
        waits_for: Vec::new(),
        inputs: Inputs::default(),
    }
}
