//! The commands on sessions and their files.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use supervisor_api::SessionId;

use crate::units;

/// What to do with sessions.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Make a session and print its id; its workspace outlives executions, daemon and reboots
    Create(CreateOptions),
    /// List sessions, newest first
    List(SessionListOptions),
    /// Show one session and what its workspace holds
    Show(SessionOption),
    /// Move a session's end
    Extend(ExtendOptions),
    /// Keep a copy of a session's workspace, in which nothing changes; print its id. What runs in the
    /// session has to be paused
    Snapshot(SnapshotOptions),
    /// List the snapshots of a session
    Snapshots(SessionOption),
    /// Make a session whose workspace begins as a copy of another's or of a snapshot; print its id
    Fork(ForkOptions),
    /// End what runs in a session and remove its workspace, or a snapshot; done when nothing is left
    Close(SessionOption),
}

/// Options of `session create`.
#[derive(Debug, Args)]
pub struct CreateOptions {
    /// Name of the policy of its executions [default: what the daemon's configuration gives you]
    #[arg(long, value_name = "NAME")]
    pub policy: Option<String>,
    /// Time until it is closed (units s, m, h; none means seconds) [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    pub time_to_live: Option<u64>,
    /// Bytes of the workspace [default: the policy's]
    #[arg(long, value_name = "SIZE", value_parser = units::size)]
    pub workspace: Option<u64>,
    /// Files, directories and links in the workspace [default: the policy's]
    #[arg(long, value_name = "NUMBER")]
    pub workspace_inodes: Option<u64>,
    /// Mark the session for lists (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = super::payload::pair)]
    pub labels: Vec<(String, String)>,
}

/// Options of `session snapshot`.
#[derive(Debug, Args)]
pub struct SnapshotOptions {
    /// Id of the session
    pub id: SessionId,
    /// Time until it is removed (units s, m, h; none means seconds) [default: 1h]
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    pub time_to_live: Option<u64>,
    /// Mark the snapshot for lists (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = super::payload::pair)]
    pub labels: Vec<(String, String)>,
}

/// Options of `session fork`.
#[derive(Debug, Args)]
pub struct ForkOptions {
    /// Id of the session or snapshot; policy and size are its own unless they are given
    pub from: SessionId,
    /// The new session.
    #[command(flatten)]
    pub create: CreateOptions,
}

/// Options of `session list`.
#[derive(Debug, Args)]
pub struct SessionListOptions {
    /// Everybody's sessions (administrators only)
    #[arg(long)]
    pub all: bool,
}

/// A session and nothing else.
#[derive(Debug, Args)]
pub struct SessionOption {
    /// Id of the session
    pub id: SessionId,
}

/// Options of `session extend`.
#[derive(Debug, Args)]
pub struct ExtendOptions {
    /// Id of the session
    pub id: SessionId,
    /// Time until it is closed, from now (units s, m, h; none means seconds)
    #[arg(long, value_name = "TIME", value_parser = units::seconds)]
    pub time_to_live: u64,
}

/// What to do with a session's files.
#[derive(Debug, Subcommand)]
pub enum FilesCommand {
    /// List a directory of the workspace
    List(FileListOptions),
    /// Show what changes in the workspace, as it happens
    Watch(FileWatchOptions),
    /// Show what stands at a path; links are not followed
    Stat(FileOption),
    /// Fetch a file
    Get(FileGetOptions),
    /// Write a file; it takes its place when all of it has arrived
    Put(FilePutOptions),
    /// Remove a file, a link or a directory
    Remove(FileRemoveOptions),
    /// Move a file or link; a directory only within the one that it is in
    Move(FileMoveOptions),
    /// Make a directory, and those that lead to it
    Mkdir(FileOption),
    /// Fetch the whole workspace as a tar archive
    Pack(PackOptions),
    /// Unpack a tar archive into the workspace
    Unpack(UnpackOptions),
}

/// Options of `files list`.
#[derive(Debug, Args)]
pub struct FileListOptions {
    /// Id of the session
    pub id: SessionId,
    /// Directory beneath the workspace [default: the workspace]
    pub path: Option<String>,
    /// Only entries whose names come after this one, such as the last of the page before
    #[arg(long, value_name = "NAME")]
    pub after: Option<String>,
    /// Entries on the page, 1 to 10000
    #[arg(long, value_name = "NUMBER", default_value_t = 10_000,
          value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub limit: u16,
}

/// Options of `files watch`.
#[derive(Debug, Args)]
pub struct FileWatchOptions {
    /// Id of the session
    pub id: SessionId,
    /// Go on after the change of this number [default: from now on]
    #[arg(long, value_name = "NUMBER")]
    pub since: Option<u64>,
}

/// A file of a session and nothing else.
#[derive(Debug, Args)]
pub struct FileOption {
    /// Id of the session
    pub id: SessionId,
    /// Path in the workspace
    pub path: String,
}

/// Options of `files get`.
#[derive(Debug, Args)]
pub struct FileGetOptions {
    /// Id of the session
    pub id: SessionId,
    /// Path in the workspace
    pub path: String,
    /// File to make, or - for standard output [default: its own name, here]
    #[arg(long, value_name = "FILE")]
    pub to: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

/// Options of `files put`.
#[derive(Debug, Args)]
pub struct FilePutOptions {
    /// Id of the session
    pub id: SessionId,
    /// File of this machine; the execute bit is kept
    pub local: PathBuf,
    /// Path in the workspace [default: its own name]
    pub path: Option<String>,
}

/// Options of `files remove`.
#[derive(Debug, Args)]
pub struct FileRemoveOptions {
    /// Id of the session
    pub id: SessionId,
    /// Path in the workspace
    pub path: String,
    /// Remove a directory with all that it holds
    #[arg(short, long)]
    pub recursive: bool,
}

/// Options of `files move`.
#[derive(Debug, Args)]
pub struct FileMoveOptions {
    /// Id of the session
    pub id: SessionId,
    /// From where
    pub from: String,
    /// To where
    pub to: String,
    /// Replace what stands there
    #[arg(long)]
    pub replace: bool,
}

/// Options of `files pack`.
#[derive(Debug, Args)]
pub struct PackOptions {
    /// Id of the session
    pub id: SessionId,
    /// File to make, or - for standard output
    #[arg(long, value_name = "FILE")]
    pub to: PathBuf,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

/// Options of `files unpack`.
#[derive(Debug, Args)]
pub struct UnpackOptions {
    /// Id of the session
    pub id: SessionId,
    /// The archive: an uncompressed tar file
    pub archive: PathBuf,
}
