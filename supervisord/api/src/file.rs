//! Files of a session's workspace.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link. No operation follows it.
    SymbolicLink,
    /// A FIFO or a socket.
    Other,
}

/// One entry of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Its path, relative to the workspace.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes; of a link, the length of its target.
    pub size: u64,
    /// Its permission bits (inode(7)).
    pub mode: u32,
    /// When it was last written, RFC 3339 in UTC. A payload can set any time; empty for one that no
    /// calendar has.
    pub modified_at: String,
    /// Where a link seems to lead, for people to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// What a directory holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileList {
    /// Its entries, by name.
    pub entries: Vec<FileEntry>,
    /// Whether entries were left out: there are more than the page holds, or some have names that can't be
    /// paths here (not UTF-8, control characters).
    pub truncated: bool,
    /// Give this as `after` to get the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What became of something in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileChangeKind {
    /// Following has begun; what comes after this number is told.
    Watching,
    /// It is new, or has come from where nobody watches.
    Created,
    /// Its bytes were changed.
    Modified,
    /// Its permissions, times or number of names were changed.
    Attributes,
    /// It was moved within the workspace.
    Moved,
    /// It is gone.
    Removed,
    /// Changes were lost: more happened than is held, or there are more directories than are watched.
    /// What stands at the path, or in all of the workspace, has to be looked at.
    Lost,
}

/// A change in a workspace. A hint: by the time it is read, more may have happened. What appears while a
/// new directory is taken up may be told twice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileChange {
    /// Its number; give the last one as `since` to go on after it.
    pub sequence: u64,
    /// What became of it.
    pub kind: FileChangeKind,
    /// Its path, relative to the workspace; empty for the workspace itself.
    pub path: String,
    /// Where it was moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
}

/// What was copied of a workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyReport {
    /// Files.
    pub files: u64,
    /// Directories.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of the files, holes included.
    pub bytes: u64,
    /// FIFOs and sockets, which are not copied.
    pub left_out: u64,
}

/// Moves a file or directory within a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MoveFile {
    /// From where, relative to the workspace.
    pub from: String,
    /// To where. The directories that lead there are made.
    pub to: String,
    /// Whether what stands there is replaced; otherwise that is a conflict.
    #[serde(default)]
    pub replace: bool,
}

/// Makes a directory in a workspace, and those that lead to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeDirectory {
    /// Its path, relative to the workspace.
    pub path: String,
}

/// An entry of an archive that was not unpacked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SkippedEntry {
    /// Its name in the archive, cut at 256 characters.
    pub path: String,
    /// Why.
    pub reason: String,
}

/// What came of unpacking an archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UnpackReport {
    /// Files written.
    pub files: u64,
    /// Directories made or found there.
    pub directories: u64,
    /// Symbolic links made; only relative ones that stay inside.
    pub links: u64,
    /// Bytes of the files.
    pub bytes: u64,
    /// Entries that were skipped.
    pub skipped_count: u64,
    /// The first hundred of them.
    pub skipped: Vec<SkippedEntry>,
}
