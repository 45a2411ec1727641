//! Why the benchmark can't go on.

use std::error::Error;
use std::fmt;

/// An operation that failed, and the cause.
#[derive(Debug)]
pub struct Failure {
    operation: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// Something that can't be, in words of our own.
    pub fn new(words: impl Into<String>) -> Self {
        Self { operation: words.into(), cause: None }
    }

    /// Names the operation that failed, for `map_err`.
    pub fn of<E: Into<Box<dyn Error + Send + Sync>>>(
        operation: impl Into<String>,
    ) -> impl FnOnce(E) -> Self {
        move |cause| Self {
            operation: format!("can't {}", operation.into()),
            cause: Some(cause.into()),
        }
    }

    /// It and its causes, in one line.
    pub fn in_full(&self) -> String {
        let mut words = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            words = format!("{words}: {inner}");
            cause = inner.source();
        }
        words
    }

    /// Prints it and its causes.
    pub fn tell(&self) {
        eprintln!("benchmark: {self}");
        let mut cause = self.source();
        while let Some(inner) = cause {
            eprintln!("  because: {inner}");
            cause = inner.source();
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.operation)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}
