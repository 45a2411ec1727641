//! What went wrong: fatally at the start, or in one step of one launch.

use std::fmt;
use std::io::{self, Write};

use supervisor_launch::Step;

/// The launcher can't start. Names the operation; the cause is in `source`.
#[derive(Debug)]
pub struct Fatal {
    operation: String,
    cause: Option<io::Error>,
}

impl Fatal {
    /// A refusal of the launcher's own.
    pub fn refuse(operation: impl Into<String>) -> Self {
        Self { operation: operation.into(), cause: None }
    }
}

impl fmt::Display for Fatal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)
    }
}

impl std::error::Error for Fatal {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| cause as _)
    }
}

/// Names the operation that failed.
pub fn fatal<T, E: Into<io::Error>>(operation: &str, result: Result<T, E>) -> Result<T, Fatal> {
    result.map_err(|cause| Fatal {
        operation: format!("can't {operation}"),
        cause: Some(cause.into()),
    })
}

/// A step of a launch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Which one.
    pub step: Step,
    /// The kernel's error number; 0 where the launcher refused.
    pub errno: i32,
}

impl Failed {
    /// The launcher's own refusal.
    pub const fn refused(step: Step) -> Self {
        Self { step, errno: 0 }
    }
}

/// Names the step that failed.
pub fn at<T, E: Into<io::Error>>(step: Step, result: Result<T, E>) -> Result<T, Failed> {
    result.map_err(|error| Failed { step, errno: error.into().raw_os_error().unwrap_or_default() })
}

/// Says something in the journal. A journal that is gone must not end the launcher.
pub fn tell(what: fmt::Arguments<'_>) {
    drop(writeln!(io::stderr(), "supervisor-launcher: {what}"));
}
