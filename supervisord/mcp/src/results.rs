//! What tools answer, apart from what the daemon's own types say already.

use schemars::JsonSchema;
use serde::Serialize;
use supervisor_api::{
    CellError, CellOutcome, ExecutionId, FileEntry, Language, Outcome, RefusedArtifact, Session,
    SessionId, State, Usage,
};

/// How an execution stands or ended.
#[derive(Debug, Serialize, JsonSchema)]
pub struct RunResult {
    /// The execution; `why`, `read_output` and `read_artifact` take it.
    pub execution: ExecutionId,
    /// Its session.
    pub session: SessionId,
    /// Where it is in its life.
    pub state: State,
    /// How it ended, once it has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// The same in words.
    pub summary: String,
    /// Its standard output.
    pub stdout: Excerpt,
    /// Its standard error.
    pub stderr: Excerpt,
    /// Files that were kept.
    pub artifacts: Vec<KeptArtifact>,
    /// Paths that were asked for and not kept, with the reason.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub artifacts_refused: Vec<RefusedArtifact>,
    /// The first things that were refused to it, by rule; `why` has them all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refusals: Vec<Refusal>,
    /// Name of the policy that held it.
    pub policy: String,
    /// Controls that held it in a weaker form, or not at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weaker_controls: Vec<String>,
    /// What it used.
    pub usage: Usage,
}

/// The beginning and the end of a stream.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct Excerpt {
    /// The bytes as text, with U+FFFD for what is not UTF-8. Where the middle is left out, a line says so.
    pub text: String,
    /// Bytes that there are.
    pub size: u64,
    /// Bytes that were thrown away because of a limit.
    pub cut: u64,
    /// What was left out here: `read_output` reads it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left_out: Option<Gap>,
}

/// A part of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Gap {
    /// Its first byte.
    pub from: u64,
    /// The byte after its last.
    pub to: u64,
}

/// A file that was kept.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeptArtifact {
    /// Path relative to the workspace.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
    /// Media type.
    pub media_type: String,
    /// The resource that it can be read as.
    pub uri: String,
}

/// Something that was refused or cut.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Refusal {
    /// When, RFC 3339 in UTC.
    pub time: String,
    /// `egress`, `dns`, `limit`, `credential`, `budget` or `submission`, as in the audit log.
    pub kind: String,
    /// What was refused.
    pub what: String,
    /// A stable word for why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The rule that refused it, with its file and line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why, in a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What would have allowed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Answer of `why`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct WhyResult {
    /// The execution.
    pub execution: ExecutionId,
    /// What was refused or cut, oldest first.
    pub refusals: Vec<Refusal>,
    /// Decisions that allowed what was asked.
    pub allowed: u64,
    /// Refusals that were too many to be recorded one by one.
    pub counted: u64,
    /// Whether the audit log still reaches back to where the execution began.
    pub whole: bool,
    /// Whether there is more than this answer holds: `supervisorctl why` has it.
    pub truncated: bool,
}

/// Some bytes of something longer.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Piece {
    /// The bytes, if they are text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The bytes in base64, if they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Where they begin.
    pub offset: u64,
    /// Where the next ones begin, if there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_offset: Option<u64>,
    /// Bytes that there are in all.
    pub size: u64,
    /// Media type, where it is a picture that is shown beside this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub picture: Option<String>,
}

/// Answer of `list_sessions`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Sessions {
    /// Your sessions, newest first.
    pub sessions: Vec<Session>,
}

/// Answer of `list_files`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Files {
    /// What the directory holds, by name.
    pub entries: Vec<FileEntry>,
    /// Whether some were left out: 1,000 are the most here, and some names can't be paths.
    pub truncated: bool,
    /// Give this as `after` to go on; absent where nothing comes after.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Answer of `list_artifacts`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Artifacts {
    /// What was kept.
    pub artifacts: Vec<KeptArtifact>,
    /// What was asked for and not kept, with the reason.
    pub refused: Vec<RefusedArtifact>,
    /// Whether some were left out: by a limit of the policy, or because 200 are the most here.
    pub truncated: bool,
}

/// What came of a cell.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CellAnswer {
    /// The interpreter, for `read_output` and `close_interpreter`.
    pub interpreter: ExecutionId,
    /// Its language.
    pub language: Language,
    /// Whether this cell started it, so that it knew nothing of cells before.
    pub started: bool,
    /// The cell's number.
    pub number: u64,
    /// How it ended; `lost` is the end of the interpreter, and of its variables.
    pub outcome: CellOutcome,
    /// What it has to show as text, in the order in which it came.
    pub values: Vec<String>,
    /// The error that ended it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<CellError>,
    /// The exit status of its last command; bash only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// What it wrote to standard output; offsets are those of the interpreter's stream.
    pub stdout: Excerpt,
    /// What it wrote to standard error.
    pub stderr: Excerpt,
}
