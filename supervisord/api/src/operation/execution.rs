//! The operations on executions.

use super::{ID, JSON, Method, Operation, Parameter, Place, audit};

pub(super) const SUBMIT: Operation = Operation {
    id: "submit",
    method: Method::Post,
    path: "/v1/executions",
    summary: "Run a payload in a fresh sandbox.",
    parameters: &[],
    request: Some("SubmitRequest"),
    success: 201,
    media_type: JSON,
    response: Some("Execution"),
};

pub(super) const LIST: Operation = Operation {
    id: "list",
    method: Method::Get,
    path: "/v1/executions",
    summary: "The caller's executions, newest first.",
    parameters: &[
        Parameter {
            name: "limit",
            place: Place::Query,
            schema: r#"{"type": "integer", "minimum": 1, "maximum": 200, "default": 50}"#,
            description: "Executions a page.",
        },
        Parameter {
            name: "after",
            place: Place::Query,
            schema: r##"{"$ref": "#/components/schemas/ExecutionId"}"##,
            description: "The last id of the page before.",
        },
        Parameter {
            name: "state",
            place: Place::Query,
            schema: r##"{"$ref": "#/components/schemas/State"}"##,
            description: "Only executions in this state.",
        },
        Parameter {
            name: "all",
            place: Place::Query,
            schema: r#"{"type": "boolean", "default": false}"#,
            description: "Everybody's executions; administrators only.",
        },
    ],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("ExecutionList"),
};

pub(super) const STATUS: Operation = Operation {
    id: "status",
    method: Method::Get,
    path: "/v1/executions/{id}",
    summary: "One execution; with `wait`, once it has finished or the time is up.",
    parameters: &[
        ID,
        Parameter {
            name: "wait",
            place: Place::Query,
            schema: r#"{"type": "integer", "minimum": 0, "maximum": 60, "default": 0}"#,
            description: "Seconds to wait for the end at the most.",
        },
    ],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Execution"),
};

pub(super) const OUTPUT: Operation = Operation {
    id: "output",
    method: Method::Get,
    path: "/v1/executions/{id}/output",
    summary: "Output from an offset: the bytes of one stream, or both as NDJSON of OutputChunk.",
    parameters: &[
        ID,
        Parameter {
            name: "stream",
            place: Place::Query,
            schema: r#"{"enum": ["stdout", "stderr", "both"], "default": "both"}"#,
            description: "Which stream.",
        },
        Parameter {
            name: "offset",
            place: Place::Query,
            schema: r#"{"type": "integer", "minimum": 0, "default": 0}"#,
            description: "Bytes to pass over, counted over what the answer holds.",
        },
        Parameter {
            name: "follow",
            place: Place::Query,
            schema: r#"{"type": "boolean", "default": false}"#,
            description: "Go on until the execution has finished.",
        },
    ],
    request: None,
    success: 200,
    media_type: "*/*",
    response: None,
};

pub(super) const CANCEL: Operation = Operation {
    id: "cancel",
    method: Method::Post,
    path: "/v1/executions/{id}/cancel",
    summary: "End an execution; the answer comes when nothing of it runs any more.",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Execution"),
};

pub(super) const REMOVE: Operation = Operation {
    id: "remove",
    method: Method::Delete,
    path: "/v1/executions/{id}",
    summary: "Remove a finished execution with all that is kept of it: record, output and artifacts. The audit log stays as it is.",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Execution"),
};

pub(super) const ARTIFACTS: Operation = Operation {
    id: "artifacts",
    method: Method::Get,
    path: "/v1/executions/{id}/artifacts",
    summary: "The artifacts of a finished execution.",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("ArtifactList"),
};

pub(super) const ARTIFACT: Operation = Operation {
    id: "artifact",
    method: Method::Get,
    path: "/v1/executions/{id}/artifacts/{*path}",
    summary: "The bytes of one artifact, or the part that a Range field asks for.",
    parameters: &[
        ID,
        Parameter {
            name: "path",
            place: Place::Path,
            schema: r#"{"type": "string"}"#,
            description: "The artifact's path, percent-encoded.",
        },
    ],
    request: None,
    success: 200,
    media_type: "*/*",
    response: None,
};

pub(super) const SAMPLES: Operation = Operation {
    id: "samples",
    method: Method::Get,
    path: "/v1/executions/{id}/samples",
    summary: "What an execution has used over time: CPU time, memory, processes and disks, in 240 samples at the most.",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("SampleList"),
};

pub(super) const RECEIPT: Operation = Operation {
    id: "receipt",
    method: Method::Get,
    path: "/v1/executions/{id}/receipt",
    summary: "A signed statement about a finished execution: an in-toto statement in a DSSE envelope.",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Envelope"),
};

pub(super) const DECISIONS: Operation = Operation {
    id: "decisions",
    method: Method::Get,
    path: "/v1/executions/{id}/decisions",
    summary: "What was decided about an execution, by which rule, and what would have changed it.",
    parameters: &[ID, audit::AFTER_RECORD, audit::RECORDS],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("AuditPage"),
};
