//! What can go wrong on this side, and how it is said: once, at the edge, with the chain of causes.

use std::error::Error;
use std::path::PathBuf;
use std::{fmt, io};

use serde_json::{Value, json};
use supervisor_api::{ApiError, ErrorCode};
use supervisor_mcp::Passing;

use crate::exit;

/// Why a command could not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// The arguments make no sense together, or name something that can't be used.
    Usage(String),
    /// Nobody answers on the socket.
    Unreachable {
        /// The socket's path.
        socket: PathBuf,
        /// Why it could not be connected to.
        source: io::Error,
    },
    /// The daemon refused the operation.
    Refused {
        /// What was asked for.
        operation: String,
        /// The refusal.
        error: Box<ApiError>,
    },
    /// The exchange broke off before the whole answer was there.
    Broken {
        /// What was asked for.
        operation: String,
        /// How it broke off.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The answer came and is not what the interface says.
    Misunderstood {
        /// What was asked for.
        operation: String,
        /// What is wrong with the answer.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Something on this machine that the operator named could not be read or written.
    Local {
        /// What was being done, with the object's name.
        doing: String,
        /// Why it failed.
        source: io::Error,
    },
    /// The answer is no: a policy is invalid, a private supervisor did not end well, an artifact
    /// was not saved.
    Negative(String),
    /// An image is refused, is not there, is in use or is damaged.
    Image {
        /// Which of them, for programs.
        code: &'static str,
        /// The words for people.
        words: String,
    },
    /// Whoever read our standard output has gone away.
    OutputClosed,
    /// The operator interrupted the command.
    Interrupted(String),
    /// The operator left what goes on, by the keys for it.
    Detached(String),
}

impl Failure {
    /// A failed operation on a file, directory or stream of this machine.
    pub fn local(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Local { doing, source }
    }

    /// A write to our own output. A reader that has gone away is not an error worth words.
    pub fn writing(source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::Local { doing: "cannot write to standard output or error".to_owned(), source }
    }

    /// An exchange that broke off.
    pub fn broken<E>(operation: &str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |source| Self::Broken { operation: operation.to_owned(), source: source.into() }
    }

    /// An answer that the interface does not allow.
    pub fn misunderstood<E>(operation: &str) -> impl FnOnce(E) -> Self
    where
        E: Into<Box<dyn Error + Send + Sync>>,
    {
        move |source| Self::Misunderstood { operation: operation.to_owned(), source: source.into() }
    }

    /// The refusal's code, if the daemon refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Failure::Refused { error, .. } => Some(error.code),
            _ => None,
        }
    }

    /// The exit status of every command but `run`.
    pub fn exit_status(&self) -> u8 {
        match self {
            Failure::Usage(_) => exit::USAGE,
            Failure::Unreachable { .. } => exit::UNREACHABLE,
            Failure::Refused { error, .. } => match error.code {
                ErrorCode::PermissionDenied | ErrorCode::PolicyDenied => exit::NOT_PERMITTED,
                _ => exit::FAILED,
            },
            Failure::Broken { .. }
            | Failure::Misunderstood { .. }
            | Failure::Local { .. }
            | Failure::Image { .. }
            | Failure::Negative(_) => exit::FAILED,
            Failure::OutputClosed => exit::OUTPUT_CLOSED,
            Failure::Interrupted(_) => exit::INTERRUPTED,
            Failure::Detached(_) => exit::SUCCESS,
        }
    }

    /// The exit status of `run`, whose other numbers belong to the payload.
    pub fn exit_status_of_run(&self) -> u8 {
        match self {
            Failure::OutputClosed => exit::OUTPUT_CLOSED,
            Failure::Interrupted(_) => exit::INTERRUPTED,
            Failure::Detached(_) => exit::SUCCESS,
            _ => exit::OURS,
        }
    }

    /// The failure and its causes on one line.
    pub fn chain(&self) -> String {
        let mut line = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            line.push_str(&format!(": {error}"));
            cause = error.source();
        }
        line
    }

    /// What to do about it, where there is something to do.
    pub fn remedy(&self) -> Option<&'static str> {
        let Failure::Unreachable { source, .. } = self else { return None };
        Some(match source.kind() {
            io::ErrorKind::PermissionDenied => {
                "the socket belongs to supervisord's group; ask its administrator to let you in"
            }
            _ => {
                "start supervisord, name its socket with --socket, or use the --standalone of \
                 `run`, `shell`, `mcp` and `e2b`, which needs no installation"
            }
        })
    }

    /// The object that `--json` prints in place of the result.
    pub fn to_json(&self) -> Value {
        let error = match self {
            Failure::Refused { error, .. } => json!(error),
            _ => json!({"code": self.kind(), "detail": self.chain(), "hint": self.remedy()}),
        };
        json!({"error": error})
    }

    /// A stable word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Failure::Usage(_) => "usage",
            Failure::Unreachable { .. } => "unreachable",
            Failure::Refused { error, .. } => error.code.name(),
            Failure::Broken { .. } => "broken_off",
            Failure::Misunderstood { .. } => "misunderstood",
            Failure::Local { .. } => "local",
            Failure::Negative(_) => "failed",
            Failure::Image { code, .. } => code,
            Failure::OutputClosed => "output_closed",
            Failure::Interrupted(_) => "interrupted",
            Failure::Detached(_) => "detached",
        }
    }
}

impl Passing for Failure {
    fn is_transient(&self) -> bool {
        match self {
            Failure::Unreachable { source, .. } => source.kind() != io::ErrorKind::PermissionDenied,
            Failure::Broken { .. } => true,
            Failure::Refused { error, .. } => {
                matches!(error.code, ErrorCode::Busy | ErrorCode::Unavailable)
            }
            _ => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(words)
            | Failure::Negative(words)
            | Failure::Interrupted(words)
            | Failure::Detached(words) => f.write_str(words),
            Failure::Image { words, .. } => f.write_str(words),
            Failure::Unreachable { socket, .. } => {
                write!(f, "cannot connect to supervisord at {}", socket.display())
            }
            Failure::Refused { operation, .. } => write!(f, "refused to {operation}"),
            Failure::Broken { operation, .. } => {
                write!(f, "the connection broke off in the attempt to {operation}")
            }
            Failure::Misunderstood { operation, .. } => {
                write!(f, "the answer to the attempt to {operation} makes no sense")
            }
            Failure::Local { doing, .. } => f.write_str(doing),
            Failure::OutputClosed => f.write_str("nobody reads our output any more"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Failure::Unreachable { source, .. } | Failure::Local { source, .. } => Some(source),
            Failure::Refused { error, .. } => Some(error.as_ref()),
            Failure::Broken { source, .. } | Failure::Misunderstood { source, .. } => {
                Some(source.as_ref())
            }
            _ => None,
        }
    }
}
