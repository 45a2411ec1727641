//! The way to the operations of the interface.

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use http::Method;

use crate::failure::Failure;

/// An answer that is on its way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send + 'a>>;

/// Where operations are asked for, as one caller.
pub trait Door: fmt::Debug + Send + Sync + 'static {
    /// Asks for an operation, and reads the body of its answer as far as it is wanted.
    fn ask(&self, question: Question) -> Asking<'_>;

    /// Whether what is behind the door ends, so that a client who goes away now did not want to. What runs for it
    /// is left to run.
    fn is_closing(&self) -> bool {
        false
    }
}

/// A request for an operation.
#[derive(Debug)]
pub struct Question {
    /// The operation in words that complete "refused to".
    pub operation: String,
    /// Its method.
    pub method: Method,
    /// Its path with the query.
    pub target: String,
    /// What it carries.
    pub body: Sent,
    /// The first and the last byte wanted of what is asked for; all of it if left out.
    pub range: Option<(u64, u64)>,
    /// How long the head of the answer may take.
    pub patience: Duration,
    /// Bytes of the answer that are read at the most.
    pub most: usize,
}

/// The body of a request.
#[derive(Debug)]
pub enum Sent {
    /// None.
    Nothing,
    /// A JSON value.
    Json(Vec<u8>),
    /// Bytes.
    Bytes(Vec<u8>),
}
