//! The table of operations. The server's routes, the OpenAPI document and the tests that hold one
//! against the other all read it.

mod audit;
mod changes;
mod egress;
mod execution;
mod host;
mod interpreter;
mod pausing;
mod policy;
mod session;
mod stream;
mod workspace;

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

/// The operations that also answer with a part of what they have.
pub(crate) const IN_PARTS: [&str; 2] = ["artifact", "read_file"];

/// Stands for a request body of bytes, which has no schema.
pub const RAW_BODY: &str = "bytes";

const ID: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/ExecutionId"}"##,
    description: "The execution's id.",
};

/// Every operation of the interface.
pub const OPERATIONS: &[Operation] = &[
    execution::SUBMIT,
    execution::LIST,
    execution::STATUS,
    execution::OUTPUT,
    execution::CANCEL,
    execution::REMOVE,
    execution::ARTIFACTS,
    execution::ARTIFACT,
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
    execution::SAMPLES,
    execution::RECEIPT,
    execution::DECISIONS,
    audit::AUDIT,
    audit::AUDIT_KEY,
    egress::BUDGETS,
    egress::RESET_BUDGET,
    egress::APPROVALS,
    egress::APPROVALS_FOLLOW,
    host::EVENTS,
    egress::APPROVAL,
    egress::ANSWER,
    host::DOCTOR,
    host::TOP,
    host::METRICS,
    host::RELOAD,
    egress::CREDENTIALS,
    egress::ROTATE_CREDENTIAL,
    egress::REVOKE_CREDENTIAL,
    policy::LIST,
    host::OPENAPI,
];
