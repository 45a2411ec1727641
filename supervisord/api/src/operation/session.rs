//! The operations on sessions and their files.

use super::{JSON, Method, Operation, Parameter, Place, RAW_BODY};

pub(super) const ID: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/SessionId"}"##,
    description: "The session's id.",
};

const PATH: Parameter = Parameter {
    name: "path",
    place: Place::Path,
    schema: r#"{"type": "string"}"#,
    description: "A path relative to the workspace, percent-encoded: no `.`, `..` or empty component.",
};

pub(super) const OPERATION: Operation = Operation {
    id: "",
    method: Method::Get,
    path: "",
    summary: "",
    parameters: &[ID],
    request: None,
    success: 200,
    media_type: JSON,
    response: None,
};

pub(super) const CREATE: Operation = Operation {
    id: "create_session",
    method: Method::Post,
    path: "/v1/sessions",
    summary: "Make a session with a workspace on disk that outlives its executions.",
    parameters: &[],
    request: Some("CreateSession"),
    success: 201,
    response: Some("Session"),
    ..OPERATION
};

pub(super) const LIST: Operation = Operation {
    id: "list_sessions",
    path: "/v1/sessions",
    summary: "The caller's sessions, newest first.",
    parameters: &[Parameter {
        name: "all",
        place: Place::Query,
        schema: r#"{"type": "boolean", "default": false}"#,
        description: "Everybody's sessions; administrators only.",
    }],
    response: Some("SessionList"),
    ..OPERATION
};

pub(super) const SHOW: Operation = Operation {
    id: "session",
    path: "/v1/sessions/{id}",
    summary: "One session.",
    response: Some("Session"),
    ..OPERATION
};

pub(super) const EXTEND: Operation = Operation {
    id: "extend_session",
    method: Method::Post,
    path: "/v1/sessions/{id}/extend",
    summary: "Let a session live on.",
    request: Some("ExtendSession"),
    response: Some("Session"),
    ..OPERATION
};

pub(super) const CLOSE: Operation = Operation {
    id: "close_session",
    method: Method::Delete,
    path: "/v1/sessions/{id}",
    summary: "End what runs in a session and remove its workspace; the answer comes when nothing is left.",
    response: Some("Session"),
    ..OPERATION
};

const AFTER: Parameter = Parameter {
    name: "after",
    place: Place::Query,
    schema: r#"{"type": "string"}"#,
    description: "Only entries whose names come after this one, percent-encoded.",
};

const LIMIT: Parameter = Parameter {
    name: "limit",
    place: Place::Query,
    schema: r#"{"type": "integer", "minimum": 1, "maximum": 10000, "default": 10000}"#,
    description: "Entries a page.",
};

pub(super) const TREE: Operation = Operation {
    id: "list_root",
    path: "/v1/sessions/{id}/tree",
    summary: "What the workspace's root directory holds, by name.",
    parameters: &[ID, AFTER, LIMIT],
    response: Some("FileList"),
    ..OPERATION
};

pub(super) const SUBTREE: Operation = Operation {
    id: "list_directory",
    path: "/v1/sessions/{id}/tree/{*path}",
    summary: "What a directory of the workspace holds, by name.",
    parameters: &[ID, PATH, AFTER, LIMIT],
    response: Some("FileList"),
    ..OPERATION
};

pub(super) const STAT: Operation = Operation {
    id: "stat_file",
    path: "/v1/sessions/{id}/stat/{*path}",
    summary: "What stands at a path of the workspace; links are not followed.",
    parameters: &[ID, PATH],
    response: Some("FileEntry"),
    ..OPERATION
};

pub(super) const READ: Operation = Operation {
    id: "read_file",
    path: "/v1/sessions/{id}/files/{*path}",
    summary: "The bytes of a file of the workspace, or the part that a Range field asks for.",
    parameters: &[ID, PATH],
    media_type: "application/octet-stream",
    ..OPERATION
};

pub(super) const WRITE: Operation = Operation {
    id: "write_file",
    method: Method::Put,
    path: "/v1/sessions/{id}/files/{*path}",
    summary: "Write a file; it takes the place of what stands there when all of it has arrived.",
    parameters: &[
        ID,
        PATH,
        Parameter {
            name: "executable",
            place: Place::Query,
            schema: r#"{"type": "boolean", "default": false}"#,
            description: "Whether a payload may execute it.",
        },
    ],
    request: Some(RAW_BODY),
    response: Some("FileEntry"),
    ..OPERATION
};

pub(super) const REMOVE: Operation = Operation {
    id: "remove_file",
    method: Method::Delete,
    path: "/v1/sessions/{id}/files/{*path}",
    summary: "Remove a file, a link, or a directory.",
    parameters: &[
        ID,
        PATH,
        Parameter {
            name: "recursive",
            place: Place::Query,
            schema: r#"{"type": "boolean", "default": false}"#,
            description: "Remove a directory with all that it holds.",
        },
    ],
    response: Some("FileEntry"),
    ..OPERATION
};

pub(super) const MAKE_DIRECTORY: Operation = Operation {
    id: "make_directory",
    method: Method::Post,
    path: "/v1/sessions/{id}/directories",
    summary: "Make a directory, and those that lead to it.",
    request: Some("MakeDirectory"),
    response: Some("FileEntry"),
    ..OPERATION
};

pub(super) const MOVE: Operation = Operation {
    id: "move_file",
    method: Method::Post,
    path: "/v1/sessions/{id}/move",
    summary: "Move a file or link within the workspace, or a directory within the one that it is in.",
    request: Some("MoveFile"),
    response: Some("FileEntry"),
    ..OPERATION
};

pub(super) const PACK: Operation = Operation {
    id: "download_archive",
    path: "/v1/sessions/{id}/archive",
    summary: "The whole workspace as a tar archive: files, directories and links; refused if something of it can't be read or named.",
    media_type: "application/x-tar",
    ..OPERATION
};

pub(super) const UNPACK: Operation = Operation {
    id: "upload_archive",
    method: Method::Put,
    path: "/v1/sessions/{id}/archive",
    summary: "Unpack a tar archive into the workspace; the answer lists what was skipped and why.",
    request: Some(RAW_BODY),
    response: Some("UnpackReport"),
    ..OPERATION
};
