//! Errors of the interface: a stable code, the field it is about, and what to do.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $status:literal $name:literal,)*) => {
        /// The stable code of an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $name)] $variant,)*
        }

        impl ErrorCode {
            /// The HTTP status that carries it (RFC 9110 §15).
            pub const fn status(self) -> u16 {
                match self {
                    $(ErrorCode::$variant => $status,)*
                }
            }

            /// The code as it stands in JSON.
            pub const fn name(self) -> &'static str {
                match self {
                    $(ErrorCode::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    /// The request is not well-formed or a field has a value it can't have.
    InvalidArgument = 400 "invalid_argument",
    /// The caller's role doesn't allow the operation.
    PermissionDenied = 403 "permission_denied",
    /// More was asked for than the policy or the floor allows.
    PolicyDenied = 403 "policy_denied",
    /// There is no such thing, or it is somebody else's.
    NotFound = 404 "not_found",
    /// The path exists, the method doesn't.
    MethodNotAllowed = 405 "method_not_allowed",
    /// The request took too long to arrive.
    RequestTimeout = 408 "request_timeout",
    /// The object's state doesn't allow the operation.
    Conflict = 409 "conflict",
    /// A request body came without Content-Length.
    LengthRequired = 411 "length_required",
    /// The body is larger than the bound.
    TooLarge = 413 "too_large",
    /// The body's media type is not `application/json`.
    UnsupportedMediaType = 415 "unsupported_media_type",
    /// The requested range starts past the end.
    RangeNotSatisfiable = 416 "range_not_satisfiable",
    /// Too many at once; try again later.
    Busy = 429 "busy",
    /// The daemon failed; the journal has the cause.
    Internal = 500 "internal",
    /// What was kept of an execution is not what was recorded of it: its disk, or a hand, has changed it.
    Damaged = 500 "damaged",
    /// The launcher does not answer.
    Unavailable = 503 "unavailable",
    /// The host lacks a control that the policy needs.
    ControlMissing = 503 "control_missing",
    /// The state directory is full, or has no more room than records need.
    StorageFull = 507 "storage_full",
}

/// An error answer, sent as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiError {
    /// The stable code.
    pub code: ErrorCode,
    /// The HTTP status, again (RFC 9457 §3.1.2).
    pub status: u16,
    /// What happened, in a sentence.
    pub detail: String,
    /// The field of the request that it is about, such as `limits.memory_max`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ApiError {
    /// An error of this code.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self { code, status: code.status(), detail: detail.into(), field: None, hint: None }
    }

    /// A field with a value it can't have.
    pub fn invalid(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..Self::new(ErrorCode::InvalidArgument, detail) }
    }

    /// The same error, about this field.
    #[must_use]
    pub fn with_field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into()), ..self }
    }

    /// The same error with what to do about it.
    #[must_use]
    pub fn with_hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.detail)?;
        if let Some(field) = &self.field {
            write!(f, " (field {field})")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "; {hint}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ApiError {}
