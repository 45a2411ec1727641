//! What can go wrong with the log.

use std::error::Error;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use supervisor_api::{ApiError, ErrorCode};

/// The log can't be opened or read.
#[derive(Debug)]
pub enum AuditError {
    /// The operating system failed.
    Io {
        /// What could not be done, in words that follow "could not".
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// What is there is not what the daemon left.
    Refused {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What to do.
        remedy: &'static str,
    },
}

/// Something is not done because it could not be recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unaudited {
    /// There is no room for records.
    Full,
    /// The disk refuses them.
    Failing,
    /// More wait to be written than there is memory for.
    Behind,
    /// The daemon is ending.
    Closed,
}

impl AuditError {
    /// An error of the system while doing something to a file.
    pub fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

impl fmt::Display for AuditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io { doing, path, .. } => write!(f, "could not {doing} {}", path.display()),
            Self::Refused { path, reason, remedy } => {
                write!(f, "the audit log {} {reason}; {remedy}", path.display())
            }
        }
    }
}

impl Error for AuditError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            Self::Refused { .. } => None,
        }
    }
}

impl fmt::Display for Unaudited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "the audit log has no room, and nothing is done unrecorded",
            Self::Failing => "the audit log can't be written, and nothing is done unrecorded",
            Self::Behind => "the audit log is behind, and nothing is done unrecorded",
            Self::Closed => "the audit log is closed: the daemon is ending",
        })
    }
}

impl Error for Unaudited {}

impl From<Unaudited> for ApiError {
    fn from(unaudited: Unaudited) -> Self {
        let (code, hint) = match unaudited {
            Unaudited::Full => {
                (ErrorCode::StorageFull, "make room in the state directory; nothing was run")
            }
            Unaudited::Failing => (
                ErrorCode::Unavailable,
                "an administrator looks at the disk of the state directory (is it mounted read-only? what does the kernel's \
                 log say?), and starts supervisord again; the daemon's journal has the cause; nothing was run",
            ),
            Unaudited::Behind => (ErrorCode::Busy, "try again in a second"),
            Unaudited::Closed => (ErrorCode::Unavailable, "try again when it is back"),
        };
        Self::new(code, unaudited.to_string()).with_hint(hint)
    }
}
