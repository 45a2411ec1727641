//! The operations that pause executions and let them go on.

use super::{ID, JSON, Method, Operation, Parameter, Place, session};

const RECLAIM: Parameter = Parameter {
    name: "reclaim",
    place: Place::Query,
    schema: r#"{"type": "boolean", "default": false}"#,
    description: "Give memory back as well; refused where the host has no memory controller.",
};

const OPERATION: Operation = Operation {
    id: "",
    method: Method::Post,
    path: "",
    summary: "",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Execution"),
};

pub(super) const PAUSE: Operation = Operation {
    id: "pause",
    path: "/v1/executions/{id}/pause",
    summary: "Freeze an execution and stop its wall time; after 24 hours it goes on by itself.",
    parameters: &[ID, RECLAIM],
    ..OPERATION
};

pub(super) const RESUME: Operation = Operation {
    id: "resume",
    path: "/v1/executions/{id}/resume",
    summary: "Let an execution that is paused go on.",
    ..OPERATION
};

pub(super) const PAUSE_SESSION: Operation = Operation {
    id: "pause_session",
    path: "/v1/sessions/{id}/pause",
    summary: "Pause all executions that run in a session; the answer has those.",
    parameters: &[session::ID, RECLAIM],
    response: Some("ExecutionList"),
    ..OPERATION
};

pub(super) const RESUME_SESSION: Operation = Operation {
    id: "resume_session",
    path: "/v1/sessions/{id}/resume",
    summary: "Let all executions that are paused in a session go on; the answer has those.",
    parameters: &[session::ID],
    response: Some("ExecutionList"),
    ..OPERATION
};
