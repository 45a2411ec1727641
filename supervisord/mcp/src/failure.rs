//! What can go wrong with a tool, and how it is said.

use std::error::Error;
use std::fmt;

use serde_json::{Value, json};
use supervisor_api::{ApiError, ErrorCode};

use crate::backoff::Passing;

/// Why a tool could not do what it was asked for.
#[derive(Debug)]
pub enum Failure {
    /// The arguments make no sense together, or name something that can't be used.
    Usage(String),
    /// The daemon refused the operation.
    Refused {
        /// What was asked for.
        operation: String,
        /// The refusal.
        error: Box<ApiError>,
    },
    /// The daemon gave no answer, or none that makes sense.
    Unanswered {
        /// A stable word for how.
        code: &'static str,
        /// The same in words.
        words: String,
        /// What to do about it.
        remedy: Option<&'static str>,
        /// Whether the same request may succeed a little later.
        transient: bool,
    },
    /// The request was cancelled.
    Interrupted(String),
}

impl Failure {
    /// An answer that the interface does not allow.
    pub fn misunderstood<E: fmt::Display>(operation: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::Unanswered {
            code: "misunderstood",
            words: format!("the answer to the attempt to {operation} makes no sense: {error}"),
            remedy: None,
            transient: false,
        }
    }

    /// An exchange that broke off.
    pub fn broken<E: fmt::Display>(operation: &str) -> impl FnOnce(E) -> Self {
        move |error| Self::Unanswered {
            code: "broken_off",
            words: format!("the connection broke off in the attempt to {operation}: {error}"),
            remedy: None,
            transient: true,
        }
    }

    /// The daemon ends, and what was waited for does not.
    pub fn closing(what: impl fmt::Display) -> Self {
        Self::Unanswered {
            code: "closing",
            words: format!("supervisord ends or is restarted; {what} goes on"),
            remedy: Some("ask `status` for it once supervisord is back"),
            transient: false,
        }
    }

    /// The refusal's code, if the daemon refused.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Failure::Refused { error, .. } => Some(error.code),
            _ => None,
        }
    }

    /// The failure and its cause on one line.
    pub fn chain(&self) -> String {
        match self {
            Failure::Refused { error, .. } => format!("{self}: {error}"),
            _ => self.to_string(),
        }
    }

    /// What to do about it, where there is something to do.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Failure::Unanswered { remedy, .. } => *remedy,
            _ => None,
        }
    }

    /// The same for programs.
    pub fn to_json(&self) -> Value {
        let code = match self {
            Failure::Refused { error, .. } => return json!({"error": error}),
            Failure::Usage(_) => "usage",
            Failure::Unanswered { code, .. } => code,
            Failure::Interrupted(_) => "interrupted",
        };
        json!({"error": {"code": code, "detail": self.chain(), "hint": self.remedy()}})
    }
}

impl Passing for Failure {
    fn is_transient(&self) -> bool {
        match self {
            Failure::Unanswered { transient, .. } => *transient,
            Failure::Refused { error, .. } => {
                matches!(error.code, ErrorCode::Busy | ErrorCode::Unavailable)
            }
            Failure::Usage(_) | Failure::Interrupted(_) => false,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(words)
            | Failure::Interrupted(words)
            | Failure::Unanswered { words, .. } => f.write_str(words),
            Failure::Refused { operation, .. } => write!(f, "refused to {operation}"),
        }
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Failure::Refused { error, .. } => Some(error.as_ref()),
            _ => None,
        }
    }
}
