//! The table of operations. The server's routes, the OpenAPI document and the tests that hold one
//! against the other all read it.

/// An HTTP method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Safe, no body.
    Get,
    /// With a JSON body, or none.
    Post,
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
    /// Name of the schema of its request body.
    pub request: Option<&'static str>,
    /// Status of success.
    pub success: u16,
    /// Media type of success.
    pub media_type: &'static str,
    /// Name of the schema of success, where it is JSON.
    pub response: Option<&'static str>,
}

const JSON: &str = "application/json";

const ID: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/ExecutionId"}"##,
    description: "The execution's id.",
};

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
        summary: "The bytes of one artifact.",
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
        media_type: "application/octet-stream",
        response: None,
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
