//! The operations on what goes to a payload while it runs.

use super::{ID, JSON, Method, Operation, Parameter, Place, RAW_BODY};

const OPERATION: Operation = Operation {
    id: "",
    method: Method::Post,
    path: "",
    summary: "",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("InputState"),
};

pub(super) const INPUT: Operation = Operation {
    id: "input",
    method: Method::Get,
    path: "/v1/executions/{id}/stdin",
    summary: "How far the standard input of an execution that takes more has come.",
    ..OPERATION
};

pub(super) const SEND: Operation = Operation {
    id: "send_input",
    path: "/v1/executions/{id}/stdin",
    summary: "Send bytes to a payload's standard input. A payload that doesn't read them has the answer wait some seconds, and `offset` in it says how much was taken.",
    parameters: &[
        ID,
        Parameter {
            name: "offset",
            place: Place::Query,
            schema: r#"{"type": "integer", "minimum": 0}"#,
            description: "Where the first of them stands in all that is sent: bytes that arrived before are passed over, so that a repeated call adds nothing twice. If left out, they come after all that arrived.",
        },
    ],
    request: Some(RAW_BODY),
    ..OPERATION
};

pub(super) const CLOSE: Operation = Operation {
    id: "close_input",
    path: "/v1/executions/{id}/stdin/close",
    summary: "End a payload's standard input after all that was sent.",
    parameters: &[
        ID,
        Parameter {
            name: "offset",
            place: Place::Query,
            schema: r#"{"type": "integer", "minimum": 0}"#,
            description: "Refuse it unless exactly so many bytes have arrived.",
        },
    ],
    ..OPERATION
};

pub(super) const RESIZE: Operation = Operation {
    id: "resize_terminal",
    path: "/v1/executions/{id}/terminal",
    summary: "Set the size of a payload's terminal, of which whoever is in its foreground is told (SIGWINCH).",
    request: Some("TerminalSize"),
    response: Some("TerminalSize"),
    ..OPERATION
};
