//! The operations on what executions changed.

use super::{ID, JSON, Method, Operation};

const OPERATION: Operation = Operation {
    id: "",
    method: Method::Get,
    path: "",
    summary: "",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("ChangeSet"),
};

pub(super) const CHANGES: Operation = Operation {
    id: "changes",
    path: "/v1/executions/{id}/changes",
    summary: "What an execution changed in its workspace, once it has finished; of one that was submitted with `changes`.",
    ..OPERATION
};

pub(super) const APPLY: Operation = Operation {
    id: "apply_changes",
    method: Method::Post,
    path: "/v1/executions/{id}/changes/apply",
    summary: "Apply changes that are held back to the session, all or none; refused by name where a file of the session has changed meanwhile.",
    ..OPERATION
};

pub(super) const DISCARD: Operation = Operation {
    id: "discard_changes",
    method: Method::Post,
    path: "/v1/executions/{id}/changes/discard",
    summary: "Discard changes that are held back, with the copy that holds them.",
    ..OPERATION
};
