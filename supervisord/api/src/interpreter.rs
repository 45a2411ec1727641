//! Interpreters as callers see them: executions that stay and take cells.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Content, ExecutionId, Language, LimitsRequest, Outcome, SessionId, UniqueMap};

/// Starts an interpreter in a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateInterpreter {
    /// Its language.
    pub language: Language,
    /// Variables added to the policy's environment.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub env: UniqueMap,
    /// Limits of the execution that it is. Of `wall_time`, `cpu_time` and `output_bytes` it gets the policy's
    /// maximum where they are left out: it stays.
    #[serde(default)]
    pub limits: LimitsRequest,
    /// Seconds without a cell after which it is ended; half an hour if left out, a day at the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<u64>,
    /// The caller's own marks of the execution.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub labels: UniqueMap,
}

/// Where an interpreter is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterpreterState {
    /// It waits for a cell.
    Idle,
    /// It runs one, or is about to.
    Busy,
    /// It has ended, and its variables with it. None takes its place.
    Ended,
}

/// Why an interpreter has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InterpreterEnd {
    /// Somebody closed it, or its session.
    Closed,
    /// No cell came for so long as it was made for.
    Idle,
    /// A cell was out of time and didn't stop when it was interrupted.
    CellTimedOut,
    /// A cell wrote more than it may and didn't stop when it was interrupted.
    CellOutput,
    /// What came out of it is no word of an interpreter.
    ChannelBroken,
    /// Its process ended; the outcome says how.
    Process,
}

/// An interpreter: an execution that takes cells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Interpreter {
    /// Its execution's id.
    pub id: ExecutionId,
    /// Its session.
    pub session: SessionId,
    /// Its language.
    pub language: Language,
    /// Where it is in its life.
    pub state: InterpreterState,
    /// Why it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<InterpreterEnd>,
    /// How its execution ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Seconds without a cell after which it is ended.
    pub idle_timeout: u64,
    /// Cells that it was given.
    pub cells: u64,
    /// Cells that wait for their turn.
    pub waiting: u64,
    /// Time it was made, RFC 3339 in UTC.
    pub created_at: String,
}

/// The interpreters of a session, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InterpreterList {
    /// The interpreters; of those that have ended, the last few.
    pub interpreters: Vec<Interpreter>,
}

/// Gives an interpreter a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunCell {
    /// The cell's text, 1 MiB at the most.
    pub source: String,
    /// Milliseconds that it may take, from its turn on; a minute if left out, its execution's `wall_time` at
    /// the most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_time: Option<u64>,
    /// Bytes that it may write, both streams together; its execution's `output_bytes` if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Answer only when it has ended.
    #[serde(default)]
    pub wait: bool,
}

/// Where a cell is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellState {
    /// Cells before it have not ended.
    Waiting,
    /// It runs.
    Running,
    /// It has ended.
    Done,
}

/// How a cell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellOutcome {
    /// It came to its end.
    Ok,
    /// An error ended it; the variables are as it left them.
    Error,
    /// Somebody interrupted it; the variables are as it left them.
    Interrupted,
    /// Its time was up. It was interrupted; `end` of the interpreter says whether that was enough.
    TimedOut,
    /// It wrote more than it may. It was interrupted, in the same way.
    OutputExceeded,
    /// The interpreter ended before it did; whether it had begun, `started_at` says.
    Lost,
}

/// Something that a cell has to show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellResult {
    /// Whether it is the cell's last value, was displayed, or is a figure that was open at the end.
    pub kind: CellResultKind,
    /// What it looks like, by media type. All of it is the payload's choice: text as it is, JSON as text,
    /// images in base64 but for SVG.
    pub data: BTreeMap<String, String>,
}

/// Where something that a cell shows comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CellResultKind {
    /// The value of its last expression.
    Value,
    /// It was displayed while the cell ran.
    Display,
    /// A figure that was open when the cell ended.
    Figure,
}

/// An error that ended a cell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellError {
    /// The kind of error, such as `ZeroDivisionError`.
    pub name: String,
    /// Its text.
    pub value: String,
    /// The lines of its traceback, with those of the source.
    pub traceback: Vec<String>,
}

/// What a cell wrote to one stream of its execution.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellOutput {
    /// Where it begins among the bytes that the execution's stream has.
    pub from: u64,
    /// Where it ends.
    pub to: u64,
    /// Bytes that were cut because of the execution's `output_bytes`.
    pub cut: u64,
    /// The bytes, up to 64 KiB; the rest is to be read as output of the execution. Left out in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<Content>,
}

/// A cell of an interpreter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// Its number in its interpreter, from 1 on.
    pub number: u64,
    /// Where it is in its life.
    pub state: CellState,
    /// How it ended, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<CellOutcome>,
    /// Its text.
    pub source: String,
    /// Milliseconds that it may take.
    pub wall_time: u64,
    /// Bytes that it may write.
    pub output_bytes: u64,
    /// What it has to show, in the order in which it came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<CellResult>,
    /// Representations that were left out because a cell's may take 2 MiB.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub results_dropped: u64,
    /// The error that ended it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<CellError>,
    /// The exit status of its last command; bash only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_status: Option<u8>,
    /// What it wrote to standard output.
    pub stdout: CellOutput,
    /// What it wrote to standard error.
    pub stderr: CellOutput,
    /// Time it was accepted, RFC 3339 in UTC.
    pub created_at: String,
    /// Time its turn came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Microseconds from its turn to its end, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
}

/// The last cells of an interpreter, oldest first: 100 and 8 MiB at the most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CellList {
    /// The cells, without their output's bytes.
    pub cells: Vec<Cell>,
    /// Cells before these that are no longer kept.
    pub forgotten: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
