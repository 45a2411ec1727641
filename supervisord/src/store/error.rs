//! What can go wrong between the daemon and its state, and which answer a caller gets for it.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;

use supervisor_api::{ErrorCode, ExecutionId};

/// An operation of the store that was not done.
#[derive(Debug)]
pub enum StoreError {
    /// The file system or a quota has no room. The store goes on working once there is room again.
    Full {
        /// What could not be done, in words that follow "could not".
        operation: &'static str,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// Another daemon holds the state directory's lock.
    InUse {
        /// The state directory.
        directory: PathBuf,
    },
    /// What lies in the state directory is not what this daemon left there.
    Refused {
        /// The file it is about.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: &'static str,
        /// SQLite's error, where it was SQLite that found it.
        source: Option<Box<rusqlite::Error>>,
    },
    /// There is a record of this execution already.
    Duplicate(ExecutionId),
    /// There is no record of this execution.
    Unknown(ExecutionId),
    /// The record is final.
    AlreadyFinished(ExecutionId),
    /// A finished record came in by another way than `finish`, or an unfinished one by that.
    WrongState {
        /// Which execution.
        id: ExecutionId,
        /// What was asked.
        operation: &'static str,
    },
    /// A record is not an execution, in or out.
    Record {
        /// Which execution.
        id: String,
        /// What JSON says.
        source: serde_json::Error,
    },
    /// SQLite failed.
    Database {
        /// What could not be done, in words that follow "could not".
        operation: &'static str,
        /// SQLite's error.
        source: rusqlite::Error,
    },
    /// The operating system failed.
    Io {
        /// What could not be done.
        operation: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The store is closed, or its thread is gone.
    Closed,
}

impl StoreError {
    /// The code that callers of the interface get.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::Full { .. } => ErrorCode::StorageFull,
            Self::Unknown(_) => ErrorCode::NotFound,
            Self::Duplicate(_) | Self::AlreadyFinished(_) => ErrorCode::Conflict,
            Self::Closed => ErrorCode::Unavailable,
            Self::InUse { .. }
            | Self::Refused { .. }
            | Self::WrongState { .. }
            | Self::Record { .. }
            | Self::Database { .. }
            | Self::Io { .. } => ErrorCode::Internal,
        }
    }

    /// Whether it was the file system that failed, or that lets nobody write.
    pub fn is_of_the_disk(&self) -> bool {
        use rusqlite::ErrorCode::{CannotOpen, ReadOnly, SystemIoFailure};
        let Self::Database { source, .. } = self else { return false };
        matches!(source.sqlite_error_code(), Some(CannotOpen | ReadOnly | SystemIoFailure))
    }

    /// Whether the statement alone was refused and the transaction around it is untouched.
    pub(super) const fn spares_the_transaction(&self) -> bool {
        matches!(self, Self::Duplicate(_) | Self::Unknown(_) | Self::AlreadyFinished(_))
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { operation, .. } => {
                write!(f, "could not {operation}: no space left in the state directory")
            }
            Self::InUse { directory } => {
                write!(
                    f,
                    "the state directory {} is in use by another daemon; stop that one first, or \
                     name another directory as `state`",
                    directory.display()
                )
            }
            Self::Refused { path, reason, remedy, .. } => {
                write!(f, "{} {reason}; {remedy}", path.display())
            }
            Self::Duplicate(id) => write!(f, "there is a record of {id} already"),
            Self::Unknown(id) => write!(f, "there is no record of {id}"),
            Self::AlreadyFinished(id) => write!(f, "{id} has finished; its record is final"),
            Self::WrongState { id, operation } => {
                write!(f, "{id} is not in a state that {operation} takes")
            }
            Self::Record { id, .. } => write!(f, "the record of {id} is damaged"),
            Self::Database { operation, .. } => write!(f, "could not {operation}"),
            Self::Io { operation, path, .. } => {
                write!(f, "could not {operation} {}", path.display())
            }
            Self::Closed => f.write_str("the store is closed"),
        }
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Full { source, .. } | Self::Database { source, .. } => Some(source),
            Self::Refused { source, .. } => source.as_ref().map(|source| &**source as _),
            Self::Record { source, .. } => Some(source),
            Self::Io { source, .. } => Some(source),
            Self::InUse { .. }
            | Self::Duplicate(_)
            | Self::Unknown(_)
            | Self::AlreadyFinished(_)
            | Self::WrongState { .. }
            | Self::Closed => None,
        }
    }
}
