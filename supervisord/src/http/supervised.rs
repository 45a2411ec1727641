//! The supervisor, as the front end calls it.

use axum::body::Bytes;
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

use super::operations::{Chunks, Follow, Operations, Receiver};
use crate::approval::Changes;
use crate::events::Events;
use crate::session::{OpenFile, Packing, Unpacking, Upload};
use crate::supervisor::{Caller, ListQuery, OutputQuery, OutputReader, Supervisor};
use crate::workspace::FilePage;

impl Receiver for Upload {
    type Outcome = FileEntry;

    async fn write(&mut self, piece: Bytes) -> Result<bool, ApiError> {
        Upload::write(self, piece).await.map(|()| true)
    }

    async fn finish(self) -> Result<FileEntry, ApiError> {
        Upload::finish(self).await
    }
}

impl Receiver for Unpacking {
    type Outcome = UnpackReport;

    async fn write(&mut self, piece: Bytes) -> Result<bool, ApiError> {
        Ok(Unpacking::write(self, piece).await)
    }

    async fn finish(self) -> Result<UnpackReport, ApiError> {
        Unpacking::finish(self).await
    }
}

impl Chunks for OutputReader {
    async fn next(&mut self) -> io::Result<Option<OutputChunk>> {
        OutputReader::next(self).await
    }
}

impl Follow for Events {
    type Item = Event;

    async fn next(&mut self) -> Option<Event> {
        Events::next(self).await
    }
}

impl Follow for Changes {
    type Item = Approval;

    async fn next(&mut self) -> Option<Approval> {
        Changes::next(self).await
    }
}

impl Operations for Supervisor {
    type Output = OutputReader;
    type Upload = Upload;
    type Unpacking = Unpacking;
    type Changes = Changes;
    type Events = Events;

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

    async fn remove(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        Supervisor::remove(self, caller, id).await
    }

    fn removal(&self, id: ExecutionId) -> impl Future<Output = ()> + Send + use<> {
        self.inner().removal(id)
    }

    async fn receipt(&self, caller: &Caller, id: ExecutionId) -> Result<Envelope, ApiError> {
        Supervisor::receipt(self, caller, id).await
    }

    async fn input(&self, caller: &Caller, id: ExecutionId) -> Result<InputState, ApiError> {
        Supervisor::input(self, caller, id).await
    }

    async fn send_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: Option<u64>,
        bytes: Vec<u8>,
    ) -> Result<InputState, ApiError> {
        Supervisor::send_input(self, caller, id, offset, bytes).await
    }

    async fn close_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: Option<u64>,
    ) -> Result<InputState, ApiError> {
        Supervisor::close_input(self, caller, id, offset).await
    }

    async fn resize_terminal(
        &self,
        caller: &Caller,
        id: ExecutionId,
        size: TerminalSize,
    ) -> Result<TerminalSize, ApiError> {
        Supervisor::resize_terminal(self, caller, id, size).await
    }

    async fn artifacts(&self, caller: &Caller, id: ExecutionId) -> Result<ArtifactList, ApiError> {
        Supervisor::artifacts(self, caller, id).await
    }

    async fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> Result<(Artifact, OpenFile), ApiError> {
        Supervisor::artifact(self, caller, id, path).await
    }

    async fn create_session(
        &self,
        caller: &Caller,
        request: CreateSession,
    ) -> Result<Session, ApiError> {
        Supervisor::create_session(self, caller, request).await
    }

    async fn sessions(&self, caller: &Caller, all: bool) -> Result<SessionList, ApiError> {
        Supervisor::sessions(self, caller, all).await
    }

    async fn session(&self, caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
        Supervisor::session(self, caller, id).await
    }

    async fn extend_session(
        &self,
        caller: &Caller,
        id: SessionId,
        request: ExtendSession,
    ) -> Result<Session, ApiError> {
        Supervisor::extend_session(self, caller, id, request).await
    }

    async fn close_session(&self, caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
        Supervisor::close_session(self, caller, id).await
    }

    async fn list_files(
        &self,
        caller: &Caller,
        id: SessionId,
        path: Option<&str>,
        page: FilePage,
    ) -> Result<FileList, ApiError> {
        Supervisor::list_files(self, caller, id, path, page).await
    }

    async fn stat_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
    ) -> Result<FileEntry, ApiError> {
        Supervisor::stat_file(self, caller, id, path).await
    }

    async fn open_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
    ) -> Result<OpenFile, ApiError> {
        Supervisor::open_file(self, caller, id, path).await
    }

    async fn begin_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
        executable: bool,
    ) -> Result<Upload, ApiError> {
        Supervisor::begin_file(self, caller, id, path, executable).await
    }

    async fn remove_file(
        &self,
        caller: &Caller,
        id: SessionId,
        path: &str,
        recursive: bool,
    ) -> Result<FileEntry, ApiError> {
        Supervisor::remove_file(self, caller, id, path, recursive).await
    }

    async fn make_directory(
        &self,
        caller: &Caller,
        id: SessionId,
        request: MakeDirectory,
    ) -> Result<FileEntry, ApiError> {
        Supervisor::make_directory(self, caller, id, request).await
    }

    async fn move_file(
        &self,
        caller: &Caller,
        id: SessionId,
        request: MoveFile,
    ) -> Result<FileEntry, ApiError> {
        Supervisor::move_file(self, caller, id, request).await
    }

    async fn pack_session(&self, caller: &Caller, id: SessionId) -> Result<Packing, ApiError> {
        Supervisor::pack_session(self, caller, id).await
    }

    async fn begin_unpacking(&self, caller: &Caller, id: SessionId) -> Result<Unpacking, ApiError> {
        Supervisor::begin_unpacking(self, caller, id).await
    }

    async fn create_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        request: CreateInterpreter,
    ) -> Result<Interpreter, ApiError> {
        Supervisor::create_interpreter(self, caller, session, request).await
    }

    fn interpreters(
        &self,
        caller: &Caller,
        session: SessionId,
    ) -> Result<InterpreterList, ApiError> {
        Supervisor::interpreters(self, caller, session)
    }

    async fn interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, ApiError> {
        Supervisor::interpreter(self, caller, session, id).await
    }

    async fn close_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, ApiError> {
        Supervisor::close_interpreter(self, caller, session, id).await
    }

    async fn interrupt(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, ApiError> {
        Supervisor::interrupt(self, caller, session, id).await
    }

    async fn run_cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        request: RunCell,
    ) -> Result<Cell, ApiError> {
        Supervisor::run_cell(self, caller, session, id, request).await
    }

    async fn cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        number: u64,
        wait: Duration,
    ) -> Result<Cell, ApiError> {
        Supervisor::cell(self, caller, session, id, number, wait).await
    }

    async fn cells(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<CellList, ApiError> {
        Supervisor::cells(self, caller, session, id).await
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

    fn policies(&self) -> PolicyList {
        self.policy_list()
    }

    fn budgets(&self, caller: &Caller, all: bool) -> Result<BudgetList, ApiError> {
        Supervisor::budgets(self, caller, all)
    }

    fn reset_budget(&self, caller: &Caller, account: &str) -> Result<Budget, ApiError> {
        Supervisor::reset_budget(self, caller, account)
    }

    fn approvals(&self, caller: &Caller) -> ApprovalList {
        self.inner().approvals.list(caller)
    }

    fn approval_changes(&self, caller: &Caller) -> Changes {
        self.inner().approvals.follow(caller)
    }

    fn events(&self, caller: &Caller) -> Events {
        Events::new(self, *caller)
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

    async fn top(&self, caller: &Caller) -> Result<Top, ApiError> {
        Supervisor::top(self, caller).await
    }

    fn metrics(&self, caller: &Caller) -> Result<String, ApiError> {
        Supervisor::metrics(self, caller)
    }

    fn note(&self, operation: &'static str, code: Option<ErrorCode>) {
        self.inner().metrics.call("socket", operation, code);
    }

    async fn reload(&self, caller: &Caller) -> Result<Reloaded, ApiError> {
        Supervisor::reload(self, caller).await
    }

    fn credentials(&self, caller: &Caller) -> Result<CredentialList, ApiError> {
        Supervisor::credentials(self, caller)
    }

    async fn rotate_credential(&self, caller: &Caller, name: &str) -> Result<Credential, ApiError> {
        Supervisor::rotate_credential(self, caller, name).await
    }

    async fn revoke_credential(&self, caller: &Caller, name: &str) -> Result<Credential, ApiError> {
        Supervisor::revoke_credential(self, caller, name).await
    }
}
