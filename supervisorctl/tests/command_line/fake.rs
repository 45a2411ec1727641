//! A daemon of the test's making: HTTP/1.1 on a Unix socket, one execution, and a script of what
//! goes wrong. It refuses what is not in the table of operations.

mod answer;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use supervisor_api::{
    ApiError, Artifact, Content, Execution, ExecutionId, Outcome, OutputChunk, RefusedArtifact,
    Stream,
};
use tempfile::TempDir;
use tokio::net::UnixListener;
use tokio::sync::watch;

use self::answer::answer;
use crate::program::{self, Ended};

/// Longer than any step of a test takes on a slow machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the daemon does and has.
pub struct Script {
    /// The execution once it has finished.
    pub execution: Execution,
    /// Its output.
    pub chunks: Vec<OutputChunk>,
    /// Its artifacts: as they are listed, and the bytes that are sent.
    pub artifacts: Vec<(Artifact, Vec<u8>)>,
    /// Paths that were not kept.
    pub refused: Vec<RefusedArtifact>,
    /// The answer to a submission.
    pub refusal: Option<ApiError>,
    /// For each request of output: after how many chunks the connection breaks.
    pub breaks: VecDeque<usize>,
    /// How often output is refused because the daemon is busy.
    pub busy: u32,
    /// Whether an execution's decisions are a submission, what was counted and what failed.
    pub story: bool,
    /// How many refusals there are besides, on pages of a thousand.
    pub refusals: u64,
    /// Whether the execution goes on until it is cancelled.
    pub runs_until_cancelled: bool,
}

/// A request that came.
#[derive(Clone)]
pub struct Recorded {
    pub operation: &'static str,
    pub target: String,
    pub body: Value,
}

/// The daemon.
pub struct Fake {
    directory: TempDir,
    shared: Arc<Shared>,
}

struct Shared {
    script: Mutex<Script>,
    requests: Mutex<Vec<Recorded>>,
    came: Condvar,
    cancelled: watch::Sender<bool>,
}

impl Fake {
    /// A daemon whose execution exits with status 0 and does nothing.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// A daemon with this script.
    pub fn with(prepare: impl FnOnce(&mut Script)) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let mut script = Script {
            execution: execution(Outcome::Exited { code: 0 }),
            chunks: Vec::new(),
            artifacts: Vec::new(),
            refused: Vec::new(),
            refusal: None,
            breaks: VecDeque::new(),
            busy: 0,
            story: false,
            refusals: 0,
            runs_until_cancelled: false,
        };
        prepare(&mut script);
        let kept = |stream| {
            let of = script.chunks.iter().filter(|chunk| chunk.stream == stream);
            of.map(|chunk| chunk.data.0.len() as u64).sum()
        };
        script.execution.output.stdout.kept = kept(Stream::Stdout);
        script.execution.output.stderr.kept = kept(Stream::Stderr);
        script.execution.artifact_count = script.artifacts.len() as u64;
        let shared = Arc::new(Shared {
            script: Mutex::new(script),
            requests: Mutex::new(Vec::new()),
            came: Condvar::new(),
            cancelled: watch::Sender::new(false),
        });
        let fake = Self { directory, shared };
        fake.serve();
        fake
    }

    /// The socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("api.sock")
    }

    /// A directory for the program to run in.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The program with these arguments, ready to be started.
    pub fn command(&self, arguments: &[&str]) -> Command {
        program::command(&self.socket(), self.directory(), arguments)
    }

    /// The program with these arguments, from its start to its end.
    pub fn ctl(&self, arguments: &[&str]) -> Ended {
        self.command(arguments).output().expect("started").into()
    }

    /// The requests of one operation that have come.
    pub fn requests(&self, operation: &str) -> Vec<Recorded> {
        let requests = self.shared.requests.lock().expect("whole");
        requests.iter().filter(|request| request.operation == operation).cloned().collect()
    }

    /// Waits until there is a request of this operation.
    pub fn wait_for(&self, operation: &str) {
        let requests = self.shared.requests.lock().expect("whole");
        let missing = |requests: &mut Vec<Recorded>| {
            !requests.iter().any(|request| request.operation == operation)
        };
        let (_requests, waited) =
            self.shared.came.wait_timeout_while(requests, PATIENCE, missing).expect("whole");
        assert!(!waited.timed_out(), "no request of {operation}");
    }

    fn serve(&self) {
        let listener = std::os::unix::net::UnixListener::bind(self.socket()).expect("bound");
        listener.set_nonblocking(true).expect("non-blocking");
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("ready");
            runtime.block_on(async {
                let listener = UnixListener::from_std(listener).expect("a listener");
                while let Ok((stream, _)) = listener.accept().await {
                    let shared = Arc::clone(&shared);
                    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service);
                    tokio::spawn(async { connection.await.ok() });
                }
            });
        });
    }
}

/// The id of the one execution.
pub const ID: ExecutionId = ExecutionId::from_bits(0x1234_5678_9abc_def0);

/// A finished execution with this outcome.
pub fn execution(outcome: Outcome) -> Execution {
    let limits: serde_json::Map<String, Value> = supervisor_api::Limit::ALL
        .iter()
        .map(|limit| (limit.name().to_owned(), json!(512 << 20)))
        .collect();
    serde_json::from_value(json!({
        "id": ID,
        "session": "se-aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "owner_uid": 1000,
        "state": "finished",
        "outcome": outcome,
        "argv": ["true"],
        "policy": {"name": "default", "digest": "0123456789abcdef0123456789abcdef"},
        "limits": limits,
        "created_at": "2026-01-01T00:00:00Z",
        "usage": {"wall_ms": 1250, "cpu_ms": 800, "memory_peak": 45_000_000},
        "output": {"stdout": {"kept": 0, "cut": 0}, "stderr": {"kept": 0, "cut": 0}},
        "artifact_count": 0,
        "artifacts_truncated": false,
        "controls": [
            {"control": "network_namespace", "status": "enforced", "by": "CLONE_NEWNET"},
            {"control": "memory_max", "status": "weaker", "by": "RLIMIT_AS",
             "reason": "no memory controller", "remedy": "boot with cgroup v2"},
        ],
    }))
    .expect("an execution")
}

/// Chunks one after the other.
pub fn chunks(pieces: &[(Stream, &[u8])]) -> Vec<OutputChunk> {
    let mut offset = 0;
    let chunk = |(stream, bytes): &(Stream, &[u8])| {
        let chunk = OutputChunk { offset, stream: *stream, data: Content(bytes.to_vec()) };
        offset += bytes.len() as u64;
        chunk
    };
    pieces.iter().map(chunk).collect()
}

/// An artifact with its true digest.
pub fn artifact(path: &str, bytes: &[u8]) -> (Artifact, Vec<u8>) {
    let sha256 = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    let listed = Artifact {
        path: path.to_owned(),
        size: bytes.len() as u64,
        sha256,
        media_type: "application/octet-stream".to_owned(),
    };
    (listed, bytes.to_vec())
}
