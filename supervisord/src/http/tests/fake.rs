//! Operations that know one execution and do nothing.

mod changes;
pub mod interpreters;
mod pausing;
mod samples;
pub mod sessions;
mod shown;
mod usage;
mod workspaces;

use std::fs::File;
use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use supervisor_api::{
    AnswerRequest, ApiError, Approval, ApprovalId, ApprovalList, Artifact, ArtifactList,
    AuditFilter, AuditKey, AuditPage, Budget, BudgetList, Cell, CellList, CreateInterpreter,
    CreateSession, Credential, CredentialList, Doctor, Envelope, EnvelopeSignature, ErrorCode,
    Event, Execution, ExecutionId, ExecutionList, ExtendSession, FileEntry, FileList, Interpreter,
    InterpreterList, MakeDirectory, Mode, MoveFile, Policy, PolicyList, RefusedArtifact, Reloaded,
    RunCell, Session, SessionId, SessionList, State, SubmitRequest, Top,
};
use supervisor_api::{InputState, TerminalSize};
use tokio::sync::{Notify, Semaphore};

use self::samples::{approval, artifact, control, credential, execution, record};
use self::sessions::{FakeUnpacking, FakeUpload};
use self::shown::{FakeEvents, FakeQuestions};
pub use self::shown::{FakeOutput, chunk, two_chunks};
use super::OWNER;
use crate::http::operations::Operations;
use crate::session::{OpenFile, Packing, Piece};
use crate::supervisor::{Caller, ListQuery, OutputQuery, Role};
use crate::workspace::FilePage;

/// The one execution there is.
pub const KNOWN: ExecutionId = ExecutionId::from_bits(7);

/// The bytes of the one artifact there is.
pub const ARTIFACT: &[u8] = b"\x89PNG and then some";

/// How far its standard input has come.
const INPUT: InputState = InputState { offset: 5, passed_on: 3, open: true };

/// What was asked, and how to answer.
#[derive(Default)]
pub struct Fake {
    pub submitted: Mutex<Vec<(Caller, SubmitRequest)>>,
    pub listed: Mutex<Vec<ListQuery>>,
    pub asked_output: Mutex<Vec<OutputQuery>>,
    /// Where set, submissions wait for a permit before they are done.
    pub hold_submissions: Mutex<Option<Arc<Semaphore>>>,
    /// Signalled when a submission has come and when it is done.
    pub submission_begun: Notify,
    pub submission_done: Notify,
    /// Where set, a status with a wait comes when this is signalled.
    pub hold_status: Mutex<Option<Arc<Notify>>>,
    /// The next output reader.
    pub output: Mutex<Option<FakeOutput>>,
    /// Size and bytes of the artifact, where not [`ARTIFACT`].
    pub artifact: Mutex<Option<(u64, File)>>,
}

impl Fake {
    fn find(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        if id == KNOWN && (caller.uid == OWNER || caller.role == Role::Admin) {
            return Ok(execution(State::Finished));
        }
        Err(ApiError::new(ErrorCode::NotFound, "there is no such execution"))
    }
}

impl Operations for Fake {
    type Output = FakeOutput;
    type Upload = FakeUpload;
    type Unpacking = FakeUnpacking;
    type Changes = FakeQuestions;
    type Events = FakeEvents;

    async fn submit(&self, caller: &Caller, request: SubmitRequest) -> Result<Execution, ApiError> {
        let hold = self.hold_submissions.lock().expect("no panic").clone();
        self.submission_begun.notify_one();
        if let Some(hold) = hold {
            hold.acquire().await.expect("an open semaphore").forget();
        }
        self.submitted.lock().expect("no panic").push((*caller, request));
        self.submission_done.notify_one();
        Ok(Execution { owner_uid: caller.uid, ..execution(State::Queued) })
    }

    async fn status(
        &self,
        caller: &Caller,
        id: ExecutionId,
        wait: Duration,
    ) -> Result<Execution, ApiError> {
        let hold = self.hold_status.lock().expect("no panic").clone();
        if let Some(hold) = hold.filter(|_| !wait.is_zero()) {
            hold.notified().await;
        }
        self.find(caller, id)
    }

    async fn list(&self, _: &Caller, query: ListQuery) -> Result<ExecutionList, ApiError> {
        self.listed.lock().expect("no panic").push(query);
        Ok(ExecutionList { executions: vec![execution(State::Running)], next: Some(KNOWN) })
    }

    async fn output(
        &self,
        caller: &Caller,
        id: ExecutionId,
        query: OutputQuery,
    ) -> Result<FakeOutput, ApiError> {
        self.find(caller, id)?;
        self.asked_output.lock().expect("no panic").push(query);
        let next = self.output.lock().expect("no panic").take();
        Ok(next.unwrap_or_else(|| FakeOutput::of(two_chunks())))
    }

    async fn cancel(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        self.find(caller, id)
    }

    async fn remove(&self, caller: &Caller, id: ExecutionId) -> Result<Execution, ApiError> {
        self.find(caller, id)
    }

    fn removal(&self, _: ExecutionId) -> impl Future<Output = ()> + Send + use<> {
        std::future::pending()
    }

    async fn input(&self, caller: &Caller, id: ExecutionId) -> Result<InputState, ApiError> {
        self.find(caller, id).map(|_| INPUT)
    }

    async fn send_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        offset: Option<u64>,
        bytes: Vec<u8>,
    ) -> Result<InputState, ApiError> {
        self.find(caller, id)?;
        let offset = offset.unwrap_or(INPUT.offset) + bytes.len() as u64;
        Ok(InputState { offset, ..INPUT })
    }

    async fn close_input(
        &self,
        caller: &Caller,
        id: ExecutionId,
        _: Option<u64>,
    ) -> Result<InputState, ApiError> {
        self.find(caller, id).map(|_| InputState { open: false, ..INPUT })
    }

    async fn resize_terminal(
        &self,
        caller: &Caller,
        id: ExecutionId,
        size: TerminalSize,
    ) -> Result<TerminalSize, ApiError> {
        self.find(caller, id).map(|_| size)
    }

    async fn artifacts(&self, caller: &Caller, id: ExecutionId) -> Result<ArtifactList, ApiError> {
        self.find(caller, id)?;
        let refused = RefusedArtifact { path: "link".into(), reason: "symbolic_link".into() };
        Ok(ArtifactList { artifacts: vec![artifact()], refused: vec![refused], truncated: false })
    }

    async fn receipt(&self, caller: &Caller, id: ExecutionId) -> Result<Envelope, ApiError> {
        self.find(caller, id)?;
        let signature = EnvelopeSignature { keyid: "ab".repeat(8), sig: "AA==".into() };
        let payload_type = "application/vnd.in-toto+json".into();
        Ok(Envelope {
            payload_type,
            payload: "e30=".into(),
            signatures: vec![signature],
            fields: None,
        })
    }

    async fn artifact(
        &self,
        caller: &Caller,
        id: ExecutionId,
        path: &str,
    ) -> Result<(Artifact, OpenFile), ApiError> {
        self.find(caller, id)?;
        if path != artifact().path {
            return Err(ApiError::new(ErrorCode::NotFound, "there is no such artifact"));
        }
        if let Some((size, file)) = self.artifact.lock().expect("no panic").take() {
            return Ok((Artifact { size, ..artifact() }, OpenFile::of_uid(caller.uid, file)));
        }
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(ARTIFACT).expect("room for a file");
        Ok((artifact(), OpenFile::of_uid(caller.uid, file)))
    }

    async fn create_session(&self, _: &Caller, _: CreateSession) -> Result<Session, ApiError> {
        Ok(sessions::session())
    }

    async fn sessions(&self, _: &Caller, _: bool) -> Result<SessionList, ApiError> {
        Ok(SessionList { sessions: vec![sessions::session()] })
    }

    async fn session(&self, caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
        sessions::find(caller, id)
    }

    async fn extend_session(
        &self,
        caller: &Caller,
        id: SessionId,
        _: ExtendSession,
    ) -> Result<Session, ApiError> {
        sessions::find(caller, id)
    }

    async fn close_session(&self, caller: &Caller, id: SessionId) -> Result<Session, ApiError> {
        sessions::find(caller, id)
    }

    async fn list_files(
        &self,
        caller: &Caller,
        id: SessionId,
        _: Option<&str>,
        _: FilePage,
    ) -> Result<FileList, ApiError> {
        sessions::find(caller, id)?;
        Ok(FileList { entries: vec![sessions::entry()], truncated: false, next: None })
    }

    async fn stat_file(
        &self,
        caller: &Caller,
        id: SessionId,
        _: &str,
    ) -> Result<FileEntry, ApiError> {
        sessions::find(caller, id).map(|_| sessions::entry())
    }

    async fn open_file(
        &self,
        caller: &Caller,
        id: SessionId,
        _: &str,
    ) -> Result<OpenFile, ApiError> {
        sessions::find(caller, id)?;
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(ARTIFACT).expect("room for a file");
        Ok(OpenFile::of_uid(caller.uid, file))
    }

    async fn begin_file(
        &self,
        caller: &Caller,
        id: SessionId,
        _: &str,
        _: bool,
    ) -> Result<FakeUpload, ApiError> {
        sessions::find(caller, id).map(|_| FakeUpload::default())
    }

    async fn remove_file(
        &self,
        caller: &Caller,
        id: SessionId,
        _: &str,
        _: bool,
    ) -> Result<FileEntry, ApiError> {
        sessions::find(caller, id).map(|_| sessions::entry())
    }

    async fn make_directory(
        &self,
        caller: &Caller,
        id: SessionId,
        _: MakeDirectory,
    ) -> Result<FileEntry, ApiError> {
        sessions::find(caller, id).map(|_| sessions::entry())
    }

    async fn move_file(
        &self,
        caller: &Caller,
        id: SessionId,
        _: MoveFile,
    ) -> Result<FileEntry, ApiError> {
        sessions::find(caller, id).map(|_| sessions::entry())
    }

    async fn pack_session(&self, caller: &Caller, id: SessionId) -> Result<Packing, ApiError> {
        sessions::find(caller, id)?;
        let (pieces, packing) = Packing::new();
        for piece in [Piece::Bytes(Bytes::from_static(ARTIFACT)), Piece::End] {
            pieces.try_send(Ok(piece)).expect("room for a piece");
        }
        Ok(packing)
    }

    async fn begin_unpacking(
        &self,
        caller: &Caller,
        id: SessionId,
    ) -> Result<FakeUnpacking, ApiError> {
        sessions::find(caller, id).map(|_| FakeUnpacking::default())
    }

    async fn create_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        _: CreateInterpreter,
    ) -> Result<Interpreter, ApiError> {
        sessions::find(caller, session).map(|_| interpreters::interpreter())
    }

    fn interpreters(
        &self,
        caller: &Caller,
        session: SessionId,
    ) -> Result<InterpreterList, ApiError> {
        let found = sessions::find(caller, session);
        found.map(|_| InterpreterList { interpreters: vec![interpreters::interpreter()] })
    }

    async fn interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, ApiError> {
        interpreters::find(caller, session, id)
    }

    async fn close_interpreter(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, ApiError> {
        interpreters::find(caller, session, id)
    }

    async fn interrupt(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, ApiError> {
        interpreters::find(caller, session, id)
    }

    async fn run_cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        _: RunCell,
    ) -> Result<Cell, ApiError> {
        interpreters::find(caller, session, id).map(|_| interpreters::cell())
    }

    async fn cell(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
        _: u64,
        _: Duration,
    ) -> Result<Cell, ApiError> {
        interpreters::find(caller, session, id).map(|_| interpreters::cell())
    }

    async fn cells(
        &self,
        caller: &Caller,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<CellList, ApiError> {
        interpreters::find(caller, session, id)
            .map(|_| CellList { cells: vec![interpreters::cell()], forgotten: 0 })
    }

    async fn decisions(
        &self,
        caller: &Caller,
        id: ExecutionId,
        _: u64,
        _: usize,
    ) -> Result<AuditPage, ApiError> {
        self.find(caller, id)?;
        Ok(AuditPage { records: vec![record()], next: None })
    }

    async fn audit(
        &self,
        _: &Caller,
        _: AuditFilter,
        _: u64,
        _: usize,
    ) -> Result<AuditPage, ApiError> {
        Ok(AuditPage { records: vec![record()], next: Some(7) })
    }

    fn audit_key(&self) -> AuditKey {
        AuditKey { algorithm: "ed25519".into(), public_key: "ab".repeat(32) }
    }

    fn policies(&self) -> PolicyList {
        let (name, digest) = ("default".to_owned(), "ab".repeat(32));
        let policy = Policy { name, description: String::new(), digest, is_default: true };
        PolicyList { generation: 1, policies: vec![policy] }
    }

    fn budgets(&self, _: &Caller, _: bool) -> Result<BudgetList, ApiError> {
        Ok(serde_json::from_value(
            serde_json::json!({"budgets": [{"account": "uid:2001", "owner_uid": OWNER,
            "meters": [{"meter": "requests", "limit": 10, "spent": 3, "left": 7}]}]}),
        )
        .expect("budgets"))
    }

    fn reset_budget(&self, caller: &Caller, account: &str) -> Result<Budget, ApiError> {
        let mut budgets = self.budgets(caller, true)?.budgets.into_iter();
        let found = budgets.find(|budget| budget.account == account);
        found.ok_or_else(|| ApiError::new(ErrorCode::NotFound, "there is no such account"))
    }

    fn approvals(&self, _: &Caller) -> ApprovalList {
        ApprovalList { approvals: vec![approval()] }
    }

    fn approval_changes(&self, _: &Caller) -> FakeQuestions {
        FakeQuestions(Some(approval()))
    }

    fn events(&self, _: &Caller) -> FakeEvents {
        FakeEvents(Some(Event::Approval(Box::new(approval()))))
    }

    fn approval(&self, _: &Caller, _: ApprovalId) -> Result<Approval, ApiError> {
        Ok(approval())
    }

    async fn answer(
        &self,
        _: &Caller,
        _: ApprovalId,
        answer: AnswerRequest,
    ) -> Result<Approval, ApiError> {
        Ok(Approval { left: answer.times.unwrap_or(1), ..approval() })
    }

    fn doctor(&self) -> Result<Doctor, ApiError> {
        Ok(Doctor {
            version: "1".into(),
            mode: Mode::BestEffort,
            kernel: "6.18".into(),
            healthy: false,
            controls: vec![control()],
        })
    }

    async fn top(&self, _: &Caller) -> Result<Top, ApiError> {
        Ok(Top { executions: Vec::new(), waiting: 1, parked: 0, parked_memory: 0 })
    }

    fn metrics(&self, _: &Caller) -> Result<String, ApiError> {
        Ok("# EOF\n".to_owned())
    }

    fn note(&self, _: &'static str, _: Option<ErrorCode>) {}

    async fn reload(&self, _caller: &Caller) -> Result<Reloaded, ApiError> {
        Ok(Reloaded { generation: 2, mode: Mode::Strict, policies: vec!["default".into()] })
    }

    fn credentials(&self, caller: &Caller) -> Result<CredentialList, ApiError> {
        if caller.role != Role::Admin {
            return Err(ApiError::new(ErrorCode::PermissionDenied, "administrators only"));
        }
        Ok(CredentialList { credentials: vec![credential()] })
    }

    async fn rotate_credential(&self, _: &Caller, name: &str) -> Result<Credential, ApiError> {
        if name != credential().name {
            return Err(ApiError::new(ErrorCode::NotFound, "there is no such credential"));
        }
        Ok(credential())
    }

    async fn revoke_credential(&self, caller: &Caller, name: &str) -> Result<Credential, ApiError> {
        self.rotate_credential(caller, name).await
    }
}
