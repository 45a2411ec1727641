//! What the front end calls. The trait is the [`Supervisor`]'s own methods, so that the front end
//! can be tested without one.

use axum::body::Bytes;
use std::future::Future;
use std::io;
use std::time::Duration;

use supervisor_api::{
    AnswerRequest, ApiError, Approval, ApprovalId, ApprovalList, Artifact, ArtifactList,
    AuditFilter, AuditKey, AuditPage, Budget, BudgetList, Cell, CellList, CreateInterpreter,
    CreateSession, Credential, CredentialList, Doctor, Envelope, ErrorCode, Event, Execution,
    ExecutionId, ExecutionList, ExtendSession, FileEntry, FileList, Interpreter, InterpreterList,
    MakeDirectory, MoveFile, OutputChunk, PolicyList, Reloaded, RunCell, Session, SessionId,
    SessionList, SubmitRequest, Top, UnpackReport,
};
use supervisor_api::{InputState, TerminalSize};

use super::changes::Changes;
use super::pausing::Pausing;
use super::samples::Samples;
use super::workspaces::Workspaces;
use crate::session::{OpenFile, Packing};
use crate::supervisor::{Caller, ListQuery, OutputQuery};
use crate::workspace::FilePage;

/// Output, chunk by chunk.
pub trait Chunks: Send + 'static {
    /// The next bytes (at most 64 KiB), or `None` at the end. Dropping the future loses nothing but
    /// the reader's place.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<OutputChunk>>> + Send;
}

/// Takes a request body, piece by piece. Dropped before it has finished, nothing of a file stays.
pub trait Receiver: Send + 'static {
    /// What is answered when all of it has arrived.
    type Outcome: serde::Serialize;

    /// Takes a piece. `false` says that no more is taken, which [`Receiver::finish`] explains.
    fn write(&mut self, piece: Bytes) -> impl Future<Output = Result<bool, ApiError>> + Send;

    /// All of it has arrived.
    fn finish(self) -> impl Future<Output = Result<Self::Outcome, ApiError>> + Send;
}

/// What changes, one change after the other.
pub trait Follow: Send + 'static {
    /// A change.
    type Item: serde::Serialize + Send;

    /// The next, or `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Self::Item>> + Send;
}

/// The operations of the interface. Each checks what the caller may do.
pub trait Operations: Changes + Pausing + Samples + Workspaces {
    /// Reads output.
    type Output: Chunks;
    /// Takes a file.
    type Upload: Receiver<Outcome = FileEntry>;
    /// Takes an archive.
    type Unpacking: Receiver<Outcome = UnpackReport>;

    /// Tells of questions.
    type Changes: Follow<Item = Approval>;

    /// Tells of everything.
    type Events: Follow<Item = Event>;

    /// Runs a payload in a fresh sandbox; returns once it is recorded. `request.wait` says that nobody
    /// is told of it before its end: then it may be recorded with its end, if that comes soon. For an
    /// end that doesn't the front end waits by [`Operations::status`], so that a caller who goes away
    /// leaves nothing behind.
    fn submit(
        &self,
        caller: &Caller,
        request: SubmitRequest,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// One execution, once it has finished or `wait` is up.
    fn status(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wait: Duration,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// A page of executions, newest first.
    fn list(
        &self,
        caller: &Caller,
        query: ListQuery,
    ) -> impl Future<Output = Result<ExecutionList, ApiError>> + Send;

    /// Output from an offset.
    fn output(
        &self,
        caller: &Caller,
        id: ExecutionId,
        query: OutputQuery,
    ) -> impl Future<Output = Result<Self::Output, ApiError>> + Send;

    /// Ends an execution; returns when nothing of it runs any more.
    fn cancel(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// Removes a finished execution with all that is kept of it; gives what it was.
    fn remove(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Execution, ApiError>> + Send;

    /// Returns once the files of an execution are removed; told from this call on.
    fn removal(&self, id: ExecutionId) -> impl Future<Output = ()> + Send + use<Self>;

    /// How far an execution's standard input has come.
    fn input(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<InputState, ApiError>> + Send;

    /// Sends bytes to a payload's standard input, of which the first stands at `offset`.
    fn send_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: Option<u64>,
        bytes: Vec<u8>,
    ) -> impl Future<Output = Result<InputState, ApiError>> + Send;

    /// Ends a payload's standard input.
    fn close_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: Option<u64>,
    ) -> impl Future<Output = Result<InputState, ApiError>> + Send;

    /// Sets the size of a payload's terminal.
    fn resize_terminal(
        &self,
        caller: &Caller,
        id: ExecutionId,
        size: TerminalSize,
    ) -> impl Future<Output = Result<TerminalSize, ApiError>> + Send;

    /// The artifacts of a finished execution.
    fn artifacts(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<ArtifactList, ApiError>> + Send;

    /// A signed statement about a finished execution.
    fn receipt(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Envelope, ApiError>> + Send;

    /// One artifact and a descriptor to read its bytes from.
    fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> impl Future<Output = Result<(Artifact, OpenFile), ApiError>> + Send;

    /// Makes a session with a workspace of its own.
    fn create_session(
        &self,
        caller: &Caller,
        request: CreateSession,
    ) -> impl Future<Output = Result<Session, ApiError>> + Send;

    /// The caller's sessions, or everybody's.
    fn sessions(
        &self,
        caller: &Caller,
        all: bool,
    ) -> impl Future<Output = Result<SessionList, ApiError>> + Send;

    /// One session.
    fn session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> impl Future<Output = Result<Session, ApiError>> + Send;

    /// Moves a session's end.
    fn extend_session(
        &self,
        caller: &Caller,
        id: SessionId,
        request: ExtendSession,
    ) -> impl Future<Output = Result<Session, ApiError>> + Send;

    /// Ends what runs in a session and removes its workspace.
    fn close_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> impl Future<Output = Result<Session, ApiError>> + Send;

    /// What a directory of a workspace holds; without a path, its root.
    fn list_files(
        &self,
        caller: &Caller,
        id: SessionId,
        path: Option<&str>,
        page: FilePage,
    ) -> impl Future<Output = Result<FileList, ApiError>> + Send;

    /// What stands at a path.
    fn stat_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
    ) -> impl Future<Output = Result<FileEntry, ApiError>> + Send;

    /// A file to read from.
    fn open_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
    ) -> impl Future<Output = Result<OpenFile, ApiError>> + Send;

    /// Begins to write a file.
    fn begin_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
        executable: bool,
    ) -> impl Future<Output = Result<Self::Upload, ApiError>> + Send;

    /// Removes a file or directory.
    fn remove_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
        recursive: bool,
    ) -> impl Future<Output = Result<FileEntry, ApiError>> + Send;

    /// Makes a directory.
    fn make_directory(
        &self,
        caller: &Caller,
        id: SessionId,
        request: MakeDirectory,
    ) -> impl Future<Output = Result<FileEntry, ApiError>> + Send;

    /// Moves a file or directory.
    fn move_file(
        &self,
        caller: &Caller,
        id: SessionId,
        request: MoveFile,
    ) -> impl Future<Output = Result<FileEntry, ApiError>> + Send;

    /// The whole workspace as an archive.
    fn pack_session(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> impl Future<Output = Result<Packing, ApiError>> + Send;

    /// Begins to unpack an archive.
    fn begin_unpacking(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> impl Future<Output = Result<Self::Unpacking, ApiError>> + Send;
    /// Starts an interpreter in a session.
    fn create_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        request: CreateInterpreter,
    ) -> impl Future<Output = Result<Interpreter, ApiError>> + Send;

    /// The interpreters of a session.
    ///
    /// # Errors
    /// When there is no such session of the caller's.
    fn interpreters(
        &self,
        caller: &Caller,
        session: SessionId,
    ) -> Result<InterpreterList, ApiError>;

    /// One interpreter.
    fn interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Interpreter, ApiError>> + Send;

    /// Ends an interpreter; returns when nothing of it runs any more.
    fn close_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Interpreter, ApiError>> + Send;

    /// Interrupts the cell that runs.
    fn interrupt(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> impl Future<Output = Result<Interpreter, ApiError>> + Send;

    /// Gives an interpreter a cell; returns once it is accepted.
    fn run_cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        request: RunCell,
    ) -> impl Future<Output = Result<Cell, ApiError>> + Send;

    /// One cell, once it has ended or `wait` is up.
    fn cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        number: u64,
        wait: Duration,
    ) -> impl Future<Output = Result<Cell, ApiError>> + Send;

    /// The cells of an interpreter that are kept.
    fn cells(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> impl Future<Output = Result<CellList, ApiError>> + Send;

    /// What was decided about an execution, oldest first: records after this number, so many at the
    /// most.
    fn decisions(
        &self,
        caller: &Caller,
        id: ExecutionId,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<AuditPage, ApiError>> + Send;

    /// Records of the audit log, oldest first: those after this number that match, so many at the most.
    fn audit(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> impl Future<Output = Result<AuditPage, ApiError>> + Send;

    /// The key that the audit log's checkpoints are checked with.
    fn audit_key(&self) -> AuditKey;

    /// The policies that a submission may name.
    fn policies(&self) -> PolicyList;

    /// What is left of the caller's budgets, or of all.
    ///
    /// # Errors
    /// When a caller who is no administrator asks for all.
    fn budgets(&self, caller: &Caller, all: bool) -> Result<BudgetList, ApiError>;

    /// Lets a budget begin anew.
    ///
    /// # Errors
    /// For callers who are no administrators, and when there is no such account.
    fn reset_budget(&self, caller: &Caller, account: &str) -> Result<Budget, ApiError>;

    /// Questions to a person.
    fn approvals(&self, caller: &Caller) -> ApprovalList;

    /// The same and then every change to them.
    fn approval_changes(&self, caller: &Caller) -> Self::Changes;

    /// How everything stands that the caller may see, and then every change to it.
    fn events(&self, caller: &Caller) -> Self::Events;

    /// One question.
    ///
    /// # Errors
    /// When there is none that the caller may see.
    fn approval(&self, caller: &Caller, id: ApprovalId) -> Result<Approval, ApiError>;

    /// Answers a question.
    fn answer(
        &self,
        caller: &Caller,
        id: ApprovalId,
        answer: AnswerRequest,
    ) -> impl Future<Output = Result<Approval, ApiError>> + Send;

    /// What this host can enforce.
    ///
    /// # Errors
    /// When the daemon can't tell.
    fn doctor(&self) -> Result<Doctor, ApiError>;

    /// What runs just now and what it uses.
    fn top(&self, caller: &Caller) -> impl Future<Output = Result<Top, ApiError>> + Send;

    /// What the daemon counts, as text.
    ///
    /// # Errors
    /// [`supervisor_api::ErrorCode::PermissionDenied`] for who is no administrator.
    fn metrics(&self, caller: &Caller) -> Result<String, ApiError>;

    /// Notes that an operation was answered, and with which error, if any.
    fn note(&self, operation: &'static str, code: Option<ErrorCode>);

    /// Reads configuration and policies anew, all or nothing.
    fn reload(&self, caller: &Caller) -> impl Future<Output = Result<Reloaded, ApiError>> + Send;

    /// All credentials, without their values.
    ///
    /// # Errors
    /// For callers who are no administrators.
    fn credentials(&self, caller: &Caller) -> Result<CredentialList, ApiError>;

    /// Reads one credential's value anew.
    fn rotate_credential(
        &self,
        caller: &Caller,
        name: &str,
    ) -> impl Future<Output = Result<Credential, ApiError>> + Send;

    /// Lets no request have a credential any more.
    fn revoke_credential(
        &self,
        caller: &Caller,
        name: &str,
    ) -> impl Future<Output = Result<Credential, ApiError>> + Send;
}
