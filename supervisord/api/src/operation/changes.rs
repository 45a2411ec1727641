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
