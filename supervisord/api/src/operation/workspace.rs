//! The operations that follow a session's workspace and copy it.

use super::session::{ID, OPERATION};
use super::{Method, Operation, Parameter, Place};
use crate::NDJSON;

pub(super) const WATCH: Operation = Operation {
    id: "watch_files",
    path: "/v1/sessions/{id}/watch",
    summary: "Changes in the workspace as they happen, as NDJSON of FileChange, until the caller goes or the session ends.",
    parameters: &[
        ID,
        Parameter {
            name: "since",
            place: Place::Query,
            schema: r#"{"type": "integer", "minimum": 0}"#,
            description: "Go on after the change of this number; from now on if left out.",
        },
    ],
    media_type: NDJSON,
    ..OPERATION
};

pub(super) const SNAPSHOT: Operation = Operation {
    id: "create_snapshot",
    method: Method::Post,
    path: "/v1/sessions/{id}/snapshots",
    summary: "Keep a copy of the workspace, as a session in which nothing runs or changes; what runs in the session has to be paused.",
    request: Some("CreateSnapshot"),
    success: 201,
    response: Some("Session"),
    ..OPERATION
};

pub(super) const SNAPSHOTS: Operation = Operation {
    id: "list_snapshots",
    path: "/v1/sessions/{id}/snapshots",
    summary: "The snapshots of a session, newest first.",
    response: Some("SessionList"),
    ..OPERATION
};
