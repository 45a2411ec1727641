//! Where values come from that change by themselves.

use std::error::Error;
use std::fmt;

use super::seam::Pending;
use super::value::Delivery;

/// Why a value is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// There is none, or it has ended.
    Needed,
    /// It will end soon.
    Ahead,
    /// An upstream did not accept it (401).
    Rejected,
}

/// A source of values. It is asked by one caller at a time, and each asking comes to its end even if
/// whoever waited for it has gone: a source may give out a refresh token once only.
pub trait Source: fmt::Debug + Send + Sync {
    /// Fetches a value.
    ///
    /// # Errors
    /// There is none to be had now. The error holds nothing that the source has said.
    fn fetch(&self, why: Why) -> Pending<'_, Result<Delivery, SourceError>>;
}

/// A source failed.
#[derive(Debug)]
pub struct SourceError {
    what: String,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl SourceError {
    /// This failed.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), cause: None }
    }

    /// This failed, because of that.
    pub fn caused(what: impl Into<String>, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { what: what.into(), cause: Some(cause.into()) }
    }

    /// The error and its causes in one line, for people who look after the daemon.
    pub fn chain(&self) -> String {
        let mut text = self.what.clone();
        let mut cause = self.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }
}

impl fmt::Display for SourceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for SourceError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as &(dyn Error + 'static))
    }
}
