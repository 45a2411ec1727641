//! The table of operations. The server's routes, the OpenAPI document and the tests that hold one
//! against the other all read it.

mod changes;
mod interpreter;
mod pausing;
mod policy;
mod session;
mod stream;
mod workspace;

use crate::{NDJSON, OPENMETRICS};

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Safe, no body.
    Get,
    /// With a JSON body, bytes, or none.
    Post,
    /// With a body of bytes that takes the place of what was there.
    Put,
    /// Without a body.
    Delete,
}

impl Method {
    /// The method as it stands in a request line.
    pub const fn name(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Delete => "DELETE",
        }
    }
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In the path.
    Path,
    /// In the query.
    Query,
}

/// A parameter of an operation.
#[derive(Debug, Clone, Copy)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// Where it stands.
    pub place: Place,
    /// Its JSON Schema, as JSON text.
    pub schema: &'static str,
    /// What it means.
    pub description: &'static str,
}

/// One operation.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name, `operationId` in the document.
    pub id: &'static str,
    /// Its method.
    pub method: Method,
    /// Its path; `{name}` is a parameter and `{*name}` one that may hold slashes.
    pub path: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Its parameters.
    pub parameters: &'static [Parameter],
    /// Name of the schema of its request body, or [`RAW_BODY`].
    pub request: Option<&'static str>,
    /// Status of success.
    pub success: u16,
    /// Media type of success.
    pub media_type: &'static str,
    /// Name of the schema of success, where it is JSON.
    pub response: Option<&'static str>,
}

const JSON: &str = "application/json";

/// The operation that also answers with a part of what it has.
pub(crate) const IN_PARTS: &str = "artifact";

/// Stands for a request body of bytes, which has no schema.
pub const RAW_BODY: &str = "bytes";

const ID: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/ExecutionId"}"##,
    description: "The execution's id.",
};

const APPROVAL: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/ApprovalId"}"##,
    description: "The question's id.",
};

const AFTER_RECORD: Parameter = Parameter {
    name: "after",
    place: Place::Query,
    schema: r#"{"type": "integer", "minimum": 0, "default": 0}"#,
    description: "Only records after this number.",
};

const RECORDS: Parameter = Parameter {
    name: "limit",
    place: Place::Query,
    schema: r#"{"type": "integer", "minimum": 1, "maximum": 1000, "default": 1000}"#,
    description: "Records a page.",
};

/// A condition that a list's entries have to meet.
const fn about(name: &'static str, schema: &'static str, description: &'static str) -> Parameter {
    Parameter { name, place: Place::Query, schema, description }
}

const NAME: Parameter = Parameter {
    name: "name",
    place: Place::Path,
    schema: r#"{"type": "string", "pattern": "^[a-z0-9-]{1,64}$"}"#,
    description: "The credential's name.",
};

/// Every operation of the interface.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        id: "submit",
        method: Method::Post,
        path: "/v1/executions",
        summary: "Run a payload in a fresh sandbox.",
        parameters: &[],
        request: Some("SubmitRequest"),
        success: 201,
        media_type: JSON,
        response: Some("Execution"),
    },
    Operation {
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
    },
    Operation {
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
    },
    Operation {
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
    },
    Operation {
        id: "cancel",
        method: Method::Post,
        path: "/v1/executions/{id}/cancel",
        summary: "End an execution; the answer comes when nothing of it runs any more.",
        parameters: &[ID],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Execution"),
    },
    Operation {
        id: "artifacts",
        method: Method::Get,
        path: "/v1/executions/{id}/artifacts",
        summary: "The artifacts of a finished execution.",
        parameters: &[ID],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("ArtifactList"),
    },
    Operation {
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
    },
    stream::INPUT,
    stream::SEND,
    stream::CLOSE,
    stream::RESIZE,
    pausing::PAUSE,
    pausing::RESUME,
    pausing::PAUSE_SESSION,
    pausing::RESUME_SESSION,
    session::CREATE,
    session::LIST,
    session::SHOW,
    session::EXTEND,
    session::CLOSE,
    session::TREE,
    session::SUBTREE,
    session::STAT,
    session::READ,
    session::WRITE,
    session::REMOVE,
    session::MAKE_DIRECTORY,
    session::MOVE,
    session::PACK,
    session::UNPACK,
    interpreter::CREATE,
    interpreter::LIST,
    interpreter::SHOW,
    interpreter::CLOSE,
    interpreter::INTERRUPT,
    interpreter::RUN,
    interpreter::CELLS,
    interpreter::CELL,
    changes::CHANGES,
    changes::APPLY,
    changes::DISCARD,
    workspace::WATCH,
    workspace::SNAPSHOT,
    workspace::SNAPSHOTS,
    Operation {
        id: "samples",
        method: Method::Get,
        path: "/v1/executions/{id}/samples",
        summary: "What an execution has used over time: CPU time, memory, processes and disks, in 240 samples at the most.",
        parameters: &[ID],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("SampleList"),
    },
    Operation {
        id: "receipt",
        method: Method::Get,
        path: "/v1/executions/{id}/receipt",
        summary: "A signed statement about a finished execution: an in-toto statement in a DSSE envelope.",
        parameters: &[ID],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Envelope"),
    },
    Operation {
        id: "decisions",
        method: Method::Get,
        path: "/v1/executions/{id}/decisions",
        summary: "What was decided about an execution, by which rule, and what would have changed it.",
        parameters: &[ID, AFTER_RECORD, RECORDS],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("AuditPage"),
    },
    Operation {
        id: "audit",
        method: Method::Get,
        path: "/v1/audit",
        summary: "Records of the audit log, oldest first; administrators see all, others their own.",
        parameters: &[
            about(
                "session",
                r##"{"$ref": "#/components/schemas/SessionId"}"##,
                "About this session.",
            ),
            about(
                "execution",
                r##"{"$ref": "#/components/schemas/ExecutionId"}"##,
                "About this execution.",
            ),
            about("uid", r#"{"type": "integer", "minimum": 0}"#, "About what this uid owns."),
            about("kind", r#"{"type": "string"}"#, "Of this kind."),
            about("verdict", r##"{"$ref": "#/components/schemas/Verdict"}"##, "With this verdict."),
            about(
                "rule",
                r#"{"type": "string"}"#,
                "By a rule whose text holds this, percent-encoded.",
            ),
            about("host", r#"{"type": "string"}"#, "About this host."),
            about("credential", r#"{"type": "string"}"#, "About this credential, by name."),
            about(
                "since",
                r#"{"type": "string"}"#,
                "Not before this time: RFC 3339, or its beginning.",
            ),
            about("until", r#"{"type": "string"}"#, "Before this time."),
            AFTER_RECORD,
            RECORDS,
        ],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("AuditPage"),
    },
    Operation {
        id: "audit_key",
        method: Method::Get,
        path: "/v1/audit/key",
        summary: "The key that the audit log's checkpoints are checked with.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("AuditKey"),
    },
    Operation {
        id: "budgets",
        method: Method::Get,
        path: "/v1/budgets",
        summary: "What is spent and left of the budgets that the caller's requests are charged to.",
        parameters: &[Parameter {
            name: "all",
            place: Place::Query,
            schema: r#"{"type": "boolean", "default": false}"#,
            description: "Everybody's budgets, and those of credentials; administrators only.",
        }],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("BudgetList"),
    },
    Operation {
        id: "reset_budget",
        method: Method::Post,
        path: "/v1/budgets/{account}/reset",
        summary: "Let a budget begin anew; administrators only.",
        parameters: &[Parameter {
            name: "account",
            place: Place::Path,
            schema: r#"{"type": "string"}"#,
            description: "The account, such as `uid:1000`.",
        }],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Budget"),
    },
    Operation {
        id: "approvals",
        method: Method::Get,
        path: "/v1/approvals",
        summary: "Questions to a person, of executions that have not finished.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("ApprovalList"),
    },
    Operation {
        id: "approvals_follow",
        method: Method::Get,
        path: "/v1/approvals/events",
        summary: "The same and then every change to them, as NDJSON of Approval, until the caller goes.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: NDJSON,
        response: None,
    },
    Operation {
        id: "events",
        method: Method::Get,
        path: "/v1/events",
        summary: "How the caller's executions, sessions, questions to a person and what is in force stand, and then every change, as NDJSON of Event, until the caller goes; everybody's, and credentials, for administrators.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: NDJSON,
        response: None,
    },
    Operation {
        id: "approval",
        method: Method::Get,
        path: "/v1/approvals/{id}",
        summary: "One question.",
        parameters: &[APPROVAL],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Approval"),
    },
    Operation {
        id: "answer",
        method: Method::Post,
        path: "/v1/approvals/{id}/answer",
        summary: "Answer a question; administrators and operators only, and nobody its own.",
        parameters: &[APPROVAL],
        request: Some("AnswerRequest"),
        success: 200,
        media_type: JSON,
        response: Some("Approval"),
    },
    Operation {
        id: "doctor",
        method: Method::Get,
        path: "/v1/doctor",
        summary: "What this host can enforce.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Doctor"),
    },
    Operation {
        id: "top",
        method: Method::Get,
        path: "/v1/top",
        summary: "What runs just now and what it uses; an agent's own, everybody's for administrators.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Top"),
    },
    Operation {
        id: "metrics",
        method: Method::Get,
        path: "/metrics",
        summary: "What the daemon counts, as text for Prometheus; administrators only.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: OPENMETRICS,
        response: None,
    },
    Operation {
        id: "reload",
        method: Method::Post,
        path: "/v1/reload",
        summary: "Read configuration and policies anew, all or nothing; administrators only.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Reloaded"),
    },
    Operation {
        id: "credentials",
        method: Method::Get,
        path: "/v1/credentials",
        summary: "All credentials, without their values; administrators only.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("CredentialList"),
    },
    Operation {
        id: "rotate_credential",
        method: Method::Post,
        path: "/v1/credentials/{name}/rotate",
        summary: "Read one credential's value anew, also a revoked one's; administrators only.",
        parameters: &[NAME],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Credential"),
    },
    Operation {
        id: "revoke_credential",
        method: Method::Post,
        path: "/v1/credentials/{name}/revoke",
        summary: "Let no request have a credential any more; administrators only.",
        parameters: &[NAME],
        request: None,
        success: 200,
        media_type: JSON,
        response: Some("Credential"),
    },
    policy::LIST,
    Operation {
        id: "openapi",
        method: Method::Get,
        path: "/v1/openapi.json",
        summary: "This document.",
        parameters: &[],
        request: None,
        success: 200,
        media_type: JSON,
        response: None,
    },
];
