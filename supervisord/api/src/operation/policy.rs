//! The operations on policies.

use super::{JSON, Method, Operation};

pub const LIST: Operation = Operation {
    id: "policies",
    method: Method::Get,
    path: "/v1/policies",
    summary: "The policies that a submission may name, by name.",
    parameters: &[],
    request: None,
    success: 200,
    media_type: JSON,
    response: Some("PolicyList"),
};
