//! Files into and out of a workspace: the caller's are written before the payload starts, and those
//! worth keeping are collected once nothing of it runs any more.
//!
//! Everything in a workspace is hostile as soon as a payload has run in it. So nothing here follows
//! a path: each name is opened beneath the descriptor of its directory, through no link and no
//! mount, and what was opened is judged by its own descriptor. All of it blocks.

mod apply;
mod artifact;
mod beneath;
mod changes;
mod collect;
mod differences;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzed;
mod glob;
mod hazard;
mod manifest;
mod media;
mod path;
mod refusal;
mod usage;
mod walk;
mod write;

pub use apply::{Conflict, commit, conflicts, stage, unstage};
pub use artifact::open_artifact;
pub use beneath::{is_shut, open_up};
pub use changes::{Change, Watcher};
pub use collect::{CollectLimits, Collected, Space, collect};
pub use differences::{Differences, MAX_CHANGES};
pub use files::{
    FileError, FilePage, Listing, MAX_LISTED, Replacement, UnpackBounds, Unpacked, copy, list,
    look, make_directory, obstacles, open, pack, remove_unfinished, remove_while, rename,
    replace_files, unpack,
};
pub use glob::{GlobSelection, InvalidGlob, MAX_GLOB_BYTES, MAX_GLOBS};
pub use manifest::Manifest;
pub use path::{
    InvalidPath, MAX_COMPONENT_BYTES, MAX_DEPTH, MAX_PATH_BYTES, MOUNT_POINT, WorkingDirectory,
    WorkspacePath,
};
pub use refusal::{NO_ROOM, TOO_DEEP};
pub use usage::{WorkspaceUsage, usage};
pub use walk::MAX_LOOKED_AT;
pub use write::{InvalidFiles, MAX_FILES, WriteFilesError, check_files, write_files};

#[cfg(test)]
mod testing;
