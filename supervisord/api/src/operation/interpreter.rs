//! The operations on interpreters and their cells.

use super::{JSON, Method, Operation, Parameter, Place};

const SESSION: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/SessionId"}"##,
    description: "The session's id.",
};

const INTERPRETER: Parameter = Parameter {
    name: "interpreter",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/ExecutionId"}"##,
    description: "The interpreter's id.",
};

const NUMBER: Parameter = Parameter {
    name: "number",
    place: Place::Path,
    schema: r#"{"type": "integer", "minimum": 1}"#,
    description: "The cell's number.",
};

const OPERATION: Operation = Operation {
    id: "",
    method: Method::Get,
    path: "",
    summary: "",
    parameters: &[SESSION, INTERPRETER],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Interpreter"),
};

pub(super) const CREATE: Operation = Operation {
    id: "create_interpreter",
    method: Method::Post,
    path: "/v1/sessions/{id}/interpreters",
    summary: "Start an interpreter in a session: an execution that stays and takes cells.",
    parameters: &[SESSION],
    request: Some("CreateInterpreter"),
    success: 201,
    ..OPERATION
};

pub(super) const LIST: Operation = Operation {
    id: "list_interpreters",
    path: "/v1/sessions/{id}/interpreters",
    summary: "The interpreters of a session, oldest first.",
    parameters: &[SESSION],
    response: Some("InterpreterList"),
    ..OPERATION
};

pub(super) const SHOW: Operation = Operation {
    id: "interpreter",
    path: "/v1/sessions/{id}/interpreters/{interpreter}",
    summary: "One interpreter.",
    ..OPERATION
};

pub(super) const CLOSE: Operation = Operation {
    id: "close_interpreter",
    method: Method::Delete,
    path: "/v1/sessions/{id}/interpreters/{interpreter}",
    summary: "End an interpreter; the answer comes when nothing of it runs any more.",
    ..OPERATION
};

pub(super) const INTERRUPT: Operation = Operation {
    id: "interrupt_interpreter",
    method: Method::Post,
    path: "/v1/sessions/{id}/interpreters/{interpreter}/interrupt",
    summary: "Interrupt the cell that runs; variables stay, and those that wait go on.",
    ..OPERATION
};

pub(super) const RUN: Operation = Operation {
    id: "run_cell",
    method: Method::Post,
    path: "/v1/sessions/{id}/interpreters/{interpreter}/cells",
    summary: "Give an interpreter a cell, which runs after those before it.",
    request: Some("RunCell"),
    success: 201,
    response: Some("Cell"),
    ..OPERATION
};

pub(super) const CELLS: Operation = Operation {
    id: "list_cells",
    path: "/v1/sessions/{id}/interpreters/{interpreter}/cells",
    summary: "The last cells of an interpreter, oldest first.",
    response: Some("CellList"),
    ..OPERATION
};

pub(super) const CELL: Operation = Operation {
    id: "cell",
    path: "/v1/sessions/{id}/interpreters/{interpreter}/cells/{number}",
    summary: "One cell; with `wait`, once it has ended or the time is up.",
    parameters: &[
        SESSION,
        INTERPRETER,
        NUMBER,
        Parameter {
            name: "wait",
            place: Place::Query,
            schema: r#"{"type": "integer", "minimum": 0, "maximum": 60, "default": 0}"#,
            description: "Seconds to wait for the end at the most.",
        },
    ],
    response: Some("Cell"),
    ..OPERATION
};
