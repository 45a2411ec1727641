//! A submission: what to run, on what, within which limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ChangesMode, Content, LimitsRequest, SessionId, TerminalSize, UniqueMap};

/// A language whose source can be submitted as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Run by `python3` of the image.
    Python,
    /// Run by `bash` of the image.
    Bash,
    /// Run by `node` of the image.
    Node,
}

/// A file that stands in the workspace before the payload starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct InputFile {
    /// Relative path beneath the workspace: no `.`, `..` or empty component.
    pub path: String,
    /// The bytes.
    pub content: Content,
    /// Whether the payload may execute it.
    #[serde(default)]
    pub executable: bool,
}

/// Which files of the workspace to keep once the payload has ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ArtifactRequest {
    /// Globs over paths relative to the workspace; `*` stops at `/`, `**` doesn't.
    #[serde(default)]
    pub globs: Vec<String>,
}

/// What to run. Exactly one of `argv` and `language` with `source` is given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubmitRequest {
    /// The program and its arguments, passed to execve byte for byte; no shell is involved. A name
    /// without a slash is looked up in the image's PATH.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub argv: Vec<String>,
    /// The language of `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<Language>,
    /// A program's text, run by the language's interpreter with `args`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Arguments of `source`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// Variables added to the policy's environment.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub env: UniqueMap,
    /// Working directory relative to the workspace; the workspace itself if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cwd: Option<String>,
    /// Standard input; empty if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stdin: Option<Content>,
    /// Whether standard input stays open after these bytes, so that more can be sent while it runs.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stdin_open: bool,
    /// Give it a pseudo-terminal of this size for its standard streams, to which more can be sent while it
    /// runs; what it shows is all standard output then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terminal: Option<TerminalSize>,
    /// Files that stand in the workspace at the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
    /// Limits below or at the policy's maximum.
    #[serde(default)]
    pub limits: LimitsRequest,
    /// Files to keep.
    #[serde(default)]
    pub artifacts: ArtifactRequest,
    /// The session in whose workspace it runs; if left out, one of its own that ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
    /// One of the images that the policy lets a submission choose from; the policy's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Whether what it changes in its workspace is told, or told and held back; neither, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changes: Option<ChangesMode>,
    /// The policy's name; the session's, or the caller's default policy, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The caller's own marks, shown in lists.
    #[serde(default, skip_serializing_if = "UniqueMap::is_empty")]
    pub labels: UniqueMap,
    /// Answer only when the execution has finished.
    #[serde(default)]
    pub wait: bool,
}
