//! The operations on budgets, credentials and questions to a person.

use super::{JSON, Method, Operation, Parameter, Place};
use crate::NDJSON;

const QUESTION: Parameter = Parameter {
    name: "id",
    place: Place::Path,
    schema: r##"{"$ref": "#/components/schemas/ApprovalId"}"##,
    description: "The question's id.",
};

const NAME: Parameter = Parameter {
    name: "name",
    place: Place::Path,
    schema: r#"{"type": "string", "pattern": "^[a-z0-9-]{1,64}$"}"#,
    description: "The credential's name.",
};

pub(super) const BUDGETS: Operation = Operation {
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
};

pub(super) const RESET_BUDGET: Operation = Operation {
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
};

pub(super) const APPROVALS: Operation = Operation {
    id: "approvals",
    method: Method::Get,
    path: "/v1/approvals",
    summary: "Questions to a person, of executions that have not finished.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("ApprovalList"),
};

pub(super) const APPROVALS_FOLLOW: Operation = Operation {
    id: "approvals_follow",
    method: Method::Get,
    path: "/v1/approvals/events",
    summary: "The same and then every change to them, as NDJSON of Approval, until the caller goes.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: NDJSON,
    response: None,
};

pub(super) const APPROVAL: Operation = Operation {
    id: "approval",
    method: Method::Get,
    path: "/v1/approvals/{id}",
    summary: "One question.",
    parameters: &[QUESTION],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Approval"),
};

pub(super) const ANSWER: Operation = Operation {
    id: "answer",
    method: Method::Post,
    path: "/v1/approvals/{id}/answer",
    summary: "Answer a question; administrators and operators only, and nobody its own.",
    parameters: &[QUESTION],
    request: Some("AnswerRequest"),
    success: 200,
    media_type: JSON,
    response: Some("Approval"),
};

pub(super) const CREDENTIALS: Operation = Operation {
    id: "credentials",
    method: Method::Get,
    path: "/v1/credentials",
    summary: "All credentials, without their values; administrators only.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("CredentialList"),
};

pub(super) const ROTATE_CREDENTIAL: Operation = Operation {
    id: "rotate_credential",
    method: Method::Post,
    path: "/v1/credentials/{name}/rotate",
    summary: "Read one credential's value anew, also a revoked one's; administrators only.",
    parameters: &[NAME],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Credential"),
};

pub(super) const REVOKE_CREDENTIAL: Operation = Operation {
    id: "revoke_credential",
    method: Method::Post,
    path: "/v1/credentials/{name}/revoke",
    summary: "Let no request have a credential any more; administrators only.",
    parameters: &[NAME],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("Credential"),
};
