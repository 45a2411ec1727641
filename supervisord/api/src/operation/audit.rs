//! The operations that read the audit log.

use super::{JSON, Method, Operation, Parameter, Place};

/// A condition that a list's entries have to meet.
const fn about(name: &'static str, schema: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, schema, description }
}

/// Every kind of record; a test compares it with the records' own list.
const KINDS: &str = r#"{"enum": ["start", "stop", "submission", "outcome", "limit", "syscall", "cancellation",
    "administration", "recovery", "egress", "dns", "credential", "budget", "approval", "checkpoint", "repair",
    "removal", "retirement", "suspension", "suppression"]}"#;

pub(super) const AFTER_RECORD: Parameter = Parameter {
    name: "after",
    place: Place::Query,
    schema: r#"{"type": "integer", "minimum": 0, "default": 0}"#,
    description: "Only records after this number.",
};

pub(super) const RECORDS: Parameter = Parameter {
    name: "limit",
    place: Place::Query,
    schema: r#"{"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}"#,
    description: "Records a page.",
};

pub(super) const AUDIT: Operation = Operation {
    id: "audit",
    method: Method::Get,
    path: "/v1/audit",
    summary: "Records of the audit log, oldest first; administrators see all, others their own.",
    parameters: &[
        about("session", r##"{"$ref": "#/components/schemas/SessionId"}"##, "About this session."),
        about(
            "execution",
            r##"{"$ref": "#/components/schemas/ExecutionId"}"##,
            "About this execution.",
        ),
        about("uid", r#"{"type": "integer", "minimum": 0}"#, "About what this uid owns."),
        about("kind", KINDS, "Of this kind."),
        about("verdict", r##"{"$ref": "#/components/schemas/Verdict"}"##, "With this verdict."),
        about("rule", r#"{"type": "string"}"#, "By a rule whose text holds this, percent-encoded."),
        about("host", r#"{"type": "string"}"#, "About this host."),
        about("credential", r#"{"type": "string"}"#, "About this credential, by name."),
        about(
            "since",
            r#"{"type": "string"}"#,
            "Not before this time: RFC 3339, or in UTC its beginning (2026, 2026-01, 2026-01-31, to the second).",
        ),
        about("until", r#"{"type": "string"}"#, "Before this time, in the same forms."),
        AFTER_RECORD,
        RECORDS,
    ],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("AuditPage"),
};

pub(super) const AUDIT_KEY: Operation = Operation {
    id: "audit_key",
    method: Method::Get,
    path: "/v1/audit/key",
    summary: "The key that the audit log's checkpoints are checked with.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("AuditKey"),
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds;

    #[test]
    fn a_search_may_be_for_every_kind_of_record_and_no_other() {
        let schema: serde_json::Value = serde_json::from_str(KINDS).expect("JSON");
        assert_eq!(schema["enum"], serde_json::json!(kinds()));
    }
}
