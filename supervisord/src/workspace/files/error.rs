//! Why something was not done to a session's file.

use std::{fmt, io};

use nix::errno::Errno;

use crate::workspace::path::WorkspacePath;

/// Why something was not done to a session's file.
#[derive(Debug)]
pub enum FileError {
    /// Nothing stands there.
    NotFound {
        /// The path.
        path: WorkspacePath,
    },
    /// Something stands there already.
    Occupied {
        /// The path.
        path: WorkspacePath,
    },
    /// It is a directory, which this can't be done to.
    IsDirectory {
        /// The path.
        path: WorkspacePath,
    },
    /// The path leads through something else than directories, a link among them.
    NotDirectory {
        /// The path.
        path: WorkspacePath,
    },
    /// It is a link, a FIFO, a socket or a device.
    NotRegular {
        /// The path.
        path: WorkspacePath,
    },
    /// It is neither a file nor a link, and was to go to another directory.
    Rooted {
        /// The path.
        path: WorkspacePath,
    },
    /// The directory holds something, and not all of it was to go.
    NotEmpty {
        /// The path.
        path: WorkspacePath,
    },
    /// A program has taken away the permission that this takes, from it or from what leads to it.
    Denied {
        /// The path, quoted where it is none of ours: a workspace is copied with whatever names are in it.
        path: String,
    },
    /// The workspace is full.
    Full {
        /// The path.
        path: WorkspacePath,
    },
    /// What is copied has no room where it goes to.
    NoRoom,
    /// A bound was reached; the words say which.
    TooMuch(String),
    /// An archive that can't be unpacked; the words say why.
    Archive(String),
    /// The system refused.
    System {
        /// What was being done, and to which path.
        operation: String,
        /// The answer.
        source: io::Error,
    },
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { path } => write!(f, "there is no {path} in the workspace"),
            Self::Occupied { path } => write!(f, "something stands at {path} already"),
            Self::IsDirectory { path } => write!(f, "{path} is a directory"),
            Self::NotDirectory { path } => {
                write!(f, "{path} leads through something else than directories")
            }
            Self::NotRegular { path } => write!(f, "{path} is not a regular file"),
            Self::Rooted { path } => {
                write!(f, "{path} is no file or link, and only those go to another directory")
            }
            Self::NotEmpty { path } => write!(f, "the directory {path} is not empty"),
            Self::Denied { path } => {
                write!(f, "the permissions of {path}, or of what leads to it, don't allow that")
            }
            Self::Full { path } => write!(f, "{path} does not fit into the workspace"),
            Self::NoRoom => f.write_str("the copy has no room for all of the workspace"),
            Self::TooMuch(words) | Self::Archive(words) => f.write_str(words),
            Self::System { operation, .. } => write!(f, "can't {operation}"),
        }
    }
}

impl std::error::Error for FileError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// That a path's permissions don't allow it, whatever the path is.
pub(super) fn denied(path: &[u8]) -> FileError {
    let quoted = |_| format!("{:?}", shortened(&String::from_utf8_lossy(path)));
    let path = WorkspacePath::try_from(path).map_or_else(quoted, |path| path.to_string());
    FileError::Denied { path }
}

/// A path of which a person can tell which one it is.
pub(super) fn shortened(path: &str) -> String {
    const MOST: usize = 200;
    if path.chars().count() <= MOST {
        return path.to_owned();
    }
    path.chars().take(MOST).chain(['…']).collect()
}

/// What an answer of the system means for a path.
pub(super) fn failed<E: Into<io::Error>>(
    operation: &'static str,
    path: &WorkspacePath,
) -> impl Fn(E) -> FileError {
    let path = path.clone();
    move |error| {
        let source = error.into();
        let path = path.clone();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOENT) => FileError::NotFound { path },
            Some(Errno::EEXIST) => FileError::Occupied { path },
            Some(Errno::EISDIR) => FileError::IsDirectory { path },
            Some(Errno::ELOOP | Errno::ENOTDIR | Errno::EXDEV) => FileError::NotDirectory { path },
            Some(Errno::ENOTEMPTY) => FileError::NotEmpty { path },
            // Opening a socket, or a FIFO that nobody reads, for writing.
            Some(Errno::ENXIO) => FileError::NotRegular { path },
            Some(Errno::EACCES) => FileError::Denied { path: path.to_string() },
            Some(Errno::ENOSPC | Errno::EDQUOT) => FileError::Full { path },
            _ => FileError::System { operation: format!("{operation} {path}"), source },
        }
    }
}
