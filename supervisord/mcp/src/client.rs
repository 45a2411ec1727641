//! The operations that tools are made of, one function each.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use serde::Serialize;
use serde::de::DeserializeOwned;
use supervisor_api::{
    ArtifactList, AuditPage, Cell, CreateInterpreter, CreateSession, Envelope, Execution,
    ExecutionId, ExecutionList, FileEntry, FileList, Interpreter, InterpreterList, MoveFile,
    RunCell, Session, SessionId, SessionList, Stream, SubmitRequest, percent_encoded,
};

use crate::door::{Door, Question, Sent};
use crate::failure::Failure;

/// Seconds that one request may wait for the end of an execution; the interface's own bound.
pub const WAIT_MAX: u64 = 60;

/// How long an answer may take when there is nothing to wait for: longer than the daemon waits for its launcher.
const PATIENCE: Duration = Duration::from_secs(45);

/// How long an answer may take that comes when a program or a whole workspace is gone.
const LONG: Duration = Duration::from_secs(600);

/// The largest JSON answer that is held in memory: a page of executions with long arguments fits.
const ANSWER_MAX: usize = 64 << 20;

/// The operations, as whoever has the door.
#[derive(Debug, Clone)]
pub struct Client(Arc<dyn Door>);

impl Client {
    /// The operations behind this door.
    pub fn new(door: Arc<dyn Door>) -> Self {
        Self(door)
    }

    /// Whether what is behind the door ends.
    pub fn is_closing(&self) -> bool {
        self.0.is_closing()
    }

    /// Submits. Not to be repeated after a failure, because it may have been accepted.
    pub async fn submit(&self, request: &SubmitRequest) -> Result<Execution, Failure> {
        self.tell(post("run this", "/v1/executions"), request).await
    }

    /// One execution, once it has finished or after so many seconds.
    pub async fn status(&self, id: ExecutionId, wait: u64) -> Result<Execution, Failure> {
        let wait = wait.min(WAIT_MAX);
        let target = format!("/v1/executions/{id}?wait={wait}");
        let question = get(format!("tell about {id}"), target);
        self.json(Question { patience: PATIENCE + Duration::from_secs(wait), ..question }).await
    }

    /// A page of finished executions of the caller's own, newest first.
    pub async fn finished(
        &self,
        limit: u16,
        after: Option<ExecutionId>,
    ) -> Result<ExecutionList, Failure> {
        let mut target = format!("/v1/executions?limit={limit}&state=finished");
        if let Some(id) = after {
            target.push_str(&format!("&after={id}"));
        }
        self.json(get("list executions", target)).await
    }

    /// Output from an offset, so many bytes at the most.
    pub async fn output_piece(
        &self,
        id: ExecutionId,
        stream: Stream,
        offset: u64,
        most: u64,
    ) -> Result<Vec<u8>, Failure> {
        let stream = match stream {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        };
        let target = format!("/v1/executions/{id}/output?stream={stream}&offset={offset}");
        let question = get(format!("read the output of {id}"), target);
        self.0.ask(Question { most: length(most), ..question }).await
    }

    /// Ends an execution; the answer comes when nothing of it runs any more.
    pub async fn cancel(&self, id: ExecutionId) -> Result<Execution, Failure> {
        self.json(post(format!("cancel {id}"), format!("/v1/executions/{id}/cancel"))).await
    }

    /// The artifacts of a finished execution.
    pub async fn artifacts(&self, id: ExecutionId) -> Result<ArtifactList, Failure> {
        let target = format!("/v1/executions/{id}/artifacts");
        self.json(get(format!("list the artifacts of {id}"), target)).await
    }

    /// Bytes of an artifact from an offset, so many at the most.
    pub async fn artifact_piece(
        &self,
        id: ExecutionId,
        path: &str,
        offset: u64,
        most: u64,
    ) -> Result<Vec<u8>, Failure> {
        let target = format!("/v1/executions/{id}/artifacts/{}", percent_encoded(path));
        self.piece(get(format!("fetch {path} of {id}"), target), offset, most).await
    }

    /// What was decided about an execution: records after this number.
    pub async fn decisions(&self, id: ExecutionId, after: u64) -> Result<AuditPage, Failure> {
        let target = format!("/v1/executions/{id}/decisions?after={after}");
        self.json(get(format!("tell what was decided about {id}"), target)).await
    }

    /// The signed statement about a finished execution.
    pub async fn receipt(&self, id: ExecutionId) -> Result<Envelope, Failure> {
        let target = format!("/v1/executions/{id}/receipt");
        self.json(get(format!("get the receipt of {id}"), target)).await
    }

    /// Makes a session.
    pub async fn create_session(&self, request: &CreateSession) -> Result<Session, Failure> {
        let question = post("make a session", "/v1/sessions");
        self.tell(Question { patience: LONG, ..question }, request).await
    }

    /// The caller's own sessions.
    pub async fn sessions(&self) -> Result<SessionList, Failure> {
        self.json(get("list sessions", "/v1/sessions")).await
    }

    /// Closes a session; the answer comes when nothing of it is left.
    pub async fn close_session(&self, id: SessionId) -> Result<Session, Failure> {
        self.json(delete(format!("close {id}"), format!("/v1/sessions/{id}"))).await
    }

    /// Starts an interpreter.
    pub async fn create_interpreter(
        &self,
        session: SessionId,
        request: &CreateInterpreter,
    ) -> Result<Interpreter, Failure> {
        let target = format!("/v1/sessions/{session}/interpreters");
        self.tell(post("start an interpreter", target), request).await
    }

    /// The interpreters of a session.
    pub async fn interpreters(&self, session: SessionId) -> Result<InterpreterList, Failure> {
        let target = format!("/v1/sessions/{session}/interpreters");
        self.json(get("list interpreters", target)).await
    }

    /// One interpreter.
    pub async fn interpreter(
        &self,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, Failure> {
        self.json(get(format!("tell about {id}"), place(session, id))).await
    }

    /// Interrupts the cell that runs.
    pub async fn interrupt(
        &self,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, Failure> {
        let target = format!("{}/interrupt", place(session, id));
        self.json(post(format!("interrupt {id}"), target)).await
    }

    /// Ends an interpreter; the answer comes when nothing of it runs any more.
    pub async fn close_interpreter(
        &self,
        session: SessionId,
        id: ExecutionId,
    ) -> Result<Interpreter, Failure> {
        self.json(delete(format!("close {id}"), place(session, id))).await
    }

    /// Gives an interpreter a cell; the answer comes at once. Not to be repeated after a failure, because it
    /// may have been taken.
    pub async fn run_cell(
        &self,
        session: SessionId,
        id: ExecutionId,
        request: &RunCell,
    ) -> Result<Cell, Failure> {
        self.tell(post("run the cell", format!("{}/cells", place(session, id))), request).await
    }

    /// One cell, once it has ended or after so many seconds.
    pub async fn cell(
        &self,
        session: SessionId,
        id: ExecutionId,
        number: u64,
        wait: u64,
    ) -> Result<Cell, Failure> {
        let target = format!("{}/cells/{number}?wait={wait}", place(session, id));
        let question = get(format!("tell about cell {number}"), target);
        self.json(Question { patience: PATIENCE + Duration::from_secs(wait), ..question }).await
    }

    /// What a directory holds.
    pub async fn list_files(
        &self,
        id: SessionId,
        path: Option<&str>,
        after: Option<&str>,
        limit: u16,
    ) -> Result<FileList, Failure> {
        let mut target = match path {
            None => format!("/v1/sessions/{id}/tree"),
            Some(path) => format!("/v1/sessions/{id}/tree/{}", percent_encoded(path)),
        };
        target.push_str(&format!("?limit={limit}"));
        if let Some(after) = after {
            target.push_str(&format!("&after={}", percent_encoded(after)));
        }
        self.json(get(format!("list files of {id}"), target)).await
    }

    /// What stands at a path.
    pub async fn stat_file(&self, id: SessionId, path: &str) -> Result<FileEntry, Failure> {
        let target = format!("/v1/sessions/{id}/stat/{}", percent_encoded(path));
        self.json(get(format!("look at {path}"), target)).await
    }

    /// Bytes of a file from an offset, so many at the most.
    pub async fn file_piece(
        &self,
        id: SessionId,
        path: &str,
        offset: u64,
        most: u64,
    ) -> Result<Vec<u8>, Failure> {
        self.piece(get(format!("read {path}"), file(id, path)), offset, most).await
    }

    /// Writes a file of these bytes.
    pub async fn write_file(
        &self,
        id: SessionId,
        path: &str,
        executable: bool,
        bytes: Vec<u8>,
    ) -> Result<FileEntry, Failure> {
        let target = format!("{}?executable={executable}", file(id, path));
        let question = get(format!("write {path}"), target);
        let body = Sent::Bytes(bytes);
        self.json(Question { method: Method::PUT, body, patience: LONG, ..question }).await
    }

    /// Removes a file or directory.
    pub async fn remove_file(
        &self,
        id: SessionId,
        path: &str,
        recursive: bool,
    ) -> Result<FileEntry, Failure> {
        let target = format!("{}?recursive={recursive}", file(id, path));
        self.json(delete(format!("remove {path}"), target)).await
    }

    /// Moves a file or directory.
    pub async fn move_file(&self, id: SessionId, request: &MoveFile) -> Result<FileEntry, Failure> {
        let target = format!("/v1/sessions/{id}/move");
        self.tell(post(format!("move {}", request.from), target), request).await
    }

    async fn json<T: DeserializeOwned>(&self, question: Question) -> Result<T, Failure> {
        let operation = question.operation.clone();
        let bytes = self.0.ask(question).await?;
        serde_json::from_slice(&bytes).map_err(Failure::misunderstood(&operation))
    }

    async fn tell<T: DeserializeOwned>(
        &self,
        question: Question,
        request: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_vec(request);
        let body = body.map_err(Failure::misunderstood(&question.operation))?;
        self.json(Question { body: Sent::Json(body), ..question }).await
    }

    async fn piece(&self, question: Question, offset: u64, most: u64) -> Result<Vec<u8>, Failure> {
        let last = offset.saturating_add(most).saturating_sub(1);
        self.0.ask(Question { range: Some((offset, last)), most: length(most), ..question }).await
    }
}

fn get(operation: impl Into<String>, target: impl Into<String>) -> Question {
    Question {
        operation: operation.into(),
        method: Method::GET,
        target: target.into(),
        body: Sent::Nothing,
        range: None,
        patience: PATIENCE,
        most: ANSWER_MAX,
    }
}

fn post(operation: impl Into<String>, target: impl Into<String>) -> Question {
    Question { method: Method::POST, patience: 2 * PATIENCE, ..get(operation, target) }
}

fn delete(operation: impl Into<String>, target: impl Into<String>) -> Question {
    Question { method: Method::DELETE, patience: LONG, ..get(operation, target) }
}

fn place(session: SessionId, id: ExecutionId) -> String {
    format!("/v1/sessions/{session}/interpreters/{id}")
}

fn file(id: SessionId, path: &str) -> String {
    format!("/v1/sessions/{id}/files/{}", percent_encoded(path))
}

fn length(most: u64) -> usize {
    usize::try_from(most).unwrap_or(usize::MAX)
}
