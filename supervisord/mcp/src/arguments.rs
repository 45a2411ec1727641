//! What tools are given. What is not known is refused, so that a misspelt argument is noticed.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use supervisor_api::{ExecutionId, Language, SessionId};

/// Arguments of `run`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Language of `code`.
    #[serde(default)]
    pub language: Option<Language>,
    /// Text of the program. Give either `language` and `code`, or `argv`.
    #[serde(default)]
    pub code: Option<String>,
    /// A program and its arguments, without a shell; with `code`, arguments of the code.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Session in whose workspace it runs, from `create_session`. If left out, it has a workspace of its own,
    /// which is gone afterwards.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// Files that stand in the workspace before it starts.
    #[serde(default)]
    pub files: Vec<NewFile>,
    /// Standard input.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Variables of its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Working directory, relative to the workspace.
    #[serde(default)]
    pub cwd: Option<String>,
    /// Seconds after which it is ended; the policy's default if left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<u64>,
    /// Bytes of memory; the policy's default if left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub memory_bytes: Option<u64>,
    /// Files to keep as artifacts: globs relative to the workspace, such as `*.png` or `out/**`.
    #[serde(default)]
    pub artifacts: Vec<String>,
    /// Name of the policy; your default one, or the session's, if left out.
    #[serde(default)]
    pub policy: Option<String>,
    /// Image that its root is, one of those that the policy lets you choose from; the policy's own if left out.
    #[serde(default)]
    pub image: Option<String>,
    /// Answer at once, and let it run: `status` tells how it goes.
    #[serde(default)]
    pub detach: bool,
}

/// A file that is handed in.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFile {
    /// Path relative to the workspace.
    pub path: String,
    /// Its content, if that is text.
    #[serde(default)]
    pub text: Option<String>,
    /// Its content in base64, if it is not.
    #[serde(default)]
    pub base64: Option<String>,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// Arguments of `status`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Status {
    /// The execution.
    pub execution: ExecutionId,
    /// Seconds to wait for its end at the most; 60 is the most.
    #[serde(default)]
    #[schemars(range(max = 60))]
    pub wait_seconds: u64,
}

/// An execution and nothing else.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneExecution {
    /// The execution.
    pub execution: ExecutionId,
}

/// One stream of an execution's output.
#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StreamName {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// Arguments of `read_output`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadOutput {
    /// The execution, or the interpreter.
    pub execution: ExecutionId,
    /// Which stream.
    pub stream: StreamName,
    /// Byte to begin at.
    #[serde(default)]
    pub offset: u64,
    /// Bytes to read; 65536 if left out, 262144 at the most.
    #[serde(default)]
    pub length: Option<u64>,
}

/// Arguments of `read_artifact`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadArtifact {
    /// The execution.
    pub execution: ExecutionId,
    /// Path of the artifact.
    pub path: String,
    /// Byte to begin at.
    #[serde(default)]
    pub offset: u64,
    /// Bytes to read; 65536 if left out, 262144 at the most.
    #[serde(default)]
    pub length: Option<u64>,
}

/// Arguments of `create_session`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// Seconds until it is closed by itself; an hour if left out, 30 days at the most.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub time_to_live_seconds: Option<u64>,
    /// Name of the policy of all that runs in it; your default one if left out.
    #[serde(default)]
    pub policy: Option<String>,
    /// Marks of your own, shown in lists.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Session or snapshot of yours that its workspace begins as a copy of.
    #[serde(default)]
    pub from: Option<SessionId>,
}

/// No arguments.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A session and nothing else.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneSession {
    /// The session.
    pub session: SessionId,
}

/// Arguments of `run_cell`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCell {
    /// The session, from `create_session`.
    pub session: SessionId,
    /// Text of the cell. What it leaves (variables, imports, the working directory) the next cell finds.
    pub code: String,
    /// Language of the interpreter; Python if left out. The first cell starts it.
    #[serde(default)]
    pub language: Option<Language>,
    /// The interpreter, where the session has several of the language.
    #[serde(default)]
    pub interpreter: Option<ExecutionId>,
    /// Seconds after which the cell is interrupted; 60 if left out.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub timeout_seconds: Option<u64>,
}

/// Arguments of `close_interpreter`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OneInterpreter {
    /// The session.
    pub session: SessionId,
    /// The interpreter.
    pub interpreter: ExecutionId,
}

/// Arguments of `list_files`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ListFiles {
    /// The session.
    pub session: SessionId,
    /// Directory, relative to the workspace; the workspace itself if left out.
    #[serde(default)]
    pub path: Option<String>,
    /// Where to go on: `next` of the answer before.
    #[serde(default)]
    pub after: Option<String>,
}

/// Arguments of `read_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadFile {
    /// The session.
    pub session: SessionId,
    /// Path relative to the workspace.
    pub path: String,
    /// Byte to begin at.
    #[serde(default)]
    pub offset: u64,
    /// Bytes to read; 65536 if left out, 262144 at the most.
    #[serde(default)]
    pub length: Option<u64>,
}

/// Arguments of `write_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// The session.
    pub session: SessionId,
    /// Path relative to the workspace. The directories that lead there are made.
    pub path: String,
    /// The content, if that is text.
    #[serde(default)]
    pub text: Option<String>,
    /// The content in base64, if it is not.
    #[serde(default)]
    pub base64: Option<String>,
    /// Whether it may be executed.
    #[serde(default)]
    pub executable: bool,
}

/// Arguments of `remove_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveFile {
    /// The session.
    pub session: SessionId,
    /// Path relative to the workspace.
    pub path: String,
    /// Remove a directory with all that it holds.
    #[serde(default)]
    pub recursive: bool,
}

/// Arguments of `move_file`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveTo {
    /// The session.
    pub session: SessionId,
    /// From where, relative to the workspace.
    pub from: String,
    /// To where.
    pub to: String,
    /// Whether what stands there is replaced.
    #[serde(default)]
    pub replace: bool,
}
