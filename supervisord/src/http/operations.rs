//! What the front end calls. The trait is the [`Supervisor`]'s own methods, so that the front end
//! can be tested without one.

use std::fs::File;
use std::future::Future;
use std::io;
use std::time::Duration;

use supervisor_api::{
    AnswerRequest, ApiError, Approval, ApprovalId, ApprovalList, Artifact, ArtifactList,
    AuditFilter, AuditKey, AuditPage, BudgetList, Doctor, Execution, ExecutionId, ExecutionList,
    OutputChunk, SubmitRequest,
};

use crate::approval::Changes;
use crate::supervisor::{Caller, ListQuery, OutputQuery, OutputReader, Supervisor};

/// Output, chunk by chunk.
pub trait Chunks: Send + 'static {
    /// The next bytes (at most 64 KiB), or `None` at the end. Dropping the future loses nothing but
    /// the reader's place.
    fn next(&mut self) -> impl Future<Output = io::Result<Option<OutputChunk>>> + Send;
}

/// Questions to a person, one change after the other.
pub trait Questions: Send + 'static {
    /// The next, or `None` at the end.
    fn next(&mut self) -> impl Future<Output = Option<Approval>> + Send;
}

/// The operations of the interface. Each checks what the caller may do.
pub trait Operations: Send + Sync + 'static {
    /// Reads output.
    type Output: Chunks;

    /// Tells of questions.
    type Changes: Questions;

    /// Runs a payload in a fresh sandbox. `request.wait` is never set: the front end waits by
    /// [`Operations::status`], so that a caller who goes away leaves nothing behind.
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

    /// The artifacts of a finished execution.
    fn artifacts(
        &self,
        caller: &Caller,
        id: ExecutionId,
    ) -> impl Future<Output = Result<ArtifactList, ApiError>> + Send;

    /// One artifact and a descriptor to read its bytes from.
    fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> impl Future<Output = Result<(Artifact, File), ApiError>> + Send;

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

    /// What is left of the caller's budgets, or of all.
    ///
    /// # Errors
    ///
    /// When a caller who is no administrator asks for all.
    fn budgets(&self, caller: &Caller, all: bool) -> Result<BudgetList, ApiError>;

    /// Questions to a person.
    fn approvals(&self, caller: &Caller) -> ApprovalList;

    /// The same and then every change to them.
    fn approval_changes(&self, caller: &Caller) -> Self::Changes;

    /// One question.
    ///
    /// # Errors
    ///
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
    ///
    /// When the daemon can't tell.
    fn doctor(&self) -> Result<Doctor, ApiError>;
}

impl Chunks for OutputReader {
    async fn next(&mut self) -> io::Result<Option<OutputChunk>> {
        OutputReader::next(self).await
    }
}

impl Questions for Changes {
    async fn next(&mut self) -> Option<Approval> {
        Changes::next(self).await
    }
}

impl Operations for Supervisor {
    type Output = OutputReader;
    type Changes = Changes;

    async fn submit(&self, caller: &Caller, request: SubmitRequest) -> Result<Execution, ApiError> {
        Supervisor::submit(self, caller, request).await
    }

    async fn status(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wait: Duration,
    ) -> Result<Execution, ApiError> {
        Supervisor::status(self, caller, id, wait).await
    }

    async fn list(&self, caller: &Caller, query: ListQuery) -> Result<ExecutionList, ApiError> {
        Supervisor::list(self, caller, query).await
    }

    async fn output(
        &self,
        caller: &Caller,
        id: ExecutionId,
        query: OutputQuery,
    ) -> Result<OutputReader, ApiError> {
        Supervisor::output(self, caller, id, query).await
    }

    async fn cancel(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        Supervisor::cancel(self, caller, id).await
    }

    async fn artifacts(&self, caller: &Caller, id: ExecutionId) -> Result<ArtifactList, ApiError> {
        Supervisor::artifacts(self, caller, id).await
    }

    async fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> Result<(Artifact, File), ApiError> {
        Supervisor::artifact(self, caller, id, path).await
    }

    async fn decisions(
        &self,
        caller: &Caller,
        id: ExecutionId,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, ApiError> {
        Supervisor::decisions(self, caller, id, after, limit).await
    }

    async fn audit(
        &self,
        caller: &Caller,
        filter: AuditFilter,
        after: u64,
        limit: usize,
    ) -> Result<AuditPage, ApiError> {
        Supervisor::audit(self, caller, filter, after, limit).await
    }

    fn audit_key(&self) -> AuditKey {
        self.inner().audit.key()
    }

    fn budgets(&self, caller: &Caller, all: bool) -> Result<BudgetList, ApiError> {
        Supervisor::budgets(self, caller, all)
    }

    fn approvals(&self, caller: &Caller) -> ApprovalList {
        self.inner().approvals.list(caller)
    }

    fn approval_changes(&self, caller: &Caller) -> Changes {
        self.inner().approvals.follow(caller)
    }

    fn approval(&self, caller: &Caller, id: ApprovalId) -> Result<Approval, ApiError> {
        self.inner().approvals.show(caller, id)
    }

    async fn answer(
        &self,
        caller: &Caller,
        id: ApprovalId,
        answer: AnswerRequest,
    ) -> Result<Approval, ApiError> {
        self.inner().approvals.answer(caller, id, answer).await
    }

    fn doctor(&self) -> Result<Doctor, ApiError> {
        Supervisor::doctor(self)
    }
}
