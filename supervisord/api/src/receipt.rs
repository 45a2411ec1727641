//! A receipt: what an execution was given, what held it, what was decided about it and what came out,
//! as one signed statement (in-toto Statement v1 in a DSSE v1 envelope) that can be checked offline.

mod decisions;
mod envelope;
mod fields;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

pub use self::decisions::{Decisions, DecisionsRoot};
pub use self::envelope::{BadEnvelope, Envelope, EnvelopeSignature};
pub use self::fields::{FieldChange, SignedFields};
use crate::{
    ControlReport, Digest32, Execution, ExecutionId, InputFile, Language, Limits, Outcome,
    OutputSummary, PolicyReference, SessionId, StartKind, UniqueMap, Usage,
};

/// `_type` of every in-toto statement of version 1.
pub const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// What our predicate is called: a URN, since it is a name and no address.
pub const PREDICATE_TYPE: &str = "urn:supervisord:execution:v1";

/// The subject that stands for the bytes of standard output; artifacts are `artifacts/PATH`.
pub const STDOUT: &str = "stdout";

/// The same for standard error.
pub const STDERR: &str = "stderr";

/// What comes before an artifact's path in its subject's name.
pub const ARTIFACTS: &str = "artifacts/";

/// Bytes that an execution was given, by what they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputDigest {
    /// Where it stood beneath the workspace at the start.
    pub path: String,
    /// How many bytes.
    pub size: u64,
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
}

/// What an execution was given. What an earlier execution of its session left is not among it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Inputs {
    /// The files of the submission, and its source as the file that it became.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputDigest>,
    /// SHA-256 of standard input, in hexadecimal; absent where nothing was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<String>,
    /// SHA-256 of the submission's variables, in hexadecimal: each as `NAME=value` and a NUL byte, by
    /// name. Absent where there were none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
}

impl Inputs {
    /// What this was.
    pub fn of(files: &[InputFile], stdin: &[u8], environment: &UniqueMap) -> Self {
        let digest = |file: &InputFile| InputDigest {
            path: file.path.clone(),
            size: file.content.0.len() as u64,
            sha256: Digest32::of(&file.content.0).to_string(),
        };
        Self {
            files: files.iter().map(digest).collect(),
            stdin: (!stdin.is_empty()).then(|| Digest32::of(stdin).to_string()),
            environment: (!environment.is_empty()).then(|| of_variables(environment)),
        }
    }

    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn of_variables(variables: &UniqueMap) -> String {
    let mut digest = Sha256::new();
    for (name, value) in &variables.0 {
        for part in [name.as_bytes(), b"=", value.as_bytes(), b"\0"] {
            digest.update(part);
        }
    }
    Digest32(digest.finalize().into()).to_string()
}

/// Something that came out, by what it is (in-toto ResourceDescriptor).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReceiptSubject {
    /// [`STDOUT`], [`STDERR`], or [`ARTIFACTS`] and a path.
    pub name: String,
    /// `sha256` in hexadecimal.
    pub digest: BTreeMap<String, String>,
}

impl ReceiptSubject {
    /// A subject of this name and these bytes' SHA-256, in hexadecimal.
    pub fn new(name: impl Into<String>, sha256: impl Into<String>) -> Self {
        Self { name: name.into(), digest: BTreeMap::from([("sha256".to_owned(), sha256.into())]) }
    }
}

/// What is said about what came out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Predicate {
    /// The daemon's version.
    pub supervisord: String,
    /// The execution.
    pub execution: ExecutionId,
    /// Its session.
    pub session: SessionId,
    /// Whose it was.
    pub owner_uid: u32,
    /// When it was submitted, RFC 3339 in UTC.
    pub created_at: String,
    /// When the payload started; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// Whether it found a sandbox parked; absent where it had none, or where that can't be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<StartKind>,
    /// When its end was on disk.
    pub finished_at: String,
    /// How it ended.
    pub outcome: Outcome,
    /// The program and its arguments.
    pub argv: Vec<String>,
    /// The language, where source was submitted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// What it was given.
    pub inputs: Inputs,
    /// The policy in force, to the byte.
    pub policy: PolicyReference,
    /// The limits in force.
    pub limits: Limits,
    /// The controls that held it.
    pub controls: Vec<ControlReport>,
    /// What it used.
    pub usage: Usage,
    /// What was kept of its output, and what was cut.
    pub output: OutputSummary,
    /// Whether artifacts were left out because of a limit.
    pub artifacts_truncated: bool,
    /// What was decided about it; absent if the audit log no longer has it from its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decisions: Option<Decisions>,
}

impl Predicate {
    /// What the record of a finished execution says, with what was decided about it. `None` for one that
    /// has not finished.
    pub fn new(
        execution: Execution,
        decisions: Option<Decisions>,
        supervisord: &str,
    ) -> Option<Self> {
        Some(Self {
            supervisord: supervisord.to_owned(),
            execution: execution.id,
            session: execution.session,
            owner_uid: execution.owner_uid,
            created_at: execution.created_at,
            started_at: execution.started_at,
            start: execution.start,
            finished_at: execution.finished_at?,
            outcome: execution.outcome?,
            argv: execution.argv,
            language: execution.language,
            inputs: execution.inputs,
            policy: execution.policy,
            limits: execution.limits,
            controls: execution.controls,
            usage: execution.usage,
            output: execution.output,
            artifacts_truncated: execution.artifacts_truncated,
            decisions,
        })
    }
}

/// An in-toto statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// [`STATEMENT_TYPE`].
    #[serde(rename = "_type")]
    pub kind: String,
    /// What came out.
    pub subject: Vec<ReceiptSubject>,
    /// [`PREDICATE_TYPE`].
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said about it.
    pub predicate: Predicate,
}

impl Statement {
    /// A statement of ours.
    pub fn new(subject: Vec<ReceiptSubject>, predicate: Predicate) -> Self {
        let (kind, predicate_type) = (STATEMENT_TYPE.to_owned(), PREDICATE_TYPE.to_owned());
        Self { kind, subject, predicate_type, predicate }
    }
}
