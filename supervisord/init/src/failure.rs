//! A step that failed.

use std::io;

use supervisor_launch::Step;

/// Which step, and the kernel's error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failed {
    /// Which one.
    pub step: Step,
    /// The error number; 0 where a check of ours failed.
    pub errno: i32,
}

/// Names the step that failed.
pub fn at<T, E: Into<io::Error>>(step: Step, result: Result<T, E>) -> Result<T, Failed> {
    result.map_err(|error| Failed { step, errno: error.into().raw_os_error().unwrap_or_default() })
}

/// Fails the step unless the check holds.
pub fn ensure(step: Step, holds: bool) -> Result<(), Failed> {
    if holds { Ok(()) } else { Err(Failed { step, errno: 0 }) }
}
