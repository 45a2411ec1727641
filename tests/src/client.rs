//! The operations of the interface. Every answer is held against the OpenAPI document.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;
use supervisor_api::{
    ApiError, ArtifactList, AuditPage, Doctor, Execution, ExecutionId, ExecutionList, InputState,
    Outcome, SampleList, State, SubmitRequest, TerminalSize,
};

use crate::attempts::Attempts;
use crate::contract::assert_described;
use crate::follow::{Follow, Selection};
use crate::http::{Connection, Reply};
use crate::peer::connect_as;

/// A caller of the daemon.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
    uid: Option<u32>,
    groups: Vec<u32>,
}

/// An execution that has finished, and its output.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its record.
    pub execution: Execution,
    /// Its standard output; what is not UTF-8 is replaced.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Client {
    /// A caller as this uid at another socket of the daemon's.
    pub fn at(socket: PathBuf, uid: Option<u32>) -> Self {
        Self::new(socket, uid)
    }

    pub(crate) fn new(socket: PathBuf, uid: Option<u32>) -> Self {
        Self { socket, uid, groups: Vec::new() }
    }

    /// The same caller as a member of this group.
    pub(crate) fn in_group(self, group: u32) -> Self {
        Self { groups: vec![group], ..self }
    }

    /// Whose calls these are.
    pub fn uid(&self) -> u32 {
        self.uid.unwrap_or(0)
    }

    /// A new connection.
    pub fn connect(&self) -> io::Result<Connection> {
        let stream = match self.uid {
            Some(uid) => connect_as(&self.socket, uid, &self.groups),
            None => UnixStream::connect(&self.socket),
        };
        stream.map(Connection::new)
    }

    /// Sends one request on a connection of its own and reads the answer.
    pub fn call(&self, method: &str, target: &str, body: Option<&[u8]>) -> io::Result<Reply> {
        let mut connection = self.connect()?;
        match connection.request(method, target, body) {
            // Whoever refuses may have closed by now; what it said is there to be read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        connection.reply()
    }

    /// Sends a submission with this body, whatever it is.
    #[track_caller]
    pub fn submit_bytes(&self, body: &[u8]) -> Reply {
        self.call("POST", "/v1/executions", Some(body)).expect("the daemon answers")
    }

    /// Submits.
    #[track_caller]
    pub fn submit(&self, request: &SubmitRequest) -> Result<Execution, ApiError> {
        typed("submit", &self.submit_bytes(&serde_json::to_vec(request).unwrap()))
    }

    /// Submits what will be accepted.
    #[track_caller]
    pub fn start(&self, request: &SubmitRequest) -> ExecutionId {
        match self.submit(request) {
            Ok(execution) => execution.id,
            Err(error) => panic!("refused: {error}"),
        }
    }

    /// Submits, waits for the end and reads the output.
    #[track_caller]
    pub fn run(&self, request: &SubmitRequest) -> Ended {
        let id = self.start(request);
        self.ended(id)
    }

    /// Waits for the end and reads the output.
    #[track_caller]
    pub fn ended(&self, id: ExecutionId) -> Ended {
        let execution = self.finished(id);
        let read = |selection| {
            let bytes = self.output(id, selection, 0).expect("there is output");
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let (stdout, stderr) = (read(Selection::Stdout), read(Selection::Stderr));
        if std::env::var_os("SUPERVISORD_WITHOUT").is_some() {
            println!("{:?}\n{stdout}\n{stderr}", execution.outcome); // what a line of MUTATIONS.md is about
        }
        Ended { execution, stdout, stderr }
    }

    /// Waits for the end.
    #[track_caller]
    pub fn finished(&self, id: ExecutionId) -> Execution {
        loop {
            let execution = self.status(id, 60).expect("it is known");
            if execution.state == State::Finished {
                return execution;
            }
        }
    }

    /// One execution, after so many seconds at the most if it has not finished.
    #[track_caller]
    pub fn status(&self, id: ExecutionId, wait: u64) -> Result<Execution, ApiError> {
        typed("status", &self.get(&format!("/v1/executions/{id}?wait={wait}")))
    }

    /// A page of executions.
    #[track_caller]
    pub fn list(&self, query: &str) -> Result<ExecutionList, ApiError> {
        typed("list", &self.get(&format!("/v1/executions?{query}")))
    }

    /// Ends an execution.
    #[track_caller]
    pub fn cancel(&self, id: ExecutionId) -> Result<Execution, ApiError> {
        let reply = self.call("POST", &format!("/v1/executions/{id}/cancel"), None);
        typed("cancel", &reply.expect("the daemon answers"))
    }

    /// Ends every execution of these owners that has not finished; the ids of all that they have. Root's to
    /// call.
    #[track_caller]
    pub(crate) fn cancel_all(&self, is_owner: impl Fn(u32) -> bool) -> Vec<ExecutionId> {
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.list(&format!("all=true&limit=200{after}")).expect("root may");
            for execution in page.executions.into_iter().filter(|each| is_owner(each.owner_uid)) {
                if execution.state != State::Finished {
                    self.cancel(execution.id).expect("root may");
                }
                all.push(execution.id);
            }
            match page.next {
                Some(next) => after = format!("&after={next}"),
                None => return all,
            }
        }
    }

    /// Output from an offset to its present end.
    #[track_caller]
    pub fn output(
        &self,
        id: ExecutionId,
        selection: Selection,
        offset: u64,
    ) -> Result<Vec<u8>, ApiError> {
        let target = output_target(id, selection, offset, false);
        let reply = self.get(&target);
        if reply.status == 200 { Ok(reply.body) } else { Err(reply.problem()) }
    }

    /// Output from an offset, live.
    pub fn follow(&self, id: ExecutionId, selection: Selection, offset: u64) -> io::Result<Follow> {
        let mut connection = self.connect()?;
        connection.request("GET", &output_target(id, selection, offset, true), None)?;
        Follow::new(connection)
    }

    /// Waits until an execution has said this on its standard output.
    #[track_caller]
    pub fn wait_for_words(&self, id: ExecutionId, words: &str) -> String {
        self.follow(id, Selection::Stdout, 0).expect("it can be followed").until_it_says(words)
    }

    /// Sends bytes to a payload's standard input, of which the first stands at this offset.
    #[track_caller]
    pub fn send(
        &self,
        id: ExecutionId,
        offset: u64,
        bytes: impl AsRef<[u8]>,
    ) -> Result<InputState, ApiError> {
        let target = format!("/v1/executions/{id}/stdin?offset={offset}");
        let reply = self.call("POST", &target, Some(bytes.as_ref()));
        typed("send_input", &reply.expect("the daemon answers"))
    }

    /// How far a payload's standard input has come.
    #[track_caller]
    pub fn input(&self, id: ExecutionId) -> Result<InputState, ApiError> {
        typed("input", &self.get(&format!("/v1/executions/{id}/stdin")))
    }

    /// Sets the size of a payload's terminal.
    #[track_caller]
    pub fn resize(&self, id: ExecutionId, size: TerminalSize) -> Result<TerminalSize, ApiError> {
        let body = serde_json::to_vec(&size).unwrap();
        let reply = self.call("POST", &format!("/v1/executions/{id}/terminal"), Some(&body));
        typed("resize_terminal", &reply.expect("the daemon answers"))
    }

    /// Ends a payload's standard input.
    #[track_caller]
    pub fn close_input(&self, id: ExecutionId) -> Result<InputState, ApiError> {
        let reply = self.call("POST", &format!("/v1/executions/{id}/stdin/close"), None);
        typed("close_input", &reply.expect("the daemon answers"))
    }

    /// What an execution has used over time.
    #[track_caller]
    pub fn samples(&self, id: ExecutionId) -> Result<SampleList, ApiError> {
        typed("samples", &self.get(&format!("/v1/executions/{id}/samples")))
    }

    /// The artifacts of an execution.
    #[track_caller]
    pub fn artifacts(&self, id: ExecutionId) -> Result<ArtifactList, ApiError> {
        typed("artifacts", &self.get(&format!("/v1/executions/{id}/artifacts")))
    }

    /// The paths of what was kept of an execution.
    #[track_caller]
    pub fn kept(&self, id: ExecutionId) -> Vec<String> {
        let list = self.artifacts(id).expect("it has finished");
        list.artifacts.into_iter().map(|each| each.path).collect()
    }

    /// The path of what matched and was not kept, and why.
    #[track_caller]
    pub fn refused(&self, id: ExecutionId) -> BTreeMap<String, String> {
        let list = self.artifacts(id).expect("it has finished");
        list.refused.into_iter().map(|each| (each.path, each.reason)).collect()
    }

    /// The bytes of one artifact; the path is sent as it stands here.
    #[track_caller]
    pub fn artifact(&self, id: ExecutionId, path: &str) -> Result<Vec<u8>, ApiError> {
        let reply = self.get(&format!("/v1/executions/{id}/artifacts/{path}"));
        if reply.status == 200 { Ok(reply.body) } else { Err(reply.problem()) }
    }

    /// Records of the audit log that match a query, as many as one call gives.
    #[track_caller]
    pub fn audit(&self, query: &str) -> Result<AuditPage, ApiError> {
        typed("audit", &self.get(&format!("/v1/audit?{query}")))
    }

    /// What the host can enforce.
    #[track_caller]
    pub fn doctor(&self) -> Doctor {
        typed("doctor", &self.get("/v1/doctor")).expect("anybody may ask")
    }

    /// The interface's own description.
    #[track_caller]
    pub fn openapi(&self) -> Value {
        self.get("/v1/openapi.json").json()
    }

    #[track_caller]
    fn get(&self, target: &str) -> Reply {
        self.call("GET", target, None).expect("the daemon answers")
    }
}

impl Ended {
    /// What the attempts in its output came to; it must have exited with 0.
    #[track_caller]
    pub fn attempts(&self) -> Attempts {
        self.expect_exit(0);
        Attempts::of(&self.stdout)
    }

    /// The numbers in the line of its output that starts so.
    #[track_caller]
    pub fn numbers(&self, start: &str) -> Vec<u64> {
        let line = self.stdout.lines().find_map(|line| line.strip_prefix(start));
        let line = line.unwrap_or_else(|| panic!("no {start:?}: {self:?}"));
        line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
    }

    /// Fails unless it exited with this status.
    #[track_caller]
    pub fn expect_exit(&self, code: u8) {
        self.expect(&Outcome::Exited { code });
    }

    /// Fails unless it ended so.
    #[track_caller]
    pub fn expect(&self, outcome: &Outcome) {
        let (stdout, stderr) = (&self.stdout, &self.stderr);
        assert_eq!(self.execution.outcome.as_ref(), Some(outcome), "{stdout}\n{stderr}");
    }
}

fn output_target(id: ExecutionId, selection: Selection, offset: u64, follow: bool) -> String {
    let stream = selection.word();
    format!("/v1/executions/{id}/output?stream={stream}&offset={offset}&follow={follow}")
}

#[track_caller]
fn typed<T: DeserializeOwned>(operation: &str, reply: &Reply) -> Result<T, ApiError> {
    if reply.status >= 400 {
        return Err(reply.problem());
    }
    assert_described(operation, reply.status, reply.field("content-type"), &reply.body);
    Ok(serde_json::from_slice(&reply.body).expect("described and readable are the same"))
}
