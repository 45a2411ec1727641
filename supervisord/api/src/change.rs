//! What an execution changed in its workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ExecutionId, FileKind, SessionId};

/// What is to become of what an execution changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangesMode {
    /// It is told: the workspace is looked at before and after.
    Record,
    /// It is told and held back: the execution runs on a copy of its session's workspace, and what it changed
    /// there is applied to the session, or discarded, by a call of its own.
    Hold,
}

/// How many changes an execution made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSummary {
    /// What was asked for.
    pub mode: ChangesMode,
    /// The session that is the copy it ran on, where its changes are held back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_in: Option<SessionId>,
    /// What there is now and was not there before.
    pub added: u64,
    /// What is other than before.
    pub modified: u64,
    /// What is gone.
    pub deleted: u64,
    /// How many of these have a hazard.
    pub hazardous: u64,
    /// Whether this is all; not so where the workspace holds more than is looked at, where entries whose names
    /// can't be paths here are others than before, and while it runs.
    pub complete: bool,
}

/// What has become of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangesState {
    /// They were made in the workspace itself.
    Recorded,
    /// They are held back until they are applied or discarded.
    Held,
    /// Applying them has begun, and is gone on with by applying them again.
    Applying,
    /// They were applied.
    Applied,
    /// They were discarded.
    Discarded,
    /// The copy that held them was closed or its time was up.
    Gone,
}

/// What became of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its bytes, its permissions, where it leads or its kind are other than before.
    Modified,
    /// It is gone.
    Deleted,
}

/// Why a change deserves a look: what may run by itself, lead elsewhere or be trusted later.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Hazard {
    /// Somebody may execute it, and could not before.
    Executable,
    /// It has a set-user-id or set-group-id bit, which nothing honours in a workspace.
    SetId,
    /// It is a symbolic link.
    SymbolicLink,
    /// It is a symbolic link that leads out of the workspace.
    LinkLeadsOut,
    /// It has more than one name.
    HardLink,
    /// It is a FIFO, a socket or a device.
    SpecialFile,
    /// Git runs it or takes settings from it: hooks, `.git/config`, `.gitmodules`, `.gitattributes`.
    GitHook,
    /// A shell runs it when it starts or enters the directory.
    ShellStartUp,
    /// It pins what is installed: `package-lock.json`, `Cargo.lock` and the like.
    LockFile,
    /// A service for continuous integration runs it.
    Ci,
    /// It is in `.ssh`.
    Ssh,
    /// A package tool or an interpreter runs what it says: `package.json`, `setup.py`, `Makefile`, `*.pth`.
    PackageScript,
    /// An editor or an agent acts on it: `.vscode`, `.idea`, `.mcp.json`, `AGENTS.md`.
    ToolSettings,
}

/// What stands or stood at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileFacts {
    /// What it is.
    pub kind: FileKind,
    /// Bytes of a file.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
    /// When its bytes were changed last, RFC 3339 in UTC.
    pub modified_at: String,
    /// Its number in its file system.
    pub inode: u64,
    /// The words of a symbolic link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// SHA-256 of a file's bytes, in hexadecimal; absent beyond the bytes that are digested.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// One path that is other than before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathChange {
    /// The path, relative to the workspace.
    pub path: String,
    /// What became of it.
    pub change: ChangeKind,
    /// What stood there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<FileFacts>,
    /// What stands there now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<FileFacts>,
    /// Why it deserves a look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hazards: Vec<Hazard>,
}

/// What an execution changed in its workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeSet {
    /// The execution.
    pub execution: ExecutionId,
    /// The session.
    pub session: SessionId,
    /// What has become of the changes.
    pub state: ChangesState,
    /// How many there are.
    pub summary: ChangeSummary,
    /// The changes, by path.
    pub changes: Vec<PathChange>,
    /// Entries whose names can't be paths here (not UTF-8, control characters, too deep), which are told by
    /// number only.
    pub unnamed: u64,
}
