//! What callers and the daemon say to each other: ids, requests, answers, errors and the table of
//! operations. Pure data; the socket, the command line and the tests all use these types, and the
//! OpenAPI document is assembled from them, so that there is one description of the interface.

#![forbid(unsafe_code)]

mod approval;
mod artifact;
mod audit;
mod budget;
mod change;
mod content;
mod control;
mod credential;
mod error;
mod event;
mod execution;
mod file;
mod id;
mod input;
mod interpreter;
mod limits;
mod map;
#[cfg(test)]
#[path = "../../../tests/src/mutations.rs"]
#[allow(
    clippy::expect_used,
    clippy::panic,
    dead_code,
    reason = "a test of its own, which others share"
)]
mod mutations;
mod openapi;
mod operation;
mod output;
mod policy;
mod receipt;
mod reload;
mod sample;
mod session;
mod submit;
mod top;
mod without;
mod words;

pub use approval::{AnswerRequest, Approval, ApprovalList, ApprovalState, RequestAsked};
pub use artifact::{Artifact, ArtifactList, RefusedArtifact};
pub use audit::{
    Administration, AuditEvent, AuditFilter, AuditKey, AuditPage, AuditRecord, AuditTime, BadKey,
    BadTime, Chain, Checkpoint, CredentialUse, DeniedCall, Digest32, Ended, Exhaustion, Fault,
    Finding, Followed, Head, HeadState, LimitHit, PersonsAnswer, PublicKey, Recovery, Removal,
    Repair, Report, Retirement, Ruling, Sealed, Start, Subject, Submission, Suppressed,
    Suppression, Suspension, Traffic, Verdict, Verifier, What, kinds, sign_checkpoint, sign_head,
};
pub use budget::{Budget, BudgetList, BudgetMeter};
pub use change::{
    ChangeKind, ChangeSet, ChangeSummary, ChangesMode, ChangesState, FileFacts, Hazard, PathChange,
};
pub use content::Content;
pub use control::{ControlReport, ControlStatus, Doctor, Mode};
pub use credential::{Credential, CredentialList, CredentialState};
pub use error::{ApiError, ErrorCode};
pub use event::{Event, ExecutionEvent, GenerationEvent, SessionEvent};
pub use execution::{
    Execution, ExecutionList, ImageReference, Outcome, OutputSummary, PolicyReference, StartKind,
    State, StreamSummary, Usage,
};
pub use file::{
    CopyReport, FileChange, FileChangeKind, FileEntry, FileKind, FileList, MakeDirectory, MoveFile,
    SkippedEntry, UnpackReport,
};
pub use id::{ApprovalId, ExecutionId, InvalidId, SessionId};
pub use input::{InputState, TerminalSize};
pub use interpreter::{
    Cell, CellError, CellList, CellOutcome, CellOutput, CellResult, CellResultKind, CellState,
    CreateInterpreter, Interpreter, InterpreterEnd, InterpreterList, InterpreterState, RunCell,
};
pub use limits::{Limit, Limits, LimitsRequest};
pub use map::UniqueMap;
pub use openapi::document as openapi_document;
pub use operation::{Method, OPERATIONS, Operation, Parameter, Place, RAW_BODY};
pub use output::{OutputChunk, Stream};
pub use policy::{Policy, PolicyList};
pub use receipt::{
    ARTIFACTS, BadEnvelope, Decisions, DecisionsRoot, Envelope, EnvelopeSignature, FieldChange,
    InputDigest, Inputs, PREDICATE_TYPE, Predicate, ReceiptSubject, STATEMENT_TYPE, STDERR, STDOUT,
    SignedFields, Statement,
};
pub use reload::Reloaded;
pub use sample::{Sample, SampleList};
pub use session::{
    CreateSession, CreateSnapshot, ExtendSession, Session, SessionList, SessionState, SessionUsage,
};
pub use submit::{ArtifactRequest, InputFile, Language, SubmitRequest};
pub use top::{Pressure, Stall, Top, TopEgress, TopLine};
pub use words::{percent_encoded, show_size, show_time};

/// Media type of error answers (RFC 9457).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Media type of metrics (OpenMetrics 1.0).
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Media type of output with both streams: one [`OutputChunk`] a line.
pub const NDJSON: &str = "application/x-ndjson";

#[cfg(test)]
#[test]
fn without_a_check_a_hand_on_the_log_is_not_found_or_by_the_next_one() {
    mutations::check(&["api/"]);
}
