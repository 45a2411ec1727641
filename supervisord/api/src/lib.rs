//! What callers and the daemon say to each other: ids, requests, answers, errors and the table of
//! operations. Pure data; the socket, the command line and the tests all use these types, and the
//! OpenAPI document is assembled from them, so that there is one description of the interface.

#![forbid(unsafe_code)]

mod artifact;
mod content;
mod control;
mod credential;
mod error;
mod execution;
mod file;
mod id;
mod limits;
mod map;
mod openapi;
mod operation;
mod output;
mod reload;
mod submit;

pub use artifact::{Artifact, ArtifactList, RefusedArtifact};
pub use content::Content;
pub use control::{ControlReport, ControlStatus, Doctor, Mode};
pub use credential::{Credential, CredentialList, CredentialState};
pub use error::{ApiError, ErrorCode};
pub use execution::{
    Execution, ExecutionList, Outcome, OutputSummary, PolicyReference, State, StreamSummary, Usage,
};
pub use file::{
    FileEntry, FileKind, FileList, MakeDirectory, MoveFile, SkippedEntry, UnpackReport,
};
pub use id::{ExecutionId, InvalidId, SessionId};
pub use limits::{Limit, Limits, LimitsRequest};
pub use map::UniqueMap;
pub use openapi::document as openapi_document;
pub use operation::{Method, OPERATIONS, Operation, Parameter, Place};
pub use output::{OutputChunk, Stream};
pub use reload::Reloaded;
pub use submit::{ArtifactRequest, InputFile, Language, SubmitRequest};

/// Media type of error answers (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Media type of output with both streams: one [`OutputChunk`] a line.
pub const NDJSON: &str = "application/x-ndjson";
